"""What is seen while a model trains: metrics, the progress line, sealed checkpoints, a stop where one is due."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from datatools.report.progress import Bar
from trainers import checkpoints, manifest
from trainers.lines import named
from trainers.metrics import Clock, Metrics, rows_of_steps, tokens_of_steps
from trainers.plan import Plan
from trainers.prepare import DATA, places, token_counts
from trainers.report import report
from trainers.stages import STAGES


class Watch(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Writes metrics, seals checkpoints, stops at a signal that `stop` holds and at a loss that is no number."""

    def __init__(self, out: Path, plan: Plan, stop: list[int], bar: Bar, step: int, *, writes: bool) -> None:
        self.out, self.plan, self.stop, self.bar = out, plan, stop, bar
        self.counted = STAGES[plan.stage].rows != "prompts"  # of prompts nobody knows how long replies become
        per_pass = plan.per_device * plan.processes
        self.known = tokens_of_steps(token_counts(out / DATA), per_pass, plan.accumulation) if self.counted else None
        self.metrics = Metrics(out, step, writes=writes)
        self.tokens, self.last = self.metrics.tokens, step
        self.clock = Clock(self.known, self.tokens)
        self.speed = _speed(plan)

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.clock = Clock(self.known, self.tokens)
        state.save_steps = self.plan.save_steps  # a checkpoint brings its own along

    def on_log(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        logs: dict[str, Any] = more["logs"]
        if "loss" not in logs:
            return
        self._must_be_a_number(state.global_step, logs)
        tokens, seconds = self.clock.lap(state.global_step, int(logs.get("num_tokens", 0)))
        self.tokens += tokens
        rate = tokens / seconds if seconds else 0.0
        line = {
            "step": state.global_step,
            "loss": logs["loss"],
            "learning_rate": logs.get("learning_rate"),
            "tokens": self.tokens,
            "tokens_per_second": round(rate, 1),
            "mfu": self.speed(rate, more["model"]),
            "memory_gb": round(_memory() / 1e9, 3),
            "epoch": logs.get("epoch"),
            "seconds": round(seconds, 4),
        }
        named_already = {"num_tokens", "total_flos", *line}
        line |= {name: value for name, value in logs.items() if name not in named_already}
        if state.is_world_process_zero:
            self.metrics.write(line)
            mfu = f", MFU {line['mfu']:.1%}" if line["mfu"] is not None else ""
            said = f"loss {logs['loss']:.4f}, lr {line['learning_rate'] or 0:.2e}, {rate:,.0f} tokens/s{mfu}"
            self.bar.advance(state.global_step - self.last, f"{said}, {line['memory_gb']:.1f} GB")
        self.last = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if anywhere(bool(self.stop), args):
            control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        _wait_for_all()
        if state.is_world_process_zero:
            checkpoints.seal(self.out / f"checkpoint-{state.global_step}")
            checkpoints.remove_old(self.out)
            if (found := manifest.read(self.out)) is not None:
                report(self.out, found)
        _wait_for_all()  # a process that ended now would take the one that writes with it

    def _must_be_a_number(self, at: int, logs: dict[str, Any]) -> None:
        for name in ("loss", "grad_norm"):
            if math.isfinite(float(logs.get(name) or 0)):
                continue
            rows = self._rows(at)
            about = f" of the rows {named(rows, 8)}" if rows else ""
            raise ValueError(
                f"step {at}: {'the loss' if name == 'loss' else 'the gradient'}{about} is {logs[name]}; "
                "look at these rows, or try a smaller --learning-rate; the last checkpoint is from before"
            )

    def _rows(self, at: int) -> list[str]:
        """Rows of the steps since the last one that was logged."""
        if not self.counted:
            return []
        return rows_of_steps(places(self.out / DATA), self.plan.batch, self.last + 1, at)


def _speed(plan: Plan) -> Callable[[float, Any], float | None]:
    """MFU for tokens a second; None without a GPU, or for one whose peak is not known."""
    if plan.precision == "fp32" or not torch.cuda.is_available():
        return lambda rate, model: None
    from trl.trainer.utils import compute_flops_per_token, get_peak_flops

    peak = get_peak_flops(torch.cuda.get_device_name(), "bfloat16")
    seen = plan.tokens // max(1, plan.examples) // 2  # a token attends to half of its row on average
    idle = 1 - plan.learned / max(1, plan.tokens)  # tokens without a label never reach the output layer
    passes = 2 if plan.method != "full" else 3  # backward is twice a forward pass, once without gradients of weights

    def speed(rate: float, model: Any) -> float | None:
        if peak is None:
            return None
        sizes = model.config.get_text_config()
        forward = compute_flops_per_token(sizes, seen) / 3 - idle * 2 * sizes.hidden_size * sizes.vocab_size
        return round(float(passes * forward * rate / (peak * plan.processes)), 4)

    return speed


def _memory() -> int:
    """Bytes at the peak so far: of the GPU, or of this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _wait_for_all() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def anywhere(flag: bool, args: Any) -> bool:
    """Whether any rank has the flag: all must stop behind the same step."""
    if args.world_size == 1:
        return flag
    seen = torch.tensor(int(flag), device=args.device)
    torch.distributed.all_reduce(seen, op=torch.distributed.ReduceOp.MAX)
    return bool(seen.item())
