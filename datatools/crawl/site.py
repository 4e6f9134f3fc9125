"""A crawl under way: which links are taken, what becomes of every answer, what is counted. Knows nothing of Scrapy."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin

import xxhash

from datatools.crawl import warc
from datatools.crawl.frontier import Frontier, Link
from datatools.crawl.limits import ENCODINGS, Refused
from datatools.crawl.retry import put_off
from datatools.crawl.scope import Scope, host_of, key, normalise, pattern, trap
from datatools.crawl.settings import GIVE_UP_AFTER, MAX_REDIRECTS, MAX_TRIES, MAX_WAIT, CrawlSettings
from datatools.crawl.store import FETCHED, Store
from datatools.crawl.visit import Visit, visit

ACCEPT = "text/html,application/xhtml+xml,text/plain;q=0.8,application/xml;q=0.8,application/pdf;q=0.5,*/*;q=0.1"
REDIRECTS = (301, 302, 303, 307, 308)
# Outcomes that another try may mend, with how often one is made; the others are final at once.
AGAIN = {"http_429": MAX_TRIES, "http_503": MAX_TRIES, "http_500": 3, "http_502": 3, "http_504": 3, "connection": 3}
AGAIN |= {"timeout": 2, "dns": 2}
# Outcomes by which a host says, or shows, that it does not want or cannot serve us.
UNWELCOME = {*AGAIN, "tls", "http_401", "http_403", "http_451"}


@dataclass
class Site:
    """The state of a crawl in this process; all that must outlive it is in the store."""

    settings: CrawlSettings
    store: Store
    seeds: tuple[str, ...]  # normalised
    scope: Scope
    frontier: Frontier
    noted: set[str] = field(default_factory=set)  # keys of links that were judged
    patterns: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)  # links not asked for, by rule
    cut: Counter[str] = field(default_factory=Counter)  # the same by pattern
    errors: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)  # pages of this run
    given_up: dict[str, str] = field(default_factory=dict)  # host → why
    refused: dict[str, str] = field(default_factory=dict)  # host → address that is not public
    under_way: int = 0
    stopped: str = ""  # why no more is asked for
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    problem: BaseException | None = None

    def __deepcopy__(self, memo: object) -> Site:
        return self  # Scrapy copies its settings, which is how its parts come by the crawl

    @classmethod
    def begin(cls, settings: CrawlSettings, store: Store, replayed: Iterable[Mapping[str, Any]]) -> Site:
        """The crawl where the journal left it, or at its beginning."""
        seeds = tuple(url for seed in settings.seeds if (url := normalise(seed)))
        scope = Scope.of(seeds, settings.allow_domain, settings.path_prefix)
        site = cls(settings, store, seeds, scope, Frontier(settings.delay))
        if not store.passes or (store.finished and settings.revisit):
            store.begin()
            replayed = []
        for line in replayed:
            site.noted.add(key(line["url"]))
            site.patterns[pattern(line["url"])] += 1
        for seed in seeds:
            site._offer(Link(seed), seed=True)
        for line in replayed:
            site._follow(line)
        if store.passes > 1:
            for url, depth, kind in list(store.earlier.values()):
                if scope.holds_host(url):
                    site._offer(Link(url, depth, kind))
        for urls in list(store.sitemaps):
            site.offer_sitemaps(urls)
        return site

    def _follow(self, line: Mapping[str, Any]) -> None:
        """Offer what one line of the journal leads to."""
        depth = line["depth"]
        for url in line.get("links", ()):
            self._offer(Link(url, depth + 1, copies=line.get("copies", 0)))
        for url in line.get("sitemaps", ()):
            self._offer(Link(url, depth, "sitemap"))
        if target := line.get("to"):
            self._offer(Link(target, depth, line["kind"], line["hops"] + 1))

    def _offer(self, link: Link, *, seed: bool = False) -> None:
        """Queue a link of the scope unless it is known, a trap, or too deep."""
        name = key(link.url)
        if name in self.noted:
            return
        self.noted.add(name)
        shape = pattern(link.url)
        if not seed and link.kind == "page":
            deepest = self.settings.max_depth
            rule = trap(link.url)
            if deepest is not None and link.depth > deepest:
                rule = "max_depth"
            elif not rule and self.patterns[shape] >= self.settings.max_per_pattern:
                rule = "max_per_pattern"
                self.cut[shape] += 1
            if rule:
                self.dropped[rule] += 1
                return
        self.patterns[shape] += 1
        if gave_up := self.given_up.get(host_of(link.url)):
            self.errors[_left(gave_up)] += 1
        else:
            self.frontier.push(link)

    def offer_sitemaps(self, urls: Iterable[str]) -> None:
        """Queue the sitemaps that a robots.txt names."""
        fresh = [url for url in urls if self.scope.holds_host(url) and key(url) not in self.noted]
        if fresh and fresh not in self.store.sitemaps:
            self.store.add_sitemaps(fresh)
        for url in fresh:
            self._offer(Link(url, 0, "sitemap"))

    def _in_scope(self, urls: Iterable[str]) -> list[str]:
        """Those links that belong to the crawl and were not judged before."""
        found = []
        for url in urls:
            if not self.scope.holds(url):
                self.dropped["out_of_scope"] += 1
            elif key(url) not in self.noted:
                found.append(url)
        return found

    def next(self) -> Link | None:
        """The next link to ask for; None where none may be, or the limits are reached."""
        most = self.settings.max_pages
        if most is not None and self.store.pages >= most:
            self.stop("max_pages")
        if self.settings.max_bytes is not None and self.store.size >= self.settings.max_bytes:
            self.stop("max_bytes")
        if self.stopped or (most is not None and self.store.pages + self.under_way >= most):
            return None
        link = self.frontier.pop()
        if link is not None:
            self.under_way += 1
        return link

    def stop(self, why: str) -> None:
        """Ask for nothing more."""
        self.stopped = self.stopped or why
        self.frontier.clear()
        self.stopping.set()

    def crash(self, problem: BaseException) -> None:
        """End the crawl because of an error that is no page's: a full disk, a mistake in this code."""
        self.problem = self.problem or problem
        self.stop("crashed")

    def headers(self, link: Link | None = None) -> dict[str, str]:
        """The headers of a request, conditional where an earlier pass has the page."""
        contact = self.settings.contact or ""
        found = {
            "User-Agent": self.settings.user_agent,
            "Accept": ACCEPT,
            "Accept-Encoding": ENCODINGS,
        }
        if "@" in contact and "://" not in contact:
            found["From"] = contact
        known = self.store.known.get(key(link.url)) if link else None
        if known and known.etag:
            found["If-None-Match"] = known.etag
        if known and known.modified:
            found["If-Modified-Since"] = known.modified
        return found

    async def turn(self, link: Link) -> None:
        """Wait until the link's host may be asked. Raises Refused when the crawl stops before."""
        pace = self.frontier.pace(host_of(link.url))
        while (left := pace.ready - time.monotonic()) > 0:
            await self.rest(left)
        if self.stopped:
            raise Refused("stopped")

    async def rest(self, seconds: float) -> None:
        """Wait. Raises Refused when the crawl stops before."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), seconds)
            raise Refused("stopped")

    def took(self, link: Link, exchange: warc.Exchange, latency: float, retry_after: bytes | None = None) -> None:
        """An answer has come: store its page, follow its links, or say why not."""
        pace = self.frontier.pace(host_of(link.url))
        pace.answered(time.monotonic(), latency, exchange.status)
        if exchange.status == 200:
            try:
                seen = visit(link.url, exchange.headers, exchange.body, sitemap=link.kind == "sitemap")
            except Refused as refused:
                self._end(link, refused.rule, detail=str(refused), bytes=len(exchange.body), status=200)
            else:
                self._keep(link, exchange, seen)
        elif exchange.status == 304 and (known := self.store.known.get(key(link.url))):
            records, _ = warc.revisit(exchange, known.twin)
            self._end(link, "unchanged", records, status=304)
        elif exchange.status in REDIRECTS:
            self._redirect(link, exchange)
        else:
            self.failed(link, f"http_{exchange.status}", retry_after=retry_after)
        self._done(link)

    def lost(self, link: Link, rule: str, detail: str = "") -> None:
        """No answer has come, or none that may be taken."""
        if rule not in ("robots", "stopped"):  # for which nothing was sent
            self.frontier.pace(host_of(link.url)).answered(time.monotonic(), 0.0, 0)
        if rule == "robots_unreachable":
            self.give_up(host_of(link.url), f"{rule}: {detail}", 1)
        elif rule != "stopped":
            self.failed(link, rule, detail)
        self._done(link)

    def _done(self, link: Link) -> None:
        self.under_way -= 1
        self.frontier.release(host_of(link.url))

    def failed(self, link: Link, rule: str, detail: str = "", retry_after: bytes | None = None) -> None:
        """Try again later where that may help; else the URL has come to nothing."""
        host, now = host_of(link.url), time.monotonic()
        pace = self.frontier.pace(host)
        link.tries += 1
        wait = put_off(retry_after, pace.delay, link.tries)
        if rule in ("http_429", "http_503") and wait > MAX_WAIT:
            self.give_up(host, rule, 1)
            return
        if link.tries < AGAIN.get(rule, 0):
            self.counts["retried"] += 1
            pace.pause(now, wait)
            self.frontier.push(link, first=True)
            return
        self._end(link, rule, detail=detail)
        if rule in UNWELCOME:
            pace.bad += 1
            if pace.bad >= GIVE_UP_AFTER:
                self.give_up(host, rule, 0)

    def give_up(self, host: str, rule: str, extra: int) -> None:
        """Ask a host for nothing more in this run; a later one goes on with what is left."""
        self.given_up[host] = rule
        left = self.frontier.drop(host) + extra
        self.errors[_left(rule)] += left

    def _redirect(self, link: Link, exchange: warc.Exchange) -> None:
        said = next((value for name, value in exchange.headers if name.lower() == "location"), "")
        target = normalise(urljoin(link.url, said)) if said else None
        if target is None:
            self._end(link, "bad_redirect", detail=said[:200], status=exchange.status)
        elif link.hops >= MAX_REDIRECTS:
            self._end(link, "redirect_limit", detail=target, status=exchange.status)
        elif not self.scope.holds(target) and not (link.kind == "sitemap" and self.scope.holds_host(target)):
            self._end(link, "redirect_out_of_scope", detail=target, status=exchange.status)
        else:
            records, _, _ = warc.response(exchange)
            self._end(link, "redirect", records, status=exchange.status, to=target, time=exchange.time)

    def _keep(self, link: Link, exchange: warc.Exchange, seen: Visit) -> None:
        """Store a page by what it holds: new, as it was, or as another one."""
        name = key(link.url)
        facts: dict[str, Any] = {"status": 200, "bytes": len(exchange.body), "time": exchange.time}
        if seen.outcome != "page":
            facts["links"] = self._in_scope(seen.links)
            facts["sitemaps"] = [url for url in seen.sitemaps if self.scope.holds_host(url)]
            self._end(link, seen.outcome, **facts)
            return
        content = xxhash.xxh3_128_hexdigest(seen.body)
        known, twin = self.store.known.get(name), self.store.contents.get(content)
        if known is not None and known.content == content:
            facts["links"] = self._in_scope(seen.links)
            self._end(link, "unchanged", warc.revisit(exchange, known.twin)[0], **facts)
        elif twin is not None and twin != name:
            original = self.store.known[twin].twin
            records, _, digest = warc.response(exchange)
            if digest == original.digest:
                records, _ = warc.revisit(exchange, original)
            copies = link.copies + ((host_of(link.url), content) in self.store.met)
            if copies < 2:
                # One step on, and no more: a server that answers any path with one page and relative links has no end.
                facts["links"] = self._in_scope(seen.links)
            self._end(link, "duplicate", records, twin=original.url, content=content, copies=copies, **facts)
        else:
            records, record_id, digest = warc.response(exchange)
            said = {header.lower(): value for header, value in exchange.headers}
            facts.update(etag=said.get("etag", ""), modified=said.get("last-modified", ""), content=content)
            facts.update(id=record_id, digest=digest, links=self._in_scope(seen.links))
            self._end(link, "stored", records, **facts)

    def _end(self, link: Link, outcome: str, records: bytes = b"", **facts: Any) -> None:
        """Record what became of a link, and follow what it leads to."""
        line = {"record": "page", "url": link.url, "depth": link.depth, "kind": link.kind, "hops": link.hops}
        line |= {"outcome": outcome, **{name: value for name, value in facts.items() if value or name == "status"}}
        line.setdefault("time", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
        info = {"software": self.settings.user_agent, "operator": self.settings.contact or "", "robots": "obey"}
        self.store.add(line, records, {**info, "format": "WARC File Format 1.0"})
        host = host_of(link.url)
        if outcome in FETCHED and link.kind == "page":
            self.hosts[host] += 1
        if outcome in ("stored", "duplicate", "unchanged", "noindex", "sitemap", "redirect"):
            self.frontier.pace(host).bad = 0
        else:
            self.errors[outcome] += 1
        self._follow(line)


def _left(why: str) -> str:
    """What pages are counted as that are left for another run, because their host was given up."""
    return "robots_unreachable" if why.startswith("robots_unreachable") else "host_unavailable"
