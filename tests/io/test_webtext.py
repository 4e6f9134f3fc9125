"""Main text of web pages: the article with its headings and tables, without what stands around it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html as lxml_html

from datatools.io.htmltext import list_items_joined, parts
from datatools.io.outline import Heading
from datatools.io.webtext import main_parts, main_text

pytest.importorskip("trafilatura")

PROSE = (
    "高血压是以体循环动脉压增高为主要特征的临床综合征，可伴有心、脑、肾等器官的功能或器质性损害，需要长期随访和治疗。"
)
TABLE = "<table><tr><th>药名</th><th>剂量</th></tr><tr><td>氨氯地平</td><td>5 mg<br>每日一次</td></tr></table>"
LINKS = "".join(f'<li><a href="/{k}">相关词条{k}</a></li>' for k in range(20))
PAGE = f"""<html><head><title>高血压</title></head><body><div class="top"><ul><li><a href="/">首页</a></li></ul></div>
<div><ul>{LINKS}</ul></div><div class="content"><h1>高血压</h1><p>{PROSE * 3}</p><h2>治疗</h2><p>{PROSE * 2}</p>
<ul><li>低盐饮食</li><li>规律运动</li></ul><h3>药物</h3>{TABLE}<p>白细胞 10<sup>9</sup>/L，CO<sub>2</sub>。{PROSE}</p>
<p hidden>看不见</p></div><div class="bottom"><p>Copyright 某网站 京ICP备00000000号</p>
<a href="/z">联系我们</a></div></body></html>"""


def test_the_article_without_what_stands_around_it() -> None:
    text = main_text(PAGE)
    assert text.startswith(f"高血压\n\n{PROSE}")
    assert text.count(PROSE) == 6
    for surrounding in ("首页", "相关词条", "Copyright", "联系我们", "看不见"):
        assert surrounding not in text


def test_headings_lists_tables_and_raised_digits_survive() -> None:
    text = main_text(PAGE)
    headings = [
        (part.level, part.title)
        for part in main_parts(lxml_html.document_fromstring(PAGE))
        if isinstance(part, Heading)
    ]
    assert headings == [(1, "高血压"), (2, "治疗"), (3, "药物")]
    assert "- 低盐饮食\n- 规律运动" in text
    assert "药名 | 剂量\n氨氯地平 | 5 mg 每日一次" in text
    assert "10⁹/L，CO₂。" in text


def test_the_same_page_six_times_gives_six_equal_texts() -> None:
    texts = [main_text(PAGE) for _ in range(6)]
    assert len(set(texts)) == 1
    assert len(texts[0]) > 300


def test_a_short_page_is_read_whole() -> None:
    assert main_text(f"<h1>剂量</h1>{TABLE}") == "剂量\n\n药名 | 剂量\n氨氯地平 | 5 mg 每日一次"


def test_a_table_outside_the_article_keeps_the_whole_page() -> None:
    page = PAGE.replace('<div class="bottom">', f'<div class="bottom">{TABLE.replace("氨氯地平", "卡托普利")}')
    assert "卡托普利 | 5 mg 每日一次" in main_text(page)


def test_the_page_itself_is_not_changed() -> None:
    page = lxml_html.document_fromstring(PAGE)
    before = lxml_html.tostring(page)
    main_parts(page)
    assert lxml_html.tostring(page) == before


def test_where_trafilatura_fails_the_page_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    import trafilatura

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(trafilatura, "bare_extraction", fails)
    page = lxml_html.document_fromstring(PAGE)
    assert main_parts(page) == list(list_items_joined(parts(page)))


@given(st.text(st.sampled_from("<>/pdivulltabrh2 =\"'&;高血压\n"), max_size=300))
def test_never_raises(text: str) -> None:
    main_text(text)
