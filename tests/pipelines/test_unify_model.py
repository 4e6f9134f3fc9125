"""unify with a model: what is asked, what is kept of the replies, and what a run survives."""

from __future__ import annotations

import itertools
import json
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import pipelines.asking as asking
from prompts.load import load
from schemas.document import SOURCE_TYPES
from tests.conftest import REPOSITORY
from tests.llm.model_server import FAULTS, Message, ModelServer, error, mixed, planned
from tests.pipelines import physician
from tests.pipelines.command import (
    answer,
    beside,
    ended,
    environment,
    files,
    here,
    killed_when,
    pairs,
    question,
    rows,
    rules,
    started,
    until,
    write,
)

PRESSURE = "高血压的发生与遗传、高盐饮食、肥胖和长期精神紧张有关，收缩压达到140 mmHg即可诊断。"
GOUT = "痛风由尿酸盐结晶沉积在关节引起，肥胖的病人更容易发作，急性期可用秋水仙碱0.5 mg。"
ASTHMA = (
    "Asthma is a long-term disease in which the airways are inflamed and narrow too easily. "
    "Salbutamol 100 micrograms per puff relieves an attack and should be carried at all times."
)
BOOK = (
    "<篇名>验方新录\n书名：验方新录\n朝代：清\n<篇名>健脾散\n"
    "属性：治脾虚食少∶白术二两，茯苓二两，甘草半两。上为末，每服二钱，米饮调下。\n"
)
CONSULT = "ask,answer\n我最近血压150/95 mmHg，请问怎么办？,建议先在家连续测一周血压，限盐并到心内科就诊。\n"


def page(title: str, heading: str, text: str) -> str:
    """A Markdown page of one section."""
    return f"# {title}\n\n## {heading}\n\n{text}\n"


FOLDER = {
    "a.md": page("高血压", "病因", PRESSURE),
    "b.md": page("痛风", "病因", GOUT),
    "c.md": page("Asthma", "Signs", ASTHMA),
}
_DEFECT = re.compile(r"^(?:根据上文，|According to the passage, )|(?:每日服用9731毫克。| Take 9731 mg daily\.)$")


def honest(messages: list[Message]) -> str:
    """The physician without defects."""
    return _DEFECT.sub("", physician.reply(messages))


def user(messages: list[Message]) -> str:
    """What the last message says."""
    return messages[-1]["content"]


def is_answer(messages: list[Message]) -> bool:
    """Whether an answer is asked for, and not a question."""
    return bool(re.search(r"\n\n(?:问题：|Question: )[^\n]*\Z", user(messages)))


def steps(server: ModelServer) -> list[str]:
    """Which step each request was for, in order of arrival."""
    return ["answer" if is_answer(seen.body["messages"]) else "question" for seen in server.seen]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits before another try are a hundredth of what they are for users."""
    monkeypatch.setattr(asking, "Settings", partial(asking.Settings, backoff=0.01))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pages, each one passage."""
    return write(tmp_path / "in", FOLDER)


@pytest.fixture
def line(out: Path) -> Callable[..., list[object]]:
    """The command on an input with a server's model."""

    def made(folder: Path, server: ModelServer, *options: object) -> list[object]:
        return ["unify", folder, "--out", out, "--model", "m", "--base-url", server.url, "--json", *options]

    return made


Serve = Callable[..., ModelServer]
Line = Callable[..., list[object]]


# What comes out


def test_every_passage_gets_a_pair_in_input_order(folder: Path, out: Path, serve: Serve, line: Line) -> None:
    server = serve(reply=honest)
    done = here(*line(folder, server))
    assert done.code == 0, done.stderr
    assert pairs(out) == {
        f"请说明“{PRESSURE[:24]}”的要点是什么？": PRESSURE,
        f"请说明“{GOUT[:24]}”的要点是什么？": GOUT,
        f"What does one need to know about {ASTHMA[:24]}?": ASTHMA,
    }
    assert [row["source"] for row in rows(out)] == ["a.md", "b.md", "c.md"]
    assert [row["language"] for row in rows(out)] == ["zh", "zh", "en"]
    assert done.summary["requests"] == {"sent": 6, "cached": 0, "retried": 0}
    assert done.summary["rows_written"] == 3
    assert Counter(steps(server)) == {"question": 3, "answer": 3}
    assert {seen.body["model"] for seen in server.seen} == {"m"}


