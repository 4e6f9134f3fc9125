"""Decontamination: which documents hold items of an exam that a model will be tested on, and where.

Texts are compared as units after `comparison_codes`: Chinese by 13 letters, digits and Han characters in a row, English
by 8 words in a row. Punctuation, white space, width, accents, case, traditional characters and the letters in front of
options (A to H standing alone) make no difference. The n-grams of all items are one sorted array of hashes behind a
bitmap, so a clean text costs one look-up a unit and no Python.

An item leaks where enough of its n-grams stand together: in a stretch of at most twice its length. It counts by its
stem alone and by stem and options, options in any order. A stem shorter than an n-gram counts only with its options.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, islice, pairwise, permutations
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from datatools.clean.chinese import comparison_codes
from datatools.dedupe.exact import question_key
from datatools.io.columns import QUESTION, Roles, find_roles, first
from datatools.io.encoding import decode
from datatools.io.files import discover
from datatools.io.read import BROKEN, describe, document_id, read
from datatools.io.rows import exam_options
from datatools.io.source import Fault, Note, ReadOptions, Source
from schemas.document import Document

U64: TypeAlias = npt.NDArray[np.uint64]
I64: TypeAlias = npt.NDArray[np.int64]

CHARACTERS, WORDS = 0, 1  # kinds of units
GRAM = (13, 8)  # units in an n-gram, by kind
EXCERPT = 500  # characters of a span that go into the trace
_FORMAT = b"datatools.exam_index/1"
_BASE = np.uint64(0x9E6C63D0876A9A4D)  # odd, so that it has an inverse modulo 2^64
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_SLICE = 1 << 16  # characters hashed at a time: the arrays stay in the cache
_STEM, _FULL, _ORDER = 1, 2, 4  # an n-gram of the stem; of stem and options; of the stem and options in another order
_ORDERS = 120  # orders of the options that are looked at: all there are of five
_OPTION_LINE = re.compile(r"\s*[(（]?[A-HＡ-Ｈ][.、．:：)）\s]\s*(?=\S)")
_NUMBER = re.compile(r"^[(（]?\d{1,5}[.、．)）:：]\s*(?!\d)")


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on an item counts as leaked. Our own choice: real textbooks stay below, copies lie above."""

    coverage: float = 0.5  # share of the item's n-grams
    run: tuple[int, int] = (30, 20)  # units of the item in a row: characters, words


@dataclass(frozen=True, slots=True)
class Item:
    """A question of an exam: what is looked for."""

    id: str
    stem: str
    options: tuple[str, ...] = ()
    exam: str = ""


@dataclass(frozen=True, slots=True)
class Leak:
    """Where a text holds an exam item."""

    item: str  # id
    exam: str
    coverage: float  # share of the item's n-grams found close together: of the stem or of all, whichever is more
    run: int  # units (characters of Chinese, words of English) of the item in a row
    start: int  # the span, in characters of the text as it was given
    end: int


def items(inputs: Sequence[str]) -> Iterator[Item | Fault]:
    """The items of exams in files, folders or `hf:org/name` of any shape the readers know, and what could not be read.

    ExamItem parquet; tables and records with a question and options in one column or a column a letter, with or
    without an answer; question-answer pairs; text files of one question a line, its options on the lines below it.
    The id is the input's own, else a hash of the question; `exam` is the input's, else the file's name.
    Raises ValueError for an input that does not exist.
    """
    sources, faults = discover(inputs)
    yield from faults
    for source in sources:
        if source.format in ("txt", "markdown"):
            try:
                text = decode(source.read()).text
            except BROKEN as error:
                yield Fault(source.name, describe(error))
            else:
                yield from _listed(source.name, text)
        elif source.format == "parquet" and (records := _exam_records(source)) is not None:
            yield from (_of_record(record, source.name) for record in records)
        else:
            found = (_of_document(one) if isinstance(one, Document) else one for one in read(source, ReadOptions()))
            yield from (one for one in found if not isinstance(one, Note))


def _listed(exam: str, text: str) -> Iterator[Item]:
    """Items of a list of questions; lines that begin with a letter and a mark are options of the one above."""
    question, options = "", list[str]()
    for line in [*text.split("\n"), "?"]:
        if question and (option := _OPTION_LINE.match(line)):
            options.append(line[option.end() :].strip())
        elif line.strip():
            if question:
                yield Item(question_key(question).hex(), question, tuple(options), exam)
            question, options = _NUMBER.sub("", line.strip()), []


