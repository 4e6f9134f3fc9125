"""Key terms of a Chinese passage: the medical terms it names most, by the built-in lexicon."""

from __future__ import annotations

from collections import Counter
from functools import cache

from datatools.clean.lexicon import read_terms

LOOKED_AT = 300  # characters: what a passage is about stands at its beginning
_LONGEST = 6
# Named by every medical text: they tell no passage from another.
_COMMON = frozenset("患者 病人 治疗 症状 临床 检查 疾病 诊断 医生 医院 手术 药物 病变 组织 器官 功能 细胞 血液".split())


def keywords(text: str, count: int = 6) -> list[str]:
    """Up to `count` medical terms of `text`, the most frequent first, longer ones before shorter.

    The longest term at each place counts, so 高血压 does not also count as 血压. Looked up, not segmented: a
    segmenter's dictionary takes a second to load in every process.

    >>> keywords("高血压患者应限盐，血压控制不佳时加用利尿剂，高血压合并糖尿病者尤须注意。")[:2]
    ['高血压', '利尿剂']
    """
    terms, first = _terms()
    found: Counter[str] = Counter()
    text, place = text[:LOOKED_AT], 0
    while place < len(text):
        if text[place] not in first:
            place += 1
            continue
        for length in range(_LONGEST, 1, -1):
            term = text[place : place + length]
            if term in terms:
                found[term] += 1
                break
        else:
            length = 1
        place += length
    return sorted(found, key=lambda term: (-found[term], -len(term), text.find(term)))[:count]


@cache
def _terms() -> tuple[frozenset[str], frozenset[str]]:
    """The terms, and the characters that begin one."""
    terms = frozenset(term for term in read_terms() if len(term) <= _LONGEST and not term.isascii()) - _COMMON
    return terms, frozenset(term[0] for term in terms)
