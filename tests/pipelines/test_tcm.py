"""`datatools tcm`: a graph becomes questions, covered, balanced, checked, and the same every time."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest

from schemas.conversation import CONVERSATION, TCM_CONVERSATION
from schemas.fields import check
from tests.graph.test_questions import COMPOSITIONS
from tests.pipelines.command import answer, beside, command, files, here, killed_when, question, rows, started


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "tcm.parquet"


def test_rows_are_conversations_with_triples(graph: Path, out: Path) -> None:
    done = here("tcm", graph, "--out", out, "--json", "--quiet")
    assert done.code == 0, done.stderr
    found = rows(out)
    assert done.summary["rows_written"] == len(found) > 40
    schema = pq.read_schema(out)
    check(schema, TCM_CONVERSATION, out)
    check(schema, CONVERSATION, out)
    assert {row["task"] for row in found} == {"cloze", "choice", "true_false", "matching", "chain"}
    for row in found:
        assert row["generator"] == "rules"
        assert row["triples"]
        assert row["language"] == "zh"
        assert row["checks"]["claims_contradicted"] == 0
        assert row["checks"]["numbers_missing"] == 0
        if row["task"] == "true_false":
            assert answer(row)[:2] in ("正确", "错误")
        if row["task"] == "choice":
            assert answer(row)[0] in "ABCDE"
            assert "\nA. " in question(row)
    assert len({question(row) for row in found}) == len(found)


def test_it_loads_in_datasets(graph: Path, out: Path, tmp_path: Path) -> None:
    assert here("tcm", graph, "--out", out, "--quiet").code == 0
    loaded = datasets.load_dataset("parquet", data_files=str(out), cache_dir=str(tmp_path / "cache"))["train"]
    assert loaded.num_rows == len(rows(out))
    assert list(loaded[0]["triples"][0]) == ["head", "relation", "tail"]


def test_every_entity_is_covered(graph: Path, out: Path) -> None:
    done = here("tcm", graph, "--out", out, "--per-entity", "3", "--types", "方剂")
    assert done.code == 0, done.stderr
    report = json.loads((out.with_suffix(".work") / "report.json").read_text("utf-8"))
    coverage = report["tcm"]["coverage"]["formula"]
    assert coverage["entities"] == len(COMPOSITIONS)
    assert coverage["covered"] == len(COMPOSITIONS)
    assert coverage["short"] == {}
    assert "covered" in done.stdout
    assert report["covered"] == {"方剂": len(COMPOSITIONS)}
    named = Counter(
        name for row in rows(out) for name in COMPOSITIONS if any(t["head"] == name for t in row["triples"])
    )
    assert min(named.values()) >= 3


def test_the_same_line_gives_the_same_bytes(graph: Path, out: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    assert here("tcm", graph, "--out", out, "--workers", "1", "--quiet").code == 0
    assert here("tcm", graph, "--out", other, "--workers", "2", "--quiet").code == 0
    assert out.read_bytes() == other.read_bytes()
    before = files(out)
    assert here("tcm", graph, "--out", out, "--quiet").code == 0
    assert files(out) == before
    assert here("tcm", graph, "--out", out, "--seed", "1", "--fresh", "--quiet").code == 0
    assert files(out) != before


def test_tasks_and_limit(graph: Path, out: Path) -> None:
    assert here("tcm", graph, "--out", out, "--tasks", "cloze,true_false", "--limit", "5", "--quiet").code == 0
    found = rows(out)
    assert {row["task"] for row in found} == {"cloze", "true_false"}
    assert len({row["triples"][0]["head"] for row in found}) <= 5


def test_a_recipe(graph: Path, out: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "tcm.toml"
    recipe.write_text('[tcm]\nper_entity = 2\ntypes = "中药"\ntasks = "cloze"\nquiet = true\n', "utf-8")
    assert here("tcm", graph, "--out", out, "--recipe", recipe).code == 0
    assert {row["task"] for row in rows(out)} == {"cloze"}


def test_a_changed_setting_is_refused(graph: Path, out: Path) -> None:
    assert here("tcm", graph, "--out", out, "--quiet").code == 0
    done = here("tcm", graph, "--out", out, "--per-entity", "7", "--quiet")
    assert done.code == 2
    assert "per_entity was 4, now 7" in done.line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--base-url", "http://127.0.0.1:1/v1"], "--base-url: name the model"),
        (["--language", "en"], "--language en: rules write Chinese"),
        (["--model", "m", "--base-url", "http://127.0.0.1:1/v1", "--language", "fr"], "must be zh or en"),
        (["--model", "m", "--base-url", "http://127.0.0.1:1/v1", "--tasks", "cloze"], "must be of open_generation"),
        (["--model", "m", "--base-url", "http://127.0.0.1:1/v1", "--types", "星座"], "--types 星座"),
        (["--model", "gpt"], "needs an API key"),
        (["--per-entity", "0"], "--per-entity 0"),
        (["--types", "星座"], "--types 星座"),
        (["--tasks", "essay"], "--tasks essay"),
        (["--lexicon", "missing.txt"], "missing.txt"),
    ],
)
def test_what_cannot_work_ends_with_2(graph: Path, out: Path, arguments: list[str], said: str) -> None:
    done = here("tcm", graph, "--out", out, "--json", *arguments)
    assert done.code == 2
    assert said in done.summary["error"]
    assert not out.exists()


def test_a_broken_file_is_told_by_file_and_line(graph: Path, out: Path) -> None:
    (graph / "experiments.json").write_text("[{'name': 'python'}]", "utf-8")
    done = here("tcm", graph, "--out", out)
    assert done.code == 2
    assert "experiments.json:1: not JSON" in done.line


def test_a_graph_of_codes_is_nothing_to_ask_about(tmp_path: Path, out: Path) -> None:
    path = tmp_path / "codes.tsv"
    path.write_text("SMIT1\tCough\tchemical_MM\nSMIT2\tCold\tchemical_MM\n", "utf-8")
    done = here("tcm", path, "--out", out)
    assert done.code == 2
    assert "no triple of the graph can be asked about" in done.line


def test_the_column_order_is_printed(tmp_path: Path, out: Path) -> None:
    path = tmp_path / "kg.tsv"
    lines = [f"{name}\t{herb}\t组成" for name, herbs in COMPOSITIONS.items() for herb in herbs.split()]
    path.write_text("\n".join(lines), "utf-8")
    done = here("tcm", path, "--out", out)
    assert done.code == 0
    assert "kg.tsv: columns are head, tail, relation" in done.stderr


def test_its_report(graph: Path, out: Path, tmp_path: Path) -> None:
    assert here("tcm", graph, "--out", out, "--quiet").code == 0
    page = tmp_path / "report.html"
    done = here("report", out, "--out", page)
    assert done.code == 0, done.stderr
    text = page.read_text("utf-8")
    assert "Entities asked about often enough" in text
    assert "true_false" in text


@pytest.mark.slow
def test_the_shared_graph_gives_twenty_thousand_rows(real_data: Path, out: Path) -> None:
    source = real_data / "kg" / "lifafangyao"
    process = started("tcm", source, "--out", out, "--workers", "2", "--quiet")
    manifest = out.with_suffix(".work") / "manifest.jsonl"
    killed = killed_when(process, lambda: manifest.exists() and manifest.read_bytes().count(b"\n") > 4)
    assert killed
    assert not out.exists()
    done = command("tcm", source, "--out", out, "--workers", "2", "--quiet", "--json")
    assert done.code == 0, done.stderr
    found = rows(out)
    assert len(found) >= 20_000
    assert len({question(row) for row in found}) == len(found)
    verdicts = Counter(answer(row)[:2] for row in found if row["task"] == "true_false")
    assert 0.4 < verdicts["正确"] / verdicts.total() < 0.6
    letters = Counter(answer(row)[0] for row in found if row["task"] == "choice" and answer(row)[1] == ".")
    assert min(letters.values()) > 0.2 * letters.total()
    flagged = [row for row in found if row["flags"]]
    assert len(flagged) < 0.005 * len(found)
    dropped = rows(beside(out, "trace"))
    assert {row["rule"] for row in dropped} == {"near_duplicate"}
    assert min(row["similarity"] for row in dropped) >= 0.8
