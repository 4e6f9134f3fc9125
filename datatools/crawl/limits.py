"""Bodies that are unpacked only as far as they are harmless, and the kinds of content that hold text."""

from __future__ import annotations

import zlib

from datatools.io.squeezed import MOST_SQUEEZED

ENCODINGS = "gzip, deflate"  # what is asked for: what the standard library unpacks step by step
SMALL = 1 << 20  # bytes below which any ratio is harmless
STEP = 1 << 18
HTML = ("text/html", "application/xhtml+xml")
XML = ("text/xml", "application/xml")  # sitemaps, and pages of HTML
GZIP = ("application/gzip", "application/x-gzip")
TEXT = (*HTML, *XML, "text/plain", "application/pdf")


class Refused(Exception):
    """A response, or a page, that is not taken. `rule` names why."""

    def __init__(self, rule: str, detail: str = "") -> None:
        super().__init__(detail or rule)
        self.rule = rule


def unpacked(body: bytes, encoding: str, most: int) -> bytes:
    """The body without its Content-Encoding. Raises Refused for a bomb, a broken or an unknown encoding."""
    for name in reversed([part.strip().lower() for part in encoding.split(",") if part.strip()]):
        if name in ("gzip", "x-gzip"):
            body = _inflated(body, 31, most)
        elif name == "deflate":
            body = _inflated(body, 15 if body[:1] and body[0] & 0x0F == 8 else -15, most)
        elif name != "identity":
            raise Refused("bad_encoding", f"Content-Encoding {name[:40]} was not asked for")
    return body


def gunzipped(body: bytes, most: int) -> bytes:
    """The content of a gzip file. Raises Refused as `unpacked` does."""
    return _inflated(body, 31, most)


def _inflated(body: bytes, window: int, most: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    stream = zlib.decompressobj(window)
    data = body
    try:
        while True:
            piece = stream.decompress(data, STEP)
            pieces.append(piece)
            size += len(piece)
            if size > SMALL and size > MOST_SQUEEZED * len(body):
                raise Refused("decompression_ratio", f"unpacks to more than {MOST_SQUEEZED} times its size")
            if size > most:
                raise Refused("too_large", f"unpacks to more than {most >> 20} MiB")
            if stream.eof and window == 31 and stream.unused_data[:2] == b"\x1f\x8b":  # several members
                data, stream = stream.unused_data, zlib.decompressobj(window)
                continue
            data = stream.unconsumed_tail
            if stream.eof or (not data and not piece):
                break
    except zlib.error as error:
        raise Refused("bad_encoding", str(error)) from error
    if not stream.eof:
        raise Refused("bad_encoding", "the compressed body ends too early")
    return b"".join(pieces)


def media_type(content_type: str) -> str:
    """The type without its parameters.

    >>> media_type("text/HTML; charset=gbk")
    'text/html'
    """
    return content_type.partition(";")[0].strip().lower()


def is_text(content_type: str, sitemap: bool = False) -> bool:
    """Whether a Content-Type may hold text; one that is missing may."""
    kind = media_type(content_type)
    return not kind or kind in TEXT or (sitemap and kind in (*GZIP, "application/octet-stream"))
