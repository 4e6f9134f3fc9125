"""Datasets by their hub address: a local folder, and the errors of what cannot be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from datatools.io.hf import address, read
from datatools.io.source import Note, ReadOptions, Source
from schemas.document import Document


@pytest.mark.parametrize(
    "path, parts",
    [
        ("hf:org/name", ("org/name", None, None)),
        ("hf:org/name/small", ("org/name", "small", None)),
        ("hf:org/name@test", ("org/name", None, "test")),
        ("hf:org/name/small@test", ("org/name", "small", "test")),
    ],
)
def test_addresses(path: str, parts: tuple[str, str | None, str | None]) -> None:
    assert address(path) == parts


@pytest.mark.slow
def test_a_local_folder(tmp_path: Path) -> None:
    for split, n in (("train", 3), ("test", 1)):
        rows = [json.dumps({"question": f"头晕怎么办{k}", "answer": "先量血压。"}) for k in range(n)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    items = list(read(Source(f"hf:{tmp_path}", "hf:local", "hf"), ReadOptions()))
    assert next(item.message for item in items if isinstance(item, Note)) == "split train"
    assert [item.offset for item in items if isinstance(item, Document)] == [1, 2, 3]
    with pytest.raises(ValueError, match="no split 'dev'; the splits are train, test"):
        list(read(Source(f"hf:{tmp_path}@dev", "hf:local", "hf"), ReadOptions()))


@pytest.mark.slow
def test_offline_is_one_clear_error(tmp_path: Path) -> None:
    code = (
        "from datatools.io.hf import read\nfrom datatools.io.source import ReadOptions, Source\n"
        "try:\n    list(read(Source('hf:nobody/nothing', 'hf:nobody/nothing', 'hf'), ReadOptions()))\n"
        "except ValueError as error:\n    print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("hf:nobody/nothing cannot be loaded:"), done.stderr
    assert done.stdout.count("\n") == 1
