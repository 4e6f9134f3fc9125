"""Jobs that ask a model on three real Ray nodes: the rows of one runner, one limit, one budget, no call paid twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.asking as asking
from schemas.conversation import CONVERSATION
from tests.cluster import Nodes, three_nodes
from tests.llm.clinic import Clinic
from tests.llm.model_server import ModelServer, mixed
from tests.pipelines.command import Ended, files, here, killed_when, started, write
from tests.pipelines.test_prefer_judge import WRITERS, talks
from tests.pipelines.test_unify_model import honest, pages

pytestmark = pytest.mark.slow
Serve = Callable[..., ModelServer]
RAY = ("--engine", "ray")
PRICES = ("--price-in", 2, "--price-out", 8)
FAULTS = "rate=0.1,server=0.05,reset=0.03,truncated_json=0.02"


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with three_nodes() as found:
        yield found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits before another try are a hundredth of what they are for users."""
    monkeypatch.setattr(asking, "Settings", partial(asking.Settings, backoff=0.01))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "in", pages(40))


def unify(folder: Path, out: Path, server: ModelServer, *more: object) -> Ended:
    return here(*line(folder, out, server), *more)


def line(folder: Path, out: Path, server: ModelServer) -> list[object]:
    where = ("--out", out, "--model", "m", "--base-url", server.url)
    return ["unify", folder, *where, "--no-curate", "--debug", "--json", "--attempts", 9, *PRICES]


def billed(server: ModelServer) -> float:
    """What the server's replies cost."""
    texts = [server.reply(seen.body["messages"]) for seen in server.seen if seen.fault not in ("rate", "server")]
    return sum(2 * 10 + 8 * len(text) for text in texts) / 1e6


def journal(out: Path) -> dict[str, Any]:
    return here("journal", out, "--json", *PRICES).summary


def summary(done: Ended) -> dict[str, Any]:
    """The same where Ray has printed of a lost node: it does so to the stdout of whoever joined it, here the tests."""
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_rows_of_one_runner_within_one_limit(nodes: Nodes, tmp_path: Path, folder: Path, serve: Serve) -> None:
    plain, out = tmp_path / "plain" / "sft.parquet", tmp_path / "sft.parquet"
    assert unify(folder, plain, serve(reply=honest)).code == 0
    server = serve(reply=honest, fault=mixed(FAULTS, 3), latency=0.05)
    done = unify(folder, out, server, *RAY, "--concurrency", 5, "--rpm", 3000)
    assert done.code == 0, done.stderr
    assert files(out) == files(plain)
    assert server.most_in_flight == 5
    arrivals = [seen.arrival for seen in server.seen]
    for first, began in enumerate(arrivals):
        within = sum(began <= at < began + 0.5 for at in arrivals[first:])
        assert within <= 3000 / 60 * (0.5 + 0.5) + 5  # a burst of half a second, and as long
    requests, told = done.summary["requests"], journal(out)
    assert requests["sent"] == len(server.seen) == told["requests"]["sent"]
    assert requests["retried"] == told["requests"]["retried"] > 0
    assert done.summary["cost"] == pytest.approx(told["cost"], abs=1e-6)
    assert len(told["nodes"]) == 3 and all(use["sent"] > 5 and not use["at_work"] for use in told["nodes"])
    assert sum(use["replies"] for use in told["nodes"]) == told["replies"]
    assert not (tmp_path / "sft.work" / "journals").exists()
    again = unify(folder, out, server, "--fresh")  # the local engine finds it all
    assert (again.summary["requests"]["sent"], again.summary["requests"]["cached"]) == (0, 80)


def test_the_budget_holds_over_all_nodes(nodes: Nodes, tmp_path: Path, folder: Path, out: Path, serve: Serve) -> None:
    whole = serve(reply=honest)
    assert unify(folder, tmp_path / "calm.parquet", whole).code == 0
    server = serve(reply=honest, latency=0.02)
    budget = 0.4 * billed(whole)
    stopped = unify(folder, out, server, *RAY, "--concurrency", 24, "--budget", budget)
    assert stopped.code == 4 and f"the budget of {budget:g} does not hold another call" in stopped.line
    assert 0.5 * budget < billed(server) <= budget and not out.exists()
    assert stopped.summary["cost"] == pytest.approx(billed(server), abs=1e-6)
    again = unify(folder, out, server, "--budget", budget)  # the local engine knows what the nodes spent
    assert again.code == 4 and billed(server) <= budget
    assert unify(folder, out, server, "--budget", 10).code == 0
    assert files(out) == {"sft.parquet": (tmp_path / "calm.parquet").read_bytes()}
    assert billed(server) == pytest.approx(billed(whole)) and max(server.count.values()) == 1


