"""Overlap with references: what a model answers beside what should have been said, by BLEU, ROUGE and distinct-n."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from datatools.clean.language import language as language_of
from datatools.evaluate.overlap import ROUGE, each, text_lines, text_scores
from datatools.evaluate.pairs import Answered, answered
from datatools.io.atomic import parquet_writer
from datatools.llm.errors import Failure
from datatools.llm.reply import plain_text
from datatools.llm.request import Request
from datatools.llm.runner import Runner
from datatools.llm.tokens import estimate_messages
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.ask_dry_run import Foreseen
from pipelines.ask_items import AskSettings, Made, Usage, model_of
from pipelines.ask_run import AskRun
from pipelines.estimate import assumed
from pipelines.evaluating import UNREADABLE, evaluated
from pipelines.leaks import inputs_of
from schemas.evaluated import EVALUATED_TEXT

NEED = (
    "evaluate text needs predictions: a column prediction beside the references, --predictions FILE with answers to "
    "the same questions, or a model to ask (--model NAME --base-url URL)"
)
VERSION = 1
REPLY_TOKENS = 200.0  # assumed


@dataclass(frozen=True)
class TextSettings(AskSettings):
    """What shapes the predictions. Defaults are the command line's."""

    predictions: str | None = None
    max_tokens: int | None = None


def evaluate_text(name: str, out: Path, settings: TextSettings, run: AskRun, progress: Progress) -> Summary:
    """Compare predictions with the references in a file and write a row a text to `out`; the summary holds the scores.

    Raises ValueError for files or settings that cannot work, `datatools.llm.errors.Stopped` when the endpoint refuses.
    """
    each("", "", "zh")  # says at once where the libraries are not there
    rows = answered(name, settings.limit)
    summary = Summary("evaluate text", [name], rows_read=len(rows), unit="texts")

    def scored(made: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
        scores = text_scores(made, settings.seed)
        return scores, text_lines(scores)

    if not settings.model:
        return _given(rows, settings, out, summary, scored)
    if settings.predictions:
        raise ValueError("--predictions: is what a model said elsewhere; without --model")
    unasked = next((row for row in rows if not row.turns or not row.answer), None)
    if unasked is not None:
        raise ValueError(f"{unasked.source}: needs a question to ask and a reference to compare with")
    model = model_of(settings, run, NEED)
    description = {
        "command": "evaluate text",
        "settings": {**asdict(settings), "base_url": None, "version": VERSION},
        "inputs": inputs_of([name]),
    }

    def request(row: Answered) -> Request:
        return Request(
            list(row.turns),
            max_tokens=settings.max_tokens,
            temperature=settings.temperature or 0.0,
            reasoning_effort=settings.reasoning_effort,
        )

    def foreseen(row: Answered) -> Foreseen:
        asked = request(row)
        return Foreseen([assumed([estimate_messages(asked.messages)], [REPLY_TOKENS])], asked)

    async def made(runners: Sequence[Runner], row: Answered) -> Made:
        done, usage = Made(), Usage()
        reply = await runners[0].ask(request(row))
        if isinstance(reply, Failure) and reply.kind not in UNREADABLE:
            return done.fail(row.id, row.source, "ask", reply)
        text = "" if isinstance(reply, Failure) else plain_text(reply.text)
        if not isinstance(reply, Failure):
            usage.add(reply)
        done.rows.append({**_row(row, text), "model": settings.model, "usage": usage.record()})
        return done

    progress.say(f"evaluate text: {len(rows):,} questions, answers by {settings.model} → {out}")
    return evaluated(
        summary, lambda: iter(rows), made, foreseen, [model], description, out, EVALUATED_TEXT, run, progress, scored,
        columns=("language", "prediction", "reference", *ROUGE), total=len(rows),
    )  # fmt: skip


def _row(row: Answered, prediction: str) -> dict[str, Any]:
    language = "zh" if language_of(row.answer) in ("zh", "lzh") else "en"
    return {
        "id": row.id,
        "question": row.question if row.turns else "",
        "reference": row.answer,
        "prediction": prediction,
        "language": language,
        **each(prediction, row.answer, language),
        "source": row.source,
        "model": row.model,
        "prompt": "",
        "usage": None,
    }


def _given(rows: Sequence[Answered], settings: TextSettings, out: Path, summary: Summary, scored: Any) -> Summary:
    """Predictions beside the references, or of a file of answers to the same questions."""
    began = time.monotonic()
    if out.suffix != ".parquet":
        raise ValueError(f"--out {out}: must end in .parquet")
    if settings.predictions:
        said = {row.key: row.prediction or row.answer for row in answered(settings.predictions)}
        lacking = [row for row in rows if row.key not in said]
        if lacking:
            raise ValueError(
                f"--predictions {settings.predictions}: {len(lacking):,} of {len(rows):,} questions are not there, the "
                f"first is {lacking[0].source}"
            )
        made = [_row(row, said[row.key]) for row in rows]
    elif any(row.prediction is None for row in rows):
        raise ValueError(NEED)
    else:
        made = [_row(row, row.prediction or "") for row in rows]
    out.parent.mkdir(parents=True, exist_ok=True)
    with parquet_writer(out, EVALUATED_TEXT) as writer:
        writer.write(pa.Table.from_pylist(made, schema=EVALUATED_TEXT))
    summary.scores, notes = scored(made)
    summary.rows_written, summary.output = len(made), str(out)
    summary.notes += notes
    summary.seconds = round(time.monotonic() - began, 3)
    return summary
