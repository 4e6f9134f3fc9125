"""Language of a text: by script first, by langdetect only for what script cannot tell.

langdetect alone calls 感冒了 Korean and `WBC 10.2×10^9/L` Tagalog, so it only ever sees text written mostly in Latin
letters. Classical Chinese (`lzh`) is told from modern (`zh`) by characters that one of the two hardly uses.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.clean.columns import code_points, text_blocks

# The opening of a text is enough to tell its language, and keeps the cost of a whole book that of a page.
SAMPLE = 1500
LANGDETECT_SAMPLE = 400
_FEW = 1 << 13  # characters of all texts: fewer do not repay the loading of compiled code

HANGUL_SHARE = 0.2
KANA_SHARE = 0.05
MIN_KANA = 2  # a lone の is a Chinese shop sign
LATIN_LETTERS = 20
LANGDETECT_SURE = 0.8

# Characters at least three times as frequent (per Han character) on one side as on the other, counted over 15 million
# characters of classical and 2.4 million of modern medical books. Function words first, then what prescriptions use:
# a list of herbs and doses holds no 之 and no 也.
FUNCTION_WORDS = "之曰矣也乎焉哉皆乃则故盖夫耶欤"
SHORT = 100  # Han characters
CLASSICAL = FUNCTION_WORDS + "钱錢两兩丸煎末宜若令各食酒去" + "於"
MODERN = "的这這了们們个個是很就到些没沒么麼吗嗎呢它" + "克诊診疗療效型剂劑症性患检檢查炎现現例"
LZH_SHARE = 0.02
LZH_RATIO = 1.5
LZH_SIGNS = 2  # one 宜 or 令 is no evidence in a short question

# Words that make Latin text English without asking langdetect (1 ms a text): no other language shares two of the first.
ENGLISH_ONLY = frozenset({"the", "and", "with", "which", "are", "this", "that", "from", "should", "what"})
ENGLISH_COMMON = ENGLISH_ONLY | {"of", "to", "in", "is", "or", "for", "be", "by", "may", "as", "an", "not", "it"}
ENGLISH_SHARE = 0.15
# Running text is mostly words in lower case, German too. A table of names is not: langdetect calls chemical names Welsh
# and pinyin Tagalog, and takes a thousand times as long over them as everything else takes.
RUNNING_SHARE = 0.4

_OTHER, _HAN, _KANA, _HANGUL, _LATIN, _FUNCTION, _CLASSICAL, _MODERN = range(8)
_LATIN_WORD = re.compile(r"[A-Za-zÀ-ɏ]+")
_LATIN_RANGES = ((0x41, 0x5B), (0x61, 0x7B), (0xC0, 0x250), (0x1E00, 0x1F00), (0xFF21, 0xFF3B), (0xFF41, 0xFF5B))


class ScriptCounts(NamedTuple):
    """Letters of a text by script; `classical` and `modern` are parts of `han`, `function` words of `classical`."""

    han: int
    kana: int
    hangul: int
    latin: int
    latin_words: int
    function: int
    classical: int
    modern: int

    @property
    def letters(self) -> int:
        return self.han + self.kana + self.hangul + self.latin


def _classes() -> npt.NDArray[np.uint8]:
    """Class of every code point, so that a text is classified by one array look-up."""
    table = np.full(0x110000, _OTHER, np.uint8)
    for start, end in ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x32400)):
        table[start:end] = _HAN
    for start, end in ((0x3041, 0x3097), (0x30A1, 0x30FB), (0x31F0, 0x3200), (0xFF66, 0xFF9E)):
        table[start:end] = _KANA
    for start, end in ((0xAC00, 0xD7A4), (0x1100, 0x1200), (0x3131, 0x318F)):
        table[start:end] = _HANGUL
    for start, end in _LATIN_RANGES:
        table[start:end] = _LATIN
    table[[0xD7, 0xF7]] = _OTHER  # × and ÷ stand among the Latin letters
    table[[ord(c) for c in CLASSICAL]] = _CLASSICAL
    table[[ord(c) for c in FUNCTION_WORDS]] = _FUNCTION
    table[[ord(c) for c in MODERN]] = _MODERN
    return table


_CLASSES = _classes()


def script_counts(text: str) -> ScriptCounts:
    """Letters of `text` by script, in one vectorised pass (all of it: cut long texts first).

    >>> script_counts("口服的阿莫西林 amoxicillin 0.5 g")
    ScriptCounts(han=7, kana=0, hangul=0, latin=12, latin_words=2, function=0, classical=0, modern=1)
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    classes = _CLASSES[codes]
    counts = np.bincount(classes, minlength=8).tolist()
    words = 0
    if counts[_LATIN]:
        latin = classes == _LATIN
        words = int(np.count_nonzero(latin[1:] & ~latin[:-1])) + bool(latin[0])
    return _script_counts(counts, words)


