"""The report page: facts as one self-contained HTML file that fetches nothing and runs nothing.

Whatever comes from a corpus is escaped by the template; a Content-Security-Policy forbids scripts besides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from datatools.report import charts
from datatools.report.facts import Cluster, Counts, Example, Facts, Lengths, Rewrite, Step

TEMPLATE = Path(__file__).with_name("page.html.j2")
EXCERPT = 420  # characters of a text that is shown alone
CUT = 200  # characters of a text that a trace holds
MIDDLE = 400  # words or characters between a common beginning and end that are compared
CONTEXT = 24  # words or characters shown on each side of a long equal stretch
ALIKE = 0.3  # below this, marking what differs would mark nearly everything
SAME, UNLIKE = "the same text", "mostly different"
INPUTS, REASONS = 40, 60  # named on the page

LANGUAGES = {
    "zh": "Chinese",
    "lzh": "classical Chinese",
    "en": "English",
    "ja": "Japanese",
    "ko": "Korean",
    "und": "undetermined",
}
STEPS = {
    "cleaning": "read and clean",
    "redacting": "personal data",
    "values": "quality values",
    "keys": "keys and signatures",
    "exact": "exact duplicates",
    "near": "near duplicates",
    "decontaminate": "exam leaks",
}
TITLES = {
    "languages_read": "Languages read",
    "language": "Languages of the output",
    "source_type": "Source types",
    "generator": "Generators",
    "task": "Tasks",
    "entities": "Entities to ask about",
    "covered": "Entities asked about often enough",
    "entity_rows": "Rows by type of entity",
    "rows_by_entity": "Rows an entity",
    "claims": "Claims against the graph",
    "verdicts": "Verdicts of true or false",
    "prompt": "Prompts and rules",
    "judge": "Judges",
    "license": "Licences",
    "exam": "Exams",
    "relation": "Relations",
    "source": "Sources",
    "encodings": "Encodings found, in documents",
    "pii": "Personal data replaced",
    "flags": "Flags",
}
MEANINGS = {
    "unreadable": "The file could not be read",
    "malformed_row": "A row that could not be parsed",
    "no_text_layer": "A PDF of images without text",
    "empty_row": "A row or entry without text",
    "graph_edge": "A triple of a graph, which is no text: `datatools tcm` asks about graphs",
    "torn_lines": "Torn apart by a table of the page: a few characters a line",
    "too_short": "Shorter than the threshold",
    "empty_file": "A file without text",
    "unknown_type": "A file of a type that is not read",
    "too_few_words": "Fewer words than the threshold",
    "mojibake": "Wrongly decoded characters",
    "residue": "Lost glyphs and private-use characters",
    "no_letters": "Hardly any letters",
    "duplicate_lines": "Characters in lines that stood in the text before",
    "duplicate_grams": "Characters in passages that stood in the text before",
    "top_2grams": "Two words that make up much of the text",
    "top_3grams": "Three words that make up much of the text",
    "top_4grams": "Four words that make up much of the text",
    "short_lines": "Short lines, as of a menu",
    "few_line_stops": "Hardly a line that ends a sentence, as in a list of references",
    "symbols": "Symbols among the characters",
    "digits": "Digits among the characters",
    "ellipses": "Lines that trail off",
    "no_stop_words": "Hardly any of the words that English text is made with",
    "words_too_short": "Short words, as of formulas",
    "words_too_long": "Long words, as of names",
    "exact_duplicate": "The same text as a document that was kept, white space left out",
    "near_duplicate": "Nearly the text of a document that was kept; the similarity is exact",
    "already_known": "In the earlier corpus already",
    "leak": "So much of an exam item stands in it",
    "leak_run": "So many characters in a row of an exam item stand in it",
    "no_question": "No heading or pattern to ask a question from",
    "duplicate_passage": "The same text as a passage that was kept",
    "duplicate_question": "The same question as a pair that was kept",
}
# Characters that would break the page or turn its text around are shown for what they are.
_VISIBLE: dict[int, str] = {
    **{code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"},
    **{code: f"⟨U+{code:04X}⟩" for code in (*range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))},
    **dict.fromkeys((*range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "\ufffd"),
    0x2028: "\n",
    0x2029: "\n",
    ord("\r"): "",
}


@dataclass(frozen=True)
class Piece:
    """A stretch of text: `same`, `del` (only before), `ins` (only after), or `gap` (what is left out, in words)."""

    kind: str
    text: str


@dataclass(frozen=True)
class Pair:
    """Two texts side by side. `verdict` says how they differ where marks do not."""

    before: tuple[Piece, ...]
    after: tuple[Piece, ...]
    verdict: str = ""
    before_title: str = "before"
    after_title: str = "after"


def page(facts: Facts) -> str:
    """The whole page."""
    return _template().render(_view(facts)).lstrip().translate(_VISIBLE)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": charts.number_of, "clip": clip, "size": size, "seen": _seen}
    return environment.get_template(TEMPLATE.name)


def _view(facts: Facts) -> dict[str, Any]:
    counts = facts.counts
    shown_reasons = facts.reasons[:REASONS]
    return {
        "facts": facts,
        "charts": charts,
        "label": _label,
        "meanings": MEANINGS,
        "read": _documents_read(facts.funnel[0]) if facts.funnel else None,
        "left_out": sum(reason.count for reason in facts.reasons),
        "failures": sum(reason.count for reason in facts.failed),
        "steps": [_step(step, facts.funnel) for step in facts.funnel],
        "seconds": sum(step.seconds for step in facts.funnel if step.seconds is not None) or None,
        "timed": any(step.seconds is not None for step in facts.funnel),
        "reasons": [(reason, [(example, _beside(example)) for example in reason.examples]) for reason in shown_reasons],
        "failed": [(reason, [(example, None) for example in reason.examples]) for reason in facts.failed],
        "more_reasons": facts.reasons[REASONS:],
        "rewrites": _by_rule(facts.rewrites),
        "clusters": [(cluster, list(_twins(cluster))) for cluster in facts.clusters],
        "similarities": [(_similarity(at), count) for at, count in reversed(facts.similarities)],
        "columns": [(name, TITLES[name], _bars(name, counts[name])) for name in TITLES if _says(name, counts)],
        "same": [(name, TITLES[name], counts[name]) for name in TITLES if _is_same(name, counts)],
        "lengths": [(_length_title(name), *_lengths(name, facts.lengths[name])) for name in _reading_order(facts)],
        "settings": [(name, _setting(value)) for name, value in facts.settings.items()],
        "inputs": facts.inputs[:INPUTS],
        "more_inputs": max(0, len(facts.inputs) - INPUTS),
    }


def _documents_read(first: Step) -> int:
    """Before they were cut into entries; `unify` counts what came out of files."""
    return first.rows_in if first.from_unit == "documents" else first.rows_out


def _step(step: Step, funnel: Sequence[Step]) -> dict[str, Any]:
    whole = max(each.rows_out + each.dropped for each in funnel)
    if step.from_unit:
        kept = f"{charts.number_of(round(step.rows_out / step.rows_in, 2))} each" if step.rows_in else ""
    else:
        kept = charts.share(step.rows_out, step.rows_in)
    rate = step.bytes / 1e6 / step.seconds if step.bytes and step.seconds else None
    return {
        "step": step,
        "name": STEPS.get(step.name, step.name),
        "bar": charts.bar(step.rows_out, whole, step.dropped),
        "kept": kept,
        "rate": None if rate is None else round(rate, 1),
        "seconds": None if step.seconds is None else round(step.seconds, 2),
    }


def _says(name: str, counts: Mapping[str, Counts]) -> bool:
    """Whether a column is worth a chart: not when every row holds the same."""
    return name in counts and (counts[name].distinct > 1 or name in ("flags", "pii"))


def _is_same(name: str, counts: Mapping[str, Counts]) -> bool:
    return name in counts and not _says(name, counts) and any(label for label, _ in counts[name].top)


def _reading_order(facts: Facts) -> list[str]:
    """Questions before answers."""
    return sorted(facts.lengths, key=lambda name: (not name.startswith(("system", "user", "prompt")), name))


def _bars(name: str, found: Counts) -> Markup:
    rows = [(_label(name, label), count) for label, count in found.top]
    more = found.distinct - len(found.top)
    return charts.bars(rows, found.total, (f"{more:,} others", found.others))


def _label(name: str, label: str) -> str:
    if name in ("language", "languages_read") and label in LANGUAGES:
        return f"{LANGUAGES[label]} ({label})"
    return label[:120] or "(none)"


def _length_title(name: str) -> str:
    return {"text": "Length of texts", "user": "Length of questions", "assistant": "Length of answers"}.get(
        name, f"Length of {name} turns"
    )


def _lengths(name: str, found: Lengths) -> tuple[Markup, Lengths]:
    return charts.histogram(charts.bins(found.counts), f"{_length_title(name)}, characters"), found


def _similarity(at: float) -> str:
    return "1.00, the same" if at >= 1 else f"{at:.2f}–{at + 0.05:.2f}"


def _setting(value: Any) -> str:
    if value is None:
        return "not set"
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    # Credentials never belong into a base URL, but people put them there.
    shown = re.sub(r"//[^/@\s]+@", "//•••@", shown)
    return clip(re.sub(r"(?i)((?:key|token|secret|password)=)[^&\s\"]+", r"\1•••", shown))


def _by_rule(rewrites: Sequence[Rewrite]) -> dict[tuple[str, str], list[Pair]]:
    """What was rewritten side by side, by step and rule in the order they come in."""
    found: dict[tuple[str, str], list[Pair]] = {}
    for rewrite in rewrites:
        found.setdefault((rewrite.rule or rewrite.step, rewrite.step), []).append(_rewritten(rewrite))
    return found


def _beside(example: Example) -> Pair | None:
    """The text that was kept, as far as the example goes, and the example."""
    if not example.twin_text:
        return None
    return _compared(example.twin_text, example.excerpt, cut=len(example.excerpt) >= CUT)


def _compared(kept: str, dropped: str, *, cut: bool) -> Pair:
    """What was kept beside what was dropped; of the latter only the beginning is known where it is `cut`."""
    pair = differences(kept[: len(dropped)] if cut else kept, dropped)
    if cut:
        pair = replace(pair, before=_unfinished(pair.before), after=_unfinished(pair.after))
        pair = replace(pair, verdict="the same as far as it is known") if pair.verdict == SAME else pair
    return replace(pair, before_title="kept", after_title="dropped")


def _unfinished(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Without the last difference, which lies where the text was cut."""
    whole = pieces[:-1] if pieces and pieces[-1].kind in ("del", "ins") else pieces
    return (*whole, Piece("gap", " …"))


