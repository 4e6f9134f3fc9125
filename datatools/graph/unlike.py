"""What is surely not true: distractors and false statements that no graph, and no teacher, would call right.

What a graph does not say is not false by that. Where it lists all there is (`closed` kinds: composition, source, …) the
rest is false; elsewhere only what belongs to another group of actions than everything known of the entity.
"""

from __future__ import annotations

import re
from functools import lru_cache

from datatools.graph.facts import Fact, Facts
from datatools.graph.kinds import Kind

# Actions, ailments and mechanisms that go together: two texts with a group in common may both be true of one thing.
_GROUPS = {
    "exterior": "祛风 表 汗 风寒 疏风 宣肺 透疹 透邪 感冒 解肌 恶寒 鼻塞 鼻渊 宣散 发散 祛暑",
    "heat": "清 热 火 凉血 解毒 毒 肿 疮 痈 疔 暑 咽 湿热 黄疸 退黄 疹 炎 痢 斑 消痈 排脓",
    "damp": "湿 水 淋 痹 渗 肿 尿 利尿 带下 浊 泻 通利 泄 脚气 痰饮 饮 胀满 蠲 祛风",
    "cold": "寒 温 阳 冷 厥 回阳 散寒 暖",
    "qi": "气 疏肝 肝 郁 胀 痞 满 降逆 止呕 呕 呃 和胃 胃 宽中 宽胸 胸 中 脾 醒 积 食 消导 疝",
    "blood": "血 瘀 淤 经 痛 癥 跌 损 伤 闭经 乳 通络 络 生新 续筋 接骨 筋 骨 产后 胎",
    "phlegm": "痰 咳 喘 肺 嗽 瘰 瘿 散结 软坚 结 核",
    "calm": "神 惊 风 痉 搐 癫 痫 眩 晕 潜 心 眠 寐 悸 魂 烦 窍 昏 头 平肝 抽",
    "tonic": "补 益 养 滋 虚 健 强 精 肾 津 阴 润 燥 生津 渴 乌须 固 劳 弱 腰 阳痿 遗",
    "bind": "涩 固 敛 止泻 汗 遗 带 脱 久 缩尿 收",
    "worms": "虫 蛔 杀 痒 癣 疥",
    "bowel": "便 泻 下 通腑 肠 结 积 逐",
    "eyes": "目 翳 眼 明目",
}  # fmt: skip
_WORDS = {name: re.compile("|".join(words.split())) for name, words in _GROUPS.items()}
_COLD, _WARM = frozenset("寒 微寒 大寒 凉".split()), frozenset("温 微温 热 大热".split())
_KNOWN = ("herb_function", "herb_indication", "herb_class", "formula_function", "formula_indication", "formula_class")
PROSE_ALIKE = 0.3  # share of the shorter text's bigrams in the other from which on two descriptions may be of one thing


@lru_cache(maxsize=1 << 16)
def groups(text: str) -> frozenset[str]:
    """The groups of actions a text speaks of.

    >>> sorted(groups("杀虫止痒")), sorted(groups("发汗解表"))
    (['worms'], ['bind', 'exterior'])
    """
    return frozenset(name for name, words in _WORDS.items() if words.search(text))


@lru_cache(maxsize=1 << 16)
def bigrams(text: str) -> frozenset[str]:
    """Pairs of neighbouring characters."""
    return frozenset(text[place : place + 2] for place in range(len(text) - 1))


def alike(one: str, other: str) -> float:
    """Share of the shorter text's bigrams that the other has too, [0, 1]."""
    first, second = bigrams(one), bigrams(other)
    return len(first & second) / max(1, min(len(first), len(second)))


