"""How fast fine-tuning runs on this machine, lever by lever, with TRL's defaults beside it on the same rows.

    python benchmarks/train.py --shape 0.6B                 every lever this machine has
    python benchmarks/train.py --shape tiny --tokens 512    whether it runs at all, on any CPU

Needs torch, transformers, peft, accelerate, trl and datasets; nothing is fetched: models have random weights and the
shapes of Qwen3 0.6B and 1.7B and Qwen2.5 7B, rows are random tokens cut into documents of medical length. Each lever
runs in a process of its own, so that neither a full memory nor a compiled model reaches the next one.

Tokens a second count real tokens, no padding. MFU counts what must be computed, against the card's dense bf16 peak: the
forward pass and twice as much backward (once for an adapter), attention over half a document's length on average, the
output layer for the tokens that are learned, half of them; no credit for recomputing what checkpointing threw away. The
column beside it has the output layer for every token, as most published figures do.
"""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import json
import multiprocessing
import os
import sys
import tempfile
import time
from itertools import chain
from multiprocessing.connection import Connection
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

QWEN3 = {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151_936, "tie_word_embeddings": True}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny": (
        "Qwen3",
        {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "intermediate_size": 128,
            "vocab_size": 512,
            "tie_word_embeddings": True,
        },
    ),
    "0.6B": (
        "Qwen3",
        {"hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16, "intermediate_size": 3072, **QWEN3},
    ),
    "1.7B": (
        "Qwen3",
        {"hidden_size": 2048, "num_hidden_layers": 28, "num_attention_heads": 16, "intermediate_size": 6144, **QWEN3},
    ),
    "7B": (
        "Qwen2",
        {
            "hidden_size": 3584,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "intermediate_size": 18_944,
            "vocab_size": 152_064,
            "tie_word_embeddings": False,
        },
    ),
}
# A lever is an attention with what is added to it: nockpt (activations are kept), compile (layer by layer), whole (all
# of the model compiled as one, as TRL does), liger, lora, bf16 (weights and states in bf16 instead of fp32). `trl` is
# TRL as it comes: a document a row, padded, batches of 8.
LEVERS = (
    "trl",
    "sdpa",
    "sdpa+nockpt",
    "varlen",
    "varlen+nockpt",
    "varlen+nockpt+compile",
    "varlen+nockpt+liger",
    "varlen+nockpt+whole",
    "varlen+compile",
    "varlen+lora",
    "varlen+lora+compile",
    "varlen+bf16",
)
LONGEST = 1024  # tokens of a document: TRL's default cuts longer ones, and the rows would not be the same
TRL_BATCH = 8  # documents: SFTConfig's default
PADDING = 0
KERNEL = "benchmark_varlen"  # what transformers calls the attention that this script registers


def missing(lever: str) -> str:
    """Why this machine cannot run a lever; empty where it can."""
    import torch

    cuda, flags = torch.cuda.is_available(), set(lever.split("+"))
    if "varlen" in flags:
        if importlib.util.find_spec("torch.nn.attention.varlen") is None:
            return f"torch {torch.__version__} has no torch.nn.attention.varlen"
        if not cuda or torch.cuda.get_device_capability() < (8, 0):
            return "variable-length attention needs an NVIDIA card of compute capability 8.0 or more"
    if flags & {"compile", "whole"} and not cuda:
        return "compiling for a CPU says nothing about a card"
    if "liger" in flags and (not cuda or importlib.util.find_spec("liger_kernel") is None):
        return "liger-kernel is not installed, or there is no card for it"
    if "lora" in flags and importlib.util.find_spec("peft") is None:
        return "peft is not installed"
    return ""


def documents(rows: int, tokens: int, median: int, seed: int = 0) -> list[list[int]]:
    """Lengths of the documents in each row: log-normal as medical answers are, together exactly `tokens` a row."""
    import numpy as np

    drawn = np.random.default_rng(seed)
    found = []
    for _ in range(rows):
        lengths: list[int] = []
        while (left := tokens - sum(lengths)) > 0:
            lengths.append(min(left, LONGEST, max(16, int(drawn.lognormal(np.log(median), 0.8)))))
        found.append(lengths)
    return found


