"""The process that trains: everything it needs stands in the run's folder. `python -m trainers.fit RUN` for every rank.

It builds TRL's trainer for the stage, goes on from the newest whole checkpoint, and leaves the model in the folder.
"""

from __future__ import annotations

import copy
import errno
import json
import math
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from datatools.io.atomic import sync_folder
from datatools.report.progress import Bar, Progress
from trainers import checkpoints, manifest, vocabulary
from trainers.folder import is_adapter
from trainers.load import adapter_of, library, model_of, quiet_libraries, tokenizer_of
from trainers.metrics import Clock, Metrics, rows_of_steps, tokens_of_steps
from trainers.plan import Plan, named, plan_from
from trainers.prepare import VERBATIM, is_rendered, places, token_counts
from trainers.render import Renderer
from trainers.rewards import rewards_of
from trainers.settings import TrainSettings, settings_from
from trainers.stages import STAGES, classes

DATA = "data/train.arrow"
TEMPORARY = ".model.tmp"
# What libraries say where a disk is full: Rust's and C++'s streams keep no errno.
FULL = ("os error 28", "os error 27", "No space left", "PytorchStreamWriter failed", "iostream error", "unexpected pos")
FULL_ERRNO = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def fit(out: Path, progress: Progress) -> None:
    """Train what `run.json` describes, or go on with it. Raises ValueError, KeyboardInterrupt when stopped."""
    quiet_libraries()
    found = manifest.read(out)
    assert found is not None, "trainers.run writes it first"
    settings = settings_from({**found["settings"], "out": str(out), **found["free"]})
    plan = plan_from(found["plan"])
    checkpoint = checkpoints.newest(out)
    trainer, tokenizer, plan = _fitting(out, settings, plan, progress)
    if plan.recorded() != found["plan"] and trainer.is_world_process_zero():
        manifest.write(out, {**found, "plan": plan.recorded()})
    if checkpoint:
        progress.say(f"train: goes on from {checkpoint.name} of {plan.steps:,}")
    with _stopping() as stop, progress.bar("train", plan.steps) as bar:
        step = checkpoints.step_of(checkpoint) if checkpoint else 0
        bar.advance(step)
        watch = _watch(out, plan, stop, bar, step)
        trainer.add_callback(watch)
        try:
            if checkpoint and _at_its_end(checkpoint):
                trainer._load_from_checkpoint(str(checkpoint))  # train() would take one step more
            else:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
                if stop and trainer.state.global_step < trainer.state.max_steps:
                    raise KeyboardInterrupt
            _save(trainer, tokenizer, out, settings, plan.stage)
        except Exception as error:
            if not _disk_is_full(error):
                raise
            raise ValueError(_no_space(out)) from error
        finally:
            watch.metrics.close()


def _at_its_end(checkpoint: Path) -> bool:
    """Whether a checkpoint is that of the last step."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return bool(state["global_step"] >= state["max_steps"])


def _fitting(out: Path, settings: TrainSettings, plan: Plan, progress: Progress) -> tuple[Any, Any, Plan]:
    """A trainer whose fullest batch fits the memory: half the rows at once, and twice the passes, until it does."""
    torch = library("torch")
    while True:
        trainer, tokenizer = _trainer(out, settings, plan)
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


def _trainer(out: Path, settings: TrainSettings, plan: Plan) -> tuple[Any, Any]:
    """TRL's trainer of the stage, as the plan says. Raises ValueError for settings the library refuses."""
    transformers = library("transformers")
    library("trl")  # sets up its logger, which is quietened next
    _quiet_loggers()
    transformers.set_seed(settings.seed)
    tokenizer = tokenizer_of(settings, settings.start)
    if tokenizer.eos_token is None and plan.stage != "pt":
        tokenizer.eos_token = Renderer(tokenizer, settings.model).end
    trainer_class, config_class = classes(plan.stage)
    data = _dataset(out / DATA, plan.stage)
    model = model_of(settings, plan, tokenizer)
    known = model.config.get_text_config().vocab_size if plan.method != "full" else 0
    before = transformers.AutoConfig.from_pretrained(settings.start).get_text_config().vocab_size
    if settings.extend_vocab:
        before = vocabulary.first_new(Path(settings.start))
    more: dict[str, Any] = {}
    if STAGES[plan.stage].rows == "prompts":
        more["reward_funcs"] = rewards_of(settings.rewards, has_answers="answer" in data.column_names)
    try:
        config = config_class(**_config(out, settings, plan, {one.name for one in fields(config_class)}))
        with _verbatim(tokenizer, settings.model) if is_rendered(out / DATA) else nullcontext():
            trainer = trainer_class(
                model=model,
                args=config,
                train_dataset=data,
                processing_class=tokenizer,
                peft_config=adapter_of(settings, plan, tokenizer, min(known, before), model) if known else None,
                **more,
            )
    except (TypeError, ValueError) as error:
        if settings.set:
            raise ValueError(f"--set {', '.join(settings.set)}: {' '.join(str(error).split())}") from error
        raise
    head = trainer.model.get_output_embeddings() if known else None
    if head is not None and not hasattr(head, "bias"):
        head.bias = None  # the fused loss asks for it, and peft's wrapper around a head with new tokens has none
    for callback in (transformers.PrinterCallback, transformers.ProgressCallback):
        trainer.remove_callback(callback)
    return trainer, tokenizer


