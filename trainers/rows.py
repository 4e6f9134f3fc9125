"""Rows of training files, each with its place: parquet, Arrow-free of polars, and JSON Lines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

BATCH = 1024  # rows
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
READ = "parquet, JSON Lines (.jsonl, .ndjson) and JSON lists (.json) are read"


@dataclass(frozen=True)
class Row:
    """A row and where it stands: `sft.parquet:17`, counted from 1; for JSON Lines the line."""

    place: str
    values: Mapping[str, Any]


def read_rows(paths: Sequence[str], limit: int | None = None) -> Iterator[Row]:
    """All rows of the files, in order. Raises ValueError, naming file and line, for what cannot be read."""
    return islice(chain.from_iterable(_rows(Path(path)) for path in paths), limit)


def columns(path: str) -> list[str]:
    """Names of the columns of a file, of its first row for JSON. Raises ValueError where there is no row."""
    found = Path(path)
    if found.suffix == ".parquet":
        with _parquet(found) as file:
            if file.metadata.num_rows == 0:
                raise ValueError(f"{path}: holds no rows")
            return list(file.schema_arrow.names)
    first = next(_rows(found), None)
    if first is None:
        raise ValueError(f"{path}: holds no rows")
    return list(first.values)


def sha256(path: str) -> str:
    """Hash of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def interleaved(rows: Iterable[Row], general: Sequence[Row], share: float) -> Iterator[Row]:
    """`rows` in their order with `general` ones spread evenly among them, as the given share of the result.

    General rows come in their order, from the start again where there are too few.

    >>> [row.place for row in interleaved([Row(f"a{n}", {}) for n in range(4)], [Row("g", {})], 0.2)]
    ['a0', 'a1', 'a2', 'a3', 'g']
    """
    due, given = 0.0, 0
    for row in rows:
        yield row
        due += share / (1 - share)
        while given + 1 <= due + 1e-9:
            yield general[given % len(general)]
            given += 1


def conversation(row: Row) -> list[dict[str, str]]:
    """The messages of a row: as they are, or made of ShareGPT, Alpaca, question and answer, prompt and completion.

    Raises ValueError, naming the row, where they are no conversation that ends with an answer.
    """
    messages = as_messages(row, _found_messages(row.values))
    if not any(message["role"] == "assistant" for message in messages):
        raise ValueError(f"{row.place}: the conversation has no assistant turn, so there is nothing to learn")
    _alternate(row, messages)
    if messages[-1]["role"] != "assistant":
        raise ValueError(f"{row.place}: the conversation ends with a user turn, without the answer to learn")
    return messages


def prompt_of(row: Row) -> list[dict[str, str]]:
    """The turns before a reply: a list of messages, or a text that the user says. Raises ValueError."""
    values = row.values
    found = values.get("prompt")
    if found is None and isinstance(values.get("question"), str):
        found = exam_question(values)
    messages = as_messages(row, found if not isinstance(found, str) else [{"role": "user", "content": found}], "prompt")
    _alternate(row, messages)
    if messages[-1]["role"] != "user":
        raise ValueError(f"{row.place}: prompt must end with a user turn, it ends with {messages[-1]['role']}")
    return messages


def reply_of(row: Row, name: str) -> list[dict[str, str]]:
    """A reply in the column `name`: one assistant message, or a text. Raises ValueError."""
    found = row.values.get(name)
    messages = as_messages(
        row, found if not isinstance(found, str) else [{"role": "assistant", "content": found}], name
    )
    if [message["role"] for message in messages] != ["assistant"]:
        raise ValueError(f"{row.place}: {name} must be one assistant message, it holds {len(messages)}")
    return messages


def exam_question(values: Mapping[str, Any]) -> str:
    """An exam item as a question: the stem, then the options one a line.

    >>> exam_question({"question": "甘草反什么？", "options": [("A", "甘遂"), ("B", "茯苓")]})
    '甘草反什么？\\nA. 甘遂\\nB. 茯苓'
    """
    options = values.get("options") or []
    pairs = options.items() if isinstance(options, Mapping) else options
    return "\n".join([str(values["question"]), *(f"{letter}. {text}" for letter, text in pairs if text is not None)])


