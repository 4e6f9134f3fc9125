"""TCM: a knowledge graph becomes questions and answers to fine-tune on, every one resting on triples of the graph.

read graph → facts → (units of entities) questions by rules → checks → (near-equal questions out) → one parquet.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import xxhash

from datatools.checks.lexicon import shipped
from datatools.checks.medical import Knowledge, check_conversation
from datatools.engine.choice import LOCAL, Engine
from datatools.engine.local import run_units
from datatools.engine.parts import Parts
from datatools.engine.units import Unit, identity
from datatools.engine.work import Work, open_work
from datatools.graph.facts import Facts, facts_of, spelled
from datatools.graph.graph import LABELS, Graph
from datatools.graph.known import known_of, with_names_of
from datatools.graph.near import NEAR, NearIndex, gram_counts
from datatools.graph.question import Question
from datatools.graph.questions import TASKS, VERSION, Maker
from datatools.graph.read import read_graph
from datatools.io.atomic import RowGroupWriter, atomic_path, parquet_writer
from datatools.io.files import discover
from datatools.io.source import Source
from datatools.report.progress import Progress
from datatools.report.summary import Summary, padded
from pipelines.inputs import companions
from pipelines.leaks import digest_of, exam_index, opened, without_leaks
from schemas.conversation import TCM_CONVERSATION
from schemas.trace import TRACE

REPORT = "report.json"
ENTITIES = 400  # a unit: a second of work
# More questions than asked for are made of an entity, to take the place of those that nearly equal another's.
SPARE = 1
_ROWS = pa.schema(
    [
        *TCM_CONVERSATION,
        pa.field("subject", pa.string()),
        pa.field("subject_type", pa.string()),
        pa.field("kind", pa.string()),
    ]
)
_STREAMS = {"questions": _ROWS}


@dataclass(frozen=True)
class TcmSettings:
    """What shapes the result. Defaults are the command line's."""

    model: str = "rules"
    per_entity: int = 4
    types: tuple[str, ...] = ()  # entity types; all that can be asked about when empty
    tasks: tuple[str, ...] = TASKS
    lexicon: str | None = None
    decontaminate: tuple[str, ...] = ()  # files of exam items to keep out
    limit: int | None = None  # entities
    seed: int = 0

    def __post_init__(self) -> None:
        if self.model != "rules":
            raise ValueError(f"--model {self.model}: tcm makes its questions by rules so far; leave --model out")
        if self.per_entity < 1:
            raise ValueError(f"--per-entity {self.per_entity}: must be 1 or more")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"--limit {self.limit}: must be 1 or more")
        for task in self.tasks:
            if task not in TASKS:
                raise ValueError(f"--tasks {task}: must be of {', '.join(TASKS)}")
        if self.lexicon is not None and not Path(self.lexicon).is_file():
            raise ValueError(f"--lexicon {self.lexicon}: no such file")


class Loaded(NamedTuple):
    """A graph, what it says, and what its answers are checked against."""

    graph: Graph
    facts: Facts
    knowledge: Knowledge


