"""Doses of herbs against the usual ranges of the Pharmacopoeia. Grams only: 钱 and 两 weighed what their dynasty said."""

from __future__ import annotations

import re
from typing import NamedTuple

from datatools.checks.lexicon import Lexicon, shipped  # noqa: F401 the doctests
from datatools.checks.plain import nfkc
from datatools.checks.prescription import amounts

# Clinicians exceed usual doses of harmless herbs often (黄芪 60 g, 石膏 120 g): flagged from this multiple on; of herbs
# that the pharmacopoeia calls toxic, from its own upper limit on. Too little does no harm, but is no dose either.
ABOVE, BELOW = 3.0, 0.2
# A batch of pills or powder weighs more than a day's decoction, what is put on the skin is no dose by mouth.
_BATCH = re.compile(
    "为末|研末|共研|细末|为丸|蜜丸|水丸|制成|做成|炼蜜|粉碎|制剂|浸酒|泡酒|药酒|熬膏|收膏|一料|外用|外敷|外洗|熏洗|泡脚|足浴|坐浴|灌肠|敷|涂|搽|煎汤洗|毒性|中毒|致死"
)
_CHILD = re.compile("小儿|儿童|患儿|幼儿|婴儿|宝宝|[0-9一二三四五六七八九]岁半?(?:男|女)?(?:孩|童|儿)")


class Doses(NamedTuple):
    """How many doses of known herbs a text gives, and those outside their usual range, as `附子 60 g`."""

    total: int
    unusual: tuple[str, ...]


def doses(text: str, lexicon: Lexicon) -> Doses:
    """Read the grams behind every herb of a text and compare them with the lexicon's ranges.

    >>> doses("附子60g，黄芪30g，甘草6g", shipped()).unusual, doses("甘草三钱，附子一两", shipped())
    (('附子 60 g',), Doses(total=0, unusual=()))
    """
    text = nfkc(text)
    found = [(amount, lexicon.doses.get(amount.mention.name)) for amount in amounts(text, lexicon.find(text))]
    known = [(amount, dose) for amount, dose in found if dose is not None]
    if not known or _BATCH.search(text):
        return Doses(len(known), ())
    below = 0.0 if _CHILD.search(text) else BELOW
    unusual = [
        f"{amount.mention.name} {amount.high:g} g"
        for amount, dose in known
        if amount.high > dose.high * (1.0 if dose.toxic else ABOVE) or amount.high < dose.low * below
    ]
    return Doses(len(known), tuple(dict.fromkeys(unusual)))
