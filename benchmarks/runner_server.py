"""A chat server that answers every request after the same time, for `benchmarks.runner`: raw asyncio, one fixed reply.

    python benchmarks/runner_server.py LATENCY

Prints its port. Imports nothing but the standard library, so that it costs as little as it can.
"""

from __future__ import annotations

import asyncio
import json
import sys

LIFETIME = 3600.0  # seconds: one that is left behind ends by itself
CONTENT = "患者，男，45岁，因反复上腹痛三月就诊，胃镜示慢性浅表性胃炎。" * 28  # 2.5 kB
BODY = json.dumps(
    {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": CONTENT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1200, "completion_tokens": 600, "total_tokens": 1800},
    },
    ensure_ascii=False,
).encode()
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


class _Connection(asyncio.Protocol):
    """Answers POST after `latency` seconds and anything else at once; closes where the client asks for it."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.buffer = bytearray()
        self.head = b""
        self.missing = 0  # bytes of the body that are still to come; nothing of it is kept

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.missing > len(data):
            self.missing -= len(data)
            return
        data, self.missing = data[self.missing :], 0
        if self.head:
            self._answer()
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        self.head = bytes(self.buffer[:end]).lower()
        place = self.head.find(b"content-length:")
        size = int(self.head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        came = len(self.buffer) - end - 4
        self.buffer.clear()
        self.missing = size - came  # a client sends no second request before the first is answered
        if self.missing <= 0:
            self.missing = 0
            self._answer()

    def _answer(self) -> None:
        wait = self.latency if self.head.startswith(b"post") else 0.0
        asyncio.get_running_loop().call_later(wait, self._write, b"connection: close" in self.head)
        self.head = b""

    def _write(self, last: bool) -> None:
        if not self.transport.is_closing():
            self.transport.write(REPLY)
            if last:
                self.transport.close()


async def main(latency: float) -> None:
    """Serve on 127.0.0.1 until the lifetime is over."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(latency), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.sleep(LIFETIME)


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1])))
