"""Messages as token ids, with what is learned of them: prompts as inference sees them, then answer and end of turn.

The loss mask is made by construction, never found again in a rendered text: prompt ids come from the chat template as
it renders them for generation, the answer's ids are put behind. Then every row is decoded and compared with its text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.rows import Row

IGNORED = -100  # label of a token that is not learned
CHATML = (
    "{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)
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
    """Renders conversations for one tokenizer. Raises ValueError where its template ends no turn.

    `end` is what follows an answer: the special token that the template puts there, else the tokenizer's own end.
    """

    def __init__(self, tokenizer: Any, model: str) -> None:
        if not tokenizer.chat_template:
            raise ValueError(
                f"{model}: its tokenizer has no chat template, so a conversation cannot be rendered; "
                "--template chatml gives it one"
            )
        self.tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.values()
        self.specials = sorted({str(token) for token in added if token.special} | set(tokenizer.all_special_tokens))
        self.end = self._end_of_turn(model)
        self._normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)

    def prompts(self, several: Sequence[Sequence[dict[str, str]]]) -> list[list[int]]:
        """Token ids of conversations so far, exactly as inference asks for the next answer."""
        texts = self.tokenizer.apply_chat_template(list(several), add_generation_prompt=True, tokenize=False)
        return self._encode(texts)

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
            self._refuse_specials(row, messages)
        prompts = iter(self._prompts_of(turns))
        answers = iter(self._encode([messages[number]["content"] + self.end for _, messages, number in turns]))
        for row, messages in rows:
            count = sum(message["role"] == "assistant" for message in messages)
            pieces = [(next(prompts), next(answers)) for _ in range(count)]
            texts = [message["content"] for message in messages if message["role"] == "assistant"]
            yield self._examples(row, pieces, texts)

    def pair(self, row: Row, prompt: list[dict[str, str]], reply: list[dict[str, str]]) -> int:
        """Tokens of a prompt with a reply, as a preference trainer renders both.

        Raises ValueError, naming the row, unless the prompt's ids begin the whole and the reply's text ends it.
        """
        self._refuse_specials(row, [*prompt, *reply])
        (asked,) = self._prompts_of([(row, [*prompt, *reply], len(prompt))])
        text = self.tokenizer.apply_chat_template([*prompt, *reply], tokenize=False)
        (whole,) = self._encode([text])
        learned = self._decode(whole[len(asked) :]).rstrip()
        wanted = self._normalised(reply[0]["content"]).strip()
        if whole[: len(asked)] != asked or not learned.removesuffix(self.end).rstrip().endswith(wanted):
            raise ValueError(f"{row.place}: the chat template does not render the reply behind its prompt")
        return len(whole)

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
            learned, wanted = self._decode(example.ids[start:end]), self._normalised(text) + self.end
            # SentencePiece puts a space before the first word; it is no part of the text.
            if learned not in (wanted, f" {wanted}") and learned.lstrip(" ") != wanted.lstrip(" "):
                raise ValueError(
                    f"{row.place}: the tokenizer does not give the answer back: {_around(learned, wanted)}"
                )
        learned_count = sum(label != IGNORED for label in example.labels)
        if learned_count != sum(end - start for start, end in example.spans) or learned_count == 0:
            raise ValueError(f"{row.place}: spans of what is learned overlap, or are empty")

    def _refuse_specials(self, row: Row, messages: Sequence[dict[str, str]]) -> None:
        for number, message in enumerate(messages, 1):
            if hit := next((token for token in self.specials if token in message["content"]), None):
                raise ValueError(
                    f"{row.place}: message {number} ({message['role']}) holds {hit!r}, a special token of the model, "
                    "which would end or begin a turn; take it out of the text"
                )

    def _prompts_of(self, turns: Sequence[tuple[Row, list[dict[str, str]], int]]) -> list[list[int]]:
        from jinja2 import TemplateError

        if not turns:
            return []
        try:
            return self.prompts([messages[:number] for _, messages, number in turns])
        except TemplateError as all_together:
            for row, messages, number in turns:
                try:
                    self.prompts([messages[:number]])
                except TemplateError as error:
                    raise ValueError(f"{row.place}: the chat template refuses it: {error}") from error
            raise ValueError(f"the chat template fails: {all_together}") from all_together

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        # verbose=False: a row longer than the model's context is this project's business, and is told of in the plan.
        encoded = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)
        return [list(ids) for ids in encoded["input_ids"]]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _normalised(self, text: str) -> str:
        """The text as the tokenizer takes it in: NFC for Qwen."""
        return self._normalizer.normalize_str(text) if self._normalizer is not None else text

    def _end_of_turn(self, model: str) -> str:
        probe = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "PROBE"}]
        behind = self.tokenizer.apply_chat_template(probe, tokenize=False).rpartition("PROBE")[2].lstrip()
        if found := max((token for token in self.specials if behind.startswith(token)), key=len, default=""):
            return found
        if self.tokenizer.eos_token is None:
            raise ValueError(
                f"{model}: neither its chat template nor its tokenizer ends a turn, so the model would never stop; "
                "--template chatml does"
            )
        return str(self.tokenizer.eos_token)


def _around(learned: str, wanted: str) -> str:
    """Both texts from a little before where they part."""
    place = next((n for n, (a, b) in enumerate(zip(learned, wanted, strict=False)) if a != b), 0)
    start = max(0, place - 10)
    return f"{learned[start : place + 20]!r} for {wanted[start : place + 20]!r}"
