"""Documents a column at a time are those a row at a time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datatools.io.files import discover
from datatools.io.source import ReadOptions
from pipelines.documents import batches, windows
from schemas.document import DOCUMENT, Document

PIECES = st.sampled_from(
    [
        *(
            "头痛发热，身痛腰痛。",
            "右七味，捣罗为末，炼蜜为丸，酒下。之也其者",
            "患者每日１次",
            "\\x化凤膏\\x ",
            "\n",
            "\n\n",
        ),
        *(" ", "\u3000", "∶", "5％", "The patient should take one tablet with food every day. ", "é", "e\u0301"),
        *(
            "é«˜è¡€åŽ‹",
            "‰∏≠Êñá",
            "\ue000",
            "\ufffd",
            "かぜ薬です",
            "한국어 감기",
            "KT ",
            "目KT ",
            "p1.bmp",
            "<br>",
            "\\",
        ),
        *(
            "\\",
            "\n\n",
            "\\ps127",
            "\\r图\\ptpx1.bmp\\r ",
            "\\xi",
            "10⁹/L",
            "\U00020bb7",
            "\U0001f600",
            "|a|b|",
            "（",
            "1.",
        ),
    ]
)
TEXTS = st.lists(PIECES, max_size=24).map("".join)


class Sink:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.tally: Counter[str] = Counter()
        self.rows: list[Any] = []

    def add(self, stream: str, row: dict[str, Any]) -> None:
        self.rows.append((stream, row))

    def trace(self, step: str, rule: str, source: str, excerpt: str, **more: Any) -> None:
        self.rows.append((step, rule, source, excerpt, more))


def both(file: Path, limit: int | None = None) -> tuple[list[dict[str, Any]], list[dict[str, Any]], bool]:
    """The records either way, and whether any came as a batch; what was said besides must be the same."""
    (source,), _ = discover([str(file)])
    one, other = Sink(), Sink()
    rows = [
        document.record()
        for window in windows(source, ReadOptions(), one, limit, cut_rows=False)
        for document in window
    ]
    found: list[dict[str, Any]] = []
    whole = False
    for item in batches(source, ReadOptions(), other, limit, cut_rows=False):
        whole |= isinstance(item, pa.RecordBatch)
        found += item.to_pylist() if isinstance(item, pa.RecordBatch) else [document.record() for document in item]
    assert one.tally == other.tally
    assert one.rows == other.rows
    return rows, found, whole


@given(st.lists(TEXTS, min_size=1, max_size=12))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_of_a_text_and_an_id(tmp_path: Path, texts: list[str]) -> None:
    file = tmp_path / "a.parquet"
    ids = ["" if place % 3 == 2 else f" {place} " for place in range(len(texts))]
    pq.write_table(pa.table({"id": ids, "text": texts}), file)
    rows, found, _ = both(file)
    assert found == rows


@given(st.lists(st.tuples(TEXTS, st.sampled_from(["", "zh", "en", "und"])), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_records_of_documents(tmp_path: Path, texts: list[tuple[str, str]]) -> None:
    file = tmp_path / "a.parquet"
    made = [
        Document(
            text,
            f"{place % 2}.txt",
            place,
            title=" 方书Ａ" if place % 2 else "",
            section=("卷一",) * (place % 3),
            language=language,
            id=f"d{place}",
            source_type="book" if place % 2 else "",
            meta={"dynasty": "清"} if place % 4 == 3 else {},
        ).record()
        for place, (text, language) in enumerate(texts)
        if text.strip()
    ]
    pq.write_table(pa.Table.from_pylist(made, schema=DOCUMENT), file)
    if made:
        rows, found, whole = both(file)
        assert found == rows
        assert whole


def test_long_rows_come_as_batches_and_a_limit_cuts_them(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    texts = [f"第{number}条：高血压病人每日食盐不超过五克，坚持规律服药并记录。" * 30 for number in range(500)]
    pq.write_table(pa.table({"id": [str(number) for number in range(500)], "text": texts}), file)
    rows, found, whole = both(file, limit=321)
    assert found == rows
    assert whole
    assert [row["id"] for row in found] == [str(number) for number in range(321)]


@pytest.mark.parametrize("column", ["score", "label"])
def test_other_columns_are_kept_as_fields(tmp_path: Path, column: str) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": ["1"], "text": ["高血压的发生与遗传有关。" * 10], column: ["甲"]}), file)
    rows, found, _ = both(file)
    assert found == rows
    assert column in found[0]["meta"]


def test_the_language_of_a_row_is_that_of_its_values(tmp_path: Path) -> None:
    rows = ['{"symptom": "腹痛", "syndrome": "寒湿困脾证"}', '{"herb": "防风", "relation_type": "归经"}']
    (tmp_path / "graph.jsonl").write_text("\n".join(rows), encoding="utf-8")
    ((source,), _) = discover([str(tmp_path / "graph.jsonl")])
    (window,) = windows(source, ReadOptions(), Sink())
    assert [document.language for document in window] == ["zh", "zh"]
