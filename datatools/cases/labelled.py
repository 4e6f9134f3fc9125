"""Records with labelled parts (病情描述：…) cut into facts, and each fact given the layer it is known in.

What brings the patient is said unasked: the complaint, the first sentence of the description, the help that is wanted.
The rest of the description, and everything under the labels of a history, is told when asked. What the clinician wrote
the patient does not know.
"""

from __future__ import annotations

import re

from schemas.case import ON_ASKING, UNKNOWN, VOLUNTEERED, Fact

# Label of the record → layer. A label that is not here begins a part that is told when asked.
LABELS = {
    **dict.fromkeys(
        ("疾病", "主诉", "希望获得的帮助", "想得到怎样的帮助", "咨询问题", "Chief complaint", "Complaint", "Question"),
        VOLUNTEERED,
    ),
    **dict.fromkeys(
        (
            *(
                "患病多久",
                "已就诊医院及科室",
                "用药情况",
                "过敏史",
                "既往病史",
                "既往史",
                "怀孕情况",
                "个人史",
                "家族史",
            ),
            *("月经史", "婚育史", "现病史", "手术史", "年龄", "性别", "身高体重"),
            *("History", "Past history", "Medications", "Allergies", "Family history", "Social history", "Duration"),
            *("History of present illness", "Age", "Sex"),
        ),
        ON_ASKING,
    ),
    **dict.fromkeys(
        (
            *(
                "体格检查",
                "查体",
                "辅助检查",
                "检查结果",
                "诊断",
                "初步诊断",
                "疾病诊断",
                "病情摘要及初步印象",
                "总结建议",
            ),
            *("药品", "处方", "治疗", "治疗意见", "处理意见", "舌象", "脉象"),
            *("Examination", "Physical examination", "Investigations", "Diagnosis", "Treatment", "Plan", "Impression"),
        ),
        UNKNOWN,
    ),
}
NARRATIVE = ("病情描述", "现病史", "History of present illness", "Description")
DIAGNOSES = ("病情摘要及初步印象", "疾病诊断", "初步诊断", "诊断", "Diagnosis", "Impression")
_NAMES = sorted({*LABELS, *NARRATIVE}, key=lambda name: (-len(name), name))
_LABEL = re.compile(rf"^[ \t]*[【\[]?({'|'.join(map(re.escape, _NAMES))})[】\]]?[ \t]*[：:][ \t]*", re.MULTILINE)
# Two labels on one line, where the first has nothing under it: 用药情况：过敏史：无.
_INSIDE = re.compile(rf"(?<=[：:])({'|'.join(map(re.escape, _NAMES))})(?=[：:])")
# What a web form adds: when it was filled in, and the talk that came after it.
_FILLED = re.compile(r"[（(]\d{4}-\d{1,2}-\d{1,2}填写[）)]")
_TALK = re.compile(
    r"^[ \t]*(?:医生给您发来一个提醒|Dialogue|医生|病人|患者|Doctor|Patient)[ \t]*[：:]?[ \t]*$", re.MULTILINE
)
_LATIN_END = re.compile(r"(?<=[a-z)][.])\s+(?=[A-Z])")  # Light hurts. I vomited: not 37.5, nor e.g. this
_SENTENCE = re.compile(r"[^。！？!?；;\n]+[。！？!?；;]*|(?<=\n)[^\n]+")
_GREETING = re.compile(
    r"^(?:(?:医生|大夫|主任|教授|专家)?[，, ]?(?:您|你)?好(?:医生|大夫)?[！!。，,~ ]+)+"
    r"|^(?:hello|hi)\b[^.!,]{0,12}[.!,]\s*",
    re.IGNORECASE,
)
_COURTESY = re.compile(
    r"^(?:请|希望|恳请|麻烦|谢谢|感谢|多谢)[^，,]{0,16}(?:解答|指导|回复|帮忙|谢谢|感谢|医生|大夫)?[^，,]{0,6}[，,]?(?:谢谢|感谢)?[您你]?[！!。~]*$"
)
_NOTHING = frozenset(("", "无", "暂无", "不详", "未填写", "none", "n/a"))
SHORT = 5  # characters: a sentence so short belongs to the one before it


def parts_of(text: str) -> list[tuple[str, str]]:
    """Label and text of every labelled part that holds something; none where the text has no labels.

    >>> parts_of("疾病：\\n牙疼\\n患病多久：\\n一周内\\n用药情况：过敏史：\\n无（2020-03-25填写）")
    [('疾病', '牙疼'), ('患病多久', '一周内'), ('过敏史', '无')]
    """
    talk = _TALK.search(text)
    text = _INSIDE.sub(r"\n\1", text[: talk.start()] if talk else text)
    found = list(_LABEL.finditer(text))
    ends = [*(label.start() for label in found[1:]), len(text)][: len(found)]
    parts = [(label[1], _tidy(text[label.end() : end])) for label, end in zip(found, ends, strict=True)]
    return [(label, part) for label, part in parts if part]


def facts_of(text: str) -> tuple[Fact, ...]:
    """The facts of a record with labelled parts; none where it has no labels.

    >>> [tuple(fact[:2]) for fact in facts_of("病情描述：\\n左眼发红。滴了3次眼药水，没见好转。\\n过敏史：\\n蚕豆病")]
    [('左眼发红。', 'volunteered'), ('滴了3次眼药水，没见好转。', 'on_asking'), ('过敏史：蚕豆病', 'on_asking')]
    """
    facts: list[Fact] = []
    for label, part in parts_of(text):
        if label in NARRATIVE:
            first, *rest = sentences(_GREETING.sub("", part) or part)
            told = (Fact(sentence, ON_ASKING) for sentence in rest if not _COURTESY.match(sentence))
            facts += [Fact(first, VOLUNTEERED), *told]
        elif label in ("疾病", "主诉", "Chief complaint", "Complaint"):
            facts.append(Fact(part, VOLUNTEERED))
        else:
            layer = LABELS.get(label, ON_ASKING)
            if not (layer == UNKNOWN and part.casefold() in _NOTHING):
                facts.append(Fact(_named(label, part), layer))
    return tuple(dict.fromkeys(facts))


def conclusion_of(text: str) -> tuple[str, tuple[Fact, ...]]:
    """What a clinician wrote: the diagnosis, and all of it as facts that the patient does not know.

    >>> conclusion_of("病情摘要及初步印象：\\n结膜炎\\n总结建议：\\n滴眼液一日4次。")[0]
    '结膜炎'
    """
    parts = parts_of(text)
    if not parts:
        return "", (Fact(_tidy(text), UNKNOWN),) if _tidy(text) else ()
    diagnosis = next((part for label in DIAGNOSES for name, part in parts if name == label), "")
    return diagnosis, tuple(Fact(_named(label, part), UNKNOWN) for label, part in parts)


def _named(label: str, part: str) -> str:
    return f"{label}: {part}" if label.isascii() else f"{label}：{part}"


def sentences(text: str) -> list[str]:
    """The sentences of a text, very short ones with the one before them; the whole where it has none.

    >>> sentences("腰痛三天。不能弯腰！难受。")
    ['腰痛三天。', '不能弯腰！难受。']
    """
    found: list[str] = []
    for sentence in (match[0].strip() for match in _SENTENCE.finditer(_LATIN_END.sub("\n", text))):
        if found and len(sentence) < SHORT:
            found[-1] += sentence
        elif sentence:
            found.append(sentence)
    return found or [text]


def _tidy(text: str) -> str:
    return " ".join(_FILLED.sub("", text).split())
