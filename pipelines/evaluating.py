"""What every evaluation that asks models does around its calls: work folder, dry run, calls, output, scores."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from datatools.llm.runner import Runner
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.ask_dry_run import Foreseen, estimated
from pipelines.ask_items import Made, ask_several, work_of, write_output
from pipelines.ask_run import AskRun
from pipelines.asking import Model

T = TypeVar("T")
UNREADABLE = frozenset(("truncated", "empty", "content_filter"))  # failures that are the model's: it answered nothing
SELF = "{} judges and is judged: models like their own style; --judge NAME of another takes that away"


def evaluated(
    summary: Summary,
    items: Callable[[], Iterable[T]],
    work: Callable[[Sequence[Runner], T], Awaitable[Made]],
    foreseen: Callable[[T], Foreseen | None],
    models: Sequence[Model],
    description: Mapping[str, Any],
    out: Path,
    schema: pa.Schema,
    run: AskRun,
    progress: Progress,
    score: Callable[[list[dict[str, Any]]], tuple[dict[str, Any], list[str]]],
    *,
    columns: Sequence[str] | None = None,
    total: int | None = None,
) -> Summary:
    """Ask about the items, write their rows to `out`, and fill the summary with what `score` says of `columns`."""
    began = time.monotonic()
    with work_of(out, description, run) as place:
        if run.estimates:
            estimated(items, work, foreseen, models, run, out, summary, progress)
            return summary
        summary.work = str(place.path)
        ask_several(items(), work, models, run, place, schema, summary, progress, total)
        write_output(place, out, schema, summary)
    rows = pq.read_table(out, columns=list(columns) if columns else None).to_pylist()
    summary.scores, notes = score(rows)
    summary.notes += notes
    summary.seconds = round(time.monotonic() - began, 3)
    return summary
