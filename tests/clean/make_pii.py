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

# Written by hand: one example a line (⏎ ends a line within it), personal data as <KIND=value>. Two are known to be missed.
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
医生我叫<NAME=窦磊>，糖尿病患者，最近经常突然间发恶怎么办？
你好，我叫<NAME=孟小雨>，今年27岁，备孕半年。
我的名字叫<NAME=钱志宏>，是陪父亲来的。
我女儿叫<NAME=罗思琪>，三岁半，反复咳嗽一个月。
孩子名叫<NAME=段子轩>，男孩，出生时六斤八两。
本人<NAME=贾春兰>，女，52岁，绝经两年。
我爸爸叫<NAME=秦国栋>，去年做了支架。
名字：<NAME=冯雅静>，年龄：41。
预约医生：⏎<NAME=张山河>⏎疾病：⏎腰痛三个月
姓名：⏎<NAME=江晓燕>⏎性别：⏎女
患者姓名⏎<NAME=龙飞>
联系人姓名：⏎<NAME=万国庆>⏎联系电话：⏎<PHONE=13755550123>
住院号：⏎<RECORD_NUMBER=20210456>⏎科室：⏎呼吸内科
病历号⏎<RECORD_NUMBER=A0012345>
术后病理（病理号<RECORD_NUMBER=201435397>、<RECORD_NUMBER=201433427>）示腺癌。
病理号：<RECORD_NUMBER=34732.15>。术后给予消炎。
病理号：<RECORD_NUMBER=9501.2013>，慢性胆囊炎。
CT号<RECORD_NUMBER=C20180312>，片号<RECORD_NUMBER=567123>。
报告编号：<RECORD_NUMBER=BG2020110017>
患者手机号是<PHONE=136 0012 8844>，请短信通知。
手机号码<PHONE=１３８１２３４５６７８>已登记
客服电话<PHONE=4008201234>，24小时。
请拨打<PHONE=(0571)87236114>预约。
<PHONE=0755-26001234-801>是护士站。
电话<PHONE=025 8371 4511>。
打<PHONE=+8613912340987>找我。
小灵通<PHONE=0535-5180684>，家里电话<PHONE=5180684>没人接。
家里座机<PHONE=8371 4511>，晚上有人。
我的V信<WECHAT=lin_zhang88>，麻烦通过一下。
vx：<WECHAT=yx520612>
微信<WECHAT=13400001111>同号。
企鹅：<QQ=88213344>
邮箱是<EMAIL=wangli1988@163.example.com>，谢谢！
email:<EMAIL=j.doe@clinic.example.org>
身份证<ID_CARD=110105 19491231 002X>，复印件已交。
患者<NAME=金光明>（男，58岁）因胸痛2小时入院。
患者：<NAME=于春生>，男，71岁，退休工人。
患者<NAME=尹丽君>，女性，45岁，教师。
病人<NAME=常建军>, 男, 62岁, 主诉咳嗽。
患儿<NAME=喻子墨>，男，11月龄。
死者<NAME=单永强>，男，36岁，尸检见冠脉粥样硬化。
签字医师：<NAME=倪文博>
主刀：<NAME=石磊>，一助：<NAME=华明>
术者：<NAME=康建民>　助手：<NAME=温小平>
麻醉师：<NAME=牛志远>
管床护士<NAME=路小曼>
主任医师：<NAME=左文华>　副主任医师：<NAME=谷雨>
会诊医师：<NAME=向东>
家长：<NAME=童爱华>
法定代理人：<NAME=裴俊杰>，关系：父亲。
病史陈述者：<NAME=权明>
患者姓名：<NAME=司马青云>
姓名：<NAME=买买提·艾力>，维吾尔族。
患者姓名 <NAME=蒙志勇>  性别 男
工作单位及住址：<ADDRESS=河南省洛阳市涧西区建设路12号第二机械厂>
家住<ADDRESS=成都市青羊区草市街123号5栋2单元>，离医院很近。
住在<ADDRESS=武汉市洪山区珞喻路1037号>，请上门。
My name is <NAME=Emily Carter> and I am 34 years old.
Mr. <NAME=Daniel Brooks> was discharged on Monday.
Phone: <PHONE=+1-202-555-0143>
cell <PHONE=(303) 555-0199>
MRN <RECORD_NUMBER=4458812>, seen by Dr. Helen Park.
Medical record no. <RECORD_NUMBER=000-45-8821>
DOB <BIRTH_DATE=1956-04-12>, female
生于<BIRTH_DATE=1962年8月30日>，汉族。
出生：<BIRTH_DATE=1990.5.1>
患者叫<NAME=孙建平>，是我大伯，73岁。
我儿子名叫<NAME=吴浩然>，今年高二。
我老婆叫<NAME=杨雪梅>，怀孕32周。
大夫好！我叫<NAME=周大勇>。
姓名<NAME=韩秀兰>，性别女，年龄68岁，住院号<RECORD_NUMBER=1029384>。
患者<NAME=沈国强>，男性，55岁，以“胸闷”为主诉入院。
患者<NAME=施文静>女28岁停经40天。
<NAME=陈志明>，男，46岁，农民，2019年3月初诊。
经治医师：<NAME=谭丽>/上级医师：<NAME=毛建华>
签名：<NAME=邓小军>  日期：2021-3-4
家属签字：<NAME=叶春燕>
检查医生：<NAME=卢伟>　审核医生：<NAME=姚芳>
申请医师:<NAME=戴明> 报告医师:<NAME=邵琳>
收货人：<NAME=钟丽萍> <PHONE=13600005555>
联系地址：<ADDRESS=重庆市渝中区解放碑民权路28号>，邮编：400010
家庭地址：<ADDRESS=陕西省咸阳市秦都区人民西路37号院3号楼>
身份证号码：<ID_CARD=11010519491231002X>
身份证<ID_CARD=11010519491231002x>
社保卡号：<RECORD_NUMBER=H12345678>
就诊卡<RECORD_NUMBER=000912345678>
门诊病历号：<RECORD_NUMBER=MZ20200911>
住院号/门诊号：<RECORD_NUMBER=88120043>
病案号：<RECORD_NUMBER=445566> 床号：<BED=08>
我电话是<PHONE=15912340088>
有需要可以联系我<PHONE=18700001234>，微信同号
加我微信<WECHAT=doctor_he66>聊
电话:<PHONE=0311-86112233转8012>
联系电话 <PHONE=86112233>
咨询热线：<PHONE=400-618-0000>
发我邮箱<EMAIL=abc_2020@mail.example.org>
QQ:<QQ=3344556677>
Patient Name: <NAME=Laura Jensen>  MRN# <RECORD_NUMBER=7734512>
Contact: <PHONE=(212) 555-0168>
Email <EMAIL=k.miles@example.com> or call <PHONE=646-555-0121>.
Mrs. <NAME=Anna Kowalski> came with her son.
Date of Birth: <BIRTH_DATE=11/23/1948>
出生日期<BIRTH_DATE=1948年11月23日>
病人<NAME=白玉兰>，女，60岁。
产妇<NAME=崔莹莹>，30岁，G1P0。
患儿，<NAME=丁一诺>，男，2岁。
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
患者：谢谢。
患者：谢谢，我知道了。
病人：谢谢医生！
医生：温水，不要太烫。
患者：牛奶。
患者：左边。
医生：马上。
医生：关键，是坚持。
病人：黄色。
医生：白色，没有味道。
患者：黄痰，量不多。
患者：毛囊炎。
患者：万一，加重了怎么办？
医生：应当，先查血。
医生：多喝水，注意休息。
病人：路上，又发作了一次。
患者：平时，不怎么运动。
医生：⏎可以⏎病人：⏎谢谢
医生：⏎严重吗⏎病人：⏎高血压
病人：⏎时间长了⏎医生：⏎复查
病情摘要及初步印象：⏎高血压⏎总结建议：⏎低盐饮食
诊断：⏎高血压
姓名：⏎性别：⏎年龄：
姓名⏎性别⏎年龄
住院号：⏎科室：
也叫安博维、安博诺，是厄贝沙坦。
这种药叫康泰克，感冒时用。
又叫白癜风，是色素脱失。
俗称叫胡萝卜素，可转化为维生素A。
医生叫我平时，多走路。
我叫她不要吃辣。
什么叫高血压？
叫应急，先含一片硝酸甘油。
我是白癜风，怎么办？
我是安徽人，今年30岁。
我是农民，男，45岁。
本人农民，男，50岁。
本人男，25岁，未婚。
本人平时，不抽烟。
孩子叫得厉害，一直哭。
他叫方向，喊不动。
家住农村，条件有限。
家住海边，吃海鲜多。
住在一楼，湿气重。
住在医院附近，方便复诊。
麻醉师：全麻，气管插管。
主刀：谁做都一样。
术者：左手持镜，右手操作。
助手：协助暴露。
家长：应该多陪伴。
家长：孩子发烧怎么办？
会诊医师：查看患者后建议转科。
主任医师：从事临床工作30年。
生于忧患，死于安乐。
生于1518年，卒于1593年，明代医家。
李时珍（1518—1593），字东璧。
变易姓名为道人，游走半天下。
InChIKey=JFACETXYABVHFD-WXPPGMDDSA-N
InChIKey XYNPYHXGMWJBLV-VXPJTDKGSA-N
Dr. Down described the syndrome in 1866.
Mr. Wilson had a cough.
My name is on the list.
My name is Not Important here.
病理分期pT4aN1M0，免疫组化CK7（+）。
病理：34732个细胞中见异型细胞12个。
检查号源紧张，请提前预约。
影像号称金标准。
2014-06-26、2014-07-28于我科行介入治疗。
2012-06-22、2012-08-24、2012-10-11行化疗。
外科杂志，1965，11（4）：297-301。
中华内科杂志，2003，83（2）：151-152。
text00370.html，CHP16-3-4-1-5
总费用13800元，自付2600元。
每日1500-2500 kcal，蛋白质60-80 g。
放疗剂量6300 cGy/35次，200 cGy/次。
电话回报：肝门区高代谢。
电话随访率95.3%，失访12例。
手机屏幕摔坏了有裂缝。
打电话跟我说晚上睡觉时胸闷。
地址海南，常年湿热。
热线开通以来接听20000余次。
微信群里有人说这个药停产了。
微信小程序可以挂号。
加V字领的衣服不会摩擦皮疹。
QQ群里说的偏方不要信。
姓名、性别、年龄、住址等一般资料须登记。
联系人的姓名、工作单位、与患者的关系和联系电话。
出生体重3250 g，Apgar评分10分。
出生后2小时出现呻吟。
身份证明材料须在出院前补齐。
床位周转次数32.5次，床位使用率93%。
患者男，65岁；患者女，48岁。
患者张某，男，39岁；患者李XX，女，40岁。
病人高热，男性多见。
任医生建议：正常生活即可。
谢谢刘大夫，尚主任您好。
周医生说先观察。
作者单位：北京某医院心内科。
通信作者：见文末。
术后第1日：温度37.2℃；第2日：温度36.8℃。
白蛋白38.5 g/L，胆红素138.12 μmol/L。
处方号、病案首页、诊断编码填写规范。
20081113-20090226期间共收治患者138例。
医保编码C05100500100000000000000000。
编码：XJ01CAA040E001010100483。
批号 20190816-2，有效期 24 个月。
规格：10 mg×7片×2板/盒。
国药准字J20171021，进口注册证号H20160598。
UniProt P04637, Gene ID 7157, OMIM 191170.
R2 = 0.987654321, n = 1234567.
Call 911 immediately if chest pain lasts.
这个方的名字叫乌梅丸，以乌梅为君。
不知道自己的姓名和年龄，叫不出极普通事物的名称。
【病史摘要】 男性，45岁。发热3天后出现呼吸困难。
患者：好的，谢谢您。
患者：高烧，39度。
医生：康复得不错。
医生：成都的医院也可以。
医生：安全，放心用。
患者：孕妇，能吃吗？
患者：黄连素，一天几次？
医生：左氧氟沙星，一天一次。
医生：白蛋白，偏低。
患者：白带，有点多。
患者：经常，每天都有。
医生：方便，做个胃镜。
患者：江苏，南通。
医生：任何，不适请就诊。
医生：平片，或者CT。
医生：全麻，没有痛苦。
家属：同意，签字。
家长：明白，谢谢医生。
家长：奶粉，一天四次。
助手：时刻，观察引流。
记录者：见签名。
我叫她起床，她不理。
我妈叫我来问。
他爸叫人送医院。
孩子叫妈妈，不清楚。
女儿叫痛，哭闹。
名字叫什么不重要。
这叫全身，性红斑狼疮。
黄连、黄芩、黄柏各10 g。
白术、茯苓、甘草。
方剂：温胆汤，加减。
医案：张，男，60岁。
李某某，女，33岁。
王××，男，5岁。
患者高血压，男，55岁。
患者男性，女友陪同。
患者老年，女，78岁。
患者平日，男，体健。
住院期间体温37.2℃，脉搏88次/分。
住在三楼，没有电梯。
家住山区，离医院30公里。
居住在沿海城市5年以上。
编号为1-20号的标本剔除。
样本号1~1500。
床号不够，加床中。
电话预约挂号从8:00开始。
邮编100730，北京协和医院。
http://www.example.com/13812345678.html
HE染色×400，标尺50 μm。
0.9%氯化钠注射液250 ml，2020-01-01。
2010—2019年共12345678人次。
起始剂量1000000 IU，每日1次。
Dr. Alzheimer described it in 1906.
Mr. Smith's wound healed.
Miss rate was 4.5%.
Mrs. was not recorded.
My name is unknown to them.
Version 1.2.840.10008.5.1.4
PO Box 3006, Rockville
RR 1.23, 95% CI 1.10-1.38, P=0.0003
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
    "NAME": ("姓名：{}，", "患者{}，女，45岁", "姓名:{} 性别:男", "联系人：{}（家属）", "患者姓名：{}\n入院日期：2020年1月2日", "主管医师：{}", "姓名 {} 男 60岁", "我叫{}，想咨询一下", "姓名：\n{}\n性别：\n女"),
    "NAME/ENGLISH": ("Patient name: {}", "Name: {}, 45 years old", "Emergency contact: {}.", "Patient's name: {}; sex: M"),
    "ADDRESS": ("住址：{}。", "家庭住址：{}，邮编100083", "地址：{}\n", "现住址为{}；", "联系地址:{} 电话详见首页"),
    "RECORD_NUMBER": ("住院号：{}，", "病案号{}。", "门诊号: {}", "登记号：{}床旁", "医保号：{}", "MRN: {}", "病历号|{}|", "住院号：\n{}\n科室：\n内科"),
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
    lines = [line.replace("⏎", "\n") for line in (POSITIVE + NEGATIVE).strip().split("\n")]
    made = [marked(line) | {"hand": True} for line in lines if line]
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
