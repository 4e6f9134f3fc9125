"""The graph as `tcm` takes it: what it says, which entities are asked about, what answers are held against."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from datatools.checks.lexicon import shipped
from datatools.checks.medical import Knowledge
from datatools.engine.units import identity
from datatools.graph.facts import Facts, facts_of
from datatools.graph.graph import LABELS, Graph
from datatools.graph.known import known_of, with_names_of
from datatools.graph.read import read_graph


class Loaded(NamedTuple):
    """A graph, what it says, and what its answers are checked against."""

    graph: Graph
    facts: Facts
    knowledge: Knowledge


@lru_cache(maxsize=1)
def load(graph: str, lexicon: str | None, _digest: str) -> Loaded:
    """The graph and what is made of it once a process."""
    read = read_graph(graph)
    words = shipped().with_file(Path(lexicon)) if lexicon else shipped()
    facts = facts_of(read, words)
    words = with_names_of(read, words)
    return Loaded(read, facts, Knowledge(words, known_of(facts, words)))


def digest_of_graph(identities: Mapping[str, str], settings: Mapping[str, Any], lexicon: str | None) -> str:
    """What tells this graph, lexicon and these settings from others."""
    of_lexicon = identity(lexicon) if lexicon else ""
    return xxhash.xxh3_64_hexdigest(json.dumps([identities, settings, of_lexicon], ensure_ascii=False).encode())


def chosen_entities(
    entities: Mapping[str, list[str]], left_out: Counter[str], types: Sequence[str], limit: int | None
) -> dict[str, list[str]]:
    """Type → entities to ask about. Raises ValueError for a type the graph has not, or nothing to ask about."""
    found = {type_ or "": names for type_, names in entities.items()}
    named = {LABELS.get(type_, type_): type_ for type_ in found}
    wanted = [named.get(type_, type_) for type_ in types] or list(found)
    for type_ in wanted:
        if type_ not in found:
            there = ", ".join(LABELS.get(known, known) for known in found)
            raise ValueError(f"--types {type_}: nothing of that type can be asked about; there are {there}")
    if not any(found.values()):
        left = ", ".join(f"{reason} {count:,}" for reason, count in sorted(left_out.items()))
        raise ValueError(f"no triple of the graph can be asked about in Chinese ({left})")
    left_over, chosen = limit, {}
    for type_ in wanted:
        chosen[type_] = found[type_] if left_over is None else found[type_][:left_over]
        left_over = None if left_over is None else left_over - len(chosen[type_])
    return {type_: names for type_, names in chosen.items() if names}


def counts_of(chosen: Mapping[str, list[str]]) -> str:
    """How many entities of each type, in words."""
    return ", ".join(f"{LABELS.get(type_, type_)} {len(names):,}" for type_, names in chosen.items())


def key_of(entity: str, type_: str) -> str:
    """What rows are counted under: 感冒 the disease is another entity than 感冒 the symptom."""
    return f"{type_}\0{entity}"
