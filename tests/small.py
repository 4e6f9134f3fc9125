"""Tiny models and a tokenizer made on the spot, shaped as Qwen3 and Llama are: nothing is fetched from a hub."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

CHATML = (
    "{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)
# As Qwen3: what the assistant thought is taken out of all turns but the last.
THINKING = (
    "{%- for message in messages %}{%- set text = message['content'] %}"
    "{%- if message['role'] == 'assistant' and not loop.last and '</think>' in text %}"
    "{%- set text = text.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + text + '<|im_end|>\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)
LINES = (
    "高血压患者应当低盐饮食，定期测量血压。",
    "What is the first line therapy for type 2 diabetes? Metformin.",
    "感冒发烧三天，咳嗽有痰，应该怎么办？建议多饮水，必要时就医。",
)


@cache
def _trained(lines: tuple[str, ...], words: int = 400) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    learn = trainers.BpeTrainer(
        vocab_size=words, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(lines * 4, learn)
    return tokenizer


def tokenizer(
    template: str | None = CHATML, *, end: str | None = "<|im_end|>", lines: tuple[str, ...] = LINES, words: int = 400
) -> Any:
    """A byte-level tokenizer of so many tokens, learned from a few lines."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    copied = Tokenizer.from_str(_trained(lines, words).to_str())
    made = PreTrainedTokenizerFast(tokenizer_object=copied, eos_token=end, pad_token="<|pad|>", model_max_length=4096)
    made.chat_template = template
    return made


def sentencepiece(kind: str, spaces: str, template: str) -> Any:
    """A tokenizer as Llama 2's (`bpe`) or Yi's (`unigram`), where what is not known is bytes.

    `spaces` says what makes them ▁: a normalizer, Gemma's normalizer, or Metaspace before the first word, all, or none.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>"]
    bytes_too = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    if kind == "bpe":
        made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        learn = trainers.BpeTrainer(vocab_size=400, special_tokens=bytes_too, show_progress=False)
    else:
        made = Tokenizer(models.Unigram([("<unk>", 0.0)], unk_id=0, byte_fallback=True))
        learn = trainers.UnigramTrainer(
            vocab_size=400, special_tokens=bytes_too, unk_token="<unk>", show_progress=False
        )
    begins = [decoders.Strip(" ", 1, 0)]
    if spaces == "normalizer":
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    elif spaces == "gemma":
        made.normalizer, begins = normalizers.Replace(" ", "▁"), []
    else:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=spaces)
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *begins])
    made.train_from_iterator(LINES * 4, learn)
    content = json.loads(made.to_str())
    content["added_tokens"] = [one for one in content["added_tokens"] if one["content"] in special]
    content["model"]["byte_fallback"] = True  # the trainer of Unigram forgets it
    whole = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=4096,
    )
    whole.chat_template = template
    return whole


def model(
    kind: str = "qwen3", *, words: int = 0, hidden: int = 32, context: int = 512, seed: int = 0, tied: bool = True
) -> Any:
    """A model of two layers with random weights; a Qwen3 whose tables are not `tied` says more than one token."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    tokens = tokenizer()
    shape = {
        "vocab_size": words or len(tokens),
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
        "pad_token_id": tokens.pad_token_id,
        "eos_token_id": tokens.eos_token_id,
        "bos_token_id": None,
    }
    torch.manual_seed(seed)
    if kind == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(head_dim=hidden // 4, tie_word_embeddings=tied, **shape))
    return LlamaForCausalLM(LlamaConfig(**shape))


def save(folder: Path, kind: str = "qwen3", template: str | None = CHATML, **shape: Any) -> Path:
    """A folder with model and tokenizer, as `--model` takes it."""
    model(kind, **shape).save_pretrained(folder)
    tokenizer(template).save_pretrained(folder)
    return folder


def adapter(folder: Path, base: Path, *, seed: int = 1) -> Path:
    """A folder as a run leaves it that trained an adapter, with weights that change what the base says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    torch.manual_seed(seed)
    for name, weights in adapted.named_parameters():
        if "lora_" in name:
            weights.data.normal_(std=0.2)
    adapted.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder
