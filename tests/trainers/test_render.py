"""What is learned of a conversation: the assistant's words and their end, exactly; whatever the template does."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import small
from tests.trainers.conftest import says, user
from trainers.render import CHATML, IGNORED, Renderer, use_template
from trainers.rows import Row
from trainers.show import shown

# Rare characters of several byte-level tokens, emoji with joiners, code, white space that merges with a template's own.
SIGNS = [
    *"高血压糖尿病龘𠮷é，。？！\n\t <>|{}[]'\"\\",
    "😀",
    "👩‍⚕️",
    "\n\n",
    "  ",
    "def f(x):\n    return x",
    "阿莫西林0.5g",
    "</s>",
]
LLAMA3 = (
    "{{ '<|endoftext|>' }}{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n\n' + "
    "message['content'] | trim + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n\n' }}{% endif %}"
)
ROW = Row("sft.jsonl:7", {})


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(small.tokenizer(), "tiny")


def conversation_of(draw: random.Random, turns: int) -> list[dict[str, str]]:
    def text() -> str:
        return "".join(draw.choice(SIGNS) for _ in range(draw.randint(1, 25))) + draw.choice(
            ["x", "龘", "😀", "。\n", "x "]
        )

    start = [{"role": "system", "content": text()}] if draw.random() < 0.5 else []
    return start + [message for _ in range(turns) for message in (user(text()), says(text()))]


def learned(renderer: Renderer, labels: list[int]) -> str:
    return renderer.tokenizer.decode([label for label in labels if label != IGNORED])


def check(renderer: Renderer, messages: list[dict[str, str]]) -> None:
    """All that the mask promises, told from the outside: by the labels, and by what inference is given."""
    (made,) = renderer.conversations([(ROW, messages)])
    answers = [message["content"] + renderer.end for message in messages if message["role"] == "assistant"]
    assert "".join(learned(renderer, example.labels) for example in made) == "".join(answers)
    prompts = [
        renderer.tokenizer.apply_chat_template(messages[:n], add_generation_prompt=True, return_dict=True)["input_ids"]
        for n, message in enumerate(messages)
        if message["role"] == "assistant"
    ]
    spans = [(example, span) for example in made for span in example.spans]
    assert len(spans) == len(prompts)
    for (example, (start, _)), prompt in zip(spans, prompts, strict=True):
        assert example.ids[:start] == prompt
    for example in made:
        assert all(label in (IGNORED, token) for token, label in zip(example.ids, example.labels, strict=True))


@pytest.mark.parametrize("template", [small.CHATML, small.THINKING, LLAMA3], ids=["chatml", "thinking", "trimming"])
def test_two_thousand_conversations_are_learned_to_the_letter(template: str):
    renderer = Renderer(small.tokenizer(template), "tiny")
    draw = random.Random(6)
    for _ in range(700):
        check(renderer, conversation_of(draw, draw.randint(1, 4)))


@settings(max_examples=100)
@given(
    st.lists(st.text(min_size=1, max_size=40).filter(str.strip), min_size=2, max_size=6).filter(
        lambda t: len(t) % 2 == 0
    )
)
def test_any_text_is_learned_to_the_letter(texts: list[str]):
    renderer = Renderer(small.tokenizer(), "tiny")
    messages = [user(text) if n % 2 == 0 else says(text) for n, text in enumerate(texts)]
    if not any(token in text for text in texts for token in renderer.specials):
        check(renderer, messages)


def test_user_text_never_changes_what_is_learned(renderer: Renderer):
    one, other = (
        next(renderer.conversations([(ROW, [user(text), says("多饮水。龘")])]))[0]
        for text in ("感冒", "发烧三天，咳嗽")
    )
    assert [one.ids[slice(*span)] for span in one.spans] == [other.ids[slice(*span)] for span in other.spans]


def test_a_thinking_template_gives_an_example_a_turn():
    renderer = Renderer(small.tokenizer(small.THINKING), "tiny")
    thought = "<think>\n先问病史\n</think>\n\n多饮水。"
    messages = [user("感冒"), says(thought), user("还有呢"), says("休息。")]
    (made,) = renderer.conversations([(ROW, messages)])
    assert [learned(renderer, example.labels) for example in made] == [f"{thought}<|im_end|>", "休息。<|im_end|>"]
    assert "先问病史" not in renderer.tokenizer.decode(made[1].ids)
    assert "感冒" in renderer.tokenizer.decode(made[1].ids)
    check(renderer, messages)


def test_a_question_cannot_end_a_turn(renderer: Renderer):
    for role, messages in (
        ("user", [user("好<|im_end|>吗"), says("好")]),
        ("assistant", [user("好吗"), says("好<|pad|>")]),
    ):
        with pytest.raises(ValueError, match=rf"sft\.jsonl:7: message . \({role}\) holds '<\|"):
            list(renderer.conversations([(ROW, messages)]))


def test_a_token_that_loses_text_is_found(renderer: Renderer):
    """A tokenizer that does not give the answer back: the row is an error, not a wrong label."""
    from tokenizers import Regex, Tokenizer, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    lossy = Tokenizer.from_str(renderer.tokenizer.backend_tokenizer.to_str())
    lossy.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex("血"), "removed"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=lossy, eos_token="<|im_end|>")
    tokenizer.chat_template = CHATML
    with pytest.raises(ValueError, match=r"sft\.jsonl:7: the tokenizer does not give the answer back"):
        list(Renderer(tokenizer, "lossy").conversations([(ROW, [user("问"), says("高血压")])]))


def test_text_is_compared_as_the_tokenizer_normalises_it():
    from tokenizers import Tokenizer, normalizers
    from transformers import PreTrainedTokenizerFast

    composing = Tokenizer.from_str(small.tokenizer().backend_tokenizer.to_str())
    composing.normalizer = normalizers.NFC()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=composing, eos_token="<|im_end|>")
    tokenizer.chat_template = CHATML
    (made,) = Renderer(tokenizer, "nfc").conversations([(ROW, [user("q"), says("cafe\u0301")])])
    assert tokenizer.decode([x for x in made[0].labels if x != IGNORED]) == "caf\u00e9<|im_end|>"


def test_the_end_of_a_turn_is_the_templates_own():
    assert Renderer(small.tokenizer(end="<|endoftext|>"), "tiny").end == "<|im_end|>"
    plain = "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    assert Renderer(small.tokenizer(plain, end="<|endoftext|>"), "tiny").end == "<|endoftext|>"
    with pytest.raises(ValueError, match="never stop"):
        Renderer(small.tokenizer(plain, end=None), "tiny")


def test_no_double_beginning_of_text():
    renderer = Renderer(small.tokenizer(LLAMA3), "tiny")
    (made,) = renderer.conversations([(ROW, [user("a"), says("b"), user("c"), says("d")])])
    begin = renderer.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert len(made) == 1
    assert made[0].ids.count(begin) == 1


def test_a_template_is_offered_where_there_is_none():
    tokenizer = small.tokenizer(None)
    with pytest.raises(ValueError, match="--template chatml"):
        Renderer(tokenizer, "base")
    use_template(tokenizer, "chatml", "base")
    check(Renderer(tokenizer, "base"), [user("高血压"), says("低盐")])
    with pytest.raises(ValueError, match=r"--template mine: chatml or the file"):
        use_template(tokenizer, "mine", "base")


def test_inspect_shows_every_token_and_marks_what_is_learned(renderer: Renderer):
    ((example,),) = renderer.conversations([(ROW, [user("高血压"), says("低盐😀")])])
    plain = shown(renderer.tokenizer, example.ids, example.spans, colour=False)
    assert plain.count("【") == 1
    assert plain.split("【")[1].split("】")[0].replace("|", "") == "低盐😀<im_end>"
    assert "高血压" in plain.split("【")[0].replace("|", "")
    assert "\x1b[1;32m" in shown(renderer.tokenizer, example.ids, example.spans, colour=True)


def test_inspect_shows_what_a_terminal_would_hide_or_obey(renderer: Renderer):
    ((example,),) = renderer.conversations([(ROW, [user("a\u202eb\x1b[2J"), says("c\u200bd\0 👩‍⚕️")])])
    plain = shown(renderer.tokenizer, example.ids, example.spans, colour=False).replace("|", "")
    assert r"a\u202eb\x1b[2J" in plain
    assert r"c\u200bd\x00 👩‍⚕️" in plain


def test_a_conversation_of_many_roles_is_refused_by_its_template():
    strict = small.CHATML.replace(
        "{%- for", "{%- if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{%- endif %}{%- for", 1
    )
    renderer = Renderer(small.tokenizer(strict), "tiny")
    rows: list[tuple[Row, Any]] = [
        (Row("a:1", {}), [user("q"), says("a")]),
        (Row("a:2", {}), [{"role": "system", "content": "s"}, user("q"), says("a")]),
    ]
    with pytest.raises(ValueError, match="a:2: the chat template refuses it: no system"):
        list(renderer.conversations(rows))
