"""The command line: every end of a verb becomes an exit code and one line."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import typer

from datatools.commands import documents, evaluating, generate, showing, training  # noqa: F401 # they add their verbs
from datatools.commands.app import app as app

INTERRUPTED, GO_ON = 130, "interrupted; the same line again goes on where it stopped"


def main() -> NoReturn:
    """Entry point of the console script: run a verb, turn every end into an exit code and one line."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    signal.signal(signal.SIGTERM, _interrupt)
    arguments = sys.argv[1:] or ["--help"]
    sys.exit(run(lambda: app(arguments, standalone_mode=False, prog_name="datatools", obj=arguments), arguments))


def run(verb: Callable[[], Any], arguments: list[str]) -> int:
    """Call a verb; its exit code, with the one line that says what to do next where it is not 0."""
    done: Any = None  # what the job had done until it was stopped
    try:
        result = verb()
        if result != INTERRUPTED:
            return result if isinstance(result, int) else 0
        code, line = INTERRUPTED, GO_ON  # typer makes a return value of Ctrl-C
    except Exception as error:
        code, line = _explained(error)
        done = getattr(error, "summary", None)
        if "--debug" in arguments:
            import traceback

            traceback.print_exc()
    except KeyboardInterrupt:
        code, line = INTERRUPTED, GO_ON
    return _failed(code, line, arguments, done)


def _explained(error: Exception) -> tuple[int, str]:
    """Exit code and line for an exception: what happened, where, what to do."""
    if isinstance(error, typer.Abort):
        return INTERRUPTED, GO_ON
    if hasattr(error, "format_message"):  # a usage error of click, which typer may carry within itself
        return 2, f"{error.format_message()} (datatools --help shows what there is)"
    if type(error).__name__ == "Stopped" and type(error).__module__ == "datatools.llm.errors":
        kind = getattr(error, "failure").kind  # noqa: B009 # the class is not imported: it brings openai along
        if kind == "interrupted":
            return INTERRUPTED, f"{error}; the same line again goes on where it stopped"
        larger = " with a larger --budget" if kind == "budget" else " again"
        return 4, f"stopped: {error}; the same line{larger} goes on where it stopped"
    if isinstance(error, ValueError):
        return 2, str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return 2, f"{where}{error.strerror or error}; nothing half-written was left, the same line again goes on"
    if type(error).__name__ == "Unreachable":
        return 2, f"{error}; nothing half-written was left, the same line again goes on"
    if type(error).__name__ == "BrokenProcessPool":
        return 2, "a worker process died, most likely for want of memory; the same line with fewer --workers goes on"
    if type(error).__module__.startswith("ray."):
        return 2, f"the Ray cluster failed ({str(error).splitlines()[0][:200]}); the same line again goes on"
    return 1, f"a bug: {type(error).__name__}: {error}; --debug shows where"


def _failed(code: int, line: str, arguments: list[str], done: Any = None) -> int:
    line = " ".join(line.split())
    print(f"datatools: {line}", file=sys.stderr)
    if "--json" in arguments:
        from datatools.report.summary import Summary

        command = next((argument for argument in arguments if not argument.startswith("-")), "")
        summary = done or Summary(command, [], cost=None)
        summary.error = line
        print(summary.to_json())
    return code


def _interrupt(_signal: int, _frame: object) -> None:
    # Later signals must not break the clean-up that this one starts.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt
