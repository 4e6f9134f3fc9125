"""Which encoding a text is in, told from its bytes, and the text itself.

The ladder: byte order mark → strict UTF-8 → UTF-8 with a few broken bytes → the most plausible of the declared
encoding, GB18030, Big5, UTF-16 and Western → chardet on a sample → GB18030. Bytes that mean nothing become U+FFFD, one
for one, and are counted; only bytes that are no text at all are refused.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache

SAMPLE = 8_192  # bytes that are judged: enough for any of the decisions below, and costs a millisecond
MENDED_LINES = (
    50  # broken lines a file that are mended with care (up to 0.1 s each), and the longest such line in bytes
)
LONGEST_MENDED = 600

MARKS = (  # the longer mark first: UTF-32 LE begins like UTF-16 LE
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)

# What every Chinese text is full of, simplified and traditional; what mistaken decodings hardly ever hit.
FREQUENT = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然"
    "家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心本前开但因只从想实日军者意无力它与长把机"
    "十民第公此已工使情明性知全三又关点正业外将两高间由问很最重并物手应向头文体相见被利什二等产或新己制身果加西斯月话"
    "病治气药血热症痛汤脉寒阴阳伤服水食虚毒痰脏肝肾脾胃肺患者疗医诊内科炎细胞疾"
    "這個們來為國說時會對過發後種經學現當沒動還進樣開從實無長與關點業將兩間問並應頭體見產氣藥熱證湯脈陰陽傷髒腎"
    "療醫診論黃處補飲腸風濕調則於虛惡煩滿條"
    "，。、；：！？（）《》“”‘’「」『』【】〔〕—…·∶○①②③④⑤　"
)
LATIN_LETTERS = re.compile("[a-zA-Z][\u00c0-\u00ff]|[\u00c0-\u00ff][a-zA-Z]")
LONG_SEQUENCES = re.compile("[\u0800-\ufffc\ufffe-\U0010ffff]+")  # three bytes and four in UTF-8
LATIN_SIGNS = re.compile("(?<![\u0080-\u00ff])[“”‘’–—…°µ±·×§©®«»£€\u00a0](?![\u0080-\u00ff])")
CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
GB_NAMES = {"gb2312", "gbk", "gb18030", "gb_2312-80", "x-gbk", "cp936", "ms936", "euc-cn", "hz-gb-2312"}
BIG5_NAMES = {"big5", "big5-hkscs", "big5hkscs", "cp950", "x-x-big5"}
LATIN_NAMES = {"iso-8859-1", "latin1", "latin-1", "windows-1252", "cp1252", "us-ascii", "ascii", "iso-8859-15"}


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text, the encoding it was in, and how many of its bytes could not be decoded."""

    text: str
    encoding: str
    undecodable: int = 0


def decode(data: bytes, declared: str | None = None) -> Decoded:
    """Decode the bytes of a text file; line ends become `\\n`, NULs and byte order marks inside are dropped.

    `declared` is what the file says about itself (an HTML meta tag, an HTTP header); it is believed as far as the bytes
    bear it out. Raises ValueError where the bytes are not text.
    """
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return decode_as(data[len(mark) :], encoding)
    head = data[:SAMPLE]
    binary = is_binary(head)
    if (binary or b"\0" in head) and (wide := plausible_utf16(head)):
        return decode_as(data, wide)
    if binary:
        raise ValueError("not text: full of control characters")
    try:
        return Decoded(tidy(data.decode("utf-8"), data), "utf-8")
    except UnicodeDecodeError as error:
        return decode_as(data, guess(data, error.start, declared))


def decode_as(data: bytes, encoding: str) -> Decoded:
    """Decode with one encoding, counting the bytes that mean nothing in it."""
    codec = "big5hkscs" if encoding == "big5" else encoding
    try:
        return Decoded(tidy(data.decode(codec), data), encoding)
    except UnicodeDecodeError:
        mend = codec in ("gb18030", "big5hkscs")
        text = mended(data, codec) if mend else data.decode(codec, "datatools.resume")
        genuine = data.count("\ufffd".encode(codec)) if codec.startswith(("utf", "gb")) else 0
        return Decoded(tidy(text, data), encoding, text.count("\ufffd") - genuine)


