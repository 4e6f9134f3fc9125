"""LaTeX markup turned into plain text, for the LaTeX reader.

Unknown commands lose their name and keep their arguments; the tables hold what must go and what stands for a sign.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from itertools import count

from datatools.io.latexsigns import GO_WITH_ONE, GO_WITH_TWO, SIGNS
from datatools.io.scripts import subscript, superscript

DROPPED = dict.fromkeys(GO_WITH_ONE, 1) | dict.fromkeys(GO_WITH_TWO, 2) | {"addcontentsline": 3}
NOTES = {"footnote", "tablefootnote", "footnotetext", "thanks", "endnote"}
LENGTH = re.compile(r"\s*-?[\d.]+\s*(?:em|ex|pt|cm|mm|in|bp|\\[a-z]+width)\b")
TOKEN = re.compile(r"\\([a-zA-Z@]+)\*?|\\(.)|([{}$~&^_])|(-{2,})|(``|'')|(\n[ \t]*\n\s*)", re.S)
TABLES = {"tabular", "tabular*", "tabularx", "tabulary", "longtable", "array", "tabu", "supertabular", "xltabular"}
GONE = {"comment", "tikzpicture", "thebibliography", "filecontents"}
LITERAL = {"verbatim", "lstlisting", "minted"}
MATHS = {"equation", "align", "gather", "multline", "eqnarray", "displaymath", "math"}
LISTS = {"itemize", "enumerate", "description", "compactitem", "compactenum"}
ENVIRONMENT_ARGUMENTS = {"minipage": 1, "multicols": 1, "wrapfigure": 2, "wraptable": 2, "subfigure": 1, "tabularx": 2,
                         "tabular*": 2, "tabulary": 2, "xltabular": 2, "tabular": 1, "longtable": 1, "array": 1,
                         "tabu": 1, "supertabular": 1, "spacing": 1, "adjustbox": 1}  # fmt: skip
HAN = "\u3000-\u303f\u4e00-\u9fff\uff00-\uffef\u2018-\u201d"
WRAPPED = re.compile(rf"(?<=[{HAN}])[ \t]*\n[ \t]*(?=[{HAN}])")
# Stand for breaks and notes until the end, as white space means nothing in LaTeX.
NOTE, LINE, PARAGRAPH = "\x01", "\x02", "\x03"


def plain(text: str) -> str:
    """Readable text: paragraphs parted by a blank line, footnotes behind the paragraph they belong to."""
    notes: list[str] = []
    converted = convert(text, notes, math=False)
    paragraphs = (flowed(paragraph, notes) for paragraph in converted.split(PARAGRAPH))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def flowed(paragraph: str, notes: list[str]) -> str:
    """One paragraph with its lines joined as LaTeX joins them, and its footnotes below."""
    places = [int(number) for number in re.findall(rf"{NOTE}(\d+){NOTE}", paragraph)]
    paragraph = WRAPPED.sub("", re.sub(rf"{NOTE}\d+{NOTE}", "", paragraph))
    lines = [closed_up(" ".join(line.split())) for line in paragraph.split(LINE)]
    return "\n".join([line for line in lines if line] + [flowed(notes[number], notes) for number in places]).strip()


def closed_up(line: str) -> str:
    """A line without the spaces that converters leave behind raised and lowered characters: 组胺H₁ 受体, ¹³¹ I."""
    line = re.sub(rf"(?<=[{HAN}\u2070-\u209c²³¹]) (?=[，。；：、！？）】》])", "", line)
    line = re.sub(rf"(?<=[\u2070-\u209c²³¹]) (?=[{HAN}])", "", line)
    return re.sub(r"(?<![A-Za-z0-9\u2070-\u209c²³¹])([\u2070-\u2079²³¹ᵐ]+) (?=[A-Z])", r"\1", line)


def convert(text: str, notes: list[str], math: bool) -> str:
    """Text without commands; breaks and notes as the marks above."""
    out: list[str] = []
    at = 0
    while token := TOKEN.search(text, at):
        out.append(text[at : token.start()])
        piece, at = spoken(token, text, notes, math)
        out.append(piece)
    return "".join(out) + text[at:]


def spoken(token: re.Match[str], text: str, notes: list[str], math: bool) -> tuple[str, int]:
    """What a token stands for, and where the text goes on."""
    name, escaped, sign, dashes, quotes, _ = token.groups()
    if name:
        return command(name, text, token.end(), notes, math)
    if escaped:
        return escape(escaped, text, token.end(), notes)
    if dashes:
        return "–" if len(dashes) == 2 else "—" * max(1, len(dashes) // 3), token.end()
    if quotes:
        return "“" if quotes == "``" else "”", token.end()
    if not sign:
        return PARAGRAPH, token.end()
    return by_sign(sign, text, token.end(), notes, math)


def by_sign(sign: str, text: str, at: int, notes: list[str], math: bool) -> tuple[str, int]:
    """Groups, formulas, raised and lowered characters, and the signs that are white space."""
    if sign == "{":
        inside, at = argument(text, at - 1)
        return convert(inside, notes, math), at
    if sign == "$":
        sign = "$$" if text.startswith("$", at) and not math else "$"
        start = at + len(sign) - 1
        end = text.find(sign, start)
        return (convert(text[start:end], notes, math=True), end + len(sign)) if end >= 0 else ("", start)
    if sign in "^_":
        if not math:
            return sign, at
        inside, at = argument(text, at)
        shift = superscript if sign == "^" else subscript
        return shift(convert(inside, notes, math)), at
    return " " if sign in "~&" else "", at


def escape(sign: str, text: str, at: int, notes: list[str]) -> tuple[str, int]:
    """A backslash and one sign: a line break, a formula, an accent, or the sign itself."""
    if sign == "\\":
        return LINE, options(text, at)
    if sign in "([":
        end = text.find("\\)" if sign == "(" else "\\]", at)
        return (convert(text[at:end], notes, math=True), end + 2) if end >= 0 else ("", at)
    if sign in ACCENTS:
        letter, end = argument(text, at)
        letter = letter.strip().removeprefix("\\")  # \i and \j are letters without their dot
        if letter[:1].isalpha():
            return unicodedata.normalize("NFC", letter[0] + ACCENTS[sign]) + letter[1:], end
    return SPACES.get(sign, sign), at


def command(name: str, text: str, at: int, notes: list[str], math: bool) -> tuple[str, int]:
    """What a command stands for; an unknown one for nothing, and its arguments are read as text."""
    if name == "begin":
        return environment(text, at, notes, math)
    if name in HANDLERS:
        arguments: list[str] = []
        number, handler = HANDLERS[name]
        at = options(text, at)
        for _ in range(number):
            inside, at = argument(text, at)
            arguments.append(convert(inside, notes, math) if name not in RAW else inside)
        return handler(*arguments), at
    if name in NOTES:
        inside, at = argument(text, options(text, at))
        notes.append(convert(inside, notes, math))
        return f"{NOTE}{len(notes) - 1}{NOTE}", at
    if name in SIGNS:
        return SIGNS[name].replace("\\\\", LINE), past_space(text, at)
    if name in ("subfloat", "subfigure", "item"):
        return optional(name, text, at, notes)
    if name == "verb":
        end = text.find(text[at : at + 1], at + 1)
        return text[at + 1 : end], end + 1
    if name in ("vskip", "hskip", "kern"):
        length = LENGTH.match(text, at)
        return "", length.end() if length else at
    if name == "end":
        return PARAGRAPH, argument(text, at)[1]
    at = options(text, at)
    for _ in range(DROPPED.get(name, 0)):
        at = options(text, argument(text, at)[1])
    return "", past_space(text, at)


def optional(name: str, text: str, at: int, notes: list[str]) -> tuple[str, int]:
    """Commands whose option is text: the caption of a part of a figure, the label of an item."""
    end = options(text, at)
    label = convert(text[at:end].strip()[1:-1], notes, math=False)
    return (f"{LINE}- {label} " if name == "item" else f"{PARAGRAPH}{label}{LINE}"), end


def environment(text: str, at: int, notes: list[str], math: bool) -> tuple[str, int]:
    """What stands between `\\begin{name}` and its `\\end{name}`."""
    name, start = argument(text, at)
    inside, end = until_end(text, start, name)
    if name in GONE:
        return "", end
    if name in LITERAL:
        return PARAGRAPH + inside.strip("\n").replace("\n", LINE) + PARAGRAPH, end
    start = options(inside, 0)
    for _ in range(ENVIRONMENT_ARGUMENTS.get(name, 0)):
        start = options(inside, argument(inside, start)[1])
    inside = inside[start:]
    if name in TABLES:
        return PARAGRAPH + table(inside, notes, math) + PARAGRAPH, end
    if name in LISTS:
        return PARAGRAPH + items(convert(inside, notes, math), name) + PARAGRAPH, end
    return PARAGRAPH + convert(inside, notes, math or name.rstrip("*") in MATHS) + PARAGRAPH, end


def until_end(text: str, start: int, name: str) -> tuple[str, int]:
    """The inside of an environment and the place behind it; all that is left where it is never ended."""
    depth = 1
    for bound in re.finditer(rf"\\(begin|end)\s*\{{{re.escape(name)}\}}", text[start:]):
        depth += 1 if bound[1] == "begin" else -1
        if depth == 0:
            return text[start : start + bound.start()], start + bound.end()
    return text[start:], len(text)


def table(inside: str, notes: list[str], math: bool) -> str:
    """Rows as lines of `a | b`; the head that a long table repeats on each page once."""
    inside = re.sub(r"\\endfirsthead.*?\\endhead|\\endfoot.*?\\endlastfoot", "", inside, flags=re.S)
    caption, inside = split_caption(inside)
    rows = []
    for row in re.split(r"\\\\(?:\[[^\]]*\])?|\\tabularnewline\b|\\endhead\b|\\endfirsthead\b", protect_nested(inside)):
        cells = (convert(cell.replace(NESTED, "\\\\"), notes, math) for cell in re.split(r"(?<!\\)&", row))
        line = " | ".join(" ".join(re.sub(f"[{LINE}{PARAGRAPH}]", " ", cell).split()) for cell in cells)
        rows.append(WRAPPED.sub("", line))
    return LINE.join([convert(caption, notes, math), *(row for row in rows if row.strip(" |"))])


NESTED = "\x04"  # stands for a line break within a cell


def protect_nested(inside: str) -> str:
    """Line breaks within braces are no ends of rows."""
    out, depth = [], 0
    for piece in re.split(r"(\\\\|\\[{}]|[{}])", inside):
        depth += {"{": 1, "}": -1}.get(piece, 0)
        out.append(NESTED if piece == "\\\\" and depth > 0 else piece)
    return "".join(out)


def split_caption(inside: str) -> tuple[str, str]:
    """The caption command of a long table, and the table without it."""
    found = re.search(r"\\caption\*?\s*(?=[\[{])", inside)
    if not found:
        return "", inside
    end = argument(inside, options(inside, found.end()))[1]
    return inside[found.start() : end], inside[: found.start()] + inside[end:]


def items(converted: str, name: str) -> str:
    """Items of a list, one a line; numbered where the list is."""
    if not name.endswith("enumerate") and name != "compactenum":
        return converted.replace(PARAGRAPH, LINE)
    numbers = count(1)
    return re.sub(rf"{LINE}- ", lambda _: f"{LINE}{next(numbers)}. ", converted.replace(PARAGRAPH, LINE))


def argument(text: str, at: int) -> tuple[str, int]:
    """The next argument (a group, a command or one character) and the place behind it."""
    at = past_space(text, at)
    if text[at : at + 1] == "{":
        depth = 0
        for brace in BRACE.finditer(text, at):
            depth += {"{": 1, "}": -1}.get(brace[0], 0)
            if depth == 0:
                return text[at + 1 : brace.start()], brace.end()
        return text[at + 1 :], len(text)
    if found := re.compile(r"\\(?:[a-zA-Z@]+|.)", re.S).match(text, at):
        return found[0], found.end()
    return text[at : at + 1], at + 1


BRACE = re.compile(r"\\.|[{}]", re.S)
OPTION = re.compile(r"\*?[ \t]*\[(?:[^\[\]{}]|\{[^{}]*\}|\[[^\]]*\])*\]")


def options(text: str, at: int) -> int:
    """The place behind any options in brackets."""
    while found := OPTION.match(text, at):
        at = found.end()
    return at


def past_space(text: str, at: int) -> int:
    """The place behind spaces and one line end, as after a command's name."""
    found = SPACE.match(text, at)
    return found.end() if found else at


