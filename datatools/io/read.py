"""The one door to every reader: a Source in, Documents out, and broken files as Faults instead of exceptions."""

from __future__ import annotations

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from types import TracebackType

import xxhash
import zstandard

from datatools.io.source import Fault, Read, ReadOptions, Source
from schemas.document import Document

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
# Libraries that meet a broken file with exceptions of their own, or of any other kind, from inside their code.
PARSERS = {"datasets", "docx", "huggingface_hub", "lxml", "openpyxl", "pyarrow", "pypdfium2", "pypdfium2_raw"}


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """Documents, Notes and Faults of one Source, in order.

    Every Document has an id and, where the options name one, their source_type. A broken file is one Fault after what
    could be read of it.
    """
    try:
        for item in import_module(READERS[source.format]).read(source, options):
            yield complete(item, options) if isinstance(item, Document) else item
    except Exception as error:
        if not is_broken_input(error):
            raise
        yield Fault(source.name, describe(error))


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


def document_id(source: str, offset: int, text: str) -> str:
    """The id of a Document that brings none: xxh3-128 of source, offset and content, 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(f"{source}\0{offset}\0{text}".encode("utf-8", "replace"))


def describe(error: Exception) -> str:
    """Kind and message of an exception on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"[:500]


def is_broken_input(error: Exception) -> bool:
    """Whether a file is to blame for an exception, and not a mistake in our own code."""
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
