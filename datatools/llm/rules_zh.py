"""Questions on modern Chinese text: headings of a monograph, definitions, causes, doses, lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from datatools.llm.topic import Passage, choose, is_generic, named_subject, opening, subjects

Question: TypeAlias = tuple[str, str]

# A section heading of a monograph → what a reader would ask about the subject above it.
_FIELDS: tuple[tuple[re.Pattern[str], str, tuple[str, ...]], ...] = tuple(
    (re.compile(pattern), rule, variants)
    for pattern, rule, variants in (
        (r"^(?:定义|概念|含义|基本概念|什么是.*)$", "definition", ("什么是{x}？", "{x}是指什么？")),
        (r"^(?:流行病学|发病率|流行情况|流行特征|发病情况)", "epidemiology", ("{x}的流行病学特点是什么？",)),
        (r"^(?:病因(?:及|和|与|、)?(?:发病机[制理]|病理|诱因|病机)|病因病机)", "cause", ("{x}的病因和发病机制是什么？",)),
        (r"^(?:病因|原因|成因|发病原因|致病因素|病原学?|诱因|危险因素)", "cause", ("{x}的病因是什么？", "{x}是由什么引起的？")),
        (r"^(?:发病机[制理]|机制|病理生理)", "mechanism", ("{x}的发病机制是什么？",)),
        (r"^(?:病理(?:变化|改变|学|解剖)?)$", "pathology", ("{x}有哪些病理变化？",)),
        (r"^(?:临床表现|症状(?:和|与|及)?体征|症状|体征|主要表现|表现|临床特[点征]|常见症状)", "symptom",
         ("{x}有哪些临床表现？", "{x}会有什么症状？")),
        (r"^(?:辅助检查|实验室检查|检查|影像学?检查|影像学?表现|X线表现|CT表现|MRI表现|心电图表现|超声)", "examination",
         ("{x}需要做哪些检查，结果有什么特点？",)),
        (r"^鉴别诊断|^(?:诊断与)?鉴别$", "differential", ("{x}需要与哪些疾病鉴别？",)),
        (r"^诊断(?:与|和|及|、)鉴别诊断", "diagnosis", ("{x}如何诊断，要与哪些疾病鉴别？",)),
        (r"^(?:诊断(?:标准|要点|依据)?|诊断步骤)$", "diagnosis", ("{x}如何诊断？", "诊断{x}的依据是什么？")),
        (r"^(?:治疗(?:原则|方法|措施|要点|方案)?|处理(?:原则)?|治法|救治|急救(?:处理)?|抢救|防治|防治原则|治疗与预防)", "treatment",
         ("{x}怎么治疗？", "{x}的治疗要点是什么？")),
        (r"^(?:药物治疗|用药)", "treatment", ("{x}的药物治疗有哪些要点？",)),
        (r"^(?:预防|预防措施|预防与护理)", "prevention", ("怎样预防{x}？",)),
        (r"^(?:护理|家庭护理|日常护理|生活(?:方式)?(?:管理|调理)|调护|饮食)", "care", ("{x}的日常护理和生活上要注意什么？",)),
        (r"^(?:预后|转归|病程)", "prognosis", ("{x}的预后怎样？",)),
        (r"^(?:并发症|合并症|后遗症)", "complication", ("{x}有哪些并发症？",)),
        (r"^(?:分类|分型|类型|分期|分级|分度)", "classification", ("{x}如何分类？",)),
        (r"^(?:用法(?:用量|与用量|和用量)?|用量|剂量|给药方法|服法)", "dosage", ("{x}的用法用量是怎样的？", "{x}怎么用，用多少？")),
        (r"^(?:组成|处方|药物组成|成分|配方)", "composition", ("{x}由哪些药物组成？",)),
        (r"^(?:适应证|适应症|适用范围|主治|主治病证|功能主治)", "indication", ("{x}适用于哪些情况？", "{x}主治什么？")),
        (r"^(?:禁忌证?|禁忌症|注意事项|注意$|使用注意|慎用|使用禁忌|禁忌与注意)", "caution", ("{x}有哪些禁忌和注意事项？",)),
        (r"^(?:不良反应|副作用|毒副作用|毒性)", "adverse", ("{x}有哪些不良反应？",)),
        (r"^(?:药理(?:作用|学)?|作用(?:机制|与用途)?|药效|体内过程|药动学)", "pharmacology", ("{x}的药理作用是什么？",)),
        (r"^(?:功效|功用|功能|作用与功效)", "effect", ("{x}有什么功效？",)),
        (r"^(?:方解|方义)", "explanation", ("{x}的组方原理是什么？",)),
        (r"^(?:加减|临证加减|随证加减)", "modification", ("{x}临床上如何加减？",)),
        (r"^(?:何时就医|就医|什么时候.*就医|就诊时机)", "seek_care", ("{x}出现哪些情况要及时就医？",)),
        (r"^(?:正常值|参考(?:值|范围|区间))", "reference_range", ("{x}的参考范围是多少？",)),
        (r"^(?:临床意义|意义)", "significance", ("{x}的临床意义是什么？",)),
        (r"^(?:定位|位置|体表定位|取穴)", "location", ("{x}在什么位置，怎么找？",)),
        (r"^(?:解剖|形态|结构|生理功能|生理)", "structure", ("{x}的结构和功能特点是什么？",)),
    )
)  # fmt: skip
_PRONOUN = re.compile(
    r"^(?:它|其|这|那|本|此|该|上述|以上|下列|如|若|对|在|从|由|当|因|但|而|则|可|有|无|多|常|主要|一般|即|又|也|并|或|患者|病人|我|他|她|你|人们|大家|目前|近年|临床|图|表|治疗|诊断)"
)
_DEFINITION = re.compile(
    r"(?:^|[\n。])\s*(?P<x>[\u3400-\u9fffA-Za-z0-9αβγ-]{2,16})(?:（[^（）]{1,60}）|\([^()]{1,60}\))?，?"
    r"(?:简称[^，。]{1,12}，)?(?:，?(?:又称|亦称|俗称|也称|旧称)[^，。]{1,20}，)?"
    r"(?P<verb>是指|系指|是一种|是一类|是由|是一组|是以|指的是|为一种|属于|是)"
)
_CALLED = re.compile(
    r"(?:称为|称之为|称作|叫做|称)“?(?P<x>[\u3400-\u9fff]{2,12})”?(?:（[^（）]{1,60}）|\([^()]{1,60}\))?[。，；]"
)
_INCLUDES = re.compile(
    r"(?:^|[。\n；])\s*(?P<x>[\u3400-\u9fff]{2,14})(?:主要)?(?:包括|分为|可分为|有以下|由)(?P<what>[^。\n]{2,60}、[^。\n]{2,60})"
)
_LABEL = re.compile(
    r"(?:^|\n)\s*(?:[（(]?[\d一二三四五六七八九十]{1,3}(?:[)）、]|[.．](?!\d))|[①-⑳]|[-*•·])\s*(?P<x>[^\n，。：；:,（(]{2,14})(?:[：:。\n（(]|$)"
)
_ASKED = re.compile(
    r"[？?]$|^(?:什么|为什么|如何|怎样|怎么|何以|何谓|何为|能否|是否)|(?:怎么.{1,3}|吗|呢|什么|多少|几|如何|怎样|怎么办)$"
)
# 糖尿病足部护理 has no symptoms and cannot be prevented: only illnesses and drugs answer to the field questions.
_ACTIVITY = re.compile(
    r"(?:护理|管理|指南|技术|处理|应用|用法|注意|区别|要点|手册|使用|方法|研究|检查|范围|操作|康复|保健|与.*)$"
)
# 常见原因 has none but those of the subject above it.
_OF_SOMETHING = tuple(
    "原因 特点 特征 要点 表现 因素 分类 类型 意义 作用 影响 机制 条件 指征 原则 治疗 处理 护理 预防 检查 诊断 急救 康复 监测".split()
)
_DEFINING = re.compile(r"(?:什么|何)(?:是|谓|为)")  # names its subject itself
_TREATISE = re.compile(r"(?:概述|概论|总论|简介|介绍)$")
_SUBJECT = re.compile(r"^[\u3400-\u9fffA-Za-z0-9α-ωⅠ-Ⅻ（）()\-/、+·\s“”]{2,30}$")


def questions(passage: Passage) -> Iterator[Question]:
    """Questions that a patient, student or clinician would ask of this passage, the most natural first."""
    document = passage.document
    heads = subjects(document.section)
    title = named_subject(document.title)
    title = "" if _looks_like_file(title) else title
    name = next((head for head in reversed(heads) if _is_subject(head)), title)
    if heads and _ASKED.search(heads[-1]) and passage.parts == 1:
        asked = heads[-1].rstrip("？?") + "？"
        yield (
            (asked if name in asked or len(asked) > 12 or _DEFINING.match(asked) else f"关于{name}，{asked}"),
            "heading_question",
        )
    if passage.parts == 1 or passage.part == 0:
        yield from _by_heading(heads, title, passage)
    yield from _by_sentence(name, passage)
    yield from _by_labels(name, passage)
    yield from _by_keywords(name, passage)


def _by_heading(heads: tuple[str, ...], title: str, passage: Passage) -> Iterator[Question]:
    if not heads:
        if title:
            yield choose(_ABOUT, title).format(x=title), "title"
        return
    own = heads[-1]
    above = [head for head in (title, *heads[:-1]) if head and _is_subject(head)]
    if field := _field(own):
        _, rule, variants = field
        if above and _ACTIVITY.search(above[-1]):
            yield f"关于{above[-1]}，{own}有哪些要点？", "heading_in_context"
        elif above:
            yield choose(variants, own + above[-1]).format(x=above[-1]), rule
            if len(above) > 1:
                yield choose(variants, own).format(x=f"{above[-2]}中{above[-1]}"), rule
        return
    if own in ("小结", "总结", "结语"):
        if above:
            yield f"总结一下{above[-1]}的要点。", "summary"
        return
    if is_generic(own):
        if above:
            yield choose(_ABOUT, above[-1]).format(x=above[-1]), "overview"
        return
    if own.startswith(("与", "和")) and above:
        own = above[-1] + own
    if not _SUBJECT.match(own) or _ASKED.search(own):
        return
    whole = above[-1] if above and above[-1] not in own and not _ACTIVITY.search(above[-1]) else ""
    if whole and len(own) < 7 and own.endswith(_OF_SOMETHING):
        own = f"{above[-1]}的{own}"
    if len(own) < 3 and above and not _defines(passage.text[:160], own):
        yield f"{above[-1]}中的“{own}”具体是怎样的？", "heading_in_context"
        return
    own = _TREATISE.sub("", own) or own
    yield _named(own, passage.text), "heading"
    if above and above[-1] not in own:
        yield f"{above[-1]}中，{own}有哪些要点？", "heading_in_context"


_ABOUT = ("请介绍一下{x}。", "{x}有哪些要点？", "关于{x}，需要了解哪些内容？", "{x}是怎么回事？")


def _is_subject(heading: str) -> bool:
    return len(heading) > 1 and not is_generic(heading) and not _field(heading) and not _ASKED.search(heading)


def _field(heading: str) -> tuple[re.Pattern[str], str, tuple[str, ...]] | None:
    return next((field for field in _FIELDS if field[0].search(heading)), None)


def _defines(start: str, name: str) -> bool:
    """Whether a text begins by saying what `name` is: 称为休克, 休克是指…"""
    place = start.find(name)
    if place < 0:
        return False
    before, after = start[max(0, place - 3) : place], start[place + len(name) : place + len(name) + 14]
    return before.endswith(("称为", "称", "叫做", "即为", "即")) or any(
        verb in after for verb in ("是指", "是一", "系指", "是由", "，是", "指的是")
    )


def _named(name: str, text: str) -> str:
    """The question that fits a subject and how its text speaks of it."""
    if _defines(text[:160], name):
        return choose(("什么是{x}？", "{x}是什么？", "{x}指的是什么？"), name).format(x=name)
    for ending, variants in _ENDINGS:
        if name.endswith(ending):
            return choose(variants, name).format(x=name)
    return choose(_ABOUT, name).format(x=name)


_ENDINGS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("方法", "步骤", "技术", "操作", "术", "法"), ("{x}怎么做？有哪些要点？", "请说明{x}的要点。")),
    (("区别", "鉴别", "比较"), ("{x}是什么？", "请说明{x}。")),
    (("原则", "要求", "标准", "目的", "特点", "特征", "要点", "界值", "范围", "特性", "意义", "作用", "功能", "影响", "关系", "机制", "因素", "分类", "类型",
      "表现", "原因", "条件", "指征", "适应证", "禁忌证", "注意事项", "过程", "组成", "成分", "结构"),
     ("{x}是什么？", "{x}有哪些？")),
    (("治疗", "处理", "管理", "护理", "预防", "急救", "康复", "监测", "评估", "诊断", "检查"), ("{x}应当怎样进行？", "{x}有哪些要点？")),
    (("病", "症", "炎", "癌", "瘤", "综合征", "中毒", "损伤", "骨折", "出血", "衰竭", "感染", "休克"),
     ("请介绍一下{x}。", "{x}是一种什么样的疾病？", "关于{x}，医生会怎样解释？")),
)  # fmt: skip


def _by_sentence(name: str, passage: Passage) -> Iterator[Question]:
    for found in _DEFINITION.finditer(passage.text[:400]):
        if not _PRONOUN.match(found["x"]) and not found["x"].endswith(
            ("的", "者", "时", "中", "还", "就", "都", "不", "也", "只", "便", "才", "却", "正", "乃", "可能")
        ):
            if found["verb"] != "是" or found["x"] == name:
                yield choose(("什么是{x}？", "{x}是什么？"), found["x"]).format(x=found["x"]), "definition"
            break
    for found in _INCLUDES.finditer(passage.text):
        if not _PRONOUN.match(found["x"]) and "由" not in found[0][:3]:
            yield f"{found['x']}包括哪些？", "includes"
            break
    if name and (called := _CALLED.search(passage.text)):
        yield f"{name}里说的“{called['x']}”是指什么？", "called"


def _by_labels(name: str, passage: Passage) -> Iterator[Question]:
    labels = [found["x"].strip() for found in _LABEL.finditer(passage.text)]
    labels = list(dict.fromkeys(label for label in labels if not _PRONOUN.match(label) and len(label) > 1))[:3]
    if name and len(labels) > 1:
        listed = "、".join(labels[:-1]) + "和" + labels[-1]
        about = "" if all(label in name for label in labels) else f"关于{name}，"
        yield f"{about}{listed}各有什么要点？", "labels"
    elif name and labels and not is_generic(labels[0]):
        yield f"关于{name}，{labels[0]}是怎样的？", "labels"


def _by_keywords(name: str, passage: Passage) -> Iterator[Question]:
    """For later parts of a long section: ask for what this part, by its words, is about."""
    if not name:
        return
    from datatools.llm.keywords import keywords

    words = [word for word in keywords(passage.text) if word not in name and name not in word]
    if len(words) > 1:
        yield f"关于{name}，“{words[0]}”和“{words[1]}”方面有哪些要点？", "keywords"
        yield f"谈到{name}时，{'、'.join(words[:4])}分别是怎么说的？", "keywords"
    begins = opening(passage.text, 24)
    if len(begins) > 3:
        yield f"关于{name}，“{begins}”具体是怎么说的？", "opening"


def _looks_like_file(title: str) -> bool:
    return not re.search(r"[\u3400-\u9fff]", title) or bool(re.search(r"_{2}|\.\w{2,4}$", title))
