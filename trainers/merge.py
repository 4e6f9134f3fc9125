"""Merge: an adapter becomes part of its base model, one model that needs no peft."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datatools.report.summary import Summary

ADAPTER = "adapter_config.json"
# What a model folder is besides its weights and tokenizer, and goes along with them.
BESIDE = ("README.md",)
PROBE = "头痛三天，应该怎么办？ Headache for three days."


@dataclass
class FolderSummary(Summary):
    """A summary of something that ends in a folder: what was done in lines, instead of rows."""

    lines: list[str] = field(default_factory=list)

    def to_text(self) -> str:
        """One screen for a person."""
        return "\n".join([f"{self.command}: {self.output} in {self.seconds:.1f} s", *self.lines])

    def to_json(self) -> str:
        """One JSON object; the lines are for the screen."""
        values = json.loads(super().to_json())
        del values["lines"]
        return json.dumps(values, ensure_ascii=False)


def merge(run: Path, out: Path) -> FolderSummary:
    """Write the model of `run` with its adapter merged into its base model to the folder `out`, whole or not at all.

    The merged model's logits are compared with those of base and adapter, and the difference is reported. Raises
    ValueError when there is no adapter, its base model is not to be found, or `out` holds something.
    """
    began = time.monotonic()
    if not is_adapter(run):
        check_run(run)
        raise ValueError(f"{run}: holds a whole model, no adapter to merge (`datatools train export` takes it)")
    with new_folder(out) as folder:
        difference = write_merged(run, folder)
    summary = FolderSummary("train merge", [str(run)], output=str(out), cost=None)
    summary.lines = [f"  logits   differ by {difference:.2g} at most from those of base and adapter"]
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def is_adapter(run: Path) -> bool:
    """Whether a folder holds an adapter instead of a whole model."""
    return (run / ADAPTER).is_file()


def check_run(run: Path) -> None:
    """Raise ValueError unless a folder holds a model."""
    if not run.is_dir():
        raise ValueError(f"{run}: no such folder")
    if not (run / "config.json").is_file() and not is_adapter(run):
        checkpoints = sorted(run.glob("checkpoint-*"))
        hint = "; the run has not ended: the same `datatools train` again goes on" if checkpoints else ""
        raise ValueError(f"{run}: no model there (no config.json, no {ADAPTER}){hint}")


def write_merged(run: Path, folder: Path) -> float:
    """Write the merged model into an empty folder; the largest difference of logits between it and base and adapter."""
    import torch

    tokenizer, model = load_adapter(run)
    before = _logits(model, tokenizer)
    merged = model.merge_and_unload(safe_merge=True)
    difference = float((_logits(merged, tokenizer) - before).abs().max())
    if not difference < torch.inf:
        raise ValueError(f"{run}: the merged model computes no numbers; the adapter or its base is broken")
    merged.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    copy_beside(run, folder)
    return difference


def load_adapter(run: Path) -> tuple[Any, Any]:
    """Tokenizer and model of an adapter's folder, on the CPU. Raises ValueError when its base is not there."""
    import peft
    import transformers

    found = json.loads((run / ADAPTER).read_text(encoding="utf-8"))
    base = str(found.get("base_model_name_or_path"))
    kind = "AutoModelForSequenceClassification" if found.get("task_type") == "SEQ_CLS" else "AutoModelForCausalLM"
    options: dict[str, Any] = {"num_labels": 1} if kind == "AutoModelForSequenceClassification" else {}
    tokenizer = transformers.AutoTokenizer.from_pretrained(run)
    try:
        model = getattr(transformers, kind).from_pretrained(base, dtype="auto", **options)
    except (OSError, ValueError) as error:
        said = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{run}: its base model {base} is not to be found ({said}); base_model_name_or_path in {run / ADAPTER} "
            "says where it is"
        ) from error
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        # The vocabulary was extended: the adapter brings the rows of the new tokens.
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return tokenizer, peft.PeftModel.from_pretrained(model, run).eval()


def copy_beside(run: Path, folder: Path) -> None:
    """Copy what belongs to a model and is neither weights nor tokenizer."""
    for name in BESIDE:
        if (run / name).is_file():
            shutil.copy2(run / name, folder / name)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """An empty folder beside `out` that becomes `out` when the block ends well, and vanishes when it does not."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out}: holds something already; choose another")
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb") as written:
                    os.fsync(written.fileno())
        if out.exists():
            out.rmdir()
        temporary.rename(out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _logits(model: Any, tokenizer: Any) -> Any:
    import torch

    ids = torch.tensor([tokenizer(PROBE, add_special_tokens=False)["input_ids"][:64]])
    with torch.inference_mode():
        return model(input_ids=ids).logits.float()
