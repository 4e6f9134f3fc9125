"""`datatools` that waits a hundredth of the time before it tries a call again: for runs among many faults."""

from __future__ import annotations

from functools import partial

import pipelines.asking as asking
from datatools.cli import main

if __name__ == "__main__":
    asking.Settings = partial(asking.Settings, backoff=0.01)
    main()
