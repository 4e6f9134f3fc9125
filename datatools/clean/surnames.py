# ruff: noqa: E501 a line of Chinese counts double
"""Whether a word behind a label is a person's name."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

from datatools.clean.lexicon import read_terms

# The 300 commonest surnames (99 % of people), without those that begin everyday words more often than names.
SURNAMES = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林罗高郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任卢姚沈钟姜崔谭陆汪范金石廖贾夏韦付傅方"
    "白邹孟熊秦邱江尹薛闫阎段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤温康施文牛樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟申欧耿关兰焦俞左柳甘祝包宁"
    "尚符舒阮柯纪梅童凌毕单季裴霍涂成苗谷盛曲翁冉骆蓝路游辛靳管柴蒙鲍华喻祁蒲房滕屈饶解牟艾尤阳时穆农司卓古吉缪简车项连芦麦褚娄窦戚岑景党宫费卜"
    "冷晏席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师和仇栾隋商刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟邝常洪殷詹官封谈匡鞠惠荆乐冀郁胥南班储原栗燕楚鄢劳谌奚皮"
    "粟冼蔺楼盘满闻位厉伊仝区郜海阚花权强帅屠豆朴盖练廉禹井祖漆巴丰支卿国狄平计索宣晋相初门云容敬来扈晁芮都普阙浦戈伏鹿薄邸雍辜羊阿乌裘亓修邰赫"
    "張劉陳楊黃趙吳孫馬羅鄭謝許韓馮鄧蕭葉蘇魏呂盧鐘譚陸賈鄒閻龍賀顧龔萬錢嚴湯顏聶魯關蘭紀畢單駱藍"
)
COMPOUND = frozenset(
    "欧阳 上官 司马 诸葛 东方 皇甫 尉迟 公孙 慕容 令狐 长孙 宇文 司徒 夏侯 轩辕 端木 独孤 南宫 歐陽 諸葛".split()
)
# Words that stand where a name would and begin like one.
NO_NAMES = frozenset(
    "高龄 高热 高烧 高血压 高危 白天 平素 明确 时有 和谐 成人 成年 成年人 向家属 关系 安静 安排 全部 全麻 全身 明显 温度 严重 强烈 任何 何人 何时 何处 相关 相符 国籍 平时 应该 "
    "于今日 于昨日 于当日 时年 时间 连续 都有 都是 来院 来诊 位于 全家 全体 和家属 计划 支持 管理 管床 程度 方法 方式 方便 方案 单位 单身 解释 解答 符合 查看 查体 谈话 "
    "应签字 应签名 向医生 于门诊 于我院 任意 万分 金额 边缘 花费 包括 门诊 都可 易怒 应用 简单 关注 关于 成功 成立 和睦 左侧 左手 武汉 武术 江苏 江西 南京 海南 云南 "
    "安徽 石家庄 和患者 明日 来访 解除 盖章 老年 连同 容易 原因 查房 温馨 康复 康复科 "
    "高某 时刻 平静 平稳 平卧 白班 文盲 安好 封闭 都不 未填 常年 常规 常见 常有 常感 常住 常常 常用 常伴 常在 洪水 殷红".split()
)
MASKS = frozenset("某姓氏×xX*＊○〇□")

_NO_ENGLISH = frozenset(
    "tablet tablets capsule capsules injection syndrome disease disorder acid sodium chloride hydrochloride cream ointment "
    "solution oral suspension syrup drug generic brand trade gene protein cancer cell virus type vitamin extract unknown "
    "not available test hospital clinic center centre university department institute medical health name value date".split()
)

# Words that are said after «医生：» or «患者：» and are tagged as names, or missing, in the dictionary.
_SAID = frozenset(
    "谢谢 麻木 黄痰 胡萝卜 时间长 从事 安心 安全感 明白 平日 武功 文明 阳光 古老 冷笑 师傅 权威 顾问 高峰 顾客 米粉 胡子 叶子 辛勤 吉祥 师范 梅花 修正 "
    "孙子 孙女 黎明 王子 温泉 宁静 关怀 乌云 蓝天 冷汗 原谅 祝贺 童子 许可 师生 桂花 毛巾 兰花 石英 乌龟 柏树 祖先 祖母 岳母 岳父 殷勤 明显 许可证 安全性 高潮 "
    "冷清 苏醒 成员 胡说 胡闹 石榴 柳树 康复期 高血糖 高尿酸 高血脂 高血钾 白蛋白 白细胞 白带 白斑 白内障 白癜风 白血病 黄连素 黄体酮 黄疸 黄芪 黄芩 黄柏 "
    "黄连 黄豆 石膏 石斛 何首乌 连翘 柴胡 葛根 麻黄 杜仲 牛黄 牛膝 阿胶 党参 沙参 方剂 温服 康泰克 费用高 应该吧".split()
)
# No given name is written with these; what is said is.
_SPOKEN = frozenset(
    "吧了的是不吗呢啊过到着就也都还很要些痛疼痒肿痰血尿便病炎症药奶热烧咳泻吐针片粒袋盒岁什么怎谁哪这那我你他她它们吃喝睡查验丸散汤膏"
)


def is_name(word: str) -> bool:
    """Whether a Han word of two to four characters is a full name: a surname first, no mask (张某, 刘姓) and no common word.

    >>> is_name("欧阳小红"), is_name("张某某"), is_name("高血压"), is_name("父亲")
    (True, False, False, False)
    """
    if word in NO_NAMES or MASKS.intersection(word):
        return False
    if word[:2] in COMPOUND:
        return 3 <= len(word) <= 4
    return word[:1] in SURNAMES and 2 <= len(word) <= 3


def is_person(word: str) -> bool:
    """`is_name`, and no word of the dictionary: what stands behind «医生：» or «我叫» may as well be said.

    >>> [word for word in ("高海涛", "谢谢", "温水", "毛囊炎", "黄痰", "左边", "向东") if is_person(word)]
    ['高海涛', '向东']
    """
    return is_name(word) and word not in _SAID and not _SPOKEN.intersection(word[1:]) and word not in _everyday()


@lru_cache(maxsize=1)
def _everyday() -> frozenset[str]:
    """Words of jieba's dictionary that begin like a name and are none, and the terms of the built-in lexicon."""
    found = importlib.util.find_spec("jieba")
    assert found is not None and found.origin is not None
    words = set(read_terms())
    with Path(found.origin).with_name("dict.txt").open(encoding="utf-8") as lines:
        for line in lines:
            if line[0] in SURNAMES:
                word, _, tag = line.split()
                if 2 <= len(word) <= 3 and not tag.startswith("nr"):
                    words.add(word)
    return frozenset(words)


def is_english_name(words: str) -> bool:
    """Whether capitalised words are a person's name and not a drug's, a disease's or a department's."""
    return not _NO_ENGLISH.intersection(words.lower().replace(",", " ").replace(".", " ").split())
