"""Red flags: signs in a patient's words that must be answered with advice to seek care, whatever else is said."""

from __future__ import annotations

import re

# Sign: pattern. Only what stands in every triage guide; milder things are for the clinician who answers.
_SIGNS = {
    "chest_pain": "胸[痛闷](?=[^。！？\n]{0,40}(?:大汗|出汗|冷汗|放射|左臂|左肩|后背|濒死|喘不|气短|呼吸困难|压榨|压迫感))|压榨(?:样|性)[^。]{0,4}[痛闷]"
    "|心前区[^。，]{0,6}[痛闷]|(?:大汗|冷汗)[^。！？\n]{0,20}胸[痛闷]|crushing chest pain|chest pain[^.]{0,60}(?:sweat|arm|breath|jaw)",
    "haemorrhage": "咯血|呕血|吐血|(?:大量|不停|一直|止不住)[^。，]{0,6}(?:便血|流血|出血)|柏油样|黑便|vomit\\w* blood|coughing up blood|black (?:tarry )?stools?",
    "consciousness": "意识(?:障碍|不清|模糊|丧失)|神志不清|昏迷|叫不醒|晕厥|昏倒|晕倒|unconscious|passed out|unresponsive",
    "stroke": "(?:嘴|口角|口眼|面部|脸)[^。，]{0,4}歪|(?:突然|突发)[^。]{0,20}(?:言语不清|说不出话|说话不清|偏瘫|无力|麻木|看不见|剧烈头痛)|face droop|slurred speech",
    "breathing": "喘不(?:上|过)气|呼吸(?:很|非常|极度|十分)?困难|嘴唇(?:发紫|青紫|发绀)|窒息|(?:can't|cannot) breathe|blue lips",
    "seizure": "抽搐|惊厥|抽风|seizure|convulsion",
    "pregnancy": "(?:怀孕|孕妇|孕[0-9一二三四五六七八九十]+[周个月]|妊娠)[^。！？\n]{0,30}(?:出血|流血|见红|破水|剧烈腹痛|胎动(?:减少|消失))"
    "|(?:出血|流血|见红)[^。！？\n]{0,20}(?:怀孕|孕妇)|pregnan[^.]{0,60}bleed",
    "self_harm": "自杀|轻生|不想活|想死|活着没意思|自残|suicid|kill myself|end my life",
    "poisoning": "百草枯|农药中毒|误服|误食[^。，]{0,10}(?:药|毒)|服毒|一氧化碳中毒|煤气中毒|过量服|吃了[^。，]{0,6}整瓶|overdos|poisoned",
    "allergy": "过敏性休克|(?:喉|舌|嘴唇)[^。，]{0,4}(?:肿)[^。]{0,15}(?:呼吸|喘)|anaphyla",
    "infant_fever": "(?:新生儿|[0-9一二两三]个?月(?:大)?的?(?:宝宝|婴儿|孩子)|满月)[^。！？\n]{0,20}(?:发烧|发热|高烧|3[89]|40)",
}  # fmt: skip
_PATTERNS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _SIGNS.items()}
_DENIED = re.compile(
    "(?:无|没有|没|未见|未|否认|不伴|并无|排除|不会|without|no|denies)[^，。；！？\n]{0,12}$", re.IGNORECASE
)
# Someone's own trouble, not a question of knowledge (咯血的病因有哪些？).
_PERSONAL = re.compile(
    "我|俺|患者|病人|孩子|宝宝|小孩|老公|老婆|爱人|父亲|母亲|爸|妈|爷爷|奶奶|外公|外婆|[0-9]{1,3}岁|怎么办|医生|大夫|您好|你好"
    r"|\b[Mm]y\b|\bI\b|\bI'm\b|\b[Hh]e\b|\b[Ss]he\b"
)
_KNOWLEDGE = re.compile(
    "(?:的)?(?:病因|原因|定义|概念|机制|分类|鉴别|特点|临床表现|诊断标准|治法|方药|病机)(?:是什么|有哪些|如何|包括|$)|什么是|何谓|何为|名词解释"
)
_EXAM = re.compile(
    "下列|辨为|应诊断|作答|试述|简述|请写出|多选|判断|填空|配对|宜选用|选方|应首先|诊断[是为]|最可能|\nA[.、．]"
)
_EPILEPSY = re.compile("癫痫|癫癇|羊癫|羊角风|epilep", re.IGNORECASE)  # fits are what the illness is, not news of it
_ADVICE = re.compile(
    "就医|就诊|急诊|急救|120|医院|看医生|看病|面诊|门诊|住院|转诊|送医|求助|心理(?:医生|咨询|援助)|热线|报警"
    "|emergency|hospital|doctor|911|999|112|ambulance|medical (?:help|attention|care)|hotline|seek (?:help|care)",
    re.IGNORECASE,
)


def red_flags(question: str) -> tuple[str, ...]:
    """Red flags in what a patient says about a patient; denied ones and questions of knowledge hold none.

    >>> red_flags("我爸突然胸痛，大汗淋漓，怎么办？"), red_flags("我咳嗽三天，没有咯血。"), red_flags("咯血的病因有哪些？")
    (('chest_pain',), (), ())
    """
    if not _PERSONAL.search(question) or _EXAM.search(question) or (_KNOWLEDGE.search(question) and len(question) < 30):
        return ()
    found = []
    chronic = ("seizure", "consciousness") if _EPILEPSY.search(question) else ()
    for name, pattern in _PATTERNS.items():
        if name in chronic:
            continue
        for sign in pattern.finditer(question):
            if not _DENIED.search(question, max(0, sign.start() - 16), sign.start()):
                found.append(name)
                break
    return tuple(found)


def advises_care(answer: str) -> bool:
    """Whether an answer sends the patient to a doctor, a hospital or an emergency line.

    >>> advises_care("请立即拨打120。"), advises_care("多喝热水，注意休息。")
    (True, False)
    """
    return bool(_ADVICE.search(answer))
