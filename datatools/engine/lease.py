"""Who works in a folder of object storage: an object that its holder writes anew every few seconds.

There is no lock that ends with its holder. Each run writes an object of its own and then looks for others: of two that
begin at once each sees the other's, since listings show what was written before, and neither goes on. An object that
was not renewed for so long, by the clock of the storage, is of a run that was killed; on the holder's own machine it is
enough that its process is gone.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from datatools.io import storage

RENEWED, EXPIRES = 10.0, 60.0  # seconds


@contextmanager
def lease(address: str) -> Iterator[Callable[[], None]]:
    """Hold the work folder at `address`; yields what raises storage.Unreachable once that is no longer certain.

    Raises ValueError when another run holds it.
    """
    folder = f"{address}/lock"
    own = f"{folder}/{secrets.token_hex(8)}.json"
    said = json.dumps({"host": socket.gethostname(), "boot": _boot(), "pid": os.getpid(), "began": _began(os.getpid())})
    renewed = time.monotonic()
    storage.put_bytes(said.encode(), own)
    ended = threading.Event()

    def renew() -> None:
        nonlocal renewed
        while not ended.wait(RENEWED):
            asked = time.monotonic()
            with suppress(storage.Unreachable):  # `check` tells, before anything is recorded
                storage.put_bytes(said.encode(), own)
                renewed = asked

    def check() -> None:
        if time.monotonic() - renewed > EXPIRES:
            raise storage.Unreachable(f"{folder}: could not be renewed for {EXPIRES:.0f} s, another run may have begun")

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        _refuse_others(address, folder, own)
        yield check
    finally:
        ended.set()
        thread.join()
        with suppress(storage.Unreachable):  # it expires
            storage.delete(own)


def _refuse_others(address: str, folder: str, own: str) -> None:
    entries = storage.listed(folder)
    now = next(entry.changed for entry in entries if entry.address == own)
    for entry in entries:
        if entry.address == own:
            continue
        if now - entry.changed < EXPIRES * 1e9 and not _is_dead(entry.address):
            raise ValueError(
                f"{address}: another run is working there, or was killed within the last minute on another machine; "
                "wait for it or choose another --out"
            )
        storage.delete(entry.address)


def _is_dead(address: str) -> bool:
    """Whether the holder was a process of this machine and is gone."""
    try:
        with storage.opened(address) as stream:
            said = json.loads(stream.read())
    except FileNotFoundError:
        return True
    if (said["host"], said["boot"]) != (socket.gethostname(), _boot()):
        return False
    return _began(said["pid"]) != str(said["began"])


def _boot() -> str:
    """What tells this start of this machine, or this container, from others."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + str(Path("/proc/self/ns/pid").readlink())
    return ""


def _began(pid: int) -> str:
    """When a process began, in the kernel's own count; "" where there is none."""
    try:
        state, *more = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else more[18]  # what is dead may wait for its parent to take notice
    except OSError:
        return ""