def tcm(
    graph: str, out: Path, settings: TcmSettings, progress: Progress, *, engine: Engine = LOCAL, fresh: bool = False
) -> Summary:
    """Make questions by rules from the graph in a file or folder, and write them to `out`.

    Raises ValueError for a graph or settings that cannot work, naming file and line.
    """
    began = time.monotonic()
    sources, _ = discover([graph])
    identities = {source.name: identity(source.path) for source in sources}
    description = {"command": "tcm", "settings": _plain(settings), "inputs": identities}
    description["exams"] = digest_of(settings.decontaminate)
    digest = _digest(identities, settings)
    loaded = load(graph, settings.lexicon, digest)
    chosen = chosen_entities(loaded.facts, settings)
    with open_work(out, description, fresh=fresh, engine=engine) as work:
        for note in loaded.graph.notes:
            progress.say(note)
        counts = ", ".join(f"{LABELS.get(type_, type_)} {len(names):,}" for type_, names in chosen.items())
        progress.say(f"tcm: {len(loaded.graph.triples):,} triples → {counts}; {engine} → {out}")
        entities = sum(map(len, chosen.values()))
        units = _units(graph, entities, digest)
        job = (graph, digest, settings)
        with progress.bar("asking", len(units)) as bar:
            for _, counted in run_units(questions_of, units, job, work, _STREAMS):
                bar.advance(detail=f"{counted['made']:,} questions")
        summary = Summary("tcm", [graph], rows_read=len(loaded.graph.triples), work=str(work.path), unit="triples")
        report = _write(work, [unit.key for unit in units], settings, out, summary, progress)
        report["left_out"] = dict(
            sorted({**loaded.facts.left_out, "repeated": loaded.graph.repeated, "empty": loaded.graph.empty}.items())
        )
        report["coverage"] = coverage(chosen, report.pop("rows_by_entity"), settings.per_entity)
        _leave_report(work, report)
        summary.notes = report_lines(report)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


@lru_cache(maxsize=1)
def load(graph: str, lexicon: str | None, _digest: str) -> Loaded:
    """The graph and what is made of it once a process."""
    read = read_graph(graph)
    words = shipped().with_file(Path(lexicon)) if lexicon else shipped()
    facts = facts_of(read, words)
    words = with_names_of(read, words)
    return Loaded(read, facts, Knowledge(words, known_of(facts, words)))


def chosen_entities(facts: Facts, settings: TcmSettings) -> dict[str, list[str]]:
    """Type → entities to ask about. Raises ValueError for a type the graph has not, or nothing to ask about."""
    found = {type_ or "": names for type_, names in facts.entities.items()}
    named = {LABELS.get(type_, type_): type_ for type_ in found}
    wanted = [named.get(type_, type_) for type_ in settings.types] or list(found)
    for type_ in wanted:
        if type_ not in found:
            there = ", ".join(LABELS.get(known, known) for known in found)
            raise ValueError(f"--types {type_}: nothing of that type can be asked about; there are {there}")
    if not any(found.values()):
        left = ", ".join(f"{reason} {count:,}" for reason, count in sorted(facts.left_out.items()))
        raise ValueError(f"no triple of the graph can be asked about in Chinese ({left})")
    left_over, chosen = settings.limit, {}
    for type_ in wanted:
        chosen[type_] = found[type_] if left_over is None else found[type_][:left_over]
        left_over = None if left_over is None else left_over - len(chosen[type_])
    return {type_: names for type_, names in chosen.items() if names}


def _units(graph: str, entities: int, digest: str) -> list[Unit]:
    """Ranges of the chosen entities."""
    return [
        Unit(
            xxhash.xxh3_128_hexdigest(f"tcm@{VERSION} {digest} {start}".encode()),
            (Source(graph, Path(graph).name, "graph", start=start, stop=min(start + ENTITIES, entities)),),
        )
        for start in range(0, entities, ENTITIES)
    ]


