"""The flags of the original's commands: names, defaults and meaning are the original's.

A flag that is a setting of today bears its name as ``dest``, so that translating is copying.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from smash.errors import InvalidValueError

DATASETS = {
    "C10": "cifar10",
    "C100": "cifar100",
    "STL10": "stl10",
    "MN10": "modelnet10",
    "MN40": "modelnet40",
    "I1000": "imagenet32",
}
"""The original's names of data sets, and today's."""

STRUCTURE = {
    "depth": "D{}",
    "width": "k{}",
    "bank_width": "N{}",
    "max_width": "Nmax{}",
    "bottleneck": "bottleneck{}",
    "max_bottleneck": "max-bottleneck{}",
    "depth_compression": "compression{}",
    "max_dilation": "dilate{}",
    "max_kernel": "kernel{}",
    "max_groups": "groups{}",
    "grid": "{}-op",
    "gates": "gates",
    "op_norm": "op-bn",
    "preactivation": "postac",
    "variable_nonlinearity": "var-nl",
    "variable_kernel": "static-ks",
    "variable_groups": "static-group",
}
"""Flags that shape the search space, by its option; and what a run's name says of each."""


class _Parser(argparse.ArgumentParser):
    """Raises instead of leaving, so that wrong use is worded and answered in one place."""

    def error(self, message: str) -> NoReturn:
        raise InvalidValueError(f"{message} (see 'python {self.prog} --help')")


def read(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, frozenset[str]]:
    """Reads a command line.

    Args:
        parser: What `train_parser` or `evaluate_parser` gave; it cannot be used again.
        arguments: The arguments; those of this process if None.

    Returns:
        All flags, and which of them were given.

    Raises:
        InvalidValueError: They are not what the parser knows.
    """
    flags = parser.parse_args(arguments)
    absent = object()
    parser.set_defaults(**dict.fromkeys(vars(flags), absent))
    again = vars(parser.parse_args(arguments))
    return flags, frozenset(name for name, value in again.items() if value is not absent)


def train_parser() -> argparse.ArgumentParser:
    """The flags of ``train.py``."""
    parser = _Parser(
        prog="train.py",
        allow_abbrev=False,
        description="Train a SMASH network as published, on CIFAR-100 unless told otherwise. With "
        "--SMASH=NAME: rank architectures by it. With --SMASH=NAME and --rank or "
        "--init-from-SMASH: train a ranked one. With --model: train a reference network.",
    )
    _add_structure(parser.add_argument_group("the search space"))
    training = parser.add_argument_group("training")
    training.add_argument(
        "--which-dataset", choices=DATASETS, default="C100", help="default: %(default)s"
    )
    training.add_argument("--fold", type=int, default=10, help="part of STL10, 0 to 9; 10: all")
    training.add_argument("--seed", type=int, default=0)
    training.add_argument("--epochs", type=int, default=100, help="default: %(default)s")
    training.add_argument("--batch-size", type=int, default=50, help="default: %(default)s")
    training.add_argument(
        "--augment",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="shift and flip training images",
    )
    training.add_argument("--resume", action="store_true", help="go on with an unfinished training")
    training.add_argument(
        "--model",
        default="SMASH",
        help="SMASH…, or a reference network: ResNet, DenseNet, VGG, WRN, or such as wrn-16-2",
    )
    training.add_argument(
        "--save-weights", metavar="NAME", help="where it is kept: weights/NAME; made from settings"
    )
    training.add_argument(
        "--duplicate-at-checkpoints", action="store_true", help="keep a copy every 5 epochs"
    )
    _add_machine(training)
    watching = parser.add_argument_group("validation")
    watching.add_argument(
        "--validate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="on the last 10%% of the training split; without, at the end only",
    )
    watching.add_argument("--validate-test", action="store_true", help="on the test split instead")
    watching.add_argument("--validate-every", type=int, default=1, metavar="EPOCHS")
    _add_top5(watching)
    resulting = parser.add_argument_group("with a trained SMASH network")
    resulting.add_argument("--SMASH", dest="network", metavar="NAME", help="its name, or NAME.pth")
    resulting.add_argument(
        "--rank", type=int, help="train the architecture of this rank; 0 is the best"
    )
    resulting.add_argument(
        "--init-from-SMASH",
        dest="init_from_network",
        action="store_true",
        help="begin with the weights that the SMASH network gives",
    )
    _add_search(resulting)
    return parser


