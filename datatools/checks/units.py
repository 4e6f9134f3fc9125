"""Units of medical text, Chinese and English, each spelling under one canonical name. Nothing is converted.

Keys are as they read after NFKC and lower-casing: ㎎ is `mg`, ％ is `%`, ℃ is `°c`, µ (micro sign) is μ (Greek).
"""

from __future__ import annotations

import re

# Canonical name: its spellings. A name in Chinese stands for units that Chinese texts mostly spell out.
CHINESE = {
    "g": "克 公分", "mg": "毫克", "μg": "微克", "kg": "千克 公斤", "ml": "毫升", "l": "公升", "mm": "毫米",
    "cm": "厘米 公分", "m": "米", "μm": "微米", "%": "%", "°": "° °c 度 摄氏度", "‰": "‰", "mmhg": "毫米汞柱",
    "kcal": "千卡 大卡", "kpa": "千帕", "iu": "单位 国际单位", "mmol": "毫摩尔", "μmol": "微摩尔",
    "小时": "小时 钟头", "分钟": "分钟", "秒": "秒 秒钟", "天": "天 日", "周": "周 星期 礼拜", "个月": "个月 月龄",
    "月": "月", "年": "年", "岁": "岁 周岁 歲", "次": "次 回 遍", "倍": "倍",
    "斤": "斤", "两": "两 兩", "钱": "钱 錢", "分": "分", "厘": "厘", "铢": "铢 銖", "升": "升", "斗": "斗", "合": "合",
    "枚": "枚", "片": "片", "丸": "丸", "粒": "粒", "剂": "剂 劑 帖 贴 付", "滴": "滴", "支": "支", "瓶": "瓶",
    "袋": "袋", "包": "包", "匙": "匙 勺", "盏": "盏 盞", "碗": "碗", "杯": "杯", "壮": "壮 壯", "寸": "寸", "尺": "尺",
    "茎": "茎", "撮": "撮", "疗程": "疗程 个疗程", "代": "年代", "世纪": "世纪",
    # Counts of things: kept only so that 十二个 is not read as a bare 十二.
    "个": "个 個 种 類 类 例 名 人 位 条 项 味 型 期 级 度角",
}  # fmt: skip
LATIN = {
    "g": "g gm gram grams", "mg": "mg milligram milligrams", "μg": "μg ug mcg microgram micrograms", "ng": "ng",
    "pg": "pg", "kg": "kg kilogram kilograms", "l": "l liter liters litre litres", "dl": "dl",
    "ml": "ml cc milliliter milliliters millilitre millilitres", "μl": "μl ul", "fl": "fl",
    "m": "m meter meters metre metres", "cm": "cm centimeter centimeters", "mm": "mm millimeter millimeters",
    "μm": "μm um", "nm": "nm", "m2": "m2 m^2", "mm3": "mm3 mm^3", "cm2": "cm2 cm^2", "cm3": "cm3 cm^3",
    "mol": "mol", "mmol": "mmol", "μmol": "μmol umol", "nmol": "nmol", "pmol": "pmol", "meq": "meq", "mosm": "mosm",
    "mmhg": "mmhg", "cmh2o": "cmh2o", "kpa": "kpa", "mpa": "mpa", "pa": "pa", "kcal": "kcal", "cal": "cal", "kj": "kj",
    "iu": "iu u unit units", "hz": "hz", "khz": "khz", "mhz": "mhz", "gy": "gy", "cgy": "cgy", "msv": "msv",
    "mci": "mci", "mv": "mv", "ma": "ma", "kv": "kv", "bpm": "bpm",
    "%": "percent", "小时": "h hr hrs hour hours", "分钟": "min mins minute minutes", "秒": "s sec second seconds",
    "天": "d day days", "周": "wk wks week weeks", "个月": "mo month months", "年": "y yr yrs year years",
    "次": "times time", "倍": "fold", "片": "tablet tablets", "粒": "capsule capsules", "丸": "pill pills",
    "滴": "drop drops", "个": "dose doses case cases patient patients men women children",
}  # fmt: skip
TIMES = frozenset({"小时", "分钟", "分", "秒", "天", "周", "个月", "月", "年", "次"})
# 一次, 一天, 一年 are as often figures of speech as they are numbers.
FIGURATIVE = TIMES | {"倍", "°", "代", "世纪", "瓶", "袋", "杯", "碗", "包", "支"}
COUNT = "个"
# Where two texts mean one thing by different words: five years old, 5岁.
EQUIVALENT = {"岁": "年", "年": "岁", "个月": "月", "月": "个月"}

