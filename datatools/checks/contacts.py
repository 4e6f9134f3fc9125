"""URLs, e-mail addresses, telephone numbers and DOIs: models invent them readily, so each must stand in the source."""

from __future__ import annotations

import re

from datatools.checks.plain import nfkc

# Lookarounds and not \\b, which never holds between a digit and a Han character.
_CONTACT = re.compile(
    r"(?P<url>(?:https?://|(?<![A-Za-z0-9])www\.)[A-Za-z0-9\-._~:/?#@!$&*+=%]{1,500})"
    r"|(?P<email>(?<![A-Za-z0-9._%+\-])[A-Za-z0-9][A-Za-z0-9._%+\-]{0,63}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{2,63}){1,4})"
    r"|(?P<doi>(?<![0-9.])10\.[0-9]{4,9}/[A-Za-z0-9\-._;()/:]{1,200})"
    r"|(?P<mobile>(?<![0-9])1[3-9][0-9][\s\-]?[0-9]{4}[\s\-]?[0-9]{4}(?![0-9]))"
    r"|(?P<landline>(?<![0-9])(?:0[1-9][0-9]{1,2}[\s\-][1-9][0-9]{6,7}|\(0[1-9][0-9]{1,2}\)\s?[1-9][0-9]{6,7})(?![0-9]))"
    r"|(?P<toll>(?<![0-9])[48]00-?[0-9]{3,4}-?[0-9]{3,4}(?![0-9]))"
    r"|(?P<american>(?<![0-9])(?:\+?1[\s\-.])?(?:\([2-9][0-9]{2}\)\s?|[2-9][0-9]{2}[\-.])[0-9]{3}[\-.][0-9]{4}(?![0-9]))"
)
# Every number that could be a contact has this; clean text, nearly all of it, stops here.
_DIGITS = re.compile(r"[0-9][0-9.\s()\-]{5}[0-9/]")
_NOT_WORD = re.compile(r"[\s\-()]+")


def contacts(text: str) -> tuple[str, ...]:
    """Every URL, e-mail address, DOI and telephone number of `text`, in order, each once.

    >>> contacts("详见www.example.org，电话010-12345678或１３８００１３８０００。")
    ('www.example.org', '010-12345678', '13800138000')
    """
    plain = nfkc(text)
    if not (_DIGITS.search(plain) or "@" in plain or "://" in plain or "www." in plain):
        return ()
    return tuple(dict.fromkeys(match[0].rstrip(".,;:!?") for match in _CONTACT.finditer(plain)))


def missing_contacts(answer: str, source: str) -> tuple[str, ...]:
    """Contacts of `answer` that do not stand in `source`; spaces, hyphens and case make no difference.

    >>> missing_contacts("拨打 138 0013 8000 或访问 https://a.example/x", "联系电话：13800138000")
    ('https://a.example/x',)
    """
    found = contacts(answer)
    if not found:
        return ()
    bare = _bare(nfkc(source))
    return tuple(contact for contact in found if _bare(contact) not in bare)


def without_contacts(text: str) -> str:
    """`text` with its contacts blanked out, so that their digits are not read as numbers."""
    found = contacts(text)
    if found:
        text = nfkc(text)
        for contact in found:
            text = text.replace(contact, " ")
    return text


def _bare(text: str) -> str:
    return _NOT_WORD.sub("", text).lower()
