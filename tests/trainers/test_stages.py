"""Every stage trains, all weights and adapters, on models shaped as Qwen3 and Llama; settings are checked by name."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.command import here
from tests.trainers.conftest import write_rows
from trainers.metrics import read
from trainers.rewards import exam, layout, letters_of, rewards_of
from trainers.stages import STAGES, check_settings

SHORT = ["--max-steps", "2", "--save-steps", "2", "--batch-size", "2", "--quiet", "--json"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("stage", list(STAGES))
def test_every_stage_trains_and_leaves_a_model(
    stage: str, method: str, data: dict[str, Path], qwen: Path, llama: Path, tmp_path: Path
):
    model = llama if method == "lora" else qwen
    more = ["--set", "num_generations=2", "--set", "max_completion_length=4"] if stage in ("grpo", "rloo") else []
    named = ["--stage", stage] if stage in ("orpo", "rm", "rloo") else []
    done = here(
        "train", data[stage], "--model", model, "--out", tmp_path / "run", "--method", method, *SHORT, *more, *named
    )
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["output"] == str(tmp_path / "run")
    metrics = read(tmp_path / "run")
    assert [one["step"] for one in metrics] == [1, 2]
    assert all(math.isfinite(one["loss"]) and one["tokens"] > 0 and one["tokens_per_second"] > 0 for one in metrics)
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"README.md", "report.html", "tokenizer.json", "chat_template.jinja", "checkpoint-2"} <= left
    assert ("adapter_model.safetensors" if method == "lora" else "model.safetensors") in left
    assert "training_args.bin" not in left


@pytest.mark.slow
def test_dora_noise_and_a_longer_context(data: dict[str, Path], qwen: Path, tmp_path: Path):
    more = ["--method", "dora", "--neftune", "5", "--rope-scaling", "yarn:2", "--set", "weight_decay=0.1"]
    done = here("train", data["sft"], "--model", qwen, "--out", tmp_path / "run", *SHORT, *more)
    assert done.code == 0, done.stderr
    assert json.loads((tmp_path / "run" / "adapter_config.json").read_text())["use_dora"]


@pytest.mark.slow
def test_a_longer_context_stands_in_the_model(data: dict[str, Path], qwen: Path, tmp_path: Path):
    done = here("train", data["sft"], "--model", qwen, "--out", tmp_path / "run", *SHORT, "--rope-scaling", "yarn:2")
    assert done.code == 0, done.stderr
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["max_position_embeddings"] == 1024
    assert config["rope_parameters"]["rope_type"] == "yarn"


@pytest.mark.slow
def test_a_longer_context_of_an_adapter_is_merged_with_it(data: dict[str, Path], qwen: Path, tmp_path: Path):
    more = ["--method", "lora", "--rope-scaling", "linear:4"]
    done = here("train", data["sft"], "--model", qwen, "--out", tmp_path / "run", *SHORT, *more)
    assert done.code == 0, done.stderr
    assert here("train", "merge", tmp_path / "run", "--out", tmp_path / "merged").code == 0
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["max_position_embeddings"] == 2048
    assert config["rope_parameters"]["factor"] == 4
    refused = here("train", data["sft"], "--model", tmp_path / "run", "--out", tmp_path / "again")
    assert refused.code == 2
    assert "`datatools train merge` makes a model of it" in refused.line


@pytest.mark.slow
def test_a_reward_model_of_ours_rewards(data: dict[str, Path], qwen: Path, tmp_path: Path):
    made = here("train", data["rm"], "--stage", "rm", "--model", qwen, "--out", tmp_path / "rm", *SHORT)
    assert made.code == 0, made.stderr
    more = ["--reward", tmp_path / "rm", "--reward", "checks", "--set", "num_generations=2"]
    more += ["--set", "max_completion_length=4"]
    done = here("train", data["grpo"], "--model", qwen, "--out", tmp_path / "grpo", *SHORT, *more)
    assert done.code == 0, done.stderr
    assert "reward" in read(tmp_path / "grpo")[-1]


@pytest.mark.slow
def test_kto_trains_on_pairs_with_both_labels_in_every_batch(data: dict[str, Path], qwen: Path, tmp_path: Path):
    import pyarrow as pa

    done = here("train", data["dpo"], "--stage", "kto", "--model", qwen, "--out", tmp_path / "run", *SHORT)
    assert done.code == 0, done.stderr
    with pa.OSFile(str(tmp_path / "run" / "data" / "train.arrow")) as file:
        assert pa.ipc.open_stream(file).read_all()["label"].to_pylist() == [True, False] * 8


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["dpo", "kto", "rm", "orpo"])
def test_pairs_that_are_too_long_are_named_and_no_other_is_lost(
    stage: str, data: dict[str, Path], qwen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The libraries would leave out rows of their own accord, and say nothing."""
    from trainers import probe

    long = {"prompt": "长" * 60, "chosen": "好", "rejected": "坏"}
    short = {"prompt": "问", "chosen": "好", "rejected": "坏"}
    rows = write_rows(tmp_path / "rows.jsonl", [short, long, {**short, "chosen": "很好"}])
    seen = []
    made = probe.trainer_of

    def noted(*args: Any) -> Any:
        found = made(*args)
        seen.append(len(found[0].train_dataset))
        return found

    monkeypatch.setattr(probe, "trainer_of", noted)
    words = ["train", rows, "--stage", stage, "--model", qwen, "--out", tmp_path / "run", "--max-length", 64]
    done = here(*words, "--max-steps", 1, "--json")
    assert done.code == 0, done.stderr
    assert "1 too long and dropped (rows.jsonl:2)" in done.stderr
    assert (done.summary["rows_read"], done.summary["rows_written"]) == (3, 2)
    assert done.summary["dropped"] == {"too_long": 1}
    assert seen == [4 if stage == "kto" else 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"leraning_rate": 1e-4}, "did you mean learning_rate"),
        ({"betta": 0.1}, "no such field"),
        ({"packing": True}, "--no-pack"),
        ({"train_sampling_strategy": "group_by_length"}, "rows are trained in their order"),
        ({"eos_token": "<|endoftext|>"}, "use --template"),
        ({"completion_only_loss": False}, "every one is verified"),
        ({"push_to_hub": True}, "nothing is sent anywhere"),
        ({"what": 1}, "no such field; its documentation lists them"),
        ({"weight_decay": "much"}, "a number is needed"),
        ({"bf16_full_eval": 3}, "true or false"),
    ],
)
def test_settings_are_the_fields_of_the_library(given: dict[str, object], said: str):
    with pytest.raises(ValueError, match=said):
        check_settings("sft", given)


