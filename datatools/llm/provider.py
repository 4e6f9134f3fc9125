"""What answers requests: an endpoint, or a model in this process."""

from __future__ import annotations

from typing import Protocol

from datatools.llm.request import Request


class Provider(Protocol):
    """What the Runner asks. `identity` and `model` are part of the key under which a reply is kept."""

    base_url: str  # where, for messages
    model: str
    identity: str
    api_key: str  # kept out of every message; "" where there is none
    refused: set[str]  # names of parameters that it has refused

    async def post(self, request: Request) -> bytes:
        """The body of a chat completion; raises what `errors.classify` sorts."""

    async def close(self) -> None:
        """Let go of connections and threads."""
