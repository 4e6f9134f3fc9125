"""Verbs that make documents, and pairs of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from datatools.commands.app import app
from datatools.commands.app import report as told
from datatools.commands.options import (
    Decontaminate,
    Inputs,
    Model,
    Out,
    SourceType,
    TextColumn,
    Workers,
    asking,
    engine_of,
    making,
    options_of,
    placed,
    takes,
)


@app.command()
@takes(asking, placed, making)
def unify(
    inputs: Inputs,
    out: Out,
    model: Model = "rules",
    pairs_per_passage: Annotated[int, typer.Option("--pairs-per-passage", help="Pairs made of one passage.")] = 1,
    language: Annotated[str, typer.Option("--language", help="Of the pairs: zh, en, or same as the passage.")] = "same",
    rewrite_pairs: Annotated[
        bool, typer.Option("--rewrite-pairs", help="Send question-answer pairs of the source to the model too.")
    ] = False,
    text_column: TextColumn = None,
    source_type: SourceType = None,
    no_curate: Annotated[
        bool, typer.Option("--no-curate", help="Take the documents as they are: no filter, no duplicates removed.")
    ] = False,
    decontaminate: Decontaminate = None,
    passage_characters: Annotated[
        int, typer.Option("--passage-characters", help="Length of a passage in Chinese, Japanese, Korean.")
    ] = 800,
    passage_words: Annotated[
        int, typer.Option("--passage-words", help="Length of a passage in other languages.")
    ] = 500,
    workers: Workers = None,
    **given: Any,
) -> int:
    """Turn documents into question-answer pairs for fine-tuning."""
    values = options_of(locals())
    from datatools.report.progress import Progress
    from pipelines.unify import unify as job
    from pipelines.unify_settings import settings_from

    values["curate"] = not no_curate
    values["engine"] = engine_of(values)
    settings, run = settings_from(values)
    return told(job(inputs, out, settings, run, Progress(quiet=values["quiet"])), values["as_json"])


@app.command()
@takes(placed, making)
def curate(
    context: typer.Context,
    inputs: Inputs,
    out: Out,
    reapply: Annotated[
        bool, typer.Option("--reapply", help="INPUT is a work folder: decide anew on what it measured.")
    ] = False,
    rules: Annotated[str, typer.Option("--rules", help="default, or none to annotate and keep every row.")] = "default",
    near_threshold: Annotated[float, typer.Option("--near-threshold", help="Jaccard of near duplicates.")] = 0.8,
    keep: Annotated[
        str, typer.Option("--keep", help="Of duplicates: source-order, longest or newest.")
    ] = "source-order",
    priority: Annotated[
        str | None, typer.Option("--priority", help="Source types, the best first: classic,book,web.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="Parquet of an earlier corpus: drop what it already has.")
    ] = None,
    decontaminate: Decontaminate = None,
    simplify: Annotated[bool, typer.Option("--simplify", help="Make traditional characters simplified.")] = False,
    lexicon: Annotated[str | None, typer.Option("--lexicon", help="Medical terms, one a line.")] = None,
    keep_values: Annotated[bool, typer.Option("--keep-values", help="Write the measured values too.")] = False,
    text_column: TextColumn = None,
    source_type: SourceType = None,
    workers: Workers = None,
    **given: Any,
) -> int:
    """Clean, filter and deduplicate documents."""
    values = options_of(locals())
    from datatools.engine.startup import without_pandas
    from datatools.report.progress import Progress
    from pipelines import curate as job
    from pipelines.curate_settings import settings_from

    without_pandas()
    values["priority"] = tuple(name.strip() for name in priority.split(",")) if priority else None
    settings = settings_from({**values, **context.meta.get("tables", {})})
    progress, where = Progress(quiet=values["quiet"]), engine_of(values)
    if reapply:
        if len(inputs) != 1:
            raise ValueError("--reapply: needs one INPUT, the work folder of a curate run")
        return told(job.reapply(Path(inputs[0]), out, settings, progress, engine=where), values["as_json"])
    return told(job.curate(inputs, out, settings, progress, engine=where, fresh=values["fresh"]), values["as_json"])


@app.command()
@takes(making)
def crawl(
    seeds: Annotated[list[str], typer.Argument(help="URLs to begin at; with --from-warc, files.", metavar="SEED...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for *.warc.gz and documents.parquet.")],
    contact: Annotated[
        str | None, typer.Option("--contact", help="E-mail address or URL that site owners can turn to; needed.")
    ] = None,
    allow_domain: Annotated[
        list[str] | None, typer.Option("--allow-domain", help="Domain with its subdomains; else the seeds' hosts.")
    ] = None,
    path_prefix: Annotated[
        list[str] | None, typer.Option("--path-prefix", help="Only paths that begin so; repeatable.")
    ] = None,
    max_pages: Annotated[int | None, typer.Option("--max-pages", help="Pages at most.")] = None,
    max_depth: Annotated[int | None, typer.Option("--max-depth", help="Links away from a seed at most.")] = None,
    max_bytes: Annotated[int | None, typer.Option("--max-bytes", help="Stop after so many bytes of pages.")] = None,
    max_per_pattern: Annotated[
        int, typer.Option("--max-per-pattern", help="Pages of one URL pattern of a host, such as /calendar/#/#.")
    ] = 100,
    delay: Annotated[float, typer.Option("--delay", help="Seconds between requests to a host, at least.")] = 1.0,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds for one page, in all.")] = 60.0,
    allow_private: Annotated[
        list[str] | None, typer.Option("--allow-private", help="Network that is not public and allowed; repeatable.")
    ] = None,
    revisit: Annotated[
        bool, typer.Option("--revisit", help="Ask again for what a finished crawl has, if it has changed.")
    ] = False,
    from_warc: Annotated[
        bool, typer.Option("--from-warc", help="SEEDs are WARC, WET or ARC files: extract, without the network.")
    ] = False,
    workers: Workers = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over: what this crawl has stored is deleted.")] = False,
    **given: Any,
) -> int:
    """Fetch the pages of web sites politely, and extract their text."""
    values = options_of(locals())
    from datatools.crawl.settings import CrawlSettings
    from datatools.engine.startup import without_pandas
    from datatools.report.progress import Progress
    from pipelines import crawl as job

    without_pandas()
    progress, processes = Progress(quiet=values["quiet"]), workers or os.cpu_count() or 1
    if from_warc:
        found = job.from_warc(seeds, out, progress, workers=processes, limit=values["limit"], fresh=fresh)
        return told(found, values["as_json"])
    settings = CrawlSettings(
        seeds=tuple(seeds),
        contact=contact,
        allow_domain=tuple(allow_domain or ()),
        path_prefix=tuple(path_prefix or ()),
        max_pages=min((number for number in (max_pages, values["limit"]) if number is not None), default=None),
        max_depth=max_depth,
        max_bytes=max_bytes,
        max_per_pattern=max_per_pattern,
        delay=delay,
        timeout=timeout,
        allow_private=tuple(allow_private or ()),
        revisit=revisit,
    )
    return told(job.crawl(settings, out, progress, workers=processes, fresh=fresh), values["as_json"])
