"""A file system that fails one write in twenty, in every Python process that has this folder on its PYTHONPATH.

Only below the folder that the environment variable FLAKY names, and while there is a file `now` in it.
"""

import os
import random
from typing import Any

SHARE = 0.05
_true = os.fsync, os.replace  # which Path.replace calls


def patch(folder: str) -> None:
    """From now on fsync and rename fail below the folder, one call in twenty."""
    drawn = random.Random(os.getpid())

    def fail(path: str) -> None:
        if path.startswith(folder) and drawn.random() < SHARE and os.path.exists(f"{folder}/now"):  # noqa: PTH110
            raise OSError(5, "Input/output error")

    def fsync(descriptor: int) -> None:
        fail(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
        _true[0](descriptor)

    def replace(source: Any, target: Any, **named: Any) -> None:
        fail(os.fspath(target))
        _true[1](source, target, **named)

    os.fsync, os.replace = fsync, replace


def mend() -> None:
    """As it was."""
    os.fsync, os.replace = _true


if "FLAKY" in os.environ:
    patch(os.environ["FLAKY"])
