"""Duplicates among the documents of many units, found by tasks.

Map tasks write records partitioned by key, reduce tasks read one partition of all of them.
What comes out is what `exact_disk`, `boilerplate` and `near` find in one process.

Every stage is a list of units as any other: what is finished stands in the manifest, a killed run goes on at the next
task. Nothing but paths and counts leaves the folder that all nodes share; texts are read by the tasks that hash them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from datatools.dedupe.boilerplate import PARAGRAPH, Boilerplate, frequent
from datatools.dedupe.exact import first_occurrences
from datatools.dedupe.partitions import leading_bits, partitions_for
from datatools.engine.local import run_units
from datatools.engine.parts import Parts, fixed
from datatools.engine.units import Unit
from datatools.engine.work import Work
from datatools.io import storage
from datatools.io.atomic import atomic_path

VERSION = 2  # what tasks of another version left in a work folder is made anew
MOST_MAPS = 1024  # map tasks of a stage
GROUP_DOCUMENTS = 1 << 14  # of a map task, at least: keys of fewer are read in less time than a task takes to begin
# What the one task declares that sees all edges: components of up to some hundred million documents with duplicates.
GRAPH_MEMORY = 2 << 30
Columns: TypeAlias = Mapping[str, npt.NDArray[Any]]
EXACT = pa.schema([pa.field("key", pa.binary(16)), pa.field("number", pa.int64())])
LATER = pa.schema([pa.field("number", pa.int64()), pa.field("first", pa.int64())])
PARAGRAPHS = pa.schema([pa.field("key", pa.uint64()), pa.field("group", pa.uint64())])
FREQUENT = pa.schema([pa.field("key", pa.uint64())])


@dataclass(frozen=True)
class Corpus:
    """Where the documents are: the units `keys` in input order, cut into groups, one a map task."""

    work: str
    keys: tuple[str, ...]
    starts: npt.NDArray[np.int64]  # number of the first document of every unit, and of all documents
    groups: npt.NDArray[np.int64]  # first unit of every group, and of all units
    kept: str = ""  # .npy file: which documents take part; all where it is empty
    ranks: str = ""  # .npy file: who is better, 0 the best; input order where it is empty

    def group(self, number: int, stream: str = "documents") -> tuple[int, Parts]:
        """The parts of one group, and the number of its first document."""
        first, last = self.groups[number : number + 2]
        return int(self.starts[first]), Parts(Work(Path(self.work)), self.keys[first:last], stream)

    def mask(self) -> npt.NDArray[np.bool_] | None:
        """Which documents take part."""
        return np.load(storage.here(self.kept), mmap_mode="r") if self.kept else None

    def rank(self) -> npt.NDArray[np.int64] | None:
        """Rank of every document."""
        return np.load(storage.here(self.ranks), mmap_mode="r") if self.ranks else None


@dataclass(frozen=True)
class Stage:
    """One step: `name` tells it from every other, `partitions` is into how many parts keys are cut."""

    name: str
    corpus: Corpus
    partitions: int
    maps: tuple[str, ...] = ()  # keys of the tasks whose records are read
    settings: Any = None


def corpus_of(
    documents: Parts,
    work: Work,
    kept: npt.NDArray[np.bool_] | None = None,
    ranks: npt.NDArray[np.integer] | None = None,
) -> Corpus:
    """The documents, with what tasks must know of them in files that they read."""
    units = len(documents.keys_of)
    count = min(MOST_MAPS, units, max(1, len(documents) // GROUP_DOCUMENTS))
    groups = np.unique(np.linspace(0, units, count + 1).astype(int))
    return Corpus(
        str(work.path.absolute()),
        tuple(documents.keys_of),
        np.array(documents.starts, np.int64),
        groups.astype(np.int64),
        "" if kept is None else _filed(work, kept),
        "" if ranks is None else _filed(work, np.asarray(ranks, np.int64)),
    )


def _filed(work: Work, values: npt.NDArray[Any]) -> str:
    path = work.path / f"column-{xxhash.xxh3_64_hexdigest(np.ascontiguousarray(values).tobytes())}.npy"
    if not path.exists():
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, values)
    return str(path.absolute())


def digest(corpus: Corpus, *more: object) -> str:
    """What tells the stages over these documents from others."""
    given = (
        f"{VERSION} {corpus.keys} {corpus.groups.tolist()} {Path(corpus.kept).name} {Path(corpus.ranks).name} {more}"
    )
    return xxhash.xxh3_64_hexdigest(given.encode())


def run_stage(
    function: Callable[..., Iterator[tuple[str, Any]]],
    count: int,
    stage: Stage,
    work: Work,
    schemas: Mapping[str, pa.Schema],
    memory: int | None = None,
) -> tuple[str, ...]:
    """Run the tasks 0 … count - 1 of a stage; their keys."""
    units = [Unit(f"{stage.name}-{number:05d}", ()) for number in range(count)]
    for _ in run_units(function, units, stage, work, schemas, memory=memory):
        pass
    return tuple(unit.key for unit in units)


def number_of(unit: Unit) -> int:
    """Which task of its stage a unit is."""
    return int(unit.key.rpartition("-")[2])


def partitioned(places: npt.NDArray[Any], count: int, columns: Columns, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The records, a batch for every partition: that is how `taken` finds its own."""
    order = np.argsort(places, kind="stable")
    ends = np.cumsum(np.bincount(places, minlength=count))
    sorted_columns = [_array(columns[field.name][order], field.type) for field in schema]
    whole = pa.record_batch(sorted_columns, schema)
    start = 0
    for end in ends.tolist():
        yield whole.slice(start, end - start)
        start = end


