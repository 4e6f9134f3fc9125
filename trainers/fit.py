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
from trainers.load import quiet_libraries
from trainers.plan import plan_from
from trainers.probe import fitting
from trainers.save import disk_is_full, no_space, save
from trainers.settings import settings_from


def fit(out: Path, progress: Progress) -> None:
    """Train what `run.json` describes, or go on with it. Raises ValueError, KeyboardInterrupt when stopped."""
    quiet_libraries()
    from trainers.watch import Watch

    found = manifest.read(out)
    assert found is not None, "trainers.run writes it first"
    settings = settings_from({**found["settings"], "out": str(out), **found["free"]})
    plan = plan_from(found["plan"])
    checkpoint = checkpoints.newest(out)
    trainer, tokenizer, plan = fitting(out, settings, plan, progress)
    if plan.recorded() != found["plan"] and trainer.is_world_process_zero():
        manifest.write(out, {**found, "plan": plan.recorded()})
    if checkpoint:
        progress.say(f"train: goes on from {checkpoint.name} of {plan.steps:,}")
    with _stopping() as stop, progress.bar("train", plan.steps) as bar:
        step = checkpoints.step_of(checkpoint) if checkpoint else 0
        bar.advance(step)
        watch = Watch(out, plan, stop, bar, step)
        trainer.add_callback(watch)
        try:
            if checkpoint and _at_its_end(checkpoint):
                trainer._load_from_checkpoint(str(checkpoint))  # train() would take one step more
            else:
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
                if stop and trainer.state.global_step < trainer.state.max_steps:
                    raise KeyboardInterrupt
            save(trainer, tokenizer, out, settings)
        except Exception as error:
            if not disk_is_full(error):
                raise
            raise ValueError(no_space(out)) from error
        finally:
            watch.metrics.close()


def _at_its_end(checkpoint: Path) -> bool:
    """Whether a checkpoint is that of the last step."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return bool(state["global_step"] >= state["max_steps"])


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """A list that holds the signal once Ctrl-C or SIGTERM came: the step under way is finished and saved first.

    A second signal does not wait for that.
    """
    seen: list[int] = []

    def note(number: int, frame: object) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main() -> None:
    """One rank of several, started by accelerate: exit codes as those of the command line, one line on an error."""
    quiet_libraries()
    out, rank = Path(sys.argv[1]), int(os.environ.get("RANK", "0"))
    try:
        fit(out, Progress(quiet=rank != 0 or "--quiet" in sys.argv))
    except KeyboardInterrupt:
        sys.exit(130)
    except ValueError as error:
        if rank == 0:
            (out / "error.txt").write_text(str(error), encoding="utf-8")
        sys.exit(2)


if __name__ == "__main__":
    main()
