"""Every reply that was paid for, on disk before anything is done with it.

One SQLite file in WAL mode. One writer thread commits in groups, each with an fsync, and a caller goes on only after
its row is on the disk: what was acknowledged survives `kill -9` and a power cut. Attempts are only ever added, so the
file also says what was tried, how it ended, and which calls were under way when a run was killed.

A caller waits for its own row, so no more rows are waiting than there are callers.
"""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

APPLICATION = 0x64744A31  # "dtJ1" in the file's header: this is a journal of ours
VERSION = 1
GROUP_SECONDS = 0.002  # rows that come so close together share an fsync, and so do those that come during one
GROUP_ROWS = 64  # so many do not wait for more
BUSY_SECONDS = 30.0  # another process may be writing to the same file
SCHEMA = """
create table reply (id integer primary key, key blob not null, at real not null, raw blob not null);
create index reply_key on reply (key);
create table attempt (
    id integer primary key, key blob not null, at real not null, event text not null,
    prompt_tokens integer not null default 0, completion_tokens integer not null default 0
);
create table failure (key blob primary key, at real not null, kind text, message text, attempts integer);
"""
STATEMENTS = {
    "reopen": "delete from failure where key = ?",
    "reply": "insert into reply (key, at, raw) values (?, ?, ?)",
    "attempt": "insert into attempt (key, at, event, prompt_tokens, completion_tokens) values (?, ?, ?, ?, ?)",
    "failure": "insert or replace into failure (key, at, kind, message, attempts) values (?, ?, ?, ?, ?)",
}

Row: TypeAlias = tuple[str, tuple[object, ...]]  # kind and values
ERRNO = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.ENOENT,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_BUSY: errno.EBUSY,
}


@dataclass(frozen=True, slots=True)
class Counts:
    """What a journal holds, over all runs."""

    sent: int = 0  # calls that were started
    retried: int = 0  # of these, the second and later ones for the same request
    replies: int = 0  # replies stored
    prompt_tokens: int = 0
    completion_tokens: int = 0
    unfinished: int = 0  # calls that were under way when a run was killed: they may have been billed
    failures: dict[str, int] = field(default_factory=dict)  # requests given up, by class


