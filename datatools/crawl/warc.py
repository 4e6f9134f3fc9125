"""The WARC records of one exchange, as bytes: request and response, or a revisit."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

# Headers about the connection: the body is stored as it was put together again.
HOP = {"transfer-encoding", "connection", "keep-alive", "content-length"}
IDENTICAL = "http://netpreserve.org/warc/1.0/revisit/identical-payload-digest"
UNCHANGED = "http://netpreserve.org/warc/1.0/revisit/server-not-modified"


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what came back."""

    url: str
    time: str  # ISO 8601, UTC, whole seconds
    request: Sequence[tuple[str, str]]  # headers
    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    protocol: str = "HTTP/1.1"
    address: str = ""


@dataclass(frozen=True, slots=True)
class Twin:
    """A stored response whose content another one repeats."""

    url: str
    time: str
    id: str
    digest: str


def info(name: str, fields: Mapping[str, str]) -> bytes:
    """The record a file begins with: what made it, and whom to ask."""
    writer, buffer = _writer()
    writer.write_record(writer.create_warcinfo_record(name, dict(fields)))
    return buffer.getvalue()


def response(exchange: Exchange) -> tuple[bytes, str, str]:
    """Request and response as two gzip members; with the response's record id and payload digest."""
    writer, buffer = _writer()
    record = writer.create_warc_record(
        exchange.url,
        "response",
        payload=io.BytesIO(exchange.body),
        http_headers=_answer(exchange),
        warc_headers_dict=_common(exchange),
    )
    writer.write_request_response_pair(_request(writer, exchange), record)
    headers = record.rec_headers
    return buffer.getvalue(), headers.get_header("WARC-Record-ID"), headers.get_header("WARC-Payload-Digest")


def revisit(exchange: Exchange, twin: Twin) -> tuple[bytes, str]:
    """Request and revisit record of a response that says what a stored one says, or says that it has not changed."""
    writer, buffer = _writer()
    record = writer.create_revisit_record(
        exchange.url,
        digest=twin.digest,
        refers_to_uri=twin.url,
        refers_to_date=twin.time,
        http_headers=_answer(exchange, with_length=False),
        warc_headers_dict={
            **_common(exchange),
            "WARC-Profile": UNCHANGED if exchange.status == 304 else IDENTICAL,
            "WARC-Refers-To": twin.id,
        },
    )
    writer.write_request_response_pair(_request(writer, exchange), record)
    return buffer.getvalue(), record.rec_headers.get_header("WARC-Record-ID")


def _writer() -> tuple[Any, io.BytesIO]:
    from warcio.warcwriter import WARCWriter

    buffer = io.BytesIO()
    return WARCWriter(buffer, gzip=True), buffer


def _common(exchange: Exchange) -> dict[str, str]:
    headers = {"WARC-Date": exchange.time}
    return {**headers, "WARC-IP-Address": exchange.address} if exchange.address else headers


def _request(writer: Any, exchange: Exchange) -> Any:
    from warcio.statusandheaders import StatusAndHeaders

    parts = urlsplit(exchange.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    headers = StatusAndHeaders(
        f"GET {path} HTTP/1.1", [("Host", parts.netloc), *exchange.request], is_http_request=True
    )
    return writer.create_warc_record(
        exchange.url, "request", payload=io.BytesIO(b""), http_headers=headers, warc_headers_dict=_common(exchange)
    )


def _answer(exchange: Exchange, *, with_length: bool = True) -> Any:
    from warcio.statusandheaders import StatusAndHeaders

    try:
        reason = HTTPStatus(exchange.status).phrase
    except ValueError:
        reason = ""
    # Without line ends, which would end the block of headers.
    kept = [(name, " ".join(value.split())) for name, value in exchange.headers if name.lower() not in HOP]
    if with_length:
        kept.append(("Content-Length", str(len(exchange.body))))
    return StatusAndHeaders(f"{exchange.status} {reason}".rstrip(), kept, protocol=exchange.protocol)
