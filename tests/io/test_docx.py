"""Word documents: body in order, heading styles as sections, tables as lines."""

from __future__ import annotations

import io

import docx

from datatools.io.read import read
from datatools.io.source import ReadOptions, Source
from schemas.document import Document


def documents(word: object) -> list[Document]:
    stream = io.BytesIO()
    word.save(stream)  # type: ignore[attr-defined]
    found = list(read(Source("a.docx", "notes/3-随访.docx", "docx", data=stream.getvalue()), ReadOptions()))
    assert all(isinstance(item, Document) for item in found)
    return found  # type: ignore[return-value]


def test_headings_lists_and_tables_in_order() -> None:
    word = docx.Document()
    word.add_heading("哮喘手册", 0)
    word.add_paragraph("前言一段。")
    word.add_heading("治疗", 1)
    word.add_heading("药物", 2)
    word.add_paragraph("先看下表。")
    table = word.add_table(2, 3)
    for cell, text in zip(
        (c for row in table.rows for c in row.cells), ["药名", "剂量", "备注", "甲药", "乙量", "空"], strict=True
    ):
        cell.text = text
    table.rows[1].cells[1].merge(table.rows[1].cells[2])
    word.add_paragraph("随访", style="List Bullet")
    paragraph = word.add_paragraph("白细胞 10")
    paragraph.add_run("9").font.superscript = True
    paragraph.add_run("/L")
    first, second = documents(word)
    assert (first.title, first.section, first.text, first.source_type) == ("哮喘手册", (), "前言一段。", "book")
    assert second.section == ("治疗", "药物")
    assert second.text == "先看下表。\n药名 | 剂量 | 备注\n甲药 | 乙量 空\n- 随访\n白细胞 10⁹/L"
    assert first.offset < second.offset


def test_without_headings_it_is_one_document_named_by_its_file() -> None:
    word = docx.Document()
    word.add_paragraph("多喝水。")
    word.add_paragraph("多休息。")
    (document,) = documents(word)
    assert (document.title, document.section, document.text) == ("随访", (), "多喝水。\n多休息。")
