"""Parts: the streams of many units, read as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from datatools.engine.parts import Parts
from datatools.engine.work import Work
from datatools.io.atomic import part_writer

SCHEMA = pa.schema([pa.field("text", pa.string()), pa.field("key", pa.binary(16)), pa.field("passage", pa.int64())])
SIZES = {"k1": [2, 3], "k2": [], "k3": [0, 4], "k4": [1]}


def row(number: int) -> dict[str, object]:
    return {"text": f"第{number}段", "key": number.to_bytes(16, "big"), "passage": number * 10}


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """Ten rows in four units, one of them empty, written in several batches."""
    work = Work(tmp_path)
    work.parts.mkdir()
    number = 0
    for key, batches in SIZES.items():
        with part_writer(work.part(key, "passages"), SCHEMA) as writer:
            for size in batches:
                writer.write(pa.Table.from_pylist([row(number + n) for n in range(size)], schema=SCHEMA))
                number += size
    return Parts(work, list(SIZES), "passages")


def test_rows_are_numbered_over_all_units(parts: Parts) -> None:
    assert len(parts) == 10
    assert parts.starts == [0, 5, 5, 9, 10]
    assert list(parts.rows()) == [(number, row(number)) for number in range(10)]


def test_the_order_is_that_of_the_keys_given(tmp_path: Path, parts: Parts) -> None:
    turned = Parts(Work(tmp_path), ["k4", "k1"], "passages")
    assert [(number, found["passage"]) for number, found in turned.rows()] == [
        (0, 90),
        (1, 0),
        (2, 10),
        (3, 20),
        (4, 30),
        (5, 40),
    ]


def test_batches_say_where_they_start(parts: Parts) -> None:
    for start, table in parts.batches(["passage"]):
        assert table.column_names == ["passage"]
        assert table["passage"].to_pylist() == [10 * number for number in range(start, start + table.num_rows)]


def test_keys_and_numbers_come_whole(parts: Parts) -> None:
    assert [key.tobytes() for key in parts.keys("key")] == [number.to_bytes(16, "big") for number in range(10)]
    assert parts.numbers("passage").tolist() == [10 * number for number in range(10)]


@pytest.mark.parametrize(
    "wanted", [[], [0], [4, 5], [9], list(range(10))], ids=["none", "first", "seam", "last", "all"]
)
def test_lookup_gives_the_wanted_rows_by_number(parts: Parts, wanted: list[int]) -> None:
    mask = np.zeros(10, bool)
    mask[wanted] = True
    assert parts.lookup(["text"], mask) == {number: {"text": f"第{number}段"} for number in wanted}


def test_no_units_are_no_rows(tmp_path: Path) -> None:
    empty = Parts(Work(tmp_path), [], "passages")
    assert (len(empty), list(empty.rows()), empty.keys("key").tolist(), empty.numbers("passage").tolist()) == (
        0,
        [],
        [],
        [],
    )


def test_blocks_are_batches_put_together(parts: Parts) -> None:
    found = [(start, table["passage"].to_pylist()) for start, table in parts.blocks(["passage"], rows=4)]
    assert found == [(0, [0, 10, 20, 30, 40]), (5, [50, 60, 70, 80]), (9, [90])]


def test_chosen_rows_come_with_their_numbers_and_batches_without_any_are_left_out(parts: Parts) -> None:
    mask = np.zeros(10, bool)
    mask[[3, 4, 9]] = True
    found = [(numbers.tolist(), table.to_pylist()) for numbers, table in parts.chosen(["passage"], mask)]
    assert found == [([3, 4], [{"passage": 30}, {"passage": 40}]), ([9], [{"passage": 90}])]
