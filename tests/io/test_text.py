"""Plain text: marked books and numbered headings become sections, and not a character is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.io.encoding import decode
from datatools.io.files import discover
from datatools.io.read import read
from datatools.io.source import ReadOptions, Source
from schemas.document import Document

BOOK = """<篇名>草药小识
书名：草药小识
作者：无名氏  
朝代：清  
年份：公元1800年  


<目录>

<篇名>序

内容：此书为测试而作， 
并无来历。


<目录>卷之一\\草部

<篇名>１.薄荷

属性：味辛，凉。疏散风热。 
一名夜息香。


<目录>卷之一\\草部

<篇名>空篇

<目录>卷之二

<篇名>卷之二

属性：
杂说若干。
"""


def documents(text: str, name: str = "007-草药小识.txt") -> list[Document]:
    found = list(read(Source(name, name, "txt", data=text.encode("gb18030")), ReadOptions()))
    if [getattr(item, "rule", "") for item in found] == ["empty_file"]:
        return []
    assert all(isinstance(item, Document) for item in found)
    return found  # type: ignore[return-value]


def sections(text: str) -> list[tuple[tuple[str, ...], str]]:
    return [(document.section, document.text) for document in documents(text)]


def test_a_marked_book_gives_its_sections_and_what_it_says_of_itself() -> None:
    found = documents(BOOK)
    assert [(document.section, document.text) for document in found] == [
        (("序",), "此书为测试而作， \n并无来历。"),
        (("卷之一", "草部", "１.薄荷"), "味辛，凉。疏散风热。 \n一名夜息香。"),
        (("卷之二",), "杂说若干。"),
    ]
    assert {document.title for document in found} == {"草药小识"}
    assert {document.source_type for document in found} == {"book"}
    assert found[0].meta == {"encoding": "gb18030", "author": "无名氏", "dynasty": "清", "year": "公元1800年"}


def test_a_text_is_a_slice_of_the_file() -> None:
    for document in documents(BOOK):
        assert BOOK[document.offset :].startswith(document.text)


def test_text_before_the_first_mark_is_kept() -> None:
    assert sections("录者按：底本残缺。\n<篇名>甲\n属性：正文。")[0] == ((), "录者按：底本残缺。")


def test_without_a_head_the_file_names_the_book() -> None:
    (document,) = documents("\n<目录>上篇\n\n<篇名>接骨\n\n属性：正文。")
    assert (document.title, document.section) == ("草药小识", ("上篇", "接骨"))


CHAPTERS = """前面的话。

第一章 总论

第一节 概述

高血压是常见的慢性病，应当长期随访。

第二节　分类

一、原发性

原因不明，占绝大多数，多在中年以后起病。

二、继发性

（一）肾性

肾脏疾病引起的血压升高，治疗原发病为主。

第二章 治疗

1.饮食

每日食盐应当少于五克，多吃蔬菜和水果。

2.药物