def _exam_records(source: Source) -> list[dict[str, Any]] | None:
    """The rows of an ExamItem file, whose options are a map; None for any other, also a broken one."""
    try:
        table = pq.read_table(io.BytesIO(source.read()))
    except (OSError, pa.ArrowException):
        return None
    place = table.schema.get_field_index("options")
    is_map = place >= 0 and pa.types.is_map(table.schema.field(place).type) and "question" in table.schema.names
    return table.to_pylist() if is_map else None


def _of_record(record: dict[str, Any], name: str) -> Item:
    question = record["question"] or ""
    options = tuple(text or "" for _, text in record["options"] or ())
    return Item(record.get("id") or question_key(question).hex(), question, options, record.get("exam") or name)


def _of_document(document: Document) -> Item:
    meta, options = document.meta, list[str]()
    stem, fields = meta.get("question") or "", meta.get("fields", {})
    if stem:
        stem, *options = re.split(r"\n(?=[A-P]\. )", stem)
        options = [option[3:] for option in options]
        if not options and {"B", "C"} <= fields.keys():  # without an answer column the readers took A for it
            options = [meta["answer"], *exam_options(fields, Roles("exam", options=("B", "C", "D", "E"))).values()]
    elif "messages" in meta:
        stem = next(turn["content"] for turn in meta["messages"] if turn["role"] == "user")
    else:  # no answer at all: with one, the readers would have known it for an exam
        row = {**fields, "answer": "?"}
        roles = find_roles([row if first(list(row), QUESTION) else {"question": document.text, **row}], ReadOptions())
        stem = row.get(roles.question) or document.text
        options = list(exam_options(row, roles).values()) if roles.kind == "exam" else []
    own = document.id != document_id(document.source, document.offset, document.text)
    return Item(document.id if own else question_key(stem).hex(), stem, tuple(options), document.source)


class _Units(NamedTuple):
    values: U64
    starts: I64  # characters before the unit
    ends: I64


def _folded(text: str) -> npt.NDArray[np.uint32]:
    """A code for every character, 0 for what is left out of comparisons, among them the letters of options."""
    raw = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    folded = comparison_codes()[raw]
    for places in (np.flatnonzero(raw - np.uint32(ord(letter)) < 8) for letter in "AＡ"):
        if len(places):
            latin = np.zeros(len(raw) + 2, bool)
            latin[1:-1] = (folded > 1) & (folded < 0x2E80)
            folded[places[~latin[places] & ~latin[places + 2]]] = 0
    return folded


def _characters(folded: npt.NDArray[np.uint32], base: int) -> _Units:
    places = np.flatnonzero(folded)
    return _Units(folded[places].astype(np.uint64), places + base, places + (base + 1))


def _words(folded: npt.NDArray[np.uint32], base: int) -> _Units:
    letters = np.zeros(len(folded) + 2, bool)
    letters[1:-1] = (folded > 0) & (folded < 0x2E80)
    edges = np.flatnonzero(letters[1:] != letters[:-1])
    starts, ends = edges[::2], edges[1::2]
    powers, inverse = _powers(len(folded) + 1)
    sums = np.zeros(len(folded) + 1, np.uint64)
    np.cumsum(folded * powers[: len(folded)], out=sums[1:])
    return _Units((sums[ends] - sums[starts]) * inverse[starts] * _SPREAD, starts + base, ends + base)


def _units(kind: int, folded: npt.NDArray[np.uint32], base: int) -> _Units:
    """The characters or words of a text; `base` is added to their places."""
    cut = (_characters, _words)[kind]
    if not (folded == 1).any():
        return cut(folded, base)
    places = np.flatnonzero(folded != 1)  # without accents set apart and soft hyphens
    found = cut(folded[places], 0)
    return _Units(found.values, places[found.starts] + base, places[found.ends - 1] + (base + 1))


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


