"""Rows of any table or record format made into Documents: the one place that does it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, TypeAlias, TypeVar

from datatools.io.columns import BODY_OF_TITLE, SAMPLE, Roles, find_roles, plain, turns, value
from datatools.io.source import Fault, Note, Read, ReadOptions, Source
from schemas.document import SOURCE_TYPES, Document

Row: TypeAlias = tuple[int, dict[str, Any]]  # number in the file, counted from 1, and the values by column

Item = TypeVar("Item")
SHOWN = 1 << 20  # characters of a cell that tell what its column is

MORE = re.compile(
    r"\s*[\[【(（]?(?:查看)?(?:详细|更多|全部)(?:>>|»)?[\]】)）]\s*$|\s*(?:查看)?(?:更多|详情)\s*(?:>>|»)\s*$"
)
CUT = re.compile(r"(?:\.{3,}|…+)$")
PLACEHOLDERS = {
    *("暂无", "暂无相关资料", "暂无资料", "暂无数据", "n/a", "nan", "null", "<na>", "-", "--", "—"),
    "应该如何用药？用什么药？",  # the words of a link, where an encyclopedia names no drug
}
NOTHING_SAID = {"无", "没有", "如题", "同上", "rt", "n/a"}
ASKS = re.compile(r"[?？吗呢]|怎|什么|如何|哪|为何|多少|是否|能不能|可不可以|咋")
UNNAMED = re.compile(r"column \d+")
HAN = re.compile(r"[\u3400-\u9fff]")
LANGUAGES = {"chinese": "zh", "中文": "zh", "汉语": "zh", "english": "en", "英文": "en", "英语": "en", "cn": "zh"}
OPTION_START = re.compile(r"(?:^|(?<=\s))(?=[A-H](?:[.、．:：)）]|\s)\s*\S)")


def documents(
    rows: Iterator[Row | Fault],
    source: Source,
    options: ReadOptions,
    *,
    sample: Sequence[Mapping[str, Any]] | None = None,
    section: str = "",
    encoding: str = "",
    noted: bool = True,
) -> Iterator[Read]:
    """Documents out of numbered rows, a Note on which column is what before the first.

    `sample` holds the first rows of the file when `rows` begins further down, so that every part of a file is read
    alike; `section` (a sheet) goes before the row's own; `encoding` is recorded when it is not UTF-8; `noted` False
    leaves the Note out. Rows without text or answer, and Faults among the rows, come out as Faults.
    Raises ValueError when the column the user named is not there.
    """
    if options.rows:
        for one in rows:
            yield one if isinstance(one, Fault) else Document("", source.name, one[0], meta={"row": one[1]})
        return
    if sample is None:
        head, rows = beginning(rows, SAMPLE)
        sample = [shortened(row[1]) for row in head if not isinstance(row, Fault)]
        del head
    if not sample:
        yield from (row for row in rows if isinstance(row, Fault))
        return
    roles = find_roles(sample, options)
    titled = roles.kind == "text" and not roles.title and _first_lines_are_titles(sample, roles.text)
    if noted:
        yield Note(source.name, f"sheet {section}: {roles.describe()}" if section else roles.describe())
    place = f"{source.name}:{section}" if section else source.name
    for row in rows:
        if isinstance(row, Fault):
            yield row
            continue
        made = _document(row[1], roles, options)
        if isinstance(made, str):
            rule = "graph_edge" if roles.kind == "triple" else "empty_row"
            yield Fault(f"{place}:{row[0]}", made, rule=rule)
            continue
        if titled and not made.title:
            made.title = first_line_title(made.text)
        yield _placed(made, source, row[0], section, encoding)


def shortened(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row to tell the columns by, without the rest of its long texts."""
    return {name: cell[:SHOWN] if isinstance(cell, str) else cell for name, cell in row.items()}


def beginning(items: Iterator[Item], number: int) -> tuple[list[Item], Iterator[Item]]:
    """The first so many items to look at, and all of them to go through, none of which is held once it is given.

    An error on the way to the first ones (a file cut short) is raised behind those that came before it.
    """
    head: list[Item] = []
    errors: list[Exception] = []
    try:
        head.extend(islice(items, number))
    except Exception as error:  # raised again in its place
        errors.append(error)
    return list(head), chain(_drained(head, errors), items)


def _drained(items: list[Item], errors: list[Exception]) -> Iterator[Item]:
    items.reverse()
    while items:
        yield items.pop()
    for error in errors:
        raise error


def _placed(document: Document, source: Source, number: int, section: str, encoding: str) -> Document:
    document.source, document.offset = source.name, number
    if section:
        document.section = (section, *document.section)
    if encoding not in ("", "utf-8", "ascii"):
        document.meta["encoding"] = encoding
    if broken := document.text.count("\ufffd"):
        document.meta["undecodable"] = broken
    return document


