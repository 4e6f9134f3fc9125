"""What `tcm` has a model write: an instruction and an answer for every plan, both checked against the plan's facts."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import xxhash

from datatools.checks.check import Checked, check_question
from datatools.checks.claims import claims
from datatools.checks.decline import declines
from datatools.checks.drugs import unlisted_drugs
from datatools.checks.leakage import leakage
from datatools.checks.medical import ANY_QUESTION, check_conversation
from datatools.graph.graph import LABELS
from datatools.graph.plan import FREE, MATERIAL, TASKS, UNANSWERABLE, VOICES, Plan, lines
from datatools.graph.question import core_of
from datatools.llm.errors import Failure
from datatools.llm.reply import plain_text
from datatools.llm.request import Reply, Request
from datatools.llm.runner import Runner
from datatools.llm.tokens import estimate, estimate_messages
from pipelines.ask_dry_run import Foreseen
from pipelines.ask_items import AskSettings, Made, Usage
from pipelines.estimate import assumed
from pipelines.tcm_graph import Loaded
from prompts.load import Prompt
from prompts.load import load as load_prompt

QUESTION_TOKENS = 60.0  # of a reply that is an instruction, and of an answer at least; assumed
TRIES = 2  # a reply that fails a check is asked for once more
# What is wrong beyond use: dropped when the second try has it too. What else fires stays in `flags`.
_BROKEN = frozenset(
    ("empty", "truncated", "wrong_language", "leakage", "repetition", "too_short", "too_long", "url_not_in_source")
) | frozenset(("number_not_in_source", "unsupported", "claim_contradicts_graph", "off_subject"))
UNDECLINED = "answered_unanswerable"
_MAY_BE_WRONG = frozenset(("editing", "unanswerable"))  # the question holds what is not so, on purpose
_MENDED = re.compile("误|错|改|不符|应为|应作|更正|(?i:mistake|wrong|correct|chang|instead|should)")
_FROM_A_PATIENT = frozenset(("consultation", "recommendation", "unanswerable"))  # elsewhere a case is told
_APOLOGIES = ("抱歉", "很抱歉", "对不起", "I'm sorry", "I am sorry")
_SHORT = frozenset(("title", "classification", "qa", "extraction"))
_SHORT_ANSWER = replace(ANY_QUESTION, answer_zh=(1, 3200), answer_en=(2, 12000))
# The flag of a dropped row, and which value of the checks it is about.
_VALUES = {
    "number_not_in_source": "numbers_missing",
    "claim_contradicts_graph": "claims_contradicted",
    "unsupported": "support",
    "repetition": "repetition",
    "leakage": "leakage",
    "too_short": "answer_length",
    "too_long": "answer_length",
}


@dataclass(frozen=True)
class TcmAskSettings(AskSettings):
    """What shapes the rows. Defaults are the command line's."""

    language: str = "zh"
    per_entity: int = 4
    types: tuple[str, ...] = ()  # entity types; all there are when empty
    tasks: tuple[str, ...] = tuple(TASKS)
    lexicon: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.language not in ("zh", "en"):
            raise ValueError(f"--language {self.language}: must be zh or en")
        if self.per_entity < 1:
            raise ValueError(f"--per-entity {self.per_entity}: must be 1 or more")
        for task in self.tasks:
            if task not in TASKS:
                raise ValueError(f"--tasks {task}: with a model, must be of {', '.join(TASKS)}")
        if self.lexicon is not None and not Path(self.lexicon).is_file():
            raise ValueError(f"--lexicon {self.lexicon}: no such file")


