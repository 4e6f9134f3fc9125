"""The parts of a mixture as users write them: `web.parquet:weight=2,epochs=3,priority=16`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

GRAMMAR = "PATH[:name=NAME,weight=W,epochs=E,tokens=N,priority=P]"
_OPTIONS = re.compile(r"\w[\w-]*=[^,]*(,\w[\w-]*=[^,]*)*")
MOST_EPOCHS = 1000  # as rows are numbered and written one by one
_SIZES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9}


@dataclass(frozen=True)
class Part:
    """One input of a mixture, and how it goes in.

    `epochs` is how often every row comes, or may come where `weight` or a budget decides (2.5: half of the rows a third
    time); `tokens` is the most it gives; `weight` its share of the mixture's tokens, relative to the other weights;
    `priority` how early its rows come.
    """

    path: str
    name: str = ""
    weight: float | None = None
    epochs: float = 1.0
    tokens: int | None = None
    priority: float = 1.0

    def __post_init__(self) -> None:
        for name in ("weight", "epochs", "tokens", "priority"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{self.path}: {name}={value} must be greater than 0")
        if self.epochs > MOST_EPOCHS:
            raise ValueError(f"{self.path}: epochs={self.epochs:g} is too often; at most {MOST_EPOCHS:,}")

    def options(self) -> str:
        """What was written behind the path.

        >>> Part("a.parquet", weight=2, priority=16).options()
        'weight=2,priority=16'
        """
        stated = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("path", "name")}
        defaults = Part(self.path)
        return ",".join(
            f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in stated.items()
            if value != getattr(defaults, name)
        )


def parse(text: str) -> Part:
    """The part that a command line's argument names. Raises ValueError, naming argument and option.

    >>> parse("books.parquet:epochs=3,tokens=20M,priority=4").tokens
    20000000
    """
    path, colon, options = text.rpartition(":")
    # A file may have a colon in its name; what exists is meant.
    if not colon or Path(text).exists() or not _OPTIONS.fullmatch(options):
        if colon and "=" not in options and Path(path).exists():
            raise ValueError(f"{text}: what is behind the colon is no option; write {GRAMMAR}")
        return Part(text)
    values = {}
    for option in options.split(","):
        name, _, value = option.partition("=")
        if name in values:
            raise ValueError(f"{text}: {name} stands there twice")
        values[name] = value
    return from_table({"path": path, **values}, text)


def from_table(table: Mapping[str, Any], where: str) -> Part:
    """The part that a table of a recipe names: `path`, and any of the options. Raises ValueError that says `where`."""
    known = {one.name for one in fields(Part)}
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(known - {'path'}))}"
            raise ValueError(f"{where}: there is no option {name}; {hint}")
        if name in ("path", "name"):
            if not isinstance(value, str) or not value:
                raise ValueError(f"{where}: {name} must be text")
            values[name] = value
        else:
            values[name] = tokens_of(value, where) if name == "tokens" else _number(name, value, where)
    if "path" not in values:
        raise ValueError(f"{where}: path is missing")
    return Part(**values)


def tokens_of(value: Any, where: str) -> int:
    """A number of tokens, with k, M or B behind it.

    >>> tokens_of("1.5M", "--tokens"), tokens_of(2000, "--tokens")
    (1500000, 2000)
    """
    found = re.fullmatch(r"([0-9_]*\.?[0-9_]+)\s*([kmbg]?)", str(value).strip(), re.IGNORECASE)
    if found is None:
        raise ValueError(f"{where}: tokens={value} must be a number such as 500000, 500k, 20M or 1.5B")
    return round(float(found[1].replace("_", "")) * _SIZES[found[2].lower()])


def _number(name: str, value: Any, where: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: {name}={value} must be a number") from None


def named(parts: Sequence[Part]) -> list[Part]:
    """The parts, each with a name that no other has: its own, or the last component of its path.

    >>> [part.name for part in named([Part("a/x.parquet"), Part("b/x.parquet"), Part("c", name="books")])]
    ['x.parquet', 'x.parquet~2', 'books']
    """
    taken: set[str] = set()
    result = []
    for part in parts:
        plain = name = part.name or Path(part.path).name or part.path
        number = 1
        while name in taken:
            number += 1
            name = f"{plain}~{number}"
        taken.add(name)
        result.append(replace(part, name=name))
    return result


def amounts(parts: Sequence[Part], supply: Sequence[int], total: int | None) -> list[float]:
    """How many tokens of every part go in, where `supply` are the tokens of one epoch of each.

    No part gives more than its epochs and its own budget allow. With weights their ratio is kept: the part that runs
    short first decides how large the mixture is. Raises ValueError where some parts have a weight and others none.
    """
    most = [part.epochs * tokens for part, tokens in zip(parts, supply, strict=True)]
    most = [m if part.tokens is None else min(m, part.tokens) for m, part in zip(most, parts, strict=True)]
    unweighted = [part.name or part.path for part in parts if part.weight is None]
    if len(unweighted) == len(parts):
        weights = most
    elif unweighted:
        raise ValueError(f"{unweighted[0]}: has no weight; give one to every input or to none")
    else:
        weights = [part.weight or 0.0 for part in parts]
        if nothing := [part.name or part.path for part, tokens in zip(parts, supply, strict=True) if not tokens]:
            raise ValueError(f"{nothing[0]}: holds no text, so its weight cannot be kept; leave it out")
    whole = sum(weights)
    if not whole:
        return [0.0] * len(parts)
    reached = min(m * whole / weight for m, weight in zip(most, weights, strict=True) if weight)
    size = reached if total is None else min(total, reached)
    return [min(m, size * weight / whole) for m, weight in zip(most, weights, strict=True)]
