"""The part of curate that decides: rules, exact and near duplicates, leaks; every decision leaves its trace row."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datatools.clean.rules import TEXTS, Rule, columns_of, failures, trace_of
from datatools.dedupe import exact_disk, spread, spread_near
from datatools.dedupe.against import Earlier, exact_known, index_corpus, near_known
from datatools.dedupe.near import Drops, Keep, Near, near_duplicates, priorities
from datatools.dedupe.partitions import scratch
from datatools.engine.parts import Parts
from datatools.engine.work import Work
from schemas.trace import TRACE

EXCERPT = 200
CLUSTERS, EXAMPLES = 20, 5
LEAK = ("leak_item", "leak_excerpt")  # what a leak is told by


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


@dataclass(frozen=True)
class Dropped:
    """What a step drops: numbers of documents, ascending, and what makes Trace rows of some of them.

    `described` takes the places among `numbers` that are asked for, and the `columns` of those documents.
    """

    numbers: npt.NDArray[np.int64]
    columns: tuple[str, ...]
    described: Callable[[slice, pa.Table], pa.Table]


@dataclass
class Decision:
    """What stays: `kept` over all documents of the parts, and how it came about."""

    kept: npt.NDArray[np.bool_]
    sizes: npt.NDArray[np.int64]  # bytes of text of every document
    steps: list[Dropped] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)
    funnel: list[list[Any]] = field(default_factory=list)  # step, rows in, rows out, bytes in, seconds
    near: Drops | None = None

    def drop(self, dropped: Dropped, rules: Mapping[str, int]) -> None:
        """Take documents out; `rules` says how many for which rule."""
        self.kept[dropped.numbers] = False
        self.steps.append(dropped)
        self.dropped.update(rules)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add what the block does to the funnel, as `step`."""
        rows, size, began = np.count_nonzero(self.kept), self.sizes[self.kept].sum(), time.monotonic()
        yield
        seconds = round(time.monotonic() - began, 3)
        self.funnel.append([step, int(rows), int(np.count_nonzero(self.kept)), int(size), seconds])


def decide_all(documents: Parts, settings: DecideSettings, work: Work) -> Decision:
    """Which documents stay. The folder of `work` is for sorting and indexes."""
    folder, workers = work.path, work.engine.workers
    decision = Decision(np.ones(len(documents), bool), documents.numbers("bytes"))
    steps: list[tuple[str, Callable[[], None]]] = [("rules", lambda: _rules(documents, settings, decision))]
    if settings.leaks:
        steps.append(("decontaminate", lambda: _leaks(documents, settings, decision)))
    earlier = _earlier(settings, folder, workers)
    if settings.exact:
        steps.append(("exact", lambda: _exact(documents, settings, earlier, work, decision)))
    if settings.near:
        steps.append(("near", lambda: _near(documents, settings, earlier, work, decision)))
    for name, step in steps:
        with decision.timed(name):
            step()
    return decision


class Traces:
    """The Trace of a decision, gathered while the documents pass by once in input order, then given step by step.

    `columns` of the documents are needed. Memory: what is written of a batch; the rest waits in `folder`, which is
    emptied and removed.
    """

    columns = (*TEXTS, *LEAK)

    def __init__(self, decision: Decision, folder: Path) -> None:
        self._steps = decision.steps
        self._scratch = scratch(folder)

    def __enter__(self) -> Traces:
        folder = self._scratch.__enter__()
        self._paths = [folder / f"{number}.arrow" for number in range(len(self._steps))]
        self._writers = [pa.ipc.new_file(str(path), TRACE) for path in self._paths]
        return self

    def __exit__(self, *error: Any) -> None:
        self._scratch.__exit__(*error)

    def add(self, start: int, documents: pa.Table) -> None:
        """Take the next documents, the first of which is number `start`."""
        for step, writer in zip(self._steps, self._writers, strict=True):
            first, last = np.searchsorted(step.numbers, [start, start + documents.num_rows]).tolist()
            if first < last:
                rows = documents.select(step.columns).take(pa.array(step.numbers[first:last] - start))
                writer.write(step.described(slice(first, last), rows))

    def rows(self) -> Iterator[pa.Table]:
        """All of it, once the last documents are added."""
        for writer in self._writers:
            writer.close()
        for path in self._paths:
            with pa.OSFile(str(path)) as file:
                reader = pa.ipc.open_file(file)
                for index in range(reader.num_record_batches):
                    yield pa.Table.from_batches([reader.get_batch(index)])


