"""Scrapy's part: it sends the requests, one a host at a time, and hands over what comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from scrapy import Request, Spider, signals
from scrapy.core.scheduler import BaseScheduler
from scrapy.exceptions import StopDownload

from datatools.crawl.headers import pairs
from datatools.crawl.limits import Refused, is_text
from datatools.crawl.network import why
from datatools.crawl.settings import HOSTS_AT_ONCE, MAX_BODY, MAX_ROBOTS
from datatools.crawl.site import Site
from datatools.crawl.warc import Exchange


class Turns(BaseScheduler):
    """Scrapy's scheduler: what is to be asked for stands in the crawl's own frontier."""

    def __init__(self, crawler: Any) -> None:
        self._crawler = crawler
        self._site: Site = crawler.settings["DATATOOLS_SITE"]

    @classmethod
    def from_crawler(cls, crawler: Any) -> Turns:
        """Scrapy's way of making one."""
        return cls(crawler)

    def has_pending_requests(self) -> bool:
        """Whether anything is left to ask for."""
        return self._site.frontier.size > 0

    def enqueue_request(self, request: Any) -> bool:
        """Not used: links go to the frontier."""
        raise NotImplementedError

    def next_request(self) -> Any:
        """The request for the next link."""
        site = self._site
        link = site.next()
        if link is None:
            return None
        spider = self._crawler.spider
        return Request(
            link.url,
            callback=spider.took,
            errback=spider.lost,
            headers=site.headers(link),
            meta={"link": link, "download_timeout": site.settings.timeout},
            dont_filter=True,
        )


class Manners:
    """Downloader middleware: a request waits for its host's turn."""

    def __init__(self, site: Site) -> None:
        self._site = site

    @classmethod
    def from_crawler(cls, crawler: Any) -> Manners:
        """Scrapy's way of making one."""
        return cls(crawler.settings["DATATOOLS_SITE"])

    async def process_request(self, request: Any) -> None:
        """Wait."""
        if "link" in request.meta:
            await self._site.turn(request.meta["link"])


class Sent:
    """Downloader middleware behind robots.txt: counts what is sent."""

    def __init__(self, site: Site) -> None:
        self._site = site

    @classmethod
    def from_crawler(cls, crawler: Any) -> Sent:
        """Scrapy's way of making one."""
        return cls(crawler.settings["DATATOOLS_SITE"])

    async def process_request(self, request: Any) -> None:
        """Count a request for a page."""
        if "link" in request.meta:
            self._site.counts["requests"] += 1


class SiteSpider(Spider):
    """Hands answers to the crawl."""

    name = "datatools"

    @classmethod
    def from_crawler(cls, crawler: Any, *args: Any, **kwargs: Any) -> SiteSpider:
        """Scrapy's way of making one."""
        spider: SiteSpider = super().from_crawler(crawler, *args, **kwargs)
        spider.site = crawler.settings["DATATOOLS_SITE"]
        crawler.signals.connect(spider.began, signal=signals.headers_received)
        crawler.signals.connect(spider.more, signal=signals.bytes_received)
        return spider

    site: Site

    async def start(self) -> AsyncIterator[Any]:
        """Nothing: the frontier holds the seeds."""
        return
        yield

    def began(self, headers: Any, request: Any, **_: Any) -> None:
        """The headers are there: what holds no text is not read on."""
        if link := request.meta.get("link"):
            said = (headers.get("Content-Type") or b"").decode("latin-1")
            if not is_text(said, link.kind == "sitemap"):
                raise StopDownload(fail=True)

    def more(self, data: bytes, request: Any, **_: Any) -> None:
        """Some of the body is there: a robots.txt is read up to a limit."""
        if request.meta.get("robots"):
            request.meta["read"] = request.meta.get("read", 0) + len(data)
            if request.meta["read"] > MAX_ROBOTS:
                raise StopDownload(fail=False)

    def took(self, response: Any) -> None:
        """An answer."""
        request = response.request
        try:
            self._took(request, response)
        except Exception as error:  # told to the user by the parent process
            self.site.crash(error)

    def _took(self, request: Any, response: Any) -> None:
        exchange = Exchange(
            request.meta["link"].url,
            datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            pairs(request.headers),
            response.status,
            pairs(response.headers),
            response.body,
            response.protocol or "HTTP/1.1",
            str(response.ip_address or ""),
        )
        latency = request.meta.get("download_latency", 0.0)
        self.site.took(request.meta["link"], exchange, latency, response.headers.get("Retry-After"))

    def lost(self, failure: Any) -> None:
        """No answer."""
        request: Any = failure.request
        error: Any = failure.value
        stopped: Any = error.response if isinstance(error, StopDownload) else None
        link = request.meta["link"]
        try:
            if stopped is not None and stopped.status != 200:
                self._took(request, stopped)
            elif stopped is not None:
                self.site.lost(link, "not_text", (stopped.headers.get("Content-Type") or b"").decode("latin-1"))
            elif isinstance(error, Refused):
                self.site.lost(link, error.rule, str(error))
            else:
                self.site.lost(link, *why(link.url, error, self.site.refused))
        except Exception as problem:
            self.site.crash(problem)


def scrapy_settings(site: Site) -> dict[str, Any]:
    """Scrapy with everything switched off but what is said here."""
    return {
        "DATATOOLS_SITE": site,
        "SCHEDULER": Turns,
        "DNS_RESOLVER": "datatools.crawl.addresses.PublicOnly",
        "DOWNLOADER_MIDDLEWARES_BASE": {},
        "DOWNLOADER_MIDDLEWARES": {Manners: 1, "datatools.crawl.robots.Robots": 2, Sent: 3},
        "SPIDER_MIDDLEWARES_BASE": {},
        "EXTENSIONS_BASE": {},
        "DOWNLOAD_HANDLERS": {"data": None, "file": None, "ftp": None, "s3": None},
        "DOWNLOAD_VERIFY_CERTIFICATES": True,
        "DOWNLOAD_MAXSIZE": MAX_BODY,
        "DOWNLOAD_WARNSIZE": 0,
        "DOWNLOAD_DELAY": 0,  # the frontier's: counted from the end of an answer, and from robots.txt on
        "DOWNLOAD_DELAY_JITTER": 0,
        "CONCURRENT_REQUESTS": HOSTS_AT_ONCE,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
        "ROBOTSTXT_OBEY": False,  # by Scrapy's own middleware, which allows all where robots.txt cannot be had
        "TELNETCONSOLE_ENABLED": False,
        "LOG_ENABLED": False,
        "USER_AGENT": site.settings.user_agent,
    }
