"""What the user may set for dialogue."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipelines.ask_items import RULES, AskSettings

ROLES = ("doctor", "nurse", "pharmacist", "tcm")
FROM = ("cases", "corpus", "kg", "rewrite")
MODES = ("turns", "single")
MOST_TURNS = 40


@dataclass(frozen=True)
class DialogueSettings(AskSettings):
    """What shapes the dialogues. `source` says what the input holds."""

    role: str = "doctor"
    turns: str = "3-8"
    mode: str = "turns"
    source: str = "cases"
    with_system: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (("role", ROLES), ("mode", MODES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"--{name} {getattr(self, name)}: must be one of {', '.join(allowed)}")
        if self.model == RULES and self.source != "kg":
            raise ValueError("--model rules: makes dialogues of a graph alone; add --from-kg, or name a model")
        least, most = self.span
        if not 1 <= least <= most <= MOST_TURNS:
            raise ValueError(f"--turns {self.turns}: must be MIN-MAX, such as 3-8, of 1 to {MOST_TURNS} exchanges")

    @property
    def span(self) -> tuple[int, int]:
        """The least and the most exchanges of a dialogue; a pair of zeros where `turns` is neither N nor MIN-MAX."""
        found = re.fullmatch(r"\s*(\d{1,3})(?:\s*[-–~]\s*(\d{1,3}))?\s*", self.turns)
        return (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
