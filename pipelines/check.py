"""Check: every check that needs no model, on any file of conversations; values and flags become columns.

read → messages and source → checks → one parquet, row for row, and a table of flags with examples.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from datatools.checks.lexicon import Lexicon, shipped
from datatools.checks.medical import Knowledge, check_conversation
from datatools.engine.local import run_units
from datatools.engine.parts import Parts
from datatools.engine.units import Unit, identity, plan
from datatools.engine.work import Work, open_work
from datatools.graph.facts import Facts, facts_of
from datatools.graph.known import known_of, with_names_of
from datatools.graph.read import read_graph
from datatools.io.atomic import parquet_writer
from datatools.io.files import discover
from datatools.io.source import Fault, Note, Source
from datatools.report.progress import Progress
from datatools.report.summary import Summary, padded
from pipelines.conversations import conversations, is_conversation
from pipelines.inputs import FAULT_CLASSES, companions, nothing_readable, say_notes, sized_parts, sources_of
from schemas.conversation import CHECKED_CONVERSATION, CONVERSATION
from schemas.fields import check as check_schema
from schemas.trace import TRACE

VERSION = 1
NOTES = pa.schema([pa.field("source", pa.string()), pa.field("message", pa.string())])
EXAMPLES = 3
_EXCERPT = 60
_BATCH = 500


@dataclass(frozen=True)
class CheckSettings:
    """What shapes the result. Defaults are the command line's."""

    lexicon: str | None = None
    graph: str | None = None
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"--limit {self.limit}: must be 1 or more")
        for name in ("lexicon", "graph"):
            path = getattr(self, name)
            if path is not None and not Path(path).exists():
                raise ValueError(f"--{name} {path}: no such file")


def check(
    file: str, out: Path, settings: CheckSettings, progress: Progress, *, workers: int = 1, fresh: bool = False
) -> Summary:
    """Check every conversation of `file` and write it with `checks` and `flags` to `out`, in the same order.

    Raises ValueError for input or settings that cannot work.
    """
    began = time.monotonic()
    sources, faults = sources_of([file], out)
    parts = sized_parts(sources)
    identities = {source.path: identity(source.path) for source in sources}
    description = {
        "command": "check",
        "settings": {**asdict(settings), "digest": digest(settings)},
        "inputs": {source.name: identities[source.path] for source in sources},
    }
    schema = _schema(sources)
    with open_work(out, description, fresh=fresh) as work:
        knowledge_of(settings)  # says what is wrong with a lexicon or a graph before anything is begun
        units = plan(parts, identities, f"check@{VERSION} {settings} {digest(settings)}")
        progress.say(f"check: {len(sources)} files, {len(units)} units, {workers} workers → {out}")
        streams = {"rows": schema, "trace": TRACE, "notes": NOTES}
        finished, tally = _run(units, settings, work, streams, workers, progress)
        keys = [unit.key for unit in finished]
        if not tally["rows_read"]:
            raise ValueError(nothing_readable([file], faults, work, keys))
        say_notes(work, keys, progress)
        summary = Summary("check", [file], rows_read=tally["rows_read"], work=str(work.path), unit="conversations")
        _write(work, keys, faults, schema, out, summary)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def _run(
    units: list[Unit],
    settings: CheckSettings,
    work: Work,
    streams: Mapping[str, pa.Schema],
    workers: int,
    progress: Progress,
) -> tuple[list[Unit], Counter[str]]:
    """The units that were run, in input order, and what they counted together."""
    tally: Counter[str] = Counter()
    if settings.limit is not None:
        done: list[Unit] = []
        for unit in units:  # one after another: how many the next may read depends on the last
            left = settings.limit - tally["rows_read"]
            if left <= 0:
                break
            part = Unit(f"{unit.key}-{left}", unit.sources)
            for _, counted in run_units(check_unit, [part], replace(settings, limit=left), work, streams, workers=1):
                tally.update(counted)
            done.append(part)
        return done, tally
    with progress.bar("checking", len(units)) as bar:
        for _, counted in run_units(check_unit, units, settings, work, streams, workers=workers):
            tally.update(counted)
            bar.advance(detail=f"{tally['rows_read']:,} conversations")
    return units, tally


