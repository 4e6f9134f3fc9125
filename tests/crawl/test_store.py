"""A crawl's store is whole however its process ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from datatools.crawl import warc
from datatools.crawl.store import JOURNAL, Store, discard, read_journal


def filled(folder: Path, pages: int) -> Store:
    """A store with so many pages."""
    folder.mkdir(parents=True, exist_ok=True)
    store, _ = Store.open(folder, folder)
    store.begin()
    for number in range(pages):
        keep(store, number)
    return store


def keep(store: Store, number: int) -> None:
    """Store one page, and after it one that was not there."""
    url = f"http://a.cn/{number}"
    answer = warc.Exchange(url, "2024-01-01T00:00:00Z", [], 200, [("Content-Type", "text/html")], b"x" * (number + 1))
    records, identity, digest = warc.response(answer)
    line: dict[str, Any] = {
        "record": "page",
        "url": url,
        "depth": 0,
        "kind": "page",
        "outcome": "stored",
        "status": 200,
    }
    line |= {"time": answer.time, "content": str(number), "id": identity, "digest": digest, "bytes": number + 1}
    store.add(line, records, {"software": "test"})
    store.add({"record": "page", "url": f"{url}/gone", "depth": 1, "kind": "page", "outcome": "http_404"})


def responses(folder: Path) -> list[str]:
    """The URLs in the WARC files; fails where a file is not whole."""
    found = []
    for path in sorted(folder.glob("*.warc.gz")):
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream, check_digests="raise"):
                record.raw_stream.read()
                if record.rec_type == "response":
                    found.append(record.rec_headers.get_header("WARC-Target-URI"))
    return found


def test_a_store_goes_on_where_it_was(tmp_path: Path) -> None:
    filled(tmp_path, 3).close()
    store, lines = Store.open(tmp_path, tmp_path)
    assert [line["url"] for line in lines if line["outcome"] == "stored"] == [f"http://a.cn/{n}" for n in range(3)]
    assert store.pages == 3 and store.size == 6 and len(store.done) == 6
    keep(store, 3)
    store.close()
    assert responses(tmp_path) == [f"http://a.cn/{number}" for number in range(4)]


@pytest.mark.parametrize("what", ["journal", "warc"])
def test_cut_anywhere_it_is_whole_again(tmp_path: Path, what: str) -> None:
    filled(tmp_path / "whole", 3).close()
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    name = JOURNAL if what == "journal" else "crawl-00001.warc.gz"
    lines_before = sum(len(line) + 1 for line in whole[JOURNAL].split(b"\n")[:2])  # the file is named there
    for size in range(lines_before if what == "journal" else 0, len(whole[name]), 53):
        folder = tmp_path / f"{what}{size}"
        folder.mkdir()
        for other, content in whole.items():
            (folder / other).write_bytes(content if other != name else content[:size])
        store, lines = Store.open(folder, folder)
        kept = [line["url"] for line in lines if line["outcome"] == "stored"]
        assert responses(folder)[: len(kept)] == kept if store.files else not kept
        if not store.passes:
            store.begin()
        for number in range(len(kept), 4):
            keep(store, number)
        store.close()
        urls = responses(folder)
        assert urls[-4:] == [f"http://a.cn/{number}" for number in range(4)] and len(set(urls)) == len(urls)


def test_a_record_that_is_damaged_is_asked_for_again(tmp_path: Path) -> None:
    filled(tmp_path, 2).close()
    path = tmp_path / "crawl-00001.warc.gz"
    path.write_bytes(path.read_bytes()[:-20] + bytes(20))
    store, lines = Store.open(tmp_path, tmp_path)
    store.close()
    assert [line["url"] for line in lines if line["outcome"] == "stored"] == ["http://a.cn/0"]
    assert responses(tmp_path) == ["http://a.cn/0"]


def test_large_files_are_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datatools.crawl.store.FILE_BYTES", 1500)
    filled(tmp_path, 6).close()
    assert len(list(tmp_path.glob("*.warc.gz"))) > 1 and len(responses(tmp_path)) == 6


def test_what_another_program_wrote_is_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "crawl-00001.warc.gz"
    foreign.write_bytes(b"not ours")
    filled(tmp_path, 1).close()
    assert foreign.read_bytes() == b"not ours" and (tmp_path / "crawl-00002.warc.gz").exists()
    discard(tmp_path, tmp_path)
    assert foreign.exists() and not (tmp_path / "crawl-00002.warc.gz").exists() and not list(read_journal(tmp_path))


def test_a_line_that_is_none_says_where(tmp_path: Path) -> None:
    filled(tmp_path, 1).close()
    journal = tmp_path / JOURNAL
    journal.write_bytes(b"nonsense\n" + journal.read_bytes())
    with pytest.raises(ValueError, match="--fresh"):
        Store.open(tmp_path, tmp_path)
