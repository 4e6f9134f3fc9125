"""Roles of columns: told by name in two languages, by content where no name helps, or given by the user."""

from __future__ import annotations

from typing import Any

import pytest

from datatools.io.columns import find_roles, has_header, plain, turns, value
from datatools.io.source import ReadOptions

ASKED = "医生您好，我最近总是头晕，请问要做什么检查？"
PROSE = "高血压是以体循环动脉压升高为主要表现的综合征，长期不控制会损害心、脑、肾。" * 4


@pytest.mark.parametrize(
    "row, described",
    [
        ({"正文": PROSE, "标题": "高血压"}, "text = 正文; title = 标题"),
        ({"pmid": 1, "abstract": PROSE}, "text = abstract; id = pmid"),
        ({"_id": "a", "content": PROSE, "语言": "zh"}, "text = content; id = _id; language = 语言"),
        ({"query": ASKED, "response": PROSE}, "question = query, answer = response"),
        ({"问题": ASKED, "回答": PROSE, "科室": "内科"}, "question = 问题, answer = 回答"),
        (
            {"instruction": "解释", "input": "头晕", "output": PROSE},
            "question = instruction + input, answer = output",
        ),
        ({"input": "头晕", "output": PROSE}, "question = input, answer = output"),
        ({"medical_case": ASKED, "doctor_diagnosis": PROSE}, "question = medical_case, answer = doctor_diagnosis"),
        ({"ident": 7, "zz": PROSE, "flag": "y"}, "text = zz"),
    ],
)
def test_known_and_unknown_names(row: dict[str, Any], described: str) -> None:
    assert find_roles([row], ReadOptions()).describe() == described


@pytest.mark.parametrize(
    "turns_of_a_row",
    [
        [{"from": "human", "value": "头晕怎么办"}, {"from": "gpt", "value": "先量血压"}],
        [{"role": "user", "content": "头晕怎么办"}, {"role": "assistant", "content": "先量血压"}],
        [{"human": "头晕怎么办", "assistant": "先量血压"}],
        ["问：头晕怎么办", "答：先量血压"],
        ["头晕怎么办", "先量血压"],
    ],
)
def test_every_shape_of_a_conversation(turns_of_a_row: list[Any]) -> None:
    expected = [{"role": "user", "content": "头晕怎么办"}, {"role": "assistant", "content": "先量血压"}]
    assert turns(turns_of_a_row) == expected
    assert find_roles([{"conversations": turns_of_a_row}], ReadOptions()).kind == "conversation"


def test_a_list_of_synonyms_is_no_conversation() -> None:
    row = {"text": PROSE, "synonyms": ["血压高", "高血压病"]}
    assert find_roles([row], ReadOptions()).describe() == "text = text"


def test_the_users_column_wins_and_may_be_nested() -> None:
    row = {"question": "q", "answer": "a", "page": {"body": PROSE}}
    roles = find_roles([row], ReadOptions(text_column="page.body"))
    assert (roles.kind, value(row, roles.text)) == ("text", PROSE)


def test_a_missing_column_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="no column 'body'; the columns are 名称, 说明"):
        find_roles([{"名称": "感冒", "说明": PROSE}], ReadOptions(text_column="body"))


def test_a_table_of_short_columns_is_read_as_fields() -> None:
    rows = [{"name": "感冒", "symptom": "鼻塞 流涕", "drug": "对症用药", "period": "7天"}] * 3
    roles = find_roles(rows, ReadOptions())
    assert (roles.kind, roles.title, roles.source_type) == ("fields", "name", "encyclopedia")


def test_an_id_that_repeats_is_not_an_id() -> None:
    assert find_roles([{"id": "7", "text": PROSE}] * 2, ReadOptions()).id == ""


@pytest.mark.parametrize(
    "row, source_type",
    [
        ({"ask": "头晕", "answer": PROSE}, "consultation"),
        ({"question": ASKED, "answer": PROSE}, "consultation"),
        ({"question": "高血压的定义是什么？", "answer": PROSE}, "encyclopedia"),
        ({"abstract": PROSE}, "literature"),
        ({"text": "We studied patients. Methods: a cohort. Results: better."}, "literature"),
        ({"url": "http://example.org", "text": PROSE}, "web"),
    ],
)
def test_source_types(row: dict[str, Any], source_type: str) -> None:
    assert find_roles([row], ReadOptions()).source_type == source_type
    assert find_roles([row], ReadOptions(source_type="book")).source_type == "book"


@pytest.mark.parametrize(
    "rows, headed",
    [
        ([["text"], ["x"]], True),
        ([["证候", "方剂", "剂量"], ["风寒证", "麻黄汤", "9 g"]], True),
        ([["disease", "summary"], ["flu", "A viral infection of the airways that passes by itself"]], True),
        ([["腹痛", "心经积热证"], ["腹痛", "虚寒证"]], False),
        ([["1", "头晕怎么办", "头晕如何治疗"], ["0", "感冒吃什么", "咳嗽吃什么"]], False),
        ([["", ""], ["a", "b"]], False),
        ([], False),
    ],
)
def test_headers_are_told_from_content(rows: list[list[str]], headed: bool) -> None:
    assert has_header(rows) is headed


def test_cells_as_a_person_reads_them() -> None:
    cells = [1.0, 1.5, None, float("nan"), ["a", None, "b"], b"caf\xc3\xa9", b"\0\1", True]
    assert list(map(plain, cells)) == ["1", "1.5", "", "", "a\nb", "café", "", "True"]
