"""The lines of a batch's files: a request as it is uploaded, and what a line says that came back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datatools.llm.endpoint import refusal
from datatools.llm.errors import Failure, classify, failure
from datatools.llm.reply import usage
from datatools.llm.request import sent

OVERHEAD = 160  # bytes of a line besides the canonical JSON of its request, at most


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one request of a batch: a raw reply, or why there is none."""

    key: bytes
    found: bytes | Failure | None
    event: str = ""  # for the journal, where it is not the failure's class
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def row(self) -> tuple[bytes, bytes | str, int, int]:
        """As the journal takes it."""
        found = self.found if isinstance(self.found, bytes) else self.event or (self.found and self.found.kind) or ""
        return self.key, found, self.prompt_tokens, self.completion_tokens


def request_line(key: bytes, asked: bytes, url: str, names: Mapping[str, str]) -> bytes:
    """One line of a batch's file. `names` has the parameters that this endpoint calls otherwise."""
    body = {names.get(name, name): value for name, value in sent(asked).items()}
    line = {"custom_id": key.hex(), "method": "POST", "url": url, "body": body}
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace") + b"\n"


def read_line(line: bytes, secret: str = "") -> Result | None:
    """What a line of an output or error file says; None where it is not such a line. Never raises."""
    try:
        found = json.loads(line)
        key = bytes.fromhex(found["custom_id"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    response = found.get("response")
    if isinstance(response, Mapping) and response.get("body") is not None:
        return _answered(key, response, secret)
    error = found.get("error")
    code = str(error.get("code") or "") if isinstance(error, Mapping) else ""
    if code == "batch_expired":
        return expired(key)
    if code == "batch_cancelled":
        return cancelled(key)
    return Result(key, classify({"error": error or {"message": "the batch has no reply for this request"}}, secret))


def expired(key: bytes) -> Result:
    """A request that the endpoint did not come to in the time that a batch has: not billed."""
    return Result(key, failure("timeout", "the batch expired before this request was answered"), "expired")


def cancelled(key: bytes) -> Result:
    """A request of a batch that was cancelled before it was answered: not billed."""
    return Result(key, failure("server", "the batch was cancelled before this request was answered"), "cancelled")


def missing(key: bytes) -> Result:
    """A request that none of the batch's files speaks of, and that may have been billed."""
    return Result(key, failure("malformed", "the batch's files have no line for this request"), "missing")


def unsent(key: bytes) -> Result:
    """A request of a batch that was never sent."""
    return Result(key, None, "unsent")


def refused(key: bytes, why: Failure) -> Result:
    """A request of a batch that failed its validation: not billed."""
    return Result(key, why, "refused")


def _answered(key: bytes, response: Mapping[str, Any], secret: str) -> Result:
    status, body = response.get("status_code"), response["body"]
    try:
        raw = json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can smuggle in
        raw = json.dumps(body).encode()
    if isinstance(status, int) and status >= 300:
        return Result(key, classify(refusal(status, {}, raw), secret))
    prompt_tokens, completion_tokens = usage(body if isinstance(body, Mapping) else None)
    return Result(key, raw, "", prompt_tokens, completion_tokens)
