"""How fast requests are sent: share of the ideal time reached and client CPU a request, beside others.

    python -m benchmarks.runner [--peers PEERS/bin/python] [--in-flight 64,256,1024] [--rounds 8] [--runs 3]

Every client asks a loopback server in a process of its own, which answers after `--latency` seconds, `rounds` times as
many requests as may be in flight: ideally that takes rounds × latency. CPU is that of the client's process with all its
threads, from the first request to the last. The runs alternate between the clients, so that what else the machine does
falls on all. `--peers` is an environment with datatrove, aiosqlite and aiofiles; without it the peers are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
LIMIT = 1800.0  # seconds for one run


@contextmanager
def served(latency: float) -> Iterator[str]:
    """The base URL of a server that runs meanwhile."""
    command = [sys.executable, str(HERE / "runner_server.py"), str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        finally:
            server.terminate()


def measured(python: str, client: str, requests: int, in_flight: int, latency: float) -> dict[str, float]:
    """Wall and CPU seconds of one run. Raises RuntimeError with the client's output when it fails."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    with served(latency) as url, tempfile.TemporaryDirectory() as folder:
        command = [python, str(HERE / "runner_clients.py"), client, url, str(requests), str(in_flight), folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{client} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help="Python of an environment with the peers")
    parser.add_argument("--in-flight", default="64,256,1024")
    parser.add_argument("--latency", type=float, default=1.0, help="seconds")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    clients = {"datatools": sys.executable}
    if given.peers:
        clients |= {"openai": sys.executable, "datatrove": given.peers}
    print("| in flight | client | of ideal, each run | median | CPU ms a request, each run | median | load |")
    print("|---|---|---|---|---|---|---|")
    for in_flight in map(int, given.in_flight.split(",")):
        requests, ideal = in_flight * given.rounds, given.rounds * given.latency
        found: dict[str, list[dict[str, float]]] = {client: [] for client in clients}
        for _ in range(given.runs):
            for client, python in clients.items():
                found[client].append(measured(python, client, requests, in_flight, given.latency))
        for client, runs in found.items():
            shares = [ideal / run["wall"] for run in runs]
            each = [run["cpu"] / requests * 1000 for run in runs]
            values = [" ".join(f"{value:.2f}" for value in column) for column in (shares, each)]
            middle = [f"{statistics.median(column):.2f}" for column in (shares, each)]
            load = f"{os.getloadavg()[0]:.1f}"
            print(
                f"| {in_flight} | {client} | {values[0]} | {middle[0]} | {values[1]} | {middle[1]} | {load} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
