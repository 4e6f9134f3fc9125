"""What a job left in its files, as figures and a few examples: all the report page says, nothing of how it looks.

Files are scanned lazily and streamed; what is kept are counts, and examples spread evenly over the rows they stand for,
so that the same files always give the same facts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.conversation import CHECKS
from schemas.fields import check, name_of
from schemas.trace import FAILED, TRACE

EXAMPLES = 5  # of a reason, a rewriting rule, and the output
TOP = 20  # values of a column that are named; the rest is counted together
LONGEST_TEXT = 20_000  # characters of one text that are read for an example
CLUSTERS, TWINS = 8, 3  # clusters shown per rule, and members of one
# The columns worth counting, of all record types.
COUNTED = ("language", "source_type", "generator", "task", "prompt", "judge", "license", "exam", "relation", "source")
_PLAIN_TEXT = ("title", "text", "head", "relation", "tail", "question", "explanation", "diagnosis")
_MESSAGES = ("messages", "prompt", "chosen", "rejected")


@dataclass(frozen=True)
class Step:
    """One step of the funnel; `rows_out` are `unit`, made of so many `from_unit` (empty: of the same)."""

    name: str
    rows_in: int
    rows_out: int
    dropped: int
    unit: str = "documents"
    from_unit: str = ""
    bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Example:
    """One row of a trace or of failed rows."""

    id: str
    source: str
    excerpt: str
    value: float | None = None
    threshold: float | None = None
    twin_id: str = ""
    similarity: float | None = None


@dataclass(frozen=True)
class Reason:
    """Why `count` rows are missing; `low` and `high` are the extremes of the measured value."""

    step: str
    rule: str
    count: int
    examples: tuple[Example, ...] = ()
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Rewrite:
    """A text before and after a step changed it."""

    step: str
    rule: str
    before: str
    after: str


@dataclass(frozen=True)
class Twin:
    """A dropped member of a cluster; `cut` when only its beginning is known."""

    id: str
    text: str
    similarity: float | None = None
    cut: bool = False


@dataclass(frozen=True)
class Cluster:
    """A text that was kept and `size` that were dropped for being like it, some of them in `dropped`."""

    id: str
    text: str | None
    size: int
    dropped: tuple[Twin, ...]
    rule: str = ""


@dataclass(frozen=True)
class Counts:
    """The most frequent values of something; `others` rows hold one of the remaining `distinct - len(top)` values."""

    top: tuple[tuple[str, int], ...]
    others: int = 0
    distinct: int = 0

    @property
    def total(self) -> int:
        """Rows counted."""
        return sum(count for _, count in self.top) + self.others


@dataclass(frozen=True)
class Lengths:
    """How many texts have how many characters: pairs of length and count, shortest first."""

    counts: tuple[tuple[int, int], ...]

    def quantile(self, share: float) -> int:
        """The length that `share` of the texts do not exceed."""
        left = share * sum(count for _, count in self.counts)
        for length, count in self.counts:
            left -= count
            if left <= 0:
                return length
        return self.counts[-1][0]


@dataclass(frozen=True)
class Check:
    """A value measured on conversations without a model: over `rows` rows, `above` of them above zero."""

    name: str
    meaning: str
    rows: int
    low: float
    mean: float
    high: float
    above: int


@dataclass(frozen=True)
class Sample:
    """A row of the output: its texts with their roles, and where it came from."""

    id: str
    source: str
    made_by: str
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Facts:
    """All of it. What is not known is empty or None; `notes` says what is there but could not be used."""

    name: str
    command: str = ""
    record: str = ""
    written_at: str = ""
    rows: int | None = None
    bytes: int | None = None
    inputs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    funnel: tuple[Step, ...] = ()
    reasons: tuple[Reason, ...] = ()
    failed: tuple[Reason, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    cluster_count: int = 0
    similarities: tuple[tuple[float, int], ...] = ()
    lengths: Mapping[str, Lengths] = field(default_factory=dict)
    counts: Mapping[str, Counts] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    tokens: tuple[int, int] | None = None
    samples: tuple[Sample, ...] = ()
    notes: tuple[str, ...] = ()


def collect(path: Path) -> Facts:
    """The facts of a finished job from its output `X.parquet` or its work folder `X.work`.

    An unfinished job (a work folder without output) gives what is known so far. Raises ValueError, naming the file,
    when there is nothing or it cannot be read.
    """
    out = _output(path)
    try:
        return _Collector(out).facts()
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


class _Collector:
    """Reads the files of one job, one after another."""

    def __init__(self, out: Path) -> None:
        self.out, trace, failed, self.work = files_of(out)
        self.notes: list[str] = []
        self.schema: pa.Schema | None = pq.read_schema(out) if out.is_file() else None
        self.rows = int(pq.read_metadata(out).num_rows) if self.schema is not None else None
        self.table = pl.scan_parquet(out, glob=False) if self.schema is not None else None
        self.trace = _scan(trace, TRACE)
        self.failed = _scan(failed, FAILED)
        self.run, self.tally, self.keys = self._manifest()
        self.extra = self._report()

    def facts(self) -> Facts:
        passages = self._parts("passages")
        reasons = _reasons(self.trace, "rule", "excerpt")
        clusters, cluster_count, similarities = self._clusters(passages)
        samples = self._samples()
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
            reasons=reasons,
            failed=_reasons(self.failed, "class", "message"),
            rewrites=self._rewrites(samples, passages),
            clusters=clusters,
            cluster_count=cluster_count,
            similarities=similarities,
            lengths=self._lengths(),
            counts=self._counts(passages),
            checks=self._checks(),
            tokens=self._tokens(),
            samples=tuple(sample for sample, _ in samples),
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
        paths = [self.work / "parts" / f"{key}.{stream}.arrow" for key in self.keys]
        found = [path for path in paths if path.is_file()]
        return pl.scan_ipc(found, glob=False) if found else None

    def _funnel(self, reasons: Sequence[Reason], passages: pl.LazyFrame | None) -> tuple[Step, ...]:
        if given := self._value("funnel", list):
            return tuple(self._steps(given))
        if self.run.get("command") == "unify" and passages is not None:
            steps = _unify_funnel(
                reasons, self.rows, len(self.run["inputs"]), self.tally.get("rows_read", 0), _rows(passages)
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
                yield Step(str(name), rows_in, rows_out, max(0, rows_in - rows_out), bytes=size, seconds=seconds)
            except (TypeError, ValueError):
                self.notes.append(f"report.json: step {number} of the funnel is not [step, in, out, bytes, seconds].")

    def _counts(self, passages: pl.LazyFrame | None) -> dict[str, Counts]:
        counts: dict[str, Counts] = {}
        for name, key in (("languages_read", "languages"), ("pii", "pii"), ("encodings", "encodings")):
            given = [(str(label), int(count)) for label, count in self._value(key, Mapping).items()]
            if given:
                counts[name] = _top(pl.DataFrame(given, schema={"value": pl.String, "len": pl.Int64}, orient="row"))
        if "encodings" not in counts and passages is not None:
            encoding = pl.col("meta").str.extract('"encoding": "([^"]+)"')
            pairs = passages.select(pl.col("source"), encoding.fill_null("UTF-8, or stated by the format").alias("v"))
            counts["encodings"] = _top(_collected(pairs.unique().group_by(value="v").len()))
        if self.table is None or not self.rows:
            return counts
        types = self.table.collect_schema()
        for name in COUNTED:
            if types.get(name) == pl.String:
                # A crawl has as many sources as pages: its hosts say more.
                host = pl.col(name).str.extract(r"^(https?://[^/?#]+)")
                value = (pl.coalesce(host, pl.col(name)) if name == "source" else pl.col(name)).fill_null("")
                counts[name] = _top(_collected(self.table.group_by(value=value).len()))
        if types.get("flags") == pl.List(pl.String):
            flags = self.table.select(value=pl.col("flags").explode()).drop_nulls()
            if found := _top(_collected(flags.group_by("value").len())).top:
                counts["flags"] = Counts(found)
        return counts

    def _lengths(self) -> dict[str, Lengths]:
        lengths: dict[str, Lengths] = {}
        if self.table is None or not self.rows:
            return lengths
        types = self.table.collect_schema()
        if types.get("text") == pl.String:
            lengths["text"] = _lengths_of(self.table.select(pl.col("text")))["text"]
        for name in _MESSAGES:
            if isinstance(types.get(name), pl.List):
                turns = self.table.select(pl.col(name).explode().alias("turn")).drop_nulls().unnest("turn")
                by_role = _lengths_of(turns.select("role", text="content"))
                lengths |= {role if name == "messages" else f"{name}: {role}": found for role, found in by_role.items()}
        return lengths

    def _checks(self) -> tuple[Check, ...]:
        if self.table is None or not isinstance(self.table.collect_schema().get("checks"), pl.Struct):
            return ()
        meanings = {item.name: (item.metadata or {}).get(b"meaning", b"").decode() for item in CHECKS}
        values = self.table.select(pl.col("checks")).unnest("checks")
        names = [name for name, type_ in values.collect_schema().items() if type_.is_numeric()]
        checks = []
        for name in names:
            value = pl.col(name)
            figures = (value.count(), value.min().alias("low"), value.mean().alias("mean"), value.max().alias("high"))
            row = _collected(values.select(*figures, (value > 0).sum().alias("above"))).row(0)
            if row[0]:
                checks.append(Check(name, meanings.get(name, ""), *row))
        return tuple(checks)

    def _tokens(self) -> tuple[int, int] | None:
        if self.table is None or not isinstance(self.table.collect_schema().get("usage"), pl.Struct):
            return None
        names = ("prompt_tokens", "completion_tokens")
        used = self.table.select(pl.col("usage").struct.field(name).sum() for name in names)
        prompt, completion = _collected(used).row(0)
        return (prompt, completion) if prompt or completion else None

    def _samples(self) -> list[tuple[Sample, str]]:
        """Rows spread evenly over the output, each with the id of what it was made of."""
        if self.table is None or not self.rows:
            return []
        types = self.table.collect_schema()
        names = [name for name in _PLAIN_TEXT if types.get(name) == pl.String]
        names += [name for name in _MESSAGES if isinstance(types.get(name), pl.List)]
        provenance = [name for name in ("id", "source", "source_id", "generator", "prompt") if name in types]
        samples = []
        for number in sorted({place * (self.rows - 1) // (EXAMPLES - 1) for place in range(EXAMPLES)}):
            row = (
                self.table.select(pl.col(dict.fromkeys([*provenance, *names])))
                .slice(number, 1)
                .collect()
                .row(0, named=True)
            )
            made_by = [row[name] for name in ("generator", "prompt") if isinstance(row.get(name), str) and row[name]]
            texts = tuple(pair for name in names for pair in _texts_in(name, row[name]))
            sample = Sample(row.get("id") or "", row.get("source") or "", " · ".join(made_by), texts)
            samples.append((sample, row.get("source_id") or ""))
        return samples

    def _rewrites(self, samples: Sequence[tuple[Sample, str]], passages: pl.LazyFrame | None) -> tuple[Rewrite, ...]:
        """What report.json holds, and for rows a model wrote the passage beside the answer."""
        rewrites: list[Rewrite] = []
        shown: dict[tuple[str, str], int] = {}
        for entry in self._value("examples", list):
            if not isinstance(entry, dict) or not isinstance(entry.get("before"), str):
                continue
            key = str(entry.get("step") or ""), str(entry.get("rule") or "")
            shown[key] = shown.get(key, 0) + 1
            if shown[key] <= EXAMPLES:
                before, after = entry["before"][:LONGEST_TEXT], str(entry.get("after") or "")[:LONGEST_TEXT]
                rewrites.append(Rewrite(*key, before, after))
        written = [(sample, id) for sample, id in samples if not re.match(r"(rules|source)\b|$", sample.made_by)]
        found = _texts([id for _, id in written], _document_texts(passages))
        for sample, id in written:
            answers = [text for role, text in sample.texts if role == "assistant"]
            if id in found and answers:
                rewrites.append(Rewrite("generate", sample.made_by, found[id], answers[-1]))
        return tuple(rewrites)

    def _clusters(
        self, passages: pl.LazyFrame | None
    ) -> tuple[tuple[Cluster, ...], int, tuple[tuple[float, int], ...]]:
        """Clusters to show, how many there are, and how many rows were dropped at which similarity (in twentieths)."""
        given = tuple(self._given_clusters())
        if self.trace is None:
            return given[:CLUSTERS], len(given), ()
        twins = self.trace.filter(pl.col("twin_id").fill_null("") != "")
        by_twin = twins.group_by("rule", "twin_id").agg(pl.len().alias("size"), pl.col("similarity").min().alias("low"))
        groups = _collected(by_twin)
        twentieth = (pl.col("similarity") * 20 + 1e-9).floor().cast(pl.Int64)
        spread = _collected(twins.drop_nulls("similarity").group_by(at=twentieth).len()).sort("at")
        similarities = tuple((at / 20, count) for at, count in spread.rows())
        if given:
            return given[:CLUSTERS], max(len(given), groups.height), similarities
        # The largest, and the least similar: that is where a threshold shows what it does.
        chosen: list[pl.DataFrame] = []
        for rule in sorted(groups["rule"].drop_nulls().unique().to_list()):
            of_rule = groups.filter(pl.col("rule") == rule)
            largest = of_rule.sort("size", "twin_id", descending=[True, False]).head(CLUSTERS // 4)
            rest = of_rule.join(largest, on="twin_id", how="anti").sort("low", "twin_id", nulls_last=True)
            chosen += [largest, rest.head(CLUSTERS // 4)]
        clusters: list[Cluster] = []
        for rule, twin_id, size, _ in pl.concat(chosen).rows() if chosen else ():
            if len(clusters) < 2 * CLUSTERS:
                clusters.append(self._cluster(rule, twin_id, size, twins, passages))
        return tuple(clusters), groups.height, similarities

    def _cluster(
        self, rule: str, twin_id: str, size: int, twins: pl.LazyFrame, passages: pl.LazyFrame | None
    ) -> Cluster:
        members = _collected(
            twins.filter((pl.col("rule") == rule) & (pl.col("twin_id") == twin_id))
            .select("id", "similarity", pl.col("excerpt").fill_null(""))
            .head(TWINS)
        ).rows()
        pairs = [*_message_texts(self._parts("pairs")), *_message_texts(self.table)]
        documents = [*_document_texts(passages), *_document_texts(self.table)]
        tables = [*pairs, *documents] if rule == "duplicate_question" else [*documents, *pairs]
        # Ids that the input brought along may repeat: then only the excerpt tells the twins apart.
        found = _texts([twin_id, *(id for id, _, _ in members if id != twin_id)], tables)
        dropped = tuple(
            Twin(id, found[id], similarity)
            if id in found and id != twin_id
            else Twin(id, excerpt, similarity, cut=len(excerpt) >= 200)
            for id, similarity, excerpt in members
        )
        return Cluster(twin_id, found.get(twin_id), size, dropped, rule)

    def _given_clusters(self) -> Iterable[Cluster]:
        for entry in self._value("clusters", list):
            try:
                kept, members = entry["kept"], entry["dropped"]
                twins = [
                    Twin(str(twin.get("id", "")), str(twin["text"])[:LONGEST_TEXT], _number(twin.get("similarity")))
                    for twin in members[:TWINS]
                ]
                text = str(kept["text"])[:LONGEST_TEXT]
                yield Cluster(str(kept.get("id", "")), text, len(members), tuple(twins), str(entry.get("rule", "")))
            except (KeyError, TypeError, AttributeError, ValueError):
                self.notes.append(
                    "report.json: a cluster is not {kept: {id, text}, dropped: [{id, text, similarity}]}."
                )


def _scan(path: Path, schema: pa.Schema) -> pl.LazyFrame | None:
    if not path.is_file():
        return None
    check(pq.read_schema(path), schema, path)
    return pl.scan_parquet(path, glob=False)


def _collected(table: pl.LazyFrame) -> pl.DataFrame:
    return table.collect(engine="streaming")


def _rows(table: pl.LazyFrame) -> int:
    return int(_collected(table.select(pl.len())).item())


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _top(counted: pl.DataFrame) -> Counts:
    """From columns `value` and `len`; equal counts are ordered by value."""
    ranked = counted.sort("len", "value", descending=[True, False])
    named = ranked.head(TOP)
    others = sum(ranked["len"].to_list()[TOP:])
    return Counts(tuple(named.rows()), others, ranked.height)


def _lengths_of(texts: pl.LazyFrame) -> dict[str, Lengths]:
    """Lengths of the column `text`, apart for each `role` where there is one."""
    if "role" not in texts.collect_schema():
        texts = texts.with_columns(role=pl.lit("text"))
    counted = _collected(
        texts.drop_nulls("text").group_by("role", length=pl.col("text").str.len_chars().cast(pl.Int64)).len()
    )
    roles = counted.drop_nulls("role").sort("role", "length").partition_by("role", as_dict=True)
    return {str(role): Lengths(tuple(rows.select("length", "len").rows())) for (role,), rows in roles.items()}


def _reasons(table: pl.LazyFrame | None, rule: str, excerpt: str) -> tuple[Reason, ...]:
    """Steps and rules of a trace, or steps and classes of failed rows, with examples; most frequent first."""
    if table is None:
        return ()
    measured = "value" in table.collect_schema()
    place = (pl.int_range(0, EXAMPLES) * (pl.len().cast(pl.Int64) - 1) // (EXAMPLES - 1)).unique().sort()
    rows = pl.col("row").sort().gather(place)
    value = pl.col("value") if measured else pl.lit(None, pl.Float64)
    figures = (pl.len().alias("count"), value.min().alias("low"), value.max().alias("high"), rows.alias("rows"))
    numbered = table.with_row_index("row").with_columns(pl.col("step", rule).fill_null(""))
    groups = _collected(numbered.group_by("step", rule).agg(*figures)).sort("count", rule, descending=[True, False])
    names = [name for name in ("value", "threshold", "twin_id", "similarity") if measured]
    wanted = groups["rows"].explode()
    text = pl.col(excerpt).fill_null("").str.slice(0, 1000).alias("excerpt")
    found = _collected(
        numbered.filter(pl.col("row").is_in(wanted.implode()))
        .select("row", pl.col("id", "source").fill_null(""), text, *names)
        .with_columns(pl.col("twin_id").fill_null("") if measured else [])
    )
    examples = {row.pop("row"): Example(**row) for row in found.to_dicts()}
    return tuple(
        Reason(
            group["step"],
            group[rule],
            group["count"],
            tuple(examples[n] for n in group["rows"]),
            group["low"],
            group["high"],
        )
        for group in groups.to_dicts()
    )


def _unify_funnel(
    reasons: Sequence[Reason], written: int | None, files: int, documents: int, passages: int
) -> tuple[Step, ...]:
    """Unify's steps: what a step let through is what came in less what the trace says it dropped."""
    steps: dict[str, int] = {}
    rules: dict[str, int] = {}
    for reason in reasons:
        steps[reason.step] = steps.get(reason.step, 0) + reason.count
        rules[reason.rule] = rules.get(reason.rule, 0) + reason.count
    short, asked = steps.get("passages", 0), rules.get("duplicate_question", 0)
    unequal = passages - rules.get("duplicate_passage", 0)
    read = Step("read", files, documents, steps.get("read", 0), "documents", "files")
    cut = Step("cut into passages", documents, passages + short, 0, "passages", "documents")
    long = Step("long enough", passages + short, passages, short, "passages")
    if written is None:
        return (read, cut, long)
    missing = sum(count for step, count in steps.items() if step not in ("read", "passages", "dedupe"))
    return (
        read,
        cut,
        long,
        Step("equal passages out", passages, unequal, passages - unequal, "passages"),
        Step("questions and answers", unequal, written + asked, missing, "pairs", "passages"),
        Step("equal questions out", written + asked, written, asked, "pairs"),
    )


