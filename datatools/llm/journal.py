"""Every reply that was paid for, on disk before anything is done with it.

One SQLite file in WAL mode. One writer thread commits in groups, each with an fsync, and a caller goes on only after
its row is on the disk: what was acknowledged survives `kill -9` and a power cut. Attempts are only ever added, so the
file also says what was tried, how it ended, and which calls were under way when a run was killed.

A caller waits for its own row, so no more rows are waiting than there are callers.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

import zstandard

from datatools.llm.journal_file import open_for_writing, readable
from datatools.llm.journal_read import Counts, JournalReader, StoredBatch

__all__ = ["Counts", "Journal", "StoredBatch"]

GROUP_SECONDS = 0.002  # rows that come so close together share an fsync, and so do those that come during one
GROUP_ROWS = 64  # so many do not wait for more
STATEMENTS = {
    "reopen": "delete from failure where key = ?",
    "request": "insert or ignore into request (key, model, body) values (?, ?, ?)",
    "reply": "insert into reply (key, at, raw) values (?, ?, ?)",
    "attempt": "insert into attempt (key, at, event, prompt_tokens, completion_tokens) values (?, ?, ?, ?, ?)",
    "failure": "insert or replace into failure (key, at, kind, message, attempts) values (?, ?, ?, ?, ?)",
    "batch": "insert into batch (name, at, endpoint) values (?, ?, ?)",
    "batch_file": "update batch set file = ? where name = ?",
    "batch_remote": "update batch set remote = ?, status = ? where name = ?",
    "wait": "insert into waiting (key, batch) values (?, ?)",
    "settle": "delete from waiting where key = ?",
}

Row: TypeAlias = tuple[str, tuple[object, ...]]  # kind and values


class _Group:
    """Rows that are committed together, and what became of them."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
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
        self._storing = False  # a commit is under way
        self._timer: asyncio.TimerHandle | None = None  # when the group that gathers is stored
        self._write_connection, reading = open_for_writing(path)
        self._reader = JournalReader(path, reading)
        self._packer = zstandard.ZstdCompressor(level=1)  # half of zlib's time, and prompts are longer than replies
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Commit what is queued and close the file. Closing twice is fine."""
        if self._timer is not None:  # the loop may go on for a moment
            self._timer.cancel()
            self._timer = None
        self._writer.shutdown()
        if self._gathering.rows and self._error is None:  # the event loop ended before it could
            rows, self._gathering.rows = self._gathering.rows, []
            if (error := self._insert(rows) or self._commit()) is not None:
                raise error
        self._reader.close()
        self._write_connection.close()

    # Reading

    def get(self, key: bytes) -> bytes | None:
        """The newest raw reply stored under `key`."""
        return next(self._reader.replies_to(key), None)

    def replies_to(self, key: bytes) -> Iterator[bytes]:
        """All raw replies stored under `key`, the newest first."""
        return self._reader.replies_to(key)

    def failure(self, key: bytes) -> tuple[str, str, int] | None:
        """Class, message and attempts of a request that was given up and not asked again since."""
        return self._reader.failure(key)

    def unfinished(self) -> int:
        """Calls started and never ended, over all runs: they were in flight at a kill and may have been billed."""
        return self.counts().unfinished

    def counts(self) -> Counts:
        """Totals over all runs; reads the whole list of attempts (about 0.3 s a million)."""
        return self._reader.counts()

    def batches(self) -> list[StoredBatch]:
        """Batches that requests wait in, the oldest first."""
        return self._reader.batches()

    def waiting(self, batch: str) -> list[bytes]:
        """The requests that wait in a batch, in the order of its file."""
        return self._reader.waiting(batch)

    def asked(self, key: bytes) -> bytes:
        """The canonical JSON of a request that was sent. Raises KeyError where the journal does not know it."""
        return self._reader.asked(key)

    def counts_by_model(self) -> dict[str, Counts]:
        """The same for each model."""
        return self._reader.counts_by_model()

    # Writing

    async def start(self, key: bytes, again: bool = False, model: str = "", request: bytes = b"") -> None:
        """A call is about to be sent. `again`: not the first for this request.

        `request`, the bytes that `key` is the hash of, is kept once, so that the reply can be understood later.
        """
        await self._write(*self._started(key, again, model, request))

    def _started(self, key: bytes, again: bool, model: str, request: bytes) -> list[Row]:
        rows: list[Row] = [("reopen", (key,)), ("attempt", (key, time.time(), "retry" if again else "start", 0, 0))]
        if request:
            rows.append(("request", (key, model, self._packer.compress(request))))
        return rows

    async def finish(self, key: bytes, raw: bytes, prompt_tokens: int = 0, completion_tokens: int = 0) -> None:
        """A reply came, usable or not: it is stored as it came."""
        await self._write(*_finished(key, raw, prompt_tokens, completion_tokens))

    async def end(self, key: bytes, kind: str) -> None:
        """A call ended without a reply, for a reason of class `kind`."""
        await self._write(("attempt", (key, time.time(), kind, 0, 0)))

    async def fail(self, key: bytes, kind: str, message: str, attempts: int) -> None:
        """The request is given up; the next `start` for it takes this back."""
        await self._write(("failure", (key, time.time(), kind, message, attempts)))

    async def begin_batch(
        self, name: str, endpoint: str, model: str, requests: Iterable[tuple[bytes, bytes, bool]]
    ) -> None:
        """A batch is about to be sent, with all its requests (key, canonical JSON, whether sent before), or none."""
        rows: list[Row] = [("batch", (name, time.time(), endpoint))]
        for key, request, again in requests:
            rows += [*self._started(key, again, model, request), ("wait", (key, name))]
        await self._write(*rows)

    async def batch_uploaded(self, name: str, file: str) -> None:
        """The endpoint has the batch's file under the id `file`: from now on it may have the batch."""
        await self._write(("batch_file", (file, name)))

    async def batch_seen(self, name: str, remote: str, status: str) -> None:
        """The endpoint has the batch under the id `remote`, in this state."""
        await self._write(("batch_remote", (remote, status, name)))

    async def settle(self, results: Iterable[tuple[bytes, bytes | str, int, int]]) -> None:
        """Requests of a batch have come back: key, raw reply or why there is none, prompt and completion tokens."""
        rows: list[Row] = []
        for key, found, prompt_tokens, completion_tokens in results:
            if isinstance(found, bytes):
                rows += _finished(key, found, prompt_tokens, completion_tokens)
            else:
                rows.append(("attempt", (key, time.time(), found, 0, 0)))
            rows.append(("settle", (key,)))
        await self._write(*rows)

    async def _write(self, *rows: Row) -> None:
        """Return when the rows are on the disk."""
        if self._error is not None:
            raise self._error
        group = self._gathering
        group.rows += rows
        if not self._storing:
            if len(group.rows) >= GROUP_ROWS:
                self._store()
            elif self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(GROUP_SECONDS, self._store)
        await group.done.wait()
        if group.error is not None:
            raise group.error

    def _store(self) -> None:
        """Insert what has gathered and have it committed; meanwhile the next group gathers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        group, self._gathering = self._gathering, _Group()
        error = self._insert(group.rows)
        if error is not None:
            self._stored(group, error)
            return
        self._storing = True
        loop = asyncio.get_running_loop()

        def tell(done: Future[OSError | None]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: whoever waited has been cancelled
                loop.call_soon_threadsafe(self._stored, group, done.result())

        # A callback, not a task that waits: in a burst of replies a turn of the event loop takes tens of milliseconds.
        self._writer.submit(self._commit).add_done_callback(tell)

    def _stored(self, group: _Group, error: OSError | None) -> None:
        """Let those go on who waited for a group, and take the next one."""
        self._storing = False
        self._error = group.error = error  # a journal that failed once is not trusted again in this run
        group.done.set()
        if not self._gathering.rows:
            return
        if error is None:
            self._store()
        else:
            left, self._gathering = self._gathering, _Group()
            self._stored(left, error)

    def _insert(self, rows: list[Row]) -> OSError | None:
        """Rows into an open transaction, which is work in memory: the disk is for the writer thread.

        A thread that did this too would fight for the interpreter's lock at each row, beside a busy event loop. Rows of
        a kind go in together: no two writes under way are about the same request, so only their order matters.
        """
        kinds: dict[str, list[tuple[object, ...]]] = {}
        for kind, values in rows:
            kinds.setdefault(kind, []).append(values)
        try:
            self._write_connection.execute("begin immediate")
            for kind, together in kinds.items():
                self._write_connection.executemany(STATEMENTS[kind], together)
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
        found = readable(error, self.path)
        return found if isinstance(found, OSError) else OSError(errno.EIO, str(found))


def _finished(key: bytes, raw: bytes, prompt_tokens: int, completion_tokens: int) -> list[Row]:
    now = time.time()
    attempt = (key, now, "reply", prompt_tokens, completion_tokens)
    return [("reply", (key, now, zlib.compress(raw, 1))), ("attempt", attempt)]
