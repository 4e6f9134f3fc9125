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
