"""The items of an exam, out of whatever file they come in: what decontamination looks for.

An exam comes as a list in a text file, as ExamItem parquet, or as anything else that the readers of documents know;
all of it becomes a stem and its options. Answers are not needed: the hidden part of an exam must be found too.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datatools.dedupe.exact import question_key
from datatools.io.columns import QUESTION, Roles, find_roles, first
from datatools.io.encoding import decode
from datatools.io.files import discover
from datatools.io.read import BROKEN, describe, read
from datatools.io.rows import exam_options
from datatools.io.source import Fault, Note, ReadOptions, Source
from schemas.document import Document, document_id

_OPTION_LINE = re.compile(r"\s*[(（]?[A-HＡ-Ｈ][.、．:：)）\s]\s*(?=\S)")
_NUMBER = re.compile(r"^[(（]?\d{1,5}[.、．)）:：]\s*(?!\d)")


@dataclass(frozen=True, slots=True)
class Item:
    """A question of an exam: what is looked for."""

    id: str
    stem: str
    options: tuple[str, ...] = ()
    exam: str = ""


def items(inputs: Sequence[str]) -> Iterator[Item | Fault]:
    """The items of exams in files, folders or `hf:org/name` of any shape the readers know, and what could not be read.

    ExamItem parquet; tables and records with a question and options in one column or a column a letter, with or
    without an answer; question-answer pairs; text files of one question a line, its options on the lines below it.
    The id is the input's own, else a hash of the question; `exam` is the input's, else the file's name.
    Raises ValueError for an input that does not exist.
    """
    sources, faults = discover(inputs)
    yield from faults
    for source in sources:
        if source.format in ("txt", "markdown"):
            try:
                text = decode(source.read()).text
            except BROKEN as error:
                yield Fault(source.name, describe(error))
            else:
                yield from _listed(source.name, text)
        elif source.format == "parquet" and (records := _exam_records(source)) is not None:
            yield from (_of_record(record, source.name) for record in records)
        else:
            found = (_of_document(one) if isinstance(one, Document) else one for one in read(source, ReadOptions()))
            yield from (one for one in found if not isinstance(one, Note))


def _listed(exam: str, text: str) -> Iterator[Item]:
    """Items of a list of questions; lines that begin with a letter and a mark are options of the one above."""
    question, options = "", list[str]()
    for line in [*text.split("\n"), "?"]:
        if question and (option := _OPTION_LINE.match(line)):
            options.append(line[option.end() :].strip())
        elif line.strip():
            if question:
                yield Item(question_key(question).hex(), question, tuple(options), exam)
            question, options = _NUMBER.sub("", line.strip()), []


def _exam_records(source: Source) -> list[dict[str, Any]] | None:
    """The rows of an ExamItem file, whose options are a map; None for any other, also a broken one."""
    try:
        table = pq.read_table(io.BytesIO(source.read()))
    except (OSError, pa.ArrowException):
        return None
    place = table.schema.get_field_index("options")
    is_map = place >= 0 and pa.types.is_map(table.schema.field(place).type) and "question" in table.schema.names
    return table.to_pylist() if is_map else None


def _of_record(record: dict[str, Any], name: str) -> Item:
    question = record["question"] or ""
    options = tuple(text or "" for _, text in record["options"] or ())
    return Item(record.get("id") or question_key(question).hex(), question, options, record.get("exam") or name)


def _of_document(document: Document) -> Item:
    meta, options = document.meta, list[str]()
    stem, fields = meta.get("question") or "", meta.get("fields", {})
    if stem:
        stem, *options = re.split(r"\n(?=[A-P]\. )", stem)
        options = [option[3:] for option in options]
        if not options and {"B", "C"} <= fields.keys():  # without an answer column the readers took A for it
            options = [meta["answer"], *exam_options(fields, Roles("exam", options=("B", "C", "D", "E"))).values()]
    elif "messages" in meta:
        stem = next(turn["content"] for turn in meta["messages"] if turn["role"] == "user")
    else:  # no answer at all: with one, the readers would have known it for an exam
        row = {**fields, "answer": "?"}
        roles = find_roles([row if first(list(row), QUESTION) else {"question": document.text, **row}], ReadOptions())
        stem = row.get(roles.question) or document.text
        options = list(exam_options(row, roles).values()) if roles.kind == "exam" else []
    own = document.id != document_id(document.source, document.offset, document.text)
    return Item(document.id if own else question_key(stem).hex(), stem, tuple(options), document.source)
