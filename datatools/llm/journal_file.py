"""The journal's file: its tables, how it is opened, and what SQLite's errors mean to a user."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

APPLICATION = 0x64744A31  # "dtJ1" in the file's header: this is a journal of ours
VERSION = 4
BUSY_SECONDS = 30.0  # another process may be writing to the same file
TABLES = """
create table reply (id integer primary key, key blob not null, at real not null, raw blob not null);
create index reply_key on reply (key);
create table attempt (
    id integer primary key, key blob not null, at real not null, event text not null,
    prompt_tokens integer not null default 0, completion_tokens integer not null default 0
);
create table failure (key blob primary key, at real not null, kind text, message text, attempts integer);
"""
# What was asked, since version 2: a journal begun before has no row for its older replies.
# Batches and the requests that wait in them, since version 3. A request waits in one batch at most.
LATER_TABLES = """
create table if not exists request (key blob primary key, model text not null, body blob not null);
create table if not exists batch (
    name text primary key, at real not null, endpoint text not null, file text, remote text, status text
);
create table if not exists waiting (key blob primary key, batch text not null);
create index if not exists waiting_batch on waiting (batch)
"""
# Since version 4: which runner of a cluster made a call ("": the one beside the journal), and how far the journals of
# such runners have been taken in, by the name of their file.
TAKEN = "create table if not exists taken (file text primary key, attempt integer not null, reply integer not null)"
NODE = "alter table attempt add column node text not null default ''"
ERRNO = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.ENOENT,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_BUSY: errno.EBUSY,
}


def open_for_writing(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """A writer's and a reader's connection to the journal at `path`, which is made or brought up to date if need be.

    Raises ValueError for a file that is no journal, is damaged or was written by a newer version, OSError where it
    cannot be written.
    """
    connections: list[sqlite3.Connection] = []
    try:
        for _ in range(2):
            connections.append(_connect(path))
        writer, reader = connections
        _check(writer, path)
        writer.execute("pragma journal_mode = wal")
        writer.execute("pragma synchronous = full")
        writer.execute("begin immediate")  # takes the lock and proves that the file can be written
        version = writer.execute("pragma user_version").fetchone()[0]
        if _is_empty(writer):
            for statement in (*TABLES.split(";\n"), f"pragma application_id = {APPLICATION}"):
                writer.execute(statement)
        if version < VERSION:
            for statement in LATER_TABLES.split(";\n"):
                writer.execute(statement)
            writer.execute(TAKEN)
            if not has_column(writer, "attempt", "node"):
                writer.execute(NODE)
            writer.execute(f"pragma user_version = {VERSION}")
        writer.execute("commit")
    except (sqlite3.Error, ValueError) as error:
        for connection in connections:
            connection.close()
        raise (readable(error, path) if isinstance(error, sqlite3.Error) else error) from None
    return writer, reader


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that reads the journal at `path`, also while a run writes to it. Raises as `open_for_writing`."""
    try:
        # Not mode=ro: that one could not take up the log of a killed run, and would leave two files beside the journal.
        connection = _connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)
    except sqlite3.Error as error:
        raise readable(error, path) from None
    try:
        connection.execute("pragma query_only = on")
        _check(connection, path)
        if _is_empty(connection):
            raise ValueError(f"{path} is not a journal; it is an empty file")
    except (sqlite3.Error, ValueError) as error:
        connection.close()
        raise (readable(error, path) if isinstance(error, sqlite3.Error) else error) from None
    return connection


def has_table(connection: sqlite3.Connection, name: str) -> bool:
    """Whether the journal has a table: one of an older version that is opened to be read lacks the later ones."""
    return bool(connection.execute("select count(*) from sqlite_master where name = ?", (name,)).fetchone()[0])


def has_column(connection: sqlite3.Connection, table: str, name: str) -> bool:
    """The same for a column."""
    return any(row[1] == name for row in connection.execute(f"pragma table_info({table})"))


def readable(error: sqlite3.Error, path: Path) -> OSError | ValueError:
    """SQLite's error as what it means to a user: a damaged file, or a disk that does not take the row."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_NOTADB:
        return ValueError(f"{path} is not a journal; in a work folder, move it away")
    if code == sqlite3.SQLITE_CORRUPT:
        return damaged(error, path)
    return OSError(ERRNO.get(code, errno.EIO), f"journal: {error}", str(path))


def damaged(cause: object, path: Path) -> ValueError:
    """The error for a journal whose bytes are not what was written."""
    return ValueError(f"{path} is damaged ({cause}); restore it from a copy or move it away")


def _connect(path: Path | str, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=uri)


def _is_empty(connection: sqlite3.Connection) -> bool:
    return not connection.execute("select count(*) from sqlite_master").fetchone()[0]


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """ValueError where the file's header says that it is not ours, or not yet ours."""
    application, version = (
        connection.execute(f"pragma {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application != APPLICATION and not _is_empty(connection):
        raise ValueError(f"{path} is a database, but not a journal of this program; in a work folder, move it away")
    if version > VERSION:
        raise ValueError(f"{path} was written by a newer version (format {version}, this one reads {VERSION})")
