"""`datatools crawl` against real sites on loopback: their logs are the judge."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastwarc.warc import ArchiveIterator as FastIterator
from fastwarc.warc import WarcRecordType
from warcio.archiveiterator import ArchiveIterator

from datatools.crawl.store import read_journal
from tests.crawl.web_server import PARAGRAPH, Answer, WebSite, drip, endless, html
from tests.pipelines.command import Ended, command, here, rows

CONTACT = ("--contact", "crawl@example.org")
QUICK = (*CONTACT, "--delay", "0.01", "--quiet", "--json")
DOMAINS = [word for last in (2, 3, 9) for word in ("--allow-domain", f"127.0.0.{last}")]
DIFFICULT = (*QUICK, "--timeout", "1.5", "--max-per-pattern", "30", *DOMAINS)


@dataclass
class Crawl:
    """A crawl that ended, and the sites it was on."""

    ended: Ended
    out: Path
    sites: dict[str, WebSite]

    @property
    def documents(self) -> dict[str, list[dict[str, Any]]]:
        """Documents by the path of their page."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in rows(self.out / "documents.parquet"):
            found.setdefault("/" + row["source"].split("/", 3)[3], []).append(row)
        return found

    @property
    def outcomes(self) -> dict[str, str]:
        """What the journal says of every path."""
        lines = read_journal(self.out / "documents.work")
        return {"/" + line["url"].split("/", 3)[3]: line["outcome"] for line in lines if line["record"] == "page"}

    @property
    def traced(self) -> dict[str, str]:
        """Rule by path, of the trace."""
        found = rows(self.out / "documents.trace.parquet")
        return {"/" + row["source"].split("/", 3)[-1]: row["rule"] for row in found if row["source"].startswith("http")}


def allowed(*sites: WebSite) -> list[str]:
    """--allow-private for these sites alone."""
    return [word for site in sites for word in ("--allow-private", f"{site.address}/32")]


def once_busy(status: int, wait: str | None) -> Any:
    """A page that puts its first asker off."""
    asked: list[str] = []

    def answer(path: str, headers: dict[str, str]) -> Answer:
        asked.append(path)
        if len(asked) == 1:
            return Answer("later", status, {"Retry-After": wait} if wait else {})
        return Answer(html(f"Busy {path}"))

    return answer


def calendar(path: str) -> Any:
    """Months for ever, and articles with long numbers."""
    if path.startswith("/calendar/"):
        year, month = map(int, path.split("/")[2:4])
        after = year * 12 + month
        return html(f"{year}-{month}", f"/calendar/{after // 12}/{after % 12 + 1}", f"/calendar/{year + 1}/{month}")
    if path.startswith("/question/"):
        return html(f"问题{path}")
    if path.startswith("/mirror/"):
        return html(f"mirror {path}", "mirror/deeper")
    if path.startswith("/soft/"):  # any path gives the same page
        return html("soft", "a/", "b/", "c/", "d/")
    return None


def raw(text: str, encoding: str) -> str:
    """Text whose bytes in some encoding go into a header as they are."""
    return text.encode(encoding).decode("latin-1")


