"""evaluate ner and evaluate text: planted shares come out, predictions of elsewhere are scored without a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from datatools.evaluate.entities import annotated
from tests.llm.examinee import Annotator
from tests.pipelines.command import here, rows
from tests.pipelines.test_evaluate_exam import FORMULAS, SIGNS


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Annotated texts: each names five signs and a formula, and the first sign once more without annotation."""
    lines = []
    for number in range(150):
        text, entities = f"第{number}例，", []
        chosen = [SIGNS[(number + 3 * k) % len(SIGNS)] for k in range(5)] + [FORMULAS[number % len(FORMULAS)]]
        for words in dict.fromkeys(chosen):
            kind = "药物" if words in FORMULAS else "症状"
            start = len(text)
            entities.append({"start": start, "end": start + len(words), "type": kind, "entity": words})
            text += f"{words}，"
        text += f"复诊时{chosen[0]}已除。"
        lines.append(json.dumps({"text": text.strip(), "entities": entities}, ensure_ascii=False))
    (path := tmp_path / "ner.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return path


def test_planted_shares_come_out_as_planted(texts: Path, out: Path, serve: Any) -> None:
    known = {one.text.strip(): one for one in annotated([str(texts)])}
    server = serve(reply=Annotator(known, right=0.7, mistyped=0.1, unparsed=0.1))
    ended = here("evaluate", "ner", texts, "--out", out, "--model", "m", "--base-url", server.url, "--json", "--quiet")
    score = ended.summary["scores"]["ner"]
    expected = 2 * 0.875 * 0.63 / (0.875 + 0.63)
    assert ended.code == 0 and score["n"] == 150 and score["strict"]["low"] <= expected <= score["strict"]["high"]
    assert score["strict"]["precision"] == pytest.approx(0.875, abs=0.04)
    assert score["strict"]["recall"] == pytest.approx(0.63, abs=0.05) and score["missing"] == 0
    assert score["by"] == "words" and score["strict_by_places"]["precision"] < 0.8  # the place without annotation
    assert 7 <= score["unparsed"] <= 25 and set(score["types"]) == {"药物", "症状"}
    assert all(row["method"] in ("json", "lines", "none") for row in rows(out))


def test_predictions_of_elsewhere_need_no_model(texts: Path, tmp_path: Path, out: Path) -> None:
    ended = here("evaluate", "ner", texts, "--out", out, "--predictions", texts, "--json", "--quiet")
    assert ended.code == 0 and ended.summary["scores"]["ner"]["strict"]["f1"] == 1.0
    few = tmp_path / "few.jsonl"
    few.write_text(texts.read_text(encoding="utf-8").split("\n")[0], encoding="utf-8")
    ended = here("evaluate", "ner", texts, "--out", out, "--predictions", few)
    assert ended.code == 2 and "149 of 150 texts are not there" in ended.line


def test_overlap_of_a_column_of_a_file_and_of_a_model(tmp_path: Path, serve: Any) -> None:
    both = tmp_path / "both.jsonl"
    made = [
        {"question": f"第{k}问：头痛怎么办？", "reference": "多休息", "prediction": "多喝水多休息"} for k in range(5)
    ]
    both.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in made), encoding="utf-8")
    ended = here("evaluate", "text", both, "--out", tmp_path / "a.parquet", "--json", "--quiet")
    first = ended.summary["scores"]["zh"]
    assert ended.code == 0 and first["n"] == 5 and first["rouge1"]["rouge1"] == pytest.approx(2 / 3, abs=1e-5)
    said = tmp_path / "said.jsonl"
    said.write_text(
        "\n".join(
            json.dumps({"question": row["question"], "answer": "多喝水多休息"}, ensure_ascii=False) for row in made
        ),
        encoding="utf-8",
    )
    refs = tmp_path / "refs.jsonl"
    refs.write_text(
        "\n".join(json.dumps({"question": row["question"], "answer": "多休息"}, ensure_ascii=False) for row in made),
        encoding="utf-8",
    )
    ended = here("evaluate", "text", refs, "--predictions", said, "--out", tmp_path / "b.parquet", "--json", "--quiet")
    assert ended.summary["scores"]["zh"] == first
    server = serve(reply=lambda messages: "多喝水多休息")
    options = ("--model", "m", "--base-url", server.url, "--json", "--quiet")
    ended = here("evaluate", "text", refs, "--out", tmp_path / "c.parquet", *options)
    assert ended.summary["scores"]["zh"] == first and ended.summary["requests"]["sent"] == 5
    ended = here("evaluate", "text", refs, "--out", tmp_path / "d.parquet")
    assert ended.code == 2 and "evaluate text needs predictions" in ended.line
