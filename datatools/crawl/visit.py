"""What a response means: whether its page is kept, and which links lead on from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

from lxml import etree
from lxml import html as lxml_html

from datatools.crawl.limits import GZIP, HTML, XML, Refused, gunzipped, is_text, media_type, unpacked
from datatools.crawl.scope import is_media, normalise
from datatools.crawl.settings import MAX_BODY, MAX_SITEMAP, TOKEN
from datatools.io.encoding import decode
from datatools.io.html import DECLARED

MOST_LINKS = 50_000  # of one sitemap, as its protocol has it; of a page far more than any reader needs
REFRESH = re.compile(r"\s*\d*\s*[;,]?\s*url\s*=\s*['\"]?([^'\"]+)", re.I)
CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.I)


@dataclass
class Visit:
    """What a 200 means. `outcome`: page, noindex or sitemap; links are normalised and not yet judged by scope."""

    outcome: str
    body: bytes = b""  # unpacked
    links: list[str] = field(default_factory=list)
    sitemaps: list[str] = field(default_factory=list)  # of a sitemap's index


def visit(url: str, headers: Sequence[tuple[str, str]], body: bytes, *, sitemap: bool = False) -> Visit:
    """What the body of a 200 holds. Raises Refused for what is not taken: kind of content, size, encoding."""
    said = {name.lower(): value for name, value in headers}
    kind = said.get("content-type", "")
    if not is_text(kind, sitemap):
        raise Refused("not_text", media_type(kind))
    content = unpacked(body, said.get("content-encoding", ""), MAX_SITEMAP if sitemap else MAX_BODY)
    if sitemap and (content[:2] == b"\x1f\x8b" or media_type(kind) in GZIP):
        content = gunzipped(content, MAX_SITEMAP)
    if sitemap or (media_type(kind) in XML and re.search(rb"<(?:\w+:)?(?:urlset|sitemapindex)\b", content[:2048])):
        return _sitemap(content)
    if media_type(kind) in XML and not _is_html(content):
        raise Refused("not_text", media_type(kind))
    if not content.strip():
        raise Refused("empty")
    tagged = [value for name, value in headers if name.lower() == "x-robots-tag"]
    rules = {rule for value in tagged for rule in robots_rules(value)}
    if media_type(kind) not in HTML and not _is_html(content):
        return Visit("noindex" if "noindex" in rules else "page", content)
    charset = CHARSET.search(kind)
    page, encoding = parsed(content, charset[1] if charset else None)
    if page is None:
        return Visit("page", content)
    for meta in page.iter("meta"):
        if (meta.get("name") or "").strip().lower() in ("robots", TOKEN):
            rules |= {word.strip().lower() for word in (meta.get("content") or "").split(",")}
    if "none" in rules:
        rules |= {"noindex", "nofollow"}
    links = [] if "nofollow" in rules else list(dict.fromkeys(found_links(page, url, encoding)))[:MOST_LINKS]
    return Visit("noindex" if "noindex" in rules else "page", content, links)


def robots_rules(header: str) -> set[str]:
    """The rules of an X-Robots-Tag that are meant for this crawler.

    >>> sorted(robots_rules("noindex, nofollow")), sorted(robots_rules("otherbot: noindex"))
    (['nofollow', 'noindex'], [])
    """
    bot, colon, rules = header.partition(":")
    if (
        colon
        and not re.search(r"[,\s]", bot.strip())
        and bot.strip().lower() not in ("unavailable_after", "max-snippet")
    ):
        if bot.strip().lower() != TOKEN:
            return set()
        header = rules
    found = {rule.strip().lower() for rule in header.split(",")}
    return found | {"noindex", "nofollow"} if "none" in found else found


def parsed(content: bytes, charset: str | None) -> tuple[Any, str]:
    """The page as lxml has it (None for nothing like one), and the encoding its links' queries are written in."""
    declared = DECLARED.search(content[:8192])
    name = (declared[1] or declared[2]).decode("ascii", "replace") if declared else charset
    try:
        text = decode(content, name)
        parser = lxml_html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True)
        return lxml_html.document_fromstring(text.text.encode("utf-8", "replace"), parser), text.encoding
    except (ValueError, etree.LxmlError):
        return None, "utf-8"


def found_links(page: Any, url: str, encoding: str) -> Iterator[str]:
    """Normalised URLs a reader of the page could follow, in order; none marked nofollow, no pictures or downloads."""
    base = next((element.get("href") for element in page.iter("base") if element.get("href")), None)
    start = _joined(url, base) if base else url
    for element in page.iter("a", "area", "frame", "iframe", "meta", "link"):
        href = _href(element)
        if not href:
            continue
        found = normalise(_joined(start, href), encoding)
        if found and not is_media(found):
            yield found


def _href(element: Any) -> str:
    if element.tag in ("frame", "iframe"):
        return element.get("src") or ""
    if element.tag == "meta":
        refresh = (element.get("http-equiv") or "").lower() == "refresh"
        found = REFRESH.match(element.get("content") or "") if refresh else None
        return found[1].strip() if found else ""
    rel = (element.get("rel") or "").lower().split()
    if "nofollow" in rel or (element.tag == "link" and not {"next", "prev", "canonical"} & set(rel)):
        return ""
    return element.get("href") or ""


def _joined(base: str, href: str) -> str:
    try:
        return urljoin(base, href.strip())
    except ValueError:
        return ""


def _is_html(content: bytes) -> bool:
    return bool(
        re.match(
            rb"\s*(?:<(?:!--.*?--|\?xml[^>]*)>\s*)*<(?:!doctype html|html|head|body)\b", content[:2048], re.I | re.S
        )
    )


def _sitemap(content: bytes) -> Visit:
    """The addresses in a sitemap, in any namespace; or one a line."""
    parser = etree.XMLParser(recover=True, resolve_entities=False, no_network=True, huge_tree=True)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError:
        root = None
    if root is None:
        lines = content.decode("utf-8", "replace").splitlines()
        return Visit("sitemap", links=[url for line in lines if (url := normalise(line))][:MOST_LINKS])
    index = etree.QName(root).localname == "sitemapindex"
    found = [url for loc in root.iter("{*}loc") if (url := normalise("".join(loc.itertext())))][:MOST_LINKS]
    return Visit("sitemap", links=[] if index else found, sitemaps=found if index else [])
