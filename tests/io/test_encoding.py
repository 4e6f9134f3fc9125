"""Encodings are told from bytes alone, and a few broken bytes change nothing but themselves."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.io.encoding import decode

NOTE = "患者头痛三日，伴发热。"  # 22 bytes of GB18030
CHINESE = "高血压患者应当低盐饮食，每日食盐不超过5克。\n阿司匹林100mg，每日一次；注意胃部不适。\n" * 3
TRADITIONAL = "太陽病，發熱、汗出、惡風者，名為中風，桂枝湯主之。\n服藥後飲熱粥，以助藥力。\n" * 3
RARE = "㐂𠀀𪚥：这些字在国标十八〇三〇里占四个字节，病人姓名里会有。"


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "gbk", "gb2312", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [NOTE, CHINESE])
def test_chinese_is_read_in_each_encoding(encoding: str, text: str) -> None:
    decoded = decode(text.encode(encoding))
    assert decoded.text == text
    assert decoded.undecodable == 0
    assert decoded.encoding == {"gbk": "gb18030", "gb2312": "gb18030"}.get(encoding, encoding)


def test_big5_is_not_taken_for_gb18030() -> None:
    assert decode(TRADITIONAL.encode("big5")).text == TRADITIONAL
    assert decode("頭痛發熱，服藥三日。".encode("big5")).encoding == "big5"
    assert decode(TRADITIONAL.encode("gb18030")).encoding == "gb18030"


def test_four_byte_characters_survive() -> None:
    assert decode(RARE.encode("gb18030")).text == RARE


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_decides(mark: bytes, encoding: str) -> None:
    decoded = decode(mark + CHINESE.encode(encoding))
    assert (decoded.text, decoded.encoding) == (CHINESE, encoding)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_english_in_utf16_without_a_mark(encoding: str) -> None:
    assert decode("Take one tablet daily.".encode(encoding)).text == "Take one tablet daily."


@pytest.mark.parametrize(("encoding", "text"), [("utf-8", CHINESE), ("gb18030", CHINESE), ("big5", TRADITIONAL)])
@pytest.mark.parametrize("place", [0, 31, 100])
def test_a_broken_byte_costs_a_character_or_two(encoding: str, text: str, place: int) -> None:
    data = text.encode(encoding)
    broken = decode(data[:place] + b"\xff" + data[place:])
    assert broken.encoding == encoding
    assert 1 <= broken.undecodable <= 4
    assert broken.text.count("\ufffd") == broken.undecodable
    assert len(set(text.split("\n")) & set(broken.text.split("\n"))) >= 2


@pytest.mark.parametrize(("encoding", "text"), [("gb18030", CHINESE), ("big5", TRADITIONAL)])
def test_a_lost_byte_does_not_garble_the_rest_of_its_line(encoding: str, text: str) -> None:
    data = text.encode(encoding)
    for place in (10, 20, 30):
        decoded = decode(data[:place] + data[place + 1 :])
        assert decoded.encoding == encoding
        assert decoded.undecodable <= 2
        assert sum(character not in text for character in decoded.text) <= 4


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_file_cut_within_a_character(encoding: str) -> None:
    decoded = decode((CHINESE + "药").encode(encoding)[:-1])
    assert decoded.text.rstrip("\ufffd") == CHINESE
    assert decoded.undecodable in (1, 2)
    assert decoded.encoding == encoding


def test_western_text_is_not_chinese() -> None:
    text = "Le patient présente une fièvre élevée depuis la veille, traitée par paracétamol à 15 mg/kg."
    assert decode(text.encode("cp1252")).text == text
    assert decode("Temp. 38°C, 5 µg".encode("cp1252")).text == "Temp. 38°C, 5 µg"


def test_a_declared_encoding_is_believed_only_if_it_fits() -> None:
    data = CHINESE.encode("gb18030")
    assert decode(data, "iso-8859-1").text == CHINESE
    assert decode(data, "no-such-encoding").text == CHINESE
    assert decode(data, "gb2312").encoding == "gb18030"
    japanese = "患者は三日前から頭痛があり、発熱はありません。薬を飲んでください。"
    assert decode(japanese.encode("shift_jis"), "Shift_JIS").text == japanese


def test_line_ends_nuls_and_inner_marks() -> None:
    assert decode("头痛\r\n发热\r咳嗽\n".encode("gb18030")).text == "头痛\n发热\n咳嗽\n"
    assert decode("a long enough line \0with\ufeff residue\r\n".encode()).text == "a long enough line with residue\n"


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="not text"):
        decode(bytes(range(256)) * 40)


@given(st.text())
def test_utf8_always_comes_back_as_it_was(text: str) -> None:
    if any(character < " " for character in text) or "\ufeff" in text:
        return
    assert decode(text.encode()).text == text


@given(st.binary(max_size=300))
def test_any_bytes_give_text_or_a_refusal(data: bytes) -> None:
    try:
        decoded = decode(data)
    except ValueError:
        return
    assert "\r" not in decoded.text
    assert 0 <= decoded.undecodable <= len(data)


def test_every_real_book_is_gb18030(real_data: Path) -> None:
    for book in sorted((real_data / "tcm-books-gb18030").glob("*.txt")):
        decoded = decode(book.read_bytes())
        assert (decoded.encoding, decoded.undecodable) == ("gb18030", 0), book.name
