"""Near duplicates by tasks: bands → candidate pairs → shingle sets → verified edges → components → who is kept.

The stages and what each reads and writes:

1. `band_records` (a group of units): band keys, by their leading bits.
2. `bucket_pairs` (a partition of keys): pairs of ranks that share a key, by the rank of the worse one.
3. `unique_pairs` (a range of ranks): every pair once, and the documents in any, by group.
4. `write_group_sets` (a group): the shingle sets of those documents, from their texts, in one file.
5. `verified` (a range of ranks): the pairs whose exact Jaccard reaches the threshold: edges.
6. `components` (one task): connected components of all edges; a component's edges stay together. Above MOST_EDGES
   `linked`, the rounds of `stars` and `labelled`, on partitions, give the same.
7. `elected` (some components): from the best to the worst, who goes for whom.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.dedupe import spread
from datatools.dedupe.lsh import NO_KEY
from datatools.dedupe.near import (
    MOST_DOCUMENTS,
    REACH,
    SET_BYTES,
    UPPER,
    Drops,
    Near,
    pair_partitions,
    ranked,
)
from datatools.dedupe.partitions import leading_bits, partitions_for
from datatools.dedupe.sets import Sets
from datatools.dedupe.shingles import distinct_hashes
from datatools.dedupe.spread import Corpus, Stage, all_of, column, number_of, partitioned, run_stage, taken
from datatools.dedupe.stars import LINKS, both_ways, place_of, stars
from datatools.engine.parts import Parts
from datatools.engine.units import Unit
from datatools.engine.work import Work
from datatools.io.atomic import atomic_path

LOW = np.uint64(0xFFFFFFFF)
ENTRIES = pa.schema([pa.field("entry", pa.uint64())])
PAIRS = pa.schema([pa.field("pair", pa.uint64())])
NUMBERS = pa.schema([pa.field("number", pa.int64())])
SETS = pa.schema([pa.field("number", pa.int64()), pa.field("start", pa.int64()), pa.field("size", pa.uint32())])
EDGES = pa.schema([pa.field("pair", pa.uint64()), pa.field("jaccard", pa.float64())])
EDGE, LINK = np.dtype([("pair", "<u8"), ("jaccard", "<f8")]), np.dtype("<u8")
EDGE_BYTES = 170  # of the one task that finds the components, for each edge, at its peak (measured)
# More edges than that task's memory holds are cut into partitions.
MOST_EDGES = spread.GRAPH_MEMORY // EDGE_BYTES


@dataclass(frozen=True)
class _Plan:
    """What every stage knows."""

    near: Near
    documents: int
    ranges: int  # of ranks of the worse document of a pair
    sets: tuple[str, ...] = ()  # keys of the tasks that wrote shingle sets
    stars: tuple[str, ...] = ()  # keys of the tasks that wrote the last round's links


def near(corpus: Corpus, documents: int, work: Work, settings: Near) -> Drops:
    """`near.near_duplicates` for the documents of a corpus. Raises ValueError for more than 2³² documents."""
    if documents >= MOST_DOCUMENTS:
        raise ValueError(f"{documents:,} documents: near duplicates are found among at most {MOST_DOCUMENTS:,}")
    groups = len(corpus.groups) - 1
    partitions = partitions_for(8 * documents * len(settings.columns))
    plan = _Plan(settings, documents, pair_partitions(documents))
    name = f"near-{spread.digest(corpus, settings)}"
    stage = Stage(f"{name}-bands", corpus, partitions, (), plan)
    maps = run_stage(band_records, groups, stage, work, {"entries": ENTRIES})
    stage = Stage(f"{name}-buckets", corpus, partitions, maps, plan)
    maps = run_stage(bucket_pairs, partitions, stage, work, {"pairs": PAIRS})
    stage = Stage(f"{name}-pairs", corpus, plan.ranges, maps, plan)
    pairs = run_stage(unique_pairs, plan.ranges, stage, work, {"pairs": PAIRS, "wanted": NUMBERS})
    sets = run_stage(write_group_sets, groups, Stage(f"{name}-sets", corpus, groups, pairs, plan), work, {"sets": SETS})
    plan = _Plan(settings, documents, plan.ranges, sets)
    stage = Stage(f"{name}-edges", corpus, plan.ranges, pairs, plan)
    edges = run_stage(verified, plan.ranges, stage, work, {"edges": EDGES})
    stage = _by_component(name, replace(stage, maps=edges), work)
    found = Parts(work, run_stage(elected, stage.partitions, stage, work, {"drops": EDGES}), "drops")
    whole = all_of(found, EDGES)
    worse, better = _ends(column(whole, "pair"), corpus)
    order = np.argsort(worse)
    count = sum(work.units[key]["pairs"] for key in pairs)
    return Drops(worse[order], better[order], column(whole, "jaccard")[order], count, count)


def _by_component(name: str, found: Stage, work: Work) -> Stage:
    """The stage that elects, with the edges of `found` dealt to its tasks by component."""
    edges = found.maps
    count = sum(work.units[key].get("edges", 0) for key in edges)
    elections = partitions_for(EDGE.itemsize * count)
    if count <= MOST_EDGES:
        stage = replace(found, name=f"{name}-components", partitions=elections)
        dealt = run_stage(components, 1, stage, work, {"edges": EDGES}, memory=spread.GRAPH_MEMORY)
        return replace(stage, name=f"{name}-drops", maps=dealt)
    parts = partitions_for(2 * LINK.itemsize * count)
    stage = replace(found, name=f"{name}-links", partitions=parts)
    links = run_stage(linked, len(edges), stage, work, {"links": LINKS, "edges": EDGES})
    last, _ = stars(links, replace(stage, name=f"{name}-stars"), work, spread.GRAPH_MEMORY)
    plan = replace(found.settings, stars=last)
    stage = Stage(f"{name}-labels", found.corpus, elections, links, plan)
    dealt = run_stage(labelled, parts, stage, work, {"edges": EDGES}, memory=spread.GRAPH_MEMORY)
    return replace(stage, name=f"{name}-drops", maps=dealt)


def _ends(pairs: npt.NDArray[np.uint64], corpus: Corpus) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Numbers of the worse and the better document of pairs of ranks."""
    worse, better = (pairs >> np.uint64(32)).astype(np.int64), (pairs & LOW).astype(np.int64)
    if (given := corpus.rank()) is None:
        return worse, better
    _, by_rank = ranked(len(given), np.asarray(given), 0)
    return by_rank[worse].astype(np.int64), by_rank[better].astype(np.int64)


