"""The lines of a batch's files: what is sent, and what can be made of whatever comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.llm.batch_api import BatchApi
from datatools.llm.batch_lines import OVERHEAD, Result, read_line, request_line
from datatools.llm.endpoint import Endpoint
from datatools.llm.errors import Failure
from datatools.llm.reply import parse
from datatools.llm.request import Reply, Request, canonical, key, sent
from tests.llm.model_server import completion

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
ODD = st.fixed_dictionaries({}, optional=dict.fromkeys(("custom_id", "response", "error"), ANY_JSON))
OURS = st.builds(lambda line: {**line, "custom_id": "ab" * 16}, ODD)
RESPONSE = st.fixed_dictionaries({"status_code": ANY_JSON | st.integers(200, 599), "body": ANY_JSON})


def line(**content: Any) -> bytes:
    return json.dumps({"id": "batch_req_1", "custom_id": "ab" * 16, **content}).encode()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 10**6))
def test_a_line_holds_the_body_of_a_call_and_is_not_longer_than_was_reckoned(text: str, tokens: int) -> None:
    request = Request([{"role": "user", "content": text}], max_tokens=tokens)
    name, asked = key("local", "m", request), canonical("local", "m", request)
    written = request_line(name, asked, "/v1/chat/completions", {})
    assert written.count(b"\n") == 1 and written.endswith(b"\n")
    assert len(written) <= len(asked) + OVERHEAD
    found = json.loads(written)
    assert bytes.fromhex(found["custom_id"]) == name
    assert found["body"] == sent(asked) == {"model": "m", **request.parameters()}
    renamed = json.loads(request_line(name, asked, "/v1/x", {"max_tokens": "max_completion_tokens"}))
    assert (renamed["url"], renamed["body"]["max_completion_tokens"]) == ("/v1/x", tokens)


@given(st.binary() | ODD.map(json.dumps).map(str.encode) | OURS.map(json.dumps).map(str.encode))
def test_whatever_comes_is_a_result_or_no_line(raw: bytes) -> None:
    found = read_line(raw)
    assert found is None or isinstance(found.found, bytes | Failure)


@given(RESPONSE)
def test_whatever_a_response_holds_can_be_stored_and_parsed(response: dict[str, Any]) -> None:
    found = read_line(line(response=response))
    assert found is not None
    assert isinstance(found.found, Failure) or isinstance(parse(found.found), Reply | Failure)
    found.row()


@given(st.text())
def test_a_reply_says_the_same_as_one_to_a_call(text: str) -> None:
    body = completion(text, reasoning_content="想")
    found = read_line(line(response={"status_code": 200, "body": body}))
    assert found is not None and isinstance(found.found, bytes)
    assert parse(found.found) == parse(body)
    assert (found.prompt_tokens, found.completion_tokens) == (10, len(text))


@pytest.mark.parametrize(
    "content, kind, event",
    [
        ({"response": None, "error": {"code": "batch_expired", "message": "x"}}, "timeout", "expired"),
        ({"response": None, "error": {"code": "batch_cancelled", "message": "x"}}, "server", "cancelled"),
        ({"response": None, "error": {"code": "insufficient_quota", "message": "x"}}, "quota", "quota"),
        ({"response": None, "error": None}, "server", "server"),
        ({"response": {"status_code": 429, "body": {"error": {"message": "slow"}}}}, "rate", "rate"),
        ({"response": {"status_code": 500, "body": "oops"}}, "server", "server"),
        ({"response": {"status_code": 400, "body": {"error": {"code": "content_filter"}}}}, "content_filter", None),
    ],
)
def test_a_line_without_a_reply_has_a_class(content: dict[str, Any], kind: str, event: str | None) -> None:
    found = read_line(line(**content))
    assert isinstance(found, Result) and isinstance(found.found, Failure)
    assert found.found.kind == kind
    assert found.row()[1] == (event or kind)


def test_no_key_is_in_what_is_kept_of_a_refusal() -> None:
    body = {"error": {"message": "Incorrect API key provided: geheim-geheim"}}
    found = read_line(line(response={"status_code": 401, "body": body}), secret="geheim-geheim")
    assert found is not None and isinstance(found.found, Failure)
    assert "geheim" not in found.found.message


@pytest.mark.parametrize(
    "base, url",
    [
        ("https://api.openai.com/v1", "/v1/chat/completions"),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "/v1/chat/completions"),
        ("https://open.bigmodel.cn/api/paas/v4", "/v4/chat/completions"),
        ("http://localhost:8000", "/v1/chat/completions"),
    ],
)
def test_the_path_in_a_batch_has_the_version_of_the_base_url(base: str, url: str) -> None:
    assert BatchApi(Endpoint(base, "m")).url == url
