"""How good is the winner once it is trained? Beside the median, a ResNet and a WRN of its size.

For each seed: trains a SMASH network, ranks candidates, and trains alike the winner, from scratch
and from its generated weights, the candidate in the middle of the ranking, and the ResNet and the
WRN with about as many parameters as the winner; by the published recipe and by the modern one::

    python -m benchmarks.winner digits --out RUNS
    python -m benchmarks.winner CIFAR10 --out RUNS --preset small --per-class 500 --side 16

CIFAR10 holds class folders in ``train`` and ``test``. A repeated command goes on where it was cut.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import smash
from benchmarks.subsets import load
from smash.runtime.progress import on_terminal


def networks(candidates: int) -> dict[str, dict[str, Any]]:
    """What is trained, by name."""
    return {
        "winner": {"rank": 0},
        "winner, generated weights": {"rank": 0, "init": "generated"},
        "median": {"rank": candidates // 2},
        "resnet": {"baseline": "resnet"},
        "wrn": {"baseline": "wrn"},
    }


def trained(run: smash.Run, name: str, **asked: Any) -> smash.Child:
    """A trained child; one that is there is not trained again."""
    path = run.child_path(name)
    if (path / "result.json").is_file():
        return smash.Child.open(path)
    return smash.retrain(run, name=name, progress=on_terminal, **asked)


def main() -> None:
    """Runs the comparison; prints a line for each child, and then the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="digits, or a folder with train and test")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--per-class", type=int, default=500)
    parser.add_argument("--side", type=int, default=16)
    parser.add_argument("--test-fraction", type=float, default=0.15, help="of the digits")
    parser.add_argument("--val-fraction", type=float, default=0.1, help="of the digits")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=25, help="of the SMASH network")
    parser.add_argument("--random", type=int, default=150)
    parser.add_argument("--changes", type=int, default=30, help="perturbations, and chain steps")
    parser.add_argument("--child-epochs", type=int, default=15)
    parser.add_argument("--recipes", nargs="+", default=["published", "modern"])
    given = parser.parse_args()
    fractions = {"test_fraction": given.test_fraction, "val_fraction": given.val_fraction}
    data = load(given.data, given.per_class, given.side, **fractions)
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    for seed in given.seeds:
        out = given.out / f"s{seed}"
        run = smash.train(
            data,
            out,
            preset=given.preset,
            epochs=given.epochs,
            seed=seed,
            resume=out.exists(),
            progress=on_terminal,
        )
        run.data = data
        study = smash.search(
            run,
            random=given.random,
            perturb=given.changes,
            markov=given.changes,
            seed=seed,
            progress=on_terminal,
        )
        for recipe in given.recipes:
            for network, asked in networks(len(study.candidates())).items():
                name = f"{network.replace(', ', '-').replace(' ', '-')}-{recipe}"
                child = trained(
                    run, name, epochs=given.child_epochs, seed=seed, recipe=recipe, **asked
                )
                test = child.result["test"]
                errors[network, recipe].append(test["error"])
                row = {
                    "seed": seed,
                    "network": network,
                    "recipe": recipe,
                    "id": child.about["id"],
                    "params": child.about["params"],
                    "test_error": test["error"],
                    "test_loss": test["loss"],
                }
                print(json.dumps(row), flush=True)
    print("| network | " + " | ".join(given.recipes) + " |")
    print("| --- " * (len(given.recipes) + 1) + "|")
    for network in networks(1):
        cells = [_cell(errors[network, recipe]) for recipe in given.recipes]
        print(f"| {network} | " + " | ".join(cells) + " |")


def _cell(errors: list[float]) -> str:
    each = ", ".join(f"{error:.2%}" for error in errors)
    return f"{statistics.fmean(errors):.2%} ({each})"


if __name__ == "__main__":
    main()
