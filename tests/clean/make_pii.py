# ruff: noqa: E501 a line of Chinese counts double
"""Write pii.jsonl: sentences with made-up personal data, marked, and sentences that only look like it.

Run `python tests/clean/make_pii.py` after a change; the seed is fixed. No number or name belongs to a person: numbers are
drawn at random and given valid checksums, names are put together from lists.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

from datatools.clean.numbers import id_checksum, luhn

OUT = Path(__file__).with_name("pii.jsonl")
_MARK = re.compile(r"<([A-Z_]+)=([^>]*)>")

# Written by hand: one sentence a line, personal data as <KIND=value>.
POSITIVE = """
患者<NAME=陈建国>，男，67岁，因反复胸闷3年、加重1周入院。
姓名：<NAME=林晓燕>性别：女年龄：34岁
姓名：<NAME=欧阳志远>　科室：神经内科
姓名:<NAME=李娜> 床号:<BED=23> 住院号:<RECORD_NUMBER=2023104567>
患者姓名：<NAME=王桂芳>，住址：<ADDRESS=江苏省南京市鼓楼区中山北路88号3单元502室>，电话：<PHONE=13913987654>。
请于复诊前一天拨打<PHONE=18621234567>与我联系，谢谢医生。
大夫您好，我的微信是<WECHAT=health_zhou88>，能加一下吗？
加V：<WECHAT=ysdoc2020>，详细说说您的病情。
我的手机<PHONE=15800001234>（微信同号），有结果请告诉我。
联系人：<NAME=赵磊>（患者之子），联系电话：<PHONE=0571-88123456>
家属：<NAME=孙丽华>，已告知手术风险并签字。
住院号<RECORD_NUMBER=0098231>，病案号<RECORD_NUMBER=B2019-3321>，入院日期2019年3月4日。
门诊号：<RECORD_NUMBER=M20210817003>　就诊卡号：<RECORD_NUMBER=6600123987>
身份证号：<ID_CARD=11010519491231002X>，医保卡号：<RECORD_NUMBER=YB33019876>。
病人身份证<ID_CARD=440524188001010014>已核对。
患儿<NAME=周子涵>，女，5岁，发热2天。
产妇<NAME=吴秀英>，女，29岁，孕39周，阵发性腹痛4小时。
床号：<BED=12>床，责任护士：<NAME=郭敏>
把报告发到<EMAIL=liu.fang@example.com>就可以了。
邮箱<EMAIL=zhangsan_2000@mail.example.cn>。
QQ：<QQ=284719305>，在线时间晚上八点以后。
加我QQ<QQ=1029384756>聊。
护照号：<PASSPORT=E12345678>，出境前需完成核酸检测。
肇事车辆车牌号：<PLATE=浙A·8K3F6>，伤者由120送入我院。
出生日期：<BIRTH_DATE=1978年6月12日>，民族：汉族。
出生年月：<BIRTH_DATE=1985-03>　职业：教师
主治医师：<NAME=高海涛>　记录者：<NAME=韩雪>
银行卡号<BANK_CARD=6222021001116245702>，用于医保报销退款。
医生签名：<NAME=杜鹏>　2022-05-06
现住址：<ADDRESS=四川省成都市武侯区人民南路四段11号>，邮编610041。
家庭住址：<ADDRESS=河北省石家庄市长安区和平东路街道幸福小区6栋>
通讯地址为<ADDRESS=上海市徐汇区肇嘉浜路1000弄5号>；座机<PHONE=021-64371234>。
收件人：<NAME=何静>，地址：<ADDRESS=湖南省长沙市岳麓区麓山南路2号>，手机：<PHONE=17773124567>
医院随访热线<PHONE=400-820-1234>，周一至周五接听。
姓名：<NAME=阿依古丽·买买提>，女，41岁。
登记号：<RECORD_NUMBER=0001234567>；影像号：<RECORD_NUMBER=CT20230098>
病历号为<RECORD_NUMBER=A10293847>的患者今日出院。
老人家的电话是<PHONE=(010)65123456>，白天在家。
有事请打<PHONE=+86 138 1234 5678>。
我妈的号码 <PHONE=139-0012-3456> 你记一下。
患者姓名:<NAME=许文强>|性别:男|住院号:<RECORD_NUMBER=ZY10020034>
姓 名：<NAME=赵梅英> 性 别：女 床 号：<BED=12>
| 姓名 | <NAME=蒋欣> | 年龄 | 56岁 |
孕妇<NAME=沈梦琪>，女，31岁，G2P1。
监护人：<NAME=曹志刚>，与患者关系：父子，电话<PHONE=13688887777>
检查者：<NAME=潘玉梅>，审核者：<NAME=程立>。
联系方式：<PHONE=65881234>转护士站
参保号：<RECORD_NUMBER=3301998822>，单位已缴费。
体检编号：<RECORD_NUMBER=TJ202311050>，姓名：<NAME=邹凯>。
Patient name: <NAME=Margaret Collins>, DOB: <BIRTH_DATE=04/12/1956>, MRN: <RECORD_NUMBER=00473829>.
Name: <NAME=James O'Neill>
Please call <PHONE=(415) 555-0132> to confirm the appointment.
The patient can be reached at <PHONE=617-555-0188> after 5 pm.
Her SSN is <SSN=219-45-6789>, which was entered by mistake.
Send the results to <EMAIL=anna.schmidt+lab@example.org>, please.
Address: <ADDRESS=42 Maple Street, Springfield, IL 62704>
Next of kin: <NAME=Robert Hughes>, phone <PHONE=020 7946 0958>.
Date of birth: <BIRTH_DATE=March 3, 1962>. Sex: F.
Medical record number <RECORD_NUMBER=MR-448812>; bed: <BED=14B>.
NHS number: <RECORD_NUMBER=943 476 5919>, GP informed.
Mobile: <PHONE=07700 900123>
Emergency contact: <NAME=Linda Park>, tel. <PHONE=+44 20 7946 0011>
Passport No: <PASSPORT=X1234567> was copied at admission.
Patient: <NAME=Thomas Becker>, 58-year-old man with chest pain.
Home address: <ADDRESS=7 St. Johns Road, Leeds>; GP letter sent.
Visa <BANK_CARD=4111 1111 1111 1111> was charged for the private room.
My WeChat: <WECHAT=drlee_2021>, add me for follow-up.
Attending physician: <NAME=Susan K. Miller>
Fax <PHONE=212-555-0147> for records.
Patient ID: <RECORD_NUMBER=PT0098123>, admitted on 2021-05-02.
Account number: <RECORD_NUMBER=88123400>.
"""

NEGATIVE = """
阿莫西林胶囊，国药准字H20003263，每粒0.25 g。
批准文号：国药准字Z19993153，生产批号：20230511。
临床试验注册号ChiCTR2000029308，开始日期2020年2月10日。
该研究已注册（NCT04280705），共纳入1063例。
文献：doi:10.1056/NEJMoa2001017。
PMID: 32109013，PMCID: PMC7092819。
ISBN 978-7-117-26439-8，人民卫生出版社2018年出版。
血压138/82 mmHg，心率76次/分，体温36.5℃。
白细胞12.5×10⁹/L，血小板150×10⁹/L，C反应蛋白138.5 mg/L。
ICD-10编码：I25.103，手术编码36.0601。
口服，一次0.5 g，一日3次，疗程7–14天。
患者于2021年03月15日10:30入院，2021-03-22出院。
突发胸痛请立即拨打120，火警119，报警110。
香港居民请拨打999求助。
卫生热线12320提供咨询。
每床配备呼吸机一台，全院共1200张床。
床边超声提示少量心包积液。
临床3期试验入组5432人。
患者高龄，男性，多病共存。
患者青年，女，否认慢性病史。
患者平素体健，男，无手术史。
患者中年，男，急性起病。
家属：要求转院治疗，已签字。
家属：拒绝签字。
联系人：患者本人。
家属：儿子，陪同就诊。
患者：明显乏力，食欲差。
姓名：不详，昏迷入院。
姓名：张某某，男，56岁。
患者王××，女，48岁，初诊于1998年。
张某，男，35岁，农民。脉弦滑，舌苔白腻。
作者：王小明，某某大学附属医院。
主编：李飞，副主编：陈红。
桂枝汤方：桂枝三两，芍药三两，甘草二两，生姜三两，大枣十二枚。
岐伯对曰：其知道者，法于阴阳，和于术数。
华佗，字元化，沛国谯人也。
李时珍曰：柴胡有银柴胡、北柴胡之分。
微信公众号“健康之友”每周三更新。
微信支付后请保留凭证。
QQ间期的缩写应为QT间期。
QT间期440 ms，QRS 98 ms。
医院地址在网站上可以查到。
网址：www.example.org/health
药品本位码：86901234000567，包装规格10片/板。
药品追溯码：81234567890123456789。
条形码6901234567892，有效期至2025年06月。
样品保存于-80 ℃，批号：20211130001。
订单号：13812345678901，物流已发出。
标准：GB 19083-2010，YY 0469-2011。
海拔3650米，大气压654 hPa。
2019—2020年共报告13912例，较上年增加4.5%。
剂量为400-800 mg，分3次服用。
发病年龄18-65岁，随访6-12个月。
每日热量1800-2000 kcal，蛋白质0.8 g/kg。
基金项目：国家自然科学基金（编号81873912）。
GenBank登录号MN908947.3。
CAS号：50-78-2，分子量180.16。
统一社会信用代码：91110000100001234X。
医疗器械注册证编号：国械注准20153401234。
肌酐138 μmol/L，尿素氮13.8 mmol/L，eGFR 52。
The dose is 400-800 mg every 6-8 hours.
ClinicalTrials.gov identifier NCT01234567, registered 2011-02-28.
doi:10.1001/jama.2020.12839, PMID 32644166.
Blood pressure was 138/86 mm Hg and heart rate 72.
Of 13,812,345 adults, 4.5% had diabetes in 2018-2019.
Name: Amoxicillin Capsules
Drug name: Ibuprofen Tablets, 200 mg.
Gene name: Breast Cancer 1.
Address the underlying cause first.
The address of the problem: diet and exercise.
ISBN 0-306-40615-2, second edition.
Call 911 or 112 in an emergency.
ICD-10-CM code E11.9; CPT 99213-25.
CAS 50-78-2; EC number 200-064-1.
Lot number: A12345678, expires 2026-03.
NDC 0093-4155-73, 30 tablets.
The bed was tilted at 30 degrees.
Patient: a 58-year-old man with chest pain.
The ratio was 219-45 in favour of surgery.
SNP rs1801133 and accession NM_005957.
Patient name and date of birth must be checked.
Down syndrome is named after John Langdon Down.
"""

SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林罗高郑梁谢宋唐许韩冯邓曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范汪廖石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫段雷龙陶史贺顾毛郝龚邵万钱严"
GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚桂英华建国志玉梅兰红文斌宇浩然子轩雨婷欣怡梦琪佳慧晓东海燕春花秋月立新永康德福".strip()
PLACES = (
    "北京市海淀区学院路{}号", "上海市浦东新区张杨路{}弄{}号", "广东省广州市越秀区中山二路{}号", "浙江省杭州市西湖区文三路{}号{}室",
    "湖北省武汉市江汉区解放大道{}号", "山东省济南市历下区文化西路{}号{}单元", "陕西省西安市雁塔区小寨东路{}号", "云南省大理州大理市下关镇{}组",
    "河南省郑州市二七区建设东路{}号院", "辽宁省沈阳市和平区南京北街{}号", "福建省福州市仓山区上渡街道{}号", "安徽省六安市金寨县梅山镇第{}村",
)  # fmt: skip
FIRST = "James Mary Robert Patricia John Jennifer Michael Linda David Elizabeth William Barbara Richard Susan Joseph Jessica".split()
LAST = "Smith Johnson Williams Brown Jones Garcia Miller Davis Wilson Anderson Taylor Moore Jackson Martin Lee Thompson".split()


class Maker:
    """Draws made-up values, every checksum valid."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def digits(self, count: int) -> str:
        return "".join(self.random.choices("0123456789", k=count))

    def value(self, kind: str) -> str:
        return str(getattr(self, kind.lower())())

    def id_card(self) -> str:
        place = self.random.choice(
            ("110105", "310104", "440106", "330102", "510104", "420103", "230102", "620102", "530102")
        )
        body = f"{place}{self.random.randint(1930, 2018)}{self.random.randint(1, 12):02}{self.random.randint(1, 28):02}{self.digits(3)}"
        return body + id_checksum(body)

    def phone(self) -> str:
        return "1" + self.random.choice("30 39 50 52 58 59 66 73 77 80 86 88 91 98 99".split()) + self.digits(8)

    def landline(self) -> str:
        area = self.random.choice("010 021 020 0571 0755 028 0351 0991 0898".split())
        return f"{area}-{self.random.choice('235678')}{self.digits(7 if len(area) == 3 else 6)}"

    def email(self) -> str:
        user = "".join(self.random.choices("abcdefghijklmnopqrstuvwxyz", k=6)) + self.random.choice(
            ("", ".li", "_88", "2001")
        )
        return f"{user}@{self.random.choice(('example.com', 'mail.example.cn', 'hospital.example.org'))}"

    def bank_card(self) -> str:
        body = self.random.choice(("622202", "621700", "622848", "625912")) + self.digits(12)
        return next(body + last for last in "0123456789" if luhn(body + last))

    def name(self) -> str:
        return self.random.choice(SURNAMES) + "".join(self.random.sample(GIVEN, self.random.choice((1, 2, 2))))

    def english(self) -> str:
        return f"{self.random.choice(FIRST)} {self.random.choice(LAST)}"

    def address(self) -> str:
        return self.random.choice(PLACES).format(self.random.randint(1, 300), self.random.randint(1, 40))

    def record_number(self) -> str:
        return self.random.choice(("", "Z", "ZY", "M20")) + self.digits(self.random.choice((6, 7, 8, 10)))

    def bed(self) -> str:
        return self.random.choice(("", "加", "A")) + str(self.random.randint(1, 60))

    def wechat(self) -> str:
        return (
            "wx"
            + "".join(self.random.choices("abcdefghijk", k=4))
            + self.random.choice(("_", "-", ""))
            + self.digits(3)
        )

    def qq(self) -> str:
        return self.random.choice("123456789") + self.digits(self.random.choice((7, 8, 9)))

    def birth_date(self) -> str:
        return f"{self.random.randint(1930, 2018)}{self.random.choice(('年{}月{}日', '-{:02}-{:02}', '/{}/{}')).format(self.random.randint(1, 12), self.random.randint(1, 28))}"

    def us_phone(self) -> str:
        return self.random.choice(("({}) 555-{}", "{}-555-{}", "+1 {} 555 {}", "{}.555.{}")).format(
            self.random.randint(212, 989), "01" + self.digits(2)
        )

    def ssn(self) -> str:
        return f"{self.random.randint(100, 599)}-{self.random.randint(10, 99)}-{self.random.randint(1000, 9999)}"

    def passport(self) -> str:
        return self.random.choice("EGD") + self.digits(8)


