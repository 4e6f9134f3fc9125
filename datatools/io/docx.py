"""Word documents: body in order, heading styles become sections, tables lines of `a | b`."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import docx
from docx.table import Table

from datatools.io.outline import Block, Heading, documents, file_title, only_top_heading, sections, tidy_heading
from datatools.io.scripts import subscript, superscript
from datatools.io.source import Read, ReadOptions, Source
from schemas.document import Document

HEADING_STYLE = re.compile(r"(?:heading|标题|標題)\s*(\d)", re.I)
LIST_STYLE = re.compile(r"list|列表|项目符号", re.I)


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """One Document per section that has text; `offset` counts characters of the extracted text."""
    word = docx.Document(io.BytesIO(source.read()))
    found = list(placed(word))
    stated = next((tidy_heading(p.text) for p in word.paragraphs if style(p) == "Title" and p.text.strip()), "")
    title = stated or tidy_heading(word.core_properties.title or "") or only_top_heading(found)
    base = Document("", source.name, source_type="book")
    yield from documents(sections(found, between="\n"), title or file_title(source.name), base)


def placed(word: Any) -> Iterator[Heading | Block]:
    """Headings and paragraphs in order, each paragraph with its place in the extracted text."""
    place = 0
    for item in word.iter_inner_content():
        part = Block(table(item), place) if isinstance(item, Table) else paragraph(item, place)
        if isinstance(part, Heading) or part.text.strip():
            yield part
            place += len(part.title if isinstance(part, Heading) else part.text) + 1


def paragraph(item: Any, place: int) -> Heading | Block:
    """A paragraph as heading, list item or text."""
    text = "".join(map(run_text, item.runs)) if raised(item) else item.text
    if level := heading_level(item):
        return Heading(level, tidy_heading(text))
    if style(item) == "Title":
        return Block("", place)
    is_item = LIST_STYLE.search(style(item)) or item._p.xpath("./w:pPr/w:numPr")
    return Block(f"- {text.strip()}" if is_item and text.strip() else text.rstrip(), place)


def style(item: Any) -> str:
    """Name of a paragraph's style."""
    return str(item.style.name or "") if item.style is not None else ""


def heading_level(item: Any) -> int:
    """The level of a heading, from its style or its outline level; 0 for text."""
    if named := HEADING_STYLE.match(style(item)):
        return int(named[1])
    outline = item._p.xpath("./w:pPr/w:outlineLvl/@w:val")
    return int(outline[0]) + 1 if outline and int(outline[0]) < 9 and item.text.strip() else 0


def raised(item: Any) -> bool:
    """Whether a paragraph has raised or lowered characters."""
    return bool(item._p.xpath(".//w:vertAlign"))


def run_text(run: Any) -> str:
    """Text of a run; raised digits stay raised."""
    if run.font.superscript:
        return superscript(run.text)
    return subscript(run.text) if run.font.subscript else str(run.text)


def table(item: Table) -> str:
    """A table as lines of `a | b`; a merged cell counts once a row."""
    return "\n".join(row for row in map(table_row, item.rows) if row.strip(" |"))


def table_row(row: Any) -> str:
    """One row; python-docx gives a merged cell once for every column it spans."""
    cells: list[Any] = []
    for cell in row.cells:
        if not cells or cell._tc is not cells[-1]._tc:
            cells.append(cell)
    return " | ".join(" ".join(cell.text.split()) for cell in cells)
