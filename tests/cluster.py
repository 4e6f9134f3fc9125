"""Real Ray nodes on this machine: for the tests of what runs on a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HEALTH = {"initial_delay_ms": 1000, "period_ms": 1000, "failure_threshold": 2}
MEMORY = 3 << 30  # what a node declares; a task declares 1 GB


class Nodes:
    """A head and two more nodes of one CPU each, and a driver that has joined them."""

    def __init__(self) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        import ray
        from ray.cluster_utils import Cluster

        # Ray learns of a dead node by asking it: within seconds, not the usual quarter of a minute.
        quick = {f"health_check_{name}": value for name, value in HEALTH.items()}
        head = {"_system_config": quick} | {
            "num_cpus": 1,
            "memory": MEMORY,
            "include_dashboard": False,
            "object_store_memory": 80 << 20,
        }
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._others: list[Any] = []
        self.whole()
        ray.init(self.address, logging_level="ERROR", log_to_driver=False)

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return str(self._cluster.address)

    def whole(self) -> None:
        """Start what was killed, or died."""
        for node in [node for node in self._others if node.dead_processes()]:
            self._others.remove(node)
            self._cluster.remove_node(node, allow_graceful=False)
        while len(self._others) < 2:
            self._others.append(self._cluster.add_node(num_cpus=1, memory=MEMORY, object_store_memory=80 << 20))
        self._cluster.wait_for_nodes()

    def kill_one(self) -> None:
        """One node dies as when its power is cut."""
        self._cluster.remove_node(self._others.pop(0), allow_graceful=False)

    def end(self) -> None:
        """End everything."""
        import ray

        ray.shutdown()
        self._cluster.shutdown()


@contextmanager
def three_nodes() -> Iterator[Nodes]:
    """The nodes, ended with the block."""
    nodes = Nodes()
    try:
        yield nodes
    finally:
        nodes.end()
