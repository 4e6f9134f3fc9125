"""PDF: text page by page, lines that the layout wrapped joined, running heads and page numbers left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pypdfium2 as pdfium

from datatools.io.outline import Block, Heading, documents, file_title, sections, tidy_heading
from datatools.io.source import Fault, Read, ReadOptions, Source
from schemas.document import Document

PAGE_NUMBER = re.compile(
    r"(?:第\s*)?[-–—·•\s]*(?:page\s*)?(?:\d{1,4}|[ivxlc]{1,6})(?:\s*(?:/|of)\s*\d{1,4})?[-–—·•\s]*(?:页)?", re.I
)
HAN = "\u3000-\u303f\u4e00-\u9fff\uff00-\uffef\u2018-\u201d"
STOPS = ("。", "！", "？", ".", "!", "?", "：", ":", "；", ";")
MARGIN_LINES = 2  # lines at the top and at the bottom of a page that may be running heads


@dataclass(slots=True)
class Line:
    """One line of a page: its text and where it stands, in points."""

    text: str
    left: float
    right: float
    height: float


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """One Document per bookmarked section, or one for the file; `offset` counts characters of the extracted text."""
    file = pdfium.PdfDocument(source.read())
    try:
        pages = [list(page_lines(page)) for page in file]
        toc = [(entry.page_index, entry.level, entry.title) for entry in bookmarks(file)]
        title = tidy_heading(file.get_metadata_dict().get("Title") or "") or file_title(source.name)
    finally:
        file.close()
    if not any(re.search(r"\w", line.text) for lines in pages for line in lines):
        yield Fault(source.name, f"no text layer on any of {len(pages)} pages: a scan needs OCR first", "no_text_layer")
        return
    base = Document("", source.name, source_type="book")
    yield from documents(sections(parts(without_running_heads(pages), toc), between="\n"), title, base)


@dataclass(slots=True)
class Bookmark:
    """An entry of the outline."""

    page_index: int
    level: int
    title: str


def bookmarks(file: Any) -> Iterator[Bookmark]:
    """The file's outline, in order."""
    for entry in file.get_toc():
        target = entry.get_dest()
        page = target.get_index() if target is not None else None
        title = tidy_heading(entry.get_title())
        if page is not None and title:
            yield Bookmark(page, entry.level, title)


def page_lines(page: Any) -> Iterator[Line]:
    """The lines of a page, top to bottom as the file has them."""
    text_page = page.get_textpage()
    text = text_page.get_text_range()
    for found in re.finditer(r"[^\r\n\ufffe\u0002]*[\ufffe\u0002]?", text):
        words = found[0].replace("\ufffe", "-").replace("\x02", "-")
        if not words.strip():
            continue
        first = found.start() + len(words) - len(words.lstrip())
        last = found.start() + len(words.rstrip()) - 1
        if words.endswith("-") and found[0][-1] != "-":
            last = max(first, last - 1)
        box, end = text_page.get_charbox(first), text_page.get_charbox(last)
        yield Line(words.strip(), box[0], end[2], max(box[3] - box[1], end[3] - end[1]))


