"""The crawl in a process of its own: a reactor runs once a process, and a process can be ended at any moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from datatools.crawl.settings import CrawlSettings
from datatools.report.progress import Bar, Progress

TICK = 0.5  # seconds between looks at what there is to show


@dataclass
class Crawled:
    """What a run of the crawl did; what it stored stands in the store."""

    requests: int = 0
    retried: int = 0
    pages: int = 0  # of this pass, all runs together
    bytes: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # links not asked for
    cut: dict[str, int] = field(default_factory=dict)  # the patterns that were cut, with how many links
    left: dict[str, int] = field(default_factory=dict)  # URLs left for another run
    given_up: dict[str, str] = field(default_factory=dict)  # host → why
    stopped: str = ""


def crawl_site(settings: CrawlSettings, folder: Path, work: Path, *, quiet: bool) -> Crawled:
    """Crawl into `folder`, going on where an earlier run stopped. Raises what ended it before its time."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_main, args=(theirs, settings, folder, work, quiet), daemon=True)
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError as error:
        process.join()
        raise RuntimeError(f"the crawl's process ended with code {process.exitcode}") from error
    finally:
        process.terminate()  # at any moment: the store is whole
        process.join()
    if isinstance(found, BaseException):
        raise found
    assert isinstance(found, Crawled)
    return found


def _main(pipe: Connection, settings: CrawlSettings, folder: Path, work: Path, quiet: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with_parent, args=(parent.sentinel,), daemon=True).start()
    try:
        pipe.send(_crawl(settings, folder, work, Progress(quiet=quiet)))
    except (ValueError, OSError) as error:
        pipe.send(error)
    except Exception as error:
        traceback.print_exc()
        pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))


def _end_with_parent(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _crawl(settings: CrawlSettings, folder: Path, work: Path, progress: Progress) -> Crawled:
    from scrapy.crawler import AsyncCrawlerProcess

    from datatools.crawl.site import Site
    from datatools.crawl.spider import SiteSpider, scrapy_settings
    from datatools.crawl.store import Store

    store, replayed = Store.open(folder, work)
    site = Site.begin(settings, store, replayed)
    del replayed
    if site.frontier.size:
        process = AsyncCrawlerProcess(scrapy_settings(site))
        process.crawl(SiteSpider)
        with progress.bar("crawling", None) as bar:
            from twisted.internet import reactor
            from twisted.internet.task import LoopingCall

            shown = Shown(site, bar)
            LoopingCall(shown.tick).start(TICK, now=False)
            assert reactor is not None
            process.start(install_signal_handlers=False)
    if site.problem is not None:
        raise site.problem
    left = {rule: count for rule in ("robots_unreachable", "host_unavailable") if (count := site.errors[rule])}
    store.end(site.stopped or "finished")
    store.close()
    return Crawled(
        site.counts["requests"],
        site.counts["retried"],
        store.pages,
        store.size,
        dict(site.dropped),
        dict(site.cut.most_common(20)),
        left,
        site.given_up,
        site.stopped,
    )


class Shown:
    """What the progress line says: pages, queue, bytes, errors by class, pages a second of the busiest hosts."""

    def __init__(self, site: Any, bar: Bar) -> None:
        import time

        self._site, self._bar = site, bar
        self._before = self._pages = site.store.pages
        self._clock, self._began = time.monotonic, time.monotonic()

    def tick(self) -> None:
        """Show it."""
        pages = self._site.store.pages
        self._bar.advance(pages - self._pages, detail=self)
        self._pages = pages

    def __str__(self) -> str:
        site = self._site
        seconds = max(self._clock() - self._began, TICK)
        rates = [f"{host} {count / seconds:.2f}/s" for host, count in site.hosts.most_common(3)]
        more = [f"{len(site.hosts) - 3} more hosts"] if len(site.hosts) > 3 else []
        errors = [f"{rule} {count:,}" for rule, count in site.errors.most_common(4)]
        known = f"pages, {self._before:,} before; " if self._before else "pages; "
        parts = [f"{known}queue {site.frontier.size:,}, {site.store.size / 1e6:,.1f} MB", ", ".join(errors)]
        return "; ".join(part for part in [*parts, ", ".join([*rates, *more])] if part)
