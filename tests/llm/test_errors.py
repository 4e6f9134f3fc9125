"""Every way in which an endpoint misbehaves, on a real socket, and the class it is put in."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import openai
import pytest

from datatools.llm.endpoint import Endpoint
from datatools.llm.errors import FATAL, KINDS, RETRIED, Failure, classify, redact, retry_after
from datatools.llm.reply import parse
from datatools.llm.request import Reply, Request
from tests.llm.model_server import FAULTS, ModelServer

SECRET = "sk-secret-0123456789"
EXPECTED = {
    "": None,
    "rate": "rate",
    "rate:2.5": "rate",
    "rate_date:60": "rate",
    "rate_minute": "rate",
    "quota": "quota",
    "quota_200": "quota",
    "server": "server",
    "busy": "server",
    "busy:3": "server",
    "auth": "auth",
    "forbidden": "auth",
    "model": "auth",
    "filter": "content_filter",
    "filter_200": "content_filter",
    "long": "context_length",
    "path": "auth",
    "bad_request": "server",
    "no_format": "server",
    "no_max_tokens": "server",
    "no_logprobs": "server",
    "few_logprobs": "server",
    "truncated_json": "malformed",
    "html": "malformed",
    "error_200": "server",
    "no_choices": "malformed",
    "null": "empty",
    "blank": "empty",
    "length": "truncated",
    "length_thinking": "truncated",
    "think": None,
    "think_open": "empty",
    "reasoning": None,
    "reasoning_field": None,
    "reasoning_only": "empty",
    "bad_utf8": "malformed",
    "no_usage": None,
    "blank_lines": None,
    "not_http": "connection",
    "bad_gzip": "connection",
    "reset": "connection",
    "reset_body": "connection",
    "short": "connection",
    "drip": "timeout",
    "hang": "timeout",
}


REFUSED = ("bad_request", "no_format", "no_max_tokens", "no_logprobs", "few_logprobs")  # asking again does not help


async def outcome(endpoint: Endpoint, text: str = "x") -> Reply | Failure:
    try:
        return parse(await endpoint.post(Request([{"role": "user", "content": text}])), SECRET)
    except Exception as error:
        return classify(error, SECRET)


async def outcomes_of(url: str, *texts: str, timeout: float = 60.0) -> list[Reply | Failure]:
    endpoint = Endpoint(url, "m", SECRET, timeout)
    try:
        return [await outcome(endpoint, text) for text in texts]
    finally:
        await endpoint.close()


@pytest.fixture(scope="module")
def outcomes():
    """What the client makes of each fault."""
    quick = [fault for fault, kind in EXPECTED.items() if kind != "timeout"]
    slow = [fault for fault, kind in EXPECTED.items() if kind == "timeout"]
    with ModelServer(fault=lambda key, nth, body: body["messages"][-1]["content"]) as server:
        found = dict(zip(quick, asyncio.run(outcomes_of(server.url, *quick)), strict=True))
        found |= zip(slow, asyncio.run(outcomes_of(server.url, *slow, timeout=0.3)), strict=True)
    return found


def test_every_fault_of_the_server_is_expected():
    assert set(FAULTS) <= {fault.partition(":")[0] for fault in EXPECTED}


@pytest.mark.parametrize("fault", EXPECTED)
def test_each_fault_is_put_in_its_class(outcomes, fault):
    found, kind = outcomes[fault], EXPECTED[fault]
    assert isinstance(found, Reply) if kind is None else isinstance(found, Failure) and found.kind == kind
    if isinstance(found, Failure):
        assert found.kind in KINDS
        assert found.fatal == (kind in FATAL)
        assert found.retry == (kind in RETRIED and fault not in REFUSED)
        assert SECRET not in found.message and "\n" not in found.message and found.message
        assert not found.unreachable


def test_only_pushback_slows_everyone_down_and_says_for_how_long(outcomes):
    assert {fault for fault, found in outcomes.items() if getattr(found, "slow_down", False)} == {
        "rate",
        "rate:2.5",
        "rate_date:60",
        "rate_minute",
        "busy:3",
    }
    assert 50 < outcomes["rate_date:60"].retry_after <= 60
    assert (outcomes["rate:2.5"].retry_after, outcomes["busy:3"].retry_after, outcomes["rate"].retry_after) == (
        2.5,
        3.0,
        None,
    )


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/v1", "https://127.0.0.1:{port}/v1", "http://x.invalid/v1"])
def test_nobody_there_is_told_apart_from_a_broken_connection(url):
    with socket.socket() as taken:  # bound, not listening: refused
        taken.bind(("127.0.0.1", 0))
        [found] = asyncio.run(outcomes_of(url.format(port=taken.getsockname()[1]), "x"))
    assert isinstance(found, Failure) and found.kind == "connection" and found.unreachable


def test_a_bug_is_not_a_failure():
    with pytest.raises(KeyError):
        classify(KeyError("x"))


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x/v1", "", "http://user:pw@x/v1", "http:///v1"])
def test_a_wrong_base_url_is_refused(url):
    with pytest.raises(ValueError, match="base URL"):
        Endpoint(url, "m")


def test_the_request_tells_nothing_about_this_machine():
    with ModelServer() as server:
        asyncio.run(outcomes_of(server.url + "/chat/completions/", "x"))
    [seen] = server.seen
    assert seen.headers.startswith("POST /v1/chat/completions HTTP/1.1")
    assert "stainless-os" not in seen.headers.lower() and "runtime" not in seen.headers.lower()
    assert seen.body == {"model": "m", "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_retry_after_in_every_form(headers, seconds):
    assert retry_after(headers) == seconds


def test_retry_after_as_a_date():
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 0 < retry_after({"retry-after": date}) <= 100


def test_whatever_looks_like_a_key_is_blotted_out():
    text = redact("Bearer abc.def in http://me:pw@host, key sk-proj-12345678 and my-own-secret", "my-own-secret")
    assert not any(secret in text for secret in ("abc.def", "me:pw", "12345678", "my-own-secret"))


def test_an_unknown_path_says_what_to_look_at(outcomes):
    assert "404 page not found" in outcomes["path"].message and "/v1" in outcomes["path"].message
    assert "/v1" not in outcomes["model"].message


def said(status, message, code="", headers=None):
    """The failure behind a provider's answer."""
    error = openai.APIStatusError.__new__(openai.APIStatusError)
    error.status_code, error.body = status, {"message": message, "code": code}
    error.response = SimpleNamespace(headers=headers or {})
    return classify(error)


