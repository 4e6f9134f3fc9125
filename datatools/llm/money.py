"""What calls cost, and the budget that is never passed by more than the calls in flight could cost."""

from __future__ import annotations

import asyncio
import tomllib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

from datatools.llm.request import Request
from datatools.llm.tokens import estimate, estimate_messages

TABLE = Path(__file__).with_name("prices.toml")
MILLION = 1e6
BATCH = 0.5  # factor of batch files where a provider has them, as far as we know all of them
UNSEEN_TOKENS = 1024  # of a reply, until one of its kind has come
MARGIN = 1.25  # over the longest reply of its kind so far


@dataclass(frozen=True, slots=True)
class Price:
    """Per million tokens; `source` says where it comes from."""

    prompt: float
    completion: float
    batch: float | None = None  # factor for batch files
    source: str = ""

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """What so many tokens cost.

        >>> Price(1.0, 4.0).of(500_000, 250_000)
        1.5
        """
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / MILLION


def price(model: str, host: str, price_in: float | None = None, price_out: float | None = None) -> Price | None:
    """The price given, else that of the table for the model at that host, else None. ValueError where half is given.

    `host` is `Endpoint.identity`. A model in this process costs nothing.

    >>> price("deepseek-v4-flash", "api.deepseek.com").completion
    0.28
    >>> price("deepseek-v4-flash", "local") is None
    True
    """
    if price_in is not None or price_out is not None:
        if price_in is None or price_out is None:
            raise ValueError("--price-in and --price-out: give both, per million tokens")
        return Price(price_in, price_out, source="--price-in, --price-out")
    if host.startswith("transformers"):
        return Price(0.0, 0.0, source="in this process")
    return _table().get((host, model))


@cache
def _table() -> dict[tuple[str, str], Price]:
    entries = tomllib.loads(TABLE.read_text(encoding="utf-8"))["price"]
    return {
        (entry["host"], entry["model"]): Price(
            entry["in"], entry["out"], entry.get("batch"), f"{entry['source']}, {entry['seen']}"
        )
        for entry in entries
    }


class Spent(Exception):
    """The budget does not hold another call, and none is in flight that could leave something of what it reserved."""


@dataclass(frozen=True, slots=True)
class Need:
    """What the budget must know of a call before it is sent."""

    kind: str  # the instructions
    prompt_tokens: float  # as they are estimated from the words
    max_tokens: int | None
    price: Price


@dataclass(slots=True)
class Reservation:
    """What a call may cost, taken from the budget before it is sent."""

    amount: float
    kind: str
    prompt_tokens: float
    completion_tokens: float
    price: Price
    known: bool  # whether the length of the reply is more than a guess
    number: int = 0  # where another process holds it


class Purse(Protocol):
    """What a Runner pays from: a `Budget`, or one that several runners share."""

    cap: float
    price: Price

    @property
    def spent(self) -> float:
        """In all runs of the job."""

    async def reserve(self, request: Request, price: Price | None = None) -> Reservation:
        """Wait until the budget holds the call. Raises Spent."""

    def free(self, held: Reservation) -> None:
        """The call was not made, or is not billed."""

    def lose(self, held: Reservation) -> None:
        """No reply came, but the endpoint may have written one."""

    def settle(self, held: Reservation, prompt_tokens: int, completion_tokens: int, raw: bytes) -> None:
        """A reply came."""

    def pay(self, cost: float) -> None:
        """A call that an earlier run made turned out to cost so much."""

    def learn(self, request: Request, completion_tokens: int) -> None:
        """A reply of an earlier run was that long."""

    def release(self) -> None:
        """Let everyone who waits go on: the run is ending."""


