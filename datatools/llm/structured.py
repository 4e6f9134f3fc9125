"""Fields instead of text: a reply as an instance of a pydantic model, or the reason why there is none.

The schema is sent where the endpoint takes it, and the reply is validated either way: servers ignore
`response_format`, and models break it. A prompt must therefore say itself which fields it wants, as JSON. The raw reply
is in the journal before any of this, so another validator makes use of what was paid for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from datatools.llm.errors import Failure, failure
from datatools.llm.request import Reply, Request, key
from datatools.llm.runner import Runner

M = TypeVar("M", bound=BaseModel)

REFUSED = re.compile(r"response.?format|json.?schema|structured.?output|guided", re.IGNORECASE)
AGAIN = "That reply cannot be used: {problem}. Reply with one JSON object alone, of this schema:\n{schema}"
ROUND = 1 << 20  # added to `sample` when what failed for good is asked for anew: no caller has so many samples
STARTS = 100  # braces looked at in one reply
PROBLEMS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Structured(Generic[M]):
    """A reply that fits."""

    value: M
    replies: tuple[Reply, ...]  # the last one holds the value; one before it did not fit, and was paid for too


async def ask(runner: Runner, request: Request, model: type[M]) -> Structured[M] | Failure:
    """The reply to a request as `model`, or why there is none. Raises what `Runner.ask` raises.

    A reply that does not fit is asked for once more, with what is wrong with it; then the class is `schema`. With
    `Settings.retry_failed` a request that an earlier run gave up in this way is asked for anew.
    """
    while True:
        outcome, replies = await _round(runner, request, model)
        if isinstance(outcome, Structured) or outcome.kind != "schema":
            return outcome
        anew = replace(request, sample=request.sample + ROUND)
        given_up_before = runner.settings.retry_failed and all(reply.cached for reply in replies)
        if not (given_up_before or _known(runner, anew) or _known(runner, formatted(anew, model))):
            runner.counters.failures["schema"] += 1
            return outcome
        request = anew


async def _round(runner: Runner, request: Request, model: type[M]) -> tuple[Structured[M] | Failure, list[Reply]]:
    """One question and at most one more, with the replies that came."""
    replies: list[Reply] = []
    asked = request
    while True:
        reply = await _send(runner, asked, model)
        if isinstance(reply, Failure):
            return reply, replies
        replies.append(reply)
        value = read(reply.text, model)
        if not isinstance(value, str):
            return Structured(value, tuple(replies)), replies
        if len(replies) == 2:
            message = f"the reply does not fit {model.__name__}: {value}"
            return failure("schema", message, attempts=len(replies)), replies
        schema = json.dumps(model.model_json_schema(), ensure_ascii=False)
        more = (
            {"role": "assistant", "content": reply.text},
            {"role": "user", "content": AGAIN.format(problem=value, schema=schema)},
        )
        asked = replace(request, messages=[*request.messages, *more])


async def _send(runner: Runner, request: Request, model: type[M]) -> Reply | Failure:
    """With the schema, or without where this endpoint refuses it or the reply was paid for already."""
    refused = runner.endpoint.refused
    if "response_format" not in refused and not _known(runner, request):
        outcome = await runner.ask(formatted(request, model))
        if not refuses(outcome):
            return outcome
        refused.add("response_format")
    return await runner.ask(request)


def refuses(outcome: Reply | Failure) -> bool:
    """Whether the endpoint does not take `response_format` at all, or not this schema.

    >>> refuses(failure("server", "400 This response_format type is unavailable now", retry=False))
    True
    """
    return (
        isinstance(outcome, Failure)
        and outcome.kind == "server"
        and not outcome.retry
        and REFUSED.search(outcome.message) is not None
    )


@cache
def response_format(model: type[BaseModel]) -> dict[str, Any]:
    """The model's strict JSON schema as chat completions take it. Fields with defaults are required there too."""
    from openai import pydantic_function_tool

    function = pydantic_function_tool(model)["function"]
    schema = {"name": function["name"], "strict": True, "schema": function["parameters"]}
    return {"type": "json_schema", "json_schema": schema}


def read(text: str, model: type[M]) -> M | str:
    """The one object in the text that fits the model, or what is wrong, in words for whoever wrote the text.

    Code fences and words before and after an object do not matter; nothing inside it is mended. Never raises.

    >>> class Score(BaseModel):
    ...     score: int
    >>> read('Here it is:\\n```json\\n{"score": 3}\\n```', Score)
    Score(score=3)
    >>> read('{"score": "high"}', Score)
    'score: Input should be a valid integer, unable to parse string as an integer'
    >>> read('{"score": 3', Score)
    'the JSON object is broken off or not valid JSON'
    """
    problem = ""
    found: list[M] = []
    for candidate in objects(text):
        try:
            value = model.model_validate_json(candidate)
        except ValidationError as error:
            problem = problem or _said(error)
            continue
        if value not in found:
            found.append(value)
    if len(found) == 1:
        return found[0]
    if found:
        return "there are several different JSON objects in it"
    return problem or ("the JSON object is broken off or not valid JSON" if "{" in text else "there is no JSON object")


def objects(text: str) -> Iterator[str]:
    """The JSON objects that stand in a text, outermost ones only.

    Behind an object that is broken off nothing is looked for: what stands in it is a part, not the whole.
    """
    decoder = json.JSONDecoder()
    start = text.find("{")
    for _ in range(STARTS):
        if start < 0:
            return
        try:
            end = decoder.raw_decode(text, start)[1]
        except json.JSONDecodeError as error:
            if text[start + 1 : error.pos].strip():
                return
            end = start + 1  # a brace in a sentence
        except (ValueError, RecursionError):  # a number of thousands of digits, or thousands of brackets
            return
        else:
            yield text[start:end]
        start = text.find("{", end)


def _said(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    said = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}".removeprefix(": ") for problem in problems]
    more = f"; and {len(said) - PROBLEMS_SHOWN} more" if len(said) > PROBLEMS_SHOWN else ""
    return "; ".join(said[:PROBLEMS_SHOWN]) + more


def formatted(request: Request, model: type[BaseModel]) -> Request:
    """The request with the model's schema, as it is sent first."""
    return replace(request, response_format=response_format(model))


def _known(runner: Runner, request: Request) -> bool:
    """Whether a reply to this very request is in the journal."""
    return runner.journal.get(key(runner.endpoint.identity, runner.endpoint.model, request)) is not None
