"""Terms of a lexicon, made ready to be found in a text by the hashes of its substrings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import xxhash

from datatools.clean import scan
from datatools.clean.scan import Array, Block

BUILT_IN = Path(__file__).with_name("lexicon.txt")


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Terms ready to be looked for: which two characters may begin one, and the hashes of the terms by length."""

    pairs: Array
    lengths: tuple[Array, Array]  # of terms in Han characters, in Latin letters; the longest first
    keys: Array  # hashes of the terms, sorted, so that those with equal leading bits stand together
    first: Array  # where the keys with given leading bits begin, and one more
    digest: str  # xxh3-64 of the terms


@lru_cache(maxsize=4)
def lexicon(path: str = "") -> Lexicon:
    """The lexicon of a file, one term of two or more characters a line, `#` for comments; the built-in one for "".

    Raises ValueError when the file cannot be read as UTF-8 text or holds no term.
    """
    terms = read_terms(path)
    pairs = np.zeros(1 << scan.PAIR_BITS, bool)
    for term in terms:
        for first, second in product({term[0], term[0].upper()}, {term[1], term[1].upper()}):
            if len(first + second) == 2:  # ß in capitals is two letters
                pairs[(ord(first) * scan.PAIR_FACTOR + ord(second)) & ((1 << scan.PAIR_BITS) - 1)] = True
    keys = np.array(sorted(scan.hash_of(term) for term in terms), np.uint64)
    leading = np.searchsorted(keys, np.arange(1 << scan.HASH_BITS, dtype=np.uint64) << np.uint64(64 - scan.HASH_BITS))
    lengths = tuple(
        np.array(sorted({len(term) for term in terms if (ord(term[0]) < 128) == latin}, reverse=True), np.int64)
        for latin in (False, True)
    )
    digest = xxhash.xxh3_64_hexdigest("\n".join(terms).encode())
    return Lexicon(pairs, (lengths[0], lengths[1]), keys, np.append(leading, len(keys)), digest)


def read_terms(path: str = "") -> list[str]:
    """The terms of a lexicon file in lower case, sorted; those of the built-in one for "". Raises ValueError."""
    file = Path(path) if path else BUILT_IN
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: the lexicon cannot be read as UTF-8 text ({error})") from error
    terms = sorted({line.strip().lower() for line in lines if len(line.strip()) > 1 and line.strip()[0] != "#"})
    if not terms:
        raise ValueError(f"{file}: the lexicon holds no term (one a line, two characters or more, # begins a comment)")
    return terms


def term_characters(block: Block, sums: Array, terms: Lexicon) -> Array:
    """Characters of every text that belong to a term; one in Latin letters begins a word and may be inflected.

    Where terms begin at the same place the longest counts. (An Aho-Corasick automaton over 1,100 terms, polars', takes
    10 ns a byte of Chinese; this 1.)
    """
    from datatools.clean import kernels

    found = np.zeros(len(block.starts), np.int64)
    kernels.term_characters(
        block.codes,
        block.classes,
        sums,
        scan.inverses(),
        block.starts,
        block.ends,
        terms.pairs,
        *terms.lengths,
        terms.keys,
        terms.first,
        scan.LATIN,
        scan.PAIR_FACTOR,
        found,
    )
    return found
