"""Exam items with their answers, out of the layouts exams come in: CMExam, CMB, MedQA, MedMCQA, CMMLU, MMLU, ExamItem.

Any table of the readers will do that has a question, options (one column, or one a letter) and an answer (letters, the
number of an option, or its words). A bad item stops the whole: an exam that is silently shorter is another exam.
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from datatools.dedupe.exact import question_key
from datatools.io.columns import EXPLANATION, ID, OPTIONS, QUESTION, Roles, first, plain
from datatools.io.files import discover
from datatools.io.read import read
from datatools.io.rows import exam_options
from datatools.io.source import Fault, ReadOptions, Source
from schemas.document import Document

LETTERS = "ABCDEFGHIJKLMNOP"
ANSWERS = (
    *("answer_idx", "answer_index", "cop", "answer", "answers", "correct_answer", "correct_option", "答案", "正确答案"),
    *("参考答案", "correct", "label", "target", "ans"),
)
SUBJECTS = (
    *("subject", "exam_subject", "subject_name", "medical discipline", "discipline", "department", "科室", "学科"),
    *("科目", "meta_info", "category", "exam_class"),
)
TYPES = ("type", "question_type", "choice_type", "题型", "questiontype")
EXAMS = ("exam", "exam_name", "exam_type", "dataset", "考试")
COUNTED = "cop"  # MedMCQA's column: a number that begins at 0 in some copies and at 1 in others
_LABEL = re.compile(r"\s*[(（]?([A-Pa-p])(?:[.、．:：)）]|\s)\s*(?=\S)")
_LETTERS = re.compile(r"[A-P](?:[\s,，、;；和与/|+]*[A-P])*")
_AROUND = re.compile(r"^(?:正确)?(?:答案|answer)?(?:是|为|is)?[\s:：]*[(（【\[]*|[)）】\].。\s]+$", re.IGNORECASE)
_UNNAMED = re.compile(r"column \d+")
_SPLIT = re.compile(r"\n(?=\s*[(（]?[A-P][.、．:：)）])")


@dataclass(frozen=True, slots=True)
class ExamItem:
    """A question with its options by letter and the letters of those that are right."""

    id: str
    exam: str
    subject: str
    type: str  # as the exam says, else single or multiple by the answer
    question: str
    options: Mapping[str, str]
    answer: tuple[str, ...]
    explanation: str = ""
    source: str = ""
    stated: bool = False  # the type is the exam's own: saying it gives nothing of the answer away

    @property
    def key(self) -> str:
        """Equal for the same question with the same options in the same order, character for character."""
        return xxhash.xxh3_128_hexdigest(self.text.encode("utf-8", "replace"))

    @property
    def text(self) -> str:
        """The stem and its options, one a line."""
        return "\n".join([self.question, *(f"{letter}. {text}" for letter, text in self.options.items())])


def exam_items(inputs: Sequence[str], limit: int | None = None) -> list[ExamItem]:
    """The items in files and folders, in their order.

    `exam` is the file's own, else the name of the folder or file; `subject` is the file's own, else the name of the
    file within a folder. Raises ValueError, naming file and row, for the first item without an answer or options, with
    an answer outside its options, or that stands there twice, and for a file that cannot be read.
    """
    items: list[ExamItem] = []
    for name in inputs:
        sources, faults = discover([name])
        for fault in faults:
            if fault.rule == "unreadable":
                raise ValueError(f"{fault.source}: {fault.message}")
        for source in sources:
            alone = len(sources) == 1 and not Path(name).is_dir()
            exam = Path(name.rstrip("/")).name.split(".")[0]
            items += _of_source(source, exam, "" if alone else Path(source.name).name.split(".")[0])
    if not items:
        raise ValueError(f"{', '.join(inputs)}: no exam items there")
    _refuse_duplicates(items)
    return _own_ids(items[:limit])


def _refuse_duplicates(items: Sequence[ExamItem]) -> None:
    seen: dict[str, ExamItem] = {}
    twice = [(item, before) for item in items if (before := seen.setdefault(item.key, item)) is not item]
    if twice:
        item, before = twice[0]
        raise ValueError(
            f"{item.source}: the same item as {before.source} ({item.question[:30]}…)"
            f"{_more(len(twice) - 1)}; an item that stands there twice would count twice"
        )


def alike(items: Sequence[ExamItem]) -> int:
    """Items that differ from an earlier one in punctuation and white space alone: published exams have some."""
    return len(items) - len({question_key(item.text) for item in items})


def _more(count: int) -> str:
    return f", and {count:,} more like it" if count else ""


def _own_ids(items: Sequence[ExamItem]) -> list[ExamItem]:
    """The items with ids of their own: where one repeats (each subject counts from 1), a hash of the item."""
    counts: dict[str, int] = {}
    for item in items:
        counts[item.id] = counts.get(item.id, 0) + 1
    return [
        item
        if item.id and counts[item.id] == 1
        else ExamItem(
            item.key, item.exam, item.subject, item.type, item.question, item.options, item.answer,
            item.explanation, item.source, item.stated,
        )
        for item in items
    ]  # fmt: skip


def _of_source(source: Source, exam: str, subject: str) -> list[ExamItem]:
    rows: list[tuple[str, Mapping[str, Any]]] = []
    for one in read(source, ReadOptions(rows=True)):
        if isinstance(one, Fault) and one.rule != "empty_row":
            raise ValueError(f"{one.source}: {one.message}")
        if isinstance(one, Document) and "row" in one.meta:
            rows.append((f"{source.name}:{one.offset}", one.meta["row"]))
        elif isinstance(one, Document):
            raise ValueError(f"{source.name}: no table; exam items are rows of JSON Lines, CSV, xlsx or parquet")
    if not rows:
        return []
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    found = _columns(columns, source.name)
    base = _base(source.name, [row.get(found.answer) for _, row in rows], rows, found)
    items: list[ExamItem] = []
    problems: list[str] = []
    for place, row in rows:
        made = _item(row, found, base, place, exam, subject)
        if isinstance(made, str):
            problems.append(f"{place}: {made}")
        else:
            items.append(made)
    if problems:
        raise ValueError(problems[0] + _more(len(problems) - 1))
    return items


@dataclass(frozen=True, slots=True)
class _Columns:
    question: str
    options: tuple[str, ...]  # none where they stand below the question
    answer: str
    explanation: str
    id: str
    exam: str
    subject: str
    type: str


def _columns(columns: Sequence[str], name: str) -> _Columns:
    unnamed = [column for column in columns if _UNNAMED.fullmatch(column)]
    if len(unnamed) == len(columns) >= 5:  # MMLU's tables: question, options, answer, and no names
        return _Columns(columns[0], tuple(columns[1:-1]), columns[-1], "", "", "", "", "")
    options: tuple[str, ...] = (first(columns, OPTIONS),)
    if not options[0]:
        spelled = (
            first(columns, (one, f"option{one}", f"option_{one}", f"op{one}", f"选项{one}"))
            for one in LETTERS.casefold()
        )
        options = tuple(column for column in spelled if column)
        options = options if len(options) >= 2 else ()
    question = first([column for column in columns if column not in options], QUESTION)
    answer = first([column for column in columns if column not in options], ANSWERS)
    if not question:
        raise ValueError(f"{name}: no column holds questions; there are {', '.join(columns[:12])}")
    if not answer:
        raise ValueError(
            f"{name}: no column holds answers (answer, answer_idx, cop, 答案, …): nothing to score against"
        )
    return _Columns(
        question,
        options,
        answer,
        first(columns, EXPLANATION),
        first(columns, ID),
        first(columns, EXAMS),
        first(columns, SUBJECTS),
        first(columns, TYPES),
    )


def _base(name: str, cells: Sequence[Any], rows: Sequence[tuple[str, Mapping[str, Any]]], found: _Columns) -> int:
    """Whether the first option is 0 or 1, where answers are numbers. ValueError where the file leaves it open."""
    numbers = [int(text) for cell in cells if (text := plain(cell).strip()).lstrip("-").isdigit()]
    if not numbers or min(numbers) <= 0:
        return 0
    if found.answer.casefold() != COUNTED:
        return 0 if all(_count(row, found) > number for (_, row), number in zip(rows, numbers, strict=False)) else 1
    if any(number >= _count(row, found) for (_, row), number in zip(rows, numbers, strict=False)):
        return 1
    raise ValueError(f"{name}: answers in {found.answer} are numbers, and whether the first option is 0 or 1 is open")


def _count(row: Mapping[str, Any], found: _Columns) -> int:
    return len(_options(row, found)[1])


def _item(row: Mapping[str, Any], found: _Columns, base: int, place: str, exam: str, subject: str) -> ExamItem | str:
    """The item in a row, or what is wrong with it."""
    question, options = _options(row, found)
    said = plain(row.get(found.explanation)).replace("\\n", "\n").strip() if found.explanation else ""
    if not question:
        return "the question is empty"
    if len(options) < 2:
        return f"options are missing ({question[:30]}…)"
    answer = letters_of(row.get(found.answer), options, base)
    if not answer:
        return f"no answer ({question[:30]}…)"
    if isinstance(answer, str):
        return f"answer {answer} is none of the options {', '.join(options)} ({question[:30]}…)"
    stated = plain(row.get(found.type)).strip() if found.type else ""
    return ExamItem(
        plain(row.get(found.id)).strip() if found.id else "",
        (plain(row.get(found.exam)).strip() if found.exam else "") or exam,
        (plain(row.get(found.subject)).strip() if found.subject else "") or subject,
        stated or ("multiple" if len(answer) > 1 else "single"),
        question,
        options,
        answer,
        said,
        place,
        bool(stated),
    )


def _options(row: Mapping[str, Any], found: _Columns) -> tuple[str, dict[str, str]]:
    """The stem, and its options by letter, those that are empty left out."""
    stem = plain(row.get(found.question)).strip()
    if not found.options:
        stem, *lines = _SPLIT.split(stem)
        return stem.strip(), _labelled("\n".join(lines)) or {}
    cell = row.get(found.options[0]) if len(found.options) == 1 else None
    if isinstance(cell, str) and cell.strip()[:1] in ("{", "["):
        cell = _literal(cell)
    if isinstance(cell, list) and cell and all(isinstance(one, list | tuple) and len(one) == 2 for one in cell):
        cell = dict(cell)  # Arrow's maps
    if isinstance(cell, list) and cell and all(isinstance(one, Mapping) and "key" in one for one in cell):
        cell = {one["key"]: one.get("value", one.get("text", "")) for one in cell}
    if isinstance(cell, str) and (labelled := _labelled(cell.replace("\\n", "\n"))):
        return stem, labelled
    if cell is not None and len(found.options) == 1:
        row = {**row, found.options[0]: cell}
        listed = exam_options(row, Roles("exam", options=found.options))
        return stem, {letter.upper(): text for letter, text in listed.items()}
    cells = [plain(row.get(column)).strip() for column in found.options]
    return stem, {letter: text for letter, text in zip(LETTERS, cells, strict=False) if text}


def _labelled(text: str) -> dict[str, str]:
    """Options out of lines that begin with A, B, C in their order; a line without a letter belongs to the one above."""
    options: dict[str, str] = {}
    for line in text.split("\n"):
        label = _LABEL.match(line)
        if label and len(options) < len(LETTERS) and label[1].upper() == LETTERS[len(options)]:
            options[label[1].upper()] = line[label.end() :].strip()
        elif options and line.strip():
            last = next(reversed(options))
            options[last] = f"{options[last]}\n{line.strip()}"
    return options if len(options) > 1 else {}


def _literal(text: str) -> Any:
    """A list or object as JSON or as Python writes it, or the text itself."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


