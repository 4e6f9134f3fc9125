"""Connected components of a graph that no node's memory holds: alternating large-star and small-star.

Kiveris, Lattanzi, Mirrokni, Rastogi, Vassilvitskii: Connected Components in MapReduce and Beyond (SoCC 2014),
algorithm 1. Nodes are numbers below 2³²; an edge *u, v* of a partition's records is `u << 32 | v`, and all records of a
node *u* are in one partition.

- Large-star, at every node: its larger neighbours are tied to the least of itself and its neighbours.
- Small-star, at every node: it and its smaller neighbours are tied to the least of these.

Both keep the components as they are. Rounds of the two end when no edge changes: then every component is a star about
its least node. The paper proves O(log² n) rounds for n nodes and sees fewer; so do we, see `docs/scale.md`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.dedupe.partitions import leading_bits
from datatools.dedupe.spread import Stage, column, number_of, partitioned, run_stage, taken
from datatools.engine.units import Unit
from datatools.engine.work import Work

LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
LINKS = pa.schema([pa.field("link", pa.uint64())])
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # golden ratio · 2⁶⁴ (Knuth): least nodes are close to one another
Pairs = npt.NDArray[np.uint64]


def large_star(links: Pairs) -> tuple[Pairs, int]:
    """Edges (larger, smaller) after a large-star at every node of a partition, and how many of them are new.

    `links` holds each node's edges from that node, to smaller and larger neighbours.

    >>> links = np.array([[2, 1], [2, 3], [2, 4]], np.uint64)
    >>> edges, changed = large_star(links[:, 0] << HALF | links[:, 1])
    >>> [(int(edge >> HALF), int(edge & LOW)) for edge in edges], changed
    ([(3, 1), (4, 1)], 2)
    """
    nodes, others, least = _neighbours(links)
    least = np.minimum(least, nodes)
    larger = others > nodes
    changed = int(np.count_nonzero(least[larger] != nodes[larger]))
    return np.unique(others[larger] << HALF | least[larger]), changed


def small_star(links: Pairs) -> tuple[Pairs, int]:
    """Edges (larger, smaller) after a small-star at every node of a partition, and how many of them are new.

    `links` holds each node's edges from that node to smaller neighbours.

    >>> links = np.array([[4, 1], [4, 2], [4, 3]], np.uint64)
    >>> edges, changed = small_star(links[:, 0] << HALF | links[:, 1])
    >>> [(int(edge >> HALF), int(edge & LOW)) for edge in edges], changed
    ([(2, 1), (3, 1), (4, 1)], 2)
    """
    nodes, others, least = _neighbours(links)
    first = others == least
    return np.unique(
        np.concatenate([nodes[first] << HALF | least[first], others[~first] << HALF | least[~first]])
    ), int((~first).sum())


def _neighbours(links: Pairs) -> tuple[Pairs, Pairs, Pairs]:
    """The two ends of every link, each once and in order, and the least neighbour of the first end."""
    links = np.unique(links)
    nodes, others = links >> HALF, links & LOW
    starts = np.flatnonzero(np.concatenate([[True], nodes[1:] != nodes[:-1]])) if len(links) else np.zeros(0, np.int64)
    return nodes, others, np.repeat(others[starts], np.diff(np.append(starts, len(links))))


def both_ways(edges: Pairs) -> Pairs:
    """Every edge from either end."""
    return np.concatenate([edges, edges << HALF | edges >> HALF])


def place_of(nodes: Pairs, count: int) -> npt.NDArray[np.uint8]:
    """The partition of each node."""
    return leading_bits(nodes * _SPREAD, count)


def stars(maps: tuple[str, ...], stage: Stage, work: Work, memory: int) -> tuple[tuple[str, ...], int]:
    """Rounds over the `links` that the tasks `maps` wrote, from either end, until no edge changes.

    Returns the tasks whose `links`, from either end, are the stars, and the number of rounds. `stage` names the rounds
    and says how many partitions there are. What a round read is deleted when all of it is done.
    """
    count, rounds = stage.partitions, 0
    while True:
        rounds += 1
        name = f"{stage.name}-{rounds:02d}"
        large = replace(stage, name=f"{name}-large", maps=maps)
        between = run_stage(large_stars, count, large, work, {"links": LINKS}, memory=memory)
        small = replace(stage, name=f"{name}-small", maps=between)
        after = run_stage(small_stars, count, small, work, {"links": LINKS}, memory=memory)
        for key in between if rounds == 1 else (*maps, *between):  # what this round read and nothing will read again
            work.part(key, "links").unlink(missing_ok=True)
        if not any(work.units[key]["changed"] for key in (*between, *after)):
            return after, rounds
        maps = after


def large_stars(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """Reduce: large-star at the nodes of a partition; edges by their larger end."""
    edges, changed = large_star(column(taken(stage, "links", number_of(unit)), "link"))
    yield from _written(edges, edges, changed, stage, tally)


def small_stars(unit: Unit, stage: Stage, tally: Counter[str]) -> Iterator[tuple[str, Any]]:
    """Reduce: small-star at the nodes of a partition; edges from either end."""
    edges, changed = small_star(column(taken(stage, "links", number_of(unit)), "link"))
    yield from _written(both_ways(edges), edges, changed, stage, tally)


def _written(
    links: Pairs, edges: Pairs, changed: int, stage: Stage, tally: Counter[str]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    tally["edges"] += len(edges)
    tally["changed"] += changed
    places = place_of(links >> HALF, stage.partitions)
    for batch in partitioned(places, stage.partitions, {"link": links}, LINKS):
        yield "links", batch
