"""Entities of an answer that its source does not have: herbs, formulas and drugs that a model brought in by itself."""

from __future__ import annotations

import re
from typing import NamedTuple

from datatools.checks.lexicon import DRUG, HERB, Lexicon, shipped  # noqa: F401 the doctests
from datatools.checks.plain import nfkc

# The shared ends of drug names (WHO stems and their Chinese), with one character before them: 氯沙坦, 阿托伐他汀.
_STEM = re.compile(
    "[\u4e00-\u9fff](?:沙坦|普利(?!什|茅)|他汀|洛尔|西林|霉素|地平|拉唑|替丁|替尼|沙星|司琼|格列[净汀酮]|列净|列汀|鲁肽|单抗|昔布|韦林|昔洛韦|他滨)"
)
_ENGLISH_STEM = re.compile(
    r"\b[a-z]{3,}(?:sartan|statin|cillin|mycin|prazole|tidine|floxacin|gliptin|gliflozin|glutide|dipine|conazole|tinib|zumab|ximab)\b"
)


class Entities(NamedTuple):
    """How many entities an answer names, and those that neither its source nor the question does."""

    total: int
    missing: tuple[str, ...]


def entities(answer: str, given: str, lexicon: Lexicon) -> Entities:
    """Compare the entities of an answer with those of what was given (source and question), aliases alike.

    >>> entities("可服阿莫西林，或用双花煎汤。", "金银花煎汤代茶。", shipped())
    Entities(total=2, missing=('阿莫西林',))
    """
    answer = nfkc(answer)
    named = {mention.name: mention for mention in lexicon.find(answer)}
    given = nfkc(given)
    bare = given.lower()
    known: set[str] | None = None
    missing: dict[str, None] = {}
    for name, mention in named.items():
        if answer[mention.start : mention.end].lower() in bare or name in bare:
            continue
        if known is None:
            known = {found.name for found in lexicon.find(given)}
        if name not in known and not _within_formula(name, mention.kind, known):
            missing[name] = None
    stems = [found[0] for found in _STEM.finditer(answer)] + [
        found[0] for found in _ENGLISH_STEM.finditer(answer.lower())
    ]
    covered = " ".join(
        answer[mention.start : mention.end].lower() for mention in named.values() if mention.kind == DRUG
    )
    unlisted = [stem for stem in stems if stem not in covered]
    missing.update(dict.fromkeys(stem for stem in unlisted if stem not in bare))
    return Entities(len(named) + len(set(unlisted)), tuple(missing))


def _within_formula(name: str, kind: str, known: set[str]) -> bool:
    """桂枝 of a source that names 桂枝汤 is not brought in from nowhere."""
    return kind == HERB and any(name in other for other in known if other != name)
