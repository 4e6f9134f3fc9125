"""Arrow IPC: file, stream and Feather."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import feather

from datatools.io.arrow import read
from datatools.io.source import ReadOptions, Source
from schemas.document import Document

TABLE = pa.table({"id": ["a", "b", "c"], "text": ["感冒多由病毒引起。", "Rest.", "多喝水。"]})


def write(path: Path, form: str) -> Path:
    if form == "feather":
        feather.write_feather(TABLE, path)
        return path
    opened = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
    with opened(path, TABLE.schema) as out:
        out.write_table(TABLE, max_chunksize=2)
    return path


@pytest.mark.parametrize("form", ["file", "stream", "feather"])
def test_forms(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "a.arrow", form)
    for data in (None, path.read_bytes()):
        items = read(Source(str(path), "a.arrow", "arrow", data=data), ReadOptions())
        rows = [(item.id, item.text, item.offset) for item in items if isinstance(item, Document)]
        assert rows == [("a", "感冒多由病毒引起。", 1), ("b", "Rest.", 2), ("c", "多喝水。", 3)]


@pytest.mark.parametrize("form", ["file", "stream"])
def test_a_cut_off_file_raises(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "a.arrow", form)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises((pa.ArrowException, OSError)):
        list(read(Source(str(path), "a.arrow", "arrow"), ReadOptions()))
