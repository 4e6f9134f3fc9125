"""What a crawl has: WARC files, and a journal with one line a URL that was dealt with.

The journal (`pages.jsonl` in the work folder) is written first, with the place its records will have in the WARC file;
then the records, in one write. Both are synced. Whenever the process dies, at most the last line has no whole record:
it is taken back, what stands of the record is cut off, and the page is asked for again. Everything before is final.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from datatools.crawl.scope import host_of, key
from datatools.crawl.warc import Twin
from datatools.io.atomic import sync_folder

JOURNAL = "pages.jsonl"
FILE_BYTES = 1 << 30  # after which the next WARC file is begun
FETCHED = ("stored", "duplicate", "unchanged", "noindex")  # outcomes that count as a page


@dataclass(slots=True)
class Known:
    """What is known of a URL whose content is stored."""

    twin: Twin
    etag: str
    modified: str
    content: str  # hash of the unpacked body


@dataclass
class Store:
    """An open store. `done` are the keys of this pass, `lines` what the journal says of them, in order."""

    folder: Path
    journal: Path
    passes: int = 0
    finished: bool = False
    done: dict[str, str] = field(default_factory=dict)  # key → outcome
    earlier: dict[str, tuple[str, int, str]] = field(default_factory=dict)  # key → url, depth, kind, of all passes
    known: dict[str, Known] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)  # hash → key of the first page that has it
    met: set[tuple[str, str]] = field(default_factory=set)  # host and hash of every page that was kept
    pages: int = 0  # of this pass
    size: int = 0  # bytes of bodies, of this pass
    files: dict[str, int] = field(default_factory=dict)  # name → length
    sitemaps: list[list[str]] = field(default_factory=list)  # that robots.txt named, of this pass
    _out: IO[bytes] | None = None
    _log: IO[bytes] | None = None

    @classmethod
    def open(cls, folder: Path, work: Path) -> tuple[Store, list[dict[str, Any]]]:
        """The store as the last run left it, whole; with the journal's lines of this pass."""
        store = cls(folder, work / JOURNAL)
        store._log = store.journal.open("a+b")
        fcntl.flock(store._log, fcntl.LOCK_EX)  # a killed run may still be ending
        lines = store._repaired(_lines(store._log))
        replayed: list[dict[str, Any]] = []
        for line in lines:
            if line["record"] == "pass":
                replayed = []
            elif line["record"] == "page":
                replayed.append(line)
            store._take(line)
        for name, length in store.files.items():
            with (folder / name).open("r+b") as file:
                file.truncate(length)
        return store, replayed

    def _repaired(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The lines, less a last one whose records are not whole."""
        last = next((number for number in range(len(lines) - 1, -1, -1) if "warc" in lines[number]), None)
        if last is None or _is_whole(self.folder / lines[last]["warc"], lines[last]["start"], lines[last]["end"]):
            return lines
        assert self._log is not None
        if lines[last]["record"] == "file":
            (self.folder / lines[last]["warc"]).unlink(missing_ok=True)
        self._log.truncate(lines[last]["at"])
        return self._repaired(lines[:last])

    def _take(self, line: Mapping[str, Any]) -> None:
        """One line of the journal, read or just written."""
        if "warc" in line:
            self.files[line["warc"]] = line["end"]
        kind = line["record"]
        self.finished = kind == "end"
        if kind == "pass":
            self.passes, self.done, self.pages, self.size, self.sitemaps = line["number"], {}, 0, 0, []
        if kind == "sitemaps":
            self.sitemaps.append(line["urls"])
        if kind != "page":
            return
        name = key(line["url"])
        self.done[name] = line["outcome"]
        self.earlier[name] = (line["url"], line["depth"], line["kind"])
        self.pages += line["kind"] == "page" and line["outcome"] in FETCHED
        self.size += line.get("bytes", 0)
        if "content" in line:
            self.met.add((host_of(line["url"]), line["content"]))
        if line["outcome"] == "stored" and "digest" in line:
            before = self.known.get(name)
            if before is not None and self.contents.get(before.content) == name:
                del self.contents[before.content]
            twin = Twin(line["url"], line["time"], line["id"], line["digest"])
            self.known[name] = Known(twin, line.get("etag", ""), line.get("modified", ""), line["content"])
            self.contents.setdefault(line["content"], name)

    def begin(self) -> None:
        """Begin another pass over everything."""
        self._append({"record": "pass", "number": self.passes + 1})

    def add_sitemaps(self, urls: list[str]) -> None:
        """A robots.txt names these: they are asked for even if this run ends before."""
        self._append({"record": "sitemaps", "urls": urls})

    def end(self, reason: str) -> None:
        """This pass has come to its end."""
        self._append({"record": "end", "reason": reason})

    def add(self, line: dict[str, Any], records: bytes = b"", info: Mapping[str, str] | None = None) -> None:
        """Record what became of a URL, with its WARC records where it has any; durable when this returns."""
        if records:
            name, start = self._place(info or {})
            line.update(warc=name, start=start, end=start + len(records))
        self._append(line, records)

    def _place(self, info: Mapping[str, str]) -> tuple[str, int]:
        from datatools.crawl import warc

        name = next(reversed(self.files), "")
        if not name or self.files[name] >= FILE_BYTES:
            self._close_file()
            number = len(self.files) + 1
            while (self.folder / (name := f"crawl-{number:05d}.warc.gz")).exists():
                number += 1
            first = warc.info(name, info)
            self._append({"record": "file", "warc": name, "start": 0, "end": len(first)}, first)
        return name, self.files[name]

    def _append(self, line: dict[str, Any], records: bytes = b"") -> None:
        assert self._log is not None
        self._log.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
        self._log.flush()
        if records:
            if self._out is None:
                self._out = (self.folder / line["warc"]).open("ab")
                sync_folder(self.folder)
            self._out.write(records)
            self._out.flush()
            os.fsync(self._out.fileno())
        os.fsync(self._log.fileno())
        self._take(line)

    def _close_file(self) -> None:
        if self._out is not None:
            self._out.close()
            self._out = None

    def close(self) -> None:
        """Close the files; nothing is lost where this is not called."""
        self._close_file()
        if self._log is not None:
            self._log.close()


def read_journal(work: Path) -> Iterator[dict[str, Any]]:
    """The lines of a store's journal, one by one; none where there is none."""
    path = work / JOURNAL
    if path.exists():
        with path.open("rb") as log:
            yield from _whole_lines(log)


def discard(folder: Path, work: Path) -> None:
    """Delete a crawl: its journal and the WARC files that it names."""
    for line in list(read_journal(work)):
        if line["record"] == "file":
            (folder / line["warc"]).unlink(missing_ok=True)
    (work / JOURNAL).unlink(missing_ok=True)


def _lines(log: IO[bytes]) -> list[dict[str, Any]]:
    """The whole lines of the journal; one that a kill cut short is cut off."""
    log.seek(0)
    lines = list(_whole_lines(log))
    log.truncate(lines[-1]["at"] + lines[-1]["size"] if lines else 0)
    log.seek(0, os.SEEK_END)
    return lines


def _whole_lines(log: IO[bytes]) -> Iterator[dict[str, Any]]:
    at = 0
    for raw in log:
        if not raw.endswith(b"\n"):
            return
        try:
            line = json.loads(raw)
        except ValueError as error:
            raise ValueError(f"{log.name}: byte {at}: not a line of a crawl's journal; --fresh starts over") from error
        yield {**line, "at": at, "size": len(raw)}
        at += len(raw)


def _is_whole(path: Path, start: int, end: int) -> bool:
    """Whether whole gzip members, and nothing but them, stand between two places of a file."""
    if not path.exists() or path.stat().st_size < end:
        return False
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(end - start)
    while data:
        stream = zlib.decompressobj(31)
        try:
            stream.decompress(data)
        except zlib.error:
            return False
        if not stream.eof:
            return False
        data = stream.unused_data
    return True
