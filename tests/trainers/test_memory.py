"""Bytes of a step as they are told, against those of all tensors that a step makes: fake ones, at real widths."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from trainers.machine import Model
from trainers.memory import Use, held, most_tokens, passing

LAYERS = 4
# Widths of Qwen3 0.6B, Llama 3 8B, Qwen2.5 7B: hidden, heads, heads of keys, width of one, inner, words, tied
SHAPES = {
    "qwen3": (1024, 16, 8, 128, 3072, 151_936, True),
    "llama": (4096, 32, 8, 128, 14_336, 128_256, False),
    "qwen2": (3584, 28, 4, 128, 18_944, 152_064, False),
}


class Peak(TorchDispatchMode):
    """Bytes of all storages that live, and the most there ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known = set[int]()

    def add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for one in tree_iter(made):
            if isinstance(one, torch.Tensor):
                self.add(one)
        return made


class Kernel(torch.autograd.Function):
    """Keeps what a flash kernel keeps: queries, keys, values, its output, a number a token and head."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any) -> Any:
        made = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, made, query.new_empty(query.shape[:2], dtype=torch.float32))
        return made

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return tuple(torch.empty_like(one) for one in ctx.saved_tensors[:3])


def kernel(
    q: Any, k: Any, v: Any, *_: Any, scale: Any = None, window_size: Any = None, enable_gqa: bool = False
) -> Any:
    return Kernel.apply(q, k, v)


def sizes(kind: str) -> Model:
    hidden, heads, keys, width, inner, words, tied = SHAPES[kind]
    layer = 2 * hidden * width * (heads + keys) + 3 * hidden * inner
    weights = LAYERS * layer + words * hidden * (1 if tied else 2)
    return Model("", weights, hidden, LAYERS, 32_768, kind, heads * width, keys * width, width, inner, words, tied)


def built(kind: str, attention: str, method: str, recomputed: bool) -> Any:
    import transformers
    from trl.trainer.utils import add_fused_lm_head

    hidden, heads, keys, width, inner, words, tied = SHAPES[kind]
    config = getattr(transformers, f"{kind.capitalize()}Config")(
        hidden_size=hidden,
        num_attention_heads=heads,
        num_key_value_heads=keys,
        head_dim=width,
        intermediate_size=inner,
        vocab_size=words,
        tie_word_embeddings=tied,
        num_hidden_layers=LAYERS,
        pad_token_id=0,
    )
    config._attn_implementation = attention
    torch.set_default_dtype(torch.float32 if method == "full" else torch.bfloat16)
    try:
        model = getattr(transformers, f"{kind.capitalize()}ForCausalLM")(config)
    finally:
        torch.set_default_dtype(torch.float32)
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    if method != "full":
        model = adapted(model, method)
    if recomputed:
        model.activation_checkpointing_enable()
    return model.train()


def adapted(model: Any, method: str) -> Any:
    """With an adapter, whose weights are put in place as they are: peft's moving of modules fails on fake tensors."""
    import peft
    from peft.tuners.tuners_utils import BaseTunerLayer

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(BaseTunerLayer, "_move_adapter_to_device_of_base_layer", lambda *_, **__: None)
        patched.setattr(torch.nn.Module, "to", lambda self, *_, **__: self)
        about = {"r": 16, "target_modules": "all-linear", "task_type": "CAUSAL_LM", "use_dora": method == "dora"}
        return peft.get_peft_model(model, peft.LoraConfig(**about), autocast_adapter_dtype=False)


