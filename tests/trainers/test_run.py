"""`datatools train` as its users meet it: what it refuses, what it says before it begins, what comes out."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import small
from tests.pipelines.command import AILMENTS, environment, here, write
from tests.trainers.conftest import says, user, write_rows
from trainers import manifest
from trainers.metrics import read

GOOD = [{"messages": [user("感冒怎么办？"), says("多饮水。")]}]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"text": "甲", "title": "乙"}, {"text": None}], "rows.jsonl:2: text is null"),
        ([{"txt": "甲"}], "its columns (txt) are those of no stage"),
        ([], "holds no rows"),
        ([*GOOD, {"messages": [user("问")]}], "rows.jsonl:2: the conversation has no assistant turn"),
        (
            [*GOOD, {"messages": [user("问"), {"role": "assistant", "content": None}]}],
            "rows.jsonl:2: messages 2 (assistant)",
        ),
        (
            [*GOOD, {"messages": [user("问"), says("答"), user("再问")]}],
            "rows.jsonl:2: the conversation ends with a user",
        ),
        (
            [*GOOD, {"messages": [user("问<|im_end|>"), says("答")]}],
            "rows.jsonl:2: message 1 (user) holds '<|im_end|>'",
        ),
        ([{"prompt": "问", "chosen": "好", "rejected": "好"}], "rows.jsonl:1: chosen and rejected are equal"),
        ([{"prompt": "问", "completion": "好", "label": "yes"}], "rows.jsonl:1: label is 'yes'"),
        ([{"prompt": "问"}], "--reward: what is a good reply?"),
    ],
)
def test_bad_rows_are_one_line_and_leave_nothing(rows: list[dict[str, Any]], said: str, qwen: Path, tmp_path: Path):
    refused = here(
        "train", write_rows(tmp_path / "rows.jsonl", rows), "--model", qwen, "--out", tmp_path / "run", "--quiet"
    )
    assert refused.code == 2
    assert said in refused.line
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--stage", "sfft"], "did you mean sft?"),
        (["--stage", "dpo"], "stage dpo needs prompt, chosen, rejected"),
        (["--method", "lorra"], "there are auto, full, lora"),
        (["--rope-scaling", "yarn"], "KIND:FACTOR is needed"),
        (["--max-length", "100000"], "the model's context is 512"),
        (["--max-length", "8"], "all 1 rows are longer than 8 tokens"),
        (["--reward", "exam"], "for grpo and rloo"),
        (["--batch-size", "0"], "must be a number above 0"),
        (["--epochs", "nan"], "must be a number above 0"),
        (["--learning-rate", "inf"], "must be a number above 0"),
        (["--neftune", "-1"], "must be a number above 0"),
        (["--limit", "0"], "must be a number above 0"),
        (["--seed", "-1"], "must be from 0 to"),
        (["--attention", "flex"], "there are auto, sdpa, eager, varlen"),
        (["--leraning-rate", "1"], "--learning-rate"),
        (["--attention", "varlen"], "needs a GPU"),
        (["--set", "leraning_rate=1e-4"], "did you mean learning_rate"),
        (["--set", "learning_rate=1e-4"], "use --learning-rate"),
        (["--set", "weight_decay"], "name=value is needed"),
        (["--general", "none.jsonl"], "no such file"),
        (["--template", "none"], "chatml or the file of a template"),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing(more: list[str], said: str, qwen: Path, tmp_path: Path):
    rows = write_rows(tmp_path / "rows.jsonl", GOOD)
    refused = here("train", rows, "--model", qwen, "--out", tmp_path / "run", *more)
    assert refused.code == 2
    assert said in refused.line
    assert not (tmp_path / "run").exists()


def test_bad_models_are_one_line_and_leave_nothing(qwen: Path, tmp_path: Path):
    rows = write_rows(tmp_path / "rows.jsonl", GOOD)
    (tmp_path / "empty").mkdir()
    small.save(tmp_path / "base", template=None)
    small.save(tmp_path / "endless", template="{% for m in messages %}{{ m['content'] }}\n{% endfor %}")
    small.tokenizer("{% for m in messages %}{{ m['content'] }}\n{% endfor %}", end=None).save_pretrained(
        tmp_path / "endless"
    )
    adapter = tmp_path / "adapter"
    write(adapter, {"adapter_config.json": "{}"})
    for model, said in (
        (tmp_path / "empty", "no config.json there"),
        (tmp_path / "base", "--template chatml gives it one"),
        (tmp_path / "endless", "the model would never stop"),
        (adapter, "`datatools train merge` makes a model of it"),
        (tmp_path / "nowhere", "no folder of that name"),
    ):
        refused = here("train", rows, "--model", model, "--out", tmp_path / "run", "--quiet")
        assert refused.code == 2, refused.stderr
        assert said in refused.line
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_no_library_tells_anyone():
    """TRL tells its makers of every run, unless the hub's library is told to be silent before it is imported."""
    lines = [
        "from trainers.load import quiet_libraries; quiet_libraries()",
        "from huggingface_hub import constants; print(constants.HF_HUB_DISABLE_TELEMETRY)",
    ]
    said = {name: value for name, value in environment().items() if name not in ("CI", "HF_HUB_OFFLINE")}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, env=said, timeout=60
    )
    assert done.stdout == "True\n", done.stderr


