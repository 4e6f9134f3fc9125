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

from datatools.cases.personas import persona_of
from datatools.cases.read import Free, Item, articles, cases
from datatools.checks.dialogue import check_dialogue
from datatools.checks.medical import Knowledge
from datatools.clean.language import language as language_of
from datatools.engine.units import identity
from datatools.engine.work import open_work
from datatools.io.source import Fault, Source
from datatools.llm.runner import Runner
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.ask_items import AskRun, Made, Usage, ask_all, flags_of, provider_of, write_output
from pipelines.dialogue_facts import case_of
from pipelines.dialogue_settings import DialogueSettings
from pipelines.dialogue_single import write_whole
from pipelines.dialogue_turns import PATIENT, Talk, talk
from pipelines.inputs import nothing_readable, sources_of
from prompts.load import Prompt, load
from schemas.case import Case
from schemas.dialogue import DIALOGUE

NEED = (
    "dialogue needs a model to play patient and clinician: add --model NAME --base-url URL (any OpenAI-compatible "
    "endpoint) or --model transformers:PATH; --from-kg --model rules makes slot-filled ones of a graph"
)
VERSION = 1
PLAY = {"turns": talk, "single": write_whole}


def dialogue(inputs: Sequence[str], out: Path, settings: DialogueSettings, run: AskRun, progress: Progress) -> Summary:
    """Write dialogues about the cases in `inputs` to `out`; returns what was done.

    Raises ValueError for input or settings that cannot work, `datatools.llm.errors.Stopped` when the endpoint refuses.
    """
    began = time.monotonic()
    provider = provider_of(settings, run, NEED)
    maker = Maker(settings)
    sources, faults = sources_of(inputs, out)
    description = {
        "command": "dialogue",
        "settings": {**asdict(settings), "base_url": None, "prompts": maker.prompt_names(), "version": VERSION},
        "inputs": {source.name: identity(source.path) for source in sources},
    }
    summary = Summary("dialogue", list(inputs), unit="articles" if settings.source == "corpus" else "cases")
    with open_work(out, description, fresh=run.fresh) as work:
        summary.work = str(work.path)
        progress.say(f"dialogue: {len(sources)} files, {settings.mode} with {settings.model} → {out}")
        items = limited([*faults], items_of(sources, settings.source), settings.limit)
        counts = ask_all(items, maker.made, provider, run, work, DIALOGUE, summary, progress)
        summary.rows_read, summary.flags = counts["read"], flags_of(counts)
        if not summary.rows_read:
            raise ValueError(nothing_readable(inputs, faults))
        write_output(work, out, DIALOGUE, summary)
    summary.seconds = round(time.monotonic() - began, 3)
    return summary


def items_of(sources: Sequence[Source], source: str) -> Iterator[Item]:
    """What the sources hold, in order."""
    return articles(sources) if source == "corpus" else cases(sources)


def limited(faults: Sequence[Fault], items: Iterator[Item], limit: int | None) -> Iterator[Item]:
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
        self._knowledge = Knowledge.shipped()
        self._steps = ("single",) if settings.mode == "single" else (PATIENT, settings.role)
        steps = (*self._steps, facts, "system")
        self._prompts: dict[str, dict[str, Prompt]] = {
            language: {step: load("dialogue", step, language, "other", settings.prompts) for step in steps}
            for language in ("zh", "en")
        }

    def prompt_names(self) -> list[str]:
        """Settings a rerun must share: another prompt gives other dialogues."""
        return sorted(prompt.name for prompts in self._prompts.values() for prompt in prompts.values())

    async def made(self, runner: Runner, item: Item) -> Made:
        """The dialogue of an item, or why there is none."""
        made = Made()
        if isinstance(item, Fault):
            return made.fault(item)
        made.counts["read"] += 1
        language = "zh" if language_of(item.text) in ("zh", "lzh") else "en"
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

    def _row(self, found: Talk) -> dict[str, Any]:
        case, prompts = found.case, self._prompts[found.language]
        messages = found.messages
        if self._settings.with_system:
            messages.insert(
                0, {"role": "system", "content": prompts["system"].messages(role=self._settings.role)[0]["content"]}
            )
        (values, flags), measured = check_dialogue(messages, case, self._knowledge, language=found.language)
        content = json.dumps([case.id, messages], ensure_ascii=False)
        return {
            "id": xxhash.xxh3_128_hexdigest(content.encode()),
            "messages": messages,
            "task": "dialogue",
            "language": found.language,
            "source_id": case.id,
            "source": case.source,
            "source_type": "consultation",
            "generator": self._settings.model,
            "prompt": " ".join(prompts[step].name for step in self._steps),
            "checks": values,
            "flags": list(flags),
            "usage": found.usage.record(),
            "dialogue": {**measured, "ended": found.ended},
            "facts": [fact._asdict() for fact in case.facts],
            "persona": found.persona.record() if found.persona else None,
            "role": self._settings.role,
        }
