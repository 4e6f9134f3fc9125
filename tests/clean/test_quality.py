"""Quality signals are what their names say, on the texts people have."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.clean import scan
from datatools.clean.columns import append_columns
from datatools.clean.lexicon import BUILT_IN as LEXICON
from datatools.clean.quality import COUNTS, SIGNALS, Quality

MODERN = "高血压是一种常见的慢性病，患者应当在医生的指导下服药，这样血压就能得到控制。"
CLASSICAL = "帝曰：人之居处动静勇怯，脉亦为之变乎？岐伯对曰：凡人之惊恐恚劳动静，皆为变也。"
ENGLISH = "The patient was treated with amoxicillin for pneumonia, and the fever resolved within three days of therapy."


def signals(text: str | None) -> dict[str, float]:
    row = Quality()(pa.record_batch({"text": pa.array([text], pa.string())})).to_pylist()[0]
    return {name: row[name] for name in SIGNALS}


def test_what_a_text_is_made_of() -> None:
    found = signals("白细胞 WBC 12.5 × 10⁹/L。")
    assert found["characters"] == 21
    assert found["han"] == pytest.approx(3 / 7) and found["latin"] == pytest.approx(4 / 7)
    assert found["digit_share"] == pytest.approx(6 / 17) and found["symbol_share"] == pytest.approx(1 / 17)
    assert found["punctuation_share"] == pytest.approx(3 / 17)
    assert signals("かぜ薬")["kana"] == pytest.approx(2 / 3)
    assert signals("두통")["hangul"] == 1


def test_lines() -> None:
    found = signals(
        "第一行到此为止了呀是的。\n\n  短行 \n他说：“是。”\n待续……\n1. 发热\n（二）咳嗽\n- 乏力\n1.5 g\n药名 | 剂量"
    )
    assert found["lines"] == 9
    assert found["line_stop_share"] == pytest.approx(3 / 9)
    assert found["ellipsis_line_share"] == pytest.approx(1 / 9)
    assert found["short_line_share"] == pytest.approx(8 / 9)
    assert found["list_share"] == pytest.approx(3 / 9)
    assert found["table_share"] == pytest.approx(1 / 9)


def test_duplicate_lines_and_grams() -> None:
    found = signals("甲乙丙丁\n甲乙丙丁\n戊己庚辛\n甲乙丙丁")
    assert found["duplicate_line_share"] == pytest.approx(0.5)
    assert found["duplicate_line_character_share"] == pytest.approx(0.5)
    assert signals(MODERN)["duplicate_gram_share"] == 0
    assert signals(MODERN + MODERN)["duplicate_gram_share"] == pytest.approx(0.5)
    assert signals(ENGLISH + " " + ENGLISH)["duplicate_gram_share"] == pytest.approx(0.5, abs=0.01)


def test_top_grams_of_english() -> None:
    found = signals("heart failure " * 10)
    assert found["top_2gram_share"] == pytest.approx(1, abs=0.01)
    assert signals(ENGLISH)["top_2gram_share"] == 0
    assert signals(ENGLISH)["words"] == 17 and 4 < signals(ENGLISH)["mean_word_length"] < 7


def test_function_words_tell_modern_classical_and_english() -> None:
    assert signals(MODERN)["stop_zh"] > signals(MODERN)["stop_lzh"]
    assert signals(CLASSICAL)["stop_lzh"] > signals(CLASSICAL)["stop_zh"]
    assert signals(ENGLISH)["stop_en"] == 4  # the, of, and, with
    assert signals(MODERN)["stop_en"] == 0


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "mac_roman"])
def test_mojibake_shows(encoding: str) -> None:
    broken = "高血压患者的治疗".encode().decode(encoding, "replace")
    assert signals(broken)["mojibake_share"] > 0.3
    assert signals("é à la française « bon café »")["mojibake_share"] == 0
    assert signals("血压下降5‰，约120/80")["mojibake_share"] == 0


def test_gbk_mojibake_and_residue_show() -> None:
    assert signals("锛堥珮琛€鍘嬶級銆")["mojibake_share"] > 0.2
    assert signals("方□□□")["residue_share"] == pytest.approx(0.75)


def test_medical_density_counts_characters_of_terms() -> None:
    assert signals("高血压和糖尿病")["medical_density"] == pytest.approx(6 / 7)
    assert signals("今天天气真好呀")["medical_density"] == 0
    assert signals("Pneumonia")["medical_density"] == 1
    assert signals("unpneumonia")["medical_density"] == 0


def test_a_lexicon_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "terms.txt"
    file.write_text("# mine\n天气\n", encoding="utf-8")
    row = Quality(str(file))(pa.record_batch({"text": ["天气很好"]})).to_pylist()[0]
    assert row["medical_density"] == pytest.approx(0.5)
    assert Quality(str(file)) != Quality()
    (tmp_path / "empty.txt").write_text("# none\n", encoding="utf-8")
    for name in ("empty.txt", "missing.txt"):
        with pytest.raises(ValueError, match=name):
            Quality(str(tmp_path / name))


def test_empty_and_null_text_give_zeros() -> None:
    assert set(signals("").values()) == {0} and set(signals(None).values()) == {0}
    empty = Quality()(pa.record_batch({"text": pa.array([], pa.string())}))
    assert empty.num_rows == 0 and set(SIGNALS) <= set(empty.schema.names)


@settings(deadline=None)  # the first text of a process pays for the tables
@given(st.lists(st.none() | st.text() | st.text("高血压的之a b.\n|1", max_size=60), max_size=8))
def test_a_text_has_the_same_signals_among_others_as_alone(texts: list[str | None]) -> None:
    together = Quality()(pa.record_batch({"text": pa.array(texts, pa.large_string())})).to_pylist()
    for text, row in zip(texts, together, strict=True):
        alone = signals(text)
        assert {name: row[name] for name in SIGNALS} == alone
        assert all(0 <= value <= 1 for name, value in alone.items() if name not in COUNTS and "mean" not in name)
        assert alone["characters"] == len(text or "")


def test_slices_blocks_and_long_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "BLOCK_BYTES", 200)
    texts = [MODERN, "", CLASSICAL, ENGLISH, MODERN * 5, "短"]
    batch = pa.record_batch({"text": texts})
    whole = Quality()(batch).to_pylist()
    assert Quality()(batch.slice(2, 3)).to_pylist() == whole[2:5]
    monkeypatch.setattr(scan, "LIMIT", 50)
    assert Quality()(batch).to_pylist()[4]["characters"] == 5 * len(MODERN)


def test_columns_are_appended_or_replaced() -> None:
    batch = append_columns(pa.record_batch({"a": [1], "b": [2]}), {"a": pa.array(["x"]), "c": pa.array([3])})
    assert batch.schema.names == ["a", "b", "c"] and batch.to_pylist() == [{"a": "x", "b": 2, "c": 3}]


@settings(deadline=None)  # the first text of a process pays for the compilation
@given(st.text("高血压病。", max_size=80))
def test_repeated_characters_are_those_one_would_count(text: str) -> None:
    seen: set[str] = set()
    repeated: set[int] = set()
    for start in range(len(text) - 9):
        if text[start : start + 10] in seen:
            repeated.update(range(start, start + 10))
        seen.add(text[start : start + 10])
    assert signals(text)["duplicate_gram_share"] == pytest.approx(len(repeated) / max(1, len(text)))


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["高血压", "高", "血压", "糖尿病", "fever", "Fever ", " ", "pain", "x", "心", "\n"]),
        max_size=12,
    ).map("".join)
)
def test_medical_characters_are_those_of_the_longest_terms(text: str) -> None:
    terms = {line for line in LEXICON.read_text(encoding="utf-8").split("\n") if line and line[0] != "#"}
    covered: set[int] = set()
    for start in range(len(text)):
        if (
            text[start].isascii()
            and text[max(0, start - 1) : start].isascii()
            and text[max(0, start - 1) : start].isalpha()
        ):
            continue
        longest = max((len(term) for term in terms if text[start : start + len(term)].lower() == term), default=0)
        covered.update(range(start, start + longest))
    assert signals(text)["medical_density"] == pytest.approx(len(covered) / max(1, len(text)))


def test_signals_do_not_reach_over_the_end_of_a_text() -> None:
    batch = Quality()(pa.record_batch({"text": ["Â", "\x80", "高血", "压", "甲乙丙丁戊己庚辛壬", "癸"]}))
    assert not any(batch["mojibake_share"].to_pylist()) and not any(batch["medical_density"].to_pylist())