class Unlike:
    """Asks of a graph's facts what is surely not true."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._known: dict[str, frozenset[str]] = {}
        self._bases: dict[str, frozenset[str]] = {}

    def __call__(self, kind: Kind, head: str, tail: str, said: list[str] | None = None) -> bool:
        """Whether `tail` is surely not true of `head` under a kind of which the graph says something of `head`."""
        true = self._facts.tails(kind.name, head) if said is None else said
        if kind.open or not true or tail in true:
            return False
        special = getattr(self, f"_{kind.name}", None)
        if special is not None:
            return bool(special(head, tail, true))
        if kind.prose:
            return all(alike(tail, text) < PROSE_ALIKE for text in true) and alike(head, tail) < 0.5
        if kind.closed:
            return not any(set(tail) & set(text) for text in true)
        return self._open(head, tail, true)

    def _open(self, head: str, tail: str, true: list[str]) -> bool:
        own = groups(tail)
        if any(set(tail) & set(text) for text in true):
            return False
        return bool(own) and not own & self._all_groups(head)

    _herb_function = _formula_function = _open

    def _all_groups(self, head: str) -> frozenset[str]:
        if head not in self._known:
            text = "\n".join(tail for name in _KNOWN for tail in self._facts.tails(name, head))
            self._known[head] = groups(text)
        return self._known[head]

    def _composition(self, head: str, tail: str, true: list[str]) -> bool:
        if head in self._facts.damaged or len(true) < 2:
            return False
        base = self._facts.base
        if head not in self._bases:
            self._bases[head] = frozenset(base.get(herb, herb) for herb in true)
        own = base.get(tail, tail)
        if own in self._bases[head] or own in head:
            return False
        return not any(own in herb or herb in tail or herb in own or bigrams(own) & bigrams(herb) for herb in true)

    def _nature(self, head: str, tail: str, true: list[str]) -> bool:
        return _side(tail) not in {_side(text) for text in true}

    def _flavour(self, head: str, tail: str, true: list[str]) -> bool:
        return tail.removeprefix("微") not in {text.removeprefix("微") for text in true}

    def _meridian(self, head: str, tail: str, true: list[str]) -> bool:
        return tail not in true

    def _formula_source(self, head: str, tail: str, true: list[str]) -> bool:
        return not any(bigrams(tail.strip("《》")) & bigrams(text.strip("《》")) for text in true)

    def _formula_class(self, head: str, tail: str, true: list[str]) -> bool:
        known = self._all_groups(head)
        top = {text.split("（")[0] for text in true}
        return (
            tail.split("（")[0] not in top
            and not any(bigrams(tail.replace("方", "")) & bigrams(text) for text in true)
            and not groups(tail) & known
        )

    def _herb_class(self, head: str, tail: str, true: list[str]) -> bool:
        own = groups(tail)
        return (
            not any(set(tail) & set(text) - {"药"} for text in true) and bool(own) and not own & self._all_groups(head)
        )

    def _herb_family(self, head: str, tail: str, true: list[str]) -> bool:
        return tail not in true

    def _herb_part(self, head: str, tail: str, true: list[str]) -> bool:
        whole = ("全", "地上", "枝", "植物")
        return not any(set(tail) & set(text) or text.startswith(whole) for text in true) and not tail.startswith(whole)

    def _herb_dose(self, head: str, tail: str, true: list[str]) -> bool:
        low, high = _range(tail)
        return all(high < _range(text)[0] or low > _range(text)[1] for text in true)

    def _alias(self, head: str, tail: str, true: list[str]) -> bool:
        names = {head, *true}
        others = {fact.head for fact in self._facts.of_tail.get("alias", {}).get(tail, ())}
        return not any(set(tail) & set(name) - set("证病") for name in names | (others & names))


def _side(nature: str) -> str:
    return "cold" if nature in _COLD else "warm" if nature in _WARM else nature


def _range(dose: str) -> tuple[float, float]:
    low, _, high = dose.removesuffix("g").partition("~")
    return float(low), float(high)


def same_type(one: Fact, other: Fact) -> bool:
    """Whether two facts are about entities of one type."""
    return one.triple.head_type == other.triple.head_type
