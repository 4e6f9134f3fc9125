"""What a job that calls a model would cost and how long it would take, in each lane."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from datatools.llm.control import START
from datatools.llm.errors import Failure
from datatools.llm.money import BATCH, Price
from datatools.llm.request import Reply, Request
from datatools.llm.runner import Runner, Settings
from datatools.llm.tokens import estimate_messages

FIXED_SECONDS, TOKENS_A_SECOND = 1.0, 40.0  # of a reply: until the first token, and then; assumed
BATCH_SECONDS = 24 * 3600.0  # within which providers promise a batch


@dataclass
class Calls:
    """A number of calls, what they take, and what was estimated for their prompts before."""

    passages: int = 0
    calls: float = 0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    seconds: float = 0.0  # of replies, one after another
    estimated: float = 0.0  # tokens of the prompts, from their characters

    def add(self, other: Calls) -> None:
        """These and those together."""
        self.passages += other.passages
        self.calls += other.calls
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.seconds += other.seconds
        self.estimated += other.estimated

    def scaled(self, factor: float) -> Calls:
        """`factor` times as much."""
        return Calls(
            round(self.passages * factor),
            self.calls * factor,
            self.prompt_tokens * factor,
            self.completion_tokens * factor,
            self.seconds * factor,
            self.estimated * factor,
        )


@dataclass
class Lane:
    """One way to send the calls: cost (null where the price is not known) and seconds."""

    cost: float | None
    seconds: float


@dataclass
class Estimate:
    """What a dry run found, as `--json` prints it under `dry_run`."""

    based_on: str
    passages: int  # to be asked about
    journalled: int  # of these, already asked about: they cost nothing more
    pairs_in_source: int  # passed through, not asked about
    calls: int
    tokens: dict[str, int]  # prompt, completion
    rows: int  # that would be written, the source's pairs included; before equal questions are dropped
    lanes: dict[str, Lane]
    pilot: dict[str, Any] | None = None  # passages, calls, tokens and cost of the pilot, journalled ones included
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def to_lines(self) -> Iterator[str]:
        """For a person."""
        done = f", {self.journalled:,} of them in the journal" if self.journalled else ""
        source = f"; {self.pairs_in_source:,} pairs of the source pass through" if self.pairs_in_source else ""
        yield f"  passages {self.passages:,} to ask about{done}{source}"
        yield (
            f"  calls    {self.calls:,}, {self.tokens['prompt']:,} + {self.tokens['completion']:,} tokens; "
            f"about {self.rows:,} rows"
        )
        for name, lane in self.lanes.items():
            cost = "unknown (--price-in, --price-out)" if lane.cost is None else f"{lane.cost:,.4f}"
            time = f"within {duration(lane.seconds)}" if name == "batch" else f"about {duration(lane.seconds)}"
            yield f"  {name:<8} cost {cost}, {time}"
        if self.pilot is not None:
            cost = "unknown" if self.pilot["cost"] is None else f"{self.pilot['cost']:,.4f}"
            yield f"  pilot    {self.pilot['passages']} passages, {self.pilot['calls']} calls, cost {cost}"
        yield f"  from     {self.based_on}"
        for note in self.notes:
            yield f"  note     {note}"


class Measured:
    """A runner that notes what its calls take."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.calls = Calls()
        self._timed = 0  # calls whose seconds are known

    async def ask(self, request: Request) -> Reply | Failure:
        """As `Runner.ask`."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        outcome = await self._runner.ask(request)
        self.calls.calls += 1
        self.calls.estimated += estimate_messages(request.messages)
        if isinstance(outcome, Reply):
            self.calls.prompt_tokens += outcome.prompt_tokens
            self.calls.completion_tokens += outcome.completion_tokens
            if not outcome.cached:
                self._timed += 1
                self.calls.seconds += loop.time() - began
        return outcome

    def total(self) -> Calls:
        """All calls; those that came from the journal are taken to last as long as the others."""
        found = self.calls
        seconds = assumed_seconds(found.calls, found.completion_tokens)
        return replace(found, seconds=found.seconds / self._timed * found.calls if self._timed else seconds)


def assumed_seconds(calls: float, completion_tokens: float) -> float:
    """Of so many replies, one after another, where nothing was measured."""
    return calls * FIXED_SECONDS + completion_tokens / TOKENS_A_SECOND


def lanes(calls: Calls, paid: Price | None, settings: Settings, rate: float | None) -> dict[str, Lane]:
    """Cost and time of the calls in each lane; `rate` is what the endpoint allowed a second, where that is known."""
    tokens = calls.prompt_tokens + calls.completion_tokens
    per_minute = [(calls.calls, settings.rpm), (tokens, settings.tpm)]
    seconds = [_sync_seconds(calls, settings), *(60 * amount / cap for amount, cap in per_minute if cap)]
    if rate:
        seconds.append(calls.calls / rate)
    cost = None if paid is None else paid.of(calls.prompt_tokens, calls.completion_tokens)
    factor = BATCH if paid is None or paid.batch is None else paid.batch
    return {
        "sync": Lane(None if cost is None else round(cost, 6), round(max(seconds), 1)),
        "batch": Lane(None if cost is None else round(cost * factor, 6), BATCH_SECONDS),
    }


def _sync_seconds(calls: Calls, settings: Settings) -> float:
    """With as many calls at once as the settings allow, which are not there from the start unless they were given."""
    if not calls.calls:
        return 0.0
    one = calls.seconds / calls.calls
    at_once = min(settings.most, calls.calls)
    rounds = calls.calls / at_once
    if settings.concurrency is None and at_once > START:
        rounds += math.log2(at_once / START) - 1  # while it doubles, about a full round of calls is made in all
    return max(one, one * rounds)


def duration(seconds: float) -> str:
    """Seconds for a person.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
