"""What a job left in its files, as figures and a few examples: all the report page says, nothing of how it looks.

These are values without a file behind them: `collect` makes them, the page shows them, and a test may write them down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One step of the funnel; `rows_out` are `unit`, made of so many `from_unit` (empty: of the same)."""

    name: str
    rows_in: int
    rows_out: int
    dropped: int
    unit: str = "documents"
    from_unit: str = ""
    bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Example:
    """One row of a trace or of failed rows; `twin_text` where the text it was too much like is known."""

    id: str
    source: str
    excerpt: str
    value: float | None = None
    threshold: float | None = None
    twin_id: str = ""
    similarity: float | None = None
    twin_text: str = ""


@dataclass(frozen=True)
class Reason:
    """Why `count` rows are missing; `low` and `high` are the extremes of the measured value."""

    step: str
    rule: str
    count: int
    examples: tuple[Example, ...] = ()
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Rewrite:
    """A text before and after a step changed it."""

    step: str
    rule: str
    before: str
    after: str


@dataclass(frozen=True)
class Twin:
    """A dropped member of a cluster; `cut` when only its beginning is known."""

    id: str
    text: str
    similarity: float | None = None
    cut: bool = False


@dataclass(frozen=True)
class Cluster:
    """A text that was kept and `size` that were dropped for being like it, some of them in `dropped`."""

    id: str
    text: str | None
    size: int
    dropped: tuple[Twin, ...]
    rule: str = ""


@dataclass(frozen=True)
class Counts:
    """The most frequent values of something; `others` rows hold one of the remaining `distinct - len(top)` values."""

    top: tuple[tuple[str, int], ...]
    others: int = 0
    distinct: int = 0

    @property
    def total(self) -> int:
        """Rows counted."""
        return sum(count for _, count in self.top) + self.others


@dataclass(frozen=True)
class Lengths:
    """How many texts have how many characters: pairs of length and count, shortest first."""

    counts: tuple[tuple[int, int], ...]

    def quantile(self, share: float) -> int:
        """The length that `share` of the texts do not exceed."""
        left = share * sum(count for _, count in self.counts)
        for length, count in self.counts:
            left -= count
            if left <= 0:
                return length
        return self.counts[-1][0]


@dataclass(frozen=True)
class Check:
    """A value measured on conversations without a model: over `rows` rows, `above` of them above zero."""

    name: str
    meaning: str
    rows: int
    low: float
    mean: float
    high: float
    above: int


@dataclass(frozen=True)
class Sample:
    """A row of the output: its texts with their roles, and where it came from."""

    id: str
    source: str
    made_by: str
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """Figures side by side: numbers stand to the right, None is nothing; `folded` where it is long."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""
    folded: bool = False

    def shown(self) -> list[tuple[int, str, bool]]:
        """Place, name and whether it holds numbers, of each column that says anything.

        >>> Table("", ("run", "items", "leaked"), (("base", 16, None),)).shown()
        [(0, 'run', False), (1, 'items', True)]
        """
        columns = []
        for place, name in enumerate(self.columns):
            told = [row[place] for row in self.rows if row[place] is not None]
            if told or not self.rows:
                columns.append((place, name, bool(told) and all(isinstance(cell, int | float) for cell in told)))
        return columns


@dataclass(frozen=True)
class Share:
    """A share in [0, 1] with its interval, of so many."""

    label: str
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Bars:
    """Shares drawn below one another on one scale."""

    title: str
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class Facts:
    """All of it. What is not known is empty or None; `notes` says what is there but could not be used."""

    name: str
    command: str = ""
    record: str = ""
    written_at: str = ""
    rows: int | None = None
    bytes: int | None = None
    inputs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    funnel: tuple[Step, ...] = ()
    reasons: tuple[Reason, ...] = ()
    failed: tuple[Reason, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    cluster_count: int = 0
    similarities: tuple[tuple[float, int], ...] = ()
    lengths: Mapping[str, Lengths] = field(default_factory=dict)
    counts: Mapping[str, Counts] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    tokens: tuple[int, int] | None = None
    samples: tuple[Sample, ...] = ()
    tables: tuple[Table, ...] = ()
    bars: tuple[Bars, ...] = ()
    order: tuple[tuple[str, tuple[int, ...]], ...] = ()  # of a mixture: rows of every part in each tenth of the file
    notes: tuple[str, ...] = ()
