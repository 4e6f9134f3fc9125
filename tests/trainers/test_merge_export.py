"""What comes out of a run: the same model, in one piece, with a template that other programs can follow."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests import small
from tests.pipelines.command import here
from trainers.export import modelfile
from trainers.turns import turns_of

LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start|>' + m['role'] + '<|end|>\n\n' + m['content'] + '<|eot|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant<|end|>\n\n' }}{% endif %}"
)
DEFAULT = r"<|im_start|>system\nYou are helpful.<|im_end|>\n"
SPACED = r"<|im_start|>system\n你是医生。\u3000请用中文，\u00a0谨慎。<|im_end|>\n"
WITH_DEFAULT = "{% if messages[0]['role'] != 'system' %}{{ '" + DEFAULT + "' }}{% endif %}" + small.CHATML
WITH_SPACED = WITH_DEFAULT.replace(DEFAULT, SPACED)
# Answers of earlier turns lose what they thought.
THINKING = small.CHATML.replace("m['content']", "(m['content'].split('</think>')[-1])")
ONLY_LAST = "{{ messages[-1]['content'] }}"
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + small.CHATML


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.save(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def run(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small.adapter(tmp_path_factory.mktemp("run"), base)
    (folder / "README.md").write_text('---\nlibrary_name: "peft"\n---\n', encoding="utf-8")
    (folder / "checkpoint-3").mkdir()
    return folder


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(input_ids=torch.arange(20, 60)[None]).logits


def test_a_merged_model_computes_what_base_and_adapter_did(base: Path, run: Path, tmp_path: Path):
    ended = here("train", "merge", run, "--out", tmp_path / "merged", "--json")
    assert ended.code == 0 and ended.summary["output"] == str(tmp_path / "merged")
    plain = AutoModelForCausalLM.from_pretrained(base)
    before = logits(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), run))
    after = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "merged"))
    assert torch.allclose(after, before, atol=1e-4)
    assert not torch.allclose(after, logits(plain), atol=0.1)
    names = {file.name for file in (tmp_path / "merged").iterdir()}
    assert "README.md" in names and not {name for name in names if "adapter" in name or "checkpoint" in name}
    assert 'library_name: "transformers"' in (tmp_path / "merged" / "README.md").read_text(encoding="utf-8")
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template == small.CHATML


@pytest.mark.parametrize("to", ["safetensors", "ollama", "gguf"])
def test_an_adapter_is_merged_when_it_is_exported(run: Path, tmp_path: Path, to: str):
    ended = here("train", "export", run, "--to", to, "--out", tmp_path / "out")
    assert ended.code == 0
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert (tmp_path / "out" / "Modelfile").exists() == (to == "ollama")
    if to == "gguf":
        assert f"convert_hf_to_gguf.py {tmp_path}/out --outtype bf16" in ended.stdout
    if to == "ollama":
        # Ollama converts no safetensors: the file that it reads is the one that the first line makes.
        assert f"{tmp_path}/out --outtype q8_0 --outfile {tmp_path}/out/{run.name}-q8_0.gguf" in ended.stdout
        assert (tmp_path / "out" / "Modelfile").read_text(encoding="utf-8").startswith(f"FROM ./{run.name}-q8_0.gguf\n")
        assert f"ollama create {run.name} -f {tmp_path}/out/Modelfile" in ended.stdout


def test_a_whole_model_is_copied_without_what_the_run_left(base: Path, tmp_path: Path):
    run = small.save(tmp_path / "x")
    (run / "checkpoint-2").mkdir()
    (run / "metrics.jsonl").touch()
    assert here("train", "export", run, "--to", "safetensors").code == 0
    names = {file.name for file in (run / "safetensors").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
    assert not names & {"checkpoint-2", "metrics.jsonl"}


@pytest.mark.parametrize("verb", ["merge", "export"])
def test_programs_with_an_older_transformers_read_it_too(base: Path, tmp_path: Path, verb: str):
    """What transformers 4 stops at, or takes for something else, stands there by its own names as well."""
    run, tokenizer = small.adapter(tmp_path / "run", base), AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|im_start|>"]})
    tokenizer.save_pretrained(run)
    assert here("train", verb, run, "--out", tmp_path / "out").code == 0
    stated = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert stated["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert stated["additional_special_tokens"] == ["<|im_start|>"] and "extra_special_tokens" not in stated
    config = json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]
    assert config["torch_dtype"] == config["dtype"] == "float32"
    # And 5 still reads the same.
    again = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert again.get_vocab() == tokenizer.get_vocab() and again.all_special_tokens == tokenizer.all_special_tokens
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").config.rope_parameters == config["rope_parameters"]


def test_what_cannot_be_exported_is_said_and_leaves_nothing(base: Path, run: Path, tmp_path: Path):
    (tmp_path / "unfinished" / "checkpoint-1").mkdir(parents=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    cases = [
        (("train", "merge", base, "--out", tmp_path / "o"), "no adapter to merge"),
        (("train", "merge", tmp_path / "missing", "--out", tmp_path / "o"), "no such folder"),
        (("train", "merge", run, "--out", tmp_path / "full"), "holds something"),
        (("train", "export", base, "--to", "onnx"), "must be one of safetensors, ollama, gguf"),
        (("train", "export", tmp_path / "unfinished", "--to", "gguf"), "has not ended"),
    ]
    for words, said in cases:
        ended = here(*words)
        assert ended.code == 2 and said in ended.line, ended
    assert not (tmp_path / "o").exists()
    bare = small.save(tmp_path / "bare", template=None)
    ended = here("train", "export", bare, "--to", "ollama", "--out", tmp_path / "o")
    assert ended.code == 2 and "no chat template" in ended.line
    assert not list(tmp_path.glob(".o.*")) and not (tmp_path / "o").exists()


def test_an_adapter_whose_base_is_gone_says_where_to_look(run: Path, tmp_path: Path):
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in run.iterdir():
        if file.is_file():
            (moved / file.name).write_bytes(file.read_bytes())
    found = json.loads((moved / "adapter_config.json").read_text())
    (moved / "adapter_config.json").write_text(json.dumps({**found, "base_model_name_or_path": "/nowhere/base"}))
    ended = here("train", "merge", moved, "--out", tmp_path / "o")
    assert ended.code == 2 and "/nowhere/base" in ended.line and "adapter_config.json" in ended.line


@pytest.mark.parametrize("template", [small.CHATML, LLAMA3, WITH_DEFAULT, WITH_SPACED, THINKING])
def test_the_turns_are_those_of_the_template(base: Path, template: str):
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.bos_token = "<|endoftext|>"
    tokenizer.chat_template = template
    turns = turns_of(tokenizer)
    talk = [("user", "问 1\n"), ("assistant", "答 1"), ("user", " 问 2"), ("assistant", "答 2"), ("user", "问 3")]
    messages = [{"role": role, "content": content} for role, content in talk]
    system = {"role": "system", "content": "只用中文。"}
    for some in (messages, messages[:1], [system, *messages], [system, messages[0]]):
        whole = tokenizer.apply_chat_template(some, tokenize=False, add_generation_prompt=True)
        assert turns.render(some) == whole.removeprefix("<|endoftext|>")


@pytest.mark.parametrize("template", [ONLY_LAST, NO_SYSTEM])
def test_a_template_that_does_more_is_refused(base: Path, template: str):
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = template
    with pytest.raises(ValueError, match="cannot be written for Ollama"):
        turns_of(tokenizer)


def go(template: str, messages: list[dict[str, str]]) -> str:
    """What Ollama makes of the few actions our templates consist of."""
    out = ""
    system = any(turn["role"] == "system" for turn in messages)
    default = re.search(r'\{\{- if not \.System \}\}\{\{ (".*?(?<!\\)") \}\}\{\{ end \}\}', template)
    if default and not system:
        out += json.loads(default[1])
    branch = {
        role: re.search(rf'if eq \$message\.Role "{role}" \}}\}}(.*)', template)[1]
        for role in ("system", "user", "assistant")
    }
    reply = re.search(r'\(ne \$message\.Role "assistant"\) \}\}\{\{ (".*") \}\}\{\{ end \}\}', template)[1]
    for number, turn in enumerate(messages):
        last = number == len(messages) - 1
        piece = branch[turn["role"]].replace("{{ $message.Content }}", turn["content"])
        piece = re.sub(r"\{\{ if not \$last \}\}(.*?)\{\{ end \}\}", lambda m: "" if last else m[1], piece)  # noqa: B023
        out += re.sub(r'\{\{ (".*?(?<!\\)") \}\}', lambda m: json.loads(m[1]), piece)
    return out + json.loads(reply)


@pytest.mark.parametrize("template", [small.CHATML, WITH_DEFAULT, WITH_SPACED])
def test_the_modelfile_has_the_template_and_the_stops(tmp_path: Path, template: str):
    folder = small.save(tmp_path / "m", template=template)
    made = modelfile(folder, "x.gguf")
    assert made.startswith("FROM ./x.gguf\n") and 'PARAMETER stop "<|im_end|>"' in made
    assert "".join(made.splitlines()).isprintable()  # Ollama takes out all else
    written = made.split('"""')[1]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    messages = [
        {"role": "user", "content": "感冒了？"},
        {"role": "assistant", "content": "多饮水。"},
        {"role": "user", "content": "还有呢？"},
    ]
    for some in (messages, [{"role": "system", "content": "中文"}, *messages]):
        assert go(written, some) == tokenizer.apply_chat_template(some, tokenize=False, add_generation_prompt=True)
