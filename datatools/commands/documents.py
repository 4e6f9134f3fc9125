"""Verbs that make documents, and pairs of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from datatools.commands.app import app
from datatools.commands.app import report as told
from datatools.commands.options import (
    ApiKeyEnv,
    AsJson,
    Attempts,
    BaseUrl,
    Budget,
    Concurrency,
    Debug,
    Decontaminate,
    DryRun,
    EngineName,
    Fresh,
    Inputs,
    Lane,
    Limit,
    Model,
    Out,
    Pilot,
    Poll,
    PriceIn,
    PriceOut,
    Prompts,
    Quiet,
    RayAddress,
    ReasoningEffort,
    Recipe,
    RetryFailed,
    Rpm,
    Seed,
    SourceType,
    Temperature,
    TextColumn,
    Timeout,
    Tpm,
    Workers,
    engine_of,
)


@app.command()
def unify(
    inputs: Inputs,
    out: Out,
    recipe: Recipe = None,
    model: Model = "rules",
    base_url: BaseUrl = None,
    api_key_env: ApiKeyEnv = "OPENAI_API_KEY",
    pairs_per_passage: Annotated[int, typer.Option("--pairs-per-passage", help="Pairs made of one passage.")] = 1,
    language: Annotated[str, typer.Option("--language", help="Of the pairs: zh, en, or same as the passage.")] = "same",
    concurrency: Concurrency = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    budget: Budget = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    dry_run: DryRun = False,
    pilot: Pilot = None,
    temperature: Temperature = None,
    reasoning_effort: ReasoningEffort = None,
    timeout: Timeout = None,
    attempts: Attempts = None,
    lane: Lane = "sync",
    poll: Poll = None,
    retry_failed: RetryFailed = False,
    prompts: Prompts = None,
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
    engine: EngineName = "local",
    ray_address: RayAddress = "auto",
    limit: Limit = None,
    seed: Seed = 0,
    fresh: Fresh = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Turn documents into question-answer pairs for fine-tuning."""
    values = locals()
    from datatools.report.progress import Progress
    from pipelines.unify import unify as job
    from pipelines.unify_settings import settings_from

    values["prompts"] = str(prompts) if prompts else None
    values["curate"] = not no_curate
    values["decontaminate"] = tuple(decontaminate or ()) or None
    values["engine"] = engine_of(engine, workers, ray_address)
    settings, run = settings_from(values)
    return told(job(inputs, out, settings, run, Progress(quiet=quiet)), as_json)


@app.command()
def curate(
    context: typer.Context,
    inputs: Inputs,
    out: Out,
    recipe: Recipe = None,
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
    engine: EngineName = "local",
    ray_address: RayAddress = "auto",
    limit: Limit = None,
    seed: Seed = 0,
    fresh: Fresh = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Clean, filter and deduplicate documents."""
    values = locals()
    from datatools.engine.startup import without_pandas
    from datatools.report.progress import Progress
    from pipelines import curate as job
    from pipelines.curate_settings import settings_from

    without_pandas()
    values["priority"] = tuple(name.strip() for name in priority.split(",")) if priority else None
    values["decontaminate"] = tuple(decontaminate or ()) or None
    settings = settings_from({**values, **context.meta.get("tables", {})})
    progress, where = Progress(quiet=quiet), engine_of(engine, workers, ray_address)
    if reapply:
        if len(inputs) != 1:
            raise ValueError("--reapply: needs one INPUT, the work folder of a curate run")
        return told(job.reapply(Path(inputs[0]), out, settings, progress, engine=where), as_json)
    return told(job.curate(inputs, out, settings, progress, engine=where, fresh=fresh), as_json)


@app.command()
def crawl(
    seeds: Annotated[list[str], typer.Argument(help="URLs to begin at; with --from-warc, files.", metavar="SEED...")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for *.warc.gz and documents.parquet.")],
    recipe: Recipe = None,
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
    limit: Limit = None,
    seed: Seed = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over: what this crawl has stored is deleted.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Fetch the pages of web sites politely, and extract their text."""
    from datatools.crawl.settings import CrawlSettings
    from datatools.engine.startup import without_pandas
    from datatools.report.progress import Progress
    from pipelines import crawl as job

    without_pandas()
    progress, processes = Progress(quiet=quiet), workers or os.cpu_count() or 1
    if from_warc:
        found = job.from_warc(seeds, out, progress, workers=processes, limit=limit, fresh=fresh)
        return told(found, as_json)
    settings = CrawlSettings(
        seeds=tuple(seeds),
        contact=contact,
        allow_domain=tuple(allow_domain or ()),
        path_prefix=tuple(path_prefix or ()),
        max_pages=min((number for number in (max_pages, limit) if number is not None), default=None),
        max_depth=max_depth,
        max_bytes=max_bytes,
        max_per_pattern=max_per_pattern,
        delay=delay,
        timeout=timeout,
        allow_private=tuple(allow_private or ()),
        revisit=revisit,
    )
    return told(job.crawl(settings, out, progress, workers=processes, fresh=fresh), as_json)
