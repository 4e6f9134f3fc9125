"""Cases from a knowledge graph: the symptoms of a disease or a syndrome, split into layers.

Symptoms come from triples whose tail is a symptom, and from what a graph says of the clinical picture in a sentence
(临床以发热、恶寒，鼻塞等为特征). The first are what brings the patient; tongue and pulse, cause, treatment and formula the
patient does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

import xxhash

from datatools.graph.graph import DISEASE, FORMULA, SYMPTOM, SYNDROME, THERAPY, Graph, Triple
from schemas.case import ON_ASKING, UNKNOWN, VOLUNTEERED, Case, Fact, case_id

LEAST = 3  # symptoms that a patient can tell: with fewer there is nothing to ask
MOST = 12
_PICTURE = re.compile("clinical_performance|clinical_manifestation|临床表现|主要表现|症状描述")
_RELATION = re.compile("symptom|症状|临床表现|主症", re.IGNORECASE)
_CAUSE = re.compile("pathogenesis|病因|病机|etiology|cause", re.IGNORECASE)
_THERAPY = re.compile("therap|治法|治则|SYN2THE", re.IGNORECASE)
_LIST = re.compile(
    "(?:临床)?(?:常见|多见|表现)?(?:以|为|见)?(.+?)(?:等)?(?:为(?:主要?|常见|其)?(?:特征|表现|主症|主|临床)|。|$)"
)
_SPLIT = re.compile("[、，,；;]|(?:，|,)?(?:甚或|或伴见|伴见|并见|兼见|可见|或见|甚则|甚至)")
_LEAD = re.compile("^(?:临床|常|多|或|并|兼|伴|可|甚者?|有时|以及|及|和|与|轻者|重者|伴有|出现)+(?![^见]?发)")
# What only a clinician sees or feels.
_SIGN = re.compile(
    "舌|苔|脉|指纹|扪|触诊|叩|听诊|镜检|化验|检查|阳性|升高|降低|血压|体征|鼓膜|压痛|充血|穿孔|叩痛|浊音|杂音|X线"
)
# What is no symptom in itself: remarks on course, kind or frequency.
_REMARK = re.compile(
    "特征|为主|疾病|病证|证候|之证|类病|症状|多因|常见于|所致|者$|包括|称为|相当于|泛指|阶段|注：|可分|病程|^[^\u4e00-\u9fff]"
)
_LENGTH = (2, 14)


def graph_cases(graph: Graph, source: str, seed: int = 0) -> Iterator[Case]:
    """A case for every disease and syndrome of which the graph knows enough symptoms, in the order of the graph."""
    about: dict[tuple[str, str], list[Triple]] = {}
    for triple in graph.triples:
        about.setdefault((triple.head_type, triple.head), []).append(triple)
        if triple.head_type == SYMPTOM and triple.tail_type in (DISEASE, SYNDROME):
            turned = Triple(triple.tail, "症状", triple.head, triple.tail_type, SYMPTOM, triple.source)
            about.setdefault((triple.tail_type, triple.tail), []).append(turned)
    for (type_, name), triples in about.items():
        if type_ in (DISEASE, SYNDROME, ""):
            made = _case(name, triples, about, source, seed)
            if made is not None:
                yield made


def symptoms_of(text: str) -> list[str]:
    """The symptoms that a sentence on the clinical picture lists.

    >>> symptoms_of("临床以发热、恶寒，头身疼痛，鼻塞、喷嚏，咽喉痛痒，咳嗽等为特征的外感时病。")
    ['发热', '恶寒', '头身疼痛', '鼻塞', '喷嚏', '咽喉痛痒', '咳嗽']
    """
    listed = _LIST.match(text.strip())
    if listed is None:
        return []
    items = (_LEAD.sub("", item.strip(" 。（）()等")) for item in _SPLIT.split(listed[1]))
    good = [item for item in items if _LENGTH[0] <= len(item) <= _LENGTH[1] and not _REMARK.search(item)]
    return list(dict.fromkeys(good))


def _case(
    name: str, triples: list[Triple], about: dict[tuple[str, str], list[Triple]], source: str, seed: int
) -> Case | None:
    listed: list[str] = []
    for triple in triples:
        if _PICTURE.search(triple.relation):
            listed += symptoms_of(triple.tail)
        elif triple.tail_type == SYMPTOM or _RELATION.search(triple.relation):
            listed.append(triple.tail.strip(" 。"))
    found = [item for item in dict.fromkeys(listed) if name not in item]
    told = [item for item in found if not _SIGN.search(item)][:MOST]
    if len(told) < LEAST:
        return None
    draw = Random(xxhash.xxh3_64_intdigest(name.encode(), seed))
    brings = draw.randint(1, min(3, len(told) - 2))
    facts = [Fact(item, VOLUNTEERED if place < brings else ON_ASKING) for place, item in enumerate(told)]
    facts += [Fact(item, UNKNOWN) for item in found if _SIGN.search(item)]
    facts += [Fact(f"病机：{triple.tail}", UNKNOWN) for triple in triples if _CAUSE.search(triple.relation)]
    syndromes = [triple.tail for triple in triples if triple.tail_type == SYNDROME]
    facts += [Fact(f"证候：{syndrome}", UNKNOWN) for syndrome in syndromes]
    for triple in (*triples, *(one for syndrome in syndromes for one in about.get((SYNDROME, syndrome), ()))):
        if triple.tail_type == THERAPY or (triple.head_type == SYNDROME and _THERAPY.search(triple.relation)):
            facts.append(Fact(f"治法：{triple.tail}", UNKNOWN))
        elif triple.tail_type == FORMULA:
            facts.append(Fact(f"方剂：{triple.tail}", UNKNOWN))
    whole = tuple(dict.fromkeys(facts))
    return Case(case_id((Fact(name, UNKNOWN), *whole)), whole, name, "", source)
