"""Entities: a model marks annotated texts, or predictions of elsewhere are read; precision, recall and F1."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from datatools.evaluate.entities import CMEEE, Annotated, annotated, ner_lines, ner_scores
from datatools.evaluate.entity_replies import Read, read_entities
from datatools.io.atomic import parquet_writer
from datatools.io.rows import HAN
from datatools.llm.errors import Failure
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
from prompts.load import Prompt, load
from schemas.evaluated import EVALUATED_NER

NEED = (
    "evaluate ner needs a model to ask (--model NAME --base-url URL, or --model transformers:PATH), or what one said "
    "elsewhere: --predictions FILE"
)
VERSION = 2
REPLY_TOKENS = 300.0  # assumed


@dataclass(frozen=True)
class NerSettings(AskSettings):
    """What shapes the predictions. Defaults are the command line's."""

    predictions: str | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.predictions and self.model:
            raise ValueError("--predictions: is what a model said elsewhere; without --model")


def evaluate_ner(inputs: Sequence[str], out: Path, settings: NerSettings, run: AskRun, progress: Progress) -> Summary:
    """Have a model find the entities of annotated texts and write a row a text to `out`; the summary holds the scores.

    Raises ValueError for texts or settings that cannot work, `datatools.llm.errors.Stopped` when the endpoint refuses.
    """
    texts = annotated(inputs, settings.limit)
    if not any(text.entities for text in texts):
        raise ValueError(f"{', '.join(inputs)}: no entity is annotated there: nothing to score against")
    summary = Summary("evaluate ner", list(inputs), rows_read=len(texts), unit="texts")

    def scored(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
        scores = ner_scores(rows, settings.seed)
        return scores, ner_lines(scores)

    if settings.predictions:
        return _given(texts, settings, out, summary, scored)
    model = model_of(settings, run, NEED)
    reader = Reader(texts, settings)
    description = {
        "command": "evaluate ner",
        "settings": {
            **asdict(settings), "base_url": None, "prompts": reader.prompt_names(), "version": VERSION,
        },
        "inputs": inputs_of(inputs),
    }  # fmt: skip
    progress.say(f"evaluate ner: {len(texts):,} texts, {len(reader.types)} types, marked by {settings.model} → {out}")
    columns = ("source", "text", "entities", "predicted", "method", "missing")
    return evaluated(
        summary, lambda: iter(texts), reader.made, reader.foreseen, [model], description, out, EVALUATED_NER, run,
        progress, scored, columns=columns, total=len(texts),
    )  # fmt: skip


class Reader:
    """Asks about one text after another, and reads what comes back."""

    def __init__(self, texts: Sequence[Annotated], settings: NerSettings) -> None:
        self._settings = settings
        self.types = {kind: CMEEE.get(kind, kind) for kind in sorted({one.type for t in texts for one in t.entities})}
        self._prompts: dict[str, Prompt] = {
            language: load("evaluate", "ner", language, "other", settings.prompts) for language in ("zh", "en")
        }
        for prompt in self._prompts.values():  # one that asks for what no text has stops here
            try:
                prompt.messages(text="", types=list(self.types.values()))
            except KeyError as error:
                raise ValueError(str(error.args[0])) from error

    def prompt_names(self) -> list[str]:
        """Settings a rerun must share."""
        return sorted(prompt.name for prompt in self._prompts.values())

    def foreseen(self, text: Annotated) -> Foreseen:
        """What a text takes."""
        request = self._request(text)
        return Foreseen([assumed([estimate_messages(request.messages)], [REPLY_TOKENS])], request)

    async def made(self, runners: Sequence[Runner], text: Annotated) -> Made:
        """The row of a text."""
        made, usage = Made(), Usage()
        reply = await runners[0].ask(self._request(text))
        if isinstance(reply, Failure):
            if reply.kind not in UNREADABLE:
                return made.fail(text.id, text.source, "ask", reply)
            said, found = "", Read((), reply.kind)
        else:
            usage.add(reply)
            said, found = reply.text, read_entities(reply.text, text.text, self.types)
        more = {
            "reply": said, "model": self._settings.model, "prompt": self._prompts[_language(text)].name,
            "usage": usage.record(),
        }  # fmt: skip
        made.rows.append({**_row(text, found), **more})
        return made

    def _request(self, text: Annotated) -> Request:
        settings = self._settings
        messages = self._prompts[_language(text)].messages(text=text.text, types=list(self.types.values()))
        return Request(
            messages,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature or 0.0,
            reasoning_effort=settings.reasoning_effort,
        )


def _row(text: Annotated, found: Read) -> dict[str, Any]:
    return {
        "id": text.id,
        "text": text.text,
        "entities": [one.record(text.text) for one in text.entities],
        "predicted": [one.record(text.text) for one in found.entities],
        "method": found.method,
        "missing": found.missing,
        "source": text.source,
    }


def _given(texts: Sequence[Annotated], settings: NerSettings, out: Path, summary: Summary, scored: Any) -> Summary:
    """Predictions of a file in any of the formats of annotated texts, found by their text."""
    began = time.monotonic()
    assert settings.predictions is not None
    if out.suffix != ".parquet":
        raise ValueError(f"--out {out}: must end in .parquet")
    predicted = {one.text: one.entities for one in annotated([settings.predictions])}
    lacking = [text for text in texts if text.text not in predicted]
    if lacking:
        raise ValueError(
            f"--predictions {settings.predictions}: {len(lacking):,} of {len(texts):,} texts are not there, the first "
            f"is {lacking[0].source}"
        )

    def rows() -> Iterator[dict[str, Any]]:
        for text in texts:
            given = {"reply": "", "model": Path(settings.predictions or "").name, "prompt": "", "usage": None}
            yield {**_row(text, Read(predicted[text.text], "given")), **given}

    made = list(rows())
    out.parent.mkdir(parents=True, exist_ok=True)
    with parquet_writer(out, EVALUATED_NER) as writer:
        writer.write(pa.Table.from_pylist(made, schema=EVALUATED_NER))
    summary.scores, notes = scored(made)
    summary.rows_written, summary.output = len(made), str(out)
    summary.notes += notes
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def _language(text: Annotated) -> str:
    return "zh" if HAN.search(text.text) else "en"
