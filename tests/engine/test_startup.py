"""Starting without what is not needed."""

from __future__ import annotations

import subprocess
import sys


def test_pyarrow_works_without_loading_pandas_and_pandas_can_still_be_had() -> None:
    code = """
import sys
from datatools.engine.startup import without_pandas
without_pandas()
import pyarrow as pa
assert pa.array(["麻黄", None]).to_pylist() == ["麻黄", None]
assert pa.Table.from_pylist([{"a": [1]}]).to_pylist() == [{"a": [1]}]
assert "pandas" not in sys.modules
import pandas
assert pandas.DataFrame({"a": [1]}).a.sum() == 1
assert not [finder for finder in sys.meta_path if type(finder).__name__ == "_NoPandas"]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_process_that_has_pandas_keeps_it() -> None:
    code = """
import pandas
from datatools.engine.startup import without_pandas
without_pandas()
import pyarrow as pa
assert pa.table({"a": [1]}).to_pandas().a.sum() == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True)