def test_rewards_read_the_answer_of_an_exam():
    replies = [[{"role": "assistant", "content": text}] for text in ("答案：A", "B. 甘遂", "A、C", "不知道")]
    assert exam(replies, ["A", "A", "AC", "B"]) == [1, 0, 1, 0]
    assert layout(replies) == [1, 1, 1, 0]
    assert exam([[{"role": "assistant", "content": "应当低盐 饮食。"}]], ["低盐饮食"]) == [1]


@pytest.mark.parametrize(
    ("reply", "letters", "laid_out"),
    [
        ("C", "C", True),
        ("【答案】A、C", "AC", True),
        ("B）甘遂", "B", True),
        ("（B）", "B", True),
        ("\n</think>\n\nB", "B", True),
        ("<think>\n可能是A\n</think>\n\nC", "C", True),
        ("Ｂ", "B", False),
        ("甘草（A）与甘遂（B）相反，故选AB。", "AB", False),
        ("A项错误，B项正确，因此选B", "B", False),
        ("不选A，选D", "D", False),
        ("The answer is B.", "B", False),
        ("\\boxed{D}", "D", False),
        ("<think>还没想完 A", "", False),
        ("A. 甘草\nB. 甘遂\nC. 大戟", "", True),
        ("维生素B缺乏，HBV感染，T细胞", "", False),
        ("A patient with fever", "", True),
    ],
)
def test_rewards_read_what_a_reply_settles_on(reply: str, letters: str, laid_out: bool):
    assert letters_of(reply) == letters
    assert layout([reply]) == [laid_out]


def test_a_reward_model_must_score(qwen: Path, tmp_path: Path):
    """TRL gives a language model a head of random numbers, and random rewards."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    for folder, said in (
        (qwen, "is no model that scores, but Qwen3ForCausalLM"),
        (tmp_path / "adapter", "`datatools train merge` makes a model of it"),
        (tmp_path, "or the folder of a reward model"),
    ):
        with pytest.raises(ValueError, match=said):
            rewards_of([str(folder)], has_answers=True)
