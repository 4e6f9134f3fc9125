"""The work folder: one run at a time, and a killed one is taken up where it stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from datatools.engine.work import Work, open_work, work_path

RUN: dict[str, Any] = {
    "command": "unify",
    "settings": {"model": "rules", "characters": 800, "text_column": None},
    "inputs": {"感冒.txt": "a1", "咳嗽.txt": "b2"},
}

HOLDER = """
import sys
from pathlib import Path
from datatools.engine.work import open_work
with open_work(Path(sys.argv[1]), {"command": "unify", "settings": {}, "inputs": {}}) as work:
    work.finish("k1", {"rows_read": 7})
    print("held", flush=True)
    sys.stdin.read()
"""


def changed(**more: Any) -> dict[str, Any]:
    return {**RUN, **more}


@contextmanager
def holder(out: Path) -> Iterator[subprocess.Popen[str]]:
    """Another live process that holds the work folder of `out`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_folder_held_by_a_live_run_is_refused_and_taken_over_when_it_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "sft.parquet"
    run = {"command": "unify", "settings": {}, "inputs": {}}
    with holder(out) as process:
        with pytest.raises(ValueError, match=r"sft\.work: another run is working there"), open_work(out, run):
            pass
        with pytest.raises(ValueError, match="another run"), open_work(out, run, fresh=True):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with open_work(out, run) as work:
            assert work.units == {"k1": {"rows_read": 7}}


def test_another_output_of_the_same_folder_is_left_alone(tmp_path: Path) -> None:
    being_written = tmp_path / ".other.parquet.4711.tmp"
    being_written.touch()
    with open_work(tmp_path / "sft.parquet", RUN):
        pass
    assert being_written.exists()


def test_a_rerun_finds_the_finished_units(tmp_path: Path) -> None:
    out = tmp_path / "sft.parquet"
    with open_work(out, RUN) as work:
        work.finish("k1", {"rows_read": 3})
        work.finish("k2", {})
    with open_work(out, RUN) as work:
        assert work.units == {"k1": {"rows_read": 3}, "k2": {}}
        work.finish("k3", {"rows_read": 1})
    with open_work(out, RUN) as work:
        assert list(work.units) == ["k1", "k2", "k3"]


@pytest.mark.parametrize("torn", [1, 5, 20], ids=["newline", "tail", "half"])
def test_a_line_cut_short_by_a_kill_is_cut_off(tmp_path: Path, torn: int) -> None:
    out = tmp_path / "sft.parquet"
    with open_work(out, RUN) as work:
        work.finish("k1", {"rows_read": 3})
        work.finish("k2", {"rows_read": 4})
    manifest = tmp_path / "sft.work" / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-torn])
    with open_work(out, RUN) as work:
        assert list(work.units) == ["k1"]
        work.finish("k2", {"rows_read": 4})
    lines = manifest.read_text().splitlines()
    assert [json.loads(line).get("key") for line in lines] == [None, "k1", "k2"]


def test_a_manifest_of_half_a_first_line_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "sft.work").mkdir()
    (tmp_path / "sft.work" / "manifest.jsonl").write_text('{"record": "ru')
    with open_work(tmp_path / "sft.parquet", RUN) as work:
        assert work.units == {}
    with pytest.raises(ValueError, match="begun by"), open_work(tmp_path / "sft.parquet", changed(command="curate")):
        pass


def test_a_broken_line_inside_is_named(tmp_path: Path) -> None:
    out = tmp_path / "sft.parquet"
    with open_work(out, RUN):
        pass
    with (tmp_path / "sft.work" / "manifest.jsonl").open("a") as manifest:
        manifest.write("…\n")
    said = r"manifest\.jsonl:2: not a manifest line; --fresh starts over"
    with pytest.raises(ValueError, match=said), open_work(out, RUN):
        pass


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (changed(command="curate"), "was begun by `datatools unify`"),
        (changed(settings={**RUN["settings"], "model": "qwen"}), 'model was "rules", now "qwen"'),
        (changed(settings={**RUN["settings"], "text_column": "正文"}), 'text_column was not set, now "正文"'),
        (changed(settings={**RUN["settings"], "characters": 400}), "characters was 800, now 400"),
        (changed(inputs={**RUN["inputs"], "感冒.txt": "a9"}), "input 感冒.txt has changed"),
        (changed(inputs={**RUN["inputs"], "腹泻.txt": "c3"}), "input 腹泻.txt is new"),
        (changed(inputs={"感冒.txt": "a1"}), "input 咳嗽.txt is gone"),
    ],
    ids=["command", "model", "column", "length", "content", "new-file", "gone-file"],
)
def test_what_changed_is_named_and_fresh_is_offered(tmp_path: Path, other: dict[str, Any], said: str) -> None:
    out = tmp_path / "sft.parquet"
    with open_work(out, RUN) as work:
        work.finish("k1", {})
    with pytest.raises(ValueError) as error, open_work(out, other):
        pass
    assert said in str(error.value)
    assert "--fresh" in str(error.value)
    with open_work(out, RUN) as work:
        assert list(work.units) == ["k1"]


def test_fresh_drops_parts_and_manifest_and_keeps_the_journal(tmp_path: Path) -> None:
    out = tmp_path / "sft.parquet"
    with open_work(out, RUN) as work:
        work.part("k1", "pairs").write_bytes(b"old")
        work.finish("k1", {})
        work.journal.write_bytes(b"paid for")
    with open_work(out, changed(settings={"model": "qwen"}), fresh=True) as work:
        assert work.units == {}
        assert list(work.parts.iterdir()) == []
        assert work.journal.read_bytes() == b"paid for"
    with open_work(out, changed(settings={"model": "qwen"})) as work:
        assert work.units == {}


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    out = tmp_path / "sft.parquet"
    with open_work(out, RUN) as work:
        finished = work.part("k1", "pairs")
        finished.touch()
    names = (".sft.parquet.9.tmp", ".sft.trace.parquet.9.tmp", ".sft.failed.parquet.9.tmp")
    leftovers = [finished.with_name(".k2.pairs.arrow.9.tmp"), *(tmp_path / name for name in names)]
    for leftover in leftovers:
        leftover.touch()
    with open_work(out, RUN):
        assert [leftover for leftover in leftovers if leftover.exists()] == []
        assert finished.exists()


def test_the_folder_is_free_again_after_an_error(tmp_path: Path) -> None:
    out = tmp_path / "sft.parquet"
    with pytest.raises(KeyError), open_work(out, RUN):
        raise KeyError
    with open_work(out, RUN) as work:
        assert isinstance(work, Work)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "sft.parquet", Path("/proc/sft.parquet")):
        with pytest.raises(ValueError, match=f"{out.parent}: cannot write there"), open_work(out, RUN):
            pass


@pytest.mark.parametrize("name", ["sft.jsonl", "sft"])
def test_another_ending_is_refused_with_the_way_out(name: str) -> None:
    with pytest.raises(ValueError, match=r"must end in \.parquet"):
        work_path(Path(name))


def test_a_folder_in_place_of_the_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sft.parquet").mkdir()
    with pytest.raises(ValueError, match="is a folder"):
        work_path(tmp_path / "sft.parquet")


def test_object_storage_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"s3://bucket.* only curate, .* a shared folder, or the bucket mounted"):
        work_path(Path("s3://bucket/corpus.parquet"))
