"""The terms of docs/scale.md, measured: bytes, CPU time and peak memory of each stage of `curate` on a cluster.

    python -m benchmarks.scale FOLDER --scratch SCRATCH [--times 1,4,16] [--edges 100000]

FOLDER holds x1.parquet, x4.parquet, … as `python -m benchmarks.planted CORPUS OUT --times N` makes them; three
documents of ten get a near copy here. The tasks are those of `--engine ray`, one after another in this process, so that
what each takes can be told: its CPU time, and by how much memory grows while it runs. Components are measured on graphs
that are made up here, of --edges edges and 4 and 16 times as many: in one task, and in partitions by rounds of stars.

A term is what one unit of it takes, times how many units there are. Bytes are derived in docs/scale.md. Time is a line
through the sizes, milliseconds that a stage takes in any case and µs a unit more; the table says how far the farthest
size is off. What is more than 20 % off is marked with `!`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datatools.dedupe import spread_near
from datatools.dedupe.spread import Corpus, Stage, run_stage
from datatools.engine import ray as on_ray
from datatools.engine import task
from datatools.engine.choice import Engine
from datatools.engine.parts import Parts
from datatools.engine.units import Unit
from datatools.engine.work import Work, open_work
from datatools.io.atomic import part_writer
from datatools.report.progress import Progress
from pipelines.curate import curate
from pipelines.curate_settings import CurateSettings

TERABYTE = 1e12  # bytes of text
CPU_HOUR = 3600e6  # µs
COPIED = 10, 3  # of so many documents, so many get a near copy


@dataclass(frozen=True)
class Term:
    """What one unit takes in one stage: bytes are derived, None where they depend on the text.

    Time goes by other units where `by` names them: by two where a task does two things.
    """

    stage: str
    unit: str
    derived: float | None
    by: tuple[str, ...] = ()


# A number that grows by little from one to the next takes 4 of its 8 bytes when packed, one that stays none.
PACKED = 4
# In the order they run. Units: see `counts`.
TERMS = [
    Term("measured documents", "byte of text", None),
    Term("paragraphs", "paragraph", 8 + PACKED / 2),
    Term("exact: map", "document, twice", 16 + PACKED),
    Term("exact: reduce", "document, twice", 0),
    Term("paragraphs: map", "paragraph", 8),
    Term("paragraphs: reduce", "paragraph", 0),
    Term("near: bands", "entry", 8),
    Term("near: buckets", "pair found", 8, by=("entry", "pair found")),  # entries are sorted, then pairs are
    Term("near: pairs", "pair and half a candidate", 8, by=("pair found", "candidate")),
    Term("near: sets", "shingle", 8),
    Term("near: edges", "edge", 8 + 8, by=("pair",)),
    Term("one task", "edge", 8 + 8),
    Term("near: drops", "edge", 8 + 8),
]
GRAPH = [
    Term("one task", "edge", 8 + 8),
    Term("links", "edge", 8 + 8 + 2 * 8),
    Term("stars", "link a round", 8 + 2 * 8),
    Term("labels", "edge", 8 + 8),
    Term("drops", "node that goes", 8 + 8),
]
NAMES = {
    r"^[0-9a-f]{32}$": "measured documents",
    r"-stripped-": "stripped documents",
    r"^exact-.*-map-": "exact: map",
    r"^exact-": "exact: reduce",
    r"^paragraphs-.*-map-": "paragraphs: map",
    r"^paragraphs-": "paragraphs: reduce",
    r"-stars-": "stars",
    r"^near-.*-components-": "one task",
    r"^near-.*-(\w+)-": "",
}


@dataclass
class Meter:
    """What the tasks of each stage took."""

    tasks: Counter[str] = field(default_factory=Counter)
    cpu: Counter[str] = field(default_factory=Counter)  # µs
    peak: Counter[str] = field(default_factory=Counter)  # bytes, the largest of any task
    bytes: Counter[str] = field(default_factory=Counter)
    tally: dict[str, Counter[str]] = field(default_factory=dict)

    def run(
        self, function: Any, unit: Unit, settings: Any, work: Work, schemas: Mapping[str, pa.Schema]
    ) -> Counter[str]:
        """`run_unit`, measured."""
        stage = stage_of(unit.key)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before, began = _status("VmRSS"), time.process_time_ns()
        tally = RUN_UNIT(function, unit, settings, work, schemas)
        self.cpu[stage] += (time.process_time_ns() - began) / 1e3
        self.peak[stage] = max(self.peak[stage], _status("VmHWM") - before)
        self.tasks[stage] += 1
        self.tally.setdefault(stage, Counter()).update(tally)
        for stream in (*(f"{stream}.arrow" for stream in schemas), "sets.bin"):
            if (path := work.parts / f"{unit.key}.{stream}").exists():
                self.bytes["paragraphs" if stream == "paragraphs.arrow" else stage] += path.stat().st_size
        if "paragraphs" in schemas:
            self.tally[stage]["paragraphs"] += len(Parts(work, [unit.key], "paragraphs"))
        return tally


RUN_UNIT = task.run_unit


def stage_of(key: str) -> str:
    """The stage that a unit's key names."""
    for pattern, name in NAMES.items():
        if found := re.search(pattern, key):
            return name or f"near: {found[1]}"
    raise ValueError(key)


