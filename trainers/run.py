"""`datatools train`: from files to a model, in the order of reading: look, prepare, plan, train, tell."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from datatools.engine.work import hold
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from trainers import card, checkpoints, manifest, vocabulary
from trainers.checkpoints import KEPT
from trainers.fit import fit
from trainers.launching import several_cards, start, started_by, stop
from trainers.lines import lines
from trainers.load import quiet_libraries, tokenizer_of
from trainers.look import look
from trainers.machine import Device, Model, device, gigabytes, model_facts
from trainers.metrics import NAME as METRICS
from trainers.plan import Limits, Plan, limits, on_disk, pack_size, plan, plan_from
from trainers.prepare import DATA, Prepared, examples, measure, renders, write_rows
from trainers.rows import Row, interleaved, read_rows
from trainers.save import TEMPORARY
from trainers.settings import TrainSettings
from trainers.show import in_colour, sequences, shown
from trainers.stages import STAGES
from trainers.tell import count, notes, tell
from trainers.tokens import write_tokens

LEFT_OUT = "dropped.jsonl"


def train(
    settings: TrainSettings, progress: Progress, command: Sequence[str], *, fresh: bool = False, dry_run: bool = False
) -> Summary:
    """Train as `settings` say, or go on with what an earlier run left in its folder.

    A dry run stops behind the plan and leaves nothing. Raises ValueError for what the user must change, and
    KeyboardInterrupt when stopped behind a checkpoint.
    """
    began = time.perf_counter()
    quiet_libraries()
    stage, source = look(settings)
    identity = manifest.identity(settings, stage)
    summary = Summary("train", list(settings.inputs), unit="rows")
    if dry_run:
        with tempfile.TemporaryDirectory() as folder:
            settings, more = _extended(settings, Path(folder))
            done, prepared, decided, model, machine = _prepare(settings, stage, Path(folder), progress)
        count(summary, prepared)
        summary.estimate = [
            *lines(done, decided, model, machine, prepared, source),
            *more,
            *_room(settings, done, model),
        ]
        summary.dry_run, summary.seconds = done.recorded(), round(time.perf_counter() - began, 3)
        return summary
    out = settings.folder
    with _folder(out):
        if fresh:
            _forget(out)
        found = manifest.read(out)
        if found and (change := manifest.difference(found, identity)):
            raise ValueError(f"{out}: {change}; --fresh starts over, another --out leaves this run as it is")
        if found is None:
            if checkpoints.newest(out) is not None or (out / "config.json").exists():
                raise ValueError(f"{out}: holds a model that no run of `datatools train` left; another --out is needed")
            found = _begin(settings, stage, source, identity, out, progress)
        for line in found["lines"]:
            progress.say(line)
        if not found.get("finished"):
            if others := manifest.other_versions(found):
                progress.say(f"train: {others}: it goes on, though not to the bits it would have come to")
            # Files may lie elsewhere now, and how often is saved changes no weight.
            found = {**found, **identity, "free": {"report_to": list(settings.report_to)}}
            found["plan"]["save_steps"] = settings.save_steps or found["plan"]["save_steps"]
            manifest.write(out, found)
            for name in checkpoints.remove_broken(out):
                progress.say(f"train: {name} was never finished, and is removed")
            if settings.extend_vocab:
                vocabulary.write_weights(settings.model, Path(settings.start))
            _fit(out, plan_from(found["plan"]), progress)
            tell(settings, out, command)
        summary.output = str(out)
        count(summary, Prepared(**found["prepared"]))
        summary.seconds = round(time.perf_counter() - began, 3)
        summary.notes = notes(out)
        return summary


def inspect(settings: TrainSettings, count: int) -> str:
    """The first rows as the model sees them, what is learned of them marked. Raises ValueError for a row that fails."""
    quiet_libraries()
    stage, _ = look(settings)
    if settings.extend_vocab:
        with tempfile.TemporaryDirectory() as folder:
            return _inspected(_extended(settings, Path(folder))[0], stage, count)
    return _inspected(settings, stage, count)


def _inspected(settings: TrainSettings, stage: str, count: int) -> str:
    tokenizer = tokenizer_of(settings, model_facts(settings.start).path)
    said = []
    with tempfile.TemporaryDirectory() as folder:
        rows = read_rows(settings.inputs, count)
        found = measure(stage, rows, tokenizer, settings.model, Path(folder) / "rows.arrow", lambda _: None)
        for row in examples(found.path):
            for what, ids, spans in sequences(tokenizer, row, rendered=renders(stage)):
                learned = sum(end - start for start, end in spans)
                said.append(f"{row['place']}: {what}{len(ids):,} tokens" + (f", {learned:,} learned" if spans else ""))
                said.append(shown(tokenizer, ids, spans, colour=in_colour()))
    return "\n".join(said)


def _prepare(
    settings: TrainSettings, stage: str, folder: Path, progress: Progress
) -> tuple[Plan, Prepared, Limits, Model, Device]:
    """Render, verify, measure, decide, pack: `train.arrow` in a folder, and the plan that goes with it."""
    model = model_facts(settings.start)
    tokenizer = tokenizer_of(settings, model.path)
    rows_file = folder / "rows.arrow"
    with progress.bar("rows", None) as bar:
        found = measure(stage, _rows(settings), tokenizer, settings.model, rows_file, bar.advance)
    machine = device()
    decided = limits(settings, stage, model, machine, found.lengths)
    out = folder / Path(DATA).name
    if STAGES[stage].rows == "tokens":
        prepared = write_tokens(
            found,
            out,
            stage=stage,
            max_length=decided.max_length,
            pack_size=pack_size(settings, stage, decided),
            too_long=settings.too_long,
        )
    else:
        prepared = write_rows(found, out, stage=stage, max_length=decided.max_length)
    rows_file.unlink()
    return plan(settings, stage, model, machine, decided, prepared), prepared, decided, model, machine


def _room(settings: TrainSettings, plan: Plan, model: Model) -> list[str]:
    """A warning where the disk will not hold the checkpoints."""
    needed = on_disk(plan, model, settings.lora_rank)
    there = next(
        folder for folder in (settings.folder.resolve(), *settings.folder.resolve().parents) if folder.exists()
    )
    free = shutil.disk_usage(there).free
    if needed <= free:
        return []
    return [
        f"warning   {gigabytes(needed)} GB of disk are needed for {KEPT + 1} checkpoints and the model, "
        f"{gigabytes(free)} GB are free: it stops when they are full, and goes on once there is room"
    ]


def _extended(settings: TrainSettings, out: Path) -> tuple[TrainSettings, list[str]]:
    """The settings of a run in `out` and a line of the plan; where a vocabulary is extended, its tokenizer is made."""
    if not settings.extend_vocab:
        return settings, []
    here = replace(settings, out=str(out))
    base, corpus = Path(here.start), Path(settings.extend_vocab)
    shutil.rmtree(base, ignore_errors=True)  # of a run that ended before it was begun
    new = vocabulary.write_tokenizer(model_facts(settings.model).path, corpus, settings.new_tokens, base)
    some = ", ".join(token for token in new if "\ufffd" not in token and len(token.strip()) > 1)
    line = f"words     {len(new):,} new tokens of {corpus.name}: {some[:60].rpartition(',')[0] or some[:60]}, …"
    return here, [line]


def _rows(settings: TrainSettings) -> Iterator[Row]:
    rows = read_rows(settings.inputs, settings.limit)
    if not settings.general:
        return rows
    return interleaved(rows, lambda: read_rows(settings.general), settings.general_share)


def _begin(
    settings: TrainSettings, stage: str, source: str, identity: dict[str, Any], out: Path, progress: Progress
) -> dict[str, Any]:
    """Prepare a new run; its manifest, written when all else of it is in place."""
    folder = out / Path(DATA).parent
    folder.mkdir(exist_ok=True)
    settings, more = _extended(settings, out)
    done, prepared, decided, model, machine = _prepare(settings, stage, folder, progress)
    left = [{"row": place, "what": "cut"} for place in prepared.cut]
    left += [{"row": place, "what": "dropped"} for place in prepared.dropped]
    if left:
        text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in left)
        (out / LEFT_OUT).write_text(text, encoding="utf-8")
    kept = {name: value for name, value in vars(prepared).items() if name != "lengths"}
    found = {
        **identity,
        "versions": manifest.versions(),
        "files": [asdict(card.describe(Path(path))) for path in (*settings.inputs, *settings.general)],
        "free": {},
        "plan": done.recorded(),
        "prepared": kept,
        "lines": [*lines(done, decided, model, machine, prepared, source), *more, *_room(settings, done, model)],
    }
    manifest.write(out, found)
    return found


@contextmanager
def _folder(out: Path) -> Iterator[None]:
    """The run's folder, held against other runs; gone again where a first run came to nothing before it began."""
    new = not out.exists()
    if out.is_file():
        raise ValueError(f"--out {out}: is a file, a folder is needed")
    try:
        with hold(out):
            yield
    except BaseException as error:
        untrained = isinstance(error, ValueError) and not (out / METRICS).exists()
        if new and (untrained or not (out / manifest.NAME).exists()):
            shutil.rmtree(out, ignore_errors=True)
        raise


def _forget(out: Path) -> None:
    """Remove what an earlier run left, and nothing else."""
    for path in out.glob("checkpoint-*"):
        shutil.rmtree(path)
    shutil.rmtree(out / "data", ignore_errors=True)
    shutil.rmtree(out / TEMPORARY, ignore_errors=True)
    shutil.rmtree(out / "base", ignore_errors=True)
    if manifest.read(out) is not None:
        for pattern in ("*.safetensors", "*.json", "*.jsonl", "*.html", "*.jinja", "README.md"):
            for path in out.glob(pattern):
                path.unlink()


def _fit(out: Path, plan: Plan, progress: Progress) -> None:
    """Train in this process, or in one a GPU."""
    if plan.processes == 1 and not several_cards():
        fit(out, progress)
        return
    words, values = started_by(plan)
    words = [sys.executable, "-m", *words, "-m", "trainers.fit", str(out)] + (["--quiet"] if progress.quiet else [])
    said = out / "error.txt"
    said.unlink(missing_ok=True)
    process = start(words, values)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        stop(process)
        raise
    if code:
        reason = said.read_text(encoding="utf-8") if said.exists() else f"its processes ended with code {code}"
        said.unlink(missing_ok=True)
        raise ValueError(f"{out}: {reason}")
