"""Doses of common medicines by mouth against the highest of their labels (`medicines.tsv`).

A dose is read only where it follows the name of its medicine with nothing but known words between. What is not
understood gets no verdict: a missed dose costs less than a false alarm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import NamedTuple

from datatools.checks.numerals import NUMERAL, read_numeral, words_as_numerals
from datatools.checks.plain import nfkc


class Limit(NamedTuple):
    """The highest adult dose of a medicine by mouth, in mg, and the label that gives it."""

    name: str
    single: float
    daily: float
    source: str


class Taken(NamedTuple):
    """What a text says to take, in mg; None where it does not say."""

    single: float | None
    daily: float | None


class Token(NamedTuple):
    """A word of a dose: its kind, and its numbers, lowest first."""

    kind: str
    low: float = 0.0
    high: float = 0.0
    unit: str = ""


REACH = 80  # characters behind a name in which its dose stands
_SHORTEST_INTERVAL = 3  # hours; what is taken every hour is taken until something happens, not all day
_MG = {"mg": 1.0, "毫克": 1.0, "g": 1000.0, "克": 1000.0, "μg": 0.001, "ug": 0.001, "mcg": 0.001, "微克": 0.001}
_NUMBER = rf"(?:\d{{1,5}}(?:,\d{{3}})?(?:\.\d{{1,4}})?|{NUMERAL})"
_UNIT = r"(?:毫克|微克|克|(?:mg|mcg|μg|ug|g)(?![a-z]))"
_DAY = r"(?:天|日|d(?![a-z])|day(?![a-z])|24\s?(?:小时|h(?:ours)?(?![a-z])))"
_TO = r"\s?(?:[~\-–—至到]{1,2}|to\s|or\s)\s?"


def _count(name: str) -> str:
    return rf"(?P<{name}>{_NUMBER})(?:{_TO}(?P<{name}_to>{_NUMBER}))?"


_WHEN = r"(?:早上|早晨|晚上|空腹|饭[前后]|餐[前后]|服用?|口服|吃|用){0,3}"
_TOKENS = re.compile(
    "|".join(
        (
            rf"(?P<amount>{_count('n')}\s?(?P<unit>{_UNIT}))"
            rf"(?P<per>\s?(?:/|per\s|每|a\s|every\s)\s?{_DAY}(?!{_WHEN}\s?{_NUMBER}\s?[次回遍])|\sdaily|/次|/dose)?",
            rf"(?P<often>(?:每|一|1)?(?:天|日|24小时)\s?{_WHEN}\s?{_count('t')}\s?[次回遍])",
            rf"(?P<often2>{_count('u')}\s?(?:次|times?)\s?(?:(?:/|per\s|a\s|每)\s?{_DAY}|[一1][天日]|daily))",
            r"(?P<latin>(?<![a-z])(?:qd|bid|tid|qid|q\.d\.|b\.i\.d\.|t\.i\.d\.|q\.i\.d\.|once|twice|thrice)(?![a-z])(?:\s(?:daily|a\sday|per\sday|each\sday|every\sday))?)",
            rf"(?P<hours>(?:q\s?|每隔?\s?|every\s){_count('h')}\s?(?:小时|h(?:ours?|rs?)?(?![a-z]))\s?(?:[一1]\s?次|服用[一1]次)?)",
            rf"(?P<hours2>{_count('k')}\s?小时\s?(?:[一1]\s?次|服用?[一1]次))",
            r"(?P<halves>早晚各|早中晚各)",
            r"(?P<night>每晚|睡前|顿服|每早|每晨|晨起|at\s(?:night|bedtime)|every\s(?:night|morning)|nightly)",
            r"(?P<each>(?:每|一|1|单)\s?次|each\stime)",
            r"(?P<day>每[天日]|[一1][天日]|日服|daily(?:\sdose(?:\sof|\sis)?)?|(?:a|per|every)\sday)",
            r"(?P<filler>\([^()\d]{1,12}\)|[\s,，、:：()（）*_各为]|成人|常规?用?量?|推荐|剂量|用量|用法|口服|内服|服用|服|吃|饭[前后]|餐[前后]|随餐"
            r"|饭时|空腹|早上|早晨|晚上|就行|就好|[加增用]{1,2}[到至]|改[成为]|调整[到为]|增加[到为]|起始|从|开始|止[痛疼]|退[烧热]|的话|按照?|先|改用|温?开?水?送服|建议|可以?|您|你|应该?|连续|即可|按时|钠|钾|钙|镁|盐|酯|缓释|控释|肠溶|分散|泡腾|咀嚼|口腔崩解"
            r"|片剂?|(?:软|硬)?胶囊剂?|颗粒剂?|混悬液|口服液|糖浆|滴剂"
            r"|(?:sodium|potassium|calcium|hydrochloride|hcl|besylate|maleate|tablets?|capsules?|er|xr|sr|caplets?|orally|oral"
            r"|by\smouth|po|take|taken|at|a\sdose\sof|dose|of|is|as|the|for|in|adults?|usual|recommended|should\sbe|can\sbe|you|can"
            r"|may|should|please|given|with\s(?:food|meals|water)|after\s(?:food|meals)|and|then|exactly|about)(?![a-z]))",
        )
    )
)
_LATIN = (("qi", 4.0), ("q.i", 4.0), ("b", 2.0), ("tw", 2.0), ("th", 3.0), ("t", 3.0), ("", 1.0))
# The amount of 服用3000毫克布洛芬 stands before the name.
_BEFORE = re.compile(
    rf"(?:服用?|吃|口服|take\s|taking\s|用|每次|[一1]次)\s?(?P<amount>{_count('n')}\s?(?P<unit>{_UNIT}))\s?(?:的|of\s)?$"
)
# A sentence that speaks of poison, needles, skin or weight, or of what was done, gives no dose by mouth.
_NO_DOSE = re.compile(
    r"中毒|过量|致死|误服|自杀|超[量出]|动物|大鼠|小鼠|试验|研究|静脉|静滴|静注|静推|肌[注内]|注射|滴注|灌肠|外用|涂|抹|搽|患处|皮肤|凝胶|乳膏|软膏|乳胶|阴道|塞入|漱|雾化|吸入|泵入|冲击"
    r"|体重|[/每]\s?(?:kg|千克|公斤)|kg|m2|㎡|平方米|(?:如果|若|假如|要是)(?:您|你|他|她)?(?:一次|每次|每天)?(?:吃|服用?|用)了|曾"
    r"|\b(?:overdos|toxic|poison|lethal|fatal|rats?|mice|trial|study|studies|intraven|inject|infusion|topical|gels?\b|cream|ointment|apply|rub\b|inhal|nebuli"
    r"|(?:iv|im)\b|body weight|if you (?:took|take|have taken))",
    re.IGNORECASE,
)
# Before the dose: it must not be taken, or was not. Behind it these words are about something else: 不要空腹服用.
_NEGATED = re.compile(
    r"不要|不能|不可|不应|不得|不建议|不宜|禁(?!酒|烟|食)|切勿|避免|勿|别(?!嘌)|没有|并未|不超过|超过(?!\s?\d[\d.]*\s?(?:°|度|摄氏|天|日|周|小时|次|岁))"
    r"|\b(?:never|not|avoid|don't|exceed)",
    re.IGNORECASE,
)
# Behind the dose, in its sentence or the next: 这超过了最大剂量 says that it was no advice.
_TAKEN_BACK = re.compile(
    r"^[^。;；!！?？\n]{0,40}(?:超过(?!\s?\d[\d.]*\s?(?:°|度|摄氏|天|日|周|小时|次|岁))|超[量出]|过[量多大高]|太[多大高]|偏[大高]|危险"
    r"|不安全|错误|是不|不可以|不能这[么样]|不对|不行"
    r"|too (?:much|high|many)|exceed|overdos|excess|dangerous|unsafe|wrong)",
    re.IGNORECASE,
)
_CAPPED = re.compile(
    r"不超过|不多于|最多|至多|最大|极量|必要时|需要时|as needed|no more than|not exceed|up to|maximum|max", re.I
)
_ASKS = re.compile(r"[?？]\s*$|[吗么呢]\s*[。?？]?\s*$")
_SENTENCE = re.compile(r"[^。!！?？\n;；]+[。!！?？\n;；]*")
# A point that ends an English sentence, not that of 0.3 or t.i.d.
_LATIN_END = re.compile(r"(?<=[a-z)]{3}\.)\s+(?=[A-Z])")
_NOT_BEFORE = ("复方", "沙库巴曲", "左旋", "+", "/", "＋", "艾司", "-")
_COMPOUND = re.compile(r"\s?[/+＋]|-[a-z\u4e00-\u9fff]|[和或与]|\s(?:and|or|plus)\s(?!take)")


# Of most texts this says at once that they give no dose.
_WEIGHED = re.compile(r"[克㎎㎍]|[0-9０-９]\s?(?:m?g|mcg|[μµu]g|ｇ|ｍｇ)(?![a-z])", re.IGNORECASE)


def medicines(text: str) -> tuple[int, tuple[str, ...]]:
    """How many doses of known medicines a text says to take, and in words those above every label.

    >>> medicines("布洛芬 3000 mg 三次每天")
    (1, ('布洛芬 9000 mg a day, at most 3200 (FDA label, Motrin tablets)',))
    >>> medicines("布洛芬每次0.3g，每日3次；一次2片；对乙酰氨基酚每天不超过4克")
    (1, ())
    """
    if not _WEIGHED.search(text):
        return 0, ()
    total = 0
    over: dict[str, None] = {}
    sentences = list(_sentences(nfkc(text)))
    for place, sentence in enumerate(sentences):
        after = sentences[place + 1] if place + 1 < len(sentences) else ""
        if _NO_DOSE.search(sentence) or _ASKS.search(sentence) or _TAKEN_BACK.search(after):
            continue
        lower = words_as_numerals(sentence.lower())
        capped = bool(_CAPPED.search(lower + after.lower()))
        for start, end, limit in _mentions(lower):
            if _NEGATED.search(lower, 0, end) or _TAKEN_BACK.search(lower[end:]):
                continue
            taken = _taken(lower, start, end, capped)
            if taken is None:
                continue
            total += 1
            if taken.daily is not None and taken.daily > limit.daily * 1.001:
                over[f"{limit.name} {taken.daily:g} mg a day, at most {limit.daily:g} ({limit.source})"] = None
            elif taken.single is not None and taken.single > limit.single * 1.001:
                over[f"{limit.name} {taken.single:g} mg at once, at most {limit.single:g} ({limit.source})"] = None
    return total, tuple(over)


@cache
def limits() -> dict[str, Limit]:
    """Every spelling in lower case, and the limit of what it means."""
    lines = resources.files("datatools.checks").joinpath("medicines.tsv").read_text("utf-8").splitlines()
    found = {}
    for line in lines:
        if line.startswith(("#", "name\t")):
            continue
        name, aliases, single, daily, source = line.split("\t")
        limit = Limit(name, float(single), float(daily), source)
        found.update(dict.fromkeys((name, *aliases.split(";")), limit))
    return found


@cache
def _names() -> re.Pattern[str]:
    longest_first = sorted(limits(), key=lambda name: (-len(name), name))
    return re.compile("|".join(rf"(?<![a-z]){name}(?![a-z])" if name.isascii() else name for name in longest_first))


def _sentences(text: str) -> Iterator[str]:
    for match in _SENTENCE.finditer(text):
        yield from _LATIN_END.split(match[0])


def _mentions(text: str) -> list[tuple[int, int, Limit]]:
    """Medicines that stand alone, with where they end and the next begins; no part of a compound."""
    found = list(_names().finditer(text))
    alone = []
    for place, match in enumerate(found):
        follows = place and found[place - 1].end() == match.start()
        renamed = place + 1 < len(found) and text[match.end() : found[place + 1].start()] == "("
        if follows or renamed or text[: match.start()].endswith(_NOT_BEFORE) or _COMPOUND.match(text, match.end()):
            continue
        alone.append((match.start(), match.end(), limits()[match[0]]))
    return alone


def _taken(text: str, start: int, end: int, capped: bool) -> Taken | None:
    """The dose behind a name, or with its amount right before it; None where there is none that can be read."""
    tokens = list(_tokens(text, end))
    if before := _BEFORE.search(text, max(0, start - 30), start):
        tokens.insert(0, Token("amount", *_values(before, "n", before["unit"])))
    amounts = [(place, token) for place, token in enumerate(tokens) if token.kind == "amount"]
    times = [token for token in tokens if token.kind in ("times", "interval")]
    if len(amounts) != 1 or len(times) > 1:
        return None
    (place, amount), often = amounts[0], times[0] if times else None
    before_it = tokens[place - 1].kind if place else ""
    if amount.unit == "day" or (before_it == "day" and amount.unit != "dose"):
        return Taken(None, amount.high)
    if often is not None and not (often.kind == "interval" and capped):
        return Taken(amount.high, amount.high * often.low)
    if before_it == "each" or amount.unit == "dose" or often is not None:
        return Taken(amount.high, None)
    return None


def _tokens(text: str, start: int) -> Iterator[Token]:
    """Words of a dose from `start` on, up to the first that is none."""
    place, end = start, min(len(text), start + REACH)
    while place < end and (match := _TOKENS.match(text, place, end)):
        place = match.end()
        if match["amount"]:
            per = match["per"] or ""
            unit = "dose" if per in ("/次", "/dose") else "day" if per else ""
            yield Token("amount", *_values(match, "n", match["unit"]), unit)
        elif match["often"] or match["often2"]:
            yield Token("times", *_values(match, "t" if match["often"] else "u"))
        elif match["hours"] or match["hours2"]:
            shortest, longest = _values(match, "h" if match["hours"] else "k")
            if shortest < _SHORTEST_INTERVAL:
                return
            yield Token("interval", 24 / longest, 24 / shortest)
        elif latin := match["latin"]:
            often = next(number for start_of, number in _LATIN if latin.startswith(start_of))
            yield Token("times", often, often)
        elif halves := match["halves"]:
            yield Token("times", len(halves) - 1.0, len(halves) - 1.0)
        elif match["night"]:
            yield Token("times", 1.0, 1.0)
        elif match["each"] or match["day"]:
            yield Token("each" if match["each"] else "day")


def _values(match: re.Match[str], name: str, unit: str = "") -> tuple[float, float]:
    """Both ends of a number or range; an amount in mg."""
    low, high = _value(match[name]), _value(match[f"{name}_to"] or match[name])
    factor = _MG.get(unit, 1.0)
    return low[0] * factor, high[-1] * factor


def _value(text: str) -> tuple[float, ...]:
    return (float(text.replace(",", "")),) if text[0].isdigit() and text[0].isascii() else read_numeral(text)
