"""Simulated consultations: a patient who knows its facts and no more, the model as clinician, and a judge.

case → persona → turns of patient and model → checks without a model, and four axes by the judge → one row a case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from datatools.cases.personas import persona_of
from datatools.cases.read import Free, Item, cases
from datatools.checks.dialogue import askable, check_dialogue, elicited
from datatools.checks.drugs import lexicon_of_drugs
from datatools.checks.medical import Knowledge
from datatools.clean.language import language as language_of
from datatools.engine.units import identity
from datatools.evaluate.judged import AXES, consult_lines, consult_scores
from datatools.io.source import Fault
from datatools.llm import structured
from datatools.llm.errors import Failure
from datatools.llm.request import Request
from datatools.llm.runner import Runner
from datatools.llm.tokens import estimate_messages
from datatools.report.progress import Progress
from datatools.report.summary import Summary
from pipelines.ask_dry_run import Foreseen
from pipelines.ask_items import AskSettings, Made, Usage, judge_of, model_of
from pipelines.ask_run import AskRun
from pipelines.dialogue_facts import case_of
from pipelines.dialogue_settings import MOST_TURNS, DialogueSettings
from pipelines.dialogue_turns import END, PATIENT, Talk, clinician_messages, patient_messages, say, turn_text
from pipelines.estimate import Calls, assumed
from pipelines.evaluating import SELF, UNREADABLE, evaluated
from pipelines.inputs import nothing_readable, sources_of
from prompts.load import Prompt, load
from schemas.case import VOLUNTEERED
from schemas.evaluated import EVALUATED_CONSULT

NEED = "evaluate consult needs a model to play the clinician: add --model NAME --base-url URL"
VERSION = 3
TURN_TOKENS, VERDICT_TOKENS = 80.0, 100.0  # of replies; assumed
# What says something of the clinician; the other checks of dialogues are about the patient or the record. A drug or a
# dose that the record does not name is no fault: the model has not seen the record, and treats.
CLINICIAN = (
    *("no_question_before_advice", "red_flag_without_advice", "dose_out_of_range", "repeated_question"),
    *("role_leak", "wrong_language", "repetition", "truncated"),
)


@dataclass(frozen=True)
class ConsultationSettings(AskSettings):
    """What shapes the consultations. Defaults are the command line's."""

    patient: str | None = None
    judge: str | None = None
    patient_base_url: str | None = None
    judge_base_url: str | None = None
    turns: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.turns <= MOST_TURNS:
            raise ValueError(f"--turns {self.turns}: must be 1 to {MOST_TURNS} exchanges")
        if not self.patient or not self.judge:
            raise ValueError("evaluate consult needs --patient NAME, who plays the patient, and --judge NAME")


class Ratings(BaseModel):
    """What the judge says of the clinician."""

    proactivity: int = Field(ge=1, le=5)
    accuracy: int = Field(ge=1, le=5)
    helpfulness: int = Field(ge=1, le=5)
    linguistic_quality: int = Field(ge=1, le=5)
    reason: str


