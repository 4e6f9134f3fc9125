"""Keys: equal where the output would be equal, different where it would not."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.llm.endpoint import Endpoint, api_key, identity, is_local, is_loopback
from datatools.llm.reply import parse
from datatools.llm.request import Reply, Request, canonical, key
from tests.llm.model_server import ModelServer

ASKED = Request(({"role": "user", "content": "感冒怎么办？"},), max_tokens=256, temperature=0.7)

requests = st.builds(
    Request,
    messages=st.lists(st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": st.text()})),
    max_tokens=st.none() | st.integers(1, 4096),
    temperature=st.none() | st.floats(0, 2),
    sample=st.integers(0, 3),
    reasoning_effort=st.none() | st.sampled_from(["none", "low"]),
    response_format=st.none() | st.sampled_from([{"type": "json_object"}, {"type": "text"}]),
)


def test_a_key_is_sixteen_bytes_and_stays_the_same_between_versions():
    assert key("local", "qwen", ASKED).hex() == "83dc2642d02457150dc7c7e53163ac4f"


@given(requests, requests)
def test_two_requests_share_a_key_only_if_they_are_equal(one, other):
    same = one.parameters() == other.parameters() and one.sample == other.sample
    assert (key("h", "m", one) == key("h", "m", other)) == same


def test_what_changes_the_output_changes_the_key():
    changed = [
        replace(ASKED, max_tokens=512),
        replace(ASKED, max_tokens=None),
        replace(ASKED, temperature=0.8),
        replace(ASKED, sample=1),
        replace(ASKED, reasoning_effort="none"),
        replace(ASKED, reasoning_effort="low"),
        replace(ASKED, response_format={"type": "json_object"}),
        replace(ASKED, messages=({"role": "system", "content": "感冒怎么办？"},)),
        replace(ASKED, messages=({"role": "user", "content": "感冒怎么办?"},)),
    ]
    keys = [key("local", "qwen", request) for request in changed]
    keys += [key("local", "qwen-2", ASKED), key("api.example.com", "qwen", ASKED), key("local", "qwen", ASKED)]
    assert len(set(keys)) == len(keys)


def test_the_order_of_a_messages_fields_and_the_kind_of_number_do_not_matter():
    turned = Request([{"content": "感冒怎么办？", "role": "user"}], max_tokens=256, temperature=0.7)
    assert key("local", "qwen", turned) == key("local", "qwen", ASKED)
    assert key("l", "m", replace(ASKED, temperature=1)) == key("l", "m", replace(ASKED, temperature=1.0))


def test_what_the_key_is_made_of_can_be_read():
    content = json.loads(canonical("local", "qwen", replace(ASKED, reasoning_effort="low")))
    assert content == {
        "v": 1,
        "endpoint": "local",
        "model": "qwen",
        "sample": 0,
        "messages": [{"role": "user", "content": "感冒怎么办？"}],
        "max_tokens": 256,
        "temperature": 0.7,
        "reasoning_effort": "low",
    }


def no_max_tokens(key, nth, body):
    return "no_max_tokens" if "max_tokens" in body else ""


def test_an_endpoint_that_wants_the_limit_under_another_name_gets_it():
    async def main(url):
        endpoint = Endpoint(url, "m")
        together = await asyncio.gather(endpoint.post(ASKED), endpoint.post(ASKED))
        later = await endpoint.post(ASKED)
        await endpoint.close()
        return [parse(raw) for raw in (*together, later)]

    with ModelServer(fault=no_max_tokens) as server:
        outcomes = asyncio.run(main(server.url))
    assert all(isinstance(outcome, Reply) for outcome in outcomes)
    limits = [{name: seen.body[name] for name in seen.body if "max" in name} for seen in server.seen]
    assert limits[-1] == {"max_completion_tokens": 256}  # it is remembered
    assert limits.count({"max_completion_tokens": 256}) == 3 and limits.count({"max_tokens": 256}) <= 2


def test_another_refusal_is_not_sent_twice():
    async def main(url):
        endpoint = Endpoint(url, "m")
        try:
            for request in (replace(ASKED, max_tokens=None), ASKED):
                with pytest.raises(openai.BadRequestError):
                    await endpoint.post(request)
        finally:
            await endpoint.close()

    with ModelServer(fault=lambda key, nth, body: "bad_request") as server:
        asyncio.run(main(server.url))
    assert len(server.seen) == 2


def test_only_what_is_set_is_sent_and_the_sample_never():
    assert Request([{"role": "user", "content": "x"}], sample=3).parameters() == {
        "messages": [{"role": "user", "content": "x"}]
    }


@pytest.mark.parametrize(
    ("url", "who", "loopback", "local"),
    [
        ("http://localhost:8000/v1", "local", True, True),
        ("http://127.0.0.1:8001/v1", "local", True, True),
        ("http://[::1]:8001/v1", "local", True, True),
        ("http://192.168.1.5:8000/v1", "192.168.1.5", False, True),
        ("http://gpu-box:8000/v1", "gpu-box", False, True),
        ("https://API.Example.com/v1", "api.example.com", False, False),
        ("https://localhost.example.com/v1", "localhost.example.com", False, False),
        ("http://8.8.8.8/v1", "8.8.8.8", False, False),
    ],
)
def test_a_local_server_may_change_its_port_and_needs_no_key(url, who, loopback, local, monkeypatch):
    monkeypatch.delenv("SOME_KEY", raising=False)
    assert (identity(url), is_loopback(url), is_local(url)) == (who, loopback, local)
    if loopback:
        assert api_key("SOME_KEY", url) == ""
    else:
        with pytest.raises(ValueError, match="SOME_KEY"):
            api_key("SOME_KEY", url)


def test_a_key_in_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("SOME_KEY", " sk-abc \n")
    assert api_key("SOME_KEY", "https://api.example.com/v1") == "sk-abc"
