"""One step on the fullest batch before the first: half the rows at once, and twice the passes, until all fits."""

from __future__ import annotations

import copy
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
    """A trainer whose fullest batch fits the memory: half the rows at once, and twice the passes, until it does."""
    torch = library("torch")
    while True:
        trainer, tokenizer = trainer_of(out, settings, plan)
        try:
            _probe(trainer, plan)
            return trainer, tokenizer, plan
        except torch.OutOfMemoryError as error:
            del trainer
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            smaller = halved(plan)
            if smaller is None:
                raise ValueError(
                    f"the memory does not hold one row of {plan.max_length:,} tokens: --method lora, or --max-length "
                    f"{max(128, plan.max_length // 2)}"
                ) from error
            progress.say(
                f"train: {plan.per_device} rows at once do not fit; now {smaller.per_device}"
                f"{', activations recomputed' if smaller.checkpointing and not plan.checkpointing else ''}"
            )
            plan = smaller


def halved(plan: Plan) -> Plan | None:
    """A plan that needs less memory for the same batch; None where nothing is left to give up."""
    least = 2 if plan.stage == "kto" else 1
    for size in range(plan.per_device // 2, least - 1, -1):
        if (plan.per_device * plan.accumulation) % size == 0:
            return replace(plan, per_device=size, accumulation=plan.per_device * plan.accumulation // size)
    return None if plan.checkpointing else replace(plan, checkpointing=True)


def _probe(trainer: Any, plan: Plan) -> None:
    """Try the fullest batch. Raises OutOfMemoryError.

    Not where the model is only put together when training begins, nor where a batch must be generated first, nor on a
    CPU: nothing there says that it is full before the kernel kills the process.
    """
    if STAGES[plan.stage].rows == "prompts" or trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return
    if trainer.args.device.type != "cpu":
        try_fullest(trainer, plan)


def try_fullest(trainer: Any, plan: Plan) -> None:
    """One forward and backward pass over the fullest batch, whose traces are wiped: the run is as if it never was.

    Beside it lies as much as the optimizer's moments will take, which come with the first step.
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
    moments = torch.empty(2 * learned, dtype=torch.uint8, device=trainer.args.device)
    with trainer.accelerator.autocast():  # the trainer wraps the model in it when training begins
        loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    del moments, loss
    trainer.model.zero_grad(set_to_none=True)
    torch.set_rng_state(kept[0])
    torch.cuda.set_rng_state_all(kept[1])
    if kept[2] is not None:
        trainer._metrics = kept[2]
