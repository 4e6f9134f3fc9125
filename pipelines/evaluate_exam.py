"""Exams: every item is asked, its answer read, and the choice held against the exam's.

items → (orders of the options) → prompt, zero- or few-shot → reply or first token → choice → one row an answer.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from datatools.dedupe import decontaminate
from datatools.evaluate.answers import LOGPROBS, NONE, Choice, choice_of
from datatools.evaluate.exam_items import ExamItem, alike, exam_items
from datatools.evaluate.scores import EXAM_COLUMNS, exam_lines, exam_scores
from datatools.io.files import discover
from datatools.io.read import read
from datatools.io.rows import HAN
from datatools.io.source import Fault, Note, ReadOptions
from datatools.llm.errors import Failure
from datatools.llm.request import Reply, Request
from datatools.llm.runner import Runner
from datatools.llm.structured import formatted, refuses
from datatools.llm.tokens import estimate_messages
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.ask_dry_run import Foreseen
from pipelines.ask_items import AskSettings, Made, Usage, model_of
from pipelines.ask_run import IN_PROCESS, AskRun
from pipelines.estimate import assumed
from pipelines.evaluating import UNREADABLE, evaluated
from pipelines.leaks import digest_of, inputs_of
from prompts.load import Prompt, load
from schemas.evaluated import EVALUATED_EXAM

NEED = "evaluate exam needs a model to ask: add --model NAME --base-url URL, or --model transformers:PATH"
VERSION = 1
SCORINGS = {"stated": 150.0, "schema": 12.0, "logprobs": 1.0}  # with tokens of a reply, assumed
TOP, FEW = 20, 5  # first tokens that an endpoint is asked for: no public one gives more, and some no more than five
_OF_OTHERS = re.compile(
    r"以上|上述|前述|其余|均|都(?:是|不|对)|all of|none of|both of|\babove\b|\bneither\b", re.IGNORECASE
)
_BY_LETTER = re.compile(r"(?<![A-Za-z])[A-H]\s*(?:[、,，和与及+]|and|or|或)\s*[A-H](?![A-Za-z])|选项\s*[A-H]")
_BATCH = 2000  # rows of training data looked at together


@dataclass(frozen=True)
class ExamSettings(AskSettings):
    """What shapes the answers. Defaults are the command line's."""

    scoring: str = "stated"
    shots: int = 0
    examples: str | None = None
    shuffles: int = 0
    max_tokens: int | None = None
    train_data: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scoring not in SCORINGS:
            raise ValueError(f"--scoring {self.scoring}: must be one of {', '.join(SCORINGS)}")
        if self.shots and not self.examples:
            raise ValueError(f"--shots {self.shots}: needs --examples FILE, items that are shown and not asked")
        if self.examples and not self.shots:
            raise ValueError("--examples: needs --shots N, how many of them are shown before each item")


class Answer(BaseModel):
    """The reply where a schema is asked for."""

    answer: str


class Asked(NamedTuple):
    """An item with its options in one order: `shown` holds the exam's letters as they stand there."""

    item: ExamItem
    shuffle: int
    shown: tuple[str, ...]

    @property
    def options(self) -> dict[str, str]:
        """What is shown, by the letters it is shown with."""
        return {letter: self.item.options[own] for letter, own in zip(self.item.options, self.shown, strict=True)}

    def own(self, letters: Sequence[str]) -> tuple[str, ...]:
        """The exam's letters of those that were shown."""
        names = dict(zip(self.item.options, self.shown, strict=True))
        return tuple(sorted(names[letter] for letter in letters))


