"""What every job that asks a model shares: settings, provider, journal and runner, and rows written in input order.

A job gives items and one coroutine, `work(runner, item) -> Made`, or `work(runners, item)` where it asks several
models. State lives in the journal alone: a rerun walks the items again and finds the replies it has there, so it goes
on at the next call, not at the next item.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

import pyarrow as pa

from datatools.engine.parts import Parts
from datatools.engine.work import Work, open_work, work_path
from datatools.io.atomic import parquet_writer, part_writer
from datatools.io.source import Fault
from datatools.llm.endpoint import TIMEOUT, Endpoint, api_key, identity, is_loopback
from datatools.llm.errors import Failure
from datatools.llm.journal_nodes import open_journal
from datatools.llm.runner import Runner, run_ordered
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.ask_run import IN_PROCESS, AskRun
from pipelines.ask_run import RULES as RULES
from pipelines.ask_run import AskSettings as AskSettings
from pipelines.ask_run import taken as taken
from pipelines.asking import Model as Model
from pipelines.asking import Status, interruptible, known_price, team, ticking
from pipelines.inputs import FAULT_CLASSES, companions
from pipelines.leaks import opened, without_leaks
from schemas.trace import FAILED, TRACE

T = TypeVar("T")
R = TypeVar("R")
M = TypeVar("M")
OPENAI = "https://api.openai.com/v1"
ASKED = "asked"  # the one unit whose parts hold what was made
WAVE = 20_000  # items that are asked about together where requests are sent as files
_TABLE_ROWS = 500


@dataclass
class Made:
    """What came of one item: rows for the streams rows, trace and failed, and what is counted of them."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    trace: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def fault(self, fault: Fault) -> Made:
        """Something could not be read."""
        self.trace.append(
            {"id": "", "source": fault.source, "step": "read", "rule": fault.rule, "excerpt": fault.message[:200]}
        )
        return self

    def fail(self, id: str, source: str, step: str, failure: Failure) -> Made:
        """A call got no usable reply."""
        self.failed.append(
            {
                "id": id,
                "source": source,
                "step": step,
                "class": failure.kind,
                "message": failure.message,
                "attempts": failure.attempts,
            }
        )
        return self

    def drop(self, id: str, source: str, step: str, rule: str, text: str, **more: Any) -> Made:
        """Something is left out, by this rule; `more` are further fields of a trace row."""
        self.trace.append({"id": id, "source": source, "step": step, "rule": rule, "excerpt": text[:200], **more})
        return self


