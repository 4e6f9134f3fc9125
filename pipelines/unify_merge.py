"""The end of unify: the parts of all units, in input order, without duplicates, into the files the user asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.dedupe import decontaminate
from datatools.dedupe.exact import first_occurrences
from datatools.engine.parts import Parts
from datatools.engine.work import Work
from datatools.io import storage
from datatools.io.atomic import RowGroupWriter, parquet_writer
from datatools.io.source import Fault
from datatools.report.summary import Summary
from pipelines.inputs import FAULT_CLASSES, companions
from pipelines.leaks import without_leaks
from schemas.conversation import CONVERSATION
from schemas.document import Document
from schemas.trace import FAILED, TRACE

GENERATED = "generated"  # key of the parts that hold what a model wrote
_TABLE_ROWS = 2000


class Merge:
    """The units `keys` of a job, in input order, with `faults` found before any unit began.

    The traces of the parts `earlier` come first; pairs that hold an item of `exams` are left out.
    """

    def __init__(
        self,
        work: Work,
        keys: list[str],
        faults: Sequence[Fault],
        earlier: Sequence[str] = (),
        exams: decontaminate.Index | None = None,
    ) -> None:
        self._work, self._keys, self._faults = work, keys, faults
        self._earlier, self._exams = earlier, exams
        self._passages = Parts(work, keys, "passages")
        self._first = first_occurrences(self._passages.keys("key"))
        self._kept = self._first == np.arange(len(self._first))

    @property
    def kept_passages(self) -> int:
        """Passages that are no duplicates."""
        return int(self._kept.sum())

    def passages(self) -> Iterator[tuple[int, Document, bool]]:
        """Number, Document and `has_pair` of every passage that is no duplicate."""
        for number, row in self._passages.rows():
            if self._kept[number]:
                yield number, Document.from_record(row), row["has_pair"]

    def source_pairs(self) -> Iterator[dict[str, Any]]:
        """The pairs that the units made of kept passages, `passage` numbered over all units."""
        parts = Parts(self._work, self._keys, "pairs")
        offsets = self._offsets(parts)
        for number, row in parts.rows():
            row["passage"] += int(offsets[number])
            if self._kept[row["passage"]]:
                yield row

    def write(self, out: Path, summary: Summary) -> None:
        """Write `out` and, where there is something to say, its trace and failed rows; fills the summary."""
        trace_path, failed_path = companions(out)
        dropped: Counter[str] = Counter()
        with parquet_writer(trace_path, TRACE) as trace:
            self._write_unit_traces(trace, dropped, summary)
            self._write_duplicate_passages(trace, dropped)
            summary.rows_written = self._write_pairs(out, trace, dropped)
        summary.dropped = dict(sorted(dropped.items()))
        summary.output = storage.shown(out)
        summary.trace = _keep_if(trace.written, trace_path)
        summary.failed_rows = self._write_failed(failed_path, summary)

    def _write_unit_traces(self, trace: RowGroupWriter, dropped: Counter[str], summary: Summary) -> None:
        _write_rows(trace, [fault_row(fault) for fault in self._faults])
        rules = Counter(fault.rule for fault in self._faults)
        summary.problems += [
            f"{fault.source}: {fault.message}" for fault in self._faults if fault.rule in FAULT_CLASSES
        ]
        for _, table in Parts(self._work, [*self._earlier, *self._keys, *self._generated()], "trace").batches():
            trace.write(table)
            rules.update(table["rule"].to_pylist())
            summary.problems += _problems(table)
        for rule, count in rules.items():
            if rule in FAULT_CLASSES:
                summary.failed[FAULT_CLASSES[rule]] = count
            else:
                dropped[rule] += count

    def _write_duplicate_passages(self, trace: RowGroupWriter, dropped: Counter[str]) -> None:
        wanted = ~self._kept
        wanted[self._first[wanted]] = True
        found = self._passages.lookup(["id", "source", "text", "has_pair"], wanted)
        numbers = np.flatnonzero(~self._kept).tolist()
        rows = []
        for number in numbers:
            row, twin = found[number], found[int(self._first[number])]
            if not row["has_pair"] and not self._generated():
                continue  # no rule found a question for it: that is its trace row
            rows.append(_duplicate("duplicate_passage", row, twin["id"], row["text"]))
        _write_rows(trace, rows)
        if rows:
            dropped["duplicate_passage"] = len(rows)

    def _write_pairs(self, out: Path, trace: RowGroupWriter, dropped: Counter[str]) -> int:
        """Write the pairs of kept passages whose question was not asked before; returns their number."""
        pairs = Parts(self._work, self._generated() or self._keys, "pairs")
        candidates = np.flatnonzero(self._kept[pairs.numbers("passage") + self._offsets(pairs)])
        first = candidates[first_occurrences(pairs.keys("question_key")[candidates])]
        kept = np.zeros(len(pairs), bool)
        kept[first] = True
        _trace_questions(pairs, candidates, first, trace, dropped)
        seen: Counter[str] = Counter()
        with parquet_writer(out, CONVERSATION) as writer:
            for start, table in pairs.batches():
                table = table.filter(pa.array(kept[start : start + table.num_rows]))
                table, leaked = without_leaks(table, self._exams)
                _write_rows(trace, leaked)
                dropped.update(row["rule"] for row in leaked)
                writer.write(_unique_ids(table, seen))
        return writer.written

    def _offsets(self, pairs: Parts) -> npt.NDArray[np.int64]:
        """For every pair the number of the first passage of its unit; what a model wrote is numbered already."""
        if len(pairs.starts) != len(self._passages.starts) or self._generated():
            return np.zeros(len(pairs), np.int64)
        return np.repeat(np.array(self._passages.starts[:-1], np.int64), np.diff(pairs.starts))

    def _write_failed(self, path: Path, summary: Summary) -> str | None:
        failed: Counter[str] = Counter(summary.failed)
        rows = 0
        if self._generated():
            with parquet_writer(path, FAILED) as writer:
                for _, table in Parts(self._work, [GENERATED], "failed").batches():
                    failed.update(table["class"].to_pylist())
                    writer.write(table)
            rows = writer.written
        summary.failed = dict(sorted(failed.items()))
        return _keep_if(rows, path)

    def _generated(self) -> list[str]:
        return [GENERATED] if self._work.part(GENERATED, "pairs").exists() else []


def fault_row(fault: Fault) -> dict[str, Any]:
    """The trace row of something that could not be read."""
    return {"id": "", "source": fault.source, "step": "read", "rule": fault.rule, "excerpt": fault.message}


def _problems(trace: pa.Table) -> list[str]:
    """A line for every file or row of a trace table that could not be read."""
    found = trace.filter(pa.array([rule in FAULT_CLASSES for rule in trace["rule"].to_pylist()], pa.bool_()))
    return [f"{row['source']}: {row['excerpt']}" for row in found.select(["source", "excerpt"]).to_pylist()]


def _write_rows(trace: RowGroupWriter, rows: Sequence[dict[str, Any]]) -> None:
    for start in range(0, len(rows), _TABLE_ROWS):
        trace.write(pa.Table.from_pylist(rows[start : start + _TABLE_ROWS], schema=TRACE))


def _duplicate(rule: str, row: dict[str, Any], twin: str, text: str) -> dict[str, Any]:
    return {
        "id": row["id"],
        "source": row["source"],
        "step": "dedupe",
        "rule": rule,
        "twin_id": twin,
        "similarity": 1.0,
        "excerpt": text[:200],
    }


def _trace_questions(
    pairs: Parts,
    candidates: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    trace: RowGroupWriter,
    dropped: Counter[str],
) -> None:
    repeated = candidates != first
    wanted = np.zeros(len(pairs), bool)
    wanted[candidates[repeated]] = wanted[first[repeated]] = True
    found = pairs.lookup(["id", "source", "messages"], wanted)
    rows = []
    for number, twin in zip(candidates[repeated].tolist(), first[repeated].tolist(), strict=True):
        row = found[number]
        rows.append(_duplicate("duplicate_question", row, found[twin]["id"], row["messages"][0]["content"]))
    _write_rows(trace, rows)
    if rows:
        dropped["duplicate_question"] = len(rows)


def _unique_ids(table: pa.Table, seen: Counter[str]) -> pa.Table:
    """Ids that the input brought along may repeat: the second one becomes `id#2`."""
    ids = table["id"].to_pylist()
    for place, generator in enumerate(table["generator"].to_pylist()):
        if generator == "source":
            own = ids[place]
            while ids[place] in seen:
                seen[own] += 1
                ids[place] = f"{own}#{seen[own]}"
            seen[ids[place]] = 1
    return table.set_column(table.column_names.index("id"), "id", pa.array(ids, pa.string()))


def _keep_if(rows: int, path: Path) -> str | None:
    """A file that says nothing is not left behind, whether this run wrote it or an earlier one."""
    if rows:
        return storage.shown(path)
    storage.remove(path)
    return None
