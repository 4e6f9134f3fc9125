"""The Ray executor: the same units as tasks of a cluster, bounded in flight, with the same manifest and the same parts.

Nothing but settings and counts goes through Ray: a task reads its inputs and writes its parts by path, in a folder that
all nodes share, or in object storage. A unit whose worker or node is lost, or whose storage fails, is run again; a part
appears whole or not at all and equal units give equal bytes, so a unit that ran twice has written once.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, redirect_stdout
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import xxhash

from datatools.engine import task
from datatools.engine.choice import Engine
from datatools.engine.manifest import PASSING, STORAGE_TRIES
from datatools.engine.startup import without_pandas
from datatools.engine.task import UnitFunction
from datatools.engine.units import Unit
from datatools.engine.work import Work
from datatools.io import storage
from datatools.io.atomic import remove_leftovers
from datatools.io.storage import Unreachable

IN_FLIGHT_PER_CPU = 3
# What a task declares: a unit is 2 MB, but one document may be as long as LARGEST.
TASK_MEMORY = 1 << 30
TRIES = 6  # of a unit, the first one included
STORE_BYTES = 128 << 20  # of a cluster started here: settings and counts are all that it carries
PACKAGES = ("schemas", "datatools", "pipelines", "prompts")


@dataclass
class Cluster:
    """A connection to Ray, which `shutdown` ends where it was made here."""

    own: bool
    _open: ExitStack = field(default_factory=ExitStack)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leave the cluster; one that was started here ends."""
        import ray

        if self.own:
            ray.shutdown()
        self._open.close()

    @property
    def cpus(self) -> int:
        """CPUs of the cluster as it is now."""
        import ray

        return max(1, int(ray.cluster_resources().get("CPU", 1)))

    @property
    def nodes(self) -> int:
        """Nodes that are alive."""
        import ray

        return max(1, len([node for node in ray.nodes() if node["Alive"]]))

    @property
    def largest(self) -> int:
        """Bytes of memory that the largest node declares."""
        import ray

        return int(max((node["Resources"].get("memory", 0) for node in ray.nodes() if node["Alive"]), default=0))


