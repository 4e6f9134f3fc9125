"""curate as a run: thresholds applied anew, workers, resume, refusals, kills, and input that is broken or hostile."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    lines_of,
    rows,
    started,
    until,
    write,
)
from tests.pipelines.test_curate import FOOTER, corpus, document, good, jsonl, passage, texts, trace

STRICT = "[curate.thresholds.zh]\ntoo_short = 300\n"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where a test has its corpus written."""
    return tmp_path / "corpus.parquet"


# Thresholds applied anew


def page(number: int) -> dict[str, Any]:
    """A web page with the footer of its site."""
    text = f"{passage(number, 8)}\n{FOOTER}"
    return document(text, id=f"page-{number}", source=f"https://a.example.org/{number}")


def varied(folder: Path) -> Path:
    """Documents of many lengths with duplicates, boilerplate, an empty file and a leak."""
    corpus(folder / "web.parquet", [page(n) for n in range(12)])
    near = passage(1, 12).replace("患者", "病人", 1)
    files = {f"{n}.txt": passage(100 + n, n) for n in range(1, 9)}
    return write(folder, {**files, "empty.txt": "", "x.txt": passage(1, 12), "y.txt": near, "z.txt": passage(300, 30)})


def outputs(out: Path) -> list[bytes]:
    """Bytes of an output and its trace, whatever it is called."""
    return list(files(out).values())


def test_reapplied_thresholds_give_the_bytes_of_a_fresh_run_and_read_no_input(tmp_path: Path, out: Path) -> None:
    folder = varied(tmp_path / "in")
    write(tmp_path, {"strict.toml": STRICT, "exam.txt": passage(300, 1)})
    leaks = ["--decontaminate", tmp_path / "exam.txt"]
    strict = ["--recipe", tmp_path / "strict.toml", "--near-threshold", 0.9, "--keep", "longest", "--keep-values"]
    good(folder, "--out", out, *leaks)
    before = files(out)
    fresh = tmp_path / "fresh" / "corpus.parquet"
    expected = good(folder, "--out", fresh, *leaks, *strict, "--json").summary
    shutil.rmtree(folder)
    (tmp_path / "exam.txt").unlink()
    again = tmp_path / "again" / "corpus.parquet"
    done = good("--reapply", tmp_path / "corpus.work", "--out", again, *strict, "--json").summary
    assert files(again) == files(fresh)
    assert files(again) != before == files(out)
    assert {"rows_read": done["rows_read"], "dropped": done["dropped"]} == {
        "rows_read": expected["rows_read"],
        "dropped": expected["dropped"],
    }
    assert done["dropped"]["leak"] == 1
    assert done["dropped"]["empty_file"] == 1


def test_reapplying_nothing_new_gives_the_same_bytes(tmp_path: Path, out: Path) -> None:
    good(varied(tmp_path / "in"), "--out", out)
    again = tmp_path / "again.parquet"
    good("--reapply", tmp_path / "corpus.work", "--out", again)
    assert outputs(again) == outputs(out)


@pytest.mark.parametrize(
    "options, said",
    [
        (["--near-threshold", 0.7], "--near-threshold 0.7: measured for 0.8 and above"),
        (["--simplify"], "--simplify True: was False when it was measured"),
        (["--limit", 3], "--limit 3: was not set"),
        (["--source-type", "web"], "--source-type web: was not set"),
        (["--text-column", "body"], "--text-column body: was not set"),
        (["--lexicon", "terms.txt"], "terms.txt: is not the one it was measured with"),
        (["--decontaminate", "terms.txt"], "terms.txt: was not looked for"),
        (["--against", "nowhere.parquet"], "no such file"),
    ],
)
def test_what_needs_measuring_anew_is_not_reapplied(
    tmp_path: Path, out: Path, options: list[object], said: str
) -> None:
    write(tmp_path, {"in/a.txt": passage(1), "terms.txt": "青囊奇术\n"})
    good(tmp_path / "in", "--out", out)
    options = [tmp_path / option if str(option).startswith("terms") else option for option in options]
    again = tmp_path / "again.parquet"
    done = here("curate", "--reapply", tmp_path / "corpus.work", "--out", again, *options)
    assert (done.code, said in done.line) == (2, True), done.stderr
    assert not again.exists()


