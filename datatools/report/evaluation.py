"""Evaluations as tables and bars for the report page: one run, or several side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datatools.evaluate.entities import ner_scores
from datatools.evaluate.intervals import mean_interval
from datatools.evaluate.judged import AXES, consult_scores, pairwise_scores
from datatools.evaluate.overlap import ROUGE, text_scores
from datatools.evaluate.scores import READ, exam_scores, grouped, shown
from datatools.report.facts import Bars, Share, Table
from schemas.fields import name_of

KINDS = ("evaluated_exam/1", "evaluated_ner/1", "evaluated_text/1", "evaluated_pairwise/1", "evaluated_consult/1")
WORST = 40  # items that are shown
NER_NOTE = (
    "Micro-averaged; intervals over texts. By places: the same characters. By words: the same words, once a text, as "
    "replies give no places."
)
EXCERPT = 300  # characters of a reply

Row = Mapping[str, Any]
Page = tuple[tuple[Table, ...], tuple[Bars, ...]]


def is_evaluation(path: Path) -> bool:
    """Whether a file holds the rows of an evaluation."""
    try:
        return path.is_file() and name_of(pq.read_schema(path)) in KINDS
    except (OSError, pa.ArrowException):
        return False


def evaluation_tables(paths: Sequence[Path]) -> Page:
    """Tables and bars of evaluations; runs of the same kind stand side by side, in the order they are given."""
    tables: list[Table] = []
    bars: list[Bars] = []
    makers = (_exams, _ner, _texts, _pairs, _consultations)
    kinds = [name_of(pq.read_schema(path)) for path in paths]
    for kind, make in zip(KINDS, makers, strict=True):
        runs = {
            name: pq.read_table(path).to_pylist()
            for name, path, one in zip(_names(paths), paths, kinds, strict=True)
            if one == kind
        }
        if runs:
            some, drawn = make(runs)
            tables += some
            bars += drawn
    return tuple(tables), tuple(bars)


def _names(paths: Sequence[Path]) -> list[str]:
    """The files' names, with their folders where two are the same."""
    names = [path.stem for path in paths]
    return [
        name if names.count(name) == 1 else str(path.with_suffix("")) for name, path in zip(names, paths, strict=True)
    ]


def _exams(runs: Mapping[str, Sequence[Row]]) -> tuple[list[Table], list[Bars]]:
    scores = {name: exam_scores(rows) for name, rows in runs.items()}
    whole = []
    for name, by_exam in scores.items():
        for exam, one in by_exam.items():
            leaked, without, orders = (one.get(key) for key in ("leaked", "without_leaked", "consistent"))
            whole.append(
                (
                    name, exam, one["n"], shown(one), one["unparsed"],
                    shown(orders, "share") if orders else None, leaked["n"] if leaked else None,
                    shown(leaked) if leaked else None, shown(without) if without else None,
                )
            )  # fmt: skip
    columns = (
        "run", "exam", "items", "accuracy", "not read", "right in every order", "leaked", "accuracy on leaked",
        "without leaked",
    )  # fmt: skip
    note = (
        "95 % intervals by bootstrap over items, Wilson's where all are right or all are wrong. What could not be read "
        "is wrong, and counted under “not read”."
    )
    tables = [Table("Accuracy", columns, tuple(whole), note)]
    tables += _differences(runs)
    bars = []
    for title, key in (("type", "types"), ("subject", "subjects")):
        tables += _side_by_side(scores, title, key)
        for name, by_exam in scores.items():
            for exam, one in by_exam.items():
                found = sorted(one.get(key, {}).items(), key=lambda item: item[1]["accuracy"])
                shares = [Share(k or "(none)", v["accuracy"], v["low"], v["high"], v["n"]) for k, v in found]
                if shares:
                    bars.append(Bars(f"{name}: {exam} by {title}, the weakest first", tuple(shares)))
    methods = sorted({method for by_exam in scores.values() for one in by_exam.values() for method in one["methods"]})
    tables.append(
        Table(
            "How answers were told",
            ("run", "exam", *methods),
            tuple(
                (name, exam, *(one["methods"].get(method, 0) for method in methods))
                for name, by_exam in scores.items()
                for exam, one in by_exam.items()
            ),
            "none, truncated, empty and content_filter are answers that could not be told.",
        )
    )
    return [*tables, *_worst(runs)], bars


