"""Leaks are caught, clinical language is left alone."""

from __future__ import annotations

import pytest

from datatools.checks.leakage import leakage

QUESTION = "高血压如何诊断？"


@pytest.mark.parametrize(
    "answer",
    [
        "作为一名AI助手，我建议就医。",
        "作为人工智能，我不能开药。",
        "作为一个语言模型，以下仅供参考。",
        "根据上文，应当低盐饮食。",
        "根据上述资料，血压应低于140。",
        "根据提供的文本，答案如下。",
        "根据参考资料，可以确诊。",
        "根据以上内容，应手术治疗。",
        "文中提到该药有肝毒性。",
        "本文指出应尽早治疗。",
        "该段文字说明了病因。",
        "参考资料中没有相关内容。",
        "很抱歉，我无法回答这个问题。",
        "我无法提供诊断。",
        "您提供的段落说的是哮喘。",
        "<think>先想一想</think>多休息。",
        "答案：多休息。",
        "As an AI language model, I cannot say.",
        "The passage states that rest helps.",
        "According to the text, rest helps.",
        "Based on the provided information, rest helps.",
        "As mentioned above, rest helps.",
        "Here is the question: what helps?",
    ],
)
def test_talk_of_prompt_passage_or_model_is_a_leak(answer: str) -> None:
    assert leakage(QUESTION, answer)


@pytest.mark.parametrize(
    "answer",
    [
        "血钾的参考值为3.5~5.5 mmol/L。",
        "参考范围因实验室而异，以上结果仅供参考。",
        "参考文献支持早期用药。",
        "根据病情调整剂量。",
        "根据化验结果，您的血糖偏高。",
        "根据患者提供的信息，考虑为偏头痛。",
        "根据您描述的症状，建议做胃镜。",
        "根据临床资料统计，多见于老年人。",
        "18岁以上的成人可以使用，上述药物均需饭后服。",
        "该药作为一线用药。",
        "患者诉我无法入睡。",
        "白细胞<4×10⁹/L，血小板>100×10⁹/L。",
        "根据文献报道，该病少见。",
        "According to the guidelines, start with 10 mg.",
        "In the context of renal failure, halve the dose.",
        "The text message reminder improved adherence.",
        "See the reference range above 5 mmol/L.",
        "Based on the results of the biopsy, treat with surgery.",
    ],
)
def test_clinical_language_is_no_leak(answer: str) -> None:
    assert leakage(QUESTION, answer) == ()


def test_a_patient_may_say_what_they_cannot_do() -> None:
    assert leakage("我无法入睡三天了，怎么办？", "可以先调整作息。") == ()


def test_a_quotation_of_the_source_is_no_leak_but_the_model_itself_always_is() -> None:
    preface = "余著此书，本文所述皆先师口授，不敢妄增一字。"
    assert leakage("此书从何而来？", preface)
    assert leakage("此书从何而来？", preface, preface) == ()
    assert leakage("你是谁？", "作为AI助手，我在此。", "作为AI助手，我在此。")


@pytest.mark.parametrize(
    "question",
    ["根据上文，如何治疗？", "文中的药物有哪些？", "上述方剂主治什么？", "What does the passage say about asthma?"],
)
def test_a_question_that_leans_on_a_text_is_a_leak(question: str) -> None:
    assert leakage(question, "口服。")


@pytest.mark.parametrize("piece", ["根据", "the ", "作为一", "参考", "由a", "\n 答", "以下是", "as an "])
def test_no_pattern_goes_back_over_a_long_text(piece: str) -> None:
    found = leakage(QUESTION, piece * (100_000 // len(piece)))  # would take hours
    assert len(found) <= 100_000
