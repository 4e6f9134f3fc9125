"""Checkpoints that are whole: a marker written last says so, and only such a one is gone on from."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from datatools.io.atomic import atomic_path, sync_folder

MARKER = "COMPLETE.json"
KEPT = 2  # whole checkpoints; the older one is there should the disk fail the newer
_NAME = re.compile(r"checkpoint-(\d+)")


def seal(checkpoint: Path) -> None:
    """Make a checkpoint's files durable, then mark it as whole; the marker lists them with their sizes."""
    sizes = {}
    for path in sorted(checkpoint.rglob("*")):
        if path.is_file() and path.name != MARKER:
            with path.open("rb") as file:
                os.fsync(file.fileno())
            sizes[path.relative_to(checkpoint).as_posix()] = path.stat().st_size
    sync_folder(checkpoint)
    with atomic_path(checkpoint / MARKER) as temporary:
        temporary.write_text(json.dumps({"step": step_of(checkpoint), "files": sizes}), encoding="utf-8")
    sync_folder(checkpoint.parent)


def whole(checkpoint: Path) -> bool:
    """Whether a checkpoint has its marker and all files that it lists, none shorter than it was."""
    try:
        sizes = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))["files"]
    except (FileNotFoundError, ValueError, KeyError):
        return False
    return all((path := checkpoint / name).is_file() and path.stat().st_size == size for name, size in sizes.items())


def newest(out: Path) -> Path | None:
    """The latest whole checkpoint of a run; None where there is none."""
    return max((one for one in _all(out) if whole(one)), key=step_of, default=None)


def remove_broken(out: Path) -> list[str]:
    """Delete checkpoints that were never finished; their names."""
    broken = [one for one in _all(out) if not whole(one)]
    for one in broken:
        shutil.rmtree(one)
    return [one.name for one in broken]


def remove_old(out: Path, kept: int = KEPT) -> None:
    """Delete all whole checkpoints but the latest ones."""
    for one in sorted((one for one in _all(out) if whole(one)), key=step_of)[:-kept]:
        # The marker first: a kill in between leaves what counts as unfinished, never half of a whole one.
        (one / MARKER).unlink()
        shutil.rmtree(one)


def step_of(checkpoint: Path) -> int:
    """The step a checkpoint was written at.

    >>> step_of(Path("runs/x/checkpoint-120"))
    120
    """
    found = _NAME.fullmatch(checkpoint.name)
    assert found is not None
    return int(found[1])


def _all(out: Path) -> list[Path]:
    return [path for path in out.glob("checkpoint-*") if _NAME.fullmatch(path.name) and path.is_dir()]
