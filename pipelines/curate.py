"""Curate: documents cleaned, measured, filtered and freed of duplicates, in one parquet of Document records.

read → mojibake, normalise, language → PII → quality values → (boilerplate out) → rules → leaks → exact → near → write.
Units measure in parallel and decide nothing; one pass over their parts decides and writes the trace. So `--reapply`
applies other thresholds to what was measured.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from datatools.dedupe import exact_disk, spread
from datatools.dedupe.boilerplate import PARAGRAPH, Boilerplate, find_boilerplate, paragraph_keys
from datatools.dedupe.near import load_compiled
from datatools.engine.choice import LOCAL, Engine
from datatools.engine.local import get_ready, run_units
from datatools.engine.parts import Parts
from datatools.engine.units import Unit, identity, plan
from datatools.engine.work import Work, open_work, reopen_work, work_path
from datatools.io import storage
from datatools.io.atomic import atomic_path, remove_leftovers
from datatools.io.source import Fault
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.curate_measure import (
    PARAGRAPHS,
    VERSION,
    MeasureSettings,
    StripSettings,
    measure_unit,
    measured_key,
    steps_of,
    streams,
    strip_unit,
    stripped_key,
)
from pipelines.curate_settings import CurateSettings, decide_settings, measure_settings, plain
from pipelines.curate_write import Measured, counts_of, write
from pipelines.inputs import (
    nothing_readable,
    say_again,
    say_notes,
    sized_parts,
    sources_of,
)
from pipelines.leaks import digest_of

READY = "pipelines.curate_ready"
MEASURED = "measured.json"  # in the work folder: which parts hold the measured documents, in order


def curate(
    inputs: Sequence[str],
    out: Path,
    settings: CurateSettings,
    progress: Progress,
    *,
    engine: Engine = LOCAL,
    fresh: bool = False,
) -> Summary:
    """Clean, measure, filter and deduplicate documents into one parquet at `out`.

    Raises ValueError for input or settings that cannot work.
    """
    began = time.monotonic()
    out = storage.placed(out)
    decide = decide_settings(settings)
    _check_against(settings.against, out)
    measure = measure_settings(settings, work_path(out), progress)
    sources, faults = sources_of(inputs, out)
    parts = sized_parts(sources)
    get_ready([READY], parts, engine)
    identities = {source.path: identity(source.path) for source in sources}
    description = {
        "command": "curate",
        "settings": plain(settings),
        "inputs": {source.name: identities[source.path] for source in sources},
    }
    with open_work(out, description, fresh=fresh, engine=engine) as work:
        _remove_leftovers(work.path)
        units = plan(parts, identities, f"curate@{VERSION} {replace(measure, exam_index='')}")
        progress.say(f"curate: {len(sources)} files, {len(units)} units, {engine} → {storage.shown(out)}")
        with ThreadPoolExecutor(1) as background:
            # While the workers measure, this process has nothing else to do.
            if settings.near and not (engine.spreads and settings.against is None):
                background.submit(load_compiled)
            found = measured(units, measure, settings, work, progress)
        if not engine.spreads:
            work.close_pool()  # what is left is done here: the workers' memory is free for it
        note_measured(work, found, measure, settings, faults)
        if not found.tally["rows_read"]:
            sentence = nothing_readable(inputs, faults, work, found.keys)
            work.forget()
            raise ValueError(sentence)
        say_notes(work, [measured_key(key) for key in found.keys], progress)
        summary = Summary("curate", list(inputs), rows_read=found.tally["rows_read"], work=storage.shown(work.path))
        write(work, found, decide, settings, faults, out, summary)
        say_again(work, progress)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def _check_against(against: str | None, out: Path) -> None:
    if against is None:
        return
    if not Path(against).is_file():
        raise ValueError(f"--against {against}: no such file")
    if Path(against).resolve() == out.resolve():
        raise ValueError(f"--against {against}: is the output itself; choose another --out")
    try:
        names = pq.read_schema(against).names
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"--against {against}: not a readable parquet file ({str(error).splitlines()[0]})") from error
    if missing := [name for name in ("id", "text") if name not in names]:
        raise ValueError(f"--against {against}: needs a column {missing[0]}, as every output of curate has")


def _remove_leftovers(folder: Path) -> None:
    """Delete what killed runs left of files outside the parts."""
    for place in (folder, *(folder / "against").glob("*")):
        remove_leftovers(place)


def reapply(
    work_folder: Path, out: Path, settings: CurateSettings, progress: Progress, *, engine: Engine = LOCAL
) -> Summary:
    """Decide anew on what a curate run measured, with other thresholds; nothing is read or measured again.

    Raises ValueError when the folder holds no finished measurement, or for settings that would need a new one.
    """
    began = time.monotonic()
    work_folder, out = storage.placed(work_folder), storage.placed(out)
    work_path(out)
    _check_against(settings.against, out)
    with reopen_work(work_folder, engine) as work:
        then = _noted(work)
        measure = MeasureSettings(**then["measure"])
        _refuse_new_measuring(settings, then["settings"], measure)
        decide = decide_settings(settings, measure)
        faults = [Fault(*fault) for fault in then["faults"]]
        found = Measured(then["keys"], Counter(then["tally"]), then["seconds"])
        shown = storage.shown(work_folder)
        summary = Summary("curate", [shown], rows_read=found.tally["rows_read"], work=shown)
        progress.say(f"curate: {len(found.keys)} measured units of {shown} → {storage.shown(out)}")
        out.parent.mkdir(parents=True, exist_ok=True)
        write(work, found, decide, settings, faults, out, summary)
        say_again(work, progress)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def note_measured(
    work: Work, found: Measured, measure: MeasureSettings, settings: CurateSettings, faults: Sequence[Fault]
) -> None:
    """Leave word of a finished measurement for `reapply`."""
    line = {
        "keys": found.keys,
        "measure": asdict(measure),
        "settings": plain(settings),
        "faults": [[fault.source, fault.message, fault.rule] for fault in faults],
        "tally": dict(found.tally),
        "seconds": found.seconds,
    }
    with atomic_path(work.path / MEASURED) as temporary:
        temporary.write_text(json.dumps(line), encoding="utf-8")


def _noted(work: Work) -> dict[str, Any]:
    """What `note_measured` left. Raises ValueError where there is none, or its parts are gone (`--fresh`, killed)."""
    try:
        noted: dict[str, Any] = json.loads(storage.here(work.path / MEASURED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        noted = {"keys": None}
    if noted["keys"] is None or any(key not in work.units for key in noted["keys"]):
        raise ValueError(
            f"{storage.shown(work.path)}: holds no finished measurement; run `datatools curate` to its end first"
        )
    return noted


NEW_MEASURING = ("text_column", "source_type", "simplify", "redact", "boilerplate", "near", "limit")


def _refuse_new_measuring(settings: CurateSettings, then: Mapping[str, Any], measure: MeasureSettings) -> None:
    """Raise ValueError for a setting that shaped texts and values and is now another; what is not given is as then."""
    default, again = CurateSettings(), "that needs measuring anew: run without --reapply"
    for name in NEW_MEASURING:
        now = getattr(settings, name)
        if now not in (getattr(default, name), then[name]):
            was = "not set" if then[name] is None else then[name]
            raise ValueError(f"--{name.replace('_', '-')} {now}: was {was} when it was measured; {again}")
    if settings.lexicon and digest_of((settings.lexicon,)) != measure.lexicon_digest:
        raise ValueError(f"--lexicon {settings.lexicon}: is not the one it was measured with; {again}")
    if settings.decontaminate and digest_of(settings.decontaminate) != measure.exam_digest:
        raise ValueError(f"--decontaminate {', '.join(settings.decontaminate)}: was not looked for; {again}")


def measured(
    units: list[Unit],
    measure: MeasureSettings,
    settings: CurateSettings,
    work: Work,
    progress: Progress,
) -> Measured:
    """Measure the documents of all units, and take out their boilerplate."""
    resumed = bool(work.units)
    began = time.monotonic()
    finished, tally = _run(units, measure, settings.limit, work, progress)
    keys = [unit.key for unit in finished]
    seconds: dict[str, float | None] = {**steps_of(time.monotonic() - began, tally)}
    if resumed:
        seconds = dict.fromkeys(seconds)
    if settings.boilerplate and tally["rows_read"]:
        began = time.monotonic()
        keys = _stripped(finished, keys, measure, work, progress, tally)
        seconds["boilerplate"] = None if resumed else round(time.monotonic() - began, 3)
    return Measured(keys, tally, seconds)


def _run(
    units: list[Unit], measure: MeasureSettings, limit: int | None, work: Work, progress: Progress
) -> tuple[list[Unit], Counter[str]]:
    tally: Counter[str] = Counter()
    if limit is None:
        with progress.bar("measuring", len(units)) as bar:
            for _, counted in run_units(measure_unit, units, measure, work, streams(measure)):
                tally.update(counted)
                bar.advance(detail=f"{tally['rows_read']:,} documents, {tally['bytes'] / 1e6:,.0f} MB")
        return units, tally
    done: list[Unit] = []
    for unit in units:  # one after another: how many the next may read depends on the last
        left = limit - tally["rows_read"]
        if left <= 0:
            break
        part, limited = Unit(f"{unit.key}-{left}", unit.sources), replace(measure, limit=left)
        for _, counted in run_units(measure_unit, [part], limited, work, streams(measure), workers=1):
            tally.update(counted)
        done.append(part)
    return done, tally


def _stripped(
    units: list[Unit],
    keys: list[str],
    measure: MeasureSettings,
    work: Work,
    progress: Progress,
    tally: Counter[str],
) -> list[str]:
    """Keys of the parts without boilerplate paragraphs; the measured ones themselves where there are none."""
    limits = Boilerplate()
    found = _boilerplate(Parts(work, keys, "documents"), Parts(work, keys, "paragraphs"), work, limits)
    if not len(found):
        return keys
    digest = xxhash.xxh3_64_hexdigest(found.tobytes())
    path = work.path / f"boilerplate-{digest}.npy"
    if not path.exists():
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, found)
    again = [Unit(stripped_key(unit.key, digest), unit.sources) for unit in units]
    settings = StripSettings(measure, str(work.path), str(path), limits)
    schemas = {"documents": streams(measure)["documents"]}
    with progress.bar("removing boilerplate", len(again)) as bar:
        for _, counted in run_units(strip_unit, again, settings, work, schemas):
            tally.update(counted)
            bar.advance()
    return [unit.key for unit in again]


def _boilerplate(documents: Parts, paragraphs: Parts, work: Work, limits: Boilerplate) -> Any:
    """Keys of boilerplate paragraphs, counted over documents that are no exact copies of one another."""
    count = len(documents)
    first = np.ones(count, bool)
    if work.engine.spreads:
        first[spread.exact(spread.corpus_of(documents, work), count, work)[0]] = False
    else:
        for numbers, _ in exact_disk.duplicates(
            (keys for _, keys in documents.key_batches("key")), count, work.path / "copies"
        ):
            first[numbers] = False
    groups: Counter[int] = Counter()
    for start, table in documents.blocks(["source"]):
        sources = table["source"].filter(pa.array(first[start : start + table.num_rows]))
        for source, number in counts_of(sources).items():
            ((group, _),) = paragraph_keys([""], [source])[1].items()
            groups[group] += number
    if work.engine.spreads:
        return spread.boilerplate(spread.corpus_of(documents, work, first), groups, len(paragraphs), work, limits)
    return find_boilerplate(
        _records(paragraphs, documents, first), groups, len(paragraphs), work.path / "paragraphs", limits
    )


def _records(paragraphs: Parts, documents: Parts, first: Any) -> Iterator[Any]:
    """Paragraph records of the documents where `first` is true. Documents are numbered within their unit there."""
    for start, table in paragraphs.blocks(PARAGRAPHS.names):
        of_unit = np.diff(np.clip(paragraphs.starts, start, start + table.num_rows))
        mask = first[table["document"].to_numpy() + np.repeat(documents.starts[:-1], of_unit)]
        records = np.empty(np.count_nonzero(mask), PARAGRAPH)
        records["key"], records["group"] = table["key"].to_numpy()[mask], table["group"].to_numpy()[mask]
        yield records
