"""A graph in memory: its triples in order, and what each name is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

HERB, FORMULA, SYNDROME, DISEASE, SYMPTOM, THERAPY = "herb", "formula", "syndrome", "disease", "symptom", "therapy"
PROPERTY, MERIDIAN, INGREDIENT = "property", "meridian", "ingredient"

# Node types under the names graphs use for them; what is not here keeps its own name.
_TYPE_NAMES = {
    HERB: "herb herbs 中药 药材 药物 中药材 单味药 药味 medicine drug",
    FORMULA: "formula formulae formulas prescription 方剂 方 方名 处方 代表方",
    SYNDROME: "syndrome pattern 证候 证型 证 辨证",
    DISEASE: "disease 疾病 病名 病 病症",
    SYMPTOM: "symptom 症状 症 临床表现 体征",
    THERAPY: "therapy treatment 治法 治则 疗法",
    PROPERTY: "herbproperty property 药性 性味 四气 五味 性 味",
    MERIDIAN: "meridian channel 归经 经络",
    INGREDIENT: "ingredient ingeredient 成分 化学成分 symmap_chemical",
}
TYPES = {name: type_ for type_, names in _TYPE_NAMES.items() for name in names.split()}
LABELS = {
    HERB: "中药",
    FORMULA: "方剂",
    SYNDROME: "证候",
    DISEASE: "疾病",
    SYMPTOM: "症状",
    THERAPY: "治法",
    PROPERTY: "药性",
    MERIDIAN: "归经",
    INGREDIENT: "成分",
}


def type_of(name: str) -> str:
    """The type under its one name; an unknown type keeps its own.

    >>> type_of("Herb"), type_of("方剂"), type_of("Experiment")
    ('herb', 'formula', 'Experiment')
    """
    return TYPES.get(name.strip().casefold(), name.strip())


class Triple(NamedTuple):
    """One statement of a graph, its relation as the file has it; types as `type_of` gives them, empty when not said."""

    head: str
    relation: str
    tail: str
    head_type: str = ""
    tail_type: str = ""
    source: str = ""


@dataclass
class Graph:
    """Triples in the order they were read, each once; the nodes that files list by themselves; notes on the reading."""

    triples: list[Triple] = field(default_factory=list)
    nodes: dict[str, set[str]] = field(default_factory=dict)  # type → names, only of files that list nodes
    notes: list[str] = field(default_factory=list)
    empty: int = 0  # statements without a head or tail
    repeated: int = 0
    _seen: set[tuple[str, str, str]] = field(default_factory=set)

    def add(self, triples: Iterable[Triple]) -> None:
        """More triples; repeated and empty ones are counted."""
        for triple in triples:
            key = triple[:3]
            if not (triple.head and triple.tail):
                self.empty += 1
            elif key in self._seen:
                self.repeated += 1
            else:
                self._seen.add(key)
                self.triples.append(triple)

    def settle_types(self) -> None:
        """Give ends without a type the one that other triples give them, where that is one type only."""
        found: dict[str, set[str]] = {}
        for triple in self.triples:
            found.setdefault(triple.head, set()).add(triple.head_type)
            found.setdefault(triple.tail, set()).add(triple.tail_type)
        known = {name: next(iter(types - {""})) for name, types in found.items() if len(types - {""}) == 1}
        self.triples = [
            triple
            if triple.head_type and triple.tail_type
            else triple._replace(
                head_type=triple.head_type or known.get(triple.head, ""),
                tail_type=triple.tail_type or known.get(triple.tail, ""),
            )
            for triple in self.triples
        ]

    def names(self) -> dict[str, list[str]]:
        """Type → names of its entities, in order of first mention."""
        found: dict[str, dict[str, None]] = {}
        for triple in self.triples:
            found.setdefault(triple.head_type, {})[triple.head] = None
            found.setdefault(triple.tail_type, {})[triple.tail] = None
        return {type_: list(names) for type_, names in found.items()}

    def lexicon(self) -> Sequence[tuple[str, str]]:
        """Names of herbs and formulas, each with its kind, as a lexicon takes them.

        Where files list nodes, a name that only stands in a relation is no name for sure: some are fragments.
        """
        found = self.names()
        return [
            (name, kind)
            for kind in (HERB, FORMULA)
            for name in found.get(kind, ())
            if kind not in self.nodes or name in self.nodes[kind]
        ]
