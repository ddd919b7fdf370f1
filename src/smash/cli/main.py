"""The command line: its commands, and what becomes of errors."""

from __future__ import annotations

import sys
from itertools import pairwise

import typer

from smash.cli import (
    correlate,
    data,
    demo,
    evaluate,
    export,
    predict,
    report,
    retrain,
    search,
    show,
    train,
)
from smash.cli.exit import ENDINGS, INTERRUPTED, fail, leave
from smash.runtime.signals import hear_termination

app = typer.Typer(
    name="smash",
    help="One-shot neural architecture search through hypernetworks.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo.demo)
app.command()(train.train)
app.command()(search.search)
app.command()(show.show)
app.command()(retrain.retrain)
app.command()(evaluate.evaluate)
app.command()(export.export)
app.command()(predict.predict)
app.command()(correlate.correlate)
app.command()(report.report)
app.add_typer(data.app, name="data")


def main() -> None:
    """Runs the command and turns errors into exit codes: 1 failed, 2 wrong use, 130 interrupted."""
    command = next(iter(sys.argv[1:]), "")
    try:
        with hear_termination():
            code = app(standalone_mode=False)
            sys.stdout.flush()  # now, while it can be said that it failed
    except typer.TyperException as error:
        fail("smash", [f"{error.format_message()}{_given(error)} (see 'smash --help')"], 2)
    except (*ENDINGS, typer.Abort) as error:
        leave("smash", error, command)
    if code == INTERRUPTED:  # what the parser makes of Ctrl-C
        leave("smash", KeyboardInterrupt(), command)
    sys.exit(code if isinstance(code, int) else 0)


def _given(error: Exception) -> str:
    """The value that an option could not read; the parser's own words leave it out."""
    options = getattr(getattr(error, "param", None), "opts", [])
    arguments = [part for word in sys.argv[1:] for part in word.split("=", 1)]
    values = [value for option, value in pairwise(arguments) if option in options]
    return f", got {values[-1]!r}" if values else ""
