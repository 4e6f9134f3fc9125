"""Coverage and balance of `tcm`: how often every entity was asked about, and how the rows are spread."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median_low
from typing import Any

import pyarrow as pa

from datatools.engine.work import Work
from datatools.graph.facts import Facts
from datatools.graph.graph import LABELS, Graph
from datatools.graph.near import NEAR
from datatools.io.atomic import atomic_path
from datatools.report.summary import padded
from pipelines.tcm_graph import key_of

REPORT = "report.json"
_SHOWN = ("task", "sort", "verdict", "letters", "claims")


def near_row(row: Mapping[str, Any], asked: str, twin: tuple[str, float]) -> dict[str, Any]:
    """The trace of a question that nearly equals one before it."""
    return {
        "id": row["id"],
        "source": row["source"],
        "step": "dedupe",
        "rule": "near_duplicate",
        "threshold": NEAR,
        "twin_id": twin[0],
        "similarity": twin[1],
        "excerpt": asked[:200],
    }


def tell_balance(table: pa.Table, balance: dict[str, Counter[str]]) -> None:
    """Count the rows of a table by task, kind, type, verdict and letter."""
    for name in ("task", "kind", "subject_type"):
        balance.setdefault(name, Counter()).update(table[name].to_pylist())
    for row in table.select(["task", "messages"]).to_pylist():
        answer = row["messages"][1]["content"]
        if row["task"] == "true_false":
            balance.setdefault("verdict", Counter())[answer[:2]] += 1
        elif row["task"] == "choice":
            letters = answer.split("\n")[0].split(".")[0]
            balance.setdefault("letters", Counter())[letters if len(letters) == 1 else "several"] += 1
    for checks in table["checks"].to_pylist():
        for name in ("claims_true", "claims_contradicted", "claims_unknown"):
            balance.setdefault("claims", Counter())[name.removeprefix("claims_")] += checks[name] or 0


def coverage(chosen: Mapping[str, Sequence[str]], written: Counter[str], per_entity: int) -> dict[str, Any]:
    """For every type: entities, those asked about often enough, rows an entity, and the others with theirs."""
    found: dict[str, Any] = {}
    for type_, names in chosen.items():
        rows = {name: written[key_of(name, type_)] for name in names}
        short = {name: count for name, count in rows.items() if count < per_entity}
        found[type_] = {
            "entities": len(names),
            "covered": len(names) - len(short),
            "rows": sum(rows.values()),
            "rows_by_entity": spread(list(rows.values())),
            "short": short,
        }
    return found


def spread(counts: Sequence[int]) -> dict[str, int]:
    """Least, middle and most.

    >>> spread([4, 1, 4])
    {'min': 1, 'median': 4, 'max': 4}
    """
    return {"min": min(counts), "median": median_low(counts), "max": max(counts)} if counts else {}


def left_out(graph: Graph, facts: Facts) -> dict[str, int]:
    """Triples that nothing is asked about, by reason."""
    return dict(sorted({**facts.left_out, "repeated": graph.repeated, "empty": graph.empty}.items()))


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """Coverage and balance on the screen."""
    lines = [f"  {padded('type', 9)}{'entities':>9}{'covered':>9}{'rows':>9}   rows an entity: min median max"]
    for type_, found in report["coverage"].items():
        name = padded(LABELS.get(type_, type_ or "other"), 9)
        lines.append(
            f"  {name}{found['entities']:>9,}{found['covered']:>9,}{found['rows']:>9,}"
            + f"{'':>19}"
            + "".join(f"{count:>4,}" for count in found["rows_by_entity"].values())
        )
    for name in _SHOWN:
        if counts := {value: count for value, count in report["balance"].get(name, {}).items() if count}:
            lines.append(f"  {name:<9}" + ", ".join(f"{value} {count:,}" for value, count in counts.items()))
    flags = ", ".join(f"{flag} {count:,}" for flag, count in report["flags"].items()) or "none"
    left = ", ".join(f"{reason} {count:,}" for reason, count in report["left_out"].items() if count)
    return [*lines, f"  flags    {flags}", f"  triples not asked about  {left or 'none'}"]


def leave_report(work: Work, report: Mapping[str, Any]) -> None:
    """What `datatools report` shows, and all the rest for who wants to read it."""
    named = {LABELS.get(type_, type_): found for type_, found in report["coverage"].items()}
    told = {
        "command": "tcm",
        "entities": {name: found["entities"] for name, found in named.items()},
        "covered": {name: found["covered"] for name, found in named.items()},
        "entity_rows": {name: found["rows"] for name, found in named.items()},
        "rows_by_entity": {
            f"{name} {which}": count
            for name, found in named.items()
            for which, count in found["rows_by_entity"].items()
        },
        "verdicts": report["balance"].get("verdict", {}),
        "claims": report["balance"].get("claims", {}),
        "tcm": report,
    }
    with atomic_path(work.path / REPORT) as temporary:
        temporary.write_text(json.dumps(told, ensure_ascii=False, indent=1), encoding="utf-8")
