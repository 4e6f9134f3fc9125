"""LaTeX books: sectioning commands become sections, everything else readable text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from datatools.io.encoding import decode
from datatools.io.latextext import plain
from datatools.io.outline import Block, Heading, documents, file_title, only_top_heading, sections, tidy_heading
from datatools.io.source import Read, ReadOptions, Source
from datatools.io.text import encoding_meta
from schemas.document import Document

LEVELS = {
    name: level
    for level, name in enumerate(
        ("part", "chapter", "section", "subsection", "subsubsection", "paragraph", "subparagraph"), start=1
    )
}
COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%[^\n]*")
SECTIONING = re.compile(rf"\\({'|'.join(LEVELS)})\*?\s*(?:\[[^\]]*\])?\s*(?=\{{)")
BEGIN, END = r"\begin{document}", r"\end{document}"
VERBATIM = re.compile(r"\\begin\{(verbatim|lstlisting|minted)\}.*?\\end\{\1\}", re.S)


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """One Document per section that has text; `offset` is where it starts in the decoded file."""
    decoded = decode(source.read())
    text = COMMENT.sub(blank, decoded.text)
    start, stop = body(text)
    parts = list(blocks(text, start, stop))
    title = stated_title(text[:start]) or only_top_heading(parts) or file_title(source.name)
    base = Document("", source.name, source_type="book", meta=encoding_meta(decoded))
    return documents(sections(parts), title, base)


def blank(comment: re.Match[str]) -> str:
    """As many characters as the comment had, so that places stay right. A bare % is no comment sign any more."""
    return comment[1] + " " * (len(comment[0]) - len(comment[1]))


def body(text: str) -> tuple[int, int]:
    """Where the document's body begins and ends; a file with a preamble and no body has none."""
    begin = text.find(BEGIN)
    if begin < 0:
        return (len(text), len(text)) if re.search(r"\\documentclass\b", text) else (0, len(text))
    end = text.find(END, begin)
    return begin + len(BEGIN), end if end >= 0 else len(text)


def stated_title(preamble: str) -> str:
    """What `\\title{…}` says."""
    found = re.search(r"\\title\s*(?=\{)", preamble)
    return tidy_heading(plain(preamble[found.end() + 1 : closing(preamble, found.end())])) if found else ""


def blocks(text: str, start: int, stop: int) -> Iterator[Heading | Block]:
    """Headings, and the text between them."""
    verbatim = [(match.start(), match.end()) for match in VERBATIM.finditer(text)]
    for command in SECTIONING.finditer(text, start, stop):
        if command.start() < start or any(begin < command.start() < end for begin, end in verbatim):
            continue
        yield from block(text, start, command.start())
        start = closing(text, command.end()) + 1
        yield Heading(LEVELS[command[1]], tidy_heading(plain(text[command.end() + 1 : start - 1])))
    yield from block(text, start, stop)


def block(text: str, start: int, stop: int) -> Iterator[Block]:
    """The text between two headings as one block."""
    if words := plain(text[start:stop]):
        indent = len(text[start:stop]) - len(text[start:stop].lstrip())
        yield Block(words, start + indent)


def closing(text: str, opening: int) -> int:
    """The place of the brace that closes the one at `opening`, or the end of the text."""
    depth = 0
    for brace in re.compile(r"\\.|[{}]", re.S).finditer(text, opening):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return brace.start()
    return len(text)
