"""Attention over packed rows: torch's own variable-length kernel, which transformers then knows as varlen.

A dense mask over a pack of 16 k tokens costs T² whatever stands in it; this kernel reads where each document begins and
ends. Padded batches and generation go to sdpa.
"""

from __future__ import annotations

import inspect
from typing import Any

_registered: list[str] = []


def register() -> None:
    """Make `attn_implementation="varlen"` known. Raises ValueError where torch has no such kernel (before 2.10)."""
    if _registered:
        return
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError as error:
        raise ValueError("--attention varlen: needs torch 2.10 or newer; --attention sdpa does without") from error

    def mask(**given: Any) -> Any:
        # Packed rows carry no mask of two dimensions: their documents' ends say it all.
        return None if given.get("attention_mask") is None else sdpa_mask(**given)

    AttentionInterface.register("varlen", attention(varlen_attn))
    AttentionMaskInterface.register("varlen", mask)
    _registered.append("varlen")


def attention(kernel: Any) -> Any:
    """An attention function for transformers around a kernel with the signature of torch's `varlen_attn`."""
    parameters = inspect.signature(kernel).parameters
    grouped = "enable_gqa" in parameters

    def forward(
        module: Any,
        query: Any,  # (1, heads, tokens, width)
        key: Any,
        value: Any,
        attention_mask: Any,
        scaling: float | None = None,
        dropout: float = 0.0,
        sliding_window: int | None = None,
        cu_seq_lens_q: Any = None,
        max_length_q: Any = None,
        **more: Any,
    ) -> tuple[Any, None]:
        import torch

        if cu_seq_lens_q is None or query.shape[0] != 1 or dropout:
            from transformers.integrations.sdpa_attention import sdpa_attention_forward

            found: tuple[Any, None] = sdpa_attention_forward(
                module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **more
            )
            return found
        kind = query.device.type
        # Norms of queries and keys leave them in fp32 under autocast; the kernel takes half precision alone.
        half = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
        if not grouped:
            key, value = (one.repeat_interleave(query.shape[1] // key.shape[1], 1) for one in (key, value))
        query, key, value = (one[0].transpose(0, 1).to(half).contiguous() for one in (query, key, value))
        options: dict[str, Any] = {"scale": scaling} if "scale" in parameters else {}
        if "window_size" in parameters:
            options["window_size"] = (-1 if sliding_window is None else sliding_window - 1, 0)
        else:
            options["is_causal"] = True
        if grouped:
            options["enable_gqa"] = True
        # The bound goes to the kernel as it came: arithmetic on it here would have a compiled layer compiled again for
        # every new value, where a plain integer becomes a symbol after the second.
        ends = cu_seq_lens_q.to(query.device)
        return kernel(query, key, value, ends, ends, max_length_q, max_length_q, **options)[None], None

    return forward
