"""Graphs from files of every layout; a broken file is told by file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datatools.graph.graph import Graph
from datatools.graph.read import read_graph, relation_column
from schemas.records import TRIPLE

TRIPLES = [("麻黄汤", "组成", "麻黄"), ("麻黄汤", "组成", "桂枝"), ("麻黄", "归经", "肺经"), ("桂枝", "药性", "温")]


def read(tmp_path: Path, name: str, text: str | bytes) -> Graph:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_graph(str(path))


def said(graph: Graph) -> list[tuple[str, str, str]]:
    return [triple[:3] for triple in graph.triples]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)], ids=["relation second", "relation last"])
@pytest.mark.parametrize(("suffix", "mark"), [("tsv", "\t"), ("csv", ","), ("txt", "\t")])
def test_columns_in_either_order(tmp_path: Path, order: tuple[int, ...], suffix: str, mark: str) -> None:
    lines = [mark.join(triple[place] for place in order) for triple in TRIPLES]
    graph = read(tmp_path, f"kg.{suffix}", "\n".join(lines) + "\n")
    assert said(graph) == TRIPLES
    names = [("head", "relation", "tail")[place] for place in order]
    assert graph.notes == [f"kg.{suffix}: columns are {', '.join(names)}"]


def test_a_header_names_the_columns(tmp_path: Path) -> None:
    text = "tail\thead\trelation\n麻黄\t麻黄汤\t组成\n"
    assert said(read(tmp_path, "kg.tsv", text)) == [("麻黄汤", "组成", "麻黄")]
    text = "头实体,关系,尾实体\n麻黄汤,组成,麻黄\n"
    assert said(read(tmp_path, "kg.csv", text)) == [("麻黄汤", "组成", "麻黄")]


def test_gb18030(tmp_path: Path) -> None:
    text = "\n".join("\t".join(triple) for triple in TRIPLES)
    assert said(read(tmp_path, "kg.tsv", text.encode("gb18030"))) == TRIPLES


def test_json_lines_by_name_and_by_type(tmp_path: Path) -> None:
    lines = [
        json.dumps({"head": "麻黄汤", "relation": "组成", "tail": "麻黄"}),
        json.dumps({"Formula": "桂枝汤", "Herb": "桂枝", "Relation": "HAS_HERB"}),
    ]
    graph = read(tmp_path, "kg.jsonl", "\n".join(lines))
    assert said(graph) == [("麻黄汤", "组成", "麻黄"), ("桂枝汤", "HAS_HERB", "桂枝")]
    assert [triple.head_type for triple in graph.triples] == ["formula", "formula"]
    assert [triple.tail_type for triple in graph.triples] == ["herb", "herb"]


def test_typed_nodes_with_attributes(tmp_path: Path) -> None:
    nodes = [
        {
            "id": 1,
            "name": "麻黄",
            "label": "Herb",
            "attributes": {"name_cn": "麻黄", "property_cn": "辛，温", "x": "NA"},
        }
    ]
    graph = read(tmp_path, "herbs.json", json.dumps(nodes))
    assert graph.nodes == {"herb": {"麻黄"}}
    assert said(graph) == [("麻黄", "property_cn", "辛，温")]


def test_nodes_and_edges_in_one_object(tmp_path: Path) -> None:
    value = {
        "nodes": [{"name": "麻黄", "label": "Herb", "properties": {"功效": ["发汗解表", "宣肺平喘"]}}],
        "edges": [{"source": "麻黄汤", "type": "组成", "target": "麻黄"}],
    }
    assert said(read(tmp_path, "kg.json", json.dumps(value))) == [
        ("麻黄", "功效", "发汗解表"),
        ("麻黄", "功效", "宣肺平喘"),
        ("麻黄汤", "组成", "麻黄"),
    ]


def test_types_come_from_relations_and_from_one_another(tmp_path: Path) -> None:
    lines = [
        "麻黄汤\t组成\t麻黄",
        "麻黄\t主治\t风寒感冒",
        "麻黄汤\t主治\t外感风寒表实证",
        "某物\t主治\t某病",
        "当归\t主治\t血虚萎黄",
    ]
    graph = read(tmp_path, "kg.tsv", "\n".join(lines))
    assert [triple.head_type for triple in graph.triples] == ["formula", "herb", "formula", "", ""]


def test_our_own_triples(tmp_path: Path) -> None:
    rows = [dict(zip(TRIPLE.names, (*triple, "", "", "x"), strict=True)) for triple in TRIPLES]
    pq.write_table(pa.Table.from_pylist(rows, schema=TRIPLE), tmp_path / "kg.parquet")
    assert said(read_graph(str(tmp_path / "kg.parquet"))) == TRIPLES


def test_a_folder_is_one_graph_and_repeats_count_once(tmp_path: Path) -> None:
    text = "\n".join("\t".join(triple) for triple in TRIPLES)
    (tmp_path / "a.tsv").write_text(text, "utf-8")
    (tmp_path / "b.tsv").write_text(text, "utf-8")
    (tmp_path / "readme.md").write_text("# graph", "utf-8")
    graph = read_graph(str(tmp_path))
    assert said(graph) == TRIPLES
    assert graph.repeated == len(TRIPLES)
    assert "readme.md: left out, no graph in a markdown file" in graph.notes


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("kg.tsv", "麻黄汤\t组成\t麻黄\n麻黄汤\t麻黄\n", "kg.tsv:2: 2 cells"),
        ("kg.csv", "head,relation,tail\n麻黄汤,组成\n", "kg.csv:2: 2 cells"),
        ("kg.jsonl", '{"head": "a", "relation": "b", "tail": "c"}\n{"head": \n', "kg.jsonl:2: not JSON"),
        ("kg.jsonl", '{"head": "a"}\n', "kg.jsonl:1: no triple"),
        ("kg.jsonl", "[1]\n", "kg.jsonl:1: an object is needed"),
        ("kg.json", '[\n{"name": "a",\n oops}\n]', "kg.json:3: not JSON"),
        ("kg.json", "{'python': 'repr'}", "kg.json:1: not JSON"),
        ("kg.json", '["a"]', "kg.json: item 1: an object"),
        ("kg.json", '[{"name": "a", "label": "Herb", "attributes": 3}]', "kg.json: item 1: its attributes"),
        ("kg.json", "[]", "no triples there"),
        ("kg.tsv", "\n\n", "no triples there"),
        ("kg.parquet", "no parquet", "kg.parquet: "),
    ],
)
def test_what_is_broken_is_said(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(ValueError, match="kg") as error:
        read(tmp_path, name, text)
    assert said in str(error.value)


@given(st.lists(st.tuples(*[st.text("甲乙丙丁戊", min_size=1, max_size=4)] * 2), min_size=9, unique=True))
def test_the_column_of_few_values_is_the_relation(ends: list[tuple[str, str]]) -> None:
    heads, tails = {head for head, _ in ends}, {tail for _, tail in ends}
    if len(heads) > 1 and len(tails) > 1:
        assert relation_column([(head, "组成", tail) for head, tail in ends]) == 1
        assert relation_column([(head, tail, "组成") for head, tail in ends]) == 2


def test_the_real_graphs(real_data: Path) -> None:
    graph = read_graph(str(real_data / "kg" / "tcm-kg-sample.tsv"))
    assert len(graph.triples) == 43
    assert graph.notes == ["tcm-kg-sample.tsv: columns are head, tail, relation"]
    graph = read_graph(str(real_data / "kg" / "lifafangyao"))
    assert sum(triple.source == "relation.jsonl" for triple in graph.triples) > 13_000
    assert len(graph.nodes) == 7
