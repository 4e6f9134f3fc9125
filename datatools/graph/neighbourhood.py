"""The neighbourhood of an entity: what a graph says of it, at one step and at two, the most telling first.

A fact tells the more, the fewer others it is true of: 截疟 says more of a herb than 清热解毒, which half of them do.
"""

from __future__ import annotations

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
    """Up to `cap` facts of each part; kinds take turns, so that one with many tails does not crowd out the others.

    What tells as much stands in an order drawn by `seed`.
    """
    of_entity = [
        [fact for fact in facts.of_head[kind][entity] if fact.triple.head_type == type_]
        for kind in facts.kinds_of.get(entity, ())
    ]
    own = _in_turns(facts, of_entity, seed)[:cap]
    of_tail = [by_tail[entity] for by_tail in facts.of_tail.values() if entity in by_tail]
    named = _in_turns(facts, of_tail, seed)[:cap]
    beyond: list[Fact] = []
    for name in dict.fromkeys([*(fact.tail for fact in own), *(fact.head for fact in named)]):
        if name != entity and name in facts.kinds_of:
            beyond += [fact for kind in facts.kinds_of[name] for fact in facts.of_head[kind][name]]
            if len(beyond) >= cap:
                break
    return Neighbourhood(tuple(own), tuple(named), tuple(beyond[:cap]))


def _in_turns(facts: Facts, by_kind: list[list[Fact]], seed: int) -> list[Fact]:
    """The most telling fact of each kind, then the next of each; which kind begins is drawn."""

    def order(fact: Fact) -> tuple[int, int]:
        drawn = xxhash.xxh3_64_intdigest(f"{seed}\0{fact.kind.name}\0{fact.head}\0{fact.tail}".encode())
        return len(facts.of_tail[fact.kind.name][fact.tail]), drawn

    ranked = [sorted(found, key=order) for found in by_kind if found]
    ranked.sort(key=lambda found: order(found[0])[1])
    turns = max(map(len, ranked), default=0)
    return [found[turn] for turn in range(turns) for found in ranked if turn < len(found)]
