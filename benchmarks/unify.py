"""Throughput and memory of `datatools unify` with the built-in generator.

    python -m benchmarks.unify CORPUS [--runs 5] [--workers 2]

Prints one line a run and the median: MB of input a second (wall time of the whole command), CPU seconds, peak PSS.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Measured, measure, size_of


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    megabytes = size_of(arguments.corpus) / 1e6
    runs = [_run(arguments.corpus, arguments.workers) for _ in range(arguments.runs)]
    for run in runs:
        rate, peak = megabytes / run.wall, run.peak / 1e6
        print(f"{rate:6.2f} MB/s  {run.wall:6.1f} s wall  {run.cpu:6.1f} s CPU  {peak:7.0f} MB")
    wall = statistics.median(run.wall for run in runs)
    peak = max(run.peak for run in runs)
    print(f"median {megabytes / wall:.2f} MB/s of {megabytes:.1f} MB input, peak {peak / 1e6:.0f} MB PSS")


def _run(corpus: Path, workers: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder, "sft.parquet"))
        command = [sys.executable, "-m", "datatools", "unify", str(corpus), "--out", out, "--quiet"]
        return measure([*command, "--workers", str(workers)])


if __name__ == "__main__":
    main()
