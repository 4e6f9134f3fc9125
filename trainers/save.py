"""The trained model into its folder, and what to say where the disk is full."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

from datatools.io.atomic import sync_folder
from trainers import checkpoints
from trainers.folder import is_adapter
from trainers.render import Renderer
from trainers.settings import TrainSettings

TEMPORARY = ".model.tmp"
# What libraries say where a disk is full: Rust's and C++'s streams keep no errno.
FULL = ("os error 28", "os error 27", "No space left", "PytorchStreamWriter failed", "iostream error", "unexpected pos")
FULL_ERRNO = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def save(trainer: Any, tokenizer: Any, out: Path, settings: TrainSettings, stage: str) -> None:
    """Put model and tokenizer into the run's folder: written beside it, made durable, then moved in."""
    temporary = out / TEMPORARY
    model = trainer.accelerator.unwrap_model(trainer.model)
    # Of texts alone nothing is rendered, and no template need be one that can be.
    if getattr(model, "generation_config", None) is not None and tokenizer.chat_template and stage != "pt":
        end = tokenizer.convert_tokens_to_ids(Renderer(tokenizer, settings.model).end)
        stated = model.generation_config.eos_token_id
        several = stated if isinstance(stated, list) else [stated]
        ends = sorted({int(one) for one in (*several, end, tokenizer.eos_token_id) if one is not None})
        model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    trainer.save_model(str(temporary))  # every rank: shards are gathered
    if not trainer.is_world_process_zero():
        return
    if settings.rope_scaling and is_adapter(temporary):
        model.config.save_pretrained(temporary)  # the adapter was learned over positions that its base does not have
    tokenizer.save_pretrained(temporary)
    for name in ("training_args.bin", "README.md"):  # a pickle of paths, and a card that knows nothing of the data
        (temporary / name).unlink(missing_ok=True)
    for path in sorted(temporary.iterdir()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    # The weights last: where they are, the rest is.
    for path in sorted(temporary.iterdir(), key=lambda one: one.suffix == ".safetensors"):
        path.replace(out / path.name)
    shutil.rmtree(temporary)
    sync_folder(out)


def disk_is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came of, says that no more can be written."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL_ERRNO:
            return True
        if any(word in str(error) for word in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def no_space(out: Path) -> str:
    """Make room by removing what was half written, and say what is left."""
    checkpoints.remove_broken(out)
    shutil.rmtree(out / TEMPORARY, ignore_errors=True)
    last = checkpoints.newest(out)
    size = sum(path.stat().st_size for path in last.rglob("*") if path.is_file()) if last else 0
    need = f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
    have = f"the last whole one is {last.name}; about {need} more are needed" if last else "there is none yet"
    return f"{out}: the disk is full, a checkpoint could not be written; {have}. Make room: the same line goes on"
