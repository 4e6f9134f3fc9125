"""Exams in the layouts they are published in become the same items; what cannot be scored stops with a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datatools.evaluate.exam_items import exam_items
from schemas.records import EXAM_ITEM

STEM, FOUR = "治疗风寒感冒首选的方剂是", ["桂枝汤", "银翘散", "麻黄汤", "桑菊饮"]
LETTERS = dict(zip("ABCD", FOUR, strict=True))
CMB = {
    "exam_type": "医师考试", "exam_class": "执业医师", "exam_subject": "中医", "question": STEM, "answer": "C",
    "question_type": "单项选择题", "option": LETTERS,
}  # fmt: skip
MEDMCQA: dict[str, Any] = {
    "id": "q1", "question": STEM, "opa": FOUR[0], "opb": FOUR[1], "opc": FOUR[2], "opd": FOUR[3], "cop": 3,
    "choice_type": "single", "subject_name": "中医",
}  # fmt: skip


def lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def write(folder: Path, kind: str) -> Path:
    if kind == "cmexam.jsonl":
        joined = "\\n".join(f"{letter} {text}" for letter, text in LETTERS.items())
        return lines(folder / kind, {"Question": STEM, "Options": joined, "Answer": "C", "Explanation": "略"})
    if kind == "cmexam.csv":
        joined = "\n".join(f"{letter} {text}" for letter, text in LETTERS.items())
        (folder / kind).write_text(
            f'Question,Options,Answer,Explanation\n{STEM},"{joined}",C,略\n', encoding="utf-8-sig"
        )
        return folder / kind
    if kind == "cmexam.xlsx":
        book = openpyxl.Workbook()
        joined = "\n".join(f"{letter} {text}" for letter, text in LETTERS.items())
        for row in (("Question", "Options", "Answer", "Explanation"), (STEM, joined, "C", "略")):
            book.active.append(row)
        book.save(folder / kind)
        return folder / kind
    if kind == "cmb.json":
        (folder / kind).write_text(json.dumps([CMB], ensure_ascii=False), encoding="utf-8")
        return folder / kind
    if kind == "pharmacist.json":
        row = {"question": STEM, "option": {**LETTERS, "E": ""}, "answer": "C", "question_type": "最佳选择题"}
        (folder / kind).write_text(json.dumps([row], ensure_ascii=False), encoding="utf-8")
        return folder / kind
    if kind == "medqa.jsonl":
        return lines(folder / kind, {"question": STEM, "answer": FOUR[2], "options": LETTERS, "answer_idx": "C"})
    if kind == "medmcqa.jsonl":
        return lines(folder / kind, MEDMCQA, {**MEDMCQA, "id": "q2", "question": "又一题", "cop": 4})
    if kind == "medmcqa0.jsonl":
        return lines(folder / kind, {**MEDMCQA, "cop": 2}, {**MEDMCQA, "id": "q2", "question": "又一题", "cop": 0})
    if kind == "cmmlu.csv":
        (folder / kind).write_text(f",Question,A,B,C,D,Answer\n0,{STEM},{','.join(FOUR)},C\n", encoding="utf-8")
        return folder / kind
    if kind == "mmlu.csv":
        second = "又一题的题干写在这里,甲,乙,丙,丁,A"
        (folder / kind).write_text(f"{STEM},{','.join(FOUR)},C\n{second}\n", encoding="utf-8")
        return folder / kind
    if kind == "mmlu.parquet":
        pq.write_table(
            pa.table({"question": [STEM], "subject": ["中医"], "choices": [FOUR], "answer": [2]}), folder / kind
        )
        return folder / kind
    record = {
        "id": "1",
        "question": STEM,
        "options": list(LETTERS.items()),
        "answer": ["C"],
        "explanation": "",
        "exam": "t",
    }
    pq.write_table(pa.Table.from_pylist([record], schema=EXAM_ITEM), folder / kind)
    return folder / kind


@pytest.mark.parametrize(
    "kind",
    [
        "cmexam.jsonl", "cmexam.csv", "cmexam.xlsx", "cmb.json", "pharmacist.json", "medqa.jsonl", "medmcqa.jsonl",
        "medmcqa0.jsonl", "cmmlu.csv", "mmlu.csv", "mmlu.parquet", "items.parquet",
    ],
)  # fmt: skip
def test_every_layout_gives_the_same_item(kind: str, tmp_path: Path) -> None:
    item = exam_items([str(write(tmp_path, kind))])[0]
    assert (item.question, item.options, item.answer) == (STEM, LETTERS, ("C",))


def test_names_of_exam_subject_and_type(tmp_path: Path) -> None:
    item = exam_items([str(write(tmp_path, "cmb.json"))])[0]
    assert (item.exam, item.subject, item.type, item.stated) == ("医师考试", "中医", "单项选择题", True)
    folder = tmp_path / "cmmlu"
    folder.mkdir()
    write(folder, "cmmlu.csv").rename(folder / "anatomy.csv")
    item = exam_items([str(folder)])[0]
    assert (item.exam, item.subject, item.type, item.stated) == ("cmmlu", "anatomy", "single", False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": ""}, "no answer"),
        ({"answer": "E"}, "answer E is none of the options A, B, C, D"),
        ({"option": {"A": "麻黄汤"}}, "options are missing"),
        ({"question": ""}, "the question is empty"),
    ],
)
def test_a_bad_item_stops_with_its_place(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = lines(tmp_path / "cmb.jsonl", CMB, {**CMB, "question": "第二题", **change})
    with pytest.raises(ValueError, match=said) as raised:
        exam_items([str(path)])
    assert str(raised.value).startswith("cmb.jsonl:2: ")


def test_an_item_that_stands_there_twice_stops_and_one_in_another_order_does_not(tmp_path: Path) -> None:
    turned = {**CMB, "option": dict(zip("ABCD", FOUR[::-1], strict=True)), "answer": "B"}
    assert len(exam_items([str(lines(tmp_path / "a.jsonl", CMB, turned))])) == 2
    with pytest.raises(ValueError, match=r"b.jsonl:2: the same item as b.jsonl:1"):
        exam_items([str(lines(tmp_path / "b.jsonl", CMB, CMB))])


def test_numbers_that_may_begin_at_0_or_1_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="whether the first option is 0 or 1 is open"):
        exam_items([str(lines(tmp_path / "m.jsonl", MEDMCQA))])


def test_an_option_of_several_lines_stays_one(tmp_path: Path) -> None:
    row = {"Question": STEM, "Options": "A 桂枝汤\n调和营卫\nB 麻黄汤", "Answer": "B"}
    assert exam_items([str(lines(tmp_path / "m.jsonl", row))])[0].options == {"A": "桂枝汤\n调和营卫", "B": "麻黄汤"}
