"""How calls to a model are made: what every job that makes any takes from the command line."""

from __future__ import annotations

from dataclasses import dataclass


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
    dry_run: bool = False  # only say what the job would cost
    pilot: int | None = None  # items that this is found out with

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