def _status(name: str) -> int:
    """Bytes of a line of this process' /proc status."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def measured(run: Callable[[], None]) -> Meter:
    """Run with all tasks of a cluster in this process, metered."""
    meter = Meter()

    def run_here(function: Any, todo: Any, settings: Any, work: Work, schemas: Any, memory: int = 0) -> Iterator[Any]:
        for unit in todo:
            yield unit, meter.run(function, unit, settings, Work(work.path), schemas)

    task.run_unit, on_ray.run_on_ray, given = meter.run, run_here, on_ray.run_on_ray
    try:
        run()
    finally:
        task.run_unit, on_ray.run_on_ray = RUN_UNIT, given
    return meter


def with_copies(corpus: Path, out: Path) -> Path:
    """The corpus, and near copies of three of ten documents at its end: one character in the middle is another."""
    every, chosen = COPIED
    with pq.ParquetFile(corpus) as source, pq.ParquetWriter(out, source.schema_arrow) as writer:
        for copies in (False, True):
            for batch in source.iter_batches():
                rows = pa.Table.from_batches([batch])
                if copies:
                    rows = rows.take(pa.array(np.flatnonzero(np.arange(len(rows)) % every < chosen)))
                    texts = [
                        f"{text[: len(text) // 2]}〇{text[len(text) // 2 + 1 :]}" for text in rows["text"].to_pylist()
                    ]
                    place = rows.schema.get_field_index("text")
                    rows = rows.set_column(place, rows.schema.field("text"), pa.array(texts, pa.string()))
                writer.write_table(rows)
    return out


def curated(corpus: Path, scratch: Path) -> Meter:
    """All of curate on a corpus, with its default settings."""
    out = scratch / "scale.parquet"

    def go() -> None:
        curate([str(corpus)], out, CurateSettings(), Progress(quiet=True), engine=Engine("ray"), fresh=True)

    meter = measured(go)
    shutil.rmtree(out.with_suffix(".work"))
    return meter


def counts(meter: Meter) -> dict[str, float]:
    """How many of each unit there were."""
    tally = meter.tally
    return {
        "document": tally["measured documents"]["rows_read"],
        "byte of text": tally["measured documents"]["bytes"],
        "paragraph": tally["measured documents"]["paragraphs"],
        "document, twice": tally["exact: map"]["records"],
        "entry": tally["near: bands"]["records"],
        "pair found": tally["near: buckets"]["pairs"],  # once in each partition
        "pair": tally["near: pairs"]["pairs"],
        "pair and half a candidate": tally["near: pairs"]["pairs"] + tally["near: sets"]["documents"] / 2,
        "candidate": tally["near: sets"]["documents"],
        "shingle": tally["near: sets"]["hashes"],
        "edge": tally["near: edges"]["edges"],
    }


def simulated(edges: int, scratch: Path, partitions: bool) -> Meter:
    """Components of made-up edges: clusters of near duplicates whose sizes follow a power law."""
    draw = np.random.default_rng(edges)
    sizes = np.minimum(1 + draw.zipf(2.0, edges // 2), 1000)
    sizes = sizes[: np.searchsorted(np.cumsum((sizes - 1) * 2), edges) + 1]
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(len(cluster)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rank = draw.permutation(len(cluster)).astype(np.uint64) * np.uint64(2**32 // len(cluster))  # as many bytes as ever
    later = np.flatnonzero(place > 0)
    one = np.tile(later, 2)
    two = one - 1 - draw.integers(0, np.minimum(place[one], 8))  # a document and one of those next to it
    pairs = np.unique(np.maximum(rank[one], rank[two]) << np.uint64(32) | np.minimum(rank[one], rank[two]))
    run = {"command": "scale", "settings": {}, "inputs": {}}
    out = scratch / "graph.parquet"

    def go() -> None:
        with open_work(out, run, engine=Engine("ray"), fresh=True) as work:
            keys = []
            for number, part in enumerate(np.array_split(pairs, 16)):
                keys.append(f"given-{number:05d}")
                with part_writer(work.part(keys[-1], "edges"), spread_near.EDGES) as writer:
                    writer.write(pa.table([part, 0.8 + draw.random(len(part)) / 5], schema=spread_near.EDGES))
                work.finish(keys[-1], {"edges": len(part)})
            corpus = Corpus(str(work.path), (), np.zeros(0, np.int64), np.zeros(0, np.int64))
            plan = spread_near._Plan(spread_near.Near(), len(rank), 16)
            stage = spread_near._by_component("near-0", Stage("given", corpus, 16, tuple(keys), plan), work)
            schema = {"drops": spread_near.EDGES}
            run_stage(spread_near.elected, stage.partitions, stage, work, schema)

    most = spread_near.MOST_EDGES
    spread_near.MOST_EDGES = 0 if partitions else most
    try:
        meter = measured(go)
    finally:
        spread_near.MOST_EDGES = most
    shutil.rmtree(out.with_suffix(".work"))
    return meter


def main() -> None:
    """Run the sizes and print the tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--times", default="1,4,16")
    parser.add_argument("--edges", type=int, default=100_000)
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    times = [*map(int, arguments.times.split(","))]
    runs = {}
    for number in [times[0], *times]:  # the first once more: its first run loads and compiles
        corpus = with_copies(arguments.folder / f"x{number}.parquet", arguments.scratch / "copies.parquet")
        runs[f"{number}×"] = curated(corpus, arguments.scratch)
    heads = [*runs]
    found = [counts(meter) for meter in runs.values()]
    print(f"| what there is | {' | '.join(heads)} |\n|{'---|' * (1 + len(heads))}")
    for name in found[0]:
        print(f"| {name} | {' | '.join(f'{count[name]:,.0f}' for count in found)} |")
    table(TERMS, heads, [*runs.values()], found)
    extrapolated([*runs.values()][-1], found[-1])
    simulate([arguments.edges * n for n in (1, 4, 16)], arguments.scratch)


