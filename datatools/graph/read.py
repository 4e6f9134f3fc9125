"""Graphs from files: triples in TSV, CSV, JSON Lines, JSON or parquet, and JSON files of typed nodes with attributes.

A broken file is an error that names file and line: half a graph makes wrong questions, so nothing is skipped here.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datatools.graph.graph import Graph, Triple, type_of
from datatools.io.encoding import decode
from datatools.io.files import discover
from datatools.io.source import Source

_HEAD = ("head", "subject", "h", "source", "start", "头实体", "头", "实体1", "主语")
_RELATION = ("relation", "relationship", "predicate", "rel", "type", "r", "关系", "谓语")
_TAIL = ("tail", "object", "t", "target", "end", "尾实体", "尾", "实体2", "宾语")
_HEAD_TYPE = ("head_type", "subject_type", "头实体类型", "头类型")
_TAIL_TYPE = ("tail_type", "object_type", "尾实体类型", "尾类型")
_NODE_NAME, _NODE_TYPE, _ATTRIBUTES = (
    ("name", "名称"),
    ("label", "type", "类型", "category"),
    ("attributes", "properties", "attrs"),
)
_NOTHING = frozenset(("", "na", "n/a", "nan", "none", "null", "-", "无", "不详"))
_EDGES = ("edges", "relations", "relationships", "links", "triples")
FORMATS = ("tsv", "csv", "txt", "jsonl", "json", "parquet")


def read_graph(path: str) -> Graph:
    """The graph in a file, or in all files of a folder together. Raises ValueError, naming file and line."""
    sources, faults = discover([path])
    if faults and not sources:
        raise ValueError(f"{path}: {faults[0].message}")
    graph = Graph()
    for source in sources:
        if source.format not in FORMATS:
            graph.notes.append(f"{source.name}: left out, no graph in a {source.format} file")
            continue
        _read(source, graph)
    if not graph.triples:
        raise ValueError(f"{path}: no triples there (TSV, CSV, JSON Lines, JSON or parquet of head, relation, tail)")
    graph.settle_types()
    return graph


def _read(source: Source, graph: Graph) -> None:
    if source.format == "parquet":
        graph.add(_from_parquet(source))
        return
    try:
        text = decode(source.read()).text
    except (OSError, EOFError, ValueError) as error:
        raise ValueError(f"{source.name}: {error}") from error
    if source.format == "json":
        _from_json(text, source.name, graph)
    elif source.format == "jsonl":
        for number, row in _json_lines(text, source.name):
            graph.add([_from_row(row, f"{source.name}:{number}", source.name)])
    else:
        graph.add(_from_table(text, source, graph))


def _json_lines(text: str, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{name}:{number}: not JSON ({error})") from None
        if not isinstance(row, dict):
            raise ValueError(f"{name}:{number}: an object is needed, this is {line.strip()[:40]!r}")
        yield number, row


def _from_json(text: str, name: str, graph: Graph) -> None:
    try:
        value = json.loads(text)
    except ValueError as error:
        rows = text.split("\n")
        if len(rows) > 1 and rows[0].strip().startswith("{") and rows[0].strip().endswith("}"):
            for number, row in _json_lines(text, name):  # lines of JSON under the name .json
                graph.add([_from_row(row, f"{name}:{number}", name)])
            return
        line = getattr(error, "lineno", 1)
        raise ValueError(f"{name}:{line}: not JSON ({getattr(error, 'msg', error)})") from None
    if isinstance(value, dict):
        nodes: list[Any] = next((value[key] for key in ("nodes", "entities") if key in value), [])
        edges: list[Any] = next((value[key] for key in _EDGES if key in value), [])
        value = [*nodes, *edges]
    if not isinstance(value, list):
        raise ValueError(f"{name}:1: a list of nodes or triples is needed")
    for number, row in enumerate(value, 1):
        place = f"{name}: item {number}"
        if not isinstance(row, dict):
            raise ValueError(f"{place}: an object is needed, this is {str(row)[:40]!r}")
        if (attributes := _value(row, _ATTRIBUTES)) is not None and _value(row, _NODE_NAME):
            _add_node(row, attributes, place, name, graph)
        else:
            graph.add([_from_row(row, place, name)])


def _add_node(row: Mapping[str, Any], attributes: Any, place: str, source: str, graph: Graph) -> None:
    name, type_ = _text(_value(row, _NODE_NAME)), type_of(_text(_value(row, _NODE_TYPE)))
    if not isinstance(attributes, dict):
        raise ValueError(f"{place}: its attributes must be an object")
    graph.nodes.setdefault(type_, set()).add(name)
    for key, cell in attributes.items():
        for text in map(_text, cell if isinstance(cell, list) else [cell]):
            if text.casefold() not in _NOTHING and text != name:
                graph.add([Triple(name, key, text, type_, "", source)])


def _from_row(row: Mapping[str, Any], place: str, source: str) -> Triple:
    """A triple by its named columns, or by two keys that are node types and one that is the relation."""
    head, relation, tail = (_value(row, names) for names in (_HEAD, _RELATION, _TAIL))
    if head is not None and tail is not None:
        if isinstance(head, dict) or isinstance(tail, dict):
            raise ValueError(f"{place}: head and tail must be names, not objects")
        head_type, tail_type = (type_of(_text(_value(row, names))) for names in (_HEAD_TYPE, _TAIL_TYPE))
        return _typed(Triple(_text(head), _text(relation), _text(tail), head_type, tail_type, source))
    ends = [(key, cell) for key, cell in row.items() if key.casefold() not in _RELATION]
    if len(ends) == 2 and all(isinstance(cell, str | int | float) for _, cell in ends):
        (head_type, head), (tail_type, tail) = ends
        return Triple(_text(head), _text(relation), _text(tail), type_of(head_type), type_of(tail_type), source)
    raise ValueError(f"{place}: no triple; head, relation and tail are needed, there are {', '.join(row) or 'no keys'}")


def _from_table(text: str, source: Source, graph: Graph) -> Iterator[Triple]:
    first = next((line for line in text.split("\n") if line.strip()), "")
    delimiter = "\t" if "\t" in first else ","
    rows = [(number, cells) for number, cells in _cells(text, delimiter, source.name) if any(cells)]
    if not rows:
        return
    header = [cell.casefold() for cell in rows[0][1]]
    if any(cell in _HEAD for cell in header) and any(cell in _TAIL for cell in header):
        for number, cells in rows[1:]:
            if len(cells) != len(header):
                raise ValueError(
                    f"{source.name}:{number}: {len(cells)} cells, the first line names {len(header)} columns"
                )
            yield _from_row(dict(zip(header, cells, strict=True)), f"{source.name}:{number}", source.name)
        return
    for number, cells in rows:
        if len(cells) != 3:
            raise ValueError(
                f"{source.name}:{number}: {len(cells)} cells, a triple has 3 (head, relation, tail in any order)"
            )
    place = relation_column([cells for _, cells in rows])
    order = ["head", "tail"]
    order.insert(place, "relation")
    graph.notes.append(f"{source.name}: columns are {', '.join(order)}")
    for _, cells in rows:
        ends = [cell for column, cell in enumerate(cells) if column != place]
        yield _typed(Triple(ends[0], cells[place], ends[1], "", "", source.name))


def _cells(text: str, delimiter: str, name: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(
        io.StringIO(text), delimiter=delimiter, quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    )
    try:
        for cells in reader:
            yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise ValueError(f"{name}:{reader.line_num}: {error}") from None


def relation_column(rows: Sequence[Sequence[str]]) -> int:
    """Which of three columns is the relation: the one with the fewest different values; head, relation, tail if equal.

    >>> relation_column([("榧子", "平", "药性"), ("当归", "温", "药性"), ("腹痛", "寒证", "证候")])
    2
    """
    different = [len({row[column] for row in rows}) for column in range(3)]
    return min((1, 2, 0), key=lambda column: different[column])


def _typed(triple: Triple) -> Triple:
    """Types that the relation's own name tells: 药性 leads to a property, 组成 from a formula to a herb."""
    from datatools.graph.kinds import types_of_relation

    head, tail = types_of_relation(triple.relation)
    return triple._replace(head_type=triple.head_type or head, tail_type=triple.tail_type or tail)


def _from_parquet(source: Source) -> Iterator[Triple]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(Path(source.path)).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{source.name}: {str(error).splitlines()[0]}") from error
    for number, row in enumerate(rows, 1):
        yield _from_row(row, f"{source.name}:{number}", source.name)


def _value(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    folded = {key.casefold(): value for key, value in row.items()}
    return next((folded[name] for name in names if name in folded), None)


def _text(cell: Any) -> str:
    return " ".join(str(cell).split()) if cell is not None else ""
