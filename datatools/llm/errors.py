"""What can go wrong with a call, as data: the class of a failure decides what happens next.

    rate            429: too many requests or too many at once       waits, costs no attempt
    quota           no credit left (429 insufficient_quota, 402)     stops the run
    auth            401, 403, or an unknown model or URL (404)       stops the run
    content_filter  the provider refuses the text                    the row fails
    context_length  the prompt is longer than the model reads        the row fails
    connection      refused, reset, cut short, no such host          tried again
    server          5xx, 408, 409; other 4xx fail the row            tried again
    timeout         no whole reply within the deadline, maybe billed tried again
    malformed       a reply that is not a chat completion            tried again
    truncated       finish_reason "length"                           once more with twice the room
    empty           nothing but white space or thinking              tried again
    schema          the text is not the JSON that was asked for      decided by the job

529, and 503 with Retry-After, are `server` that wait like `rate`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

KINDS = (
    *("rate", "quota", "auth", "content_filter", "context_length", "connection"),
    *("server", "timeout", "malformed", "truncated", "empty", "schema"),
)
RETRIED = frozenset({"rate", "connection", "server", "timeout", "malformed", "empty"})
FATAL = frozenset({"quota", "auth"})
LONGEST_MESSAGE = 300  # characters

# Codes and phrases of OpenAI, Azure, Aliyun, DeepSeek, Volcengine Ark, Zhipu, Moonshot and vLLM, in the order they are
# tried: a filter or an empty account may come with any status.
SIGNS = (
    (
        "content_filter",
        r"content_filter|content_policy|content management policy|data_?inspection_?failed|inappropriate content"
        r"|content exists risk|sensitive_?content|new_sensitive|moderation|敏感|不安全",
    ),
    (
        "context_length",
        r"context_length_exceeded|context length|context window|string_above_max_length|prompt is too long"
        r"|input is too long|range of input length|too many (input )?tokens|maximum input length|超长"
        r"|request too large",
    ),
    (
        "quota",
        r"insufficient_?quota|insufficient[ _]?balance|exceeded_current_quota|exceeded your current quota|billing"
        r"|credit balance|arrearage|account_?overdue|setlimitexceeded|allocationquota|余额不足|欠费",
    ),
    ("auth", r"model_not_found|invalid_api_key|incorrect api key|model `?[^ ]*`? does not exist"),
)
# Too fast, not too poor. Aliyun and Gemini answer a full minute with OpenAI's words for an empty account, and Groq and
# OpenAI name their billing pages when only the rate is exceeded; what tells the two apart is a rate or a time to wait.
PUSHBACK = re.compile(
    r"rate.?limit|too many requests|throttl|concurren|\b[tr]p[ms]\b|per.?(?:min|sec|day)|token-limit|频率|并发|限流"
    r"|(?:retry|try again) (?:in|after)",
    re.IGNORECASE,
)
WAIT = re.compile(r"(?:retry|try again) (?:in|after) ([\d.]+) ?s", re.IGNORECASE)
STATUSES = {401: "auth", 402: "quota", 403: "auth", 404: "auth", 413: "context_length"}
SECRETS = re.compile(r"(?i)\b(sk|ak|key)-[\w*.-]{6,}|\bbearer\s+\S+|(?<=://)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no usable reply, and what is to be done about it."""

    kind: str  # one of KINDS
    message: str  # one line, without any key
    retry: bool = False  # asking again may help
    fatal: bool = False  # every other request would fail in the same way: the run stops
    retry_after: float | None = None  # seconds the endpoint asked us to wait
    slow_down: bool = False  # the endpoint asks everyone to wait: costs no attempt
    unreachable: bool = False  # no connection was made
    attempts: int = 0  # requests sent for this row's call; set by the runner


