"""Crawl: pages of a site into WARC files, and their text into documents.

fetch (in a process of its own, one page at a time a host) → WARC files → extract, in parallel → documents.parquet.
What is fetched stands in the WARC files and the crawl's journal; everything after is made from them, again if need be.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from datatools.crawl.process import Crawled, crawl_site
from datatools.crawl.scope import host_of, key, normalise
from datatools.crawl.settings import MAX_REDIRECTS, CrawlSettings
from datatools.crawl.store import discard, read_journal
from datatools.engine.units import identity
from datatools.engine.work import Work, open_work
from datatools.io.files import discover
from datatools.io.source import Fault, Source
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.crawl_extract import VERSION, Extract, Extraction, extract, fault_row
from pipelines.inputs import nothing_readable

ARCHIVES = (".warc.gz", ".warc", ".wet.gz", ".wet", ".arc.gz", ".arc")
# What became of a URL that is no failure: its page is there, or another one has it.
KEPT = ("stored", "unchanged", "redirect", "sitemap")
# Outcomes that leave something undone which the user meant to have; the others are a rule's.
FAILURES = ("timeout", "connection", "dns", "tls", "http_429", "http_500", "http_502", "http_503", "http_504")


def crawl(settings: CrawlSettings, out: Path, progress: Progress, *, workers: int = 1, fresh: bool = False) -> Summary:
    """Crawl from the seeds into the folder `out`, going on where an earlier run stopped, and extract the documents.

    Raises ValueError for settings that cannot work, and where no seed gave a page.
    """
    began = time.monotonic()
    if out.suffix == ".parquet" or (out.exists() and not out.is_dir()):
        raise ValueError(f"--out {out}: a folder is needed; it will hold *.warc.gz and documents.parquet")
    if find_spec("scrapy") is None:
        raise ValueError("crawling needs Scrapy: pip install 'medical-datatools[crawl]'")
    seeds = _seeds(settings)
    documents = out / "documents.parquet"
    description = {"command": "crawl", "settings": _scope(settings, seeds), "inputs": {}}
    with open_work(documents, description, fresh=fresh) as work:
        if fresh:
            discard(out, work.path)
        progress.say(f"crawl: {len(seeds)} seeds, {settings.delay:g} s between requests to a host → {out}")
        crawled = crawl_site(settings, out, work.path, quiet=progress.quiet)
        _say(crawled, progress)
        outcomes = _outcomes(read_journal(work.path))
        summary = Summary("crawl", list(settings.seeds), work=str(work.path), unit="pages")
        _account(summary, outcomes, crawled)
        if lost := _lost_seeds(settings.seeds, outcomes, crawled):
            _tell_lost(lost, settings, out, work, summary)
        trace = [_trace_row(line) for line in outcomes if line["outcome"] not in KEPT]
        trace += [_pattern_row(pattern, number, settings) for pattern, number in crawled.cut.items()]
        withdrawn = {key(line["url"]) for line in outcomes if line["outcome"] == "noindex"}
        # With its length, so that a file that has grown is another range.
        sources = [Source(str(path), path.name, "warc", "gz", 0, path.stat().st_size) for path in _files(out, work)]
        # They only grow: a range that was full stays as it is, and need not be read again when the crawl goes on.
        identities = {source.path: source.name for source in sources}
        job = Extract(work, sources, identities, Extraction(), trace, withdrawn)
        extract(job, documents, summary, progress, workers)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def from_warc(
    files: Sequence[str],
    out: Path,
    progress: Progress,
    *,
    workers: int = 1,
    limit: int | None = None,
    fresh: bool = False,
) -> Summary:
    """Extract the documents of WARC, WET and ARC files without the network, into `documents.parquet` in folder `out`.

    Raises ValueError where there is nothing to read.
    """
    began = time.monotonic()
    documents = out if out.suffix == ".parquet" else out / "documents.parquet"
    found: list[Source] = []
    faults: list[Fault] = []
    for file in files:  # a folder by its WARC files, whatever documents.parquet says
        folder = Path(file)
        inside = sorted(path for path in folder.rglob("*") if path.name.endswith(ARCHIVES))
        some, wrong = discover([str(path) for path in inside] if folder.is_dir() and inside else [file])
        found, faults = found + some, faults + wrong
    sources = [source for source in found if source.format == "warc"]
    faults += [Fault(one.name, f"is {one.format}, not WARC") for one in found if one.format != "warc"]
    if not sources:
        raise ValueError(nothing_readable(files, faults))
    identities = {source.name: identity(source.path) for source in sources}
    description = {"command": "crawl --from-warc", "settings": {"limit": limit}, "inputs": identities}
    with open_work(documents, description, fresh=fresh) as work:
        progress.say(f"crawl: {len(sources)} WARC files, {workers} workers → {documents}")
        summary = Summary("crawl", list(files), work=str(work.path), unit="pages")
        by_path = {source.path: identities[source.name] for source in sources}
        job = Extract(work, sources, by_path, Extraction(limit), [fault_row(fault) for fault in faults], set())
        extract(job, documents, summary, progress, workers)
        if not summary.rows_read:
            raise ValueError(nothing_readable(files, faults, work, list(work.units)))
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def _seeds(settings: CrawlSettings) -> tuple[str, ...]:
    """The seeds in their one spelling. Raises ValueError where none is an http(s) URL."""
    found = tuple(dict.fromkeys(url for seed in settings.seeds if (url := normalise(seed))))
    if not found:
        raise ValueError(
            f"no seed is left: {', '.join(settings.seeds) or 'none given'}: only http and https are crawled"
        )
    return found


def _scope(settings: CrawlSettings, seeds: Sequence[str]) -> dict[str, Any]:
    """What must not change within a crawl; limits and manners may."""
    return {
        "seeds": sorted(seeds),
        "allow_domain": sorted(settings.allow_domain),
        "path_prefix": sorted(settings.path_prefix),
        "version": VERSION,
    }


def _files(out: Path, work: Work) -> list[Path]:
    """The WARC files of the crawl, oldest first."""
    names = [line["warc"] for line in read_journal(work.path) if line["record"] == "file"]
    return [out / name for name in names if (out / name).exists()]


def _outcomes(journal: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What became of every URL, the last time it was asked for."""
    wanted = ("url", "outcome", "to", "twin", "detail")  # not its links, of which there are many
    latest: dict[str, dict[str, Any]] = {}
    for line in journal:
        if line["record"] == "page":
            latest[key(line["url"])] = {name: line[name] for name in wanted if name in line}
    return list(latest.values())


