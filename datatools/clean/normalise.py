"""Normalise text: one character table, residue of conversions removed, hard-wrapped lines joined.

NFC, never NFKC, which turns 10⁹/L into 109/L, CO₂ into CO2 and ½ into 1⁄2. The table is the whole list of what a
character may become; docs/formats.md shows it to users.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.clean.characters import categories, characters, is_own_nfc, says
from datatools.clean.columns import BLOCK_BYTES, code_points, replaced, text_blocks
from datatools.io.scripts import subscript, superscript

_FULL_WIDTH = {chr(0xFF01 + i): chr(0x21 + i) for i in range(94) if chr(0x21 + i).isalnum()}
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2028\u2029"

TABLE: dict[str, str] = {
    **_FULL_WIDTH,  # letters and digits only: （），％ and ㎏ stay as they are
    "∶": "：",  # U+2236 RATIO, a colon in the digitised classics
    "\u3000": " ",
    "\u00a0": " ",
    **dict.fromkeys("\u2000\u2001\u2002\u2003", " "),
    "\u2009": " ",
    "\t": " ",
    "\r": "",
    "\x00": "",
    **dict.fromkeys(_INVISIBLE, ""),
    **{chr(code): "" for code in range(1, 32) if chr(code) not in "\n\t"},
    **{chr(code): "□" for code in range(0xE000, 0xF900)},  # private use: the glyph is lost, the gap stays visible
    "\ufffd": "□",
}
# Replacing the few hits of a class is seven times faster than str.translate on Chinese.
_IN_TABLE = re.compile("[" + re.escape("".join(TABLE)) + "]")

# What typesetting programs and page images left behind in the digitised classics, each with cheap signs of it.
RESIDUE = (
    # \x…\x around bold, \r…\r around a plate, \p04-34a1.bmp, \ps127, a lone \; not \mu or \pm of a formula.
    (
        ("\\",),
        re.compile(
            r"\\(?:p[A-Za-z\d-]{1,12}(?:\.(?i:bmp|jpg|gif)|(?=\\r))|ps?\d{1,3}(?![A-Za-z\d])|[xrnt](?![a-z])|(?![A-Za-z\d]))"
        ),
    ),
    (
        (".bmp", ".BMP", ".jpg", ".JPG", ".gif", ".GIF"),
        re.compile(r"(?<![A-Za-z\d_./-])[A-Za-z_]{0,3}\d{0,4}\.(?:bmp|BMP|jpg|JPG|gif|GIF)(?![A-Za-z\d])"),
    ),
    (("<",), re.compile(r"</?(?:br|p|div|font|span|sup|sub|i|b|em|strong|u)\s*/?>", re.IGNORECASE)),
)
# A glyph the typesetting program did not have: 目KT KT 无所见. A word of a text that shows it so at least once; else HT
# is hypertension and 5-HT serotonin.
_GLYPHS = ("KT", "HT", "FS")
_GLYPH_RUN = re.compile(r"[KHF][TS](?:KT|HT|FS)*")  # begins with a class: five times as fast as with the words
_WORD = re.compile(r"[A-Za-z\d-]")
_SCRIPT = re.compile(r"<(su[pb])>([^<]{1,24})</su[pb]>", re.IGNORECASE)  # D<sub>3</sub> in abstracts
_SPACES = re.compile(r" {2,}")
_LINE_END = re.compile(r" *\n *")
_BLANK_LINES = re.compile(r"\n{3,}")

_SENTENCE_END = frozenset("。！？；：:.!?;…”」』）)】]>|—-~～")  # a title in 《》 ends none
_GOES_ON = frozenset("，、,（(《「『“【[〔")
_OWN_LINE = re.compile(
    r"[-*•·●○◆■▪]\s|[|]|\(?\d{1,3}(?:[)、]|[.．](?!\d))|（[\d一二三四五六七八九十]{1,3}）|[一二三四五六七八九十]{1,3}、|#|<|【"
    r"|[A-H](?:[.．](?! ?[a-z]{2}|\d)|[、：:)）])"  # an option; E. coli is none
    r"|(?:[问答]|医[生师]|大夫|患者|病人|护士)[：:]"  # who speaks
    r"|[上右](?:件|各|为|作|锉|捣|药|咀|剉|末|[一二三四五六七八九十]+味)|又方|一方"  # how to prepare what stands above
)
_BARE_OPTION = re.compile(r"[A-H] [\u3400-\u9fff]")
_HERBS = re.compile(r"\S{1,12}(?: \S{1,16}){2,}")  # 川芎 人参（各二钱） 当归：begins a prescription, ends no sentence
_HAN = re.compile(r"[\u3400-\u9fff\U00020000-\U0003ffff]")
# The classics are wrapped at 38–52 characters, plain-text e-mail and ASCII books at 60–80 columns; a line that stops
# earlier without a full stop is a heading, a verse or an entry of a list.
_WRAPPED_HAN, _WRAPPED_LATIN, _ORPHAN = 25, 55, 6

# Characters of the texts that are normalised at a time; compiled code takes half a second to load, which fewer than
# the second figure do not repay.
_AT_ONCE, _FEW = 1 << 18, 1 << 13


def normalise(text: str) -> str:
    """Text in NFC through the character table, without residue, with hard-wrapped lines joined.

    Every other character stays in its place, so a sentence of the result can be found in the source once white space
    is left out on both sides.

    >>> normalise("血红蛋白１２０ g/L，白细胞 5×10⁹/L，５％葡萄糖")
    '血红蛋白120 g/L，白细胞 5×10⁹/L，5％葡萄糖'
    """
    text = _unmarked(text)
    if " \n" in text or "\n " in text:
        text = _LINE_END.sub("\n", text)
    if "  " in text:
        text = _SPACES.sub(" ", text)
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    return join_wrapped(text.strip())


def _unmarked(text: str) -> str:
    """Text through the table, in NFC, without residue."""
    return _composed(_IN_TABLE.sub(lambda found: TABLE[found[0]], text))


def _composed(text: str) -> str:
    """Text that went through the table in NFC, without residue."""
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    if "</su" in text or "</SU" in text:
        text = _SCRIPT.sub(_raised_or_lowered, text)
    for signs, residue in RESIDUE:
        if any(sign in text for sign in signs):
            text = residue.sub("", text)
    if any(glyph in text for glyph in _GLYPHS):
        text = _without_lost_glyphs(text)
    return text


def _without_lost_glyphs(text: str) -> str:
    runs = [run.span() for run in _GLYPH_RUN.finditer(text) if run[0].startswith(_GLYPHS)]
    if not any(text[end : end + 1] == " " and start and "\u3400" <= text[start - 1] <= "\u9fff" for start, end in runs):
        return text
    lost = [
        (start, end)
        for start, end in runs
        if not (start and _WORD.match(text[start - 1])) and not _WORD.match(text[end : end + 1])
    ]
    kept = pairwise([0, *(place for span in lost for place in span), len(text)])
    return "".join(text[start:end] for start, end in list(kept)[::2])


def normalise_all(texts: Sequence[str]) -> list[str]:
    """`normalise` of every text; where they are many, by compiled code that is twenty times as fast.

    >>> normalise_all(["５％葡萄糖", " 血压∶120 "])
    ['5％葡萄糖', '血压：120']
    """
    if sum(map(len, texts)) < _FEW:
        return [normalise(text) for text in texts]
    cleaned: list[str] = []
    for few in _grouped(texts):
        cleaned += _compiled(few)
    return cleaned


def _grouped(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Neighbouring texts of about _AT_ONCE characters."""
    start = characters = 0
    for place, text in enumerate(texts):
        if characters and characters + len(text) > _AT_ONCE:
            yield texts[start:place]
            start, characters = place, 0
        characters += len(text)
    if start < len(texts):
        yield texts[start:]


