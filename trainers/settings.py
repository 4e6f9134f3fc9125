"""What the user asked of a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

METHODS = ("auto", "full", "lora", "qlora", "dora")
ATTENTION = ("auto", "sdpa", "eager", "varlen", "flash_attention_2")
LAUNCHES = ("auto", "ddp", "fsdp2", "zero2", "zero3")
TOO_LONG = ("cut", "drop")
# What may differ between a run and the run that goes on with it: none of it changes a weight.
FREE = ("out", "report_to", "save_steps")


@dataclass(frozen=True)
class TrainSettings:
    """Options of `datatools train`; None and "auto" are decided by the plan, which says why."""

    inputs: tuple[str, ...]
    model: str
    out: str
    stage: str | None = None
    method: str = "auto"
    template: str | None = None
    epochs: float | None = None
    learning_rate: float | None = None
    batch_size: int | None = None  # rows of an optimizer step
    max_steps: int | None = None
    save_steps: int | None = None
    max_length: int | None = None  # tokens
    too_long: str = "cut"
    pack: bool = True
    attention: str = "auto"
    lora_rank: int = 16
    neftune: float | None = None
    rope_scaling: str | None = None
    general: tuple[str, ...] = ()
    general_share: float = 0.1
    rewards: tuple[str, ...] = ()
    launch: str = "auto"
    processes: int | None = None
    report_to: tuple[str, ...] = ()
    extend_vocab: str | None = None  # corpus that new tokens are trained on
    new_tokens: int = 2000
    limit: int | None = None
    seed: int = 0
    set: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, allowed in (
            ("method", METHODS),
            ("attention", ATTENTION),
            ("launch", LAUNCHES),
            ("too_long", TOO_LONG),
        ):
            if (value := getattr(self, name)) not in allowed:
                raise ValueError(f"--{name.replace('_', '-')} {value}: there are {', '.join(allowed)}")
        counts = ("epochs", "batch_size", "max_steps", "save_steps", "max_length", "processes", "new_tokens")
        for name in (*counts, "limit", "learning_rate", "neftune"):
            if (value := getattr(self, name)) is not None and not 0 < value < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} {value}: must be a number above 0")
        if not 0 <= self.seed < 1 << 32:
            raise ValueError(f"--seed {self.seed}: must be from 0 to {(1 << 32) - 1}")
        if not 0 < self.general_share < 1:
            raise ValueError(f"--general-share {self.general_share}: a share between 0 and 1 is needed")

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return Path(self.out)

    @property
    def start(self) -> str:
        """The model that training begins with: the one that is named, or what --extend-vocab made of it."""
        return str(self.folder / "base") if self.extend_vocab else self.model

    def recorded(self) -> dict[str, Any]:
        """What the manifest keeps, as JSON would give it back: everything but what changes no weight."""
        values = {name: value for name, value in asdict(self).items() if name not in FREE}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def settings_from(values: Mapping[str, Any]) -> TrainSettings:
    """The settings among a verb's options."""
    names = {one.name for one in fields(TrainSettings)}
    taken = {name: value for name, value in values.items() if name in names}
    for name in ("inputs", "general", "rewards", "report_to"):
        taken[name] = tuple(taken.get(name) or ())
    return TrainSettings(**taken)


def assignments(words: list[str]) -> dict[str, Any]:
    """`name=value` pairs; a value is read as TOML, and as plain text where it is none.

    >>> assignments(["beta=0.2", "loss_type=[\\"sigmoid\\", \\"sft\\"]", "optim=adamw_torch", "tf32=true"])
    {'beta': 0.2, 'loss_type': ['sigmoid', 'sft'], 'optim': 'adamw_torch', 'tf32': True}
    """
    import tomllib

    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"--set {word}: name=value is needed, such as --set weight_decay=0.1")
        try:
            found[name.strip()] = tomllib.loads(f"v = {value}")["v"]
        except tomllib.TOMLDecodeError:
            found[name.strip()] = value
    return found
