"""TCM with a model: instructions and answers about every entity of a graph, its triples being their only source.

read graph → entities → plans (task, facts) → a question call and an answer call each → checks → near-equal instructions
out → more plans for entities that came short → one parquet.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from datatools.dedupe.decontaminate import Index
from datatools.engine.parts import Parts
from datatools.engine.units import identity
from datatools.engine.work import Work
from datatools.graph.near import NEAR, NearIndex, gram_counts
from datatools.graph.plan import Plan, Planner, entities_of
from datatools.io.atomic import parquet_writer
from datatools.io.files import discover
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.ask_dry_run import estimated
from pipelines.ask_items import ASKED, Model, ask_all, model_of, of_one, work_of
from pipelines.ask_run import AskRun
from pipelines.inputs import companions
from pipelines.leaks import digest_of, exam_index, opened, without_leaks
from pipelines.tcm import ROWS
from pipelines.tcm_graph import chosen_entities, counts_of, digest_of_graph, key_of, load
from pipelines.tcm_report import coverage, leave_report, left_out, near_row, report_lines, tell_balance
from pipelines.tcm_write import TcmAskSettings, Writer
from schemas.conversation import TCM_CONVERSATION
from schemas.trace import FAILED, TRACE

NEED = "tcm needs a model's name: --model NAME --base-url URL, or --model rules (the default)"
VERSION = 1
ROUNDS = 3  # after the first: what was dropped is made good so often


def tcm_ask(graph: str, out: Path, settings: TcmAskSettings, run: AskRun, progress: Progress) -> Summary:
    """Have a model write instructions and answers about the entities of a graph, and write them to `out`.

    Raises ValueError for a graph or settings that cannot work, `datatools.llm.errors.Stopped` when the endpoint stops.
    """
    began = time.monotonic()
    model = model_of(settings, run, NEED)
    sources, _ = discover([graph])
    identities = {source.name: identity(source.path) for source in sources}
    digest = digest_of_graph(identities, {}, settings.lexicon)
    loaded = load(graph, settings.lexicon, digest)
    writer = Writer(settings, loaded)
    chosen = chosen_entities(entities_of(loaded.facts), loaded.facts.left_out, settings.types, settings.limit)
    description = {
        "command": "tcm",
        "settings": {**asdict(settings), "base_url": None, "prompts": writer.prompt_names(), "version": VERSION},
        "exams": digest_of(settings.decontaminate),
        "inputs": identities,
    }
    summary = Summary("tcm", [graph], rows_read=len(loaded.graph.triples), unit="triples")
    with work_of(out, description, run) as work:
        for note in loaded.graph.notes:
            progress.say(note)
        exams = opened(exam_index(settings.decontaminate, work.path, progress))  # before anything is paid for
        progress.say(f"tcm: {summary.rows_read:,} triples → {counts_of(chosen)}; {settings.model} → {out}")
        if run.estimates:
            # What rounds after the first make good nobody knows beforehand.
            def plans() -> Iterator[Plan]:
                return Rounds(work, writer, chosen, settings, exams).first()

            summary.unit = "instructions"
            estimated(plans, of_one(writer.made), writer.foreseen, [model], run, out, summary, progress)
            summary.unit = "triples"
            return summary
        summary.work = str(work.path)
        rounds = Rounds(work, writer, chosen, settings, exams)
        rounds.run(model, run, summary, progress)
        report = rounds.write(out, summary)
        report["left_out"] = left_out(loaded.graph, loaded.facts)
        report["coverage"] = coverage(chosen, rounds.written, settings.per_entity)
        leave_report(work, report)
        summary.notes = report_lines(report)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


class Rounds:
    """Asks about every entity, and again about those that came short because of what was dropped.

    Which questions are near-equal is decided between rounds, in the order of the rows: so the same replies give the
    same rows, however many calls were made at once.
    """

    def __init__(
        self,
        work: Work,
        writer: Writer,
        chosen: Mapping[str, list[str]],
        settings: TcmAskSettings,
        exams: Index | None = None,
    ) -> None:
        self._work, self._settings, self._exams = work, settings, exams
        self._writer = writer
        entities = [(name, type_) for type_, names in chosen.items() for name in names]
        self._planner = Planner(writer.loaded.facts, entities, settings.tasks, settings.seed)
        self._entities = [entity for entity in entities if self._planner.can_ask(*entity)]
        self._asked: Counter[str] = Counter()
        self._entity_of: dict[str, tuple[str, str]] = {}  # by the id of the plan
        self._near: NearIndex | None = None
        self._keys: list[str] = []  # of the rounds, as their parts are named
        self._left_out: dict[str, dict[str, Any]] = {}  # id of a row → its trace
        self.written: Counter[str] = Counter()

    def run(self, model: Model, run: AskRun, summary: Summary, progress: Progress) -> None:
        """Ask until every entity has its rows, or the rounds are over."""
        missing = dict.fromkeys(self._entities, self._settings.per_entity)
        for number in range(1 + ROUNDS):
            plans, total = self._plans(missing), sum(missing.values())
            before = replace(summary)
            _reset(summary)
            try:
                ask_all(plans, self._writer.made, model, run, self._work, ROWS, summary, progress, total)
            finally:
                _add(summary, before)
            self._put_aside(f"{ASKED}-{number}")
            self._keep(self._keys[-1], missing)
            missing = {entity: count for entity, count in missing.items() if count}
            if not missing:
                break

    def first(self) -> Iterator[Plan]:
        """The plans of the first round."""
        return self._plans(dict.fromkeys(self._entities, self._settings.per_entity))

    def _plans(self, missing: Mapping[tuple[str, str], int]) -> Iterator[Plan]:
        for (entity, type_), count in missing.items():
            key = key_of(entity, type_)
            for _ in range(count):
                plan = self._planner.plan(entity, type_, self._asked[key])
                self._entity_of[plan.id] = (entity, type_)
                self._asked[key] += 1
                yield plan

    def _put_aside(self, key: str) -> None:
        for name in ("rows", "trace", "failed"):
            self._work.part(ASKED, name).replace(self._work.part(key, name))
        self._keys.append(key)

    def _keep(self, key: str, missing: dict[tuple[str, str], int]) -> None:
        """Take what a round kept, and what failed in it, off what is missing."""
        parts = Parts(self._work, [key], "rows")
        if self._near is None:  # the order of the first round's trigrams serves for all
            self._near = NearIndex(NEAR, gram_counts(_questions(parts)))
        for _, table in parts.batches(["id", "source", "messages", "subject", "subject_type"]):
            table, leaked = without_leaks(table, self._exams)
            self._left_out.update((row["id"], row) for row in leaked)
            for row in table.to_pylist():
                entity = (row["subject"], row["subject_type"])
                asked = row["messages"][0]["content"]
                if (twin := self._near.add(row["id"], asked)) is not None:
                    self._left_out[row["id"]] = near_row(row, asked, twin)
                    continue
                missing[entity] -= 1
                self.written[key_of(*entity)] += 1
        # A call that failed is asked again with --retry-failed, not made good by another: that would be a row too many.
        for _, failed in Parts(self._work, [key], "failed").rows():
            missing[self._entity_of[failed["id"]]] -= 1

    def write(self, out: Path, summary: Summary) -> dict[str, Any]:
        """The output and what stands beside it, round after round; fills the summary."""
        trace_path, failed_path = companions(out)
        balance: dict[str, Counter[str]] = {}
        dropped: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        flags: Counter[str] = Counter()
        with (
            parquet_writer(out, TCM_CONVERSATION) as writer,
            parquet_writer(trace_path, TRACE) as trace,
            parquet_writer(failed_path, FAILED) as refused,
        ):
            for key in self._keys:
                for _, table in Parts(self._work, [key], "rows").batches():
                    ids = table["id"].to_pylist()
                    kept = table.filter(pa.array([id not in self._left_out for id in ids], pa.bool_()))
                    writer.write(kept)
                    tell_balance(kept, balance)
                    flags.update(flag for row in kept["flags"].to_pylist() for flag in row)
                    traced = [self._left_out[id] for id in ids if id in self._left_out]
                    trace.write(pa.Table.from_pylist(traced, schema=TRACE))
                    dropped.update(row["rule"] for row in traced)
                for _, table in Parts(self._work, [key], "trace").batches():
                    trace.write(table)
                    dropped.update(table["rule"].to_pylist())
                for _, table in Parts(self._work, [key], "failed").batches():
                    refused.write(table)
                    failed.update(table["class"].to_pylist())
        for path, count in ((trace_path, trace.written), (failed_path, refused.written)):
            if not count:
                path.unlink()
        summary.rows_written, summary.output = writer.written, str(out)
        summary.flags = dict(sorted(flags.items(), key=lambda item: (-item[1], item[0])))
        summary.dropped, summary.failed = dict(sorted(dropped.items())), dict(sorted(failed.items()))
        summary.trace = str(trace_path) if trace.written else None
        summary.failed_rows = str(failed_path) if refused.written else None
        return {
            "rows": writer.written,
            "rounds": len(self._keys),
            "balance": {name: dict(found.most_common()) for name, found in balance.items()},
            "flags": summary.flags,
        }


def _questions(parts: Parts) -> Iterator[str]:
    return (turns[0]["content"] for _, table in parts.batches(["messages"]) for turns in table["messages"].to_pylist())


def _reset(summary: Summary) -> None:
    fresh = Summary(summary.command, [])
    summary.requests, summary.tokens, summary.cost = fresh.requests, fresh.tokens, fresh.cost


def _add(summary: Summary, before: Summary) -> None:
    """Put what earlier rounds sent on top of what this one did; `requests_total` counts all by itself."""
    summary.requests = {name: count + before.requests[name] for name, count in summary.requests.items()}
    summary.tokens = {name: count + before.tokens[name] for name, count in summary.tokens.items()}
    known = summary.cost is not None and before.cost is not None
    summary.cost = round((summary.cost or 0.0) + (before.cost or 0.0), 6) if known else None
