"""One unit's work, wherever it runs: its streams are written whole or not at all, and again where a disk was busy."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import count
from typing import Any, TypeAlias

import pyarrow as pa

from datatools.engine.manifest import PASSING, STORAGE_TRIES
from datatools.engine.units import Unit
from datatools.engine.work import Work
from datatools.io import storage
from datatools.io.atomic import part_writer

# (unit, settings, tally) → (stream, rows) …; a module-level function, so that another process can import it.
UnitFunction: TypeAlias = Callable[[Unit, Any, "Counter[str]"], Iterator[tuple[str, pa.Table]]]


def run_unit(
    function: UnitFunction, unit: Unit, settings: Any, work: Work, schemas: Mapping[str, pa.Schema]
) -> Counter[str]:
    """Read one unit, apply `function` and write its streams, each whole or not at all; returns what was counted."""
    tally: Counter[str] = Counter()
    with storage.together(), ExitStack() as files:
        writers = {
            stream: files.enter_context(part_writer(work.part(unit.key, stream), schema))
            for stream, schema in schemas.items()
        }
        for stream, rows in function(unit, settings, tally):
            writers[stream].write(rows)
    return tally


def run_again(
    function: UnitFunction, unit: Unit, settings: Any, work: Work, schemas: Mapping[str, pa.Schema]
) -> tuple[Counter[str], int]:
    """`run_unit`, once more where a write fails that may succeed the next time, and how often that was."""
    # From the start: after a failed fsync nobody knows what of a file is on the disk.
    for tries in count():
        try:
            return run_unit(function, unit, settings, work, schemas), tries
        except OSError as error:
            if error.errno not in PASSING or tries + 1 >= STORAGE_TRIES:
                raise
            time.sleep(min(0.01 * 2**tries, 1.0))
    raise AssertionError