def check_unit(unit: Unit, settings: CheckSettings, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """Read and check the sources of a unit. `tally` counts `rows_read`."""
    knowledge = knowledge_of(settings)
    for source in unit.sources:
        schema = _schema([source])
        rows: list[dict[str, Any]] = []
        for item in conversations(source):
            if settings.limit is not None and tally["rows_read"] >= settings.limit:
                break
            if isinstance(item, Fault):
                trace = {
                    "id": "",
                    "source": item.source,
                    "step": "read",
                    "rule": item.rule,
                    "excerpt": item.message[:200],
                }
                yield "trace", pa.Table.from_pylist([trace], schema=TRACE)
            elif isinstance(item, Note):
                yield "notes", pa.Table.from_pylist([{"source": item.source, "message": item.message}], schema=NOTES)
            else:
                tally["rows_read"] += 1
                rows.append(checked(item, knowledge))
                if len(rows) == _BATCH:
                    yield "rows", pa.Table.from_pylist(rows, schema=schema)
                    rows = []
        yield "rows", pa.Table.from_pylist(rows, schema=schema)


def checked(row: dict[str, Any], knowledge: Knowledge) -> dict[str, Any]:
    """A row of a Conversation with `checks` and `flags` as they are found now.

    `source_text`, where the row has one, is what its answer was made from. Where there is none, what an earlier job
    found when it compared the two stays as it is.
    """
    before: Mapping[str, Any] = row.get("checks") or {}
    source = row.get("source_text")
    verbatim = before.get("finish_reason") == "source"
    messages = row["messages"]
    if source is None and verbatim:
        source = "\n".join(turn["content"] for turn in messages if turn["role"] == "assistant")
    found = check_conversation(
        messages,
        source,
        knowledge,
        language=row.get("language") or "und",
        finish_reason=before.get("finish_reason") or "stop",
    )
    values = {**found.values, "finish_reason": before.get("finish_reason")}
    flags = list(found.flags)
    if row.get("source_text") is None and before:
        kept = {name: before.get(name) for name in ("numbers_missing", "support", "contacts_missing")}
        values.update({name: value for name, value in kept.items() if value is not None})
        earlier = [flag for flag in row.get("flags") or () if flag not in flags]
        flags += earlier
    return {**row, "checks": values, "flags": flags}


def _schema(sources: list[Source]) -> pa.Schema:
    """Of the output: a checked Conversation, the other columns of a Conversation file behind it."""
    if len(sources) == 1 and is_conversation(sources[0]):
        found = pq.read_schema(sources[0].path)
        check_schema(found, CONVERSATION, sources[0].name)
        more = [field for field in found if field.name not in CHECKED_CONVERSATION.names]
        return pa.schema([*CHECKED_CONVERSATION, *more], metadata=CHECKED_CONVERSATION.metadata)
    return CHECKED_CONVERSATION


def knowledge_of(settings: CheckSettings) -> Knowledge:
    """The lexicon and the graph that the settings name. Raises ValueError, naming file and line."""
    return _knowledge(settings.lexicon, settings.graph, digest(settings))


@lru_cache(maxsize=1)
def _knowledge(lexicon_path: str | None, graph_path: str | None, digest: str) -> Knowledge:
    lexicon, facts = _names_and_facts(lexicon_path, graph_path, digest)
    return Knowledge(lexicon, known_of(facts, lexicon) if facts else None)


def names_and_facts(settings: CheckSettings) -> tuple[Lexicon, Facts | None]:
    """The lexicon, with the names of the graph, and what the graph says; None without one. Raises ValueError."""
    return _names_and_facts(settings.lexicon, settings.graph, digest(settings))


@lru_cache(maxsize=1)
def _names_and_facts(lexicon_path: str | None, graph_path: str | None, _digest: str) -> tuple[Lexicon, Facts | None]:
    lexicon = shipped()
    if lexicon_path:
        lexicon = lexicon.with_file(Path(lexicon_path))
    if not graph_path:
        return lexicon, None
    graph = read_graph(graph_path)
    lexicon = with_names_of(graph, lexicon)
    return lexicon, facts_of(graph, lexicon)


def digest(settings: CheckSettings) -> str:
    """What tells the content of lexicon and graph from another."""
    files = [source for path in (settings.lexicon, settings.graph) if path for source in discover([path])[0]]
    return xxhash.xxh3_64_hexdigest("\0".join(identity(source.path) for source in files).encode())


def _write(work: Work, keys: list[str], faults: list[Fault], schema: pa.Schema, out: Path, summary: Summary) -> None:
    trace_path, _ = companions(out)
    rules: Counter[str] = Counter()
    flags: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    with parquet_writer(trace_path, TRACE) as trace:
        read_faults = [
            {"id": "", "source": fault.source, "step": "read", "rule": fault.rule, "excerpt": fault.message}
            for fault in faults
        ]
        tables = [
            pa.Table.from_pylist(read_faults, schema=TRACE),
            *(table for _, table in Parts(work, keys, "trace").batches()),
        ]
        for table in tables:
            trace.write(table)
            for row in table.select(["rule", "source", "excerpt"]).to_pylist():
                rules[row["rule"]] += 1
                if row["rule"] in FAULT_CLASSES:
                    summary.problems.append(f"{row['source']}: {row['excerpt']}")
    if trace.written:
        summary.trace = str(trace_path)
    else:
        trace_path.unlink(missing_ok=True)
    for rule, count in rules.items():
        if rule in FAULT_CLASSES:
            summary.failed[FAULT_CLASSES[rule]] = count
        else:
            summary.dropped[rule] = count
    seen: Counter[str] = Counter()
    with parquet_writer(out, schema) as writer:
        for _, table in Parts(work, keys, "rows").batches():
            table = _unique_ids(table, seen)
            writer.write(table)
            _count_flags(table, flags, examples)
    summary.rows_written = writer.written
    summary.output = str(out)
    summary.flags = dict(sorted(flags.items(), key=lambda item: (-item[1], item[0])))
    summary.notes = flag_table(summary.flags, examples, writer.written)


def _unique_ids(table: pa.Table, seen: Counter[str]) -> pa.Table:
    """Ids that the input brought along may repeat: the second one becomes `id#2`."""
    ids = table["id"].to_pylist()
    for place, own in enumerate(ids):
        while ids[place] in seen:
            seen[own] += 1
            ids[place] = f"{own}#{seen[own]}"
        seen[ids[place]] = 1
    return table.set_column(table.column_names.index("id"), "id", pa.array(ids, pa.string()))


def _count_flags(table: pa.Table, flags: Counter[str], examples: dict[str, list[str]]) -> None:
    for row in table.select(["id", "messages", "flags"]).to_pylist():
        flags.update(row["flags"])
        for flag in row["flags"]:
            shown = examples.setdefault(flag, [])
            if len(shown) < EXAMPLES:
                turns = row["messages"]
                asked = next((turn["content"] for turn in turns if turn["role"] == "user"), "")
                said = next((turn["content"] for turn in reversed(turns) if turn["role"] == "assistant"), "")
                shown.append(f"{row['id'][:12]}  {_short(asked)} → {_short(said)}")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _EXCERPT else line[:_EXCERPT] + "…"


def flag_table(flags: Mapping[str, int], examples: Mapping[str, list[str]], rows: int) -> list[str]:
    """The flags, the most frequent first, each with its share and examples."""
    if not flags:
        return ["  flags    none"]
    lines = [f"  {'flag':<32}{'rows':>8}{'share':>8}"]
    for flag, count in flags.items():
        lines.append(f"  {padded(flag, 32)}{count:>8,}{count / max(1, rows):>8.1%}")
        lines += [f"      {example}" for example in examples.get(flag, ())]
    return lines


def settings_from(values: Mapping[str, Any]) -> CheckSettings:
    """Settings from the command line's values; what is None keeps its default."""
    names = CheckSettings.__dataclass_fields__
    return CheckSettings(**{name: values[name] for name in names if values.get(name) is not None})
