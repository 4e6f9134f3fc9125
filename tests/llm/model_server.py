"""An OpenAI-compatible server on loopback that misbehaves on demand: raw asyncio, so that it can reset a connection,
cut a body short, or send one byte at a time.

    with ModelServer(reply=echo, fault=mixed("rate=0.1,reset=0.03")) as server:   # a thread
        Endpoint(server.url, "m")
    python -m tests.llm.model_server --port 0 --latency 0.02 --log FILE --faults rate=0.1,server=0.05 --seed 1

Replies depend on the messages alone; a `reply` with a method `logprobs` gives those of the first token too.
Every request is counted, and written as one JSON line to the log before it is
answered. A fault is a name from FAULTS, `rate:7` with a number of seconds for Retry-After, or "" for a good reply.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import importlib
import json
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

Message = dict[str, str]
LIFETIME = 900.0  # seconds: a server left behind by a killed test ends by itself


@dataclass(frozen=True)
class Seen:
    """One request as the server saw it."""

    key: str  # of the body: equal requests have equal keys
    arrival: float  # time.monotonic()
    fault: str
    nth: int  # how often this body has been asked for, from 1
    body: dict[str, Any]
    headers: str


def echo(messages: list[Message]) -> str:
    """A reply that shows what it answers and is different for every prompt."""
    prompt = "\n".join(message["content"] for message in messages)
    return f"回复{hashlib.blake2b(prompt.encode(), digest_size=4).hexdigest()}：{messages[-1]['content'][:200]}"


def said(reply: Any, body: dict[str, Any]) -> str:
    """The reply to a request: by its messages, or by all of it where `reply` has a method `of_body`."""
    text = reply.of_body(body) if hasattr(reply, "of_body") else reply(body["messages"])
    return str(text)


def no_fault(key: str, nth: int, body: dict[str, Any]) -> str:
    """Every reply is good."""
    return ""


def planned(plan: dict[str, list[str]]) -> Callable[[str, int, dict[str, Any]], str]:
    """Faults by what the last message contains: `{"感冒": ["rate:1", "reset"]}` for its first and second request; the
    last entry stays when it ends with "!", so `["server!"]` never recovers. The text "" matches every request."""

    def fault(key: str, nth: int, body: dict[str, Any]) -> str:
        for text, faults in plan.items():
            if text in body["messages"][-1]["content"]:
                entry = faults[nth - 1] if nth <= len(faults) else faults[-1] if faults[-1].endswith("!") else ""
                return entry.rstrip("!")
        return ""

    return fault


def mixed(rates: str, seed: int = 0) -> Callable[[str, int, dict[str, Any]], str]:
    """Random faults such as `rate=0.1,server=0.05`, decided by seed, body and how often it was asked for."""
    shares = [(name, float(share)) for name, _, share in (part.partition("=") for part in rates.split(",") if part)]

    def fault(key: str, nth: int, body: dict[str, Any]) -> str:
        digest = hashlib.blake2b(f"{seed} {key} {nth}".encode(), digest_size=8).digest()
        draw = int.from_bytes(digest, "big") / 2**64
        for name, share in shares:
            if draw < share:
                return name
            draw -= share
        return ""

    return fault


def completion(text: str | None, reason: str | None = "stop", **message: Any) -> dict[str, Any]:
    """A chat completion whose token counts follow from its text."""
    words = len(text or "")
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 1,
        "model": "m-2026",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": reason}
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": words, "total_tokens": 10 + words},
    }


def http(status: int, body: bytes, *headers: str, kind: str = "application/json", length: int | None = None) -> bytes:
    """An HTTP/1.1 reply; `length` lies about the body's."""
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {size}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def packed(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def error(status: int, message: str, code: str = "", wait: str = "") -> bytes:
    headers = [f"Retry-After: {wait}"] if wait else []
    return http(status, packed({"error": {"message": message, "code": code or None, "type": code or None}}), *headers)


def later(seconds: str) -> str:
    """A Retry-After that names a moment instead of a number of seconds."""
    return format_datetime(datetime.now(UTC) + timedelta(seconds=float(seconds or 0)), usegmt=True)


FILTERED, LONG = "data_inspection_failed", "context_length_exceeded"
PER_MINUTE = "You exceeded your current quota, please check your plan and billing details. See: error-code#token-limit"
NO_MAX_TOKENS = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)
# What a fault sends: (text of a good reply, seconds after the colon) -> bytes. RST and the rest are in `_misbehave`.
FAULTS: dict[str, Callable[[str, str], bytes]] = {
    "": lambda text, wait: http(200, packed(completion(text))),
    "rate": lambda text, wait: error(429, "slow down", "rate_limit_exceeded", wait),
    "rate_date": lambda text, wait: error(429, "slow down", "rate_limit_exceeded", later(wait)),
    "rate_minute": lambda text, wait: error(429, PER_MINUTE, "insufficient_quota"),
    "quota": lambda text, wait: error(429, "You exceeded your current quota", "insufficient_quota"),
    "quota_200": lambda text, wait: http(200, packed({"error": {"message": "no", "code": "insufficient_quota"}})),
    "server": lambda text, wait: http(500, b"<html>oops", kind="text/html"),
    "busy": lambda text, wait: error(503, "overloaded", wait=wait),
    "auth": lambda text, wait: error(401, "Incorrect API key provided: sk-secret-0123456789", "invalid_api_key"),
    "forbidden": lambda text, wait: error(403, "not for you"),
    "model": lambda text, wait: error(404, "The model `m` does not exist.", "model_not_found"),
    "filter": lambda text, wait: error(400, "inappropriate content", FILTERED),
    "filter_200": lambda text, wait: http(200, packed(completion("", "content_filter"))),
    "long": lambda text, wait: error(400, "maximum context length is 4096 tokens", LONG),
    "no_format": lambda text, wait: error(400, "This response_format type is unavailable now", "invalid_request_error"),
    "no_max_tokens": lambda text, wait: error(400, NO_MAX_TOKENS, "unsupported_parameter"),
    "no_logprobs": lambda text, wait: error(400, "logprobs is not supported by this model", "invalid_request_error"),
    "few_logprobs": lambda text, wait: error(400, "top_logprobs must be at most 5", "invalid_request_error"),
    "path": lambda text, wait: http(404, b"404 page not found", kind="text/plain"),
    "bad_request": lambda text, wait: error(400, "max_tokens is not supported"),
    "truncated_json": lambda text, wait: http(200, packed(completion(text))[:-30]),
    "html": lambda text, wait: http(200, b"<html>maintenance</html>", kind="text/html"),
    "error_200": lambda text, wait: http(200, packed({"error": {"message": "the provider blew up", "code": 500}})),
    "no_choices": lambda text, wait: http(200, packed({**completion(text), "choices": []})),
    "null": lambda text, wait: http(200, packed(completion(None))),
    "blank": lambda text, wait: http(200, packed(completion(" \n"))),
    "length": lambda text, wait: http(200, packed(completion(text[:3], "length"))),
    "length_thinking": lambda text, wait: http(200, packed(completion(None, "length", reasoning_content="想"))),
    "think_open": lambda text, wait: http(200, packed(completion(f"<think>想，{text}"))),
    "think": lambda text, wait: http(200, packed(completion(f"<think>想</think>\n{text}"))),
    "reasoning": lambda text, wait: http(200, packed(completion(text, reasoning_content="想"))),
    "reasoning_field": lambda text, wait: http(200, packed(completion(text, reasoning="想"))),
    "reasoning_only": lambda text, wait: http(200, packed(completion(None, reasoning_content="想"))),
    "bad_utf8": lambda text, wait: http(200, packed(completion(f"回{text}")).replace("回".encode(), b"\xff\xfe", 1)),
    "no_usage": lambda text, wait: http(200, packed({**completion(text), "usage": None})),
    "blank_lines": lambda text, wait: http(200, b"\n\n\n" + packed(completion(text))),
    "not_http": lambda text, wait: b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "bad_gzip": lambda text, wait: http(200, b"not gzip", "Content-Encoding: gzip"),
}


