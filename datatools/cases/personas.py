"""Personas: who speaks for the patient, drawn from a grid of five axes (360 combinations).

The axes are those of PatientSim (arXiv:2505.17818), with schooling for its language level and age added: personality
(mood, verbosity), language, recall. Who may be drawn depends on the case: the mother of a patient of two is no
pensioner, and whoever may be pregnant is of an age for it.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from random import Random

import xxhash

from schemas.case import Case

GRID = {
    "age": ("18-29", "30-44", "45-59", "60-74", "75-90"),
    "schooling": ("primary", "secondary", "college"),
    "mood": ("calm", "anxious", "impatient", "low"),
    "verbosity": ("terse", "plain", "talkative"),
    "memory": ("good", "hazy"),
}
WORDS = {
    "zh": {
        "primary": "小学文化，不懂医学名词，说大白话",
        "secondary": "中学文化，懂一点常见的医学名词",
        "college": "大学文化，表达清楚",
        "calm": "平静，配合",
        "anxious": "很担心，常问严不严重",
        "impatient": "着急，不耐烦，想快点知道怎么办",
        "low": "情绪低落，说话没精神",
        "terse": "话少，一次只说一两句短话",
        "plain": "问什么答什么，两三句",
        "talkative": "话多，爱说生活琐事",
        "good": "记得清楚",
        "hazy": "记不太清，时间和药名常说“大概”“好像”",
    },
    "en": {
        "primary": "left school early, knows no medical words",
        "secondary": "went to secondary school",
        "college": "went to university, speaks clearly",
        "calm": "calm and cooperative",
        "anxious": "worried, often asks whether it is serious",
        "impatient": "in a hurry, wants to know quickly what to do",
        "low": "low in spirits, speaks without energy",
        "terse": "says little, one or two short sentences at a time",
        "plain": "answers what is asked, in two or three sentences",
        "talkative": "talks a lot and tells of daily life",
        "good": "remembers well",
        "hazy": "remembers poorly, says `about` and `I think` of dates and drugs",
    },
}
_CHILD = re.compile(
    r"孩子|宝宝|小孩|婴儿|新生儿|幼儿|儿子|女儿|(?<![0-9])(?:[0-9]|1[0-3])周?岁|(?<![一二三四五六七八九十])[一二三四五六七八九十]周?岁"
    r"|[0-9]+个?月大|\bmy (?:son|daughter|baby|child)\b|\binfant\b|\b[0-9]{1,2}[- ]months?[- ]old\b"
)
_PREGNANT = re.compile(r"怀孕|孕[0-9一二三四五六七八九十早中晚妇周期]|产后|月经|备孕|妊娠|\bpregnan|\bpostpartum\b")
_YEARS = re.compile(r"(?<![0-9])([1-9][0-9])周?岁|\b([1-9][0-9])[- ]years?[- ]old\b")
_CHILDREN, _WOMEN = ("儿科", "小儿"), ("产科", "妇产", "妇科")


@dataclass(frozen=True)
class Persona:
    """One point of the grid."""

    age: str
    schooling: str
    mood: str
    verbosity: str
    memory: str

    def words(self, language: str) -> str:
        """A line for a prompt."""
        words = WORDS[language]
        traits = [words[trait] for trait in (self.schooling, self.mood, self.verbosity, self.memory)]
        return "；".join([f"{self.age}岁", *traits]) if language == "zh" else "; ".join([f"aged {self.age}", *traits])

    def record(self) -> dict[str, str]:
        """The struct of a row."""
        return asdict(self)


def persona_of(case: Case, seed: int) -> Persona:
    """The persona of a case: the same for the same id and seed, whatever else is in the input.

    >>> persona_of(Case("a", (), department="儿科"), 0).age in ("18-29", "30-44")
    True
    """
    draw = Random(xxhash.xxh3_64_intdigest(case.id.encode("utf-8", "replace"), seed))
    return Persona(draw.choice(_ages(case)), *(draw.choice(GRID[axis]) for axis in list(GRID)[1:]))


def _ages(case: Case) -> tuple[str, ...]:
    text = case.text
    if case.department.startswith(_CHILDREN) or _CHILD.search(text):
        return GRID["age"][:2]  # a parent
    if found := _YEARS.search(text):
        years = int(found[1] or found[2])
        fitting = tuple(band for band in GRID["age"] if int(band[:2]) <= years <= int(band[3:]))
        return fitting or GRID["age"][:1]
    if case.department.startswith(_WOMEN) or (_PREGNANT.search(text) and "未怀孕" not in text):
        return GRID["age"][:2]
    return GRID["age"][:3] if "未怀孕" in text else GRID["age"]
