"""From WARC files to documents: units of pages in parallel, then one pass that decides which of them stay.

pages → sections with languages → newest version of a URL, equal content once → one parquet of Documents and its trace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from datatools.clean.language import languages
from datatools.crawl.scope import key
from datatools.engine.local import run_units
from datatools.engine.parts import Parts
from datatools.engine.units import Unit, plan
from datatools.engine.work import Work
from datatools.io.atomic import parquet_writer
from datatools.io.files import split
from datatools.io.read import completed, describe, is_broken_input
from datatools.io.source import Fault, ReadOptions, Source
from datatools.io.warc import pages
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.inputs import FAULT_CLASSES, companions
from schemas.document import DOCUMENT, Document
from schemas.trace import TRACE

VERSION = 1
SPLIT_BYTES = 1 << 20  # packed bytes of a WARC file that one worker reads: some hundred pages
PAGES = pa.schema([pa.field(name, pa.string()) for name in ("url", "time", "content")])
DOCUMENTS = pa.schema([*DOCUMENT, pa.field("page", pa.int64())])  # number of its page in the unit
STREAMS = {"documents": DOCUMENTS, "pages": PAGES, "trace": TRACE}
BATCH = 200


@dataclass(frozen=True)
class Extraction:
    """What shapes the documents made of WARC files."""

    limit: int | None = None


@dataclass(frozen=True)
class Extract:
    """What is extracted: WARC files, each with what tells its versions apart; trace rows that stand already."""

    work: Work
    sources: Sequence[Source]
    identities: dict[str, str]  # by path
    settings: Extraction
    trace: list[dict[str, Any]]
    withdrawn: set[str]  # keys of pages that their site has since asked not to keep


def extract(job: Extract, out: Path, summary: Summary, progress: Progress, workers: int) -> None:
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
                faults += [fault_row(item) for item in items if isinstance(item, Fault)]
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
            faults.append(fault_row(Fault(source.name, describe(error))))
    yield "documents", pa.Table.from_pylist(found, schema=DOCUMENTS)
    yield "pages", pa.Table.from_pylist(listed, schema=PAGES)
    yield "trace", pa.Table.from_pylist(faults, schema=TRACE)


def fault_row(fault: Fault) -> dict[str, Any]:
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
