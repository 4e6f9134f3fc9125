"""Export: conversations as JSONL in the formats other trainers read."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datatools.io.atomic import atomic_path
from datatools.report.summary import Summary
from schemas.conversation import CONVERSATION
from schemas.fields import check

_SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt"}


def export(file: Path, out: Path, format: str) -> Summary:
    """Write the conversations of `file` to `out`, one JSON object a line.

    Raises ValueError for another format, or a file that holds no conversations.
    """
    began = time.monotonic()
    if format not in FORMATS:
        raise ValueError(f"--format {format}: must be one of {', '.join(FORMATS)}")
    if not file.is_file():
        raise ValueError(f"{file}: no such file")
    if out.resolve() == file.resolve():
        raise ValueError(f"--out {out}: is the file to be read")
    out.parent.mkdir(parents=True, exist_ok=True)
    summary = Summary("export", [str(file)], output=str(out))
    try:
        opened = pq.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{file}: {error}") from error
    with opened as table:
        check(table.schema_arrow, CONVERSATION, file)
        with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8") as lines:
            for batch in table.iter_batches(1024, columns=["id", "messages", "source"]):
                for row in batch.to_pylist():
                    summary.rows_read += 1
                    line = FORMATS[format](row)
                    if line is None:
                        summary.dropped["several_turns"] = summary.dropped.get("several_turns", 0) + 1
                    else:
                        lines.write(json.dumps(line, ensure_ascii=False) + "\n")
                        summary.rows_written += 1
            lines.flush()
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def messages(row: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's and TRL's format.

    >>> messages({"id": "a", "messages": [{"role": "user", "content": "?"}]})
    {'id': 'a', 'messages': [{'role': 'user', 'content': '?'}]}
    """
    return {"id": row["id"], "messages": row["messages"]}


def sharegpt(row: dict[str, Any]) -> dict[str, Any]:
    """ShareGPT as MedicalGPT and LLaMA-Factory read it: `conversations` of `from` and `value`; a system turn apart.

    >>> sharegpt({"id": "a", "messages": [{"role": "user", "content": "?"}]})
    {'id': 'a', 'conversations': [{'from': 'human', 'value': '?'}]}
    """
    turns = [{"from": _SHAREGPT[turn["role"]], "value": turn["content"]} for turn in row["messages"]]
    if turns and turns[0]["from"] == "system":
        return {"id": row["id"], "system_prompt": turns[0]["value"], "conversations": turns[1:]}
    return {"id": row["id"], "conversations": turns}


def alpaca(row: dict[str, Any]) -> dict[str, Any] | None:
    """Stanford Alpaca's format with LLaMA-Factory's `history`; None for a conversation that does not alternate.

    >>> alpaca({"id": "a", "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]})
    {'id': 'a', 'instruction': '?', 'input': '', 'output': '!'}
    """
    turns = list(row["messages"])
    line: dict[str, Any] = {"id": row["id"], "instruction": "", "input": "", "output": ""}
    if turns and turns[0]["role"] == "system":
        line["system"] = turns.pop(0)["content"]
    roles = [turn["role"] for turn in turns]
    if not turns or roles != ["user", "assistant"] * (len(turns) // 2):
        return None
    line["instruction"], line["output"] = turns[-2]["content"], turns[-1]["content"]
    if len(turns) > 2:
        line["history"] = [[turns[i]["content"], turns[i + 1]["content"]] for i in range(0, len(turns) - 2, 2)]
    return line


FORMATS: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
    "messages": messages,
    "sharegpt": sharegpt,
    "alpaca": alpaca,
}
