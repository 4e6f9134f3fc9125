"""What a page says, in its order: headings, paragraphs, lists, tables; without scripts and the furniture of a site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from lxml import etree
from lxml import html as lxml_html

from datatools.io.outline import Block, Heading, tidy_heading
from datatools.io.scripts import subscript, superscript

# fmt: off
DROPPED = {
    "script", "style", "nav", "header", "footer", "aside", "form", "template", "noscript", "head", "svg",
    "iframe", "object", "canvas", "select", "button", "audio", "video", "dialog",
}
BLOCKS = {
    "p", "div", "section", "article", "main", "body", "ul", "ol", "dl", "dt", "dd", "li", "table", "caption",
    "thead", "tbody", "tfoot", "tr", "blockquote", "pre", "figure", "figcaption", "address", "hr", "center",
    "fieldset", "details", "summary", "hgroup", "html",
}
# fmt: on
HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
# Names that page templates give to what surrounds the article; whole names only, so that `meta-analysis` stays.
FURNITURE = re.compile(
    r"(?:nav|navbar|navigation|menu|topbar|breadcrumbs?|crumbs?|sidebar|side-?bar|footer|header|site-?(?:header|footer)"
    r"|related(?:-?(?:posts?|articles?|links?))?|recommend(?:ed|ation)?s?|share|sharing|social(?:-?(?:links|share))?"
    r"|comments?|ads?|advert(?:isement)?s?|banner|copyright|cookies?(?:-?banner)?|pagination|pager|tags?|(?:post|entry|article)?-?meta"
    r"|qr-?code|print|toolbar|search(?:-?(?:box|form))?|login)",
)
HEADINGS = {f"h{level}": level for level in range(1, 7)}
LAYOUT = {"table", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol"}  # a table that holds these lays out the page
HAN = "\u3000-\u303f\u4e00-\u9fff\uff00-\uffef"
WRAPPED = re.compile(rf"(?<=[{HAN}])[ \t]*\n\s*(?=[{HAN}])")


def list_items_joined(found: Iterator[Heading | Block]) -> Iterator[Heading | Block]:
    """The same with the items of a list as the lines of one block."""
    items: list[str] = []
    for part in found:
        if isinstance(part, Block) and part.text.startswith("- "):
            items.append(part.text)
            continue
        if items:
            yield Block("\n".join(items))
            items = []
        yield part
    if items:
        yield Block("\n".join(items))


def parts(page: Any) -> Iterator[Heading | Block]:
    """Headings and blocks of text, in order of the page."""
    words: list[str] = []
    for token in tokens(page):
        if isinstance(token, str):
            words.append(token)
            continue
        if line := flowed("".join(words)):
            yield Block(line)
        words = []
        if isinstance(token, Heading) or token.text:
            yield token
    if line := flowed("".join(words)):
        yield Block(line)


BREAK = Block("")  # where one block ends and another begins


def tokens(page: Any) -> Iterator[Heading | Block | str]:
    """Running text as strings, breaks between blocks, and what is taken whole: headings, tables, preformatted text."""
    walk = etree.iterwalk(page, events=("start", "end"))
    for event, element in walk:
        tag = element.tag if isinstance(element.tag, str) else ""
        if event == "end":
            if tag in BLOCKS:
                yield BREAK
            yield element.tail or ""
        elif is_dropped(element, tag):
            walk.skip_subtree()
        elif (taken := whole(element, tag)) is not None:
            walk.skip_subtree()
            if not isinstance(taken, str):
                yield BREAK
            yield taken
        else:
            if tag in BLOCKS:
                yield BREAK
            yield LINE_BREAK if tag == "br" else "- " if tag == "li" else " " if tag in ("td", "th") else ""
            yield element.text or ""


LINE_BREAK = "\x00"  # stands for <br> until white space is collapsed


def is_dropped(element: Any, tag: str) -> bool:
    """Whether an element is no part of what the page says."""
    if tag in DROPPED or element.get("hidden") is not None or element.get("aria-hidden") == "true":
        return tag != "html" and tag != "body"
    if HIDDEN_STYLE.search(element.get("style") or ""):
        return True
    named = {*(element.get("class") or "").lower().split(), (element.get("id") or "").lower()}
    return any(FURNITURE.fullmatch(name) for name in named)


def whole(element: Any, tag: str) -> Heading | Block | str | None:
    """What an element is as a whole, or None where its children are read one by one."""
    if tag in HEADINGS:
        return Heading(HEADINGS[tag], tidy_heading(visible(element)))
    if tag == "pre":
        return Block(element.text_content().strip("\n"))
    if tag == "table" and not any(below is not element for below in element.iter(*LAYOUT)):
        return Block(table(element))
    if tag in ("sup", "sub") and len(element) == 0:
        return superscript(element.text or "") if tag == "sup" else subscript(element.text or "")
    return None


def visible(element: Any) -> str:
    """Text of an element on one line, without what is dropped."""
    return " ".join(" ".join(part.text.split()) for part in parts_of(element) if isinstance(part, Block))


def parts_of(element: Any) -> Iterator[Heading | Block]:
    """The parts below one element."""
    copy = lxml_html.Element("div")
    copy.text = element.text
    copy.extend(deepcopy(list(element)))
    return parts(copy)


def table(element: Any) -> str:
    """A table as lines of `a | b`."""
    caption = [line for found in element.iter("caption") if (line := flowed(found.text_content()))]
    rows = (" | ".join(visible(cell) for cell in row.iter("td", "th")) for row in element.iter("tr"))
    return "\n".join([*caption, *(row for row in rows if row.strip(" |"))])


def flowed(text: str) -> str:
    """Text as a browser would flow it: white space is one space, and none at a line end between Han characters."""
    text = WRAPPED.sub("", text)
    lines = (" ".join(line.split()) for line in text.split(LINE_BREAK))
    joined = "\n".join(line for line in lines if line)
    return "" if joined == "-" else joined
