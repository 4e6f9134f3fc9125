"""What a process of this project need not load: an input of one row should not wait for it, nor every worker."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _NoPandas(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name=fullname)
        return None


def without_pandas() -> None:
    """Let pyarrow believe that pandas is not installed, unless it is loaded already.

    pyarrow loads it (a third of a second, 40 MB) when it sees the first list that is to be an array, only to ask
    whether the list is one of its series. For processes of our own: `Table.to_pandas` does not work after it, while
    `import pandas` does.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([None])  # it looks once
    finally:
        sys.meta_path.remove(finder)
