"""Which column of a table, or key of a record, is what: told from its name and from what it holds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datatools.io.source import ReadOptions

PROSE = 80  # mean characters of a column from which on it can be the text of a table of many columns
SAMPLE = 200  # rows looked at to tell the roles; enough for content to show, little enough to hold in memory

TEXT = (
    *("text", "content", "contents", "正文", "内容", "文本", "body", "article", "passage", "document", "abstract"),
    *("摘要", "abstracttext", "raw_content", "page_content", "全文", "段落", "paragraph", "context"),
)
QUESTION = (
    *("question", "questions", "问题", "提问", "ask", "query", "instruction", "prompt", "input", "q", "题目", "题干"),
    *("患者提问", "问", "medical_case", "病情描述", "description", "patient", "user", "human"),
)
ANSWER = (
    *("answer", "answers", "回答", "答案", "回复", "response", "output", "reply", "completion", "long_answer", "a"),
    *("医生回答", "医生回复", "答", "doctor_diagnosis", "doctor", "assistant", "chatgpt_response", "bot"),
)
TITLE = ("title", "标题", "题名", "name", "名称", "疾病名称", "药品名称", "term", "entity", "headline")
ID = ("id", "_id", "uid", "uuid", "doc_id", "docid", "document_id", "pmid", "pmcid", "qid", "编号", "序号", "index")
LANGUAGE = ("language", "lang", "语言", "语种")
LICENSE = ("license", "licence", "许可", "许可证")
SECTION = ("section", "section_title", "heading", "headings", "chapter", "章节", "目录")
OPTIONS = ("options", "choices", "option", "选项")
EXPLANATION = ("explanation", "analysis", "解析", "解释", "rationale", "exp")
SYSTEM = ("system", "system_prompt")
RELATION = ("relation", "relationship", "predicate", "关系", "谓语")
NODE = 60  # characters of a name at most; longer ones say something
BODY_OF_TITLE = ("ask", "description", "病情描述", "question_body", "body")  # said after a title that is the question

SPEAKERS = {
    **dict.fromkeys(("human", "user", "patient", "患者", "病人", "用户", "问", "q", "inquirer"), "user"),
    **dict.fromkeys(("gpt", "assistant", "doctor", "医生", "大夫", "bot", "答", "model", "chatgpt", "a"), "assistant"),
    "system": "system",
}
TURN = re.compile(r"\s*(问|答|患者|病人|医生|大夫)\s*[:：]\s*")
FIRST_PERSON = re.compile(r"我|请问|您好|你好|医生|大夫|怎么办|\bI\b|\bmy\b|\bdoctor\b", re.IGNORECASE)
STUDY = re.compile(r"\b(patients|methods|results|conclusions?|study|studies|we|analysis)\b", re.IGNORECASE)
FIELD = re.compile(r"[A-Za-z_][\w .()/-]{0,39}|[\u4e00-\u9fff][\w（）()/]{0,7}")


@dataclass(frozen=True, slots=True)
class Roles:
    """What each column is for; an empty name says there is no such column. Names may be dotted paths."""

    kind: str  # text, pair, exam, conversation, fields (a row of named values) or triple (two names, how they relate)
    text: str = ""  # of kind text; the list of turns of kind conversation
    question: str = ""
    answer: str = ""
    input: str = ""  # Alpaca's second half of the question
    options: tuple[str, ...] = ()  # exam: one column that holds all, or one column a letter
    explanation: str = ""
    system: str = ""
    title: str = ""
    id: str = ""
    language: str = ""
    license: str = ""
    section: str = ""
    source_type: str = "other"
    named: bool = True  # told by name or shape, not by length alone

    def used(self) -> set[str]:
        """The columns that become the document itself and need not be kept as fields."""
        named = (self.text, self.question, self.answer, self.input, self.explanation, self.system)
        placed = (self.id, self.language, self.license, self.section)
        title = self.title if self.kind in ("text", "conversation") else ""
        return {*named, *placed, *self.options, title} - {""}

    def describe(self) -> str:
        """The mapping as a user reads it: `text = abstract; id = pmid`."""
        if self.kind == "fields":
            main = "every column is a field"
        elif self.kind == "triple":
            main = "triples of a graph, no text: `datatools tcm` asks about them"
        elif self.kind in ("pair", "exam"):
            question = f"{self.question} + {self.input}" if self.input else self.question
            main = f"question = {question}, answer = {self.answer}"
        else:
            main = f"{'messages' if self.kind == 'conversation' else 'text'} = {self.text}"
        rest = [(role, getattr(self, role)) for role in ("title", "id", "language", "license", "section")]
        return "; ".join([main, *(f"{role} = {column}" for role, column in rest if column)])


def find_roles(rows: Sequence[Mapping[str, Any]], options: ReadOptions) -> Roles:
    """What each column of `rows` (the first rows of a table, SAMPLE are enough) is for.

    A `text_column` given by the user wins; then conversations, exam items, question-answer pairs and text are told by
    name and shape; then a table of many short columns is read as fields; else the longest column is the text.
    Raises ValueError, naming the columns there are, when the given column is in none of the rows.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    common = {
        "id": _identifier(rows, columns),
        "language": first(columns, LANGUAGE),
        "license": first(columns, LICENSE),
        "section": first(columns, SECTION),
        "title": first(columns, TITLE),
    }
    if options.text_column:
        main = _given_text(rows, columns, options.text_column)
    else:
        told = _conversation(rows, columns) or _exam(columns) or _pair(rows, columns) or _triple(rows, columns)
        main = told or _text(rows, columns, common)
    taken = {value for value in main.values() if isinstance(value, str)}
    roles = {**{role: column for role, column in common.items() if column not in taken}, **main}
    roles["source_type"] = options.source_type or main.get("source_type", "other")
    return Roles(**roles)


