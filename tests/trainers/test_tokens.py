"""Packs are made of the measured rows: nothing is learned twice or lost untold, and every cut is behind an answer."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.prepare import SCHEMAS, Measured, Prepared
from trainers.render import IGNORED, labels
from trainers.tokens import write_tokens

Talk = tuple[list[int], list[tuple[int, int]]]


@st.composite
def talks(draw: st.DrawFn) -> list[Talk]:
    """Conversations of prompts and answers by their lengths; every token of all is another."""
    found, next_id = [], 0
    for turns in draw(st.lists(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4))):
        spans, length = [], 0
        for prompt, answer in turns:
            spans.append((length + prompt, length + prompt + answer))
            length += prompt + answer
        found.append((list(range(next_id, next_id + length)), spans))
        next_id += length
    return found


def written(rows: list[Talk], stage: str, **given: object) -> tuple[Prepared, list[dict[str, list[int]]]]:
    made = [
        {"place": f"rows:{n}", "length": len(ids), "tokens": len(ids), "input_ids": ids}
        | {"starts": [start for start, _ in spans], "ends": [end for _, end in spans]}
        for n, (ids, spans) in enumerate(rows)
    ]
    with TemporaryDirectory() as folder:
        path, out = Path(folder) / "rows.arrow", Path(folder) / "train.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMAS["tokens"]) as writer:
            for start in range(0, len(made), 3):
                writer.write_batch(pa.RecordBatch.from_pylist(made[start : start + 3], schema=SCHEMAS["tokens"]))
        measured = Measured(path, len(made), 0, np.array([len(ids) for ids, _ in rows], np.int64))
        done = write_tokens(measured, out, stage=stage, **given)  # type: ignore[arg-type]
        with pa.OSFile(str(out)) as file:
            return done, pa.ipc.open_stream(file).read_all().to_pylist()


def documents(packs: list[dict[str, list[int]]]) -> dict[str, tuple[list[int], list[int]]]:
    """Ids and labels of every piece by its first id."""
    found = {}
    for one in packs:
        assert len(one["input_ids"]) == len(one["labels"]) == sum(one["seq_lengths"])
        start = 0
        for length in one["seq_lengths"]:
            ids = one["input_ids"][start : start + length]
            assert ids[0] not in found
            found[ids[0]] = ids, one["labels"][start : start + length]
            start += length
    return found


@given(talks(), st.integers(1, 40), st.sampled_from(["cut", "drop"]))
@settings(deadline=None)
def test_conversations_are_whole_or_cut_behind_an_answer(rows: list[Talk], longest: int, too_long: str):
    kept = {}
    for ids, spans in rows:
        fitting = [end for _, end in spans if end <= longest] if too_long == "cut" else []
        if end := len(ids) if len(ids) <= longest else max(fitting, default=0):
            kept[ids[0]] = ids[:end], labels(ids, spans)[:end]
    given_ = {"max_length": longest, "pack_size": longest, "too_long": too_long}
    if not kept:
        with pytest.raises(ValueError, match="longer than"):
            written(rows, "sft", **given_)
        return
    done, packs = written(rows, "sft", **given_)
    assert documents(packs) == kept
    assert all(sum(one["seq_lengths"]) <= longest for one in packs)
    assert done.examples == len(kept) and len(rows) == done.examples + len(done.dropped)
    assert done.tokens + done.tokens_lost == sum(len(ids) for ids, _ in rows)
    assert done.learned == sum(label != IGNORED for _, found in kept.values() for label in found)
    assert [place for one in packs for place in one["places"]].count("rows:0") <= 1


@pytest.mark.parametrize(
    ("too_long", "kept", "cut", "dropped"), [("cut", [1, 11, 31], ["a:1"], ["a:2"]), ("drop", [31], [], ["a:1", "a:2"])]
)
def test_the_turns_of_a_row_stay_together(too_long: str, kept: list[int], cut: list[str], dropped: list[str]):
    """Where a template made an example of every turn: a row that is too long is cut behind a turn, or goes whole."""
    lengths = {"a:1": [(1, 4), (11, 6), (21, 9)], "a:2": [(41, 9)], "a:3": [(31, 5)]}
    made = [
        {
            "place": place,
            "length": n,
            "tokens": n,
            "input_ids": list(range(start, start + n)),
            "starts": [1],
            "ends": [n],
        }
        for place, turns in lengths.items()
        for start, n in turns
    ]
    with TemporaryDirectory() as folder:
        path, out = Path(folder) / "rows.arrow", Path(folder) / "train.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMAS["tokens"]) as writer:
            writer.write_batch(pa.RecordBatch.from_pylist(made, schema=SCHEMAS["tokens"]))
        measured = Measured(path, 3, 2, np.array([one["length"] for one in made], np.int64))
        done = write_tokens(measured, out, stage="sft", max_length=8, pack_size=None, too_long=too_long)
        with pa.OSFile(str(out)) as file:
            rows = pa.ipc.open_stream(file).read_all().to_pylist()
    assert [one["input_ids"][0] for one in rows] == kept
    assert (done.cut, done.dropped) == (cut, dropped)
    assert done.tokens + done.tokens_lost == sum(one["length"] for one in made)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=20), st.integers(1, 30))
@settings(deadline=None)
def test_of_text_nothing_is_lost(lengths: list[int], longest: int):
    starts = np.cumsum([0, *lengths]).tolist()
    rows = [(list(range(start, start + length)), [(0, length)]) for start, length in zip(starts, lengths, strict=False)]
    done, packs = written(rows, "pt", max_length=longest, pack_size=None, too_long="drop")
    assert sorted(id for one in packs for id in one["input_ids"]) == list(range(sum(lengths)))
    assert all(one["labels"] == one["input_ids"] and len(one["labels"]) <= longest for one in packs)
    assert done.learned == done.tokens == sum(lengths) and len(done.cut) == sum(length > longest for length in lengths)
