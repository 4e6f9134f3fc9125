"""Facts of a text without labelled parts, found by a model: each must stand in the text, word for word."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from datatools.cases.labelled import conclusion_of
from datatools.cases.read import Free
from datatools.llm import structured
from datatools.llm.errors import Failure
from datatools.llm.request import Request
from datatools.llm.runner import Runner
from pipelines.ask_items import AskSettings, Made, Usage
from prompts.load import Prompt
from schemas.case import UNKNOWN, VOLUNTEERED, Case, Fact


class Quote(BaseModel):
    """A fact as the model gives it."""

    quote: str
    layer: Literal["volunteered", "on_asking", "unknown_to_patient"]


class Record(BaseModel):
    """All facts of a text."""

    facts: list[Quote]
    diagnosis: str


def facts_request(free: Free, prompt: Prompt, settings: AskSettings) -> Request:
    """What is asked about a text."""
    messages = prompt.messages(text=free.text, conclusion=free.conclusion, title=free.title)
    return Request(messages, temperature=settings.temperature, reasoning_effort=settings.reasoning_effort)


async def case_of(
    runner: Runner, free: Free, prompt: Prompt, settings: AskSettings, made: Made, usage: Usage
) -> Case | None:
    """The case that a model finds in a text; None, with the reason in `made`, where there is none.

    A quote that is not in the text is left out and traced. The first fact is volunteered where none is: a patient who
    says nothing unasked has not come.
    """
    outcome = await structured.ask(runner, facts_request(free, prompt, settings), Record)
    if isinstance(outcome, Failure):
        made.fail(free.id, free.source, "facts", outcome)
        return None
    for reply in outcome.replies:
        usage.add(reply)
    found: list[Fact] = []
    for fact in outcome.value.facts:
        if (span := span_of(fact.quote, free.text)) is None:
            made.drop(free.id, free.source, "facts", "not_verbatim", fact.quote)
        else:
            found.append(Fact(free.text[slice(*span)], fact.layer, *span))
    if not any(fact.layer != UNKNOWN for fact in found):
        made.drop(free.id, free.source, "facts", "no_facts", free.text)
        return None
    if not any(fact.layer == VOLUNTEERED for fact in found):
        first = next(place for place, fact in enumerate(found) if fact.layer != UNKNOWN)
        found[first] = found[first]._replace(layer=VOLUNTEERED)
    diagnosis, concluded = conclusion_of(free.conclusion)
    named = outcome.value.diagnosis.strip()
    if not diagnosis and named and any(named in text for text in (free.text, free.title, free.conclusion)):
        diagnosis = named
    facts = tuple(dict.fromkeys((*found, *concluded)))
    return Case(free.id, facts, diagnosis, free.department, free.source)


def span_of(quote: str, text: str) -> tuple[int, int] | None:
    """Where a quote stands in a text, in characters; white space makes no difference. None where it does not.

    >>> span_of("头痛三天，恶心", "主诉：头痛三天，\\n恶心。"), span_of("头痛两天", "头痛三天")
    ((3, 11), None)
    """
    places = [place for place, sign in enumerate(text) if not sign.isspace()]
    bare = "".join(quote.split())
    start = "".join(text[place] for place in places).find(bare) if bare else -1
    return None if start < 0 else (places[start], places[start + len(bare) - 1] + 1)
