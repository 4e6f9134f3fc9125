"""The local executor: any number of workers, the same bytes, and no worker outlives its parent."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from datatools.engine.local import run_units
from datatools.engine.task import run_unit
from datatools.engine.units import Unit
from datatools.engine.work import Work, open_work
from datatools.io.source import Source

SCHEMAS = {"lines": pa.schema([pa.field("line", pa.string())]), "notes": pa.schema([pa.field("note", pa.string())])}
RUN = {"command": "unify", "settings": {}, "inputs": {}}


def read_lines(unit: Unit, settings: Any, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """One row a line; `settings` is the text on which to fail."""
    for source in unit.sources:
        for line in source.read().decode().splitlines():
            if line == settings:
                raise ValueError(f"{source.name}: {line}")
            tally["rows_read"] += 1
            yield "lines", pa.table({"line": [line]})


def read_environment(unit: Unit, settings: Any, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """What the variable of that name holds where the unit runs."""
    yield "lines", pa.table({"line": [os.environ.get(settings, "")]})


def halt_at_second(unit: Unit, settings: Any, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """Says the unit and its process id; every unit but the first waits for ever."""
    with Path(settings).open("w") as pids:
        pids.write(f"{unit.key} {os.getpid()}\n")
    if unit.key != "k0":
        signal.pause()
    yield "lines", pa.table({"line": ["一"]})


def units(count: int) -> list[Unit]:
    return [Unit(f"k{n}", (Source("", f"{n}.txt", "txt", data=f"第{n}篇\n咳嗽\n".encode()),)) for n in range(count)]


def contents(work: Work) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in work.parts.iterdir()}


def test_a_unit_writes_all_its_streams_and_counts(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.parts.mkdir()
    assert run_unit(read_lines, units(1)[0], None, work, SCHEMAS) == {"rows_read": 2}
    with pa.ipc.open_file(work.part("k0", "lines")) as lines, pa.ipc.open_file(work.part("k0", "notes")) as notes:
        assert lines.read_all().column("line").to_pylist() == ["第0篇", "咳嗽"]
        assert notes.read_all() == SCHEMAS["notes"].empty_table()


def test_an_error_leaves_no_part_of_the_unit_and_no_record(tmp_path: Path) -> None:
    with open_work(tmp_path / "out.parquet", RUN) as work:
        with pytest.raises(ValueError, match=r"2\.txt: 第2篇"):
            list(run_units(read_lines, units(4), "第2篇", work, SCHEMAS, workers=1))
        assert sorted(work.units) == ["k0", "k1"]
        assert sorted({name.split(".")[0] for name in contents(work)}) == ["k0", "k1"]


def test_finished_units_are_not_run_again(tmp_path: Path) -> None:
    with open_work(tmp_path / "out.parquet", RUN) as work:
        first = list(run_units(read_lines, units(3), None, work, SCHEMAS, workers=1))
    with open_work(tmp_path / "out.parquet", RUN) as work:
        # A line that is read would now be an error: only the fourth unit is, and it has no 第1篇.
        again = list(run_units(read_lines, units(4), "第1篇", work, SCHEMAS, workers=1))
        assert [(unit.key, dict(tally)) for unit, tally in again[:3]] == [(u.key, dict(t)) for u, t in first]
        assert again[3][0].key == "k3"


@pytest.mark.slow
def test_one_and_two_workers_give_the_same_bytes(tmp_path: Path) -> None:
    found = []
    for workers in (1, 2):
        with open_work(tmp_path / f"{workers}.parquet", RUN) as work:
            tallies = {
                unit.key: dict(t) for unit, t in run_units(read_lines, units(9), None, work, SCHEMAS, workers=workers)
            }
            found.append((tallies, contents(work)))
            assert set(work.units) == {f"k{n}" for n in range(9)}
    assert found[0] == found[1]
    assert len(found[0][1]) == 18


@pytest.mark.slow
def test_what_is_set_after_the_first_pool_reaches_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are forked from a process that stays: an address of a store or a key may be set after it began."""
    for value in ("one", "other"):
        monkeypatch.setenv("PLACE_OF_A_STORE", value)
        with open_work(tmp_path / f"{value}.parquet", RUN) as work:
            assert len(list(run_units(read_environment, units(3), "PLACE_OF_A_STORE", work, SCHEMAS, workers=2))) == 3
            found = [pa.ipc.open_file(work.part(f"k{n}", "lines")).read_all()["line"].to_pylist() for n in range(3)]
        assert found == [[value]] * 3


@pytest.mark.slow
def test_an_error_in_a_worker_surfaces_with_its_message(tmp_path: Path) -> None:
    with open_work(tmp_path / "out.parquet", RUN) as work:
        with pytest.raises(ValueError, match=r"2\.txt: 第2篇"):
            list(run_units(read_lines, units(4), "第2篇", work, SCHEMAS, workers=2))
        assert "k2" not in work.units
        assert not work.part("k2", "lines").exists()
    with open_work(tmp_path / "out.parquet", RUN) as work:
        assert len(list(run_units(read_lines, units(4), None, work, SCHEMAS, workers=2))) == 4


PARENT = """
import sys
from pathlib import Path
from datatools.engine.local import run_units
from datatools.engine.work import open_work
from tests.engine.test_local import RUN, SCHEMAS, halt_at_second, units
if __name__ == "__main__":
    with open_work(Path(sys.argv[1]) / "out.parquet", RUN) as work:
        for unit, _ in run_units(halt_at_second, units(3), sys.argv[1] + "/pids", work, SCHEMAS, workers=2):
            print(unit.key, flush=True)
"""


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    repository = Path(__file__).resolve().parents[2]
    os.mkfifo(tmp_path / "pids")
    pids = os.open(tmp_path / "pids", os.O_RDWR)  # also for writing, so that it never comes to an end
    parent = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
    )
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "k0\n"
        said = b""
        while said.count(b"\n") < 2:
            assert select.select([pids], [], [], 60)[0], "no worker began a second unit"
            said += os.read(pids, 1000)
        workers = {int(line.split()[1]) for line in said.splitlines()}
        # A descriptor of a process becomes readable when it ends: the kernel tells, nobody sleeps.
        watched = [os.pidfd_open(pid) for pid in workers]
        parent.kill()
        parent.wait()
        for descriptor in watched:
            ended, _, _ = select.select([descriptor], [], [], 60)
            os.close(descriptor)
            assert ended, "a worker outlived its killed parent"
        with open_work(tmp_path / "out.parquet", RUN) as work:
            assert list(work.units) == ["k0"]
    finally:
        os.close(pids)
        parent.kill()
        parent.communicate()
