"""Which rows share a pack: windowed best fit, which keeps the order to within a window and cuts nothing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Sequence

WINDOW = 128


def pack(lengths: Sequence[int], size: int, window: int = WINDOW) -> list[list[int]]:
    """Numbers of rows, pack by pack, none of more than `size` tokens. O(n log window).

    The oldest row that waits opens the next pack; the longest one within the window that still fits is added, until
    none does. So no row is cut, none waits for more than `window` packs, and the same lengths give the same packs.
    Raises ValueError for a row longer than a pack.

    >>> pack([5, 3, 4, 2, 1], 6)
    [[0, 4], [1, 3], [2]]
    """
    if lengths and max(lengths) > size:
        raise ValueError(f"a row of {max(lengths)} tokens is longer than a pack of {size}")
    packs: list[list[int]] = []
    waiting: deque[int] = deque()  # by age
    by_length: list[tuple[int, int]] = []
    packed = [False] * len(lengths)
    coming = 0
    while coming < len(lengths) or by_length:
        while coming < len(lengths) and len(by_length) < window:
            insort(by_length, (lengths[coming], coming))
            waiting.append(coming)
            coming += 1
        while packed[waiting[0]]:
            waiting.popleft()
        first = waiting.popleft()
        by_length.pop(bisect_left(by_length, (lengths[first], first)))
        packed[first] = True
        members, room = [first], size - lengths[first]
        while (place := bisect_right(by_length, (room, len(lengths))) - 1) >= 0:
            length, row = by_length.pop(place)
            packed[row] = True
            members.append(row)
            room -= length
        packs.append(members)
    return packs
