"""Boilerplate: paragraphs that many documents of one source carry, as a site's footer or a publisher's notice.

Document frequency is counted per source (a host, or the top folder of a path), out of core. Count distinct documents
only, after exact duplicates are gone: eleven copies of a leaflet are no boilerplate.

    groups = Counter(); parts = []
    for texts, sources in batches:                      # in any process
        part, counts = paragraph_keys(texts, sources)
        parts.append(part); groups.update(counts)
    found = frozenset(find_boilerplate(parts, groups, size, folder).tolist())
    text, spans = remove_boilerplate(text, source, found)
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import xxhash

from datatools.dedupe.partitions import Scatter, leading_bits, partitions_for, scratch

PARAGRAPH = np.dtype([("key", "<u8"), ("group", "<u8")])

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]+")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]+")
_TABLE = re.compile(r"^\s*\||\S \| \S|\t")
# Errs towards keeping: a footer with a telephone extension "5 g" costs less than a dose.
_DOSE = re.compile(
    r"[0-9０-９.,½¼¾⅓⅔]\s*(?:[mkμuµ]?[gG]|mcg|[mμdc]?[lL]|mmol|mol|m?[I]?U|mEq|cm|mm|[㎎㎏㎍㎖]|%|％|℃)(?![A-Za-z])"
    r"|[0-9０-９一二三四五六七八九十百半两数各]\s*"
    r"(?:片|粒|丸|滴|支|瓶|包|袋|枚|钱|两|分|铢|斤|升|合|匙|克|毫克|微克|千克|公斤|毫升|单位|次)"
    r"|/(?:kg|日|天|d|次)|\b(?:[bt]\.?i\.?d|q\.?[hid]\.?d?|tablets?|capsules?|drops?|times (?:a|per) day|daily)\b"
)


@dataclass(frozen=True)
class Boilerplate:
    """When a paragraph is boilerplate: as long as `han` Han characters or `latin` Latin letters, and in as many as
    `documents` documents of its source and in the `share` of them. The figures are our own choice.

    A document that would lose more than `most` of its characters stays whole: it is a version of others, and that is
    for the near duplicates to decide.
    """

    han: int = 20
    latin: int = 60
    documents: int = 10
    share: float = 0.01
    most: float = 0.5

    version = 1


def source_group(source: str) -> str:
    """The host of a URL, or the top folder of a path; empty for a file in no folder.

    >>> source_group("https://www.example.org/a/b?c"), source_group("books/内经/01.txt"), source_group("a.jsonl")
    ('www.example.org', 'books', '')
    """
    if "://" in source:
        return (urlsplit(source).hostname or "").lower()
    return source.split("/", 1)[0] if "/" in source else ""


def paragraph_keys(
    texts: Iterable[str | None], sources: Iterable[str | None], settings: Boilerplate | None = None
) -> tuple[npt.NDArray[Any], Counter[int]]:
    """Every document's distinct paragraphs, as records of PARAGRAPH, and the number of documents of each group."""
    settings = settings or Boilerplate()
    shortest = min(settings.han, settings.latin)
    rows: list[tuple[int, int]] = []
    documents: Counter[int] = Counter()
    for text, source in zip(texts, sources, strict=True):
        group = _group(source or "")
        documents[group] += 1
        # Length in characters is a first look; `remove_boilerplate` counts letters, where few paragraphs are left.
        lines = (line for line in (text or "").split("\n") if len(line) >= shortest)
        rows.extend((key, group) for key in {_key(line, group) for line in lines})
    return np.array(rows, PARAGRAPH), documents