def test_rows_say_what_made_them_and_what_was_checked(folder: Path, out: Path, serve: Serve, line: Line) -> None:
    done = here(*line(folder, serve(reply=honest)))
    row = rows(out)[0]
    assert (row["generator"], row["flags"]) == ("m", [])
    names = [load("unify", step, "zh", "other").name for step in ("question", "answer")]
    assert row["prompt"] == " ".join(names)
    assert row["checks"]["numbers"] == 1
    assert row["checks"]["numbers_missing"] == 0
    assert row["checks"]["support"] == 1.0
    assert row["checks"]["finish_reason"] == "stop"
    assert row["usage"]["prompt_tokens"] == 20
    total = {name: sum(made["usage"][f"{name}_tokens"] for made in rows(out)) for name in ("prompt", "completion")}
    assert done.summary["tokens"] == total
    assert pq.read_schema(out).metadata[b"datatools.schema"] == b"conversation/1"


def test_the_answer_is_asked_from_the_passage_and_the_question(folder: Path, serve: Serve, line: Line) -> None:
    server = serve(reply=honest)
    here(*line(folder, server))
    asked = [user(seen.body["messages"]) for seen in server.seen if is_answer(seen.body["messages"])]
    for text in (PRESSURE, GOUT):
        assert any(text in prompt and f"请说明“{text[:24]}”的要点是什么？" in prompt for prompt in asked)


@pytest.mark.parametrize("language, text", [("zh", PRESSURE), ("en", ASTHMA)], ids=["zh", "en"])
@pytest.mark.parametrize("source_type", SOURCE_TYPES)
def test_prompts_are_those_of_language_and_source_type(
    tmp_path: Path, out: Path, serve: Serve, line: Line, language: str, text: str, source_type: str
) -> None:
    server = serve(reply=honest)
    here(*line(write(tmp_path / "in", {"a.md": page("T", "S", text)}), server, "--source-type", source_type))
    blank: dict[str, Any] = {"passage": "", "question": "", "title": "", "section": "", "asked": []}
    for step, seen in zip(("question", "answer"), server.seen, strict=True):
        shipped = load("unify", step, language, source_type)
        assert (shipped.language, shipped.source_type) == (language, source_type)
        assert seen.body["messages"][0] == shipped.messages(**blank)[0]
        assert text in user(seen.body["messages"])
        assert shipped.name in rows(out)[0]["prompt"]


def test_a_classic_is_told_from_its_text(tmp_path: Path, out: Path, serve: Serve, line: Line) -> None:
    server = serve(reply=honest)
    here(*line(write(tmp_path / "in", {"book.txt": BOOK.encode("gb18030")}), server))
    assert rows(out)[0]["prompt"].startswith("unify.question.zh.classic@")
    assert "白术二两" in user(server.seen[0].body["messages"])
    assert "健脾散" in user(server.seen[0].body["messages"])


def test_equal_passages_are_asked_once(tmp_path: Path, out: Path, serve: Serve, line: Line) -> None:
    server = serve(reply=honest)
    copies = {f"{name}.md": page("高血压", "病因", PRESSURE) for name in "abc"}
    here(*line(write(tmp_path / "in", copies), server))
    assert steps(server) == ["question", "answer"]
    assert [row["source"] for row in rows(out)] == ["a.md"]
    twins = [(row["source"], row["rule"], row["twin_id"]) for row in rows(beside(out, "trace"))]
    kept = rows(out)[0]["source_id"]
    assert twins == [("b.md", "exact_duplicate", kept), ("c.md", "exact_duplicate", kept)]


def test_pairs_of_the_source_are_not_sent(tmp_path: Path, out: Path, serve: Serve, line: Line) -> None:
    server = serve(reply=honest)
    contents = {"a.md": FOLDER["a.md"], "b.csv": CONSULT.encode("gbk"), "c.md": FOLDER["b.md"]}
    here(*line(write(tmp_path / "in", contents), server))
    assert len(server.seen) == 4
    assert not any("150/95" in user(seen.body["messages"]) for seen in server.seen)
    assert [(row["source"], row["generator"]) for row in rows(out)] == [
        ("a.md", "m"),
        ("b.csv", "source"),
        ("c.md", "m"),
    ]
    assert answer(rows(out)[1]) == "建议先在家连续测一周血压，限盐并到心内科就诊。"