def connect(engine: Engine) -> Cluster:
    """Join the cluster of the engine, or the one this process has joined already. Raises ValueError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    through_client = engine.address.startswith("ray://")
    if through_client and _has_token():  # Ray Client does not look for it, and the head then refuses it
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ModuleNotFoundError:
        raise ValueError("--engine ray: Ray is not installed (pip install 'medical-datatools[ray]')") from None
    if ray.is_initialized():
        return Cluster(own=False)
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if engine.address == "local":
        options |= {"num_cpus": engine.workers, "include_dashboard": False, "object_store_memory": STORE_BYTES}
        options |= {"_system_config": {"worker_niceness": 0}}  # Ray's workers give way to all else: 15, as it ships
    if through_client and find_spec("grpc") is None:
        raise ValueError(f"--ray-address {engine.address}: needs pip install 'medical-datatools[ray]' (grpcio)")
    try:
        ray.init(engine.address, **options)
    except (ConnectionError, TimeoutError) as error:
        hint = "start one with `ray start --head`, or give --ray-address local to have one here for this run"
        if through_client:
            hint = "is the port that of Ray Client (10001 unless chosen), and the head's ~/.ray/auth_token here too?"
        raise ValueError(
            f"--ray-address {engine.address}: no Ray cluster there ({str(error).splitlines()[0]}); {hint}"
        ) from error
    cluster = Cluster(own=True)
    # What Ray says of lost workers it prints, and stdout is the job's: with --json it is one object.
    cluster._open.enter_context(redirect_stdout(sys.stderr))
    return cluster


def _has_token() -> bool:
    """Whether there is a token for clusters that want one, where Ray looks for it."""
    named = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return named or (Path.home() / ".ray" / "auth_token").is_file()


def run_on_ray(
    function: UnitFunction,
    todo: Iterable[Unit],
    settings: Any,
    work: Work,
    schemas: Mapping[str, pa.Schema],
    memory: int = TASK_MEMORY,
) -> Iterator[tuple[Unit, Counter[str]]]:
    """Run units as tasks of the cluster, each with one CPU and `memory` bytes; yields each with its tally as it ends.

    A unit is run again, TRIES times in all, when its worker or node is lost or finds no memory (each time with twice
    as much, should that have been the reason) or when its storage fails. Raises what the unit raises; ValueError where
    a node lacks the folder or has other code.
    """
    cluster = joined(work)  # first: what is in the environment decides how Ray is imported
    import ray
    from ray.exceptions import RayError, RayTaskError

    place = Work(work.path.absolute())
    given = ray.put((function, settings, place, dict(schemas), str(Path.cwd()), code()))
    waiting, tries = iter(todo), Counter[str]()
    running: dict[Any, Unit] = {}

    def submit(unit: Unit, needed: int) -> None:
        # Ray's own retries would ask for the same memory again.
        declared = _task().options(num_cpus=1, memory=needed, max_retries=0, scheduling_strategy="SPREAD")
        running[declared.remote(unit, given)] = unit

    def more(unit: Unit) -> int:
        needed, largest = memory << tries[unit.key], cluster.largest
        while memory < needed and largest < needed:  # no node could ever run it
            needed >>= 1
        return needed

    try:
        while True:
            most = cluster.cpus * IN_FLIGHT_PER_CPU  # nodes come and go
            while len(running) < most and (unit := next(waiting, None)):
                submit(unit, memory)
            if not running:
                break
            ray.wait(list(running), num_returns=1)
            done, _ = ray.wait(list(running), num_returns=len(running), timeout=0)
            for reference in done:
                unit = running.pop(reference)
                try:
                    tally = ray.get(reference)
                except RayTaskError as error:
                    if tries[unit.key] + 1 >= _allowed(error.cause):
                        raise error.cause from None
                    short = isinstance(error.cause, MemoryError)
                    work.again["out of memory" if short else "storage"] += 1
                    tries[unit.key] += 1
                    submit(unit, more(unit) if short else memory)
                except RayError as error:
                    work.again[_loss(error)] += 1
                    tries[unit.key] += 1
                    if tries[unit.key] >= TRIES:
                        raise ValueError(_lost(unit, error)) from error
                    submit(unit, more(unit))
                else:
                    yield unit, tally
    except BaseException:
        for reference in running:
            ray.cancel(reference, force=True)
        raise
    if work.again:  # nobody writes any more: what is unfinished was begun by workers that are gone
        remove_leftovers(work.parts)


def joined(work: Work) -> Cluster:
    """The cluster that the units of `work` run on."""
    if work.pool is None:
        work.pool = connect(work.engine)
    assert isinstance(work.pool, Cluster)
    return work.pool


def _allowed(error: BaseException) -> int:
    """How often a unit that fails with this may be tried: once where the fault is its own."""
    if getattr(error, "errno", None) in PASSING:
        return STORAGE_TRIES
    return TRIES if isinstance(error, OSError | MemoryError | Unreachable) else 1


def _loss(error: Exception) -> str:
    names = {"OutOfMemoryError": "out of memory", "NodeDiedError": "node lost"}
    return names.get(type(error).__name__, "worker lost")


def _lost(unit: Unit, error: Exception) -> str:
    what = f"{unit.sources[0].name}" if unit.sources else f"unit {unit.key}"
    more = f" and {len(unit.sources) - 1} more" if len(unit.sources) > 1 else ""
    return (
        f"{what}{more}: its worker died {TRIES} times ({_loss(error)}), most likely for want of memory; "
        "the same line on nodes with more memory for each CPU goes on"
    )


@cache
def _task() -> Any:
    import ray

    return ray.remote(_run)


def _run(unit: Unit, given: tuple[Any, ...]) -> Counter[str]:
    function, settings, place, schemas, folder, digest = given
    begin_work(folder, digest)
    if storage.address_of(place.path):
        with storage.scratch():  # on the disk of this node, for this task
            return task.run_unit(function, unit, settings, place, schemas)
    needs_folder(place.parts)
    return task.run_unit(function, unit, settings, place, schemas)


def needs_folder(path: Path) -> None:
    """ValueError where this node does not see a folder of the job."""
    if not path.is_dir():
        raise ValueError(
            f"node {socket.gethostname()}: {path} is not there; "
            "--engine ray needs inputs and --out in a folder that all nodes share under the same name"
        )


@lru_cache(maxsize=1)
def begin_work(folder: str, digest: str) -> None:
    """What a worker does once: paths are relative to where the job was started, and its code must be the job's."""
    if digest != code():
        raise ValueError(
            f"node {socket.gethostname()}: has other code of datatools than the job; install the same everywhere"
        )
    if Path(folder).is_dir():
        os.chdir(folder)
    without_pandas()
    gc.freeze()


@cache
def code() -> str:
    """Digest of this project's code: another one on some node would give other bytes."""
    root = Path(__file__).resolve().parents[2]
    digest = xxhash.xxh3_128()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
