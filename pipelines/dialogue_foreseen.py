"""What a dialogue takes, as far as its case tells: for `dialogue --dry-run`."""

from __future__ import annotations

from datatools.cases.personas import persona_of
from datatools.cases.read import Free, Item
from datatools.io.source import Fault
from datatools.llm import structured
from datatools.llm.request import Request
from datatools.llm.tokens import estimate, estimate_messages
from pipelines.ask_dry_run import Foreseen
from pipelines.dialogue_facts import Record, facts_request
from pipelines.dialogue_rewrite import Real, rewrite_request
from pipelines.dialogue_settings import DialogueSettings
from pipelines.dialogue_single import Whole, whole_request
from pipelines.dialogue_turns import PATIENT, Talk, clinician_messages, patient_messages
from pipelines.estimate import Calls, assumed
from prompts.load import Prompt
from schemas.case import VOLUNTEERED, Case, Fact

# Tokens of replies; assumed. A turn takes as many as those of the shared cases with the double, more or less.
PATIENT_TOKENS, CLINICIAN_TOKENS, KINDER = 40.0, 60.0, 30.0


def foreseen(
    item: Item | Real, language: str, prompts: dict[str, Prompt], settings: DialogueSettings
) -> Foreseen | None:
    """The calls of one dialogue; None for a fault."""
    if isinstance(item, Fault):
        return None
    if isinstance(item, Real):
        requests = [
            rewrite_request(item, place, prompts["rewrite"], settings) for place in range(1, len(item.turns), 2)
        ]
        replies = [KINDER + estimate(turn["content"]) for turn in item.turns[1::2]]
        calls = assumed([estimate_messages(request.messages) for request in requests], replies)
        return Foreseen([calls], requests[0], rounds=len(requests))
    case, calls = _case(item), Calls()
    talk = Talk(case, language, persona_of(case, settings.seed))
    if settings.mode == "single":
        request = whole_request(talk, settings, prompts["single"])
        exchanges = sum(settings.span) / 2
        calls.add(assumed([estimate_messages(request.messages)], [exchanges * (PATIENT_TOKENS + CLINICIAN_TOKENS)]))
        first, rounds = structured.formatted(request, Whole), 1
    else:
        messages = patient_messages(talk, prompts[PATIENT])
        first = Request(messages, temperature=settings.temperature, reasoning_effort=settings.reasoning_effort)
        calls.add(_turns(talk, messages, prompts, settings))
        rounds = 2 * settings.span[1]
    if isinstance(item, Free):
        request = facts_request(item, prompts["article" if settings.source == "corpus" else "facts"], settings)
        calls.add(assumed([estimate_messages(request.messages)], [estimate(item.text)]))
        first, rounds = structured.formatted(request, Record), rounds + 1
    return Foreseen([calls], first, rounds)


def _case(item: Case | Free) -> Case:
    """A text whose facts nobody has found yet as one fact."""
    return item if isinstance(item, Case) else Case(item.id, (Fact(item.text, VOLUNTEERED),))


def _turns(talk: Talk, messages: list[dict[str, str]], prompts: dict[str, Prompt], settings: DialogueSettings) -> Calls:
    """Turn by turn, with all turns before it in each prompt; as many as stand between the least and the most."""
    least, most = settings.span
    patient = estimate_messages(messages)
    heard = Talk(talk.case, talk.language, talk.persona, [""])
    clinician = estimate_messages(clinician_messages(heard, prompts[settings.role], least, most))
    prompt_tokens, replies = [], []
    for turn in range(round((least + most) / 2)):
        before = turn * (PATIENT_TOKENS + CLINICIAN_TOKENS)
        prompt_tokens += [patient + before, clinician + before + PATIENT_TOKENS]
        replies += [PATIENT_TOKENS, CLINICIAN_TOKENS]
    return assumed(prompt_tokens, replies)