def table(terms: list[Term], heads: list[str], meters: list[Meter], found: list[dict[str, float]]) -> None:
    """A line a term: bytes a unit at each size, CPU time a stage and a unit, and the peak of a task at each size."""
    print(
        f"\n| stage | unit | bytes derived | {' | '.join(heads)} | off | ms | µs a unit | off | MB, the largest task |"
    )
    print("|" + "---|" * (8 + len(heads)))
    for term in terms:
        units = [count[term.unit] for count in found]
        sizes = [meter.bytes[term.stage] / max(1, count) for meter, count in zip(meters, units, strict=True)]
        aim = sizes[-1] if term.derived is None else term.derived
        derived = "" if term.derived is None else f"{term.derived:g}"
        by = term.by or (term.unit,)
        timed = [[count[unit] for count in found] for unit in by]
        fixed, each, far = line(timed, [float(meter.cpu[term.stage]) for meter in meters])
        terms_of = ", ".join(f"{one:.3g}{f' a {unit}' * bool(term.by)}" for one, unit in zip(each, by, strict=True))
        spent = f"{fixed / 1e3:.0f} | {terms_of} | {far}" if far else "| | "
        peak = ", ".join(f"{max(0, meter.peak[term.stage]) / 1e6:.0f}" for meter in meters)
        measured_bytes = " | ".join(f"{size:.3g}" for size in sizes)
        print(f"| {term.stage} | {term.unit} | {derived} | {measured_bytes} | {off(sizes, aim)} | {spent} | {peak} |")


