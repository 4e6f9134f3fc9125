"""prefer with models: candidates, a judge that must agree with itself, and what is kept of both."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.prefer_pairs import Candidate, Dropped, pair_of, within
from schemas.conversation import CONVERSATION
from schemas.fields import check
from schemas.records import PREFERENCE, UNPAIRED
from tests.llm.batch_server import BatchServer
from tests.llm.clinic import WORTH, Clinic, candidate
from tests.llm.model_server import ModelServer, planned
from tests.pipelines.command import Ended, beside, command, files, here, killed_when, lines_of, rows, started, write
from tests.pipelines.test_prefer import conversation

Serve = Callable[..., ModelServer]
ROWS = 24
WRITERS = ("--model", "a", "--model", "b", "--temperature", 0.5, "--temperature", 1, "--judge-model", "j")
AILMENTS = "头痛 咳嗽 失眠 便秘 反酸 腰痛 鼻塞 皮疹 心慌 乏力 耳鸣 口干".split()


def question(number: int) -> str:
    return f"{AILMENTS[number % len(AILMENTS)]}已经{number + 2}天了，该怎么办？"


def talks(count: int = ROWS) -> list[dict[str, Any]]:
    """Conversations whose own answers are of all worths."""
    answers = [candidate(question(number), random.Random(number), True) for number in range(count)]
    turns = [
        [{"role": "user", "content": question(number)}, {"role": "assistant", "content": text}]
        for number, text in enumerate(answers)
    ]
    return [conversation(number, "", messages=said, language="zh") for number, said in enumerate(turns)]


@pytest.fixture
def sft(tmp_path: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(talks(), schema=CONVERSATION), tmp_path / "in.parquet")
    return tmp_path / "in.parquet"


def prefer(source: Path, out: Path, server: Any, *more: object, writers: tuple[object, ...] = WRITERS) -> Ended:
    return here("prefer", source, "--out", out, "--base-url", server.url, "--json", *writers, *more)


# The pair


def test_both_orders_agree_on_every_pair_and_all_scores_are_kept(sft: Path, out: Path, serve: Serve) -> None:
    server = serve(reply=Clinic())
    ended = prefer(sft, out, server)
    assert ended.code == 0, ended.stderr
    check(pq.read_schema(out), PREFERENCE, out)
    pairs = rows(out)
    dropped = [row for row in rows(beside(out, "trace")) if row["step"] == "prefer"]
    assert len(pairs) + len(dropped) == ended.summary["rows_read"] == ROWS and len(pairs) >= ROWS // 2
    for pair in pairs:
        sides = {one["side"]: one for one in pair["candidates"] if one["side"]}
        leads = [a - b for a, b in zip(sides["chosen"]["score"], sides["rejected"]["score"], strict=True)]
        assert min(leads) >= 1 and sides["chosen"]["flags"] == []
        assert pair["chosen_score"] == sum(sides["chosen"]["score"]) / 2 > pair["rejected_score"]
        assert within(pair["chosen"][0]["content"], pair["rejected"][0]["content"])
        assert pair["judge"] == "j" and pair["rubric"].startswith("prefer.judge.zh@1#") and len(pair["reasons"]) == 2
        assert 2 <= len(pair["candidates"]) <= 4 and pair["candidates"][0]["generator"] == "rules"
        assert pair["prompt"] == [{"role": "user", "content": pair["prompt"][0]["content"]}]
    asked = Counter((seen.body["model"], seen.body.get("temperature")) for seen in server.seen)
    # Models take turns, and with each round comes the next temperature; a row costs three candidates and two verdicts.
    assert {name: asked[name] for name in (("a", 0.5), ("b", 0.5), ("a", 1.0))} == {
        ("a", 0.5): ROWS,
        ("b", 0.5): ROWS,
        ("a", 1.0): ROWS,
    }
    assert asked["j", 0.0] <= 2 * ROWS and asked.total() == ended.summary["requests"]["sent"]


def test_a_judge_that_prefers_what_stands_first_gives_no_pair(sft: Path, out: Path, serve: Serve) -> None:
    ended = prefer(sft, out, serve(reply=Clinic(bias=1.0)))
    assert (ended.code, ended.summary["rows_written"]) == (0, 0)
    found = Counter(row["rule"] for row in rows(beside(out, "trace")) if row["step"] == "prefer")
    assert found == {"orders_disagree": ROWS}


def worth(reply: list[dict[str, str]]) -> int:
    """How good an answer of the double is."""
    return sum(point in reply[0]["content"] for point, _ in WORTH)


def test_of_a_noisy_judge_a_wider_margin_gives_fewer_pairs_and_more_of_them_right(
    tmp_path: Path, sft: Path, serve: Serve
) -> None:
    server = serve(reply=Clinic(noise=5.0))
    found = {}
    for margin in (1, 5):
        out = tmp_path / f"{margin}.parquet"
        prefer(sft, out, server, "--margin", margin)
        right = [worth(row["chosen"]) > worth(row["rejected"]) for row in rows(out)]
        found[margin] = (len(right), sum(right) / len(right))
    assert found[1][0] > found[5][0] > 0 and 0.6 < found[1][1] < found[5][1]


def test_another_margin_costs_no_call(sft: Path, out: Path, serve: Serve) -> None:
    server = serve(reply=Clinic())
    prefer(sft, out, server)
    refused = prefer(sft, out, server, "--margin", 3)
    assert refused.code == 2 and "margin was 1.0, now 3.0" in refused.line
    assert prefer(sft, out, server, "--margin", 3, "--fresh").summary["requests"]["sent"] == 0
    assert all(row["chosen_score"] - row["rejected_score"] >= 3 for row in rows(out))


def test_what_breaks_a_check_is_rejected_but_never_chosen(tmp_path: Path, out: Path, serve: Serve) -> None:
    bad = "先吃阿莫西林500 mg，作为一个人工智能语言模型，我不能看病。" + "多休息，少熬夜，注意保暖，按时吃饭。" * 4
    made = [{**row, "messages": [row["messages"][0], {"role": "assistant", "content": bad}]} for row in talks(6)]
    pq.write_table(pa.Table.from_pylist(made, schema=CONVERSATION), tmp_path / "in.parquet")
    # A judge that likes the bad one best.
    fond = Clinic()

    class Fond:
        def of_body(self, body: dict[str, Any]) -> str:
            text = fond.of_body(body)
            if body["model"] != "j":
                return text
            shown = body["messages"][-1]["content"]
            points = json.loads(text)
            best = next(letter for letter in "ABCD" if f"回答 {letter}：\n先吃" in shown)
            points[best] = dict.fromkeys(points[best], 10)
            return json.dumps(points, ensure_ascii=False)

    ended = prefer(tmp_path / "in.parquet", out, serve(reply=Fond()))
    assert ended.code == 0, ended.stderr
    assert all(row["generator"] in "ab" and "人工智能" not in row["chosen"][0]["content"] for row in rows(out))
    flagged = [one for row in rows(out) for one in row["candidates"] if one["flags"]]
    assert flagged and all(one["side"] != "chosen" for one in flagged)


def test_equal_candidates_are_one(sft: Path, out: Path, serve: Serve) -> None:
    server = serve(reply=Clinic())
    ended = prefer(sft, out, server, writers=("--model", "a", "--temperature", 0))
    assert "equal_candidate" in ended.summary["dropped"] and ended.code == 0
    # Asked three times all the same: a served model is not deterministic, and `sample` tells the requests apart.
    assert ended.summary["dropped"]["equal_candidate"] >= 2 * ROWS
    assert "the judge is a writer too" in ended.stderr
    assert all(len(row["candidates"]) == 2 for row in rows(out))


def test_the_judge_sees_the_source_and_the_writers_do_not(tmp_path: Path, out: Path, serve: Serve) -> None:
    said = talks(4)
    lines = [
        {
            "question": row["messages"][0]["content"],
            "answer": row["messages"][1]["content"],
            "source_text": f"原书第{n}页。",
        }
        for n, row in enumerate(said)
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    server = serve(reply=Clinic())
    assert prefer(write(tmp_path, {"qa.jsonl": text}) / "qa.jsonl", out, server).code == 0
    for seen in server.seen:
        assert ("原书第" in json.dumps(seen.body, ensure_ascii=False)) == (seen.body["model"] == "j")


def test_a_talk_is_compared_by_its_last_reply(tmp_path: Path, out: Path, serve: Serve) -> None:
    said = talks(1)[0]["messages"]
    before = [
        {"role": "system", "content": "你在社区医院工作。"},
        {"role": "user", "content": "您好，我来看病。"},
        {"role": "assistant", "content": "您好，哪里不舒服？"},
    ]
    line = json.dumps({"messages": [*before, *said]}, ensure_ascii=False) + "\n"
    server = serve(reply=Clinic())
    assert prefer(write(tmp_path, {"talk.jsonl": line}) / "talk.jsonl", out, server).code == 0
    asked = next(seen.body["messages"] for seen in server.seen if seen.body["model"] == "a")
    assert [turn["role"] for turn in asked] == ["system", "user", "assistant", "user"]
    assert "严谨的医学专家" in asked[0]["content"] and asked[0]["content"].endswith("你在社区医院工作。")
    assert asked[3]["content"].startswith(said[0]["content"]) and "字）" in asked[3]["content"]
    judged = next(seen.body["messages"][1]["content"] for seen in server.seen if seen.body["model"] == "j")
    assert "assistant: 您好，哪里不舒服？" in judged
    (pair,) = rows(out)
    assert pair["prompt"] == [*before, said[0]]


def test_the_passages_of_unify_are_the_source_of_its_rows(example_corpus: Path, tmp_path: Path, serve: Serve) -> None:
    sft, out, server = tmp_path / "sft.parquet", tmp_path / "dpo.parquet", serve()
    assert (
        here("unify", example_corpus, "--out", sft, "--model", "m", "--base-url", server.url, "--limit", 12).code == 0
    )
    passages = {row["source_id"] for row in rows(sft) if row["generator"] == "m"}
    judge = serve(reply=Clinic())
    ended = prefer(sft, out, judge)
    assert ended.code == 0, ended.stderr
    judged = [seen.body["messages"][-1]["content"] for seen in judge.seen if seen.body["model"] == "j"]
    assert (
        passages and judged and sum("\n原文：\n" in text or "\nSource:\n" in text for text in judged) > len(judged) // 2
    )


# Where things go wrong


def test_a_verdict_that_is_none_is_a_failed_row(sft: Path, out: Path, serve: Serve) -> None:
    clinic = Clinic()

    class Broken:
        def of_body(self, body: dict[str, Any]) -> str:
            mute = body["model"] == "j" and question(0) in body["messages"][1]["content"]
            return "都不错。" if mute else clinic.of_body(body)

    ended = prefer(sft, out, serve(reply=Broken()))
    assert ended.code == 3 and ended.summary["failed"] == {"schema": 1}
    (failed,) = rows(beside(out, "failed"))
    assert (failed["id"], failed["step"], failed["class"]) == ("row-0", "judge", "schema")


def test_a_candidate_that_is_refused_leaves_the_others(sft: Path, out: Path, serve: Serve) -> None:
    def fault(key: str, nth: int, body: dict[str, Any]) -> str:
        return "filter" if body["model"] == "b" and question(1) in body["messages"][-1]["content"] else ""

    ended = prefer(sft, out, serve(reply=Clinic(), fault=fault))
    assert ended.code == 3 and ended.summary["failed"] == {"content_filter": 1}
    assert rows(beside(out, "failed"))[0]["step"] == "candidate 2"
    assert ended.summary["rows_written"] >= ROWS // 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--candidates", 1), "must be 2 to 8"),
        (("--margin", 0), "points of the judge's scale"),
        (("--negatives", "rules"), "needs no --model"),
        (("--model", "rules"), "writes no candidates"),
        (("--format", "ppo"), "one of dpo, rm, kto"),
    ],
)
def test_what_cannot_be_is_said(sft: Path, out: Path, serve: Serve, more: tuple[object, ...], said: str) -> None:
    ended = prefer(sft, out, serve(reply=Clinic()), *more)
    assert ended.code == 2 and said in ended.line


def test_a_judge_without_writers_and_a_dry_run_without_models_are_refused(sft: Path, out: Path) -> None:
    for more in (("--judge-model", "j"), ("--dry-run",), ("--budget", 1)):
        ended = here("prefer", sft, "--out", out, *more)
        assert ended.code == 2 and "--model NAME" in ended.line


# Endpoints, money, lanes


def test_models_may_live_at_several_endpoints(sft: Path, out: Path, serve: Serve) -> None:
    one, two, three = (serve(reply=Clinic()) for _ in range(3))
    writers = ("--model", "a", "--model", f"b@{two.url}", "--judge-model", "j", "--judge-base-url", three.url)
    assert prefer(sft, out, one, writers=writers).code == 0
    assert [{seen.body["model"] for seen in server.seen} for server in (one, two, three)] == [{"a"}, {"b"}, {"j"}]
    assert len(two.seen) == ROWS


def test_a_key_is_sent_to_its_own_host_alone(sft: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")
    line = ("prefer", sft, "--out", out, "--base-url", "https://one.example/v1", "--model", "a", "--pilot", 1)
    for more in (
        ("--judge-model", "j", "--judge-base-url", "https://two.example/v1"),
        ("--model", "b@https://two.example/v1"),
    ):
        ended = here(*line, *more)
        assert ended.code == 2 and "is not sent to two.example" in ended.line and "sk-own" not in ended.stderr
        named = here(*line, *more, "--api-key-env", "OPENAI_API_KEY,two.example=OTHER_KEY")
        assert named.code == 2 and "set OTHER_KEY" in named.line


def test_a_local_judge_gets_no_key(sft: Path, out: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.ask_items import key_variable

    assert key_variable("OPENAI_API_KEY", serve().url, "https://one.example/v1") == ""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own")
    server = serve(reply=Clinic())
    assert prefer(sft, out, server).code == 0  # one machine: all its servers are one host
    assert all("sk-own" in seen.headers for seen in server.seen)


def test_one_budget_holds_for_all_models(sft: Path, out: Path, serve: Serve) -> None:
    prices = ("--price-in", 1, "--price-out", 10)
    server = serve(reply=Clinic())
    stopped = prefer(sft, out, server, *prices, "--budget", 0.05, "--concurrency", 2)
    assert stopped.code == 4 and "budget of 0.05" in stopped.line and not out.exists()
    billed = sum(10 + 10 * len(Clinic().of_body(seen.body)) for seen in server.seen) / 1e6
    assert 0.02 < billed <= 0.06 and stopped.summary["cost"] == pytest.approx(billed, abs=1e-6)
    assert {seen.body["model"] for seen in server.seen} == {"a", "b", "j"}
    ended = prefer(sft, out, server, *prices, "--budget", 5)
    assert ended.code == 0 and ended.summary["requests_total"]["sent"] == len(server.seen)


def test_the_judge_may_have_a_price_of_its_own(sft: Path, out: Path, serve: Serve) -> None:
    server = serve(reply=Clinic())
    free, paid = ("--price-in", 0, "--price-out", 0), ("--judge-price-in", 1, "--judge-price-out", 10)
    ended = prefer(sft, out, server, *free, *paid)
    judged = [seen.body for seen in server.seen if seen.body["model"] == "j"]
    assert ended.summary["cost"] == pytest.approx(
        sum(10 + 10 * len(Clinic().of_body(body)) for body in judged) / 1e6, abs=1e-6
    )
    alone = prefer(sft, out, server, *paid, writers=("--model", "a"))
    assert alone.code == 2 and "need --judge-model" in alone.line


def test_a_dry_run_sends_nothing_and_a_pilot_is_paid_once(sft: Path, out: Path, serve: Serve) -> None:
    server = serve(reply=Clinic())
    prices = ("--price-in", 1, "--price-out", 10)
    found = prefer(sft, out, server, *prices, "--dry-run").summary
    assert server.seen == [] and not out.with_suffix(".work").exists()
    assert (found["dry_run"]["items"], found["dry_run"]["calls"], found["rows_read"]) == (ROWS, 5 * ROWS, ROWS)
    assert found["dry_run"]["lanes"]["batch"]["cost"] == pytest.approx(
        found["dry_run"]["lanes"]["sync"]["cost"] / 2, rel=1e-3
    )
    done = prefer(sft, out, server, *prices, "--pilot", 6).summary
    piloted = done["dry_run"]
    assert piloted["pilot"]["items"] == piloted["journalled"] == 6 and not out.exists()
    assert len(server.seen) == piloted["pilot"]["calls"] == 30
    before = len(server.seen)
    ended = prefer(sft, out, server, *prices)
    assert ended.summary["requests"]["cached"] == before
    assert piloted["lanes"]["sync"]["cost"] == pytest.approx(ended.summary["cost"], rel=0.1)


def test_the_lane_of_batches_gives_the_same_rows_in_two_waves(sft: Path, tmp_path: Path, serve: Serve) -> None:
    one, two = tmp_path / "calls" / "x.parquet", tmp_path / "batches" / "x.parquet"
    for path in (one, two):
        path.parent.mkdir()
    assert prefer(sft, one, serve(reply=Clinic())).code == 0
    with BatchServer(reply=Clinic()) as server:
        ended = prefer(sft, two, server, "--lane", "batch", "--poll", 0)
        assert ended.code == 0, ended.stderr
        sizes = sorted(len(batch.lines) for batch in server.batches)
    assert files(one) == files(two)
    assert len(sizes) == 3 and sizes[0] == ROWS and sum(sizes) == ended.summary["requests"]["sent"]


# Runs that end early


@pytest.mark.slow
def test_kills_repeat_no_finished_call_and_change_no_byte(tmp_path: Path, sft: Path) -> None:
    log, out, whole = tmp_path / "log", tmp_path / "out.parquet", tmp_path / "whole.parquet"
    with ModelServer(reply=Clinic(noise=1.0), latency=0.01, log=log) as server:
        options = (*WRITERS, "--base-url", server.url, "--json", "--quiet", "--concurrency", 4)
        assert command("prefer", sft, "--out", whole, *options).code == 0
        expected = lines_of(log)
        draw, kills = random.Random(5), 0
        for _ in range(4):
            at = lines_of(log) + draw.randint(1, expected // 4)
            process = started("prefer", sft, "--out", out, *options)
            kills += killed_when(process, lambda goal=at: lines_of(log) >= goal)  # type: ignore[misc]
        last = command("prefer", sft, "--out", out, *options)
    assert kills >= 2 and last.code == 0 and last.summary["requests"]["cached"] > 0
    assert files(out)["out.parquet"] == files(whole)["whole.parquet"]
    asked = Counter(json.loads(line)["key"] for line in log.read_bytes().splitlines()[expected:])
    assert sum(asked.values()) - len(asked) <= 12 * kills and len(asked) == expected  # three models, 4 calls each


# Formats


def test_kto_and_rm_come_of_judged_pairs_too(sft: Path, tmp_path: Path, serve: Serve) -> None:
    server = serve(reply=Clinic())
    for name in ("dpo", "rm", "kto"):
        assert prefer(sft, tmp_path / f"{name}.parquet", server, "--format", name).code == 0
    check(pq.read_schema(tmp_path / "kto.parquet"), UNPAIRED, "kto.parquet")
    pairs, singles = rows(tmp_path / "rm.parquet"), rows(tmp_path / "kto.parquet")
    assert len(singles) == 2 * len(pairs) and [row["label"] for row in singles[:4]] == [True, False, True, False]
    assert singles[1]["generator"] == pairs[0]["rejected_generator"]
    assert singles[1]["score"] == pairs[0]["rejected_score"]


SHAPES: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "messages": lambda ask, say: {
        "messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": say}]
    },
    "sharegpt": lambda ask, say: {"conversations": [{"from": "human", "value": ask}, {"from": "gpt", "value": say}]},
    "alpaca": lambda ask, say: {"instruction": ask, "input": "", "output": say},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("judged", [True, False])
def test_it_reads_what_check_reads(tmp_path: Path, out: Path, serve: Serve, shape: str, judged: bool) -> None:
    said = [row["messages"] for row in talks(8)]
    dosed = [turn[1]["content"] + "口服布洛芬，一次0.3 g，一日2次。孕妇禁用。" for turn in said]
    made = [SHAPES[shape](turn[0]["content"], answer) for turn, answer in zip(said, dosed, strict=True)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
    source = write(tmp_path / "in", {"rows.jsonl": text + "{broken\n"}) / "rows.jsonl"
    ended = prefer(source, out, serve(reply=Clinic())) if judged else here("prefer", source, "--out", out, "--json")
    assert ended.code == 3 and ended.summary["failed"] == {"malformed": 1}
    assert ended.summary["rows_read"] == 8 and ended.summary["rows_written"] >= 4
    assert rows(out)[0]["prompt"][0]["content"] == said[0][0]["content"]


@pytest.mark.parametrize("judged", [True, False])
def test_exam_items_are_kept_out(tmp_path: Path, out: Path, serve: Serve, judged: bool) -> None:
    stem = "患者女，四十五岁，反复上腹部疼痛三年，进食后加重，伴反酸嗳气，首选的检查方法是什么"
    made = talks(4)
    for row in made:
        row["messages"][1]["content"] += "口服布洛芬，一次0.3 g，一日2次。"
    made[1]["messages"][0]["content"] = f"{stem}？"
    pq.write_table(pa.Table.from_pylist(made, schema=CONVERSATION), tmp_path / "in.parquet")
    exam = json.dumps(
        {"question": stem, "options": {"A": "胃镜", "B": "腹部超声"}, "answer": ["A"]}, ensure_ascii=False
    )
    more = ("--decontaminate", write(tmp_path / "exam", {"exam.jsonl": exam + "\n"}) / "exam.jsonl")
    ended = (
        prefer(tmp_path / "in.parquet", out, serve(reply=Clinic()), *more)
        if judged
        else here("prefer", tmp_path / "in.parquet", "--out", out, "--json", *more)
    )
    assert ended.code == 0, ended.stderr
    leaked = [row for row in rows(beside(out, "trace")) if stem[:10] in (row["excerpt"] or "")]
    assert leaked and not any(stem in row["prompt"][0]["content"] for row in rows(out))
    assert rows(out)


# The choice alone

CANDIDATES = st.lists(
    st.tuples(st.booleans(), st.integers(50, 200), st.integers(1, 10), st.integers(1, 10)), min_size=2, max_size=6
)


@given(CANDIDATES, st.integers(1, 4))
def test_a_pair_is_clean_agreed_on_and_of_a_like_length_and_no_pair_has_a_reason(
    found: list[tuple[bool, int, int, int]], margin: int
) -> None:
    made = [
        Candidate("字" * length, str(place), flags=("leakage",) * broken, scores={"score": [one, two]})
        for place, (broken, length, one, two) in enumerate(found)
    ]
    if all(one.flags for one in made):
        return
    fits = [
        (one, other)
        for one in made
        for other in made
        if not one.flags
        and within(one.text, other.text)
        and min(a - b for a, b in zip(one.scores["score"], other.scores["score"], strict=True)) >= margin
    ]
    pair = pair_of(made, margin)
    assert (
        (pair[0].generator, pair[1].generator) in {(a.generator, b.generator) for a, b in fits}
        if fits
        else isinstance(pair, Dropped)
    )


def test_a_fault_of_one_endpoint_ends_the_run(sft: Path, out: Path, serve: Serve) -> None:
    good, poor = serve(reply=Clinic()), serve(reply=Clinic(), fault=planned({"": ["quota!"]}))
    writers = ("--model", "a", "--judge-model", "j", "--judge-base-url", poor.url)
    ended = prefer(sft, out, good, writers=writers)
    assert ended.code == 4 and poor.url in ended.line and not out.exists()
    assert prefer(sft, out, good, writers=("--model", "a", "--judge-model", "j")).code == 0
