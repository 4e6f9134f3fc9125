"""unify with the built-in generator: which pairs come out of which files, and what every row can be trusted for."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest

from datatools.clean.normalise import RESIDUE, TABLE
from datatools.io.files import discover
from datatools.io.read import read
from datatools.io.source import ReadOptions
from schemas.document import Document
from tests.pipelines.command import answer, beside, environment, files, here, pairs, question, rows, rules, write

ASTHMA = """\
# Asthma

## Causes

House dust mites, pollen, cold air and tobacco smoke can set off an attack in people who have asthma.

## Treatment

An inhaled corticosteroid taken every day keeps the airways calm; salbutamol is for relief only.
"""
PRESSURE = """\
# 高血压

## 病因

高血压的发生与遗传、高盐饮食、肥胖和长期精神紧张有关。

## 治疗

起始可用氨氯地平５ mg，每日１次，同时限盐、减重和规律运动。
"""
BOOK = """\
<篇名>验方新录
书名：验方新录
作者：佚名
朝代：清
年份：公元1850年

<目录>卷一\\脾胃门
<篇名>健脾散
属性：治脾虚食少∶白术二两，茯苓二两，甘草半两。上为末，每服二钱，米饮调下。
"""
CONSULT = """\
department,title,ask,answer
内科,血压高怎么办,我最近血压150/95 mmHg，请问怎么办？,建议先在家连续测一周血压，限盐并到心内科就诊。
内科,胃胀,饭后胃胀两周怎么回事？,
"""
MEDQUAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<Document id="1" source="S" url="http://example.org/gout"><Focus>Gout</Focus><QAPairs>
<QAPair pid="1"><Question qid="g-1" qtype="information">What is (are) Gout ?</Question>
<Answer>Gout is a form of arthritis caused by crystals of uric acid in a joint.</Answer></QAPair>
<QAPair pid="2"><Question qid="g-2" qtype="treatment">What are the treatments for Gout ?</Question>
<Answer></Answer></QAPair>
</QAPairs></Document>
"""
DISEASES = """\
name,symptom,cause,department,treatment
痛风,关节红肿热痛,尿酸盐结晶沉积,风湿免疫科,急性期可用秋水仙碱
贫血,乏力 头晕,铁摄入不足或失血,血液科,口服铁剂
缺铁,口角炎,月经过多,血液科,补铁
"""
LIBRARY: dict[str, str | bytes] = {
    "asthma.md": ASTHMA,
    "book.txt": BOOK.encode("gb18030"),
    "consult.csv": CONSULT.encode("gbk"),
    "diseases.csv": DISEASES.encode("gb18030"),
    "medquad.xml": MEDQUAD,
    "高血压.md": PRESSURE,
}
EXPECTED = {
    "asthma.md": {
        "What causes asthma?": "House dust mites, pollen, cold air and tobacco smoke can set off an attack in people "
        "who have asthma.",
        "How is asthma treated?": "An inhaled corticosteroid taken every day keeps the airways calm; salbutamol is "
        "for relief only.",
    },
    "高血压.md": {
        "高血压的病因是什么？": "高血压的发生与遗传、高盐饮食、肥胖和长期精神紧张有关。",
        "高血压怎么治疗？": "起始可用氨氯地平5 mg，每日1次，同时限盐、减重和规律运动。",
    },
    "book.txt": {
        "请介绍《验方新录》中健脾散的药物组成、用法与主治。": "治脾虚食少：白术二两，茯苓二两，甘草半两。"
        "上为末，每服二钱，米饮调下。",
    },
    "consult.csv": {
        "我最近血压150/95 mmHg，请问怎么办？": "建议先在家连续测一周血压，限盐并到心内科就诊。",
    },
    "medquad.xml": {"What is Gout?": "Gout is a form of arthritis caused by crystals of uric acid in a joint."},
    "diseases.csv": {
        "痛风的症状、病因和治疗是怎样的？": "名称：痛风\n症状：关节红肿热痛\n病因：尿酸盐结晶沉积\n"
        "就诊科室：风湿免疫科\n治疗：急性期可用秋水仙碱",
        "贫血的症状、病因和治疗是怎样的？": "名称：贫血\n症状：乏力 头晕\n病因：铁摄入不足或失血\n"
        "就诊科室：血液科\n治疗：口服铁剂",
        "缺铁的症状、病因和治疗是怎样的？": "名称：缺铁\n症状：口角炎\n病因：月经过多\n就诊科室：血液科\n治疗：补铁",
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run on the library."""
    folder = tmp_path_factory.mktemp("library")
    ended = here("unify", write(folder / "in", LIBRARY), "--out", folder / "sft.parquet", "--workers", 1)
    assert ended.code == 0, ended.stderr
    return folder / "sft.parquet"


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory, example_corpus: Path) -> Path:
    """The output of a run on the corpus that ships with the project."""
    path = tmp_path_factory.mktemp("examples") / "sft.parquet"
    ended = here("unify", example_corpus, "--out", path, "--workers", 1, "--json")
    assert ended.code == 0, ended.stderr
    assert ended.summary["rows_written"] == len(rows(path)) > 150
    return path


@pytest.mark.parametrize("name", EXPECTED)
def test_the_pairs_of_a_file_are_these(made: Path, name: str) -> None:
    found = {question(row): answer(row) for row in rows(made) if row["source"] == name}
    assert found == EXPECTED[name]


def test_rows_say_where_they_come_from_and_what_made_them(made: Path) -> None:
    by_source = {row["source"]: row for row in rows(made)}
    for name, generator, language, source_type in (
        ("asthma.md", "rules", "en", "other"),
        ("book.txt", "rules", "lzh", "classic"),
        ("consult.csv", "source", "zh", "consultation"),
        ("diseases.csv", "rules", "zh", "encyclopedia"),
        ("medquad.xml", "source", "en", "encyclopedia"),
        ("高血压.md", "rules", "zh", "other"),
    ):
        row = by_source[name]
        assert (row["generator"], row["language"], row["source_type"]) == (generator, language, source_type), name
        assert row["task"] == "unify"
        assert row["usage"] is None
        assert bool(row["prompt"]) == (generator == "rules")
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
        assert row["checks"]["finish_reason"] == "source"


def test_blank_answers_are_traced_with_their_row(made: Path) -> None:
    found = [(row["source"], row["step"], row["rule"], row["excerpt"]) for row in rows(beside(made, "trace"))]
    blank = ("read", "empty_row", "answer is empty")
    assert found == [("consult.csv:3", *blank), ("medquad.xml:2", *blank)]


def test_the_pair_keeps_the_id_of_its_source(made: Path) -> None:
    assert [row["id"] for row in rows(made) if row["source"] == "medquad.xml"] == ["g-1"]


@pytest.mark.parametrize("kind, schema", [("", "conversation/1"), ("trace", "trace/1")])
def test_files_carry_the_name_of_their_schema(made: Path, kind: str, schema: str) -> None:
    path = beside(made, kind) if kind else made
    assert pq.read_schema(path).metadata[b"datatools.schema"].decode() == schema


def test_datasets_reads_the_file_offline(made: Path, tmp_path: Path) -> None:
    program = (
        "import sys, datasets\n"
        "table = datasets.load_dataset('parquet', data_files=sys.argv[1], split='train', cache_dir=sys.argv[2])\n"
        "print(len(table), table[0]['messages'][0]['role'], table[0]['messages'][1]['content'])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(made), str(tmp_path)], capture_output=True, text=True, env=environment()
    )
    first = rows(made)[0]
    assert ended.stdout.strip() == f"{len(rows(made))} user {answer(first)}", ended.stderr


def test_ids_are_unique(examples: Path) -> None:
    ids = [row["id"] for row in rows(examples)]
    assert len(set(ids)) == len(ids)
    assert all(ids)


def test_no_two_equal_questions(examples: Path) -> None:
    asked = [re.sub(r"[\W_]", "", question(row)).casefold() for row in rows(examples)]
    assert len(set(asked)) == len(asked)


def test_every_example_file_gives_rows(examples: Path, example_corpus: Path) -> None:
    sources = {row["source"].partition("!")[0] for row in rows(examples)}
    assert sources == {path.name for path in example_corpus.iterdir()}


# Verbatim: what may differ from the source is the documented table, the residue of conversions, and white space.
# What the typesetting program of the digitised books wrote for a glyph it did not have.
LOST_GLYPH = re.compile(r"(?<![A-Za-z\d-])(?:KT|HT|FS)+(?![A-Za-z\d-])")


def folded(text: str) -> str:
    """Text through the documented character table, without residue and without white space."""
    text = unicodedata.normalize("NFC", text)
    text = "".join(TABLE.get(character, character) for character in text)
    for _, residue in RESIDUE:
        text = residue.sub("", text)
    text = LOST_GLYPH.sub("", text)
    return "".join(text.split())


def documents_by_source(folder: Path) -> dict[str, str]:
    """All that the readers found, by source: texts, fields and answers, folded."""
    texts: dict[str, list[str]] = {}
    for source in discover([str(folder)])[0]:
        for item in read(source, ReadOptions()):
            if isinstance(item, Document):
                fields = map(str, item.meta.get("fields", {}).values())
                texts.setdefault(item.source, []).extend([item.text, *fields])
    return {source: "\n".join(map(folded, found)) for source, found in texts.items()}


def pieces(row: dict[str, Any]) -> list[str]:
    """The parts of an answer that must stand in the source in one piece: for a table row the values, else all."""
    if row["prompt"].startswith("rules.fields"):
        return [re.sub(r"^[^：:]{1,20}[：:]", "", line) for line in answer(row).splitlines()]
    return [answer(row)]


def test_answers_stand_word_for_word_in_what_was_read(examples: Path, example_corpus: Path) -> None:
    documents = documents_by_source(example_corpus)
    checked = 0
    for row in rows(examples):
        for piece in pieces(row):
            assert folded(piece) in documents[row["source"]], (row["source"], piece)
            checked += 1
    assert checked > 200


def decoded(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("gb18030")


def values_of_json(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in values_of_json(item)]
    if isinstance(value, list):
        return [text for item in value for text in values_of_json(item)]
    return [str(value)]


def raw_texts(path: Path) -> list[str]:
    """What stands in a file, taken out by the standard library alone."""
    text = decoded(path)
    if path.suffix == ".csv":
        return [cell for line in csv.reader(io.StringIO(text)) for cell in line]
    if path.suffix == ".jsonl":
        return [value for line in text.splitlines() if line for value in values_of_json(json.loads(line))]
    if path.suffix == ".xml":
        return ["".join(element.itertext()) for element in ElementTree.fromstring(text).iter()]
    return [text]


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl", ".xml"])
def test_answers_stand_word_for_word_in_the_file_itself(examples: Path, example_corpus: Path, suffix: str) -> None:
    checked = 0
    for path in example_corpus.glob(f"*{suffix}"):
        texts = [folded(text) for text in raw_texts(path)]
        for row in rows(examples):
            if row["source"] == path.name:
                assert any(folded(answer(row)) in text for text in texts), (path.name, answer(row))
                checked += 1
    assert checked > 5


@pytest.mark.parametrize("suffix", [".md", ".html"])
def test_answers_leave_out_markup_but_add_and_move_nothing(examples: Path, example_corpus: Path, suffix: str) -> None:
    """Every sentence's letters stand in the marked-up file in this order, with little more than markup between."""
    checked = 0
    for path in example_corpus.glob(f"*{suffix}"):
        text = re.sub(r"<[^<>]*>|[\W_]", "", decoded(path))
        for row in rows(examples):
            for clause in re.split(r"[^\w\s]+", answer(row)) if row["source"] == path.name else ():
                letters = re.sub(r"[\W_\u2070-\u209f²³¹]", "", clause)
                if len(letters) > 3 and re.fullmatch(r"[\u3400-\u9fffA-Za-z]+", letters):
                    assert letters in text, (path.name, clause)
                    checked += 1
    assert checked > 20


# Duplicates


@pytest.mark.parametrize(
    ("more", "step", "rule"),
    [((), "exact", "exact_duplicate"), (("--no-curate",), "dedupe", "duplicate_passage")],
    ids=["curated", "as-they-are"],
)
def test_equal_passages_give_one_row_and_a_trace_row_with_the_twin(
    tmp_path: Path, out: Path, more: tuple[str, ...], step: str, rule: str
) -> None:
    folder = write(tmp_path / "in", {"a.md": PRESSURE, "b.md": PRESSURE.replace("，", "，\n")})
    assert here("unify", folder, "--out", out, "--workers", 1, *more).code == 0
    kept = {row["source_id"]: row for row in rows(out)}
    assert {row["source"] for row in kept.values()} == {"a.md"}
    assert len(kept) == 2
    dropped = rows(beside(out, "trace"))
    assert [(row["source"], row["step"], row["rule"], row["similarity"]) for row in dropped] == [
        ("b.md", step, rule, 1.0)
    ] * 2
    assert [row["twin_id"] for row in dropped] == list(kept)


def test_of_equal_questions_with_different_answers_the_first_stays(tmp_path: Path, out: Path) -> None:
    other = PRESSURE.replace("遗传、高盐饮食、肥胖", "年龄、饮酒、睡眠不足").replace("氨氯地平", "缬沙坦")
    folder = write(tmp_path / "in", {"a.md": PRESSURE, "b.md": other})
    ended = here("unify", folder, "--out", out, "--workers", 1, "--json")
    assert ended.summary["dropped"] == {"duplicate_question": 2}
    assert {row["source"] for row in rows(out)} == {"a.md"}
    assert [row["twin_id"] for row in rows(beside(out, "trace"))] == [row["id"] for row in rows(out)]


def test_pairs_of_the_source_with_equal_questions_too(tmp_path: Path, out: Path) -> None:
    asked = [("头痛怎么办？", "先休息，持续不缓解请到神经内科就诊。"), ("头痛怎么办", "多喝水，注意睡眠和情绪放松。")]
    lines = [json.dumps({"question": q, "answer": a}, ensure_ascii=False) for q, a in asked]
    folder = write(tmp_path / "in", {"qa.jsonl": "\n".join(lines)})
    assert here("unify", folder, "--out", out).code == 0
    assert pairs(out) == dict(asked[:1])
    assert rules(out) == ["duplicate_question"]


# Ids


def table(*lines: tuple[str, str]) -> str:
    return "".join(
        json.dumps({"id": id, "question": f"{text}怎么办？", "answer": f"{text}时请先休息，再到医院就诊。"}) + "\n"
        for id, text in lines
    )


def test_ids_of_the_input_are_kept_and_a_repeat_gets_a_number(tmp_path: Path, out: Path) -> None:
    folder = write(
        tmp_path / "in",
        {"a.jsonl": table(("q1", "头痛"), ("q2", "发热")), "b.jsonl": table(("q2", "咳嗽"), ("q1", "腹痛"))},
    )
    assert here("unify", folder, "--out", out).code == 0
    assert [row["id"] for row in rows(out)] == ["q1", "q2", "q2#2", "q1#2"]


def test_an_id_with_a_number_already_taken_gets_the_next(tmp_path: Path, out: Path) -> None:
    folder = write(
        tmp_path / "in",
        {"a.jsonl": table(("q1", "头痛"), ("q1#2", "发热")), "b.jsonl": table(("q1", "咳嗽"), ("q7", "腹痛"))},
    )
    assert here("unify", folder, "--out", out).code == 0
    assert [row["id"] for row in rows(out)] == ["q1", "q1#2", "q1#3", "q7"]


# Where the input stands


def test_moving_the_folder_changes_no_byte(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere" / "moved"
    shutil.copytree(made.parent / "in", folder)
    assert here("unify", folder, "--out", tmp_path / "sft.parquet", "--workers", 1).code == 0
    assert files(tmp_path / "sft.parquet") == files(made)


def test_several_inputs_are_told_apart_by_their_last_component(tmp_path: Path, out: Path) -> None:
    one, two = write(tmp_path / "x" / "docs", {"a.md": PRESSURE}), write(tmp_path / "y" / "docs", {"a.md": ASTHMA})
    single = write(tmp_path, {"book.txt": BOOK}) / "book.txt"
    assert here("unify", one, two, single, "--out", out).code == 0
    assert sorted({row["source"] for row in rows(out)}) == ["book.txt", "docs/a.md", "docs~2/a.md"]


def test_a_single_file_is_called_by_its_name(tmp_path: Path, out: Path) -> None:
    write(tmp_path / "in", {"a.md": PRESSURE})
    assert here("unify", tmp_path / "in" / "a.md", "--out", out).code == 0
    assert {row["source"] for row in rows(out)} == {"a.md"}


def test_output_inside_the_input_folder_is_not_read_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", LIBRARY)
    out = folder / "sft.parquet"
    first = here("unify", folder, "--out", out, "--workers", 1, "--json")
    before = files(out)
    second = here("unify", folder, "--out", out, "--workers", 1, "--json")
    assert (first.code, second.code) == (0, 0), second.stderr
    assert files(out) == before
    assert second.summary["rows_read"] == first.summary["rows_read"]


# Options


def test_the_text_column_can_be_given_and_is_printed(tmp_path: Path, out: Path) -> None:
    row = {
        "标题": "胃炎",
        "摘抄": "胃炎是胃黏膜的炎症，与幽门螺杆菌感染有关。",
        "备注": "此处的文字与正文没有关系，不要读它。" * 5,
    }
    folder = write(tmp_path / "in", {"a.jsonl": json.dumps(row, ensure_ascii=False)})
    ended = here("unify", folder, "--out", out, "--text-column", "摘抄")
    assert [answer(made) for made in rows(out)] == [row["摘抄"]]
    assert "a.jsonl: text = 摘抄" in ended.stderr


def test_a_text_column_that_is_not_there_is_an_unreadable_file(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.jsonl": '{"body": "胃炎是胃黏膜的炎症，与幽门螺杆菌感染有关。"}'})
    ended = here("unify", folder, "--out", out, "--text-column", "text")
    assert ended.code == 2
    assert "body" in ended.line


def test_the_source_type_can_be_given(tmp_path: Path, out: Path) -> None:
    assert here("unify", write(tmp_path / "in", {"a.md": ASTHMA}), "--out", out, "--source-type", "web").code == 0
    assert {row["source_type"] for row in rows(out)} == {"web"}


def test_several_pairs_of_one_passage_have_different_questions(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.md": PRESSURE})
    assert here("unify", folder, "--out", out, "--pairs-per-passage", 2).code == 0
    found = [(row["source_id"], question(row)) for row in rows(out)]
    assert len(found) == len(set(found)) == 4
    assert len({passage for passage, _ in found}) == 2


def test_long_sections_are_cut_where_the_options_say(tmp_path: Path, out: Path) -> None:
    # One paragraph of numbered sentences, each 20 characters long.
    text = "".join(f"第{number:02d}条讲的是高血压病人饮食的要点。" for number in range(40))
    folder = write(tmp_path / "in", {"a.md": f"# 高血压饮食\n\n## 饮食要点\n\n{text}\n"})
    assert here("unify", folder, "--out", out, "--passage-characters", 200, "--no-curate").code == 0
    answers = [answer(row) for row in rows(out)]
    assert "".join(answers) == text
    assert all(len(part) <= 200 and part.endswith("。") for part in answers)


def test_the_run_says_that_no_model_is_configured_and_how_to_add_one(made: Path, tmp_path: Path) -> None:
    ended = here("unify", made.parent / "in", "--out", tmp_path / "o.parquet", "--workers", 1)
    assert "no model configured" in ended.stderr
    assert "--model NAME --base-url URL" in ended.stderr
