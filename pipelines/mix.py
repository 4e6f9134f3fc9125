"""Mix: several files of the same records become one, so much of each, in an order that is a curriculum.

Three passes. Units read ids and texts and leave 12 bytes a row; from these follows which rows go in and when each
arrives; then the rows are moved, sorted out of memory.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datatools.dedupe.partitions import scratch
from datatools.engine.choice import Engine
from datatools.engine.local import get_ready, run_units
from datatools.engine.parts import Parts
from datatools.engine.units import Unit, identity, plan
from datatools.engine.work import open_work
from datatools.io.atomic import parquet_writer
from datatools.io.source import Source
from datatools.mix.parts import Part, amounts, named
from datatools.mix.race import id_hashes
from datatools.mix.tokens import message_tokens, text_tokens
from datatools.report.progress import Progress
from datatools.report.summary import Summary, padded
from pipelines.inputs import companions, sized_parts
from pipelines.mix_order import OWN, Copies, Order, Sorter, copied_ids
from schemas.conversation import CONVERSATION
from schemas.document import DOCUMENT
from schemas.fields import check, name_of
from schemas.fields import field as described
from schemas.records import PREFERENCE, UNPAIRED
from schemas.trace import TRACE

VERSION = 1
BATCH = 8192
TENTHS = 10
# The records that can be mixed, by the columns that hold their texts. A column of the first kind tells them apart.
RECORDS = {"messages": CONVERSATION, "chosen": PREFERENCE, "completion": UNPAIRED, "text": DOCUMENT}
TEXTS = {
    name_of(CONVERSATION): ("messages",),
    name_of(PREFERENCE): ("prompt", "chosen", "rejected"),
    name_of(UNPAIRED): ("prompt", "completion"),
    name_of(DOCUMENT): ("text",),
}
ADDED = (
    described("mix_source", pa.string(), "name of the part of the mixture the row came from"),
    described("epoch", pa.int32(), "how often the row has come so far, this time included"),
)
JSON_LINES = (".json", ".jsonl", ".gz")
MAKE_RECORDS = "`datatools check FILE --out CHECKED.parquet` makes such rows of messages, or of question and answer"
SCANNED = {"keys": pa.schema([("hash", pa.uint64()), ("tokens", pa.uint32())])}


@dataclass(frozen=True)
class MixSettings:
    """What shapes a mixture. Defaults are the command line's."""

    parts: tuple[Part, ...]
    tokens: int | None = None
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("mix: needs one INPUT at least, or [[mix.sources]] in a recipe")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"--limit {self.limit}: must be at least 1")


@dataclass
class MixSummary(Summary):
    """A summary with the composition: per part what was read and written, and its share in every tenth of the rows."""

    composition: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Scan:
    """What a unit needs besides its sources: how many rows of each file count, and which columns hold text."""

    limits: tuple[tuple[str, int], ...]
    texts: tuple[str, ...]


def mix(settings: MixSettings, out: Path, progress: Progress, *, workers: int = 1, fresh: bool = False) -> MixSummary:
    """Write the mixture to `out`. Raises ValueError, naming the file, where the inputs do not go together."""
    began = time.monotonic()
    parts = named(settings.parts)
    files = [_files(part, out) for part in parts]
    schema, texts = _schema([path for paths in files for path in paths])
    rows = _rows_read(files, settings.limit)
    scan = _Scan(tuple(rows.items()), texts)
    names = {str(path): f"{part.name}/{path.name}" for part, paths in zip(parts, files, strict=True) for path in paths}
    identities = {path: identity(path) for path in rows}
    sized = sized_parts([Source(path, names[path], "parquet") for path in rows])
    get_ready([__name__], sized, Engine(workers=workers))
    stated = {part.name: part.options() for part in parts}
    description = {
        "command": "mix",
        "settings": {"parts": stated, "tokens": settings.tokens, "limit": settings.limit, "seed": settings.seed},
        "inputs": {names[path]: identities[path] for path in rows},
    }
    summary = MixSummary("mix", [part.path for part in settings.parts], unit="rows")
    with open_work(out, description, fresh=fresh) as work:
        units = plan(sized, identities, f"mix@{VERSION} {scan}")
        progress.say(f"mix: {len(rows)} files, {sum(rows.values()):,} rows → {out}")
        with progress.bar("reading", len(units)) as bar:
            for _ in run_units(scan_unit, units, scan, work, SCANNED, workers=workers):
                bar.advance()
        starts = np.cumsum([0, *(sum(rows[str(path)] for path in paths) for paths in files)]).tolist()
        summary.rows_read, summary.work = starts[-1], str(work.path)
        with scratch(work.path / "sort") as folder:
            order = Order(folder, parts, starts, settings.seed)
            _decide(order, Parts(work, [unit.key for unit in units], "keys"), settings, progress)
            _write(order, files, rows, schema, out, folder, progress, summary)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def _files(part: Part, out: Path) -> list[Path]:
    """The file of a part, or the parquet files of its folder."""
    path = Path(part.path)
    if path.is_dir():
        beside = (".trace.parquet", ".failed.parquet")
        found = sorted(file for file in path.rglob("*.parquet") if not file.name.endswith(beside))
        found = [file for file in found if file.resolve() != out.resolve() and not file.name.startswith(".")]
        if not found:
            raise ValueError(f"{path}: no parquet file in that folder")
        return found
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    if path.resolve() == out.resolve():
        raise ValueError(f"--out {out}: is a file to be read")
    return [path]