def letters_of(cell: Any, options: Mapping[str, str], base: int = 0) -> tuple[str, ...] | str:
    """The letters that an answer names, in order; empty where it is empty, a string where it names none of the options.

    >>> letters_of("ＡC", {"A": "1", "B": "2", "C": "3"}), letters_of(2, {"A": "x", "B": "y", "C": "z"})
    (('A', 'C'), ('C',))
    >>> letters_of("出血量", {"A": "部位", "B": "出血量"}), letters_of("E", {"A": "部位", "B": "出血量"})
    (('B',), 'E')
    """
    if isinstance(cell, str) and cell.strip()[:1] == "[":
        cell = _literal(cell)
    if isinstance(cell, list | tuple):
        each = [letters_of(one, options, base) for one in cell]
        wrong = next((one for one in each if isinstance(one, str)), None)
        return wrong if wrong is not None else tuple(sorted({letter for one in each for letter in one}))
    said = unicodedata.normalize("NFKC", plain(cell)).strip()
    if not said or said.casefold() in ("nan", "none", "null", "-1"):
        return ()
    if said.isdigit():
        place = int(said) - base
        known = list(options)
        return (known[place],) if 0 <= place < len(known) else said
    by_words = tuple(letter for letter, text in options.items() if text.strip() == plain(cell).strip())
    bare = _AROUND.sub("", said).strip()
    if _LETTERS.fullmatch(bare.upper()) and not (by_words and len(bare) > 1):
        letters = tuple(sorted(set(re.findall("[A-P]", bare.upper()))))
        return letters if set(letters) <= set(options) else by_words or said[:20]
    return by_words or said[:20]
