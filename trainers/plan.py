"""What a run will do, decided before anything is loaded, and why: a frozen plan that its checkpoints belong to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from trainers.checkpoints import KEPT
from trainers.machine import Device, Model, gigabytes
from trainers.memory import Use, generating, held, most_tokens, passing
from trainers.prepare import Prepared
from trainers.settings import TrainSettings
from trainers.stages import STAGES

PERCENTILE = 99.5  # of the rows' lengths; longer ones cost memory that all others then lack
ROUND = 128  # tokens
STEP_TOKENS = 65_536  # of an optimizer step, where there is data for it
FEWEST_STEPS = 100  # fewer tokens a step rather than fewer steps
MICRO_TOKENS = 32_768  # of one forward pass, at most
CPU_TOKENS = 8_192
SHORT_TOKENS = 1_024  # of a pass in which each meets all others: not less, however narrow the model
KEPT_TOKENS = 8_192  # activations are recomputed where not even so many tokens' are held
FREE_SHARE = 0.9  # of free memory that is planned with: what an allocator wastes is in the rest
MFU = 0.4  # for the time that is foretold
LAYER_SECONDS = 0.0015  # of a pass, however few its tokens: what is begun, not what is computed
PASS_SECONDS = 0.05  # around the layers
WORD_SECONDS = 0.001  # of a layer, for each token of a reply that is generated
RUN_SECONDS = 600  # between checkpoints, about
SAVES = 10  # of a short run
SHARDING = ("fsdp2", "zero3")


@dataclass(frozen=True)
class Limits:
    """The longest row, and what a forward pass can hold."""

    max_length: int
    why_length: str
    why_method: str
    use: Use
    checkpointing: bool
    item: int  # tokens of what a pass has at least: a row, both sides of a pair, a prompt with its reply
    micro_tokens: int
    memory: int  # bytes that weights, gradients and moments take
    budget: int  # bytes that are planned with

    @property
    def method(self) -> str:
        """How the model is trained."""
        return self.use.method


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
    memory: int  # of weights, gradients and moments
    seconds: float
    pass_memory: int = 0  # what a pass adds

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
    if settings.method == "qlora" and find_spec("bitsandbytes") is None:
        raise ValueError("--method qlora: needs pip install bitsandbytes; --method lora does without")
    cuda = device.kind == "cuda"
    processes = settings.processes or (device.count if cuda else 1)
    budget = int(device.memory * FREE_SHARE / (1 if cuda else processes))  # one memory for all processes of a CPU
    row = longest + _generated(stage, settings)
    item = row * (2 if STAGES[stage].rows == "pairs" else 1)
    least = item * (2 if stage == "kto" else 1)
    needs: dict[str, int] = {}  # of what was looked at
    for method in _methods(settings, cuda):
        for launch in _launches(settings, method, processes, cuda):
            attention = _attention(settings, stage, device)
            use = Use(stage, method, cuda, attention, settings.lora_rank, launch, processes)
            needs[method] = held(model, use) + passing(model, use, tokens=least, row=row, checkpointing=True)
            if needs[method] <= budget:
                break
        else:
            continue
        break
    states = held(model, use)
    free, most = max(0, budget - states), MICRO_TOKENS if cuda else CPU_TOKENS
    if STAGES[stage].rows == "tokens" and attention != "varlen":
        # Each token meets all of its pass, masked or not: longer passes than this cost more there than they save.
        most = min(most, max(item, SHORT_TOKENS, model.layer // (2 * model.queries)))
    kept = most_tokens(model, use, free, item=item, row=row, most=most, checkpointing=False)
    checkpointing = kept < max(least, min(KEPT_TOKENS, most) // item * item)
    if checkpointing:
        kept = most_tokens(model, use, free, item=item, row=row, most=most, checkpointing=True)
    return Limits(
        max_length=longest,
        why_length=why,
        why_method=_why(settings, use, needs, budget),
        use=use,
        checkpointing=checkpointing,
        item=item,
        micro_tokens=max(least, kept),
        memory=states,
        budget=budget,
    )


def plan(settings: TrainSettings, stage: str, model: Model, device: Device, found: Limits, prepared: Prepared) -> Plan:
    """Batch, steps, time: from what the prepared rows hold."""
    epochs = settings.epochs or _epochs(stage, prepared.rows)
    use, row = found.use, found.max_length + _generated(stage, settings)
    wanted = settings.batch_size or _batch(stage, prepared, epochs, settings)
    if STAGES[stage].rows == "prompts" and not settings.batch_size:  # all replies of a step are generated together
        group, free = _generations(stage, settings), found.budget - found.memory
        while wanted > group and generating(model, use, rows=math.ceil(wanted / use.processes), row=row) > free:
            wanted -= group
    per_device, accumulation = _split(stage, wanted, use.processes, found, settings)
    batch = per_device * accumulation * use.processes
    units, tokens = prepared.units, prepared.tokens
    if STAGES[stage].rows == "prompts":  # each is answered several times
        units *= _generations(stage, settings)
        tokens = (tokens + prepared.units * _generated(stage, settings)) * _generations(stage, settings)
    an_epoch = math.ceil(math.ceil(units / (per_device * use.processes)) / accumulation)
    steps = settings.max_steps or max(1, math.ceil(an_epoch * epochs))
    adapter = use.method != "full"
    pass_memory = passing(model, use, tokens=per_device * found.item, row=row, checkpointing=found.checkpointing)
    if STAGES[stage].rows == "prompts":
        pass_memory = max(pass_memory, generating(model, use, rows=per_device * accumulation, row=row))
    width = per_device * found.item if STAGES[stage].rows == "tokens" else row
    attended = 2 * model.layers * model.queries * (0 if use.attention == "varlen" else width)
    a_token = (model.parameters + attended) * _operations(stage, use, found.checkpointing)
    computed = a_token * tokens * steps / max(1, an_epoch)
    seconds = computed / (device.peak * MFU * (use.processes if use.cuda else 1))
    seconds += steps * accumulation * (model.layers * LAYER_SECONDS + PASS_SECONDS)
    seconds += steps * _generated(stage, settings) * model.layers * WORD_SECONDS
    return Plan(
        stage=stage,
        method=use.method,
        precision=_precision(device, adapter),
        attention=use.attention,
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
        processes=use.processes,
        launch=use.launch,
        epochs=steps * batch / units if settings.max_steps else epochs,
        steps=steps,
        save_steps=settings.save_steps or _save_steps(steps, seconds),
        learning_rate=settings.learning_rate or STAGES[stage].learning_rate * (10 if adapter else 1),
        memory=found.memory,
        seconds=seconds,
        pass_memory=pass_memory,
    )


def on_disk(plan: Plan, model: Model, rank: int) -> int:
    """Bytes that a run's folder grows to: checkpoints with their moments, one more while it is written, the model."""
    learned = model.parameters if plan.method == "full" else model.adapter(rank)
    return (KEPT + 1) * 12 * learned + 4 * learned


