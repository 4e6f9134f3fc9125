"""Form of a generated text: whole, of a sane length, in the language asked for."""

from __future__ import annotations

from datatools.checks.limits import DEFAULT, Limits
from datatools.clean.language import language as language_of

# What the servers call a reply that hit the limit of tokens (OpenAI, Anthropic, Gemini).
CUT = frozenset({"length", "max_tokens", "max_output_tokens"})
VERBATIM = "source"
# No finished answer ends so, whatever the server says.
_OPEN_ENDINGS = "，、,（(：:“《【"
_CHINESE = frozenset({"zh", "lzh"})
# Short English of drug names and values is easily taken for another Latin language.
SURE_LATIN = 100


def truncated(answer: str, finish_reason: str) -> bool:
    """Whether a reply was cut: the server says so, or it ends where no sentence can. Verbatim answers never are.

    >>> truncated("口服，每次", "length"), truncated("常用药物有：", "stop"), truncated("常用药物有：", "source")
    (True, True, False)
    """
    if finish_reason in CUT:
        return True
    return finish_reason != VERBATIM and answer.rstrip().endswith(tuple(_OPEN_ENDINGS))


def length_flag(question: str, answer: str, language: str, limits: Limits = DEFAULT) -> str:
    """`too_short`, `too_long` or an empty string, by the bands of the language."""
    band = limits.answer_zh if _is_dense(language) else limits.answer_en
    flags = {question_length_flag(question, language, limits), _outside(answer, band)}
    return next((flag for flag in ("too_short", "too_long") if flag in flags), "")


def question_length_flag(question: str, language: str, limits: Limits = DEFAULT) -> str:
    """The same of a question alone."""
    return _outside(question, limits.question_zh if _is_dense(language) else limits.question_en)


def _is_dense(language: str) -> bool:
    return language in _CHINESE or language in ("ja", "ko")


def _outside(text: str, band: tuple[int, int]) -> str:
    length = len(text.strip())
    return "too_short" if length < band[0] else "too_long" if length > band[1] else ""


def agrees(text: str, asked: str, found: str = "") -> bool:
    """Whether `text` is in the language `asked` for; `und` agrees with all, zh and lzh with each other.

    `found` is the text's language where the caller knows it already.

    >>> agrees("太阳之为病，脉浮。", "zh"), agrees("Take with food, twice a day, for two weeks.", "zh")
    (True, False)
    """
    found = found or language_of(text)
    if found in ("und", asked) or asked in ("", "und", "same") or {found, asked} <= _CHINESE:
        return True
    is_latin = found not in _CHINESE and found not in ("ja", "ko")
    asked_latin = asked not in _CHINESE and asked not in ("ja", "ko")
    return is_latin and asked_latin and len(text) < SURE_LATIN
