"""Names of herbs, formulas and drugs: which there are, and where they stand in a text.

Two small tables are shipped (`herbs.tsv`, `names.tsv`), every row with its source; a graph and `--lexicon` add to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

HERB, FORMULA, DRUG = "herb", "formula", "drug"
KINDS = (HERB, FORMULA, DRUG)


class Dose(NamedTuple):
    """Usual daily dose of a herb in grams, decocted; `toxic` where the pharmacopoeia calls the herb so."""

    low: float
    high: float
    toxic: bool


class Entry(NamedTuple):
    """What a spelling means: the one name of it, and its kind."""

    name: str
    kind: str


class Mention(NamedTuple):
    """An entity as it stands in a text, from `start` to `end`."""

    start: int
    end: int
    name: str
    kind: str


# Spellings that are also part of everyday words: what may not stand before and after them.
_GUARDS = {
    "人参": ("0-9人个名位病患者本多众年家童", "加观赛保军照考选"),
    "没药": ("吃有还就并都", "物可吃了效用"),
    "续断": ("连持陆继", ""),
    "白及": ("蛋红黄苍洁变明空", ""),
    "海马": ("", "体区回硬旁沟"),
    "天冬": ("", "氨酰"),
    "水银": ("", "柱血体温计"),
    "石膏": ("", "固绷托夹外样板像模型"),
    "松节": ("", "油"),
    "三七": ("一二三四五六七八九十百", "十分年月日"),
    "独活": ("", "下"),
    "儿茶": ("", "酚"),
    "防风": ("", "险沙林"),
    "大枣": ("", "树"),
    "百合": ("", "病"),
    "葫芦": ("", "岛科"),
    "灵脂": ("", ""),
}
# A name goes on to a substance (人参皂苷, 麻黄碱, 黄连素) or to the name of a formula (甘草干姜汤): no herb by itself.
_SUBSTANCE = re.compile("(?:酸|酮|苷|甙|碱|素|酚|醇|醛|皂|黄酮|多糖|提取|浸膏|注射|科(?![学室])|属)")
_FORMULA = re.compile(
    "[\u4e00-\u9fff]{0,5}?(?:(?<!煎)汤(?!送|服|浴|洗)|丸|饮(?!片)|丹(?!皮|参|砂)|膏|颗粒|胶囊|口服液|散(?![\u4e00-\u9fff]))"
)
_WORD = re.compile("[A-Za-z][a-z-]{3,}")
_TEXTS = 16


@dataclass(frozen=True)
class Lexicon:
    """Spellings with what they mean, and the usual doses of herbs."""

    entries: Mapping[str, Entry]
    doses: Mapping[str, Dose]
    _first: re.Pattern[str]
    _lengths: Mapping[str, tuple[int, ...]]
    _found: dict[str, list[Mention]]  # of the last texts: several checks look into the same one

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def find(self, text: str) -> list[Mention]:
        """The entities of a text in order, the longest spelling first; none inside another.

        >>> [mention.name for mention in shipped().find("用炙甘草、制附子，不用麻黄碱，方如桂枝汤。")]
        ['甘草', '附子', '桂枝汤']
        """
        if text in self._found:
            return self._found[text]
        if len(self._found) >= _TEXTS:
            self._found.clear()
        self._found[text] = found = self._look(text)
        return found

    def _look(self, text: str) -> list[Mention]:
        found: list[Mention] = []
        end = 0
        for begin in self._first.finditer(text):
            start = begin.start()
            if start < end:
                continue
            for length in self._lengths[begin[0]]:
                entry = self.entries.get(text[start : start + length]) if start + length <= len(text) else None
                if entry and _stands_alone(text, start, start + length, entry.kind):
                    end = start + length
                    found.append(Mention(start, end, *entry))
                    break
        latin = ((m, self.entries.get(m[0].lower())) for m in _WORD.finditer(text))
        found += [Mention(m.start(), m.end(), *entry) for m, entry in latin if entry]
        return sorted(found)

    def with_names(self, names: Iterable[tuple[str, str]]) -> Lexicon:
        """The lexicon and more names, each with its kind; what is known already keeps its meaning.

        A processed herb is the herb: 酒白芍 is 白芍.
        """
        new = [(name, kind) for name, kind in names if len(name) > 1 and name not in self.entries]
        more = {name: Entry(self.base_name(name) if kind == HERB else name, kind) for name, kind in new}
        return made({**self.entries, **more}, self.doses) if more else self

    def base_name(self, herb: str) -> str:
        """The one name of a herb: 炮附片 is 附子, 酒白芍 is 白芍; its own where there is none for it."""
        if herb in self.entries:
            return self.entries[herb].name
        found = [m for m in self.find(herb) if m.kind == HERB and m.end - m.start >= len(herb) - 2]
        return found[-1].name if found else herb

    def with_file(self, path: Path) -> Lexicon:
        """The lexicon and a user's file over it. Raises ValueError, naming file and line, where that is not one."""
        entries, doses = read_table(path.read_text("utf-8-sig").splitlines(), str(path))
        return made({**self.entries, **entries}, {**self.doses, **doses})


