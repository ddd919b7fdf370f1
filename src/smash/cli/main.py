"""The command line: its commands, and how errors end them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import typer

import smash
from smash.cli import (
    compare,
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
from smash.cli.exit import HANDLED, INTERRUPTED, exit_for, fail, prepare_streams
from smash.errors import InvalidValueError
from smash.runtime.signals import hear_termination

app = typer.Typer(
    name="smash",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo.demo)
app.command()(train.train)
app.command()(search.search)
app.command()(show.show)
app.command()(retrain.retrain)
app.command()(compare.compare)
app.command()(evaluate.evaluate)
app.command()(export.export)
app.command()(predict.predict)
app.command()(correlate.correlate)
app.command()(report.report)
app.add_typer(data.app, name="data")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"smash {smash.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    space: Annotated[
        str | None,
        typer.Option(
            envvar="SMASH_SPACE",
            metavar="FILE.py:FUNCTION",
            help="A search space of your own, whose code may run: for runs that were made with it.",
        ),
    ] = None,
) -> None:
    """One-shot neural architecture search through hypernetworks."""
    source = context.get_parameter_source("space")
    if context.invoked_subcommand == "train" and source and source.name == "COMMANDLINE":
        raise InvalidValueError(
            f"--space {space} stands before 'train', where it names the space of a run that "
            f"exists: put it behind, as in 'smash train DATA --space {space}'"
        )
    if space is not None:
        os.environ["SMASH_SPACE"] = space  # for processes that this one starts, too


def program() -> None:
    """Runs `main` as a program of its own.

    Once the command has ended, Ctrl-C ends the process in silence: the interpreter would print a
    traceback of its own work.
    """
    try:
        main()
    except KeyboardInterrupt:  # a second one, while the first is answered
        sys.exit(INTERRUPTED)
    finally:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # in the background of a shell
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> None:
    """Runs the command, and turns errors into lines on standard error and an exit code."""
    prepare_streams()
    command = _command_of(sys.argv[1:])
    try:
        with hear_termination():
            code = app(standalone_mode=False)
            sys.stdout.flush()  # here, where a failure can still be reported
    except typer.TyperException as error:
        fail("smash", [f"{error.format_message()}{_value_of(error)} (see 'smash --help')"], 2)
    except (*HANDLED, typer.Abort) as error:
        exit_for("smash", error, command)
    if code == INTERRUPTED:  # the parser's result of Ctrl-C
        exit_for("smash", KeyboardInterrupt(), command)
    sys.exit(code if isinstance(code, int) else 0)


def _command_of(words: Sequence[str]) -> str:
    """Finds the command among the words of a command line, behind options such as ``--space``."""
    names = {command.callback.__name__ for command in app.registered_commands if command.callback}
    return next((word for word in words if word in names), "")


def _value_of(error: Exception) -> str:
    """Finds the unreadable value of an option, which the parser's message leaves out."""
    options = getattr(getattr(error, "param", None), "opts", [])
    arguments = [part for word in sys.argv[1:] for part in word.split("=", 1)]
    values = [value for option, value in pairwise(arguments) if option in options]
    return f", got {values[-1]!r}" if values else ""
