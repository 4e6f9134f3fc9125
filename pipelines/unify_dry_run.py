"""`unify --dry-run`: what the job would cost, from its prompts alone or from a pilot.

Without a pilot nothing is sent: tokens are estimated from characters, and replies and their seconds are assumed. A
pilot asks about passages spread evenly over the corpus, with the real prompts and checks and through the journal, so
that the real run finds its replies there; what it took is scaled up by the estimated tokens of the prompts.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from datatools.engine.work import hold, work_path
from datatools.llm.journal import Journal
from datatools.llm.request import key
from datatools.llm.runner import Runner, run_ordered
from datatools.llm.tokens import estimate, estimate_messages
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.asking import Status, cost_of, interruptible, open_budget, runner_settings
from pipelines.estimate import Calls, Estimate, Measured, assumed_seconds, lanes
from pipelines.unify_generate import ModelGenerator
from pipelines.unify_merge import Merge
from schemas.document import Document

QUESTION_TOKENS = 40.0  # of a reply that is a question; assumed
ANSWER_SHARE = 0.5  # tokens of an answer for one of its passage; assumed


@dataclass
class _Corpus:
    """The passages that there are to ask about."""

    calls: Calls = field(default_factory=Calls)
    journalled: int = 0
    pairs_in_source: int = 0


def dry_run(generator: ModelGenerator, merge: Merge, out: Path, summary: Summary, progress: Progress) -> Estimate:
    """What the job with output `out` would cost. A pilot leaves its replies in the journal of the work folder."""
    return asyncio.run(_dry_run(generator, merge, work_path(out), summary, progress))


async def _dry_run(
    generator: ModelGenerator, merge: Merge, work: Path, summary: Summary, progress: Progress
) -> Estimate:
    run, file = generator.options, work / "journal.sqlite"
    with ExitStack() as files:
        if run.pilot:
            files.enter_context(hold(work))
        journal = files.enter_context(Journal(file)) if run.pilot or file.exists() else None
        corpus = _read(generator, merge, journal)
        if run.pilot and journal is not None:
            return await _pilot(generator, merge, corpus, journal, summary, progress)
    summary.cost = 0.0
    based_on = "characters; lengths and seconds of replies are assumed, --pilot 20 measures them"
    rows = corpus.pairs_in_source + generator.settings.pairs_per_passage * corpus.calls.passages
    return _told(generator, corpus, corpus.calls, rows, based_on)


def _read(generator: ModelGenerator, merge: Merge, journal: Journal | None) -> _Corpus:
    corpus = _Corpus()
    for _, document, has_pair in merge.passages():
        if has_pair:
            corpus.pairs_in_source += 1
        else:
            corpus.calls.add(_assumed(generator, document))
            corpus.journalled += journal is not None and journal.get(_first(generator, document)) is not None
    return corpus


def _chosen(merge: Merge, wanted: int, passages: int) -> list[tuple[int, Document]]:
    """So many of the passages, spread evenly over all of them."""
    places = {place * passages // wanted for place in range(wanted)}
    to_ask = ((number, document) for number, document, has_pair in merge.passages() if not has_pair)
    return [passage for place, passage in enumerate(to_ask) if place in places]


def _first(generator: ModelGenerator, document: Document) -> bytes:
    """The key of the first request about a passage."""
    return key(generator.host, generator.settings.model, generator.request(generator.messages(document, "question")))


def _assumed(generator: ModelGenerator, document: Document) -> Calls:
    """What the pairs of one passage take, as far as its words tell."""
    prompts = [estimate_messages(generator.messages(document, step)) for step in ("question", "answer")]
    pairs = generator.settings.pairs_per_passage
    prompt_tokens = pairs * (sum(prompts) + QUESTION_TOKENS)  # the answer's prompt holds the question
    completion_tokens = pairs * (QUESTION_TOKENS + ANSWER_SHARE * estimate(document.text))
    seconds = assumed_seconds(2 * pairs, completion_tokens)
    return Calls(1, 2 * pairs, prompt_tokens, completion_tokens, seconds, estimated=prompt_tokens)


async def _pilot(
    generator: ModelGenerator,
    merge: Merge,
    corpus: _Corpus,
    journal: Journal,
    summary: Summary,
    progress: Progress,
) -> Estimate:
    run, say = generator.options, partial(progress.say_of, "unify")
    settings = runner_settings(run, generator.base_url)
    budget = open_budget(run, generator.settings.model, generator.price, journal)
    chosen = _chosen(merge, min(run.pilot or 0, corpus.calls.passages), corpus.calls.passages)
    new = sum(journal.get(_first(generator, document)) is None for _, document in chosen)
    pairs, failed, words = 0, 0, Calls()
    async with Runner(generator.provider(), journal, settings, say, budget) as runner:
        measured, status = Measured(runner), Status(runner, generator.price, run)
        with interruptible(runner, say), progress.bar("pilot", len(chosen)) as bar:
            try:
                async for made in run_ordered(
                    chosen,
                    lambda item: generator.pairs(measured, *item, has_pair=False),
                    workers=2 * settings.most,
                    window=8 * settings.most,
                ):
                    words.add(_assumed(generator, made.document))
                    pairs += len(made.rows["pairs"])
                    failed += len(made.rows["failed"])
                    bar.advance(detail=status)
            finally:
                generator.count(runner, summary)
        rate = runner.control.rate
    corpus.journalled += new
    seen, share = measured.total(), len(chosen) / max(corpus.calls.passages, 1)
    calls = seen.scaled(corpus.calls.estimated / words.estimated if words.estimated else 0.0)
    estimated = _told(
        generator,
        corpus,
        calls,
        rows=corpus.pairs_in_source + (round(pairs / share) if share else 0),
        based_on=f"a pilot of {len(chosen)} passages, which the real run finds in the journal",
        rate=rate,
    )
    estimated.pilot = {
        "passages": len(chosen),
        "calls": int(seen.calls),
        "pairs": pairs,
        "failed": failed,
        "tokens": {"prompt": int(seen.prompt_tokens), "completion": int(seen.completion_tokens)},
        "cost": cost_of(generator.price, run, int(seen.prompt_tokens), int(seen.completion_tokens)),
    }
    if failed:
        estimated.notes.append(f"{failed} passages of the pilot failed, so the estimate is too low; run it again")
    return estimated


def _told(
    generator: ModelGenerator, corpus: _Corpus, calls: Calls, rows: int, based_on: str, rate: float | None = None
) -> Estimate:
    passages = corpus.calls.passages
    left = calls.scaled(1 - corpus.journalled / passages if passages else 0.0)
    price = generator.price
    notes: list[Any] = []
    if price is not None:
        notes.append(f"price {price.prompt:g} and {price.completion:g} per million tokens: {price.source}")
    return Estimate(
        based_on,
        passages=passages,
        journalled=corpus.journalled,
        pairs_in_source=corpus.pairs_in_source,
        calls=round(left.calls),
        tokens={"prompt": round(left.prompt_tokens), "completion": round(left.completion_tokens)},
        rows=rows,
        lanes=lanes(left, price, runner_settings(generator.options, generator.base_url), rate),
        notes=notes,
    )
