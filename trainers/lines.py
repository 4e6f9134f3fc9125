"""The plan of a run for a person: a line for each decision, with its reason."""

from __future__ import annotations

from collections.abc import Sequence

from trainers.machine import Device, Model, gigabytes
from trainers.plan import FREE_SHARE, MFU, ROUND, SHARDING, Limits, Plan
from trainers.prepare import Prepared
from trainers.stages import STAGES


def lines(plan: Plan, found: Limits, model: Model, device: Device, prepared: Prepared, source: str) -> list[str]:
    """The plan for a person, each decision with its reason."""
    share = "" if plan.launch not in SHARDING else f", spread over {plan.processes}"
    kept = "" if not plan.checkpointing else ", activations recomputed"
    at_once = plan.per_device * found.item
    needed, free = plan.memory + plan.pass_memory, found.budget / FREE_SHARE
    peak = f"{device.peak / 1e12:,.0f}" if device.peak >= 1e13 else f"{device.peak / 1e12:.2g}"
    alike = plan.processes == 1 or found.use.cuda
    where = f"{plan.processes} × {device.name}" if alike else f"{plan.processes} processes on {device.name}"
    said = [
        f"stage     {plan.stage}: {source}",
        f"method    {plan.method}, {plan.precision}{share}{kept}: {found.why_method}",
        f"memory    {gigabytes(needed)} of {gigabytes(free)} GB that are free: {model.parameters:,} weights and what "
        f"they need to learn {gigabytes(plan.memory)}, a pass of {at_once:,} tokens {gigabytes(plan.pass_memory)}",
        f"length    {plan.max_length:,} tokens: {found.why_length}",
        f"rows      {plan.rows:,}: {_fate(plan, prepared)}",
        f"tokens    {_tokens(plan)}",
        f"batch     {_batch_line(plan)}",
        f"steps     {plan.steps:,}: {plan.epochs:.3g} epochs, learning rate {plan.learning_rate:g}, a checkpoint every "
        f"{plan.save_steps:,}",
        f"where     {where}{f' ({plan.launch})' if plan.launch else ''}, attention {plan.attention}",
        f"time      {_duration(plan.seconds)} at {MFU:.0%} of {peak} TFLOP/s; measured once it runs",
    ]
    if plan.stage == "kto":
        said.insert(5, f"labels    {_labels(prepared)}")
    if prepared.opened:
        said.insert(5, "thoughts  are begun by the template's prompt; an answer without any ends them first")
    if needed > found.budget:
        said.append(
            f"warning   that is more than is planned with ({gigabytes(found.budget)} GB): {_smaller(plan, found)}"
        )
    return said


def _labels(prepared: Prepared) -> str:
    """How many replies are good and bad, and where they teach little."""
    said = f"{prepared.good:,} good, {prepared.examples - prepared.good:,} bad"
    if prepared.good in (0, prepared.examples):
        return f"{said}: one kind alone teaches little, rows with the other label are needed"
    if prepared.turns == 1 < prepared.examples - 1:
        return f"{said}: sorted, so that a batch holds one kind; shuffle the rows"
    return said


def _fate(plan: Plan, prepared: Prepared) -> str:
    said = []
    if prepared.expanded:
        said.append(f"{prepared.expanded:,} more examples, as the template rewrites earlier turns")
    if prepared.cut:
        pieces = "into pieces" if plan.stage == "pt" else "behind an answer"
        said.append(f"{len(prepared.cut):,} too long and cut {pieces} ({named(prepared.cut)})")
    if prepared.dropped:
        said.append(f"{len(prepared.dropped):,} too long and dropped ({named(prepared.dropped)})")
    return "; ".join(said) or "none too long"


def named(places: Sequence[str], most: int = 3) -> str:
    """The first places of many.

    >>> named(["a:1", "a:2"]), named(["a:1", "a:2", "a:3", "a:4", "a:5"])
    ('a:1, a:2', 'a:1, a:2, a:3 and 2 more')
    """
    more = f" and {len(places) - most:,} more" if len(places) > most else ""
    return ", ".join(places[:most]) + more


def _batch_line(plan: Plan) -> str:
    what = f"packs of {plan.pack_size:,} tokens" if plan.pack_size else "rows"
    if plan.pack_size:
        fill = plan.tokens / (plan.units * plan.pack_size)
        what += f" ({plan.examples:,} rows in {plan.units:,}, {fill:.1%} full)"
    parts = f"{plan.per_device} at once × {plan.accumulation} passes"
    return f"{plan.batch} {what}: {parts}" + (f" × {plan.processes} processes" if plan.processes > 1 else "")


def _tokens(plan: Plan) -> str:
    rows = STAGES[plan.stage].rows
    if rows == "tokens":
        return f"{plan.tokens:,} an epoch, {plan.learned:,} of them learned"
    return f"{plan.tokens:,} an epoch" + (", of prompts" if rows == "prompts" else "")


def _smaller(plan: Plan, found: Limits) -> str:
    """What would fit."""
    if plan.method == "full":
        return "--method lora, or a smaller model"
    if plan.memory < found.budget:
        return f"--max-length {max(ROUND, plan.max_length // 2 // ROUND * ROUND)}, or a smaller model"
    packed = found.use.cuda and plan.method != "qlora"
    return "--method qlora (pip install bitsandbytes), or a smaller model" if packed else "a smaller model"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return "under a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 7200 else f"about {seconds / 3600:.1f} h"
