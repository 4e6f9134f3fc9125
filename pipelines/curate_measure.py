"""The part of curate that runs in parallel: a unit of sources becomes cleaned documents with everything measured.

Nothing is decided here. Thresholds can change without any of this being done again.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datatools.clean.bare import Bare, without_space
from datatools.clean.columns import append_columns
from datatools.clean.pii import Redact, likely, redact
from datatools.clean.quality import COUNTS, SIGNALS, Quality
from datatools.dedupe import decontaminate
from datatools.dedupe.boilerplate import Boilerplate, paragraph_keys, remove_boilerplate
from datatools.dedupe.near import Near, band_table
from datatools.engine.units import Unit
from datatools.io import storage
from datatools.io.source import ReadOptions
from datatools.llm import rules_fields
from pipelines.documents import batches, cleaned
from schemas.document import DOCUMENT, Document
from schemas.trace import TRACE

# Raised when a change here or in the operators gives other texts or values: finished units are then made again.
VERSION = 4

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
SAYS = {"trace": TRACE, "notes": NOTES}
# Documents measured at a time, and characters from which on there are fewer: a column holds 2 GiB at most.
BATCH, BATCH_CHARACTERS = 1000, 1 << 24
STEPS = ("cleaning", "redacting", "values", "keys")  # of measuring, as they are timed
SAID = 4096  # trace rows and notes held in memory


@dataclass(frozen=True, slots=True)
class MeasureSettings:
    """What shapes the texts and their values; thresholds are not among it."""

    text_column: str | None = None
    source_type: str | None = None
    limit: int | None = None
    cut_rows: bool = False  # cut rows of tables into entries as well
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
        **SAYS,
    }


class _Sink:
    """What a unit says besides its documents."""

    def __init__(self, tally: Counter[str], settings: MeasureSettings) -> None:
        self.tally = tally
        self.redact = settings.redact
        self.rows: dict[str, list[dict[str, Any]]] = {stream: [] for stream in SAYS}
        self.tables: list[tuple[str, pa.Table]] = []  # of rows of which there are many

    def add(self, stream: str, row: dict[str, Any]) -> None:
        rows = self.rows[stream]
        rows.append(sound(row))
        if len(rows) >= SAID:
            self.tables.append((stream, pa.Table.from_pylist(rows, schema=SAYS[stream])))
            rows.clear()

    def taken(self) -> Iterator[tuple[str, pa.Table]]:
        """What was said since the last time."""
        yield from self.tables
        self.tables.clear()
        for stream, rows in self.rows.items():
            if rows:
                yield stream, pa.Table.from_pylist(rows, schema=SAYS[stream])
                rows.clear()

    def trace(self, step: str, rule: str, source: str, excerpt: str, **more: Any) -> None:
        said = redact(excerpt)[0] if self.redact else excerpt  # a reader may quote what it could not use
        self.add("trace", {"id": "", **more, "source": source, "step": step, "rule": rule, "excerpt": said[:200]})


def measure_unit(unit: Unit, settings: MeasureSettings, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """Read, clean and measure the sources of a unit. `tally` counts documents read and bytes of text."""
    sink = _Sink(tally, settings)
    options = ReadOptions(text_column=settings.text_column, source_type=settings.source_type)
    number = 0
    batches = _batched(unit, options, sink, settings)
    while True:
        with _timed("cleaning", tally):
            batch = next(batches, None)
        if batch is None:
            break
        yield from _measured(batch, settings, number, tally)
        number += batch.num_rows
        yield from sink.taken()
    yield from sink.taken()


def _batched(unit: Unit, options: ReadOptions, sink: _Sink, settings: MeasureSettings) -> Iterator[pa.RecordBatch]:
    """Record batches of the unit's Documents, of about BATCH rows where they are read one at a time."""
    pending: list[Document] = []
    characters = 0
    for source in unit.sources:
        for found in batches(source, options, sink, settings.limit, cut_rows=settings.cut_rows):
            if isinstance(found, pa.RecordBatch):
                if pending:
                    yield _batch(pending)
                    pending, characters = [], 0
                yield found
                continue
            for document in found:
                pending.append(document)
                characters += len(document.text)
                if len(pending) == BATCH or characters > BATCH_CHARACTERS:
                    yield _batch(pending)
                    pending, characters = [], 0
    if pending:
        yield _batch(pending)


def _measured(
    batch: pa.RecordBatch, settings: MeasureSettings, number: int, tally: Counter[str]
) -> Iterator[tuple[str, pa.Table]]:
    if settings.simplify:
        from datatools.clean.chinese import Simplify

        with _timed("cleaning", tally):
            batch = Simplify()(batch)
    if settings.redact:  # before all else: no value and no key is taken of personal data
        with _timed("redacting", tally):
            batch = _redacted_beside(Redact()(batch))
    with _timed("values", tally):
        batch = _without_lines(_quality(settings.lexicon)(batch))
        batch = _with_counts(batch, tally)
        batch = append_columns(batch, _leaks(batch, settings))
    with _timed("keys", tally):
        table = pa.Table.from_batches([batch])
        bare = without_space(table["text"])
        documents = signed(table, settings, bare)
        paragraphs = _paragraph_table(bare, table["source"].to_pylist(), number)
    yield "documents", documents
    yield "paragraphs", paragraphs


