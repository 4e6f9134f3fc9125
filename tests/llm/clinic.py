"""What the loopback model of the tests says where it plays a consultation: patient, clinician, judge and writer.

Replies are templates over what stands in the prompt, Chinese or English, and depend on the messages and the settings
alone. A defect is planted where its rate and the seed say so.

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
from typing import Any

from tests.llm import tcm_writer
from tests.llm.clinic_defects import CLINICIAN, PATIENT, WRITER, planted

Message = dict[str, str]

# What a clinician asks, and how a patient hears what is meant: topic → questions, words of them, label of the record.
TOPICS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "duration": (("这种情况有多久了？", "最早是什么时候开始的？"), r"多久|什么时候", "患病多久"),
    "course": (("能再说说具体的情况吗？", "除了这些，还有哪些不舒服？"), r"具体的情况|还有哪些", ""),
    "allergy": (("对药物或食物过敏吗？", "有没有过敏史？"), r"过敏", "过敏史"),
    "drugs": (("这段时间用过什么药吗？", "有没有自己用过药？"), r"药", "用药情况"),
    "history": (("以前得过什么病、做过手术吗？", "既往身体怎么样？"), r"以前|既往", "既往病史"),
    "visits": (("之前去医院看过吗？", "做过什么检查没有？"), r"医院|检查", "已就诊医院及科室"),
    "pregnancy": (("现在有没有怀孕的可能？",), r"怀孕", "怀孕情况"),
}
ENGLISH = {
    "duration": (("How long has this been going on?", "When did it start?"), r"How long|When did", "Duration"),
    "course": (("Can you tell me more about it?", "Is there anything else you have noticed?"), r"more about|else", ""),
    "allergy": (("Are you allergic to anything?",), r"allergic", "Allergies"),
    "drugs": (("Have you taken any medicine for it?",), r"medicine", "Medications"),
    "history": (("Have you had other illnesses before?",), r"illnesses", "Past history"),
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
URGENT = re.compile(
    "胸痛|胸闷|呼吸困难|喘不|咯血|呕血|吐血|便血|黑便|血块|昏迷|昏倒|晕倒|抽搐|自杀|不想活|出血|见红|梗塞|误服|说不出话|意识"
    "|chest pain|breath|blood|passed out|seizure"
)
_DANGER = re.compile(f"{URGENT.pattern}|神昏|惊厥|厥|急促|出血|抽|昏")
_FACTS = re.compile(r"^- (.+)$", re.MULTILINE)
_TURN = re.compile(r"\s*[（(](?:第 (\d+) 次，共|turn (\d+) of) (\d+)–(\d+).*[）)]$", re.DOTALL)
_USED = re.compile("用过([\u4e00-\u9fff]{2,8}(?:片|胶囊|颗粒|膏|液)?)")


@dataclass(frozen=True)
class Clinic:
    """Answers as whoever the system message names.

    `rates` are shares of replies that get a defect, by name. `diagnoses` says, by a fact that is volunteered, what a
    patient gives away who cannot know it. A judge of several answers goes by their places instead of their content to
    the degree of `bias` (1: the first is always the best), and errs by up to `noise` points.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    diagnoses: Mapping[str, str] = field(default_factory=dict)
    bias: float = 0.0
    noise: float = 0.0

    def of_body(self, body: Mapping[str, Any]) -> str:
        """The same, where a writer of candidates says something else as another model, and at another temperature."""
        # In batch files the keys of a message stand in another order.
        messages = [{"role": one["role"], "content": one["content"]} for one in body["messages"]]
        if "严谨的医学专家" not in messages[0]["content"] and "careful medical expert" not in messages[0]["content"]:
            return self(messages)
        draw = _drawn(self.seed, body["model"], body.get("temperature"), messages)
        chinese = "严谨" in messages[0]["content"]
        text = candidate(messages[-1]["content"], draw, chinese)
        return self._with_defects(CLINICIAN, text, bool(URGENT.search(messages[-1]["content"])), draw)

    def __call__(self, messages: Sequence[Message]) -> str:
        system = messages[0]["content"] if messages[0]["role"] == "system" else ""
        user = messages[-1]["content"]
        draw = _drawn(self.seed, list(messages))
        chinese = bool(re.search("[\u4e00-\u9fff]", system))
        if system.startswith(tcm_writer.QUESTIONS):
            return tcm_writer.instruction(user, draw, system.startswith("你"))
        if system.startswith(tcm_writer.ANSWERS):
            text = tcm_writer.answer(
                user, draw, system.startswith("你"), bool(_DANGER.search(user.split("指令：")[-1]))
            )
            for defect in ("foreign_herb", "answers_unanswerable"):
                if draw.random() < self.rates.get(defect, 0.0):
                    text = tcm_writer.with_defect(defect, text, user, draw)
            return self._with_defects(WRITER, text, False, draw)
        if "评审" in system or "You review" in system:
            return judgement(user, chinese)
        if "你比较对同一个医学问题" in system or "You compare several answers" in system:
            return verdict(user, chinese, draw, self.bias, self.noise)
        if "在网上回答病人的问题" in system or "answers patients' questions online" in system:
            text = written(user, draw, chinese)
            return self._with_defects(CLINICIAN, text, bool(URGENT.search(user)), draw)
        if "拆成一条条事实" in system or "cut what a patient said into facts" in system:
            return facts(user)
        if "典型病例" in system or "one typical case" in system:
            return facts(user, article=True)
        if "改写真实问诊" in system or "You rewrite one thing" in system:
            return rewritten(user, chinese)
        if "写一段网上问诊" in system or "You write a consultation" in system:
            return whole(system, user, draw, chinese)
        if "扮演一位病人" in system or "play a patient" in system:
            text = patient(system, messages[1:], draw, chinese)
            return self._with_defects(PATIENT, text, False, draw, self._given_away(system))
        text = clinician(messages, draw, chinese)
        said = "\n".join(message["content"] for message in messages if message["role"] == "user")
        return self._with_defects(CLINICIAN, text, bool(URGENT.search(said)), draw)

    def _with_defects(
        self, possible: Sequence[str], text: str, urgent: bool, draw: random.Random, diagnosis: str = ""
    ) -> str:
        for defect in possible:
            if defect in self.rates and draw.random() < self.rates[defect]:
                text = planted(defect, text, urgent, diagnosis, draw, by_patient=possible is PATIENT)
        return text

    def _given_away(self, system: str) -> str:
        return next((name for fact, name in self.diagnoses.items() if f"- {fact}\n" in system), "")


