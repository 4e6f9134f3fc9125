"""Phrases that speak of the prompt, the passage or the model: a training pair must read as if neither existed.

A pattern is as narrow as clinical language needs: 参考值, 仅供参考, 根据化验结果 and "according to the guidelines" are
medicine, 根据上述资料 and "the passage states" are leaks.
"""

from __future__ import annotations

import re

_TEXT = "文本|资料|材料|段落|文段|选段|短文|文章|原文|文字|片段|内容|信息|文档|语料|背景知识"
# 参考 and 资料 begin many clinical words: 参考值, 资料齐全.
_GIVEN = "上述|以上|上面|前述|下述|下面|提供|所提供|给出|所给|给定|题干|题目"

# The model speaks of itself: a leak wherever it stands.
_SELF = (
    r"作为(?:一[个名位款种])?(?:由[^，。]{1,12}(?:开发|训练)的)?(?:AI|ai|人工智能|语言模型|大模型|大语言模型|聊天机器人|智能助手|虚拟助手)",
    r"我(?:只)?是(?:一[个名位款种])?(?:由[^，。]{1,12}(?:开发|训练)的)?(?:AI|ai|人工智能|语言模型|大语言模型|聊天机器人)",
    r"(?:很抱歉|抱歉|对不起)[，,]?我?(?:无法|不能)(?:提供|回答|给出|判断|协助|满足|生成)",
    r"我(?:无法|不能)(?:提供|回答|给出|判断|确定|诊断|访问|浏览|替代|直接|为您|为你|协助|生成)",
    r"(?:截至|根据)我的(?:知识|训练)(?:库|数据|截止)?",
    r"</?(?:think|thinking|reasoning|answer|reflection)>",
    r"<\|[a-z_]{2,20}\|>|\[/?INST\]|<</?SYS>>",
    r"(?i:\bas an? (?:ai\b|artificial intelligence|(?:large )?language model))",
    r"(?i:\bI(?:'m| am) (?:just |only )?an? (?:ai\b|artificial intelligence|(?:large )?language model))",
    r"(?i:\bI(?:'m| am) (?:sorry|unable)[^.\n]{0,20} (?:cannot|can't|unable to|to) (?:provide|answer|assist|help))",
    r"(?i:\bI (?:cannot|can't) (?:provide|answer|assist|diagnose|browse|access))",
    r"(?i:\bmy (?:training data|knowledge cutoff))",
)
# The prompt shows through.
_PROMPT = (
    r"(?:^|\n)\s*[【\[]?(?:问题|答案|回答|提问|参考答案|参考资料|参考文本|资料)[】\]]?\s*[：:]",
    r"(?:^|\n)\s*(?i:question|answer|reference|passage|output)\s*:",
    r"(?i:\bhere (?:is|are) (?:the|a|an|your)? ?(?:question|answer|rewritten|response))",
    r"以下是(?:根据|基于|针对|对)?[^，。：\n]{0,12}(?:生成|改写|提出|设计)的?(?:问题|回答|答案)",
    r"(?:要求|指令|提示词)(?:中|里)(?:提到|规定|说明)|(?:用户|您|你)的(?:指令|提示词)",
)
# The passage is spoken of. A quotation that stands so in the source is no leak.
_PASSAGE = (
    rf"(?:(?:根据|依据|基于|按照|结合|参照|据)(?:(?:您|你|用户|所)?(?:{_GIVEN})的?|本|该|这段|这篇|此|参考)?"
    rf"|[从由](?:{_GIVEN})的?)(?:参考)?(?:{_TEXT})(?![学库室])",
    r"(?:根据|依据|基于|按照|据)(?:上文|前文|下文|文中|原文|文本|参考(?!值|范围|区间|标准|剂量|文献|指南|水平|数据|体重|价|物质|系))",
    rf"(?:您|你)(?:提供|给出|上传)的(?:参考)?(?:{_TEXT.replace('|信息', '').replace('|资料', '')}|参考资料)",
    r"(?:所提供|所给|给定|提供)的(?:参考)?(?:文本|段落|文段|短文|文章|文字|片段|内容|文档|参考资料|背景)",
    r"(?:文中|上文|前文|原文|文章|该文|本文|文段|短文|段落|该段|此段|这段文字|这段话|本段|资料中|材料中|资料里)(?:中|里|内|所|已|也|并|还|主要)?"
    r"(?:未|没有)?(?:提到|提及|指出|介绍|描述|说明|讲到|讲述|强调|论述|阐述|列出|列举|显示|表明|记载|给出|认为|述)",
    r"(?:这段|该段|本段|这篇|该篇|此段|此篇)(?:文字|文章|文本|内容|话|材料|资料|短文|文献)",
    r"(?:文本|参考资料|参考文本|参考材料|参考内容|给定材料|参考信息)(?:中|里|内|显示|提到|提及|指出|表明|未|没有|并未|所述|所示|说明)",
    r"(?:如|正如)(?:上文|前文|文中|原文|资料|材料)(?:所述|所示|所言|提到)",
    r"(?i:\b(?:the|this|that|your|provided|given) (?:provided |given |above |following |reference |source )?"
    r"(?:passage|text|article|context|document|excerpt|paragraph|reference material|source material)s?"
    r" (?:also |clearly |explicitly |does not |doesn't |do not )?"
    r"(?:state|mention|provide|above|below|describe|say|note|indicate|explain|discuss|report|suggest|list|specif|given|outline|highlight))",
    r"(?i:\b(?:according to|based on|as (?:stated|mentioned|described|noted|discussed) in|in|from|per)"
    r" (?:the|this|your) (?:provided |given |above |following |reference |source )?"
    r"(?:passage|text|article|context|document|excerpt|paragraph|(?:reference|source) material"
    r"|information (?:provided|given|above))\b"
    r"(?! of\b))",
    r"(?i:\bthe (?:provided|given|above|aforementioned)"
    r" (?:passage|text|article|context|document|excerpt|information|material|reference))",
    r"(?i:\b(?:as )?(?:mentioned|stated|described) (?:above|in the reference))",
)
# A question that leans on something its reader does not have.
_QUESTION = (
    r"^\s*(?:上述|以上(?![0-9一二三四五六七八九十])|前述|上文|文中|书中|原文|本书|本章|本节|本段|该书|该文|材料中|资料中)",
    r"(?i:^\s*(?:in|from|according to) (?:this|the) (?:chapter|section|book)\b)",
)

