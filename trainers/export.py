"""Export: a run's model as a folder that other programs load: safetensors, with a Modelfile for Ollama, for GGUF."""

from __future__ import annotations

import re
import shlex
import shutil
import time
from pathlib import Path
from typing import Any

from trainers.folder import FolderSummary, check_run, copy_beside, is_adapter, new_folder
from trainers.merge import write_merged
from trainers.portable import make_portable
from trainers.turns import stops_of, turns_of

FORMATS = ("safetensors", "ollama", "gguf")
# A model is these files; checkpoints, metrics and the report of a run are not.
PATTERNS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "chat_template*",
)


def export(run: Path, to: str, out: Path | None = None) -> FolderSummary:
    """Write the model of `run`, an adapter merged into its base, to `out` (`run/TO` when not given).

    Raises ValueError for another format, a folder without a model, or a chat template that Ollama cannot follow.
    """
    began = time.monotonic()
    if to not in FORMATS:
        raise ValueError(f"--to {to}: must be one of {', '.join(FORMATS)}")
    check_run(run)
    out, name = out or run / to, plain(run.resolve().name)
    summary = FolderSummary("train export", [str(run)], output=str(out), cost=None)
    with new_folder(out) as folder:
        if is_adapter(run):
            difference = write_merged(run, folder)
            summary.lines.append(f"  merged   logits differ by {difference:.2g} at most from those of base and adapter")
        else:
            _copy(run, folder)
        if to == "ollama":
            (folder / "Modelfile").write_text(modelfile(folder, f"{name}-q8_0.gguf"), encoding="utf-8")
    summary.lines += _next(to, out, name)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def modelfile(folder: Path, weights: str) -> str:
    """Ollama's Modelfile for a model folder: the GGUF file of its weights, its template, and where an answer ends.

    Ollama loads safetensors only where its MLX engine runs, and converts none (docs/import.mdx of its repository).
    """
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        raise ValueError(f"{folder}: its tokenizer has no chat template, which Ollama would need")
    turns = turns_of(tokenizer)
    stops = "".join(f'PARAMETER stop "{stop}"\n' for stop in stops_of(tokenizer, _ends(folder), turns))
    return f'FROM ./{weights}\nTEMPLATE """{turns.go_template()}"""\n{stops}'


def convert_command(folder: Path, name: str, precision: str) -> str:
    """How llama.cpp makes a GGUF file of a model folder, in a precision that its converter knows."""
    target = folder / f"{name}-{precision}.gguf"
    return shlex.join(
        ["python", "llama.cpp/convert_hf_to_gguf.py", str(folder), "--outtype", precision, "--outfile", str(target)]
    )


def plain(name: str) -> str:
    """A folder's name as Ollama takes it for a model: letters, digits, `_`, `-` and `.`, at most 80.

    >>> plain("风湿 sft+dpo"), plain("风湿")
    ('sft-dpo', 'model')
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[:80] or "model"


def _copy(run: Path, folder: Path) -> None:
    files = {file for pattern in PATTERNS for file in run.glob(pattern) if file.is_file()}
    if not any(file.suffix == ".safetensors" for file in files):
        raise ValueError(f"{run}: no *.safetensors there")
    for file in sorted(files):
        shutil.copy2(file, folder / file.name)
    copy_beside(run, folder)
    make_portable(folder)


def _ends(folder: Path) -> list[int]:
    import transformers

    try:
        stated: Any = transformers.GenerationConfig.from_pretrained(folder).eos_token_id
    except OSError:
        stated = transformers.AutoConfig.from_pretrained(folder).eos_token_id
    return [int(end) for end in (stated if isinstance(stated, list) else [stated]) if end is not None]


def _next(to: str, out: Path, name: str) -> list[str]:
    if to == "ollama":
        create = shlex.join(["ollama", "create", name, "-f", str(out / "Modelfile")])
        return [f"  next     {convert_command(out, name, 'q8_0')}", f"  then     {create}"]
    if to == "gguf":
        small = shlex.join(
            ["llama-quantize", str(out / f"{name}-bf16.gguf"), str(out / f"{name}-q4_k_m.gguf"), "Q4_K_M"]
        )
        return [f"  next     {convert_command(out, name, 'bf16')}", f"  then     {small}"]
    return []