class Writer:
    """Writes one row a plan. Its prompts are loaded before any work begins: a bad one stops at once."""

    def __init__(self, settings: TcmAskSettings, loaded: Loaded) -> None:
        self.loaded = loaded
        self._settings = settings
        self._prompts: dict[str, Prompt] = {
            step: load_prompt("tcm", step, settings.language, "other", settings.prompts)
            for step in ("question", "answer")
        }
        for prompt in self._prompts.values():  # one that asks for what no plan has, or lacks a task, stops here
            for task in settings.tasks:
                try:
                    for sort in UNANSWERABLE if task == "unanswerable" else ("",):
                        for voice in VOICES:
                            prompt.messages(**_variables("", "", [""], "", task, voice, "", sort, ""), question="")
                except KeyError as error:
                    raise ValueError(str(error.args[0])) from error

    def prompt_names(self) -> list[str]:
        """Settings a rerun must share: another prompt gives other rows."""
        return sorted(prompt.name for prompt in self._prompts.values())

    async def made(self, runner: Runner, plan: Plan) -> Made:
        """The row of a plan, or why there is none."""
        made, usage = Made(), Usage()
        shown = lines(plan.facts, self.loaded.facts)
        question = await self._asked(runner, plan, shown, "", made, usage)
        if question is None:
            return made
        answer = await self._asked(runner, plan, shown, question[0], made, usage)
        if answer is not None:
            made.rows.append(self._row(plan, question[0], *answer, usage))
        return made

    async def _asked(
        self, runner: Runner, plan: Plan, shown: list[str], question: str, made: Made, usage: Usage
    ) -> tuple[str, Checked] | None:
        """A reply that passes its checks, an answer where there is a question; None with the reason in `made`."""
        step = "answer" if question else "question"
        best: tuple[str, Checked] | None = None
        for sample in range(TRIES):
            reply = await runner.ask(self._request(step, plan, shown, question, sample))
            if isinstance(reply, Failure):
                made.fail(plan.id, plan.facts[0].triple.source, step, reply)
                return None
            usage.add(reply)
            text = plain_text(reply.text)
            checked = (
                self._check(plan, shown, question, text, reply) if question else self._check_question(plan, shown, text)
            )
            if best is None or _worth(checked) < _worth(best[1]):
                best = text, checked
            if not checked.flags:
                break
        assert best is not None
        text, checked = best
        if rule := next((flag for flag in checked.flags if flag in _BROKEN), ""):
            value = checked.values.get(_VALUES.get(rule, ""))
            value = None if value is None else float(value)
            made.drop(plan.id, plan.facts[0].triple.source, step, rule, text, value=value)
            return None
        return best

    def foreseen(self, plan: Plan) -> Foreseen:
        """What a plan takes, as far as its facts tell."""
        shown = lines(plan.facts, self.loaded.facts)
        first = self._request("question", plan, shown, "", 0)
        answer = estimate_messages(self._messages("answer", plan, shown, ""))
        replies = [QUESTION_TOKENS, max(QUESTION_TOKENS, estimate("\n".join(shown)))]
        calls = assumed([estimate_messages(first.messages), answer + QUESTION_TOKENS], replies)
        return Foreseen([calls], first, rounds=2)

    def _request(self, step: str, plan: Plan, shown: list[str], question: str, sample: int) -> Request:
        return Request(
            self._messages(step, plan, shown, question),
            temperature=self._settings.temperature,
            # Plans of an entity that share their words are told apart; never sent.
            sample=TRIES * plan.number + sample,
            reasoning_effort=self._settings.reasoning_effort,
        )

    def _messages(self, step: str, plan: Plan, shown: list[str], question: str) -> list[dict[str, str]]:
        chinese = self._settings.language == "zh"
        type_ = LABELS.get(plan.subject_type, plan.subject_type) if chinese else plan.subject_type
        variables = _variables(
            plan.subject, type_, shown, lines([plan.focus], self.loaded.facts)[0], plan.task, plan.voice,
            plan.other, plan.sort, plan.premise[0],
        )  # fmt: skip
        return self._prompts[step].messages(**variables, question=question)

    def _check_question(self, plan: Plan, shown: list[str], text: str) -> Checked:
        """Flags of an instruction; a text that it brings along is its own, whatever that is called."""
        language, said = self._settings.language, "\n".join(shown)
        source = f"{said}\n{text}" if plan.task in MATERIAL else said
        flags = list(check_question(text, source, language=language))
        flags = [flag for flag in flags if flag not in ("too_long", "too_short") or not text]
        length = len(text.strip())
        if length > (1500 if language == "zh" else 4000):
            flags.append("too_long")
        graph = self.loaded.knowledge.graph
        wrong: tuple[str, ...] = ()
        if graph is not None and plan.task not in _MAY_BE_WRONG:
            wrong = claims(text, graph, self.loaded.knowledge.lexicon).contradicted
        if wrong:
            flags.append("claim_contradicts_graph")
        return Checked({"claims_contradicted": len(wrong)}, tuple(flags))

    def _check(self, plan: Plan, shown: list[str], question: str, answer: str, reply: Reply) -> Checked:
        settings = self._settings
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        said = "\n".join((*shown, question))
        checked = check_conversation(
            turns, said, self.loaded.knowledge,
            language=settings.language,
            finish_reason=reply.finish_reason or "stop",
            limits=_SHORT_ANSWER if plan.task in _SHORT else ANY_QUESTION,
        )  # fmt: skip
        values, flags = dict(checked.values), list(checked.flags)
        if drugs := unlisted_drugs(answer, said):  # medicines by trade name and the ends of generic names
            values["entities_missing"] += len(drugs)
            flags += [] if "unsupported_entity" in flags else ["unsupported_entity"]
        if plan.task in FREE and "unsupported" in flags:
            flags.remove("unsupported")
        if plan.task not in _FROM_A_PATIENT and "red_flag_without_advice" in flags:
            flags.remove("red_flag_without_advice")
        if plan.sort:
            # 我不能判断 is a leak elsewhere; here it is what has to be said, without the apology of a machine.
            leaks = [
                phrase
                for phrase in leakage(question, answer, said)
                if not declines(phrase) or phrase.startswith(_APOLOGIES)
            ]
            values["leakage"] = len(leaks)
            flags = [flag for flag in flags if flag != "leakage" or leaks]
            if not declines(_without(plan, answer), plan.premise[1]):
                flags.append(UNDECLINED)
        if "claim_contradicts_graph" in flags:
            wrong = self._contradicted(plan, question, answer)
            values["claims_contradicted"] = len(wrong)
            flags = [flag for flag in flags if flag != "claim_contradicts_graph" or wrong]
        if not self._about(plan, question + answer):
            flags.append("off_subject")
        return Checked(values, tuple(flags))

    def _contradicted(self, plan: Plan, question: str, answer: str) -> list[str]:
        """Contradicted claims but those that an answer repeats to deny or mend them."""
        lexicon, graph = self.loaded.knowledge.lexicon, self.loaded.knowledge.graph
        assert graph is not None
        spared: tuple[str, ...] = ()
        if plan.premise[1] and declines(answer, plan.premise[1]):
            spared = claims(f"{plan.premise[0]}。", graph, lexicon).contradicted
        elif plan.task == "editing" and _MENDED.search(answer):
            spared = claims(question, graph, lexicon).contradicted
        return [words for words in claims(answer, graph, lexicon).contradicted if words not in spared]

    def _about(self, plan: Plan, text: str) -> bool:
        """Whether question or answer name the entity, by any of its names."""
        known = self.loaded.facts.tails("alias", plan.subject)
        return any(name in text for name in (plan.subject, core_of(plan.subject), *known) if name)

    def _row(self, plan: Plan, question: str, answer: str, checked: Checked, usage: Usage) -> dict[str, Any]:
        triples = list(dict.fromkeys(fact.triple for fact in plan.facts))
        said = "\n".join("\t".join(triple[:3]) for triple in triples)
        return {
            "id": xxhash.xxh3_128_hexdigest(f"{plan.id}\0{question}\0{answer}".encode()),
            "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
            "task": plan.task,
            "language": self._settings.language,
            "source_id": xxhash.xxh3_128_hexdigest(said.encode()),
            "source": triples[0].source,
            "source_type": "encyclopedia",
            "generator": self._settings.model,
            "prompt": " ".join(self._prompts[step].name for step in ("question", "answer")),
            "checks": checked.values,
            "flags": list(checked.flags),
            "usage": usage.record(),
            "triples": [{"head": t.head, "relation": t.relation, "tail": t.tail} for t in triples],
            "subject": plan.subject,
            "subject_type": plan.subject_type,
            "kind": plan.sort or plan.task,
        }


def _variables(
    subject: str, type_: str, facts: list[str], focus: str, task: str, voice: str, other: str, sort: str, premise: str
) -> dict[str, Any]:
    """What a prompt is given."""
    return {
        "subject": subject,
        "subject_type": type_,
        "facts": facts,
        "focus": focus,
        "task": task,
        "voice": voice,
        "other": other,
        "sort": sort,
        "premise": premise,
    }


def _without(plan: Plan, answer: str) -> str:
    """The answer without what it quotes of the facts: 不能见物 of a disease declines nothing."""
    for fact in plan.facts:
        if len(fact.tail) > len(plan.premise[1]) and fact.kind.prose:
            answer = answer.replace(fact.tail, "")
    return answer


def _worth(checked: Checked) -> tuple[bool, int]:
    """The less the better: usable before unusable, then by the number of flags."""
    return any(flag in _BROKEN for flag in checked.flags), len(checked.flags)