def _script_counts(counts: list[int], words: int) -> ScriptCounts:
    _, bare, kana, hangul, latin, function, classical, modern = counts
    classical += function
    return ScriptCounts(bare + classical + modern, kana, hangul, latin, words, function, classical, modern)


def language(text: str) -> str:
    """Language of `text`: zh, lzh (classical Chinese), ja, ko, en, another ISO 639-1 code, or und.

    Reads the first 1,500 characters. Text without 20 Latin letters or any other script is `und` (laboratory values,
    digits), and so are names in Latin letters that are no running text (chemical names, pinyin). Chinese with neither
    classical nor modern signs, as a bare list of herbs, is `zh`.

    Measured against the label of the whole book: passages of 400 (100) characters of 141 classical medical books are
    found lzh in 95 % (88 %), of 48 modern textbooks zh in 99.9 % (98.8 %), of 8 modern books on Chinese medicine, which
    quote the classics at length, zh in 80 % (72 %). `dominant_language` is right for 188 of the 191 files that hold
    enough text; the three are two herb lists and one author who writes like his sources.

    >>> language("感冒了"), language("子曰：学而时习之，不亦说乎"), language("WBC 10.2×10^9/L")
    ('zh', 'lzh', 'und')
    """
    sample = text[:SAMPLE]
    return _told(sample, script_counts(sample))


def languages(texts: Sequence[str]) -> list[str]:
    """`language` of every text; where there are many, their characters are counted in compiled code."""
    if sum(map(len, texts)) < _FEW:
        return [language(text) for text in texts]
    samples = [text[:SAMPLE] for text in texts]
    codes = np.frombuffer("".join(samples).encode("utf-32-le", "surrogatepass"), np.uint32)
    counts, words = _counted(codes, np.cumsum([len(sample) for sample in samples]))
    rows = zip(samples, counts.tolist(), words.tolist(), strict=True)
    return [_told(sample, _script_counts(found, number)) for sample, found, number in rows]


def column_languages(texts: pa.Array) -> npt.NDArray[np.object_]:
    """`language` of every string of a column without nulls; in Python only where script does not tell."""
    found = np.full(len(texts), "und", object)
    for start, block in text_blocks(texts):
        _tell(block, found[start : start + len(block)])
    return found


def _tell(texts: pa.Array, found: npt.NDArray[np.object_]) -> None:
    codes, ends = code_points(texts)
    counts, words = _counted(codes, ends)
    _, bare, kana, hangul, latin, function, classical, modern = counts.T
    classical = classical + function
    han = bare + classical + modern
    letters = han + kana + hangul + latin
    # Beside Han, next to nothing: what `_told` says of most Chinese texts, for all of them at once.
    chinese = (han >= words) & (han > 0) & (hangul <= HANGUL_SHARE * letters) & (kana < MIN_KANA)
    old = chinese & (classical >= LZH_SIGNS) & (classical >= LZH_SHARE * han) & (classical >= LZH_RATIO * modern)
    sure = (han >= SHORT) | (classical >= 4) | (function > 0)
    found[chinese] = "zh"
    found[old & sure] = "lzh"
    for row in np.flatnonzero(~chinese & (letters > 0)).tolist():
        numbers = _script_counts(counts[row].tolist(), int(words[row]))
        found[row] = _told(texts[row].as_py()[:SAMPLE], numbers)


