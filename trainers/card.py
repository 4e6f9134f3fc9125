"""The model card of a run: what the model was trained on, with which settings, by which command.

It is `README.md` in the run's folder, with the front matter that the Hugging Face hub reads. What it says of the data
is counted in the files themselves.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datatools.io.atomic import atomic_path
from trainers.manifest import versions
from trainers.rows import read_rows

BATCH = 8192  # rows
NAMED = 12  # values of a column that are named; the rest is counted together
# What is counted, and what the card calls it.
COUNTED = {
    "generator": "Generators",
    "prompt_id": "Prompts",
    "judge": "Judges",
    "license": "Licences of the sources",
    "language": "Languages",
    "task": "Tasks",
    "source_type": "Kinds of sources",
    "mix_source": "Parts of the mixture",
}
LICENSE_KEYS = (b"license", b"datatools.license")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_LANGUAGE = re.compile("[a-z]{2,3}")


@dataclass(frozen=True)
class DataFile:
    """What a training file says of itself: its hash, its size, and the counted values of its columns.

    `counts` maps names of COUNTED to value → rows; `flags` counts the names of checks that fired, over `checked` rows.
    """

    name: str
    sha256: str
    bytes: int
    rows: int
    record: str = ""  # name and version of its schema, where it carries one
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    flags: Mapping[str, int] = field(default_factory=dict)
    checked: int = 0
    licences: tuple[str, ...] = ()  # as the file's own metadata states


def describe(path: Path) -> DataFile:
    """What a parquet or JSON Lines file holds. Raises ValueError, naming the file, for what is neither."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    found = _Found()
    metadata: dict[bytes, bytes] = {}
    if path.suffix == ".parquet":
        metadata = _count_parquet(path, found)
    else:
        _count_rows(path, found)
    return DataFile(
        path.name,
        _sha256(path),
        path.stat().st_size,
        found.rows,
        metadata.get(b"datatools.schema", b"").decode(),
        {name: dict(found.counts[name]) for name in COUNTED if found.counts[name]},
        dict(found.counts["flags"]),
        found.checked,
        tuple(metadata[key].decode(errors="replace") for key in LICENSE_KEYS if key in metadata),
    )


class _Found:
    """What has been counted of a file so far."""

    def __init__(self) -> None:
        self.rows = self.checked = 0
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in (*COUNTED, "flags")}

    def count(self, name: str, column: pa.Array) -> None:
        """Add the values of a column; nulls and empty ones say nothing."""
        for entry in pc.value_counts(column).to_pylist():
            if entry["values"]:
                self.counts[name][entry["values"]] += entry["counts"]


