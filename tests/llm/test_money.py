"""Prices, and a budget that holds whatever the endpoint does."""

from __future__ import annotations

import asyncio
import tomllib
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.llm.endpoint import Endpoint
from datatools.llm.errors import Stopped
from datatools.llm.journal import Journal
from datatools.llm.money import MARGIN, TABLE, UNSEEN_TOKENS, Budget, Price, Spent, price
from datatools.llm.request import Request
from datatools.llm.runner import Runner, Settings, run_ordered
from datatools.llm.tokens import estimate
from tests.llm.model_server import ModelServer, mixed
from tests.llm.simulated import VirtualLoop

ONE = Price(0.0, 1e6)  # 1 for a token of a reply


def asked(text="x", system="", **parameters):
    first = [{"role": "system", "content": system}] if system else []
    return Request([*first, {"role": "user", "content": text}], **parameters)


def virtually(main):
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


# Prices


def test_every_price_of_the_table_has_a_day_and_a_source():
    entries = tomllib.loads(TABLE.read_text(encoding="utf-8"))["price"]
    assert len({(entry["host"], entry["model"]) for entry in entries}) == len(entries) >= 5
    for entry in entries:
        assert isinstance(entry["seen"], date) and entry["source"].startswith("https://") and entry["via"]
        assert 0 < entry["in"] < entry["out"]
        assert price(entry["model"], entry["host"]).prompt == entry["in"]


def test_given_prices_win_and_half_of_them_is_refused():
    assert price("deepseek-v4-flash", "api.deepseek.com", 1.0, 2.0).of(1e6, 1e6) == 3.0
    assert price("m", "local") is None
    assert price("transformers:m", "transformers 0123").of(1e6, 1e6) == 0
    with pytest.raises(ValueError, match="give both"):
        price("m", "local", price_in=1.0)


# Tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        # Counted with the o200k tokeniser.
        ("高血压的发生与遗传、高盐饮食、肥胖和长期精神紧张有关，收缩压达到140 mmHg即可诊断。", 36),
        ("Asthma is a long-term disease in which the airways are inflamed and narrow too easily.", 18),
    ],
)
def test_tokens_are_estimated_from_characters_rather_too_high(text, tokens):
    assert tokens * 0.9 <= estimate(text) <= tokens * 1.6


# The budget


def test_a_call_waits_for_what_others_leave_over_and_is_refused_when_none_is_left():
    async def main():
        budget = Budget(100.0, ONE)
        first = await budget.reserve(asked(max_tokens=60))
        waiting = asyncio.create_task(budget.reserve(asked(max_tokens=60)))
        await asyncio.sleep(1)
        assert not waiting.done() and budget.reserved == 60
        budget.settle(first, 5, 30, b"")
        second = await waiting
        budget.settle(second, 5, 55, b"")
        assert (budget.spent, budget.reserved) == (85, 0)
        with pytest.raises(Spent):
            await budget.reserve(asked(max_tokens=60))
        budget.settle(await budget.reserve(asked(max_tokens=15)), 5, 15, b"")
        return budget.spent

    assert virtually(main) == 100


def test_all_who_wait_are_refused_when_nothing_is_left():
    async def main():
        budget = Budget(100.0, ONE)
        first = await budget.reserve(asked(max_tokens=90))
        waiting = [asyncio.create_task(budget.reserve(asked(max_tokens=50))) for _ in range(5)]
        await asyncio.sleep(1)
        budget.settle(first, 5, 90, b"")
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(outcome) for outcome in virtually(main)] == [Spent] * 5


def test_the_length_of_replies_is_learned_for_each_kind_of_instructions():
    async def main():
        budget = Budget(1e9, ONE)
        for system, tokens in (("ask", 20), ("answer", 300)):
            budget.settle(await budget.reserve(asked(system=system)), 5, tokens, b"")
        held = [await budget.reserve(asked(system=system)) for system in ("ask", "answer", "other")]
        return [reservation.amount for reservation in held]

    assert virtually(main) == [20 * MARGIN, 300 * MARGIN, UNSEEN_TOKENS]


