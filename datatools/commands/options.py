"""Options that several verbs have, in groups, and the recipe that may hold them all.

    @app.command()
    @takes(asking, making)
    def verb(inputs: Inputs, out: Out, own: bool = False, **given: Any) -> int:

has its own options, then those of the groups, which reach it in `given`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

if TYPE_CHECKING:
    from datatools.engine.choice import Engine
    from datatools.report.progress import Progress
    from pipelines.ask_run import AskRun

Verb = TypeVar("Verb", bound=Callable[..., int])
Settings = TypeVar("Settings")

# Settings of a recipe alone, which no flag could hold: `[curate.thresholds.zh]` with `too_short = 60`.
TABLES = {"curate": ("thresholds",), "mix": ("sources",), "train": ("set",)}


def _with_recipe(context: typer.Context, path: Path | None) -> Path | None:
    """Make the options in a TOML file the defaults, before any other option is looked at: flags win over it.

    They stand in a table named after the verb or, for all verbs, at the top; dashes or underscores. Raises ValueError.
    """
    if path is None:
        return None
    import tomllib

    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"--recipe {path}: {error.strerror}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ValueError(f"--recipe {path}: {error}") from error
    verbs = getattr(context.find_root().command, "commands", {})
    tables = {name: found.pop(name) for name in verbs if isinstance(found.get(name), dict)}
    options = {**found, **tables.get(context.info_name, {})}
    apart = TABLES.get(str(context.info_name), ())
    context.meta["tables"] = {name: options.pop(name) for name in apart if name in options}
    names = {name.lstrip("-"): str(option.name) for option in context.command.params for name in option.opts}
    names = {name: kept for name, kept in names.items() if len(name) > 1 and kept != "recipe"}
    several = {one.name for one in context.command.params if getattr(one, "multiple", False) or one.nargs == -1}
    values: dict[str, Any] = {}
    for key, value in options.items():
        spelled = key.replace("_", "-")
        if spelled not in names:
            close = get_close_matches(spelled, names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(names))}"
            raise ValueError(f"--recipe {path}: {context.info_name} has no option {key}; {hint}")
        values[names[spelled]] = [value] if names[spelled] in several and isinstance(value, str) else value
    context.default_map = values
    # By these `run` decides how to end, whatever else goes wrong.
    context.obj += [f"--{name}" for name in ("json", "debug") if values.get(names[name]) is True]
    return path


Inputs = Annotated[list[str], typer.Argument(help="Files, folders, s3://… or hf:org/name.", metavar="INPUT...")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Parquet file to write; its work folder stands beside it.")]
Lexicon = Annotated[
    str | None, typer.Option("--lexicon", help="More names of herbs, formulas and drugs: one a line, or a table.")
]
Recipe = Annotated[
    Path | None,
    typer.Option(
        "--recipe", help="TOML file with any of these options; flags win over it.", is_eager=True, callback=_with_recipe
    ),
]
Workers = Annotated[int | None, typer.Option("--workers", help="Processes; all cores by default.", min=1)]
EngineName = Annotated[str, typer.Option("--engine", help="Where units run and models are asked from: local or ray.")]
RayAddress = Annotated[
    str, typer.Option("--ray-address", help="auto, HOST:PORT or ray://HOST:PORT; local starts one here.")
]
Limit = Annotated[int | None, typer.Option("--limit", help="Read only so many documents or rows.")]
Decontaminate = Annotated[
    list[str] | None, typer.Option("--decontaminate", help="File of exam items to keep out; repeatable.")
]
TextColumn = Annotated[
    str | None, typer.Option("--text-column", help="Column or key that holds the text; found when not given.")
]
SourceType = Annotated[
    str | None,
    typer.Option("--source-type", help="web, book, encyclopedia, literature, classic, consultation or other."),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over; replies already paid for are kept.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No plan line, no progress.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
Model = Annotated[str, typer.Option("--model", help="Name of the model at --base-url, or the built-in `rules`.")]
BaseUrl = Annotated[str | None, typer.Option("--base-url", help="OpenAI-compatible endpoint, up to and with /v1.")]
ApiKeyEnv = Annotated[str, typer.Option("--api-key-env", help="Environment variable that holds the key.")]
Concurrency = Annotated[
    int | None, typer.Option("--concurrency", help="Calls in flight from the start; found out when not given.", min=1)
]
Rpm = Annotated[float | None, typer.Option("--rpm", help="Requests a minute at most.", min=1)]
Tpm = Annotated[float | None, typer.Option("--tpm", help="Tokens a minute at most.", min=1)]
Budget = Annotated[float | None, typer.Option("--budget", help="What the job may cost, all its runs together.", min=0)]
PriceIn = Annotated[float | None, typer.Option("--price-in", help="Per million prompt tokens.", min=0)]
PriceOut = Annotated[float | None, typer.Option("--price-out", help="Per million completion tokens.", min=0)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it would cost and how long it would take.")]
Pilot = Annotated[
    int | None, typer.Option("--pilot", help="Ask about so many passages or rows, and estimate from them.", min=1)
]
Timeout = Annotated[float | None, typer.Option("--timeout", help="Seconds for one attempt, in all.", min=0.001)]
Attempts = Annotated[int | None, typer.Option("--attempts", help="Tries in all for one call.", min=1)]
Temperature = Annotated[float | None, typer.Option("--temperature", help="Sampling temperature.", min=0)]
ReasoningEffort = Annotated[
    str | None, typer.Option("--reasoning-effort", help="none, low, medium, high, … as the model takes it.")
]
Lane = Annotated[str, typer.Option("--lane", help="sync, or batch: provider's batch files, cheaper, within a day.")]
Poll = Annotated[float | None, typer.Option("--poll", help="Seconds between looks at a batch; 30 if not given.", min=0)]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Ask again for rows that failed for good.")]
NoModel = Annotated[str | None, typer.Option("--model", help="Name of the model at --base-url, or transformers:PATH.")]
JudgeModel = Annotated[
    str | None, typer.Option("--judge-model", help="Who judges; the model that writes where not given.")
]
JudgePriceIn = Annotated[
    float | None,
    typer.Option("--judge-price-in", help="The judge's price, where it has another than the writers.", min=0),
]
JudgePriceOut = Annotated[float | None, typer.Option("--judge-price-out", help="The same for its replies.", min=0)]
JudgeBaseUrl = Annotated[
    str | None, typer.Option("--judge-base-url", help="Where the judge is; where the writer is if not given.")
]
Prompts = Annotated[
    str | None, typer.Option("--prompts", help="Folder whose prompt files replace the shipped ones.", metavar="PATH")
]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", help="Of a reply, thinking included.", min=1)]
Run = Annotated[Path, typer.Argument(help="Folder of a training run, or of a model.", metavar="RUN")]


def making(
    recipe: Recipe = None,
    limit: Limit = None,
    seed: Seed = 0,
    fresh: Fresh = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Options of a verb that makes a file."""


