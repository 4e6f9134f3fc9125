"""Prefer: conversations become preference pairs, a good answer beside a worse one.

Without a model the worse answer is a corruption of the good one (`--negatives rules`): another dose, another drug of
the same class, a prohibition turned, the warnings left out. What was done stands in `flags`.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from datatools.corrupt.corrupt import Corruption, corruptions
from datatools.engine.choice import LOCAL, Engine
from datatools.engine.local import get_ready, run_units
from datatools.engine.parts import Parts
from datatools.engine.units import Unit, identity, plan
from datatools.engine.work import Work, open_work
from datatools.io.atomic import parquet_writer
from datatools.io.source import Source
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.inputs import companions, sized_parts
from schemas.conversation import CONVERSATION
from schemas.fields import check
from schemas.records import PREFERENCE, UNPAIRED
from schemas.trace import TRACE

VERSION = 1
FORMATS = ("dpo", "rm", "kto")
LEAST_RATIO, MOST_RATIO = 0.67, 1.5  # of the lengths, rejected to chosen, so that length is not what is learned
BATCH = 1000
STREAMS = {"pairs": PREFERENCE, "trace": TRACE}


@dataclass(frozen=True)
class PreferSettings:
    """What shapes the pairs. Defaults are the command line's."""

    negatives: str = "rules"
    format: str = "dpo"
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"--format {self.format}: must be one of {', '.join(FORMATS)}")
        if self.negatives != "rules":
            raise ValueError(f"--negatives {self.negatives}: must be rules")


def prefer(
    file: Path,
    out: Path,
    settings: PreferSettings,
    progress: Progress,
    *,
    engine: Engine = LOCAL,
    fresh: bool = False,
) -> Summary:
    """Write preference pairs made of the conversations in `file` to `out`; raises ValueError for what cannot work."""
    began = time.monotonic()
    _check_input(file, out)
    source, name = Source(str(file), file.name, "parquet"), identity(str(file))
    # How many rows a range may still read depends on those before it: with a limit there is one.
    parts = sized_parts([source]) if settings.limit is None else [(source, 0)]
    get_ready([__name__], parts, engine)
    description = {"command": "prefer", "settings": asdict(settings), "inputs": {file.name: name}}
    summary = Summary("prefer", [str(file)])
    with open_work(out, description, fresh=fresh, engine=engine) as work:
        units = plan(parts, {str(file): name}, f"prefer@{VERSION} {settings}")
        progress.say(f"prefer: {len(units)} units, {engine} → {out}")
        tally: Counter[str] = Counter()
        with progress.bar("corrupting", len(units)) as bar:
            for _, counted in run_units(prefer_unit, units, settings, work, STREAMS):
                tally.update(counted)
                bar.advance()
        summary.rows_read, summary.work = tally["rows_read"], str(work.path)
        _write(work, [unit.key for unit in units], settings, out, summary)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def _check_input(file: Path, out: Path) -> None:
    if not file.is_file():
        raise ValueError(f"{file}: no such file")
    if out.resolve() == file.resolve():
        raise ValueError(f"--out {out}: is the file to be read")
    try:
        check(pq.read_schema(file), CONVERSATION, file)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{file}: {str(error).splitlines()[0]}") from error


def prefer_unit(unit: Unit, settings: PreferSettings, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """Preference pairs of some row groups, and trace rows of what gave none."""
    for source in unit.sources:
        with pq.ParquetFile(source.path) as file:
            groups = range(file.num_row_groups)[source.start : None if source.stop < 0 else source.stop]
            for batch in file.iter_batches(BATCH, row_groups=list(groups)):
                left = None if settings.limit is None else settings.limit - tally["rows_read"]
                rows = batch.slice(0, left).to_pylist()
                tally["rows_read"] += len(rows)
                made = [_made(row, settings.seed) for row in rows]
                for stream, schema in STREAMS.items():
                    yield stream, pa.Table.from_pylist([row for name, row in made if name == stream], schema=schema)


def _made(row: dict[str, Any], seed: int) -> tuple[str, dict[str, Any]]:
    """The pair made of a conversation, or the trace row that says why there is none; and for which stream."""
    messages = row["messages"] or []
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        return "trace", _dropped(row, "no_answer", "")
    answer = messages[-1]["content"]
    if row["flags"]:  # what breaks a check may be rejected, never chosen
        return "trace", _dropped(row, "chosen_flagged", ", ".join(row["flags"]))
    question = "\n".join(message["content"] for message in messages[:-1])
    ratio = None
    for worse in corruptions(question, answer, _draw(row["id"], seed)):
        ratio = len(worse.answer) / len(answer)
        if LEAST_RATIO <= ratio <= MOST_RATIO:
            return "pairs", _pair(row, messages[:-1], answer, worse)
    if ratio is None:
        return "trace", _dropped(row, "no_occasion", answer)
    threshold = LEAST_RATIO if ratio < LEAST_RATIO else MOST_RATIO
    return "trace", {**_dropped(row, "length_ratio", answer), "value": ratio, "threshold": threshold}


def _draw(id: str, seed: int) -> Random:
    return Random(xxhash.xxh3_64_intdigest(id.encode(), seed))


def _pair(row: dict[str, Any], prompt: list[dict[str, str]], answer: str, worse: Corruption) -> dict[str, Any]:
    chosen, rejected = ([{"role": "assistant", "content": text}] for text in (answer, worse.answer))
    content = json.dumps([prompt, chosen, rejected], ensure_ascii=False)
    return {
        "id": xxhash.xxh3_128_hexdigest(content.encode()),
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        "chosen_score": 1.0,
        "rejected_score": 0.0,
        "judge": "rules",
        "flags": [f"corruption:{worse.kind}"],
        "source_id": row["source_id"] or row["id"],
        "source": row["source"],
        "generator": row["generator"],
    }


def _dropped(row: dict[str, Any], rule: str, excerpt: str) -> dict[str, Any]:
    return {"id": row["id"], "source": row["source"], "step": "prefer", "rule": rule, "excerpt": excerpt[:200]}


def _write(work: Work, keys: list[str], settings: PreferSettings, out: Path, summary: Summary) -> None:
    trace_path, _ = companions(out)
    dropped: Counter[str] = Counter()
    with parquet_writer(trace_path, TRACE) as trace:
        for _, table in Parts(work, keys, "trace").batches():
            trace.write(table)
            dropped.update(table["rule"].to_pylist())
    with parquet_writer(out, UNPAIRED if settings.format == "kto" else PREFERENCE) as writer:
        for _, table in Parts(work, keys, "pairs").batches():
            writer.write(_unpaired(table) if settings.format == "kto" else table)
    summary.rows_written, summary.dropped = writer.written, dict(sorted(dropped.items()))
    summary.output, summary.trace = str(out), str(trace_path) if trace.written else None
    if not trace.written:
        trace_path.unlink()


def _unpaired(pairs: pa.Table) -> pa.Table:
    """Each pair as two rows, as KTO reads them: the good reply and the bad one."""
    rows = [
        {**row, "id": f"{row['id']}-{side}", "completion": row[side], "label": side == "chosen"}
        for row in pairs.to_pylist()
        for side in ("chosen", "rejected")
    ]
    return pa.Table.from_pylist(rows, schema=UNPAIRED)