def _stands_alone(text: str, start: int, end: int, kind: str) -> bool:
    before, after = _GUARDS.get(text[start:end], ("", ""))
    if (start and text[start - 1] in before) or (before[:3] == "0-9" and text[start - 1 : start].isdecimal()):
        return False
    if end < len(text) and text[end] in after:
        return False
    if kind == FORMULA and text[end - 1] == "煎" and text[end : end + 1] in tuple("服汤水剂至取"):
        return False  # 牛膝煎服
    return kind != HERB or not (_SUBSTANCE.match(text, end) or _FORMULA.match(text, end))


def made(entries: Mapping[str, Entry], doses: Mapping[str, Dose]) -> Lexicon:
    """A lexicon of these spellings and doses."""
    lengths: dict[str, set[int]] = {}
    for spelling in entries:
        lengths.setdefault(spelling[0], set()).add(len(spelling))
    han = sorted(first for first in lengths if not first.isascii())
    first = re.compile(f"[{re.escape(''.join(han))}]" if han else "(?!)")
    return Lexicon(entries, doses, first, {c: tuple(sorted(found, reverse=True)) for c, found in lengths.items()}, {})


@cache
def shipped() -> Lexicon:
    """The lexicon that comes with the project."""
    entries: dict[str, Entry] = {}
    doses: dict[str, Dose] = {}
    for name in ("herbs.tsv", "names.tsv"):
        lines = resources.files("datatools.checks").joinpath(name).read_text("utf-8").splitlines()
        more, dosed = read_table(lines, name)
        entries.update(more)
        doses.update(dosed)
    return made(entries, doses)


def read_table(lines: Iterable[str], name: str) -> tuple[dict[str, Entry], dict[str, Dose]]:
    """Entries and doses of a table: columns kind, name, aliases (`;` between them), low, high, toxic, source.

    Only `name` is needed and kind is herb where none is given; a file without tabs is a list of herb names. Lines that
    begin with # are remarks. Raises ValueError, naming the line.
    """
    entries: dict[str, Entry] = {}
    doses: dict[str, Dose] = {}
    for place, row in _rows(lines, name):
        kind, spelled = row.get("kind") or HERB, row["name"]
        if kind not in KINDS:
            raise ValueError(f"{place}: kind {kind!r} must be one of {', '.join(KINDS)}")
        for spelling in [spelled, *filter(None, row.get("aliases", "").split(";"))]:
            entries[spelling.strip().lower()] = Entry(spelled, kind)
        if row.get("low") or row.get("high"):
            try:
                doses[spelled] = Dose(float(row["low"]), float(row["high"]), bool(row.get("toxic")))
            except (KeyError, ValueError):
                raise ValueError(f"{place}: low and high must both be numbers of grams") from None
    return entries, doses


def _rows(lines: Iterable[str], name: str) -> Iterator[tuple[str, dict[str, str]]]:
    header: list[str] | None = None
    for number, line in enumerate(lines, 1):
        cells = [cell.strip() for cell in line.split("\t")]
        if not line.strip() or line.startswith("#"):
            continue
        if header is None:
            header = cells if "name" in cells else ["name"]
            if "name" in cells:
                continue
        if len(cells) > len(header):
            raise ValueError(
                f"{name}:{number}: {len(cells)} cells under {len(header)} column names; the first line names them"
            )
        row = dict(zip(header, cells, strict=False))
        if not row.get("name"):
            raise ValueError(f"{name}:{number}: the name is empty")
        yield f"{name}:{number}", row
