"""All checks of one pair: the values that become columns, and the names of those that fired."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from datatools.checks.contacts import missing_contacts
from datatools.checks.form import agrees, length_flag, question_length_flag, truncated
from datatools.checks.leakage import leakage
from datatools.checks.limits import DEFAULT, Limits
from datatools.checks.numbers import missing_numbers
from datatools.checks.support import repetition, support
from datatools.clean.language import language as language_of


class Checked(NamedTuple):
    """Values of the `checks` column of a Conversation, and flags in a fixed order (empty: nothing fired)."""

    values: dict[str, Any]
    flags: tuple[str, ...]


def check_pair(
    question: str,
    answer: str,
    source: str,
    *,
    language: str,
    finish_reason: str = "stop",
    limits: Limits = DEFAULT,
) -> Checked:
    """Check an answer against the passage it was made from, without a model. Never raises on any text.

    `source` is all the generator was shown (passage, title, section). `language` is the one asked for. Where answer and
    source are in different languages, `support` is measured but does not flag.

    >>> check_pair("甘草用量？", "每日9克。", "甘草 2～10g", language="zh").flags
    ('number_not_in_source',)
    """
    found = language_of(answer)
    numbers = missing_numbers(answer, source)
    leaks = leakage(question, answer, source)
    contacts = missing_contacts(answer, source)
    supported = support(answer, source)
    repeated = repetition(answer)
    empty = not question.strip() or not answer.strip()
    wrong = not agrees(answer, language, found) or not agrees(question, language)
    length = "" if empty else length_flag(question, answer, language, limits)
    ungrounded = (
        supported < limits.support
        and len(answer) >= limits.support_min_length
        and agrees(answer, _source_language(source), found)
    )
    fired = (
        ("empty", empty),
        ("truncated", truncated(answer, finish_reason)),
        ("wrong_language", wrong),
        (length, bool(length)),
        ("leakage", bool(leaks)),
        ("number_not_in_source", bool(numbers.missing)),
        ("url_not_in_source", bool(contacts)),
        ("repetition", repeated > limits.repetition),
        ("unsupported", ungrounded),
    )
    values = {
        "finish_reason": finish_reason,
        "language": found,
        "question_length": len(question),
        "answer_length": len(answer),
        "numbers": numbers.total,
        "numbers_missing": len(numbers.missing),
        "support": supported,
        "repetition": repeated,
        "contacts_missing": len(contacts),
        "leakage": len(leaks),
    }
    return Checked(values, tuple(name for name, hit in fired if hit))


_source_language = lru_cache(maxsize=64)(language_of)


def check_question(question: str, source: str, *, language: str, limits: Limits = DEFAULT) -> tuple[str, ...]:
    """Flags of a question alone, before an answer is paid for. Never raises on any text.

    >>> check_question("根据上文，甘草的用量是多少？", "甘草 2～10g", language="zh")
    ('leakage',)
    """
    fired = (
        ("empty", not question.strip()),
        ("wrong_language", not agrees(question, language)),
        (question_length_flag(question, language, limits), True),
        ("leakage", bool(leakage(question, "", source))),
        ("url_not_in_source", bool(missing_contacts(question, source))),
    )
    return tuple(name for name, hit in fired if hit and name)
