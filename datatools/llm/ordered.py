"""Many at once, results in order, memory bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar, cast

from datatools.llm.errors import Stopped

T = TypeVar("T")
R = TypeVar("R")
END = object()


async def run_ordered(
    items: Iterable[T], work: Callable[[T], Awaitable[R]], *, workers: int, window: int
) -> AsyncIterator[R]:
    """`work` over `items` by `workers` that pull from one iterator; results come in the order of the items.

    At most `window` items are between being pulled and being handed out, so memory does not grow with the input. Give
    more workers than calls may be in flight: those that wait to retry then leave no place empty. `items` is pulled on
    the event loop, so it must be quick. After Stopped nothing is pulled and what is under way ends; the results before
    it are handed out, then it is raised. Any other exception cancels everything at once and is raised.
    """
    loop = asyncio.get_running_loop()
    source = iter(items)
    room = asyncio.Semaphore(window)
    results: asyncio.Queue[asyncio.Future[object]] = asyncio.Queue()
    ended = False
    problem: BaseException | None = None

    async def pull() -> None:
        nonlocal ended, problem
        while not ended:
            await room.acquire()
            if ended:
                return
            result: asyncio.Future[object] = loop.create_future()
            results.put_nowait(result)
            try:
                item = next(source, END)
                ended = ended or item is END
                result.set_result(END if item is END else await work(cast(T, item)))
            except BaseException as error:
                ended = True
                if not isinstance(error, Stopped) and problem is None:
                    problem = error
                    for task in tasks:
                        if task is not asyncio.current_task():
                            task.cancel()
                if not result.done():  # the consumer may have been interrupted while it waited for this very one
                    result.set_exception(problem or error)
                    result.exception()  # marks it as seen: the consumer may have left
                return

    tasks = [loop.create_task(pull()) for _ in range(workers)]
    try:
        while (value := await (await results.get())) is not END:
            yield cast(R, value)
            room.release()
    except Stopped:
        for _ in tasks:
            room.release()  # those without an item wake up and see that it is over
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
