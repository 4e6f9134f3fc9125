"""Plans: what a model is to write about an entity: a task, the facts that are its only source, and the one in focus.

Entity-centric self-instruct (ShenNong-TCM drew ten of sixteen tasks for ten names and showed the model no facts).
Here a plan is about one entity, and a task is only drawn where the graph has what it needs: signs for a diagnosis, a
way to herbs for a chain of reasoning.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from datatools.graph.facts import Fact, Facts
from datatools.graph.graph import DISEASE, FORMULA, HERB, SYMPTOM, SYNDROME, THERAPY
from datatools.graph.neighbourhood import neighbourhood
from datatools.graph.paths import mentions, path, twin
from datatools.graph.question import draw
from datatools.graph.unlike import Unlike

OWN, NAMED, BEYOND = 20, 6, 10  # facts of each part that a prompt shows; a composition is shown whole on top
VOICES = ("patient", "family", "student", "clinician", "teacher", "reader")
FALSE_PREMISE = "false_premise"
# Why a question cannot be answered as it is put. What a graph does not say is no such reason: others may know it.
UNANSWERABLE = (FALSE_PREMISE, "personal", "certainty", "medium")
SIGNS = frozenset(
    ("formula_indication", "syndrome_features", "disease_features", "symptom_syndrome", "herb_indication")
)
_CURES = frozenset(
    ("syndrome_therapy", "formula_function", "herb_function", "therapy_for", "symptom_herb", "syndrome_formula")
)
# Kinds of which a short sentence can be surely false, by `Unlike`; on flavours and channels books differ.
_DENIABLE = frozenset(
    ("composition", "formula_source", "formula_class", "formula_function", "herb_class", "herb_family", "herb_part")
) | {"herb_function"}
_TRIES = 40
_FITS, _LEAST_RATE = 50, 1e-4


class Around(NamedTuple):
    """What the graph says around an entity, the most telling first, and what only some tasks need."""

    entity: str
    type: str
    own: tuple[Fact, ...]
    named: tuple[Fact, ...]
    beyond: tuple[Fact, ...]
    path: tuple[Fact, ...]  # signs → syndrome → therapy → formula → herbs, as far as the graph goes; empty: not far
    other: str  # one of the same type that has something in common with it; empty where there is none

    @property
    def near(self) -> int:
        """Facts one step away."""
        return len(self.own) + len(self.named)

    def has(self, kinds: frozenset[str]) -> bool:
        """Whether any fact one step away is of these kinds."""
        return any(fact.kind.name in kinds for fact in (*self.own, *self.named))


def _cured(around: Around) -> bool:
    return around.has(_CURES) or bool(around.path)


def _signs(*types: str) -> Callable[[Around], bool]:
    return lambda around: around.has(SIGNS) and (not types or around.type in types)


def _facts(count: int) -> Callable[[Around], bool]:
    return lambda around: around.near >= count


# Task → whether the facts around an entity are enough for it.
TASKS: dict[str, Callable[[Around], bool]] = {
    "open_generation": _facts(2),
    "classification": _facts(2),
    "qa": _facts(1),
    "editing": _facts(2),
    "summary": _facts(3),
    "writing": _facts(2),
    "analysis": _facts(3),
    "commonsense": _facts(1),
    "literature": _facts(2),
    "extraction": _facts(3),
    "recommendation": _cured,
    "consultation": _signs(),
    "title": _facts(2),
    "diagnosis": _signs(DISEASE, SYNDROME, SYMPTOM, FORMULA),
    "formula": lambda around: bool(around.path) and around.type != HERB,
    "treatment": _cured,
    "chain": lambda around: bool(around.path),
    "comparison": lambda around: bool(around.other),
    "unanswerable": _facts(1),
}
_TO_CURE = frozenset(("recommendation", "treatment"))
# The question of these brings a text of its own; what is written for those goes beyond what the facts say.
MATERIAL = frozenset(("editing", "summary", "extraction", "title"))
FREE = frozenset(("literature", "writing", "open_generation", "unanswerable"))


@dataclass(frozen=True)
class Plan:
    """One instruction to write. `number` counts the plans of an entity; facts are in the order the prompt has them."""

    subject: str
    subject_type: str
    number: int
    task: str
    facts: tuple[Fact, ...]
    focus: Fact
    voice: str
    other: str = ""  # what is compared with it
    sort: str = ""  # of UNANSWERABLE
    premise: tuple[str, str] = ("", "")  # a sentence that is false, and the tail it is false of

    @property
    def id(self) -> str:
        """Names the plan in trace and failed rows.

        >>> fact = None
        >>> Plan("甘草", "herb", 2, "qa", (), fact, "reader").id
        'herb/甘草#2'
        """
        return f"{self.subject_type or 'other'}/{self.subject}#{self.number}"


class Planner:
    """Draws the plans of one graph: the same graph, tasks and seed give the same plans."""

    def __init__(self, facts: Facts, entities: Sequence[tuple[str, str]], tasks: Sequence[str], seed: int = 0) -> None:
        self._facts, self._tasks, self._seed = facts, tasks, seed
        self._unlike = Unlike(facts)
        self._tails = {kind: list(found) for kind, found in facts.of_tail.items()}
        self._around = lru_cache(maxsize=64)(self._look_around)
        self._suiting = {entity: self._suits(*entity) for entity in entities}
        self._rates = even_rates(Counter(self._suiting.values()))

    def can_ask(self, entity: str, type_: str) -> bool:
        """Whether any task suits an entity."""
        return bool(self._suiting[entity, type_])

    def order(self, entity: str, type_: str) -> list[str]:
        """The tasks of an entity as they are drawn.

        A task that suits few entities is drawn the more often where it does, so that the tasks come out even: an
        exponential race with `even_rates`.
        """
        drawn = draw(self._seed, "tasks", type_, entity)
        ran = {task: -math.log(1.0 - drawn.random()) / self._rates[task] for task in self._suiting[entity, type_]}
        return sorted(ran, key=lambda task: (ran[task], task))

    def plan(self, entity: str, type_: str, number: int) -> Plan:
        """The plan of this number: every next one has another task, and other facts where there are more."""
        around = self._around(entity, type_)
        tasks = self.order(entity, type_)
        task = tasks[number % len(tasks)]
        drawn = draw(self._seed, "plan", type_, entity, str(number))
        near = [*around.own, *around.named]
        plan = Plan(entity, type_, number, task, (), near[number % len(near)], drawn.choice(VOICES))
        shown = [*around.own[:OWN], *_turned(around.named, number, NAMED), *_turned(around.beyond, number, BEYOND)]
        if task in ("chain", "formula") or (around.path and task in _TO_CURE and not around.has(_CURES)):
            return _with(plan, [*around.path, *around.own[:OWN]])
        if task == "comparison":
            others = neighbourhood(self._facts, around.other, type_, self._seed).own
            return _with(plan, [*self._whole(around.own[:OWN]), *self._whole(others[:OWN])], other=around.other)
        if task == "unanswerable":
            premise = self._premise(
                around, drawn.choice
            )  # the sort that rests on the graph: half of all where it can be
            if not premise[0] or drawn.random() < 0.5:
                return _with(plan, self._whole(shown), sort=drawn.choice(UNANSWERABLE[1:]))
            return _with(plan, self._whole(shown), sort=FALSE_PREMISE, premise=premise)
        return _with(plan, self._whole(shown))

    def _suits(self, entity: str, type_: str) -> tuple[str, ...]:
        around = self._look_around(entity, type_)
        return tuple(task for task in self._tasks if around.near and TASKS[task](around))

    def _look_around(self, entity: str, type_: str) -> Around:
        own, named, beyond = neighbourhood(self._facts, entity, type_, self._seed)
        if type_ in (SYMPTOM, SYNDROME):
            named = tuple(dict.fromkeys((*named, *mentions(self._facts, entity, self._seed))))
        drawn = draw(self._seed, "around", type_, entity)
        way = path(self._facts, entity, type_, named, drawn)
        return Around(entity, type_, own, named, beyond, way, twin(self._facts, entity, own, drawn))

    def _whole(self, facts: Iterable[Fact]) -> list[Fact]:
        """The facts, with all herbs of a formula of which one herb's fact is the formula's own."""
        found = list(facts)
        heads = {fact.head for fact in found if fact.kind.name == "composition"}
        counts = Counter(fact.head for fact in found if fact.kind.name == "composition")
        for head in sorted(heads):
            every = self._facts.of_head["composition"][head]
            if head not in self._facts.damaged and counts[head] > 1:
                found += every
        return found

    def _premise(self, around: Around, choose: Callable[[Sequence[str]], str]) -> tuple[str, str]:
        """A sentence that the graph shows to be false, such as a herb that a formula has not; empty: there is none."""
        for fact in around.own:
            if fact.kind.name not in _DENIABLE or fact.head in self._facts.damaged:
                continue
            for _ in range(_TRIES):
                tail = choose(self._tails[fact.kind.name])
                if self._unlike(fact.kind, fact.head, tail):
                    return fact.kind.states[0].format(head=fact.head, tail=tail), tail
        return "", ""


def even_rates(suiting: Mapping[tuple[str, ...], int]) -> dict[str, float]:
    """Rates at which tasks are drawn, so that each is expected to be drawn first equally often, as far as that can be.

    `suiting` counts the entities that a set of tasks suits. Found by proportional fitting: a rate is divided by how
    often its task is drawn.

    >>> {task: round(rate, 2) for task, rate in even_rates({("qa",): 10, ("qa", "chain"): 20}).items()}
    {'qa': 0.33, 'chain': 1.0}
    """
    rates = {task: 1.0 for tasks in suiting for task in tasks}
    for _ in range(_FITS):
        drawn = dict.fromkeys(rates, 0.0)
        for tasks, count in suiting.items():
            sum_ = sum(rates[task] for task in tasks)
            for task in tasks:
                drawn[task] += count * rates[task] / sum_
        rates = {task: max(rate / drawn[task], _LEAST_RATE) for task, rate in rates.items()}
        most = max(rates.values(), default=1.0)
        rates = {task: rate / most for task, rate in rates.items()}
    return rates


def entities_of(facts: Facts) -> dict[str, list[str]]:
    """Type → names: what facts are about, and what stands at the other end of them with a type of its own."""
    found = {type_: dict.fromkeys(names) for type_, names in facts.entities.items()}
    for by_tail in facts.of_tail.values():
        for tail, those in by_tail.items():
            if (type_ := those[0].kind.tail) and type_ in (HERB, FORMULA, SYNDROME, DISEASE, SYMPTOM, THERAPY):
                found.setdefault(type_, {})[tail] = None
    return {type_: list(names) for type_, names in found.items()}


def lines(facts: Iterable[Fact], known: Facts) -> list[str]:
    """Facts as a prompt shows them, a line a head and kind: `head｜label｜tail、tail`; 等 where the graph has more."""
    groups: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts:
        groups.setdefault((fact.head, fact.kind.name), []).append(fact)
    found = []
    for (head, kind), those in groups.items():
        tails = list(dict.fromkeys(fact.tail for fact in those))
        more = (
            " 等"
            if len(tails) < len(known.of_head[kind][head]) or (kind == "composition" and head in known.damaged)
            else ""
        )
        found.append(f"{head}｜{those[0].kind.label}｜{'、'.join(tails)}{more}")
    return found


def _turned(facts: Sequence[Fact], number: int, count: int) -> list[Fact]:
    """`count` facts, from another place for every number."""
    start = number * count % len(facts) if len(facts) > count else 0
    return [*facts[start:], *facts[:start]][:count]


def _with(
    plan: Plan, facts: Iterable[Fact], other: str = "", sort: str = "", premise: tuple[str, str] = ("", "")
) -> Plan:
    shown = tuple(dict.fromkeys(facts))
    return Plan(
        plan.subject, plan.subject_type, plan.number, plan.task, shown, plan.focus, plan.voice, other, sort, premise
    )
