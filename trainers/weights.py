"""The weights of a model's folder, looked at without loading them: whether all are there, and how many there are."""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path
from typing import Any

INDEX = "model.safetensors.index.json"
POINTER = b"version https://git-lfs"


def check_weights(model: str) -> None:
    """Raise ValueError, naming the file, unless a folder holds all of a model's weights; a model's id says nothing."""
    folder = Path(model)
    if (folder / "adapter_config.json").is_file():
        raise ValueError(f"--model {model}: holds an adapter; `datatools train merge` makes a model of it")
    if not (folder / "config.json").is_file():
        return  # what is no model's folder is told of elsewhere
    index = folder / INDEX
    if index.is_file():
        try:
            wanted = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError) as error:
            raise ValueError(f"{index}: is no index of weights; fetch the model again") from error
        missing = sorted(name for name in wanted if not (folder / name).is_file())
        if missing:
            raise ValueError(
                f"--model {model}: {len(missing)} of {len(wanted)} files of weights are not there ({missing[0]}); "
                "fetch the model again"
            )
    files = [path for path in sorted(folder.glob("*.safetensors")) if not path.name.startswith("adapter")]
    for path in files:
        tensors(path)
    if not files and not any(folder.glob("*.bin")):
        raise ValueError(f"--model {model}: holds no weights (*.safetensors); fetch the model again")


def tensors(path: Path) -> dict[str, Any]:
    """What the head of a safetensors file says of its tensors. Raises ValueError for a file that is not whole."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        if POINTER.startswith(first) and size:
            raise ValueError(f"{path}: is a pointer of Git LFS instead of the weights; git lfs pull fetches them")
        length = struct.unpack("<Q", first)[0] if len(first) == 8 else size
        try:
            head = json.loads(file.read(length)) if 8 + length <= size else None
        except ValueError:
            head = None
    if not isinstance(head, dict):
        raise ValueError(f"{path}: is no safetensors file; fetch the model again")
    head.pop("__metadata__", None)
    end = 8 + length + max((one["data_offsets"][1] for one in head.values()), default=0)
    if size < end:
        raise ValueError(f"{path}: is cut short, {size:,} of {end:,} bytes are there; fetch the model again")
    return head


def count(path: Path) -> int:
    """Numbers in a safetensors file."""
    return sum(prod(one["shape"]) for one in tensors(path).values())