# A unit's character that begins another word: 天麻 is no day, 半夏 no half, 两天 no liang.
_NOT_BEFORE = {
    "天": "麻花冬南竺葵然灵", "日": "咳本光照常晒", "两": "天日次周月年个片粒丸岁小侧种者", "丸": "剂",
    "克": "隆罗拉氏服雷山霉", "年": "健青龄轻级", "周": "围身期皮长边", "倍": "子", "合": "汤散丸穴谷欢并用成剂理计格",
    "分": "之泌析布为别类钟型期支化解级", "厘": "散米", "片": "剂", "次": "要序第", "月": "经份", "升": "麻高降级华",
    "米": "粒", "度": "过", "回": "肠阳春", "支": "气持", "斗": "门", "寸": "关口脉", "碗": "口", "人": "参体类工群",
    "类": "似", "名": "称", "剂": "量", "条": "件", "位": "置", "级": "别", "型": "号", "期": "间", "粒": "细",
    "个": "月半小星礼疗周钟",
    "瓶": "颈", "枚": "举", "味": "道", "贴": "敷", "滴": "眼虫注", "包": "括块膜", "种": "植子",
    "付": "出", "遍": "布及", "撮": "口", "尺": "脉骨泽神桡", "例": "如外", "项": "目背",
}  # fmt: skip


def _alias_table() -> dict[str, str]:
    table: dict[str, str] = {}
    for names in (LATIN, CHINESE):
        for canonical, spellings in names.items():
            for spelling in spellings.split():
                table[spelling] = canonical
    return table | {"公分": "cm"}


CANONICAL = _alias_table()


def _alternatives(names: dict[str, str]) -> str:
    """One regex branch a first character, so that no text is tried against two hundred spellings."""
    by_first: dict[str, list[str]] = {}
    for spelling in sorted({s for line in names.values() for s in line.split()}, key=lambda s: (-len(s), s)):
        guard = f"(?![{_NOT_BEFORE[spelling]}])" if _NOT_BEFORE.get(spelling) else ""
        by_first.setdefault(spelling[0], []).append(re.escape(spelling[1:]) + guard)
    return "|".join(f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in by_first.items())


FIRST_CHARACTERS = frozenset(spelling[0] for spelling in CANONICAL)
_FIRST = "".join(sorted(re.escape(c) for c in FIRST_CHARACTERS))
ONE_UNIT = rf"(?=[{_FIRST}])(?:{_alternatives(CHINESE)}|(?:{_alternatives(LATIN)})(?![a-z]))"
_PER = r"(?:\s?/\s?(?:\d{1,4}(?:\.\d{1,3})?\s?)?|\s(?:per|a|an|each|every)\s)"
# 5 mg/kg/d, 5 mg/(kg·d), 2 g daily, 90 ml/min/1.73m²
UNIT = (
    rf"{ONE_UNIT}(?:{_PER}{ONE_UNIT}|\s?/\s?\({ONE_UNIT}[·.*/]{ONE_UNIT}\)|\s(?:daily|weekly|monthly|hourly)(?![a-z]))"
    "{0,3}"
)
_ADVERBS = {"daily": "天", "weekly": "周", "monthly": "个月", "hourly": "小时"}
_PARTS = re.compile(rf"(?P<digits>\d{{1,4}}(?:\.\d{{1,3}})?)?\s?(?P<unit>{ONE_UNIT}|daily|weekly|monthly|hourly)")


def canonical(spelling: str) -> str:
    """The one name of a unit as `UNIT` matched it, denominators included.

    >>> canonical("毫克/公斤"), canonical("times daily"), canonical("ml/min/1.73m^2")
    ('mg/kg', '次/天', 'ml/分钟/1.73m2')
    """
    if spelling in CANONICAL:
        return CANONICAL[spelling]
    return "/".join(
        (found["digits"] or "") + (_ADVERBS.get(found["unit"]) or CANONICAL[found["unit"]])
        for found in _PARTS.finditer(spelling)
    )


def without_time(unit: str) -> str:
    """`unit` without its denominators of time: 10 mg/天 and 每天 10 mg say the same.

    >>> without_time("mg/kg/天"), without_time("次/天"), without_time("ml")
    ('mg/kg', '次', 'ml')
    """
    if "/" not in unit:
        return unit
    first, *rest = unit.split("/")
    return "/".join([first, *(part for part in rest if part.lstrip("0123456789.") not in TIMES)])
