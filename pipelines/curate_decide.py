"""The part of curate that decides: rules, exact and near duplicates, leaks; every decision leaves its trace row."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.clean.rules import Rule, decide
from datatools.dedupe import exact_disk
from datatools.dedupe.against import Earlier, exact_known, index_corpus, near_known
from datatools.dedupe.near import Drops, Keep, Near, near_duplicates, priorities
from datatools.engine.parts import Parts
from datatools.io.atomic import RowGroupWriter
from schemas.trace import TRACE

EXCERPT = 200
CLUSTERS, EXAMPLES = 20, 5


@dataclass(frozen=True)
class DecideSettings:
    """Thresholds: what may change without measuring again."""

    rules: tuple[Rule, ...] = ()
    exact: bool = True
    near: Near | None = None
    keep: Keep = "source-order"
    priority: tuple[str, ...] = ()  # source types, the best first
    against: str | None = None
    leaks: bool = True
    leak_coverage: float = 0.5
    leak_run: int = 30


@dataclass
class Decision:
    """What stays: `kept` over all documents of the parts, and how it came about."""

    kept: npt.NDArray[np.bool_]
    dropped: Counter[str] = field(default_factory=Counter)
    funnel: list[list[Any]] = field(default_factory=list)  # step, rows in, rows out, bytes in, seconds
    clusters: list[dict[str, Any]] = field(default_factory=list)


def decide_all(
    documents: Parts, settings: DecideSettings, folder: Path, trace: RowGroupWriter, workers: int
) -> Decision:
    """Which documents stay. `folder` is for sorting and indexes; trace rows are written in input order per step."""
    decision = Decision(np.ones(len(documents), bool))
    steps: list[tuple[str, Callable[[], None]]] = [("rules", lambda: _rules(documents, settings, trace, decision))]
    if settings.leaks:
        steps.append(("decontaminate", lambda: _leaks(documents, settings, trace, decision)))
    earlier = _earlier(settings, folder, workers)
    if settings.exact:
        steps.append(("exact", lambda: _exact(documents, settings, earlier, folder, trace, decision)))
    if settings.near:
        steps.append(("near", lambda: _near(documents, settings, earlier, folder, trace, decision, workers)))
    for name, step in steps:
        rows, began = int(decision.kept.sum()), time.monotonic()
        step()
        decision.funnel.append([name, rows, int(decision.kept.sum()), None, round(time.monotonic() - began, 3)])
    return decision


def _earlier(settings: DecideSettings, folder: Path, workers: int) -> Earlier | None:
    if settings.against is None:
        return None
    return index_corpus(Path(settings.against), folder / "against", settings.near or Near(), workers=workers)


def _rules(documents: Parts, settings: DecideSettings, trace: RowGroupWriter, decision: Decision) -> None:
    if not settings.rules:
        return
    for start, table in documents.batches():
        kept, rows = decide(table, settings.rules)
        decision.kept[start : start + table.num_rows] &= np.asarray(kept)
        if rows.num_rows:
            trace.write(rows)
            decision.dropped.update(rows["rule"].to_pylist())


def _leaks(documents: Parts, settings: DecideSettings, trace: RowGroupWriter, decision: Decision) -> None:
    columns = ["id", "source", "leak_item", "leak_coverage", "leak_run", "leak_excerpt"]
    for start, table in documents.batches(columns):
        if table["leak_item"].null_count == table.num_rows:
            continue
        rows = []
        for number, row in enumerate(table.to_pylist(), start):
            if row["leak_item"] is None or not decision.kept[number]:
                continue
            by_coverage = row["leak_coverage"] >= settings.leak_coverage
            if not by_coverage and row["leak_run"] < settings.leak_run:
                continue
            decision.kept[number] = False
            rows.append(
                {
                    "id": row["id"],
                    "source": row["source"],
                    "step": "decontaminate",
                    "rule": "leak" if by_coverage else "leak_run",
                    "value": row["leak_coverage"] if by_coverage else float(row["leak_run"]),
                    "threshold": settings.leak_coverage if by_coverage else float(settings.leak_run),
                    "twin_id": row["leak_item"],
                    "excerpt": row["leak_excerpt"],
                }
            )
        _write(trace, rows, decision)


def _exact(
    documents: Parts,
    settings: DecideSettings,
    earlier: Earlier | None,
    folder: Path,
    trace: RowGroupWriter,
    decision: Decision,
) -> None:
    among = np.flatnonzero(decision.kept)
    if earlier is not None:
        known = exact_known(earlier, _keys(documents, decision.kept), len(among), folder / "known")
        known = Drops(among[known.numbers], known.twins, known.similarities)
        _drop(documents, known, "already_known", "exact", trace, decision, earlier)
        among = np.flatnonzero(decision.kept)
    ranks = _priorities(documents, settings)
    chosen = None if ranks is None else ranks[among]
    keys = _keys(documents, decision.kept)
    found = list(exact_disk.duplicates(keys, len(among), folder / "exact", ranks=chosen))
    if found:
        numbers, firsts = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        order = np.argsort(numbers)
        drops = Drops(among[numbers[order]], among[firsts[order]], np.ones(len(numbers)))
        _drop(documents, drops, "exact_duplicate", "exact", trace, decision)


def _near(
    documents: Parts,
    settings: DecideSettings,
    earlier: Earlier | None,
    folder: Path,
    trace: RowGroupWriter,
    decision: Decision,
    workers: int,
) -> None:
    assert settings.near is not None
    arguments: dict[str, Any] = {
        "priorities": _priorities(documents, settings),
        "among": decision.kept.copy(),
        "workers": workers,
    }
    bands, texts, count = documents.batches, documents.batches, len(documents)
    if earlier is None:
        own = near_duplicates(bands, texts, count, folder / "near", settings.near, **arguments)
    else:
        known, own = near_known(earlier, bands, texts, count, folder / "near", settings.near, **arguments)
        _drop(documents, known, "already_known", "near", trace, decision, earlier)
    _drop(documents, own, "near_duplicate", "near", trace, decision)
    decision.clusters = _clusters(documents, own)


def _keys(documents: Parts, kept: npt.NDArray[np.bool_]) -> Iterator[npt.NDArray[np.void]]:
    for start, keys in documents.key_batches("key"):
        yield np.ascontiguousarray(keys[kept[start : start + len(keys)]])


def _priorities(documents: Parts, settings: DecideSettings) -> npt.NDArray[np.int64] | None:
    if settings.keep == "source-order" and not settings.priority:
        return None
    types: list[str] = []
    lengths = documents.numbers("characters")
    if settings.priority:
        for _, table in documents.batches(["source_type"]):
            types += table["source_type"].to_pylist()
    dates = None if settings.keep != "newest" else _dates(documents)
    return priorities(settings.keep, lengths=lengths, dates=dates, types=types or None, order=settings.priority)


_STATED = re.compile(
    r'"(?:date|fetched|published|updated|year|时间|日期)": ?"?\D{0,4}(\d{4})(?:\D{0,2}(\d{2})\D{0,2}(\d{2}))?'
)


def _dates(documents: Parts) -> npt.NDArray[np.int64]:
    """Year, month and day where a document's meta states a date; 0 where it does not."""
    dates: list[int] = []
    for _, table in documents.batches(["meta"]):
        for meta in table["meta"].to_pylist():
            found = _STATED.search(meta or "")
            dates.append(int(found[1]) * 10000 + int(found[2] or 0) * 100 + int(found[3] or 0) if found else 0)
    return np.array(dates, np.int64)


