"""Dialogue: a Conversation of several turns, with what was measured of it and who the patient was."""

from __future__ import annotations

import pyarrow as pa

from schemas.conversation import CHECKED_CONVERSATION
from schemas.fields import field, schema

MEASURED = pa.struct(
    [
        field("turns", pa.int32(), "exchanges: one message of the patient and one of the clinician"),
        field("facts", pa.int32(), "facts that the patient knew"),
        field("facts_told", pa.int32(), "of these, told in the dialogue"),
        field("revealed_early", pa.list_(pa.string()), "facts of the layer on_asking told before they were asked for"),
        field("diagnosis_said", pa.list_(pa.string()), "terms of the diagnosis that the patient said first"),
        field("questions_before_advice", pa.int32(), "questions of the clinician before the first advice"),
        field("repeated_questions", pa.list_(pa.string()), "questions that the clinician had asked before"),
        field("role_leaks", pa.list_(pa.string()), "phrases that belong to the other side"),
        field("red_flags", pa.list_(pa.string()), "signs in the patient's words that need care at once"),
        field(
            "unsupported", pa.list_(pa.string()), "doses, and drugs of no lexicon, that neither record nor patient has"
        ),
        field("ended", pa.string(), "end: the clinician closed it; turns: it reached the most that were allowed"),
    ]
)

KNOWN = pa.list_(
    pa.struct(
        [
            field("text", pa.string(), "the fact, in the record's words"),
            field("layer", pa.string(), "volunteered, on_asking or unknown_to_patient"),
            field("start", pa.int64(), "where it stands in the document, in characters; -1 where there is none"),
            field("end", pa.int64(), "where it ends there"),
        ]
    )
)

PERSONA = pa.struct(
    [
        field("age", pa.string(), "years, as a band"),
        field("schooling", pa.string(), "primary, secondary or college"),
        field("mood", pa.string(), "calm, anxious, impatient or low"),
        field("verbosity", pa.string(), "terse, plain or talkative"),
        field("memory", pa.string(), "good or hazy"),
    ]
)

DIALOGUE = schema(
    "conversation/1",
    *CHECKED_CONVERSATION,
    field("dialogue", MEASURED, "what was measured of the turns"),
    field("facts", KNOWN, "the record that the dialogue rests on"),
    field("persona", PERSONA, "who the patient was; null where nobody played one"),
    field("role", pa.string(), "the clinician: doctor, nurse, pharmacist or tcm"),
)
