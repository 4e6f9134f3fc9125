"""Quality signals of a text: what it is made of, how its lines look, what repeats, how medical it is.

Operators only measure; `datatools.clean.rules` decides. Shares lie in [0, 1] and are 0 for empty text. Of a text longer
than a million characters the first million are measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datatools.clean import scan
from datatools.clean.columns import append_columns, text_column
from datatools.clean.lexicon import Lexicon, lexicon, term_characters
from datatools.clean.scan import Array, Block

SHORT_HAN, SHORT_LATIN = 10, 30  # characters; FineWeb's short line of 30 Latin letters holds what 10 Han do
GRAM_CHARACTERS, GRAM_WORDS = 10, 5
# «At least two of these» is Gopher's rule for English.
STOP_WORDS_EN = ("the", "be", "to", "of", "and", "that", "have", "with")

SIGNALS: dict[str, str] = {
    "characters": "length in characters (all of it)",
    "words": "words; 0 where the script has no spaces",
    "mean_word_length": "characters a word; 0 where the script has no spaces",
    "han": "Han among all letters",
    "kana": "kana among all letters",
    "hangul": "hangul among all letters",
    "latin": "Latin letters among all letters",
    "letter_share": "letters of any script among the characters that are no white space",
    "digit_share": "digits, also raised ones and fractions, among the characters that are no white space",
    "symbol_share": "symbols (+ = # * ℃ →), among the characters that are no white space",
    "punctuation_share": "punctuation among the characters that are no white space",
    "residue_share": "□, U+FFFD and private-use characters among the characters that are no white space",
    "mojibake_share": "characters of wrongly decoded text among the characters that are no white space",
    "lines": "lines that are not blank",
    "mean_line_length": "characters a line that is not blank",
    "line_stop_share": "lines that end in a full stop, question or exclamation mark, semicolon or ellipsis",
    "ellipsis_line_share": "lines that end in an ellipsis",
    "short_line_share": "lines shorter than 10 characters (30 in a script with spaces)",
    "list_share": "lines that begin with a bullet or a number",
    "table_share": "lines with a vertical bar",
    "duplicate_line_share": "lines that stood earlier in the text",
    "duplicate_line_character_share": "characters in such lines",
    "duplicate_gram_share": "characters in a run of 10 characters (5 words in a script with spaces) seen earlier",
    "top_2gram_share": "characters in the most frequent 2 words together; 0 without spaces or repetition",
    "top_3gram_share": "the same for 3 words",
    "top_4gram_share": "the same for 4 words",
    "stop_zh": "modern function characters (的 是 了 在) among Han",
    "stop_lzh": "classical function characters (之 其 者 也) among Han",
    "stop_en": "how many of the, be, to, of, and, that, have, with occur (0–8)",
    "medical_density": "characters that belong to a term of the lexicon",
}
COUNTS = ("characters", "words", "lines", "stop_en")

# The bytes of UTF-8 as Latin-1, cp1252 and Mac-Roman show them: a first byte of Chinese, then two that go on.
_LEADS = scan.members("".join(bytes(range(0xE3, 0xEA)).decode(name) for name in ("latin-1", "mac_roman")) + "âÂÃ‚")
_TAILS = scan.members(
    "".join(bytes(range(0x80, 0xC0)).decode(name, "ignore") for name in ("latin-1", "cp1252", "mac_roman"))
)
_TWO_BYTES = scan.members("ÃÂ")
_BULLETS = scan.members(scan.BULLETS)
_DELIMITERS = scan.members(scan.LIST_DELIMITERS)
_NUMERALS = scan.members("0123456789" + scan.HAN_DIGITS)
_OPENING = scan.members("(（[【")


@dataclass(frozen=True)
class Quality:
    """Append a column for every entry of SIGNALS: int32 for COUNTS, float32 for the rest.

    `lexicon` is a file of medical terms, one a line, the built-in one when empty. `digest` names its terms, so that
    another content under the same name is another setting. Raises ValueError when the file cannot be used.
    """

    lexicon: str = ""
    digest: str = field(init=False, default="")
    version = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", lexicon(self.lexicon).digest)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        text = text_column(batch)
        terms = lexicon(self.lexicon)
        lengths = pc.utf8_length(text).to_numpy(zero_copy_only=False).astype(np.int64)
        parts = [measure(block, terms) for block in scan.blocks(text, lengths)]
        values = {name: np.concatenate([part[name] for part in parts] or [np.zeros(0)]) for name in SIGNALS}
        values["characters"] = lengths
        return append_columns(
            batch, {name: found.astype(np.int32 if name in COUNTS else np.float32) for name, found in values.items()}
        )


def measure(block: Block, terms: Lexicon) -> dict[str, Array]:
    """The SIGNALS of every text of a block (float64)."""
    counts = block.counts
    han = counts[:, scan.HAN : scan.HAN_ODD + 1].sum(axis=1)
    latin = counts[:, [scan.LATIN, scan.ACCENTED]].sum(axis=1)
    kana, hangul = counts[:, scan.KANA], counts[:, scan.HANGUL]
    letters = han + latin + kana + hangul + counts[:, scan.LETTER]
    solid = counts.sum(axis=1) - counts[:, [scan.SPACE, scan.NEWLINE]].sum(axis=1)
    punctuation = counts[:, [scan.PUNCTUATION, scan.STOP, scan.CLOSER, scan.ELLIPSIS, scan.PIPE]].sum(axis=1)
    # A word of Latin script has about five letters: as many Han as Latin words make text without spaces.
    unspaced = 5 * (han + kana) >= latin + hangul + counts[:, scan.LETTER]
    sums = block.sums
    odd = counts[:, scan.HAN_ODD] + _wrongly_decoded(block)
    return {
        "characters": block.ends - block.starts,
        "han": _share(han, letters),
        "kana": _share(kana, letters),
        "hangul": _share(hangul, letters),
        "latin": _share(latin, letters),
        "letter_share": _share(letters, solid),
        "digit_share": _share(counts[:, scan.DIGIT], solid),
        "symbol_share": _share(counts[:, scan.SYMBOL] + counts[:, scan.LEAD], solid),
        "punctuation_share": _share(punctuation, solid),
        "residue_share": _share(counts[:, scan.RESIDUE], solid),
        "mojibake_share": np.minimum(_share(odd, solid), 1),
        "stop_zh": _share(counts[:, scan.HAN_ZH] + counts[:, scan.HAN_BOTH], han),
        "stop_lzh": _share(counts[:, scan.HAN_LZH] + counts[:, scan.HAN_BOTH], han),
        "medical_density": _share(term_characters(block, sums, terms), block.ends - block.starts),
        **_lines(block, sums, unspaced),
        **_words(block, sums, unspaced),
    }


def _share(part: Array, whole: Array) -> Array:
    return np.asarray(part / np.maximum(whole, 1))


def _wrongly_decoded(block: Block) -> Array:
    """Characters a text that belong to UTF-8 read as Latin-1, cp1252 or Mac-Roman."""
    texts = len(block.starts)
    begins = np.flatnonzero((block.classes == scan.ACCENTED) | (block.classes == scan.LEAD))
    last = block.ends[block.text_at(begins)] - 1
    begins, last = begins[begins < last], last[begins < last]
    found = _LEADS[block.codes[begins]] & _TAILS[block.codes[begins + 1]]
    if not found.any():
        return np.zeros(texts)
    begins, last = begins[found], last[found]
    three = (begins + 1 < last) & _TAILS[block.codes[np.minimum(begins + 2, last)]]
    size = np.where(three, 3, np.where(_TWO_BYTES[block.codes[begins]], 2, 0))
    return np.bincount(block.text_at(begins), size, texts)


def _lines(block: Block, sums: Array, unspaced: Array) -> dict[str, Array]:
    from datatools.clean import kernels

    texts, classes = len(block.starts), block.classes
    spans = np.empty((texts + int(block.counts[:, scan.NEWLINE].sum()), 4), np.int64)
    count = kernels.line_spans(classes, block.ends, scan.SPACE, scan.NEWLINE, scan.PIPE, spans)
    text, starts, ends, table = (np.ascontiguousarray(column) for column in spans[:count].T)
    length = ends - starts
    last = classes[ends - 1]
    before = classes[np.maximum(ends - 2, starts)]
    dots = length > 2
    for back in (1, 2, 3):
        dots &= block.codes[np.maximum(ends - back, starts)] == ord(".")
    ellipsis = (last == scan.ELLIPSIS) | dots
    stop = (last == scan.STOP) | ellipsis | ((last == scan.CLOSER) & (before == scan.STOP))
    again = scan.repeats(scan.hashes(sums, starts, ends), text)

    def total(of: Array | None = None, weights: Array | None = None) -> Array:
        return np.bincount(text if of is None else text[of], weights, texts)

    lines, characters = total(), total(weights=length)
    return {
        "lines": lines,
        "mean_line_length": _share(characters, lines),
        "line_stop_share": _share(total(stop), lines),
        "ellipsis_line_share": _share(total(ellipsis), lines),
        "short_line_share": _share(total(length < np.where(unspaced, SHORT_HAN, SHORT_LATIN)[text]), lines),
        "list_share": _share(total(_listed(block.codes, starts, ends)), lines),
        "table_share": _share(total(table.astype(bool)), lines),
        "duplicate_line_share": _share(total(again), lines),
        "duplicate_line_character_share": _share(total(again, length[again]), characters),
    }


def _listed(codes: Array, starts: Array, ends: Array) -> Array:
    """Whether a line begins with a bullet and a space, or a number of up to three digits and a mark: 1. （二） 三、"""
    at = starts + _OPENING[codes[starts]]
    first, last = np.minimum(at, ends - 1), ends - 1
    at = first
    for _ in range(3):
        at = np.minimum(at + _NUMERALS[codes[at]], last)
    following = codes[np.minimum(at + 1, last)]
    decimal = (codes[at] == ord(".")) & (following >= 48) & (following <= 57)
    numbered = (at > first) & _DELIMITERS[codes[at]] & ~decimal
    bullet = _BULLETS[codes[starts]] & (codes[np.minimum(starts + 1, last)] == 32)
    return np.asarray(numbered | bullet)


def _words(block: Block, sums: Array, unspaced: Array) -> dict[str, Array]:
    """What repeats: runs of characters where the script has no spaces, runs of words elsewhere."""
    texts = len(block.starts)
    found = {name: np.zeros(texts) for name in ("words", "mean_word_length", "stop_en", "duplicate_gram_share")}
    found |= {f"top_{n}gram_share": np.zeros(texts) for n in (2, 3, 4)}
    if unspaced.any():
        from datatools.clean import kernels

        lengths = block.ends - block.starts
        repeated = np.zeros(texts, np.int64)
        table = np.empty(max(16, 4 * int(lengths.max())), np.uint64)
        kernels.repeated_characters(
            sums, scan.inverses(), block.starts, block.ends, unspaced, GRAM_CHARACTERS, table, repeated
        )
        found["duplicate_gram_share"] = _share(repeated, lengths)
    if not unspaced.all():
        _spaced_words(block, sums, unspaced, found)
    return found


def _spaced_words(block: Block, sums: Array, unspaced: Array, found: dict[str, Array]) -> None:
    texts = len(block.starts)
    word = (block.classes <= scan.DIGIT) & ~unspaced[block.text // scan.CLASSES]
    fresh = np.ones(len(word) + 1, bool)
    fresh[1:-1] = block.text[1:] != block.text[:-1]
    edge = np.diff(np.concatenate([[False], word, [False]]).astype(np.int8))
    starts = np.flatnonzero((edge == 1) | (fresh & np.append(word, False)))
    ends = np.flatnonzero((edge == -1) | (fresh & np.append(False, word)))
    text, length = block.text_at(starts), ends - starts
    words, letters = np.bincount(text, minlength=texts), np.bincount(text, length, texts)
    found["words"], found["mean_word_length"] = words, _share(letters, words)
    keys = scan.hashes(sums, starts, ends)
    for stop_word in STOP_WORDS_EN:
        at = np.flatnonzero(keys == np.uint64(scan.hash_of(stop_word)))
        found["stop_en"] += np.bincount(text[at], minlength=texts) > 0
    reach = np.concatenate([[0], np.cumsum(length)])
    grams = keys
    for n in range(2, GRAM_WORDS + 1):
        if len(keys) < n:
            break
        grams = grams[:-1] * np.uint64(scan.ODD) + keys[n - 1 :]
        at = np.flatnonzero(text[: len(grams)] == text[n - 1 :])
        packed, same = scan.runs(grams[at], text[at])
        if not same.any():
            break  # what no 2 words do, no 3 do
        if n == GRAM_WORDS:
            twice = scan.covered(at[scan.places(packed[same])], n, len(keys))
            share = _share(np.bincount(text[twice], length[twice], texts), letters)
            found["duplicate_gram_share"] = np.where(unspaced, found["duplicate_gram_share"], share)
            break
        heads = np.flatnonzero(~same)
        times = np.diff(np.append(heads, len(same)))
        often = times > 1
        first = at[scan.places(packed[heads[often]])]
        top = np.zeros(texts)
        np.maximum.at(top, text[first], times[often] * (reach[first + n] - reach[first]))
        found[f"top_{n}gram_share"] = np.minimum(_share(top, letters), 1)
