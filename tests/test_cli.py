"""The command line itself: exit codes, one JSON object, recipes, inspect and export."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from datatools import cli
from datatools.commands.app import Verbs
from tests.llm.model_server import ModelServer, planned
from tests.pipelines import physician
from tests.pipelines.command import Ended, answer, command, environment, here, question, rows, write

FIELDS = {
    *("command", "inputs", "rows_read", "rows_written", "dropped", "failed", "requests", "requests_total"),
    *("tokens", "cost", "seconds", "output", "trace", "failed_rows", "work"),
}
OPTIONS = """
    --out --recipe --model --base-url --api-key-env --pairs-per-passage --language --concurrency --temperature --timeout
    --reasoning-effort --rpm --tpm --budget --price-in --price-out --dry-run --pilot --lane --poll
    --attempts --retry-failed --prompts --rewrite-pairs --text-column --source-type --no-curate --decontaminate
    --passage-characters --passage-words
    --workers --engine --ray-address --limit --seed --fresh --json --quiet --debug
""".split()
PRESSURE = "# 高血压\n\n## 病因\n\n高血压的发生与遗传、高盐饮食、肥胖和长期精神紧张有关。\n"
ASTHMA = (
    "# Asthma\n\n## Causes\n\nHouse dust mites, pollen, cold air and tobacco smoke can set off an attack in people "
    "who have asthma.\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pages, each one row."""
    return write(tmp_path / "in", {"a.md": PRESSURE, "b.md": ASTHMA})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "sft.parquet"


@pytest.fixture
def made(folder: Path, out: Path) -> Path:
    """A file of two conversations, one Chinese and one English."""
    assert here("unify", folder, "--out", out, "--quiet").code == 0
    return out


# Help and version


def test_version() -> None:
    assert command("--version") == Ended(0, f"datatools {version('medical-datatools')}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []], ids=["help", "h", "nothing"])
def test_help_lists_the_verbs(arguments: list[str]) -> None:
    done = command(*arguments)
    assert (done.code, done.stderr) == (0, "")
    for verb in ("unify", "inspect", "export"):
        assert f"\n  {verb} " in done.stdout


def test_help_of_unify_names_every_option() -> None:
    done = here("unify", "--help")
    assert done.code == 0
    shown = {word.strip(",") for word in done.stdout.split() if word.startswith("--")}
    assert set(OPTIONS) <= shown
    declared = {
        name for option in typer.main.get_command(cli.app).commands["unify"].params for name in option.opts  # type: ignore[attr-defined]
    }  # fmt: skip
    assert {name for name in declared if name.startswith("--")} == set(OPTIONS)


@pytest.mark.parametrize("arguments", ["--help", "unify --help", "--version"])
def test_help_loads_no_heavy_library(arguments: str) -> None:
    program = (
        "import sys\n"
        "from datatools.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'polars', 'pyarrow', 'openai', 'torch', 'datasets', 'jieba', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments.split()], capture_output=True, text=True, env=environment()
    )
    assert done.stderr.strip() == "[]"
    assert done.stdout


# Exit codes and the one JSON object


def checked(done: Ended, code: int) -> dict[str, object]:
    """The summary of a run that ended with a code, after checking what holds for all of them."""
    assert done.code == code, done.stderr
    summary = done.summary
    assert set(summary) - {"error"} == FIELDS
    assert ("error" in summary) == (code != 0)
    assert set(summary["requests"]) == {"sent", "cached", "retried"}
    assert set(summary["tokens"]) == {"prompt", "completion"}
    if code:
        assert done.line == f"datatools: {summary['error']}"
        assert done.stderr.count("datatools: ") == 1
        assert "Traceback" not in done.stderr
    return summary


def test_0_done(folder: Path, out: Path) -> None:
    summary = checked(command("unify", folder, "--out", out, "--json"), 0)
    assert summary["command"] == "unify"
    assert summary["inputs"] == [str(folder)]
    assert (summary["rows_read"], summary["rows_written"]) == (2, 2)
    assert (summary["output"], summary["work"]) == (str(out), str(out.with_suffix(".work")))
    assert (summary["trace"], summary["failed_rows"], summary["dropped"], summary["failed"]) == (None, None, {}, {})


def test_1_a_bug(folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("one over none")

    monkeypatch.setattr("pipelines.unify.unify", broken)
    done = here("unify", folder, "--out", out, "--json", "--quiet")
    checked(done, 1)
    assert "ZeroDivisionError: one over none" in done.line
    assert "--debug" in done.line
    assert "Traceback" in here("unify", folder, "--out", out, "--debug").stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--wat"], "--wat"),
        (["unify", "IN", "--out", "OUT", "--wat", "3"], "--wat"),
        (["nope"], "nope"),
        (["unify", "--out", "OUT"], "INPUT"),
        (["unify", "IN"], "--out"),
        (["unify", "IN", "--out", "OUT", "--workers", "many"], "--workers"),
        (["unify", "IN", "--out", "OUT", "--workers", "0"], "--workers"),
        (["unify", "IN", "--out", "OUT", "--limit", "0"], "--limit"),
        (["unify", "IN", "--out", "OUT", "--source-type", "poem"], "--source-type poem"),
        (["unify", "nowhere", "--out", "OUT"], "nowhere"),
        (["inspect", "nowhere.parquet"], "nowhere.parquet"),
        (["export", "nowhere.parquet", "--out", "x.jsonl"], "nowhere.parquet"),
    ],
    ids=lambda value: "-".join(value).strip("-") if isinstance(value, list) else "",
)
def test_2_bad_usage_in_one_line(folder: Path, out: Path, arguments: list[str], said: str) -> None:
    words = [{"IN": str(folder), "OUT": str(out)}.get(word, word) for word in arguments]
    done = here(*words, "--json")
    summary = checked(done, 2)
    assert said in done.line
    assert len(done.stderr.splitlines()) == 1
    assert summary["command"] == (arguments[0] if not arguments[0].startswith("-") else "")