def without_running_heads(pages: list[list[Line]]) -> list[list[Line]]:
    """The pages less what most of them repeat at the top or bottom, and less their numbers."""
    seen = Counter(key for lines in pages for key in {pattern(line) for line in margins(lines)})
    often = max(3, len(pages) // 4)
    repeated = {key for key, number in seen.items() if number >= often}
    return [[line for place, line in enumerate(lines) if not is_running(line, place, len(lines), repeated, len(pages))]
            for lines in pages]  # fmt: skip


def margins(lines: Sequence[Line]) -> Sequence[Line]:
    """The first and last lines of a page."""
    return [*lines[:MARGIN_LINES], *lines[MARGIN_LINES:][-MARGIN_LINES:]]


def pattern(line: Line) -> str:
    """A line as it would read on every page: with its numbers taken out."""
    return re.sub(r"[\d\s]+", "", line.text)


def is_running(line: Line, place: int, lines: int, repeated: set[str], pages: int) -> bool:
    """Whether a line is a running head, or the number of the page."""
    if PAGE_NUMBER.fullmatch(line.text) and place in (0, lines - 1) and pages > 1:
        return True
    if MARGIN_LINES <= place < lines - MARGIN_LINES or lines == 1:
        return False
    return pattern(line) in repeated and bool(pattern(line))


def parts(pages: list[list[Line]], toc: list[tuple[int, int, str]]) -> Iterator[Heading | Block]:
    """Headings from the bookmarks, and paragraphs, each with its place in the extracted text."""
    place = 0
    carried = ""  # the end of a page whose last line was wrapped
    for number, lines in enumerate(pages):
        waiting = [(level, title) for page, level, title in toc if page == number]
        for is_heading, text, wrapped in page_parts(lines, waiting):
            if is_heading:
                if carried:
                    yield Block(carried, place)
                    place, carried = place + len(carried) + 1, ""
                yield Heading(int(wrapped), text)
                place += len(text) + 1
                continue
            carried = joined(carried, text) if carried else text
            if not wrapped:
                yield Block(carried, place)
                place, carried = place + len(carried) + 1, ""
    if carried:
        yield Block(carried, place)


def page_parts(lines: list[Line], waiting: list[tuple[int, str]]) -> Iterator[tuple[bool, str, int]]:
    """(is a heading, text, its level) and (no heading, paragraph, whether it goes on) of one page.

    A bookmark stands where the page says its title; one that is not found there stands at the top.
    """
    said = [compact(line.text) for line in lines]
    for level, title in waiting:
        if compact(title) not in said:
            yield True, title, level + 1
    levels = {compact(title): (level, title) for level, title in waiting}
    paragraph = ""
    edge = right_edge(lines)
    for number, line in enumerate(lines):
        if heading := levels.pop(said[number], None):
            if paragraph:
                yield False, paragraph, 0
                paragraph = ""
            yield True, heading[1], heading[0] + 1
            continue
        paragraph = joined(paragraph, line.text) if paragraph else line.text
        following = lines[number + 1] if number + 1 < len(lines) else None
        if following is None or not is_wrapped(line, following, edge):
            goes_on = following is None and is_full(line, edge) and not line.text.endswith(STOPS)
            yield False, paragraph, int(goes_on)
            paragraph = ""


def compact(text: str) -> str:
    """Text without white space, for comparison."""
    return "".join(text.split())


def right_edge(lines: list[Line]) -> float:
    """Where the page's lines end when they are full."""
    return max((line.right for line in lines), default=0.0)


def is_full(line: Line, edge: float) -> bool:
    """Whether a line reaches the right edge, give or take a character and a half."""
    return line.right >= edge - 1.5 * max(line.height, 6)


def is_wrapped(line: Line, following: Line, edge: float) -> bool:
    """Whether the next line goes on with this one: there was no room for its first word, and it is not indented."""
    word = re.match(rf"[{HAN}]|\S+", following.text)
    width = (following.right - following.left) / max(len(following.text), 1) * (len(word[0]) if word else 1)
    fits = line.right + width < edge - 0.5 * line.height
    indented = following.left > line.left + 1.5 * line.height
    other_size = abs(line.height - following.height) > 0.4 * max(line.height, following.height) and line.height > 14
    return not fits and not indented and not other_size


def joined(before: str, after: str) -> str:
    """Two lines as one: without the hyphen of a divided word, with a space unless Han characters meet."""
    if re.search(r"[A-Za-z]-$", before) and after[:1].islower():
        return before[:-1] + after
    if re.search(rf"[{HAN}]$", before) and re.match(rf"[{HAN}]", after):
        return before + after
    return f"{before} {after}"
