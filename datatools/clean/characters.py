"""What Unicode says of many characters at once.

Tables of characters are built at every start of a process: with a loop over code points they would take longer than
reading a small input.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from operator import eq

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]


def characters(codes: Iterable[int]) -> str:
    """The characters of these code points.

    >>> characters([0x75C5, 0x41])
    '病A'
    """
    return "".join(map(chr, codes))


def categories(text: str) -> npt.NDArray[np.bytes_]:
    """The general category of every character.

    >>> categories("A病\u0301").tolist()
    [b'Lu', b'Lo', b'Mn']
    """
    return np.frombuffer("".join(map(unicodedata.category, text)).encode(), "S2")


def combining(text: str) -> Flags:
    """Whether a character has a combining class other than 0."""
    return np.fromiter(map(unicodedata.combining, text), np.uint8, len(text)) > 0


def is_own_nfc(text: str) -> Flags:
    """Whether each character alone is what NFC makes of it.

    >>> is_own_nfc("Aé\u212b\\n").tolist()
    [True, True, False, True]
    """
    # A line each: nothing composes with a line feed or across it.
    lines = unicodedata.normalize("NFC", "\n".join(text.replace("\n", " "))).split("\n")
    return np.fromiter(map(eq, lines, text), bool, len(text)) | says("\n".__eq__, text)


def says(method: object, text: str) -> Flags:
    """What a method of str (`str.isspace`) says of every character.

    >>> says(str.isspace, "a 病").tolist()
    [False, True, False]
    """
    assert callable(method)
    return np.fromiter(map(method, text), bool, len(text))
