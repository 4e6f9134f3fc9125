"""Markdown: headings become sections, inline markup plain text; code, lists and tables stay."""

from __future__ import annotations

import re
from collections.abc import Iterator

from datatools.io.encoding import decode
from datatools.io.outline import Block, Heading, documents, file_title, only_top_heading, sections, tidy_heading
from datatools.io.pieces import LONGEST_PARSED, spans
from datatools.io.scripts import subscript, superscript
from datatools.io.source import Read, ReadOptions, Source
from datatools.io.text import encoding_meta
from schemas.document import Document

FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.S)
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*")
SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*")
RULE = re.compile(r" {0,3}([-*_])[ \t]*(?:\1[ \t]*){2,}")
TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
LINK_TARGET = re.compile(r" {0,3}\[(?!\^)[^\]]+\]:[ \t]*\S+.*")
COMMENT = re.compile(r"<!--.{0,20000}?-->", re.S)

INLINE = (  # in this order: what comes first may stand inside what comes later
    (re.compile(r"!\[[^\]]*\]\((?:[^()]|\([^()]*\))*\)|!\[[^\]]*\]\[[^\]]*\]"), ""),
    (re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\((?:[^()]|\([^()]*\))*\)"), r"\1"),
    (re.compile(r"\[([^\[\]]+)\]\[[^\[\]]*\]"), r"\1"),
    (re.compile(r"<((?:https?|ftp)://[^<>\s]+|mailto:[^<>\s]+|[^<>\s@]+@[^<>\s@]+)>"), r"\1"),
    (re.compile(r"<br\s*/?>", re.I), "\n"),
    (re.compile(r"</?(?:a|abbr|b|big|center|code|del|details|div|em|font|i|img|ins|kbd|mark|p|s|small|span|strong"
                r"|sub|summary|sup|u)(?:\s[^<>]*)?/?>", re.I), ""),
    (re.compile(r"(\*\*\*|\*\*)(?=[^\s*])((?:[^*\n]|\n(?!\n)|\*(?!\*)){1,500}?)(?<=[^\s*])\1"), r"\2"),
    (re.compile(r"(?<![A-Za-z0-9*])\*(?=[^\s*])((?:[^*\n]|\n(?!\n)){1,500}?)(?<=[^\s*])\*(?![A-Za-z0-9*])"), r"\1"),
    (re.compile(r"(?<!\w)(___|__|_)(?=[^\s_])((?:[^\n]|\n(?!\n)){1,500}?)(?<=[^\s_])\1(?!\w)"), r"\2"),
    (re.compile(r"~~(?=\S)(.+?)(?<=\S)~~"), r"\1"),
    (re.compile(r"\\([\\`*_{}\[\]()#+\-.!|<>~])"), r"\1"),
)  # fmt: skip
RAISED = re.compile(r"<su([pb])>([^<>]*)</su[pb]>", re.I)
CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.S)


def read(source: Source, options: ReadOptions) -> Iterator[Read]:
    """One Document per section that has text; title and licence from the front matter or the only top heading."""
    decoded = decode(source.read())
    front = FRONT_MATTER.match(decoded.text)
    start = front.end() if front else 0
    parts = list(all_blocks(decoded.text, start))
    title = front_value(front, "title") or only_top_heading(parts) or file_title(source.name)
    base = Document("", source.name, license=front_value(front, "license"), source_type="other")
    base.meta = encoding_meta(decoded)
    return documents(sections(parts), title, base)


def front_value(front: re.Match[str] | None, key: str) -> str:
    """A plain value of the front matter; empty where there is none."""
    found = re.search(rf"^{key}[ \t]*:[ \t]*(.+?)[ \t]*$", front[1], re.M | re.I) if front else None
    return found[1].strip("\"'") if found else ""


def all_blocks(text: str, start: int) -> Iterator[Heading | Block]:
    """Headings and blocks of the whole text, so much at a time as can be parsed in little memory."""
    if len(text) <= LONGEST_PARSED:
        yield from blocks(text, start)
        return
    for begin, stop in spans(text, LONGEST_PARSED):
        for part in blocks(text[begin:stop], max(0, start - begin)):
            yield part if isinstance(part, Heading) else Block(part.text, begin + part.offset)


def blocks(text: str, start: int) -> Iterator[Heading | Block]:
    """Headings, and between them the blocks that blank lines part, with their places in the text."""
    lines: list[str] = []
    begin = place = start
    fence = ""
    for line in COMMENT.sub(blank, text[start:]).split("\n"):
        heading = None if fence else heading_of(line, lines)
        if heading or (not line.strip() and not fence):
            if heading and SETEXT.fullmatch(line):
                lines = []  # the lines above the rule are the heading
            yield from block(lines, begin)
            lines = []
            if heading:
                yield heading
        else:
            begin = begin if lines else place
            lines.append(line)
            fence = open_fence(line, fence)
        place += len(line) + 1
    yield from block(lines, begin)


def blank(comment: re.Match[str]) -> str:
    """As many characters as the comment had, so that places stay right."""
    return re.sub(r"[^\n]", " ", comment[0])


def open_fence(line: str, fence: str) -> str:
    """The fence that is open after this line; empty outside of code."""
    found = FENCE.match(line)
    if not found:
        return fence
    if not fence:
        return found[1]
    return "" if found[1].startswith(fence) and not line.strip().strip(fence[0]) else fence


def heading_of(line: str, above: list[str]) -> Heading | None:
    """The heading this line is, or makes of the lines above it."""
    if atx := ATX.fullmatch(line):
        return Heading(len(atx[1]), tidy_heading(plain(atx[2] or "")))
    if above and SETEXT.fullmatch(line) and not is_list_or_table(above[0]) and len(above) <= 2:
        return Heading(1 if "=" in line else 2, tidy_heading(plain(" ".join(above))))
    return None


def is_list_or_table(line: str) -> bool:
    """Whether a rule below this line is a rule or part of a table, and no underline."""
    return bool(re.match(r"\s*(?:[-*+>|]|\d+[.)])\s|\s*\|", line)) or FENCE.match(line) is not None


def block(lines: list[str], begin: int) -> Iterator[Block]:
    """The lines as one block of plain text; nothing for rules and link targets."""
    if not lines:
        return
    if FENCE.match(lines[0]) or all(line.startswith(("    ", "\t")) for line in lines):
        yield Block("\n".join(lines), begin)
        return
    kept = [line for line in lines if not RULE.fullmatch(line) and not LINK_TARGET.fullmatch(line)]
    if any("|" in line for line in kept) and any(TABLE_RULE.fullmatch(line) and "|" in line for line in kept):
        kept = [table_row(line) for line in kept if not TABLE_RULE.fullmatch(line)]
    text = plain("\n".join(re.sub(r"^ {0,3}>[ \t]?", "", line.rstrip()) for line in kept))
    if text.strip():
        yield Block(text.strip("\n"), begin)


def table_row(line: str) -> str:
    """A row with ` | ` between its cells and none around them."""
    return " | ".join(cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|")))


def plain(text: str) -> str:
    """Text without links, images, emphasis and escapes; code between backticks is left as it is."""
    kept: list[str] = []

    def keep(code: re.Match[str]) -> str:
        kept.append(code[2].strip())
        return f"\ue0ff{len(kept) - 1}\ue0ff"

    text = CODE.sub(keep, text)
    text = RAISED.sub(lambda found: superscript(found[2]) if found[1].lower() == "p" else subscript(found[2]), text)
    for pattern, replacement in INLINE:
        text = pattern.sub(replacement, text)
    return re.sub("\ue0ff(\\d+)\ue0ff", lambda number: kept[int(number[1])], text)
