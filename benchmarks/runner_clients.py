"""N chat requests by one client, measured from inside, so that start and imports do not count.

    PYTHON benchmarks/runner_clients.py {datatools,openai,datatrove} URL REQUESTS IN_FLIGHT FOLDER

Prints `{"wall": seconds, "cpu": seconds}`. datatools with its journal and results in order; openai as its manual has
it, keeping nothing; datatrove's InferenceRunner with its checkpoints and request cache. This file imports nothing of
the project outside `datatools`, because the peers live in an environment of their own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

SYSTEM = "你是一名资深的内科医生，请根据下面的资料提出一个问题，再依据资料作答，不要提到资料本身。" * 12
PASSAGE = "患者，男，45岁，因反复上腹痛三月就诊，胃镜示慢性浅表性胃炎，幽门螺杆菌阳性，予四联疗法十四日。" * 22


def messages(number: int) -> list[dict[str, str]]:
    """A prompt of about 5 kB, like no other."""
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"第{number}份资料：{PASSAGE}"}]


async def datatools(url: str, requests: int, in_flight: int, folder: Path) -> None:
    """The runner of this project."""
    from datatools.llm.endpoint import Endpoint
    from datatools.llm.journal import Journal
    from datatools.llm.request import Reply, Request
    from datatools.llm.runner import Runner, Settings, run_ordered

    with Journal(folder / "journal.sqlite") as journal:
        async with Runner(Endpoint(url, "m"), journal, Settings(concurrency=in_flight)) as runner:
            asked = (Request(messages(number), max_tokens=512) for number in range(requests))
            async for outcome in run_ordered(asked, runner.ask, workers=2 * in_flight, window=8 * in_flight):
                assert isinstance(outcome, Reply), outcome


async def openai(url: str, requests: int, in_flight: int, folder: Path) -> None:
    """The plain client with typed replies, a pool of workers."""
    import httpx2
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    limits = httpx2.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    numbers = iter(range(requests))
    async with AsyncOpenAI(base_url=url, api_key="none", http_client=DefaultAsyncHttpxClient(limits=limits)) as client:

        async def work() -> None:
            for number in numbers:
                asked: Any = messages(number)
                reply = await client.chat.completions.create(model="m", messages=asked, max_tokens=512)
                assert reply.choices[0].message.content

        await asyncio.gather(*(work() for _ in range(in_flight)))


async def datatrove(url: str, requests: int, in_flight: int, folder: Path) -> None:
    """InferenceRunner of datatrove."""
    from datatrove.data import Document
    from datatrove.pipeline.inference.run_inference import InferenceConfig, InferenceRunner
    from datatrove.pipeline.writers import JsonlWriter
    from loguru import logger

    async def rollout(document: Any, generate: Callable[[dict[str, Any]], Awaitable[Any]]) -> str:
        result = await generate({"messages": messages(int(document.id)), "max_tokens": 512})
        return str(result.text)

    logger.remove()
    config = InferenceConfig(
        "endpoint", "m", endpoint_url=url.removesuffix("/v1"), max_concurrent_generations=in_flight
    )
    writer = JsonlWriter(str(folder / "out"), "${rank}_${chunk_index}.jsonl", compression=None)
    runner = InferenceRunner(rollout, config, writer, checkpoints_local_dir=str(folder / "checkpoints"))
    await runner.run_async((Document(text="", id=str(number)) for number in range(requests)), 0)


async def main(client: str, url: str, requests: int, in_flight: int, folder: Path) -> None:
    """Warm up with a few requests of its own, then measure."""
    run = {"datatools": datatools, "openai": openai, "datatrove": datatrove}[client]
    for name, number in (("warm", 64), ("run", requests)):
        (folder / name).mkdir()
        cpu, wall = time.process_time(), time.perf_counter()
        await run(url, number, min(number, in_flight), folder / name)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(json.dumps({"wall": wall, "cpu": cpu}))


if __name__ == "__main__":
    name, where, count, at_once, scratch = sys.argv[1:]
    asyncio.run(main(name, where, int(count), int(at_once), Path(scratch)))
