"""From sources to cleaned Documents with a language: what every job that reads text does first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, Protocol

from datatools.clean.entries import entries
from datatools.clean.language import languages
from datatools.clean.mojibake import repair
from datatools.clean.normalise import normalise, normalise_all
from datatools.io.read import read
from datatools.io.source import Fault, Note, ReadOptions, Source
from datatools.llm import rules_fields
from schemas.document import Document

# The language of a book is that of most of its sections: a list of herbs alone has no function words to tell it by.
WINDOW, SHORT_FOR_LANGUAGE = 200, 300
# A book that says when it was written need not be judged by its words.
OLD_DYNASTY = re.compile(r"秦|汉|魏|晋|南北朝|南朝|北朝|隋|唐|五代|宋|辽|金|元|明|清")


class Sink(Protocol):
    """Where the rows of a unit go that are no Documents, and what it counts."""

    tally: Counter[str]

    def add(self, stream: str, row: dict[str, Any]) -> None:
        """A row for one of the unit's streams (`notes`)."""

    def trace(self, step: str, rule: str, source: str, excerpt: str, **more: Any) -> None:
        """A trace row."""


def windows(source: Source, options: ReadOptions, sink: Sink, limit: int | None = None) -> Iterator[list[Document]]:
    """Neighbouring Documents of a source, at most WINDOW at a time: cleaned, cut into entries, with their language.

    Counts `rows_read` (documents, at most `limit`) in the sink's tally; faults and notes go to the sink.
    """
    documents = _documents(read(source, options), sink, limit)
    while found := list(islice(documents, WINDOW)):
        # Together: what is done for one text at a time costs more than what is done to it.
        raw = [document for document, done in found if not done]
        for document, text in zip(raw, normalise_all([document.text for document in raw]), strict=True):
            document.text = text
        window = [document for document, _ in found]
        _tell_languages(window)
        yield window


def _documents(
    items: Iterable[Document | Fault | Note], sink: Sink, limit: int | None
) -> Iterator[tuple[Document, bool]]:
    for item in items:
        if isinstance(item, Note):
            sink.add("notes", {"source": item.source, "message": item.message})
        elif isinstance(item, Fault):
            sink.trace("read", item.rule, item.source, item.message)
        else:
            if limit is not None and sink.tally["rows_read"] >= limit:
                return
            sink.tally["rows_read"] += 1
            yield from _cut(item)


@lru_cache(maxsize=1024)
def _title(title: str) -> str:
    return normalise(title)  # kept: all sections of a book have the same


def _cut(document: Document) -> Iterator[tuple[Document, bool]]:
    """A Document's entries, each with whether its text is normalised already."""
    document.title = document.title and _title(document.title)
    if fields := document.meta.get("fields"):
        fields = {name: normalise(str(value)) for name, value in fields.items()}
        document.meta = {**document.meta, "fields": fields}
        if rules_fields.is_listing(fields, normalise(document.text)) and "question" not in document.meta:
            document.text = rules_fields.labelled(fields)
            yield document, True
            return
    text, undone = repair(document.text)
    if undone:
        document.text, document.meta = text, {**document.meta, "mojibake": undone}
    for entry in entries(document):
        yield entry, False


def _tell_languages(window: list[Document]) -> None:
    """Fill in the languages of neighbouring documents; a short one without signs of its own takes that of the rest."""
    letters: dict[str, Counter[str]] = {document.source: Counter() for document in window}
    unknown = [document for document in window if not document.language]
    for document, found in zip(unknown, languages([document.text for document in unknown]), strict=True):
        document.language = found
    for document in window:
        letters[document.source][document.language] += len(document.text)
    dominant = {source: counts.most_common(1)[0][0] for source, counts in letters.items()}
    for document in window:
        most = dominant[document.source]
        chinese = document.language in ("zh", "lzh") and most in ("zh", "lzh")
        if document.language == "und" or (chinese and len(document.text) < SHORT_FOR_LANGUAGE):
            document.language = most
        if document.language == "zh" and OLD_DYNASTY.search(str(document.meta.get("dynasty", ""))):
            document.language = "lzh"
        if document.language == "lzh" and document.source_type in ("", "other", "book"):
            document.source_type = "classic"
