"""Role leaks: a turn that speaks for the other side, or carries the other side's label."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_LABEL = re.compile(
    r"(?:^|\n)\s*[*\[【(（]{0,2}(?:患者|病人|医生|大夫|用户|助手|问诊者|医师|Patient|Doctor|User|Assistant|Human|Physician)"
    r"[*\]】)）]{0,2}\s*[:：]\s*\S"
)
_AS_DOCTOR = re.compile(
    "根据(?:您|你)的(?:描述|症状|情况)|建议(?:您|你)|(?:您|你)(?:的)?(?:情况|症状)(?:考虑|可能|属于)|我(?:给|为)(?:您|你)(?:开|诊断)|(?:您|你)这是"
    "|作为(?:一名|您的)?(?:医生|AI|人工智能)|I (?:would )?recommend (?:that )?you|as (?:your|a) doctor|based on your symptoms",
    re.IGNORECASE,
)
_AS_PATIENT = re.compile(
    "(?:^|[。！？\n])\\s*(?:医生|大夫)[，,]?(?:您|你)好|我(?:最近|这几天|昨天|今天)[^。，]{0,10}(?:疼|痛|咳|发烧|发热|不舒服|难受|拉肚子|失眠)"
    "|我(?:爸|妈|老公|老婆|孩子|宝宝)(?:最近|这几天|今年)|请问(?:医生|大夫)|谢谢(?:医生|大夫)|(?:hello|hi),? doctor|thank you,? doctor",
    re.IGNORECASE,
)


def role_leaks(messages: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """What in the turns of a conversation belongs to the other side, each once; `order` where turns do not alternate.

    >>> role_leaks([{"role": "user", "content": "头痛三天"}, {"role": "assistant", "content": "医生您好，我最近头痛。"}])
    ('医生您好', '我最近头痛')
    """
    found: list[str] = []
    turns = [turn for turn in messages if turn["role"] != "system"]
    if [turn["role"] for turn in turns] != [("user", "assistant")[place % 2] for place in range(len(turns))] or (
        turns and turns[-1]["role"] != "assistant"
    ):
        found.append("order")
    several = len(turns) > 2
    for turn in turns:
        text = turn["content"]
        labels = [match[0].strip() for match in _LABEL.finditer(text)]
        # A case report that begins with 患者：… is no leak in a question of one turn.
        if labels and (several or turn["role"] == "assistant" or len(labels) > 1):
            found += labels
        wrong = _AS_PATIENT if turn["role"] == "assistant" else _AS_DOCTOR
        found += [match[0].strip(" 。！？\n") for match in wrong.finditer(text)]
    return tuple(dict.fromkeys(found))
