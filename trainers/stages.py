"""The stages of training in one table: columns, classes of TRL, learning rates. A new method is a row.

Everything else about a stage is the library's own configuration: its fields can be set by name, and are checked here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Stage:
    """How a stage is trained. `rows` is the form its rows are prepared in: tokens, pairs, replies or prompts."""

    trainer: str
    config: str
    module: str
    rows: str
    learning_rate: float  # of all weights; adapters learn at ten times that
    needs: str  # for people: the columns it reads
    scores: bool = False  # a model with one number as its output
    defaults: Mapping[str, Any] = field(default_factory=dict)


_RL = {"shuffle_dataset": False, "num_generations": 8, "max_completion_length": 256}
_TEXT = "text"
_TALK = "messages (or conversations, question + answer, instruction + output, prompt + completion)"
_TALKS = [
    *({"messages"}, {"conversations"}, {"question", "answer"}, {"prompt", "completion"}),
    {"instruction", "output"},
]
_PAIR = "prompt, chosen, rejected"
_ASK = "prompt (or question, options, answer of an exam)"

STAGES = {
    "pt": Stage("SFTTrainer", "SFTConfig", "trl", "tokens", 1e-5, _TEXT),
    "sft": Stage("SFTTrainer", "SFTConfig", "trl", "tokens", 2e-5, _TALK),
    "dpo": Stage("DPOTrainer", "DPOConfig", "trl", "pairs", 1e-6, _PAIR),
    "orpo": Stage("ORPOTrainer", "ORPOConfig", "trl.experimental.orpo", "pairs", 5e-6, _PAIR),
    "kto": Stage("KTOTrainer", "KTOConfig", "trl", "replies", 1e-6, "prompt, completion, label (or a pair's columns)"),
    "rm": Stage("RewardTrainer", "RewardConfig", "trl", "pairs", 1e-5, _PAIR, scores=True),
    "grpo": Stage("GRPOTrainer", "GRPOConfig", "trl", "prompts", 1e-6, _ASK, defaults=_RL),
    "rloo": Stage("RLOOTrainer", "RLOOConfig", "trl", "prompts", 1e-6, _ASK, defaults=_RL),
}

# Fields that would undo what the rows were prepared and verified for, and what to do in their place.
KEPT = {
    "output_dir": "use --out",
    "max_length": "use --max-length",
    "packing": "use --no-pack",
    "padding_free": "use --no-pack",
    "num_train_epochs": "use --epochs",
    "max_steps": "use --max-steps",
    "learning_rate": "use --learning-rate",
    "per_device_train_batch_size": "use --batch-size",
    "gradient_accumulation_steps": "use --batch-size",
    "save_steps": "use --save-steps",
    "seed": "use --seed",
    "report_to": "use --report-to",
    "neftune_noise_alpha": "use --neftune",
    **dict.fromkeys(("chat_template_path", "eos_token"), "use --template"),
    **dict.fromkeys(("deepspeed", "fsdp", "fsdp_config", "parallelism_config"), "use --launch"),
    **dict.fromkeys(
        ("train_sampling_strategy", "shuffle_dataset", "save_total_limit", "save_strategy", "load_best_model_at_end"),
        "cannot be set: rows are trained in their order, and checkpoints are kept so that any kill can be taken up",
    ),
    **dict.fromkeys(
        ("dataset_kwargs", "dataset_text_field", "packing_strategy", "assistant_only_loss", "completion_only_loss"),
        "cannot be set: rows are rendered, masked and packed before, and every one is verified",
    ),
    **dict.fromkeys(("eval_strategy", "do_eval", "eval_on_start"), "cannot be set: `datatools evaluate` evaluates"),
    **dict.fromkeys(("push_to_hub", "hub_model_id"), "cannot be set: nothing is sent anywhere"),
    "model_init_kwargs": "cannot be set: --method, --attention and --rope-scaling decide how the model is loaded",
}


def stage_named(name: str) -> Stage:
    """The stage of that name. Raises ValueError, with a suggestion."""
    if name not in STAGES:
        raise ValueError(f"--stage {name}: {_hint(name, STAGES)}")
    return STAGES[name]


def stage_of(columns: Iterable[str], path: str) -> str:
    """The stage that columns speak of. Raises ValueError, naming the file, where they speak of none.

    >>> stage_of(["id", "messages", "prompt"], "a"), stage_of(["prompt", "chosen", "rejected"], "a")
    ('sft', 'dpo')
    >>> stage_of(["prompt", "completion", "label"], "a"), stage_of(["question", "options", "answer"], "a")
    ('kto', 'grpo')
    >>> stage_of(["prompt", "completion"], "a"), stage_of(["prompt"], "a"), stage_of(["text", "title"], "a")
    ('sft', 'grpo', 'pt')
    """
    found = set(columns)
    if found & {"messages", "conversations"}:
        return "sft"
    for stage, wanted in (
        ("dpo", {"chosen", "rejected", "prompt"}),
        ("kto", {"prompt", "completion", "label"}),
        ("grpo", {"question", "options", "answer"}),
        ("sft", {"question", "answer"}),
        ("sft", {"prompt", "completion"}),
        ("sft", {"instruction", "output"}),
        ("dpo", {"chosen", "rejected"}),
        ("grpo", {"prompt"}),
        ("pt", {"text"}),
    ):
        if wanted <= found:
            return stage
    forms = "; ".join(f"{name}: {stage.needs}" for name, stage in STAGES.items() if name not in ("orpo", "rm", "rloo"))
    raise ValueError(f"{path}: its columns ({', '.join(sorted(found))}) are those of no stage. {forms}")


def check_columns(stage: str, columns: Iterable[str], path: str) -> None:
    """Raise ValueError unless a file has what its stage needs."""
    found, rows = set(columns), STAGES[stage].rows
    whole = {
        "tokens": [{"text"}] if stage == "pt" else _TALKS,
        "pairs": [{"chosen", "rejected"}],
        "replies": [{"prompt", "completion", "label"}, {"chosen", "rejected"}],
        "prompts": [{"prompt"}, {"question"}],
    }[rows]
    if not any(wanted <= found for wanted in whole):
        raise ValueError(
            f"{path}: stage {stage} needs {STAGES[stage].needs}; the file has {', '.join(sorted(found)) or 'nothing'}"
        )


def check_settings(stage: str, given: Mapping[str, Any]) -> None:
    """Raise ValueError, with a suggestion, unless every name is a field of the stage's configuration.

    Imports TRL: only called where something was set.
    """
    known = {one.name: one for one in dataclasses.fields(classes(stage)[1])}
    for name, value in given.items():
        if name in KEPT:
            raise ValueError(f"--set {name}: {KEPT[name]}")
        if name not in known:
            raise ValueError(
                f"--set {name}: {STAGES[stage].config} of stage {stage} has no such field; {_hint(name, known)}"
            )
        usual = known[name].default
        number = isinstance(usual, int | float) and not isinstance(usual, bool)
        if number and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"--set {name}={value}: a number is needed, such as {usual}")
        if isinstance(usual, bool) and not isinstance(value, bool):
            raise ValueError(f"--set {name}={value}: true or false is needed")


def classes(stage: str) -> tuple[Any, Any]:
    """Trainer and configuration of a stage. Imports TRL, which takes seconds."""
    try:
        module = import_module(STAGES[stage].module)
        return getattr(module, STAGES[stage].trainer), getattr(module, STAGES[stage].config)
    except ImportError as error:
        raise ValueError(f"train: needs pip install 'medical-datatools[train]' ({error})") from error


def _hint(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"there are {', '.join(names)}" if len(names) < 20 else "its documentation lists them"