def test_rewrite_pairs_sends_them(tmp_path: Path, out: Path, serve: Serve, line: Line) -> None:
    server = serve(reply=honest)
    here(*line(write(tmp_path / "in", {"b.csv": CONSULT.encode("gbk")}), server, "--rewrite-pairs"))
    assert steps(server) == ["question", "answer"]
    assert all("150/95" in user(seen.body["messages"]) for seen in server.seen)
    assert [row["generator"] for row in rows(out)] == ["m"]


def test_the_second_pair_of_a_passage_is_asked_with_the_first_question(
    tmp_path: Path, out: Path, serve: Serve, line: Line
) -> None:
    def reply(messages: list[Message]) -> str:
        if is_answer(messages):
            return honest(messages)
        return "高血压怎样诊断？" if "高血压的病因是什么" in user(messages) else "高血压的病因是什么？"

    server = serve(reply=reply)
    here(*line(write(tmp_path / "in", {"a.md": FOLDER["a.md"]}), server, "--pairs-per-passage", 2))
    assert [question(row) for row in rows(out)] == ["高血压的病因是什么？", "高血压怎样诊断？"]
    assert steps(server) == ["question", "answer", "question", "answer"]
    first, second = (user(server.seen[place].body["messages"]) for place in (0, 2))
    assert "高血压的病因是什么？" not in first
    assert "- 高血压的病因是什么？" in second


def test_a_question_that_repeats_an_earlier_one_is_dropped(tmp_path: Path, out: Path, serve: Serve, line: Line) -> None:
    server = serve(reply=honest)
    here(*line(write(tmp_path / "in", {"a.md": FOLDER["a.md"]}), server, "--pairs-per-passage", 2))
    assert steps(server) == ["question", "answer", "question", "question"]
    assert len(rows(out)) == 1
    assert rules(out) == ["repeated_question"]


@pytest.mark.parametrize(
    "language, text, said",
    [
        pytest.param("en", PRESSURE, ("What causes high blood pressure?", "Salt, obesity and stress do."), id="en"),
        pytest.param("zh", ASTHMA, ("哮喘发作时怎么办？", "发作时吸入沙丁胺醇，并随身携带。"), id="zh"),
    ],
)
def test_pairs_come_in_the_language_asked_for(
    tmp_path: Path, out: Path, serve: Serve, line: Line, language: str, text: str, said: tuple[str, str]
) -> None:
    server = serve(reply=lambda messages: said[is_answer(messages)])
    done = here(*line(write(tmp_path / "in", {"a.md": page("T", "S", text)}), server, "--language", language))
    assert done.code == 0, done.stderr
    assert pairs(out) == dict([said])
    assert rows(out)[0]["language"] == language
    system = server.seen[0].body["messages"][0]["content"]
    assert bool(re.search(r"[\u3400-\u9fff]", system)) == (language == "zh")


def test_the_temperature_is_sent_and_nothing_that_was_not_given(folder: Path, serve: Serve, line: Line) -> None:
    server = serve(reply=honest)
    here(*line(folder, server, "--temperature", 0.3))
    assert {seen.body["temperature"] for seen in server.seen} == {0.3}
    assert {name for seen in server.seen for name in seen.body} == {"model", "messages", "temperature"}


# Prompts of one's own

OWN = """\
---
id: own.question.zh
version: 7
language: zh
source_type: other
step: question
---
## system
你是病人家属，请提一个问题。
## user
内容：
{{ passage }}
"""


def test_prompts_of_the_users_folder_stand_before_the_shipped_ones(
    tmp_path: Path, folder: Path, out: Path, serve: Serve, line: Line
) -> None:
    server = serve(reply=honest)
    own = write(tmp_path / "own", {"unify/question.zh.other.md": OWN})
    assert here(*line(folder, server, "--prompts", own)).code == 0
    systems = Counter(seen.body["messages"][0]["content"] for seen in server.seen)
    assert systems["你是病人家属，请提一个问题。"] == 2
    assert [row["prompt"].split("#")[0] for row in rows(out)][:2] == ["own.question.zh@7"] * 2
    assert rows(out)[2]["prompt"].startswith("unify.question.en.other@")
    write(own, {"unify/question.zh.other.md": OWN.replace("家属", "朋友")})
    changed = here(*line(folder, server, "--prompts", own))
    assert (changed.code, "prompts was" in changed.line) == (2, True)