def write_card(
    out: Path,
    *,
    command: list[str],
    stage: str,
    base_model: str,
    data: list[DataFile],
    settings: dict[str, object],
    came_of_it: Mapping[str, object] | None = None,
    rows: str = "",
) -> None:
    """Write the model card `out/README.md`, whole or not at all.

    `rows` says how many were trained on where it is not all of the files; `came_of_it` are the figures of the training.
    """
    parts = [
        _front_matter(stage, base_model, data, settings),
        f"# {out.resolve().name}\n\n{_opening(stage, base_model, data, rows)}",
        "## Data\n\n" + ("\n\n".join(_file(one) for one in data) or "None is named."),
        f"## Command\n\n```\n{shlex.join(command)}\n```",
        f"## Settings\n\n{_pairs(settings)}",
        *([f"## Training\n\n{_pairs(came_of_it)}"] if came_of_it else []),
        f"## Versions\n\n{_versions()}",
        "## Use\n\nA model that was trained on medical text is no medical device. What it says can be wrong, and must "
        "be checked by someone qualified before anyone acts on it.",
    ]
    with atomic_path(out / "README.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _count_parquet(path: Path, found: _Found) -> dict[bytes, bytes]:
    """Count the columns of a parquet file; returns its metadata."""
    try:
        schema = pq.read_schema(path)
    except pa.ArrowException as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}") from error
    # A Conversation names its prompt in `prompt`; in a Preference that column holds the turns before the reply.
    columns = [name for name in (*COUNTED, "prompt") if name in schema.names and _is_text(schema.field(name).type)]
    flags = ["flags"] if "flags" in schema.names and pa.types.is_list(schema.field("flags").type) else []
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH, columns=[*columns, *flags]):
            found.rows += batch.num_rows
            for name in columns:
                found.count("prompt_id" if name == "prompt" else name, batch.column(name))
            for name in flags:
                found.checked += batch.num_rows - batch.column(name).null_count
                found.count(name, batch.column(name).flatten())
    return dict(schema.metadata or {})


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _count_rows(path: Path, found: _Found) -> None:
    for row in read_rows([str(path)]):
        found.rows += 1
        for name in COUNTED:
            value = row.values.get("prompt" if name == "prompt_id" else name)
            if isinstance(value, str) and value:
                found.counts[name][value] += 1
        if isinstance(flags := row.values.get("flags"), list):
            found.checked += 1
            found.counts["flags"].update(map(str, flags))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _front_matter(stage: str, base_model: str, data: Sequence[DataFile], settings: Mapping[str, object]) -> str:
    # The hub refuses a base model or a language that is none: what cannot be one is told in the text alone.
    adapter = str(settings.get("method", "full")) in ("lora", "qlora", "dora")
    values: dict[str, Any] = {"library_name": "peft" if adapter else "transformers"}
    if _HUB_ID.fullmatch(base_model) and not Path(base_model).exists():
        values["base_model"] = base_model
    if stage != "rm":
        values["pipeline_tag"] = "text-generation"
    spoken = _added(one.counts.get("language", {}) for one in data)
    if languages := [code for code, _ in spoken.most_common() if _LANGUAGE.fullmatch(code) and code != "und"]:
        values["language"] = languages
    values["tags"] = ["datatools", "medical", stage]
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join(["---", *lines, "---"])


def _opening(stage: str, base_model: str, data: Sequence[DataFile], rows: str) -> str:
    rows = rows or f"{sum(one.rows for one in data):,} rows"
    return f"`{base_model}`, trained by `datatools train` (stage `{stage}`) on {rows} of {_files(len(data))}."


def _pairs(values: Mapping[str, object]) -> str:
    return _table(("", ""), [(name, _shown(value)) for name, value in values.items() if value is not None])


def _files(count: int) -> str:
    return "one file" if count == 1 else f"{count} files"


def _file(one: DataFile) -> str:
    about = [
        ("rows", f"{one.rows:,}"),
        ("bytes", f"{one.bytes:,}"),
        ("sha256", f"`{one.sha256}`"),
        *([("records", f"`{one.record}`")] if one.record else []),
        *[(COUNTED[name], _counts(one.counts[name], one.rows)) for name in COUNTED if name in one.counts],
        ("Checks", _checks(one)),
    ]
    if one.licences:
        about.append(("Licence of the file", ", ".join(one.licences)))
    elif "license" not in one.counts:
        about.append((COUNTED["license"], "not stated in the file"))
    return f"### {one.name}\n\n" + _table(("", ""), about)


def _checks(one: DataFile) -> str:
    if not one.checked:
        return "no column of flags in the file"
    if not one.flags:
        return f"no flag on any of {one.checked:,} rows"
    return f"flags on {one.checked:,} rows: " + _counts(one.flags, one.checked, every=False)


def _counts(counts: Mapping[str, int], rows: int, *, every: bool = True) -> str:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    words = [f"`{value}` {count:,}" for value, count in ranked[:NAMED]]
    if others := ranked[NAMED:]:
        words.append(f"{len(others):,} others {sum(count for _, count in others):,}")
    if every and (empty := rows - sum(counts.values())) > 0:
        words.append(f"not stated {empty:,}")
    return ", ".join(words)


def _added(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return total


def _table(head: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    return "\n".join([*lines, *(f"| {_cell(name)} | {_cell(value)} |" for name, value in rows)])


def _cell(text: str) -> str:
    # A bar or a line break in a name would end the cell.
    return " ".join(text.replace("|", "\\|").split())


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _versions() -> str:
    found = versions()
    return ", ".join(f"{name} {found[name]}" for name in found) or "No library of training is installed."
