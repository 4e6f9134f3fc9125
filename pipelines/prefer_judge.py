"""Candidates and a judge: models write further answers to a question, and one scores them all in two orders.

own answer + candidates → equal ones out → checks → judge, forwards and backwards → the pair it is surest of.
A judge prefers what stands first, or last, more often than chance; a preference that turns with the order is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from string import ascii_uppercase
from typing import Any

import xxhash
from pydantic import BaseModel, Field, create_model

from datatools.checks.medical import Knowledge, check_conversation
from datatools.io.source import Fault, Note, Source
from datatools.llm import structured
from datatools.llm.errors import Failure
from datatools.llm.reply import plain_text
from datatools.llm.request import Request
from datatools.llm.runner import Runner
from datatools.llm.tokens import estimate, estimate_messages
from pipelines.ask_dry_run import Foreseen
from pipelines.ask_items import Made, Usage, all_of
from pipelines.check import checked
from pipelines.conversations import conversations
from pipelines.estimate import assumed
from pipelines.prefer_pairs import ASPECTS, Candidate, Dropped, impossible, pair_of, pair_row
from pipelines.prefer_settings import SCALE, PreferSettings
from pipelines.source_texts import SourceTexts
from prompts.load import Prompt, load

ORDERS = 2  # forwards and backwards
VERDICT_TOKENS = 40.0  # of a judge's reply for each candidate; assumed


class Points(BaseModel):
    """What a judge says of one answer, each from 1 to 10."""

    accuracy: int = Field(ge=SCALE[0], le=SCALE[1])
    safety: int = Field(ge=SCALE[0], le=SCALE[1])
    helpfulness: int = Field(ge=SCALE[0], le=SCALE[1])
    score: int = Field(ge=SCALE[0], le=SCALE[1])


class Verdict(BaseModel):
    """Points for each answer under its letter, and why; `verdict_of` adds the letters."""

    reason: str


@cache
def verdict_of(answers: int) -> type[Verdict]:
    """The reply of a judge who was shown so many answers: A, B, … and reason."""
    letters: dict[str, Any] = dict.fromkeys(ascii_uppercase[:answers], (Points, ...))
    return create_model(f"Verdict{answers}", __base__=Verdict, **letters)


@dataclass(frozen=True)
class Asked:
    """A conversation whose last reply is compared with others."""

    row: dict[str, Any]
    prompt: list[dict[str, str]]  # the turns before the reply
    own: str
    source: str | None  # what the judge is shown: what the reply was made from, or the record of the case
    language: str  # of the prompts: zh or en

    @property
    def against(self) -> str | None:
        """What the checks hold replies against. A clinician never sees the record: advice need not stand in it."""
        return None if self.row.get("facts") else self.source

    @property
    def question(self) -> str:
        """The turns before the reply as one text: the last one alone where it is the only one."""
        turns = [turn for turn in self.prompt if turn["role"] != "system"]
        if len(turns) == 1:
            return turns[0]["content"]
        return "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)


def asked_of(row: dict[str, Any], texts: SourceTexts) -> Asked | None:
    """The row as it is asked about; None where it does not end with a reply to a user."""
    messages = row["messages"]
    if len(messages) < 2 or messages[-1]["role"] != "assistant" or messages[-2]["role"] != "user":
        return None
    language = "zh" if row.get("language") in ("zh", "lzh") else "en"
    return Asked(row, messages[:-1], messages[-1]["content"], texts.of(row), language)


class Comparer:
    """Makes the pair of a conversation. Its prompts are loaded before any work begins: a bad one stops at once."""

    def __init__(self, settings: PreferSettings, knowledge: Knowledge, judge: str) -> None:
        self._settings, self._knowledge, self._judge = settings, knowledge, judge
        self._prompts: dict[tuple[str, str], Prompt] = {
            (step, language): load("prefer", step, language, "other", settings.prompts)
            for step in ("answer", "judge")
            for language in ("zh", "en")
        }
        for prompt in self._prompts.values():  # one that asks for what no row has stops here
            try:
                prompt.messages(question="", source="", length=100, answers=[("A", "")])
            except KeyError as error:
                raise ValueError(str(error.args[0])) from error

    def prompt_names(self) -> list[str]:
        """Settings a rerun must share: another prompt gives other pairs."""
        return sorted(prompt.name for prompt in self._prompts.values())

    def items(self, sources: Sequence[Source], faults: Sequence[Fault]) -> Iterator[dict[str, Any] | Fault]:
        """What could not be read, and the conversations until the limit."""
        yield from faults
        left = self._settings.limit
        for item in (item for source in sources for item in conversations(source)):
            if isinstance(item, Note):
                continue
            yield item
            if left is not None and not isinstance(item, Fault):
                left -= 1
                if not left:
                    return

    async def made(self, runners: Sequence[Runner], item: dict[str, Any] | Fault, texts: SourceTexts) -> Made:
        """The pair of a conversation, or why there is none. The last of the runners judges, the others write."""
        made = Made()
        if isinstance(item, Fault):
            return made.fault(item)
        made.counts["read"] += 1
        asked = asked_of(item, texts)
        if asked is None:
            return made.drop(item["id"], item["source"], "prefer", "no_answer", "")
        usage = Usage()
        candidates = await self._candidates(runners[:-1], asked, made, usage)
        reason = impossible(candidates)
        if reason is not None:
            return _dropped(made, asked, reason)
        judged = await self._judged(runners[-1], asked, candidates, made, usage)
        if judged is None:
            return made
        found = pair_of(candidates, self._settings.margin)
        if isinstance(found, Dropped):
            return _dropped(made, asked, found)
        chosen, rejected = found
        sides = {id(chosen): "chosen", id(rejected): "rejected"}
        made.counts.update(f"chosen:{'own' if one is candidates[0] else one.generator}" for one in (chosen,))
        made.counts.update(f"flag:{flag}" for flag in rejected.flags)
        made.rows.append(
            pair_row(
                asked.row,
                asked.prompt,
                chosen,
                rejected,
                chosen_score=chosen.mean,
                rejected_score=rejected.mean,
                judge=self._judge,
                rubric=self._prompts["judge", asked.language].name,
                reasons=judged,
                candidates=[one.record(sides.get(id(one), "")) for one in candidates],
                flags=list(rejected.flags),
                usage=usage.record(),
            )
        )
        return made

    # Candidates

    def requests(self, asked: Asked, writers: int) -> list[tuple[int, Request]]:
        """What is asked of which writer: models take turns, and with each round the next temperature comes."""
        settings = self._settings
        rendered = self._prompts["answer", asked.language].messages(
            question=asked.prompt[-1]["content"], source=asked.source or "", length=length_of(asked.own, asked.language)
        )
        messages = [*_instructions(rendered, asked.prompt), *_turns(asked.prompt[:-1]), rendered[-1]]
        found = []
        for place in range(settings.candidates - 1):
            turn = place // writers
            temperature = settings.temperatures[turn % len(settings.temperatures)] if settings.temperatures else None
            # Equal requests are told apart by `sample`.
            sample = turn // max(1, len(settings.temperatures))
            effort = settings.reasoning_effort
            request = Request(messages, temperature=temperature, sample=sample, reasoning_effort=effort)
            found.append((place % writers, request))
        return found

    async def _candidates(self, writers: Sequence[Runner], asked: Asked, made: Made, usage: Usage) -> list[Candidate]:
        """The own answer and those that the models write, each once, with the checks that they break."""
        row = asked.row
        flags = checked({**row, "source_text": asked.against}, self._knowledge)["flags"]
        own = Candidate(asked.own, row["generator"], flags=tuple(dict.fromkeys((*(row.get("flags") or ()), *flags))))
        found = {_bare(own.text): own}
        requests = self.requests(asked, len(writers))
        replies = await all_of(writers[writer].ask(request) for writer, request in requests)
        for place, ((writer, request), reply) in enumerate(zip(requests, replies, strict=True), 1):
            if isinstance(reply, Failure):
                made.fail(row["id"], row["source"], f"candidate {place}", reply)
                continue
            usage.add(reply)
            text = plain_text(reply.text)
            if _bare(text) in found:
                made.drop(row["id"], row["source"], "candidate", "equal_candidate", text)
                continue
            name = writers[writer].endpoint.model
            broken = self._flags(asked, text, reply.finish_reason)
            found[_bare(text)] = Candidate(text, name, request.temperature, broken)
        return list(found.values())

    def _flags(self, asked: Asked, answer: str, finish_reason: str) -> tuple[str, ...]:
        messages = [*asked.prompt, {"role": "assistant", "content": answer}]
        language = asked.row.get("language") or "und"
        found = check_conversation(
            messages, asked.against, self._knowledge, language=language, finish_reason=finish_reason
        )
        return found.flags

    # Judge

    def judgement(self, asked: Asked, order: Sequence[Candidate]) -> Request:
        """What the judge is asked, with the answers in this order."""
        answers = [(letter, one.text) for letter, one in zip(ascii_uppercase, order, strict=False)]
        messages = self._prompts["judge", asked.language].messages(
            question=asked.question, source=asked.source or "", answers=answers
        )
        return Request(messages, temperature=0.0, reasoning_effort=self._settings.reasoning_effort)

    async def _judged(
        self, judge: Runner, asked: Asked, candidates: list[Candidate], made: Made, usage: Usage
    ) -> list[str] | None:
        """The judge's reasons in both orders, its points with the candidates; None where a verdict failed."""
        first = self._order(asked, candidates)
        orders = (first, first[::-1])
        kind = verdict_of(len(candidates))
        outcomes = await all_of(structured.ask(judge, self.judgement(asked, order), kind) for order in orders)
        reasons = []
        for order, outcome in zip(orders, outcomes, strict=True):
            if isinstance(outcome, Failure):
                made.fail(asked.row["id"], asked.row["source"], "judge", outcome)
                return None
            for reply in outcome.replies:
                usage.add(reply)
            made.counts["judged"] += 1
            reasons.append(outcome.value.reason)
            for letter, one in zip(ascii_uppercase, order, strict=False):
                points: Points = getattr(outcome.value, letter)
                for name in ASPECTS:
                    one.scores[name].append(getattr(points, name))
        return reasons

    def _order(self, asked: Asked, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Drawn for each row, so that no writer has one place."""
        draw = Random(xxhash.xxh3_64_intdigest(str(asked.row["id"]).encode(), self._settings.seed))
        return draw.sample(candidates, len(candidates))

    # Beforehand

    def foreseen(self, item: dict[str, Any] | Fault, texts: SourceTexts, writers: int) -> Foreseen | None:
        """What a conversation takes, as far as its words tell."""
        asked = None if isinstance(item, Fault) else asked_of(item, texts)
        if asked is None:
            return None
        requests, length = self.requests(asked, writers), estimate(asked.own)
        calls = []
        for writer in range(writers):
            prompts = [estimate_messages(request.messages) for place, request in requests if place == writer]
            calls.append(assumed(prompts, [length] * len(prompts)))
        own = Candidate(asked.own, "")
        prompt = estimate_messages(self.judgement(asked, [own] * self._settings.candidates).messages)
        calls.append(assumed([prompt] * ORDERS, [VERDICT_TOKENS * self._settings.candidates] * ORDERS))
        return Foreseen(calls, requests[0][1], rounds=2)


def length_of(answer: str, language: str) -> int:
    """The length that candidates are asked for, that of the own answer: characters of Chinese, words of English.

    >>> length_of("甘" * 123, "zh"), length_of("one two three", "en")
    (120, 20)
    """
    exact = len(answer) if language == "zh" else len(answer.split())
    return max(20, round(exact, -1))


def _instructions(rendered: Sequence[dict[str, str]], prompt: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """The system message: the prompt's, and below it that of the conversation."""
    said = [turn["content"] for turn in (*rendered[:-1], *prompt) if turn["role"] == "system"]
    return [{"role": "system", "content": "\n\n".join(said)}] if said else []


def _turns(prompt: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    return [{"role": turn["role"], "content": turn["content"]} for turn in prompt if turn["role"] != "system"]


def _bare(text: str) -> str:
    return "".join(text.split())


def _dropped(made: Made, asked: Asked, reason: Dropped) -> Made:
    return made.drop(
        asked.row["id"],
        asked.row["source"],
        "prefer",
        reason.rule,
        asked.question,
        value=reason.value,
        threshold=reason.threshold,
    )
