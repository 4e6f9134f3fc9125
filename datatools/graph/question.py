"""A question with its answer, and what all tasks need to make one."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import xxhash

from datatools.graph.facts import Fact
from datatools.graph.graph import Triple
from datatools.graph.unlike import alike

_SUFFIX = re.compile("(?:证|病|汤|散|丸|饮|丹|法)$")


@dataclass(frozen=True)
class Question:
    """A question with its answer, the triples it rests on, and the entity it is about."""

    task: str
    kind: str
    subject: str
    subject_type: str
    question: str
    answer: str
    triples: tuple[Triple, ...]


def question_of(
    task: str, fact: Fact, question: str, answer: str, used: Sequence[Fact], subject: tuple[str, str] = ("", "")
) -> Question:
    """A question about the head of a fact, or about the `subject` (name and type), resting on the facts `used`."""
    name, type_ = subject if subject[0] else (fact.head, fact.triple.head_type)
    triples = tuple(dict.fromkeys(one.triple for one in used))
    return Question(task, fact.kind.name, name, type_, question, answer, triples)


def gives_away(fact: Fact) -> bool:
    """Whether what is told holds the name that is asked for, or most of it."""
    core = core_of(fact.head)
    if fact.kind.prose and len(core) > 3 and alike(core, fact.tail) >= 0.5:
        return True
    return core in fact.tail or fact.tail in core or (fact.kind.name == "alias" and bool(set(core) & set(fact.tail)))


def core_of(name: str) -> str:
    """A name without the word that says what it is: 麻黄汤 → 麻黄, 风热感冒证 → 风热感冒."""
    return _SUFFIX.sub("", name)


def is_in_name(fact: Fact) -> bool:
    """Whether the head's name says the tail: 钩藤 of 钩藤散, 温肺止流 of 温肺止流丹."""
    return fact.tail in fact.head or core_of(fact.head) in fact.tail


def listed(facts: Sequence[Fact]) -> str:
    """Their tails, as a Chinese sentence lists them."""
    return "、".join(dict.fromkeys(fact.tail for fact in facts))


def draw(seed: int, *words: str) -> random.Random:
    """Choices that are the same wherever and whenever the same words are asked about."""
    return random.Random(xxhash.xxh3_64_intdigest("\0".join((str(seed), *words)).encode()))