def line(units: list[list[float]], spent: list[float]) -> tuple[float, list[float], str]:
    """(fixed, a unit of each kind) by the least squares of relative distances, and the largest of these.

    Nothing is fixed where there are two kinds; what would come out as less than nothing is nothing.
    """
    if not any(spent):
        return 0.0, [0.0] * len(units), ""
    kinds = np.array([[1.0] * len(spent), *units] if len(units) == 1 else units)
    scaled = (kinds / np.maximum(1, spent)).T
    used = list(range(len(kinds)))
    while True:
        found = np.linalg.lstsq(scaled[:, used], np.ones(len(spent)), rcond=None)[0]
        if (found >= 0).all():
            break
        del used[int(found.argmin())]
    each = np.zeros(len(kinds))
    each[used] = found
    far = off([float(took / guess) for took, guess in zip(spent, each @ kinds, strict=True)], 1)
    return (float(each[0]), [float(each[1])], far) if len(units) == 1 else (0.0, each.tolist(), far)


def off(values: list[float], aim: float) -> str:
    """How far the farthest is from what it should be."""
    if not aim:
        return ""
    worst = max((value / aim - 1 for value in values), key=abs)
    return f"{worst:+.0%}{' !' if abs(worst) > 0.2 else ''}"


def extrapolated(meter: Meter, found: dict[str, float]) -> None:
    """Bytes and CPU hours at 1 TB and 100 TB, by the largest measurement."""
    print("\n| stage | GB at 1 TB | CPU h at 1 TB | GB at 100 TB | CPU h at 100 TB |\n|---|---|---|---|---|")
    grows = TERABYTE / found["byte of text"]
    whole: Counter[str] = Counter()
    for term in TERMS:
        size, hours = meter.bytes[term.stage] * grows / 1e9, meter.cpu[term.stage] * grows / CPU_HOUR
        whole.update({"size": size, "hours": hours})
        print(f"| {term.stage} | {size:,.1f} | {hours:,.2f} | {100 * size:,.0f} | {100 * hours:,.0f} |")
    size, hours = whole["size"], whole["hours"]
    print(f"| all | {size:,.0f} | {hours:,.0f} | {100 * size:,.0f} | {100 * hours:,.0f} |")


def simulate(sizes: list[int], scratch: Path) -> None:
    """The same table for components of made-up graphs."""
    meters, found, rounds = [], [], []
    for size in (sizes[0], *sizes):
        one, many = simulated(size, scratch, False), simulated(size, scratch, True)
        both = Meter()
        for meter in (one, many):
            for stage in meter.tasks:
                name = stage.removeprefix("near: ")
                both.bytes[name], both.cpu[name], both.peak[name] = (
                    values[stage] for values in (meter.bytes, meter.cpu, meter.peak)
                )
        meters.append(both)
        rounds.append(many.tasks["stars"] // 2 // many.tasks["near: labels"])
        tally = many.tally
        found.append(
            {
                "edge": float(one.tally["one task"]["edges"]),
                "link a round": tally["stars"]["edges"] / 2,
                "node that goes": tally["near: drops"]["drops"],
            }
        )
    meters, found, rounds = meters[1:], found[1:], rounds[1:]
    table(GRAPH, [f"{count['edge']:,.0f} edges" for count in found], meters, found)
    peaks = [f"{m.peak['one task'] / c['edge']:.0f}" for m, c in zip(meters, found, strict=True)]
    print(f"\nrounds of stars: {rounds}; bytes of memory an edge in one task: {', '.join(peaks)}")


if __name__ == "__main__":
    main()
