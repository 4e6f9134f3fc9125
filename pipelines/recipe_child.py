"""One stage as a process of its own: the command a user would type, which ends with whoever started it."""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_PDEATHSIG = 1  # prctl: a signal to the child when its parent dies, however it dies


@dataclass(frozen=True)
class Ended:
    """Exit code, JSON summary where the program printed one, last line in words, seconds."""

    code: int
    summary: dict[str, Any]
    said: str
    seconds: float


def ran(words: Sequence[str], *, as_json: bool, silent: bool = False) -> Ended:
    """Run a command and wait. Its stderr is the terminal's; Ctrl-C goes to it once, and again as SIGTERM."""
    began = time.monotonic()
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE if as_json else None,
        stderr=subprocess.DEVNULL if silent else None,
        text=True,
        start_new_session=True,  # so that Ctrl-C reaches it through us, once
        preexec_fn=_ends_with_parent if sys.platform == "linux" else None,
    )
    stdout, pressed = "", 0
    while True:
        try:
            stdout = process.communicate()[0] or ""
            break
        except KeyboardInterrupt:
            pressed += 1
            process.send_signal(signal.SIGINT if pressed == 1 else signal.SIGTERM)
    code = process.returncode if process.returncode >= 0 else 130 if pressed else 1
    summary: dict[str, Any] = {}
    if as_json and stdout.strip():
        try:
            summary = json.loads(stdout)
        except ValueError:
            code = code or 1
    said = str(summary.get("error") or f"exit code {code}")
    return Ended(130 if pressed and code else code, summary, said, time.monotonic() - began)


def _ends_with_parent() -> None:
    # Killed, not asked to end: every job goes on after a kill, and its lock is free at once.
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
