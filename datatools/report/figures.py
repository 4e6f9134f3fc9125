"""Figures of tables: how many rows hold what, how long texts are, what checks measured, which tokens were paid for.

Tables are scanned lazily and streamed; only counts are kept, and lengths are exact.
"""

from __future__ import annotations

import polars as pl

from datatools.report.facts import Check, Counts, Lengths
from schemas.conversation import CHECKS

TENTHS = 10
TOP = 20  # values of a column that are named; the rest is counted together
# The columns worth counting, of all record types.
COUNTED = ("language", "source_type", "generator", "task", "prompt", "judge", "license", "exam", "relation", "source")
MESSAGES = ("messages", "prompt", "chosen", "rejected")


def collected(table: pl.LazyFrame) -> pl.DataFrame:
    """The rows of a lazy table, streamed: what is read need not fit into memory."""
    return table.collect(engine="streaming")


def rows_of(table: pl.LazyFrame) -> int:
    """How many rows a lazy table has."""
    return int(collected(table.select(pl.len())).item())


def top(counted: pl.DataFrame) -> Counts:
    """From columns `value` and `len`; equal counts are ordered by value."""
    ranked = counted.sort("len", "value", descending=[True, False])
    named = ranked.head(TOP)
    others = sum(ranked["len"].to_list()[TOP:])
    return Counts(tuple(named.rows()), others, ranked.height)


def order_of(table: pl.LazyFrame, rows: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Of a mixture, the rows of every part in each tenth of the file, the earliest part first; else nothing."""
    if "mix_source" not in table.collect_schema():
        return ()
    tenth = (pl.int_range(pl.len()) * TENTHS // rows).alias("tenth")
    counted = collected(table.select(pl.col("mix_source").fill_null(""), tenth).group_by("mix_source", "tenth").len())
    found: dict[str, list[int]] = {}
    for name, place, count in counted.rows():
        found.setdefault(name, [0] * TENTHS)[place] = count
    middles = {name: sum(n * count for n, count in enumerate(counts)) / sum(counts) for name, counts in found.items()}
    return tuple((name, tuple(found[name])) for name in sorted(found, key=lambda name: (middles[name], name)))


def encodings_of(passages: pl.LazyFrame) -> Counts:
    """How many files of which encoding the passages were read from."""
    encoding = pl.col("meta").str.extract('"encoding": "([^"]+)"')
    pairs = passages.select(pl.col("source"), encoding.fill_null("UTF-8, or stated by the format").alias("v"))
    return top(collected(pairs.unique().group_by(value="v").len()))


def column_counts(table: pl.LazyFrame) -> dict[str, Counts]:
    """The values of every column worth counting."""
    counts: dict[str, Counts] = {}
    types = table.collect_schema()
    for name in COUNTED:
        if types.get(name) == pl.String:
            # A crawl has as many sources as pages: its hosts say more.
            host = pl.col(name).str.extract(r"^(https?://[^/?#]+)")
            value = (pl.coalesce(host, pl.col(name)) if name == "source" else pl.col(name)).fill_null("")
            counts[name] = top(collected(table.group_by(value=value).len()))
    if types.get("flags") == pl.List(pl.String):
        flags = table.select(value=pl.col("flags").explode()).drop_nulls()
        if found := top(collected(flags.group_by("value").len())).top:
            counts["flags"] = Counts(found)
    return counts


def column_lengths(table: pl.LazyFrame) -> dict[str, Lengths]:
    """Lengths of texts, or of the turns of messages by their role."""
    lengths: dict[str, Lengths] = {}
    types = table.collect_schema()
    if types.get("text") == pl.String:
        lengths["text"] = _lengths_of(table.select(pl.col("text")))["text"]
    for name in MESSAGES:
        if isinstance(types.get(name), pl.List):
            turns = table.select(pl.col(name).explode().alias("turn")).drop_nulls().unnest("turn")
            by_role = _lengths_of(turns.select("role", text="content"))
            lengths |= {role if name == "messages" else f"{name}: {role}": found for role, found in by_role.items()}
    return lengths


def _lengths_of(texts: pl.LazyFrame) -> dict[str, Lengths]:
    """Lengths of the column `text`, apart for each `role` where there is one."""
    if "role" not in texts.collect_schema():
        texts = texts.with_columns(role=pl.lit("text"))
    counted = collected(
        texts.drop_nulls("text").group_by("role", length=pl.col("text").str.len_chars().cast(pl.Int64)).len()
    )
    roles = counted.drop_nulls("role").sort("role", "length").partition_by("role", as_dict=True)
    return {str(role): Lengths(tuple(rows.select("length", "len").rows())) for (role,), rows in roles.items()}


def checks_of(table: pl.LazyFrame) -> tuple[Check, ...]:
    """The figures of every check of conversations; none where the table holds something else."""
    if not isinstance(table.collect_schema().get("checks"), pl.Struct):
        return ()
    meanings = {item.name: (item.metadata or {}).get(b"meaning", b"").decode() for item in CHECKS}
    values = table.select(pl.col("checks")).unnest("checks")
    names = [name for name, type_ in values.collect_schema().items() if type_.is_numeric()]
    checks = []
    for name in names:
        value = pl.col(name)
        figures = (value.count(), value.min().alias("low"), value.mean().alias("mean"), value.max().alias("high"))
        row = collected(values.select(*figures, (value > 0).sum().alias("above"))).row(0)
        if row[0]:
            checks.append(Check(name, meanings.get(name, ""), *row))
    return tuple(checks)


def tokens_of(table: pl.LazyFrame) -> tuple[int, int] | None:
    """Tokens that a model read and wrote for all rows; None where no model was asked."""
    if not isinstance(table.collect_schema().get("usage"), pl.Struct):
        return None
    names = ("prompt_tokens", "completion_tokens")
    used = table.select(pl.col("usage").struct.field(name).sum() for name in names)
    prompt, completion = collected(used).row(0)
    return (prompt, completion) if prompt or completion else None
