"""What a row says, whatever its layout: a conversation, a prompt, a reply, a pair; or one line why it is none."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from trainers.rows import Row

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
LAYOUTS = (("question", "answer"), ("prompt", "completion"), ("instruction", "output"))  # who asks, who answers
SIDES = ("chosen", "rejected")
# What some files say of a message, and nothing here heeds: better said than lost.
NOT_READ = ("tool_calls", "function_call", "images")


def conversation(row: Row) -> list[dict[str, str]]:
    """The messages of a row: as they are, or made of ShareGPT, Alpaca, question and answer, prompt and completion.

    Raises ValueError, naming the row, where they are no conversation that ends with an answer.
    """
    found = _found_messages(row.values)
    if found is None and "messages" not in row.values:
        raise ValueError(f"{row.place}: holds no conversation; it has {', '.join(row.values) or 'no columns'}")
    messages = as_messages(row, found)
    if not any(message["role"] == "assistant" for message in messages):
        raise ValueError(f"{row.place}: the conversation has no assistant turn, so there is nothing to learn")
    _alternate(row, messages)
    if messages[-1]["role"] != "assistant":
        raise ValueError(f"{row.place}: the conversation ends with a user turn, without the answer to learn")
    return messages


def prompt_of(row: Row) -> list[dict[str, str]]:
    """The turns before a reply: a list of messages, or a text that the user says. Raises ValueError."""
    values = row.values
    found = values.get("prompt")
    if found is None and isinstance(values.get("question"), str):
        found = exam_question(values)
    elif found is None and isinstance(values.get("instruction"), str):
        found = _with_input(values)
    if isinstance(found, str):
        found = _opened(values, [{"role": "user", "content": found}])
    messages = as_messages(row, found, "prompt")
    _alternate(row, messages)
    if messages[-1]["role"] != "user":
        raise ValueError(f"{row.place}: prompt must end with a user turn, it ends with {messages[-1]['role']}")
    return messages


def reply_of(row: Row, name: str) -> list[dict[str, str]]:
    """A reply in the column `name`: one assistant message, or a text. Raises ValueError."""
    messages = _reply(row, name)
    if [message["role"] for message in messages] != ["assistant"]:
        raise ValueError(f"{row.place}: {name} must be one assistant message, it holds {len(messages)}")
    return messages


def pair_of(row: Row) -> tuple[list[dict[str, str]], list[dict[str, str]], list[dict[str, str]]]:
    """Prompt, chosen and rejected reply; the prompt from its column, or where both sides begin with it, from these.

    Raises ValueError, naming the row, where the sides answer different prompts, or are equal.
    """
    sides = [_reply(row, name) for name in ("chosen", "rejected")]
    if all(len(side) > 1 for side in sides):
        prompt = sides[0][:-1]
        if prompt != sides[1][:-1]:
            raise ValueError(f"{row.place}: chosen and rejected answer different conversations")
        stated = row.values.get("prompt")
        if stated is not None and (stated if isinstance(stated, str) else as_messages(row, stated, "prompt")) not in (
            prompt,
            prompt[-1]["content"],
            prompt[0]["content"],
        ):
            raise ValueError(f"{row.place}: chosen and rejected begin with another prompt than the column prompt")
        prompt = prompt_of(Row(row.place, {"prompt": prompt}))
        sides = [side[-1:] for side in sides]
    else:
        prompt = prompt_of(row)
    chosen, rejected = (reply_of(Row(row.place, {name: side}), name) for name, side in zip(SIDES, sides, strict=True))
    if chosen[0]["content"].strip() == rejected[0]["content"].strip():
        raise ValueError(f"{row.place}: chosen and rejected are equal, so there is nothing to prefer")
    return prompt, chosen, rejected


def exam_question(values: Mapping[str, Any]) -> str:
    """An exam item as a question: the stem, then the options one a line.

    >>> exam_question({"question": "甘草反什么？", "options": [("A", "甘遂"), ("B", "茯苓")]})
    '甘草反什么？\\nA. 甘遂\\nB. 茯苓'
    """
    options = values.get("options") or []
    pairs = options.items() if isinstance(options, Mapping) else options
    return "\n".join([str(values["question"]), *(f"{letter}. {text}" for letter, text in pairs if text is not None)])


def as_messages(row: Row, found: object, name: str = "messages") -> list[dict[str, str]]:
    """A list of messages with known roles and with text. Raises ValueError, naming the row and the message.

    Thoughts that stand apart, as `reasoning_content`, go before the text, in the tags that models think in.
    """
    if not isinstance(found, Sequence) or isinstance(found, str) or not found:
        raise ValueError(f"{row.place}: {name} is {'empty' if not found else 'no list of messages'}")
    messages = []
    for number, message in enumerate(found, 1):
        where = f"{row.place}: {name} {number}"
        role = message.get("role") if isinstance(message, Mapping) else None
        if role not in ("system", "user", "assistant"):
            raise ValueError(f"{where} has role {role!r}; roles are system, user and assistant")
        if unread := [key for key in NOT_READ if message.get(key)]:
            raise ValueError(f"{where} ({role}) has {unread[0]}, which cannot be trained; leave the row out")
        if message.get("weight") == 0:
            raise ValueError(f"{where} ({role}) has weight 0, but every answer is learned; leave the row out")
        content = message.get("content")
        if not isinstance(content, str) or not is_seen(content):
            said = "null" if content is None else "empty" if isinstance(content, str) else "no text"
            raise ValueError(f"{where} ({role}) has no text, its content is {said}")
        if isinstance(thought := message.get("reasoning_content"), str) and thought.strip():
            content = f"<think>\n{thought.strip()}\n</think>\n\n{content}"
        check_text(row, content, f"{name} {number}")
        messages.append({"role": role, "content": content})
    return messages


def is_seen(text: str) -> bool:
    """Whether a text holds anything that can be seen: more than white space and marks without width.

    >>> is_seen("\\u200b \\n"), is_seen("答\\u200b")
    (False, True)
    """
    return not all(sign.isspace() or unicodedata.category(sign) in ("Cc", "Cf") for sign in text)


def check_text(row: Row, text: str, name: str) -> None:
    """Raise ValueError, naming the row, for half of a character, which JSON can hold and no tokenizer can take."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise ValueError(f"{row.place}: {name} holds {half}, half of a character; take it out of the text") from None


