"""Operators for Hugging Face datasets.

from datasets import load_dataset
from datatools.hf import operator

pages = load_dataset("parquet", data_files="pages.parquet", split="train")  # with a column `text`
pages = pages.map(operator("redact"), batched=True).map(operator("quality"), batched=True)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from datatools.operators import operator_named, over_table


@dataclass(frozen=True)
class BatchOperator:
    """An operator on batches as `datasets.map(batched=True)` gives them: column → list."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """The columns that the operator rewrote or appended."""
        table = pa.table({"text": pa.array(batch["text"], pa.string())})
        if "language" in batch:
            table = table.append_column("language", pa.array(batch["language"], pa.string()))
        made = over_table(operator_named(self.name, **self.settings), table)
        return {name: _plain(made[name]) for name in made.column_names if name != "language"}


def operator(name: str, **settings: Any) -> BatchOperator:
    """What `datasets.Dataset.map(…, batched=True)` takes: normalise, quality, redact or simplify.

    Maps (`pii`) become lists of {key, value}: `datasets` has no maps. Raises ValueError for a name or a setting that
    there is not.

    >>> operator("redact")({"text": ["电话13800138000"]})["text"]
    ['电话[PHONE]']
    """
    operator_named(name, **settings)
    return BatchOperator(name, settings)


def _plain(column: pa.ChunkedArray) -> list[Any]:
    values: list[Any] = column.to_pylist()
    if pa.types.is_map(column.type):
        return [[{"key": key, "value": value} for key, value in row or []] for row in values]
    return values
