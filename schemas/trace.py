"""Trace: why something is not in the output. Failed: what could not be made, and why."""

from __future__ import annotations

import pyarrow as pa

from schemas.fields import field, schema

TRACE = schema(
    "trace/1",
    field("id", pa.string(), "id of what was dropped; empty for a file"),
    field("source", pa.string(), "where it came from"),
    field("step", pa.string(), "read, passages, generate, check, …"),
    field("rule", pa.string(), "name of the rule that dropped it"),
    field("value", pa.float64(), "measured value, null where the rule has none"),
    field("threshold", pa.float64(), "threshold it was held against"),
    field("twin_id", pa.string(), "for a duplicate: id of the one kept"),
    field("similarity", pa.float64(), "for a duplicate: Jaccard similarity to the one kept"),
    field("excerpt", pa.string(), "its beginning, or the error"),
)

FAILED = schema(
    "failed/1",
    field("id", pa.string(), "id of the Document (passage)"),
    field("source", pa.string(), "where it came from"),
    field("step", pa.string(), "question, answer, …"),
    field(
        "class",
        pa.string(),
        "rate, quota, auth, content_filter, context_length, connection, server, timeout, malformed, truncated, "
        "empty, schema",
    ),
    field("message", pa.string(), "what the provider said last"),
    field("attempts", pa.int32(), "tries in all"),
)
