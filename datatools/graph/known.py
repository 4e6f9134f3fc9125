"""What a graph knows, in the form the check of claims needs it."""

from __future__ import annotations

from datatools.checks.claims import Known
from datatools.checks.lexicon import Lexicon
from datatools.graph.facts import Facts, spelled
from datatools.graph.graph import Graph


def with_names_of(graph: Graph, lexicon: Lexicon) -> Lexicon:
    """The lexicon and the herbs and formulas of a graph."""
    return lexicon.with_names((spelled(name), kind) for name, kind in graph.lexicon())


def known_of(facts: Facts, lexicon: Lexicon) -> Known:
    """Formula → herbs (whole compositions only), herb → natures, flavours and channels, syndrome → therapies."""
    return Known(
        herbs={
            formula: frozenset(lexicon.base_name(fact.tail) for fact in found)
            for formula, found in facts.of_head.get("composition", {}).items()
            if formula not in facts.damaged and len(found) > 1
        },
        natures=_by_base(facts, "nature", lexicon),
        channels={
            herb: frozenset(channel.removesuffix("经") for channel in channels)
            for herb, channels in _by_base(facts, "meridian", lexicon).items()
        },
        flavours={
            herb: frozenset(flavour.removeprefix("微") for flavour in flavours)
            for herb, flavours in _by_base(facts, "flavour", lexicon).items()
        },
        therapies={
            syndrome: frozenset(fact.tail for fact in found)
            for syndrome, found in facts.of_head.get("syndrome_therapy", {}).items()
        },
    )


def _by_base(facts: Facts, kind: str, lexicon: Lexicon) -> dict[str, frozenset[str]]:
    """Tails by the one name of each herb, those of its processed forms among them."""
    found: dict[str, set[str]] = {}
    for herb, tails in facts.of_head.get(kind, {}).items():
        found.setdefault(lexicon.base_name(herb), set()).update(fact.tail for fact in tails)
    return {herb: frozenset(tails) for herb, tails in found.items()}