def taken(stage: Stage, stream: str, place: int) -> pa.Table:
    """The records of one partition from all map tasks, in their order."""
    parts = Work(Path(stage.corpus.work))
    paths = [parts.part(key, stream) for key in stage.maps]
    return pa.Table.from_batches(storage.side_by_side(lambda path: _batch(path, place), paths))


def _batch(path: Path, number: int) -> pa.RecordBatch:
    # Of an object only this batch is read: every task would else download what all of them need.
    address = storage.address_of(path)
    with storage.opened(address, 1 << 16) if address else pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).get_batch(number)


def _array(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    values = np.ascontiguousarray(values)
    if pa.types.is_fixed_size_binary(kind):
        return pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [None, pa.py_buffer(values.tobytes())])
    return pa.array(values, kind)


def all_of(parts: Parts, schema: pa.Schema) -> pa.Table:
    """All rows of the parts."""
    tables = [table for _, table in parts.batches(schema.names)]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def column(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """A column of numbers, writable."""
    return np.array(table[name].to_numpy())


# Exact duplicates


def exact(corpus: Corpus, documents: int, work: Work) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """`exact_disk.duplicates`: numbers, ascending, and the document that stands for each."""
    partitions = partitions_for(24 * documents)
    name = f"exact-{digest(corpus)}"
    maps = run_stage(
        exact_records, len(corpus.groups) - 1, Stage(f"{name}-map", corpus, partitions), work, {"records": EXACT}
    )
    keys = run_stage(later_copies, partitions, Stage(name, corpus, partitions, maps), work, {"later": LATER})
    found = Parts(work, keys, "later")
    numbers, firsts = found.numbers("number"), found.numbers("first")
    order = np.argsort(numbers)
    return numbers[order], firsts[order]


def exact_records(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """Map: the keys of a group's documents, by their leading bits."""
    start, parts = stage.corpus.group(number_of(unit))
    mask = stage.corpus.mask()
    keys = parts.keys("key")
    numbers = np.arange(start, start + len(keys))
    if mask is not None:
        chosen = mask[start : start + len(keys)]
        keys, numbers = keys[chosen], numbers[chosen]
    leading = np.ascontiguousarray(keys).view(np.uint64).reshape(-1, 2)[:, 1]
    tally["records"] += len(keys)
    for batch in partitioned(
        leading_bits(leading, stage.partitions), stage.partitions, {"key": keys, "number": numbers}, EXACT
    ):
        yield "records", batch


def later_copies(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """Reduce: which documents of a partition repeat another."""
    table = taken(stage, "records", number_of(unit))
    numbers = column(table, "number")
    keys = fixed(table["key"])
    if (ranks := stage.corpus.rank()) is not None:
        order = np.argsort(ranks[numbers], kind="stable")
        numbers, keys = numbers[order], keys[order]
    firsts = numbers[first_occurrences(np.ascontiguousarray(keys))]
    later = np.flatnonzero(numbers != firsts)
    tally["records"] += len(numbers)
    yield "later", pa.table([numbers[later], firsts[later]], schema=LATER)


# Paragraphs of many documents


def boilerplate(
    corpus: Corpus, documents: Mapping[int, int], count: int, work: Work, limits: Boilerplate
) -> npt.NDArray[np.uint64]:
    """`find_boilerplate` over the paragraphs of the documents that take part; `documents` by group, `count` records."""
    partitions = partitions_for(count * PARAGRAPH.itemsize)
    name = f"paragraphs-{digest(corpus, limits)}"
    maps = run_stage(
        paragraph_records, len(corpus.groups) - 1, Stage(f"{name}-map", corpus, partitions), work, {"r": PARAGRAPHS}
    )
    stage = Stage(name, corpus, partitions, maps, (dict(documents), limits))
    found = Parts(work, run_stage(frequent_paragraphs, partitions, stage, work, {"keys": FREQUENT}), "keys")
    return column(all_of(found, FREQUENT), "key")


def paragraph_records(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """Map: the paragraphs of a group's documents, by the leading bits of their keys."""
    start, documents = stage.corpus.group(number_of(unit))
    _, paragraphs = stage.corpus.group(number_of(unit), "paragraphs")
    own = np.repeat(np.array(documents.starts[:-1]), np.diff(paragraphs.starts)) + paragraphs.numbers("document")
    whole = all_of(paragraphs, PARAGRAPHS)
    mask = stage.corpus.mask()
    chosen = np.ones(len(own), bool) if mask is None else np.asarray(mask[start + own])
    columns = {name: column(whole, name)[chosen] for name in ("key", "group")}
    tally["records"] += len(columns["key"])
    places = leading_bits(columns["key"], stage.partitions)
    for batch in partitioned(places, stage.partitions, columns, PARAGRAPHS):
        yield "r", batch


def frequent_paragraphs(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """Reduce: the keys of a partition that enough documents of their group carry."""
    table = taken(stage, "r", number_of(unit))
    documents, limits = stage.settings
    found = frequent(column(table, "key"), column(table, "group"), documents, limits)
    tally["records"] += table.num_rows
    yield "keys", pa.table([found], schema=FREQUENT)
