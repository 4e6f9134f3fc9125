"""Consult: real patients' questions become question–answer pairs.

read → clean, personal data out → (equal and near questions out) → human answer judged → a model's answer → checks.
The words of the patients stay as they are, misspellings and all: that is how questions will come.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from pydantic import BaseModel, Field

from datatools.checks.dialogue import without_quotes
from datatools.checks.medical import Knowledge, check_conversation
from datatools.checks.roles import role_leaks
from datatools.clean.language import language as language_of
from datatools.dedupe.exact import first_occurrences
from datatools.dedupe.near import Near, band_table, near_duplicates
from datatools.engine.parts import Parts
from datatools.engine.units import identity
from datatools.engine.work import Work
from datatools.llm import structured
from datatools.llm.errors import Failure
from datatools.llm.reply import plain_text
from datatools.llm.request import Request
from datatools.llm.runner import Runner
from datatools.llm.tokens import estimate_messages
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.ask_dry_run import Foreseen, estimated
from pipelines.ask_items import (
    AskSettings,
    Made,
    Model,
    Usage,
    ask_several,
    flags_of,
    judge_of,
    model_of,
    work_of,
    write_output,
)
from pipelines.ask_run import AskRun
from pipelines.asking import cost_of
from pipelines.consult_read import read_questions
from pipelines.estimate import Calls, assumed
from pipelines.inputs import nothing_readable, sources_of
from pipelines.leaks import digest_of, exam_index
from prompts.load import Prompt, load
from schemas.consult import CONSULT
from schemas.trace import TRACE

NEED = "consult needs a model to write answers: add --model NAME --base-url URL (any OpenAI-compatible endpoint)"
VERSION = 1
TRIES = 2  # an answer that fails a check is asked for once more
READ = "questions"  # the unit whose parts hold what was read
# Checks of form: what fails them twice is dropped. What else fires stays in `flags`, for the user to decide.
FORM = frozenset(
    ("empty", "truncated", "wrong_language", "leakage", "repetition", "too_short", "too_long", "url_not_in_source")
)
SCALE = (1, 5)
ANSWER_TOKENS, JUDGEMENT_TOKENS = 200.0, 80.0  # of replies; assumed
SELF = "the judge is the writer too, and a model likes its own style: --judge-model NAME takes another"
_NEED_SOURCE = frozenset(("number_not_in_source", "unsupported", "unsupported_entity"))


@dataclass(frozen=True)
class ConsultSettings(AskSettings):
    """What shapes the answers. Defaults are the command line's."""

    keep_human: float | None = None  # human answers of this score or better stay; None: all are written anew
    near_threshold: float = 0.8
    judge_model: str | None = None
    judge_base_url: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep_human is not None and not SCALE[0] <= self.keep_human <= SCALE[1]:
            raise ValueError(f"--keep-human {self.keep_human:g}: the scale of the judge is {SCALE[0]} to {SCALE[1]}")
        if self.keep_human is None and (self.judge_model or self.judge_base_url):
            raise ValueError("--judge-model: needs --keep-human SCORE; without it nothing is judged")
        if not 0.0 < self.near_threshold <= 1.0:
            raise ValueError(f"--near-threshold {self.near_threshold}: must be above 0 and at most 1")


class Judgement(BaseModel):
    """What a judge says of an answer, each on a scale of 1 to 5."""

    accuracy: int = Field(ge=SCALE[0], le=SCALE[1])
    safety: int = Field(ge=SCALE[0], le=SCALE[1])
    completeness: int = Field(ge=SCALE[0], le=SCALE[1])
    kindness: int = Field(ge=SCALE[0], le=SCALE[1])
    score: int = Field(ge=SCALE[0], le=SCALE[1])
    reason: str


