"""Verbs that make conversations and preferences."""

from __future__ import annotations

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
    JudgeBaseUrl,
    JudgeModel,
    JudgePriceIn,
    JudgePriceOut,
    Lane,
    Lexicon,
    Limit,
    Model,
    NoModel,
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
    Temperature,
    Timeout,
    Tpm,
    Workers,
    engine_of,
)


@app.command()
def prefer(
    file: Annotated[str, typer.Argument(help="Conversations: parquet, JSON Lines, JSON, CSV, …")],
    out: Out,
    recipe: Recipe = None,
    negatives: Annotated[
        str | None, typer.Option("--negatives", help="rules: labelled corruptions; so without --model.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Who writes candidates, NAME or NAME@URL; repeatable.")
    ] = None,
    base_url: BaseUrl = None,
    api_key_env: ApiKeyEnv = "OPENAI_API_KEY",
    candidates: Annotated[int, typer.Option("--candidates", help="Answers compared, the row's own among them.")] = 4,
    judge_model: JudgeModel = None,
    judge_base_url: JudgeBaseUrl = None,
    judge_price_in: JudgePriceIn = None,
    judge_price_out: JudgePriceOut = None,
    margin: Annotated[
        float, typer.Option("--margin", help="Points of 10 that the judge must see between the two, in both orders.")
    ] = 1.0,
    graph: Annotated[
        str | None, typer.Option("--graph", help="Graph that claims are held against, and wrong formulas come from.")
    ] = None,
    lexicon: Lexicon = None,
    format: Annotated[str, typer.Option("--format", help="What trains on it: dpo, rm or kto.")] = "dpo",
    concurrency: Concurrency = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    budget: Budget = None,
    price_in: PriceIn = None,
    price_out: PriceOut = None,
    dry_run: DryRun = False,
    pilot: Pilot = None,
    temperature: Annotated[
        list[float] | None, typer.Option("--temperature", help="Of the candidates; repeatable, taken in turn.", min=0)
    ] = None,
    reasoning_effort: ReasoningEffort = None,
    timeout: Timeout = None,
    attempts: Attempts = None,
    lane: Lane = "sync",
    poll: Poll = None,
    retry_failed: RetryFailed = False,
    prompts: Prompts = None,
    decontaminate: Decontaminate = None,
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
    """Make preference pairs of conversations: a good answer and a worse one."""
    values = locals()
    from datatools.engine.startup import without_pandas

    without_pandas()
    from datatools.report.progress import Progress
    from pipelines.ask_run import AskRun, taken
    from pipelines.prefer import prefer as job
    from pipelines.prefer_settings import PreferSettings

    if negatives not in (None, "rules"):
        raise ValueError(f"--negatives {negatives}: must be rules")
    if negatives and model:
        raise ValueError("--negatives rules: needs no --model; with one, a judge says what is worse")
    del values["model"]
    values["models"], values["temperatures"], values["temperature"] = tuple(model or ()), tuple(temperature or ()), None
    values["decontaminate"] = tuple(decontaminate or ())
    values["prompts"] = str(prompts) if prompts else None
    values["engine"] = engine_of(engine, workers, ray_address)
    settings, run = taken(PreferSettings, values), taken(AskRun, values)
    return told(job(file, out, settings, run, Progress(quiet=quiet)), as_json)


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
    dry_run: DryRun = False,
    pilot: Pilot = None,
    prompts: Prompts = None,
    decontaminate: Decontaminate = None,
    engine: EngineName = "local",
    ray_address: RayAddress = "auto",
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
    values["decontaminate"] = tuple(decontaminate or ())
    values["prompts"] = str(prompts) if prompts else None
    values["engine"] = engine_of(engine, None, ray_address)
    settings, run = taken(DialogueSettings, values), taken(AskRun, values)
    return told(job(inputs, out, settings, run, Progress(quiet=quiet)), as_json)


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
    judge_model: JudgeModel = None,
    judge_base_url: JudgeBaseUrl = None,
    judge_price_in: JudgePriceIn = None,
    judge_price_out: JudgePriceOut = None,
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
    dry_run: DryRun = False,
    pilot: Pilot = None,
    prompts: Prompts = None,
    decontaminate: Decontaminate = None,
    engine: EngineName = "local",
    ray_address: RayAddress = "auto",
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

    values["decontaminate"] = tuple(decontaminate or ())
    values["prompts"] = str(prompts) if prompts else None
    values["engine"] = engine_of(engine, None, ray_address)
    settings, run = taken(ConsultSettings, values), taken(AskRun, values)
    return told(job(inputs, out, settings, run, Progress(quiet=quiet)), as_json)


@app.command()
def tcm(
    graph: Annotated[str, typer.Argument(help="Graph: a file or folder of TSV, CSV, JSON Lines, JSON or parquet.")],
    out: Out,
    recipe: Recipe = None,
    model: Model = "rules",
    base_url: BaseUrl = None,
    api_key_env: ApiKeyEnv = "OPENAI_API_KEY",
    per_entity: Annotated[int, typer.Option("--per-entity", help="Questions about every entity, at least.")] = 4,
    types: Annotated[
        str | None, typer.Option("--types", help="Types of entities to ask about, such as 方剂,中药; all by default.")
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option("--tasks", help="Of cloze,choice,true_false,matching,chain; with a model see docs/tcm.md."),
    ] = None,
    language: Annotated[str, typer.Option("--language", help="What a model writes in: zh or en.")] = "zh",
    lexicon: Lexicon = None,
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
    decontaminate: Decontaminate = None,
    workers: Workers = None,
    engine: EngineName = "local",
    ray_address: RayAddress = "auto",
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
    values["decontaminate"] = tuple(decontaminate or ())
    values["engine"] = where = engine_of(engine, workers, ray_address)
    if model != "rules":
        from pipelines.ask_items import taken
        from pipelines.ask_run import AskRun
        from pipelines.tcm_ask import tcm_ask
        from pipelines.tcm_write import TcmAskSettings

        values["prompts"] = str(prompts) if prompts else None
        asked, run = taken(TcmAskSettings, values), taken(AskRun, values)
        return told(tcm_ask(graph, out, asked, run, Progress(quiet=quiet)), as_json)
    if dry_run or pilot is not None:
        raise ValueError("--dry-run, --pilot: need --model NAME; the rules cost nothing")
    settings = job.settings_from(values)
    return told(job.tcm(graph, out, settings, Progress(quiet=quiet), engine=where, fresh=fresh), as_json)
