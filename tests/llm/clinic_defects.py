"""Defects that a model may have, planted into a good turn."""

from __future__ import annotations

import random
import re

PATIENT = ("leakage", "wrong_language", "repetition", "truncated", "role_mixup", "diagnosis_given_away")
CLINICIAN = (
    *("wrong_dose", "invented_drug", "leakage", "wrong_language", "repetition", "truncated", "role_mixup"),
    *("incompatible_herbs", "missing_warning"),
)
WRITER = ("wrong_dose", "invented_drug", "leakage", "wrong_language", "repetition", "truncated", "incompatible_herbs")
DEFECTS = tuple(dict.fromkeys((*CLINICIAN, *PATIENT)))

_LEAKS = (
    "作为一个AI语言模型，我只能提供一般性的信息。",
    "作为人工智能助手，我没有真实的身体感受。",
    "根据您提供的资料，",
    "根据上述文本，",
    "以下是根据要求生成的回答：",
    "我是一个大语言模型，不能代替医生。",
    "抱歉，我无法提供医疗建议。",
    "根据给定的材料，",
    "文中提到，",
    "As an AI language model, I cannot diagnose.",
    "<think>先想想该怎么回答</think>",
    "参考资料中没有说明，",
)
_FOREIGN = (
    "I think you should rest at home, drink plenty of water and see whether the symptoms become better within a few days.",
    "It has been bothering me for some time now and I really do not know what else I could do about it, please help me.",
    "Vous devriez consulter votre médecin traitant si les symptômes persistent plus de trois jours, surtout avec fièvre.",
    "ご飯を食べた後に症状がひどくなるようでしたら、早めに病院を受診してください。無理をしないで休んでください。",
    "Bitte suchen Sie einen Arzt auf, wenn die Beschwerden nach drei Tagen nicht besser geworden sind.",
)
_AS_DOCTOR = (
    "根据您的描述，建议您到医院做个检查。",
    "医生：您这种情况考虑先观察几天。",
    "您这是受凉引起的，建议您多休息。",
    "作为医生，我建议您按时复诊。",
    "您的症状可能和饮食有关，我给您开点药。",
    "助手：请问还有什么可以帮您？",
)
_AS_PATIENT = (
    "医生您好，我最近总是头疼，晚上睡不着。",
    "患者：我这几天一直不舒服。",
    "大夫你好，我昨天开始肚子疼，怎么办？",
    "谢谢医生，我今天咳嗽好多了。",
    "病人：好的，我知道了。",
    "请问医生，我需要住院吗？",
)
_DOSES = (
    "可以先吃{n}毫克，一天三次。",
    "每次口服{n}mg，每日2次。",
    "一次{m}片，早晚各一次。",
    "剂量加到每天{n}毫克就行。",
    "每晚睡前用{m}ml。",
    "按每次{m}粒吃，吃完再来复诊。",
)
_DRUGS = (
    "可以吃点{drug}。",
    "建议口服{drug}，饭后吃。",
    "家里备一盒{drug}，难受的时候用。",
    "配合{drug}效果会更好。",
    "换成{drug}试试看。",
)
# What is prescribed and bought every day, written down without a look at the tables that checks go by.
MEDICINES = (
    "阿司匹林 对乙酰氨基酚 双氯芬酸钠 塞来昔布 洛索洛芬钠 吲哚美辛 头孢克肟 头孢呋辛酯 阿奇霉素 克拉霉素 左氧氟沙星 莫西沙星 甲硝唑 奥硝唑"
    " 多西环素 磷霉素 呋喃妥因 氟康唑 特比萘芬 伊曲康唑 阿昔洛韦 奥司他韦 恩替卡韦 利巴韦林 氨氯地平 硝苯地平 缬沙坦 厄贝沙坦 依那普利"
    " 美托洛尔 比索洛尔 氢氯噻嗪 呋塞米 螺内酯 阿托伐他汀 瑞舒伐他汀 氯吡格雷 华法林 利伐沙班 硝酸甘油 地高辛 胺碘酮 二甲双胍 格列美脲 阿卡波糖"
    " 达格列净 西格列汀 甘精胰岛素 左甲状腺素 甲巯咪唑 泼尼松 甲泼尼龙 地塞米松 兰索拉唑 雷贝拉唑 法莫替丁 多潘立酮 莫沙必利 铝碳酸镁 胶体果胶铋"
    " 乳果糖 洛哌丁胺 双歧杆菌 氨溴索 右美沙芬 孟鲁司特 沙丁胺醇 布地奈德 氯雷他定 西替利嗪 依巴斯汀 扑尔敏 别嘌醇 非布司他 秋水仙碱 艾司唑仑"
    " 阿普唑仑 佐匹克隆 舍曲林 艾司西酞普兰 氟西汀 帕罗西汀 奥氮平 喹硫平 卡马西平 丙戊酸钠 加巴喷丁 普瑞巴林 倍他司汀 氟桂利嗪 甲钴胺 维生素B12"
    " 叶酸片 碳酸钙D3片 硫酸亚铁 黄体酮 地屈孕酮 优甲乐 坦索罗辛 非那雄胺 莫匹罗星软膏 红霉素眼膏 左氧氟沙星滴眼液 玻璃酸钠滴眼液 糠酸莫米松乳膏"
    " 复方甘草片 连花清瘟胶囊 板蓝根颗粒 感冒清热颗粒 蒲地蓝消炎口服液 藿香正气水 保济丸 三九胃泰颗粒 速效救心丸 复方丹参滴丸 云南白药 六味地黄丸"
    " 逍遥丸 归脾丸 金匮肾气丸 桂附地黄丸 银翘解毒片 牛黄解毒片 蒙脱石散 炉甘石洗剂 开塞露 布洛芬混悬液 小儿氨酚黄那敏颗粒 思密达 芬必得 泰诺"
).split()
# Pairs of 十八反 and 十九畏 (张子和《儒门事亲》; 刘纯《医经小学》), among them names by which herbs are written today.
_PAIRS = (
    *(("甘草", "甘遂"), ("甘草", "大戟"), ("甘草", "海藻"), ("甘草", "芫花"), ("川乌", "半夏"), ("草乌", "瓜蒌")),
    *(("附子", "半夏"), ("川乌", "川贝母"), ("附子", "天花粉"), ("草乌", "白蔹"), ("川乌", "白及"), ("藜芦", "人参")),
    *(("藜芦", "丹参"), ("藜芦", "细辛"), ("藜芦", "白芍"), ("硫黄", "芒硝"), ("丁香", "郁金"), ("人参", "五灵脂")),
    *(("肉桂", "赤石脂"), ("巴豆", "牵牛子"), ("炙甘草", "海藻"), ("制附子", "法半夏")),
)
_PRESCRIPTIONS = (
    "可以用{a}{n}g、{b}{m}g、陈皮6g，水煎服，一日一剂。",
    "开个方子：茯苓12g，{a}{n}g，{b}{m}g，煎汤分两次喝。",
    "处方：{a}{n}克、白术10克、{b}{m}克，水煎，早晚分服。",
    "建议抓药：{b}{m}g，{a}{n}g，每天一剂。",
)
_GIVEN_AWAY = (
    "我知道这是{name}。",
    "我觉得我得的就是{name}。",
    "网上查了，我这应该是{name}吧？",
    "会不会是{name}啊？",
    "我这个{name}能治好吗？",
)
_SENDS = re.compile("[^。，]*(?:医院|急诊|就诊|就医|面诊|120|emergency|doctor)[^。，]*[。，]?")


