"""Verbs that make conversations and preferences."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from datatools.commands.app import app
from datatools.commands.app import report as told
from datatools.commands.options import (
    Decontaminate,
    Inputs,
    JudgeBaseUrl,
    JudgeModel,
    JudgePriceIn,
    JudgePriceOut,
    Lexicon,
    Model,
    NoModel,
    Out,
    Workers,
    asking,
    engine_of,
    making,
    options_of,
    placed,
    settled,
    takes,
)


@app.command()
@takes(asking, placed, making)
def prefer(
    file: Annotated[str, typer.Argument(help="Conversations: parquet, JSON Lines, JSON, CSV, …")],
    out: Out,
    negatives: Annotated[
        str | None, typer.Option("--negatives", help="rules: labelled corruptions; so without --model.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Who writes candidates, NAME or NAME@URL; repeatable.")
    ] = None,
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
    temperature: Annotated[
        list[float] | None, typer.Option("--temperature", help="Of the candidates; repeatable, taken in turn.", min=0)
    ] = None,
    decontaminate: Decontaminate = None,
    workers: Workers = None,
    **given: Any,
) -> int:
    """Make preference pairs of conversations: a good answer and a worse one."""
    values = options_of(locals())
    from datatools.engine.startup import without_pandas

    without_pandas()
    from pipelines.prefer import prefer as job
    from pipelines.prefer_settings import PreferSettings

    if negatives not in (None, "rules"):
        raise ValueError(f"--negatives {negatives}: must be rules")
    if negatives and model:
        raise ValueError("--negatives rules: needs no --model; with one, a judge says what is worse")
    del values["model"]
    values["models"], values["temperatures"], values["temperature"] = tuple(model or ()), tuple(temperature or ()), None
    values["engine"] = engine_of(values)
    return told(job(file, out, *settled(PreferSettings, values)), values["as_json"])


@app.command()
@takes(asking, placed, making)
def dialogue(
    inputs: Inputs,
    out: Out,
    model: NoModel = None,
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
    decontaminate: Decontaminate = None,
    **given: Any,
) -> int:
    """Turn patient cases into consultations of several turns."""
    values = options_of(locals())
    from pipelines.dialogue import dialogue as job
    from pipelines.dialogue_settings import DialogueSettings

    chosen = [name for name in ("corpus", "kg") if values[f"from_{name}"]] + (["rewrite"] if rewrite else [])
    if len(chosen) > 1:
        raise ValueError("--from-corpus, --from-kg and --rewrite: choose one, each says what INPUT holds")
    values["source"] = chosen[0] if chosen else None
    values["engine"] = engine_of(values)
    return told(job(inputs, out, *settled(DialogueSettings, values)), values["as_json"])


@app.command()
@takes(asking, placed, making)
def consult(
    inputs: Inputs,
    out: Out,
    model: NoModel = None,
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
    decontaminate: Decontaminate = None,
    **given: Any,
) -> int:
    """Answer real patients' questions, and keep the good answers of humans."""
    values = options_of(locals())
    from pipelines.consult import ConsultSettings
    from pipelines.consult import consult as job

    values["engine"] = engine_of(values)
    return told(job(inputs, out, *settled(ConsultSettings, values)), values["as_json"])


@app.command()
@takes(asking, placed, making)
def tcm(
    graph: Annotated[str, typer.Argument(help="Graph: a file or folder of TSV, CSV, JSON Lines, JSON or parquet.")],
    out: Out,
    model: Model = "rules",
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
    decontaminate: Decontaminate = None,
    workers: Workers = None,
    limit: Annotated[int | None, typer.Option("--limit", help="Ask about only so many entities.")] = None,
    **given: Any,
) -> int:
    """Turn a knowledge graph of Chinese medicine into questions and answers."""
    values = options_of(locals())
    from datatools.report.progress import Progress
    from pipelines import tcm as job

    for name in ("types", "tasks"):
        values[name] = tuple(word.strip() for word in values[name].split(",")) if values[name] else None
    values["engine"] = where = engine_of(values)
    if model != "rules":
        from pipelines.tcm_ask import tcm_ask
        from pipelines.tcm_write import TcmAskSettings

        return told(tcm_ask(graph, out, *settled(TcmAskSettings, values)), values["as_json"])
    if values["dry_run"] or values["pilot"] is not None:
        raise ValueError("--dry-run, --pilot: need --model NAME; the rules cost nothing")
    settings, progress = job.settings_from(values), Progress(quiet=values["quiet"])
    return told(job.tcm(graph, out, settings, progress, engine=where, fresh=values["fresh"]), values["as_json"])
