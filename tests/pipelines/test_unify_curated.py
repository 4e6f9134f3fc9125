"""unify with curate in front: what is cleaned and dropped before the first question, and what --no-curate leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pipelines.command import HERBS, answer, beside, here, question, rows, write

CAUSES = (
    "高血压的发生与遗传、高盐饮食、肥胖和长期精神紧张有关，父母都有高血压的人患病风险明显升高。"
    "中国人群每日食盐摄入量约为十克，远高于世界卫生组织建议的五克，减盐因此是最有效的预防措施之一。"
)
GARBLED = "é«˜è¡€åŽ‹çš„" * 12
ITEM = {
    "id": "7",
    "question": "下列哪一项不是原发性高血压患者首选的一线降压药物之一，且常引起反射性心率加快？",
    "options": ["氢氯噻嗪", "氨氯地平", "肼屈嗪", "缬沙坦"],
    "answer": "C",
}


def page(section: str, text: str) -> str:
    """A page with one section."""
    return f"# 高血压\n\n## {section}\n\n{text}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five pages: one good, its copy, nearly its copy, next to nothing, and one with a telephone number."""
    return write(
        tmp_path / "in",
        {
            "a.md": page("病因", CAUSES),
            "b.md": page("发病原因", CAUSES),
            "c.md": page("为什么会得", CAUSES.replace("约为十克", "约为十一克")),
            "d.md": page("其他", "略。"),
            "e.md": page("就诊", "门诊每周一至周五上午开放，请先拨打预约电话13800138000，再携带身份证与病历前来就诊。"),
        },
    )


def test_duplicates_and_scraps_go_before_questions_are_made(folder: Path, out: Path) -> None:
    done = here("unify", folder, "--out", out, "--workers", 1, "--json")
    assert done.code == 0, done.stderr
    assert {row["source"] for row in rows(out)} == {"a.md", "e.md"}
    traced = {row["source"]: (row["step"], row["rule"]) for row in rows(beside(out, "trace"))}
    assert traced == {
        "b.md": ("exact", "exact_duplicate"),
        "c.md": ("near", "near_duplicate"),
        "d.md": ("rules", "too_short"),
    }
    assert done.summary["dropped"] == {"exact_duplicate": 1, "near_duplicate": 1, "too_short": 1}
    assert done.summary["rows_read"] == 5


def test_personal_data_reaches_no_row(folder: Path, out: Path) -> None:
    here("unify", folder, "--out", out, "--workers", 1)
    said = [answer(row) for row in rows(out) if row["source"] == "e.md"]
    assert said == ["门诊每周一至周五上午开放，请先拨打预约电话[PHONE]，再携带身份证与病历前来就诊。"]


def test_no_curate_takes_the_documents_as_they_are(folder: Path, out: Path) -> None:
    done = here("unify", folder, "--out", out, "--workers", 1, "--json", "--no-curate")
    assert {row["source"] for row in rows(out)} == {"a.md", "c.md", "e.md"}
    assert done.summary["dropped"] == {"duplicate_passage": 1, "too_short": 1}
    assert any("13800138000" in answer(row) for row in rows(out))


def test_unify_of_what_curate_wrote_gives_the_same_pairs(folder: Path, tmp_path: Path, out: Path) -> None:
    curated = tmp_path / "corpus.parquet"
    assert here("curate", folder, "--out", curated, "--workers", 1).code == 0
    assert here("unify", curated, "--out", tmp_path / "two.parquet", "--workers", 1).code == 0
    assert here("unify", folder, "--out", out, "--workers", 1).code == 0
    in_two = [(question(row), answer(row), row["source"]) for row in rows(tmp_path / "two.parquet")]
    assert in_two == [(question(row), answer(row), row["source"]) for row in rows(out)]


@pytest.mark.parametrize("curate", [[], ["--no-curate"]], ids=["curated", "as-they-are"])
def test_exam_items_are_kept_out_of_the_pairs(tmp_path: Path, out: Path, curate: list[str]) -> None:
    exam = tmp_path / "exam.jsonl"
    exam.write_text(json.dumps(ITEM, ensure_ascii=False) + "\n", encoding="utf-8")
    asked = {"question": ITEM["question"], "answer": "选肼屈嗪。它直接扩张小动脉，容易引起反射性心率加快。"}
    folder = write(
        tmp_path / "in",
        {
            "good.md": page("病因", CAUSES),
            "leak.md": page("复习", f"考前复习第三题：{ITEM['question']}" + "、".join(ITEM["options"])),
            "pairs.jsonl": json.dumps(asked, ensure_ascii=False) + "\n",
        },
    )
    done = here("unify", folder, "--out", out, "--workers", 1, "--json", "--decontaminate", exam, *curate)
    assert done.code == 0, done.stderr
    assert {row["source"] for row in rows(out)} == {"good.md"}
    leaks = [row for row in rows(beside(out, "trace")) if row["step"] == "decontaminate"]
    assert {row["source"] for row in leaks} == {"leak.md", "pairs.jsonl"}
    assert all("反射性心率加快" in row["excerpt"] and row["twin_id"].endswith("7") for row in leaks)
    assert done.summary["dropped"] == {"leak": 2}


def test_exam_files_without_items_are_refused_before_anything_is_read(folder: Path, tmp_path: Path, out: Path) -> None:
    (tmp_path / "exam.jsonl").write_text("\n", encoding="utf-8")
    done = here("unify", folder, "--out", out, "--decontaminate", tmp_path / "exam.jsonl")
    assert done.code == 2
    assert "no exam items there" in done.line
    assert not out.exists()


def test_all_documents_dropped_is_an_empty_file_and_not_an_error(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.md": page("其他", "略。"), "b.txt": GARBLED})
    done = here("unify", folder, "--out", out, "--workers", 1, "--json")
    assert done.code == 0, done.stderr
    assert done.summary["rows_written"] == 0
    assert sum(done.summary["dropped"].values()) >= 1


def test_tables_rows_and_pairs_are_not_judged_as_prose(tmp_path: Path, out: Path) -> None:
    doses = "\n".join(f"| {herb} | {number} 克 |" for number, herb in enumerate(HERBS, 3))
    row = {f"项目{number}": f"第{number}项" for number in range(14)} | {"名称": "肝功能检查"}
    asked = {"question": "感冒有哪些表现？", "answer": "\n".join(f"- 表现{number}" for number in range(24))}
    folder = write(
        tmp_path / "in",
        {
            "table.md": page("常用量", f"| 药名 | 一日量 |\n|---|---|\n{doses}"),
            "rows.jsonl": json.dumps(row, ensure_ascii=False) + "\n",
            "pairs.jsonl": json.dumps(asked, ensure_ascii=False) + "\n",
        },
    )
    here("unify", folder, "--out", out, "--workers", 1)
    assert {row["source"] for row in rows(out)} == {"table.md", "rows.jsonl", "pairs.jsonl"}
    assert rows(beside(out, "trace")) == []
