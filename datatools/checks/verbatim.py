"""Check values of an answer that is the source itself."""

from __future__ import annotations

from typing import Any


def verbatim_checks(question: str, answer: str, language: str) -> dict[str, Any]:
    """Values of the CHECKS struct for a verbatim answer.

    Nothing in it can be missing from the source, so what compares the two is stated and not computed; what would have
    to be counted and cannot fire (numbers, repetition, leakage) is null: a book may say 本文 of itself.
    """
    return {
        "finish_reason": "source",
        "language": language,
        "question_length": len(question),
        "answer_length": len(answer),
        "numbers": None,
        "numbers_missing": 0,
        "support": 1.0,
        "repetition": None,
        "contacts_missing": 0,
        "leakage": None,
    }
