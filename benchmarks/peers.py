"""Near-dedupe of one parquet (`id`, `text`) by one program, so that all are run and measured alike.

    PYTHON benchmarks/peers.py {datatools,rensa,datasketch,datatrove} IN.parquet KEPT.txt [WORKERS]

Writes the ids that stay, one a line. All work on shingles of five (datatrove: words, as it cuts them; the rest:
characters) at a Jaccard of 0.8; rensa and datasketch get the bands of datatools (20 × 6 of 120 permutations) and drop a
document whose estimate to a kept one that shares a band is 0.7 or more, datatrove runs with its own 14 × 8. This file
imports nothing of the project outside `datatools`, because the peers live in an environment of their own.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

PERMUTATIONS, BANDS, ROWS = 120, 20, 6
THRESHOLD, LEAST_ESTIMATE = 0.8, 0.7
SHINGLE = 5


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(1000):
            yield from zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True)


def _shingles(text: str) -> set[str]:
    bare = "".join(text.split())
    return {bare[place : place + SHINGLE] for place in range(max(1, len(bare) - SHINGLE + 1))}


def datatools(path: Path, workers: int) -> Iterator[str]:
    """The library of this project, from parquet to the ids that stay."""
    from datatools.engine.startup import without_pandas

    without_pandas()
    import numpy as np
    import pyarrow as pa

    from datatools.dedupe.near import Near, near_duplicates, parquet_batches
    from datatools.dedupe.signed import write_bands

    settings = Near(threshold=THRESHOLD)
    texts = parquet_batches([path])
    with tempfile.TemporaryDirectory() as folder:
        bands, count = write_bands(texts, Path(folder, "bands.arrow"), settings, workers=workers)
        drops = near_duplicates(bands, texts, count, Path(folder, "near"), settings, workers=workers)
    kept = np.ones(count, bool)
    kept[drops.numbers] = False
    for start, table in texts(["id"]):
        yield from table["id"].filter(pa.array(kept[start : start + len(table)])).to_pylist()


def rensa(path: Path, workers: int) -> Iterator[str]:
    """rensa's RMinHash and RMinHashLSH in one loop."""
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(THRESHOLD, PERMUTATIONS, BANDS)
    kept: dict[int, Any] = {}
    for number, (name, text) in enumerate(_rows(path)):
        signature = RMinHash(PERMUTATIONS, 1)
        signature.update(list(_shingles(text)))
        if any(kept[other].jaccard(signature) >= LEAST_ESTIMATE for other in index.query(signature)):
            continue
        index.insert(number, signature)
        kept[number] = signature
        yield name


def datasketch(path: Path, workers: int) -> Iterator[str]:
    """datasketch's MinHash and MinHashLSH as its manual shows them."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, ROWS))
    kept: dict[int, Any] = {}
    for number, (name, text) in enumerate(_rows(path)):
        signature = MinHash(PERMUTATIONS)
        signature.update_batch([shingle.encode() for shingle in _shingles(text)])
        if any(kept[other].jaccard(signature) >= LEAST_ESTIMATE for other in index.query(signature)):
            continue
        index.insert(number, signature)
        kept[number] = signature
        yield name


def datatrove(path: Path, workers: int) -> Iterator[str]:
    """datatrove's four MinHash stages, with the language that FineWeb-2 gives Chinese."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.readers import JsonlReader, ParquetReader
    from datatrove.pipeline.writers import JsonlWriter

    config = MinhashConfig()
    with tempfile.TemporaryDirectory() as folder:
        # A task reads whole files: a part for every worker.
        parts = Path(folder, "in")
        parts.mkdir()
        table = pq.read_table(path)
        size = -(-len(table) // workers)
        for number in range(workers):
            pq.write_table(table.slice(number * size, size), parts / f"{number}.parquet")
        at = {name: f"{folder}/{name}" for name in ("signatures", "buckets", "removed", "kept")}
        stages = [
            [ParquetReader(str(parts)), MinhashDedupSignature(at["signatures"], config, language="cmn_Hani")],
            [MinhashDedupBuckets(at["signatures"], at["buckets"], config=config)],
            [MinhashDedupCluster(at["buckets"], at["removed"], config=config)],
            [ParquetReader(str(parts)), MinhashDedupFilter(at["removed"]), JsonlWriter(at["kept"])],
        ]
        for number, (pipeline, tasks) in enumerate(zip(stages, (workers, config.num_buckets, 1, workers), strict=True)):
            executor = LocalPipelineExecutor(
                pipeline, tasks=tasks, workers=min(tasks, workers), logging_dir=f"{folder}/logs{number}"
            )
            executor.run()
        yield from (document.id for document in JsonlReader(at["kept"])())


PROGRAMS = {"datatools": datatools, "rensa": rensa, "datasketch": datasketch, "datatrove": datatrove}


def main() -> None:
    """Run one program."""
    name, source, out = sys.argv[1:4]
    workers = int(sys.argv[4]) if len(sys.argv) > 4 else 2
    with Path(out).open("w", encoding="utf-8") as file:
        file.writelines(f"{kept}\n" for kept in PROGRAMS[name](Path(source), workers))


if __name__ == "__main__":
    main()
