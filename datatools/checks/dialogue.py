"""Checks of a consultation against the record it was played from: who told what, and when; who asked what, how often.

Everything here compares the turns with the record; what needs no record is in `medical.py` and `turn.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from datatools.checks.check import Checked
from datatools.checks.drugs import unlisted_drugs
from datatools.checks.medical import Knowledge, check_conversation
from datatools.checks.numbers import missing_numbers
from datatools.checks.red_flags import advises_care, red_flags
from datatools.checks.roles import role_leaks
from datatools.checks.turn import turn_flags
from datatools.dedupe.exact import question_key
from schemas.case import ON_ASKING, VOLUNTEERED, Case

TOLD = 0.6  # share of a fact's own bigrams in what the patient said from which on it was told
OWN = 4  # bigrams that a fact must have beside what is told unasked, to be recognised as told too early
LONGEST_TERM, SHORTEST_TERM = 12, 2  # characters of a diagnosis that is a name and no sentence
SAME = 0.8  # Jaccard of bigrams of two questions that ask the same
SPELLED = re.compile(r"[\w%℃]+")

# Flags of a conversation that are decided another way where somebody plays a record.
_OWN_WAY = frozenset(("number_not_in_source", "unsupported", "role_leak", "red_flag_without_advice"))
# What a label of a record is asked for with; narrative facts are asked for by any question.
_ASKED = {
    "患病多久": "多久|多长|几天|什么时候|何时|哪天|时间|开始|how long|when|since",
    "用药情况": "药|治疗|medic|drug|tak(?:e|ing)|treat",
    "过敏史": "过敏|allerg",
    "既往": "以前|既往|得过|病史|手术|慢性|身体|history|before|other (?:illness|condition)",
    "怀孕": "孕|月经|末次|pregnan|period",
    "已就诊": "医院|看过|检查|就诊|医生|hospital|seen|test",
    "家族": "家|父母|遗传|famil",
    "年龄": "年龄|多大|几岁|how old|age",
    "Medications": "药|medic|drug|tak(?:e|ing)",
    "Allergies": "过敏|allerg",
    "Duration": "多久|how long|when|since",
}
_OPEN = re.compile(
    r"还有(?:什么|哪些|没有)|其他|别的|具体|详细|说说|讲讲|描述|介绍一下|怎么了|哪里不舒服"
    r"|tell me|anything else|describe|more about",
    re.IGNORECASE,
)
# 好的，多久了？ asks what 多久了？ asks.
_LEAD = re.compile(
    r"^(?:好的?|嗯+|哦|了解了?|明白了?|知道了?|那么?|请问|您好|我再问一下|okay|ok|I see|thank you)[，,。.、！! ]+",
    re.IGNORECASE,
)
_LATIN_END = re.compile(r"(?<=[a-z)][.])\s+(?=[A-Z])")
_QUOTED = re.compile(r"“[^“”]{0,80}”")
_SENTENCE = re.compile(r"[^。！？!?\n；;]+[。！？!?；;]*")
_ASKS = re.compile(r"[？?]\s*$|(?:吗|呢|么|没有)[。\s]*$")
_ADVICE = re.compile(
    r"建议|应该|应当|需要(?!了解|知道|先了解|问)|最好|注意|避免|不要|请(?:到|去|尽快|立即|马上|您?按|您?先|您?注意|避免|拨打|停)"
    r"|可以(?:先|用|吃|服|涂|试|考虑|做|到|去|选)"
    r"|服用|口服|外用|涂抹|复查|就诊|就医|急诊|多喝|休息"
    r"|\brecommend|\bshould\b|\badvise|\bplease (?:go|see|take|avoid|rest|call|stop)|\btake\b|\bavoid\b|\bsee a doctor|\bemergency",
    re.IGNORECASE,
)
_HEDGE = re.compile(r"考虑|可能|待查|待排|[?？]|首先|伴有?|急性期|术后|复查|初步|诊断|疑似|\d+[.、]")
_DENIES = re.compile(r"无|没|未|不|否|\b(?:no|not|none|never)\b|n't", re.IGNORECASE)
_THANKS = re.compile(r"谢谢|感谢|费心|不胜感激|\bthank")
_SPLIT = re.compile(r"[，,；;。、\s/+()（）]+")
_DOSE_UNIT = re.compile(r"(?:^| )(?:mg|μg|g|ml|iu|片|粒|丸|滴|支|袋|枚|钱|两|剂|匙)\b|mg/|次/|/天")


def check_dialogue(
    messages: Sequence[Mapping[str, str]], case: Case, knowledge: Knowledge, *, language: str
) -> tuple[Checked, dict[str, Any]]:
    """Values and flags of a dialogue, and what the struct `dialogue` of its row holds. Never raises on any text.

    Flags: those of `check_conversation` that hold for a clinician who has not seen the record, those of the turns'
    form, and `revealed_early`, `diagnosis_said`, `repeated_question`, `no_question_before_advice`, `wrong_role_end`.
    """
    turns = [turn for turn in messages if turn["role"] != "system"]
    values, flags = check_conversation(messages, case.text, knowledge, language=language)
    clinician = "\n".join(turn["content"] for turn in turns if turn["role"] == "assistant")
    patient = "\n".join(turn["content"] for turn in turns if turn["role"] == "user")
    doses = [
        number for number in missing_numbers(clinician, f"{case.text}\n{patient}").missing if _DOSE_UNIT.search(number)
    ]
    form = [flag for turn in turns for flag in turn_flags(turn["content"], turn["role"] == "user", language)]
    drugs = unlisted_drugs(clinician, f"{case.text}\n{patient}")
    leaks = role_leaks(without_quotes(turns))
    signs = red_flags(patient)
    # 去医院看过吗？ is no advice to go there.
    told = "\n".join(sentence for sentence in _sentences(clinician) if not _ASKS.search(sentence))
    measured = {
        "turns": sum(turn["role"] == "assistant" for turn in turns),
        "facts": len(case.layer(VOLUNTEERED, ON_ASKING)),
        "facts_told": sum(_told(fact, patient) for fact in case.layer(VOLUNTEERED, ON_ASKING)),
        "revealed_early": revealed_early(turns, case),
        "diagnosis_said": diagnosis_said(turns, case),
        "questions_before_advice": questions_before_advice(turns),
        "repeated_questions": repeated_questions(turns),
        "role_leaks": [leak for leak in leaks if leak != "order"],
        "red_flags": list(signs),
        "unsupported": [*doses, *drugs],
    }
    fired = (
        *((flag, flag not in _OWN_WAY) for flag in flags),
        *((flag, True) for flag in form),
        ("number_not_in_source", bool(doses)),
        ("unsupported_entity", bool(drugs)),
        ("role_leak", bool(measured["role_leaks"])),
        ("red_flag_without_advice", bool(signs) and not advises_care(told)),
        ("wrong_role_end", "order" in leaks),
        ("revealed_early", bool(measured["revealed_early"])),
        ("diagnosis_said", bool(measured["diagnosis_said"])),
        ("repeated_question", bool(measured["repeated_questions"])),
        ("no_question_before_advice", measured["questions_before_advice"] == 0),
    )
    return Checked(values, tuple(dict.fromkeys(name for name, hit in fired if hit))), measured


def without_quotes(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The turns without what stands in quotation marks: a clinician who quotes the patient does not speak as one."""
    return [{"role": turn["role"], "content": _QUOTED.sub("", turn["content"])} for turn in messages]


