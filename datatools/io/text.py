"""Plain text: marked books (`<篇名>`, `<目录>`), text with numbered headings, and text without structure.

A Document's text is a slice of the decoded file, line breaks and all: `decoded[offset : offset + len(text)] == text`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as default
from itertools import pairwise
from typing import IO

from datatools.io.encoding import Decoded, decode
from datatools.io.jsonl import RESUME, codec, encoding_of
from datatools.io.outline import Heading, file_title, tidy_heading
from datatools.io.pieces import LONGEST_PARSED, cut
from datatools.io.source import Read, ReadOptions, Source
from schemas.document import Document

LONGEST_WHOLE = 64 << 20  # bytes; above every book, and quick to hold

MARK = re.compile(r"<(篇名|目录)>([^\n]*)\n?")
BOOK_FIELDS = {"书名": "title", "作者": "author", "朝代": "dynasty", "年份": "year"}
BOOK_FIELD = re.compile(r"\s*(书名|作者|朝代|年份)：([^\n]*)\n?")
LABEL = re.compile(r"\s*(?:内容|属性)：")

NUMERAL = "[0-9０-９一二三四五六七八九十百千零〇○两]{1,6}"
# Chinese headings from the outermost to the innermost kind. Strong ones say what they are (第三章); a number alone is
# as often an item of a list, and counts only on the conditions of `weak_headings`.
STRONG = (
    re.compile(f"第{NUMERAL}[编篇部卷集](?![0-9０-９，、。之]).*|卷(?:{NUMERAL}|[上中下首末])(?![0-9０-９，、。]).*"),
    re.compile(f"第{NUMERAL}[章回讲](?![，、。]).*"),
    re.compile(f"第{NUMERAL}节(?![，、。]).*"),
)
WEAK = (
    re.compile(r"[一二三四五六七八九十]{1,3}[、．.]\s*\S.*"),
    re.compile(r"[（(][一二三四五六七八九十]{1,3}[)）]\s*\S.*"),
    re.compile(r"[0-9０-９]{1,2}\s*[.．、](?!\d)\s*\S.*"),
    re.compile(r"[（(][0-9０-９]{1,2}[)）]\s*\S.*"),
)
FIRST = re.compile(r"[（(]?(?:[一二12１２]|\d\.)(?![0-9０-９一二三四五六七八九十])")
ENGLISH = re.compile(
    r"(?:(?:Chapter|CHAPTER|Part|PART|Section|SECTION) (?:\d{1,3}|[IVXLC]+)\b|\d{1,2}(?:\.\d{1,2})+ [A-Z]).*"
)
CANDIDATE = re.compile(
    r"^[ \t\u3000]*(?=[第卷（(0-9０-９一二三四五六七八九十]|Chap|CHAP|Part|PART|Sect|SECT)"
    r"([^\n]{1,90}?)[ \t\u3000]*$",
    re.M,
)
LONGEST = {"strong": 40, "weak": 30}  # characters of a Chinese heading
SENTENCE = re.compile("[。；;！!，,]")
FIRST_LINE = re.compile(r"\S[^\n]*")
ENDS = ("。", "；", "：", "！", "？", ".", ";", ":", "!", "?", "”", "’", "）", ")")


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """One Document per leaf section; the whole file as one where it has no structure.

    A file of more than LONGEST_WHOLE bytes is read in blocks: a section that goes on in the next comes as two.
    """
    data = source.beginning(LONGEST_WHOLE + 1)
    if len(data) > LONGEST_WHOLE:
        del data
        return in_blocks(source)
    decoded = decode(data)
    return texts(decoded.text, source.name, Book(file_title(source.name), encoding_meta(decoded)))


def in_blocks(source: Source) -> Iterator[Document]:
    """Documents of a file that is never in memory as a whole."""
    encoding = encoding_of(source)
    book = Book(file_title(source.name), {} if encoding == "utf-8" else {"encoding": encoding})
    with source.open() as stream:
        for start, text in blocks(io.TextIOWrapper(stream, codec(encoding), errors=RESUME)):
            broken = {"undecodable": count} if (count := text.count("\ufffd")) else {}
            for document in texts(text, source.name, book):
                document.offset += start
                document.meta = document.meta | broken
                yield document


def blocks(stream: IO[str]) -> Iterator[tuple[int, str]]:
    """The text in parts that end with a section, paragraph or sentence, each with its place."""
    start, text = 0, ""
    while more := stream.read(LONGEST_PARSED):
        text += more.replace("\0", "").replace("\ufeff", "")
        if len(text) >= LONGEST_PARSED:
            stop = last_section(text, LONGEST_PARSED // 2) or cut(text, LONGEST_PARSED // 2, len(text))
            yield start, text[:stop]
            start, text = start + stop, text[stop:]
    if text:
        yield start, text


def last_section(text: str, earliest: int) -> int:
    """Where the last section that begins after `earliest` does: at a mark, or a heading that says what it is; or 0."""
    if mark := text.rfind("\n<", earliest) + 1:
        return mark
    lines = (as_candidate(match) for match in CANDIDATE.finditer(text, earliest))
    return max((line.start for line in lines if line and line.level < len(STRONG)), default=0)


def texts(text: str, name: str, book: Book) -> Iterator[Document]:
    """The sections of a text, below the headings that stand open in the book."""
    if book.is_marked is None:
        book.is_marked = MARK.search(text) is not None
    return marked(text, name, book) if book.is_marked else plain(text, name, book)


def encoding_meta(decoded: Decoded) -> dict[str, object]:
    """What a Document's meta says of its encoding: nothing for sound UTF-8."""
    meta: dict[str, object] = {} if decoded.encoding == "utf-8" else {"encoding": decoded.encoding}
    return meta | {"undecodable": decoded.undecodable} if decoded.undecodable else meta


