"""Speed, memory and recall of `datatools curate`, beside datatrove, rensa and a plain datasketch script.

    python -m benchmarks.curate CORPUS --folder SCRATCH [--peers PYTHON] [--planted FOLDER] [--times 1,4,16] [--runs 3]
                                [--beside 4] [--workers 2] [--limit 600]

CORPUS is anything `datatools` reads. Parts, on files in SCRATCH (kept, and used again):

end to end   curate with its default settings on the corpus and on copies of it grown by `benchmarks.planted`: the
             whole, and every step as the run itself timed it
near alone   near duplicates from parquet to the ids that stay, on the same files; and by the peers, on one of them
planted      a corpus with planted duplicates of known Jaccard: every program, what it found and lost; and all of curate

The planted corpus is a subset of CORPUS, or FOLDER with `docs.parquet` (`id`, `text`) and `truth.parquet` (`id_a`,
`id_b`, `jaccard`, `kind`: near, exact; any other kind must stay). PYTHON is the interpreter of an environment with the
peers (pip install datatrove[processing,io] spacy jieba rensa datasketch); one that is not installed or takes longer
than --limit seconds is left out with a line. MB are of UTF-8 text.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.measure import Measured, measure
from benchmarks.planted import Pair, grow, plant, read_planted, score, sections
from datatools.dedupe.minhash import PERMUTATIONS

PEERS = ("rensa", "datasketch", "datatrove")
SCRIPT = str(Path(__file__).with_name("peers.py"))
PLANTED = (12_000, 3_000, 500, 500)  # documents at most, near copies, exact copies, alike in one passage


def main() -> None:
    """Run the benchmark and print its tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--peers", default="", help="python of an environment with the peers")
    parser.add_argument("--planted", type=Path, help="folder with docs.parquet and truth.parquet")
    parser.add_argument("--times", default="1,4,16")
    parser.add_argument("--beside", type=int, default=4, help="which of the files the peers get")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for a run of a peer")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")
    print(f"Python {platform.python_version()}, {PERMUTATIONS} permutations; {_versions(arguments.peers)}")
    files = {times: arguments.folder / f"x{times}.parquet" for times in map(int, arguments.times.split(","))}
    missing = [times for times, file in files.items() if not file.exists()]
    texts = list(sections(arguments.corpus)) if missing or not arguments.planted else []
    for times in missing:
        grow(texts, times, files[times])
    whole = _end_to_end(files, arguments)
    _heading(f"near alone, median of {arguments.runs}")
    near = {
        times: _line(f"near, {times}×", file, [_near("datatools", file, arguments)[0] for _ in range(arguments.runs)])
        for times, file in files.items()
    }
    if arguments.peers:
        _beside(files[arguments.beside], near[arguments.beside], whole[arguments.beside], arguments)
    if arguments.planted:
        file, pairs = arguments.planted / "docs.parquet", read_planted(arguments.planted / "truth.parquet")
    else:
        file = arguments.folder / "planted.parquet"
        table, pairs = plant(texts, *PLANTED)
        pq.write_table(table, file)
    _planted(file, pairs, arguments)


