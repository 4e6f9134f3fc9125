"""The last step of a curation: what stays into the output, what goes into its trace, and the facts for the report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from datatools.dedupe import exact_disk
from datatools.engine.parts import Parts
from datatools.engine.work import Work, work_path
from datatools.io import storage
from datatools.io.atomic import RowGroupWriter, atomic_path, parquet_writer
from datatools.io.source import Fault
from datatools.report.summary import Summary
from pipelines.curate_decide import DecideSettings, Decision, Traces, clusters, decide_all
from pipelines.curate_measure import VALUES, measured_key
from pipelines.curate_settings import CurateSettings, plain
from pipelines.inputs import FAULT_CLASSES, companions
from schemas.document import DOCUMENT
from schemas.trace import TRACE

REPORT = "report.json"  # in the work folder, for `datatools report`


@dataclass(frozen=True)
class Measured:
    """Keys of the parts that hold all documents, in input order; what was counted; seconds by step, where no earlier
    run had done some of the work."""

    keys: list[str]
    tally: Counter[str]
    seconds: dict[str, float | None]


def write(
    work: Work,
    found: Measured,
    decide: DecideSettings,
    settings: CurateSettings,
    faults: Sequence[Fault],
    out: Path,
    summary: Summary,
) -> None:
    """Decide on the measured documents and write what stays, its trace, and the facts for the report."""
    documents = Parts(work, found.keys, "documents")
    read = [measured_key(key) for key in found.keys]
    trace_path, _ = companions(out)
    with parquet_writer(trace_path, TRACE) as trace:
        rules = _write_faults(work, read, faults, trace, summary)
        decision = decide_all(documents, decide, work)
        with decision.timed("writing"), ThreadPoolExecutor(1) as background:
            ended = background.submit(work.close_pool)  # a cluster that was started here takes a second to end
            summary.rows_written = _write_decided(documents, decision, settings, out, work.path, trace)
            ended.result()
    summary.dropped = dict(sorted((rules + decision.dropped).items()))
    summary.output = storage.shown(out)
    summary.trace = storage.shown(trace_path) if trace.written else None
    if not trace.written:
        storage.remove(trace_path)
    _write_report(out, documents, decision, settings, summary, found)


def _write_decided(
    documents: Parts, decision: Decision, settings: CurateSettings, out: Path, work: Path, trace: RowGroupWriter
) -> int:
    """Write what stays to `out` and what goes to its trace, of one reading of the documents."""
    schema = DOCUMENT
    if settings.keep_values:
        for value in VALUES:
            schema = schema.append(value)
    times = _times(documents, decision.kept, work / "ids")
    columns = list(dict.fromkeys([*schema.names, *Traces.columns]))
    with parquet_writer(out, schema) as writer, Traces(decision, work / "trace") as traces:
        for start, table in documents.batches(columns):
            kept = decision.kept[start : start + table.num_rows]
            chosen = table.select(schema.names).filter(pa.array(kept))
            writer.write(_with_own_ids(chosen, times[start : start + len(kept)][kept]))
            traces.add(start, table)
        for rows in traces.rows():
            trace.write(rows)
    return writer.written


def _with_own_ids(table: pa.Table, times: npt.NDArray[np.int32]) -> pa.Table:
    """Ids that the input brought along may repeat: the second one becomes `id#2`."""
    again = np.flatnonzero(times > 1)
    if not len(again):
        return table
    ids = table["id"].to_pylist()
    for place in again.tolist():
        ids[place] = f"{ids[place]}#{times[place]}"
    return table.set_column(table.column_names.index("id"), "id", pa.array(ids, pa.string()))


def _times(documents: Parts, kept: npt.NDArray[np.bool_], folder: Path) -> npt.NDArray[np.int32]:
    """For every document that is kept the how-manieth of its id it is, from 1."""

    def keys() -> Iterator[npt.NDArray[np.void]]:
        for _, table in documents.chosen(["id"], kept):
            yield np.frombuffer(b"".join(map(xxhash.xxh3_128_digest, table["id"].cast(pa.binary()).to_pylist())), "V16")

    times = np.ones(len(documents), np.int32)
    numbers = np.flatnonzero(kept)
    for again, firsts in exact_disk.duplicates(keys(), len(numbers), folder):
        order = np.argsort(firsts, kind="stable")
        begins = np.searchsorted(firsts[order], firsts[order])
        times[numbers[again[order]]] = 2 + np.arange(len(order)) - begins
    return times


def _write_faults(
    work: Work, keys: list[str], faults: Sequence[Fault], trace: RowGroupWriter, summary: Summary
) -> Counter[str]:
    """Trace rows of what was not read; fills `failed`, returns the drops by rule."""
    rows = [{"id": "", "source": f.source, "step": "read", "rule": f.rule, "excerpt": f.message} for f in faults]
    tables = [pa.Table.from_pylist(rows, schema=TRACE)] if rows else []
    dropped: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for table in (*tables, *(table for _, table in Parts(work, keys, "trace").batches())):
        trace.write(table)
        for row in table.select(["rule", "source", "excerpt"]).to_pylist():
            if row["rule"] in FAULT_CLASSES:
                failed[FAULT_CLASSES[row["rule"]]] += 1
                summary.problems.append(f"{row['source']}: {row['excerpt']}")
            else:
                dropped[row["rule"]] += 1
    summary.failed = dict(sorted(failed.items()))
    return dropped


def _write_report(
    out: Path, documents: Parts, decision: Decision, settings: CurateSettings, summary: Summary, found: Measured
) -> None:
    """What `datatools report` shows beyond the files themselves."""
    size = found.tally["bytes"]
    # Documents are cut into entries while they are measured, which is the first step.
    rows_in = chain([summary.rows_read], repeat(len(documents)))
    before = [[step, next(rows_in), len(documents), size, seconds] for step, seconds in found.seconds.items()]
    place = work_path(out)  # of a reapplied output it is not the folder that was measured
    place.mkdir(exist_ok=True)
    facts = {
        "command": "curate",
        "settings": plain(settings),
        "inputs": summary.inputs,
        "funnel": [*before, *decision.funnel],
        **facts_of(documents, decision, found.tally),
    }
    with atomic_path(place / REPORT) as temporary:
        temporary.write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")


def facts_of(documents: Parts, decision: Decision, tally: Counter[str]) -> dict[str, Any]:
    """What was found in the documents that no file of the output tells any more, for `datatools report`."""
    encodings: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    for _, table in documents.blocks(["language", "meta"]):
        languages.update(counts_of(table["language"]))
        for meta, count in counts_of(table["meta"]).items():
            encodings[_encoding(meta)] += count
    return {
        "pii": {name.removeprefix("pii."): count for name, count in sorted(tally.items()) if name.startswith("pii.")},
        "encodings": dict(encodings.most_common()),
        "languages": dict(languages.most_common()),
        "clusters": clusters(documents, decision.near),
    }


def counts_of(column: pa.ChunkedArray) -> dict[Any, int]:
    """How often every value stands there."""
    values, counts = column.value_counts().flatten()
    return dict(zip(values.to_pylist(), counts.to_pylist(), strict=True))


def _encoding(meta: str) -> str:
    return str(json.loads(meta).get("encoding", "utf-8")) if meta and '"encoding"' in meta else "utf-8"
