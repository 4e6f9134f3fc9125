"""Which URLs belong to a crawl: one spelling for each, the scope, and the traps that never end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

PORTS = {"http": 80, "https": 443}
LONGEST_URL = 2_000  # characters; longer ones come from pages that append to their own address
DEEPEST_PATH = 20  # segments
MOST_REPEATS = 3  # of one segment in a path: /a/b/a/b/a/b/a/b comes from relative links gone wrong

TRACKING = re.compile(
    r"utm_\w+|[gf]bclid|gclid|dclid|msclkid|yclid|_ga|_gl|mc_[ce]id|igshid|spm|scm|hmsr|hmpl|hmcu", re.I
)
SESSION = re.compile(
    r"(?:php|j|asp|asp\.net_)?sess(?:ion)?_?id\w*|aspsessionid\w*|cfid|cftoken|zenid|oscsid|phpsessid|jsessionid", re.I
)
MAYBE_SESSION = re.compile(r"s|sid|session|token|auth|sess", re.I)  # names that hold other things too
SESSION_VALUE = re.compile(r"(?=[^&]*\d)[\w-]{16,}")
PATH_SESSION = re.compile(r";(?:jsessionid|phpsessid|sid)=[^/;?]*|/\([SFA]\([^)]*\)\)(?=/)", re.I)
UNRESERVED = re.compile(r"%([0-9a-fA-F]{2})")
# Numbers that name a day or a second; other long ones name an article.
DATE = re.compile(r"(?:1[89]|20|21)\d\d(?:0[1-9]|1[0-2])(?:[0-3]\d)?|1\d{9}(?:\d{3})?")
# What is never text: not even asked for.
MEDIA = re.compile(
    r"\.(?:jpe?g|png|gif|webp|bmp|ico|svg|tiff?|css|js|mjs|map|woff2?|ttf|eot|otf|mp[34]|m4[av]|avi|mov|wmv|flv|webm|ogg|wav"
    r"|zip|rar|7z|tar|t?gz|bz2|xz|exe|msi|dmg|apk|iso|bin|docx?|xlsx?|pptx?|wps|psd|swf|rss|atom|ics)",
    re.I,
)


def normalise(url: str, encoding: str = "utf-8") -> str | None:
    """The one spelling of a URL; None for what is no http(s) URL.

    Lower-case host without its default port, no fragment, user or dot segments, tracking and session parameters
    dropped. `encoding` is the page's: browsers write what follows `?` in it, and everything else in UTF-8.

    >>> normalise("HTTP://Example.COM:80/a/../b?utm_source=x&id=5#top")
    'http://example.com/b?id=5'
    >>> normalise("http://example.com/搜索?q=感冒", "gb18030")
    'http://example.com/%E6%90%9C%E7%B4%A2?q=%B8%D0%C3%B0'
    """
    from w3lib.url import safe_url_string

    try:
        parts = urlsplit(safe_url_string("".join(url.split("\0")).strip(), encoding))
        host, port = parts.hostname, parts.port
    except (ValueError, LookupError):
        return None
    if parts.scheme not in PORTS or not host:
        return None
    host = host.rstrip(".")
    place = f"[{host}]" if ":" in host else host
    if port and port != PORTS[parts.scheme]:
        place += f":{port}"
    path = _without_dots(_plain(PATH_SESSION.sub("", parts.path)))
    query = "&".join(piece for piece in _plain(parts.query).split("&") if piece and not _is_dropped(piece))
    return urlunsplit((parts.scheme, place, path, query, ""))


def _plain(text: str) -> str:
    """Percent signs only where they are needed, in capitals."""

    def one(match: re.Match[str]) -> str:
        sign = chr(int(match[1], 16))
        return sign if sign.isascii() and (sign.isalnum() or sign in "-._~") else match[0].upper()

    return UNRESERVED.sub(one, text)


def _without_dots(path: str) -> str:
    kept: list[str] = []
    pieces = path.split("/")[1:]
    for piece in pieces:
        if piece == "..":
            kept = kept[:-1]
        elif piece != ".":
            kept.append(piece)
    if pieces and pieces[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _is_dropped(piece: str) -> bool:
    name, _, value = piece.partition("=")
    if TRACKING.fullmatch(name) or SESSION.fullmatch(name):
        return True
    return bool(MAYBE_SESSION.fullmatch(name) and SESSION_VALUE.fullmatch(value))


def key(url: str) -> str:
    """What a normalised URL is remembered by: parameters in another order ask for the same page."""
    start, sign, query = url.partition("?")
    return f"{start}?{'&'.join(sorted(query.split('&')))}" if sign else start


def host_of(url: str) -> str:
    """The host a normalised URL is asked from, without port: what is polite is counted by it."""
    return urlsplit(url).hostname or ""


def pattern(url: str) -> str:
    """The pattern a URL shares with others of its host: short numbers and dates are `#`; three parameters are `*`.

    Longer numbers name articles and stay, so that 100 pages a pattern do not end a site of questions and answers.

    >>> pattern("http://a.com/calendar/2031/05"), pattern("http://a.com/day?d=20310501")
    ('a.com/calendar/#/#', 'a.com/day?d=#')
    >>> pattern("http://a.com/question/8812345.html"), pattern("http://a.com/list?sort=up&size=2&page=3")
    ('a.com/question/8812345.html', 'a.com/list?page=*&size=*&sort=*')
    """
    parts = urlsplit(url)
    pieces = sorted(parts.query.split("&")) if parts.query else []
    if len(pieces) > 2:
        pieces = [f"{piece.partition('=')[0]}=*" for piece in pieces]
    query = "&".join(_masked(piece) for piece in pieces)
    return f"{parts.netloc}{_masked(parts.path)}{'?' if query else ''}{query}"


def _masked(text: str) -> str:
    # Percent-encoded characters hold digits that are no numbers.
    return re.sub(
        r"%[0-9A-F]{2}|\d+",
        lambda found: (
            found[0] if found[0].startswith("%") or (len(found[0]) > 4 and not DATE.fullmatch(found[0])) else "#"
        ),
        text,
    )


def trap(url: str) -> str:
    """The name of the trap a URL shows by itself; empty for none.

    >>> trap("http://a.com/b/c/b/c/b/c/b/c"), trap("http://a.com/b/c")
    ('repeating_path', '')
    """
    segments = [segment for segment in urlsplit(url).path.split("/") if segment]
    if len(url) > LONGEST_URL:
        return "long_url"
    if len(segments) > DEEPEST_PATH:
        return "deep_path"
    if any(segments.count(segment) > MOST_REPEATS for segment in set(segments)):
        return "repeating_path"
    return ""


def is_media(url: str) -> bool:
    """Whether a URL ends as pictures, styles and archives do."""
    name = urlsplit(url).path.rpartition("/")[2]
    return bool(MEDIA.fullmatch(name[name.rfind(".") :])) if "." in name else False


@dataclass(frozen=True)
class Scope:
    """Where a crawl may go: `domains` with their subdomains, or else the hosts of the seeds; below `prefixes`."""

    hosts: frozenset[str]
    domains: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, seeds: Sequence[str], domains: Sequence[str], prefixes: Sequence[str]) -> Scope:
        """The scope of a crawl that begins at these normalised URLs; a host without `www.` and with it are one."""
        hosts = {host_of(seed) for seed in seeds}
        twins = {host[4:] if host.startswith("www.") else f"www.{host}" for host in hosts}
        # A domain as people write it: with a scheme, a port, a leading `*.`.
        bare = (re.sub(r"^\w+://", "", domain.strip().lower()) for domain in domains)
        plain = tuple(re.sub(r"^\*?\.|[:/].*$", "", domain) for domain in bare)
        return cls(frozenset(hosts | twins), plain, tuple(prefixes))

    def holds_host(self, url: str) -> bool:
        """Whether the host of a normalised URL belongs to the crawl."""
        host = host_of(url)
        if self.domains:
            return any(host == domain or host.endswith("." + domain) for domain in self.domains)
        return host in self.hosts

    def holds(self, url: str) -> bool:
        """Whether a normalised URL belongs to the crawl."""
        if not self.holds_host(url):
            return False
        return not self.prefixes or urlsplit(url).path.startswith(self.prefixes)