def mended(data: bytes, codec: str) -> str:
    """Text in pairs of bytes, each broken line read in the way that makes the most sense."""
    lines = []
    tries = MENDED_LINES
    for line in data.split(b"\n"):
        try:
            lines.append(line.decode(codec))
        except UnicodeDecodeError:
            lines.append(mended_line(line, codec) if tries > 0 else line.decode(codec, "datatools.resume"))
            tries -= 1
    return "\n".join(lines)


def mended_line(line: bytes, codec: str) -> str:
    """The line less the bytes that put all others out of step, if there are such bytes.

    Where a byte was lost or came in, the pairs after it are wrong but valid; the fault shows only at the line's end.
    """
    if len(line) > LONGEST_MENDED:
        return line.decode(codec, "datatools.resume")
    ways = [(sum(map(weight, line.decode(codec, "replace"))), 0, 0)]
    so_far, place = 0.0, 0
    for character in line.decode(codec, "replace"):
        for skipped in (1, 2, 3):  # a byte was lost, replaced, or came in
            rest = line[place + skipped :].decode(codec, "replace")
            ways.append((so_far - skipped + sum(map(weight, rest)), -place, -skipped))
        if character == "\ufffd":
            break
        so_far += weight(character)
        place += len(character.encode(codec))
    place, skipped = (-number for number in max(ways)[1:])
    rest = line[place + skipped :].decode(codec, "datatools.resume")
    return line[:place].decode(codec) + "\ufffd" * min(skipped, len(line) - place) + rest


def tidy(text: str, data: bytes) -> str:
    """One kind of line end, no NULs, no byte order marks. `data` is looked into first: it is quicker to search."""
    if b"\r" in data:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if b"\0" in data:
        text = text.replace("\0", "")
    return text.replace("\ufeff", "") if "\ufeff" in text else text


