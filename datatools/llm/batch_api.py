"""Files and batches of an OpenAI-compatible endpoint: five calls, and what can be read in their replies.

As in OpenAI's API reference: at most 50,000 requests and 200 MB a file, one model a batch, replies within 24 hours
in any order. Other providers take the same calls.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import aiohttp
import openai

from datatools.llm.endpoint import Endpoint
from datatools.llm.errors import Failure, classify, failure

MOST_REQUESTS = 50_000  # in one file
MOST_BYTES = 100_000_000  # half of what OpenAI takes: there are providers who take no more
WINDOW = "24h"
LABEL = "datatools"  # the key under which a batch's metadata hold our name for it
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
PAGE = 100
LONGEST = 3600.0  # seconds for one call, a file of 100 MB on a slow line included


class Broken(Exception):
    """A call that did not succeed."""

    def __init__(self, failure: Failure, unknown: bool = False) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.unknown = unknown  # 404: no such file or batch


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a batch failed its validation."""

    code: str
    message: str
    line: int | None  # from 1; None when it is about the whole file


@dataclass(frozen=True, slots=True)
class Remote:
    """A batch as the endpoint describes it."""

    id: str
    status: str  # validating, in_progress, finalizing, cancelling, or one of ENDED
    files: tuple[str, ...]  # ids of the files with replies and with errors, as far as there are any
    problems: tuple[Problem, ...]
    done: int = 0  # requests with or without success
    total: int = 0


class BatchApi:
    """The calls; each raises Broken."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        # Zhipu's base URL ends in /v4, and so does the path that it wants in a batch.
        version = re.search(r"/(v\d+)$", urlsplit(endpoint.base_url).path)
        self.url = f"/{version[1] if version else 'v1'}/chat/completions"

    async def upload(self, name: str, lines: BinaryIO) -> str:
        """The id of a file that the endpoint stored. `lines` is closed."""
        form = aiohttp.FormData()
        form.add_field("purpose", "batch")
        form.add_field("file", lines, filename=f"{LABEL}-{name}.jsonl", content_type="application/jsonl")
        body = form()
        assert isinstance(body, aiohttp.MultipartWriter)
        return str((await self._json("POST", "files", body))["id"])

    async def create(self, name: str, file: str) -> Remote:
        """Begin a batch of an uploaded file."""
        asked = {"input_file_id": file, "endpoint": self.url, "completion_window": WINDOW, "metadata": {LABEL: name}}
        return _remote(await self._json("POST", "batches", json.dumps(asked).encode()))

    async def find(self, name: str, file: str, since: float) -> Remote | None:
        """The batch of our name or of this file, if the endpoint has made one; `since` is a Unix time before it."""
        after = ""
        while True:
            page = await self._json("GET", f"batches?limit={PAGE}{after}", needs="data")
            found = [entry for entry in page["data"] if isinstance(entry, dict) and entry.get("id")]
            for entry in found:
                metadata = entry.get("metadata")
                labelled = isinstance(metadata, dict) and metadata.get(LABEL) == name
                if labelled or entry.get("input_file_id") == file:
                    return _remote(entry)
            # The newest come first. An hour for clocks that differ.
            old = found and isinstance(at := found[-1].get("created_at"), int) and at < since - 3600
            if old or not found or not page.get("has_more"):
                return None
            after = f"&after={found[-1]['id']}"

    async def look(self, remote: str) -> Remote:
        """A batch as it is now."""
        return _remote(await self._json("GET", f"batches/{remote}"))

    async def lines(self, file: str) -> AsyncGenerator[bytes, None]:
        """The lines of a file as they come. One that broke off is Broken after the lines that were whole."""
        rest = b""
        async with self._call("GET", f"files/{file}/content") as response:
            async for part in response.content.iter_any():
                *whole, rest = (rest + part).split(b"\n")
                for line in whole:
                    yield line
        if rest.strip():
            yield rest

    async def _json(
        self, method: str, path: str, body: bytes | aiohttp.MultipartWriter | None = None, needs: str = "id"
    ) -> dict[str, Any]:
        """The reply's object, which has `needs`."""
        async with self._call(method, path, body) as response:
            raw = await response.read()
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict) and found.get("error") and not found.get(needs):
            raise Broken(classify(found, self._endpoint.api_key))
        if not isinstance(found, dict) or found.get(needs) is None:
            raise Broken(failure("malformed", f"{method} {path}: the reply is not what a batch endpoint answers"))
        return found

    @asynccontextmanager
    async def _call(
        self, method: str, path: str, body: bytes | aiohttp.MultipartWriter | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with asyncio.timeout(LONGEST), self._endpoint.call(method, path, body) as response:
                yield response
        except (openai.APIError, aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            unknown = isinstance(error, openai.NotFoundError)
            raise Broken(classify(error, self._endpoint.api_key), unknown) from error


def _remote(found: Mapping[str, Any]) -> Remote:
    problems = found.get("errors")
    listed = problems.get("data") if isinstance(problems, Mapping) else None
    counts = found.get("request_counts")
    numbers = [counts.get(name) if isinstance(counts, Mapping) else 0 for name in ("completed", "failed", "total")]
    completed, failed, total = (number if isinstance(number, int) else 0 for number in numbers)
    return Remote(
        id=str(found["id"]),
        status=str(found.get("status") or ""),
        files=tuple(str(found[name]) for name in ("output_file_id", "error_file_id") if found.get(name)),
        problems=tuple(_problem(entry) for entry in listed or () if isinstance(entry, Mapping)),
        done=completed + failed,
        total=total,
    )


def _problem(entry: Mapping[str, Any]) -> Problem:
    line = entry.get("line")
    return Problem(
        str(entry.get("code") or ""), str(entry.get("message") or ""), line if isinstance(line, int) else None
    )