def evaluate_exam(inputs: Sequence[str], out: Path, settings: ExamSettings, run: AskRun, progress: Progress) -> Summary:
    """Ask a model all items in `inputs` and write an answer a row to `out`; the summary holds the scores.

    Raises ValueError for items or settings that cannot work, `datatools.llm.errors.Stopped` when the endpoint refuses.
    """
    model = model_of(settings, run, NEED)
    if settings.scoring == "logprobs" and run.lane == "batch":
        raise ValueError("--scoring logprobs: not in batches; --lane sync")
    items = exam_items(inputs, settings.limit)
    examples = exam_items([settings.examples]) if settings.examples else []
    examiner = Examiner(settings, items, examples, in_process=settings.model.startswith(IN_PROCESS))
    description = {
        "command": "evaluate exam",
        "settings": {
            **asdict(settings), "base_url": None, "prompts": examiner.prompt_names(), "version": VERSION,
            "examples": digest_of([settings.examples]) if settings.examples else "",
            "train_data": digest_of(settings.train_data),
        },
        "inputs": inputs_of(inputs),
    }  # fmt: skip
    summary = Summary("evaluate exam", list(inputs), rows_read=len(items), unit="items")
    orders = f" in {settings.shuffles + 1} orders" if settings.shuffles else ""
    progress.say(
        f"evaluate exam: {len(items):,} items{orders}, answers by {settings.model} ({settings.scoring}) → {out}"
    )
    if close := alike(items):
        progress.say(f"evaluate exam: {close} items differ from another in punctuation alone; all are asked")
    if settings.train_data and not run.estimates:
        examiner.leaked = leaked_items(items, settings.train_data)
    if settings.scoring == "logprobs" and examiner.left_out:
        progress.say(
            f"evaluate exam: {examiner.left_out:,} items with several right options are left out: one token cannot "
            "choose several"
        )

    def scored(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
        scores = exam_scores(rows, settings.seed)
        return scores, exam_lines(scores)

    return evaluated(
        summary, examiner.asked, examiner.made, examiner.foreseen, [model], description, out, EVALUATED_EXAM, run,
        progress, scored, columns=EXAM_COLUMNS, total=sum(1 for _ in examiner.asked()),
    )  # fmt: skip


class Examiner:
    """Asks one item after another. Its prompts are loaded before any work begins: a bad one stops at once."""

    def __init__(
        self, settings: ExamSettings, items: Sequence[ExamItem], examples: Sequence[ExamItem], *, in_process: bool
    ) -> None:
        self._settings, self._items, self._examples, self._in_process = settings, items, examples, in_process
        self._prompts: dict[str, Prompt] = {
            language: load("evaluate", "exam", language, "other", settings.prompts) for language in ("zh", "en")
        }
        self.leaked: dict[str, bool | None] = {}
        one_token = settings.scoring == "logprobs"
        self.left_out = sum(len(item.answer) > 1 for item in items) if one_token else 0
        for language in self._prompts:
            self._rendered(Asked(items[0], 0, tuple(items[0].options)), language)  # what it lacks stops here

    def prompt_names(self) -> list[str]:
        """Settings a rerun must share: another prompt gives other answers."""
        return sorted(prompt.name for prompt in self._prompts.values())

    def asked(self) -> Iterator[Asked]:
        """Every item in every order."""
        for item in self._items:
            orders = dict.fromkeys(orders_of(item, self._settings.shuffles, self._settings.seed))
            yield from (Asked(item, number, order) for number, order in enumerate(orders))

    def foreseen(self, asked: Asked) -> Foreseen | None:
        """What an item takes."""
        if self._too_many(asked):
            return None
        request = self._request(asked)
        first = formatted(request, Answer) if self._settings.scoring == "schema" else request
        return Foreseen([assumed([estimate_messages(request.messages)], [SCORINGS[self._settings.scoring]])], first)

    async def made(self, runners: Sequence[Runner], asked: Asked) -> Made:
        """The row of an answer."""
        made = Made()
        item = asked.item
        if self._too_many(asked):
            return made.drop(item.id, item.source, "ask", "several_answers", item.question)
        reply = await self._reply(runners[0], asked)
        usage = Usage()
        if isinstance(reply, Failure):
            if reply.kind not in UNREADABLE:
                return made.fail(item.id, item.source, "ask", reply)
            text, choice, chances = "", Choice((), reply.kind), None
        else:
            usage.add(reply)
            text, chances = reply.text, None
            if self._settings.scoring == "logprobs":
                chances = self._chances(reply, asked)
                choice = (
                    Choice((max(chances, key=lambda letter: chances[letter]),), LOGPROBS)
                    if chances
                    else Choice((), NONE)
                )
            else:
                choice = choice_of(text, asked.options)
        predicted = asked.own(choice.letters)
        made.rows.append(
            {
                "id": item.id,
                "exam": item.exam,
                "subject": item.subject,
                "type": item.type,
                "question": item.question,
                "options": list(item.options.items()),
                "answer": list(item.answer),
                "predicted": list(predicted),
                "correct": predicted == item.answer,
                "method": choice.method,
                "reply": text,
                "leaked": self.leaked.get(item.id),
                "shuffle": asked.shuffle,
                "shown": list(asked.shown),
                "probabilities": [(asked.own([k])[0], v) for k, v in chances.items()] if chances else None,
                "source": item.source,
                "model": self._settings.model,
                "prompt": self._prompts[_language(item)].name,
                "usage": usage.record(),
            }
        )
        return made

    def _too_many(self, asked: Asked) -> bool:
        return self._settings.scoring == "logprobs" and len(asked.item.answer) > 1

    async def _reply(self, runner: Runner, asked: Asked) -> Reply | Failure:
        request = self._request(asked)
        if self._settings.scoring == "schema" and "response_format" not in runner.endpoint.refused:
            outcome = await runner.ask(formatted(request, Answer))
            if not refuses(outcome):
                return outcome
            runner.endpoint.refused.add("response_format")
        if self._settings.scoring == "logprobs":
            return await self._first_token(runner, request)
        return await runner.ask(request)

    async def _first_token(self, runner: Runner, request: Request) -> Reply | Failure:
        """A reply with log-probabilities, or a failure not for want of them. ValueError where the endpoint has none."""
        few = replace(request, top_logprobs=FEW)
        outcome = await runner.ask(few if "top_logprobs" in runner.endpoint.refused else request)
        if isinstance(outcome, Failure) and "top_logprobs" in outcome.message:
            runner.endpoint.refused.add("top_logprobs")
            outcome = await runner.ask(few)
        said = ""
        if isinstance(outcome, Failure):
            said = f" ({outcome.message})" if "logprobs" in outcome.message else ""
            none = bool(said) or outcome.kind in ("truncated", "empty")
        else:
            none = outcome.logprobs is None
        if none:
            raise ValueError(
                f"--scoring logprobs: {runner.endpoint.base_url} gives no log-probabilities for "
                f"{self._settings.model}{said}; take --scoring stated, or --model transformers:PATH"
            )
        return outcome

    def _request(self, asked: Asked) -> Request:
        settings = self._settings
        language = _language(asked.item)
        messages = self._rendered(asked, language)
        for example in reversed(self._shown_before(asked.item)):
            shown = self._rendered(Asked(example, 0, tuple(example.options)), language)
            messages[-1:-1] = [shown[-1], {"role": "assistant", "content": self._answered(example, language)}]
        one_token = settings.scoring == "logprobs"
        return Request(
            messages,
            max_tokens=1 if one_token else settings.max_tokens,
            temperature=settings.temperature or 0.0,
            reasoning_effort=settings.reasoning_effort,
            top_logprobs=TOP if one_token else None,
        )

    def _rendered(self, asked: Asked, language: str) -> list[dict[str, str]]:
        kind = asked.item.type if asked.item.stated else ""
        try:
            return self._prompts[language].messages(
                question=asked.item.question,
                options=list(asked.options.items()),
                kind=kind,
                form=self._settings.scoring,
            )
        except KeyError as error:
            raise ValueError(str(error.args[0])) from error

    def _shown_before(self, item: ExamItem) -> list[ExamItem]:
        """The first examples of the item's subject, else the first of all: the same for all its neighbours."""
        others = [one for one in self._examples if one.key != item.key and _language(one) == _language(item)]
        same = [one for one in others if one.subject == item.subject]
        return [*same, *(one for one in others if one.subject != item.subject)][: self._settings.shots]

    def _answered(self, example: ExamItem, language: str) -> str:
        letters = "".join(example.answer)
        if self._settings.scoring == "schema":
            return f'{{"answer": "{letters}"}}'
        return (
            letters
            if self._settings.scoring == "logprobs"
            else f"{'答案：' if language == 'zh' else 'Answer: '}{letters}"
        )

    def _chances(self, reply: Reply, asked: Asked) -> dict[str, float]:
        """The probability of each letter that was shown, among those of them that the model gives one."""
        mass: dict[str, float] = {}
        for token, value in reply.logprobs or ():
            letter = token.strip().strip("▁Ġ")
            if letter in asked.options:
                mass[letter] = mass.get(letter, 0.0) + math.exp(value)
        whole = sum(mass.values())
        return {letter: value / whole for letter, value in sorted(mass.items())} if whole else {}


def orders_of(item: ExamItem, shuffles: int, seed: int) -> list[tuple[str, ...]]:
    """The exam's own order, and up to so many others.

    An option that speaks of the others (以上均非) keeps its place; where one names their letters (A和B), no order but
    the exam's own makes sense.
    """
    letters = tuple(item.options)
    if not shuffles or any(_BY_LETTER.search(text) for text in item.options.values()):
        return [letters]
    free = [place for place, letter in enumerate(letters) if not _OF_OTHERS.search(item.options[letter])]
    orders = [letters]
    for number in range(1, shuffles + 1):
        drawn = random.Random(f"{seed} {number} {item.key}")
        moved = drawn.sample(free, len(free))
        places = dict(zip(free, moved, strict=True))
        orders.append(tuple(letters[places.get(place, place)] for place in range(len(letters))))
    return orders


def leaked_items(items: Sequence[ExamItem], train_data: Sequence[str]) -> dict[str, bool | None]:
    """Whether training data hold an item, by its id; None where the item is too short to be told from chance.

    Raises ValueError for training data that are not there or cannot be read.
    """
    index = decontaminate.build(
        [decontaminate.Item(item.id, item.question, tuple(item.options.values()), item.exam) for item in items]
    )
    known: set[str] = set()
    for texts in _training_texts(train_data):
        known.update(leak.item for _, leak in decontaminate.all_leaks(texts, index))
    told = set(index.ids.to_pylist())
    return {item.id: item.id in known if item.id in told else None for item in items}


def _training_texts(train_data: Sequence[str]) -> Iterator[list[str]]:
    sources, faults = discover(train_data)
    if not sources:
        raise ValueError(f"--train-data {', '.join(train_data)}: nothing readable there")
    texts: list[str] = []
    for fault in faults:
        raise ValueError(f"--train-data {fault.source}: {fault.message}")
    for source in sources:
        for one in read(source, ReadOptions(unanswered=True)):
            if isinstance(one, Note):
                continue
            if isinstance(one, Fault):
                if one.rule == "unreadable":
                    raise ValueError(f"--train-data {one.source}: {one.message}")
                continue
            texts.append(_all_of(one.text, one.meta))
            if len(texts) == _BATCH:
                yield texts
                texts = []
    yield texts


def _all_of(text: str, meta: Mapping[str, Any]) -> str:
    """All that is learned from a row: turns, or question and answer, or its text."""
    if meta.get("messages"):
        return "\n".join(turn["content"] for turn in meta["messages"])
    if meta.get("question"):
        return f"{meta['question']}\n{meta.get('answer') or ''}"
    return text


def _language(item: ExamItem) -> str:
    return "zh" if HAN.search(item.text) else "en"  # a stem of numbers and names is too short to tell otherwise
