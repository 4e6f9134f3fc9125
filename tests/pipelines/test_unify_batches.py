"""unify in the lane of batch files: the same rows as with calls, whatever a run is killed in the middle of."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from datatools.llm.journal import Journal
from tests.llm.batch_server import BatchServer, nth
from tests.pipelines import physician
from tests.pipelines.command import (
    beside,
    command,
    ended,
    files,
    here,
    killed_when,
    library,
    rows,
    started,
    until,
)

Line = Callable[..., list[object]]


@pytest.fixture
def server() -> Iterator[BatchServer]:
    with BatchServer(reply=physician.reply) as running:
        yield running


@pytest.fixture
def line(tmp_path: Path, out: Path, server: BatchServer) -> Line:
    """The command on a book of 80 chapters, of which some questions and answers fail their checks."""
    folder = library(tmp_path / "in", books=1, chapters=80, length=2)

    def made(*options: object, lane: str = "batch", to: Path = out) -> list[object]:
        model = ["--model", "m", "--base-url", server.url, "--lane", lane, "--poll", 0]
        return ["unify", folder, "--out", to, *model, "--no-curate", "--workers", 1, "--json", *options]

    return made


def test_a_wave_is_a_batch_and_the_rows_are_those_of_calls(
    tmp_path: Path, out: Path, server: BatchServer, line: Line
) -> None:
    done = here(*line())
    assert done.code == 0, done.stderr
    # All questions, all answers with the questions that failed a check, and what these lead to.
    sizes = [len(batch.lines) for batch in server.batches]
    assert sizes[:2] == [80, 80]
    assert len(sizes) <= 4
    assert done.summary["requests"] == {"sent": sum(sizes), "cached": 0, "retried": 0}
    assert done.summary["rows_written"] + sum(done.summary["dropped"].values()) == 80
    other = tmp_path / "calls" / "sft.parquet"
    other.parent.mkdir()
    assert here(*line(lane="sync", to=other)).summary["requests"] == done.summary["requests"]
    assert files(other) == files(out)


def test_each_lane_goes_on_where_the_other_stopped(out: Path, server: BatchServer, line: Line) -> None:
    first = here(*line("--limit", 30))
    second = here(*line("--fresh", "--limit", 60, lane="sync"))
    third = here(*line("--fresh"))
    sent = [done.summary["requests"]["sent"] for done in (first, second, third)]
    assert [done.summary["requests"]["cached"] for done in (first, second, third)] == [0, sent[0], sent[0] + sent[1]]
    assert sum(server.executed.values()) == sum(sent)


def test_what_fails_for_good_is_a_failed_row(out: Path, server: BatchServer, line: Line) -> None:
    server.row = lambda key, number, body: "filter" if "00号丸" in body["messages"][-1]["content"] else ""
    done = here(*line())
    assert done.code == 3
    assert [(row["class"], row["step"]) for row in rows(beside(out, "failed"))] == [("content_filter", "question")]
    server.row = lambda key, number, body: ""
    assert here(*line("--retry-failed")).code == 0


@pytest.mark.parametrize(
    "options, said",
    [
        (["--lane", "fast", "--model", "m"], "must be sync or batch"),
        (["--lane", "batch"], "needs --model"),
        (["--lane", "batch", "--model", "transformers:x"], "needs --model NAME of an endpoint"),
    ],
)
def test_a_lane_that_cannot_be_is_refused(example_corpus: Path, out: Path, options: list[str], said: str) -> None:
    done = here("unify", example_corpus, "--out", out, *options)
    assert (done.code, said in done.line) == (2, True)


def test_an_endpoint_without_batches_ends_the_run(out: Path, server: BatchServer, line: Line) -> None:
    server.call = nth("upload", 0, "not_found")
    done = here(*line())
    assert (done.code, "does it take batches?" in done.line) == (4, True)
    assert here(*line(lane="sync")).code == 0


# Kills

STEPS = [
    *[(route, place) for route in ("upload", "create", "look", "content") for place in ("hang_before", "hang_after")],
    ("content", "cut_hang"),
]


def replies(path: Path) -> int:
    with closing(Journal(path)) as journal:
        return journal.counts().replies


@pytest.mark.slow
def test_a_run_that_is_killed_at_every_step_sends_nothing_twice(
    tmp_path: Path, out: Path, server: BatchServer, line: Line
) -> None:
    journal = out.with_suffix(".work") / "journal.sqlite"
    server.first = 64  # lines of a file, which are in the journal before the next ones are waited for
    for wave in (1, 2):
        for route, place in STEPS:
            before = len(server.batches)
            server.call = nth(route, server.calls[route] + 1, place)
            server.reached.clear()
            assert killed_when(started(*line()), server.reached.is_set), (wave, route, place)
            assert len(server.batches) <= before + 1
    server.call = lambda route, count: ""
    done = command(*line())
    assert done.code == 0, done.stderr
    other = tmp_path / "calls" / "sft.parquet"
    other.parent.mkdir()
    executed = dict(server.executed)
    assert here(*line(lane="sync", to=other)).code == 0
    assert files(other) == files(out)
    asked = replies(other.with_suffix(".work") / "journal.sqlite")
    assert replies(journal) == asked == sum(executed.values())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_its_batch_under_way(
    out: Path, server: BatchServer, line: Line, number: signal.Signals
) -> None:
    words = line("--poll", 60)
    process = started(*words)
    assert until(process, lambda: bool(server.calls["look"]))
    process.send_signal(number)
    done = ended(process)
    assert (done.code, "Traceback" in done.stderr) == (130, False), done.stderr
    assert "the same line again goes on" in done.line
    found = here("journal", out, "--json").summary
    assert [(batch["batch"], batch["requests"]) for batch in found["batches"]] == [("batch_0", 80)]
    assert (found["unfinished"], found["may_have_been_billed"]) == (0, 0)
    assert "80 requests wait in it: batch_0 at local, begun" in here("journal", out).stdout
    assert here(*line()).code == 0
    assert [len(batch.lines) for batch in server.batches][:2] == [80, 80]
