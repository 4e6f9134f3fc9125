"""A runner's end of what all runners of a cluster share (`owner.py`): a gate and a budget that ask for each call."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from itertools import count

from datatools.llm.control import Call
from datatools.llm.limits import Place
from datatools.llm.money import Price, Reservation, Spent, need_of
from datatools.llm.owner import Answer, Message
from datatools.llm.request import Request
from datatools.llm.tokens import estimate


class Line:
    """To the owner and back: what is said while a message is under way goes with the next one.

    `tell` and `hear` are the owner's. Whoever waits gets the OSError that ends the line.
    """

    def __init__(
        self, tell: Callable[[Sequence[Message]], Awaitable[list[Answer]]], hear: Callable[[], Awaitable[list[Answer]]]
    ) -> None:
        self._tell, self._hear = tell, hear
        self.spent = 0.0  # as the owner said last
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._out: list[Message] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._sending = False
        self._broken: OSError | None = None

    def open(self) -> None:
        """Begin to listen."""
        self._tasks.append(asyncio.create_task(self._listen()))

    async def close(self) -> None:
        """Say what is left to say, and hang up."""
        while self._sending and self._broken is None:
            await asyncio.sleep(0.001)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def ask(self, kind: str, *values: object) -> tuple[int, asyncio.Future[None]]:
        """Say something that is answered; its number, by which later messages name it, and what to wait for."""
        number = next(self._numbers)
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._broken is not None:
            answered.set_exception(self._broken)
        self._waiting[number] = answered
        self.send(kind, number, *values)
        return number, answered

    def send(self, *message: object) -> None:
        """Say something: kind, number, values."""
        self._out.append(message)
        if not self._sending:
            self._sending = True
            self._tasks = [task for task in self._tasks if not task.done()]
            self._tasks.append(asyncio.create_task(self._send()))

    async def _send(self) -> None:
        await asyncio.sleep(0)  # what else is said in this turn of the loop goes along
        try:
            while self._out and self._broken is None:
                messages, self._out = self._out, []
                self._understand(await self._tell(messages))
        except OSError as error:
            self._break(error)
        finally:
            self._sending = False

    async def _listen(self) -> None:
        try:
            while True:
                self._understand(await self._hear())
        except OSError as error:
            self._break(error)

    def _understand(self, answers: Sequence[Answer]) -> None:
        for number, spent in answers:
            answered = self._waiting.pop(number, None)
            if spent is not None:
                self.spent = max(self.spent, spent)
            if answered is None or answered.done():  # given up meanwhile, and the owner has been told
                continue
            if spent is None:
                answered.set_exception(Spent())
            else:
                answered.set_result(None)

    def _break(self, error: OSError) -> None:
        self._broken = error
        for answered in self._waiting.values():
            if not answered.done():
                answered.set_exception(error)
        self._waiting.clear()


class SharedGate:
    """The gate of one model, by its place among the owner's; as `limits.Limit` for a Runner."""

    def __init__(self, line: Line, model: int) -> None:
        self._line, self._model = line, model
        self._entering: set[asyncio.Future[None]] = set()
        self._in_flight = 0
        self._released = False

    @property
    def in_flight(self) -> int:
        """Calls of this runner on the wire."""
        return self._in_flight

    async def enter(self, tokens: float = 0.0) -> Place:
        """Wait for a place."""
        number, let_in = self._line.ask("enter", self._model, tokens)
        if self._released and not let_in.done():
            let_in.set_result(None)
        self._entering.add(let_in)
        try:
            await let_in
        except asyncio.CancelledError:
            self._line.send("leave", number)
            raise
        finally:
            self._entering.discard(let_in)
        self._in_flight += 1
        return Place(Call(number, 0.0, 0), None)

    def leave(self, place: Place) -> None:
        """The call is not on the wire any more."""
        self._in_flight -= 1
        self._line.send("leave", place.call.number)

    def taken(self, place: Place, tokens: float, work: float) -> None:
        """A reply came."""
        self._line.send("taken", place.call.number, tokens, work)

    def refused(self, place: Place, wait: float | None) -> None:
        """The endpoint asked to slow down."""
        self._line.send("refused", place.call.number, wait)

    def failed(self, place: Place, timed_out: bool = False) -> None:
        """The call ended without a reply for another reason."""
        self._line.send("failed", place.call.number, timed_out)

    def release(self) -> None:
        """Let everyone through: the run is ending."""
        self._released = True
        for let_in in self._entering:
            if not let_in.done():
                let_in.set_result(None)


class SharedBudget:
    """The budget that all runners share; as `money.Budget` for a Runner."""

    def __init__(self, line: Line, cap: float, price: Price) -> None:
        self._line, self.cap, self.price = line, cap, price
        self._reserving: set[asyncio.Future[None]] = set()
        self._released = False

    @property
    def spent(self) -> float:
        """As far as this runner has heard."""
        return self._line.spent

    async def reserve(self, request: Request, price: Price | None = None) -> Reservation:
        """Wait until the budget holds the call. Raises Spent."""
        if self._released:
            raise Spent
        need = need_of(request, price or self.price)
        number, held = self._line.ask("reserve", replace(need, kind=kind_digest(need.kind)))
        self._reserving.add(held)
        try:
            await held
        except (asyncio.CancelledError, Spent):
            self._line.send("free", number)
            raise
        finally:
            self._reserving.discard(held)
        return Reservation(0.0, "", need.prompt_tokens, 0.0, need.price, False, number)

    def free(self, held: Reservation) -> None:
        """The call was not made, or is not billed."""
        self._line.send("free", held.number)

    def lose(self, held: Reservation) -> None:
        """No reply came, but the endpoint may have written one."""
        self._line.send("lose", held.number)

    def settle(self, held: Reservation, prompt_tokens: int, completion_tokens: int, raw: bytes) -> None:
        """A reply came; where it does not say what it cost, its own length does."""
        completion = completion_tokens or estimate(raw.decode(errors="replace"))
        self._line.send("settle", held.number, prompt_tokens, completion)

    def pay(self, cost: float) -> None:
        """Runners of nodes send no batches."""
        raise AssertionError("batches are sent by the driver alone")

    def learn(self, request: Request, completion_tokens: int) -> None:
        """Nothing: a reply that this runner has in its journal came in this run, and the owner was told."""

    def release(self) -> None:
        """Let everyone who waits go on: the run is ending."""
        self._released = True
        for held in self._reserving:
            if not held.done():
                held.set_exception(Spent())


def kind_digest(kind: str) -> str:
    """Instructions as short as a message should be."""
    return hashlib.blake2b(kind.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
