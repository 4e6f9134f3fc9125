"""Units that need more memory than they declared, on a node that is out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow as pa
import pytest

from datatools.engine import ray as on_ray
from datatools.engine.choice import Engine
from datatools.engine.local import run_units
from datatools.engine.ray import TASK_MEMORY
from datatools.engine.units import Unit
from datatools.engine.work import open_work
from tests.engine.test_local import RUN, SCHEMAS, contents, read_lines, units

pytestmark = pytest.mark.slow


@pytest.fixture
def full_node(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A node above the share of its memory from which Ray ends workers, looking every two seconds."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    config = {"memory_usage_threshold": 0.001, "memory_monitor_refresh_ms": 2000}
    store = {"object_store_memory": 80 << 20, "include_dashboard": False}
    ray.init("local", num_cpus=1, _memory=4 << 30, logging_level="ERROR", _system_config=config, **store)
    yield
    ray.shutdown()


def declared(folder: str, unit: Unit) -> int:
    """Note what memory this try of a unit has declared; its number."""
    import ray

    memory = int(ray.get_runtime_context().get_assigned_resources()["memory"])
    with Path(folder, unit.key).open("a") as file:
        file.write(f"{memory}\n")
    return len(Path(folder, unit.key).read_text().splitlines())


def lingers(unit: Unit, settings: Any, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """Stays until the node ends its worker; not the second time."""
    if declared(settings, unit) == 1:
        Event().wait(600)
    yield from read_lines(unit, None, tally)


def test_a_unit_whose_worker_was_ended_for_want_of_memory_is_run_again_with_more(
    full_node: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "TRIES", 20)  # the node stays full: a later try, too, may be in its way
    (tries := tmp_path / "tries").mkdir()
    with open_work(tmp_path / "out.parquet", RUN, engine=Engine("ray")) as work:
        list(run_units(lingers, units(2), str(tries), work, SCHEMAS))
        assert work.again["out of memory"] >= 2
        found = contents(work)
    with open_work(tmp_path / "plain.parquet", RUN) as work:
        list(run_units(read_lines, units(2), None, work, SCHEMAS))
        assert contents(work) == found
    for file in tries.iterdir():
        # A try that ended before it began has left no line.
        first, *_, last = map(int, file.read_text().splitlines())
        assert TASK_MEMORY <= first <= last
        assert last >= 2 * TASK_MEMORY
