"""How long to leave a server alone that says it is not ready."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

BACKOFF = 10  # delays: the first wait where the server names none; doubled each time


def put_off(retry_after: bytes | None, delay: float, tries: int) -> float:
    """Seconds to wait after the `tries`th answer: what Retry-After says (seconds or a date), else a growing backoff.

    >>> put_off(b"120", 1.0, 1), put_off(None, 1.0, 1), put_off(None, 1.0, 3)
    (120.0, 10.0, 40.0)
    """
    said = (retry_after or b"").decode("latin-1").strip()
    if said.isdigit():
        return float(said)
    try:
        until = parsedate_to_datetime(said)
    except ValueError:
        return delay * BACKOFF * 2.0 ** (tries - 1)
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
