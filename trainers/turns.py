"""What a chat template puts around turns, found by rendering it: for programs that do not read Jinja."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Words that stand in no template.
_S, _U, _A, _V = "⟦instruction⟧", "⟦first question⟧", "⟦answer⟧", "⟦second question⟧"


@dataclass(frozen=True)
class Turns:
    """Texts around the turns of a conversation. What follows a question belongs to the answer.

    `default` is what stands before the first question where there is no system message.
    """

    default: str
    system: tuple[str, str]
    user: str
    assistant: tuple[str, str]
    reply: str  # what makes the model answer, behind the last question

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The prompt of messages that end with a question, without a token that begins a text."""
        text = "" if messages[0]["role"] == "system" else self.default
        for turn in messages:
            if turn["role"] == "system":
                text += self.system[0] + turn["content"] + self.system[1]
            elif turn["role"] == "user":
                text += self.user + turn["content"]
            else:
                text += self.assistant[0] + turn["content"] + self.assistant[1]
        return text + self.reply

    def go_template(self) -> str:
        """The same as a Go template over Ollama's `.Messages`."""
        lines = [
            f"{{{{- if not .System }}}}{{{{ {_quoted(self.default)} }}}}{{{{ end }}}}",
            "{{- range $i, $message := .Messages }}",
            "{{- $last := eq (len (slice $.Messages $i)) 1 }}",
            '{{- if eq $message.Role "system" }}' + _around(*self.system),
            '{{- else if eq $message.Role "user" }}' + _around(self.user, ""),
            '{{- else if eq $message.Role "assistant" }}'
            + _around(self.assistant[0], "")
            + f"{{{{ if not $last }}}}{{{{ {_quoted(self.assistant[1])} }}}}{{{{ end }}}}",
            "{{- end }}",
            '{{- if and $last (ne $message.Role "assistant") }}' + f"{{{{ {_quoted(self.reply)} }}}}{{{{ end }}}}",
            "{{- end }}",
        ]
        return "\n".join(lines[0 if self.default else 1 :])


def turns_of(tokenizer: Any) -> Turns:
    """What the chat template of a tokenizer puts around turns.

    Raises ValueError for a template that does more than that: then only a program that reads Jinja can follow it.
    """
    talk = [{"role": "user", "content": _U}, {"role": "assistant", "content": _A}, {"role": "user", "content": _V}]
    try:
        whole = _rendered(tokenizer, [{"role": "system", "content": _S}, *talk])
        first = _rendered(tokenizer, talk)
        before_system, rest = whole.split(_S)
        system_end, after = rest.split(_U)
        before_answer, after = after.split(_A)
        between, reply = after.split(_V)
        alone = first.split(_U)[0]
    except ValueError as error:
        raise _too_much("it does not keep every turn as it is") from error
    if system_end.endswith(alone) and between.endswith(alone):
        user, default = alone, ""
    else:
        # A template that has its own system message when none is given.
        user = _common_end(system_end, between)
        if not alone.endswith(user):
            raise _too_much("what stands before a question is not always the same")
        default = alone.removesuffix(user)
    found = Turns(
        default,
        (before_system, system_end.removesuffix(user)),
        user,
        (before_answer, between.removesuffix(user)),
        reply,
    )
    for messages in (talk, talk[:1], [{"role": "system", "content": _S}, *talk], [*talk, *talk[1:]]):
        if found.render(messages) != _rendered(tokenizer, messages):
            raise _too_much("what stands around a turn depends on the other turns")
    return found


def stops_of(tokenizer: Any, ends: Sequence[int], turns: Turns | None) -> list[str]:
    """The texts at which an answer ends: end tokens, and the special token that the template puts behind an answer."""
    found = [tokenizer.eos_token, *(tokenizer.convert_ids_to_tokens(end) for end in ends)]
    if turns is not None:
        behind = turns.assistant[1] + turns.user
        inside = [token for token in _specials(tokenizer) if token in behind]
        found += sorted(inside, key=lambda token: (behind.index(token), -len(token)))[:1]
    return list(dict.fromkeys(token for token in found if token))


def _specials(tokenizer: Any) -> list[str]:
    return [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]


def _rendered(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> str:
    try:
        text = str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))
    except Exception as error:
        # A template may raise what it likes, most often that it knows no system message.
        raise _too_much(str(error)) from error
    # Whoever reads the template puts the token that begins a text there by himself.
    return text.removeprefix(tokenizer.bos_token or "")


def _too_much(why: str) -> ValueError:
    return ValueError(f"the chat template cannot be written for Ollama: {why}; GGUF carries it whole (--to gguf)")


def _common_end(one: str, other: str) -> str:
    count = 0
    while count < min(len(one), len(other)) and one[-1 - count] == other[-1 - count]:
        count += 1
    return one[len(one) - count :]


def _around(before: str, after: str) -> str:
    text = f"{{{{ {_quoted(before)} }}}}" if before else ""
    text += "{{ $message.Content }}"
    return text + (f"{{{{ {_quoted(after)} }}}}" if after else "")


def _quoted(text: str) -> str:
    """A string of Go, which is one of JSON, with every character visible: Ollama takes out of a Modelfile what is not.

    >>> print(_quoted("\u3000「问」\\n"))
    "\\u3000「问」\\n"
    """
    return "".join(one if one.isprintable() else _escaped(one) for one in json.dumps(text, ensure_ascii=False))


def _escaped(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
