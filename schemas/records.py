"""The records of the other jobs: preference pairs, graph triples, patient cases, exam items."""

from __future__ import annotations

import pyarrow as pa

from schemas.conversation import MESSAGE
from schemas.fields import field, schema

_PROVENANCE = (
    field("source_id", pa.string(), "id of the Document it rests on"),
    field("source", pa.string(), "source of that Document"),
    field("generator", pa.string(), "rules or the model's name"),
)

PREFERENCE = schema(
    "preference/1",
    field("id", pa.string(), "xxh3-128 of prompt, chosen and rejected"),
    field("prompt", pa.list_(MESSAGE), "turns before the reply"),
    field("chosen", pa.list_(MESSAGE), "the better reply"),
    field("rejected", pa.list_(MESSAGE), "the worse reply"),
    field("chosen_score", pa.float64(), "the judge's score of chosen"),
    field("rejected_score", pa.float64(), "the judge's score of rejected"),
    field("judge", pa.string(), "rules or the judging model's name"),
    field("flags", pa.list_(pa.string()), "names of checks that fired, corruption:KIND"),
    *_PROVENANCE,
)

UNPAIRED = schema(
    "unpaired_preference/1",
    field("id", pa.string(), "id of the preference pair, -chosen or -rejected"),
    field("prompt", pa.list_(MESSAGE), "turns before the reply"),
    field("completion", pa.list_(MESSAGE), "the reply"),
    field("label", pa.bool_(), "whether the reply is a good one"),
    field("judge", pa.string(), "rules or the judging model's name"),
    field("flags", pa.list_(pa.string()), "names of checks that fired, corruption:KIND"),
    *_PROVENANCE,
)

TRIPLE = schema(
    "triple/1",
    field("head", pa.string(), "subject"),
    field("relation", pa.string(), "relation"),
    field("tail", pa.string(), "object"),
    field("head_type", pa.string(), "node type of the subject"),
    field("tail_type", pa.string(), "node type of the object"),
    field("source", pa.string(), "file it was read from"),
)

FACT = pa.struct(
    [
        field("text", pa.string(), "the fact in the patient's record"),
        field("layer", pa.string(), "volunteered, on_asking or unknown_to_patient"),
    ]
)

CASE = schema(
    "case/1",
    field("id", pa.string(), "the input's own id, or a hash of the facts"),
    field("facts", pa.list_(FACT), "what the record holds"),
    field("diagnosis", pa.string(), "the clinician's conclusion"),
    field("department", pa.string(), "department, as the source names it"),
    field("source", pa.string(), "file it was read from"),
)

EXAM_ITEM = schema(
    "exam_item/1",
    field("id", pa.string(), "the input's own id, or a hash of the question"),
    field("question", pa.string(), "the stem"),
    field("options", pa.map_(pa.string(), pa.string()), "letter → option text"),
    field("answer", pa.list_(pa.string()), "letters of the right options"),
    field("explanation", pa.string(), "why, where the source says"),
    field("exam", pa.string(), "name of the exam"),
)