@contextmanager
def _verbatim(tokenizer: Any, model: str) -> Iterator[None]:
    """While a trainer makes tokens of replies: nothing is put around them, they have their beginning and their end."""
    before = tokenizer.chat_template, tokenizer.bos_token, tokenizer.eos_token
    end = Renderer(tokenizer, model).end
    tokenizer.chat_template, tokenizer.bos_token, tokenizer.eos_token = VERBATIM, None, end
    try:
        yield
    finally:
        tokenizer.chat_template, tokenizer.bos_token, tokenizer.eos_token = before


def _config(out: Path, settings: TrainSettings, plan: Plan, known: set[str]) -> dict[str, Any]:
    stage, cpu = STAGES[plan.stage], plan.precision == "fp32"
    values: dict[str, Any] = {
        "output_dir": str(out),
        "num_train_epochs": plan.epochs,
        "max_steps": settings.max_steps or -1,
        "learning_rate": plan.learning_rate,
        "warmup_steps": 0.03,
        "per_device_train_batch_size": plan.per_device,
        "gradient_accumulation_steps": plan.accumulation,
        "gradient_checkpointing": None,
        "activation_checkpointing": plan.checkpointing,
        "bf16": not cpu,
        "use_cpu": cpu,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "save_strategy": "steps",
        "save_steps": plan.save_steps,
        "save_total_limit": None,  # ours: TRL's would delete the last whole one before the next is whole
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # it would hide a loss that is no number
        "disable_tqdm": True,
        "report_to": list(settings.report_to) or "none",
        "dataloader_num_workers": 0 if cpu else 2,
        "neftune_noise_alpha": settings.neftune,
        "ddp_find_unused_parameters": False,
        "remove_unused_columns": stage.rows != "prompts",
        **({"use_cpu": True, "ddp_backend": "gloo"} if cpu and plan.processes > 1 else {}),
    }
    if stage.rows == "tokens":
        # Rows are rendered, verified, packed: TRL is to change nothing about them.
        values |= {"padding_free": True, "max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
    elif stage.rows != "prompts":
        values["max_length"] = plan.max_length + 8  # nothing longer is left; ORPO adds an end and a beginning
    if stage.rows != "prompts":
        values["train_sampling_strategy"] = "sequential"
    if plan.stage == "orpo":
        values["max_completion_length"] = plan.max_length
    return {name: value for name, value in values.items() if name in known} | dict(stage.defaults) | dict(settings.set)


def _dataset(path: Path, stage: str) -> Any:
    """The prepared rows, mapped into memory, with the columns that the trainer reads."""
    datasets = library("datasets")
    datasets.disable_progress_bars()
    data = datasets.Dataset.from_file(str(path))
    rows = STAGES[stage].rows
    drop = ["places"] if rows == "tokens" else ["place", "length", "tokens"]
    if rows == "prompts":
        drop += [name for name in ("answer", "source_text") if all(value is None for value in data[name])]
    return data.remove_columns(drop)


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


def _watch(out: Path, plan: Plan, stop: list[int], bar: Bar, step: int) -> Any:
    """The callback that writes metrics, seals checkpoints, stops at a signal and at a loss that is no number."""
    from transformers import TrainerCallback

    torch = library("torch")
    data = out / DATA
    counted = STAGES[plan.stage].rows != "prompts"
    per_pass = plan.per_device * plan.processes
    known = tokens_of_steps(token_counts(data), per_pass, plan.accumulation) if counted else None

    class Watch(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            self.metrics = Metrics(out, step, writes=os.environ.get("RANK", "0") == "0")
            self.tokens, self.last = self.metrics.tokens, step
            self.clock = Clock(known, self.tokens)
            self.speed = _speed(plan)

        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.clock = Clock(known, self.tokens)

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
                "memory_gb": round(_memory(torch) / 1e9, 3),
                "epoch": logs.get("epoch"),
                "seconds": round(seconds, 4),
            }
            named_already = {"num_tokens", "total_flos", *line}
            line |= {name: value for name, value in logs.items() if name not in named_already}
            if state.is_world_process_zero:
                self.metrics.write(line)
                mfu = f", MFU {line['mfu']:.1%}" if line["mfu"] is not None else ""
                said = f"loss {logs['loss']:.4f}, lr {line['learning_rate'] or 0:.2e}, {rate:,.0f} tokens/s{mfu}"
                bar.advance(state.global_step - self.last, f"{said}, {line['memory_gb']:.1f} GB")
            self.last = state.global_step

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if _anywhere(bool(stop), args):
                control.should_save = control.should_training_stop = True

        def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if torch.distributed.is_initialized():
                torch.distributed.barrier()
            if state.is_world_process_zero:
                checkpoints.seal(out / f"checkpoint-{state.global_step}")
                checkpoints.remove_old(out)

        def _must_be_a_number(self, at: int, logs: dict[str, Any]) -> None:
            for name in ("loss", "grad_norm"):
                if math.isfinite(float(logs.get(name) or 0)):
                    continue
                rows = rows_of_steps(places(data), plan.batch, self.last + 1, at) if counted else []
                about = f" of the rows {named(rows, 8)}" if rows else ""
                raise ValueError(
                    f"step {at}: {'the loss' if name == 'loss' else 'the gradient'}{about} is {logs[name]}; "
                    "look at these rows, or try a smaller --learning-rate; the last checkpoint is from before"
                )

    return Watch()


def _speed(plan: Plan) -> Callable[[float, Any], float | None]:
    """MFU for tokens a second; None without a GPU, or for one whose peak is not known."""
    torch = library("torch")
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


def _memory(torch: Any) -> int:
    """Bytes at the peak so far: of the GPU, or of this process."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _anywhere(flag: bool, args: Any) -> bool:
    """Whether any rank has the flag: all must stop behind the same step."""
    if args.world_size == 1:
        return flag
    torch = library("torch")
    seen = torch.tensor(int(flag), device=args.device)
    torch.distributed.all_reduce(seen, op=torch.distributed.ReduceOp.MAX)
    return bool(seen.item())


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """A list that holds the signal once Ctrl-C or SIGTERM came: the step under way is finished and saved first.

    A second signal does not wait for that.
    """
    seen: list[int] = []

    def note(number: int, frame: object) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _save(trainer: Any, tokenizer: Any, out: Path, settings: TrainSettings, stage: str) -> None:
    """Put model and tokenizer into the run's folder: written beside it, made durable, then moved in."""
    temporary = out / TEMPORARY
    model = trainer.accelerator.unwrap_model(trainer.model)
    # Of texts alone nothing is rendered, and no template need be one that can be.
    if getattr(model, "generation_config", None) is not None and tokenizer.chat_template and stage != "pt":
        end = tokenizer.convert_tokens_to_ids(Renderer(tokenizer, settings.model).end)
        stated = model.generation_config.eos_token_id
        several = stated if isinstance(stated, list) else [stated]
        ends = sorted({int(one) for one in (*several, end, tokenizer.eos_token_id) if one is not None})
        model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    trainer.save_model(str(temporary))  # every rank: shards are gathered
    if not trainer.is_world_process_zero():
        return
    if settings.rope_scaling and is_adapter(temporary):
        model.config.save_pretrained(temporary)  # the adapter was learned over positions that its base does not have
    tokenizer.save_pretrained(temporary)
    for name in ("training_args.bin", "README.md"):  # a pickle of paths, and a card that knows nothing of the data
        (temporary / name).unlink(missing_ok=True)
    for path in sorted(temporary.iterdir()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    # The weights last: where they are, the rest is.
    for path in sorted(temporary.iterdir(), key=lambda one: one.suffix == ".safetensors"):
        path.replace(out / path.name)
    shutil.rmtree(temporary)
    sync_folder(out)


def _disk_is_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL_ERRNO:
            return True
        if any(word in str(error) for word in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def _no_space(out: Path) -> str:
    """Make room by removing what was half written, and say what is left."""
    checkpoints.remove_broken(out)
    shutil.rmtree(out / TEMPORARY, ignore_errors=True)
    last = checkpoints.newest(out)
    size = sum(path.stat().st_size for path in last.rglob("*") if path.is_file()) if last else 0
    have = (
        f"the last whole one is {last.name}; about {size / 1e9:.2f} GB more are needed" if last else "there is none yet"
    )
    return f"{out}: the disk is full, a checkpoint could not be written; {have}. Make room: the same line goes on"


def _quiet_loggers() -> None:
    import logging
    import warnings

    for name in ("transformers", "trl", "accelerate", "datasets", "peft", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(trl|transformers|peft|accelerate|torch)\b.*")


def main() -> None:
    """One rank of several, started by accelerate: exit codes as those of the command line, one line on an error."""
    quiet_libraries()
    out, rank = Path(sys.argv[1]), int(os.environ.get("RANK", "0"))
    try:
        fit(out, Progress(quiet=rank != 0 or "--quiet" in sys.argv))
    except KeyboardInterrupt:
        sys.exit(130)
    except ValueError as error:
        if rank == 0:
            (out / "error.txt").write_text(str(error), encoding="utf-8")
        sys.exit(2)


if __name__ == "__main__":
    main()
