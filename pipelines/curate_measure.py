"""The part of curate that runs in parallel: a unit of sources becomes cleaned documents with everything measured.

Nothing is decided here. Thresholds can change without any of this being done again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datatools.clean.columns import append_columns
from datatools.clean.pii import Redact, redact
from datatools.clean.quality import COUNTS, SIGNALS, Quality
from datatools.dedupe import decontaminate
from datatools.dedupe.boilerplate import Boilerplate, paragraph_keys, remove_boilerplate
from datatools.dedupe.exact import text_key
from datatools.dedupe.near import Near, band_table
from datatools.engine.units import Unit
from datatools.io.source import ReadOptions
from pipelines.documents import windows
from schemas.document import DOCUMENT, Document
from schemas.trace import TRACE

# Raised when a change here or in the operators gives other texts or values: finished units are then made again.
VERSION = 1

KEY = pa.field("key", pa.binary(16))
VALUES = [pa.field(name, pa.int32() if name in COUNTS else pa.float32()) for name in SIGNALS]
LEAK = [
    pa.field("leak_item", pa.string()),
    pa.field("leak_coverage", pa.float32()),
    pa.field("leak_run", pa.int32()),
    pa.field("leak_excerpt", pa.string()),
]
EXTRA = [pa.field("pii", pa.string()), pa.field("bytes", pa.int64()), pa.field("boilerplate", pa.int32())]
PARAGRAPHS = pa.schema([pa.field("document", pa.int64()), pa.field("key", pa.uint64()), pa.field("group", pa.uint64())])
NOTES = pa.schema([pa.field("source", pa.string()), pa.field("message", pa.string())])
BATCH = 1000


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    """What shapes the texts and their values; thresholds are not among it."""

    text_column: str | None = None
    source_type: str | None = None
    limit: int | None = None
    simplify: bool = False
    redact: bool = True
    lexicon: str = ""
    lexicon_digest: str = ""
    near_threshold: float | None = 0.8  # None: no near-duplicate keys
    exam_index: str = ""  # file of the n-grams of exam items
    exam_digest: str = ""

    @property
    def near(self) -> Near | None:
        """Near-duplicate settings, where near duplicates are looked for."""
        return None if self.near_threshold is None else Near(threshold=self.near_threshold)


def streams(settings: MeasureSettings) -> dict[str, pa.Schema]:
    """Schemas of what a unit gives."""
    bands = list(settings.near.schema) if settings.near else []
    return {
        "documents": pa.schema([*DOCUMENT, *VALUES, *EXTRA, *LEAK, KEY, *bands]),
        "paragraphs": PARAGRAPHS,
        "trace": TRACE,
        "notes": NOTES,
    }


class _Sink:
    """What a unit says besides its documents."""

    def __init__(self, tally: Counter[str]) -> None:
        self.tally = tally
        self.rows: dict[str, list[dict[str, Any]]] = {"trace": [], "notes": []}

    def add(self, stream: str, row: dict[str, Any]) -> None:
        self.rows[stream].append(row)

    def trace(self, step: str, rule: str, source: str, excerpt: str, **more: Any) -> None:
        self.add("trace", {"id": "", **more, "source": source, "step": step, "rule": rule, "excerpt": excerpt[:200]})


def measure_unit(unit: Unit, settings: MeasureSettings, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """Read, clean and measure the sources of a unit. `tally` counts documents read and bytes of text."""
    sink = _Sink(tally)
    options = ReadOptions(text_column=settings.text_column, source_type=settings.source_type)
    pending: list[Document] = []
    number = 0
    for source in unit.sources:
        for window in windows(source, options, sink, settings.limit):
            pending += window
            if len(pending) >= BATCH:
                yield from _measured(pending, settings, number, tally)
                number += len(pending)
                pending = []
    if pending:
        yield from _measured(pending, settings, number, tally)
    schemas = streams(settings)
    for stream, rows in sink.rows.items():
        if rows:
            yield stream, pa.Table.from_pylist(rows, schema=schemas[stream])


def _measured(
    documents: list[Document], settings: MeasureSettings, number: int, tally: Counter[str]
) -> Iterator[tuple[str, pa.Table]]:
    batch = pa.RecordBatch.from_pylist([document.record() for document in documents], schema=DOCUMENT)
    if settings.simplify:
        from datatools.clean.chinese import Simplify

        batch = Simplify()(batch)
    for operator in _operators(settings.lexicon, settings.redact):
        batch = operator(batch)
    if settings.redact:
        batch = _redacted_meta(batch)
    batch = _with_counts(batch, tally)
    batch = append_columns(batch, _leaks(batch, settings))
    paragraphs = [
        paragraph_keys([text], [source])[0]
        for text, source in zip(batch["text"].to_pylist(), batch["source"].to_pylist(), strict=True)
    ]
    yield "documents", signed(pa.Table.from_batches([batch]), settings)
    yield "paragraphs", _paragraph_table(paragraphs, number)


@lru_cache(maxsize=2)
def _operators(lexicon: str, redact: bool) -> tuple[Any, ...]:
    # Personal data goes first: no value and no key is taken of it.
    return (*((Redact(),) if redact else ()), Quality(lexicon))


def _redacted_meta(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Questions, answers and fields stand in `meta` too: what went from the text goes from there."""
    metas = batch.column("meta").to_pylist()
    hit = [bool(counts) for counts in batch.column("pii").to_pylist()]
    for place, meta in enumerate(metas):
        if hit[place] and meta:
            metas[place] = json.dumps(_redacted(json.loads(meta)), ensure_ascii=False)
    return append_columns(batch, {"meta": pa.array(metas, pa.string())}) if any(hit) else batch


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)[0]
    if isinstance(value, dict):
        return {name: _redacted(item) for name, item in value.items()}
    return [_redacted(item) for item in value] if isinstance(value, list) else value