def _drawn(*content: Any) -> random.Random:
    return random.Random(hashlib.blake2b(repr(content).encode(), digest_size=8).digest())


def patient(system: str, turns: Sequence[Message], draw: random.Random, chinese: bool) -> str:
    """What a patient says next, out of the facts in the system message."""
    head, foot = ("\n主动说：", "\n问到才说：") if chinese else ("\nTell unasked:", "\nTell when asked:")
    volunteered, _, asked = system.rpartition(head)[2].partition(foot)
    if len(turns) == 1:
        told = [spoken(fact).rstrip("。，；.;？！?! ") for fact in _FACTS.findall(volunteered)]
        if not chinese:
            return draw.choice(("Hello doctor. ", "Hi, ")) + ". ".join(told) + "."
        return draw.choice(("医生您好，", "大夫，您好。", "您好，")) + "，".join(told) + "。"
    question = turns[-1]["content"]
    before = "\n".join(turn["content"] for turn in turns if turn["role"] == "assistant")
    left = [fact for fact in _FACTS.findall(asked) if spoken(fact).strip("。") not in before]
    for _, pattern, label in (TOPICS if chinese else ENGLISH).values():
        if re.search(pattern, question):
            for fact in left:
                if (label and fact.startswith(label)) or (not label and not re.match("[^：:]{2,16}[：:]", fact)):
                    return spoken(fact)
            if not chinese:
                return draw.choice(("No, nothing that I noticed.", "No.", "I do not remember."))
            return NOTHING.get(label, draw.choice(("这个没注意。", "没有别的了。", "好像没有。")))
    if not chinese:
        return draw.choice(("All right, thank you.", "I understand, thank you."))
    return draw.choice(("好的，知道了，谢谢您。", "行，那我按您说的办。", "明白了，谢谢。"))


