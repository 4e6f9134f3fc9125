"""The built-in generator: questions from headings, fields and patterns, answered by the verbatim passage.

It needs no model. AdaptLLM (ICLR 2024) showed that reading-comprehension tasks mined by rules are worth training on;
here the rules are those of medical books: definition, cause, symptom, treatment, dosage, composition, "A includes
B, C", the sections of a monograph, and the entries of the Chinese classics.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from datatools.llm import rules_classic, rules_en, rules_fields, rules_zh
from datatools.llm.topic import Passage

# The question and the name of the rule that made it.
Question: TypeAlias = tuple[str, str]

VERSION = 2

# （方见头痛门）: the text stands elsewhere, there is nothing to learn here.
_CROSS_REFERENCE = re.compile(
    r"^\W*(?:[\u3400-\u9fff]{0,8})?(?:[方俱详并余论注即已散]|并?)见[^。\n]{1,16}[）)。]?\s*$|^\W*(?:see|refer to)\s[^.\n]{1,60}\.?\s*$",
    re.IGNORECASE,
)

# 可能与以下因素相关。 as the whole of a section: what it announces stands in the sections below.
_ANNOUNCEMENT = re.compile(r"\A[^\n]{0,60}(?:以下|如下|下列|下述|the following)[^。\n]{0,16}[。：:.]?\s*\Z")


def questions(passage: Passage) -> Iterator[Question]:
    """Questions that `passage` answers, the most natural first; nothing when no rule fits.

    Later ones are more specific, so that a caller can go on when a question is already taken.
    """
    if _CROSS_REFERENCE.match(passage.text) or _ANNOUNCEMENT.search(passage.text):
        return
    fields = passage.document.meta.get("fields") or {}
    if rules_fields.is_listing(fields, passage.text):
        yield from rules_fields.questions(passage)
    elif passage.document.language not in ("zh", "lzh"):
        yield from rules_en.questions(passage)
    elif passage.document.language == "lzh" or passage.document.source_type == "classic":
        yield from rules_classic.questions(passage)
    else:
        yield from rules_zh.questions(passage)
