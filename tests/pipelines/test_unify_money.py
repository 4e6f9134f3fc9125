"""What unify with a model costs, before, while and after; and Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import pipelines.asking as asking
from tests.llm.model_server import ModelServer, mixed, planned
from tests.pipelines.command import ended, files, here, rows, started, until, write
from tests.pipelines.test_unify_model import honest, pages

Serve = Callable[..., ModelServer]
PRICES = ("--price-in", 2, "--price-out", 8)
FAULTS = "rate=0.1,server=0.05,reset=0.03,truncated_json=0.02,hang=0.02"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits before another try are a hundredth of what they are for users."""
    monkeypatch.setattr(asking, "Settings", partial(asking.Settings, backoff=0.01))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "in", pages(30))


def line(folder: Path, out: Path, server: ModelServer, *options: object) -> list[object]:
    return ["unify", folder, "--out", out, "--model", "m", "--base-url", server.url, "--json", *options]


def billed(server: ModelServer) -> float:
    """What the server's replies cost."""
    texts = [server.reply(seen.body["messages"]) for seen in server.seen if seen.fault not in ("rate", "server")]
    return sum(2 * 10 + 8 * len(text) for text in texts) / 1e6


# Cost and budget


def test_the_cost_is_that_of_this_run_and_the_journal_knows_all(folder: Path, out: Path, serve: Serve) -> None:
    server = serve(reply=honest)
    first = here(*line(folder, out, server, *PRICES))
    assert first.summary["cost"] == pytest.approx(billed(server), abs=1e-6)
    again = here(*line(folder, out, server, *PRICES))
    assert (again.summary["cost"], again.summary["requests"]["cached"]) == (0.0, 60)
    told = here("journal", out, "--json", *PRICES).summary
    assert told["cost"] == pytest.approx(billed(server), abs=1e-6)
    assert here(*line(folder, out, server, "--fresh")).summary["cost"] == 0.0
    assert "cost 0.0" in here(*line(folder, out, server, *PRICES)[:-5], *PRICES).stdout


def test_without_a_price_the_cost_is_not_known(folder: Path, out: Path, serve: Serve) -> None:
    assert here(*line(folder, out, serve(reply=honest))).summary["cost"] is None


def test_a_budget_needs_a_price(folder: Path, out: Path, serve: Serve) -> None:
    server = serve()
    done = here(*line(folder, out, server, "--budget", 1))
    assert done.code == 2 and "the price of m at local is not known" in done.line and "--price-in" in done.line
    half = here(*line(folder, out, server, "--price-in", 1))
    assert half.code == 2 and "give both" in half.line
    rules = here("unify", folder, "--out", out, "--budget", 1)
    assert rules.code == 2 and "needs --model" in rules.line
    assert server.seen == [] and not out.exists()


@pytest.mark.parametrize("faults", ["", FAULTS], ids=["calm", "storm"])
def test_a_budget_stops_with_4_is_never_passed_and_a_larger_one_goes_on(
    tmp_path: Path, folder: Path, out: Path, serve: Serve, faults: str
) -> None:
    calm = tmp_path / "calm" / "sft.parquet"
    whole = serve(reply=honest)
    assert here(*line(folder, calm, whole)).code == 0
    server = serve(reply=honest, fault=mixed(faults, 3), latency=0.005)
    budget, dearest = 0.4 * billed(whole), 8 * 80 / 1e6
    options = (*PRICES, "--timeout", 1, "--concurrency", 4, "--attempts", 8)
    stopped = here(*line(folder, out, server, *options, "--budget", budget))
    assert stopped.code == 4 and f"the budget of {budget:g} does not hold another call" in stopped.line
    assert "larger --budget" in stopped.line and not out.exists()
    assert 0.5 * budget < billed(server) <= budget + 4 * dearest
    again = here(*line(folder, out, server, *options, "--budget", budget))
    assert again.code == 4  # the cap is for the job, not for each run of it
    assert billed(server) <= budget + 4 * dearest
    assert here(*line(folder, out, server, *options, "--budget", 10)).code == 0
    assert files(out) == files(calm)


# Dry runs


def test_a_dry_run_sends_nothing_and_leaves_nothing(folder: Path, out: Path, serve: Serve) -> None:
    server = serve(reply=honest)
    done = here(*line(folder, out, server, "--dry-run", *PRICES))
    assert done.code == 0, done.stderr
    found = done.summary["dry_run"]
    assert (found["passages"], found["calls"], found["rows"], found["pilot"]) == (30, 60, 30, None)
    tokens = found["tokens"]
    assert found["lanes"]["sync"]["cost"] == pytest.approx(
        (2 * tokens["prompt"] + 8 * tokens["completion"]) / 1e6, 0.01
    )
    assert found["lanes"]["batch"]["cost"] == pytest.approx(found["lanes"]["sync"]["cost"] / 2, 0.01)
    assert (done.summary["cost"], done.summary["requests"]["sent"]) == (0.0, 0)
    assert server.seen == [] and not out.exists() and not out.with_suffix(".work").exists()
    # Another model may be tried without --fresh.
    other = here(*line(folder, out, server, "--dry-run"), "--model", "other")
    assert other.code == 0 and other.summary["dry_run"]["lanes"]["sync"]["cost"] is None