@pytest.mark.parametrize(
    "prompt, said",
    [
        pytest.param(OWN.replace("passage", "pasage"), "pasage", id="unknown-variable"),
        pytest.param(OWN.replace("}}", "}"), "question.zh.other.md:", id="not-jinja"),
        pytest.param(OWN.replace("id: own.question.zh\n", ""), "lacks id", id="no-id"),
    ],
)
def test_a_broken_prompt_is_refused_before_anything_is_sent(
    tmp_path: Path, folder: Path, out: Path, serve: Serve, line: Line, prompt: str, said: str
) -> None:
    server = serve(reply=honest)
    done = here(*line(folder, server, "--prompts", write(tmp_path / "own", {"question.zh.other.md": prompt})))
    assert done.code == 2, done.stderr
    assert said in done.line
    assert not server.seen
    assert not out.exists()


# Checks

LOOP = "多喝水，注意休息，按时复查。" * 12
DEFECTS = {
    "leakage": lambda text: f"根据上文，{text}",
    "number_not_in_source": lambda text: f"{text}每日服用9731毫克。",
    "url_not_in_source": lambda text: f"{text}详见 https://example.org/ad 。",
    "wrong_language": lambda text: "High blood pressure is caused by salt, obesity and stress, which are all common.",
    "truncated": lambda text: f"{text[:-1]}，",
    "too_short": lambda text: "是。",
    "repetition": lambda text: LOOP,
    "unsupported": lambda text: "阑尾切除以后应当尽早下床走动，避免肠子粘连，伤口每隔几天换药。",
}


@pytest.mark.parametrize("rule", DEFECTS)
def test_a_bad_answer_is_asked_once_more_and_then_dropped_with_its_rule(
    tmp_path: Path, out: Path, serve: Serve, line: Line, rule: str
) -> None:
    def reply(messages: list[Message]) -> str:
        text = honest(messages)
        return DEFECTS[rule](text) if is_answer(messages) and PRESSURE in user(messages) else text

    server = serve(reply=reply)
    done = here(*line(write(tmp_path / "in", {"a.md": FOLDER["a.md"], "b.md": FOLDER["b.md"]}), server))
    assert done.code == 0
    assert done.summary["dropped"] == {rule: 1}
    assert [answer(row) for row in rows(out)] == [GOUT]
    found = rows(beside(out, "trace"))
    assert [(row["source"], row["step"], row["rule"]) for row in found] == [("a.md", "answer", rule)]
    assert found[0]["excerpt"] == DEFECTS[rule](PRESSURE)[:200]
    asked = Counter(seen.key for seen in server.seen if PRESSURE in user(seen.body["messages"]))
    assert sorted(asked.values()) == [1, 2]  # the question, and the answer twice
    assert len(server.seen) == 5


@pytest.mark.parametrize(
    "rule, text",
    [
        ("leakage", "根据上文，高血压的病因是什么？"),
        ("wrong_language", "What are the main causes of high blood pressure in adults, and which of them can change?"),
        ("too_long", "高血压的病因是什么？" * 30),
    ],
)
def test_a_bad_question_is_dropped_before_an_answer_is_paid_for(
    tmp_path: Path, out: Path, serve: Serve, line: Line, rule: str, text: str
) -> None:
    server = serve(reply=lambda messages: text)
    here(*line(write(tmp_path / "in", {"a.md": FOLDER["a.md"]}), server))
    assert steps(server) == ["question", "question"]
    assert [(row["step"], row["rule"]) for row in rows(beside(out, "trace"))] == [("question", rule)]
    assert rows(out) == []


def test_the_second_reply_is_kept_when_it_is_good(tmp_path: Path, out: Path, serve: Serve, line: Line) -> None:
    turns = itertools.count()

    def reply(messages: list[Message]) -> str:
        text = honest(messages)
        return f"根据上文，{text}" if is_answer(messages) and not next(turns) else text

    server = serve(reply=reply)
    folder = write(tmp_path / "in", {"a.md": FOLDER["a.md"]})
    done = here(*line(folder, server))
    assert [answer(row) for row in rows(out)] == [PRESSURE]
    assert done.summary["dropped"] == {}
    before = files(out)
    again = here(*line(folder, server, "--fresh"))
    assert files(out) == before
    assert again.summary["requests"] == {"sent": 0, "cached": 3, "retried": 0}
    assert len(server.seen) == 3


