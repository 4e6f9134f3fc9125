"""HTML pages: headings become sections, paragraphs, lists and tables text; scripts and navigation are dropped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any
from urllib.parse import urljoin

from lxml import html as lxml_html

from datatools.io.encoding import Decoded, decode
from datatools.io.htmltext import list_items_joined
from datatools.io.outline import Block, Heading, documents, file_title, sections, tidy_heading
from datatools.io.pieces import ENDS, LONGEST_PARSED, spans
from datatools.io.source import Fault, Read, ReadOptions, Source
from datatools.io.text import encoding_meta
from schemas.document import Document

DECLARED = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]+)|<\?xml[^>]{0,100}encoding=["']([\w.:-]+)""", re.I
)
UNSEEN = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", re.I | re.S)
CLOSED = ("</p>", "</div>", "</table>", "</ul>", "</tr>", "</li>")  # where a page may be cut
LICENSE_NAME = re.compile(r"(?:dc|dcterms)[.:](?:license|rights)", re.I)
CREATIVE_COMMONS = re.compile(r"(?:https?:)?//creativecommons\.org/(?:licenses|publicdomain)/", re.I)


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
    from datatools.io.webtext import main_parts  # brings trafilatura along

    place = 0
    for part in list_items_joined(part for page in pages for part in main_parts(page)):
        yield part if isinstance(part, Heading) else Block(part.text, place)
        place += len(part.title if isinstance(part, Heading) else part.text) + 2