def _counted(codes: npt.NDArray[Any], ends: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Characters of each class, and Latin words, in the first SAMPLE characters of texts that end at `ends`."""
    from datatools.clean import text_kernels as kernels

    counts, words = np.zeros((len(ends), _MODERN + 1), np.int64), np.zeros(len(ends), np.int64)
    kernels.script_counts(codes, ends, SAMPLE, _CLASSES, _LATIN, counts, words)
    return counts, words


def _told(sample: str, counts: ScriptCounts) -> str:
    letters = counts.letters
    if not letters:
        return "und"
    if counts.hangul > HANGUL_SHARE * letters:
        return "ko"
    if counts.kana >= MIN_KANA and counts.kana > KANA_SHARE * letters:
        return "ja"
    if counts.han and counts.han >= counts.latin_words:
        # 酒 and 食 are signs of prescriptions, but a short modern text may hold them too.
        if not _is_classical(counts):
            return "zh"
        sure = counts.han >= SHORT or counts.classical >= 4 or counts.function > 0
        return "lzh" if sure else "zh"
    if counts.latin >= LATIN_LETTERS:
        return _latin_language(sample)
    return "und"


def dominant_language(samples: Iterable[str]) -> str:
    """Language of a file, from several of its passages: the one most letters are written in; und without letters.

    Classical books hold pages of bare prescriptions and modern ones quote the classics, so a file is judged more
    surely than a passage. Ties go to the language seen first.

    >>> dominant_language(["甘草 桂枝 芍药", "右七味，捣罗为末，炼蜜为丸，酒下。去滓，各服一升。"])
    'lzh'
    """
    weight: Counter[str] = Counter()
    for sample in samples:
        found = language(sample)
        if found != "und":
            weight[found] += script_counts(sample[:SAMPLE]).letters
    return weight.most_common(1)[0][0] if weight else "und"


def _is_classical(counts: ScriptCounts) -> bool:
    signs = counts.classical
    return signs >= LZH_SIGNS and signs >= LZH_SHARE * counts.han and signs >= LZH_RATIO * counts.modern


def _latin_language(text: str) -> str:
    words = [word.lower() for word in _LATIN_WORD.findall(text)]
    only = ENGLISH_ONLY.intersection(words)
    if len(only) >= 2 and sum(word in ENGLISH_COMMON for word in words) >= ENGLISH_SHARE * len(words):
        return "en"
    pieces = text.split()
    running = sum(piece.islower() and piece.rstrip(",.;:!?").isalpha() for piece in pieces)
    if running < RUNNING_SHARE * len(pieces):
        return "und"
    return _langdetect(" ".join(words)[:LANGDETECT_SAMPLE])


@lru_cache(maxsize=1)
def _factory() -> Any:
    """One seeded factory a process: its profiles take 0.3 s to load and its seed makes it repeatable."""
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    factory.load_profile(PROFILES_DIRECTORY)
    factory.set_seed(0)
    return factory


@lru_cache(maxsize=4096)
def _langdetect(text: str) -> str:
    from langdetect.lang_detect_exception import LangDetectException

    detector = _factory().create()
    detector.set_max_text_length(LANGDETECT_SAMPLE)
    detector.append(text)
    try:
        best = detector.get_probabilities()[:1]
    except LangDetectException:  # no usable n-gram: symbols, one repeated letter
        return "und"
    return str(best[0].lang) if best and best[0].prob >= LANGDETECT_SURE else "und"
