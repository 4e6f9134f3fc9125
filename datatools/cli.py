"""The command line: one thin function a verb. Parse, import late, call, print."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import click
import typer

Inputs = Annotated[list[str], typer.Argument(help="Files, folders or hf:org/name.", metavar="INPUT...")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Parquet file to write; its work folder stands beside it.")]
Recipe = Annotated[
    Path | None,
    typer.Option("--recipe", help="TOML file with any of these options; flags win over it.", is_eager=True),
]
Workers = Annotated[int | None, typer.Option("--workers", help="Processes; all cores by default.", min=1)]
Limit = Annotated[int | None, typer.Option("--limit", help="Read only so many documents or rows.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over; replies already paid for are kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No plan line, no progress.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]

Model = Annotated[str, typer.Option("--model", help="Name of the model at --base-url, or the built-in `rules`.")]
BaseUrl = Annotated[str | None, typer.Option("--base-url", help="OpenAI-compatible endpoint, up to and with /v1.")]
ApiKeyEnv = Annotated[str, typer.Option("--api-key-env", help="Environment variable that holds the key.")]
Concurrency = Annotated[int | None, typer.Option("--concurrency", help="Calls in flight.", min=1)]
Timeout = Annotated[float | None, typer.Option("--timeout", help="Seconds for one attempt, in all.", min=0.001)]
Attempts = Annotated[int | None, typer.Option("--attempts", help="Tries in all for one call.", min=1)]
Temperature = Annotated[float | None, typer.Option("--temperature", help="Sampling temperature.", min=0)]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Ask again for rows that failed for good.")]
Prompts = Annotated[Path | None, typer.Option("--prompts", help="Folder whose prompt files replace the shipped ones.")]

app = typer.Typer(
    name="datatools",
    help="Medical text in, training data out, every row traceable.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"datatools {version('medical-datatools')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


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
    temperature: Temperature = None,
    timeout: Timeout = None,
    attempts: Attempts = None,
    retry_failed: RetryFailed = False,
    prompts: Prompts = None,
    rewrite_pairs: Annotated[
        bool, typer.Option("--rewrite-pairs", help="Send question-answer pairs of the source to the model too.")
    ] = False,
    text_column: Annotated[
        str | None, typer.Option("--text-column", help="Column or key that holds the text; found when not given.")
    ] = None,
    source_type: Annotated[
        str | None,
        typer.Option("--source-type", help="web, book, encyclopedia, literature, classic, consultation or other."),
    ] = None,
    passage_characters: Annotated[
        int, typer.Option("--passage-characters", help="Length of a passage in Chinese, Japanese, Korean.")
    ] = 800,
    passage_words: Annotated[
        int, typer.Option("--passage-words", help="Length of a passage in other languages.")
    ] = 500,
    workers: Workers = None,
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
    from pipelines.unify import settings_from
    from pipelines.unify import unify as job

    values["prompts"] = str(prompts) if prompts else None
    values["workers"] = workers or os.cpu_count() or 1
    settings, run = settings_from(values)
    return _report(job(inputs, out, settings, run, Progress(quiet=quiet)), as_json)


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

    return _report(job(file, out, format), as_json)


def _report(summary: Any, as_json: bool) -> int:
    typer.echo(summary.to_json() if as_json else summary.to_text())
    return int(summary.exit_code)


def main() -> NoReturn:
    """Entry point of the console script: run a verb, turn every end into an exit code and one line."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    signal.signal(signal.SIGTERM, _interrupt)
    arguments = sys.argv[1:]
    sys.exit(run(lambda: app(arguments, standalone_mode=False, prog_name="datatools"), arguments))


def run(verb: Callable[[], Any], arguments: list[str]) -> int:
    """Call a verb; its exit code, with the one line that says what to do next where it is not 0."""
    try:
        result = verb()
        return result if isinstance(result, int) else 0
    except Exception as error:
        code, line = _explained(error)
        if "--debug" in arguments:
            import traceback

            traceback.print_exc()
    except KeyboardInterrupt:
        code, line = 130, "interrupted; the same line again goes on where it stopped"
    return _failed(code, line, arguments)


def _explained(error: Exception) -> tuple[int, str]:
    """Exit code and line for an exception: what happened, where, what to do."""
    if isinstance(error, click.exceptions.Abort):
        return 130, "interrupted"
    if isinstance(error, click.ClickException):
        return 2, f"{error.format_message()} (datatools --help shows what there is)"
    if type(error).__name__ == "Stopped" and type(error).__module__ == "datatools.llm.errors":
        return 4, f"stopped: {error}; the same line again goes on where it stopped"
    if isinstance(error, ValueError):
        return 2, str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return 2, f"{where}{error.strerror or error}; nothing half-written was left, the same line again goes on"
    return 1, f"a bug: {type(error).__name__}: {error}; --debug shows where"


def _failed(code: int, line: str, arguments: list[str]) -> int:
    line = " ".join(line.split())
    print(f"datatools: {line}", file=sys.stderr)
    if "--json" in arguments:
        from datatools.report.summary import Summary

        command = next((argument for argument in arguments if not argument.startswith("-")), "")
        print(Summary(command, [], cost=None, error=line).to_json())
    return code


def _interrupt(_signal: int, _frame: object) -> None:
    # Later signals must not break the clean-up that this one starts.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt
