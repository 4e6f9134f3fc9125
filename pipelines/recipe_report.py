"""The page of a recipe: the funnel from the bytes that were read to the score, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datatools.io.atomic import atomic_path
from datatools.report.evaluation import evaluation_tables
from datatools.report.facts import Facts, Step, Table
from datatools.report.page import page, size
from pipelines.recipe_file import IN_PROCESS, Recipe, Stage

MAKES = ("crawl", "curate", "unify", "dialogue", "consult", "tcm", "prefer", "mix")
UNITS = {"curate": "documents", "crawl": "documents"}


def write_page(recipe: Recipe, stages: Sequence[Stage], state: Mapping[str, Any]) -> Path:
    """Write `report.html` beside the outputs."""
    rows = [_row(stage, state.get(stage.name, {})) for stage in stages]
    read = _bytes_read(stages)
    table = Table(
        "Stages",
        ("stage", "verb", "read", "written", "left out", "failed", "calls", "tokens", "cost", "seconds", "output"),
        tuple(rows),
        f"{size(read)} read from outside the recipe. Seconds are those of the run that made the output.",
    )
    commands = Table("Command lines", ("stage", "command"), tuple((s.name, " ".join(s.shown(recipe))) for s in stages))
    evaluated = [stage.out for stage in stages if (stage.verb or "").startswith("evaluate") and stage.out.is_file()]
    tables, bars = evaluation_tables(evaluated) if evaluated else ((), ())
    facts = Facts(
        name=recipe.path.name,
        command="run",
        written_at=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        inputs=tuple(sorted(_outside(stages))),
        funnel=tuple(_steps(stages, state)),
        tables=(table, *tables, commands),
        bars=bars,
    )
    path = recipe.out / "report.html"
    with atomic_path(path) as temporary:
        temporary.write_text(page(facts), encoding="utf-8")
    return path


def _row(stage: Stage, known: Mapping[str, Any]) -> tuple[Any, ...]:
    told = known.get("summary") or {}
    requests, tokens = told.get("requests_total") or {}, told.get("tokens") or {}
    return (
        stage.name,
        stage.verb or "command",
        told.get("rows_read"),
        told.get("rows_written"),
        sum((told.get("dropped") or {}).values()),
        sum((told.get("failed") or {}).values()),
        requests.get("sent"),
        sum(tokens.values()),
        told.get("cost"),
        known.get("seconds"),
        stage.result.name,
    )


def _steps(stages: Sequence[Stage], state: Mapping[str, Any]) -> list[Step]:
    """Stages that make rows, as the funnel of the page shows them."""
    steps = []
    for stage in stages:
        told = state.get(stage.name, {}).get("summary") or {}
        if stage.verb in MAKES and told.get("rows_read"):
            unit = UNITS.get(stage.verb or "", "rows")
            made_of = "" if stage.verb in UNITS else "documents" if stage.verb == "unify" else "inputs"
            dropped = sum((told.get("dropped") or {}).values())
            seconds = state[stage.name].get("seconds")
            steps.append(
                Step(stage.name, told["rows_read"], told["rows_written"], dropped, unit, made_of, None, seconds)
            )
    return steps


def _outside(stages: Sequence[Stage]) -> set[str]:
    """Files and folders that no stage made."""
    texts = {text.removeprefix(IN_PROCESS) for stage in stages for text in stage.texts() if "{" not in text}
    return {text for text in texts if Path(text).exists()}


def _bytes_read(stages: Sequence[Stage]) -> int:
    paths = [Path(name) for name in _outside(stages)]
    files = [one for path in paths for one in (path.rglob("*") if path.is_dir() else [path]) if one.is_file()]
    return sum(one.stat().st_size for one in files)