def spoken(fact: str) -> str:
    """A fact of a record in a patient's mouth."""
    label, colon, value = fact.partition("：")
    if not colon or len(label) > 10:
        return re.sub("^[A-Z][a-z ]{2,14}: ", "", fact)
    if value == "无":
        return NOTHING.get(label, "没有。")
    return SPOKEN.get(label, "{}").format(value.rstrip("。")) + "。"


def clinician(messages: Sequence[Message], draw: random.Random, chinese: bool) -> str:
    """A question about what was not asked yet; a conclusion when this consultation has had its questions."""
    turns = messages[1:]
    found = _TURN.search(turns[-1]["content"])
    turn, least, most = (int(part) for part in found.groups() if part) if found else (1, 1, 1)
    heard = [_TURN.sub("", turn["content"]) for turn in turns if turn["role"] == "user"]
    own = "\n".join(turn["content"] for turn in turns if turn["role"] == "assistant")
    nature = random.Random(heard[0])  # how many questions this consultation takes
    if turn >= min(nature.randint(least, max(least, most - 1)), most):
        return conclusion(heard, draw, chinese)
    topics = TOPICS if chinese else ENGLISH
    order = list(topics)
    nature.shuffle(order)
    for topic in order:
        questions = topics[topic][0]
        if not any(question in own for question in questions) and (topic != "pregnancy" or "孕" in heard[0]):
            lead = draw.choice(("", "嗯，", "好的，", "我了解一下，") if chinese else ("", "I see. ", "Thank you. "))
            return lead + draw.choice(questions)
    return "还有其他想告诉我的吗？" if chinese else "What else would you like to tell me?"


def conclusion(heard: Sequence[str], draw: random.Random, chinese: bool) -> str:
    """Advice that names nothing the patient has not named, and sends those who need it to hospital at once."""
    said = "\n".join(heard)
    urgent = URGENT.search(said)
    if not chinese:
        advice = "Please go to an emergency department now" if urgent else "For now rest and drink enough"
        return f"From what you tell me I cannot be sure. {advice}. If it gets worse, please see a doctor.\n[END]"
    words = (
        re.sub(r"^(?:医生您好，|大夫，您好。|您好，)", "", heard[0]).split("，")[0].split("。")[0][:20].split("\n")[0]
    )
    used = _USED.search(said)
    advice = "请尽快到医院急诊就诊，不要拖延" if urgent else draw.choice(HARMLESS)
    about = f"您用过的{used[1]}先按原来的方法用，不要自己加量。" if used and not urgent else ""
    return (
        f"关于“{words}”，从您说的情况看，还不能只凭文字下结论。{advice}。{about}"
        f"如果{draw.choice(('三天', '一周'))}内没有好转，或者症状加重，请到医院相应科室面诊检查。\n[END]"
    )


def written(question: str, draw: random.Random, chinese: bool) -> str:
    """The answer to a single question."""
    urgent = URGENT.search(question)
    if not chinese:
        first = "Please go to an emergency department now. " if urgent else ""
        return (
            f"{first}There are several common causes, most of them harmless. Rest, drink enough, and write down when "
            "it happens. See a doctor if it has not passed within a week, or earlier if it gets worse."
        )
    words = re.split(r"[。？！，?!,\n]", question.strip())[0][:24]
    first = "请立即到医院急诊就诊，不要等待。" if urgent else ""
    return (
        f"{first}您提到“{words}”，先别太担心。这种情况常见的原因不止一种，和近期的休息、饮食、情绪都有关系，"
        f"也要排除需要处理的疾病。{draw.choice(HARMLESS)}，把发作的时间和诱因记下来，方便面诊时说清楚。"
        "建议到相应科室做检查，明确原因后再用药，过敏史和正在服用的药物要告诉医生。"
        f"如果{draw.choice(('三天', '一周'))}内没有缓解，或者出现高热、剧痛、意识不清，请马上去医院。"
    )


