"""Entities out of a model's reply, in whatever form it comes, and where they stand in the text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from datatools.evaluate.entities import Entity
from datatools.llm.reply import plain_text

_WORDS = ("entity", "text", "word", "name", "mention", "span", "实体", "名称")
_KINDS = ("type", "label", "entity_type", "category", "类型", "类别", "实体类型")
_NOTHING = re.compile(r"(?:无|没有|未发现|none|no entities|\[\s*\]|\{\s*\})[。.\s]*(?:实体[。.]?)?", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:[-*•·]|\d{1,3}[.、)）])\s*")
_PARTS = re.compile(r"\s*[、，,;；|/\t]\s*")
_BEHIND = re.compile(
    r"(?P<words>.+?)\s*(?:[（(\[【](?P<kind>[^（）()\[\]【】]+)[)）\]】]|\s*(?:[:：\t|]|->|→|——?)\s*(?P<other>.+))$"
)
_WHOLE = re.compile(r"(?P<words>.+)[（(\[【](?P<kind>[^（）()\[\]【】]+)[)）\]】]")


class Read(NamedTuple):
    """Spans, how they were read (json, lines, none; spans where each came with its place), and how many were not to
    be found in the text or of no known type."""

    entities: tuple[Entity, ...]
    method: str
    missing: int = 0


def read_entities(reply: str, text: str, types: Mapping[str, str]) -> Read:
    """The entities that a reply names. `types` maps each type to the word that was shown for it. Never raises.

    >>> read_entities('[{"entity": "胃癌", "type": "疾病"}]', "胃癌术后。", {"dis": "疾病"}).entities
    (Entity(start=0, end=2, type='dis'),)
    >>> read_entities("疾病：胃癌、肠炎", "胃癌术后。", {"dis": "疾病"})
    Read(entities=(Entity(start=0, end=2, type='dis'),), method='lines', missing=1)
    >>> read_entities("我看不出来。", "胃癌术后。", {"dis": "疾病"}).method
    'none'
    """
    names = {_bare(word): kind for kind, word in types.items()} | {_bare(kind): kind for kind in types}
    body = plain_text(reply)
    found = _of_json(body)
    method = "json"
    if found is None:
        found, method = list(_of_lines(body, text, names)), "lines"
        if not found and not _NOTHING.fullmatch(body.strip()):
            return Read((), "none")
    return _placed(found, text, names, method)


def _of_json(body: str) -> list[tuple[str, str, int]] | None:
    """Words, type and start (−1 where it is not said) of the first JSON list or object; None where there is none."""
    decoder = json.JSONDecoder()
    for mark in re.finditer(r"[\[{]", body):
        try:
            value = decoder.raw_decode(body, mark.start())[0]
        except (ValueError, RecursionError):
            continue
        return list(_of_value(value))
    return None


def _of_value(value: Any) -> Iterator[tuple[str, str, int]]:
    if isinstance(value, list):
        for one in value:
            if isinstance(one, Mapping):
                words = next((one[key] for key in _WORDS if isinstance(one.get(key), str)), "")
                kind = next((one[key] for key in _KINDS if isinstance(one.get(key), str)), "")
                start = one.get("start", one.get("start_idx", -1))
                if words:
                    yield words, kind, start if isinstance(start, int) else -1
                else:
                    yield from _of_value(one)
            elif isinstance(one, list) and len(one) == 2 and all(isinstance(part, str) for part in one):
                yield one[0], one[1], -1
    elif isinstance(value, Mapping):
        listed = next((value[key] for key in ("entities", "实体") if isinstance(value.get(key), list)), None)
        if listed is not None:
            yield from _of_value(listed)
            return
        if any(isinstance(value.get(key), str) for key in _WORDS) and any(
            isinstance(value.get(k), str) for k in _KINDS
        ):
            yield from _of_value([value])
            return
        for kind, cell in value.items():
            for words in cell if isinstance(cell, list) else [cell]:
                if isinstance(words, str):
                    yield words, kind, -1


def _of_lines(body: str, text: str, names: Mapping[str, str]) -> Iterator[tuple[str, str, int]]:
    """`类型：词、词`, `词（类型）` and `词：类型`, one a line."""
    for line in body.split("\n"):
        bare = _BULLET.sub("", line).strip().strip("*。.")
        whole = _WHOLE.fullmatch(bare)  # the words of an entity may hold commas and colons: 腺癌，分型：肠型（疾病）
        if whole and _bare(whole["kind"]) in names and whole["words"].strip() in text:
            yield whole["words"].strip(), whole["kind"], -1
            continue
        head, mark, rest = bare.partition("：") if "：" in bare else bare.partition(":")
        if mark and _bare(head) in names:
            words = rest.strip().strip("。.")
            if not _NOTHING.fullmatch(words):
                yield from ((one, head, -1) for one in _PARTS.split(words) if one)
            continue
        for part in re.split(r"[、，,;；]", bare):
            found = _BEHIND.fullmatch(part.strip())
            kind = (found["kind"] or found["other"]) if found else ""
            if found and _bare(kind) in names:
                yield found["words"].strip(), kind, -1


def _bare(name: str) -> str:
    return re.sub(r"(?:类?实体(?:为|有)?|\s|[*_`\"'“”])+", "", name).casefold()


def _placed(found: Sequence[tuple[str, str, int]], text: str, names: Mapping[str, str], method: str) -> Read:
    """Every place of the words is an entity, save those within a longer one of the reply where they stand alone too."""
    known = [(words.strip(), names.get(_bare(kind), ""), start) for words, kind, start in found]
    spans: set[Entity] = set()
    missing, guessed = 0, False
    longer = {words for words, kind, _ in known if kind}
    covered = [(at, at + len(words)) for words in longer for at in _places(words, text)]
    for words, kind, start in dict.fromkeys(known):
        if kind and start >= 0 and text[start : start + len(words)] == words:
            spans.add(Entity(start, start + len(words), kind))
            continue
        places = list(_places(words, text)) if kind else []
        missing += not places
        guessed = guessed or bool(places)
        alone = [
            at for at in places if not any(a <= at and at + len(words) <= b and b - a > len(words) for a, b in covered)
        ]
        spans.update(Entity(at, at + len(words), kind) for at in alone or places)
    return Read(tuple(sorted(spans)), method if guessed or not spans else "spans", missing)


def _places(words: str, text: str) -> Iterator[int]:
    at = text.find(words) if words else -1
    while at >= 0:
        yield at
        at = text.find(words, at + 1)
