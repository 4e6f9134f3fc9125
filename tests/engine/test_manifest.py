"""Work folders in object storage: segments of the manifest, and who may work there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from datatools.engine import lease, manifest
from datatools.engine.work import Work, open_work
from datatools.io import storage
from tests.engine.test_work import RUN
from tests.s3 import Storage, storage_server

WORK = "bucket/out/sft.work"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Storage, Mapping[str, str]]]:
    with storage_server() as found:
        yield found


@pytest.fixture
def bucket(server: tuple[Storage, Mapping[str, str]], monkeypatch: pytest.MonkeyPatch) -> Storage:
    found, environment = server
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found.objects.clear()
    found.failing = 0.0
    return found


@pytest.fixture
def out(bucket: Storage) -> Path:
    return storage.placed(Path("s3://bucket/out/sft.parquet"))


def finished(out: Path, count: int, first: int = 0) -> Work:
    with open_work(out, RUN) as work:
        for number in range(first, first + count):
            work.finish(f"k{number}", {"rows": number})
        return work


def objects(bucket: Storage) -> list[str]:
    return [name for name in bucket.names(WORK) if not name.endswith("/")]


def test_lines_are_gathered_into_segments_and_all_are_there_at_the_end(bucket: Storage, out: Path) -> None:
    finished(out, 600)
    assert [name.rpartition("/")[2] for name in objects(bucket)] == [f"{n:08d}.jsonl" for n in (1, 2, 3, 4)]
    assert set(finished(out, 1, 600).units) == {f"k{number}" for number in range(601)}


def test_a_segment_that_is_missing_is_units_run_again(bucket: Storage, out: Path) -> None:
    finished(out, 600)
    del bucket.objects[f"{WORK}/manifest/00000003.jsonl"]
    with open_work(out, RUN) as work:
        assert set(work.units) == {f"k{number}" for number in (*range(256), *range(512, 600))}


def test_many_segments_become_one(bucket: Storage, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "SEGMENT_LINES", 1)
    monkeypatch.setattr(manifest, "SEGMENTS", 5)
    finished(out, 10)
    assert len(objects(bucket)) == 11
    work = finished(out, 1, 10)
    assert len(work.units) == 11
    assert len(objects(bucket)) == 2
    assert len(finished(out, 1, 11).units) == 12


def test_another_setting_is_refused_and_fresh_deletes_what_was_there(bucket: Storage, out: Path) -> None:
    finished(out, 3)
    bucket.store(f"{WORK}/parts/k1.documents.arrow", b"x")
    other = {**RUN, "command": "curate"}
    with pytest.raises(ValueError, match=r"^s3://bucket/out/sft\.work: was begun by"), open_work(out, other):
        pass
    with open_work(out, other, fresh=True) as work:
        assert not work.units
        assert not any("/parts/k" in name for name in bucket.names(WORK))
    with open_work(out, other) as work:
        work.forget()
    assert not objects(bucket)


def test_a_second_run_is_refused_while_the_first_lives(out: Path) -> None:
    with open_work(out, RUN) as work:
        (work.parts / "a").write_bytes(b"of the first")
        with pytest.raises(ValueError, match=r"s3://bucket/out/sft\.work: another run"), open_work(out, RUN):
            pass
        assert (work.parts / "a").exists()
    with open_work(out, RUN):
        pass


HOLDS = """
import sys
from pathlib import Path
from datatools.engine.work import open_work
from datatools.io import storage
with open_work(storage.placed(Path("s3://bucket/out/sft.parquet")), {"command": "unify", "settings": {}, "inputs": {}}):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lease_of_a_killed_process_of_this_machine_is_taken_over_at_once(out: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    run: dict[str, Any] = {"command": "unify", "settings": {}, "inputs": {}}
    with pytest.raises(ValueError, match="another run"), open_work(out, run):
        pass
    process.kill()
    process.communicate()
    with open_work(out, run):
        pass


def test_a_lease_of_another_machine_is_taken_over_when_it_was_not_renewed(bucket: Storage, out: Path) -> None:
    said = json.dumps({"host": "elsewhere", "boot": "b", "pid": 1, "began": "1"}).encode()
    bucket.store(f"{WORK}/lock/other.json", said)
    with pytest.raises(ValueError, match="within the last minute on another machine"), open_work(out, RUN):
        pass
    bucket.clock += lease.EXPIRES
    with open_work(out, RUN):
        pass
    assert not objects(bucket) or "other.json" not in str(objects(bucket))


def test_a_run_that_lost_its_lease_records_nothing(bucket: Storage, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(storage.Unreachable, match="another run may have begun"), open_work(out, RUN) as work:
        monkeypatch.setattr(lease, "EXPIRES", -1.0)
        work.finish("k0", {})
        work.flush()
    assert not any(b"k0" in content for content, _ in bucket.objects.values())
