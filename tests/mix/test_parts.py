"""What users write, and how much of everything it comes to."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.mix.parts import Part, amounts, named, parse, tokens_of


def test_a_path_alone_and_with_every_option():
    assert parse("a.parquet") == Part("a.parquet")
    assert parse("d/a.parquet:name=web,weight=2,epochs=1.5,tokens=20M,priority=16") == Part(
        "d/a.parquet", name="web", weight=2, epochs=1.5, tokens=20_000_000, priority=16
    )


def test_a_colon_in_a_name_is_part_of_it(tmp_path: Path):
    odd = tmp_path / "a:priority=2"
    odd.touch()
    assert parse(str(odd)) == Part(str(odd))
    assert parse("2026-01-02T03:04.parquet") == Part("2026-01-02T03:04.parquet")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:prioriti=2", "did you mean priority?"),
        ("a:weight=two", "weight=two must be a number"),
        ("a:weight=0", "greater than 0"),
        ("a:epochs=-1", "greater than 0"),
        ("a:epochs=1e9", "at most 1,000"),
        ("a:priority=nan", "greater than 0"),
        ("a:tokens=lots", "500k, 20M or 1.5B"),
        ("a:weight=1,weight=2", "twice"),
    ],
)
def test_what_cannot_be_is_said(text: str, said: str):
    with pytest.raises(ValueError, match=r"^a") as error:
        parse(text)
    assert said in str(error.value)


def test_a_word_behind_the_colon_of_a_file_is_no_option(tmp_path: Path):
    (tmp_path / "a.parquet").touch()
    with pytest.raises(ValueError, match="no option"):
        parse(f"{tmp_path}/a.parquet:3")


@given(st.lists(st.sampled_from(["a/x.parquet", "b/x.parquet", "x.parquet~2", "y"]), max_size=6))
def test_every_part_has_a_name_of_its_own(paths: list[str]):
    names = [part.name for part in named([Part(path) for path in paths])]
    assert len(set(names)) == len(paths)


@pytest.mark.parametrize(("text", "count"), [("5", 5), ("1_000", 1000), ("2k", 2000), ("1.5B", 1_500_000_000)])
def test_tokens_are_read_with_their_unit(text: str, count: int):
    assert tokens_of(text, "--tokens") == count


def test_without_options_everything_goes_in_once():
    assert amounts([Part("a"), Part("b")], [100, 300], None) == [100, 300]


def test_epochs_repeat_and_a_budget_ends():
    assert amounts([Part("a", epochs=3), Part("b", tokens=50)], [100, 300], None) == [300, 50]


def test_weights_are_kept_and_the_part_that_runs_short_decides():
    assert amounts([Part("a", weight=1), Part("b", weight=3)], [100, 150], None) == [50, 150]
    assert amounts([Part("a", weight=1), Part("b", weight=3, epochs=2)], [100, 150], None) == [100, 300]
    assert amounts([Part("a", weight=1), Part("b", weight=3)], [100, 150], 40) == [10, 30]


def test_a_total_without_weights_shrinks_all_alike():
    assert amounts([Part("a"), Part("b")], [100, 300], 40) == [10, 30]
    assert amounts([Part("a"), Part("b")], [100, 300], 4000) == [100, 300]


def test_a_weight_for_some_is_refused():
    with pytest.raises(ValueError, match="b: has no weight"):
        amounts([Part("a", weight=1), Part("b")], [1, 1], None)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 10**9), st.floats(0.1, 10), st.floats(0.1, 8), st.one_of(st.none(), st.integers(1, 10**9))
        ),
        min_size=1,
        max_size=5,
    ),
    st.one_of(st.none(), st.integers(1, 10**9)),
)
def test_no_limit_is_passed_and_weights_hold(rows: list[tuple[int, float, float, int | None]], total: int | None):
    parts = [Part(str(n), weight=w, epochs=e, tokens=t) for n, (_, w, e, t) in enumerate(rows)]
    supply = [row[0] for row in rows]
    found = amounts(parts, supply, total)
    for part, tokens, amount in zip(parts, supply, found, strict=True):
        assert amount <= part.epochs * tokens * (1 + 1e-9)
        assert part.tokens is None or amount <= part.tokens
    assert total is None or sum(found) <= total * (1 + 1e-9)
    ratios = [amount / part.weight for amount, part in zip(found, parts, strict=True) if part.weight]
    assert max(ratios) == pytest.approx(min(ratios))