def planted(defect: str, text: str, urgent: bool, diagnosis: str, draw: random.Random, by_patient: bool = False) -> str:
    """The turn with the defect; unchanged where it has no place for it: no warning to leave out, no diagnosis known."""
    body, end = (text.removesuffix("\n[END]"), "\n[END]" if text.endswith("\n[END]") else "")
    asks = body.endswith(("？", "?"))
    if defect == "leakage":
        return draw.choice(_LEAKS) + body + end
    if defect == "wrong_language":
        return draw.choice(_FOREIGN) + end
    if defect == "repetition":
        return body + body[-40:] * draw.randint(6, 9) + end
    if defect == "truncated":
        cut = body[: max(4, int(len(body) * draw.uniform(0.3, 0.8)))].rstrip("。？！，、； ")
        return cut + draw.choice("，、，（：") + end
    if defect == "role_mixup":
        return f"{body}\n{draw.choice(_AS_DOCTOR if by_patient else _AS_PATIENT)}{end}"
    if defect == "wrong_dose" and not asks:
        return (
            body
            + draw.choice(_DOSES).format(n=draw.choice((15, 37, 125, 350, 780, 2400)), m=draw.randint(11, 19))
            + end
        )
    if defect == "invented_drug" and not asks:
        return body + draw.choice(_DRUGS).format(drug=draw.choice(MEDICINES)) + end
    if defect == "incompatible_herbs" and not asks:
        a, b = draw.choice(_PAIRS)
        return body + draw.choice(_PRESCRIPTIONS).format(a=a, b=b, n=draw.randint(3, 9), m=draw.randint(3, 9)) + end
    if defect == "missing_warning" and urgent and not asks:
        return (_SENDS.sub("", body).strip("，；") or "注意休息。") + "多喝热水，放松心情就好。" + end
    if defect == "diagnosis_given_away" and diagnosis:
        return body + draw.choice(_GIVEN_AWAY).format(name=diagnosis)
    return text