def test_3_a_file_could_not_be_read(folder: Path, out: Path) -> None:
    write(folder, {"c.pdf": b"%PDF-1.4 cut"})
    summary = checked(here("unify", folder, "--out", out, "--json"), 3)
    assert summary["failed"] == {"unreadable": 1}
    assert str(summary["trace"]) in str(summary["error"])
    assert summary["rows_written"] == 2


def test_3_a_row_failed(folder: Path, out: Path) -> None:
    with ModelServer(physician.reply, planned({"高血压": ["filter!"]})) as server:
        line = ["unify", folder, "--out", out, "--model", "m", "--base-url", server.url]
        summary = checked(here(*line, "--json"), 3)
    assert summary["failed"] == {"content_filter": 1}
    assert str(summary["failed_rows"]) in str(summary["error"])


def test_4_the_endpoint_refuses(folder: Path, out: Path) -> None:
    with ModelServer(physician.reply, planned({"": ["auth!"]})) as server:
        line = ["unify", folder, "--out", out, "--model", "m", "--base-url", server.url]
        done = command(*line, "--json")
    checked(done, 4)
    assert server.url in done.line


def test_without_json_stdout_is_a_screen_for_a_person(folder: Path, out: Path) -> None:
    write(folder, {"c.md": PRESSURE})
    done = here("unify", folder, "--out", out)
    assert done.stdout.startswith("unify: 2 rows from 3 documents")
    assert str(out) in done.stdout
    assert "exact_duplicate 1" in done.stdout


def test_quiet_is_silent_on_stderr(folder: Path, out: Path) -> None:
    assert command("unify", folder, "--out", out, "--quiet").stderr == ""
    assert "unify: 2 files, 1 units" in here("unify", folder, "--out", out).stderr


# Recipes


def recipe(folder: Path, text: str) -> Path:
    return write(folder, {"recipe.toml": text}) / "recipe.toml"