def test_what_models_put_around_a_reply_is_taken_off(tmp_path: Path, out: Path, serve: Serve, line: Line) -> None:
    def reply(messages: list[Message]) -> str:
        return f"<think>想想</think>\n答案：{PRESSURE}" if is_answer(messages) else "1. “高血压的病因是什么？”"

    here(*line(write(tmp_path / "in", {"a.md": FOLDER["a.md"]}), serve(reply=reply)))
    assert pairs(out) == {"高血压的病因是什么？": PRESSURE}


# Failures


def test_rows_that_fail_are_listed_with_class_and_attempts(folder: Path, out: Path, serve: Serve, line: Line) -> None:
    server = serve(reply=honest, fault=planned({PRESSURE: ["filter!"], GOUT: ["server!"]}))
    done = here(*line(folder, server, "--attempts", 2))
    assert done.code == 3
    assert done.summary["failed"] == {"content_filter": 1, "server": 1}
    assert done.summary["failed_rows"] == str(beside(out, "failed"))
    assert str(beside(out, "failed")) in done.line
    found = [(row["source"], row["step"], row["class"], row["attempts"]) for row in rows(beside(out, "failed"))]
    assert found == [("a.md", "question", "content_filter", 1), ("b.md", "question", "server", 2)]
    assert all(row["id"] and row["message"] for row in rows(beside(out, "failed")))
    assert pq.read_schema(beside(out, "failed")).metadata[b"datatools.schema"] == b"failed/1"
    assert [row["source"] for row in rows(out)] == ["c.md"]


@pytest.mark.parametrize(
    "fault, kind, attempts",
    [
        ("long", "context_length", 1),
        ("blank", "empty", 2),
        ("truncated_json", "malformed", 2),
        ("length", "truncated", 1),
    ],
)
def test_each_failure_has_its_class(
    tmp_path: Path, out: Path, serve: Serve, line: Line, fault: str, kind: str, attempts: int
) -> None:
    server = serve(reply=honest, fault=planned({PRESSURE: [f"{fault}!"]}))
    folder = write(tmp_path / "in", {"a.md": FOLDER["a.md"], "b.md": FOLDER["b.md"]})
    assert here(*line(folder, server, "--attempts", 2)).code == 3
    assert [(row["class"], row["attempts"]) for row in rows(beside(out, "failed"))] == [(kind, attempts)]


def test_retry_failed_asks_for_those_alone(folder: Path, out: Path, serve: Serve, line: Line) -> None:
    broken = {"now": True}
    plan = planned({GOUT: ["server!"]})
    server = serve(reply=honest, fault=lambda key, nth, body: plan(key, nth, body) if broken["now"] else "")
    assert here(*line(folder, server, "--attempts", 1)).code == 3
    broken["now"] = False
    sent = len(server.seen)
    again = here(*line(folder, server, "--attempts", 1))
    assert (again.code, len(server.seen)) == (3, sent)  # given up is given up
    done = here(*line(folder, server, "--attempts", 1, "--retry-failed"))
    assert done.code == 0, done.stderr
    assert [GOUT in user(seen.body["messages"]) for seen in server.seen[sent:]] == [True, True]
    assert done.summary["failed_rows"] is None
    assert not beside(out, "failed").exists()
    assert [row["source"] for row in rows(out)] == ["a.md", "b.md", "c.md"]


@pytest.mark.parametrize("fault", ["quota", "quota_200", "auth", "forbidden", "model"])
def test_what_would_fail_every_row_stops_the_run(folder: Path, out: Path, serve: Serve, line: Line, fault: str) -> None:
    server = serve(reply=honest, fault=planned({"": [f"{fault}!"]}))
    done = here(*line(folder, server, "--quiet"))
    assert done.code == 4
    assert len(done.stderr.splitlines()) == 1
    assert server.url in done.line
    assert "model m" in done.line
    assert done.summary["error"] in done.line
    assert "sk-secret" not in done.stderr + done.stdout
    assert not out.exists()


