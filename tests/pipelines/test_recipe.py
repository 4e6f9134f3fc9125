"""datatools run: stages in the order they need each other, only what changed again, after a kill on where it stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests import small
from tests.conftest import REPOSITORY
from tests.crawl.web_server import WebSite, html
from tests.llm.examinee import Examinee
from tests.llm.model_server import ModelServer
from tests.pipelines.command import command, here, lines_of, rows, started, until, write
from tests.pipelines.physician import reply
from tests.pipelines.test_evaluate_exam import FORMULAS, SIGNS, examinee, written

RECIPE = """
out = "{out}"
[shared]
seed = 3
[stages.pairs]
verb = "unify"
input = "{{corpus}}"
no-curate = true
[stages.corpus]
verb = "curate"
input = "{source}"
rules = "none"
"""


def books(folder: Path, count: int = 3) -> Path:
    text = "桂枝汤由桂枝、芍药、炙甘草、生姜、大枣组成，解肌发表，调和营卫，主治外感风寒表虚证，汗出恶风，第{}种用法各不相同。"
    return write(folder, {f"{k}.md": f"# 方剂{k}\n\n## 组成\n\n{text.format(k)}\n" for k in range(count)})


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    source = books(tmp_path / "books")
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(out=tmp_path / "out", source=source), encoding="utf-8")
    return path


def run_of(path: Path, *more: object) -> dict[str, Any]:
    ended = command("run", path, "--json", "--quiet", *more)
    assert ended.code == 0, ended.stderr
    return {name: one["ran"] for name, one in ended.summary["stages"].items()}


@pytest.mark.slow
def test_only_what_changed_runs_again(recipe: Path, tmp_path: Path) -> None:
    assert run_of(recipe) == {"corpus": True, "pairs": True}
    assert len(rows(tmp_path / "out" / "pairs.parquet")) == 3
    assert (tmp_path / "out" / "report.html").is_file()
    assert run_of(recipe) == {"corpus": False, "pairs": False}
    for path in (tmp_path / "books").iterdir():
        os.utime(path, (1, 1))  # a time is no content
    assert run_of(recipe) == {"corpus": False, "pairs": False}
    recipe.write_text(recipe.read_text(encoding="utf-8") + "workers = 1\n", encoding="utf-8")
    assert run_of(recipe) == {"corpus": False, "pairs": False}  # changes no byte of what comes out
    recipe.write_text(recipe.read_text(encoding="utf-8").replace("no-curate = true", ""), encoding="utf-8")
    assert run_of(recipe) == {"corpus": False, "pairs": True}
    books(tmp_path / "books", 4)
    assert run_of(recipe, "--until", "corpus") == {"corpus": True}
    assert run_of(recipe) == {"corpus": False, "pairs": True}
    (tmp_path / "out" / "pairs.parquet").unlink()
    assert run_of(recipe) == {"corpus": False, "pairs": True}


@pytest.mark.slow
def test_an_input_that_changes_nothing_of_a_stage_ends_there(recipe: Path, tmp_path: Path) -> None:
    run_of(recipe)
    (tmp_path / "books" / "empty.md").write_text("", encoding="utf-8")
    ended = command("run", recipe, "--json", "--quiet")
    found = {name: one["ran"] for name, one in ended.summary["stages"].items()}
    assert found["corpus"] and not found["pairs"]  # the corpus came out as before, so nothing behind it runs


def test_a_dry_run_does_nothing_and_says_why(recipe: Path, tmp_path: Path) -> None:
    ended = here("run", recipe, "--dry-run", "--json")
    assert ended.code == 0 and ended.summary["dry_run"]["would_run"] == ["corpus", "pairs"]
    assert ended.summary["dry_run"]["stages"]["pairs"]["why"] == "after corpus" and not (tmp_path / "out").exists()
    shown = here("run", recipe, "--dry-run").stdout
    assert "2 of 2 stages would run" in shown and f"datatools curate {tmp_path / 'books'}" in shown


def test_a_dry_run_says_what_models_cost(tmp_path: Path) -> None:
    exam = written(tmp_path / "exam.jsonl", 20)
    path = tmp_path / "r.toml"
    path.write_text(
        f'out = "{tmp_path}/o"\n[stages.score]\nverb = "evaluate exam"\ninput = "{exam}"\nmodel = "m"\n'
        'base-url = "http://127.0.0.1:9/v1"\nprice-in = 1.0\nprice-out = 2.0\n',
        encoding="utf-8",
    )
    ended = here("run", path, "--dry-run", "--json")
    assert ended.code == 0 and ended.summary["dry_run"]["cost"] > 0


def test_a_dry_run_bounds_what_stands_behind_a_stage_that_only_leaves_out(tmp_path: Path) -> None:
    asks = 'model = "m"\nbase-url = "http://127.0.0.1:9/v1"\nprice-in = 1.0\nprice-out = 2.0\n'
    (path := tmp_path / "r.toml").write_text(
        f'out = "{tmp_path}/o"\n[stages.corpus]\nverb = "curate"\ninput = "{books(tmp_path / "books")}"\n'
        f'[stages.pairs]\nverb = "unify"\ninput = "{{corpus}}"\nno-curate = true\n{asks}'
        f'[stages.more]\nverb = "prefer"\ninput = "{{pairs}}"\njudge-model = "j"\n{asks}',
        encoding="utf-8",
    )
    ended = here("run", path, "--dry-run", "--json")
    stages = ended.summary["dry_run"]["stages"]
    assert stages["pairs"]["at_most"] and stages["pairs"]["cost"] > 0 and stages["pairs"]["seconds"] > 0
    assert stages["more"]["cost"] is None and ended.summary["dry_run"]["cost"] is None
    shown = here("run", path, "--dry-run").stdout
    assert "as if corpus left nothing out" in shown and "known when pairs is done" in shown
    assert ", and what more will cost" in shown and not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[stages.a]\nverb = "unify"\ninput = "{b}"\n[stages.b]\nverb = "curate"\ninput = "{a}"', "a → b → a need each other"),
        ('[stages.a]\nverb = "unify"\ninput = "x"\nno-curat = true', "unify has no option no-curat; did you mean no-curate?"),
        ('[stages.a]\nverb = "unfy"\ninput = "x"', "there is no verb unfy; did you mean unify?"),
        ('[stages.pairs]\nverb = "unify"\ninput = "x"\n[stages.b]\nverb = "mix"\ninput = "{pair}"', "did you mean pairs?"),
        ('outt = "x"\n[stages.a]\nverb = "unify"\ninput = "x"', "unknown key outt; did you mean out?"),
        ('[stages.a]\nverb = "unify"', "stage a: input is missing"),
        ('[stages.a]\nverb = "train"\ninput = "x"', "stage a: train needs model"),
        ('[stages.a]\nverb = "unify"\ninput = "x"\nno-curate = "yes"', "no-curate must be true or false"),
        ('[shared]\nsead = 3\n[stages.a]\nverb = "unify"\ninput = "x"', "no verb has an option sead; did you mean seed?"),
        ("", "has no stages"),
        ("[stages.a", "recipe.toml: "),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_work_is_refused_before_anything_runs(text: str, said: str, tmp_path: Path) -> None:
    (path := tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    ended = here("run", path)
    assert ended.code == 2 and said in ended.line, ended.line


def test_until_a_stage_that_is_not_there(recipe: Path) -> None:
    ended = here("run", recipe, "--until", "corpsu")
    assert ended.code == 2 and "did you mean corpus?" in ended.line


@pytest.mark.slow
def test_a_stage_that_fails_stops_the_recipe_with_its_line_and_code(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(
        f'out = "{tmp_path}/o"\n[stages.a]\nverb = "curate"\ninput = "{tmp_path}/none"\n'
        '[stages.b]\nverb = "unify"\ninput = "{a}"\n',
        encoding="utf-8",
    )
    ended = command("run", path)
    assert ended.code == 2 and ended.line.startswith("datatools: stage a: ") and not (tmp_path / "o/b.parquet").exists()
    assert "run: 0 of 2 stages ran" in ended.stdout and "nothing to do" not in ended.stdout


@pytest.mark.slow
def test_a_killed_recipe_goes_on_in_its_stage_and_repeats_no_finished_call(tmp_path: Path) -> None:
    exam, log = written(tmp_path / "exam.jsonl", 150), tmp_path / "log"
    known: Examinee = examinee(exam)
    with ModelServer(reply=known, latency=0.01, log=log) as server:
        path = tmp_path / "r.toml"
        path.write_text(
            f'out = "{tmp_path}/o"\n[stages.score]\nverb = "evaluate exam"\ninput = "{exam}"\nmodel = "m"\n'
            f'base-url = "{server.url}"\nconcurrency = 4\n',
            encoding="utf-8",
        )
        process = started("run", path, "--json", "--quiet")
        assert until(process, lambda: lines_of(log) > 60)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)  # the stage is another process, and ends with this one
        process.communicate()
        ended = command("run", path, "--json", "--quiet")
    assert ended.code == 0, ended.stderr
    assert ended.summary["stages"]["score"]["summary"]["requests"]["cached"] >= 50
    assert lines_of(log) <= 150 + 4 and len(rows(tmp_path / "o/score.parquet")) == 150
    assert json.loads((tmp_path / "o/recipe.json").read_text(encoding="utf-8"))["score"]["done"]


@pytest.mark.slow
def test_a_recipe_killed_in_unify_and_again_in_train_repeats_neither(tmp_path: Path) -> None:
    small.save(tmp_path / "tiny", "llama")
    texts = {
        f"{formula}.md": f"# {formula}\n\n## 主治\n\n{formula}用于{'、'.join(SIGNS[k : k + 6])}，每日一剂，水煎分两次温服。\n"
        for k, formula in enumerate(FORMULAS)
    }
    with ModelServer(reply=reply, latency=0.05) as server:
        (path := tmp_path / "r.toml").write_text(
            f'out = "{tmp_path}/o"\n[stages.pairs]\nverb = "unify"\ninput = "{write(tmp_path / "books", texts)}"\n'
            f'no-curate = true\nmodel = "m"\nbase-url = "{server.url}"\nconcurrency = 2\n'
            f'[stages.tuned]\nverb = "train"\ninput = "{{pairs}}"\nmodel = "{tmp_path}/tiny"\n'
            "stage = 'sft'\nmax-steps = 12\nsave-steps = 2\nbatch-size = 2\nmax-length = 512\n",
            encoding="utf-8",
        )
        saved = tmp_path / "o/tuned"
        for happened in (lambda: len(server.seen) > 8, lambda: list(saved.glob("checkpoint-*"))):
            process = started("run", path, "--json", "--quiet")
            assert until(process, happened)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        ended = command("run", path, "--json", "--quiet")
    assert ended.code == 0, ended.stderr
    stages = ended.summary["stages"]
    assert not stages["pairs"]["ran"] and stages["tuned"]["ran"] and len(rows(tmp_path / "o/pairs.parquet")) > 5
    known = json.loads((tmp_path / "o/recipe.json").read_text(encoding="utf-8"))
    assert (saved / "model.safetensors").is_file() and known["tuned"]["done"]
    sent = [seen.key for seen in server.seen]
    assert len(sent) <= len(set(sent)) + 4  # those under way, or on their way to the disk, may be asked twice


@pytest.mark.slow
def test_a_crawl_is_a_stage_whose_documents_are_curated(tmp_path: Path) -> None:
    pages = {"/": html("首页", "/a", "/b"), "/a": html("麻黄汤"), "/b": html("桂枝汤")}
    with WebSite("127.0.0.9", pages) as site:
        path = tmp_path / "r.toml"
        path.write_text(
            f'out = "{tmp_path}/o"\n[stages.pages]\nverb = "crawl"\ninput = "{site.url()}"\n'
            f'allow-private = ["{site.address}/32"]\ndelay = 0.05\n'
            'contact = "https://example.org/crawler"\n'
            '[stages.corpus]\nverb = "curate"\ninput = "{pages}"\nrules = "none"\n',
            encoding="utf-8",
        )
        assert run_of(path) == {"pages": True, "corpus": True}
        asked = len(site.log)
        assert run_of(path) == {"pages": False, "corpus": False} and len(site.log) == asked > 3
    assert {row["source"].rsplit("/", 1)[1] for row in rows(tmp_path / "o/corpus.parquet")} >= {"a", "b"}


def test_the_example_is_a_recipe_of_this_version() -> None:
    with contextlib.chdir(REPOSITORY):
        ended = here("run", "examples/recipe.toml", "--dry-run", "--json")
    assert ended.code == 0 and list(ended.summary["dry_run"]["stages"])[-1] == "score"


def test_the_real_recipe_of_the_docs_is_one_of_this_version(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs/recipe.md").read_text(encoding="utf-8").partition("## A real one")[2]
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    (path := tmp_path / "real.toml").write_text("\n".join(lines), encoding="utf-8")
    ended = here("run", path, "--dry-run", "--json")
    stages = ended.summary["dry_run"]["stages"]
    assert ended.code == 0 and next(iter(stages)) == "corpus" and stages["dpo"]["why"] == "after preferences, sft"
    assert "--base-url" in stages["pairs"]["command"] and "--base-url" not in stages["after"]["command"]
    assert "--price-in" in stages["pairs"]["command"] and "--price-in" not in stages["graph"]["command"]
