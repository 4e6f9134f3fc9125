"""Unify over curated documents: curate measures and decides first, passages are cut from what it keeps.

Nothing is read twice: the units of the passages take the documents out of curate's parts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from datatools.engine.local import run_units
from datatools.engine.parts import Parts
from datatools.engine.units import Unit, plan
from datatools.engine.work import Work
from datatools.io import storage
from datatools.io.atomic import atomic_path, part_writer
from datatools.io.source import Source
from datatools.report.progress import Progress
from pipelines import curate
from pipelines.curate_decide import DecideSettings, Traces, decide_all
from pipelines.curate_measure import VERSION, MeasureSettings, measured_key
from pipelines.curate_settings import CurateSettings, decide_settings
from pipelines.curate_write import REPORT, facts_of
from pipelines.unify_passages import BATCH, STREAMS, PassageSettings, Rows, add_document
from pipelines.unify_passages import VERSION as PASSAGES_VERSION
from schemas.document import DOCUMENT, Document
from schemas.trace import TRACE


@dataclass(frozen=True)
class Curated:
    """Where the passages of the kept documents are: unit keys in input order, and the keys whose traces come first."""

    keys: list[str]
    trace_keys: list[str]
    note_keys: list[str]
    tally: Counter[str]


@dataclass(frozen=True, slots=True)
class CuratedSettings:
    """Settings of the passages, and where the documents stand that they are cut from."""

    passages: PassageSettings
    work: str
    kept: str  # .npz file: for every unit which of its documents are kept


def curated_passages(
    parts: Sequence[tuple[Source, int]],
    identities: dict[str, str],
    settings: CurateSettings,
    measure: MeasureSettings,
    passages: PassageSettings,
    work: Work,
    progress: Progress,
) -> Curated:
    """Curate the sources (`parts`: with their bytes) and cut what is kept into passages."""
    units = plan(parts, identities, f"curate@{VERSION} {replace(measure, exam_index='')}")
    found = curate.measured(units, measure, settings, work, progress)
    keys, tally = found.keys, found.tally
    read = [measured_key(key) for key in keys]
    if not tally["rows_read"]:
        return Curated([], read, read, tally)
    decided = _decided(keys, decide_settings(settings), tally, work)
    cut = CuratedSettings(passages, str(work.path), str(_kept(work, decided)))
    digest = xxhash.xxh3_64_hexdigest(f"{PASSAGES_VERSION} {passages} {decided}".encode())
    again = [Unit(f"{key}-passages-{digest}", ()) for key in keys]
    with progress.bar("passages", len(again)) as bar:
        for _, counted in run_units(passages_of_curated, again, cut, work, STREAMS):
            tally.update(counted)
            bar.advance()
    return Curated([unit.key for unit in again], [*read, decided], read, tally)


def _decided(keys: Sequence[str], settings: DecideSettings, tally: Counter[str], work: Work) -> str:
    """Key of the part with the trace of curate's decisions; beside it stands what is kept of every unit."""
    decided = f"decided-{xxhash.xxh3_64_hexdigest(f'{settings} {keys}'.encode())}"
    if decided in work.units:
        return decided
    documents = Parts(work, keys, "documents")
    decision = decide_all(documents, settings, work)
    with part_writer(work.part(decided, "trace"), TRACE) as trace, Traces(decision, work.path / "trace") as traces:
        for start, table in documents.batches([*Traces.columns], ~decision.kept):
            traces.add(start, table)
        for rows in traces.rows():
            trace.write(rows)
    kept = decision.kept
    masks = {key: kept[documents.starts[place] : documents.starts[place + 1]] for place, key in enumerate(keys)}
    with atomic_path(_kept(work, decided)) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **masks)
    with atomic_path(work.path / REPORT) as temporary:
        temporary.write_text(json.dumps(facts_of(documents, decision, tally), ensure_ascii=False), "utf-8")
    work.finish(decided, {"kept": int(kept.sum())})
    return decided


def _kept(work: Work, decided: str) -> Path:
    return work.parts / f"{decided}.kept.npz"


def passages_of_curated(unit: Unit, settings: CuratedSettings, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """Passages, and pairs where the rules make them, of the documents of one curated unit that are kept."""
    key = unit.key.rpartition("-passages-")[0]
    with np.load(storage.here(settings.kept)) as masks:
        kept = masks[key]
    rows = Rows(tally)
    asked: set[bytes] = set()
    source, number = "", 0
    with pa.memory_map(str(storage.here(Path(settings.work, "parts", f"{key}.documents.arrow")))) as file:
        reader = pa.ipc.open_file(file)
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index).select(DOCUMENT.names)
            chosen = batch.filter(pa.array(kept[number : number + batch.num_rows]))
            number += batch.num_rows
            for row in chosen.to_pylist():
                if row["source"] != source:
                    source, asked = row["source"], set()
                add_document(Document.from_record(row), settings.passages, rows, asked)
            yield from rows.tables(BATCH)
    yield from rows.tables(1)
