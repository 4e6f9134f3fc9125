"""Pairwise comparison: a judge sees two answers to each question, in both orders.

A judge prefers what stands first, or last, more often than chance: the points of both orders are added, a verdict that
turns with the order is a tie, and how often that happens is part of the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, Field, field_validator

from datatools.clean.language import language as language_of
from datatools.evaluate.judged import LOSS, TIE, TURNED, WIN, pairwise_lines, pairwise_scores, whole
from datatools.evaluate.pairs import Answered, answered
from datatools.llm import structured
from datatools.llm.errors import Failure
from datatools.llm.request import Request
from datatools.llm.runner import Runner
from datatools.llm.tokens import estimate_messages
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.ask_dry_run import Foreseen
from pipelines.ask_items import AskSettings, Made, Usage, all_of, model_of
from pipelines.ask_run import AskRun
from pipelines.estimate import assumed
from pipelines.evaluating import SELF, evaluated
from pipelines.leaks import inputs_of
from prompts.load import Prompt, load
from schemas.evaluated import EVALUATED_PAIR

NEED = "evaluate pairwise needs a model that judges: add --judge NAME --base-url URL"
VERSION = 1
VERDICT_TOKENS = 150.0  # of a reply; assumed
MOST = 10


@dataclass(frozen=True)
class PairwiseSettings(AskSettings):
    """What shapes the verdicts: `model` judges. Defaults are the command line's."""

    again: int = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.again < 0:
            raise ValueError(f"--again {self.again}: must be 0 or more")


class Scored(BaseModel):
    """One axis of the rubric, each answer from 1 to 10."""

    axis: str
    A: float = Field(ge=0, le=MOST)
    B: float = Field(ge=0, le=MOST)


class Verdict(BaseModel):
    """What the judge says of two answers as they were shown."""

    axes: list[Scored]
    verdict: Literal["A", "B", "tie"]
    reason: str

    @field_validator("verdict", mode="before")
    @classmethod
    def _spelled(cls, value: Any) -> Any:
        said = str(value).strip().strip("\"'").casefold()
        return {"a": "A", "b": "B"}.get(said, "tie" if said in ("tie", "c", "equal", "平局", "平", "相当") else value)


class Pair(NamedTuple):
    """A question with both answers; `again` where it is judged once more."""

    a: Answered
    b: Answered
    again: bool