SPACE = re.compile(r"[ \t]*(?:\n(?![ \t]*\n)[ \t]*)?")


def number_of(label: str) -> str:
    """What a reference to a label like `fig4-1` prints: 4-1; nothing where the label does not say."""
    found = re.search(r"\d+(?:[-.]\d+)*$", label)
    return found[0].replace("-0", "-") if found else ""


def chemistry(formula: str) -> str:
    """mhchem's notation: HPO4^2- → HPO₄²⁻."""
    formula = re.sub(r"\^\{?(\d*[+-]?)\}?", lambda found: superscript(found[1]), formula.replace("$", ""))
    formula = formula.replace("<=>", "⇌").replace("->", "→")
    formula = re.sub(r"(?<=[A-Za-z)\]\d])([+-])(?=\s|$|[)\]])", lambda found: superscript(found[1]), formula)
    return re.sub(r"(?<=[A-Za-z)\]])(\d+)", lambda found: subscript(found[1]), formula)


def fraction(above: str, below: str) -> str:
    """One over the other on a line, in brackets where it takes them."""
    return "/".join(part if re.fullmatch(r"[\w.%]+", part) else f"({part})" for part in (above, below))


def circled(number: str) -> str:
    """A number in a circle."""
    return chr(0x245F + int(number)) if number.isdigit() and 1 <= int(number) <= 20 else f"({number})"


HANDLERS: dict[str, tuple[int, Callable[..., str]]] = {
    "caption": (1, lambda text: f"{PARAGRAPH}{text}{PARAGRAPH}"),
    "ref": (1, number_of),
    "autoref": (1, number_of),
    "textsuperscript": (1, superscript),
    "textsubscript": (1, subscript),
    "ce": (1, chemistry),
    "frac": (2, fraction),
    "dfrac": (2, fraction),
    "tfrac": (2, fraction),
    "sqrt": (1, lambda text: f"√{text}" if len(text) == 1 else f"√({text})"),
    "textcircled": (1, circled),
    "url": (1, lambda text: text),
}
RAW = {"ref", "autoref", "ce", "url"}  # their argument is no text
ACCENTS = {"'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304", ".": "\u0307"}
SPACES = {",": " ", ";": " ", ":": " ", "!": "", "/": "", "-": "", "@": "", "\n": " ", "]": "", ")": ""}
