"""Overlap of predictions with references: BLEU by sacrebleu, ROUGE by rouge-score, distinct-n.

Chinese is compared by characters, other languages by words. Overlap says how alike two texts are written, not which of
them is right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from datatools.evaluate.intervals import mean_interval
from datatools.evaluate.scores import grouped, stated

ROUGE = ("rouge1", "rouge2", "rougeL")
BOOTSTRAP = 1000  # resamples of sacrebleu's own interval
_TOKEN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\W_\u3400-\u9fff\uf900-\ufaff]+")


class Characters:
    """Tokens for rouge-score, whose own tokeniser knows no Chinese: characters of Chinese, words of all else."""

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text.

        >>> Characters().tokenize("阿莫西林 0.5g Tid")
        ['阿', '莫', '西', '林', '0', '5g', 'tid']
        """
        return tokens(text)


def tokens(text: str) -> list[str]:
    """Characters of Chinese and words of all else, in lower case, without punctuation."""
    return _TOKEN.findall(text.casefold())


def each(prediction: str, reference: str, language: str) -> dict[str, float]:
    """The figures of one prediction. Raises ValueError where the libraries are not there."""
    bleu, rouge = _libraries()
    found = rouge.score(reference, prediction)
    sentence = bleu(tokenize=_tokenizer(language), effective_order=True).sentence_score(prediction, [reference])
    return {"bleu": sentence.score, **{name: found[name].fmeasure for name in ROUGE}}


def text_scores(rows: Iterable[Mapping[str, Any]], seed: int = 0) -> dict[str, dict[str, Any]]:
    """By language: corpus BLEU, mean ROUGE with intervals, and distinct-1 and -2 of the predictions."""
    bleu, _ = _libraries()
    found = {}
    for language, some in grouped(rows, "language").items():
        predictions = [str(row["prediction"]) for row in some]
        references = [str(row["reference"]) for row in some]
        metric = bleu(tokenize=_tokenizer(language))
        whole = metric.corpus_score(predictions, [references], n_bootstrap=BOOTSTRAP if len(some) > 1 else 1)
        bounds = {"low": None, "high": None}
        if len(some) > 1:  # sacrebleu says the mean of its resamples and half the width about it
            bounds = {"low": round(whole._mean - whole._ci, 4), "high": round(whole._mean + whole._ci, 4)}
        found[language] = {
            "bleu": {"bleu": round(whole.score, 4), **bounds, "signature": str(metric.get_signature())},
            **{name: stated(mean_interval([row[name] for row in some], seed), name) for name in ROUGE},
            "distinct1": distinct(predictions, 1),
            "distinct2": distinct(predictions, 2),
            "n": len(some),
            "empty": sum(not text.strip() for text in predictions),
        }
    return found


def distinct(texts: Sequence[str], n: int) -> float | None:
    """Different n-grams ÷ all n-grams of the texts together (Li et al. 2016); None where there are none.

    >>> distinct(["多喝水多休息"], 1), distinct([""], 2)
    (0.833333, None)
    """
    seen: set[tuple[str, ...]] = set()
    count = 0
    for text in texts:
        words = tokens(text)
        grams = list(zip(*(islice(words, k, None) for k in range(n)), strict=False))
        seen.update(grams)
        count += len(grams)
    return round(len(seen) / count, 6) if count else None


def text_lines(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The scores on the screen."""
    lines = []
    for language, score in scores.items():
        bleu = score["bleu"]
        bounds = "" if bleu["low"] is None else f" [{bleu['low']:.1f}, {bleu['high']:.1f}]"
        rouge = ", ".join(f"{name} {_shown(score[name], name)}" for name in ROUGE)
        lines.append(f"  {language}: n {score['n']:,}, BLEU {bleu['bleu']:.1f}{bounds}, {rouge}")
        lines.append(f"    distinct-1 {score['distinct1']}, distinct-2 {score['distinct2']}, empty {score['empty']:,}")
    return lines


def _shown(score: Mapping[str, Any], name: str) -> str:
    return f"{100 * score[name]:.1f} [{100 * score['low']:.1f}, {100 * score['high']:.1f}]"


def _tokenizer(language: str) -> str:
    return "zh" if language == "zh" else "13a"


def _libraries() -> tuple[Any, Any]:
    try:
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise ValueError(f"evaluate text: needs pip install 'medical-datatools[evaluate]' ({error})") from error
    return BLEU, RougeScorer(list(ROUGE), tokenizer=Characters())
