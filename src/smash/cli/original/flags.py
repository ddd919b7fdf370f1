"""The flags of the original's commands as one table: flag, setting, default, note."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from smash.errors import InvalidValueError

DATASETS = {
    "C10": "cifar10",
    "C100": "cifar100",
    "STL10": "stl10",
    "MN10": "modelnet10",
    "MN40": "modelnet40",
    "I1000": "imagenet32",
}
"""Names of data sets: the original's, and those of `smash.data.DATASETS`."""

ALL_FOLDS = 10

_TRAIN, _EVALUATE = "train.py", "evaluate.py"
_BOTH = f"{_TRAIN} {_EVALUATE}"


class Flag(NamedTuple):
    """A flag of the original.

    Attributes:
        names: Its spellings, separated by spaces.
        setting: The setting that it becomes, as ``GROUP.NAME``; a setting of several groups names
            them with ``+``. Flags of the group ``program`` become no setting of their own.
        default: Value of the setting without the flag.
        note: Help.
        value: Value of the setting with the flag; None where the flag takes a value.
        choices: The values that it takes, if they are few.
        kind: Type of its value where the default has none.
        programs: The commands that have it.
        mark: Its part of a run's name; always there if it ends with ``!``.
    """

    names: str
    setting: str
    default: Any
    note: str
    value: Any = None
    choices: Sequence[str] | None = None
    kind: type = str
    programs: str = _TRAIN
    mark: str = ""

    @property
    def name(self) -> str:
        """Name of the setting, without its groups."""
        return self.setting.partition(".")[2]


FLAGS = (
    Flag("-D --depth", "space.depth", 12, "nominal convolutions per block", mark="D{}!"),
    Flag("-k --width", "space.width", 4, "widening factor", mark="k{}!"),
    Flag("-N", "space.bank_width", 8, "base width of a memory bank", mark="N{}!"),
    Flag("-N-max", "space.max_width", 64, "largest number of channels of an op", mark="Nmax{}!"),
    Flag("--bottleneck", "space.bottleneck", 4, "largest ratio of a 1×1's width to its op's",
         mark="bottleneck{}"),
    Flag("--max-bottleneck", "space.max_bottleneck", 2, "largest width of a 1×1, in units of N-max",
         mark="max-bottleneck{}"),
    Flag("--depth-compression", "space.depth_compression", 2, "units of N per position",
         mark="compression{}"),
    Flag("--max-dilate", "space.max_dilation", 3, "largest dilation", mark="dilate{}"),
    Flag("--max-kernel", "space.max_kernel", 7, "largest kernel", mark="kernel{}"),
    Flag("--max-groups", "space.max_groups", 8, "largest number of groups, a divisor of N",
         mark="groups{}"),
    Flag("--var-op", "space.grid", "single", "one to four convolutions per op, drawn at random",
         value="var", mark="{}-op"),
    Flag("--big-op", "space.grid", "single", "two paths of two convolutions per op", value="big"),
    Flag("--long-op", "space.grid", "single", "two stacked convolutions per op", value="long"),
    Flag("--gates", "space.gates", False, "one path of an op may gate the other",
         value=True, mark="gates"),
    Flag("--op-bn", "space.op_norm", False, "BatchNorm before each convolution of an op",
         value=True, mark="op-bn"),
    Flag("--postac", "space.preactivation", True, "non-linearities after convolutions, not before",
         value=False, mark="postac"),
    Flag("--var-nl", "space.variable_nonlinearity", False, "draw ReLU, tanh or sigmoid",
         value=True, mark="var-nl"),
    Flag("--static-ks", "space.variable_kernel", True, "all kernels 3 wide",
         value=False, mark="static-ks"),
    Flag("--static-group", "space.variable_groups", True, "no groups",
         value=False, mark="static-group"),
    Flag("--which-dataset", "data.source", "C100", "data set", choices=tuple(DATASETS)),
    Flag("--fold", "data.fold", ALL_FOLDS, "part of STL10, 0 to 9; 10 for all", mark="fold{}"),
    Flag("--augment --no-augment", "retrain.augment", True, "shift and flip training images",
         mark="no-augment"),
    Flag("--epochs", "train+retrain.epochs", 100, "passes over the training split", mark="e{}!"),
    Flag("--batch-size", "train+retrain+search.batch_size", 50, "examples per batch", mark="b{}!"),
    Flag("--seed", "train+retrain+search.seed", 0, "random seed", programs=_BOTH, mark="s{}!"),
    Flag("--fp16", "train+retrain+search.precision", "fp32", "half precision",
         value="fp16", programs=_BOTH, mark="fp16"),
    Flag("--resume", "program.resume", False, "go on with an unfinished training", value=True),
    Flag("--model", "program.model", "SMASH",
         "SMASH…, or a reference network: ResNet, DenseNet, VGG, WRN, or such as wrn-16-2"),
    Flag("--save-weights", "program.name", None,
         "name of the folder in weights/; by default made from the settings"),
    Flag("--duplicate-at-checkpoints", "train+retrain.keep_every", None,
         "keep a copy every 5 epochs", value=5),
    Flag("--validate --no-validate", "program.validate", True,
         "validate on the last 10%% of the training split; without, after the last epoch only"),
    Flag("--validate", "program.validate", True,
         "validate on the last 10%% of the training split", value=True, programs=_EVALUATE),
    Flag("--validate-test", "search.split", "val", "validate on the test split",
         value="test", programs=_BOTH),
    Flag("--validate-every", "train+retrain.validate_every", 1, "epochs between validations"),
    Flag("--top5", "search.rank_by", "error", "report and rank by top-5 error",
         value="top5_error", programs=_BOTH),
    Flag("--SMASH", "program.network", None, "a trained SMASH network: NAME, or NAME.pth",
         programs=_BOTH),
    Flag("--rank", "program.rank", None, "train the architecture of this rank; 0 is the best",
         kind=int),
    Flag("--init-from-SMASH", "retrain.init", "scratch",
         "begin with the weights that the SMASH network gives", value="generated"),
    Flag("--num-random", "search.random", 500, "random architectures", programs=_BOTH),
    Flag("--num-perturb", "search.perturb", 100, "perturbations of the best", programs=_BOTH),
    Flag("--num-markov", "search.markov", 100, "steps of the Markov chain", programs=_BOTH),
    Flag("--perturb-prob", "search.rate", 0.05, "probability that a field is redrawn",
         programs=_BOTH),
    Flag("--arch-SGD", "search.strategy", "perturbation", "perturb by the gradient",
         value="gradient", programs=_BOTH),
    Flag("--parallel", "program.parallel", False, "use all GPUs of this machine",
         value=True, programs=_BOTH),
    Flag("--device", "program.device", "auto", "cpu, cuda, mps, or auto", programs=_BOTH),
    Flag("--data-dir", "data.data_dir", None, "folder of data sets; by default $SMASH_DATA",
         programs=_BOTH),
    Flag("--batch-size", "search.batch_size", 100, "examples per batch", programs=_EVALUATE),
    Flag("--which-dataset", "data.source", None, "must be what the network was trained on",
         choices=tuple(DATASETS), programs=_EVALUATE),
)  # fmt: skip

