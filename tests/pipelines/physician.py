"""What the loopback model of the tests says: sensible pairs, and now and then one of a model's usual defects."""

from __future__ import annotations

import hashlib
import re

_REFERENCE = re.compile(r"(?:参考|Reference)[：:]\n(.*)\n\n(?:问题|Question)[：:] ?(.*)\Z", re.DOTALL)
_CONTENT = re.compile(
    r"(?:内容|Content|Passage|Text)[：:]\n(.*?)(?:\n\n[^\n]*(?:已经有了|already)[^\n]*\n.*)?\Z", re.DOTALL
)


def reply(messages: list[dict[str, str]]) -> str:
    """A question about the passage, or an answer taken from its first sentences."""
    user = messages[-1]["content"]
    if found := _REFERENCE.search(user):
        return _answer(found[1], found[2])
    found = _CONTENT.search(user)
    passage = found[1] if found else user
    chinese = bool(re.search(r"[\u3400-\u9fff]", messages[0]["content"]))
    words = re.sub(r"\s+", " ", passage)[:24]
    return f"问题：请说明“{words}”的要点是什么？" if chinese else f"Question: What does one need to know about {words}?"


def _answer(passage: str, question: str) -> str:
    kind = hashlib.blake2b(question.encode(), digest_size=2).digest()[0]
    chinese = bool(re.search(r"[\u3400-\u9fff]", passage))
    text = re.sub(r"\s+", " ", passage)[:300]
    if kind < 6:
        return f"根据上文，{text}" if chinese else f"According to the passage, {text}"
    if kind < 12:
        return f"{text}每日服用9731毫克。" if chinese else f"{text} Take 9731 mg daily."
    return text