def test_reapply_needs_a_finished_measurement(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.txt": passage(1)})
    for place in (tmp_path, tmp_path / "nowhere.work"):
        done = here("curate", "--reapply", place, "--out", out)
        assert (done.code, "no work folder" in done.line) == (2, True), done.stderr
    assert here("unify", folder, "--out", tmp_path / "sft.parquet").code == 0
    done = here("curate", "--reapply", tmp_path / "sft.work", "--out", out)
    assert (done.code, "holds no finished measurement" in done.line) == (2, True), done.stderr
    done = here("curate", "--reapply", folder, tmp_path, "--out", out)
    assert (done.code, "needs one INPUT" in done.line) == (2, True), done.stderr


def test_reapply_after_a_fresh_start_that_was_killed_says_so(tmp_path: Path, out: Path) -> None:
    good(write(tmp_path / "in", {"a.txt": passage(1)}), "--out", out)
    manifest = json.loads((tmp_path / "corpus.work" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[0])
    del manifest["record"]
    with open_work(out, manifest, fresh=True):
        pass
    done = here("curate", "--reapply", tmp_path / "corpus.work", "--out", tmp_path / "again.parquet")
    assert (done.code, "holds no finished measurement" in done.line) == (2, True), done.stderr


# Rerun and refusals


def test_a_finished_run_again_measures_nothing_anew(tmp_path: Path, out: Path) -> None:
    folder = varied(tmp_path / "in")
    first = good(folder, "--out", out, "--json").summary
    parts = tmp_path / "corpus.work" / "parts"
    written = sorted((path.name, path.stat().st_mtime_ns) for path in parts.iterdir())
    before = files(out)
    out.unlink()
    second = good(folder, "--out", out, "--json").summary
    assert files(out) == before
    assert sorted((path.name, path.stat().st_mtime_ns) for path in parts.iterdir()) == written
    del first["seconds"], second["seconds"]
    assert first == second


def change_nothing(folder: Path) -> None:
    pass


def add_file(folder: Path) -> None:
    write(folder, {"new.txt": passage(9)})


def change_file(folder: Path) -> None:
    write(folder, {"a.txt": passage(8)})


@pytest.mark.parametrize(
    "options, change, said",
    [
        (["--near-threshold", 0.7], change_nothing, "near_threshold was 0.8, now 0.7"),
        (["--rules", "none"], change_nothing, 'rules was "default", now "none"'),
        (["--recipe", "strict.toml"], change_nothing, "thresholds was {}, now"),
        (["--simplify"], change_nothing, "simplify was false, now true"),
        ([], add_file, "input new.txt is new since the run began"),
        ([], change_file, "input a.txt has changed since the run began"),
    ],
)
def test_changed_settings_and_inputs_are_refused(
    tmp_path: Path, out: Path, options: list[object], change: Callable[[Path], None], said: str
) -> None:
    write(tmp_path, {"in/a.txt": passage(1), "strict.toml": STRICT})
    good(tmp_path / "in", "--out", out)
    before = files(out)
    change(tmp_path / "in")
    options = [tmp_path / option if str(option).endswith(".toml") else option for option in options]
    done = here("curate", tmp_path / "in", "--out", out, *options, "--json")
    assert (done.code, said in done.line) == (2, True), done.stderr
    assert "--fresh" in done.summary["error"]
    assert files(out) == before
    assert here("curate", tmp_path / "in", "--out", out, *options, "--fresh").code == 0


def test_a_refused_run_leaves_nothing_that_refuses_the_next(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.txt": passage(1)})
    exams = write(tmp_path, {"empty.jsonl": ""}) / "empty.jsonl"
    for options in (["--decontaminate", exams], ["--against", exams], ["--lexicon", exams]):
        assert here("curate", folder, "--out", out, *options).code == 2
    good(folder, "--out", out)


def test_a_run_that_could_read_nothing_leaves_nothing_that_refuses_the_next(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.jsonl": json.dumps({"内容": passage(1)}, ensure_ascii=False) + "\n"})
    done = here("curate", folder, "--out", out, "--text-column", "text")
    assert (done.code, "no column 'text'" in done.line) == (2, True), done.stderr
    assert not out.exists()
    good(folder, "--out", out, "--text-column", "内容")
    assert [row["text"] for row in rows(out)] == [passage(1)]


def test_the_output_alone_is_no_input(tmp_path: Path, out: Path) -> None:
    good(write(tmp_path / "in", {"a.txt": passage(1)}), "--out", out)
    done = here("curate", out, "--out", out)
    assert (done.code, "is the output itself" in done.line) == (2, True), done.stderr


def test_a_second_live_run_is_refused(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.txt": passage(1)})
    good(folder, "--out", out)
    manifest = json.loads((tmp_path / "corpus.work" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[0])
    del manifest["record"]
    with open_work(out, manifest):
        done = here("curate", folder, "--out", out)
        again = here("curate", "--reapply", tmp_path / "corpus.work", "--out", tmp_path / "again.parquet")
    for refused in (done, again):
        assert (refused.code, "another run is working there" in refused.line) == (2, True), refused.stderr


# Broken and hostile input


def test_nothing_to_read_is_refused(tmp_path: Path, out: Path) -> None:
    empty = tmp_path / "folder"
    empty.mkdir()
    write(tmp_path, {"empty.txt": "", "blank/a.txt": " \n\n", "unknown/a.bin": bytes(range(6)) * 99})
    for place in (empty, tmp_path / "empty.txt", tmp_path / "blank", tmp_path / "unknown"):
        done = here("curate", place, "--out", out, "--json")
        assert (done.code, "nothing readable there" in done.line) == (2, True), done.stderr
        assert done.summary["error"] in done.line
    done = here("curate", tmp_path / "nowhere", "--out", out)
    assert (done.code, "no such file or folder" in done.line) == (2, True)
    assert not files(out)


def test_an_empty_file_among_others_is_a_trace_row(tmp_path: Path, out: Path) -> None:
    done = good(write(tmp_path / "in", {"a.txt": passage(1), "b.txt": ""}), "--out", out, "--json")
    assert [(row["source"], row["step"], row["rule"]) for row in trace(out)] == [("b.txt", "read", "empty_file")]
    assert done.summary["dropped"] == {"empty_file": 1}


@pytest.mark.slow
def test_one_line_of_sixty_megabytes_comes_through(tmp_path: Path, out: Path) -> None:
    chance = random.Random(5)
    line = "".join(map(chr, chance.choices(range(0x4E00, 0x9000), k=100_000))) * 200
    given = jsonl([{"text": passage(1)}, {"text": line}, {"text": passage(2)}])
    assert len(given.encode()) > 60e6
    good(write(tmp_path / "in", {"a.jsonl": given}), "--out", out, "--rules", "none")
    found = rows(out)
    assert [row["offset"] for row in found] == [1, *[2] * (len(found) - 2), 3]
    assert len({row["id"] for row in found}) == len(found) > 3
    assert "".join(row["text"] for row in found[1:-1]) == line


def million_empty_rows(path: Path) -> Path:
    """A table of a million rows without text, and one with some in the middle."""
    half = 500_000
    if path.suffix == ".parquet":
        texts_ = pa.chunked_array([pa.repeat("", half), pa.array([passage(1)]), pa.nulls(half, pa.string())])
        pq.write_table(pa.table({"text": texts_, "id": pa.array(map(str, range(2 * half + 1)))}), path)
    elif path.suffix == ".csv":
        empty_rows = [f"{n},\n" for n in range(2 * half)]
        lines = ["id,text\n", *empty_rows[:half], f'x,"{passage(1)}"\n', *empty_rows[half:]]
        path.write_text("".join(lines), encoding="utf-8")
    else:
        empty = '{"text": ""}\n' * half
        path.write_text(empty + jsonl([{"text": passage(1)}]) + empty, encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name, place", [("a.jsonl", 500_001), ("a.csv", 500_002), ("a.parquet", 500_001)])
def test_a_million_empty_rows_are_counted_and_lose_nothing(tmp_path: Path, out: Path, name: str, place: int) -> None:
    done = good(million_empty_rows(tmp_path / name), "--out", out, "--json")
    assert [(row["text"], row["offset"]) for row in rows(out)] == [(passage(1), place)]
    assert done.summary["dropped"] == {"empty_row": 1_000_000}
    assert pq.read_metadata(beside(out, "trace")).num_rows == 1_000_000


def test_a_table_of_empty_rows_only_is_refused(tmp_path: Path, out: Path) -> None:
    done = here("curate", write(tmp_path / "only", {"a.csv": "text\n" + '""\n' * 1000}), "--out", out)
    assert (done.code, "nothing readable there (" in done.line) == (2, True), done.stderr


def test_a_text_column_of_nulls_is_rows_without_text(tmp_path: Path, out: Path) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"text": pa.nulls(3, pa.string()), "n": [1, 2, 3]}), tmp_path / "in" / "a.parquet")
    pq.write_table(pa.table({"text": [None, passage(1)]}), tmp_path / "in" / "b.parquet")
    corpus(tmp_path / "in" / "c.parquet", [{**document(passage(2)), "text": None}, document(passage(3))])
    done = here("curate", tmp_path / "in", "--out", out, "--json")
    assert "Traceback" not in done.stderr
    assert done.code == 0, done.stderr
    assert texts(out) == [passage(1), passage(3)]
    assert {row["source"].partition(":")[0] for row in trace(out)} >= {"a.parquet", "b.parquet"}


def test_a_corrupt_row_group_is_named_and_the_others_are_kept(tmp_path: Path, out: Path) -> None:
    given = tmp_path / "in" / "a.parquet"
    given.parent.mkdir()
    pq.write_table(pa.table({"text": [passage(n) for n in range(30)]}), given, row_group_size=10, use_dictionary=False)
    column = pq.read_metadata(given).row_group(1).column(0)
    data = bytearray(given.read_bytes())
    start = column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    given.write_bytes(bytes(data))
    done = here("curate", tmp_path / "in", "--out", out, "--workers", 1, "--json")
    assert (done.code, "Traceback" in done.stderr) == (3, False), done.stderr
    assert texts(out) == [passage(n) for n in [*range(10), *range(20, 30)]]
    assert done.summary["failed"] == {"unreadable": 1}
    assert [row["source"] for row in trace(out)] == ["a.parquet:row group 1"]
    assert str(beside(out, "trace")) in done.line


def test_nul_bytes_are_left_out(tmp_path: Path, out: Path) -> None:
    text = passage(1)
    dirty = text[:20] + "\x00" + text[20:]
    lines = jsonl([{"title": "书\x00名", "text": passage(2) + "\x00"}])
    folder = write(tmp_path / "in", {"a.txt": dirty, "b.jsonl": lines})
    good(folder, "--out", out)
    assert texts(out) == [text, passage(2)]
    assert rows(out)[1]["title"] == "书名"


def test_lone_surrogates_in_any_value_are_replaced(tmp_path: Path, out: Path) -> None:
    half = "\\ud83d"
    lines = [
        {"text": passage(1) + "HALF", "title": "书HALF", "note": "HALF备注", "section": "上HALF"},
        {"text": passage(2), "title": "书", "note": "备注", "section": "下"},
    ]
    pair = {"question": f"{passage(3, 1)}HALF", "answer": f"{passage(4, 1)}HALF", "HALF": "值"}
    folder = write(
        tmp_path / "in",
        {"a.jsonl": jsonl(lines).replace("HALF", half), "b.jsonl": jsonl([pair]).replace("HALF", half)},
    )
    good(folder, "--out", out)
    assert texts(out)[:2] == [passage(1) + "□", passage(2)]
    assert len(rows(out)) == 3
    assert "备注" in rows(out)[0]["meta"]


def bomb(path: Path, stated: int | None = None) -> Path:
    """A small zip that unpacks to 2 GB of zeros; `stated` is the size its directory claims."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = squeezer.compress(bytes(1 << 20)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    data = block * 2048 + squeezer.flush()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zeros.txt", data)
        entry = archive.filelist[0]
        entry.compress_type, entry.file_size = zipfile.ZIP_DEFLATED, stated or 2048 << 20
        archive.writestr("good.txt", passage(1))
    assert path.stat().st_size < 4 << 20
    return path


@pytest.mark.parametrize("stated", [None, 1000])
def test_a_zip_bomb_is_a_fault_and_its_neighbours_are_read(tmp_path: Path, out: Path, stated: int | None) -> None:
    (tmp_path / "in").mkdir()
    bomb(tmp_path / "in" / "a.zip", stated)
    write(tmp_path / "in", {"b.txt": passage(2)})
    done = here("curate", tmp_path / "in", "--out", out, "--workers", 1, "--json")
    assert (done.code, "Traceback" in done.stderr) == (3, False), done.stderr
    assert [row["source"] for row in rows(out)] == ["a.zip!good.txt", "b.txt"]
    assert [row["source"] for row in trace(out)] == ["a.zip!zeros.txt"]
    assert done.summary["failed"] == {"unreadable": 1}


@pytest.mark.parametrize("name", ["a.txt.zst", "a.jsonl.zst", "a.csv.zst", "a.html.zst"])
def test_a_file_that_unpacks_to_two_gigabytes_is_a_fault_and_its_neighbours_are_read(
    tmp_path: Path, out: Path, name: str
) -> None:
    folder = write(tmp_path / "in", {"b.txt": passage(2)})
    with (folder / name).open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as packed:
        for _ in range(2048):
            packed.write(b"a" * (1 << 20))
    done = here("curate", folder, "--out", out, "--json")
    assert (done.code, done.summary["failed"]) == (3, {"unreadable": 1}), done.stderr
    assert [row["source"] for row in rows(out)] == ["b.txt"]
    assert [(row["source"], row["rule"]) for row in trace(out)] == [(name, "unreadable")]
    assert "zip bomb" in trace(out)[0]["excerpt"]


@pytest.mark.parametrize("packing, name", [(gzip.compress, "gz"), (zstandard.compress, "zst")])
def test_a_packed_file_that_is_cut_short_gives_what_can_be_unpacked(
    tmp_path: Path, out: Path, packing: Callable[[bytes], bytes], name: str
) -> None:
    lines = [jsonl([{"text": passage(n, 16)}]) for n in range(900)]
    packed = packing("".join(lines).encode())
    text = packing(passage(5000).encode())
    files = {f"a.jsonl.{name}": packed[:-900], f"b.txt.{name}": text[:-9], "c.txt": passage(5001)}
    done = here("curate", write(tmp_path / "in", files), "--out", out, "--rules", "none", "--json")
    assert (done.code, done.summary["failed"]) == (3, {"unreadable": 2}), done.stderr
    found = texts(out)
    assert found == [*(passage(n, 16) for n in range(len(found) - 1)), passage(5001)]
    assert len(found) > 400
    assert [(row["source"], row["step"], row["rule"]) for row in trace(out)] == [
        (f"a.jsonl.{name}", "read", "unreadable"),
        (f"b.txt.{name}", "read", "unreadable"),
    ]


def test_pipes_and_names_in_any_bytes_do_no_harm(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.txt": passage(1)})
    os.mkfifo(folder / "pipe.txt")
    names = {b"\xff\xfe.txt": "\\xff\\xfe.txt", "感冒.txt".encode("gb18030"): "感冒.txt", b"a\nb.txt": "a\nb.txt"}
    for number, name in enumerate(names, 2):
        (folder / os.fsdecode(name)).write_text(passage(number), encoding="utf-8")
    good(folder, "--out", out)
    assert {row["source"] for row in rows(out)} == {"a.txt", *names.values()}
    assert [(row["source"], row["rule"]) for row in trace(out)] == [("pipe.txt", "unknown_type")]
    done = here("curate", folder / "pipe.txt", "--out", tmp_path / "x.parquet")
    assert (done.code, "pipe.txt: neither a file nor a folder" in done.line) == (2, True), done.stderr


def test_loops_of_links_end(tmp_path: Path, out: Path) -> None:
    folder = write(tmp_path / "in", {"a.txt": passage(1), "sub/b.txt": passage(2)})
    (folder / "self.txt").symlink_to(folder / "self.txt")
    (folder / "sub" / "up").symlink_to(folder)
    (folder / "link.txt").symlink_to(write(tmp_path, {"far.txt": passage(3)}) / "far.txt")
    done = here("curate", folder, "--out", out, "--workers", 1, "--json")
    assert (done.code, "Traceback" in done.stderr) == (3, False), done.stderr
    assert [row["source"] for row in rows(out)] == ["a.txt", "link.txt", "sub/b.txt"]
    assert [(row["source"], row["rule"]) for row in trace(out)] == [("self.txt", "unreadable")]
    done = here("curate", folder / "self.txt", "--out", tmp_path / "x.parquet")
    assert (done.code, "self.txt" in done.line) == (2, True), done.stderr


# Workers, signals and kills


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files that are a unit each, web pages with a footer, duplicates within and across, and a broken file."""
    place = tmp_path_factory.mktemp("library")
    near = [passage(n, 12).replace("患者", "病人", 1) for n in range(0, 60, 3)]
    for name, first in (("a", 0), ("b", 1500), ("c", 3000)):
        found = [passage(n, 16) for n in range(first, first + 1500)]
        extra = {"a": [passage(n, 12) for n in range(60)], "b": near, "c": found[:9]}.get(name, [])
        write(place / "in", {f"{name}.jsonl": jsonl([{"text": text} for text in [*found, *extra]])})
    corpus(place / "in" / "web.parquet", [page(7000 + n) for n in range(99)])
    write(place, {"in/cut.pdf": b"%PDF-1.4 cut", "exam.txt": passage(7005, 1)})
    corpus(place / "earlier.parquet", [document(passage(n, 16), id=f"old-{n}") for n in range(1500, 1600)])
    return place


def options(library: Path) -> list[object]:
    """The input of a run with everything on."""
    return [library / "in", "--decontaminate", library / "exam.txt", "--against", library / "earlier.parquet"]


@pytest.fixture(scope="module")
def undisturbed(library: Path) -> Path:
    """What one worker makes of the library."""
    out = library / "undisturbed" / "corpus.parquet"
    done = here("curate", *options(library), "--out", out, "--workers", 1, "--json")
    assert done.code == 3, done.stderr
    assert done.summary["failed"] == {"unreadable": 1}
    assert set(done.summary["dropped"]) == {"exact_duplicate", "near_duplicate", "already_known", "leak"}
    assert progress(out) > 15
    return out


def progress(out: Path) -> int:
    """Finished parts and lines of the manifest."""
    parts = out.with_suffix(".work") / "parts"
    finished = sum(not path.name.startswith(".") for path in parts.glob("*"))
    return finished + lines_of(parts.parent / "manifest.jsonl")


@pytest.mark.slow
def test_two_workers_and_one_give_the_same_bytes(library: Path, undisturbed: Path, out: Path) -> None:
    done = command("curate", *options(library), "--out", out, "--workers", 2)
    assert done.code == 3, done.stderr
    assert "2 workers" in done.stderr
    assert files(out) == files(undisturbed)


@pytest.mark.slow
def test_an_interrupted_run_ends_with_130_and_can_be_resumed(library: Path, undisturbed: Path, out: Path) -> None:
    line = ["curate", *options(library), "--out", out, "--workers", 2, "--json"]
    process = started(*line)
    assert until(process, lambda: progress(out) >= 6)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C: to the whole group
    stopped = ended(process)
    assert stopped.code == 130, stopped.stderr
    assert "interrupted" in stopped.summary["error"]
    assert "Traceback" not in stopped.stderr
    assert not out.exists()
    assert here(*line[:-1], "--workers", 1).code == 3
    assert files(out) == files(undisturbed)


# The file that a run makes first in each phase, and how many files it makes after that one while the phase lasts.
PHASES = {
    "measuring": ("corpus.work/parts/.*.tmp", 16),
    "boilerplate": ("corpus.work/parts/.*-stripped-*.tmp", 5),
    "deciding": (".corpus.trace.parquet.*.tmp", 12),
    "writing": (".corpus.parquet.*.tmp", 3),
}


def grown(out: Path, phase: str, more: int) -> Callable[[], bool]:
    """True once a run has made a file of a phase and `more` files after it; what was there before does not count."""
    before = set(out.parent.rglob("*"))
    made: set[Path] = set()  # since the phase began

    def happened() -> bool:
        fresh = {Path(folder, name) for folder, _, names in os.walk(out.parent) for name in names} - before
        begun = {path for path in fresh if path.relative_to(out.parent).match(PHASES[phase][0])}
        if not made and not begun:
            before.update(fresh)  # of an earlier phase
            return False
        made.update(fresh)
        return len(made) > more

    return happened


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_kill_9_at_five_random_moments_then_the_same_line_gives_the_same_bytes(
    library: Path, undisturbed: Path, out: Path, seed: int
) -> None:
    chance = random.Random(seed)
    phases = ["measuring", *PHASES]
    line = ["curate", *options(library), "--out", out, "--workers", 2]
    killed = []
    for phase in phases:
        more = chance.randrange(PHASES[phase][1] // (2 if phase == "measuring" else 1))
        if killed_when(started(*line), grown(out, phase, more)):
            killed.append(phase)
        # What has its final name is whole, whatever was going on.
        assert files(out).items() <= files(undisturbed).items()
    assert killed == phases
    done = here(*line)
    assert done.code == 3, done.stderr
    assert files(out) == files(undisturbed)
    assert not list(leftovers(out.parent))
