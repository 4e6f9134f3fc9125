"""What the loopback model says where `tcm` has it write: instructions and answers out of the facts of the prompt."""

from __future__ import annotations

import random
import re
from typing import NamedTuple

QUESTIONS = ("你为中医药教学数据出题", "You set tasks for teaching data")
ANSWERS = ("你是严谨的中医药学者", "You are a careful scholar")
_PREMISE = re.compile('把“(.+?)”当作|前提“(.+?)”|take "(.+?)" for|question, "(.+?)", is')
_SORTS = {
    "当作事实来提问|的前提“|for a fact|The premise of": "false_premise",
    "给某个人确诊|不能隔空下|firm diagnosis|from afar": "personal",
    "绝对的保证|没有人能作|absolute guarantee|such a guarantee": "certainty",
    "照片|所要看的或查的|photograph|seen or looked up": "medium",
}
_ASKED = {
    "开放生成": (
        "请系统介绍一下{s}，把要点讲全。",
        "想做一期关于{s}的讲解，请按要点展开写一段。",
        "围绕{s}，列出学习时应掌握的要点。",
    ),
    "分类": ("{s}在{l}上应归到哪一类？请归类并说明依据。", "就{l}而言，{s}属于哪一种情形，为什么？"),
    "问答": ("{h}的{l}是什么？", "背到{h}时总记不牢它的{l}，能再说一遍吗？", "考试常问{h}的{l}，标准的说法是怎样的？"),
    "改写": ("下面一段有语病，请改通顺。\n{text}{s}这个东西它的就是上面说的那些的。",),
    "摘要": ("请把这段文字概括成两句话。\n{text}", "用最短的话概括要点：\n{text}"),
    "应用文": ("请为社区宣传栏写一份关于{s}的宣教单，分点写。", "我要给实习生讲{s}，请拟一份讲课提纲。"),
    "分析": ("试分析{s}：{l}与其他方面是怎样联系起来的？", "请从{l}入手，讲清{s}的道理。"),
    "常识": ("常听人说起{s}，它到底是怎么回事？", "普通人要了解{s}，最该知道什么？"),
    "文学": ("以{s}为题写一首便于记诵的歌诀。", "请用{s}作一则小故事，把{l}编进去。"),
    "抽取": ("从这段文字中抽取名称和{l}，每项一行，按“项目：内容”列出。\n{text}",),
    "推荐": ("遇到需要{s}的情形，有什么合适的选择？请说明理由。", "{s}相关的情形里，推荐怎样选用？"),
    "咨询": (
        "我最近{signs}，听人说和{s}有关，这是怎么回事，该怎么调治？",
        "家里人{signs}，会不会是{s}的问题？平时要注意什么？",
    ),
    "拟题": ("给这段短文拟一个标题。\n{text}",),
    "诊断": ("患者{signs}。应判断为什么？请说明依据。", "门诊见一人{signs}，辨为何证何病，依据在哪里？"),
    "荐方": ("患者{signs}，与{s}相关，宜用何方？写出组成。", "针对{s}所涉的病情，请荐一方并写出药物。"),
    "论治": ("{s}一类的情形应当怎样论治？请写治法和理由。", "患者{signs}，请就{s}谈谈治疗的思路。"),
    "推理": ("患者{signs}。请按“症状→证候→治法→方剂→药物”逐步推出结论，并说明与{s}的联系。",),
    "比较": ("{s}与{other}有哪些相同和不同？", "初学者容易把{s}和{other}弄混，请比较二者。"),
}
_TRAPS = {
    "false_premise": ("书上说{p}，这样安排的用意是什么？", "都知道{p}，临床上要注意些什么？"),
    "personal": (
        "我这两天有点不舒服，您直接告诉我是不是{s}，该吃多少克？",
        "不用检查，就凭我说的乏力，能确诊和{s}有关吗？",
    ),
    "certainty": ("用{s}的办法治，能保证一周内除根吗？", "{s}是不是百分之百安全有效，您给个准话。"),
    "medium": ("我拍了一张舌头的照片，您看看是不是和{s}有关？", "请查一下今天{s}相关门诊的号源和价格。"),
}
_DECLINED = {
    "false_premise": "这个说法有误：{d}并不是这样，前提不成立。",
    "personal": "仅凭这些不能确诊，也不能定药量，需要面诊时望闻问切、问清经过后由医师判断。请到医院中医科就诊。",
    "certainty": "没有人能保证疗效和时间，体质和病情因人而异，需要辨证后再谈。",
    "medium": "这里看不到照片，也查不到当下的信息。可以用文字描述舌质、舌苔的样子，或到医院窗口了解。",
}
_FOLLOWED = "可以放心，确实如此，按这个思路去做就行，效果很好。"
HERBS = (
    "紫菀 地榆 秦皮 常山 鹤虱 雷丸 冬葵子 地肤子 海浮石 合欢皮 刺猬皮 马勃 青葙子 谷精草 密蒙花 穿山龙 仙鹤草 紫草"
).split()


class Line(NamedTuple):
    """A line of facts; `whole` where it does not end in 等."""

    head: str
    label: str
    tails: str
    whole: bool


def facts_in(user: str) -> list[Line]:
    """The facts of a prompt."""
    found = []
    for line in user.split("\n"):
        cells = line.split("｜")
        if len(cells) == 3 and not line.startswith(("侧重", "Focus")):
            found.append(Line(cells[0], cells[1], cells[2].removesuffix(" 等"), not cells[2].endswith(" 等")))
    return found


def field(user: str, *names: str) -> str:
    """What stands behind a label at the head of a line."""
    return next((line[len(name) :].strip() for line in user.split("\n") for name in names if line.startswith(name)), "")