def test_after_a_stop_the_same_line_goes_on(folder: Path, out: Path, serve: Serve, line: Line) -> None:
    empty = {"now": True}
    plan = planned({GOUT: ["quota!"]})
    server = serve(reply=honest, fault=lambda key, nth, body: plan(key, nth, body) if empty["now"] else "")
    assert here(*line(folder, server, "--concurrency", 1)).code == 4
    good = Counter(seen.key for seen in server.seen if not seen.fault)
    empty["now"] = False
    done = here(*line(folder, server, "--concurrency", 1))
    assert done.code == 0, done.stderr
    assert len(rows(out)) == 3
    assert all(count == 1 for count in Counter(seen.key for seen in server.seen if not seen.fault).values())
    assert good


def test_nobody_there_is_said_with_the_url(folder: Path, out: Path) -> None:
    with socket.socket() as taken:  # bound but not listening: nobody answers, and nobody else can take it
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        done = here("unify", folder, "--out", out, "--model", "m", "--base-url", url, "--attempts", 2, "--json")
    assert done.code == 4
    assert f"{url} has never answered" in done.line
    assert done.summary["error"]
    assert not out.exists()


@pytest.mark.parametrize("options", [["--base-url", "https://api.example.com/v1"], []], ids=["url", "default"])
def test_a_hosted_endpoint_needs_a_key(folder: Path, out: Path, options: list[str]) -> None:
    done = here("unify", folder, "--out", out, "--model", "m", *options, "--api-key-env", "MY_KEY", "--json")
    assert done.code == 2
    assert "MY_KEY" in done.line
    assert not out.with_suffix(".work").exists()


@pytest.mark.parametrize(
    "options, said",
    [
        (["--language", "en"], "--model"),
        (["--language", "fr", "--model", "m"], "must be zh, en or same"),
        (["--rewrite-pairs"], "--model"),
        (["--base-url", "http://127.0.0.1:9/v1"], "--model"),
        (["--model", "m", "--base-url", "localhost:8000"], "http://localhost:8000/v1"),
        (["--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--prompts", "nowhere"], "nowhere"),
        (["--pairs-per-passage", "0"], "must be 1 or more"),
    ],
    ids=lambda value: "-".join(value).replace("/", "_") if isinstance(value, list) else "",
)
def test_options_that_cannot_work_are_refused(folder: Path, out: Path, options: list[str], said: str) -> None:
    done = here("unify", folder, "--out", out, *options)
    assert done.code == 2, done.stderr
    assert said in done.line


KEY = "sk-prj-4uYh2Qe8ZrT1"


def test_the_key_is_sent_and_never_written(
    folder: Path, out: Path, serve: Serve, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAULTS, "echo", lambda text, wait: error(400, f"key {KEY} may not do this"))
    monkeypatch.setenv("MY_KEY", KEY)
    server = serve(reply=honest, fault=planned({GOUT: ["echo!"]}))
    done = here(*line(folder, server, "--api-key-env", "MY_KEY", "--debug"))
    assert done.code == 3
    assert all(f"Bearer {KEY}" in seen.headers for seen in server.seen)
    assert "may not do this" in rows(beside(out, "failed"))[0]["message"]
    assert KEY not in done.stdout + done.stderr
    written = [path for path in out.parent.rglob("*") if path.is_file()]
    assert {"manifest.jsonl", "journal.sqlite", "sft.parquet", "sft.failed.parquet"} <= {path.name for path in written}
    for path in written:
        assert KEY.encode() not in path.read_bytes(), path
    for name in ("sft.parquet", "sft.failed.parquet"):
        assert KEY not in str(rows(out.parent / name))


# The journal


def test_a_finished_job_run_again_asks_for_nothing(folder: Path, out: Path, serve: Serve, line: Line) -> None:
    server = serve()
    first = here(*line(folder, server))
    before, sent = files(out), len(server.seen)
    second = here(*line(folder, server))
    assert files(out) == before
    assert len(server.seen) == sent
    assert second.summary["requests"] == {"sent": 0, "cached": sent, "retried": 0}
    assert second.summary["requests_total"] == first.summary["requests_total"] == {"sent": sent, "retried": 0}


def test_fresh_keeps_the_journal(folder: Path, out: Path, serve: Serve, line: Line) -> None:
    server = serve()
    here(*line(folder, server))
    before, sent = files(out), len(server.seen)
    again = here(*line(folder, server, "--fresh"))
    assert (again.code, files(out), len(server.seen)) == (0, before, sent)


