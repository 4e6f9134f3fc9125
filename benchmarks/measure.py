"""Run a command and measure it as a user would: wall time, CPU time, peak memory over its whole process tree."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SAMPLE_EVERY = 0.1  # seconds
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """One run of a command."""

    wall: float  # seconds
    cpu: float  # seconds, all processes
    peak: int  # bytes of PSS over the process tree: shared pages are counted once
    output: str


@dataclass
class _Sampled:
    peak: int = 0
    cpu: dict[int, float] = field(default_factory=dict)  # seconds of every process that was seen, by its id


def measure(command: Sequence[str], limit: float | None = None) -> Measured:
    """Run `command` to its end.

    Raises RuntimeError with its output when it fails, and TimeoutError when it takes longer than `limit` seconds; it
    and all it has started are killed then.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    sampled, ended = _Sampled(), threading.Event()
    sampler = threading.Thread(target=_sample, args=(process.pid, sampled, ended), daemon=True)
    sampler.start()
    try:
        output = process.communicate(timeout=limit)[0]
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise TimeoutError(f"took longer than {limit:.0f} s") from error
    finally:
        wall = time.perf_counter() - began
        ended.set()
        sampler.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode not in (0, 3):
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{output}")
    waited = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # A program may not wait for its processes, and then the system does not tell their time: what was sampled does.
    return Measured(wall, max(waited, sum(sampled.cpu.values())), sampled.peak, output)


def _sample(root: int, sampled: _Sampled, ended: threading.Event) -> None:
    while not ended.wait(SAMPLE_EVERY):
        tree = _tree(root)
        sampled.peak = max(sampled.peak, sum(map(_pss, tree)))
        for pid in tree:
            sampled.cpu[pid] = max(sampled.cpu.get(pid, 0.0), _cpu(pid))


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _stat(pid: int) -> list[str]:
    """State, parent and so on of a process, as /proc tells it; nothing when it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICK if fields else 0.0


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:  # it ended meanwhile
        return 0
    return 0


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
