"""The part of prefer that needs no model: the worse answer is a corruption of the good one, named in `flags`.

Another dose, another drug of the same class, a prohibition turned, the warnings left out, and with a graph a formula
that treats something else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import xxhash

from datatools.corrupt.corrupt import Corrupt, Corruption, corruptions
from datatools.corrupt.formulas import Formulas
from datatools.engine.choice import Engine
from datatools.engine.local import get_ready, run_units
from datatools.engine.parts import Parts
from datatools.engine.units import Unit, identity, plan
from datatools.engine.work import Work, open_work
from datatools.io.atomic import parquet_writer
from datatools.io.source import Fault, Note, Source
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.ask_run import RULES
from pipelines.check import CheckSettings, digest, names_and_facts
from pipelines.conversations import conversations
from pipelines.inputs import FAULT_CLASSES, companions, nothing_readable, sized_parts
from pipelines.leaks import digest_of, exam_index, opened, without_leaks
from pipelines.prefer_pairs import Candidate, pair_row, unpaired, within
from pipelines.prefer_settings import LEAST_RATIO, MOST_RATIO, PreferSettings
from schemas.records import PREFERENCE, UNPAIRED
from schemas.trace import TRACE

VERSION = 2
BATCH = 1000
STREAMS = {"pairs": PREFERENCE, "trace": TRACE}


def description(
    sources: Sequence[Source], settings: PreferSettings, knowing: CheckSettings, **more: Any
) -> dict[str, Any]:
    """What a rerun must share. An endpoint may move, its replies stay."""
    models = {"models": [name for name, _ in settings.places()], "base_url": None, "judge_base_url": None}
    return {
        "command": "prefer",
        "settings": {**asdict(settings), **models, "digest": digest(knowing), "version": VERSION, **more},
        "exams": digest_of(settings.decontaminate),
        "inputs": {source.name: identity(source.path) for source in sources},
    }


def schema_of(settings: PreferSettings) -> pa.Schema:
    """Of the output."""
    return UNPAIRED if settings.format == "kto" else PREFERENCE


def corrupted(
    file: str,
    sources: list[Source],
    faults: Sequence[Fault],
    out: Path,
    settings: PreferSettings,
    knowing: CheckSettings,
    fresh: bool,
    progress: Progress,
    engine: Engine,
) -> Summary:
    """Write pairs of good answers and their corruptions to `out`; returns what was done. Raises ValueError."""
    # How many rows a range may still read depends on those before it: with a limit there is one.
    parts = sized_parts(sources) if settings.limit is None else [(source, 0) for source in sources]
    get_ready([__name__], parts, engine)
    summary = Summary("prefer", [file], unit="conversations")
    identities = {source.path: identity(source.path) for source in sources}
    with open_work(out, description(sources, settings, knowing), fresh=fresh, engine=engine) as work:
        exams = exam_index(settings.decontaminate, work.path, progress)
        more_kinds(knowing)  # says what is wrong with a graph before anything is begun
        units = plan(parts, identities, f"prefer@{VERSION} {settings} {digest(knowing)}")
        progress.say(f"prefer: {len(units)} units, {engine} → {out}")
        tally: Counter[str] = Counter()
        with progress.bar("corrupting", len(units)) as bar:
            for _, counted in run_units(prefer_unit, units, settings, work, STREAMS):
                tally.update(counted)
                bar.advance()
        keys = [unit.key for unit in units]
        if not tally["rows_read"]:
            raise ValueError(nothing_readable([file], faults, work, keys))
        summary.rows_read, summary.work = tally["rows_read"], str(work.path)
        _write(work, keys, faults, settings, out, summary, exams)
    return summary


def more_kinds(knowing: CheckSettings) -> dict[str, Corrupt]:
    """The corruptions that a graph allows. Raises ValueError, naming file and line of a broken one."""
    lexicon, facts = names_and_facts(knowing)
    return {"formula": Formulas(facts, lexicon).other} if facts else {}


def prefer_unit(unit: Unit, settings: PreferSettings, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """Preference pairs of some sources, and trace rows of what gave none. `tally` counts `rows_read`."""
    more = more_kinds(CheckSettings(lexicon=settings.lexicon, graph=settings.graph))
    rows: dict[str, list[dict[str, Any]]] = {stream: [] for stream in STREAMS}
    for item in (item for source in unit.sources for item in conversations(source)):
        if isinstance(item, Note):
            continue
        if isinstance(item, Fault):
            rows["trace"].append(_fault(item))
            continue
        if settings.limit is not None and tally["rows_read"] == settings.limit:
            break
        tally["rows_read"] += 1
        stream, row = _made(item, settings.seed, more)
        rows[stream].append(row)
        if tally["rows_read"] % BATCH == 0:
            yield from _flushed(rows)
    yield from _flushed(rows)


def _flushed(rows: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[str, pa.Table]]:
    for stream, waiting in rows.items():
        yield stream, pa.Table.from_pylist(waiting, schema=STREAMS[stream])
        waiting.clear()


def _made(row: dict[str, Any], seed: int, more: Mapping[str, Corrupt]) -> tuple[str, dict[str, Any]]:
    """The pair made of a conversation, or the trace row that says why there is none; and for which stream."""
    messages = row["messages"] or []
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        return "trace", _dropped(row, "no_answer", "")
    answer = messages[-1]["content"]
    if row["flags"]:  # what breaks a check may be rejected, never chosen
        return "trace", _dropped(row, "chosen_flagged", ", ".join(row["flags"]))
    question = "\n".join(message["content"] for message in messages[:-1])
    ratio = None
    for worse in corruptions(question, answer, _draw(row["id"], seed), more):
        ratio = len(worse.answer) / len(answer)
        if within(answer, worse.answer):
            return "pairs", _pair(row, messages[:-1], answer, worse)
    if ratio is None:
        return "trace", _dropped(row, "no_occasion", answer)
    threshold = LEAST_RATIO if ratio < LEAST_RATIO else MOST_RATIO
    return "trace", {**_dropped(row, "length_ratio", answer), "value": ratio, "threshold": threshold}


def _draw(id: str, seed: int) -> Random:
    return Random(xxhash.xxh3_64_intdigest(id.encode(), seed))


def _pair(row: dict[str, Any], prompt: list[dict[str, str]], answer: str, worse: Corruption) -> dict[str, Any]:
    return pair_row(
        row,
        prompt,
        Candidate(answer, row["generator"]),
        Candidate(worse.answer, RULES),
        chosen_score=1.0,
        rejected_score=0.0,
        judge=RULES,
        rubric="",
        reasons=[],
        candidates=[],
        flags=[f"corruption:{worse.kind}"],
        usage=None,
    )


def _dropped(row: dict[str, Any], rule: str, excerpt: str) -> dict[str, Any]:
    return {"id": row["id"], "source": row["source"], "step": "prefer", "rule": rule, "excerpt": excerpt[:200]}


def _fault(fault: Fault) -> dict[str, Any]:
    return {"id": "", "source": fault.source, "step": "read", "rule": fault.rule, "excerpt": fault.message[:200]}


def _write(
    work: Work,
    keys: list[str],
    faults: Sequence[Fault],
    settings: PreferSettings,
    out: Path,
    summary: Summary,
    exams: Path | None,
) -> None:
    trace_path, _ = companions(out)
    index = opened(exams)
    with parquet_writer(trace_path, TRACE) as trace, parquet_writer(out, schema_of(settings)) as writer:
        tables = [pa.Table.from_pylist([_fault(fault) for fault in faults], schema=TRACE)]
        for table in (*tables, *(table for _, table in Parts(work, keys, "trace").batches())):
            trace.write(table)
            for row in table.select(["rule", "source", "excerpt"]).to_pylist():
                counts = summary.failed if row["rule"] in FAULT_CLASSES else summary.dropped
                name = FAULT_CLASSES.get(row["rule"], row["rule"])
                counts[name] = counts.get(name, 0) + 1
                if row["rule"] in FAULT_CLASSES:
                    summary.problems.append(f"{row['source']}: {row['excerpt']}")
        for _, table in Parts(work, keys, "pairs").batches():
            table, leaked = without_leaks(table, index)
            writer.write(unpaired(table) if settings.format == "kto" else table)
            for row in leaked:
                summary.dropped[row["rule"]] = summary.dropped.get(row["rule"], 0) + 1
            trace.write(pa.Table.from_pylist(leaked, schema=TRACE))
    summary.rows_written, summary.dropped = writer.written, dict(sorted(summary.dropped.items()))
    summary.output, summary.trace = str(out), str(trace_path) if trace.written else None
    if not trace.written:
        trace_path.unlink()
