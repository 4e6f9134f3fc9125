"""The folder of a run, or of any model: what it holds, how it is loaded, how another is written beside it."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datatools.report.summary import Summary

ADAPTER = "adapter_config.json"
# What a model folder is besides its weights and tokenizer, and goes along with them.
BESIDE = ("README.md",)


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


def load_adapter(run: Path) -> tuple[Any, Any]:
    """Tokenizer and model of an adapter's folder, on the CPU. Raises ValueError when its base is not there."""
    import peft
    import transformers

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    found = json.loads((run / ADAPTER).read_text(encoding="utf-8"))
    base = str(found.get("base_model_name_or_path"))
    kind = "AutoModelForSequenceClassification" if found.get("task_type") == "SEQ_CLS" else "AutoModelForCausalLM"
    options: dict[str, Any] = {"num_labels": 1} if kind == "AutoModelForSequenceClassification" else {}
    if (run / "config.json").is_file():  # of a run that stretched the positions
        options = {"config": transformers.AutoConfig.from_pretrained(run)}
    if not Path(base).exists() and (run / "base").is_dir():
        base = str(run / "base")  # of a vocabulary that was extended, in a run that was moved
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what peft calls of transformers is theirs to settle
        return tokenizer, peft.PeftModel.from_pretrained(model, run).eval()


def load_run(name: str) -> tuple[Any, Any]:
    """Tokenizer and model of a run's folder, a model's folder or a model's id, ready to answer; an adapter is merged.

    Raises ValueError when there is none, or when it has no chat template.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    run = Path(name)
    if run.is_dir():
        check_run(run)
    if run.is_dir() and is_adapter(run):
        tokenizer, adapted = load_adapter(run)
        model = adapted.merge_and_unload()
    else:
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(name)
            model = transformers.AutoModelForCausalLM.from_pretrained(name, dtype="auto")
        except (OSError, ValueError) as error:
            said = str(error).strip().splitlines()[0]
            raise ValueError(f"{name}: no model of that id or path ({said})") from error
    if not tokenizer.chat_template:
        raise ValueError(f"{name}: its tokenizer has no chat template; take a model made for chat")
    return tokenizer, model.eval()


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
