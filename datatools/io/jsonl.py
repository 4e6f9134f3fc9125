"""JSON Lines, whole or by byte range, compressed or not, in any encoding."""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import IO, Any, cast

from datatools.io import storage
from datatools.io.columns import SAMPLE, turns
from datatools.io.encoding import decode
from datatools.io.rows import Row, beginning, documents
from datatools.io.source import LARGEST, Fault, Read, ReadOptions, Source

BLOCK = 1 << 20
BROKEN = (EOFError, OSError, ValueError, zlib.error)  # what a packed file that is cut short or damaged raises
SAMPLE_BYTES = 8 << 20  # in which the lines begin that tell the columns; a longer line is no part of the sample
UNFINISHED = re.compile(rb"[\xc2-\xf4][\x80-\xbf]{0,2}\Z")  # perhaps the beginning of a UTF-8 character
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
RESUME = "datatools.resume"  # the error handler of datatools.io.encoding: U+FFFD, then on where it makes sense
DECODER = json.JSONDecoder(strict=False)  # a raw tab or line break inside a string is common and harmless

# Where the last range of a file began and on which line, so that reading a file range by range counts each line once.
_counted: dict[tuple[str, int, int], tuple[int, int]] = {}


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """Documents out of the lines that start in the source's byte range (of the decompressed bytes).

    Offsets are line numbers of the whole file, counted from 1, so any split into ranges gives the same Documents.
    A line that is not JSON is a malformed_row Fault and the rest goes on.
    """
    encoding = encoding_of(source)
    rows = _rows(source, encoding, source.start, source.stop)
    first, rows = beginning(rows, 1)
    if not first:  # a line so long that it goes through the whole range; or broken before its first line ends
        yield from (row for row in rows if isinstance(row, Fault))
        return
    del first
    yield from documents(rows, source, options,
                         sample=_sample(source, encoding), encoding=encoding, noted=source.start == 0)  # fmt: skip


def _sample(source: Source, encoding: str) -> list[dict[str, Any]] | None:
    """The first rows of the file, less the lines that are long; None where all are."""
    rows, _ = beginning(_rows(source, encoding, 0, SAMPLE_BYTES, SAMPLE_BYTES), SAMPLE)
    return [row[1] for row in rows if not isinstance(row, Fault)] or None


def encoding_of(source: Source) -> str:
    """The encoding of a source, from the first mebibyte that holds more than ASCII among its first 16."""
    with source.open() as stream:
        for block in islice(iter(partial(_sound, stream), b""), 16):
            if block.isascii() and b"\0" not in block:
                continue
            if len(block) == BLOCK and b"\0" not in block:  # what the block cuts in two is no fault of the file
                cut = UNFINISHED.search(block)
                block = block[: block.rfind(b"\n") + 1 or (cut.start() if cut else BLOCK)]
            return decode(block).encoding
    return "utf-8"


def _sound(stream: IO[bytes]) -> bytes:
    """The next BLOCK bytes, fewer before a place where the file is broken: who reads its lines comes to it later."""
    read = bytearray()
    with suppress(*BROKEN):
        while len(read) < BLOCK and (more := cast(io.BufferedReader, stream).read1(BLOCK - len(read))):
            read += more
    return bytes(read)


def opened(source: Source) -> IO[bytes]:
    """The source's bytes as a stream that can be read by lines."""
    stream = source.open()
    return cast(IO[bytes], io.BufferedReader(cast(io.RawIOBase, stream))) if source.compression == "zst" else stream


def codec(encoding: str) -> str:
    """The name Python decodes an encoding by: the superset that Big5 files are really in."""
    return "big5hkscs" if encoding == "big5" else encoding


def shaped(value: Any) -> dict[str, Any] | None:
    """A JSON value as a row: an object, a bare text, or the alternating turns of a conversation; None for others."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, list) and turns(value):
        return {"conversation": value}
    return None


def loads(text: str) -> Any:
    """The JSON value, lone surrogates replaced by U+FFFD. Raises ValueError or RecursionError when it is none."""
    value = DECODER.decode(text)
    return without_surrogates(value) if SURROGATE.search(text) else value


def without_surrogates(value: Any) -> Any:
    """The value with halves of surrogate pairs, which no UTF-8 file can hold, replaced by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    return value


def _rows(
    source: Source, encoding: str, start: int = 0, stop: int = -1, longest: int = LARGEST
) -> Iterator[Row | Fault]:
    for number, line in _lines(source, encoding, start, stop, longest):
        place = f"{source.name}:{number}"
        if line is None:
            yield Fault(place, f"a line of more than {longest >> 20} MiB", rule="malformed_row")
            continue
        try:
            row = shaped(loads(line))
        except (ValueError, RecursionError) as error:
            yield Fault(place, f"not JSON: {error}", rule="malformed_row")
            continue
        yield (number, row) if row is not None else Fault(place, "neither an object nor a text", rule="malformed_row")


def _lines(source: Source, encoding: str, start: int, stop: int, longest: int) -> Iterator[tuple[int, str | None]]:
    """Numbered lines that are not blank and start in the range; None for one of more than `longest` bytes."""
    if encoding.startswith(("utf-16", "utf-32")):  # line breaks are not single bytes: the first range reads it all
        if start == 0:
            text = decode(source.read()).text
            yield from ((n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip("\ufeff \t\r\n"))
        return
    with opened(source) as stream:
        number, position = _seek(stream, source, start, stop)
        while (stop < 0 or position < stop) and (line := stream.readline(longest + 1)):
            position += len(line)
            number += 1
            if len(line) > longest:
                while line and not line.endswith(b"\n"):
                    line = stream.readline(BLOCK)
                    position += len(line)
                yield number, None
                continue
            text = _decoded(line, encoding).strip("\ufeff \t\r\n") if number == 1 else _decoded(line, encoding).strip()
            del line  # a long one is held once, not thrice
            if text:
                yield number, text


def _decoded(line: bytes, encoding: str) -> str:
    try:
        return line.decode(codec(encoding))
    except UnicodeDecodeError:
        return decode(line).text  # files are glued together: this line may have an encoding of its own


def _seek(stream: IO[bytes], source: Source, start: int, stop: int) -> tuple[int, int]:
    """Go to the first line that starts at or after `start`; the lines before it and where it starts (`stop` for none
    before it)."""
    if start == 0:
        return 0, 0
    key = _identity(source)
    position, lines = _counted.get(key, (0, 0)) if key else (0, 0)
    if position >= start:
        position, lines = 0, 0
    if position:
        stream.seek(position)
    while position < start - 1 and (block := stream.read(min(BLOCK, start - 1 - position))):
        position += len(block)
        lines += block.count(b"\n")
    if key:
        _counted.clear()
        _counted[key] = position, lines
    # The line that byte start - 1 belongs to is the range before's.
    line = stream.readline(stop - position if stop >= 0 else -1)
    return lines + bool(line), position + len(line)


def _identity(source: Source) -> tuple[str, int, int] | None:
    if source.data is not None or source.compression:  # nothing is saved where seeking means reading
        return None
    return source.path, storage.size(source.path), storage.changed(source.path)
