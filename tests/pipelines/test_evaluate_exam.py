"""evaluate exam: planted shares come out as planted, in any order of the options; what cannot be read is no "B"."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datatools.evaluate.answers import choice_of
from datatools.evaluate.exam_items import exam_items
from pipelines.evaluate_exam import orders_of
from schemas.conversation import CONVERSATION
from tests import small
from tests.llm.examinee import Examinee
from tests.llm.model_server import ModelServer
from tests.pipelines.command import command, here, killed_when, lines_of, rows, started

FORMULAS = "麻黄汤 桂枝汤 银翘散 桑菊饮 四君子汤 六味地黄丸 补中益气汤 归脾汤 逍遥散 小柴胡汤 白虎汤 二陈汤".split()
SIGNS = "恶寒 发热 自汗 盗汗 头痛 咳嗽 气短 心悸 失眠 口渴 便溏 腰酸 胁痛 呕吐 眩晕 水肿 乏力 纳呆".split()


def written(path: Path, count: int, several: int = 0) -> Path:
    """An exam of so many different items, the first ones with two right options."""
    drawn = random.Random(5)
    made = []
    for number in range(count):
        options = drawn.sample(FORMULAS, 4)
        right = sorted(drawn.sample("ABCD", 2 if number < several else 1))
        signs = "、".join(drawn.sample(SIGNS, 4))
        made.append(
            {
                "question": f"第{number}位患者见{signs}，脉象第{number * 7 % 97}类，治疗宜选用的方剂是",
                "option": dict(zip("ABCD", options, strict=True)),
                "answer": "".join(right),
                "exam_subject": ("内科", "外科", "儿科")[number % 3],
                "exam": "模拟",
            }
        )
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in made), encoding="utf-8")
    return path


@pytest.fixture
def exam(tmp_path: Path) -> Path:
    return written(tmp_path / "exam.jsonl", 300, several=30)


def examinee(path: Path, **shares: float) -> Examinee:
    return Examinee.of(exam_items([str(path)]), **shares)


def asked(serve: Any, reply: Any, *arguments: object) -> Any:
    server = serve(reply=reply)
    return here("evaluate", "exam", *arguments, "--model", "m", "--base-url", server.url, "--json", "--quiet")


@pytest.mark.parametrize("scoring", ["stated", "schema"])
def test_planted_shares_come_out_as_planted(scoring: str, exam: Path, out: Path, serve: Any) -> None:
    known = examinee(exam, right=0.7, unparsed=0.1)
    ended = asked(serve, known, exam, "--out", out, "--scoring", scoring)
    score = ended.summary["scores"]["模拟"]
    assert ended.code == 0 and score["n"] == 300
    assert score["low"] <= 0.7 <= score["high"] and score["high"] - score["low"] < 0.12
    assert 20 <= score["unparsed"] <= 40
    found = rows(out)
    unread = [row for row in found if not row["predicted"]]
    assert len(unread) == score["unparsed"] and not any(row["correct"] for row in unread)
    assert {row["method"] for row in unread} == {"none"}
    assert sum(row["correct"] for row in found) / 300 == pytest.approx(score["accuracy"])
    assert set(score["subjects"]) == {"内科", "外科", "儿科"} and set(score["types"]) == {"single", "multiple"}
    assert all(row["correct"] == (row["predicted"] == row["answer"]) for row in found)


def test_other_orders_of_the_options_change_nothing_for_who_knows_and_all_for_who_does_not(
    exam: Path, tmp_path: Path, serve: Any
) -> None:
    knows = asked(
        serve, examinee(exam, right=1.0, unparsed=0.0), exam, "--out", tmp_path / "a.parquet", "--shuffles", 3
    )
    score = knows.summary["scores"]["模拟"]
    assert score["accuracy"] == 1.0 and score["consistent"]["share"] == 1.0 and score["n"] == 300
    guesses = asked(
        serve, examinee(exam, right=1.0, unparsed=0.0, bias=1.0), exam, "--out", tmp_path / "b.parquet", "--shuffles", 3
    )
    score = guesses.summary["scores"]["模拟"]
    assert 0.15 < score["accuracy"] < 0.32 and score["consistent"]["share"] < 0.05
    assert Counter(row["shuffle"] for row in rows(tmp_path / "b.parquet"))[0] == 300


def test_the_page_names_the_file_of_the_items(exam: Path, out: Path, tmp_path: Path, serve: Any) -> None:
    asked(serve, examinee(exam, right=1.0, unparsed=0.0), exam, "--out", out, "--limit", 3)
    assert here("report", out, "--out", tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"<bdi>{exam.name}</bdi>" in page and "<bdi>items</bdi>" not in page


def test_options_that_speak_of_others_keep_their_place(tmp_path: Path) -> None:
    options = {"A": "麻黄汤", "B": "桂枝汤", "C": "银翘散", "D": "以上均非"}
    path = tmp_path / "e.jsonl"
    lines = [
        {"question": "首选", "options": options, "answer": "A"},
        {"question": "宜选", "options": {**options, "D": "A和B"}, "answer": "D"},
    ]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in lines), encoding="utf-8")
    last, by_letter = exam_items([str(path)])
    orders = orders_of(last, 20, seed=0)
    assert len(set(orders)) > 3 and {order[-1] for order in orders} == {"D"}
    assert orders_of(by_letter, 20, seed=0) == [("A", "B", "C", "D")]


def test_examples_stand_before_the_item_and_are_not_the_item(exam: Path, tmp_path: Path, out: Path) -> None:
    with ModelServer(reply=examinee(exam)) as server:
        ended = here(
            "evaluate", "exam", exam, "--out", out, "--shots", 2, "--examples", exam, "--limit", 4, "--model", "m",
            "--base-url", server.url, "--json", "--quiet",
        )  # fmt: skip
        bodies = [seen.body["messages"] for seen in server.seen]
    assert ended.code == 0 and len(bodies) == 4
    for messages in bodies:
        assert [one["role"] for one in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
        assert messages[2]["content"].startswith("答案：")
        assert messages[-1]["content"] not in [one["content"] for one in messages[:-1]]


def test_leaked_items_are_marked_and_accuracy_is_given_without_them(exam: Path, tmp_path: Path, serve: Any) -> None:
    items = exam_items([str(exam)])
    learned = [
        {"messages": [{"role": "user", "content": item.text}, {"role": "assistant", "content": "略"}]}
        for item in items[100:150]
    ]
    both = {"messages": [{"role": "user", "content": f"{items[0].text}\n\n{items[1].text}"}, learned[0]["messages"][1]]}
    train = tmp_path / "sft.parquet"
    pq.write_table(pa.Table.from_pylist([*learned, both], schema=CONVERSATION), train)
    out = tmp_path / "out.parquet"
    ended = asked(serve, examinee(exam, right=1.0, unparsed=0.0), exam, "--out", out, "--train-data", train)
    score = ended.summary["scores"]["模拟"]
    assert score["leaked"]["n"] == 52 and score["without_leaked"]["n"] == 248
    assert {row["question"] for row in rows(out) if row["leaked"]} == {
        i.question for i in [*items[100:150], *items[:2]]
    }


def test_an_endpoint_without_log_probabilities_ends_with_a_line(exam: Path, out: Path, serve: Any) -> None:
    ended = asked(serve, examinee(exam), exam, "--out", out, "--scoring", "logprobs", "--limit", 40)
    assert ended.code == 2 and "gives no log-probabilities for m" in ended.line and not out.exists()


class Graded:
    """A model that gives the first token's probabilities: 0.6 to the letter it chooses, the rest to the others."""

    def __init__(self, path: Path, form: str) -> None:
        self.examinee, self.form = examinee(path, unparsed=0.0), form

    def of_body(self, body: dict[str, Any]) -> str:
        return choice_of(self.examinee(body["messages"]), dict.fromkeys("ABCD", "")).letters[0]

    def logprobs(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["logprobs"] is True and body["max_tokens"] == 1
        chosen = self.of_body(body)
        shares = {letter: 0.6 if letter == chosen else 0.08 for letter in "ABCD"} | {f" {chosen}": 0.1, "答": 0.06}
        told = {token: math.log(share) for token, share in shares.items()}
        if self.form == "completions":
            return {"tokens": [chosen], "token_logprobs": [told[chosen]], "top_logprobs": [told]}
        listed = [{"token": token, "logprob": value, "bytes": None} for token, value in told.items()]
        return {"content": [{"token": chosen, "logprob": told[chosen], "top_logprobs": listed}]}


@pytest.mark.parametrize("form", ["chat", "completions"])
def test_log_probabilities_of_an_endpoint(form: str, tmp_path: Path, out: Path, serve: Any) -> None:
    exam = written(tmp_path / "exam.jsonl", 60)
    ended = asked(serve, Graded(exam, form), exam, "--out", out, "--scoring", "logprobs")
    score = ended.summary["scores"]["模拟"]
    assert ended.code == 0 and score["low"] <= 0.7 <= score["high"] and score["methods"] == {"logprobs": 60}
    for row in rows(out):
        assert sorted(dict(row["probabilities"]).values()) == pytest.approx([0.08 / 0.94] * 3 + [0.7 / 0.94])


def test_an_endpoint_that_refuses_log_probabilities_is_quoted(exam: Path, out: Path, serve: Any) -> None:
    server = serve(reply=examinee(exam), fault=lambda *_: "no_logprobs")
    model = ("--model", "m", "--base-url", server.url)
    ended = here("evaluate", "exam", exam, "--out", out, "--scoring", "logprobs", *model)
    assert ended.code == 2 and "(400 logprobs is not supported by this model)" in ended.line and not out.exists()


def test_an_endpoint_that_gives_fewer_tokens_is_asked_for_fewer(tmp_path: Path, out: Path, serve: Any) -> None:
    exam = written(tmp_path / "exam.jsonl", 20)
    server = serve(
        reply=Graded(exam, "chat"), fault=lambda key, nth, body: "few_logprobs" if body["top_logprobs"] > 5 else ""
    )
    model = ("--model", "m", "--base-url", server.url, "--json", "--concurrency", 1)
    ended = here("evaluate", "exam", exam, "--out", out, "--scoring", "logprobs", *model)
    assert ended.code == 0 and len(rows(out)) == 20
    assert sum(seen.body["top_logprobs"] > 5 for seen in server.seen) < 20  # it is known after the first


def test_log_probabilities_in_process(tmp_path: Path, out: Path) -> None:
    exam = written(tmp_path / "exam.jsonl", 12, several=2)
    model = small.save(tmp_path / "model", "llama")
    ended = here(
        "evaluate", "exam", exam, "--out", out, "--scoring", "logprobs", "--model", f"transformers:{model}", "--json"
    )
    assert ended.code == 0 and ended.summary["dropped"] == {"several_answers": 2}
    found = rows(out)
    assert len(found) == 10 and {row["method"] for row in found} == {"logprobs"}
    for row in found:
        chances = dict(row["probabilities"])
        assert set(chances) == set("ABCD") and sum(chances.values()) == pytest.approx(1)
        assert row["predicted"] == [max(chances, key=lambda letter: chances[letter])]


def test_a_dry_run_sends_nothing_and_a_pilot_is_found_in_the_journal(exam: Path, out: Path) -> None:
    with ModelServer(reply=examinee(exam)) as server:
        options = ("--out", out, "--model", "m", "--base-url", server.url, "--json", "--quiet")
        dry = here("evaluate", "exam", exam, *options, "--dry-run")
        assert dry.code == 0 and dry.summary["dry_run"]["calls"] == 300 and not server.seen and not out.exists()
        assert here("evaluate", "exam", exam, *options, "--pilot", 5).summary["requests"]["sent"] == 5
        assert here("evaluate", "exam", exam, *options).summary["requests"] == {"sent": 295, "cached": 5, "retried": 0}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--scoring", "guess"), "--scoring guess: must be one of stated, schema, logprobs"),
        (("--shots", 2), "--shots 2: needs --examples FILE"),
        ((), "evaluate exam needs a model to ask"),
    ],
)
def test_settings_that_cannot_work(arguments: tuple[object, ...], said: str, exam: Path, out: Path) -> None:
    model = ("--model", "m", "--base-url", "http://127.0.0.1:9/v1") if arguments else ()
    ended = here("evaluate", "exam", exam, "--out", out, *arguments, *model)
    assert ended.code == 2 and said in ended.line


@pytest.mark.slow
def test_a_kill_in_the_middle_repeats_no_finished_call(tmp_path: Path) -> None:
    exam, log, out, whole = (
        written(tmp_path / "e.jsonl", 200),
        tmp_path / "log",
        tmp_path / "o.parquet",
        tmp_path / "w.parquet",
    )
    with ModelServer(reply=examinee(exam), latency=0.01, log=log) as server:
        options = ("--model", "m", "--base-url", server.url, "--json", "--quiet", "--concurrency", 4)
        assert command("evaluate", "exam", exam, "--out", whole, *options).code == 0
        before = lines_of(log)
        process = started("evaluate", "exam", exam, "--out", out, *options)
        assert killed_when(process, lambda: lines_of(log) >= before + 90)
        last = command("evaluate", "exam", exam, "--out", out, *options)
    assert last.code == 0 and last.summary["requests"]["cached"] >= 80 and out.read_bytes() == whole.read_bytes()
    assert lines_of(log) - before <= 200 + 4