def revealed_early(turns: Sequence[Mapping[str, str]], case: Case) -> list[str]:
    """Facts of the layer on_asking that the patient told before the clinician asked for them, or asked openly."""
    unasked = "\n".join(case.layer(VOLUNTEERED))
    early = []
    for fact in case.layer(ON_ASKING):
        questions = ""
        for turn in turns:
            if turn["role"] == "assistant":
                questions += "\n".join(sentence for sentence in _sentences(turn["content"]) if _ASKS.search(sentence))
            elif _told(fact, turn["content"], unasked, OWN):
                if not _asked(fact, questions):
                    early.append(fact)
                break
    return early


def askable(case: Case) -> list[str]:
    """Facts of the layer on_asking that a clinician can ask for: no question of the patient, no word of thanks.

    Nor what is told unasked anyway, which nobody can be seen to have asked for.
    """
    unasked = bigrams("\n".join(case.layer(VOLUNTEERED)))
    return [
        fact
        for fact in case.layer(ON_ASKING)
        if not _ASKS.search(fact) and not _THANKS.search(fact) and (bigrams(_content(fact)) - unasked or _denies(fact))
    ]


def elicited(turns: Sequence[Mapping[str, str]], case: Case) -> list[str]:
    """Facts of `askable` that the patient told, beside what is told unasked.

    What a record denies (过敏史：无) has no words of its own: it was told where the clinician asked for it and the
    answer denies something.
    """
    patient = "\n".join(turn["content"] for turn in turns if turn["role"] == "user")
    unasked = "\n".join(case.layer(VOLUNTEERED))
    return [fact for fact in askable(case) if _told(fact, patient, unasked) or _denied(fact, turns)]


