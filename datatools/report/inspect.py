"""Rows of a file in the terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

LONGEST = 600  # characters of one value; the rest is counted


def show(file: Path, *, rows: int, random: bool, where: str | None, seed: int, as_json: bool) -> None:
    """Print `rows` rows of a parquet file: the first, or `random` ones, of those that meet the SQL condition `where`.

    Raises ValueError for a file that cannot be read or a condition that is none.
    """
    import polars as pl

    if not file.is_file():
        raise ValueError(f"{file}: no such file")
    try:
        table = pl.scan_parquet(file)
        if where:
            table = pl.SQLContext(rows=table).execute(f"select * from rows where {where}")
        if random:
            # Drawing numbers first keeps a file of any size out of memory.
            count = int(table.select(pl.len()).collect().item())
            drawn = pl.int_range(count, eager=True).sample(min(rows, count), seed=seed).sort()
            found = table.with_row_index("_row").filter(pl.col("_row").is_in(drawn.implode())).drop("_row").collect()
        else:
            found = table.head(rows).collect()
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{file}: {f'--where {where}: ' if where else ''}{reason}") from error
    if as_json:
        print(json.dumps({"file": str(file), "rows": found.to_dicts()}, ensure_ascii=False, default=str))
        return
    for number, row in enumerate(found.to_dicts(), 1):
        print(f"── {number} " + "─" * 60)
        _print_row(row)
    if not found.height:
        print(f"{file}: no rows{' where ' + where if where else ''}", file=sys.stderr)


def _print_row(row: dict[str, Any]) -> None:
    for name, value in row.items():
        if name == "messages" or (
            isinstance(value, list) and value and isinstance(value[0], dict) and "role" in value[0]
        ):
            for turn in value:
                print(f"{turn['role']:>10}  {_indented(turn['content'])}")
        elif value not in (None, "", []):
            print(f"{name:>10}  {_indented(_plain(value))}")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items() if item is not None)
    if isinstance(value, list):
        return " › ".join(str(item) for item in value)
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _indented(text: str) -> str:
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text) - LONGEST:,} characters more)"
    return shown.replace("\n", "\n            ")
