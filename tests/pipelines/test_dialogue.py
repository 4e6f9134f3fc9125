"""dialogue: what the two agents are told, what they make of it, and what a run survives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.llm.clinic import Clinic
from tests.llm.model_server import ModelServer
from tests.pipelines.command import Ended, files, here, rows, write

EYE = {
    "id": "eye",
    "medical_case": "疾病：\n左眼发红\n病情描述：\n昨天下午发现左眼发红。滴了3次眼药水，没见好转。\n"
    "希望获得的帮助：\n需要去门诊吗\n患病多久：\n一周内\n过敏史：\n蚕豆病（2020-03-28填写）\n既往病史：\n无（2020-03-28填写）",
    "doctor_diagnosis": "病情摘要及初步印象：\n结膜炎\n总结建议：\n聚乙烯醇滴眼液，一日4次。",
    "Department": "眼科",
}
TOOTH = {
    "id": "tooth",
    "medical_case": "疾病：\n牙疼\n病情描述：\n左下后槽牙长智齿，牙龈红肿，一直疼。吃饭时更疼。\n患病多久：\n一周内\n"
    "用药情况：\n布洛芬\n过敏史：\n无",
    "doctor_diagnosis": "病情摘要及初步印象：\n智齿冠周炎\n总结建议：\n先抗炎，再到口腔科检查",
    "Department": "口腔科",
}


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    return write(tmp_path / "in", {"cases.json": json.dumps([EYE, TOOTH], ensure_ascii=False)}) / "cases.json"


@pytest.fixture
def clinic(serve: Callable[..., ModelServer]) -> ModelServer:
    return serve(reply=Clinic())


def dialogue(source: Path, out: Path, server: ModelServer, *more: object) -> Ended:
    return here("dialogue", source, "--out", out, "--model", "m", "--base-url", server.url, "--json", *more)


def test_the_patient_never_sees_what_it_cannot_know_and_the_clinician_never_sees_the_record(
    cases: Path, out: Path, clinic: ModelServer
) -> None:
    assert dialogue(cases, out, clinic).code == 0
    systems = {seen.body["messages"][0]["content"] for seen in clinic.seen}
    patients = [text for text in systems if "扮演一位病人" in text]
    assert len(patients) == 2 and not any("结膜炎" in text or "冠周炎" in text for text in patients)
    (clinician,) = systems - set(patients)
    assert "左眼" not in clinician and "智齿" not in clinician
    made = rows(out)
    assert [row["source_id"] for row in made] == ["eye", "tooth"]
    for row in made:
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"] * (len(row["messages"]) // 2)
        assert 3 <= row["dialogue"]["turns"] <= 8 and row["dialogue"]["ended"] == "end"
        assert "[END]" not in row["messages"][-1]["content"]
        assert row["task"] == "dialogue" and row["usage"]["completion_tokens"] > 0


def test_a_rerun_asks_for_nothing_and_gives_the_same_bytes(cases: Path, out: Path, clinic: ModelServer) -> None:
    first = dialogue(cases, out, clinic)
    before, sent = files(out), len(clinic.seen)
    again = dialogue(cases, out, clinic)
    assert (again.summary["requests"]["sent"], again.summary["requests"]["cached"]) == (0, sent)
    assert first.summary["rows_written"] == 2 and files(out) == before and len(clinic.seen) == sent


def test_without_a_model_it_says_what_to_give(cases: Path, out: Path) -> None:
    ended = here("dialogue", cases, "--out", out)
    assert ended.code == 2 and "--model NAME --base-url URL" in ended.line and "--from-kg" in ended.line
    ended = here("dialogue", cases, "--out", out, "--model", "rules")
    assert ended.code == 2 and "--from-kg" in ended.line
    assert not out.exists()


def test_a_budget_needs_a_price_and_stops_the_dialogues(cases: Path, out: Path, clinic: ModelServer) -> None:
    unknown = dialogue(cases, out, clinic, "--budget", 1)
    assert unknown.code == 2 and "--price-in" in unknown.summary["error"] and not clinic.seen
    paid = ("--price-in", 1000, "--price-out", 1000)
    stopped = dialogue(cases, out, clinic, "--budget", 0.001, *paid)
    assert stopped.code == 4 and "larger --budget" in stopped.summary["error"]
    sent = len(clinic.seen)
    done = dialogue(cases, out, clinic, *paid)
    assert done.code == 0 and len(rows(out)) == 2
    assert done.summary["requests"]["cached"] >= 1 and done.summary["cost"] > 0
    assert len({seen.key for seen in clinic.seen}) == len(clinic.seen) >= sent
