"""Ways through a graph: from signs over a therapy and a formula to herbs, and from one entity to its like."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

from datatools.graph.facts import Fact, Facts
from datatools.graph.graph import DISEASE, FORMULA, HERB, SYNDROME, THERAPY
from datatools.graph.question import draw

_TELL = ("formula_indication", "syndrome_features", "disease_features")
MENTIONS = 8
_HERBS = 14  # a formula of more is a catalogue, not a line of reasoning


def path(facts: Facts, entity: str, type_: str, named: Iterable[Fact], drawn: random.Random) -> tuple[Fact, ...]:
    """Signs, (syndrome,) therapy, formula, herbs: the facts of one such way past an entity; empty where there is none.

    `named` are facts that the entity is the tail of, or whose text names it: a symptom comes to its formulas that way.
    """
    for formula, before in _formulas(facts, entity, type_, named, drawn):
        signs, therapy = facts.of_head.get("formula_indication", {}), facts.of_head.get("formula_function", {})
        herbs = facts.of_head.get("composition", {}).get(formula, [])
        if formula in facts.damaged or not 1 < len(herbs) <= _HERBS:
            continue
        way = [*before, *signs.get(formula, [])[:1], *therapy.get(formula, [])]
        if way and (signs.get(formula) or before) and (therapy.get(formula) or _therapies(before)):
            return tuple(dict.fromkeys([*way, *herbs]))
    return ()


def _therapies(found: Sequence[Fact]) -> bool:
    return any(fact.kind.name in ("syndrome_therapy", "therapy_for") for fact in found)


def _formulas(
    facts: Facts, entity: str, type_: str, named: Iterable[Fact], drawn: random.Random
) -> Iterator[tuple[str, list[Fact]]]:
    """Formulas that an entity leads to, each with the facts of the way there."""
    if type_ == FORMULA:
        yield entity, []
        return
    if type_ in (SYNDROME, DISEASE):
        yield from _of_syndrome(facts, entity, [])
        for step in facts.of_head.get("disease_syndrome", {}).get(entity, ()):
            yield from _of_syndrome(facts, step.tail, [step])
    if type_ in (HERB, THERAPY):
        kind = "composition" if type_ == HERB else "formula_function"
        found = facts.of_tail.get(kind, {}).get(entity, [])
    else:
        found = [fact for fact in named if fact.kind.name == "formula_indication"]
    for fact in drawn.sample(found, min(len(found), 6)):
        yield fact.head, []


def _of_syndrome(facts: Facts, syndrome: str, before: list[Fact]) -> Iterator[tuple[str, list[Fact]]]:
    said = [
        fact
        for kind in ("syndrome_features", "syndrome_cause", "syndrome_therapy")
        for fact in facts.of_head.get(kind, {}).get(syndrome, ())
    ]
    for formula in facts.of_head.get("syndrome_formula", {}).get(syndrome, ()):
        yield formula.tail, [*before, *said, formula]


def twin(facts: Facts, entity: str, own: Sequence[Fact], drawn: random.Random) -> str:
    """One of the same type of which something is true that is true of the entity, by the most telling such fact."""
    for fact in own:
        if fact.kind.prose or fact.kind.name == "alias":
            continue
        like = [
            other.head
            for other in facts.of_tail[fact.kind.name][fact.tail]
            if other.head != entity and other.triple.head_type == fact.triple.head_type
        ]
        if like:
            return drawn.choice(like)
    return ""


def mentions(facts: Facts, name: str, seed: int = 0) -> list[Fact]:
    """Facts in whose text a symptom or syndrome is named: what it is a sign of. The shortest tell the most of it."""
    if len(name) < 2:
        return []
    found = [
        fact
        for kind in _TELL
        for head, those in facts.of_head.get(kind, {}).items()
        for fact in those
        if name in fact.tail and head != name
    ]
    found.sort(key=lambda fact: (len(fact.tail), draw(seed, fact.head, fact.tail).random()))
    return found[:MENTIONS]