def _compiled(texts: Sequence[str]) -> list[str]:
    if sum(map(len, texts)) > 4 * _AT_ONCE:  # one line of 300 MB: four bytes a character, twice, would be too many
        return [normalise(text) for text in texts]
    cleaned = _by_kernel(texts, marked=True)
    # Residue and composition are for regular expressions and the library; the lines of these texts are not.
    hard = [place for place, text in enumerate(cleaned) if text is None]
    again = _by_kernel([_composed(text) for text in _through_table([texts[place] for place in hard])], marked=False)
    for place, text in zip(hard, again, strict=True):
        cleaned[place] = normalise(texts[place]) if text is None else text
    return [text or "" for text in cleaned]


def _through_table(texts: Sequence[str]) -> list[str]:
    """TABLE applied to every text."""
    from datatools.clean import normalise_kernels as kernels

    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    becomes, _ = _tables()
    found = np.where(codes < len(becomes), becomes[np.minimum(codes, len(becomes) - 1)], codes)
    stays = found != kernels.GONE
    reached = np.concatenate([[0], np.cumsum(stays)])
    whole = found[stays].tobytes().decode("utf-32-le", "surrogatepass")
    ends = reached[np.cumsum([0, *map(len, texts)])].tolist()
    return [whole[start:end] for start, end in pairwise(ends)]