def consult(inputs: Sequence[str], out: Path, settings: ConsultSettings, run: AskRun, progress: Progress) -> Summary:
    """Write answers to the questions in `inputs` to `out`; returns what was done.

    Raises ValueError for input or settings that cannot work, `datatools.llm.errors.Stopped` when the endpoint refuses.
    """
    began = time.monotonic()
    model = model_of(settings, run, NEED)
    judge = judge_of(settings.judge_model, settings.judge_base_url, [model], run)
    writer = Writer(settings, judge.name)
    sources, faults = sources_of(inputs, out)
    description = {
        "command": "consult",
        "settings": {
            **asdict(settings),
            "base_url": None,
            "judge_base_url": None,
            "prompts": writer.prompt_names(),
            "version": VERSION,
        },
        "exams": digest_of(settings.decontaminate),
        "inputs": {source.name: identity(source.path) for source in sources},
    }
    summary = Summary("consult", list(inputs), unit="questions")
    with work_of(out, description, run) as work:
        exams = exam_index(settings.decontaminate, work.path, progress)  # before anything is paid for
        judging = "" if settings.keep_human is None else f", judged by {judge.name}"
        progress.say(f"consult: {len(sources)} files, answers by {settings.model}{judging} → {out}")
        if settings.keep_human is not None and judge.place == model.place:
            progress.say(f"consult: {SELF}")
        if READ not in work.units:
            work.finish(READ, read_questions(sources, faults, work, READ, settings.limit, progress))
        summary.rows_read = work.units[READ]["read"]
        if not summary.rows_read:
            raise ValueError(nothing_readable(inputs, faults))
        asked = Asked(work, settings)
        models = [model, judge]
        if run.estimates:
            estimated(asked.items, writer.made, writer.foreseen, models, run, out, summary, progress)
            return summary
        summary.work = str(work.path)
        counts = ask_several(asked.items(), writer.made, models, run, work, CONSULT, summary, progress, asked.total)
        summary.flags, summary.saved = flags_of(counts), saved(settings, model, judge, run, counts)
        write_output(work, out, CONSULT, summary, exams)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def saved(
    settings: ConsultSettings, model: Model, judge: Model, run: AskRun, counts: Counter[str]
) -> dict[str, float | None] | None:
    """What keeping human answers spared: the answers not written, at what those that were written cost on average.

    `judge_calls` were made for it, so that a user can weigh the two. Null where nothing was judged.
    """
    if settings.keep_human is None or not counts["judged"]:
        return None
    written = max(1, counts["written"])
    kept = counts["kept"]
    prompt, completion = (kept * counts[name] / written for name in ("prompt_tokens", "completion_tokens"))
    judging = cost_of(judge.price, run, counts["judge_prompt_tokens"], counts["judge_completion_tokens"])
    return {
        "calls": kept,
        "tokens": round(prompt + completion),
        "cost": cost_of(model.price, run, prompt, completion),
        "judge_calls": counts["judged"],
        "judge_tokens": counts["judge_prompt_tokens"] + counts["judge_completion_tokens"],
        "judge_cost": judging,
    }


