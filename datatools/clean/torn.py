"""Text that a table or a narrow column of a page tore apart: a few characters a line, and no line says anything."""

from __future__ import annotations

import re

SHORT = 5  # characters of a fragment
RUN = 3  # fragments in a row; fewer stand in any list of headings, but for halves of brackets
_CLOSED = re.compile(r"[。；：！？.:;!?]$|^[【〔\[《]")
_HAN = re.compile(r"[\u3400-\u9fff]")
# What a line of a list never is: a lone character, half a bracket, a clause that ends inside it, its second half.
_HALF = re.compile(r"^[\u3400-\u9fff]$|[。，；]|^[之者而则也即于以或乃若愈矣]")


def torn_lines(text: str) -> int:
    """Lines of the longest run of fragments, where at least one of them is no item of a list; else 0.

    >>> torn_lines("附子（一两炮裂\\n去皮\\n脐）\\n甘\\n草（一两）\\n捣末。"), torn_lines("五苓散\\n胃苓汤\\n二陈汤")
    (4, 0)
    """
    longest, run = 0, list[str]()
    for line in (*filter(None, map(str.strip, text.split("\n"))), "。"):
        if len(line) <= SHORT and _HAN.search(line) and not _CLOSED.search(line):
            run.append(line)
            continue
        if (len(run) >= RUN and any(map(_is_half, run))) or (len(run) > 1 and all(map(_is_unbalanced, run))):
            longest = max(longest, len(run))
        run = []
    return longest


def _is_half(line: str) -> bool:
    return bool(_HALF.search(line)) or _is_unbalanced(line)


def _is_unbalanced(line: str) -> bool:
    return line.count("（") != line.count("）")
