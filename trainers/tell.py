"""What is told when a run is done: its card, its report, the lines of the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datatools.report.summary import Summary
from trainers import card, manifest
from trainers.metrics import read as read_metrics
from trainers.prepare import DATA, Prepared
from trainers.report import report
from trainers.settings import TrainSettings

FORETOLD = ("memory", "pass_memory", "seconds", "save_steps", "rows", "examples", "units")  # no setting


def tell(settings: TrainSettings, out: Path, command: Sequence[str]) -> None:
    """Model card and report, then the mark that the run is finished."""
    found = manifest.read(out)
    assert found is not None
    plan = found["plan"]
    given = {name: value for name, value in found["settings"].items() if value not in (None, [], {}, False)}
    decided = {name: value for name, value in plan.items() if name not in FORETOLD}
    prepared, metrics = Prepared(**found["prepared"]), read_metrics(out)
    card.write_card(
        out,
        command=["datatools", *command],
        stage=plan["stage"],
        base_model=settings.model,
        data=[card.DataFile(**one) for one in found["files"]],
        settings={
            name: value for name, value in {**given, **decided}.items() if name not in ("inputs", "model", "stage")
        },
        came_of_it=_came_of(metrics),
        rows=_trained_on(prepared),
    )
    report(out, found)
    for cache in (out / DATA).parent.glob("cache-*"):  # what TRL made of pairs
        cache.unlink()
    manifest.write(out, {**found, "finished": True})


def _came_of(metrics: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    if not metrics:
        return {}
    first, last = metrics[0], metrics[-1]
    return {
        "steps": f"{last['step']:,}",
        "tokens": f"{last['tokens']:,}",
        "loss at the first step": f"{first['loss']:.4f}",
        "loss at the last": f"{last['loss']:.4f}",
    }


def _trained_on(prepared: Prepared) -> str:
    """How many rows, and what became of the others."""
    left = prepared.rows - len(set(prepared.dropped))
    said = f"{left:,} rows" + (f" (of {prepared.rows:,}; the others were too long)" if prepared.dropped else "")
    return said + (f", {len(prepared.cut):,} of them cut," if prepared.cut else "")


def count(summary: Summary, prepared: Prepared) -> None:
    summary.rows_read, summary.rows_written = prepared.rows, prepared.rows - len(set(prepared.dropped))
    summary.dropped = {"too_long": len(prepared.dropped)} if prepared.dropped else {}


def notes(out: Path) -> list[str]:
    """Lines of the summary: steps, tokens, time, and the loss at both ends."""
    metrics = read_metrics(out)
    if not metrics:
        return []
    first, last = metrics[0], metrics[-1]
    seconds = sum(one.get("seconds", 0) for one in metrics)
    return [
        f"  steps    {last['step']:,}, {last['tokens']:,} tokens in {seconds:,.1f} s",
        f"  loss     {first['loss']:.4f} → {last['loss']:.4f}   ({out / 'report.html'})",
    ]