def first(columns: Sequence[str], names: Sequence[str]) -> str:
    """The column whose name, in any case, stands first in `names`; empty when there is none."""
    folded = {column.strip().casefold(): column for column in reversed(columns)}
    return next((folded[name] for name in names if name in folded), "")


def value(row: Mapping[str, Any], path: str) -> Any:
    """What is at a column name or a dotted path of nested keys; None when nothing is.

    >>> value({"meta": {"body": "text"}}, "meta.body")
    'text'
    """
    if path in row:
        return row[path]
    found: Any = row
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def plain(cell: Any) -> str:
    """A cell as a person reads it: 1.0 is 1, a list is lines, bytes that are no text and nothing at all are empty."""
    if cell is None or cell != cell:  # NaN is how a missing cell of a numeric column arrives
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "ignore") if b"\0" not in cell else ""
    if isinstance(cell, float) and cell.is_integer():
        return f"{cell:.0f}"
    if isinstance(cell, list | tuple):
        if any(isinstance(item, Mapping) for item in cell):
            return json.dumps(cell, ensure_ascii=False, default=str)
        return "\n".join(filter(None, map(plain, cell)))
    if isinstance(cell, Mapping):
        return "\n".join(f"{key}: {plain(item)}" for key, item in cell.items() if plain(item))
    return str(cell)


def turns(cell: Any) -> list[dict[str, str]]:
    """The turns of a conversation in any of its known shapes, as role and content; empty when it is none.

    Known: [{role, content}], [{from, value}], [{human, assistant}], ["问：…", "答：…"], [question, answer, …].
    """
    if not isinstance(cell, list | tuple) or not cell:
        return []
    if all(isinstance(turn, str) for turn in cell):
        return _spoken([str(turn) for turn in cell])
    found: list[dict[str, str]] = []
    for turn in cell:
        if not isinstance(turn, Mapping):
            return []
        if "human" in turn and "assistant" in turn:
            found.append({"role": "user", "content": plain(turn["human"]).strip()})
            found.append({"role": "assistant", "content": plain(turn["assistant"]).strip()})
            continue
        role, content = first(list(turn), ("role", "from", "speaker")), first(list(turn), ("content", "value", "text"))
        if not role or not content:
            return []
        speaker = plain(turn[role]).strip()
        found.append({"role": SPEAKERS.get(speaker.casefold(), speaker), "content": plain(turn[content]).strip()})
    return found


