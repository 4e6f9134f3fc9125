"""A whole dialogue in one structured call: cheaper than turn by turn, and less like two who do not know each other."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, model_validator

from datatools.llm import structured
from datatools.llm.errors import Failure, failure
from datatools.llm.reply import plain_text
from datatools.llm.request import Request
from datatools.llm.runner import Runner
from pipelines.dialogue_settings import DialogueSettings
from pipelines.dialogue_turns import Talk
from prompts.load import Prompt
from schemas.case import ON_ASKING, UNKNOWN, VOLUNTEERED


class Said(BaseModel):
    """One turn."""

    role: Literal["patient", "clinician"]
    text: str


class Whole(BaseModel):
    """A dialogue: the patient speaks first, they take turns, the clinician speaks last."""

    turns: list[Said]

    @model_validator(mode="after")
    def _alternate(self) -> Whole:
        wanted = ["patient", "clinician"] * (len(self.turns) // 2)
        if not wanted or [turn.role for turn in self.turns] != wanted:
            raise ValueError("turns must go patient, clinician, patient, clinician, … and end with the clinician")
        if any(not turn.text.strip() for turn in self.turns):
            raise ValueError("every turn needs a text")
        return self


def whole_request(talk: Talk, settings: DialogueSettings, prompt: Prompt) -> Request:
    """What is asked of the model that writes both sides."""
    assert talk.persona is not None
    least, most = settings.span
    messages = prompt.messages(
        role=settings.role,
        persona=talk.persona.words(talk.language),
        volunteered=talk.case.layer(VOLUNTEERED),
        on_asking=talk.case.layer(ON_ASKING),
        unknown=talk.case.layer(UNKNOWN),
        least=least,
        most=most,
    )
    return Request(messages, temperature=settings.temperature, reasoning_effort=settings.reasoning_effort)


async def write_whole(runner: Runner, talk: Talk, settings: DialogueSettings, prompts: dict[str, Prompt]) -> Talk:
    """Have a model write both sides; a dialogue outside of the asked span of turns is a failure of class schema."""
    least, most = settings.span
    request = whole_request(talk, settings, prompts["single"])
    outcome = await structured.ask(runner, request, Whole)
    if isinstance(outcome, Failure):
        talk.failed = ("single", outcome)
        return talk
    for reply in outcome.replies:
        talk.usage.add(reply)
    turns = len(outcome.value.turns) // 2
    if not least <= turns <= most:
        talk.failed = ("single", failure("schema", f"{turns} exchanges, {least} to {most} were asked for", attempts=1))
        return talk
    talk.said = [plain_text(turn.text).strip() for turn in outcome.value.turns]
    talk.ended = "end"
    return talk
