"""robots.txt, read before anything else of a site (RFC 9309, by Protego), with the delay it asks for."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urljoin, urlsplit

from protego import Protego
from scrapy import Request

from datatools.crawl.frontier import Pace
from datatools.crawl.headers import location
from datatools.crawl.limits import Refused, unpacked
from datatools.crawl.network import PASSING, why
from datatools.crawl.retry import put_off
from datatools.crawl.scope import host_of, normalise
from datatools.crawl.settings import MAX_ROBOTS, MAX_TRIES, MAX_WAIT, TOKEN

REDIRECTS = 5  # that RFC 9309 asks to follow
A_DAY = 86_400.0  # seconds after which it asks to read the file again


class Robots:
    """Scrapy downloader middleware: lets a request through, or raises Refused (`robots`, `robots_unreachable`)."""

    def __init__(self, crawler: Any) -> None:
        self._crawler = crawler
        self._site = crawler.settings["DATATOOLS_SITE"]
        # By scheme, host and port, with when it was read; None: nothing may be asked for.
        self._rules: dict[str, tuple[Protego | None, float]] = {}

    @classmethod
    def from_crawler(cls, crawler: Any) -> Robots:
        """Scrapy's way of making one."""
        return cls(crawler)

    async def process_request(self, request: Any) -> None:
        """Ask for the site's robots.txt if it is not known, and obey it."""
        if request.meta.get("robots"):
            return
        parts = urlsplit(request.url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._rules or time.monotonic() - self._rules[origin][1] > A_DAY:
            # One request at a time per host: nobody else is asking for this file.
            read = await self._read(origin, self._site.frontier.pace(host_of(request.url)))
            self._rules[origin] = read, time.monotonic()
        rules, _ = self._rules[origin]
        if rules is None:
            raise Refused("robots_unreachable", f"{origin}/robots.txt could not be read")
        if not rules.can_fetch(request.url, TOKEN):
            raise Refused("robots", f"{origin}/robots.txt disallows it")

    async def _read(self, origin: str, pace: Pace) -> Protego | None:
        """The rules of a site: all is allowed where it has none (4xx), nothing where it cannot say (5xx, no answer)."""
        url, redirects = f"{origin}/robots.txt", 0
        for tries in range(1, REDIRECTS + MAX_TRIES + 1):
            try:
                response = await self._ask(url)
            except Exception as error:
                rule, detail = why(url, error, self._site.refused)
                if rule not in PASSING:
                    raise Refused(rule, detail) from error
                if tries >= 2:
                    return None
                await self._site.rest(put_off(None, pace.delay, tries))
                continue
            status = response.status
            if status in (429, 500, 502, 503, 504):
                wait = put_off(response.headers.get("Retry-After"), pace.delay, tries)
                if tries >= MAX_TRIES or wait > MAX_WAIT:
                    return None
                await self._site.rest(max(wait, pace.delay))
                continue
            if status in (301, 302, 303, 307, 308) and location(response.headers):
                redirects += 1
                target = normalise(urljoin(url, location(response.headers)))
                if target is None or redirects > REDIRECTS:
                    return None
                url = target
                await self._site.rest(pace.delay)
                continue
            if status >= 500:
                return None
            rules = _parsed(_text(response) if status < 300 else "", pace)
            self._site.offer_sitemaps([found for one in rules.sitemaps if (found := normalise(urljoin(url, one)))])
            await self._site.rest(pace.delay)  # the next request is for a page
            return rules
        return None

    async def _ask(self, url: str) -> Any:
        self._site.counts["requests"] += 1
        meta = {"robots": True, "download_timeout": self._site.settings.timeout}
        return await self._crawler.engine.download_async(Request(url, headers=self._site.headers(), meta=meta))


def _text(response: Any) -> str:
    try:
        encoding = (response.headers.get("Content-Encoding") or b"").decode("latin-1")
        return unpacked(response.body, encoding, MAX_ROBOTS).decode("utf-8", "replace")
    except Refused:
        return "User-agent: *\nDisallow: /"  # it has rules, and they cannot be read


def _parsed(text: str, pace: Pace) -> Protego:
    rules = Protego.parse(text.removeprefix("\ufeff"))
    rate = rules.request_rate(TOKEN)
    pace.wish(
        max(float(rules.crawl_delay(TOKEN) or 0), rate.seconds / rate.requests if rate and rate.requests else 0.0)
    )
    return rules