def test_a_dry_run_needs_no_key_and_knows_list_prices(folder: Path, out: Path) -> None:
    words = ["unify", folder, "--out", out, "--base-url", "https://api.deepseek.com/v1", "--json", "--dry-run"]
    done = here(*words, "--model", "deepseek-v4-flash")
    assert done.code == 0, done.stderr
    found = done.summary["dry_run"]
    tokens = found["tokens"]
    cost = (0.14 * tokens["prompt"] + 0.28 * tokens["completion"]) / 1e6
    assert found["lanes"]["sync"]["cost"] == pytest.approx(cost, rel=0.01)
    assert "api-docs.deepseek.com" in found["notes"][0]
    assert here(*words, "--model", "deepseek-v4-flash", "--pilot", 1).code == 2  # that one needs a key


def test_a_pilot_among_failures_says_that_it_is_too_low(folder: Path, out: Path, serve: Serve) -> None:
    server = serve(reply=honest, fault=planned({"第0号": ["filter!"]}))
    found = here(*line(folder, out, server, "--pilot", 2)).summary["dry_run"]
    assert found["pilot"]["failed"] == 1 and "too low" in found["notes"][-1]


def test_a_pilot_asks_about_so_many_passages_and_the_run_uses_its_replies(
    folder: Path, out: Path, serve: Serve
) -> None:
    server = serve(reply=honest)
    done = here(*line(folder, out, server, "--pilot", 6, *PRICES))
    assert done.code == 0, done.stderr
    found = done.summary["dry_run"]
    assert len(server.seen) == 12 and not out.exists()
    assert (found["pilot"]["passages"], found["pilot"]["calls"], found["pilot"]["pairs"]) == (6, 12, 6)
    assert found["pilot"]["cost"] == done.summary["cost"] == pytest.approx(billed(server), abs=1e-6)
    piloted = billed(server)
    assert (found["journalled"], found["calls"]) == (6, 48)
    assert here(*line(folder, out, server, *PRICES)).code == 0
    assert len(server.seen) == 60 and len(rows(out)) == 30
    assert found["lanes"]["sync"]["cost"] == pytest.approx(billed(server) - piloted, rel=0.05)


def test_a_pilot_goes_by_the_rate_that_is_given(folder: Path, out: Path, serve: Serve) -> None:
    done = here(*line(folder, out, serve(reply=honest), "--pilot", 2, "--rpm", 120))
    assert done.summary["dry_run"]["lanes"]["sync"]["seconds"] == pytest.approx(28, abs=1)


def test_a_dry_run_is_one_screen(folder: Path, out: Path, serve: Serve) -> None:
    words = [word for word in line(folder, out, serve(reply=honest), "--pilot", 3, *PRICES) if word != "--json"]
    shown = here(*words).stdout
    for said in ("6 requests sent", "30 to ask about, 3 of them in the journal", "sync", "batch", "3 passages"):
        assert said in shown


def test_a_dry_run_without_a_model_is_refused(folder: Path, out: Path) -> None:
    done = here("unify", folder, "--out", out, "--dry-run")
    assert done.code == 2 and "needs --model" in done.line


# Ctrl-C


def test_ctrl_c_once_waits_for_the_calls_under_way_and_loses_none(folder: Path, out: Path, serve: Serve) -> None:
    server = serve(reply=honest, latency=0.3)
    words = line(folder, out, server, "--concurrency", 6)
    process = started(*words)
    assert until(process, lambda: len(server.seen) >= 12)
    process.send_signal(signal.SIGINT)
    stopped = ended(process)
    assert stopped.code == 130, stopped.stderr
    assert "waiting for" in stopped.stderr and "goes on" in stopped.line and not out.exists()
    sent = len(server.seen)
    assert stopped.summary["requests"]["sent"] == sent
    done = here(*line(folder, out, server))
    assert done.code == 0 and "may have been billed" not in done.stderr
    assert done.summary["requests"]["cached"] == sent and len(server.seen) == 60


def test_ctrl_c_twice_stops_at_once(folder: Path, out: Path, serve: Serve) -> None:
    hangs = iter(["hang"])  # the first call about the seventh passage, and no other
    server = serve(
        reply=honest,
        fault=lambda key, nth, body: next(hangs, "") if "第7号" in body["messages"][-1]["content"] else "",
        latency=0.01,
    )
    process = started(*line(folder, out, server, "--concurrency", 6, "--timeout", 600))
    assert until(process, lambda: any(seen.fault for seen in server.seen) and len(server.seen) >= 40)
    process.send_signal(signal.SIGINT)
    lines = []
    for said in process.stderr:
        lines.append(said)
        if "waiting for" in said:
            process.send_signal(signal.SIGINT)
            break
    stopped = ended(process)
    assert stopped.code == 130, stopped.stderr
    assert "at once" in stopped.line
    done = here(*line(folder, out, server))
    assert done.code == 0 and "calls were under way" in done.stderr
    assert len(rows(out)) == 30 and len(server.seen) <= 60 + 6
