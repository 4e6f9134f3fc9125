"""Prompt files: front matter, then a system and a user part in Jinja2.

    ---
    id: unify.question.zh.book
    version: 1
    language: zh
    source_type: book
    step: question
    ---
    ## system
    What never changes, the same bytes for every row, so that a server can cache the prefix.
    ## user
    {{ passage }}

Text put into a variable comes through as it is, braces and all: it is never read as a template.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template, TemplateSyntaxError, UndefinedError

from schemas.document import SOURCE_TYPES

SHIPPED = Path(__file__).parent
FALLBACK = "other"
FIELDS = ("id", "version", "language", "source_type", "step")
_PART = re.compile(r"^## (system|user)[ \t]*$", re.MULTILINE)
_JINJA = Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)


@dataclass(frozen=True)
class Prompt:
    """One prompt file. `text` is everything below the front matter, `hash` the sha256 of the whole file (UTF-8, LF)."""

    id: str
    version: str
    language: str
    source_type: str
    text: str
    hash: str
    path: str = ""

    @property
    def name(self) -> str:
        """What rows are marked with: `id@version#` and eight digits of the hash."""
        return f"{self.id}@{self.version}#{self.hash[:8]}"

    def messages(self, **variables: object) -> list[dict[str, str]]:
        """The messages to send. KeyError, naming file and variable, when the prompt uses one that is not given."""
        rendered = []
        for role, template in _templates(self):
            try:
                content = template.render(**variables).strip()
            except UndefinedError as error:
                raise KeyError(f"{self.path or self.id}: {error.message}") from error
            rendered.append({"role": role, "content": content})
        return rendered


def load(folder_name: str, step: str, language: str, source_type: str, directory: Path | str | None = None) -> Prompt:
    """The prompt of a job's step (`unify`, `question`) for a language (zh, en) and a source type.

    Files are `step.language.source_type.md`. Those in `directory`, or in its subfolder of the job's name, stand before
    the shipped ones; a source type without a file falls back to `other`. FileNotFoundError says where was looked,
    ValueError names file and line.
    """
    folders = [SHIPPED / folder_name]
    if directory is not None:
        user = Path(directory)
        if not user.is_dir():
            raise FileNotFoundError(f"{user}: no such folder of prompts")
        folders = [user / folder_name, user, *folders]
    for kind in dict.fromkeys((source_type, FALLBACK)):
        for folder in folders:
            path = folder / f"{step}.{language}.{kind}.md"
            if path.is_file():
                return read(path)
    wanted = f"{step}.{language}.{source_type}.md"
    raise FileNotFoundError(f"no prompt {wanted} nor {step}.{language}.{FALLBACK}.md in {', '.join(map(str, folders))}")


def read(path: Path) -> Prompt:
    """The prompt in a file. ValueError, naming file and line, when something of it is missing or not Jinja2."""
    try:
        source = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}:1: not UTF-8 ({error.reason} at byte {error.start})") from error
    source = source.replace("\r\n", "\n")
    fields, body, first_line = _front_matter(path, source)
    digest = hashlib.sha256(source.encode()).hexdigest()
    prompt = Prompt(fields["id"], fields["version"], fields["language"], fields["source_type"], body, digest, str(path))
    try:
        roles = [role for role, _ in _templates(prompt)]
    except TemplateSyntaxError as error:
        raise ValueError(f"{path}:{first_line + error.lineno - 1}: {error.message}") from error
    if "user" not in roles or len(set(roles)) != len(roles):
        raise ValueError(f"{path}:{first_line}: one part '## user' needed, and at most one '## system' before it")
    return prompt


def _front_matter(path: Path, source: str) -> tuple[dict[str, str], str, int]:
    """Fields, body, and the line the body starts on."""
    lines = source.split("\n")
    if lines[0].strip() != "---":
        raise ValueError(f"{path}:1: front matter must begin with ---")
    fields: dict[str, str] = {}
    for number, line in enumerate(lines[1:], 2):
        if line.strip() == "---":
            break
        key, colon, value = line.partition(":")
        if line.strip() and (not colon or key.strip() not in FIELDS):
            raise ValueError(f"{path}:{number}: {line.strip()!r} is none of {', '.join(FIELDS)}")
        if line.strip():
            fields[key.strip()] = value.strip()
    else:
        raise ValueError(f"{path}:{len(lines)}: front matter has no closing ---")
    missing = [name for name in FIELDS if not fields.get(name)]
    if missing:
        raise ValueError(f"{path}:{number}: front matter lacks {', '.join(missing)}")
    if fields["source_type"] not in SOURCE_TYPES:
        raise ValueError(f"{path}:{number}: source_type {fields['source_type']!r} is none of {', '.join(SOURCE_TYPES)}")
    return fields, "\n".join(lines[number:]), number + 1


@lru_cache(maxsize=256)
def _templates(prompt: Prompt) -> tuple[tuple[str, Template], ...]:
    """Role and compiled template of each part; blank lines before a part keep the line numbers of errors right."""
    starts = list(_PART.finditer(prompt.text))
    ends = [*(part.start() for part in starts[1:]), len(prompt.text)][: len(starts)]
    return tuple(
        (part[1], _JINJA.from_string("\n" * prompt.text.count("\n", 0, part.end()) + prompt.text[part.end() : end]))
        for part, end in zip(starts, ends, strict=True)
    )
