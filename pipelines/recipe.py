"""`datatools run recipe.toml`: stages whose inputs are other stages' outputs; only what changed runs again.

A stage is a verb with its options, run as the command line it stands for, or any other program. What a stage was made
from (the content of its inputs, its settings) stands in `recipe.json` beside the outputs; timestamps count for nothing.
A stage that was killed goes on where it stopped: each verb resumes by itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datatools.engine.work import hold
from datatools.io.atomic import atomic_path
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.recipe_child import ran
from pipelines.recipe_digest import digest
from pipelines.recipe_estimate import price_of
from pipelines.recipe_file import Recipe, Stage, Verb, read_recipe

DONE_WITH_FAILURES = 3


@dataclass
class RecipeSummary(Summary):
    """A summary of stages; the exit code is that of the stage that ended the run."""

    code: int = 0
    stages: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """That of the last stage that ran, or 3 where an earlier one left some rows out."""
        return self.code

    def to_json(self) -> str:
        """As every summary, with what became of each stage under `stages`."""
        values = json.loads(super().to_json())
        del values["code"]
        return json.dumps(values, ensure_ascii=False)

    def to_text(self) -> str:
        """A line a stage."""
        return "\n".join([*self.notes, *([f"  report   {self.output}"] if self.output else [])])


@dataclass
class Plan:
    """What is to be done with a stage: `why` is empty where nothing is."""

    stage: Stage
    made_from: dict[str, Any]
    why: str
    fresh: bool = False
    waits_for: tuple[str, ...] = ()  # stages whose new output it is made from


def run_recipe(
    path: Path, verbs: Mapping[str, Verb], progress: Progress, *, until: str | None, dry_run: bool, fresh: bool
) -> RecipeSummary:
    """Run the stages of a recipe in the order in which they need each other; a dry run says what would be done.

    Raises ValueError for a recipe that cannot work, before anything runs.
    """
    began = time.monotonic()
    recipe = read_recipe(path, verbs)
    stages = recipe.until(until)
    summary = RecipeSummary("run", [str(path)], rows_read=len(stages), unit="stages", work=str(recipe.out))
    if dry_run:
        _planned(recipe, stages, summary)
    else:
        with hold(recipe.out):
            _run(recipe, stages, summary, progress, fresh=fresh)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def _run(recipe: Recipe, stages: Sequence[Stage], summary: RecipeSummary, progress: Progress, *, fresh: bool) -> None:
    state = _state(recipe)
    for number, stage in enumerate(stages, 1):
        plan = _plan(recipe, stage, state, set())
        if fresh and not plan.why:
            plan = Plan(stage, plan.made_from, "--fresh", fresh=True)
        label = f"[{number}/{len(stages)}] {stage.name}"
        if not plan.why:
            progress.say(f"{label}: nothing to do")
            summary.stages[stage.name] = {**state[stage.name], "ran": False}
            continue
        progress.say(f"{label}: {plan.why}; {' '.join(stage.shown(recipe))}")
        state[stage.name] = {**state.get(stage.name, {}), "begun": plan.made_from, "done": None}
        _keep(recipe, state)
        ended = ran(stage.command(recipe, fresh=plan.fresh or fresh), as_json=stage.verb is not None)
        if ended.code not in (0, DONE_WITH_FAILURES):
            summary.code, summary.error = ended.code, f"stage {stage.name}: {ended.said}"
            summary.notes = [*_lines(summary, stages), f"  {stage.name}: stopped ({ended.said})"]
            return
        if not stage.out.exists():
            raise ValueError(f"stage {stage.name}: ended well, but {stage.out} is not there")
        summary.code = max(summary.code, ended.code)
        state[stage.name] = {
            "begun": plan.made_from,
            "done": plan.made_from,
            "output": digest(stage.result),
            "summary": ended.summary,
            "seconds": round(ended.seconds, 1),
        }
        _keep(recipe, state)
        summary.stages[stage.name] = {**state[stage.name], "ran": True}
    summary.notes = _lines(summary, stages)
    summary.rows_written = sum(one["ran"] for one in summary.stages.values())
    from pipelines.recipe_report import write_page

    summary.output = str(write_page(recipe, stages, state))


def _plan(recipe: Recipe, stage: Stage, state: Mapping[str, Any], anew: set[str]) -> Plan:
    """Whether a stage must run, and why. `anew` are stages that will have run by then."""
    waits_for = tuple(name for name in stage.needs if name in anew)
    known = state.get(stage.name, {})
    made_from = stage.made_from(recipe, {name: state.get(name, {}).get("output", "") for name in stage.needs})
    begun, done = known.get("begun"), known.get("done")
    if waits_for:
        return Plan(stage, made_from, f"after {', '.join(waits_for)}", waits_for=waits_for)
    if done == made_from:
        if not stage.out.exists():
            return Plan(stage, made_from, "its output is gone")
        if digest(stage.result) == known["output"]:
            return Plan(stage, made_from, "")
        return Plan(stage, made_from, "its output was changed by hand", fresh=True)
    if begun is None:
        return Plan(stage, made_from, "for the first time")
    if begun == made_from:
        return Plan(stage, made_from, "goes on where it stopped")
    return Plan(stage, made_from, _difference(begun, made_from), fresh=True)


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    changed = [name for kind in ("inputs", "options") for name in _changed(before.get(kind, {}), now[kind])]
    return f"changed: {', '.join(changed)}" if changed else "changed: verb"


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]


def _planned(recipe: Recipe, stages: Sequence[Stage], summary: RecipeSummary) -> None:
    """What a run would do, stage by stage; jobs that ask models say what they cost, at most where they wait."""
    state, anew = _state(recipe), set[str]()
    lines: list[str] = []
    costs: dict[str, float | None] = {}
    found: dict[str, Any] = {}
    for stage in stages:
        plan = _plan(recipe, stage, state, anew)
        line = f"  {stage.name}: {plan.why or 'nothing to do'}"
        found[stage.name] = {"why": plan.why or None, "command": stage.shown(recipe)}
        if plan.why:
            anew.add(stage.name)
            if stage.asks_models:
                priced = price_of(recipe, stage, anew)
                line += f"; {priced.told}"
                costs[stage.name] = priced.cost
                found[stage.name] |= {"cost": priced.cost, "seconds": priced.seconds, "at_most": priced.at_most}
            elif (seconds := state.get(stage.name, {}).get("seconds")) is not None:
                line += f"; took {seconds:,.0f} s before"
                found[stage.name]["seconds"] = seconds
            line += f"\n      {' '.join(stage.shown(recipe))}"
        lines.append(line)
    known = sum(cost for cost in costs.values() if cost is not None)
    at_most = "at most " if any(one.get("at_most") for one in found.values()) else ""
    unknown = [name for name, cost in costs.items() if cost is None]
    spent = f"cost {at_most}{known:.4f}" + (f", and what {', '.join(unknown)} will cost" if unknown else "")
    lines.append(f"  {len(anew)} of {len(stages)} stages would run; {spent}; nothing was done")
    summary.estimate = lines
    summary.notes = lines
    summary.dry_run = {"stages": found, "cost": None if unknown else round(known, 6), "would_run": sorted(anew)}


def _lines(summary: RecipeSummary, stages: Sequence[Stage]) -> list[str]:
    ran_now = [name for name, one in summary.stages.items() if one["ran"]]
    head = f"run: {len(ran_now)} of {len(stages)} stages ran"
    if not ran_now and not summary.error:
        head = f"run: nothing to do, all {len(stages)} stages are as they should be"
    lines = [head]
    for name, one in summary.stages.items():
        told = one.get("summary") or {}
        rows = f"{told['rows_written']:,} rows from {told['rows_read']:,}" if told.get("rows_written") else ""
        parts = [rows, *_scores(told.get("scores") or {}), f"{one['seconds']} s" if one["ran"] else "as before"]
        lines.append(f"  {name}: {', '.join(part for part in parts if part)}")
    return lines


def _scores(scores: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {100 * one['accuracy']:.1f} % [{100 * one['low']:.1f}, {100 * one['high']:.1f}]"
        for name, one in scores.items()
        if isinstance(one, Mapping) and one.get("accuracy") is not None
    ]


def _state(recipe: Recipe) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(recipe.state.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(
            f"{recipe.state}: is broken ({error}); remove it, and every stage is looked at anew"
        ) from error
    return found


def _keep(recipe: Recipe, state: Mapping[str, Any]) -> None:
    with atomic_path(recipe.state) as temporary:
        temporary.write_text(json.dumps(state, ensure_ascii=False, indent=1), encoding="utf-8")