def judgement(shown: str, chinese: bool) -> str:
    """Long answers that say when to see a doctor are good ones: as good a rule as any for a double."""
    answer = shown.partition("\n\n回答：" if chinese else "\n\nAnswer:")[2].strip()
    cares = bool(re.search("医院|就诊|检查|doctor|hospital", answer))
    score = 1 + (len(answer) > 60) + (len(answer) > 120) + cares + ("注意" in answer or "if " in answer)
    parts = dict.fromkeys(("accuracy", "safety", "completeness", "kindness", "score"), score)
    reason = f"回答有{len(answer)}字，{'说明了何时就医' if cares else '没有说清何时就医'}。"
    return json.dumps({**parts, "reason": reason if chinese else "Long enough, and says when to see a doctor."})


# What a good answer says; a poor one says the other instead, which is about as long.
WORTH = (
    ("建议先到相应科室做检查，明确原因以后再用药。", "这种情况很多人都有过，一般自己慢慢就会好的。"),
    ("过敏史和正在服用的药物要提前告诉医生。", "不用想得太多，放松心情比什么都要紧些。"),
    ("把发作的时间和诱因记下来，方便面诊时说清楚。", "具体的原因比较复杂，三言两语很难说得明白。"),
    ("如果一周内没有缓解或者加重，请到医院就诊。", "生活上自己多加注意就是了，平时多多休息。"),
)
WORTH_ENGLISH = (
    ("Have it examined before you take anything for it.", "Many people have this and it tends to go away."),
    ("Tell the doctor about allergies and medicines you take.", "Try not to think about it, being calm helps most."),
    ("Write down when it happens and what brings it on.", "The causes are complex and hard to put in words."),
    ("See a doctor if it is not better within a week.", "Just look after yourself and rest when you can."),
)


MORE = (
    "饮食清淡一些，少吃辛辣油腻，别空腹太久。", "作息要规律，别熬夜，每天睡够七个小时。",
    "适当活动，散步或者慢走都可以，量力而行。", "情绪尽量平稳，有烦心的事和家里人说说。",
    "近期不要饮酒，也不要抽烟，咖啡浓茶少喝。", "注意保暖，天气变化的时候及时增减衣服。",
    "保持居室通风，温度和湿度都不要太过极端。", "每天量一次体温，数一数脉搏，写在本子上。",
)  # fmt: skip
_LENGTH = re.compile(r"\s*[（(](?:约|about) (\d+) (?:字|words)[）)]$")


