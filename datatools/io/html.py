"""HTML pages: headings become sections, paragraphs, lists and tables text; scripts and navigation are dropped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from copy import deepcopy
from itertools import chain
from typing import Any
from urllib.parse import urljoin

from lxml import etree
from lxml import html as lxml_html

from datatools.io.encoding import Decoded, decode
from datatools.io.outline import Block, Heading, documents, file_title, sections, tidy_heading
from datatools.io.pieces import ENDS, LONGEST_PARSED, spans
from datatools.io.scripts import subscript, superscript
from datatools.io.source import Fault, Read, ReadOptions, Source
from datatools.io.text import encoding_meta
from schemas.document import Document

DECLARED = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]+)|<\?xml[^>]{0,100}encoding=["']([\w.:-]+)""", re.I
)
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
UNSEEN = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", re.I | re.S)
CLOSED = ("</p>", "</div>", "</table>", "</ul>", "</tr>", "</li>")  # where a page may be cut
HAN = "\u3000-\u303f\u4e00-\u9fff\uff00-\uffef"
LICENSE_NAME = re.compile(r"(?:dc|dcterms)[.:](?:license|rights)", re.I)
CREATIVE_COMMONS = re.compile(r"(?:https?:)?//creativecommons\.org/(?:licenses|publicdomain)/", re.I)
WRAPPED = re.compile(rf"(?<=[{HAN}])[ \t]*\n\s*(?=[{HAN}])")


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """One Document per section of the page that has text; `offset` counts characters of the extracted text."""
    yield from read_page(decoded_page(source.read()), source.name, file_title(source.name))


def decoded_page(data: bytes, charset: str | None = None) -> Decoded:
    """The text of a page; `charset` is what came with it, and counts where the page itself declares none."""
    declared = DECLARED.search(data[:4096])
    return decode(data, (declared[1] or declared[2]).decode("ascii") if declared else charset)


def read_page(decoded: Decoded, name: str, untitled: str = "", address: str = "") -> Iterator[Document | Fault]:
    """One Document per section of a page called `name`; `untitled` is its title where it has none of its own.

    Links to a licence are made whole with the page's `address`.
    """
    parser = lxml_html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
    pages = (lxml_html.document_fromstring(part.encode("utf-8", "replace"), parser) for part in cut_page(decoded.text))
    page = next(pages)
    licence = license_of(page)
    if licence and address:
        licence = urljoin(address, licence)
    base = Document("", name, language=language_of(page), source_type="web", license=licence)
    base.meta = encoding_meta(decoded)
    yield from documents(sections(placed(chain([page], pages))), title_of(page) or untitled, base)
    if any("depth" in error.message.lower() for error in parser.error_log):
        yield Fault(name, "elements nested too deep: the parser dropped what stands below")


def cut_page(text: str) -> Iterator[str]:
    """The page; a very long one in parts that end with an element, less what no reader of it sees."""
    if len(text) <= LONGEST_PARSED:
        yield text
        return
    seen = UNSEEN.sub("", text)
    for start, stop in spans(seen, LONGEST_PARSED, (*CLOSED, *ENDS, ">")):
        if part := seen[start:stop].strip():
            yield part


def title_of(page: Any) -> str:
    """The only h1, or what the title element or og:title says."""
    tops = [words for top in page.iter("h1") if (words := tidy_heading(top.text_content()))]
    if len(set(tops)) == 1:
        return str(tops[0])
    named = [*page.xpath("//head/title/text()"), *page.xpath("//meta[@property='og:title']/@content")]
    return next((words for name in named if (words := tidy_heading(name))), "")


def language_of(page: Any) -> str:
    """The language the page states, as a code without region; empty for none."""
    stated = page.get("lang") or page.get("{http://www.w3.org/XML/1998/namespace}lang") or ""
    code = re.match(r"[a-z]{2,3}(?=[-_]|$)", stated.strip().lower())
    return code[0] if code else ""


def license_of(page: Any) -> str:
    """The address of the licence the page states, by `rel` or in its metadata, or links to; empty for none."""
    for element in page.iter("link", "a", "area"):
        if "license" in (element.get("rel") or "").lower().split() and element.get("href"):
            return str(element.get("href")).strip()
    for meta in page.iter("meta"):
        if LICENSE_NAME.fullmatch(meta.get("name") or meta.get("property") or "") and meta.get("content"):
            return str(meta.get("content")).strip()
    links = (element.get("href") or "" for element in page.iter("a"))
    return next((link.strip() for link in links if CREATIVE_COMMONS.match(link.strip())), "")


def placed(pages: Iterable[Any]) -> Iterator[Heading | Block]:
    """The headings and blocks of a page, or of its parts, each block with its place in the extracted text."""
    from datatools.io.webtext import main_parts  # brings trafilatura along, and builds on this module

    place = 0
    for part in list_items_joined(part for page in pages for part in main_parts(page)):
        yield part if isinstance(part, Heading) else Block(part.text, place)
        place += len(part.title if isinstance(part, Heading) else part.text) + 2


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
