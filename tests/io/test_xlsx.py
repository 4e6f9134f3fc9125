"""Excel workbooks: sheets, headers, numbers and dates as a person sees them."""

from __future__ import annotations

import datetime
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from datatools.io.source import Note, ReadOptions, Source
from datatools.io.xlsx import read
from schemas.document import Document


def book(path: Path, **sheets: list[list[Any]]) -> Source:
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for name, rows in sheets.items():
        sheet = workbook.create_sheet(name)
        for row in rows:
            sheet.append(row)
    workbook.save(path)
    return Source(str(path), path.name, "xlsx")


def documents(source: Source) -> list[Document]:
    return [item for item in read(source, ReadOptions()) if isinstance(item, Document)]


def test_numbers_and_dates(tmp_path: Path) -> None:
    day = datetime.date(2024, 5, 1)
    rows = [["编号", "正文", "日期", "次数"], [1.0, "感冒多由病毒引起。", day, 2.5], [2, "多喝水。", None, 3.0]]
    first, second = documents(book(tmp_path / "a.xlsx", 表=rows))
    assert (first.id, first.text, first.offset, first.section) == ("1", "感冒多由病毒引起。", 2, ())
    assert first.meta == {"fields": {"日期": "2024-05-01", "次数": "2.5"}}
    assert second.meta == {"fields": {"次数": "3"}}


def test_every_sheet_is_read_and_named(tmp_path: Path) -> None:
    pair = [["问题", "答案"], ["头晕怎么办？", "先量血压。"]]
    source = book(tmp_path / "a.xlsx", 内科=pair, 空=[], 外科=[["正文"], ["伤口要保持干燥。"]])
    items = list(read(source, ReadOptions()))
    assert [item.section for item in items if isinstance(item, Document)] == [("内科",), ("外科",)]
    notes = [item.message for item in items if isinstance(item, Note)]
    assert notes == ["sheet 内科: question = 问题, answer = 答案", "sheet 外科: text = 正文"]


def test_a_headline_above_the_table(tmp_path: Path) -> None:
    rows = [["常见病问答"], [None], ["问题", "答案"], ["头晕怎么办？", "先量血压。"]]
    document = documents(book(tmp_path / "a.xlsx", 表=rows))[0]
    assert (document.meta["answer"], document.offset) == ("先量血压。", 4)


def test_a_broken_workbook_raises(tmp_path: Path) -> None:
    source = book(tmp_path / "a.xlsx", 表=[["正文"], ["多喝水。"]])
    (tmp_path / "a.xlsx").write_bytes((tmp_path / "a.xlsx").read_bytes()[:500])
    with pytest.raises(zipfile.BadZipFile):
        documents(source)
