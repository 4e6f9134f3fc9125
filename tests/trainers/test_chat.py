"""A model that talks: in the terminal, over a file, through a server."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import trainers.predict as predicting
from schemas.conversation import CONVERSATION
from schemas.fields import check
from tests import small
from tests.pipelines.command import here, killed_when, lines_of, rows, started
from trainers.chat import Talk

QUESTIONS = [
    "感冒了怎么办？",
    "What is the first line therapy for type 2 diabetes?",
    "高血压患者应当吃什么？",
    "咳嗽？",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.save(tmp_path_factory.mktemp("run"), seed=3, tied=False)


def lines(path: Path, questions: list[Any]) -> Path:
    objects = [{"question": one} if isinstance(one, str) else one for one in questions]
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in objects), encoding="utf-8")
    return path


def greedy(folder: Path, messages: list[dict[str, str]], most: int) -> str:
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    made = model.generate(**ids, max_new_tokens=most, do_sample=False)
    return tokenizer.decode(made[0, ids["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def test_a_file_is_answered_in_its_order(run: Path, tmp_path: Path):
    talk = [
        {"role": "user", "content": "发热三天"},
        {"role": "assistant", "content": "体温多少？"},
        {"role": "user", "content": "39度"},
    ]
    file = lines(tmp_path / "q.jsonl", [*QUESTIONS, {"id": "t", "messages": talk}])
    ended = here("chat", run, "--input", file, "--out", tmp_path / "a.parquet", "--max-tokens", 12, "--json")
    assert ended.code == 0 and ended.summary["rows_read"] == ended.summary["rows_written"] == 5
    check(pq.read_schema(tmp_path / "a.parquet"), CONVERSATION, "a.parquet")
    found = rows(tmp_path / "a.parquet")
    assert [row["messages"][0]["content"] for row in found] == [*QUESTIONS, "发热三天"]
    assert found[-1]["id"] == "t" and len(found[-1]["messages"]) == 4
    assert [row["language"] for row in found] == ["zh", "en", "zh", "zh", "zh"]
    for row in found:
        assert row["messages"][-1]["content"] == greedy(run, row["messages"][:-1], 12)
        assert row["generator"] == run.name and row["task"] == "chat" and row["source"] == "q.jsonl"
        assert row["usage"]["completion_tokens"] <= 12
        assert row["flags"] == (["truncated"] if row["checks"]["finish_reason"] == "length" else [])


def test_ids_are_kept_made_and_unique(run: Path, tmp_path: Path):
    file = lines(tmp_path / "q.jsonl", ["问？", "问？", {"id": "a", "question": "x"}, {"id": "a", "question": "y"}])
    here("chat", run, "--input", file, "--out", tmp_path / "a.parquet", "--max-tokens", 2)
    ids = [row["id"] for row in rows(tmp_path / "a.parquet")]
    assert ids[1] == f"{ids[0]}#2" and ids[2:] == ["a", "a#2"]


def test_an_adapter_answers_as_the_merged_model_does(run: Path, tmp_path: Path):
    adapter = small.adapter(tmp_path / "adapter", run)
    here("train", "merge", adapter, "--out", tmp_path / "merged")
    file = lines(tmp_path / "q.jsonl", QUESTIONS)
    for name in ("adapter", "merged"):
        here("chat", tmp_path / name, "--input", file, "--out", tmp_path / f"{name}.parquet", "--max-tokens", 8)
    answers = [[row["messages"] for row in rows(tmp_path / f"{name}.parquet")] for name in ("adapter", "merged")]
    assert answers[0] == answers[1] != []


def test_a_system_message_is_put_first_unless_there_is_one(run: Path, tmp_path: Path):
    own = [{"role": "system", "content": "own"}, {"role": "user", "content": "?"}]
    file = lines(tmp_path / "q.jsonl", ["问？", {"messages": own}])
    here("chat", run, "--input", file, "--out", tmp_path / "a.parquet", "--system", "中文", "--max-tokens", 2)
    assert [row["messages"][0]["content"] for row in rows(tmp_path / "a.parquet")] == ["中文", "own"]


def test_sampling_is_the_same_with_the_same_seed(run: Path, tmp_path: Path):
    file = lines(tmp_path / "q.jsonl", QUESTIONS)
    answers = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        out = tmp_path / f"{name}.parquet"
        here("chat", run, "--input", file, "--out", out, "--temperature", 1, "--seed", seed, "--max-tokens", 10)
        answers.append([row["messages"] for row in rows(out)])
    assert answers[0] == answers[1] != answers[2]


def test_a_question_too_long_fails_alone(run: Path, tmp_path: Path):
    file = lines(tmp_path / "q.jsonl", ["问？", "长" * 2000, "问！"])
    ended = here("chat", run, "--input", file, "--out", tmp_path / "a.parquet", "--max-tokens", 4, "--json")
    assert ended.code == 3 and ended.summary["failed"] == {"context_length": 1}
    assert len(rows(tmp_path / "a.parquet")) == 2
    assert "512" in rows(tmp_path / "a.failed.parquet")[0]["message"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"question": ""}', "q.jsonl:2: no text in `question`"),
        ('{"answer": "x"}', "q.jsonl:2: no text in `question`"),
        ("nonsense", "q.jsonl:2: no JSON"),
        ("[1]", "q.jsonl:2: an object"),
        ('{"messages": []}', "list of turns"),
        ('{"messages": [{"role": "user", "content": null}]}', "turn 1"),
        ('{"messages": [{"role": "human", "content": "x"}]}', "turn 1"),
        (
            '{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}',
            "ends with assistant",
        ),
        (r'{"question": "\ud800"}', "surrogate"),
    ],
)
def test_a_broken_line_is_named_before_anything_is_loaded(tmp_path: Path, line: str, said: str):
    (tmp_path / "q.jsonl").write_text(f'{{"question": "x"}}\n{line}\n', encoding="utf-8")
    ended = here("chat", "/no/such/model", "--input", tmp_path / "q.jsonl", "--out", tmp_path / "a.parquet")
    assert ended.code == 2 and said in ended.line
    assert not (tmp_path / "a.parquet").exists()


def test_what_does_not_go_together_is_said(run: Path, tmp_path: Path):
    file = lines(tmp_path / "q.jsonl", ["?"])
    (tmp_path / "empty.jsonl").touch()
    bare = small.save(tmp_path / "bare", template=None)
    out = ("--out", tmp_path / "a.parquet")
    cases = [
        ((run, "--input", file), "go together"),
        ((run, "--serve", "--input", file, *out), "choose one"),
        ((run, "--serve", "--server", "ollama"), "auto, vllm, transformers"),
        ((run, "--input", tmp_path / "empty.jsonl", *out), "no questions"),
        ((bare, "--input", file, *out), "no chat template"),
        ((tmp_path / "nothing", "--input", file, *out), "no model of that id or path"),
        ((tmp_path, "--input", file, *out), "no model there"),
    ]
    for words, said in cases:
        ended = here("chat", *words)
        assert ended.code == 2 and said in ended.line, ended


def test_another_model_on_the_same_folder_is_refused(run: Path, tmp_path: Path):
    file = lines(tmp_path / "q.jsonl", ["?"])
    out = ("--input", file, "--out", tmp_path / "a.parquet", "--max-tokens", 2)
    assert here("chat", run, *out).code == 0
    other = small.save(tmp_path / "other", seed=9, tied=False)
    refused = here("chat", other, *out)
    assert refused.code == 2 and "model was" in refused.line and "--fresh" in refused.line
    assert here("chat", other, *out, "--fresh").code == 0


def test_a_finished_block_is_not_answered_again(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(predicting, "BLOCK", 2)
    file = lines(tmp_path / "q.jsonl", QUESTIONS)
    out = tmp_path / "a.parquet"
    words = ("chat", run, "--input", file, "--out", out, "--max-tokens", 4)
    here(*words)
    before = out.read_bytes()
    manifest = tmp_path / "a.work" / "manifest.jsonl"
    manifest.write_bytes(b"".join(manifest.read_bytes().splitlines(keepends=True)[:-1]))  # killed before the last block
    asked: list[int] = []
    generate = predicting.TransformersModel._generate
    monkeypatch.setattr(
        predicting.TransformersModel, "_generate", lambda self, r: asked.append(len(r)) or generate(self, r)
    )
    here(*words)
    assert asked == [2] and out.read_bytes() == before


@pytest.mark.slow
def test_killed_and_run_again_gives_every_answer_once(run: Path, tmp_path: Path):
    file = lines(tmp_path / "q.jsonl", [f"第{number}个问题？" for number in range(300)])
    out = tmp_path / "a.parquet"
    words = ("chat", run, "--input", file, "--out", out, "--max-tokens", 16)
    process = started(*words)
    assert killed_when(process, lambda: lines_of(tmp_path / "a.work" / "manifest.jsonl") >= 2)
    assert not out.exists()
    assert here(*words).code == 0
    assert [row["messages"][0]["content"] for row in rows(out)] == [f"第{number}个问题？" for number in range(300)]


def test_the_terminal_streams_and_remembers(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "sys.stdin", io.StringIO("感冒了怎么办？\n/nonsense\n\n/new\n感冒了怎么办？\n/exit\nnot read\n")
    )
    ended = here("chat", run, "--max-tokens", 8)
    assert ended.code == 0
    answer = greedy(run, [{"role": "user", "content": "感冒了怎么办？"}], 8)
    assert ended.stdout.count(answer) == 2 and "/new begins anew" in ended.stderr


def test_the_terminal_draws_by_the_seed(run: Path, monkeypatch: pytest.MonkeyPatch):
    said = []
    for seed in (0, 0, 1):
        monkeypatch.setattr("sys.stdin", io.StringIO("感冒了怎么办？\n"))
        said.append(here("chat", run, "--max-tokens", 12, "--temperature", 1, "--seed", seed).stdout)
    assert said[0] == said[1] != said[2]


def test_answers_come_in_pieces_and_turns_stay(run: Path):
    talk = Talk(str(run), None, 0.0, 24)
    first = list(talk.answer(QUESTIONS[1]))
    assert len([piece for piece in first if piece]) > 1
    assert [turn["role"] for turn in talk.messages] == ["user", "assistant"]
    before = [*talk.messages, {"role": "user", "content": "还有呢？"}]
    assert "".join(talk.answer("还有呢？")).strip() == greedy(run, before, 24)


def test_an_interrupt_ends_the_answer_and_keeps_what_was_said(run: Path):
    talk = Talk(str(run), None, 0.0, 400)
    pieces = talk.answer(QUESTIONS[1])
    said = next(pieces) + next(pieces)
    with pytest.raises(StopIteration):
        pieces.throw(KeyboardInterrupt())
    assert talk.messages[-1] == {"role": "assistant", "content": said.strip()}


def test_old_turns_make_room(run: Path, capsys: pytest.CaptureFixture[str]):
    talk = Talk(str(run), "中文", 0.0, 4)
    for number in range(6):
        list(talk.answer(f"{number}" + "很长的问题" * 8))
    assert "no longer fit" in capsys.readouterr().err
    assert talk.messages[0] == {"role": "system", "content": "中文"} and talk.messages[1]["role"] == "user"
    with pytest.raises(ValueError, match="the model reads 512"):
        list(talk.answer("长" * 1000))


def test_torch_is_not_loaded_for_help():
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "datatools", "chat", "--help"], capture_output=True, text=True
    )
    assert ended.returncode == 0 and " torch" not in ended.stderr