def _hashes(values: U64, n: int) -> U64:
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
    """What `_hashes` gives for each row of a matrix of n-grams."""
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
        with pa.memory_map(str(path)) as file:
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
        kind = _kind(" ".join((item.stem, *item.options)))
        parts = [_units(kind, _folded(text), 0).values for text in (item.stem, *item.options)]
        stem, full = (np.unique(_hashes(values, GRAM[kind])) for values in (parts[0], np.concatenate(parts)))
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
        postings.append((full[both], number, _STEM | _FULL))
        postings.append((full[~both], number, _FULL))
        if not len(stem) and len(parts) > 2:
            postings.append((_other_orders(parts, GRAM[kind]), number, _ORDER))
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


def _kind(text: str) -> int:
    folded = _folded(text)
    han = int(np.count_nonzero((folded >= 0x3400) & (folded < 0xA000)))
    return CHARACTERS if han and han >= len(_words(folded, 0).values) else WORDS


def _other_orders(parts: Sequence[U64], n: int) -> U64:
    """The first n-grams of a short stem with its options in any order: by these it is noticed, not judged."""
    stem, *options = (part.tolist() for part in parts)
    orders = {tuple(chain(stem, *order))[: n + 1] for order in islice(permutations(options), _ORDERS)}
    windows = {order[k : k + n] for order in orders for k in range(len(order) - n + 1)}
    return np.unique(_gram_hashes(np.array(list(windows), np.uint64)))


class _Hits(NamedTuple):
    gram: I64  # place in Index.grams
    ordinal: I64  # place of its first unit among all units
    start: I64  # place of its first character in all texts on end
    end: I64


class _Stream:
    """Units of one kind, slice by slice; what is left of a slice is carried over into the next."""

    def __init__(self, kind: int, index: Index) -> None:
        self.kind = kind
        self.index = index
        self.before = _Units(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int64))
        self.count = 0  # units before those carried over
        self.found: list[_Hits] = []

    def feed(self, folded: npt.NDArray[np.uint32], base: int) -> None:
        n = GRAM[self.kind]
        old, new = self.before, _units(self.kind, folded, base)
        if len(old.values):
            ends = np.concatenate([old.ends, new.ends])
            new = _Units(np.concatenate([old.values, new.values]), np.concatenate([old.starts, new.starts]), ends)
        hashes = _hashes(new.values, n)
        places = self._known(hashes)
        if len(places):
            gram = np.searchsorted(self.index.arrays["grams"], hashes[places])
            hits = _Hits(gram, places + self.count, new.starts[places], new.ends[places + n - 1])
            self.found.append(hits)
        done = max(0, len(new.values) - n + 1)
        self.count += done
        self.before = _Units(new.values[done:], new.starts[done:], new.ends[done:])

    def _known(self, hashes: U64) -> I64:
        arrays = self.index.arrays
        bitmap, grams = arrays["bitmap"], arrays["grams"]
        slots = _slots(hashes, 64 - (len(bitmap) * 8 - 1).bit_length())
        set_ = bitmap[(slots >> np.uint64(3)).view(np.int64)] >> (slots & np.uint64(7)).astype(np.uint8) & np.uint8(1)
        places = np.flatnonzero(set_)
        if not len(places):
            return places
        wanted = hashes[places]
        near = np.minimum(np.searchsorted(grams, wanted), len(grams) - 1)
        known: I64 = places[grams[near] == wanted]
        return known


def leaks(
    texts: Sequence[str | None] | pa.Array | pa.ChunkedArray, index: Index, limits: Limits = Limits()
) -> list[Leak | None]:
    """For every text the exam item it holds most of, or None; a null or empty text holds none.

    Generated pairs are given as question and answer joined by a line break. Never raises on any text.
    """
    strings = [text or "" for text in (texts if isinstance(texts, Sequence) else texts.to_pylist())]
    best: list[Leak | None] = [None] * len(strings)
    if not len(index):
        return best
    bounds = np.cumsum([0, *(len(text) + 1 for text in strings)], dtype=np.int64)
    streams = [_Stream(int(kind), index) for kind in np.unique(index.arrays["kinds"])]
    for base, piece in _slices(strings):
        folded = _folded(piece)
        for stream in streams:
            stream.feed(folded, base)
    for stream in streams:
        if not stream.found:
            continue
        hits = _Hits(*(np.concatenate(arrays) for arrays in zip(*stream.found, strict=True)))
        for number, leak in _judged(hits, stream.kind, strings, bounds, index, limits):
            known = best[number]
            if known is None or (leak.coverage, leak.run) > (known.coverage, known.run):
                best[number] = leak
    return best


