"""Conversation: what a model is fine-tuned on, one row a conversation, as TRL reads it."""

from __future__ import annotations

import pyarrow as pa

from schemas.fields import field, schema

MESSAGE = pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())])

CHECKS = pa.struct(
    [
        field("finish_reason", pa.string(), "what the model said it stopped for; `source` for verbatim answers"),
        field("language", pa.string(), "language of the answer"),
        field("question_length", pa.int32(), "characters"),
        field("answer_length", pa.int32(), "characters"),
        field("numbers", pa.int32(), "numbers with a unit in the answer"),
        field("numbers_missing", pa.int32(), "of these, not in the source"),
        field("support", pa.float32(), "share of the answer's character bigrams found in the source, [0, 1]"),
        field("repetition", pa.float32(), "share of the answer's 10-grams that are repeats, [0, 1]"),
        field("contacts_missing", pa.int32(), "URLs and phone numbers not in the source"),
        field("leakage", pa.int32(), "phrases that speak of the prompt, the passage or the model itself"),
    ]
)

# What `datatools check` and the jobs on Chinese medicine add: the fields above, and these.
MEDICAL = (
    field("turns", pa.int32(), "turns of the conversation, a system message not counted"),
    field("entities", pa.int32(), "different herbs, formulas and drugs that the answer names"),
    field("entities_missing", pa.int32(), "of these, neither in the source nor in the question; null without a source"),
    field("herbs_unknown", pa.int32(), "names with a weight in a prescription that stand in no lexicon"),
    field("incompatible", pa.int32(), "pairs of 十八反 and 十九畏 within one prescription"),
    field("doses", pa.int32(), "doses that can be held against a range: grams of herbs, and of common medicines a day"),
    field("doses_unusual", pa.int32(), "of these, outside the usual range"),
    field("doses_named", pa.list_(pa.string()), "these in words, of a medicine with its limit and its label"),
    field("red_flags", pa.int32(), "red flags in what the patient says"),
    field("role_leaks", pa.int32(), "phrases, labels and turns that belong to the other side"),
    field("claims_true", pa.int32(), "claims the graph makes too; null without a graph, as the next two"),
    field("claims_contradicted", pa.int32(), "claims the graph contradicts"),
    field("claims_unknown", pa.int32(), "claims the graph knows nothing of"),
)
MEDICAL_CHECKS = pa.struct([*CHECKS, *MEDICAL])

USAGE = pa.struct([pa.field("prompt_tokens", pa.int64()), pa.field("completion_tokens", pa.int64())])

CONVERSATION = schema(
    "conversation/1",
    field("id", pa.string(), "the input's own id, or xxh3-128 of source_id, question and answer"),
    field("messages", pa.list_(MESSAGE), "turns in order; roles system, user, assistant"),
    field("task", pa.string(), "unify, dialogue, …"),
    field("language", pa.string(), "zh, lzh, en, …"),
    field("source_id", pa.string(), "id of the Document (passage) it rests on"),
    field("source", pa.string(), "source of that Document"),
    field("source_type", pa.string(), "source type of that Document"),
    field("generator", pa.string(), "rules, source (the pair stood in the source), or the model's name"),
    field("prompt", pa.string(), "id@version#hash of the prompt, or the rule's name"),
    field("checks", CHECKS, "values of the checks that need no model"),
    field("flags", pa.list_(pa.string()), "names of checks that fired"),
    field("usage", USAGE, "tokens billed for this row; null where no model was called"),
)

# Whoever reads a Conversation by the names of its fields can read these too.
CHECKED_CONVERSATION = CONVERSATION.set(
    CONVERSATION.get_field_index("checks"),
    field("checks", MEDICAL_CHECKS, "values of the checks that need no model"),
)

TRIPLES = pa.list_(
    pa.struct([pa.field("head", pa.string()), pa.field("relation", pa.string()), pa.field("tail", pa.string())])
)
TCM_CONVERSATION = CHECKED_CONVERSATION.append(
    field("triples", TRIPLES, "statements of the graph that question and answer rest on, as the graph has them")
)
