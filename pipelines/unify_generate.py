"""The part of unify that asks a model: for every passage a question that it answers, then an answer grounded in it.

The two steps are those of HuatuoGPT-II (Chen et al. 2023, arXiv:2311.09774). Every reply is checked without a model;
what fails is asked for once more and then dropped with its reason. State lives in the journal alone: a rerun walks the
passages again and finds its replies there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from datatools.checks.check import check_pair, check_question
from datatools.dedupe.exact import question_key
from datatools.engine.work import Work
from datatools.io.atomic import part_writer
from datatools.llm.errors import Failure
from datatools.llm.reply import plain_text
from datatools.llm.request import Reply, Request
from datatools.llm.runner import Runner
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.ask_items import asking, model_at
from pipelines.ask_run import AskRun
from pipelines.unify_merge import GENERATED, Merge
from pipelines.unify_passages import PAIRS, pair_row
from pipelines.unify_settings import UnifySettings
from prompts.load import Prompt, load
from schemas.document import SOURCE_TYPES, Document
from schemas.trace import FAILED, TRACE

TRIES = 2  # a reply that fails a check is asked for once more
_STREAMS = {"pairs": PAIRS, "trace": TRACE, "failed": FAILED}
_TABLE_ROWS = 500


@dataclass
class Made:
    """What came of one passage: rows for the streams."""

    number: int
    document: Document
    from_source: bool = False
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in _STREAMS})


@dataclass
class _Asked:
    """A checked reply."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    checks: dict[str, Any]


