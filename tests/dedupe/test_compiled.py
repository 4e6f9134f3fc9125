"""Where compiled code is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MODULE = """
from datatools.dedupe.compiled import compiled

""" + "\n".join(f"@compiled\ndef add_{number}(a: int) -> int:\n    return a + {number}\n" for number in range(100))
THREADS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from datatools.dedupe.compiled import _numba
sys.setswitchinterval(1e-6)
with ThreadPoolExecutor(4) as pool:
    modules = list(pool.map(import_module, ["one", "two", "three", "four"]))
assert [module.add_1(1) for module in modules] == [2] * 4
assert not _numba.config.CACHE_DIR, "the setting of others"
"""


def test_modules_that_threads_import_at_once_keep_their_code_in_the_users_cache(tmp_path: Path) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    home.mkdir()
    for name in ("one", "two", "three", "four"):
        (here / f"{name}.py").write_text(MODULE, encoding="utf-8")
    root = str(Path(__file__).parents[2])
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {"XDG_CACHE_HOME": str(home), "PYTHONPATH": f"{here}{os.pathsep}{root}"}
    subprocess.run([sys.executable, "-B", "-c", THREADS], cwd=here, env=environment, check=True)
    assert sorted(path.name for path in here.iterdir()) == ["four.py", "one.py", "three.py", "two.py"]
    assert len(list((home / "datatools" / "numba").rglob("*.nbc"))) == 4
