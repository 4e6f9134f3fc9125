"""Comma, tab, semicolon and bar separated values: encoding, delimiter and header are told from the content."""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from datatools.io.columns import SAMPLE, column_names, has_header
from datatools.io.jsonl import BLOCK, RESUME, codec, encoding_of, opened
from datatools.io.rows import SHOWN, Row, beginning, documents
from datatools.io.source import Fault, Read, ReadOptions, Source

DELIMITERS = ",\t;|"
LONGEST_LINE = 1 << 28  # characters
LONGEST = 1 << 24  # characters a quoted cell may span; a quote open for longer was never closed

Line = tuple[int, str | None]  # number in the file, counted from 1; None for a line that is too long to hold
Record = tuple[int, list[str]]

csv.field_size_limit(min(sys.maxsize, 1 << 30))


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """Documents out of the rows of a csv or tsv file; offsets are the numbers of the lines they start on.

    Bytes that cannot be decoded become U+FFFD and are counted in the row's meta. A row with more cells than there are
    columns, and a line whose quote is never closed, are malformed_row Faults, and the rest goes on.
    """
    encoding = encoding_of(source)
    with opened(source) as stream:
        text = io.TextIOWrapper(stream, codec(encoding), errors=RESUME, newline="")
        lines = _lines(text)
        head, lines = beginning(lines, SAMPLE)
        told = [line for _, line in head if line and len(line) < SHOWN]
        delimiter = sniff(told, "\t" if source.format == "tsv" else ",")
        del head
        parsed = records(lines, delimiter, source.name)
        yield from documents(_rows(parsed, source.name), source, options, encoding=encoding)


def _lines(text: IO[str]) -> Iterator[Line]:
    number = 0
    while line := text.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith("\n"):
            while (rest := text.readline(BLOCK)) and not rest.endswith("\n"):
                pass
            yield number, None
            continue
        if "\0" in line:
            line = line.replace("\0", "")
        yield number, line.lstrip("\ufeff") if number == 1 else line


def sniff(lines: Sequence[str], default: str = ",") -> str:
    """The delimiter that cuts most of the lines into the same number of cells, of which there are two or more."""

    def score(delimiter: str) -> tuple[float, int]:
        rows = [row for _, row in _complete(records(enumerate(lines, 1), delimiter, "")) if any(row)]
        width, n = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 0)
        return (n / len(rows), width) if width > 1 else (0.0, 0)

    candidates = [default, *(mark for mark in DELIMITERS if mark != default)]
    best = max(candidates, key=score)
    return best if score(best)[0] >= 0.5 else default


def _complete(parsed: Iterable[Record | Fault]) -> Iterator[Record]:
    return (record for record in parsed if not isinstance(record, Fault))


def records(lines: Iterable[Line], delimiter: str, name: str) -> Iterator[Record | Fault]:
    """The cells of each record and the line it starts on.

    Only as many lines as a quoted cell needs are joined: a quote that is never closed costs its own line, not the
    rest of the file.
    """
    ahead, source = deque[Line](), iter(lines)
    while (line := ahead.popleft() if ahead else next(source, None)) is not None:
        number, text = line
        if text is None:
            yield Fault(f"{name}:{number}", f"a line of more than {LONGEST_LINE:,} characters", rule="malformed_row")
        elif '"' not in text:
            if text := text.rstrip("\r\n"):
                yield number, text.split(delimiter)
        elif cells := _quoted(text, ahead, source, delimiter):
            yield number, cells
        else:
            yield Fault(f"{name}:{number}", "a quote is opened and never closed", rule="malformed_row")


def _quoted(text: str, ahead: deque[Line], source: Iterator[Line], delimiter: str) -> list[str] | None:
    """Cells of a line and those its quoted cells go on in, off `ahead` and `source`; None, taking none, if unclosed."""
    taken: list[Line] = []
    parts, size = [text], len(text)
    cells = _cells(parts, delimiter)
    while cells == OPEN and size < LONGEST:
        line = ahead.popleft() if ahead else next(source, None)
        if line is None:
            break
        taken.append(line)
        if line[1] is None:
            break
        parts.append(line[1])
        size += len(line[1])
        if '"' in line[1]:
            cells = _cells(parts, delimiter)
    if cells == ODD and not taken:
        return next(csv.reader(parts, delimiter=delimiter))
    if not isinstance(cells, str):
        return cells
    ahead.extendleft(reversed(taken))
    return None


OPEN, ODD = "open", "odd"  # a record that ends inside a quoted cell, and one whose quoted cell goes on after its quote


def _cells(lines: list[str], delimiter: str) -> list[str] | str:
    """The cells of one record, or OPEN or ODD."""
    try:
        return next(csv.reader(lines, delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        return OPEN if "unexpected end" in str(error) else ODD


def _rows(parsed: Iterator[Record | Fault], name: str) -> Iterator[Row | Fault]:
    head, parsed = beginning(parsed, SAMPLE)
    sample = [[cell[:SHOWN] for cell in _trimmed(cells)] for _, cells in _complete(head)]
    headed = has_header(sample)
    width = len(sample[0]) if headed else max(Counter(map(len, sample)), default=0)
    names = column_names(sample[0] if headed else [], width)
    del head
    for record in parsed:
        if isinstance(record, Fault):
            yield record
            continue
        number, cells = record
        cells = _trimmed(cells)
        if headed:
            headed = False
        elif len(cells) > width:
            message = f"{len(cells)} cells in {width} columns"
            yield Fault(f"{name}:{number}", message, rule="malformed_row")
        elif cells:
            yield number, dict(zip(names, [*cells, *[""] * (width - len(cells))], strict=True))


def _trimmed(cells: list[str]) -> list[str]:
    end = len(cells)
    while end and not cells[end - 1].strip():
        end -= 1
    return cells[:end]
