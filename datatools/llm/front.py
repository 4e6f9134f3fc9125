"""The runner of the driver that stands for the runners of all nodes: what jobs know as their Runner."""

from __future__ import annotations

from collections.abc import Callable

from datatools.llm.crew import Crew
from datatools.llm.errors import Failure, Stopped
from datatools.llm.journal import Journal
from datatools.llm.money import Budget, Price
from datatools.llm.provider import Provider
from datatools.llm.request import Request
from datatools.llm.runner import Outcome, Runner, Settings, Tries


class Front(Runner):
    """Asks through a crew, of whose models this is the one at `place`; answers from the job's journal itself."""

    def __init__(
        self,
        endpoint: Provider,
        journal: Journal,
        settings: Settings,
        say: Callable[[str], None],
        budget: Budget | None,
        price: Price | None,
        crew: Crew,
        place: int,
    ) -> None:
        super().__init__(endpoint, journal, settings, say, None if budget is None else Told(budget, crew), price)
        self._crew, self._place = crew, place
        crew.join(place, self)

    @property
    def in_flight(self) -> int:
        """Calls on the wire of all nodes, as they said last, and requests in batches."""
        return self._crew.in_flight(self._place) + (self._batches.in_flight if self._batches else 0)

    def stop(self, reason: Failure) -> None:
        """Start no new call on any node: whoever waits gets Stopped(reason); calls on the wire end first."""
        if self.stopped is None:
            self._crew.stop(self._place, reason)
        super().stop(reason)

    async def _send(self, request: Request, name: bytes, asked: bytes, tries: Tries) -> Outcome:
        try:
            outcome = await self._crew.ask(self._place, name, request, lambda: self._stored(name))
        except Stopped as stopped:
            self.stop(stopped.failure)
            raise
        self._answered_at = self._now()  # whether anybody is there the nodes find out
        tries.made = outcome.attempts if isinstance(outcome, Failure) else 1
        return outcome


class Told(Budget):
    """What the driver learns for the budget, told to its owner; nothing is paid from it here."""

    def __init__(self, budget: Budget, crew: Crew) -> None:
        super().__init__(budget.cap, budget.price, budget.spent, budget.lost)
        self._crew = crew

    def learned(self, kind: str, completion_tokens: float) -> None:
        """A reply to these instructions was that long."""
        if completion_tokens > self._longest.get(kind, 0.0):
            super().learned(kind, completion_tokens)
            self._crew.learn(kind, completion_tokens)

    def pay(self, cost: float) -> None:
        """A call that an earlier run made turned out to cost so much."""
        super().pay(cost)
        self._crew.pay(cost)