class Stopped(Exception):
    """The run must end: what failed would fail for every row. What was in flight has been journalled."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure

    def __reduce__(self) -> tuple[type[Stopped], tuple[Failure]]:
        """From a node to the driver whole."""
        return Stopped, (self.failure,)


def failure(kind: str, message: str, **details: Any) -> Failure:
    """A Failure whose `retry` and `fatal` follow from its class unless given."""
    line = " ".join(message.split())[:LONGEST_MESSAGE]
    return Failure(kind, line, **{"retry": kind in RETRIED, "fatal": kind in FATAL, **details})


def classify(cause: BaseException | Mapping[str, Any], secret: str = "") -> Failure:
    """The failure behind an exception of the transport, or behind a 200 reply with an `error` in it.

    `secret` (the API key) is blotted out of the message, and so is whatever looks like a key. An exception that no
    transport raises is a bug and is raised again.
    """
    if isinstance(cause, Mapping):
        return _from_error(cause.get("error"), _status(cause.get("error")), {}, secret)
    status = getattr(cause, "status_code", None)
    if isinstance(status, int):
        response = getattr(cause, "response", None)
        body = getattr(cause, "body", None) or str(cause)
        return _from_error(body, status, getattr(response, "headers", {}), secret)
    return _from_transport(cause, secret)


def _from_error(error: object, status: int, headers: Mapping[str, str], secret: str) -> Failure:
    if isinstance(error, Mapping):
        text = str(error.get("message") or json.dumps(error, ensure_ascii=False))
        signs = f"{error.get('code')} {error.get('type')} {text}"
    else:
        text = signs = str(error)
    message = redact(f"{status} {text}" if status else text, secret)
    wait = retry_after(headers)
    kind = _kind(status, signs, wait)
    if kind == "rate":
        return failure(kind, message, retry_after=_told(text) if wait is None else wait, slow_down=True)
    if kind != "server":
        lost = status == 404 and "model" not in message.lower()
        return failure(kind, message + ("; is the base URL right? most end in /v1" if lost else ""))
    refused = 400 <= status < 500 and status not in (408, 409, 425)
    busy = status == 529 or (status == 503 and wait is not None)
    return failure("server", message, retry=not refused, retry_after=wait, slow_down=busy)


def _kind(status: int, words: str, wait: float | None) -> str:
    """The class behind a status (0: an error sent with 200) and the words that came with it."""
    found = (kind for kind, pattern in SIGNS if re.search(pattern, words, re.IGNORECASE))
    sign = next(found, "") if status < 500 or status == 529 else ""
    pushback = wait is not None or PUSHBACK.search(words) is not None
    if status == 429:
        if "request too large" in words.lower():  # for any minute's allowance: waiting does not help
            return "context_length"
        return "quota" if sign == "quota" and not pushback else "rate"
    if status < 400 and pushback and sign in ("", "quota"):
        return "rate"
    return sign or STATUSES.get(status, "server")


def _told(text: str) -> float | None:
    """Seconds to wait as the message says, for the endpoints that send no header."""
    found = WAIT.search(text)
    return float(found[1]) if found and re.fullmatch(r"\d+(\.\d+)?", found[1]) else None


def _from_transport(error: BaseException, secret: str) -> Failure:
    import aiohttp
    import httpx2
    import openai

    if not isinstance(error, openai.APIError | aiohttp.ClientError | httpx2.HTTPError | OSError):
        raise error
    root: BaseException = error
    while root.__cause__ is not None:  # openai wraps httpx2, which wraps aiohttp, which wraps the socket's error
        if isinstance(root, aiohttp.ClientConnectorError | TimeoutError):
            break
        root = root.__cause__
    message = redact(str(root) or type(root).__name__, secret).replace(" ssl:default", "")
    if isinstance(root, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return failure("connection", f"no connection: {message}", unreachable=True)
    if isinstance(root, TimeoutError):
        return failure("timeout", "no whole reply within the deadline")
    # The aiohttp transport reports a reset before the reply as a connect timeout, so the class comes from the root.
    return failure("connection", f"connection broken: {message}")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the headers say: `retry-after-ms`, or `Retry-After` as a number or an HTTP date."""
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        else:
            value = headers.get("retry-after", "")
            seconds = float(value) if re.fullmatch(r"[\d.]+", value.strip()) else _seconds_until(value)
    except (ValueError, TypeError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def redact(text: str, secret: str = "") -> str:
    """The text without `secret` and without what looks like a key or a password in a URL."""
    return SECRETS.sub("…", text.replace(secret, "…") if len(secret) > 3 else text)


def _seconds_until(date: str) -> float:
    moment = parsedate_to_datetime(date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()


def _status(error: object) -> int:
    """The HTTP status inside an error object sent with 200, or 0."""
    code = error.get("code") if isinstance(error, Mapping) else None
    return code if isinstance(code, int) and 400 <= code < 600 else 0
