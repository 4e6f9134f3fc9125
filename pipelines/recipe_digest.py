"""What tells the content of a file or folder from another: its bytes, never its time."""

from __future__ import annotations

from pathlib import Path

import xxhash

_BLOCK = 4 << 20
_OF_A_MODEL = (".safetensors", ".bin", ".json", ".jinja", ".model", ".txt")
_LOGS = ("trainer_state.json", "run.json", "plan.json", "manifest.json")


def digest(path: Path) -> str:
    """xxh3-128 of a file, or of the names and contents of a folder's files; "" where nothing is.

    Of a folder that holds a model the files of the model alone count: checkpoints and logs beside it do not.
    """
    if path.is_file():
        return _of_file(path)
    if not path.is_dir():
        return ""
    if (path / "config.json").is_file() or (path / "adapter_config.json").is_file():
        files = [one for one in path.iterdir() if one.suffix in _OF_A_MODEL and one.name not in _LOGS]
    else:
        files = [one for one in path.rglob("*") if one.is_file() and not one.name.startswith(".")]
    found = xxhash.xxh3_128()
    for one in sorted(files):
        found.update(f"{one.relative_to(path)}\0{_of_file(one)}\0".encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def _of_file(path: Path) -> str:
    found = xxhash.xxh3_128()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            found.update(block)
    return found.hexdigest()