def _lost_seeds(seeds: Sequence[str], journal: Sequence[dict[str, Any]], crawled: Crawled) -> dict[str, str]:
    """The seeds that led to no page, each with why."""
    told = {key(line["url"]): line for line in journal}
    lost = {}
    for seed in dict.fromkeys(seeds):
        url = normalise(seed)
        if url is None:
            lost[seed] = "only http and https are crawled"
            continue
        line, hops = told.get(key(url)), 0
        while line and line.get("to") and hops <= MAX_REDIRECTS:
            line, hops = told.get(key(line["to"])), hops + 1
        if hops > MAX_REDIRECTS:
            lost[seed] = "redirects in a circle"
        elif line is None:
            reason = crawled.given_up.get(host_of(url), "")
            if reason or not crawled.stopped:
                lost[seed] = reason or "was not asked for"
        elif line["outcome"] not in (*KEPT, "duplicate", "noindex"):
            lost[seed] = f"{line['outcome']}{': ' if line.get('detail') else ''}{line.get('detail', '')}"
    return lost


def _tell_lost(lost: dict[str, str], settings: CrawlSettings, out: Path, work: Work, summary: Summary) -> None:
    """Put the lost seeds into the summary. Raises ValueError where no seed is left."""
    told = [f"{seed}: {why}" for seed, why in lost.items()]
    if len(lost) == len(set(settings.seeds)):
        if not _files(out, work):
            discard(out, work.path)  # so that the same line asks again
            work.forget()
        raise ValueError("no seed is left: " + "; ".join(told))
    summary.failed["seeds"] = len(lost)
    summary.problems += told


def _say(crawled: Crawled, progress: Progress) -> None:
    for host, rule in crawled.given_up.items():
        progress.say(f"{host}: gave up on it ({rule}); the same line later goes on with what is left")
    for pattern, number in crawled.cut.items():
        progress.say(f"{pattern}: {number:,} more links of this pattern not followed (--max-per-pattern)")


def _account(summary: Summary, journal: Sequence[dict[str, Any]], crawled: Crawled) -> None:
    """Put into the summary what was fetched, dropped and failed."""
    outcomes = Counter(line["outcome"] for line in journal if line["outcome"] not in KEPT)
    for rule, number in outcomes.items():
        (summary.failed if rule in FAILURES else summary.dropped)[rule] = number
    for rule, number in crawled.dropped.items():
        if rule != "out_of_scope":
            summary.dropped[rule] = summary.dropped.get(rule, 0) + number
    summary.failed.update(crawled.left)
    summary.crawl = {
        "pages": crawled.pages,
        "bytes": crawled.bytes,
        "requests": crawled.requests,
        "retried": crawled.retried,
        "out_of_scope": crawled.dropped.get("out_of_scope", 0),
        "stopped": crawled.stopped or None,
    }
    stopped = f", stopped by --{crawled.stopped.replace('_', '-')}" if crawled.stopped else ""
    fetched = f"{crawled.pages:,} pages, {crawled.bytes / 1e6:,.1f} MB"
    summary.notes.append(f"  fetched  {fetched}; {crawled.requests:,} requests in this run{stopped}")


def _trace_row(line: dict[str, Any]) -> dict[str, Any]:
    said = line.get("twin") or line.get("detail") or ""
    return {"id": "", "source": line["url"], "step": "crawl", "rule": line["outcome"], "excerpt": said[:200]}


def _pattern_row(pattern: str, number: int, settings: CrawlSettings) -> dict[str, Any]:
    values = {"value": float(settings.max_per_pattern + number), "threshold": float(settings.max_per_pattern)}
    said = f"{number} links not followed"
    return {"id": "", "source": pattern, "step": "crawl", "rule": "max_per_pattern", "excerpt": said, **values}
