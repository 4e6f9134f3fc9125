"""Questions on table rows: the subject of the row and the names of its columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from datatools.llm.topic import Passage, choose

Question: TypeAlias = tuple[str, str]

# Columns of disease tables, as crawlers name them → how a person would ask.
LABELS = {
    "alias": "别名", "part": "发病部位", "age": "多发人群", "infection": "传染性", "insurance": "医保", "department": "就诊科室",
    "checklist": "检查", "check": "检查", "symptom": "症状", "complication": "并发症", "treatment": "治疗", "drug": "常用药物",
    "period": "治疗周期", "rate": "治愈率", "money": "治疗费用", "cause": "病因", "prevent": "预防", "desc": "简介", "description": "简介",
    "diagnosis": "诊断", "name": "名称", "dosage": "用法用量", "indication": "适应证", "usage": "用法", "nature": "性味",
    "meridian": "归经", "effect": "功效", "efficacy": "功效", "composition": "组成",
}  # fmt: skip
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
    labels = [label for label in labels if label not in ("名称", "name", "id", "ID", "编号")]
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
    yield choose(variants, name).format(x=name, l=listed), "fields"
    yield f"请介绍一下{name}。", "fields_overview"


def is_listing(fields: dict[str, str], text: str) -> bool:
    """Whether a text is the row itself, column by column, and not one column beside which the others stand."""
    return len(fields) > 1 and sum(value in text for value in fields.values()) >= 0.8 * len(fields)


def labelled(fields: dict[str, str]) -> str:
    """The row as lines of `列名：值`, with crawlers' English column names in Chinese where the values are Chinese."""
    chinese = any(_HAN.search(value) for value in fields.values())
    colon = "：" if chinese else ": "
    return "\n".join(f"{_label(column, chinese)}{colon}{value}" for column, value in fields.items() if value)


def _label(column: str, chinese: bool) -> str:
    return LABELS.get(column.strip().lower(), column.strip()) if chinese else column.strip()


def _rank(label: str) -> int:
    if any(word in label for word in _ASKED_LAST):
        return len(_ASKED_FIRST) + 1
    return next((rank for rank, word in enumerate(_ASKED_FIRST) if word in label), len(_ASKED_FIRST))


def _listed(labels: list[str], comma: str, last: str) -> str:
    return comma.join(labels[:-1]) + last + labels[-1] if len(labels) > 1 else labels[0]
