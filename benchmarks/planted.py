"""Corpora with a known truth: perturbed copies to grow one, planted near duplicates to measure recall.

    python -m benchmarks.planted CORPUS OUT.parquet [--times 4]

writes the sections of CORPUS (anything `datatools` reads) as a parquet of `id` and `text`, and behind them `times` − 1
copies in which one Han character in eight is another one of the same text: Jaccard 0.35 on 5-grams, so that but for the
shortest no copy is a near duplicate, and all of the corpus stays work for every step.
"""

from __future__ import annotations

import argparse
import random
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string())])
ROW_GROUP = 2000
BINS = ((0.7, 0.8), (0.8, 0.9), (0.9, 1.0))
SHINGLE = 5
_SPACE = re.compile(r"\s+")
_LENGTHS = (200, 2500)  # characters of a document that duplicates are planted for


@dataclass(frozen=True)
class Pair:
    """A document and what was made of it; `jaccard` is exact."""

    base: str
    planted: str
    jaccard: float
    kind: str  # near, exact, or apart: shares a passage only and must stay


def sections(corpus: Path) -> Iterator[str]:
    """The texts of a corpus as its readers give them, nothing cleaned."""
    from datatools.io.files import discover
    from datatools.io.read import read
    from datatools.io.source import ReadOptions
    from schemas.document import Document

    for source in discover([str(corpus)])[0]:
        yield from (item.text for item in read(source, ReadOptions()) if isinstance(item, Document))


def grow(texts: list[str], times: int, out: Path) -> int:
    """Write `texts` and `times` − 1 perturbed copies of them to a parquet; returns the bytes of text."""
    size = 0
    with pq.ParquetWriter(out, SCHEMA, compression="zstd") as writer:
        for time in range(times):
            draw = np.random.default_rng(time)
            for start in range(0, len(texts), ROW_GROUP):
                group = texts[start : start + ROW_GROUP]
                if time:
                    group = [perturbed(text, draw) for text in group]
                ids = [f"c{time}-{start + place}" for place in range(len(group))]
                table = pa.table([pa.array(ids), pa.array(group, pa.string())], schema=SCHEMA)
                size += sum(len(text.encode()) for text in group)
                writer.write_table(table)
    return size


def perturbed(text: str, draw: np.random.Generator, share: float = 1 / 8) -> str:
    """The text with this share of its Han characters replaced by others of its own."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32).copy()
    han = np.flatnonzero((codes >= 0x4E00) & (codes < 0xA000))
    if len(han):
        places = han[draw.random(len(han)) < share]
        codes[places] = codes[draw.choice(han, len(places))]
    return codes.tobytes().decode("utf-32-le")


def grams(text: str) -> set[str]:
    """Character 5-grams after NFC and removal of white space."""
    bare = _SPACE.sub("", unicodedata.normalize("NFC", text))
    return {bare[place : place + SHINGLE] for place in range(max(1, len(bare) - SHINGLE + 1))}


def jaccard(left: set[str], right: set[str]) -> float:
    """Share of the common among all."""
    common = len(left & right)
    return common / max(1, len(left) + len(right) - common)


def plant(texts: list[str], base: int, near: int, exact: int, apart: int, seed: int = 0) -> tuple[pa.Table, list[Pair]]:
    """At most `base` documents that are unlike each other, and duplicates planted among them, shuffled; the truth.

    `near` copies have Jaccards spread evenly over BINS, `exact` are byte for byte, `apart` share one long passage
    (Jaccard 0.3 to 0.6) and are no duplicates. Raises ValueError when the texts do not give as many.
    """
    dice = random.Random(seed)
    chosen = _unlike([text for text in texts if _LENGTHS[0] <= len(text) <= _LENGTHS[1]], base, dice)
    ids = iter(dice.sample(range(10**9), 2 * base + near + exact + apart))
    documents = {f"d{next(ids):09d}": text for text in chosen}
    names = iter(dice.sample(list(documents), len(documents)))
    pairs: list[Pair] = []
    wanted = [("near", BINS[number % len(BINS)]) for number in range(near)]
    wanted += [("exact", (1.0, 1.0))] * exact + [("apart", (0.3, 0.6))] * apart
    for kind, (low, high) in wanted:
        for name in names:
            copy = documents[name] if kind == "exact" else _copy(documents[name], chosen, kind, low, high, dice)
            if copy is not None:
                found = jaccard(grams(documents[name]), grams(copy))
                twin = f"d{next(ids):09d}"
                documents[twin] = copy
                pairs.append(Pair(name, twin, found, kind))
                break
        else:
            raise ValueError(f"{len(chosen)} documents are too few for {len(wanted)} planted ones")
    rows = list(documents.items())
    dice.shuffle(rows)
    return pa.table([pa.array([name for name, _ in rows]), pa.array([text for _, text in rows])], schema=SCHEMA), pairs


def _unlike(pool: list[str], count: int, dice: random.Random) -> list[str]:
    """Texts of which no two share a tenth of their 5-grams: the corpus' own duplicates would blur the truth."""
    dice.shuffle(pool)
    seen: set[int] = set()
    chosen: list[str] = []
    for text in pool:
        own = {hash(gram) for gram in grams(text)}
        if len(own & seen) <= len(own) / 10:
            chosen.append(text)
            seen |= own
        if len(chosen) == count:
            return chosen
    return chosen


