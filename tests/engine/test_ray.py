"""The Ray executor on three real nodes: lost workers, nodes and writes, and always the bytes of the local engine."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from datatools.engine import ray as on_ray
from datatools.engine.choice import Engine
from datatools.engine.local import run_units
from datatools.engine.ray import TASK_MEMORY
from datatools.engine.units import Unit
from datatools.engine.work import Work, open_work
from tests.cluster import Nodes, three_nodes
from tests.engine.test_local import RUN, SCHEMAS, contents, read_lines, units
from tests.engine.test_ray_memory import declared

pytestmark = pytest.mark.slow
RAY = Engine("ray")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with three_nodes() as found:
        yield found


def dies_once(unit: Unit, settings: Any, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """Its process is killed in the middle of a part, as the kernel does where memory is short; not the second time."""
    for place, table in enumerate(read_lines(unit, None, tally)):
        if place and not (mark := Path(settings, unit.key)).exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield table


def always_dies(unit: Unit, settings: Any, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """The same every time, for the third unit."""
    if unit.key == "k2":
        os.kill(os.getpid(), signal.SIGKILL)
    yield from read_lines(unit, None, tally)


def write_fails(unit: Unit, settings: Any, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """From now on one fsync in twenty of this process fails."""
    made = Counter[str]()
    true = os.fsync

    def fsync(descriptor: int) -> None:
        made["calls"] += 1
        if made["calls"] % 20 == 7:
            raise OSError(5, "Input/output error")
        true(descriptor)

    if os.fsync.__module__ != __name__:
        os.fsync = fsync
    yield from read_lines(unit, None, tally)


def finds_none(unit: Unit, settings: Any, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """Is refused memory as where a limit is set for each process; not the second time."""
    if declared(settings, unit) == 1:
        bytearray(1 << 60)
    yield from read_lines(unit, None, tally)


def run(folder: Path, function: Any, settings: Any = None, count: int = 12, engine: Engine = RAY) -> Work:
    with open_work(folder / "out.parquet", RUN, engine=engine) as work:
        found = {unit.key: dict(tally) for unit, tally in run_units(function, units(count), settings, work, SCHEMAS)}
        assert found == {f"k{n}": {"rows_read": 2} for n in range(count)}
        return work


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    """Parts and manifest of the local engine, for 60 units."""
    work = run(tmp_path_factory.mktemp("local"), read_lines, count=60, engine=Engine())
    return {**contents(work), "manifest": manifest(work)}


def manifest(work: Work) -> bytes:
    return b"\n".join(sorted((work.path / "manifest.jsonl").read_bytes().splitlines()))


def test_the_same_parts_and_the_same_manifest_as_local(
    nodes: Nodes, tmp_path: Path, expected: Mapping[str, bytes]
) -> None:
    work = run(tmp_path, read_lines, count=60)
    assert {**contents(work), "manifest": manifest(work)} == expected
    assert not work.again


def test_a_killed_worker_runs_its_unit_again(nodes: Nodes, tmp_path: Path, expected: Mapping[str, bytes]) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    work = run(tmp_path, dies_once, str(marks), count=6)
    assert contents(work).items() <= expected.items()
    assert len(contents(work)) == 12
    assert sum(work.again.values()) >= 6


def test_a_unit_that_kills_every_worker_is_named(nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "TRIES", 2)
    with pytest.raises(ValueError, match=r"2\.txt: its worker died 2 times .* memory"):
        run(tmp_path, always_dies, count=4)
    with open_work(tmp_path / "out.parquet", RUN, engine=RAY) as work:
        assert "k2" not in work.units


def test_a_unit_that_finds_no_memory_runs_again_with_more(
    nodes: Nodes, tmp_path: Path, expected: Mapping[str, bytes]
) -> None:
    (tries := tmp_path / "tries").mkdir()
    work = run(tmp_path, finds_none, str(tries), count=6)
    assert contents(work).items() <= expected.items()
    assert work.again == {"out of memory": 6}
    for file in tries.iterdir():
        assert [*map(int, file.read_text().splitlines())] == [TASK_MEMORY, 2 * TASK_MEMORY]


def test_storage_that_fails_one_write_in_twenty(nodes: Nodes, tmp_path: Path, expected: Mapping[str, bytes]) -> None:
    work = run(tmp_path, write_fails, count=60)
    assert {**contents(work), "manifest": manifest(work)} == expected
    assert work.again["storage"] > 0


def test_a_killed_node_loses_nothing(
    nodes: Nodes, tmp_path: Path, expected: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Work.finish

    def finish_and_kill(self: Work, key: str, tally: Mapping[str, int]) -> None:
        finish(self, key, tally)
        if len(self.units) == 10:
            nodes.kill_one()

    monkeypatch.setattr(Work, "finish", finish_and_kill)
    try:
        work = run(tmp_path, read_lines, count=60)
    finally:
        nodes.whole()
    assert {**contents(work), "manifest": manifest(work)} == expected


def test_an_error_of_a_unit_is_the_users_error(nodes: Nodes, tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"^2\.txt: 第2篇$"),
        open_work(tmp_path / "out.parquet", RUN, engine=RAY) as work,
    ):
        list(run_units(read_lines, units(4), "第2篇", work, SCHEMAS))
    assert "k2" not in work.units


def test_a_folder_that_the_nodes_do_not_see_is_told(nodes: Nodes, tmp_path: Path) -> None:
    work = Work(tmp_path / "nowhere.work", engine=RAY)
    with pytest.raises(ValueError, match=r"nowhere\.work/parts is not there; .* all nodes share"):
        list(run_units(read_lines, units(2), None, work, SCHEMAS))


def test_nodes_with_other_code_are_refused(nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "code", lambda: "another")
    with pytest.raises(ValueError, match="other code of datatools"):
        run(tmp_path, read_lines, count=2)
