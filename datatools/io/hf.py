"""Datasets of the Hugging Face hub, streamed: `hf:org/name`, `hf:org/name/config`, `hf:org/name@split`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datatools.io.rows import Row, documents
from datatools.io.source import Note, Read, ReadOptions, Source


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """Documents out of one split (train, or the first there is, when none is named); offsets count rows from 1.

    After `hf:` may also stand a local folder. Raises ValueError, with the reason, when the dataset cannot be had.
    """
    name, config, split = address(source.path)
    try:
        chosen, rows = _load(name, config, split)
        yield Note(source.name, f"split {chosen}")
        yield from documents(_numbered(rows), source, options)
    except (OSError, RuntimeError, LookupError, ImportError) as error:  # what datasets and the hub's client raise
        raise ValueError(_reason(source.path, error)) from error


def address(path: str) -> tuple[str, str | None, str | None]:
    """Name, config and split of an address.

    >>> address("hf:org/name/small@test")
    ('org/name', 'small', 'test')
    """
    where, _, split = path.removeprefix("hf:").partition("@")
    if Path(where).is_dir():
        return where, None, split or None
    parts = where.split("/")
    return "/".join(parts[:2]), "/".join(parts[2:]) or None, split or None


def _load(name: str, config: str | None, split: str | None) -> tuple[str, Any]:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets

    datasets.disable_progress_bars()
    try:
        splits = datasets.load_dataset(name, config, streaming=True)
    except ValueError as error:  # a config that is missing or must be chosen; the message names those there are
        raise LookupError(str(error)) from error
    chosen = split or ("train" if "train" in splits else next(iter(splits)))
    if chosen not in splits:
        raise LookupError(f"no split {chosen!r}; the splits are {', '.join(splits)}")
    return chosen, splits[chosen]


def _numbered(rows: Any) -> Iterator[Row]:
    yield from enumerate(rows, 1)


def _reason(path: str, error: Exception) -> str:
    lines = str(error.args[0] if error.args else error).strip().splitlines()
    return f"{path} cannot be loaded: {lines[0] if lines else type(error).__name__} (name, network or HF_ENDPOINT?)"
