"""The command line: one thin function a verb. Parse, import late, call, print."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

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


Inputs = Annotated[list[str], typer.Argument(help="Files, folders or hf:org/name.", metavar="INPUT...")]
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
    int | None, typer.Option("--pilot", help="Ask about so many passages, and estimate from them; no more.", min=1)
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
Prompts = Annotated[Path | None, typer.Option("--prompts", help="Folder whose prompt files replace the shipped ones.")]

INTERRUPTED, GO_ON = 130, "interrupted; the same line again goes on where it stopped"


class Verbs(TyperGroup):
    """Verbs of one word or two: `train FILE` trains, `train merge RUN` is the command named "train merge"."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first words name, and the words behind it."""
        pair = " ".join(args[:2])
        return super().resolve_command(ctx, [pair, *args[2:]] if pair in self.commands else args)


app = typer.Typer(
    name="datatools",
    cls=Verbs,
    help="Medical text in, training data out, every row traceable.",
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
    values["workers"] = workers or os.cpu_count() or 1
    settings, run = settings_from(values)
    return _report(job(inputs, out, settings, run, Progress(quiet=quiet)), as_json)


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

    without_pandas()
    values["priority"] = tuple(name.strip() for name in priority.split(",")) if priority else None
    values["decontaminate"] = tuple(decontaminate or ()) or None
    settings = job.settings_from({**values, **context.meta.get("tables", {})})
    progress, processes = Progress(quiet=quiet), workers or os.cpu_count() or 1
    if reapply:
        if len(inputs) != 1:
            raise ValueError("--reapply: needs one INPUT, the work folder of a curate run")
        return _report(job.reapply(Path(inputs[0]), out, settings, progress, workers=processes), as_json)
    return _report(job.curate(inputs, out, settings, progress, workers=processes, fresh=fresh), as_json)


@app.command()
def prefer(
    file: Annotated[Path, typer.Argument(help="A file of conversations.")],
    out: Out,
    recipe: Recipe = None,
    negatives: Annotated[
        str, typer.Option("--negatives", help="rules: labelled corruptions, without a model.")
    ] = "rules",
    format: Annotated[str, typer.Option("--format", help="What trains on it: dpo, rm or kto.")] = "dpo",
    workers: Workers = None,
    limit: Limit = None,
    seed: Seed = 0,
    fresh: Fresh = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Make preference pairs of conversations: a good answer and a worse one."""
    from datatools.engine.startup import without_pandas
    from datatools.report.progress import Progress
    from pipelines.prefer import PreferSettings
    from pipelines.prefer import prefer as job

    without_pandas()
    settings = PreferSettings(negatives=negatives, format=format, limit=limit, seed=seed)
    processes = workers or os.cpu_count() or 1
    return _report(job(file, out, settings, Progress(quiet=quiet), workers=processes, fresh=fresh), as_json)


@app.command()
def dialogue(
    inputs: Inputs,
    out: Out,
    recipe: Recipe = None,
    model: NoModel = None,
    base_url: BaseUrl = None,
    api_key_env: ApiKeyEnv = "OPENAI_API_KEY",
    role: Annotated[str, typer.Option("--role", help="The clinician: doctor, nurse, pharmacist or tcm.")] = "doctor",
    turns: Annotated[str, typer.Option("--turns", help="Exchanges of a dialogue, MIN-MAX.")] = "3-8",
    mode: Annotated[
        str, typer.Option("--mode", help="turns: two agents talk; single: one structured call a dialogue.")
    ] = "turns",
    from_corpus: Annotated[
        bool, typer.Option("--from-corpus", help="INPUT holds articles: a model finds the facts of a case in each.")
    ] = False,
    from_kg: Annotated[
        bool, typer.Option("--from-kg", help="INPUT is a graph: symptoms of its diseases; works with --model rules.")
    ] = False,
    rewrite: Annotated[
        bool, typer.Option("--rewrite", help="INPUT holds real dialogues: rewrite the clinician's turns.")
    ] = False,
    with_system: Annotated[bool, typer.Option("--with-system", help="Begin with a system message.")] = False,
    concurrency: Concurrency = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    budget: Budget = None,
    temperature: Temperature = None,
    reasoning_effort: ReasoningEffort = None,
    timeout: Timeout = None,
    attempts: Attempts = None,
    lane: Lane = "sync",
    poll: Poll = None,
    retry_failed: RetryFailed = False,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    prompts: Prompts = None,
    limit: Limit = None,
    seed: Seed = 0,
    fresh: Fresh = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Turn patient cases into consultations of several turns."""
    values = locals()
    from datatools.report.progress import Progress
    from pipelines.ask_items import taken
    from pipelines.ask_run import AskRun
    from pipelines.dialogue import dialogue as job
    from pipelines.dialogue_settings import DialogueSettings

    chosen = [name for name in ("corpus", "kg") if values[f"from_{name}"]] + (["rewrite"] if rewrite else [])
    if len(chosen) > 1:
        raise ValueError("--from-corpus, --from-kg and --rewrite: choose one, each says what INPUT holds")
    values["source"] = chosen[0] if chosen else None
    values["prompts"] = str(prompts) if prompts else None
    settings, run = taken(DialogueSettings, values), taken(AskRun, values)
    return _report(job(inputs, out, settings, run, Progress(quiet=quiet)), as_json)


@app.command()
def consult(
    inputs: Inputs,
    out: Out,
    recipe: Recipe = None,
    model: NoModel = None,
    base_url: BaseUrl = None,
    api_key_env: ApiKeyEnv = "OPENAI_API_KEY",
    keep_human: Annotated[
        float | None,
        typer.Option("--keep-human", help="Judge human answers first, 1 to 5; those of this score or better stay."),
    ] = None,
    near_threshold: Annotated[
        float, typer.Option("--near-threshold", help="Jaccard of questions that are near duplicates.")
    ] = 0.8,
    concurrency: Concurrency = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    budget: Budget = None,
    temperature: Temperature = None,
    reasoning_effort: ReasoningEffort = None,
    timeout: Timeout = None,
    attempts: Attempts = None,
    lane: Lane = "sync",
    poll: Poll = None,
    retry_failed: RetryFailed = False,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    prompts: Prompts = None,
    limit: Limit = None,
    seed: Seed = 0,
    fresh: Fresh = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Answer real patients' questions, and keep the good answers of humans."""
    values = locals()
    from datatools.report.progress import Progress
    from pipelines.ask_items import taken
    from pipelines.ask_run import AskRun
    from pipelines.consult import ConsultSettings
    from pipelines.consult import consult as job

    values["prompts"] = str(prompts) if prompts else None
    settings, run = taken(ConsultSettings, values), taken(AskRun, values)
    return _report(job(inputs, out, settings, run, Progress(quiet=quiet)), as_json)


@app.command()
def tcm(
    graph: Annotated[str, typer.Argument(help="Graph: a file or folder of TSV, CSV, JSON Lines, JSON or parquet.")],
    out: Out,
    recipe: Recipe = None,
    model: Annotated[str, typer.Option("--model", help="The built-in `rules`.")] = "rules",
    per_entity: Annotated[int, typer.Option("--per-entity", help="Questions about every entity, at least.")] = 4,
    types: Annotated[
        str | None, typer.Option("--types", help="Types of entities to ask about, such as 方剂,中药; all by default.")
    ] = None,
    tasks: Annotated[
        str | None, typer.Option("--tasks", help="Of cloze,choice,true_false,matching,chain; all by default.")
    ] = None,
    lexicon: Lexicon = None,
    workers: Workers = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Ask about only so many entities.")] = None,
    seed: Seed = 0,
    fresh: Fresh = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Turn a knowledge graph of Chinese medicine into questions and answers."""
    values = locals()
    from datatools.report.progress import Progress
    from pipelines import tcm as job

    for name in ("types", "tasks"):
        values[name] = tuple(word.strip() for word in values[name].split(",")) if values[name] else None
    settings, processes = job.settings_from(values), workers or os.cpu_count() or 1
    return _report(job.tcm(graph, out, settings, Progress(quiet=quiet), workers=processes, fresh=fresh), as_json)


@app.command()
def check(
    file: Annotated[str, typer.Argument(help="Conversations: parquet, JSON Lines, JSON, CSV, …")],
    out: Out,
    recipe: Recipe = None,
    graph: Annotated[str | None, typer.Option("--graph", help="Graph that claims are held against.")] = None,
    lexicon: Lexicon = None,
    workers: Workers = None,
    limit: Limit = None,
    seed: Seed = 0,
    fresh: Fresh = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Check conversations without a model: numbers, names, doses, incompatible herbs, leaks, red flags."""
    values = locals()
    from datatools.report.progress import Progress
    from pipelines import check as job

    settings, processes = job.settings_from(values), workers or os.cpu_count() or 1
    return _report(job.check(file, out, settings, Progress(quiet=quiet), workers=processes, fresh=fresh), as_json)


@app.command()
def mix(
    context: typer.Context,
    out: Out,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Parquet files of the same records, each with its options behind a colon: "
            "web.parquet:priority=16,weight=2,epochs=3,tokens=20M,name=web.",
            metavar="INPUT...",
        ),
    ] = None,
    recipe: Recipe = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="Of the whole mixture at most: 500k, 20M, 1.5B.")
    ] = None,
    workers: Workers = None,
    limit: Limit = None,
    seed: Seed = 0,
    fresh: Fresh = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Mix files for training: so much of each, the one earlier, the other later."""
    from datatools.engine.startup import without_pandas
    from datatools.mix.parts import from_table, parse, tokens_of
    from datatools.report.progress import Progress
    from pipelines.mix import MixSettings
    from pipelines.mix import mix as job

    without_pandas()
    parts = [parse(text) for text in inputs or ()]
    for number, table in enumerate(() if parts else context.meta.get("tables", {}).get("sources", ()), 1):
        parts.append(from_table(table, f"--recipe {recipe}: sources, number {number}"))
    budget = None if tokens is None else tokens_of(tokens, "--tokens")
    settings = MixSettings(tuple(parts), budget, limit, seed)
    progress, processes = Progress(quiet=quiet), workers or os.cpu_count() or 1
    return _report(job(settings, out, progress, workers=processes, fresh=fresh), as_json)


@app.command()
def train(
    context: typer.Context,
    inputs: Annotated[
        list[str], typer.Argument(help="Parquet or JSON Lines, in the order of training.", metavar="FILE...")
    ],
    model: Annotated[str, typer.Option("--model", help="Folder or id of the model to train.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run: checkpoints, then the model.")],
    recipe: Recipe = None,
    stage: Annotated[
        str | None,
        typer.Option("--stage", help="pt, sft, dpo, orpo, kto, rm, grpo or rloo; by the columns if not given."),
    ] = None,
    method: Annotated[str, typer.Option("--method", help="full, lora, qlora or dora; auto by the memory.")] = "auto",
    template: Annotated[
        str | None, typer.Option("--template", help="Chat template: chatml, or a file; the model's own if not given.")
    ] = None,
    epochs: Annotated[float | None, typer.Option("--epochs", help="Times that every row is seen.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="At its highest.")] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Rows of a step, not packed; by tokens if not given.")
    ] = None,
    max_steps: Annotated[int | None, typer.Option("--max-steps", help="Steps in all, in place of --epochs.")] = None,
    save_steps: Annotated[int | None, typer.Option("--save-steps", help="Steps between checkpoints.")] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", help="Tokens of the longest row; 99.5 % of the rows fit if not given.")
    ] = None,
    too_long: Annotated[
        str, typer.Option("--too-long", help="Longer rows: cut behind an answer that still fits, or drop.")
    ] = "cut",
    pack: Annotated[bool, typer.Option("--pack/--no-pack", help="Rows share a pack, apart by masks.")] = True,
    attention: Annotated[
        str, typer.Option("--attention", help="sdpa, eager, varlen or flash_attention_2; auto by the device.")
    ] = "auto",
    lora_rank: Annotated[int, typer.Option("--lora-rank", help="Rank of the adapter.", min=1)] = 16,
    neftune: Annotated[float | None, typer.Option("--neftune", help="Noise on embeddings, such as 5.")] = None,
    rope_scaling: Annotated[
        str | None, typer.Option("--rope-scaling", help="Longer context, KIND:FACTOR such as yarn:4.")
    ] = None,
    general: Annotated[
        list[str] | None, typer.Option("--general", help="File of general rows to spread among the others; repeatable.")
    ] = None,
    general_share: Annotated[float, typer.Option("--general-share", help="Their share of all rows.")] = 0.1,
    reward: Annotated[
        list[str] | None,
        typer.Option("--reward", help="For grpo, rloo: exam, format, checks or a reward model's folder; repeatable."),
    ] = None,
    launch: Annotated[
        str, typer.Option("--launch", help="Several GPUs: ddp, fsdp2, zero2 or zero3; auto by the memory.")
    ] = "auto",
    processes: Annotated[int | None, typer.Option("--processes", help="One a GPU; all GPUs if not given.")] = None,
    report_to: Annotated[
        list[str] | None, typer.Option("--report-to", help="Tracker: wandb, tensorboard, …; repeatable.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="NAME=VALUE of the stage's own configuration; repeatable.")
    ] = None,
    inspect: Annotated[
        int | None, typer.Option("--inspect", help="Show so many rows, what is learned of them marked; no more.", min=1)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would do, and stop.")] = False,
    limit: Limit = None,
    seed: Seed = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over: remove what an earlier run left.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Train a model on texts, conversations, preferences or prompts."""
    values = locals()
    from datatools.report.progress import Progress
    from trainers import run as job
    from trainers.settings import assignments, settings_from

    values["out"], values["rewards"] = str(out), reward
    values["set"] = {**context.meta.get("tables", {}).get("set", {}), **assignments(set_ or [])}
    settings = settings_from(values)
    if inspect:
        typer.echo(job.inspect(settings, inspect))
        return 0
    made = job.train(settings, Progress(quiet=quiet), list(context.obj), fresh=fresh, dry_run=dry_run)
    return _report(made, as_json)


Run = Annotated[Path, typer.Argument(help="Folder of a training run, or of a model.", metavar="RUN")]


@app.command("train merge")
def train_merge(
    run: Run,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Merge a run's adapter into its base model."""
    from trainers.merge import merge as job

    return _report(job(run, out), as_json)


@app.command("train export")
def train_export(
    run: Run,
    to: Annotated[str, typer.Option("--to", help="safetensors, ollama or gguf.")] = "safetensors",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder to write; RUN/TO when not given.")] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Write a run's model as other programs load it."""
    from trainers.export import export as job

    return _report(job(run, to, out), as_json)


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


@app.command()
def report(
    file: Annotated[Path, typer.Argument(help="The X.parquet a job wrote, or its X.work folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML page to write.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Write what a job did as one HTML page."""
    from pipelines.report import report as job

    return _report(job(file, out), as_json)


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


def _report(summary: Any, as_json: bool) -> int:
    """Print the summary; its exit code, with one line where something failed."""
    if summary.failed:
        counts = ", ".join(f"{kind} {count:,}" for kind, count in summary.failed.items())
        again = "; --retry-failed asks again" if summary.failed_rows else ""
        summary.error = f"done, but some failed ({counts}): see {summary.failed_rows or summary.trace}{again}"
        print(f"datatools: {summary.error}", file=sys.stderr)
    typer.echo(summary.to_json() if as_json else summary.to_text())
    return int(summary.exit_code)


def main() -> NoReturn:
    """Entry point of the console script: run a verb, turn every end into an exit code and one line."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    signal.signal(signal.SIGTERM, _interrupt)
    arguments = sys.argv[1:] or ["--help"]
    sys.exit(run(lambda: app(arguments, standalone_mode=False, prog_name="datatools", obj=arguments), arguments))


def run(verb: Callable[[], Any], arguments: list[str]) -> int:
    """Call a verb; its exit code, with the one line that says what to do next where it is not 0."""
    done: Any = None  # what the job had done until it was stopped
    try:
        result = verb()
        if result != INTERRUPTED:
            return result if isinstance(result, int) else 0
        code, line = INTERRUPTED, GO_ON  # typer makes a return value of Ctrl-C
    except Exception as error:
        code, line = _explained(error)
        done = getattr(error, "summary", None)
        if "--debug" in arguments:
            import traceback

            traceback.print_exc()
    except KeyboardInterrupt:
        code, line = INTERRUPTED, GO_ON
    return _failed(code, line, arguments, done)


def _explained(error: Exception) -> tuple[int, str]:
    """Exit code and line for an exception: what happened, where, what to do."""
    if isinstance(error, typer.Abort):
        return INTERRUPTED, GO_ON
    if hasattr(error, "format_message"):  # a usage error of click, which typer may carry within itself
        return 2, f"{error.format_message()} (datatools --help shows what there is)"
    if type(error).__name__ == "Stopped" and type(error).__module__ == "datatools.llm.errors":
        kind = getattr(error, "failure").kind  # noqa: B009 # the class is not imported: it brings openai along
        if kind == "interrupted":
            return INTERRUPTED, f"{error}; the same line again goes on where it stopped"
        larger = " with a larger --budget" if kind == "budget" else " again"
        return 4, f"stopped: {error}; the same line{larger} goes on where it stopped"
    if isinstance(error, ValueError):
        return 2, str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return 2, f"{where}{error.strerror or error}; nothing half-written was left, the same line again goes on"
    if type(error).__name__ == "BrokenProcessPool":
        return 2, "a worker process died, most likely for want of memory; the same line with fewer --workers goes on"
    return 1, f"a bug: {type(error).__name__}: {error}; --debug shows where"


def _failed(code: int, line: str, arguments: list[str], done: Any = None) -> int:
    line = " ".join(line.split())
    print(f"datatools: {line}", file=sys.stderr)
    if "--json" in arguments:
        from datatools.report.summary import Summary

        command = next((argument for argument in arguments if not argument.startswith("-")), "")
        summary = done or Summary(command, [], cost=None)
        summary.error = line
        print(summary.to_json())
    return code


def _interrupt(_signal: int, _frame: object) -> None:
    # Later signals must not break the clean-up that this one starts.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt
