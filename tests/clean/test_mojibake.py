"""Mojibake: what was misread comes back, what was right stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.clean.mojibake import repair

TEXT = "血压升高，应给予氨氯地平5 mg/日。\n头痛、恶心\n“中文”、café – 37℃ 😀\nplain English line"


def misread(text: str, table: str) -> str:
    """The text as a program shows it that takes its UTF-8 for another encoding."""
    return as_shown(text.encode(), table)


def as_shown(raw: bytes, table: str) -> str:
    if table == "cp1252":  # browsers read the five bytes it leaves open as Latin-1
        return "".join(bytes([code]).decode("cp1252", "ignore") or chr(code) for code in raw)
    return raw.decode(table)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("table", ["mac_roman", "latin-1", "cp1252"])
def test_utf8_read_wrongly_comes_back_however_often(table: str, times: int) -> None:
    text = TEXT
    for _ in range(times):
        text = misread(text, table)
    assert repair(text) == (TEXT, "+".join([table] * times))


@pytest.mark.parametrize("table", ["latin-1", "cp1252"])
def test_gb18030_read_wrongly_comes_back(table: str) -> None:
    text = "血压升高，应给予氨氯地平5 mg/日。\n头痛、恶心\n中国\nplain English line"
    repaired, name = repair(as_shown(text.encode("gb18030"), table))
    assert repaired == text
    assert name.startswith("gb18030 as ")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("cafÃ©", "café"),
        ("37 Â°C", "37 °C"),
        ("Itâ€™s", "It’s"),
        ("37¬∞C", "37°C"),
        ("Î²-blocker 5 Î¼g", "β-blocker 5 μg"),
    ],
)
def test_one_misread_character_is_enough(wrong: str, right: str) -> None:
    assert repair(wrong)[0] == right


@pytest.mark.parametrize(
    "text",
    [
        "L’élève a été reçu à l’école « côté cour ». « Déjà vu », dit-il… l’œuvre créée à Noël",
        "l’école",
        "dit—école",
        "café\u00a0»",  # E9 A0 BB, the UTF-8 of a Chinese character
        "„Menü“ – schön, Größe, Übelkeit, Ärzte",
        "ÄÖÜ äöüß ÀÉÈÙ éééé créée",
        "Ïðèâåò ìèð",  # Cyrillic misread: not ours to repair
        "√π/2 ± 3 µg, 20±3 μg/㎏, ½ 片 ×10⁹/L，CO₂",
        "他说：“血压——高……”，体温 37.5 °C × 3 天 😀👍🏽",
        "«MAÇÃ» ”Å” Œuvre",
    ],
)
def test_text_that_is_right_is_left_alone(text: str) -> None:
    assert repair(text) == (text, "")


def test_only_the_lines_that_were_misread_are_touched() -> None:
    text = "正常的一行\n" + misread("高血压的治疗", "cp1252") + "\nl’été"
    assert repair(text) == ("正常的一行\n高血压的治疗\nl’été", "cp1252")


def test_every_line_of_the_real_files_comes_back(real_data: Path) -> None:
    files = sorted((real_data / "mojibake").glob("*.txt"))
    assert files
    for path in files:
        text = path.read_text(encoding="utf-8")
        truth = "\n".join(line.encode("mac_roman").decode("utf-8") for line in text.split("\n"))
        assert repair(text) == (truth, "mac_roman")


def test_real_chinese_and_english_is_left_alone(real_data: Path) -> None:
    for path in [*(real_data / "textbooks-tex").glob("*.tex"), *(real_data / "medquad-xml").rglob("*.xml")]:
        text = path.read_text(encoding="utf-8")
        assert repair(text) == (text, ""), path.name


@given(st.text())
def test_never_raises(text: str) -> None:
    repair(text)


@given(st.text(st.sampled_from("的一是不了高血压病人，。、；：？！“”‘’…—（）《》·×±°μ℃ abc123\n")))
def test_chinese_is_never_changed(text: str) -> None:
    assert repair(text) == (text, "")


@given(
    st.text(st.sampled_from("高血压病人，。治疗abc 5"), min_size=2), st.sampled_from(["mac_roman", "latin-1", "cp1252"])
)
def test_any_misread_chinese_comes_back(text: str, table: str) -> None:
    text = "血压" + text
    assert repair(misread(text, table))[0] == text
