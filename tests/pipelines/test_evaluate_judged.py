"""evaluate pairwise and evaluate consult: what a judge says, in both orders, and what needs no judge."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from datatools.evaluate.judged import LOSS, TIE, WIN, consult_lines, whole
from tests.llm.clinic import Clinic
from tests.llm.examinee import drawn
from tests.llm.model_server import ModelServer
from tests.pipelines.command import here, rows
from tests.pipelines.test_dialogue import EYE, TOOTH

QUESTIONS = [f"第{k}问：最近总是头痛，应该怎么办？" for k in range(120)]


def answers(path: Path, quality: Any, model: str = "") -> Path:
    """A file of answers; the judge below counts 好."""
    made = [{"question": q, "answer": f"建议{'好' * quality(q)}。", "generator": model} for q in QUESTIONS]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in made), encoding="utf-8")
    return path


class Judge:
    """Counts 好; goes by the place instead in a share `bias` of the questions; says nonsense in a share `broken`."""

    def __init__(self, bias: float = 0.0, broken: float = 0.0) -> None:
        self.bias, self.broken = bias, broken

    def __call__(self, messages: list[dict[str, str]]) -> str:
        found = re.search(r"问题：\n(.*)\n\n回答 A：\n(.*)\n\n回答 B：\n(.*)", messages[1]["content"], re.DOTALL)
        assert found is not None
        question, first, second = found.groups()
        if drawn(question, "broken") < self.broken:
            return "两个都不错"
        a, b = first.count("好"), second.count("好")
        verdict = "A" if a > b else "B" if b > a else "平局"
        if drawn(question, "bias") < self.bias:
            verdict = "A"
        axes = [{"axis": "切题", "A": 5 + a, "B": 5 + b}]
        return json.dumps({"axes": axes, "verdict": verdict, "reason": "数出来的"}, ensure_ascii=False)


def compared(serve: Any, judge: Judge, a: Path, b: Path, out: Path, *more: object) -> Any:
    server = serve(reply=judge)
    options = ("--judge", "m", "--base-url", server.url, "--json", *more)
    return here("evaluate", "pairwise", a, b, "--out", out, *options)


def test_points_of_both_orders_decide() -> None:
    assert whole(WIN, WIN)[0] == WIN and whole(WIN, TIE)[0] == WIN and whole(TIE, TIE)[0] == TIE
    assert whole(LOSS, WIN) == (TIE, 10, 10) and whole(TIE, LOSS) == (LOSS, 5, 15)


def test_planted_wins_ties_and_losses_come_out(tmp_path: Path, out: Path, serve: Any) -> None:
    a = answers(tmp_path / "a.jsonl", lambda q: 2 + 2 * (drawn(q, "w") < 0.5) - 2 * (drawn(q, "w") >= 0.8))
    b = answers(tmp_path / "b.jsonl", lambda q: 2)
    ended = compared(serve, Judge(), a, b, out)
    score = ended.summary["scores"]
    wins = sum(drawn(q, "w") < 0.5 for q in QUESTIONS) / 120
    losses = sum(drawn(q, "w") >= 0.8 for q in QUESTIONS) / 120
    assert ended.code == 0 and score["n"] == 120 and score["broken"] == 0
    assert score["win"] == pytest.approx(wins, abs=1e-5) and score["loss"] == pytest.approx(losses, abs=1e-5)
    assert (
        score["low"] <= score["score"] <= score["high"] and score["win_interval"][0] < wins < score["win_interval"][1]
    )
    assert score["position_bias"]["turned"] == 0 and score["self_agreement"]["share"] == 1.0
    assert {row["model_a"] for row in rows(out)} == {"a"} and rows(out)[0]["axes"][0]["axis"] == "切题"


def test_a_judge_that_goes_by_the_place_is_found_out_and_breaks_no_tie(tmp_path: Path, out: Path, serve: Any) -> None:
    a, b = answers(tmp_path / "a.jsonl", lambda q: 1), answers(tmp_path / "b.jsonl", lambda q: 2)
    score = compared(serve, Judge(bias=0.4), a, b, out).summary["scores"]
    biased = sum(drawn(q, "bias") < 0.4 for q in QUESTIONS) / 120
    assert score["position_bias"]["turned"] == pytest.approx(biased, abs=1e-5) == pytest.approx(score["tie"], abs=1e-5)
    assert score["win"] == 0 and score["position_bias"]["first"] > score["position_bias"]["last"]


def test_broken_replies_are_counted_and_are_in_no_share(tmp_path: Path, out: Path, serve: Any) -> None:
    a, b = answers(tmp_path / "a.jsonl", lambda q: 3), answers(tmp_path / "b.jsonl", lambda q: 2)
    ended = compared(serve, Judge(broken=0.2), a, b, out)
    broken = sum(drawn(q, "broken") < 0.2 for q in QUESTIONS)
    score = ended.summary["scores"]
    assert ended.code == 0 and score["broken"] == broken and score["n"] == 120 - broken and score["win"] == 1.0
    assert sum(row["verdict"] is None for row in rows(out)) == broken


def test_a_judge_that_is_a_contestant_is_warned_of_and_files_must_share_questions(
    tmp_path: Path, out: Path, serve: Any
) -> None:
    a, b = answers(tmp_path / "a.jsonl", lambda q: 1, "m"), answers(tmp_path / "b.jsonl", lambda q: 1, "other")
    ended = compared(serve, Judge(), a, b, out)
    assert "m judges and is judged" in ended.stderr and ended.summary["scores"]["tie"] == 1.0
    assert ended.summary["requests"]["sent"] == 0  # the same words need no judge
    alone = tmp_path / "alone.jsonl"
    alone.write_text('{"question": "另一问，高血压？", "answer": "限盐"}', encoding="utf-8")
    ended = compared(serve, Judge(), a, alone, tmp_path / "x.parquet")
    assert ended.code == 2 and "no question in common" in ended.line


class Ward:
    """Clinic's patients; a clinician that asks so many questions; a judge that counts them."""

    def __init__(self, questions: int) -> None:
        self.clinic, self.questions = Clinic(), questions

    def __call__(self, messages: list[dict[str, str]]) -> str:
        system = messages[0]["content"]
        if "严格的医学评审" in system:
            asked = min(5, 1 + messages[1]["content"].count("？"))
            return json.dumps(
                {"proactivity": asked, "accuracy": 4, "helpfulness": 3, "linguistic_quality": 5, "reason": "…"}
            )
        if "正在网上接诊" in system:
            turn = sum(one["role"] == "user" for one in messages)
            ask = ("这种情况有多久了？", "对药物过敏吗？", "以前得过什么病、做过手术吗？", "这段时间用过什么药吗？")
            return ask[turn - 1] if turn <= self.questions else "建议先到医院检查，明确原因以后再用药。\n[END]"
        return self.clinic(messages)