_DESCRIPTIONS = {
    _TRAIN: "Train a SMASH network as published, on CIFAR-100 by default. With --SMASH=NAME: rank "
    "architectures by it. With --SMASH=NAME and --rank or --init-from-SMASH: train a ranked one. "
    "With --model: train a reference network.",
    _EVALUATE: "Rank architectures by a trained SMASH network: random ones, perturbations of the "
    "best of them, then a Markov chain from the best.",
}


class _Parser(argparse.ArgumentParser):
    """Raises instead of exiting, so that usage errors are worded and handled in one place."""

    def error(self, message: str) -> NoReturn:
        raise InvalidValueError(f"{message} (see 'python {self.prog} --help')")


def flags_of(program: str) -> Iterator[Flag]:
    """Yields the flags of ``train.py`` or ``evaluate.py``."""
    return (flag for flag in FLAGS if program in flag.programs.split())


def make_parser(program: str) -> argparse.ArgumentParser:
    """Makes the parser of ``train.py`` or ``evaluate.py``; flags not given are left out."""
    parser = _Parser(
        prog=program,
        allow_abbrev=False,
        description=_DESCRIPTIONS[program],
        argument_default=argparse.SUPPRESS,
    )
    grids = parser.add_mutually_exclusive_group()
    for flag in flags_of(program):
        names = flag.names.split()
        options: dict[str, Any] = {"dest": flag.name, "help": flag.note}
        if names[-1].startswith("--no-"):
            names, options["action"] = names[:1], argparse.BooleanOptionalAction
        elif flag.value is not None:
            options |= {"action": "store_const", "const": flag.value}
        elif flag.choices:
            options["choices"] = flag.choices
        else:
            options["type"] = flag.kind if flag.default is None else type(flag.default)
        if flag.default is not None and flag.value is None:
            options["help"] = f"{flag.note}; default: {flag.default}"
        group = grids if flag.name == "grid" else parser
        group.add_argument(*names, **options)
    return parser


def read(
    program: str, arguments: Sequence[str] | None = None
) -> tuple[dict[str, Any], frozenset[str]]:
    """Reads a command line.

    Args:
        program: ``train.py`` or ``evaluate.py``.
        arguments: The arguments; those of this process if None.

    Returns:
        The value of each flag by the name of its setting, and the names of those that were given.

    Raises:
        InvalidValueError: An argument is not known, or its value is not allowed.
    """
    given = vars(make_parser(program).parse_args(arguments))
    return {**{flag.name: flag.default for flag in flags_of(program)}, **given}, frozenset(given)
