"""Operators for Ray Data.

import ray
from datatools.ray import operator

pages = ray.data.read_parquet("pages/")  # with a column `text`
pages.map_batches(operator("redact"), batch_format="pyarrow").map_batches(
    operator("quality"), batch_format="pyarrow"
).write_parquet("measured/")
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from datatools.operators import operator_named, over_table


@dataclass(frozen=True)
class TableOperator:
    """An operator on Arrow tables that travels to workers by its name and settings, never with what it has loaded."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)

    def __call__(self, table: pa.Table) -> pa.Table:
        """The table with the operator's columns."""
        return over_table(operator_named(self.name, **self.settings), table)


def operator(name: str, **settings: Any) -> TableOperator:
    """What `ray.data.Dataset.map_batches(…, batch_format="pyarrow")` takes: normalise, quality, redact or simplify.

    Raises ValueError for a name or a setting that there is not.

    >>> operator("redact")(pa.table({"text": ["电话13800138000"]}))["text"].to_pylist()
    ['电话[PHONE]']
    """
    operator_named(name, **settings)
    return TableOperator(name, settings)
