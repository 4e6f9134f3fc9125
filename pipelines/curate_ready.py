"""Imported by the process that workers are forked from: what measuring a unit needs is loaded there, once."""

from datatools.engine.startup import without_pandas

without_pandas()

from pipelines.curate_measure import load_all  # noqa: E402 pyarrow looks for pandas while it is imported

load_all()