def test_where_nothing_is_known_and_the_guess_does_not_fit_one_call_goes_alone():
    async def main():
        budget = Budget(50.0, ONE)
        first = await budget.reserve(asked())
        second = asyncio.create_task(budget.reserve(asked()))
        await asyncio.sleep(1)
        assert not second.done()
        budget.settle(first, 5, 10, b"")
        return (await second).amount

    assert virtually(main) == 10 * MARGIN


def test_a_reply_without_usage_counts_by_its_length_and_a_lost_call_by_what_was_reserved():
    async def main():
        budget = Budget(1e9, ONE)
        budget.settle(await budget.reserve(asked()), 0, 0, "高血压".encode() * 100)
        assert budget.spent == pytest.approx(240)
        budget.free(await budget.reserve(asked(max_tokens=7)))
        budget.lose(await budget.reserve(asked(max_tokens=7)))
        return budget.spent, budget.lost

    assert virtually(main) == (pytest.approx(247), 7)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.floats(0, 5), st.sampled_from("ab")), min_size=1, max_size=60),
    st.integers(1, 12),
    st.floats(1, 500),
    st.booleans(),
)
def test_the_cap_is_passed_by_no_more_than_the_calls_in_flight_cost_and_not_at_all_with_max_tokens(
    calls, workers, cap, bounded
):
    """Each call: tokens of its reply, seconds, instructions; 60 is as long as one may be."""

    async def main():
        budget, over, running = Budget(cap, ONE), 0.0, {}
        source = iter(enumerate(calls))

        async def work():
            nonlocal over
            for number, (tokens, seconds, system) in source:
                try:
                    held = await budget.reserve(asked(system=system, max_tokens=60 if bounded else None))
                except Spent:
                    return
                running[number] = tokens
                over = max(over, sum(running.values()))
                await asyncio.sleep(seconds)
                budget.settle(held, 1, tokens, b"")
                del running[number]

        await asyncio.gather(*(work() for _ in range(workers)))
        assert budget.reserved == 0
        return budget.spent, over

    spent, over = virtually(main)
    assert spent <= cap + (0 if bounded else over) + 1e-6


@pytest.mark.parametrize(("seed", "concurrency"), [(1, 4), (2, 16), (3, 64)])
def test_among_faults_the_endpoint_bills_no_more_than_the_cap(tmp_path, seed, concurrency):
    """It bills every reply that it writes, also those that never arrive whole."""
    faults = "rate=0.1,server=0.05,reset=0.03,reset_body=0.03,truncated_json=0.05,short=0.03,hang=0.02,no_usage=0.05"
    unbilled, cap = {"rate", "server"}, 3000.0

    async def main(url):
        budget = Budget(cap, ONE)
        with Journal(tmp_path / "journal.sqlite") as journal:
            tries = Settings(backoff=0.001, concurrency=concurrency)
            async with Runner(Endpoint(url, "m", timeout=0.3), journal, tries, budget=budget) as runner:
                work = run_ordered(
                    range(2000), lambda i: runner.ask(asked(f"第{i}问", max_tokens=40)), workers=128, window=256
                )
                with pytest.raises(Stopped, match="budget of 3000") as stopped:
                    async for _ in work:
                        pass
                assert stopped.value.failure.kind == "budget"
        return budget

    with ModelServer(fault=mixed(faults, seed), latency=0.005) as server:
        budget = asyncio.run(main(server.url))
        billed = [len(server.reply(seen.body["messages"])) for seen in server.seen if seen.fault not in unbilled]
    assert budget.reserved == 0 and budget.lost > 0
    assert max(billed) <= 40
    assert sum(billed) <= budget.spent + 1e-6 <= cap + 1e-6
    assert budget.spent > 0.98 * cap  # what is reserved and not used is used by others
