"""unify on real, dirty files: marked books in GB18030, LaTeX textbooks, MedQuAD, consultations; skipped without."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.pipelines.command import answer, beside, here, question, rows
from tests.pipelines.test_unify_rules import decoded, folded

pytestmark = pytest.mark.slow
BOOKS, CHAPTERS, PAGES = 15, 12, 200
LINES = 400  # of a table


def sample(folder: Path, into: Path, pattern: str, count: int, most: int = 1_500_000) -> Path:
    """A folder of links to some files, always the same."""
    into.mkdir()
    fitting = sorted(path for path in folder.rglob(pattern) if path.stat().st_size <= most)
    for path in random.Random(5).sample(fitting, count):
        (into / path.name).symlink_to(path)
    return into


Run = Callable[[Path], Path]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs unify with the built-in generator; the output."""

    def unify(folder: Path) -> Path:
        out = tmp_path_factory.mktemp("out") / "sft.parquet"
        done = here("unify", folder, "--out", out, "--workers", 1, "--quiet")
        assert done.code == 0, done.stderr
        return out

    return unify


@pytest.fixture(scope="module")
def books(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample(real_data / "tcm-books-gb18030", tmp_path_factory.mktemp("tcm") / "in", "*.txt", BOOKS)


@pytest.fixture(scope="module")
def classics(books: Path, run: Run) -> Path:
    return run(books)


@pytest.fixture(scope="module")
def textbooks(real_data: Path, tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    return run(sample(real_data / "textbooks-tex", tmp_path_factory.mktemp("tex") / "in", "*.tex", CHAPTERS))


def passages(out: Path) -> list[dict[str, Any]]:
    """All passages of a job."""
    found: list[dict[str, Any]] = []
    for path in sorted((out.with_suffix(".work") / "parts").glob("*.passages.arrow")):
        with pa.memory_map(str(path)) as file:
            found += pa.ipc.open_file(file).read_all().select(["id", "text", "source", "has_pair"]).to_pylist()
    return found


@pytest.mark.parametrize("corpus", ["classics", "textbooks"])
def test_most_passages_get_a_pair(corpus: str, request: pytest.FixtureRequest) -> None:
    out = request.getfixturevalue(corpus)
    paired = {row["source_id"] for row in rows(out)}
    long = [row for row in passages(out) if len(row["text"]) >= 40]
    assert len(long) > 500
    assert sum(row["id"] in paired for row in long) >= 0.7 * len(long)


@pytest.mark.parametrize("corpus", ["classics", "textbooks"])
def test_questions_are_questions_and_differ(corpus: str, request: pytest.FixtureRequest) -> None:
    asked = [question(row) for row in rows(request.getfixturevalue(corpus))]
    numbered = re.compile(r"第[零〇一二三四五六七八九十百千\d]+[章卷回编节]|卷之?第|<篇名>|<目录>")
    assert [text for text in asked if numbered.search(text)] == []
    keys = [re.sub(r"[\W_]", "", text).casefold() for text in asked]
    assert len(set(keys)) == len(keys)
    assert all(4 <= len(text) <= 180 for text in asked)


def test_answers_stand_word_for_word_in_the_books(books: Path, classics: Path) -> None:
    made: dict[str, list[str]] = defaultdict(list)
    for row in rows(classics):
        made[row["source"]].append(answer(row))
    assert len(made) == BOOKS
    missing = []
    for source, answers in made.items():
        text = folded(decoded(books / source))
        missing += [(source, found) for found in answers if folded(found) not in text]
    assert missing == []


def test_the_books_are_classics(classics: Path) -> None:
    found = rows(classics)
    assert sum(row["language"] == "lzh" for row in found) > 0.7 * len(found)
    assert {row["generator"] for row in found} == {"rules"}


def test_no_macro_is_left_of_a_textbook(textbooks: Path) -> None:
    macro = re.compile(r"\\[A-Za-z]{2,}|\\begin|\\end|\{\\|(?<![\w{])%[^\d\s]|\$[^$\n]{1,40}\$|~\\|&\s*&")
    left = [(row["source"], found[0]) for row in rows(textbooks) if (found := macro.search(answer(row)))]
    assert left == []


def test_blank_answers_of_medquad_are_traced_and_the_rest_pass_through(
    real_data: Path, tmp_path: Path, run: Run
) -> None:
    folder = sample(real_data / "medquad-xml", tmp_path / "in", "*.xml", PAGES)
    blank = full = 0
    for path in folder.iterdir():
        text = path.read_text("utf-8", errors="replace")
        for pair in re.findall(r"<QAPair\b.*?</QAPair>", text, re.DOTALL):
            filled = re.search(r"<Answer>\s*\S.*?</Answer>", pair, re.DOTALL)
            full, blank = (full + 1, blank) if filled and not filled[0].startswith("<Answer></") else (full, blank + 1)
    out = run(folder)
    traced = rows(beside(out, "trace"))
    found = rows(out)
    assert blank > 50
    assert sum(row["rule"] == "empty_row" and row["excerpt"] == "answer is empty" for row in traced) == blank
    assert len(found) + len(traced) - blank == full  # what curation and equal questions took stands in the trace
    assert len(found) > 0.8 * full
    assert {row["generator"] for row in found} == {"source"}


def test_consultations_pass_through(real_data: Path, tmp_path: Path, run: Run) -> None:
    data = (real_data / "consult" / "internal-medicine-gbk.csv").read_bytes()
    (tmp_path / "in").mkdir()
    lines = data.split(b"\n")[: LINES + 1]
    (tmp_path / "in" / "consult.csv").write_bytes(b"\n".join(lines) + b"\n")
    out = run(tmp_path / "in")
    found = rows(out)
    assert {(row["generator"], row["source_type"]) for row in found} == {("source", "consultation")}
    assert len(found) + len(rows(beside(out, "trace"))) == LINES
    assert len(found) > 0.8 * LINES
    text = folded(data.decode("gb18030"))
    assert all(folded(answer(row)) in text for row in found)
