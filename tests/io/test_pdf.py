"""PDF: paragraphs as they were written, without what the page layout put between them."""

from __future__ import annotations

from datatools.io.read import read
from datatools.io.source import Fault, ReadOptions, Source
from schemas.document import Document

LINE_HEIGHT = 16


def pdf(pages: list[list[str]], bookmarks: list[tuple[int, str]] = ()) -> bytes:  # type: ignore[assignment]
    """A small PDF: each page a list of lines in 12 point, Latin in Courier, Chinese in a font that is not embedded."""
    objects: list[bytes] = []

    def add(content: str) -> int:
        objects.append(content.encode("latin-1"))
        return len(objects)

    latin = add("<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>")
    descendant = add(
        "<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /DW 1000"
        " /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 4 >> >>"
    )
    chinese = add(
        f"<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UTF16-H"
        f" /DescendantFonts [{descendant} 0 R] >>"
    )
    root = len(objects) + 2 * len(pages) + 1
    numbers = []
    for lines in pages:
        drawn = []
        for number, line in enumerate(lines):
            font, shown = ("L", f"({line})") if line.isascii() else ("C", f"<{line.encode('utf-16-be').hex()}>")
            drawn.append(f"BT /{font} 12 Tf 50 {750 - LINE_HEIGHT * number} Td {shown} Tj ET")
        content = "\n".join(drawn)
        stream = add(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
        numbers.append(
            add(
                f"<< /Type /Page /Parent {root} 0 R /MediaBox [0 0 600 800] /Contents {stream} 0 R"
                f" /Resources << /Font << /L {latin} 0 R /C {chinese} 0 R >> >> >>"
            )
        )
    add(f"<< /Type /Pages /Count {len(pages)} /Kids [{' '.join(f'{n} 0 R' for n in numbers)}] >>")
    outline = ""
    if bookmarks:
        first = len(objects) + 2
        add(f"<< /Type /Outlines /First {first} 0 R /Last {first + len(bookmarks) - 1} 0 R /Count {len(bookmarks)} >>")
        for place, (page, title) in enumerate(bookmarks):
            chain = f"/Next {first + place + 1} 0 R" if place + 1 < len(bookmarks) else ""
            chain += f" /Prev {first + place - 1} 0 R" if place else ""
            name = title.encode("utf-16-be").hex()
            add(f"<< /Title <feff{name}> /Parent {first - 1} 0 R /Dest [{numbers[page]} 0 R /Fit] {chain} >>")
        outline = f"/Outlines {first - 1} 0 R"
    catalog = add(f"<< /Type /Catalog /Pages {root} 0 R {outline} >>")
    data, places = b"%PDF-1.7\n", []
    for number, content_ in enumerate(objects, start=1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content_)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    tail = b"trailer << /Size %d /Root %d 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, catalog, len(data))
    return data + head + table + tail


def read_pdf(data: bytes) -> list[object]:
    return list(read(Source("a.pdf", "papers/a.pdf", "pdf", data=data), ReadOptions()))


def texts(data: bytes) -> list[tuple[tuple[str, ...], str]]:
    found = read_pdf(data)
    assert all(isinstance(item, Document) for item in found), found
    return [(item.section, item.text) for item in found]  # type: ignore[attr-defined]


ENGLISH = [
    "Aspirin reduces the risk of a second heart attack. It irri-",
    "tates the stomach, so take it with a meal.",
    "Do not stop it yourself.",
    "Ask your doctor before you take any other pain killer with",
    "it.",
]


def test_wrapped_lines_are_joined_and_others_are_not() -> None:
    assert texts(pdf([ENGLISH])) == [
        (
            (),
            "Aspirin reduces the risk of a second heart attack. It irritates the stomach, so take it with a meal."
            "\nDo not stop it yourself.\n"
            "Ask your doctor before you take any other pain killer with it.",
        )
    ]


def test_chinese_lines_are_joined_without_spaces() -> None:
    lines = ["高血压患者应当低盐饮食，每日食盐不超过五克，并且坚", "持规律运动。", "定期随访。"]
    assert texts(pdf([lines])) == [((), "高血压患者应当低盐饮食，每日食盐不超过五克，并且坚持规律运动。\n定期随访。")]


def test_running_heads_and_page_numbers_are_left_out() -> None:
    words = ["one", "two", "three", "four", "five"]
    pages = [["Journal of Tests 2020", f"Page {word} says something.", f"- {n} -"] for n, word in enumerate(words)]
    ((_, text),) = texts(pdf(pages))
    assert "Journal" not in text and "- 3 -" not in text
    assert text.count("says something") == 5


def test_bookmarks_make_sections() -> None:
    data = pdf([["Before."], ["Causes", "Mostly viral."], ["Care", "Drink water."]], [(1, "Causes"), (2, "Care")])
    assert texts(data) == [((), "Before."), (("Causes",), "Mostly viral."), (("Care",), "Drink water.")]


def test_a_scan_is_a_fault_of_its_own() -> None:
    (fault,) = read_pdf(pdf([[], []]))
    assert isinstance(fault, Fault) and fault.rule == "no_text_layer"