def test_a_node_killed_in_the_middle(nodes: Nodes, tmp_path: Path, folder: Path, out: Path, serve: Serve) -> None:
    plain = tmp_path / "plain" / "sft.parquet"
    assert unify(folder, plain, serve(reply=honest)).code == 0
    killing = threading.Thread(target=nodes.kill_one)
    arrived: list[str] = []

    def fault(key: str, nth: int, body: dict[str, Any]) -> str:
        arrived.append(key)
        if len(arrived) == 50:  # with 20 on the wire
            killing.start()
        return ""

    server = serve(reply=honest, fault=fault, latency=0.5)
    try:
        done = unify(folder, out, server, *RAY, "--concurrency", 20)
    finally:
        killing.join()
        nodes.whole()
    assert done.code == 0, done.stderr
    assert files(out) == files(plain)
    told = journal(out)
    # What was on the wire there may have been billed, and is all that is asked again.
    assert "calls under way may have been billed" in done.stderr and 0 < told["unfinished"] <= 20
    assert 80 < len(server.seen) <= 80 + told["unfinished"] and max(server.count.values()) == 2
    assert told["replies"] == 80 and summary(done)["requests"]["sent"] == told["requests"]["sent"]
    assert len(told["nodes"]) == 3


def test_a_killed_driver_loses_no_reply(nodes: Nodes, tmp_path: Path, folder: Path, out: Path, serve: Serve) -> None:
    plain = tmp_path / "plain" / "sft.parquet"
    assert unify(folder, plain, serve(reply=honest)).code == 0
    server = serve(reply=honest, latency=0.15)
    run = started(*line(folder, out, server), *RAY, "--ray-address", nodes.address, "--concurrency", 6)
    assert killed_when(run, lambda: len(server.seen) >= 30)
    told = journal(out)  # the runners are gone or will be, and the view is of all their journals
    assert len(told["nodes"]) == 3 and told["replies"] >= 20
    done = unify(folder, out, server)
    assert done.code == 0 and files(out) == files(plain)
    assert done.summary["requests"]["cached"] >= told["replies"]
    after = journal(out)
    assert after["replies"] == 80 and len(server.seen) - 80 <= after["unfinished"] <= 6
    assert {use["node"] for use in after["nodes"]} == {use["node"] for use in told["nodes"]} | {""}


def test_models_that_write_and_one_that_judges(nodes: Nodes, tmp_path: Path, serve: Serve) -> None:
    pq.write_table(pa.Table.from_pylist(talks(), schema=CONVERSATION), tmp_path / "in.parquet")
    server, made = serve(reply=Clinic()), []
    for name, more in (("here", ()), ("ray", RAY)):
        out = tmp_path / name / "made.parquet"
        done = here("prefer", tmp_path / "in.parquet", *WRITERS, "--base-url", server.url, "--out", out, *more)
        assert done.code == 0, done.stderr
        made.append(files(out))
    assert made[0] == made[1] and made[0]
    assert set(server.count.values()) == {2}


RULES = {"tcm": ["--per-entity", 2], "prefer": ["--negatives", "rules"], "check": []}


@pytest.mark.parametrize("job", RULES)
def test_jobs_by_rules_give_the_bytes_of_the_local_engine(nodes: Nodes, graph: Path, tmp_path: Path, job: str) -> None:
    pq.write_table(pa.Table.from_pylist(talks(), schema=CONVERSATION), tmp_path / "in.parquet", row_group_size=5)
    source, made = graph if job == "tcm" else tmp_path / "in.parquet", []
    for name, more in (("here", ("--workers", 1)), ("ray", RAY)):
        out = tmp_path / name / "made.parquet"
        done = here(job, source, "--out", out, "--quiet", *RULES[job], *more)
        assert done.code == 0, done.stderr
        made.append(files(out))
    assert made[0] == made[1] and made[0]