class _Connection(asyncio.Protocol):
    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode("latin-1")
            at = head.lower().find("content-length:")
            size = int(head[at + 15 :].split("\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + size:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + size], self.buffer[end + 4 + size :]
            self.server.receive(self, head, body)

    def answer(self, text: str, fault: str, logprobs: Any = None) -> None:
        if self.transport.is_closing():
            return
        name, _, detail = fault.partition(":")
        if logprobs is not None and not name:
            body = completion(text, "length")
            body["choices"][0]["logprobs"] = logprobs
            self.transport.write(http(200, packed(body)))
        elif name in FAULTS:
            self.transport.write(FAULTS[name](text, detail))
        else:
            self._misbehave(name, packed(completion(text)))

    def _misbehave(self, name: str, body: bytes) -> None:
        if name == "reset":
            self._reset()
        elif name == "reset_body":
            self.transport.write(http(200, body[:40], length=len(body)))
            asyncio.get_running_loop().call_later(0.02, self._reset)
        elif name == "short":
            self.transport.write(http(200, body[:40], length=len(body)))
            self.transport.close()
        elif name == "drip":
            self.transport.write(http(200, b"", length=1_000_000))
            self._drip()
        elif name != "hang":
            raise ValueError(f"no fault is called {name!r}")

    def _reset(self) -> None:
        connection = self.transport.get_extra_info("socket")
        if not self.transport.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def _drip(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b" ")
            asyncio.get_running_loop().call_later(0.02, self._drip)


class ModelServer:
    """The server. `with ModelServer(...) as server:` runs it in a thread; `main` runs it in a process of its own."""

    def __init__(
        self,
        reply: Callable[[list[Message]], str] = echo,
        fault: Callable[[str, int, dict[str, Any]], str] = no_fault,
        latency: float = 0.0,
        log: Path | None = None,
        keep: bool = True,
    ) -> None:
        self.reply, self.fault, self.latency, self.keep = reply, fault, latency, keep
        self.seen: list[Seen] = []
        self.count: Counter[str] = Counter()  # requests by key
        self.in_flight = self.most_in_flight = 0  # requests that have come and are not answered
        self.port = 0
        self.connections: set[_Connection] = set()
        self._log = log.open("ab", buffering=0) if log else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def receive(self, connection: _Connection, head: str, raw: bytes) -> None:
        """Count and log a request, then answer it after the latency."""
        body = json.loads(raw)
        key = hashlib.blake2b(raw, digest_size=8).hexdigest()
        self.count[key] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        fault = self.fault(key, self.count[key], body)
        now = time.monotonic()
        if self.keep:
            self.seen.append(Seen(key, now, fault, self.count[key], body, head))
        if self._log:
            self._log.write(packed({"key": key, "arrival": now, "outcome": fault or "ok"}) + b"\n")
        if self.latency:
            asyncio.get_running_loop().call_later(self.latency, self._answer, connection, body, fault)
        else:
            self._answer(connection, body, fault)

    def _answer(self, connection: _Connection, body: dict[str, Any], fault: str) -> None:
        self.in_flight -= 1
        logprobs = self.reply.logprobs(body) if hasattr(self.reply, "logprobs") else None
        connection.answer(said(self.reply, body), fault, logprobs)

    async def serve(self, ready: Callable[[], None], port: int = 0, lifetime: float = LIFETIME) -> None:
        """Serve on 127.0.0.1 until cancelled or `lifetime` seconds are over; `ready` is called when `port` is known."""
        server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self), "127.0.0.1", port, backlog=4096
        )
        self.port = server.sockets[0].getsockname()[1]
        ready()
        try:
            await asyncio.sleep(lifetime)
        finally:
            server.close()
            for connection in self.connections:
                connection.transport.abort()
            await asyncio.sleep(0)  # for the sockets to close

    def __enter__(self) -> ModelServer:
        ready = threading.Event()

        async def run() -> None:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            await self.serve(ready.set)

        def thread() -> None:
            try:
                asyncio.run(run())
            except asyncio.CancelledError:
                pass
            except BaseException as problem:  # shown by the thread that waits
                self._failure = problem
            ready.set()

        self._thread = threading.Thread(target=thread, name="model server", daemon=True)
        self._thread.start()
        ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None and self._task is not None and self._thread is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()
        if self._log:
            self._log.close()


def main(arguments: list[str] | None = None) -> None:
    """Serve until the lifetime is over; the first line on stdout is the port."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before a reply")
    parser.add_argument("--log", type=Path, help="one JSON line a request is appended")
    parser.add_argument("--faults", default="", help="such as rate=0.1,server=0.05,reset=0.03")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reply", default="", help="module:function from messages to text")
    parser.add_argument("--lifetime", type=float, default=LIFETIME, help="seconds")
    given = parser.parse_args(arguments)
    module, _, function = given.reply.partition(":")
    reply = getattr(importlib.import_module(module), function) if module else echo
    server = ModelServer(reply, mixed(given.faults, given.seed), given.latency, given.log, keep=False)

    def ready() -> None:
        print(server.port, flush=True)

    asyncio.run(server.serve(ready, given.port, given.lifetime))


if __name__ == "__main__":
    sys.exit(main())
