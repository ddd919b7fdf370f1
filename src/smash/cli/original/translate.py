"""From the original's flags to settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smash.cli.original.flags import ALL_FOLDS, DATASETS, FLAGS, flags_of
from smash.config import refuse_changes
from smash.errors import NotFoundError

if TYPE_CHECKING:
    from smash.run.run import Run

WEIGHTS = Path("weights")
"""The folder of the original's runs."""

_FORMER_SUFFIX = ".pth"


def is_smash(model: str) -> bool:
    """Says whether a name given to ``--model`` is that of a SMASH network."""
    return model.startswith("SMASH")


def settings_of(flags: Mapping[str, Any], group: str) -> dict[str, Any]:
    """Selects the settings of a group: ``space``, ``data``, ``train``, ``retrain``, ``search``."""
    names = {flag.name for flag in FLAGS if group in flag.setting.partition(".")[0].split("+")}
    return {name: value for name, value in flags.items() if name in names}


def space_options(flags: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Translates to options of memory banks.

    Returns:
        The options, and notes on flags that have no effect.
    """
    options, notes = settings_of(flags, "space"), []
    if options["gates"] and options["grid"] in ("single", "long"):
        options["gates"] = False
        notes.append(
            "--gates has no effect, because it joins two paths and each op has one: add --var-op "
            "or --big-op"
        )
    width = options["bank_width"]
    divisors = [n for n in range(1, options["max_groups"] + 1) if width % n == 0]
    options["max_groups"] = divisors[-1] if divisors else options["max_groups"]
    return options, notes


def data_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Translates to arguments of `smash.load_data`."""
    return {
        "source": DATASETS[flags["source"]],
        "val_order": "last",
        "augment": None if flags["augment"] else False,
        "fold": None if flags["fold"] == ALL_FOLDS else flags["fold"],
        "data_dir": flags["data_dir"],
    }


def train_settings(flags: Mapping[str, Any], processes: int) -> dict[str, Any]:
    """Translates to settings of `smash.train`.

    Args:
        flags: The flags.
        processes: Number of processes that share each batch, as the original's GPUs did.
    """
    settings = settings_of(flags, "train") | _validation(flags)
    return settings | {"batch_size": max(2, settings["batch_size"] // processes)}


def retrain_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Translates to settings of `smash.retrain`."""
    return settings_of(flags, "retrain") | _validation(flags)


def search_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Translates to settings of `smash.search`."""
    return settings_of(flags, "search")


def _validation(flags: Mapping[str, Any]) -> dict[str, Any]:
    validates = flags["validate"] or flags["split"] == "test"
    return {
        "validate_every": flags["validate_every"] if validates else 0,
        "validate_on": flags["split"],
    }


def run_path(flags: Mapping[str, Any]) -> Path:
    """Gives the path of the run: named by ``--save-weights``, or after the settings."""
    return WEIGHTS / (saved_name(flags) or name_of(flags))


def saved_name(flags: Mapping[str, Any]) -> str | None:
    """Gives the name passed to ``--save-weights``, without ``.pth``."""
    name: str | None = flags["name"]
    return name.removesuffix(_FORMER_SUFFIX) if name else None


def name_of(flags: Mapping[str, Any]) -> str:
    """Makes a name from the network, the length of its training and what is not the default."""
    always, differing = [flags["model"], flags["source"]], []
    for flag in flags_of("train.py"):
        if not flag.mark or (flag.setting.startswith("space") and not is_smash(flags["model"])):
            continue
        mark = flag.mark.removesuffix("!").format(flags[flag.name])
        if flag.mark.endswith("!"):
            always.append(mark)
        elif flags[flag.name] != flag.default:
            differing.append(mark)
    return "_".join(always + differing)


def open_named_run(name: str) -> Run:
    """Opens the run that ``--SMASH`` names: in ``weights``, or by its path.

    Raises:
        NotFoundError: It does not exist.
    """
    from smash.run.run import Run

    plain = name.removesuffix(_FORMER_SUFFIX)
    places = [WEIGHTS / plain, Path(plain)]
    for place in places:
        if place.is_dir():
            return Run.open(place)
    raise NotFoundError(
        f"SMASH network {name!r} does not exist: neither {str(places[0])!r} nor {plain!r} is a "
        f"folder; train it with 'python train.py --save-weights {plain}'"
    )


def check_unchanged(run: Run, flags: Mapping[str, Any], given: Iterable[str]) -> None:
    """Refuses flags that contradict the network that was trained.

    Args:
        run: The run of a trained network.
        flags: All flags.
        given: Names of those that were given; the defaults of others contradict nothing.

    Raises:
        RunStateError: A flag contradicts it.
    """
    space: Any = run.space
    sources = {name: short for short, name in DATASETS.items()}
    source = run.settings.data.source
    before = {"which_dataset": sources.get(source, source)}
    if run.settings.space.name == "memory-bank":  # the others have no such flags
        before |= space.options.model_dump()
    wanted = {**(space_options(flags)[0] if "depth" in flags else {})}
    wanted = {name: value for name, value in wanted.items() if name in given}
    if "source" in given:
        wanted["which_dataset"] = flags["source"]
    refuse_changes(
        before,
        wanted,
        since=f"network {run.path.name!r} was trained",
        mend="leave it out, or train another network",
    )