def candidate(question: str, draw: random.Random, chinese: bool) -> str:
    """An answer whose worth is drawn: each of four points is made, or something empty is said in its place.

    It is about as long as it is asked to be, if that is between 100 and 250 characters.
    """
    wanted = _LENGTH.search(question)
    question = _LENGTH.sub("", question)
    points = [one[draw.random() < 0.45] for one in (WORTH if chinese else WORTH_ENGLISH)]
    if chinese and wanted:
        points += draw.sample(MORE, min(len(MORE), max(0, (int(wanted[1]) - 100) // 20)))
    draw.shuffle(points)
    urgent = URGENT.search(question)
    if not chinese:
        first = "Please go to an emergency department now. " if urgent else ""
        return f"{first}There are several common causes. " + " ".join(points)
    first = "请立即到医院急诊就诊，不要等待。" if urgent else ""
    words = re.split(r"[。？！，?!,\n]", question.strip())[0][:24]
    return f"{first}关于“{words}”，常见的原因不止一种。" + "".join(points)


def verdict(shown: str, chinese: bool, draw: random.Random, bias: float, noise: float) -> str:
    """Points for answers under letters: for each point of a good answer, and for what stands in the source too."""
    head = r"\n\n回答 ([A-H])：\n" if chinese else r"\n\nAnswer ([A-H]):\n"
    before, *pieces = re.split(head, shown)
    _, _, source = before.partition("\n\n原文：\n" if chinese else "\n\nSource:\n")
    found: dict[str, Any] = {}
    letters, texts = pieces[::2], pieces[1::2]
    for place, (letter, text) in enumerate(zip(letters, texts, strict=True)):
        worth = sum(one in text for one, _ in (WORTH if chinese else WORTH_ENGLISH))
        pairs = [text[at : at + 2] for at in range(len(text) - 1)]
        worth = max(worth, round(4 * sum(pair in source for pair in pairs) / max(1, len(pairs))) if source else 0)
        if URGENT.search(before):
            worth += 1 if re.search("急诊|emergency", text) else -2
        points = (1 - bias) * (2 + 2 * worth) + bias * (9 - place) + draw.uniform(-noise, noise)
        points = min(10, max(1, round(points)))
        found[letter] = dict.fromkeys(("accuracy", "safety", "helpfulness", "score"), points)
    best = max(found, key=lambda letter: found[letter]["score"])
    reason = f"回答{best}说得最全。" if chinese else f"Answer {best} says most."
    return json.dumps({**found, "reason": reason}, ensure_ascii=False)


def facts(shown: str, article: bool = False) -> str:
    """The sentences of a text as facts: the first is volunteered, every fifth is a quote from nowhere."""
    text = re.split(r"\n\n(?:医生|Clinician)[：:]\n", shown)[0]
    text = re.split(r"(?:^|\n)(?:病人|原文|Patient|Article)[：:]\n", text)[-1]
    sentences = [
        match[0].strip() for match in re.finditer(r"[^。！？!?\n]+[。！？!?]?", text) if len(match[0].strip()) > 3
    ]
    found: list[dict[str, str]] = []
    for place, sentence in enumerate(sentences[:8]):
        layer = "volunteered" if place == 0 else "on_asking"
        if article and re.search("治疗|检查|用药|手术|treat|test", sentence):
            layer = "unknown_to_patient"
        found.append({"quote": sentence if place % 5 < 4 else f"{sentence}（大约）", "layer": layer})
    title = re.match(r"(?:题名|Title)[：:] ?(.+)", shown)
    return json.dumps({"facts": found, "diagnosis": title[1].strip() if title else ""}, ensure_ascii=False)


def rewritten(shown: str, chinese: bool) -> str:
    """The clinician's words with a kinder beginning; those that end in 急 lose a number, which a check must find."""
    text = re.split(r"(?:医生的这句话|What the clinician said)[：:]\n", shown)[-1].strip()
    kind = "您好，" if chinese else "Thank you for telling me. "
    return kind + (re.sub(r"\d", "7", text) if text.endswith("急") else text)


def whole(system: str, user: str, draw: random.Random, chinese: bool) -> str:
    """Both sides of a dialogue as JSON."""
    layers = re.split(
        r"\n(?:主动说|问到才说|病人不知道|Tell unasked|Tell when asked|Unknown to the patient)[：:]\n", user
    )
    unasked, asked = (_FACTS.findall(layer) for layer in layers[1:3])
    span = re.search(r"(\d+)–(\d+) 次|(\d+) to (\d+) exchanges", system)
    least = int(next(part for part in span.groups() if part)) if span else 3
    hello, more, else_ = (
        ("医生您好，", "能再说说吗？", "没有别的了。") if chinese else ("Hello. ", "What else?", "Nothing else.")
    )
    turns: list[dict[str, Any]] = [{"role": "patient", "text": hello + "，".join(map(spoken, unasked))}]
    told = [*map(spoken, asked), *[else_] * least][: least - 1]
    for number, fact in enumerate(told):
        turns += [{"role": "clinician", "text": f"{more}{'嗯' * (number % 3)}"}, {"role": "patient", "text": fact}]
    closing = conclusion([turn["text"] for turn in turns if turn["role"] == "patient"], draw, chinese)
    turns.append({"role": "clinician", "text": closing.removesuffix("\n[END]")})
    return json.dumps({"turns": turns}, ensure_ascii=False)


clean = Clinic()
