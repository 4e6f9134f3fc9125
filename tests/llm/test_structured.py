"""Replies as fields: what is repaired, what is asked again, what fails, and that nothing is paid for twice."""

from __future__ import annotations

import asyncio
import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from datatools.llm.endpoint import Endpoint
from datatools.llm.errors import Failure
from datatools.llm.journal import Journal
from datatools.llm.request import Request
from datatools.llm.runner import Runner, Settings
from datatools.llm.structured import ROUND, Structured, ask, objects, read, response_format
from tests.llm.model_server import ModelServer, planned


class Score(BaseModel):
    """A judge's verdict."""

    score: int = Field(ge=1, le=5)
    reason: str


class Fact(BaseModel):
    text: str
    layer: Literal["volunteered", "on_asking"]


class Facts(BaseModel):
    facts: list[Fact]


GOOD = '{"score": 4, "reason": "剂量与原文一致。"}'
VALUE = Score(score=4, reason="剂量与原文一致。")
BAD = '{"score": 9, "reason": "太好了"}'
ASKED = Request([{"role": "user", "content": "请打分：{问答}"}], temperature=0.0)
QUICK = Settings(backoff=0.001, attempts=2)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


def run(path, url, *requests, model=Score, settings=QUICK):
    """What came of the requests, asked one after another, and the runner."""

    async def main():
        with Journal(path) as journal:
            async with Runner(Endpoint(url, "m"), journal, settings) as runner:
                return [await ask(runner, request, model) for request in requests], runner

    return asyncio.run(main())


