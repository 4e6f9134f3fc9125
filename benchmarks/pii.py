"""Recall and precision of the redaction of personal data, per kind and over all, on tests/clean/pii.jsonl.

    python benchmarks/pii.py [FILE] [--errors]

A span counts as found when kind, start and end agree.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

EXAMPLES = Path(__file__).resolve().parent.parent / "tests" / "clean" / "pii.jsonl"


class Score(NamedTuple):
    """Spans of one kind: expected and found, found only, expected only."""

    right: int
    wrong: int
    missed: int

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.wrong)


def score(path: Path = EXAMPLES) -> tuple[dict[str, Score], list[str]]:
    """Score by kind, «all» last, and a line for every error."""
    from datatools.clean.pii import find

    right, wrong, missed = Counter[str](), Counter[str](), Counter[str]()
    errors = []
    for line in path.read_text(encoding="utf-8").splitlines():
        example = json.loads(line)
        text = str(example["text"])
        expected = {(start, end, kind) for start, end, kind in example["spans"]}
        found = {(span.start, span.end, span.kind) for span in find(text)}
        right.update(kind for _, _, kind in expected & found)
        wrong.update(kind for _, _, kind in found - expected)
        missed.update(kind for _, _, kind in expected - found)
        errors += [f"wrong  {kind} «{text[start:end]}» in {text!r}" for start, end, kind in sorted(found - expected)]
        errors += [f"missed {kind} «{text[start:end]}» in {text!r}" for start, end, kind in sorted(expected - found)]
    kinds = sorted({*right, *wrong, *missed})
    scores = {kind: Score(right[kind], wrong[kind], missed[kind]) for kind in kinds}
    scores["all"] = Score(right.total(), wrong.total(), missed.total())
    return scores, errors


def main() -> None:
    """Print the table; with --errors every span that is wrong or missed."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--errors"]
    path = Path(arguments[0]) if arguments else EXAMPLES
    start = time.perf_counter()
    scores, errors = score(path)
    print(f"{'kind':15}{'spans':>7}{'recall':>9}{'precision':>11}")
    for kind, result in scores.items():
        print(f"{kind:15}{result.right + result.missed:>7}{result.recall:>9.3f}{result.precision:>11.3f}")
    print(f"{path.name}: {time.perf_counter() - start:.2f} s")
    if "--errors" in sys.argv:
        print(*errors, sep="\n")


if __name__ == "__main__":
    main()
