"""`datatools journal`: what a job asked of its models, and its raw replies as JSONL."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import pipelines.asking as asking
from datatools.llm.journal import Journal
from datatools.llm.reply import parse
from tests.conftest import REPOSITORY
from tests.llm.model_server import ModelServer, planned
from tests.pipelines.command import ended, here, killed_when, rows, started, until, write

Serve = Callable[..., ModelServer]
PRESSURE = "高血压的发生与遗传、高盐饮食、肥胖和长期精神紧张有关，收缩压达到140 mmHg即可诊断。"
GOUT = "痛风由尿酸盐结晶沉积在关节引起，肥胖的病人更容易发作，急性期可用秋水仙碱0.5 mg。"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits before another try are a hundredth of what they are for users."""
    monkeypatch.setattr(asking, "Settings", partial(asking.Settings, backoff=0.01))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pages = {"a.md": f"# 高血压\n\n## 病因\n\n{PRESSURE}\n", "b.md": f"# 痛风\n\n## 病因\n\n{GOUT}\n"}
    return write(tmp_path / "in", pages)


def unify(folder: Path, out: Path, server: ModelServer, *options: object) -> list[object]:
    return ["unify", folder, "--out", out, "--model", "m", "--base-url", server.url, "--attempts", 2, *options]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_it_counts_what_was_sent_what_failed_and_what_it_cost(folder: Path, out: Path, serve: Serve) -> None:
    server = serve(fault=planned({PRESSURE: ["server", ""], GOUT: ["reset!"]}))
    done = here(*unify(folder, out, server, "--json"))
    assert done.code == 3
    shown = here("journal", out, "--json", "--price-in", 1, "--price-out", 3)
    assert shown.code == 0, shown.stderr
    found = shown.summary
    assert found["requests"] == {"unique": 3, "sent": len(server.seen), "retried": 3}
    assert found["requests"]["sent"] == done.summary["requests"]["sent"]
    assert found["tokens"] == done.summary["tokens"]
    assert found["cost"] == pytest.approx((found["tokens"]["prompt"] + 3 * found["tokens"]["completion"]) / 1e6)
    assert (found["errors"], found["failed"]) == ({"connection": 2, "server": 2}, {"connection": 1})
    assert (found["unfinished"], found["may_have_been_billed"]) == (0, 2)
    assert [use["model"] for use in found["models"]] == ["m"]


def test_one_screen_says_the_same(folder: Path, out: Path, serve: Serve) -> None:
    here(*unify(folder, out, serve(fault=planned({GOUT: ["filter!"]}))))
    shown = here("journal", out.with_suffix(".work"))
    assert shown.code == 0
    assert "3 different ones, 3 calls sent, 0 of them retries; 2 replies" in shown.stdout
    assert "content_filter 1" in shown.stdout and "--retry-failed" in shown.stdout
    assert "cost unknown (--price-in, --price-out)" in shown.stdout


def test_the_export_holds_every_raw_reply_with_what_it_answers(
    folder: Path, out: Path, serve: Serve, tmp_path: Path
) -> None:
    server = serve(fault=planned({PRESSURE: ["think", "bad_utf8", ""], GOUT: ["no_choices", "reasoning", ""]}))
    here(*unify(folder, out, server, "--temperature", 0.3))
    export = tmp_path / "replies" / "raw.jsonl"
    shown = here("journal", out, "--export", export, "--json")
    assert shown.summary["export"] == str(export)
    found = lines(export)
    assert shown.summary["exported"] == shown.summary["replies"] == len(found) == len(server.seen)
    for line in found:
        assert line["model"] == line["request"]["model"] == "m"
        assert line["request"]["temperature"] == 0.3
        assert any(line["request"]["messages"] == seen.body["messages"] for seen in server.seen)
    raw = [line["raw"].encode() if "raw" in line else base64.b64decode(line["raw_base64"]) for line in found]
    with Journal(out.with_suffix(".work") / "journal.sqlite") as journal:
        stored = [reply for key in {line["key"] for line in found} for reply in journal.replies_to(bytes.fromhex(key))]
    assert sorted(raw) == sorted(stored)
    classes = [line["class"] for line in found]
    assert {"malformed", None} == set(classes)
    assert {"想"} <= {line.get("reasoning") for line in found}
    assert all(line["text"] == parse(line["raw"].encode()).text for line in found if line["class"] is None)


