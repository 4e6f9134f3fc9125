"""What the user may set for prefer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipelines.ask_run import RULES, AskSettings

FORMATS = ("dpo", "rm", "kto")
MOST_CANDIDATES = 8
# Of the lengths, rejected to chosen, so that length is not what is learned.
LEAST_RATIO, MOST_RATIO = 0.67, 1.5
SCALE = (1, 10)
_AT = re.compile(r"(.+?)@(https?://.+)")


@dataclass(frozen=True)
class PreferSettings(AskSettings):
    """What shapes the pairs. Defaults are the command line's. Without `models` the worse answers come by rules."""

    models: tuple[str, ...] = ()  # who writes candidates: NAME, or NAME@URL where it is elsewhere than `base_url`
    temperatures: tuple[float, ...] = ()  # of the candidates, in turn; none: the endpoint's own
    candidates: int = 4  # the row's own answer among them
    judge_model: str | None = None
    judge_base_url: str | None = None
    margin: float = 1.0  # points by which the judge must prefer the chosen reply, in both orders
    format: str = "dpo"
    graph: str | None = None
    lexicon: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format not in FORMATS:
            raise ValueError(f"--format {self.format}: must be one of {', '.join(FORMATS)}")
        if not 2 <= self.candidates <= MOST_CANDIDATES:
            raise ValueError(
                f"--candidates {self.candidates}: must be 2 to {MOST_CANDIDATES}, the row's own among them"
            )
        if not 0 < self.margin < SCALE[1]:
            raise ValueError(
                f"--margin {self.margin:g}: must be above 0 and below {SCALE[1]}, points of the judge's scale"
            )
        if not self.models and (self.judge_model or self.judge_base_url):
            raise ValueError("--judge-model: needs --model NAME, who writes the candidates")
        if RULES in self.models:
            raise ValueError("--model rules: writes no candidates; leave --model away for corruptions by rules")

    def places(self) -> list[tuple[str, str | None]]:
        """Name and URL of the models that write."""
        return [(name, url or self.base_url) for name, url in map(name_and_url, self.models)]


def name_and_url(model: str) -> tuple[str, str | None]:
    """A model as the command line names it.

    >>> name_and_url("qwen@http://localhost:8000/v1"), name_and_url("org/model@v2")
    (('qwen', 'http://localhost:8000/v1'), ('org/model@v2', None))
    """
    found = _AT.fullmatch(model)
    return (found[1], found[2]) if found else (model, None)
