"""Runs `datatools` and reads what it left: for the tests of the jobs and of the command line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from datatools.cli import app, run

COMMAND = [sys.executable, "-m", "datatools"]
# Nothing of the machine's own: no key, no proxy, no network for `datasets`.
QUIET_WORLD = {"HF_HUB_OFFLINE": "1", "PYTHONHASHSEED": "0", "NO_COLOR": "1"}


@dataclass(frozen=True)
class Ended:
    """How a run of the command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def summary(self) -> dict[str, Any]:
        """The one JSON object on stdout; fails where there is anything else."""
        return json.loads(self.stdout)

    @property
    def line(self) -> str:
        """The last line on stderr, which says what to do next where the exit code is not 0."""
        return self.stderr.strip().splitlines()[-1]


def environment(**more: str) -> dict[str, str]:
    """The environment of a run: ours, without keys."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_proxy", "_PROXY"))}
    return {**kept, **QUIET_WORLD, **more}


def command(*arguments: object, cwd: Path | None = None, **env: str) -> Ended:
    """`datatools ARGUMENTS…` in a process of its own."""
    ended = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, env=environment(**env), timeout=240
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def here(*arguments: object) -> Ended:
    """The same in this process: a second less, for tests in which the process is not the point."""
    words = [str(argument) for argument in arguments]
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = run(lambda: app(words, standalone_mode=False, prog_name="datatools", obj=words), words)
    return Ended(code, stdout.getvalue(), stderr.getvalue())


def started(*arguments: object, **env: str) -> subprocess.Popen[str]:
    """The command as a process group of its own, running."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**env),
        start_new_session=True,
    )


def until(process: subprocess.Popen[str], happened: Callable[[], bool]) -> bool:
    """Watch a run until something has happened; False when the run ended before."""
    while not happened():
        if process.poll() is not None:
            return False
        time.sleep(0.001)
    return process.poll() is None


def killed_when(process: subprocess.Popen[str], happened: Callable[[], bool]) -> bool:
    """Kill the whole group with SIGKILL as soon as something has happened; False when the run ended before."""
    killed = until(process, happened)
    if killed:
        # The group, so that no worker goes on writing: as when a machine stops.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return killed


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait for the end of a process."""
    stdout, stderr = process.communicate(timeout=240)
    return Ended(process.returncode, stdout, stderr)


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a parquet file; none where there is no file."""
    return pq.read_table(path).to_pylist() if path.exists() else []


def question(row: dict[str, Any]) -> str:
    """What the user asks."""
    return row["messages"][0]["content"]


def answer(row: dict[str, Any]) -> str:
    """What is answered."""
    return row["messages"][-1]["content"]


def pairs(path: Path) -> dict[str, str]:
    """Question → answer of all rows."""
    return {question(row): answer(row) for row in rows(path)}


def beside(out: Path, kind: str) -> Path:
    """The trace or the failed rows of an output."""
    return out.with_suffix(f".{kind}.parquet")


def rules(out: Path) -> list[str]:
    """The rules in the trace of an output, in order."""
    return [row["rule"] for row in rows(beside(out, "trace"))]


def files(out: Path) -> dict[str, bytes]:
    """Bytes of the output and of what stands beside it."""
    found = (out, beside(out, "trace"), beside(out, "failed"))
    return {path.name: path.read_bytes() for path in found if path.exists()}


def write(folder: Path, contents: dict[str, str | bytes]) -> Path:
    """A folder of files."""
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


HERBS = """
白术 茯苓 甘草 人参 黄芪 当归 川芎 白芍 地黄 陈皮
半夏 厚朴 枳实 柴胡 黄芩 黄连 黄柏 桂枝 麻黄 杏仁 石膏 知母 葛根 泽泻
""".split()
AILMENTS = """
脾虚食少 肺热咳嗽 心悸不寐 肝郁胁痛 肾虚腰痛
胃寒呕吐 肠燥便秘 风寒头痛 湿热下痢 气虚自汗 血虚眩晕 痰饮喘满
""".split()


def library(folder: Path, books: int, chapters: int, length: int = 6) -> Path:
    """Marked books in GB18030, no section like another: some 100 bytes × chapters × length each."""
    for book in range(books):
        lines = [f"<篇名>医话{book}\n书名：医话{book}\n作者：佚名\n"]
        for chapter in range(chapters):
            drawn = random.Random(f"{book} {chapter}")
            body = "。".join(
                f"此药第{part}法用{''.join(f'{herb}{drawn.randrange(1, 99)}两' for herb in drawn.sample(HERBS, 4))}"
                f"研末蜜丸每服{drawn.randrange(1, 99)}钱米饮送下治{drawn.choice(AILMENTS)}第{book}类"
                for part in range(length)
            )
            lines.append(f"<篇名>第{book}{chapter}号丸\n属性：{body}。\n")
        write(folder, {f"{book:03d}-医话{book}.txt": "".join(lines).encode("gb18030")})
    return folder


def lines_of(path: Path) -> int:
    """Whole lines in a file that another process appends to; 0 where it is not there yet."""
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def leftovers(folder: Path) -> Iterator[Path]:
    """Temporary files below a folder."""
    return folder.rglob(".*.tmp")
