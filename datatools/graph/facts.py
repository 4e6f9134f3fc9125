"""Facts: what the triples of a graph say, piece by piece, with the names that cannot be asked about left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from datatools.checks.lexicon import Lexicon
from datatools.graph.graph import HERB, Graph, Triple
from datatools.graph.kinds import KINDS, Kind, generic

_HAN_NAME = re.compile("[\u4e00-\u9fff（）()·、，]{1,24}$")
# Characters that scanned tables of herbs confuse: asked about as they are meant; triples keep what the file has.
_MISPRINTS = (
    (re.compile("([瓜栝])萎"), r"\1蒌"),
    (re.compile("石莒蒲"), "石菖蒲"),
    (re.compile("剌"), "刺"),
    (re.compile("焊(?=[苦甜桃杏白扁])"), "燀"),
)


def spelled(text: str) -> str:
    """A text without the misprints of scanned herb names: 焊苦杏仁 is 燀苦杏仁, 瓜萎 is 瓜蒌."""
    for pattern, right in _MISPRINTS:
        text = pattern.sub(right, text)
    return text


class Fact(NamedTuple):
    """One piece of what a triple says: `tail` as it is asked about, `triple` as the graph has it."""

    kind: Kind
    head: str
    tail: str
    triple: Triple


@dataclass
class Facts:
    """All facts of a graph by kind, both ways, and what was left out by reason."""

    of_head: dict[str, dict[str, list[Fact]]] = field(default_factory=dict)  # kind → head → facts
    of_tail: dict[str, dict[str, list[Fact]]] = field(default_factory=dict)  # kind → tail → facts
    entities: dict[str, list[str]] = field(default_factory=dict)  # type → names that can be asked about
    kinds_of: dict[str, list[str]] = field(default_factory=dict)  # entity → kinds it is the head of
    damaged: set[str] = field(default_factory=set)  # formulas with a name among their herbs that is none
    base: dict[str, str] = field(default_factory=dict)  # herb as the graph has it → its one name
    left_out: Counter[str] = field(default_factory=Counter)

    def tails(self, kind: str, head: str) -> list[str]:
        """What the graph says of an entity under a kind."""
        return [fact.tail for fact in self.of_head.get(kind, {}).get(head, ())]

    def heads(self, kind: str, tail: str) -> list[str]:
        """Of which entities the graph says it."""
        return [fact.head for fact in self.of_tail.get(kind, {}).get(tail, ())]

    def add(self, fact: Fact) -> None:
        """One more fact; a second triple that says the same is left out."""
        known = self.of_head.setdefault(fact.kind.name, {}).setdefault(fact.head, [])
        if any(other.tail == fact.tail for other in known):
            return
        if not known:
            self.kinds_of.setdefault(fact.head, []).append(fact.kind.name)
        known.append(fact)
        self.of_tail.setdefault(fact.kind.name, {}).setdefault(fact.tail, []).append(fact)


def facts_of(graph: Graph, lexicon: Lexicon) -> Facts:
    """What a graph says that can be asked about in Chinese.

    Left out and counted: names without Chinese (codes, Latin), relations without a Chinese name that no table has,
    values that say nothing, and herbs that are neither nodes nor in the lexicon where the graph lists its nodes (pieces
    of names that were cut apart). Formulas with such a piece are `damaged`: their composition is not asked about.
    """
    facts = Facts()
    seen: dict[str, dict[str, None]] = {}
    listed = graph.nodes.get(HERB)
    for triple in graph.triples:
        if triple.tail_type == HERB and listed is not None and not _is_herb(triple.tail, listed, lexicon):
            facts.left_out["not_a_herb"] += 1
            facts.damaged.add(spelled(triple.head))
            continue
        if not _HAN_NAME.match(triple.head) or (len(triple.head) < 2):
            facts.left_out["no_chinese_name"] += 1
            continue
        said = [fact for kind in kinds_of(triple) for fact in _pieces(kind, triple)]
        if not said:
            facts.left_out["nothing_to_ask"] += 1
        for fact in said:
            facts.add(fact)
            seen.setdefault(triple.head_type, {})[fact.head] = None
    facts.entities = {type_: list(names) for type_, names in seen.items()}
    for by_tail in facts.of_tail.get("composition", {}), facts.of_head.get("herb_function", {}):
        for herb in by_tail:
            facts.base[herb] = lexicon.base_name(herb)
    return facts


def _is_herb(name: str, listed: set[str], lexicon: Lexicon) -> bool:
    return name in listed or (len(name) > 1 and lexicon.base_name(spelled(name)) in lexicon)


def kinds_of(triple: Triple) -> Sequence[Kind]:
    """The kinds of fact a triple states; a generic one where its relation has a Chinese name and no kind."""
    found = [kind for kind in KINDS if kind.matches(triple.relation, triple.head_type, triple.tail_type)]
    if not triple.head_type or len(found) > 1:
        found = [kind for kind in found if kind.view(triple.tail)]
    if found:
        return found
    other = generic(triple.relation)
    return [other] if other and triple.head_type != "ingredient" else []


def _pieces(kind: Kind, triple: Triple) -> list[Fact]:
    if kind.tail and not (_HAN_NAME.match(triple.tail) and len(triple.tail) > 1):
        return []
    tails = [triple.tail] if kind.tail else kind.view(triple.tail)
    head, tails = spelled(triple.head), list(map(spelled, tails))
    return [
        Fact(kind, head, tail, triple)
        for tail in dict.fromkeys(tails)
        if tail != head and not _in_name(kind, head, tail)
    ]


def _in_name(kind: Kind, head: str, tail: str) -> bool:
    """Whether the name says it: the part used of 桃金娘根, the process of 酒杜仲."""
    if kind.name == "herb_part":
        return tail in head
    return kind.name == "herb_process" and bool(set(tail) & set(head))
