"""From sources to cleaned Documents with a language: what every job that reads text does first."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from datatools.clean.columns import append_columns, replaced
from datatools.clean.entries import entries
from datatools.clean.language import column_languages, languages
from datatools.clean.mojibake import repair, repair_column
from datatools.clean.normalise import normalise, normalise_all, normalise_column
from datatools.io.read import read, read_batches
from datatools.io.source import Fault, Note, ReadOptions, Source
from datatools.llm import rules_fields
from schemas.document import Document

# The language of a book is that of most of its sections: a list of herbs alone has no function words to tell it by.
WINDOW, SHORT_FOR_LANGUAGE = 200, 300
WINDOW_CHARACTERS = 1 << 22  # of a window: cleaning holds its texts several times over
# Formats of which a row is a Document: what came in with an id goes out with it.
TABLES = frozenset({"arrow", "csv", "hf", "json", "jsonl", "parquet", "xlsx"})
# A book that says when it was written need not be judged by its words.
OLD_DYNASTY = re.compile(r"秦|汉|魏|晋|南北朝|南朝|北朝|隋|唐|五代|宋|辽|金|元|明|清")


class Sink(Protocol):
    """Where the rows of a unit go that are no Documents, and what it counts."""

    tally: Counter[str]

    def add(self, stream: str, row: dict[str, Any]) -> None:
        """A row for one of the unit's streams (`notes`)."""

    def trace(self, step: str, rule: str, source: str, excerpt: str, **more: Any) -> None:
        """A trace row."""


def windows(
    source: Source, options: ReadOptions, sink: Sink, limit: int | None = None, *, cut_rows: bool = True
) -> Iterator[list[Document]]:
    """Neighbouring Documents of a source, at most WINDOW at a time: cleaned, cut into entries, with their language.

    Rows of a table are cut only with `cut_rows`. Counts `rows_read` (documents, at most `limit`) in the sink's tally;
    faults and notes go to the sink.
    """
    return _windows(read(source, options), sink, limit, cut=cut_rows or source.format not in TABLES)


def batches(
    source: Source, options: ReadOptions, sink: Sink, limit: int | None = None, *, cut_rows: bool = True
) -> Iterator[list[Document] | pa.RecordBatch]:
    """As `windows`, with record batches of DOCUMENT in place of Documents where parquet holds plain rows."""
    cut = cut_rows or source.format not in TABLES
    read_items: Iterator[Any] = read_batches(source, options)
    for whole, items in groupby(read_items, lambda item: isinstance(item, pa.RecordBatch)):
        if not whole:
            yield from _windows(items, sink, limit, cut=cut)
            continue
        for batch in items:
            if limit is not None:
                batch = batch.slice(0, max(0, limit - sink.tally["rows_read"]))
            if pc.any(pc.match_substring(batch.column("meta"), '"fields"')).as_py() or (
                cut and pc.any(pc.match_substring(batch.column("text"), "\\x")).as_py()
            ):
                yield from _windows(map(Document.from_record, batch.to_pylist()), sink, limit, cut=cut)
            elif batch.num_rows:
                sink.tally["rows_read"] += batch.num_rows
                yield cleaned(batch)


def _windows(
    items: Iterable[Document | Fault | Note], sink: Sink, limit: int | None, *, cut: bool
) -> Iterator[list[Document]]:
    documents = _documents(items, sink, limit, cut=cut)
    while found := _window(documents):
        # Together: what is done for one text at a time costs more than what is done to it.
        raw = [document for document, done in found if not done]
        for document, text in zip(raw, normalise_all([document.text for document in raw]), strict=True):
            document.text = text
        window = [document for document, _ in found]
        _tell_languages(window)
        yield window


def _window(documents: Iterator[tuple[Document, bool]]) -> list[tuple[Document, bool]]:
    """The next WINDOW documents, or fewer where they are long."""
    found: list[tuple[Document, bool]] = []
    characters = 0
    while len(found) < WINDOW and characters < WINDOW_CHARACTERS and (item := next(documents, None)):
        found.append(item)
        characters += len(item[0].text)
    return found


