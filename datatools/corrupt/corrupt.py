"""A good answer made worse in one known way, for preference pairs that need no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import NamedTuple, TypeAlias

from datatools.corrupt.doses import other_dose
from datatools.corrupt.drugs import other_drug
from datatools.corrupt.meaning import turned_negation, without_warning


class Corruption(NamedTuple):
    """An answer that is worse than the one it was made from, and in what."""

    kind: str
    answer: str


Corrupt: TypeAlias = Callable[[str, str, Random], str | None]

# (question, answer, draw) → the worse answer, or None where the answer gives no occasion. Each is worse by
# construction: a number, or a drug, that stands nowhere in the good answer; a prohibition that is none any more;
# warnings that are gone.
KINDS: dict[str, Corrupt] = {
    "dose": lambda question, answer, draw: other_dose(answer, draw),
    "drug": other_drug,
    "negation": lambda question, answer, draw: turned_negation(answer, draw),
    "warning": lambda question, answer, draw: without_warning(answer, draw),
}


def corruptions(
    question: str, answer: str, draw: Random, more: Mapping[str, Corrupt] | None = None
) -> Iterator[Corruption]:
    """The ways in which this answer can be made worse, in random order; nothing for one that gives no occasion.

    `more` are further kinds, such as `formula`, which need more than the text.
    """
    kinds = {**KINDS, **(more or {})}
    for kind in draw.sample(sorted(kinds), len(kinds)):
        worse = kinds[kind](question, answer, draw)
        if worse is not None:
            yield Corruption(kind, worse)
