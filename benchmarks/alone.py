"""What holds a ranking: that weights are shared, or the size at which they are trained?

Trains cells of a table alone, each with weights of its own, by the recipe and at the size of a run,
and compares that ranking with the published accuracies, beside the run's own::

    python benchmarks/alone.py RUN --table TABLE.csv --column COLUMN --out alone.jsonl

RUN is a trained run of cells with plain sharing. The rate follows a cosine, so that so few epochs
come to an end. A cell adds a line to the file; a repeated command goes on where it was cut.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import smash
from smash.correlation.ground_truth import part_of, read_table
from smash.correlation.statistics import Bootstrap, interval, kendall_tau
from smash.runtime.device import choose_device
from smash.scoring.scorer import Scorer
from smash.spaces.layers import count_parameters
from smash.spaces.nas_bench_201 import CellArchitecture, NasBench201Space
from smash.training.loop import steps_per_epoch
from smash.training.smash_network import TrainingLoop


class OneCell(NasBench201Space):
    """The space of a run, of which training draws one cell."""

    def __init__(self, whole: NasBench201Space, cell: CellArchitecture) -> None:
        super().__init__(whole.options)
        self._cell = cell

    def sample_for_training(self, rng: np.random.Generator, progress: float) -> CellArchitecture:
        """The cell."""
        return self._cell


def main() -> None:
    """Runs the comparison; prints a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--table", required=True)
    parser.add_argument("--column", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--half", choices=["first", "second"], default="first")
    parser.add_argument("--cells", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--examples", type=int, default=1000)
    given = parser.parse_args()
    run = smash.Run.open(given.run)
    known = part_of(
        read_table(given.table, given.column, run.space), run.space, given.half, given.cells
    )
    lines = given.out.read_text().splitlines() if given.out.exists() else []
    losses = {row["id"]: row["loss"] for row in map(json.loads, lines)}
    for one in known:
        if one.id not in losses:
            losses[one.id] = trained_alone(run, one.architecture, given.epochs, given.examples)
            with given.out.open("a") as file:
                file.write(json.dumps({"id": one.id, "loss": losses[one.id]}) + "\n")
            print(f"{len(losses)}/{len(known)}", flush=True)
    cpu = choose_device("cpu")
    shared = Scorer(
        run.network(cpu), run.search_data, examples=given.examples, snapshots=run.snapshots(cpu)
    )
    truth = np.asarray([one.truth for one in known])
    rankings = {
        "alone": [-losses[one.id] for one in known],
        "shared": [-shared(one.architecture).loss for one in known],
        "params": [
            count_parameters(run.space.build(one.architecture, run.data.task)) for one in known
        ],
    }
    bootstrap = Bootstrap(truth)
    found = {
        name: vars(interval(kendall_tau(values, truth), bootstrap.kendall_tau(values)))
        for name, values in rankings.items()
    }
    print(json.dumps({"n": len(known), "epochs": given.epochs, **found}))


def trained_alone(run: smash.Run, cell: CellArchitecture, epochs: int, examples: int) -> float:
    """The validation loss of a cell after training with weights of its own."""
    recipe = run.settings.training
    steps = epochs * steps_per_epoch(len(run.search_data.train), recipe.batch_size)
    settings = recipe.replaced(steps=steps, schedule="cosine", snapshots=1)
    alone = smash.Run(Path(), run.settings.replaced(training=settings))
    alone.data = run.data
    network = alone.new_network()
    network.space = OneCell(network.space, cell)
    loop = TrainingLoop(alone, network, run.search_data)
    for _ in range(steps):
        loop.take_step()
    return Scorer(network, run.search_data, examples=examples)(cell).loss


if __name__ == "__main__":
    main()
