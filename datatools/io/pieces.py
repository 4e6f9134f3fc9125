"""Texts too long to hold a dozen times over, cut at the end of a paragraph or sentence: nothing of them is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from schemas.document import Document

# Characters of a document's text: above every real section and most whole books, and cleaning holds several copies.
LONGEST_TEXT = 1 << 20
# Characters of a page or book that are parsed at a time, where what is made of them takes many times their size.
LONGEST_PARSED = 1 << 22
ENDS = ("\n\n", "\n", "。", "！", "？", "；", ". ", "! ", "? ", "，", " ")  # the best place to cut first
WHOLE = ("question", "answer", "messages", "fields")  # in meta: what the text says again


def spans(text: str, longest: int, ends: Sequence[str] = ENDS) -> Iterator[tuple[int, int]]:
    """Start and stop of consecutive parts of `text` of at most `longest` characters, cut behind one of `ends`.

    A part is at least half as long as it may be; where that half holds no end, it is cut within a word.

    >>> list(spans("发热。恶寒。无汗。", 7))
    [(0, 6), (6, 9)]
    """
    start = 0
    while len(text) - start > longest:
        stop = cut(text, start + longest // 2, start + longest, ends)
        yield start, stop
        start = stop
    yield start, len(text)


def cut(text: str, earliest: int, latest: int, ends: Sequence[str] = ENDS) -> int:
    """The best place to cut between two places: behind the last of the first of `ends` that is found there."""
    for end in ends:
        if (place := text.rfind(end, earliest, latest)) >= 0:
            return place + len(end)
    return latest


def pieces(document: Document, in_characters: bool) -> Iterator[Document]:
    """The Document, or where its text is longer than LONGEST_TEXT its pieces, numbered from 1 in `meta.piece`.

    `in_characters` says that offsets count characters, and not rows. White space around a cut is left out.
    """
    if len(document.text) <= LONGEST_TEXT:
        yield document
        return
    meta = {name: value for name, value in document.meta.items() if name not in WHOLE}
    for number, (start, stop) in enumerate(spans(document.text, LONGEST_TEXT), 1):
        body = document.text[start:stop]
        text = body.strip()
        if text:
            begin = start + len(body) - len(body.lstrip())
            offset = document.offset + begin if in_characters else document.offset
            piece = document.piece(text, id=document.id, offset=offset)
            piece.meta = {**meta, "piece": number}
            yield piece
