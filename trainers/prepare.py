"""From rows to what a trainer reads: rendered, verified and measured once, before any process group exists.

`rows.arrow` holds every row in the order of training, whatever its length. The plan decides the longest row on what is
measured here; then `train.arrow` is written (trainers/tokens.py packs it), which is what every rank maps into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from datatools.io.atomic import atomic_path
from trainers.layouts import check_text, conversation, is_seen, pair_of, prompt_of, reply_of
from trainers.render import Renderer, special_tokens
from trainers.rows import Row
from trainers.stages import STAGES

DATA = "data/train.arrow"  # in a run's folder
BATCH = 256  # rows rendered together
SHOWN = 3  # rows named in a line
_TOKENS = pa.list_(pa.int32())
_MESSAGES = pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())]))
# length: of the longest sequence a row becomes; tokens: of all of them.
_COMMON = [pa.field("place", pa.string()), pa.field("length", pa.int32()), pa.field("tokens", pa.int32())]
SCHEMAS = {
    "tokens": pa.schema([*_COMMON, *(pa.field(name, _TOKENS) for name in ("input_ids", "starts", "ends"))]),
    "pairs": pa.schema([*_COMMON, *(pa.field(name, _MESSAGES) for name in ("prompt", "chosen", "rejected"))]),
    "replies": pa.schema(
        [*_COMMON, *(pa.field(name, _MESSAGES) for name in ("prompt", "completion")), pa.field("label", pa.bool_())]
    ),
    "prompts": pa.schema(
        [*_COMMON, pa.field("prompt", _MESSAGES), *(pa.field(name, pa.string()) for name in ("answer", "source_text"))]
    ),
}
PACKED = pa.schema(
    [
        *(pa.field(name, _TOKENS) for name in ("input_ids", "labels", "seq_lengths")),
        pa.field("places", pa.list_(pa.string())),
    ]
)


RENDERED = b"rendered"  # in the metadata of `train.arrow`: its messages are texts that no template is to be put around
VERBATIM = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def renders(stage: str) -> bool:
    """Whether replies are rendered here, behind the prompt that inference gives, and not by the trainer."""
    return STAGES[stage].rows in ("pairs", "replies") and not STAGES[stage].scores


@dataclass
class Prepared:
    """What was made of the rows."""

    rows: int = 0  # read
    examples: int = 0
    tokens: int = 0
    learned: int = 0
    units: int = 0  # what the trainer counts as a row: packs, or examples
    lengths: list[int] = field(default_factory=list)  # tokens of each of those
    expanded: int = 0  # rows of which a template made an example a turn
    cut: list[str] = field(default_factory=list)  # places of rows cut at a turn
    dropped: list[str] = field(default_factory=list)  # places of rows too long to keep
    tokens_lost: int = 0
    opened: bool = False  # whether the template begins an answer's thoughts
    good: int = 0  # replies with the label true
    turns: int = 0  # times that the label is another than the one before


@dataclass(frozen=True)
class Measured:
    """Rows as they came, measured; `lengths` of the examples in tokens."""

    path: Path
    rows: int
    expanded: int
    lengths: npt.NDArray[np.int64]
    opened: bool = False


def measure(
    stage: str, rows: Iterator[Row], tokenizer: Any, model: str, path: Path, advance: Callable[[int], None]
) -> Measured:
    """Render and verify all rows into the Arrow file `path`. Raises ValueError, naming the first row that fails."""
    kind = STAGES[stage].rows
    renderer = None if stage == "pt" else Renderer(tokenizer, model)
    lengths: list[int] = []
    read = expanded = 0
    with atomic_path(path) as temporary, pa.OSFile(str(temporary), "wb") as file:
        writer = pa.ipc.new_file(file, SCHEMAS[kind])
        while batch := list(islice(rows, BATCH)):
            made = list(_made(stage, batch, renderer, tokenizer, model))
            read += len(batch)
            expanded += max(0, len(made) - len(batch)) if stage == "sft" else 0
            lengths += [one["length"] for one in made]
            writer.write_batch(pa.RecordBatch.from_pylist(made, schema=SCHEMAS[kind]))
            advance(len(batch))
        writer.close()
        if not lengths:  # within the block, so that no empty file is left
            raise ValueError("there are no rows to train on")
    opened = renderer is not None and renderer.opens
    return Measured(path, read, expanded, np.array(lengths, np.int64), opened)


def examples(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of an Arrow file that `measure` wrote, in order."""
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            yield from reader.get_batch(number).to_pylist()


def write_rows(measured: Measured, out: Path, *, stage: str, max_length: int) -> Prepared:
    """The rows of a preference or prompt stage as its trainer reads them; what is too long is left out, and counted."""
    done = Prepared(rows=measured.rows, opened=measured.opened)
    labels: list[bool] = []
    schema = SCHEMAS[STAGES[stage].rows].with_metadata({RENDERED: b"yes"} if renders(stage) else None)
    with atomic_path(out) as temporary, pa.OSFile(str(temporary), "wb") as file:
        writer = pa.ipc.new_stream(file, schema)
        rows = examples(measured.path)
        while batch := list(islice(rows, BATCH)):
            fitting = [row for row in batch if row["length"] <= max_length]
            done.dropped += [row["place"] for row in batch if row["length"] > max_length]
            done.tokens_lost += sum(row["length"] for row in batch if row["length"] > max_length)
            done.lengths += [row["tokens"] for row in fitting]
            labels += [row["label"] for row in fitting if "label" in row]
            if fitting:
                writer.write_batch(pa.RecordBatch.from_pylist(fitting, schema=schema))
        writer.close()
    done.dropped = list(dict.fromkeys(done.dropped))  # of a pair both replies stood there
    if not done.lengths:
        raise ValueError(
            f"all {measured.rows:,} rows are longer than {max_length:,} tokens; a larger --max-length is needed"
        )
    done.examples = done.units = len(done.lengths)
    done.tokens = done.learned = sum(done.lengths)
    done.good, done.turns = sum(labels), sum(one != other for one, other in pairwise(labels))
    return done


