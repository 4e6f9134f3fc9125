"""Entries inside a section: the digitised classics set the name of a formula or point in bold at the line's start."""

from __future__ import annotations

import re
from collections.abc import Iterator

from schemas.document import Document

# \x化凤膏\x 治咽喉、颈项结核成形及瘰疬。… The name may itself be hard-wrapped.
# Whose it is or what for may stand before it, or a number: （东垣）\x补中益气汤\x 治劳倦。 〔表邪〕\x疏风散\x 荆芥。
_RUN_IN = re.compile(
    r"(?m)^[ \u3000]*(?:第[一二三四五六七八九十百]{1,4}、)?"
    r"(?P<before>（[^（）\n]{1,8}）|《[^《》\n]{1,8}》|〔[^〔〕\n]{1,8}〕)?\\x(?P<name>[^\\]{1,160}?)\\x"
)
_ANOTHER = re.compile(r"\s*又(?:一)?[方法][。：\s]*")


def entries(document: Document) -> Iterator[Document]:
    """The entries of a section, each with its name as the last part of `section`; the document itself if it has none.

    «又方» (another formula) is filed under the entry it is another one for. A bold line with nothing behind it, such
    as a signature, stays text of the entry before it.
    """
    marks = list(_RUN_IN.finditer(document.text)) if "\\x" in document.text else []
    if not marks:
        yield document
        return
    stops = [*(mark.start() for mark in marks[1:]), len(document.text)]
    found: list[tuple[int, tuple[str, ...], str]] = [(0, (), document.text[: marks[0].start()])]
    main = ""
    for mark, stop in zip(marks, stops, strict=True):
        start, name, body = mark.start(), _clean(mark["name"]), document.text[mark.end() : stop]
        # A mark right behind a mark stands at no line's start in the section, but does in the body.
        rest = _RUN_IN.sub("", body) if "\\x" in body else body
        if not name or not rest.strip():
            offset, path, before = found[-1]
            found[-1] = (offset, path, before + document.text[start:stop])
            continue
        another = bool(_ANOTHER.fullmatch(name)) and bool(main)
        # What stands before a name is no part of the text behind it: an answer is one piece of its book.
        above = (main,) if another else (mark["before"],) if mark["before"] else ()
        found.append((start, (*above, name), body))
        main = main if another else name
    for place, (offset, path, body) in enumerate(found, 1):
        if body.strip():
            yield document.piece(body, id=f"{document.id}.{place}", offset=document.offset + offset, section=path)


def _clean(name: str) -> str:
    return "".join(name.split())
