"""Large-star and small-star find the components that union-find finds."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.dedupe import kernels
from datatools.dedupe.spread import Corpus, Stage, run_stage
from datatools.dedupe.stars import HALF, LINKS, LOW, both_ways, large_star, small_star, stars
from datatools.engine.choice import LOCAL
from datatools.engine.work import Work, open_work
from tests.dedupe import graph_tasks

Edges = Sequence[tuple[int, int]]
NONE = np.zeros(0, np.int64)


def components(edges: Edges) -> dict[int, int]:
    """The least node of every node's component, by union-find."""
    ends = np.array(edges, np.int64).reshape(-1, 2)
    parents = np.arange(ends.max(initial=0) + 1)
    kernels.unite(parents, ends[:, 0], ends[:, 1])
    return {node: int(parents[node]) for node in np.unique(ends).tolist()}


def packed(edges: Edges) -> npt.NDArray[np.uint64]:
    """(larger, smaller) of every edge."""
    ends = np.array(edges, np.uint64).reshape(-1, 2)
    return np.max(ends, axis=1) << HALF | np.min(ends, axis=1)


def found(edges: Edges, partitions: int = 4, until_it_ends: bool = False) -> tuple[dict[int, int], int]:
    """The same by stars, as units of a work folder, taken up again when it is stopped; and the number of rounds."""
    stopped = (KeyboardInterrupt,) if until_it_ends else ()
    with TemporaryDirectory() as folder:
        np.save(Path(folder, "edges.npy"), packed(edges))
        run = {"command": "stars", "settings": {}, "inputs": {}}
        while True:
            with open_work(Path(folder, "out.parquet"), run, engine=LOCAL) as work, suppress(*stopped):
                stage = Stage("given", Corpus(str(work.path), (), NONE, NONE), partitions, (), f"{folder}/edges.npy")
                given = run_stage(graph_tasks.deal, 1, stage, work, {"links": LINKS})
                last, rounds = stars(given, Stage("stars", stage.corpus, partitions), work, 0)
                break
        links = np.unique(np.concatenate([graph_tasks.links_of(work, key) for key in last]))
        kept = {path.name for path in work.parts.iterdir()}
        assert kept == {f"{key}.links.arrow" for key in (*given, *last)}
    nodes, others = links >> HALF, links & LOW
    away = others < nodes
    labels = dict(zip(nodes[away].tolist(), others[away].tolist(), strict=True))
    assert len(labels) == away.sum()  # a star: nobody has two centres
    return {node: labels.get(node, node) for node in np.unique(nodes).tolist()}, rounds


def path(length: int, seed: int | None = None) -> Edges:
    nodes = list(range(length))
    if seed is not None:
        random.Random(seed).shuffle(nodes)
    return list(pairwise(nodes))


graphs = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).filter(lambda edge: edge[0] != edge[1]), max_size=80
)


@settings(max_examples=12, deadline=None)
@given(graphs, st.sampled_from([1, 4]))
def test_any_graph(edges: Edges, partitions: int) -> None:
    assert found(edges, partitions)[0] == components(edges)


@given(graphs)
def test_any_graph_in_memory(edges: Edges) -> None:
    links, changed = both_ways(packed(edges)), 1
    while changed:
        links, of_large = large_star(links)
        links, of_small = small_star(links)
        changed = of_large + of_small
        links = both_ways(links)
    away = links[links >> HALF > links & LOW]
    labels = dict(zip((away >> HALF).tolist(), (away & LOW).tolist(), strict=True))
    assert len(labels) == len(away)  # a star: nobody has two centres
    assert {node: labels.get(node, node) for node in components(edges)} == components(edges)


SHAPES = {
    "a path in order": path(3000),
    "a path in any order": path(3000, 1),
    "a star about its worst": [(node, 999) for node in range(999)],
    "a clique": [(one, two) for one in range(40) for two in range(one)],
    "cliques on a string": [(10 * k + i, 10 * k + j) for k in range(50) for i in range(11) for j in range(i)],
    "a circle": [*path(1000, 2), (path(1000, 2)[0][0], path(1000, 2)[-1][1])],
    "the largest numbers": [(2**32 - 1, 2**32 - 2), (2**32 - 2, 7), (3, 2)],
}


@pytest.mark.parametrize("edges", [pytest.param(edges, id=name) for name, edges in SHAPES.items()])
def test_shapes(edges: Edges) -> None:
    least, rounds = found(edges)
    if max(map(max, edges)) < 10_000:
        assert least == components(edges)
    else:
        assert least == {2**32 - 1: 7, 2**32 - 2: 7, 7: 7, 3: 2, 2: 2}
    assert rounds <= 2 + math.log2(len(edges) + 1)


@given(graphs)
def test_a_star_step_of_either_kind_keeps_the_components(edges: Edges) -> None:
    links = packed(edges)
    for after, _ in (large_star(both_ways(links)), small_star(links)):
        assert components([(int(link >> HALF), int(link & LOW)) for link in after]) == components(edges)


def test_a_run_that_is_stopped_again_and_again_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    edges = path(200, 3)
    expected, stops = found(edges), Counter[str]()
    finish = Work.finish

    def finish_and_stop(self: Work, key: str, tally: Mapping[str, int]) -> None:
        finish(self, key, tally)
        if len(self.units) % 7 == 0:
            stops["now"] += 1
            raise KeyboardInterrupt

    monkeypatch.setattr(Work, "finish", finish_and_stop)
    assert found(edges, until_it_ends=True) == expected
    assert stops["now"] > 3
