"""Exam items that are kept out: their index, made once a work folder, and the conversations that hold one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from datatools.dedupe import decontaminate
from datatools.engine.units import identity
from datatools.io.files import discover
from datatools.io.source import Fault
from datatools.report.progress import Progress

PAIR = ("prompt", "chosen", "rejected")  # columns of turns; of a conversation it is `messages`


def digest_of(files: Sequence[str]) -> str:
    """What tells the content of files and folders from another; "" of none. Raises ValueError for one not there."""
    if not files:
        return ""
    sources, _ = discover(files)
    return xxhash.xxh3_64_hexdigest(json.dumps([[source.name, identity(source.path)] for source in sources]).encode())


def inputs_of(files: Sequence[str]) -> dict[str, str]:
    """Names of files, and of those in folders, with what tells one version of each from another.

    Raises ValueError for one not there.
    """
    sources, _ = discover(files)
    return {source.name: identity(source.path) for source in sources}


def exam_index(exams: Sequence[str], work: Path, progress: Progress) -> Path | None:
    """File of the index of the items in `exams`, made in the folder `work` unless it is there; None of no exams.

    Raises ValueError where no item is.
    """
    if not exams:
        return None
    path = work / f"exams-{digest_of(exams)}.arrow"
    if path.exists():
        return path
    found = list(decontaminate.items(exams))
    items = [item for item in found if isinstance(item, decontaminate.Item)]
    faults = [f"{item.source}: {item.message}" for item in found if isinstance(item, Fault)]
    if not items:
        raise ValueError(f"--decontaminate {', '.join(exams)}: no exam items there{'; '.join(['', *faults[:1]])}")
    for fault in faults:
        progress.say(f"--decontaminate: {fault}")
    index = decontaminate.build(items)
    progress.say(f"--decontaminate: {len(index):,} exam items, and {index.skipped:,} too short to be found")
    path.parent.mkdir(parents=True, exist_ok=True)
    index.save(path)
    return path


def opened(path: Path | None) -> decontaminate.Index | None:
    """The index in a file of `exam_index`."""
    return decontaminate.Index.open(path) if path else None


def without_leaks(table: pa.Table, exams: decontaminate.Index | None) -> tuple[pa.Table, list[dict[str, Any]]]:
    """The conversations, or pairs, that hold no exam item, and the trace rows of the others, with item and span.

    All turns together are looked at: a question and its answer may leak an item that neither does alone.
    """
    if exams is None or not table.num_rows:
        return table, []
    said = ["messages"] if "messages" in table.column_names else list(PAIR)
    rows = table.select(["id", "source", *said]).to_pylist()
    texts = ["\n".join(turn["content"] for name in said for turn in row[name]) for row in rows]
    found = decontaminate.leaks(texts, exams)
    traced = [
        decontaminate.trace_row(row["id"], row["source"], text, leak)
        for row, text, leak in zip(rows, texts, found, strict=True)
        if leak
    ]
    return table.filter(pa.array([leak is None for leak in found], pa.bool_())), traced