def _side_by_side(scores: Mapping[str, Mapping[str, Any]], title: str, key: str) -> list[Table]:
    if len(scores) < 2:
        return []
    exams = list(dict.fromkeys(exam for by_exam in scores.values() for exam in by_exam))
    rows = []
    for exam in exams:
        groups = [by_exam.get(exam, {}).get(key, {}) for by_exam in scores.values()]
        for label in dict.fromkeys(label for some in groups for label in some):
            rows.append((exam, label or "(none)", *(shown(some[label]) if label in some else None for some in groups)))
    return [Table(f"By {title}, side by side", ("exam", title, *scores), tuple(rows))] if rows else []


def _differences(runs: Mapping[str, Sequence[Row]]) -> list[Table]:
    """Each later run less the first, over the items both have: the same items, so the interval is of the difference."""
    if len(runs) < 2:
        return []
    means = {name: _by_item(rows) for name, rows in runs.items()}
    first, *others = means
    rows = []
    for name in others:
        shared = [item for item in means[first] if item in means[name]]
        found = mean_interval([means[name][item] - means[first][item] for item in shared])
        gained = sum(means[name][item] > means[first][item] for item in shared)
        lost = sum(means[name][item] < means[first][item] for item in shared)
        bounds = f"{100 * found.value:+.1f} points [{100 * found.low:+.1f}, {100 * found.high:+.1f}]" if shared else "–"
        rows.append((f"{name} less {first}", len(shared), bounds, gained, lost))
    columns = ("runs", "items in common", "difference", "better", "worse")
    return [Table("Difference", columns, tuple(rows), "Paired: the interval is of the difference over the same items.")]


def _by_item(rows: Sequence[Row]) -> dict[str, float]:
    return {item: float(np.mean([row["correct"] for row in some])) for item, some in grouped(rows, "id").items()}


def _worst(runs: Mapping[str, Sequence[Row]]) -> list[Table]:
    """Items that no run has right, unread answers first; of several runs those that got worse before them."""
    by_run = {name: {row["id"]: row for row in rows if not row["shuffle"]} for name, rows in runs.items()}
    first, last = next(iter(by_run.values())), list(by_run.values())[-1]
    shared = [item for item in first if all(item in rows for rows in by_run.values())]
    wrong = [item for item in shared if not any(rows[item]["correct"] for rows in by_run.values())]
    wrong.sort(key=lambda item: last[item]["method"] in READ)
    lists = [("Right in no run", wrong)] if len(by_run) > 1 else [("Worst items", wrong)]
    if len(by_run) > 1:
        lists.insert(0, ("Right in the first run, wrong in the last", [
            item for item in shared if first[item]["correct"] and not last[item]["correct"]
        ]))  # fmt: skip
    columns = ("item", "question", "answer", *by_run)
    return [
        Table(
            title if len(items) <= WORST else f"{title}: {WORST} of {len(items):,}",
            columns,
            tuple(
                (
                    item,
                    _item(first[item]),
                    "".join(first[item]["answer"]),
                    *(_said(rows[item]) for rows in by_run.values()),
                )
                for item in items[:WORST]
            ),
            folded=True,
        )
        for title, items in lists
        if items
    ]


def _item(row: Row) -> str:
    return "\n".join([row["question"], *(f"{letter}. {text}" for letter, text in row["options"] or ())])


def _said(row: Row) -> str:
    chosen = "".join(row["predicted"]) or "not read"
    return f"{chosen} ({row['method']})\n{row['reply'][:EXCERPT]}".strip()


def _ner(runs: Mapping[str, Sequence[Row]]) -> tuple[list[Table], list[Bars]]:
    rows = []
    for name, some in runs.items():
        for file, score in ner_scores(some).items():
            for label, one in (("all", score), *score["types"].items()):
                strict, relaxed = one["strict"], one["relaxed"]
                rows.append(
                    (
                        name, file, label, score["by"], one["entities"], one["predicted"], strict["precision"],
                        strict["recall"], _bounded(strict, "f1"), _bounded(relaxed, "f1"),
                        score["unparsed"] if label == "all" else None,
                    )
                )  # fmt: skip
    columns = (
        "run", "file", "type", "counted by", "annotated", "predicted", "precision", "recall",
        "F1 strict", "F1 relaxed", "not read",
    )  # fmt: skip
    worst = []
    for name, some in runs.items():
        for row in some:
            gold, made = ({(one["text"].strip(), one["type"]) for one in row[key]} for key in ("entities", "predicted"))
            worst.append((len(gold ^ made), name, row))
    worst.sort(key=lambda one: -one[0])
    lists = tuple(
        (name, row["text"], _listed(row["entities"]), _listed(row["predicted"])) for _, name, row in worst[:15]
    )
    shown_worst = Table("Texts with the most mistakes", ("run", "text", "annotated", "predicted"), lists, folded=True)
    return [Table("Entities", columns, tuple(rows), NER_NOTE), shown_worst], []


