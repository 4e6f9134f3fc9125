"""--decontaminate on what jobs make: an exam item that a model or a graph gives away is found, named and left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.llm.clinic import Clinic
from tests.llm.model_server import Message, ModelServer
from tests.pipelines.command import answer, beside, here, question, rows, write
from tests.pipelines.test_dialogue import EYE, TOOTH

ITEM = {
    "id": "item-7",
    "question": "下列降压药物中，最容易引起反射性心率加快的直接扩张血管药是哪一种",
    "options": ["A. 肼屈嗪注射剂型", "B. 美托洛尔缓释片", "C. 维拉帕米缓释片", "D. 可乐定贴片剂型"],
    "answer": ["A"],
}
STEM, OPTIONS = str(ITEM["question"]), [option[3:] for option in ITEM["options"]]
LEAKS = {
    "verbatim": f"{STEM}？{'、'.join(OPTIONS)}。",
    "reordered": f"{STEM}？{'、'.join(reversed(OPTIONS))}。",
    "punctuation": f"{STEM.replace('，', '（').replace('最', '）最')}，{'；'.join(OPTIONS)}",
    "two lines": f"{STEM[:16]}\n{STEM[16:]}\n" + "\n".join(OPTIONS),
}
CLEAN = (
    "请连续一周早晚各测一次血压并记录，限盐、控制体重、保证睡眠。多次高于140/90时请到心内科就诊，由医生决定是否用药。"
)
GRAPH = Path(__file__).parents[2] / "examples" / "kg"


@pytest.fixture
def exam(tmp_path: Path) -> Path:
    path = tmp_path / "exam.jsonl"
    path.write_text(json.dumps(ITEM, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def leaks_of(out: Path) -> list[dict[str, object]]:
    return [row for row in rows(beside(out, "trace")) if row["step"] == "decontaminate"]


def test_answers_of_consult(tmp_path: Path, exam: Path, serve: Callable[..., ModelServer]) -> None:
    asked = {f"{kind}那一种情况下，我的血压最近老是偏高，应该怎么办呢？": text for kind, text in LEAKS.items()}
    asked["孩子拉肚子三天了，还有点发烧，要不要紧？"] = ""

    def reply(messages: list[Message]) -> str:
        (leak,) = [leak for words, leak in asked.items() if words in messages[-1]["content"]]
        return f"{CLEAN}\n{leak}".strip()

    lines = "".join(json.dumps({"question": words}, ensure_ascii=False) + "\n" for words in asked)
    source = write(tmp_path / "in", {"q.jsonl": lines}) / "q.jsonl"
    out, server = tmp_path / "consult.parquet", serve(reply=reply)
    line = ("consult", source, "--out", out, "--model", "m", "--base-url", server.url, "--json")
    done = here(*line, "--decontaminate", exam)
    assert done.code == 0, done.stderr
    assert [question(row)[:4] for row in rows(out)] == ["孩子拉肚"]
    found = leaks_of(out)
    assert len(found) == 4 and done.summary["dropped"] == {"leak": 4}
    assert all(str(row["twin_id"]).endswith("7") and "引起反" in str(row["excerpt"]) for row in found)
    calls = len(server.seen)
    refused = here(*line)
    assert refused.code == 2 and "decontaminate was" in refused.line
    again = here(*line, "--fresh")  # what was paid for is not asked for again
    assert (again.code, again.summary["rows_written"], len(server.seen)) == (0, 5, calls)


def test_a_clinicians_turn(tmp_path: Path, exam: Path, serve: Callable[..., ModelServer]) -> None:
    clinic = Clinic()

    def reply(messages: list[Message]) -> str:
        said = clinic(messages)
        of_the_tooth = any("智齿" in message["content"] for message in messages[1:])
        return f"{LEAKS['verbatim']}{said}" if of_the_tooth and "扮演一位病人" not in messages[0]["content"] else said

    source = write(tmp_path / "in", {"cases.json": json.dumps([EYE, TOOTH], ensure_ascii=False)}) / "cases.json"
    out, server = tmp_path / "dialogue.parquet", serve(reply=reply)
    line = ("dialogue", source, "--out", out, "--model", "m", "--base-url", server.url, "--json")
    done = here(*line, "--decontaminate", exam)
    assert done.code == 0, done.stderr
    assert [row["source_id"] for row in rows(out)] == ["eye"]
    (leak,) = leaks_of(out)
    assert "反射性心率加快" in str(leak["excerpt"]) and done.summary["dropped"]["leak"] == 1


def test_questions_of_a_graph(tmp_path: Path) -> None:
    out = tmp_path / "tcm.parquet"
    line = ("tcm", GRAPH, "--out", out, "--workers", 1, "--json", "--tasks", "choice")
    assert here(*line).code == 0
    before = rows(out)
    leaked = max(before, key=lambda row: len(question(row)))
    stem, *options = question(leaked).split("\n")
    items = {"id": "q1", "question": stem, "options": [option for option in options if option], "answer": ["A"]}
    exam = tmp_path / "exam.jsonl"
    exam.write_text(json.dumps(items, ensure_ascii=False) + "\n", encoding="utf-8")
    done = here(*line, "--decontaminate", exam, "--fresh")
    assert done.code == 0, done.stderr
    found = leaks_of(out)
    assert leaked["id"] in {row["id"] for row in found} and done.summary["dropped"]["leak"] == len(found)
    kept = {row["id"] for row in rows(out)}
    assert leaked["id"] not in kept and kept and answer(rows(out)[0])
    assert all(question(leaked) != question(row) for row in rows(out))


@pytest.mark.parametrize("job", ["consult", "dialogue", "tcm"])
def test_exam_files_without_items_are_refused_before_anything_is_asked(
    tmp_path: Path, job: str, serve: Callable[..., ModelServer]
) -> None:
    (tmp_path / "exam.jsonl").write_text("\n", encoding="utf-8")
    inputs = {
        "consult": write(tmp_path / "in", {"q.jsonl": '{"question": "血压150/95，应该怎么办呢？"}\n'}),
        "dialogue": write(tmp_path / "cases", {"cases.json": json.dumps([EYE], ensure_ascii=False)}),
        "tcm": GRAPH,
    }
    server, out = serve(reply=Clinic()), tmp_path / "made.parquet"
    model = [] if job == "tcm" else ["--model", "m", "--base-url", server.url]
    done = here(job, inputs[job], "--out", out, "--decontaminate", tmp_path / "exam.jsonl", *model)
    assert done.code == 2 and "no exam items there" in done.line, done.stderr
    assert not out.exists() and not server.seen
