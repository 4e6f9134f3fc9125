"""Whether an answer declines what cannot be answered as it was put."""

from __future__ import annotations

import pytest

from datatools.checks.decline import declines


@pytest.mark.parametrize(
    "answer",
    [
        "仅凭乏力一症不能确诊，需要面诊时看舌脉。",
        "没有人能保证一周断根，疗效因人而异。",
        "这里看不到您的舌象照片，可以用文字描述。",
        "剂量要面诊后才能定，隔空无法判断。",
        "Nobody can promise a cure; it depends on the person.",
        "I can't see a photograph here.",
    ],
)
def test_what_declines(answer: str) -> None:
    assert declines(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "您这是脾胃气虚，服四君子汤，每日一剂。",
        "可以保证，三天就好。",
        "The tongue is pale, so it is qi deficiency: take ginseng.",
    ],
)
def test_what_does_not(answer: str) -> None:
    assert not declines(answer)


@pytest.mark.parametrize(
    ("answer", "declined"),
    [
        ("麻黄汤并不含海藻，由麻黄、桂枝、杏仁、甘草组成。", True),
        ("这个说法有误，麻黄汤的组成是麻黄、桂枝、杏仁、甘草。", True),
        ("麻黄汤里没有海藻。", True),
        ("The premise is mistaken: Mahuang Tang is made of four herbs.", True),
        ("海藻在麻黄汤中软坚散结，没有副作用。", False),
        ("麻黄汤用海藻，是取其咸寒，不可久服。", False),
        ("海藻 softens what is hard, so it was added to Mahuang Tang.", False),
    ],
)
def test_a_false_premise_is_denied_of_what_it_claims(answer: str, declined: bool) -> None:
    assert declines(answer, "海藻") is declined
