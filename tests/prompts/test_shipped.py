"""Every shipped prompt renders with what its job gives it, in both languages, and says what it must."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datatools.graph.plan import TASKS, UNANSWERABLE, VOICES
from prompts.load import SHIPPED, read

FILES = sorted(SHIPPED.glob("*/*.md"))
# What the jobs hand over, by job and step: a prompt that asks for anything else fails here.
_PASSAGE = {"passage": "甘草味甘平。", "title": "本草", "section": "上品", "question": "甘草何味？", "asked": ["一？"]}
_CLINICIAN = {"said": "头痛三天", "turn": 8, "least": 3, "most": 8}
_CASE = {"persona": "45-59岁", "volunteered": ["头痛"], "on_asking": ["没发热"]}
_TALK = [{"role": "user", "content": "头痛"}, {"role": "assistant", "content": "多久了？"}]
_PLAN = {
    "facts": ["甘草｜药味｜甘"],
    "subject": "甘草",
    "subject_type": "中药",
    "focus": "甘草｜药味｜甘",
    "task": "qa",
    "voice": "student",
    "question": "甘草何味？",
    **dict.fromkeys(("other", "sort", "premise"), ""),
}
GIVEN: dict[str, dict[str, dict[str, Any]]] = {
    "unify": {"question": _PASSAGE, "answer": _PASSAGE},
    "dialogue": {
        "patient": {**_CASE, "said": "多久了？"},
        **dict.fromkeys(("doctor", "nurse", "pharmacist", "tcm"), _CLINICIAN),
        "single": {**_CASE, "unknown": ["偏头痛"], "role": "tcm", "least": 3, "most": 8},
        "facts": {"text": "头痛三天", "conclusion": "偏头痛", "title": ""},
        "article": {"text": "头痛三天", "conclusion": "", "title": "偏头痛"},
        "rewrite": {"history": _TALK, "text": "多休息"},
        "system": {"role": "nurse"},
    },
    "prefer": {
        "answer": {"question": "头痛怎么办？", "source": "", "length": 120},
        "judge": {"question": "头痛怎么办？", "source": "头痛者", "answers": [("A", "多休息"), ("B", "喝水")]},
    },
    "evaluate": {
        "exam": {"question": "首选的方剂是", "options": [("A", "甲"), ("B", "乙")], "kind": "", "form": "stated"},
        "ner": {"text": "胃癌术后", "types": ["疾病", "手术"]},
        "pairwise": {"question": "头痛怎么办？", "first": "多休息", "second": "喝水"},
        "clinician": _CLINICIAN,
        "consult": {"diagnosis": "偏头痛", "turns": _TALK},
    },
    "tcm": dict.fromkeys(("question", "answer"), _PLAN),
    "consult": {"answer": {"question": "头痛怎么办？"}, "judge": {"question": "头痛怎么办？", "answer": "多休息"}},
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_prompt_renders_with_what_its_job_gives(path: Path) -> None:
    step, language, _, _ = path.name.split(".")
    messages = read(path).messages(**GIVEN[path.parent.name][step])
    for message in messages:
        assert message["content"] and "{{" not in message["content"] and "{%" not in message["content"]
    assert read(path).language == language


@pytest.mark.parametrize("job", ["dialogue", "consult", "tcm", "prefer", "evaluate"])
def test_every_step_is_there_in_both_languages(job: str) -> None:
    for step in GIVEN[job]:
        for language in ("zh", "en"):
            assert (SHIPPED / job / f"{step}.{language}.other.md").is_file()


@pytest.mark.parametrize("language", ["zh", "en"])
def test_tcm_has_words_for_every_task_and_voice(language: str) -> None:
    for step in ("question", "answer"):
        prompt = read(SHIPPED / "tcm" / f"{step}.{language}.other.md")
        said = set()
        for task in TASKS:
            for sort in UNANSWERABLE if task == "unanswerable" else ("",):
                user = prompt.messages(**{**_PLAN, "task": task, "sort": sort, "premise": "甘草味苦"})[-1]["content"]
                assert "甘草味苦" in user or sort != "false_premise"
                said.add(user)
        assert len(said) == len(TASKS) - 1 + len(UNANSWERABLE)
        for voice in VOICES:
            prompt.messages(**{**_PLAN, "voice": voice})


def test_the_clinician_is_told_when_to_end_and_never_sees_a_case() -> None:
    for path in FILES:
        if path.parent.name == "dialogue" and path.name.split(".")[0] in ("doctor", "nurse", "pharmacist", "tcm"):
            system, user = read(path).messages(**_CLINICIAN)
            assert "[END]" in system["content"] and "[END]" in user["content"]
            assert "[END]" not in read(path).messages(**{**_CLINICIAN, "turn": 2})[1]["content"]