def _document(row: Mapping[str, Any], roles: Roles, options: ReadOptions) -> Document | str:
    """The row as a Document, or the sentence that says why it is none."""
    column = roles.text or roles.question
    if column and not options.text_column and value(row, column) is None:
        own = find_roles([row], options)  # files are glued together: a row may have a shape of its own
        roles = own if own.named and own.kind != "fields" else roles
    made = MAKERS[roles.kind](row, roles)
    if isinstance(made, str) and options.unanswered and roles.kind == "pair" and (question := _question(row, roles)):
        made = Document(question, "", meta={"question": question, **_kept(row, roles)})
    if isinstance(made, str):
        return made
    said = plain(row.get("source_type")).strip()
    made.source_type = said if said in SOURCE_TYPES and not options.source_type else roles.source_type
    made.id = plain(row.get(roles.id)).strip()
    made.title = made.title or " ".join(plain(row.get(roles.title)).split())
    made.language = language_code(plain(row.get(roles.language)))
    made.license = plain(row.get(roles.license)).strip()
    made.section = _section(row.get(roles.section))
    return made


def _text(row: Mapping[str, Any], roles: Roles) -> Document | str:
    text = plain(value(row, roles.text))
    if not text.strip():
        return "text is empty"
    return Document(text, "", meta=_kept(row, roles))


def _pair(row: Mapping[str, Any], roles: Roles) -> Document | str:
    return pair(_question(row, roles), stated(value(row, roles.answer)), _kept(row, roles))


def _question(row: Mapping[str, Any], roles: Roles) -> str:
    question = stated(value(row, roles.question))
    if roles.input and (more := stated(row.get(roles.input))):
        question = f"{question}\n\n{more}".strip()
    if roles.title and roles.question.casefold() in BODY_OF_TITLE:
        question = asked(plain(row.get(roles.title)).strip(), question)
    return question


def stated(cell: Any) -> str:
    """What a cell says; empty when it only says that there is nothing (暂无, nan, n/a)."""
    text = plain(cell).strip()
    return "" if text.casefold() in PLACEHOLDERS else text


def pair(question: str, answer: str, meta: dict[str, Any]) -> Document | str:
    """A Document that already is a question and its answer, or which of the two is empty."""
    if not question.strip():
        return "question is empty"
    if not answer.strip():
        return "answer is empty"
    # A blank line between what two people said: lines that were cut by their width are joined later, these never are.
    return Document(f"{question}\n\n{answer}", "", meta={"question": question, "answer": answer, **meta})


def asked(title: str, body: str) -> str:
    """What the patient asked, out of the headline and the description that a consultation site keeps apart.

    The description alone where it asks the same; the headline alone where the description adds nothing; else both.
    """
    if not title or title in body:
        return body
    bare = body.strip(" ,，。.?？!！")
    if bare in title or bare.casefold() in NOTHING_SAID:
        return title
    grams = {title[i : i + 2] for i in range(len(title) - 1)}
    shared = sum(gram in body for gram in grams)
    return body if ASKS.search(body) and 2 * shared >= len(grams) else f"{title}\n{body}"


def _conversation(row: Mapping[str, Any], roles: Roles) -> Document | str:
    messages = [turn for turn in turns(value(row, roles.text)) if turn["content"]]
    system = plain(row.get(roles.system)).strip()
    if system and messages and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    if not any(turn["role"] == "user" for turn in messages):
        return "question is empty"
    if not any(turn["role"] == "assistant" for turn in messages):
        return "answer is empty"
    if [turn["role"] for turn in messages] == ["user", "assistant"]:
        return pair(messages[0]["content"], messages[1]["content"], _kept(row, roles))
    text = "\n\n".join(turn["content"] for turn in messages if turn["role"] != "system")
    return Document(text, "", meta={"messages": messages, **_kept(row, roles)})


def _exam(row: Mapping[str, Any], roles: Roles) -> Document | str:
    stem, key = stated(row.get(roles.question)), stated(row.get(roles.answer))
    choices = exam_options(row, roles)
    if not stem or not key:
        return "question is empty" if not stem else "answer is empty"
    letters = _letters(key, choices)
    lines = [f"{letter}. {choices[letter]}" for letter in letters if letter in choices]
    answer = [f"{''.join(letters)}", *lines] if len(lines) > 1 else lines or [key]
    explanation = stated(row.get(roles.explanation)).replace("\\n", "\n").strip()
    question = "\n".join([stem, *(f"{letter}. {text}" for letter, text in choices.items())])
    return pair(question, "\n".join(answer) + (f"\n\n{explanation}" if explanation else ""), _kept(row, roles))


def _letters(key: str, choices: Mapping[str, str]) -> list[str]:
    """The letters of the right options, whether the answer column says `AC`, `A,C` or the option's own words."""
    if re.fullmatch(r"[A-Ha-h][A-Ha-h\s,，、;]*", key):
        return [letter for letter in key.upper() if letter.isalpha()]
    return [letter for letter, text in choices.items() if text == key]


