"""What a passage is about: its headings, freed of numbering and of words that name no subject."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import xxhash

from schemas.document import Document

_NUMERAL = r"[零〇一二三四五六七八九十百千廿卅上中下\d]"
# 2型糖尿病, 24小时尿蛋白, 5-羟色胺 and 0.9%氯化钠 begin with a number that is no numbering.
_MEASURE = r"\s*(?:小时|[型期级度岁天日周月年个号例次种位价类羟磷氨联步分秒倍点大项问])"
_NO_DECIMAL = r"(?!\d(?!型|\d?小时|-[羟H]))"
_NUMBERING = re.compile(
    rf"^(?:"
    rf"第\s*{_NUMERAL}+\s*[章节篇卷回编部讲课条门类集则款项]"
    rf"|[内外前后续]?[集编篇]?[·\s]*卷[之第]?\s*{_NUMERAL}+(?:\s*[·之])?"
    rf"|案例\s*\d+(?:-\d+)*"
    rf"|(?:chapter|section|part|unit|appendix)\s+[\dIVXLC]+\b"
    rf"|[(（【〔\[]?{_NUMERAL}{{1,4}}(?:[)）】〕\]、·]|[.．:：]{_NO_DECIMAL})"
    rf"|\d{{1,3}}(?:[.．]\d{{1,3}})+[.．、]{_NO_DECIMAL}"
    rf"|\d{{1,3}}(?:[.．－-]\d{{1,3}})*(?!{_MEASURE})(?=\s|$)"
    rf"|\d{{1,3}}(?:[.．]\d{{1,3}})*(?!{_MEASURE})(?=[\u3400-\u9fff])"
    rf"|[①-⑳⑴-⒇]"
    rf"|[IVX]+[.、)]"
    rf"|附(?:录|论)?{_NUMERAL}*[：:·]|附[论方](?=.)"
    rf"|[○●◎◆◇■□▲△★☆•·※*#]+"
    rf")[\s：:·.．、—-]*",
    re.IGNORECASE,
)
_FULL_WIDTH_DIGITS = {0xFF10 + digit: str(digit) for digit in range(10)}
_TRAILING = re.compile(
    r"(?:[（(〔【\[](?:附|见|[一二三四五六七八九十\d]{1,3}[）)〕】\]])[^（(]*|[\s：∶:。，、,.;；·—-]+)$"
)
_BRACKETED = re.compile(r"[（(〔【\[][^（(）)]{0,60}[)）〕】\]]?$")
_ONLY_NUMBER = re.compile(rf"^[\s\W_]*(?:{_NUMERAL}|[卷第集编册部之章节篇IVX])*[\s\W_]*$")
_HAN_SPACE = re.compile(r"(?<=[\u3400-\u9fff]) +(?=[\u3400-\u9fff])")
_WRAPPER = re.compile(r"^[【〔\[《〈「『](.*)[】〕\]》〉」』]$")

# Headings that name the kind of a text, not its subject: they need the heading above them.
GENERIC = frozenset(
    """
    内容 属性 序 自序 原序 又序 序一 序二 序言 叙 自叙 跋 后序 凡例 目录 正文 前言 引言 弁言 题词 题辞 概述
    概说 总论 概论 绪论 绪言 小结 总结 结语 总括 附 附方 附录 附案 附论 附注 又方 又法 又 按 按语 注 方 方药
    药方 治方 方剂 诸方 选方 主方 备用方 治法 论 论曰 总说 病机 病因 脉 脉法 脉候 脉理 脉诀 脉象 证治 证候
    辨证 辨治 论治 治验 医案 验案 治案 案 其他 其它 药物 用法 组成 主治 功用 功效 方解 加减 集解 发明 正误
    气味 修治 释名 校正 总诀 歌 歌诀 歌括 诗 赋 总义 总纲 提要 纲要 大意 大法 大略 大纲 要略 要诀 心法 针灸
    针灸法 灸法 导引 导引法 外治 外治法 常见问题 问答 说明 使用说明 出处 来源 其余 正名 性状 简方 单方 验方
    秘方 良方 上品 中品 下品 introduction overview summary abstract background conclusion conclusions discussion methods
    results notes references general basics faq about contents preface foreword appendix main
    """.split()
)
# 咳嗽门, 水肿部, 草部: the department of a classified book.
_DEPARTMENT = re.compile(r"(?<=.)(?:门|部|类|之属)(?:第?[一二三四五六七八九十上中下\d]*)$")


# Most headings are a bare name: nothing to clean, and no numeral or 卷 that could be all of it.
_PLAIN = re.compile(r"(?![第卷附内外前后续上中下零〇一二三四五六七八九十百千廿卅案])[\u3400-\u9fff]{2,12}")
_LEVELS = re.compile(r"[\\/·]")
_LABELS = re.compile(
    r"^(?:\s|[（(【〔\[][^）)】〕\]]{0,40}[）)】〕\]]|[○●◎◆•·※*#\-]|[\d一二三四五六七八九十]{1,3}(?:[、)）]|[.．](?!\d)))+"
)
_QUOTATION_MARKS = {ord(mark): None for mark in '“”"'}  # a clause is itself set in quotation marks
_CLAUSE_END = re.compile(r"[\n。，；：！？、（(〔【,;:!?]")


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage of a Document and its place among the passages of the section (`part` of `parts`, from 0)."""

    document: Document
    part: int = 0
    parts: int = 1

    @property
    def text(self) -> str:
        """The passage itself."""
        return self.document.text


