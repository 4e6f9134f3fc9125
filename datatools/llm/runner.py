"""The one way to a model: from the journal if it was asked before, else sent, tried again as its errors demand."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TypeAlias

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, wait_random_exponential

from datatools.llm.batch_courier import POLL, Ways
from datatools.llm.batches import Batches
from datatools.llm.control import START, Control
from datatools.llm.endpoint import Endpoint
from datatools.llm.errors import Failure, Stopped, classify
from datatools.llm.journal import Counts, Journal
from datatools.llm.limits import Gate, Limit, Place
from datatools.llm.money import Price, Purse, Reservation, Spent
from datatools.llm.ordered import run_ordered
from datatools.llm.provider import Provider
from datatools.llm.reply import Body, decode, parse, usage
from datatools.llm.request import Reply, Request, canonical, key_of
from datatools.llm.tokens import estimate_messages

LONGEST_BACKOFF = 60  # times `backoff`
PUSHBACK_SECONDS = 1800.0  # a call that hears nothing but "slow down" for so long is given up
# The journal's writer needs the interpreter's lock about ten times a commit and, with the usual 5 ms, would wait that
# long for each beside a busy event loop: commits take 2 ms instead of 8.
SWITCH_SECONDS = 0.0005
UNSEEN_TOKENS = 256.0  # of a reply, for `tpm`, until one has come
UNREACHABLE_SECONDS = 35.0  # with a last wait and a connect timeout on top, the run has ended after 60


Outcome: TypeAlias = Reply | Failure

__all__ = ["Counters", "Runner", "Settings", "run_ordered"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How hard to try."""

    attempts: int = 5  # calls for one request, the first one included; pushback does not count
    concurrency: int | None = None  # calls in flight at most, and from the start; None: found out, from 8 on
    ceiling: int = 128  # calls in flight at most where `concurrency` is None
    rpm: float | None = None  # calls a minute at most
    tpm: float | None = None  # tokens a minute at most, prompts and replies
    retry_failed: bool = False  # ask again what an earlier run gave up
    # Seconds; the wait before try n+1 is random up to backoff × 2ⁿ⁻¹, at most 60 × backoff, and what `Control` waits
    # for is counted in it.
    backoff: float = 1.0
    lane: str = "sync"  # each request is a call of its own; "batch": many are a file
    poll: float = POLL  # seconds between two looks at a batch

    @property
    def most(self) -> int:
        """Calls that may be in flight at once."""
        return self.concurrency or self.ceiling

    def limit(self) -> Limit:
        """The gate as it is before the first call."""
        start = self.concurrency or min(START, self.ceiling)
        return Limit(Control(float(start), self.most, second=self.backoff), self.rpm, self.tpm)


@dataclass(slots=True)
class Counters:
    """What happened in this invocation."""

    sent: int = 0
    cached: int = 0
    retried: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    retries: Counter[str] = field(default_factory=Counter)  # `retried` by the class of what went before
    failures: Counter[str] = field(default_factory=Counter)  # requests without a usable reply, by class


@dataclass(slots=True)
class Tries:
    """What was done for one request so far."""

    began: float
    made: int = 0  # calls sent
    counted: int = 0  # of these, those that count as attempts
    last: str = ""  # class of what the last one failed with
    pushed_back_since: float | None = None

    def count(self, outcome: Outcome, now: float) -> None:
        """A call ended."""
        self.last = outcome.kind if isinstance(outcome, Failure) else ""
        if isinstance(outcome, Failure) and outcome.slow_down:
            self.pushed_back_since = self.pushed_back_since or now
        else:
            self.counted += 1
            self.pushed_back_since = None


