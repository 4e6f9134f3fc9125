"""How much of an answer its source supports, and how much of a text repeats itself."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from datatools.checks.plain import nfkc

GRAM = 10

_LATIN = re.compile("[0-9a-z]")
_WORD = re.compile("[0-9a-zß-öø-ɏ]+")
# Words any two English texts share; they support nothing.
_COMMON_WORDS = """
a an the and or but nor so if of to in on at by for with from as into than then that this these those it its is are was
were be been being has have had do does did can could may might will would shall should must not no there their they
them he she his her we you your our i my me who which what when where how why also such other more most some any each
all both very
"""
_COMMON = frozenset(_COMMON_WORDS.split())
STEM = 5


def support(answer: str, source: str) -> float:
    """Share of `answer`'s units found anywhere in `source`, [0, 1]; 1 when it holds none (nothing is unsupported).

    A unit is a bigram of characters (after NFKC, case folding and removal of white space and punctuation), or a Latin
    word cut to its first five letters, common words left out. Word bigrams would be too strict for English (a faithful
    paraphrase shares few), character bigrams too lax (any two English texts share most).

    >>> round(support("桂枝汤主治太阳中风。", "太阳中风，阳浮而阴弱……桂枝汤主之。"), 2)
    0.75
    >>> support("Aspirin inhibits platelets.", "Platelet aggregation is inhibited by aspirin.")
    1.0
    """
    units = _units(answer)
    if not units:
        return 1.0
    known = _known(source)
    return sum(unit in known for unit in units) / len(units)


def repetition(text: str) -> float:
    """Share of the 10-grams of `text` that are repeats of an earlier one, [0, 1]; 0 for text too short to hold two.

    Grams of characters, or of words where most of the text is Latin script.

    >>> repetition("多喝水。" * 50) > 0.9, repetition("小青龙汤解表散寒，温肺化饮，主治外寒里饮证。")
    (True, 0.0)
    """
    words = text.split()
    grams: list[str] | list[tuple[str, ...]]
    if len(text) > 6 * len(words) + 40 or not text.isascii():
        solid = "".join(words)
        grams = [solid[i : i + GRAM] for i in range(len(solid) - GRAM + 1)]
    else:
        grams = [tuple(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


@lru_cache(maxsize=64)
def _known(source: str) -> frozenset[int | str]:
    """Cached: the several answers of one passage come one after the other."""
    return frozenset(_units(source))


def _units(text: str) -> list[int | str]:
    """Bigrams of letters, each packed into one number, and Latin words."""
    text = nfkc(text).lower()
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    # Greek to hangul and Han of every plane, without the signs and punctuation that stand between them.
    is_letter = (codes >= 0x370) & ((codes < 0x2000) | (codes >= 0x3041)) & ((codes < 0xFE10) | (codes >= 0x10000))
    letters = codes[is_letter].astype(np.uint64)
    units: list[int | str] = (letters[:-1] << np.uint64(21) | letters[1:]).tolist()
    if _LATIN.search(text):
        units += [word[:STEM] for word in _WORD.findall(text) if word not in _COMMON]
    return units
