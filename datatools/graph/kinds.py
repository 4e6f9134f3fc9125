"""What the relations of a graph mean, and how a teacher asks about them: data, one entry a kind of fact.

A template has {head} and {tail}. `states` are whole sentences without a full stop, true or false by what is put in.
`asks` want the tail and `backs` want the head, each followed by options; `blanks` are sentences with ____ for the tail.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from datatools.graph.graph import DISEASE, FORMULA, HERB, INGREDIENT, MERIDIAN, PROPERTY, SYMPTOM, SYNDROME, THERAPY

Views = Callable[
    [str], list[str]
]  # a tail as the file has it → what it says, piece by piece; none where it says nothing

_HAN = re.compile("[\u4e00-\u9fff]")
_DOSE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*[~～\-–—至]\s*(\d+(?:\.\d+)?)\s*(?:g|克)")
_PART = re.compile("[根茎叶花果种皮草枝藤芽壳穗实核材甲角骨虫子体]")
_NO_PART = re.compile("加工|制成|分泌|矿物|化石|粉末|提取|[;；（(]")
_PROCESSES = frozenset(
    "炒黄 炒焦 炒炭 清炒 麸炒 土炒 米炒 砂烫 蜜炙 酒炙 醋炙 盐炙 姜炙 油炙 煅 蒸 煨 酒蒸 醋煮".split()
)


def whole(tail: str) -> list[str]:
    """The tail as it is, without the full stop."""
    text = tail.strip(" 。；;，,")
    return [text] if _HAN.search(text) and 1 <= len(text) <= 160 else []


def parts(tail: str) -> list[str]:
    """The items of a list: 祛风湿，舒筋活络.

    >>> parts("发汗解表;宣肺平喘"), parts("祛风湿，补肝肾；外用消肿")
    (['发汗解表', '宣肺平喘'], ['祛风湿', '补肝肾'])
    """
    text = re.split("外用|外治|；外", tail)[0]
    items = [item.strip(" 。") for item in re.split("[;；，,、]", text)]
    return [item for item in items if 2 <= len(item) <= 8 and all(map(_HAN.match, item))]


def names(tail: str) -> list[str]:
    """The names of a list, none a sentence."""
    items = [item.strip(" 。") for item in re.split("[;；，,、]", tail)]
    return [item for item in items if 2 <= len(item) <= 7 and all(map(_HAN.match, item)) and item not in _PROCESSES]


def dose(tail: str) -> list[str]:
    """The range in grams at the head of a text on usage.

    >>> dose("3~9g。外用适量。"), dose("外用适量")
    (['3~9g'], [])
    """
    found = _DOSE.match(tail)
    return [f"{found[1]}~{found[2]}g"] if found else []


def book(tail: str) -> list[str]:
    """The title of the book a formula is from: 《医方大成》引汤氏方 → 《医方大成》."""
    found = re.match("(?:清代?|明代?|宋代?|元代?|唐代?)?[·\\s]*(《[^《》]{2,12}》)$", tail.strip())
    return [found[1]] if found else []


def group(tail: str) -> list[str]:
    """解表方-辛温解表 → 解表方中的辛温解表方."""
    top, _, sub = tail.strip().partition("-")
    if not top or not all(map(_HAN.match, top + sub)):
        return []
    return [f"{top}（{sub}）" if sub else top]


def herb_group(tail: str) -> list[str]:
    """补虚 → 补虚药."""
    items = names(tail)
    return [item if item.endswith("药") else f"{item}药" for item in items[:1]]


def used_for(tail: str) -> list[str]:
    """用于风湿痹痛，下肢无力。 → 风湿痹痛，下肢无力."""
    text = re.split("；?外[治用]", tail.strip())[0].strip(" 。；，")
    text = text.removeprefix("用于").removeprefix("主治").removeprefix("治")
    return [text] if 4 <= len(text) <= 110 and _HAN.match(text) else []


def features(tail: str) -> list[str]:
    """临床以发热、恶寒等为特征的外感时病。 → 发热、恶寒.

    >>> features("临床以发热、恶寒，头身疼痛等为特征的外感时病。注：轻者称伤风。")
    ['发热、恶寒，头身疼痛']
    """
    found = re.match("(?:临床)?以(.{6,130}?)等?为(?:主要)?(?:特征|主)", tail.strip())
    return [re.sub("^患者|等[^，、]{2,10}证轻者$", "", found[1]).strip("，、。 ")] if found else []


def meaning(tail: str) -> list[str]:
    """What a symptom is: its features, or 指阴道分泌物的增加 → 阴道分泌物的增加."""
    found = re.match("(?:是指|指的是|指|即)([^。：]{5,60})。?", tail.strip())
    return features(tail) or ([found[1]] if found else [])


def cause(tail: str) -> list[str]:
    """因风寒侵袭肌表所致。 → 风寒侵袭肌表."""
    found = re.match("(?:多)?(?:由|因)(.{4,110}?)(?:所致|引起|而成|所引起)。?$", tail.strip())
    return [found[1].strip("，、 ").removesuffix("等")] if found else []


def cause_within(tail: str) -> list[str]:
    """The cause that stands within a description.

    >>> cause_within("临床以鼻中出血为特征的症状。多因鼻部疾患，或肺胃火热上扰所致。 常见于血溢病。")
    ['鼻部疾患，或肺胃火热上扰']
    """
    found = re.search("多(?:由|因)([^。]{4,110}?)(?:所致|引起|而成)", tail)
    return [found[1].strip("，、 ").removesuffix("等")] if found else []


def seen_in(tail: str) -> list[str]:
    """The ailments of 常见于…, names alone.

    >>> seen_in("多属实证。 常见于头风病、脑瘤及眼、口、鼻病，各种外感病或其他全身性疾病等。")
    ['头风病', '脑瘤', '鼻病']
    """
    found = re.search("常见于([^。]{2,120})", tail)
    items = re.split("[、，；]|以及|及|或|和", found[1]) if found else []
    names_ = [item.removesuffix("等").strip() for item in items]
    return [
        name
        for name in names_
        if re.fullmatch("[\u4e00-\u9fff]{2,6}", name) and not re.search("各|其|多种|部分|疾病|过程|系病", name)
    ]


def place(tail: str) -> list[str]:
    """Where in the body: 心肺, 四肢."""
    text = tail.strip(" 。")
    return [text] if re.fullmatch("[\u4e00-\u9fff]{1,4}", text) else []


def mechanisms(tail: str) -> list[str]:
    """Mechanisms that a symptom speaks for: 脾虚;肝郁气滞、瘀血阻络 → 脾虚, 肝郁气滞, 瘀血阻络."""
    items = [item.strip(" 。") for item in re.split("[;；，,、]", tail)]
    return [item for item in items if re.fullmatch("(?![肝心脾肺肾胃胆肠]+$)[\u4e00-\u9fff]{2,8}", item)]


def treats(tail: str) -> list[str]:
    """运用具有…作用的方药或相关疗法，以治疗风寒外袭所致病证的治法。 → 风寒外袭."""
    found = re.search("以治疗(.{3,60}?)等?所致(?:的)?(?:各种)?(?:病证|病症|疾病)", tail)
    return [found[1].strip("，、 ").removesuffix("等")] if found else []


def family(tail: str) -> list[str]:
    """石松科-伸筋草-全草-段- → 石松科."""
    first = tail.split("-")[0].strip()
    return [first] if re.fullmatch("[\u4e00-\u9fff]{1,6}科", first) else []


def plant_part(tail: str) -> list[str]:
    """石松科-伸筋草-全草-段- → 全草."""
    cells = tail.split("-")
    part = cells[2].strip() if len(cells) == 5 else tail.strip()
    return [part] if 1 <= len(part) <= 10 and _PART.search(part) and not _NO_PART.search(part) else []


def process(tail: str) -> list[str]:
    """芸香科-陈皮-成熟果皮-丝-炒炭 → 炒炭."""
    cells = tail.split("-")
    return [cells[4].strip()] if len(cells) == 5 and cells[4].strip() in _PROCESSES else []


def channel(tail: str) -> list[str]:
    """肝 and 肝经 → 肝经."""
    found = [item.removeprefix("归").removesuffix("经") for item in re.split("[;；，,、]", tail.strip(" 。"))]
    return [f"{item}经" for item in found if item in _CHANNELS]


_CHANNELS = frozenset("肝 心 脾 肺 肾 胃 胆 小肠 大肠 膀胱 三焦 心包".split())
NATURES = ("大寒", "微寒", "寒", "凉", "平", "微温", "温", "大热", "热")
FLAVOURS = ("微苦", "微辛", "微甘", "微酸", "微涩", "微咸", "苦", "甘", "辛", "酸", "涩", "咸", "淡")
POISONS = ("有大毒", "有小毒", "有毒", "无毒")


def nature(tail: str) -> list[str]:
    """The nature in 辛、甘，微温: the property 微温."""
    return [item for item in re.split("[;；，,、\\s]", tail.strip(" 。")) if item in NATURES]


def flavour(tail: str) -> list[str]:
    """The flavours in 辛、甘，微温."""
    return [item for item in re.split("[;；，,、\\s]", tail.strip(" 。")) if item in FLAVOURS]


@dataclass(frozen=True)
class Kind:
    """One kind of fact: from which type, under which names of relations, and how it is asked about."""

    name: str
    head: tuple[str, ...]
    relations: str  # names in any case, space between them; attributes are relations too
    label: str
    states: tuple[str, ...]
    asks: tuple[str, ...] = ()
    backs: tuple[str, ...] = ()
    blanks: tuple[str, ...] = ()
    tail: str = ""  # type of the tail where it is an entity
    view: Views = whole
    closed: bool = False  # the graph names all tails of a head: what it does not name is not true
    prose: bool = False  # tails are sentences
    open: bool = False  # nothing can be called false of a head: such facts are filled in and told, never denied

    def matches(self, relation: str, head_type: str, tail_type: str) -> bool:
        """Whether a triple of these types states such a fact."""
        return (
            relation.casefold() in _names_of(self)
            and head_type in (*self.head, "")
            and (not self.tail or not tail_type or tail_type == self.tail)
        )


@cache
def _names_of(kind: Kind) -> frozenset[str]:
    return frozenset(kind.relations.casefold().split())


KINDS = (
    Kind(
        "composition", (FORMULA,), "has_herb 组成 药味 药物组成 方剂组成 contains", "组成", tail=HERB, closed=True,
        states=("{head}的组成中含有{tail}", "{tail}是{head}的组成药物之一", "{head}的药物组成包括{tail}", "方剂{head}中用到了{tail}"),
        asks=("下列药物中，属于{head}组成的是哪一味？", "{head}的组成中包含下列哪味药？", "下列哪一味药见于{head}的组成？", "方剂{head}用到了下列哪味药？"),
        backs=("下列方剂中，组成含有{tail}的是哪一首？", "{tail}是下列哪首方剂的组成药物？", "下列各方中，用到{tail}的是哪一首？"),
    ),
    Kind(
        "nature", (HERB,), "has_property 药性 性味 四气 property_cn 性", "药性", view=nature, closed=True,
        states=("{head}的药性为{tail}", "按四气划分，{head}性{tail}", "中药{head}性{tail}"),
        asks=("{head}的药性（四气）是下列哪一项？", "按四气归类，{head}属于下列哪一性？", "下列关于{head}药性的选项，正确的是哪一项？"),
        backs=("下列药物中，药性为{tail}的是哪一味？", "按四气划分，下列哪味药性{tail}？"),
        blanks=("中药{head}按四气划分，其性____。", "{head}的药性（寒热温凉平）为____。"),
    ),
    Kind(
        "flavour", (HERB,), "has_property 药性 性味 五味 property_cn 味", "药味", view=flavour, closed=True,
        states=("{head}的药味有{tail}味", "按五味划分，{head}具有{tail}味", "中药{head}味{tail}"),
        asks=("{head}具有下列哪一种药味？", "按五味归类，{head}的药味含下列哪一项？"),
        backs=("下列药物中，具有{tail}味的是哪一味？", "下列哪味药的药味含有{tail}味？"),
    ),
    Kind(
        "meridian", (HERB,), "meridian 归经 has_meridian meridian_cn", "归经", view=channel, closed=True,
        states=("{head}归{tail}", "从归经来看，{head}入{tail}", "{head}的归经包括{tail}"),
        asks=("{head}归下列哪一经？", "{head}的归经包括下列哪一项？", "从归经来看，{head}入下列哪一经？"),
        backs=("下列药物中，归{tail}的是哪一味？", "下列哪味药的归经包括{tail}？", "归入{tail}的药物是下列哪一味？"),
    ),
    Kind(
        "herb_function", (HERB,), "function_cn 功效 功能 has_therapy has_function 功用", "功效", view=parts,
        states=("{head}具有{tail}的功效", "{tail}是{head}的功效之一", "{head}的功效包括{tail}"),
        asks=("下列哪一项是{head}的功效？", "{head}具有下列哪项功效？", "关于{head}的功效，下列正确的是哪一项？"),
        backs=("下列药物中，具有{tail}功效的是哪一味？", "功效包括{tail}的药物是下列哪一味？"),
    ),
    Kind(
        "formula_function", (FORMULA,), "function 功用 功效 has_therapy 治法 has_function", "功用", view=parts,
        states=("{head}的功用包括{tail}", "{head}具有{tail}的功用", "{tail}是{head}的功用之一"),
        asks=("下列哪一项是{head}的功用？", "{head}具有下列哪项功用？", "{head}的功用包括下列哪一项？"),
        backs=("下列方剂中，功用包括{tail}的是哪一首？", "具有{tail}功用的方剂是下列哪一首？"),
    ),
    Kind(
        "formula_source", (FORMULA,), "source 出处 来源 from_book", "出处", view=book, closed=True,
        states=("{head}出自{tail}", "方剂{head}的出处是{tail}", "{head}首载于{tail}"),
        asks=("{head}出自下列哪部著作？", "方剂{head}的出处是下列哪部书？", "下列哪部著作是{head}的出处？"),
        backs=("下列方剂中，出自{tail}的是哪一首？", "{tail}所载的方剂是下列哪一首？"),
        blanks=("{head}出自____。", "方剂{head}的出处是____（写出书名）。"),
    ),
    Kind(
        "formula_class", (FORMULA,), "efficacy_class 类别 方剂分类 分类", "分类", view=group, closed=True,
        states=("按功效分类，{head}属于{tail}", "{head}归入{tail}一类", "在方剂分类中，{head}属{tail}"),
        asks=("按功效分类，{head}属于下列哪一类方剂？", "在方剂分类中，{head}归入下列哪一类？"),
        backs=("下列方剂中，属于{tail}的是哪一首？", "按功效分类，归入{tail}的是下列哪首方剂？"),
        blanks=("按功效分类，{head}属于____。", "在方剂分类中，{head}归入____一类。"),
    ),
    Kind(
        "formula_indication", (FORMULA,), "indications 主治 适应证 indication", "主治", view=used_for, prose=True,
        states=("{head}的主治为：{tail}", "{head}可用于：{tail}"),
        backs=("主治“{tail}”的方剂是下列哪一首？", "患者证见：{tail}。据此宜选用下列哪首方剂？", "下列哪首方剂的主治是“{tail}”？"),
    ),
    Kind(
        "herb_indication", (HERB,), "indication_cn 主治 适应证 indication", "主治", view=used_for, prose=True,
        states=("{head}的主治为：{tail}", "{head}可用于{tail}"),
        backs=("主治“{tail}”的药物是下列哪一味？", "下列哪味药可用于{tail}？"),
    ),
    Kind(
        "herb_dose", (HERB,), "toxicity_cn 用量 用法用量 dose dosage usage_cn", "常用量", view=dose, closed=True,
        states=("{head}煎服的常用量为{tail}", "{head}的常用剂量是{tail}"),
        asks=("{head}的常用量是下列哪一项？", "关于{head}的常用剂量，下列正确的是哪一项？"),
        blanks=("{head}的常用量为____。", "中药{head}的常用剂量是____。"),
    ),
    Kind(
        "herb_class", (HERB,), "therapeutic_cn 药物分类 类别 分类", "分类", view=herb_group, closed=True,
        states=("按功效分类，{head}属于{tail}", "{head}归入{tail}一类"),
        asks=("按功效分类，{head}属于下列哪一类药？", "{head}归入下列哪一类药物？"),
        backs=("下列药物中，属于{tail}的是哪一味？", "按功效分类，归入{tail}的是下列哪味药？"),
        blanks=("按功效分类，{head}属于____。",),
    ),
    Kind(
        "herb_family", (HERB,), "usepart_cn 科属 科", "来源科属", view=family, closed=True,
        states=("{head}来源于{tail}", "从基原来看，{head}属{tail}", "{head}的基原科属是{tail}"),
        asks=("{head}的基原属于下列哪一科？", "从基原来看，{head}来源于下列哪一科？"),
        backs=("下列药物中，基原属于{tail}的是哪一味？", "来源于{tail}的药物是下列哪一味？"),
        blanks=("从基原来看，{head}来源于____。", "{head}的基原科属是____。"),
    ),
    Kind(
        "herb_part", (HERB,), "usepart_cn 药用部位 入药部位 部位", "药用部位", view=plant_part, closed=True,
        states=("{head}的药用部位是{tail}", "{head}以{tail}入药"),
        asks=("{head}的药用部位是下列哪一项？", "{head}以下列哪一部位入药？"),
        backs=("下列药物中，以{tail}入药的是哪一味？",),
        blanks=("{head}以____入药。", "{head}的药用部位是____。"),
    ),
    Kind(
        "herb_process", (HERB,), "usepart_cn 炮制 炮制方法", "炮制方法", view=process, closed=True,
        states=("饮片{head}所用的炮制方法是{tail}", "{head}经{tail}法炮制而成"),
        asks=("饮片{head}所用的炮制方法是下列哪一项？",),
        backs=("下列饮片中，用{tail}法炮制的是哪一种？",),
        blanks=("饮片{head}所用的炮制方法是____。",),
    ),
    Kind(
        "alias", (HERB, SYNDROME, DISEASE, THERAPY), "name_alias alias 别名 又名 异名", "别名", view=names,
        states=("{tail}是{head}的别名", "{head}又称{tail}", "{head}也叫{tail}"),
        asks=("下列名称中，哪一个是{head}的别名？", "{head}又称为下列哪一项？"),
        backs=("{tail}是下列哪一项的别名？", "“{tail}”所指的是下列哪一项？"),
    ),
    Kind(
        "syndrome_cause", (SYNDROME,), "pathogenesis 病机 病因病机", "病机", view=cause, prose=True,
        states=("{head}的病机为：{tail}", "{head}多因{tail}所致"),
        asks=("{head}的病机是下列哪一项？", "下列哪一项是{head}的形成机理？"),
        backs=("因“{tail}”所致的证候是下列哪一个？", "病机为“{tail}”的是下列哪一证候？"),
    ),
    Kind(
        "syndrome_features", (SYNDROME,), "clinical_performance 临床表现 证候表现 症状表现", "临床表现", view=features, prose=True,
        states=("{head}的临床特征为：{tail}", "{head}以{tail}为临床特征"),
        asks=("{head}的临床特征是下列哪一项？",),
        backs=("患者症见：{tail}。应辨为下列哪一证候？", "以“{tail}”为特征的证候是下列哪一个？", "根据“{tail}”的表现，最应辨为下列何证？"),
    ),
    Kind(
        "disease_cause", (DISEASE,), "pathogenesis 病机 病因病机 病因", "病因病机", view=cause, prose=True,
        states=("{head}的病因病机为：{tail}", "{head}多因{tail}所致"),
        asks=("{head}的病因病机是下列哪一项？", "中医认为，{head}的发病多由下列哪一项所致？"),
        backs=("病因病机为“{tail}”的疾病是下列哪一种？", "下列疾病中，因“{tail}”所致的是哪一种？"),
    ),
    Kind(
        "disease_features", (DISEASE,), "clinical_performance 临床表现 表现", "临床表现", view=features, prose=True,
        states=("{head}的临床特征为：{tail}", "{head}以{tail}为临床特征"),
        asks=("{head}的临床特征是下列哪一项？",),
        backs=("患者主要表现为：{tail}。应诊断为下列哪一种病？", "以“{tail}”为特征的疾病是下列哪一种？"),
    ),
    Kind(
        "therapy_for", (THERAPY,), "description 定义 说明 释义", "适用病机", view=treats, prose=True,
        states=("{head}法适用于{tail}所致的病证", "{head}用于治疗{tail}所致的病证"),
        asks=("{head}法适用于下列哪一项所致的病证？", "{head}这一治法主要针对下列哪一种病机？"),
        backs=("针对{tail}所致的病证，宜采用下列哪一治法？", "治疗{tail}所致的病证，下列治法中合适的是哪一项？"),
    ),
    Kind(
        "symptom_features", (SYMPTOM,), "clinical_performance 临床表现 定义", "表现", view=meaning, prose=True,
        states=("{head}的特征为：{tail}", "{head}以{tail}为特征"),
        backs=("以“{tail}”为特征的症状是下列哪一个？", "“{tail}”描述的是下列哪一症状？"),
    ),
    Kind(
        "symptom_cause", (SYMPTOM,), "clinical_performance 临床表现", "病因病机", view=cause_within, prose=True,
        states=("{head}的病因病机为：{tail}", "{head}多因{tail}所致"),
        asks=("{head}的病因病机是下列哪一项？", "下列哪一项可以引起{head}？"),
        backs=("多因“{tail}”所致的症状是下列哪一个？",),
    ),
    Kind(
        "symptom_seen", (SYMPTOM,), "clinical_performance 临床表现 常见于", "常见病证", view=seen_in, open=True,
        states=("{head}常见于{tail}", "{tail}可出现{head}"),
        blanks=("{head}常见于____。",),
    ),
    Kind(
        "symptom_place", (SYMPTOM,), "body_part 病位", "病位", view=place, open=True,
        states=("{head}的病位在{tail}", "{head}一症，病位在{tail}"),
        blanks=("从病位来看，{head}的病位在____。", "{head}一症，病位多在____。"),
    ),
    Kind(
        "symptom_mechanism", (SYMPTOM,), "indicator 提示 病机提示", "常见病机", view=mechanisms, open=True,
        states=("{head}多提示{tail}", "症见{head}，多属{tail}"),
        blanks=("症见{head}，多提示的病机（证候）是____。", "辨证时，{head}这一表现多提示____。"),
    ),
    Kind(
        "disease_syndrome", (DISEASE,), "dis2syn has_syndrome 证型 证候 分型", "证型", tail=SYNDROME,
        states=("{tail}是{head}的证型之一", "{head}可见{tail}", "{head}的常见证型包括{tail}"),
        asks=("下列哪一项是{head}的证型？", "{head}可见下列哪一证候？"),
        backs=("{tail}是下列哪种疾病的证型？", "下列疾病中，可见{tail}的是哪一种？"),
    ),
    Kind(
        "syndrome_therapy", (SYNDROME,), "syn2the has_therapy 治法 治则", "治法", tail=THERAPY,
        states=("{head}的治法为{tail}", "治疗{head}，治宜{tail}"),
        asks=("治疗{head}，下列治法中合适的是哪一项？", "{head}的治法是下列哪一项？"),
        backs=("治宜{tail}的证候是下列哪一个？",),
        blanks=("治疗{head}，治宜____。", "{head}的治法为____。"),
    ),
    Kind(
        "syndrome_formula", (SYNDROME, DISEASE), "syn2for 代表方 方剂 has_formula 主方", "代表方", tail=FORMULA,
        states=("{tail}可用于治疗{head}", "{head}可选用{tail}", "{head}的代表方有{tail}"),
        asks=("{head}可选用下列哪首方剂？", "治疗{head}，下列方剂中可选用的是哪一首？"),
        backs=("{tail}可用于治疗下列哪一证候？", "下列证候中，可用{tail}治疗的是哪一个？"),
        blanks=("治疗{head}的代表方是____。", "{head}可选用的方剂是____。"),
    ),
    Kind(
        "symptom_syndrome", (SYMPTOM,), "证候 证型 sym2syn has_syndrome", "所见证候", tail=SYNDROME,
        states=("{head}可见于{tail}", "{tail}可见{head}的表现", "{head}是{tail}的表现之一"),
        asks=("{head}可见于下列哪一证候？", "患者有{head}的表现，可见于下列哪一证候？"),
        backs=("{tail}可见下列哪一表现？", "下列表现中，可见于{tail}的是哪一项？"),
        blanks=("{head}可见于____。",),
    ),
    Kind(
        "symptom_herb", (SYMPTOM, DISEASE), "中药 treated_by 用药 has_herb", "可选用的中药", tail=HERB,
        states=("{head}可选用{tail}治疗", "{tail}可用于{head}", "治疗{head}可用{tail}"),
        asks=("治疗{head}，可选用下列哪味中药？", "{head}可用下列哪味药治疗？"),
        backs=("{tail}可用于下列哪一种病症？",),
    ),
)  # fmt: skip
BY_NAME = {kind.name: kind for kind in KINDS}

# Types of both ends where the name of a relation alone has to tell them.
_UNTYPED = {
    **dict.fromkeys(("药性", "性味", "四气", "五味"), (HERB, PROPERTY)),
    **dict.fromkeys(("归经",), (HERB, MERIDIAN)),
    **dict.fromkeys(("组成", "药味", "药物组成", "方剂组成", "has_herb"), (FORMULA, HERB)),
    **dict.fromkeys(("功效", "功能", "用量", "毒性", "贮藏", "部位", "药用部位", "用法", "注意", "炮制"), (HERB, "")),
    **dict.fromkeys(("证候",), (SYMPTOM, SYNDROME)),
    **dict.fromkeys(("证型",), (DISEASE, SYNDROME)),
    **dict.fromkeys(("中药",), (SYMPTOM, HERB)),
    **dict.fromkeys(("治法",), (SYNDROME, THERAPY)),
    **dict.fromkeys(("代表方", "方剂"), (SYNDROME, FORMULA)),
    **dict.fromkeys(("出处", "功用", "方剂分类"), (FORMULA, "")),
    **dict.fromkeys(("symmap_chemical",), (HERB, INGREDIENT)),
    **dict.fromkeys(("chemical_mm",), (INGREDIENT, "")),
}
# How a relation of no kind is called in a sentence, where its own name is no noun for it.
LABELS = {"贮藏": "贮藏要求", "注意": "使用注意", "毒性": "毒性记载", "用法": "用法"}


def types_of_relation(relation: str) -> tuple[str, str]:
    """Types of head and tail that the name of a relation tells; empty where it does not.

    >>> types_of_relation("归经"), types_of_relation("related_to")
    (('herb', 'meridian'), ('', ''))
    """
    return _UNTYPED.get(relation.strip().casefold(), ("", ""))


@cache
def generic(relation: str) -> Kind | None:
    """A kind for a relation with a Chinese name that stands in no table; None where it has no such name."""
    label = LABELS.get(relation, relation)
    if not re.fullmatch("[\u4e00-\u9fff]{1,8}", label):
        return None
    return Kind(
        f"other:{relation}", (), relation, label,
        states=("{head}的" + label + "为{tail}", "{head}的" + label + "是{tail}"),
        asks=("{head}的" + label + "是下列哪一项？", "关于{head}的" + label + "，下列正确的是哪一项？"),
        backs=("下列哪一项的" + label + "是{tail}？",),
        blanks=("{head}的" + label + "是____。",),
    )  # fmt: skip
