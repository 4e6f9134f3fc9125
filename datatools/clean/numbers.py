"""Numbers that prove themselves: identity cards, bank cards and social security numbers by checksum, range and date."""

from __future__ import annotations

import re
from datetime import date

# First two digits of a Chinese identity number: provinces, regions, and the residence permits of 81–83.
PROVINCES = frozenset(
    "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83".split()
)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECKS = "10X98765432"


def id_checksum(digits: str) -> str:
    """The 18th character of an identity number from its first 17 digits (GB 11643, ISO 7064 mod 11-2).

    >>> id_checksum("11010519491231002")
    'X'
    """
    return _CHECKS[sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, digits, strict=False)) % 11]


def is_id_card(number: str) -> bool:
    """Whether 18 characters are an identity number: province, date of birth and checksum hold.

    >>> is_id_card("11010519491231002X"), is_id_card("110105194912310021")
    (True, False)
    """
    if number[:2] not in PROVINCES or not 1800 <= int(number[6:10]) <= date.today().year:  # noqa: DTZ011 a year
        return False
    return (
        is_date(int(number[6:10]), int(number[10:12]), int(number[12:14])) and id_checksum(number) == number[17].upper()
    )


def is_old_id_card(number: str) -> bool:
    """Whether 15 digits are an identity number of before 1999, which had no checksum."""
    return (
        len(number) == 15
        and number[:2] in PROVINCES
        and is_date(1900 + int(number[6:8]), int(number[8:10]), int(number[10:12]))
    )


def is_date(year: int, month: int, day: int) -> bool:
    """Whether the calendar has this day."""
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def is_birth_date(text: str) -> bool:
    """Whether month and day of a written date, where they are digits, can be ones."""
    parts = [int(part) for part in re.findall("[0-9]+", text)]
    if len(parts) == 1 and parts[0] > 10_000_000:
        return is_date(parts[0] // 10_000, parts[0] // 100 % 100, parts[0] % 100)
    if len(parts) == 3 and parts[0] > 31:
        return is_date(*parts)
    if len(parts) == 3:
        return 1 <= min(parts[:2]) <= 12 and max(parts[:2]) <= 31
    return len(parts) == 2 and (parts[0] <= 31 or 1 <= parts[1] <= 12)


def luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn checksum of the others.

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    total = 0
    for place, digit in enumerate(map(int, reversed(digits))):
        total += digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4)
    return total % 10 == 0


def is_bank_card(digits: str, *, labelled: bool) -> bool:
    """Whether 13–19 digits are a card number: Luhn, and a prefix and length that issuers use.

    UnionPay's 62 is sure enough alone; the prefixes of other networks also begin barcodes and lot numbers, so they need
    a label before them or the groups of four a card shows.
    """
    if len(set(digits)) < 2 or not luhn(digits):
        return False
    size = len(digits)
    if digits.startswith("62"):
        return 16 <= size <= 19
    known = (
        (digits[0] == "4" and size in (13, 16, 19))
        or (
            size == 16
            and (51 <= int(digits[:2]) <= 55 or 2221 <= int(digits[:4]) <= 2720 or digits[:2] in ("35", "65", "60"))
        )
        or (size == 15 and digits[:2] in ("34", "37"))
        or (size in (16, 17, 18, 19) and digits[0] in "3456")
    )
    return labelled and known


def is_ssn(number: str) -> bool:
    """Whether 123-45-6789 is in the ranges of US social security numbers."""
    area, group, serial = number.split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"
