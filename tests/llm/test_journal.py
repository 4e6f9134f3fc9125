"""Nothing that was acknowledged is lost, whatever happens to the process or the file."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from datatools.llm.endpoint import Endpoint
from datatools.llm.journal import GROUP_SECONDS, Counts, Journal
from datatools.llm.journal_file import VERSION
from datatools.llm.journal_read import JournalReader
from datatools.llm.request import Request
from datatools.llm.runner import Runner, Settings
from tests.conftest import REPOSITORY
from tests.llm.journal_writer import raw
from tests.llm.model_server import ModelServer

KEY, OTHER = b"k" * 16, b"o" * 16


def writing(journal, *calls):
    async def run():
        for name, *arguments in calls:
            await getattr(journal, name)(*arguments)

    asyncio.run(run())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


def test_a_reply_comes_back_byte_for_byte_now_and_after_reopening(path):
    with Journal(path) as journal:
        assert journal.get(KEY) is None
        writing(journal, ("start", KEY), ("finish", KEY, b"\xff\x00 raw", 3, 4))
        assert journal.get(KEY) == b"\xff\x00 raw"
    with Journal(path) as journal:
        assert journal.get(KEY) == b"\xff\x00 raw" and journal.get(OTHER) is None
        assert journal.counts() == Counts(sent=1, replies=1, prompt_tokens=3, completion_tokens=4)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_newest_reply_counts_and_the_older_ones_stay(path):
    with Journal(path) as journal:
        writing(journal, ("finish", KEY, b"first"), ("finish", KEY, b"second"))
        assert journal.get(KEY) == b"second" and journal.counts().replies == 2


def test_a_request_given_up_is_remembered_until_it_is_asked_again(path):
    with Journal(path) as journal:
        writing(journal, ("start", KEY), ("end", KEY, "server"), ("fail", KEY, "server", "500 oops", 5))
        assert journal.failure(KEY) == ("server", "500 oops", 5) and journal.failure(OTHER) is None
        assert journal.counts().failures == {"server": 1}
        writing(journal, ("start", KEY, True))
        assert journal.failure(KEY) is None and journal.counts().failures == {}


def test_calls_that_never_ended_are_counted(path):
    with Journal(path) as journal:
        writing(journal, ("start", KEY), ("start", OTHER), ("end", OTHER, "timeout"), ("start", OTHER, True))
        assert journal.unfinished() == 2
        assert (journal.counts().sent, journal.counts().retried) == (3, 1)


def test_many_writers_at_once_are_all_stored(path):
    async def run(journal):
        await asyncio.gather(*(journal.finish(number.to_bytes(16, "big"), raw(number)) for number in range(500)))

    with Journal(path) as journal:
        asyncio.run(run(journal))
        assert all(journal.get(number.to_bytes(16, "big")) == raw(number) for number in range(500))


def test_rows_of_a_cancelled_caller_are_stored_when_the_journal_closes(path):
    async def run(journal):
        task = asyncio.create_task(journal.finish(KEY, b"paid"))
        await asyncio.sleep(0)
        task.cancel()

    with Journal(path) as journal:
        asyncio.run(run(journal))
    with Journal(path) as journal:
        assert journal.get(KEY) == b"paid"


def writer(path: Path, first: int, limit: str = "") -> subprocess.Popen[str]:
    script = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n" if limit else ""
    script += f"import sys, runpy; sys.argv = ['', {str(path)!r}, '{first}']\n"
    script += "runpy.run_module('tests.llm.journal_writer', run_name='__main__')"
    return subprocess.Popen(
        [sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def numbers(lines: list[str], word: str) -> set[int]:
    """Numbers in the lines `word number`; the last line may be cut off by the kill."""
    return {int(line.split()[1]) for line in lines if line.startswith(word + " ") and line.endswith("\n")}


@pytest.mark.slow
def test_after_kill_9_every_acknowledged_row_is_there(path):
    chance = random.Random(0)
    finished: set[int] = set()
    started: set[int] = set()
    for round_ in range(8):
        process = writer(path, round_ * 1_000_000)
        lines = [process.stdout.readline() for _ in range(chance.randint(1, 400))]
        process.kill()
        lines += process.stdout.readlines()
        process.communicate()
        finished |= numbers(lines, "finished")
        started |= numbers(lines, "started")
        with Journal(path) as journal:
            assert all(journal.get(number.to_bytes(16, "big")) == raw(number) for number in finished)
            counts = journal.counts()
        assert counts.replies >= len(finished) and counts.sent >= len(started)
        assert counts.unfinished == counts.sent - counts.replies <= 16 * (round_ + 1)


def test_a_write_ahead_log_cut_off_anywhere_leaves_a_readable_journal(path, tmp_path):
    with Journal(path) as journal:
        for number in range(30):
            writing(journal, ("finish", number.to_bytes(16, "big"), raw(number)))
        names = [path.name, path.name + "-wal"]
        kept = [shutil.copy(path.parent / name, tmp_path / f"kept{name}") for name in names]
    size = Path(kept[1]).stat().st_size
    stored = []
    for cut in [0, 31, size // 3, size // 2, size - 1, size]:
        torn = tmp_path / f"torn{cut}"
        torn.mkdir()
        shutil.copy(kept[0], torn / path.name)
        (torn / names[1]).write_bytes(Path(kept[1]).read_bytes()[:cut])
        with Journal(torn / path.name) as journal:
            found = [journal.get(number.to_bytes(16, "big")) for number in range(30)]
            writing(journal, ("finish", KEY, b"goes on"))
        whole = sum(value is not None for value in found)
        assert found == [raw(number) for number in range(whole)] + [None] * (30 - whole)
        stored.append(whole)
    assert stored == sorted(stored) and stored[-1] == 30


def test_a_file_that_is_no_journal_is_refused(path):
    path.write_bytes(b"id,text\n" * 200)
    with pytest.raises(ValueError, match="not a journal"):
        Journal(path)
    assert path.read_bytes() == b"id,text\n" * 200


def test_somebody_elses_database_is_refused_and_not_touched(path):
    with sqlite3.connect(path) as database:
        database.execute("create table mine (x)")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not a journal"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_newer_version_is_refused(path):
    Journal(path).close()
    with sqlite3.connect(path) as database:
        database.execute(f"pragma user_version = {VERSION + 1}")
    with pytest.raises(ValueError, match="newer version"):
        Journal(path)


def test_a_damaged_file_is_refused_in_words(path):
    with Journal(path) as journal:
        for number in range(200):
            writing(journal, ("finish", number.to_bytes(16, "big"), random.Random(number).randbytes(3000)))
    path.write_bytes(path.read_bytes()[:20_000] + b"\0" * 200_000)
    with pytest.raises(ValueError, match="damaged"), Journal(path) as journal:
        for number in range(200):
            journal.get(number.to_bytes(16, "big"))


def test_a_folder_that_is_not_there_is_an_oserror_with_the_path(tmp_path):
    with pytest.raises(OSError, match=r"journal\.sqlite"):
        Journal(tmp_path / "absent" / "journal.sqlite")


def test_a_second_process_reads_and_writes_beside_the_first(path):
    with Journal(path) as journal:
        writing(journal, ("finish", KEY, b"mine"))
        process = writer(path, 1)
        while process.stdout.readline() != "finished 20\n":
            assert process.poll() is None
        writing(journal, ("finish", OTHER, b"also mine"))
        process.kill()
        process.communicate()
        assert journal.get((20).to_bytes(16, "big")) == raw(20) and journal.get(OTHER) == b"also mine"


def test_a_full_disk_is_an_oserror_and_what_was_acknowledged_stays(path):
    """A limit on the size of files stands for the full disk: the write fails in the same place."""
    process = writer(path, 0, limit="400_000")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "OSError" in errors.splitlines()[-1]
    finished = numbers(output.splitlines(keepends=True), "finished")
    assert finished
    with Journal(path) as journal:
        assert all(journal.get(number.to_bytes(16, "big")) == raw(number) for number in finished)


def test_after_a_failed_write_every_caller_hears_of_it(path):
    with Journal(path) as journal:
        journal._write_connection.execute("pragma query_only = on")
        for _ in range(2):
            with pytest.raises(OSError, match="readonly"):
                writing(journal, ("finish", KEY, b"lost"))
        assert journal.get(KEY) is None


def test_many_rows_share_a_commit_that_one_thread_makes_and_a_lone_row_waits_for_no_other(path):
    commits: list[str] = []

    def traced(statement):
        if statement == "commit":
            commits.append(threading.current_thread().name)

    async def run(journal):
        await journal.finish(KEY, b"alone")
        assert len(commits) == 1
        await asyncio.gather(*(journal.finish(number.to_bytes(16, "big"), b"raw") for number in range(200)))

    with Journal(path) as journal:
        journal._write_connection.set_trace_callback(traced)
        asyncio.run(run(journal))
    assert len(commits) <= 1 + 200 / 32 and set(commits) == {"journal_0"}


def test_the_log_is_synced_at_every_commit(path):
    with Journal(path) as journal:
        pragmas = ("journal_mode", "synchronous")
        found = [journal._write_connection.execute(f"pragma {name}").fetchone()[0] for name in pragmas]
    assert found == ["wal", 2]  # 2 is FULL


ASKED = Request([{"role": "user", "content": "感冒怎么办？"}])


def asking(path, url):
    async def run():
        with Journal(path) as journal:
            async with Runner(Endpoint(url, "m"), journal, Settings(backoff=0.001)) as runner:
                outcome = await runner.ask(ASKED)
                with JournalReader(path) as beside:
                    return outcome, beside.counts()

    return asyncio.run(run())


def test_a_call_is_on_the_disk_before_it_is_sent_and_its_reply_before_it_is_handed_on(path):
    on_arrival = []

    def look(key, nth, body):
        with JournalReader(path) as reader:
            on_arrival.append(reader.counts())
        return ""

    with ModelServer(fault=look) as server:
        outcome, afterwards = asking(path, server.url)
    assert on_arrival == [Counts(sent=1, unfinished=1)]
    assert (afterwards.replies, afterwards.unfinished) == (1, 0) and outcome.text


def test_a_reply_is_on_the_disk_before_it_is_parsed(path, monkeypatch):
    """A parser that breaks costs nothing but the repair of the parser."""

    def broken(body, secret=""):
        raise ZeroDivisionError

    with ModelServer() as server:
        with monkeypatch.context() as patch:
            patch.setattr("datatools.llm.runner.parse", broken)
            with pytest.raises(ZeroDivisionError):
                asking(path, server.url)
        outcome, counts = asking(path, server.url)
    assert outcome.cached and outcome.text and counts.sent == len(server.seen) == 1


def test_a_journal_that_is_closed_while_rows_gather_keeps_them_and_is_left_alone(tmp_path):
    problems = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(context))
        with Journal(tmp_path / "journal.sqlite") as journal:
            writing = asyncio.create_task(journal.start(b"k" * 16, model="m", request=b"{}"))
            await asyncio.sleep(0)
            writing.cancel()
        await asyncio.sleep(2 * GROUP_SECONDS)  # in which the group would have been stored

    asyncio.run(main())
    assert problems == []
    with Journal(tmp_path / "journal.sqlite") as journal:
        assert journal.counts().sent == 1
