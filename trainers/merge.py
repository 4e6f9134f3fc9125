"""Merge: an adapter becomes part of its base model, one model that needs no peft."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from trainers.folder import FolderSummary, check_run, copy_beside, is_adapter, load_adapter, new_folder
from trainers.portable import make_portable

PROBE = "头痛三天，应该怎么办？ Headache for three days."


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
    make_portable(folder)
    if (card := folder / "README.md").is_file():
        text = card.read_text(encoding="utf-8")
        card.write_text(text.replace('library_name: "peft"', 'library_name: "transformers"', 1), encoding="utf-8")
    return difference


def _logits(model: Any, tokenizer: Any) -> Any:
    import torch

    ids = torch.tensor([tokenizer(PROBE, add_special_tokens=False)["input_ids"][:64]])
    with torch.inference_mode():
        return model(input_ids=ids).logits.float()