def _documents(
    items: Iterable[Document | Fault | Note], sink: Sink, limit: int | None, *, cut: bool
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
            yield from _cut(item, cut)


@lru_cache(maxsize=1024)
def _title(title: str) -> str:
    return normalise(title)  # kept: all sections of a book have the same


def _cut(document: Document, cut: bool) -> Iterator[tuple[Document, bool]]:
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
    for entry in entries(document) if cut else (document,):
        yield entry, False


def _told(document: Document) -> str:
    """The text a document's language is told by: of a table row its values, whatever its columns are called."""
    fields = document.meta.get("fields")
    if fields and document.text == rules_fields.labelled(fields):
        return "\n".join(map(str, fields.values()))
    return document.text


def _tell_languages(window: list[Document]) -> None:
    """Fill in the languages of neighbouring documents; a short one without signs of its own takes that of the rest."""
    letters: dict[str, Counter[str]] = {document.source: Counter() for document in window}
    unknown = [document for document in window if not document.language]
    for document, found in zip(unknown, languages([_told(document) for document in unknown]), strict=True):
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


def cleaned(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A record batch of Documents as `windows` leaves them, a column at a time."""
    texts, undone = repair_column(batch.column("text"))
    texts = normalise_column(texts)
    titles = batch.column("title")
    if pc.any(pc.not_equal(titles, "")).as_py():
        titles = pa.array([title and _title(title) for title in titles.to_pylist()], pa.string())
    metas = replaced(batch.column("meta"), {row: _noted(batch.column("meta")[row], undone[row]) for row in undone})
    batch = append_columns(batch, {"text": texts, "title": titles, "meta": metas})
    return _with_languages(batch)


def _noted(meta: pa.Scalar, undone: str) -> str:
    return json.dumps({**json.loads(meta.as_py() or "{}"), "mojibake": undone}, ensure_ascii=False)


def _with_languages(batch: pa.RecordBatch) -> pa.RecordBatch:
    """What `_tell_languages` does for Documents, for windows of WINDOW rows."""
    said = np.array(batch.column("language").to_pylist(), object)
    unknown = np.flatnonzero(said == "")
    said[unknown] = column_languages(batch.column("text").take(pa.array(unknown)))
    lengths = pc.utf8_length(batch.column("text")).to_numpy(zero_copy_only=False)
    most = _most(said, lengths, batch.column("source"))
    chinese = _is_chinese(said) & _is_chinese(most)
    said = np.where((said == "und") | (chinese & (lengths < SHORT_FOR_LANGUAGE)), most, said)
    metas = batch.column("meta")
    if pc.any(pc.match_substring(metas, '"dynasty"')).as_py():
        said[(said == "zh") & np.array([_is_old(meta) for meta in metas.to_pylist()], bool)] = "lzh"
    types = batch.column("source_type")
    classic = pa.array(said == "lzh")
    if pc.any(classic).as_py():
        plain = pc.is_in(types, pa.array(["", "other", "book"]))
        types = pc.if_else(pc.and_(classic, plain), "classic", types)
    types = pc.if_else(pc.equal(types, ""), "other", types)
    return append_columns(batch, {"language": pa.array(said.tolist(), pa.string()), "source_type": types})


def _is_chinese(languages: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    return np.asarray((languages == "zh") | (languages == "lzh"))


def _most(languages: npt.NDArray[np.object_], lengths: npt.NDArray[Any], sources: pa.Array) -> npt.NDArray[np.object_]:
    """For every row the language that most of its source's characters are in, within its window."""
    names, language = np.unique(languages.astype(str), return_inverse=True)
    encoded = sources.dictionary_encode()
    source, number = encoded.indices.to_numpy(zero_copy_only=False), len(encoded.dictionary)
    group = np.arange(len(languages)) // WINDOW * number + source
    places = group * len(names) + language
    size = (int(group.max()) + 1) * len(names)
    weights = np.where(np.bincount(places, minlength=size) > 0, np.bincount(places, lengths, size), -1.0)
    # Of equal weights the one that came first: a row counts less than a character.
    weights[places[::-1]] -= np.linspace(0.5, 0, len(places))
    return np.asarray(names.astype(object)[weights.reshape(-1, len(names)).argmax(1)][group])


@lru_cache(maxsize=1024)
def _is_old(meta: str) -> bool:
    return bool(meta and OLD_DYNASTY.search(str(json.loads(meta).get("dynasty", ""))))
