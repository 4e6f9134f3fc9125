"""Prefer: conversations become preference pairs, a good answer beside a worse one.

With models: candidates that they write, and a judge (`prefer_judge.py`). Without one: corruptions of the good answer
(`prefer_rules.py`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datatools.io.source import Fault, Source
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.ask_run import IN_PROCESS, AskRun
from pipelines.check import CheckSettings, knowledge_of
from pipelines.inputs import nothing_readable, sources_of
from pipelines.leaks import exam_index
from pipelines.prefer_pairs import unpaired
from pipelines.prefer_rules import corrupted, description, schema_of
from pipelines.prefer_settings import PreferSettings
from pipelines.source_texts import SourceTexts
from schemas.records import PREFERENCE

if TYPE_CHECKING:
    from datatools.llm.runner import Runner
    from pipelines.ask_items import Made

SELF = "the judge is a writer too, and a model likes its own style: --judge-model NAME takes another"
GREEDY = "a model in this process is greedy without --temperature: all its candidates will be equal"


def prefer(file: str, out: Path, settings: PreferSettings, run: AskRun, progress: Progress) -> Summary:
    """Write preference pairs made of the conversations in `file` to `out`; returns what was done.

    Raises ValueError for input or settings that cannot work, `datatools.llm.errors.Stopped` when the endpoint refuses.
    """
    began = time.monotonic()
    knowing = CheckSettings(lexicon=settings.lexicon, graph=settings.graph)
    sources, faults = sources_of([file], out)
    if settings.models:
        summary = _judged(file, sources, faults, out, settings, knowing, run, progress)
    else:
        if run.estimates or run.budget is not None:
            raise ValueError("--dry-run, --pilot, --budget: need --model NAME; corruptions by rules cost nothing")
        summary = corrupted(file, sources, faults, out, settings, knowing, run.fresh, progress, run.engine)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def _judged(
    file: str,
    sources: Sequence[Source],
    faults: Sequence[Fault],
    out: Path,
    settings: PreferSettings,
    knowing: CheckSettings,
    run: AskRun,
    progress: Progress,
) -> Summary:
    from pipelines.ask_dry_run import estimated  # bring openai along, half a second
    from pipelines.ask_items import OPENAI, ask_several, flags_of, judge_of, model_at, work_of, write_output
    from pipelines.prefer_judge import Comparer

    places = settings.places()
    home = next((url or OPENAI for name, url in places if not name.startswith(IN_PROCESS)), None)
    writers = [model_at(name, url, run, home) for name, url in places]
    judge = judge_of(settings.judge_model, settings.judge_base_url, writers, run)
    comparer = Comparer(settings, knowledge_of(knowing), judge.name)
    texts = SourceTexts([source.path for source in sources])
    models = [*writers, judge]

    async def work(runners: Sequence[Runner], item: dict[str, Any] | Fault) -> Made:
        return await comparer.made(runners, item, texts)

    summary = Summary("prefer", [file], unit="conversations")
    with work_of(out, description(sources, settings, knowing, prompts=comparer.prompt_names()), run) as place:
        progress.say(f"prefer: candidates by {', '.join(one.name for one in writers)}, judge {judge.name} → {out}")
        if judge.place in {one.place for one in writers}:
            progress.say(f"prefer: {SELF}")
        if any(one.base_url == one.name for one in writers) and not settings.temperatures:
            progress.say(f"prefer: {GREEDY}")
        if run.estimates:
            estimated(
                lambda: comparer.items(sources, faults),
                work,
                lambda item: comparer.foreseen(item, texts, len(writers)),
                models,
                run,
                out,
                summary,
                progress,
            )
            return summary
        summary.work = str(place.path)
        exams = exam_index(settings.decontaminate, place.path, progress)  # before anything is paid for
        items = comparer.items(sources, faults)
        counts = ask_several(items, work, models, run, place, PREFERENCE, summary, progress)
        summary.rows_read, summary.flags = counts["read"], flags_of(counts)
        if not summary.rows_read:
            raise ValueError(nothing_readable([file], faults))
        write_output(place, out, schema_of(settings), summary, exams, unpaired if settings.format == "kto" else None)
        summary.notes = _told(counts)
    return summary


def _told(counts: Counter[str]) -> list[str]:
    """Whose answers were chosen."""
    chosen = {name.removeprefix("chosen:"): n for name, n in counts.most_common() if name.startswith("chosen:")}
    return [f"  chosen   {', '.join(f'{name} {count:,}' for name, count in chosen.items())}"] if chosen else []