def _versions(peers: str) -> str:
    if not peers:
        return "no peers (--peers PYTHON)"
    code = (
        "import importlib.metadata as m\n"
        f"for n in {PEERS!r}:\n try: print(n, m.version(n))\n except m.PackageNotFoundError: print(n, 'not there')"
    )
    return ", ".join(
        subprocess.run([peers, "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
    )


def _heading(name: str) -> None:
    print(f"\n| {name} | MB | MB/s | wall s | CPU s | CPU ms/MB | peak MB |\n|---|---|---|---|---|---|---|")


def _line(name: str, file: Path, runs: list[Measured]) -> float:
    """Print the medians of some runs; returns MB a second."""
    size = _megabytes(file)
    wall, cpu = (statistics.median(values) for values in zip(*((run.wall, run.cpu) for run in runs), strict=True))
    peak = max(run.peak for run in runs)
    print(
        f"| {name} | {size:.1f} | {size / wall:.2f} | {wall:.1f} | {cpu:.1f} | {1000 * cpu / size:.0f} |"
        f" {peak / 1e6:.0f} |",
        flush=True,
    )
    return float(size / wall)


def _megabytes(file: Path) -> float:
    with pq.ParquetFile(file) as parquet:
        batches = parquet.iter_batches(columns=["text"])
        return float(sum(pc.sum(pc.binary_length(batch["text"])).as_py() or 0 for batch in batches)) / 1e6


def _end_to_end(files: dict[int, Path], arguments: argparse.Namespace) -> dict[int, float]:
    """All of curate on every file; returns MB a second."""
    steps: dict[int, dict[str, tuple[float, float]]] = {}
    speed: dict[int, float] = {}
    _heading(f"end to end, median of {arguments.runs}")
    for times, file in files.items():
        found = [_curate(file, arguments) for _ in range(arguments.runs)]
        speed[times] = _line(f"curate, {times}×", file, [run for run, _ in found])
        steps[times] = _medians([funnel for _, funnel in found])
    print(f"\n| step | {' | '.join(f'{times}×: s | MB/s' for times in steps)} |\n|{'---|' * (1 + 2 * len(steps))}")
    for step in next(iter(steps.values())):
        cells = [
            f"{seconds:.2f} | {size / max(seconds, 1e-3):,.0f}" for seconds, size in (s[step] for s in steps.values())
        ]
        print(f"| {step} | {' | '.join(cells)} |")
    return speed


def _beside(file: Path, near: float, whole: float, arguments: argparse.Namespace) -> None:
    """The peers on a file of which it is known how fast datatools is, near alone and all of curate (MB/s)."""
    _heading(f"near alone by peers, {arguments.beside}×, one run")
    for name in PEERS:
        try:
            run, _ = _near(name, file, arguments)
        except (RuntimeError, TimeoutError) as error:
            print(f"| {name} | left out: {str(error).strip().splitlines()[-1]} |")
            continue
        speed = _line(name, file, [run])
        print(f"| | datatools: near alone {near / speed:.1f} ×, all of curate {whole / speed:.1f} × as fast |")


def _curate(file: Path, arguments: argparse.Namespace) -> tuple[Measured, list[list[object]]]:
    """One run, and its funnel: step, rows in, rows out, bytes in, seconds."""
    out = arguments.folder / "curated.parquet"
    command = [sys.executable, "-m", "datatools", "curate", str(file), "--out", str(out), "--fresh", "--quiet"]
    found = measure([*command, "--workers", str(arguments.workers)])
    return found, json.loads(out.with_suffix(".work").joinpath("report.json").read_text(encoding="utf-8"))["funnel"]


def _medians(funnels: list[list[list[object]]]) -> dict[str, tuple[float, float]]:
    """Seconds, and MB that went in, of every step."""
    steps: dict[str, tuple[float, float]] = {}
    for rows in zip(*funnels, strict=True):
        seconds = statistics.median(float(str(row[4])) for row in rows)
        steps[str(rows[0][0])] = seconds, float(str(rows[0][3])) / 1e6
    return steps


def _near(name: str, file: Path, arguments: argparse.Namespace) -> tuple[Measured, set[str]]:
    kept = arguments.folder / f"kept-{name}.txt"
    command = [sys.executable, "-m", "benchmarks.peers"] if name == "datatools" else [arguments.peers, SCRIPT]
    limit = None if name == "datatools" else arguments.limit
    result = measure([*command, name, str(file), str(kept), str(arguments.workers)], limit)
    return result, set(kept.read_text(encoding="utf-8").splitlines())


def _planted(file: Path, pairs: list[Pair], arguments: argparse.Namespace) -> None:
    """Every program on a file with planted duplicates: speed, then what it found."""
    documents = set(pq.read_table(file, columns=["id"])["id"].to_pylist())
    speed: dict[str, float] = {}
    found: dict[str, set[str]] = {}
    _heading(f"planted, {len(documents):,} documents")
    for name in ("datatools", *(PEERS if arguments.peers else ())):
        try:
            runs = [_near(name, file, arguments) for _ in range(arguments.runs if name == "datatools" else 1)]
        except (RuntimeError, TimeoutError) as error:
            print(f"| {name} | left out: {str(error).strip().splitlines()[-1]} |")
            continue
        speed[name], found[name] = _line(f"{name}, near alone", file, [run for run, _ in runs]), runs[-1][1]
    whole = _line("datatools, all of curate", file, [_curate(file, arguments)[0] for _ in range(arguments.runs)])
    for name in list(speed)[1:]:
        near = f"{speed['datatools'] / speed[name]:.1f} × as fast in near alone"
        print(f"\nBeside {name}, datatools is {near}, and all of curate {whole / speed[name]:.1f} × as fast.", end="")
    print()
    _recall(pairs, documents, found)


def _recall(pairs: list[Pair], documents: set[str], found: dict[str, set[str]]) -> None:
    scores = {name: score(pairs, documents, kept) for name, kept in found.items()}
    columns = list(next(iter(scores.values())))
    print(f"\n| recall | {' | '.join(columns[:-1])} | removed though unlike |\n|{'---|' * (len(columns) + 1)}")
    for name, values in scores.items():
        cells = [f"{values[column]:.3f}" for column in columns[:-1]]
        print(f"| {name} | {' | '.join(cells)} | {values['false']} |")


if __name__ == "__main__":
    main()
