"""WARC, WET and ARC files as other crawlers write them; pages whose encoding is not what they say."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from datatools.io.files import discover, split
from datatools.io.read import read
from datatools.io.source import Fault, ReadOptions, Source
from schemas.document import Document
from tests.crawl.web_server import html

WORDS = "高血压患者应当低盐饮食，规律服药，定期测量血压；出现头痛、胸闷、视物模糊时及时就诊。"
PARTS = "".join(f"<p>{number}、{WORDS}</p>" for number in range(6))
LONG = f"<html><head>{{}}<title>高血压</title></head><body><h1>高血压</h1>{PARTS}"
LATE = f"<!--{'x' * 6000}-->"


def record(writer: Any, url: str, body: bytes, kind: str = "response", status: str = "200 OK", **headers: str) -> None:
    """One record."""
    said = [
        (name.replace("_", "-"), value) for name, value in {"Content_Type": "text/html", **headers}.items() if value
    ]
    http = StatusAndHeaders(status, said, protocol="HTTP/1.1") if kind == "response" else None
    more = {} if kind == "response" else {"Content-Type": "text/plain", "WARC-Identified-Content-Language": "zho,eng"}
    writer.write_record(
        writer.create_warc_record(
            url,
            kind,
            payload=io.BytesIO(body),
            http_headers=http,
            warc_headers_dict={"WARC-Date": "2024-05-06T07:08:09Z", **more},
        )
    )


def archive(path: Path, pages: list[tuple[str, bytes, dict[str, str]]], packed: bool = True) -> Path:
    """A WARC file of these pages."""
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=packed)
        writer.write_record(writer.create_warcinfo_record(path.name, {"software": "another crawler"}))
        for url, body, more in pages:
            record(writer, url, body, **more)
    return path


def documents(path: Path) -> list[Document]:
    """The Documents of one file."""
    found = [item for source in discover([str(path)])[0] for item in read(source, ReadOptions())]
    return [item for item in found if isinstance(item, Document)]


CHARSETS = {
    "no charset anywhere": ("gbk", LONG.format(""), ""),
    "a short page without charset": ("gbk", f"<html><body><p>{WORDS}</p></body></html>", ""),
    "declared gb2312, holds gbk": ("gbk", LONG.format('<meta charset="gb2312">').replace("患者", "患者喆镕"), ""),
    "declared gbk, holds gb18030": ("gb18030", LONG.format('<meta charset="gbk">').replace("患者", "患者㐂"), ""),
    "header says ISO-8859-1": ("gbk", LONG.format(""), "text/html; charset=ISO-8859-1"),
    "header says UTF-8": ("gbk", LONG.format(""), "text/html; charset=utf-8"),
    "meta says UTF-8": ("gbk", LONG.format('<meta charset="utf-8">'), ""),
    "meta says ISO-8859-1": ("gbk", LONG.format('<meta charset="iso-8859-1">'), ""),
    "meta says gbk, holds UTF-8": ("utf-8", LONG.format('<meta charset="gbk">'), ""),
    "header says gbk, holds UTF-8": ("utf-8", LONG.format(""), "text/html; charset=gb2312"),
    "late": ("gbk", LONG.format(f'{LATE}<meta http-equiv=Content-Type content="text/html;charset=gb2312">'), ""),
    "late and wrong": ("gbk", LONG.format(f'{LATE}<meta charset="windows-1252">'), ""),
    "an unknown name": ("gbk", LONG.format('<meta charset="x-chinese">'), ""),
    "title before the charset": ("gbk", LONG.format("<title>首页</title><meta charset=gbk>"), ""),
    "header and meta disagree": ("gbk", LONG.format('<meta charset="gb2312">'), "text/html; charset=big5"),
    "header alone is right": ("gbk", f"<html><body><p>{WORDS}</p></body></html>", "text/html; charset=GB2312"),
    "mostly tags": ("gbk", f"<html><body>{'<br class=x>' * 2000}<p>{WORDS}</p></body></html>", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", CHARSETS)
def test_chinese_pages_come_out_right_whatever_they_declare(tmp_path: Path, name: str) -> None:
    encoding, page, header = CHARSETS[name]
    path = archive(tmp_path / "a.warc.gz", [("http://a.cn/", page.encode(encoding), {"Content_Type": header})])
    text = "".join(document.text for document in documents(path))
    first = page[page.index("高血压患者") :][:30]
    assert first in text and "\ufffd" not in text


def test_a_page_with_broken_bytes_keeps_the_rest(tmp_path: Path) -> None:
    body = LONG.format('<meta charset="gb2312">').encode("gbk").replace("规律".encode("gbk"), b"\xb9\xff\xff", 1)
    (document,) = documents(archive(tmp_path / "a.warc.gz", [("http://a.cn/", body, {})]))
    assert document.text.count(WORDS) == 5 and document.meta["undecodable"] >= 1


def test_a_document_names_its_page_and_when_it_was_fetched(tmp_path: Path) -> None:
    page = html("偏头痛", head='<link rel="license" href="/terms">').encode()
    (document,) = documents(archive(tmp_path / "a.warc.gz", [("https://a.cn/x?y=1", page, {})]))
    assert (document.source, document.title, document.section) == ("https://a.cn/x?y=1", "偏头痛", ("要点",))
    assert document.license == "https://a.cn/terms" and document.meta["fetched"] == "2024-05-06T07:08:09Z"


@pytest.mark.parametrize("name", ["a.warc.gz", "a.warc", "plain"])
def test_files_are_told_by_name_or_content(tmp_path: Path, name: str) -> None:
    pages = [(f"http://a.cn/{number}", html(f"第{number}页").encode(), {}) for number in range(3)]
    path = archive(tmp_path / name, pages, packed=name != "a.warc")
    assert [document.source for document in documents(path)] == [url for url, _, _ in pages]


@pytest.mark.parametrize("size", [1, 500, 3000, 10_000, 1 << 30])
def test_ranges_own_every_record_once(tmp_path: Path, size: int) -> None:
    pages = [(f"http://a.cn/{number}", html(f"第{number}页" * (number % 7 + 1)).encode(), {}) for number in range(40)]
    (source,), _ = discover([str(archive(tmp_path / "a.warc.gz", pages))])
    found = [item for part in split(source, size) for item in read(part, ReadOptions())]
    assert [item.source for item in found if isinstance(item, Document)] == [url for url, _, _ in pages]


def test_packed_bodies_and_what_is_no_page(tmp_path: Path) -> None:
    page = html("打包").encode()
    pages = [
        ("http://a.cn/gzip", gzip.compress(page), {"Content_Encoding": "gzip"}),
        ("http://a.cn/lies", page, {"Content_Encoding": "gzip"}),
        ("http://a.cn/404", page, {"status": "404 Not Found"}),
        ("http://a.cn/301", b"", {"status": "301 Moved", "Location": "/"}),
        ("http://a.cn/picture", b"\x89PNG", {"Content_Type": "image/png"}),
        ("http://a.cn/none", b"", {}),
        ("http://a.cn/only-scripts", b"<html><script>1</script></html>", {}),
    ]
    (source,), _ = discover([str(archive(tmp_path / "a.warc.gz", pages))])
    found = list(read(source, ReadOptions()))
    assert [item.source for item in found if isinstance(item, Document)] == ["http://a.cn/gzip", "http://a.cn/lies"]
    assert {item.source: item.rule for item in found if isinstance(item, Fault)} == {
        "http://a.cn/404": "http_404",
        "http://a.cn/picture": "not_text",
        "http://a.cn/none": "empty_page",
        "http://a.cn/only-scripts": "empty_page",
    }


def test_wet_files_hold_text_and_a_language(tmp_path: Path) -> None:
    path = tmp_path / "CC-MAIN-20240506070809-00000.warc.wet.gz"
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        writer.write_record(writer.create_warcinfo_record(path.name, {"isPartOf": "CC-MAIN"}))
        record(writer, "http://a.cn/1", f"标题\n{WORDS}\n".encode(), kind="conversion")
    (document,) = documents(path)
    assert document.text == f"标题\n{WORDS}" and document.language == "zh" and document.source == "http://a.cn/1"


def test_arc_files_are_read_too(tmp_path: Path) -> None:
    body = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + html("旧档").encode()
    version = b"1 0 Archive\nURL IP-address Archive-date Content-type Archive-length\n"
    head = f"filedesc://a.arc 0.0.0.0 20010203040506 text/plain {len(version)}\n".encode()
    line = f"http://a.cn/old 1.2.3.4 20010203040506 text/html {len(body)}\n".encode()
    (tmp_path / "a.arc.gz").write_bytes(
        b"".join(gzip.compress(part) for part in (head + version + b"\n", line + body + b"\n"))
    )
    (document,) = documents(tmp_path / "a.arc.gz")
    assert document.title == "旧档" and document.meta["fetched"] == "2001-02-03T04:05:06Z"


def test_a_file_cut_short_gives_what_is_whole(tmp_path: Path) -> None:
    pages = [(f"http://a.cn/{number}", html(f"第{number}页").encode(), {}) for number in range(5)]
    path = archive(tmp_path / "a.warc.gz", pages)
    path.write_bytes(path.read_bytes()[:-60])
    found = list(read(Source(str(path), path.name, "warc", "gz"), ReadOptions()))
    whole = [item.source for item in found if isinstance(item, Document)]
    assert whole[:4] == [url for url, _, _ in pages[:4]]


def test_a_folder_of_a_crawl_is_read_from_its_documents(tmp_path: Path) -> None:
    from datatools.io.atomic import parquet_writer
    from schemas.document import DOCUMENT

    archive(tmp_path / "crawl-00001.warc.gz", [("http://a.cn/", html("x").encode(), {})])
    assert [source.name for source in discover([str(tmp_path)])[0]] == ["crawl-00001.warc.gz"]
    with parquet_writer(tmp_path / "documents.parquet", DOCUMENT):
        pass
    with parquet_writer(tmp_path / "documents.trace.parquet", DOCUMENT):
        pass
    assert [source.name for source in discover([str(tmp_path)])[0]] == ["documents.parquet"]


STRANGE = [
    b"<",
    b"<!---->",
    b"\0" * 50,
    b"\xff\xfe",
    b"<html>",
    b"%PDF-1.4 broken",
    b"\x1f\x8b\x08",
    b"]]>",
    b"<?xml",
    b"&#0;",
]


@pytest.mark.parametrize(
    "media", ["text/html", "text/plain", "application/xml", "application/pdf", "", "text/html; charset=x"]
)
def test_no_page_ends_the_reading_of_a_file(tmp_path: Path, media: str) -> None:
    pages = [(f"http://a.cn/{number}", body, {"Content_Type": media}) for number, body in enumerate(STRANGE)]
    pages.append(("http://a.cn/last", html("最后").encode(), {}))
    assert documents(archive(tmp_path / "a.warc.gz", pages))[-1].title == "最后"
