"""Chains: questions of two or more steps through a graph, as a clinician thinks.

Signs → therapy → formula → herbs; disease → syndrome → therapy → formula → herbs; therapy → formula → herbs; formula →
herb → its channels and functions; nature and channels of a herb → functions → use; mechanism → signs.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from datatools.graph.facts import Fact, Facts
from datatools.graph.graph import DISEASE, FORMULA, HERB, SYMPTOM, SYNDROME, THERAPY
from datatools.graph.neighbourhood import neighbourhood
from datatools.graph.question import Question, gives_away, listed, question_of


class Chains:
    """Makes the chains of one graph."""

    def __init__(self, facts: Facts, seed: int = 0) -> None:
        self._facts, self._seed = facts, seed

    def of(self, entity: str, type_: str, drawn: random.Random) -> Iterator[Question]:
        """The chains of an entity of a type."""
        ways = {
            FORMULA: (self._case_to_formula, self._formula_to_herb),
            HERB: (self._herb_to_use,),
            SYNDROME: (self._cause_to_features, self._syndrome_to_herbs),
            DISEASE: (self._disease_to_herbs, self._cause_to_features),
            THERAPY: (self._therapy_to_herbs,),
            SYMPTOM: (self._symptom_to_mechanism,),
        }.get(type_, ())
        for way in drawn.sample(ways, len(ways)):
            yield from way(entity, drawn)

    def _one(self, kind: str, head: str) -> Fact | None:
        found = self._facts.of_head.get(kind, {}).get(head)
        return found[0] if found else None

    def _every(self, kind: str, head: str) -> list[Fact]:
        return self._facts.of_head.get(kind, {}).get(head, [])

    def _herbs(self, formula: str) -> list[Fact]:
        """The whole composition of a formula, or nothing."""
        return [] if formula in self._facts.damaged else self._every("composition", formula)

    def _case_to_formula(self, formula: str, drawn: random.Random) -> Iterator[Question]:
        """Signs → therapy → formula → herbs."""
        case, functions, herbs = (
            self._one("formula_indication", formula),
            self._every("formula_function", formula),
            self._herbs(formula),
        )
        if case is None or not functions or not herbs or gives_away(case):
            return
        source = self._one("formula_source", formula)
        asked = drawn.choice(
            (
                f"患者证见：{case.tail}。请按“立法—选方—用药”的思路作答。",
                f"某患者{case.tail}。试述治法、所选方剂及其药物组成。",
                f"证属“{case.tail}”，请依次写出治法、方名和组成药物。",
            )
        )
        said = f"（{source.tail}）" if source else ""
        answer = f"立法：{listed(functions)}。\n选方：{formula}{said}。\n用药：{listed(herbs)}。"
        used = [case, *functions, *([source] if source else []), *herbs]
        yield question_of("chain", case, asked, answer, used)

    def _formula_to_herb(self, formula: str, drawn: random.Random) -> Iterator[Question]:
        """Formula → one of its herbs → what the herb does."""
        beyond = neighbourhood(self._facts, formula, FORMULA, self._seed).beyond
        told = {fact.head for fact in beyond if fact.kind.name == "herb_function"}
        for herb in self._every("composition", formula):
            if herb.tail not in told:
                continue
            functions, channels = self._every("herb_function", herb.tail), self._every("meridian", herb.tail)
            if not functions or not channels:
                continue
            asked = drawn.choice(
                (
                    f"{formula}中用到了{herb.tail}，请说明{herb.tail}的归经和功效。",
                    f"试析{formula}中{herb.tail}一药：它归哪些经，有什么功效？",
                    f"{herb.tail}是{formula}的组成药物之一，它的归经与功效分别是什么？",
                )
            )
            known = f"归经：{herb.tail}归{listed(channels)}。\n功效：{listed(functions)}。"
            answer = f"{formula}的组成中含有{herb.tail}。\n{known}"
            yield question_of("chain", herb, asked, answer, [herb, *channels, *functions])

    def _herb_to_use(self, herb: str, drawn: random.Random) -> Iterator[Question]:
        """Nature and channels → functions → indications."""
        natures, channels, functions = (self._every(kind, herb) for kind in ("nature", "meridian", "herb_function"))
        use = self._one("herb_indication", herb)
        if not (natures and channels and functions and use):
            return
        flavours = self._every("flavour", herb)
        asked = drawn.choice(
            (
                f"请由性味、归经推及功效、主治，说明中药{herb}的应用。",
                f"按“性味—归经—功效—主治”的思路介绍{herb}。",
                f"{herb}的性味归经如何？由此有哪些功效，用于哪些病证？",
            )
        )
        taste = "、".join(fact.tail for fact in flavours)
        answer = (
            f"性味：{f'味{taste}，' if taste else ''}性{listed(natures)}。\n归经：归{listed(channels)}。\n"
            f"功效：{listed(functions)}。\n主治：{use.tail}。"
        )
        yield question_of("chain", use, asked, answer, [*flavours, *natures, *channels, *functions, use])
        formulas = self._facts.of_tail.get("composition", {}).get(herb, [])
        for formula in drawn.sample(formulas, min(2, len(formulas))):
            source = self._one("formula_source", formula.head)
            functions_of = self._every("formula_function", formula.head)
            if source and functions_of:
                asked = f"请举出一首含有{herb}且出自{source.tail}的方剂，并说明其功用。"
                known = f"出处：{source.tail}。\n功用：{listed(functions_of)}。"
                answer = f"{formula.head}。\n组成：{formula.head}的组成中含有{herb}。\n{known}"
                yield question_of(
                    "chain", formula, asked, answer, [formula, source, *functions_of], subject=(herb, HERB)
                )

    def _cause_to_features(self, entity: str, drawn: random.Random) -> Iterator[Question]:
        """Mechanism → signs."""
        stem = "syndrome" if self._one("syndrome_features", entity) else "disease"
        cause, signs = self._one(f"{stem}_cause", entity), self._one(f"{stem}_features", entity)
        if cause is None or signs is None:
            return
        asked = drawn.choice(
            (
                f"试述{entity}的病机，并说明由此产生的临床表现。",
                f"{entity}是怎样形成的？临床上有哪些表现？",
                f"请从病机到临床表现，说明什么是{entity}。",
                f"简述{entity}的病因病机与临床特征。",
            )
        )
        answer = f"病机：{cause.tail}。\n临床表现：{signs.tail}。"
        yield question_of("chain", signs, asked, answer, [cause, signs])

    def _symptom_to_mechanism(self, symptom: str, drawn: random.Random) -> Iterator[Question]:
        """Symptom → where → syndromes and mechanisms it speaks for (a graph tells 肾虚 and 气逆 alike) → ailments."""
        places, signs = self._every("symptom_place", symptom), self._every("symptom_mechanism", symptom)
        cause, seen = self._one("symptom_cause", symptom), self._every("symptom_seen", symptom)
        steps = [
            ("病位", "病位", places),
            ("所提示的证候或病机", "多提示", signs),
            ("病因病机", "病因病机", [cause] if cause else []),
            ("常见病证", "常见于", seen),
        ]
        told = [(label, found) for _, label, found in steps if found]
        if len(told) < 2:
            return
        wanted = [asked_for for asked_for, _, found in steps if found]
        labels = f"{'、'.join(wanted[:-1])}及{wanted[-1]}"
        asked = drawn.choice(
            (
                f"症见{symptom}，请依次说明其{labels}。",
                f"辨证时见到{symptom}，试分析其{labels}。",
                f"怎样由{symptom}推求{labels}？",
            )
        )
        answer = "\n".join(f"{label}：{listed(found)}。" for label, found in told)
        yield question_of("chain", told[-1][1][0], asked, answer, [fact for _, found in told for fact in found])

    def _disease_to_herbs(self, disease: str, drawn: random.Random) -> Iterator[Question]:
        """Disease → syndrome → therapy → formula → herbs."""
        for syndrome in self._every("disease_syndrome", disease):
            yield from self._treated(
                f"{disease}辨证为{syndrome.tail}", syndrome.tail, [syndrome], drawn, (disease, DISEASE)
            )

    def _syndrome_to_herbs(self, syndrome: str, drawn: random.Random) -> Iterator[Question]:
        yield from self._treated(f"患者辨证为{syndrome}", syndrome, [], drawn, (syndrome, SYNDROME))

    def _treated(
        self, said: str, syndrome: str, before: list[Fact], drawn: random.Random, subject: tuple[str, str]
    ) -> Iterator[Question]:
        therapies = self._every("syndrome_therapy", syndrome)
        for formula in self._every("syndrome_formula", syndrome):
            herbs = self._herbs(formula.tail)
            if not herbs:
                continue
            functions = self._every("formula_function", formula.tail)
            asked = drawn.choice((f"{said}，请写出治法、代表方及其药物组成。", f"{said}，应如何立法、选方、用药？"))
            way = therapies or functions
            if not way:
                continue
            answer = f"治法：{listed(way)}。\n选方：{formula.tail}。\n用药：{listed(herbs)}。"
            yield question_of("chain", formula, asked, answer, [*before, *way, formula, *herbs], subject=subject)

    def _therapy_to_herbs(self, therapy: str, drawn: random.Random) -> Iterator[Question]:
        """Therapy → a formula that follows it → its herbs."""
        formulas = self._facts.of_tail.get("formula_function", {}).get(therapy, [])
        target = self._one("therapy_for", therapy)
        for formula in drawn.sample(formulas, min(3, len(formulas))):
            herbs = self._herbs(formula.head)
            source = self._one("formula_source", formula.head)
            if not herbs or source is None:
                continue
            asked = drawn.choice(
                (
                    f"治宜{therapy}，请举出一首出自{source.tail}的方剂，并写出其组成。",
                    f"若立法为{therapy}，{source.tail}中有哪首方剂可用？请举一首，并写出药物组成。",
                )
            )
            why = f"{therapy}法适用于{target.tail}所致的病证。\n" if target else ""
            answer = f"{formula.head}。\n{why}组成：{listed(herbs)}。"
            used = [formula, source, *herbs, *([target] if target else [])]
            yield question_of("chain", formula, asked, answer, used, subject=(therapy, THERAPY))
