"""Bars and histograms of our own, as inline HTML and SVG: nothing to fetch, nothing to run.

Every chart is also a table or a list of its exact numbers, so that it can be read aloud, copied and tested.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from datatools.report.facts import Share

SERIES = (1, 2, 5)  # widths of bins: 1, 2, 5, 10, 20, 50, …
COLOURS = 8  # of bands, one above the other; then they begin again
HEIGHT = 100  # of a histogram's drawing, in its own units


@dataclass(frozen=True)
class Bin:
    """Texts from `low` up to, not including, `high` (None: no end)."""

    low: float
    high: float | None
    count: int

    @property
    def label(self) -> str:
        """`100–199`, or `5,000 and more`.

        >>> Bin(100, 200, 3).label, Bin(5000, None, 1).label, Bin(0.85, 0.9, 2).label
        ('100–199', '5,000 and more', '0.85–0.90')
        """
        if self.high is None:
            return f"{self.low:,.0f} and more"
        if isinstance(self.low, float):
            return f"{self.low:.2f}–{self.high:.2f}"
        last = self.high - 1
        return f"{self.low:,}" if last == self.low else f"{self.low:,}–{last:,}"


def bins(counts: Iterable[tuple[int, int]], most: int = 14) -> list[Bin]:
    """Pairs of length and count in bins that widen as 1, 2, 5, 10, …; empty ones at both ends are left out.

    >>> [(bin.low, bin.high, bin.count) for bin in bins([(3, 1), (12, 4), (19, 1), (60, 2)])]
    [(2, 5, 1), (5, 10, 0), (10, 20, 5), (20, 50, 0), (50, 100, 2)]
    """
    pairs = sorted(counts)
    if not pairs:
        return []
    edges = [0, *(digit * 10**power for power in range(12) for digit in SERIES)]
    found = [0] * len(edges)
    place = 0
    for length, count in pairs:
        while place + 1 < len(edges) and length >= edges[place + 1]:
            place += 1
        found[place] += count
    filled = [number for number, count in enumerate(found) if count]
    first, last = filled[0], filled[-1]
    # A single text of a million characters must not squeeze the others: a long tail becomes one bin.
    end = min(last, first + most - 1)
    result = [Bin(edges[n], edges[n + 1], found[n]) for n in range(first, end)]
    final = edges[end + 1] if end == last and end + 1 < len(edges) else None
    return [*result, Bin(edges[end], final, sum(found[end:]))]


def histogram(found: Sequence[Bin], title: str) -> Markup:
    """Columns with the bins' lower ends beneath, and the exact numbers in a table that opens."""
    if not found:
        return Markup("")
    highest = max(bin.count for bin in found) or 1
    total = sum(bin.count for bin in found) or 1
    width = 100 / len(found)
    columns = Markup("").join(
        Markup('<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}"><title>{}: {}</title></rect>').format(
            number * width + width * 0.06,
            HEIGHT - (tall := _tall(bin.count, highest)),
            width * 0.88,
            tall,
            bin.label,
            number_of(bin.count),
        )
        for number, bin in enumerate(found)
    )
    labels = Markup("").join(Markup("<span>{}</span>").format(short(bin.low)) for bin in found)
    rows = Markup("").join(
        Markup('<tr><td>{}</td><td class="n" data-value="{}">{}</td><td class="n">{}</td></tr>').format(
            bin.label, bin.count, number_of(bin.count), share(bin.count, total)
        )
        for bin in found
    )
    return Markup(
        '<figure class="histogram"><svg viewBox="0 0 100 {}" preserveAspectRatio="none" role="img" aria-label="{}">{}'
        '</svg><div class="axis" aria-hidden="true">{}</div><details><summary>numbers</summary><div class="scroll">'
        "<table><tbody>{}</tbody></table></div></details></figure>"
    ).format(HEIGHT, title, columns, labels, rows)


