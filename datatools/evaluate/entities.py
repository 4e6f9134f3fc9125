"""Annotated entities: CCKS-2019, CMeEE and BIO files in, spans out; and how well predicted spans match them.

Strict: the same characters and the same type. Relaxed, as CCKS-2019 has it: the same type and a character in common.
Entities may lie within one another; each counts for itself. Replies of models give words without places: there an
entity is its words and its type, once a text, as PromptCBLUE scores CMeEE.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xxhash

from datatools.evaluate.intervals import F64, interval
from datatools.evaluate.scores import grouped, stated
from datatools.io.encoding import decode
from datatools.io.files import discover

# What CMeEE's codes stand for, as its guidelines name them; models are shown the words.
CMEEE = dict(
    zip(
        ("dis", "sym", "dru", "equ", "pro", "bod", "ite", "mic", "dep"),
        ("疾病", "临床表现", "药物", "医疗设备", "医疗程序", "身体", "医学检验项目", "微生物类", "科室"),
        strict=True,
    )
)
_TAG = re.compile(r"(?:([BIEMSLU])[-_](.+)|O)")
_HAN = re.compile(r"[\u3400-\u9fff]")
_LISTS = ("entity_list", "entities", "entity", "labels", "spans")
_STARTS, _ENDS = (
    ("begin", "start", "start_idx", "start_pos", "start_offset"),
    ("end", "end_idx", "end_pos", "end_offset"),
)
_KINDS, _WORDS = ("entity_type", "type", "label_type", "label", "tag"), ("entity", "text", "word", "mention", "words")


class Entity(NamedTuple):
    """Characters `start` up to, not including, `end`, and their type."""

    start: int
    end: int
    type: str

    def record(self, text: str) -> dict[str, Any]:
        """As a row has it."""
        return {"start": self.start, "end": self.end, "type": self.type, "text": text[self.start : self.end]}


@dataclass(frozen=True, slots=True)
class Annotated:
    """A text and its entities."""

    id: str
    text: str
    entities: tuple[Entity, ...]
    source: str = ""


def annotated(inputs: Sequence[str], limit: int | None = None) -> list[Annotated]:
    """The annotated texts in files and folders. Raises ValueError, naming file and row, for what is none."""
    found: list[Annotated] = []
    for name in inputs:
        for path, shown in _files(name):
            text = decode(path.read_bytes()).text
            found += _records(text, shown) if text.lstrip()[:1] in ("{", "[") else _bio(text, shown)
    if not found:
        raise ValueError(f"{', '.join(inputs)}: no annotated texts there (CCKS-2019 or CMeEE JSON, or BIO lines)")
    ids = {item.id: None for item in found}
    if len(ids) < len(found):
        seen: dict[str, str] = {}
        for item in found:
            if item.id in seen:
                raise ValueError(f"{item.source}: the same text as {seen[item.id]}; it would count twice")
            seen[item.id] = item.source
    return found[:limit]


def _files(name: str) -> Iterator[tuple[Path, str]]:
    path = Path(name)
    if path.is_dir():
        yield from ((Path(source.path), source.name) for source in discover([name])[0])
    elif path.is_file():
        yield path, path.name
    else:
        raise ValueError(f"{name}: no such file or folder")


def _records(text: str, name: str) -> Iterator[Annotated]:
    """JSON Lines or one JSON list."""
    if text.lstrip().startswith("["):
        rows: Iterable[tuple[int, str | Any]] = enumerate(_json(text, name), 1)
    else:
        rows = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
    for number, row in rows:
        place = f"{name}:{number}"
        value = _json(row, place) if isinstance(row, str) else row
        record: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        words = record.get("text") or record.get("originalText")
        listed = next((record[key] for key in _LISTS if isinstance(record.get(key), list)), None)
        if not isinstance(words, str) or listed is None:
            raise ValueError(f"{place}: no text with a list of entities ({', '.join(_LISTS[:2])})")
        entities = tuple(sorted({_entity(one, words, place) for one in listed}))
        yield Annotated(str(record.get("id") or _id(words)), words, entities, place)


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{place}: not JSON ({error})") from error


def _entity(one: Any, text: str, place: str) -> Entity:
    if not isinstance(one, Mapping):
        raise ValueError(f"{place}: an entity must be an object with start, end and type")
    nested_index = one.get("entity_index")
    at: Mapping[str, Any] = nested_index if isinstance(nested_index, Mapping) else one
    start_name = next((name for name in _STARTS if name in at), "")
    end_name = next((name for name in _ENDS if name in at), "")
    kind = next((one[name] for name in _KINDS if isinstance(one.get(name), str)), None)
    if not start_name or not end_name or kind is None:
        raise ValueError(f"{place}: an entity lacks start, end or type ({json.dumps(one, ensure_ascii=False)[:80]})")
    start, end = int(at[start_name]), int(at[end_name])
    words = next((one[name] for name in _WORDS if isinstance(one.get(name), str)), None)
    if words is None:
        end += end_name == "end_idx"  # CMeEE counts the last character in
    elif text[start:end] != words:
        end = start + len(words)
    if not 0 <= start < end <= len(text) or (words is not None and text[start:end] != words):
        raise ValueError(f"{place}: {words or 'an entity'} does not stand at {start}–{end} of the text")
    return Entity(start, end, kind)


def _bio(text: str, name: str) -> Iterator[Annotated]:
    """Lines of a token and its tag; an empty line ends a text."""
    tokens: list[tuple[str, str]] = []
    first = 1
    for number, line in enumerate([*text.split("\n"), ""], 1):
        cells = line.split()
        if cells and not line.startswith("-DOCSTART-"):
            if len(cells) < 2 or not _TAG.fullmatch(cells[-1]):
                raise ValueError(f"{name}:{number}: no token with a tag such as B-DIS or O ({line[:40]!r})")
            first = first if tokens else number
            tokens.append((cells[0], cells[-1]))
        elif tokens:
            words, entities = _joined(tokens)
            yield Annotated(_id(f"{name}:{first}:{words}"), words, tuple(entities), f"{name}:{first}")
            tokens = []


def _joined(tokens: Sequence[tuple[str, str]]) -> tuple[str, list[Entity]]:
    """The text that tokens make, spaces between words of Latin letters alone, and the spans of their tags."""
    text, entities, open_from, kind = "", list[Entity](), -1, ""
    for token, tag in tokens:
        mark, name = tag[0], tag[2:]
        goes_on = mark in "IEML" and name == kind and open_from >= 0
        if open_from >= 0 and not goes_on:
            entities.append(Entity(open_from, len(text), kind))
            open_from = -1
        if text and not (_HAN.match(token[0]) or _HAN.match(text[-1])) and len(token) + len(text.split()[-1]) > 2:
            text += " "
        if mark != "O" and open_from < 0:
            open_from, kind = len(text), name
        text += token
        if mark in "ESLU" and open_from >= 0:
            entities.append(Entity(open_from, len(text), kind))
            open_from = -1
    if open_from >= 0:
        entities.append(Entity(open_from, len(text), kind))
    return text, entities


def _id(text: str) -> str:
    return xxhash.xxh3_128_hexdigest(text.encode("utf-8", "replace"))


Key = Callable[[Entity], Hashable]


def counted(gold: Sequence[Entity], predicted: Sequence[Entity], key: Key = lambda one: one) -> list[int]:
    """What precision and recall of one text are made from, of entities that are the same where `key` is.

    Strict hits, predicted, annotated, predicted that overlap an annotated one, annotated that are overlapped.
    """
    right, made = {key(one) for one in gold}, {key(one) for one in predicted}
    return [
        len(right & made),
        len(made),
        len(right),
        len({key(one) for one in predicted if key(one) in right or any(_overlap(one, other) for other in gold)}),
        len({key(one) for one in gold if key(one) in made or any(_overlap(one, other) for other in predicted)}),
    ]


def by_words(text: str) -> Key:
    """Entities of a text told apart by their words and type alone; CCKS-2019 annotates a space here and there."""
    return lambda one: (text[one.start : one.end].strip(), one.type)


def _overlap(one: Entity, other: Entity) -> bool:
    return one.type == other.type and one.start < other.end and other.start < one.end


def nested(entities: Sequence[Entity]) -> list[Entity]:
    """Those that lie within another."""
    return [
        one
        for one in entities
        if any(other != one and other.start <= one.start and one.end <= other.end for other in entities)
    ]


def ner_scores(rows: Iterable[Mapping[str, Any]], seed: int = 0) -> dict[str, dict[str, Any]]:
    """By file: `strict` and `relaxed` precision, recall and F1 with its interval, by `types`, and `nested` recall.

    `by` says what is counted: `places` of predictions with offsets, `words` of replies without; the other count is
    there too, as `strict_by_places` or `strict_by_words`, so that the two can be compared. Texts are drawn anew for the
    intervals, not entities: those of one text go together. F1 over all entities (micro).
    """
    by_file: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_file.setdefault(str(row["source"]).rsplit(":", 1)[0].split(".")[0], []).append(row)
    return {name: _scored(some, seed) for name, some in by_file.items()}


def _scored(rows: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    placed = all(row["method"] in PLACED for row in rows if row["method"] in READ)
    by, other = ("places", "words") if placed else ("words", "places")
    found = _of_all(rows, by, seed)
    found["by"] = by
    found[f"strict_by_{other}"] = _of_all(rows, other, seed)["strict"]
    kinds = sorted({one["type"] for row in rows for one in (*row["entities"], *row["predicted"])})
    found["types"] = {kind: both(_counts(rows, by, kind), seed) for kind in kinds}
    keys = [_key(row, by) for row in rows]
    inner = [{key(one) for one in nested(_spans(row["entities"]))} for key, row in zip(keys, rows, strict=True)]
    made = [{key(one) for one in _spans(row["predicted"])} for key, row in zip(keys, rows, strict=True)]
    count, hit = sum(map(len, inner)), sum(len(a & b) for a, b in zip(inner, made, strict=True))
    found["nested"] = {"n": count, "recall": round(hit / count, 6) if count else None}
    found |= {"n": len(rows), "unparsed": sum(row["method"] not in READ for row in rows)}
    found["missing"] = sum(row["missing"] for row in rows)
    found["methods"] = {name: len(some) for name, some in sorted(grouped(rows, "method").items())}
    return found


def _of_all(rows: Sequence[Mapping[str, Any]], by: str, seed: int) -> dict[str, Any]:
    """Of all types together; what a reply names that is not in the text was predicted, and is wrong."""
    counts = _counts(rows, by)
    counts[:, 1] += [row["missing"] for row in rows]
    return both(counts, seed)


def _counts(rows: Sequence[Mapping[str, Any]], by: str, kind: str | None = None) -> F64:
    """A row a text, of entities of one type or of all."""
    found = []
    for row in rows:
        gold, made = (
            [one for one in _spans(row[name]) if kind in (None, one.type)] for name in ("entities", "predicted")
        )
        found.append(counted(gold, made, _key(row, by)))
    return np.array(found, np.float64)


def _key(row: Mapping[str, Any], by: str) -> Key:
    return by_words(row["text"]) if by == "words" else lambda one: one


PLACED = frozenset(("given", "spans"))  # ways of reading that give places
READ = PLACED | {"json", "lines"}


def both(counts: F64, seed: int) -> dict[str, Any]:
    """Precision, recall and F1, strict and relaxed, of counts with a row a text."""
    hits, made, gold, near_made, near_gold = (float(total) for total in counts.sum(axis=0))
    return {
        "strict": _figures(hits, hits, made, gold, counts[:, [0, 0, 1, 2]], seed),
        "relaxed": _figures(near_made, near_gold, made, gold, counts[:, [3, 4, 1, 2]], seed),
        "entities": int(gold),
        "predicted": int(made),
    }


def _figures(near_made: float, near_gold: float, made: float, gold: float, counts: F64, seed: int) -> dict[str, Any]:
    f1 = stated(interval(counts, _f1, seed), "f1")
    return {
        "precision": round(near_made / made, 6) if made else None,
        "recall": round(near_gold / gold, 6) if gold else None,
        **f1,
    }


def _f1(sums: F64) -> F64:
    """Of columns: predicted that are right, annotated that are found, predicted, annotated. 0 where nothing matches."""
    precision = sums[:, 0] / np.maximum(sums[:, 2], 1)
    recall = sums[:, 1] / np.maximum(sums[:, 3], 1)
    found: F64 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    return found


def _spans(entities: Iterable[Mapping[str, Any]]) -> list[Entity]:
    return [Entity(one["start"], one["end"], one["type"]) for one in entities]


def ner_lines(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The scores on the screen."""
    lines = []
    for name, score in scores.items():
        lines.append(f"  {name}: {score['n']:,} texts, {score['entities']:,} entities, unparsed {score['unparsed']:,}")
        for label, one in (("all", score), *score["types"].items()):
            shown = "; ".join(f"{kind} {_line(one[kind])}" for kind in ("strict", "relaxed"))
            lines.append(f"    {label}: {shown}")
        if score["by"] == "words":
            lines.append(
                "    counted by words, once a text: replies give no places; strict at every place of the words "
                f"{_line(score['strict_by_places'])}"
            )
        if score["missing"]:
            lines.append(f"    not in the text, or of no type that was asked for: {score['missing']:,}")
        if score["nested"]["n"]:
            lines.append(f"    within another: {score['nested']['n']:,}, recall {_percent(score['nested']['recall'])}")
    return lines


def _line(one: Mapping[str, Any]) -> str:
    bounds = "" if one["low"] is None else f" [{100 * one['low']:.1f}, {100 * one['high']:.1f}]"
    return f"P {_percent(one['precision'])} R {_percent(one['recall'])} F1 {_percent(one['f1'])}{bounds}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
