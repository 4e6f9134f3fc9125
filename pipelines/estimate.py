"""What a job that calls a model would cost and how long it would take, in each lane."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
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

    calls: float = 0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    seconds: float = 0.0  # of replies, one after another
    estimated: float = 0.0  # tokens of the prompts, from their characters

    def add(self, other: Calls) -> None:
        """These and those together."""
        for name in asdict(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def scaled(self, factor: float) -> Calls:
        """`factor` times as much."""
        return Calls(*(factor * value for value in astuple(self)))


def assumed(prompts: Sequence[float], replies: Sequence[float]) -> Calls:
    """Calls whose prompts and replies are taken to have so many tokens.

    >>> assumed([100, 300], [40, 80]).seconds
    5.0
    """
    prompt_tokens, completion_tokens = float(sum(prompts)), float(sum(replies))
    seconds = assumed_seconds(len(prompts), completion_tokens)
    return Calls(len(prompts), prompt_tokens, completion_tokens, seconds, estimated=prompt_tokens)


@dataclass
class Lane:
    """One way to send the calls: cost (null where the price is not known) and seconds."""

    cost: float | None
    seconds: float


@dataclass
class Estimate:
    """What a dry run found, as `--json` prints it under `dry_run`."""

    based_on: str
    items: int  # to be asked about
    journalled: int  # of these, already asked about: they cost nothing more
    calls: int
    tokens: dict[str, int]  # prompt, completion
    rows: int  # that would be written
    lanes: dict[str, Lane]
    unit: str = "passages"  # what the items are, in words; not part of the JSON
    pairs_in_source: int = 0  # passed through, not asked about
    pilot: dict[str, Any] | None = None  # items, calls, tokens and cost of the pilot, journalled ones included
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        values = asdict(self)
        del values["unit"]
        return values

    def to_lines(self) -> Iterator[str]:
        """For a person."""
        done = f", {self.journalled:,} of them in the journal" if self.journalled else ""
        source = f"; {self.pairs_in_source:,} pairs of the source pass through" if self.pairs_in_source else ""
        yield f"  {self.unit:<8} {self.items:,} to ask about{done}{source}"
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
            yield f"  pilot    {self.pilot['items']} {self.unit}, {self.pilot['calls']} calls, cost {cost}"
        yield f"  from     {self.based_on}"
        for note in self.notes:
            yield f"  note     {note}"


class Measured(Runner):
    """A runner that notes what its calls take."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.calls = Calls()
        self._timed = 0  # calls whose seconds are known

    async def ask(self, request: Request) -> Reply | Failure:
        """As `Runner.ask`."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        outcome = await super().ask(request)
        self.calls.calls += 1
        self.calls.estimated += estimate_messages(request.messages)
        if isinstance(outcome, Reply):
            self.calls.prompt_tokens += outcome.prompt_tokens
            self.calls.completion_tokens += outcome.completion_tokens
            if not outcome.cached:
                self._timed += 1
                self.calls.seconds += loop.time() - began
        return outcome

    def measured(self) -> Calls:
        """All calls; those that came from the journal are taken to last as long as the others."""
        found = self.calls
        seconds = assumed_seconds(found.calls, found.completion_tokens)
        return replace(found, seconds=found.seconds / self._timed * found.calls if self._timed else seconds)


def assumed_seconds(calls: float, completion_tokens: float) -> float:
    """Of so many replies, one after another, where nothing was measured."""
    return calls * FIXED_SECONDS + completion_tokens / TOKENS_A_SECOND


def lanes(calls: Calls, paid: Price | None, settings: Settings, rate: float | None, rounds: int = 1) -> dict[str, Lane]:
    """Cost and time of the calls in each lane.

    `rate` is what the endpoint allowed a second, where that is known; `rounds` is how many calls about an item follow
    one another, each in a batch of its own.
    """
    tokens = calls.prompt_tokens + calls.completion_tokens
    per_minute = [(calls.calls, settings.rpm), (tokens, settings.tpm)]
    seconds = [_sync_seconds(calls, settings), *(60 * amount / cap for amount, cap in per_minute if cap)]
    if rate:
        seconds.append(calls.calls / rate)
    cost = None if paid is None else paid.of(calls.prompt_tokens, calls.completion_tokens)
    factor = BATCH if paid is None or paid.batch is None else paid.batch
    return {
        "sync": Lane(None if cost is None else round(cost, 6), round(max(seconds), 1)),
        "batch": Lane(None if cost is None else round(cost * factor, 6), rounds * BATCH_SECONDS),
    }


def together(found: Sequence[dict[str, Lane]]) -> dict[str, Lane]:
    """The lanes of several models that are asked at the same time."""
    whole: dict[str, Lane] = {}
    for name in found[0]:
        costs = [one[name].cost for one in found]
        known = [cost for cost in costs if cost is not None]
        cost = round(sum(known), 6) if len(known) == len(costs) else None
        whole[name] = Lane(cost, max(one[name].seconds for one in found))
    return whole


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

    >>> duration(42), duration(600), duration(9000), duration(17 * 86400)
    ('42 s', '10 min', '2.5 h', '17 days')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds > 72 * 3600:
        return f"{seconds / 86400:.0f} days"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
