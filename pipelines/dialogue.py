"""Dialogue: patient cases become consultations of several turns.

cases → a persona for each → two agents that talk, or one structured call → checks → one parquet of Conversation rows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import xxhash

from datatools.cases.graph import LEAST, graph_cases
from datatools.cases.personas import persona_of
from datatools.cases.read import Free, Item, articles, cases
from datatools.checks.dialogue import check_dialogue
from datatools.checks.drugs import lexicon_of_drugs
from datatools.checks.medical import Knowledge, check_conversation
from datatools.clean.language import language as language_of
from datatools.engine.units import identity
from datatools.graph.read import read_graph
from datatools.io.source import Fault, Source
from datatools.llm.rules_dialogue import slot_filled
from datatools.llm.runner import Runner
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.ask_dry_run import Foreseen, estimated
from pipelines.ask_items import (
    RULES,
    Made,
    Usage,
    ask_all,
    flags_of,
    make_all,
    model_of,
    of_one,
    work_of,
    write_output,
)
from pipelines.ask_run import AskRun
from pipelines.dialogue_facts import case_of
from pipelines.dialogue_foreseen import foreseen
from pipelines.dialogue_rewrite import Real, real_dialogues, rewritten
from pipelines.dialogue_settings import DialogueSettings
from pipelines.dialogue_single import write_whole
from pipelines.dialogue_turns import PATIENT, Talk, talk
from pipelines.inputs import nothing_readable, sources_of
from pipelines.leaks import digest_of, exam_index
from prompts.load import Prompt, load
from schemas.case import Case
from schemas.dialogue import DIALOGUE

NEED = (
    "dialogue needs a model to play patient and clinician: add --model NAME --base-url URL (any OpenAI-compatible "
    "endpoint) or --model transformers:PATH; --from-kg --model rules makes slot-filled ones of a graph"
)
NO_CASES = (
    f"no disease or syndrome with {LEAST} symptoms in the graph (tails of type symptom, relations such as 症状, "
    "or a sentence under clinical_performance or 临床表现)"
)
TURN_BATCHES = (
    "turn by turn in batches: each turn waits for the one before it, so up to {} batches follow one another, each "
    "within a day; --mode single takes one"
)
VERSION = 1
RULE = "dialogue.slots@1"  # what fills the slots, as `prompt` names it
UNITS = {"cases": "cases", "corpus": "articles", "kg": "diseases and syndromes", "rewrite": "dialogues"}
PLAY = {"turns": talk, "single": write_whole}


def dialogue(inputs: Sequence[str], out: Path, settings: DialogueSettings, run: AskRun, progress: Progress) -> Summary:
    """Write dialogues about the cases in `inputs` to `out`; returns what was done.

    Raises ValueError for input or settings that cannot work, `datatools.llm.errors.Stopped` when the endpoint refuses.
    """
    began = time.monotonic()
    model = None if settings.model == RULES else model_of(settings, run, NEED)
    if model is None and run.estimates:
        raise ValueError("--dry-run: needs --model NAME; slot-filled dialogues cost nothing")
    maker = Maker(settings)
    sources, faults = sources_of(inputs, out)
    description = {
        "command": "dialogue",
        "settings": {**asdict(settings), "base_url": None, "prompts": maker.prompt_names(), "version": VERSION},
        "exams": digest_of(settings.decontaminate),
        "inputs": {source.name: identity(source.path) for source in sources},
    }
    summary = Summary("dialogue", list(inputs), unit=UNITS[settings.source])
    with work_of(out, description, run) as work:
        exams = exam_index(settings.decontaminate, work.path, progress)  # before anything is paid for
        progress.say(f"dialogue: {len(sources)} files, {settings.mode} with {settings.model} → {out}")

        def items() -> Iterator[Item | Real]:
            return limited(faults, items_of(sources, inputs, settings, progress), settings.limit)

        if model is not None and run.estimates:
            estimated(items, of_one(maker.made), maker.foreseen, [model], run, out, summary, progress)
            return summary
        summary.work = str(work.path)
        if model is None:
            counts = make_all(items(), maker.filled, work, DIALOGUE, progress)
        else:
            if run.lane == "batch" and settings.mode == "turns" and settings.source != "rewrite":
                progress.say(f"dialogue: {TURN_BATCHES.format(2 * settings.span[1])}")
            counts = ask_all(items(), maker.made, model, run, work, DIALOGUE, summary, progress)
        summary.rows_read, summary.flags = counts["read"], flags_of(counts)
        if not summary.rows_read:
            raise ValueError(NO_CASES if settings.source == "kg" else nothing_readable(inputs, faults))
        write_output(work, out, DIALOGUE, summary, exams)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def items_of(
    sources: Sequence[Source], inputs: Sequence[str], settings: DialogueSettings, progress: Progress
) -> Iterator[Item | Real]:
    """What the input holds, in order."""
    if settings.source == "rewrite":
        yield from real_dialogues(sources)
    elif settings.source == "kg":
        for path in inputs:
            graph = read_graph(path)
            for note in graph.notes:
                progress.say(note)
            yield from graph_cases(graph, Path(path).name, settings.seed)
    else:
        yield from articles(sources) if settings.source == "corpus" else cases(sources)


def limited(faults: Sequence[Fault], items: Iterator[Item | Real], limit: int | None) -> Iterator[Item | Real]:
    """The faults, then the items until `limit` of them are no faults."""
    yield from faults
    left = limit
    for item in items:
        yield item
        if left is not None and not isinstance(item, Fault):
            left -= 1
            if not left:
                return


class Maker:
    """Makes one dialogue of one item. Its prompts are loaded before any work begins: a bad one stops at once."""

    def __init__(self, settings: DialogueSettings) -> None:
        self._settings = settings
        facts = "article" if settings.source == "corpus" else "facts"
        self._knowledge = Knowledge(lexicon_of_drugs())
        self._steps = ("single",) if settings.mode == "single" else (PATIENT, settings.role)
        if settings.source == "rewrite":
            self._steps = ("rewrite",)
        steps = (*self._steps, facts, "system")
        self._prompts: dict[str, dict[str, Prompt]] = {
            language: {step: load("dialogue", step, language, "other", settings.prompts) for step in steps}
            for language in ("zh", "en")
        }

    def prompt_names(self) -> list[str]:
        """Settings a rerun must share: another prompt gives other dialogues."""
        return sorted(prompt.name for prompts in self._prompts.values() for prompt in prompts.values())

    async def made(self, runner: Runner, item: Item | Real) -> Made:
        """The dialogue of an item, or why there is none."""
        made = Made()
        if isinstance(item, Fault):
            return made.fault(item)
        made.counts["read"] += 1
        language = "zh" if language_of(item.text) in ("zh", "lzh") else "en"
        if isinstance(item, Real):
            return await self._rewritten(runner, item, language, made)
        usage = Usage()
        case: Case | None
        if isinstance(item, Free):
            prompt = self._prompts[language]["article" if self._settings.source == "corpus" else "facts"]
            case = await case_of(runner, item, prompt, self._settings, made, usage)
            if case is None:
                return made
        else:
            case = item
        found = Talk(case, language, persona_of(case, self._settings.seed), usage=usage)
        found = await PLAY[self._settings.mode](runner, found, self._settings, self._prompts[language])
        if found.failed is not None:
            return made.fail(item.id, item.source, *found.failed)
        made.rows.append(self._row(found))
        made.counts.update(f"flag:{flag}" for flag in made.rows[-1]["flags"])
        return made

    def foreseen(self, item: Item | Real) -> Foreseen | None:
        """What an item takes, as far as its words tell."""
        language = "zh" if isinstance(item, Fault) or language_of(item.text) in ("zh", "lzh") else "en"
        return foreseen(item, language, self._prompts[language], self._settings)

    async def _rewritten(self, runner: Runner, item: Real, language: str, made: Made) -> Made:
        prompt = self._prompts[language]["rewrite"]
        found = await rewritten(runner, item, language, prompt, self._knowledge.lexicon, self._settings, made)
        if found is None:
            return made
        turns, more, usage = found
        values, flags = check_conversation(turns, item.text, self._knowledge, language=language)
        made.rows.append(
            {
                **self._shared(item.id, item.source, turns, language),
                "checks": values,
                "flags": [*flags, *more],
                "usage": usage.record(),
                "dialogue": {"turns": len(turns) // 2, "ended": "end"},
                "facts": None,
                "persona": None,
            }
        )
        made.counts.update(f"flag:{flag}" for flag in made.rows[-1]["flags"])
        return made

    def filled(self, item: Item | Real) -> Made:
        """The dialogue that the rules make of a case from a graph."""
        made = Made()
        if isinstance(item, Fault):
            return made.fault(item)
        assert isinstance(item, Case)
        made.counts["read"] += 1
        persona = persona_of(item, self._settings.seed)
        said = slot_filled(item, persona, self._settings.span, self._settings.seed)
        if said is None:
            return made.drop(item.id, item.source, "dialogue", "too_few_symptoms", f"{item.diagnosis}：{item.text}")
        made.rows.append(self._row(Talk(item, "zh", persona, said, "end")))
        made.counts.update(f"flag:{flag}" for flag in made.rows[-1]["flags"])
        return made

    def _row(self, found: Talk) -> dict[str, Any]:
        case, messages = found.case, found.messages
        (values, flags), measured = check_dialogue(messages, case, self._knowledge, language=found.language)
        return {
            **self._shared(case.id, case.source, messages, found.language),
            "checks": values,
            "flags": list(flags),
            "usage": None if self._settings.model == RULES else found.usage.record(),
            "dialogue": {**measured, "ended": found.ended},
            "facts": [fact._asdict() for fact in case.facts],
            "persona": found.persona.record() if found.persona else None,
        }

    def _shared(self, id: str, source: str, turns: list[dict[str, str]], language: str) -> dict[str, Any]:
        """What every row has, however it was made."""
        prompts, settings = self._prompts[language], self._settings
        system = prompts["system"].messages(role=settings.role)[0]["content"] if settings.with_system else ""
        messages = [{"role": "system", "content": system}, *turns] if system else turns
        names = " ".join(prompts[step].name for step in self._steps)
        return {
            "id": xxhash.xxh3_128_hexdigest(json.dumps([id, messages], ensure_ascii=False).encode()),
            "messages": messages,
            "task": "dialogue",
            "language": language,
            "source_id": id,
            "source": source,
            "source_type": "consultation",
            "generator": settings.model,
            "prompt": RULE if settings.model == RULES else names,
            "role": settings.role,
        }