def is_binary(head: bytes) -> bool:
    """Whether the beginning of a file is full of control characters, as no text is."""
    return len(CONTROLS.findall(head)) > max(2, len(head) // 50)


def is_text(head: bytes) -> bool:
    """Whether the beginning of a file of unknown type reads as text, give or take a broken byte and its cut end."""
    try:
        decoded = decode(head)
    except ValueError:
        return False
    return decoded.undecodable <= 3 + len(head) // 200 and "\0" not in decoded.text


def guess(data: bytes, first_bad: int, declared: str | None) -> str:
    """The most plausible encoding of bytes that are not valid UTF-8 from `first_bad` on."""
    sample = telling_sample(data, first_bad)
    if mostly_utf8(sample):
        return "utf-8"
    scores = {"gb18030": plausibility(sample, "gb18030")}
    name = canonical(declared)
    if scores["gb18030"] > 0.75 and len(sample) > 100 and name in ("", "gb18030"):
        return "gb18030"  # nearly always; the rest would cost more than the decoding of a short file
    scores |= {encoding: plausibility(sample, encoding) for encoding in ("big5", "cp1252")}
    scores |= {encoding: plausibility(data[:SAMPLE], encoding) for encoding in ("utf-16-le", "utf-16-be")}
    if name in scores:
        scores[name] += 0.15  # a tie-breaker, no more: pages lie about their encoding
    elif name and max(scores.values()) < 0.75 and decodes(data, name):
        return name
    best = max(scores, key=lambda encoding: scores[encoding])
    if scores[best] >= 0.5:
        return best
    return detected(sample) or ("big5" if scores["big5"] > scores["gb18030"] else "gb18030")


def telling_sample(data: bytes, first_bad: int) -> bytes:
    """Bytes around the first that are not UTF-8, from where a character starts."""
    earliest = max(0, first_bad - SAMPLE // 2)
    if earliest == 0:
        return data[:SAMPLE]
    # What lies before is valid UTF-8. An ASCII sign that is no second byte in GB18030 or Big5 ends a character in any.
    sign = re.search(rb"[\t\n -/:-?]", data[earliest:first_bad])
    start = earliest + sign.end() if sign else first_bad
    return data[start : start + SAMPLE]


def mostly_utf8(sample: bytes) -> bool:
    """Whether this is UTF-8 with broken bytes: in GB18030 or Big5 text valid UTF-8 sequences are rare accidents."""
    text = sample.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    good = len(text) - bad - len(text.encode("ascii", "ignore"))
    long_sequences = sum(map(len, LONG_SEQUENCES.findall(text)))
    return (good > 2 * bad and (long_sequences > bad or bad <= 1 < long_sequences)) or (good > 10 * bad and good > 1)


def plausible_utf16(head: bytes) -> str | None:
    """UTF-16 without a mark, told from what it says."""
    scores = {encoding: plausibility(head, encoding) for encoding in ("utf-16-le", "utf-16-be")}
    best = max(scores, key=lambda encoding: scores[encoding])
    return best if scores[best] >= 0.5 else None


def plausibility(sample: bytes, encoding: str) -> float:
    """How much the characters beyond ASCII look like text in this encoding, from below 0 to 1."""
    codec = "big5hkscs" if encoding == "big5" else encoding
    if encoding.startswith("utf-16"):
        sample = sample[: len(sample) // 2 * 2]
    text = sample.decode(codec, "replace")
    wide = encoding.startswith("utf-16")  # where ASCII characters are evidence too: other bytes seldom make them
    beyond = {character: number for character, number in Counter(text).items() if wide or character > "\x7f"}
    total = sum(beyond.values())
    if not total:
        return 0.0
    if encoding == "cp1252":
        return min(1.0, (len(LATIN_LETTERS.findall(text)) + len(LATIN_SIGNS.findall(text))) / total)
    return sum(weight(character) * number for character, number in beyond.items()) / total


@cache
def weight(character: str) -> float:
    """1 for what every Chinese text is full of, less for common characters, below 0 for what no text holds."""
    if character in FREQUENT:
        return 1.0
    if " " <= character <= "\x7e" or character in common_characters():
        return 0.6
    if "\ue000" <= character <= "\uf8ff" or character == "\ufffd" or not character.isprintable():
        return 0.0 if character in "\n\r\t" else -1.0
    return 0.0


@cache
def common_characters() -> frozenset[str]:
    """The first levels of GB 2312 and of Big5: the characters in common use, and full-width signs."""
    trails = range(0xA1, 0xFF)
    simplified = (bytes((lead, trail)) for lead in (0xA1, 0xA3, *range(0xB0, 0xD8)) for trail in trails)
    traditional = (bytes((lead, trail)) for lead in range(0xA4, 0xC7) for trail in (*range(0x40, 0x7F), *trails))
    both = [pair.decode("gb2312", "ignore") for pair in simplified]
    both += [pair.decode("big5", "ignore") for pair in traditional]
    return frozenset(character for character in both if character)


def canonical(declared: str | None) -> str:
    """Our name for a declared encoding; empty for none, unknown names and UTF-8 (which was tried already)."""
    name = (declared or "").strip().strip("\"'").lower()
    if name in GB_NAMES:
        return "gb18030"
    if name in BIG5_NAMES:
        return "big5"
    if name in LATIN_NAMES:
        return "cp1252"
    try:
        return "" if codecs.lookup(name).name in ("utf-8", "utf-16", "utf-32") else codecs.lookup(name).name
    except LookupError:
        return ""


def decodes(data: bytes, encoding: str) -> bool:
    """Whether these bytes are text in this encoding, without a fault."""
    try:
        data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return False
    return True


def detected(sample: bytes) -> str | None:
    """What chardet says of a sample that is neither Chinese nor Western, where it is sure."""
    import chardet

    found = chardet.detect(sample)
    name = canonical(found["encoding"])
    return name if name and (found["confidence"] or 0) >= 0.5 and decodes(sample[: len(sample) // 2], name) else None


def resume(error: UnicodeError) -> tuple[str, int]:
    """Stand U+FFFD for each bad byte and go on where the text makes more sense.

    In GB18030 and Big5 one lost byte makes every later pair of its line wrong; trying the next byte too puts the pairs
    right again.
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    stops = [max(error.end, error.start + 1)]
    if error.encoding in ("gb18030", "big5hkscs") and error.start + 2 < len(error.object):
        first = stops[0] if error.object[error.start] in (0x80, 0xFF) else error.start + 1
        stops = [first, first + 1]
    stop = max(stops, key=lambda place: sense(error.object[place : place + 40], error.encoding))
    return "\ufffd" * (stop - error.start), stop


def sense(data: bytes, encoding: str) -> float:
    """How plausible the next characters are; a broken one among them counts against it."""
    text = data.decode(encoding, "replace")[:12]
    return sum(map(weight, text)) / (len(text) or 1)


codecs.register_error("datatools.resume", resume)
