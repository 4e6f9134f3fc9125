"""A crawl that is killed again and again: nothing stored is asked for twice, and every file stays readable."""

from __future__ import annotations

import os
import random
import signal
import zlib
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from datatools.crawl.store import read_journal
from tests.crawl.web_server import Answer, WebSite, html
from tests.pipelines.command import AILMENTS, HERBS, command, rows, started, until
from tests.pipelines.command import ended as ended_of

PAGES = int(os.environ.get("DATATOOLS_CRAWL_PAGES", "120"))  # of both sites together
KILLS = int(os.environ.get("DATATOOLS_CRAWL_KILLS", "4"))


def stored(out: Path) -> set[str]:
    """The URLs whose response or revisit records are whole, in WARC files as a kill left them."""
    found = set()
    for path in out.glob("*.warc.gz"):
        data = path.read_bytes()
        while data:
            stream = zlib.decompressobj(31)
            try:
                record = stream.decompress(data)
            except zlib.error:
                break
            if not stream.eof:
                break
            data = stream.unused_data
            head = record.partition(b"\r\n\r\n")[0].decode().splitlines()
            fields = dict(line.split(": ", 1) for line in head[1:])
            if fields["WARC-Type"] in ("response", "revisit"):
                found.add(fields["WARC-Target-URI"])
    return found


def article(title: str, number: int, *links: str) -> str:
    """A page with three sections that no other page has, and links."""
    drawn = random.Random(number)
    parts = []
    for heading in ("用法", "主治", "禁忌"):
        lines = [
            f"{drawn.choice(AILMENTS)}者用{'、'.join(drawn.sample(HERBS, 4))}各{drawn.randrange(1, 60)}克，"
            f"水煎取{drawn.randrange(100, 900)}毫升，分{drawn.randrange(2, 9)}次温服，{drawn.choice(AILMENTS)}者慎用。"
            for _ in range(4)
        ]
        parts.append(f"<h2>{heading}</h2><p>{''.join(lines)}</p>")
    anchors = "".join(f'<li><a href="{link}">{link}</a></li>' for link in links)
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><title>{title}</title></head><body><main><h1>{title}</h1>'
        f"{''.join(parts)}</main><ul>{anchors}</ul></body></html>"
    )


