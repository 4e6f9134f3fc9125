"""The tokenizer and the model of a run, as its settings want them. Everything heavy is imported in here."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from trainers.plan import Plan
from trainers.render import use_template
from trainers.settings import TrainSettings
from trainers.stages import STAGES

ROPE = ("yarn", "linear", "dynamic")


def quiet_libraries() -> None:
    """No telemetry, no banner, no bar: the plan says what matters. To be called before any of them is imported."""
    for name, value in {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "TOKENIZERS_PARALLELISM": "true",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
        "TRACKIO_DISABLE_TELEMETRY": "1",
    }.items():
        os.environ.setdefault(name, value)


def quiet_loggers() -> None:
    """Errors alone. To be called once TRL is imported, which sets up a logger of its own."""

    for name in ("transformers", "trl", "accelerate", "datasets", "peft", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(trl|transformers|peft|accelerate|torch)\b.*")


def library(name: str) -> Any:
    """A library of the `train` extra. Raises ValueError that says how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ValueError(f"train: needs pip install 'medical-datatools[train]' ({error})") from error


def tokenizer_of(settings: TrainSettings, path: str) -> Any:
    """The model's tokenizer, with the chat template that the settings name. Raises ValueError where there is none."""
    transformers = library("transformers")
    try:
        config = transformers.AutoConfig.from_pretrained(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = (str(error).strip() or type(error).__name__).partition(". ")[0].splitlines()[0]
        raise ValueError(f"--model {settings.model}: config.json cannot be read ({said})") from error
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"--model {settings.model}: no tokenizer there ({said})") from error
    rows = config.get_text_config().vocab_size
    if tokenizer.vocab_size > rows:
        raise ValueError(
            f"--model {settings.model}: its tokenizer has {tokenizer.vocab_size:,} tokens, the model knows {rows:,}; "
            "it is another model's tokenizer"
        )
    if settings.template:
        use_template(tokenizer, settings.template, settings.model)
    return tokenizer


def model_of(settings: TrainSettings, plan: Plan, tokenizer: Any) -> Any:
    """The model to train: weights, attention, longer context, room for new tokens. Raises ValueError."""
    torch, transformers = library("torch"), library("transformers")
    stage = STAGES[plan.stage]
    if plan.attention == "varlen":
        from trainers.attention import register

        register()
    config = transformers.AutoConfig.from_pretrained(settings.start)
    if settings.rope_scaling:
        _stretch(config, settings.rope_scaling)
    options: dict[str, Any] = {"config": config, "attn_implementation": plan.attention}
    options["dtype"] = torch.bfloat16 if plan.precision == "bf16 weights" else torch.float32
    if plan.method == "qlora":
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    if stage.scores:
        config.num_labels = 1
    kind = transformers.AutoModelForSequenceClassification if stage.scores else transformers.AutoModelForCausalLM
    try:
        model = kind.from_pretrained(settings.start, **options)
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        if "mismatched" in said:
            said = "its weights have other shapes than config.json says"
        raise ValueError(f"--model {settings.model}: cannot be loaded ({said})") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        if plan.stage in ("dpo", "kto"):
            raise ValueError(
                f"--model {settings.model}: the tokenizer has tokens that the model lacks, "
                f"{'by --template ' + settings.template if settings.template else 'added to it'}, and so does its "
                "reference; train sft with it first"
            )
        model.resize_token_embeddings(len(tokenizer))
    return model


def adapter_of(settings: TrainSettings, plan: Plan, tokenizer: Any, known: int, model: Any) -> Any:
    """Configuration of the adapter, or None; tokens beyond the `known` ones of the model are trained whole."""
    if plan.method == "full":
        return None
    peft = library("peft")
    new = list(range(known, len(tokenizer)))
    return peft.LoraConfig(
        r=settings.lora_rank,
        lora_alpha=2 * settings.lora_rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="SEQ_CLS" if STAGES[plan.stage].scores else "CAUSAL_LM",
        use_dora=plan.method == "dora",
        trainable_token_indices=_rows_of(model, new) if new else None,
    )


def _rows_of(model: Any, tokens: list[int]) -> Any:
    """What peft is told to train of the embeddings: rows of the input, and of the output where it is another table."""
    table, head = model.get_input_embeddings(), model.get_output_embeddings()
    if head is None or head.weight is table.weight:
        return tokens
    names = {module: name.rpartition(".")[2] for name, module in model.named_modules()}
    return {names[table]: tokens, names[head]: tokens}


def check_rope(wanted: str | None) -> None:
    """Raise ValueError unless it is KIND:FACTOR, such as yarn:4."""
    if wanted is None:
        return
    kind, _, factor = wanted.partition(":")
    try:
        fits = kind in ROPE and float(factor) > 1
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"--rope-scaling {wanted}: KIND:FACTOR is needed, of {', '.join(ROPE)}, such as yarn:4")


def check_trackers(wanted: Sequence[str]) -> None:
    """Raise ValueError unless all trackers are installed."""
    if not wanted:
        return
    there = library("transformers.integrations").get_available_reporting_integrations()
    if missing := [name for name in wanted if name not in there]:
        known = ", ".join(there) or "none"
        raise ValueError(
            f"--report-to {missing[0]}: is not installed here (there are: {known}); pip install {missing[0]}"
        )


def _stretch(config: Any, wanted: str) -> None:
    kind, _, factor = wanted.partition(":")
    before = config.max_position_embeddings
    given = dict(getattr(config, "rope_parameters", None) or {})
    config.rope_parameters = {**given, "rope_type": kind, "factor": float(factor)}
    if kind == "yarn":
        config.rope_parameters["original_max_position_embeddings"] = before
    config.max_position_embeddings = int(before * float(factor))
