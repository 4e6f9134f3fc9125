"""unify as a run: workers, resume, refusals, broken files, full disks, signals and kills."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import shutil
import signal
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from datatools.engine.work import open_work
from tests.pipelines.command import (
    beside,
    command,
    ended,
    files,
    here,
    killed_when,
    leftovers,
    library,
    lines_of,
    rows,
    rules,
    started,
    until,
    write,
)

GOOD = "# 高血压\n\n## 病因\n\n高血压的发生与遗传、高盐饮食、肥胖和长期精神紧张有关。\n"
MORE = "# 痛风\n\n## 病因\n\n痛风由尿酸盐结晶沉积在关节引起，饮酒和高嘌呤饮食会诱发。\n"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Books so large that each is a unit of its own."""
    return library(tmp_path_factory.mktemp("books") / "in", books=5, chapters=1600, length=10)


@pytest.fixture(scope="module")
def undisturbed(books: Path) -> Path:
    """The output of one run with one worker on the books."""
    out = books.parent / "sft.parquet"
    done = here("unify", books, "--out", out, "--workers", 1)
    assert done.code == 0, done.stderr
    return out


def units(out: Path) -> int:
    """Finished units in the manifest of a job, read, decided on or cut into passages; its first line is the run."""
    return max(0, lines_of(out.with_suffix(".work") / "manifest.jsonl") - 1)


# Workers and resume


def test_two_workers_and_one_give_the_same_bytes(books: Path, undisturbed: Path, out: Path) -> None:
    assert units(undisturbed) >= 5
    done = command("unify", books, "--out", out, "--workers", 2)
    assert done.code == 0, done.stderr
    assert "5 units, 2 workers" in done.stderr
    assert files(out) == files(undisturbed)


def test_a_finished_job_run_again_makes_nothing_anew(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.md": GOOD, "bad.pdf": b"%PDF-1.4 cut"})
    first = here("unify", folder, "--out", out, "--json")
    parts = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "sft.work" / "parts").iterdir())
    manifest, before = (tmp_path / "sft.work" / "manifest.jsonl").read_bytes(), files(out)
    second = here("unify", folder, "--out", out, "--json")
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "sft.work" / "parts").iterdir()) == parts
    assert (tmp_path / "sft.work" / "manifest.jsonl").read_bytes() == manifest
    assert files(out) == before
    del first.summary["seconds"], second.summary["seconds"]
    assert {**first.summary, "seconds": 0} == {**second.summary, "seconds": 0}


