"""Another drug: one that an answer names, replaced by another of its class."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files
from random import Random

# Behind the name of a herb these make another name of it: a formula, a preparation, a substance, a part.
_LONGER = (
    r"(?![\u4e00-\u9fff]{0,7}(?:汤|散|丸|饮|膏|丹|煎|方|颗粒|胶囊|口服液|冲剂|注射液|合剂|糖浆|酊)"
    r"|[\u4e00-\u9fff]{0,5}[^\W0-9一二三四五六七八九十两半数几每各]片|珠"
    r"|子?大(?:小|[。，、；：）)\s]|$)"  # 如皂荚子大 is a size
    r"|素|碱|苷|皂|酸|酰|胆碱|醇|酮|油|多糖|霜|炭|霉素|瘤|受体)"
)


@lru_cache(maxsize=1)
def classes() -> dict[str, tuple[str, ...]]:
    """For every name in classes.txt, in lower case, the members of its class."""
    found: dict[str, tuple[str, ...]] = {}
    for line in files(__package__).joinpath("classes.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            members = tuple(line.split("\t")[1].split())
            found.update(dict.fromkeys(map(str.lower, members), members))
    return found


@lru_cache(maxsize=1)
def _names() -> re.Pattern[str]:
    longest_first = sorted(classes(), key=lambda name: (-len(name), name))
    han = "|".join(name for name in longest_first if not name.isascii())
    latin = "|".join(name for name in longest_first if name.isascii())
    return re.compile(rf"(?:{han}){_LONGER}|\b(?:{latin})\b", re.IGNORECASE)


def other_drug(question: str, answer: str, draw: Random) -> str | None:
    """The answer with one of its drugs, wherever it names it, replaced by another of the same class.

    None where no drug is named that the question does not ask about. The other one is named neither in the question nor
    in the answer.

    >>> other_drug("感冒怎么治？", "可服阿莫西林。", Random(2))
    '可服青霉素。'
    """
    named = sorted({name for name in _names().findall(answer) if name not in question})
    draw.shuffle(named)
    for name in named:
        members = classes()[name.lower()]
        others = [other for other in members if other.lower() not in (question + answer).lower()]
        # A name within a longer one, as 黄连 in 胡黄连, would be replaced with it.
        if others and not any(name in longer and longer != name and longer in answer for longer in classes()):
            return _replaced(answer, name, draw.choice(others))
    return None


def _replaced(answer: str, name: str, other: str) -> str:
    if name.isascii():
        other = other.capitalize() if name[0].isupper() else other
        return re.sub(rf"\b{name}\b", other, answer)
    return re.sub(name + _LONGER, other, answer)
