"""`--dry-run` and `--pilot`: what a job that asks models would cost, from its prompts alone or from a few items of it.

Without a pilot nothing is sent: tokens are estimated from characters, and replies and their seconds are assumed. A
pilot asks about items spread evenly over the input, with the real prompts and checks and through the journal, so that
the real run finds its replies there; what it took is scaled up by the estimated tokens of the prompts.

A job says beforehand what an item takes (`Foreseen`), and gives its own `work` for the pilot:

    if run.estimates:
        return estimated(items, work, foreseen, models, run, out, summary, progress)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from datatools.engine.work import hold, work_path
from datatools.llm.journal import Journal
from datatools.llm.journal_nodes import open_journal
from datatools.llm.request import Request, key
from datatools.llm.runner import Runner, run_ordered
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.ask_items import Made
from pipelines.ask_run import AskRun
from pipelines.asking import Model, Status, cost_of, interruptible, runner_settings, team
from pipelines.estimate import Calls, Estimate, Measured, lanes, together

T = TypeVar("T")
CHARACTERS = "characters; lengths and seconds of replies are assumed, --pilot 20 measures them"


@dataclass(frozen=True)
class Foreseen:
    """What an item takes, as far as its words tell."""

    calls: Sequence[Calls]  # for each model of the job, in their order
    first: Request  # the first request about it: where its reply is in the journal, the item was asked about
    rounds: int = 1  # calls that follow one another
    asked: int = 0  # place of the model that gets the first request
    rows: float = 1.0


@dataclass
class _Whole:
    """All there is to ask about."""

    calls: list[Calls]
    items: int = 0
    journalled: int = 0
    rounds: int = 1
    rows: float = 0.0
    notes: list[str] = field(default_factory=list)


def estimated(
    items: Callable[[], Iterable[T]],
    work: Callable[[Sequence[Runner], T], Awaitable[Made]],
    foreseen: Callable[[T], Foreseen | None],
    models: Sequence[Model],
    run: AskRun,
    out: Path,
    summary: Summary,
    progress: Progress,
) -> Estimate:
    """What the job with output `out` would cost; fills the summary.

    `items` begins to read anew at every call; `foreseen` is None for what nobody is asked about. A pilot leaves its
    replies in the journal of the work folder of `out`.
    """
    began = time.monotonic()
    found = asyncio.run(_estimated(items, work, foreseen, models, run, work_path(out), summary, progress))
    found.unit = summary.unit
    summary.dry_run, summary.estimate = found.to_json(), list(found.to_lines())
    summary.seconds = round(time.monotonic() - began, 3)
    summary.rows_read = summary.rows_read or found.items
    summary.work = str(work_path(out)) if found.pilot is not None else None
    return found


async def _estimated(
    items: Callable[[], Iterable[T]],
    work: Callable[[Sequence[Runner], T], Awaitable[Made]],
    foreseen: Callable[[T], Foreseen | None],
    models: Sequence[Model],
    run: AskRun,
    folder: Path,
    summary: Summary,
    progress: Progress,
) -> Estimate:
    file = folder / "journal.sqlite"
    with ExitStack() as files:
        journal = None
        if run.pilot:
            files.enter_context(hold(folder))
            journal = files.enter_context(open_journal(file))
        elif file.exists():
            journal = files.enter_context(Journal(file))
        asked = _asker(models, journal)
        whole = _Whole([Calls() for _ in models])
        for item in items():
            if (one := foreseen(item)) is not None:
                whole.items += 1
                whole.rows += one.rows
                whole.rounds = max(whole.rounds, one.rounds)
                whole.journalled += asked(one)
                for calls, more in zip(whole.calls, one.calls, strict=True):
                    calls.add(more)
        if run.pilot and journal is not None:
            return await _pilot(items, work, foreseen, models, run, whole, journal, summary, progress)
    summary.cost = 0.0
    return _told(models, run, whole, whole.calls, CHARACTERS, [None] * len(models))


def _asker(models: Sequence[Model], journal: Journal | None) -> Callable[[Foreseen], bool]:
    """Whether an item was asked about already."""
    providers = [model.provider() for model in models]

    def asked(one: Foreseen) -> bool:
        provider = providers[one.asked]
        return journal is not None and journal.get(key(provider.identity, provider.model, one.first)) is not None

    return asked


async def _pilot(
    items: Callable[[], Iterable[T]],
    work: Callable[[Sequence[Runner], T], Awaitable[Made]],
    foreseen: Callable[[T], Foreseen | None],
    models: Sequence[Model],
    run: AskRun,
    whole: _Whole,
    journal: Journal,
    summary: Summary,
    progress: Progress,
) -> Estimate:
    say = partial(progress.say_of, summary.command)
    wanted = min(run.pilot or 0, whole.items)
    places = {place * whole.items // wanted for place in range(wanted)}
    to_ask = ((item, one) for item in items() if (one := foreseen(item)) is not None)
    chosen = [both for place, both in enumerate(to_ask) if place in places]
    new = sum(not _asker(models, journal)(one) for _, one in chosen)
    words = [Calls() for _ in models]
    for _, one in chosen:
        for calls, more in zip(words, one.calls, strict=True):
            calls.add(more)
    rows = failed = 0
    async with team(models, journal, run, say, Measured) as asked:
        status, most = Status(asked), max(runner.settings.most for runner in asked.runners)
        with interruptible(asked, say), progress.bar("pilot", len(chosen)) as bar:
            try:
                made_of = run_ordered(
                    chosen, lambda both: work(asked.runners, both[0]), workers=2 * most, window=8 * most
                )
                async for made in made_of:
                    rows, failed = rows + len(made.rows), failed + len(made.failed)
                    bar.advance(detail=status)
            finally:
                asked.count(summary)
        # A model that is named twice has one runner: what it took counts where the model is named first.
        runners = cast(Sequence[Measured], asked.runners)
        seen = [runner.measured() if runner not in runners[:place] else Calls() for place, runner in enumerate(runners)]
        rates = [runner.control.rate for runner in runners]
    whole.journalled += new
    whole.rows = rows * whole.items / max(wanted, 1)
    grown = _scaled(seen, whole.calls, words)
    if failed:
        whole.notes.append(f"{failed} {summary.unit} of the pilot failed, so the estimate is too low; run it again")
    based_on = f"a pilot of {len(chosen)} {summary.unit}, which the real run finds in the journal"
    found = _told(models, run, whole, grown, based_on, rates)
    costs = [
        cost_of(model.price, run, calls.prompt_tokens, calls.completion_tokens)
        for model, calls in zip(models, seen, strict=True)
    ]
    known = [cost for cost in costs if cost is not None]
    found.pilot = {
        "items": len(chosen),
        "calls": round(sum(calls.calls for calls in seen)),
        "rows": rows,
        "failed": failed,
        "tokens": {
            "prompt": round(sum(calls.prompt_tokens for calls in seen)),
            "completion": round(sum(calls.completion_tokens for calls in seen)),
        },
        "cost": round(sum(known), 6) if len(known) == len(costs) else None,
    }
    return found


def _scaled(seen: Sequence[Calls], whole: Sequence[Calls], words: Sequence[Calls]) -> list[Calls]:
    """What the pilot took of each model, grown to the whole by what was estimated for both."""
    share = sum(calls.estimated for calls in whole) / max(sum(calls.estimated for calls in words), 1e-9)
    return [
        calls.scaled(all_of_it.estimated / few.estimated if few.estimated else share)
        for calls, all_of_it, few in zip(seen, whole, words, strict=True)
    ]


def _told(
    models: Sequence[Model],
    run: AskRun,
    whole: _Whole,
    calls: Sequence[Calls],
    based_on: str,
    rates: Sequence[float | None],
) -> Estimate:
    left = [each.scaled(1 - whole.journalled / whole.items if whole.items else 0.0) for each in calls]
    notes: list[Any] = [
        f"price {model.price.prompt:g} and {model.price.completion:g} per million tokens: {model.price.source}"
        for model in {model.place: model for model in models}.values()
        if model.price is not None
    ]
    each = [
        lanes(some, model.price, runner_settings(run, model.base_url), rate, whole.rounds)
        for some, model, rate in zip(left, models, rates, strict=True)
    ]
    return Estimate(
        based_on,
        items=whole.items,
        journalled=whole.journalled,
        calls=round(sum(some.calls for some in left)),
        tokens={
            "prompt": round(sum(some.prompt_tokens for some in left)),
            "completion": round(sum(some.completion_tokens for some in left)),
        },
        rows=round(whole.rows),
        lanes=together(each),
        notes=[*dict.fromkeys(notes), *whole.notes],
    )
