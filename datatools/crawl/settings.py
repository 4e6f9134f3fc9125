"""What a crawl is told: where it begins, how far it goes, how it behaves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import version
from ipaddress import ip_network

TOKEN = "datatools"  # the name robots.txt and robots meta tags call this crawler by
CONTACT = re.compile(r"https?://[\w.-]+\S*|[^@\s<>()]+@[\w-]+(\.[\w-]+)+")

MAX_BODY = 16 << 20  # bytes of one response, as sent and again unpacked
MAX_SITEMAP = 64 << 20  # unpacked: the protocol allows 50 MB
MAX_ROBOTS = 512 << 10  # bytes of a robots.txt that are read (RFC 9309 asks for 500 KiB at least)
MAX_REDIRECTS = 10
MAX_TRIES = 4  # of one page that the server puts off or fails
MAX_WAIT = 3600.0  # seconds: a host that says to come back later than this is left for another run
GIVE_UP_AFTER = 10  # pages of a host in a row that could not be had
HOSTS_AT_ONCE = 128  # each has one request under way or waits for its turn


@dataclass(frozen=True)
class CrawlSettings:
    """Everything that shapes a crawl. Defaults are the command line's. Raises ValueError for what cannot work."""

    seeds: tuple[str, ...]
    contact: str | None = None
    allow_domain: tuple[str, ...] = ()
    path_prefix: tuple[str, ...] = ()
    max_pages: int | None = None
    max_depth: int | None = None
    max_bytes: int | None = None
    max_per_pattern: int = 100
    delay: float = 1.0  # seconds between the end of an answer and the next request to the same host
    timeout: float = 60.0  # seconds for one page, in all
    allow_private: tuple[str, ...] = ()
    revisit: bool = False

    def __post_init__(self) -> None:
        if not self.contact:
            raise ValueError(
                "--contact is needed: an e-mail address or URL, which site owners see in every request and can turn to"
            )
        if not CONTACT.fullmatch(self.contact):
            raise ValueError(f"--contact {self.contact}: neither an e-mail address nor an http(s) URL")
        for network in self.allow_private:
            try:
                ip_network(network)
            except ValueError as error:
                raise ValueError(f"--allow-private {network}: {error}; an example is 192.168.1.0/24") from error
        for name, least in (("max_pages", 1), ("max_depth", 0), ("max_bytes", 1), ("max_per_pattern", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"--{name.replace('_', '-')} {value}: must be {least} or more")
        if self.delay < 0:
            raise ValueError(f"--delay {self.delay}: must be 0 or more seconds")
        if self.timeout <= 0:
            raise ValueError(f"--timeout {self.timeout}: must be more than 0 seconds")

    @property
    def user_agent(self) -> str:
        """What servers are told: name, version, contact."""
        return f"{TOKEN}/{version('medical-datatools')} (+{self.contact})"