def find_boilerplate(
    parts: Iterable[npt.NDArray[Any]],
    documents: Mapping[int, int],
    count: int,
    folder: Path,
    settings: Boilerplate | None = None,
) -> npt.NDArray[np.uint64]:
    """Keys of the paragraphs that enough documents of their source carry, sorted.

    `parts` and `documents` are what `paragraph_keys` gave, added up; `count` is the number of records, or a guess.
    `folder` is emptied and removed. Memory: 50 MB, and what is returned; 16 bytes a paragraph on disk.
    """
    settings = settings or Boilerplate()
    found = [np.zeros(0, np.uint64)]
    with scratch(folder) as place:
        scatter = Scatter(place / "paragraphs", PARAGRAPH, partitions_for(count * PARAGRAPH.itemsize))
        with scatter:
            for part in parts:
                scatter.write(leading_bits(part["key"], scatter.count), part)
        for partition in range(scatter.count):
            records = scatter.read(partition)
            scatter.remove(partition)
            found.append(frequent(records["key"], records["group"], documents, settings))
    return np.concatenate(found)  # the partitions follow the leading bits: sorted already


def frequent(
    keys: npt.NDArray[np.uint64],
    own: npt.NDArray[np.uint64],
    documents: Mapping[int, int],
    settings: Boilerplate,
) -> npt.NDArray[np.uint64]:
    """The keys, sorted, that occur as often as their group (`own`) of so many `documents` needs."""
    if not len(keys):
        return keys
    groups = np.array(sorted(documents), np.uint64)
    needed = np.array([max(settings.documents, settings.share * documents[int(group)]) for group in groups])
    ordered = np.sort(keys)
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    counts = np.diff(ends, prepend=-1)
    # Hardly any key is frequent enough for any group: only for those it matters which group it is of.
    likely = counts >= needed.min()
    candidates: npt.NDArray[np.uint64] = ordered[ends[likely]]
    counts = counts[likely]
    if not len(candidates):
        return candidates
    places = np.minimum(np.searchsorted(candidates, keys), len(candidates) - 1)
    known = candidates[places] == keys
    limits = np.empty(len(candidates))
    limits[places[known]] = needed[np.searchsorted(groups, own[known])]
    frequent: npt.NDArray[np.uint64] = candidates[counts >= limits]
    return frequent


def remove_boilerplate(
    text: str, source: str, found: Set[int], settings: Boilerplate | None = None
) -> tuple[str, list[tuple[int, int]]]:
    """The text without its boilerplate paragraphs, and the spans taken out: (start, end) in characters of `text`.

    `found` holds the keys that `find_boilerplate` gave. Table rows and lines with a dose are never taken out.
    """
    settings = settings or Boilerplate()
    if not found:
        return text, []
    group, shortest = _group(source), min(settings.han, settings.latin)
    spans = [
        (start, end)
        for start, end in _lines(text)
        if end - start >= shortest and _is_boilerplate(text[start:end], group, found, settings)
    ]
    if not spans or sum(end - start for start, end in spans) > settings.most * len(text):
        return text, []
    kept = [text[end:start] for (_, end), (start, _) in zip([(0, 0), *spans], [*spans, (len(text), 0)], strict=True)]
    return "".join(kept), spans


def _is_boilerplate(line: str, group: int, found: Set[int], settings: Boilerplate) -> bool:
    if _key(line, group) not in found:
        return False
    long_enough = _letters(_HAN, line) >= settings.han or _letters(_LATIN, line) >= settings.latin
    return long_enough and not _TABLE.search(line.rstrip("\n")) and not _DOSE.search(line)


def _letters(script: re.Pattern[str], line: str) -> int:
    return sum(map(len, script.findall(line)))


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """Where the lines of a text start and end; the line feed belongs to its line."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield start, end
        start = end


def _group(source: str) -> int:
    return xxhash.xxh3_64_intdigest(source_group(source).encode("utf-8", "surrogatepass"))


def _key(line: str, group: int) -> int:
    """Hash of a paragraph within its group, blind to white space; digits count."""
    from datatools.clean import text_kernels as kernels

    same = np.frombuffer("".join(line.split()).encode("utf-8", "surrogatepass"), np.uint8)
    key = np.empty(1, np.uint64)
    kernels.line_keys(same, np.array([[0, 0, len(same)]]), np.array([group], np.uint64), key)
    return int(key[0])
