"""Bytes that a training step takes, told by the sizes of a model alone: what must be held, and what a pass adds.

What a pass adds is linear in its tokens. The factors are counted, not guessed: every tensor that a layer of
transformers keeps for its backward pass, with TRL's output layer behind it, measured by its storage; a test measures
anew and compares. They are larger than those of "Reducing Activation Recomputation in Large Transformer Models"
(Korthikanti et al. 2022), which are of one precision: under autocast every product keeps a copy of its input in bf16
beside the fp32 stream.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainers.machine import Model

TILE_TOKENS, TILE_WORDS = 4096, 32_768  # of the output layer, which TRL computes in tiles
# Models whose queries and keys have no norms of their own; of one that is not known the larger need is taken.
PLAIN = ("llama", "mistral", "qwen2", "phi3", "gemma", "gemma2", "granite")
NF4 = 0.5625  # bytes of a 4-bit weight with its share of an fp32 scale for 64 of them


@dataclass(frozen=True)
class Use:
    """How a model is trained: all that its memory depends on."""

    stage: str
    method: str
    cuda: bool
    attention: str
    rank: int = 16
    launch: str | None = None
    processes: int = 1

    @property
    def sharded(self) -> bool:
        """Whether weights are spread over the processes."""
        return self.launch in ("fsdp2", "zero3")


def held(model: Model, use: Use) -> int:
    """Weights, gradients, moments, and the reference of a preference stage, in one of the processes."""
    if use.method == "full":
        learned, frozen = model.parameters, 0.0
        # The model as it was; of an adapted one it is the model without its adapter.
        if use.stage in ("dpo", "kto", "rloo"):
            frozen = 4.0 * model.parameters
    else:
        learned, frozen = model.adapter(use.rank), model.parameters * (2.0 if use.cuda else 4.0)
        if use.method == "qlora":
            # Embeddings and output layer stay in bf16; one matrix is unpacked at a time.
            frozen = (
                NF4 * (model.parameters - model.embeddings) + 2.0 * model.embeddings + 2 * model.hidden * model.inner
            )
    if use.sharded:
        # What is gathered stays for a while: table and output layer in bf16, a layer and the one fetched ahead.
        gathered = 2 * model.embeddings + 12 * model.layer + (4 * model.table if use.method == "full" else 0)
        return int((16 * learned + frozen) / use.processes + gathered)
    if use.launch == "zero2":  # bf16 weights and gradients whole, their fp32 copies and moments spread
        return int(6 * learned + 12 * learned / use.processes + frozen)
    # fp32 weights, gradients, two moments of Adam; DDP keeps a copy of all gradients in its buckets.
    return int((20 if use.processes > 1 else 16) * learned + frozen)


def passing(model: Model, use: Use, *, tokens: int, row: int, checkpointing: bool) -> int:
    """What a forward and backward pass over so many tokens, of rows that long, adds to what is held."""
    layer = _layer(model, use, tokens if use.stage in ("pt", "sft") else row)
    h, i, full = model.hidden, model.inner, use.method == "full"
    # A cast of a weight that learns is kept until the forward pass ends: autocast's cache.
    cached = 2 * (model.parameters - model.embeddings) if use.cuda and full and not use.sharded else 0
    ending = (32 if use.cuda else 16) * h if full else 8 * h + (4 * i if use.cuda else 0)
    if not checkpointing:
        unpacked = 12 * h * i if use.method == "dora" else 0
        return int(tokens * (model.layers * layer + ending)) + cached + unpacked + _output(model, use, tokens)
    stream = model.layers * (4 if full or not use.cuda else 2) * h
    one = layer + (10 * h + 6 * i if use.cuda else 16 * h)  # the layer that is computed again
    forward = tokens * (stream + ending) + cached + _output(model, use, tokens)
    # The gradient of a table that is the output layer too waits until the last: that of the embeddings.
    waiting = 4 * model.table if full and model.tied else 0
    backward = tokens * (stream + one) + waiting
    last = 12 * model.table if full and model.tied else 0
    return int(max(forward, backward, last)) + (12 * h * i if use.method == "dora" else 0)


def generating(model: Model, use: Use, *, rows: int, row: int) -> int:
    """Keys and values of all replies that are generated together."""
    number = 4 if use.method == "full" or not use.cuda else 2
    return rows * row * 2 * model.keys * model.layers * number


def most_tokens(model: Model, use: Use, free: int, *, item: int, row: int, most: int, checkpointing: bool) -> int:
    """Tokens of the largest pass, of whole items, that `free` bytes hold; 0 where they hold not even one."""
    items = max(1, most // item)
    while items and passing(model, use, tokens=items * item, row=row, checkpointing=checkpointing) > free:
        items = min(items - 1, items * 15 // 16)
    return items * item


def _layer(model: Model, use: Use, row: int) -> float:
    """Bytes a token that a layer keeps for its backward pass."""
    h, q, k, i = model.hidden, model.queries, model.keys, model.inner
    norms = model.kind not in PLAIN
    if use.cuda:
        if use.method == "full":
            kept = 26 * h + 4 * q + 4 * k + 8 * i + (6 * (q + k) if norms else 0)
        else:
            kept = 18 * h + 6 * q + 4 * k + 8 * i + (4 * (q + k) if norms else 0)
        if use.method == "dora":
            kept += 8 * h + 4 * q + 8 * k + 8 * i
        number = 2
    else:
        full = use.method == "full"
        kept = (24 if full else 16) * h + 16 * q + 16 * i + ((8 if full else 4) * (q + k) if norms else 0)
        if use.method == "dora":
            kept += 16 * h + 8 * q + 16 * k + 16 * i
        number = 4
    if use.attention in ("sdpa", "eager"):
        kept += 2 * number * max(0, q - k)  # keys and values are repeated for every head
        kept += number * row  # a mask of row × row
    if use.attention == "eager":
        kept += 3 * number * row * (q // max(1, model.width))  # scores, their softmax, what dropout left of it
    return kept


def _output(model: Model, use: Use, tokens: int) -> int:
    """Bytes of the output layer: the gradient of its weights, and its tiles; or all logits."""
    if use.stage == "rm":
        return 0
    if use.stage == "orpo":  # all logits, of both sides, several times over
        return 20 * model.words * tokens
    # The gradient of the output layer comes in fp32 while all activations are there, beside the one it is added to.
    gradient = 4 * model.table if use.method == "full" else 0
    wide, high = min(TILE_WORDS, model.words), min(tokens, TILE_TOKENS)
    tiles = 2 * high * wide + 2 * wide * model.hidden if use.cuda else 34 * high * wide
    return gradient + tiles
