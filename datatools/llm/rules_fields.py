"""Questions on table rows: the subject of the row and the names of its columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from datatools.llm.topic import Passage, choose

Question: TypeAlias = tuple[str, str]

# Columns as crawlers, drug tables and graphs name them → how a person would ask.
LABELS = {
    "alias": "别名", "part": "发病部位", "age": "多发人群", "infection": "传染性", "insurance": "医保", "department": "就诊科室",
    "checklist": "检查", "check": "检查", "symptom": "症状", "symptoms": "症状", "complication": "并发症", "complications": "并发症",
    "treatment": "治疗", "therapy": "治法", "therapeutic": "功效", "drug": "常用药物", "drugs": "常用药物", "period": "治疗周期",
    "rate": "治愈率", "money": "治疗费用", "cause": "病因", "etiology": "病因", "pathogenesis": "病机", "prevent": "预防",
    "prevention": "预防", "prognosis": "预后", "desc": "简介", "description": "简介", "definition": "定义", "diagnosis": "诊断",
    "clinical_performance": "临床表现", "clinical_manifestation": "临床表现", "clinical_manifestations": "临床表现", "sign": "体征",
    "manifestation": "临床表现", "manifestations": "临床表现", "tongue": "舌象", "pulse": "脉象", "body_part": "部位",
    "name": "名称", "dosage": "用法用量", "dose": "剂量", "usage": "用法", "indication": "适应证", "indications": "主治",
    "contraindication": "禁忌", "contraindications": "禁忌", "adverse_reaction": "不良反应", "adverse_reactions": "不良反应",
    "side_effect": "不良反应", "side_effects": "不良反应", "precaution": "注意事项", "precautions": "注意事项",
    "interaction": "药物相互作用", "interactions": "药物相互作用", "specification": "规格", "manufacturer": "生产厂家",
    "nature": "性味", "property": "性味", "properties": "性味", "meridian": "归经", "meridians": "归经", "effect": "功效",
    "efficacy": "功效", "function": "功效", "functions": "功效", "efficacy_class": "功效分类", "composition": "组成",
    "ingredient": "成分", "ingredients": "成分", "prescription": "处方", "usepart": "药用部位", "use_part": "药用部位", "source": "出处",
    "category": "分类", "location": "定位", "processing": "炮制", "storage": "贮藏", "name_alias": "别名", "name_en": "英文名",
    "english_name": "英文名", "name_latin": "拉丁名", "latin_name": "拉丁名", "name_pinyin": "拼音", "pinyin": "拼音",
    "reference_range": "参考范围", "normal_range": "参考范围", "unit": "单位", "significance": "临床意义", "remark": "备注", "indicator": "提示",
}  # fmt: skip
_LANGUAGE = re.compile(r"_(?:cn|zh|chinese)$")
# Keys of a database: who reads the row has no use for them.
_KEY = re.compile(r"(?:^|_)(?:id|ID)$|^label$|^(?:url|link)$", re.ASCII)
_UNNAMED = re.compile(r"column \d+")
_ASKED_FIRST = (
    "症状",
    "临床表现",
    "病因",
    "治疗",
    "检查",
    "诊断",
    "常用药物",
    "功效",
    "主治",
    "组成",
    "用法",
    "参考",
    "意义",
    "预防",
    "并发症",
)
MANY = 4  # columns that a question can stand for by naming three
_ASKED_LAST = ("缩写", "单位", "编号", "代码", "英文", "拼音", "来源", "备注", "医保", "费用")
_HAN = re.compile(r"[\u3400-\u9fff]")


def questions(passage: Passage) -> Iterator[Question]:
    """Ask for the row as a whole by its telling columns, then for single columns."""
    document = passage.document
    fields: dict[str, str] = document.meta["fields"]
    name = document.title.strip() or next(iter(fields.values()), "")
    if not name or len(name) > 40:
        return
    chinese = bool(_HAN.search(name + document.text))
    labels = [_label(column, chinese) for column in fields if fields[column] and fields[column] != name]
    labels = [label.split("（")[0] for label in labels if label and not label.endswith("于")]
    labels = list(dict.fromkeys(label for label in labels if label not in ("名称", "name", "编号", "拼音")))
    if not labels:
        return
    if not chinese:
        listed = _listed([label.replace("_", " ") for label in labels[:3]], ", ", " and ")
        yield f"What are the {listed} of {name}?", "fields"
        yield f"What should I know about {name}?", "fields_overview"
        return
    telling = sorted(labels, key=_rank)[:3]
    listed = _listed(telling, "、", "和")
    variants = ("{x}的{l}是怎样的？", "请介绍{x}的{l}。") if len(telling) > 1 else ("{x}的{l}是什么？",)
    asked = choose(variants, name).format(x=name, l=listed), "fields"
    overview = f"请介绍一下{name}。", "fields_overview"
    # The answer is the whole row: who asks for three of a dozen columns would not expect it.
    yield from (overview, asked) if len(labels) > MANY else (asked, overview)


def is_listing(fields: dict[str, str], text: str) -> bool:
    """Whether a text is the row itself, column by column, and not one column beside which the others stand."""
    if len(fields) < 2 or sum(value in text for value in fields.values()) >= 0.8 * len(fields):
        return len(fields) > 1
    # As `labelled` wrote it, without some of the columns: then hardly anything else stands there.
    found = [value for value in _shown(fields).values() if value in text]
    return len(found) >= 0.8 * len(_shown(fields)) and 2 * sum(map(len, found)) >= len(text)


def labelled(fields: dict[str, str]) -> str:
    """The row as lines of `列名：值`, with crawlers' English column names in Chinese where the values are Chinese.

    Columns that a reader has no use for are left out: keys of a database and, of a Chinese row, those whose name and
    value are not Chinese and whose name is unknown.
    """
    chinese = _is_chinese(fields)
    colon = "：" if chinese else ": "
    return "\n".join(
        value if _UNNAMED.fullmatch(column) else f"{_label(column, chinese) or column.strip()}{colon}{value}"
        for column, value in _shown(fields).items()
    )


def _is_chinese(fields: dict[str, str]) -> bool:
    return any(_HAN.search(value) for value in fields.values())


def _shown(fields: dict[str, str]) -> dict[str, str]:
    """The columns that say something; all that there are where none has a name."""
    chinese = _is_chinese(fields)
    return {
        column: value
        for column, value in fields.items()
        if value and (_label(column, chinese) or _UNNAMED.fullmatch(column) or _says(column, value))
    }


def _says(column: str, value: str) -> bool:
    """Whether a value is text although its column has a name that nobody would ask by: it stays, and is not asked."""
    return not _KEY.search(column.strip()) and bool(_HAN.search(value))


def _label(column: str, chinese: bool) -> str:
    """What a column is called in a question and before its value; empty where that helps nobody."""
    name = column.strip()
    if _KEY.search(name) or _UNNAMED.fullmatch(name):
        return ""
    if not chinese or _HAN.search(name):
        return name
    known = LABELS.get(_LANGUAGE.sub("", name.lower()))
    return known or (name if name.upper() == name else "")  # ALT and ICD10 are terms, toxicity_cn is a column's name


def _rank(label: str) -> int:
    if any(word in label for word in _ASKED_LAST):
        return len(_ASKED_FIRST) + 1
    return next((rank for rank, word in enumerate(_ASKED_FIRST) if word in label), len(_ASKED_FIRST))


def _listed(labels: list[str], comma: str, last: str) -> str:
    return comma.join(labels[:-1]) + last + labels[-1] if len(labels) > 1 else labels[0]
