"""The summary: one JSON object for scripts, one screen for people."""

from __future__ import annotations

import json

import pytest

from datatools.report.summary import Summary

CONTRACT = (
    "command inputs rows_read rows_written dropped failed requests requests_total tokens cost seconds output trace "
    "failed_rows work"
).split()


def test_the_json_holds_the_fields_scripts_rely_on() -> None:
    found = json.loads(Summary("unify", ["corpus"]).to_json())
    assert list(found) == CONTRACT
    assert found["requests"] == {"sent": 0, "cached": 0, "retried": 0}
    assert found["tokens"] == {"prompt": 0, "completion": 0}
    assert found["trace"] is None and found["failed_rows"] is None


def test_an_error_is_in_the_json_only_when_there_is_one() -> None:
    text = Summary("unify", ["语料"], error="--out sft.parquet: is a folder").to_json()
    assert json.loads(text)["error"] == "--out sft.parquet: is a folder"
    assert "语料" in text and "\n" not in text


def test_two_summaries_share_no_counts() -> None:
    Summary("unify", []).dropped["too_short"] = 1
    Summary("unify", []).requests["sent"] = 1
    assert Summary("unify", []).dropped == {}
    assert Summary("unify", []).requests["sent"] == 0


@pytest.mark.parametrize(
    ("summary", "code"),
    [
        (Summary("unify", []), 0),
        (Summary("unify", [], dropped={"too_short": 9}), 0),
        (Summary("unify", [], failed={"unreadable": 1}), 3),
        (Summary("unify", [], failed={"timeout": 2}), 3),
    ],
    ids=["done", "dropped", "unreadable", "timeout"],
)
def test_dropped_rows_are_no_failure_and_failed_ones_are(summary: Summary, code: int) -> None:
    assert summary.exit_code == code


def test_one_screen_says_what_happened_and_where_to_look() -> None:
    text = Summary(
        "unify",
        ["corpus"],
        rows_read=12345,
        rows_written=9876,
        seconds=3.21,
        output="sft.parquet",
        trace="sft.trace.parquet",
        failed_rows="sft.failed.parquet",
        dropped={"no_question": 5, "too_short": 1200},
        failed={"timeout": 2},
        requests={"sent": 20000, "cached": 7, "retried": 3},
        tokens={"prompt": 1000000, "completion": 5},
        cost=0.35,
    ).to_text()
    assert text.splitlines() == [
        "unify: 9,876 rows from 12,345 documents in 3.2 s",
        "  output   sft.parquet",
        "  dropped  too_short 1,200, no_question 5   (sft.trace.parquet)",
        "  failed   timeout 2   (sft.failed.parquet)",
        "  requests 20,000 sent, 7 from the journal, 3 retried; 1,000,000 + 5 tokens, cost 0.3500",
    ]


def test_one_screen_says_nothing_of_what_did_not_happen() -> None:
    text = Summary("unify", ["corpus"], rows_read=1, rows_written=1, output="sft.parquet").to_text()
    assert len(text.splitlines()) == 2


def test_no_file_is_named_where_none_was_written() -> None:
    text = Summary("export", ["a.parquet"], dropped={"several_turns": 3}, failed={"unreadable": 1}).to_text()
    assert "several_turns 3" in text and "unreadable 1" in text
    assert "None" not in text


def test_unreadable_files_are_looked_up_in_the_trace() -> None:
    text = Summary("unify", ["corpus"], failed={"unreadable": 1}, trace="sft.trace.parquet").to_text()
    assert "unreadable 1   (sft.trace.parquet)" in text
