"""From a raw reply to its text, and from what a model wrote around its text to the text alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from datatools.llm.errors import Failure, classify, failure
from datatools.llm.request import Reply
from datatools.llm.thinking import split_thinking

Body: TypeAlias = Mapping[str, Any]

CUT = frozenset({"length", "max_tokens", "model_length"})
FILTERED = frozenset({"content_filter", "sensitive", "safety"})  # "sensitive" is Zhipu's word
BROKEN_OFF = frozenset({"network_error", "insufficient_system_resource", "abort", "error"})  # Zhipu, DeepSeek, vLLM

ANSWER = re.compile(r"<answer>(.*)</answer>", re.DOTALL)  # of models trained to think in tags
FENCE = re.compile(r"```[\w+-]*[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
LABEL = re.compile(
    r"(?:\*\*|#{1,4} +)?"
    r"(?:(?:问题|提问|问|回答|答案|答复|答|question|answer)\s*\d{0,2}(?:\*\*)?\s*[:：]|[QA]\d{0,2}(?:\*\*)?\s*[:：]"
    r"|[【\[](?:问题|问|回答|答案|答)[】\]][:：]?)(?:\*\*)?\s*",
    re.IGNORECASE,
)
OPTION = re.compile(r"^B\s*[:：]", re.MULTILINE)  # then "A:" is the first of several choices, not a label
NUMBER = re.compile(r"(?:\d{1,2}[.．、)）]|[(（]\d{1,2}[)）])\s*(?=[^\d\s])")
QUOTES = {"「": "」", "『": "』", "“": "”", '"': '"', "'": "'", "‘": "’"}


def decode(raw: bytes) -> Body | None:
    """The reply's JSON object, or None where it is none: HTML, cut short, not UTF-8. Never raises."""
    try:
        body = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def usage(body: Body | None) -> tuple[int, int]:
    """Prompt and completion tokens as the endpoint counted them; 0 where it did not say."""
    counts = (body or {}).get("usage")
    values = [counts.get(name) if isinstance(counts, Mapping) else 0 for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (value if isinstance(value, int) and value > 0 else 0 for value in values)
    return prompt, completion


def parse(raw: bytes | Body | None, secret: str = "") -> Reply | Failure:
    """The answer in a chat completion, or why there is none. Never raises, whatever the endpoint sent."""
    body = decode(raw) if isinstance(raw, bytes) else raw
    if body is None:
        return failure("malformed", "the reply is not a JSON object")
    if body.get("error"):
        return classify(body, secret)
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        return failure("malformed", "the reply has no choices")
    text = _content(message.get("content"))
    if text is None or not _encodable(text):
        return failure("malformed", "the reply's content is not text")
    thoughts, text = split_thinking(text)
    reasoning = "\n".join(filter(None, (*_thoughts(message), thoughts.strip())))
    reason = str(choice.get("finish_reason") or "")
    word = reason.lower().partition(":")[0]  # Gemini's comes with details after a colon
    if word in FILTERED or (message.get("refusal") and not text.strip()):
        return failure("content_filter", f"the endpoint withheld the answer ({reason or 'refusal'})")
    if word in BROKEN_OFF:
        return failure("server", f"the endpoint broke off ({reason})")
    first = _logprobs(choice)
    only_thought = " while the model was thinking" if reasoning and not text.strip() else ""
    if word in CUT and first is None:  # who asks for the first token's probabilities asks for no more than it
        return failure("truncated", f"the answer is cut off at the token limit{only_thought}")
    if not text.strip() and first is None:
        return failure("empty", f"the answer is empty{only_thought and ': the model only thought'}")
    prompt_tokens, completion_tokens = usage(body)
    return Reply(
        text=text.strip(),
        finish_reason=reason,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        model=str(body.get("model") or ""),
        reasoning=reasoning,
        logprobs=first,
    )


def _logprobs(choice: Body) -> tuple[tuple[str, float], ...] | None:
    """Tokens and their log-probabilities at the first place of the reply; None where the endpoint gives none."""
    found = choice.get("logprobs")
    if not isinstance(found, Mapping):
        return None
    first, older = (_first(found.get(name)) for name in ("content", "top_logprobs"))
    if isinstance(first, Mapping):
        listed = first.get("top_logprobs") or [first]
        pairs = [(one.get("token"), one.get("logprob")) for one in listed if isinstance(one, Mapping)]
    elif isinstance(older, Mapping):  # the form of /completions, which some servers give to chats too
        pairs = list(older.items())
    else:
        return None
    told = [
        (token, float(value)) for token, value in pairs if isinstance(token, str) and isinstance(value, int | float)
    ]
    return tuple(told) or None


def _first(places: Any) -> Any:
    return places[0] if isinstance(places, list) and places else None


def plain_text(text: str) -> str:
    """The text without what models put around it: thinking, one code fence, a label, a number, surrounding quotes.

    The result is always one unbroken piece of `text`: nothing inside it is touched, a list keeps its numbers, a row
    of choices its letters, and quotes stay where they do not enclose the whole.
    """
    before = None
    while before != text:
        before = text
        text = split_thinking(text)[1].strip()
        text = _unwrapped(text, ANSWER, "<answer>")
        text = _unwrapped(text, FENCE, "```")
        text = _unlabelled(text)
        text = _unquoted(text).strip()
    return text


def _unwrapped(text: str, wrapping: re.Pattern[str], mark: str) -> str:
    """What stands inside, where one wrapping encloses the whole."""
    found = wrapping.fullmatch(text)
    return found[1] if found and mark not in found[1] else text


def _unlabelled(text: str) -> str:
    found = LABEL.match(text)
    if found and not (found[0].lstrip("*# ").upper().startswith("A") and OPTION.search(text)):
        text = text[found.end() :]
    found = NUMBER.match(text)
    return text[found.end() :] if found and "\n" not in text else text


def _unquoted(text: str) -> str:
    end = QUOTES.get(text[:1])
    if end is None or len(text) < 2 or text[-1] != end:
        return text
    inside = text[1:-1]
    return text if end in inside or text[0] in inside else inside


def _content(content: object) -> str | None:
    """Message content as text: a string, null (thinking only), or a list of parts; None for anything else."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    return None


def _thoughts(message: Mapping[str, Any]) -> list[str]:
    """Thinking that the endpoint keeps apart from the content, in the fields and parts that endpoints use for it."""
    content = message.get("content")
    parts = [part.get("thinking") for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []
    said = [message.get("reasoning_content") or message.get("reasoning"), *parts]
    return [text.strip() for text in map(_content, said) if text and _encodable(text)]


def _encodable(text: str) -> bool:
    """Whether the text can be written as UTF-8: JSON can smuggle in half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