# Kind of value → sentences it is put into; {} is the value, beside Han characters wherever a writer would put it so.
FRAMES = {
    "ID_CARD": ("身份证号{}已登记", "身份证：{}，", "本人身份证号码为{}。", "证件{}有效", "ID card: {}"),
    "PHONE": ("电话{}转", "手机：{}。", "请打{}找我", "联系电话为{}，谢谢", "微信同号{}吧", "tel{}"),
    "PHONE/LANDLINE": ("电话：{}。", "座机{}，上班时间", "请致电{}咨询", "传真{}"),
    "EMAIL": ("邮箱{}收", "E-mail: {}", "发到{}，谢谢", "联系{}即可"),
    "BANK_CARD": ("卡号{}，", "银行卡：{}。", "打到{}这张卡"),
    "NAME": ("姓名：{}，", "患者{}，女，45岁", "姓名:{} 性别:男", "联系人：{}（家属）", "患者姓名：{}\n入院日期：2020年1月2日", "主管医师：{}", "姓名 {} 男 60岁"),
    "NAME/ENGLISH": ("Patient name: {}", "Name: {}, 45 years old", "Emergency contact: {}.", "Patient's name: {}; sex: M"),
    "ADDRESS": ("住址：{}。", "家庭住址：{}，邮编100083", "地址：{}\n", "现住址为{}；", "联系地址:{} 电话详见首页"),
    "RECORD_NUMBER": ("住院号：{}，", "病案号{}。", "门诊号: {}", "登记号：{}床旁", "医保号：{}", "MRN: {}", "病历号|{}|"),
    "BED": ("床号：{}，", "床号{}。", "床号:{} 护理级别:一级"),
    "WECHAT": ("微信号：{}，", "微信{}", "加微信：{}。", "WeChat ID: {}"),
    "QQ": ("QQ：{}，", "QQ号{}。", "加QQ{}"),
    "BIRTH_DATE": ("出生日期：{}，", "DOB: {}", "出生年月日：{} 民族：汉"),
    "PHONE/US_PHONE": ("Call {} today.", "Phone: {}", "reach me at {}, please"),
    "SSN": ("SSN: {}", "social security number {} on file"),
    "PASSPORT": ("护照号：{}，", "护照{}。", "Passport number: {}"),
}  # fmt: skip
LOOKALIKES = (
    "国药准字H{8}", "国药准字Z{8}，", "批号：20{6}", "ChiCTR{10}", "NCT{8}注册", "PMID: {8}", "doi:10.1{3}/j.cn.{11}", "白细胞{1}.{1}×10⁹/L", "血压1{2}/8{1} mmHg",
    "随机号{3}", "2021年0{1}月1{1}日复查", "ICD-10：I2{1}.{1}", "口服{1}.{1} mg", "样本量{5}例", "追溯码8{19}", "统一编号{4}号文件", "第{2}床单元消毒",
    "ISBN 978-7-{4}-{4}-{1}", "{3}.{4} mg/kg", "订单号：1{12}", "本位码：86{12}", "{2}-{2}岁", "比值{1}.{3}（95%CI {1}.{2}–{1}.{2}）", "rs{7}位点", "GB/T {5}-2019",
    "Lot number: {9}", "HR 0.{3}, P=0.0{2}", "https://example.org/a/1{10}", "海拔{4}米", "基金编号：8{7}",
)  # fmt: skip


def marked(line: str) -> dict[str, object]:
    """A line with <KIND=value> marks as text and spans."""
    text, spans, done = "", [], 0
    for mark in _MARK.finditer(line):
        text += line[done : mark.start()]
        if mark[2]:
            spans.append([len(text), len(text) + len(mark[2]), mark[1]])
        text, done = text + mark[2], mark.end()
    return {"text": text + line[done:], "spans": spans}


def examples() -> list[dict[str, object]]:
    """All examples, hand-written first."""
    maker = Maker(20240601)
    made = [marked(line) | {"hand": True} for line in (POSITIVE + NEGATIVE).strip().splitlines() if line]
    for key, frames in FRAMES.items():
        kind, _, drawn = key.partition("/")
        for number in range(18):
            value = maker.value(drawn or kind)
            made.append(marked(frames[number % len(frames)].replace("{}", f"<{kind}={value}>")))
    for number in range(260):
        pattern = LOOKALIKES[number % len(LOOKALIKES)]
        made.append({"text": re.sub(r"\{(\d+)\}", lambda found: maker.digits(int(found[1])), pattern), "spans": []})
    return made


if __name__ == "__main__":
    with OUT.open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(example, ensure_ascii=False) + "\n" for example in examples())