def _rewritten(rewrite: Rewrite) -> Pair:
    pair = differences(rewrite.before, rewrite.after)
    if rewrite.step != "pii":
        return pair
    # The page is passed on: what was taken out of the corpus must not come back here.
    hidden = tuple(Piece(p.kind, "•" * min(len(p.text), 12)) if p.kind == "del" else p for p in pair.before)
    return Pair(() if pair.verdict == UNLIKE else hidden, pair.after, pair.verdict)


def _twins(cluster: Cluster) -> Iterator[tuple[Any, Pair | None]]:
    shown = False
    for twin in cluster.dropped:
        if cluster.text is None:
            yield twin, None
            continue
        pair = _compared(cluster.text, twin.text, cut=twin.cut)
        if pair.verdict == SAME and shown:
            pair = Pair((), (), "the same text again")
        shown = True
        yield twin, pair


def differences(before: str, after: str) -> Pair:
    """Two texts with what differs between them marked; long equal stretches and very long texts are cut.

    >>> [(piece.kind, piece.text) for piece in differences("每次 5 mg", "每次 10 mg").after]
    [('same', '每次 '), ('ins', '10'), ('same', ' mg')]
    """
    if before == after:
        return Pair((Piece("same", clip(before)),), (Piece("same", clip(after)),), SAME)
    old, new = _words(before), _words(after)
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    old_middle, new_middle = old[start : len(old) - end], new[start : len(new) - end]
    matcher = SequenceMatcher(None, old_middle[:MIDDLE], new_middle[:MIDDLE], autojunk=False)
    operations = matcher.get_opcodes()
    alike = start + end + sum(i2 - i1 for tag, i1, i2, _, _ in operations if tag == "equal")
    if alike < ALIKE * max(len(old[: start + end + MIDDLE]), len(new[: start + end + MIDDLE])):
        return Pair((Piece("same", clip(before)),), (Piece("same", clip(after)),), UNLIKE)
    left, right = [Piece("same", _shortened(old[:start], first=False))], []
    right += left
    for tag, i1, i2, j1, j2 in operations:
        if tag == "equal":
            left.append(Piece("same", _shortened(old_middle[i1:i2])))
            right.append(left[-1])
        else:
            left.append(Piece("del", "".join(old_middle[i1:i2])))
            right.append(Piece("ins", "".join(new_middle[j1:j2])))
    left.append(Piece("gap", _left_over(old_middle)))
    right.append(Piece("gap", _left_over(new_middle)))
    tail = Piece("same", _shortened(old[len(old) - end :], last=False))
    verdict = "only white space differs" if "".join(before.split()) == "".join(after.split()) else ""
    return Pair(_joined([*left, tail]), _joined([*right, tail]), verdict)


