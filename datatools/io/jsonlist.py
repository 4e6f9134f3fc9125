"""JSON files: a list of texts or records, an object that holds one, columns, or lines of JSON under the name .json."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import IO, Any

from datatools.io import jsonl
from datatools.io.jsonl import BLOCK, DECODER, RESUME, codec, encoding_of, opened, shaped, without_surrogates
from datatools.io.rows import Row, documents
from datatools.io.source import Fault, Read, ReadOptions, Source

LARGEST = 1 << 28  # characters of one item of a list; more than that is a list whose end is missing
BLANK = " \t\r\n\ufeff"
HOLDERS = ("data", "items", "rows", "records", "documents", "results", "examples", "list", "RECORDS")


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """Documents out of a JSON file; offsets count its records from 1.

    A list is read item by item, so that memory does not grow with it; an object is read whole.
    Raises ValueError at the place where the file stops being JSON; what stood before it has been yielded by then.
    """
    encoding = encoding_of(source)
    if _is_lines(source, encoding):
        yield from jsonl.read(replace(source, start=0, stop=-1), options)
        return
    with opened(source) as stream:
        text = io.TextIOWrapper(stream, codec(encoding), errors=RESUME, newline="")
        yield from documents(_numbered(source, _records(text)), source, options, encoding=encoding)


def _is_lines(source: Source, encoding: str) -> bool:
    """Whether the first two lines that are not blank each are a whole JSON object or list."""
    with source.open() as stream:
        head = stream.read(BLOCK).decode(codec(encoding), "replace")
    lines = [line.strip(BLANK) for line in head.split("\n") if line.strip(BLANK)][:2]
    return len(lines) == 2 and all(map(_is_whole, lines))


def _is_whole(line: str) -> bool:
    try:
        return line[0] in "{[" and isinstance(DECODER.decode(line), dict | list)
    except (ValueError, RecursionError):
        return False


def _numbered(source: Source, records: Iterator[Any]) -> Iterator[Row | Fault]:
    for number, record in enumerate(records, 1):
        row = shaped(without_surrogates(record))
        if row is None:
            place = f"{source.name}:{number}"
            yield Fault(place, "neither an object nor a text", rule="malformed_row")
        else:
            yield number, row


def _records(stream: IO[str]) -> Iterator[Any]:
    values = _values(stream)
    first = next(values, None)
    if isinstance(first, _Item):
        yield first.value
        yield from (item.value for item in values)
        return
    several = [] if first is None else [first, *values]
    for value in several:
        yield from _unfolded(value) if isinstance(value, dict) and len(several) == 1 else [value]


class _Item:
    """An item of the list at the top, told apart from a value at the top."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _values(stream: IO[str]) -> Iterator[Any]:
    """The values of a text, those of a list at its top one by one as _Item."""
    buffer = _Buffer(stream)
    listed = buffer.peek() == "["
    if listed:
        buffer.skip(1)
    while (mark := buffer.peek()) not in ("", "]"):
        if mark == ",":
            buffer.skip(1)
            continue
        value = buffer.value()
        yield _Item(value) if listed else value
    if listed and mark == "":
        raise ValueError("not JSON: the list is never closed")


def _unfolded(value: dict[str, Any]) -> Iterator[Any]:
    """The records an object holds, or the object itself."""
    if _is_columns(value):
        yield from _from_columns(value)
        return
    lists = {key: item for key, item in value.items() if isinstance(item, list) and item}
    talks = bool(lists) and len(lists) == len(value) and all(isinstance(x, list) for v in lists.values() for x in v)
    if talks:  # {source: [[question, answer, …], …]}
        yield from ({"conversation": talk, "dataset": key} for key, items in lists.items() for talk in items)
        return
    records = [key for key, items in lists.items() if all(isinstance(item, dict) for item in items)]
    holder = next((key for key in HOLDERS if key in lists), records[0] if len(records) == 1 else "")
    if holder and "conversation" not in holder and not _is_record(value, holder):
        yield from value[holder]
        return
    if len(value) > 1 and all(isinstance(item, dict) for item in value.values()):
        yield from ({"id": key, **item} for key, item in value.items())  # {id: record}
        return
    yield value


def _is_record(value: Mapping[str, Any], holder: str) -> bool:
    """Whether the object is one record that happens to hold a list: its own text or turns say so."""
    turns = value[holder][0]
    if isinstance(turns, dict) and ({"role", "content"} <= turns.keys() or {"from", "value"} <= turns.keys()):
        return True
    return any(isinstance(item, str) and len(item) > 200 for key, item in value.items() if key != holder)


def _is_columns(value: Mapping[str, Any]) -> bool:
    cells = list(value.values())
    if not cells:
        return False
    if all(isinstance(cell, list) for cell in cells):
        scalar = all(not isinstance(item, list | dict) for cell in cells for item in cell)
        return scalar and len({len(cell) for cell in cells}) == 1
    keys = [list(cell) for cell in cells if isinstance(cell, dict)]
    return len(keys) == len(cells) and bool(keys[0]) and all(k == keys[0] and k[0] == "0" for k in keys)


def _from_columns(value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    columns = [list(cell.values()) if isinstance(cell, dict) else cell for cell in value.values()]
    yield from (dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True))


class _Buffer:
    """Text not parsed yet, filled from a stream as it is needed."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream, self.text, self.at = stream, "", 0

    def fill(self, size: int = BLOCK) -> bool:
        more = self.stream.read(size)
        self.text, self.at = self.text[self.at :] + more, 0
        return bool(more)

    def skip(self, n: int) -> None:
        self.at += n

    def peek(self) -> str:
        """The next character that is not blank, or nothing at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in BLANK:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.fill():
                return ""

    def value(self) -> Any:
        """The next JSON value. A parse that fails is tried again with twice as much text until there is no more."""
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.at)
                length = end - self.at
                if end < len(self.text) or not self.fill():  # a number may go on in the next block
                    self.at += length
                    return value
            except RecursionError:
                raise ValueError("not JSON: nested too deep") from None
            except json.JSONDecodeError as error:
                left = len(self.text) - self.at
                if left > LARGEST or not self.fill(max(BLOCK, left)):
                    raise ValueError(f"not JSON: {error.msg} at {self.text[error.pos : error.pos + 20]!r}") from None
