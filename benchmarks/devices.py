"""Exports trained children in float32 and int8: the demo's winner, of each space, 1-D and 3-D.

    python -m benchmarks.devices FOLDER --signals SIGNALS.npz --volumes VOLUMES.npz --out RUNS

Each child but the demo's is a candidate within limits of a microcontroller, trained for one to
three minutes, so the errors say what int8 costs, and not how good a network can be. The result is
``results/devices.json``. A repeated command trains only what is missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import smash
from smash.cli.demo import demo
from smash.data import Data
from smash.profiling.cost import measure_cost
from smash.run.layout import FINALS
from smash.spaces.choices import Choose
from smash.spaces.task import Task
from smash.training.finals import Finals

RESULT = Path(__file__).parent / "results" / "devices.json"

_DRAWN = 12  # candidates, of which the best is trained
_MOST_EXAMPLES = 12_000  # to train with
_TUNING_EPOCHS = 2
_SMASH_EXAMPLES = 640  # that the SMASH network learns from: its ranking is not the question here


class Residual(nn.Module):
    """Adds what a convolution makes of its input."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(width, width, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, images: Tensor) -> Tensor:
        """Keeps the shape N×width×spatial."""
        return torch.relu(images + self.norm(self.convolution(images)))


def residual_chain(choose: Choose, task: Task) -> nn.Module:
    """Builds a chain of residual convolutions: a space as a user writes one."""
    width = choose("width", (16, 24))
    network = nn.Sequential(
        nn.Conv2d(task.channels, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU()
    )
    for number in range(choose("depth", (2, 3))):
        network.append(Residual(width, choose(f"kernel {number}", (3, 5))))
    return network.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, task.classes)])


@dataclass(frozen=True)
class Case:
    """A child to train and to export.

    Attributes:
        name: Its name in the table.
        data: The data set: ``images``, ``signals`` or ``volumes``, or ``demo`` for all of the demo.
        epochs: Epochs of the child.
        train: Further settings of `smash.train`.
        limits: Limits of the search.
    """

    name: str
    data: str
    epochs: int = 0
    train: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case("demo", "demo"),
    Case("memory banks", "images", 5, {"space": "memory-bank"}, {"max_macs": 3_000_000}),
    Case("cells", "images", 3, {"space": "nas-bench-201"}, {"max_macs": 6_000_000}),
    Case("mobile", "images", 6, {"space": "mobile"}, {"max_macs": 2_000_000}),
    Case("function", "images", 6, {"space": "residual-chain"}),
    Case("signals", "signals", 8, {"space": "memory-bank"}, {"max_macs": 1_500_000}),
    Case("volumes", "volumes", 6, {"space": "mobile", "preset": "tiny"}, {"max_macs": 10_000_000}),
)


def main() -> None:
    """Trains and exports the children that the result lacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("images", help="folder of class folders")
    parser.add_argument("--signals", required=True, help=".npz of 1-D examples")
    parser.add_argument("--volumes", required=True, help=".npz of 3-D examples")
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", help="name of one child")
    options = parser.parse_args()
    smash.space(residual_chain)
    sources: dict[str, Callable[[], Data]] = {
        "images": lambda: smash.load_data(options.images, image_size=options.image_size),
        "signals": lambda: smash.load_data(options.signals),
        "volumes": lambda: smash.load_data(options.volumes, dims=3),
    }
    kept = json.loads(RESULT.read_text()) if RESULT.is_file() else []
    rows = {row["name"]: row for row in kept}
    for case in CASES:
        if case.name == options.only or (options.only is None and case.name not in rows):
            folder = options.out / case.name.replace(" ", "-")
            is_demo = case.data == "demo"
            child = demonstrated(folder) if is_demo else trained(case, sources[case.data](), folder)
            rows[case.name] = measured(case, child)
            ordered = [rows[each.name] for each in CASES if each.name in rows]
            RESULT.write_text(json.dumps(ordered, indent=1) + "\n")
            print(json.dumps(rows[case.name]), flush=True)


def demonstrated(path: Path) -> smash.Child:
    """Runs the demo, unless its folder exists, and gives its winner."""
    if not path.exists():
        demo(path, device="cpu")
    winner = Finals.read(path / FINALS).winner
    children = smash.Child.of_run(smash.Run.open(path))
    child = next(
        each for each in children if (each.record.id, each.record.settings.seed) == (winner, 0)
    )
    child.evaluate("test", torch.device("cpu"))
    return child


def trained(case: Case, data: Data, path: Path) -> smash.Child:
    """Trains the best of a few candidates; a finished one is kept."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    few, part = (
        replace(data, train=data.train.subset(order[:count]))
        for count in (_SMASH_EXAMPLES, _MOST_EXAMPLES)
    )
    resume = path.is_dir()
    if resume and (children := smash.Child.of_run(smash.Run.open(path))):
        children[0].run.data = part
        return children[0]
    run = smash.train(few, path, epochs=1, device="cpu", resume=resume, **case.train)
    smash.search(run, random=_DRAWN, perturb=0, markov=0, examples=500, device="cpu", **case.limits)
    run.data = part
    return smash.retrain(run, rank=0, epochs=case.epochs, validate_every=0, test=True, device="cpu")


def measured(case: Case, child: smash.Child) -> dict[str, Any]:
    """Exports a child in int8, plainly and after fine-tuning, and gives what both cost."""
    run = child.run
    cost = measure_cost(
        run.space, run.space.from_json(child.record.architecture or {}), run.data.task
    )
    path = child.path / "model.int8.onnx"
    plain, tuned = (
        asdict(smash.export(child, path, quantise_epochs=epochs, force=True))["quantisation"]
        for epochs in (0, _TUNING_EPOCHS)
    )
    return {
        "name": case.name,
        "input": [run.data.task.channels, *run.data.task.size],
        **asdict(cost),
        "judged": {split: len(getattr(run.data, split)) for split in ("val", "test")},
        **plain,
        "fine_tuned": tuned["errors"],
        "epochs": tuned["epochs"],
    }


if __name__ == "__main__":
    main()
