"""Kills, signals, full disks, changed settings: the same line goes on, and ends in the same bits."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.pipelines.command import Ended, ended, here, killed_when, started, until
from tests.trainers.conftest import says, user, write_rows
from trainers import checkpoints, fit, manifest, probe
from trainers.build import trainer_of
from trainers.metrics import Metrics, read
from trainers.plan import Plan, plan_from
from trainers.save import TEMPORARY
from trainers.settings import settings_from

pytestmark = pytest.mark.slow
STEPS = 12


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(
        tmp_path_factory.mktemp("rows") / "sft.jsonl",
        [{"messages": [user(f"问题{n}是什么？"), says(f"回答{n}，低盐饮食。" * (1 + n % 3))]} for n in range(20)],
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With dropout, so that the state of what is random must come back too."""
    from tests import small

    folder = small.save(tmp_path_factory.mktemp("model"))
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"attention_dropout": 0.0', '"attention_dropout": 0.1'))
    return folder


def line(rows: Path, model: Path, out: Path) -> list[object]:
    more = ["--max-steps", STEPS, "--save-steps", 4, "--batch-size", 3, "--learning-rate", 1e-2, "--attention", "eager"]
    return ["train", rows, "--model", model, "--out", out, *more]


@pytest.fixture(scope="module")
def uninterrupted(rows: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    done = here(*line(rows, model, out))
    assert done.code == 0, done.stderr
    return out


@contextmanager
def when(happened: Callable[[], bool], act: Callable[[], None]) -> Iterator[None]:
    """Do something as soon as something has happened in the block."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.001):
            if happened():
                return act()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def at_step(out: Path, step: int) -> Callable[[], bool]:
    return lambda: len(read(out)) >= step


def interrupted(number: int, step: int, *words: object, out: Path) -> Ended:
    """The command in this process, sent a signal when it has come to a step."""
    with when(at_step(out, step), lambda: os.kill(os.getpid(), number)):
        return here(*words)


def assert_same(out: Path, uninterrupted: Path) -> None:
    """Weights bit for bit, and every step told of once with the same loss."""
    assert (out / "model.safetensors").read_bytes() == (uninterrupted / "model.safetensors").read_bytes()
    told = [[(one["step"], one["loss"], one["tokens"]) for one in read(run)] for run in (out, uninterrupted)]
    assert told[0] == told[1]
    assert [step for step, _, _ in told[0]] == list(range(1, STEPS + 1))


def test_killed_at_any_moment_the_same_line_ends_in_the_same_bits(
    rows: Path, model: Path, uninterrupted: Path, tmp_path: Path
):
    out = tmp_path / "run"
    moments: list[Callable[[], bool]] = [
        lambda: (out / "data").exists(),  # while the rows are prepared
        lambda: (out / "checkpoint-4").exists(),  # while a checkpoint is written
        at_step(out, 7),  # between two
        lambda: (out / TEMPORARY).exists(),  # while the model is put in its place
    ]
    killed = [killed_when(started(*line(rows, model, out)), moment) for moment in moments]
    assert all(killed[:3])
    done = here(*line(rows, model, out))
    assert done.code == 0, done.stderr
    assert_same(out, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(
    number: int, rows: Path, model: Path, uninterrupted: Path, tmp_path: Path
):
    out = tmp_path / "run"
    stopped = interrupted(number, 6, *line(rows, model, out), out=out)
    assert stopped.code == 130
    assert "the same line again goes on" in stopped.line
    last = checkpoints.newest(out)
    assert last is not None
    assert checkpoints.step_of(last) == read(out)[-1]["step"] >= 6
    assert not (out / "model.safetensors").exists()
    done = here(*line(rows, model, out))
    assert done.code == 0, done.stderr
    assert f"goes on from {last.name}" in done.stderr
    assert_same(out, uninterrupted)


def test_two_processes_stop_behind_the_same_step_and_go_on(rows: Path, model: Path, tmp_path: Path):
    out = tmp_path / "run"
    words = [*line(rows, model, out), "--processes", 2]
    process = started(*words)
    assert until(process, at_step(out, 5))
    process.terminate()
    stopped = ended(process)
    assert stopped.code == 130, stopped.stderr
    last = checkpoints.newest(out)
    assert last is not None
    assert checkpoints.step_of(last) == read(out)[-1]["step"] >= 5
    done = ended(started(*words))
    assert done.code == 0, done.stderr
    assert [one["step"] for one in read(out)] == list(range(1, STEPS + 1))
    assert (out / "model.safetensors").exists()


def test_what_was_never_finished_is_skipped(rows: Path, model: Path, uninterrupted: Path, tmp_path: Path):
    out = tmp_path / "run"
    assert interrupted(signal.SIGTERM, 9, *line(rows, model, out), out=out).code == 130
    last = checkpoints.newest(out)
    assert last is not None
    (out / "checkpoint-99").mkdir()  # begun
    (out / "checkpoint-99" / "model.safetensors").write_bytes(b"half")
    shutil.copytree(last, out / "checkpoint-98")  # cut short behind its marker, as by a power cut
    weights = out / "checkpoint-98" / "optimizer.pt"
    weights.write_bytes(weights.read_bytes()[:100])
    assert checkpoints.newest(out) == last
    done = here(*line(rows, model, out))
    assert done.code == 0, done.stderr
    assert "checkpoint-99 was never finished" in done.stderr
    assert_same(out, uninterrupted)


def test_a_full_disk_leaves_the_last_checkpoint(rows: Path, model: Path, uninterrupted: Path, tmp_path: Path):
    out = tmp_path / "run"
    assert interrupted(signal.SIGTERM, 5, *line(rows, model, out), out=out).code == 130
    last = checkpoints.newest(out)
    assert last is not None
    largest = max(path.stat().st_size for path in last.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest // 2, hard))  # no file may grow beyond that
    try:
        full = here(*line(rows, model, out))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert full.code == 2
    assert "the disk is full" in full.line
    assert last.name in full.line
    assert checkpoints.newest(out) == last
    assert [path.name for path in out.glob("checkpoint-*")].count(last.name) == 1
    assert here(*line(rows, model, out)).code == 0
    assert_same(out, uninterrupted)


def test_two_whole_checkpoints_are_kept(uninterrupted: Path):
    kept = sorted(checkpoints.step_of(path) for path in uninterrupted.glob("checkpoint-*"))
    assert kept == [8, 12]
    assert all(checkpoints.whole(path) for path in uninterrupted.glob("checkpoint-*"))


def test_a_finished_run_is_not_trained_again(rows: Path, model: Path, uninterrupted: Path):
    before = (
        (uninterrupted / "metrics.jsonl").stat().st_mtime_ns,
        (uninterrupted / "model.safetensors").stat().st_mtime_ns,
    )
    again = here(*line(rows, model, uninterrupted), "--json")
    assert again.code == 0
    assert again.summary["rows_read"] == 20
    after = (
        (uninterrupted / "metrics.jsonl").stat().st_mtime_ns,
        (uninterrupted / "model.safetensors").stat().st_mtime_ns,
    )
    assert after == before


def test_other_settings_and_data_are_refused(rows: Path, model: Path, uninterrupted: Path, tmp_path: Path):
    words = line(rows, model, uninterrupted)
    for more, said in (
        (["--learning-rate", "0.5"], "learning_rate was 0.01, now 0.5"),
        (["--seed", "7"], "seed was 0, now 7"),
        (["--stage", "pt"], "stage pt needs text"),
        (["--set", "weight_decay=0.1"], "set was {}"),
    ):
        refused = here(*words, *more)
        assert refused.code == 2
        assert said in refused.line
    text = rows.read_text()
    try:
        rows.write_text(text.replace("低盐", "低糖"))
        changed = here(*words)
    finally:
        rows.write_text(text)
    assert changed.code == 2
    assert "sft.jsonl has changed; --fresh starts over" in changed.line


def test_files_that_moved_are_the_same(rows: Path, model: Path, uninterrupted: Path, tmp_path: Path):
    """Run, data and model in other places, how often is saved too: nothing of it changes a weight."""
    out = tmp_path / "here" / "run"
    assert interrupted(signal.SIGTERM, 5, *line(rows, model, out), out=out).code == 130
    shutil.move(tmp_path / "here", tmp_path / "there")
    shutil.copy(rows, tmp_path / "other.jsonl")
    shutil.copytree(model, tmp_path / "model")
    out = tmp_path / "there" / "run"
    words = line(tmp_path / "other.jsonl", tmp_path / "model", out)
    done = here(*words, "--save-steps", 5)
    assert done.code == 0, done.stderr
    assert "goes on from checkpoint-" in done.stderr
    assert_same(out, uninterrupted)
    assert {10, 12} == {checkpoints.step_of(path) for path in out.glob("checkpoint-*")}


def test_a_template_that_changed_is_other_data(rows: Path, model: Path, tmp_path: Path):
    from tests import small

    out, template = tmp_path / "run", tmp_path / "own.jinja"
    template.write_text(small.CHATML)
    words = [*line(rows, model, out), "--template", template]
    assert interrupted(signal.SIGTERM, 3, *words, out=out).code == 130
    template.write_text(small.CHATML.replace("assistant", "doctor"))
    refused = here(*words)
    assert refused.code == 2
    assert "own.jinja has changed" in refused.line


def test_other_libraries_are_named(rows: Path, model: Path, tmp_path: Path):
    out = tmp_path / "run"
    assert interrupted(signal.SIGTERM, 3, *line(rows, model, out), out=out).code == 130
    found = manifest.read(out)
    assert found is not None
    manifest.write(out, {**found, "versions": {**found["versions"], "torch": "2.12.0"}})
    done = here(*line(rows, model, out))
    assert done.code == 0
    assert "torch was 2.12.0, now 2.13" in done.stderr


def test_too_small_a_disk_is_foretold(rows: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    told = here(*line(rows, model, tmp_path / "run"), "--dry-run")
    assert told.code == 0
    assert "of disk are needed for 3 checkpoints and the model" in told.stdout


def test_fresh_starts_over(rows: Path, model: Path, tmp_path: Path):
    out = tmp_path / "run"
    short = ["--max-steps", 1, "--save-steps", 1, "--batch-size", 1]
    assert here("train", rows, "--model", model, "--out", out, *short).code == 0
    (out / "notes.txt").write_text("mine")
    done = here("train", rows, "--model", model, "--out", out, *short, "--seed", "1", "--fresh")
    assert done.code == 0, done.stderr
    assert (out / "notes.txt").read_text() == "mine"
    assert manifest.read(out)["settings"]["seed"] == 1  # type: ignore[index]


def test_a_second_run_waits_its_turn(rows: Path, model: Path, tmp_path: Path):
    import fcntl

    out = tmp_path / "run"
    out.mkdir()
    with (out / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = here(*line(rows, model, out))
    assert refused.code == 2
    assert "another run is working there" in refused.line


def test_a_loss_that_is_no_number_stops_the_run_and_names_its_rows(rows: Path, model: Path, tmp_path: Path):
    out = tmp_path / "run"
    words = ["train", rows, "--model", model, "--out", out, "--max-steps", 6, "--save-steps", 1, "--batch-size", 2]
    stopped = here(*words, "--learning-rate", "1e30")
    assert stopped.code == 2
    assert "sft.jsonl:" in stopped.line
    assert "is nan" in stopped.line or "is inf" in stopped.line
    assert not (out / "model.safetensors").exists()
    assert all(one["loss"] == one["loss"] for one in read(out))


def test_replies_that_are_sampled_come_back_the_same(model: Path, data: dict[str, Path], tmp_path: Path):
    """What grpo generates, how a reward model judges it, and what is learned of that: as without the kill."""
    judge = ["train", data["rm"], "--stage", "rm", "--model", model, "--out", tmp_path / "rm", "--max-steps", 3]
    assert here(*judge, "--learning-rate", 1e-2).code == 0
    more = ["--reward", tmp_path / "rm", "--set", "num_generations=2", "--set", "max_completion_length=8"]
    more += ["--max-steps", 8, "--save-steps", 3, "--batch-size", 2, "--learning-rate", 1e-2]
    whole, out = (tmp_path / name for name in ("whole", "killed"))
    words = ["train", data["grpo"], "--model", model, *more, "--out"]
    assert here(*words, whole).code == 0
    assert killed_when(started(*words, out), at_step(out, 5))
    done = here(*words, out)
    assert done.code == 0, done.stderr
    weights = [(run / "model.safetensors").read_bytes() for run in (out, whole, model)]
    assert weights[0] == weights[1] != weights[2]
    told = [[(one["step"], one["loss"], one["reward"], one["tokens"]) for one in read(run)] for run in (out, whole)]
    assert told[0] == told[1]
    assert len({reward for _, _, reward, _ in told[0]}) > 4


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_a_probe_leaves_no_trace(stage: str, data: dict[str, Path], model: Path, tmp_path: Path):
    import torch

    out = tmp_path / "run"
    assert here("train", data[stage], "--model", model, "--out", out, "--max-steps", 1, "--batch-size", 2).code == 0
    found = manifest.read(out)
    assert found is not None
    settings, plan = settings_from({**found["settings"], "out": str(out)}), plan_from(found["plan"])
    trainer, _ = trainer_of(out, settings, plan)
    before, random_state = {n: p.clone() for n, p in trainer.model.named_parameters()}, torch.get_rng_state()
    probe.try_fullest(trainer, plan)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(p.grad is None and torch.equal(p, before[n]) for n, p in trainer.model.named_parameters())
    assert not any(trainer._metrics["train"].values())


def test_a_probe_computes_in_the_precision_of_the_run(data: dict[str, Path], model: Path, tmp_path: Path):
    import torch

    out = tmp_path / "run"
    words = ["train", data["sft"], "--model", model, "--out", out, "--max-steps", 1, "--set", "bf16=true"]
    assert here(*words).code == 0
    found = manifest.read(out)
    assert found is not None
    trainer, _ = trainer_of(out, settings_from({**found["settings"], "out": str(out)}), plan_from(found["plan"]))
    seen = set[torch.dtype]()
    for layer in trainer.model.model.layers:
        layer.self_attn.q_proj.register_forward_hook(lambda module, given, made: seen.add(made.dtype))
    probe.try_fullest(trainer, plan_from(found["plan"]))
    assert seen == {torch.bfloat16}


def test_a_batch_that_does_not_fit_is_halved(
    rows: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: Path
):
    seen: list[int] = []

    def too_small(trainer: object, plan: Plan) -> bool:
        seen.append(plan.per_device)
        return plan.per_device > 1

    monkeypatch.setattr(probe, "_overflows", too_small)
    done = here("train", rows, "--model", model, "--out", tmp_path / "run", "--max-steps", 2, "--batch-size", 4)
    assert done.code == 0, done.stderr
    assert seen == [4, 2, 1]
    plan = manifest.read(tmp_path / "run")["plan"]  # type: ignore[index]
    assert (plan["per_device"], plan["accumulation"]) == (1, 4)
    assert "so many rows at once; now 2, in 2 passes" in done.stderr
    nothing = plan_from({**plan, "checkpointing": True})
    assert probe.halved(nothing) is None


def test_a_memory_that_runs_full_on_the_way_costs_the_steps_since_the_checkpoint(
    rows: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: Path
):
    import torch
    from trl import SFTTrainer

    compute = SFTTrainer.compute_loss

    def full(self: Any, *given: Any, **more: Any) -> Any:
        if self.state.global_step == 6 and self.args.per_device_train_batch_size > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return compute(self, *given, **more)

    monkeypatch.setattr(SFTTrainer, "compute_loss", full)
    done = here(*line(rows, model, tmp_path / "run"))
    assert done.code == 0, done.stderr
    assert "so many rows at once; now 1, in 3 passes, from the last checkpoint" in done.stderr
    assert "goes on from checkpoint-4" in done.stderr
    told = [[(one["step"], one["tokens"]) for one in read(run)] for run in (tmp_path / "run", uninterrupted)]
    assert told[0] == told[1]
    # Where one row is too much already there is a line that says so.
    monkeypatch.setattr(probe, "halved", lambda plan: None)
    monkeypatch.setattr(fit, "halved", lambda plan: None)
    nothing = here(*line(rows, model, tmp_path / "other"))
    assert nothing.code == 2
    assert "step 7: the memory does not hold one row of 128 tokens: --method lora" in nothing.line


def test_processes_die_with_the_one_that_began_them(rows: Path, model: Path, tmp_path: Path):
    """No orphan trains on: the same line at once goes on alone."""
    out = tmp_path / "run"
    words = [*line(rows, model, out), "--processes", 2]
    process = started(*words)
    assert until(process, at_step(out, 5))
    ranks = psutil.Process(process.pid).children(recursive=True)
    assert len(ranks) >= 3  # what starts them, and they
    process.kill()
    ended(process)
    _, alive = psutil.wait_procs(ranks, timeout=20)
    assert not alive, alive
    done = ended(started(*words))
    assert done.code == 0, done.stderr
    assert "goes on from checkpoint-4" in done.stderr
    assert [one["step"] for one in read(out)] == list(range(1, STEPS + 1))


def test_only_the_process_that_writes_touches_the_metrics(tmp_path: Path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "tokens": 10}\n{"step": 2, "tokens": 25}\n{"step": 3, "to')
    before = path.read_bytes()
    assert Metrics(tmp_path, 2, writes=False).tokens == 25
    assert path.read_bytes() == before
    metrics = Metrics(tmp_path, 1)
    metrics.close()
    assert [one["step"] for one in read(tmp_path)] == [1]


def test_a_model_is_not_spread_over_processes_without_a_gpu(rows: Path, model: Path, tmp_path: Path):
    for launch in ("fsdp2", "zero2"):
        refused = here(*line(rows, model, tmp_path / "run"), "--processes", 2, "--launch", launch)
        assert refused.code == 2
        assert f"--launch {launch}: spreads a model over GPUs, and there is none" in refused.line
    assert not (tmp_path / "run").exists()
