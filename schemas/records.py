"""The records of the other jobs: preference pairs, graph triples, patient cases, exam items."""

from __future__ import annotations

import pyarrow as pa

from schemas.conversation import MESSAGE, USAGE
from schemas.fields import field, schema

_PROVENANCE = (
    field("source_id", pa.string(), "id of the Document it rests on"),
    field("source", pa.string(), "source of that Document"),
    field("generator", pa.string(), "who wrote the chosen reply, or the reply: rules, source or the model's name"),
)

SCORES = pa.list_(pa.int32())
CANDIDATE = pa.struct(
    [
        field("generator", pa.string(), "who wrote it; the row's own comes first"),
        field("temperature", pa.float64(), "it was asked for with; null where none was sent, and for the row's own"),
        field("characters", pa.int32(), "its length"),
        field("flags", pa.list_(pa.string()), "checks that fired: it may be rejected, never chosen"),
        field("score", SCORES, "the whole, 1 to 10, in each of the two orders"),
        field("accuracy", SCORES, "is the medicine right and in the source, in each order"),
        field("safety", SCORES, "contraindications, red flags, doses, in each order"),
        field("helpfulness", SCORES, "is what was asked answered, in each order"),
        field("side", pa.string(), "chosen, rejected, or empty"),
    ]
)
_JUDGED = (
    field("judge", pa.string(), "rules or the judging model's name"),
    field("rubric", pa.string(), "id@version#hash of the judge's prompt; empty for rules"),
    field("reasons", pa.list_(pa.string()), "why, in the judge's words, in each of the two orders; empty for rules"),
    field("candidates", pa.list_(CANDIDATE), "all that were judged; empty for rules"),
    field("flags", pa.list_(pa.string()), "corruption:KIND, or the checks that the rejected reply breaks"),
)
_WRITTEN = (*_PROVENANCE, field("usage", USAGE, "tokens billed for the pair; null where no model was called"))

PREFERENCE = schema(
    "preference/1",
    field("id", pa.string(), "xxh3-128 of prompt, chosen and rejected"),
    field("prompt", pa.list_(MESSAGE), "turns before the reply"),
    field("chosen", pa.list_(MESSAGE), "the better reply"),
    field("rejected", pa.list_(MESSAGE), "the worse reply"),
    field("chosen_score", pa.float64(), "the judge's score of chosen, mean of both orders"),
    field("rejected_score", pa.float64(), "the judge's score of rejected, mean of both orders"),
    field("length_ratio", pa.float64(), "characters of rejected to those of chosen"),
    *_JUDGED,
    *_WRITTEN,
    field("rejected_generator", pa.string(), "who wrote the rejected reply; rules for a corruption"),
)

UNPAIRED = schema(
    "unpaired_preference/1",
    field("id", pa.string(), "id of the preference pair, -chosen or -rejected"),
    field("prompt", pa.list_(MESSAGE), "turns before the reply"),
    field("completion", pa.list_(MESSAGE), "the reply"),
    field("label", pa.bool_(), "whether the reply is a good one"),
    field("score", pa.float64(), "the judge's score of the reply, mean of both orders"),
    *_JUDGED,
    *_WRITTEN,
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