def test_a_deleted_output_is_written_again_from_the_parts(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.md": GOOD})
    here("unify", folder, "--out", out)
    before = files(out)
    out.unlink()
    assert here("unify", folder, "--out", out).code == 0
    assert files(out) == before


@pytest.mark.slow
def test_the_number_of_workers_may_change_between_runs(books: Path, undisturbed: Path, out: Path) -> None:
    process = started("unify", books, "--out", out, "--workers", 2)
    assert killed_when(process, lambda: units(out) >= 1)
    assert not out.exists()
    assert here("unify", books, "--out", out, "--workers", 1).code == 0
    assert files(out) == files(undisturbed)


def test_limit_reads_so_many_documents(tmp_path: Path, out: Path) -> None:
    folder = library(tmp_path / "in", books=3, chapters=4)
    done = here("unify", folder, "--out", out, "--limit", 6, "--json")
    assert done.summary["rows_read"] == 6
    whole = tmp_path / "whole.parquet"
    assert here("unify", folder, "--out", whole).code == 0
    assert len(rows(whole)) == 12
    assert rows(out) == rows(whole)[:6]
    assert here("unify", folder, "--out", out, "--limit", 6).code == 0
    assert rows(out) == rows(whole)[:6]


def test_limit_goes_on_across_units(books: Path, undisturbed: Path, out: Path) -> None:
    assert here("unify", books, "--out", out, "--limit", 1700).code == 0
    assert [len(rows(out)), {row["source"] for row in rows(out)}] == [1700, {"000-医话0.txt", "001-医话1.txt"}]
    assert rows(out) == rows(undisturbed)[: len(rows(out))]
    assert units(out) == 2 + 1 + 2


def test_fresh_starts_over(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.md": GOOD})
    here("unify", folder, "--out", out)
    (folder / "a.md").write_text(MORE, encoding="utf-8")
    assert here("unify", folder, "--out", out, "--fresh").code == 0
    assert [row["messages"][1]["content"] for row in rows(out)] == [MORE.strip().splitlines()[-1]]
    assert units(out) == 1 + 1 + 1


def test_a_trace_that_has_nothing_to_say_any_more_goes_away(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.md": GOOD, "bad.pdf": b"%PDF-1.4 cut"})
    assert here("unify", folder, "--out", out).code == 3
    assert beside(out, "trace").exists()
    (folder / "bad.pdf").unlink()
    done = here("unify", folder, "--out", out, "--fresh", "--json")
    assert done.summary["trace"] is None
    assert not beside(out, "trace").exists()


# Refusals


def change_nothing(folder: Path) -> None:
    pass


def add_file(folder: Path) -> None:
    write(folder, {"new.md": MORE})


def change_file(folder: Path) -> None:
    write(folder, {"a.md": MORE})


def remove_file(folder: Path) -> None:
    (folder / "b.md").unlink()


@pytest.mark.parametrize(
    "options, change, said",
    [
        pytest.param(["--passage-characters", 400], change_nothing, "passage_characters was 800, now 400", id="length"),
        pytest.param(["--source-type", "web"], change_nothing, 'source_type was not set, now "web"', id="type"),
        pytest.param(["--limit", 1], change_nothing, "limit was not set, now 1", id="limit"),
        pytest.param(["--seed", 7], change_nothing, "seed was 0, now 7", id="seed"),
        pytest.param([], add_file, "input new.md is new since the run began", id="new-file"),
        pytest.param([], change_file, "input a.md has changed since the run began", id="changed-file"),
        pytest.param([], remove_file, "input b.md is gone since the run began", id="gone-file"),
    ],
)
def test_changed_settings_and_inputs_are_refused(
    tmp_path: Path, out: Path, options: list[object], change: Callable[[Path], None], said: str
) -> None:
    folder = write(tmp_path / "in", {"a.md": GOOD, "b.md": GOOD.replace("高血压", "高血脂")})
    assert here("unify", folder, "--out", out).code == 0
    before = files(out)
    change(folder)
    done = here("unify", folder, "--out", out, *options, "--json")
    assert done.code == 2
    assert said in done.line
    assert "--fresh" in done.line
    assert said in done.summary["error"]
    assert files(out) == before
    assert here("unify", folder, "--out", out, *options, "--fresh").code == 0


def test_a_second_live_run_is_refused_and_a_killed_ones_lock_is_not(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.md": GOOD})
    assert here("unify", folder, "--out", out).code == 0
    manifest = json.loads((tmp_path / "sft.work" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[0])
    del manifest["record"]
    with open_work(out, manifest):
        second = command("unify", folder, "--out", out, "--json")
    assert second.code == 2
    assert "another run is working there" in second.line == f"datatools: {second.summary['error']}"
    assert (tmp_path / "sft.work" / "lock").exists()
    assert here("unify", folder, "--out", out).code == 0


@pytest.mark.parametrize(
    "contents",
    [
        pytest.param({}, id="empty-folder"),
        pytest.param({"a.bin": b"\x00\x01\x02\x03" * 50, "b.png": PNG}, id="unknown-types"),
        pytest.param({"a.txt": b"", "b.jsonl": b""}, id="empty-files"),
        pytest.param({"a.pdf": b"%PDF-1.4 cut", "b.parquet": b"PAR1 cut"}, id="only-broken"),
        pytest.param({"blank.txt": b" \n\n \n"}, id="white-space"),
    ],
)
def test_nothing_readable_is_refused(tmp_path: Path, out: Path, contents: dict[str, bytes]) -> None:
    (tmp_path / "in").mkdir()
    done = here("unify", write(tmp_path / "in", contents), "--out", out, "--json")
    assert done.code == 2
    assert "nothing readable" in done.line
    assert done.summary["error"] in done.line
    assert done.stderr.count("datatools: ") == 1
    assert not files(out)


def test_an_input_that_is_not_there_is_refused(tmp_path: Path, out: Path) -> None:
    done = here("unify", tmp_path / "nowhere", "--out", out)
    assert done.code == 2
    assert "nowhere: no such file or folder" in done.line


@pytest.mark.parametrize("name", ["sft.jsonl", "sft", "folder.parquet"])
def test_an_output_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.parquet").mkdir()
    done = here("unify", write(tmp_path / "in", {"a.md": GOOD}), "--out", tmp_path / name)
    assert done.code == 2
    assert f"--out {tmp_path / name}" in done.line


def test_an_output_folder_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    # A file where the folder should be stops every user, root included.
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    out = tmp_path / "taken" / "sft.parquet"
    done = here("unify", write(tmp_path / "in", {"a.md": GOOD}), "--out", out, "--quiet", "--json")
    assert done.code == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"{tmp_path / 'taken'}" in done.line
    assert done.summary["error"]


def test_a_read_only_output_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.md": GOOD})
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    if os.access(closed, os.W_OK):
        pytest.skip("this user may write into read-only folders")
    done = command("unify", folder, "--out", closed / "sft.parquet", "--quiet")
    assert (done.code, len(done.stderr.splitlines())) == (2, 1)
    assert str(closed) in done.line


# Broken files


def zipped(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.md", content)
    return stream.getvalue()


def tarred(content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        info = tarfile.TarInfo("a.md")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def parquet() -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({"text": [MORE] * 50}), stream)
    return stream.getvalue()


def arrow() -> bytes:
    stream = io.BytesIO()
    table = pa.table({"text": [MORE] * 50})
    with pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


CUT = {
    "cut.txt": b"\x00\x01\x02\x03\x05\x06" * 200,
    "cut.md": b"\x00\x01\x02\x03\x05\x06" * 200,
    "cut.html": b"\x00\x01\x02\x03\x05\x06" * 200,
    "cut.tex": b"\x00\x01\x02\x03\x05\x06" * 200,
    "cut.xml": b"<?xml version='1.0'?><doc><p>half",
    "cut.json": b'[{"text": "half',
    "cut.csv": b"\x00\x01\x02\x03\x05\x06" * 200,
    "cut.jsonl.gz": gzip.compress(json.dumps({"text": MORE}).encode() * 50)[:-20],
    "cut.jsonl.zst": b"not zstandard" * 9,
    "cut.parquet": parquet()[:-10],
    "cut.arrow": arrow()[:-10],
    "cut.xlsx": zipped(b"no sheet"),
    "cut.docx": zipped(b"no document"),
    "cut.pdf": b"%PDF-1.4\n1 0 obj <<",
    "cut.zip": zipped(MORE.encode())[:-30],
    "cut.tar.gz": tarred(MORE.encode())[:-12],
}


def test_a_broken_file_of_each_format_is_one_trace_row_and_the_rest_goes_on(tmp_path: Path, out: Path) -> None:
    done = here("unify", write(tmp_path / "in", {"a.md": GOOD, "z.md": MORE, **CUT}), "--out", out, "--json")
    assert done.code == 3
    assert done.summary["failed"] == {"unreadable": len(CUT)}
    assert done.summary["trace"] == str(beside(out, "trace"))
    assert str(beside(out, "trace")) in done.line
    found = rows(beside(out, "trace"))
    assert sorted(row["source"].partition("!")[0] for row in found) == sorted(CUT)
    for row in found:
        assert (row["step"], row["rule"]) == ("read", "unreadable"), row
        assert row["excerpt"], row
    assert [row["source"] for row in rows(out)] == ["a.md", "z.md"]


def test_a_truncated_zst_is_not_passed_over(tmp_path: Path, out: Path) -> None:
    data = zstandard.compress(MORE.encode())[:-20]
    done = here("unify", write(tmp_path / "in", {"a.md": GOOD, "cut.md.zst": data}), "--out", out)
    assert done.code == 3


def test_a_broken_line_is_a_trace_row_of_its_own(tmp_path: Path, out: Path) -> None:
    lines = [json.dumps({"title": "痛风", "text": MORE.splitlines()[-1]}, ensure_ascii=False), '{"text": "half']
    done = here("unify", write(tmp_path / "in", {"a.jsonl": "\n".join(lines)}), "--out", out, "--json")
    assert done.code == 3
    assert done.summary["failed"] == {"malformed": 1}
    assert [(row["source"], row["rule"]) for row in rows(beside(out, "trace"))] == [("a.jsonl:2", "malformed_row")]
    assert len(rows(out)) == 1


def test_a_few_broken_bytes_are_no_failure(tmp_path: Path, out: Path) -> None:
    data = GOOD.encode() + b"\n\n" + "肥胖者应减重。".encode()[:-2] + b"\xff\xfe\n"
    assert here("unify", write(tmp_path / "in", {"a.md": data}), "--out", out).code == 0
    assert len(rows(out)) == 1


def test_empty_and_unknown_files_beside_good_ones_are_traced_and_no_failure(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.md": GOOD, "empty.txt": b"", "image.png": PNG})
    assert here("unify", folder, "--out", out).code == 0
    assert sorted(rules(out)) == ["empty_file", "unknown_type"]


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 1 MB; skipped where it cannot be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, text=True, check=False
    ) if shutil.which("mount") else None  # fmt: skip
    if made is None or made.returncode:
        pytest.skip(f"no tmpfs can be mounted: {made.stderr.strip() if made else 'no mount command'}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def fill(disk: Path, leave: int) -> Path:
    """A file that takes all space but `leave` bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb") as stream:
        stream.write(b"\0" * (shutil.disk_usage(disk).free - leave))
    return ballast


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_leaves_no_half_file_and_the_same_line_finishes(
    books: Path, undisturbed: Path, small_disk: Path, workers: int
) -> None:
    out = small_disk / "sft.parquet"
    ballast = fill(small_disk, 200_000)
    line = ["unify", books, "--out", out, "--workers", workers, "--json"]
    stopped = command(*line)
    assert stopped.code == 2, stopped.stderr
    assert "No space left on device" in stopped.line
    assert "No space left on device" in stopped.summary["error"]
    assert not files(out)
    assert not list(leftovers(small_disk))
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    done = command(*line)
    assert done.code == 0, done.stderr
    assert files(out) == files(undisturbed)


def test_a_full_disk_leaves_an_earlier_output_as_it_was(books: Path, small_disk: Path) -> None:
    out = small_disk / "sft.parquet"
    small = write(small_disk.parent / "small", {"a.md": GOOD})
    assert here("unify", small, "--out", out).code == 0
    before = files(out)
    fill(small_disk, 100_000)
    assert command("unify", books, "--out", out, "--workers", 1, "--fresh").code == 2
    assert files(out) == before


# Signals and kills


@pytest.mark.parametrize(
    "number, workers",
    [
        pytest.param(signal.SIGINT, 1, id="sigint-1"),
        pytest.param(signal.SIGINT, 2, id="sigint-2"),
        pytest.param(signal.SIGTERM, 2, id="sigterm-2"),
    ],
)
def test_an_interrupted_run_ends_with_130_and_can_be_resumed(
    books: Path, undisturbed: Path, out: Path, number: signal.Signals, workers: int
) -> None:
    line = ["unify", books, "--out", out, "--workers", workers, "--json"]
    process = started(*line)
    assert until(process, lambda: units(out) >= 1)
    # Ctrl-C reaches the whole group, a SIGTERM from `kill` the process alone.
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    stopped = ended(process)
    assert stopped.code == 130, stopped.stderr
    assert "the same line again" in stopped.line
    assert "interrupted" in stopped.summary["error"]
    assert "Traceback" not in stopped.stderr
    assert not out.exists()
    assert not list(leftovers(out.parent))
    assert 1 <= units(out) < 5
    assert here(*line).code == 0
    assert files(out) == files(undisturbed)


def happened_after(out: Path, step: float) -> Callable[[], bool]:
    """True once `step` of all that a run leaves on the way (parts, manifest lines, temporary files) has appeared."""
    parts, wanted = out.with_suffix(".work") / "parts", round(step * 30)

    def happened() -> bool:
        names = [path.name for path in parts.glob("*")] if parts.exists() else []
        finished = sum(not name.startswith(".") for name in names)
        if wanted <= 25:
            return finished + lines_of(parts.parent / "manifest.jsonl") >= wanted
        return bool(list(out.parent.glob(".*.tmp"))) or out.exists()  # while the output is written

    return happened


@pytest.mark.slow
def test_kill_9_at_random_moments_then_the_same_line_gives_the_same_bytes(
    books: Path, undisturbed: Path, tmp_path: Path
) -> None:
    chance = random.Random(20)
    kills = 0
    for attempt, workers in enumerate([1, 2, 1, 2]):
        out = tmp_path / str(attempt) / "sft.parquet"
        line = ["unify", books, "--out", out, "--workers", workers]
        # Three kills a job, each further on; the last one while the output is being written.
        for step in [*sorted(chance.uniform(0.04, 0.8) for _ in range(2)), 1.0]:
            kills += killed_when(started(*line), happened_after(out, step))
            assert not out.exists() or files(out) == files(undisturbed)
        done = command(*line)
        assert done.code == 0, done.stderr
        assert files(out) == files(undisturbed)
        assert not list(leftovers(out.parent))
    assert kills >= 8