@dataclass
class Usage:
    """Tokens that the replies for one row were billed for."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, reply: Any) -> None:
        """One more reply."""
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens

    def record(self) -> dict[str, int]:
        """The struct of a row."""
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}


def flags_of(counts: Counter[str]) -> dict[str, int]:
    """Rows by flag, the most frequent first, out of what jobs count under `flag:NAME`."""
    return {name.removeprefix("flag:"): count for name, count in counts.most_common() if name.startswith("flag:")}


def model_of(settings: AskSettings, run: AskRun, need: str) -> Model:
    """The model that the settings name; `need` says what to give where they name none. Raises as `model_at`."""
    if not settings.model or settings.model == RULES:
        raise ValueError(need)
    return model_at(settings.model, settings.base_url, run)


def model_at(name: str, base_url: str | None, run: AskRun, home: str | None = None) -> Model:
    """The model of this name, in this process or at an endpoint, OpenAI's where there is no other.

    `home` is where the job's first model is: the key is for that host, and sent to no other one. Made before any work
    begins, so that a bad setting stops at once. Raises ValueError for a key, a model or a price that is not there.
    """
    if name.startswith(IN_PROCESS):
        from datatools.llm.transformers_model import TransformersModel  # brings torch along

        if run.lane == "batch":
            raise ValueError("--lane batch: needs --model NAME of an endpoint that takes batch files")
        loaded = TransformersModel(name)
        paid = known_price(run, name, loaded.identity)
        return Model(lambda: loaded, name, name, paid)
    url = base_url or OPENAI
    key = api_key(key_variable(run.api_key_env, url, home or url), url) if run.sends else ""
    paid = known_price(run, name, identity(url))
    return Model(lambda: Endpoint(url, name, key, run.timeout or TIMEOUT), name, url, paid)


def key_variable(named: str, url: str, home: str) -> str:
    """The environment variable that holds the key for a URL; "" where none is needed. ValueError where none is named.

    `named` is what --api-key-env says: the variable for the host of `home`, and HOST=VARIABLE for others.

    >>> key_variable("A_KEY,judge.org=B_KEY", "https://judge.org/v1", "https://api.org/v1")
    'B_KEY'
    """
    first, *others = (part.strip() for part in named.split(","))
    variables = {identity(home): first, **dict(part.split("=", 1) for part in others if "=" in part)}
    host = identity(url)
    if host in variables:
        return variables[host]
    if is_loopback(url):
        return ""
    raise ValueError(
        f"the key in {first} is for {identity(home)} and is not sent to {host}: "
        f"--api-key-env {first},{host}=VARIABLE names the variable of another"
    )


def judge_of(model: str | None, base_url: str | None, writers: Sequence[Model], run: AskRun) -> Model:
    """The model that judges: the first writer where none is named, and where it is where no URL is given.

    Raises as `model_at`, and where a price is given for a judge that is a writer.
    """
    if run.judge_price_in is not None or run.judge_price_out is not None:
        if model is None and base_url is None:
            raise ValueError(
                "--judge-price-in, --judge-price-out: need --judge-model NAME, the writer has its own price"
            )
        run = replace(run, price_in=run.judge_price_in, price_out=run.judge_price_out)
    home = next((writer.base_url for writer in writers if not writer.name.startswith(IN_PROCESS)), None)
    if model is None:
        return writers[0] if base_url is None else model_at(writers[0].name, base_url, run, home)
    if base_url is None:
        known = next((writer for writer in writers if writer.name == model), None)
        if known is not None:
            return known
        base_url = None if writers[0].name.startswith(IN_PROCESS) else writers[0].base_url
    return model_at(model, base_url, run, home)


@contextmanager
def work_of(out: Path, description: Mapping[str, Any], run: AskRun) -> Iterator[Work]:
    """The work folder of a job; a dry run gets one that is forgotten, so that several settings may be compared."""
    with ExitStack() as folders:
        place = out
        if run.estimates:
            work_path(out)  # says what is wrong with --out
            place = Path(folders.enter_context(TemporaryDirectory(prefix="datatools-"))) / out.name
        yield folders.enter_context(open_work(place, description, fresh=run.fresh))


def ask_all(
    items: Iterable[T],
    work: Callable[[Runner, T], Awaitable[Made]],
    model: Model,
    run: AskRun,
    place: Work,
    schema: pa.Schema,
    summary: Summary,
    progress: Progress,
    total: int | None = None,
) -> Counter[str]:
    """Do `work` for every item and leave the rows as parts, in the order of the items; returns what was counted.

    Fills the summary's requests and tokens, also when the run is stopped.
    """
    return ask_several(items, of_one(work), [model], run, place, schema, summary, progress, total)


def of_one(work: Callable[[Runner, T], Awaitable[Made]]) -> Callable[[Sequence[Runner], T], Awaitable[Made]]:
    """Work that asks one model, as one that is given the runners of several."""
    return lambda runners, item: work(runners[0], item)


def ask_several(
    items: Iterable[T],
    work: Callable[[Sequence[Runner], T], Awaitable[Made]],
    models: Sequence[Model],
    run: AskRun,
    place: Work,
    schema: pa.Schema,
    summary: Summary,
    progress: Progress,
    total: int | None = None,
) -> Counter[str]:
    """The same for work that asks several models: it is given their runners, in the same order."""
    return asyncio.run(
        asking(
            items, work, models, run, place.journal, lambda made: _write(made, place, schema), summary, progress, total
        )
    )


async def asking(
    items: Iterable[T],
    work: Callable[[Sequence[Runner], T], Awaitable[M]],
    models: Sequence[Model],
    run: AskRun,
    path: Path,
    sink: Callable[[AsyncIterator[M]], Awaitable[R]],
    summary: Summary,
    progress: Progress,
    total: int | None,
) -> R:
    """What `sink` makes of what `work` gives for every item, in order, with the journal at `path`."""
    say = partial(progress.say_of, summary.command)
    with open_journal(path) as journal:
        if lost := journal.unfinished():
            say(f"{lost} calls were under way when an earlier run ended; they may have been billed")
        async with team(models, journal, run, say) as asked:
            most = 2 * max(runner.settings.most for runner in asked.runners)
            workers = most if run.lane != "batch" else WAVE if total is None else min(WAVE, total) or 1
            status = Status(asked)
            with interruptible(asked, say), progress.bar("asking", total) as bar, ticking(bar, status):

                async def done(item: T) -> M:
                    made = await work(asked.runners, item)
                    bar.advance(detail=status)  # as they come, not as they are written
                    return made

                try:
                    return await sink(run_ordered(items, done, workers=workers, window=4 * workers))
                except BaseException as error:
                    error.summary = summary  # type: ignore[attr-defined] # what was sent is told all the same
                    raise
                finally:
                    asked.count(summary)


def make_all(
    items: Iterable[T], work: Callable[[T], Made], place: Work, schema: pa.Schema, progress: Progress
) -> Counter[str]:
    """The same without a model, where rules make the rows."""

    with progress.bar("filling", None) as bar:

        async def made() -> AsyncIterator[Made]:
            for item in items:
                yield work(item)
                bar.advance()

        return asyncio.run(_write(made(), place, schema))


async def all_of(calls: Iterable[Awaitable[R]]) -> list[R]:
    """What calls that are made at the same time give; where one raises, after all have ended: replies are stored."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return cast(list[R], found)