class Asked:
    """The questions that are asked, each once, in input order, with trace rows for their duplicates."""

    def __init__(self, work: Work, settings: ConsultSettings) -> None:
        self._questions = Parts(work, [READ], "rows")
        self._trace = Parts(work, [READ], "trace")
        self._twins: dict[int, tuple[str, int, float]] = {}
        count = len(self._questions)
        if count:
            first = first_occurrences(self._questions.keys("key"))
            alone = first == np.arange(count)
            self._twins = {int(n): ("duplicate_question", int(first[n]), 1.0) for n in np.flatnonzero(~alone)}
            self._near(work, settings, alone)
        self.total = count - len(self._twins)

    def _near(self, work: Work, settings: ConsultSettings, among: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        near = Near(threshold=settings.near_threshold)

        def bands(columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
            for start, table in self._questions.batches(["text"]):
                yield start, band_table(table["text"], near).select(columns)

        found = near_duplicates(bands, self._questions.batches, len(among), work.path / "near", near, among=among)
        for number, twin, similarity in zip(found.numbers, found.twins, found.similarities, strict=True):
            self._twins[int(number)] = ("near_duplicate", int(twin), float(similarity))

    def items(self) -> Iterator[dict[str, Any]]:
        """Rows of what could not be read, then every question; a duplicate says of which one."""
        for _, row in self._trace.rows():
            yield {"trace": row}
        wanted = {twin for _, twin, _ in self._twins.values()}
        ids: dict[int, str] = {}
        for number, row in self._questions.rows():
            if number in wanted:
                ids[number] = row["id"]
            if number not in self._twins:
                yield row
                continue
            rule, twin, similarity = self._twins[number]
            yield {
                "trace": {
                    **dict.fromkeys(TRACE.names),
                    "id": row["id"],
                    "source": row["source"],
                    "step": "dedupe",
                    "rule": rule,
                    "twin_id": ids.get(twin, ""),
                    "similarity": similarity,
                    "excerpt": row["text"][:200],
                }
            }


class Writer:
    """Judges and writes answers. Its prompts are loaded before any work begins: a bad one stops at once."""

    def __init__(self, settings: ConsultSettings, judge: str) -> None:
        self._settings, self._judge, self._knowledge = settings, judge, Knowledge.shipped()
        steps = ("answer",) if settings.keep_human is None else ("answer", "judge")
        self._prompts: dict[tuple[str, str], Prompt] = {
            (step, language): load("consult", step, language, "other", settings.prompts)
            for step in steps
            for language in ("zh", "en")
        }
        for prompt in self._prompts.values():  # one that asks for what no question has stops here
            try:
                prompt.messages(question="", answer="")
            except KeyError as error:
                raise ValueError(str(error.args[0])) from error

    def prompt_names(self) -> list[str]:
        """Settings a rerun must share: another prompt gives other answers."""
        return sorted(prompt.name for prompt in self._prompts.values())

    def foreseen(self, row: dict[str, Any]) -> Foreseen | None:
        """What a question takes, as far as its words tell: a judgement where there is something to judge, an answer."""
        if "trace" in row:
            return None
        language = _language(row)
        answer, judging = self._answer_request(row, language), Calls()
        first, asked, rounds = answer, 0, 1
        if self._settings.keep_human is not None and row["human_answer"]:
            request = self._judge_request(row, language)
            judging = assumed([estimate_messages(request.messages)], [JUDGEMENT_TOKENS])
            first, asked, rounds = structured.formatted(request, Judgement), 1, 2
        writing = assumed([estimate_messages(answer.messages)], [ANSWER_TOKENS])
        return Foreseen([writing, judging], first, rounds, asked)

    async def made(self, runners: Sequence[Runner], row: dict[str, Any]) -> Made:
        """The row of a question, or why there is none. The first of the runners writes, the second judges."""
        made = Made()
        if "trace" in row:
            made.trace.append(row["trace"])
            return made
        writer, judge = runners
        language = _language(row)
        usage = Usage()
        judged: Judgement | None = None
        if self._settings.keep_human is not None and row["human_answer"]:
            judged = await self._judged(judge, row, language, made, usage)
            if judged is None:
                return made
            if judged.score >= self._settings.keep_human:
                made.counts["kept"] += 1
                values, flags = self._checked(row["text"], row["human_answer"], language, "source")
                made.rows.append(self._row(row, language, row["human_answer"], "source", values, flags, judged, usage))
                made.counts.update(f"flag:{flag}" for flag in flags)
                return made
        await self._written(writer, row, language, made, usage, judged)
        return made

    def _judge_request(self, row: dict[str, Any], language: str) -> Request:
        messages = self._prompts["judge", language].messages(question=row["text"], answer=row["human_answer"])
        return Request(messages, temperature=0.0, reasoning_effort=self._settings.reasoning_effort)

    def _answer_request(self, row: dict[str, Any], language: str) -> Request:
        messages = self._prompts["answer", language].messages(question=row["text"])
        settings = self._settings
        return Request(messages, temperature=settings.temperature, reasoning_effort=settings.reasoning_effort)

    async def _judged(
        self, runner: Runner, row: dict[str, Any], language: str, made: Made, usage: Usage
    ) -> Judgement | None:
        outcome = await structured.ask(runner, self._judge_request(row, language), Judgement)
        if isinstance(outcome, Failure):
            made.fail(row["id"], row["source"], "judge", outcome)
            return None
        for reply in outcome.replies:
            usage.add(reply)
            made.counts["judge_prompt_tokens"] += reply.prompt_tokens
            made.counts["judge_completion_tokens"] += reply.completion_tokens
        made.counts["judged"] += 1
        return outcome.value

    async def _written(
        self,
        runner: Runner,
        row: dict[str, Any],
        language: str,
        made: Made,
        usage: Usage,
        judged: Judgement | None,
    ) -> None:
        """The model's answer among the rows of `made`, or why there is none."""
        settings, request = self._settings, self._answer_request(row, language)
        text, flags = "", ["empty"]
        values: dict[str, Any] = {}
        for sample in range(TRIES):
            reply = await runner.ask(replace(request, sample=sample))
            if isinstance(reply, Failure):
                made.fail(row["id"], row["source"], "answer", reply)
                return
            usage.add(reply)
            made.counts["prompt_tokens"] += reply.prompt_tokens
            made.counts["completion_tokens"] += reply.completion_tokens
            text = plain_text(reply.text)
            values, flags = self._checked(row["text"], text, language, reply.finish_reason)
            if not flags:
                break
        made.counts["written"] += 1
        if broken := next((flag for flag in flags if flag in FORM), ""):
            made.drop(row["id"], row["source"], "answer", broken, text)
            return
        made.rows.append(self._row(row, language, text, settings.model, values, flags, judged, usage))
        made.counts.update(f"flag:{flag}" for flag in flags)

    def _checked(self, question: str, answer: str, language: str, reason: str) -> tuple[dict[str, Any], list[str]]:
        """Values and flags of an answer; a question is no source that numbers and names could be held against."""
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        values, flags = check_conversation(turns, question, self._knowledge, language=language, finish_reason=reason)
        quoted = "role_leak" in flags and not role_leaks(without_quotes(turns))
        return values, [flag for flag in flags if flag not in _NEED_SOURCE and not (quoted and flag == "role_leak")]

    def _row(
        self,
        row: dict[str, Any],
        language: str,
        answer: str,
        generator: str,
        values: dict[str, Any],
        flags: list[str],
        judged: Judgement | None,
        usage: Usage,
    ) -> dict[str, Any]:
        prompt = "" if generator == "source" else self._prompts["answer", language].name
        about = None
        if judged is not None:
            rubric = self._prompts["judge", language].name
            about = {**judged.model_dump(), "judge": self._judge, "rubric": rubric}
        return {
            "id": xxhash.xxh3_128_hexdigest(f"{row['id']}\0{row['text']}\0{answer}".encode()),
            "messages": [{"role": "user", "content": row["text"]}, {"role": "assistant", "content": answer}],
            "task": "consult",
            "language": language,
            "source_id": row["id"],
            "source": row["source"],
            "source_type": "consultation",
            "generator": generator,
            "prompt": prompt,
            "checks": values,
            "flags": flags,
            "usage": usage.record() if usage.prompt_tokens or usage.completion_tokens else None,
            "human_answer": row["human_answer"],
            "judged": about,
            "department": row["department"],
        }


def _language(row: dict[str, Any]) -> str:
    return "zh" if language_of(row["text"]) in ("zh", "lzh") else "en"
