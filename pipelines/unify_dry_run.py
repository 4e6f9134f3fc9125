"""`unify --dry-run`: what the job would cost, by the prompts of its passages or by a pilot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from datatools.llm.runner import Runner
from datatools.llm.tokens import estimate, estimate_messages
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines import ask_items
from pipelines.ask_dry_run import Foreseen, estimated
from pipelines.estimate import assumed
from pipelines.unify_generate import ModelGenerator
from pipelines.unify_merge import Merge
from schemas.document import Document

QUESTION_TOKENS = 40.0  # of a reply that is a question; assumed
ANSWER_SHARE = 0.5  # tokens of an answer for one of its passage; assumed

Passage: TypeAlias = tuple[int, Document, bool]


def dry_run(generator: ModelGenerator, merge: Merge, out: Path, summary: Summary, progress: Progress) -> None:
    """What the job with output `out` would cost. A pilot leaves its replies in the journal of the work folder."""
    pairs = generator.settings.pairs_per_passage

    def foreseen(passage: Passage) -> Foreseen | None:
        _, document, has_pair = passage
        if has_pair:
            return None
        question, answer = (generator.messages(document, step) for step in ("question", "answer"))
        prompts = [estimate_messages(question), QUESTION_TOKENS + estimate_messages(answer)]  # it holds the question
        replies = [QUESTION_TOKENS, ANSWER_SHARE * estimate(document.text)]
        return Foreseen([assumed(pairs * prompts, pairs * replies)], generator.request(question), 2 * pairs, rows=pairs)

    async def work(runners: Sequence[Runner], passage: Passage) -> ask_items.Made:
        made = await generator.pairs(runners[0], *passage)
        return ask_items.Made(rows=made.rows["pairs"], failed=made.rows["failed"])

    summary.unit = "passages"
    found = estimated(merge.passages, work, foreseen, [generator.model], generator.options, out, summary, progress)
    summary.unit = "documents"
    found.pairs_in_source = sum(has_pair for _, _, has_pair in merge.passages())
    found.rows += found.pairs_in_source
    values = found.to_json()
    pilot = found.pilot and {**found.pilot, "passages": found.pilot["items"], "pairs": found.pilot["rows"]}
    summary.dry_run = {**values, "passages": found.items, "pilot": pilot}  # as they were called before other jobs came
    summary.estimate = list(found.to_lines())
