"""What a page says to a crawler: links in any encoding, and where it may not go on."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.crawl.limits import Refused
from datatools.crawl.visit import visit

URL = "http://a.cn/dir/page"


def seen(body: str, encoding: str = "utf-8", **headers: str):  # type: ignore[no-untyped-def]
    """The visit of a page."""
    said = {"Content-Type": "text/html", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return visit(URL, list(said.items()), body.encode(encoding))


def test_queries_are_written_in_the_page_s_encoding() -> None:
    page = '<meta charset="gb2312"><p>感冒发热头痛流涕，患者应多休息</p><a href="/搜?q=感冒&amp;p=1">x</a>'
    assert seen(page, "gbk").links == ["http://a.cn/%E6%90%9C?q=%B8%D0%C3%B0&p=1"]
    assert seen(page.replace("gb2312", "utf-8")).links == ["http://a.cn/%E6%90%9C?q=%E6%84%9F%E5%86%92&p=1"]


def test_links_of_every_kind_are_found_once() -> None:
    page = (
        '<base href="/b/"><a href=" one\n">1</a><a href="one#x">1</a><area href="/two"><iframe src="three"></iframe>'
        '<link rel="next" href="?p=2"><link rel="stylesheet" href="style">'
        '<meta http-equiv="Refresh" content="5;URL=\'four\'">'
        '<a href="x.png">p</a><a rel="nofollow ugc" href="five">5</a><a href="mailto:a@b.cn">m</a><a>none</a>'
    )
    wanted = ["b/one", "two", "b/three", "b/?p=2", "b/four"]
    assert seen(page).links == [f"http://a.cn/{path}" for path in wanted]


@pytest.mark.parametrize(
    ("head", "headers", "outcome", "follows"),
    [
        ('<meta name="robots" content="noindex">', {}, "noindex", True),
        ('<META NAME="Robots" CONTENT="NoFollow, NoIndex">', {}, "noindex", False),
        ('<meta name="datatools" content="nofollow">', {}, "page", False),
        ('<meta name="googlebot" content="noindex">', {}, "page", True),
        ('<meta name="robots" content="none">', {}, "noindex", False),
        ("", {"X_Robots_Tag": "none"}, "noindex", False),
        ("", {"X_Robots_Tag": "datatools: noindex"}, "noindex", True),
        ("", {"X_Robots_Tag": "otherbot: noindex, nofollow"}, "page", True),
        ("", {"X_Robots_Tag": "unavailable_after: 2030-01-01, noindex"}, "noindex", True),
        ("", {}, "page", True),
    ],
)
def test_robots_tags_are_obeyed(head: str, headers: dict[str, str], outcome: str, follows: bool) -> None:
    found = seen(f"<html><head>{head}</head><body><p>x</p><a href=/y>y</a></body></html>", **headers)
    assert found.outcome == outcome and bool(found.links) == follows


def test_plain_text_can_be_tagged_too() -> None:
    assert seen("x", Content_Type="text/plain", X_Robots_Tag="noindex").outcome == "noindex"


@given(st.binary(max_size=300), st.sampled_from(["text/html", "text/html; charset=gbk", "text/plain", "text/xml", ""]))
def test_any_bytes_are_a_page_or_refused(body: bytes, kind: str) -> None:
    for start in (b"", b"<html><a href=", b"<?xml version='1.0'?><urlset><loc>", b'<meta charset="'):
        for sitemap in (False, True):
            with suppress(Refused):
                visit(URL, [("Content-Type", kind)], start + body, sitemap=sitemap)


def test_sitemaps_are_told_by_what_they_hold() -> None:
    xml = (
        "<urlset xmlns='x'><url><loc> http://a.cn/1?a=1&amp;b=2 </loc></url><url><loc>ftp://a.cn/</loc></url></urlset>"
    )
    assert seen(xml, Content_Type="application/xml").links == ["http://a.cn/1?a=1&b=2"]
    index = "<sitemapindex><sitemap><loc>http://a.cn/s.xml</loc></sitemap></sitemapindex>"
    assert seen(index, Content_Type="text/xml").sitemaps == ["http://a.cn/s.xml"]
    entity = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><urlset><loc>http://a.cn/&e;</loc></urlset>'
    assert all("root" not in link for link in seen(entity, Content_Type="text/xml").links)


def test_strange_bodies_are_pages_or_refused() -> None:
    assert seen("\0\1\2\3<a href=/x>").outcome == "page"
    assert seen("<" * 5000).outcome == "page"
    assert seen("<?xml version='1.0'?>\n<html><p>x</p></html>", Content_Type="application/xml").outcome == "page"
    with pytest.raises(Refused, match="application/xml"):
        seen("<?xml version='1.0'?><rows/>", Content_Type="application/xml")
    with pytest.raises(Refused, match="empty"):
        seen(" \n")
    with pytest.raises(Refused, match="image/png"):
        seen("x", Content_Type="image/png")
