"""Excel workbooks, every sheet of them."""

from __future__ import annotations

import datetime
import io
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from datatools.io.columns import SAMPLE, column_names, has_header, plain
from datatools.io.rows import Row, documents
from datatools.io.source import Read, ReadOptions, Source


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """Documents out of the rows of every sheet; the sheet's name is the section where there are several.

    Numbers and dates are as a person sees them (1, 2024-05-01); offsets are the sheet's row numbers, from 1.
    Raises zipfile.BadZipFile, KeyError or openpyxl's InvalidFileException when the file is no workbook.
    """
    import openpyxl

    stream = io.BytesIO(source.read()) if source.data is not None or source.compression else source.open()
    with stream:
        book = openpyxl.load_workbook(stream, read_only=True, data_only=True)
        sheets = [sheet for sheet in book.worksheets if _has_rows(sheet)]
        for sheet in sheets:
            name = sheet.title if len(sheets) > 1 else ""
            yield from documents(_rows(sheet), source, options, section=name)
        book.close()


def _has_rows(sheet: Any) -> bool:
    sheet.reset_dimensions()  # many writers state a wrong size, and the reader would stop there
    return any(any(row) for row in islice(sheet.iter_rows(values_only=True), SAMPLE))


def _rows(sheet: Any) -> Iterator[Row]:
    cells = ((n, [seen(cell) for cell in row]) for n, row in enumerate(sheet.iter_rows(values_only=True), 1))
    filled = ((n, row) for n, row in cells if any(row))
    head = list(islice(filled, SAMPLE))
    width = max(_width(row) for _, row in head)
    while len(head) > 1 and sum(map(bool, head[0][1])) == 1 < width:  # a headline above the table
        head.pop(0)
    headed = has_header([row[:width] for _, row in head])
    names = column_names(head[0][1] if headed else [], width)
    for number, row in chain(head[headed:], filled):
        columns = names if len(row) <= width else column_names(names, len(row))
        yield number, {name: text for name, text in zip(columns, row, strict=False) if text or name in names[:1]}


def _width(row: Sequence[str]) -> int:
    return max((k + 1 for k, cell in enumerate(row) if cell), default=0)


def seen(cell: Any) -> str:
    """A cell as it looks in the sheet.

    >>> seen(1.0), seen(datetime.datetime(2024, 5, 1)), seen(None)
    ('1', '2024-05-01', '')
    """
    if isinstance(cell, datetime.datetime):
        return cell.date().isoformat() if cell.time() == datetime.time() else cell.isoformat(" ")
    if isinstance(cell, datetime.date | datetime.time):
        return cell.isoformat()
    return plain(cell).strip()
