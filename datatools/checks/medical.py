"""All checks of a conversation: those of a pair (`check.py`), and those of medicine, with or without a source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from datatools.checks.check import Checked, check_pair
from datatools.checks.claims import Known, claims
from datatools.checks.doses import doses
from datatools.checks.entities import entities
from datatools.checks.incompatible import incompatible
from datatools.checks.lexicon import Lexicon, shipped
from datatools.checks.limits import DEFAULT, Limits
from datatools.checks.medicines import medicines
from datatools.checks.prescription import spans, unknown_herbs
from datatools.checks.red_flags import advises_care, red_flags
from datatools.checks.roles import role_leaks

# A patient's story and an exam item with its options are longer than a question that a model was asked to think of.
ANY_QUESTION = replace(DEFAULT, question_zh=(2, 4000), question_en=(4, 12000))
# Values and flags that compare an answer with its source: nothing can be said of them without one.
SOURCE_VALUES = ("numbers_missing", "support", "contacts_missing", "entities_missing")
SOURCE_FLAGS = frozenset(("number_not_in_source", "url_not_in_source", "unsupported", "unsupported_entity"))
# Of several turns joined: a doctor's 多久了？ is no answer that is too short, nor their sum one that is too long.
_LENGTH_FLAGS = frozenset(("too_short", "too_long"))


@dataclass(frozen=True)
class Knowledge:
    """What answers are held against: a lexicon, and a graph where there is one."""

    lexicon: Lexicon
    graph: Known | None = None

    @classmethod
    def shipped(cls) -> Knowledge:
        """What comes with the project."""
        return cls(shipped())


def check_conversation(
    messages: Sequence[Mapping[str, str]],
    source: str | None,
    knowledge: Knowledge,
    *,
    language: str,
    finish_reason: str = "stop",
    limits: Limits = ANY_QUESTION,
) -> Checked:
    """Check a conversation without a model. Never raises on any text.

    `source` is what the answers were made from; None where nobody knows, and then what compares the two is null.

    >>> turns = (("user", "何方可治瘿瘤？"), ("assistant", "海藻15g，甘草6g，附子50g。"))
    >>> said = [{"role": role, "content": content} for role, content in turns]
    >>> check_conversation(said, None, Knowledge.shipped(), language="zh").flags
    ('incompatible:甘草+海藻', 'dose_out_of_range')
    """
    question = "\n".join(turn["content"] for turn in messages if turn["role"] == "user")
    answer = "\n".join(turn["content"] for turn in messages if turn["role"] == "assistant")
    turns = sum(turn["role"] != "system" for turn in messages)
    pair = check_pair(question, answer, source or "", language=language, finish_reason=finish_reason, limits=limits)
    values, flags = medical(messages, question, answer, source, knowledge)
    values = {**pair.values, "turns": turns, **values}
    fired = [flag for flag in pair.flags if turns <= 2 or flag not in _LENGTH_FLAGS] + flags
    if source is None:
        values.update(dict.fromkeys(SOURCE_VALUES))
        fired = [flag for flag in fired if flag not in SOURCE_FLAGS]
    return Checked(values, tuple(fired))


def medical(
    messages: Sequence[Mapping[str, str]], question: str, answer: str, source: str | None, knowledge: Knowledge
) -> tuple[dict[str, Any], list[str]]:
    """Values and flags of the checks of medicine."""
    lexicon = knowledge.lexicon
    given = f"{question}\n{source or ''}"
    named = entities(answer, given, lexicon)
    text, prescriptions = spans(answer, lexicon)
    unknown = unknown_herbs(text, prescriptions, lexicon)
    pairs = incompatible(answer, lexicon, given)
    grams = doses(answer, lexicon)
    read, over = medicines(answer)
    signs = red_flags(question)
    leaks = role_leaks(messages)
    said = claims(answer, knowledge.graph, lexicon) if knowledge.graph else None
    values = {
        "entities": named.total,
        "entities_missing": len(named.missing),
        "herbs_unknown": len(unknown),
        "incompatible": len(pairs),
        "doses": grams.total + read,
        "doses_unusual": len(grams.unusual) + len(over),
        "doses_named": [*grams.unusual, *over],
        "red_flags": len(signs),
        "role_leaks": len(leaks),
        "claims_true": said.true if said else None,
        "claims_contradicted": len(said.contradicted) if said else None,
        "claims_unknown": said.unknown if said else None,
    }
    fired = (
        ("unsupported_entity", bool(named.missing)),
        ("unknown_herb", bool(unknown)),
        *((f"incompatible:{pair.one}+{pair.other}", True) for pair in pairs),
        ("dose_out_of_range", bool(grams.unusual or over)),
        ("red_flag_without_advice", bool(signs) and not advises_care(answer)),
        ("role_leak", bool(leaks)),
        ("claim_contradicts_graph", bool(said and said.contradicted)),
    )
    return values, [name for name, hit in fired if hit]
