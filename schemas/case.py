"""Case: what is true of one patient, in layers by how it comes to be known in a consultation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import xxhash

VOLUNTEERED, ON_ASKING, UNKNOWN = "volunteered", "on_asking", "unknown_to_patient"
LAYERS = (VOLUNTEERED, ON_ASKING, UNKNOWN)


class Fact(NamedTuple):
    """One thing that the record holds, in the record's own words; where it stands in a document it was taken from."""

    text: str
    layer: str
    start: int = -1  # characters of the document; −1 where it was not taken from one
    end: int = -1


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the schema CASE."""

    id: str
    facts: tuple[Fact, ...]
    diagnosis: str = ""
    department: str = ""
    source: str = ""

    def layer(self, *layers: str) -> list[str]:
        """The facts of these layers, in the order of the record."""
        return [fact.text for fact in self.facts if fact.layer in layers]

    @property
    def text(self) -> str:
        """All that the record holds, for checks that ask what is supported by it."""
        return "\n".join((*(fact.text for fact in self.facts), self.diagnosis))

    @classmethod
    def from_record(cls, row: dict[str, Any]) -> Case:
        """The Case in a row; ValueError where a layer is none of LAYERS."""
        facts = tuple(Fact(fact["text"], fact["layer"]) for fact in row["facts"] or ())
        wrong = next((fact for fact in facts if fact.layer not in LAYERS), None)
        if wrong is not None:
            raise ValueError(f"layer {wrong.layer!r} of {wrong.text[:20]!r} is none of {', '.join(LAYERS)}")
        id = row.get("id") or case_id(facts)
        return cls(id, facts, row.get("diagnosis") or "", row.get("department") or "", row.get("source") or "")


def case_id(facts: tuple[Fact, ...]) -> str:
    """The id of a Case that brings none: xxh3-128 of its facts, 32 hex digits."""
    return xxhash.xxh3_128_hexdigest("\n".join(f"{fact.layer}\0{fact.text}" for fact in facts).encode())
