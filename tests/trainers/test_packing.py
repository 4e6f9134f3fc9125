"""Packs keep order and rows whole; a packed row learns what it would learn alone, whatever computes the attention."""

from __future__ import annotations

import random
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import small
from trainers.attention import attention
from trainers.packing import WINDOW, pack

DOCUMENTS = [[5, 6, 7, 8, 9], [20, 21, 22], [30, 31, 32, 33, 34, 35, 36], [40, 41]]


@given(st.lists(st.integers(1, 64), max_size=300), st.integers(1, 40))
def test_every_row_is_in_one_pack_and_none_is_cut(lengths: list[int], window: int):
    packs = pack(lengths, 64, window)
    assert sorted(row for members in packs for row in members) == list(range(len(lengths)))
    assert all(sum(lengths[row] for row in members) <= 64 for members in packs)


@given(st.lists(st.integers(1, 64), min_size=1, max_size=300), st.integers(1, 40))
def test_the_order_is_kept_to_within_the_window(lengths: list[int], window: int):
    packs = pack(lengths, 64, window)
    taken: set[int] = set()
    for members in packs:
        first_waiting = next(row for row in range(len(lengths)) if row not in taken)
        assert members[0] == first_waiting
        assert max(members) < len(taken) + window  # among the rows that waited when the pack was begun
        taken.update(members)


def test_packs_of_medical_lengths_are_full():
    draw = random.Random(0)
    lengths = [min(4096, max(16, int(draw.lognormvariate(5.7, 0.8)))) for _ in range(20_000)]
    packs = pack(lengths, 4096, WINDOW)
    assert sum(lengths) / (4096 * len(packs)) > 0.997
    assert pack(lengths, 4096) == packs


def test_a_row_longer_than_a_pack_is_an_error():
    with pytest.raises(ValueError, match="70 tokens is longer than a pack of 64"):
        pack([3, 70], 64)


def exact_kernel(
    query: Any,
    key: Any,
    value: Any,
    ends: Any,
    _ends: Any,
    longest: int,
    _longest: int,
    scale: Any = None,
    window_size: Any = None,
    enable_gqa: bool = True,
) -> Any:
    """What torch's variable-length kernel computes, a document at a time: the kernel itself runs on a GPU only."""
    import torch

    out = [
        torch.nn.functional.scaled_dot_product_attention(
            *(one[start:end].transpose(0, 1)[None] for one in (query, key, value)),
            is_causal=True,
            scale=scale,
            enable_gqa=True,
        )[0].transpose(0, 1)
        for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    ]
    return torch.cat(out)


@pytest.fixture(scope="module", params=["sdpa", "eager", "varlen"])
def path(request: pytest.FixtureRequest) -> str:
    """Every way of attention that is offered without a wheel of its own; varlen with a kernel for the CPU."""
    from transformers import AttentionInterface, AttentionMaskInterface

    if request.param == "varlen":
        AttentionInterface.register("varlen_exact", attention(exact_kernel))
        AttentionMaskInterface.register("varlen_exact", lambda *given, **more: None)
        return "varlen_exact"
    return str(request.param)


