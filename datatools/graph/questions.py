"""Questions made from facts by rules: cloze, choice, true or false, matching, and chains of two or more steps.

Answers hold by construction. Which phrasing, which distractors and which order is a hash of the seed and of what is
asked, so the same graph and seed give the same questions whatever the number of workers.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from datatools.graph.chains import Chains
from datatools.graph.facts import Fact, Facts
from datatools.graph.graph import LABELS
from datatools.graph.kinds import Kind
from datatools.graph.near import NEAR, NearIndex
from datatools.graph.neighbourhood import neighbourhood
from datatools.graph.question import Question, core_of, draw, gives_away, is_in_name, question_of
from datatools.graph.unlike import Unlike, same_type

TASKS = ("cloze", "choice", "true_false", "matching", "chain")
VERSION = 3
_LETTERS = "ABCDEFGH"
_TRIES = 80  # draws for a distractor before a question is given up
_LONGEST_OPTION = 70


class Maker:
    """Makes the questions of one graph."""

    def __init__(self, facts: Facts, seed: int = 0) -> None:
        self.facts, self._seed = facts, seed
        self._unlike = Unlike(facts)
        self._tails = {kind: list(found) for kind, found in facts.of_tail.items()}
        self._heads = {kind: list(found) for kind, found in facts.of_head.items()}
        self._makers: dict[str, Callable[[str, str, random.Random], Iterator[Question]]] = {
            "cloze": self._clozes,
            "choice": self._choices,
            "true_false": self._statements,
            "matching": self._matchings,
            "chain": Chains(facts, seed).of,
        }

    def questions(self, entity: str, type_: str, tasks: Sequence[str], most: int) -> list[Question]:
        """Up to `most` questions about an entity of a type (感冒 is a disease and a symptom), none nearly equal to another, the tasks taking turns.

        Which task begins is drawn by the entity's name.
        """
        first = draw(self._seed, "first", type_, entity).randrange(len(tasks))
        order = [*tasks[first:], *tasks[:first]]
        streams = {task: self._makers[task](entity, type_, draw(self._seed, task, type_, entity)) for task in order}
        made: list[Question] = []
        # A statement to judge and a gap to fill may hold the same words: only within a task are they the same question.
        near = {task: NearIndex(NEAR, Counter()) for task in tasks}
        while streams and len(made) < most:
            for task in list(streams):
                found = next((new for new in streams[task] if near[task].add("", new.question) is None), None)
                if found is None:
                    del streams[task]
                elif len(made) < most:
                    made.append(found)
        return made

    def _facts_about(self, entity: str, type_: str, drawn: random.Random) -> list[Fact]:
        """Facts of an entity, the most telling first, from another place each time it is asked."""
        own = neighbourhood(self.facts, entity, type_, self._seed).own
        kinds = len({fact.kind.name for fact in own})
        begin = drawn.randrange(kinds) if kinds else 0
        found = [*own[begin:kinds], *own[:begin], *own[kinds:]]
        # What a formula is made of counts twice: it is most of what a graph of formulas knows.
        herbs = [fact for fact in found[kinds:] if fact.kind.name == "composition"]
        if herbs:
            found.insert(drawn.randrange(1, kinds + 1), herbs[0])
        return found

    # Cloze

    def _clozes(self, entity: str, type_: str, drawn: random.Random) -> Iterator[Question]:
        for fact in self._facts_about(entity, type_, drawn):
            made = self._named_cloze(fact, drawn) if fact.kind.prose else self._list_cloze(fact, drawn)
            if made:
                yield made

    def _list_cloze(self, fact: Fact, drawn: random.Random) -> Question | None:
        kind, head = fact.kind, fact.head
        if is_in_name(fact):
            return None
        every = self.facts.of_head[kind.name][head]
        others = [other.tail for other in every if other.tail != fact.tail]
        if kind.name == "composition":
            if head in self.facts.damaged or not 2 <= len(others) <= 14:
                return None
            listed = "、".join(others)
            asked = drawn.choice(
                (
                    f"填空：{head}由{listed}和____组成。",
                    f"补全方剂组成：{head}的药物组成为{listed}、____。",
                    f"{head}的组成除{listed}外，还有一味药，请填出：____。",
                    f"方剂{head}所用药物为：{listed}、____。空缺处应填哪味药？",
                )
            )
        elif len(every) == 1 and kind.blanks:
            asked = "填空：" + drawn.choice(kind.blanks).format(head=head)
        elif others and not kind.prose and kind.name not in ("alias",):
            listed = "、".join(others)
            label = kind.label
            asked = drawn.choice(
                (
                    f"填空：{head}的{label}有{listed}和____。",
                    f"补全：{head}的{label}包括{listed}、____。",
                    f"{head}的{label}，除{listed}外还有____。请填空。",
                )
            )
        elif kind.name == "alias" and len(every) == 1:
            asked = f"填空：{head}的别名是____。"
        else:
            return None
        answer = f"{fact.tail}。{self._all(kind, head)}"
        triples = every if others and kind.name != "alias" else [fact]
        return question_of("cloze", fact, asked, answer, triples)

    def _named_cloze(self, fact: Fact, drawn: random.Random) -> Question | None:
        """A description whose name is to be given, or one of a syndrome with its tongue or pulse left out."""
        label = LABELS.get(fact.triple.head_type, "名称")
        if fact.kind.name == "syndrome_features":
            signs = re.findall("(?:舌质|舌苔|脉)[^，、；。]{1,8}", fact.tail)
            if signs:
                sign = drawn.choice(signs)
                stem = re.match("舌质|舌苔|脉", sign)
                assert stem is not None
                gap = fact.tail.replace(sign, f"{stem[0]}____", 1)
                asked = f"填空：{fact.head}的临床特征为{gap}。"
                return question_of(
                    "cloze", fact, asked, f"{sign[len(stem[0]) :]}。{fact.head}的临床特征为{fact.tail}。", [fact]
                )
        if gives_away(fact) or len(self.facts.of_tail[fact.kind.name][fact.tail]) > 1:
            return None
        lead = {"therapy_for": "适用于" + fact.tail + "所致病证的治法是"}.get(fact.kind.name)
        asked = drawn.choice(
            (
                f"填空：{lead}____。" if lead else f"填空：{fact.kind.label}为“{fact.tail}”的{label}是____。",
                f"根据{fact.kind.label}写出{label}名称：“{fact.tail}”——____。",
            )
        )
        return question_of(
            "cloze", fact, asked, f"{fact.head}。{self._state(fact.kind, fact.head, fact.tail)}。", [fact]
        )

    # Choice

    def _choices(self, entity: str, type_: str, drawn: random.Random) -> Iterator[Question]:
        for fact in self._facts_about(entity, type_, drawn):
            ways = [self._choose_tail, self._choose_head]
            if fact.kind.name in ("composition", "meridian"):
                ways.append(self._choose_several)
            drawn.shuffle(ways)
            for way in ways:
                made = way(fact, drawn)
                if made:
                    yield made
                    break
        for fact in neighbourhood(self.facts, entity, type_, self._seed).named:
            made = self._choose_head(fact, drawn)
            if made:
                yield replace(made, subject=entity, subject_type=type_)

    def _choose_tail(self, fact: Fact, drawn: random.Random) -> Question | None:
        kind = fact.kind
        if (
            not kind.asks
            or is_in_name(fact)
            or len(fact.tail) > _LONGEST_OPTION
            or (kind.name == "composition" and fact.head in self.facts.damaged)
        ):
            return None
        wrong = self._wrong_tails(fact, 3, drawn)
        if len(wrong) < 3:
            return None
        return self._choice(fact, drawn.choice(kind.asks).format(head=fact.head), [fact.tail], wrong, drawn)

    def _choose_head(self, fact: Fact, drawn: random.Random) -> Question | None:
        kind = fact.kind
        if not kind.backs or gives_away(fact):
            return None
        wrong = self._wrong_heads(fact, 3, drawn)
        if len(wrong) < 3:
            return None
        return self._choice(fact, drawn.choice(kind.backs).format(tail=fact.tail), [fact.head], wrong, drawn)

    def _choose_several(self, fact: Fact, drawn: random.Random) -> Question | None:
        kind, every = fact.kind, self.facts.of_head[fact.kind.name][fact.head]
        count = min(len(every), drawn.randint(2, 4))
        if count < 2 or fact.head in self.facts.damaged:
            return None
        right = [fact.tail, *drawn.sample([other.tail for other in every if other.tail != fact.tail], count - 1)]
        wrong = self._wrong_tails(fact, 5 - count, drawn)
        if len(wrong) < 5 - count:
            return None
        asked = (
            drawn.choice(("下列药物中，属于{head}组成的有哪些？（多选）", "{head}的组成包括下列哪几味药？（多选）"))
            if kind.name == "composition"
            else drawn.choice(("{head}的归经包括下列哪几项？（多选）", "下列各经中，{head}所归的有哪些？（多选）"))
        )
        return self._choice(fact, asked.format(head=fact.head), right, wrong, drawn)

    def _choice(
        self,
        fact: Fact,
        asked: str,
        right: Sequence[str],
        wrong: Sequence[str],
        drawn: random.Random,
    ) -> Question:
        options = [*right, *wrong]
        drawn.shuffle(options)
        lines = [f"{letter}. {option}" for letter, option in zip(_LETTERS, options, strict=False)]
        letters = "".join(letter for letter, option in zip(_LETTERS, options, strict=False) if option in right)
        why = (
            self._all(fact.kind, fact.head)
            if len(right) > 1 or not fact.kind.prose
            else f"{self._state(fact.kind, fact.head, fact.tail)}。"
        )
        named = f". {right[0]}" if len(right) == 1 else ""
        answer = f"{letters}{named}\n{why}"
        return question_of("choice", fact, "\n".join([asked, *lines]), answer, self._grounds(fact))

    def _wrong_tails(self, fact: Fact, count: int, drawn: random.Random) -> list[str]:
        """Tails of the same kind and type that are surely not true of the head, and unlike one another."""
        pool, found = self._tails[fact.kind.name], list[str]()
        typed = fact.kind.name == "alias"
        for _ in range(min(_TRIES, 8 * len(pool))):
            tail = drawn.choice(pool)
            if tail in found or len(tail) > _LONGEST_OPTION or not self._unlike(fact.kind, fact.head, tail):
                continue
            if typed and not any(same_type(other, fact) for other in self.facts.of_tail["alias"][tail]):
                continue
            if fact.kind.name == "nature" and any(not self._unlike(fact.kind, "", tail, [other]) for other in found):
                continue
            found.append(tail)
            if len(found) == count:
                break
        if fact.kind.name == "nature":  # there are three sides only: 寒凉, 温热, 平
            return self._wrong_natures(fact, drawn)
        return found

    def _wrong_natures(self, fact: Fact, drawn: random.Random) -> list[str]:
        found = [tail for tail in ("寒", "热", "温", "平", "凉") if self._unlike(fact.kind, fact.head, tail)]
        drawn.shuffle(found)
        return found[:3]

    def _wrong_heads(self, fact: Fact, count: int, drawn: random.Random) -> list[str]:
        """Heads of the same type of which the tail is surely not true, unlike the right one by name and description."""
        pool, found = self._heads[fact.kind.name], list[str]()
        core = set(core_of(fact.head))
        for _ in range(_TRIES):
            head = drawn.choice(pool)
            if head == fact.head or head in found or not same_type(self.facts.of_head[fact.kind.name][head][0], fact):
                continue
            if not self._unlike(fact.kind, head, fact.tail):
                continue
            if fact.kind.prose and (len(core & set(head)) > 1 or core_of(head) in fact.tail):
                continue
            found.append(head)
            if len(found) == count:
                break
        return found

    # True or false

    def _statements(self, entity: str, type_: str, drawn: random.Random) -> Iterator[Question]:
        facts = [(fact, drawn.random() < 0.5) for fact in self._facts_about(entity, type_, drawn)]
        for fact, holds in [*facts, *((fact, not holds) for fact, holds in facts)]:
            if fact.kind.open or (fact.kind.prose and len(fact.tail) > 90):
                continue
            tail = fact.tail
            if not holds:
                wrong = self._wrong_tails(fact, 1, drawn)
                if not wrong or (fact.kind.name == "composition" and entity in self.facts.damaged):
                    continue
                tail = wrong[0]
            said = drawn.choice(fact.kind.states).format(head=fact.head, tail=tail)
            lead = drawn.choice(
                (
                    "判断正误：{}。",
                    "判断下列说法是否正确：{}。",
                    "请判断对错：{}。",
                    "“{}。”这种说法对吗？",
                    "下面的说法正确吗？{}。",
                )
            )
            why = (
                f"{self._state(fact.kind, fact.head, fact.tail)}。"
                if fact.kind.prose
                else self._all(fact.kind, fact.head)
            )
            denied = f"{why[:-1]}，不含{tail}。" if fact.kind.name == "composition" and not holds else why
            answer = f"{'正确' if holds else '错误'}。{denied}"
            yield question_of("true_false", fact, lead.format(said), answer, self._grounds(fact))

    # Matching

    def _matchings(self, entity: str, type_: str, drawn: random.Random) -> Iterator[Question]:
        kinds = [kind for kind in self.facts.kinds_of.get(entity, ()) if kind not in ("flavour",)]
        drawn.shuffle(kinds)
        for name in kinds:
            found = [fact for fact in self.facts.of_head[name][entity] if fact.triple.head_type == type_]
            if not found:
                continue
            kind = found[0].kind
            if kind.open or kind.name in ("composition", "nature"):
                continue
            fact = drawn.choice(found)
            group = self._group(fact, drawn)
            if len(group) == 4:
                yield self._matching(kind, group, fact, drawn)

    def _group(self, fact: Fact, drawn: random.Random) -> list[Fact]:
        """Four facts of one kind and type whose tails can only belong to their own heads."""
        kind, group = fact.kind, [fact]
        if len(fact.tail) > _LONGEST_OPTION or gives_away(fact):
            return group
        pool = self._heads[kind.name]
        for _ in range(_TRIES):
            other = drawn.choice(self.facts.of_head[kind.name][drawn.choice(pool)])
            if len(other.tail) > _LONGEST_OPTION or not same_type(fact, other) or gives_away(other):
                continue
            if all(
                other.head != one.head
                and self._unlike(kind, one.head, other.tail)
                and self._unlike(kind, other.head, one.tail)
                for one in group
            ):
                group.append(other)
                if len(group) == 4:
                    break
        return group

    def _matching(self, kind: Kind, group: list[Fact], fact: Fact, drawn: random.Random) -> Question:
        left, right = list(group), list(group)
        drawn.shuffle(left)
        drawn.shuffle(right)
        label = LABELS.get(fact.triple.head_type, "项目")
        lead = drawn.choice(
            (
                f"请将下列{label}与其{kind.label}配对：",
                f"配对题：为下列{label}选出对应的{kind.label}。",
                f"下列{label}各对应哪一项{kind.label}？请逐一配对。",
            )
        )
        lines = [f"{number}. {one.head}" for number, one in enumerate(left, 1)]
        lines += [f"{letter}. {one.tail}" for letter, one in zip(_LETTERS, right, strict=False)]
        answers = [f"{number}—{_LETTERS[right.index(one)]}" for number, one in enumerate(left, 1)]
        why = "\n".join(f"{self._state(kind, one.head, one.tail)}。" for one in left)
        return question_of("matching", fact, "\n".join([lead, *lines]), f"{'，'.join(answers)}。\n{why}", group)

    # Words

    def _state(self, kind: Kind, head: str, tail: str) -> str:
        return kind.states[0].format(head=head, tail=tail)

    def _all(self, kind: Kind, head: str) -> str:
        """One sentence with all that the graph says of a head under a kind."""
        tails = self.facts.tails(kind.name, head)
        if kind.name == "composition" and head not in self.facts.damaged:
            return f"{head}由{'、'.join(tails)}组成。"
        listed = "、".join(tails)
        return {
            "meridian": f"{head}归{listed}。",
            "flavour": f"{head}味{listed}。",
            "herb_function": f"{head}的功效为{listed}。",
            "formula_function": f"{head}的功用为{listed}。",
            "alias": f"{head}又称{listed}。",
            "symptom_mechanism": f"{head}多提示{listed}。",
        }.get(kind.name) or f"{self._state(kind, head, listed)}。"

    def _grounds(self, fact: Fact) -> Sequence[Fact]:
        """What an answer says besides the fact itself."""
        return [fact] if fact.kind.prose else self.facts.of_head[fact.kind.name][fact.head]