def test_it_reads_while_a_run_goes_on_and_after_it_was_killed(folder: Path, out: Path, serve: Serve) -> None:
    answered: list[bool] = []
    server = serve(fault=lambda key, nth, body: "" if GOUT in body["messages"][-1]["content"] else "hang")
    process = started(*unify(folder, out, server))
    file = out.with_suffix(".work") / "journal.sqlite"

    def replied() -> bool:
        answered[:] = [file.exists() and here("journal", out, "--json").summary.get("replies", 0) > 0]
        return answered[0] and len(server.seen) > 1

    assert killed_when(process, replied)
    found = here("journal", out, "--json").summary
    assert found["replies"] >= 1
    assert found["unfinished"] == found["may_have_been_billed"] >= 1
    assert "cut off by a kill" in here("journal", out).stdout


def test_a_run_is_not_disturbed_by_being_looked_at(folder: Path, out: Path, serve: Serve, tmp_path: Path) -> None:
    server = serve(latency=0.3)
    process = started(*unify(folder, out, server))
    assert until(process, lambda: len(server.seen) > 0)
    while process.poll() is None:
        here("journal", out, "--export", tmp_path / "raw.jsonl")
    assert ended(process).code == 0
    assert len(rows(out)) == 2 and len(server.seen) == 4


def test_a_changed_check_makes_use_of_every_paid_reply(
    folder: Path, out: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    with monkeypatch.context() as strict:
        strict.setattr("pipelines.unify_generate.check_pair", lambda *args, **options: ({}, ("too_strict",)))
        assert here(*unify(folder, out, server, "--json")).summary["dropped"] == {"too_strict": 2}
    sent = len(server.seen)
    assert sent == 6 and rows(out) == []  # two questions, and two answers asked for twice
    again = here(*unify(folder, out, server, "--json", "--fresh"))
    assert again.summary["requests"]["sent"] == 0 and len(server.seen) == sent
    assert len(rows(out)) == 2


def test_a_changed_prompt_or_parameter_is_asked_anew(folder: Path, out: Path, serve: Serve, tmp_path: Path) -> None:
    server = serve()
    here(*unify(folder, out, server))
    here(*unify(folder, out, server, "--fresh", "--temperature", 0.5))
    assert len(server.seen) == 8
    shipped = (REPOSITORY / "prompts/unify/question.zh.other.md").read_text(encoding="utf-8")
    own = write(tmp_path / "own", {"unify/question.zh.other.md": shipped.replace("## user", "请仔细。\n\n## user", 1)})
    here(*unify(folder, out, server, "--fresh", "--prompts", own))
    assert len(server.seen) > 8
    assert here("journal", out, "--json").summary["requests"]["unique"] == len(server.seen)


@pytest.mark.parametrize(
    "damage, said",
    [
        (lambda file: file.write_bytes(b"id,text\n" * 1000), "is not a journal"),
        (lambda file: file.write_bytes(b""), "is not a journal"),
        (lambda file: file.write_bytes(file.read_bytes()[:4096] + b"\0" * 30_000), "damaged"),
        (lambda file: file.unlink(), "asked no model"),
    ],
    ids=["foreign", "empty", "damaged", "absent"],
)
def test_what_cannot_be_read_is_said_in_one_line(
    folder: Path, out: Path, serve: Serve, damage: Callable[[Path], object], said: str
) -> None:
    here(*unify(folder, out, serve()))
    file = out.with_suffix(".work") / "journal.sqlite"
    damage(file)
    shown = here("journal", out, "--json")
    assert shown.code == 2
    assert said in shown.line and str(out.with_suffix(".work")) in shown.line
    assert len(shown.stderr.splitlines()) == 1 and shown.summary["error"] in shown.line


@pytest.mark.parametrize(
    "options, said",
    [
        (["nowhere.work"], "no such folder"),
        (["{out}", "--price-in", "1"], "give both"),
        (["{out}", "--export", "{folder}"], "is a folder"),
        (["{out}", "--export", "{work}/journal.sqlite"], "is the journal itself"),
    ],
    ids=["path", "price", "folder", "itself"],
)
def test_options_that_cannot_work_are_refused(
    folder: Path, out: Path, serve: Serve, options: list[str], said: str
) -> None:
    here(*unify(folder, out, serve()))
    work = out.with_suffix(".work")
    shown = here("journal", *[word.format(out=out, folder=folder, work=work) for word in options])
    assert (shown.code, said in shown.line) == (2, True), shown.stderr
    assert here("journal", out).code == 0