def test_another_port_of_this_machine_is_the_same_endpoint(folder: Path, out: Path, serve: Serve, line: Line) -> None:
    here(*line(folder, serve(reply=honest)))
    before, moved = files(out), serve(reply=honest)
    done = here(*line(folder, moved))
    assert done.code == 0, done.stderr
    assert files(out) == before
    assert not moved.seen


def test_another_model_is_refused_and_with_fresh_asked_anew(folder: Path, out: Path, serve: Serve, line: Line) -> None:
    server = serve(reply=honest)
    here(*line(folder, server))
    other = [word if word != "m" else "m2" for word in line(folder, server)]
    refused = here(*other)
    assert refused.code == 2
    assert 'model was "m", now "m2"' in refused.line
    assert "--fresh" in refused.line
    assert len(server.seen) == 6
    assert here(*other, "--fresh").code == 0
    assert [seen.body["model"] for seen in server.seen] == ["m"] * 6 + ["m2"] * 6
    assert {row["generator"] for row in rows(out)} == {"m2"}


def test_a_job_may_go_from_rules_to_a_model_only_with_fresh(folder: Path, out: Path, serve: Serve, line: Line) -> None:
    server = serve(reply=honest)
    assert here("unify", folder, "--out", out).code == 0
    assert here(*line(folder, server)).code == 2
    assert here(*line(folder, server, "--fresh")).code == 0
    assert {row["generator"] for row in rows(out)} == {"m"}
    assert here("unify", folder, "--out", out, "--fresh").code == 0
    assert {row["generator"] for row in rows(out)} == {"rules"}


def test_limit_asks_for_so_many_documents(folder: Path, out: Path, serve: Serve, line: Line) -> None:
    server = serve(reply=honest)
    assert here(*line(folder, server, "--limit", 1)).code == 0
    assert len(server.seen) == 2
    done = here(*line(folder, server, "--fresh"))
    assert (len(rows(out)), len(server.seen)) == (3, 6)
    assert done.summary["requests"]["cached"] == 2


# Pushback, latency and faults


def test_retry_after_is_honoured_and_costs_no_attempt(folder: Path, out: Path, serve: Serve, line: Line) -> None:
    server = serve(reply=honest, fault=planned({PRESSURE: ["rate:1"]}))
    done = here(*line(folder, server, "--attempts", 1, "--concurrency", 1))
    assert done.code == 0, done.stderr
    pushed = next(place for place, seen in enumerate(server.seen) if seen.fault)
    assert server.seen[pushed + 1].arrival - server.seen[pushed].arrival >= 1.0
    assert done.summary["requests"] == {"sent": 8, "cached": 0, "retried": 2}


class Uneven(ModelServer):
    """A server whose replies overtake each other."""

    _waits = random.Random(3)

    @property
    def latency(self) -> float:
        return self._waits.choice([0.001, 0.02, 0.06])

    @latency.setter
    def latency(self, seconds: float) -> None:
        pass


def pages(count: int) -> dict[str, str]:
    """Pages of one passage each, different in every sentence."""
    texts = (
        f"第{n}号病例的收缩压为{100 + n} mmHg，诊断为第{n}型高血压，每日服药{n}片，{n}天后复查。" for n in range(count)
    )
    return {f"{n:03d}.md": page(f"病例{n}", f"第{n}型的治疗", text) for n, text in enumerate(texts)}


def test_rows_come_in_input_order_whatever_the_latency(tmp_path: Path, serve: Serve) -> None:
    folder = write(tmp_path / "in", pages(40))
    made = []
    with Uneven(reply=physician.reply) as uneven:
        for server, concurrency in ((uneven, 16), (serve(), 1)):
            out = tmp_path / str(concurrency) / "sft.parquet"
            line = ["unify", folder, "--out", out, "--model", "m", "--base-url", server.url]
            assert here(*line, "--concurrency", concurrency).code == 0
            made.append(files(out))
        arrived = [re.search(r"第(\d+)号病例", user(seen.body["messages"])) for seen in uneven.seen]
    assert made[0] == made[1]
    sources = [row["source"] for row in rows(tmp_path / "16" / "sft.parquet")]
    assert sources == sorted(sources)
    assert len(sources) > 30
    numbers = [int(found[1]) for found in arrived if found]
    assert numbers != sorted(numbers)  # the replies did overtake each other


