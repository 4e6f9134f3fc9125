"""Collecting: what a job left is found and believed, and what is missing, broken or no job at all is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from datatools.report.collect import collect, files_of
from datatools.report.facts import Facts
from datatools.report.progress import Progress
from pipelines.ask_run import AskRun
from pipelines.unify import unify
from pipelines.unify_settings import UnifySettings
from schemas.document import DOCUMENT
from tests.report.test_curated import FOOTER, passage
from tests.report.test_facts import curated, documents, unified, write

__all__ = ["unified"]


def test_unify_output_gives_a_funnel_that_adds_up(unified: Path) -> None:
    facts = collect(unified)
    rows = pq.read_metadata(unified).num_rows
    trace = pq.read_table(files_of(unified)[1])["rule"].to_pylist()
    assert facts.command == "unify"
    assert facts.record == "conversation/1"
    assert facts.rows == facts.funnel[-1].rows_out == rows > 0
    assert facts.funnel[0].rows_in == 3
    for before, after in pairwise(facts.funnel):
        assert before.rows_out == after.rows_in
    assert {reason.rule: reason.count for reason in facts.reasons} == {rule: trace.count(rule) for rule in trace}
    assert dict(facts.counts["encodings"].top)["gb18030"] == 1
    assert facts.counts["encodings"].total == facts.funnel[1].rows_out
    assert facts.settings["model"] == "rules"
    assert set(facts.inputs) == {"阿司匹林.md", "阿司匹林 2.md", "旧.txt"}


def test_documents_whose_boilerplate_was_taken_out_are_counted_once(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for number in range(12):
        text = f"# 感冒第{number}型\n\n{passage(number)}\n\n{FOOTER}\n"
        (source / f"{number:02}.md").write_text(text, encoding="utf-8")
    out = tmp_path / "sft.parquet"
    unify([str(source)], out, UnifySettings(), AskRun(), Progress(quiet=True))
    assert FOOTER not in str(pq.read_table(out)["messages"].to_pylist())
    funnel = collect(out).funnel
    assert [(step.name, step.rows_in, step.rows_out) for step in funnel[:3]] == [
        ("read", 12, 12),
        ("cut into entries", 12, 12),
        ("rules", 12, 12),
    ]
    assert all(step.dropped >= 0 for step in funnel)


def test_output_and_work_folder_give_the_same_facts(unified: Path) -> None:
    assert collect(unified) == collect(unified.with_suffix(".work"))


def test_what_curate_reports_is_taken_over(tmp_path: Path) -> None:
    facts = collect(curated(tmp_path))
    assert [(step.name, step.rows_in, step.rows_out, step.dropped) for step in facts.funnel] == [
        ("read", 36, 36, 0),
        ("rules", 36, 15, 21),
        ("near", 15, 10, 5),
    ]
    assert facts.funnel[0].bytes == 4_000_000
    assert facts.funnel[2].seconds is None
    assert facts.counts["pii"].top == (("PHONE", 7), ("ID_CARD", 2))
    assert facts.counts["languages_read"].total == 36
    assert facts.rewrites[0].before == "每日\n三次"
    assert facts.cluster_count == 3
    assert facts.similarities == ((0.8, 2), (0.9, 1), (0.95, 1), (1.0, 1))
    assert {cluster.id: cluster.size for cluster in facts.clusters} == {"d0": 3, "d1": 1, "d2": 1}
    assert facts.notes == ()


def test_the_same_files_give_the_same_facts(tmp_path: Path) -> None:
    out = curated(tmp_path)
    assert collect(out) == collect(out)


def test_a_file_alone_and_an_empty_file(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", DOCUMENT, [])
    facts = collect(tmp_path / "x.parquet")
    assert replace(facts, written_at="", bytes=None) == Facts("x.parquet", record="document/1", rows=0)


def test_an_unfinished_job_says_so(unified: Path, tmp_path: Path) -> None:
    work = tmp_path / "sft.work"
    work.symlink_to(unified.with_suffix(".work"))
    facts = collect(work)
    assert facts.rows is None
    assert facts.funnel[0].rows_in == 3
    assert "not finished" in facts.notes[0]


@pytest.mark.parametrize(
    "manifest", [b"", b'{"record": "run", "command": "unify", "inputs": {"a": "1"}, "settings": {}}\n{"rec']
)
def test_a_job_killed_at_its_start_gives_facts_too(tmp_path: Path, manifest: bytes) -> None:
    work = tmp_path / "sft.work"
    work.mkdir()
    (work / "manifest.jsonl").write_bytes(manifest)
    facts = collect(work)
    assert (facts.rows, facts.funnel, facts.command) == (None, (), "unify" if manifest else "")


@pytest.mark.parametrize(
    "report",
    [
        {"funnel": [["read"], None, ["x", "y", "z"]]},
        {"funnel": {"read": 1}, "settings": [], "inputs": 3, "pii": [1]},
        {"clusters": [{"kept": None}, 3, {"kept": {"text": "a"}, "dropped": [{}]}]},
        {"examples": [3, {"before": 4}, {}]},
    ],
)
def test_a_report_of_another_shape_is_named_and_left_out(tmp_path: Path, report: dict[str, Any]) -> None:
    facts = collect(curated(tmp_path, **report))
    assert facts.rows == 10
    assert facts.notes or not facts.rewrites


def test_a_broken_report_is_named(tmp_path: Path) -> None:
    out = curated(tmp_path)
    (files_of(out)[3] / "report.json").write_text("{", encoding="utf-8")
    assert "report.json is no JSON" in collect(out).notes[0]


def test_a_funnel_that_does_not_match_the_file_is_named(tmp_path: Path) -> None:
    assert "ends with 9 rows, the file holds 10" in collect(curated(tmp_path, funnel=[["read", 10, 9]])).notes[0]


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("nothing.parquet", lambda path: None, "no such file"),
        ("a.txt", lambda path: path.write_text("x"), "must be the X.parquet"),
        ("broken.parquet", lambda path: path.write_bytes(b"PAR1 no"), "cannot be read"),
        ("a.trace.parquet", lambda path: path.write_bytes(b""), "ask for .*a.parquet instead"),
    ],
)
def test_what_is_no_job_is_refused_by_name(tmp_path: Path, name: str, make: Callable[[Path], Any], said: str) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(ValueError, match=said) as caught:
        collect(path)
    assert name in str(caught.value)


def test_a_trace_of_another_kind_is_refused(tmp_path: Path) -> None:
    out = curated(tmp_path)
    write(files_of(out)[1], DOCUMENT, documents(1))
    with pytest.raises(ValueError, match="trace"):
        collect(out)
