"""A good answer made worse in one known way, for preference pairs that need no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from datatools.corrupt.doses import other_dose
from datatools.corrupt.drugs import other_drug
from datatools.corrupt.meaning import turned_negation, without_warning


class Corruption(NamedTuple):
    """An answer that is worse than the one it was made from, and in what."""

    kind: str
    answer: str


# (question, answer, draw) → the worse answer, or None where the answer gives no occasion. Each is worse by
# construction: a number, or a drug, that stands nowhere in the good answer; a prohibition that is none any more;
# warnings that are gone.
KINDS: dict[str, Callable[[str, str, Random], str | None]] = {
    "dose": lambda question, answer, draw: other_dose(answer, draw),
    "drug": other_drug,
    "negation": lambda question, answer, draw: turned_negation(answer, draw),
    "warning": lambda question, answer, draw: without_warning(answer, draw),
}


def corruptions(question: str, answer: str, draw: Random) -> Iterator[Corruption]:
    """The ways in which this answer can be made worse, in random order; nothing for one that gives no occasion."""
    for kind in draw.sample(sorted(KINDS), len(KINDS)):
        worse = KINDS[kind](question, answer, draw)
        if worse is not None:
            yield Corruption(kind, worse)
