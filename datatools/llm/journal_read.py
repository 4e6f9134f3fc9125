"""What a journal says: by key for a run, in totals and reply by reply for a person."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import zstandard

from datatools.llm.journal_file import damaged, has_column, has_table, open_for_reading, readable

BEGUN = ("start", "retry")  # events of a call that is sent; "reply" or the class of an error ends it
# No reply came, but the endpoint may have made one: a connection that broke, and not one that never stood.
# Or a batch whose files lack the reply.
MAYBE_BILLED = ("timeout", "connection", "missing")


@dataclass(frozen=True, slots=True)
class Counts:
    """What a journal holds, over all runs."""

    sent: int = 0  # calls that were started
    retried: int = 0  # of these, the second and later ones for the same request
    replies: int = 0  # replies stored
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unfinished: int = 0  # calls that were under way when a run was killed: they may have been billed
    errors: dict[str, int] = field(default_factory=dict)  # calls that ended without a reply, by event
    failures: dict[str, int] = field(default_factory=dict)  # requests given up, by class
    in_batches: int = 0  # calls that wait in a batch: no kill loses them

    def __add__(self, other: Counts) -> Counts:
        """Of two journals together."""
        numbers = ("sent", "retried", "replies", "prompt_tokens", "completion_tokens", "unfinished", "in_batches")
        more: dict[str, Any] = {name: getattr(self, name) + getattr(other, name) for name in numbers}
        for name in ("errors", "failures"):
            together = Counter(getattr(self, name)) + Counter(getattr(other, name))
            more[name] = dict(sorted(together.items()))
        return Counts(**more)

    @property
    def may_have_been_billed(self) -> int:
        """Calls whose reply never came although the endpoint may have written it."""
        return self.unfinished + sum(self.errors.get(event, 0) for event in MAYBE_BILLED)


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch some of whose requests have not come back."""

    name: str  # ours, known to the endpoint as metadata and name of the file
    at: float  # Unix time when it was begun
    endpoint: str  # identity
    file: str | None  # the endpoint's id of the uploaded file; None where that is not known to have succeeded
    remote: str | None  # the endpoint's id of the batch, likewise
    status: str | None  # as the endpoint said last
    requests: int  # that have not come back


@dataclass(frozen=True, slots=True)
class StoredReply:
    """One reply as it came, and what it answers."""

    key: bytes
    at: float  # Unix time
    raw: bytes
    model: str  # as it was asked for; "" where the journal does not know
    request: dict[str, Any] | None  # what the key covers: endpoint, model, sample, messages, parameters


