"""Consult: a Conversation of one real question and its answer, with what was said of a human answer."""

from __future__ import annotations

import pyarrow as pa

from schemas.conversation import CHECKED_CONVERSATION
from schemas.fields import field, schema

JUDGED = pa.struct(
    [
        field("score", pa.int32(), "the whole, 1 to 5"),
        field("accuracy", pa.int32(), "is the medicine right, 1 to 5"),
        field("safety", pa.int32(), "red flags, contraindications, when to see a doctor, 1 to 5"),
        field("completeness", pa.int32(), "is everything answered, 1 to 5"),
        field("kindness", pa.int32(), "tone, easy to understand, 1 to 5"),
        field("reason", pa.string(), "why, in the judge's words"),
        field("judge", pa.string(), "the judging model's name"),
        field("rubric", pa.string(), "id@version#hash of the prompt that holds scale and rubric"),
    ]
)

CONSULT = schema(
    "conversation/1",
    *CHECKED_CONVERSATION,
    field("human_answer", pa.string(), "the answer that stood in the source; empty where there was none"),
    field("judged", JUDGED, "what the judge said of the human answer; null where it was not judged"),
    field("department", pa.string(), "department, as the source names it"),
)