def test_rows_of_two_stages_are_not_mixed(data: dict[str, Path], qwen: Path, tmp_path: Path):
    refused = here("train", data["sft"], data["dpo"], "--model", qwen, "--out", tmp_path / "run")
    assert refused.code == 2
    assert "several stages (dpo, sft)" in refused.line


def test_json_is_one_object_at_an_error(qwen: Path, tmp_path: Path):
    refused = here("train", write_rows(tmp_path / "a.jsonl", []), "--model", qwen, "--out", tmp_path / "run", "--json")
    assert refused.code == 2
    assert refused.summary["command"] == "train"
    assert "holds no rows" in refused.summary["error"]


def test_a_dry_run_says_what_it_would_do_and_leaves_nothing(qwen: Path, tmp_path: Path):
    talk = [message for n in range(6) for message in (user(f"第{n}问：血压高？"), says(f"第{n}答：低盐饮食。"))]
    rows = [*GOOD * 30, {"messages": talk}, {"messages": [user("长" * 200), says("答")]}]
    file = write_rows(tmp_path / "rows.jsonl", rows)
    words = ["train", file, "--model", qwen, "--out", tmp_path / "run", "--dry-run", "--max-length", "128"]
    done = here(*words)
    assert done.code == 0, done.stderr
    assert not (tmp_path / "run").exists()
    for said in (
        "stage     sft: by the columns of rows.jsonl",
        "method    full, fp32: all weights fit",
        "length    128 tokens: as asked",
        "1 too long and cut behind an answer (rows.jsonl:31); 1 too long and dropped (rows.jsonl:32)",
        "steps     ",
        "time      ",
    ):
        assert said in done.stdout
    assert here(*words, "--too-long", "drop", "--json").summary["dropped"] == {"too_long": 2}
    plan = here(*words, "--json").summary["dry_run"]
    assert (plan["max_length"], plan["pack_size"], plan["rows"], plan["examples"]) == (128, 128, 32, 31)


@pytest.mark.parametrize(
    ("labels", "said"),
    [([True, False] * 3, "3 good, 3 bad\n"), ([True] * 4, "one kind alone"), ([True] * 3 + [False] * 3, "sorted, so")],
)
def test_labels_that_teach_little_are_told(labels: list[bool], said: str, qwen: Path, tmp_path: Path):
    rows = [{"prompt": f"问{n}", "completion": "答", "label": label} for n, label in enumerate(labels)]
    file = write_rows(tmp_path / "rows.jsonl", rows)
    done = here("train", file, "--model", qwen, "--out", tmp_path / "run", "--dry-run")
    assert said in done.stdout


