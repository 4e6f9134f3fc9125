"""What a job did: one JSON object, or one screen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from unicodedata import east_asian_width

from datatools.report.progress import on_one_line

PROBLEMS_SHOWN = 10


@dataclass
class Summary:
    """The result of a job, as `--json` prints it (field names are a contract with scripts)."""

    command: str
    inputs: list[str]
    rows_read: int = 0  # documents or input rows
    rows_written: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # rule → rows
    failed: dict[str, int] = field(default_factory=dict)  # class → rows or files
    requests: dict[str, int] = field(default_factory=lambda: {"sent": 0, "cached": 0, "retried": 0})
    requests_total: dict[str, int] = field(default_factory=lambda: {"sent": 0, "retried": 0})
    tokens: dict[str, int] = field(default_factory=lambda: {"prompt": 0, "completion": 0})
    cost: float | None = 0.0  # null where the model's price is not known
    saved: dict[str, float | None] | None = None  # calls, tokens and cost that were not needed; null where nothing was
    seconds: float = 0.0
    output: str | None = None
    trace: str | None = None
    failed_rows: str | None = None
    work: str | None = None
    error: str | None = None
    dry_run: dict[str, Any] | None = None  # what a dry run found; not part of the JSON of a real one
    estimate: list[str] = field(default_factory=list)  # the same in lines; not part of the JSON
    unit: str = "documents"  # what was read, in words; not part of the JSON
    crawl: dict[str, Any] | None = None  # what a crawl asked for and got; in the JSON only then
    flags: dict[str, int] | None = None  # flag → rows, where a job says so; in the JSON only then
    scores: dict[str, Any] | None = None  # what an evaluation found; in the JSON only then
    notes: list[str] = field(default_factory=list)  # lines of the screen below the figures; not part of the JSON
    problems: list[str] = field(default_factory=list)  # a line each for what could not be read; not part of the JSON

    @property
    def exit_code(self) -> int:
        """0, or 3 when a file or a row failed."""
        return 3 if self.failed else 0

    def to_json(self) -> str:
        """One JSON object; `error`, `flags`, `saved`, `scores`, `crawl` and `dry_run` only where there are any."""
        values = asdict(self)
        del values["problems"], values["estimate"], values["notes"], values["unit"]
        for name in ("error", "flags", "saved", "scores", "dry_run", "crawl"):
            if values[name] is None:
                del values[name]
        return json.dumps(values, ensure_ascii=False)

    def to_text(self) -> str:
        """One screen for a person."""
        if self.dry_run is not None:
            sent = f"{self.requests['sent']:,} requests sent, " if self.requests["sent"] else "nothing sent, "
            asks = "" if self.command == "train" else sent  # rows are trained on, no one is asked
            head = f"{self.command}: dry run, {self.rows_read:,} {self.unit}, {asks}in {self.seconds:.1f} s"
            return "\n".join([head, *self.estimate])
        lines = [
            f"{self.command}: {self.rows_written:,} rows from {self.rows_read:,} {self.unit} in {self.seconds:.1f} s"
        ]
        if self.output:
            lines.append(f"  output   {self.output}")
        if self.dropped:
            lines.append(f"  dropped  {_counts(self.dropped)}{_see(self.trace)}")
        if self.failed:
            lines.append(f"  failed   {_counts(self.failed)}{_see(self.failed_rows or self.trace)}")
        lines += [f"           {on_one_line(problem)}" for problem in self.problems[:PROBLEMS_SHOWN]]
        if len(self.problems) > PROBLEMS_SHOWN:
            lines.append(f"           and {len(self.problems) - PROBLEMS_SHOWN} more")
        if self.requests["sent"] or self.requests["cached"]:
            requests, tokens = self.requests, self.tokens
            lines.append(
                f"  requests {requests['sent']:,} sent, {requests['cached']:,} from the journal, "
                f"{requests['retried']:,} retried; {tokens['prompt']:,} + {tokens['completion']:,} tokens"
                + ("" if self.cost is None else f", cost {self.cost:,.4f}")
            )
        if self.saved:
            lines.append(f"  saved    {_spared(self.saved)}")
        return "\n".join([*lines, *self.notes])


def _spared(saved: Mapping[str, float | None]) -> str:
    """What was spared, and what finding that out took."""
    shown = {name: number for name, number in saved.items() if number is not None}
    spared = [f"{number:,} {name}" for name, number in shown.items() if not name.startswith("judge_")]
    judging = [f"{number:,} {name[6:]}" for name, number in shown.items() if name.startswith("judge_")]
    return f"{', '.join(spared)}; judging took {', '.join(judging)}"


def padded(text: str, width: int) -> str:
    """`text` filled up with spaces to so many columns of a terminal, where Chinese characters take two.

    >>> padded("甘草", 6) + "|"
    '甘草  |'
    """
    return text + " " * (width - sum(2 if east_asian_width(sign) in "WF" else 1 for sign in text))


def _see(path: str | None) -> str:
    return f"   ({path})" if path else ""


def _counts(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
