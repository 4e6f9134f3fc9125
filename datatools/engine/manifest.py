"""The manifest of a work folder: lines that are only ever added, in a file, or in objects, which take no more."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from datatools.io import storage
from datatools.io.atomic import atomic_path

# Errors of a file system that the next try may not meet; a full disk and a missing right stay what they are.
PASSING = frozenset(
    {errno.EIO, errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET}
)
STORAGE_TRIES = 20  # of what met one of them: a unit writes some ten files
SEGMENT_LINES, SEGMENT_SECONDS = 256, 5.0  # a killed run repeats at most the units of one segment
SEGMENTS = 200  # more are made one when the manifest is opened


class Manifest(Protocol):
    """Lines, each with its newline."""

    def read(self) -> bytes:
        """All whole lines."""

    def append(self, line: bytes) -> None:
        """Add a line."""

    def flush(self) -> None:
        """Have every line where the next run finds it."""

    def clear(self) -> None:
        """Take back everything."""


class ManifestFile:
    """One file; every line is synced as it is added."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> ManifestFile:
        self._file: IO[bytes] = self._path.open("ab", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self) -> bytes:
        """All whole lines; a last line cut short by a kill is cut off."""
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            self._file.truncate(len(whole))
        return whole

    def append(self, line: bytes) -> None:
        """Add a line, durably."""
        before = self._file.tell()
        for tries in range(STORAGE_TRIES):
            try:
                self._file.write(line)
                os.fsync(self._file.fileno())
                return
            except OSError as error:
                self._file.truncate(before)  # written anew, so that the next sync has it to write
                if error.errno not in PASSING or tries + 1 == STORAGE_TRIES:
                    raise

    def flush(self) -> None:
        """Nothing is held back."""

    def clear(self) -> None:
        """Take back everything."""
        self._file.truncate(0)


class ManifestObjects:
    """Objects `00000001.jsonl`, …, written by one process alone; a kill loses the lines that are in none yet.

    `check` raises when this process no longer holds the work folder.
    """

    def __init__(self, folder: Path, check: Callable[[], None]) -> None:
        self._folder, self._check = folder, check
        self._lines: list[bytes] = []
        self._number = 0
        self._written = time.monotonic()

    def __enter__(self) -> ManifestObjects:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self.flush()
        except (OSError, storage.Unreachable):
            if kind is None:  # else the first error is the one to tell
                raise

    def read(self) -> bytes:
        """All lines, in the order in which they were written."""
        address = storage.address_of(self._folder)
        names = [entry.name for entry in storage.listed(address)]
        paths = [self._folder / name for name in names]
        lines = b"".join(path.read_bytes() for path in storage.all_here(paths))
        self._number = int(Path(names[-1]).stem) if names else 0
        if len(names) > SEGMENTS:
            self._write(lines)
            for path in paths:
                storage.remove(path)
        return lines

    def append(self, line: bytes) -> None:
        """Add a line; it is written with the next ones."""
        self._lines.append(line)
        if len(self._lines) >= SEGMENT_LINES or time.monotonic() - self._written >= SEGMENT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the lines that are in no object yet."""
        if self._lines:
            self._check()
            self._write(b"".join(self._lines))
            self._lines = []
        self._written = time.monotonic()

    def clear(self) -> None:
        """Take back everything."""
        self._lines = []
        storage.delete(storage.address_of(self._folder))

    def _write(self, lines: bytes) -> None:
        with atomic_path(self._folder / f"{self._number + 1:08d}.jsonl") as temporary:
            temporary.write_bytes(lines)
        self._number += 1