def evaluate_consult(
    inputs: Sequence[str], out: Path, settings: ConsultationSettings, run: AskRun, progress: Progress
) -> Summary:
    """Let a model treat the simulated patients of the cases in `inputs` and write a row a consultation to `out`.

    Raises ValueError for input or settings that cannot work, `datatools.llm.errors.Stopped` when the endpoint refuses.
    """
    model = model_of(settings, run, NEED)
    patient = judge_of(settings.patient, settings.patient_base_url, [model], run)
    judge = judge_of(settings.judge, settings.judge_base_url, [model, patient], run)
    sources, faults = sources_of(inputs, out)
    items = [item for item in (*faults, *cases(sources)) if not isinstance(item, Fault)][: settings.limit]
    if not items:
        raise ValueError(nothing_readable(inputs, faults))
    clinic = Clinic(settings)
    description = {
        "command": "evaluate consult",
        "settings": {
            **asdict(settings), "base_url": None, "patient_base_url": None, "judge_base_url": None,
            "prompts": clinic.prompt_names(), "version": VERSION,
        },
        "inputs": {source.name: identity(source.path) for source in sources},
    }  # fmt: skip
    summary = Summary("evaluate consult", list(inputs), rows_read=len(items), unit="cases")
    progress.say(
        f"evaluate consult: {len(items):,} cases, clinician {settings.model}, patient {settings.patient}, judge "
        f"{settings.judge} → {out}"
    )
    if judge.place == model.place:
        progress.say(f"evaluate consult: {SELF.format(settings.model)}")

    def scored(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
        scores = consult_scores(rows, settings.seed)
        return scores, consult_lines(scores)

    columns = (*AXES, "elicited", "flags", "doses_named", "red_flags", "turns")
    return evaluated(
        summary, lambda: iter(items), clinic.made, clinic.foreseen, [model, patient, judge], description, out,
        EVALUATED_CONSULT, run, progress, scored, columns=columns, total=len(items),
    )  # fmt: skip


class Clinic:
    """Plays one case after another. Its prompts are loaded before any work begins: a bad one stops at once."""

    def __init__(self, settings: ConsultationSettings) -> None:
        self._settings, self._knowledge = settings, Knowledge(lexicon_of_drugs())
        self._playing = DialogueSettings(
            model=settings.model, temperature=settings.temperature or 0.0, reasoning_effort=settings.reasoning_effort
        )
        steps = {"patient": "dialogue", "facts": "dialogue", "clinician": "evaluate", "consult": "evaluate"}
        self._prompts: dict[str, dict[str, Prompt]] = {
            language: {step: load(job, step, language, "other", settings.prompts) for step, job in steps.items()}
            for language in ("zh", "en")
        }

    def prompt_names(self) -> list[str]:
        """Settings a rerun must share."""
        return sorted(prompt.name for prompts in self._prompts.values() for prompt in prompts.values())

    def foreseen(self, item: Item) -> Foreseen | None:
        """What a case takes, if its turns are all used."""
        if isinstance(item, Fault):
            return None
        if isinstance(item, Free):
            return self._foreseen_free(item)
        language = _language(item.text)
        prompts, turns = self._prompts[language], self._settings.turns
        talk = Talk(item, language, persona_of(item, self._settings.seed))
        opening = patient_messages(talk, prompts[PATIENT])
        first = Request(opening, temperature=self._playing.temperature, reasoning_effort=self._playing.reasoning_effort)
        talk.said = [item.layer(VOLUNTEERED)[0] if item.layer(VOLUNTEERED) else item.text[:100]]
        clinician = estimate_messages(clinician_messages(talk, prompts["clinician"], 1, turns))
        grown = [TURN_TOKENS * 2 * turn for turn in range(turns)]
        asked = assumed([clinician + more for more in grown], [TURN_TOKENS] * turns)
        played = assumed([estimate_messages(opening) + more for more in grown], [TURN_TOKENS] * turns)
        judged = assumed([600.0 + TURN_TOKENS * 2 * turns], [VERDICT_TOKENS])
        return Foreseen([asked, played, judged], first, rounds=2 * turns + 1, asked=1)

    def _foreseen_free(self, item: Free) -> Foreseen:
        language = _language(item.text)
        messages = self._prompts[language]["facts"].messages(text=item.text, conclusion=item.conclusion, title="")
        turns = self._settings.turns
        calls = assumed([600.0 + TURN_TOKENS * 2 * turn for turn in range(turns)], [TURN_TOKENS] * turns)
        played = Calls()
        played.add(calls)
        played.add(assumed([estimate_messages(messages)], [200.0]))
        judged = assumed([600.0 + TURN_TOKENS * 2 * turns], [VERDICT_TOKENS])
        return Foreseen([calls, played, judged], Request(messages), rounds=2 * turns + 2, asked=1)

    async def made(self, runners: Sequence[Runner], item: Item) -> Made:
        """The consultation about a case, or why there is none. The runners are clinician, patient and judge."""
        made, usage = Made(), Usage()
        if isinstance(item, Fault):
            return made.fault(item)
        clinician, patient, judge = runners
        language = _language(item.text)
        prompts = self._prompts[language]
        if isinstance(item, Free):
            case = await case_of(patient, item, prompts["facts"], self._playing, made, usage)
            if case is None:
                return made
        else:
            case = item
        talk = Talk(case, language, persona_of(case, self._settings.seed), usage=usage)
        await self._consult(clinician, patient, talk, prompts)
        if talk.failed is not None:
            return made.fail(case.id, case.source, *talk.failed)
        messages = prompts["consult"].messages(diagnosis=case.diagnosis, turns=talk.messages)
        outcome = await structured.ask(
            judge,
            Request(messages, temperature=0.0, reasoning_effort=self._settings.reasoning_effort),
            Ratings,
        )
        if isinstance(outcome, Failure):
            return made.fail(case.id, case.source, "judge", outcome)
        for reply in outcome.replies:
            usage.add(reply)
        made.rows.append(self._row(talk, outcome.value))
        return made

    async def _consult(self, clinician: Runner, patient: Runner, talk: Talk, prompts: dict[str, Prompt]) -> None:
        """Turn by turn. What the model says is taken as it is: the patient may be asked twice, the model is not."""
        most = self._settings.turns
        for turn in range(1, most + 1):
            said = await say(patient, talk, PATIENT, patient_messages(talk, prompts[PATIENT]), self._playing, turn)
            if said is None:
                return
            talk.said.append(END.sub("", said))
            request = Request(
                clinician_messages(talk, prompts["clinician"], 1, most),
                temperature=self._playing.temperature,
                reasoning_effort=self._settings.reasoning_effort,
            )
            reply = await clinician.ask(request)
            if isinstance(reply, Failure):
                if reply.kind in UNREADABLE:  # it has nothing to say: the consultation ends here
                    talk.said.append("……")
                    return
                talk.failed = (f"clinician {turn}", reply)
                return
            talk.usage.add(reply)
            text = turn_text(reply)
            talk.said.append(END.sub("", text) or "……")
            if END.search(text):
                talk.ended = "end"
                return

    def _row(self, talk: Talk, ratings: Ratings) -> dict[str, Any]:
        case, messages = talk.case, talk.messages
        (values, flags), measured = check_dialogue(messages, case, self._knowledge, language=talk.language)
        facts, told = askable(case), elicited(messages, case)
        return {
            "id": case.id,
            "messages": messages,
            **{axis: float(getattr(ratings, axis)) for axis in AXES},
            "reason": ratings.reason,
            "elicited": len(told) / len(facts) if facts else None,
            "facts_askable": len(facts),
            "facts_elicited": len(told),
            "questions_before_advice": measured["questions_before_advice"],
            "flags": [flag for flag in flags if flag in CLINICIAN or flag.startswith("incompatible")],
            "doses_named": values["doses_named"],
            "red_flags": measured["red_flags"],
            "turns": measured["turns"],
            "ended": talk.ended,
            "language": talk.language,
            "diagnosis": case.diagnosis,
            "source": case.source,
            "patient": self._settings.patient,
            "judge": self._settings.judge,
            "model": self._settings.model,
            "prompt": self._prompts[talk.language]["clinician"].name,
            "usage": talk.usage.record(),
        }


def _language(text: str) -> str:
    return "zh" if language_of(text) in ("zh", "lzh") else "en"
