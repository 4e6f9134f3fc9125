"""WARC, WET and ARC files: web pages as crawlers store them, whole or by ranges of bytes.

Every record of a .warc.gz is a gzip member of its own, so that a range can begin at any of them: it owns the records
whose member starts in it. Pages go through the readers of their formats. What is no page with text (other answers
than 200, pictures) is a Fault with the rule that says so; requests, revisits and metadata are passed over.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

import xxhash

from datatools.io import storage
from datatools.io.html import decoded_page, read_page
from datatools.io.read import describe, is_broken_input
from datatools.io.source import Fault, Read, ReadOptions, Source
from datatools.io.text import encoding_meta
from schemas.document import Document

MAGIC = b"\x1f\x8b\x08"
BLOCK = 1 << 20
LARGEST_PAGE = 64 << 20  # bytes of one page, unpacked
HTML = {"text/html", "application/xhtml+xml"}
READ = {*HTML, "text/xml", "application/xml", "text/plain", "application/pdf", ""}
BEGINS_HTML = re.compile(r"\s*(?:<(?:!--.*?--|\?xml[^>]*)>\s*)*<(?:!doctype html|html)\b", re.I | re.S)
CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.I)
# Codes of WARC-Identified-Content-Language that a Document has a shorter one for.
LANGUAGES = {"zho": "zh", "eng": "en", "jpn": "ja", "kor": "ko", "fra": "fr", "deu": "de", "spa": "es", "rus": "ru"}


@dataclass(frozen=True, slots=True)
class Page:
    """One record that holds a page, or the Fault that says why it gives no text."""

    url: str
    time: str  # when it was fetched, ISO 8601
    content: str  # hash of the unpacked body; empty where nothing was read of it
    found: tuple[Document | Fault, ...]


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """The Documents of every page; `source` is their URL, `meta.fetched` when it was fetched."""
    for page in pages(source):
        yield from page.found


def pages(source: Source) -> Iterator[Page]:
    """The pages of a file, or of the range of it that a Source names, in order."""
    for record in _records(source):
        if page := _page(record):
            yield page


def _records(source: Source) -> Iterator[Any]:
    from warcio.archiveiterator import ArchiveIterator

    if source.compression == "gz":
        stream: IO[bytes] = io.BytesIO(source.data) if source.data is not None else storage.opened(source.path)
    else:
        stream = source.open()
    with stream:
        if source.start and not _seek_record(stream, source.start, source.stop):
            return
        records = ArchiveIterator(stream, arc2warc=True)
        for record in records:
            if source.stop >= 0 and records.offset >= source.stop:
                return
            yield record


def _seek_record(stream: IO[bytes], start: int, stop: int) -> bool:
    """Go to the first gzip member at or after `start` that is a record; False where none begins before `stop`."""
    place = start
    while stop < 0 or place < stop:
        stream.seek(place)
        block = stream.read(BLOCK)
        if len(block) < len(MAGIC):
            return False
        at = block.find(MAGIC)
        while at >= 0:
            if stop >= 0 and place + at >= stop:
                return False
            if _begins_record(block[at : at + 4096]):
                stream.seek(place + at)
                return True
            at = block.find(MAGIC, at + 1)
        place += len(block) - len(MAGIC) + 1
    return False


def _begins_record(data: bytes) -> bool:
    try:
        head = zlib.decompressobj(31).decompress(data, 16)
    except zlib.error:
        return False
    return head.startswith((b"WARC/", b"filedesc://", b"http://", b"https://"))


def _page(record: Any) -> Page | None:
    headers = record.rec_headers
    kind, url = record.rec_type, (headers.get_header("WARC-Target-URI") or "").strip("<>")
    time = headers.get_header("WARC-Date") or ""
    if kind == "conversion":
        return _converted(url, time, _body(record), headers.get_header("WARC-Identified-Content-Language") or "")
    if kind == "resource":
        status, media, charset = "200", _media(headers.get_header("Content-Type") or ""), None
    elif kind == "response" and url.startswith(("http:", "https:")) and record.http_headers is not None:
        status = record.http_headers.get_statuscode()
        said = record.http_headers.get_header("Content-Type") or ""
        media, declared = _media(said), CHARSET.search(said)
        charset = declared[1] if declared else None
    else:
        return None
    if status.startswith("3"):
        return None
    if status != "200":
        return Page(url, time, "", (Fault(url, f"the server answered {status}", f"http_{status}"),))
    if media not in READ:
        return Page(url, time, "", (Fault(url, media, "not_text"),))
    try:
        body = _body(record)
        content = xxhash.xxh3_128_hexdigest(body)
        return Page(url, time, content, tuple(_documents(url, time, body, media, charset)))
    except Exception as error:
        if not is_broken_input(error):
            raise
        return Page(url, time, "", (Fault(url, describe(error), "unreadable_page"),))


def _media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _body(record: Any) -> bytes:
    """The content without Content-Encoding and chunks. Raises ValueError where it is larger than any page."""
    body = cast(bytes, record.content_stream().read(LARGEST_PAGE + 1))
    if len(body) > LARGEST_PAGE:
        raise ValueError(f"more than {LARGEST_PAGE >> 20} MiB, the most that is read of one page")
    return body


def _documents(url: str, time: str, body: bytes, media: str, charset: str | None) -> Iterator[Document | Fault]:
    """What one page holds, each Document with when it was fetched."""
    nothing = True
    for item in _read(url, body, media, charset):
        if isinstance(item, Document):
            nothing = False
            item.meta = {**item.meta, "fetched": time}
        yield item
    if nothing:
        yield Fault(url, "there is no text in it", "empty_page")


def _read(url: str, body: bytes, media: str, charset: str | None) -> Iterator[Document | Fault]:
    if media == "application/pdf" or body.startswith(b"%PDF-"):
        from datatools.io import pdf

        for item in pdf.read(Source(url, url, "pdf", data=body), ReadOptions(source_type="web")):
            if isinstance(item, Document | Fault):
                yield item
        return
    if not body.strip():
        return
    decoded = decoded_page(body, charset)
    if media in HTML or BEGINS_HTML.match(decoded.text[:2048]):
        yield from read_page(decoded, url, address=url)
    elif media in ("", "text/plain"):
        yield Document(decoded.text.strip(), url, source_type="web", meta=encoding_meta(decoded))


def _converted(url: str, time: str, body: bytes, languages: str) -> Page:
    """A record of a WET file: the text of a page without its structure, in UTF-8."""
    text = body.decode("utf-8", "replace").strip()
    first = languages.partition(",")[0].strip()
    if not text:
        return Page(url, time, "", (Fault(url, "there is no text in it", "empty_page"),))
    language = LANGUAGES.get(first, first if len(first) == 2 else "")
    document = Document(text, url, language=language, source_type="web", meta={"fetched": time} if time else {})
    return Page(url, time, xxhash.xxh3_128_hexdigest(body), (document,))
