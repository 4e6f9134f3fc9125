"""What a reader is given (a Source) and what it yields besides Documents (Faults and Notes)."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass, field
from typing import IO, TypeAlias, cast

import pyarrow as pa

from datatools.io import storage
from datatools.io.squeezed import watched
from schemas.document import Document

LARGEST = 512 << 20  # bytes of a file, archive member or line that is held in memory as a whole


@dataclass(frozen=True, slots=True)
class Source:
    """One file, archive member or dataset to read, or a range of it.

    `start` and `stop` count bytes for line files and WARC files (packed), row groups for parquet; `stop` −1 is the end.
    """

    path: str  # where the bytes are: a file, an address of object storage, or `hf:org/name`
    name: str  # what rows call it: relative to the input argument, `a.zip!member` inside an archive
    format: str  # key into datatools.io.read.READERS
    compression: str = ""  # "", "gz" or "zst"
    start: int = 0
    stop: int = -1
    data: bytes | None = field(default=None, repr=False)  # an archive member, already in memory

    def open(self) -> IO[bytes]:
        """A stream of the decompressed bytes, at their beginning whatever `start` says."""
        raw = io.BytesIO(self.data) if self.data is not None else storage.opened(self.path)
        if self.compression == "gz":
            return watched(cast(IO[bytes], gzip.GzipFile(fileobj=raw)), self._packed())
        if self.compression == "zst":
            # Not zstandard's own reader, which takes a file that was cut short for a whole one.
            return watched(pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd"), self._packed())
        return raw

    def _packed(self) -> int:
        return len(self.data) if self.data is not None else storage.size(self.path)

    def read(self) -> bytes:
        """All decompressed bytes. Raises ValueError where they are more than LARGEST."""
        data = self.beginning(LARGEST + 1)
        if len(data) > LARGEST:
            raise ValueError(
                f"more than {LARGEST >> 20} MiB, the most that is read of one {self.format} file; split it"
            )
        return data

    def beginning(self, size: int) -> bytes:
        """The first `size` decompressed bytes, or all where there are fewer."""
        with self.open() as stream:
            whole = self.data is None and not self.compression and stream.seek(0, io.SEEK_END) <= size
            if not self.compression:
                stream.seek(0)
            return stream.read() if whole else stream.read(size)  # a sized read reserves the size


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How the user wants inputs read."""

    text_column: str | None = None  # column or key that holds the text; found by name and content when None
    source_type: str | None = None  # one of SOURCE_TYPES; told from format and columns when None
    unanswered: bool = False  # a question whose answer is empty is a Document too, with the question as its text
    rows: bool = False  # every row of a table is a Document without text that holds its columns in meta["row"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that could not be read: a file, or one row of it (`source` is then `name:row`)."""

    source: str
    message: str
    rule: str = "unreadable"  # unreadable (a file), malformed_row (a row), empty_file, unknown_type, no_text_layer


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for the user about how a source was read, such as which column is the text."""

    source: str
    message: str


Read: TypeAlias = Document | Fault | Note
