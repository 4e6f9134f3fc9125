"""Entries: bold run-in names become headings of the classics."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.clean.entries import entries
from schemas.document import Document


def found(text: str) -> list[tuple[tuple[str, ...], str]]:
    return [(entry.section, entry.text.strip()) for entry in entries(Document(text, "方书.txt", section=("卷一",)))]


def test_a_bold_name_at_the_line_start_names_what_follows() -> None:
    text = "凡外科诸膏如下。\n\\x化凤膏\\x 治颈项结核。黄连三钱。\n\u3000\\x玉红膏\\x 治烂肉不去。白芷五钱。\n"
    assert found(text) == [
        (("卷一",), "凡外科诸膏如下。"),
        (("卷一", "化凤膏"), "治颈项结核。黄连三钱。"),
        (("卷一", "玉红膏"), "治烂肉不去。白芷五钱。"),
    ]


def test_another_formula_is_filed_under_the_entry_before() -> None:
    text = (
        "\\x止咳散\\x 治咳。桔梗一两。\n\\x又方\\x 杏仁二两。\n\\x又一方\\x 百部一两。\n\\x清咽丸\\x 治咽痛。薄荷一两。"
    )
    assert [section for section, _ in found(text)] == [
        ("卷一", "止咳散"),
        ("卷一", "止咳散", "又方"),
        ("卷一", "止咳散", "又一方"),
        ("卷一", "清咽丸"),
    ]


def test_another_formula_with_none_before_it_keeps_its_name() -> None:
    assert found("\\x又方\\x 杏仁二两，水煎。") == [(("卷一", "又方"), "杏仁二两，水煎。")]


def test_a_signature_stays_text_of_the_entry_before() -> None:
    text = "\\x清咽丸\\x 治咽痛。薄荷一两。\n\\x无名氏谨识\\x \n"
    ((section, body),) = found(text)
    assert section == ("卷一", "清咽丸")
    assert body.endswith("\\x无名氏谨识\\x")


def test_a_name_may_be_wrapped() -> None:
    assert found("\\x治小儿夜啼\n不安方\\x 灯心一束。") == [(("卷一", "治小儿夜啼不安方"), "灯心一束。")]


def test_whose_formula_it_is_may_stand_before_the_name() -> None:
    text = "\\x建中汤\\x 治自汗。芍药二钱。\n（东垣）\\x益气汤\\x 治劳倦。人参一钱。\n（《良方》）\\x紫宸汤\\x 解宿酒。"
    assert found(text) == [
        (("卷一", "建中汤"), "治自汗。芍药二钱。"),
        (("卷一", "（东垣）", "益气汤"), "治劳倦。人参一钱。"),
        (("卷一", "（《良方》）", "紫宸汤"), "解宿酒。"),
    ]
    assert found("第二、\\x葛汤\\x 治痉。\n〔表邪〕\\x疏风散\\x 荆芥。\n《局方》\\x神散\\x 治血。") == [
        (("卷一", "葛汤"), "治痉。"),
        (("卷一", "〔表邪〕", "疏风散"), "荆芥。"),
        (("卷一", "《局方》", "神散"), "治血。"),
    ]


def test_a_bold_word_inside_a_line_is_no_heading() -> None:
    document = Document("此方出自\\x某书\\x 卷末。", "方书.txt")
    assert list(entries(document)) == [document]


def test_without_marks_the_document_itself_comes_back() -> None:
    document = Document("咳嗽者，肺气逆也。", "方书.txt", id="a")
    (same,) = entries(document)
    assert same is document


def test_offsets_point_at_the_marks_and_ids_differ() -> None:
    text = "小引。\n\\x甲丸\\x 甲药一两。\n\\x乙丸\\x 乙药二两。\n"
    document = Document(text, "方书.txt", offset=1000, id="book")
    pieces = list(entries(document))
    assert [text[piece.offset - 1000 :][:2] for piece in pieces] == ["小引", "\\x", "\\x"]
    assert [piece.id for piece in pieces] == ["book.1", "book.2", "book.3"]


MARKED = st.lists(
    st.sampled_from(
        [
            "\\x甲丸\\x 甲药一两。",
            "\\x又方\\x 丙药。",
            "\\x署名\\x",
            "正文。",
            "\n",
            "\\x",
            "\n（东垣）\\x丁汤\\x 丁药。",
        ]
    )
).map("".join)


def letters(text: str) -> Counter[str]:
    return Counter("".join(text.replace("\\x", "").split()))


@settings(deadline=None)
@given(MARKED)
def test_every_character_stands_in_a_text_or_a_name(text: str) -> None:
    pieces = list(entries(Document(text, "方书.txt")))
    whole, texts = letters(text), letters("".join(piece.text for piece in pieces))
    names = letters("".join("".join(piece.section) for piece in pieces))  # an entry's own, and what it is filed under
    assert not whole - (texts + names) and not texts - whole
    assert [piece.offset for piece in pieces] == sorted(piece.offset for piece in pieces)
