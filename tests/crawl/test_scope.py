"""URLs: one spelling each, the scope, the traps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.crawl.scope import Scope, is_media, key, normalise, pattern, trap

SESSION = "0123456789abcdef0123456789abcdef"


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing(text: str) -> None:
    for url in (text, f"http://a.cn/{text}", f"http://a.cn/x?{text}"):
        once = normalise(url)
        assert once is None or normalise(once) == once


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://A.cn", "http://a.cn/"),
        ("https://a.cn:443/x", "https://a.cn/x"),
        ("http://user:secret@a.cn/x", "http://a.cn/x"),
        ("http://a.cn/./b/../c/", "http://a.cn/c/"),
        ("http://a.cn/%7euser/%e4%bd%a0", "http://a.cn/~user/%E4%BD%A0"),
        ("http://a.cn/x?b=1&&utm_campaign=z&a=2#frag", "http://a.cn/x?b=1&a=2"),
        (f"http://a.cn/x;jsessionid={SESSION}?id=1", "http://a.cn/x?id=1"),
        (f"http://a.cn/x?sid={SESSION}&sid=12", "http://a.cn/x?sid=12"),
        ("http://a.cn/(S(lit3py55t21z5v55vlm25s55))/list.aspx", "http://a.cn/list.aspx"),
        ("http://中文.cn/", "http://xn--fiq228c.cn/"),
        ("http://[2001:db8::1]:8080/", "http://[2001:db8::1]:8080/"),
    ],
)
def test_urls_have_one_spelling(url: str, wanted: str) -> None:
    assert normalise(url) == wanted


@pytest.mark.parametrize(
    "url", ["", "ftp://a.cn/", "file:///etc/passwd", "javascript:x", "http://", "http://a:b/", "//a.cn"]
)
def test_other_schemes_and_broken_urls_are_none(url: str) -> None:
    assert normalise(url) is None


def test_the_order_of_parameters_makes_no_other_page() -> None:
    assert key("http://a.cn/?b=1&a=2") == key("http://a.cn/?a=2&b=1") != key("http://a.cn/?a=1&b=2")


def test_the_scope_is_the_seeds_hosts_or_the_named_domains() -> None:
    seeds = Scope.of(["http://a.cn/x"], (), ())
    assert seeds.holds("https://www.a.cn/y") and seeds.holds("http://a.cn:81/") and not seeds.holds("http://b.a.cn/")
    named = Scope.of(["http://a.cn/"], ("https://*.b.org/", "c.net"), ("/health",))
    assert named.holds("http://x.b.org/health/1") and named.holds("http://c.net/health")
    assert (
        not named.holds("http://a.cn/health") and not named.holds("http://c.net/") and not named.holds("http://xc.net/")
    )


def test_dates_and_counters_share_a_pattern_and_articles_do_not() -> None:
    same = ["http://a.cn/2031/05/01/", "http://a.cn/1999/1/2/"]
    assert len({pattern(url) for url in same}) == 1
    days = ["http://a.cn/c?day=20310501", "http://a.cn/c?day=1700000000", "http://a.cn/c?day=7"]
    assert len({pattern(url) for url in days}) == 1
    assert len({pattern(f"http://a.cn/q/{number}.html") for number in range(70_000_01, 70_000_09)}) == 8
    titles = ["http://a.cn/wiki?title=%E6%84%9F%E5%86%92", "http://a.cn/wiki?title=%E6%B5%81%E6%84%9F"]
    assert len({pattern(url) for url in titles}) == 2


def test_traps_and_media_are_told_by_the_url() -> None:
    assert trap("http://a.cn/" + "x" * 3000) == "long_url" and trap("http://a.cn" + "/x/y/z" * 4) == "repeating_path"
    assert trap("http://a.cn" + "".join(f"/{number}" for number in range(30))) == "deep_path"
    assert is_media("http://a.cn/x.JPG") and is_media("http://a.cn/x.tar.gz") and not is_media("http://a.cn/x.html")
    assert not is_media("http://a.cn/report.pdf") and not is_media("http://a.cn/v1.2/page")
