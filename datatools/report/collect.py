"""From the files of a job to its facts: which files belong to it, and what each of them is asked.

The output and its trace are tables and are scanned, never loaded; the work folder says in `manifest.jsonl` and
`report.json` what the tables cannot. What makes no sense in a report becomes a note, not an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from datatools.report.examples import (
    LONGEST_TEXT,
    TWINS,
    clusters_of,
    reasons_of,
    rewrites_of,
    samples_of,
    with_twins,
)
from datatools.report.facts import Cluster, Counts, Facts, Reason, Step, Twin
from datatools.report.figures import (
    checks_of,
    column_counts,
    column_lengths,
    encodings_of,
    order_of,
    rows_of,
    tokens_of,
    top,
)
from schemas.fields import check, name_of
from schemas.trace import FAILED, TRACE


def collect(path: Path, examples: Sequence[Mapping[str, str]] = (), note: str = "") -> Facts:
    """The facts of a finished job from its output `X.parquet` or its work folder `X.work`.

    `examples` of rewritten texts (`step, rule, before, after`) and a `note` are added to what is found there.
    An unfinished job (a work folder without output) gives what is known so far. Raises ValueError, naming the file,
    when there is nothing or it cannot be read.
    """
    out = _output(path)
    try:
        return _Collector(out, [note] if note else []).facts(examples)
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{out}: cannot be read ({reason})") from error


def files_of(path: Path) -> tuple[Path, Path, Path, Path]:
    """Output, trace, failed rows and work folder of the job that `path` (its output or work folder) belongs to.

    >>> [file.name for file in files_of(Path("sft.work"))]
    ['sft.parquet', 'sft.trace.parquet', 'sft.failed.parquet', 'sft.work']
    """
    out = path.with_suffix(".parquet")
    return out, out.with_suffix(".trace.parquet"), out.with_suffix(".failed.parquet"), out.with_suffix(".work")


def _output(path: Path) -> Path:
    if path.suffix not in (".parquet", ".work"):
        raise ValueError(f"{path}: must be the X.parquet a job wrote, or its X.work folder")
    for ending in (".trace.parquet", ".failed.parquet"):
        if path.name.endswith(ending):
            whole = path.with_name(path.name.removesuffix(ending) + ".parquet")
            raise ValueError(f"{path}: is what {whole.name} left out; ask for {whole} instead")
    if not path.exists():
        raise ValueError(f"{path}: no such file")
    return files_of(path)[0]


STRIPPED = "-stripped-"  # in the key of a unit without its boilerplate, behind the key of the unit
# Counts as the report names them, and as `report.json` does.
_COUNTED = (
    *(("languages_read", "languages"), ("pii", "pii"), ("encodings", "encodings")),
    *(("entities", "entities"), ("covered", "covered"), ("verdicts", "verdicts")),
    *(("entity_rows", "entity_rows"), ("rows_by_entity", "rows_by_entity"), ("claims", "claims")),
)


class _Collector:
    """Reads the files of one job, one after another."""

    def __init__(self, out: Path, notes: list[str]) -> None:
        self.out, trace, failed, self.work = files_of(out)
        self.notes = notes
        self.schema: pa.Schema | None = pq.read_schema(out) if out.is_file() else None
        self.rows = int(pq.read_metadata(out).num_rows) if self.schema is not None else None
        self.table = pl.scan_parquet(out, glob=False) if self.schema is not None else None
        self.trace = _scan(trace, TRACE)
        self.failed = _scan(failed, FAILED)
        self.run, self.tally, self.keys = self._manifest()
        self.extra = self._report()

    def facts(self, examples: Sequence[Mapping[str, str]]) -> Facts:
        """Everything the page shows of a run, with these examples."""
        passages = self._parts("passages")
        reasons = reasons_of(self.trace, "rule", "excerpt")
        given = tuple(self._given_clusters())
        clusters, count, similarities = clusters_of(given, self.trace, passages, self._parts("pairs"), self.table)
        filled = self.table if self.rows else None
        samples = samples_of(filled, self.rows) if filled is not None and self.rows else []
        funnel = self._funnel(reasons, passages)
        if self.rows is None:
            self.notes.append("The job has not finished: there is no output yet, and figures are those so far.")
        elif funnel and funnel[-1].rows_out != self.rows:
            self.notes.append(f"The funnel ends with {funnel[-1].rows_out:,} rows, the file holds {self.rows:,}.")
        stat = self.out.stat() if self.table is not None else None
        return Facts(
            name=self.out.name,
            command=str(self.extra.get("command") or self.run.get("command") or ""),
            record=name_of(self.schema) if self.schema is not None else "",
            written_at=f"{datetime.fromtimestamp(stat.st_mtime, UTC):%Y-%m-%d %H:%M} UTC" if stat else "",
            rows=self.rows,
            bytes=stat.st_size if stat else None,
            inputs=tuple(str(name) for name in self._value("inputs", (Mapping, list))),
            settings=dict(self._value("settings", Mapping)),
            funnel=funnel,
            reasons=with_twins(reasons, passages, self.table),
            failed=reasons_of(self.failed, "class", "message"),
            rewrites=rewrites_of([*self._value("examples", list), *examples], samples, passages),
            clusters=clusters,
            cluster_count=count,
            similarities=similarities,
            lengths=column_lengths(filled) if filled is not None else {},
            counts=self._counts(passages) | (column_counts(filled) if filled is not None else {}),
            checks=checks_of(self.table) if self.table is not None else (),
            tokens=tokens_of(self.table) if self.table is not None else None,
            samples=tuple(sample for sample, _ in samples),
            order=order_of(filled, self.rows) if filled is not None and self.rows else (),
            notes=tuple(self.notes),
        )

    def _manifest(self) -> tuple[dict[str, Any], dict[str, int], list[str]]:
        """The run, the sum of the tallies, and the keys of finished units, of what the manifest says so far."""
        run: dict[str, Any] = {}
        tally: dict[str, int] = {}
        units: dict[str, dict[str, int]] = {}
        path = self.work / "manifest.jsonl"
        for line in path.read_bytes().splitlines() if path.is_file() else ():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the last line of a killed run
            if entry.get("record") == "run":
                run = entry
            elif entry.get("record") == "unit":
                units[entry["key"]] = entry["tally"]
        for counted in units.values():
            for name, count in counted.items():
                tally[name] = tally.get(name, 0) + count
        return run, tally, list(units)

    def _report(self) -> dict[str, Any]:
        path = self.work / "report.json"
        if not path.is_file():
            return {}
        try:
            found = json.loads(path.read_bytes())
        except ValueError as error:
            self.notes.append(f"{path.name} is no JSON ({error}): what it would say is missing here.")
            return {}
        return found if isinstance(found, dict) else {}

    def _value(self, name: str, kind: Any) -> Any:
        """What report.json or else the manifest says; empty when it is of another type than it should be."""
        for source in (self.extra, self.run):
            if isinstance(value := source.get(name), kind):
                return value
            if value is not None:
                self.notes.append(f"report.json: {name!r} is not of the type it should be and was left out.")
        return {} if kind is Mapping else []

    def _parts(self, stream: str) -> pl.LazyFrame | None:
        # Where boilerplate was taken out a unit's documents stand there twice, with it and without.
        before = {key.split(STRIPPED)[0] for key in self.keys if STRIPPED in key} if stream == "documents" else set()
        paths = [self.work / "parts" / f"{key}.{stream}.arrow" for key in self.keys if key not in before]
        found = [path for path in paths if path.is_file()]
        return pl.scan_ipc(found, glob=False) if found else None

    def _funnel(self, reasons: Sequence[Reason], passages: pl.LazyFrame | None) -> tuple[Step, ...]:
        if given := tuple(self._steps(self._value("funnel", list))):
            unread = sum(reason.count for reason in reasons if reason.step == "read")
            read = given[0].rows_in
            # Rows without text and files that could not be read never became documents.
            return (Step("read", read + unread, read, unread), *given) if unread else given
        if self.run.get("command") == "unify" and passages is not None:
            documents = self._parts("documents")
            curated = (rows_of(documents), self.tally.get("kept", 0)) if documents is not None else None
            steps = _unify_funnel(
                reasons, self.rows, len(self.run["inputs"]), self.tally.get("rows_read", 0), rows_of(passages), curated
            )
            pairs = steps[-2]
            twice = pairs.dropped - max(0, pairs.rows_in - pairs.rows_out)
            if self.rows and twice > 0 and self._value("settings", Mapping).get("pairs_per_passage") == 1:
                self.notes.append(
                    f"{twice:,} passages stand in the trace twice, as no_question and as duplicate_passage."
                )
            return steps
        return ()

    def _steps(self, given: Iterable[Any]) -> Iterable[Step]:
        for number, entry in enumerate(given, 1):
            try:
                name, rows_in, rows_out, size, seconds = [*entry, None, None][:5]
                rows_in, rows_out = int(rows_in), int(rows_out)
                size, seconds = (None if size is None else int(size)), (None if seconds is None else float(seconds))
                units = ("entries", "documents") if rows_out > rows_in else ("documents", "")
                yield Step(
                    str(name), rows_in, rows_out, max(0, rows_in - rows_out), *units, bytes=size, seconds=seconds
                )
            except (TypeError, ValueError):
                self.notes.append(f"report.json: step {number} of the funnel is not [step, in, out, bytes, seconds].")

    def _counts(self, passages: pl.LazyFrame | None) -> dict[str, Counts]:
        """Of what was read: the output no longer tells."""
        counts: dict[str, Counts] = {}
        for name, key in _COUNTED:
            given = [(str(label), int(count)) for label, count in self._value(key, Mapping).items()]
            if given:
                counts[name] = top(pl.DataFrame(given, schema={"value": pl.String, "len": pl.Int64}, orient="row"))
        if "encodings" not in counts and passages is not None:
            counts["encodings"] = encodings_of(passages)
        return counts

    def _given_clusters(self) -> Iterable[Cluster]:
        for entry in self._value("clusters", list):
            try:
                kept, members = entry["kept"], entry["dropped"]
                twins = [
                    Twin(str(twin.get("id", "")), str(twin["text"])[:LONGEST_TEXT], _number(twin.get("similarity")))
                    for twin in members[:TWINS]
                ]
                text = str(kept["text"])[:LONGEST_TEXT]
                size = max(len(members), int(entry.get("size", 0)))
                yield Cluster(str(kept.get("id", "")), text, size, tuple(twins), str(entry.get("rule", "")))
            except (KeyError, TypeError, AttributeError, ValueError):
                self.notes.append(
                    "report.json: a cluster is not {kept: {id, text}, dropped: [{id, text, similarity}]}."
                )


def _scan(path: Path, schema: pa.Schema) -> pl.LazyFrame | None:
    if not path.is_file():
        return None
    check(pq.read_schema(path), schema, path)
    return pl.scan_parquet(path, glob=False)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


BEFORE_PAIRS = ("read", "rules", "exact", "near", "passages", "dedupe")


def _unify_funnel(
    reasons: Sequence[Reason],
    written: int | None,
    files: int,
    documents: int,
    passages: int,
    curated: tuple[int, int] | None,
) -> tuple[Step, ...]:
    """Unify's steps: what a step let through is what came in less what the trace says it dropped.

    `curated` are the entries that were measured, and how many of them were kept.
    """
    steps: dict[str, int] = {}
    rules: dict[str, int] = {}
    for reason in reasons:
        steps[reason.step] = steps.get(reason.step, 0) + reason.count
        rules[reason.rule] = rules.get(reason.rule, 0) + reason.count
    short, asked = steps.get("passages", 0), rules.get("duplicate_question", 0)
    unequal = passages - rules.get("duplicate_passage", 0)
    read = [Step("read", files, documents, steps.get("read", 0), "documents", "files")]
    leaks = 0
    if curated is not None:
        read.append(Step("cut into entries", documents, curated[0], 0, "documents"))
        leaks = curated[0] - curated[1] - sum(steps.get(name, 0) for name in ("rules", "exact", "near"))
        documents = curated[0]
        for name, dropped in (*((name, steps.get(name, 0)) for name in ("rules", "exact", "near")), ("leaks", leaks)):
            if dropped or name != "leaks":
                read.append(Step(name, documents, documents - dropped, dropped, "documents"))
            documents -= dropped
    cut = Step("cut into passages", documents, passages + short, 0, "passages", "documents")
    long = Step("long enough", passages + short, passages, short, "passages")
    if written is None:
        return (*read, cut, long)
    missing = sum(count for step, count in steps.items() if step not in BEFORE_PAIRS) - leaks
    return (
        *read,
        cut,
        long,
        Step("equal passages out", passages, unequal, passages - unequal, "passages"),
        Step("questions and answers", unequal, written + asked, missing, "pairs", "passages"),
        Step("equal questions out", written + asked, written, asked, "pairs"),
    )
