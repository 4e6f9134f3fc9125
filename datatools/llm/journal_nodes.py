"""Journals of the runners of a cluster: a file for each in `journals/` beside the job's own, taken in when it is done.

SQLite's log is shared memory, so a journal may be used by one machine at a time. While a runner works, its file is its
own, and a lock beside the file says so; the kernel gives the lock back when the runner dies. Whoever goes on with the
job takes what is there into the job's journal, so that every answer is found in one place: in one transaction with a
note of how far it came, so that a kill in between takes nothing in twice.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import secrets
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from datatools.llm.journal import Journal
from datatools.llm.journal_file import open_for_writing, readable
from datatools.llm.journal_read import Counts, JournalReader

FOLDER = "journals"
FREE_SECONDS = 120.0  # that a lock may take to come back from a machine that is gone: NFS gives it 90
LOOK_SECONDS = 0.05
COLUMNS = "key, at, event, prompt_tokens, completion_tokens"


def folder_of(journal: Path) -> Path:
    """Where the journals of a job's nodes are, beside its own."""
    return journal.parent / FOLDER


def new_file(journal: Path, node: str) -> Path:
    """A name that no journal of the job ever had."""
    return folder_of(journal) / f"{node}.{secrets.token_hex(4)}.sqlite"


def node_of(file: Path) -> str:
    """The node whose journal a file is.

    >>> node_of(Path("journals/gpu-07.1f2e3d4c.sqlite"))
    'gpu-07'
    """
    return file.name.rsplit(".", 2)[0]


def files_of(journal: Path) -> list[Path]:
    """Journals of nodes that have not been taken in."""
    return sorted(folder_of(journal).glob("*.sqlite"))


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """The journal of a job, with what runners of a cluster left of an earlier run in it. Raises as `Journal`.

    ValueError where such a runner still works.
    """
    with Journal(path) as journal:
        for file in files_of(path):
            take_in(path, file)
        yield journal


@contextmanager
def held(file: Path, seconds: float = 0.0, shared: bool = False) -> Iterator[None]:
    """Keep others from a node's journal, or writers alone. Raises BlockingIOError where it is not free in time."""
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    until = time.monotonic() + seconds
    with _lock_of(file).open("a+") as lock:
        while True:
            try:
                fcntl.flock(lock, mode | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= until:
                    raise BlockingIOError(errno.EAGAIN, "its runner is still at work", str(file)) from error
                time.sleep(LOOK_SECONDS)
        if not shared:
            lock.truncate(0)
            lock.write(socket.gethostname())
            lock.flush()
        yield


def host_of(file: Path) -> str:
    """The machine that holds a node's journal, or held it last."""
    with contextlib.suppress(FileNotFoundError):
        return _lock_of(file).read_text()
    return ""


@contextmanager
def readers_of(journal: Path) -> Iterator[tuple[list[JournalReader], set[str], list[str]]]:
    """The job's journal and those of nodes that have not been taken in, to be read while runners work.

    With them the nodes that are at work, and of these the ones whose journal cannot be read from this machine. Raises
    as JournalReader.
    """
    with ExitStack() as opened:
        readers = [opened.enter_context(JournalReader(journal))]
        at_work: set[str] = set()
        elsewhere: list[str] = []
        for file in files_of(journal):
            try:
                opened.enter_context(held(file, shared=True))
            except BlockingIOError:
                at_work.add(node_of(file))
                if host_of(file) != socket.gethostname():
                    elsewhere.append(node_of(file))
                    continue
            if file.exists() and file.stat().st_size:  # else its runner took it in, or was killed as it began
                readers.append(opened.enter_context(JournalReader(file)))
        yield readers, at_work, elsewhere


def take_in(journal: Path, file: Path, seconds: float = FREE_SECONDS) -> dict[str, Counts]:
    """Take a node's journal into the job's and remove it; returns what it held for each model.

    ValueError where its runner does not end in `seconds`.
    """
    found: dict[str, Counts] = {}
    try:
        with held(file, seconds):
            if file.exists():  # a runner that never began has none
                found = _take(journal, file)
            for path in (file, *(file.with_name(file.name + ending) for ending in ("-wal", "-shm", "-journal"))):
                path.unlink(missing_ok=True)
    except BlockingIOError as error:
        raise ValueError(
            f"{file}: its runner on {host_of(file) or 'another machine'} is still at work; end it, or wait for it"
        ) from error
    _lock_of(file).unlink(missing_ok=True)
    return found


def _take(journal: Path, file: Path) -> dict[str, Counts]:
    for connection in open_for_writing(file):  # takes up what a killed runner left in its log
        connection.close()
    with JournalReader(file) as reader:
        found = reader.counts_by_model()
    connections = open_for_writing(journal)
    with closing(connections[0]) as writer, closing(connections[1]):
        try:
            writer.execute("attach ? as node", (str(file),))
            writer.execute("begin immediate")
            attempt, reply = writer.execute(
                "select ifnull(max(attempt), 0), ifnull(max(reply), 0) from taken where file = ?", (file.name,)
            ).fetchone()
            writer.execute(
                f"insert into attempt ({COLUMNS}, node) select {COLUMNS}, ? from node.attempt where id > ? order by id",
                (node_of(file), attempt),
            )
            writer.execute(
                "insert into reply (key, at, raw) select key, at, raw from node.reply where id > ? order by id",
                (reply,),
            )
            writer.execute("insert or ignore into request select key, model, body from node.request")
            begun = "select key from node.attempt where id > ? and event in ('start', 'retry')"
            writer.execute(f"delete from failure where key in ({begun})", (attempt,))
            writer.execute("insert or replace into failure select key, at, kind, message, attempts from node.failure")
            writer.execute(
                "insert or replace into taken select ?, (select ifnull(max(id), 0) from node.attempt), "
                "(select ifnull(max(id), 0) from node.reply)",
                (file.name,),
            )
            writer.execute("commit")
        except sqlite3.Error as error:
            if writer.in_transaction:
                writer.rollback()
            raise readable(error, journal) from error
    return found


def _lock_of(file: Path) -> Path:
    return file.with_suffix(".lock")