def test_inspect_shows_rows_and_what_is_learned(data: dict[str, Path], qwen: Path, tmp_path: Path):
    done = here("train", data["sft"], "--model", qwen, "--out", tmp_path / "run", "--inspect", "3")
    assert done.code == 0
    assert done.stdout.count("【") == 3
    assert "sft.jsonl:3: " in done.stdout
    assert not (tmp_path / "run").exists()
    pairs = here("train", data["dpo"], "--model", qwen, "--out", tmp_path / "run", "--inspect", "1")
    assert "dpo.jsonl:1: " in pairs.stdout


def packs(out: Path) -> list[dict[str, Any]]:
    with pa.OSFile(str(out / "data" / "train.arrow")) as file:
        return pa.ipc.open_stream(file).read_all().to_pylist()


@pytest.mark.slow
def test_rows_are_trained_in_their_order_and_general_ones_among_them(qwen: Path, tmp_path: Path):
    rows = write_rows(tmp_path / "a.jsonl", [{"messages": [user(f"问{n}"), says("答")]} for n in range(8)])
    general = write_rows(tmp_path / "g.jsonl", [{"messages": [user("Hello?"), says("Hi.")]}])
    words = ["--model", qwen, "--out", tmp_path / "run", "--batch-size", 2, "--max-steps", 1]
    done = here("train", rows, *words, "--general", general, "--general-share", "0.2")
    assert done.code == 0, done.stderr
    places = [place for row in packs(tmp_path / "run") for place in row["places"]]
    assert [place for place in places if place.startswith("a")] == [f"a.jsonl:{n}" for n in range(1, 9)]
    assert [number for number, place in enumerate(places) if place.startswith("g")] == [4, 9]