def _words(text: str) -> list[str]:
    """Runs of Latin letters or digits, and single characters of everything else."""
    return re.findall(r"[A-Za-z]+|[0-9]+|[^A-Za-z0-9]", text)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words two lists begin with in common."""
    for number, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return number
    return min(len(one), len(other))


def _shortened(words: Sequence[str], *, first: bool = True, last: bool = True) -> str:
    """An equal stretch without its middle; without its beginning or end, where that is the text's own."""
    head, tail = (CONTEXT if first else 0), (CONTEXT if last else 0)
    if len(words) <= head + tail + CONTEXT:
        return "".join(words)
    return "".join(words[:head]) + " … " + "".join(words[len(words) - tail :])


def _left_over(middle: Sequence[str]) -> str:
    length = sum(map(len, middle[MIDDLE:]))
    return f" … {length:,} characters not compared … " if length else ""


def _joined(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    return tuple(piece for piece in pieces if piece.text)


def clip(text: str, longest: int = EXCERPT) -> str:
    """The beginning of a text, and how much more there is.

    >>> clip("感冒了，发热三天", 3)
    '感冒了… (5 characters more)'
    """
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text) - longest:,} characters more)"


def _seen(text: str) -> str:
    """A marked text in which line ends are seen."""
    return text.replace("\n", "⏎\n")


def size(count: int | None) -> str:
    """Bytes for reading.

    >>> size(789), size(29_588_063)
    ('789 B', '29.6 MB')
    """
    if count is None:
        return ""
    for unit, width in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= width:
            return f"{count / width:.1f} {unit}"
    return f"{count} B"
