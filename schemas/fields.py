"""How a schema is written down: Arrow fields with a meaning, under a name and a version."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

KEY = b"datatools.schema"


def field(name: str, type_: pa.DataType, meaning: str) -> pa.Field:
    """An Arrow field that says what it holds, in which unit."""
    return pa.field(name, type_, metadata={"meaning": meaning})


def schema(name: str, *fields: pa.Field) -> pa.Schema:
    """An Arrow schema that carries its name and version (`document/1`) in its metadata."""
    return pa.schema(fields, metadata={KEY: name.encode()})


def name_of(found: pa.Schema) -> str:
    """The name and version a schema was written under; an empty string when it carries none.

    >>> name_of(schema("triple/1", field("head", pa.string(), "subject")))
    'triple/1'
    """
    return str((found.metadata or {}).get(KEY, b""), "utf-8")


def check(found: pa.Schema, expected: pa.Schema, path: Path | str) -> None:
    """Raise ValueError, naming file and field, unless `found` holds every field of `expected` with its type."""
    if name_of(found) not in ("", name_of(expected)):
        raise ValueError(f"{path}: holds {name_of(found)} records, {name_of(expected)} needed")
    for wanted in expected:
        index = found.get_field_index(wanted.name)
        if index < 0:
            raise ValueError(f"{path}: field {wanted.name!r} of {name_of(expected)} is missing")
        type_ = found.field(index).type
        if not _holds(type_, wanted.type):
            raise ValueError(
                f"{path}: field {wanted.name!r} is {found.field(index).type}, {name_of(expected)} has {wanted.type}"
            )


def _holds(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether values of one type can be read as the other: a struct may have more fields than are asked for."""
    if found == wanted or _plain(found) == _plain(wanted):
        return True
    if not (pa.types.is_struct(found) and pa.types.is_struct(wanted)):
        return False
    return all(
        found.get_field_index(item.name) >= 0 and _holds(found.field(item.name).type, item.type) for item in wanted
    )


def _plain(type_: pa.DataType) -> str:
    # polars writes large_string where Arrow's own writer has string: the same values.
    return str(type_).replace("large_", "")
