"""What a run was begun with, in `run.json`: data, model, settings, plan. The same line again must find it unchanged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datatools.io.atomic import atomic_path
from trainers.rows import sha256
from trainers.settings import TrainSettings

NAME = "run.json"
ENDS = 1 << 16  # bytes of a weight file's head and tail that are hashed
_ABOUT_WEIGHTS = (".safetensors", ".bin")


def identity(settings: TrainSettings, stage: str) -> dict[str, Any]:
    """What must be the same for a run to go on: settings, hashes of the data, digest of the model."""
    files = [*settings.inputs, *settings.general, *([settings.extend_vocab] if settings.extend_vocab else [])]
    return {
        "stage": stage,
        "settings": settings.recorded(),
        "data": {path: sha256(path) for path in files},
        "model": model_digest(settings.model),
    }


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
    """What changed since the run was begun, in words; empty when nothing.

    >>> old = {"stage": "sft", "settings": {"epochs": 3}, "data": {"a.parquet": "1"}, "model": "m"}
    >>> difference(old, {**old, "settings": {"epochs": 1}, "data": {"a.parquet": "2"}})
    'epochs was 3, now 1; a.parquet has changed'
    """
    wanted = json.loads(json.dumps(wanted, default=str))
    said = []
    if found.get("stage") != wanted["stage"]:
        said.append(f"stage was {found.get('stage')}, now {wanted['stage']}")
    before, now = found.get("settings", {}), wanted["settings"]
    changed = [name for name in now if before.get(name) != now[name]]
    said += [f"{name} was {_shown(before.get(name))}, now {_shown(now[name])}" for name in changed]
    files, files_now = found.get("data", {}), wanted["data"]
    said += [f"{name} has changed" for name in files_now if name in files and files[name] != files_now[name]]
    if found.get("model") != wanted["model"] and before.get("model") == now.get("model"):
        said.append(f"the model {now.get('model')} has changed")
    return "; ".join(said)


def _shown(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)