@contextmanager
def _timed(step: str, tally: Counter[str]) -> Iterator[None]:
    """Count the nanoseconds of one of STEPS."""
    began = time.perf_counter_ns()
    yield
    tally[f"ns.{step}"] += time.perf_counter_ns() - began


def steps_of(seconds: float, tally: Counter[str]) -> dict[str, float]:
    """The seconds that measuring took, by step: as much of them as of the time that all workers spent.

    >>> steps_of(3.0, Counter({"ns.cleaning": 8, "ns.values": 4}))
    {'cleaning': 2.0, 'redacting': 0.0, 'values': 1.0, 'keys': 0.0}
    """
    spent = {step: tally[f"ns.{step}"] for step in STEPS}
    return {step: round(seconds * spent[step] / max(1, sum(spent.values())), 3) for step in STEPS}


def load_all() -> None:
    """Load the tables and the compiled code that measuring needs, on a document made up for it."""
    document = Document(id="0", text="桂枝汤主之。\n我叫王小明，男。\nTake two tablets daily.", source="0")
    for _ in _measured(cleaned(_batch([document])), MeasureSettings(), 0, Counter()):
        pass


@lru_cache(maxsize=2)
def _quality(lexicon: str) -> Quality:
    return Quality(lexicon)


def _batch(documents: list[Document]) -> pa.RecordBatch:
    try:
        return _columns(documents)
    except UnicodeEncodeError:
        rows = [sound(document.record()) for document in documents]
        return pa.RecordBatch.from_pylist(rows, schema=DOCUMENT)


def _columns(documents: list[Document]) -> pa.RecordBatch:
    # A column at a time: a dict a document, and RecordBatch.from_pylist, take four times as long.
    values = {name: [getattr(document, name) for document in documents] for name in DOCUMENT.names}
    values["source_type"] = [name or "other" for name in values["source_type"]]
    values["meta"] = [document.meta_json() for document in documents]
    return pa.record_batch([pa.array(values[field.name], field.type) for field in DOCUMENT], DOCUMENT)


def sound(value: Any) -> Any:
    r"""The value, with U+FFFD for halves of surrogate pairs, which no file can hold.

    >>> sound({"title": "肺\ud83d", "section": ["肝"]})
    {'title': '肺�', 'section': ['肝']}
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {name: sound(item) for name, item in value.items()}
    return [sound(item) for item in value] if isinstance(value, list) else value


def _redacted_beside(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Titles, headings, and the questions, answers and fields in `meta` hold personal data too."""
    changed: dict[str, pa.Array] = {}
    for name, clean in (("title", redacted), ("section", redacted), ("meta", _redacted_json)):
        column = batch.column(name)
        if not (rows := _likely(column)):
            continue
        values = column.to_pylist()
        for row in rows:
            values[row] = clean(values[row])
        changed[name] = pa.array(values, column.type)
    return append_columns(batch, changed)


def _likely(column: pa.Array) -> list[int]:
    """Rows with a sign of personal data. Quotes of JSON are left out: "姓名": "李" is a label before a name."""
    if pa.types.is_string(column.type) and not pc.any(pc.not_equal(column, "")).as_py():
        return []
    lines = pc.binary_join(column, "\n") if pa.types.is_list(column.type) else column
    return likely(pc.replace_substring(lines, '"', ""))


@lru_cache(maxsize=16)
def _redacted_json(meta: str) -> str:
    return json.dumps(redacted(json.loads(meta)), ensure_ascii=False)  # kept: a book's sections share one


def redacted(value: Any, label: str = "") -> Any:
    """The value without personal data; the name of a field is read as the label before its value.

    >>> redacted({"姓名": "李小明", "年龄": "35", "备注": ["电话13800138000"]})
    {'姓名': '[NAME]', '年龄': '35', '备注': ['电话[PHONE]']}
    """
    if isinstance(value, str):
        before = f"{label}：" if label else ""
        cleaned = redact(before + value)[0]
        return cleaned.removeprefix(before) if cleaned.startswith(before) else redact(value)[0]
    if isinstance(value, dict):
        return {name: redacted(item, str(name)) for name, item in value.items()}
    return [redacted(item, label) for item in value] if isinstance(value, list) else value


# Lines of a table row are its fields, those of a pair what somebody asked and was told, those of a table its rows: no
# lines of prose.
_NO_PROSE = r'"(?:fields|question|messages)":'
_OF_PROSE = ("short_line_share", "line_stop_share", "ellipsis_line_share")


