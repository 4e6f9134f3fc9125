"""The terms of docs/scale.md, measured: bytes that each stage of `curate --engine ray` leaves at 1×, 4×, 16×.

    python -m benchmarks.scale FOLDER --scratch SCRATCH [--times 1,4,16]

FOLDER holds x1.parquet, x4.parquet, … as `python -m benchmarks.planted CORPUS OUT --times N` makes them. Each is
curated on a Ray cluster that is started here, and the files in its work folder are added up by stage. Linear:
bytes for each document (of a pair, for what only pairs need). A term that is not within 20 % of itself at the smallest
size is marked; the last column is the largest measurement times 1 TB over its own text.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

STAGES = {
    "measured documents": r"^[0-9a-f]{32}\.documents",
    "paragraphs": r"^[0-9a-f]{32}\.paragraphs",
    "exact records": r"^exact-.*-map-",
    "paragraph records": r"^paragraphs-.*-map-",
    "band entries": r"^near-.*-bands-",
    "pairs": r"^near-.*-(buckets|pairs)-.*\.pairs",
    "shingle sets": r"^near-.*-sets-.*\.bin",
    "edges": r"^near-.*-(edges|components|drops)-",
}
TERABYTE = 1e12


@dataclass(frozen=True)
class Run:
    """One size: what went in, and what every stage left."""

    documents: int
    text: float
    seconds: float
    bytes: Counter[str]
    files: int
    manifest: int


def main() -> None:
    """Run the sizes and print one table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--times", default="1,4,16")
    arguments = parser.parse_args()
    runs = {
        times: _run(arguments.folder / f"x{times}.parquet", arguments.scratch) for times in arguments.times.split(",")
    }
    print(f"| bytes a document | {' | '.join(f'{times}×' for times in runs)} | off | at 1 TB, GB |")
    print("|---" * (len(runs) + 3) + "|")
    *_, last = runs.values()
    for stage in STAGES:
        per = [run.bytes[stage] / run.documents for run in runs.values()]
        off = max(abs(value / per[0] - 1) for value in per) if per[0] else 0.0
        at = last.bytes[stage] * TERABYTE / last.text / 1e9
        mark = " !" if off > 0.2 else ""
        print(f"| {stage} | {' | '.join(f'{value:.1f}' for value in per)} | {off:.0%}{mark} | {at:,.0f} |")
    for times, run in runs.items():
        print(
            f"{times}×: {run.documents:,} documents, {run.text / 1e6:.0f} MB of text, {run.seconds:.1f} s, "
            f"{run.files:,} files in parts, {run.manifest:,} lines of manifest"
        )


def _run(corpus: Path, scratch: Path) -> Run:
    out = scratch / f"{corpus.stem}.parquet"
    scratch.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    command = [sys.executable, "-m", "datatools", "curate", str(corpus), "--out", str(out), "--fresh", "--quiet"]
    subprocess.run([*command, "--engine", "ray", "--ray-address", "local"], check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    found: Counter[str] = Counter()
    files = list(out.with_suffix(".work").joinpath("parts").iterdir())
    for file in files:
        for stage, pattern in STAGES.items():
            if re.match(pattern, file.name):
                found[stage] += file.stat().st_size
    with pq.ParquetFile(corpus) as parquet:
        text = sum(
            pc.sum(pc.binary_length(batch["text"])).as_py() or 0 for batch in parquet.iter_batches(columns=["text"])
        )
        documents = parquet.metadata.num_rows
    lines = out.with_suffix(".work").joinpath("manifest.jsonl").read_bytes().count(b"\n")
    return Run(documents, float(text), seconds, found, len(files), lines)


if __name__ == "__main__":
    main()
