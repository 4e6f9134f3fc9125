"""What evaluations leave: a row an answer, a pair, a consultation or a text, with all that its score is made from."""

from __future__ import annotations

import pyarrow as pa

from schemas.conversation import MESSAGE, USAGE
from schemas.fields import field, schema

_LETTERS = pa.list_(pa.string())
_ASKED = (
    field("model", pa.string(), "who was asked"),
    field("prompt", pa.string(), "id@version#hash of the prompt"),
    field("usage", USAGE, "tokens billed for this row; null where no model was called"),
)

EVALUATED_EXAM = schema(
    "evaluated_exam/1",
    field("id", pa.string(), "the item's own id, or a hash of it"),
    field("exam", pa.string(), "name of the exam"),
    field("subject", pa.string(), "subject, as the exam names it; may be empty"),
    field("type", pa.string(), "question type, as the exam names it; else single or multiple, by the answer"),
    field("question", pa.string(), "the stem"),
    field("options", pa.map_(pa.string(), pa.string()), "letter → option, as the exam has them"),
    field("answer", _LETTERS, "letters of the right options"),
    field(
        "predicted", _LETTERS, "letters that the model chose, in the exam's own order; empty where none could be told"
    ),
    field("correct", pa.bool_(), "whether the two are the same"),
    field(
        "method",
        pa.string(),
        "how the choice was told: schema, stated, letters, option_text, logprobs; none, truncated, empty or "
        "content_filter where it was not",
    ),
    field("reply", pa.string(), "what the model wrote"),
    field(
        "leaked", pa.bool_(), "whether the training data hold the item; null where nobody looked, or it is too short"
    ),
    field("shuffle", pa.int32(), "0: options in the exam's order; 1, 2, …: in another"),
    field("shown", _LETTERS, "the exam's letters in the order in which the options were shown"),
    field("probabilities", pa.map_(pa.string(), pa.float64()), "letter → probability among the letters; with logprobs"),
    field("source", pa.string(), "file and row"),
    *_ASKED,
)

AXES = pa.list_(
    pa.struct([field("axis", pa.string(), "its name"), field("score", pa.float64(), "as the scale has it")])
)

EVALUATED_PAIR = schema(
    "evaluated_pairwise/1",
    field("id", pa.string(), "id of the question in A, or a hash of it"),
    field("question", pa.string(), "what was asked"),
    field("answer_a", pa.string(), "the answer of A"),
    field("answer_b", pa.string(), "the answer of B"),
    field("verdict", pa.string(), "win, tie or loss of A by both orders together"),
    field("first", pa.string(), "verdict of the order A, B; null where the reply could not be used"),
    field("second", pa.string(), "verdict for A of the order B, A"),
    field("points_a", pa.float64(), "points of A in both orders together"),
    field("points_b", pa.float64(), "points of B"),
    field("axes", pa.list_(
        pa.struct([
            field("axis", pa.string(), "its name"),
            field("a", pa.float64(), "mean score of A"),
            field("b", pa.float64(), "mean score of B"),
        ])
    ), "by axis, over the orders that could be used"),
    field("reasons", pa.list_(pa.string()), "why, in the judge's words, one an order"),
    field("again", pa.string(), "verdict of the order A, B asked once more; null where it was not"),
    field("model_a", pa.string(), "who wrote A, as the file says, else the file's name"),
    field("model_b", pa.string(), "who wrote B"),
    field("source", pa.string(), "file and row of A"),
    *_ASKED,
)  # fmt: skip

EVALUATED_CONSULT = schema(
    "evaluated_consult/1",
    field("id", pa.string(), "id of the case"),
    field("messages", pa.list_(MESSAGE), "the whole consultation: user is the patient, assistant the model"),
    field("proactivity", pa.float64(), "does it ask what it needs to know, clearly and on its own, 1 to 5"),
    field("accuracy", pa.float64(), "is what it says right, 1 to 5"),
    field("helpfulness", pa.float64(), "does it solve what the patient came with, 1 to 5"),
    field("linguistic_quality", pa.float64(), "does it understand and speak well, 1 to 5"),
    field("reason", pa.string(), "why, in the judge's words"),
    field("elicited", pa.float64(), "facts told ÷ facts that could be asked for, [0, 1]; null where there are none"),
    field("facts_askable", pa.int32(), "facts that the patient tells when asked"),
    field("facts_elicited", pa.int32(), "of these, told in the consultation"),
    field("questions_before_advice", pa.int32(), "questions of the model before its first advice"),
    field("flags", pa.list_(pa.string()), "checks that fired: no_question_before_advice, dose_out_of_range, …"),
    field("doses_named", pa.list_(pa.string()), "doses out of range, with their limits"),
    field("red_flags", pa.list_(pa.string()), "signs in the patient's words that need care at once"),
    field("turns", pa.int32(), "exchanges"),
    field("ended", pa.string(), "end: the model closed it; turns: it reached the most that were allowed"),
    field("language", pa.string(), "zh or en"),
    field("diagnosis", pa.string(), "of the record"),
    field("source", pa.string(), "file of the case"),
    field("patient", pa.string(), "who played the patient"),
    field("judge", pa.string(), "who judged"),
    *_ASKED,
)

ENTITY = pa.struct(
    [
        field("start", pa.int32(), "first character"),
        field("end", pa.int32(), "behind the last character"),
        field("type", pa.string(), "type of the entity"),
        field("text", pa.string(), "its words"),
    ]
)
EVALUATED_NER = schema(
    "evaluated_ner/1",
    field("id", pa.string(), "the input's own id, or a hash of the text"),
    field("text", pa.string(), "the text"),
    field("entities", pa.list_(ENTITY), "as annotated"),
    field("predicted", pa.list_(ENTITY), "as the model has them"),
    field("method", pa.string(), "how the reply was read: json, lines, spans or given; none where it was not"),
    field(
        "missing", pa.int32(), "entities of the reply whose words are not in the text, or whose type is none asked for"
    ),
    field("reply", pa.string(), "what the model wrote"),
    field("source", pa.string(), "file and row"),
    *_ASKED,
)

EVALUATED_TEXT = schema(
    "evaluated_text/1",
    field("id", pa.string(), "the input's own id, or a hash of question and reference"),
    field("question", pa.string(), "what was asked, where the file says"),
    field("reference", pa.string(), "the text that is compared with"),
    field("prediction", pa.string(), "what the model wrote"),
    field("language", pa.string(), "zh or en, of the reference: how words are told apart"),
    field("bleu", pa.float64(), "sentence BLEU of sacrebleu, [0, 100]"),
    field("rouge1", pa.float64(), "F1 of unigrams, [0, 1]"),
    field("rouge2", pa.float64(), "F1 of bigrams"),
    field("rougeL", pa.float64(), "F1 of the longest common subsequence"),
    field("source", pa.string(), "file and row"),
    *_ASKED,
)
