"""Questions with an answer out of any table or Conversation file: what models are compared on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xxhash

from datatools.dedupe.exact import question_key
from datatools.io.columns import ANSWER, ID, QUESTION, first, plain
from datatools.io.files import discover
from datatools.io.read import read
from datatools.io.source import Fault, ReadOptions
from schemas.document import Document

PREDICTIONS = ("prediction", "predicted", "predict", "hypothesis", "generated", "model_output", "预测")
REFERENCES = ("reference", "references", "target", "gold", "gold_answer", "ground_truth", "参考答案")


@dataclass(frozen=True, slots=True)
class Answered:
    """A question (all turns before the answer), the answer, and a prediction where the row holds one."""

    id: str
    turns: tuple[Mapping[str, str], ...]
    answer: str
    prediction: str | None
    model: str
    source: str

    @property
    def question(self) -> str:
        """What was asked last, or all turns where there are several."""
        if len(self.turns) == 1:
            return self.turns[0]["content"]
        return "\n".join(f"{turn['role']}: {turn['content']}" for turn in self.turns)

    @property
    def key(self) -> bytes:
        """Equal for the same question, punctuation and white space left out."""
        return question_key(self.question)


def answered(name: str, limit: int | None = None) -> list[Answered]:
    """The questions with answers in a file or folder.

    Raises ValueError, naming file and row, for a row without question or answer, and for what cannot be read.
    """
    sources, faults = discover([name])
    if not sources:
        raise ValueError(f"{name}: nothing readable there{''.join(f' ({fault.message})' for fault in faults[:1])}")
    found: list[Answered] = []
    for source in sources:
        for one in read(source, ReadOptions(rows=True)):
            if isinstance(one, Fault):
                raise ValueError(f"{one.source}: {one.message}")
            if isinstance(one, Document) and "row" in one.meta:
                found.append(_of_row(one.meta["row"], f"{source.name}:{one.offset}"))
            elif isinstance(one, Document):
                raise ValueError(f"{source.name}: no table of questions and answers")
    return found[:limit]


def _of_row(row: Mapping[str, Any], place: str) -> Answered:
    columns = list(row)
    turns: list[Mapping[str, str]] = []
    messages = row.get("messages")
    column = first(columns, PREDICTIONS)
    prediction = plain(row.get(column)) if column else None
    answer = ""
    if isinstance(messages, list) and messages:
        turns = [{"role": str(one["role"]), "content": str(one["content"])} for one in messages]
        last = turns.pop() if turns[-1]["role"] == "assistant" else None
        answer = last["content"] if last else ""
    else:
        asked = first(columns, QUESTION)
        turns = [{"role": "user", "content": plain(row.get(asked)).strip()}] if asked else []
        told = first(columns, REFERENCES) or first([name for name in columns if name != asked], ANSWER)
        answer = plain(row.get(told)).strip() if told else ""
    if not answer and prediction is None:
        raise ValueError(f"{place}: no answer (messages, or a column answer, reference, 回答, …)")
    model = plain(row.get("generator") or row.get("model") or "").strip()
    named = first(columns, ID)
    words = "\n".join([*(turn["content"] for turn in turns), answer])
    id = plain(row.get(named)).strip() if named else xxhash.xxh3_128_hexdigest(words.encode("utf-8", "replace"))
    return Answered(id, tuple(turns), answer, prediction, model, place)
