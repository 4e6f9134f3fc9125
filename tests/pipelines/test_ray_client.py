"""A job whose driver is no part of the cluster: `ray://` to a head that `ray start` has started."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.llm.model_server import ModelServer
from tests.pipelines.command import beside, command, environment, files, here, write
from tests.pipelines.test_unify_model import honest, pages

pytestmark = pytest.mark.slow
START = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--head", "--block"]
SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where Ray Client finds a head of two CPUs. It is a process group of its own and ends with the tests."""
    port, folder = free_port(), tempfile.mkdtemp(prefix="ray", dir="/tmp")  # the paths of its sockets must be short
    options = {
        "port": free_port(),
        "ray-client-server-port": port,
        "num-cpus": 2,
        "include-dashboard": "false",
        "object-store-memory": 80 << 20,
        "temp-dir": folder,
    }
    line = [*START, *(f"--{name}={value}" for name, value in options.items())]
    log = Path(folder, "out")
    with log.open("w") as out:
        head = subprocess.Popen(
            line, env=environment(RAY_USAGE_STATS_ENABLED="0"), stdout=out, stderr=out, start_new_session=True
        )
    try:
        until = time.monotonic() + SECONDS
        while not (answers(port) and "Ray runtime started" in log.read_text()):
            assert head.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield f"ray://127.0.0.1:{port}"
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()
        shutil.rmtree(folder, ignore_errors=True)


def test_units_and_models_through_ray_client(address: str, tmp_path: Path) -> None:
    folder, plain, out = write(tmp_path / "in", pages(30)), tmp_path / "plain" / "sft.parquet", tmp_path / "sft.parquet"
    with ModelServer(reply=honest) as server:
        asked = ("--model", "m", "--base-url", server.url, "--json")
        assert here("unify", folder, "--out", plain, *asked).code == 0
        done = command("unify", folder, "--out", out, *asked, "--engine", "ray", "--ray-address", address)
    assert done.code == 0, done.stderr
    assert files(out) == files(plain) and not beside(out, "failed").exists()
    assert "one runner on each node, 1 in all" in done.stderr and done.summary["requests"]["sent"] == 60
    assert set(server.count.values()) == {2}
