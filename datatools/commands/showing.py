"""Verbs that show what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from datatools.commands.app import app
from datatools.commands.app import report as told
from datatools.commands.options import (
    AsJson,
    Debug,
    Lexicon,
    Out,
    PriceIn,
    PriceOut,
    Seed,
    Workers,
    engine_of,
    making,
    options_of,
    placed,
    takes,
)


@app.command()
@takes(placed, making)
def check(
    file: Annotated[str, typer.Argument(help="Conversations: parquet, JSON Lines, JSON, CSV, …")],
    out: Out,
    graph: Annotated[str | None, typer.Option("--graph", help="Graph that claims are held against.")] = None,
    lexicon: Lexicon = None,
    workers: Workers = None,
    **given: Any,
) -> int:
    """Check conversations without a model: numbers, names, doses, incompatible herbs, leaks, red flags."""
    values = options_of(locals())
    from datatools.report.progress import Progress
    from pipelines import check as job

    settings, progress, where = job.settings_from(values), Progress(quiet=values["quiet"]), engine_of(values)
    return told(job.check(file, out, settings, progress, engine=where, fresh=values["fresh"]), values["as_json"])


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(help="Any parquet file of this project.")],
    rows: Annotated[int, typer.Option("--rows", "-n", help="Rows to show.", min=1)] = 10,
    random: Annotated[bool, typer.Option("--random", help="Rows from anywhere instead of the first ones.")] = False,
    where: Annotated[str | None, typer.Option("--where", help="SQL condition, such as \"language = 'en'\".")] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Show rows of a file in the terminal."""
    from datatools.report.inspect import show

    show(file, rows=rows, random=random, where=where, seed=seed, as_json=as_json)
    return 0


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="A file of conversations.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="JSONL file to write.")],
    format: Annotated[str, typer.Option("--format", help="messages, sharegpt or alpaca.")] = "messages",
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Write conversations as JSONL for other trainers."""
    from pipelines.export import export as job

    return told(job(file, out, format), as_json)


@app.command()
def report(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="The X.parquet a job wrote, or its X.work folder; several evaluations side by side.", metavar="FILE..."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML page to write.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Write what a job did as one HTML page."""
    from pipelines.report import report as job

    return told(job(files[0], out, *files[1:]), as_json)


@app.command()
def journal(
    path: Annotated[Path, typer.Argument(help="An X.work folder, or the X.parquet beside it.")],
    export: Annotated[
        Path | None, typer.Option("--export", help="JSONL file for every raw reply and what it answers.")
    ] = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Show what a job asked of its models, what failed and what it cost."""
    from pipelines.journal import journal as job

    found = job(path, price_in, price_out, export)
    typer.echo(found.to_json() if as_json else found.to_text())
    return 0