def stacked(parts: Sequence[tuple[str, Sequence[int]]], title: str) -> Markup:
    """Shares of several parts in stretches of equal length, as bands one above the other, and a table of the numbers.

    Every part has a count for each stretch; all parts have as many.
    """
    if not parts:
        return Markup("")
    sums = [sum(counts) or 1 for counts in zip(*(counts for _, counts in parts), strict=True)]
    width = 100 / len(sums)
    below = [0.0] * len(sums)
    bands, rows = Markup(""), Markup("")
    for number, (name, counts) in enumerate(parts):
        above = [low + HEIGHT * count / total for low, count, total in zip(below, counts, sums, strict=True)]
        # A stretch is level from its beginning to its end: nothing is known of what is between two.
        top = " ".join(f"{x:.2f},{HEIGHT - y:.2f}" for n, y in enumerate(above) for x in (n * width, (n + 1) * width))
        back = [(x, y) for n, y in enumerate(below) for x in (n * width, (n + 1) * width)]
        bottom = " ".join(f"{x:.2f},{HEIGHT - y:.2f}" for x, y in reversed(back))
        kind = number % COLOURS
        bands += Markup('<path class="band{}" d="M{} L{} Z"><title>{}</title></path>').format(kind, top, bottom, name)
        cells = Markup("").join(
            Markup('<td class="n" data-value="{}">{}</td>').format(count, share(count, total))
            for count, total in zip(counts, sums, strict=True)
        )
        rows += Markup('<tr data-part="{}"><td><i class="band{}"></i><bdi>{}</bdi></td>{}</tr>').format(
            name, kind, name, cells
        )
        below = above
    labels = Markup("").join(
        Markup("<span>{}–{} %</span>").format(100 * n // len(sums), 100 * (n + 1) // len(sums))
        for n in range(len(sums))
    )
    heads = Markup("").join(Markup('<th class="n">{} %</th>').format(100 * n // len(sums)) for n in range(len(sums)))
    return Markup(
        '<figure class="histogram stacked"><svg viewBox="0 0 100 {}" preserveAspectRatio="none" role="img" '
        'aria-label="{}">{}</svg><div class="axis" aria-hidden="true">{}</div><div class="scroll"><table><thead><tr>'
        "<th>from</th>{}</tr></thead><tbody>{}</tbody></table></div></figure>"
    ).format(HEIGHT, title, bands, labels, heads, rows)


def bars(rows: Sequence[tuple[str, int]], total: int, others: tuple[str, int] | None = None) -> Markup:
    """A list of labels with bars as long as their share of the largest, counts, and shares of `total`."""
    shown = [*rows, *([others] if others and others[1] else [])]
    highest = max((count for _, count in rows), default=0) or 1
    lines = Markup("").join(
        Markup(
            '<tr{}><td class="label"><bdi>{}</bdi></td><td class="bar">{}</td>'
            '<td class="n" data-value="{}">{}</td><td class="n share">{}</td></tr>'
        ).format(
            Markup(' class="others"') if number == len(rows) else "",
            label,
            bar(min(count, highest), highest),
            count,
            number_of(count),
            share(count, total),
        )
        for number, (label, count) in enumerate(shown)
    )
    return Markup('<div class="scroll"><table class="bars"><tbody>{}</tbody></table></div>').format(lines)


def intervals(shares: Iterable[Share]) -> Markup:
    """Shares in [0, 1] as bars on one scale, each with its interval drawn over its end, and the numbers beside."""
    lines = Markup("").join(
        Markup(
            '<tr><td class="label"><bdi>{}</bdi></td><td class="bar"><span class="track interval">'
            '<i style="width:{:.2f}%"></i><b style="left:{:.2f}%;width:{:.2f}%"></b></span></td>'
            '<td class="n" data-value="{}">{:.1f} %</td><td class="n share">{:.1f}–{:.1f}</td>'
            '<td class="n share">n {}</td></tr>'
        ).format(
            one.label,
            100 * one.value,
            100 * one.low,
            max(0.4, 100 * (one.high - one.low)),
            round(one.value, 6),
            100 * one.value,
            100 * one.low,
            100 * one.high,
            number_of(one.n),
        )
        for one in shares
    )
    return Markup('<div class="scroll"><table class="bars"><tbody>{}</tbody></table></div>').format(lines)


def bar(value: float, whole: float, rest: float = 0) -> Markup:
    """One bar `value / whole` long; `rest` is drawn behind it, as what was lost."""
    lost = Markup('<i class="lost" style="width:{:.2f}%"></i>').format(_percent(rest, whole)) if rest else ""
    return Markup('<span class="track"><i style="width:{:.2f}%"></i>{}</span>').format(_percent(value, whole), lost)


def number_of(value: float | None) -> str:
    """A number for reading: thousands apart, three digits behind a point at most.

    >>> number_of(1234567), number_of(0.287), number_of(12.5), number_of(3.0), number_of(None)
    ('1,234,567', '0.287', '12.5', '3', '')
    """
    if value is None:
        return ""
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) >= 0.001 else f"{value:.2g}"


def share(part: float, whole: float) -> str:
    """A percentage that never rounds something to nothing, nor nearly all to all.

    >>> share(1, 3), share(1, 100_000), share(99_999, 100_000), share(5, 5), share(0, 5), share(0, 0)
    ('33.3 %', '<0.1 %', '>99.9 %', '100 %', '0 %', '')
    """
    if not whole:
        return ""
    percent = 100 * part / whole
    if percent in (0, 100):
        return f"{percent:.0f} %"
    if percent < 0.1:
        return "<0.1 %"
    return ">99.9 %" if 99.9 < percent < 100 else f"{percent:.1f} %"


def short(value: float) -> str:
    """A number for an axis.

    >>> short(500), short(20_000), short(1_000_000), short(0.85)
    ('500', '20k', '1M', '.85')
    """
    if isinstance(value, float):
        return f"{value:.2f}".lstrip("0") if value < 1 else f"{value:.0f}"
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _percent(value: float, whole: float) -> float:
    return max(0.0, min(100.0, 100 * value / whole)) if whole else 0.0


def _tall(count: int, highest: int) -> float:
    """What is there at all is seen: at least one unit high."""
    return max(1.0, HEIGHT * count / highest) if count else 0.0
