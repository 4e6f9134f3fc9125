"""The process that trains: everything it needs stands in the run's folder. `python -m trainers.fit RUN` for every rank.

It builds TRL's trainer for the stage, goes on from the newest whole checkpoint, and leaves the model in the folder.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datatools.report.progress import Progress
from trainers import checkpoints, manifest
from trainers.launching import die_with_parent
from trainers.load import quiet_libraries
from trainers.plan import Plan, plan_from
from trainers.probe import emptied, fitting, halved, memory_is_full, no_memory, said_of
from trainers.save import disk_is_full, no_space, save
from trainers.settings import settings_from


def fit(out: Path, progress: Progress) -> None:
    """Train what `run.json` describes, or go on with it. Raises ValueError, KeyboardInterrupt when stopped."""
    quiet_libraries()
    while (smaller := _trained(out, progress)) is not None:
        progress.say(f"train: {said_of(smaller)}, from the last checkpoint")
        emptied()


def _trained(out: Path, progress: Progress) -> Plan | None:
    """Train to the end; where the memory ran full on the way, the plan to go on with, which is in `run.json` then."""
    from trainers.watch import Watch

    found = manifest.read(out)
    assert found is not None, "trainers.run writes it first"
    settings = settings_from({**found["settings"], "out": str(out), **found["free"]})
    plan = plan_from(found["plan"])
    checkpoint = checkpoints.newest(out)
    trainer, tokenizer, plan = fitting(out, settings, plan, progress)
    writes = trainer.is_world_process_zero()
    if plan.recorded() != found["plan"] and writes:
        manifest.write(out, {**found, "plan": plan.recorded()})
    if checkpoint:
        progress.say(f"train: goes on from {checkpoint.name} of {plan.steps:,}")
    step = checkpoints.step_of(checkpoint) if checkpoint else 0
    with _stopping(progress) as stop, progress.bar("train", plan.steps, step) as bar:
        watch = Watch(out, plan, stop, bar, step, writes=writes)
        trainer.add_callback(watch)
        try:
            if checkpoint and _at_its_end(checkpoint):
                trainer._load_from_checkpoint(str(checkpoint))  # train() would take one step more
            else:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
                if stop and trainer.state.global_step < trainer.state.max_steps:
                    raise KeyboardInterrupt
            save(trainer, tokenizer, out, settings, plan.stage)
        except Exception as error:
            if disk_is_full(error):
                raise ValueError(no_space(out)) from error
            if not memory_is_full(error):
                raise
            smaller = halved(plan)
            if smaller is None:
                raise ValueError(no_memory(plan, trainer.state.global_step + 1)) from error
            manifest.write(out, {**found, "plan": smaller.recorded()})
            if plan.processes > 1:  # the others wait for this one, and cannot be told
                raise ValueError(f"{said_of(smaller)}: the same line goes on so") from error
            return smaller
        finally:
            watch.metrics.close()
    return None


def _at_its_end(checkpoint: Path) -> bool:
    """Whether a checkpoint is that of the last step."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return bool(state["global_step"] >= state["max_steps"])


@contextmanager
def _stopping(progress: Progress) -> Iterator[list[int]]:
    """A list that holds the signal once Ctrl-C or SIGTERM came: the step under way is finished and saved first.

    A second signal does not wait for that.
    """
    seen: list[int] = []

    def note(number: int, frame: object) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)
        progress.say("train: stops behind this step and saves; once more stops at once")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main() -> None:
    """One rank of several, started by accelerate: exit codes as those of the command line, one line on an error."""
    die_with_parent()
    quiet_libraries()
    out, rank = Path(sys.argv[1]), int(os.environ.get("RANK", "0"))
    try:
        fit(out, Progress(quiet=rank != 0 or "--quiet" in sys.argv))
    except KeyboardInterrupt:
        sys.exit(130)
    except ValueError as error:
        if rank == 0 or not (out / "error.txt").exists():
            (out / "error.txt").write_text(str(error), encoding="utf-8")
        sys.exit(2)


if __name__ == "__main__":
    main()