@dataclass(slots=True)
class Book:
    """What the head of a marked book says about it."""

    title: str
    meta: dict[str, object]
    is_marked: bool | None = None  # not known before the text is seen
    path: tuple[str, ...] = ()  # marked: the last <目录>
    heading: str = ""  # marked: the last <篇名>
    stack: list[Heading] = default(default_factory=list)  # not marked: the headings above where we are


def marked(text: str, name: str, book: Book) -> Iterator[Document]:
    """Sections of a book in which `<目录>` lines give the heading path and `<篇名>` lines the heading below it."""
    start = 0
    for mark in MARK.finditer(text):
        if mark.start() and text[mark.start() - 1] != "\n":
            continue  # within a sentence it is no mark
        yield from book_section(text, start, mark.start(), (*book.path, book.heading), book, name)
        kind, words = mark.groups()
        start = mark.end()
        if kind == "目录":
            book.path, book.heading = tuple(map(tidy_heading, words.split("\\"))), ""
        elif BOOK_FIELD.match(text, start):
            book.path, book.heading, start = (), "", book_head(text, start, tidy_heading(words), book)
        else:
            book.heading = tidy_heading(words)
    yield from book_section(text, start, len(text), (*book.path, book.heading), book, name)


def book_head(text: str, start: int, named: str, book: Book) -> int:
    """Take title, author, dynasty and year from the lines at `start` into the book; where they end."""
    book.title = named or book.title
    while field := BOOK_FIELD.match(text, start):
        key, value = BOOK_FIELDS[field[1]], field[2].strip().rstrip("。")
        if key == "title":
            book.title = value or book.title
        elif value:
            book.meta = book.meta | {key: value}
        start = field.end()
    return start


def book_section(
    text: str, start: int, stop: int, headings: tuple[str, ...], book: Book, name: str
) -> Iterator[Document]:
    """The Document between two marks, where there is text."""
    if label := LABEL.match(text, start, stop):
        start = label.end()
    path = [heading for number, heading in enumerate(headings) if heading and heading not in headings[:number][-1:]]
    if path and path[0] == book.title:
        path = path[1:]
    yield from slice_document(text, start, stop, name, book.title, tuple(path), "book", book.meta)


