"""Files, batches and chat completions of an OpenAI-compatible endpoint on loopback, misbehaving on demand.

    with BatchServer(reply=echo, row=planned({"感冒": ["server"]}), call=nth("create", 1, "lost")) as server:
        Endpoint(server.url, "m")

A batch moves on one state each time it is looked at, so a test decides how fast time goes. Requests of a batch are
executed, and counted in `executed`, when it has passed its validation. `row` gives the fault of a request by the names
of model_server.FAULTS, or "expired", "missing"; `batch` that of a batch: "expired" or "cancelled" half-way, or one of
INVALID; `call` that of an HTTP call:

    rate, server, auth, not_found, too_large, html, empty
                                        an answer that is none; nothing was done
    reset                               the connection is reset; nothing was done
    lost                                it was done, but the connection is reset before the answer
    hang_before, hang_after             no answer ever, before or after it was done
    cut, cut_hang, short                of a file half of the lines, then a reset, nothing more, or the end
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.llm.model_server import FAULTS, Message, completion, echo, no_fault, packed, said

FAULT = web.RequestKey("fault", str)
STATES = ("validating", "in_progress", "finalizing")
LIMIT = "Enqueued token limit reached for m in organization o. Please try again once some in_progress batches end."
INVALID = ("token_limit", "invalid_line", "invalid", "no_model", "quota")
ROUTES = ("upload", "content", "create", "list", "look", "complete")


@dataclass
class Batch:
    """A batch, its requests, and how far it is."""

    id: str
    input_file: str
    metadata: dict[str, str]
    lines: list[dict[str, Any]]
    fault: str
    states: list[str] = field(default_factory=lambda: list(STATES))
    outputs: dict[str, bytes] = field(default_factory=dict)  # output_file_id, error_file_id → content
    counts: dict[str, int] = field(default_factory=dict)
    created_at: int = field(default_factory=lambda: int(time.time()))

    def described(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "input_file_id": self.input_file,
            "completion_window": "24h",
            "status": self.states[0],
            "created_at": self.created_at,
            "metadata": self.metadata,
            "request_counts": self.counts or None,
            **{name: f"{self.id}-{name}" for name in self.outputs},
            "errors": {"object": "list", "data": problems(self)} if self.states[0] == "failed" else None,
        }


def problems(batch: Batch) -> list[dict[str, Any]]:
    """What the endpoint says about a batch that fails its validation."""
    said = {
        "token_limit": ("token_limit_exceeded", LIMIT, None),
        "invalid_line": ("invalid_request", "This line is not parseable as valid JSON.", 2),
        "invalid": ("invalid_json_line", "The file is not what it should be.", None),
        "no_model": ("model_not_found", "The provided model 'm' is not supported by the Batch API.", 1),
        "quota": ("billing_hard_limit_reached", "Billing hard limit has been reached.", None),
    }
    code, message, line = said[batch.fault]
    return [{"code": code, "message": message, "line": line, "param": None}]


def nth(route: str, number: int, fault: str) -> Callable[[str, int], str]:
    """`fault` at the nth call of a route, from 1; 0: at every one."""
    return lambda called, count: fault if called == route and number in (0, count) else ""


class BatchServer:
    """The server, in a thread: `with BatchServer(...) as server:`."""

    def __init__(
        self,
        reply: Callable[[list[Message]], str] = echo,
        row: Callable[[str, int, dict[str, Any]], str] = no_fault,
        batch: Callable[[int, list[dict[str, Any]]], str] = lambda number, lines: "",
        call: Callable[[str, int], str] = lambda route, count: "",
        first: int = 0,
        forgets: bool = False,
    ) -> None:
        self.reply, self.row, self.batch, self.call = reply, row, batch, call
        self.first = first  # lines of a file that are sent before it is cut; half of them where 0
        self.forgets = forgets  # metadata
        self._executed: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()  # requests by key, also those that expired before it was their turn
        self.calls: Counter[str] = Counter()  # by route
        self.files: dict[str, bytes] = {}
        self.batches: list[Batch] = []
        self.reached = threading.Event()  # a call hangs
        self.port = 0
        self._release = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def executed(self) -> Counter[str]:
        """Requests by key, those of calls too, once all batches have ended: nobody needs to look at them."""
        for made in self.batches:
            while len(made.states) > 1:
                self._advance(made)
        return self._executed

    # The five calls and the synchronous one

    async def upload(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        sent = form["file"]
        assert isinstance(sent, web.FileField) and form["purpose"] == "batch"
        name = f"file-{len(self.files)}"
        self.files[name] = sent.file.read()
        return web.json_response({"id": name, "object": "file", "purpose": "batch", "filename": sent.filename})

    async def create(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        assert asked["completion_window"] == "24h" and asked["endpoint"] == "/v1/chat/completions"
        content = self.files.get(asked["input_file_id"])
        if content is None:
            return _refusal(400, f"No such File object: {asked['input_file_id']}", "invalid_request_error")
        lines = [json.loads(line) for line in content.splitlines()]
        made = Batch(
            f"batch_{len(self.batches)}",
            asked["input_file_id"],
            {} if self.forgets else asked.get("metadata") or {},
            lines,
            self.batch(len(self.batches) + 1, lines),
        )
        self.batches.append(made)
        return web.json_response(made.described())

    async def list(self, request: web.Request) -> web.StreamResponse:
        newest = [made.described() for made in reversed(self.batches)]
        after = request.query.get("after")
        start = next((place + 1 for place, made in enumerate(newest) if made["id"] == after), 0)
        page = newest[start : start + 2]  # small pages, so that there is more than one
        return web.json_response({"object": "list", "data": page, "has_more": start + 2 < len(newest)})

    async def look(self, request: web.Request) -> web.StreamResponse:
        made = next((made for made in self.batches if made.id == request.match_info["id"]), None)
        if made is None:
            return _refusal(404, f"No batch found with id '{request.match_info['id']}'.")
        if len(made.states) > 1:
            self._advance(made)
        return web.json_response(made.described())

    async def content(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        made, found = next(
            (
                (made, made.outputs[kind])
                for made in self.batches
                for kind in made.outputs
                if name == f"{made.id}-{kind}"
            ),
            (None, b""),
        )
        if made is None:
            return _refusal(404, f"No such File object: {name}")
        fault = request[FAULT]
        if fault not in ("cut", "cut_hang", "short"):
            return web.Response(body=found, content_type="application/octet-stream")
        lines = found.splitlines(keepends=True)
        part = b"".join(lines[: self.first or max(1, len(lines) // 2)])
        if fault == "short":
            return web.Response(body=part, content_type="application/octet-stream")
        response = web.StreamResponse(headers={"Content-Length": str(len(found))})
        await response.prepare(request)
        await response.write(part + b'{"id": "batch_req_x", "custom')
        if fault == "cut_hang":
            await self._hang()
        else:
            await asyncio.sleep(0.02)  # for what was sent to arrive before the reset
            _reset(request)
        return response

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        fault = self._execute(body)[1]
        status, answer = _answer(fault, said(self.reply, body))
        return web.Response(status=status, body=packed(answer), content_type="application/json")

    # What a batch does

    def _advance(self, batch: Batch) -> None:
        batch.states.pop(0)
        if batch.states[0] != "in_progress":
            return
        if batch.fault in INVALID:
            batch.states = ["failed"]
            return
        self._run(batch)

    def _run(self, batch: Batch) -> None:
        good, bad = [], []
        rest = len(batch.lines) // 2 if batch.fault in ("expired", "cancelled") else len(batch.lines)
        for place, line in enumerate(batch.lines):
            key, fault = self._execute(line["body"]) if place < rest else ("", batch.fault)
            entry: dict[str, Any] = {"id": f"batch_req_{place}", "custom_id": line["custom_id"]}
            if fault == "missing":
                continue
            if fault in ("expired", "cancelled"):
                error = {"code": f"batch_{fault}", "message": "This request could not be executed."}
                bad.append({**entry, "response": None, "error": error})
                continue
            status, answer = _answer(fault, said(self.reply, line["body"]))
            entry |= {"response": {"status_code": status, "request_id": key, "body": answer}, "error": None}
            (good if status == 200 else bad).append(entry)
        # In any order: here in that of a hash.
        for name, entries in (("output_file_id", good), ("error_file_id", bad)):
            entries.sort(key=lambda entry: hashlib.blake2b(entry["custom_id"].encode(), digest_size=4).digest())
            if entries:
                batch.outputs[name] = b"".join(packed(entry) + b"\n" for entry in entries)
        batch.counts = {"total": len(batch.lines), "completed": len(good), "failed": len(bad)}
        end = batch.fault if batch.fault in ("expired", "cancelled") else "completed"
        batch.states = ["in_progress", "finalizing", end]

    def _execute(self, body: dict[str, Any]) -> tuple[str, str]:
        """Key and fault of a request that is carried out."""
        key = hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=8).hexdigest()
        self.seen[key] += 1
        fault = self.row(key, self.seen[key], body)
        self._executed[key] += fault != "expired"
        return key, fault

    # HTTP

    @web.middleware
    async def _middleware(
        self, request: web.Request, handler: Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]
    ) -> web.StreamResponse:
        assert request.headers["Authorization"].startswith("Bearer ")
        route = request.match_info.route.name or ""
        self.calls[route] += 1
        fault = request[FAULT] = self.call(route, self.calls[route])
        answers = {
            "rate": _refusal(429, "slow down", "rate_limit_exceeded"),
            "server": _refusal(500, "oops"),
            "auth": _refusal(401, "Incorrect API key provided: sk-secret-0123456789", "invalid_api_key"),
            "html": web.Response(body=b"<html>maintenance</html>", content_type="text/html"),
            "empty": web.Response(body=b"{}", content_type="application/json"),
            "not_found": _refusal(404, "Not Found"),
            "too_large": _refusal(413, "The file is too large."),
        }
        if fault in answers:
            await request.read()
            return answers[fault]
        if fault == "reset":
            _reset(request)
        if fault == "hang_before":
            await self._hang()
        response = await handler(request)
        if fault == "hang_after":
            await self._hang()
        if fault == "lost":
            _reset(request)
        return response

    async def _hang(self) -> None:
        self.reached.set()
        await self._release.wait()
        raise web.HTTPServiceUnavailable

    async def _serve(self, ready: threading.Event) -> None:
        app = web.Application(middlewares=[self._middleware], client_max_size=300_000_000)
        app.add_routes(
            [
                web.post("/v1/files", self.upload, name="upload"),
                web.get("/v1/files/{id}/content", self.content, name="content"),
                web.post("/v1/batches", self.create, name="create"),
                web.get("/v1/batches", self.list, name="list"),
                web.get("/v1/batches/{id}", self.look, name="look"),
                web.post("/v1/chat/completions", self.complete, name="complete"),
            ]
        )
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            self._release.set()
            await runner.cleanup()

    def __enter__(self) -> BatchServer:
        ready = threading.Event()

        async def run() -> None:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            await self._serve(ready)

        def thread() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.run(run())

        self._thread = threading.Thread(target=thread, name="batch server", daemon=True)
        self._thread.start()
        assert ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._task is not None
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()


def _answer(fault: str, text: str) -> tuple[int, object]:
    """Status and body of a reply with a fault of model_server's."""
    if not fault:
        return 200, completion(text)
    name, _, detail = fault.partition(":")
    head, _, body = FAULTS[name](text, detail).partition(b"\r\n\r\n")
    try:
        return int(head.split()[1]), json.loads(body)
    except ValueError:
        return int(head.split()[1]), body.decode(errors="replace")


def _refusal(status: int, message: str, code: str = "") -> web.Response:
    error = {"error": {"message": message, "code": code or None, "type": code or None}}
    return web.Response(status=status, body=packed(error), content_type="application/json")


def _reset(request: web.Request) -> None:
    assert request.transport is not None
    connection = request.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
    raise ConnectionResetError
