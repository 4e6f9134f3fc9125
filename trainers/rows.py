"""Rows of training files, each with its place: parquet without polars, and JSON Lines, compressed or not."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

BATCH = 256  # rows; of books they may be long
READ = "parquet, JSON Lines (.jsonl, .ndjson) and JSON lists (.json), these with .gz too, are read"


@dataclass(frozen=True)
class Row:
    """A row and where it stands: `sft.parquet:17`, counted from 1; for JSON Lines the line."""

    place: str
    values: Mapping[str, Any]


def read_rows(paths: Sequence[str], limit: int | None = None) -> Iterator[Row]:
    """All rows of the files, in order. Raises ValueError, naming file and line, for what cannot be read."""
    return islice(chain.from_iterable(_rows(Path(path)) for path in paths), limit)


def columns(path: str) -> list[str]:
    """Names of the columns of a file, of its first row for JSON. Raises ValueError where there is no row."""
    found = Path(path)
    if found.suffix == ".parquet":
        with _parquet(found) as file:
            if file.metadata.num_rows == 0:
                raise ValueError(f"{path}: holds no rows")
            return list(file.schema_arrow.names)
    first = next(_rows(found), None)
    if first is None:
        raise ValueError(f"{path}: holds no rows")
    return list(first.values)


def sha256(path: str) -> str:
    """Hash of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def interleaved(rows: Iterable[Row], general: Callable[[], Iterable[Row]], share: float) -> Iterator[Row]:
    """`rows` in their order with `general` ones spread evenly among them, as the given share of the result.

    General rows come in their order, from the start again where there are too few.

    >>> [row.place for row in interleaved([Row(f"a{n}", {}) for n in range(4)], lambda: [Row("g", {})], 0.2)]
    ['a0', 'a1', 'a2', 'a3', 'g']
    """
    due = 0.0
    more = chain.from_iterable(general() for _ in count())
    for row in rows:
        yield row
        due += share / (1 - share)
        while due + 1e-9 >= 1:
            yield next(more)
            due -= 1


def _rows(path: Path) -> Iterator[Row]:
    kind = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:])
    if path.is_dir() or not path.exists():
        raise ValueError(f"{path}: {'is a folder; name its files' if path.is_dir() else 'no such file'}")
    if kind == ".parquet":
        return _parquet_rows(path)
    if kind.removesuffix(".gz") in (".jsonl", ".ndjson"):
        return _lines(path)
    if kind.removesuffix(".gz") == ".json":
        return _lines(path) if _begins(path) == b"{" else _list(path)
    raise ValueError(f"{path}: {READ}")


def _parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: is no parquet file ({str(error).splitlines()[0]})") from error


def _parquet_rows(path: Path) -> Iterator[Row]:
    with _parquet(path) as file:
        number = 0
        try:
            for batch in file.iter_batches(BATCH):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(f"{path.name}:{number}", values)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            said = str(error).splitlines()[0].strip()
            raise ValueError(f"{path.name}:{number + 1}: the file is damaged from about here ({said})") from error


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _begins(path: Path) -> bytes:
    """The first byte of a JSON file that is no space."""
    with _read(path), _open(path) as file:
        return file.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()[:1]


def _lines(path: Path) -> Iterator[Row]:
    with _read(path), _open(path) as lines:
        for number, line in enumerate(lines, 1):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if line.strip():
                yield _row(path, number, _parsed(line, f"{path.name}:{number}"))


def _list(path: Path) -> Iterator[Row]:
    with _read(path), _open(path) as file:
        found = _parsed(file.read().removeprefix(codecs.BOM_UTF8), str(path))
    if not isinstance(found, list):
        raise ValueError(f"{path}: a JSON list of rows is needed")
    for number, values in enumerate(found, 1):
        yield _row(path, number, values)


@contextmanager
def _read(path: Path) -> Iterator[None]:
    """Say which compressed file is damaged."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: is damaged ({error})") from error


def _parsed(text: bytes, where: str) -> Any:
    try:
        return json.loads(text.decode())
    except UnicodeDecodeError as error:
        kind = "UTF-16" if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "GB18030"
        raise ValueError(
            f"{where}: is not UTF-8 (byte {error.start + 1}: {error.reason}); write it anew, such as with "
            f"iconv -f {kind} -t UTF-8"
        ) from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise ValueError(f"{where}: no JSON ({error.msg}, {place}character {error.colno})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: no JSON that can be read ({str(error).partition(';')[0]})") from error


def _row(path: Path, number: int, values: object) -> Row:
    if not isinstance(values, dict):
        raise ValueError(f"{path.name}:{number}: an object with named columns is needed")
    return Row(f"{path.name}:{number}", values)