def test_a_run_among_faults_gives_the_bytes_of_a_run_without(tmp_path: Path, serve: Serve) -> None:
    folder = write(tmp_path / "in", pages(40))
    made = []
    for name, fault in (("calm", ""), ("storm", "rate=0.1,server=0.05,reset=0.03,truncated_json=0.02,short=0.02")):
        out = tmp_path / name / "sft.parquet"
        server = serve(fault=mixed(fault, 4))
        done = here("unify", folder, "--out", out, "--model", "m", "--base-url", server.url, "--json")
        assert done.code == 0, done.stderr
        made.append(files(out))
    assert made[0] == made[1]
    assert done.summary["requests"]["retried"] > 5
    assert max(Counter(seen.key for seen in server.seen if not seen.fault).values()) <= 2  # a re-ask after a check


# Signals and kills


def test_an_interrupted_run_is_resumed_without_asking_again(
    tmp_path: Path, out: Path, serve: Serve, line: Line
) -> None:
    server = serve(reply=honest, latency=0.02)
    words = line(write(tmp_path / "in", pages(60)), server, "--concurrency", 4)
    process = started(*words)
    assert until(process, lambda: len(server.seen) >= 20)
    process.send_signal(signal.SIGTERM)
    stopped = ended(process)
    assert stopped.code == 130, stopped.stderr
    assert "interrupted" in stopped.summary["error"]
    assert not out.exists()
    done = here(*words)
    assert done.code == 0, done.stderr
    assert len(rows(out)) == 60
    assert len(server.seen) <= 120 + in_flight(out)
    assert done.summary["requests_total"]["sent"] >= len(server.seen)


def in_flight(out: Path) -> int:
    """Calls that were under way when a run of the job ended, over all runs, as the journal tells."""
    with closing(sqlite3.connect(out.with_suffix(".work") / "journal.sqlite")) as journal:
        events = dict(journal.execute("select event, count(*) from attempt group by event").fetchall())
    begun = events.pop("start", 0) + events.pop("retry", 0)
    return begun - sum(events.values())


@pytest.mark.slow
def test_kill_9_at_50_moments_among_faults_gives_the_same_bytes_and_asks_for_nothing_twice(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    folder, log = write(tmp_path / "in", pages(150)), tmp_path / "requests.jsonl"
    calm = tmp_path / "calm" / "sft.parquet"
    undisturbed = serve(reply=honest)
    assert here("unify", folder, "--out", calm, "--model", "m", "--base-url", undisturbed.url, "--no-curate").code == 0
    unique = {seen.key for seen in undisturbed.seen}
    assert len(unique) == len(undisturbed.seen) == 300

    faults = mixed("rate=0.1,server=0.05,reset=0.03,truncated_json=0.02,hang=0.02", 9)
    server = serve(reply=honest, fault=faults, latency=0.03, log=log)
    out = tmp_path / "storm" / "sft.parquet"
    line = [sys.executable, "-m", "tests.pipelines.impatient", "unify", folder, "--out", out, "--model", "m"]
    words = [
        *map(str, line),
        "--base-url",
        server.url,
        "--concurrency",
        "8",
        "--timeout",
        "1",
        "--no-curate",
        "--workers",
        "1",
    ]
    chance = random.Random(8)
    kills = 0
    while kills < 50:
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True
        )
        wanted = len(server.seen) + chance.randint(1, 9)
        assert killed_when(process, lambda wanted=wanted: len(server.seen) >= wanted), "the run ended too early"
        assert not out.exists()
        kills += 1
    done = subprocess.run([*words, "--json"], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert files(out) == files(calm)

    outcomes = [json.loads(entry) for entry in log.read_text(encoding="utf-8").splitlines()]
    good = Counter(entry["key"] for entry in outcomes if entry["outcome"] == "ok")
    assert set(good) == unique
    lost = in_flight(out)
    assert lost <= kills * 16
    assert sum(good.values()) <= len(unique) + lost
    assert len(outcomes) - sum(good.values()) > 20  # the faults did happen
    assert json.loads(done.stdout)["requests_total"]["sent"] >= len(outcomes)
    assert f"{lost} calls were under way" in done.stderr