@pytest.mark.parametrize(
    "text",
    [
        'passage-characters = 300\nsource_type = "web"\n',
        'passage_characters = 300\nsource-type = "web"\n',
        '[unify]\npassage-characters = 300\nsource-type = "web"\n',
        'passage-characters = 9\n[unify]\npassage_characters = 300\nsource_type = "web"\n[inspect]\nrows = 3\n',
    ],
    ids=["top", "underscores", "table", "table-over-top"],
)
def test_a_recipe_holds_options(tmp_path: Path, folder: Path, out: Path, text: str) -> None:
    done = here("unify", folder, "--out", out, "--recipe", recipe(tmp_path, text))
    assert done.code == 0, done.stderr
    settings = json.loads((out.with_suffix(".work") / "manifest.jsonl").read_text("utf-8").splitlines()[0])["settings"]
    assert (settings["passage_characters"], settings["source_type"]) == (300, "web")
    assert {row["source_type"] for row in rows(out)} == {"web"}


def test_a_recipe_may_hold_the_whole_command(tmp_path: Path, folder: Path, out: Path) -> None:
    text = f"[unify]\ninputs = ['{folder}']\nout = '{out}'\njson = true\nquiet = true\n"
    done = here("unify", "--recipe", recipe(tmp_path, text))
    assert (done.code, done.stderr) == (0, "")
    assert done.summary["rows_written"] == len(rows(out)) == 2


def test_one_input_needs_no_list(tmp_path: Path, folder: Path, out: Path) -> None:
    assert here("unify", "--out", out, "--recipe", recipe(tmp_path, f"inputs = '{folder}'")).code == 0
    assert len(rows(out)) == 2


@pytest.mark.parametrize("order", [0, 1], ids=["recipe-first", "flag-first"])
def test_flags_win_over_the_recipe(tmp_path: Path, folder: Path, out: Path, order: int) -> None:
    parts = [["--recipe", recipe(tmp_path, 'source-type = "web"\nlimit = 1\n')], ["--source-type", "book"]]
    assert here("unify", folder, "--out", out, *parts[order], *parts[1 - order]).code == 0
    assert [row["source_type"] for row in rows(out)] == ["book"]


@pytest.mark.parametrize(
    "text, said",
    [
        ('langauge = "zh"', "has no option langauge; did you mean language?"),
        ("[unify]\npair_per_passage = 2", "has no option pair_per_passage; did you mean pairs-per-passage?"),
        ("zzz = 1", "has no option zzz; there are api-key-env"),
        ("[zzz]\nlimit = 1", "has no option zzz"),
        ("unify = 3", "has no option unify"),
        ("recipe = 'x.toml'", "has no option recipe"),
        ("limit = [1", "recipe.toml: "),
        ("limit = 'many'", "--limit"),
        ("language = 'fr'", "--language fr: must be zh, en or same"),
    ],
    ids=["typo", "typo-in-table", "unknown", "unknown-table", "verb-as-key", "recipe", "no-toml", "type", "value"],
)
def test_a_recipe_that_cannot_work_is_refused(tmp_path: Path, folder: Path, out: Path, text: str, said: str) -> None:
    done = here("unify", folder, "--out", out, "--recipe", recipe(tmp_path, text), "--json")
    checked(done, 2)
    assert said in done.line
    assert not out.exists()


def test_a_recipe_that_is_not_there_is_named(folder: Path, out: Path) -> None:
    done = here("unify", folder, "--out", out, "--recipe", "nowhere.toml")
    assert (done.code, "nowhere.toml" in done.line) == (2, True)


def test_json_in_a_recipe_holds_for_errors_too(tmp_path: Path, out: Path) -> None:
    done = here("unify", tmp_path / "nowhere", "--out", out, "--recipe", recipe(tmp_path, "json = true"))
    checked(done, 2)


# Inspect


def test_inspect_shows_rows_as_conversations(made: Path) -> None:
    done = here("inspect", made)
    assert (done.code, done.stderr) == (0, "")
    assert "user  高血压的病因是什么？" in done.stdout
    assert "assistant  House dust mites" in done.stdout
    assert done.stdout.count("── ") == 2