def exam_options(row: Mapping[str, Any], roles: Roles) -> dict[str, str]:
    """Options by letter, from a column a letter, a mapping, a list, or one string with (even escaped) line breaks."""
    cells = [row.get(column) for column in roles.options]
    listed: Any = cells if len(cells) > 1 else cells[0]
    if isinstance(listed, Mapping):
        return {str(letter).strip(): plain(text).strip() for letter, text in listed.items() if plain(text).strip()}
    if isinstance(listed, list) and listed and all(isinstance(option, Mapping) for option in listed):
        listed = [option.get("value", option.get("text", option.get("content"))) for option in listed]
    if not isinstance(listed, list):
        text = plain(listed).replace("\\n", "\n")
        listed = text.split("\n") if "\n" in text.strip() else OPTION_START.split(text)
    texts = [re.sub(r"^[A-Ha-h](?:[.、．:：)）]|\s)\s*", "", plain(option).strip()) for option in listed]
    return {"ABCDEFGHIJKLMNOP"[k]: text for k, text in enumerate(filter(None, texts[:16]))}


def _fields(row: Mapping[str, Any], roles: Roles) -> Document | str:
    fields = _kept(row, roles, tidy=True).get("fields", {})
    if not fields:
        return "row is empty"
    title = " ".join(plain(row.get(roles.title)).split())
    if title and not untruncated(title):
        return f"{roles.title} is cut short: {title}"
    colon = "：" if HAN.search("".join(fields.values())) else ": "
    lines = [text if UNNAMED.fullmatch(name) else f"{name}{colon}{text}" for name, text in fields.items()]
    return Document("\n".join(lines), "", title=title, meta={"fields": fields})


def _triple(row: Mapping[str, Any], roles: Roles) -> str:
    return "a triple of a graph is no text: " + ", ".join(filter(None, (stated(cell) for cell in row.values())))


MAKERS: dict[str, Callable[[Mapping[str, Any], Roles], Document | str]] = {
    "text": _text,
    "pair": _pair,
    "conversation": _conversation,
    "exam": _exam,
    "fields": _fields,
    "triple": _triple,
}


def _kept(row: Mapping[str, Any], roles: Roles, *, tidy: bool = False) -> dict[str, Any]:
    """meta with the columns that are not the document itself, nested ones by their inner names, empty ones left out."""
    fields: dict[str, str] = {}
    used = roles.used()
    for name, cell in row.items():
        if name in used:
            continue
        inner = cell if isinstance(cell, Mapping) else {name: cell}
        for key, item in inner.items():
            text = stated(untruncated(stated(item))) if tidy else stated(item)
            repeated = inner is cell and text == fields.get(roles.title)  # the title again, one level down
            if not text or repeated or f"{name}.{key}" in used:
                continue
            fields[f"{name}.{key}" if key in fields else str(key)] = text
    return {"fields": fields} if fields else {}


def untruncated(text: str) -> str:
    """A list value of a crawled page without its "more" link and without the items the page cut short.

    >>> untruncated("枸橼酸西地那... 他达拉非片 [详细]")
    '他达拉非片'
    """
    if not any(mark in text for mark in ("..", "…", "详", "更多")):
        return text.strip()
    whole = MORE.sub("", text).strip()
    items = whole.split()
    if len(items) == 1 and len(whole) > 20 and whole == text.strip():
        return whole  # a sentence that trails off, not an item of a list
    return " ".join(item for item in items if not CUT.search(item))


def language_code(text: str) -> str:
    """The language code a column states (`zh-CN` and `中文` are zh), or empty when it states none we know."""
    word = re.split(r"[-_]", text.strip().casefold())[0]
    return LANGUAGES.get(word, word if re.fullmatch(r"[a-z]{2,3}", word) else "")


def _section(cell: Any) -> tuple[str, ...]:
    parts = cell if isinstance(cell, list | tuple) else re.split(r"\s+[>›/]\s+", plain(cell))
    return tuple(text for part in parts if (text := plain(part).strip()))


def first_line_title(text: str) -> str:
    """The first line, where it is one short line above a body at least twice as long; else empty."""
    line, _, body = text.strip().partition("\n")
    line = line.strip()
    return line if 0 < len(line) <= 300 and len(body.strip().partition("\n")[0]) >= 2 * len(line) else ""


def _first_lines_are_titles(sample: Sequence[Mapping[str, Any]], column: str) -> bool:
    """Only of records that are bare text, and only where nearly all begin so: else it is a paragraph's first line."""
    if any(len(row) > 1 for row in sample):
        return False
    return sum(bool(first_line_title(plain(value(row, column)))) for row in sample) >= 0.8 * len(sample)