def hospital(address: str, size: int) -> WebSite:
    """A site of departments and articles; some may not be asked for, some are moved, some are gone."""
    departments = max(1, size // 40)
    pages: dict[str, Any] = {
        "/robots.txt": Answer("User-agent: *\nDisallow: /staff/\n", headers={"Content-Type": "text/plain"}),
        "/": html(f"{address}：医院首页", *(f"/dept-{number:05d}/" for number in range(departments)), "/staff/1"),
    }
    for number in range(size - departments - 1):
        home = f"/dept-{number % departments:05d}/"
        path = f"{home}article-{10_000 + number}.html"
        seed = number + int(address.rpartition(".")[2]) * 100_000
        pages[path] = article(f"{seed}号方", seed, home, f"{home}moved-{10_000 + number}")
        pages[f"{home}moved-{10_000 + number}"] = Answer("", 301, {"Location": path})
        articles = pages.setdefault(home, [f"/dept-{number % departments:05d}/gone-10000"])
        articles.append(path)
    for home in [path for path, links in pages.items() if isinstance(links, list)]:
        pages[home] = html(f"{address}：科室{home}", *pages[home])
    return WebSite(address, pages)


@pytest.mark.slow
def test_kills_lose_nothing_and_ask_for_nothing_twice(tmp_path: Path) -> None:
    out = tmp_path / "crawl"
    with ExitStack() as stack:
        sites = [stack.enter_context(hospital(f"127.0.0.{last}", PAGES // 2)) for last in (6, 7)]
        line = ["crawl", *(site.url() for site in sites), "--out", out, "--contact", "https://example.org/crawl"]
        line += ["--delay", "0.005", "--quiet", "--json"]
        for site in sites:
            line += ["--allow-private", f"{site.address}/32"]

        def asked() -> list[str]:
            return [site.url(path) for site in sites for path in site.asked() if path != "/robots.txt"]

        before: list[tuple[set[str], Counter[str]]] = []
        killed = 0
        for number in range(KILLS):
            enough = (number + 1) * 2 * PAGES // (KILLS + 2)
            process = started(*line)
            if until(process, lambda enough=enough: len(asked()) >= enough):
                # The command alone, or with all its processes: either way nothing may go on writing.
                (os.kill if number % 2 else os.killpg)(process.pid, signal.SIGKILL)
                killed += 1
            process.communicate()
            before.append((stored(out), Counter(asked())))
        ended = command(*line)
        assert ended.code == 0, ended.stderr
        assert killed == KILLS
        final = Counter(asked())
        for urls, then in before:
            assert [url for url in urls if final[url] > then[url]] == []
        # What was under way at a kill may be asked for again: one page a site.
        assert sum(final.values()) - len(final) <= KILLS * len(sites)
        for site in sites:
            assert set(site.asked()) == {path for path in site.pages if not path.startswith("/staff")} | {
                path for path in site.asked() if "/gone-" in path
            }
            assert min(site.gaps()) > 0 or killed  # a killed crawl hangs up in the middle of an answer
        articles = {row["source"] for row in rows(out / "documents.parquet")}
        wanted = {site.url(path) for site in sites for path in site.pages if not isinstance(site.pages[path], Answer)}
        assert articles == wanted
        for path in out.glob("*.warc.gz"):
            with path.open("rb") as stream:
                counts = Counter(record.rec_type for record in ArchiveIterator(stream, check_digests="raise"))
            assert counts["request"] == counts["response"] + counts["revisit"] and counts["warcinfo"] == 1
        pairs = command("unify", out, "--out", tmp_path / "sft.parquet", "--json", "--quiet")
        assert pairs.code == 0 and pairs.summary["rows_written"] > PAGES, pairs.stdout


@pytest.mark.slow
def test_a_revisit_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    out = tmp_path / "crawl"
    with hospital("127.0.0.8", 60) as site:
        line = [
            "crawl",
            site.url(),
            "--out",
            out,
            "--contact",
            "a@example.org",
            "--delay",
            "0.005",
            "--quiet",
            "--json",
        ]
        line += ["--allow-private", "127.0.0.8/32"]
        assert command(*line).code == 0
        site.log.clear()
        process = started(*line, "--revisit")
        assert until(process, lambda: len(site.log) > 40)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        dealt = [entry["url"] for entry in read_journal(out / "documents.work") if entry["record"] == "page"]
        again = {url for url, times in Counter(dealt).items() if times > 1}
        assert len(again) > 20
        site.log.clear()
        ended = command(*line, "--revisit")
        assert ended.code == 0, ended.stderr
        asked = {site.url(path) for path in site.asked()} - {site.url("/robots.txt")}
        assert not asked & again and asked | again >= set(dealt) - {site.url("/staff/1")}


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_a_second_run_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "crawl"
    with hospital("127.0.0.10", 60) as site:
        line = ["crawl", site.url(), "--out", out, "--contact", "a@example.org", "--delay", "0.05", "--quiet", "--json"]
        line += ["--allow-private", "127.0.0.10/32"]
        process = started(*line)
        assert until(process, lambda: len(site.log) > 3)
        second = command(*line)
        assert second.code == 2 and "another run is working" in second.line
        os.killpg(process.pid, signal.SIGINT)
        stopped = ended_of(process)
        assert stopped.code == 130 and "goes on" in stopped.line
        known = stored(out)
        before = Counter(site.asked())
        assert command(*line, "--delay", "0.005").code == 0
        assert known and all(Counter(site.asked())[path] == before[path] for path in before if site.url(path) in known)
