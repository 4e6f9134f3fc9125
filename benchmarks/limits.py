"""How much of a provider the learned limits use, and how often it refuses: simulated providers, the real runner.

    python -m benchmarks.limits [--plot docs/limits.svg]

Three minutes of each provider's time, in virtual time (`tests/llm/simulated.py`), so that the figures do not depend on
the machine. "Used" is what finished a second after the first minute, of what the provider can take.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.llm.simulated import Played, play
from tests.llm.test_control import LARGE, PROVIDERS

SECONDS, BIN = 180.0, 5.0
WIDTH, HEIGHT, LEFT, TOP, GAP = 640, 92, 46, 34, 46  # of a panel, and around it
USED, REFUSED = "#2a6f97", "#c1442e"


def bins(times: list[float]) -> list[float]:
    """Events a second in every bin."""
    counts = [0.0] * int(SECONDS / BIN)
    for at in times:
        if at < SECONDS:
            counts[int(at / BIN)] += 1 / BIN
    return counts


def line(values: list[float], top: float, most: float, colour: str) -> str:
    """A polyline through bins, `most` at the panel's upper edge."""
    points = " ".join(
        f"{LEFT + (place + 0.5) * BIN / SECONDS * WIDTH:.1f},{top + HEIGHT * (1 - min(value / most, 1)):.1f}"
        for place, value in enumerate(values)
    )
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def panel(name: str, played: Played, capacity: float, top: float) -> str:
    """One provider: share of its capacity used, and share of the calls it refused."""
    provider = played.provider
    used = [rate / capacity for rate in bins(provider.done)]
    taken, refused = bins(provider.taken), bins(provider.refusals)
    share = [no / (yes + no) if no else 0.0 for yes, no in zip(taken, refused, strict=True)]
    base, ninety = top + HEIGHT, top + HEIGHT * (1 - 0.9 / 1.2)
    minute = LEFT + WIDTH / 3
    return "".join(
        [
            f'<text x="{LEFT}" y="{top - 8:.0f}" font-weight="600">{name}</text>',
            f'<text x="{LEFT + WIDTH}" y="{top - 8:.0f}" text-anchor="end">after the first minute: '
            f"{played.rate() / capacity:.0%} used, {played.refused():.1%} refused</text>",
            f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#bbb"/>',
            f'<path d="M{LEFT} {ninety:.1f}H{LEFT + WIDTH}M{minute:.1f} {top}V{base}" '
            'stroke="#bbb" stroke-dasharray="3 3"/>',
            f'<text x="{LEFT - 6}" y="{ninety + 4:.0f}" text-anchor="end">90 %</text>',
            f'<text x="{LEFT - 6}" y="{base}" text-anchor="end">0</text>',
            line(used, top, 1.2, USED),
            line(share, top, 1.2, REFUSED),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", type=Path, help="SVG file to write")
    given = parser.parse_args()
    panels, providers = [], {**PROVIDERS, **LARGE}
    print(f"{'provider':<28}{'used':>7}{'refused':>9}{'refused in the first minute':>30}")
    for place, (name, (provider, settings, capacity)) in enumerate(providers.items()):
        with tempfile.TemporaryDirectory() as folder:
            played = play(provider(), Path(folder), settings, SECONDS)
        early = sum(at < 60 for at in played.provider.refusals)
        print(f"{name:<28}{played.rate() / capacity:>7.1%}{played.refused():>9.2%}{early:>30,}", flush=True)
        panels.append(panel(name, played, capacity, TOP + 40 + place * (HEIGHT + GAP)))
    if given.plot:
        height = TOP + 40 + len(panels) * (HEIGHT + GAP)
        axis = "".join(
            f'<text x="{LEFT + second / SECONDS * WIDTH:.0f}" y="{height - 24}" text-anchor="middle">{second} s</text>'
            for second in range(0, 181, 30)
        )
        given.plot.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 16} {height}" '
            'font-family="sans-serif" font-size="12" fill="#222"><rect width="100%" height="100%" fill="white"/>'
            f'<text x="{LEFT}" y="20" fill="{USED}">share of the capacity used</text>'
            f'<text x="{LEFT + 190}" y="20" fill="{REFUSED}">share of the calls refused</text>'
            f'<text x="{LEFT + WIDTH}" y="20" text-anchor="end">capacity 100 % is 5/6 of the height</text>'
            f"{''.join(panels)}{axis}</svg>\n",
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
