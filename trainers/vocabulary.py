"""Vocabulary extension: a model whose tokenizer cuts Chinese medical terms into bytes learns them as tokens.

Merging goes on where the tokenizer's own training stopped: the most frequent pair of neighbouring tokens in the corpus
becomes a token, again and again (Sennrich, Haddow and Birch 2016). Old tokens keep their numbers and old merges their
order, so what the model has learned of them stands. A new token begins as the mean of the old ones it is made of.
"""

from __future__ import annotations

import heapq
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from trainers.folder import new_folder

MOST_CHARACTERS = 4_000_000  # that are looked at, spread over the whole corpus
LEAST = 5  # times a pair must stand in the corpus
WORD_START = "\u2581"  # SentencePiece's sign for a space
LONGEST = 24  # bytes of a new token: eight Chinese characters
EXTENSION = "extension.json"  # in the folder of an extended model: the first new token, and what each is made of
WHOLE = ("model.safetensors", "model.safetensors.index.json")
Pair = tuple[int, int]


@dataclass(frozen=True)
class Added:
    """A new token: its two parts and itself as the tokenizer writes them, and the old tokens it is made of.

    A character that the tokenizer knew as bytes alone has no parts.
    """

    left: str
    right: str
    token: str
    pieces: tuple[int, ...]


def extend(model: Any, tokenizer: Any, corpus: Path, count: int) -> tuple[Any, list[str]]:
    """Give `tokenizer` up to `count` new tokens trained on `corpus`, and `model` their embeddings, in place.

    `corpus` is parquet with a column `text` or `messages`. Returns the new tokenizer and the texts of the new tokens,
    the most frequent first. Raises ValueError for a corpus without text and a tokenizer that is no BPE.
    """
    first = len(tokenizer)
    longer, added = _longer(tokenizer, corpus, count)
    _set_means(model, first, [one.pieces for one in added])
    return longer, _texts(longer, first)


def write_tokenizer(model: str, corpus: Path, count: int, folder: Path) -> list[str]:
    """Begin the folder of an extended model: its tokenizer and configuration, all that a plan needs, without weights.

    Returns the texts of the new tokens. Raises ValueError as `extend` does.
    """
    from transformers import AutoConfig, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    first = len(tokenizer)
    longer, added = _longer(tokenizer, corpus, count)
    config = AutoConfig.from_pretrained(model)
    text = config.get_text_config()
    text.vocab_size = max(text.vocab_size, len(longer))
    with new_folder(folder) as place:
        longer.save_pretrained(place)
        config.save_pretrained(place)
        content = {"first": first, "pieces": [one.pieces for one in added]}
        (place / EXTENSION).write_text(json.dumps(content), encoding="utf-8")
    return _texts(longer, first)


def write_weights(model: str, folder: Path) -> None:
    """Add the weights of the extended model to a folder that `write_tokenizer` began; nothing where they are there."""
    import transformers

    if any(folder.glob("*.safetensors*")):
        return
    content = json.loads((folder / EXTENSION).read_text(encoding="utf-8"))
    kinds = transformers.AutoConfig.from_pretrained(model).architectures or ()
    scores = any("SequenceClassification" in name for name in kinds)
    kind = transformers.AutoModelForSequenceClassification if scores else transformers.AutoModelForCausalLM
    loaded = kind.from_pretrained(model, dtype="auto")
    _set_means(loaded, content["first"], content["pieces"])
    with tempfile.TemporaryDirectory(dir=folder) as place:
        loaded.save_pretrained(place)
        # The index of several files, or the only file, comes last: what is there is whole.
        for file in sorted(Path(place).iterdir(), key=lambda file: file.name in WHOLE):
            file.replace(folder / file.name)


def first_new(folder: Path) -> int:
    """The number of the first new token of an extended model's folder."""
    return int(json.loads((folder / EXTENSION).read_text(encoding="utf-8"))["first"])


def _longer(tokenizer: Any, corpus: Path, count: int) -> tuple[Any, list[Added]]:
    added = new_tokens(tokenizer, texts_of(corpus), count)
    if not added:
        raise ValueError(f"{corpus}: no pair of tokens stands there {LEAST} times; a larger corpus is needed")
    return with_tokens(tokenizer, added), added


def _texts(tokenizer: Any, first: int) -> list[str]:
    return [str(text) for text in tokenizer.batch_decode([[id] for id in range(first, len(tokenizer))])]


