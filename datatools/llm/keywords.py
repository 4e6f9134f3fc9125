"""Key words of a Chinese passage: words that are frequent in it and rare in Chinese."""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import cache
from typing import Any

_WORD = re.compile(r"^[\u3400-\u9fff]{2,8}$")
LOOKED_AT = 200  # characters: what a passage is about stands at its beginning, and segmenting costs 2 µs a character
# Frequent in every medical text: they tell no passage from another.
_COMMON = frozenset(
    """
    患者 病人 治疗 出现 可以 应该 引起 表现 发生 症状 临床 方法 使用 主要 常见 导致 注意 检查 疾病 情况 正常 部位 一般
    如下 作用 可见 明显 因素 组织 功能 病变 增加 减少 以及 同时 多为 所致 进行 由于 不同 或者 医生 及其 常为 多见
    """.split()
)


def keywords(text: str, count: int = 6) -> list[str]:
    """Up to `count` Chinese words that tell this text from others, the strongest first.

    TF-IDF with the word frequencies of jieba's own dictionary: its `analyse` module ranks by the same idea, but takes
    two seconds to load in every process.
    """
    jieba = _tokenizer()
    words = Counter(
        word for word in jieba.cut(text[:LOOKED_AT], HMM=False) if _WORD.match(word) and word not in _COMMON
    )
    weight = {word: times * math.log(jieba.total / (jieba.FREQ.get(word) or 1)) for word, times in words.items()}
    return sorted(words, key=lambda word: (-weight[word], word))[:count]


@cache
def _tokenizer() -> Any:
    import logging

    import jieba

    jieba.setLogLevel(logging.WARNING)  # it announces its dictionary on stderr
    jieba.initialize()
    return jieba.dt