def pack_size(settings: TrainSettings, stage: str, found: Limits) -> int | None:
    """Tokens of a pack; None where rows stay alone: in stages that compare replies, and where a batch counts rows."""
    packs = STAGES[stage].rows == "tokens" and settings.pack and settings.batch_size is None
    return found.max_length if packs else None


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


def _methods(settings: TrainSettings, cuda: bool) -> list[str]:
    """What may be chosen, what needs most first."""
    if settings.method != "auto":
        return [settings.method]
    return ["full", "lora", *(["qlora"] if cuda and find_spec("bitsandbytes") else [])]


def _launches(settings: TrainSettings, method: str, processes: int, cuda: bool) -> list[str | None]:
    """How several processes may be started, what needs most memory first."""
    if settings.launch not in ("auto", "ddp") and not cuda:
        raise ValueError(f"--launch {settings.launch}: spreads a model over GPUs, and there is none; ddp does without")
    if processes == 1:
        return [None]
    if settings.launch in ("zero2", "zero3") and find_spec("deepspeed") is None:
        raise ValueError(f"--launch {settings.launch}: needs pip install deepspeed; fsdp2 does without")
    if settings.launch != "auto":
        return [settings.launch]
    return ["ddp", "fsdp2"] if cuda and method != "qlora" else ["ddp"]  # 4-bit weights are not spread


def _why(settings: TrainSettings, use: Use, needs: Mapping[str, int], budget: int) -> str:
    if settings.method != "auto":
        return "as asked"
    if needs[use.method] > budget:
        return "nothing that needs more fits"
    if use.method == "full":
        return "all weights fit" if not use.sharded else "one copy a GPU would not fit"
    return f"full would need {gigabytes(needs['full'])} GB"


def _operations(stage: str, use: Use, checkpointing: bool) -> int:
    """Operations a weight and token: two forward, two for each gradient, two where it is computed again or compared."""
    more = {"dpo": 2, "kto": 4, "rloo": 2}.get(stage, 0) + (2 if checkpointing else 0)
    return (6 if use.method == "full" else 4) + more


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


def _generated(stage: str, settings: TrainSettings) -> int:
    """Tokens of a reply at most, in stages that generate them."""
    usual = STAGES[stage].defaults.get("max_completion_length", 0)
    return int(settings.set.get("max_completion_length", usual)) if STAGES[stage].rows == "prompts" else 0


def _batch(stage: str, prepared: Prepared, epochs: float, settings: TrainSettings) -> int:
    """Rows of a step: 64 k tokens, but no fewer than a hundred steps where the data is small."""
    generations = _generations(stage, settings)
    if generations > 1:
        return generations * max(1, min(8, int(prepared.units * epochs / FEWEST_STEPS)))
    target = min(STEP_TOKENS, prepared.tokens * epochs / FEWEST_STEPS)
    return max(1, round(target / (prepared.tokens / prepared.units)))


def _split(stage: str, wanted: int, processes: int, found: Limits, settings: TrainSettings) -> tuple[int, int]:
    """Rows of a forward pass, and passes of a step: as few passes as the memory allows, the product as wanted.

    About so where the batch is ours to choose, exactly so where it was asked for.
    """
    generations = _generations(stage, settings)
    least = 2 if stage == "kto" else 1  # TRL estimates KL from the other rows of a pass
    if STAGES[stage].rows == "prompts":
        wanted = math.ceil(wanted / (generations * processes)) * generations * processes
    each = max(least, math.ceil(wanted / processes))
    most = max(least, found.micro_tokens // found.item)
    if settings.batch_size is None and STAGES[stage].rows != "prompts":  # ours to round: 17 rows are not 17 passes
        passes = math.ceil(each / most)
        return max(least, round(each / passes)), passes
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
