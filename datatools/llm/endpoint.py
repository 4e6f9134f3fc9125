"""An OpenAI-compatible endpoint: one POST, the reply's bytes as they came."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import resource
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import httpx2
import openai

from datatools.llm.request import Request

TIMEOUT = 120.0  # seconds a whole reply may take
CONNECT_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 4.0  # below the 5 s after which uvicorn-based servers close: else the next call meets a reset
OPEN_FILES = 16_384  # a connection is a file, and systems begin with 1,024
ERRORS: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
}


class Endpoint:
    """A model behind a base URL such as `https://api.example.com/v1`; close it, or use it as `async with`.

    `timeout` is the total in seconds for one attempt. ValueError for a URL that is none.

    Calls go straight to aiohttp, and errors are openai's: its client takes five times aiohttp's CPU for a call
    (`benchmarks/runner.py`), most of it for URLs and headers that are the same every time.
    """

    def __init__(self, base_url: str, model: str, api_key: str = "", timeout: float = TIMEOUT) -> None:
        self.base_url = _clean(base_url)
        self.model = model
        self.api_key = api_key
        self.timeout = timeout
        self.identity = identity(self.base_url)
        self.refused: set[str] = set()  # names of parameters that it has answered 400 to
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Endpoint:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def post(self, request: Request) -> bytes:
        """The body of a reply with status 200, not looked into.

        Raises what `errors.classify` sorts: openai's and aiohttp's exceptions, TimeoutError after `timeout` seconds.
        """
        async with asyncio.timeout(self.timeout):
            values = self._renamed(request.parameters())
            try:
                return await self._send(values)
            except openai.BadRequestError as error:
                if "max_tokens" not in values or not self.wants_other_name(str(error)):
                    raise
                return await self._send(self._renamed(values))

    async def _send(self, parameters: Mapping[str, Any]) -> bytes:
        if self._session is None:
            self._session = self._open()
        body = json.dumps({"model": self.model, **parameters}, ensure_ascii=False).encode()
        async with self._session.post(f"{self.base_url}/chat/completions", data=body) as response:
            raw = await response.read()
            if response.status >= 300:
                raise refusal(response.status, response.headers, raw)
            return raw

    @contextlib.asynccontextmanager
    async def call(
        self, method: str, path: str, body: bytes | aiohttp.MultipartWriter | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response of any other call below the base URL, to be read within the `with`; raises as `post` does.

        `timeout` counts anew with every part of it that comes: files are long.
        """
        if self._session is None:
            self._session = self._open()
        headers = {"Content-Type": body.headers["Content-Type"]} if isinstance(body, aiohttp.MultipartWriter) else {}
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=min(self.timeout, CONNECT_SECONDS), sock_read=self.timeout
        )
        url = f"{self.base_url}/{path}"
        async with self._session.request(method, url, data=body, headers=headers, timeout=timeout) as response:
            if response.status >= 300:
                raise refusal(response.status, response.headers, await response.read())
            yield response

    def _open(self) -> aiohttp.ClientSession:
        """A session whose number of connections the runner's limit decides."""
        _allow_open_files(OPEN_FILES)
        secure = self.base_url.startswith("https:")
        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS, ssl=httpx2.create_ssl_context() if secure else True
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(self.timeout, CONNECT_SECONDS)),
            headers={
                "Authorization": f"Bearer {self.api_key or 'none'}",
                "Content-Type": "application/json",
                "User-Agent": "datatools",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            # A proxy from the environment is for the world outside, not for a server on this machine.
            trust_env=not is_local(self.base_url),
        )

    def _renamed(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters under the names this endpoint takes: OpenAI's reasoning models know no `max_tokens`."""
        other = self.names()
        return {other.get(name, name): value for name, value in parameters.items()}

    def names(self) -> dict[str, str]:
        """What this endpoint calls parameters that others call otherwise."""
        return {"max_tokens": "max_completion_tokens"} if "max_tokens" in self.refused else {}

    def wants_other_name(self, message: str) -> bool:
        """Whether a refusal asks for another name of a parameter, which is then used from now on: it was not billed."""
        wanted = "max_completion_tokens" in message
        if wanted:
            self.refused.add("max_tokens")
        return wanted

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def refusal(status: int, headers: Mapping[str, str], raw: bytes) -> openai.APIStatusError:
    """openai's exception for a reply that is not 200, with the error object or the text it came with as `body`."""
    text = raw.decode(errors="replace").strip()
    body: object = text
    with contextlib.suppress(ValueError, RecursionError):
        body = json.loads(text)
    if isinstance(body, Mapping):
        body = body.get("error", body)
    said = body.get("message") if isinstance(body, Mapping) else None
    kind = ERRORS.get(status, openai.InternalServerError if status >= 500 else openai.APIStatusError)
    # The body is read and decoded: what said how long and how packed it was does not hold any more.
    kept = {
        name: value for name, value in headers.items() if name.lower() not in ("content-encoding", "content-length")
    }
    response = httpx2.Response(status, headers=kept, request=httpx2.Request("POST", "http://endpoint"))
    return kind(f"Error code: {status}{f' - {said}' if said else ''}", response=response, body=body)


def _allow_open_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


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
