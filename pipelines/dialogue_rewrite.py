"""Real dialogues rewritten: the clinician's turns become complete and kind, and say the same.

Numbers, drugs and findings of a rewritten turn must be those of the original. A turn for which that fails twice stays
in its own words, is traced, and the dialogue carries the flag `turn_not_rewritten`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from datatools.checks.form import agrees, truncated
from datatools.checks.leakage import leakage
from datatools.checks.lexicon import Lexicon
from datatools.checks.numbers import missing_numbers
from datatools.clean.lexicon import read_terms
from datatools.clean.pii import redact
from datatools.io.read import read
from datatools.io.source import Fault, ReadOptions, Source
from datatools.llm.errors import Failure
from datatools.llm.reply import plain_text
from datatools.llm.request import Request
from datatools.llm.runner import Runner
from pipelines.ask_items import Made, Usage
from pipelines.dialogue_settings import DialogueSettings
from prompts.load import Prompt
from schemas.document import Document

TRIES = 2
# Terms of the lexicon that are no findings: a kinder sentence may use them or do without.
NO_FINDING = frozenset(
    "口服 医嘱 主诉 住院 体征 剂量 处方 外用 治疗 疗效 疗程 病人 病史 病因 症状 诊断 药物 患者 门诊 随访 预后"
    " 急诊 康复 护理 小儿 皮肤 临床 禁忌"
    " medication treatment therapy symptom symptoms diagnosis patient clinical dose dosage".split()
)


@dataclass(frozen=True)
class Real:
    """A real dialogue: turns that alternate, the patient first, the clinician last."""

    id: str
    source: str
    turns: tuple[Mapping[str, str], ...]

    @property
    def text(self) -> str:
        """All that was said."""
        return "\n".join(turn["content"] for turn in self.turns)


def real_dialogues(sources: Iterable[Source]) -> Iterator[Real | Fault]:
    """The dialogues of all sources, without personal data; a question with its answer is one of a single exchange."""
    for source in sources:
        for item in read(source, ReadOptions()):
            if isinstance(item, Fault):
                yield item
            elif isinstance(item, Document):
                turns = alternating(_turns(item))
                if turns:
                    yield Real(item.id, item.source, tuple(turns))
                else:
                    yield Fault(f"{item.source}:{item.offset}", "no turns of patient and clinician", "empty_row")


def alternating(turns: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Turns of one speaker together, from the first of the patient to the last of the clinician.

    >>> said = (("assistant", "您好"), ("user", "头痛"), ("user", "三天"), ("assistant", "多喝水"), ("user", "谢谢"))
    >>> [turn["content"] for turn in alternating([{"role": role, "content": text} for role, text in said])]
    ['头痛\\n三天', '多喝水']
    """
    joined: list[dict[str, str]] = []
    for turn in turns:
        if turn["role"] == "system" or not turn["content"].strip():
            continue
        if joined and joined[-1]["role"] == turn["role"]:
            joined[-1]["content"] += f"\n{turn['content']}"
        elif joined or turn["role"] == "user":
            joined.append({"role": turn["role"], "content": turn["content"]})
    return joined[:-1] if joined and joined[-1]["role"] == "user" else joined


def _turns(document: Document) -> list[dict[str, str]]:
    found = document.meta.get("messages")
    if not found and document.meta.get("question"):
        found = [
            {"role": "user", "content": document.meta["question"]},
            {"role": "assistant", "content": document.meta["answer"]},
        ]
    return [{"role": turn["role"], "content": redact(turn["content"])[0]} for turn in found or ()]


def rewrite_request(real: Real, place: int, prompt: Prompt, settings: DialogueSettings) -> Request:
    """What is asked about a turn: the words as they were, so that it does not hang on other replies."""
    messages = prompt.messages(history=list(real.turns[:place]), text=real.turns[place]["content"])
    return Request(messages, temperature=settings.temperature, reasoning_effort=settings.reasoning_effort)


async def rewritten(
    runner: Runner, real: Real, language: str, prompt: Prompt, lexicon: Lexicon, settings: DialogueSettings, made: Made
) -> tuple[list[dict[str, str]], list[str], Usage] | None:
    """The turns with the clinician's rewritten, flags and tokens; None, with the reason in `made`, on failure."""
    usage = Usage()
    turns = [dict(turn) for turn in real.turns]
    flags: list[str] = []
    for place in range(1, len(turns), 2):
        original = real.turns[place]["content"]
        request = rewrite_request(real, place, prompt, settings)
        change = ""
        for sample in range(TRIES):
            reply = await runner.ask(replace(request, sample=sample))
            if isinstance(reply, Failure):
                made.fail(real.id, real.source, f"rewrite {place // 2 + 1}", reply)
                return None
            usage.add(reply)
            text = plain_text(reply.text).strip()
            change = changed(original, text, lexicon, language)
            if not change:
                turns[place]["content"] = text
                break
        if change:
            made.drop(real.id, real.source, f"rewrite {place // 2 + 1}", f"changed_{change}", text)
            flags = ["turn_not_rewritten"]
    return turns, flags, usage


def changed(original: str, text: str, lexicon: Lexicon, language: str) -> str:
    """What a rewritten turn does not have in common with its original: numbers, names, findings, form; else empty.

    >>> from datatools.checks.lexicon import shipped
    >>> changed("阿莫西林0.5g一日3次 饭后吃", "建议您饭后服用阿莫西林0.5g，一日3次。", shipped(), "zh")
    ''
    >>> changed("阿莫西林0.5g一日3次", "建议您服用阿莫西林5g，一日3次。", shipped(), "zh")
    'numbers'
    >>> changed("没有发热就不用验血", "发热时请验血。", shipped(), "zh")
    'negation'
    """
    if not text or truncated(text, "stop") or leakage("", text, original) or not agrees(text, language):
        return "form"
    if missing_numbers(text, original).missing or missing_numbers(original, text).missing:
        return "numbers"
    if {found.name for found in lexicon.find(text)} != {found.name for found in lexicon.find(original)}:
        return "names"
    if _findings(text) != _findings(original):
        return "findings"
    return "negation" if _denials(text) != _denials(original) else ""


def _findings(text: str) -> frozenset[str]:
    """Medical terms of a text, by the lexicon of curate."""
    return frozenset(term for term in _terms() if term in text)


def _denials(text: str) -> frozenset[str]:
    """Findings that stand behind a word of denial in the same clause."""
    denied = set()
    for term in _findings(text):
        before = text[: text.index(term)][-6:]
        if any(word in before for word in ("没有", "没", "无", "不", "未", "非")) and "，" not in before:
            denied.add(term)
    return frozenset(denied)


@cache
def _terms() -> tuple[str, ...]:
    return tuple(term for term in read_terms() if len(term) > 1 and term not in NO_FINDING)
