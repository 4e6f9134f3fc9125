"""What a journal tells: totals, by model, and every reply with what it answers."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import zlib
from dataclasses import replace

import pytest

from datatools.llm.endpoint import Endpoint
from datatools.llm.errors import failure
from datatools.llm.journal import Counts, Journal
from datatools.llm.journal_file import TABLES
from datatools.llm.journal_read import JournalReader
from datatools.llm.reply import decode
from datatools.llm.request import Reply, Request, canonical, key
from datatools.llm.runner import Runner, Settings
from tests.llm.model_server import ModelServer, planned

ASKED = Request([{"role": "user", "content": "感冒怎么办？"}], max_tokens=64, temperature=0.5)
NAME, BODY = key("local", "m", ASKED), canonical("local", "m", ASKED)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


def writing(path, *calls):
    async def run():
        with Journal(path) as journal:
            for name, *arguments in calls:
                await getattr(journal, name)(*arguments)

    asyncio.run(run())


def first_version(path):
    """A journal as version 1 wrote it: it did not know what was asked."""
    with sqlite3.connect(path, isolation_level=None) as database:
        database.executescript(TABLES)
        database.execute("pragma application_id = 1685342769")
        database.execute("pragma user_version = 1")
        database.execute("insert into attempt (key, at, event) values (?, 1, 'start')", (NAME,))
        database.execute("insert into attempt (key, at, event, prompt_tokens) values (?, 2, 'reply', 7)", (NAME,))
        database.execute("insert into reply (key, at, raw) values (?, 2, ?)", (NAME, zlib.compress(b"old")))


def test_a_reply_is_read_back_with_what_it_answers(path):
    writing(path, ("start", NAME, False, "m", BODY), ("finish", NAME, b"\xff raw", 3, 4))
    with JournalReader(path) as reader:
        [stored] = reader.replies()
    assert (stored.key, stored.model, stored.raw) == (NAME, "m", b"\xff raw")
    assert stored.request == json.loads(BODY)
    assert stored.request["messages"] == [{"role": "user", "content": "感冒怎么办？"}]
    assert (stored.request["endpoint"], stored.request["temperature"]) == ("local", 0.5)


def test_the_request_is_stored_once_and_its_hash_is_the_key(path):
    with ModelServer(fault=planned({"": ["server", "server"]})) as server:

        async def main():
            with Journal(path) as journal:
                async with Runner(Endpoint(server.url, "m"), journal, Settings(backoff=0.001)) as runner:
                    await runner.ask(ASKED)

        asyncio.run(main())
    with sqlite3.connect(path) as database:
        assert database.execute("select count(*) from request").fetchone() == (1,)
    with JournalReader(path) as reader:
        [stored] = reader.replies()
        assert reader.counts().sent == 3 and reader.requests() == 1
    request = dict(stored.request)
    again = Request(request["messages"], request["max_tokens"], request["temperature"], sample=request["sample"])
    assert key(request["endpoint"], request["model"], again) == stored.key


def test_a_better_parser_makes_use_of_the_older_of_two_replies(path, monkeypatch):
    """Two replies were paid for and neither could be read; what reads the first now must not pay for a third."""

    def better(raw, secret=""):
        body = decode(raw) if isinstance(raw, bytes) else raw
        return Reply("read after all") if body else failure("malformed", "still not JSON")

    async def ask(url):
        with Journal(path) as journal:
            async with Runner(Endpoint(url, "m"), journal, Settings(backoff=0.001, attempts=2)) as runner:
                return await runner.ask(ASKED)

    with ModelServer(fault=planned({"": ["no_choices", "truncated_json!"]})) as server:
        assert asyncio.run(ask(server.url)).kind == "malformed"
        monkeypatch.setattr("datatools.llm.runner.parse", better)
        assert asyncio.run(ask(server.url)).text == "read after all"
    assert len(server.seen) == 2


def test_calls_that_may_have_been_billed_are_those_without_an_end_and_those_that_broke_off(path):
    events = ["timeout", "connection", "unreachable", "rate", "server"]
    writing(path, *[call for event in events for call in (("start", NAME), ("end", NAME, event))], ("start", NAME))
    with JournalReader(path) as reader:
        counts = reader.counts()
    assert counts.errors == dict.fromkeys(sorted(events), 1)
    assert (counts.sent, counts.unfinished, counts.may_have_been_billed) == (6, 1, 3)


def test_counts_are_kept_apart_by_model(path):
    other = key("local", "n", ASKED)
    writing(
        path,
        ("start", NAME, False, "m", BODY),
        ("finish", NAME, b"a", 1, 2),
        ("start", other, False, "n", canonical("local", "n", ASKED)),
        ("end", other, "server"),
        ("fail", other, "server", "500", 1),
    )
    with JournalReader(path) as reader:
        assert reader.counts_by_model() == {
            "m": Counts(sent=1, replies=1, prompt_tokens=1, completion_tokens=2),
            "n": Counts(sent=1, errors={"server": 1}, failures={"server": 1}),
        }
        assert reader.counts() == Counts(
            sent=2, replies=1, prompt_tokens=1, completion_tokens=2, errors={"server": 1}, failures={"server": 1}
        )


def test_a_journal_of_the_first_version_is_read_as_it_is(path):
    first_version(path)
    before = path.read_bytes()
    with JournalReader(path) as reader:
        [stored] = reader.replies()
        assert (stored.raw, stored.request, stored.model) == (b"old", None, "")
        assert reader.counts_by_model() == {"": Counts(sent=1, replies=1, prompt_tokens=7)}
    assert path.read_bytes() == before


def test_a_journal_of_the_first_version_is_written_on_and_loses_nothing(path):
    first_version(path)
    other = replace(ASKED, sample=1)
    name = key("local", "m", other)
    writing(path, ("start", name, False, "m", canonical("local", "m", other)), ("finish", name, b"new", 1, 1))
    with Journal(path) as journal:
        assert journal.get(NAME) == b"old" and journal.get(name) == b"new"
        assert journal.counts() == Counts(sent=2, replies=2, prompt_tokens=8, completion_tokens=1)
    with JournalReader(path) as reader:
        assert [stored.model for stored in reader.replies()] == ["", "m"]


def test_reading_leaves_no_file_behind_and_changes_none(path):
    writing(path, ("start", NAME, False, "m", BODY))
    before = path.read_bytes()
    with JournalReader(path) as reader:
        reader.counts()
    assert [file.name for file in path.parent.iterdir()] == [path.name] and path.read_bytes() == before


def test_what_is_being_written_is_seen_and_a_reader_disturbs_no_writer(path):
    async def run():
        with Journal(path) as journal, JournalReader(path) as reader:
            await journal.start(NAME)
            assert reader.counts().unfinished == 1
            await journal.finish(NAME, b"raw")
            replies = reader.replies()
            assert next(replies).raw == b"raw"  # the reader is in the middle of it
            await journal.finish(NAME, b"more")
            assert [stored.raw for stored in replies] in ([], [b"more"])

    asyncio.run(run())
    with Journal(path) as journal:
        assert list(journal.replies_to(NAME)) == [b"more", b"raw"]


@pytest.mark.parametrize("content", [b"", b"id,text\n" * 200], ids=["empty", "text"])
def test_a_file_that_is_no_journal_is_not_read_and_not_made_one(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a journal"):
        JournalReader(path)
    assert path.read_bytes() == content


def test_a_file_that_is_not_there_is_not_made(path):
    with pytest.raises(OSError, match=r"journal\.sqlite"):
        JournalReader(path)
    assert not path.exists()


@pytest.mark.parametrize("table", ["reply", "request"])
def test_bytes_that_were_changed_are_told(path, table):
    writing(path, ("start", NAME, False, "m", BODY), ("finish", NAME, b"raw", 3, 4))
    column = "raw" if table == "reply" else "body"
    with sqlite3.connect(path) as database:
        database.execute(f"update {table} set {column} = x'78017801'")
    with JournalReader(path) as reader, pytest.raises(ValueError, match="damaged"):
        list(reader.replies())
