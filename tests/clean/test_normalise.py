"""Normalise: typesetting goes, meaning stays."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datatools.clean.normalise import TABLE, join_wrapped, normalise, normalise_all


@pytest.mark.parametrize(
    "text",
    [
        "白细胞 5.6×10⁹/L，血小板 210×10⁹/L。",
        "吸入 CO₂ 后 PaCO₂ 升高，Ca²⁺ 内流。",
        "一次 ½ 片，一日 3 次。",
        "5％葡萄糖注射液（500 ml）静脉滴注！",
        "地高辛 0.5 μg/㎏，体温 38.5 ℃。",
        "Ⅱ型呼吸衰竭，Ⅲ期，①卧床②吸氧。",
        "5-HT3受体拮抗剂可致便秘，5-HT 再摄取抑制剂亦然。",
        "诊断为HT的患者可见淋巴细胞浸润；LVEF 与 FS 均下降。",
        "HT (hypertension) is common; FS was 35%.",
        "剂量 5 \\mu g，均值 12 \\pm 3，\\alpha 受体阻滞剂。",
        "见 http://example.org/photos/figure.jpg 与 www.gifts.example。",
    ],
    ids=["power", "formula", "half", "percent", "units", "roman", "5-HT", "HT", "english", "latex", "url"],
)
def test_what_carries_meaning_stays(text: str) -> None:
    assert normalise(text) == text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("组成∶桂枝三两", "组成：桂枝三两"),
        ("血红蛋白１２０ g/L，ＷＢＣ正常", "血红蛋白120 g/L，WBC正常"),
        ("阿莫\u200b西林\ufeff胶\u00ad囊", "阿莫西林胶囊"),
        ("目\ue123然，肝\uf8ff风", "目□然，肝□风"),
        ("坏\ufffd字", "坏□字"),
        ("发热\u3000\u3000咳嗽\u00a0\t乏力", "发热 咳嗽 乏力"),
        ("e\u0301tat", "état"),
        ("Ａ\u0301", "Á"),
        ("一\r\n\r\n\r\n\r\n二\r\n", "一\n\n二"),
    ],
    ids=["ratio", "full-width", "invisible", "private", "broken", "spaces", "nfc", "nfc-of-full-width", "newlines"],
)
def test_characters_change_by_the_table_alone(raw: str, clean: str) -> None:
    assert normalise(raw) == clean


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("\\x化凤膏\\x 治咽喉肿痛。", "化凤膏 治咽喉肿痛。"),
        ("\\r正面图\\p04-34a1.bmp\\r 穴在中线。", "正面图 穴在中线。"),
        ("\\r纹图\\pyf10\\r 形如环。", "纹图 形如环。"),
        ("脉图\\ps127见下。", "脉图见下。"),
        ("野菊a12.bmp，味苦。", "野菊，味苦。"),
        ("目KT KT 无所见。", "目 无所见。"),
        ("手HT 疮，用皂角。HT 者，裂也。", "手 疮，用皂角。 者，裂也。"),
        ("维生素 D<sub>3</sub> 与 D<SUB>2</SUB>", "维生素 D₃ 与 D₂"),
        ("10<sup>9</sup>/L", "10⁹/L"),
        ("一日三次<br/>饭后服", "一日三次饭后服"),
        ("有效率 50\\%", "有效率 50%"),
    ],
    ids=["bold", "plate", "plate-no-name", "page", "image", "glyph", "HT", "subscript", "superscript", "br", "escape"],
)
def test_what_conversions_left_behind_goes(raw: str, clean: str) -> None:
    assert normalise(raw) == clean


def test_hard_wrapped_chinese_is_joined() -> None:
    wrapped = "凡人平居无事之时起居有常饮食有节则气血和平百病不生矣故善养生者先\n慎起居而后论药。\n次段另起。"
    assert join_wrapped(wrapped) == (
        "凡人平居无事之时起居有常饮食有节则气血和平百病不生矣故善养生者先慎起居而后论药。\n次段另起。"
    )


def test_wrapped_english_is_joined_with_a_space() -> None:
    wrapped = (
        "Oral rehydration salts replace the water and the salts that are\n"
        "lost with diarrhoea. Small sips given often are kept down better\n"
        "than a full cup.\n\nSee a clinician when there is blood in the stool."
    )
    assert join_wrapped(wrapped) == (
        "Oral rehydration salts replace the water and the salts that are lost with diarrhoea. "
        "Small sips given often are kept down better than a full cup."
        "\n\nSee a clinician when there is blood in the stool."
    )


def test_an_english_line_that_ends_in_a_bracket_is_judged_by_its_width() -> None:
    heading = "Treatment of high blood pressure (hypertension)\nWalk every day."
    assert join_wrapped(heading) == heading
    wrapped = "The child was given amoxicillin and paracetamol (both as syrup)\nfor five days."
    assert "\n" not in join_wrapped(wrapped)


def test_a_line_that_ends_in_a_title_goes_on_where_it_was_wrapped() -> None:
    wrapped = "夫风者百病之长也其中人也轻重不同故圣人避风如避矢石焉。《内经》\n曰：邪之所凑，其气必虚。"
    assert join_wrapped(wrapped) == wrapped.replace("\n", "")
    assert join_wrapped("《伤寒论》\n太阳病。") == "《伤寒论》\n太阳病。"


def test_a_line_that_ends_in_a_comma_goes_on() -> None:
    assert join_wrapped("头痛，\n发热") == "头痛，发热"


@pytest.mark.parametrize(
    "text",
    [
        "药名 | 剂量\n阿莫西林 | 0.5 g，3次/日\n白细胞 | 10⁹/L",
        "| 药名 | 剂量 |\n|---|---|\n| 布洛芬 | 一次 200 mg，6–8 小时一次，总量不超过 1200 mg |\n| 阿莫西林 | 0.5 g |",
        "注意事项\n- 每日称体重并且记录在随访本上以便医生了解近期的变化情况和趋势\n- 限盐",
        "1. 每日称体重并且记录在随访本上以便医生了解近期的变化情况和趋势走向\n2. 限盐\n3. 限酒",
        "一、每日称体重并且记录在随访本上以便医生了解近期的变化情况和趋势走向\n二、限盐",
        "春风送暖入药乡\n百草初生叶正长\n采得薄荷清头目\n煎汤一盏自清凉",
        "桂枝汤\n桂枝（三钱） 芍药（三钱） 甘草（二钱）\n上三味，水煎服。",
        "薄荷汤治风热上攻头目不清咽喉肿痛及小儿发热烦躁夜卧不安\n薄荷 桔梗 甘草\n上为末。",
        "第一段完。\n\n第二段完。",
        "组成：\n当归 川芎 白芍 熟地",
    ],
    ids="table pipes bullets numbers chinese-numbers verse prescription herbs paragraphs introduced".split(),
)
def test_lists_tables_verse_and_prescriptions_keep_their_lines(text: str) -> None:
    assert normalise(text) == text


LONG = "供水单位卫生许可证由县级以上人民政府卫生计生主管部门发放有效期三年"


@pytest.mark.parametrize(
    "line",
    [
        *("A. 供水单位", "B．供水", "C、供水", "D）供水", "E: 供水", "A. 5 mg", "H.Pylori", "A. t检验"),
        *("问：有效吗", "答：有效", "医生：有效", "病人: 有效", "大夫：有效", "护士：有效"),
    ],
)
def test_options_and_who_speaks_begin_a_line(line: str) -> None:
    text = f"{LONG}\n{line}"
    assert normalise(text) == text
    many = [text] * 1000  # by compiled code
    assert normalise_all(many) == many


def test_options_without_a_mark_stand_on_their_lines() -> None:
    text = f"{LONG}是\nA {LONG}\nB {LONG}\nC {LONG}"
    assert normalise(text) == text
    assert normalise_all([text] * 400) == [text] * 400


@pytest.mark.parametrize("line", "E. coli感染|E.coli感染|B.12|AB. 供水|医院：供水|答案|B 超检查|医生".split("|"))
def test_what_only_begins_like_one_goes_on(line: str) -> None:
    text = f"{LONG}\n{line}"
    assert normalise(text) == LONG + line
    assert normalise_all([text] * 1000) == [LONG + line] * 1000


def test_a_drug_list_that_was_wrapped_goes_on() -> None:
    drugs = "川芎 人参（各二钱） 当归（三钱） 白芍（二钱） 甘草（一钱）\n生姜三片 大枣二枚"
    assert normalise(drugs) == drugs.replace("\n", " ")


def test_a_lone_bracket_ends_its_line() -> None:
    drugs = "川芎 人参（各二钱） 当归（三钱） 白芍（二钱） 甘草（炙一\n）\n水煎服。"
    assert normalise(drugs).endswith("）\n水煎服。")


# Text without the beginnings of residue (\\, <, the dot of an image name, KT HT FS).
plain = st.text(
    st.one_of(
        st.sampled_from("风寒咳嗽，。；：、（）【】“”\n\n  \u3000\t１Ａ∶％㎏½₂⁹μ\u200b\ue000\r|-·①一1abcde"),
        st.characters(blacklist_categories=["Cs"], blacklist_characters="\\<.KHF"),
    ),
    max_size=200,
)


@settings(deadline=None)
@given(plain)
def test_every_character_that_is_in_no_table_comes_through_in_order(text: str) -> None:
    expected = unicodedata.normalize("NFC", "".join(TABLE.get(character, character) for character in text))
    assert "".join(normalise(text).split()) == "".join(expected.split())


@settings(deadline=None)
@given(plain)
def test_the_result_is_nfc_without_table_characters_and_double_spaces(text: str) -> None:
    clean = normalise(text)
    assert unicodedata.is_normalized("NFC", clean)
    assert not set(clean) & (set(TABLE) - {"□"})
    assert "  " not in clean and "\n\n\n" not in clean


@settings(deadline=None)
@given(plain.filter(lambda text: "\n" not in text))
def test_one_line_normalised_again_stays(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@settings(deadline=None)
@given(plain)
def test_joining_moves_no_character(text: str) -> None:
    # Lines are judged as they stand, and a joined line is longer: a second run may join more, never change a word.
    once = normalise(text)
    assert "".join(normalise(once).split()) == "".join(once.split())
