"""What shapes a curation, from the command line or a recipe, and what its measuring and its deciding take of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from datatools.clean.lexicon import lexicon
from datatools.clean.rules import rules_from
from datatools.dedupe.near import Keep, Near
from datatools.report.progress import Progress
from pipelines.curate_decide import DecideSettings
from pipelines.curate_measure import MeasureSettings
from pipelines.leaks import digest_of, exam_index
from schemas.document import SOURCE_TYPES

KEEP = ("source-order", "longest", "newest")


@dataclass(frozen=True)
class CurateSettings:
    """What shapes the result. Defaults are the command line's."""

    rules: str = "default"  # or none: annotate and keep every row
    thresholds: Mapping[str, Any] = field(default_factory=dict)  # of single rules, from a recipe
    near_threshold: float = 0.8
    near: bool = True
    exact: bool = True
    boilerplate: bool = True
    redact: bool = True
    simplify: bool = False
    keep: Keep = "source-order"
    priority: tuple[str, ...] = ()
    against: str | None = None
    decontaminate: tuple[str, ...] = ()
    lexicon: str | None = None
    keep_values: bool = False
    limit: int | None = None
    text_column: str | None = None
    source_type: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rules not in ("default", "none"):
            raise ValueError(f"--rules {self.rules}: must be default or none (thresholds go into a recipe)")
        if self.keep not in KEEP:
            raise ValueError(f"--keep {self.keep}: must be one of {', '.join(KEEP)}")
        for name in self.priority:
            if name not in SOURCE_TYPES:
                raise ValueError(f"--priority {name}: must be source types, of {', '.join(SOURCE_TYPES)}")
        if self.source_type is not None and self.source_type not in SOURCE_TYPES:
            raise ValueError(f"--source-type {self.source_type}: must be one of {', '.join(SOURCE_TYPES)}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"--limit {self.limit}: must be 1 or more")
        if not isinstance(self.thresholds, Mapping):
            raise ValueError(f"thresholds {self.thresholds!r}: must be a table of rules by language and name")
        if not 0 < self.near_threshold <= 1:
            raise ValueError(f"--near-threshold {self.near_threshold}: must be above 0 and at most 1")


def measure_settings(settings: CurateSettings, work: Path, progress: Progress) -> MeasureSettings:
    """What the units need to know; the index of exam items is made unless it is there.

    Raises ValueError for files that cannot be used.
    """
    if settings.lexicon:
        lexicon(settings.lexicon)  # says what is wrong with it
    return MeasureSettings(
        text_column=settings.text_column,
        source_type=settings.source_type,
        simplify=settings.simplify,
        redact=settings.redact,
        lexicon=settings.lexicon or "",
        lexicon_digest=digest_of((settings.lexicon,)) if settings.lexicon else "",
        near_threshold=settings.near_threshold if settings.near else None,
        exam_index=str(exam_index(settings.decontaminate, work, progress) or ""),
        exam_digest=digest_of(settings.decontaminate),
    )


def decide_settings(settings: CurateSettings, measured_with: MeasureSettings | None = None) -> DecideSettings:
    """Thresholds as the deciding pass takes them. Raises ValueError for a threshold that needs measuring anew."""
    near = Near(threshold=settings.near_threshold) if settings.near else None
    if near and measured_with is not None:
        lowest = measured_with.near_threshold
        if lowest is None or settings.near_threshold < lowest:
            raise ValueError(
                f"--near-threshold {settings.near_threshold}: measured for {lowest} and above; run without --reapply"
            )
        near = Near(threshold=settings.near_threshold, bands_for=lowest)
    return DecideSettings(
        rules=() if settings.rules == "none" else rules_from(settings.thresholds),
        near=near if settings.rules != "none" else None,
        exact=settings.exact and settings.rules != "none",
        keep=settings.keep,
        priority=settings.priority,
        against=settings.against if settings.rules != "none" else None,
        leaks=settings.rules != "none",
    )


def plain(settings: CurateSettings) -> dict[str, Any]:
    """As JSON holds them."""
    return {**asdict(settings), "priority": list(settings.priority), "decontaminate": list(settings.decontaminate)}


def settings_from(values: Mapping[str, Any]) -> CurateSettings:
    """Settings from the command line's values; what is None keeps its default."""
    names = CurateSettings.__dataclass_fields__
    return CurateSettings(**{name: values[name] for name in names if values.get(name) is not None})
