"""How many calls at once and how many a second: learned from what the endpoint takes and what it refuses.

Endpoints refuse (429) for two reasons that need different answers, and do not say which. So there are two limits, and
the one that is not the reason grows out of the way by itself:

- **Too many at once.** `limit` calls in flight. It begins low and grows by one with every reply, which doubles it in
  the time a reply takes (slow start, as in TCP), until refusals come or until a round of replies brought neither more
  replies nor more tokens a second than the one before: a server that queues refuses nothing and only gets slower. A
  refused call was one too many beside those in flight when it was sent, so if the limit was in use, and no more have
  been taken since, it becomes 0.95 of those. Later it grows by 5 % a round, and faster the longer nothing is refused.
  After a larger limit did not pay, half as much again is tried after half a minute, for as long as that pays, then
  ever more rarely.
- **Too fast.** `rate` calls a second, unknown until refusals teach it. A token bucket is empty whenever it refuses, so
  what it took between two refusals is what flowed in, however large it is: calls taken ÷ seconds. Few calls in between
  make a guess, which halves with every refusal in a row and grows with every call that is taken; 40 make a measurement,
  used at 0.97. That is too low for a bucket so small that it overflows meanwhile, so it is at least 0.85 of what was
  taken in the last seconds. It is held for 20 seconds, then raised a little faster every second until the next refusal.

Up to 2 % of stray refusals change nothing. A cut that does not help is taken back: where as many calls are refused
after it as before, the load is not the reason, and that share is let pass from then on.

Slow start, 5 % a round, and growth of a limit in use alone are those of inspect_ai (adaptive concurrency) and
DataDesigner (request admission), which cut blindly by 0.75 to 0.8; the level that is known to have been taken costs
less of what the endpoint offers. `benchmarks/limits.py` plays simulated providers against all of it.

Nothing here waits or reads a clock: times are arguments, so a test can play minutes in no time.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

START = 8  # calls in flight to begin with
IN_USE = 0.9  # share of the limit that must be in flight for it to grow
NEAR = 0.85  # share of the limit in flight from which on a refusal is held against it
CUT = 0.95  # of what was in flight beside a refused call
GROWTH = 0.05  # of the limit, a round of replies, to begin with
PAYS = 0.1  # more replies or work a second that a larger limit must bring
PROBE, PROBE_SECONDS = 1.5, 30.0  # a larger limit is tried so long after one did not pay, then twice as long

ENOUGH = 40  # calls that make a rate a measurement
SPAN_SECONDS = 5.0  # that it should be measured over
STALE_SECONDS = 120.0  # an older refusal says nothing about the rate
UNDER, LATELY = 0.97, 0.85  # of the measured rate, and of the last seconds', are used
GUESS = 0.25  # a guessed rate grows with every call that is taken
SLOWEST = 0.125  # calls a second that a guess falls to
CREEP, FASTEST = 0.01, 0.2  # growth of the rate a second, at first and at most
UNLIMITED = 10_000.0  # calls a second: a rate beyond this is none
MARK_SECONDS = 0.5  # between notes of how many calls were sent
LATE_SECONDS = 0.1  # of lateness that the pace makes up for

HOLD_SECONDS = 20.0  # without growth after a cut, and at least ENOUGH calls
DOUBLES_SECONDS = 10.0  # without a refusal in which growth doubles
RECENT = 100  # calls in which refusals are counted
STRAY = 0.02  # share of them that is let pass
NOISE = 0.3  # share that may have nothing to do with the load
TIMEOUTS = 20  # if more than half of the last so many calls timed out, the limit is halved


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was let through."""

    number: int  # in the order of their starts, from 1
    at: float
    others: int  # in flight when it started


class _Phase(Enum):
    DOUBLING = 0
    STEADY = 1
    SETTLING = 2  # a larger limit is tried: until its replies come
    MEASURING = 3


@dataclass(slots=True)
class _Round:
    """As many replies as may be in flight when it begins."""

    began: float
    size: float
    replies: int = 0
    work: float = 0.0
    most: int = 0  # in flight at once


@dataclass(slots=True)
class _Trial:
    """A cut on which no verdict has been reached."""

    share: float  # of calls refused before
    refused: int = 0  # after


