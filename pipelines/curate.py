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
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from datatools.clean.lexicon import lexicon
from datatools.clean.rules import rules_from
from datatools.dedupe import exact_disk, spread
from datatools.dedupe.boilerplate import PARAGRAPH, Boilerplate, find_boilerplate, paragraph_keys
from datatools.dedupe.near import Keep, Near, load_compiled
from datatools.engine.choice import LOCAL, Engine
from datatools.engine.local import get_ready, run_units
from datatools.engine.parts import Parts
from datatools.engine.units import Unit, identity, plan
from datatools.engine.work import Work, open_work, reopen_work, work_path
from datatools.io import storage
from datatools.io.atomic import RowGroupWriter, atomic_path, parquet_writer, remove_leftovers
from datatools.io.source import Fault
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.curate_decide import DecideSettings, Decision, Traces, clusters, decide_all
from pipelines.curate_measure import (
    PARAGRAPHS,
    VALUES,
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
from pipelines.inputs import (
    FAULT_CLASSES,
    companions,
    nothing_readable,
    say_again,
    say_notes,
    sized_parts,
    sources_of,
)
from pipelines.leaks import digest_of, exam_index
from schemas.document import DOCUMENT, SOURCE_TYPES
from schemas.trace import TRACE

KEEP = ("source-order", "longest", "newest")
REPORT = "report.json"  # in the work folder, for `datatools report`
READY = "pipelines.curate_ready"
MEASURED = "measured.json"  # in the work folder: which parts hold the measured documents, in order


@dataclass(frozen=True)
class CurateSettings:
    """What shapes the result. Defaults are the command line's."""

    rules: str = "default"  # or none: annotate and keep every row
    thresholds: Mapping[str, Any] = field(default_factory=dict)  # of single rules, from a recipe
    near_threshold: float = 0.8
    near: bool = True
    exact: bool = True
    boilerplate: bool = True
    redact: bool = True
    simplify: bool = False
    keep: Keep = "source-order"
    priority: tuple[str, ...] = ()
    against: str | None = None
    decontaminate: tuple[str, ...] = ()
    lexicon: str | None = None
    keep_values: bool = False
    limit: int | None = None
    text_column: str | None = None
    source_type: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rules not in ("default", "none"):
            raise ValueError(f"--rules {self.rules}: must be default or none (thresholds go into a recipe)")
        if self.keep not in KEEP:
            raise ValueError(f"--keep {self.keep}: must be one of {', '.join(KEEP)}")
        for name in self.priority:
            if name not in SOURCE_TYPES:
                raise ValueError(f"--priority {name}: must be source types, of {', '.join(SOURCE_TYPES)}")
        if self.source_type is not None and self.source_type not in SOURCE_TYPES:
            raise ValueError(f"--source-type {self.source_type}: must be one of {', '.join(SOURCE_TYPES)}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"--limit {self.limit}: must be 1 or more")
        if not isinstance(self.thresholds, Mapping):
            raise ValueError(f"thresholds {self.thresholds!r}: must be a table of rules by language and name")
        if not 0 < self.near_threshold <= 1:
            raise ValueError(f"--near-threshold {self.near_threshold}: must be above 0 and at most 1")


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
        "settings": _plain(settings),
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


@dataclass(frozen=True)
class Measured:
    """Keys of the parts that hold all documents, in input order; what was counted; seconds by step, where no earlier
    run had done some of the work."""

    keys: list[str]
    tally: Counter[str]
    seconds: dict[str, float | None]


def note_measured(
    work: Work, found: Measured, measure: MeasureSettings, settings: CurateSettings, faults: Sequence[Fault]
) -> None:
    """Leave word of a finished measurement for `reapply`."""
    line = {
        "keys": found.keys,
        "measure": asdict(measure),
        "settings": _plain(settings),
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
        for source, number in _counts(sources).items():
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


def write(
    work: Work,
    found: Measured,
    decide: DecideSettings,
    settings: CurateSettings,
    faults: Sequence[Fault],
    out: Path,
    summary: Summary,
) -> None:
    """Decide on the measured documents and write what stays, its trace, and the facts for the report."""
    documents = Parts(work, found.keys, "documents")
    read = [measured_key(key) for key in found.keys]
    trace_path, _ = companions(out)
    with parquet_writer(trace_path, TRACE) as trace:
        rules = _write_faults(work, read, faults, trace, summary)
        decision = decide_all(documents, decide, work)
        with decision.timed("writing"), ThreadPoolExecutor(1) as background:
            ended = background.submit(work.close_pool)  # a cluster that was started here takes a second to end
            summary.rows_written = _write_decided(documents, decision, settings, out, work.path, trace)
            ended.result()
    summary.dropped = dict(sorted((rules + decision.dropped).items()))
    summary.output = storage.shown(out)
    summary.trace = storage.shown(trace_path) if trace.written else None
    if not trace.written:
        storage.remove(trace_path)
    _write_report(out, documents, decision, settings, summary, found)


def _write_decided(
    documents: Parts, decision: Decision, settings: CurateSettings, out: Path, work: Path, trace: RowGroupWriter
) -> int:
    """Write what stays to `out` and what goes to its trace, of one reading of the documents."""
    schema = DOCUMENT
    if settings.keep_values:
        for value in VALUES:
            schema = schema.append(value)
    times = _times(documents, decision.kept, work / "ids")
    columns = list(dict.fromkeys([*schema.names, *Traces.columns]))
    with parquet_writer(out, schema) as writer, Traces(decision, work / "trace") as traces:
        for start, table in documents.batches(columns):
            kept = decision.kept[start : start + table.num_rows]
            chosen = table.select(schema.names).filter(pa.array(kept))
            writer.write(_with_own_ids(chosen, times[start : start + len(kept)][kept]))
            traces.add(start, table)
        for rows in traces.rows():
            trace.write(rows)
    return writer.written


def _with_own_ids(table: pa.Table, times: npt.NDArray[np.int32]) -> pa.Table:
    """Ids that the input brought along may repeat: the second one becomes `id#2`."""
    again = np.flatnonzero(times > 1)
    if not len(again):
        return table
    ids = table["id"].to_pylist()
    for place in again.tolist():
        ids[place] = f"{ids[place]}#{times[place]}"
    return table.set_column(table.column_names.index("id"), "id", pa.array(ids, pa.string()))


def _times(documents: Parts, kept: npt.NDArray[np.bool_], folder: Path) -> npt.NDArray[np.int32]:
    """For every document that is kept the how-manieth of its id it is, from 1."""

    def keys() -> Iterator[npt.NDArray[np.void]]:
        for _, table in documents.chosen(["id"], kept):
            yield np.frombuffer(b"".join(map(xxhash.xxh3_128_digest, table["id"].cast(pa.binary()).to_pylist())), "V16")

    times = np.ones(len(documents), np.int32)
    numbers = np.flatnonzero(kept)
    for again, firsts in exact_disk.duplicates(keys(), len(numbers), folder):
        order = np.argsort(firsts, kind="stable")
        begins = np.searchsorted(firsts[order], firsts[order])
        times[numbers[again[order]]] = 2 + np.arange(len(order)) - begins
    return times


def _write_faults(
    work: Work, keys: list[str], faults: Sequence[Fault], trace: RowGroupWriter, summary: Summary
) -> Counter[str]:
    """Trace rows of what was not read; fills `failed`, returns the drops by rule."""
    rows = [{"id": "", "source": f.source, "step": "read", "rule": f.rule, "excerpt": f.message} for f in faults]
    tables = [pa.Table.from_pylist(rows, schema=TRACE)] if rows else []
    dropped: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for table in (*tables, *(table for _, table in Parts(work, keys, "trace").batches())):
        trace.write(table)
        for row in table.select(["rule", "source", "excerpt"]).to_pylist():
            if row["rule"] in FAULT_CLASSES:
                failed[FAULT_CLASSES[row["rule"]]] += 1
                summary.problems.append(f"{row['source']}: {row['excerpt']}")
            else:
                dropped[row["rule"]] += 1
    summary.failed = dict(sorted(failed.items()))
    return dropped


def _write_report(
    out: Path, documents: Parts, decision: Decision, settings: CurateSettings, summary: Summary, found: Measured
) -> None:
    """What `datatools report` shows beyond the files themselves."""
    size = found.tally["bytes"]
    # Documents are cut into entries while they are measured, which is the first step.
    rows_in = chain([summary.rows_read], repeat(len(documents)))
    before = [[step, next(rows_in), len(documents), size, seconds] for step, seconds in found.seconds.items()]
    place = work_path(out)  # of a reapplied output it is not the folder that was measured
    place.mkdir(exist_ok=True)
    facts = {
        "command": "curate",
        "settings": _plain(settings),
        "inputs": summary.inputs,
        "funnel": [*before, *decision.funnel],
        **facts_of(documents, decision, found.tally),
    }
    with atomic_path(place / REPORT) as temporary:
        temporary.write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")


def facts_of(documents: Parts, decision: Decision, tally: Counter[str]) -> dict[str, Any]:
    """What was found in the documents that no file of the output tells any more, for `datatools report`."""
    encodings: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    for _, table in documents.blocks(["language", "meta"]):
        languages.update(_counts(table["language"]))
        for meta, count in _counts(table["meta"]).items():
            encodings[_encoding(meta)] += count
    return {
        "pii": {name.removeprefix("pii."): count for name, count in sorted(tally.items()) if name.startswith("pii.")},
        "encodings": dict(encodings.most_common()),
        "languages": dict(languages.most_common()),
        "clusters": clusters(documents, decision.near),
    }


def _counts(column: pa.ChunkedArray) -> dict[Any, int]:
    values, counts = column.value_counts().flatten()
    return dict(zip(values.to_pylist(), counts.to_pylist(), strict=True))


def _encoding(meta: str) -> str:
    return str(json.loads(meta).get("encoding", "utf-8")) if meta and '"encoding"' in meta else "utf-8"


def measure_settings(settings: CurateSettings, work: Path, progress: Progress) -> MeasureSettings:
    """What the units need to know; the index of exam items is made unless it is there.

    Raises ValueError for files that cannot be used.
    """
    if settings.lexicon:
        lexicon(settings.lexicon)  # says what is wrong with it
    return MeasureSettings(
        text_column=settings.text_column,
        source_type=settings.source_type,
        simplify=settings.simplify,
        redact=settings.redact,
        lexicon=settings.lexicon or "",
        lexicon_digest=digest_of((settings.lexicon,)) if settings.lexicon else "",
        near_threshold=settings.near_threshold if settings.near else None,
        exam_index=str(exam_index(settings.decontaminate, work, progress) or ""),
        exam_digest=digest_of(settings.decontaminate),
    )


def decide_settings(settings: CurateSettings, measured_with: MeasureSettings | None = None) -> DecideSettings:
    """Thresholds as the deciding pass takes them. Raises ValueError for a threshold that needs measuring anew."""
    near = Near(threshold=settings.near_threshold) if settings.near else None
    if near and measured_with is not None:
        lowest = measured_with.near_threshold
        if lowest is None or settings.near_threshold < lowest:
            raise ValueError(
                f"--near-threshold {settings.near_threshold}: measured for {lowest} and above; run without --reapply"
            )
        near = Near(threshold=settings.near_threshold, bands_for=lowest)
    return DecideSettings(
        rules=() if settings.rules == "none" else rules_from(settings.thresholds),
        near=near if settings.rules != "none" else None,
        exact=settings.exact and settings.rules != "none",
        keep=settings.keep,
        priority=settings.priority,
        against=settings.against if settings.rules != "none" else None,
        leaks=settings.rules != "none",
    )


def _plain(settings: CurateSettings) -> dict[str, Any]:
    return {**asdict(settings), "priority": list(settings.priority), "decontaminate": list(settings.decontaminate)}


def settings_from(values: Mapping[str, Any]) -> CurateSettings:
    """Settings from the command line's values; what is None keeps its default."""
    names = CurateSettings.__dataclass_fields__
    return CurateSettings(**{name: values[name] for name in names if values.get(name) is not None})
