"""Conversations as a user brings them: a parquet of Conversation records, or anything that holds pairs or talks.

Messages, ShareGPT and Alpaca JSON Lines, CSV and the like come through the readers of documents; the text an answer was
made from comes along where a row has it, as `source_text`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datatools.clean.language import language as language_of
from datatools.io.read import read
from datatools.io.source import Fault, Note, ReadOptions, Source
from schemas.conversation import CONVERSATION
from schemas.document import Document
from schemas.fields import check, name_of

# Columns that hold what an answer was made from, the surest name first.
SOURCE_COLUMNS = (
    "source_text",
    "passage",
    "context",
    "reference",
    "reference_text",
    "原文",
    "参考资料",
    "参考文本",
    "材料",
)
_BATCH = 500


def conversations(source: Source) -> Iterator[dict[str, Any] | Fault | Note]:
    """The rows of a source as Conversations; `source_text` is None, or not there, where nobody knows it.

    Raises ValueError for a file that says that it holds Conversations, and lacks a field of theirs.
    """
    if is_conversation(source):
        check(pq.read_schema(source.path), CONVERSATION, source.name)
        with pq.ParquetFile(source.path) as file:
            groups = range(file.num_row_groups)[source.start : None if source.stop < 0 else source.stop]
            for batch in file.iter_batches(_BATCH, row_groups=list(groups)):
                for row in batch.to_pylist():
                    row["messages"] = [
                        {"role": turn["role"] or "", "content": turn["content"] or ""} for turn in row["messages"] or ()
                    ]
                    yield row
        return
    for item in read(source, ReadOptions()):
        yield item if isinstance(item, Fault | Note) else _row(item)


def _row(document: Document) -> dict[str, Any] | Fault:
    """The Conversation of a Document that is a pair or a talk; a Fault for one that is neither."""
    meta = document.meta
    if "messages" in meta:
        messages = meta["messages"]
    elif "question" in meta:
        messages = [{"role": "user", "content": meta["question"]}, {"role": "assistant", "content": meta["answer"]}]
    else:
        return Fault(f"{document.source}:{document.offset}", "no question and answer there", rule="malformed_row")
    fields = meta.get("fields", {})
    said = next((fields[name] for name in SOURCE_COLUMNS if fields.get(name)), None)
    return {
        "id": document.id,
        "messages": messages,
        "task": fields.get("task", ""),
        "language": document.language or _language(messages),
        "source_id": "",
        "source": document.source,
        "source_type": document.source_type or "other",
        "generator": "source",
        "prompt": "",
        "flags": [],
        "usage": None,
        "source_text": said,
    }


def _language(messages: list[dict[str, str]]) -> str:
    """The language of the questions; a short one in Latin script is told with the answers' help."""
    asked = language_of("\n".join(turn["content"] for turn in messages if turn["role"] == "user"))
    return asked if asked in ("zh", "lzh", "ja", "ko") else language_of("\n".join(turn["content"] for turn in messages))


def is_conversation(source: Source) -> bool:
    """Whether a source is a parquet of Conversation records."""
    if source.format != "parquet" or source.data is not None or source.compression:
        return False
    try:
        return name_of(pq.read_schema(source.path)) == name_of(CONVERSATION)
    except (OSError, pa.ArrowException):
        return False
