"""Which of several judged replies make a pair, and the row that is written of it. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import xxhash

from pipelines.prefer_settings import LEAST_RATIO, MOST_RATIO
from schemas.records import UNPAIRED

ASPECTS = ("score", "accuracy", "safety", "helpfulness")


@dataclass
class Candidate:
    """A reply, who wrote it, and what a judge said of it in the two orders."""

    text: str
    generator: str
    temperature: float | None = None
    flags: tuple[str, ...] = ()
    scores: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in ASPECTS})

    def record(self, side: str) -> dict[str, Any]:
        """As it stands in a row."""
        about = {"generator": self.generator, "temperature": self.temperature, "characters": len(self.text)}
        return {**about, "flags": list(self.flags), **self.scores, "side": side}

    @property
    def mean(self) -> float:
        """The score, mean of both orders."""
        return sum(self.scores["score"]) / len(self.scores["score"])


class Dropped(NamedTuple):
    """Why there is no pair, with the value and the threshold that it was held against."""

    rule: str
    value: float | None = None
    threshold: float | None = None


def within(chosen: str, rejected: str) -> bool:
    """Whether the lengths of two replies are near enough."""
    return LEAST_RATIO * len(chosen) <= len(rejected) <= MOST_RATIO * len(chosen)


def impossible(candidates: Sequence[Candidate]) -> Dropped | None:
    """Why no judge need be asked: nothing to compare, nothing that may be chosen, nothing of a like length."""
    if len(candidates) < 2:
        return Dropped("too_few_candidates", len(candidates), 2)
    pairs = _admissible(candidates)
    if not pairs:
        return Dropped("chosen_flagged")
    if not any(within(chosen.text, rejected.text) for chosen, rejected in pairs):
        return _ratio(*pairs[0])
    return None


def pair_of(candidates: Sequence[Candidate], margin: float) -> tuple[Candidate, Candidate] | Dropped:
    """The two replies, better and worse, that the judge is surest of; the reason where there are none.

    What breaks a check is never chosen. The judge must put the chosen one ahead by `margin` points in both orders;
    among such pairs, of like length, the widest margin wins, and the first where several are as wide.
    """
    leads = [(_leads(chosen, rejected), chosen, rejected) for chosen, rejected in _admissible(candidates)]
    agreed = [(found, chosen, rejected) for found, chosen, rejected in leads if min(found) >= margin]
    fitting = [one for one in agreed if within(one[1].text, one[2].text)]
    if fitting:
        _, chosen, rejected = max(fitting, key=lambda one: (min(one[0]), sum(one[0])))
        return chosen, rejected
    if agreed:
        _, chosen, rejected = max(agreed, key=lambda one: (min(one[0]), sum(one[0])))
        return _ratio(chosen, rejected)
    if any(min(_leads(one, other)) >= margin for one in candidates if one.flags for other in candidates):
        return Dropped("chosen_flagged")
    if any(found[0] * found[1] < 0 for found, _, _ in leads):
        return Dropped("orders_disagree")
    return Dropped("below_margin", max(min(found) for found, _, _ in leads), margin)


def _admissible(candidates: Sequence[Candidate]) -> list[tuple[Candidate, Candidate]]:
    return [(one, other) for one in candidates if not one.flags for other in candidates if other is not one]


def _leads(chosen: Candidate, rejected: Candidate) -> list[int]:
    """Points of one before the other, in each order."""
    return [one - other for one, other in zip(chosen.scores["score"], rejected.scores["score"], strict=True)]


def _ratio(chosen: Candidate, rejected: Candidate) -> Dropped:
    ratio = len(rejected.text) / max(1, len(chosen.text))
    return Dropped("length_ratio", ratio, LEAST_RATIO if ratio < LEAST_RATIO else MOST_RATIO)


def pair_row(
    row: Mapping[str, Any], prompt: list[dict[str, str]], chosen: Candidate, rejected: Candidate, **judged: Any
) -> dict[str, Any]:
    """A Preference record; `judged` holds what a judge, or the rules, say of it."""
    sides = [[{"role": "assistant", "content": one.text}] for one in (chosen, rejected)]
    content = json.dumps([prompt, *sides], ensure_ascii=False)
    return {
        "id": xxhash.xxh3_128_hexdigest(content.encode()),
        "prompt": prompt,
        "chosen": sides[0],
        "rejected": sides[1],
        "length_ratio": len(rejected.text) / max(1, len(chosen.text)),
        "source_id": row["source_id"] or row["id"],
        "source": row["source"],
        "generator": chosen.generator,
        "rejected_generator": rejected.generator,
        **judged,
    }


def unpaired(pairs: pa.Table) -> pa.Table:
    """Each pair as two rows, as KTO reads them: the good reply and the bad one."""
    rows = []
    for row in pairs.to_pylist():
        for side in ("chosen", "rejected"):
            writer = row["generator"] if side == "chosen" else row["rejected_generator"]
            about = {"completion": row[side], "label": side == "chosen", "score": row[f"{side}_score"]}
            rows.append({**row, **about, "id": f"{row['id']}-{side}", "generator": writer})
    return pa.Table.from_pylist(rows, schema=UNPAIRED)
