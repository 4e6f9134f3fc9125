"""Two agents that talk turn by turn: a patient who knows its layers of a case, and a clinician who never sees it.

Every turn is one call through the runner, whose messages hold the turns before it: a killed dialogue finds its finished
turns in the journal, and goes on at the next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

from datatools.cases.personas import Persona
from datatools.checks.turn import turn_flags
from datatools.llm.errors import Failure
from datatools.llm.reply import plain_text
from datatools.llm.request import Reply, Request
from datatools.llm.runner import Runner
from pipelines.ask_items import Usage
from pipelines.dialogue_settings import DialogueSettings
from prompts.load import Prompt
from schemas.case import ON_ASKING, VOLUNTEERED, Case

PATIENT = "patient"
TRIES = 2  # a turn that breaks a check of its form is asked for once more
END = re.compile(r"\s*[\[【]END[\]】]\s*$", re.IGNORECASE)


@dataclass
class Talk:
    """A dialogue as it grows: what was said, in turn, the patient first."""

    case: Case
    language: str
    persona: Persona | None
    said: list[str] = field(default_factory=list)
    ended: str = "turns"
    usage: Usage = field(default_factory=Usage)
    failed: tuple[str, Failure] | None = None  # the step that got no usable reply

    @property
    def messages(self) -> list[dict[str, str]]:
        """The turns as a Conversation has them."""
        return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(self.said)]


async def talk(runner: Runner, talk: Talk, settings: DialogueSettings, prompts: dict[str, Prompt]) -> Talk:
    """Let patient and clinician talk until the clinician ends it, or the most turns are reached."""
    least, most = settings.span
    for turn in range(1, most + 1):
        said = await say(runner, talk, PATIENT, patient_messages(talk, prompts[PATIENT]), settings, turn)
        if said is None:
            return talk
        talk.said.append(said)
        messages = clinician_messages(talk, prompts[settings.role], least, most)
        said = await say(runner, talk, settings.role, messages, settings, turn)
        if said is None:
            return talk
        talk.said.append(END.sub("", said))
        if END.search(said) and turn >= least:
            talk.ended = "end"
            break
    return talk


async def say(
    runner: Runner, talk: Talk, speaker: str, messages: list[dict[str, str]], settings: DialogueSettings, turn: int
) -> str | None:
    """What a speaker says next; None, with the reason in `talk.failed`, when there is no usable reply."""
    request = Request(messages, temperature=settings.temperature, reasoning_effort=settings.reasoning_effort)
    text = ""
    for sample in range(TRIES):
        reply = await runner.ask(replace(request, sample=sample))
        if isinstance(reply, Failure):
            talk.failed = (f"{speaker} {turn}", reply)
            return None
        talk.usage.add(reply)
        text = turn_text(reply)
        if END.sub("", text) and not turn_flags(END.sub("", text), speaker == PATIENT, talk.language):
            return text
    if not END.sub("", text):
        talk.failed = (f"{speaker} {turn}", Failure("empty", "the turn is empty", attempts=TRIES))
        return None
    return text


def turn_text(reply: Reply) -> str:
    """The turn as plain text, with its [END] where there is one."""
    ends = END.search(reply.text)
    text = plain_text(END.sub("", reply.text)).strip()
    return f"{text}\n[END]" if ends else text


def patient_messages(talk: Talk, prompt: Prompt) -> list[dict[str, str]]:
    """The dialogue as the patient sees it: its own turns are the assistant's."""
    assert talk.persona is not None
    known: dict[str, Any] = {
        "persona": talk.persona.words(talk.language),
        "volunteered": talk.case.layer(VOLUNTEERED),
        "on_asking": talk.case.layer(ON_ASKING),
    }
    messages = prompt.messages(**known, said="")
    for place, text in enumerate(talk.said):
        if place % 2 == 0:
            messages.append({"role": "assistant", "content": text})
        else:
            messages.append(prompt.messages(**known, said=text)[-1])
    return messages


def clinician_messages(talk: Talk, prompt: Prompt, least: int, most: int) -> list[dict[str, str]]:
    """The dialogue as the clinician sees it: what the patient said, and how many turns are left."""
    messages: list[dict[str, str]] = []
    for place, text in enumerate(talk.said):
        if place % 2:
            messages.append({"role": "assistant", "content": text})
        else:
            rendered = prompt.messages(said=text, turn=place // 2 + 1, least=least, most=most)
            messages += rendered if not messages else rendered[-1:]
    return messages
