"""Mojibake: text whose bytes were decoded by the wrong table, decoded again by the right one.

Undone are UTF-8 read as Mac-Roman, Latin-1 or CP1252, once or several times over, and GB18030 read as Latin-1 or
CP1252. A line is repaired as a whole or left alone: all its characters must go back to bytes, the bytes must decode
strictly, and what comes out must be characters that people write. The other way round (GB18030 read as UTF-8) loses
bytes and cannot be undone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.clean.columns import buffers, replaced

TIMES = 3  # how often a text may have been decoded wrongly

_MAC = bytes(range(256)).decode("mac_roman")
# Browsers and most programs read bytes that CP1252 leaves open as Latin-1, so one table undoes both.
_CP1252 = "".join(bytes([code]).decode("cp1252", "ignore") or chr(code) for code in range(256))
_TO_LATIN_1 = {ord(sign): code for code, sign in enumerate(_CP1252) if ord(sign) != code}


_MAC_SIGN, _WEST_SIGN, _GB_SIGN = 1, 2, 4  # what a character may be the first, and the next, byte of
# Mac-Roman shows é as √©, ° as ¬∞ and β as Œ≤: the lead bytes that bring no letter from À to ÿ with them.
_OTHER_LEADS = "√¬Œœ"

# What a repaired line may hold beside ASCII. Armenian, Hebrew or Arabic out of it is l’école misread, not the truth.
_WRITTEN = re.compile(
    "[\t\n\r\x20-\x7e\u00a0-\u017f\u01cd-\u01dc\u0391-\u03c9\u0410-\u0451\u2002-\u2060\u2070-\u20bf\u2100-\u27bf"
    "\u2900-\u2bff\u3000-\u30ff\u3200-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\ue000-\uf8ff\uf900-\ufaff\ufe00-\ufe0f"
    "\ufe30-\ufe4f\ufeff\uff01-\uffee\U0001f000-\U0001faff\U00020000-\U000323af]*"
)
_CYRILLIC = "\u0410-\u0451"
_LONE_CYRILLIC = re.compile(f"(?<![{_CYRILLIC}])[{_CYRILLIC}](?![{_CYRILLIC}])")  # `dit—école` read as Mac-Roman
_CJK = re.compile("[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
_SURE = re.compile("[\u00a0-\u00ff\u0391-\u03c9\u2010-\u27bf\u3000-\u3020\ufe0f\uff00-\uffef\U0001f000-\U0001faff]")
_MATHS = re.compile("√[π∏∑∞]")  # ù ø ÷ ð if it is mojibake, and ordinary mathematics if it is not
_GB_RUN = re.compile("[^\x00-\x7f]+")
_C1 = re.compile("[\x80-\x9f]")

# Frequent characters of modern Chinese and of medicine: half of running text, modern or classical, and one in thirty of
# all of GB 2312, which is what other alphabets give when their bytes are read as it.
_COMMON = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方"
    "多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情"
    "明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给"
    "病症药患治疗血痛炎热量细胞感染者服脏肝肾肺胃脾心脑神气阴阳寒虚胀咳嗽发诊断检查医院临床反应疾急慢综合"
)


class _Repair(NamedTuple):
    text: str
    name: str
    sure: bool  # whether this line alone shows what happened


def repair(text: str) -> tuple[str, str]:
    """The text with its mojibake undone line by line, and what was undone; the text itself and "" for none.

    The name is the table the bytes were wrongly read by (`mac_roman`, `latin-1`, `cp1252`, `gb18030 as latin-1`),
    repeated with + for every time over; that of the first line repaired where lines differ. Lines that could also be
    right as they are (one `é »` of French is the bytes of 頻) are repaired only where another line leaves no doubt.

    >>> repair("‰∏≠Êñá")
    ('中文', 'mac_roman')
    >>> repair("Le café « à côté » où l’été dure 20 °C"), repair("血压“高”……")
    (('Le café « à côté » où l’été dure 20 °C', ''), ('血压“高”……', ''))
    """
    if text.isascii() or not _is_suspect(text) or not (suspects := _suspects(text)):
        return text, ""
    lines = text.split("\n")  # never splitlines: U+0085 is a continuation byte
    found = {number: undone for number in suspects if (undone := _utf8(lines[number]))}
    names = {undone.name for undone in found.values() if undone.sure}
    found = {number: undone for number, undone in found.items() if undone.name in names}
    left = [number for number in suspects if number not in found]
    found.update(_gb18030({number: lines[number] for number in left}))
    if not found:
        return text, ""
    for number, undone in found.items():
        lines[number] = undone.text
    return "\n".join(lines), found[min(found)].name


def repair_column(texts: pa.Array) -> tuple[pa.Array, dict[int, str]]:
    """`repair` of every string of a column without nulls: the column, and what was undone by row."""
    from datatools.clean import text_kernels as kernels

    suspect = np.empty(len(texts), np.bool_)
    kernels.accented(*buffers(texts), suspect)
    repaired: dict[int, str] = {}
    undone: dict[int, str] = {}
    for row in np.flatnonzero(suspect).tolist():
        text, name = repair(texts[row].as_py())
        if name:
            repaired[row], undone[row] = text, name
    return replaced(texts, repaired), undone


@cache
def _signs() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """For every UTF-16 unit the encodings that a pair of bytes may begin with, and go on with, where it stands."""
    first, following = np.zeros(0x10000, np.uint8), np.zeros(0x10000, np.uint8)
    for table, bit in ((_MAC, _MAC_SIGN), (_CP1252, _WEST_SIGN)):
        first[[ord(sign) for sign in table[0xC2:0xF5]]] |= bit
        following[[ord(sign) for sign in table[0x80:0xC0]]] |= bit
    following[0x80:0xA0] |= _WEST_SIGN
    first[0xA1:0xF8] |= _GB_SIGN
    following[0xA1:0xFF] |= _GB_SIGN
    return first, following


def _is_suspect(text: str) -> bool:
    """Whether a text holds À to ÿ, or what Mac-Roman shows instead: without, nothing was misread."""
    if any(sign in text for sign in _OTHER_LEADS):
        return True
    raw = text.encode("utf-8", "surrogatepass")
    return raw.count(b"\xc3") > raw.count(b"\xc3\x97")  # × is common in medicine


def _suspects(text: str) -> list[int]:
    """Numbers of the lines where two characters stand side by side as the bytes of one misread character do."""
    units = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), np.uint16)
    first, following = _signs()
    found = np.flatnonzero(first[units[:-1]] & following[units[1:]])
    return [int(line) for line in np.unique(np.searchsorted(np.flatnonzero(units == 10), found))] if len(found) else []


def _western_bytes(text: str) -> bytes:
    """The bytes that Latin-1 or CP1252 shows as this text. Raises UnicodeEncodeError when there are none."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.translate(_TO_LATIN_1).encode("latin-1")