def as_messages(row: Row, found: object, name: str = "messages") -> list[dict[str, str]]:
    """A list of messages with known roles and with text. Raises ValueError, naming the row and the message."""
    if not isinstance(found, Sequence) or isinstance(found, str) or not found:
        raise ValueError(f"{row.place}: {name} is {'empty' if not found else 'no list of messages'}")
    messages = []
    for number, message in enumerate(found, 1):
        role = message.get("role") if isinstance(message, Mapping) else None
        if role not in ("system", "user", "assistant"):
            raise ValueError(f"{row.place}: {name} {number} has role {role!r}; roles are system, user and assistant")
        content = message.get("content")
        if not isinstance(content, str) or not content.strip():
            said = "null" if content is None else "empty" if isinstance(content, str) else "no text"
            raise ValueError(f"{row.place}: {name} {number} ({role}) has no text, its content is {said}")
        messages.append({"role": role, "content": content})
    return messages


def _alternate(row: Row, messages: Sequence[Mapping[str, str]]) -> None:
    turns = messages[1:] if messages[0]["role"] == "system" else messages
    first = 1 + len(messages) - len(turns)
    for number, message in enumerate(turns):
        wanted = "user" if number % 2 == 0 else "assistant"
        if message["role"] != wanted:
            raise ValueError(f"{row.place}: message {first + number} is the {message['role']}'s, {wanted}'s turn it is")
    if not turns:
        raise ValueError(f"{row.place}: there is a system message and nothing else")


def _found_messages(values: Mapping[str, Any]) -> object:
    if "messages" in values:
        return values["messages"]
    if isinstance(turns := values.get("conversations"), list):
        return [
            {"role": ROLES.get(str(turn.get("from")), turn.get("from")), "content": turn.get("value")}
            if isinstance(turn, Mapping) and "from" in turn
            else turn
            for turn in turns
        ]
    for asked, answered in (("question", "answer"), ("prompt", "completion"), ("instruction", "output")):
        if asked in values and answered in values:
            question, answer = values[asked], values[answered]
            if asked == "instruction" and values.get("input"):
                question = f"{question}\n{values['input']}"
            both = ((question, "user"), (answer, "assistant"))
            parts = [[{"role": role, "content": part}] if not isinstance(part, list) else part for part, role in both]
            return [*parts[0], *parts[1]]
    return None


def _rows(path: Path) -> Iterator[Row]:
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    if path.suffix in (".jsonl", ".ndjson"):
        return _lines(path)
    if path.suffix == ".json":
        return _list(path)
    if path.is_dir() or not path.exists():
        raise ValueError(f"{path}: {'is a folder; name its files' if path.is_dir() else 'no such file'}")
    raise ValueError(f"{path}: {READ}")


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: is no parquet file ({str(error).splitlines()[0]})") from error


def _parquet_rows(path: Path) -> Iterator[Row]:
    with _parquet(path) as file:
        number = 0
        for batch in file.iter_batches(BATCH):
            for values in batch.to_pylist():
                number += 1
                yield Row(f"{path.name}:{number}", values)


def _lines(path: Path) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _row(path, number, json.loads(line))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path.name}:{number}: no JSON ({error})") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 ({error.reason})") from error


def _list(path: Path) -> Iterator[Row]:
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except ValueError as error:
        raise ValueError(f"{path}: no JSON ({error})") from error
    if not isinstance(found, list):
        raise ValueError(f"{path}: a JSON list of rows is needed")
    for number, values in enumerate(found, 1):
        yield _row(path, number, values)


def _row(path: Path, number: int, values: object) -> Row:
    if not isinstance(values, dict):
        raise ValueError(f"{path.name}:{number}: an object with named columns is needed")
    return Row(f"{path.name}:{number}", values)
