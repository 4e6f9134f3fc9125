"""The local executor: units on a pool of processes, bounded in flight, in this process when the input is small."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import forkserver
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any

import pyarrow as pa

from datatools.engine.choice import Engine
from datatools.engine.startup import without_pandas
from datatools.engine.task import UnitFunction, run_again
from datatools.engine.units import UNIT_BYTES, Unit
from datatools.engine.work import Work
from datatools.io import storage
from datatools.io.source import Source

IN_FLIGHT_PER_WORKER = 3


def get_ready(modules: Sequence[str], parts: Sequence[tuple[Source, int]], engine: Engine) -> None:
    """Begin loading what local workers will need for these sources (with their bytes), while this process goes on.

    The process that workers are forked from imports `modules` once; they have them at once, and share their memory. Not
    for what this process will do alone.
    """
    if not engine.spreads and engine.workers > 1 and sum(size for _, size in parts) > UNIT_BYTES:
        multiprocessing.set_forkserver_preload(list(modules))
        forkserver.ensure_running()


def run_units(
    function: UnitFunction,
    units: Iterable[Unit],
    settings: Any,
    work: Work,
    schemas: Mapping[str, pa.Schema],
    *,
    workers: int | None = None,
    memory: int | None = None,
) -> Iterator[tuple[Unit, Mapping[str, int]]]:
    """Run the units that are not finished yet; yields each with its tally as it ends (finished ones first).

    They run where the engine of `work` says, or with so many `workers` of this machine; one runs in this process.
    `memory` is what a task on Ray declares, in bytes. The manifest is written here, by the parent alone.
    """
    todo = []
    for unit in units:
        if unit.key in work.units:
            yield unit, work.units[unit.key]
        else:
            todo.append(unit)
    spread = workers is None and work.engine.spreads
    workers = work.engine.workers if workers is None else workers
    # A pool costs half a second to start: not worth it for a unit or two. Workers that run already have all loaded.
    if spread and todo and (len(todo) > 1 or memory or work.pool is not None):
        from datatools.engine.ray import TASK_MEMORY, run_on_ray

        ended: Iterator[tuple[Unit, Counter[str]]] = run_on_ray(
            function, todo, settings, work, schemas, memory or TASK_MEMORY
        )
    elif workers == 1 or len(todo) < 2:
        ended = _here(function, todo, settings, work, schemas)
    else:
        ended = _pooled(function, todo, settings, work, schemas, workers)
    for unit, tally in ended:
        work.finish(unit.key, tally)
        yield unit, tally
    work.flush()


def _here(
    function: UnitFunction, todo: list[Unit], settings: Any, work: Work, schemas: Mapping[str, pa.Schema]
) -> Iterator[tuple[Unit, Counter[str]]]:
    for unit in todo:
        yield unit, _noted(work, *run_again(function, unit, settings, work, schemas))


def _noted(work: Work, tally: Counter[str], again: int) -> Counter[str]:
    if again:
        work.again["storage"] += again
    return tally


def _pooled(
    function: UnitFunction, todo: list[Unit], settings: Any, work: Work, schemas: Mapping[str, pa.Schema], workers: int
) -> Iterator[tuple[Unit, Counter[str]]]:
    if work.pool is None:
        # Not plain fork: this process has threads, whose locks a copy of it would never see released.
        context = multiprocessing.get_context("forkserver")
        work.pool = ProcessPoolExecutor(
            workers, mp_context=context, initializer=_begin_worker, initargs=(storage.mirroring(), dict(os.environ))
        )
    pool = work.pool
    assert isinstance(pool, ProcessPoolExecutor)
    place = Work(work.path)  # without the manifest's open file and the pool, which cannot and must not travel
    waiting = iter(todo)
    running: dict[Future[tuple[Counter[str], int]], Unit] = {}
    try:
        while True:
            while len(running) < workers * IN_FLIGHT_PER_WORKER and (unit := next(waiting, None)):
                running[pool.submit(run_again, function, unit, settings, place, schemas)] = unit
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), _noted(work, *future.result())
    except BaseException:
        # Not waiting for queued units: an interrupted or failed run stops after the units in hand.
        work.close_pool()
        raise


def _begin_worker(mirror: Path | None, environment: Mapping[str, str]) -> None:
    # The process that this one is forked from may have begun before a key or an address was set.
    os.environ.clear()
    os.environ.update(environment)
    # Ctrl-C reaches the whole process group; the parent alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    without_pandas()
    storage.adopt(mirror)
    gc.freeze()  # what is loaded stays: no use in looking for garbage there, at every few hundred rows
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with_parent, args=(parent.sentinel,), daemon=True).start()


def _end_with_parent(sentinel: int) -> None:
    # A killed parent cannot stop its workers, and a worker waiting for its next unit would wait for ever.
    wait_for([sentinel])
    os._exit(1)