class ModelGenerator:
    """Writes the pairs of passages with a model; made before any work begins, so that a bad setting stops at once."""

    def __init__(self, settings: UnifySettings, run: AskRun) -> None:
        self.settings, self.options = settings, run
        self.model = model_at(settings.model, settings.base_url, run)
        languages = ("zh", "en") if settings.language == "same" else (settings.language,)
        self._prompts: dict[tuple[str, str, str], Prompt] = {
            (step, language, source_type): load("unify", step, language, source_type, settings.prompts)
            for step in ("question", "answer")
            for language in languages
            for source_type in SOURCE_TYPES
        }
        for prompt in self._prompts.values():  # one that asks for what no passage has stops here, not at the first row
            try:
                prompt.messages(passage="", question="", title="", section="", asked=[])
            except KeyError as error:
                raise ValueError(str(error.args[0])) from error

    def described(self) -> dict[str, Any]:
        """Settings a rerun must share: another prompt gives other rows. The endpoint may move, its replies stay."""
        names = sorted({prompt.name for prompt in self._prompts.values()})
        return {"prompts": names, "base_url": None}

    def run(self, merge: Merge, work: Work, summary: Summary, progress: Progress) -> None:
        """Ask for every kept passage and leave the rows as parts; fills the summary's requests and tokens."""

        async def work_on(runners: Sequence[Runner], passage: tuple[int, Document, bool]) -> Made:
            return await self.pairs(runners[0], *passage)

        async def write(results: AsyncIterator[Made]) -> None:
            await _write(results, merge, work)

        models, options, total = [self.model], self.options, merge.kept_passages
        asyncio.run(asking(merge.passages(), work_on, models, options, work.journal, write, summary, progress, total))

    async def pairs(self, runner: Runner, number: int, document: Document, has_pair: bool) -> Made:
        """The rows that come of a passage."""
        made = Made(number, document, from_source=has_pair)
        if has_pair:
            return made
        language = self._language(document)
        asked: list[str] = []
        for _ in range(self.settings.pairs_per_passage):
            question = await self._ask(runner, made, "question", language, asked=asked)
            if question is None:
                break
            asked.append(question.text)
            answer = await self._ask(runner, made, "answer", language, question=question.text)
            if answer is not None:
                made.rows["pairs"].append(self._row(made, language, question, answer))
        return made

    def _language(self, document: Document) -> str:
        if self.settings.language != "same":
            return self.settings.language
        return "zh" if document.language in ("zh", "lzh") else "en"

    async def _ask(
        self, runner: Runner, made: Made, step: str, language: str, question: str = "", asked: list[str] | None = None
    ) -> _Asked | None:
        """A reply that passes its checks; None when there is none, with the reason among the rows of `made`."""
        document = made.document
        messages = self.messages(document, step, question, asked)
        flags: tuple[str, ...] = ()
        text = ""
        for sample in range(TRIES):
            reply = await runner.ask(self.request(messages, sample))
            if isinstance(reply, Failure):
                made.rows["failed"].append(_failed(document, step, reply))
                return None
            text = plain_text(reply.text)
            checks, flags = self._check(step, question, text, reply, document, language, asked or [])
            if not flags:
                return _Asked(text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens, checks)
        made.rows["trace"].append(_dropped(document, step, flags, checks, text))
        return None

    def messages(
        self, document: Document, step: str, question: str = "", asked: list[str] | None = None
    ) -> list[dict[str, str]]:
        """The prompt of a step, `question` or `answer`, for a passage."""
        return self._prompts[step, self._language(document), document.source_type or "other"].messages(
            passage=document.text,
            question=question,
            title=document.title,
            section=" › ".join(document.section),
            asked=asked or [],
        )

    def request(self, messages: list[dict[str, str]], sample: int = 0) -> Request:
        """What is sent."""
        settings = self.settings
        return Request(
            messages, temperature=settings.temperature, sample=sample, reasoning_effort=settings.reasoning_effort
        )

    def _check(
        self, step: str, question: str, text: str, reply: Reply, document: Document, language: str, asked: list[str]
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        shown = "\n".join((document.title, *document.section, document.text))
        if step == "question":
            flags = check_question(text, shown, language=language)
            repeated = question_key(text) in {question_key(before) for before in asked}
            return {}, (*flags, "repeated_question") if repeated else flags
        values, flags = check_pair(question, text, shown, language=language, finish_reason=reply.finish_reason)
        return values, flags

    def _row(self, made: Made, language: str, question: _Asked, answer: _Asked) -> dict[str, Any]:
        document = made.document
        source_type = document.source_type or "other"
        messages = [{"role": "user", "content": question.text}, {"role": "assistant", "content": answer.text}]
        names = [self._prompts[step, language, source_type].name for step in ("question", "answer")]
        usage = {
            "prompt_tokens": question.prompt_tokens + answer.prompt_tokens,
            "completion_tokens": question.completion_tokens + answer.completion_tokens,
        }
        key = question_key(question.text)
        model = self.settings.model
        return pair_row(
            document, messages, key, model, " ".join(names), answer.checks, made.number, language=language, usage=usage
        )


async def _write(results: AsyncIterator[Made], merge: Merge, work: Work) -> None:
    """Write what was made, in input order, with the pairs that stood in the source between it."""
    pending: dict[str, list[dict[str, Any]]] = {name: [] for name in _STREAMS}
    source_pairs = _Grouped(merge.source_pairs())
    with ExitStack() as files:
        writers = {
            name: files.enter_context(part_writer(work.part(GENERATED, name), schema))
            for name, schema in _STREAMS.items()
        }
        async for made in results:
            if made.from_source:
                made.rows["pairs"] = source_pairs.of(made.number)
            for name, rows in made.rows.items():
                pending[name] += rows
                _flush(writers[name], _STREAMS[name], pending[name], _TABLE_ROWS)
        for name, rows in pending.items():
            _flush(writers[name], _STREAMS[name], rows, 1)


def _flush(writer: pa.RecordBatchWriter, schema: pa.Schema, rows: list[dict[str, Any]], at_least: int) -> None:
    if len(rows) >= at_least:
        writer.write(pa.Table.from_pylist(rows, schema=schema))
        rows.clear()


class _Grouped:
    """Rows in the order of their passage, taken a passage at a time."""

    def __init__(self, rows: Iterator[dict[str, Any]]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def of(self, number: int) -> list[dict[str, Any]]:
        """The rows of passage `number`; passages must be asked for in order."""
        found = []
        while self._next is not None and self._next["passage"] <= number:
            if self._next["passage"] == number:
                found.append(self._next)
            self._next = next(self._rows, None)
        return found


def _failed(document: Document, step: str, failure: Failure) -> dict[str, Any]:
    return {
        "id": document.id,
        "source": document.source,
        "step": step,
        "class": failure.kind,
        "message": failure.message,
        "attempts": failure.attempts,
    }


# Which value of the checks a flag is about, for the trace.
_VALUES = {
    "number_not_in_source": "numbers_missing",
    "url_not_in_source": "contacts_missing",
    "repetition": "repetition",
    "unsupported": "support",
    "leakage": "leakage",
    "too_short": "answer_length",
    "too_long": "answer_length",
}


def _dropped(
    document: Document, step: str, flags: tuple[str, ...], checks: dict[str, Any], text: str
) -> dict[str, Any]:
    value = checks.get(_VALUES.get(flags[0], ""))
    return {
        "id": document.id,
        "source": document.source,
        "step": step,
        "rule": flags[0],
        "value": None if value is None else float(value),
        "excerpt": text[:200],
    }