def band_records(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """Map: a key without the leading bits that its partition tells, cut to 32 bits << 32 | rank, for every band."""
    start, parts = stage.corpus.group(number_of(unit))
    mask, given = stage.corpus.mask(), stage.corpus.rank()
    ranks = None if given is None else ranked(len(given), np.asarray(given), 0)[0]
    known = np.uint64(stage.partitions.bit_length() - 1)
    entries, places = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint8)]
    for first, table in parts.blocks(stage.settings.near.columns):
        rows = slice(start + first, start + first + table.num_rows)
        own = (np.arange(rows.start, rows.stop) if ranks is None else ranks[rows]).astype(np.uint64)
        for name in stage.settings.near.columns:
            keys = table[name].to_numpy()
            chosen = keys != NO_KEY if mask is None else (keys != NO_KEY) & mask[rows]
            keys = keys[chosen]
            entries.append((keys << known) & UPPER | own[chosen])
            places.append(leading_bits(keys, stage.partitions))
    whole = np.concatenate(entries)
    tally["records"] += len(whole)
    for batch in partitioned(np.concatenate(places), stage.partitions, {"entry": whole}, ENTRIES):
        yield "entries", batch


def bucket_pairs(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """Reduce: the candidate pairs of one partition, each once."""
    from datatools.dedupe import kernels

    entries = column(taken(stage, "entries", number_of(unit)), "entry")
    entries.sort()
    found = np.empty(kernels.bucket_pairs(entries, REACH, 0, entries, False), np.uint64)
    pairs = np.unique(found[: kernels.bucket_pairs(entries, REACH, 0, found, True)])
    tally["pairs"] += len(pairs)
    plan = stage.settings
    places = (pairs >> np.uint64(32)).astype(np.int64) * plan.ranges // max(1, plan.documents)
    for batch in partitioned(places, plan.ranges, {"pair": pairs}, PAIRS):
        yield "pairs", batch


def unique_pairs(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """Reduce: the pairs of a range of ranks, each once and in order, and the documents in any, by group."""
    pairs = np.unique(column(taken(stage, "pairs", number_of(unit)), "pair"))
    tally["pairs"] += len(pairs)
    yield "pairs", pa.table([pairs], schema=PAIRS)
    numbers = np.unique(np.concatenate(_ends(pairs, stage.corpus)))
    ends = stage.corpus.starts[stage.corpus.groups]
    places = np.searchsorted(ends, numbers, side="right") - 1
    for batch in partitioned(places, len(ends) - 1, {"number": numbers}, NUMBERS):
        yield "wanted", batch


def write_group_sets(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """Map: the shingle sets of a group's documents that are in any pair, and where in the file each begins."""
    group = number_of(unit)
    numbers = np.unique(column(taken(stage, "wanted", group), "number"))
    start, parts = stage.corpus.group(group)
    wanted = np.zeros(len(parts), bool)
    wanted[numbers - start] = True
    starts, sizes = np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.uint32)
    row = written = 0
    with atomic_path(_sets_path(stage.corpus, unit.key)) as temporary, temporary.open("wb") as file:
        for _, table in parts.chosen(["text"], wanted):
            for piece in distinct_hashes(table["text"], stage.settings.near.shingle):
                count = len(piece.ends)
                begins = np.concatenate([[0], piece.ends[:-1]])
                starts[row : row + count], sizes[row : row + count] = written + begins, piece.ends - begins
                file.write(piece.hashes.data)
                written, row = written + len(piece.hashes), row + count
    tally["documents"] += len(numbers)
    tally["hashes"] += written
    yield "sets", pa.table([numbers, starts, sizes], schema=SETS)


def _sets_path(corpus: Corpus, key: str) -> Path:
    return Work(Path(corpus.work)).parts / f"{key}.sets.bin"


def verified(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """The pairs of a range whose shingle sets are alike enough, with their exact Jaccard."""
    work = Work(Path(stage.corpus.work))
    pairs = column(all_of(Parts(work, [stage.maps[number_of(unit)]], "pairs"), PAIRS), "pair")
    with _Shelf(stage.corpus, stage.settings.sets) as shelf:
        worse, better = _ends(pairs, stage.corpus)
        sizes = shelf.sizes(worse), shelf.sizes(better)
        least = stage.settings.near.threshold
        # As in `near`: sets of too unequal sizes cannot reach the threshold.
        possible = np.minimum(*sizes) >= least * np.maximum(*sizes) - 1e-6
        pairs, worse, better = pairs[possible], worse[possible], better[possible]
        weight = np.cumsum((sizes[0] + sizes[1])[possible]) * 8 // SET_BYTES
        for chunk in np.split(np.arange(len(pairs)), np.flatnonzero(np.diff(weight)) + 1):
            if len(chunk):
                goes, found = _alike(shelf, worse[chunk], better[chunk], least)
                tally["compared"] += len(chunk)
                tally["edges"] += len(found)
                yield "edges", pa.table([pairs[chunk][goes], found], schema=EDGES)


def _alike(
    shelf: _Shelf, worse: npt.NDArray[np.int64], better: npt.NDArray[np.int64], least: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Which pairs reach the threshold, and their Jaccard."""
    from datatools.dedupe import kernels

    numbers, places = np.unique(np.stack([worse, better], axis=1), return_inverse=True)
    values, starts, sizes = shelf.load(numbers)
    count = len(worse)
    # A worse and a better one of its own for every pair, so that every pair is compared.
    ends = np.arange(count, dtype=np.uint64)
    gone, twins, found = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.float64)
    left, _ = kernels.elect(
        (2 * ends + np.uint64(1)) << np.uint64(32) | 2 * ends,
        places.ravel().astype(np.int64),
        values,
        starts,
        sizes,
        least,
        np.ones(2 * count, bool),
        gone,
        twins,
        found,
    )
    return gone[:left] // 2, found[:left]


class _Shelf:
    """The shingle sets that the tasks of all groups wrote, by number of the document."""

    def __init__(self, corpus: Corpus, keys: tuple[str, ...]) -> None:
        self._bounds = corpus.starts[corpus.groups]
        parts = [Parts(Work(Path(corpus.work)), [key], "sets") for key in keys]
        self._numbers = [part.numbers("number") for part in parts]
        self._sizes = [part.numbers("size").astype(np.uint32) for part in parts]
        self._sets = [
            Sets(_sets_path(corpus, key), part.numbers("start"), sizes)
            for key, part, sizes in zip(keys, parts, self._sizes, strict=True)
        ]

    def __enter__(self) -> _Shelf:
        for sets in self._sets:
            sets.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        for sets in self._sets:
            sets.__exit__(*error)

    def _groups(self, numbers: npt.NDArray[np.int64]) -> Iterator[tuple[int, npt.NDArray[np.intp], Any]]:
        groups = np.searchsorted(self._bounds, numbers, side="right") - 1
        for group in np.unique(groups).tolist():
            places = np.flatnonzero(groups == group)
            yield group, places, np.searchsorted(self._numbers[group], numbers[places])

    def sizes(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Shingles of every document."""
        sizes = np.zeros(len(numbers), np.int64)
        for group, places, rows in self._groups(numbers):
            sizes[places] = self._sizes[group][rows]
        return sizes

    def load(
        self, numbers: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The sets of `numbers` (ascending), one after the other, where each begins, and their sizes."""
        values, starts, before = [], [], 0
        for group, _, rows in self._groups(numbers):
            loaded, begins = self._sets[group].load(rows)
            values.append(loaded)
            starts.append(begins + before)
            before += len(loaded)
        return np.concatenate(values), np.concatenate(starts), self.sizes(numbers)


def components(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """Union-find over all edges; every component's edges go to the same election. Memory: EDGE_BYTES an edge."""
    from datatools.dedupe import kernels

    whole = all_of(Parts(Work(Path(stage.corpus.work)), stage.maps, "edges"), EDGES)
    pairs = column(whole, "pair")
    nodes = np.unique(np.concatenate([pairs >> np.uint64(32), pairs & LOW]))
    parents = np.arange(len(nodes))
    worse, better = np.searchsorted(nodes, pairs >> np.uint64(32)), np.searchsorted(nodes, pairs & LOW)
    del nodes
    kernels.unite(parents, worse, better)
    tally["edges"] += len(pairs)
    tally["components"] += int(np.count_nonzero(parents == np.arange(len(parents))))
    places = (parents[worse] % stage.partitions).astype(np.uint8)
    del parents, worse, better
    columns = {"pair": pairs, "jaccard": column(whole, "jaccard")}
    for batch in partitioned(places, stage.partitions, columns, EDGES):
        yield "edges", batch


def linked(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """Map: the edges of a range, by their worse end; and from either end, for the stars."""
    whole = all_of(Parts(Work(Path(stage.corpus.work)), [stage.maps[number_of(unit)]], "edges"), EDGES)
    pairs = column(whole, "pair")
    columns = {"pair": pairs, "jaccard": column(whole, "jaccard")}
    tally["edges"] += len(pairs)
    for batch in partitioned(_place(pairs, stage.partitions), stage.partitions, columns, EDGES):
        yield "edges", batch
    links = both_ways(pairs)
    for batch in partitioned(_place(links, stage.partitions), stage.partitions, {"link": links}, LINKS):
        yield "links", batch


def _place(pairs: npt.NDArray[np.uint64], count: int) -> npt.NDArray[np.uint8]:
    return place_of(pairs >> np.uint64(32), count)


def labelled(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """Reduce: the edges of a partition, by the centre of the star that their worse end is in."""
    number = number_of(unit)
    table = taken(stage, "edges", number)
    links = np.unique(column(taken(replace(stage, maps=stage.settings.stars), "links", number), "link"))
    nodes, centres = links >> np.uint64(32), links & LOW
    # A node that is no centre has one link, to its centre; the worse end of an edge has a better one, and is no centre.
    pairs = column(table, "pair")
    roots = centres[np.searchsorted(nodes, pairs >> np.uint64(32))]
    places = (roots % np.uint64(stage.partitions)).astype(np.uint8)
    tally["edges"] += len(pairs)
    columns = {"pair": pairs, "jaccard": column(table, "jaccard")}
    for batch in partitioned(places, stage.partitions, columns, EDGES):
        yield "edges", batch


def elected(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """Who goes, for whom, in some components: a document goes when a better one that is kept is like it."""
    from datatools.dedupe import kernels

    table = taken(stage, "edges", number_of(unit))
    pairs, jaccard = column(table, "pair"), column(table, "jaccard")
    order = np.argsort(pairs, kind="stable")
    pairs, jaccard = pairs[order], jaccard[order]
    nodes = np.unique(np.concatenate([pairs >> np.uint64(32), pairs & LOW]))
    goes = np.zeros(len(pairs), bool)
    worse, better = np.searchsorted(nodes, pairs >> np.uint64(32)), np.searchsorted(nodes, pairs & LOW)
    kernels.elect_edges(worse, better, np.ones(len(nodes), bool), goes)
    tally["drops"] += int(goes.sum())
    yield "drops", pa.table([pairs[goes], jaccard[goes]], schema=EDGES)
