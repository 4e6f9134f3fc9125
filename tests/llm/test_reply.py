"""Replies as endpoints really send them, and what models write around an answer."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.llm.errors import Failure
from datatools.llm.reply import decode, parse, plain_text, usage
from datatools.llm.request import Reply
from tests.llm.model_server import completion

ANSWER = "多喝水，注意休息。"


def parsed(text=ANSWER, reason="stop", **message):
    return parse(completion(text, reason, **message))


def test_a_good_reply_has_text_tokens_and_the_exact_model():
    reply = parse(json.dumps(completion(ANSWER)).encode())
    assert reply == Reply(ANSWER, "stop", prompt_tokens=10, completion_tokens=9, model="m-2026")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>maintenance</html>", "malformed"),
        (json.dumps(completion(ANSWER)).encode()[:-30], "malformed"),
        (json.dumps(completion(ANSWER), ensure_ascii=False).encode().replace("水".encode(), b"\xff"), "malformed"),
        (b'{"choices": [{"message": {"content": "\\ud83d"}, "finish_reason": "stop"}]}', "malformed"),
        (b"[]", "malformed"),
        (b"[" * 100_000, "malformed"),
        ({"choices": []}, "malformed"),
        ({"choices": None}, "malformed"),
        ({"choices": [{"text": "old style"}]}, "malformed"),
        (completion(None), "empty"),
        (completion(" \n\u3000"), "empty"),
        (completion("<think>想</think>\n"), "empty"),
        (completion("<think>想"), "empty"),
        (completion("想", "length"), "truncated"),
        (completion(None, "length", reasoning_content="想"), "truncated"),
        (completion("", "content_filter"), "content_filter"),
        (completion(None, "stop", refusal="I cannot"), "content_filter"),
        (completion("半", "insufficient_system_resource"), "server"),
        ({"error": {"message": "overloaded", "code": 503}}, "server"),
        ({"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}, "rate"),
        ({"error": "boom"}, "server"),
    ],
)
def test_an_unusable_reply_says_of_which_class_it_is(body, kind):
    outcome = parse(body)
    assert isinstance(outcome, Failure) and outcome.kind == kind


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "choices",
                        "message",
                        "content",
                        "finish_reason",
                        "usage",
                        "error",
                        "code",
                        "model",
                        "prompt_tokens",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_json_makes_the_parser_raise(value):
    raw = json.dumps(value).encode()
    assert isinstance(parse(raw), Reply | Failure)
    assert all(count >= 0 for count in usage(decode(raw)))


@given(st.binary(max_size=60))
def test_no_bytes_make_the_parser_raise(raw):
    assert isinstance(parse(raw), Reply | Failure)


@pytest.mark.parametrize(
    ("text", "message", "answer", "reasoning"),
    [
        (f"<think>先想\n再想</think>\n\n{ANSWER}", {}, ANSWER, "先想\n再想"),
        (f"先想</think>{ANSWER}", {}, ANSWER, "先想"),
        (ANSWER, {"reasoning_content": "先想"}, ANSWER, "先想"),
        (ANSWER, {"reasoning": "先想"}, ANSWER, "先想"),
        (f"<think>再想</think>{ANSWER}", {"reasoning_content": "先想"}, ANSWER, "先想\n再想"),
        (f"<think>先想</think>\n<think>再想</think>{ANSWER}", {}, ANSWER, "先想\n再想"),
        (f"<think></think>\n\n{ANSWER}", {}, ANSWER, ""),
        (f"<seed:think>先想</seed:think>{ANSWER}", {}, ANSWER, "先想"),
        (f"[THINK]先想[/THINK]{ANSWER}", {}, ANSWER, "先想"),
        (f"◁think▷先想◁/think▷{ANSWER}", {}, ANSWER, "先想"),
        (f"## Thinking\n\n先想\n\n## Final Response\n\n{ANSWER}", {}, ANSWER, "先想"),
        (f"## Thinking\n{ANSWER}", {}, f"## Thinking\n{ANSWER}", ""),
        ("标签 <think> 用来思考。", {}, "标签 <think> 用来思考。", ""),
    ],
)
def test_thinking_is_kept_apart_from_the_answer(text, message, answer, reasoning):
    reply = parsed(text, **message)
    assert (reply.text, reply.reasoning) == (answer, reasoning)


@pytest.mark.parametrize("opening", ["<think>", "<thinking>", "[THINK]", "◁think▷"])
@pytest.mark.parametrize(("reason", "kind"), [("stop", "empty"), ("length", "truncated")])
def test_thinking_that_never_ends_is_no_answer(opening, reason, kind):
    outcome = parsed(f"{opening}先想，{ANSWER}", reason)
    assert outcome.kind == kind and re.search("thinking|thought", outcome.message)


def test_thinking_in_a_part_of_its_own_is_kept_apart():
    body = completion("")
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "先想"}]}
    body["choices"][0]["message"]["content"] = [thinking, {"type": "text", "text": ANSWER}]
    assert (parse(body).text, parse(body).reasoning) == (ANSWER, "先想")


def test_a_filter_is_recognised_with_details_after_it():
    assert parsed("", "content_filter: PROHIBITED_CONTENT").kind == "content_filter"


def test_content_in_parts_is_joined():
    body = completion("")
    body["choices"][0]["message"]["content"] = [{"type": "text", "text": "多喝"}, {"type": "text", "text": "水"}]
    assert parse(body).text == "多喝水"


def test_a_missing_finish_reason_or_usage_is_not_an_error():
    body = completion(ANSWER, None)
    del body["usage"]
    assert parse(body) == Reply(ANSWER, "", model="m-2026")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("问题：感冒了怎么办？", "感冒了怎么办？"),
        ("**问题：** 感冒了怎么办？", "感冒了怎么办？"),
        ("Question: What is flu?", "What is flu?"),
        ("Q: What is flu?", "What is flu?"),
        ("A: Rest.", "Rest."),
        ("【答案】多喝水。", "多喝水。"),
        ("1. 感冒了怎么办？", "感冒了怎么办？"),
        ("（1）感冒了怎么办？", "感冒了怎么办？"),
        ("「感冒了怎么办？」", "感冒了怎么办？"),
        ("“感冒了怎么办？”", "感冒了怎么办？"),
        ('"What is flu?"', "What is flu?"),
        ("```\n感冒了怎么办？\n```", "感冒了怎么办？"),
        ("```text\n问题：“感冒了怎么办？”\n```", "感冒了怎么办？"),
        ("<think>想</think>答：多喝水。", "多喝水。"),
        ("<think>想</think><answer>多喝水。</answer>", "多喝水。"),
        # and what must stay as it is
        ("1. 多喝水\n2. 休息", "1. 多喝水\n2. 休息"),
        ("1.5 mg/kg，每日两次", "1.5 mg/kg，每日两次"),
        ("2型糖尿病有哪些症状？", "2型糖尿病有哪些症状？"),
        ("“阴虚”与“阳虚”", "“阴虚”与“阳虚”"),
        ('"yin" and "yang"', '"yin" and "yang"'),
        ("A: 阿司匹林\nB: 布洛芬", "A: 阿司匹林\nB: 布洛芬"),
        ("问诊时应注意：既往史。", "问诊时应注意：既往史。"),
        ("用法：\n```\n口服\n```", "用法：\n```\n口服\n```"),
        ("答应病人的事要做到。", "答应病人的事要做到。"),
        ("<answer>甲</answer> <answer>乙</answer>", "<answer>甲</answer> <answer>乙</answer>"),
    ],
)
def test_what_models_put_around_a_text_is_taken_off(written, meant):
    assert plain_text(written) == meant


@given(st.text(alphabet='问答题：:QA1. （）()“”"「」`\n水B<think>/', max_size=40))
def test_plain_text_is_one_piece_of_the_text_and_stable(text):
    plain = plain_text(text)
    assert plain in text and plain_text(plain) == plain
