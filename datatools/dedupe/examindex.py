"""The n-grams of exam items as one sorted array of hashes: built once, saved, mapped by every worker.

Texts are compared as units after `comparison_codes`: Chinese by 13 letters, digits and Han characters in a row, English
by 8 words in a row. Punctuation, white space, width, accents, case, traditional characters and the letters in front of
options (A to H standing alone) make no difference. Before the hashes lies a bitmap, so that a clean text costs one
look-up a unit and no Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, islice, permutations
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.clean.chinese import comparison_codes
from datatools.dedupe.examitems import Item
from datatools.io import storage

U64: TypeAlias = npt.NDArray[np.uint64]
I64: TypeAlias = npt.NDArray[np.int64]

CHARACTERS, WORDS = 0, 1  # kinds of units
GRAM = (13, 8)  # units in an n-gram, by kind
STEM, FULL, ORDER = 1, 2, 4  # an n-gram of the stem; of stem and options; of the stem and options in another order
_FORMAT = b"datatools.exam_index/1"
_BASE = np.uint64(0x9E6C63D0876A9A4D)  # odd, so that it has an inverse modulo 2^64
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_ORDERS = 120  # orders of the options that are looked at: all there are of five


class Units(NamedTuple):
    """The characters or words of a text that count, as numbers, and where they stand."""

    values: U64
    starts: I64  # characters before the unit
    ends: I64


def fold(text: str) -> npt.NDArray[np.uint32]:
    """A code for every character, 0 for what is left out of comparisons, among them the letters of options."""
    raw = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    folded = comparison_codes()[raw]
    for places in (np.flatnonzero(raw - np.uint32(ord(letter)) < 8) for letter in "AＡ"):
        if len(places):
            latin = np.zeros(len(raw) + 2, bool)
            latin[1:-1] = (folded > 1) & (folded < 0x2E80)
            folded[places[~latin[places] & ~latin[places + 2]]] = 0
    return folded


def _characters(folded: npt.NDArray[np.uint32], base: int) -> Units:
    places = np.flatnonzero(folded)
    return Units(folded[places].astype(np.uint64), places + base, places + (base + 1))


def _words(folded: npt.NDArray[np.uint32], base: int) -> Units:
    letters = np.zeros(len(folded) + 2, bool)
    letters[1:-1] = (folded > 0) & (folded < 0x2E80)
    edges = np.flatnonzero(letters[1:] != letters[:-1])
    starts, ends = edges[::2], edges[1::2]
    powers, inverse = _powers(len(folded) + 1)
    sums = np.zeros(len(folded) + 1, np.uint64)
    np.cumsum(folded * powers[: len(folded)], out=sums[1:])
    return Units((sums[ends] - sums[starts]) * inverse[starts] * _SPREAD, starts + base, ends + base)


def units_of(kind: int, folded: npt.NDArray[np.uint32], base: int) -> Units:
    """The characters or words of a text; `base` is added to their places."""
    cut = (_characters, _words)[kind]
    if not (folded == 1).any():
        return cut(folded, base)
    places = np.flatnonzero(folded != 1)  # without accents set apart and soft hyphens
    found = cut(folded[places], 0)
    return Units(found.values, places[found.starts] + base, places[found.ends - 1] + (base + 1))


@cache
def _power_tables(bits: int) -> tuple[U64, U64]:
    tables = []
    for base in (int(_BASE), pow(int(_BASE), -1, 1 << 64)):
        factors = np.full(1 << bits, base, np.uint64)
        factors[0] = 1
        tables.append(np.multiply.accumulate(factors))
    return tables[0], tables[1]


def _powers(size: int) -> tuple[U64, U64]:
    """Powers of the base and of its inverse, at least `size` of them."""
    return _power_tables(max(17, int(size).bit_length()))


def hashes_of(values: U64, n: int) -> U64:
    """Hash of every n values in a row, modulo 2^64: differences of one running sum, brought to the same power."""
    count = len(values) - n + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    powers, inverse = _powers(len(values))
    sums = np.cumsum(values * powers[: len(values)])
    found = sums[n - 1 :].copy()
    found[1:] -= sums[: count - 1]
    found *= inverse[:count]
    return found


def _gram_hashes(windows: U64) -> U64:
    """What `hashes_of` gives for each row of a matrix of n-grams."""
    return np.asarray((windows * _powers(windows.shape[1])[0][: windows.shape[1]]).sum(axis=1, dtype=np.uint64))


@dataclass(frozen=True)
class Index:
    """The n-grams of exam items, to be built once, saved, and opened by every worker."""

    arrays: dict[str, npt.NDArray[Any]] = field(repr=False)
    ids: pa.Array = field(repr=False)
    exams: pa.Array = field(repr=False)
    skipped: int  # items shorter than an n-gram, options and all: they cannot be found

    def __len__(self) -> int:
        return len(self.ids)

    def known(self, hashes: U64) -> I64:
        """Places, among the hashes, of the n-grams of any item."""
        bitmap, grams = self.arrays["bitmap"], self.arrays["grams"]
        slots = _slots(hashes, 64 - (len(bitmap) * 8 - 1).bit_length())
        set_ = bitmap[(slots >> np.uint64(3)).view(np.int64)] >> (slots & np.uint64(7)).astype(np.uint8) & np.uint8(1)
        places = np.flatnonzero(set_)
        if not len(places):
            return places
        wanted = hashes[places]
        near = np.minimum(np.searchsorted(grams, wanted), len(grams) - 1)
        found: I64 = places[grams[near] == wanted]
        return found

    def save(self, path: Path) -> None:
        """Write the index as one Arrow file, whole or not at all."""
        from datatools.io.atomic import atomic_path

        columns = {**{name: pa.array(array) for name, array in self.arrays.items()}, "id": self.ids, "exam": self.exams}
        lists = {
            name: pa.LargeListArray.from_arrays(pa.array([0, len(column)], pa.int64()), column)
            for name, column in columns.items()
        }
        table = pa.table(lists).replace_schema_metadata({b"format": _FORMAT, b"skipped": str(self.skipped).encode()})
        with atomic_path(path) as temporary, pa.ipc.new_file(temporary, table.schema) as file:
            file.write_table(table)

    @classmethod
    def open(cls, path: Path) -> Index:
        """The index of a file, mapped into memory that all workers share. Raises ValueError for any other file."""
        with pa.memory_map(str(storage.here(path))) as file:
            batch = pa.ipc.open_file(file).get_batch(0)
        metadata = batch.schema.metadata or {}
        if metadata.get(b"format") != _FORMAT:
            raise ValueError(f"{path}: no index of exam items")
        columns = {name: batch.column(name).values for name in batch.schema.names}
        ids, exams = columns.pop("id"), columns.pop("exam")
        arrays = {name: column.to_numpy(zero_copy_only=True) for name, column in columns.items()}
        return cls(arrays, ids, exams, int(metadata[b"skipped"]))


def build(items: Iterable[Item]) -> Index:
    """The index of exam items. Items shorter than an n-gram are counted as skipped; equal ids are kept apart."""
    ids, exams = list[str](), list[str]()
    kinds, stems, fulls, lengths = list[int](), list[int](), list[int](), list[int]()
    units: list[U64] = []
    segments: list[int] = []
    postings: list[tuple[U64, int, int]] = []
    skipped = 0
    for item in items:
        kind = kind_of(" ".join((item.stem, *item.options)))
        parts = [units_of(kind, fold(text), 0).values for text in (item.stem, *item.options)]
        stem, full = (np.unique(hashes_of(values, GRAM[kind])) for values in (parts[0], np.concatenate(parts)))
        if not len(full):
            skipped += 1
            continue
        number = len(ids)
        ids.append(item.id)
        exams.append(item.exam)
        kinds.append(kind)
        stems.append(len(stem))
        fulls.append(len(full))
        lengths.append(sum(map(len, parts)))
        units.extend(parts)
        segments.append(len(parts))
        both = np.isin(full, stem, assume_unique=True)
        postings.append((full[both], number, STEM | FULL))
        postings.append((full[~both], number, FULL))
        if not len(stem) and len(parts) > 2:
            postings.append((_other_orders(parts, GRAM[kind]), number, ORDER))
    hashes = np.concatenate([grams for grams, _, _ in postings] or [np.zeros(0, np.uint64)])
    counts = [len(grams) for grams, _, _ in postings]
    order = np.argsort(hashes, kind="stable")
    grams, firsts = np.unique(hashes[order], return_index=True)
    slot_bits = min(27, max(16, (32 * len(grams)).bit_length()))
    bitmap = np.zeros(1 << slot_bits, bool)
    bitmap[_slots(grams, 64 - slot_bits)] = True
    arrays: dict[str, npt.NDArray[Any]] = {
        "grams": grams,
        "bitmap": np.packbits(bitmap, bitorder="little"),
        "firsts": np.append(firsts, len(hashes)).astype(np.int64),
        "items": np.repeat(np.array([number for _, number, _ in postings], np.int32), counts)[order],
        "parts": np.repeat(np.array([part for _, _, part in postings], np.uint8), counts)[order],
        "kinds": np.array(kinds, np.uint8),
        "stems": np.array(stems, np.int32),
        "fulls": np.array(fulls, np.int32),
        "lengths": np.array(lengths, np.int32),
        "units": np.concatenate(units or [np.zeros(0, np.uint64)]),
        "unit_firsts": np.cumsum([0, *map(len, units)], dtype=np.int64),
        "segment_firsts": np.cumsum([0, *segments], dtype=np.int64),
    }
    return Index(arrays, pa.array(ids, pa.string()), pa.array(exams, pa.string()), skipped)


def _slots(hashes: U64, shift: int) -> U64:
    return (hashes * _SPREAD) >> np.uint64(shift)


def kind_of(text: str) -> int:
    """Whether a text is compared by characters or by words: by whichever of Han characters and words it has more."""
    folded = fold(text)
    han = int(np.count_nonzero((folded >= 0x3400) & (folded < 0xA000)))
    return CHARACTERS if han and han >= len(_words(folded, 0).values) else WORDS


def _other_orders(parts: Sequence[U64], n: int) -> U64:
    """The first n-grams of a short stem with its options in any order: by these it is noticed, not judged."""
    stem, *options = (part.tolist() for part in parts)
    orders = {tuple(chain(stem, *order))[: n + 1] for order in islice(permutations(options), _ORDERS)}
    windows = {order[k : k + n] for order in orders for k in range(len(order) - n + 1)}
    return np.unique(_gram_hashes(np.array(list(windows), np.uint64)))
