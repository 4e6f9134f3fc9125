"""What is asked of a model, what comes back, and the key under which the two are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KEY_VERSION = 1  # raised when the meaning of a key changes: every stored reply would then be asked for again


@dataclass(frozen=True, slots=True)
class Request:
    """One chat completion. What is None is not sent, so the endpoint's own default holds."""

    messages: Sequence[Mapping[str, str]]  # each {"role": ..., "content": ...}
    max_tokens: int | None = None  # of the reply, thinking included
    temperature: float | None = None
    sample: int = 0  # tells wanted repetitions of the same words apart; never sent
    reasoning_effort: str | None = None  # none, minimal, low, medium, high, …: what there is depends on the model
    response_format: Mapping[str, Any] | None = None  # the JSON schema of the reply, as the endpoint wants it
    top_logprobs: int | None = None  # of so many tokens the log-probability at the reply's first place

    def parameters(self) -> dict[str, Any]:
        """Everything that changes the output: what is sent besides the model's name, and what the key covers."""
        values = {
            "messages": [{"role": message["role"], "content": message["content"]} for message in self.messages],
            "max_tokens": self.max_tokens,
            "temperature": None if self.temperature is None else float(self.temperature),
            "reasoning_effort": self.reasoning_effort,
            "response_format": None if self.response_format is None else dict(self.response_format),
            "logprobs": None if self.top_logprobs is None else True,
            "top_logprobs": self.top_logprobs,
        }
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's usable answer: `text` without thinking, which is in `reasoning`."""

    text: str
    finish_reason: str = ""  # as the endpoint said it; "" where it said nothing
    prompt_tokens: int = 0
    completion_tokens: int = 0
    model: str = ""  # as the endpoint names it, which may be more exact than what was asked for
    reasoning: str = ""
    logprobs: tuple[tuple[str, float], ...] | None = None  # token and natural logarithm, where they were asked for
    cached: bool = False  # from the journal, or shared with an equal request in flight: not paid for here


def canonical(endpoint_identity: str, model: str, request: Request) -> bytes:
    """The JSON of everything that decides the output, always in the same bytes.

    `endpoint_identity` is `Endpoint.identity`: the host, or "local", so that a local server may change its port.
    Timeouts, retries, concurrency and the API key are left out: changing them must not pay twice.
    """
    content = {
        "v": KEY_VERSION,
        "endpoint": endpoint_identity,
        "model": model,
        "sample": request.sample,
        **request.parameters(),
    }
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def sent(asked: bytes) -> dict[str, Any]:
    """The body that is sent for a request whose canonical JSON is `asked`: the model's name and the parameters.

    >>> sent(canonical("local", "m", Request([{"role": "user", "content": "?"}], temperature=0)))
    {'messages': [{'content': '?', 'role': 'user'}], 'model': 'm', 'temperature': 0.0}
    """
    content = json.loads(asked.decode("utf-8", "surrogatepass"))
    return {name: value for name, value in content.items() if name not in ("v", "endpoint", "sample")}


def key(endpoint_identity: str, model: str, request: Request) -> bytes:
    """The name under which the reply to a request is kept.

    >>> key("local", "m", Request([{"role": "user", "content": "?"}])).hex()
    '9793c06613e43b74125d68934c21df8a'
    """
    return key_of(canonical(endpoint_identity, model, request))


def key_of(asked: bytes) -> bytes:
    """The same from a request's canonical JSON, as its blake2b-128."""
    return hashlib.blake2b(asked, digest_size=16).digest()