@pytest.fixture(scope="module", params=["qwen3", "llama"])
def trainer(request: pytest.FixtureRequest, path: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A trainer as a run builds it, with its collator and its loss."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    model = small.model(request.param)
    model.set_attn_implementation(path)
    args = SFTConfig(
        output_dir=str(tmp_path_factory.mktemp("run")),
        per_device_train_batch_size=1,
        padding_free=True,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        use_cpu=True,
        bf16=False,
        report_to="none",
        disable_tqdm=True,
        gradient_checkpointing=None,
        activation_checkpointing=False,
    )
    rows = Dataset.from_list([packed(DOCUMENTS)])
    return SFTTrainer(model=model, args=args, train_dataset=rows, processing_class=small.tokenizer())


def packed(documents: list[list[int]]) -> dict[str, Any]:
    ids = [token for document in documents for token in document]
    return {"input_ids": ids, "labels": ids, "seq_lengths": [len(document) for document in documents]}


def gradients(trainer: Any, rows: list[dict[str, Any]], tokens: int) -> tuple[float, list[Any]]:
    """Loss and gradients summed over passes of one row each, as an optimizer step over `tokens` labels takes them."""
    model = trainer.model
    model.train()
    model.zero_grad()
    total = 0.0
    for row in rows:
        inputs = trainer._prepare_inputs(trainer.data_collator([row]))
        loss = trainer.compute_loss(model, inputs, num_items_in_batch=tokens)
        loss.backward()
        total += loss.item()
    return total, [one.grad.clone() for one in model.parameters() if one.grad is not None]


def test_packed_learns_what_separate_rows_learn(trainer: Any):
    import torch

    tokens = sum(len(document) - 1 for document in DOCUMENTS)
    together, packed_gradients = gradients(trainer, [packed(DOCUMENTS)], tokens)
    apart, separate_gradients = gradients(trainer, [packed([document]) for document in DOCUMENTS], tokens)
    assert together == pytest.approx(apart, abs=1e-5)
    for one, other in zip(packed_gradients, separate_gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_several_packs_in_one_pass_learn_the_same(trainer: Any):
    tokens = sum(len(document) - 1 for document in DOCUMENTS)
    inputs = trainer._prepare_inputs(trainer.data_collator([packed(DOCUMENTS[:2]), packed(DOCUMENTS[2:])]))
    together = trainer.compute_loss(trainer.model, inputs, num_items_in_batch=tokens).item()
    assert together == pytest.approx(gradients(trainer, [packed(DOCUMENTS)], tokens)[0], abs=1e-5)


def test_nothing_attends_across_documents(trainer: Any):
    """Changing every token of the other documents changes nothing in this one."""
    import torch

    changed = [
        [token + 100 for token in document] if place != 1 else document for place, document in enumerate(DOCUMENTS)
    ]
    start = len(DOCUMENTS[0])
    end = start + len(DOCUMENTS[1])
    hidden = []
    for documents in (DOCUMENTS, changed):
        inputs = trainer._prepare_inputs(trainer.data_collator([packed(documents)]))
        inputs.pop("labels")
        with torch.no_grad():
            found = trainer.model.train()(**inputs, use_cache=False, output_hidden_states=True)
        hidden.append(found.hidden_states[-1][0])
    assert torch.equal(hidden[0][start:end], hidden[1][start:end])
    assert not torch.equal(hidden[0][:start], hidden[1][:start])


def test_the_fused_loss_is_cross_entropy(trainer: Any, tmp_path: Path):
    """What TRL computes over the labelled positions, by the textbook."""
    import torch

    inputs = trainer._prepare_inputs(trainer.data_collator([packed([DOCUMENTS[2]])]))
    fused = trainer.compute_loss(trainer.model, dict(inputs)).item()
    with torch.no_grad():
        logits = trainer.model(input_ids=torch.tensor([DOCUMENTS[2]]), use_cache=False).logits[0, :-1]
    plain = torch.nn.functional.cross_entropy(logits, torch.tensor(DOCUMENTS[2][1:])).item()
    assert fused == pytest.approx(plain, abs=1e-5)


def test_a_compiled_layer_is_compiled_for_two_packs_and_serves_all():
    """Number and length of documents differ from pack to pack: compiling for each would take longer than training."""
    import torch
    from torch._dynamo.testing import CompileCounter

    def kernel(query: Any, key: Any, value: Any, ends: Any, _: Any, longest: int, __: int, **options: Any) -> Any:
        return query * longest + value * ends[-1]

    counter, attend = CompileCounter(), attention(kernel)
    compiled = torch.compile(attend, backend=counter)
    query, key = torch.randn(1, 4, 32, 8), torch.randn(1, 2, 32, 8)
    for lengths in ([20, 12], [9, 9, 14], [1, 30, 1], [32], [8, 8, 8, 8], [5, 6, 7, 8, 6]):
        ends = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        given = (None, query, key, key, None)
        said = compiled(*given, scaling=1.0, cu_seq_lens_q=ends, max_length_q=max(lengths))[0]
        assert torch.equal(said, attend(*given, scaling=1.0, cu_seq_lens_q=ends, max_length_q=max(lengths))[0])
    assert counter.frame_count == 2