def _drop(
    documents: Parts,
    drops: Drops,
    rule: str,
    step: str,
    trace: RowGroupWriter,
    decision: Decision,
    earlier: Earlier | None = None,
) -> None:
    """Drop documents that are like a kept one, naming it."""
    if not len(drops):
        return
    decision.kept[drops.numbers] = False
    wanted = np.zeros(len(documents), bool)
    wanted[drops.numbers] = True
    if earlier is None:
        wanted[drops.twins] = True
    found = documents.lookup(["id", "source", "text"], wanted)
    twins = [found[int(twin)]["id"] for twin in drops.twins] if earlier is None else earlier.ids(drops.twins)
    rows = []
    for number, twin, similarity in zip(drops.numbers.tolist(), twins, drops.similarities.tolist(), strict=True):
        row = found[number]
        rows.append(
            {
                "id": row["id"],
                "source": row["source"],
                "step": step,
                "rule": rule,
                "value": similarity,
                "twin_id": twin,
                "similarity": similarity,
                "excerpt": row["text"][:EXCERPT],
            }
        )
    _write(trace, rows, decision)


def _clusters(documents: Parts, drops: Drops) -> list[dict[str, Any]]:
    """The largest near-duplicate clusters, for the report: the kept text and those dropped for it."""
    if not len(drops):
        return []
    twins, counts = np.unique(drops.twins, return_counts=True)
    chosen = twins[np.argsort(-counts, kind="stable")[:CLUSTERS]]
    members = {int(twin): np.flatnonzero(drops.twins == twin)[:EXAMPLES] for twin in chosen}
    wanted = np.zeros(len(documents), bool)
    wanted[chosen] = True
    for places in members.values():
        wanted[drops.numbers[places]] = True
    found = documents.lookup(["id", "text"], wanted)
    return [
        {
            "kept": found[twin],
            "dropped": [
                {**found[int(drops.numbers[place])], "similarity": float(drops.similarities[place])} for place in places
            ],
        }
        for twin, places in members.items()
    ]


def _write(trace: RowGroupWriter, rows: Sequence[dict[str, Any]], decision: Decision) -> None:
    decision.dropped.update(row["rule"] for row in rows)
    for start in range(0, len(rows), 2000):
        trace.write(pa.Table.from_pylist(list(rows[start : start + 2000]), schema=TRACE))
