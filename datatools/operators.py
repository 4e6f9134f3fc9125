"""The operators that measure or rewrite text, by name, for data that somebody already holds.

`datatools.ray.operator` and `datatools.hf.operator` hand them tables in the form that Ray Data and `datasets` use. An
operator never drops a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pyarrow as pa

from datatools.clean.chinese import Simplify
from datatools.clean.columns import append_columns, text_column
from datatools.clean.normalise import normalise
from datatools.clean.pii import Redact
from datatools.clean.quality import Quality

Operator: TypeAlias = Callable[[pa.RecordBatch], pa.RecordBatch]


class Normalise:
    """Rewrites `text`: one table of characters, no conversion residue, no hard line wraps."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with its text rewritten; null counts as empty."""
        texts = [normalise(text) for text in text_column(batch).to_pylist()]
        return append_columns(batch, {"text": pa.array(texts, pa.string())})


OPERATORS: dict[str, Callable[..., Operator]] = {
    "normalise": Normalise,
    "quality": Quality,
    "redact": Redact,
    "simplify": Simplify,
}


def operator_named(name: str, **settings: Any) -> Operator:
    """The operator of that name. Raises ValueError for a name or a setting that there is not."""
    if name not in OPERATORS:
        raise ValueError(f"operator {name!r}: there are {', '.join(OPERATORS)}")
    try:
        return OPERATORS[name](**settings)
    except TypeError as error:
        raise ValueError(f"operator {name!r}: {error}") from error


def over_table(operator: Operator, table: pa.Table) -> pa.Table:
    """The operator on all batches of a table; an empty table keeps its own columns and gets the operator's."""
    batches = table.combine_chunks().to_batches()
    if not batches:
        empty = pa.RecordBatch.from_pylist([], schema=table.schema)
        return pa.Table.from_batches([operator(empty)])
    return pa.Table.from_batches([operator(batch) for batch in batches])
