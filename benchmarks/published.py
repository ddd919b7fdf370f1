"""The published experiment within a budget of minutes: SMASH network, search, best network.

On CIFAR-10, at the size of the original's defaults, and meant for a GPU::

    python -m benchmarks.published FOLDER --out OUT --minutes 25

FOLDER holds CIFAR-10 as class folders, or is ``cifar10`` with ``--data-dir``. Beside the network of
the best score are trained alike one that was drawn at random, and the one of most parameters: what
a search without a SMASH network would take. Batches are larger and trainings far shorter than the
paper's, whose errors stand beside. Each stage is timed before it begins, and made to fit its share;
what it is to do is kept, so a repeated command goes on where it was cut, and does the same. The
table is in ``OUT/published.md``, all figures are in ``OUT/published.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import smash
from smash.io.files import make_folder, write_atomically, write_json
from smash.run.layout import CONFIG
from smash.run.metrics_log import MetricsLog
from smash.run.run import Run, environment
from smash.runtime.progress import on_terminal
from smash.study.study import Candidate, Study

SHARES = {"training": 0.45, "search": 0.15}
"""Of the minutes; the retraining of three networks has what data, training and search leave."""

PUBLISHED = {"random": 500, "perturb": 100, "markov": 100}
PAPER = (
    {"network": "SMASHv1, as published", "params": 4_600_000, "epochs": 300, "test_error": 0.0553},
    {"network": "SMASHv2, as published", "params": 16_000_000, "epochs": 300, "test_error": 0.0403},
)
_TIMED = 20  # candidates
_MARGIN = 0.95  # of the time left goes into training; the rest is for evaluating and saving


class Plan:
    """What each stage is to do and how long it took, kept in a file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        kept = json.loads(path.read_text()) if path.is_file() else {}
        self._decided: dict[str, Any] = kept.get("decided", {})
        self.seconds: dict[str, float] = kept.get("seconds", {})

    def decide(self, name: str, decision: Callable[[], Any]) -> Any:
        """What was decided, the first time by `decision`."""
        if name not in self._decided:
            self._decided[name] = decision()
            self._save()
        return self._decided[name]

    @contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        """Adds the seconds within to those of a stage, also where it is interrupted."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - begun
            self._save()

    def _save(self) -> None:
        write_json(self._path, {"decided": self._decided, "seconds": self.seconds})


def publish(given: argparse.Namespace) -> dict[str, Any]:
    """Runs what is not done yet of the experiment, and gives all figures."""
    make_folder(given.out)
    done = given.out / "published.json"
    if done.is_file():
        return dict(json.loads(done.read_text()))
    plan = Plan(given.out / "plan.json")
    asked = {name: str(value) for name, value in vars(given).items() if name != "out"}
    if plan.decide("asked", lambda: asked) != asked:
        raise SystemExit(f"{given.out} was begun with other options: repeat them, or take another")
    with plan.timing("data"):
        data = smash.load_data(given.data, data_dir=given.data_dir)
    with plan.timing("training"):
        run = trained(data, given)
    with plan.timing("search"):
        study, counts = searched(run, plan, given)
    with plan.timing("retraining"):
        chosen = choose(study.ranked())
        epochs = plan.decide("epochs", lambda: fitting_epochs(run, chosen, plan, given))
        networks = [
            {"network": name, **retrained(run, study, one, epochs, given)}
            for name, one in chosen.items()
        ]
    training = run.settings.training
    figures = {
        "asked": asked,
        "environment": environment(),
        "device": run.settings.device,
        "minutes": {stage: round(seconds / 60, 2) for stage, seconds in plan.seconds.items()},
        "training": {
            "batch_size": training.batch_size,
            "steps": training.steps,
            "epochs": round(training.steps * training.batch_size / len(data.train), 2),
        },
        "search": counts,
        "networks": [*networks, *PAPER],
    }
    write_atomically(given.out / "published.md", table(figures).encode())
    write_json(done, figures)  # last: with it the experiment is finished
    return figures


def trained(data: smash.Data, given: argparse.Namespace) -> Run:
    """The run with its SMASH network, trained for its share of the minutes."""
    return smash.train(
        data,
        given.out / "run",
        minutes=SHARES["training"] * given.minutes,
        preset=given.preset,
        batch_size=given.batch_size,
        validate_every=0,
        device=given.device,
        resume=(given.out / "run" / CONFIG).is_file(),
        progress=on_terminal,
    )


def searched(run: Run, plan: Plan, given: argparse.Namespace) -> tuple[Study, dict[str, int]]:
    """The study, of as many candidates as fit: all that were published, or a share of each kind."""

    def search(counts: dict[str, Any]) -> Study:
        return smash.search(
            run,
            **counts,
            precision="auto",
            batch_size=given.scored_at_once,
            device=given.device,
            progress=on_terminal,
        )

    def fitting() -> dict[str, int]:
        begun = time.monotonic()
        search({"random": _TIMED, "perturb": 0, "markov": 0})
        each = (time.monotonic() - begun) / _TIMED
        left = 60 * SHARES["search"] * given.minutes - _TIMED * each
        share = min(1.0, left / each / sum(PUBLISHED.values()))
        counts = {name: max(1, int(share * count)) for name, count in PUBLISHED.items()}
        return counts | {"random": max(_TIMED, counts["random"])}

    counts = plan.decide("candidates", fitting)
    return search(counts), counts


def choose(ranked: Sequence[Candidate]) -> dict[str, Candidate]:
    """The networks to train, by what chose them."""
    return {
        "best score": ranked[0],
        "drawn at random": next(
            one for one in ranked if (one.strategy, one.index) == ("random", 0)
        ),
        "most parameters": max(ranked, key=lambda one: one.params),
    }


def fitting_epochs(
    run: Run, chosen: dict[str, Candidate], plan: Plan, given: argparse.Namespace
) -> int:
    """How many epochs each network can be trained for, from one of each that is timed."""
    begun = time.monotonic()
    study = Study(run.study_path)
    each = 0.0
    for one in chosen.values():
        child = _child(run, study, one, 1, given, name=f"timed-{one.id}", test=False)
        each += MetricsLog(child.path / "metrics.jsonl").rows()[-1]["seconds"]
    spent = sum(plan.seconds.values()) + time.monotonic() - begun
    return max(1, int(_MARGIN * (60 * given.minutes - spent) / each))


def retrained(
    run: Run, study: Study, one: Candidate, epochs: int, given: argparse.Namespace
) -> dict[str, Any]:
    """What became of a candidate that was trained from scratch."""
    child = _child(run, study, one, epochs, given, name=f"{one.id}-alike")
    return {
        "id": one.id,
        "params": one.params,
        "macs": one.macs,
        "score": one.value,
        "epochs": epochs,
        "val_error": child.result["val"]["error"],
        "test_error": child.result["test"]["error"],
    }


def _child(
    run: Run,
    study: Study,
    one: Candidate,
    epochs: int,
    given: argparse.Namespace,
    *,
    name: str,
    test: bool = True,
) -> smash.Child:
    path = run.child_path(name)
    if (path / "result.json").is_file():  # two may have chosen the same one
        return smash.Child.open(path)
    return smash.retrain(
        run,
        rank=[other.id for other in study.ranked()].index(one.id),
        name=name,
        test=test,
        epochs=epochs,
        batch_size=given.batch_size,
        learning_rate=given.learning_rate,
        validate_every=0,
        device=given.device,
        progress=on_terminal,
    )


def table(figures: dict[str, Any]) -> str:
    """The figures in Markdown."""
    asked, training, made = figures["asked"], figures["training"], figures["environment"]
    place = made["gpu"] if figures["device"] == "cuda" else made["machine"]
    lines = [
        f"Preset `{asked['preset']}` on {place}, PyTorch {made['torch']}, "
        f"batches of {training['batch_size']}: {training['epochs']:g} epochs of the SMASH network, "
        + ", ".join(f"{count} candidates by {name}" for name, count in figures["search"].items())
        + ".",
        "",
        "| network | parameters | MACs | epochs | validation error | test error |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in figures["networks"]:
        macs = f"{row['macs']:,}" if "macs" in row else ""
        val = f"{row['val_error']:.2%}" if "val_error" in row else ""
        lines.append(
            f"| {row['network']} | {row['params']:,} | {macs} | {row['epochs']} | {val} | "
            f"{row['test_error']:.2%} |"
        )
    lines += ["", f"| stage | minutes of {asked['minutes']} |", "| --- | --- |"]
    lines += [f"| {stage} | {minutes:.2f} |" for stage, minutes in figures["minutes"].items()]
    return "\n".join(lines) + "\n"


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="a folder with train and test, or cifar10")
    parser.add_argument("--data-dir", help="where cifar10 is")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--preset", default="original")
    parser.add_argument("--batch-size", type=int, default=250, help="of all trainings")
    parser.add_argument("--learning-rate", type=float, default=0.2, help="of the found networks")
    parser.add_argument("--scored-at-once", type=int, default=1000, help="examples")
    parser.add_argument("--device", default="auto")
    return parser.parse_args(argv)


def main() -> None:
    """Runs the experiment, and prints the table."""
    given = parse()
    publish(given)
    print((given.out / "published.md").read_text())


if __name__ == "__main__":
    main()
