"""Chat templates as real models have them (TRL ships them): what is asked, and what is learned behind it."""

from __future__ import annotations

import random
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests import small
from tests.pipelines.command import here
from tests.trainers.conftest import PAIRS, says, user, write_rows
from tests.trainers.test_render import ROW, conversation_of
from trainers.render import IGNORED, Renderer
from trainers.rows import Row

MARKS = r"<[|｜][^<>|｜ ]+[|｜]>|<(?:start|end)_of_turn>|\[gMASK\]|<sop>"
THOUGHT = "<think>\n先问病史\n</think>\n\n多饮水。"
OPENED = ("qwen3_5_think", "qwen3_6", "deepseek_r1_distill", "deepseekv3", "nemotron_3_nano")
NAMES = (
    *("qwen2_5", "qwen3", "qwen3_instruct_2507", "llama3", "llama3_1", "llama3_2", "gemma", "gemma3", "glm4moe"),
    *("phi3", "cohere", "cohere2", "lfm2"),
    *OPENED,
)


def templates() -> Path:
    found = find_spec("trl")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "chat_templates"


def tokenizer_of(name: str) -> Any:
    """The small tokenizer with a model's template and the special tokens that stand in it."""
    template = (templates() / f"{name}.jinja").read_text(encoding="utf-8")
    made = small.tokenizer(template, end="<|endoftext|>")
    known = made.get_vocab()
    more = [token for token in sorted(set(re.findall(MARKS, template))) if token not in known]
    made.add_special_tokens({"bos_token": "<bos>", "extra_special_tokens": more}, replace_extra_special_tokens=False)
    made.add_tokens(["<think>", "</think>"])
    return made


def learned(renderer: Renderer, labels: list[int]) -> str:
    return str(renderer.tokenizer.decode([label for label in labels if label != IGNORED]))


def plain(draw: random.Random) -> list[dict[str, str]]:
    """A conversation without a system message, which some templates refuse."""
    return [message for message in conversation_of(draw, draw.randint(1, 3)) if message["role"] != "system"]


@pytest.mark.parametrize("name", NAMES)
def test_a_models_own_template_is_learned_to_the_letter(name: str):
    renderer = Renderer(tokenizer_of(name), name)
    draw = random.Random(name)
    for _ in range(40):
        messages = plain(draw)
        (made,) = renderer.conversations([(ROW, messages)])
        answers = [message["content"] for message in messages if message["role"] == "assistant"]
        assert "".join(learned(renderer, one.labels) for one in made) == "".join(
            renderer.answer(text) + renderer.end for text in answers
        )
        asked = [messages[:n] for n, message in enumerate(messages) if message["role"] == "assistant"]
        spans = [(one, start) for one in made for start, _ in one.spans]
        for (one, start), turns in zip(spans, asked, strict=True):
            rendered = renderer.tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)
            assert one.ids[:start] == rendered["input_ids"]


@pytest.mark.parametrize("name", OPENED)
def test_thinking_that_the_prompt_begins_is_ended_before_an_answer_without(name: str):
    """The model would else learn to answer inside its thoughts, where nobody reads."""
    renderer = Renderer(tokenizer_of(name), name)
    said = {}
    for content in ("多饮水。", THOUGHT, THOUGHT.removeprefix("<think>\n")):
        ((example,),) = renderer.conversations([(ROW, [user("感冒"), says(content)])])
        text = renderer.tokenizer.decode(example.ids)
        assert (text.count("<think>"), text.count("</think>")) == (1, 1)
        said[content] = learned(renderer, example.labels).removesuffix(renderer.end)
    assert said["多饮水。"] == "\n</think>\n\n多饮水。"
    assert {said[THOUGHT], said[THOUGHT.removeprefix("<think>\n")]} == {"先问病史\n</think>\n\n多饮水。"}


@pytest.mark.parametrize("name", ["qwen3", "glm4moe", *OPENED])
def test_earlier_thoughts_are_left_out_as_the_template_does(name: str):
    renderer = Renderer(tokenizer_of(name), name)
    (made,) = renderer.conversations([(ROW, [user("感冒"), says(THOUGHT), user("还有呢"), says("休息。")])])
    assert len(made) == 2
    assert "先问病史" in learned(renderer, made[0].labels)
    assert "先问病史" not in renderer.tokenizer.decode(made[1].ids)


@pytest.mark.parametrize("name", NAMES)
def test_replies_stand_behind_the_prompt_that_inference_gives(name: str):
    renderer = Renderer(tokenizer_of(name), name)
    prompt = [user("感冒"), says("多饮水。"), user("还有呢")]
    for content in ("休息。", "\n休息。 ", THOUGHT):
        made = renderer.reply(ROW, prompt, [says(content)])
        text = renderer.tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        assert made.prompt == text
        assert renderer.tokenizer.decode(made.ids) == text + renderer.answer(content) + renderer.end
        assert renderer.tokenizer.decode(made.ids[made.start :]).lstrip() == made.text.lstrip()


def test_text_that_a_template_leaves_out_is_told():
    vision = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for part in m['content'] %}{{ part['text'] }}"
        "{% endfor %}<|im_end|>\n{% endfor %}"
    )
    with pytest.raises(ValueError, match="leaves out what the user says"):
        Renderer(small.tokenizer(vision), "vision")
    with pytest.raises(ValueError, match="its chat template fails on a question and an answer"):
        Renderer(small.tokenizer("{{ bos_token + messages[0]['content'] }}"), "begins")
    silent = "{%- if messages[0]['role'] == 'system' %}{%- set messages = messages[1:] %}{%- endif %}" + small.CHATML
    renderer = Renderer(small.tokenizer(silent), "silent")
    talk = [user("问"), says("答")]
    assert len(list(renderer.conversations([(ROW, talk)]))) == 1
    with pytest.raises(ValueError, match=r"sft\.jsonl:7: the chat template leaves the system message out"):
        list(renderer.conversations([(ROW, [{"role": "system", "content": "你是医生"}, *talk])]))


