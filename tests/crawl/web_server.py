"""Web sites on loopback for the tests of the crawler: real servers, each on an address of its own, with a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

PARAGRAPH = "糖尿病患者应当定期监测血糖，遵医嘱用药，注意饮食与运动，出现不适时及时就诊。"


@dataclass
class Answer:
    """What a path gives. `write`, where set, writes the body itself and may do anything to the connection."""

    body: bytes | str = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    write: Callable[[Any], None] | None = None


@dataclass
class Asked:
    """One request as the server saw it: when it came, when its answer was about to go out."""

    path: str
    headers: dict[str, str]
    began: float
    ended: float = 0.0
    status: int = 0


Pages = dict[str, Any]  # path → Answer, str, bytes, or a function of (path, headers) that gives one


class WebSite:
    """A site on `address`, for the length of a with block. `fallback` answers paths that `pages` does not have."""

    def __init__(self, address: str, pages: Pages, fallback: Callable[[str], Any] | None = None) -> None:
        self.pages, self.fallback = pages, fallback
        self.log: list[Asked] = []
        self._server = ThreadingHTTPServer((address, 0), _handler(self))
        self._server.daemon_threads = True
        self._server.handle_error = lambda request, address: None  # type: ignore[method-assign]  # a killed crawl hangs up
        self.address, self.port = address, self._server.server_port

    def __enter__(self) -> WebSite:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str = "/") -> str:
        """The address of a path."""
        return f"http://{self.address}:{self.port}{path}"

    def asked(self, start: str = "/") -> list[str]:
        """The paths that were asked for and begin so, in order."""
        return [asked.path for asked in self.log if asked.path.startswith(start)]

    def gaps(self) -> list[float]:
        """Seconds between the end of each answer and the next request; negative where two overlapped."""
        return [after.began - before.ended for before, after in zip(self.log, self.log[1:], strict=False)]


def _handler(site: WebSite) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or a body waits 40 ms for the acknowledgement of its headers

        def do_GET(self) -> None:
            asked = Asked(self.path, dict(self.headers.items()), time.monotonic())
            site.log.append(asked)
            found = site.pages.get(self.path, site.pages.get(urlsplit(self.path).path))
            if found is None and site.fallback:
                found = site.fallback(self.path)
            if callable(found):
                found = found(self.path, asked.headers)
            answer = found if isinstance(found, Answer) else Answer(found) if found is not None else Answer("gone", 404)
            body = answer.body.encode() if isinstance(answer.body, str) else answer.body
            headers = {"Content-Type": "text/html; charset=utf-8", **answer.headers}
            asked.status = answer.status
            try:
                self.send_response(answer.status)
                if answer.write is None and answer.status != 304:
                    headers["Content-Length"] = str(len(body))
                elif answer.write:
                    headers["Connection"] = "close"
                    self.close_connection = True
                for name, value in headers.items():
                    if value:
                        self.send_header(name, value)
                asked.ended = time.monotonic()
                self.end_headers()
                if answer.write:
                    answer.write(self.wfile)
                elif answer.status != 304:
                    self.wfile.write(body)
            except OSError:
                self.close_connection = True  # the crawler hung up, as it should on some of these

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on stderr."""

    return Handler


def html(title: str, *links: str, head: str = "", text: str = "") -> str:
    """A page with an article that no other page has, and links."""
    article = "".join(f"<p>{title}：{PARAGRAPH}{text}</p>" for _ in range(3))
    anchors = "".join(f'<li><a href="{link}">{number}</a></li>' for number, link in enumerate(links))
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><title>{title}</title>{head}</head>'
        f"<body><main><h1>{title}</h1><h2>要点</h2>{article}</main><ul>{anchors}</ul></body></html>"
    )


def drip(stream: Any) -> None:
    """A byte every so often, for a minute."""
    for _ in range(600):
        stream.write(b"<p>")
        stream.flush()
        time.sleep(0.1)


def endless(stream: Any) -> None:
    """Ten gigabytes."""
    block = b"<p>" + b"x" * (1 << 20)
    for _ in range(10 << 10):
        stream.write(block)
