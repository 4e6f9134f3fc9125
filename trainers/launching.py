"""How several processes are started, one a GPU: by accelerate and the files in `launch/`."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from trainers.load import library
from trainers.plan import Plan

LAUNCH = Path(__file__).parent / "launch"
PR_SET_PDEATHSIG = 1  # of prctl(2)


def several_cards() -> bool:
    """Whether this process sees more than one GPU, all of which a trainer would take: one alone is launched too."""
    cuda = library("torch").cuda
    return bool(cuda.is_available() and cuda.device_count() > 1)


def started_by(plan: Plan) -> tuple[list[str], dict[str, str]]:
    """The module that starts the processes of a plan, with its options, and what the environment must say."""
    values = {"OMP_NUM_THREADS": "1"}
    if plan.precision != "fp32":
        words = ["accelerate.commands.launch", "--config_file", str(LAUNCH / f"{plan.launch or 'ddp'}.yaml")]
        return [*words, "--num_processes", str(plan.processes)], values
    # Where there is no GPU accelerate would ask for MPI: torch starts the processes.
    return ["torch.distributed.run", "--standalone", "--nproc_per_node", str(plan.processes)], values


def start(words: list[str], values: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the process that starts the others: in a session of its own, so that Ctrl-C comes to us alone."""
    ask = _asks_to_die()
    return subprocess.Popen(words, start_new_session=True, env={**os.environ, **values}, preexec_fn=ask)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Let all processes finish their step and save, and wait for it.

    Signals go to them, not to what started them: that would kill them half a minute later, in the middle of a
    checkpoint.
    """
    psutil = library("psutil")
    try:
        started = psutil.Process(process.pid).children()
        for one in started or [process]:
            one.terminate()
    except psutil.NoSuchProcess:
        pass  # it has ended meanwhile
    process.wait()


def die_with_parent() -> None:
    """Let the kernel end this process when the one that started it is killed (Linux): no orphan writes into a run."""
    if (ask := _asks_to_die()) is not None:
        ask()


def _asks_to_die() -> Callable[[], object] | None:
    if sys.platform != "linux":
        return None
    call = ctypes.CDLL(None).prctl  # looked up here: nothing may be loaded between fork and exec
    return lambda: call(PR_SET_PDEATHSIG, signal.SIGKILL)