def test_a_prompt_is_looked_at_as_a_conversation_is():
    renderer = Renderer(tokenizer_of("gemma"), "gemma")
    turns = [[user("q")], [{"role": "system", "content": "s"}, user("q")]]
    with pytest.raises(ValueError, match=r"a:2: the chat template refuses it: System role not supported"):
        renderer.asked([(Row(f"a:{number}", {}), turn) for number, turn in enumerate(turns, 1)])
    with pytest.raises(ValueError, match=r"a:1: message 1 \(user\) holds '<end_of_turn>'"):
        renderer.asked([(Row("a:1", {}), [user("q<end_of_turn>")])])


ZEPHYR = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)


SPACES = [(spaces, ZEPHYR) for spaces in ("normalizer", "first", "always", "never", "gemma")]


@pytest.mark.parametrize(("spaces", "template"), [*SPACES, ("normalizer", MISTRAL), ("first", MISTRAL)])
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_sentencepiece_with_bytes_for_what_it_does_not_know(kind: str, spaces: str, template: str):
    tokenizer = small.sentencepiece(kind, spaces, template)
    renderer = Renderer(tokenizer, kind)
    talk = [user("高血压 怎么办？"), says("低盐饮食，龘😀 twice a day。"), user("a  b"), says("先 休息")]
    (made,) = renderer.conversations([(ROW, talk)])
    answers = [f"{text}</s>" for text in ("低盐饮食，龘😀 twice a day。", "先 休息")]
    spans = [one.ids[start:end] for one in made for start, end in one.spans]
    assert [tokenizer.decode(ids).strip() for ids in spans] == answers
    asked = tokenizer.apply_chat_template(talk[:1], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert made[0].ids[: made[0].spans[0][0]] == asked
    # One example: what was answered reads in the next prompt as it was learned.
    assert len(made) == 1
    whole = tokenizer.apply_chat_template(talk, return_dict=True)["input_ids"]
    assert made[0].ids == whole[: len(made[0].ids)]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["dpo", "orpo", "kto"])
def test_what_is_compared_is_what_was_shown(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The ids that reach the trainer, of a model whose prompts begin to think; its template is saved as it was."""
    from trainers import probe

    tokenizer = tokenizer_of("qwen3_5_think")
    small.model(words=len(tokenizer)).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    seen = []
    made = probe.trainer_of

    def noted(*args: Any) -> tuple[Any, Any]:
        trainer, tokenizer = made(*args)
        seen.append(trainer.train_dataset[0])
        return trainer, tokenizer

    monkeypatch.setattr(probe, "trainer_of", noted)
    rows = write_rows(tmp_path / "pairs.jsonl", PAIRS[:2])
    words = ["train", rows, "--stage", stage, "--model", tmp_path / "model", "--out", tmp_path / "run"]
    done = here(*words, "--max-steps", 1, "--quiet")
    assert done.code == 0, done.stderr
    row = seen[0]
    replies = [name for name in ("completion", "chosen", "rejected") if f"{name}_ids" in row or f"{name}_labels" in row]
    for name in replies:
        text = tokenizer.decode(
            [label for label in row[f"{name}_labels"] if label != IGNORED]
            if f"{name}_labels" in row
            else row[f"{name}_ids"]
        )
        answer = "多吃盐。" if name == "rejected" else "低盐饮食。"
        assert text.lstrip() == f"</think>\n\n{answer}<|im_end|>"
    assert replies
    prompt = row["prompt_input_ids"] if "prompt_input_ids" in row else row["prompt_ids"]
    assert tokenizer.decode(prompt).endswith("assistant\n<think>\n")
    assert "<bos>" not in tokenizer.decode(prompt)
    assert (tmp_path / "run" / "chat_template.jinja").read_text(encoding="utf-8") == tokenizer.chat_template
    checkpoint = tmp_path / "run" / "checkpoint-1" / "chat_template.jinja"
    assert checkpoint.read_text(encoding="utf-8") == tokenizer.chat_template
    shown = here(*words[:-1], tmp_path / "other", "--inspect", 1).stdout
    assert shown.count("【") == 2
    assert all(f"pairs.jsonl:1: {name}" in shown for name in replies)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["thinking", "sentencepiece"])
def test_a_model_answers_as_it_was_trained_to(kind: str, tmp_path: Path):
    """From rows to replies, where the prompt begins to think and where texts begin with a space."""
    tokenizer = tokenizer_of("qwen3_5_think") if kind == "thinking" else small.sentencepiece("bpe", "first", MISTRAL)
    small.model(words=len(tokenizer), hidden=64).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    talks = [("高血压怎么办？", "低盐饮食，定期测量血压。"), ("What is first line?", "Metformin.")]
    rows = write_rows(tmp_path / "rows.jsonl", [{"messages": [user(q), says(a)]} for q, a in talks])
    words = ["--epochs", 150, "--learning-rate", "1e-2", "--batch-size", 2, "--quiet"]
    done = here("train", rows, "--model", tmp_path / "model", "--out", tmp_path / "run", *words)
    assert done.code == 0, done.stderr
    asked = write_rows(tmp_path / "asked.jsonl", [{"question": question} for question, _ in talks])
    answers = tmp_path / "answers.parquet"
    done = here("chat", tmp_path / "run", "--input", asked, "--out", answers, "--max-tokens", 60, "--quiet")
    assert done.code == 0, done.stderr
    found = pq.read_table(answers)["messages"].to_pylist()
    assert [messages[-1]["content"] for messages in found] == [answer for _, answer in talks]