def _without_lines(batch: pa.RecordBatch) -> pa.RecordBatch:
    """No values about lines of prose where there is none: a null fails no rule."""
    rows = pc.or_(
        pc.match_substring_regex(batch.column("meta"), _NO_PROSE), pc.greater_equal(batch.column("table_share"), 0.5)
    )
    if not pc.any(rows).as_py():
        return batch
    missing = pa.scalar(None, pa.float32())
    return append_columns(batch, {name: pc.if_else(rows, missing, batch.column(name)) for name in _OF_PROSE})


def _with_counts(batch: pa.RecordBatch, tally: Counter[str]) -> pa.RecordBatch:
    """PII counts as JSON, bytes of text, and room for the boilerplate that may be removed later."""
    pii: list[str] = [""] * batch.num_rows
    if "pii" in batch.schema.names:
        column = batch.column("pii")
        for place in np.flatnonzero(np.diff(column.offsets.to_numpy())).tolist():
            counts = column[place].as_py()
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


def signed(table: pa.Table, settings: MeasureSettings, bare: Bare | None = None) -> pa.Table:
    """The table with its exact key and near-duplicate band keys, of the texts as they are now.

    `bare` is what `without_space` gives for these texts, where it is known already.
    """
    columns = {name: table[name] for name in table.schema.names}
    columns["key"] = (bare or without_space(table["text"])).text_keys()
    if settings.near:
        bands = band_table(table["text"], settings.near)
        columns |= {name: bands[name] for name in bands.schema.names}
    schema = streams(settings)["documents"]
    return pa.table([columns[field.name].cast(field.type) for field in schema], schema)


def _paragraph_table(bare: Bare, sources: list[str], number: int) -> pa.Table:
    """The distinct paragraphs of every document, numbered from `number`: `paragraph_keys`, for all at once."""
    groups = dict.fromkeys(sources, 0)
    for source in groups:
        ((groups[source], _),) = paragraph_keys([""], [source])[1].items()
    of_text = np.array([groups[source] for source in sources], np.uint64)
    places, keys = bare.line_keys(of_text.tolist())
    columns = [pa.array(places + number), pa.array(keys), pa.array(of_text[places])]
    return pa.table(columns, schema=PARAGRAPHS)


def stripped_key(key: str, digest: str) -> str:
    """Key of a measured unit's documents without the boilerplate that `digest` names.

    >>> stripped_key("1f", "a0"), measured_key(stripped_key("1f", "a0")), measured_key("1f")
    ('1f-stripped-a0', '1f', '1f')
    """
    return f"{key}-stripped-{digest}"


def measured_key(key: str) -> str:
    """Key of the measured unit that a part was made of."""
    return key.split("-stripped-")[0]


@dataclass(frozen=True, slots=True)
class StripSettings:
    """What the second pass needs: where the measured part is, and which paragraphs are boilerplate."""

    measure: MeasureSettings
    work: str
    found: str  # file of the sorted keys of boilerplate paragraphs (.npy)
    limits: Boilerplate


def strip_unit(unit: Unit, settings: StripSettings, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """The documents of a measured unit without their boilerplate paragraphs, signed anew where they changed."""
    found = frozenset(np.load(storage.here(settings.found)).tolist())
    part = Path(settings.work, "parts", f"{measured_key(unit.key)}.documents.arrow")
    with pa.memory_map(str(storage.here(part))) as file:
        reader = pa.ipc.open_file(file)
        for index in range(reader.num_record_batches):
            yield "documents", _without_boilerplate(reader.get_batch(index), found, settings, tally)


def _is_row(text: str, meta: str) -> bool:
    return '"fields"' in meta and rules_fields.is_listing(json.loads(meta).get("fields") or {}, text)


def _without_boilerplate(
    batch: pa.RecordBatch, found: frozenset[int], settings: StripSettings, tally: Counter[str]
) -> pa.Table:
    texts, removed = [], []
    columns = (batch[name].to_pylist() for name in ("text", "source", "meta"))
    for text, source, meta in zip(*columns, strict=True):
        left, spans = remove_boilerplate(text, source, found, settings.limits)
        if spans and _is_row(text, meta):
            spans = []  # what many rows of a table have in common is a value of theirs
        texts.append(left.strip() if spans else text)
        removed.append(len(spans))
    if not any(removed):
        return pa.Table.from_batches([batch])
    tally["boilerplate"] += sum(removed)
    batch = append_columns(batch, {"text": pa.array(texts, pa.string()), "boilerplate": pa.array(removed, pa.int32())})
    # Rules judge the text that is left.
    batch = _without_lines(Quality(settings.measure.lexicon)(batch))
    return signed(pa.Table.from_batches([batch]), settings.measure)