def _spoken(lines: Sequence[str]) -> list[dict[str, str]]:
    marked = [TURN.match(line) for line in lines]
    if all(marked):
        pairs = [(mark[1], line[mark.end() :]) for mark, line in zip(marked, lines, strict=True) if mark]
        return [{"role": SPEAKERS[speaker], "content": line.strip()} for speaker, line in pairs]
    if len(lines) % 2 or len(lines) < 2:
        return []
    return [{"role": ("user", "assistant")[i % 2], "content": line.strip()} for i, line in enumerate(lines)]


def _given_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], path: str) -> dict[str, Any]:
    if rows and all(value(row, path) is None for row in rows) and path not in columns:
        raise ValueError(f"no column {path!r}; the columns are {', '.join(columns)}")
    if any(isinstance(value(row, path), list) and _is_talk(path, value(row, path)) for row in rows):
        return {"kind": "conversation", "text": path, "system": first(columns, SYSTEM), "source_type": "consultation"}
    return {"kind": "text", "text": path, "source_type": _type_of_text(rows, path)}


def _is_talk(column: str, cell: Any) -> bool:
    """A list of plain strings is a talk only under a name that says so: lists of synonyms look the same."""
    said = turns(cell)
    listed = bool(said) and isinstance(cell[0], str) and not TURN.match(cell[0])
    return bool(said) and (not listed or column.casefold() in ("conversation", "conversations", "dialogue", "dialog"))