class _Group:
    """Rows that are committed together, and what became of them."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.full = asyncio.Event()
        self.done = asyncio.Event()
        self.error: OSError | None = None


class Journal:
    """The journal in file `path`, made if absent; a context manager.

    Reads may be called from any code of the thread that opened it; writes are coroutines that return after the commit
    and raise OSError when the disk is full or the file cannot be written. Opening raises ValueError for a file that is
    not a journal, is damaged, or was written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._error: OSError | None = None
        self._gathering = _Group()
        self._flusher: asyncio.Task[None] | None = None
        self._write_connection, self._read_connection = _open(path)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Commit what is queued and close the file. Closing twice is fine."""
        self._writer.shutdown()
        if self._gathering.rows and self._error is None:  # the event loop ended before it could
            rows, self._gathering.rows = self._gathering.rows, []
            if (error := self._insert(rows) or self._commit()) is not None:
                raise error
        self._read_connection.close()
        self._write_connection.close()

    # Reading

    def get(self, key: bytes) -> bytes | None:
        """The newest raw reply stored under `key`."""
        row = self._select("select raw from reply where key = ? order by id desc limit 1", (key,))
        return zlib.decompress(row[0][0]) if row else None

    def failure(self, key: bytes) -> tuple[str, str, int] | None:
        """Class, message and attempts of a request that was given up and not asked again since."""
        rows = self._select("select kind, message, attempts from failure where key = ?", (key,))
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    def unfinished(self) -> int:
        """Calls started and never ended, over all runs: they were in flight at a kill and may have been billed."""
        return self.counts().unfinished

    def counts(self) -> Counts:
        """Totals over all runs; reads the whole list of attempts (about 0.3 s a million)."""
        rows = self._select(
            "select event, count(*), sum(prompt_tokens), sum(completion_tokens) from attempt group by event"
        )
        number = {event: count for event, count, _, _ in rows}
        retried = number.get("retry", 0)
        sent = number.get("start", 0) + retried
        return Counts(
            sent=sent,
            retried=retried,
            replies=number.get("reply", 0),
            prompt_tokens=sum(prompt for _, _, prompt, _ in rows),
            completion_tokens=sum(completion for _, _, _, completion in rows),
            unfinished=2 * sent - sum(number.values()),
            failures=dict(self._select("select kind, count(*) from failure group by kind order by kind")),
        )

    def _select(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return list(self._read_connection.execute(statement, values))
        except sqlite3.Error as error:
            raise _readable(error, self.path) from error

    # Writing

    async def start(self, key: bytes, again: bool = False) -> None:
        """A call is about to be sent. `again`: not the first for this request."""
        event = "retry" if again else "start"
        await self._write(("reopen", (key,)), ("attempt", (key, time.time(), event, 0, 0)))

    async def finish(self, key: bytes, raw: bytes, prompt_tokens: int = 0, completion_tokens: int = 0) -> None:
        """A reply came, usable or not: it is stored as it came."""
        now = time.time()
        attempt = (key, now, "reply", prompt_tokens, completion_tokens)
        await self._write(("reply", (key, now, zlib.compress(raw, 1))), ("attempt", attempt))

    async def end(self, key: bytes, kind: str) -> None:
        """A call ended without a reply, for a reason of class `kind`."""
        await self._write(("attempt", (key, time.time(), kind, 0, 0)))

    async def fail(self, key: bytes, kind: str, message: str, attempts: int) -> None:
        """The request is given up; the next `start` for it takes this back."""
        await self._write(("failure", (key, time.time(), kind, message, attempts)))

    async def _write(self, *rows: Row) -> None:
        """Return when the rows are on the disk."""
        if self._error is not None:
            raise self._error
        group = self._gathering
        group.rows += rows
        if len(group.rows) >= GROUP_ROWS:
            group.full.set()
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await group.done.wait()
        if group.error is not None:
            raise group.error

    async def _flush(self) -> None:
        """Store groups, one at a time, until no rows are left. While one is stored the next gathers."""
        loop = asyncio.get_running_loop()
        while self._gathering.rows:
            try:
                async with asyncio.timeout(GROUP_SECONDS):
                    await self._gathering.full.wait()
            except TimeoutError:
                pass
            group, self._gathering = self._gathering, _Group()
            group.error = self._error or self._insert(group.rows)
            if group.error is None:
                group.error = await loop.run_in_executor(self._writer, self._commit)
            self._error = group.error  # a journal that failed once is not trusted again in this run
            group.done.set()

    def _insert(self, rows: list[Row]) -> OSError | None:
        """Rows into an open transaction, which is work in memory: the disk is for the writer thread.

        A thread that did this too would fight for the interpreter's lock at each row, beside a busy event loop.
        """
        try:
            self._write_connection.execute("begin immediate")
            for kind, values in rows:
                self._write_connection.execute(STATEMENTS[kind], values)
        except sqlite3.Error as error:
            return self._undo(error)
        return None

    def _commit(self) -> OSError | None:
        try:
            self._write_connection.execute("commit")
        except sqlite3.Error as error:
            return self._undo(error)
        return None

    def _undo(self, error: sqlite3.Error) -> OSError:
        if self._write_connection.in_transaction:
            self._write_connection.rollback()
        found = _readable(error, self.path)
        return found if isinstance(found, OSError) else OSError(errno.EIO, str(found))


def _open(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """The writer's and the readers' connection to a journal whose header and version are right."""
    connections: list[sqlite3.Connection] = []
    try:
        for _ in range(2):
            connections.append(
                sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            )
        writer, reader = connections
        application, version = (
            writer.execute(f"pragma {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        empty = not writer.execute("select count(*) from sqlite_master").fetchone()[0]
        if not empty and application != APPLICATION:
            raise ValueError(f"{path} is a database, but not a journal of this program; move it away")
        if version > VERSION:
            raise ValueError(f"{path} was written by a newer version (format {version}, this one reads {VERSION})")
        writer.execute("pragma journal_mode = wal")
        writer.execute("pragma synchronous = full")
        writer.execute("begin immediate")  # takes the lock and proves that the file can be written
        if not writer.execute("select count(*) from sqlite_master").fetchone()[0]:
            for statement in (
                *SCHEMA.split(";\n"),
                f"pragma application_id = {APPLICATION}",
                f"pragma user_version = {VERSION}",
            ):
                writer.execute(statement)
        writer.execute("commit")
    except (sqlite3.Error, ValueError) as error:
        for connection in connections:
            connection.close()
        raise (_readable(error, path) if isinstance(error, sqlite3.Error) else error) from None
    return writer, reader


def _readable(error: sqlite3.Error, path: Path) -> OSError | ValueError:
    """SQLite's error as what it means to a user: a damaged file, or a disk that does not take the row."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return ValueError(f"{path} is not a journal; move it away")
    if code == sqlite3.SQLITE_CORRUPT:
        return ValueError(f"{path} is damaged ({error}); restore it from a copy or move it away")
    return OSError(ERRNO.get(code, errno.EIO), f"journal: {error}", str(path))
