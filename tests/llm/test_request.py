"""Keys: equal where the output would be equal, different where it would not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.llm.endpoint import api_key, identity, is_local, is_loopback
from datatools.llm.request import Request, key

ASKED = Request(({"role": "user", "content": "感冒怎么办？"},), max_tokens=256, temperature=0.7)

requests = st.builds(
    Request,
    messages=st.lists(st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": st.text()})),
    max_tokens=st.none() | st.integers(1, 4096),
    temperature=st.none() | st.floats(0, 2),
    sample=st.integers(0, 3),
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