由医生决定用药，不要自行停药或者换药。
"""


def test_numbered_headings_nest() -> None:
    assert [section for section, _ in sections(CHAPTERS)] == [
        (),
        ("第一章 总论", "第一节 概述"),
        ("第一章 总论", "第二节 分类", "一、原发性"),
        ("第一章 总论", "第二节 分类", "二、继发性", "（一）肾性"),
        ("第二章 治疗", "1.饮食"),
        ("第二章 治疗", "2.药物"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "常用药物有：\n1.阿司匹林\n2.氯吡格雷\n3.他汀类药物\n以上药物均需遵医嘱使用，不可自行停药。\n",
        "1、注意休息，避免劳累，保证睡眠。\n2、清淡饮食。\n",
        "体温\n3.5 mmol/L 以上者应当复查，必要时住院观察。\n",
        "第一，多喝水。\n第二，多休息，注意保暖，按时服药。\n",
        "五、王某 男 40岁\n咳嗽三日，舌红苔黄，脉浮数，予银翘散加减。\n",
        "第三卷１２７页脚残留\n这里是正文，讲的是别的事情，与卷数无关。\n",
    ],
)
def test_lists_and_sentences_are_no_headings(text: str) -> None:
    assert sections(text) == [((), text.strip())]


def test_a_table_of_contents_stays_text() -> None:
    contents = "第一章 病因\n第二章 治疗\n\n"
    body = "第一章 病因\n\n风寒之邪侵袭人体。\n\n第二章 治疗\n\n辛温解表为主。\n"
    assert sections(contents + body) == [
        ((), contents.strip()),
        (("第一章 病因",), "风寒之邪侵袭人体。"),
        (("第二章 治疗",), "辛温解表为主。"),
    ]


def test_english_chapters() -> None:
    text = "Chapter 1 Fever\n\nDrink water and rest.\n\n1.1 Causes\n\nMostly viral infections.\n"
    assert sections(text) == [
        (("Chapter 1 Fever",), "Drink water and rest."),
        (("Chapter 1 Fever", "1.1 Causes"), "Mostly viral infections."),
    ]


def test_text_without_structure_is_one_document() -> None:
    (document,) = documents("感冒多由病毒引起。\n\n多喝水，多休息。\n", "notes/12-感冒.txt")
    assert (document.text, document.title, document.section) == ("感冒多由病毒引起。\n\n多喝水，多休息。", "感冒", ())
    assert document.source_type == "other"
    assert documents("  \n\n") == []


LINES = st.sampled_from(
    (
        *(
            "第一章 总论",
            "第二节 概述",
            "一、病因",
            "二、治法",
            "（一）内治",
            "1.饮食",
            "2.药物",
            "（1）日常",
            "卷之一",
        ),
        *("卷上", "Chapter 2 Care", "高血压应当长期随访，不要自行停药。", "<篇名>薄荷", "<目录>卷一\\草部", "短句"),
        *("书名：某书", "内容：甲乙", "", "　　缩进的一段文字，带全角空格。 "),
    )
)


@given(st.lists(LINES, max_size=30))
def test_no_character_is_lost(lines: list[str]) -> None:
    text = "\n".join(lines)
    if not text.strip():
        return
    marked = "<篇名>" in text or "<目录>" in text
    end = 0
    for document in documents(text):
        assert text[document.offset : document.offset + len(document.text)] == document.text
        between = text[end : document.offset]
        if not marked:
            gap, path = "".join(between.split()), "".join("".join(document.section).split())
            assert path.endswith(gap)
        else:
            for line in between.split("\n"):
                assert not line.strip() or line.startswith(("<", "书名：", "内容：")) or line in ("", "内容：甲乙"), (
                    between
                )
        end = document.offset + len(document.text)
    assert marked or not text[end:].strip()


@pytest.mark.slow
def test_every_mark_of_the_real_books_is_accounted_for(real_data: Path) -> None:
    sources, faults = discover([str(real_data / "tcm-books-gb18030")])
    assert (len(sources), faults) == (149, [])
    marks = heads = empty = documents_below_marks = 0
    for source in sources:
        text = decode(source.read()).text
        found = [item for item in read(source, ReadOptions()) if isinstance(item, Document)]
        assert found and len({document.id for document in found}) == len(found), source.name
        starts = [document.offset for document in found]
        for part in text.split("<篇名>")[1:]:
            marks += 1
            body = part.partition("\n")[2].partition("<目录>")[0].strip()
            heads += body.startswith("书名：")
            empty += body in ("", "属性：", "内容：")
        documents_below_marks += len(found) if "<篇名>" in text else 0
        for document, following in zip(found, [*starts[1:], len(text)], strict=True):
            between = text[document.offset + len(document.text) : following]
            assert "<篇名>" not in document.text and "<目录>" not in document.text
            assert between.count("\n") or not between.strip()
    assert marks == 34_621
    assert documents_below_marks == marks - heads - empty
