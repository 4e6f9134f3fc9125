"""Evaluations on the page: figures with intervals, the weakest subjects, worst items, runs side by side."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datatools.report.evaluation import evaluation_tables, is_evaluation
from pipelines.report import report
from schemas.evaluated import EVALUATED_EXAM, EVALUATED_PAIR
from tests.pipelines.command import here
from tests.report.test_browser import CHROMIUM, PROBE, browse


def run(path: Path, right: Any) -> Path:
    made = [
        {
            "id": f"i{k}", "exam": "模拟", "subject": ("内科", "外科")[k % 2], "type": "single",
            "question": f"第{k}题 <script>alert(1)</script>", "options": [("A", "甲"), ("B", "乙")], "answer": ["A"],
            "predicted": ["A"] if right(k) else ["B"], "correct": right(k), "method": "stated", "reply": "答案：…",
            "leaked": None, "shuffle": 0, "shown": ["A", "B"], "source": f"e.jsonl:{k}", "model": path.stem, "prompt": "",
        }
        for k in range(40)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(made, schema=EVALUATED_EXAM), path)
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return run(tmp_path / "base.parquet", lambda k: k % 2 == 0)


def test_one_run_has_its_figures_and_its_worst_items(base: Path, tmp_path: Path) -> None:
    tables, bars = evaluation_tables([base])
    assert tables[0].rows[0][:4] == ("base", "模拟", 40, "50.0 % [35.0, 65.0]")
    assert [share.label for share in bars[0].shares] == ["外科", "内科"] and bars[0].shares[0].value == 0.0
    worst = next(table for table in tables if table.title == "Worst items")
    assert len(worst.rows) == 20 and worst.folded
    page = tmp_path / "page.html"
    report(base, page)
    text = page.read_text(encoding="utf-8")
    assert "50.0 % [35.0, 65.0]" in text and "外科" in text and "<script>" not in text


def test_runs_side_by_side_have_a_paired_difference(base: Path, tmp_path: Path) -> None:
    tuned = run(tmp_path / "tuned.parquet", lambda k: (k % 2 == 0 and k != 4) or k in (1, 3, 5))
    tables, _ = evaluation_tables([base, tuned])
    named = {table.title: table for table in tables}
    difference = named["Difference"].rows[0]
    assert difference[0] == "tuned less base" and difference[2].startswith("+5.0 points [") and difference[3:] == (3, 1)
    assert [row[0] for row in named["Right in the first run, wrong in the last"].rows] == ["i4"]
    assert named["By subject, side by side"].columns == ("exam", "subject", "base", "tuned")
    ended = here("report", base, tuned, "--out", tmp_path / "both.html")
    assert ended.code == 0 and "tuned less base" in (tmp_path / "both.html").read_text(encoding="utf-8")


def test_pairs_on_the_page_and_what_is_no_evaluation_beside_one(base: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.parquet"
    made = [
        {"id": str(k), "question": "头痛？", "answer_a": "多休息", "answer_b": "喝水", "verdict": "loss" if k else "win",
         "first": "loss" if k else "win", "second": "loss" if k else "win", "again": None, "axes": [], "reasons": ["略"],
         "model_a": "x", "model_b": "y", "model": "j", "prompt": "", "source": "a"}
        for k in range(4)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(made, schema=EVALUATED_PAIR), pairs)
    tables, bars = evaluation_tables([pairs])
    assert tables[0].rows[0][:4] == ("pairs", "x / y", "j", 4)
    assert [share.value for share in bars[0].shares] == [0.25, 0.0, 0.75]
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    assert not is_evaluation(other)
    ended = here("report", base, other, "--out", tmp_path / "p.html")
    assert ended.code == 2 and "other.parquet: is no evaluation" in ended.line


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome on the PATH")
def test_nothing_is_cut_off_on_a_telephone(tmp_path: Path) -> None:
    base = run(tmp_path / "base-model-7b-instruct.parquet", lambda k: k % 2 == 0)
    tuned = run(tmp_path / "tuned-model-7b-checkpoint-1200.parquet", lambda k: k % 3 == 0)
    page, probe = tmp_path / "page.html", tmp_path / "probe.html"
    report(base, page, tuned)
    text = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text(encoding="utf-8"))
    assert "<details>" in text
    opened = html.escape(text.replace("<details>", "<details open>"))
    probe.write_text(PROBE.format(page=opened, width=420), encoding="utf-8")
    dom = browse(probe, tmp_path, 420, "--dump-dom", "--virtual-time-budget=5000")
    wide, window, cut = map(int, re.findall(r"<title>(\d+) of (\d+), (-?\d+) cut", dom)[0])
    assert wide <= window == 420 and cut <= 0
