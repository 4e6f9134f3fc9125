"""What prefer writes is what TRL's trainers of preferences take: two steps of each with a tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import small
from tests.llm.clinic import Clinic
from tests.llm.model_server import ModelServer
from tests.pipelines.command import here
from tests.pipelines.test_prefer_judge import WRITERS, sft  # noqa: F401 a fixture

STEPS = 2
SHARED = {
    "max_steps": STEPS,
    "per_device_train_batch_size": 2,
    "logging_steps": 1,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "max_length": 512,
}


@pytest.mark.slow
@pytest.mark.parametrize("judged", [True, False])
def test_trl_trains_two_steps_on_each_format(tmp_path: Path, sft: Path, judged: bool) -> None:  # noqa: F811
    pytest.importorskip("trl")
    model = small.save(tmp_path / "model", "llama")
    with ModelServer(reply=Clinic()) as server:
        for name in ("dpo", "rm", "kto"):
            out, options = tmp_path / f"{name}.parquet", ("--base-url", server.url, *WRITERS)
            source = sft if judged else _dosed(tmp_path)
            more = options if judged else ()
            assert here("prefer", source, "--out", out, "--format", name, "--quiet", *more).code == 0
    for name in ("dpo", "rm", "kto"):
        history = _trained(name, tmp_path, model)
        losses = [entry["loss"] for entry in history if "loss" in entry]
        assert len(losses) == STEPS and all(loss == loss and loss > 0 for loss in losses), (name, history)


def _dosed(folder: Path) -> Path:
    """Answers that the rules can make worse."""
    path = folder / "doses.jsonl"
    lines = [
        f'{{"question": "第{n}种药怎么服用？", "answer": "口服，一次{n + 1}片，一日3次，饭后服。孕妇禁用。"}}\n'
        for n in range(12)
    ]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def _trained(name: str, folder: Path, model: Path) -> list[dict[str, Any]]:
    """Two steps of the trainer that reads this format; what it logged."""
    import datasets
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, RewardConfig, RewardTrainer

    rows = datasets.load_dataset(
        "parquet", data_files=str(folder / f"{name}.parquet"), split="train", cache_dir=str(folder / "cache")
    )
    tokenizer = AutoTokenizer.from_pretrained(model)
    policy, reference = (AutoModelForCausalLM.from_pretrained(model) for _ in range(2))
    out, trainer = str(folder / f"run-{name}"), None
    if name == "dpo":
        arguments = DPOConfig(out, **SHARED)
        trainer = DPOTrainer(policy, reference, args=arguments, train_dataset=rows, processing_class=tokenizer)
    elif name == "kto":
        arguments = KTOConfig(out, **SHARED)
        trainer = KTOTrainer(policy, reference, args=arguments, train_dataset=rows, processing_class=tokenizer)
    else:
        scorer = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1)
        trainer = RewardTrainer(
            scorer, args=RewardConfig(out, **SHARED), train_dataset=rows, processing_class=tokenizer
        )
    trainer.train()
    return list(trainer.state.log_history)
