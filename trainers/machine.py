"""What a model needs and what the machine has, told without loading anything."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers import weights

CORE_FLOPS = 1.2e11  # operations a second of one core in fp32, at most
SMALL_FILES = ["*.json", "*.jinja", "*.model", "*.txt"]


@dataclass(frozen=True)
class Model:
    """Sizes of a model, from its configuration and the heads of its weight files."""

    path: str  # folder with configuration and tokenizer
    parameters: int
    hidden: int
    layers: int
    context: int | None  # tokens
    kind: str  # model_type, such as qwen3
    queries: int  # width of all heads together
    keys: int  # of all heads of keys; of values too
    width: int  # of one head
    inner: int  # of a token's way through the middle layer: that of all experts it is sent to
    words: int
    tied: bool  # the output layer is the table of embeddings

    @property
    def table(self) -> int:
        """Weights of the table of embeddings, or of the output layer."""
        return self.words * self.hidden

    @property
    def embeddings(self) -> int:
        """Weights of both."""
        return self.table * (1 if self.tied else 2)

    @property
    def layer(self) -> int:
        """Weights of one layer."""
        return max(0, self.parameters - self.embeddings) // max(1, self.layers)

    def adapter(self, rank: int) -> int:
        """Weights of an adapter of that rank on every linear layer but the output."""
        sides = 2 * (self.hidden + self.queries) + 2 * (self.hidden + self.keys) + 3 * (self.hidden + self.inner)
        return self.layers * rank * sides


@dataclass(frozen=True)
class Device:
    """What trains: `kind` cuda, mps or cpu; bytes that are free on one of them."""

    kind: str
    name: str
    count: int
    memory: int
    peak: float  # floating-point operations a second that a matrix product may reach


def model_facts(model: str) -> Model:
    """Sizes of the model in a folder or on the hub. Raises ValueError where there is none."""
    folder = Path(model)
    if not folder.is_dir():
        folder = Path(_from_hub(model))
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        adapter = (folder / "adapter_config.json").is_file()
        hint = "it holds an adapter: `datatools train merge` makes a model of it" if adapter else "no config.json there"
        raise ValueError(f"--model {model}: is no folder of a model ({hint})") from None
    except ValueError as error:
        raise ValueError(f"--model {model}: config.json is no JSON ({error})") from error
    text = config.get("text_config", config)
    hidden, heads = int(text.get("hidden_size", 0)), int(text.get("num_attention_heads") or 1)
    width = int(text.get("head_dim") or hidden // heads)
    inner = int(text.get("intermediate_size") or 4 * hidden)
    if text.get("num_experts_per_tok"):
        inner = int(text["num_experts_per_tok"]) * int(text.get("moe_intermediate_size") or inner)
    return Model(
        str(folder),
        parameters=_parameters(folder, text),
        hidden=hidden,
        layers=int(text.get("num_hidden_layers", 0)),
        context=text.get("max_position_embeddings"),
        kind=str(config.get("model_type", "")),
        queries=heads * width,
        keys=int(text.get("num_key_value_heads") or heads) * width,
        width=width,
        inner=inner,
        words=int(text.get("vocab_size", 0)),
        tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False))),
    )


def gigabytes(number: float) -> str:
    """Bytes in GB, as a plan says them."""
    return f"{number / 1e9:,.2f}" if number < 10e9 else f"{number / 1e9:,.1f}"


def device() -> Device:
    """The accelerators of this machine, or its cores. Imports torch."""
    import torch

    if torch.cuda.is_available():
        from trl.trainer.utils import get_peak_flops

        count, name = torch.cuda.device_count(), torch.cuda.get_device_name(0)
        free = min(torch.cuda.mem_get_info(number)[0] for number in range(count))  # the one that has least
        return Device("cuda", name, count, int(free), get_peak_flops(name, "bfloat16") or 1e14)
    import psutil

    cores = os.cpu_count() or 1
    return Device("cpu", f"{cores} cores", 1, int(psutil.virtual_memory().available), cores * CORE_FLOPS)


def _from_hub(model: str) -> Any:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return snapshot_download(model, allow_patterns=SMALL_FILES)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        said = str(error).strip().splitlines()[0]
        raise ValueError(f"--model {model}: no folder of that name, and no model on the hub ({said})") from error


def _parameters(folder: Path, config: dict[str, Any]) -> int:
    """Parameters by the heads of the safetensors files; by the configuration where there are none."""
    files = weights.files(folder)
    if files and all(path.is_file() for path in files):  # of a model on the hub only the index is here
        return sum(weights.count(path) for path in files)
    hidden, layers = config.get("hidden_size", 0), config.get("num_hidden_layers", 0)
    inner, words = config.get("intermediate_size", 4 * hidden), config.get("vocab_size", 0)
    heads = config.get("num_attention_heads", 1) or 1
    width = config.get("head_dim") or hidden // heads
    attention = 2 * hidden * width * (heads + config.get("num_key_value_heads", heads))
    embeddings = words * hidden * (1 if config.get("tie_word_embeddings") else 2)
    return int(layers * (attention + 3 * hidden * inner) + embeddings)
