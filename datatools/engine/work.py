"""The work folder of a job: its lock, its manifest and its finished parts.

Everything a rerun needs stands in `X.work/` beside `X.parquet`: `manifest.jsonl` (one line a finished unit, written by
the parent process alone), `parts/` (what the units gave) and, for jobs that call a model, `journal.sqlite`. In object
storage the same stands below the same names, the manifest as numbered objects.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from datatools.engine.choice import LOCAL, Engine
from datatools.engine.lease import lease
from datatools.engine.manifest import Manifest, ManifestFile, ManifestObjects
from datatools.io import storage
from datatools.io.atomic import remove_leftovers


class Pool(Protocol):
    """What runs units: processes, or a connection to a cluster."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End it, after the units in hand."""


@dataclass
class Work:
    """An open work folder: `units` maps the keys of finished units to their tallies."""

    path: Path
    units: dict[str, dict[str, int]] = field(default_factory=dict)
    _manifest: Manifest | None = None
    pool: Pool | None = None  # what runs its units: the next stage of a job uses it again
    engine: Engine = LOCAL
    again: Counter[str] = field(default_factory=Counter)  # units run once more, by what was lost

    @property
    def parts(self) -> Path:
        """Folder of the finished parts."""
        return self.path / "parts"

    @property
    def journal(self) -> Path:
        """Journal of the model calls."""
        return self.path / "journal.sqlite"

    def part(self, key: str, stream: str) -> Path:
        """The file that holds one stream of one unit."""
        return self.parts / f"{key}.{stream}.arrow"

    def finish(self, key: str, tally: Mapping[str, int]) -> None:
        """Record a unit whose parts are all in place."""
        self._append({"record": "unit", "key": key, "tally": dict(tally)})
        self.units[key] = dict(tally)

    def forget(self) -> None:
        """Take back what this run recorded, where it came to nothing: the next may have other inputs or settings."""
        assert self._manifest is not None
        self._manifest.clear()
        self.units.clear()
        _remove_folder(self.parts)

    def flush(self) -> None:
        """Have all that was recorded where a rerun finds it."""
        if self._manifest is not None:
            self._manifest.flush()

    def close_pool(self) -> None:
        """End the processes, after the units they have in hand, or leave the cluster; the next `run_units` starts new
        ones."""
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
            self.pool = None

    def _append(self, line: Mapping[str, Any]) -> None:
        assert self._manifest is not None
        self._manifest.append(json.dumps(line, ensure_ascii=False, sort_keys=True).encode() + b"\n")


def work_path(out: Path) -> Path:
    """`corpus.work` beside `corpus.parquet`. Raises ValueError for another ending, or a folder in its place.

    >>> work_path(Path("runs/sft.parquet")).as_posix()
    'runs/sft.work'
    """
    if storage.ADDRESS.fullmatch(str(out)):
        raise ValueError(
            f"--out {storage.normal(str(out))}: only curate, and unify without a model, write to object storage; "
            "give a local or a shared folder, or the bucket mounted as one, and copy the output there afterwards"
        )
    if out.suffix != ".parquet":
        raise ValueError(f"--out {storage.shown(out)}: must end in .parquet (`datatools export` makes JSONL of it)")
    if out.is_dir():
        raise ValueError(f"--out {out}: is a folder, a file is needed")
    return out.with_suffix(".work")


@contextmanager
def open_work(out: Path, run: Mapping[str, Any], *, fresh: bool = False, engine: Engine = LOCAL) -> Iterator[Work]:
    """Open the work folder of `out` for a run described by `run` (command, settings, inputs).

    A folder that a killed run left is taken up where it stopped. `fresh` starts manifest and parts over and keeps the
    journal, so that no paid reply is asked for again. Raises ValueError when another run holds the folder, or when
    `run` is not what the manifest says: mixing results of two settings would be worse than stopping.
    """
    path = work_path(out)
    run = json.loads(json.dumps(run))  # as the manifest holds it: a tuple is a list there
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / "parts").mkdir(exist_ok=True)
    except OSError as error:
        raise ValueError(f"{out.parent}: cannot write there ({error.strerror})") from error
    with _held(path) as manifest:
        if fresh:
            manifest.clear()
            _remove_folder(path / "parts")
            (path / "parts").mkdir()
        remove_leftovers(path / "parts")
        # Not every temporary file there: another output of the same folder may be in the making.
        for name in (out.name, f"{out.stem}.trace.parquet", f"{out.stem}.failed.parquet"):
            remove_leftovers(out.parent, name)
        work = Work(path, engine=engine)
        found = _read_manifest(manifest, path, work)
        if found is not None and (change := _difference(found, run)):
            raise ValueError(
                f"{storage.shown(path)}: {change}; --fresh starts over (replies already paid for are kept)"
            )
        work._manifest = manifest
        if found is None:
            work._append({"record": "run", **run})
            work.flush()
        try:
            yield work
        finally:
            work.close_pool()