def _utf8(line: str, times: int = TIMES) -> _Repair | None:
    """The line as the UTF-8 it was; None when it never was or nobody would write what it says."""
    if not times or (times < TIMES and not _suspects(line)):
        return None
    for name in ("mac_roman", "cp1252"):
        try:
            once = (line.encode("mac_roman") if name == "mac_roman" else _western_bytes(line)).decode("utf-8")
        except UnicodeError:
            continue
        if name == "cp1252" and not any(ord(sign) in _TO_LATIN_1 for sign in line):
            name = "latin-1"
        again = _utf8(once, times - 1)
        if again:
            return _Repair(again.text, f"{name}+{again.name}", True)
        if _WRITTEN.fullmatch(once) and not _LONE_CYRILLIC.search(once):
            return _Repair(once, name, _is_sure(line, once))
    return None


def _is_sure(line: str, repaired: str) -> bool:
    """Whether the line cannot be right as it stands: too much came together, or nobody writes its signs in a row."""
    if len(_CJK.findall(repaired)) > 1 or _C1.search(line):
        return True
    sure = len(_SURE.findall(repaired))
    return sure > len(_MATHS.findall(line))


def _gb18030(lines: dict[int, str]) -> dict[int, _Repair]:
    """The lines that were GB18030, judged together: one short line of accents is too little to tell by."""
    found: dict[int, _Repair] = {}
    for number, line in lines.items():
        if not _looks_gb(line):
            continue
        try:
            text = _western_bytes(line).decode("gb18030")
        except UnicodeError:
            continue
        if _WRITTEN.fullmatch(text):
            name = "cp1252" if any(ord(sign) in _TO_LATIN_1 for sign in line) else "latin-1"
            found[number] = _Repair(text, f"gb18030 as {name}", True)
    return found if _is_chinese(undone.text for undone in found.values()) else {}


def _looks_gb(line: str) -> bool:
    """Whether accents stand in even runs, as bytes of GB2312 do; in words of any language they stand alone."""
    runs = [len(run) for run in _GB_RUN.findall(line)]
    even = sum(length for length in runs if length % 2 == 0)
    return bool(runs) and max(runs) >= 4 and even >= 0.7 * sum(runs)


def _is_chinese(texts: Iterable[str]) -> bool:
    han = [sign for text in texts for sign in _CJK.findall(text)]
    return len(han) >= 2 and sum(sign in _COMMON for sign in han) >= 0.2 * len(han)