class JournalReader:
    """Reads the journal at `path`, also while a run writes to it; a context manager.

    Raises ValueError for a file that is no journal or is damaged, OSError where there is none.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection | None = None) -> None:
        self.path = path
        self._connection = connection or open_for_reading(path)

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Closing twice is fine."""
        self._connection.close()

    def replies_to(self, key: bytes) -> Iterator[bytes]:
        """The raw replies stored under `key`, the newest first."""
        for (raw,) in self._rows("select raw from reply where key = ? order by id desc", (key,)):
            yield self._unpacked(raw)

    def failure(self, key: bytes) -> tuple[str, str, int] | None:
        """Class, message and attempts of a request that was given up and not asked again since."""
        found = next(self._rows("select kind, message, attempts from failure where key = ?", (key,)), None)
        return (found[0], found[1], found[2]) if found else None

    def counts(self) -> Counts:
        """Totals over all runs; reads the whole list of attempts (about 0.3 s a million)."""
        statement = "select event, count(*), sum(prompt_tokens), sum(completion_tokens) from attempt group by event"
        rows = list(self._rows(statement))
        failures = dict(self._rows("select kind, count(*) from failure group by kind order by kind"))
        return self._counts(rows, failures, sum(batch.requests for batch in self.batches()))

    def counts_by_model(self) -> dict[str, Counts]:
        """The same for each model; "" holds what was asked before journals kept the model."""
        model, join = "''", ""
        if has_table(self._connection, "request"):
            model, join = "ifnull(model, '')", "left join request using (key)"
        sums = "count(*), sum(prompt_tokens), sum(completion_tokens)"
        attempts: dict[str, list[tuple[Any, ...]]] = {}
        for name, *row in self._rows(f"select {model}, event, {sums} from attempt {join} group by 1, 2 order by 1, 2"):
            attempts.setdefault(name, []).append(tuple(row))
        failures: dict[str, dict[str, int]] = {}
        for name, kind, number in self._rows(f"select {model}, kind, count(*) from failure {join} group by 1, 2"):
            failures.setdefault(name, {})[kind] = number
        return {name: self._counts(rows, failures.get(name, {})) for name, rows in attempts.items()}

    def counts_by_node(self) -> dict[str, Counts]:
        """The same for each runner of a cluster, without failures; "" holds what the runner beside the journal did."""
        node = "node" if has_column(self._connection, "attempt", "node") else "''"
        sums = "count(*), sum(prompt_tokens), sum(completion_tokens)"
        attempts: dict[str, list[tuple[Any, ...]]] = {}
        for name, *row in self._rows(f"select {node}, event, {sums} from attempt group by 1, 2 order by 1, 2"):
            attempts.setdefault(name, []).append(tuple(row))
        return {name: self._counts(rows, {}) for name, rows in attempts.items()}

    def endpoint_of(self, model: str) -> str:
        """The endpoint that the model was last asked at; "" where the journal does not know."""
        if not has_table(self._connection, "request"):
            return ""
        statement = "select body from request where model = ? order by rowid desc limit 1"
        body = next(self._rows(statement, (model,)), None)
        return "" if body is None else str(json.loads(self._unpacked(body[0])).get("endpoint", ""))

    def batches(self) -> list[StoredBatch]:
        """Batches that requests wait in, the oldest first."""
        if not has_table(self._connection, "batch"):
            return []
        columns = "name, at, endpoint, file, remote, status, count(*)"
        joined = f"select {columns} from batch join waiting on batch = name group by name order by at, name"
        return [StoredBatch(*row) for row in self._rows(joined)]

    def waiting(self, batch: str) -> list[bytes]:
        """The requests that wait in a batch, in the order of its file."""
        return [key for (key,) in self._rows("select key from waiting where batch = ? order by rowid", (batch,))]

    def asked(self, key: bytes) -> bytes:
        """The canonical JSON of a request that was sent. Raises KeyError where the journal does not know it."""
        for (body,) in self._rows("select body from request where key = ?", (key,)):
            return self._unpacked(body)
        raise KeyError(key.hex())

    def requests(self) -> int:
        """Different requests that were sent."""
        return int(next(self._rows("select count(distinct key) from attempt"))[0])

    def keys(self) -> set[bytes]:
        """The same by name."""
        return {key for (key,) in self._rows("select distinct key from attempt")}

    def given_up(self) -> dict[bytes, str]:
        """Requests that were given up and not asked again since, and the class of their failure."""
        return dict(self._rows("select key, kind from failure"))

    def span(self) -> tuple[float, float] | None:
        """Unix time of the first and the last thing written; None in an empty journal."""
        first, last = next(self._rows("select min(at), max(at) from attempt"))
        return None if first is None else (first, last)

    def replies(self) -> Iterator[StoredReply]:
        """Every reply in the order they came, unusable ones and repeated ones too."""
        columns, join = "null, null", ""
        if has_table(self._connection, "request"):
            columns, join = "model, body", "left join request using (key)"
        for key, at, raw, model, body in self._rows(
            f"select key, at, raw, {columns} from reply {join} order by reply.id"
        ):
            request = None if body is None else json.loads(self._unpacked(body))
            yield StoredReply(key, at, self._unpacked(raw), model or "", request)

    def _counts(self, rows: list[tuple[Any, ...]], failures: dict[str, int], in_batches: int = 0) -> Counts:
        number = {event: count for event, count, _, _ in rows}
        sent = sum(number.get(event, 0) for event in BEGUN)
        return Counts(
            sent=sent,
            retried=number.get("retry", 0),
            replies=number.get("reply", 0),
            prompt_tokens=sum(prompt for _, _, prompt, _ in rows),
            completion_tokens=sum(completion for _, _, _, completion in rows),
            unfinished=2 * sent - sum(number.values()) - in_batches,
            in_batches=in_batches,
            errors={event: count for event, count in sorted(number.items()) if event not in (*BEGUN, "reply")},
            failures=failures,
        )

    def _rows(self, statement: str, values: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise readable(error, self.path) from error

    def _unpacked(self, packed: bytes) -> bytes:
        """Bytes that were compressed with zlib (replies) or zstandard (requests)."""
        try:
            if packed.startswith(zstandard.FRAME_HEADER):
                return zstandard.decompress(packed)
            return zlib.decompress(packed)
        except (zlib.error, zstandard.ZstdError, TypeError) as error:
            raise damaged(error, self.path) from error
