"""What the inputs of a job hold: sources in a fixed order, their sizes, a sentence where nothing can be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from datatools.engine.parts import Parts
from datatools.engine.work import Work
from datatools.io import storage
from datatools.io.files import discover, split
from datatools.io.source import Fault, Source
from datatools.report.progress import Progress

SPLIT_BYTES = 8 << 20  # large line files and parquet are read in ranges of about this size
# Faults that leave something unread which the user meant to be read, by their class; the other rules are drops.
FAULT_CLASSES = {"unreadable": "unreadable", "malformed_row": "malformed", "no_text_layer": "no_text_layer"}


def companions(out: Path) -> tuple[Path, Path]:
    """Where the trace and the failed rows of `out` stand.

    >>> [path.name for path in companions(Path("sft.parquet"))]
    ['sft.trace.parquet', 'sft.failed.parquet']
    """
    return out.with_suffix(".trace.parquet"), out.with_suffix(".failed.parquet")


def sources_of(inputs: Sequence[str], out: Path) -> tuple[list[Source], list[Fault]]:
    """Everything to read, without the files this very run writes. Raises ValueError when there is nothing."""
    found, faults = discover(inputs)
    own = {storage.address_of(path) or str(path.resolve()) for path in (out, *companions(out))}
    sources = [source for source in found if _whole_path(source.path) not in own]
    if found and not sources:
        raise ValueError(f"{', '.join(inputs)}: is the output itself; choose another --out")
    if not sources:
        raise ValueError(nothing_readable(inputs, faults))
    return sources, faults


def _whole_path(path: str) -> str:
    return path if storage.is_address(path) else str(Path(path).resolve())


def sized_parts(sources: Sequence[Source]) -> list[tuple[Source, int]]:
    """The sources, large ones in ranges, each with its bytes."""
    return [(part, _size(part)) for source in sources for part in split(source, SPLIT_BYTES)]


def _size(source: Source) -> int:
    if source.format in ("jsonl", "warc") and source.stop >= 0:
        return source.stop - source.start
    if source.format == "hf":
        return 0
    size = storage.size(source.path)
    # A range of row groups: `split` made it about this large.
    return min(size, SPLIT_BYTES) if source.stop >= 0 else size


def nothing_readable(
    inputs: Sequence[str], faults: Sequence[Fault], work: Work | None = None, keys: Sequence[str] = ()
) -> str:
    """A sentence that says what was found instead of something to read, with one example."""
    reasons: Counter[str] = Counter(fault.rule for fault in faults)
    example = next((f"; {fault.source}: {fault.message}" for fault in faults), "")
    if work is not None:
        for _, row in Parts(work, keys, "trace").rows():
            reasons[row["rule"]] += 1
            example = example or f"; {row['source']}: {row['excerpt']}"
    counts = ", ".join(f"{rule} {count}" for rule, count in sorted(reasons.items()))
    return f"{', '.join(inputs)}: nothing readable there ({counts or 'no files'}{example})"


def say_again(work: Work, progress: Progress) -> None:
    """One line about units that had to be run again."""
    if work.again:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(work.again.items()))
        progress.say(f"{sum(work.again.values())} units were run again ({reasons})")


def say_notes(work: Work, keys: Sequence[str], progress: Progress) -> None:
    """Which column is the text, and the like: one line a sentence, with the number of files it holds for."""
    sources: dict[str, list[str]] = {}
    for _, row in Parts(work, keys, "notes").rows():
        sources.setdefault(row["message"], []).append(row["source"])
    for message, names in sources.items():
        progress.say(f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {message}")
