"""`report.html` of a run: the plan, and the course of the loss as a drawing with its numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from datatools.io.atomic import atomic_path
from datatools.report.charts import number_of
from trainers.metrics import read

WIDTH, HEIGHT = 720, 220  # of a drawing, in its own units
POINTS = 720  # more steps than that are averaged: a pixel shows no more
DRAWN = {
    "loss": "Loss",
    "learning_rate": "Learning rate",
    "tokens_per_second": "Tokens a second",
    "mfu": "MFU: share of what the GPU could compute",
    "memory_gb": "Memory at its peak, GB",
    "reward": "Reward",
    "rewards/margins": "Margin of chosen over rejected",
    "grad_norm": "Norm of the gradient",
}
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:2rem 0 .3rem}table{border-collapse:collapse}
td{padding:.15rem .8rem .15rem 0;vertical-align:top;overflow-wrap:anywhere}td:first-child{white-space:nowrap}
figure{margin:0}dl{display:flex;flex-wrap:wrap;gap:0 1.2rem;margin:0}dl div{display:flex;gap:.4rem}
dt{color:#666}dd{margin:0;font-variant-numeric:tabular-nums}svg{width:100%;height:auto;background:#f6f7f9}path{fill:none;stroke:#0b62a8;stroke-width:1.6}
:root{color-scheme:light dark}.axis{display:flex;justify-content:space-between;color:#666;font-size:.85rem}
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#16181b}svg{background:#202327}path{stroke:#6bb5f0}
.axis,dt{color:#a3a8ae}}
"""


def write_report(out: Path, lines: Sequence[str], facts: Mapping[str, object]) -> Path:
    """Write `report.html` into the run's folder from its metrics; whole or not at all."""
    metrics = read(out)
    drawings = Markup("").join(
        line_chart([(one["step"], float(one[name])) for one in metrics if _number(one.get(name))], title)
        for name, title in DRAWN.items()
    )
    table, plan = _rows(facts.items()), _rows(line.partition(" ")[::2] for line in lines)
    page = Markup(
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>{0}</title><style>{1}</style><h1>{0}</h1>'
        "<table>{2}</table>{3}<h2>Plan</h2><table>{4}</table></html>\n"
    ).format(out.resolve().name, Markup(STYLE), table, drawings, plan)
    with atomic_path(out / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out / "report.html"


def report(out: Path, found: Mapping[str, Any]) -> Path:
    """The report of a run as far as it has come, from its manifest and its metrics."""
    last, plan = (read(out) or [{}])[-1], found["plan"]
    facts = {
        "stage": plan["stage"],
        "model": found["settings"]["model"],
        "steps": f"{last.get('step', 0):,} of {plan['steps']:,}",
        "tokens": f"{last.get('tokens', 0):,}",
    }
    return write_report(out, found["lines"], facts)


def line_chart(points: Sequence[tuple[float, float]], title: str) -> Markup:
    """A line over steps as inline SVG, with first, last, lowest and highest value below; nothing without points.

    >>> "<path" in line_chart([(1, 2.0), (2, 1.0)], "Loss"), line_chart([], "Loss")
    (True, Markup(''))
    """
    if not points:
        return Markup("")
    drawn = _averaged(points, POINTS)
    lows, highs = min(y for _, y in drawn), max(y for _, y in drawn)
    first, last = drawn[0][0], drawn[-1][0]
    across, up = (last - first) or 1, (highs - lows) or 1
    places = (((x - first) / across * WIDTH, HEIGHT - 8 - (y - lows) / up * (HEIGHT - 16)) for x, y in drawn)
    path = "M" + " L".join(f"{x:.1f},{y:.1f}" for x, y in places)
    values = [y for _, y in points]
    rows = (("first", values[0]), ("last", values[-1]), ("lowest", min(values)), ("highest", max(values)))
    cells = Markup("").join(Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(name, number_of(y)) for name, y in rows)
    return Markup(
        '<h2>{0}</h2><figure><svg viewBox="0 0 {1} {2}" role="img" aria-label="{0}"><path d="{3}"/></svg>'
        '<div class="axis"><span>step {4}</span><span>step {5}</span></div><dl>{6}</dl></figure>'
    ).format(title, WIDTH, HEIGHT, path, number_of(points[0][0]), number_of(points[-1][0]), cells)


def _averaged(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    size = math.ceil(len(points) / most)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in one) / len(one), sum(y for _, y in one) / len(one)) for one in groups]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _rows(cells: Iterable[Sequence[object]]) -> Markup:
    return Markup("").join(Markup("<tr><td>{}</td><td>{}</td></tr>").format(*pair) for pair in cells)
