"""Arguments and options that commands share, and options that are generated from settings."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smash.cli.exit import is_first_process
from smash.config import FieldDescription, LoadSettings, Settings, describe
from smash.errors import InvalidValueError, faults_of
from smash.io.files import parse_json
from smash.io.text import printable
from smash.run.layout import STUDY, check_searched, find_run

if TYPE_CHECKING:
    from smash.data import Data
    from smash.run.run import Run
    from smash.study.study import Study

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")]
TensorboardOption = Annotated[
    bool, typer.Option("--tensorboard", help="Write curves for TensorBoard, in RUN/tensorboard.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command an option for each field of its settings.

    Each parameter that is annotated with a settings model is replaced by options for the fields of
    that model: the name, the type, the default and the help follow from the field. The command gets
    a model made of the options that the user gave, so ``settings.given()`` says which. Fields of
    the same name in several models share an option; a parameter of the command that has the name
    of a field takes its place.

    Example:
        >>> @settings_options
        ... def load(settings: LoadSettings) -> None: ...
        >>> list(inspect.signature(load).parameters)[:2]
        ['image_size', 'features']
    """
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    models: dict[str, type[Settings]] = {
        each.name: each.annotation
        for each in parameters
        if isinstance(each.annotation, type) and issubclass(each.annotation, Settings)
    }
    plain = {each.name: each for each in parameters if each.name not in models}
    fields: dict[str, FieldDescription] = {}
    for field in (field for model in models.values() for field in describe(model)):
        if field.name not in plain:
            fields.setdefault(field.name, field)

    def run(**values: Any) -> None:
        given: dict[str, Any] = {}
        faults: list[str] = []
        for name, value in values.items():
            if name in fields and value not in (None, []):
                try:
                    given[name] = _read(fields[name], value)
                except InvalidValueError as error:
                    faults += error.faults
        wanted = {
            name: {field: given[field] for field in model.model_fields if field in given}
            for name, model in models.items()
        }
        faults += faults_of(*(lambda n=n, m=m: m(**wanted[n]) for n, m in models.items()))
        if faults:
            raise InvalidValueError(*dict.fromkeys(faults))
        arguments = {name: value for name, value in values.items() if name in plain}
        command(**arguments, **{name: model(**wanted[name]) for name, model in models.items()})

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    options = [_option(field) for field in fields.values()]
    ordered: list[inspect.Parameter] = []
    for each in parameters:
        if each.name in models:
            model = models[each.name].model_fields
            ordered += [one for one in options if one.name in model and one not in ordered]
        else:
            ordered.append(each)
    keyword_only = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in ordered]
    run.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    run.__annotations__ = {}  # typer would take these before the signature's
    return run


def _option(field: FieldDescription) -> inspect.Parameter:
    """Makes the option of a field. Numbers stay text, so that the model reports all faults."""
    flag = "--" + field.name.replace("_", "-")
    annotation: Any = bool if field.kind is bool else str
    if field.many or field.kind is dict:
        annotation = list[str]
    if field.kind is bool and not (field.default == "false" or field.option.flags):
        flag = f"{flag}/--no-{flag[2:]}"
    sentence, _, more = field.help.replace("``", "").partition(". ")
    help_ = sentence + "." * bool(more)
    if field.default and field.default != "false":
        help_ += f" [default: {field.default}]"
    metavar = field.option.metavar or "|".join(field.choices) or f"<{field.kind.__name__}>"

    def complete(incomplete: str) -> list[str]:
        return [each for each in field.choices if each.startswith(incomplete)]

    option = typer.Option(
        *(field.option.flags or (flag,)),
        help=help_,
        metavar=None if field.kind is bool else metavar,
        show_default=False,
        autocompletion=complete if field.choices else None,
    )
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[annotation | None, option],
    )


def _read(field: FieldDescription, value: Any) -> Any:
    if field.kind is dict:
        return key_values(value)
    return [part for each in value for part in each.split(",")] if field.many else value


def say(words: str) -> None:
    """Prints a message to standard error, in the first process only."""
    if is_first_process():
        print(printable(words), file=sys.stderr)


def quoted(path: Path) -> str:
    """Quotes a path for a shell, where it must be."""
    return shlex.quote(str(path))


def program() -> str:
    """Words the program as the next command must call it, with a space of the user's own."""
    for word, value in pairwise([*sys.argv[1:], ""]):
        name, _, joined = word.partition("=")
        space = joined or value
        if name == "--space" and ":" in space:
            return f"smash --space {shlex.quote(space)}"
    return "smash"


def announce(lines: list[str]) -> None:
    """Prints several messages, one line each."""
    for line in lines:
        say(line)


def load(source: str, settings: LoadSettings | None = None, **changes: Any) -> Data:
    """Loads data, and prints its size and the decisions made."""
    from smash.data import load_data

    data = load_data(source, settings, **changes)
    task = data.task
    say(
        f"{data.name}: {len(data.train):,} training, {len(data.val):,} validation and "
        f"{len(data.test):,} test examples of {'×'.join(map(str, task.size))}, {task.channels} "
        f"channel{'s' * (task.channels > 1)}, {task.classes} classes"
    )
    for note in data.notes:
        say(f"  {note}")
    if words := data.augmentation.describe():
        say(f"  augmentation: {words} (leave it out with --no-augment)")
    return data


def open_run(path: Path) -> Run:
    """Opens a run; faults of its folder are reported before torch is imported."""
    find_run(path)
    from smash.run.run import Run

    return Run.open(path)


def open_study(path: Path) -> Study:
    """Opens the study of a run."""
    find_run(path)
    check_searched(path / STUDY)
    from smash.study.study import Study

    return Study(path / STUDY)


def check_ranks(path: Path, ranks: Sequence[int]) -> None:
    """Checks that a run has candidates of some ranks, before torch is imported.

    Raises:
        NotFoundError: A rank does not exist.
    """
    if ranks:
        from smash.study.ranking import pick

        ranked = open_study(path).ranked()
        for rank in ranks:
            pick(ranked, rank)


def key_values(pairs: list[str]) -> dict[str, Any]:
    """Reads options of a space, KEY=VALUE each; the space checks the values."""
    faults: list[str] = []
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            faults.append(f"option {pair!r} must be KEY=VALUE, such as depth=6")
        elif values.setdefault(key, value) != value:
            faults.append(f"option {key!r} is given as {values[key]} and {value}: leave one out")
    if faults:
        raise InvalidValueError(*faults)
    return {key: _plain(value) for key, value in values.items()}


def _plain(value: str) -> Any:
    try:
        return parse_json(value)
    except ValueError:
        return value
