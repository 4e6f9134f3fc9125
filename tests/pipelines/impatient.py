"""`datatools` that waits a hundredth of the time before it tries a call again: for runs among many faults."""

from __future__ import annotations

from functools import partial

import pipelines.unify_generate as generate
from datatools.cli import main

if __name__ == "__main__":
    generate.Settings = partial(generate.Settings, backoff=0.01)
    main()
