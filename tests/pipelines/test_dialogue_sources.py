"""dialogue from everything that is no record with labelled parts: free text, articles, graphs, real conversations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.records import CASE
from tests.llm.clinic import Clinic
from tests.llm.model_server import Message, ModelServer
from tests.pipelines.command import Ended, beside, files, here, rows, rules, write

ARTICLE = (
    "# 痛风\n\n## 症状\n\n夜间突然脚趾关节剧痛。关节红肿发热。"
    "饮酒或吃海鲜后容易发作。疼痛几天后自己缓解。以前没有这样疼过。\n\n"
    "## 治疗\n\n急性期治疗可用秋水仙碱。平时多饮水。\n"
)
GRAPH = (
    "head\trelation\ttail\n"
    "感冒\t临床表现\t临床以发热、恶寒，头身疼痛，鼻塞、喷嚏，咽喉痛痒，咳嗽等为特征。\n"
    "感冒\t病机\t因时令外邪侵袭肺表所致。\n"
    "胃痛\t症状\t胃脘疼痛\n胃痛\t症状\t嗳气\n胃痛\t症状\t食少\n胃痛\t症状\t舌淡苔白\n中暑\t症状\t头晕\n"
)
REAL = [
    {"role": "user", "content": "大夫我血压150/95，电话13800138000"},
    {"role": "assistant", "content": "硝苯地平缓释片20mg 一日2次"},
    {"role": "user", "content": "好"},
    {"role": "assistant", "content": "一周后复查 别急"},
    {"role": "user", "content": "谢谢"},
]


@pytest.fixture
def clinic(serve: Callable[..., ModelServer]) -> ModelServer:
    return serve(reply=Clinic())


def dialogue(source: Path, out: Path, server: ModelServer, *more: object) -> Ended:
    return here("dialogue", source, "--out", out, "--model", "m", "--base-url", server.url, "--json", *more)


def test_case_records_are_read_from_parquet_and_jsonl(tmp_path: Path, out: Path, clinic: ModelServer) -> None:
    record = {
        "id": "own",
        "facts": [{"text": "头晕三天", "layer": "volunteered"}, {"text": "早上没吃饭", "layer": "on_asking"}],
        "diagnosis": "低血糖",
        "department": "内科",
        "source": "w",
    }
    folder = write(
        tmp_path / "in", {"a.jsonl": json.dumps(record, ensure_ascii=False) + '\n{"facts": [{"layer": 1}]}\n'}
    )
    pq.write_table(pa.Table.from_pylist([record], schema=CASE), folder / "b.parquet")
    ended = dialogue(folder, out, clinic)
    assert [row["source_id"] for row in rows(out)] == ["own", "own"]
    assert ended.code == 3 and ended.summary["failed"] == {"malformed": 1}
    assert rows(beside(out, "trace"))[0]["source"] == "a.jsonl:2"


def test_facts_of_free_text_stand_in_it_word_for_word(tmp_path: Path, out: Path, clinic: ModelServer) -> None:
    words = "我肚子疼两天了。吃完饭更疼。没有发烧。以前有胃病。吃过奥美拉唑。大便正常。"
    lines = json.dumps({"ask": words, "answer": "考虑胃炎，建议做胃镜。"}, ensure_ascii=False)
    folder = write(tmp_path / "in", {"a.jsonl": lines})
    assert dialogue(folder, out, clinic).code == 0
    (row,) = rows(out)
    told = [fact for fact in row["facts"] if fact["layer"] != "unknown_to_patient"]
    assert all(words[fact["start"] : fact["end"]] == fact["text"] for fact in told) and len(told) == 5
    assert rules(out) == ["not_verbatim"]
    assert row["facts"][-1] == {"text": "考虑胃炎，建议做胃镜。", "layer": "unknown_to_patient", "start": -1, "end": -1}


def test_an_article_gives_one_case_of_all_its_sections(tmp_path: Path, out: Path, clinic: ModelServer) -> None:
    folder = write(tmp_path / "in", {"痛风.md": ARTICLE})
    ended = dialogue(folder, out, clinic, "--from-corpus")
    assert (ended.code, ended.summary["rows_read"], ended.summary["rows_written"]) == (0, 1, 1)
    (row,) = rows(out)
    layers = {fact["text"]: fact["layer"] for fact in row["facts"]}
    assert layers["急性期治疗可用秋水仙碱。"] == "unknown_to_patient"
    assert not any("秋水仙碱" in turn["content"] for turn in row["messages"])


def test_a_single_call_a_dialogue_is_validated(tmp_path: Path, out: Path, clinic: ModelServer) -> None:
    record = {"id": "x", "facts": [{"text": "头晕三天", "layer": "volunteered"}]}
    folder = write(tmp_path / "in", {"a.jsonl": json.dumps(record, ensure_ascii=False)})
    assert dialogue(folder, out, clinic, "--mode", "single", "--with-system").code == 0
    assert len(clinic.seen) == 1 and clinic.seen[0].body["response_format"]["json_schema"]["name"] == "Whole"
    (row,) = rows(out)
    assert [turn["role"] for turn in row["messages"]] == ["system", *["user", "assistant"] * 3]


def test_a_single_call_whose_turns_do_not_alternate_fails(
    tmp_path: Path, out: Path, serve: Callable[..., ModelServer]
) -> None:
    broken = json.dumps({"turns": [{"role": "clinician", "text": "您好"}]}, ensure_ascii=False)
    server = serve(reply=lambda messages: broken)
    record = {"id": "x", "facts": [{"text": "头晕三天", "layer": "volunteered"}]}
    folder = write(tmp_path / "in", {"a.jsonl": json.dumps(record, ensure_ascii=False)})
    ended = dialogue(folder, out, server, "--mode", "single")
    assert ended.code == 3 and ended.summary["failed"] == {"schema": 1} and len(server.seen) == 2


def test_a_graph_gives_dialogues_without_a_model(tmp_path: Path, out: Path) -> None:
    graph = write(tmp_path / "in", {"g.tsv": GRAPH}) / "g.tsv"
    ended = here("dialogue", graph, "--from-kg", "--model", "rules", "--out", out, "--json")
    assert (ended.code, ended.summary["rows_written"], ended.summary["requests"]["sent"]) == (0, 2, 0)
    cold, stomach = rows(out)
    assert cold["generator"] == stomach["generator"] == "rules" and cold["usage"] is None
    assert "“感冒”" in cold["messages"][-1]["content"] and "时令外邪侵袭肺表" in cold["messages"][-1]["content"]
    assert "舌淡苔白" not in "".join(turn["content"] for turn in stomach["messages"])
    before = files(out)
    assert here("dialogue", graph, "--from-kg", "--model", "rules", "--out", out, "--fresh").code == 0
    assert files(out) == before
    here("dialogue", graph, "--from-kg", "--model", "rules", "--out", out, "--fresh", "--seed", 1)
    assert files(out) != before


def test_real_turns_are_rewritten_with_the_same_numbers_or_stay(tmp_path: Path, out: Path, clinic: ModelServer) -> None:
    folder = write(tmp_path / "in", {"real.jsonl": json.dumps({"id": "r", "messages": REAL}, ensure_ascii=False)})
    assert dialogue(folder, out, clinic, "--rewrite").code == 0
    (row,) = rows(out)
    assert [turn["content"] for turn in row["messages"]] == [
        "大夫我血压150/95，电话[PHONE]",
        "您好，硝苯地平缓释片20mg 一日2次",
        "好",
        "您好，一周后复查 别急",
    ]
    assert row["generator"] == "m" and row["prompt"].startswith("dialogue.rewrite.zh@1#")


def test_a_turn_that_comes_back_with_another_dose_keeps_its_own_words(
    tmp_path: Path, out: Path, serve: Callable[..., ModelServer]
) -> None:
    def careless(messages: list[Message]) -> str:
        return (
            "您好，硝苯地平缓释片每次200毫克，一日2次。"
            if "20mg" in messages[-1]["content"][-30:]
            else "好的，一周后复查，别急。"
        )

    folder = write(tmp_path / "in", {"real.jsonl": json.dumps({"id": "r", "messages": REAL}, ensure_ascii=False)})
    dialogue(folder, out, serve(reply=careless), "--rewrite")
    (row,) = rows(out)
    assert row["messages"][1]["content"] == "硝苯地平缓释片20mg 一日2次" and "turn_not_rewritten" in row["flags"]
    assert rules(out) == ["changed_numbers"]


def test_a_graph_without_symptoms_is_said_to_be_none(tmp_path: Path, out: Path) -> None:
    graph = write(tmp_path / "in", {"g.tsv": "head\trelation\ttail\n麻黄汤\t组成\t麻黄\n"}) / "g.tsv"
    ended = here("dialogue", graph, "--from-kg", "--model", "rules", "--out", out)
    assert ended.code == 2 and "no disease or syndrome with 3 symptoms" in ended.line


def test_one_kind_of_input_at_a_time(tmp_path: Path, out: Path) -> None:
    graph = write(tmp_path / "in", {"g.tsv": GRAPH}) / "g.tsv"
    ended = here("dialogue", graph, "--from-kg", "--from-corpus", "--model", "m", "--out", out)
    assert ended.code == 2 and "choose one" in ended.line
