"""Questions on the Chinese classics: formulas, herbs, points, diseases, treatises, commentaries.

The book is always named: «桂枝汤» stands in forty books with forty texts, and a question must have one answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from datatools.llm.topic import Passage, choose, is_generic, opening, subjects, unnumbered

Question: TypeAlias = tuple[str, str]

_FORMULA = re.compile(
    r"^[\u3400-\u9fff]{1,10}(?:汤|散|丸|丹|饮|膏|煎|饼|锭|粥|圆|霜|饮子|子|酒|方|油|茶|露|熨|洗剂|贴|线|条|栓)$"
)
_NO_FORMULA = re.compile(r"[诸各杂众验单治药]方$|[之论诀说]|^附子$|^[一二三四五六七八九十]+方$")
_DOSE = re.compile(
    r"[一二三四五六七八九十百半数各两\d]+(?:两|钱|分|铢|斤|升|合|枚|个|粒|片|克|g|字|匕|茎|条)|等分|各等|少许"
)
_INDICATION = re.compile(r"(?:^|[\n。）])\s*[（(]?(?:专|能|通|统|兼|并)?[治主疗理]")
_TREATED = re.compile(r"^(?:又|兼|通|总|专|统)?(?:治|疗|主)(?P<what>.{2,})$", re.DOTALL)
_NAMED_FORMULA = re.compile(
    r"[。，、]?(?:宜服|宜用|宜|服|用)?(?P<name>[\u3400-\u9fff]{2,9}(?:汤|散|丸|丹|饮|膏|煎|酒|圆|饮子))[之]?[神妙良效灵]?(?:方|法)?[。]?$"
)
_NATURE = re.compile(
    r"[味气性][\u3400-\u9fff，、；微大小]{0,4}[辛甘苦酸咸淡涩平温寒凉热]|[无有小大]毒|[入归].{1,8}经|^[\s]*[辛甘苦酸咸淡涩]"
)
_HERB_ACTION = re.compile(r"[主治疗]|功[用能专]|能[补泻清温散]")
_POINT = re.compile(r"(?:[在当]|去|直).{1,30}(?:寸|陷|骨|脊|端|际|宛宛|动脉)")
_NEEDLE = re.compile(r"针[入\d一二三四五六七八九]|灸[\d一二三四五六七八九百]|[壮]|禁[针灸]|刺[入\d一二三四五六七八九]")
_DEPTH = re.compile(r"[针刺入深寸]{1,2}[一二三四五六七八九十半\d]{1,2}分")  # 针入三分 is no dose
_PREPARED = re.compile(r"^.{0,60}(?:洗|炒|炙|煮|蒸|焙|煅|浸|炮|晒|切|捣|修|制)", re.DOTALL)
_DISEASE = re.compile(
    r"[病证症痛热疮疽痢疟喘嗽肿痰瘀疝淋痹痿厥眩癫狂痫虚劳损积聚痞胀满泄泻秘结衄血汗惊悸疹痘痧毒风寒暑湿燥火翳障聋哑噎膈呃吐呕哕逆渴疳癣疥"
    r"痔漏瘘痈疔瘤瘿霍乱晕痉带崩产胎经闭遗浊癃黄疸疫斑噫咳]$"
)
_ACTION = re.compile(r"[降止清除祛散泻化温通利补益安逐]")  # 降逆和胃止痛 is what a drug does, no disease
_CURES = re.compile(r"治|宜|主之|[汤散丸饮]")
_CAUSES = re.compile(r"由|因|故|者.{1,20}也|所致|皆属|乃.{1,12}也")
_PREFACE = re.compile(r"[序跋叙]$|题[辞词]|凡例|引言|弁言|小引|缘起")
_VERSE = re.compile(r"[歌赋诀诗括]$")
_TREATISE = re.compile(r"[论辨辩说解考释法篇问答略要义图象]$|总论|大法")
_ARGUED = re.compile(r"[论辨辩说考释候]$")  # 内伤论 and 发斑候 are no herbs, whatever flavours they speak of
_COMMENT = re.compile(r"^\s*(?:【(?P<mark>[^】]{1,6})】|[（(]?(?P<who>[\u3400-\u9fff]{2,6})(?:曰|云|按)[：:])")
_ALIASES = re.compile(r"[（(][\u3400-\u9fff]{1,8}(?: [\u3400-\u9fff□]{1,8})*[）)]")
_PREPARATION_BOOK = re.compile(r"炮|修|制|雷公")
_FORMULA_WORD = re.compile(r"(?:[诸各杂众神妙良效灵验之]*方论?|法)[。]?$")
_BRACKET = re.compile(r"[（(〔]")
_TAKE_THIS = re.compile(r"[。，]?宜?[服用]此$")
_BEFORE_DRUG = re.compile(r"^\s*[上右][以取用]?")
_STOPS = re.compile(r"[。；，、？！?!]+")
_QUOTES = re.compile(r"[“”\"]")
_ANOTHER = re.compile(r"^又(?:一)?[方法]$")


def questions(passage: Passage) -> Iterator[Question]:
    """Questions that a student of the classics would ask of this passage, the most natural first."""
    document = passage.document
    heads = subjects(document.section)
    title = unnumbered(document.title)
    book = f"《{title}》" if title else "古籍"
    heads = heads or ("",)
    name = _topic(heads)
    if _ANOTHER.match(heads[-1]) and len(heads) > 1 and (another := _another(heads[-2], passage.text, book)):
        yield another
    if name and passage.parts == 1:
        if kind := _by_kind(name, heads, passage.text, book):
            yield kind
        yield choose(_GENERAL, name + book).format(book=book, name=_quoted(name)), "classic_passage"
    if name and passage.parts > 1 and passage.part == 0 and not _FORMULA.match(heads[-1]):
        yield choose(_BEGINNING, name + book).format(book=book, name=_quoted(name)), "classic_beginning"
    yield from _by_opening(name, passage, book)


_GENERAL = (
    "{book}是怎样论述{name}的？",
    "关于{name}，{book}是怎么说的？",
    "{book}中有关{name}的内容是什么？",
    "请根据{book}说明{name}。",
)
_BEGINNING = ("{book}论{name}，开头是怎么讲的？", "{book}是从哪里讲起{name}的？", "{book}开篇怎样论述{name}？")


def _topic(heads: tuple[str, ...]) -> str:
    """What the section is about: its own heading, with the one above when it only names a kind of text."""
    name = heads[-1].rstrip("？?！!")
    if len(name) > 3:
        name = name.removeprefix("论")
    if _ANOTHER.match(name):
        return ""
    if is_generic(name) and len(heads) > 1 and not is_generic(heads[-2]):
        return f"{heads[-2]}{'的' if len(name) > 1 else '·'}{name}"
    return name


def _quoted(name: str) -> str:
    # A long heading is a sentence; marks show where it begins and ends.
    return f"“{_list(name)}”" if len(name) > 6 or _STOPS.search(name) or _QUOTES.search(name) else name


def _list(text: str) -> str:
    """A heading cut into clauses by full stops, as one enumeration."""
    return _STOPS.sub("，", _QUOTES.sub("", text)).strip("，")


def _by_kind(name: str, heads: tuple[str, ...], text: str, book: str) -> Question | None:
    own = heads[-1]
    if _ALIASES.fullmatch(text.strip()) and "别名" in book:
        return f"{book}中记载的{own}有哪些别名？", "classic_alias"
    if _TREATED.match(own) and not _TREATISE.search(own.removesuffix("法")):
        return _prescription(own, text, book)
    if _FORMULA.match(own) and not _NO_FORMULA.search(own) and (_DOSE.search(text) or _INDICATION.search(text)):
        return _formula(own, text, book)
    if _PREFACE.search(own):
        return f"{book}的{_quoted(own)}写了些什么？", "classic_preface"
    if _VERSE.search(own):
        return f"{book}中的“{_list(name)}”是怎么写的？", "classic_verse"
    if _is_point(own, text):
        return f"{book}记载的{own}穴在什么部位，怎样针灸？".replace("穴穴", "穴"), "classic_point"
    if len(own) <= 6 and not (_DISEASE.search(own) or _ARGUED.search(own)) and _NATURE.search(text[:80]):
        return _herb(own, text, book)
    if _TREATISE.search(own):
        return f"{book}中的“{_list(name)}”讲的是什么道理？", "classic_treatise"
    if (_DISEASE.search(name) or _DISEASE.search(own)) and not _ACTION.match(own) and not is_generic(own):
        return _disease(name, text, book)
    if len(own) <= 5 and _PREPARED.match(text) and _PREPARATION_BOOK.search(book + "".join(heads[:-1])):
        return f"{book}中{own}应当怎样炮制？", "classic_preparation"
    return None


def _is_point(own: str, text: str) -> bool:
    """Whether a text begins by saying where a point lies; one that names points for an illness does so later."""
    described = _POINT.search(text[:30]) and _NEEDLE.search(text) and not _DOSE.search(_DEPTH.sub("", text))
    return bool(described) and len(own) <= 5 and not _DISEASE.search(own)


def _formula(name: str, text: str, book: str) -> Question:
    doses, indication = _DOSE.search(text), _INDICATION.search(text)
    variants: tuple[str, ...]
    if doses and indication:
        variants = (
            "{book}中的{name}由哪些药物组成，主治什么病证？",
            "{book}所载{name}的主治、组成和用法是什么？",
            "请介绍{book}中{name}的药物组成、用法与主治。",
        )
        return choose(variants, name + book).format(book=book, name=name), "classic_formula"
    if doses:
        variants = ("{book}中{name}的药物组成和用法是怎样的？", "{book}里的{name}怎么配制、怎么服用？")
        return choose(variants, name + book).format(book=book, name=name), "classic_composition"
    variants = ("{book}中的{name}主治什么病证？", "按{book}的记载，{name}适用于哪些病证？")
    return choose(variants, name + book).format(book=book, name=name), "classic_indication"


def _illness(heading: str) -> str:
    """The indication in a heading such as 治虚劳。脾胃久积冷气。宜服硫黄丸方; empty when it holds none."""
    treated = _TREATED.match(heading)
    if not treated:
        return ""
    what = treated["what"]
    named = _NAMED_FORMULA.search(what)
    what = what[: named.start()] if named else _FORMULA_WORD.sub("", what)
    what = _BRACKET.split(_TAKE_THIS.sub("", what), maxsplit=1)[0]
    return _list(what)[:48].strip("，")


def _another(heading: str, text: str, book: str) -> Question | None:
    """又方: another formula for the indication of the entry before."""
    drug = opening(_BEFORE_DRUG.sub("", text), 12).split(" ", 1)[0]
    illness = _illness(heading) or _BRACKET.split(_list(heading), maxsplit=1)[0][:48].strip("，")
    if len(drug) < 2 or not illness:
        return None
    variants = (
        "{book}治“{illness}”又有一方用{drug}，怎么配、怎么用？",
        "治“{illness}”，{book}还有哪个用{drug}的方子？",
    )
    return choose(variants, heading + drug).format(book=book, illness=illness, drug=drug), "classic_another"


def _prescription(heading: str, text: str, book: str) -> Question | None:
    """治虚劳。脾胃久积冷气。宜服硫黄丸方: the indication asks for the formula."""
    illness, named = _illness(heading), _NAMED_FORMULA.search(heading)
    if named and illness:
        variants = (
            "{book}治“{illness}”所用的{name}，方药和用法是什么？",
            "{book}用{name}治疗“{illness}”，具体怎么配、怎么服？",
        )
        return choose(variants, heading).format(book=book, illness=illness, name=named["name"]), "classic_prescription"
    if named:
        return _formula(named["name"], text, book)
    if not illness:
        return None
    others = ("{book}治疗“{illness}”用什么方法？", "遇到“{illness}”，{book}主张怎么治？", "{book}怎样治“{illness}”？")
    return choose(others, heading).format(book=book, illness=illness), "classic_prescription"


def _herb(name: str, text: str, book: str) -> Question:
    if _HERB_ACTION.search(text):
        variants = (
            "{book}怎样记载{name}的性味与功用？",
            "按{book}的说法，{name}的性味和主治是什么？",
            "{name}有什么功效？{book}是怎么记载的？",
        )
        return choose(variants, name + book).format(book=book, name=name), "classic_herb"
    return f"{book}记载{name}的性味是什么？", "classic_herb"


def _disease(name: str, text: str, book: str) -> Question:
    shown = _quoted(name)
    cures, causes = _CURES.search(text), _CAUSES.search(text)
    variants: tuple[str, ...]
    if cures and causes:
        variants = ("{book}怎样论述{name}的病因和治法？", "{name}因何而起，该怎么治？{book}是如何论述的？")
    elif cures:
        variants = ("{book}中{name}应当如何治疗？", "按{book}的经验，{name}怎么治？")
    elif causes:
        variants = ("{book}怎样解释{name}的成因？", "{name}是怎么得的？{book}有什么说法？")
    else:
        variants = _GENERAL
    return choose(variants, name + book).format(book=book, name=shown), "classic_disease"


def _by_opening(name: str, passage: Passage, book: str) -> Iterator[Question]:
    """Questions that quote how the passage begins: for later parts of a section and for headings that repeat."""
    begins = opening(passage.text)
    if len(begins) < 3:
        return
    about = f"论{_quoted(name)}时" if name and not name.endswith(("论", "篇")) else f"“{name}”中" if name else "中"
    if comment := _COMMENT.match(passage.text):
        who, said = comment["who"] or "注家", opening(passage.text[comment.end() :])
        if len(said) > 2:
            yield f"{book}{about}，{who}对“{said}”是怎么说的？", "classic_comment"
    variants = ("{book}{about}，“{begins}”一段是怎么讲的？", "{book}{about}说到“{begins}”，下文如何展开？")
    yield choose(variants, begins).format(book=book, about=about, begins=begins), "classic_opening"
    longer = opening(passage.text, 40)
    place = passage.text.find(longer)
    second = opening(passage.text[place + len(longer) :]) if place >= 0 else ""
    if second and second != begins:
        yield f"{book}{about}，“{longer}，{second}”以下的内容是什么？", "classic_opening"
