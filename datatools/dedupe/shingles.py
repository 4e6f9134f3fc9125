"""Shingles: the overlapping pieces of a text whose sets are compared.

Runs of five characters after NFC and removal of all white space; for a text in Latin script runs of five lower-cased
words, joined by blanks. A text shorter than one run is one shingle, whole; a text of white space has none.

`shingle_set` says it in Python. `shingle_hashes` gives the same sets as 64-bit hashes, straight over Arrow buffers.
The hash of a shingle is `shingle_hash`: the sum of (code point + 1) × BASE^k, mixed by the finaliser of MurmurHash3.
A run of any size rolls on by one multiplication, and two different shingles share a hash with a chance of 2⁻⁶⁴.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.clean.characters import categories, characters, combining, is_own_nfc, says

Scalar = TypeVar("Scalar", bound=np.generic)

SHINGLE = 5  # characters, or words
LATIN_LETTERS_PER_OTHER = 4  # as in `kernels`, which must not be imported for it: a Latin word has five letters
_BASE = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_LATIN_RANGES = (
    *((0x41, 0x5B), (0x61, 0x7B), (0xAA, 0xAB), (0xBA, 0xBB), (0xC0, 0x250), (0x1E00, 0x1F00)),
    *((0x2C60, 0x2C80), (0xA722, 0xA788), (0xFB00, 0xFB07), (0xFF21, 0xFF3B), (0xFF41, 0xFF5B)),
)
# Blocks of nothing but letters that no normalisation changes: Han and Hangul, and Han of the second plane.
_LETTERS = ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xAC00, 0xD7A4), (0x20000, 0x2A6DF), (0x2CEB0, 0x2EBE0))
# Where the first plane has capital letters.
_CASED = (
    (0x41, 0x600),
    (0x10A0, 0x1100),
    (0x13A0, 0x1400),
    (0x1C80, 0x2500),
    (0x2C00, 0x2E00),
    (0xA640, 0xA800),
    (0xFF21, 0xFF3B),
)
# No character above has a canonical decomposition, or could be a letter of a text this is for.
_CLASSIFIED = 0x32400
# Texts are hashed in pieces of about this many bytes, so that the hashes stay in the processor's cache.
_PIECE = 1 << 17


def shingle_set(text: str, size: int = SHINGLE) -> set[str]:
    """The shingles of a text, as defined.

    >>> sorted(shingle_set("麻 黄汤方主之"))
    ['麻黄汤方主', '黄汤方主之']
    >>> shingle_set("Take two  tablets daily")
    {'take two tablets daily'}
    >>> shingle_set("　")
    set()
    """
    text = unicodedata.normalize("NFC", text)
    latin = is_latin(text)
    units = ["".join(map(_lower, word)) for word in text.split()] if latin else list("".join(text.split()))
    joint = " " if latin else ""
    return {joint.join(units[i : i + size]) for i in range(max(1, len(units) - size + 1))} if units else set()


def is_latin(text: str) -> bool:
    """Whether a text is in Latin script: more than four Latin letters to each letter of any other.

    >>> is_latin("Amoxicillin 0.5 g tid"), is_latin("口服阿莫西林 amoxicillin 0.5 g"), is_latin("12.5 / 80")
    (True, False, False)
    """
    letters = [character for character in text if character.isalpha()]
    latin = sum(bool(_kinds()[ord(c)] & 2) for c in letters if ord(c) < _CLASSIFIED)
    return latin > LATIN_LETTERS_PER_OTHER * (len(letters) - latin)


def shingle_hash(shingle: str) -> int:
    """The 64-bit hash of one shingle."""
    total = 0
    for character in shingle:
        total = (total * _BASE + ord(character) + 1) & _MASK
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        total = (total ^ total >> 33) * factor & _MASK
    return total ^ total >> 33


def shingle_hash32(shingle: bytes) -> int:
    """What a shingle (UTF-8) is to MinHash, 32 bits: the upper half of `shingle_hash`.

    Made to be datasketch's `hashfunc`; its own, SHA-1, costs more than everything else together.
    """
    return shingle_hash(shingle.decode()) >> 32


@dataclass(frozen=True, slots=True)
class Hashed:
    """Shingle hashes of consecutive texts: those of text i end at `ends[i]`, where those of the next begin."""

    hashes: npt.NDArray[np.uint64]
    ends: npt.NDArray[np.int64]


def shingle_hashes(texts: pa.Array | pa.ChunkedArray, size: int = SHINGLE) -> Iterator[Hashed]:
    """64-bit hashes of the shingles of every text (repeats included), in order, some texts at a time.

    `texts` are Arrow strings of any kind, sliced or not; null counts as empty. What is yielded is overwritten by the
    next step. Memory: 12 bytes a character of the longest text.
    """
    from datatools.dedupe import kernels

    # Taken once: fresh memory for every piece costs a third of the time.
    codes, hashes = np.empty(0, np.uint32), np.empty(0, np.uint64)
    for piece in _pieces(texts):
        latin, ends = np.empty(len(piece), np.uint8), np.empty(len(piece), np.int64)
        code_ends = np.empty(len(piece), np.int64)
        data, offsets = _buffers(piece)
        codes = _with_room(codes, offsets)
        if kernels.decode(data, offsets, _kinds(), codes, code_ends, latin):
            # Rare in Chinese, and composing is a job for the library.
            strings = [unicodedata.normalize("NFC", text) for text in piece.to_pylist()]
            data, offsets = _buffers(pa.array(strings, pa.large_string()))
            codes = _with_room(codes, offsets)
            kernels.decode(data, offsets, _kinds(), codes, code_ends, latin)
        hashes = _with_room(hashes, offsets)
        kernels.shingles(data, offsets, codes, code_ends, latin, size, _kinds(), _lower_cased(), hashes, ends)
        yield Hashed(hashes[: ends[-1]], ends)


def distinct_hashes(texts: pa.Array | pa.ChunkedArray, size: int = SHINGLE) -> Iterator[Hashed]:
    """The shingle sets of texts: sorted 64-bit hashes without repeats, some texts at a time, as `shingle_hashes`."""
    from datatools.dedupe import kernels

    for hashed in shingle_hashes(texts, size):
        sizes = np.empty(len(hashed.ends), np.int64)
        kernels.distinct(hashed.hashes, hashed.ends, sizes)
        ends = np.cumsum(sizes)
        yield Hashed(hashed.hashes[: ends[-1]], ends)


def _with_room(scratch: npt.NDArray[Scalar], offsets: npt.NDArray[np.int64]) -> npt.NDArray[Scalar]:
    """`scratch`, or a longer one: a value for every byte of the texts."""
    room = int(offsets[-1] - offsets[0])
    return scratch if len(scratch) >= room else np.empty(room, scratch.dtype)


def _buffers(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The UTF-8 bytes of strings and where each begins, and the last ends."""
    if not len(texts):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    width = np.dtype(np.int64 if texts.type == pa.large_string() else np.int32)
    _, places, content = texts.buffers()
    offsets = np.frombuffer(places, width, count=len(texts) + 1, offset=texts.offset * width.itemsize)
    data = np.frombuffer(content, np.uint8) if content is not None and content.size else np.zeros(0, np.uint8)
    return data, offsets.astype(np.int64)


