"""Facts: figures are exact, and examples stand for the rows they were taken from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datatools.report.collect import collect, files_of
from datatools.report.examples import EXAMPLES
from datatools.report.progress import Progress
from pipelines.ask_run import AskRun
from pipelines.unify import unify
from pipelines.unify_settings import UnifySettings
from schemas.conversation import CONVERSATION
from schemas.document import DOCUMENT
from schemas.trace import FAILED, TRACE

NOTES = """# 阿司匹林

## 用法用量

成人每次 100 mg，每日一次，饭后以温水送服，不可自行加量或停药，服药期间注意有无黑便。

## 禁忌

活动性消化道出血的患者禁用；对阿司匹林过敏者禁用；妊娠最后三个月禁用。

## 短

略。
"""


def write(path: Path, schema: pa.Schema, rows: list[dict[str, Any]]) -> None:
    """A parquet file of records; fields that a row leaves out are null."""
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def documents(count: int, **more: Any) -> list[dict[str, Any]]:
    """Documents of 10, 11, 12, … characters."""
    return [
        {
            "id": f"d{number}",
            "text": "药" * (10 + number),
            "language": "zh" if number % 3 else "en",
            "source": f"书{number % 2}.txt",
            "source_type": "book",
            **more,
        }
        for number in range(count)
    ]


def curated(folder: Path, text: str = "", **report: Any) -> Path:
    """What a finished `curate` leaves: ten documents kept, 26 dropped; `text` stands wherever a corpus has its say."""
    out, trace, _, work = files_of(folder / "corpus.parquet")
    work.mkdir(exist_ok=True)
    rows = documents(10)
    rows[0] |= {"text": "每次服用五毫克，每日三次。" + text, "source": text or "书0.txt", "language": text or "zh"}
    write(out, DOCUMENT, rows)
    dropped = [
        {
            "id": f"s{n}",
            "source": text,
            "step": "rules",
            "rule": "too_short",
            "value": n,
            "threshold": 60,
            "excerpt": text,
        }
        for n in range(21)
    ]
    twins = [
        {"step": "near", "rule": "near_duplicate", "twin_id": twin, "similarity": similarity, "id": f"n{number}"}
        for number, (twin, similarity) in enumerate(
            [("d0", 0.91), ("d0", 0.83), ("d0", 0.99), ("d1", 0.81), ("d2", 1.0)]
        )
    ]
    write(trace, TRACE, dropped + [{**twin, "excerpt": "每次服用十毫克，每日三次。" + text} for twin in twins])
    given = {
        "command": "curate",
        "settings": {"near_threshold": 0.8, "note": text},
        "inputs": ["books", text],
        "funnel": [["read", 36, 36, 4_000_000, 2.0], ["rules", 36, 15, 4_000_000, 0.5], ["near", 15, 10, None, None]],
        "pii": {"PHONE": 7, "ID_CARD": 2},
        "encodings": {"gb18030": 3, "utf-8": 1},
        "languages": {"zh": 30, "en": 6},
        "examples": [{"step": "clean", "rule": "joined", "before": "每日\n三次" + text, "after": "每日三次" + text}],
    }
    (work / "report.json").write_text(json.dumps(given | report), encoding="utf-8")
    return out


@pytest.fixture(scope="module")
def unified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unified")
    source = folder / "in"
    source.mkdir()
    (source / "阿司匹林.md").write_text(NOTES, encoding="utf-8")
    (source / "阿司匹林 2.md").write_text(NOTES, encoding="utf-8")
    (source / "旧.txt").write_bytes(
        ("头孢克肟用于敏感菌所致的感染，成人每次 100 mg，每日两次口服。" * 2).encode("gb18030")
    )
    out = folder / "sft.parquet"
    unify([str(source)], out, UnifySettings(), AskRun(), Progress(quiet=True))
    return out


def test_duplicates_are_shown_with_both_texts(unified: Path) -> None:
    cluster = collect(unified).clusters[0]
    assert cluster.rule == "exact_duplicate"
    assert cluster.text == cluster.dropped[0].text
    assert not cluster.dropped[0].cut
    assert cluster.dropped[0].similarity == 1.0


def test_lengths_are_exact(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", DOCUMENT, documents(5))
    lengths = collect(tmp_path / "x.parquet").lengths["text"]
    assert lengths.counts == ((10, 1), (11, 1), (12, 1), (13, 1), (14, 1))
    assert (lengths.quantile(0), lengths.quantile(0.5), lengths.quantile(1)) == (10, 12, 14)


def test_conversations_are_counted_by_role_flags_and_checks(tmp_path: Path) -> None:
    rows = [
        {
            "id": f"c{number}",
            "messages": [{"role": "user", "content": "问" * 4}, {"role": "assistant", "content": "答" * 9}],
            "generator": "qwen",
            "flags": ["leakage"] if number else ["leakage", "truncated"],
            "checks": {"numbers": number, "support": 0.5},
            "usage": {"prompt_tokens": 10, "completion_tokens": 1},
        }
        for number in range(3)
    ]
    write(tmp_path / "x.parquet", CONVERSATION, rows)
    facts = collect(tmp_path / "x.parquet")
    assert facts.lengths["user"].counts == ((4, 3),)
    assert facts.lengths["assistant"].counts == ((9, 3),)
    assert facts.counts["flags"].top == (("leakage", 3), ("truncated", 1))
    assert facts.tokens == (30, 3)
    assert [role for role, _ in facts.samples[0].texts] == ["user", "assistant"]
    numbers = next(check for check in facts.checks if check.name == "numbers")
    assert (numbers.rows, numbers.low, numbers.mean, numbers.high, numbers.above) == (3, 0, 1.0, 2, 2)
    assert "leakage" not in [check.name for check in facts.checks], "measured nowhere"


def test_five_examples_are_spread_over_all_rows(tmp_path: Path) -> None:
    short = next(reason for reason in collect(curated(tmp_path)).reasons if reason.rule == "too_short")
    assert [example.value for example in short.examples] == [0, 5, 10, 15, 20]
    assert len(short.examples) == EXAMPLES
    assert (short.low, short.high) == (0, 20)


def test_failed_rows_are_counted_by_class(tmp_path: Path) -> None:
    out = curated(tmp_path)
    rows = [{"id": f"f{n}", "step": "answer", "class": "timeout", "message": "no reply in 60 s"} for n in range(7)]
    write(files_of(out)[2], FAILED, rows)
    (failed,) = collect(out).failed
    assert (failed.step, failed.rule, failed.count, len(failed.examples)) == ("answer", "timeout", 7, 5)


def test_addresses_are_counted_by_host(tmp_path: Path) -> None:
    rows = documents(4)
    for number, row in enumerate(rows):
        row["source"] = f"https://a.example/page{number}"
    write(tmp_path / "x.parquet", DOCUMENT, rows)
    assert collect(tmp_path / "x.parquet").counts["source"].top == (("https://a.example", 4),)


def test_rare_values_are_counted_together(tmp_path: Path) -> None:
    rows = documents(30)
    for number, row in enumerate(rows):
        row["source"] = f"{number:02}"
    write(tmp_path / "x.parquet", DOCUMENT, rows)
    counts = collect(tmp_path / "x.parquet").counts["source"]
    assert (len(counts.top), counts.others, counts.distinct, counts.total) == (20, 10, 30, 30)


def test_what_a_model_wrote_stands_beside_its_passage(unified: Path, tmp_path: Path) -> None:
    for path in (unified.with_suffix(".work"), unified.with_suffix(".trace.parquet")):
        (tmp_path / path.name).symlink_to(path)
    table = pq.read_table(unified)
    models = pa.array(["qwen-plus"] * table.num_rows)
    pq.write_table(
        table.set_column(table.column_names.index("generator"), "generator", models), tmp_path / unified.name
    )
    rewrites = collect(tmp_path / unified.name).rewrites
    assert rewrites
    assert all(rewrite.before == rewrite.after for rewrite in rewrites), "the rules answer with the passage itself"
    assert rewrites[0].rule.startswith("qwen-plus")
    assert not collect(unified).rewrites
