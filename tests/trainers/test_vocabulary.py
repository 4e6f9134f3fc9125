"""New tokens of a corpus: shorter text, nothing lost, embeddings that are the means of what they were."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

import trainers.vocabulary as vocabulary
from tests import small
from tests.pipelines.command import here
from trainers.vocabulary import extend, texts_of

SENTENCES = [
    "慢性阻塞性肺疾病患者应当戒烟，并接种流感疫苗。",
    "糖尿病视网膜病变需要定期检查眼底。",
    "慢性阻塞性肺疾病急性加重期使用支气管舒张剂。",
    "Chronic obstructive pulmonary disease is treated with bronchodilators.",
    "剂量为 100 mg，每日 2 次。",
]
OTHERS = ["慢性阻塞性肺疾病是什么？", "与原文无关的句子😀 café 𠮷", "<b>html</b> 10⁹/L\n\t", " obstructive", ""]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.parquet"
    pq.write_table(pa.table({"text": SENTENCES * 8}), path, row_group_size=7)
    return path


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def pair(request: pytest.FixtureRequest, corpus: Path, tmp_path_factory: pytest.TempPathFactory):
    """Old tokenizer and embeddings, new tokenizer and model, the new tokens."""
    folder = small.save(tmp_path_factory.mktemp("model"), tied=request.param)
    old, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    before = [model.get_input_embeddings().weight.clone(), model.get_output_embeddings().weight.clone()]
    new, tokens = extend(model, old, corpus, 150)
    return old, before, new, model, tokens


def test_old_text_reads_back_as_it_was(pair):
    _, _, new, _, _ = pair
    for text in [*SENTENCES, *OTHERS]:
        assert new.decode(new(text)["input_ids"]) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_reads_back(corpus: Path, text: str):
    assert made(corpus).decode(made(corpus)(text, add_special_tokens=False)["input_ids"]) == text


_MADE: list[PreTrainedTokenizerFast] = []


def made(corpus: Path) -> PreTrainedTokenizerFast:
    if not _MADE:
        folder = small.save(corpus.parent / "for-any-text")
        _MADE.append(
            extend(AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), corpus, 60)[0]
        )
    return _MADE[0]


def test_chinese_of_the_corpus_takes_fewer_tokens(pair):
    old, _, new, _, tokens = pair
    for text in SENTENCES[:4]:
        assert len(new(text)["input_ids"]) < 0.5 * len(old(text)["input_ids"])
    assert any("慢性" in token for token in tokens)
    assert len(tokens) == len(new) - len(old) == 150


def test_old_tokens_keep_their_numbers_and_digits_stay_apart(pair):
    old, _, new, _, tokens = pair
    assert new.get_vocab().items() >= old.get_vocab().items()
    assert new.convert_tokens_to_ids("<|im_end|>") == old.convert_tokens_to_ids("<|im_end|>") == new.eos_token_id
    assert new("<|im_start|>")["input_ids"] == old("<|im_start|>")["input_ids"]
    assert new.chat_template == small.CHATML and new.pad_token == old.pad_token
    assert not any(sign.isdigit() or sign in "，。.：" for token in tokens for sign in token)


@pytest.mark.parametrize("spaces", ["normalizer", "first", "gemma"])
def test_sentencepiece_learns_characters_that_were_bytes_and_nothing_across_words(spaces: str):
    """As Llama 2: what it did not know is bytes, and a text is cut nowhere before it is merged."""
    old = small.sentencepiece("bpe", spaces, small.CHATML)
    text = "龘齉患者 twice a day 应当低盐饮食。100 mg，𠮷"
    added = vocabulary.new_tokens(old, [text] * 10, 60)
    new = vocabulary.with_tokens(old, added)
    before, after = (made(text, add_special_tokens=False)["input_ids"] for made in (old, new))
    assert len(after) < len(before) - 8
    assert new.decode(after) == old.decode(before)
    assert {"龘", "齉", "𠮷"} <= {one.token for one in added}
    assert not any("▁" in one.token[1:] or any(map(str.isdigit, one.token)) for one in added)
    # Of what a new token is made, in old tokens, reads as the token does.
    for one in added:
        assert old.decode(one.pieces).strip() == one.token.replace("▁", " ").strip()
    assert len(vocabulary.new_tokens(old, [text] * 10, 2)) == 2


def test_embeddings_are_the_means_of_the_pieces(pair):
    old, before, new, model, _ = pair
    after = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    assert model.config.vocab_size == len(new) == len(after[0])
    merges = json.loads(new.backend_tokenizer.to_str())["model"]["merges"]
    parts = {left + right: (left, right) for left, right in merges}
    known = old.get_vocab()

    def cut(token: str) -> list[int]:
        return [known[token]] if token in known else [piece for part in parts[token] for piece in cut(part)]

    pieces = {id: cut(new.convert_ids_to_tokens(id)) for id in range(len(old), len(new))}
    for old_rows, rows in zip(before, after, strict=True):
        assert torch.equal(rows[: len(old)], old_rows)
        assert all(torch.allclose(rows[id], old_rows[of].mean(dim=0), atol=1e-6) for id, of in pieces.items())


def test_saved_and_loaded_again_is_equal(pair, tmp_path: Path):
    _, _, new, model, _ = pair
    model.save_pretrained(tmp_path)
    new.save_pretrained(tmp_path)
    again, loaded = AutoTokenizer.from_pretrained(tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.get_vocab() == new.get_vocab() and again.chat_template == new.chat_template
    for text in [*SENTENCES, *OTHERS[:-1]]:
        ids = again(text, return_tensors="pt")["input_ids"]
        assert ids.tolist()[0] == new(text)["input_ids"]
        with torch.inference_mode():
            assert torch.equal(loaded.eval()(ids).logits, model.eval()(ids).logits)


def test_it_can_be_extended_again(pair, corpus: Path, tmp_path: Path):
    _, _, new, model, _ = pair
    more, tokens = extend(AutoModelForCausalLM.from_pretrained(saved(new, model, tmp_path)), new, corpus, 5)
    assert len(more) == len(new) + len(tokens) and more.get_vocab().items() >= new.get_vocab().items()
    assert all(more.decode(more(text)["input_ids"]) == text for text in SENTENCES)


def saved(tokenizer, model, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_embeddings_with_room_are_not_made_larger(corpus: Path, tmp_path: Path):
    folder = small.save(tmp_path)
    old, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(len(old) + 100, mean_resizing=False)
    extend(model, old, corpus, 10)
    assert model.config.vocab_size == len(old) + 100


def test_messages_are_a_corpus_too_and_a_large_one_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    turns = [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}]
    pq.write_table(pa.table({"messages": [turns, None, []]}), tmp_path / "m.parquet")
    assert list(texts_of(tmp_path / "m.parquet")) == ["问", "答"]
    monkeypatch.setattr(vocabulary, "MOST_CHARACTERS", 100)
    kept = list(vocabulary._spread(f"{number:02d}" for number in range(90)))
    assert len(kept) <= 50 and kept[0] == "00" and int(kept[-1]) > 80


def test_what_cannot_be_is_said(corpus: Path, tmp_path: Path):
    folder = small.save(tmp_path / "m")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    pq.write_table(pa.table({"answer": ["x"]}), tmp_path / "other.parquet")
    pq.write_table(pa.table({"text": ["一二三"]}), tmp_path / "short.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"no")
    for name, said in (
        ("missing", "no such file"),
        ("other", "`text` or `messages`"),
        ("short", "larger corpus"),
        ("broken", "broken.parquet"),
    ):
        with pytest.raises(ValueError, match=said):
            extend(model, tokenizer, tmp_path / f"{name}.parquet", 5)
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a")))
    with pytest.raises(ValueError, match="BPE"):
        extend(model, words, corpus, 5)


@pytest.mark.parametrize(("method", "tied"), [("full", True), ("lora", True), ("lora", False)])
def test_a_run_learns_the_new_tokens(corpus: Path, tmp_path: Path, method: str, tied: bool):
    base, run = small.save(tmp_path / "model", tied=tied), tmp_path / "run"
    rows = [
        {"messages": [{"role": "user", "content": text[:6]}, {"role": "assistant", "content": text}]}
        for text in SENTENCES
    ]
    file = tmp_path / "sft.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    words = ["train", file, "--model", base, "--out", run, "--extend-vocab", corpus, "--new-tokens", 80]
    words += ["--method", method, "--max-steps", 2, "--learning-rate", 0.01]
    dry = here(*words, "--dry-run")
    assert dry.code == 0 and not run.exists()
    done = here(*words)
    assert done.code == 0, done.stderr
    assert "80 new tokens of corpus.parquet" in done.stderr
    old, new = AutoTokenizer.from_pretrained(base), AutoTokenizer.from_pretrained(run)
    assert len(new) == len(old) + 80 and new.chat_template == small.CHATML
    # What the run began with are the means; what it left has moved, the old rows of an adapter's base have not.
    start = AutoModelForCausalLM.from_pretrained(run / "base")
    if method == "lora":
        assert here("train", "merge", run, "--out", tmp_path / "merged").code == 0
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "merged" if method == "lora" else run)
    for of in ("get_input_embeddings", "get_output_embeddings"):
        moved = (getattr(after, of)().weight != getattr(start, of)().weight).any(dim=1)
        assert moved[len(old) :].any() and (method == "full" or not moved[: len(old)].any())
    again = here(*words)
    assert again.code == 0, again.stderr
    other = here(*words[:-2], "--max-steps", 2, "--new-tokens", 70, "--learning-rate", 0.01)
    assert other.code == 2 and "new_tokens was 80, now 70" in other.line


def test_a_corpus_that_is_not_there_is_said_before_anything_is_made(tmp_path: Path):
    base = small.save(tmp_path / "model")
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n')
    words = ["train", tmp_path / "a.jsonl", "--model", base, "--out", tmp_path / "run"]
    ended = here(*words, "--extend-vocab", tmp_path / "none.parquet")
    assert ended.code == 2 and "none.parquet: no such file" in ended.line and not (tmp_path / "run").exists()