def test_inspect_where_and_rows(made: Path) -> None:
    found = json.loads(here("inspect", made, "--where", "language = 'en'", "--json").stdout)
    assert [row["source"] for row in found["rows"]] == ["b.md"]
    assert here("inspect", made, "--rows", 1).stdout.count("── ") == 1
    none = here("inspect", made, "--where", "language = 'ko'")
    assert (none.code, none.stdout) == (0, "")
    assert "no rows where language = 'ko'" in none.stderr


def test_inspect_random_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    lines = [
        {"question": f"第{n}种头痛怎么办？", "answer": f"第{n}种头痛应当先休息，再到医院就诊。"} for n in range(50)
    ]
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    out = tmp_path / "sft.parquet"
    assert here("unify", write(tmp_path / "in", {"qa.jsonl": text}), "--out", out).code == 0

    def drawn(seed: int) -> list[str]:
        done = here("inspect", out, "--random", "--rows", 5, "--seed", seed, "--json")
        return [question(row) for row in json.loads(done.stdout)["rows"]]

    assert drawn(1) == drawn(1) != drawn(2)
    assert len(set(drawn(1))) == 5
    assert drawn(1) != [question(row) for row in rows(out)[:5]]


@pytest.mark.parametrize("condition", ["langauge = 'en'", "language = ", "1; drop table rows"])
def test_inspect_refuses_a_condition_that_is_none(made: Path, condition: str) -> None:
    done = here("inspect", made, "--where", condition, "--json")
    assert done.code == 2, done.stdout
    assert f"--where {condition}" in done.line
    assert done.summary["error"]


def test_inspect_refuses_a_file_that_is_no_parquet(folder: Path) -> None:
    done = here("inspect", folder / "a.md")
    assert (done.code, "a.md" in done.line) == (2, True)


# Export


def exported(made: Path, format: str) -> list[dict[str, object]]:
    path = made.with_suffix(f".{format}.jsonl")
    done = here("export", made, "--format", format, "--out", path, "--json")
    assert checked(done, 0)["rows_written"] == 2
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_export_messages(made: Path) -> None:
    assert exported(made, "messages") == [{"id": row["id"], "messages": row["messages"]} for row in rows(made)]


def test_export_sharegpt(made: Path) -> None:
    turns = [[{"from": "human", "value": question(row)}, {"from": "gpt", "value": answer(row)}] for row in rows(made)]
    assert [line["conversations"] for line in exported(made, "sharegpt")] == turns


def test_export_alpaca(made: Path) -> None:
    found = [(line["instruction"], line["input"], line["output"]) for line in exported(made, "alpaca")]
    assert found == [(question(row), "", answer(row)) for row in rows(made)]


def test_export_refuses_another_format_and_another_file(made: Path, tmp_path: Path) -> None:
    done = here("export", made, "--format", "xml", "--out", tmp_path / "x.jsonl", "--json")
    checked(done, 2)
    assert "messages, sharegpt, alpaca" in done.line
    other = here("export", tmp_path / "in" / "a.md", "--out", tmp_path / "x.jsonl", "--json")
    checked(other, 2)
    assert not (tmp_path / "x.jsonl").exists()


def test_export_refuses_a_parquet_of_another_kind(made: Path, folder: Path, tmp_path: Path) -> None:
    write(folder, {"c.md": PRESSURE})
    again = tmp_path / "again.parquet"
    assert here("unify", folder, "--out", again).code == 0
    done = here("export", tmp_path / "again.trace.parquet", "--out", tmp_path / "x.jsonl", "--json")
    checked(done, 2)
    assert "trace/1" in done.line


def test_a_verb_of_two_words_goes_before_the_verb_of_its_first():
    verbs = typer.Typer(cls=Verbs)
    seen: list[str] = []

    @verbs.command()
    def train(file: str) -> None:
        seen.append(f"train {file}")

    @verbs.command("train merge")
    def merge(run: str) -> None:
        seen.append(f"merge {run}")

    for words in (["train", "sft.parquet"], ["train", "merge", "runs/x"], ["train", "./merge"]):
        verbs(words, standalone_mode=False)
    assert seen == ["train sft.parquet", "merge runs/x", "train ./merge"]
