"""Contacts a model made up are found beside Han characters too."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.checks.contacts import contacts, missing_contacts, without_contacts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("电话13800138000咨询", "13800138000"),
        ("电话１３８００１３８０００", "13800138000"),
        ("座机010-62345678转分机", "010-62345678"),
        ("热线400-820-1234", "400-820-1234"),
        ("见https://a.example/b?c=1。", "https://a.example/b?c=1"),
        ("写信到doctor@example.org吧", "doctor@example.org"),
        ("doi:10.1056/NEJMoa1234567.", "10.1056/NEJMoa1234567"),
        ("Call (212) 555-0187 now", "(212) 555-0187"),
    ],
)
def test_contacts_are_found(text: str, expected: str) -> None:
    assert contacts(text) == (expected,)
    assert missing_contacts(text, "") == (expected,)
    assert missing_contacts(text, text) == ()
    assert expected not in without_contacts(text)


@pytest.mark.parametrize(
    "text",
    ["120/80 mmHg", "国药准字H20051234", "10.5/3.2", "2018-2020年", "住院号12345678901234", "5000 IU, 10 000 IU"],
)
def test_other_numbers_are_no_contacts(text: str) -> None:
    assert contacts(text) == ()


@given(st.text())
def test_a_verbatim_answer_misses_nothing(text: str) -> None:
    assert missing_contacts(text, text) == ()


@pytest.mark.parametrize("piece", ["1", "a.", "a@", "1-", "www.", "10.1234/", "https://"])
def test_no_pattern_goes_back_over_a_long_text(piece: str) -> None:
    found = contacts(piece * (100_000 // len(piece)))  # would take hours
    assert len(found) <= 100_000