def _slices(texts: Sequence[str]) -> Iterator[tuple[int, str]]:
    """All texts, each ended by a line break, in pieces of about a slice, never cut inside a word; with their places."""
    base, size = 0, 0
    parts: list[str] = []
    for text in texts:
        place = 0
        while len(text) - place > _SLICE:
            cut = place + _SLICE
            cut = next((k for k in range(cut, cut - 200, -1) if not text[k - 1].isalnum() or text[k - 1] > "⺀"), cut)
            piece = "".join([*parts, text[place:cut]])
            yield base, piece
            base, size, parts, place = base + len(piece), 0, [], cut
        parts.append(text[place:] + "\n")
        size += len(parts[-1])
        if size >= _SLICE:
            yield base, "".join(parts)
            base, size, parts = base + size, 0, []
    if parts:
        yield base, "".join(parts)


def _judged(
    hits: _Hits, kind: int, texts: Sequence[str], bounds: I64, index: Index, limits: Limits
) -> Iterator[tuple[int, Leak]]:
    """Number of the text and leak, for every text and item that n-grams show to leak."""
    arrays, n = index.arrays, GRAM[kind]
    document = np.searchsorted(bounds, hits.start, "right") - 1
    inside = document == np.searchsorted(bounds, hits.end - 1, "right") - 1  # else it runs over the end of a text
    hits, document = _Hits(*(array[inside] for array in hits)), document[inside]
    counts = arrays["firsts"][hits.gram + 1] - arrays["firsts"][hits.gram]
    row = np.repeat(np.arange(len(counts)), counts)
    posting = arrays["firsts"][hits.gram][row] + np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    item, part = arrays["items"][posting].astype(np.int64), arrays["parts"][posting]
    rows = arrays["kinds"][item] == kind
    row, item, part = row[rows], item[rows], part[rows]
    pair = document[row] * len(index) + item
    order = np.argsort(pair, kind="stable")
    pair, row, item, part = pair[order], row[order], item[order], part[order]
    begins = np.flatnonzero(np.diff(pair, prepend=-1))
    if not len(begins):
        return
    of_stem, of_full, in_order = (np.add.reduceat((part & bit) > 0, begins, dtype=np.int64) for bit in (1, 2, 4))
    which = item[begins]
    hopeful = (of_stem >= limits.coverage * np.maximum(1, arrays["stems"][which])) | (in_order > 0)
    hopeful |= (of_full >= limits.coverage * arrays["fulls"][which]) | (of_full >= limits.run[kind] - n + 1)
    ends = np.append(begins[1:], len(pair))
    for begin, end in zip(begins[hopeful].tolist(), ends[hopeful].tolist(), strict=True):
        number = int(document[row[begin]])
        those = _Hits(*(array[row[begin:end]] for array in hits))
        found = _weighed(those, part[begin:end], int(item[begin]), kind, index, limits)
        if found.coverage < limits.coverage and (part[begin:end] & _ORDER).any():
            found = _reordered(
                texts[number], those, part[begin:end], int(bounds[number]), int(item[begin]), kind, index
            )
        if found.coverage >= limits.coverage or found.run >= limits.run[kind]:
            place, ids = int(bounds[number]), (index.ids[int(item[begin])], index.exams[int(item[begin])])
            span = found.start - place, found.end - place
            yield number, Leak(ids[0].as_py(), ids[1].as_py(), found.coverage, found.run, *span)


class _Found(NamedTuple):
    coverage: float
    run: int
    start: int
    end: int


def _weighed(hits: _Hits, part: npt.NDArray[np.uint8], item: int, kind: int, index: Index, limits: Limits) -> _Found:
    """The largest share of an item's n-grams in one stretch of twice its length, and its longest run."""
    arrays, n = index.arrays, GRAM[kind]
    reach = 2 * int(arrays["lengths"][item])
    best = _Found(0.0, 0, int(hits.start[0]), int(hits.end[0]))
    for bit, total in ((_STEM, int(arrays["stems"][item])), (_FULL, int(arrays["fulls"][item]))):
        rows = np.flatnonzero(part & bit)
        if total and len(rows):
            count, first, last = _densest(hits.ordinal[rows].tolist(), hits.gram[rows].tolist(), reach)
            if count / total >= best.coverage:  # where both are whole, the longer span
                start, end = int(hits.start[rows[first]]), int(hits.end[rows[last]])
                best = _Found(count / total, 0, start, end)
    rows = np.flatnonzero(part & _FULL)
    if not len(rows):
        return best
    breaks = np.flatnonzero(np.diff(hits.ordinal[rows]) != 1) + 1
    firsts, lasts = np.append(0, breaks), np.append(breaks, len(rows)) - 1
    k = int(np.argmax(lasts - firsts))
    run = int(lasts[k] - firsts[k]) + n
    if best.coverage >= limits.coverage:
        return best._replace(run=run)
    return best._replace(run=run, start=int(hits.start[rows[firsts[k]]]), end=int(hits.end[rows[lasts[k]]]))