def _texts_in(name: str, value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, list):
        for turn in value:
            if isinstance(turn, dict) and turn.get("content"):
                role = str(turn.get("role"))
                yield (role if name == "messages" else f"{name}: {role}"), turn["content"][:LONGEST_TEXT]
    elif isinstance(value, str) and value:
        yield name, value[:LONGEST_TEXT]


def _document_texts(table: pl.LazyFrame | None) -> list[pl.LazyFrame]:
    """`id` and `text` of Documents; none where the table holds something else."""
    if table is None or "text" not in table.collect_schema():
        return []
    return [table.select("id", pl.col("text").str.slice(0, LONGEST_TEXT))]


def _message_texts(table: pl.LazyFrame | None) -> list[pl.LazyFrame]:
    """`id` and `text` of Conversations, their turns one after another."""
    if table is None or "messages" not in table.collect_schema():
        return []
    turns = pl.col("messages").list.eval(pl.element().struct.field("content"))
    return [table.select("id", turns.list.join("\n\n").str.slice(0, LONGEST_TEXT).alias("text"))]


def _texts(ids: Iterable[str], tables: Sequence[pl.LazyFrame]) -> dict[str, str]:
    """The texts of `ids`, each from the first table that has it."""
    found: dict[str, str] = {}
    for table in tables:
        if missing := sorted(set(ids) - found.keys()):
            rows = _collected(table.filter(pl.col("id").is_in(missing)).drop_nulls("text"))
            for id, text in rows.rows():
                found.setdefault(id, text)
    return found
