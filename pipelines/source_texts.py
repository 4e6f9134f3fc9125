"""The text that a conversation was made from: out of the row itself, or of the work folder of the job that made it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from datatools.engine.work import work_path

_BATCHES = 16  # that are kept unpacked: rows come in the order of their passages


class SourceTexts:
    """Finds the text behind the rows of the conversation files at `paths`."""

    def __init__(self, paths: list[str]) -> None:
        self._parts = sorted(part for path in paths for part in _parts(Path(path)))
        self._places: dict[str, tuple[int, int, int]] | None = None
        self._texts = lru_cache(maxsize=_BATCHES)(self._unpacked)

    def of(self, row: Mapping[str, Any]) -> str | None:
        """What the answer was made from; None where nobody knows.

        In this order: the row's own `source_text`; the triples or the facts that it rests on; the answer itself where
        it is a verbatim passage; the passage that `unify` left in `X.work` beside `X.parquet`.
        """
        if said := row.get("source_text"):
            return str(said)
        if triples := row.get("triples"):
            return "\n".join(f"{one['head']} {one['relation']} {one['tail']}" for one in triples)
        if facts := row.get("facts"):
            return "\n".join(one["text"] for one in facts)
        if (row.get("checks") or {}).get("finish_reason") == "source" and row.get("generator") == "rules":
            return str(row["messages"][-1]["content"])
        return self._passage(row.get("source_id") or "")

    def _passage(self, id: str) -> str | None:
        if self._places is None:
            self._places = {}
            for number, part in enumerate(self._parts):
                with pa.memory_map(str(part)) as file:
                    reader = pa.ipc.open_file(file, options=_only("id", part))
                    for batch in range(reader.num_record_batches):
                        ids = reader.get_batch(batch).column(0).to_pylist()
                        self._places.update({name: (number, batch, row) for row, name in enumerate(ids)})
        place = self._places.get(id)
        return None if place is None else str(self._texts(*place[:2])[place[2]])

    def _unpacked(self, number: int, batch: int) -> list[str]:
        part = self._parts[number]
        with pa.memory_map(str(part)) as file:
            texts: list[str] = (
                pa.ipc.open_file(file, options=_only("text", part)).get_batch(batch).column(0).to_pylist()
            )
            return texts


def _only(column: str, part: Path) -> pa.ipc.IpcReadOptions:
    """Reads one column alone."""
    with pa.memory_map(str(part)) as file:
        return pa.ipc.IpcReadOptions(included_fields=[pa.ipc.open_file(file).schema.get_field_index(column)])


def _parts(path: Path) -> list[Path]:
    return list((work_path(path) / "parts").glob("*.passages.arrow")) if path.suffix == ".parquet" else []
