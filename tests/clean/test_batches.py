"""What is done for many texts at once gives what is done for each."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from datatools.clean import language as languages
from datatools.clean import normalise as normal
from datatools.clean.bare import without_space
from datatools.dedupe.boilerplate import paragraph_keys
from datatools.dedupe.exact import text_key

SIGNS = (
    "  \n\n\n12345.．)）（()一二三十、上右件味又方，。|#-*•abzKTHFS.bjg\\<\u3000\u200b\u00a0\u2005\x85\x00\t\r９ａ∶"
    "：”é\u0301\ue000\ufffd\U00020001\U0001f600\ud800" + "人参黄芪各等分为细末" * 3
)
SPACES = [chr(code) for code in range(0x3100) if chr(code).isspace()]


def texts(alphabet: str, longest: int, count: int = 4000) -> list[str]:
    dice = random.Random(longest)
    return ["".join(dice.choices(alphabet, k=dice.randrange(longest))) for _ in range(count)]


@pytest.mark.parametrize("without", ["", "<\\", "<\\.\u0301\U0001f600\ud800", "<\\.\u0301\U0001f600\ud800\n"])
def test_many_texts_are_normalised_as_each_is(without):
    many = texts("".join(sign for sign in SIGNS if sign not in without), 240)
    assert normal.normalise_all(many) == [normal.normalise(text) for text in many]


def test_many_wrapped_books_are_joined_as_each_is():
    line = "上药为细末，炼蜜和丸，如梧桐子大，每服三十丸，空心温酒送下，忌生冷"
    many = [f"{line[: 5 + place % 29]}\n{start}{line}\n\n{line}" for place in range(40) for start in (
        "", "右为末", "上十二味", "又方", "一方", "（三）", "三、", "12. ", "12.5", "1234、", "- ", "-", "|", "#",
        "【", "<p",
        "甘草 桂枝 芍药", "甘草 桂枝", "KT ", "\\x", "3.jpg",
    )]  # fmt: skip
    assert normal.normalise_all(many) == [normal.normalise(text) for text in many]


def test_residue_is_left_out_of_many_texts_as_of_each():
    pieces = (
        *(
            "\\",
            "\\x",
            "\\r",
            "\\p",
            "\\ps1",
            "\\p04-34a1.bmp",
            "\\pa1.bMp\\r",
            "\\pf1\\r",
            "p",
            "s",
            "x",
            "r",
            "n",
            "t",
        ),
        *(".bmp", ".JPG", ".gif", ".Gif", ".bm", "bmp", "-", "_", "/", ".", "a", "1", "23", "456", "abc", "Z"),
        *("KT", "HT", "FS", "KT ", "K", "T", "H", "S", "F", "目", "人", "一", " ", "\n", "\u3000", "。", "Ａ", "１"),
        *("\u0661", "\ue000", "\u200b"),
    )
    dice = random.Random(5)
    many = ["".join(dice.choices(pieces, k=dice.randrange(24))) for _ in range(20_000)]
    assert normal.normalise_all(many) == [normal.normalise(text) for text in many]


def test_a_very_long_text_is_normalised_too():
    text = "五％葡萄糖 ５００ ml\n" * 150_000
    assert normal.normalise_all([text, text[:20]]) == [normal.normalise(text), normal.normalise(text[:20])]


def test_languages_of_many_texts_are_those_of_each():
    alphabet = "之曰的是就酒食令宜患者感冒のはひ한국어the and with \n12" + "甘草桂枝" * 4
    many = [
        *texts(alphabet, 60),
        "感冒了",
        "子曰：学而时习之，不亦说乎",
        "WBC 10.2×10^9/L",
        "",
        "Take with food and water.",
    ]
    assert languages.languages(many) == [languages.language(text) for text in many]


def test_keys_of_many_texts_are_those_of_each():
    many = texts("".join(SPACES) + "\n\n\nabcé\U0001f600" + "甘草桂枝芍药" * 12, 200)
    bare = without_space(pa.chunked_array([many[:1000], many[1000:]], pa.string()))
    assert bare.text_keys().to_pylist() == [text_key(text) for text in many]
    groups = [paragraph_keys([""], [f"{place % 3}/x"])[1].popitem()[0] for place in range(len(many))]
    places, keys = bare.line_keys(groups)
    expected = [
        (place, int(key))
        for place, text in enumerate(many)
        for key in paragraph_keys([text], [f"{place % 3}/x"])[0]["key"]
    ]
    assert sorted(zip(places.tolist(), keys.tolist(), strict=True)) == sorted(expected)


def test_no_texts_give_no_keys():
    bare = without_space(pa.chunked_array([], pa.string()))
    assert len(bare.text_keys()) == 0 and not len(bare.lines)