def _schema(paths: Sequence[Path]) -> tuple[pa.Schema, tuple[str, ...]]:
    """The schema of the output, with every column that any input has, and the columns that hold text."""
    record: pa.Schema | None = None
    first = paths[0]
    found = []
    for path in paths:
        try:
            schema = pq.read_schema(path)
        except (pa.ArrowException, OSError) as error:
            if path.suffix in JSON_LINES:
                raise ValueError(f"{path}: is no parquet file; {MAKE_RECORDS}") from error
            raise ValueError(f"{path}: no parquet file ({str(error).splitlines()[0]})") from error
        here = _record(schema, path)
        try:
            check(schema, here, path)
        except ValueError as error:
            raise ValueError(f"{error}; {MAKE_RECORDS}" if here is CONVERSATION else str(error)) from error
        if record is not None and here is not record:
            raise ValueError(f"{path}: holds {name_of(here)} records, {first} {name_of(record)}: they do not mix")
        record = here
        own = [one for one in schema if one.name not in {added.name for added in ADDED}]
        found.append((path, pa.schema(own, metadata={b"datatools.schema": name_of(here).encode()})))
    assert record is not None
    whole = record
    for path, schema in found:
        try:
            # A checked Conversation has more columns and more values in `checks`: nulls where others have none.
            whole = pa.unify_schemas([whole, schema], promote_options="permissive")
        except pa.ArrowTypeError as error:
            raise ValueError(f"{path}: does not go with the other inputs: {error}") from error
    return pa.schema([*whole, *ADDED], metadata=record.metadata), TEXTS[name_of(record)]


def _record(schema: pa.Schema, path: Path) -> pa.Schema:
    said = name_of(schema)
    for column, record in RECORDS.items():
        if said == name_of(record) or (not said and column in schema.names):
            return record
    kinds = "conversations, documents or preferences"
    raise ValueError(f"{path}: holds {said or 'no'} records; only {kinds} can be mixed")


def _rows_read(files: Sequence[Sequence[Path]], limit: int | None) -> dict[str, int]:
    """How many rows of every file are read: with a limit so many in all, each file its share, from its beginning."""
    sizes: dict[str, int] = {}
    for path in (path for paths in files for path in paths):
        if str(path) in sizes:
            raise ValueError(f"{path}: is named twice; epochs=2 takes it twice")
        sizes[str(path)] = pq.read_metadata(path).num_rows
    total = sum(sizes.values())
    if not total:
        raise ValueError(f"{', '.join(sizes)}: no rows there")
    if limit is None or limit >= total:
        return sizes
    ends = np.cumsum(list(sizes.values())) * limit // total
    return dict(zip(sizes, np.diff(ends, prepend=0).tolist(), strict=True))


