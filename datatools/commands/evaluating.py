"""Verbs that measure a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from datatools.commands.app import app
from datatools.commands.app import report as told
from datatools.commands.options import (
    AsJson,
    Debug,
    JudgeBaseUrl,
    MaxTokens,
    NoModel,
    Out,
    Quiet,
    asking,
    making,
    options_of,
    settled,
    takes,
)


@app.command("evaluate exam")
@takes(asking, making)
def evaluate_exam(
    inputs: Annotated[list[str], typer.Argument(help="Exam items: CMExam, CMB, MedQA, CMMLU, …", metavar="ITEMS...")],
    out: Out,
    model: NoModel = None,
    scoring: Annotated[
        str,
        typer.Option("--scoring", help="stated: the reply says the letter; schema: as JSON; logprobs: first token."),
    ] = "stated",
    shots: Annotated[int, typer.Option("--shots", help="Solved items shown before each.", min=0)] = 0,
    examples: Annotated[str | None, typer.Option("--examples", help="Items that --shots are taken from.")] = None,
    shuffles: Annotated[
        int, typer.Option("--shuffles", help="Ask again with the options in so many other orders.", min=0)
    ] = 0,
    train_data: Annotated[
        list[str] | None,
        typer.Option("--train-data", help="What the model learned from: marks leaked items; repeatable."),
    ] = None,
    max_tokens: MaxTokens = None,
    **given: Any,
) -> int:
    """Ask a model the items of an exam: accuracy with intervals, by type and subject."""
    values = options_of(locals())
    from pipelines.evaluate_exam import ExamSettings
    from pipelines.evaluate_exam import evaluate_exam as job

    return told(job(inputs, out, *settled(ExamSettings, values)), values["as_json"])


@app.command("evaluate ner")
@takes(asking, making)
def evaluate_ner(
    inputs: Annotated[
        list[str], typer.Argument(help="Annotated texts: CCKS-2019, CMeEE or BIO files.", metavar="TEXTS...")
    ],
    out: Out,
    model: NoModel = None,
    predictions: Annotated[
        str | None, typer.Option("--predictions", help="In place of a model: the same texts as it annotated them.")
    ] = None,
    max_tokens: MaxTokens = None,
    **given: Any,
) -> int:
    """Have a model find entities: precision, recall and F1, strict and relaxed."""
    values = options_of(locals())
    from pipelines.evaluate_ner import NerSettings
    from pipelines.evaluate_ner import evaluate_ner as job

    return told(job(inputs, out, *settled(NerSettings, values)), values["as_json"])


@app.command("evaluate text")
@takes(asking, making)
def evaluate_text(
    file: Annotated[str, typer.Argument(help="References: conversations, or a table of questions and answers.")],
    out: Out,
    model: NoModel = None,
    predictions: Annotated[
        str | None, typer.Option("--predictions", help="In place of a model: answers to the same questions.")
    ] = None,
    max_tokens: MaxTokens = None,
    **given: Any,
) -> int:
    """Compare answers with references: BLEU, ROUGE by characters for Chinese, distinct-n."""
    values = options_of(locals())
    from pipelines.evaluate_text import TextSettings
    from pipelines.evaluate_text import evaluate_text as job

    return told(job(file, out, *settled(TextSettings, values)), values["as_json"])


@app.command("evaluate pairwise")
@takes(asking, making)
def evaluate_pairwise(
    file_a: Annotated[
        str, typer.Argument(help="Answers of one model: conversations, or questions and answers.", metavar="A")
    ],
    file_b: Annotated[str, typer.Argument(help="Answers of the other to the same questions.", metavar="B")],
    out: Out,
    judge: Annotated[str | None, typer.Option("--judge", help="Name of the model at --base-url that judges.")] = None,
    again: Annotated[
        int, typer.Option("--again", help="Pairs judged once more: how the judge agrees with itself.")
    ] = 50,
    **given: Any,
) -> int:
    """Have a judge compare the answers of two models, in both orders."""
    values = options_of(locals())
    from pipelines.evaluate_pairwise import PairwiseSettings
    from pipelines.evaluate_pairwise import evaluate_pairwise as job

    values["model"] = judge
    return told(job(file_a, file_b, out, *settled(PairwiseSettings, values)), values["as_json"])


@app.command("evaluate consult")
@takes(asking, making)
def evaluate_consult(
    inputs: Annotated[list[str], typer.Argument(help="Patient cases, as `dialogue` reads them.", metavar="CASES...")],
    out: Out,
    model: NoModel = None,
    patient: Annotated[str | None, typer.Option("--patient", help="Who plays the patient.")] = None,
    patient_base_url: Annotated[
        str | None, typer.Option("--patient-base-url", help="Where the patient is; where the model is if not given.")
    ] = None,
    judge: Annotated[str | None, typer.Option("--judge", help="Who judges the consultations.")] = None,
    judge_base_url: JudgeBaseUrl = None,
    turns: Annotated[int, typer.Option("--turns", help="Exchanges at most.")] = 6,
    **given: Any,
) -> int:
    """Let a model treat simulated patients, and have a judge rate it on four axes."""
    values = options_of(locals())
    from pipelines.evaluate_consult import ConsultationSettings
    from pipelines.evaluate_consult import evaluate_consult as job

    return told(job(inputs, out, *settled(ConsultationSettings, values)), values["as_json"])


@app.command("run")
def run_recipe(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Recipe: a TOML file of stages.", metavar="RECIPE")],
    until: Annotated[str | None, typer.Option("--until", help="Stop behind this stage.", metavar="STAGE")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run, its price and time.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Run every stage anew; replies already paid for are kept.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Run the stages of a recipe: only what changed runs again."""
    from datatools.report.progress import Progress
    from pipelines.recipe import run_recipe as job

    progress = Progress(quiet=quiet)
    found = job(file, _verbs(context), progress, until=until, dry_run=dry_run, fresh=fresh)
    if found.error:
        print(f"datatools: {found.error}", file=sys.stderr)
    typer.echo(found.to_json() if as_json else found.to_text())
    return found.exit_code


def _verbs(context: typer.Context) -> dict[str, Any]:
    """What each verb takes, as a recipe is checked against it."""
    from pipelines.recipe_file import Verb

    found = {}
    for name, command in getattr(context.find_root().command, "commands", {}).items():
        options: dict[str, str] = {}
        required: list[str] = []
        arguments: list[str] = []
        negated: dict[str, str] = {}
        for one in command.params:
            long = next((option for option in one.opts if option.startswith("--")), "")
            if one.param_type_name == "argument":
                arguments += [one.name] if one.required else []
            elif long and long not in ("--recipe", "--help"):
                kind = "flag" if getattr(one, "is_flag", False) else "several" if one.multiple else "one"
                options[long[2:]] = kind
                required += [long[2:]] if one.required else []
                negated |= {long[2:]: off for off in one.secondary_opts}
        if "out" in options and name != "run":
            found[name] = Verb(tuple(arguments), options, tuple(required), negated)
    return found
