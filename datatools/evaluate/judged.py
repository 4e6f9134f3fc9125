"""Scores of what a judge said: pairs of answers in both orders, and simulated consultations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from datatools.evaluate.intervals import mean_interval, share_interval
from datatools.evaluate.scores import stated

WIN, TIE, LOSS = "win", "tie", "loss"
TURNED = {WIN: LOSS, LOSS: WIN, TIE: TIE}
POINTS = {WIN: (10, 0), TIE: (5, 5), LOSS: (0, 10)}  # of A and B in one order
AXES = ("proactivity", "accuracy", "helpfulness", "linguistic_quality")

Row = Mapping[str, Any]


def whole(first: str, second: str) -> tuple[str, float, float]:
    """The verdict for A of both orders together, by the sum of their points, and the points of A and B.

    >>> whole(WIN, TIE), whole(WIN, LOSS)
    (('win', 15, 5), ('tie', 10, 10))
    """
    a, b = (POINTS[first][k] + POINTS[second][k] for k in (0, 1))
    return (WIN if a > b else LOSS if b > a else TIE), a, b


def pairwise_scores(rows: Iterable[Row], seed: int = 0) -> dict[str, Any]:
    """`win, tie, loss` of A as shares; `low, high` of win + tie ÷ 2; what the order did; the judge's self-agreement.

    Pairs of which an order could not be read count as `broken` and in no share.
    """
    rows = list(rows)
    verdicts = [row["verdict"] for row in rows if row["verdict"]]
    n = len(verdicts)
    found: dict[str, Any] = {}
    for name in (WIN, TIE, LOSS):
        one = stated(share_interval([verdict == name for verdict in verdicts], seed), name)
        found[name] = one[name]
        found[f"{name}_interval"] = [one["low"], one["high"]]
    worth = stated(share_interval([{WIN: 1.0, TIE: 0.5, LOSS: 0.0}[verdict] for verdict in verdicts], seed), "score")
    found |= {**worth, "n": n, "broken": len(rows) - n}
    orders = [(row["first"], row["second"]) for row in rows if row["verdict"] and row["first"]]
    firsts = [first == WIN for first, _ in orders] + [second == LOSS for _, second in orders]
    lasts = [first == LOSS for first, _ in orders] + [second == WIN for _, second in orders]
    found["position_bias"] = {
        "first": _share(firsts),
        "last": _share(lasts),
        "turned": _share([first != TIE and second == TURNED[first] for first, second in orders]),
        "same": _share([first == second for first, second in orders]),
        "n": len(orders),
    }
    again = [row["first"] == row["again"] for row in rows if row["again"] and row["first"]]
    found["self_agreement"] = {**stated(share_interval(again, seed), "share"), "n": len(again)}
    found["axes"] = _axes(rows)
    return found


def _share(values: Sequence[bool]) -> float | None:
    return round(sum(values) / len(values), 6) if values else None


def _axes(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Mean score of A and of B by axis."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for one in row["axes"] or ():
            found.setdefault(one["axis"], []).append((one["a"], one["b"]))
    means = {axis: np.mean(pairs, axis=0) for axis, pairs in found.items()}
    return {axis: {"a": round(float(a), 4), "b": round(float(b), 4)} for axis, (a, b) in means.items()}


def pairwise_lines(score: Mapping[str, Any]) -> list[str]:
    """The scores on the screen."""
    if not score["n"]:
        return [f"  no pair could be judged, {score['broken']:,} broken"]
    bias, again = score["position_bias"], score["self_agreement"]
    parts = [
        f"{name} {100 * score[name]:.1f} % [{100 * score[f'{name}_interval'][0]:.1f}, "
        f"{100 * score[f'{name}_interval'][1]:.1f}]"
        for name in (WIN, TIE, LOSS)
    ]
    lines = [f"  A against B: {', '.join(parts)}; {score['n']:,} pairs, {score['broken']:,} broken"]
    if bias["n"]:
        lines.append(
            f"    the answer shown first was preferred in {_percent(bias['first'])} of the orders, the last in "
            f"{_percent(bias['last'])}; {_percent(bias['turned'])} of the verdicts turned with the order"
        )
    if again["n"]:
        lines.append(f"    asked again, the judge said the same in {_percent(again['share'])} of {again['n']:,} pairs")
    lines += [f"    {axis}: A {one['a']:.2f}, B {one['b']:.2f}" for axis, one in score["axes"].items()]
    return lines


def consult_scores(rows: Iterable[Row], seed: int = 0) -> dict[str, Any]:
    """Mean and interval of each axis and of the share of facts elicited, and shares of consultations with each flag."""
    rows = list(rows)
    found: dict[str, Any] = {axis: stated(mean_interval([row[axis] for row in rows], seed), "mean") for axis in AXES}
    asked = [row["elicited"] for row in rows if row["elicited"] is not None]
    found["elicited"] = {**stated(mean_interval(asked, seed), "mean"), "n": len(asked)}
    found["nothing_to_ask"] = len(rows) - len(asked)  # in no mean of facts elicited
    flags = Counter(flag for row in rows for flag in set(row["flags"]))
    found["flags"] = {name: round(count / len(rows), 6) for name, count in flags.most_common()} if rows else {}
    found["doses_named"] = dict(Counter(dose for row in rows for dose in row.get("doses_named") or ()).most_common())
    found["red_flags"] = sum(bool(row["red_flags"]) for row in rows)
    found["turns"] = stated(mean_interval([row["turns"] for row in rows], seed), "mean")
    found["n"] = len(rows)
    return found


def consult_lines(score: Mapping[str, Any]) -> list[str]:
    """The scores on the screen."""
    if not score["n"]:
        return ["  no consultation came to an end"]
    lines = [f"  {score['n']:,} consultations"]
    for name in (*AXES, "elicited", "turns"):
        one = score[name]
        if one["mean"] is not None:
            scale = " of 5" if name in AXES else ""
            left_out = f", {score['nothing_to_ask']:,} with nothing to ask left out" if name == "elicited" else ""
            lines.append(f"    {name}: {one['mean']:.2f}{scale} [{one['low']:.2f}, {one['high']:.2f}]{left_out}")
    lines += [f"    {name}: {_percent(share)} of them" for name, share in score["flags"].items()]
    lines += [f"      {dose}: {count:,}" for dose, count in score["doses_named"].items()]
    return lines


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
