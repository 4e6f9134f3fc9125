"""HTML pages: what a reader sees, under the headings he sees it under."""

from __future__ import annotations

import pytest

from datatools.io.read import read
from datatools.io.source import Fault, ReadOptions, Source
from schemas.document import Document

PAGE = """<!DOCTYPE html><html lang="zh-CN"><head><meta charset="{charset}"><title>高血压 - 某网站</title>
<link rel="license" href="https://example.org/licence"><style>p {{color: red}}</style></head><body>
<nav><a href="/">首页</a></nav><header>站名</header>
<h1>高血压</h1><p>血压长期<b>高于</b>
140/90 mmHg。</p>
<h2>治疗</h2><ul><li>低盐饮食</li><li>规律运动<ul><li>每周五次</li></ul></li></ul>
<table><tr><th>药名</th><th>剂量</th></tr><tr><td>氨氯地平</td><td>5&nbsp;mg<br>每日一次</td></tr></table>
<p hidden>看不见</p><p style="display: none">看不见</p><div aria-hidden="true">看不见</div>
<p>白细胞 10<sup>9</sup>/L，CO<sub>2</sub></p><script>alert("x")</script><form>搜索<input></form>
<footer>版权</footer></body></html>"""


def documents(data: bytes | str) -> list[Document]:
    raw = data.encode() if isinstance(data, str) else data
    found = list(read(Source("a.html", "a.html", "html", data=raw), ReadOptions()))
    assert all(isinstance(item, Document) for item in found)
    return found  # type: ignore[return-value]


def test_a_page_gives_its_sections() -> None:
    first, second = documents(PAGE.format(charset="utf-8"))
    assert (first.title, first.section, first.text) == ("高血压", (), "血压长期高于 140/90 mmHg。")
    assert second.section == ("治疗",)
    assert second.text == (
        "- 低盐饮食\n- 规律运动\n- 每周五次\n\n药名 | 剂量\n氨氯地平 | 5 mg 每日一次\n\n白细胞 10⁹/L，CO₂"
    )
    assert {(d.language, d.license, d.source_type) for d in (first, second)} == {
        ("zh", "https://example.org/licence", "web")
    }
    assert first.offset < second.offset


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [("gb2312", "gb18030"), ("utf-8", "gb18030"), ("iso-8859-1", "gb18030"), ("gb2312", "utf-8"), ("big5", "utf-8")],
)
def test_the_bytes_win_over_what_the_page_says_of_them(charset: str, encoding: str) -> None:
    assert documents(PAGE.format(charset=charset).encode(encoding))[0].title == "高血压"


def test_layout_tables_are_no_tables() -> None:
    (document,) = documents(
        "<table><tr><td><h2>病因</h2><p>风寒。</p><table><tr><td>甲</td><td>乙</td></tr></table></td></tr></table>"
    )
    assert (document.section, document.text) == (("病因",), "风寒。\n\n甲 | 乙")


def test_lines_breaks_and_preformatted_text() -> None:
    (document,) = documents("<p>第一行<br>第二行</p><pre>a\n  b</pre><p>高血\n压 is\nhigh</p>")
    assert document.text == "第一行\n第二行\n\na\n  b\n\n高血压 is high"


def test_tag_soup() -> None:
    found = documents("<p>一<p>二<li>三<div>四<h3>五</b>六</h3>七<td>八")
    assert [(document.section, document.text) for document in found] == [
        ((), "一\n\n二\n\n- 三\n\n四"),
        (("五六",), "七 八"),
    ]


def test_what_is_nested_too_deep_is_not_dropped_in_silence() -> None:
    assert documents("<div>" * 200 + "深" + "</div>" * 200)[0].text == "深"
    page = ("<p>浅</p>" + "<div>" * 5000 + "深").encode()
    found = list(read(Source("a.html", "a.html", "html", data=page), ReadOptions()))
    assert [type(item) for item in found] == [Document, Fault]