@lru_cache(maxsize=4096)
def subject(heading: str) -> str:
    """A heading without numbering, marks and remarks in brackets; empty when nothing but a number is left.

    >>> subject("第二节 高血压（hypertension）"), subject("３０.阿魏"), subject("卷第二"), subject("（一）病因：")
    ('高血压', '阿魏', '', '病因')
    """
    if _PLAIN.fullmatch(heading):
        return heading
    text = heading.strip().translate(_FULL_WIDTH_DIGITS)
    # Twice: 卷一 五脏论 needs its space, 卷 之 一 must lose its own.
    text = _unnumbered(_HAN_SPACE.sub("", _unnumbered(text)))
    if wrapped := _WRAPPER.match(text):
        text = wrapped[1]
    text = _TRAILING.sub("", text)
    shorter = _BRACKETED.sub("", text).strip(" ：:。，、,.;；·—-○●◎*#\\")
    text = shorter if shorter and not shorter.endswith("的") else text
    return "" if _ONLY_NUMBER.match(text) else text


def _unnumbered(text: str) -> str:
    while (shorter := _NUMBERING.sub("", text, count=1)) != text:
        text = shorter
    return text


def unnumbered(title: str) -> str:
    """A title as a question names it: without a number before it, everything else as it stands.

    >>> unnumbered("第三章 咳嗽"), unnumbered("伤寒论（宋本）")
    ('咳嗽', '伤寒论（宋本）')
    """
    name = subject(title)
    return name if title.rstrip().endswith(name) else title.strip()


def is_generic(heading: str) -> bool:
    """Whether a cleaned heading names the kind of a text instead of its subject.

    >>> is_generic("治法"), is_generic("阿魏")
    (True, False)
    """
    return heading.lower() in GENERIC


@lru_cache(maxsize=4096)
def _named_in(part: str) -> str:
    return _DEPARTMENT.sub("", subject(part))


@lru_cache(maxsize=1024)
def subjects(section: tuple[str, ...]) -> tuple[str, ...]:
    """The headings of a path that say something, outermost first, departments without 门 and 部.

    >>> subjects(("卷之三十三", "积聚门", "病机"))
    ('积聚', '病机')
    """
    kept: list[str] = []
    for part in (part for heading in section for part in _LEVELS.split(heading)):
        name = _named_in(part)
        if name and (not kept or kept[-1] != name):
            kept.append(name)
    return tuple(kept)


def named_subject(title: str) -> str:
    """The subject in a title: what stands before a colon, dash or remark.

    >>> named_subject("儿童发热：居家处理与何时就医"), named_subject("Iron deficiency anaemia, with notes on pregnancy")
    ('儿童发热', 'Iron deficiency anaemia')
    """
    return re.split(r"[：:—]|, | – | - ", subject(title), maxsplit=1)[0].strip()


def choose(variants: Sequence[str], seed: str) -> str:
    """One of several phrasings, always the same for the same seed: a corpus should not ask one question 10,000 times."""
    return variants[xxhash.xxh32_intdigest(seed.encode()) % len(variants)]


def opening(text: str, most: int = 18) -> str:
    """The first clause of a text, at most `most` characters, without brackets or labels before it.

    >>> opening("（《千金》）治伤寒病后呕哕不下食，此由初病时热盛")
    '治伤寒病后呕哕不下食'
    """
    clause = _CLAUSE_END.split(_LABELS.sub("", text[:400]), maxsplit=1)[0].strip(" “”‘’「」『』《》\"'")
    return clause.translate(_QUOTATION_MARKS)[:most]
