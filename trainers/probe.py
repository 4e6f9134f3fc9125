"""One step on the fullest batch before the first: half the rows at once, and twice the passes, until all fits."""

from __future__ import annotations

import copy
import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

from datatools.report.progress import Progress
from trainers.build import trainer_of
from trainers.load import library
from trainers.plan import Plan
from trainers.prepare import DATA, token_counts
from trainers.settings import TrainSettings
from trainers.stages import STAGES


def fitting(out: Path, settings: TrainSettings, plan: Plan, progress: Progress) -> tuple[Any, Any, Plan]:
    """A trainer whose fullest batch fits the memory: half the rows at once, and twice the passes, until it does.

    Raises ValueError where not even the weights fit, or not one row.
    """
    while True:
        try:
            trainer, tokenizer = trainer_of(out, settings, plan)
        except Exception as error:
            if not memory_is_full(error):
                raise
            raise ValueError(f"the memory does not hold the model: {_instead(plan)}a smaller model") from error
        if not _overflows(trainer, plan):
            return trainer, tokenizer, plan
        del trainer
        emptied()
        smaller = halved(plan)
        if smaller is None:
            raise ValueError(no_memory(plan, 1))
        progress.say(f"train: {said_of(smaller)}")
        plan = smaller


def said_of(smaller: Plan) -> str:
    """What was too much, and what is done instead."""
    if smaller.checkpointing and smaller.per_device == 1:
        return "the memory does not hold the activations; now they are recomputed"
    passes = f"now {smaller.per_device}, in {smaller.accumulation} passes"
    return f"the memory does not hold so many rows at once; {passes}"


def no_memory(plan: Plan, step: int) -> str:
    """That nothing is left to give up."""
    shorter = f"--max-length {max(128, plan.max_length // 2)}"
    return (
        f"step {step}: the memory does not hold one row of {plan.max_length:,} tokens: {_instead(plan)}{shorter}, "
        "with --fresh or another --out"
    )


def _instead(plan: Plan) -> str:
    return {"full": "--method lora, or ", "lora": "--method qlora, or "}.get(plan.method, "")


def memory_is_full(error: BaseException) -> bool:
    """Whether an error says so: torch has a class for it, the libraries beneath it have words."""
    words = ("out of memory", "ALLOC_FAILED", "can't allocate memory")
    told = isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    return isinstance(error, library("torch").OutOfMemoryError | MemoryError) or told


def emptied() -> None:
    """Give back what the allocator keeps of a trainer that is gone."""
    torch = library("torch")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def halved(plan: Plan) -> Plan | None:
    """A plan that needs less memory for the same batch; None where nothing is left to give up."""
    least = 2 if plan.stage == "kto" else 1
    for size in range(plan.per_device // 2, least - 1, -1):
        if (plan.per_device * plan.accumulation) % size == 0:
            return replace(plan, per_device=size, accumulation=plan.per_device * plan.accumulation // size)
    return None if plan.checkpointing else replace(plan, checkpointing=True)


def _overflows(trainer: Any, plan: Plan) -> bool:
    """Whether the fullest batch is too much for the memory of this process, or of any other.

    It is not tried where the model is only put together when training begins, nor where a batch must be generated
    first, nor on a CPU: nothing there says that it is full before the kernel kills the process.
    """
    from trainers.watch import anywhere

    if STAGES[plan.stage].rows == "prompts" or trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return False
    if trainer.args.device.type == "cpu":
        return False
    try:
        try_fullest(trainer, plan)
        full = False
    except Exception as error:
        if not memory_is_full(error):
            raise
        full = True
    emptied()
    return anywhere(full, trainer.args)


def try_fullest(trainer: Any, plan: Plan) -> None:
    """One forward and backward pass over the fullest batch, whose traces are wiped: the run is as if it never was.

    Beside it lies as much as the optimizer's moments will take, which come with the first step, the buckets of several
    processes, and the gradients of the pass before.
    """
    torch = library("torch")
    kept = torch.get_rng_state(), torch.cuda.get_rng_state_all(), copy.deepcopy(getattr(trainer, "_metrics", None))
    counts = token_counts(Path(trainer.args.output_dir) / DATA)
    size = plan.per_device
    fullest = max(range(0, len(counts), size), key=lambda start: sum(counts[start : start + size]))
    rows = [trainer.train_dataset[number] for number in range(fullest, min(fullest + size, len(counts)))]
    trainer.model.train()
    inputs = trainer._prepare_inputs(trainer.data_collator(rows))
    learned = sum(one.numel() * one.element_size() for one in trainer.model.parameters() if one.requires_grad)
    beside = 2 * learned + (learned if plan.processes > 1 else 0) + (learned if plan.accumulation > 1 else 0)
    coming = torch.empty(beside, dtype=torch.uint8, device=trainer.args.device)
    with trainer.accelerator.autocast():  # the trainer wraps the model in it when training begins
        loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    del coming, loss
    trainer.model.zero_grad(set_to_none=True)
    torch.set_rng_state(kept[0])
    torch.cuda.set_rng_state_all(kept[1])
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()  # the run's own are told
    if kept[2] is not None:
        trainer._metrics = kept[2]