def questions_of(unit: Unit, job: tuple[str, str, TcmSettings], tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """The questions about the entities of a unit, checked. `tally` counts them as `made`."""
    graph, digest, settings = job
    loaded = load(graph, settings.lexicon, digest)
    maker = Maker(loaded.facts, settings.seed)
    chosen = chosen_entities(loaded.facts, settings)
    entities = [(name, type_) for type_, names in chosen.items() for name in names]
    rows = []
    for entity, type_ in entities[unit.sources[0].start : unit.sources[0].stop]:
        for question in maker.questions(entity, type_, settings.tasks, settings.per_entity + SPARE):
            rows.append(row_of(question, loaded.knowledge))
    tally["made"] += len(rows)
    yield "questions", pa.Table.from_pylist(rows, schema=_ROWS)


def row_of(question: Question, knowledge: Knowledge) -> dict[str, Any]:
    """The row of a question, with its checks: its source is the triples it rests on."""
    messages = [{"role": "user", "content": question.question}, {"role": "assistant", "content": question.answer}]
    said = "\n".join(f"{triple.head} {triple.relation} {triple.tail}" for triple in question.triples)
    checks = check_conversation(messages, spelled(said), knowledge, language="zh")
    source_id = xxhash.xxh3_128_hexdigest(said.encode())
    return {
        "id": xxhash.xxh3_128_hexdigest(f"{question.question}\0{question.answer}".encode()),
        "messages": messages,
        "task": question.task,
        "language": "zh",
        "source_id": source_id,
        "source": question.triples[0].source,
        "source_type": "encyclopedia",
        "generator": "rules",
        "prompt": f"tcm.{question.task}.{question.kind}@{VERSION}",
        "checks": {**checks.values, "finish_reason": "stop"},
        "flags": list(checks.flags),
        "usage": None,
        "triples": [{"head": t.head, "relation": t.relation, "tail": t.tail} for t in question.triples],
        "subject": question.subject,
        "subject_type": question.subject_type,
        "kind": question.kind,
    }


def _write(
    work: Work, keys: list[str], settings: TcmSettings, out: Path, summary: Summary, progress: Progress
) -> dict[str, Any]:
    """Write the questions of every entity that nearly equal none before them; what is left out for it is traced."""
    trace_path, failed_path = companions(out)
    failed_path.unlink(missing_ok=True)
    exams = opened(exam_index(settings.decontaminate, work.path, progress))
    parts = Parts(work, keys, "questions")
    counts = gram_counts(
        turns[0]["content"] for _, table in parts.batches(["messages"]) for turns in table["messages"].to_pylist()
    )
    near = {task: NearIndex(NEAR, counts) for task in TASKS}
    written: Counter[str] = Counter()
    balance: dict[str, Counter[str]] = {
        name: Counter() for name in ("task", "kind", "subject_type", "verdict", "letters")
    }
    flags: Counter[str] = Counter()
    with parquet_writer(trace_path, TRACE) as trace, parquet_writer(out, TCM_CONVERSATION) as writer:
        for _, table in parts.batches():
            table, leaked = without_leaks(table, exams)  # before a question counts for its entity
            _trace(trace, leaked, summary)
            kept = _kept(table, settings.per_entity, written, near, trace, summary)
            table = table.take(pa.array(kept, pa.int64()))
            writer.write(table)
            _tell_balance(table, balance)
            flags.update(flag for row in table["flags"].to_pylist() for flag in row)
    summary.rows_written, summary.output = writer.written, str(out)
    summary.flags = dict(sorted(flags.items(), key=lambda item: (-item[1], item[0])))
    if trace.written:
        summary.trace = str(trace_path)
    else:
        trace_path.unlink(missing_ok=True)
    return {
        "rows": writer.written,
        "balance": {name: dict(found.most_common()) for name, found in balance.items()},
        "flags": summary.flags,
        "rows_by_entity": written,
    }


def _kept(
    table: pa.Table,
    per_entity: int,
    written: Counter[str],
    near: Mapping[str, NearIndex],
    trace: RowGroupWriter,
    summary: Summary,
) -> list[int]:
    """Numbers of the rows to write."""
    kept, dropped = [], []
    columns = ["id", "messages", "task", "source", "subject", "subject_type"]
    for number, row in enumerate(table.select(columns).to_pylist()):
        subject = f"{row['subject_type']}\0{row['subject']}"
        if written[subject] >= per_entity:
            continue  # a spare that is not needed
        asked = row["messages"][0]["content"]
        twin = near[row["task"]].add(row["id"], asked)
        if twin is None:
            kept.append(number)
            written[subject] += 1
            continue
        dropped.append(
            {
                "id": row["id"],
                "source": row["source"],
                "step": "dedupe",
                "rule": "near_duplicate",
                "threshold": NEAR,
                "twin_id": twin[0],
                "similarity": twin[1],
                "excerpt": asked[:200],
            }
        )
    _trace(trace, dropped, summary)
    return kept


def _trace(trace: RowGroupWriter, dropped: list[dict[str, Any]], summary: Summary) -> None:
    if dropped:
        trace.write(pa.Table.from_pylist(dropped, schema=TRACE))
    for row in dropped:
        summary.dropped[row["rule"]] = summary.dropped.get(row["rule"], 0) + 1


def _tell_balance(table: pa.Table, balance: dict[str, Counter[str]]) -> None:
    for name in ("task", "kind", "subject_type"):
        balance[name].update(table[name].to_pylist())
    for row in table.select(["task", "messages"]).to_pylist():
        answer = row["messages"][1]["content"]
        if row["task"] == "true_false":
            balance["verdict"][answer[:2]] += 1
        elif row["task"] == "choice":
            letters = answer.split("\n")[0].split(".")[0]
            balance["letters"][letters if len(letters) == 1 else "several"] += 1


def coverage(chosen: Mapping[str, list[str]], written: Counter[str], per_entity: int) -> dict[str, Any]:
    """For every type: how many entities, how many asked about often enough, and the others with their rows."""
    found: dict[str, Any] = {}
    for type_, names in chosen.items():
        rows = {name: written[f"{type_}\0{name}"] for name in names}
        short = {name: count for name, count in rows.items() if count < per_entity}
        found[type_] = {
            "entities": len(names),
            "covered": len(names) - len(short),
            "rows": sum(rows.values()),
            "short": short,
        }
    return found


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """Coverage and balance on the screen."""
    lines = [f"  {padded('type', 9)}{'entities':>9}{'covered':>9}{'rows':>9}"]
    for type_, found in report["coverage"].items():
        name = padded(LABELS.get(type_, type_ or "other"), 9)
        lines.append(f"  {name}{found['entities']:>9,}{found['covered']:>9,}{found['rows']:>9,}")
    for name, counts in report["balance"].items():
        if name not in ("kind", "subject_type") and counts:
            lines.append(f"  {name:<9}" + ", ".join(f"{value} {count:,}" for value, count in counts.items()))
    flags = ", ".join(f"{flag} {count:,}" for flag, count in report["flags"].items()) or "none"
    left = ", ".join(f"{reason} {count:,}" for reason, count in report["left_out"].items() if count)
    return [*lines, f"  flags    {flags}", f"  triples not asked about  {left or 'none'}"]


def _leave_report(work: Work, report: Mapping[str, Any]) -> None:
    """What `datatools report` shows, and all the rest for who wants to read it."""
    named = {LABELS.get(type_, type_): found for type_, found in report["coverage"].items()}
    told = {
        "command": "tcm",
        "entities": {name: found["entities"] for name, found in named.items()},
        "covered": {name: found["covered"] for name, found in named.items()},
        "verdicts": report["balance"]["verdict"],
        "tcm": report,
    }
    with atomic_path(work.path / REPORT) as temporary:
        temporary.write_text(json.dumps(told, ensure_ascii=False, indent=1), encoding="utf-8")


def _plain(settings: TcmSettings) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}


def _digest(identities: Mapping[str, str], settings: TcmSettings) -> str:
    """What tells this graph, lexicon and these settings from others."""
    lexicon = identity(settings.lexicon) if settings.lexicon else ""
    return xxhash.xxh3_64_hexdigest(json.dumps([identities, _plain(settings), lexicon], ensure_ascii=False).encode())


def settings_from(values: Mapping[str, Any]) -> TcmSettings:
    """Settings from the command line's values; what is None keeps its default."""
    names = TcmSettings.__dataclass_fields__
    return TcmSettings(**{name: values[name] for name in names if values.get(name) is not None})
