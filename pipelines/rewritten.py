"""What curate made of texts: old and new of a few documents, for `datatools report`.

The new texts stand in the work folder, the old ones in the inputs alone. These are read again here, as far as needed:
no run of curate pays for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from datatools.clean.entries import entries
from datatools.clean.mojibake import repair
from datatools.clean.normalise import normalise
from datatools.engine.parts import Parts
from datatools.engine.work import Work
from datatools.io import storage
from datatools.io.files import discover
from datatools.io.read import read
from datatools.io.source import ReadOptions, Source
from datatools.report.examples import EXAMPLES
from pipelines.curate import MEASURED
from pipelines.curate_measure import measured_key
from pipelines.curate_write import REPORT
from schemas.document import Document

LONGEST, SHORTEST = 3000, 40  # characters of a text worth showing
DOCUMENTS, STRANGE = 5000, 3  # read of a source in search of one, and of sources in search of a document elsewhere
# How a text came to be another; a document is shown for the first of them that holds.
STEPS = {
    "pii": "personal data",
    "mojibake": "mojibake",
    "boilerplate": "boilerplate",
    "normalise": "characters and lines",
}


Wanted = dict[str, tuple[str, str]]  # id → step, the text as it is now


def rewritten(work: Path) -> tuple[list[dict[str, str]], str]:
    """Examples `{step, rule, before, after}` from the work folder of a curate run, and why there are none, or not all.

    No example and no reason for the folder of another job, or of an unfinished one.
    """
    measured = _read(work / MEASURED)
    inputs = [str(name) for name in _read(work / REPORT).get("inputs", [])]
    if len(inputs) == 1 and Path(inputs[0]).suffix == ".work":  # applied again: the folder that was measured
        measured, inputs = _read(Path(inputs[0]) / MEASURED), _read(Path(inputs[0]) / REPORT).get("inputs", [])
        work = Path(_read(work / REPORT)["inputs"][0])
    keys = measured.get("keys") or []
    if not keys or not all(Work(work).part(key, "documents").is_file() for key in keys):
        return [], ""
    documents = Parts(Work(work), keys, "documents")
    places = _places(documents)
    stripped = _boilerplate(documents, keys, work, places.pop("boilerplate"))
    wanted: dict[str, Wanted] = {}
    for step, numbers in places.items():
        for row in documents.lookup(["id", "source", "text"], _mask(len(documents), numbers)).values():
            # In an archive a document's source names the member as well.
            wanted.setdefault(row["source"].split("!")[0], {}).setdefault(row["id"], (step, row["text"]))
    missing = [
        name
        for name in inputs
        if not storage.is_address(name) and not name.startswith("hf:") and not Path(name).exists()
    ]
    if missing:
        return stripped, f"What texts were before is not shown: {missing[0]} is not where it was."
    found = list(_before(discover(inputs)[0], wanted, measured.get("settings", {})))
    order = list(STEPS)
    return sorted(found + stripped, key=lambda example: order.index(example["step"])), ""


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes()) if path.is_file() else {}
    except ValueError:
        return {}  # the report says of its own file that it is broken
    return found if isinstance(found, dict) else {}


def _places(documents: Parts) -> dict[str, npt.NDArray[np.int64]]:
    """Numbers of documents to look at, by step: of the common one three times as many as are shown."""
    found: dict[str, list[npt.NDArray[Any]]] = {step: [] for step in STEPS}
    for start, table in documents.blocks(["pii", "meta", "boilerplate", "characters"]):
        length = table["characters"].to_numpy()
        fit = (length >= SHORTEST) & (length <= LONGEST)
        pii = pc.not_equal(table["pii"], "").to_numpy()
        broken = pc.match_substring(table["meta"], '"mojibake"').to_numpy()
        masks = {"pii": pii, "mojibake": broken & ~pii, "boilerplate": table["boilerplate"].to_numpy() > 0}
        masks["normalise"] = fit & ~pii & ~broken
        for step, mask in masks.items():
            found[step].append(np.flatnonzero(mask) + start)
    numbers = {step: np.concatenate(parts) for step, parts in found.items()}
    return {step: _spread(every, EXAMPLES * (3 if step == "normalise" else 1)) for step, every in numbers.items()}


def _spread(numbers: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """So many of the numbers, evenly from the first to the last."""
    if len(numbers) <= count:
        return numbers
    return np.asarray(numbers[np.linspace(0, len(numbers) - 1, count).astype(np.int64)])


def _mask(count: int, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(count, bool)
    mask[numbers] = True
    return mask


def _boilerplate(
    documents: Parts, keys: Sequence[str], work: Path, numbers: npt.NDArray[np.int64]
) -> list[dict[str, str]]:
    """Texts with the paragraphs that were taken out as boilerplate, and without: both stand in the work folder."""
    if not len(numbers):
        return []
    before = Parts(Work(work), [measured_key(key) for key in keys], "documents")
    wanted = _mask(len(documents), numbers)
    old, new = before.lookup(["text"], wanted), documents.lookup(["text"], wanted)
    return [_example("boilerplate", old[number]["text"], new[number]["text"]) for number in new]


def _example(step: str, before: str, after: str) -> dict[str, str]:
    return {"step": step, "rule": STEPS[step], "before": before, "after": after}


def _before(sources: Sequence[Source], wanted: dict[str, Wanted], settings: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Examples of the documents `wanted`, by their source; sources are read until their documents were met."""
    options = ReadOptions(text_column=settings.get("text_column"), source_type=settings.get("source_type"))
    names = {source.name for source in sources}
    elsewhere: Wanted = {}  # pages of a crawl are called by their address
    for name, documents in wanted.items():
        if name not in names:
            elsewhere |= documents
    strange = iter(range(STRANGE))
    for source in sources:
        left = wanted.get(source.name, {})
        if not left and elsewhere and next(strange, None) is not None:
            left = elsewhere
        if left:
            yield from _of_source(source, options, left)


def _of_source(source: Source, options: ReadOptions, left: Wanted) -> Iterator[dict[str, str]]:
    for item in islice(read(source, options), DOCUMENTS):
        for id, raw in _raw(item, left) if isinstance(item, Document) else ():
            step, after = left.pop(id)
            # What was taken out is not to be shown among signs that merely look otherwise now.
            before = normalise(repair(raw)[0]) if step == "pii" else raw
            if before != after:
                yield _example(step, before, after)
        if not left:
            return


def _raw(document: Document, wanted: Wanted) -> Iterator[tuple[str, str]]:
    """Ids among `wanted` and the texts that were cleaned under them: the document's own, or those of its entries."""
    if document.id in wanted:
        yield document.id, document.text
    elif any(id.startswith(f"{document.id}.") for id in wanted):
        document.text, _ = repair(document.text)
        for entry in entries(document):
            if entry.id in wanted:
                yield entry.id, entry.text
