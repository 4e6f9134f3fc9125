"""Verbs that train a model, and what goes before and after."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from datatools.commands.app import app
from datatools.commands.app import report as told
from datatools.commands.options import (
    AsJson,
    Debug,
    Out,
    Run,
    Workers,
    making,
    options_of,
    takes,
)


@app.command()
@takes(making)
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
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="Of the whole mixture at most: 500k, 20M, 1.5B.")
    ] = None,
    workers: Workers = None,
    **given: Any,
) -> int:
    """Mix files for training: so much of each, the one earlier, the other later."""
    values = options_of(locals())
    from datatools.engine.startup import without_pandas
    from datatools.mix.parts import from_table, parse, tokens_of
    from datatools.report.progress import Progress
    from pipelines.mix import MixSettings
    from pipelines.mix import mix as job

    without_pandas()
    parts = [parse(text) for text in inputs or ()]
    listed = [] if parts else context.meta.get("tables", {}).get("sources", [])
    if not isinstance(listed, list) or not all(isinstance(table, dict) for table in listed):
        raise ValueError(f"--recipe {values['recipe']}: sources must be tables, [[mix.sources]]")
    for number, table in enumerate(listed, 1):
        parts.append(from_table(table, f"--recipe {values['recipe']}: sources, number {number}"))
    budget = None if tokens is None else tokens_of(tokens, "--tokens")
    settings = MixSettings(tuple(parts), budget, values["limit"], values["seed"])
    progress, processes = Progress(quiet=values["quiet"]), workers or os.cpu_count() or 1
    return told(job(settings, out, progress, workers=processes, fresh=values["fresh"]), values["as_json"])


@app.command()
@takes(making)
def train(
    context: typer.Context,
    inputs: Annotated[
        list[str], typer.Argument(help="Parquet or JSON Lines, in the order of training.", metavar="FILE...")
    ],
    model: Annotated[str, typer.Option("--model", help="Folder or id of the model to train.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run: checkpoints, then the model.")],
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
    extend_vocab: Annotated[
        str | None, typer.Option("--extend-vocab", help="Parquet of texts to train new tokens on.")
    ] = None,
    new_tokens: Annotated[int, typer.Option("--new-tokens", help="How many new tokens at most.", min=1)] = 2000,
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
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over: remove what an earlier run left.")] = False,
    **given: Any,
) -> int:
    """Train a model on texts, conversations, preferences or prompts."""
    values = options_of(locals())
    from datatools.report.progress import Progress
    from trainers import run as job
    from trainers.settings import assignments, settings_from

    values["out"], values["rewards"] = str(out), reward
    values["set"] = {**context.meta.get("tables", {}).get("set", {}), **assignments(set_ or [])}
    settings = settings_from(values)
    if inspect:
        typer.echo(job.inspect(settings, inspect))
        return 0
    made = job.train(settings, Progress(quiet=values["quiet"]), list(context.obj), fresh=fresh, dry_run=dry_run)
    return told(made, values["as_json"])


@app.command("train merge")
def train_merge(
    run: Run,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> int:
    """Merge a run's adapter into its base model."""
    from trainers.merge import merge as job

    return told(job(run, out), as_json)


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

    return told(job(run, to, out), as_json)


@app.command()
@takes(making)
def chat(
    run: Annotated[str, typer.Argument(help="Folder of a training run or a model, or a model's id.", metavar="RUN")],
    input: Annotated[
        Path | None, typer.Option("--input", help="Answer this file instead: JSON Lines of `question` or `messages`.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Parquet file for the answers to --input.")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve it with vLLM or `transformers serve`.")] = False,
    server: Annotated[str, typer.Option("--server", help="auto, vllm or transformers.")] = "auto",
    host: Annotated[str, typer.Option("--host", help="Address to serve at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port to serve at.", min=0, max=65535)] = 8000,
    system: Annotated[str | None, typer.Option("--system", help="System message.")] = None,
    temperature: Annotated[float, typer.Option("--temperature", help="0 is greedy.", min=0)] = 0.0,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", help="Of an answer at most; 1,024 when not given.", min=1)
    ] = None,
    **given: Any,
) -> int:
    """Talk to a trained model, let it answer a file, or serve it."""
    values = options_of(locals())
    if (input is None) != (out is None):
        raise ValueError("--input and --out go together: the questions, and the parquet file for the answers")
    if serve and input is not None:
        raise ValueError("--serve and --input: choose one")
    if serve or input is None:
        from trainers import chat as talk

        if serve:
            talk.serve(run, server=server, host=host, port=port)
        most = max_tokens or 1024
        talk.chat(
            run, system=system, temperature=temperature, max_tokens=most, seed=values["seed"], quiet=values["quiet"]
        )
        return 0
    from datatools.report.progress import Progress
    from trainers.predict import PredictSettings, predict

    assert out is not None
    settings = PredictSettings(run, system, temperature, max_tokens, values["limit"], values["seed"])
    made = predict(settings, input, out, Progress(quiet=values["quiet"]), fresh=values["fresh"])
    return told(made, values["as_json"])