def texts_of(corpus: Path) -> Iterator[str]:
    """The texts of a parquet file, of all its row groups. Raises ValueError, naming it, where there are none."""
    if not corpus.is_file():
        raise ValueError(f"{corpus}: no such file")
    try:
        file = pq.ParquetFile(corpus)
    except pa.ArrowException as error:
        raise ValueError(f"{corpus}: {str(error).splitlines()[0]}") from error
    with file:
        column = next((name for name in ("text", "messages") if name in file.schema_arrow.names), None)
        if column is None:
            raise ValueError(f"{corpus}: a column `text` or `messages` is needed")
        for batch in file.iter_batches(1024, columns=[column]):
            for value in batch.column(column).to_pylist():
                if isinstance(value, str):
                    yield value
                else:
                    yield from (turn["content"] for turn in value or () if turn["content"])


def new_tokens(tokenizer: Any, texts: Iterable[str], count: int) -> list[Added]:
    """Up to `count` merges that go on where the tokenizer's stopped, the most frequent pair first."""
    backend = tokenizer.backend_tokenizer
    if type(backend.model).__name__ != "BPE":
        raise ValueError(f"--extend-vocab: needs a BPE tokenizer, this one is {type(backend.model).__name__}")
    counts = _cut(backend, texts)
    signs = _signs(backend, counts)[:count] if backend.model.byte_fallback else []
    if signs:
        backend = with_tokens(tokenizer, signs).backend_tokenizer
    words = [([one.id for one in backend.model.tokenize(word)], times) for word, times in sorted(counts.items())]
    names = {id: token for token, id in backend.get_vocab(with_added_tokens=False).items()}
    letters = {id: _is_letters(_bytes(tokenizer, token)) for id, token in names.items()}
    whole = {id: (id,) for id in names} | {len(tokenizer) + number: one.pieces for number, one in enumerate(signs)}
    return [*signs, *_merged(words, names, letters, whole, tokenizer, count - len(signs))]


