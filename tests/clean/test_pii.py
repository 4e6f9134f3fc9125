# ruff: noqa: E501 a line of Chinese counts double
"""Personal data is found and replaced; what only looks like it stays."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.pii import score
from datatools.clean.numbers import id_checksum, is_bank_card, is_id_card, is_old_id_card
from datatools.clean.pii import KINDS, Redact, find, likely, redact

EXAMPLES = Path(__file__).with_name("pii.jsonl")
FRAGMENTS = [
    "医生：", "谢谢", "我叫", "46岁", "住院号\n", "姓名\n", "家住", "、", "201435397",
    "电话", "13812345678", "姓名：", "李小明", "，", "住院号", "：", "Z0012345", "[NAME]", "[PHONE]", "a@b.example.com", "1", "-", " ", "\n",
    "110105", "19491231", "002X", "床号", "12", "地址", "北京市海淀区1号", "患者", "男", "微信", "wxid_123", "QQ", "62220210011162457", "02", "国药准字H",
    "20003263", "Name: ", "John Smith", "DOB", "010-65123456", "☎", "５", "|", "(", ")", "+86", "DOI:10.1000/1", "护照E12345678",
]  # fmt: skip


def texts() -> st.SearchStrategy[str]:
    """Any text, and texts put together from what the patterns look at."""
    return st.text() | st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("身份证11010519491231002X已登记", "身份证[ID_CARD]已登记"),
        ("身份证110105491231002（旧）", "身份证[ID_CARD]（旧）"),
        ("电话13812345678转", "电话[PHONE]转"),
        ("电话１３８１２３４５６７８转", "电话[PHONE]转"),
        ("座机010-65123456或400-820-1234", "座机[PHONE]或[PHONE]"),
        ("邮箱zhang.san@example.com收", "邮箱[EMAIL]收"),
        ("卡号6222021001116245702，", "卡号[BANK_CARD]，"),
        ("姓名：欧阳小红性别：女", "姓名：[NAME]性别：女"),
        ("联系人：王芳（女儿）", "联系人：[NAME]（女儿）"),
        ("家庭住址：浙江省杭州市西湖区文三路1号，电话13812345678", "家庭住址：[ADDRESS]，电话[PHONE]"),
        ("病案号B2019-3321，床号：12床", "病案号[RECORD_NUMBER]，床号：[BED]床"),
        ("微信号：wxid_2020a，QQ：12345678", "微信号：[WECHAT]，QQ：[QQ]"),
        ("护照号E12345678，车牌号：浙A8K3F6", "护照号[PASSPORT]，车牌号：[PLATE]"),
        ("出生日期：1978年6月12日", "出生日期：[BIRTH_DATE]"),
        ("Patient name: Mary Jones, MRN: 00473829", "Patient name: [NAME], MRN: [RECORD_NUMBER]"),
        ("call (415) 555-0132; SSN 219-45-6789", "call [PHONE]; SSN [SSN]"),
        ("医生我叫李小明，头痛", "医生我叫[NAME]，头痛"),
        ("李小明，男，46岁，农民", "[NAME]，男，46岁，农民"),
        (
            "预约医生：\n李小明\n住院号\nZ0012345\n医生：\n谢谢",
            "预约医生：\n[NAME]\n住院号\n[RECORD_NUMBER]\n医生：\n谢谢",
        ),
        ("家住上海市徐汇区肇嘉浜路1000弄5号，近", "家住[ADDRESS]，近"),
        ("病理号：34732.15（201435397、201433427）", "病理号：[RECORD_NUMBER]（201435397、201433427）"),
        ("病理号201435397、201433427）", "病理号[RECORD_NUMBER]、[RECORD_NUMBER]）"),
        ("Mobile: 07700 900123, or +44 20 7946 0011", "Mobile: [PHONE], or [PHONE]"),
    ],
)
def test_each_kind_beside_han_characters_and_in_english(text: str, expected: str) -> None:
    assert redact(text)[0] == expected


@pytest.mark.parametrize(
    "text",
    [
        "国药准字H20003263",
        "ChiCTR2000029308，NCT04280705",
        "doi:10.1056/13812345678，PMID: 32109013",
        "ISBN 978-7-117-26439-8",
        "ICD-10：I25.103",
        "白细胞12.5×10⁹/L，血小板150×10⁹/L",
        "口服，一次400-800 mg，一日3次",
        "2021年03月15日10:30入院，2021-03-22出院",
        "本位码：86901234000567，追溯码81234567890123456789",
        "110105194912310021",  # a wrong checksum
        "13812345678901",  # longer than a telephone number
        "请拨打120、110或999",
        "桂枝汤方：桂枝三两，芍药三两，甘草二两。",
        "姓名：张某某，家属：拒绝签字，联系人：患者本人",
        "患者高龄，男性；患者青年，女",
        "微信公众号“健康之友”，QQ间期",
        "临床1200例，病床12张，床边超声",
        "Name: Amoxicillin Capsules. Address the cause first.",
        "CAS 50-78-2, lot number: A12345678",
    ],
)
def test_what_only_looks_like_personal_data_is_left_alone(text: str) -> None:
    assert redact(text) == (text, [])


def test_recall_and_precision_on_the_examples() -> None:
    lines = [json.loads(line) for line in EXAMPLES.read_text(encoding="utf-8").splitlines()]
    assert sum(bool(line["spans"]) for line in lines) >= 300
    assert sum(not line["spans"] for line in lines) >= 300
    assert sum(line.get("hand", False) for line in lines) >= 120
    scores, errors = score()
    for kind, result in scores.items():
        assert result.recall >= 0.97 and result.precision >= 0.97, (kind, errors)


@settings(deadline=None)  # the first text of a process pays for the tables
@given(texts())
def test_redaction_is_idempotent_and_touches_nothing_else(text: str) -> None:
    cleaned, spans = redact(text)
    assert redact(cleaned)[0] == cleaned
    rest, done = "", 0
    for span in spans:
        assert done <= span.start < span.end and span.kind in KINDS
        rest += text[done : span.start] + f"[{span.kind}]"
        done = span.end
    assert rest + text[done:] == cleaned


@settings(deadline=None)  # the first text of a process pays for the tables
@given(st.lists(st.none() | texts(), max_size=5))
def test_the_operator_does_what_the_function_does(rows: list[str | None]) -> None:
    batch = Redact()(pa.record_batch({"text": pa.array(rows, pa.string())}))
    assert batch["text"].to_pylist() == [None if row is None else redact(row)[0] for row in rows]
    counted = [sum(count for _, count in row) for row in batch["pii"].to_pylist()]
    assert counted == [len(find(row or "")) for row in rows]


def test_checksums() -> None:
    body = "44052418800101001"
    assert is_id_card(body + id_checksum(body))
    assert not is_id_card("99052418800101001" + id_checksum("99052418800101001"))  # no such province
    assert not is_id_card("110105194913310" + "021")  # no such month
    assert is_old_id_card("110105491231002") and not is_old_id_card("110105491331002")
    assert is_bank_card("4111111111111111", labelled=True) and not is_bank_card("4111111111111111", labelled=False)


@pytest.mark.parametrize(
    "piece", ["1", "12-", "a.", "a@", "(01", "姓名", "姓名：", "患者王", "Name: A", "地址：北", "+1 ", "0 "]
)
def test_no_pattern_goes_back_over_a_long_text(piece: str) -> None:
    found = find(piece * (100_000 // len(piece)))  # would take hours
    assert all(before.end <= after.start for before, after in pairwise(found))


def test_text_without_signs_is_passed_over() -> None:
    text = "高血压是一种常见的慢性病，患者应当在医生的指导下服药，每日一次，每次5 mg，这样血压就能得到控制。"
    assert likely(pa.array([text, text + "电话13800138000"])) == [1]
