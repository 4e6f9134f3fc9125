"""Another dose: a number with a unit of dosage that an answer gives, made several times larger or smaller."""

from __future__ import annotations

import re
from random import Random

from datatools.checks.numbers import missing_numbers

# What drugs are measured in. 升 and 合 of the classics measure water as often, 分 is a minute, a mark or a part too.
_METRIC = r"mg|μg|µg|ug|mcg|g|ml|mL|IU|毫克|微克|克|毫升|国际单位|万?单位"
_PIECES = r"片|粒|丸|滴|支|袋|枚|tablets?|capsules?|pills?|drops?"
_OLD = r"钱|两"
_NUMBER = r"[0-9]{1,4}(?:\.[0-9]{1,3})?"
_HAN = "一二三四五六七八九十"
_DOSE = re.compile(
    rf"(?<![0-9.A-Za-z×^/~～—–\-])(?P<first>{_NUMBER})(?:(?P<to>\s?[~～—–\-至]\s?)(?P<second>{_NUMBER}))?"
    rf"(?P<unit>\s?(?:{_METRIC}|{_PIECES}|{_OLD}))(?![A-Za-z/／%·•^]|日|天|侧|个|周|次)"
    rf"|(?<![{_HAN}百千数第])(?P<han>[{_HAN}])(?P<han_unit>{_OLD}|片|粒|丸|枚)(?![{_HAN}半日天侧个周次年月])"
)
# A number of grams is a dose where something is taken or given: not that of a stone, a newborn or a litre of blood.
_GIVEN = re.compile(
    r"服|剂量|用量|注射|静[滴注脉]|肌注|皮下|每[日次天]|一日|[日次]\d?次|分[二三234]次|顿|煎|冲|噙|含化|给予|入药|各|加至|先用|处方|方用|组成"
    r"|tablet|dose|daily|orally|times a day|every|intraven|inject|taken?\b|give",
    re.IGNORECASE,
)
_NOT_GIVEN = re.compile(
    r"出血|失血|尿量|引流|体重|重[约达为]?$|结石|胎儿|新生儿|蛋白尿|血糖|血压|含量|容量|热量|摄入|食盐|酒精|蛋白质|[清冷饮加]水|水量|主食|米饭|weigh"
)
_REACH = 24  # characters around a number that say what it measures
_LARGER, _SMALLER = (3, 5, 10), (5, 10)


def other_dose(answer: str, draw: Random) -> str | None:
    """The answer with one dose three to ten times as large, or as small; None where it gives none.

    The new number, with its unit, stands nowhere in the answer (`missing_numbers` finds it).

    >>> other_dose("口服，一次0.5 g，一日3次。", Random(1))
    '口服，一次1.5 g，一日3次。'
    """
    found = [dose for dose in _DOSE.finditer(answer) if _is_given(answer, dose)]
    draw.shuffle(found)
    for dose in found:
        changed = _times(dose, draw)
        other = answer[: dose.start()] + changed + answer[dose.end() :]
        if missing_numbers(other, answer).missing:
            return other
    return None


def _is_given(answer: str, dose: re.Match[str]) -> bool:
    before, after = answer[max(0, dose.start() - _REACH) : dose.start()], answer[dose.end() : dose.end() + _REACH]
    if _NOT_GIVEN.search(before):
        return False
    unit = dose["han_unit"] or dose["unit"].strip()
    return re.fullmatch(_OLD, unit) is not None or bool(_GIVEN.search(before) or _GIVEN.search(after))


def _times(dose: re.Match[str], draw: Random) -> str:
    factor = draw.choice(_LARGER)
    if dose["han"]:
        return _numeral((_HAN.index(dose["han"]) + 1) * factor) + dose["han_unit"]
    whole = re.fullmatch(rf"\s?(?:{_PIECES}|{_OLD})", dose["unit"]) is not None  # of a pill there is no tenth
    by = 1 / draw.choice(_SMALLER) if not whole and draw.random() < 0.3 else factor
    second = f"{dose['to']}{_digits(dose['second'], by)}" if dose["second"] else ""
    return f"{_digits(dose['first'], by)}{second}{dose['unit']}"


def _digits(number: str, by: float) -> str:
    return f"{float(number) * by:.4f}".rstrip("0").rstrip(".")


def _numeral(value: int) -> str:
    """A number below 100, or 100, in Chinese.

    >>> _numeral(9), _numeral(15), _numeral(30), _numeral(100)
    ('九', '十五', '三十', '一百')
    """
    tens, ones = divmod(value, 10)
    if tens == 10:
        return "一百"
    lead = "" if not tens else "十" if tens == 1 else f"{_HAN[tens - 1]}十"
    return lead + (_HAN[ones - 1] if ones else "")
