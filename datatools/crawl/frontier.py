"""What is still to be asked for, and when each host may be asked again: one request at a time, never too soon."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import count

from datatools.crawl.scope import host_of


@dataclass(slots=True)
class Link:
    """A URL to ask for."""

    url: str
    depth: int = 0
    kind: str = "page"  # or "sitemap"
    hops: int = 0  # redirects that led here
    copies: int = 0  # pages in a row on the way here that say what another one says
    tries: int = 0


@dataclass(slots=True)
class Pace:
    """How fast one host is asked: the delay follows its own answering time and never falls below the longest wish."""

    floor: float  # seconds: the user's delay or the site's Crawl-delay, whichever is longer
    delay: float
    ready: float = 0.0  # on the clock of the crawl: when the next request may go out
    bad: int = 0  # requests in a row that came to nothing

    def answered(self, now: float, latency: float, status: int) -> None:
        """Set the delay after an answer: towards the host's own latency, at once when it is slower (AutoThrottle)."""
        wanted = max(latency, (self.delay + latency) / 2)
        if status == 200 or wanted > self.delay:  # error pages are quick: they must not speed things up
            self.delay = wanted
        self.delay = max(self.floor, min(self.delay, 60.0))
        self.ready = max(self.ready, now + self.delay)

    def wish(self, delay: float) -> None:
        """A longer delay that the site asks for."""
        self.floor = max(self.floor, delay)
        self.delay = max(self.delay, self.floor)

    def pause(self, now: float, seconds: float) -> None:
        """Leave the host alone for so long."""
        self.ready = max(self.ready, now + max(seconds, self.delay))


@dataclass
class Frontier:
    """Links in a queue for each host, first come first served; hosts take turns by when they may be asked again."""

    delay: float
    paces: dict[str, Pace] = field(default_factory=dict)
    queues: dict[str, deque[Link]] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    size: int = 0
    _turns: list[tuple[float, int, str]] = field(default_factory=list)
    _waiting: set[str] = field(default_factory=set)
    _number: count[int] = field(default_factory=count)

    def pace(self, host: str) -> Pace:
        """The pace of a host."""
        if host not in self.paces:
            self.paces[host] = Pace(self.delay, self.delay)
        return self.paces[host]

    def push(self, link: Link, *, first: bool = False) -> None:
        """A link to the end of its host's queue, or to its beginning."""
        host = host_of(link.url)
        queue = self.queues.setdefault(host, deque())
        (queue.appendleft if first else queue.append)(link)
        self.size += 1
        self._wait(host)

    def pop(self) -> Link | None:
        """The next link, of a host that has no request under way; the host is busy until `release`."""
        while self._turns:
            _, _, host = heapq.heappop(self._turns)
            self._waiting.discard(host)
            if self.queues.get(host):
                self.busy.add(host)
                self.size -= 1
                return self.queues[host].popleft()
        return None

    def release(self, host: str) -> None:
        """The host's request has ended."""
        self.busy.discard(host)
        self._wait(host)

    def drop(self, host: str) -> int:
        """Forget what is queued for a host; how many links that were."""
        dropped = len(self.queues.pop(host, ()))
        self.size -= dropped
        return dropped

    def clear(self) -> None:
        """Forget everything that is queued."""
        self.queues.clear()
        self.size = 0

    def _wait(self, host: str) -> None:
        if host in self.busy or host in self._waiting or not self.queues.get(host):
            return
        self._waiting.add(host)
        heapq.heappush(self._turns, (self.pace(host).ready, next(self._number), host))
