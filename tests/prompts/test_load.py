"""Prompt files: complete, overlaid by the user's, and deaf to what users put into variables."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts.load import load, read
from schemas.document import SOURCE_TYPES

VARIABLES = {"passage": "甘草味甘平。", "title": "本草", "section": "上品", "question": "甘草何味？", "asked": []}
FRONT = "---\nid: mine\nversion: 3\nlanguage: zh\nsource_type: {kind}\nstep: question\n---\n"


def own(folder: Path, kind: str = "book", body: str = "## user\n{{ passage }}\n", name: str = "") -> Path:
    path = folder / (name or f"question.zh.{kind}.md")
    path.write_text(FRONT.format(kind=kind) + body, encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", SOURCE_TYPES)
@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("step", ["question", "answer"])
def test_every_source_type_has_its_prompt(step: str, language: str, kind: str) -> None:
    prompt = load("unify", step, language, kind)
    assert (prompt.language, prompt.source_type, prompt.id) == (language, kind, f"unify.{step}.{language}.{kind}")
    system, user = prompt.messages(**VARIABLES)
    assert (system["role"], user["role"]) == ("system", "user")
    assert "甘草味甘平。" in user["content"]
    assert user["content"].count("\n") < 15 and "{" not in system["content"] + user["content"]


def test_the_system_message_is_the_same_for_every_row() -> None:
    prompt = load("unify", "answer", "zh", "classic")
    other = {**VARIABLES, "passage": "x", "question": "y", "title": ""}
    assert prompt.messages(**VARIABLES)[0] == prompt.messages(**other)[0]
    assert prompt.messages(**VARIABLES)[1]["content"].endswith("甘草何味？")


def test_questions_already_asked_are_shown() -> None:
    text = load("unify", "question", "en", "web").messages(**VARIABLES | {"asked": ["What is it?", "Why?"]})[1][
        "content"
    ]
    assert text.endswith("- What is it?\n- Why?")


def test_braces_and_templates_in_a_passage_come_through_untouched() -> None:
    nasty = "{{ title }} {% if x %} {# c #} {0} %s <b>&amp;</b> ## system\n---"
    assert nasty in load("unify", "question", "zh", "book").messages(**VARIABLES | {"passage": nasty})[1]["content"]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_passage_comes_through(text: str) -> None:
    content = load("unify", "answer", "en", "book").messages(**VARIABLES | {"passage": text})[1]["content"]
    assert text in content


def test_the_users_folder_stands_before_the_shipped_one(tmp_path: Path) -> None:
    own(tmp_path)
    assert load("unify", "question", "zh", "book", tmp_path).name.startswith("mine@3#")
    assert load("unify", "question", "zh", "web", tmp_path).id == "unify.question.zh.web"
    (tmp_path / "unify").mkdir()
    (tmp_path / "unify" / "question.zh.book.md").write_text(FRONT.format(kind="book") + "## user\nnearer", "utf-8")
    assert load("unify", "question", "zh", "book", tmp_path).messages()[0]["content"] == "nearer"


def test_a_source_type_without_a_file_falls_back_to_other() -> None:
    assert load("unify", "question", "zh", "leaflet").source_type == "other"
    with pytest.raises(FileNotFoundError, match=r"question\.fr\.book\.md"):
        load("unify", "question", "fr", "book")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load("unify", "question", "zh", "book", "/nowhere/at/all")


def test_the_hash_changes_with_the_file(tmp_path: Path) -> None:
    first = read(own(tmp_path)).hash
    assert read(own(tmp_path, body="## user\n{{ passage }}.\n")).hash != first
    windows = own(tmp_path)
    windows.write_bytes(windows.read_bytes().replace(b"\n", b"\r\n"))
    assert read(windows).hash == first


def test_a_variable_that_is_not_given_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"question\.zh\.book\.md.*'passage' is undefined"):
        load("unify", "question", "zh", "book").messages(title="", section="", asked=[])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no front matter", r"bad\.md:1: front matter must begin"),
        ("---\nid: x\n", r"bad\.md:3: front matter has no closing"),
        ("---\nid: x\ncolour: red\n---\n", r"bad\.md:3: 'colour: red' is none of"),
        ("---\nid: x\n---\n## user\n", r"bad\.md:3: front matter lacks version"),
        (FRONT.format(kind="novel") + "## user\n", r"bad\.md:7: source_type 'novel'"),
        (FRONT.format(kind="web") + "just text\n", r"bad\.md:8: one part '## user' needed"),
        (FRONT.format(kind="web") + "## user\nfine\n{{ oops\n", r"bad\.md:1[01]:"),
        (FRONT.format(kind="web") + "## system\nx\n## user\nfine\n{% if %}\n", r"bad\.md:12:"),
    ],
)
def test_a_broken_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read(path)