def brought(path: Path) -> Path:
    """A job's `X.parquet` or `X.work`; where that is in object storage all that it left is fetched, as a folder."""
    place = storage.placed(path)
    if not (address := storage.address_of(place)):
        return place
    stem = address.rpartition(".")[0]
    outputs = [f"{stem}.parquet", f"{stem}.trace.parquet", f"{stem}.failed.parquet"]
    entries = [entry.address for one in (*outputs, f"{stem}.work") for entry in storage.listed(one)]
    files = storage.all_here(storage.placed(Path(one)) for one in entries if "/lock/" not in one)
    lines = b"".join(file.read_bytes() for file in files if file.parent.name == "manifest")
    if lines:
        place.with_suffix(".work").joinpath("manifest.jsonl").write_bytes(lines)
    return place


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Make a work folder if there is none, and keep other runs out. Raises ValueError when one is working there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{path.parent}: cannot write there ({error.strerror})") from error
    with _lock(path):
        yield


@contextmanager
def reopen_work(path: Path, engine: Engine = LOCAL) -> Iterator[Work]:
    """Open a work folder as it is, to read what its runs left. Raises ValueError when there is none or it is in use."""
    address = storage.address_of(path)
    if not (storage.listed(f"{address}/manifest") if address else (path / "manifest.jsonl").is_file()):
        shown = storage.shown(path)
        raise ValueError(f"{shown}: no work folder (it stands beside its output: X.work beside X.parquet)")
    with _held(path) as manifest:
        work = Work(path, engine=engine)
        _read_manifest(manifest, path, work)
        work._manifest = manifest
        try:
            yield work
        finally:
            work.close_pool()


@contextmanager
def _held(path: Path) -> Iterator[Manifest]:
    """The manifest of a work folder, which no other run may touch meanwhile."""
    if address := storage.address_of(path):
        with lease(address) as check, ManifestObjects(path / "manifest", check) as objects:
            shutil.rmtree(path, ignore_errors=True)  # what an earlier run of this process had here may be old
            (path / "parts").mkdir(parents=True)
            yield objects
    else:
        with _lock(path), ManifestFile(path / "manifest.jsonl") as file:
            yield file


def _remove_folder(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if address := storage.address_of(path):
        storage.delete(address)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    # The kernel gives the lock back when its holder dies, however it dies: nothing stale to clean up.
    with (path / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(f"{path}: another run is working there; wait for it or choose another --out") from error
        yield


def _read_manifest(manifest: Manifest, path: Path, work: Work) -> dict[str, Any] | None:
    """The run a manifest was begun for, filling `work.units`."""
    run = None
    for number, line in enumerate(manifest.read().splitlines(), 1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise ValueError(
                f"{storage.shown(path / 'manifest.jsonl')}:{number}: not a manifest line; --fresh starts over"
            ) from error
        if entry["record"] == "run":
            run = {name: value for name, value in entry.items() if name != "record"}
        elif entry["record"] == "unit":
            work.units[entry["key"]] = entry["tally"]
    return run


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What a user changed since the manifest was begun, in words; empty when nothing."""
    if found.get("command") != wanted["command"]:
        return f"was begun by `datatools {found.get('command')}`"
    before, now = found.get("settings", {}), wanted["settings"]
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        return "; ".join(f"{name} was {_shown(before.get(name))}, now {_shown(now[name])}" for name in changed)
    files_before, files_now = found.get("inputs", {}), wanted["inputs"]
    for name in files_now:
        if name not in files_before:
            return f"input {name} is new since the run began"
        if files_before[name] != files_now[name]:
            return f"input {name} has changed since the run began"
    gone = [name for name in files_before if name not in files_now]
    return f"input {gone[0]} is gone since the run began" if gone else ""


def _shown(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)
