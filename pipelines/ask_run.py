"""What every job that calls a model takes from the command line: who is asked, and how the calls are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from datatools.engine.choice import LOCAL, Engine

T = TypeVar("T")
RULES = "rules"
IN_PROCESS = "transformers:"


@dataclass(frozen=True)
class AskSettings:
    """What shapes the result: two runs that differ here must not be mixed. Defaults are the command line's."""

    model: str = ""
    base_url: str | None = None
    temperature: float | None = None
    reasoning_effort: str | None = None  # none, low, medium, high, …: sent as it is
    prompts: str | None = None
    decontaminate: tuple[str, ...] = ()  # files of exam items to keep out of what is made
    limit: int | None = None  # input rows
    seed: int = 0

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"--limit {self.limit}: must be 1 or more")
        if self.reasoning_effort is not None and not self.reasoning_effort.isalpha():
            raise ValueError(f"--reasoning-effort {self.reasoning_effort!r}: must be a word, such as low or none")
        if self.base_url and (self.model == RULES or self.model.startswith(IN_PROCESS)):
            raise ValueError(f"--model {self.model}: runs in this process, so there is no --base-url")
        if self.base_url and not self.base_url.strip().startswith(("http://", "https://")):
            raise ValueError(f"--base-url {self.base_url}: must look like http://localhost:8000/v1")


@dataclass(frozen=True)
class AskRun:
    """How the work is done: nothing here changes a byte of the output."""

    fresh: bool = False
    retry_failed: bool = False
    concurrency: int | None = None
    rpm: float | None = None  # requests a minute
    tpm: float | None = None  # tokens a minute
    timeout: float | None = None
    attempts: int | None = None
    api_key_env: str = "OPENAI_API_KEY"
    lane: str = "sync"  # or batch: requests are sent as files
    poll: float | None = None  # seconds between two looks at a batch
    budget: float | None = None  # what the job may cost, all its runs together
    price_in: float | None = None  # per million tokens
    price_out: float | None = None
    judge_price_in: float | None = None  # of the judge, where that is another model
    judge_price_out: float | None = None
    dry_run: bool = False  # only say what the job would cost
    pilot: int | None = None  # items that this is found out with
    engine: Engine = LOCAL  # on Ray every node asks

    def __post_init__(self) -> None:
        if self.lane not in ("sync", "batch"):
            raise ValueError(f"--lane {self.lane}: must be sync or batch")

    @property
    def estimates(self) -> bool:
        """Whether the job only says what it would cost: a pilot is no whole run."""
        return self.dry_run or self.pilot is not None

    @property
    def sends(self) -> bool:
        """Whether anything is sent."""
        return not self.dry_run or self.pilot is not None


def taken(kind: type[T], values: Mapping[str, Any]) -> T:
    """Settings of a dataclass out of the command line's values; what is None keeps its default."""
    names = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    return kind(**{name: values[name] for name in names if values.get(name) is not None})
