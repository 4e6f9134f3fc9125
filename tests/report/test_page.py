"""The page: everything said, nothing run, nothing fetched."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.report import page as page_module
from datatools.report.collect import collect, files_of
from datatools.report.facts import Cluster, Counts, Facts, Rewrite, Twin
from datatools.report.page import differences, page
from pipelines.report import report
from schemas.document import DOCUMENT
from tests.report.test_facts import curated, documents, unified, write

__all__ = ["unified"]

HOSTILE = (
    "<script>document.title='HACKED'</script>",
    "</style></head><body><script>document.title='HACKED'</script>",
    "</textarea></title><svg onload=\"document.title='HACKED'\">",
    "\"onerror=document.title='HACKED' x=\"",
    "'><img src=x onerror=document.title='HACKED'>",
    "<iframe srcdoc=\"<script>parent.document.title='HACKED'</script>\"></iframe>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<link rel=stylesheet href=https://evil.example/x.css><style>*{display:none}</style>",
    "<base href=https://evil.example/><form action=https://evil.example/><input name=q>",
    "{{ 7 * 191 }}{% for x in range(9) %}{{ x }}{% endfor %}{# #}",
    "<!-- --!> <![CDATA[ <?php ?> &lt;script&gt; &#60;script&#62; &",
    "a\x00b\x08c\x1b[31m\u202egnp.exe\u2066\ufeff\ufffe",
    "</td></tr></table></div></details></section></main>",
    "javascript:document.title='HACKED'",
)
ELEMENTS = set(
    "html head meta title style body header div h1 h2 h3 h4 h5 p b i span nav a main section table thead tbody tr "
    "th td details summary ol li code bdi small del ins svg rect figure footer br".split()
)


class _Tags(HTMLParser):
    """Every element and attribute, the text, and whether tags close as they open."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def parsed(html: str) -> _Tags:
    tags = _Tags()
    tags.feed(html)
    tags.close()
    return tags


def assert_harmless(html: str) -> None:
    """Only our own elements, none that runs or fetches, all of them closed."""
    found = parsed(html)
    assert {tag for tag, _ in found.tags} <= ELEMENTS
    assert not found.open
    for _, attributes in found.tags:
        assert not [
            name for name in attributes if name.startswith("on") or name in ("src", "srcset", "action", "xmlns")
        ]
        assert attributes.get("href") is None or (attributes["href"] or "").startswith("#")
    assert "default-src 'none'" in str(found.tags[:4])
    assert not re.search(r"url\(|@import|https?://", re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1])  # type: ignore[index]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text(tmp_path: Path, text: str) -> None:
    html = page(collect(curated(tmp_path, text, pii={text: 3}, encodings={text: 1})))
    assert_harmless(html)
    # The same elements as with harmless text: nothing of the corpus became markup.
    plain = "木" * len(text)
    harmless = page(collect(curated(tmp_path, plain, pii={plain: 3}, encodings={plain: 1})))
    assert [tag for tag, _ in parsed(html).tags] == [tag for tag, _ in parsed(harmless).tags]
    seen = "".join(parsed(html).text)
    assert (text in seen) or not text.isprintable()
    assert "1337" not in seen


@given(st.text(st.characters(codec=None), max_size=40))
def test_any_text_gives_a_page_that_can_be_written(text: str) -> None:
    facts = Facts(
        text,
        command=text,
        notes=(text,),
        settings={text: text},
        inputs=(text,),
        rewrites=(Rewrite(text, text, text, text + "x"),),
        clusters=(Cluster(text, text, 1, (Twin(text, text * 2, 0.5),), text),),
        cluster_count=1,
        counts={"source": Counts(((text, 1), ("b", 1)), 0, 2)},
    )
    html = page(facts)
    html.encode("utf-8")
    assert_harmless(html)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)


def test_every_number_of_the_data_is_on_the_page(tmp_path: Path) -> None:
    out = curated(tmp_path)
    facts = collect(out)
    html = page(facts)
    tags = parsed(html).tags
    numbers = {attributes["data-fact"]: attributes["data-value"] for _, attributes in tags if "data-fact" in attributes}
    assert numbers == {"rows": "10", "read": "36", "left_out": "26", "clusters": "3", "seconds": "2.5"}
    rules = {attributes["data-rule"]: attributes["data-value"] for _, attributes in tags if "data-rule" in attributes}
    assert rules == {"too_short": "21", "near_duplicate": "5"}
    steps = [a["data-step"] for _, a in tags if "data-step" in a]
    assert steps == ["read", "rules", "near"]
    assert [a["data-in"] for _, a in tags if "data-in" in a] == ["36", "36", "15"]
    assert [a["data-out"] for _, a in tags if "data-out" in a] == ["36", "15", "10"]
    assert [a["data-dropped"] for _, a in tags if "data-dropped" in a] == ["0", "21", "5"]
    text = " ".join(" ".join(parsed(html).text).split())
    for said in ("41.7 %", "2 2", "0.5 8", "PHONE 7 77.8 %", "gb18030 3", "Chinese (zh) 30", "21 80.8 %", "against 60"):
        assert said in text


