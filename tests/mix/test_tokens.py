"""Tokens counted over buffers are those counted over texts."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.llm.tokens import MESSAGE, estimate
from datatools.mix.tokens import message_tokens, text_tokens
from schemas.conversation import MESSAGE as TURN

TEXTS = [
    "高血压患者应当限盐。",
    "Causes of high blood pressure",
    "阿莫西林 0.5 g，一日3次",
    "",
    "x" * 300,
    "痰湿（舌苔）",
]


def test_medical_text_has_as_many_tokens_either_way():
    assert text_tokens(pa.array(TEXTS)) == pytest.approx([estimate(text) for text in TEXTS], rel=0.02)


@given(st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"])))), st.integers(0, 5))
def test_any_text_in_any_slice(texts: list[str | None], start: int):
    whole = text_tokens(pa.array(texts, pa.string()))
    assert len(whole) == len(texts) and (whole >= 0).all()
    assert text_tokens(pa.array(texts, pa.string()).slice(start)) == pytest.approx(whole[start:])


def test_messages_are_counted_with_their_frame():
    turns = [[{"role": "user", "content": "问"}, {"role": "assistant", "content": "高血压"}], [], None]
    turns.append([{"role": "user", "content": None}])
    array = pa.array(turns, pa.list_(TURN))
    assert message_tokens(array) == pytest.approx([2 * MESSAGE + estimate("问高血压"), 0, 0, MESSAGE])
    assert message_tokens(array.slice(1)) == pytest.approx([0, 0, MESSAGE])