def _denied(fact: str, turns: Sequence[Mapping[str, str]]) -> bool:
    if not _denies(fact):
        return False
    pattern = _pattern(fact)
    return any(
        question["role"] == "assistant"
        and any(re.search(pattern, one, re.IGNORECASE) for one in _sentences(question["content"]) if _ASKS.search(one))
        and _DENIES.search(answer["content"]) is not None
        for question, answer in pairwise(turns)
    )


def _denies(fact: str) -> bool:
    """Whether a labelled fact says that there is none: 过敏史：无."""
    return bool(_pattern(fact) and _DENIES.match(_content(fact).strip()))


def _pattern(fact: str) -> str:
    """What the label of a fact is asked for with; empty where it has none."""
    return next((pattern for name, pattern in _ASKED.items() if fact.startswith(name)), "")


def diagnosis_said(turns: Sequence[Mapping[str, str]], case: Case) -> list[str]:
    """Terms of the diagnosis in the patient's words that the patient does not know and the clinician had not named."""
    known = "\n".join(case.layer(VOLUNTEERED, ON_ASKING))
    said = []
    for term in diagnosis_terms(case.diagnosis):
        if term in known:
            continue
        for turn in turns:
            if term in turn["content"]:
                if turn["role"] == "user":
                    said.append(term)
                break
    return said


def diagnosis_terms(diagnosis: str) -> list[str]:
    """The names in a diagnosis, without what hedges them.

    >>> diagnosis_terms("1.急性肠炎；考虑缺铁性贫血？ 拇指关节肿大伴活动受限已经有十三年")
    ['急性肠炎', '缺铁性贫血']
    """
    terms = (_HEDGE.sub("", term).strip() for term in _SPLIT.split(re.sub(r"\d+[.、]", "，", diagnosis)))
    return list(dict.fromkeys(term for term in terms if SHORTEST_TERM <= len(term) <= LONGEST_TERM))


def questions_before_advice(turns: Sequence[Mapping[str, str]]) -> int:
    """How many questions the clinician asked before the first sentence that advises; all where none does."""
    questions = 0
    for turn in turns:
        if turn["role"] != "assistant":
            continue
        for sentence in _sentences(turn["content"]):
            if _ASKS.search(sentence):
                questions += 1
            elif _ADVICE.search(sentence):
                return questions
    return questions


def repeated_questions(turns: Sequence[Mapping[str, str]]) -> list[str]:
    """Questions of the clinician that it had asked before, in the same words or nearly."""
    asked: list[tuple[bytes, frozenset[str]]] = []
    repeated = []
    for turn in turns:
        if turn["role"] != "assistant":
            continue
        for sentence in _sentences(turn["content"]):
            if not _ASKS.search(sentence):
                continue
            bare = _LEAD.sub("", sentence)
            own = question_key(bare), bigrams(bare)
            if any(own[0] == key or _jaccard(own[1], grams) >= SAME for key, grams in asked):
                repeated.append(sentence)
            asked.append(own)
    return repeated


def bigrams(text: str) -> frozenset[str]:
    """Pairs of neighbouring letters and digits, in lower case; words of Latin script as they are."""
    bare = "".join(SPELLED.findall(text.casefold()))
    return frozenset(bare[i : i + 2] for i in range(len(bare) - 1))


def _told(fact: str, said: str, unasked: str = "", least: int = 1) -> bool:
    """Whether the patient told a fact: most of what is its own, beside what is told unasked, is in the words."""
    own = bigrams(_content(fact)) - bigrams(unasked)
    return len(own) >= least and len(own & bigrams(said)) >= TOLD * len(own)


def _asked(fact: str, questions: str) -> bool:
    if not questions.strip():
        return False
    label = re.split("[：:]", fact, maxsplit=1)[0] if re.match("[^：:]{2,24}[：:]", fact) else ""
    pattern = next((pattern for name, pattern in _ASKED.items() if label.startswith(name)), "")
    return not pattern or bool(re.search(pattern, questions, re.IGNORECASE) or _OPEN.search(questions))


def _content(fact: str) -> str:
    return re.sub("^[^：:]{2,10}[：:]", "", fact)


def _sentences(text: str) -> list[str]:
    text = _LATIN_END.sub("\n", text)
    return [match[0].strip() for match in _SENTENCE.finditer(text) if match[0].strip()]


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 1.0