def evaluate_pairwise(
    one: str, other: str, out: Path, settings: PairwiseSettings, run: AskRun, progress: Progress
) -> Summary:
    """Have a judge compare the answers of two files to the same questions and write a row a pair to `out`.

    Raises ValueError for files or settings that cannot work, `datatools.llm.errors.Stopped` when the endpoint refuses.
    """
    judge = model_of(settings, run, NEED)
    pairs, unmatched = pairs_of(one, other, settings)
    names = Path(one).stem, Path(other).stem
    referee = Referee(settings, names)
    description = {
        "command": "evaluate pairwise",
        "settings": {**asdict(settings), "base_url": None, "prompts": referee.prompt_names(), "version": VERSION},
        "inputs": {
            f"{side}: {name}": version
            for side, file in (("A", one), ("B", other))
            for name, version in inputs_of([file]).items()
        },
    }
    summary = Summary("evaluate pairwise", [one, other], rows_read=len(pairs), unit="pairs")
    progress.say(f"evaluate pairwise: {len(pairs):,} pairs in both orders, judged by {settings.model} → {out}")
    if unmatched:
        progress.say(f"evaluate pairwise: {unmatched:,} questions stand in one of the files alone; they are left out")
    contestants = {row.model for pair in pairs for row in pair[:2]}
    if settings.model in contestants:
        progress.say(f"evaluate pairwise: {SELF.format(settings.model)}")

    def scored(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
        scores = pairwise_scores(rows, settings.seed)
        return scores, pairwise_lines(scores)

    columns = ("verdict", "first", "second", "again", "axes")
    return evaluated(
        summary, lambda: iter(pairs), referee.made, referee.foreseen, [judge], description, out, EVALUATED_PAIR, run,
        progress, scored, columns=columns, total=len(pairs),
    )  # fmt: skip


def pairs_of(one: str, other: str, settings: PairwiseSettings) -> tuple[list[Pair], int]:
    """The questions that both files answer, in the order of the first; and how many only one answers.

    Raises ValueError where they share none, or a file answers a question twice.
    """
    a, b = answered(one), answered(other)
    by_key: dict[bytes, Answered] = {}
    for name, rows in ((one, a), (other, b)):
        by_key = {}
        for row in rows:
            if not row.turns:
                raise ValueError(f"{row.source}: no question")
            if (before := by_key.setdefault(row.key, row)) is not row:
                raise ValueError(f"{name}: {row.source} answers the same question as {before.source}")
    both = [(row, by_key[row.key]) for row in a if row.key in by_key]
    if not both:
        raise ValueError(f"{one} and {other}: have no question in common")
    pairs = [Pair(x, y, number < settings.again) for number, (x, y) in enumerate(both[: settings.limit])]
    return pairs, len(a) + len(b) - 2 * len(both)


class Referee:
    """Asks about one pair after another. Its rubric is loaded before any work begins: a bad one stops at once."""

    def __init__(self, settings: PairwiseSettings, names: tuple[str, str]) -> None:
        self._settings, self._names = settings, names
        self._prompts: dict[str, Prompt] = {
            language: load("evaluate", "pairwise", language, "other", settings.prompts) for language in ("zh", "en")
        }
        for prompt in self._prompts.values():
            try:
                prompt.messages(question="", first="", second="")
            except KeyError as error:
                raise ValueError(str(error.args[0])) from error

    def prompt_names(self) -> list[str]:
        """Settings a rerun must share."""
        return sorted(prompt.name for prompt in self._prompts.values())

    def foreseen(self, pair: Pair) -> Foreseen | None:
        """What a pair takes."""
        if pair.a.answer.strip() == pair.b.answer.strip():
            return None
        requests = list(self._requests(pair))
        calls = assumed([estimate_messages(one.messages) for one in requests], [VERDICT_TOKENS] * len(requests))
        return Foreseen([calls], structured.formatted(requests[0], Verdict))

    async def made(self, runners: Sequence[Runner], pair: Pair) -> Made:
        """The row of a pair."""
        made, usage = Made(), Usage()
        if pair.a.answer.strip() == pair.b.answer.strip():  # word for word the same: nobody needs to be asked
            made.rows.append(self._row(pair, usage, verdict=TIE, points_a=10.0, points_b=10.0))
            return made
        outcomes = await all_of(structured.ask(runners[0], one, Verdict) for one in self._requests(pair))
        said: list[Verdict | None] = []
        for step, outcome in zip(("first", "second", "again"), outcomes, strict=False):
            if isinstance(outcome, Failure):
                if outcome.kind != "schema":
                    return made.fail(pair.a.id, pair.a.source, step, outcome)
                said.append(None)
            else:
                said.append(outcome.value)
                for reply in outcome.replies:
                    usage.add(reply)
        first, second, again = (
            _of_a(one, turned) for one, turned in zip([*said, None][:3], (False, True, False), strict=True)
        )
        verdict: dict[str, Any] = {}
        if first and second:
            verdict["verdict"], verdict["points_a"], verdict["points_b"] = whole(first, second)
        reasons = [one.reason for one in said[:2] if one]
        axes = _axes(said[0], said[1])
        made.rows.append(
            self._row(pair, usage, first=first, second=second, again=again, axes=axes, reasons=reasons, **verdict)
        )
        return made

    def _requests(self, pair: Pair) -> Iterator[Request]:
        settings = self._settings
        prompt = self._prompts[_language(pair)]
        for first, second in ((pair.a, pair.b), (pair.b, pair.a)):
            messages = prompt.messages(question=pair.a.question, first=first.answer, second=second.answer)
            request = Request(
                messages, temperature=settings.temperature or 0.0, reasoning_effort=settings.reasoning_effort
            )
            yield request
            if first is pair.a:
                straight = request
        if pair.again:
            yield replace(straight, sample=1)

    def _row(self, pair: Pair, usage: Usage, **more: Any) -> dict[str, Any]:
        return {
            "id": pair.a.id,
            "question": pair.a.question,
            "answer_a": pair.a.answer,
            "answer_b": pair.b.answer,
            "model_a": pair.a.model or self._names[0],
            "model_b": pair.b.model or self._names[1],
            "source": pair.a.source,
            "model": self._settings.model,
            "prompt": self._prompts[_language(pair)].name,
            "usage": usage.record(),
            **more,
        }


def _of_a(said: Verdict | None, turned: bool) -> str | None:
    """The verdict as it is for A, whatever it was shown as."""
    if said is None:
        return None
    found = {"A": WIN, "B": LOSS, "tie": TIE}[said.verdict]
    return TURNED[found] if turned else found


def _axes(first: Verdict | None, second: Verdict | None) -> list[dict[str, Any]]:
    """Mean scores of A and B over the orders that were read."""
    found: dict[str, list[tuple[float, float]]] = {}
    for one in first.axes if first else ():
        found.setdefault(one.axis, []).append((one.A, one.B))
    for one in second.axes if second else ():
        found.setdefault(one.axis, []).append((one.B, one.A))
    return [
        {"axis": axis, "a": sum(a for a, _ in scores) / len(scores), "b": sum(b for _, b in scores) / len(scores)}
        for axis, scores in found.items()
    ]


def _language(pair: Pair) -> str:
    return "zh" if language_of(pair.a.question) in ("zh", "lzh") else "en"
