# ruff: noqa: E501 a line of Chinese counts double, and cutting a pattern hides it
"""The patterns personal data is found by: one detector a kind and shape, with the check its matches must pass.

All are linear in the text: repetitions are bounded and begin where nothing of the same class stands before them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from datatools.clean.numbers import is_bank_card, is_birth_date, is_id_card, is_old_id_card, is_ssn
from datatools.clean.surnames import is_english_name, is_name, is_person


class Detector(NamedTuple):
    """A pattern whose group `value` is personal data, if `check` agrees; tried only where one of `signs` occurs."""

    kind: str
    pattern: re.Pattern[str]
    signs: tuple[str, ...] = ()
    check: Callable[[re.Match[str]], bool] | None = None


_SEP = r"[ \t]{0,4}(?:[:：|=]|为|是)?[ \t]{0,4}(?:\|[ \t]{0,2})?"
_COLON = r"[ \t]{0,4}[:：|][ \t]{0,4}(?:\|[ \t]{0,2})?"
_NEXT = r"性 {0,4}别|年 {0,4}龄|电话|手机|联系|邮编|邮政|身份证|姓名|入院|出院|住院|门诊|病案|床 {0,4}号|科 {0,4}[室别]|职业|民族|婚姻|出生|籍贯|工作|与患者|关系"
_HAN = r"[\u3400-\u9fff]"
_FOREIGN = rf"{_HAN}{{2,8}}[·•]{_HAN}{{2,10}}(?:[·•]{_HAN}{{1,10}})?"
_AFTER_NAME = rf"(?=[ \t]*(?:$|[\s,，。．.;；、|/()（）\]】\"”’'*]|男|女|先生|女士|签|{_NEXT}))"

# What is left alone: the number of a drug, a trial, a paper, a product or a lot, whatever its digits look like.
PUBLIC = re.compile(
    r"(?:国药准字|国药试字|[国京沪粤][械卫妆消食][^0-9\n]{0,6}|注册证[^0-9\n]{0,8}|批准文号[:：]?)[ ]?[A-Za-z]{0,2}[0-9]{6,14}"
    r"|ChiCTR[0-9A-Za-z\-]{4,20}|NCT[0-9]{8}|ISRCTN[0-9]{8}|EudraCT[: ]?[0-9\-]{14}|CRD[0-9]{8,14}|PMC?ID?[:： ]{0,2}[0-9]{6,9}"
    r"|(?<![0-9.])10\.[0-9]{4,9}/[A-Za-z0-9\-._;()/:]{1,120}"
    r"|ISBN(?:-1[03])?[:： ]{0,2}[0-9][0-9\- ]{8,16}[0-9Xx]|ISSN[:： ]{0,2}[0-9]{4}-[0-9]{3}[0-9Xx]"
    r"|https?://[A-Za-z0-9\-._~:/?#&=%+]{4,300}"
    r"|(?:批号|货号|订单号|运单号|快递单号|条形?码|序列号|追溯码|监管码|本位码|药品编码|产品编号|物料编码|标准编号|基因编号|登录号"
    r"|许可证号?|执业证号?|统一社会信用代码|项目编号|课题编号|基金(?:项目)?编号|伦理(?:批件)?号|(?i:lot|batch|barcode|serial|grant"
    r"|accession|catalog|ndc|udi|order)(?: (?:no|number|code))?)\.?[:：# 为是]{0,3}[A-Za-z]{0,6}[0-9][0-9A-Za-z\-]{3,30}"
)

_LABELLED_PHONE = (
    r"(?:电话|手机|座机|热线|传真|联系方式|联系号码|热线号码|(?i:(?<![A-Za-z])(?:tele)?phone|(?<![A-Za-z])tel|mobile|(?<![A-Za-z])fax"
    r"|(?<![A-Za-z])cell))(?:号码?| ?(?i:number|no))?[.．]?[ \t]{0,3}[:：|为是]?[ \t]{0,3}(?:\([^)]{1,6}\)[:： ]{0,2})?"
)
_FORM = r"(?:姓 {0,4}名|联系人|收[件货]人|委托人|代理人|签名|签字|名字)"
# What such a person said may stand behind these as well.
_ROLE = (
    r"(?:家属|家长|监护人|陪护人|责任护士|(?:主治|主管|经治|住院|主任|接诊|管床|审核|报告|记录|检查|送检|首诊|门诊|手术|麻醉|陈述)(?:医师|医生|者)"
    r"|医师|医生|患者|病人|患儿|产妇|病员|死者|孕妇|术者|主刀|[一二三]助|助手|麻醉师)"
)
_RECORD_LABEL = (
    r"(?:(?:住院|病案|病历|门诊|登记|就诊|急诊|病理|检查|影像|超声|放射|报告|体检|档案|医疗证|诊疗|心电图|留观|挂号|标本|样本|医保|社保|参保"
    r"|公费医疗|新农合|病人|患者|健康)(?:卡|证|人)?(?:号码?|编号|ID号?)|(?:医保|社保|就诊|诊疗|健康)卡|社会保障号码?|(?<![A-Za-z])(?:ID|CT|MRI?|DR)号|片号)"
)
_ENGLISH_RECORD = (
    r"(?<![A-Za-z])(?i:MRN|medical record(?: (?:number|no\.?|#))?|(?:chart|hospital|patient|health|account|case|admission|visit|NHS|insurance"
    r"|policy|member|medicare|medicaid|record|accession)(?:'s)? (?:number|no\.?|ID|#))"
)
_ZH_ADDRESS_LABEL = (
    r"(?:(?:家庭|现|常|户籍|户口|联系|通讯|通信|邮寄|收件|收货|居住|身份证|患者|病人|本人)(?:住址|地址|所在地)|住址|居住地|户籍地|现住"
    r"|(?<![网企业司厂产册院位P站链接])地址)"
)


def _digits(found: re.Match[str]) -> str:
    return re.sub("[^0-9Xx]", "", found["value"])


def _before(found: re.Match[str], size: int) -> str:
    return found.string[max(0, found.start("value") - size) : found.start("value")]


_CARD_LABEL = re.compile(r"卡|银行|账号|帐号|账户|(?i:card|visa|account|amex)")
_ID_LABEL = re.compile(r"身份证|证件|公民身份|(?i:ID)")
_PHONE_WORD = re.compile(r"(?i:tel|phone|mobile|mob|cell|vx|wx|(?<![a-z])[tm])$")


def _plain_before(found: re.Match[str]) -> bool:
    """No letter stands right before: the digits of NCT13812345678 are no telephone number, those of tel138… are."""
    before = _before(found, 8)
    return not before[-1:].isascii() or not before[-1:].isalpha() or bool(_PHONE_WORD.search(before))


def _card(found: re.Match[str]) -> bool:
    labelled = bool(_CARD_LABEL.search(_before(found, 14))) or len(found["value"].split()) > 3
    return is_bank_card(_digits(found), labelled=labelled)


def _id(found: re.Match[str]) -> bool:
    digits = _digits(found)
    if len(digits) == 18:
        return is_id_card(digits)
    return is_old_id_card(digits) and bool(_ID_LABEL.search(_before(found, 15)))


def _named(check: Callable[[str], bool]) -> Callable[[re.Match[str]], bool]:
    """A name with a dot within it (买买提·艾力) is one whatever it begins with."""
    return lambda found: "·" in found["value"] or "•" in found["value"] or check(found["value"])


def _count(low: int, high: int) -> Callable[[re.Match[str]], bool]:
    return lambda found: low <= sum(character.isdigit() for character in found["value"]) <= high


def _detectors() -> Iterator[Detector]:
    """Every detector, the surer ones first: where two overlap the first wins."""
    r = re.compile
    yield Detector(
        "EMAIL",
        r(
            r"(?<![A-Za-z0-9._%+\-])(?P<value>[A-Za-z0-9_][A-Za-z0-9._%+\-]{0,63}[@＠][A-Za-z0-9\-]{1,63}"
            r"(?:\.[A-Za-z0-9\-]{1,62}){0,3}\.[A-Za-z]{2,18})(?![A-Za-z0-9])"
        ),
        ("@", "＠"),
    )
    yield Detector(
        "RECORD_NUMBER",
        r(
            rf"{_RECORD_LABEL}{_SEP}[#№]?(?P<value>[A-Za-z0-9][A-Za-z0-9\-]{{2,23}}(?:\.[0-9]{{1,4}})?)(?![A-Za-z0-9\-])"
        ),
        ("号", "ID", "卡"),
        _count(3, 24),
    )
    yield Detector(  # another one beside it
        "RECORD_NUMBER",
        r(r"\[RECORD_NUMBER\](?:[、,，]|和|及) {0,2}(?P<value>[A-Za-z]{0,3}[0-9]{5,12})(?![A-Za-z0-9年月\-])"),
        ("[RECORD_NUMBER]",),
        lambda found: not is_birth_date(found["value"]),
    )
    yield Detector(
        "RECORD_NUMBER",
        r(
            rf"{_ENGLISH_RECORD}[ \t]{{0,2}}(?:is |[:#：])?[ \t]{{0,3}}#?(?P<value>[0-9]{{3}} [0-9]{{3}} [0-9]{{4}}|[A-Z]{{0,4}}-?[0-9][0-9A-Z\-]{{3,14}})(?![A-Za-z0-9\-])"
        ),
        ("MRN", "mrn", "umber", "UMBER", " no", " No", "NO", " ID", "#", "record", "Record"),
        _count(4, 16),
    )
    yield Detector(
        "ID_CARD",
        r(
            r"(?<![0-9])(?P<value>[1-9][0-9]{5}(?P<gap>[ \-]?)(?:1[89]|20)[0-9]{6}(?P=gap)[0-9]{3}[0-9Xx]"
            r"|[1-9][0-9]{14})(?![0-9Xx])"
        ),
        check=_id,
    )  # fmt: skip
    yield Detector(
        "BANK_CARD",
        r(
            r"(?<![0-9.])(?P<value>[2-6][0-9]{3}(?:(?P<sep>[ \-])[0-9]{4}(?:(?P=sep)[0-9]{4}){2}(?:(?P=sep)[0-9]{1,3})?|[0-9]{9,15}))(?![0-9.]?[0-9])"
        ),
        check=_card,
    )
    yield Detector(
        "SSN",
        r(r"(?<![0-9\-])(?P<value>[0-9]{3}-[0-9]{2}-[0-9]{4})(?![0-9\-])"),
        ("-",),
        lambda found: is_ssn(found["value"]),
    )
    yield Detector(
        "WECHAT",
        r(
            r"(?:微信(?:号码?|[Ii][Dd])?|薇信|[Vv]信|加[Vv微]|(?<![A-Za-z0-9\-])(?i:wechat(?: id)?|vx|wx|weixin))[ \t]{0,3}[:：为是|]?[ \t]{0,3}"
            r"(?P<value>[A-Za-z][A-Za-z0-9_\-]{5,19}|1[3-9][0-9]{9})(?![A-Za-z0-9_\-@.])"
        ),
        ("微", "薇", "信", "V", "v", "W", "w"),
        lambda found: bool(re.search("[0-9_-]", found["value"])) or found[0][-len(found["value"]) - 1] in "：: ",
    )
    yield Detector(
        "QQ",
        r(
            r"(?:(?<![A-Za-z])[Qq]{2}|扣扣|企鹅(?=[号:：]))(?:号码?|群)?[ \t]{0,3}[:：为是|]?[ \t]{0,3}(?P<value>[1-9][0-9]{4,10})(?![0-9@])"
        ),
        ("QQ", "qq", "扣扣", "企鹅"),
    )
    yield Detector(
        "PASSPORT",
        r(
            r"(?:护照|通行证|台胞证|回乡证|(?i:(?<![A-Za-z])passport))(?:号码?| ?(?i:number|no))?[.．]?[ \t]{0,3}[:：为是#|]?[ \t]{0,3}"
            r"(?P<value>[A-Z]{1,2}[0-9]{6,10}|[0-9]{9})(?![A-Za-z0-9])"
        ),
        ("护照", "证", "assport", "ASSPORT"),
    )
    yield Detector(
        "PLATE",
        r(
            r"车牌(?:号码?)?[:：为是 ]{0,3}(?P<value>[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼][A-Z][·• ]?[A-Z0-9]{5,6})(?![A-Z0-9])"
        ),
        ("车牌",),
    )
    yield from _dates_and_phones(r)
    yield from _names_and_addresses(r)


def _dates_and_phones(r: Callable[[str], re.Pattern[str]]) -> Iterator[Detector]:
    yield Detector(
        "BIRTH_DATE",
        r(
            r"(?:出生(?:日期|年月日?|时间)|出生于|出生(?=[ \t]{0,3}[:：])|生日|(?<![A-Za-z])(?:DOB|D\.O\.B\.?|(?i:date of birth|birth ?date|born on)))[ \t]{0,3}[:：为是|]?[ \t]{0,3}"
            r"(?P<value>(?:1[89]|20)[0-9]{2}(?:[年./\-][0-9]{1,2}(?:[月./\-][0-9]{1,2}日?|月)?|[0-9]{4})|[0-9]{1,2}[/.\-][0-9]{1,2}[/.\-](?:19|20)?[0-9]{2}"
            r"|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.? [0-9]{1,2},? (?:19|20)[0-9]{2}"
            r"|[0-9]{1,2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.? (?:19|20)[0-9]{2})(?![0-9])"
        ),
        ("生", "DOB", "D.O.B", "irth", "IRTH", "orn on"),
        lambda found: is_birth_date(found["value"]),
    )
    yield Detector(  # a year alone is anybody's: 生于1518年
        "BIRTH_DATE",
        r(r"生于(?P<value>(?:19|20)[0-9]{2}[年./\-][0-9]{1,2}[月./\-][0-9]{1,2}日?)(?![0-9])"),
        ("生于",),
        lambda found: is_birth_date(found["value"]),
    )
    yield Detector(
        "PHONE",
        r(
            r"(?<![0-9.])(?P<value>(?:(?:\+|00)?86[ \-]?)?1(?:3[0-9]|4[0-9]|5[0-35-9]|6[2567]|7[0-8]|8[0-9]|9[0-35-9])"
            r"(?:[0-9]{8}|[ \-][0-9]{4}[ \-][0-9]{4}))(?![0-9]|\.[0-9])"
        ),
        ("1",),
        _plain_before,
    )
    yield Detector(
        "PHONE",
        r(
            r"(?<![0-9.\-/])(?P<value>(?:(?:\+|00)86[ \-]?)?(?:[(（]0(?:10|2[0-9]|[3-9][0-9]{2})[)）][ \-]?|0(?:10|2[0-9]|[3-9][0-9]{2})[\- ])[2-8][0-9]{2,3}[ \-]?[0-9]{4}"
            r"(?:(?:[\-转]| ?ext\.? ?)[0-9]{1,5})?|[48]00-[0-9]{3,4}-[0-9]{3,4})(?![0-9\-])"
        ),
        ("-", "(", "（", " "),
        _count(10, 20),
    )
    yield Detector(
        "PHONE",
        r(
            r"(?<![0-9A-Za-z.\-+])(?P<value>(?:\+?1[ .\-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[.\-])[2-9][0-9]{2}[.\-][0-9]{4}(?: ?(?:x|ext\.?) ?[0-9]{1,5})?"
            r"|1-[2-9][0-9]{2}-[0-9]{3}-[0-9]{4}|\+1 [2-9][0-9]{2} [0-9]{3} [0-9]{4}"
            r"|(?:\+44 ?(?:\(0\) ?)?|0)(?:20 ?[378][0-9]{3} [0-9]{4}|7[0-9]{3} ?[0-9]{3} ?[0-9]{3}|1[0-9]{2} [0-9]{3} [0-9]{4}|1[0-9]{3} [0-9]{5,6}))(?![0-9A-Za-z\-])"
        ),
        ("-", ".", " ", "+"),
        _count(10, 16),
    )
    yield Detector(
        "PHONE",
        r(r"(?<![0-9A-Za-z])(?P<value>\+[1-9][0-9]{0,2}(?:[ \-](?:\([0-9]{1,4}\)|[0-9]{1,5})){2,5})(?![0-9])"),
        ("+",),
        _count(9, 15),
    )
    yield Detector(
        "PHONE",
        r(rf"{_LABELLED_PHONE}(?P<value>\+?[0-9][0-9 \-()（）]{{5,16}}[0-9])(?![0-9])"),
        ("电话", "手机", "座机", "热线", "传真", "联系", "hone", "el", "obile", "ax", "HONE", "EL", "AX"),
        _count(7, 15),
    )


def _names_and_addresses(r: Callable[[str], re.Pattern[str]]) -> Iterator[Detector]:
    yield Detector(
        "NAME",
        r(rf"(?:(?P<form>{_FORM})|{_ROLE}){_COLON}(?P<value>{_FOREIGN}|{_HAN}{{2,4}}?){_AFTER_NAME}"),
        (":", "：", "|"),
        lambda found: _named(is_name if found["form"] else is_person)(found),
    )
    yield Detector(
        "NAME",
        r(
            rf"(?:患者|病人|患儿|我|本人|他|她|孩子|宝宝|女儿|儿子|老公|老婆|丈夫|妻子|爱人|[男女]友|[爸妈爷奶姐妹哥弟姑姨舅叔婶][爸妈爷奶姐妹哥弟姑姨舅叔婶]?|[父母]亲)(?:的?名字)?名?叫(?:做|作)?[ ]?"
            rf"(?P<value>{_HAN}{{2,4}}?)(?=[，,。.！!；;、\s（(]|今年|$)"
        ),
        ("叫",),
        _named(is_person),
    )
    yield Detector(  # 陈志明，男，46岁
        "NAME",
        r(
            rf"(?<![\u3400-\u9fff·])(?P<value>{_HAN}{{2,3}})[，,、 ]{{1,2}}[男女]性?[，,、 ]{{0,2}}(?=[0-9]{{1,3}} ?[岁月天y])"
        ),
        ("男", "女"),
        _named(is_person),
    )
    yield Detector(
        "NAME",
        r(rf"姓名(?![和及与])(?P<value>{_HAN}{{2,4}}?)(?=[，,]|性别|[男女][，, 0-9])"),
        ("姓名",),
        _named(is_person),
    )
    yield Detector(
        "NAME",
        r(rf"本人[ ]?(?P<value>{_HAN}{{2,4}}?)(?=[，, ]{{1,2}}[男女][，,、。； 性0-9])"),
        ("本人",),
        _named(is_person),
    )
    yield Detector(
        "NAME",
        r(
            rf"(?<!变易)(?<!更改)姓名(?:[ \t]{{1,4}}|[ \t]{{0,4}}(?:为|是|叫)[ \t]{{0,4}})(?P<value>{_HAN}{{2,4}}?){_AFTER_NAME}"
        ),
        ("姓名",),
        lambda found: is_name(found["value"]),
    )
    yield Detector(
        "NAME",
        r(
            rf"(?:患者|病人|患儿|产妇|孕妇|死者)[ ，,]?(?P<value>{_HAN}{{2,4}}?)[ ]?"
            rf"(?=[，,、 （(]{{1,2}}(?:[男女][，,、。； 性童孩）)0-9]|[0-9]{{1,3}} ?岁)|[男女][，, ]?[0-9]{{1,3}} ?岁)"
        ),
        ("男", "女", "岁"),
        _named(is_person),
    )
    yield Detector(
        "NAME",
        r(
            r"(?:(?i:patient(?:'s)?(?: full)? name|full name|next of kin|emergency contact|contact person|guardian|attending physician|referring physician|(?<![A-Za-z])surname)"
            r"|(?:^|(?<=[\n.;,|(（。；，] )|(?<=[\n.;,|(（。；，]))(?:Name|NAME|Patient|PATIENT))[ \t]{0,3}[:：|][ \t]{0,3}(?:(?:Mr|Mrs|Ms|Miss|Dr)\.? )?"
            r"(?P<value>[A-Z][A-Za-z'’\-]{0,20}(?:(?:, ?| )(?!(?:DOB|MRN|SSN|ID|Age|Sex|Gender|Date|Address|Phone|Tel|Email|Room|Bed)(?![a-z]))(?:[A-Z]\.|[A-Z][A-Za-z'’\-]{1,20})){1,3})(?![A-Za-z])"
        ),
        ("ame", "AME", "in", "ontact", "uardian", "hysician", "atient", "ATIENT"),
        lambda found: is_english_name(found["value"]),
    )
    yield Detector(
        "NAME",
        r(
            r"(?:(?i:my name is)|(?<![A-Za-z])(?:Mr|Mrs|Ms)\.?|(?<![A-Za-z])Miss) (?P<value>[A-Z][a-z'’\-]{1,20}(?: [A-Z]\.)? [A-Z][A-Za-z'’\-]{1,20})(?![A-Za-z])"
        ),
        ("name is", "Mr", "Ms", "Miss"),
        lambda found: is_english_name(found["value"]),
    )
    yield Detector(
        "ADDRESS",
        r(
            rf"(?:家住|住在|居住[在于])(?P<value>{_HAN}{{2,12}}[省市区县州盟旗镇乡村路街道巷][^\n,，。；;|\[\]【】:：]{{0,40}}?[0-9]{{1,5}}(?:号|弄|栋|幢|室|单元|组|楼)[0-9A-Za-z\-号栋幢室单元组楼层院]{{0,16}})"
        ),
        ("家住", "住在", "居住"),
    )
    yield Detector(
        "ADDRESS",
        r(
            rf"{_ZH_ADDRESS_LABEL}{_SEP}(?P<value>{_HAN}[^\n,，。；;|\[\]【】:：]{{3,60}}?)(?=[ \t]*(?:$|[\n,，。；;|\[\]【】:：]|{_NEXT})|[ \t]{{2}})"
        ),
        ("址", "居住地", "户籍", "现住"),
        lambda found: (
            bool(re.search("[省市区县州盟旗镇乡村路街道巷弄号室栋幢楼组屯苑院]", found["value"]))
            and not found["value"].startswith(("不详", "同"))
        ),
    )
    yield Detector(
        "ADDRESS",
        r(
            r"(?<![A-Za-z])(?i:(?:home |mailing |street |current |residential |permanent )?address)[ \t]{0,3}[:：|][ \t]{0,3}"
            r"(?P<value>(?:[0-9]|(?i:apt|flat|unit|p\.?o\.? box|no)\.? ?[0-9A-Z])(?:(?<=[ ,])(?:St|Ave|Rd|Blvd|Dr|Ln|Apt|No|Ste|Mt|N|S|E|W)\.|[^\n;|.\[\]:]){5,100}?)"
            r"(?=[ \t,]*(?:$|[\n;|\[\]]|\.(?:\s|$)|(?i:phone|tel|email|e-mail|dob|mrn|name|mobile)))"
        ),
        ("ddress", "DDRESS"),
    )
    yield Detector(
        "BED",
        r(
            r"(?:床 {0,4}号|床位号?|病床号|(?<![A-Za-z])(?i:bed(?: (?:no|number))?)\.?(?=[ \t]{0,2}[:：#]))[ \t]{0,3}[:：|#为是]?[ \t]{0,3}(?P<value>(?:加|抢|ICU-?|[A-Z]{1,3}-?)?[0-9]{1,4}(?:-[0-9]{1,3})?[A-Z]?)床?(?![0-9A-Za-z/%张个余]|\.[0-9])"
        ),
        ("床", "ed", "ED"),
    )


DETECTORS = tuple(_detectors())

# A line that is a label alone: what it labels is the next line.
NAME_ALONE = re.compile(rf"(?:姓 {{0,4}}名[ \t]*[:：]?|(?:{_FORM}|{_ROLE})[ \t]*[:：])[ \t]*$")
RECORD_ALONE = re.compile(rf"{_RECORD_LABEL}[ \t]*[:：]?[ \t]*$")
A_NAME = re.compile(rf"(?:{_FOREIGN}|{_HAN}{{2,4}})")
A_RECORD = re.compile(r"[A-Za-z]{0,4}-?[0-9][0-9A-Za-z\-]{2,22}")

# Text without any of these holds nothing to find. The same pattern for RE2 and for re.
SIGN = (
    r"(?:[我他她者子宝女友公婆夫妻爸妈爷奶姐妹哥弟姑姨舅叔婶亲]|女儿|[本爱]人|名字)名?叫[做作]? ?[㐀-鿿]{2,4}(?:[，,。.！!；;、 （(]|今年|\n|$)|本人.{2,5}[，, ][男女]|(?:家住|住在|居住[在于])[^\n，。]*[0-9]|生于[12]|DOB|name is |M(?:rs?|s|iss)\.? [A-Z]|企鹅[号:：]|[院案历诊理查像检记病]号[:：]?[ \t]*(?:\n|$)|"
    r"[0-9０-９]{3}-[0-9０-９]{2}-[0-9０-９]{4}|[0-9０-９]{3}[0-9０-９ ()（）.\-]{0,3}[0-9０-９]{3}|[@＠]|姓 {0,4}名|住址|地址|居住地|户籍|现住|床 {0,4}[号位]|微信|薇信|[Vv]信|加[Vv]|[Qq][Qq]|护照|车牌|出生[日于年时:：]|生日"
    r"|(?:联系人|家属|家长|[监陪][护]人|收[件货]人|[委代][托理]人|签[名字]|名字|医[师生者]|护士|醉师|主刀|[一二三]助|助手|患[者儿]|病[人员]|[产孕]妇|[死核告录查检术述]者)[ \t]*[:：|]|(?:患者|病人|患儿|产妇|孕妇|死者).{2,6}[，,、 （(](?:[男女]|[0-9]{1,3} ?岁)|[㐀-鿿][，,、 ]{0,2}[男女]性?[，,、 ]{0,2}[0-9]{1,3} ?[岁月天y]|[号卡码][ \t]*[:：|]?[ \t]*[0-9A-Za-z]"
    r"|(?:ame|AME|in|ontact|uardian|hysician|atient|ATIENT|ddress|DDRESS|[Bb]ed|BED|DOB|irth|IRTH)[^\n]{0,4}[:：|#][ \t]{0,3}[A-Z0-9]|(?:[Vv][Xx]|[Ww][Xx]|[Ww]e[Cc]hat|WECHAT)"
)
