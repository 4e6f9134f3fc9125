"""The benchmark of training runs on a machine without a card, and says what it left out."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from benchmarks import train
from tests.conftest import REPOSITORY


def test_rows_are_full_and_the_same_documents_for_both():
    lengths = train.documents(5, 4096, 400)
    assert all(sum(row) == 4096 and max(row) <= train.LONGEST for row in lengths)
    packed, alone = train.dataset(lengths, 512, packed=True), train.dataset(lengths, 512, packed=False)
    assert [id for row in packed["input_ids"] for id in row] == [id for row in alone["input_ids"] for id in row]
    assert [label for row in packed["labels"] for label in row] == [x for row in alone["labels"] for x in row]


def test_a_lever_is_measured():
    options = train._options(["--shape", "tiny", "--tokens", "128", "--median", "30", "--steps", "2", "--warm-up", "1"])
    for lever in ("sdpa+nockpt", "trl"):
        found = train.measure(lever, options)
        assert found["tokens_per_second"] > 0 and found["lever"] == lever
    table = train.table([found, {"lever": "varlen", "skipped": "no card"}], options)
    assert "| trl |" in table and "- varlen: skipped, no card" in table


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_its_levers_are_skipped_with_a_reason():
    assert all(train.missing(lever) for lever in train.LEVERS if lever.startswith("varlen"))
    assert not any(train.missing(lever) for lever in ("trl", "sdpa", "sdpa+nockpt"))


@pytest.mark.slow
def test_the_script_needs_nothing_of_the_project():
    words = ["--shape", "tiny", "--tokens", "128", "--steps", "1", "--warm-up", "1", "--levers", "sdpa,varlen"]
    script = REPOSITORY / "benchmarks" / "train.py"
    ended = subprocess.run([sys.executable, "-I", str(script), *words], capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0 and "| sdpa |" in ended.stdout


def test_the_kernel_is_given_every_document_of_a_packed_row(monkeypatch: pytest.MonkeyPatch):
    """torch's kernel needs a card: a plain attention over each document stands for it, with its signature."""
    seen: list[list[int]] = []

    def kernel(q, k, v, cu_q, cu_k, max_q, max_k, *, scale=None, window_size=(-1, -1), enable_gqa=False):
        longest = int(cu_q.diff().max())
        assert window_size == (-1, 0) and enable_gqa and cu_q[-1] == len(q) and longest <= max_q < 2 * longest
        seen.append(cu_q.diff().tolist())
        done = [
            torch.nn.functional.scaled_dot_product_attention(
                *(x[start:end].transpose(0, 1)[None] for x in (q, k, v)), is_causal=True, scale=scale, enable_gqa=True
            )[0].transpose(0, 1)
            for start, end in zip(cu_q[:-1].tolist(), cu_q[1:].tolist(), strict=True)
        ]
        return torch.cat(done)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    options = train._options(["--shape", "tiny", "--tokens", "128", "--median", "30", "--steps", "2", "--warm-up", "1"])
    assert train.measure("varlen+nockpt", options)["tokens_per_second"] > 0
    layers = train.SHAPES["tiny"][1]["num_hidden_layers"]
    assert seen == [row for row in train.documents(3, 128, 30) for _ in range(layers)]
