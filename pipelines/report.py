"""Report: what a job did, as one HTML page to read, keep and pass on."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from datatools.engine.work import brought
from datatools.io import storage
from datatools.io.atomic import atomic_path
from datatools.report.collect import collect, files_of
from datatools.report.evaluation import evaluation_tables, is_evaluation
from datatools.report.page import page
from datatools.report.summary import Summary
from pipelines.rewritten import rewritten

IN_TABLES = ("source", "flags")  # columns of an evaluation that its own tables count


@dataclass
class ReportSummary(Summary):
    """A summary whose one line speaks of a page instead of rows."""

    def to_text(self) -> str:
        """One line for a person."""
        left_out = f", {sum(self.dropped.values()):,} left out" if self.dropped else ""
        return f"report: {self.rows_read:,} rows{left_out} → {self.output} in {self.seconds:.1f} s"


def report(path: Path, out: Path, *beside: Path) -> Summary:
    """Write a page about the job that left `path` (its `X.parquet` or `X.work`) to `out`.

    `beside` are further evaluations, which stand beside the first.

    Of the summary, `rows_read` are the rows of the job's output and `dropped` what its trace says.
    Raises ValueError for a file that is none of a job, or an `out` that would overwrite something else.
    """
    began = time.monotonic()
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out {out}: must end in .html")
    if out.is_dir():
        raise ValueError(f"--out {out}: is a folder, a file is needed")
    paths = tuple(map(brought, (path, *beside)))
    path = paths[0]
    if len(paths) > 1 and not all(is_evaluation(one) for one in paths):
        wrong = next(one for one in paths if not is_evaluation(one))
        raise ValueError(f"{wrong}: is no evaluation; only those stand side by side on a page")
    facts = collect(path, *rewritten(files_of(path)[3]))
    if is_evaluation(path):
        tables, bars = evaluation_tables(paths)
        facts = replace(facts, name=" beside ".join(one.name for one in paths), tables=tables, bars=bars, samples=())
        facts = replace(facts, counts={k: v for k, v in facts.counts.items() if k not in IN_TABLES})
        if beside:
            told = f"Rows, tokens, settings and inputs are those of {path.name}; the scores are of all."
            facts = replace(facts, notes=(*facts.notes, told))
    text = page(facts)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    summary = ReportSummary("report", [storage.shown(one) for one in paths], rows_read=facts.rows or 0, output=str(out))
    for reason in facts.reasons:
        summary.dropped[reason.rule] = summary.dropped.get(reason.rule, 0) + reason.count
    _, trace, failed, work = files_of(path)
    summary.trace, summary.failed_rows, summary.work = (
        storage.shown(f) if f.exists() else None for f in (trace, failed, work)
    )
    summary.seconds = round(time.monotonic() - began, 3)
    return summary
