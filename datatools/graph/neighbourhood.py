"""The neighbourhood of an entity: what a graph says of it, at one step and at two, the most telling first.

A fact tells the more, the fewer others stand at its far end under the same relation: 截疟 says more of a herb than
清热解毒, which half of them do, and a formula of four herbs says more of each than one of thirty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import xxhash

from datatools.graph.facts import Fact, Facts

CAP = 48  # facts in each of the three parts; a formula of the shared graphs has 20 of its own at most


class Neighbourhood(NamedTuple):
    """Facts of which the entity is the head, facts of which it is the tail, and facts of what these lead to."""

    own: tuple[Fact, ...]
    named: tuple[Fact, ...]
    beyond: tuple[Fact, ...]


def neighbourhood(facts: Facts, entity: str, type_: str, seed: int = 0, cap: int = CAP) -> Neighbourhood:
    """Up to `cap` facts of each part. Kinds take turns, so that one with many tails does not crowd out the others; so
    do the entities of the second step.

    What tells as much stands in an order drawn by `seed`.
    """
    own = [
        [fact for fact in facts.of_head[kind][entity] if fact.triple.head_type == type_]
        for kind in facts.kinds_of.get(entity, ())
    ]
    first = _in_turns(facts, own, seed, cap)
    named = [
        [fact for fact in by_tail[entity] if fact.kind.tail in ("", type_)]
        for by_tail in facts.of_tail.values()
        if entity in by_tail
    ]
    second = _in_turns(facts, named, seed, cap, from_tail=True)
    ends = dict.fromkeys([*(fact.tail for fact in first), *(fact.head for fact in second)])
    beyond: list[list[Fact]] = []
    for name in ends:
        if name != entity and name in facts.kinds_of and len(beyond) < cap:
            every = [facts.of_head[kind][name] for kind in facts.kinds_of[name]]
            told = [[fact for fact in those if fact.tail != entity] for those in every]
            beyond.append(_in_turns(facts, told, seed, cap))
    return Neighbourhood(tuple(first), tuple(second), tuple(_one_of_each(beyond, cap)))


def _in_turns(
    facts: Facts, by_kind: Sequence[Sequence[Fact]], seed: int, cap: int, from_tail: bool = False
) -> list[Fact]:
    """The most telling fact of each kind, then the next of each; which kind begins is drawn."""

    def order(fact: Fact) -> tuple[int, int]:
        others = facts.of_head[fact.kind.name][fact.head] if from_tail else facts.of_tail[fact.kind.name][fact.tail]
        drawn = xxhash.xxh3_64_intdigest(f"{seed}\0{fact.kind.name}\0{fact.head}\0{fact.tail}".encode())
        return len(others), drawn

    ranked = [sorted(found, key=order) for found in by_kind if found]
    ranked.sort(key=lambda found: order(found[0])[1])
    return _one_of_each(ranked, cap)


def _one_of_each(lists: Sequence[Sequence[Fact]], cap: int) -> list[Fact]:
    turns = max(map(len, lists), default=0)
    return [found[turn] for turn in range(turns) for found in lists if turn < len(found)][:cap]
