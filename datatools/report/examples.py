"""Examples for the figures: why rows are missing, which texts were alike, what was rewritten, what came out.

Rows are picked by their place, evenly spread, and clusters by size and similarity, never by chance: the same files
always give the same examples.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from datatools.report.facts import Cluster, Example, Reason, Rewrite, Sample, Twin
from datatools.report.figures import MESSAGES, collected

EXAMPLES = 5  # of a reason, a rewriting rule, and the output
LONGEST_TEXT = 20_000  # characters of one text that are read for an example
CLUSTERS, TWINS = 8, 3  # clusters shown per rule, and members of one
_PLAIN_TEXT = ("title", "text", "head", "relation", "tail", "question", "explanation", "diagnosis")


def reasons_of(table: pl.LazyFrame | None, rule: str, excerpt: str) -> tuple[Reason, ...]:
    """Steps and rules of a trace, or steps and classes of failed rows, with examples; most frequent first."""
    if table is None:
        return ()
    measured = "value" in table.collect_schema()
    place = (pl.int_range(0, EXAMPLES) * (pl.len().cast(pl.Int64) - 1) // (EXAMPLES - 1)).unique().sort()
    rows = pl.col("row").sort().gather(place)
    value = pl.col("value") if measured else pl.lit(None, pl.Float64)
    figures = (pl.len().alias("count"), value.min().alias("low"), value.max().alias("high"), rows.alias("rows"))
    numbered = table.with_row_index("row").with_columns(pl.col("step", rule).fill_null(""))
    groups = collected(numbered.group_by("step", rule).agg(*figures)).sort(
        "count", rule, "step", descending=[True, False, False]
    )
    names = [name for name in ("value", "threshold", "twin_id", "similarity") if measured]
    wanted = groups["rows"].explode()
    text = pl.col(excerpt).fill_null("").str.slice(0, 1000).alias("excerpt")
    found = collected(
        numbered.filter(pl.col("row").is_in(wanted.implode()))
        .select("row", pl.col("id", "source").fill_null(""), text, *names)
        .with_columns(pl.col("twin_id").fill_null("") if measured else [])
    )
    examples = {row.pop("row"): Example(**row) for row in found.to_dicts()}
    return tuple(
        Reason(
            group["step"],
            group[rule],
            group["count"],
            tuple(examples[n] for n in group["rows"]),
            group["low"],
            group["high"],
        )
        for group in groups.to_dicts()
    )


def with_twins(
    reasons: Sequence[Reason], passages: pl.LazyFrame | None, table: pl.LazyFrame | None
) -> tuple[Reason, ...]:
    """The reasons with the texts that their examples were like, where they are not the same."""
    like = [example for reason in reasons for example in reason.examples if (example.similarity or 1) < 1]
    if not like:
        return tuple(reasons)
    found = _texts([example.twin_id for example in like], [*_document_texts(passages), *_document_texts(table)])
    texts = {example: found.get(example.twin_id, "") for example in like}
    return tuple(
        replace(
            reason,
            examples=tuple(replace(example, twin_text=texts.get(example, "")) for example in reason.examples),
        )
        for reason in reasons
    )


def samples_of(table: pl.LazyFrame, count: int) -> list[tuple[Sample, str]]:
    """Rows spread evenly over the `count` rows of the output, each with the id of what it was made of."""
    types = table.collect_schema()
    names = [name for name in _PLAIN_TEXT if types.get(name) == pl.String]
    names += [name for name in MESSAGES if isinstance(types.get(name), pl.List)]
    provenance = [name for name in ("id", "source", "source_id", "generator", "prompt") if name in types]
    samples = []
    for number in sorted({place * (count - 1) // (EXAMPLES - 1) for place in range(EXAMPLES)}):
        row = table.select(pl.col(dict.fromkeys([*provenance, *names]))).slice(number, 1).collect().row(0, named=True)
        made_by = [row[name] for name in ("generator", "prompt") if isinstance(row.get(name), str) and row[name]]
        texts = tuple(pair for name in names for pair in _texts_in(name, row[name]))
        sample = Sample(row.get("id") or "", row.get("source") or "", " · ".join(made_by), texts)
        samples.append((sample, row.get("source_id") or ""))
    return samples


def _texts_in(name: str, value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, list):
        for turn in value:
            if isinstance(turn, dict) and turn.get("content"):
                role = str(turn.get("role"))
                yield (role if name == "messages" else f"{name}: {role}"), turn["content"][:LONGEST_TEXT]
    elif isinstance(value, str) and value:
        yield name, value[:LONGEST_TEXT]


def rewrites_of(
    given: Sequence[Any], samples: Sequence[tuple[Sample, str]], passages: pl.LazyFrame | None
) -> tuple[Rewrite, ...]:
    """What was `given` by report.json, and for rows a model wrote the passage beside the answer."""
    rewrites: list[Rewrite] = []
    shown: dict[tuple[str, str], int] = {}
    for entry in given:
        if not isinstance(entry, dict) or not isinstance(entry.get("before"), str):
            continue
        key = str(entry.get("step") or ""), str(entry.get("rule") or "")
        shown[key] = shown.get(key, 0) + 1
        if shown[key] <= EXAMPLES:
            before, after = entry["before"][:LONGEST_TEXT], str(entry.get("after") or "")[:LONGEST_TEXT]
            rewrites.append(Rewrite(*key, before, after))
    written = [(sample, id) for sample, id in samples if not re.match(r"(rules|source)\b|$", sample.made_by)]
    found = _texts([id for _, id in written], _document_texts(passages))
    for sample, id in written:
        answers = [text for role, text in sample.texts if role == "assistant"]
        if id in found and answers:
            rewrites.append(Rewrite("generate", sample.made_by, found[id], answers[-1]))
    return tuple(rewrites)


def clusters_of(
    given: tuple[Cluster, ...],
    trace: pl.LazyFrame | None,
    passages: pl.LazyFrame | None,
    pairs: pl.LazyFrame | None,
    table: pl.LazyFrame | None,
) -> tuple[tuple[Cluster, ...], int, tuple[tuple[float, int], ...]]:
    """Clusters to show, how many there are, and how many rows were dropped at which similarity (in twentieths).

    Shown are those `given`; without any, some are chosen from the trace.
    """
    if trace is None:
        return given[:CLUSTERS], len(given), ()
    twins = trace.filter(pl.col("twin_id").fill_null("") != "")
    by_twin = twins.group_by("rule", "twin_id").agg(pl.len().alias("size"), pl.col("similarity").min().alias("low"))
    groups = collected(by_twin)
    twentieth = (pl.col("similarity") * 20 + 1e-9).floor().cast(pl.Int64)
    spread = collected(twins.drop_nulls("similarity").group_by(at=twentieth).len()).sort("at")
    similarities = tuple((at / 20, count) for at, count in spread.rows())
    if given:
        return given[:CLUSTERS], max(len(given), groups.height), similarities
    # The largest, and the least similar: that is where a threshold shows what it does.
    chosen: list[pl.DataFrame] = []
    for rule in sorted(groups["rule"].drop_nulls().unique().to_list()):
        of_rule = groups.filter(pl.col("rule") == rule)
        largest = of_rule.sort("size", "twin_id", descending=[True, False]).head(CLUSTERS // 4)
        rest = of_rule.join(largest, on="twin_id", how="anti").sort("low", "twin_id", nulls_last=True)
        chosen += [largest, rest.head(CLUSTERS // 4)]
    if not chosen:
        return (), groups.height, similarities
    messages = [*_message_texts(pairs), *_message_texts(table)]
    documents = [*_document_texts(passages), *_document_texts(table)]
    asked, read = [*messages, *documents], [*documents, *messages]
    clusters: list[Cluster] = []
    for rule, twin_id, size, _ in pl.concat(chosen).rows():
        if len(clusters) < 2 * CLUSTERS:
            clusters.append(_cluster(rule, twin_id, size, twins, asked if rule == "duplicate_question" else read))
    return tuple(clusters), groups.height, similarities


def _cluster(rule: str, twin_id: str, size: int, twins: pl.LazyFrame, tables: Sequence[pl.LazyFrame]) -> Cluster:
    members = collected(
        twins.filter((pl.col("rule") == rule) & (pl.col("twin_id") == twin_id))
        .select("id", "similarity", pl.col("excerpt").fill_null(""))
        .head(TWINS)
    ).rows()
    # Ids that the input brought along may repeat: then only the excerpt tells the twins apart.
    found = _texts([twin_id, *(id for id, _, _ in members if id != twin_id)], tables)
    dropped = tuple(
        Twin(id, found[id], similarity)
        if id in found and id != twin_id
        else Twin(id, excerpt, similarity, cut=len(excerpt) >= 200)
        for id, similarity, excerpt in members
    )
    return Cluster(twin_id, found.get(twin_id), size, dropped, rule)


def _document_texts(table: pl.LazyFrame | None) -> list[pl.LazyFrame]:
    """`id` and `text` of Documents; none where the table holds something else."""
    if table is None or "text" not in table.collect_schema():
        return []
    return [table.select("id", pl.col("text").str.slice(0, LONGEST_TEXT))]


def _message_texts(table: pl.LazyFrame | None) -> list[pl.LazyFrame]:
    """`id` and `text` of Conversations, their turns one after another."""
    if table is None or "messages" not in table.collect_schema():
        return []
    turns = pl.col("messages").list.eval(pl.element().struct.field("content"))
    return [table.select("id", turns.list.join("\n\n").str.slice(0, LONGEST_TEXT).alias("text"))]


def _texts(ids: Iterable[str], tables: Sequence[pl.LazyFrame]) -> dict[str, str]:
    """The texts of `ids`, each from the first table that has it."""
    found: dict[str, str] = {}
    for table in tables:
        if missing := sorted(set(ids) - found.keys()):
            rows = collected(table.filter(pl.col("id").is_in(missing)).drop_nulls("text"))
            for id, text in rows.rows():
                found.setdefault(id, text)
    return found
