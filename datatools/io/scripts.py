"""Raised and lowered characters as Unicode: 10⁹/L must not become 109/L, nor Ca²⁺ Ca2+."""

from __future__ import annotations

import re

SUPERSCRIPTS = dict(zip("0123456789+-=()nim＋－−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱᵐ⁺⁻⁻", strict=True))
SUBSCRIPTS = dict(zip("0123456789+-=()＋－−", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎₊₋₋", strict=True))


def superscript(text: str) -> str:
    """The text raised.

    >>> superscript("9"), superscript("2+"), superscript("[1]"), superscript("®")
    ('⁹', '²⁺', '[1]', '®')
    """
    return raised_or_lowered(text, SUPERSCRIPTS, "^")


def subscript(text: str) -> str:
    """The text lowered.

    >>> subscript("2"), subscript("max")
    ('₂', 'max')
    """
    return raised_or_lowered(text, SUBSCRIPTS, "_")


def raised_or_lowered(text: str, table: dict[str, str], sign: str) -> str:
    """Each character from the table; decimals keep a sign (10^1.5), and what has no raised form stands as it is."""
    stripped = text.strip()
    if re.search(r"\d[./]\d", stripped):
        return f"{sign}({stripped})"
    if stripped[:1].isdigit() or all(character in table for character in stripped):
        return "".join(table.get(character, character) for character in stripped)
    return stripped
