"""From measured rows to packs: rows too long are cut or dropped, the others share packs, and no row is held in memory.

The ids stay in `rows.arrow`, which is mapped; what is held of a row is where it lies.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.io.atomic import atomic_path
from trainers.packing import pack
from trainers.prepare import BATCH, PACKED, Measured, Prepared
from trainers.render import IGNORED

_Ids = npt.NDArray[np.int32]


class Piece(NamedTuple):
    """Tokens `[start, stop)` of a row; of text all are learned, of a conversation what its spans say."""

    row: int
    start: int
    stop: int


def write_tokens(
    measured: Measured, out: Path, *, stage: str, max_length: int, pack_size: int | None, too_long: str
) -> Prepared:
    """Cut what is too long and pack what is left into `out`; without `pack_size` every row stays alone.

    Text is cut into pieces of `max_length`, nothing of it is lost; a conversation is cut behind an answer, or dropped.
    """
    done = Prepared(rows=measured.rows, expanded=measured.expanded, opened=measured.opened)
    with pa.memory_map(str(measured.path)) as file:
        rows = _Rows(pa.ipc.open_file(file))
        pieces = list(_pieces(rows, measured.lengths.tolist(), done, stage, max_length, too_long))
        if not pieces:
            raise ValueError(
                f"all {measured.rows:,} rows are longer than {max_length:,} tokens; a larger --max-length is needed"
            )
        sizes = [piece.stop - piece.start for piece in pieces]
        done.examples, done.tokens = len(pieces), sum(sizes)
        packs = pack(sizes, pack_size) if pack_size else [[number] for number in range(len(pieces))]
        done.units, done.lengths = len(packs), [sum(sizes[number] for number in members) for members in packs]
        with atomic_path(out) as temporary, pa.OSFile(str(temporary), "wb") as target:
            writer = pa.ipc.new_stream(target, PACKED)
            for start in range(0, len(packs), BATCH):
                some = [[pieces[number] for number in members] for members in packs[start : start + BATCH]]
                made = [_packed(rows, members, whole=stage == "pt") for members in some]
                done.learned += sum(int((one["labels"] != IGNORED).sum()) for one in made)
                writer.write_batch(pa.RecordBatch.from_pylist(made, schema=PACKED))
            writer.close()
    return done


class _Rows:
    """Rows of `rows.arrow` by number, without copying them."""

    def __init__(self, reader: Any) -> None:
        self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        self._ends = np.cumsum([len(batch) for batch in self._batches]).tolist()

    def _value(self, name: str, row: int) -> Any:
        batch = bisect_right(self._ends, row)
        found = self._batches[batch]
        return found[name][row - self._ends[batch] + len(found)]

    def place(self, row: int) -> str:
        return str(self._value("place", row).as_py())

    def ids(self, row: int) -> _Ids:
        """Token ids of a row."""
        found: _Ids = self._value("input_ids", row).values.to_numpy()
        return found

    def spans(self, row: int) -> list[tuple[int, int]]:
        """What is learned of a row."""
        return list(zip(self._value("starts", row).as_py(), self._value("ends", row).as_py(), strict=True))


def _pieces(
    rows: _Rows, lengths: Sequence[int], done: Prepared, stage: str, max_length: int, too_long: str
) -> Iterator[Piece]:
    """What is kept of every row; what is cut, dropped and lost goes into `done`."""
    for members in _of_one_row(rows, lengths, several=done.expanded > 0):
        if all(lengths[one] <= max_length for one in members):
            yield from (Piece(one, 0, lengths[one]) for one in members)
        elif stage == "pt":
            done.cut.append(rows.place(members[0]))
            for start in range(0, lengths[members[0]], max_length):
                yield Piece(members[0], start, min(start + max_length, lengths[members[0]]))
        else:
            kept = [] if too_long == "drop" else list(_cut(rows, lengths, members, max_length))
            (done.cut if kept else done.dropped).append(rows.place(members[0]))
            done.tokens_lost += sum(lengths[one] for one in members) - sum(piece.stop for piece in kept)
            yield from kept


def _of_one_row(rows: _Rows, lengths: Sequence[int], *, several: bool) -> Iterator[list[int]]:
    """The examples of every row of the input: one, or `several` where a template made one of every turn."""
    for _, members in groupby(range(len(lengths)), rows.place if several else None):
        yield list(members)


def _cut(rows: _Rows, lengths: Sequence[int], members: Sequence[int], max_length: int) -> Iterator[Piece]:
    """The examples of a row as far as they fit, each up to the end of an answer."""
    for one in members:
        whole = lengths[one] <= max_length
        stop = lengths[one] if whole else max((end for _, end in rows.spans(one) if end <= max_length), default=0)
        if stop:
            yield Piece(one, 0, stop)


def _packed(rows: _Rows, members: Sequence[Piece], *, whole: bool) -> dict[str, Any]:
    ids = [rows.ids(piece.row)[piece.start : piece.stop] for piece in members]
    return {
        "input_ids": np.concatenate(ids),
        "labels": np.concatenate(
            ids if whole else [_labels(one, rows.spans(piece.row)) for one, piece in zip(ids, members, strict=True)]
        ),
        "seq_lengths": [len(one) for one in ids],
        "places": [rows.place(piece.row) for piece in members],
    }


def _labels(ids: _Ids, spans: Sequence[tuple[int, int]]) -> _Ids:
    found = np.full(len(ids), IGNORED, np.int32)
    for start, end in spans:
        found[start:end] = ids[start:end]  # of a row that was cut, spans behind the cut are empty
    return found
