"""Tasks that give a graph to `stars`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from datatools.dedupe.spread import Stage, all_of, column, partitioned
from datatools.dedupe.stars import HALF, LINKS, both_ways, place_of
from datatools.engine.parts import Parts
from datatools.engine.units import Unit
from datatools.engine.work import Work


def deal(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """The edges of a file, from either end, by partition."""
    links = both_ways(np.load(stage.settings))
    for batch in partitioned(place_of(links >> HALF, stage.partitions), stage.partitions, {"link": links}, LINKS):
        yield "links", batch


def links_of(work: Work, key: str) -> npt.NDArray[np.uint64]:
    """What a task wrote."""
    return column(all_of(Parts(work, [key], "links"), LINKS), "link")
