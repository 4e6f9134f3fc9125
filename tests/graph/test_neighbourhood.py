"""The neighbourhood of an entity: one step, two steps, the most telling first, and no more than asked for."""

from __future__ import annotations

from datatools.checks.lexicon import shipped
from datatools.graph.facts import facts_of
from datatools.graph.neighbourhood import neighbourhood
from tests.graph.test_questions import COMPOSITIONS, FACTS, graph


def test_one_step_and_two() -> None:
    found = neighbourhood(FACTS, "麻黄汤", "formula")
    assert {fact.tail for fact in found.own if fact.kind.name == "composition"} == set(COMPOSITIONS["麻黄汤"].split())
    assert {fact.head for fact in found.own} == {"麻黄汤"}
    assert found.named == ()
    assert {fact.head for fact in found.beyond} == {"麻黄", "桂枝"}  # the herbs of which the graph says something


def test_what_names_it_is_found_from_the_other_end() -> None:
    found = neighbourhood(FACTS, "炙甘草", "herb")
    assert {fact.head for fact in found.named} == {"麻黄汤", "四君子汤", "白虎汤", "二陈汤"}
    assert found.own == ()


def test_the_most_telling_comes_first() -> None:
    herbs = [fact.tail for fact in neighbourhood(FACTS, "四君子汤", "formula").own if fact.kind.name == "composition"]
    assert herbs[0] == "人参"  # of this formula alone
    assert herbs[-1] == "炙甘草"  # of four


def test_kinds_take_turns_and_no_part_is_longer_than_the_cap() -> None:
    own = neighbourhood(FACTS, "黄连", "herb").own
    kinds = [fact.kind.name for fact in own]
    assert len(set(kinds[: len(set(kinds))])) == len(set(kinds))
    assert all(len(part) <= 3 for part in neighbourhood(FACTS, "麻黄汤", "formula", cap=3))


def test_a_stranger_has_none() -> None:
    assert neighbourhood(FACTS, "没有的汤", "formula") == ((), (), ())
    assert neighbourhood(facts_of(graph(), shipped()), "麻黄汤", "herb").own == ()
