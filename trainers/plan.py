"""What a run will do, decided before anything is loaded, and why: a frozen plan that its checkpoints belong to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from trainers.machine import Device, Model
from trainers.prepare import Prepared
from trainers.settings import TrainSettings
from trainers.stages import STAGES

PERCENTILE = 99.5  # of the rows' lengths; longer ones cost memory that all others then lack
ROUND = 128  # tokens
STEP_TOKENS = 65_536  # of an optimizer step, where there is data for it
FEWEST_STEPS = 100  # fewer tokens a step rather than fewer steps
MICRO_TOKENS = 32_768  # of one forward pass, at most
CPU_TOKENS = 8_192
# Bytes a weight: fp32 weights, gradients and two Adam moments; bf16 or 4-bit weights that stay as they are, beside a
# percent of adapter. On a CPU adapters stand beside fp32 weights.
BYTES = {"full": 16.0, "lora": 2.2, "dora": 2.2, "qlora": 0.7}
CPU_BYTES = {**BYTES, "lora": 4.4, "dora": 4.4}
FREE_SHARE = 0.9  # of free memory that is planned with
SHARD_SHARE = 0.8  # states beyond this share of one GPU are spread over all
MFU = 0.4  # for the time that is foretold
RUN_SECONDS = 600  # between checkpoints, about
SAVES = 10  # of a short run


@dataclass(frozen=True)
class Limits:
    """The longest row, and what a forward pass can hold."""

    max_length: int
    why_length: str
    method: str
    why_method: str
    checkpointing: bool
    micro_tokens: int
    memory: int  # bytes that weights, gradients and moments take


@dataclass(frozen=True)
class Plan:
    """Everything that was decided. Lengths in tokens, memory in bytes, `seconds` foretold."""

    stage: str
    method: str
    precision: str
    attention: str
    checkpointing: bool
    max_length: int
    pack_size: int | None
    rows: int
    examples: int
    units: int
    tokens: int  # of one epoch
    learned: int
    per_device: int
    accumulation: int
    processes: int
    launch: str | None
    epochs: float
    steps: int
    save_steps: int
    learning_rate: float
    memory: int
    seconds: float

    @property
    def batch(self) -> int:
        """Rows of an optimizer step, as the trainer counts rows."""
        return self.per_device * self.accumulation * self.processes

    def recorded(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def plan_from(values: Mapping[str, Any]) -> Plan:
    """The plan that a manifest holds."""
    return Plan(**values)


def limits(settings: TrainSettings, stage: str, model: Model, device: Device, lengths: npt.NDArray[np.int64]) -> Limits:
    """The longest row, the method that the memory allows, and what a forward pass can hold."""
    longest, why = _max_length(settings, model, lengths)
    states = BYTES if device.kind == "cuda" else CPU_BYTES
    reply = 1 if STAGES[stage].rows == "tokens" else 2  # a pair is two rows
    light = (2 * model.layers + 34) * model.hidden  # bytes a token with activations recomputed
    method, why_method = settings.method, "as asked"
    if method == "qlora" and find_spec("bitsandbytes") is None:
        raise ValueError("--method qlora: needs pip install bitsandbytes; --method lora does without")
    if method == "auto":
        method, why_method = _method(stage, model, device, states, reply * light * longest)
    held = _held(stage, model, method, states)
    free = max(0, int(device.memory * FREE_SHARE) - held)
    most = MICRO_TOKENS if device.kind == "cuda" else CPU_TOKENS
    heavy = 34 * model.hidden * model.layers or 1  # bytes a token with all activations kept (bf16, no T×T matrix)
    checkpointing = free < heavy * max(reply * longest, 8192)
    room = free // max(1, light if checkpointing else heavy)
    return Limits(longest, why, method, why_method, checkpointing, max(longest, min(most, int(room))), held)


def plan(settings: TrainSettings, stage: str, model: Model, device: Device, found: Limits, prepared: Prepared) -> Plan:
    """Batch, steps, time: from what the prepared rows hold."""
    epochs = settings.epochs or _epochs(stage, prepared.rows)
    processes = settings.processes or (device.count if device.kind == "cuda" else 1)
    wanted = settings.batch_size or _batch(stage, prepared, epochs, settings)
    per_device, accumulation = _split(stage, wanted, processes, found, settings)
    batch = per_device * accumulation * processes
    units = prepared.units * (_generations(stage, settings) if STAGES[stage].rows == "prompts" else 1)
    an_epoch = math.ceil(math.ceil(units / (per_device * processes)) / accumulation)
    steps = settings.max_steps or max(1, math.ceil(an_epoch * epochs))
    adapter = found.method != "full"
    tokens = prepared.tokens * steps / max(1, an_epoch)
    seconds = (4 if adapter else 6) * model.parameters * tokens / (device.peak * MFU * processes)
    launch = None
    if processes > 1:
        launch = settings.launch
        if launch in ("zero2", "zero3") and find_spec("deepspeed") is None:
            raise ValueError(f"--launch {launch}: needs pip install deepspeed; fsdp2 does without")
        if launch == "auto":
            launch = "fsdp2" if found.memory > SHARD_SHARE * device.memory else "ddp"
    return Plan(
        stage=stage,
        method=found.method,
        precision=_precision(device, adapter),
        attention=_attention(settings, stage, device),
        checkpointing=found.checkpointing,
        max_length=found.max_length,
        pack_size=pack_size(settings, stage, found),
        rows=prepared.rows,
        examples=prepared.examples,
        units=prepared.units,
        tokens=prepared.tokens,
        learned=prepared.learned,
        per_device=per_device,
        accumulation=accumulation,
        processes=processes,
        launch=launch,
        epochs=steps * batch / units if settings.max_steps else epochs,
        steps=steps,
        save_steps=settings.save_steps or _save_steps(steps, seconds),
        learning_rate=settings.learning_rate or STAGES[stage].learning_rate * (10 if adapter else 1),
        memory=found.memory,
        seconds=seconds,
    )


def pack_size(settings: TrainSettings, stage: str, found: Limits) -> int | None:
    """Tokens of a pack; None where rows stay alone: in stages that compare replies, and where a batch counts rows."""
    packs = STAGES[stage].rows == "tokens" and settings.pack and settings.batch_size is None
    return found.max_length if packs else None


def lines(plan: Plan, found: Limits, model: Model, device: Device, prepared: Prepared, source: str) -> list[str]:
    """The plan for a person, each decision with its reason."""
    held = f"{model.parameters:,} weights take {plan.memory / 1e9:,.2f} of {device.memory / 1e9:,.1f} GB that are free"
    where = f"{plan.processes} × {device.name}" + (f" ({plan.launch})" if plan.launch else "")
    kept = "" if not plan.checkpointing else ", activations recomputed"
    said = [
        f"stage     {plan.stage}: {source}",
        f"method    {plan.method}, {plan.precision}{kept}: {found.why_method}; {held}",
        f"length    {plan.max_length:,} tokens: {found.why_length}",
        f"rows      {plan.rows:,}: {_fate(plan, prepared)}",
        f"tokens    {plan.tokens:,} an epoch, {plan.learned:,} of them learned",
        f"batch     {_batch_line(plan)}",
        f"steps     {plan.steps:,}: {plan.epochs:g} epochs, learning rate {plan.learning_rate:g}, a checkpoint every "
        f"{plan.save_steps:,}",
        f"where     {where}, attention {plan.attention}",
        f"time      {_duration(plan.seconds)} at {MFU:.0%} of {device.peak / 1e12:,.2g} TFLOP/s; measured once it runs",
    ]
    if plan.stage == "kto":
        said.insert(4, f"labels    {_labels(prepared)}")
    if prepared.opened:
        said.insert(4, "thoughts  are begun by the template's prompt; an answer without any ends them first")
    if found.memory > device.memory * FREE_SHARE and plan.launch not in ("fsdp2", "zero3"):
        said.append("warning   that is more than is free: --method lora, or a smaller model")
    return said


def _labels(prepared: Prepared) -> str:
    """How many replies are good and bad, and where they teach little."""
    said = f"{prepared.good:,} good, {prepared.examples - prepared.good:,} bad"
    if prepared.good in (0, prepared.examples):
        return f"{said}: one kind alone teaches little, rows with the other label are needed"
    if prepared.turns == 1 < prepared.examples - 1:
        return f"{said}: sorted, so that a batch holds one kind; shuffle the rows"
    return said


def _max_length(settings: TrainSettings, model: Model, lengths: npt.NDArray[np.int64]) -> tuple[int, str]:
    context = model.context or 1 << 30
    if settings.rope_scaling:
        context = int(context * float(settings.rope_scaling.partition(":")[2] or 1))
    if settings.max_length is not None:
        if settings.max_length > context:
            raise ValueError(
                f"--max-length {settings.max_length}: the model's context is {context}; "
                "--rope-scaling yarn:2 doubles it"
            )
        return settings.max_length, "as asked"
    # "higher": of less than 200 rows it is the longest, so that none of a few rows is lost to a percentile.
    percentile = float(np.percentile(lengths, PERCENTILE, method="higher"))
    rounded = math.ceil(percentile / ROUND) * ROUND
    if rounded >= context:
        return context, f"the model's context; {int((lengths > context).sum()):,} rows are longer"
    return rounded, f"99.5 % of the rows have at most {percentile:,.0f}, the longest {int(lengths.max()):,}"


def _held(stage: str, model: Model, method: str, states: Mapping[str, float]) -> int:
    # The reference of DPO and KTO is the model without its adapter, or a second model.
    reference = 4.0 if stage in ("dpo", "kto") and method == "full" else 0.0
    return int(model.parameters * (states[method] + reference))


def _method(stage: str, model: Model, device: Device, states: Mapping[str, float], activations: int) -> tuple[str, str]:
    choices = ["full", "lora", *(["qlora"] if device.kind == "cuda" and find_spec("bitsandbytes") else [])]
    for method in choices:
        if _held(stage, model, method, states) + activations <= device.memory * FREE_SHARE:
            return method, "all weights fit" if method == "full" else f"{choices[0]} would not fit"
    return choices[-1], "nothing that needs more fits"


def _precision(device: Device, adapter: bool) -> str:
    if device.kind != "cuda":
        return "fp32"
    return "bf16 weights" if adapter else "fp32 weights, bf16 products"


def _attention(settings: TrainSettings, stage: str, device: Device) -> str:
    if settings.attention != "auto":
        if settings.attention == "flash_attention_2" and find_spec("flash_attn") is None:
            raise ValueError("--attention flash_attention_2: needs pip install flash-attn; varlen does without")
        if settings.attention == "varlen" and device.kind != "cuda":
            raise ValueError("--attention varlen: needs a GPU; sdpa and eager are there without one")
        return settings.attention
    return "varlen" if device.kind == "cuda" and STAGES[stage].rows == "tokens" else "sdpa"


def _epochs(stage: str, rows: int) -> float:
    if stage != "sft":
        return 1
    return 3 if rows < 10_000 else 2 if rows < 100_000 else 1


def _generations(stage: str, settings: TrainSettings) -> int:
    usual = STAGES[stage].defaults.get("num_generations", 1)
    return int(settings.set.get("num_generations", usual))


def _batch(stage: str, prepared: Prepared, epochs: float, settings: TrainSettings) -> int:
    """Rows of a step: 64 k tokens, but no fewer than a hundred steps where the data is small."""
    generations = _generations(stage, settings)
    if generations > 1:
        return generations * max(1, min(8, int(prepared.units * epochs / FEWEST_STEPS)))
    target = min(STEP_TOKENS, prepared.tokens * epochs / FEWEST_STEPS)
    return max(1, round(target / (prepared.tokens / prepared.units)))


def _split(stage: str, wanted: int, processes: int, found: Limits, settings: TrainSettings) -> tuple[int, int]:
    """Rows of a forward pass, and passes of a step: as few passes as the memory allows, the product as wanted."""
    tokens = found.max_length * (1 if STAGES[stage].rows == "tokens" else 2)
    generations = _generations(stage, settings)
    least = 2 if stage == "kto" else 1  # TRL estimates KL from the other rows of a pass
    if STAGES[stage].rows == "prompts":
        wanted = math.ceil(wanted / (generations * processes)) * generations * processes
    each = max(least, math.ceil(wanted / processes))
    most = max(least, found.micro_tokens // tokens)
    per_device = max(size for size in range(1, min(each, most) + 1) if each % size == 0)
    if per_device < least:
        each += each % least
        per_device = least
    return per_device, each // per_device


def _save_steps(steps: int, seconds: float) -> int:
    often = math.ceil(steps / SAVES)
    if seconds > RUN_SECONDS * SAVES:
        often = min(often, math.ceil(steps * RUN_SECONDS / seconds))
    return max(1, often)


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


def _duration(seconds: float) -> str:
    if seconds < 60:
        return "under a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 7200 else f"about {seconds / 3600:.1f} h"
