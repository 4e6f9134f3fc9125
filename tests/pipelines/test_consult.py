"""consult: which questions are asked, which human answers stay, and what is said of both."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.llm.batch_server import BatchServer
from tests.llm.clinic import Clinic
from tests.llm.model_server import Message, ModelServer
from tests.pipelines.command import Ended, answer, beside, files, here, question, rows, write

GOOD = (
    "血压150/95属于偏高，先不要紧张。请连续一周早晚各测一次并记录，注意限盐、控制体重、保证睡眠。"
    "如果多次测量都高于140/90，请到心内科就诊，完善血脂、血糖和肾功能检查，由医生决定是否用药。出现胸痛、头痛剧烈或视物模糊时请立即去医院。"
)
TABLE = (
    "department,title,ask,answer\n"
    f"心内科,,我最近血压150/95，电话13800138000，咋办捏？,{GOOD}\n"
    "心内科,,我最近血压150/95，电话13800138000，咋办捏,多喝水。\n"
    "消化科,,吃完饭老是反酸烧心，已经两个月了，是不是胃食管反流？,没事的，放心吧。\n"
    "消化科,,孩子拉肚子三天了，还有点发烧，要不要紧？,\n"
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write(tmp_path / "in", {"问诊.csv": TABLE.encode("gbk")}) / "问诊.csv"


@pytest.fixture
def clinic(serve: Callable[..., ModelServer]) -> ModelServer:
    return serve(reply=Clinic())


def consult(source: Path, out: Path, server: ModelServer, *more: object) -> Ended:
    return here("consult", source, "--out", out, "--model", "m", "--base-url", server.url, "--json", *more)


def test_questions_are_asked_once_without_personal_data_in_the_patients_own_words(
    table: Path, out: Path, clinic: ModelServer
) -> None:
    ended = consult(table, out, clinic)
    assert (ended.code, ended.summary["rows_read"], ended.summary["rows_written"]) == (0, 4, 3)
    assert question(rows(out)[0]) == "我最近血压150/95，电话[PHONE]，咋办捏？"
    assert "13800138000" not in json.dumps([seen.body for seen in clinic.seen])
    (twin,) = rows(beside(out, "trace"))
    assert (twin["rule"], twin["twin_id"]) == ("duplicate_question", rows(out)[0]["source_id"])
    assert [row["generator"] for row in rows(out)] == ["m", "m", "m"]
    assert rows(out)[2]["human_answer"] == "" and rows(out)[0]["department"] == "心内科"
    assert "saved" not in ended.summary


def test_only_poor_human_answers_are_written_anew(table: Path, out: Path, clinic: ModelServer) -> None:
    ended = consult(table, out, clinic, "--keep-human", 4, "--price-in", 1, "--price-out", 2)
    kept, poor, alone = rows(out)
    assert (kept["generator"], answer(kept)) == ("source", GOOD)
    assert kept["judged"]["score"] == 4 and kept["judged"]["reason"].startswith("回答有")
    assert kept["judged"]["rubric"].startswith("consult.judge.zh@1#")
    assert poor["generator"] == "m" and poor["judged"]["score"] == 1 and poor["human_answer"] == "没事的，放心吧。"
    assert alone["judged"] is None
    saved = ended.summary["saved"]
    assert (saved["calls"], saved["judge_calls"]) == (1, 2) and saved["cost"] > 0 and ended.summary["cost"] > 0
    judging = [seen for seen in clinic.seen if "response_format" in seen.body]
    assert len(judging) == 2 and len(clinic.seen) == 4


def test_a_leaky_answer_is_asked_for_once_more_and_then_dropped(
    table: Path, out: Path, serve: Callable[..., ModelServer]
) -> None:
    def leaky(messages: list[Message]) -> str:
        return "作为一个人工智能，我不能看病。" if "反酸" in messages[-1]["content"] else Clinic()(messages)

    server = serve(reply=leaky)
    ended = consult(table, out, server)
    assert ended.summary["dropped"] == {"duplicate_question": 1, "leakage": 1} and ended.code == 0
    assert len(server.seen) == 4


def test_jsonl_and_parquet_give_what_the_table_gives(
    table: Path, tmp_path: Path, out: Path, clinic: ModelServer
) -> None:
    consult(table, out, clinic)
    wanted = [row["messages"] for row in rows(out)]
    cells = [line.split(",") for line in TABLE.strip().split("\n")]
    records = [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    folder = write(tmp_path / "same", {"a.jsonl": lines})
    pq.write_table(pa.Table.from_pylist(records), folder / "b.parquet")
    for name in ("a.jsonl", "b.parquet"):
        other = tmp_path / f"{name}.parquet"
        assert consult(folder / name, other, clinic).code == 0
        assert [row["messages"] for row in rows(other)] == wanted


def test_the_same_bytes_again_and_a_wrong_scale_is_refused(table: Path, out: Path, clinic: ModelServer) -> None:
    consult(table, out, clinic, "--keep-human", 4)
    before, sent = files(out), len(clinic.seen)
    assert consult(table, out, clinic, "--keep-human", 4).summary["requests"]["sent"] == 0
    assert files(out) == before and len(clinic.seen) == sent
    ended = consult(table, out, clinic, "--keep-human", 9)
    assert ended.code == 2 and "1 to 5" in ended.line
    ended = here("consult", table, "--out", out)
    assert ended.code == 2 and "--model NAME" in ended.line


def test_another_model_may_judge_and_its_own_judge_is_warned_of(
    table: Path, tmp_path: Path, out: Path, clinic: ModelServer, serve: Callable[..., ModelServer]
) -> None:
    judge = serve(reply=Clinic())
    options = ("--keep-human", 4, "--judge-model", "j", "--judge-base-url", judge.url)
    ended = consult(table, out, clinic, *options)
    assert ended.code == 0 and "judge is the writer" not in ended.stderr
    assert [row["judged"] and row["judged"]["judge"] for row in rows(out)] == ["j", "j", None]
    assert {seen.body["model"] for seen in judge.seen} == {"j"} and len(judge.seen) == 2 == len(clinic.seen)
    assert "the judge is the writer too" in consult(table, tmp_path / "own.parquet", clinic, "--keep-human", 4).stderr
    alone = consult(table, tmp_path / "x.parquet", clinic, "--judge-model", "j")
    assert alone.code == 2 and "needs --keep-human" in alone.line


@pytest.mark.parametrize("keep", [(), ("--keep-human", 4)])
def test_a_dry_run_foresees_calls_and_a_pilot_is_found_in_the_journal(
    table: Path, out: Path, clinic: ModelServer, keep: tuple[object, ...]
) -> None:
    prices = ("--price-in", 1, "--price-out", 4, *keep)
    found = consult(table, out, clinic, *prices, "--dry-run").summary
    # Three questions are left of four; two of them have a human answer to be judged, and nobody knows how many stay.
    assert (found["dry_run"]["items"], found["dry_run"]["calls"]) == (3, 5 if keep else 3)
    assert found["cost"] == 0 and found["rows_read"] == 4
    assert clinic.seen == [] and not out.exists() and not out.with_suffix(".work").exists()
    piloted = consult(table, out, clinic, *prices, "--pilot", 2).summary["dry_run"]
    sent = len(clinic.seen)
    assert piloted["pilot"]["items"] == 2 == piloted["journalled"] and piloted["pilot"]["calls"] == sent > 0
    ended = consult(table, out, clinic, *prices)
    assert ended.code == 0 and ended.summary["requests"]["cached"] == sent and len(rows(out)) == 3


def test_batches_give_what_calls_give(table: Path, tmp_path: Path, out: Path, clinic: ModelServer) -> None:
    assert consult(table, out, clinic, "--keep-human", 4).code == 0
    other = tmp_path / "batches" / out.name
    other.parent.mkdir()
    with BatchServer(reply=Clinic()) as server:
        options = ("--model", "m", "--base-url", server.url, "--lane", "batch", "--poll", 0, "--keep-human", 4)
        assert here("consult", table, "--out", other, "--json", *options).code == 0
        # Judgements and answers that need none go together; then the answers to the poor ones.
        assert [len(batch.lines) for batch in server.batches] == [3, 1]
    assert files(other) == files(out)
