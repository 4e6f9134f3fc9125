"""Zip bombs: what unpacks to far more than any text or table does is refused before it fills memory or takes hours."""

from __future__ import annotations

import io
from typing import IO, Any, cast

SUSPECT = 64 << 20  # bytes from which on unpacked data must not be MOST_SQUEEZED times its packed size
MOST_SQUEEZED = 200  # text is packed to a fifth, a log of like lines to a fiftieth; gzip cannot go beyond 1,032


def too_squeezed(size: int, packed: int) -> str:
    """Why data of `size` bytes that were `packed` bytes are not read, or nothing.

    >>> too_squeezed(2 << 30, 65_554)
    'unpacks to more than 200 times its size: taken for a zip bomb'
    """
    if size > SUSPECT and size > MOST_SQUEEZED * max(packed, 1):
        return f"unpacks to more than {MOST_SQUEEZED} times its size: taken for a zip bomb"
    return ""


def watched(stream: IO[bytes], packed: int) -> IO[bytes]:
    """A stream of unpacked bytes that raises ValueError as soon as they are too many for `packed` bytes."""
    return cast(IO[bytes], io.BufferedReader(_Watched(stream, packed)))


class _Watched(io.RawIOBase):
    def __init__(self, stream: IO[bytes], packed: int) -> None:
        self.stream, self.packed, self.given = stream, packed, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        # Once, not until the buffer is full: what stands before a broken place is given before the error is.
        data = cast(Any, self.stream).read1(len(buffer))
        self.given += len(data)
        if wrong := too_squeezed(self.given, self.packed):
            raise ValueError(wrong)
        buffer[: len(data)] = data
        return len(data)

    def seekable(self) -> bool:
        return self.stream.seekable()

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        self.given = self.stream.seek(place, whence)
        return self.given

    def tell(self) -> int:
        return self.stream.tell()

    def close(self) -> None:
        self.stream.close()
        super().close()