def _mask(count: int, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(count, bool)
    mask[numbers] = True
    return mask


def _earlier(settings: DecideSettings, folder: Path, workers: int) -> Earlier | None:
    if settings.against is None:
        return None
    return index_corpus(Path(settings.against), folder / "against", settings.near or Near(), workers=workers)


def _rules(documents: Parts, settings: DecideSettings, decision: Decision) -> None:
    rules = settings.rules
    if not rules:
        return
    found: list[tuple[npt.NDArray[Any], ...]] = []
    for start, table in documents.blocks(columns_of(rules)):
        failed, values = failures(table, rules)
        gone = np.flatnonzero(failed >= 0)
        found.append((gone + start, failed[gone], values[gone]))
    if not found:
        return
    numbers, failed, values = (np.concatenate(arrays) for arrays in zip(*found, strict=True))

    def described(places: slice, rows: pa.Table) -> pa.Table:
        return trace_of(rows, failed[places], values[places], rules)

    counts: Counter[str] = Counter()
    for place, count in zip(*np.unique(failed, return_counts=True), strict=True):
        counts[rules[place].name] += int(count)
    decision.drop(Dropped(numbers, TEXTS, described), counts)


def _leaks(documents: Parts, settings: DecideSettings, decision: Decision) -> None:
    found: list[tuple[npt.NDArray[Any], ...]] = []
    for start, table in documents.blocks(["leak_coverage", "leak_run"]):
        coverage = table["leak_coverage"].fill_null(-1).to_numpy().astype(np.float64)
        run = table["leak_run"].fill_null(-1).to_numpy()
        kept = decision.kept[start : start + len(run)]
        gone = np.flatnonzero(kept & ((coverage >= settings.leak_coverage) | (run >= settings.leak_run)))
        found.append((gone + start, coverage[gone], run[gone]))
    if not found:
        return
    numbers, coverages, runs = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    covered = coverages >= settings.leak_coverage

    def described(places: slice, rows: pa.Table) -> pa.Table:
        by_coverage = covered[places]
        return _trace(
            rows,
            step="decontaminate",
            rule=np.where(by_coverage, "leak", "leak_run"),
            value=np.where(by_coverage, coverages[places], runs[places]),
            threshold=np.where(by_coverage, settings.leak_coverage, settings.leak_run),
            twin_id=rows["leak_item"],
            excerpt=rows["leak_excerpt"],
        )

    counts = {"leak": int(covered.sum()), "leak_run": int((~covered).sum())}
    decision.drop(Dropped(numbers, ("id", "source", *LEAK), described), counts)


def _exact(documents: Parts, settings: DecideSettings, earlier: Earlier | None, work: Work, decision: Decision) -> None:
    folder = work.path
    among = np.flatnonzero(decision.kept)
    if earlier is not None:
        known = exact_known(earlier, _keys(documents, decision.kept), len(among), folder / "known")
        known = Drops(among[known.numbers], known.twins, known.similarities)
        _like(documents, known, "already_known", "exact", decision, earlier)
        among = np.flatnonzero(decision.kept)
    ranks = _priorities(documents, settings)
    if work.engine.spreads:
        numbers, firsts = spread.exact(spread.corpus_of(documents, work, decision.kept, ranks), len(documents), work)
        _like(documents, Drops(numbers, firsts, np.ones(len(numbers))), "exact_duplicate", "exact", decision)
        return
    chosen = None if ranks is None else ranks[among]
    keys = _keys(documents, decision.kept)
    found = list(exact_disk.duplicates(keys, len(among), folder / "exact", ranks=chosen))
    if found:
        numbers, firsts = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        order = np.argsort(numbers)
        drops = Drops(among[numbers[order]], among[firsts[order]], np.ones(len(numbers)))
        _like(documents, drops, "exact_duplicate", "exact", decision)


def _near(
    documents: Parts,
    settings: DecideSettings,
    earlier: Earlier | None,
    work: Work,
    decision: Decision,
) -> None:
    assert settings.near is not None
    arguments: dict[str, Any] = {
        "priorities": _priorities(documents, settings),
        "among": decision.kept.copy(),
        "workers": work.engine.workers,
    }
    folder, bands, texts, count = work.path, documents.blocks, documents.batches, len(documents)
    if earlier is None and work.engine.spreads:
        corpus = spread.corpus_of(documents, work, decision.kept, arguments["priorities"])
        own = spread_near.near(corpus, count, work, settings.near)
    elif earlier is None:
        own = near_duplicates(bands, texts, count, folder / "near", settings.near, **arguments)
    else:
        known, own = near_known(earlier, bands, texts, count, folder / "near", settings.near, **arguments)
        _like(documents, known, "already_known", "near", decision, earlier)
    _like(documents, own, "near_duplicate", "near", decision)
    decision.near = own


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


def _like(
    documents: Parts, drops: Drops, rule: str, step: str, decision: Decision, earlier: Earlier | None = None
) -> None:
    """Drop documents that are like a kept one, naming it."""
    if not len(drops):
        return
    twins = _ids(documents, drops.twins) if earlier is None else pa.array(earlier.ids(drops.twins), pa.string())

    def described(places: slice, rows: pa.Table) -> pa.Table:
        similarities = drops.similarities[places]
        return _trace(
            rows,
            step=step,
            rule=rule,
            value=similarities,
            twin_id=twins[places],
            similarity=similarities,
            excerpt=pc.utf8_slice_codeunits(rows["text"], 0, EXCERPT),
        )

    decision.drop(Dropped(drops.numbers, TEXTS, described), {rule: len(drops)})


def _ids(documents: Parts, numbers: npt.NDArray[np.int64]) -> pa.Array:
    mask = _mask(len(documents), numbers)
    ids = pa.concat_tables(table for _, table in documents.chosen(["id"], mask))["id"]
    return ids.take(pa.array(np.searchsorted(np.flatnonzero(mask), numbers))).combine_chunks()


def _trace(rows: pa.Table, **columns: Any) -> pa.Table:
    """Trace rows of dropped documents; a column may be one value for all, and is null where it is not given."""
    values = {"id": rows["id"], "source": rows["source"], **columns}

    def column(field: pa.Field) -> Any:
        value = values.get(field.name)
        whole = value is None or isinstance(value, str)
        return pa.repeat(pa.scalar(value, field.type), rows.num_rows) if whole else value

    return pa.table([column(field) for field in TRACE], schema=TRACE)


def clusters(documents: Parts, drops: Drops | None) -> list[dict[str, Any]]:
    """The largest near-duplicate clusters, for the report: the kept text and those dropped for it."""
    if drops is None or not len(drops):
        return []
    twins, counts = np.unique(drops.twins, return_counts=True)
    chosen = twins[np.argsort(-counts, kind="stable")[:CLUSTERS]]
    sizes = dict(zip(twins.tolist(), counts.tolist(), strict=True))
    members = {int(twin): np.flatnonzero(drops.twins == twin)[:EXAMPLES] for twin in chosen}
    wanted = _mask(len(documents), np.concatenate([chosen, *(drops.numbers[places] for places in members.values())]))
    found = documents.lookup(["id", "text"], wanted)
    return [
        {
            "rule": "near_duplicate",
            "kept": found[twin],
            "size": sizes[twin],
            "dropped": [
                {**found[int(drops.numbers[place])], "similarity": float(drops.similarities[place])} for place in places
            ],
        }
        for twin, places in members.items()
    ]
