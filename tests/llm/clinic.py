"""What the loopback model of the tests says where it plays a consultation: patient, clinician, judge and writer.

Replies are templates over the facts that stand in the prompt, and depend on the messages and the settings alone. A
defect is planted where its rate and the seed say so.

    with ModelServer(reply=Clinic()) as server: ...
    ModelServer(reply=Clinic({"invented_drug": 0.1}, seed=3))
    python -m tests.llm.model_server --reply tests.llm.clinic:clean
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Message = dict[str, str]

DEFECTS = (
    *("wrong_dose", "invented_drug", "leakage", "wrong_language", "repetition", "truncated", "role_mixup"),
    *("incompatible_herbs", "missing_warning", "diagnosis_given_away"),
)
# What a clinician asks, and how a patient hears what is meant: topic → questions, words of them, label of the record.
TOPICS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "duration": (("这种情况有多久了？", "最早是什么时候开始的？"), r"多久|什么时候", "患病多久"),
    "course": (("能再说说具体的情况吗？", "除了这些，还有哪些不舒服？"), r"具体的情况|还有哪些|加重|缓解", ""),
    "allergy": (("对药物或食物过敏吗？", "有没有过敏史？"), r"过敏", "过敏史"),
    "drugs": (("这段时间用过什么药吗？", "有没有自己用过药？"), r"药", "用药情况"),
    "history": (("以前得过什么病、做过手术吗？", "既往身体怎么样？"), r"以前|既往", "既往病史"),
    "visits": (("之前去医院看过吗？", "做过什么检查没有？"), r"医院|检查", "已就诊医院及科室"),
    "pregnancy": (("现在有没有怀孕的可能？",), r"怀孕", "怀孕情况"),
}
SPOKEN = {
    "患病多久": "{}了吧",
    "用药情况": "用过{}",
    "过敏史": "过敏的话，{}",
    "既往病史": "以前{}",
    "已就诊医院及科室": "去过{}",
    "怀孕情况": "{}",
}
NOTHING = {"过敏史": "没有过敏的。", "既往病史": "以前身体还可以，没什么大病。", "用药情况": "没用过药。"}
HARMLESS = (
    "先注意休息，清淡饮食",
    "先避免劳累和刺激，规律作息",
    "先做好局部清洁和保护，别抓别挤",
    "先观察症状的变化，多喝水",
)
URGENT = re.compile("胸痛|胸闷|呼吸困难|咯血|呕血|便血|血块|昏迷|抽搐|晕倒|自杀|出血|梗塞")
_FACTS = re.compile(r"^- (.+)$", re.MULTILINE)
_TURN = re.compile(r"（第 (\d+) 次，共 (\d+)–(\d+) 次")


@dataclass(frozen=True)
class Clinic:
    """Answers as whoever the system message names. `rates` are shares of replies, by names in DEFECTS."""

    rates: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    def __call__(self, messages: Sequence[Message]) -> str:
        system = messages[0]["content"] if messages[0]["role"] == "system" else ""
        draw = random.Random(hashlib.blake2b(repr((self.seed, messages)).encode(), digest_size=8).digest())
        if "评审" in system:
            return self._judge(messages[-1]["content"])
        if "在网上回答病人的问题" in system:
            return self._answer(messages[-1]["content"], draw)
        if "扮演一位病人" in system:
            return self._patient(system, messages[1:], draw)
        return self._clinician(messages, draw)

    def _planted(self, defect: str, draw: random.Random) -> bool:
        return draw.random() < self.rates.get(defect, 0.0)

    # The patient

    def _patient(self, system: str, turns: Sequence[Message], draw: random.Random) -> str:
        volunteered, _, asked = system.partition("\n主动说：")[2].partition("\n问到才说：")
        if len(turns) == 1:
            told = _FACTS.findall(volunteered)
            return (
                draw.choice(("医生您好，", "大夫，您好。", "您好，"))
                + "，".join(self._spoken(fact).rstrip("。，；") for fact in told)
                + "。"
            )
        question = turns[-1]["content"]
        before = "\n".join(turn["content"] for turn in turns if turn["role"] == "assistant")
        left = [fact for fact in _FACTS.findall(asked) if self._spoken(fact).strip("。") not in before]
        for _, pattern, label in TOPICS.values():
            if re.search(pattern, question):
                for fact in left:
                    if (label and fact.startswith(label)) or (not label and "：" not in fact[:12]):
                        return self._spoken(fact)
                return NOTHING.get(label, draw.choice(("这个没注意。", "没有别的了。", "好像没有。")))
        return draw.choice(("好的，知道了，谢谢您。", "行，那我按您说的办。", "明白了，谢谢。"))

    def _spoken(self, fact: str) -> str:
        label, colon, value = fact.partition("：")
        if not colon or len(label) > 10:
            return fact
        if value == "无":
            return NOTHING.get(label, "没有。")
        return SPOKEN.get(label, "{}").format(value.rstrip("。")) + "。"

    # The clinician

    def _clinician(self, messages: Sequence[Message], draw: random.Random) -> str:
        turns = messages[1:]
        found = _TURN.search(turns[-1]["content"])
        turn, least, most = map(int, found.groups()) if found else (1, 1, 1)
        said = "\n".join(_TURN.sub("", turn["content"]) for turn in turns if turn["role"] == "user")
        own = "\n".join(turn["content"] for turn in turns if turn["role"] == "assistant")
        nature = random.Random(turns[0]["content"])  # how many questions this consultation takes
        wanted = nature.randint(least, max(least, most - 1))
        if turn >= min(wanted, most):
            return self._conclusion(turns[0]["content"], said, draw)
        order = list(TOPICS)
        nature.shuffle(order)
        for topic in order:
            questions = TOPICS[topic][0]
            if not any(question in own for question in questions) and (topic != "pregnancy" or "孕" in said):
                return draw.choice(("", "嗯，", "好的，", "我了解一下，")) + draw.choice(questions)
        return "还有其他想告诉我的吗？"

    def _conclusion(self, complaint: str, said: str, draw: random.Random) -> str:
        words = (
            re.sub(r"^(?:医生您好，|大夫，您好。|您好，)", "", complaint)
            .split("，")[0]
            .split("。")[0][:20]
            .split("\n")[0]
        )
        urgent = URGENT.search(said)
        advice = "请尽快到医院急诊就诊，不要拖延" if urgent else draw.choice(HARMLESS)
        return (
            f"关于“{words}”，从您说的情况看，还不能只凭文字下结论。{advice}。"
            f"如果{draw.choice(('三天', '一周'))}内没有好转，或者症状加重，请到医院相应科室面诊检查。\n[END]"
        )

    # The writer and the judge of answers

    def _answer(self, question: str, draw: random.Random) -> str:
        words = re.split(r"[。？！，?!,\n]", question.strip())[0][:24]
        first = "请立即到医院急诊就诊，不要等待。" if URGENT.search(question) else ""
        return (
            f"{first}您提到“{words}”，先别太担心。这种情况常见的原因不止一种，和近期的休息、饮食、情绪都有关系，"
            f"也要排除需要处理的疾病。{draw.choice(HARMLESS)}，把发作的时间和诱因记下来，方便面诊时说清楚。"
            f"建议到相应科室做检查，明确原因后再用药，过敏史和正在服用的药物要告诉医生。"
            f"如果{draw.choice(('三天', '一周'))}内没有缓解，或者出现高热、剧痛、意识不清，请马上去医院。"
        )

    def _judge(self, shown: str) -> str:
        answer = shown.partition("\n\n回答：")[2].strip()
        # Long answers that say when to see a doctor are good ones: as good a rule as any for a double.
        score = (
            1
            + (len(answer) > 60)
            + (len(answer) > 120)
            + bool(re.search("医院|就诊|检查", answer))
            + ("注意" in answer)
        )
        parts = dict.fromkeys(("accuracy", "safety", "completeness", "kindness", "score"), score)
        return json.dumps(
            {**parts, "reason": f"回答有{len(answer)}字，{'说明了何时就医' if score > 3 else '没有说清何时就医'}。"},
            ensure_ascii=False,
        )


clean = Clinic()
