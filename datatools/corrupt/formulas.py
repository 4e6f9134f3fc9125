"""Another formula: one that, by a graph, does not treat what the question and the answer speak of."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

from datatools.checks.lexicon import FORMULA, Lexicon, Mention
from datatools.graph.facts import Facts
from datatools.graph.graph import DISEASE, SYMPTOM, SYNDROME
from datatools.graph.unlike import PROSE_ALIKE, alike, groups

_TREATS = ("formula_indication", "formula_function")
_DRAWS = 200  # formulas that are looked at for one that is surely wrong
_SHORTEST = 2  # characters of an ailment's name
# Where a formula is named to be kept away from, or for comparison, another one in its place may be as good.
_NOT_MEANT = re.compile(
    r"(?:不[宜可能得用选是同]|忌|勿|禁|非|别于|区别|鉴别|不同于|相比|比较|较|或|及|与|和|、)[^。；，]{0,3}$"
)
_SUFFIX = re.compile("(?:证|病|症|候)$")


@dataclass(frozen=True)
class Formulas:
    """What a graph says of formulas: which it knows, and what each of them treats."""

    facts: Facts
    lexicon: Lexicon
    _groups: dict[str, frozenset[str]] = field(default_factory=dict)

    def other(self, question: str, answer: str, draw: Random) -> str | None:
        """The answer with a formula, wherever it names it, replaced by one that does not treat the ailment named.

        None unless the graph says that the formula of the answer treats an ailment (a disease, syndrome or symptom of
        the graph) that question or answer name, and knows of another one that it treats something else: the ailment
        stands nowhere in what the graph says of that one, no action of the two formulas is of one group, and their
        indications are not alike. The formula a question asks about stays.
        """
        mentions = [mention for mention in self.lexicon.find(answer) if mention.kind == FORMULA]
        asked = {mention.name for mention in self.lexicon.find(question)}
        counts = Counter(mention.name for mention in mentions)
        meant = [
            name
            for name in counts
            if name in self._treated
            and name not in asked
            and name not in question
            and _is_meant(name, mentions, answer)
        ]
        draw.shuffle(meant)
        for name in meant:
            ailments = [ailment for ailment in self._named(question + "\n" + answer) if self._treats(name, ailment)]
            if not ailments:
                continue
            for other in draw.sample(self._names, min(_DRAWS, len(self._names))):
                if other not in question + answer and self._surely_wrong(name, other, ailments):
                    return _replaced(answer, [mention for mention in mentions if mention.name == name], other)
        return None

    @cached_property
    def _treated(self) -> dict[str, str]:
        """Formula → all that the graph says of what it treats and does."""
        return {
            name: "\n".join(tail for kind in _TREATS for tail in self.facts.tails(kind, name))
            for name in dict.fromkeys(name for kind in _TREATS for name in self.facts.of_head.get(kind, {}))
        }

    @cached_property
    def _names(self) -> list[str]:
        """Formulas of which the graph says both what they treat and what they do."""
        return [name for name in self._treated if all(self.facts.tails(kind, name) for kind in _TREATS)]

    @cached_property
    def _ailments(self) -> re.Pattern[str]:
        names = {
            _SUFFIX.sub("", name) for kind in (DISEASE, SYNDROME, SYMPTOM) for name in self.facts.entities.get(kind, ())
        }
        longest_first = sorted((name for name in names if len(name) >= _SHORTEST), key=lambda name: (-len(name), name))
        return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def _named(self, text: str) -> list[str]:
        return list(dict.fromkeys(self._ailments.findall(text)))

    def _treats(self, formula: str, ailment: str) -> bool:
        """Whether the graph says so: by name in its indications and actions, or by an edge."""
        return ailment in self._treated.get(formula, "") or formula in self._linked.get(ailment, ())

    @cached_property
    def _linked(self) -> dict[str, set[str]]:
        """Ailment → formulas that the graph names for it, or for a syndrome of it."""
        found: dict[str, set[str]] = {}
        for head, facts in self.facts.of_head.get("syndrome_formula", {}).items():
            found.setdefault(_SUFFIX.sub("", head), set()).update(fact.tail for fact in facts)
        for disease, facts in self.facts.of_head.get("disease_syndrome", {}).items():
            for fact in facts:
                found.setdefault(_SUFFIX.sub("", disease), set()).update(found.get(_SUFFIX.sub("", fact.tail), ()))
        return found

    def _surely_wrong(self, formula: str, other: str, ailments: list[str]) -> bool:
        if any(self._treats(other, ailment) for ailment in ailments):
            return False
        if self._actions(formula) & self._actions(other):
            return False
        return alike(self._treated[formula], self._treated[other]) < PROSE_ALIKE

    def _actions(self, formula: str) -> frozenset[str]:
        if formula not in self._groups:
            self._groups[formula] = groups("\n".join(self.facts.tails("formula_function", formula)))
        return self._groups[formula]


def _is_meant(name: str, mentions: list[Mention], answer: str) -> bool:
    places = [mention for mention in mentions if mention.name == name]
    return not any(_NOT_MEANT.search(answer[max(0, mention.start - 6) : mention.start]) for mention in places)


def _replaced(answer: str, mentions: list[Mention], other: str) -> str:
    pieces, end = [], 0
    for mention in mentions:
        pieces += [answer[end : mention.start], other]
        end = mention.end
    return "".join([*pieces, answer[end:]])
