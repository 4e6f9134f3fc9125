"""What a run was begun with, in `run.json`: data, model, settings, plan. The same line again must find it unchanged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from datatools.io.atomic import atomic_path
from trainers.rows import sha256
from trainers.settings import TrainSettings

NAME = "run.json"
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate")
ENDS = 1 << 16  # bytes of a weight file's head and tail that are hashed
# What names files whose contents are compared: wherever they lie, they are the same.
MOVABLE = ("inputs", "general", "extend_vocab", "template")
_ABOUT_WEIGHTS = (".safetensors", ".bin")


def identity(settings: TrainSettings, stage: str) -> dict[str, Any]:
    """What must be the same for a run to go on: settings, hashes of all that is read, digest of the model."""
    files = [*settings.inputs, *settings.general, *([settings.extend_vocab] if settings.extend_vocab else [])]
    if settings.template and Path(settings.template).is_file():
        files.append(settings.template)
    judges = [name for name in settings.rewards if Path(name).is_dir()]
    return {
        "stage": stage,
        "settings": settings.recorded(),
        "data": {path: sha256(path) for path in files} | {path: model_digest(path) for path in judges},
        "model": model_digest(settings.model),
    }


def versions() -> dict[str, str]:
    """Of the libraries that compute."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def other_versions(found: Mapping[str, Any]) -> str:
    """Which libraries are not those that a run was begun with, in words; empty where all are."""
    before, now = found.get("versions", {}), versions()
    return ", ".join(
        f"{name} was {before[name]}, now {now[name]}" for name in now if before.get(name, now[name]) != now[name]
    )


def model_digest(model: str) -> str:
    """Tells a model's folder from another: every file's name and size, small files whole, weights by their ends."""
    folder = Path(model)
    if not folder.is_dir():
        return model
    found = hashlib.blake2b(digest_size=16)
    for path in sorted(one for one in folder.iterdir() if one.suffix in (*_ABOUT_WEIGHTS, ".json", ".jinja", ".model")):
        size = path.stat().st_size
        found.update(f"{path.name} {size} ".encode())
        with path.open("rb") as file:
            if path.suffix not in _ABOUT_WEIGHTS:
                found.update(file.read())
                continue
            found.update(file.read(ENDS))
            file.seek(max(0, size - ENDS))
            found.update(file.read())
    return found.hexdigest()


def read(out: Path) -> dict[str, Any] | None:
    """The manifest of a run; None where none was begun there."""
    try:
        return dict(json.loads((out / NAME).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{out / NAME}: no JSON ({error}); --fresh starts over") from error


def write(out: Path, values: Mapping[str, Any]) -> None:
    """Write the manifest, whole or not at all."""
    with atomic_path(out / NAME) as temporary:
        temporary.write_text(json.dumps(values, ensure_ascii=False, indent=1, default=str), encoding="utf-8")


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What changed since the run was begun, in words; empty when nothing. A file that only moved is the same.

    >>> old = {"stage": "sft", "settings": {"epochs": 3}, "data": {"a.parquet": "1"}, "model": "m"}
    >>> difference(old, {**old, "settings": {"epochs": 1}, "data": {"a.parquet": "2"}})
    'epochs was 3, now 1; a.parquet has changed'
    """
    wanted = json.loads(json.dumps(wanted, default=str))
    said = []
    if found.get("stage") != wanted["stage"]:
        said.append(f"stage was {found.get('stage')}, now {wanted['stage']}")
    before, now = found.get("settings", {}), wanted["settings"]
    files, files_now = found.get("data", {}), wanted["data"]
    for name in now:
        moved = name in MOVABLE and _contents(before.get(name), files) == _contents(now[name], files_now) is not None
        if name == "model":
            moved = found.get("model") == wanted["model"]
        if before.get(name) != now[name] and not moved:
            said.append(f"{name} was {_shown(before.get(name))}, now {_shown(now[name])}")
    said += [f"{name} has changed" for name in files_now if name in files and files[name] != files_now[name]]
    if found.get("model") != wanted["model"] and before.get("model") == now.get("model"):
        said.append(f"the model {now.get('model')} has changed")
    return "; ".join(said)


def _contents(names: Any, hashes: Mapping[str, str]) -> list[str] | None:
    """Hashes of one file or several; None where one is not known."""
    listed = [names] if isinstance(names, str) else list(names or ())
    return [hashes[name] for name in listed] if all(name in hashes for name in listed) else None


def _shown(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)
