"""Batch prediction: a model answers a file of questions, and the answers are a file of conversations.

Questions are taken in blocks. A finished block is a part in the work folder, so a run that is killed goes on with the
block it was in.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from datatools.clean.language import language
from datatools.engine.parts import Parts
from datatools.engine.units import identity
from datatools.engine.work import Work, open_work
from datatools.io.atomic import parquet_writer, part_writer
from datatools.llm.request import Request
from datatools.llm.thinking import split_thinking
from datatools.llm.transformers_model import TransformersModel
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from schemas.conversation import CONVERSATION
from schemas.trace import FAILED
from trainers.folder import load_run

BLOCK = 128  # questions: what a killed run repeats at most
ROLES = ("system", "user", "assistant")
STREAMS = {"rows": CONVERSATION, "failed": FAILED}


@dataclass(frozen=True)
class PredictSettings:
    """What shapes the answers. Defaults are the command line's: greedy, so that the same model says the same."""

    run: str
    system: str | None = None
    temperature: float = 0.0
    max_tokens: int | None = None
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_tokens", "limit"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name.replace('_', '-')} {value}: must be at least 1")


@dataclass(frozen=True)
class Question:
    """A line of the input: its id, its messages up to the one that is to be answered, its language where it says so."""

    id: str
    messages: tuple[Mapping[str, str], ...]
    language: str


def predict(settings: PredictSettings, file: Path, out: Path, progress: Progress, *, fresh: bool = False) -> Summary:
    """Write a Conversation for every line of `file`, in its order, to `out`. Raises ValueError for what cannot work."""
    began = time.monotonic()
    if file.resolve() == out.resolve():
        raise ValueError(f"--out {out}: is the file to be read")
    questions = read_questions(file, settings)
    summary = Summary("chat", [str(file)], rows_read=len(questions), cost=None, unit="questions")
    model = TransformersModel(settings.run, load_run(settings.run))
    shaping = {name: getattr(settings, name) for name in ("system", "temperature", "max_tokens", "limit", "seed")}
    description = {
        "command": "chat",
        "settings": {"model": model.identity, **shaping},
        "inputs": {file.name: identity(str(file))},
    }
    name = Path(settings.run).resolve().name if Path(settings.run).exists() else settings.run
    blocks = [questions[start : start + BLOCK] for start in range(0, len(questions), BLOCK)]
    keys = [f"{number:06d}" for number in range(len(blocks))]
    with open_work(out, description, fresh=fresh) as work:
        done = sum(key in work.units for key in keys)
        progress.say(f"chat: {len(questions):,} questions, {name} → {out}" + (f"; {done} blocks done" if done else ""))
        with progress.bar("answering", len(questions)) as bar:
            for key, block in zip(keys, blocks, strict=True):
                if key not in work.units:
                    _answer(work, key, block, model, settings, name, file.name)
                bar.advance(len(block))
        _write(work, keys, out, summary)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def read_questions(file: Path, settings: PredictSettings) -> list[Question]:
    """The questions of a JSON Lines file of `question` or `messages`. Raises ValueError, naming file and line."""
    if not file.is_file():
        raise ValueError(f"{file}: no such file")
    found: list[Question] = []
    seen: Counter[str] = Counter()
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if settings.limit is not None and len(found) >= settings.limit:
                break
            if line.strip():
                found.append(_question(line, f"{file}:{number}", settings.system, seen))
    if not found:
        raise ValueError(f"{file}: no questions there")
    return found


