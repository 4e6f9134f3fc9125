"""The opposite, and silence: a prohibition turned into a permission, or the warnings left out."""

from __future__ import annotations

import re
from random import Random

# What may follow a prohibition. Without it 不可 is also 不可逆.
_ACT = (
    r"(?=服|用(?!手|力|俯|尽)|与|同|使用|应用|口服|内服|外用|注射|饮(?!食)|吃|食|给|合用|过量|久|多|妄|擅|滥|自行|长期|大量"
    r"|随意|盲目)"
)
_TURNED: tuple[tuple[str, str], ...] = (
    (r"(?<!不)(?:禁用|忌用)(?!于?[证症])", "可用"),
    (r"禁服|忌服", "可服"),
    (r"慎用|慎服", "可放心服用"),
    (r"(?:严禁|禁止|切忌|切勿|不得|不要|避免)" + _ACT, "可以"),
    (r"(?:不可|勿)" + _ACT, "可"),
    (
        r"(?<!水)不能(?=服|用(?!手|力)|与|同|使用|应用|口服|注射|饮(?!食|水)|合用|擅自)",
        "可",
    ),  # 不能食 is what a patient is not able to do
    (r"(?<!无)不宜(?!人)", "宜"),
    (r"(?<![禁不])忌(?=食|酒|辛|油|生冷|房|烟|与|铁|葱|醋)", "宜"),
    (r"(?<!不)(?:必须|务必|应|应当|须)(?=及时|立即|尽早|尽快|马上)", "不必"),
    (r"\bshould not\b", "should"),
    (r"\bmust not\b", "may"),
    (r"\bshould never\b", "can always"),
    (r"\b(is|are) not (recommended|advised|safe|effective)\b", r"\1 \2"),
    (r"\bcontraindicated\b", "indicated"),
    (r"\bavoid (taking|using|giving)\b", r"keep \1"),
)
_TURNS = tuple((re.compile(pattern), other) for pattern, other in _TURNED)

WARNING = re.compile(
    r"禁[用服忌]|忌[用服食]|慎[用服]|不宜|不可(?:久|过|多|与|同)|切[忌勿]|严禁|避免|(?<![加留甚素颇极的起])注意(?!力|缺陷)|警惕|谨防"
    r"|(?:及时|立即|尽快|尽早)(?:就[医诊]|到医院|去医院|送医|停药|手术)|遵医嘱|医[师生]指导|不良反应|副作用"
    # The poison of a disease and of what was eaten is none of the drug.
    r"|(?<![中病非脓梅尿])毒性(?!、|弥|心|肝|脑|休|作用药)(?<!缓解药物毒性)|(?<![食触进伤或])有[大小剧]?毒(?![食物动植气或之])"
    r"|(?i:contraindicat|do not (?:take|use|give)|side effects?|adverse|overdose|warning"
    r"|(?:see|call|tell|consult|contact) (?:your|a) (?:doctor|physician)|seek (?:medical|immediate)|call 911)"
)
_SENTENCE_END = re.compile(r"(?<=[。！？；!?;\n])|(?<=\.)(?=\s)")
_FIELD = re.compile(r"\s*[^\s：:，。]{1,8}[：:]")
LEAST_LEFT = 0.67  # of the answer, so that it is not its length that tells the two apart


def turned_negation(answer: str, draw: Random) -> str | None:
    """The answer with one prohibition or duty turned into its opposite; None where it holds none.

    >>> turned_negation("孕妇禁用，不宜与藜芦同用。", Random(0))
    '孕妇禁用，宜与藜芦同用。'
    """
    found = [(match, other) for pattern, other in _TURNS for match in pattern.finditer(answer)]
    if not found:
        return None
    match, other = draw.choice(found)
    return answer[: match.start()] + match.expand(other) + answer[match.end() :]


_BARE = re.compile(r"^[ \t]*(?:\d{1,2}[.、．)）]|[-*•·])[ \t]*$", re.MULTILINE)


def without_warning(answer: str, draw: Random) -> str | None:
    """The answer without the sentences that warn; None where none does, or where too little would be left.

    >>> without_warning("用于感冒发热，每日三次，饭后温水送服，三天为一个疗程。孕妇禁用。", Random(0))
    '用于感冒发热，每日三次，饭后温水送服，三天为一个疗程。'
    """
    sentences = _SENTENCE_END.split(answer)
    kept = "".join(sentence for sentence in sentences if not _warns(sentence)).strip()
    if kept == answer.strip() or len(kept) < LEAST_LEFT * len(answer) or WARNING.search(kept):
        return None
    if _BARE.search(kept) and not _BARE.search(answer):
        return None  # a number without its item: that shows what was done
    return kept


def _warns(sentence: str) -> bool:
    """Whether a sentence warns; a field of a table (症状：注意障碍, 名称：毒性红斑) does where its label says so."""
    field = _FIELD.match(sentence)
    return bool(WARNING.search(field[0] if field else sentence))
