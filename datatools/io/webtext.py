"""Main text of a web page: trafilatura finds the article, our own reader says what is heading, list and table.

trafilatura never sees the page as it came: what is hidden, scripts and named furniture is taken out first, and raised
and lowered digits are written as such, because its output has no place for them (10⁹/L would become 109/L). Its own
dedupe stays off: it remembers pages it has seen in this process, and the sixth copy of one comes back empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from typing import Any

from lxml import etree
from lxml import html as lxml_html

from datatools.io.htmltext import HEADINGS, LAYOUT, flowed, is_dropped, list_items_joined, parts
from datatools.io.outline import Block, Heading, tidy_heading
from datatools.io.pieces import LONGEST_TEXT
from datatools.io.scripts import subscript, superscript

MIN_CHARACTERS = 200  # of main text: trafilatura guesses on less, and a short page has little around it to take out
MIN_SHARE = 0.25  # of the visible text: where it keeps less, it took an index or a form for the article


def main_text(page: str) -> str:
    """Main text of a decoded page: blocks apart by an empty line, headings on lines of their own, tables as `a | b`.

    A page without any element has none.
    """
    parser = lxml_html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    try:
        root = lxml_html.document_fromstring(page.encode("utf-8", "replace"), parser=parser)
    except etree.ParserError:
        return ""
    return "\n\n".join(part.title if isinstance(part, Heading) else part.text for part in main_parts(root))


def main_parts(page: Any) -> list[Heading | Block]:
    """Headings and blocks of the main text of an lxml page, in order; the page itself is not changed.

    Where trafilatura finds nothing, too little, or loses a table that the article holds, all visible text, as
    `datatools.io.htmltext.parts` gives it; of a page too long for an article too (trafilatura keeps a thousand
    paragraphs in memory, however long).
    """
    visible = list(list_items_joined(parts(page)))
    length = _length(visible)
    if not MIN_CHARACTERS <= length <= LONGEST_TEXT:
        return visible
    body = _extracted(_prepared(page))
    found = list(list_items_joined(_parts(body))) if body is not None else []
    enough = _length(found) >= max(MIN_CHARACTERS, MIN_SHARE * length)
    return found if enough and _tables(visible) <= _tables(found) else visible


def _length(found: list[Heading | Block]) -> int:
    return sum(len(part.text) for part in found if isinstance(part, Block))


def _tables(found: list[Heading | Block]) -> set[str]:
    """First rows of the tables, without white space, as a table looks in either reading."""
    tables = (part.text for part in found if isinstance(part, Block) and " | " in part.text and "\n" in part.text)
    return {"".join(line.split()) for text in tables for line in text.split("\n") if " | " in line}


def _prepared(page: Any) -> Any:
    copy = deepcopy(page)
    for element in list(copy.iter()):
        tag = element.tag if isinstance(element.tag, str) else ""
        if element.getparent() is None or tag in ("head", "body"):
            continue
        if is_dropped(element, tag):
            element.drop_tree()
        elif tag in ("sup", "sub") and len(element) == 0:
            element.text = (superscript if tag == "sup" else subscript)(element.text or "")
            element.drop_tag()
    return copy


@cache
def _config() -> Any:
    """trafilatura's settings, with its guess at pages without an article off: `main_parts` does better."""
    from trafilatura.settings import DEFAULT_CONFIG

    config = deepcopy(DEFAULT_CONFIG)
    config.set("DEFAULT", "MIN_EXTRACTED_SIZE", "1")
    config.set("DEFAULT", "EXTRACTION_TIMEOUT", "0")
    return config


def _extracted(page: Any) -> Any:
    """The article as trafilatura's XML; None for none. Whatever it raises on a strange page counts as none."""
    from trafilatura import bare_extraction

    try:
        found = bare_extraction(
            page, include_tables=True, include_comments=False, deduplicate=False, favor_recall=True, config=_config()
        )
    except Exception:  # a third party's parser on any page of the web
        return None
    return getattr(found, "body", None)


def _parts(body: Any) -> Iterator[Heading | Block]:
    """Headings and blocks out of trafilatura's XML (head, p, list, item, table, row, cell, quote, code, lb)."""
    words: list[str] = []
    walk = etree.iterwalk(body, events=("start", "end"))
    for event, element in walk:
        tag = element.tag
        taken: Heading | Block | None = None
        if event == "start" and tag == "head":
            taken = Heading(_level(element), tidy_heading("".join(element.itertext())))
        elif event == "start" and tag == "table" and not any(below is not element for below in element.iter(*LAYOUT)):
            taken = Block(_table(element))
        if taken is not None:
            walk.skip_subtree()
        if taken is not None or tag in ("p", "list", "item", "quote", "code", "row", "cell", "div"):
            if line := flowed("".join(words)):
                yield Block(line)
            words = ["- "] if event == "start" and tag == "item" else []
        if taken is not None:
            yield taken
        elif event == "start":
            words.append(("\x00" if tag == "lb" else "") + (element.text or ""))
        if event == "end":
            words.append(element.tail or "")
    if line := flowed("".join(words)):
        yield Block(line)


def _level(head: Any) -> int:
    return HEADINGS.get(head.get("rend") or "", 2)


def _table(element: Any) -> str:
    """A table as lines of `a | b`, as datatools.io.htmltext writes it."""
    rows = ([" ".join(" ".join(cell.itertext()).split()) for cell in row.iter("cell")] for row in element.iter("row"))
    return "\n".join(" | ".join(cells) for cells in rows if any(cells))
