"""Cases from files: Case records, and records of patients whose labelled parts are cut into facts by rules.

What has no labelled parts comes as Free: its facts are for a model to find.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow.parquet as pq

from datatools.cases.labelled import conclusion_of, facts_of
from datatools.clean.pii import redact
from datatools.io.encoding import decode
from datatools.io.read import IN_CHARACTERS, read
from datatools.io.source import Fault, ReadOptions, Source
from schemas.case import Case, Fact, case_id
from schemas.document import Document, document_id
from schemas.fields import name_of

LONGEST_ARTICLE = 6000  # characters of an article that facts are looked for in: symptoms stand before surgery
_AS_IT_IS = ReadOptions(unanswered=True)
_DEPARTMENT = ("department", "Department", "科室", "就诊科室")


@dataclass(frozen=True, slots=True)
class Free:
    """A text whose facts no rule can find: a patient's words with a clinician's, or an article about a disease."""

    id: str
    text: str
    source: str
    conclusion: str = ""  # what the clinician answered
    department: str = ""
    title: str = ""


Item: TypeAlias = Case | Free | Fault


def cases(sources: Iterable[Source], options: ReadOptions = _AS_IT_IS) -> Iterator[Item]:
    """The cases of all sources in order; personal data in them is replaced by placeholders."""
    for source in sources:
        if (records := _records(source)) is not None:
            yield from records
            continue
        for item in read(source, options):
            if isinstance(item, Document):
                yield _case(item)
            elif isinstance(item, Fault):
                yield item


def articles(sources: Iterable[Source], options: ReadOptions = _AS_IT_IS) -> Iterator[Item]:
    """The articles of all sources in order: the sections of a page together, each row of a table alone."""
    for source in sources:
        together: list[Document] = []
        for item in read(source, options):
            if isinstance(item, Document):
                same = together and item.title == together[0].title and source.format in IN_CHARACTERS
                if together and not same:
                    yield _article(together)
                    together = []
                together.append(item)
            elif isinstance(item, Fault):
                yield item
        if together:
            yield _article(together)


def _article(sections: list[Document]) -> Free:
    first = sections[0]
    text = "\n\n".join("\n".join((*section.section[-1:], section.text)) for section in sections)[:LONGEST_ARTICLE]
    id = first.id if len(sections) == 1 else document_id(first.source, first.offset, text)
    return Free(id, redact(text)[0], first.source, title=first.title or (first.section[0] if first.section else ""))


def _case(document: Document) -> Case | Free:
    question = redact(str(document.meta.get("question", document.text)))[0]
    answer = redact(str(document.meta.get("answer", "")))[0]
    fields: Mapping[str, Any] = document.meta.get("fields", {})
    department = next((str(fields[name]) for name in _DEPARTMENT if fields.get(name)), "")
    if not (facts := facts_of(question)):
        return Free(document.id, question, document.source, answer, department, document.title)
    diagnosis, concluded = conclusion_of(answer)
    return Case(document.id, facts + concluded, diagnosis, department, document.source)


def _records(source: Source) -> Iterator[Item] | None:
    """The Case records of a file that holds such; None for any other file."""
    if source.format == "parquet":
        if name_of(pq.read_schema(source.path)) == "case/1":
            return _from_rows(source, enumerate(pq.read_table(source.path).to_pylist(), 1))
    elif source.format in ("json", "jsonl") and b'"layer"' in source.beginning(1 << 16):
        return _from_rows(source, _json_rows(source))
    return None


def _json_rows(source: Source) -> Iterator[tuple[int, Any]]:
    text = decode(source.read()).text
    if source.format == "json":
        yield from enumerate(json.loads(text), 1)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError as error:
                yield number, error


def _from_rows(source: Source, rows: Iterable[tuple[int, Any]]) -> Iterator[Item]:
    for number, row in rows:
        where = f"{source.name}:{number}"
        try:
            case = Case.from_record(row)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            yield Fault(where, f"not a case: {error}", "malformed_row")
            continue
        if not case.facts:
            yield Fault(where, "not a case: it has no facts", "malformed_row")
            continue
        facts = tuple(Fact(redact(fact.text)[0], fact.layer) for fact in case.facts)
        yield Case(row.get("id") or case_id(facts), facts, case.diagnosis, case.department, case.source or source.name)