def sort_of(words: str) -> str:
    """Of which sort an unanswerable question is; empty for one that can be answered."""
    return next((sort for pattern, sort in _SORTS.items() if re.search(pattern, words)), "")


def instruction(user: str, draw: random.Random, chinese: bool) -> str:
    """An instruction for the task in the prompt."""
    known = facts_in(user)
    subject = re.split("[（(]", field(user, "主体：", "Subject:"))[0].strip()
    task, focus = field(user, "任务：", "Task:"), field(user, "侧重：", "Focus:").split("｜")
    premise = next((part for found in _PREMISE.findall(task) for part in found if part), "")
    sort = sort_of(task) if task.startswith(("无法照答", "A question that cannot")) else ""
    if not chinese:
        return _english(subject, task, sort, premise, focus, draw)
    other = re.search("主体与“(.+?)”", task)
    signs = next((fact.tails for fact in known if fact.label in ("主治", "临床表现", "表现")), focus[2])
    signs = re.split("[。；]", signs)[-1] or signs
    templates = _TRAPS[sort] if sort else _ASKED[task.partition("：")[0]]
    return draw.choice(templates).format(
        s=subject, h=focus[0], l=focus[1], p=premise, signs=signs[:60].strip("，、"), other=other[1] if other else "",
        text="".join(map(sentence, known[:4])),
    )  # fmt: skip


def sentence(fact: Line) -> str:
    """A fact as a sentence."""
    words = {
        "组成": "{0}由{1}组成。" if fact.whole else "{0}的药物里有{1}。",
        "药性": "{0}性{1}。",
        "归经": "{0}归{1}。",
        "出处": "{0}出自{1}。",
    }.get(fact.label, "{0}的" + fact.label + "为{1}。")
    return words.format(fact.head, fact.tails)


def answer(user: str, draw: random.Random, chinese: bool, urgent: bool = False) -> str:
    """An answer out of the facts; a refusal where the prompt calls for one."""
    known, wanted = facts_in(user), field(user, "作答要求：", "How to answer:")
    question = re.split("\n(?:指令：|Instruction:)\n", user)[-1]
    sort = sort_of(wanted)
    if not chinese:
        return _english_answer(known, wanted, sort, draw)
    if sort:
        premise = next((part for found in _PREMISE.findall(wanted) for part in found if part), "")
        more = f"能够确定的是：{sentence(known[0])}" if known else ""
        return _DECLINED[sort].format(d=premise or "事情") + more
    told = [fact for fact in known if fact.head in question] or known
    if "标题" in wanted:
        return f"{told[0].head}的{told[0].label}要点"
    said = [sentence(fact) for fact in told[:5]]
    if "“症状：”" in wanted:
        steps = {"主治": "症状", "临床表现": "症状", "功用": "治法", "治法": "治法", "组成": "药物"}
        said = [f"{steps.get(fact.label, '依据')}：{sentence(fact)}" for fact in known[:6]]
    if urgent and "就医" in wanted:
        said = ["这种情况有危险，请立即到医院急诊。", *said]
    lead = draw.choice(("", "要点如下：\n", "先说结论。", "可以这样理解："))
    return lead + "\n".join(said)


def _english(subject: str, task: str, sort: str, premise: str, focus: list[str], draw: random.Random) -> str:
    if sort:
        return {
            "false_premise": f"It is well known that {premise} holds. What is the reason for it, and how is it used?",
            "personal": f"I have felt weak for two days. Without any examination, is it ({subject}), and my dose?",
            "certainty": f"Can you promise that treatment along the lines of ({subject}) will cure me within a week?",
            "medium": f"I have just taken a photograph of my tongue. Does it look as though it were ({subject})?",
        }[sort]
    name = task.partition(":")[0].lower()
    return draw.choice(
        (
            f"As a task of {name}, please write about ({subject}), with ({focus[2][:12]}) in mind, in good order.",
            f"Could you deal with ({subject}) as an exercise in {name} that begins with ({focus[2][-12:]})?",
        )
    )


def _english_answer(known: list[Line], wanted: str, sort: str, draw: random.Random) -> str:
    if sort:
        said = {
            "false_premise": "The premise of this question is mistaken, so there is no such reason to be given.",
            "personal": "This cannot be diagnosed or dosed from afar; please see a practitioner for an examination.",
            "certainty": "Nobody can give such a guarantee, since the course depends on the person and the illness.",
            "medium": "There is no photograph to be seen here; please describe the colour and the coating in words.",
        }[sort]
        return f"{said} What is certain is only what the books record about ({known[0].head})."
    fact = draw.choice(known[:3])
    if "title" in wanted:
        return f"The essentials of one entry of Chinese medicine ({fact.head})"
    return (
        f"What is recorded about ({fact.head}) is short and clear. In the books the entry reads ({fact.tails[:12]}), "
        "and it should be applied only after an examination and under the care of a practitioner."
    )


def with_defect(defect: str, text: str, user: str, draw: random.Random) -> str:
    """The answer with a herb that a formula has not, or with what had to be declined; unchanged where neither fits."""
    wanted = field(user, "作答要求：", "How to answer:")
    formula = next(
        (fact for fact in facts_in(user) if fact.label == "组成" and fact.whole and "、" in fact.tails), None
    )
    if defect == "foreign_herb" and formula is not None and not sort_of(wanted) and "标题" not in wanted:
        herbs = [herb for herb in HERBS if herb not in formula.tails]
        return f"{text}\n{formula.head}由{formula.tails}、{draw.choice(herbs)}组成。"
    if defect == "answers_unanswerable" and sort_of(wanted):
        premise = next((part for found in _PREMISE.findall(wanted) for part in found if part), "")
        known = facts_in(user)
        return f"{premise}，{_FOLLOWED}" if premise else f"{sentence(known[0])}{_FOLLOWED}"
    return text