def _densest(ordinals: Sequence[int], grams: Sequence[int], reach: int) -> tuple[int, int, int]:
    """Most distinct n-grams within `reach` units, and the first and last hit of them."""
    counts: dict[int, int] = {}
    best, left = (0, 0, 0), 0
    for right, gram in enumerate(grams):
        counts[gram] = counts.get(gram, 0) + 1
        while ordinals[right] - ordinals[left] > reach:
            counts[grams[left]] -= 1
            if not counts[grams[left]]:
                del counts[grams[left]]
            left += 1
        if len(counts) > best[0]:
            best = (len(counts), left, right)
    return best


def _reordered(
    text: str, hits: _Hits, part: npt.NDArray[np.uint8], base: int, item: int, kind: int, index: Index
) -> _Found:
    """The same for a short stem, once its options stand in the order in which the text has them."""
    arrays, n = index.arrays, GRAM[kind]
    first = int(hits.start[np.flatnonzero(part & _ORDER)[0]])
    beside = text[first - base : first - base + 40 * int(arrays["lengths"][item])]
    units = _units(kind, _folded(beside), first)
    segments = range(int(arrays["segment_firsts"][item]), int(arrays["segment_firsts"][item + 1]))
    names: dict[int, str] = {}

    def spelled(values: U64) -> str:  # a character for each unit, so that strings can be searched
        return "".join(names.setdefault(value, chr(0x100 + len(names))) for value in values.tolist())

    window = spelled(units.values[: 2 * int(arrays["lengths"][item])])
    bounds = [arrays["unit_firsts"][k : k + 2].tolist() for k in segments]
    stem, *options = (spelled(arrays["units"][start:end]) for start, end in bounds)
    whole = stem + "".join(_in_order(options, window, len(stem)))
    wanted = {whole[k : k + n] for k in range(len(whole) - n + 1)}
    there = [k for k in range(len(window) - n + 1) if window[k : k + n] in wanted]
    if not there:
        return _Found(0.0, 0, first, first)
    run = longest = 1
    for before, k in pairwise(there):
        run = run + 1 if k == before + 1 else 1
        longest = max(longest, run)
    coverage = len({window[k : k + n] for k in there}) / len(wanted)
    return _Found(coverage, longest + n - 1, int(units.starts[there[0]]), int(units.ends[there[-1] + n - 1]))


def _in_order(options: list[str], window: str, place: int) -> Iterator[str]:
    """The options in the order in which they stand in the window from a place on; those that do not, at the end."""
    rest = sorted(options, key=len, reverse=True)  # 肺、脾 before 肺
    while rest:
        option = min(rest, key=lambda option: window.find(option, place) % (len(window) + 1))  # -1 % n: the last
        place = max(place, window.find(option, place) + len(option))
        rest.remove(option)
        yield option


def trace_row(id: str, source: str, text: str, leak: Leak, limits: Limits = Limits()) -> dict[str, Any]:
    """The row of the Trace schema for a text that leaks: `leak` by coverage, `leak_run` by a run alone."""
    by_coverage = leak.coverage >= limits.coverage
    kind = _kind(text[leak.start : leak.end])
    return {
        "id": id,
        "source": source,
        "step": "decontaminate",
        "rule": "leak" if by_coverage else "leak_run",
        "value": leak.coverage if by_coverage else float(leak.run),
        "threshold": limits.coverage if by_coverage else float(limits.run[kind]),
        "twin_id": leak.item,
        "similarity": None,
        "excerpt": text[leak.start : leak.end][:EXCERPT],
    }
