"""What a stage that asks models would cost, also where stages before it have not run yet: then at most.

A stage that only leaves out (curate, mix) has no more in its output than in its input, so what it reads stands in for
what it would write. What a stage invents (unify, dialogue, a crawl) has no such bound before it has run.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.recipe_child import ran
from pipelines.recipe_file import Recipe, Stage

LEAVE_OUT = ("curate", "mix")  # verbs that write no more than they read
ONLY_LOOKED_AT = ("train-data", "decontaminate", "examples", "graph")  # options that change no number of calls
_STAGE = re.compile(r"\{([A-Za-z0-9_.-]+)\}")


@dataclass(frozen=True)
class Priced:
    """Cost (None where it is not known), seconds, and both in words; `at_most` where they are an upper bound."""

    cost: float | None
    seconds: float | None
    told: str
    at_most: bool = False


def price_of(recipe: Recipe, stage: Stage, anew: Collection[str]) -> Priced:
    """The dry run of a stage; `anew` are stages that will run before it, whose outputs are not there or will change."""
    waits = [name for name in stage.needs if name in anew]
    if not waits:
        return _asked(recipe, stage)
    inputs: list[str] = []
    for text in stage.inputs:
        found = _stand_in(recipe, text, anew)
        if isinstance(found, Stage):
            return Priced(
                None, None, f"price and time are known when {found.name} is done (datatools run --until {found.name})"
            )
        inputs += found
    options = {
        name: value
        for name, value in stage.options.items()
        if name not in ONLY_LOOKED_AT or not any(f"{{{one}}}" in str(value) for one in waits)
    }
    if any(f"{{{one}}}" in str(value) for value in options.values() for one in waits):
        return Priced(None, None, f"price and time are known when {', '.join(waits)} is done")
    with tempfile.TemporaryDirectory() as folder:
        bounded = replace(stage, inputs=tuple(inputs), options=options, out=Path(folder) / stage.out.name)
        priced = _asked(recipe, bounded)
    if priced.cost is None and priced.seconds is None:
        return priced
    return replace(priced, told=f"at most {priced.told}, as if {', '.join(waits)} left nothing out", at_most=True)


def _stand_in(recipe: Recipe, text: str, anew: Collection[str]) -> list[str] | Stage:
    """What can be read now in place of an input; the stage that must run before anything is known, where none can."""
    named = _STAGE.fullmatch(text)
    if named is None or named[1] not in anew:
        return [text]
    stage = recipe.stage(named[1])
    if stage.verb not in LEAVE_OUT:
        return stage
    inputs: list[str] = []
    for one in stage.inputs:
        found = _stand_in(recipe, one, anew)
        if isinstance(found, Stage):
            return found
        inputs += found
    return inputs


def _asked(recipe: Recipe, stage: Stage) -> Priced:
    ended = ran([*stage.command(recipe), "--dry-run"], as_json=True, silent=True)
    told = ended.summary.get("dry_run")
    if ended.code or not told:
        return Priced(None, None, f"no estimate ({ended.said})")
    lane = told.get("lanes", {}).get("sync", {})
    cost, seconds = lane.get("cost"), lane.get("seconds")
    shown = "price not known" if cost is None else f"cost {cost:.4f}"
    return Priced(cost, seconds, f"{told.get('calls', 0):,} calls, {shown}, about {seconds or 0:,.0f} s")
