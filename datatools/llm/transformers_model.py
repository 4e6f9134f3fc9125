"""A model in this process: `transformers:<id or path>`, with the interface of `Endpoint`.

Requests that wait are answered together, padded on the left, as many as BATCH at a time. torch and transformers are
imported here and nowhere else, when such a model is asked for.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

from datatools.llm.request import Request

PREFIX = "transformers:"
BATCH = 32  # prompts generated for at once, halved when the memory does not hold them
MAX_TOKENS = 1024  # of a reply, where the request names no number; fewer where the context leaves fewer
FEWEST = 16
LETTERS = "ABCDEFGHIJKLMNOP"


class _Made(NamedTuple):
    """A text, its tokens, whether it was cut off, and the likeliest first tokens where they were asked for."""

    text: str
    tokens: int
    cut: bool
    first: list[tuple[str, float]] | None


class TransformersModel:
    """A causal language model with a chat template; greedy unless a request has a temperature.

    `model` is the name with its prefix, `identity` tells its weights from others of the same name. `loaded` are its
    tokenizer and model, where somebody has loaded them already. Raises ValueError when the libraries, the model or its
    chat template are not there.
    """

    def __init__(self, model: str, loaded: tuple[Any, Any] | None = None) -> None:
        self.model = self.base_url = model
        self.api_key = ""
        self.refused: set[str] = set()
        if loaded is None:
            loaded = _load(model.removeprefix(PREFIX))
        self._torch: Any = import_module("torch")
        self._tokenizer, self._model = loaded
        self._device = "cuda" if self._torch.cuda.is_available() else "cpu"
        self._model.to(self._device).eval()
        self.identity = f"transformers {_digest(self._model)}"
        self._batch = BATCH
        self._letters: list[int] = []  # tokens of single letters, for who asks which option is the likeliest
        self._waiting: list[tuple[Request, asyncio.Future[bytes]]] = []
        self._working: asyncio.Task[None] | None = None

    async def post(self, request: Request) -> bytes:
        """The reply as the body of a chat completion: the same bytes an endpoint would send."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await future

    async def close(self) -> None:
        """End the batch under way and let go of who waits."""
        if self._working is not None:
            await asyncio.wait([self._working])

    async def _work(self) -> None:
        await asyncio.sleep(0)  # whoever asks in the same turn of the loop belongs to the same batch
        while self._waiting:
            taken = self._take()
            requests = [request for request, _ in taken]
            try:
                replies = await asyncio.to_thread(self._answer, requests)
                assert len(replies) == len(requests)
            except Exception as error:
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), reply in zip(taken, replies, strict=True):
                if not future.done():  # its caller may have been cancelled
                    future.set_result(reply)

    def _take(self) -> list[tuple[Request, asyncio.Future[bytes]]]:
        """The first waiting requests that are generated with the settings of the very first."""
        first = _settings(self._waiting[0][0])
        taken = [entry for entry in self._waiting if _settings(entry[0]) == first][: self._batch]
        chosen = {id(entry) for entry in taken}
        self._waiting = [entry for entry in self._waiting if id(entry) not in chosen]
        return taken

    def _answer(self, requests: Sequence[Request]) -> list[bytes]:
        try:
            return self._generate(requests)
        except self._torch.OutOfMemoryError:
            if len(requests) == 1:
                raise
            self._torch.cuda.empty_cache()
            half = self._batch = max(1, len(requests) // 2)
            return [
                reply
                for start in range(0, len(requests), half)
                for reply in self._answer(requests[start : start + half])
            ]

    def _generate(self, requests: Sequence[Request]) -> list[bytes]:
        wanted = requests[0].max_tokens or FEWEST
        prompts = [self._prompt(request) for request in requests]
        room = getattr(self._model.config, "max_position_embeddings", None)
        fits = [room is None or len(prompt) + wanted <= room for prompt in prompts]
        texts = iter(self._texts([prompt for prompt, fit in zip(prompts, fits, strict=True) if fit], requests, room))
        return [
            _completion(self.model, next(texts), prompt=len(prompt)) if fit else _too_long(len(prompt), wanted, room)
            for prompt, fit in zip(prompts, fits, strict=True)
        ]

    def _prompt(self, request: Request) -> list[int]:
        messages = [dict(message) for message in request.messages]
        encoded = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
        return list(encoded["input_ids"])

    def _texts(self, prompts: Sequence[list[int]], requests: Sequence[Request], room: int | None) -> list[_Made]:
        """What is generated for every prompt."""
        if not prompts:
            return []
        torch, width = self._torch, max(map(len, prompts))
        ends = _ends(self._model, self._tokenizer)
        pad = self._tokenizer.pad_token_id if self._tokenizer.pad_token_id is not None else min(ends, default=0)
        ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=self._device)
        mask = torch.tensor(
            [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=self._device
        )
        temperature, max_tokens, top = _settings(requests[0])
        max_tokens = max_tokens if room is None else min(max_tokens, room - width)
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if temperature:
            torch.manual_seed(_seed(requests))
            sampling = {"do_sample": True, "temperature": temperature}
        with torch.inference_mode():
            made = self._model.generate(
                ids,
                attention_mask=mask,
                max_new_tokens=max_tokens,
                pad_token_id=pad,
                eos_token_id=sorted(ends),
                output_logits=bool(top),
                return_dict_in_generate=True,
                **sampling,
            )
        first = self._first_token(made.logits[0], top) if top else [None] * len(prompts)
        rows = made.sequences[:, width:].tolist()
        return [_Made(*self._text(row, ends), one) for row, one in zip(rows, first, strict=True)]

    def _first_token(self, logits: Any, top: int) -> list[list[tuple[str, float]]]:
        """The likeliest tokens with their log-probabilities, and those of all single letters, for every prompt."""
        torch, decode = self._torch, self._tokenizer.decode
        if not self._letters:
            spelled = (f"{space}{letter}" for letter in LETTERS for space in ("", " "))
            coded = (self._tokenizer.encode(one, add_special_tokens=False) for one in spelled)
            self._letters = sorted({one[0] for one in coded if len(one) == 1})
        found = torch.log_softmax(logits.float(), dim=-1)
        best = found.topk(min(top, found.shape[-1]), dim=-1).indices.tolist()
        return [
            [(decode([token]), float(row[token])) for token in dict.fromkeys([*likeliest, *self._letters])]
            for row, likeliest in zip(found, best, strict=True)
        ]

    def _text(self, tokens: list[int], ends: set[int]) -> tuple[str, int, bool]:
        stop = next((place for place, token in enumerate(tokens) if token in ends), None)
        kept = tokens if stop is None else tokens[:stop]
        return self._tokenizer.decode(kept, skip_special_tokens=True), len(kept), stop is None


def _load(name: str) -> tuple[Any, Any]:
    try:
        import_module("torch")
        transformers = import_module("transformers")
    except ImportError as error:
        raise ValueError(f"--model {PREFIX}{name}: needs pip install 'medical-datatools[train]' ({error})") from error
    try:
        transformers.utils.logging.disable_progress_bar()  # its own bar over weights, beside the job's
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        model = transformers.AutoModelForCausalLM.from_pretrained(name, dtype="auto")
    except (OSError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        raise ValueError(f"--model {PREFIX}{name}: no model of that id or path ({said})") from error
    if not tokenizer.chat_template:
        raise ValueError(f"--model {PREFIX}{name}: its tokenizer has no chat template; take a model made for chat")
    return tokenizer, model


def _digest(model: Any) -> str:
    """Tells these weights from others: blake2b of every parameter's name, shape and first and last values."""
    found = hashlib.blake2b(digest_size=8)
    for name, values in model.state_dict().items():
        flat = values.reshape(-1)
        ends = [*flat[:8].tolist(), *flat[-8:].tolist()]
        found.update(json.dumps([name, list(values.shape), ends]).encode())
    return found.hexdigest()


def _settings(request: Request) -> tuple[float, int, int]:
    return request.temperature or 0.0, request.max_tokens or MAX_TOKENS, request.top_logprobs or 0


def _seed(requests: Sequence[Request]) -> int:
    """The same requests together are sampled alike in every run."""
    words = json.dumps([[request.parameters(), request.sample] for request in requests], sort_keys=True)
    return int.from_bytes(hashlib.blake2b(words.encode("utf-8", "surrogatepass"), digest_size=7).digest(), "big")


def _ends(model: Any, tokenizer: Any) -> set[int]:
    stated = model.generation_config.eos_token_id
    several = stated if isinstance(stated, list) else [stated]
    return {int(token) for token in (*several, tokenizer.eos_token_id) if token is not None}


def _completion(model: str, made: _Made, *, prompt: int) -> bytes:
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": made.text},
        "finish_reason": "length" if made.cut else "stop",
    }
    if made.first is not None:
        tokens = [{"token": token, "logprob": value} for token, value in made.first]
        choice["logprobs"] = {"content": [{"top_logprobs": tokens}]}
    body = {
        "object": "chat.completion",
        "model": model,
        "choices": [choice],
        "usage": {"prompt_tokens": prompt, "completion_tokens": made.tokens, "total_tokens": prompt + made.tokens},
    }
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _too_long(prompt: int, max_tokens: int, room: int | None) -> bytes:
    message = (
        f"maximum context length is {room} tokens, but the prompt has {prompt} and the reply may have {max_tokens}"
    )
    return json.dumps({"error": {"code": "context_length_exceeded", "message": message}}).encode()
