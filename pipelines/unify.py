"""Unify: any folder of medical text becomes question–answer pairs to fine-tune on.

read → clean → passages → (duplicates out) → questions and answers → checks → (equal questions out) → one parquet.
With the built-in generator all of it up to the pairs is done by the units, in parallel; with a model the units stop at
the passages and one runner asks for the rest.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datatools.engine.local import run_units
from datatools.engine.units import Unit, identity, plan
from datatools.engine.work import Work, open_work
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines import unify_merge
from pipelines.inputs import nothing_readable, say_notes, sized_parts, sources_of
from pipelines.unify_passages import STREAMS, VERSION, PassageSettings, passages_of
from schemas.document import SOURCE_TYPES

if TYPE_CHECKING:
    from pipelines.unify_generate import ModelGenerator

NO_MODEL = (
    "no model configured: questions come from headings and patterns, answers are verbatim; "
    "add --model NAME --base-url URL to have a model rewrite the passages"
)


@dataclass(frozen=True)
class UnifySettings:
    """What shapes the result: two runs that differ here must not be mixed. Defaults are the command line's."""

    model: str = "rules"
    base_url: str | None = None
    temperature: float | None = None
    language: str = "same"  # of the pairs: zh, en, or that of the passage
    pairs_per_passage: int = 1
    limit: int | None = None  # documents or input rows
    text_column: str | None = None
    source_type: str | None = None
    passage_characters: int = 800
    passage_words: int = 500
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
        if self.base_url and not self.base_url.strip().startswith(("http://", "https://")):
            raise ValueError(f"--base-url {self.base_url}: must look like http://localhost:8000/v1")

    @property
    def uses_model(self) -> bool:
        """Whether passages are sent to a model."""
        return self.model != "rules"


@dataclass(frozen=True)
class UnifyRun:
    """How the work is done: nothing here changes a byte of the output."""

    workers: int = 1
    fresh: bool = False
    retry_failed: bool = False
    concurrency: int | None = None
    timeout: float | None = None
    attempts: int | None = None
    api_key_env: str = "OPENAI_API_KEY"


def unify(inputs: Sequence[str], out: Path, settings: UnifySettings, run: UnifyRun, progress: Progress) -> Summary:
    """Turn documents into Conversation rows at `out`; returns what was done.

    Raises ValueError for input or settings that cannot work, `datatools.llm.errors.Stopped` when the endpoint refuses.
    """
    began = time.monotonic()
    generator = _generator(settings, run)
    sources, faults = sources_of(inputs, out)
    identities = {source.path: identity(source.path) for source in sources}
    description = {
        "command": "unify",
        "settings": {**asdict(settings), **(generator.described() if generator else {})},
        "inputs": {source.name: identities[source.path] for source in sources},
    }
    with open_work(out, description, fresh=run.fresh) as work:
        passages = _passage_settings(settings)
        units = plan(sized_parts(sources), identities, f"passages@{VERSION} {passages}")
        progress.say(f"unify: {len(sources)} files, {len(units)} units, {run.workers} workers → {out}")
        if generator is None:
            progress.say(NO_MODEL)
        finished, tally = _run_units(units, passages, settings.limit, work, run.workers, progress)
        if not tally["rows_read"]:
            raise ValueError(nothing_readable(inputs, faults, work, [unit.key for unit in finished]))
        summary = Summary("unify", list(inputs), rows_read=tally["rows_read"], work=str(work.path))
        keys = [unit.key for unit in finished]
        say_notes(work, keys, progress)
        merge = unify_merge.Merge(work, keys, faults)
        if generator is not None:
            try:
                generator.run(merge, work, summary, progress)
            except BaseException as error:
                error.summary = summary  # type: ignore[attr-defined] # what was sent until then is told all the same
                raise
        merge.write(out, summary)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def _generator(settings: UnifySettings, run: UnifyRun) -> ModelGenerator | None:
    if not settings.uses_model:
        return None
    from pipelines.unify_generate import ModelGenerator  # brings openai along, half a second

    return ModelGenerator(settings, run)


def _passage_settings(settings: UnifySettings) -> PassageSettings:
    return PassageSettings(
        text_column=settings.text_column,
        source_type=settings.source_type,
        characters=settings.passage_characters,
        words=settings.passage_words,
        # One more than asked for where a model asks: the rules make no pairs then.
        pairs=0 if settings.uses_model else settings.pairs_per_passage,
        rewrite_pairs=settings.rewrite_pairs,
    )


def _run_units(
    units: list[Unit], settings: PassageSettings, limit: int | None, work: Work, workers: int, progress: Progress
) -> tuple[list[Unit], Counter[str]]:
    """The units that were run, in input order, and what they counted together."""
    tally: Counter[str] = Counter()
    if limit is not None:
        return list(_run_limited(units, settings, limit, work, tally)), tally
    with progress.bar("reading", len(units)) as bar:
        for _, counted in run_units(passages_of, units, settings, work, STREAMS, workers=workers):
            tally.update(counted)
            bar.advance(detail=f"{tally['rows_read']:,} documents")
    return units, tally


def _run_limited(
    units: list[Unit], settings: PassageSettings, limit: int, work: Work, tally: Counter[str]
) -> Iterator[Unit]:
    """Units one after another until `limit` documents are read: how many the next one may read depends on the last."""
    for unit in units:
        left = limit - tally["rows_read"]
        if left <= 0:
            return
        part = Unit(f"{unit.key}-{left}", unit.sources)
        limited = PassageSettings(**{**asdict(settings), "limit": left})
        for _, counted in run_units(passages_of, [part], limited, work, STREAMS, workers=1):
            tally.update(counted)
        yield part


def settings_from(values: dict[str, Any]) -> tuple[UnifySettings, UnifyRun]:
    """Settings and run options from the command line's values; what is None keeps its default."""
    given = {name: value for name, value in values.items() if value is not None}
    return (
        UnifySettings(**{name: given[name] for name in UnifySettings.__dataclass_fields__ if name in given}),
        UnifyRun(**{name: given[name] for name in UnifyRun.__dataclass_fields__ if name in given}),
    )
