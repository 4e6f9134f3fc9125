"""Slot-filled consultations of a case from a graph of Chinese medicine, without a model.

The patient tells the symptoms of its layers, in everyday words where the table has them; the clinician asks topic by
topic, and says at the end what the graph says of cause, therapy and formula. What the graph does not have is not said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

import xxhash

from datatools.cases.personas import Persona
from datatools.checks.red_flags import red_flags
from schemas.case import ON_ASKING, UNKNOWN, VOLUNTEERED, Case

# Topic: what its symptoms hold, how a clinician asks, what a patient says who has none of them.
TOPICS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "cold_heat": ("热|寒|冷|怯|恶风|温(?!病)|凉", ("平时怕冷还是怕热？有没有发热？", "有没有发烧、怕冷的情况？", "身上觉得冷还是热？"), ("冷热上没什么特别的。", "没觉得怕冷怕热。")),
    "sweat": ("汗", ("出汗多不多？白天出还是夜里出？", "出汗情况怎么样？"), ("出汗跟平时差不多。",)),
    "skin": ("疹|痒|斑|皮肤|皮色|疮|溃|糜|脓|脱屑|结痂|肿|瘀点|黄疸|面色|面赤|面红|颧", ("皮肤和面色有什么变化吗？", "身上有没有起疹、发痒或者浮肿？"), ("皮肤上没看到什么。",)),
    "pain": ("痛|疼|拘急|酸楚|刺|胀(?!脘)|麻木|屈伸|拒按|喜按|酸软|身重|困重|项强", ("有没有哪里疼、胀或者麻？", "身上有没有疼痛或者不舒服的地方？"), ("没有哪里特别疼。", "疼倒是不疼。")),
    "eating": ("食|纳|胃|脘|呕|恶心|嗳|呃|泛|痞|口味|口淡|嘈杂|腹胀", ("胃口怎么样？吃完东西胀不胀、有没有恶心？", "吃饭还好吗？", "消化方面有没有不舒服？"), ("胃口还可以。", "吃饭没什么影响。")),
    "thirst": ("渴|口干|口燥|咽干|咽燥|口苦|口臭|口舌|口疮|饮", ("口渴吗？嘴里有没有发苦发干？", "喝水多不多，口干不干？"), ("不怎么口渴。",)),
    "urine": ("尿|溲|小便|淋沥|遗精", ("小便正常吗？", "小便的颜色和次数怎么样？"), ("小便没什么变化。",)),
    "stool": ("便|泻|溏|痢|肠鸣|矢气|里急", ("大便怎么样？", "大便干不干、一天几次？"), ("大便还正常。",)),
    "sleep": ("寐|眠|梦|嗜睡|寤", ("晚上睡得好吗？", "睡眠怎么样？"), ("睡觉还行。",)),
    "cough": ("咳|痰|喘|气促|气急|气粗|呼吸|喉|咽|声|鼻|嚏|流涕", ("咳嗽吗？有没有痰，嗓子和鼻子怎么样？", "呼吸道方面，有没有咳嗽、咽喉不舒服？"), ("不咳嗽。",)),
    "head": ("头|眩|晕|目|眼|耳|视|泪|羞明|畏光", ("头晕不晕？眼睛、耳朵有没有不舒服？", "头面部有什么感觉吗？"), ("头还好，不晕。",)),
    "mood": ("烦|怒|郁|躁|惊|恐|悲|健忘|叹息|抑|急", ("情绪怎么样？容易烦躁吗？", "最近心情如何，脾气急不急？"), ("情绪还算平稳。",)),
    "strength": ("神疲|乏力|倦|懒言|无力|气短|怠|瘦|疲|少气|虚弱", ("精神和体力怎么样？", "平时有没有力气、容易累吗？"), ("体力还可以。",)),
    "chest": ("心悸|怔忡|心慌|胸|胁|心下|心前|心口|心痛|心中", ("心慌、胸闷有没有？", "胸口和两胁有没有不舒服？"), ("胸口没什么不舒服。",)),
    "women": ("月经|经期|经行|经量|经色|带下|闭经|痛经|崩|漏|胎|孕|乳", ("月经和白带情况怎么样？", "月经正常吗？"), ("这方面没什么变化。",)),
    "blood": ("血", ("有没有出血的情况？", "有没有见到出血？"), ("没见到出血。",)),
}  # fmt: skip
_TOPICS = {name: re.compile(words) for name, (words, _, _) in TOPICS.items()}
# Terms of the textbooks → what patients say.
SPOKEN = {
    "恶寒": "怕冷", "畏寒": "怕冷", "畏冷": "怕冷", "形寒": "身上发冷", "怯寒": "怕冷", "恶风": "怕风", "微恶风寒": "有点怕风怕冷", "微恶风": "有点怕风",
    "壮热": "烧得很高", "身热": "身上发热", "潮热": "一阵一阵地发热", "五心烦热": "手心脚心发热", "手足心热": "手心脚心发热", "肢冷": "手脚冰凉", "四肢不温": "手脚不暖和", "四肢厥冷": "手脚冰凉", "肢凉": "手脚发凉",
    "自汗": "白天动不动就出汗", "盗汗": "睡着了出汗", "无汗": "不出汗", "汗出": "出汗",
    "纳呆": "没胃口", "食少": "吃得少", "纳少": "吃得少", "食欲不振": "没胃口", "不思饮食": "不想吃东西", "嗳气": "老打嗝嗳气", "呃逆": "打嗝", "泛恶": "犯恶心", "呕恶": "恶心想吐", "脘痞": "胃里堵得慌", "脘腹胀满": "肚子胀满", "腹胀": "肚子胀", "腹痛": "肚子疼", "嘈杂": "胃里嘈杂难受",
    "口渴": "口渴", "烦渴": "心烦口渴", "烦渴引饮": "渴得老想喝水", "渴不欲饮": "口渴又不想喝水", "咽干": "嗓子干", "咽燥": "嗓子发干", "咽痛": "嗓子疼", "咽喉肿痛": "嗓子又肿又疼", "口苦": "嘴里发苦", "口淡": "嘴里没味道",
    "便溏": "大便稀", "大便溏薄": "大便稀", "大便秘结": "便秘", "大便干结": "大便干", "便血": "大便带血", "小便短赤": "小便少、颜色深", "小便短少": "小便少", "小便不利": "小便不畅快", "小便清长": "小便多、颜色清", "尿黄": "小便发黄", "尿血": "尿里带血",
    "不寐": "睡不着", "少寐": "睡得少", "失眠": "失眠", "多梦": "梦多", "嗜睡": "老想睡觉",
    "眩晕": "头晕", "目眩": "眼前发花", "眼花": "眼花", "耳鸣": "耳朵响", "目赤": "眼睛红", "羞明": "怕光", "畏光": "怕光", "心悸": "心慌", "怔忡": "心慌得厉害", "气短": "气不够用", "气促": "气喘", "气急": "喘气急", "喘促": "喘得厉害",
    "神疲": "没精神", "乏力": "没力气", "倦怠": "没劲", "神疲乏力": "没精神、没力气", "懒言": "懒得说话", "少气": "气不够用", "腰膝酸软": "腰和膝盖发酸发软", "形体消瘦": "人瘦了", "消瘦": "人瘦了", "肢体困重": "胳膊腿发沉", "头身困重": "头和身上发沉",
    "心烦": "心里烦", "烦躁": "烦躁", "易怒": "容易发火", "急躁": "性子急", "健忘": "记性差", "面色萎黄": "脸色发黄", "面色苍白": "脸色苍白", "面赤": "脸红", "面红": "脸红", "颧红": "两颧发红", "衄血": "流鼻血", "鼻衄": "流鼻血", "咳血": "咳出血来", "瘙痒": "身上痒",
    "带下": "白带多", "闭经": "月经不来", "经闭": "月经不来", "项强": "脖子发僵", "屈伸不利": "关节活动不灵便", "拒按": "一按更疼", "喜按": "按着舒服点", "喜温": "喜欢暖和", "灼痛": "火烧一样地疼", "刺痛": "像针扎一样疼", "固定不移": "疼的地方不动",
}  # fmt: skip
# A patient who cannot speak for himself is spoken for.
_SPOKEN_FOR = re.compile("神昏|昏|谵语|不省人事|抽搐|牙关紧闭|角弓反张|痉挛|口噤|痴呆|意识|发狂|狂躁|失语")
_CHILD = re.compile("小儿|婴|新生儿|胎黄|胎毒|初生|幼儿|囟|疳|夜啼|惊风")
_OPENINGS = (
    "{hello}{who}{lately}{complaint}，想问问是怎么回事？",
    "{hello}{who}{often}{complaint}，该怎么调理？",
    "{hello}{who}{these_days}{complaint}，心里没底，想请您看看。",
    "{hello}想咨询一下，{who}{lately}{complaint}，要紧吗？",
)
_DATED = re.compile("长年|长期|平素|反复|经常|久|突|骤|忽|暴|出生|先天|自幼|初起|时")
_HELLO = {"calm": ("医生您好，", "您好，"), "anxious": ("医生您好，我挺担心的。", "大夫，我有点着急。"), "impatient": ("大夫，", "医生，"), "low": ("医生您好……", "大夫您好，")}  # fmt: skip
_TELLS = {
    "terse": ("{found}。", "有，{found}。"),
    "plain": ("有的，{found}。", "是有{found}。", "嗯，{found}。"),
    "talkative": (
        "您这么一问还真是，{found}，家里人也说起过。",
        "有有有，{found}，我自己都没太留意。",
        "这个有的，{found}，我都没当回事。",
    ),
}
_ACKNOWLEDGED = ("好的。", "嗯，了解了。", "明白了。", "我知道了。", "", "")
_URGENT = "您说的情况里有需要马上处理的，请先到最近的医院急诊，不要等。"
_CLOSINGS = (
    "用药之前请到医院面诊，看过舌象和脉象再定方，不要自己抓药。",
    "舌象、脉象隔着网看不到，具体用药请到中医科面诊后再定。",
    "以上只是根据您说的作出的判断，请到医院面诊核实，症状加重要及时就诊。",
)
_THANKS = (
    "好的，谢谢医生。那我该怎么治？",
    "明白了，那接下来怎么办？",
    "那这是什么问题，要怎么调？",
    "我就这些不舒服了，您看是什么情况？",
)
LEAST = 3


@dataclass(frozen=True)
class Slots:
    """What a case gives to fill a dialogue with."""

    volunteered: list[str]
    by_topic: dict[str, list[str]]


def slots_of(case: Case) -> Slots | None:
    """The symptoms a patient can tell, by topic; None where there are too few."""
    volunteered = [fact for fact in case.layer(VOLUNTEERED) if topic_of(fact)]
    by_topic: dict[str, list[str]] = {}
    for fact in case.layer(ON_ASKING):
        if topic := topic_of(fact):
            by_topic.setdefault(topic, []).append(fact)
    if not volunteered or len(volunteered) + sum(map(len, by_topic.values())) < LEAST or not by_topic:
        return None
    return Slots(volunteered, by_topic)


def topic_of(symptom: str) -> str:
    """The first topic a symptom belongs to; empty where none.

    >>> topic_of("盗汗"), topic_of("大便溏薄"), topic_of("中心渐退")
    ('sweat', 'stool', '')
    """
    return next((name for name, pattern in _TOPICS.items() if pattern.search(symptom)), "")


def slot_filled(case: Case, persona: Persona, span: tuple[int, int], seed: int) -> list[str] | None:
    """The turns of a dialogue, the patient first; None where the case has too little to ask about."""
    slots = slots_of(case)
    if slots is None:
        return None
    draw = Random(xxhash.xxh3_64_intdigest(f"dialogue {case.id}".encode(), seed))
    text = "，".join(
        (case.diagnosis, *slots.volunteered, *(fact for facts in slots.by_topic.values() for fact in facts))
    )
    child = bool(_CHILD.search(text))
    who = (
        draw.choice(("孩子", "我家孩子"))
        if child
        else draw.choice(("我家老人", "我爱人"))
        if _SPOKEN_FOR.search(text)
        else "我"
    )
    dated = _DATED.search("，".join(slots.volunteered)) is not None
    turns = [
        draw.choice(_OPENINGS).format(
            hello=draw.choice(_HELLO[persona.mood]),
            who=who,
            complaint=_listed(slots.volunteered, draw),
            lately="" if dated else "最近",
            often="" if dated else "这阵子总是",
            these_days="" if dated else "这些天",
        )
    ]
    topics = list(slots.by_topic)
    draw.shuffle(topics)
    tells = list(_TELLS[persona.verbosity])
    draw.shuffle(tells)
    least, most = span
    absent = [
        name for name in TOPICS if name not in slots.by_topic and name != "blood" and (name != "women" or "经" in text)
    ]
    draw.shuffle(absent)
    # The last exchange is the conclusion; a topic with nothing to tell is asked now and then, as people do.
    asked = topics[: most - 1]
    extra = max(least - 1 - len(asked), 1 if len(asked) < most - 1 and draw.random() < 0.4 else 0)
    asked += absent[:extra]
    draw.shuffle(asked)
    for topic in asked:
        lead = (
            draw.choice(_ACKNOWLEDGED)
            if len(turns) > 1
            else draw.choice(("您好。", "您别急。", "好的，我先问几句。", ""))
        )
        turns.append(lead + draw.choice(TOPICS[topic][1]))
        found = slots.by_topic.get(topic)
        if found is None:
            turns.append(draw.choice(TOPICS[topic][2]))
        else:
            tells.append(tells.pop(0))  # in turn: nobody says the same words twice running
            turns.append(tells[-1].format(found=_listed(found, draw)))
    if len(turns) > 2 and draw.random() < 0.5:
        turns[-1] = turns[-1].rstrip("。") + "。" + draw.choice(_THANKS)
    turns.append(_conclusion(case, slots, who, text, draw))
    return turns


def _listed(symptoms: list[str], draw: Random) -> str:
    words = list(dict.fromkeys(SPOKEN.get(symptom, symptom) for symptom in symptoms))
    if len(words) == 1:
        return words[0]
    return "、".join(words[:-1]) + draw.choice(("，还有", "，另外", "、")) + words[-1]


def _conclusion(case: Case, slots: Slots, who: str, text: str, draw: Random) -> str:
    known: dict[str, list[str]] = {}
    for fact in case.layer(UNKNOWN):
        label, colon, value = fact.partition("：")
        if colon and label in ("病机", "证候", "治法", "方剂"):
            known.setdefault(label, []).append(value.strip(" 。"))
    told = [*slots.volunteered, *(fact for facts in slots.by_topic.values() for fact in facts)]
    patient = {"我": "您"}.get(who, who.removeprefix("我家").removeprefix("我") if who != "我爱人" else "您爱人")
    seen = "、".join(dict.fromkeys(SPOKEN.get(fact, fact) for fact in told[:4]))
    kind = "属于" if case.diagnosis.endswith("证") else "像是"
    said = [
        draw.choice(
            (
                f"从{seen}这些表现看，{patient}的情况中医{kind}“{case.diagnosis}”。",
                f"{patient}有{seen}，合起来看，中医{kind}“{case.diagnosis}”。",
                f"综合起来，{seen}同时出现，中医上{kind}“{case.diagnosis}”。",
            )
        )
    ]
    if red_flags(f"我{text}"):
        said.insert(0, _URGENT)
    if "病机" in known:
        said.append(
            f"{draw.choice(('病机上，', '原因多半是：', '中医认为，'))}{known['病机'][0].removeprefix('多').removeprefix('因')}。"
        )
    if "证候" in known:
        said.append(f"临床上又分{'、'.join(dict.fromkeys(known['证候'][:4]))}等证，治法要分清证型再定。")
    if "治法" in known:
        said.append(f"治疗以{'、'.join(dict.fromkeys(known['治法'][:2]))}为法。")
    if "方剂" in known:
        said.append(f"可选的方剂有{'、'.join(dict.fromkeys(known['方剂'][:3]))}，需辨证加减。")
    said.append(draw.choice(_CLOSINGS))
    return "".join(said)
