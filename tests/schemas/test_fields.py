"""Schemas: what a file says it holds is checked before a row is read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.conversation import CONVERSATION
from schemas.document import DOCUMENT
from schemas.fields import check, field, name_of, schema
from schemas.records import CASE, EXAM_ITEM, PREFERENCE, TRIPLE
from schemas.trace import FAILED, TRACE

ALL = (CASE, CONVERSATION, DOCUMENT, EXAM_ITEM, FAILED, PREFERENCE, TRACE, TRIPLE)
DRUG = schema("drug/1", field("name", pa.string(), "generic name"), field("dose", pa.float64(), "milligrams"))


@pytest.mark.parametrize("expected", ALL, ids=name_of)
def test_name_and_version_survive_a_parquet_file(expected: pa.Schema, tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    pq.write_table(expected.empty_table(), path)
    found = pq.read_schema(path)
    check(found, expected, path)
    assert name_of(found) == name_of(expected)
    assert name_of(found).split("/")[1] == "1"


@pytest.mark.parametrize("expected", ALL, ids=name_of)
def test_every_field_says_what_it_holds(expected: pa.Schema, tmp_path: Path) -> None:
    path = tmp_path / "records.parquet"
    pq.write_table(expected.empty_table(), path)
    for column in pq.read_schema(path):
        assert column.metadata[b"meaning"].strip(), column.name


def test_another_kind_of_record_is_named_with_the_file() -> None:
    with pytest.raises(ValueError, match=r"sft\.parquet: holds document/1 records, conversation/1 needed"):
        check(DOCUMENT, CONVERSATION, "sft.parquet")


def test_another_version_is_another_record() -> None:
    with pytest.raises(ValueError, match="holds drug/2 records, drug/1 needed"):
        check(schema("drug/2", *DRUG), DRUG, "drugs.parquet")


def test_a_missing_field_is_named_with_the_file() -> None:
    with pytest.raises(ValueError, match=r"drugs\.parquet: field 'dose' of drug/1 is missing"):
        check(pa.schema([pa.field("name", pa.string())]), DRUG, Path("drugs.parquet"))


def test_a_field_of_another_type_is_named_with_both_types() -> None:
    found = pa.schema([pa.field("name", pa.string()), pa.field("dose", pa.string())])
    with pytest.raises(ValueError, match=r"drugs\.parquet: field 'dose' is string, drug/1 has double"):
        check(found, DRUG, "drugs.parquet")


def test_a_file_without_a_name_passes_by_its_fields_and_may_hold_more() -> None:
    found = pa.schema([pa.field("dose", pa.float64()), pa.field("note", pa.string()), pa.field("name", pa.string())])
    assert name_of(found) == ""
    check(found, DRUG, "drugs.parquet")
