"""From headings and paragraphs, in order, to one Document per leaf section: shared by every format with headings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from datatools.io.pieces import LONGEST_TEXT
from schemas.document import Document


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading and its level: 1 is the outermost."""

    level: int
    title: str


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, list or table as text, and where it starts (characters of the source)."""

    text: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Section:
    """The text below one heading, up to the next."""

    path: tuple[str, ...]
    text: str
    offset: int


def sections(parts: Iterable[Heading | Block], between: str = "\n\n") -> Iterator[Section]:
    """The text below each heading, with the path of headings that leads to it; headings without text give none."""
    stack: list[Heading] = []
    blocks: list[Block] = []
    size = 0
    for part in parts:
        # A section longer than any document may be is not kept together: its blocks would be held twice.
        if blocks and (isinstance(part, Heading) or size + len(part.text) > LONGEST_TEXT):
            yield section(stack, blocks, between)
            blocks, size = [], 0
        if isinstance(part, Block):
            blocks.append(part)
            size += len(part.text)
            continue
        stack = [heading for heading in stack if heading.level < part.level]
        stack.append(part)
    if blocks:
        yield section(stack, blocks, between)


def section(stack: list[Heading], blocks: list[Block], between: str) -> Section:
    """One Section out of the headings above it and its blocks."""
    path = tuple(heading.title for heading in stack if heading.title)
    return Section(path, between.join(block.text for block in blocks), blocks[0].offset)


def documents(found: Iterable[Section], title: str, base: Document) -> Iterator[Document]:
    """A Document for each Section, the rest as in `base`; the title is left out of the heading path."""
    for one in found:
        path = one.path[1:] if one.path and one.path[0] == title else one.path
        if one.text.strip():
            yield Document(
                one.text,
                base.source,
                offset=one.offset,
                title=title,
                section=path,
                language=base.language,
                source_type=base.source_type,
                license=base.license,
                meta=dict(base.meta),
            )


def only_top_heading(parts: Iterable[Heading | Block]) -> str:
    """The title of the single outermost heading that everything else stands below; empty where there is no such one."""
    headings = [part for part in parts if isinstance(part, Heading)]
    if not headings:
        return ""
    top = min(heading.level for heading in headings)
    outermost = [heading.title for heading in headings if heading.level == top]
    return outermost[0] if len(outermost) == 1 and headings[0].level == top else ""


def file_title(name: str) -> str:
    """A title out of a file's name: without folders, extension and leading number.

    >>> file_title("books/055-太平圣惠方.txt")
    '太平圣惠方'
    >>> file_title("700.李培生老中医经验集.txt")
    '李培生老中医经验集'
    """
    stem = PurePosixPath(name.rpartition("!")[2]).name
    stem = re.sub(r"(\.(tar|txt|text|md|markdown|x?html?|tex|xml|pdf|docx|gz|zst))+(~\d+)?$", "", stem, flags=re.I)
    return re.sub(r"^\d{1,4}\s*[-_.、]\s*(?=\D)", "", stem).strip() or stem


def tidy_heading(title: str) -> str:
    """A heading on one line, without white space around it or between characters set apart.

    >>> tidy_heading(" 心 理 治 疗\\n"), tidy_heading("第一章　绪论")
    ('心理治疗', '第一章 绪论')
    """
    words = title.split()
    return ("" if all(len(word) == 1 and word >= "\u4e00" for word in words) else " ").join(words)