def placed(engine: EngineName = "local", ray_address: RayAddress = "auto") -> None:
    """Options of a verb that can run on a cluster."""


def asking(
    base_url: BaseUrl = None,
    api_key_env: ApiKeyEnv = "OPENAI_API_KEY",
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
) -> None:
    """Options of a verb that asks a model."""


def takes(*groups: Callable[..., None]) -> Callable[[Verb], Verb]:
    """Give a verb the options of these groups besides its own, which win where both have one."""

    def with_groups(verb: Verb) -> Verb:
        """The verb itself, with a signature that typer reads all options from."""
        found: dict[str, Parameter] = {}
        sources: list[Callable[..., Any]] = [verb, *groups]
        for source in sources:
            hints = get_type_hints(source, include_extras=True)
            for name, one in signature(source).parameters.items():
                if one.kind is not Parameter.VAR_KEYWORD:
                    found.setdefault(name, one.replace(annotation=hints[name]))
        verb.__signature__ = Signature(list(found.values()))  # type: ignore[attr-defined]
        verb.__annotations__ = {name: one.annotation for name, one in found.items()}
        return verb

    return with_groups


def options_of(local: dict[str, Any]) -> dict[str, Any]:
    """All options by name, of what `locals()` holds where a verb begins; lists are tuples, and None where empty."""
    found = {**local, **local.get("given", {})}
    return {name: (tuple(value) or None) if isinstance(value, list) else value for name, value in found.items()}


def engine_of(values: dict[str, Any]) -> Engine:
    """The one place where a job is told where its units run."""
    from datatools.engine.choice import Engine

    return Engine(values["engine"], values.get("workers") or os.cpu_count() or 1, values["ray_address"])


def settled(kind: type[Settings], values: dict[str, Any]) -> tuple[Settings, AskRun, Progress]:
    """What a job that asks a model takes behind its files: its settings, how it is run, where progress goes."""
    from datatools.report.progress import Progress
    from pipelines.ask_run import AskRun, taken

    return taken(kind, values), taken(AskRun, values), Progress(quiet=values["quiet"])
