"""Serve a run's model by a program that others wrote: vLLM, or `transformers serve`."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path

from trainers.folder import ADAPTER, check_run, is_adapter

SERVERS = ("auto", "vllm", "transformers")
# What vLLM takes as --max-lora-rank (vllm/config/lora.py, 0.32).
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def serve(run: str, *, server: str, host: str, port: int) -> None:
    """Become a server with an OpenAI-compatible API: vLLM where it is installed, else `transformers serve`.

    Does not return. Raises ValueError when there is no server, or none that takes the run as it is.
    """
    command = serve_command(run, server=server, host=host, port=port)
    print(f"chat: {shlex.join(command)}", file=sys.stderr, flush=True)
    # The server is to end as it ends by itself, not by our handlers.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.execvp(command[0], command)


def serve_command(run: str, *, server: str, host: str, port: int) -> list[str]:
    """The command line of the server. Raises ValueError as `serve` does."""
    if server not in SERVERS:
        raise ValueError(f"--server {server}: must be one of {', '.join(SERVERS)}")
    folder = Path(run)
    if folder.is_dir():
        check_run(folder)
    name, program = _program(server)
    command, where = [program, "serve"], ["--host", host, "--port", str(port)]
    if not (folder.is_dir() and is_adapter(folder)):
        return [*command, run, *where]
    if name != "vllm" or (more := _beyond_lora(folder)):
        what = "is an adapter, which `transformers serve` does not take" if name != "vllm" else more
        merged = shlex.quote(f"{run.rstrip('/')}-merged")
        line = f"datatools train merge {shlex.quote(run)} --out {merged}"
        raise ValueError(f"{run}: {what}: {line}, then --serve {merged}")
    return [*command, *_adapter(folder, run), *where]


def _program(server: str) -> tuple[str, str]:
    """Name and place of the server: beside this Python, then on the path."""
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    for name in SERVERS[1:]:
        if server in ("auto", name) and (found := shutil.which(name, path=places)):
            return name, found
    what = "neither vllm nor transformers is" if server == "auto" else f"{server} is not"
    raise ValueError(f"--serve: {what} installed (pip install vllm, or pip install 'transformers[serving]')")


def _adapter(run: Path, name: str) -> list[str]:
    """Base and adapter for vLLM: the adapter answers to the run's name, with the run's own template."""
    stated = json.loads((run / ADAPTER).read_text(encoding="utf-8"))
    highest = max([stated["r"], *(stated.get("rank_pattern") or {}).values()])
    rank = next((one for one in RANKS if one >= highest), highest)  # vLLM says what it thinks of a higher one
    module = json.dumps({"name": name, "path": str(run)}, ensure_ascii=False)
    lora = ["--enable-lora", "--lora-modules", module, "--max-lora-rank", str(rank)]
    return [str(stated["base_model_name_or_path"]), "--tokenizer", str(run), *lora]


def _beyond_lora(run: Path) -> str:
    """What vLLM has no place for in an adapter: new tokens, DoRA's magnitudes, a head of its own; else nothing."""
    from safetensors import safe_open

    with safe_open(run / "adapter_model.safetensors", "pt") as file:
        other = [name for name in file.keys() if ".lora_A." not in name and ".lora_B." not in name]  # noqa: SIM118
    return f"its adapter holds more than LoRA ({other[0]}), which vLLM does not take" if other else ""
