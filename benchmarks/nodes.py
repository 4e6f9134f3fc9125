"""Calls a second and CPU a call: one runner in the driver beside one runner a node, on three Ray nodes of this machine.

    python -m benchmarks.nodes [--requests 6000] [--in-flight 256] [--latency 0.2]

A loopback server in a process of its own answers after `--latency` seconds. On one machine all share its cores, so
calls a second say what a cluster costs; what it gains is in the CPU of the driver, which does not grow with nodes.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from benchmarks.runner import served
from datatools.engine.choice import Engine
from datatools.llm.endpoint import Endpoint
from datatools.llm.journal_nodes import open_journal
from datatools.llm.request import Request
from datatools.llm.runner import run_ordered
from pipelines.ask_run import AskRun
from pipelines.asking import Model, team
from tests.cluster import three_nodes

WARM = 200  # requests before the clock runs


def cpu() -> Counter[str]:
    """Seconds that this process, the nodes' runners and the owner of the limits have taken."""
    taken: Counter[str] = Counter()
    for process in psutil.process_iter(["cmdline", "pid"]):
        name = " ".join(process.info["cmdline"] or ())
        kind = next((kind for kind in ("NodeRunner", "Owner") if f"ray::{kind}" in name), "")
        if process.info["pid"] == psutil.Process().pid:
            kind = "driver"
        if kind:
            times = process.cpu_times()
            taken[kind] += times.user + times.system
    return taken


async def asked(url: str, folder: Path, run: AskRun, requests: int) -> tuple[float, Counter[str]]:
    """Wall seconds and CPU seconds of `requests` calls."""
    model = Model(lambda: Endpoint(url, "m"), "m", url, None)
    wanted = [
        Request([{"role": "user", "content": f"第{number}问：{'病' * 300}"}]) for number in range(WARM + requests)
    ]
    with open_journal(folder / "journal.sqlite") as journal:
        async with team([model], journal, run, lambda line: None) as found:
            runner, workers = found.runners[0], 2 * (run.concurrency or 1)

            async def all_of(some: list[Request]) -> None:
                async for _ in run_ordered(some, runner.ask, workers=workers, window=4 * workers):
                    pass

            await all_of(wanted[:WARM])
            before, began = cpu(), time.monotonic()
            await all_of(wanted[WARM:])
            return time.monotonic() - began, cpu() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=6000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds")
    given = parser.parse_args()
    print("| runners | calls a second | CPU ms a call: driver | runners | owner |\n|---|---|---|---|---|")
    with three_nodes(), served(given.latency) as url:
        for name, engine in (("one in the driver", Engine()), ("three nodes", Engine("ray"))) * 2:
            with tempfile.TemporaryDirectory() as folder:
                run = AskRun(concurrency=given.in_flight, engine=engine)
                wall, taken = asyncio.run(asked(url, Path(folder), run, given.requests))
            each = [f"{taken[kind] / given.requests * 1000:.2f}" for kind in ("driver", "NodeRunner", "Owner")]
            print(f"| {name} | {given.requests / wall:,.0f} | {' | '.join(each)} |", flush=True)


if __name__ == "__main__":
    main()
