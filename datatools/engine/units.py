"""Units of work: what one worker reads, decides and writes in one go."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import xxhash

from datatools.io import storage
from datatools.io.source import Source

# Small enough that two workers finish together and a killed run repeats little, large enough that a folder of a
# million small files does not become a million parts.
UNIT_BYTES = 2 << 20
UNIT_FILES = 500
MOST_UNITS = 1 << 17  # of a job, about: each costs a task, some files and a line of the manifest
# Above this a file is told by size and time instead of by content: reading 200 GB only to name it takes minutes.
HASHED_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Unit:
    """Sources that are read together. `key` names their content and the settings that shape what is made of it."""

    key: str
    sources: tuple[Source, ...]


def identity(path: str) -> str:
    """What tells one version of an input from another: its content, or size and time of a large file or an object.

    Moving or copying a folder changes nothing; `hf:` datasets are told by their name.
    """
    if path.startswith("hf:"):
        return path
    if storage.is_address(path):  # its content would have to be downloaded here first
        return f"{storage.size(path)}:{storage.changed(path)}"
    file = Path(path)
    stat = file.stat()
    if stat.st_size > HASHED_BYTES:
        return f"{stat.st_size}:{stat.st_mtime_ns}"
    return xxhash.xxh3_128_hexdigest(file.read_bytes())


def plan(sources: Iterable[tuple[Source, int]], identities: dict[str, str], settings: str) -> list[Unit]:
    """Group sources, given with their sizes in bytes, into units in input order.

    `identities` maps paths to `identity`; `settings` names everything else that changes what a unit gives. The plan
    depends on the inputs alone, never on the number of workers.
    """
    sources = list(sources)
    size = max(UNIT_BYTES, sum(size for _, size in sources) // MOST_UNITS)
    return [Unit(_key(group, identities, settings), tuple(group)) for group in _groups(sources, size)]


def _groups(sources: Iterable[tuple[Source, int]], most: int) -> Iterator[list[Source]]:
    group: list[Source] = []
    size = 0
    for source, length in sources:
        if group and (size + length > most or len(group) == UNIT_FILES):
            yield group
            group, size = [], 0
        group.append(source)
        size += length
    if group:
        yield group


def _key(group: list[Source], identities: dict[str, str], settings: str) -> str:
    parts = [[s.name, s.format, s.start, s.stop, identities[s.path]] for s in group]
    return xxhash.xxh3_128_hexdigest(json.dumps([settings, parts]).encode())