@pytest.mark.parametrize(
    ("status", "message", "code", "kind"),
    [
        (402, "Insufficient Balance", "invalid_request_error", "quota"),
        (429, "You exceeded your current quota, please check your plan and billing details.", "", "quota"),
        (429, "Your account is suspended, please check your account balance", "exceeded_current_quota_error", "quota"),
        (429, "Your account has reached the set inference limit for the model", "SetLimitExceeded", "quota"),
        (429, "您的账户已欠费，请充值后重试", "1113", "quota"),
        (403, "The free tier of the model has been exhausted.", "AllocationQuota.FreeTierOnly", "quota"),
        (400, "Your credit balance is too low to access the API. Go to Plans & Billing", "", "quota"),
        (400, "Access denied, make sure your account is in good standing.", "Arrearage", "quota"),
        (429, "Rate limit reached, add a payment method: https://x.example/account/billing", "", "rate"),
        (429, "Rate limit reached. Upgrade at https://console.example/settings/billing", "rate_limit_exceeded", "rate"),
        (429, "You exceeded your current quota: https://x.example/rate-limits. Please retry in 17.3s.", "", "rate"),
        (429, "Requests throttled, allocated quota exceeded", "Throttling.AllocationQuota", "rate"),
        (429, "Your account request reached max concurrency: 1, please try again after 1 seconds", "", "rate"),
        (429, "您当前使用该API的并发数过高，请降低并发", "1302", "rate"),
        (429, "Too many tokens, please wait before trying again.", "ThrottlingException", "rate"),
        (429, "something nobody has heard of", "", "rate"),
        (429, "Request too large for m on tokens per min (TPM): Limit 10000", "rate_limit_exceeded", "context_length"),
        (413, "Request too large", "", "context_length"),
        (400, "Prompt 超长", "1261", "context_length"),
        (400, "Output data may contain inappropriate content.", "DataInspectionFailed", "content_filter"),
        (400, "系统检测到输入或生成内容可能包含不安全或敏感内容", "1301", "content_filter"),
        (403, "Your chosen model requires moderation and your input was flagged", "", "content_filter"),
        (404, "The model `qwen` does not exist or you do not have access to it.", "", "auth"),
        (500, "billing service is down", "", "server"),
    ],
)
def test_what_providers_say_in_their_own_words(status, message, code, kind):
    assert said(status, message, code).kind == kind


def test_a_quota_that_comes_back_by_itself_is_a_rate():
    empty = "You exceeded your current quota, please check your plan and billing details."
    assert said(429, empty, "insufficient_quota").kind == "quota"
    waiting = said(429, empty, "insufficient_quota", {"retry-after": "20"})
    assert (waiting.kind, waiting.retry_after, waiting.slow_down) == ("rate", 20.0, True)


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Please retry in 17.30897372s.", 17.30897372),
        ("please try again after 1 seconds", 1.0),
        ("Please try again in 20ms.", None),
        ("Please try again in 1m20s.", None),
        ("Please try again later.", None),
        ("retry in ...s", None),
    ],
)
def test_a_time_to_wait_is_read_from_the_message_where_no_header_says_it(message, seconds):
    assert said(429, message).retry_after == seconds
    assert said(429, message, headers={"retry-after": "3"}).retry_after == 3.0


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Insufficient Balance", "quota"),
        ("您的账户已欠费", "quota"),
        ("Content Exists Risk", "content_filter"),
        ("This model's maximum context length is 8192 tokens", "context_length"),
        ("Range of input length should be [1, 6000]", "context_length"),
        ("The model `qwen` does not exist.", "auth"),
    ],
)
def test_providers_words_for_it(message, kind):
    assert parse({"error": {"message": message, "code": 400}}).kind == kind
