"""Journals of nodes: taken in whole, once, and not before their runner has ended."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from datatools.llm import journal_nodes
from datatools.llm.journal import Journal
from datatools.llm.journal_nodes import files_of, folder_of, held, new_file, open_journal, readers_of, take_in
from tests.pipelines.command import here

KEYS = [bytes([number]) * 16 for number in range(6)]


def fill(path: Path, replies: list[int], failed: Sequence[int] = (), open_calls: Sequence[int] = ()) -> Path:
    """A journal in which these requests were answered, given up, or are under way."""
    path.parent.mkdir(exist_ok=True)

    async def write(journal: Journal) -> None:
        for number in [*replies, *failed, *open_calls]:
            await journal.start(KEYS[number], model="m", request=b'{"endpoint":"local"}')
        for number in replies:
            await journal.finish(KEYS[number], f"reply {number} of {path.name[:2]}".encode(), 3, 4)
        for number in failed:
            await journal.end(KEYS[number], "server")
            await journal.fail(KEYS[number], "server", "500", 1)

    with Journal(path) as journal:
        asyncio.run(write(journal))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return fill(tmp_path / "journal.sqlite", [0], failed=[1, 2])


def test_everything_is_in_the_jobs_journal_and_the_file_is_gone(path: Path) -> None:
    for node, replies in (("n1", [3, 4]), ("n2", [1])):
        fill(new_file(path, node), replies, failed=[2] if node == "n2" else [], open_calls=[5])
    with open_journal(path) as journal:
        assert files_of(path) == [] and list(folder_of(path).iterdir()) == []
        assert journal.get(KEYS[3]) == b"reply 3 of n1" and journal.get(KEYS[1]) == b"reply 1 of n2"
        assert journal.failure(KEYS[1]) is None and journal.failure(KEYS[2]) == ("server", "500", 1)
        counts = journal.counts()
        assert (counts.sent, counts.replies, counts.unfinished) == (9, 4, 2)
        assert (counts.failures, counts.prompt_tokens, counts.completion_tokens) == ({"server": 1}, 12, 16)
        by_node = journal._reader.counts_by_node()
    assert {node: (one.sent, one.unfinished) for node, one in by_node.items()} == {
        "": (3, 0),
        "n1": (3, 1),
        "n2": (3, 1),
    }


def test_what_was_taken_in_before_a_kill_is_not_taken_in_again(path: Path) -> None:
    file = fill(new_file(path, "n1"), [3])
    journal_nodes._take(path, file)  # killed before the file was removed
    fill(file, [4])
    take_in(path, file)
    with Journal(path) as journal:
        assert (journal.counts().sent, journal.counts().replies) == (5, 3)


def test_a_file_that_no_runner_wrote_to_is_nothing(path: Path) -> None:
    file = new_file(path, "n1")
    file.parent.mkdir()
    file.touch()
    with readers_of(path) as (readers, at_work, elsewhere):
        assert (len(readers), at_work, elsewhere) == (1, set(), [])
    assert take_in(path, file) == {} and not file.exists()


def test_a_damaged_one_is_named_and_kept(path: Path) -> None:
    file = fill(new_file(path, "n1"), [3])
    file.write_bytes(b"no journal" * 100)
    with pytest.raises(ValueError, match=rf"{file.name} is not a journal"), open_journal(path):
        pass
    assert file.exists()


def test_a_runner_at_work_keeps_its_journal_until_it_is_killed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = fill(new_file(path, "n1"), [3])
    imports = "import pathlib, time; from datatools.llm.journal_nodes import held"
    hold = f"{imports}\nwith held(pathlib.Path({str(file)!r})): print(1, flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE) as runner:
        assert runner.stdout is not None and runner.stdout.readline()
        with pytest.raises(ValueError, match=f"runner on {socket.gethostname()} is still at work"):
            take_in(path, file, seconds=0.1)
        with readers_of(path) as (readers, at_work, elsewhere):
            assert (len(readers), at_work, elsewhere) == (2, {"n1"}, [])
        monkeypatch.setattr(socket, "gethostname", lambda: "another")  # as seen from another machine
        with readers_of(path) as (readers, at_work, elsewhere):
            assert (len(readers), at_work, elsewhere) == (1, {"n1"}, ["n1"])
        runner.kill()
        take_in(path, file, seconds=20)
    with Journal(path) as journal:
        assert journal.get(KEYS[3]) is not None


def test_the_view_is_of_all_of_them(path: Path, tmp_path: Path) -> None:
    file = fill(new_file(path, "n1"), [2, 3], open_calls=[4])
    before = {one: one.read_bytes() for one in (path, file)}
    with held(file):
        told = here("journal", path, "--json", "--export", tmp_path / "replies.jsonl").summary
    assert told["requests"] == {"unique": 5, "sent": 6, "retried": 0}
    assert (told["replies"], told["failed"], told["unfinished"]) == (3, {"server": 1}, 1)
    assert (told["models"][0]["sent"], told["exported"]) == (6, 3)
    used = [(one["node"], one["sent"], one["replies"], one["unfinished"], one["at_work"]) for one in told["nodes"]]
    assert used == [("", 3, 1, 0, False), ("n1", 3, 2, 1, True)]
    text = here("journal", path).stdout
    assert "node      n1: 3 calls, 2 replies, 1 under way or cut off\n" in text
    assert "where the job was started: 3 calls" in text
    assert before == {one: one.read_bytes() for one in (path, file)}


def test_a_journal_of_the_version_before_is_brought_up_to_date(path: Path) -> None:
    with closing(sqlite3.connect(path)) as old:
        old.execute("alter table attempt drop column node")
        old.execute("drop table taken")
        old.execute("pragma user_version = 3")
        old.commit()
    with readers_of(path) as (readers, _, _):
        assert list(readers[0].counts_by_node()) == [""]
    take_in(path, fill(new_file(path, "n1"), [3]))
    with Journal(path) as journal:
        assert set(journal._reader.counts_by_node()) == {"", "n1"}