def with_tokens(tokenizer: Any, added: Iterable[Added]) -> Any:
    """A tokenizer with these tokens behind all others; everything else about it is as it was."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        file = Path(folder) / "tokenizer.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        model = content["model"]
        # Tokens that stand apart get their numbers by the size of the vocabulary, unless they are in it.
        model["vocab"] |= {one["content"]: one["id"] for one in content["added_tokens"]}
        first = len(tokenizer)
        as_text = bool(model["merges"]) and isinstance(model["merges"][0], str)
        for number, one in enumerate(added):
            model["vocab"][one.token] = first + number
            if one.left:
                model["merges"].append(f"{one.left} {one.right}" if as_text else [one.left, one.right])
        file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        for name in ("vocab.json", "merges.txt"):  # the same again, and no longer true
            (Path(folder) / name).unlink(missing_ok=True)
        return AutoTokenizer.from_pretrained(folder)


def _cut(backend: Any, texts: Iterable[str]) -> Counter[str]:
    """What the tokenizer cuts texts into before it merges, each with how often it stands there."""
    counts: Counter[str] = Counter()
    for text in _spread(texts):
        if backend.normalizer is not None:
            text = backend.normalizer.normalize_str(text)
        cut = [word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text)] if backend.pre_tokenizer else [text]
        counts.update(cut)
    return counts


def _signs(backend: Any, counts: Mapping[str, int]) -> list[Added]:
    """Letters that stand in the corpus and are bytes to the tokenizer, the most frequent first."""
    known, seen = backend.get_vocab(with_added_tokens=False), Counter[str]()
    for word, times in counts.items():
        for sign in word:
            if sign not in known and sign.isalpha():
                seen[sign] += times
    pieces = {sign: tuple(one.id for one in backend.model.tokenize(sign)) for sign in seen}
    often = [sign for sign, times in sorted(seen.items(), key=lambda one: (-one[1], one[0])) if times >= LEAST]
    return [Added("", "", sign, pieces[sign]) for sign in often if len(pieces[sign]) == len(sign.encode())]


def _spread(texts: Iterable[str]) -> Iterator[str]:
    """Texts of about MOST_CHARACTERS characters, from everywhere: every other one is left out as often as it takes."""
    kept: list[str] = []
    size, every = 0, 1
    for number, text in enumerate(texts):
        if number % every:
            continue
        kept.append(text)
        size += len(text)
        if size > MOST_CHARACTERS:
            kept, every = kept[::2], every * 2
            size = sum(map(len, kept))
    yield from kept


def _merged(
    words: list[tuple[list[int], int]],
    names: dict[int, str],
    letters: dict[int, bool],
    whole: dict[int, tuple[int, ...]],
    tokenizer: Any,
    count: int,
) -> list[Added]:
    pairs: Counter[Pair] = Counter()
    places: dict[Pair, set[int]] = defaultdict(set)
    for place, (word, times) in enumerate(words):
        for pair in pairwise(word):
            pairs[pair] += times
            places[pair].add(place)
    heap = [(-times, pair) for pair, times in pairs.items()]
    heapq.heapify(heap)
    known = set(names.values())
    found: list[Added] = []
    following = max(len(tokenizer), max(names) + 1)
    while heap and len(found) < count:
        times, pair = heapq.heappop(heap)
        if -times != pairs[pair]:
            continue  # counted anew since, and pushed again
        if -times < LEAST:
            break
        left, right = pair
        name = names[left] + names[right]
        if names[right].startswith(WORD_START):
            continue  # nothing reaches into the next word
        if name in known or not (letters[left] and letters[right]) or not _fits(_bytes(tokenizer, name)):
            continue
        new, following = following, following + 1
        names[new], whole[new], letters[new] = name, whole[left] + whole[right], True
        known.add(name)
        found.append(Added(names[left], names[right], name, whole[new]))
        changed = _replace(words, pair, new, places.pop(pair), pairs, places)
        for one in changed:
            if pairs[one] > 0:
                heapq.heappush(heap, (-pairs[one], one))
        pairs[pair] = 0
    return found


def _replace(
    words: list[tuple[list[int], int]],
    pair: Pair,
    new: int,
    where: set[int],
    pairs: Counter[Pair],
    places: dict[Pair, set[int]],
) -> set[Pair]:
    """Put `new` in the place of a pair in the words it stands in; the pairs whose counts have changed."""
    changed: set[Pair] = set()
    for place in where:
        word, times = words[place]
        for one in pairwise(word):
            pairs[one] -= times
            changed.add(one)
        merged: list[int] = []
        at = 0
        while at < len(word):
            if at + 1 < len(word) and (word[at], word[at + 1]) == pair:
                merged.append(new)
                at += 2
            else:
                merged.append(word[at])
                at += 1
        words[place] = (merged, times)
        for one in pairwise(merged):
            pairs[one] += times
            places[one].add(place)
            changed.add(one)
    changed.discard(pair)
    return changed


def _bytes(tokenizer: Any, name: str) -> bytes:
    """What a token stands for; byte-level tokenizers write every byte as a character."""
    decoder = tokenizer.backend_tokenizer.decoder
    if type(decoder).__name__ == "ByteLevel":
        return bytes(_BYTE_OF.get(sign, 0) for sign in name)
    return name.replace(WORD_START, " ").encode("utf-8", "replace")


def _byte_characters() -> dict[str, int]:
    """The characters that GPT-2's byte-level tokenizers write bytes as: printable ones as themselves."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + number): byte for number, byte in enumerate(others)}


_BYTE_OF = _byte_characters()


def _is_letters(content: bytes) -> bool:
    """Whether a token can be part of a term: letters, or bytes of one, a space in front. No digits, no punctuation."""
    text = content.decode("utf-8", "surrogateescape")
    text = text.removeprefix(" ")
    return bool(text) and all(sign.isalpha() or "\udc80" <= sign <= "\udcff" for sign in text)


def _fits(content: bytes) -> bool:
    return len(content) <= LONGEST


def _set_means(model: Any, first: int, pieces: Sequence[Sequence[int]]) -> None:
    """Give a model rows for new tokens, in and out: the means of the rows of their pieces."""
    import torch

    rows = first + len(pieces)
    if rows > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(rows, mean_resizing=False)
    tables = [model.get_input_embeddings().weight]
    out = model.get_output_embeddings()
    if out is not None and out.weight is not tables[0]:
        tables.append(out.weight)
    with torch.no_grad():
        for table in tables:
            for number, one in enumerate(pieces):
                table[first + number] = table[list(one)].float().mean(dim=0).to(table.dtype)