def _listed(entities: Sequence[Row]) -> str:
    return "、".join(f"{one['text']}（{one['type']}）" for one in entities)


def _bounded(one: Row, key: str) -> str | None:
    if one[key] is None:
        return None
    return f"{one[key]:.3f} [{one['low']:.3f}, {one['high']:.3f}]"


def _texts(runs: Mapping[str, Sequence[Row]]) -> tuple[list[Table], list[Bars]]:
    rows = []
    for name, some in runs.items():
        for language, one in text_scores(some).items():
            bleu = one["bleu"]
            bounds = "" if bleu["low"] is None else f" [{bleu['low']:.1f}, {bleu['high']:.1f}]"
            rows.append(
                (
                    name, language, one["n"], f"{bleu['bleu']:.1f}{bounds}",
                    *(_bounded(one[key], key) for key in ROUGE), one["distinct1"], one["distinct2"],
                )
            )  # fmt: skip
    columns = ("run", "language", "texts", "BLEU", "ROUGE-1", "ROUGE-2", "ROUGE-L", "distinct-1", "distinct-2")
    return [Table("Overlap with references", columns, tuple(rows))], []


def _pairs(runs: Mapping[str, Sequence[Row]]) -> tuple[list[Table], list[Bars]]:
    rows, axes, bars, examples = [], [], [], []
    for name, some in runs.items():
        one = pairwise_scores(some)
        bias, again = one["position_bias"], one["self_agreement"]
        rows.append(
            (
                name, f"{some[0]['model_a']} / {some[0]['model_b']}", some[0]["model"], one["n"], one["broken"],
                bias["first"], bias["last"], bias["turned"], again["share"],
            )
        )  # fmt: skip
        axes += [(name, axis, value["a"], value["b"]) for axis, value in one["axes"].items()]
        if one["n"]:
            shares = [
                Share(f"{key} of A", one[key], one[f"{key}_interval"][0], one[f"{key}_interval"][1], one["n"])
                for key in ("win", "tie", "loss")
            ]
            bars.append(Bars(f"{name}: A against B", tuple(shares)))
        lost = [row for row in some if row["verdict"] == "loss"]
        examples += [
            (name, row["question"], row["answer_a"], row["answer_b"], "\n".join(row["reasons"] or ()))
            for row in lost[:15]
        ]
    columns = (
        "run", "A / B", "judge", "pairs", "broken", "first preferred", "last preferred", "turned with the order",
        "same when asked again",
    )  # fmt: skip
    tables = [Table("Pairs", columns, tuple(rows), "Shares of the orders, in which a judge without bias is even.")]
    tables += [Table("Axes", ("run", "axis", "A", "B"), tuple(axes))] if axes else []
    head = ("run", "question", "A", "B", "why")
    return [*tables, *([Table("Pairs that A lost", head, tuple(examples), folded=True)] if examples else [])], bars


def _consultations(runs: Mapping[str, Sequence[Row]]) -> tuple[list[Table], list[Bars]]:
    scores = {name: consult_scores(some) for name, some in runs.items()}
    rows = [(label, *(_mean(one[label]) for one in scores.values())) for label in (*AXES, "elicited", "turns")]
    flags = list(dict.fromkeys(flag for one in scores.values() for flag in one["flags"]))
    rows += [(flag, *(f"{100 * one['flags'].get(flag, 0.0):.1f} %" for one in scores.values())) for flag in flags]
    idle = [f"{one['nothing_to_ask']:,} of {one['n']:,}" for one in scores.values()]
    rows.append(("nothing to ask", *idle))
    note = (
        "Axes from 1 to 5; elicited: facts told ÷ facts that could be asked for, without the consultations where there "
        "was nothing to ask; flags: share of the consultations."
    )
    tables = [Table("Consultations", ("", *scores), tuple(rows), note)]
    for name, some in runs.items():
        weakest = sorted(some, key=lambda row: sum(row[axis] for axis in AXES))[:10]
        told = tuple(
            (
                row["id"],
                "\n".join(f"{'病人' if t['role'] == 'user' else '医生'}：{t['content']}" for t in row["messages"]),
                ", ".join(f"{axis} {row[axis]:.0f}" for axis in AXES),
                row["reason"],
                "\n".join([", ".join(row["flags"]), *(row.get("doses_named") or ())]),
            )
            for row in weakest
        )
        tables.append(
            Table(f"{name}: the weakest", ("case", "consultation", "axes", "why", "flags"), told, folded=True)
        )
    return tables, []


def _mean(one: Row) -> str | None:
    return None if one["mean"] is None else f"{one['mean']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"
