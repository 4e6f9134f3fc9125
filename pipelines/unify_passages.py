"""The part of unify that runs in parallel: a unit of sources becomes passages, and pairs where no model is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import xxhash

from datatools.checks.verbatim import verbatim_checks
from datatools.clean.normalise import normalise
from datatools.clean.passages import passages
from datatools.clean.torn import RUN, torn_lines
from datatools.dedupe.exact import question_key, text_key
from datatools.engine.units import Unit
from datatools.io.source import ReadOptions
from datatools.llm import rules
from datatools.llm.topic import Passage
from pipelines.documents import windows
from schemas.conversation import CONVERSATION
from schemas.document import DOCUMENT, Document
from schemas.trace import TRACE

# Raised when a change here or in the operators gives other passages or pairs: finished units are then made again.
VERSION = 2

KEY = pa.binary(16)
PASSAGES = pa.schema([*DOCUMENT, pa.field("key", KEY), pa.field("has_pair", pa.bool_())])
PAIRS = pa.schema([*CONVERSATION, pa.field("passage", pa.int64()), pa.field("question_key", KEY)])
NOTES = pa.schema([pa.field("source", pa.string()), pa.field("message", pa.string())])
STREAMS = {"passages": PASSAGES, "pairs": PAIRS, "trace": TRACE, "notes": NOTES}

# Shorter answers teach nothing: a cross-reference, a signature, a remark such as （凡五类）.
SHORTEST_HAN, SHORTEST_LATIN = 15, 60
BATCH = 2000


@dataclass(frozen=True, slots=True)
class PassageSettings:
    """What shapes the passages and the pairs made without a model."""

    text_column: str | None = None
    source_type: str | None = None
    characters: int = 800
    words: int = 500
    pairs: int = 1  # per passage by the built-in generator; 0 leaves the passages to a model
    rewrite_pairs: bool = False
    limit: int | None = None  # documents


class Rows:
    """The rows of one unit on their way to its streams."""

    def __init__(self, tally: Counter[str]) -> None:
        self.tally = tally
        self.passages = 0
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in STREAMS}

    def add(self, stream: str, row: dict[str, Any]) -> None:
        """A row for one of the streams."""
        self._rows[stream].append(row)

    def trace(self, step: str, rule: str, source: str, excerpt: str, **more: Any) -> None:
        """A trace row."""
        self.add("trace", {"id": "", **more, "source": source, "step": step, "rule": rule, "excerpt": excerpt[:200]})

    def tables(self, at_least: int) -> Iterator[tuple[str, pa.Table]]:
        """The streams that hold `at_least` rows, as tables; their rows are gone from here then."""
        for stream, rows in self._rows.items():
            if len(rows) >= at_least:
                yield stream, pa.Table.from_pylist(rows, schema=STREAMS[stream])
                rows.clear()


def passages_of(unit: Unit, settings: PassageSettings, tally: Counter[str]) -> Iterator[tuple[str, pa.Table]]:
    """Read, clean and cut the sources of a unit; pass existing pairs through; make pairs by rule if asked to.

    `tally` counts `rows_read`, the documents. Everything left out is in the trace.
    """
    rows = Rows(tally)
    options = ReadOptions(text_column=settings.text_column, source_type=settings.source_type)
    for source in unit.sources:
        asked: set[bytes] = set()
        for window in windows(source, options, rows, settings.limit):
            for document in window:
                add_document(document, settings, rows, asked)
            yield from rows.tables(BATCH)
    yield from rows.tables(1)


def add_document(document: Document, settings: PassageSettings, rows: Rows, asked: set[bytes]) -> None:
    """Cut a document into passages and make its pairs; `asked` holds the questions already asked of its source."""
    meta = document.meta
    if ("question" in meta or "messages" in meta) and not (settings.rewrite_pairs and not settings.pairs):
        _add_passage(document, rows, has_pair=True)
        _add_source_pair(document, rows)
        return
    texts = passages(document.text, settings.characters, settings.words)
    for part, text in enumerate(texts):
        piece = document.piece(text.strip(), id=document.id if len(texts) == 1 else f"{document.id}.{part + 1}")
        if _too_short(piece, rows) or _torn(piece, rows):
            continue
        made = _rule_pairs(Passage(piece, part, len(texts)), settings.pairs, asked)
        _add_passage(piece, rows, has_pair=bool(made))
        for question, rule, key in made:
            messages = [{"role": "user", "content": question}, {"role": "assistant", "content": piece.text}]
            checks = verbatim_checks(question, piece.text, piece.language)
            rows.add(
                "pairs",
                pair_row(piece, messages, key, "rules", f"rules.{rule}@{rules.VERSION}", checks, rows.passages - 1),
            )
        if settings.pairs and not made:
            rows.trace("generate", "no_question", piece.source, piece.text, id=piece.id)


def _too_short(document: Document, rows: Rows) -> bool:
    length = len(document.text)
    shortest = SHORTEST_LATIN if document.text.isascii() else SHORTEST_HAN
    if length >= shortest or document.meta.get("fields"):
        return False
    rows.trace(
        "passages", "too_short", document.source, document.text, id=document.id, value=length, threshold=shortest
    )
    return True


def _torn(document: Document, rows: Rows) -> bool:
    lines = 0 if document.meta.get("fields") else torn_lines(document.text)
    if lines:
        rows.trace("passages", "torn_lines", document.source, document.text, id=document.id, value=lines, threshold=RUN)
    return bool(lines)


def _rule_pairs(passage: Passage, count: int, asked: set[bytes]) -> list[tuple[str, str, bytes]]:
    """Up to `count` questions not asked of this source before, each with its rule and key."""
    made: list[tuple[str, str, bytes]] = []
    if not count:
        return made
    for question, rule in rules.questions(passage):
        key = question_key(question)
        if key not in asked:
            asked.add(key)
            made.append((question, rule, key))
            if len(made) == count:
                break
    return made


def _add_passage(document: Document, rows: Rows, *, has_pair: bool) -> None:
    rows.add("passages", {**document.record(), "key": text_key(document.text), "has_pair": has_pair})
    rows.passages += 1


def _add_source_pair(document: Document, rows: Rows) -> None:
    """A pair or conversation that stands in the source, as it stands there."""
    meta = document.meta
    if "messages" in meta:
        messages = [{**turn, "content": normalise(turn["content"])} for turn in meta["messages"]]
    else:
        messages = [
            {"role": "user", "content": normalise(meta["question"])},
            {"role": "assistant", "content": normalise(meta["answer"])},
        ]
    asked = "\n".join(turn["content"] for turn in messages if turn["role"] == "user")
    checks = verbatim_checks(asked, messages[-1]["content"], document.language)
    key = question_key(asked)
    rows.add("pairs", pair_row(document, messages, key, "source", "", checks, rows.passages - 1))


def pair_row(
    document: Document,
    messages: list[dict[str, str]],
    key: bytes,
    generator: str,
    prompt: str,
    checks: dict[str, Any],
    passage: int,
    **more: Any,
) -> dict[str, Any]:
    """A row of the pairs stream: a Conversation, the key of its question and the number of its passage."""
    content = "\0".join(turn["content"] for turn in messages)
    name = xxhash.xxh3_128_hexdigest(f"{document.id}\0{content}".encode("utf-8", "surrogatepass"))
    return {
        "id": document.id if generator == "source" else name,
        "messages": messages,
        "task": "unify",
        "language": document.language,
        "source_id": document.id,
        "source": document.source,
        "source_type": document.source_type or "other",
        "generator": generator,
        "prompt": prompt,
        "checks": checks,
        "flags": [],
        "usage": None,
        "passage": passage,
        "question_key": key,
        **more,
    }