@dataclass(slots=True)
class Control:
    """The two limits. `second` scales all times, for tests that have none to lose."""

    limit: float
    ceiling: int
    second: float = 1.0
    rate: float | None = None  # calls a second
    in_flight: int = 0
    started: int = 0
    _due: float = -math.inf  # when the pace allows the next call
    _closed_until: float = -math.inf
    _held_until: float = -math.inf
    _grown_at: float = 0.0
    _cut_number: int = 0  # calls up to this were sent before the last cut and say nothing about it
    _phase: _Phase = _Phase.STEADY
    _enough: float = math.inf  # beyond this limit more calls at once did not pay
    _probe_at: float = math.inf
    _probe_seconds: float = PROBE_SECONDS  # until the next one
    _before: tuple[float, float, float] | None = None  # size, replies and work a second of the round before
    _tolerated: float = 0.0  # share of refusals that have nothing to do with the load
    _round: _Round | None = None
    _calm: tuple[float, _Phase] = (1.0, _Phase.STEADY)  # limit and phase before the first of several cuts
    _guess: bool = False  # whether the rate rests on few calls
    _trial: _Trial | None = None
    _highest: int = 0  # beside how many others a call was taken since the limit was cut
    _marks: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=400))  # calls now and then
    _refusals: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=500))  # number, time sent
    _recent: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT))  # refused?
    _timeouts: deque[bool] = field(default_factory=lambda: deque(maxlen=TIMEOUTS))

    def __post_init__(self) -> None:
        if self.limit < self.ceiling:
            self._phase = _Phase.DOUBLING

    def wait(self, now: float) -> float:
        """Seconds until a call may start; inf where one must end first."""
        if self.in_flight >= max(1, int(self.limit)):
            return math.inf
        return max(0.0, self._closed_until - now, self._due - now)

    def start(self, now: float) -> Call:
        """A call starts."""
        call = Call(self.started + 1, now, self.in_flight)
        self.started += 1
        self.in_flight += 1
        if self._round is None:
            self._round = _Round(now, self.limit)
        self._round.most = max(self._round.most, self.in_flight)
        if self.rate is not None:
            self._due = max(self._due, now - LATE_SECONDS * self.second) + 1 / self.rate
        if not self._marks or now - self._marks[-1][1] >= MARK_SECONDS * self.second:
            self._marks.append((call.number, now))
        return call

    def leave(self) -> None:
        """A call is not on the wire any more; what came of it is told apart."""
        self.in_flight -= 1

    def close(self, until: float) -> None:
        """Let no call start before `until`: the endpoint asked for it."""
        self._closed_until = max(self._closed_until, until)

    def taken(self, call: Call, now: float, work: float = 1.0) -> None:
        """A reply came. `work` is what it cost the endpoint, such as its tokens."""
        self._recent.append(False)
        self._timeouts.append(False)
        self._highest = max(self._highest, call.others if call.number > self._cut_number else 0)
        if self._guess and self.rate is not None and call.number > self._cut_number:
            self.rate *= 1 + GUESS
        if now < self._held_until:
            self._grown_at = now
            return
        self._raise_rate(now)
        if self._phase is not _Phase.STEADY or now >= self._probe_at:
            self._explore(now, work)
        elif self.in_flight + 1 >= IN_USE * self.limit:
            growth = GROWTH * 2 ** min((now - self._held_until) / self.second / DOUBLES_SECONDS, 3)
            self.limit = max(self.limit, min(self.limit + growth, self._enough, self.ceiling))

    def failed(self, call: Call, now: float, timed_out: bool) -> None:
        """A call ended without a reply for a reason other than the load."""
        self._recent.append(False)
        self._timeouts.append(timed_out)
        if sum(self._timeouts) > TIMEOUTS / 2 and call.number > self._cut_number:
            self._timeouts.clear()
            self._hold(now, self.limit / 2)

    def refused(self, call: Call, now: float) -> None:
        """The endpoint answered that it is too much."""
        self._recent.append(True)
        self._refusals.append((call.number, call.at))
        share = sum(self._recent) / RECENT
        if call.number <= self._cut_number or share <= max(STRAY, self._tolerated) or self._on_trial(now):
            return
        if now >= self._held_until:
            self._calm = (self.limit, self._phase)
        # Not one too many where as many were taken, or where the limit was not in use.
        blamed = self.in_flight >= NEAR * self.limit and call.others >= CUT * self._highest
        limit = CUT * call.others if blamed else self.limit
        rate, calls = self._measured(call, blamed)
        if blamed:
            self._highest = 0
        self._guess = calls < ENOUGH
        if rate is not None:
            self.rate = max(rate if self.rate is None else min(rate, self.rate), SLOWEST / self.second)
            self._due = max(self._due, call.at + 1 / self.rate)
        self._tolerated = 0.0
        self._hold(now, limit)
        self._trial = None if self._guess else _Trial(share)

    def _hold(self, now: float, limit: float) -> None:
        """A new limit, and no growth for a while."""
        self.limit = max(1.0, limit)
        self._phase, self._before, self._round, self._trial = _Phase.STEADY, None, None, None
        self._probe_at = math.inf if self._enough == math.inf else now + self._probe_seconds * self.second
        self._cut_number = self.started
        calls = 0 if self._guess else ENOUGH
        self._held_until = now + max(HOLD_SECONDS * self.second, calls / (self.rate or math.inf))

    def _measured(self, call: Call, blamed: bool) -> tuple[float | None, int]:
        """The endpoint's rate as the refusals before this one tell it, and how many calls that rests on."""
        stale = STALE_SECONDS * self.second + ENOUGH / (self.rate or math.inf)
        rate, calls, anchor = None, 0, 0
        for newer, (number, at) in enumerate(list(self._refusals)[-2::-1]):
            seconds = call.at - at
            if seconds > stale:
                break
            if seconds > 0:
                calls = max(0, call.number - number - 1 - newer)
                rate, anchor = (calls + 1) / seconds, number
            if calls >= ENOUGH and seconds >= SPAN_SECONDS * self.second:
                break
        if rate is None or calls < ENOUGH:
            return rate, calls
        # Where the limit is cut too, the rate needs no more than to be no higher than what was taken.
        under, lately = (1.0, 1.0) if blamed else (UNDER, LATELY)
        return max(under * rate, lately * self._lately(call, anchor)), calls

    def _lately(self, call: Call, anchor: int) -> float:
        """Calls a second that were taken just before this one, if all that was after call `anchor`."""
        for number, at in reversed(self._marks):
            if number <= anchor:
                break
            calls, seconds = call.number - number, call.at - at
            if calls >= ENOUGH and seconds >= SPAN_SECONDS * self.second:
                return (calls - sum(refused >= number for refused, _ in self._refusals)) / seconds
        return 0.0

    def _on_trial(self, now: float) -> bool:
        """Whether the last cut is still to show what it brings; it is taken back where as many calls are refused.

        Meanwhile no other cut is made, unless more calls are refused than before.
        """
        trial = self._trial
        if trial is None or now >= self._held_until:
            return False
        trial.refused += 1
        since = self.started - self._cut_number
        share = trial.refused / since
        if trial.refused <= 2 or since < ENOUGH / 2:
            return trial.refused <= 2 + NOISE * since
        if max(STRAY, trial.share / 2) < share <= min(2 * trial.share, NOISE):
            self.limit, self._phase = self._calm
            self.rate, self._due, self._held_until = None, -math.inf, -math.inf
            self._trial, self._tolerated = None, share + NOISE / 3
            return True
        return share <= min(2 * trial.share, NOISE)

    def _raise_rate(self, now: float) -> None:
        if self.rate is None:
            return
        quiet = (now - self._held_until) / self.second
        seconds, self._grown_at = (now - self._grown_at) / self.second, now
        self.rate *= 1 + min(CREEP * 2 ** min(quiet / DOUBLES_SECONDS, 10), FASTEST) * min(seconds, 1.0)
        if self.rate > UNLIMITED / self.second:
            self.rate, self._due = None, -math.inf

    def _explore(self, now: float, work: float) -> None:
        """Count a reply; after a round of them go on to more calls at once, or back where that did not pay."""
        fresh = self._phase is not _Phase.STEADY or (self._round is not None and self._round.began >= self._probe_at)
        if self._round is None or not fresh:
            self._round = _Round(now, self.limit)
        done = self._round
        done.replies += 1
        done.work += work
        if self._phase is _Phase.DOUBLING and self.in_flight + 1 >= IN_USE * self.limit:
            self.limit = min(self.limit + 1, float(self.ceiling))
        if done.replies < done.size or now <= done.began:
            return
        in_use, seconds = done.most >= IN_USE * done.size, now - done.began
        speeds = (done.replies / seconds, done.work / seconds)
        self._round = _Round(now, self.limit)
        if self._phase is _Phase.SETTLING:
            self._phase = _Phase.MEASURING
        elif not in_use:
            self._before = None
        elif self._phase is _Phase.DOUBLING and self._paid(speeds):
            self._before = (done.size, *speeds)
        elif self._phase is _Phase.STEADY or (self._paid(speeds) and self.limit < self.ceiling):
            self._before = (self.limit, *speeds)
            self.limit = min(PROBE * self.limit, float(self.ceiling))
            self._phase = _Phase.SETTLING
        else:
            if self._before is not None and not self._paid(speeds):
                self.limit = self._before[0]
            self._enough = self.limit
            self._phase, self._before, self._round = _Phase.STEADY, None, None
            self._probe_at = now + self._probe_seconds * self.second
            self._probe_seconds *= 2

    def _paid(self, speeds: tuple[float, float]) -> bool:
        """Whether a round brought more than the one before: more replies, or more work in longer ones."""
        return self._before is None or any(
            now >= (1 + PAYS) * before for now, before in zip(speeds, self._before[1:], strict=True)
        )