def saying(*texts):
    """A server's replies by turn: the first text to the first question, the next to what follows it."""
    return lambda messages: texts[min(len(messages) // 2, len(texts) - 1)]


def no_format(key, nth, body):
    return "no_format" if "response_format" in body else ""


# What is sent


def test_the_schema_is_sent_in_the_strict_form_and_the_value_comes_back(path):
    with ModelServer(reply=saying(GOOD)) as server:
        [outcome], _ = run(path, server.url, ASKED)
    assert isinstance(outcome, Structured) and outcome.value == VALUE
    assert [reply.text for reply in outcome.replies] == [GOOD]
    [seen] = server.seen
    sent = seen.body["response_format"]
    assert sent == response_format(Score) and sent["type"] == "json_schema"
    assert sent["json_schema"]["name"] == "Score" and sent["json_schema"]["strict"] is True
    schema = sent["json_schema"]["schema"]
    assert schema["additionalProperties"] is False and schema["required"] == ["score", "reason"]
    assert (seen.body["temperature"], seen.body["messages"]) == (0.0, list(ASKED.messages))


def test_an_endpoint_that_refuses_the_schema_is_asked_without_it_from_then_on(path):
    others = [Request([{"role": "user", "content": f"{n}"}]) for n in range(3)]
    with ModelServer(reply=saying(GOOD), fault=no_format) as server:
        outcomes, _ = run(path, server.url, ASKED, *others)
        assert ["response_format" in seen.body for seen in server.seen] == [True, False, False, False, False]
        again, runner = run(path, server.url, ASKED, *others)
    assert [outcome.value for outcome in (*outcomes, *again)] == [VALUE] * 8
    assert len(server.seen) == 5 and runner.counters.sent == 0


def test_what_was_paid_for_without_the_schema_is_not_paid_for_again_with_it(path):
    with ModelServer(reply=saying(GOOD), fault=no_format) as server:
        run(path, server.url, ASKED)
    with ModelServer(reply=saying(GOOD)) as better:
        [outcome], _ = run(path, better.url, ASKED)
    assert outcome.value == VALUE and not better.seen


def test_another_refusal_is_a_failure_and_nothing_is_learned_from_it(path):
    with ModelServer(reply=saying(GOOD), fault=planned({"": ["bad_request"]})) as server:
        [outcome], runner = run(path, server.url, ASKED)
    assert isinstance(outcome, Failure) and outcome.kind == "server"
    assert len(server.seen) == 1 and not runner.endpoint.refused


def test_another_schema_is_another_request(path):
    class Stricter(Score):
        certain: bool

    Stricter.__name__ = "Score"
    stricter = '{"score": 4, "reason": "x", "certain": true}'
    with ModelServer(reply=saying(stricter)) as server:
        run(path, server.url, ASKED)
        [outcome], _ = run(path, server.url, ASKED, model=Stricter)
    assert outcome.value.certain and len(server.seen) == 2


# What comes back


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```",
        f"评分如下：\n\n```json\n{GOOD}\n```\n希望有帮助！",
        f"{GOOD}\n以上是我的评分。",
        f"<think>先看剂量 {{对}}。</think>{GOOD}",
        f"按 {{score, reason}} 的格式：{GOOD}",
        f"{GOOD}\n{GOOD}",
        json.dumps(json.loads(GOOD), indent=2),
        "\ufeff" + GOOD,
    ],
    ids=["plain", "fenced", "bare-fence", "words", "trailing", "thinking", "braces", "twice", "indented", "bom"],
)
def test_what_stands_around_the_object_costs_no_second_question(path, text):
    with ModelServer(reply=saying(text)) as server:
        [outcome], _ = run(path, server.url, ASKED)
    assert outcome.value == VALUE and len(server.seen) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BAD, "score: Input should be less than or equal to 5"),
        ('{"score": 4}', "reason: Field required"),
        ("四分，剂量一致。", "there is no JSON object"),
        (GOOD[:-4], "broken off"),
        ('{"score": 4, "reason": "x",}', "not valid JSON"),
        ("{'score': 4, 'reason': 'x'}", "not valid JSON"),
        (f'{GOOD} 或者 {{"score": 2, "reason": "y"}}', "several different"),
        (f"[{GOOD[:-1]}", "broken off"),
    ],
    ids=["range", "missing", "text", "cut", "comma", "quotes", "two", "list-cut"],
)
def test_what_does_not_fit_is_asked_once_more_with_what_is_wrong(path, text, said):
    with ModelServer(reply=saying(text, f"```json\n{GOOD}\n```")) as server:
        [outcome], runner = run(path, server.url, ASKED)
        [cached], _ = run(path, server.url, ASKED)
    assert outcome.value == cached.value == VALUE
    assert len(server.seen) == 2
    assert len(outcome.replies) == 2 and all(reply.cached for reply in cached.replies)
    question, answered, complaint = server.seen[1].body["messages"]
    assert (question, answered) == (ASKED.messages[0], {"role": "assistant", "content": text})
    assert said in complaint["content"] and '"maximum": 5' in complaint["content"]
    assert server.seen[1].body["response_format"] == response_format(Score)
    assert runner.counters.completion_tokens == sum(reply.completion_tokens for reply in outcome.replies)


def test_what_does_not_fit_twice_fails_and_both_replies_are_kept(path):
    with ModelServer(reply=saying(BAD, "对不起。")) as server:
        [outcome], runner = run(path, server.url, ASKED)
        [again], second = run(path, server.url, ASKED)
        assert len(server.seen) == 2
    assert isinstance(outcome, Failure) and (outcome.kind, outcome.attempts) == ("schema", 2)
    assert "Score" in outcome.message and "no JSON object" in outcome.message
    assert not outcome.fatal and runner.counters.failures == {"schema": 1}
    assert again == outcome and second.counters.sent == 0
    with Journal(path) as journal:
        assert journal.counts().replies == 2


def test_a_changed_validator_makes_use_of_both_replies(path):
    class Lenient(BaseModel):
        score: int = Field(ge=1, le=5)
        reason: str

        @field_validator("score", mode="before")
        @classmethod
        def clipped(cls, score: int) -> int:
            return min(score, 5)

    Lenient.__name__, Lenient.__doc__ = "Score", Score.__doc__
    Lenient.model_config["title"] = "Score"
    Lenient.model_rebuild(force=True)
    assert response_format(Lenient) == response_format(Score)
    with ModelServer(reply=saying(BAD)) as server:
        run(path, server.url, ASKED)
        [outcome], _ = run(path, server.url, ASKED, model=Lenient)
    assert outcome.value.score == 5 and len(server.seen) == 2


def test_retry_failed_asks_anew_and_its_replies_are_found_later(path):
    retry = Settings(backoff=0.001, attempts=2, retry_failed=True)
    texts = {"now": BAD}
    with ModelServer(reply=lambda messages: texts["now"]) as server:
        run(path, server.url, ASKED)
        [still], _ = run(path, server.url, ASKED, settings=retry)
        assert still.kind == "schema" and len(server.seen) == 4
        [given_up], _ = run(path, server.url, ASKED)
        assert given_up.kind == "schema" and len(server.seen) == 4
        texts["now"] = GOOD
        [outcome], _ = run(path, server.url, ASKED, settings=retry)
        assert len(server.seen) == 5
        [later], _ = run(path, server.url, ASKED)
    assert outcome.value == later.value == VALUE and len(server.seen) == 5
    assert ROUND > 1000  # no caller's own samples are met


@pytest.mark.parametrize(("fault", "kind"), [("filter", "content_filter"), ("null", "empty"), ("length", "truncated")])
def test_a_request_without_a_reply_fails_as_it_does_for_text(path, fault, kind):
    with ModelServer(reply=saying(GOOD), fault=planned({"": [f"{fault}!"]})) as server:
        [outcome], _ = run(path, server.url, ASKED)
    assert isinstance(outcome, Failure) and outcome.kind == kind
    assert all("response_format" in seen.body for seen in server.seen)


# Reading alone

scores = st.builds(Score, score=st.integers(1, 5), reason=st.text(max_size=20))
facts = st.builds(Facts, facts=st.lists(st.builds(Fact, text=st.text(max_size=8)), min_size=1, max_size=3))
around = st.text(alphabet=st.characters(exclude_characters="{}", exclude_categories=["Cs"]), max_size=30)


@given(scores, around, around, st.booleans())
def test_an_object_is_found_among_any_words(value, before, after, fenced):
    text = value.model_dump_json()
    text = f"```json\n{text}\n```" if fenced else text
    assert read(before + text + after, Score) == value


@given(facts, st.data())
def test_a_part_of_an_object_is_never_taken_for_the_whole(value, data):
    text = value.model_dump_json()
    cut = data.draw(st.integers(0, len(text) - 1))
    assert isinstance(read(text[:cut], Facts), str)
    assert isinstance(read(text[:cut], Fact), str)  # which stands complete inside


@given(scores, scores)
def test_two_different_objects_are_no_answer(one, other):
    found = read(f"{one.model_dump_json()} {other.model_dump_json()}", Score)
    assert found == one if one == other else "several" in found


@given(st.text(alphabet='{}[]":,\\ \n0123scoreain', max_size=60))
def test_no_text_makes_the_reader_raise(text):
    found = read(text, Score)
    assert isinstance(found, Score) or (isinstance(found, str) and found)
    assert all(isinstance(json.loads(candidate), dict) for candidate in objects(text))


@pytest.mark.parametrize(
    "text",
    ["{" * 100_000, '{"a":' * 100_000, '{"a":' + "[" * 100_000, '{"score": ' + "1" * 10_000 + "}", "{}" * 100_000],
)
def test_a_text_made_to_hurt_is_refused(text):
    assert isinstance(read(text, Score), str)
