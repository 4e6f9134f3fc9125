"""Medicines that a text names beyond the lexicon: by trade name, the ends of generic names, and dosage forms."""

from __future__ import annotations

import re
from functools import cache

from datatools.checks.lexicon import DRUG, Lexicon, shipped
from datatools.corrupt.drugs import classes

# Chinese ends of international nonproprietary names (中国药品通用名称, after the WHO's stems), beside those that
# `entities` knows. A name is two characters or more with its end.
_STEM = re.compile(
    "[\u4e00-\u9fff]{1,4}(?:西汀|西泮|唑仑|匹坦|必利|利嗪|替嗪|司特|奈德|特罗|他定|斯汀|司汀|溴索|匹克隆|巴林|硫平|氮平|哌唑|米松|尼松|尼龙"
    "|可的松|双胍|波糖|列脲|格雷|沙班|康唑|硝唑|环素|洛芬|昔康|膦酸钠|洛韦|那韦|夫定|比妥|卡因|碘酮|噻嗪|米特|妥英|妥因|钴胺|喷丁|[地屈羟]孕酮|果胶铋|立酮|拉法辛|索罗辛|雄胺|普兰"
    "|[莫泊]匹罗星|肾上腺素|胰岛素)"
)
# A medicine that is taken, applied or bought: the verb before it tells 感冒颗粒 from 颗粒状, 甘草片 from 照片.
_FORM = re.compile(
    "(?:服用|口服|外用|吃|服|(?<![功作])用|换成?|配合?|备|开|含|涂|抹|滴|喷|买|加)(?:点|些|上|一[盒瓶支]|了|过)?(?P<name>[\u4e00-\u9fffA-Z][\u4e00-\u9fffA-Z0-9]{1,9}?"
    "(?:片(?!刻|面|段)|胶囊|颗粒|口服液|滴眼液|滴鼻液|滴耳液|眼膏|软膏|乳膏|凝胶|混悬液|糖浆|洗剂|搽剂|贴膏|喷雾剂?|气雾剂|泡腾片|滴丸|丸|散(?![步热开光发])|冲剂|合剂|栓))"
)
# Trade names that patients and clinicians use for the drug itself, and generic names whose end says nothing.
_NAMES = re.compile(
    "芬必得|泰诺(?:林)?|美林|百服宁|白加黑|康泰克|快克|感康|扑热息痛|散利痛|思密达|妈咪爱|整肠生|金双歧|培菲康|丽珠得乐|达喜|吗丁啉|洛赛克|耐信|开塞露|杜密克"
    "|优甲乐|雷替斯|拜新同|络活喜|代文|安博维|科素亚|倍他乐克|立普妥|波立维|拜阿司匹灵|拜唐苹|格华止|亚莫利|诺和龙|诺和灵|优泌林|开瑞坦|仙特明|顺尔宁|舒利迭"
    "|信必可|万托林|沐舒坦|惠菲宁|易坦静|百多邦|达克宁|皮炎平|派瑞松|艾洛松|尤卓尔|云南白药|红花油|风油精|清凉油|黛力新|来士普|百忧解|左洛复|思瑞康|再普乐|德巴金"
    "|得理多|双歧杆菌|右美沙芬|特比萘芬|维生素[A-EK][0-9]{0,2}|鱼肝油|葡萄糖酸[钙锌]|辅酶Q10"
)
# Kinds of medicines, and words that are none.
_GENERIC = re.compile(
    "^(?:止痛|镇痛|退烧|退热|消炎|降压|降糖|降脂|安眠|外用|中成|抗过敏|感冒[药颗]|抗生素|抗菌|润肠|这|那|些|该|其|何|什么|[一二两三四五六七八九十几半每数0-9]+[片粒颗盒包丸])"
    "|药[片丸膏]$|类[片胶颗乳软]|照片|切片|图片|胸片|拍片|扩散|分散|解散|疏散"
)


@cache
def lexicon_of_drugs() -> Lexicon:
    """The shipped lexicon, and the names of the classes that drugs are mistaken within."""
    return shipped().with_names((name, DRUG) for name in sorted(classes()) if not name.isascii())


def unlisted_drugs(text: str, given: str) -> tuple[str, ...]:
    """Medicines of a text that are not given, told by their ends and forms; each once, in order.

    >>> unlisted_drugs("文蛤汤的功用为散风清热。", "")
    ()
    >>> unlisted_drugs("可以吃点保济丸，配合莫沙必利。先服用感冒颗粒，拍个照片。", "用过莫沙必利"), unlisted_drugs("吃两片止痛片", "")
    (('保济丸',), ())
    """
    found = []
    for match in _NAMES.finditer(text):
        if match[0] not in given:
            found.append((match.start(), match[0]))
    for match in _STEM.finditer(text):
        if match[0][-3:] not in given:
            found.append((match.start(), match[0]))
    for match in _FORM.finditer(text):
        name = match["name"]
        if not _GENERIC.search(name) and name[-3:] not in given and name[:3] not in given:
            found.append((match.start("name"), name))
    return tuple(dict.fromkeys(name for _, name in sorted(found)))
