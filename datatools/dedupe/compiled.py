"""Compiling loops over buffers with numba, behind a decorator that keeps their types.

numba takes half a second to import: only `kernels` imports this module, and `kernels` is imported where it is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def _load() -> Any:
    """numba, without the scipy.linalg it would load.

    numba asks for scipy's BLAS at the first compilation, though it is for matrix products only: half a second.
    """
    numba = import_module("numba")  # it has no types of its own: Any, told to mypy here and nowhere else
    if "scipy.linalg" not in sys.modules:
        sys.modules["scipy.linalg"] = None  # type: ignore[assignment]  # what makes an import fail
        try:
            import_module("numba.np.arraymath")
        finally:
            del sys.modules["scipy.linalg"]
    return numba


_numba = _load()
_SETTING = Lock()  # numba's one setting, changed for a moment: threads that load modules take turns


def cache_folder() -> str:
    """Where compiled code is kept between runs: NUMBA_CACHE_DIR, else a folder of the user's; empty when none can be
    written, and then every process compiles for itself (a few seconds)."""
    if chosen := _numba.config.CACHE_DIR:
        return str(chosen)
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(base) / "datatools" / "numba"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home, or one that is read-only
        return ""
    return str(folder) if os.access(folder, os.W_OK | os.X_OK) else ""


def compiled(function: Function) -> Function:
    """`function` compiled at its first call; it lets go of the interpreter's lock while it runs."""
    with _SETTING:
        before, folder = _numba.config.CACHE_DIR, cache_folder()
        if not folder:
            return _numba.njit(nogil=True)(function)  # type: ignore[no-any-return]
        # numba looks at the setting once, here; what others compile keeps its own place.
        _numba.config.CACHE_DIR = folder
        try:
            return _numba.njit(nogil=True, cache=True)(function)  # type: ignore[no-any-return]
        except RuntimeError:  # "no locator available": the folder refused a file after all
            return _numba.njit(nogil=True)(function)  # type: ignore[no-any-return]
        finally:
            _numba.config.CACHE_DIR = before


def inlined(function: Function) -> Function:
    """`function` compiled into the `compiled` functions that call it."""
    return _numba.njit(inline="always")(function)  # type: ignore[no-any-return]
