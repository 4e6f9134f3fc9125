"""Crawl: pages of a site into WARC files, and their text into documents.

fetch (in a process of its own, one page at a time a host) → WARC files → extract, in parallel → documents.parquet.
What is fetched stands in the WARC files and the crawl's journal; everything after is made from them, again if need be.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa

from datatools.clean.language import languages
from datatools.crawl.process import Crawled, crawl_site
from datatools.crawl.scope import host_of, key, normalise
from datatools.crawl.settings import CrawlSettings
from datatools.crawl.store import discard, read_journal
from datatools.engine.local import run_units
from datatools.engine.parts import Parts
from datatools.engine.units import Unit, identity, plan
from datatools.engine.work import Work, open_work
from datatools.io.atomic import parquet_writer
from datatools.io.files import discover, split
from datatools.io.read import completed, describe, is_broken_input
from datatools.io.source import Fault, ReadOptions, Source
from datatools.io.warc import pages
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.inputs import FAULT_CLASSES, companions, nothing_readable
from schemas.document import DOCUMENT, Document
from schemas.trace import TRACE

VERSION = 1
SPLIT_BYTES = 1 << 20  # packed bytes of a WARC file that one worker reads: some hundred pages
PAGES = pa.schema([pa.field(name, pa.string()) for name in ("url", "time", "content")])
DOCUMENTS = pa.schema([*DOCUMENT, pa.field("page", pa.int64())])  # number of its page in the unit
STREAMS = {"documents": DOCUMENTS, "pages": PAGES, "trace": TRACE}
ARCHIVES = (".warc.gz", ".warc", ".wet.gz", ".wet", ".arc.gz", ".arc")
BATCH = 200
# What became of a URL that is no failure: its page is there, or another one has it.
KEPT = ("stored", "unchanged", "redirect", "sitemap")
# Outcomes that leave something undone which the user meant to have; the others are a rule's.
FAILURES = ("timeout", "connection", "dns", "tls", "http_429", "http_500", "http_502", "http_503", "http_504")


@dataclass(frozen=True)
class Extraction:
    """What shapes the documents made of WARC files."""

    limit: int | None = None


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
        for host, rule in crawled.given_up.items():
            progress.say(f"{host}: gave up on it ({rule}); the same line later goes on with what is left")
        for pattern, number in crawled.cut.items():
            progress.say(f"{pattern}: {number:,} more links of this pattern not followed (--max-per-pattern)")
        journal = _outcomes(read_journal(work.path))
        summary = Summary("crawl", list(settings.seeds), work=str(work.path), unit="pages")
        _account(summary, journal, crawled)
        lost = _lost_seeds(settings.seeds, journal, crawled)
        if len(lost) == len(set(settings.seeds)):
            if not _files(out, work):
                discard(out, work.path)  # so that the same line asks again
                work.forget()
            raise ValueError("no seed is left: " + "; ".join(f"{seed}: {why}" for seed, why in lost.items()))
        if lost:
            summary.failed["seeds"] = len(lost)
            summary.problems += [f"{seed}: {why}" for seed, why in lost.items()]
        withdrawn = {key(line["url"]) for line in journal if line["outcome"] == "noindex"}
        # With its length, so that a file that has grown is another range.
        sources = [Source(str(path), path.name, "warc", "gz", 0, path.stat().st_size) for path in _files(out, work)]
        trace = [_trace_row(line) for line in journal if line["outcome"] not in KEPT]
        trace += [_pattern_row(pattern, number, settings) for pattern, number in crawled.cut.items()]
        # They only grow: a range that was full stays as it is, and need not be read again when the crawl goes on.
        identities = {source.path: source.name for source in sources}
        job = Extract(work, sources, identities, Extraction(), trace, withdrawn)
        _extract(job, documents, summary, progress, workers)
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
        job = Extract(work, sources, by_path, Extraction(limit), [_fault_row(fault) for fault in faults], set())
        _extract(job, documents, summary, progress, workers)
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
        while line and line.get("to") and hops <= 20:
            line, hops = told.get(key(line["to"])), hops + 1
        if line is None:
            reason = crawled.given_up.get(host_of(url), "")
            if reason or not crawled.stopped:
                lost[seed] = reason or "was not asked for"
        elif line["outcome"] not in (*KEPT, "duplicate", "noindex"):
            lost[seed] = f"{line['outcome']}{': ' if line.get('detail') else ''}{line.get('detail', '')}"
    return lost


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


@dataclass(frozen=True)
class Extract:
    """What is extracted: WARC files, each with what tells its versions apart; trace rows that stand already."""

    work: Work
    sources: Sequence[Source]
    identities: dict[str, str]  # by path
    settings: Extraction
    trace: list[dict[str, Any]]
    withdrawn: set[str]  # keys of pages that their site has since asked not to keep


def _extract(job: Extract, out: Path, summary: Summary, progress: Progress, workers: int) -> None:
    """Make the documents of all pages in the sources, and leave out what is older, withdrawn or said twice."""
    settings, work = job.settings, job.work
    parts = [(part, _bytes(part)) for source in job.sources for part in split(source, SPLIT_BYTES)]
    units = plan(parts, job.identities, f"crawl@{VERSION} {settings}")
    tally: Counter[str] = Counter()
    finished = units
    if settings.limit is None:
        with progress.bar("extracting", len(units)) as bar:
            for _, counted in run_units(extract_unit, units, settings, work, STREAMS, workers=workers):
                tally.update(counted)
                bar.advance(detail=f"{tally['rows_read']:,} pages")
    else:
        finished = []
        for unit in units:  # one after another: how many the next may read depends on the last
            left = settings.limit - tally["rows_read"]
            if left <= 0:
                break
            part = Unit(f"{unit.key}-{left}", unit.sources)
            for _, counted in run_units(extract_unit, [part], Extraction(left), work, STREAMS, workers=1):
                tally.update(counted)
            finished.append(part)
    summary.rows_read = tally["rows_read"]
    _write(job, [unit.key for unit in finished], out, summary)


def _bytes(source: Source) -> int:
    return source.stop - source.start if source.stop >= 0 else Path(source.path).stat().st_size


def extract_unit(unit: Unit, settings: Extraction, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """The documents of the pages in a unit. `tally` counts `rows_read`, pages with text."""
    number = 0
    found: list[dict[str, Any]] = []
    listed: list[dict[str, Any]] = []
    faults: list[dict[str, Any]] = []
    for source in unit.sources:
        try:
            for page in pages(source):
                if settings.limit is not None and tally["rows_read"] >= settings.limit:
                    break
                items = list(completed(iter(page.found), Source(page.url, page.url, "warc", stop=0), ReadOptions()))
                documents = [item for item in items if isinstance(item, Document)]
                faults += [_fault_row(item) for item in items if isinstance(item, Fault)]
                if not documents:
                    continue
                _tell_languages(documents)
                tally["rows_read"] += 1
                found += [{**document.record(), "page": number} for document in documents]
                listed.append({"url": page.url, "time": page.time, "content": page.content})
                number += 1
                if len(found) >= BATCH:
                    yield "documents", pa.Table.from_pylist(found, schema=DOCUMENTS)
                    found = []
        except Exception as error:
            if not is_broken_input(error):
                raise
            faults.append(_fault_row(Fault(source.name, describe(error))))
    yield "documents", pa.Table.from_pylist(found, schema=DOCUMENTS)
    yield "pages", pa.Table.from_pylist(listed, schema=PAGES)
    yield "trace", pa.Table.from_pylist(faults, schema=TRACE)


def _fault_row(fault: Fault) -> dict[str, Any]:
    return {"id": "", "source": fault.source, "step": "read", "rule": fault.rule, "excerpt": fault.message[:200]}


def _tell_languages(documents: list[Document]) -> None:
    """Languages by what is written: what a page's template states is often wrong. Short sections follow the rest."""
    told = languages([document.text for document in documents])
    letters: Counter[str] = Counter()
    for document, language in zip(documents, told, strict=True):
        letters[language] += len(document.text) if language != "und" else 0
    most = letters.most_common(1)[0][0] if letters else "und"
    for document, language in zip(documents, told, strict=True):
        document.language = language if language != "und" else most if most != "und" else document.language or "und"