def _pieces(texts: pa.Array | pa.ChunkedArray) -> Iterator[pa.Array]:
    """Slices of about _PIECE bytes, in order; none is empty."""
    for chunk in texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]:
        if chunk.type not in (pa.string(), pa.large_string()):
            chunk = chunk.cast(pa.large_string())
        if chunk.null_count:
            chunk = chunk.fill_null("")
        _, offsets = _buffers(chunk)
        start = 0
        while start < len(chunk):
            stop = max(start + 1, int(np.searchsorted(offsets, offsets[start] + _PIECE, side="right")) - 1)
            yield chunk.slice(start, stop - start)
            start = stop


def _lower(character: str) -> str:
    # İ would become two characters: letter by letter, so that a table of the first plane can do it.
    low = character.lower() if ord(character) < 0x10000 else character
    return low if len(low) == 1 else character


@lru_cache(maxsize=1)
def _lower_cased() -> npt.NDArray[np.uint32]:
    """The lower case of every code point of the first plane."""
    table = np.arange(0x10000, dtype=np.uint32)
    for start, end in _CASED:
        table[start:end] = [ord(_lower(chr(code))) for code in range(start, end)]
    return table


@lru_cache(maxsize=1)
def _kinds() -> npt.NDArray[np.uint8]:
    """Class bits of every code point below _CLASSIFIED, as `kernels` names them."""
    kinds = np.zeros(_CLASSIFIED, np.uint8)
    for start, end in _LETTERS:
        kinds[start:end] = 4
    # What is a letter by its block needs no look.
    codes = np.flatnonzero(kinds == 0)
    text = characters(codes.tolist())
    kinds[codes[says(str.isspace, text)]] = 1
    kinds[codes[says(str.isalpha, text)]] = 4
    # Whether a text with this character may not be in NFC.
    unstable = combining(text) | (categories(text) == b"Mc") | ~is_own_nfc(text)
    kinds[codes[unstable & ((codes < 0xD800) | (codes >= 0xE000))]] |= 8
    kinds[0x1100:0x1200] |= 8  # Hangul in parts
    for start, end in _LATIN_RANGES:
        kinds[start:end] |= np.where(kinds[start:end] & 4, 2, 0).astype(np.uint8)
    return kinds
