"""The wrong formula by the graph: only where the graph says both that the right one is right and the other is not."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.checks.lexicon import shipped
from datatools.corrupt.formulas import Formulas
from datatools.graph.facts import facts_of
from datatools.graph.graph import Graph, Triple
from datatools.graph.known import with_names_of

# Formula: what it is for, what it does.
TREATED = {
    "麻黄汤": ("用于外感风寒表实证，恶寒发热，无汗而喘", "发汗解表，宣肺平喘"),
    "桂枝汤": ("用于外感风寒表虚证，发热头痛，汗出恶风", "解肌发表，调和营卫"),
    "归脾汤": ("用于心脾两虚，失眠健忘，食少体倦", "益气补血，健脾养心"),
    "化虫丸": ("用于虫积腹痛，腹中时有包块", "驱虫"),
    "无名散": ("用于跌打损伤", ""),
}
EDGES = [
    ("感冒", "disease", "has_syndrome", "风寒感冒证", "syndrome"),
    ("风寒感冒证", "syndrome", "代表方", "麻黄汤", "formula"),
]


def graph() -> Graph:
    made = Graph()
    for name, (treats, does) in TREATED.items():
        made.add([Triple(name, "主治", treats, "formula"), *([Triple(name, "功用", does, "formula")] if does else [])])
    made.add(Triple(head, relation, tail, one, other) for head, one, relation, tail, other in EDGES)
    made.add([Triple(name, "病机", "因外邪侵袭肺表所致。", "disease") for name in ("感冒", "失眠", "头痛")])
    return made


@pytest.fixture(scope="module")
def formulas() -> Formulas:
    found = graph()
    lexicon = with_names_of(found, shipped())
    return Formulas(facts_of(found, lexicon), lexicon)


def drawn(formulas: Formulas, question: str, answer: str) -> set[str | None]:
    return {formulas.other(question, answer, Random(seed)) for seed in range(30)}


def test_a_formula_becomes_one_that_treats_something_else(formulas: Formulas) -> None:
    # By an edge of the graph, through the syndrome of a disease; 桂枝汤 acts on the exterior too and could be right.
    found = drawn(formulas, "感冒用什么方？", "宜麻黄汤，麻黄汤发汗力强。")
    assert found == {f"宜{other}，{other}发汗力强。" for other in ("归脾汤", "化虫丸")}
    # By the words of its indications.
    assert drawn(formulas, "失眠怎么办？", "可用归脾汤。") <= {"可用麻黄汤。", "可用桂枝汤。", "可用化虫丸。"}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("麻黄汤能治感冒吗？", "能，麻黄汤主治风寒感冒。"),  # the question asks about it
        ("鼻炎用什么方？", "可用麻黄汤。"),  # the graph does not say that it treats that
        ("感冒用什么方？", "不宜用麻黄汤。"),  # the formula is not meant
        ("感冒用什么方？", "桂枝汤与麻黄汤不同。"),
        ("感冒用什么方？", "多喝热水。"),
        ("跌打损伤用什么？", "可用无名散。"),  # no ailment of the graph
    ],
)
def test_where_the_graph_does_not_say_that_it_gets_worse_nothing_changes(
    formulas: Formulas, question: str, answer: str
) -> None:
    assert drawn(formulas, question, answer) == {None}


@given(st.sampled_from(sorted(TREATED)), st.sampled_from(["感冒", "失眠", "头痛"]), st.integers())
def test_the_other_formula_never_treats_what_was_named(name: str, ailment: str, seed: int) -> None:
    found = graph()
    made = Formulas(facts_of(found, shipped()), with_names_of(found, shipped()))
    worse = made.other(f"{ailment}怎么治？", f"方用{name}。", Random(seed))
    if worse is not None:
        other = worse.removeprefix("方用").removesuffix("。")
        assert ailment in TREATED[name][0] or (ailment, name) == ("感冒", "麻黄汤")
        assert other != name and ailment not in TREATED[other][0]