async def _write(results: AsyncIterator[Made], place: Work, schema: pa.Schema) -> Counter[str]:
    counts: Counter[str] = Counter()
    with ExitStack() as files:
        sinks: dict[str, tuple[pa.RecordBatchWriter, pa.Schema, list[dict[str, Any]]]] = {
            name: (files.enter_context(part_writer(place.part(ASKED, name), kind)), kind, [])
            for name, kind in (("rows", schema), ("trace", TRACE), ("failed", FAILED))
        }
        async for made in results:
            counts.update(made.counts)
            for name, (writer, kind, pending) in sinks.items():
                pending += getattr(made, name)
                _flush(writer, kind, pending, _TABLE_ROWS)
        for writer, kind, pending in sinks.values():
            _flush(writer, kind, pending, 1)
    return counts


def _flush(writer: pa.RecordBatchWriter, schema: pa.Schema, rows: list[dict[str, Any]], at_least: int) -> None:
    if len(rows) >= at_least:
        writer.write(pa.Table.from_pylist(rows, schema=schema))
        rows.clear()


def write_output(
    place: Work,
    out: Path,
    schema: pa.Schema,
    summary: Summary,
    exams: Path | None = None,
    turned: Callable[[pa.Table], pa.Table] | None = None,
) -> None:
    """The output and what stands beside it, out of the parts, rows `turned` into their form; fills the summary.

    Rows that hold an item of the index in `exams` are left out.
    """
    index = opened(exams)
    trace_path, failed_path = companions(out)
    dropped: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    with parquet_writer(trace_path, TRACE) as trace, parquet_writer(out, schema) as writer:
        for _, table in Parts(place, [ASKED], "trace").batches():
            trace.write(table)
            for row in table.select(["source", "rule", "excerpt"]).to_pylist():
                if row["rule"] in FAULT_CLASSES:
                    failed[FAULT_CLASSES[row["rule"]]] += 1
                    summary.problems.append(f"{row['source']}: {row['excerpt']}")
                else:
                    dropped[row["rule"]] += 1
        for _, table in Parts(place, [ASKED], "rows").batches():
            table, leaked = without_leaks(table, index)
            writer.write(turned(table) if turned else table)
            if leaked:
                trace.write(pa.Table.from_pylist(leaked, schema=TRACE))
                dropped.update(row["rule"] for row in leaked)
    with parquet_writer(failed_path, FAILED) as refused:
        for _, table in Parts(place, [ASKED], "failed").batches():
            refused.write(table)
            failed.update(table["class"].to_pylist())
    for path, written in ((trace_path, trace.written), (failed_path, refused.written)):
        if not written:  # a file that says nothing is not left behind, whether this run wrote it or an earlier one
            path.unlink()
    summary.rows_written, summary.output = writer.written, str(out)
    summary.dropped, summary.failed = dict(sorted(dropped.items())), dict(sorted(failed.items()))
    summary.trace = str(trace_path) if trace.written else None
    summary.failed_rows = str(failed_path) if refused.written else None
