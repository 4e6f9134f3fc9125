"""TRL's trainer of a run's stage, built as the plan says: model, rows, and every field of its configuration."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from trainers import vocabulary
from trainers.load import adapter_of, library, model_of, quiet_loggers, tokenizer_of
from trainers.plan import Plan
from trainers.prepare import DATA, VERBATIM, is_rendered
from trainers.render import Renderer
from trainers.rewards import rewards_of
from trainers.settings import TrainSettings
from trainers.stages import STAGES, classes


def trainer_of(out: Path, settings: TrainSettings, plan: Plan) -> tuple[Any, Any]:
    """TRL's trainer of the stage, as the plan says. Raises ValueError for settings the library refuses."""
    transformers = library("transformers")
    library("trl")  # sets up its logger, which is quietened next
    quiet_loggers()
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
    template = tokenizer.chat_template
    if is_rendered(out / DATA):
        tokenizer.chat_template = VERBATIM
    try:
        config = config_class(**_config(out, settings, plan, {one.name for one in fields(config_class)}))
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
    tokenizer.chat_template = template  # replies are tokens now; what is saved is the model's own
    head = trainer.model.get_output_embeddings() if known else None
    if head is not None and not hasattr(head, "bias"):
        head.bias = None  # the fused loss asks for it, and peft's wrapper around a head with new tokens has none
    for callback in (transformers.PrinterCallback, transformers.ProgressCallback):
        trainer.remove_callback(callback)
    return trainer, tokenizer


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