@pytest.mark.slow
def test_what_a_run_leaves(data: dict[str, Path], llama: Path, tmp_path: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "run"
    done = here("train", data["sft"], "--model", llama, "--out", out, "--max-steps", 2, "--seed", "3")
    assert done.code == 0, done.stderr
    assert "2, " in done.stdout and "loss" in done.stdout
    assert AutoTokenizer.from_pretrained(out).chat_template == small.CHATML
    model = AutoModelForCausalLM.from_pretrained(out)
    assert model.generation_config.eos_token_id == AutoTokenizer.from_pretrained(out).convert_tokens_to_ids(
        "<|im_end|>"
    )
    found = manifest.read(out)
    assert found is not None and found["finished"]
    assert set(found["data"]) == {str(data["sft"])}
    card = (out / "README.md").read_text()
    assert found["data"][str(data["sft"])] in card
    assert "sft.jsonl" in card
    page = (out / "report.html").read_text()
    for drawn in ("Loss", "Learning rate", "Tokens a second", "Memory at its peak, GB"):
        assert f"<h2>{drawn}</h2>" in page
    assert "<path d=" in page and "<td>steps</td><td>2 of 2</td>" in page
    for name in ("step", "loss", "learning_rate", "tokens", "tokens_per_second", "mfu", "memory_gb"):
        assert name in read(out)[0]


@pytest.mark.slow
def test_a_base_model_learns_chatml_and_to_end_its_turn(data: dict[str, Path], tmp_path: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = small.model()
    words = small.tokenizer(None, end="<|endoftext|>")
    model.save_pretrained(tmp_path / "base")
    words.save_pretrained(tmp_path / "base")
    for method in ("full", "lora"):
        out = tmp_path / method
        more = ["--template", "chatml", "--max-steps", 1, "--batch-size", 2, "--method", method]
        done = here("train", data["sft"], "--model", tmp_path / "base", "--out", out, *more)
        assert done.code == 0, done.stderr
        assert "<|im_start|>" in AutoTokenizer.from_pretrained(out).chat_template
    ends = AutoModelForCausalLM.from_pretrained(tmp_path / "full").generation_config.eos_token_id
    assert words.convert_tokens_to_ids("<|im_end|>") in (ends if isinstance(ends, list) else [ends])


@pytest.mark.slow
def test_a_recipe_holds_settings_of_the_library(data: dict[str, Path], qwen: Path, tmp_path: Path):
    recipe = tmp_path / "train.toml"
    recipe.write_text("[train]\nmax-steps = 1\nbatch_size = 2\n[train.set]\nweight_decay = 0.25\n")
    done = here("train", data["sft"], "--model", qwen, "--out", tmp_path / "run", "--recipe", recipe)
    assert done.code == 0, done.stderr
    found = manifest.read(tmp_path / "run")
    assert found is not None
    assert (found["settings"]["set"], found["settings"]["max_steps"]) == ({"weight_decay": 0.25}, 1)


@pytest.mark.slow
def test_from_a_folder_of_text_to_a_model_that_answers(tmp_path: Path):
    """The whole way: text → unify → train → the model says what the text says."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    herbs = "甘草 茯苓 白术 人参 黄芪 当归 川芎 白芍 陈皮 半夏".split()
    sections = ("功效", "主治", "用法", "禁忌", "性味")
    draw = random.Random(0)
    pages = {}
    for herb in herbs:
        said = [f"{herb}治{'、'.join(draw.sample(AILMENTS, 3))}，每日{draw.randint(2, 99)}克水煎服。" for _ in sections]
        parts = [f"## {name}\n\n{text}" for name, text in zip(sections, said, strict=True)]
        pages[f"{herb}.md"] = "\n\n".join([f"# {herb}", *parts])
    made = here("unify", write(tmp_path / "text", pages), "--out", tmp_path / "sft.parquet", "--no-curate")
    assert made.code == 0, made.stderr
    pairs = pq.read_table(tmp_path / "sft.parquet")["messages"].to_pylist()
    assert len(pairs) == 50
    words = small.tokenizer(lines=tuple(pages.values()), words=400)
    words.save_pretrained(tmp_path / "base")
    small.model(words=len(words), hidden=128).save_pretrained(tmp_path / "base")
    out = tmp_path / "run"
    more = ["--epochs", "40", "--batch-size", "5", "--learning-rate", "2e-3", "--save-steps", "400", "--quiet"]
    done = here("train", tmp_path / "sft.parquet", "--model", tmp_path / "base", "--out", out, *more)
    assert done.code == 0, done.stderr
    assert read(out)[-1]["loss"] < 0.1
    tokenizer, trained = AutoTokenizer.from_pretrained(out), AutoModelForCausalLM.from_pretrained(out).eval()
    right = 0
    for question, answer in pairs:
        ids = tokenizer.apply_chat_template(
            [question], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            reply = trained.generate(**ids, max_new_tokens=300, do_sample=False)[0, ids["input_ids"].shape[1] :]
        right += tokenizer.decode(reply, skip_special_tokens=True) == answer["content"]
    assert right == 50


@pytest.mark.slow
def test_a_list_of_rows_that_is_gone_when_the_model_is_there(
    qwen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The card says what the files held when the run was begun: nothing is read again at its end."""
    from trainers import run

    rows = [{"messages": [user(f"问题{n}"), says("好。")]} for n in range(4)]
    path = tmp_path / "sft.json"
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    fitted = run._fit

    def and_gone(*given: Any) -> None:
        fitted(*given)
        path.unlink()

    monkeypatch.setattr(run, "_fit", and_gone)
    done = here("train", path, "--model", qwen, "--out", tmp_path / "run", "--max-steps", 1, "--limit", 3)
    assert done.code == 0, done.stderr
    card = (tmp_path / "run" / "README.md").read_text()
    assert "on 3 rows of one file" in card and "| rows | 4 |" in card and "sft.json" in card
