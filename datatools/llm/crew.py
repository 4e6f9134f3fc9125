"""One runner a node: a job's requests go to actors on the nodes of a Ray cluster, and their outcomes come back.

The driver keeps the job, its journal and who asked for what. A request goes to the seat that its key says, so that a
repeated one meets the journal that has the answer; a seat is a runner on some node (`node.py`). Limits and budget are
with one actor (`owner.py`). When a seat is lost, with its node or alone, what its journal holds is first taken into the
job's: what was answered is not asked again. Then the seat gets a runner on another node, and what was under way is
asked there; it may have been billed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from datatools.llm.errors import Failure, Stopped
from datatools.llm.journal import Journal
from datatools.llm.journal_nodes import folder_of, new_file, node_of, take_in
from datatools.llm.money import Budget
from datatools.llm.node import Asked, Job, NodeRunner
from datatools.llm.owner import Owner
from datatools.llm.request import Request
from datatools.llm.runner import Counters, Outcome
from datatools.llm.shared import kind_digest

if TYPE_CHECKING:
    from datatools.llm.front import Front

LOSSES = 6  # of one seat, after which the run ends
LOOK_SECONDS = 1.0  # between looks at the owner's limits
END_SECONDS = 30.0  # for a runner to close its journal


class Lost(Exception):
    """The runner that was to ask is gone."""


@dataclass
class Seat:
    """A runner of the crew, and what it was asked."""

    number: int
    name: str = ""  # what the owner knows it by
    node: str = ""  # Ray's id
    file: Path = Path()
    actor: Any = None
    losses: int = 0
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    given: list[tuple[int, int, Request]] = field(default_factory=list)  # not sent yet
    asked: dict[int, asyncio.Future[Outcome]] = field(default_factory=dict)
    counters: list[Counters] = field(default_factory=list)  # of every model, as told last
    in_flight: list[int] = field(default_factory=list)
    giving: asyncio.Task[None] | None = None
    taking: asyncio.Task[None] | None = None


class Crew:
    """The runners on the nodes of the cluster that this process has joined; use it as `async with`.

    `journal` is the job's. `models` are told to every node; `budget` goes to the owner. ValueError where a node lacks
    the folder or has other code.
    """

    def __init__(
        self,
        journal: Journal,
        models: Sequence[Asked],
        budget: Budget | None,
        say: Callable[[str], None],
    ) -> None:
        from datatools.engine.ray import code

        cap = None if budget is None else (budget.cap, budget.price)
        self._job = Job(models, cap, str(Path.cwd()), code())
        self._journal, self._budget, self._say = journal, budget, say
        self._fronts: dict[int, Front] = {}
        self._seats: list[Seat] = []
        self._numbers = count(1)
        self._names = count(1)
        self._owner: Any = None
        self._starting: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._replacing: set[asyncio.Task[None]] = set()
        self._merging = asyncio.Lock()  # one journal after another
        self._error: BaseException | None = None
        self.spent = 0.0 if budget is None else budget.spent

    def join(self, place: int, front: Front) -> None:
        """The runner of the driver that stands for the model at `place`."""
        self._fronts[place] = front

    async def __aenter__(self) -> Crew:
        return self

    async def _start(self) -> None:
        """Put the owner and the runners in their places."""
        folder_of(self._journal.path).mkdir(exist_ok=True)
        limits = [model.settings.limit() for model in self._job.models]
        self._owner = _actor(Owner, _affinity(_head(), soft=False)).remote(limits, self._budget)
        nodes = _nodes()
        self._seats = [Seat(number) for number in range(len(nodes))]
        self._say(f"one runner on each node, {len(nodes)} in all")
        await asyncio.gather(*(self._fill(seat, node) for seat, node in zip(self._seats, nodes, strict=True)))
        self._looking = asyncio.create_task(self._look())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        tasks = [
            self._looking,
            *self._replacing,
            *(task for seat in self._seats for task in (seat.giving, seat.taking)),
        ]
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
        await asyncio.gather(*(self._end(seat) for seat in self._seats))
        if self._owner is not None:
            _kill(self._owner)
        folder = folder_of(self._journal.path)
        with suppress(OSError):  # a runner that does not end keeps its journal: the next run takes it in
            folder.rmdir()

    async def ask(self, place: int, name: bytes, request: Request, stored: Callable[[], Outcome | None]) -> Outcome:
        """What becomes of a request with this key. Raises Stopped, and what went wrong on a node.

        `stored` looks into the job's journal.
        """
        if self._starting is None:  # a job that finds all in its journal needs none of them
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)
        seat = self._seats[int.from_bytes(name[:8], "big") % len(self._seats)]
        while True:
            await seat.ready.wait()
            if self._error is not None:
                raise self._error
            if (reason := self._fronts[place].stopped) is not None:
                raise Stopped(reason)
            number = next(self._numbers)
            answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            seat.asked[number] = answered
            seat.given.append((number, place, request))
            if seat.giving is None or seat.giving.done():
                seat.giving = asyncio.create_task(self._give(seat, seat.actor))
            try:
                return await answered
            except Lost:
                if (found := stored()) is not None:
                    return found
            finally:
                seat.asked.pop(number, None)

    def stop(self, place: int, reason: Failure) -> None:
        """Start no new call to a model."""
        for seat in self._seats:
            if seat.actor is not None:
                seat.actor.stop.remote(place, reason)

    def learn(self, kind: str, completion_tokens: float) -> None:
        """A reply of an earlier run was that long."""
        if self._owner is not None:
            self._owner.learn.remote(kind_digest(kind), completion_tokens)
        elif self._budget is not None:
            self._budget.learned(kind_digest(kind), completion_tokens)

    def pay(self, cost: float) -> None:
        """A call that an earlier run made turned out to cost so much."""
        if self._owner is not None:
            self._owner.pay.remote(cost)
        elif self._budget is not None:
            self._budget.pay(cost)

    def in_flight(self, place: int) -> int:
        """Calls on the wire of all nodes, as they said last."""
        return sum(seat.in_flight[place] for seat in self._seats if seat.in_flight)

    async def _give(self, seat: Seat, actor: Any) -> None:
        """Send what has gathered; what comes meanwhile goes with the next."""
        from ray.exceptions import RayError

        await asyncio.sleep(0)
        while seat.given and seat.actor is actor:
            requests, seat.given = seat.given, []
            try:
                await actor.give.remote(requests)
            except RayError:
                return  # `_take` hears of it too

    async def _take(self, seat: Seat, actor: Any) -> None:
        """Hand out what comes back, until the runner is lost."""
        from ray.exceptions import RayError

        try:
            while True:
                done, counters, in_flight = await actor.take.remote()
                self._count(seat, counters)
                seat.in_flight = in_flight
                for number, outcome in done:
                    answered = seat.asked.get(number)
                    if answered is None or answered.done():
                        continue
                    if isinstance(outcome, BaseException):
                        answered.set_exception(outcome)
                    else:
                        answered.set_result(outcome)
        except RayError as error:
            task = asyncio.create_task(self._replace(seat, error))
            self._replacing.add(task)
            task.add_done_callback(self._replacing.discard)
        except Exception as error:  # whoever waits must hear of it
            self._error = error
            _tell_all(seat, error)

    async def _replace(self, seat: Seat, error: Exception) -> None:
        """The runner of a seat is gone: take in its journal, put another one there, and have all of it asked again."""
        seat.ready.clear()
        gone, seat.actor = node_of(seat.file), None
        before, seat.given, seat.in_flight = seat.node, [], []
        try:
            seat.losses += 1
            under_way = await self._owner.lose.remote(seat.name)
            async with self._merging:
                await asyncio.to_thread(self._take_in, seat)
            if seat.losses >= LOSSES:
                raise ValueError(f"node {gone}: its runner was lost {LOSSES} times ({_first_line(error)})")
            await self._fill(seat, _another(before, [one.node for one in self._seats if one is not seat]))
            self._say(
                f"the runner on node {gone} is lost; {under_way} calls under way may have been billed; "
                f"node {node_of(seat.file)} asks for it"
            )
        except BaseException as problem:
            self._error = problem
        seat.ready.set()
        _tell_all(seat, Lost())

    async def _fill(self, seat: Seat, node: tuple[str, str]) -> None:
        """Start a runner on a node: Ray's id, and what it is called."""
        seat.node, label = node
        seat.name, seat.file = f"{label} {next(self._names)}", new_file(self._journal.path.absolute(), label)
        actor = _actor(NodeRunner, _affinity(seat.node, soft=False)).remote()
        await actor.begin.remote(seat.name, seat.file, self._job, self._owner)
        seat.actor, seat.counters = actor, [Counters() for _ in self._job.models]
        seat.taking = asyncio.create_task(self._take(seat, actor))
        seat.ready.set()

    async def _end(self, seat: Seat) -> None:
        """Have a runner close its journal, and take that in."""
        from ray.exceptions import RayError

        if seat.actor is None:
            return
        with suppress(RayError, TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                counters, _ = await seat.actor.end.remote()
            self._count(seat, counters)
        _kill(seat.actor)
        try:
            async with self._merging:
                await asyncio.to_thread(take_in, self._journal.path, seat.file)
        except ValueError as problem:  # the next run takes it in
            self._say(str(problem))

    def _take_in(self, seat: Seat) -> None:
        """The journal of a runner that is lost, and what it had not told of what it did."""
        by_model = take_in(self._journal.path, seat.file)
        counters = [replace(one) for one in seat.counters]
        for name, counts in by_model.items():
            places = [place for place, model in enumerate(self._job.models) if model.name == name]
            for one in ("sent", "retried", "prompt_tokens", "completion_tokens"):
                told = sum(getattr(seat.counters[place], one) for place in places)
                first = counters[places[0]]  # one name at two endpoints: the first gets what neither told
                setattr(first, one, getattr(first, one) + getattr(counts, one) - told)
        self._count(seat, counters)

    def _count(self, seat: Seat, counters: Sequence[Counters]) -> None:
        """Add what a runner did since it told last to the counters of the driver's."""
        for place, (before, now) in enumerate(zip(seat.counters, counters, strict=True)):
            front = self._fronts[place]
            for one in fields(Counters):
                if one.name != "failures":  # the driver counts these itself
                    mine, old, new = (getattr(each, one.name) for each in (front.counters, before, now))
                    if isinstance(mine, Counter):
                        mine.update(new - old)
                    else:
                        setattr(front.counters, one.name, mine + new - old)
        seat.counters = list(counters)

    async def _look(self) -> None:
        """Keep what is shown of the limits true."""
        while True:
            states, self.spent = await self._owner.state.remote()
            for place, state in enumerate(states):
                front = self._fronts[place]
                front.control.limit, front.control.rate = state.limit, state.rate
            await asyncio.sleep(LOOK_SECONDS)


def _tell_all(seat: Seat, error: Exception) -> None:
    """End the wait of all who asked this seat."""
    asked, seat.asked = seat.asked, {}
    for answered in asked.values():
        if not answered.done():
            answered.set_exception(error)


def _actor(kind: type, where: Any) -> Any:
    """A runner waits for its provider nearly all the time, and none must wait for a CPU that units of others hold."""
    import ray

    return ray.remote(kind).options(num_cpus=0, max_restarts=0, max_task_retries=0, scheduling_strategy=where)


def _affinity(node: str, soft: bool) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=soft)


def _nodes() -> list[tuple[str, str]]:
    """The nodes that work is for: Ray's id and a name for each, that of its machine where it is alone there."""
    import ray

    alive = [node for node in ray.nodes() if node["Alive"]]
    working = [node for node in alive if node["Resources"].get("CPU")] or alive
    hosts = Counter(node["NodeManagerHostname"] for node in working)
    return [
        (node["NodeID"], host if hosts[host] == 1 else f"{host}-{node['NodeID'][:6]}")
        for node in working
        for host in [node["NodeManagerHostname"]]
    ]


def _head() -> str:
    """The node that no cluster outlives."""
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    heads = [node for node in nodes if "node:__internal_head__" in node["Resources"]]
    return str((heads or nodes)[0]["NodeID"])


def _another(before: str, taken: Sequence[str]) -> tuple[str, str]:
    """A node in the place of one that a runner was lost on: another one where there is one, with the fewest seats."""
    nodes = _nodes()
    others = [node for node in nodes if node[0] != before] or nodes
    return min(others, key=lambda node: taken.count(node[0]))


def _kill(actor: Any) -> None:
    import ray

    ray.kill(actor)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