def _made(
    stage: str, batch: Sequence[Row], renderer: Renderer | None, tokenizer: Any, model: str
) -> Iterator[dict[str, Any]]:
    """The rows of `rows.arrow` for a few rows of the input."""
    kind = STAGES[stage].rows
    if renderer is None:
        yield from _texts(batch, tokenizer, model)
    elif kind == "tokens":
        talks = [(row, conversation(row)) for row in batch]
        for row, made in zip(batch, renderer.conversations(talks), strict=True):
            for one in made:
                starts, ends = zip(*one.spans, strict=True)
                yield _with(row, len(one.ids), input_ids=one.ids, starts=list(starts), ends=list(ends))
    elif kind == "pairs":
        for row in batch:
            prompt, chosen, rejected = pair_of(row)
            if STAGES[stage].scores:
                lengths = [renderer.scored(row, [*prompt, *reply]) for reply in (chosen, rejected)]
            else:
                prompt, (chosen, rejected), lengths = _verbatim(renderer, row, prompt, [chosen, rejected])
            yield _with(row, max(lengths), tokens=sum(lengths), prompt=prompt, chosen=chosen, rejected=rejected)
    elif kind == "replies":
        for row in batch:
            yield from _labelled(row, renderer)
    else:
        turns = [(row, prompt_of(row)) for row in batch]
        for (row, prompt), ids in zip(turns, renderer.asked(turns), strict=True):
            answer, source = row.values.get("answer"), row.values.get("source_text")
            answer = "".join(map(str, answer)) if isinstance(answer, list) else answer
            yield _with(
                row,
                len(ids),
                prompt=prompt,
                answer=None if answer is None else str(answer),
                source_text=None if source is None else str(source),
            )


def _labelled(row: Row, renderer: Renderer) -> Iterator[dict[str, Any]]:
    """The replies of a row with their labels; of a pair both are as long as the longer, so that both stay or none."""
    made = [(label, _verbatim(renderer, row, prompt, [reply])) for prompt, reply, label in _replies(row)]
    longest = max(tokens for _, (_, _, (tokens,)) in made)
    for label, (prompt, (reply,), (tokens,)) in made:
        yield _with(row, longest, tokens=tokens, prompt=prompt, completion=reply, label=label)


def _verbatim(
    renderer: Renderer, row: Row, prompt: list[dict[str, str]], replies: Sequence[list[dict[str, str]]]
) -> tuple[list[dict[str, str]], list[list[dict[str, str]]], list[int]]:
    """Prompt and replies as messages that hold what the template makes of them, and the tokens of each together."""
    made = [renderer.reply(row, prompt, reply) for reply in replies]
    said = [[{"role": "assistant", "content": one.text}] for one in made]
    return [{"role": "user", "content": made[0].prompt}], said, [len(one.ids) for one in made]


def _with(row: Row, length: int, **values: Any) -> dict[str, Any]:
    return {"place": row.place, "length": length, "tokens": length, **values}


def _texts(batch: Sequence[Row], tokenizer: Any, model: str) -> Iterator[dict[str, Any]]:
    end = tokenizer.eos_token_id
    if end is None:
        raise ValueError(f"{model}: its tokenizer has no end-of-text token, so texts would run into each other")
    specials = special_tokens(tokenizer)
    for row in batch:
        text = row.values.get("text")
        if not isinstance(text, str) or not is_seen(text):
            said = "null" if text is None else "empty" if isinstance(text, str) else "no text"
            raise ValueError(f"{row.place}: text is {said}")
        check_text(row, text, "text")
        if hit := next((token for token in specials if token in text), None):
            raise ValueError(f"{row.place}: text holds {hit!r}, a special token of the model; take it out of the text")
    for row, ids in zip(
        batch, tokenizer([row.values["text"] for row in batch], verbose=False)["input_ids"], strict=True
    ):
        whole = ids if ids[-1] == end else [*ids, end]
        yield _with(row, len(whole), input_ids=whole, starts=[0], ends=[len(whole)])


def _replies(row: Row) -> list[tuple[list[dict[str, str]], list[dict[str, str]], bool]]:
    """Replies with their labels: of a pair the good one, then the bad one, so that every batch has both."""
    if "chosen" in row.values:
        prompt, chosen, rejected = pair_of(row)
        return [(prompt, chosen, True), (prompt, rejected, False)]
    if not isinstance(label := row.values.get("label"), bool):
        raise ValueError(f"{row.place}: label is {label!r}; true or false is needed")
    return [(prompt_of(row), reply_of(row, "completion"), label)]


def is_rendered(path: Path) -> bool:
    """Whether the messages of a `train.arrow` hold texts as the template makes them."""
    with pa.memory_map(str(path)) as file:
        return RENDERED in (pa.ipc.open_stream(file).schema.metadata or {})


def places(path: Path) -> list[list[str]]:
    """For every row of `train.arrow` the places of the input rows that it is made of."""
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_stream(file).read_all()
    if "places" in table.schema.names:
        return list(table["places"].to_pylist())
    return [[place] for place in table["place"].to_pylist()]


def token_counts(path: Path) -> list[int]:
    """Tokens of every row of `train.arrow`."""
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_stream(file).read_all()
    if "seq_lengths" in table.schema.names:
        return [sum(lengths) for lengths in table["seq_lengths"].to_pylist()]
    return list(table["tokens"].to_pylist())
