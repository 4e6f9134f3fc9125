"""What the user may set for unify: what shapes the result, and how the work is done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pipelines.ask_run import AskRun
from schemas.document import SOURCE_TYPES


@dataclass(frozen=True)
class UnifySettings:
    """What shapes the result: two runs that differ here must not be mixed. Defaults are the command line's."""

    model: str = "rules"
    base_url: str | None = None
    temperature: float | None = None
    reasoning_effort: str | None = None  # none, low, medium, high, …: sent as it is
    language: str = "same"  # of the pairs: zh, en, or that of the passage
    pairs_per_passage: int = 1
    limit: int | None = None  # documents or input rows
    text_column: str | None = None
    source_type: str | None = None
    passage_characters: int = 800
    passage_words: int = 500
    curate: bool = True  # clean, filter and deduplicate the documents first
    decontaminate: tuple[str, ...] = ()  # files of exam items to keep out of documents and pairs
    rewrite_pairs: bool = False  # send pairs that stand in the source to the model too
    prompts: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.language not in ("zh", "en", "same"):
            raise ValueError(f"--language {self.language}: must be zh, en or same")
        if self.source_type is not None and self.source_type not in SOURCE_TYPES:
            raise ValueError(f"--source-type {self.source_type}: must be one of {', '.join(SOURCE_TYPES)}")
        for name in ("pairs_per_passage", "passage_characters", "passage_words"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be 1 or more")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"--limit {self.limit}: must be 1 or more")
        if self.model == "rules" and self.language != "same":
            raise ValueError(f"--language {self.language}: the built-in generator cannot translate; add --model NAME")
        if self.model == "rules" and (self.rewrite_pairs or self.base_url):
            raise ValueError(f"--{'rewrite-pairs' if self.rewrite_pairs else 'base-url'}: needs --model NAME")
        if self.reasoning_effort is not None and not self.reasoning_effort.isalpha():
            raise ValueError(f"--reasoning-effort {self.reasoning_effort!r}: must be a word, such as low or none")
        if self.base_url and self.model.startswith("transformers:"):
            raise ValueError(f"--model {self.model}: runs in this process, so there is no --base-url")
        if self.base_url and not self.base_url.strip().startswith(("http://", "https://")):
            raise ValueError(f"--base-url {self.base_url}: must look like http://localhost:8000/v1")

    @property
    def uses_model(self) -> bool:
        """Whether passages are sent to a model."""
        return self.model != "rules"


def settings_from(values: dict[str, Any]) -> tuple[UnifySettings, AskRun]:
    """Settings and run options from the command line's values; what is None keeps its default."""
    given = {name: value for name, value in values.items() if value is not None}
    settings = UnifySettings(**{name: given[name] for name in UnifySettings.__dataclass_fields__ if name in given})
    run = AskRun(**{name: given[name] for name in AskRun.__dataclass_fields__ if name in given})
    run = replace(run, dry_run=run.dry_run or run.pilot is not None)  # a pilot is no whole run
    if run.dry_run and not settings.uses_model:
        raise ValueError("--dry-run: needs --model NAME; the built-in generator costs nothing")
    if run.budget is not None and not settings.uses_model:
        raise ValueError("--budget: needs --model NAME; the built-in generator costs nothing")
    if run.lane == "batch" and (not settings.uses_model or settings.model.startswith("transformers:")):
        raise ValueError("--lane batch: needs --model NAME of an endpoint that takes batch files")
    return settings, run