def _with_counts(batch: pa.RecordBatch, tally: Counter[str]) -> pa.RecordBatch:
    """PII counts as JSON, bytes of text, and room for the boilerplate that may be removed later."""
    pii: list[str] = [""] * batch.num_rows
    if "pii" in batch.schema.names:
        for place, counts in enumerate(batch.column("pii").to_pylist()):
            found = {kind: count for kind, count in dict(counts or {}).items() if count}
            if found:
                pii[place] = json.dumps(found, sort_keys=True)
                tally.update({f"pii.{kind}": count for kind, count in found.items()})
    size = pc.binary_length(batch.column("text").cast(pa.binary()))
    tally["bytes"] += pc.sum(size).as_py() or 0
    zeros = pa.array(np.zeros(batch.num_rows, np.int32))
    return append_columns(
        batch, {"pii": pa.array(pii, pa.string()), "bytes": size.cast(pa.int64()), "boilerplate": zeros}
    )


@lru_cache(maxsize=1)
def _exams(path: str) -> decontaminate.Index:
    return decontaminate.Index.open(Path(path))


def _leaks(batch: pa.RecordBatch, settings: MeasureSettings) -> dict[str, pa.Array]:
    found: list[decontaminate.Leak | None] = [None] * batch.num_rows
    if settings.exam_index:
        found = decontaminate.leaks(batch.column("text"), _exams(settings.exam_index))
    texts = batch.column("text").to_pylist() if any(found) else []
    return {
        "leak_item": pa.array([leak and leak.item for leak in found], pa.string()),
        "leak_coverage": pa.array([leak and leak.coverage for leak in found], pa.float32()),
        "leak_run": pa.array([leak and leak.run for leak in found], pa.int32()),
        "leak_excerpt": pa.array(
            [leak and texts[place][leak.start : leak.end][: decontaminate.EXCERPT] for place, leak in enumerate(found)],
            pa.string(),
        ),
    }


def signed(table: pa.Table, settings: MeasureSettings) -> pa.Table:
    """The table with its exact key and near-duplicate band keys, of the texts as they are now."""
    keys = pa.array([text_key(text) for text in table["text"].to_pylist()], KEY.type)
    names = [name for name in streams(settings)["documents"].names if name in table.schema.names and name != "key"]
    table = table.select([name for name in names if not name.startswith("band_")]).append_column(KEY, keys)
    if settings.near:
        bands = band_table(table["text"], settings.near)
        for name in bands.schema.names:
            table = table.append_column(bands.schema.field(name), bands[name])
    return table.select(streams(settings)["documents"].names).cast(streams(settings)["documents"])


def _paragraph_table(paragraphs: list[Any], number: int) -> pa.Table:
    counts = [len(found) for found in paragraphs]
    together = np.concatenate(paragraphs)
    places = np.repeat(np.arange(number, number + len(counts)), counts)
    columns = [
        pa.array(places),
        pa.array(np.ascontiguousarray(together["key"])),
        pa.array(np.ascontiguousarray(together["group"])),
    ]
    return pa.table(columns, schema=PARAGRAPHS)


@dataclass(frozen=True, slots=True)
class StripSettings:
    """What the second pass needs: where the measured part is, and which paragraphs are boilerplate."""

    measure: MeasureSettings
    work: str
    found: str  # file of the sorted keys of boilerplate paragraphs (.npy)
    limits: Boilerplate


def strip_unit(unit: Unit, settings: StripSettings, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """The documents of a measured unit without their boilerplate paragraphs, signed anew where they changed."""
    found = frozenset(np.load(settings.found).tolist())
    part = Path(settings.work, "parts", f"{unit.key.removesuffix('-stripped')}.documents.arrow")
    with pa.memory_map(str(part)) as file:
        reader = pa.ipc.open_file(file)
        for index in range(reader.num_record_batches):
            table = pa.Table.from_batches([reader.get_batch(index)])
            texts, removed = [], []
            for text, source in zip(table["text"].to_pylist(), table["source"].to_pylist(), strict=True):
                left, spans = remove_boilerplate(text, source, found, settings.limits)
                texts.append(left.strip() if spans else text)
                removed.append(len(spans))
            if any(removed):
                tally["boilerplate"] += sum(removed)
                table = table.set_column(table.schema.get_field_index("text"), DOCUMENT.field("text"), pa.array(texts))
                place = table.schema.get_field_index("boilerplate")
                table = table.set_column(place, table.schema.field(place), pa.array(removed, pa.int32()))
                table = signed(table, settings.measure)
            yield "documents", table
