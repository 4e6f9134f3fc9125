"""Inspect: rows of a file, readable in a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datatools.report.inspect import LONGEST, show

ROWS = [
    {
        "id": f"r{number}",
        "messages": [
            {"role": "user", "content": f"第{number}问：咳嗽怎么办？"},
            {"role": "assistant", "content": "多饮水。\n避免受凉。"},
        ],
        "language": "zh" if number % 2 else "en",
        "flags": [] if number else ["too_short", "truncated"],
        "support": number / 3,
        "usage": None if number else {"prompt_tokens": 12, "completion_tokens": None},
    }
    for number in range(20)
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "sft.parquet")
    return tmp_path / "sft.parquet"


def ids(capsys: pytest.CaptureFixture[str], file: Path, **options: Any) -> list[str]:
    show(file, **{"rows": 3, "random": False, "where": None, "seed": 0, "as_json": True, **options})
    found = json.loads(capsys.readouterr().out)
    assert found["file"] == str(file)
    return [row["id"] for row in found["rows"]]


def test_the_first_rows_are_shown(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ids(capsys, file) == ["r0", "r1", "r2"]
    assert len(ids(capsys, file, rows=99)) == 20


def test_random_rows_are_the_same_for_a_seed_and_in_file_order(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = [ids(capsys, file, rows=5, random=True, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(drawn[0], key=lambda name: int(name[1:]))
    assert sorted(ids(capsys, file, rows=99, random=True)) == sorted(row["id"] for row in ROWS)


def test_a_condition_chooses_rows(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ids(capsys, file, where="language = 'en' and support > 1") == ["r4", "r6", "r8"]
    assert set(ids(capsys, file, rows=4, random=True, where="support > 5")) <= {"r16", "r17", "r18", "r19"}


def test_a_row_reads_like_a_conversation(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(file, rows=1, random=False, where=None, seed=0, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("── 1 ──")
    assert lines[1:] == [
        "        id  r0",
        "      user  第0问：咳嗽怎么办？",
        " assistant  多饮水。",
        "            避免受凉。",
        "  language  en",
        "     flags  too_short › truncated",
        "   support  0",
        "     usage  prompt_tokens 12",
    ]


def test_a_long_value_is_cut_and_the_rest_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "documents.parquet"
    pq.write_table(pa.table({"text": ["咳" * (LONGEST + 1234)]}), path)
    show(path, rows=1, random=False, where=None, seed=0, as_json=False)
    shown = capsys.readouterr().out
    assert shown.count("咳") == LONGEST
    assert "… (1,234 characters more)" in shown


def test_no_rows_are_said_on_stderr(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(file, rows=3, random=False, where="support > 99", seed=0, as_json=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"{file}: no rows where support > 99\n"


@pytest.mark.parametrize("random", [False, True], ids=["first", "random"])
@pytest.mark.parametrize(
    "where", ["no_such_column > 1", "support >", "support; drop table rows"], ids="column half two".split()
)
def test_a_bad_condition_is_named(file: Path, where: str, random: bool) -> None:
    with pytest.raises(ValueError, match="--where") as error:
        show(file, rows=3, random=random, where=where, seed=0, as_json=True)
    assert str(error.value).startswith(f"{file}: --where {where}: ")
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.parquet").write_text("不是 parquet")
    for name, said in (("absent.parquet", "no such file"), ("notes.parquet", "notes.parquet"), ("", "no such file")):
        with pytest.raises(ValueError, match=said):
            show(tmp_path / name, rows=3, random=False, where=None, seed=0, as_json=False)
