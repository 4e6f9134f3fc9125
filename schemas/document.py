"""Document: a piece of source text that knows where it came from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from dataclasses import field as default
from functools import lru_cache
from typing import Any

import pyarrow as pa
import xxhash

from schemas.fields import field, schema

SOURCE_TYPES = ("web", "book", "encyclopedia", "literature", "classic", "consultation", "other")

DOCUMENT = schema(
    "document/1",
    field("id", pa.string(), "xxh3-128 of source, offset and content, or the input's own id"),
    field("text", pa.string(), "text, as read or cleaned (NFC)"),
    field("title", pa.string(), "title of the book, page or article"),
    field("section", pa.list_(pa.string()), "heading path, outermost first, without the title"),
    field("language", pa.string(), "zh, lzh (classical), en, ja, ko, other ISO codes, und"),
    field("source", pa.string(), "path relative to the input argument, or URL; archive!member"),
    field("source_type", pa.string(), "one of SOURCE_TYPES"),
    field("offset", pa.int64(), "start in the source: characters for text, rows for tables"),
    field("license", pa.string(), "licence the source states, or empty"),
    field("meta", pa.string(), "JSON object: fields of a table row, question and answer of a pair, encoding, …"),
)


@dataclass(slots=True)
class Document:
    """One Document on its way from a reader to a record.

    `meta` may hold `fields` (column name → value of a table row), `question` and `answer` (the source already is a
    pair), `encoding` and `undecodable` (bytes that could not be decoded).
    """

    text: str
    source: str
    offset: int = 0
    title: str = ""
    section: tuple[str, ...] = ()
    language: str = ""
    source_type: str = ""
    license: str = ""
    id: str = ""
    meta: dict[str, Any] = default(default_factory=dict)

    def piece(self, text: str, *, id: str = "", offset: int | None = None, section: tuple[str, ...] = ()) -> Document:
        """A Document for a part of this one's text; `section` names the part below this one's own headings.

        Written out, because dataclasses.replace and copy take ten times as long and a book has thousands of parts.
        """
        return Document(
            text,
            self.source,
            self.offset if offset is None else offset,
            self.title,
            self.section + section,
            self.language,
            self.source_type,
            self.license,
            id,
            self.meta,
        )

    def record(self) -> dict[str, Any]:
        """The row of the Arrow schema."""
        return {
            "id": self.id,
            "text": self.text,
            "title": self.title,
            "section": list(self.section),
            "language": self.language,
            "source": self.source,
            "source_type": self.source_type or "other",
            "offset": self.offset,
            "license": self.license,
            "meta": self.meta_json(),
        }

    def meta_json(self) -> str:
        """`meta` as a record holds it."""
        return _json(self.meta) if self.meta else ""

    @classmethod
    def from_record(cls, row: dict[str, Any]) -> Document:
        """The Document a row of the Arrow schema was written from; other programs leave nulls where nothing is."""
        return cls(
            row["text"] or "",
            row["source"] or "",
            row["offset"] or 0,
            row["title"] or "",
            tuple(row["section"] or ()),
            row["language"] or "",
            row["source_type"] or "",
            row["license"] or "",
            row["id"] or "",
            _meta(row["meta"]) if row["meta"] else {},
        )


def document_id(source: str, offset: int, text: str) -> str:
    """The id of a Document that brings none: xxh3-128 of source, offset and content, 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(f"{source}\0{offset}\0{text}".encode("utf-8", "replace"))


@lru_cache(maxsize=16)
def _meta(text: str) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads(text)
    return meta


# All parts of a book share one meta object: it is written once, not once a part, and read once above.
_last: tuple[dict[str, Any], str] = ({}, "{}")


def _json(meta: dict[str, Any]) -> str:
    global _last
    if _last[0] is not meta:
        _last = (meta, json.dumps(meta, ensure_ascii=False))
    return _last[1]
