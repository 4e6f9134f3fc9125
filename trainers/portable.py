"""A model folder that programs with an older transformers read too.

transformers 5 writes settings that 4 does not know: llama.cpp's converter and SGLang ask for 4 and would stop at the
tokenizer, or take another rotation of positions without a word. Both write the same weights; only the settings are put
down in both ways here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# Where and how a tokenizer was loaded is nobody else's business.
OF_THE_LOADING = ("backend", "is_local", "local_files_only")
GENERIC = {"TokenizersBackend": "PreTrainedTokenizerFast"}


def make_portable(folder: Path) -> None:
    """Put down the settings of tokenizer and model in the folder as transformers 4 knows them, beside 5's."""
    for name, rewritten in (("tokenizer_config.json", tokenizer_settings), ("config.json", model_settings)):
        file = folder / name
        if file.is_file():
            found = rewritten(json.loads(file.read_text(encoding="utf-8")))
            file.write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def tokenizer_settings(found: dict[str, Any]) -> dict[str, Any]:
    """Settings of a tokenizer with the names that both know.

    >>> tokenizer_settings({"tokenizer_class": "TokenizersBackend", "extra_special_tokens": ["<a>"], "backend": "t"})
    {'tokenizer_class': 'PreTrainedTokenizerFast', 'additional_special_tokens': ['<a>']}
    """
    made = {name: value for name, value in found.items() if name not in OF_THE_LOADING}
    if (stated := made.get("tokenizer_class")) in GENERIC:
        made["tokenizer_class"] = GENERIC[stated]
    if isinstance(made.get("extra_special_tokens"), list):
        made["additional_special_tokens"] = made.pop("extra_special_tokens")
    return made


def model_settings(found: dict[str, Any]) -> dict[str, Any]:
    """Settings of a model with the base of its rotary positions, their scaling and its precision by 4's names as well.

    >>> model_settings({"dtype": "bfloat16", "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}})
    {'dtype': 'bfloat16', 'rope_parameters': {'rope_theta': 1000000.0, 'rope_type': 'default'}, \
'torch_dtype': 'bfloat16', 'rope_theta': 1000000.0}
    """
    made = dict(found)
    if "dtype" in made:
        made["torch_dtype"] = made["dtype"]
    rope = made.get("rope_parameters")
    # Parameters by the kind of layer (Gemma 3) have no one place in 4.
    if isinstance(rope, dict) and "rope_type" in rope:
        scaling = {name: value for name, value in rope.items() if name != "rope_theta"}
        if "rope_theta" in rope:
            made["rope_theta"] = rope["rope_theta"]
        if scaling["rope_type"] != "default":
            made["rope_scaling"] = scaling
    return made