def _write(job: Extract, keys: Sequence[str], out: Path, summary: Summary) -> None:
    """The documents of the pages that stay, in order, and the trace of those that do not."""
    work, trace = job.work, list(job.trace)
    listed = [row for _, row in Parts(work, keys, "pages").rows()]
    newest = {key(row["url"]): number for number, row in enumerate(listed)}
    seen: dict[str, str] = {}
    kept: list[bool] = []
    told = {(row["source"], row["rule"]) for row in trace}
    for number, row in enumerate(listed):
        rule, twin = "", ""
        if newest[key(row["url"])] != number:
            rule = "older_version"
        elif key(row["url"]) in job.withdrawn:
            rule = "noindex"
        elif row["content"] in seen:
            rule, twin = "duplicate", seen[row["content"]]
        kept.append(not rule)
        if not rule:
            seen[row["content"]] = row["url"]
        elif (row["url"], rule) not in told:
            summary.dropped[rule] = summary.dropped.get(rule, 0) + 1
            trace.append({"id": "", "source": row["url"], "step": "crawl", "rule": rule, "excerpt": twin})
    found = [row for _, row in Parts(work, keys, "trace").rows()]
    trace += found
    for row in [*(row for row in job.trace if row["step"] == "read"), *found]:
        name = FAULT_CLASSES.get(row["rule"])
        counts = summary.failed if name else summary.dropped
        counts[name or row["rule"]] = counts.get(name or row["rule"], 0) + 1
        if name:
            summary.problems.append(f"{row['source']}: {row['excerpt']}")
    _write_documents(work, keys, out, kept, summary)
    traced, _ = companions(out)
    if trace:
        with parquet_writer(traced, TRACE) as writer:
            writer.write(pa.Table.from_pylist(trace, schema=TRACE))
        summary.trace = str(traced)
    else:
        traced.unlink(missing_ok=True)
    summary.output = str(out)


def _write_documents(work: Work, keys: Sequence[str], out: Path, kept: Sequence[bool], summary: Summary) -> None:
    first = 0
    with parquet_writer(out, DOCUMENT) as writer:
        for unit in keys:
            for _, table in Parts(work, [unit], "documents").batches():
                wanted = [kept[first + page] for page in table["page"].to_pylist()]
                writer.write(table.filter(pa.array(wanted, pa.bool_())))
            first += len(Parts(work, [unit], "pages"))
    summary.rows_written = writer.written
