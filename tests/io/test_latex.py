"""LaTeX: sectioning is kept, markup becomes text that a reader would write by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from datatools.io.files import discover
from datatools.io.read import read
from datatools.io.source import Fault, ReadOptions, Source
from schemas.document import Document


def documents(text: str, name: str = "chapter.tex") -> list[Document]:
    found = list(read(Source(name, name, "latex", data=text.encode()), ReadOptions()))
    if [getattr(item, "rule", "") for item in found] == ["empty_file"]:
        return []
    assert all(isinstance(item, Document) for item in found)
    return found  # type: ignore[return-value]


def text_of(text: str) -> str:
    return "\n\n".join(document.text for document in documents(text))


def test_sections_and_offsets() -> None:
    text = "\\chapter{心 脏}\n开头。% 注释 \\section{假}\n\\section*{病因}\n\\paragraph{遗传}\n家族史。\n"
    text += "\\section{治疗}\n休息。"
    found = documents(text)
    assert [(d.title, d.section, d.text) for d in found] == [
        ("心脏", (), "开头。"),
        ("心脏", ("病因", "遗传"), "家族史。"),
        ("心脏", ("治疗",), "休息。"),
    ]
    assert [text[d.offset :][:2] for d in found] == ["开头", "家族", "休息"]
    assert found[0].source_type == "book"


def test_a_preamble_without_body_gives_nothing() -> None:
    assert documents("\\documentclass{book}\n\\usepackage{ctex}\n") == []
    (document,) = documents(
        "\\documentclass{book}\\title{内科\\textbf{学}}\\begin{document}\\maketitle 正文。\\end{document}"
    )
    assert (document.title, document.text) == ("内科学", "正文。")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"\textbf{重要}：70\%的\emph{患者}", "重要：70%的患者"),
        (r"白细胞 $10^9$/L，$\mu g$，Ca$^{2+}$，H$_{2}$O", "白细胞 10⁹/L，μg，Ca²⁺，H₂O"),
        (r"Cl\textsuperscript{－} 与 CO\textsubscript{2}", "Cl⁻与 CO₂"),
        (r"\ce{HPO4^2-}、\ce{HCO3-}、\ce{Na+}、\ce{H2CO3}", "HPO₄²⁻、HCO₃⁻、Na⁺、H₂CO₃"),
        (r"$\frac{a+b}{c}\times100\%$", "(a+b)/c×100%"),
        ("（图\\ref{fig4-1}）\\label{x}\\hspace{2em}\\vspace*{1cm}见", "（图4-1）见"),
        ("chronic\nbronchitis", "chronic bronchitis"),
        ("慢性\n支气管炎", "慢性支气管炎"),
        ("免疫系统------淋巴，pp. 3--5, ``quoted''", "免疫系统——淋巴，pp. 3–5, “quoted”"),
        (r"\href{http://x.org}{网页}\url{http://y.org}", "网页http://y.org"),
        (r"\protect\hyperlink{a.html}{\textsuperscript{{[}1{]}}}", "[1]"),
        (r"\textcircled{11}caf\'e, na\"{\i}ve", "⑪café, naïve"),
        ("第一行\\\\[2pt]第二行~三", "第一行\n第二行 三"),
        (r"$\{a\}$ 与 \verb|a_b|", "{a} 与 a_b"),
        ("甲\\footnote{注\\textbf{释}。}乙。\n\n丙。", "甲乙。\n注释。\n\n丙。"),
        ("\\begin{itemize}\n\\item 一\n\\item 二\n\\end{itemize}", "- 一\n- 二"),
        ("\\begin{enumerate}\n\\item 一\n\\item 二\n\\end{enumerate}", "1. 一\n2. 二"),
        ("\\begin{verbatim}\n\\x{y} % z\n\\end{verbatim}", "\\x{y}"),
        (r"\unknown[opt]{留下}", "留下"),
        ("{\\small 小字} \\noindent\\centering 正文", "小字 正文"),
    ],
)
def test_markup_becomes_text(source: str, expected: str) -> None:
    assert text_of(source) == expected


def test_tables_and_figures() -> None:
    table = r"""\begin{table}[htbp]\centering\caption{免疫程序}\label{t}
\begin{tabular}{ll}\toprule 年份&剂量／mL\\ \midrule
\multirow{2}*{第1年} & 0.5\\ \multicolumn{1}{c}{A \& B} & 1\\ \bottomrule\end{tabular}\end{table}"""
    assert text_of(table) == "免疫程序\n\n年份 | 剂量／mL\n第1年 | 0.5\nA & B | 1"
    long = r"""\begin{longtable}{cc}\caption{表}\tabularnewline\toprule 甲&乙\tabularnewline\midrule\endfirsthead
\toprule 甲&乙\tabularnewline\endhead 一&二\tabularnewline\end{longtable}"""
    assert text_of(long) == "表\n\n甲 | 乙\n一 | 二"
    figure = r"\begin{figure}[!htbp]\includegraphics[width=.6\textwidth]{./a.jpg}\captionsetup{x=y}\caption{防线}"
    assert text_of(figure + r"\end{figure}") == "防线"


@pytest.mark.parametrize(
    "text", ["{未闭合", "闭合}", "$x", r"\begin{table} 半截", "\\", r"\textbf", r"\frac{1}", "\\footnote{"]
)
def test_broken_markup_is_survived(text: str) -> None:
    assert not re.search(r"[{}$]", text_of(text))


@pytest.mark.slow
def test_no_markup_is_left_in_the_real_textbooks(real_data: Path) -> None:
    sources, _ = discover([str(real_data / "textbooks-tex")])
    found = [item for source in sources for item in read(source, ReadOptions())]
    assert len(found) > 3_000
    for document in found:
        if isinstance(document, Fault):  # a file of macros
            assert document.rule == "empty_file"
            continue
        assert isinstance(document, Document)
        assert not re.search(r"[\\{}$\x00-\x08]", document.text + document.title + "".join(document.section))
