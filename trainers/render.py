"""Messages as token ids, with what is learned of them: prompts as inference sees them, then answer and end of turn.

The loss mask is made by construction, never found again in a rendered text: prompt ids come from the chat template as
it renders them for generation, the answer's ids are put behind. Then every row is decoded and compared with its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from trainers.rows import Row

IGNORED = -100  # label of a token that is not learned
CHATML = (
    "{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)
THOUGHT = re.compile(r"<think>\s*$")  # a prompt that begins the answer's thinking: DeepSeek-R1, Qwen3.5
WORD_START = "\u2581"  # SentencePiece's sign for a space
_QUESTION, _ANSWER = "Question?", "PROBE"  # what templates are looked through with
TEMPLATES = {"chatml": (CHATML, ("<|im_start|>", "<|im_end|>"), "<|im_end|>")}


@dataclass(frozen=True)
class Example:
    """Token ids and the spans of them that are learned, `[start, end)` in order; a span ends with its end of turn."""

    ids: list[int]
    spans: list[tuple[int, int]]

    @property
    def labels(self) -> list[int]:
        """Ids where they are learned, IGNORED elsewhere."""
        return labels(self.ids, self.spans)


class Reply(NamedTuple):
    """Texts of a prompt and of a reply with its end, their token ids together, and where in these the reply begins."""

    prompt: str
    text: str
    ids: list[int]
    start: int


def labels(ids: Sequence[int], spans: Sequence[tuple[int, int]]) -> list[int]:
    """Ids within the spans, IGNORED elsewhere.

    >>> labels([7, 8, 9, 10], [(1, 2), (3, 4)])
    [-100, 8, -100, 10]
    """
    found = [IGNORED] * len(ids)
    for start, end in spans:
        found[start:end] = ids[start:end]
    return found


def use_template(tokenizer: Any, name: str, model: str) -> None:
    """Give a tokenizer a chat template: a shipped one by its name, or the file of one. Raises ValueError."""
    if name in TEMPLATES:
        template, tokens, end = TEMPLATES[name]
        known = tokenizer.get_vocab()
        missing = [token for token in tokens if token not in known]
        if missing:
            tokenizer.add_special_tokens({"extra_special_tokens": missing}, replace_extra_special_tokens=False)
        tokenizer.chat_template, tokenizer.eos_token = template, end
    elif Path(name).is_file():
        tokenizer.chat_template = Path(name).read_text(encoding="utf-8")
    else:
        raise ValueError(f"--template {name}: {', '.join(TEMPLATES)} or the file of a template, for --model {model}")


class Renderer:
    """Renders conversations for one tokenizer. Raises ValueError where its template loses text or ends no turn.

    `end` is what follows an answer: the special token that the template puts there, else the tokenizer's own end.
    """

    def __init__(self, tokenizer: Any, model: str) -> None:
        if not tokenizer.chat_template:
            raise ValueError(
                f"{model}: its tokenizer has no chat template, so a conversation cannot be rendered; "
                "--template chatml gives it one"
            )
        self.tokenizer = tokenizer
        self.specials = special_tokens(tokenizer)
        self._normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
        prompt, whole = self._probed(model)
        self.end = self._end_of_turn(whole, model)
        behind = whole.removeprefix(prompt).partition(_ANSWER)[0] if whole.startswith(prompt) else ""
        opened = THOUGHT.search(prompt)
        self._opened = opened[0] if opened else ""
        self._closed = behind or ("\n</think>\n\n" if self._opened.endswith("\n") else "\n\n</think>\n\n")
        # SentencePiece puts a space before the first word of whatever it is given, so answers need their prompt before
        # them, and the space that the template has there.
        line, answer, both = self._encode(["\n", _ANSWER, f"\n{_ANSWER}"])
        self._together = both != line + answer
        self._space = behind if not behind.strip() and self._together else ""
        self._system = self._keeps_system()

    @property
    def opens(self) -> bool:
        """Whether a prompt begins the thoughts of its answer."""
        return bool(self._opened)

    def answer(self, content: str) -> str:
        """What is to be learned of an answer, without its end.

        Where the prompt has begun to think, an answer that does not think ends that first, and one that does goes on.
        """
        if not self._opened or ("</think>" in content and not content.lstrip().startswith("<think>")):
            return self._space + content
        if "</think>" not in content:
            return self._closed + content
        thought = content.lstrip().removeprefix("<think>")
        return thought.removeprefix("\n") if self._opened.endswith("\n") else thought

    def conversations(self, rows: Sequence[tuple[Row, list[dict[str, str]]]]) -> Iterator[list[Example]]:
        """For every conversation its examples: one, or one a turn where the template rewrites earlier turns.

        Every example is verified. Raises ValueError, naming the row, where one cannot be learned from.
        """
        turns = [
            (row, messages, number)
            for row, messages in rows
            for number, message in enumerate(messages)
            if message["role"] == "assistant"
        ]
        for row, messages in rows:
            self._refuse(row, messages)
        asked = self._prompts_of(turns)
        texts = [self.answer(messages[number]["content"]) for _, messages, number in turns]
        pieces = iter(self._pieces(asked, texts))
        said = iter(texts)
        for row, messages in rows:
            count = sum(message["role"] == "assistant" for message in messages)
            yield self._examples(row, [next(pieces) for _ in range(count)], [next(said) for _ in range(count)])

    def asked(self, rows: Sequence[tuple[Row, list[dict[str, str]]]]) -> list[list[int]]:
        """Token ids of prompts. Raises ValueError, naming the row, for one that cannot be asked."""
        for row, messages in rows:
            self._refuse(row, messages)
        return self._encode(self._prompts_of([(row, messages, len(messages)) for row, messages in rows]))

    def reply(self, row: Row, prompt: list[dict[str, str]], reply: list[dict[str, str]]) -> Reply:
        """A reply behind its prompt, as it is compared with another.

        Raises ValueError, naming the row, where the reply would not be read back, or begins inside the prompt's words.
        """
        self._refuse(row, [*prompt, *reply])
        (asked,) = self._prompts_of([(row, prompt, len(prompt))])
        text = self.answer(reply[0]["content"])
        before, ids = self._encode([asked, asked + text + self.end])
        start = shared(before, ids)
        if self._decode(before[start:]).strip():
            raise ValueError(f"{row.place}: the tokenizer joins the end of the prompt with the beginning of the reply")
        self._compare(row, self._decode(ids[start:]).lstrip(), text.lstrip())
        return Reply(asked, text + self.end, ids, start)

    def scored(self, row: Row, messages: list[dict[str, str]]) -> int:
        """Tokens of a conversation as a reward model is given it. Raises ValueError where its reply is not in it."""
        self._refuse(row, messages)
        self._prompts_of([(row, messages, len(messages) - 1)])
        text = str(self.tokenizer.apply_chat_template(messages, tokenize=False))
        if messages[-1]["content"].rpartition("</think>")[2].strip() not in text:
            raise ValueError(f"{row.place}: the chat template leaves out the reply")
        return len(self._encode([text])[0])

    def _pieces(self, asked: Sequence[str], texts: Sequence[str]) -> list[tuple[list[int], list[int]]]:
        """Ids of prompts and of the answers behind them."""
        prompts = self._encode(asked)
        answers = self._encode([text + self.end for text in texts])
        if not self._together:
            return list(zip(prompts, answers, strict=True))
        wholes = self._encode([prompt + text + self.end for prompt, text in zip(asked, texts, strict=True)])
        return [
            (prompt, whole[len(prompt) :] if whole[: len(prompt)] == prompt else answer)
            for prompt, whole, answer in zip(prompts, wholes, answers, strict=True)
        ]

    def _examples(self, row: Row, pieces: Sequence[tuple[list[int], list[int]]], texts: Sequence[str]) -> list[Example]:
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        for prompt, answer in pieces:
            if prompt[: len(ids)] != ids:  # the template rewrites what was said before: a thinking template
                alone = [Example([*p, *a], [(len(p), len(p) + len(a))]) for p, a in pieces]
                for example, text in zip(alone, texts, strict=True):
                    self._verify(row, example, [text])
                return alone
            ids = [*prompt, *answer]
            spans.append((len(prompt), len(ids)))
        whole = Example(ids, spans)
        self._verify(row, whole, texts)
        return [whole]

    def _verify(self, row: Row, example: Example, texts: Sequence[str]) -> None:
        """What is learned must read as the assistant's text and its end of turn, and as nothing else."""
        if len(example.spans) != len(texts):
            raise ValueError(f"{row.place}: {len(texts)} answers, but {len(example.spans)} are learned")
        for (start, end), text in zip(example.spans, texts, strict=True):
            self._compare(row, self._decode(example.ids[start:end]), text)
        learned_count = sum(label != IGNORED for label in example.labels)
        if learned_count != sum(end - start for start, end in example.spans) or learned_count == 0:
            raise ValueError(f"{row.place}: spans of what is learned overlap, or are empty")

    def _compare(self, row: Row, learned: str, text: str) -> None:
        wanted = self._normalised(text) + self.end
        # SentencePiece puts a space before the first word; it is no part of the text.
        if learned != wanted and learned.lstrip(" ") != wanted.lstrip(" "):
            raise ValueError(f"{row.place}: the tokenizer does not give the answer back: {_around(learned, wanted)}")

    def _refuse(self, row: Row, messages: Sequence[dict[str, str]]) -> None:
        for number, message in enumerate(messages, 1):
            if hit := next((token for token in self.specials if token in message["content"]), None):
                raise ValueError(
                    f"{row.place}: message {number} ({message['role']}) holds {hit!r}, a special token of the model, "
                    "which would end or begin a turn; take it out of the text"
                )
        if messages[0]["role"] == "system" and not self._system:
            raise ValueError(
                f"{row.place}: the chat template leaves the system message out; put its text into the first question, "
                "or --template FILE"
            )

    def _prompts_of(self, turns: Sequence[tuple[Row, list[dict[str, str]], int]]) -> list[str]:
        from jinja2 import TemplateError

        if not turns:
            return []
        try:
            return self._texts([messages[:number] for _, messages, number in turns])
        except TemplateError as all_together:
            for row, messages, number in turns:
                try:
                    self._texts([messages[:number]])
                except TemplateError as error:
                    raise ValueError(f"{row.place}: the chat template refuses it: {error}") from error
            raise ValueError(f"the chat template fails: {all_together}") from all_together

    def _texts(self, several: Sequence[Sequence[dict[str, str]]]) -> list[str]:
        found = self.tokenizer.apply_chat_template(list(several), add_generation_prompt=True, tokenize=False)
        return [str(text) for text in found]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        # verbose=False: a row longer than the model's context is this project's business, and is told of in the plan.
        encoded = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)
        return [list(ids) for ids in encoded["input_ids"]]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _normalised(self, text: str) -> str:
        """The text as the tokenizer takes it in: NFC for Qwen; SentencePiece's signs for spaces are spaces again."""
        if self._normalizer is None:
            return text
        found = str(self._normalizer.normalize_str(text))
        return found if WORD_START in text else found.replace(WORD_START, " ")

    def _probed(self, model: str) -> tuple[str, str]:
        """A question as it is asked, and with its answer behind it. Raises ValueError where either loses text."""
        from jinja2 import TemplateError

        turns = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _ANSWER}]
        try:
            (prompt,) = self._texts([turns[:1]])
            whole = str(self.tokenizer.apply_chat_template(turns, tokenize=False))
        except TemplateError as error:
            raise ValueError(
                f"{model}: its chat template fails on a question and an answer ({error}); --template chatml"
            ) from error
        for text, role, rendered in ((_QUESTION, "user", prompt), (_ANSWER, "assistant", whole)):
            if text not in rendered:
                raise ValueError(
                    f"{model}: its chat template leaves out what the {role} says; --template chatml, or the file of one"
                )
        return prompt, whole

    def _keeps_system(self) -> bool:
        """Whether a system message is in the prompt; one that the template refuses is refused row by row."""
        from jinja2 import TemplateError

        try:
            (found,) = self._texts([[{"role": "system", "content": _ANSWER}, {"role": "user", "content": _QUESTION}]])
        except TemplateError:
            return True
        return _ANSWER in found

    def _end_of_turn(self, whole: str, model: str) -> str:
        behind = whole.rpartition(_ANSWER)[2].lstrip()
        if found := max((token for token in self.specials if behind.startswith(token)), key=len, default=""):
            return found
        if self.tokenizer.eos_token is None:
            raise ValueError(
                f"{model}: neither its chat template nor its tokenizer ends a turn, so the model would never stop; "
                "--template chatml does"
            )
        return str(self.tokenizer.eos_token)


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids two sequences begin with together.

    >>> shared([7, 8, 9], [7, 8, 5, 9])
    2
    """
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def special_tokens(tokenizer: Any) -> list[str]:
    """The tokens that are no text: what begins and ends turns and documents, and pads."""
    added = tokenizer.added_tokens_decoder.values()
    return sorted({str(token) for token in added if token.special} | set(tokenizer.all_special_tokens))


def _around(learned: str, wanted: str) -> str:
    """Both texts from a little before where they part."""
    place = next((n for n, (a, b) in enumerate(zip(learned, wanted, strict=False)) if a != b), 0)
    start = max(0, place - 10)
    return f"{learned[start : place + 20]!r} for {wanted[start : place + 20]!r}"