def scan_unit(unit: Unit, scan: _Scan, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """Hash of the id and tokens of every row of some row groups. `tally` counts `rows` and `tokens`."""
    limits = dict(scan.limits)
    for source in unit.sources:
        for batch in _batches(source, limits[source.path], ["id", *scan.texts]):
            tokens = np.zeros(batch.num_rows)
            for name in scan.texts:
                column = batch.column(name)
                tokens += text_tokens(column) if name == "text" else message_tokens(column)
            counted = np.minimum(np.rint(tokens), 2**32 - 1).astype(np.uint32)
            tally["rows"] += batch.num_rows
            tally["tokens"] += int(counted.sum(dtype=np.int64))
            columns = [pa.array(id_hashes(batch.column("id").to_pylist())), pa.array(counted)]
            yield "keys", pa.Table.from_arrays(columns, schema=SCANNED["keys"])


def _batches(source: Source, limit: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a range of row groups, up to the `limit`-th row of the file."""
    groups = list(range(len(_group_rows(source.path)))[source.start : None if source.stop < 0 else source.stop])
    left = limit - sum(_group_rows(source.path)[: source.start])
    if left <= 0 or not groups:
        return
    with pq.ParquetFile(source.path) as file:
        batches = file.iter_batches(BATCH, row_groups=groups, columns=columns)
        while left > 0:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                said = str(error).splitlines()[0].strip()
                raise ValueError(f"{source.path}: is damaged ({said}); make it anew") from error
            if batch is None:
                return
            yield batch.slice(0, left)
            left -= batch.num_rows


@lru_cache(maxsize=64)
def _group_rows(path: str) -> tuple[int, ...]:
    metadata = pq.read_metadata(path)
    return tuple(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))


def _decide(order: Order, scanned: Parts, settings: MixSettings, progress: Progress) -> None:
    """Which copies of which rows go in."""
    order.read(scanned)
    supply = order.supply()
    wanted = amounts(order.parts, supply, settings.tokens)
    order.set_amounts(wanted, supply)
    if settings.tokens and sum(wanted) < settings.tokens * 0.999:
        progress.say(
            f"mix: {sum(wanted):,.0f} tokens of the {settings.tokens:,} wanted: more needs epochs= or another weight="
        )


def _write(
    order: Order,
    files: Sequence[Sequence[Path]],
    rows: Mapping[str, int],
    schema: pa.Schema,
    out: Path,
    folder: Path,
    progress: Progress,
    summary: MixSummary,
) -> None:
    size = sum(
        amount.epochs * sum(_bytes(str(path)) for path in paths)
        for amount, paths in zip(order.amounts, files, strict=True)
    )
    total, edges = order.partitions(size)
    if not total:
        raise ValueError("mix: no row fits into so few tokens; raise --tokens or tokens=")
    counted = _Composition(order, total)
    trace_path, _ = companions(out)
    sorter = Sorter(folder, edges, schema)
    with sorter, parquet_writer(trace_path, TRACE) as trace, progress.bar("ordering", sum(rows.values())) as bar:
        for first, part, batch in _moved(order, files, rows):
            left_out = np.ones(batch.num_rows, bool)
            for copies in order.copies(part, first, batch.num_rows):
                left_out[copies.chosen] = False
                sorter.write(_copied(batch, copies, order, part, first, sorter.schema))
                counted.tokens[part] += int(copies.tokens.sum(dtype=np.int64))
            if left_out.any():
                trace.write(_traced(batch, order.keys["tokens"][first : first + batch.num_rows], left_out))
            bar.advance(batch.num_rows)
    if trace.written:
        summary.trace, summary.dropped["beyond_budget"] = str(trace_path), trace.written
    else:
        trace_path.unlink(missing_ok=True)
    names = pa.array([part.name for part in order.parts], pa.string())
    with parquet_writer(out, schema) as writer, progress.bar("writing", total) as bar:
        for table in sorter.sorted():
            part_numbers = table[OWN[2]].combine_chunks()
            counted.add(part_numbers.to_numpy())
            place = table.schema.get_field_index(ADDED[0].name)
            writer.write(table.set_column(place, ADDED[0], names.take(part_numbers)))
            bar.advance(table.num_rows)
    assert writer.written == total
    summary.rows_written, summary.output = writer.written, str(out)
    summary.composition, summary.notes = counted.as_dict(), counted.lines()


@lru_cache(maxsize=64)
def _bytes(path: str) -> int:
    """About how much memory the rows of a file take: by its first ones, or by what the file says of all of them."""
    with pq.ParquetFile(path) as file:
        groups = file.metadata.num_row_groups
        stated = sum(file.metadata.row_group(number).total_byte_size for number in range(groups))
        # In a file a value that comes often takes a few bits.
        first = next(file.iter_batches(BATCH), None)
        return int(max(stated, first.nbytes * file.metadata.num_rows // first.num_rows)) if first else int(stated)


def _moved(
    order: Order, files: Sequence[Sequence[Path]], rows: Mapping[str, int]
) -> Iterator[tuple[int, int, pa.RecordBatch]]:
    """All rows in input order: the number of a batch's first row, its part, the batch."""
    first = 0
    for part, paths in enumerate(files):
        for path in paths:
            for batch in _batches(Source(str(path), path.name, "parquet"), rows[str(path)]):
                yield first, part, batch
                first += batch.num_rows
    assert first == order.starts[-1]


def _copied(batch: pa.RecordBatch, copies: Copies, order: Order, part: int, first: int, schema: pa.Schema) -> pa.Table:
    """The rows of a batch that go in once more, with what they are sorted by."""
    taken = batch if len(copies.chosen) == batch.num_rows else batch.take(pa.array(copies.chosen))
    count = taken.num_rows
    ids = taken.column("id")
    made = {
        "id": copied_ids(ids, copies.copies) if order.repeated else ids,
        "mix_source": pa.nulls(count, pa.string()),
        "epoch": pa.array(np.full(count, copies.epoch, np.int32)),
        OWN[0]: pa.array(copies.times),
        OWN[1]: pa.array(copies.chosen + first),
        OWN[2]: pa.array(np.full(count, part, np.int32)),
        OWN[3]: pa.array(copies.copies.astype(np.int64)),
    }
    columns = []
    for one in schema:
        column = made.get(one.name)
        if column is None and one.name in taken.schema.names:
            column = taken.column(one.name)
        columns.append(pa.nulls(count, one.type) if column is None else column.cast(one.type))
    return pa.Table.from_arrays(columns, schema=schema)


def _traced(batch: pa.RecordBatch, tokens: Any, left_out: Any) -> pa.Table:
    """Rows that no budget had room for."""
    rows = batch.filter(pa.array(left_out))
    told = {
        "id": rows.column("id").cast(pa.string()),
        "source": rows.column("source").cast(pa.string()) if "source" in rows.schema.names else None,
        "step": pa.repeat(pa.scalar("mix"), rows.num_rows),
        "rule": pa.repeat(pa.scalar("beyond_budget"), rows.num_rows),
        "value": pa.array(tokens[left_out].astype(np.float64)),
    }
    columns = [pa.nulls(rows.num_rows, one.type) if told.get(one.name) is None else told[one.name] for one in TRACE]
    return pa.Table.from_arrays(columns, schema=TRACE)


class _Composition:
    """Which part has how many rows in which tenth of the mixture."""

    def __init__(self, order: Order, total: int) -> None:
        self.tokens = [0] * len(order.parts)
        self._order, self._total, self._seen = order, total, 0
        self._tenths = np.zeros((TENTHS, len(order.parts)), np.int64)

    def add(self, parts: Any) -> None:
        """Count the parts of the next rows."""
        tenths = np.arange(self._seen, self._seen + len(parts)) * TENTHS // self._total
        np.add.at(self._tenths, (tenths, parts), 1)
        self._seen += len(parts)

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Per part: rows read and written, tokens written, epochs, priority, and its share of each tenth's rows."""
        order, sizes = self._order, np.maximum(1, self._tenths.sum(axis=1))
        return {
            part.name: {
                "rows_read": order.starts[number + 1] - order.starts[number],
                "rows": int(self._tenths[:, number].sum()),
                "tokens": self.tokens[number],
                "epochs": order.amounts[number].epochs,
                "priority": part.priority,
                "tenths": (self._tenths[:, number] / sizes).round(4).tolist(),
            }
            for number, part in enumerate(order.parts)
        }

    def lines(self) -> list[str]:
        """The composition as a table: shares in percent of the rows of every tenth."""
        heads = "".join(f"{10 * tenth:>4}–" for tenth in range(TENTHS))
        lines = [f"  {'part':<24}{'rows':>12}{'tokens':>15}{'epochs':>8}{'priority':>10}  {heads} %"]
        for name, found in self.as_dict().items():
            times = found["rows"] / found["rows_read"] if found["rows_read"] else 0
            shares = "".join(f"{_percent(share):>5}" for share in found["tenths"])
            short = name if len(name) <= 23 else name[:22] + "…"
            lines.append(
                f"  {padded(short, 24)}{found['rows']:>12,}{found['tokens']:>15,}{times:>8.3g}"
                f"{found['priority']:>10g}  {shares}"
            )
        return lines


def _percent(share: float) -> str:
    """A share in percent that never rounds something to nothing.

    >>> _percent(0.502), _percent(0.001), _percent(0.0)
    ('50', '<1', '0')
    """
    return "<1" if 0 < share < 0.005 else f"{100 * share:.0f}"
