"""Units: what is read together, and by which name its result is known again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.engine import units
from datatools.engine.units import identity, plan
from datatools.io.source import Source


def sources(folder: Path) -> list[tuple[Source, int]]:
    return [
        (Source(str(path), path.relative_to(folder).as_posix(), "txt"), path.stat().st_size)
        for path in sorted(folder.rglob("*.txt"))
    ]


def keys(folder: Path, setting: str = "800 characters") -> list[str]:
    found = sources(folder)
    return [unit.key for unit in plan(found, {source.path: identity(source.path) for source, _ in found}, setting)]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    (folder / "卷一").mkdir(parents=True)
    (folder / "卷一" / "咳嗽.txt").write_text("咳嗽者，肺气逆也。")
    (folder / "感冒.txt").write_text("多饮水，多休息。")
    return folder


def test_moving_or_copying_a_folder_keeps_the_keys(corpus: Path, tmp_path: Path) -> None:
    before = keys(corpus)
    shutil.copytree(corpus, tmp_path / "elsewhere" / "copy")
    os.utime(tmp_path / "elsewhere" / "copy" / "感冒.txt", (0, 0))
    assert keys(tmp_path / "elsewhere" / "copy") == before


def test_changed_content_changes_the_key(corpus: Path) -> None:
    before = keys(corpus)
    (corpus / "感冒.txt").write_text("多饮水，少休息。")
    assert keys(corpus) != before


def test_a_renamed_file_changes_the_key(corpus: Path) -> None:
    before = keys(corpus)
    (corpus / "感冒.txt").rename(corpus / "伤风.txt")
    assert keys(corpus) != before


def test_changed_settings_change_the_key(corpus: Path) -> None:
    assert keys(corpus, "400 characters") != keys(corpus)


def test_the_ranges_of_one_file_have_keys_of_their_own() -> None:
    ranges = [(Source("a.jsonl", "a.jsonl", "jsonl", start=n, stop=n + 100), 3 << 20) for n in (0, 100, 200)]
    found = plan(ranges, {"a.jsonl": "same"}, "")
    assert len({unit.key for unit in found}) == 3


def test_a_large_file_is_told_by_size_and_time(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "HASHED_BYTES", 4)
    path = corpus / "感冒.txt"
    before = identity(str(path))
    assert before.startswith(f"{path.stat().st_size}:")
    os.utime(path, (0, 0))
    assert identity(str(path)) != before


def test_a_dataset_is_told_by_its_name() -> None:
    assert identity("hf:org/name") == "hf:org/name"


sizes = st.lists(st.integers(0, 3 << 20), max_size=40)


@settings(deadline=None)
@given(sizes)
def test_units_hold_every_source_once_in_input_order_and_are_no_larger_than_said(lengths: list[int]) -> None:
    given_sources = [(Source(f"{n}.txt", f"{n}.txt", "txt"), length) for n, length in enumerate(lengths)]
    length_of = {source.name: length for source, length in given_sources}
    found = plan(given_sources, {source.path: "" for source, _ in given_sources}, "")
    assert [source for unit in found for source in unit.sources] == [source for source, _ in given_sources]
    for unit in found:
        assert unit.sources
        assert len(unit.sources) == 1 or sum(length_of[s.name] for s in unit.sources) <= units.UNIT_BYTES


def test_a_million_small_files_are_not_a_million_units() -> None:
    many = [(Source(f"{n}.txt", f"{n}.txt", "txt"), 10) for n in range(1201)]
    found = plan(many, {source.path: "" for source, _ in many}, "")
    assert [len(unit.sources) for unit in found] == [500, 500, 201]