def _conversation(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> dict[str, Any] | None:
    for column in columns:
        cells = [row[column] for row in rows if row.get(column)]
        if cells and sum(_is_talk(column, cell) for cell in cells) * 2 > len(cells):
            system = first([name for name in columns if name != column], SYSTEM)
            return {"kind": "conversation", "text": column, "system": system, "source_type": "consultation"}
    return None


def _exam(columns: Sequence[str]) -> dict[str, Any] | None:
    question, answer = first(columns, QUESTION), first(columns, (*ANSWER, "answer_idx", "cop"))
    options: tuple[str, ...] = (first(columns, OPTIONS),)
    if not options[0]:
        letters = (first(columns, (letter, f"option{letter}", f"option_{letter}", f"op{letter}")) for letter in "abcde")
        options = tuple(column for column in letters if column)
        answer = answer if answer not in options else first([c for c in columns if c not in options], ANSWER)
        if len(options) < 3:
            return None
    if not question or not answer:
        return None
    explanation = first(columns, EXPLANATION)
    return {"kind": "exam", "question": question, "answer": answer, "options": options, "explanation": explanation}


def _pair(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> dict[str, Any] | None:
    question, answer = first(columns, QUESTION), first(columns, ANSWER)
    if not question or not answer:
        return None
    extra = "input" if question.casefold() in ("instruction", "prompt") else ""
    found = {"kind": "pair", "question": question, "answer": answer, "input": first(columns, (extra,)) if extra else ""}
    asked = [plain(row.get(question)) for row in rows]
    personal = sum(bool(FIRST_PERSON.search(text)) for text in asked)
    spoken_by_patient = question.casefold() in ("ask", "medical_case", "病情描述", "患者提问", "patient")
    patient = spoken_by_patient or personal * 4 >= max(1, len(asked))
    return {**found, "source_type": "consultation" if patient else "encyclopedia"}


def _triple(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> dict[str, Any] | None:
    """A relation and two names in every row, whatever the columns of the names are called."""
    relation = first(columns, RELATION)
    if not relation:
        return None
    for row in rows:
        said = [plain(cell).strip() for column, cell in row.items() if column.strip().casefold() not in ID]
        said = [text for text in said if text]
        if len(said) != 3 or relation not in row or any(len(text) > NODE or "\n" in text for text in said):
            return None
    return {"kind": "triple"}


def _text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], common: Mapping[str, str]) -> dict[str, Any]:
    lengths = {path: _mean_length(rows, path) for path in _paths(rows, columns) if path not in (common["id"], "")}
    named = first([column for column, length in lengths.items() if length], TEXT)
    if named:
        return {"kind": "text", "text": named, "source_type": _type_of_text(rows, named)}
    longest = max(lengths, key=lambda column: lengths[column], default="")
    total = sum(lengths.values())
    if len(lengths) >= 3 and (lengths[longest] < 0.75 * total or lengths[longest] < PROSE):
        return {"kind": "fields", "source_type": "encyclopedia" if common["title"] else "other", "named": False}
    empty = [column for column in lengths if not any(plain(value(row, column)).strip() for row in rows)]
    if not total and (named := first(empty, TEXT)):  # the first rows say nothing, later ones may
        return {"kind": "text", "text": named, "source_type": "other"}
    if not total:  # nothing but numbers, lists and blanks
        return {"kind": "fields", "named": False}
    return {"kind": "text", "text": longest, "source_type": _type_of_text(rows, longest), "named": False}


def _paths(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """The columns, those that hold an object by the paths of its keys."""
    nested = {
        column: next((row[column] for row in rows if isinstance(row.get(column), Mapping)), None) for column in columns
    }
    return [path for name, cell in nested.items() for path in ([f"{name}.{key}" for key in cell] if cell else [name])]


def _mean_length(rows: Sequence[Mapping[str, Any]], path: str) -> float:
    """Mean characters of the strings at a path; numbers, dates and lists have none."""
    cells = [value(row, path) for row in rows]
    return sum(len(cell.strip()) for cell in cells if isinstance(cell, str)) / max(1, len(cells))


def _type_of_text(rows: Sequence[Mapping[str, Any]], column: str) -> str:
    texts = [text for row in rows if (text := plain(value(row, column)))]
    names = {name.casefold() for row in rows[:1] for name in row}
    if names & {"pmid", "pmcid", "doi", "abstract", "journal", "摘要"}:
        return "literature"
    if names & {"url", "warc", "warc_id", "crawl_date"}:
        return "web"
    studies = sum(len({word.casefold() for word in STUDY.findall(text)}) >= 2 for text in texts)
    return "literature" if texts and studies >= 0.6 * len(texts) else "other"


def _identifier(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """An id column names each row once; one that repeats is a key into another table."""
    column = first(columns, ID)
    cells = [plain(row.get(column)) for row in rows] if column else []
    return column if cells and all(cells) and len(set(cells)) == len(cells) else ""


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first of the rows names the columns: told from known names, digits, lengths and repeats.

    >>> has_header([["疾病", "剂量"], ["感冒", "0.5 g"]]), has_header([["腹痛", "积热证"], ["腹痛", "虚寒证"]])
    (True, False)
    """
    if not rows:
        return False
    cells, body = [cell.strip() for cell in rows[0]], rows[1:]
    names = [cell for cell in cells if cell]
    if not names or len(set(names)) < len(names) or not all(map(FIELD.fullmatch, names)):
        return False
    known = {*TEXT, *QUESTION, *ANSWER, *TITLE, *ID, *SECTION, *OPTIONS, *EXPLANATION, "department", "科室", "url"}
    if any(name.casefold() in known for name in names):
        return True
    columns = [(cell, [row[k].strip() for row in body if k < len(row)]) for k, cell in enumerate(cells) if cell]
    if not body or any(cell in below for cell, below in columns):
        return False
    return any(_differs(cell, below) for cell, below in columns)


def _differs(cell: str, below: Sequence[str]) -> bool:
    """Whether a cell looks unlike those under it: they hold digits, or are three times as long."""
    digits = sum(any(map(str.isdigit, text)) for text in below)
    if digits * 2 > len(below) and not any(map(str.isdigit, cell)):
        return True
    return sum(map(len, below)) > 3 * len(cell) * max(1, len(below))


def column_names(header: Sequence[str], width: int) -> list[str]:
    """A distinct name for each of `width` columns: the header's, else `column 3`.

    >>> column_names(["name", "", "name"], 4)
    ['name', 'column 2', 'name 2', 'column 4']
    """
    names: list[str] = []
    for k in range(width):
        name = header[k].strip() if k < len(header) else ""
        base, n = name or f"column {k + 1}", 1
        name = base
        while name in names:
            n += 1
            name = f"{base} {n}"
        names.append(name)
    return names
