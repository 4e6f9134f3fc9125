"""What Ray costs: `datatools curate` by the local engine and on Ray, on the same cores, by turns.

    python -m benchmarks.engines CORPUS --scratch SCRATCH [--workers 2] [--runs 3]

Each turn: the local engine; a cluster that is started for the run; one that runs already (started here, its workers
as important as everything else). Printed are the medians, how much of the local engine's time each took, turn by turn,
and whether the outputs are the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

STORE_BYTES = 128 << 20


def main() -> None:
    """Run the turns and print a line for each run, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    head = {"num_cpus": arguments.workers, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    cluster = Cluster(
        initialize_head=True, head_node_args={**head, "_system_config": {"worker_niceness": 0}}, shutdown_at_exit=True
    )
    engines = {
        "local": [],
        "started": ["--engine", "ray", "--ray-address", "local"],
        "running": ["--engine", "ray", "--ray-address", cluster.address],
    }
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    digests = set()
    for _ in range(arguments.runs):
        for name, more in engines.items():
            out = arguments.scratch / f"{name}.parquet"
            command = ["curate", str(arguments.corpus), "--out", str(out), "--workers", str(arguments.workers), *more]
            began = time.monotonic()
            subprocess.run(
                [sys.executable, "-m", "datatools", *command, "--fresh", "--quiet"],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            seconds[name].append(time.monotonic() - began)
            digests.add(hashlib.sha256(out.read_bytes()).hexdigest())
            print(f"{name}: {seconds[name][-1]:.1f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    cluster.shutdown()
    local = statistics.median(seconds["local"])
    for name, taken in seconds.items():
        turns = ", ".join(f"{one / other:.2f}" for one, other in zip(taken, seconds["local"], strict=True))
        print(f"{name}: median {statistics.median(taken):.1f} s, {statistics.median(taken) / local:.2f} × ({turns})")
    print("the same bytes" if len(digests) == 1 else "DIFFERENT BYTES")


if __name__ == "__main__":
    main()