def everything(other: WebSite, private: WebSite) -> dict[str, Any]:
    """A site with every difficulty."""
    session = "9f86d081884c7d659a2feaa0c55ad015"
    start = html(
        "首页",
        "/ok", "/ok#part", "/ok?utm_source=feed", f"/ok;jsessionid={session}", f"/ok?PHPSESSID={session}",
        "/secret/page", "/noindex", "/nofollow", "/header-noindex", "/header-otherbot", "/rel",
        "/loop1", "/to-cn", "/chain0", "/to-private", "/to-file", "/moved", private.url("/direct"), other.url("/"),
        "/slow", "/endless", "/bomb", "/small-bomb", "/broken", "/brotli", "/short", "/empty", "/picture",
        "/report.jpg", "/busy429", "/busy503", "/busydate", "/dead", "/copy1", "/copy2", "/plain.txt",
        "/base/page", "/refresh",
        "/calendar/2031/1", "/mirror/start", "/soft/", *(f"/question/{81234500 + number}.html" for number in range(40)),
        *(f"/dead/{number}" for number in range(40)), "ftp://127.0.0.1/x", "mailto:a@b.cn", "javascript:void(0)",
        "http://[broken/", "http://elsewhere.example/",
    )  # fmt: skip
    return {
        "/robots.txt": Answer(
            "User-agent: *\nDisallow: /secret/\nUser-agent: datatools\nDisallow: /secret/\nAllow: /secret/open\n"
            "Sitemap: /map-index.xml\n",
            headers={"Content-Type": "text/plain"},
        ),
        "/": start,
        "/ok": html("好的", head='<link rel="license" href="/licence">'),
        "/secret/page": html("secret"),
        "/secret/open": html("公开"),
        "/noindex": html("Not for the index", "/after-noindex", head='<meta name="robots" content="noindex">'),
        "/after-noindex": html("Behind it"),
        "/nofollow": html("nofollow", "/after-nofollow", head='<META NAME="ROBOTS" CONTENT="NOFOLLOW">'),
        "/header-noindex": Answer(html("Not for the index", "/tagged"), headers={"X-Robots-Tag": "noindex, nofollow"}),
        "/header-otherbot": Answer(html("其他"), headers={"X-Robots-Tag": "otherbot: noindex"}),
        "/rel": '<html><body><a rel="nofollow" href="/after-rel">x</a></body></html>',
        "/loop1": Answer("", 302, {"Location": "/loop2"}),
        "/loop2": Answer("", 302, {"Location": "/loop1"}),
        **{f"/chain{hop}": Answer("", 301, {"Location": f"/chain{hop + 1}"}) for hop in range(20)},
        "/to-private": Answer("", 302, {"Location": private.url("/metadata")}),
        "/to-file": Answer("", 302, {"Location": "file:///etc/passwd"}),
        "/to-cn": Answer("", 302, {"Location": raw("/到了", "utf-8"), "X-Name": raw("中", "gbk")}),
        "/%E5%88%B0%E4%BA%86": html("Chinese path"),
        "/moved": Answer("", 301, {"Location": "/arrived"}),
        "/arrived": html("到了"),
        "/slow": Answer(write=drip),
        "/endless": Answer(write=endless),
        "/bomb": Answer(gzip.compress(bytes(64 << 20)), headers={"Content-Encoding": "gzip"}),
        "/small-bomb": Answer(gzip.compress(bytes(8 << 20)), headers={"Content-Encoding": "gzip"}),
        "/broken": f"<html><body><div><p>坏{PARAGRAPH}<table><tr><td>一<p>二<b><i>三</b></i><a href=/from-broken>x",
        "/from-broken": html("From broken"),
        "/brotli": Answer(b"\x0b\x02\x80", headers={"Content-Encoding": "br"}),
        "/short": Answer(write=lambda stream: stream.write(b"<p>short</p>"), headers={"Content-Length": "9000"}),
        "/empty": "",
        "/picture": Answer(b"\x89PNG", headers={"Content-Type": "image/png"}),
        "/busy429": once_busy(429, "1"),
        "/busy503": once_busy(503, None),
        "/busydate": once_busy(503, "Wed, 21 Oct 2015 07:28:00 GMT"),
        "/copy1": html("一样"),
        "/copy2": html("一样"),
        "/plain.txt": Answer(f"纯文本。{PARAGRAPH}".encode("gbk"), headers={"Content-Type": "text/plain"}),
        "/base/page": '<html><head><base href="/deep/er/"></head><body><a href="../found">x</a></body></html>',
        "/deep/found": html("Found by base"),
        "/refresh": '<html><head><meta http-equiv="refresh" content="0; url=/refreshed"></head></html>',
        "/refreshed": html("Refreshed"),
        "/map-index.xml": Answer(
            "<?xml version='1.0'?><sitemapindex xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>"
            "<sitemap><loc>/map.xml.gz</loc></sitemap></sitemapindex>",
            headers={"Content-Type": "application/xml"},
        ),
        "/only-in-map": html("Only in the sitemap"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def difficult(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crawl]:
    """One crawl of a site with every difficulty, of its polite neighbour, beside an address that is not allowed."""
    neighbour = {
        "/robots.txt": Answer("User-agent: *\nCrawl-delay: 0.3\n", headers={"Content-Type": "text/plain"}),
        "/": html("邻居", "/1", "/2", "/3"),
        **{f"/{number}": html(f"邻居{number}") for number in (1, 2, 3)},
    }
    with ExitStack() as stack:
        other = stack.enter_context(WebSite("127.0.0.3", neighbour))
        private = stack.enter_context(WebSite("127.0.0.9", {"/": html("no")}))
        main = stack.enter_context(WebSite("127.0.0.2", everything(other, private), calendar))
        index = main.pages["/map-index.xml"]
        index.body = index.body.replace("/map.xml.gz", main.url("/map.xml.gz"))
        places = "".join(f"<url><loc>{main.url(path)}</loc></url>" for path in ("/only-in-map", "/ok"))
        main.pages["/map.xml.gz"] = Answer(
            gzip.compress(f"<urlset>{places}</urlset>".encode()), headers={"Content-Type": "application/x-gzip"}
        )
        out = tmp_path_factory.mktemp("difficult") / "crawl"
        ended = here("crawl", main.url(), "--out", out, *DIFFICULT, *allowed(main, other))
        yield Crawl(ended, out, {"main": main, "other": other, "private": private})


def test_it_ends_with_counts_of_everything(difficult: Crawl) -> None:
    summary = difficult.ended.summary
    assert difficult.ended.code == 3, difficult.ended.stderr  # a page timed out, a connection was cut
    assert set(summary["failed"]) == {"timeout", "connection"}
    dropped = summary["dropped"]
    for rule in ("robots", "noindex", "too_large", "decompression_ratio", "address_refused", "duplicate", "not_text"):
        assert dropped[rule] >= 1, rule
    assert summary["rows_written"] == len(rows(difficult.out / "documents.parquet"))


def test_every_url_is_asked_for_once(difficult: Crawl) -> None:
    again = {"/slow", "/short", "/busy429", "/busy503", "/busydate"}
    for site in difficult.sites.values():
        counts = Counter(site.asked())
        assert [path for path, times in counts.items() if times > 1 and path not in again] == []


def test_robots_txt_is_asked_for_first_and_obeyed(difficult: Crawl) -> None:
    for name in ("main", "other"):
        assert difficult.sites[name].asked()[0] == "/robots.txt"
    assert difficult.sites["main"].asked("/secret") == []
    assert difficult.traced["/secret/page"] == "robots"


def test_one_request_at_a_time_and_never_too_soon(difficult: Crawl) -> None:
    assert min(difficult.sites["other"].gaps()) >= 0.3  # its Crawl-delay
    # The endless and the dripping page end when the crawler hangs up, which their log does not show.
    assert min(difficult.sites["main"].gaps()) >= 0.01


def test_the_user_agent_is_honest_and_has_a_contact(difficult: Crawl) -> None:
    for asked in difficult.sites["main"].log:
        assert asked.headers["User-Agent"].startswith("datatools/")
        assert "crawl@example.org" in asked.headers["User-Agent"] and asked.headers["From"] == "crawl@example.org"
        assert "Cookie" not in asked.headers


def test_noindex_and_nofollow_are_obeyed(difficult: Crawl) -> None:
    main, documents = difficult.sites["main"], difficult.documents
    assert not {"/noindex", "/header-noindex"} & set(documents)
    assert {"/nofollow", "/header-otherbot", "/after-noindex"} <= set(documents)
    assert not {"/after-nofollow", "/tagged", "/after-rel"} & set(main.asked())
    for file in difficult.out.glob("*.warc.gz"):
        with gzip.open(file) as stream:
            assert b"Not for the index" not in stream.read()  # the page's text is not archived either


def test_429_and_503_are_left_alone_as_long_as_they_say(difficult: Crawl) -> None:
    main = difficult.sites["main"]
    for path, wait in (("/busy429", 1.0), ("/busy503", 0.1), ("/busydate", 0.01)):
        first, second = (number for number, asked in enumerate(main.log) if asked.path == path)
        assert second == first + 1, "the whole host is left alone"
        assert main.log[second].began - main.log[first].ended >= wait
        assert path in difficult.documents


def test_an_address_that_is_not_public_is_never_connected_to(difficult: Crawl) -> None:
    assert difficult.sites["private"].log == []
    assert difficult.outcomes["/metadata"] == difficult.outcomes["/direct"] == "address_refused"


def test_redirects_end(difficult: Crawl) -> None:
    outcomes = difficult.outcomes
    assert outcomes["/loop1"] == outcomes["/loop2"] == "redirect"
    assert outcomes["/chain10"] == "redirect_limit" and "/chain11" not in outcomes
    assert outcomes["/to-file"] == "bad_redirect"
    assert {"/arrived", "/%E5%88%B0%E4%BA%86"} <= set(difficult.documents)


def test_slow_endless_and_squeezed_pages_are_cut(difficult: Crawl) -> None:
    outcomes = difficult.outcomes
    assert outcomes["/slow"] == "timeout"
    assert outcomes["/endless"] == "too_large"
    assert outcomes["/bomb"] == outcomes["/small-bomb"] == "decompression_ratio"
    assert outcomes["/short"] == "connection"
    assert outcomes["/brotli"] == "bad_encoding"
    assert outcomes["/empty"] == "empty"
    assert outcomes["/picture"] == "not_text" and "/report.jpg" not in difficult.sites["main"].asked()


def test_broken_html_gives_its_text_and_links(difficult: Crawl) -> None:
    assert "坏糖尿病" in difficult.documents["/broken"][0]["text"]
    assert {"/from-broken", "/deep/found", "/refreshed"} <= set(difficult.documents)


def test_traps_are_cut_and_articles_are_not(difficult: Crawl) -> None:
    main = difficult.sites["main"]
    assert len(main.asked("/calendar/")) == 30
    assert len(main.asked("/dead/")) == 30
    assert len(main.asked("/question/")) == 40
    assert len(main.asked("/mirror/")) < 10
    assert len(main.asked("/soft/")) == 1 + 4 + 16
    cut = [row for row in rows(difficult.out / "documents.trace.parquet") if row["rule"] == "max_per_pattern"]
    assert any(row["source"].endswith("/calendar/#/#") for row in cut)


def test_one_page_has_one_url(difficult: Crawl) -> None:
    assert difficult.sites["main"].asked("/ok") == ["/ok"]


def test_what_two_pages_say_is_one_document_and_a_revisit(difficult: Crawl) -> None:
    assert ("/copy1" in difficult.documents) != ("/copy2" in difficult.documents)
    assert Counter(difficult.outcomes[path] for path in ("/copy1", "/copy2")) == {"stored": 1, "duplicate": 1}


def test_sitemaps_lead_to_pages(difficult: Crawl) -> None:
    assert {"/map-index.xml", "/map.xml.gz"} <= set(difficult.sites["main"].asked())
    assert "/only-in-map" in difficult.documents


def test_documents_say_where_they_come_from(difficult: Crawl) -> None:
    (row,) = difficult.documents["/ok"]
    main = difficult.sites["main"]
    assert row["source"] == main.url("/ok") and row["title"] == "好的" and row["section"] == ["要点"]
    assert row["license"] == main.url("/licence") and row["language"] == "zh" and row["source_type"] == "web"
    assert json.loads(row["meta"])["fetched"].endswith("Z")
    assert PARAGRAPH in row["text"]
    assert difficult.documents["/plain.txt"][0]["text"].startswith("纯文本。糖尿病")


def test_two_readers_agree_about_the_warc_files(difficult: Crawl) -> None:
    for path in difficult.out.glob("*.warc.gz"):
        theirs, ours = [], []
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream, check_digests="raise"):
                names = [record.rec_headers.get_header(f"WARC-{name}") for name in ("Target-URI", "Record-ID")]
                ours.append((record.rec_type, *names, len(record.raw_stream.read())))
        with path.open("rb") as stream:
            for record in FastIterator(stream, WarcRecordType.any_type, parse_http=True, verify_digests=True):
                size = len(record.reader.read())
                names = [record.headers.get(f"WARC-{name}") for name in ("Type", "Target-URI", "Record-ID")]
                theirs.append((*names, size))
        assert ours == theirs
        kinds = Counter(kind for kind, *_ in ours)
        assert kinds["warcinfo"] == 1 and kinds["revisit"] >= 1
        assert kinds["request"] == kinds["response"] + kinds["revisit"]


def test_a_finished_crawl_run_again_asks_for_nothing(difficult: Crawl) -> None:
    before = {name: len(site.log) for name, site in difficult.sites.items()}
    documents = rows(difficult.out / "documents.parquet")
    main, other = difficult.sites["main"], difficult.sites["other"]
    again = here("crawl", main.url(), "--out", difficult.out, *DIFFICULT, *allowed(main, other))
    assert {name: len(site.log) for name, site in difficult.sites.items()} == before
    assert again.summary["crawl"]["requests"] == 0
    assert rows(difficult.out / "documents.parquet") == documents
    assert again.summary["dropped"] == difficult.ended.summary["dropped"]


def test_the_folder_is_read_once_by_curate_and_unify(difficult: Crawl, tmp_path: Path) -> None:
    curated = here("curate", difficult.out, "--out", tmp_path / "c.parquet", "--rules", "none", "--json")
    assert curated.code == 0, curated.stderr
    assert curated.summary["rows_read"] == difficult.ended.summary["rows_written"]
    alone = here(
        "curate", *difficult.out.glob("*.warc.gz"), "--out", tmp_path / "w.parquet", "--rules", "none", "--json"
    )
    assert alone.code == 0 and alone.summary["rows_read"] == curated.summary["rows_read"]
    pairs = here("unify", difficult.out, "--out", tmp_path / "sft.parquet", "--json")
    assert pairs.code == 0 and pairs.summary["rows_written"] > 5
    assert all(row["source"].startswith("http://127.0.0.") for row in rows(tmp_path / "sft.parquet"))


def test_warc_files_alone_give_the_same_documents(difficult: Crawl, tmp_path: Path) -> None:
    files = sorted(difficult.out.glob("*.warc.gz"))
    ended = here("crawl", "--from-warc", *files, "--out", tmp_path / "again", "--json", "--quiet", "--workers", "2")
    assert ended.code == 0, ended.stderr
    assert rows(tmp_path / "again" / "documents.parquet") == rows(difficult.out / "documents.parquet")


def test_without_a_contact_nothing_is_asked(tmp_path: Path) -> None:
    for contact in ((), ("--contact", "me"), ("--contact", "a b@c")):
        ended = here("crawl", "http://127.0.0.2:1/", "--out", tmp_path / "c", *contact)
        assert ended.code == 2 and "--contact" in ended.line


def test_no_seed_left_is_exit_2(tmp_path: Path) -> None:
    ended = here("crawl", "ftp://example.org/", "file:///etc/passwd", "--out", tmp_path / "a", *QUICK)
    assert ended.code == 2 and "only http and https" in ended.summary["error"]
    with WebSite("127.0.0.4", {"/": html("x")}) as site:
        ended = here("crawl", site.url(), f"http://localhost:{site.port}/", "--out", tmp_path / "b", *QUICK)
        assert ended.code == 2 and "not public" in ended.summary["error"] and site.log == []


def test_a_refused_seed_is_exit_3(tmp_path: Path) -> None:
    with WebSite("127.0.0.4", {"/": html("x")}) as site, WebSite("127.0.0.5", {"/": html("y")}) as private:
        ended = here("crawl", site.url(), private.url(), "--out", tmp_path / "c", *QUICK, *allowed(site))
        assert ended.code == 3 and ended.summary["failed"] == {"seeds": 1} and private.log == []
        ended = here("crawl", site.url(), "ftp://a.cn/", "--out", tmp_path / "c", *QUICK, *allowed(site), "--fresh")
        assert ended.code == 3 and ended.summary["failed"] == {"seeds": 1}
        assert ended.summary["rows_written"] == 1


def test_a_site_that_cannot_say_its_rules_is_left_alone(tmp_path: Path) -> None:
    pages = {"/robots.txt": Answer("", 500), "/": html("x")}
    with WebSite("127.0.0.4", pages) as site:
        ended = here("crawl", site.url(), "--out", tmp_path / "c", *QUICK, *allowed(site))
        assert ended.code == 2 and "robots_unreachable" in ended.summary["error"]
        assert set(site.asked()) == {"/robots.txt"}
        pages["/robots.txt"] = Answer("", 404)
        ended = here("crawl", site.url(), "--out", tmp_path / "c", *QUICK, *allowed(site))
        assert ended.code == 0 and ended.summary["rows_written"] == 1


def numbered(path: str) -> Any:
    """A binary tree of pages without end."""
    return html(path, f"{path.rstrip('/')}/a", f"{path.rstrip('/')}/b") if not path.startswith("/robots") else None


def test_pages_depth_prefix_and_bytes_are_limits(tmp_path: Path) -> None:
    with WebSite("127.0.0.4", {}, numbered) as site:

        def crawl(name: str, *limits: object) -> dict[str, Any]:
            site.log.clear()
            ended = here("crawl", site.url("/t"), "--out", tmp_path / name, *QUICK, *limits, *allowed(site))
            assert ended.code == 0, ended.stderr
            return ended.summary

        assert crawl("pages", "--max-pages", 5)["crawl"]["pages"] == 5 and len(site.asked("/t")) == 5
        assert crawl("pages", "--max-pages", 8)["crawl"]["pages"] == 8 and len(site.asked("/t")) == 3
        assert crawl("depth", "--max-depth", 2)["crawl"]["pages"] == 7
        assert crawl("prefix", "--path-prefix", "/t/a", "--max-depth", 3)["crawl"]["pages"] == 8
        assert crawl("bytes", "--max-bytes", 3000)["crawl"]["stopped"] == "max_bytes" and len(site.asked("/t")) <= 6


def test_another_scope_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with WebSite("127.0.0.4", {"/": html("x"), "/b": html("y")}) as site:
        assert here("crawl", site.url(), "--out", tmp_path / "c", *QUICK, *allowed(site)).code == 0
        other = here("crawl", site.url("/b"), "--out", tmp_path / "c", *QUICK, *allowed(site))
        assert other.code == 2 and "seeds was" in other.line and "--fresh" in other.line
        fresh = here("crawl", site.url("/b"), "--out", tmp_path / "c", *QUICK, "--fresh", *allowed(site))
        assert fresh.code == 0
        assert [row["title"] for row in rows(tmp_path / "c" / "documents.parquet")] == ["y"]


def test_revisit_asks_whether_pages_have_changed(tmp_path: Path) -> None:
    said = {"/": html("旧", "/tagged", "/dated", "/same", "/gone", "/hidden")}

    def conditional(name: str, value: str, answer: str) -> Any:
        def give(path: str, headers: dict[str, str]) -> Answer:
            match = headers.get("If-None-Match" if name == "ETag" else "If-Modified-Since") == value
            return Answer("", 304) if match else Answer(answer, headers={name: value})

        return give

    pages: dict[str, Any] = {
        "/": lambda path, headers: said["/"],
        "/tagged": conditional("ETag", '"1"', html("Tagged", text="标签")),
        "/dated": conditional("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT", html("Dated", text="日期")),
        "/same": html("Same", text="不变"),
        "/gone": html("Gone", text="消失"),
        "/hidden": html("Hidden", text="隐藏"),
    }
    with WebSite("127.0.0.4", pages) as site:
        line = ("crawl", site.url(), "--out", tmp_path / "c", *QUICK, *allowed(site))
        assert here(*line).summary["crawl"]["pages"] == 6
        said["/"] = html("新", "/tagged", "/fresh")
        pages["/fresh"] = html("Fresh", text="新增")
        del pages["/gone"]
        pages["/hidden"] = html("Hidden", text="隐藏", head='<meta name="robots" content="noindex">')
        site.log.clear()
        again = here(*line, "--revisit")
        assert again.code == 0, again.stderr
        assert {asked.path: asked.status for asked in site.log} == {
            "/robots.txt": 404, "/": 200, "/tagged": 304, "/dated": 304, "/same": 200, "/gone": 404, "/hidden": 200,
            "/fresh": 200,
        }  # fmt: skip
        titles = {row["title"] for row in rows(tmp_path / "c" / "documents.parquet")}
        assert titles == {"新", "Tagged", "Dated", "Same", "Gone", "Fresh"}
        profiles = []
        for path in sorted((tmp_path / "c").glob("*.warc.gz")):
            with path.open("rb") as stream:
                for record in ArchiveIterator(stream):
                    if record.rec_type == "revisit":
                        profiles.append(record.rec_headers.get_header("WARC-Profile").rpartition("/")[2])
        assert Counter(profiles) == {"server-not-modified": 2, "identical-payload-digest": 1}
        site.log.clear()
        assert here(*line).code == 0 and site.log == []


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    import ssl

    with WebSite("127.0.0.4", {"/": html("x")}) as site:
        certificate = make_certificate(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        site._server.socket = context.wrap_socket(site._server.socket, server_side=True)
        url = site.url().replace("http:", "https:")
        ended = here("crawl", url, "--out", tmp_path / "c", *QUICK, *allowed(site))
        assert ended.code == 2 and "tls: " in ended.summary["error"] and "Traceback" not in ended.stderr
        assert site.log == []
        line = ("crawl", url, "--out", tmp_path / "d", *QUICK, *allowed(site))
        assert command(*line, SSL_CERT_FILE=str(certificate)).code == 0  # somebody does now


def make_certificate(folder: Path) -> Path:
    """A certificate that signs itself."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.4")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.4"))])
    builder = x509.CertificateBuilder().add_extension(address, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    path = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


def test_the_command_shows_what_it_does(tmp_path: Path) -> None:
    with WebSite("127.0.0.4", {"/": html("x", "/y"), "/y": html("y")}) as site:
        ended = command("crawl", site.url(), "--out", tmp_path / "c", *CONTACT, "--delay", "0.01", *allowed(site))
        assert ended.code == 0, ended.stderr
        assert "2 rows from 2 pages" in ended.stdout and "fetched  2 pages" in ended.stdout
        assert "Traceback" not in ended.stderr and "Warning" not in ended.stderr


def test_a_crawl_that_got_nothing_asks_again(tmp_path: Path) -> None:
    pages: dict[str, Any] = {"/": Answer("", 404)}
    with WebSite("127.0.0.4", pages) as site:
        line = ("crawl", site.url(), "--out", tmp_path / "c", *QUICK, *allowed(site))
        assert here(*line).code == 2
        pages["/"] = html("x", head='<meta name="robots" content="noindex">')
        ended = here(*line)
        assert ended.code == 0 and ended.summary["rows_written"] == 0 and ended.summary["dropped"] == {"noindex": 1}
        assert rows(tmp_path / "c" / "documents.parquet") == []


def test_a_host_that_says_to_come_back_much_later_is_left_for_another_run(tmp_path: Path) -> None:
    pages: dict[str, Any] = {
        "/": html("x", "/a", "/b"),
        "/a": Answer("", 429, {"Retry-After": "7200"}),
        "/b": html("b"),
    }
    with WebSite("127.0.0.4", pages) as site:
        line = ("crawl", site.url(), "--out", tmp_path / "c", *QUICK, *allowed(site))
        ended = here(*line)
        assert ended.code == 3 and ended.summary["failed"] == {"host_unavailable": 2}
        assert site.asked() == ["/robots.txt", "/", "/a"]
        pages["/a"] = html("a")
        assert here(*line).code == 0
        assert site.asked()[3:] == ["/robots.txt", "/a", "/b"]


def test_a_host_that_turns_us_away_is_left_alone(tmp_path: Path) -> None:
    links = [f"/page-{number}" for number in "abcdefghijklmnopqrst"]
    pages: dict[str, Any] = {"/": html("x", *links), **{link: Answer("", 403) for link in links}}
    with WebSite("127.0.0.4", pages) as site:
        ended = here("crawl", site.url(), "--out", tmp_path / "c", *QUICK, *allowed(site))
        assert ended.code == 3 and ended.summary["failed"] == {"host_unavailable": 10}
        assert ended.summary["dropped"] == {"http_403": 10} and len(site.asked("/page")) == 10
