"""Patients' questions out of any table or record: cleaned, without personal data, each with its human answer if any."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pyarrow as pa

from datatools.clean.normalise import normalise
from datatools.clean.pii import redact
from datatools.dedupe.exact import question_key
from datatools.engine.work import Work
from datatools.io.atomic import part_writer
from datatools.io.read import read
from datatools.io.source import Fault, Note, ReadOptions, Source
from datatools.report.progress import Progress
from pipelines.ask_items import Made
from schemas.document import Document
from schemas.fields import field
from schemas.trace import TRACE

QUESTIONS = pa.schema(
    [
        field("id", pa.string(), "the input's own id, or one of its content"),
        field("source", pa.string(), "where it stands"),
        field("text", pa.string(), "the question, cleaned, personal data replaced"),
        field("human_answer", pa.string(), "the answer beside it; empty where there is none"),
        field("department", pa.string(), "department, as the source names it"),
        field("key", pa.binary(16), "question_key of the text"),
    ]
)
LEAST = 4  # letters or digits: less asks nothing
_DEPARTMENT = ("department", "Department", "科室", "就诊科室", "cure_department")
_WORDS = re.compile(r"\w", re.UNICODE)
_BATCH = 1000


def read_questions(
    sources: Sequence[Source], faults: Sequence[Fault], work: Work, key: str, limit: int | None, progress: Progress
) -> dict[str, int]:
    """Write all questions as parts of the unit `key`; returns how many rows were read."""
    tally = {"read": 0}
    rows: list[dict[str, Any]] = []
    with ExitStack() as files:
        questions = files.enter_context(part_writer(work.part(key, "rows"), QUESTIONS))
        trace = files.enter_context(part_writer(work.part(key, "trace"), TRACE))
        left_out = Made()
        for fault in faults:
            left_out.fault(fault)
        for item in _items(sources):
            if isinstance(item, Note):
                progress.say(f"{item.source}: {item.message}")
            elif isinstance(item, Fault):
                left_out.fault(item)
            else:
                tally["read"] += 1
                row = _question(item)
                if len(_WORDS.findall(row["text"])) < LEAST:
                    left_out.drop(row["id"], row["source"], "read", "no_question", row["text"])
                else:
                    rows.append(row)
                if len(rows) >= _BATCH:
                    questions.write(pa.Table.from_pylist(rows, schema=QUESTIONS))
                    rows.clear()
                if tally["read"] == limit:
                    break
        questions.write(pa.Table.from_pylist(rows, schema=QUESTIONS))
        trace.write(pa.Table.from_pylist(left_out.trace, schema=TRACE))
    return tally


def _items(sources: Sequence[Source]) -> Any:
    for source in sources:
        yield from read(source, ReadOptions(unanswered=True))


def _question(document: Document) -> dict[str, Any]:
    meta = document.meta
    question, answer = str(meta.get("question") or ""), str(meta.get("answer") or "")
    if not question and meta.get("messages"):  # of a dialogue the first question, with what was answered to it
        turns = [turn for turn in meta["messages"] if turn["role"] != "system"]
        question = next((turn["content"] for turn in turns if turn["role"] == "user"), "")
        answer = next((turn["content"] for turn in turns if turn["role"] == "assistant"), "")
    text = redact(normalise(question or document.text).strip())[0]
    fields = meta.get("fields", {})
    return {
        "id": document.id,
        "source": document.source,
        "text": text,
        "human_answer": redact(normalise(answer).strip())[0],
        "department": next((str(fields[name]) for name in _DEPARTMENT if fields.get(name)), ""),
        "key": question_key(text),
    }
