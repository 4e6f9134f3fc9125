"""A model's folder that is not whole is told of at once, by what its files say of themselves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import small
from tests.pipelines.command import here
from tests.trainers.conftest import ROWS, write_rows
from trainers.machine import model_facts

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 12\n"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def half(file: Path) -> None:
    small.model().save_pretrained(file.parent, max_shard_size="60KB")
    file.unlink(missing_ok=True)
    sorted(file.parent.glob("model-*.safetensors"))[-1].unlink()


def larger(file: Path) -> None:
    small.tokenizer(words=800, lines=(*small.LINES, "龘齉爩灪麤" * 9)).save_pretrained(file.parent)


def wider(file: Path) -> None:
    small.model(hidden=64).save_pretrained(file.parent / "other")
    shutil.move(file.parent / "other" / file.name, file)


def unknown(file: Path) -> None:
    config = json.loads((file.parent / "config.json").read_text())
    (file.parent / "config.json").write_text(json.dumps({**config, "model_type": "qwen99"}))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (Path.unlink, "holds no weights"),
        (cut, "model.safetensors: is cut short"),
        (lambda file: file.write_bytes(b""), "model.safetensors: is no safetensors file"),
        (lambda file: file.write_text(POINTER), "is a pointer of Git LFS"),
        (lambda file: file.write_bytes(b"\xff" * 64), "model.safetensors: is no safetensors file"),
        (half, "1 of 3 files of weights are not there (model-00003-of-00003.safetensors)"),
        (larger, "it is another model's tokenizer"),
        (unknown, "config.json cannot be read"),
    ],
)
def test_a_folder_that_is_not_whole_is_one_line(harm: Callable[[Path], None], said: str, tmp_path: Path):
    model = small.save(tmp_path / "model")
    harm(model / "model.safetensors")
    rows = write_rows(tmp_path / "rows.jsonl", ROWS["sft"])
    words = ["train", rows, "--model", model, "--out", tmp_path / "run", "--quiet"]
    for more in ([], ["--dry-run"]):
        refused = here(*words, *more)
        assert refused.code == 2, refused.stderr
        assert said in refused.line
        assert refused.stderr.count("\n") == 1
        assert not (tmp_path / "run").exists()


def test_weights_that_are_there_twice_are_counted_once(tmp_path: Path):
    """As Mistral's: the shards, and all of them in one file of another name."""
    once = model_facts(str(small.save(tmp_path / "model"))).parameters
    shutil.copy(tmp_path / "model" / "model.safetensors", tmp_path / "model" / "consolidated.safetensors")
    assert model_facts(str(tmp_path / "model")).parameters == once
    small.model().save_pretrained(tmp_path / "model", max_shard_size="60KB")
    (tmp_path / "model" / "model.safetensors").unlink(missing_ok=True)
    assert model_facts(str(tmp_path / "model")).parameters == once
    # A model on the hub is planned for before its weights are fetched.
    for path in (tmp_path / "model").glob("*.safetensors"):
        path.unlink()
    assert model_facts(str(tmp_path / "model")).parameters == pytest.approx(once, rel=0.02)


@pytest.mark.slow
def test_weights_that_do_not_fit_leave_no_run_behind(tmp_path: Path):
    model = small.save(tmp_path / "model")
    wider(model / "model.safetensors")
    rows = write_rows(tmp_path / "rows.jsonl", ROWS["sft"])
    refused = here("train", rows, "--model", model, "--out", tmp_path / "run", "--quiet")
    assert refused.code == 2, refused.stderr
    assert "other shapes than config.json says" in refused.line
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["orpo", "grpo"])
def test_a_tokenizer_whose_turns_end_and_whose_texts_do_not(stage: str, data: dict[str, Path], tmp_path: Path):
    model = small.save(tmp_path / "model")
    tokenizer = small.tokenizer(end=None)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(model)
    more = ["--set", "num_generations=2", "--set", "max_completion_length=4"] if stage == "grpo" else []
    words = ["--model", model, "--out", tmp_path / "run", "--max-steps", 1, "--quiet"]
    done = here("train", data[stage], "--stage", stage, *words, *more)
    assert done.code == 0, done.stderr
