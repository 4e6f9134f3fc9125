"""Writes to a journal and prints each key after it was acknowledged, until it is killed: for test_journal.py."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from datatools.llm.journal import Journal


def raw(number: int) -> bytes:
    """What is stored under a number: it can be checked without asking the writer."""
    return f"回复{number}".encode() * (1 + number % 300)


async def write(path: Path, first: int) -> None:
    with Journal(path) as journal:
        numbers = iter(range(first, first + 1_000_000))

        async def worker() -> None:
            for number in numbers:
                key = number.to_bytes(16, "big")
                await journal.start(key)
                print(f"started {number}", flush=True)
                await journal.finish(key, raw(number), 1, 2)
                print(f"finished {number}", flush=True)

        await asyncio.gather(*(worker() for _ in range(16)))


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), int(sys.argv[2])))
