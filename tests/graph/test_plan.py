"""Plans: a task that suits the entity, its facts as the only source, every entity and task in turn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from datatools.checks.lexicon import shipped
from datatools.graph.facts import Facts, facts_of
from datatools.graph.graph import Graph, Triple
from datatools.graph.paths import mentions, path, twin
from datatools.graph.plan import TASKS, UNANSWERABLE, Plan, Planner, entities_of, even_rates, lines
from datatools.graph.question import draw
from datatools.graph.unlike import Unlike
from tests.graph.test_questions import COMPOSITIONS, FACTS, graph

ENTITIES = [(name, type_) for type_, names in entities_of(FACTS).items() for name in names]


def planned(facts: Facts = FACTS, seed: int = 0, tasks: tuple[str, ...] = tuple(TASKS), each: int = 6) -> list[Plan]:
    entities = [(name, type_) for type_, names in entities_of(facts).items() for name in names]
    planner = Planner(facts, entities, tasks, seed)
    return [planner.plan(*one, number) for one in entities if planner.can_ask(*one) for number in range(each)]


def test_what_only_stands_at_the_other_end_is_an_entity_too() -> None:
    assert ("炙甘草", "herb") in ENTITIES and "炙甘草" not in FACTS.entities["herb"]
    assert set(COMPOSITIONS) == {name for name, type_ in ENTITIES if type_ == "formula"}


def test_every_plan_rests_on_facts_of_its_entity() -> None:
    for plan in planned():
        assert plan.facts and plan.task in TASKS
        assert any(plan.subject in (fact.head, fact.tail) for fact in plan.facts)
        assert plan.subject in (plan.focus.head, plan.focus.tail)


def test_the_same_seed_gives_the_same_plans_and_another_others() -> None:
    assert planned() == planned()
    assert [plan.task for plan in planned()] != [plan.task for plan in planned(seed=1)]


def test_an_entity_has_another_task_each_time_until_all_were_drawn() -> None:
    planner = Planner(FACTS, ENTITIES, tuple(TASKS))
    order = planner.order("麻黄汤", "formula")
    assert len(set(order)) == len(order) > 12
    assert [planner.plan("麻黄汤", "formula", number).task for number in range(len(order))] == order
    assert planner.plan("麻黄汤", "formula", len(order)).task == order[0]


def test_tasks_come_out_even() -> None:
    counts = Counter(plan.task for plan in planned(each=6))
    assert set(counts) == set(TASKS)
    assert max(counts.values()) <= 6 * min(counts.values())  # half of the entities suit six tasks only
    rates = even_rates({("qa", "chain"): 30, ("qa",): 10, ("diagnosis", "qa"): 30})
    assert rates["chain"] == rates["diagnosis"] > rates["qa"]


def test_only_chosen_tasks_are_drawn() -> None:
    assert {plan.task for plan in planned(tasks=("qa", "chain"))} == {"qa", "chain"}


def test_a_chain_has_signs_therapy_and_the_whole_formula() -> None:
    chains = planned(tasks=("chain",), each=1)
    assert {plan.subject for plan in chains} >= {"麻黄汤", "麻黄", "桂枝"}
    for plan in chains:
        kinds = {fact.kind.name for fact in plan.facts}
        assert {"formula_indication", "formula_function", "composition"} <= kinds
        formula = next(fact.head for fact in plan.facts if fact.kind.name == "composition")
        assert {fact.tail for fact in plan.facts if fact.kind.name == "composition"} == set(
            COMPOSITIONS[formula].split()
        )


def test_a_formula_is_only_asked_for_where_its_herbs_are_told() -> None:
    plans = planned(tasks=("formula",), each=1)
    assert {plan.subject_type for plan in plans} == {"formula"}
    for plan in plans:
        assert {fact.tail for fact in plan.facts if fact.kind.name == "composition"} >= set(
            COMPOSITIONS[plan.subject].split()
        )
    damaged = planned(replace(FACTS, damaged=set(COMPOSITIONS)), tasks=("formula", "chain"))
    assert damaged == []


def test_a_comparison_shows_both() -> None:
    for plan in planned(tasks=("comparison",), each=1):
        assert plan.other and plan.other != plan.subject
        assert {plan.subject, plan.other} <= {fact.head for fact in plan.facts}


def test_a_false_premise_is_false_in_the_graph() -> None:
    unlike = Unlike(FACTS)
    plans = [plan for plan in planned(tasks=("unanswerable",), each=12) if plan.premise[0]]
    assert len(plans) > 10
    for plan in plans:
        sentence, tail = plan.premise
        assert plan.sort == "false_premise" and plan.subject in sentence and tail in sentence
        assert any(
            sentence == fact.kind.states[0].format(head=plan.subject, tail=tail)
            and unlike(fact.kind, plan.subject, tail)
            for fact in plan.facts
        )
    assert {plan.sort for plan in planned(tasks=("unanswerable",), each=12)} == set(UNANSWERABLE)


def test_lines_say_where_the_graph_has_more() -> None:
    every = FACTS.of_head["composition"]["麻黄汤"]
    assert lines(every, FACTS) == ["麻黄汤｜组成｜麻黄、桂枝、苦杏仁、炙甘草"]
    assert lines(every[:2], FACTS) == ["麻黄汤｜组成｜麻黄、桂枝 等"]
    assert lines(every, replace(FACTS, damaged={"麻黄汤"}))[0].endswith(" 等")


@pytest.fixture
def ailments() -> Facts:
    """Symptoms that stand in the texts of formulas and syndromes, and a disease with a way to its herbs."""
    made = graph()
    made.add(
        [
            Triple("烦渴", "indicator", "气分热盛", "symptom"),
            Triple("风寒感冒", "HAS_SYNDROME", "风寒束表证", "disease", "syndrome"),
            Triple("风寒束表证", "SYN2FOR", "麻黄汤", "syndrome", "formula"),
            Triple("风寒束表证", "SYN2THE", "发汗解表", "syndrome", "therapy"),
            Triple("风寒束表证", "clinical_performance", "临床以恶寒、无汗、脉浮紧等为特征的证候", "syndrome"),
        ]
    )
    return facts_of(made, shipped())


def test_a_symptom_finds_what_it_is_a_sign_of(ailments: Facts) -> None:
    assert [fact.head for fact in mentions(ailments, "烦渴")] == ["白虎汤"]
    assert mentions(ailments, "渴") == []  # one character is part of too many words


def test_a_way_leads_from_a_disease_to_herbs(ailments: Facts) -> None:
    way = path(ailments, "风寒感冒", "disease", (), draw(0, "x"))
    assert [fact.kind.name for fact in way][:2] == ["disease_syndrome", "syndrome_features"]
    assert [fact.tail for fact in way if fact.kind.name == "composition"] == COMPOSITIONS["麻黄汤"].split()
    assert path(ailments, "没有的病", "disease", (), draw(0, "x")) == ()


def test_a_twin_has_something_in_common() -> None:
    own = FACTS.of_head["composition"]["四君子汤"]
    other = twin(FACTS, "四君子汤", own, draw(0, "x"))
    assert set(COMPOSITIONS[other].split()) & set(COMPOSITIONS["四君子汤"].split())


def test_the_graph_of_nothing_known_has_no_plans() -> None:
    assert planned(facts_of(Graph(), shipped())) == []
