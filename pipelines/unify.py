"""Unify: any folder of medical text becomes question–answer pairs to fine-tune on.

read → clean → passages → (duplicates out) → questions and answers → checks → (equal questions out) → one parquet.
With the built-in generator all of it up to the pairs is done by the units, in parallel; with a model the units stop at
the passages and one runner asks for the rest.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from datatools.dedupe.examindex import Index
from datatools.engine.local import get_ready, run_units
from datatools.engine.units import Unit, identity, plan
from datatools.engine.work import Work, open_work, work_path
from datatools.io import storage
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines import unify_merge
from pipelines.ask_run import AskRun
from pipelines.curate import READY
from pipelines.curate_settings import CurateSettings, measure_settings
from pipelines.curate_write import REPORT
from pipelines.inputs import nothing_readable, say_again, say_notes, sized_parts, sources_of
from pipelines.unify_curated import Curated, curated_passages
from pipelines.unify_passages import STREAMS, VERSION, PassageSettings, passages_of
from pipelines.unify_settings import UnifySettings

if TYPE_CHECKING:
    from pipelines.unify_generate import ModelGenerator

NO_MODEL = (
    "no model configured: questions come from headings and patterns, answers are verbatim; "
    "add --model NAME --base-url URL to have a model rewrite the passages"
)


def unify(inputs: Sequence[str], out: Path, settings: UnifySettings, run: AskRun, progress: Progress) -> Summary:
    """Turn documents into Conversation rows at `out`; returns what was done.

    Raises ValueError for input or settings that cannot work, `datatools.llm.errors.Stopped` when the endpoint refuses.
    """
    began = time.monotonic()
    if not settings.uses_model:  # replies are paid for: their journal needs a disk
        out = storage.placed(out)
    generator = _generator(settings, run)
    curating = _curate_settings(settings)
    measure = measure_settings(curating, work_path(out), progress)
    sources, faults = sources_of(inputs, out)
    parts = sized_parts(sources)
    get_ready([*([READY] if settings.curate else []), "pipelines.unify_passages"], parts, run.engine)
    identities = {source.path: identity(source.path) for source in sources}
    description = {
        "command": "unify",
        "settings": {**asdict(settings), **(generator.described() if generator else {})},
        "inputs": {source.name: identities[source.path] for source in sources},
    }
    with ExitStack() as folders:
        place = out  # a dry run leaves no trace of its settings, so that several may be compared
        if run.dry_run:
            place = Path(folders.enter_context(TemporaryDirectory(prefix="datatools-"))) / out.name
        work = folders.enter_context(open_work(place, description, fresh=run.fresh, engine=run.engine))
        passages = _passage_settings(settings)
        units = plan(parts, identities, f"passages@{VERSION} {passages}")
        progress.say(f"unify: {len(sources)} files, {len(units)} units, {run.engine} → {storage.shown(out)}")
        if generator is None:
            progress.say(NO_MODEL)
        if settings.curate:
            made = curated_passages(parts, identities, curating, measure, passages, work, progress)
        else:
            made = _uncurated(units, passages, settings.limit, work, progress)
        if not made.tally["rows_read"]:
            sentence = nothing_readable(inputs, faults, work, made.note_keys)
            work.forget()
            raise ValueError(sentence)
        summary = Summary("unify", list(inputs), rows_read=made.tally["rows_read"], work=storage.shown(work.path))
        say_notes(work, made.note_keys, progress)
        index = Index.open(Path(measure.exam_index)) if settings.decontaminate else None
        merge = unify_merge.Merge(work, made.keys, faults, made.trace_keys, index)
        if generator is not None:
            try:
                if run.dry_run:
                    return _dry_run(generator, merge, out, summary, progress, began)
                generator.run(merge, work, summary, progress)
            except BaseException as error:
                error.summary = summary  # type: ignore[attr-defined] # what was sent until then is told all the same
                raise
        merge.write(out, summary)
        say_again(work, progress)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def _dry_run(
    generator: ModelGenerator, merge: unify_merge.Merge, out: Path, summary: Summary, progress: Progress, began: float
) -> Summary:
    from pipelines.unify_dry_run import dry_run

    dry_run(generator, merge, out, summary, progress)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def _generator(settings: UnifySettings, run: AskRun) -> ModelGenerator | None:
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


def _curate_settings(settings: UnifySettings) -> CurateSettings:
    return CurateSettings(
        decontaminate=settings.decontaminate,
        limit=settings.limit,
        text_column=settings.text_column,
        source_type=settings.source_type,
    )


def _uncurated(
    units: list[Unit], settings: PassageSettings, limit: int | None, work: Work, progress: Progress
) -> Curated:
    """Passages straight from the sources, as they are."""
    storage.remove(work.path / REPORT)  # a curated run may have left its own
    finished, tally = _run_units(units, settings, limit, work, progress)
    keys = [unit.key for unit in finished]
    return Curated(keys, [], keys, tally)


def _run_units(
    units: list[Unit], settings: PassageSettings, limit: int | None, work: Work, progress: Progress
) -> tuple[list[Unit], Counter[str]]:
    """The units that were run, in input order, and what they counted together."""
    tally: Counter[str] = Counter()
    if limit is not None:
        return list(_run_limited(units, settings, limit, work, tally)), tally
    with progress.bar("reading", len(units)) as bar:
        for _, counted in run_units(passages_of, units, settings, work, STREAMS):
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
