"""The order of a mixture: which copies of which rows go in, when each arrives, and rows sorted by that out of memory.

Of every row 16 bytes stand in a file: a hash of its id, its tokens, and how many copies of the same id came before it.
Rows themselves are written to partitions by their time of arrival, and each partition is sorted in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datatools.dedupe.partitions import Scatter, leading_bits, partitions_for
from datatools.engine.parts import Parts
from datatools.mix.parts import Part
from datatools.mix.race import arrivals, draws

BLOCK = 1 << 18  # rows that are worth a pass in compiled code
KEY = np.dtype([("hash", "<u8"), ("tokens", "<u4"), ("before", "<u4")])
_SEEN = np.dtype([("hash", "<u8"), ("number", "<u8")])
KEEP_BITS = 16  # a budget is kept to a row, or to 1/65,536 of the part where it has more rows
TIME_BITS = 20  # of a time's floating point number: its exponent and 8 bits more
SORTED_BYTES = 64 << 20  # of rows that are sorted in memory at once
MOST_FILES = 400  # open at once, where 1,024 are usual
OWN = ("_time", "_row", "_part", "_copy")  # columns beside a row's own while it is sorted


@dataclass(frozen=True)
class Amount:
    """How often a part goes in: `whole` times all of it, and once more the rows drawn below `cutoff`."""

    whole: int
    cutoff: int

    @property
    def epochs(self) -> int:
        """Times at most that a row comes."""
        return self.whole + (self.cutoff > 0)


class Order:
    """What is known of every row before any is moved. `starts` are the parts' first rows, and the end of the last."""

    def __init__(self, folder: Path, parts: Sequence[Part], starts: Sequence[int], seed: int) -> None:
        self.parts, self.starts, self.seed = parts, starts, seed
        self._folder = folder
        self._path = folder / "rows"
        self.keys: npt.NDArray[Any] = np.zeros(0, KEY)
        self.amounts: list[Amount] = []
        self.repeated = False  # whether any id comes more than once

    def read(self, scanned: Parts) -> None:
        """Take over what the units found, `hash` and `tokens` of every row in input order."""
        rows = self.starts[-1]
        assert len(scanned) == rows
        if not rows:
            return
        self.keys = np.memmap(self._path, KEY, "w+", shape=(rows,))
        for first, table in scanned.blocks(["hash", "tokens"], BLOCK):
            place = self.keys[first : first + table.num_rows]
            place["hash"] = table["hash"].to_numpy()
            place["tokens"] = table["tokens"].to_numpy()

    def supply(self) -> list[int]:
        """Tokens of one epoch of every part."""
        return [sum(int(block["tokens"].sum(dtype=np.int64)) for _, _, block in self._blocks(p)) for p in self._all()]

    def set_amounts(self, wanted: Sequence[float], supply: Sequence[int]) -> None:
        """Decide which copies go in, from the tokens wanted of every part."""
        whole = [int(tokens / total + 1e-9) if total else 0 for tokens, total in zip(wanted, supply, strict=True)]
        rest = [max(0.0, w - n * total) for w, n, total in zip(wanted, whole, supply, strict=True)]
        # A millionth of an epoch is rounding, not a wish.
        more = [r > 1e-6 * total for r, total in zip(rest, supply, strict=True)]
        self._number_copies([n + extra for n, extra in zip(whole, more, strict=True)])
        self.amounts = [
            Amount(n, self._cutoff(part, n, rest[part]) if more[part] else 0) for part, n in enumerate(whole)
        ]
        self.repeated |= any(amount.epochs > 1 for amount in self.amounts)

    def copies(self, part: int, first: int, rows: int) -> Iterator[Copies]:
        """For some rows of a part, those that go in, epoch after epoch."""
        keys = self.keys[first : first + rows]
        amount = self.amounts[part]
        for epoch in range(amount.epochs):
            copies = keys["before"] + np.uint32(epoch)
            chosen = np.arange(rows)
            if epoch == amount.whole:
                chosen = np.flatnonzero(self._drawn(keys, copies) < amount.cutoff)
            hashes, copies = keys["hash"][chosen], copies[chosen]
            times = arrivals(hashes, copies, self.seed, self.parts[part].priority)
            yield Copies(epoch + 1, chosen, copies, times, keys["tokens"][chosen])

    def partitions(self, size: int) -> tuple[int, npt.NDArray[np.float64]]:
        """How many copies go in, and the times that cut `size` bytes of rows into pieces that fit into memory."""
        counts = np.zeros(1 << TIME_BITS)
        rows = 0
        for part in self._all():
            for first, count, _ in self._blocks(part):
                for copies in self.copies(part, first, count):
                    rows += len(copies.chosen)
                    counts += np.bincount(_time_bits(copies.times), copies.tokens + 1.0, 1 << TIME_BITS)
        pieces = min(MOST_FILES, max(1, -(-size // SORTED_BYTES)))
        cuts = np.searchsorted(np.cumsum(counts), counts.sum() * np.arange(1, pieces) / pieces)
        edges = (np.unique(cuts).astype(np.uint64) << np.uint64(64 - 1 - TIME_BITS)).view(np.float64)
        return rows, edges

    def _all(self) -> range:
        return range(len(self.parts))

    def _blocks(self, part: int) -> Iterator[tuple[int, int, npt.NDArray[Any]]]:
        for first in range(self.starts[part], self.starts[part + 1], BLOCK):
            rows = min(BLOCK, self.starts[part + 1] - first)
            yield first, rows, self.keys[first : first + rows]

    def _drawn(self, keys: npt.NDArray[Any], copies: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
        """Where rows stand when some of them are drawn, apart from when they arrive: a number of KEEP_BITS."""
        return draws(keys["hash"], copies, self.seed, "keep") >> np.uint64(64 - KEEP_BITS)

    def _cutoff(self, part: int, epoch: int, tokens: float) -> int:
        """Below which draw rows have `tokens` together, or a little less."""
        sums = np.zeros(1 << KEEP_BITS)
        for _, _, keys in self._blocks(part):
            drawn = self._drawn(keys, keys["before"] + np.uint32(epoch)).astype(np.int64)
            sums += np.bincount(drawn, keys["tokens"], 1 << KEEP_BITS)
        return int(np.searchsorted(np.cumsum(sums), tokens * (1 + 1e-9), side="right"))

    def _number_copies(self, epochs: Sequence[int]) -> None:
        """Fill `before`: where an id comes again, in another part or the same, its copies go on counting."""
        count = partitions_for(len(self.keys) * _SEEN.itemsize)
        scatter = Scatter(self._folder / "ids", _SEEN, count)
        with scatter:
            for part in self._all():
                for first, rows, keys in self._blocks(part):
                    seen = np.empty(rows, _SEEN)
                    seen["hash"], seen["number"] = keys["hash"], np.arange(first, first + rows)
                    scatter.write(leading_bits(seen["hash"], count), seen)
        for seen in scatter.taken():
            seen = seen[np.argsort(seen["hash"], kind="stable")]
            again = np.flatnonzero(seen["hash"][1:] == seen["hash"][:-1]) + 1
            if not len(again):
                continue
            self.repeated = True
            parts = np.searchsorted(self.starts, seen["number"], side="right") - 1
            sums = np.concatenate([[0], np.cumsum(np.asarray(epochs)[parts])])
            begins = np.ones(len(seen), bool)
            begins[again] = False
            group = np.maximum.accumulate(np.where(begins, np.arange(len(seen)), 0))
            self.keys["before"][seen["number"][again]] = (sums[:-1] - sums[group])[again]


@dataclass(frozen=True)
class Copies:
    """Rows that go in for the `epoch`-th time: their places in the block, copy numbers from 0, times and tokens."""

    epoch: int
    chosen: npt.NDArray[np.int64]
    copies: npt.NDArray[np.uint32]
    times: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.uint32]


class Sorter:
    """Rows that come with their time and go sorted by it, a piece at a time. Write inside a `with` block."""

    def __init__(self, folder: Path, edges: npt.NDArray[np.float64], schema: pa.Schema) -> None:
        more = [(OWN[0], pa.float64()), (OWN[1], pa.int64()), (OWN[2], pa.int32()), (OWN[3], pa.int64())]
        self.schema = pa.schema([*schema, *(pa.field(name, kind) for name, kind in more)])
        self._edges = edges
        self._paths = [folder / f"piece-{number:04d}" for number in range(len(edges) + 1)]
        self._open = ExitStack()
        self._waiting: list[pa.Table] = []
        self._bytes = 0

    def __enter__(self) -> Sorter:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        enter = self._open.enter_context
        files = [enter(path.open("wb")) for path in self._paths]
        self._writers = [enter(pa.ipc.new_stream(file, self.schema, options=options)) for file in files]
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if not any(error):
                self._scatter()
        finally:
            self._open.close()

    def write(self, table: pa.Table) -> None:
        """Add rows of `schema`."""
        self._waiting.append(table)
        self._bytes += table.nbytes
        if self._bytes >= SORTED_BYTES:
            self._scatter()

    def sorted(self) -> Iterator[pa.Table]:
        """All rows in the order of their times; equal times by row and copy."""
        for path in self._paths:
            with path.open("rb") as file, pa.ipc.open_stream(file) as reader:
                table = reader.read_all().combine_chunks()
            path.unlink()
            row, copy, time = (table[name].to_numpy() for name in (OWN[1], OWN[3], OWN[0]))
            yield table.take(np.lexsort((copy, row, time)))

    def _scatter(self) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting, self._bytes = [], 0
        if not len(self._edges):
            self._writers[0].write_table(table)
            return
        pieces = np.searchsorted(self._edges, table[OWN[0]].to_numpy(), side="right")
        table = table.take(np.argsort(pieces, kind="stable"))
        start = 0
        for writer, rows in zip(self._writers, np.bincount(pieces, minlength=len(self._paths)).tolist(), strict=True):
            if rows:
                writer.write_table(table.slice(start, rows))
                start += rows


def copied_ids(ids: pa.Array, copies: npt.NDArray[np.uint32]) -> pa.Array:
    """The ids of rows that come more than once: `id`, `id#2`, `id#3`, …

    An id that ends so already gets a number of its own even at first, so that no two are the same.

    >>> copied_ids(pa.array(["a", "a", "a#2"]), np.array([0, 1, 0], np.uint32)).to_pylist()
    ['a', 'a#2', 'a#2#1']
    """
    ids = pc.fill_null(ids.cast(pa.string()), "")
    numbers = pa.array(copies.astype(np.int64) + 1).cast(pa.string())
    marked = pc.binary_join_element_wise(ids, numbers, "#")
    again = pc.or_(pa.array(copies > 0), pc.match_substring_regex(ids, r"#[0-9]+$"))
    return pc.if_else(again, marked, ids)


def _time_bits(times: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The leading bits of positive floats, which order as the floats do."""
    return np.asarray((times.view(np.uint64) >> np.uint64(64 - 1 - TIME_BITS)).astype(np.int64))
