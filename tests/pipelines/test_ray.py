"""Jobs on three real Ray nodes: the bytes of the local engine, also when a node or the driver is killed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from datatools.dedupe import partitions, spread, spread_near
from datatools.engine import units
from datatools.engine.work import Work
from tests.cluster import Nodes, three_nodes
from tests.pipelines import ray_tasks
from tests.pipelines.command import beside, files, here, killed_when, library, lines_of, rules, started, write
from tests.pipelines.test_curate import FOOTER

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with three_nodes() as found:
        yield found


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many units of a small corpus, and as many tasks that look for duplicates."""
    monkeypatch.setattr(units, "UNIT_BYTES", 100_000)
    monkeypatch.setattr(spread, "GROUP_DOCUMENTS", 1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Books with copies, near copies, and pages with the footer of their site."""
    folder = library(tmp_path_factory.mktemp("in"), 8, 40)
    text = (folder / "003-医话3.txt").read_text("gb18030")
    write(
        folder,
        {"copy.txt": text.encode("gb18030"), "near.txt": text.replace("此药第2法", "其药第2法").encode("gb18030")},
    )
    pages = {f"site/{n}.txt": f"{library_text(n)}\n{FOOTER}" for n in range(30)}
    return write(folder, pages)


def library_text(number: int) -> str:
    return "。".join(f"第{number}页所载病例{part}用药{number * 7 + part}钱三日而愈" for part in range(12)) + "。"


LINES = {
    "curate": ["curate", "--keep", "longest"],
    "unify": ["unify"],
}


@pytest.fixture(scope="module")
def expected(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, bytes]]:
    """Outputs of the local engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "UNIT_BYTES", 100_000)
        return {name: outputs(run(name, corpus, tmp_path_factory.mktemp(name), "--workers", 1)) for name in LINES}


def run(name: str, corpus: Path, folder: Path, *more: object) -> Path:
    out = folder / f"{name}.parquet"
    done = here(*LINES[name], corpus, "--out", out, "--quiet", "--debug", *more)
    assert done.code == 0, done.stderr
    return out


def outputs(out: Path) -> Mapping[str, bytes]:
    return files(out)


def test_curate_gives_the_bytes_of_the_local_engine(
    nodes: Nodes, corpus: Path, tmp_path: Path, expected: Mapping[str, Mapping[str, bytes]]
) -> None:
    out = run("curate", corpus, tmp_path, "--engine", "ray")
    assert outputs(out) == expected["curate"]
    assert {"exact_duplicate", "near_duplicate"} <= set(rules(out))
    assert any("-stripped-" in key for key in (tmp_path / "curate.work" / "manifest.jsonl").read_text().split('"'))


def test_unify_gives_the_bytes_of_the_local_engine(
    nodes: Nodes, corpus: Path, tmp_path: Path, expected: Mapping[str, Mapping[str, bytes]]
) -> None:
    assert outputs(run("unify", corpus, tmp_path, "--engine", "ray")) == expected["unify"]


def test_curate_with_components_on_partitions(
    nodes: Nodes,
    corpus: Path,
    tmp_path: Path,
    expected: Mapping[str, Mapping[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spread_near, "MOST_EDGES", 10)
    assert outputs(run("curate", corpus, tmp_path, "--engine", "ray")) == expected["curate"]
    manifest = (tmp_path / "curate.work" / "manifest.jsonl").read_text()
    assert "-stars-01-small-" in manifest and "-labels-" in manifest


# A word of the keys of a stage's tasks, or several.
STAGES = [
    "",
    "exact-*-map-",
    "exact-*00001",
    "paragraphs-*-map-",
    "paragraphs-*00001",
    "-stripped-",
    "near-*-bands-",
    "near-*-buckets-",
    "near-*-pairs-",
    "near-*-sets-",
    "near-*-edges-",
    "near-*-links-",
    "near-*-stars-01-large-",
    "near-*-stars-01-small-",
    "near-*-labels-",
    "near-*-drops-",
    "-passages-",
]


@pytest.fixture
def on_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several partitions of what is little, in every stage."""
    monkeypatch.setattr(spread_near, "MOST_EDGES", 10)
    monkeypatch.setattr(spread_near, "pair_partitions", lambda documents: 4)
    monkeypatch.setattr(partitions, "PARTITION_BYTES", 400)
    monkeypatch.setattr(partitions, "MOST_PARTITIONS", 4)


@pytest.mark.parametrize("stages", [STAGES[::2], STAGES[1::2]], ids=["even", "odd"])
def test_a_node_killed_in_a_stage_changes_nothing(
    nodes: Nodes,
    corpus: Path,
    tmp_path: Path,
    expected: Mapping[str, Mapping[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
    on_partitions: None,
    stages: list[str],
) -> None:
    finish, left = Work.finish, list(stages)

    def finish_and_kill(self: Work, key: str, tally: Mapping[str, int]) -> None:
        finish(self, key, tally)
        for stage in left:
            if all(word in key for word in stage.split("*")):
                left.remove(stage)
                nodes.kill_one()  # the stage has begun: others of its units are under way
                nodes.whole()
                break

    monkeypatch.setattr(Work, "finish", finish_and_kill)
    out = run("unify", corpus, tmp_path, "--engine", "ray")
    assert not left
    assert outputs(out) == expected["unify"]


def test_a_node_lost_by_the_one_task_that_sees_all_edges(
    nodes: Nodes,
    corpus: Path,
    tmp_path: Path,
    expected: Mapping[str, Mapping[str, bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spread_near, "components", ray_tasks.components_on_a_dying_node)
    out = run("curate", corpus, tmp_path, "--engine", "ray")
    assert (tmp_path / "curate.work" / ray_tasks.MARK).exists()
    nodes.whole()
    assert outputs(out) == expected["curate"]


def test_a_killed_driver_goes_on_where_it_stopped(
    nodes: Nodes, corpus: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plain = tmp_path_factory.mktemp("plain") / "curate.parquet"
    whole = library(tmp_path / "in", 30, 300)  # units of their usual size: the driver is a process of its own
    local = ["curate", whole, "--out", plain, "--workers", 1, "--quiet"]
    assert here(*local).code == 0
    out = tmp_path / "curate.parquet"
    line = ["curate", whole, "--out", out, "--engine", "ray", "--ray-address", nodes.address, "--quiet"]
    manifest = tmp_path / "curate.work" / "manifest.jsonl"
    before = 0
    for _ in range(2):
        reached = before + 3
        assert killed_when(started(*line), lambda reached=reached: lines_of(manifest) >= reached)
        assert not out.exists()
        before = lines_of(manifest)
    for stage in ("paragraphs-", "-bands-"):
        assert killed_when(started(*line), lambda stage=stage: stage in manifest.read_text())
        assert not out.exists()
    assert here(*line).code == 0
    assert files(out) == files(plain)
    assert beside(out, "trace").exists() == beside(plain, "trace").exists()
    keys = [line.split('"key": "')[1].split('"')[0] for line in manifest.read_text().splitlines()[1:]]
    assert len(keys) == len(set(keys))