class Runner:
    """Asks one endpoint through one journal. Use it as `async with`; leaving it closes the endpoint's connections.

    Equal requests in flight are sent once. A reply is handed on only after it is in the journal. A failure that every
    other request would meet too (credentials, quota, unknown model, nobody there), and a `budget` that holds no further
    call, stop the run: calls under way end and are journalled, everything else raises Stopped. Runners may share a
    journal and a budget; `price` is then this one's. With a `gate` others share its limits too.
    """

    def __init__(
        self,
        endpoint: Provider,
        journal: Journal,
        settings: Settings = Settings(),
        say: Callable[[str], None] = lambda line: None,
        budget: Purse | None = None,
        price: Price | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.journal = journal
        self.settings = settings
        self.budget = budget
        self.price = price
        self.counters = Counters()
        self._before = journal.counts()
        limit = settings.limit()
        self.control = limit.control
        self._limit: Gate = gate or limit
        self._asking: dict[bytes, asyncio.Future[Outcome]] = {}
        self._stopped: Failure | None = None
        self._stopping = asyncio.Event()
        self._answered_at: float | None = None
        self._backoff = wait_random_exponential(settings.backoff, settings.backoff * LONGEST_BACKOFF)
        self._batches: Batches | None = None
        if isinstance(endpoint, Endpoint):
            ways = Ways(settings.backoff, settings.poll, ask_lost=settings.retry_failed)
            self._batches = Batches(endpoint, journal, ways, self.stop, say)

    async def __aenter__(self) -> Runner:
        if self._batches is not None:
            self._batches.resume()
        self._switch_interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.freeze()  # the libraries' objects stay: looking through them again and again is a third of the time lost
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        sys.setswitchinterval(self._switch_interval)
        gc.unfreeze()
        if self._batches is not None:
            await self._batches.close()
        await self.endpoint.close()

    @property
    def in_flight(self) -> int:
        """Calls on the wire now, and requests in batches."""
        return self._limit.in_flight + (self._batches.in_flight if self._batches else 0)

    @property
    def stopped(self) -> Failure | None:
        """Why no new call is started; None while calls are."""
        return self._stopped

    def total(self) -> Counts:
        """The same over all runs of the job; `unfinished` counts the runs before this one."""
        before, now = self._before, self.counters
        return replace(
            before,
            sent=before.sent + now.sent,
            retried=before.retried + now.retried,
            prompt_tokens=before.prompt_tokens + now.prompt_tokens,
            completion_tokens=before.completion_tokens + now.completion_tokens,
        )

    def stop(self, reason: Failure) -> None:
        """Start no new call: whoever waits or asks from now on gets Stopped(reason); calls on the wire end first."""
        if self._stopped is None:
            self._stopped = reason
            self._stopping.set()
            self._limit.release()
            if self.budget is not None:
                self.budget.release()
            if self._batches is not None:
                self._batches.stop(reason)

    async def ask(self, request: Request) -> Reply | Failure:
        """The reply to a request, or why there will be none. Raises Stopped, and OSError from the journal.

        An answer cut off at `max_tokens` is asked for once more with twice the room.
        """
        outcome = await self.once(request)
        if isinstance(outcome, Failure) and outcome.kind == "truncated" and request.max_tokens:
            outcome = await self.once(replace(request, max_tokens=2 * request.max_tokens))
        if isinstance(outcome, Failure):
            self.counters.failures[outcome.kind] += 1
        return outcome

    async def once(self, request: Request) -> Outcome:
        """The same, but an answer that is cut off stays so. Shared by all who ask for the same at the same time."""
        asked = canonical(self.endpoint.identity, self.endpoint.model, request)
        name = key_of(asked)
        if (shared := self._asking.get(name)) is not None:
            outcome = await asyncio.shield(shared)
            self.counters.cached += 1
            return replace(outcome, cached=True) if isinstance(outcome, Reply) else outcome
        shared = self._asking[name] = asyncio.get_running_loop().create_future()
        try:
            outcome = await self._settle(request, name, asked)
            shared.set_result(outcome)
        except asyncio.CancelledError:
            shared.cancel()
            raise
        except BaseException as error:
            shared.set_exception(error)
            shared.exception()  # marks it as seen: there may be nobody who shares it
            raise
        finally:
            del self._asking[name]
        return outcome

    async def _settle(self, request: Request, name: bytes, asked: bytes) -> Outcome:
        """From the journal, else from the endpoint; a failure for good is journalled too."""
        stored = self._stored(name)
        if stored is not None:
            self.counters.cached += 1
            if self.budget is not None and isinstance(stored, Reply):
                self.budget.learn(request, stored.completion_tokens)
            return stored
        tries = Tries(began=self._now())
        if self._batches is not None and (self.settings.lane == "batch" or self._batches.waits(name)):
            outcome = await self._send_in_batches(self._batches, request, name, asked, tries)
        else:
            outcome = await self._send(request, name, asked, tries)
        if isinstance(outcome, Reply):
            return outcome
        self._stop_if_nobody_is_there(outcome, tries)
        outcome = replace(outcome, attempts=tries.made)
        await self.journal.fail(name, outcome.kind, outcome.message, tries.made)
        return outcome

    def _stored(self, name: bytes) -> Outcome | None:
        """What the journal says for good. Replies are parsed anew, so a better parser makes use of old ones."""
        outcome: Failure | None = None
        for raw in self.journal.replies_to(name):
            found = parse(raw)
            if isinstance(found, Reply):
                return replace(found, cached=True)
            outcome = outcome or found
        given_up = self.journal.failure(name)
        if given_up is not None and not self.settings.retry_failed:
            return Failure(given_up[0], given_up[1], attempts=given_up[2])
        if outcome is None or outcome.retry or outcome.fatal or given_up is not None:
            return None
        return outcome  # a run was killed between the reply and the verdict

    async def _send(self, request: Request, name: bytes, asked: bytes, tries: Tries) -> Outcome:
        """Call after call, until one is no reason to try again."""
        first = [await self._attempt(request, name, asked, tries)]
        if not _retryable(first[0]):
            return first[0]  # as nearly all are, and a call costs tenacity as much time as it costs us

        async def attempt() -> Outcome:
            return first.pop() if first else await self._attempt(request, name, asked, tries)

        retrying = AsyncRetrying(
            retry=retry_if_result(_retryable),
            wait=lambda state: self._wait(_failed(state), state, tries),
            stop=lambda state: self._give_up(_failed(state), tries),
            sleep=self._sleep,
            retry_error_callback=_failed,
        )
        return await retrying(attempt)

    async def _attempt(self, request: Request, name: bytes, asked: bytes, tries: Tries) -> Outcome:
        """One call: paid for from the budget, journalled before it is sent, its reply before it is looked at."""
        held = await self._reserve(request)
        raw: bytes | None = None
        broken: Failure | None = None
        sent = False
        try:
            place = await self._limit.enter(self._size(request))
            try:
                if self._stopped is not None:
                    raise Stopped(self._stopped)
                again = tries.made > 0
                await self.journal.start(name, again, self.endpoint.model, b"" if again else asked)
                self._count_sent(tries)
                tries.made += 1
                sent = True
                raw = await self.endpoint.post(request)
            except Exception as error:  # sorted by classify, which raises again what no transport raises
                if not sent:
                    raise
                broken = classify(error, self.endpoint.api_key)
                self._heed(broken, place)  # before another call takes this one's place
            finally:
                self._limit.leave(place)
        finally:
            if raw is None:
                self._unpaid(held, sent, broken)
        if raw is None:
            assert broken is not None
            outcome: Outcome = broken
            await self.journal.end(name, "unreachable" if broken.unreachable else broken.kind)
        else:
            body = decode(raw)
            prompt_tokens, completion_tokens = usage(body)
            if self.budget is not None and held is not None:
                self.budget.settle(held, prompt_tokens, completion_tokens, raw)
            await self.journal.finish(name, raw, prompt_tokens, completion_tokens)
            self._count_tokens(body)
            outcome = parse(body, self.endpoint.api_key)
            self._heed(outcome, place, prompt_tokens, completion_tokens)
        tries.count(outcome, self._now())
        if isinstance(outcome, Failure) and outcome.fatal:
            raise Stopped(self._stopped or outcome)
        return outcome

    async def _reserve(self, request: Request) -> Reservation | None:
        """What the call may cost, out of the budget; the run stops where it does not hold it."""
        if self.budget is None:
            return None
        try:
            return await self.budget.reserve(request, self.price)
        except Spent:
            cap, spent = self.budget.cap, self.budget.spent
            message = f"the budget of {cap:g} does not hold another call: {spent:.6g} spent in all runs of the job"
            self.stop(Failure("budget", message, fatal=True))
            raise Stopped(self._stopped or Failure("budget", message, fatal=True)) from None

    def _unpaid(self, held: Reservation | None, sent: bool, broken: Failure | None) -> None:
        """Settle a call without a reply: an endpoint that answered with an error does not bill it."""
        if self.budget is None or held is None:
            return
        if sent and (broken is None or (broken.kind in ("connection", "timeout") and not broken.unreachable)):
            self.budget.lose(held)
        else:
            self.budget.free(held)

    def _size(self, request: Request) -> float:
        """Tokens that a call may use, for `tpm`."""
        if self.settings.tpm is None:
            return 0.0
        replies = self.counters.sent - self.counters.retried
        average = self.counters.completion_tokens / replies if self.counters.completion_tokens else UNSEEN_TOKENS
        return estimate_messages(request.messages) + (request.max_tokens or average)

    async def _send_in_batches(
        self, batches: Batches, request: Request, name: bytes, asked: bytes, tries: Tries
    ) -> Outcome:
        """Batch after batch. What waits in one of an earlier run is not sent, whatever the lane is."""
        while True:
            if self._stopped is not None:
                raise Stopped(self._stopped)
            sent = not batches.waits(name)
            if sent and self.settings.lane != "batch":
                return await self._send(request, name, asked, tries)
            held = await self._reserve(request) if sent else None
            self._count_sent(tries, sent)
            try:
                found = await batches.ask(name, asked, again=tries.made > 0)
            except BaseException:
                self._unpaid(held, sent=False, broken=None)
                raise
            if found is None:
                self._unpaid(held, sent=False, broken=None)
                continue
            self.counters.cached += not sent
            tries.made += 1
            if isinstance(found, Failure):
                # What a batch has no readable line for may have been billed; every other failure says that it was not.
                self._unpaid(held, sent=found.kind == "malformed", broken=None)
                outcome: Outcome = found
            else:
                outcome = self._received(found, held)
            self._answered_at = self._now()
            self._stop_if_fatal(outcome)
            tries.count(outcome, self._now())
            if isinstance(outcome, Failure) and outcome.fatal:
                raise Stopped(self._stopped or outcome)
            if isinstance(outcome, Reply) or not outcome.retry or tries.made >= self.settings.attempts:
                return outcome

    def _received(self, raw: bytes, held: Reservation | None) -> Outcome:
        """What a reply that is in the journal says, with its tokens counted and paid for."""
        body = decode(raw)
        prompt_tokens, completion_tokens = self._count_tokens(body)
        if self.budget is not None and held is not None:
            self.budget.settle(held, prompt_tokens, completion_tokens, raw)
        elif self.budget is not None:  # sent by an earlier run
            self.budget.pay((self.price or self.budget.price).of(prompt_tokens, completion_tokens))
        return parse(body, self.endpoint.api_key)

    def _count_sent(self, tries: Tries, sent: bool = True) -> None:
        """A call is sent, or one that an earlier run sent is waited for."""
        again = sent and tries.made > 0
        self.counters.sent += sent
        self.counters.retried += again
        if again:
            self.counters.retries[tries.last] += 1

    def _count_tokens(self, body: Body | None) -> tuple[int, int]:
        prompt_tokens, completion_tokens = usage(body)
        self.counters.prompt_tokens += prompt_tokens
        self.counters.completion_tokens += completion_tokens
        return prompt_tokens, completion_tokens

    def _heed(self, outcome: Outcome, place: Place, prompt_tokens: int = 0, completion_tokens: int = 0) -> None:
        """What one call's outcome means for all others: the endpoint lives, it is too much for it, or the run stops."""
        broken = isinstance(outcome, Failure) and outcome.kind in ("connection", "timeout")
        if not broken:
            self._answered_at = self._now()
        if isinstance(outcome, Failure) and outcome.slow_down:
            self._limit.refused(place, min(outcome.retry_after or 0.0, PUSHBACK_SECONDS))
        elif broken or (isinstance(outcome, Failure) and not prompt_tokens + completion_tokens):
            self._limit.failed(place, timed_out=isinstance(outcome, Failure) and outcome.kind == "timeout")
        else:
            self._limit.taken(place, prompt_tokens + completion_tokens, 1 + completion_tokens)
        self._stop_if_fatal(outcome)

    def _stop_if_fatal(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failure) and outcome.fatal:
            where = f"{self.endpoint.base_url}, model {self.endpoint.model}"
            self.stop(replace(outcome, message=f"{where}: {outcome.message}"))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _wait(self, outcome: Failure, state: RetryCallState, tries: Tries) -> float:
        if outcome.unreachable:  # no server is spared by spreading the calls, and the unluckiest ends the run
            return self.settings.backoff * min(2.0 ** (tries.counted - 1), LONGEST_BACKOFF)
        wait = self._backoff(state)
        told = min(outcome.retry_after or 0.0, PUSHBACK_SECONDS)
        return wait + told if outcome.slow_down else max(wait, told)

    def _give_up(self, outcome: Failure, tries: Tries) -> bool:
        now = self._now()
        if outcome.slow_down:
            return now - (tries.pushed_back_since or now) >= PUSHBACK_SECONDS
        lost = outcome.unreachable and self._answered_at is None and now - tries.began >= UNREACHABLE_SECONDS
        return lost or tries.counted >= self.settings.attempts

    def _stop_if_nobody_is_there(self, outcome: Failure, tries: Tries) -> None:
        """Stop the run if no call was ever answered, or if the endpoint went away and nobody has heard of it since."""
        never = self._answered_at is None and outcome.kind in ("connection", "timeout")
        gone = outcome.unreachable and (self._answered_at or 0.0) < tries.began
        if never or gone:
            said = "has never answered" if never else "does not answer any more"
            message = f"{self.endpoint.base_url} {said}: {outcome.message}"
            self.stop(replace(outcome, message=message, retry=False, fatal=True, attempts=tries.made))
            raise Stopped(self._stopped or outcome)

    async def _sleep(self, seconds: float) -> None:
        """Wait to try again, but not longer than the run goes on."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
        assert self._stopped is not None
        raise Stopped(self._stopped)


def _retryable(outcome: Outcome) -> bool:
    return isinstance(outcome, Failure) and outcome.retry


def _failed(state: RetryCallState) -> Failure:
    assert state.outcome is not None
    outcome = state.outcome.result()
    assert isinstance(outcome, Failure)
    return outcome
