"""Headers of an answer as text, whatever bytes a server puts into them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def pairs(headers: Any) -> list[tuple[str, str]]:
    """Scrapy's headers, each value on its own."""
    return [
        (name.decode("latin-1"), _text(name, value)) for name, values in headers.items() for value in values if value
    ]


def location(headers: Mapping[str, Any]) -> str:
    """Where a redirect leads; empty where it does not say."""
    return _text(b"location", headers.get("Location") or b"")


def _text(name: bytes, value: bytes) -> str:
    if name.lower() == b"location":
        # Bytes beyond ASCII in an address, in whatever encoding, are the server's own and go back as they are.
        return "".join(chr(byte) if 32 < byte < 127 else f"%{byte:02X}" for byte in value.strip())
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
