"""Language by script first; classical Chinese apart from modern."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.clean.language import dominant_language, language, script_counts

MODERN = "高血压是一种常见的慢性病，患者应当在医生的指导下服药，这样血压就能得到控制。"
CLASSICAL = "帝曰：人之居处动静勇怯，脉亦为之变乎？岐伯对曰：凡人之惊恐恚劳动静，皆为变也。"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("感冒了", "zh"),
        (MODERN, "zh"),
        ("小青龍湯的組成是什麼？", "zh"),
        ("患者服用 amoxicillin clavulanate potassium 后好转", "zh"),
        ("血常规：WBC 10.2×10^9/L", "zh"),
        (CLASSICAL, "lzh"),
        ("太陽之為病，脈浮，頭項強痛而惡寒，此皆桂枝湯證也，服之則愈矣。", "lzh"),
        ("当归 川芎 白芍 熟地黄", "zh"),
        ("この薬は食後に服用してください。", "ja"),
        ("두통이 심하고 열이 납니다.", "ko"),
        ("What is the usual dose of metformin in adults?", "en"),
        ("Le patient souffre de douleurs abdominales depuis trois jours.", "fr"),
        ("Der Patient klagt seit drei Tagen über Schmerzen im Bauch und Fieber.", "de"),
        ("Gallic acid; 149-91-7; 3,4,5-Trihydroxybenzoic acid; Pyrogallol-5-carboxylic acid; NSC 20103", "und"),
        ("名称：榆白皮 label：Herb name_en：Cortex ulmi pumilae name_pinyin：YU BAI PI name_latin：NA", "und"),
        ("WBC 10.2×10^9/L, Hb 120 g/L", "und"),
        ("12.5 / 80", "und"),
        ("", "und"),
    ],
)
def test_language_of_medical_text(text: str, expected: str) -> None:
    assert language(text) == expected


def test_the_same_text_gets_the_same_language_every_time() -> None:
    text = "Paracetamolo e ibuprofene per la febbre dei bambini"
    assert {language(text) for _ in range(5)} == {language(text)}


def test_a_file_is_judged_by_most_of_its_passages() -> None:
    assert dominant_language([CLASSICAL, "当归 川芎 白芍", CLASSICAL]) == "lzh"
    assert dominant_language([MODERN, MODERN, CLASSICAL]) == "zh"
    assert dominant_language([]) == "und"


@given(st.text())
def test_every_text_has_a_language(text: str) -> None:
    assert language(text) in ("zh", "lzh", "ja", "ko", "und") or len(language(text)) == 2
    counts = script_counts(text)
    assert counts.classical + counts.modern <= counts.han <= counts.letters <= len(text)


def test_langdetect_is_not_loaded_for_chinese() -> None:
    use = "from datatools.clean.language import language; language('感冒了')"
    code = f"import sys; {use}; print('langdetect' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_classical_and_modern_books_are_told_apart(real_data: Path) -> None:
    def samples(path: Path, encoding: str) -> list[str]:
        text = path.read_bytes().decode(encoding, "replace")
        return [text[i : i + 800] for i in range(0, min(len(text), 40_000), 800)]

    books = real_data / "tcm-books-gb18030"
    for name in ("457-伤寒论", "437-黄帝内经素问", "532-备急千金要方", "522-温疫论"):
        assert dominant_language(samples(books / f"{name}.txt", "gb18030")) == "lzh", name
    for name in ("048-思考中医", "080-中医之钥", "687-经穴秘密"):
        assert dominant_language(samples(books / f"{name}.txt", "gb18030")) == "zh", name
    for path in sorted((real_data / "textbooks-tex").glob("*chap04.tex")):
        assert dominant_language(samples(path, "utf-8")) == "zh", path.name