_ALWAYS = re.compile("|".join(_SELF + _PROMPT))
_UNLESS_QUOTED = re.compile("|".join(_PASSAGE))
_IN_QUESTION = re.compile("|".join(_QUESTION))
# No pattern can match without one of these: looking for them first keeps clean text, nearly all of it, cheap.
_HINTS_ALWAYS = (
    *(
        "作为",
        "我是",
        "我只是",
        "我无",
        "我不",
        "抱歉",
        "对不起",
        "我的",
        "<",
        "[",
        "【",
        "：",
        ":",
        "以下是",
        "指令",
        "提示词",
    ),
    *("as a", "i'm ", "i am ", "i can", "my training", "my knowledge", "here is", "here are"),
)
_HINTS_PASSAGE = (
    *("文", "资料", "材料", "段", "短文", "片段", "内容", "信息", "语料", "背景", "参考"),
    *("passage", "text", "article", "document", "excerpt", "paragraph", "material", "information", "above"),
    *("reference",),
)
_SPACE = re.compile(r"\s+")
QUOTED_CONTEXT = 4
ECHO = 30
"""Characters of a question that, standing again at the head of its answer, are an echo of the prompt."""


def leakage(question: str, answer: str, source: str = "") -> tuple[str, ...]:
    """Phrases of a pair that speak of the prompt, the passage or the model, in order of finding, each once.

    A phrase that stands in `source` with the same characters around it is a quotation and is left alone (本文 in a
    preface, "the text" in a paper); one about the model itself or the prompt never is.

    >>> leakage("高血压如何诊断？", "根据上述资料，收缩压≥140 mmHg即可诊断。")
    ('根据上述资料',)
    >>> leakage("血钾正常吗？", "参考范围为3.5~5.5 mmol/L，根据化验结果，您的血钾正常，仅供参考。")
    ()
    """
    found = [
        match[0].strip() for text in (question, answer) if _has(_HINTS_ALWAYS, text) for match in _ALWAYS.finditer(text)
    ]
    found += [match[0].strip() for match in _IN_QUESTION.finditer(question)]
    bare_source: str | None = None
    for text in (question, answer):
        if not _has(_HINTS_PASSAGE, text):
            continue
        for match in _UNLESS_QUOTED.finditer(text):
            if bare_source is None:
                bare_source = _SPACE.sub("", source)
            around = text[max(0, match.start() - QUOTED_CONTEXT) : match.end() + QUOTED_CONTEXT]
            if not bare_source or _SPACE.sub("", around) not in bare_source:
                found.append(match[0].strip())
    if len(question) >= ECHO and answer.startswith(question[:ECHO]) and not source.startswith(question[:ECHO]):
        found.append(question[:ECHO])
    return tuple(dict.fromkeys(found))


def _has(hints: tuple[str, ...], text: str) -> bool:
    lower = text.lower()
    return any(hint in lower for hint in hints)
