"""Mixtures: nothing lost, nothing twice, the promised order and amounts, whatever the size of memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines.mix_order as mix_order
from datatools.mix.race import expected
from schemas.conversation import CHECKED_CONVERSATION, CONVERSATION, TCM_CONVERSATION
from schemas.document import DOCUMENT
from schemas.records import PREFERENCE, TRIPLE
from tests.pipelines.command import command, files, here, killed_when, rows, started

PRIORITIES = {"web": 32, "literature": 16, "encyclopedia": 8, "books": 4, "sft": 1}


def conversation(id: str, answer: str = "多饮水，注意休息。", **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": "感冒了怎么办？"}, {"role": "assistant", "content": answer}]
    row = {"id": id, "messages": turns, "source": "a.md", "generator": "rules", "flags": []}
    return {**dict.fromkeys(CONVERSATION.names), **row, **more}


def part(path: Path, ids: Sequence[str], schema: pa.Schema = CONVERSATION, **more: Any) -> Path:
    table = pa.Table.from_pylist([conversation(id, **more) for id in ids], schema=schema)
    pq.write_table(table, path, row_group_size=100)
    return path


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def ids(path: Path) -> list[str]:
    return pq.read_table(path, columns=["id"])["id"].to_pylist()


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    return part(tmp_path / "a.parquet", names("a", 250)), part(tmp_path / "b.parquet", names("b", 130))


def test_every_row_goes_in_once_with_its_source(two: tuple[Path, Path], tmp_path: Path):
    ended = here("mix", *two, "--out", tmp_path / "m.parquet", "--json")
    assert ended.code == 0 and ended.summary["rows_read"] == ended.summary["rows_written"] == 380
    assert ended.summary["trace"] is None and not (tmp_path / "m.trace.parquet").exists()
    mixed = rows(tmp_path / "m.parquet")
    assert sorted(row["id"] for row in mixed) == sorted(names("a", 250) + names("b", 130))
    assert all(row["mix_source"] == f"{row['id'][0]}.parquet" and row["epoch"] == 1 for row in mixed)
    whole = {row["id"]: row for path in two for row in rows(path)}
    assert all({name: row[name] for name in CONVERSATION.names} == whole[row["id"]] for row in mixed)
    schema = pq.read_schema(tmp_path / "m.parquet")
    assert schema.names == [*CONVERSATION.names, "mix_source", "epoch"]
    assert schema.metadata[b"datatools.schema"] == b"conversation/1"
    # Mixed indeed: both halves have of both.
    assert {row["mix_source"] for row in mixed[:190]} == {row["mix_source"] for row in mixed[190:]}


def test_the_order_is_the_reference_curve(tmp_path: Path):
    inputs = [
        f"{part(tmp_path / f'{name}.parquet', names(name, 3000))}:name={name},priority={priority}"
        for name, priority in PRIORITIES.items()
    ]
    ended = here("mix", *inputs, "--out", tmp_path / "m.parquet", "--json")
    sources = np.array(pq.read_table(tmp_path / "m.parquet", columns=["mix_source"])["mix_source"].to_pylist())
    found = np.array([[(tenth == name).mean() for name in PRIORITIES] for tenth in sources.reshape(10, -1)])
    assert np.abs(found - expected([1] * 5, list(PRIORITIES.values()))).max() < 0.04
    told = np.array([ended.summary["composition"][name]["tenths"] for name in PRIORITIES]).T
    assert np.abs(told - found).max() < 0.001


def test_the_table_says_what_is_where(two: tuple[Path, Path], tmp_path: Path):
    ended = here("mix", f"{two[0]}:priority=1000000", two[1], "--out", tmp_path / "m.parquet", "--quiet")
    lines = {line.split()[0]: line.split() for line in ended.stdout.splitlines() if ".parquet  " in line}
    assert lines["a.parquet"][-10:] == ["100"] * 6 + ["58", "0", "0", "0"]
    assert lines["b.parquet"][1] == "130"


@pytest.mark.parametrize("pieces", [1, 7])
def test_the_same_bytes_however_many_pieces_workers_and_runs(
    two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pieces: int
):
    inputs = [f"{two[0]}:epochs=2.5,priority=3", two[1]]
    here("mix", *inputs, "--out", tmp_path / "m.parquet")
    before = files(tmp_path / "m.parquet")
    size = sum(pq.read_metadata(path).row_group(0).total_byte_size * 3 for path in two)
    monkeypatch.setattr(mix_order, "SORTED_BYTES", size // pieces)
    monkeypatch.setattr(mix_order, "BLOCK", 97)
    assert here("mix", *inputs, "--out", tmp_path / "m.parquet", "--workers", 1, "--fresh").code == 0
    assert files(tmp_path / "m.parquet") == before


def test_rows_that_are_added_do_not_disturb_the_others(two: tuple[Path, Path], tmp_path: Path):
    here("mix", f"{two[0]}:priority=4", two[1], "--out", tmp_path / "before.parquet")
    more = part(tmp_path / "c.parquet", names("c", 200))
    part(two[1], names("x", 50) + names("b", 130))
    here("mix", more, f"{two[0]}:priority=4", two[1], "--out", tmp_path / "after.parquet")
    old = ids(tmp_path / "before.parquet")
    assert [id for id in ids(tmp_path / "after.parquet") if id in set(old)] == old


def test_another_seed_is_another_order_of_the_same_rows(two: tuple[Path, Path], tmp_path: Path):
    here("mix", *two, "--out", tmp_path / "0.parquet")
    here("mix", *two, "--out", tmp_path / "1.parquet", "--seed", 1)
    first, second = ids(tmp_path / "0.parquet"), ids(tmp_path / "1.parquet")
    assert first != second and sorted(first) == sorted(second)


def test_epochs_repeat_rows_under_ids_of_their_own(two: tuple[Path, Path], tmp_path: Path):
    here("mix", f"{two[0]}:epochs=2.5", two[1], "--out", tmp_path / "m.parquet")
    mixed = rows(tmp_path / "m.parquet")
    assert len({row["id"] for row in mixed}) == len(mixed)
    by_epoch = Counter((row["mix_source"], row["epoch"]) for row in mixed)
    assert by_epoch["a.parquet", 1] == by_epoch["a.parquet", 2] == 250
    assert 100 <= by_epoch["a.parquet", 3] <= 125 and by_epoch["b.parquet", 1] == 130
    assert all(row["id"].endswith(f"#{row['epoch']}") for row in mixed if row["epoch"] > 1)


def test_the_same_id_in_two_inputs_stays_unique(tmp_path: Path):
    one = part(tmp_path / "one.parquet", ["x", "y", "y#2"])
    other = part(tmp_path / "other.parquet", ["x", "x", "z"])
    here("mix", f"{one}:epochs=2", other, "--out", tmp_path / "m.parquet")
    found = ids(tmp_path / "m.parquet")
    assert len(found) == len(set(found)) == 9
    assert {"x", "x#2", "x#3", "x#4", "y", "y#2", "z"} < set(found)


def test_nothing_repeated_leaves_every_id_as_it_is(tmp_path: Path):
    here("mix", part(tmp_path / "a.parquet", ["x", "x#2"]), "--out", tmp_path / "m.parquet")
    assert sorted(ids(tmp_path / "m.parquet")) == ["x", "x#2"]


def test_weights_are_shares_of_the_tokens(tmp_path: Path):
    long = part(tmp_path / "long.parquet", names("l", 300), answer="咳嗽有痰，应当多饮水。" * 20)
    short = part(tmp_path / "short.parquet", names("s", 3000))
    out = tmp_path / "m.parquet"
    ended = here("mix", f"{long}:weight=3", f"{short}:weight=1", "--out", out, "--tokens", "20k", "--json")
    found = ended.summary["composition"]
    assert found["long.parquet"]["tokens"] == pytest.approx(15_000, rel=0.02)
    assert found["short.parquet"]["tokens"] == pytest.approx(5_000, rel=0.02)
    # What had no room is not lost silently.
    left_out = rows(tmp_path / "m.trace.parquet")
    assert {row["rule"] for row in left_out} == {"beyond_budget"}
    assert len(left_out) == ended.summary["dropped"]["beyond_budget"] == 3300 - ended.summary["rows_written"]
    assert {row["id"] for row in left_out}.isdisjoint(ids(out))


def test_a_budget_takes_rows_from_everywhere(tmp_path: Path):
    path = part(tmp_path / "a.parquet", names("a", 2000))
    here("mix", f"{path}:tokens=10k", "--out", tmp_path / "m.parquet")
    taken = sorted(int(id[1:]) for id in ids(tmp_path / "m.parquet"))
    assert 300 < len(taken) < 800
    assert abs(np.mean(taken) - 1000) < 100


def test_a_total_that_cannot_be_reached_is_said(two: tuple[Path, Path], tmp_path: Path):
    ended = here("mix", *two, "--out", tmp_path / "m.parquet", "--tokens", "1B")
    assert ended.code == 0 and "tokens of the 1,000,000,000 wanted" in ended.stderr


def test_a_limit_is_rows_in_all(two: tuple[Path, Path], tmp_path: Path):
    ended = here("mix", *two, "--out", tmp_path / "m.parquet", "--limit", 38, "--json")
    assert ended.summary["rows_read"] == 38
    assert Counter(id[0] for id in ids(tmp_path / "m.parquet")) == {"a": 25, "b": 13}
    assert set(ids(tmp_path / "m.parquet")) == set(names("a", 25) + names("b", 13))


def test_checked_and_plain_conversations_go_together(tmp_path: Path):
    plain = part(tmp_path / "plain.parquet", names("p", 5), checks={"numbers": 2})
    checked = part(tmp_path / "c.parquet", names("c", 5), CHECKED_CONVERSATION, checks={"turns": 2, "numbers": 1})
    triples = [{"head": "甘草", "relation": "反", "tail": "海藻"}]
    tcm = part(tmp_path / "t.parquet", names("t", 5), TCM_CONVERSATION, triples=triples)
    assert here("mix", plain, checked, tcm, "--out", tmp_path / "m.parquet").code == 0
    mixed = {row["id"]: row for row in rows(tmp_path / "m.parquet")}
    assert mixed["p0"]["checks"]["numbers"] == 2 and mixed["p0"]["checks"]["turns"] is None
    assert mixed["c0"]["checks"]["turns"] == 2 and mixed["c0"]["triples"] is None
    assert mixed["t0"]["triples"] == triples


def test_documents_and_preferences(tmp_path: Path):
    document = {**dict.fromkeys(DOCUMENT.names), "id": "d", "text": "感冒由病毒引起。"}
    pq.write_table(pa.Table.from_pylist([document], schema=DOCUMENT), tmp_path / "d.parquet")
    turns = [{"role": "user", "content": "问"}]
    pair = {**dict.fromkeys(PREFERENCE.names), "id": "p", "prompt": turns, "chosen": turns, "rejected": turns}
    pq.write_table(pa.Table.from_pylist([pair], schema=PREFERENCE), tmp_path / "p.parquet")
    for name, record in (("d", b"document/1"), ("p", b"preference/1")):
        assert here("mix", tmp_path / f"{name}.parquet:epochs=3", "--out", tmp_path / "m.parquet", "--fresh").code == 0
        assert (
            ids(tmp_path / "m.parquet")
            and pq.read_schema(tmp_path / "m.parquet").metadata[b"datatools.schema"] == record
        )
    refused = here("mix", tmp_path / "d.parquet", tmp_path / "p.parquet", "--out", tmp_path / "x.parquet")
    assert refused.code == 2 and "p.parquet: holds preference/1 records" in refused.line
    assert not (tmp_path / "x.parquet").exists()


def test_a_mixture_can_be_mixed_again(two: tuple[Path, Path], tmp_path: Path):
    here("mix", f"{two[0]}:epochs=2", two[1], "--out", tmp_path / "m.parquet")
    assert here("mix", tmp_path / "m.parquet", "--out", tmp_path / "n.parquet").code == 0
    again = rows(tmp_path / "n.parquet")
    assert {row["mix_source"] for row in again} == {"m.parquet"} and {row["epoch"] for row in again} == {1}
    assert sorted(ids(tmp_path / "n.parquet")) == sorted(ids(tmp_path / "m.parquet"))


def test_a_folder_is_one_part(two: tuple[Path, Path], tmp_path: Path):
    folder = tmp_path / "books"
    folder.mkdir()
    part(folder / "one.parquet", names("o", 10))
    part(folder / "two.parquet", names("t", 10))
    (folder / "two.trace.parquet").write_bytes(b"not to be read")
    ended = here("mix", f"{folder}:priority=2", two[1], "--out", tmp_path / "m.parquet", "--json")
    assert ended.summary["composition"]["books"]["rows"] == 20


def test_a_recipe_holds_the_parts(two: tuple[Path, Path], tmp_path: Path):
    recipe = tmp_path / "mix.toml"
    recipe.write_text(
        f'[mix]\ntokens = "5k"\n[[mix.sources]]\npath = "{two[0]}"\nname = "web"\npriority = 16\n'
        f'[[mix.sources]]\npath = "{two[1]}"\n',
        encoding="utf-8",
    )
    ended = here("mix", "--recipe", recipe, "--out", tmp_path / "m.parquet", "--json")
    assert ended.code == 0 and ended.summary["composition"]["web"]["priority"] == 16
    assert sum(part["tokens"] for part in ended.summary["composition"].values()) == pytest.approx(5000, rel=0.02)
    recipe.write_text('[mix]\nsources = "a.parquet"\n', encoding="utf-8")
    refused = here("mix", "--recipe", recipe, "--out", tmp_path / "m.parquet")
    assert refused.code == 2 and "[[mix.sources]]" in refused.line
    recipe.write_text('[[mix.sources]]\npath = "a"\npriorty = 16\n', encoding="utf-8")
    refused = here("mix", "--recipe", recipe, "--out", tmp_path / "m.parquet")
    assert refused.code == 2 and "number 1" in refused.line and "did you mean priority?" in refused.line


def test_what_cannot_be_mixed_is_one_line(two: tuple[Path, Path], tmp_path: Path):
    pq.write_table(pa.Table.from_pylist([], schema=CONVERSATION), tmp_path / "empty.parquet")
    pq.write_table(pa.table({"messages": ["no list"]}), tmp_path / "foreign.parquet")
    pq.write_table(pa.Table.from_pylist([], schema=TRIPLE), tmp_path / "graph.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not quite")
    (tmp_path / "lines.jsonl").write_text('{"messages": []}\n')
    content, column = two[0].read_bytes(), pq.read_metadata(two[0]).row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    (tmp_path / "damaged.parquet").write_bytes(content[:start] + bytes(40) + content[start + 40 :])
    cases: list[tuple[tuple[object, ...], str]] = [
        ((), "at least"),
        ((tmp_path / "missing.parquet",), "no such file"),
        ((tmp_path / "empty.parquet",), "no rows"),
        ((tmp_path / "foreign.parquet",), "foreign.parquet: field 'id' of conversation/1 is missing; `datatools check"),
        ((tmp_path / "lines.jsonl",), "is no parquet file; `datatools check"),
        ((tmp_path / "damaged.parquet",), "damaged.parquet: is damaged"),
        ((f"{tmp_path / 'empty.parquet'}:weight=1", f"{two[0]}:weight=1"), "empty.parquet: holds no text"),
        ((tmp_path / "graph.parquet",), "triple/1"),
        ((tmp_path / "broken.parquet",), "broken.parquet"),
        ((two[0], two[0]), "named twice"),
        ((f"{two[0]}:weight=2", two[1]), "b.parquet: has no weight"),
        ((f"{two[0]}:tokens=1",), "no row fits"),
    ]
    for number, (inputs, said) in enumerate(cases):
        ended = here("mix", *inputs, "--out", tmp_path / f"out{number}.parquet")
        assert ended.code == 2 and said in ended.line, (inputs, ended)
        assert not (tmp_path / f"out{number}.parquet").exists()
    assert here("mix", two[0], "--out", two[0]).code == 2


def test_other_settings_on_the_same_folder_are_refused(two: tuple[Path, Path], tmp_path: Path):
    here("mix", *two, "--out", tmp_path / "m.parquet")
    refused = here("mix", f"{two[0]}:priority=2", two[1], "--out", tmp_path / "m.parquet")
    assert refused.code == 2 and "priority=2" in refused.line and "--fresh" in refused.line
    assert here("mix", f"{two[0]}:priority=2", two[1], "--out", tmp_path / "m.parquet", "--fresh").code == 0


def test_the_report_shows_the_order(two: tuple[Path, Path], tmp_path: Path):
    here("mix", f"{two[0]}:priority=9", two[1], "--out", tmp_path / "m.parquet")
    assert here("report", tmp_path / "m.parquet", "--out", tmp_path / "m.html").code == 0
    page = (tmp_path / "m.html").read_text(encoding="utf-8")
    assert 'id="order"' in page and 'data-part="a.parquet"' in page and "<path" in page


@pytest.mark.slow
def test_killed_and_run_again_gives_the_same_bytes(tmp_path: Path):
    inputs = [part(tmp_path / f"{name}.parquet", names(name, 30_000)) for name in ("a", "b")]
    assert command("mix", *inputs, "--out", tmp_path / "whole.parquet").code == 0
    out = tmp_path / "m.parquet"
    for sign in ("sort/rows", "sort/piece-0000"):
        process = started("mix", *inputs, "--out", out)
        assert killed_when(process, lambda sign=sign: (tmp_path / "m.work" / sign).exists())
        assert not out.exists()
    assert command("mix", *inputs, "--out", out).code == 0
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not (tmp_path / "m.work" / "sort").exists()