def slice_document(
    text: str,
    start: int,
    stop: int,
    name: str,
    title: str,
    section: tuple[str, ...],
    source_type: str,
    meta: dict[str, object],
) -> Iterator[Document]:
    """The text between two places without white space around it; nothing where that is all there is."""
    body = text[start:stop]
    stripped = body.lstrip()
    if stripped:
        offset = stop - len(stripped)
        yield Document(stripped.rstrip(), name, offset, title, section, source_type=source_type, meta=dict(meta))


def plain(text: str, name: str, book: Book) -> Iterator[Document]:
    """Sections below numbered headings, or the whole text as one."""
    start = 0
    for found in headings(text):
        path = tuple(heading.title for heading in book.stack)
        yield from slice_document(text, start, found.start, name, book.title, path, "other", book.meta)
        book.stack = [heading for heading in book.stack if heading.level < found.level]
        book.stack.append(Heading(found.level, found.title))
        start = found.stop
    path = tuple(heading.title for heading in book.stack)
    yield from slice_document(text, start, len(text), name, book.title, path, "other", book.meta)


@dataclass(slots=True)
class Line:
    """A line that may be a heading: its place, its kind (0 is the outermost) and what it says."""

    start: int
    stop: int
    level: int
    title: str


def headings(text: str) -> list[Line]:
    """The lines that are headings, in order: those that stand above a deeper heading or above text of their own.

    What fails here stays in the text, so nothing is lost with a table of contents or a numbered list.
    """
    candidates = [line for match in CANDIDATE.finditer(text) if (line := as_candidate(match))]
    possible = without_lists(text, candidates)
    last_place = {(line.level, line.title): line.start for line in possible}
    accepted: list[Line] = []
    for line in reversed(possible):
        if line.level <= 1 and last_place[line.level, line.title] != line.start:
            continue  # it comes again below: this is the table of contents
        following = accepted[-1] if accepted else None
        below = FIRST_LINE.search(text, line.stop, following.start if following else len(text))
        if below is None:
            stands = following is not None and following.level > line.level
        else:
            stands = line.level < len(STRONG) or introduces(below[0].rstrip())
        if stands:
            accepted.append(line)
    return from_one(accepted[::-1])


def from_one(accepted: list[Line]) -> list[Line]:
    """The headings less the numbers that begin in the middle: `五、…` with no `一、` before it is an item."""
    kept: list[Line] = []
    open_levels: set[int] = set()
    for line in accepted:
        open_levels = {level for level in open_levels if level <= line.level}
        if line.level < len(STRONG) or line.level in open_levels or FIRST.match(line.title):
            kept.append(line)
            open_levels.add(line.level)
    return kept


def without_lists(text: str, candidates: list[Line]) -> list[Line]:
    """The candidates less the numbers that follow one another directly: those are a list."""
    listed = set()
    for line, after in pairwise(candidates):
        if line.level == after.level >= len(STRONG) and not text[line.stop : after.start].strip():
            listed |= {line.start, after.start}
    return [line for line in candidates if line.start not in listed]


def introduces(below: str) -> bool:
    """Whether the line below a numbered line is a paragraph, and not the next short item."""
    return len(below) >= 15 or below.endswith(ENDS)


def as_candidate(match: re.Match[str]) -> Line | None:
    """The line as a possible heading, or None where its words rule that out."""
    words = match[1]
    for level, pattern in enumerate(STRONG):
        if pattern.fullmatch(words):
            fits = len(words) <= LONGEST["strong"] and not SENTENCE.search(words[:-1]) and words[-1] not in "；，、"
            return Line(match.start(), match.end(), level, tidy_heading(words)) if fits else None
    if ENGLISH.fullmatch(words):
        number = re.match(r"[\d.]+", words)
        level = 1 + (number[0].count(".") if number else 0)
        return Line(match.start(), match.end(), level, tidy_heading(words)) if words[-1] not in ".;,:" else None
    for kind, pattern in enumerate(WEAK):
        if pattern.fullmatch(words):
            fits = len(words) <= LONGEST["weak"] and not SENTENCE.search(words)
            return Line(match.start(), match.end(), len(STRONG) + kind, tidy_heading(words)) if fits else None
    return None