def test_thousands_are_set_apart_and_the_exact_number_stays() -> None:
    html = page(Facts("x.parquet", rows=1234567))
    assert 'data-value="1234567">1,234,567<' in html


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", DOCUMENT, documents(3))
    html = page(collect(tmp_path / "x.parquet"))
    for absent in ("funnel", "reasons", "failed", "rewrites", "duplicates", "checks", "settings"):
        assert f'id="{absent}"' not in html
        assert f'href="#{absent}"' not in html
    assert 'id="contents"' in html
    assert "None" not in html
    assert "All of them." in html


def test_an_empty_output_says_so(tmp_path: Path) -> None:
    out = curated(tmp_path, funnel=[["read", 26, 26], ["rules", 26, 0]])
    write(out, DOCUMENT, [])
    html = page(collect(out))
    assert "Nothing was written" in html
    assert "too_short" in html
    assert_harmless(html)


def test_every_link_has_its_section(unified: Path, tmp_path: Path) -> None:
    for out in (unified, curated(tmp_path)):
        html = page(collect(out))
        assert_harmless(html)
        assert set(re.findall(r'href="#(\w+)"', html)) == set(re.findall(r'<section id="(\w+)"', html))


def test_personal_data_that_was_taken_out_does_not_come_back(tmp_path: Path) -> None:
    for after in ("联系人：[NAME]，电话 [PHONE]。", "[X]"):
        example = {"step": "pii", "rule": "phone", "before": "联系人：王小明，电话 13800138000。", "after": after}
        html = page(collect(curated(tmp_path, examples=[example])))
        assert "13800138000" not in html
        assert "王小明" not in html
        assert after in "".join(parsed(html).text)


def test_credentials_in_settings_are_hidden(tmp_path: Path) -> None:
    html = page(collect(curated(tmp_path, settings={"base_url": "https://me:secret@host/v1?api_key=abc123"})))
    assert "secret" not in html
    assert "abc123" not in html
    assert "host/v1" in html


@given(st.text("ab每日 \n5", max_size=80), st.text("ab每日 \n5", max_size=80))
def test_differences_keep_every_character(before: str, after: str) -> None:
    pair = differences(before, after)
    old, new = ("".join(piece.text for piece in side) for side in (pair.before, pair.after))
    if " … " not in old:
        assert (old, new) == (before, after)
    if not pair.verdict:
        assert any(piece.kind in ("del", "ins") for piece in (*pair.before, *pair.after))


def test_a_difference_deep_in_a_long_text_is_shown() -> None:
    pair = differences("甲" * 5000 + "每次 5 mg" + "乙" * 5000, "甲" * 5000 + "每次 50 mg" + "乙" * 5000)
    assert [piece.text for piece in pair.before if piece.kind == "del"] == ["5"]
    assert [piece.text for piece in pair.after if piece.kind == "ins"] == ["50"]
    assert sum(len(piece.text) for piece in pair.before) < 200


def test_of_texts_without_end_only_a_stretch_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    class Watched(SequenceMatcher):  # type: ignore[type-arg]
        def __init__(self, junk: None, one: list[str], other: list[str], *, autojunk: bool) -> None:
            compared.extend((len(one), len(other)))
            super().__init__(junk, one, other, autojunk=autojunk)

    monkeypatch.setattr(page_module, "SequenceMatcher", Watched)
    differences("的一" * 100_000, "一的的" * 100_000)
    differences("x" + "的" * 100_000, "y" + "的" * 90_000 + "z")
    assert len(compared) == 4
    assert max(compared) <= page_module.MIDDLE


def test_the_job_writes_the_page_and_sums_it_up(unified: Path, tmp_path: Path) -> None:
    summary = report(unified.with_suffix(".work"), tmp_path / "deep" / "report.html")
    assert (tmp_path / "deep" / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert summary.exit_code == 0
    assert summary.rows_read == collect(unified).rows
    assert summary.output == str(tmp_path / "deep" / "report.html")
    assert summary.trace == str(files_of(unified)[1])
    assert summary.to_text().startswith(f"report: {summary.rows_read} rows")
    first = (tmp_path / "deep" / "report.html").read_bytes()
    report(unified, tmp_path / "deep" / "report.html")
    assert (tmp_path / "deep" / "report.html").read_bytes() == first


@pytest.mark.parametrize("out", ["x.parquet", "x", "x.work"])
def test_only_a_page_is_written_over(tmp_path: Path, out: str) -> None:
    with pytest.raises(ValueError, match=r"must end in \.html"):
        report(curated(tmp_path), tmp_path / out)
