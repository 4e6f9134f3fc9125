"""The one door to every reader: a Source in, Documents out, and broken files as Faults instead of exceptions."""

from __future__ import annotations

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import zstandard

from datatools.io.pieces import LONGEST_TEXT, pieces
from datatools.io.source import Fault, Note, Read, ReadOptions, Source
from datatools.io.storage import Unreachable
from schemas.document import Document, document_id

# Format → module with `read(source, options) -> Iterator[Read]`, imported when the first such file comes along.
READERS = {
    "txt": "datatools.io.text",
    "markdown": "datatools.io.markdown",
    "html": "datatools.io.html",
    "latex": "datatools.io.latex",
    "pdf": "datatools.io.pdf",
    "docx": "datatools.io.docx",
    "zip": "datatools.io.archive",
    "tar": "datatools.io.archive",
    "json": "datatools.io.jsonlist",
    "jsonl": "datatools.io.jsonl",
    "csv": "datatools.io.csvfile",
    "tsv": "datatools.io.csvfile",
    "parquet": "datatools.io.parquet",
    "arrow": "datatools.io.arrow",
    "xlsx": "datatools.io.xlsx",
    "xml": "datatools.io.xml",
    "warc": "datatools.io.warc",
    "hf": "datatools.io.hf",
}
BROKEN = (
    OSError,
    EOFError,
    ValueError,  # UnicodeError and json.JSONDecodeError too
    KeyError,
    RecursionError,
    MemoryError,
    NotImplementedError,  # a compression that zipfile does not know
    SyntaxError,  # lxml's XMLSyntaxError
    struct.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
    zstandard.ZstdError,
)
IN_CHARACTERS = {"txt", "markdown", "html", "latex", "pdf", "docx", "warc"}  # formats whose offsets count characters
# Libraries that meet a broken file with exceptions of their own, or of any other kind, from inside their code.
PARSERS = {"datasets", "docx", "huggingface_hub", "lxml", "openpyxl", "pyarrow", "pypdfium2", "pypdfium2_raw", "warcio"}


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """Documents, Notes and Faults of one Source, in order.

    Every Document has an id and, where the options name one, their source_type. A text longer than LONGEST_TEXT comes
    in pieces. A broken file is one Fault after what could be read of it.
    """
    found = _guarded(source, lambda: import_module(READERS[source.format]).read(source, options))
    yield from completed(found, source, options)


def read_batches(source: Source, options: ReadOptions) -> Iterator[Read | pa.RecordBatch]:
    """As `read`; parquet whose rows are plain Documents comes as record batches of them, without an object a row."""
    if source.format != "parquet":
        yield from read(source, options)
        return
    from datatools.io import parquet

    yield from completed(_guarded(source, lambda: parquet.read_batches(source, options)), source, options)


def _guarded(source: Source, reader: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """What a reader gives, and a Fault where the file breaks it."""
    try:
        yield from reader()
    except Exception as error:
        if not is_broken_input(error):
            raise
        yield Fault(source.name, describe(error))


def completed(items: Iterator[Any], source: Source, options: ReadOptions) -> Iterator[Any]:
    """The items with their Documents complete and none too long; a Note before the first that is cut."""
    noted = False
    nothing = source.start == 0 and source.stop == -1  # part of a file may be without text
    for item in items:
        nothing = nothing and isinstance(item, Note)
        if isinstance(item, pa.RecordBatch) and pc.max(pc.binary_length(item.column("text"))).as_py() > LONGEST_TEXT:
            yield from completed(map(Document.from_record, item.to_pylist()), source, options)
        elif not isinstance(item, Document):
            yield item
        elif len(item.text) <= LONGEST_TEXT:
            yield complete(item, options)
        else:
            if not noted:
                yield Note(source.name, f"texts of more than {LONGEST_TEXT:,} characters are cut at sentence ends")
            noted = True
            yield from (complete(piece, options) for piece in pieces(item, source.format in IN_CHARACTERS))
    if nothing:
        yield Fault(source.name, "there is no text in it", "empty_file")


def complete(document: Document, options: ReadOptions) -> Document:
    """The Document with id and source_type; halves of surrogate pairs, which no file can hold, become U+FFFD."""
    if not document.text.isascii():
        try:
            document.text.encode()
        except UnicodeEncodeError:
            document = replace(
                document, text=document.text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            )
    if options.source_type:
        document.source_type = options.source_type
    if not document.id:
        document.id = document_id(document.source, document.offset, document.text)
    return document


def describe(error: Exception) -> str:
    """Kind and message of an exception on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"[:500]


def is_broken_input(error: Exception) -> bool:
    """Whether a file is to blame for an exception, and not a mistake in our own code, or storage that is away."""
    if isinstance(error, Unreachable):
        return False
    if isinstance(error, BROKEN) or package(type(error).__module__) in PARSERS:
        return True
    return package(innermost_module(error.__traceback__)) in PARSERS


def innermost_module(traceback: TracebackType | None) -> str:
    """The module whose code raised."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return str(traceback.tb_frame.f_globals.get("__name__", "")) if traceback is not None else ""


def package(module: str) -> str:
    """The top-level package of a module."""
    return module.partition(".")[0]
