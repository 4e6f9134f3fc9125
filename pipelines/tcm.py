"""TCM: a knowledge graph becomes questions and answers to fine-tune on, every one resting on triples of the graph.

read graph → facts → (units of entities) questions by rules → checks → (near-equal questions out) → one parquet.
Here rules make them; `tcm_ask.py` has a model write them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from datatools.checks.medical import Knowledge, check_conversation
from datatools.engine.local import run_units
from datatools.engine.parts import Parts
from datatools.engine.units import Unit, identity
from datatools.engine.work import Work, open_work
from datatools.graph.facts import spelled
from datatools.graph.near import NEAR, NearIndex, gram_counts
from datatools.graph.question import Question
from datatools.graph.questions import TASKS, VERSION, Maker
from datatools.io.atomic import RowGroupWriter, parquet_writer
from datatools.io.files import discover
from datatools.io.source import Source
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.inputs import companions
from pipelines.leaks import digest_of, exam_index, opened, without_leaks
from pipelines.tcm_graph import Loaded, chosen_entities, counts_of, digest_of_graph, key_of, load
from pipelines.tcm_report import coverage, leave_report, left_out, near_row, report_lines, tell_balance
from schemas.conversation import TCM_CONVERSATION
from schemas.trace import TRACE

ENTITIES = 400  # a unit: a second of work
# More questions than asked for are made of an entity, to take the place of those that nearly equal another's.
SPARE = 1
# What is known of a row beside its columns while the output is in the making.
ROWS = pa.schema([*TCM_CONVERSATION, *(pa.field(name, pa.string()) for name in ("subject", "subject_type", "kind"))])
_STREAMS = {"questions": ROWS}


@dataclass(frozen=True)
class TcmSettings:
    """What shapes the result. Defaults are the command line's."""

    model: str = "rules"
    base_url: str | None = None
    language: str = "zh"
    per_entity: int = 4
    types: tuple[str, ...] = ()  # entity types; all that can be asked about when empty
    tasks: tuple[str, ...] = TASKS
    lexicon: str | None = None
    decontaminate: tuple[str, ...] = ()  # files of exam items to keep out
    limit: int | None = None  # entities
    seed: int = 0

    def __post_init__(self) -> None:
        if self.base_url:
            raise ValueError("--base-url: name the model that is asked there with --model")
        if self.language != "zh":
            raise ValueError(f"--language {self.language}: rules write Chinese; for other languages name a model")
        if self.per_entity < 1:
            raise ValueError(f"--per-entity {self.per_entity}: must be 1 or more")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"--limit {self.limit}: must be 1 or more")
        for task in self.tasks:
            if task not in TASKS:
                raise ValueError(f"--tasks {task}: must be of {', '.join(TASKS)}")
        if self.lexicon is not None and not Path(self.lexicon).is_file():
            raise ValueError(f"--lexicon {self.lexicon}: no such file")


def tcm(
    graph: str, out: Path, settings: TcmSettings, progress: Progress, *, workers: int = 1, fresh: bool = False
) -> Summary:
    """Make questions by rules from the graph in a file or folder, and write them to `out`.

    Raises ValueError for a graph or settings that cannot work, naming file and line.
    """
    began = time.monotonic()
    sources, _ = discover([graph])
    identities = {source.name: identity(source.path) for source in sources}
    description = {"command": "tcm", "settings": _plain(settings), "inputs": identities}
    description["exams"] = digest_of(settings.decontaminate)
    digest = digest_of_graph(identities, _plain(settings), settings.lexicon)
    loaded = load(graph, settings.lexicon, digest)
    chosen = _chosen(loaded, settings)
    with open_work(out, description, fresh=fresh) as work:
        for note in loaded.graph.notes:
            progress.say(note)
        triples = len(loaded.graph.triples)
        progress.say(f"tcm: {triples:,} triples → {counts_of(chosen)}; {workers} workers → {out}")
        entities = sum(map(len, chosen.values()))
        units = _units(graph, entities, digest)
        job = (graph, digest, settings)
        with progress.bar("asking", len(units)) as bar:
            for _, counted in run_units(questions_of, units, job, work, _STREAMS, workers=workers):
                bar.advance(detail=f"{counted['made']:,} questions")
        summary = Summary("tcm", [graph], rows_read=triples, work=str(work.path), unit="triples")
        report = _write(work, [unit.key for unit in units], settings, out, summary, progress)
        report["left_out"] = left_out(loaded.graph, loaded.facts)
        report["coverage"] = coverage(chosen, report.pop("rows_by_entity"), settings.per_entity)
        leave_report(work, report)
        summary.notes = report_lines(report)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def _chosen(loaded: Loaded, settings: TcmSettings) -> dict[str, list[str]]:
    return chosen_entities(loaded.facts.entities, loaded.facts.left_out, settings.types, settings.limit)


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
    chosen = _chosen(loaded, settings)
    entities = [(name, type_) for type_, names in chosen.items() for name in names]
    rows = []
    for entity, type_ in entities[unit.sources[0].start : unit.sources[0].stop]:
        for question in maker.questions(entity, type_, settings.tasks, settings.per_entity + SPARE):
            rows.append(row_of(question, loaded.knowledge))
    tally["made"] += len(rows)
    yield "questions", pa.Table.from_pylist(rows, schema=ROWS)


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
    balance: dict[str, Counter[str]] = {}
    flags: Counter[str] = Counter()
    with parquet_writer(trace_path, TRACE) as trace, parquet_writer(out, TCM_CONVERSATION) as writer:
        for _, table in parts.batches():
            table, leaked = without_leaks(table, exams)  # before a question counts for its entity
            _trace(trace, leaked, summary)
            kept = _kept(table, settings.per_entity, written, near, trace, summary)
            table = table.take(pa.array(kept, pa.int64()))
            writer.write(table)
            tell_balance(table, balance)
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
        subject = key_of(row["subject"], row["subject_type"])
        if written[subject] >= per_entity:
            continue  # a spare that is not needed
        asked = row["messages"][0]["content"]
        twin = near[row["task"]].add(row["id"], asked)
        if twin is None:
            kept.append(number)
            written[subject] += 1
            continue
        dropped.append(near_row(row, asked, twin))
    _trace(trace, dropped, summary)
    return kept


def _trace(trace: RowGroupWriter, dropped: list[dict[str, Any]], summary: Summary) -> None:
    if dropped:
        trace.write(pa.Table.from_pylist(dropped, schema=TRACE))
    for row in dropped:
        summary.dropped[row["rule"]] = summary.dropped.get(row["rule"], 0) + 1


def _plain(settings: TcmSettings) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}


def settings_from(values: Mapping[str, Any]) -> TcmSettings:
    """Settings from the command line's values; what is None keeps its default."""
    names = TcmSettings.__dataclass_fields__
    return TcmSettings(**{name: values[name] for name in names if values.get(name) is not None})
