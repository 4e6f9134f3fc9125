"""What only a card can show: torch's variable-length kernel, a full memory, 4-bit weights, accelerate's launch."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import small
from tests.pipelines.command import here
from tests.trainers.conftest import says, user, write_rows
from tests.trainers.test_packing import DOCUMENTS, gradients, packed
from trainers import run
from trainers.metrics import read

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.save(tmp_path_factory.mktemp("model"), hidden=256)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(
        tmp_path_factory.mktemp("rows") / "sft.jsonl",
        [{"messages": [user(f"问题{n}是什么？"), says(f"回答{n}，低盐饮食。" * (1 + n % 12))]} for n in range(64)],
    )


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from trainers.attention import register

    register()
    built = small.model(hidden=256).to("cuda", torch.bfloat16)
    built.set_attn_implementation("varlen")
    args = SFTConfig(
        output_dir=str(tmp_path_factory.mktemp("run")),
        per_device_train_batch_size=1,
        padding_free=True,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        report_to="none",
        disable_tqdm=True,
        gradient_checkpointing=None,
        activation_checkpointing=False,
    )
    rows = Dataset.from_list([packed(DOCUMENTS)])
    return SFTTrainer(model=built, args=args, train_dataset=rows, processing_class=small.tokenizer())


def test_the_kernel_learns_of_a_pack_what_separate_rows_learn(trainer: Any):
    tokens = sum(len(document) - 1 for document in DOCUMENTS)
    together, packed_gradients = gradients(trainer, [packed(DOCUMENTS)], tokens)
    apart, separate_gradients = gradients(trainer, [packed([document]) for document in DOCUMENTS], tokens)
    assert together == pytest.approx(apart, rel=1e-2)
    for one, other in zip(packed_gradients, separate_gradients, strict=True):
        assert (one - other).norm() <= 2e-2 * other.norm() + 1e-6  # bf16: eight bits of mantissa, summed in other order


def test_the_kernel_computes_what_sdpa_computes(trainer: Any):
    inputs = trainer._prepare_inputs(trainer.data_collator([packed(DOCUMENTS)]))
    losses = []
    for kind in ("varlen", "sdpa"):
        trainer.model.set_attn_implementation(kind)
        losses.append(trainer.compute_loss(trainer.model, dict(inputs)).item())
    trainer.model.set_attn_implementation("varlen")
    assert losses[0] == pytest.approx(losses[1], rel=5e-3)


def test_the_kernel_lets_nothing_attend_across_documents(trainer: Any):
    changed = [
        [token + 100 for token in document] if place != 1 else document for place, document in enumerate(DOCUMENTS)
    ]
    start, end = len(DOCUMENTS[0]), len(DOCUMENTS[0]) + len(DOCUMENTS[1])
    hidden = []
    for documents in (DOCUMENTS, changed):
        inputs = trainer._prepare_inputs(trainer.data_collator([packed(documents)]))
        inputs.pop("labels")
        with torch.no_grad():
            found = trainer.model.train()(**inputs, use_cache=False, output_hidden_states=True)
        hidden.append(found.hidden_states[-1][0])
    assert torch.equal(hidden[0][start:end], hidden[1][start:end])
    assert not torch.equal(hidden[0][:start], hidden[1][:start])


@pytest.mark.parametrize("method", ["full", "lora", "dora", "qlora"])
def test_a_run_takes_the_card_its_kernel_and_half_precision(method: str, rows: Path, model: Path, tmp_path: Path):
    if method == "qlora" and find_spec("bitsandbytes") is None:
        pytest.skip("bitsandbytes is not installed")
    out = tmp_path / "run"
    done = here("train", rows, "--model", model, "--out", out, "--method", method, "--max-steps", 20, "--quiet")
    assert done.code == 0, done.stderr
    found = json.loads((out / "run.json").read_text())["plan"]
    assert found["attention"] == "varlen" and found["precision"].startswith("bf16" if method != "full" else "fp32")
    metrics = read(out)
    assert metrics[-1]["loss"] < metrics[0]["loss"] and metrics[-1]["mfu"] is not None
    said = here("chat", out, "--input", _questions(tmp_path), "--out", tmp_path / "said.parquet", "--max-tokens", 8)
    assert said.code in (0, 3), said.stderr  # 3: it learned too little to say anything


def _questions(folder: Path) -> Path:
    return write_rows(folder / "questions.jsonl", [{"question": "问题1是什么？"}])


def test_a_batch_that_does_not_fit_is_halved_before_training(rows: Path, model: Path, tmp_path: Path):
    free = torch.cuda.mem_get_info()[1]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 150e6) / free)
    try:
        done = here("train", rows, "--model", model, "--out", tmp_path / "run", "--max-steps", 2, "--batch-size", 64)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert done.code == 0, done.stderr
    assert "so many rows at once; now 32" in done.stderr
    found = json.loads((tmp_path / "run" / "run.json").read_text())["plan"]
    assert found["per_device"] < 64 and found["per_device"] * found["accumulation"] == 64


@pytest.mark.parametrize("launch", ["ddp", "fsdp2"])
def test_the_shipped_launch_files_train(
    launch: str, rows: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A group of one process: what accelerate makes of the file, gathering and saving included."""

    def launched(out: Path, progress: Any) -> None:
        configuration = Path(run.__file__).parent / "launch" / f"{launch}.yaml"
        words = ["-m", "accelerate.commands.launch", "--config_file", configuration, "--num_processes", 1]
        words += ["-m", "trainers.fit", out, "--quiet"]
        ended = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=200)
        assert ended.returncode == 0, ended.stderr[-2000:]

    monkeypatch.setattr(run, "fit", launched)
    out = tmp_path / "run"
    done = here("train", rows, "--model", model, "--out", out, "--max-steps", 4, "--save-steps", 2, "--quiet")
    assert done.code == 0, done.stderr
    assert len(read(out)) == 4 and (out / "model.safetensors").exists()
    from transformers import AutoModelForCausalLM

    names = set(AutoModelForCausalLM.from_pretrained(model).state_dict())
    assert set(AutoModelForCausalLM.from_pretrained(out).state_dict()) == names
