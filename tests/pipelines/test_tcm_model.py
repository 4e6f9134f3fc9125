"""`datatools tcm` with a model: every entity covered, triples the source, dropped rows made good, defects caught."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from datatools.graph.plan import TASKS
from prompts.load import SHIPPED
from schemas.conversation import CONVERSATION, TCM_CONVERSATION
from schemas.fields import check
from tests.graph.test_questions import COMPOSITIONS
from tests.llm.clinic import Clinic
from tests.llm.model_server import Message, ModelServer, planned
from tests.llm.tcm_writer import QUESTIONS
from tests.pipelines.command import Ended, answer, beside, here, rows

clinic = Clinic()


def tcm(source: Path, out: Path, server: ModelServer, *more: object) -> Ended:
    return here("tcm", source, "--out", out, "--model", "m", "--base-url", server.url, "--json", "--quiet", *more)


def report_of(out: Path) -> dict[str, Any]:
    return json.loads((out.with_suffix(".work") / "report.json").read_text("utf-8"))


@pytest.fixture
def server(serve: Callable[..., ModelServer]) -> ModelServer:
    return serve(reply=clinic)


def test_rows_rest_on_the_triples_that_the_prompt_showed(graph: Path, out: Path, server: ModelServer) -> None:
    ended = tcm(graph, out, server, "--per-entity", 3)
    assert ended.code == 0, ended.stderr
    found = rows(out)
    assert ended.summary["rows_written"] == len(found) > 100
    for schema in (TCM_CONVERSATION, CONVERSATION):
        check(pq.read_schema(out), schema, out)
    shown = {json.dumps(seen.body["messages"], ensure_ascii=False) for seen in server.seen}
    for row in found:
        assert row["generator"] == "m" and row["task"] in TASKS and row["language"] == "zh"
        assert row["prompt"].startswith("tcm.question.zh@1#") and " tcm.answer.zh@1#" in row["prompt"]
        assert row["triples"] and row["usage"]["completion_tokens"] > 0
        assert row["checks"]["claims_contradicted"] == 0
    formula = next(row for row in found if any(t["relation"] == "HAS_HERB" for t in row["triples"]))
    triple = next(t for t in formula["triples"] if t["relation"] == "HAS_HERB")
    assert any(f"{triple['head']}｜组成｜" in prompt and triple["tail"] in prompt for prompt in shown)
    assert sum(row["checks"]["claims_true"] for row in found) > 50


def test_every_entity_is_covered_and_the_report_says_so(graph: Path, out: Path, server: ModelServer) -> None:
    done = here("tcm", graph, "--out", out, "--model", "m", "--base-url", server.url, "--per-entity", 2)
    assert done.code == 0, done.stderr
    report = report_of(out)
    for found in report["tcm"]["coverage"].values():
        assert found["covered"] == found["entities"] and found["short"] == {}
        assert found["rows_by_entity"]["min"] == found["rows_by_entity"]["max"] == 2
    assert report["covered"] == report["entities"]
    assert report["entity_rows"] == {name: 2 * count for name, count in report["entities"].items()}
    assert sum(report["tcm"]["balance"]["task"].values()) == len(rows(out))
    assert "rows an entity: min median max" in done.stdout and "claims   true" in done.stdout
    page = out.with_suffix(".html")
    assert here("report", out, "--out", page).code == 0
    assert "Rows an entity" in page.read_text("utf-8") and "Claims against the graph" in page.read_text("utf-8")


def test_the_same_bytes_whatever_the_concurrency_and_nothing_is_asked_twice(
    graph: Path,
    out: Path,
    tmp_path: Path,
    server: ModelServer,
) -> None:
    assert tcm(graph, out, server, "--per-entity", 2, "--concurrency", 1).code == 0
    sent = len(server.seen)
    again = tcm(graph, out, server, "--per-entity", 2)
    assert again.summary["requests"]["sent"] == 0 and len(server.seen) == sent
    other = tmp_path / "other.parquet"
    assert tcm(graph, other, server, "--per-entity", 2, "--concurrency", 32).code == 0
    assert other.read_bytes() == out.read_bytes()
    assert tcm(graph, out, server, "--per-entity", 2, "--seed", 1, "--fresh").code == 0
    assert other.read_bytes() != out.read_bytes()


def test_near_equal_instructions_go_and_others_take_their_place(
    graph: Path,
    out: Path,
    serve: Callable[..., ModelServer],
) -> None:
    """The writer has but one question for half of the entities until it is asked for their third and later rows."""
    asked: Counter[str] = Counter()

    def dull(messages: list[Message]) -> str:
        if not messages[0]["content"].startswith(QUESTIONS):
            return clinic(messages)
        subject = messages[-1]["content"].split("主体：")[1].split("（")[0]
        asked[subject] += 1
        good = clinic(messages)
        return good if asked[subject] > 2 else "请说说麻黄汤、桂枝、石膏与黄连各自的要点，列成条目。"

    ended = tcm(graph, out, serve(reply=dull), "--per-entity", 2, "--types", "方剂", "--concurrency", 1)
    twins = [row for row in rows(beside(out, "trace")) if row["rule"] == "near_duplicate"]
    kept = {row["id"] for row in rows(out)}
    assert ended.code == 0 and len(twins) == ended.summary["dropped"]["near_duplicate"] >= 8
    assert all(twin["similarity"] >= 0.8 == twin["threshold"] and twin["twin_id"] in kept for twin in twins)
    coverage = report_of(out)["tcm"]["coverage"]["formula"]
    assert coverage["covered"] == coverage["entities"] == 8 and coverage["rows"] == 16
    assert report_of(out)["tcm"]["rounds"] > 1


def test_it_stops_making_good_after_some_rounds(graph: Path, out: Path, serve: Callable[..., ModelServer]) -> None:
    dull = serve(reply=lambda messages: "请说说麻黄汤、桂枝、石膏与黄连各自的要点，列成条目。")
    ended = tcm(graph, out, dull, "--per-entity", 2, "--types", "方剂")
    assert ended.code == 0 and report_of(out)["tcm"]["rounds"] == 4
    coverage = report_of(out)["tcm"]["coverage"]["formula"]
    assert coverage["covered"] == 0 and set(coverage["short"]) >= {"四物汤", "白虎汤"}


DEFECTS = {
    "foreign_herb": ("claim_contradicts_graph",),
    "incompatible_herbs": ("incompatible:", "number_not_in_source"),
    "answers_unanswerable": ("answered_unanswerable",),
    "wrong_dose": ("number_not_in_source", "dose_out_of_range"),
    "invented_drug": ("unsupported_entity", "number_not_in_source"),
    "leakage": ("leakage",),
    "truncated": ("truncated",),
    "wrong_language": ("wrong_language",),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_planted_defects_are_caught(
    graph: Path,
    out: Path,
    serve: Callable[..., ModelServer],
    defect: str,
) -> None:
    """The same plans with and without the defect in every answer: who has it is dropped or flagged, by its name."""
    changed: list[str] = []
    planting = Clinic({defect: 1.0})

    def reply(messages: list[Message]) -> str:
        text = planting(messages)
        if not messages[0]["content"].startswith(QUESTIONS) and text != clinic(messages):
            changed.append(text)
        return text

    assert tcm(graph, out, serve(reply=reply), "--per-entity", 2).code == 0
    traced = [row for row in rows(beside(out, "trace")) if row["rule"] != "near_duplicate"]
    flags = DEFECTS[defect]
    wrong = [row for row in rows(out) if answer(row) in changed]
    missed = [row for row in wrong if not any(flag.startswith(flags) for flag in row["flags"])]
    assert len(changed) > 10 and len(missed) <= 0.05 * len(changed), [answer(row) for row in missed]
    assert {row["rule"] for row in traced if row["step"] == "answer"} <= {*flags, "too_short"}
    assert len(wrong) + len(traced) > 5


def test_a_question_that_cannot_be_answered_is_declined(graph: Path, out: Path, server: ModelServer) -> None:
    assert tcm(graph, out, server, "--per-entity", 2, "--tasks", "unanswerable").code == 0
    found = rows(out)
    assert {row["task"] for row in found} == {"unanswerable"} and len(found) > 30
    assert not any("answered_unanswerable" in row["flags"] or "leakage" in row["flags"] for row in found)
    kinds = report_of(out)["tcm"]["balance"]["kind"]
    assert set(kinds) == {"false_premise", "personal", "certainty", "medium"}


def test_english(graph: Path, out: Path, server: ModelServer) -> None:
    assert tcm(graph, out, server, "--language", "en", "--per-entity", 1).code == 0
    found = rows(out)
    assert len(found) > 20 and {row["language"] for row in found} == {"en"}
    assert {row["checks"]["language"] for row in found} <= {"en", "und"}
    assert all(row["prompt"].startswith("tcm.question.en@1#") for row in found)


def test_calls_that_failed_are_told_and_asked_again(
    graph: Path,
    out: Path,
    serve: Callable[..., ModelServer],
) -> None:
    server = serve(reply=clinic, fault=planned({"主体：麻黄汤（": ["filter"] * 2}))
    ended = tcm(graph, out, server, "--per-entity", 2, "--types", "方剂")
    assert ended.code == 3 and sum(ended.summary["failed"].values()) == 2
    failed = rows(beside(out, "failed"))
    assert {row["id"].split("#")[0] for row in failed} == {"formula/麻黄汤"} and failed[0]["step"] == "question"
    assert report_of(out)["tcm"]["coverage"]["formula"]["short"] == {"麻黄汤": 0}
    ended = tcm(graph, out, serve(reply=clinic), "--per-entity", 2, "--types", "方剂", "--retry-failed")
    assert ended.code == 0 and not beside(out, "failed").exists()
    assert report_of(out)["tcm"]["coverage"]["formula"]["short"] == {}


def test_a_budget_stops_it(graph: Path, out: Path, server: ModelServer) -> None:
    ended = tcm(graph, out, server, "--budget", "0.003", "--price-in", 1, "--price-out", 4, "--concurrency", 2)
    assert ended.code == 4 and "budget" in ended.line and not out.exists()
    assert ended.summary["cost"] <= 0.003 and ended.summary["requests"]["sent"] > 0


def test_prompts_of_ones_own(graph: Path, out: Path, tmp_path: Path, server: ModelServer) -> None:
    own = tmp_path / "prompts"
    own.mkdir()
    text = (SHIPPED / "tcm" / "answer.zh.other.md").read_text("utf-8")
    (own / "answer.zh.other.md").write_text(text.replace("version: 1", "version: 7"), "utf-8")
    assert tcm(graph, out, server, "--per-entity", 1, "--types", "方剂", "--prompts", own).code == 0
    assert " tcm.answer.zh@7#" in rows(out)[0]["prompt"]
    ended = tcm(graph, out, server, "--per-entity", 1, "--types", "方剂")
    assert ended.code == 2 and "prompts was" in ended.line
    (own / "answer.zh.other.md").write_text(text.replace('"qa":', '"frage":'), "utf-8")
    ended = tcm(graph, out, server, "--per-entity", 1, "--types", "方剂", "--prompts", own, "--fresh")
    assert ended.code == 2 and "answer.zh.other.md" in ended.line and "qa" in ended.line


def test_exam_items_are_kept_out_and_made_good(
    graph: Path, out: Path, tmp_path: Path, serve: Callable[..., ModelServer]
) -> None:
    stem = "下列各方中，由石膏、知母、粳米、炙甘草四味药组成，用于气分热盛、壮热面赤、烦渴引饮的是哪一首方剂？"
    item = {"question": stem, "options": {"A": "白虎汤", "B": "二陈汤"}, "answer": "A"}
    exam = tmp_path / "exam.jsonl"
    exam.write_text(json.dumps(item, ensure_ascii=False) + "\n", "utf-8")
    first: list[str] = []

    def leaking(messages: list[Message]) -> str:
        if messages[0]["content"].startswith(QUESTIONS) and "主体：白虎汤（" in messages[-1]["content"] and not first:
            first.append(stem)
            return stem
        if stem in messages[-1]["content"]:
            return "白虎汤。它由石膏、知母、粳米、炙甘草组成，功用是清热生津，前提是辨证无误，未经面诊不能确诊。"
        return clinic(messages)

    options = ("--per-entity", 2, "--types", "方剂", "--concurrency", 1, "--decontaminate", exam)
    ended = tcm(graph, out, serve(reply=leaking), *options)
    assert ended.code == 0 and first, ended.stderr
    leaked = [row for row in rows(beside(out, "trace")) if row["rule"] != "near_duplicate"]
    assert [(row["step"], row["rule"]) for row in leaked] == [("decontaminate", "leak")]
    assert report_of(out)["tcm"]["coverage"]["formula"]["short"] == {}


@pytest.mark.parametrize("order", ["{0}\t{1}\t{2}", "{0}\t{2}\t{1}"], ids=["relation second", "relation last"])
def test_triples_in_either_order_are_one_graph(out: Path, tmp_path: Path, server: ModelServer, order: str) -> None:
    path = tmp_path / "kg.tsv"
    lines = [order.format(name, "组成", herb) for name, herbs in COMPOSITIONS.items() for herb in herbs.split()]
    path.write_text("\n".join(lines), "utf-8")
    assert tcm(path, out, server, "--per-entity", 1).code == 0
    found = {(row["triples"][0]["head"], row["triples"][0]["relation"]) for row in rows(out)}
    assert {head for head, _ in found} <= set(COMPOSITIONS) and {relation for _, relation in found} == {"组成"}
    assert set(report_of(out)["tcm"]["coverage"]) == {"formula", "herb"}


def test_a_broken_graph_stops_before_any_call(graph: Path, out: Path, server: ModelServer) -> None:
    (graph / "more.json").write_text('[{"name": "麻黄",}]', "utf-8")
    ended = tcm(graph, out, server)
    assert ended.code == 2 and "more.json:1: not JSON" in ended.line and server.seen == []


def test_limit_and_types(graph: Path, out: Path, server: ModelServer) -> None:
    assert tcm(graph, out, server, "--per-entity", 1, "--types", "中药", "--limit", 4).code == 0
    assert len(rows(out)) == 4
    assert set(report_of(out)["tcm"]["coverage"]) == {"herb"}


def test_questions_name_their_entity_or_the_answer_does(
    graph: Path,
    out: Path,
    serve: Callable[..., ModelServer],
) -> None:
    def astray(messages: list[Message]) -> str:
        if messages[0]["content"].startswith(QUESTIONS):
            return "中医怎样看待四时养生？"
        return "春生夏长，秋收冬藏，起居有常，饮食有节。"

    ended = tcm(graph, out, serve(reply=astray), "--per-entity", 1, "--types", "方剂", "--tasks", "literature")
    assert ended.code == 0 and rows(out) == []
    assert set(ended.summary["dropped"]) <= {"off_subject", "near_duplicate", "unsupported"}


def test_a_dry_run_foresees_the_calls_and_a_pilot_is_not_paid_twice(
    graph: Path, out: Path, server: ModelServer
) -> None:
    options = ("--per-entity", 1, "--limit", 20, "--price-in", 1, "--price-out", 4)
    found = tcm(graph, out, server, *options, "--dry-run").summary["dry_run"]
    assert server.seen == [] and not out.with_suffix(".work").exists()
    assert found["items"] == found["rows"] > 0 and found["calls"] == 2 * found["items"]
    piloted = tcm(graph, out, server, *options, "--pilot", 5).summary["dry_run"]
    sent = len(server.seen)
    assert piloted["pilot"]["items"] == 5 == piloted["journalled"] and 10 <= sent == piloted["pilot"]["calls"]
    ended = tcm(graph, out, server, *options)
    assert ended.code == 0 and ended.summary["requests"]["cached"] == sent
    refused = here("tcm", graph, "--out", out, "--dry-run")
    assert refused.code == 2 and "--model NAME" in refused.line