def _question(line: str, where: str, system: str | None, seen: Counter[str]) -> Question:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: no JSON ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(f"{where}: an object with `question` or `messages` is needed")
    if row.get("messages") is not None:
        messages = _messages(row["messages"], where)
    elif isinstance(row.get("question"), str) and row["question"].strip():
        messages = [{"role": "user", "content": row["question"]}]
    else:
        raise ValueError(f"{where}: no text in `question`, and no `messages`")
    if system is not None and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    try:
        words = json.dumps(messages, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: half a surrogate pair in the text, which is no character") from error
    plain = xxhash.xxh3_128_hexdigest(words) if row.get("id") in (None, "") else str(row["id"])
    own = plain
    while own in seen:
        seen[plain] += 1
        own = f"{plain}#{seen[plain]}"
    seen[own] = 1
    asked = next(turn["content"] for turn in reversed(messages) if turn["role"] == "user")
    stated = row.get("language")
    return Question(own, tuple(messages), stated if isinstance(stated, str) and stated else language(asked))


def _messages(found: Any, where: str) -> list[dict[str, str]]:
    if not isinstance(found, list) or not found:
        raise ValueError(f"{where}: `messages` must be a list of turns")
    for number, turn in enumerate(found, 1):
        if not isinstance(turn, dict) or turn.get("role") not in ROLES or not isinstance(turn.get("content"), str):
            raise ValueError(f"{where}: turn {number} of `messages` needs one of {ROLES} as role, and text as content")
    if found[-1]["role"] != "user":
        raise ValueError(f"{where}: `messages` ends with {found[-1]['role']}; the last turn must be the user's")
    return [{"role": turn["role"], "content": turn["content"]} for turn in found]


def _answer(
    work: Work,
    key: str,
    block: Sequence[Question],
    model: TransformersModel,
    settings: PredictSettings,
    name: str,
    source: str,
) -> None:
    """Answer the questions of a block, write their part, record it."""
    # Together are those of about the same length: padding costs as much as text.
    order = sorted(range(len(block)), key=lambda n: sum(len(turn["content"]) for turn in block[n].messages))
    requests = [
        Request(block[n].messages, settings.max_tokens, settings.temperature or None, settings.seed) for n in order
    ]
    replies = dict(zip(order, asyncio.run(_asked(model, requests)), strict=True))
    rows: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for number, question in enumerate(block):
        body = json.loads(replies[number])
        if error := body.get("error"):
            failed.append(_failed(question, source, "context_length", str(error["message"])))
            continue
        choice = body["choices"][0]
        answer = split_thinking(choice["message"]["content"])[1].strip()
        cut = choice["finish_reason"] == "length"
        if not answer:
            only = "the answer is empty" + (", all tokens went into thinking; --max-tokens gives more" if cut else "")
            failed.append(_failed(question, source, "truncated" if cut else "empty", only))
            continue
        rows.append(
            {
                **dict.fromkeys(CONVERSATION.names),
                "id": question.id,
                "messages": [*question.messages, {"role": "assistant", "content": answer}],
                "task": "chat",
                "language": question.language,
                "source_id": "",
                "source": source,
                "source_type": "other",
                "generator": name,
                "prompt": "",
                "checks": {"finish_reason": choice["finish_reason"]},
                "flags": ["truncated"] if cut else [],
                "usage": body["usage"],
            }
        )
    for stream, found in (("rows", rows), ("failed", failed)):
        with part_writer(work.part(key, stream), STREAMS[stream]) as writer:
            writer.write_table(pa.Table.from_pylist(found, schema=STREAMS[stream]))
    work.finish(key, {"rows": len(rows), "failed": len(failed)})


async def _asked(model: TransformersModel, requests: Sequence[Request]) -> list[bytes]:
    return list(await asyncio.gather(*(model.post(request) for request in requests)))


def _failed(question: Question, source: str, kind: str, message: str) -> dict[str, Any]:
    return {"id": question.id, "source": source, "step": "answer", "class": kind, "message": message, "attempts": 1}


def _write(work: Work, keys: Sequence[str], out: Path, summary: Summary) -> None:
    failed_path = out.with_suffix(".failed.parquet")
    with parquet_writer(failed_path, FAILED) as writer:
        for _, table in _tables(work, keys, "failed"):
            writer.write(table)
            for kind in table["class"].to_pylist():
                summary.failed[kind] = summary.failed.get(kind, 0) + 1
    if writer.written:
        summary.failed_rows = str(failed_path)
    else:
        failed_path.unlink(missing_ok=True)
    with parquet_writer(out, CONVERSATION) as writer:
        for _, table in _tables(work, keys, "rows"):
            writer.write(table)
            for used in table["usage"].to_pylist():
                summary.tokens["prompt"] += used["prompt_tokens"]
                summary.tokens["completion"] += used["completion_tokens"]
    summary.rows_written, summary.output, summary.work = writer.written, str(out), str(work.path)


def _tables(work: Work, keys: Sequence[str], stream: str) -> Iterator[tuple[int, pa.Table]]:
    return Parts(work, keys, stream).batches()