@pytest.mark.parametrize("questions", [0, 4])
def test_consultations_are_kept_whole_and_measured(questions: int, tmp_path: Path, out: Path) -> None:
    (cases := tmp_path / "cases.json").write_text(json.dumps([EYE, TOOTH], ensure_ascii=False), encoding="utf-8")
    with ModelServer(reply=Ward(questions)) as server:
        options = ("--model", "m", "--patient", "p", "--judge", "j", "--base-url", server.url, "--json")
        ended = here("evaluate", "consult", cases, "--out", out, *options)
        assert ended.code == 0, ended.stderr
        assert {seen.body["model"] for seen in server.seen} == {"m", "p", "j"}
        again = here("evaluate", "consult", cases, "--out", out, *options)
    score, found = ended.summary["scores"], rows(out)
    assert again.summary["requests"]["sent"] == 0 and again.summary["scores"] == score
    assert score["n"] == len(found) == 2 and score["accuracy"]["mean"] == 4.0
    for row in found:
        roles = [turn["role"] for turn in row["messages"]]
        assert roles == ["user", "assistant"] * (questions + 1) and row["ended"] == "end"
        assert row["questions_before_advice"] == questions
        assert ("no_question_before_advice" in row["flags"]) == (questions == 0)
        assert row["facts_elicited"] <= row["facts_askable"]
    assert (score["elicited"]["mean"] >= 0.5) == (questions == 4)
    assert score["proactivity"]["mean"] == (5.0 if questions else 1.0)


def test_cases_with_nothing_to_ask_are_in_no_mean_and_counted_and_the_page_names_the_files(
    tmp_path: Path, out: Path
) -> None:
    told = "疾病：\n左眼发红\n病情描述：\n左眼发红。\n"
    known = f"{told}既往病史：\n左眼发红"  # what the patient says anyway: nobody can be seen to have asked for it
    idle = [{**EYE, "id": "idle", "medical_case": told}, {**EYE, "id": "known", "medical_case": known}]
    (cases := tmp_path / "cases.json").write_text(json.dumps([EYE, *idle], ensure_ascii=False), encoding="utf-8")
    with ModelServer(reply=Ward(4)) as server:
        options = ("--model", "m", "--patient", "p", "--judge", "j", "--base-url", server.url)
        ended = here("evaluate", "consult", cases, "--out", out, *options, "--json")
        assert ended.code == 0, ended.stderr
    found = {row["id"]: row["elicited"] for row in rows(out)}
    score = ended.summary["scores"]
    assert found["idle"] is None and found["known"] is None and found["eye"] is not None
    assert score["elicited"]["mean"] == pytest.approx(found["eye"], abs=1e-6)
    assert (score["elicited"]["n"], score["nothing_to_ask"]) == (1, 2)
    assert any("2 with nothing to ask left out" in line for line in consult_lines(score))
    assert here("report", out, "--out", tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<bdi>cases.json</bdi>" in page and "<bdi>cases</bdi>" not in page


class Careless(Ward):
    """A clinician that advises ten times too much."""

    def __call__(self, messages: list[dict[str, str]]) -> str:
        if "正在网上接诊" in messages[0]["content"]:
            return "建议口服布洛芬，每次3克，每日三次。\n[END]"
        return super().__call__(messages)


def test_an_unsafe_dose_is_named(tmp_path: Path, out: Path) -> None:
    (cases := tmp_path / "cases.json").write_text(json.dumps([TOOTH], ensure_ascii=False), encoding="utf-8")
    with ModelServer(reply=Careless(0)) as server:
        options = ("--model", "m", "--patient", "p", "--judge", "j", "--base-url", server.url)
        ended = here("evaluate", "consult", cases, "--out", out, *options, "--json")
    said = "布洛芬 9000 mg a day, at most 3200 (FDA label, Motrin tablets)"
    assert rows(out)[0]["doses_named"] == [said] and "dose_out_of_range" in rows(out)[0]["flags"]
    assert ended.summary["scores"]["doses_named"] == {said: 1}


def test_patient_and_judge_must_be_named(tmp_path: Path, out: Path) -> None:
    (cases := tmp_path / "cases.json").write_text(json.dumps([EYE], ensure_ascii=False), encoding="utf-8")
    ended = here("evaluate", "consult", cases, "--out", out, "--model", "m", "--base-url", "http://127.0.0.1:9/v1")
    assert ended.code == 2 and "needs --patient NAME" in ended.line
