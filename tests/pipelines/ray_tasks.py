"""Tasks that bring down what they run on, once."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datatools.dedupe import spread_near
from datatools.dedupe.spread import Stage
from datatools.engine.units import Unit

MARK = "died"


def components_on_a_dying_node(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """`components`, whose node dies before the last edge is written; only the worker where it is the head."""
    for place, rows in enumerate(spread_near.components(unit, stage, tally)):
        if not place and not (mark := Path(stage.corpus.work, MARK)).exists():
            mark.touch()
            _die()
        yield rows


def _die() -> None:
    raylet = os.getppid()
    if b"--head" not in Path(f"/proc/{raylet}/cmdline").read_bytes():
        os.kill(raylet, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