def _alternate(row: Row, messages: Sequence[Mapping[str, str]]) -> None:
    turns = messages[1:] if messages[0]["role"] == "system" else messages
    first = 1 + len(messages) - len(turns)
    for number, message in enumerate(turns):
        wanted = "user" if number % 2 == 0 else "assistant"
        if message["role"] != wanted:
            raise ValueError(
                f"{row.place}: message {first + number} is the {message['role']}'s, where it is the {wanted}'s turn; "
                "turns alternate, and the user begins"
            )
    if not turns:
        raise ValueError(f"{row.place}: there is a system message and nothing else")


def _found_messages(values: Mapping[str, Any]) -> object:
    if values.get("messages") is not None:
        return _opened(values, values["messages"])
    if isinstance(turns := values.get("conversations"), list):
        return _opened(
            values,
            [
                {**turn, "role": ROLES.get(str(turn.get("from")), turn.get("from")), "content": turn.get("value")}
                if isinstance(turn, Mapping) and "from" in turn
                else turn
                for turn in turns
            ],
        )
    for asked, answered in LAYOUTS:
        if asked in values and answered in values:
            question = _with_input(values) if asked == "instruction" else values[asked]
            both = ((question, "user"), (values[answered], "assistant"))
            parts = [[{"role": role, "content": part}] if not isinstance(part, list) else part for part, role in both]
            return _opened(values, [*parts[0], *parts[1]])
    return None


def _with_input(values: Mapping[str, Any]) -> object:
    """An instruction of Alpaca's, with what it is about."""
    return f"{values['instruction']}\n{values['input']}" if values.get("input") else values["instruction"]


def _opened(values: Mapping[str, Any], turns: Any) -> Any:
    """Turns with what ShareGPT and Alpaca keep in columns beside them: the system message, and earlier exchanges."""
    if isinstance(history := values.get("history"), list) and "instruction" in values:
        pairs = [pair for pair in history if isinstance(pair, Sequence) and len(pair) == 2]
        roles = ("user", "assistant")
        said = [{"role": role, "content": text} for pair in pairs for role, text in zip(roles, pair, strict=True)]
        turns = [*said, *turns]
    system = values.get("system")
    first = turns[0] if isinstance(turns, list) and turns else None
    if isinstance(system, str) and system.strip() and isinstance(first, Mapping) and first.get("role") != "system":
        turns = [{"role": "system", "content": system}, *turns]
    return turns


def _reply(row: Row, name: str) -> list[dict[str, str]]:
    """What stands in a reply's column: a text, a message, or messages."""
    found = row.values.get(name)
    if isinstance(found, str):
        found = [{"role": "assistant", "content": found}]
    return as_messages(row, [found] if isinstance(found, Mapping) else found, name)
