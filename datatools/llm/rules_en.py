"""Questions on English text: headings of a monograph or article, definitions, inclusions, titles of studies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from datatools.llm.topic import Passage, choose, is_generic, named_subject, subjects, unnumbered

Question: TypeAlias = tuple[str, str]

_FIELDS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), rule, question)
    for pattern, rule, question in (
        (r"^(?:definition|what (?:is|are) (?:it|they)|overview|description|about)\b", "definition", "What is {x}?"),
        (r"^(?:causes?|etiology|aetiology|what causes)\b", "cause", "What causes {x}?"),
        (r"^risk factors?\b", "risk", "What are the risk factors for {x}?"),
        (r"^(?:pathophysiology|mechanism|pathogenesis)\b", "mechanism", "What is the mechanism of {x}?"),
        (r"^(?:epidemiology|frequency|how common)\b", "epidemiology", "How common is {x}?"),
        (r"^(?:signs? and symptoms?|symptoms?|clinical (?:features|presentation|manifestations?)|presentation|warning signs?)\b",
         "symptom", "What are the symptoms of {x}?"),
        (r"^differential\b", "differential", "What should {x} be distinguished from?"),
        (r"^(?:diagnos(?:is|ing|tic)|tests?|investigations?|examination)\b", "diagnosis", "How is {x} diagnosed?"),
        (r"^(?:treatments?|management|therapy|how .* treated)\b", "treatment", "How is {x} treated?"),
        (r"^(?:first aid|emergency)\b", "first_aid", "What is the first aid for {x}?"),
        (r"^(?:prevention|preventing)\b", "prevention", "How can {x} be prevented?"),
        (r"^(?:complications?)\b", "complication", "What are the complications of {x}?"),
        (r"^(?:prognosis|outlook)\b", "prognosis", "What is the outlook for {x}?"),
        (r"^(?:dos(?:e|es|age|ing)|administration|how to take)\b", "dosage", "What is the dosage of {x}?"),
        (r"^(?:side effects?|adverse)\b", "adverse", "What are the side effects of {x}?"),
        (r"^(?:contraindications?|precautions?|warnings?|cautions?|safety)\b", "caution", "What precautions apply to {x}?"),
        (r"^(?:indications?|uses?)\b", "indication", "What is {x} used for?"),
        (r"^(?:composition|ingredients?)\b", "composition", "What is {x} made of?"),
        (r"^(?:when to (?:see|seek|call|get)|seeking|seek)\b", "seek_care", "When should someone with {x} seek medical care?"),
        (r"^(?:types?|classification|stages?)\b", "classification", "What types of {x} are there?"),
        (r"^(?:technique|steps?|procedure|method|how to)\b", "technique", "What is the right technique for {x}?"),
    )
)  # fmt: skip
_DEFINITION = re.compile(
    r"(?:^|[.\n]\s+)(?P<x>(?:An?\s+|The\s+)?[A-Z][A-Za-z0-9'-]*(?:\s+[a-z0-9'(][A-Za-z0-9')-]*){0,5}?)\s+"
    r"(?P<verb>is|are|refers to|means)\s+(?:an?|the|any|one of|defined as|caused by)\s"
)
_PRONOUN = re.compile(
    r"^(?:it|this|that|these|those|they|he|she|we|you|there|here|most|some|many|all|both|each|what|which|one|if|when)\b",
    re.IGNORECASE,
)
_INCLUDES = re.compile(
    r"(?:^|[.\n]\s+)(?P<x>[A-Z][A-Za-z' -]{3,48}?)\s+(?:include|includes|consists? of|comprises?)\s+[^.\n]{3,80},[^.\n]{3,80}"
)
_TITLES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), question)
    for pattern, question in (
        (r"^(?:the )?(?:effects?|impact|influence) of (?P<a>.+?) (?:on|in) (?P<b>.+)$", "What is the effect of {a} on {b}?"),
        (r"^(?:the )?roles? of (?P<a>.+?) in (?P<b>.+)$", "What is the role of {a} in {b}?"),
        (r"^(?:the )?(?:association|relationship|correlation|link)s? (?:of|between) (?P<a>.+?) (?:and|with) (?P<b>.+)$",
         "How is {a} related to {b}?"),
        (r"^(?:a )?comparison (?:of|between) (?P<a>.+?) (?:and|with|versus|vs\.?) (?P<b>.+)$", "How does {a} compare with {b}?"),
    )
)  # fmt: skip
_QUESTION = re.compile(
    r"\?$|^(?:what|why|how|when|who|which|where) (?:is|are|do|does|did|can|could|should|will|would|was|were|may|might)\b"
    r"|^(?:is|are|can|does|do|should|will) .{8,}",
    re.IGNORECASE,
)
_HOW_TO = re.compile(r"^how to (?P<what>.+)$", re.IGNORECASE)
# Only an illness or a drug answers to the field questions: oral rehydration at home cannot be prevented.
_ACTIVITY = re.compile(
    r"\b(?:using|use|reading|guide|home|care|chain|management|technique|how|your|notes|report|trials?)\b", re.IGNORECASE
)
_ACRONYM = re.compile(r"[A-Z]{2}|\d")


def questions(passage: Passage) -> Iterator[Question]:
    """Questions that a reader would ask of this passage, the most natural first."""
    document = passage.document
    heads = tuple(_calm(head) for head in subjects(document.section))
    title = _calm(_unslugged(unnumbered(document.title).rstrip(".")))
    first = passage.part == 0
    if first:
        yield from _by_heading(heads, title)
    if found := _definition(passage.text):
        yield found, "definition"
    included = _INCLUDES.search(passage.text)
    if included and not _PRONOUN.match(included["x"]):
        yield f"What do {_lower(included['x'])} include?", "includes"
    about = next((head for head in reversed(heads) if not is_generic(head) and not _field(head)), title)
    if about:
        yield from _by_opening(about, passage)


def _by_heading(heads: tuple[str, ...], title: str) -> Iterator[Question]:
    if not heads:
        if title:
            yield _study(title)
        return
    own = heads[-1]
    above = [head for head in (named_subject(title), *heads[:-1]) if head and not is_generic(head) and not _field(head)]
    field = _field(own)
    if _QUESTION.search(own):
        asked = own.rstrip("?").strip() + "?"
        alone = len(own.split()) > 4 or not above or above[0].lower() in own.lower()
        yield asked if alone else f"On {_lower(above[0])}: {_lower(asked)}", "heading_question"
    elif how := _HOW_TO.match(own):
        yield f"How do you {how['what']}?", "heading_question"
    elif field and above and not (len(above[-1].split()) > 5 or _ACTIVITY.search(above[-1])):
        yield field[2].format(x=_lower(above[-1])), field[1]
    elif is_generic(own):
        if above:
            yield f"What should I know about {_lower(above[-1])}?", "overview"
    else:
        yield _on_heading(own, above[0] if above else ""), "heading"


def _on_heading(own: str, subject: str) -> str:
    """Ask for a heading that is no question and no field, inside the subject of the whole."""
    variants: tuple[str, ...] = (
        "In {subject}, what should I know about {own}?",
        "What are the key points about {own} in {subject}?",
    )
    if not subject or subject.lower() in own.lower():
        variants = (
            "What should I know about {own}?",
            "Could you explain {own}?",
            "What are the key points about {own}?",
        )
    return choose(variants, own + subject).format(own=_lower(own), subject=_lower(subject))


def _field(heading: str) -> tuple[re.Pattern[str], str, str] | None:
    return next((field for field in _FIELDS if field[0].search(heading)), None)


def _study(title: str) -> Question:
    if _QUESTION.search(title):
        return title.rstrip("?").strip() + "?", "title_question"
    for pattern, question in _TITLES:
        if found := pattern.match(title.split(": ")[0]):
            first = found["a"] if _is_title_case(title) else _lower(found["a"])
            return question.format(a=first, b=found["b"].rstrip(" .")), "title"
    if len(title.split()) <= 5:
        return f"What should I know about {_lower(title)}?", "title"
    return choose(
        ('What does the study "{x}" report?', 'What are the findings of "{x}"?', 'Could you summarise "{x}"?'), title
    ).format(x=title), "title"


def _definition(text: str) -> str:
    for found in _DEFINITION.finditer(text[:600]):
        name = re.sub(r"^(?:An?|The)\s+", "", found["x"])
        if not _PRONOUN.match(found["x"]):
            verb = "are" if found["verb"] == "are" else "is"
            return f"What {verb} {_lower(name)}?"
    return ""


def _by_opening(about: str, passage: Passage) -> Iterator[Question]:
    """For later parts of a long section: quote how the part begins."""
    sentence = re.split(r"(?<=[a-z)])[.;:]\s|\n", passage.text.strip(), maxsplit=1)[0].lstrip("-*• ")
    words = sentence.split()[:9]
    if len(words) > 3:
        yield f'On {_lower(about)}: what is said about "{" ".join(words).rstrip(",.;:")}"?', "opening"


def _calm(heading: str) -> str:
    """A heading set in capitals as a sentence would have it; acronyms in other headings stay."""
    return heading.capitalize() if heading.isupper() and len(heading) > 5 else heading


def _is_title_case(title: str) -> bool:
    words = [word for word in title.split() if len(word) > 3]
    return sum(word[0].isupper() for word in words) > len(words) / 2


def _unslugged(title: str) -> str:
    """asthma-inhaler-technique, a file's name, as words."""
    return re.sub(r"[-_]+", " ", title) if " " not in title and re.search(r"\w[-_]\w+[-_]\w", title) else title


def _lower(name: str) -> str:
    """A heading inside a sentence: its first letter small unless it is an acronym or a code."""
    first = name.split(" ", 1)[0]
    return name if _ACRONYM.search(first) else name[:1].lower() + name[1:]