@dataclass(slots=True)
class Budget:
    """A cap on what a job may cost, all its runs and models together; `price` is that of a call that brings no other.

    A call reserves what its prompt and the longest reply would cost, and settles for what it did cost. The longest
    reply is `max_tokens`, or a quarter more than any reply to the same instructions so far. So `spent` passes `cap` by
    no more than what the replies in flight are longer than that. Where nothing of the kind has come yet, and the guess
    does not fit, one call alone is let through to learn it.
    """

    cap: float
    price: Price
    spent: float = 0.0
    lost: float = 0.0  # part of it: calls that broke off or timed out, and may have been billed
    reserved: float = 0.0
    _held: int = 0
    _longest: dict[str, float] = field(default_factory=dict)  # tokens of a reply, by instructions
    _prompt_factor: float = 1.0  # tokens the endpoint counts for one that is estimated, where that is more
    _waiting: deque[tuple[asyncio.Future[None], Reservation]] = field(default_factory=deque)

    async def reserve(self, request: Request, price: Price | None = None) -> Reservation:
        """Wait until the budget holds the call. Raises Spent."""
        return await self.hold(need_of(request, price or self.price))

    async def hold(self, need: Need) -> Reservation:
        """The same for a call that somebody else sends."""
        held = self._estimated(need)
        if not self._waiting and self._take(held):
            return held
        if not self._held:
            raise Spent
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, held))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.free(held)
            raise
        return held

    def free(self, held: Reservation) -> None:
        """The call was not made, or is not billed."""
        self._settle(held, 0.0)

    def lose(self, held: Reservation) -> None:
        """No reply came, but the endpoint may have written one."""
        self.lost += held.amount
        self._settle(held, held.amount)

    def settle(self, held: Reservation, prompt_tokens: int, completion_tokens: int, raw: bytes) -> None:
        """A reply came; where it does not say what it cost, its own length does."""
        self.paid(held, prompt_tokens, completion_tokens or estimate(raw.decode(errors="replace")))

    def paid(self, held: Reservation, prompt_tokens: int, completion_tokens: float) -> None:
        """A reply of so many tokens came; no `prompt_tokens` where it does not say."""
        if prompt_tokens:
            factor = prompt_tokens / max(held.prompt_tokens / self._prompt_factor, 1.0)
            self._prompt_factor = max(self._prompt_factor, factor)
        self.learned(held.kind, completion_tokens)
        self._settle(held, held.price.of(prompt_tokens or held.prompt_tokens, completion_tokens))

    def pay(self, cost: float) -> None:
        """A call that an earlier run made turned out to cost so much."""
        self.spent += cost

    def learn(self, request: Request, completion_tokens: int) -> None:
        """A reply of an earlier run was that long."""
        if completion_tokens:
            self.learned(kind_of(request.messages), completion_tokens)

    def learned(self, kind: str, completion_tokens: float) -> None:
        """A reply to these instructions was that long."""
        self._longest[kind] = max(self._longest.get(kind, 0.0), completion_tokens)

    def release(self) -> None:
        """Let everyone who waits go on: the run is ending."""
        for turn, _ in self._waiting:
            if not turn.done():
                turn.set_exception(Spent())
        self._waiting.clear()

    def _estimated(self, need: Need) -> Reservation:
        known = need.max_tokens is not None or need.kind in self._longest
        completion = need.max_tokens or MARGIN * self._longest.get(need.kind, UNSEEN_TOKENS / MARGIN)
        prompt = need.prompt_tokens * self._prompt_factor
        return Reservation(need.price.of(prompt, completion), need.kind, prompt, completion, need.price, known)

    def _take(self, held: Reservation) -> bool:
        fits = self.spent + self.reserved + held.amount <= self.cap
        to_learn = not held.known and not self._held and self.spent < self.cap
        if fits or to_learn:
            self.reserved += held.amount
            self._held += 1
        return fits or to_learn

    def _settle(self, held: Reservation, cost: float) -> None:
        self._held -= 1
        self.reserved = self.reserved - held.amount if self._held else 0.0  # rounding does not add up
        self.spent += cost
        while self._waiting:
            turn, waiting = self._waiting[0]
            if not turn.done():
                if not waiting.known and waiting.kind in self._longest:
                    waiting.completion_tokens = MARGIN * self._longest[waiting.kind]
                    waiting.amount = waiting.price.of(waiting.prompt_tokens, waiting.completion_tokens)
                    waiting.known = True
                if self._take(waiting):
                    turn.set_result(None)
                elif self._held:
                    return
                else:
                    turn.set_exception(Spent())
            self._waiting.popleft()


def need_of(request: Request, price: Price) -> Need:
    """What the budget must know of a request."""
    return Need(kind_of(request.messages), estimate_messages(request.messages), request.max_tokens, price)


def kind_of(messages: Sequence[object]) -> str:
    """What tells short replies from long ones beforehand: the instructions, which are the same for many requests."""
    first = messages[0] if messages else None
    return str(first["content"]) if isinstance(first, dict) and first.get("role") == "system" else ""
