"""XML: MedQuAD question-answer pages, PubMed and JATS articles, tables of records, and any other document."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from datatools.io.encoding import decode
from datatools.io.rows import documents, pair
from datatools.io.source import Fault, Read, ReadOptions, Source
from schemas.document import Document

Element: TypeAlias = Any  # lxml's elements carry no types

DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
DECLARED = re.compile(rb"<\?xml[^>]*encoding\s*=\s*[\"']([\w.:-]+)")
ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
OWN_ENTITIES = {"amp", "lt", "gt", "quot", "apos"}  # XML's own; the rest of HTML's are written as characters
TITLES = {"title", "heading", "head", "header", "name", "标题", "题名", "名称", "篇名", "article-title"}
ECHO = re.compile(r"((?:What|How|Who|When|Where|Why|Is|Are|Does|Do|Can|Should)\b[^.?!\n]{5,150}\?)\s+(?=\S)")
BLOCKS = {
    *("p", "para", "list", "list-item", "ul", "ol", "li", "item"),
    *("table", "table-wrap", "thead", "tbody", "tr", "row"),
}
SECTIONS = {"sec", "section", "chapter", "div", "part", "article", "章", "节"}


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """Documents out of an XML file: one a pair, an article's section, a record or a titled element.

    Neither external entities nor the network are touched, and entities that expand without end are an error.
    Raises lxml.etree.XMLSyntaxError when the file is not well-formed.
    """
    data = source.read()
    declared = DECLARED.search(data[:200])
    decoded = decode(data, declared[1].decode("ascii") if declared else None)
    root = parse(decoded.text)
    for read in _read(root, source, options):
        if isinstance(read, Document):
            read.source, read.source_type = source.name, options.source_type or read.source_type
            if decoded.encoding != "utf-8":
                read.meta["encoding"] = decoded.encoding
            if decoded.undecodable:
                read.meta["undecodable"] = decoded.undecodable
        yield read


def parse(text: str) -> Element:
    """The root of an XML text, HTML's named entities understood, tags without their namespaces."""
    from lxml import etree

    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities="internal", no_network=True, load_dtd=False, huge_tree=False,
        remove_comments=True, remove_pis=True,
    )  # fmt: skip
    body = DECLARATION.sub("", text.lstrip("\ufeff"))
    if "<!ENTITY" not in body:
        body = ENTITY.sub(_character, body)
    root = etree.fromstring(body.encode("utf-8", "replace"), parser)
    for element in root.iter(etree.Element):
        element.tag = etree.QName(element).localname
    return root


def _character(entity: re.Match[str]) -> str:
    return entity[0] if entity[1] in OWN_ENTITIES else html.unescape(entity[0])


def _read(root: Element, source: Source, options: ReadOptions) -> Iterator[Read]:
    pairs = [element for element in root.iter() if element.tag.casefold() in ("qapair", "pair")]
    articles = [root] if root.tag == "article" else list(root.iter("PubmedArticle", "article"))
    records = _records(root)
    if pairs:
        yield from _pairs(root, pairs, source)
    elif _child(root, "qapairs") is not None:
        yield Fault(source.name, "page without questions", rule="empty_row")
    elif articles:
        for n, article in enumerate(articles, 1):
            made = _pubmed(article) if article.tag == "PubmedArticle" else _jats(article)
            yield from _numbered(made, n, source)
    elif records:
        yield from documents(enumerate(records, 1), source, options)
    else:
        yield from _numbered(_outline(root), 1, source)


def _numbered(made: Iterator[Document | str], first: int, source: Source) -> Iterator[Read]:
    for k, document in enumerate(made):
        if isinstance(document, str):
            yield Fault(f"{source.name}:{first}", document, rule="empty_row")
        else:
            document.offset = first + k
            yield document


def words(element: Element | None) -> str:
    """All text in an element, white space folded; empty when there is no element."""
    return "" if element is None else " ".join("".join(element.itertext()).split())


def _pairs(root: Element, pairs: list[Element], source: Source) -> Iterator[Read]:
    focus = words(_child(root, "focus") if _child(root, "focus") is not None else _child(root, "doctitle-focus"))
    page = {
        "url": root.get("url"),
        "synonyms": "; ".join(map(words, root.iter("Synonym", "synonym"))),
        "group": words(next(root.iter("SemanticGroup", "semanticGroup"), None)),
        "origin": root.get("source"),
    }
    for n, element in enumerate(pairs, 1):
        question, answer = _child(element, "question"), _child(element, "answer")
        text = list_lines("" if answer is None else "".join(answer.itertext()))
        fields = {**page, "qtype": "" if question is None else question.get("qtype")}
        meta: dict[str, Any] = {"fields": {name: kept for name, kept in fields.items() if kept}}
        echo, text = without_echo(text)
        if echo:
            meta["fields"]["heading"] = echo
        made = pair(natural(words(question)), text, meta)
        if isinstance(made, str):
            yield Fault(f"{source.name}:{n}", made, rule="empty_row")
            continue
        made.id = ("" if question is None else question.get("qid")) or ""
        made.title, made.source_type, made.offset = focus, "encyclopedia", n
        yield made


def _child(element: Element, name: str) -> Element | None:
    return next((child for child in element if child.tag.casefold() == name), None)