@contextmanager
def as_on_a_card(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """TRL's tiles folded in place, as its kernels do; the kernel of attention known to transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from trl.kernels import chunked_logprob

    from trainers.attention import attention

    for name in ("_forward_tile", "_backward_tile", "_addmm_fp32"):
        monkeypatch.setattr(chunked_logprob, name, lambda *_, **__: None)
    AttentionInterface.register("counted", attention(kernel))
    AttentionMaskInterface.register("counted", lambda **_: None)
    yield


def measured(kind: str, method: str, recomputed: bool, tokens: int, rows: int, stage: str) -> int:
    """Bytes at the peak of a pass, Adam's moments added, where gradients of an earlier pass are there."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(), Peak() as peak:
        model = built(kind, "counted" if rows == 1 else "sdpa", method, recomputed)
        learned = [one for one in model.parameters() if one.requires_grad]
        for one in learned:
            one.grad = torch.empty_like(one)
        ids = torch.zeros(rows, tokens // rows, dtype=torch.long)
        ends = torch.zeros(9, dtype=torch.int32)
        about = {"position_ids": ids, "cu_seq_lens_q": ends, "max_length_q": 512} if rows == 1 else {}
        peak.peak = peak.now
        with torch.autocast("cpu", torch.bfloat16):
            if stage == "orpo":
                loss = orpo_loss(model(input_ids=ids, use_cache=False).logits.float(), ids)
            else:
                loss = model(input_ids=ids, labels=ids, fused_lm_head=True, **about).log_probs.sum()
        loss.backward()
        return peak.peak + sum(2 * one.numel() * one.element_size() for one in learned)


def orpo_loss(logits: Any, ids: Any) -> Any:
    from trl.experimental.orpo.orpo_trainer import ORPOTrainer

    chosen = logits[: len(logits) // 2, :-1].contiguous()
    loss = torch.nn.CrossEntropyLoss()(chosen.view(-1, chosen.shape[-1]), ids[: len(ids) // 2, 1:].reshape(-1))
    return loss + ORPOTrainer.get_batch_logps(logits, ids, average_log_prob=True).sum()


@pytest.mark.parametrize(
    ("kind", "method", "recomputed", "tokens", "rows", "stage"),
    [
        ("qwen3", "full", False, 16_384, 1, "sft"),
        ("qwen3", "full", True, 16_384, 1, "sft"),
        ("qwen3", "lora", False, 16_384, 1, "sft"),
        ("qwen3", "full", False, 4_096, 8, "orpo"),
        ("llama", "full", False, 8_192, 1, "sft"),
        ("llama", "lora", True, 16_384, 1, "sft"),
        ("llama", "dora", False, 4_096, 1, "sft"),
        ("qwen2", "full", True, 16_384, 1, "sft"),
        ("qwen2", "lora", False, 8_192, 1, "sft"),
        ("qwen2", "lora", True, 4_096, 8, "orpo"),
    ],
)
def test_what_is_told_is_what_a_step_takes(
    kind: str, method: str, recomputed: bool, tokens: int, rows: int, stage: str, monkeypatch: pytest.MonkeyPatch
):
    model = sizes(kind)
    use = Use(stage, method, True, "varlen" if rows == 1 else "sdpa")
    told = held(model, use) + passing(model, use, tokens=tokens, row=tokens // rows, checkpointing=recomputed)
    with as_on_a_card(monkeypatch):
        found = measured(kind, method, recomputed, tokens, rows, stage)
    assert 0.98 < told / found < 1.15, f"{told / 1e9:.1f} GB told, {found / 1e9:.1f} found: {told / found:.3f}"


def test_the_largest_pass_that_fits_is_of_whole_rows():
    model, use = sizes("qwen3"), Use("sft", "full", True, "varlen")
    tokens = most_tokens(model, use, 20_000_000_000, item=1000, row=1000, most=32_768, checkpointing=False)
    assert tokens % 1000 == 0 and 0 < tokens < 32_768
    needs = [passing(model, use, tokens=count, row=1000, checkpointing=False) for count in (tokens, 2 * tokens)]
    assert needs[0] <= 20_000_000_000 < needs[1]
    assert most_tokens(model, use, 1_000_000, item=1000, row=1000, most=32_768, checkpointing=True) == 0


def test_weights_are_spread_or_copied():
    model = sizes("llama")
    one = held(model, Use("sft", "full", True, "varlen"))
    assert held(model, Use("sft", "full", True, "varlen", launch="ddp", processes=8)) > one
    assert held(model, Use("sft", "full", True, "varlen", launch="fsdp2", processes=8)) < one / 2
    assert held(model, Use("dpo", "full", True, "sdpa")) == pytest.approx(one * 20 / 16)
    assert held(model, Use("dpo", "lora", True, "sdpa")) < one / 6 > held(model, Use("sft", "qlora", True, "varlen"))
