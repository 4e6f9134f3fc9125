"""Journal: what a job asked of its models, what came back, what it cost; and every raw reply as JSONL."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from datatools.io.atomic import atomic_path
from datatools.llm.journal_nodes import node_of, readers_of
from datatools.llm.journal_read import Counts, JournalReader, StoredReply
from datatools.llm.money import Price, price
from datatools.llm.reply import parse
from datatools.llm.request import Reply

NAME = "journal.sqlite"


@dataclass(frozen=True)
class ModelUse:
    """What one model was asked and what it cost."""

    model: str  # "" for what was asked before journals kept the model
    sent: int
    replies: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None  # null where the price is not known


@dataclass(frozen=True)
class BatchUse:
    """A batch that requests wait in."""

    batch: str | None  # the endpoint's id; null where it is not known to have been sent
    begun: str  # ISO 8601, UTC
    endpoint: str
    status: str | None  # as the endpoint said last
    requests: int  # that have not come back


@dataclass(frozen=True)
class NodeUse:
    """What the runner of one node of a cluster did."""

    node: str  # "" for the runner of the machine where the job was started
    sent: int
    replies: int
    unfinished: int  # calls under way now, or when the node or the run was lost
    at_work: bool  # now, so that its figures grow


@dataclass(frozen=True)
class JournalReport:
    """A journal in figures, as `--json` prints it."""

    journal: str
    first: str | None  # ISO 8601, UTC; null in an empty journal
    last: str | None
    requests: dict[str, int]  # unique, sent, retried
    replies: int
    tokens: dict[str, int]  # prompt, completion: of every reply that came, usable or not
    cost: float | None  # null where the price of a model is not known
    errors: dict[str, int]  # calls that ended without a reply, by class
    failed: dict[str, int]  # requests given up, by class
    unfinished: int  # calls under way now, or when a run was killed
    may_have_been_billed: int  # these, and those that timed out or broke off
    models: list[ModelUse] = field(default_factory=list)
    batches: list[BatchUse] = field(default_factory=list)  # under way
    nodes: list[NodeUse] = field(default_factory=list)  # where runners of a cluster asked
    elsewhere: list[str] = field(default_factory=list)  # nodes at work on other machines, which are not counted yet
    export: str | None = None
    exported: int | None = None

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps({"command": "journal", **asdict(self)}, ensure_ascii=False)

    def to_text(self) -> str:
        """One screen for a person."""
        lines = [f"{self.journal}" + (f"   {self.first} … {self.last}" if self.first else "   empty")]
        requests, tokens = self.requests, self.tokens
        lines.append(
            f"  requests  {requests['unique']:,} different ones, {requests['sent']:,} calls sent, "
            f"{requests['retried']:,} of them retries; {self.replies:,} replies"
        )
        cost = "unknown (--price-in, --price-out)" if self.cost is None else f"{self.cost:,.4f}"
        lines.append(f"  tokens    {tokens['prompt']:,} prompt + {tokens['completion']:,} completion; cost {cost}")
        if len(self.models) > 1:
            lines += [f"            {_line(use)}" for use in self.models]
        lines += [f"  node      {_node_line(use)}" for use in self.nodes]
        if self.elsewhere:
            lines.append(f"  node      {', '.join(self.elsewhere)}: at work on other machines, counted when they end")
        if self.errors:
            lines.append(f"  errors    {_numbers(self.errors)}   (calls that ended without a reply)")
        if self.failed:
            lines.append(f"  failed    {_numbers(self.failed)}   (requests given up; --retry-failed asks again)")
        for batch in self.batches:
            said = f"{batch.batch or 'not known to be sent'} at {batch.endpoint}, begun {batch.begun}"
            lines.append(
                f"  batch     {batch.requests:,} requests wait in it: {said}, {batch.status or 'no state yet'}"
            )
        if self.may_have_been_billed:
            lines.append(
                f"  billed?   {self.may_have_been_billed:,} calls may have been billed although no reply came "
                f"({self.unfinished:,} under way or cut off by a kill)"
            )
        if self.export:
            lines.append(f"  export    {self.exported:,} replies → {self.export}")
        return "\n".join(lines)


def journal(
    path: Path, price_in: float | None = None, price_out: float | None = None, export: Path | None = None
) -> JournalReport:
    """What the journal of `path` says, and its raw replies written to `export`, one JSON object a line.

    Costs are by the prices given, per million tokens, else by the table of `datatools.llm.money`.

    `path` is a work folder, the output beside it, or the journal itself; a run may be using it. Raises ValueError
    where there is no journal, or one that is damaged.
    """
    file = find(path)
    with readers_of(file) as (readers, at_work, elsewhere):
        counts, unique = _counts(readers), _unique(readers)
        spans = [span for reader in readers if (span := reader.span())]
        span = (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None
        batches = [
            BatchUse(batch.remote, _moment(batch.at), batch.endpoint, batch.status, batch.requests)
            for reader in readers
            for batch in reader.batches()
        ]
        models = [
            _use(model, found, price(model, _endpoint_of(model, readers), price_in, price_out))
            for model, found in _together(reader.counts_by_model() for reader in readers).items()
        ]
        nodes = _together(
            {(node if number == 0 else node_of(reader.path)): found for node, found in reader.counts_by_node().items()}
            for number, reader in enumerate(readers)
        )
        exported = None if export is None else _export(readers, export)
    costs = [use.cost for use in models]
    return JournalReport(
        journal=str(file),
        first=None if span is None else _moment(span[0]),
        last=None if span is None else _moment(span[1]),
        requests={"unique": unique, "sent": counts.sent, "retried": counts.retried},
        replies=counts.replies,
        tokens={"prompt": counts.prompt_tokens, "completion": counts.completion_tokens},
        cost=None if None in costs else round(sum(cost for cost in costs if cost is not None), 6),
        errors=counts.errors,
        failed=counts.failures,
        unfinished=counts.unfinished,
        may_have_been_billed=counts.may_have_been_billed,
        models=models,
        batches=batches,
        nodes=[_node(node, found, at_work) for node, found in nodes.items()] if set(nodes) - {""} else [],
        elsewhere=elsewhere,
        export=None if export is None else str(export),
        exported=exported,
    )


def find(path: Path) -> Path:
    """The journal that belongs to a work folder or an output. Raises ValueError where there is none."""
    folder = path.with_suffix(".work") if path.suffix == ".parquet" else path
    file = folder if folder.is_file() else folder / NAME
    if not file.is_file():
        why = "has asked no model, so it has no journal" if folder.is_dir() else "no such folder"
        raise ValueError(f"{folder}: {why}; give the work folder of a job (X.work) or the X.parquet beside it")
    return file


def exported_line(stored: StoredReply) -> dict[str, Any]:
    """One reply: what was asked, the raw reply byte for byte, and what is made of it today.

    `raw` is the reply's text; one that is not UTF-8 stands in `raw_base64` instead.
    """
    outcome = parse(stored.raw)
    line: dict[str, Any] = {
        "key": stored.key.hex(),
        "at": _moment(stored.at),
        "model": stored.model or None,
        "request": stored.request,
        "class": None,
    }
    if isinstance(outcome, Reply):
        line |= {"text": outcome.text, "reasoning": outcome.reasoning, "finish_reason": outcome.finish_reason}
        line |= {"prompt_tokens": outcome.prompt_tokens, "completion_tokens": outcome.completion_tokens}
    else:
        line |= {"class": outcome.kind, "message": outcome.message}
    try:
        line["raw"] = stored.raw.decode()
    except UnicodeDecodeError:
        line["raw_base64"] = base64.b64encode(stored.raw).decode()
    return line


def _counts(readers: Sequence[JournalReader]) -> Counts:
    """Of all journals together: what one gave up, and another asked again, is given up no more."""
    counts = sum((reader.counts() for reader in readers), Counts())
    if len(readers) == 1:
        return counts
    failed = readers[0].given_up()
    for reader in readers[1:]:
        asked = reader.keys()
        failed = {key: kind for key, kind in failed.items() if key not in asked} | reader.given_up()
    return replace(counts, failures=dict(sorted(Counter(failed.values()).items())))


def _unique(readers: Sequence[JournalReader]) -> int:
    if len(readers) == 1:
        return readers[0].requests()
    return len(set().union(*(reader.keys() for reader in readers)))


def _together(found: Iterable[Mapping[str, Counts]]) -> dict[str, Counts]:
    """What several journals say of models or nodes, in the order of their names."""
    summed: dict[str, Counts] = {}
    for counts in found:
        for name, more in counts.items():
            summed[name] = summed.get(name, Counts()) + more
    return dict(sorted(summed.items()))


def _endpoint_of(model: str, readers: Sequence[JournalReader]) -> str:
    return next((found for reader in reversed(readers) if (found := reader.endpoint_of(model))), "")


def _export(readers: Sequence[JournalReader], out: Path) -> int:
    if out.is_dir():
        raise ValueError(f"--export {out}: is a folder, a file is needed")
    if out.resolve() in {reader.path.resolve() for reader in readers}:
        raise ValueError(f"--export {out}: is the journal itself")
    out.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8") as lines:
        for stored in chain.from_iterable(reader.replies() for reader in readers):
            lines.write(json.dumps(exported_line(stored), ensure_ascii=False) + "\n")
            written += 1
    return written


def _node(node: str, counts: Counts, at_work: set[str]) -> NodeUse:
    return NodeUse(node, counts.sent, counts.replies, counts.unfinished, node in at_work)


def _node_line(use: NodeUse) -> str:
    under_way = f", {use.unfinished:,} under way or cut off" if use.unfinished else ""
    where = use.node or "where the job was started"
    return f"{where}: {use.sent:,} calls, {use.replies:,} replies{under_way}{'; at work' if use.at_work else ''}"


def _use(model: str, counts: Counts, paid: Price | None) -> ModelUse:
    prompt, completion = counts.prompt_tokens, counts.completion_tokens
    cost = 0.0 if not prompt + completion else None if paid is None else round(paid.of(prompt, completion), 6)
    return ModelUse(model, counts.sent, counts.replies, prompt, completion, cost)


def _line(use: ModelUse) -> str:
    cost = "cost unknown" if use.cost is None else f"cost {use.cost:,.4f}"
    tokens = f"{use.prompt_tokens:,} + {use.completion_tokens:,} tokens"
    return f"{use.model or 'model not recorded'}: {use.sent:,} calls, {tokens}, {cost}"


def _numbers(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def _moment(seconds: float) -> str:
    """
    >>> _moment(0)
    '1970-01-01T00:00:00Z'
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
