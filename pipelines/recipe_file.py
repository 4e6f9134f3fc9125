"""The recipe's file: stages in TOML, `{NAME}` for what another stage made, checked as a whole before anything runs.

out = "runs/demo"

[shared]
seed = 7

[stages.corpus]
verb = "curate"
input = "examples/corpus"

[stages.pairs]
verb = "unify"
input = "{corpus}"
no-curate = true
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pipelines.recipe_digest import digest

TOP = ("out", "shared", "stages")
OWN = ("verb", "input", "command", "out")  # keys of a stage that are no options of its verb
FOLDERS = ("train", "train merge", "train export", "crawl")  # verbs whose --out is a folder
ENDINGS = {"export": ".jsonl", "report": ".html"}
MADE_IN = {"crawl": "documents.parquet"}  # what others take of a verb's folder
IN_PROCESS = "transformers:"
# What changes how the work is done and no byte of what comes out.
RUN_ONLY = frozenset(
    "workers concurrency rpm tpm timeout attempts budget price-in price-out api-key-env poll quiet json debug fresh "
    "retry-failed dry-run pilot base-url judge-base-url patient-base-url lane processes report-to save-steps".split()
)
_REFERENCE = re.compile(r"\{([A-Za-z0-9_.-]+)\}")


@dataclass(frozen=True)
class Verb:
    """What the command line takes: positional arguments, and options by name: flag, several or one."""

    arguments: tuple[str, ...]
    options: Mapping[str, str]
    required: tuple[str, ...] = ()
    negated: Mapping[str, str] = field(default_factory=dict)  # of flags that can be turned off: --pack → --no-pack


def outside(options: Mapping[str, Any]) -> bool:
    """Whether any of the models named is one of an endpoint."""
    asked = [options.get(name) for name in ("model", "judge", "judge-model", "patient")]
    names = [str(one) for cell in asked for one in (cell if isinstance(cell, list) else [cell]) if one]
    return any(name != "rules" and not name.startswith(IN_PROCESS) for name in names)


@dataclass(frozen=True)
class Stage:
    """One stage: a verb of datatools, or `command`, any other program."""

    name: str
    verb: str | None
    inputs: tuple[str, ...]
    options: Mapping[str, Any]
    program: tuple[str, ...]
    out: Path
    shape: Verb | None

    @property
    def result(self) -> Path:
        """What other stages get where they name this one."""
        return self.out / MADE_IN[self.verb] if self.verb in MADE_IN else self.out

    @property
    def needs(self) -> tuple[str, ...]:
        """The stages it is made from, in the order they are named."""
        return tuple(dict.fromkeys(name for text in self.texts() for name in _REFERENCE.findall(text) if name != "out"))

    @property
    def asks_models(self) -> bool:
        """Whether it asks an endpoint, which may cost something."""
        return outside(self.options) and self.shape is not None and "pilot" in self.shape.options

    def command(self, recipe: Recipe, *, fresh: bool = False) -> list[str]:
        """The words to run it with."""
        if self.verb is None:
            words = [recipe.filled(word, self) for word in self.program]
            return [sys.executable, *words[1:]] if words[0] in ("python", "python3") else words
        assert self.shape is not None
        words = [sys.executable, "-m", "datatools", *self._words(recipe)]
        return [*words, "--json", *(["--fresh"] if fresh and "fresh" in self.shape.options else [])]

    def shown(self, recipe: Recipe) -> list[str]:
        """The command as a user would type it."""
        if self.verb is None:
            return [recipe.filled(word, self) for word in self.program]
        return ["datatools", *(f'"{word}"' if " " in word else word for word in self._words(recipe))]

    def _words(self, recipe: Recipe) -> list[str]:
        assert self.verb is not None and self.shape is not None
        words = [*self.verb.split(), *(recipe.filled(text, self) for text in self.inputs), "--out", str(self.out)]
        for name, value in self.options.items():
            if value is True:
                words.append(f"--{name}")
            elif value is False:
                words += [self.shape.negated[name]] if name in self.shape.negated else []
            else:
                for one in value if isinstance(value, list) else [value]:
                    words += [f"--{name}", recipe.filled(str(one), self)]
        return words

    def made_from(self, recipe: Recipe, outputs: Mapping[str, str]) -> dict[str, Any]:
        """What decides its output: settings, and the content of all it reads, by name."""
        options = {name: value for name, value in self.options.items() if name not in RUN_ONLY}
        inputs = {name: outputs[name] for name in self.needs}
        for text in self.texts():
            if "{" not in text:
                path = Path(text.removeprefix(IN_PROCESS))
                if path.exists():
                    inputs[text] = digest(path)
        command = {"inputs": list(self.inputs), "program": list(self.program), "verb": self.verb}
        return {"options": {**options, **({} if self.verb else command), "input": list(self.inputs)}, "inputs": inputs}

    def texts(self) -> Iterator[str]:
        """Every string that may name a file or a stage."""
        for value in (self.inputs, self.program, *self.options.values()):
            for one in value if isinstance(value, list | tuple) else [value]:
                if isinstance(one, str):
                    yield one


@dataclass(frozen=True)
class Recipe:
    """A recipe's stages, each behind those it needs."""

    path: Path
    out: Path
    stages: tuple[Stage, ...]

    @property
    def state(self) -> Path:
        """The file that says what each stage was made from."""
        return self.out / "recipe.json"

    def stage(self, name: str) -> Stage:
        """The stage of this name."""
        return next(stage for stage in self.stages if stage.name == name)

    def filled(self, text: str, stage: Stage) -> str:
        """A text with the files that other stages made in place of their names, and its own output for {out}."""
        return _REFERENCE.sub(lambda found: str(stage.out if found[1] == "out" else self.stage(found[1]).result), text)

    def until(self, name: str | None) -> list[Stage]:
        """The stages that a stage needs, and itself; all where none is named. ValueError for one that is not there."""
        if name is None:
            return list(self.stages)
        names = [stage.name for stage in self.stages]
        if name not in names:
            raise ValueError(f"--until {name}: {self.path} has no such stage; {_hint(name, names)}")
        wanted, found = [name], set[str]()
        while wanted:
            found.add(one := wanted.pop())
            wanted += [need for need in self.stage(one).needs if need not in found]
        return [stage for stage in self.stages if stage.name in found]