def dataset(lengths: list[list[int]], vocabulary: int, *, packed: bool) -> Any:
    """Rows of random tokens whose first halves, the questions, are masked: a row of documents, or a document a row."""
    import numpy as np
    from datasets import Dataset

    drawn = np.random.default_rng(1)
    rows = []
    for row in lengths:
        ids = [drawn.integers(5, vocabulary, length).tolist() for length in row]
        labels = [[-100] * (len(one) // 2) + one[len(one) // 2 :] for one in ids]
        if packed:
            whole = {"input_ids": list(chain(*ids)), "labels": list(chain(*labels))}
            rows.append({**whole, "seq_lengths": row})
        else:
            rows += [{"input_ids": one, "labels": label} for one, label in zip(ids, labels, strict=True)]
    return Dataset.from_list(rows)


def register_varlen() -> None:
    """Give transformers the attention KERNEL: packed documents through torch's own kernel, no mask built."""
    import torch
    from torch.nn.attention.varlen import varlen_attn
    from transformers import AttentionInterface, AttentionMaskInterface

    takes = inspect.signature(varlen_attn).parameters

    def attend(
        module: Any, q: Any, k: Any, v: Any, mask: Any, scaling: Any = None, cu_seq_lens_q: Any = None, **more: Any
    ) -> Any:
        assert cu_seq_lens_q is not None and q.shape[0] == 1, "packed rows alone, one at a time"
        kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else q.dtype
        if "enable_gqa" not in takes:
            k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
        q, k, v = (x[0].transpose(0, 1).to(kind).contiguous() for x in (q, k, v))
        options: dict[str, Any] = {"scale": scaling} if "scale" in takes else {}
        options |= {"window_size": (-1, 0)} if "window_size" in takes else {"is_causal": True}
        options |= {"enable_gqa": True} if "enable_gqa" in takes else {}
        # The bound goes to the kernel as it came: arithmetic on it here would have a compiled layer compiled again for
        # every new value, where a plain integer becomes a symbol after the second.
        ends, longest = cu_seq_lens_q.to(q.device), more["max_length_q"]
        return varlen_attn(q, k, v, ends, ends, longest, longest, **options)[None], None

    AttentionInterface.register(KERNEL, attend)
    AttentionMaskInterface.register(KERNEL, lambda *_, **__: None)


def model_of(shape: str, attention: str, *, bf16: bool, longest: int) -> Any:
    """A model of that shape with random weights, on the card where there is one."""
    import torch
    import transformers

    family, sizes = SHAPES[shape]
    config = getattr(transformers, f"{family}Config")(
        max_position_embeddings=longest, pad_token_id=PADDING, eos_token_id=1, bos_token_id=None, **sizes
    )
    torch.manual_seed(0)
    kind = torch.bfloat16 if bf16 else torch.float32
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(kind)
        try:
            model = getattr(transformers, f"{family}ForCausalLM")(config)
        finally:
            torch.set_default_dtype(before)
    model.set_attn_implementation(attention)
    return model


def tokenizer() -> Any:
    """What a trainer asks for and does not use."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(vocab={"<pad>": PADDING, "<eos>": 1, "a": 2}, merges=[]))
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>")


def arguments_of(flags: set[str], folder: str, steps: int) -> Any:
    """SFTConfig of a lever; of `trl` all that decides speed is as it comes."""
    import torch
    from trl import SFTConfig

    cuda = torch.cuda.is_available()
    same = {
        "output_dir": folder,
        "max_steps": steps,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 10**6,
        "disable_tqdm": True,
        "use_cpu": not cuda,
        "bf16": cuda,
        # By the order of the rows the tokens of a step are known.
        "train_sampling_strategy": "sequential",
    }
    if "trl" in flags:
        return SFTConfig(**same)
    kept = "nockpt" in flags
    if "activation_checkpointing" in SFTConfig.__dataclass_fields__:
        same |= {"gradient_checkpointing": None, "activation_checkpointing": not kept}
    else:  # before transformers 5.23
        same |= {"gradient_checkpointing": not kept}
    return SFTConfig(
        **same,
        per_device_train_batch_size=1,
        padding_free=True,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        torch_compile="whole" in flags,
        use_liger_kernel="liger" in flags,
        tf32=True if cuda else None,
        dataloader_num_workers=2 if cuda else 0,
    )


def measure(lever: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train with one lever: tokens a second, MFU and peak memory over the steps after `--warm-up`."""
    import torch
    import transformers
    from transformers import TrainerCallback
    from trl import SFTTrainer

    flags, cuda = set(lever.split("+")), torch.cuda.is_available()
    steps = options.warm_up + options.steps
    if "varlen" in flags:
        register_varlen()
    attention = KERNEL if "varlen" in flags else "sdpa"
    model = model_of(
        options.shape, attention, bf16=bool(flags & {"bf16", "lora"}), longest=max(options.tokens, LONGEST)
    )
    default = "trl" in flags
    lengths = documents(steps, options.tokens, options.median)
    while default and sum(map(len, lengths)) < steps * TRL_BATCH:
        # Rows that are begun anew would end an epoch with a smaller batch; the first ones stay the same.
        lengths = documents(2 * len(lengths), options.tokens, options.median)
    rows = dataset(lengths, model.config.vocab_size, packed=not default)
    adapter = None
    if "lora" in flags:
        from peft import LoraConfig

        adapter = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if cuda:
                torch.cuda.synchronize()
            times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        arguments = arguments_of(flags, folder, steps)
        trainer = SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            processing_class=tokenizer(),
            peft_config=adapter,
            callbacks=[Clock()],
        )
        if "compile" in flags:
            for layer in model.model.layers:
                layer.compile()
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        trainer.train()
    assert len(times) == steps and (not default or arguments.per_device_train_batch_size == TRL_BATCH)
    seconds = times[-1] - times[options.warm_up - 1]
    flat = [length for row in lengths for length in row]
    a_step = arguments.per_device_train_batch_size
    sizes = [length for row in lengths for length in row] if default else [sum(row) for row in lengths]
    speed = sum(sizes[options.warm_up * a_step : steps * a_step]) / seconds
    mfu, mfu_all = utilisation(model.config, flat, speed, passes=2 if "lora" in flags else 3) if cuda else (None, None)
    return {
        "lever": lever,
        "shape": options.shape,
        "tokens_per_second": round(speed),
        "mfu": mfu,
        "mfu_all": mfu_all,
        "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1) if cuda else None,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def utilisation(config: Any, lengths: list[int], speed: float, passes: int) -> tuple[float | None, float | None]:
    """MFU in percent at `speed` tokens a second: of what must be computed, and with all of the output layer.

    None for a card whose peak is not known. `passes` are as many as a forward pass takes.
    """
    import torch
    from trl.trainer.utils import compute_flops_per_token, get_peak_flops

    peak = get_peak_flops(torch.cuda.get_device_name(), "bfloat16")
    if not peak:
        return None, None
    # A token attends to half of its document on average; long documents have more tokens.
    context = sum(length * length for length in lengths) / sum(lengths) / 2
    every = compute_flops_per_token(config, int(context)) / 3  # operations of a token's forward pass
    half = every - config.hidden_size * config.vocab_size  # output layer for every other token
    return round(100 * passes * half * speed / peak, 1), round(100 * passes * every * speed / peak, 1)


def main(words: list[str] | None = None) -> int:
    """Measure every lever that this machine has, and print one table."""
    options = _options(words)
    names = options.levers.split(",") if options.levers else list(LEVERS)
    if unknown := [name for name in names if name not in LEVERS]:
        sys.exit(f"--levers {unknown[0]}: there are {', '.join(LEVERS)}")
    found, coming = [], [_Lever(names[0], options)]
    for place, name in enumerate(names):
        lever = coming.pop()
        if place + 1 < len(names):
            coming.append(_Lever(names[place + 1], options))
        found.append(lever.result(options.timeout))
        assert found[-1]["lever"] == name
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    print(table(found, options), flush=True)
    return 0 if any("tokens_per_second" in one for one in found) else 1


def table(found: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """The results as Markdown, levers that were skipped or failed with their reason below."""
    done = [one for one in found if "tokens_per_second" in one]
    lines = [f"Shape {options.shape}, rows of {options.tokens:,} tokens, documents of {options.median} in the median."]
    if done:
        first = done[0]
        lines[0] += f" {first['device']}, torch {first['torch']}, transformers {first['transformers']}."
        lines += ["", "| lever | tokens/s | × TRL's defaults | MFU % | with all of the output layer | peak GB |"]
        lines += ["|---" * 6 + "|"]
    base = next((one["tokens_per_second"] for one in done if one["lever"] == "trl"), None)
    for one in done:
        times = f"{one['tokens_per_second'] / base:.2f}" if base else ""
        cells = [one["lever"], f"{one['tokens_per_second']:,}", times, one["mfu"], one["mfu_all"], one["peak_gb"]]
        lines.append("| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |")
    left_out = [one for one in found if "tokens_per_second" not in one]
    lines += [""] * bool(left_out)
    lines += [f"- {one['lever']}: {one.get('failed') or 'skipped, ' + one['skipped']}" for one in left_out]
    return "\n".join(lines)


class _Lever:
    """A process of its own for one lever. It imports while the one before it is measured, and waits for its turn."""

    def __init__(self, lever: str, options: argparse.Namespace) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._lever = lever
        self._mine, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_tried, args=(lever, options, theirs))
        self._process.start()
        theirs.close()

    def result(self, timeout: float) -> dict[str, Any]:
        """Let it begin; what it found, or why that failed."""
        failed = {"lever": self._lever, "failed": "died without a word"}
        try:
            self._mine.send("go")
            if not self._mine.poll(timeout):
                self._process.kill()
                return failed | {"failed": f"not done in {timeout:g} s"}
            found: dict[str, Any] = self._mine.recv()
        except (EOFError, BrokenPipeError):
            return failed
        finally:
            self._process.join()
        return found


def _tried(lever: str, options: argparse.Namespace, turn: Connection) -> None:
    """What such a process does: measure the lever, or tell why that failed."""
    for name in ("torch", "transformers", "datasets", "trl.trainer.sft_trainer", "peft"):
        if importlib.util.find_spec(name.partition(".")[0]):
            importlib.import_module(name)
    import torch

    turn.recv()
    try:
        reason = missing(lever)
        turn.send({"lever": lever, "skipped": reason} if reason else measure(lever, options))
    except torch.OutOfMemoryError:
        turn.send({"lever": lever, "failed": "out of memory"})
    except Exception as error:
        turn.send({"lever": lever, "failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})
        raise


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="0.6B")
    parser.add_argument("--levers", help=f"some of {','.join(LEVERS)}; all this machine has by default")
    parser.add_argument("--tokens", type=int, default=16_384, help="of a packed row")
    parser.add_argument("--median", type=int, default=400, help="tokens of a document")
    parser.add_argument("--steps", type=int, default=10, help="measured")
    parser.add_argument("--warm-up", type=int, default=4, help="steps before them")
    parser.add_argument("--timeout", type=float, default=240, help="seconds for one lever")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
