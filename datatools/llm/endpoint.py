"""An OpenAI-compatible endpoint: one POST, the reply's bytes as they came."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2
import openai

from datatools.llm.request import Request

TIMEOUT = 120.0  # seconds a whole reply may take
CONNECT_SECONDS = 10.0
CONNECTIONS = 8192  # the runner's limit is the one that counts
KEEP_ALIVE_SECONDS = 4.0  # below the 5 s after which uvicorn-based servers close: else the next call meets a reset


class _Client(openai.AsyncOpenAI):
    """openai's client without the headers that describe this machine."""

    def platform_headers(self) -> dict[str, str]:
        return {}


class Endpoint:
    """A model behind a base URL such as `https://api.example.com/v1`; close it, or use it as `async with`.

    `timeout` is the total in seconds for one attempt: the client's own timeout counts per read, so that a server which
    sends a byte now and then would never be given up. ValueError for a URL that is none.
    """

    def __init__(self, base_url: str, model: str, api_key: str = "", timeout: float = TIMEOUT) -> None:
        self.base_url = _clean(base_url)
        self.model = model
        self.api_key = api_key
        self.timeout = timeout
        self.identity = identity(self.base_url)
        self.refused: set[str] = set()  # names of parameters that it has answered 400 to
        limits = httpx2.Limits(max_connections=CONNECTIONS, keepalive_expiry=KEEP_ALIVE_SECONDS)
        seconds = httpx2.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
        # A proxy from the environment is for the world outside, not for a server on this machine.
        transport = openai.DefaultAioHttpClient(limits=limits, timeout=seconds, trust_env=not is_local(self.base_url))
        self._client = _Client(
            base_url=self.base_url, api_key=api_key or "none", max_retries=0, timeout=seconds, http_client=transport
        )

    async def post(self, request: Request) -> bytes:
        """The body of a reply with status 200, not looked into.

        Raises what `errors.classify` sorts: openai's and aiohttp's exceptions, TimeoutError after `timeout` seconds.
        """
        async with asyncio.timeout(self.timeout):
            values = self._renamed(request.parameters())
            try:
                return await self._send(values)
            except openai.BadRequestError as error:
                if "max_tokens" not in values or "max_completion_tokens" not in str(error):
                    raise
                self.refused.add("max_tokens")  # the call was not billed, and no later one will be refused for it
                return await self._send(self._renamed(values))

    async def _send(self, parameters: Mapping[str, Any]) -> bytes:
        body = json.dumps({"model": self.model, **parameters}, ensure_ascii=False).encode()
        return await self._client.post("/chat/completions", content=body, cast_to=bytes)

    def _renamed(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters under the names this endpoint takes: OpenAI's reasoning models know no `max_tokens`."""
        other = {"max_tokens": "max_completion_tokens"} if "max_tokens" in self.refused else {}
        return {other.get(name, name): value for name, value in parameters.items()}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def identity(url: str) -> str:
    """Who answers, for the journal's key: the host, or "local" for this machine, whose servers change their ports."""
    return "local" if is_loopback(url) else _host(url)


def is_loopback(url: str) -> bool:
    """Whether the URL points at this machine."""
    host = _host(url)
    address = _address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def is_local(url: str) -> bool:
    """Whether the URL points at this machine or into a private network: no proxy is used."""
    host = _host(url)
    address = _address(host)
    if address is None:
        return is_loopback(url) or "." not in host or host.endswith((".local", ".lan", ".internal", ".home.arpa"))
    return address.is_private or address.is_loopback or address.is_unspecified


def api_key(env_name: str, url: str) -> str:
    """The key in environment variable `env_name`; "" without one for a loopback URL, ValueError for any other."""
    key = os.environ.get(env_name, "").strip()
    if not key and not is_loopback(url):
        raise ValueError(f"{_host(url)} needs an API key: set {env_name}, or name another variable with --api-key-env")
    return key


def _clean(url: str) -> str:
    """The base URL without what people paste along with it; ValueError when it is none."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not a base URL; it looks like http://localhost:8000/v1")
    if parts.username or parts.password:
        raise ValueError("a base URL must not hold a password; put the key into an environment variable")
    return urlunsplit(parts._replace(path=parts.path.rstrip("/").removesuffix("/chat/completions"), fragment=""))


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".").lower()


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
