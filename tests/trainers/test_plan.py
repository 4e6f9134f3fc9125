"""What the plan decides for models and machines that no test has: told by sizes alone."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainers.lines import lines
from trainers.machine import Device, Model, model_facts
from trainers.metrics import rows_of_steps
from trainers.plan import Plan, limits, plan
from trainers.prepare import Prepared
from trainers.settings import TrainSettings

H200 = Device("cuda", "H200", 1, 149_000_000_000, 989e12)
RTX = Device("cuda", "4090", 1, 24_000_000_000, 165e12)
A100 = Device("cuda", "A100", 1, 84_000_000_000, 312e12)
SMALL = Model("qwen3-0.6b", 596_000_000, 1024, 28, 40_960, "qwen3", 2048, 1024, 128, 3072, 151_936, True)
LARGE = Model("qwen3-8b", 8_190_000_000, 4096, 36, 40_960, "qwen3", 4096, 1024, 128, 12_288, 151_936, False)
SEVEN = Model("qwen2.5-7b", 7_615_000_000, 3584, 28, 32_768, "qwen2", 3584, 512, 128, 18_944, 152_064, False)
HUGE = Model("qwen2.5-72b", 72_700_000_000, 8192, 80, 32_768, "qwen2", 8192, 1024, 128, 29_568, 152_064, False)


def planned(
    model: Model, machine: Device, lengths: list[int], *, stage: str = "sft", **given: Any
) -> tuple[Plan, list[str]]:
    settings = TrainSettings(("rows.parquet",), "m", "out", **given)
    found = limits(settings, stage, model, machine, np.array(lengths))
    kept = [length for length in lengths if length <= found.max_length]
    packed = settings.batch_size is None and stage in ("pt", "sft")
    units = max(1, -(-sum(kept) // found.max_length)) if packed else len(kept)
    prepared = Prepared(rows=len(lengths), examples=len(kept), tokens=sum(kept), learned=sum(kept) // 2, units=units)
    made = plan(settings, stage, model, machine, found, prepared)
    return made, lines(made, found, model, machine, prepared, "as asked")


MANY = [300] * 99_000 + [3_000] * 1_000


def test_the_method_is_what_the_memory_allows():
    assert planned(SMALL, H200, MANY)[0].method == "full"
    assert planned(SMALL, RTX, MANY)[0].method == "full"
    assert planned(LARGE, RTX, MANY)[0].method == "lora"
    # 131 GB of weights, gradients and moments, and 14 of their bf16 copies in a forward pass
    assert planned(LARGE, H200, MANY)[0].method == "lora"
    assert planned(SEVEN, H200, MANY)[0].method == "lora"
    assert planned(SEVEN, H200, MANY, method="full")[1][-1].startswith("warning")
    assert "full would need 139" in planned(SEVEN, H200, MANY)[1][1]


def test_several_cards_share_what_one_cannot_hold():
    several = replace(H200, count=8)
    assert (planned(SMALL, several, MANY)[0].method, planned(SMALL, several, MANY)[0].launch) == ("full", "ddp")
    made, said = planned(SEVEN, several, MANY)
    assert (made.method, made.launch) == ("full", "fsdp2")
    assert "spread over 8: one copy a GPU would not fit" in said[1]
    assert made.memory < 40e9
    huge, _ = planned(HUGE, several, MANY)
    assert (huge.method, huge.launch) == ("lora", "fsdp2")


def test_what_is_planned_fits_or_is_warned_of():
    for machine in (H200, RTX, replace(RTX, count=2), A100, replace(A100, count=8)):
        for model in (SMALL, SEVEN, LARGE, HUGE):
            for stage in ("sft", "pt", "dpo", "orpo", "kto", "rm", "grpo", "rloo"):
                made, said = planned(model, machine, MANY, stage=stage)
                fits = made.memory + made.pass_memory <= machine.memory * 0.9
                assert fits != said[-1].startswith("warning"), said


def test_activations_are_recomputed_where_they_would_not_fit():
    assert not planned(SMALL, H200, MANY)[0].checkpointing
    assert planned(SMALL, RTX, MANY)[0].checkpointing
    assert planned(SEVEN, A100, [16_000] * 50)[0].checkpointing


def test_replies_count_in_prompt_stages():
    short, said = planned(SMALL, RTX, [40] * 500, stage="grpo")
    assert f"a pass of {short.per_device * (128 + 256):,} tokens" in said[2]
    # 64 replies of 3,328 tokens have 12 GB of keys and values at once.
    long, _ = planned(SMALL, RTX, MANY, stage="grpo")
    assert long.batch < short.batch == 40
    assert long.batch % 8 == 0


def test_the_longest_row_is_a_percentile_of_many_and_the_longest_of_few():
    assert planned(SMALL, H200, [100] * 996 + [5000] * 4)[0].max_length == 128
    assert planned(SMALL, H200, [100] * 50 + [700])[0].max_length == 768
    assert planned(SMALL, H200, [50_000] * 10 + [100])[0].max_length == 40_960
    assert planned(SMALL, H200, [50_000] * 10, rope_scaling="yarn:2")[0].max_length == 50_048


def test_a_step_has_64k_tokens_of_much_data_and_a_hundred_steps_of_little():
    much, _ = planned(SMALL, H200, MANY)
    assert 60_000 < much.batch * (much.pack_size or 0) < 70_000
    little, _ = planned(SMALL, H200, [60] * 50)
    assert little.steps >= 50
    assert little.batch == 1


def test_passes_are_few_whatever_the_batch():
    """A batch of a prime number of packs is no reason for passes of one."""
    for rows in range(100, 40_000, 1_999):
        made, _ = planned(SMALL, RTX, [300] * rows)
        fewest = math.ceil(made.batch * made.max_length / 32_768)
        assert made.accumulation <= fewest + 1, made
    asked, _ = planned(SMALL, H200, [300] * 1_000, batch_size=17)
    assert asked.batch == 17


def test_passes_stay_short_where_every_token_meets_all_of_its_pass():
    cpu = Device("cpu", "2 cores", 1, 60_000_000_000, 8e10)
    made, _ = planned(SMALL, cpu, [500] * 2_000, method="lora")
    assert made.attention == "sdpa" and not made.checkpointing
    assert made.per_device * made.max_length <= max(512, SMALL.layer // (2 * SMALL.queries)) == 3_840
    assert planned(SMALL, H200, [500] * 20_000)[0].per_device * 512 > 8_000


def test_a_batch_counts_rows_and_is_split_by_memory():
    made, _ = planned(LARGE, RTX, [2000] * 64, batch_size=12, method="lora")
    assert made.batch == 12
    assert made.pack_size is None
    assert made.per_device * made.max_length <= 32_768
    assert planned(SMALL, H200, [100] * 64, stage="kto", batch_size=1)[0].per_device == 2
    rl, _ = planned(SMALL, H200, [100] * 64, stage="grpo", batch_size=12)
    assert rl.batch == 16  # whole groups of eight
    many, _ = planned(SMALL, H200, [100] * 64, batch_size=16, processes=4)
    assert (many.batch, many.launch, many.processes) == (16, "ddp", 4)
    assert planned(LARGE, H200, [100] * 64, method="full", processes=8)[0].launch == "fsdp2"


def test_every_decision_is_said_with_its_reason():
    _, said = planned(SMALL, H200, MANY)
    heads = [line.split()[0] for line in said]
    assert heads == "stage method memory length rows tokens batch steps where time".split()
    assert "99.5 % of the rows have at most 3,000, the longest 3,000" in said[3]


def test_parameters_are_counted_without_loading(qwen: Path, llama: Path):
    from transformers import AutoModelForCausalLM

    for folder in (qwen, llama):
        loaded = AutoModelForCausalLM.from_pretrained(folder)
        found = model_facts(str(folder))
        assert found.parameters == sum(one.numel() for one in loaded.parameters())
        assert (found.hidden, found.layers, found.context) == (32, 2, 512)
        (folder / "model.safetensors").rename(folder / "elsewhere")
        try:
            guessed = model_facts(str(folder)).parameters
        finally:
            (folder / "elsewhere").rename(folder / "model.safetensors")
        assert guessed == pytest.approx(found.parameters, rel=0.02)


def test_weights_cut_short_are_seen_before_they_are_loaded(qwen: Path, tmp_path: Path):
    shutil.copytree(qwen, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    whole = weights.read_bytes()
    for kept in (len(whole) - 1, len(whole) // 2, 100, 4):
        weights.write_bytes(whole[:kept])
        with pytest.raises(ValueError, match="fetch the model again"):
            model_facts(str(tmp_path / "model"))


def test_a_warning_names_what_would_help():
    assert "--method lora" in planned(SEVEN, RTX, MANY, method="full")[1][-1]
    assert "--method qlora" in planned(HUGE, H200, MANY, method="lora")[1][-1]
    assert "--max-length 4096" in planned(SMALL, RTX, MANY, stage="orpo", max_length=8_192)[1][-1]
    cpu = Device("cpu", "2 cores", 1, 20_000_000_000, 8e10)
    assert "at 40% of 989 TFLOP/s" in planned(SEVEN, H200, MANY)[1][-1]
    assert planned(SEVEN, cpu, MANY)[1][-1].endswith("GB): a smaller model")
    assert planned(SMALL, cpu, MANY, processes=2)[1][-2].startswith("where     2 processes on 2 cores (ddp)")


def test_rows_of_a_step_are_found_again_in_every_epoch():
    places = [["a:1", "a:2"], ["a:3"], ["a:4"], ["a:5"], ["a:6"]]
    assert rows_of_steps(places, 2, 1, 1) == ["a:1", "a:2", "a:3"]
    assert rows_of_steps(places, 2, 3, 4) == ["a:6", "a:1", "a:2", "a:3"]