def _by_kernel(texts: Sequence[str], *, marked: bool) -> list[str | None]:
    """The texts normalised; None for one that the kernel cannot do. `marked`: they may hold residue, and not NFC."""
    if not texts:
        return []
    ends = np.cumsum([len(text) for text in texts])
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    out, out_ends, plain = _through_kernel(codes, ends, marked=marked)
    whole = out.tobytes().decode("utf-32-le", "surrogatepass")
    starts = [0, *out_ends[:-1].tolist()]
    return [
        whole[start:end] if easy else None
        for start, end, easy in zip(starts, out_ends.tolist(), plain.tolist(), strict=True)
    ]


def _through_kernel(
    codes: npt.NDArray[np.uint32], ends: npt.NDArray[np.int64], *, marked: bool
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Characters of the texts normalised, where each ends, and whether the kernel could do it."""
    from datatools.clean import normalise_kernels as kernels

    out, plain = np.empty(len(codes) + 1, np.uint32), np.empty(len(ends), np.bool_)
    out_ends = np.empty(len(ends), np.int64)
    becomes, signs = _tables()
    sizes = (_WRAPPED_HAN, _WRAPPED_LATIN, _ORPHAN)
    longest = int(np.diff(ends, prepend=0).max(initial=0))
    scratch = np.empty(longest if marked else 0, np.uint32)
    odd = kernels.ODD if marked else 0
    kernels.normalise(codes, ends, becomes, signs, odd, *sizes, scratch, out, out_ends, plain)
    return out[: out_ends[-1]], out_ends, plain


def normalise_column(texts: pa.Array) -> pa.Array:
    """`normalise` of every string of a column without nulls, without a Python object a string.

    >>> normalise_column(pa.array(["５％葡萄糖", " 血压∶120 "])).to_pylist()
    ['5％葡萄糖', '血压：120']
    """
    parts = [_normalised(block) for _, block in text_blocks(texts)]
    return pa.concat_arrays(parts) if parts else pa.array([], pa.string())


def _normalised(texts: pa.Array) -> pa.Array:
    from datatools.clean import text_kernels as kernels

    if texts.nbytes > 4 * BLOCK_BYTES:  # one line of 300 MB: four bytes a character, twice, would be too many
        return pa.array([normalise(text) for text in texts.to_pylist()], pa.string())
    codes, ends = code_points(texts)
    out, out_ends, plain = _through_kernel(codes, ends, marked=True)
    offsets = np.zeros(len(texts) + 1, np.int32)
    content = np.empty(4 * len(out), np.uint8)
    size = kernels.encoded(out, out_ends, content, offsets)
    made = pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(content[:size]))
    hard = np.flatnonzero(~plain)
    again = normalise_all(texts.take(pa.array(hard)).to_pylist())
    return replaced(made, dict(zip(hard.tolist(), again, strict=True)))


@lru_cache(maxsize=1)
def _tables() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint16]]:
    """What every character of the first plane becomes, and what the kernels must know of it: their bits."""
    from datatools.clean import normalise_kernels as kernels

    becomes = np.arange(0x10000, dtype=np.uint32)
    for character, other in TABLE.items():
        becomes[ord(character)] = ord(other) if other else kernels.GONE
    signs = np.zeros(0x10000, np.uint16)
    for bit, members in (
        (kernels.ENDS, _SENTENCE_END - frozenset("）)")),
        (kernels.GOES_ON, _GOES_ON),
        (kernels.BULLET, "-*•·●○◆■▪"),
        (kernels.NUMERAL, "一二三四五六七八九十"),
        (kernels.ABOVE, "上右"),
        (kernels.PREPARED, "件各为作锉捣药咀剉末"),
        (kernels.ODD, "<\u0130\u0131"),  # tags; what regular expressions take for an i of .GIF
        (kernels.ALPHANUMERIC, string.ascii_letters),
        (kernels.SPECIAL, "\n \\TSbjgBJG"),  # white space, and where `kernels` looks for residue
    ):
        signs[[ord(character) for character in members]] |= bit
    signs[0x3400:0xA000] |= kernels.HAN
    codes = np.array([*range(0x3400), *range(0xA000, 0xAC00), *range(0xF900, 0x10000)])
    text = characters(codes.tolist())
    signs[codes[says(str.isspace, text)]] |= kernels.BLANK
    signs[codes[says(str.isdecimal, text)]] |= kernels.DIGIT | kernels.ALPHANUMERIC
    # May have to be composed with what stands before it, or is itself another character in NFC.
    signs[codes[(categories(text).astype("S1") == b"M") | ~is_own_nfc(text)]] |= kernels.ODD
    signs[0x1100:0x1200] |= kernels.ODD  # Hangul in parts
    signs[0xD800:0xE000] |= kernels.ODD
    signs[(becomes != np.arange(0x10000)) | (signs & kernels.ODD > 0)] |= kernels.SPECIAL
    return becomes, signs


def _raised_or_lowered(found: re.Match[str]) -> str:
    return superscript(found[2]) if found[1].lower() == "sup" else subscript(found[2])


def join_wrapped(text: str) -> str:
    """Join lines that were cut by their width, keeping paragraphs, lists, tables and verse.

    A line goes on when it is long and ends without a full stop, when it ends in a comma or an opening bracket, or when
    it is the short remainder of a line that went on.

    >>> join_wrapped("夫风者百病之长也其中人也轻重不同故圣人避风如避矢石焉而世人\\n不知。\\n次段。")
    '夫风者百病之长也其中人也轻重不同故圣人避风如避矢石焉而世人不知。\\n次段。'
    """
    lines = text.split("\n")
    if len(lines) == 1:
        return text
    joined = [lines[0]]
    went_on = False
    for previous, line in pairwise(lines):
        went_on = _goes_on(previous, line, went_on)
        if went_on:
            before = joined[-1]
            space = (before[-1:].isascii() and line[:1].isascii() and before[-1:] != "-") or before[-1:] == "）"
            joined[-1] = f"{before} {line}" if space else before + line
        else:
            joined.append(line)
    return "\n".join(joined)


def _goes_on(line: str, following: str, went_on: bool) -> bool:
    if not line or not following:
        return False
    last = line[-1]
    if (last in _SENTENCE_END and last not in "）)") or _OWN_LINE.match(following) or _is_next(line, following):
        return False
    if last in _GOES_ON:
        return not line.startswith("|")
    chinese = bool(_HAN.search(line))
    if last in "）)" and (chinese or len(line) <= _ORPHAN):
        # 川芎 人参（各二钱）: a list of drugs goes on
        return len(line) >= _WRAPPED_HAN and line.count(" ") > 2 and " | " not in line
    if len(line) <= _ORPHAN:
        return went_on
    width = _WRAPPED_HAN if chinese else _WRAPPED_LATIN
    if len(line) < width or " | " in line or line[0] in "|#":
        return False
    return " " in line or not _HERBS.match(following)


def _is_next(line: str, following: str) -> bool:
    """Whether a line is an option without a mark, the first or the next one: «A 肺炎» and «B 肺癌», not «B 超»."""
    if not _BARE_OPTION.match(following):
        return False
    return following[0] == "A" or ord(line[0]) == ord(following[0]) - 1
