"""A run becomes a server: which program, with what, and that it answers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests import small
from tests.pipelines.command import COMMAND, environment
from trainers.serve import serve_command

QUESTION = "感冒了怎么办？"
# Stands for vLLM: says how it was called, and what it was told of telemetry.
PROGRAM = """#!/bin/sh
for word in "$@"; do echo "$word"; done
echo "track $DO_NOT_TRACK hub $HF_HUB_DISABLE_TELEMETRY"
"""
AT = {"host": "127.0.0.1", "port": 8123}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.save(tmp_path_factory.mktemp("run"), seed=3, tied=False)


@pytest.fixture
def vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return program


def test_a_whole_model_is_served_as_it_is(run: Path, vllm: Path):
    assert serve_command(str(run), server="auto", **AT) == [
        *(str(vllm), "serve", str(run)),
        *("--host", "127.0.0.1", "--port", "8123"),
    ]
    words = serve_command(str(run), server="transformers", **AT)
    assert words[1:] == ["serve", str(run), "--host", "127.0.0.1", "--port", "8123"]


def test_an_adapter_goes_to_vllm_with_its_base(run: Path, vllm: Path, tmp_path: Path):
    adapter = small.adapter(tmp_path / "我的 x", run)
    words = serve_command(str(adapter), server="auto", **AT)
    assert words[2] == str(run) and words[words.index("--tokenizer") + 1] == str(adapter)
    module = json.loads(words[words.index("--lora-modules") + 1])
    assert module == {"name": str(adapter), "path": str(adapter)}
    assert words[words.index("--max-lora-rank") + 1] == "8"  # the adapter's is 4, which vLLM has not


def test_an_adapter_that_no_server_takes_must_be_merged(run: Path, vllm: Path, tmp_path: Path):
    adapter = small.adapter(tmp_path / "x", run)
    with pytest.raises(ValueError, match=r"`transformers serve` does not take: datatools train merge .*x-merged"):
        serve_command(str(adapter), server="transformers", **AT)
    weights = load_file(adapter / "adapter_model.safetensors")
    more = {"base_model.model.model.embed_tokens.weight": weights[min(weights)].clone()}
    save_file({**weights, **more}, adapter / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=r"more than LoRA \(.*embed_tokens.*datatools train merge"):
        serve_command(str(adapter), server="auto", **AT)


def test_a_server_that_is_not_there_is_named(run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    for server, said in (("auto", "neither vllm nor transformers is"), ("vllm", "vllm is not")):
        with pytest.raises(ValueError, match=said):
            serve_command(str(run), server=server, **AT)


def test_it_becomes_the_server_and_tells_it_to_report_nothing(run: Path, vllm: Path):
    assert shutil.which("vllm") == str(vllm)
    words = [*COMMAND, "chat", str(run), "--serve", "--server", "vllm", "--port", "8123"]
    ended = subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[:2] == ["serve", str(run)]
    assert ended.stdout.splitlines()[-1] == "track 1 hub 1"
    assert f"chat: {vllm} serve" in ended.stderr


@pytest.mark.slow
def test_a_served_model_answers(run: Path):
    words = ["timeout", "200", *COMMAND, "chat", str(run), "--serve", "--server", "transformers", "--port", "0"]
    server = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment())
    assert server.stderr is not None
    try:
        url = next(found[1] for line in server.stderr if (found := re.search(r"running on (http://[\w.:]+)", line)))
        body = {"model": str(run), "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 5}
        request = urllib.request.Request(
            f"{url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=100) as reply:
            assert json.loads(reply.read())["choices"][0]["message"]["role"] == "assistant"
    finally:
        server.terminate()
        server.communicate()