def _copy(text: str, pool: list[str], kind: str, low: float, high: float, dice: random.Random) -> str | None:
    """A copy whose Jaccard with `text` lies in [low, high); None when a few tries gave none."""
    own = grams(text)
    target = dice.uniform(low, high)
    share = (1 - target) / (1 + target)  # of the 5-grams that must change
    for _ in range(12):
        copy = _edited(text, share, dice) if kind == "near" else _spliced(text, target, dice.choice(pool), dice)
        found = jaccard(own, grams(copy))
        if low <= found < high and copy != text:
            return copy
        share *= 1.15 if found >= high else 0.87
    return None


def _edited(text: str, share: float, dice: random.Random) -> str:
    """Characters replaced, inserted and left out; each touches five 5-grams."""
    signs = list(text)
    for _ in range(max(1, round(share * len(text) / SHINGLE))):
        place = dice.randrange(len(signs))
        roll = dice.random()
        if roll < 0.5:
            signs[place] = dice.choice(text)
        elif roll < 0.75:
            signs[place] += dice.choice(text)
        else:
            signs[place] = ""
    return "".join(signs)


def _spliced(text: str, target: float, other: str, dice: random.Random) -> str:
    """One passage of the text and another document's for the rest."""
    length = int(2 * target * len(text) / (1 + target))
    rest = (other * (len(text) // max(1, len(other)) + 1))[: len(text) - length]
    return text[:length] + rest if dice.random() < 0.5 else rest + text[len(text) - length :]


def read_planted(truth: Path) -> list[Pair]:
    """Pairs from a parquet of `id_a`, `id_b`, `jaccard` and `kind` (near, exact; any other kind must stay)."""
    columns = pq.read_table(truth, columns=["id_a", "id_b", "jaccard", "kind"]).to_pydict()
    kinds = [kind if kind in ("near", "exact") else "apart" for kind in columns["kind"]]
    return [Pair(*pair) for pair in zip(columns["id_a"], columns["id_b"], columns["jaccard"], kinds, strict=True)]


def score(pairs: list[Pair], documents: set[str], kept: set[str]) -> dict[str, Any]:
    """Recall by bin and kind, and what was removed though it is like nothing that is.

    A pair counts as found when one of the two is gone.
    """
    result: dict[str, Any] = {}
    for low, high in BINS:
        inside = [pair for pair in pairs if pair.kind == "near" and low <= pair.jaccard < high]
        result[f"{low}–{high}"] = _gone(inside, kept)
    result["exact"] = _gone([pair for pair in pairs if pair.kind == "exact"], kept)
    alike = {name for pair in pairs if pair.kind != "apart" for name in (pair.base, pair.planted)}
    result["false"] = len(documents - kept - alike)
    return result


def _gone(pairs: list[Pair], kept: set[str]) -> float:
    return sum(pair.base not in kept or pair.planted not in kept for pair in pairs) / max(1, len(pairs))


def main() -> None:
    """Write a grown corpus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--times", type=int, default=1)
    arguments = parser.parse_args()
    size = grow(list(sections(arguments.corpus)), arguments.times, arguments.out)
    print(f"{arguments.out}: {size / 1e6:.1f} MB of text")


if __name__ == "__main__":
    main()
