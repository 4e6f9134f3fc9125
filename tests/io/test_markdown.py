"""Markdown: headings are sections, the rest is plain text that reads as the page did."""

from __future__ import annotations

from datatools.io.read import read
from datatools.io.source import ReadOptions, Source
from schemas.document import Document


def documents(text: str, name: str = "notes/guide.md") -> list[Document]:
    found = list(read(Source(name, name, "markdown", data=text.encode()), ReadOptions()))
    assert all(isinstance(item, Document) for item in found)
    return found  # type: ignore[return-value]


def text_of(text: str) -> str:
    return "\n\n".join(document.text for document in documents(text))


PAGE = """---
title: "Asthma care"
license: CC-BY-4.0
---
Opening words.

# Basics #

Setext heading
--------------

Body of **bold** and *slanted* words with `code_x` and a [link](http://x.org/a_(b)).

## Tables

| Drug | Dose |
|------|-----:|
| Salbutamol | 100 µg |

- one
- two
"""


def test_headings_front_matter_tables_and_lists() -> None:
    found = documents(PAGE)
    assert [(document.section, document.text) for document in found] == [
        ((), "Opening words."),
        (("Basics", "Setext heading"), "Body of bold and slanted words with code_x and a link."),
        (("Basics", "Tables"), "Drug | Dose\nSalbutamol | 100 µg\n\n- one\n- two"),
    ]
    assert {(document.title, document.license) for document in found} == {("Asthma care", "CC-BY-4.0")}
    assert all(PAGE[document.offset :][:4] in ("Open", "Body", "| Dr") for document in found)


def test_the_only_top_heading_is_the_title() -> None:
    (first, second) = documents("# 哮喘\n\n定义。\n\n## 治疗\n\n吸入药物。\n")
    assert (first.title, first.section) == ("哮喘", ())
    assert (second.title, second.section) == ("哮喘", ("治疗",))
    assert documents("# 甲\n\n一。\n\n# 乙\n\n二。\n")[0].title == "guide"


def test_fenced_code_is_left_alone() -> None:
    code = "```python\n# not a heading\n\nx = a*b*c_d_e\n```"
    assert text_of(f"before\n\n{code}\n\nafter") == f"before\n\n{code}\n\nafter"


def test_inline_markup_becomes_plain_text() -> None:
    assert text_of("![图](a.png)白细胞 10<sup>9</sup>/L，H<sub>2</sub>O") == "白细胞 10⁹/L，H₂O"
    assert text_of("snake_case_word and 2*3*4 and 5 * 6") == "snake_case_word and 2*3*4 and 5 * 6"
    assert text_of("**血压**：~~120~~ 130 \\* 见<https://x.org/a_b_c>") == "血压：120 130 * 见https://x.org/a_b_c"
    assert text_of("[药物][1] 与 [[a]](b)\n\n[1]: http://x.org 'x'") == "药物 与 [a]"
    assert text_of("a<!-- secret\n\n# x -->b").replace(" ", "") == "a\n\nb"
    assert text_of("> 引文一\n> 引文二") == "引文一\n引文二"
    assert text_of("一\n\n***\n\n二") == "一\n\n二"