def natural(question: str) -> str:
    """A question of a template as a person writes it.

    >>> natural("What is (are) Abdominal Pain ?"), natural("Who is at risk for Stroke? ?")
    ('What is Abdominal Pain?', 'Who is at risk for Stroke?')
    """
    question = re.sub(r"(\s*\?)+$", "?", question)
    plural = re.search(r"(ers|ases|ions|ems|ors|ests|ries|ones|ers|uses|ers and \w+)\?$", question)
    return question.replace("is (are)", "are" if plural else "is", 1)


def without_echo(answer: str) -> tuple[str, str]:
    """The page's heading that a flattened answer begins with, when that is a question, and the answer after it.

    >>> without_echo("How is dry skin treated? A cream helps.")
    ('How is dry skin treated?', 'A cream helps.')
    """
    echo = ECHO.match(answer)
    return (echo[1], answer[echo.end() :]) if echo else ("", answer)


def list_lines(text: str) -> str:
    """Lines, paragraphs and list items out of the runs of spaces that a flattened page left behind.

    >>> list_lines("Get help if       -  You have pain    - You faint     Call a doctor.")
    'Get help if\\n- You have pain\\n- You faint\\nCall a doctor.'
    """
    text = re.sub(r"[ \t\u00a0]*\r?\n[ \t\u00a0]*", "\n", text.strip())
    text = re.sub(r"(?:[ \t]{2,}|\n+)-[ \t]+", "\n- ", text)
    text = re.sub(r"[ \t]{3,}", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]{2}", " ", text))


def _pubmed(article: Element) -> Iterator[Document | str]:
    title = words(next(article.iter("ArticleTitle"), None))
    parts = [(part.get("Label"), words(part)) for part in article.iter("AbstractText")]
    text = "\n".join(f"{label}: {body}" if label else body for label, body in parts if body)
    if not text:
        yield "abstract is empty"
        return
    language = words(next(article.iter("Language"), None))
    fields = {
        "journal": words(next(article.iter("Title"), None)),
        "keywords": "; ".join(map(words, article.iter("Keyword"))),
    }
    meta = {"fields": {name: kept for name, kept in fields.items() if kept}}
    pmid = words(next(article.iter("PMID"), None))
    yield Document(text, "", title=title, source_type="literature", id=pmid, meta=meta,
                   language={"eng": "en", "chi": "zh"}.get(language, ""))  # fmt: skip


def _jats(article: Element) -> Iterator[Document | str]:
    title = words(next(article.iter("article-title"), None))
    identifiers = {element.get("pub-id-type"): words(element) for element in article.iter("article-id")}
    license = words(next(article.iter("license-p", "license"), None))
    found = False
    for name, top in (("Abstract", "abstract"), ("", "body")):
        for part in article.iter(top):
            for path, text in sections(part, (name,) if name else ()):
                found = True
                yield Document(text, "", title=title, section=path, source_type="literature", license=license,
                               meta={"fields": identifiers} if identifiers else {})  # fmt: skip
    if not found:
        yield "article has neither abstract nor body"


def sections(element: Element, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Heading path and text of each section that has text of its own, in reading order."""
    lines: list[str] = []
    if element.text and element.text.strip():
        lines.append(" ".join(element.text.split()))
    for child in element:
        if child.tag in TITLES and child is _title(element):
            continue
        heading = words(_title(child))
        if heading or child.tag in SECTIONS or _holds_sections(child):
            if lines:
                yield path, "\n".join(lines)
                lines = []
            yield from sections(child, (*path, heading) if heading else path)
        else:
            lines.extend(_lines(child))
        if child.tail and child.tail.strip():
            lines.append(" ".join(child.tail.split()))
    if lines:
        yield path, "\n".join(lines)


def _title(element: Element) -> Element | None:
    """The child that titles an element, which must hold more than that."""
    child = next((child for child in element if child.tag.casefold() in TITLES), None)
    return child if child is not None and len(element) > 1 else None


def _holds_sections(element: Element) -> bool:
    return any(
        below is not element and (below.tag in SECTIONS or _title(below) is not None) for below in element.iter()
    )


def _lines(element: Element) -> list[str]:
    """The text of a block: a line for a paragraph, a cell-separated line for a table row, a dash for a list item."""
    if element.tag in ("tr", "row"):
        return [" | ".join(words(cell) for cell in element)]
    if not any(child.tag in BLOCKS for child in element):
        text = words(element)
        return [f"- {text}" if element.tag in ("li", "list-item", "item") else text] if text else []
    lines = [line for child in element for line in _lines(child)]
    return [f"- {lines[0]}", *lines[1:]] if element.tag in ("li", "list-item") and lines else lines


def _records(root: Element) -> list[dict[str, str]]:
    """Children of the root that are rows of a table: all of one name, each of two or more leaves with names."""
    children = list(root)
    if len(children) < 2 or len({child.tag for child in children}) > 1:
        return []
    rows: list[dict[str, str]] = []
    for child in children:
        leaves = [leaf for leaf in child if not len(leaf)]
        if len(leaves) < len(child) or len({leaf.tag for leaf in leaves}) < 2 or (child.text or "").strip():
            return []
        row: dict[str, str] = dict(child.attrib)
        for leaf in leaves:
            text = words(leaf)
            row[leaf.tag] = f"{row[leaf.tag]}\n{text}" if leaf.tag in row else text
        rows.append(row)
    return rows


def _outline(root: Element) -> Iterator[Document | str]:
    heading = words(_title(root))
    found = False
    for path, text in sections(root):
        found = True
        yield Document(text, "", title=heading, section=path, source_type="other")
    if not found:
        yield "no text"