def evaluate_parser() -> argparse.ArgumentParser:
    """The flags of ``evaluate.py``."""
    parser = _Parser(
        prog="evaluate.py",
        allow_abbrev=False,
        description="Rank architectures by a trained SMASH network: random ones, changes of the "
        "best of them, then a chain from the best.",
    )
    parser.add_argument(
        "--SMASH", dest="network", metavar="NAME", required=True, help="its name, or NAME.pth"
    )
    parser.add_argument("--batch-size", type=int, default=100, help="default: %(default)s")
    parser.add_argument(
        "--which-dataset", choices=DATASETS, help="default: what the network was trained on"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--validate",
        action="store_true",
        default=True,
        help="on the last 10%% of the training split, as without this flag",
    )
    parser.add_argument("--validate-test", action="store_true", help="on the test split instead")
    _add_top5(parser)
    _add_search(parser)
    _add_machine(parser)
    return parser


def _add_structure(group: Any) -> None:
    numbers = (
        (("-D", "--depth"), "depth", 12, "nominal convolutions a block"),
        (("-k", "--width"), "width", 4, "widening factor"),
        (("-N",), "bank_width", 8, "base width of a memory bank"),
        (("-N-max",), "max_width", 64, "most channels that an op computes"),
        (("--bottleneck",), "bottleneck", 4, "most times a 1×1 is wider than its op"),
        (("--max-bottleneck",), "max_bottleneck", 2, "widest 1×1, in units of N-max"),
        (("--depth-compression",), "depth_compression", 2, "units of N in a position"),
        (("--max-dilate",), "max_dilation", 3, "largest dilation"),
        (("--max-kernel",), "max_kernel", 7, "largest kernel"),
        (("--max-groups",), "max_groups", 8, "largest number of groups; divisors of N are drawn"),
    )
    for names, option, default, words in numbers:
        group.add_argument(
            *names, dest=option, type=int, default=default, help=f"{words}; default: %(default)s"
        )
    grids = group.add_mutually_exclusive_group()
    for name, grid, words in (
        ("--var-op", "var", "draw one to four convolutions an op"),
        ("--big-op", "big", "two paths of two convolutions an op"),
        ("--long-op", "long", "two stacked convolutions an op"),
    ):
        grids.add_argument(
            name, dest="grid", action="store_const", const=grid, default="single", help=words
        )
    for name, option, value, words in (
        ("--gates", "gates", True, "let one path of an op gate the other"),
        ("--op-bn", "op_norm", True, "BatchNorm before each convolution of an op"),
        ("--postac", "preactivation", False, "non-linearities after convolutions, not before"),
        ("--var-nl", "variable_nonlinearity", True, "draw ReLU, tanh or sigmoid"),
        ("--static-ks", "variable_kernel", False, "all kernels 3 wide"),
        ("--static-group", "variable_groups", False, "one group"),
    ):
        group.add_argument(
            name, dest=option, action="store_const", const=value, default=not value, help=words
        )


def _add_search(group: Any) -> None:
    group.add_argument("--num-random", type=int, default=500, help="default: %(default)s")
    group.add_argument("--num-perturb", type=int, default=100, help="default: %(default)s")
    group.add_argument("--num-markov", type=int, default=100, help="default: %(default)s")
    group.add_argument(
        "--perturb-prob", type=float, default=0.05, help="that a setting is redrawn: %(default)s"
    )
    group.add_argument(
        "--arch-SGD", dest="by_gradient", action="store_true", help="change by the gradient"
    )


def _add_machine(group: Any) -> None:
    group.add_argument("--fp16", action="store_true", help="half precision")
    group.add_argument("--parallel", action="store_true", help="all GPUs of this machine")
    group.add_argument("--device", default="auto", help="cpu, cuda, mps, or auto")
    group.add_argument("--data-dir", metavar="DIR", help="folder of data sets; $SMASH_DATA")


def _add_top5(group: Any) -> None:
    group.add_argument("--top5", action="store_true", help="report and rank by top-5 error")
