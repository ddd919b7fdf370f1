"""From the original's flags to settings of today."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smash.cli.original.flags import DATASETS, STRUCTURE, train_parser
from smash.config import refuse_changes
from smash.errors import NotFoundError

if TYPE_CHECKING:
    from smash.run.run import Run

WEIGHTS = Path("weights")
"""Where runs are kept."""

_ALL_FOLDS = 10
_EPOCHS_BETWEEN_COPIES = 5
_FORMER_SUFFIX = ".pth"


def is_smash(model: str) -> bool:
    """Whether a name of ``--model`` is that of a SMASH network."""
    return model.startswith("SMASH")


def space_options(flags: Namespace) -> tuple[dict[str, Any], list[str]]:
    """The options of the space, as the original understands its flags.

    Returns:
        The options, and what there is to say about flags that do not fit.
    """
    options: dict[str, Any] = {name: getattr(flags, name) for name in STRUCTURE}
    notes = []
    if options["gates"] and options["grid"] in ("single", "long"):
        options["gates"] = False
        notes.append(
            "--gates join two paths, and each op has one: going on without; add --var-op or "
            "--big-op to have them"
        )
    width = options["bank_width"]
    divisors = [n for n in range(1, options["max_groups"] + 1) if width % n == 0]
    options["max_groups"] = divisors[-1] if divisors else options["max_groups"]
    return options, notes


def data_options(flags: Namespace) -> dict[str, Any]:
    """Arguments of `load_data`."""
    return {
        "source": DATASETS[flags.which_dataset],
        "val_order": "last",
        "augment": None if flags.augment else False,
        "fold": None if flags.fold == _ALL_FOLDS else flags.fold,
        "data_dir": flags.data_dir,
    }


def watching(flags: Namespace) -> dict[str, Any]:
    """Settings that training and retraining have in common: when to look, and in which numbers."""
    looks = flags.validate or flags.validate_test
    return {
        "precision": precision(flags),
        "validate_every": flags.validate_every if looks else 0,
        "validate_on": split(flags),
        "keep_every": _EPOCHS_BETWEEN_COPIES if flags.duplicate_at_checkpoints else None,
    }


def precision(flags: Namespace) -> str:
    """Half precision only where it is asked for, on a GPU too."""
    return "fp16" if flags.fp16 else "fp32"


def split(flags: Namespace) -> str:
    """The split that is looked at."""
    return "test" if flags.validate_test else "val"


def training_settings(flags: Namespace, processes: int) -> dict[str, Any]:
    """Arguments of `smash.train` that are fields of `TrainingSettings`: the published recipe.

    Args:
        flags: The flags.
        processes: Processes that share each batch, as the original's GPUs did.
    """
    return {"batch_size": max(2, flags.batch_size // processes), **watching(flags)}


def retrain_settings(flags: Namespace) -> dict[str, Any]:
    """Fields of `RetrainSettings`."""
    return {
        "init": "generated" if flags.init_from_network else "scratch",
        "epochs": flags.epochs,
        "batch_size": flags.batch_size,
        "seed": flags.seed,
        "augment": flags.augment,
        **watching(flags),
    }


def search_settings(flags: Namespace) -> dict[str, Any]:
    """Arguments of `smash.search`, but for the number of examples: all of the split are used."""
    return {
        "random": flags.num_random,
        "perturb": flags.num_perturb,
        "markov": flags.num_markov,
        "rate": flags.perturb_prob,
        "strategy": "gradient" if flags.by_gradient else "perturbation",
        "rank_by": "top5_error" if flags.top5 else "error",
        "split": split(flags),
        "seed": flags.seed,
        "precision": precision(flags),
        "batch_size": flags.batch_size,
    }


def run_path(flags: Namespace) -> Path:
    """The folder that is trained in: as ``--save-weights`` names it, or after its settings."""
    return WEIGHTS / (saved_name(flags) or name_of(flags))


def saved_name(flags: Namespace) -> str | None:
    """The name that ``--save-weights`` gives, with ``.pth`` or without."""
    given: str | None = flags.save_weights
    return given.removesuffix(_FORMER_SUFFIX) if given else None


def name_of(flags: Namespace) -> str:
    """A name that says what is trained, how long, and what differs from the defaults."""
    parts = [flags.model, flags.which_dataset]
    lengths = [f"e{flags.epochs}", f"b{flags.batch_size}", f"s{flags.seed}"]
    always = ("depth", "width", "bank_width", "max_width")
    default = train_parser().parse_args([])
    if is_smash(flags.model):
        parts += [STRUCTURE[name].format(getattr(flags, name)) for name in always] + lengths
        parts += [
            mark.format(getattr(flags, name))
            for name, mark in STRUCTURE.items()
            if name not in always and getattr(flags, name) != getattr(default, name)
        ]
    else:
        parts += lengths
    marks = {"fold": f"fold{flags.fold}", "augment": "no-augment", "fp16": "fp16"}
    parts += [
        mark for name, mark in marks.items() if getattr(flags, name) != getattr(default, name)
    ]
    return "_".join(parts)


def find_run(name: str) -> Run:
    """The run that ``--SMASH`` names: in ``weights``, or by its path; with ``.pth`` or without.

    Raises:
        NotFoundError: There is none.
    """
    from smash.run.run import Run

    plain = name.removesuffix(_FORMER_SUFFIX)
    places = [WEIGHTS / plain, Path(plain)]
    for place in places:
        if place.is_dir():
            return Run.open(place)
    raise NotFoundError(
        f"SMASH network {name!r} is not there: neither {str(places[0])!r} nor {plain!r} is a "
        f"folder; train it with 'python train.py --save-weights {plain}'"
    )


def check_unchanged(run: Run, flags: Namespace, given: Iterable[str]) -> None:
    """Makes sure that flags do not ask for another network than the one that was trained.

    Args:
        run: The run of a trained network.
        flags: All flags.
        given: Those that were given: defaults ask for nothing.

    Raises:
        RunStateError: They do.
    """
    space: Any = run.space
    before = {**space.options.model_dump(), "which_dataset": _short_name(run.settings.data.source)}
    asked = {**vars(flags), **(space_options(flags)[0] if "depth" in flags else {})}
    asked = {name: asked[name] for name in given if name in STRUCTURE or name == "which_dataset"}
    refuse_changes(
        before,
        asked,
        since=f"network {run.path.name!r} was trained",
        mend="leave it out, or train another network",
    )


def _short_name(source: str) -> str:
    return next((short for short, name in DATASETS.items() if name == source), source)
