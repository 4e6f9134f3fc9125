"""The application that the verbs are added to, and how each ends."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

# As data goes from a site to a model, and what looks at it.
ORDER = "crawl curate unify dialogue consult tcm prefer check mix train chat evaluate run inspect export report journal"


class Verbs(TyperGroup):
    """Verbs of one word or two: `train FILE` trains, `train merge RUN` is the command named "train merge"."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The verbs in the order in which they are used."""
        order = ORDER.split()
        return sorted(self.commands, key=lambda name: order.index(name.split()[0]))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first words name, and the words behind it."""
        pair = " ".join(args[:2])
        return super().resolve_command(ctx, [pair, *args[2:]] if pair in self.commands else args)


app = typer.Typer(
    name="datatools",
    cls=Verbs,
    help="Medical text in, training data out, every row traceable.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"datatools {version('medical-datatools')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def report(summary: Any, as_json: bool) -> int:
    """Print the summary; its exit code, with one line where something failed."""
    if summary.failed:
        counts = ", ".join(f"{kind} {count:,}" for kind, count in summary.failed.items())
        asked = summary.requests["sent"] or summary.requests["cached"]
        again = "; --retry-failed asks again" if summary.failed_rows and asked else ""
        summary.error = f"done, but some failed ({counts}): see {summary.failed_rows or summary.trace}{again}"
        print(f"datatools: {summary.error}", file=sys.stderr)
    typer.echo(summary.to_json() if as_json else summary.to_text())
    return int(summary.exit_code)
