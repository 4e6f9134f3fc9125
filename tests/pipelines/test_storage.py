"""Jobs whose inputs and outputs are in object storage, and storage that fails one write in twenty.

Always the bytes of the same job between folders, with both engines, also when the process is killed over and over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from datatools.engine import units
from tests import gcs
from tests.cluster import Nodes, three_nodes
from tests.pipelines.command import files, here, killed_when, library, started, write
from tests.pipelines.test_curate import FOOTER
from tests.s3 import Storage, storage_server
from tests.site import sitecustomize

pytestmark = pytest.mark.slow
JOBS = ("curate", "unify")


@pytest.fixture(scope="module", autouse=True)
def bucket() -> Iterator[Storage]:
    """A storage that fails one write in twenty; nodes that start later are led to it too."""
    with storage_server(seed=1) as (found, environment), pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        found.failing = 0.05
        yield found


@pytest.fixture(scope="module")
def flaky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on a file system that fails one write in twenty, on the nodes, while there is a file `now` in it."""
    folder = tmp_path_factory.mktemp("flaky").resolve()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLAKY", str(folder))
        patch.setenv("PYTHONPATH", str(Path(sitecustomize.__file__).parent))
        yield folder


@pytest.fixture(scope="module")
def nodes(bucket: Storage, flaky: Path) -> Iterator[Nodes]:
    with three_nodes() as found:
        yield found


@pytest.fixture(scope="module")
def corpus(bucket: Storage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Books with copies and near copies, and pages with the footer of their site; the same in the bucket."""
    folder = library(tmp_path_factory.mktemp("in"), 8, 40)
    text = (folder / "003-医话3.txt").read_text("gb18030")
    near = text.replace("此药第2法", "其药第2法")
    write(folder, {"copy.txt": text.encode("gb18030"), "near.txt": near.encode("gb18030")})
    pages = {f"site/{n}.txt": f"第{n}页所载病例用药{n * 7}钱三日而愈。" * 12 + FOOTER for n in range(30)}
    for path in write(folder, pages).rglob("*.txt"):
        bucket.store(f"bucket/in/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return folder


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many units of a small corpus."""
    monkeypatch.setattr(units, "UNIT_BYTES", 100_000)


@pytest.fixture(scope="module")
def expected(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, bytes]]:
    """What the jobs give from a folder to a folder."""
    found = {}
    for job in JOBS:
        out = tmp_path_factory.mktemp(job) / "x.parquet"
        done = here(job, corpus, "--out", out, "--workers", 1, "--quiet")
        assert done.code == 0, done.stderr
        found[job] = files(out)
    return found


def outputs(bucket: Storage, folder: str) -> Mapping[str, bytes]:
    """What stands beside the work folder."""
    found = bucket.names(f"bucket/{folder}/x.")
    return {name.rpartition("/")[2]: bucket.objects[name][0] for name in found if ".work/" not in name}


@pytest.mark.parametrize("job", JOBS)
def test_from_bucket_to_bucket_here(
    bucket: Storage, corpus: Path, expected: Mapping[str, Mapping[str, bytes]], job: str
) -> None:
    done = here(job, "s3://bucket/in/", "--out", f"s3://bucket/{job}/x.parquet", "--workers", 1, "--quiet", "--json")
    assert done.code == 0, done.stderr
    assert outputs(bucket, job) == expected[job]
    assert done.summary["output"] == f"s3://bucket/{job}/x.parquet"
    assert done.summary["work"] == f"s3://bucket/{job}/x.work"
    assert done.summary["trace"] == f"s3://bucket/{job}/x.trace.parquet"
    assert not bucket.names(f"bucket/{job}/x.work/lock/0")
    before = bucket.asked["bytes written"]
    again = here(job, "s3://bucket/in/", "--out", f"s3://bucket/{job}/x.parquet", "--workers", 1, "--quiet")
    assert again.code == 0
    assert outputs(bucket, job) == expected[job]
    parts = sum(len(bucket.objects[name][0]) for name in bucket.names(f"bucket/{job}/x.work/parts"))
    assert bucket.asked["bytes written"] - before < parts  # what was finished was not made again


@pytest.mark.parametrize("job", JOBS)
def test_from_bucket_to_bucket_on_three_nodes(
    nodes: Nodes, bucket: Storage, corpus: Path, expected: Mapping[str, Mapping[str, bytes]], job: str
) -> None:
    failed = bucket.failed
    out = f"s3://bucket/ray-{job}/x.parquet"
    done = here(job, "s3://bucket/in/", "--out", out, "--engine", "ray", "--quiet", "--debug")
    assert done.code == 0, done.stderr
    assert bucket.failed > failed
    assert outputs(bucket, f"ray-{job}") == expected[job]


def test_reapply_and_report_read_a_bucket(bucket: Storage, corpus: Path, tmp_path: Path) -> None:
    bucket.failing = 0.0
    out, other = tmp_path / "x.parquet", tmp_path / "y.parquet"
    pages = {}
    for source, place in ((corpus, str(tmp_path)), ("s3://bucket/in", "s3://bucket/again")):
        assert here("curate", source, "--out", f"{place}/x.parquet", "--workers", 1, "--quiet").code == 0
        line = ["curate", f"{place}/x.work", "--reapply", "--near-threshold", 0.9, "--out", f"{place}/y.parquet"]
        assert here(*line, "--quiet").code == 0
        page = tmp_path / f"{len(pages)}.html"
        done = here("report", f"{place}/x.parquet", "--out", page)
        assert done.code == 0, done.stderr
        pages[place] = page.read_text()
    found = {name: bucket.objects[f"bucket/again/{name}"][0] for name in ("x.parquet", "y.parquet")}
    assert found == {"x.parquet": out.read_bytes(), "y.parquet": other.read_bytes()}
    assert all("near_duplicate" in page for page in pages.values())
    assert len({page.count("<tr") for page in pages.values()}) == 1
    missing = here("curate", "s3://bucket/none.work", "--reapply", "--out", "s3://bucket/none.parquet")
    assert (missing.code, "s3://bucket/none.work: no work folder" in missing.line) == (2, True)
    bucket.failing = 0.05


def test_kill_9_over_and_over_leaves_nothing_half_written(bucket: Storage, tmp_path: Path) -> None:
    whole = library(tmp_path / "in", 12, 300)  # units of their usual size: the job is a process of its own
    for path in whole.rglob("*.txt"):
        bucket.store(f"bucket/large/{path.name}", path.read_bytes())
    assert here("curate", whole, "--out", tmp_path / "x.parquet", "--workers", 1, "--quiet").code == 0
    line = ["curate", "s3://bucket/large", "--out", "s3://bucket/killed/x.parquet", "--workers", 2, "--quiet"]
    written: dict[str, set[bytes]] = {}
    for writes in (2, 3, 5):  # of some twenty; a kill comes a few writes late on a busy machine
        before = bucket.asked["PUT"]
        assert killed_when(started(*line), lambda before=before, writes=writes: bucket.asked["PUT"] >= before + writes)
        assert not outputs(bucket, "killed")
        for name in bucket.names("bucket/killed/x.work/parts"):
            written.setdefault(name, set()).add(bucket.objects[name][0])
    assert written
    assert here(*line).code == 0
    assert outputs(bucket, "killed") == files(tmp_path / "x.parquet")
    assert all(written[name] == {bucket.objects[name][0]} for name in written)


def test_google_storage_that_fails_one_write_in_twenty_and_a_kill(
    corpus: Path, expected: Mapping[str, Mapping[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "UNIT_BYTES", 1_000_000)  # fewer: a second's wait for each write that fails
    with gcs.storage_server(seed=1) as (bucket, environment), pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        for path in corpus.rglob("*.txt"):
            bucket.store(f"bucket/in/{path.relative_to(corpus).as_posix()}", path.read_bytes())
        bucket.failing = 0.05
        line = ["curate", "gs://bucket/in/", "--out", "gs://bucket/out/x.parquet", "--workers", 1, "--quiet"]
        assert killed_when(started(*line), lambda: bool(bucket.names("bucket/out/x.work/parts")))
        assert not outputs(bucket, "out")
        done = here(*line)
        assert done.code == 0, done.stderr
        assert bucket.failed
        assert outputs(bucket, "out") == expected["curate"]


def test_a_shared_folder_that_fails_one_write_in_twenty(
    nodes: Nodes, flaky: Path, corpus: Path, expected: Mapping[str, Mapping[str, bytes]]
) -> None:
    (flaky / "now").touch()
    out = flaky / "x.parquet"
    done = here("unify", corpus, "--out", out, "--engine", "ray")  # which curates first
    assert done.code == 0, done.stderr
    assert files(out) == expected["unify"]
    assert "run again (storage" in done.stderr


def test_a_driver_whose_own_writes_fail_goes_on_with_the_same_line(
    flaky: Path, corpus: Path, expected: Mapping[str, Mapping[str, bytes]]
) -> None:
    (flaky / "now").touch()
    stops = 0
    sitecustomize.patch(str(flaky))
    try:
        for number in range(20):
            out = flaky / f"driver{number}" / "x.parquet"
            for _ in range(20):
                done = here("curate", corpus, "--out", out, "--workers", 1, "--quiet")
                assert out.name not in files(out) or files(out)[out.name] == expected["curate"][out.name]
                if done.code == 0:
                    break
                assert (done.code, "the same line again goes on" in done.line) == (2, True), done.stderr
                stops += 1
            assert files(out) == expected["curate"]
            if stops:
                break
    finally:
        sitecustomize.mend()
    assert stops
