"""A loopback model that sits exams and marks entities with a known share of right, wrong and unreadable replies.

Examinee.of("exam.jsonl", right=0.7, unparsed=0.1)
python -m tests.llm.model_server --reply tests.llm.examinee:cmexam    (the items are in $EXAM_ITEMS)
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datatools.evaluate.entities import Annotated, annotated
from datatools.evaluate.exam_items import ExamItem, exam_items

_OPTION = re.compile(r"^([A-P])\. (.*)$", re.MULTILINE)
UNREADABLE = ("这道题不好说。", "需要结合临床具体分析，暂时无法判断。", "答案：Z", "")


def drawn(*words: object) -> float:
    """A number in [0, 1) that these words decide."""
    digest = hashlib.blake2b(repr(words).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@dataclass
class Examinee:
    """Answers by content, whatever the order of the options; `bias` is the share of answers that are simply "A"."""

    items: Mapping[str, ExamItem] = field(default_factory=dict)  # by question and options in any order
    right: float = 0.7
    unparsed: float = 0.1
    bias: float = 0.0

    @classmethod
    def of(cls, items: Sequence[ExamItem], **shares: float) -> Examinee:
        """One that knows these items."""
        return cls({_key(item.question, item.options.values()): item for item in items}, **shares)

    def __call__(self, messages: Sequence[Mapping[str, str]]) -> str:
        shown = messages[-1]["content"]
        options = dict(_OPTION.findall(shown))
        question = re.sub(r"^(?:题型：|Question type: ).*\n", "", shown[: shown.index("\nA. ")]).strip()
        item = self.items[_key(question, options.values())]
        fate = drawn(item.key)
        if fate >= 1 - self.unparsed:
            return UNREADABLE[int(drawn(item.key, "how") * (len(UNREADABLE) - 1))]
        if drawn(item.key, "bias") < self.bias:
            return "答案：A"
        words = {item.options[letter] for letter in item.answer}
        letters = [letter for letter, text in options.items() if text in words]
        if fate >= self.right:
            letters = [next(letter for letter in options if letter not in letters)]
        if "JSON" in messages[0]["content"]:
            return json.dumps({"answer": "".join(letters)})
        style = int(drawn(item.key, "style") * 4)
        joined = "".join(letters)
        return (
            f"先看各项，排除法可得。\n答案：{joined}",
            f"答案：{'、'.join(letters)}。",
            joined,
            f"本题考查基本概念。故选{joined}。",
        )[style]


def _key(question: str, options: Any) -> str:
    return "\n".join([question.strip(), *sorted(options)])


_loaded: list[Examinee] = []


def cmexam(messages: Sequence[Mapping[str, str]]) -> str:
    """The examinee of the items in $EXAM_ITEMS, for servers in a process of their own."""
    if not _loaded:
        _loaded.append(Examinee.of(exam_items([os.environ["EXAM_ITEMS"]])))
    return _loaded[0](messages)


@dataclass
class Annotator:
    """Marks the entities of texts it knows: a share right, a share with a wrong type, the others not at all."""

    texts: Mapping[str, Annotated]
    right: float = 0.7
    mistyped: float = 0.1
    unparsed: float = 0.1

    def __call__(self, messages: Sequence[Mapping[str, str]]) -> str:
        known = self.texts[messages[-1]["content"].strip()]
        if drawn(known.text, "fate") < self.unparsed:
            return "这段病历里的实体比较多，难以一一列出。"
        kinds = sorted({one.type for text in self.texts.values() for one in text.entities})
        said: dict[tuple[str, str], None] = {}
        for one in known.entities:
            words = known.text[one.start : one.end]
            fate = drawn(known.text, words, one.type)
            if fate < self.right:
                said[words, one.type] = None
            elif fate < self.right + self.mistyped:
                said[words, kinds[(kinds.index(one.type) + 1) % len(kinds)]] = None
        style = int(drawn(known.text, "style") * 3)
        if style == 0:
            return json.dumps([{"entity": words, "type": kind} for words, kind in said], ensure_ascii=False)
        if style == 1:
            return "实体如下：\n" + "\n".join(f"- {words}（{kind}）" for words, kind in said) if said else "无"
        by_kind: dict[str, list[str]] = {}
        for words, kind in said:
            by_kind.setdefault(kind, []).append(words)
        return json.dumps(by_kind, ensure_ascii=False)


_annotators: list[Annotator] = []


def entities(messages: Sequence[Mapping[str, str]]) -> str:
    """The annotator of the texts in $NER_TEXTS, for servers in a process of their own."""
    if not _annotators:
        _annotators.append(Annotator({one.text.strip(): one for one in annotated([os.environ["NER_TEXTS"]])}))
    return _annotators[0](messages)