def read_recipe(path: Path, verbs: Mapping[str, Verb]) -> Recipe:
    """The recipe in a file. ValueError, with a suggestion, for an unknown key, verb or stage, and for a cycle."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    for name in found:
        if name not in TOP:
            raise ValueError(f"{path}: unknown key {name}; {_hint(name, TOP)}")
    shared, tables = found.get("shared", {}), found.get("stages", {})
    if not isinstance(tables, dict) or not tables:
        raise ValueError(f"{path}: has no stages; each is a table [stages.NAME] with verb and input")
    known = {name for verb in verbs.values() for name in verb.options}
    for name in shared:
        if _spelled(name) not in known:
            raise ValueError(f"{path}: shared: no verb has an option {name}; {_hint(_spelled(name), sorted(known))}")
    out = Path(found.get("out") or f"runs/{path.stem}")
    stages = [_stage(path, name, table, shared, verbs, out) for name, table in tables.items()]
    names = [stage.name for stage in stages]
    for stage in stages:
        for need in stage.needs:
            if need not in names:
                raise ValueError(
                    f"{path}: stage {stage.name} needs {{{need}}}, which is no stage; {_hint(need, names)}"
                )
    return Recipe(path, out, tuple(_ordered(path, stages)))


def _stage(path: Path, name: str, table: Any, shared: Mapping[str, Any], verbs: Mapping[str, Verb], out: Path) -> Stage:
    place = f"{path}: stage {name}"
    if not isinstance(table, dict):
        raise ValueError(f"{place}: must be a table [stages.{name}]")
    given = table.get("input", [])
    inputs = tuple([given] if isinstance(given, str) else given)
    if "command" in table:
        for key in table:
            if key not in OWN:
                raise ValueError(f"{place}: unknown key {key}; a stage with a command has input, command and out")
        program = table["command"]
        words = tuple(program.split() if isinstance(program, str) else program)
        return Stage(name, None, inputs, {}, words, Path(table.get("out") or out / name), None)
    verb = table.get("verb", name)
    if verb not in verbs:
        raise ValueError(f"{place}: there is no verb {verb}; {_hint(str(verb), sorted(verbs))}")
    shape = verbs[verb]
    options = {_spelled(key): value for key, value in shared.items() if _spelled(key) in shape.options}
    for key, value in table.items():
        if key in OWN:
            continue
        spelled = _spelled(key)
        if spelled not in shape.options:
            raise ValueError(f"{place}: {verb} has no option {key}; {_hint(spelled, [*sorted(shape.options), *OWN])}")
        kind = shape.options[spelled]
        if isinstance(value, dict) or (isinstance(value, list) and kind != "several"):
            raise ValueError(f"{place}: {key} takes one value")
        if isinstance(value, bool) != (kind == "flag"):
            raise ValueError(f"{place}: {key} must be {'true or false' if kind == 'flag' else 'a value'}")
        options[spelled] = value
    if not outside(options):  # a shared endpoint and its prices are for the stages that ask one
        for key in {"base-url", "price-in", "price-out"} - set(map(_spelled, table)):
            options.pop(key, None)
    missing = [one for one in shape.required if one != "out" and one not in options]
    if missing:
        raise ValueError(f"{place}: {verb} needs {', '.join(missing)}")
    if shape.arguments and not inputs:
        raise ValueError(f"{place}: input is missing: files, or {{STAGE}} for what another stage made")
    ending = "" if verb in FOLDERS else ENDINGS.get(verb, ".parquet")
    return Stage(name, verb, inputs, options, (), Path(table.get("out") or out / f"{name}{ending}"), shape)


def _ordered(path: Path, stages: Sequence[Stage]) -> list[Stage]:
    """Each stage behind those it needs, else as the file has them. ValueError, naming the ring, where none can be."""
    done: list[Stage] = []
    left = list(stages)
    while left:
        names = {stage.name for stage in done}
        ready = next((stage for stage in left if set(stage.needs) <= names), None)
        if ready is None:
            raise ValueError(f"{path}: {_ring(left)} need each other in a ring")
        done.append(ready)
        left.remove(ready)
    return done


def _ring(left: Sequence[Stage]) -> str:
    by_name = {stage.name: stage for stage in left}
    walked = [left[0].name]
    while True:
        following = next(need for need in by_name[walked[-1]].needs if need in by_name)
        if following in walked:
            return " → ".join([*walked[walked.index(following) :], following])
        walked.append(following)


def _spelled(key: str) -> str:
    return key.replace("_", "-")


def _hint(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
