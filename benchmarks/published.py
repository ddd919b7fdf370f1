"""Runs the published experiment within a budget of minutes: SMASH network, search, best network.

On CIFAR-10, at the size of the original's defaults, for a GPU::

    python -m benchmarks.published FOLDER --out OUT --minutes 25

FOLDER holds CIFAR-10 as class folders, or is ``cifar10`` with ``--data-dir``. The network with the
best score is trained beside a random one and the one with most parameters, which one would take
without a SMASH network. Batches are larger and trainings far shorter than the paper's, whose errors
stand in the same table. Each stage is timed first and sized to fit its share of the minutes. Its
size is stored, so a repeated command continues and does the same. The table is
``OUT/published.md``, all figures are in ``OUT/published.json``.
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
from smash.study.candidate import Candidate
from smash.study.study import Study

SHARES = {"training": 0.45, "search": 0.15}
"""Shares of the minutes; the retraining of three networks gets the rest."""

PUBLISHED = {"random": 500, "perturb": 100, "markov": 100}
PAPER = (
    {"network": "SMASHv1, as published", "params": 4_600_000, "epochs": 300, "test_error": 0.0553},
    {"network": "SMASHv2, as published", "params": 16_000_000, "epochs": 300, "test_error": 0.0403},
)
_TIMED = 20  # candidates
_MARGIN = 0.95  # share of the time left that is trained; the rest evaluates and saves


class Plan:
    """Decisions and durations of the stages, stored in a file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        kept = json.loads(path.read_text()) if path.is_file() else {}
        self._decided: dict[str, Any] = kept.get("decided", {})
        self.seconds: dict[str, float] = kept.get("seconds", {})

    def decide(self, name: str, decision: Callable[[], Any]) -> Any:
        """Gives a stored decision, or makes and stores it."""
        if name not in self._decided:
            self._decided[name] = decision()
            self._save()
        return self._decided[name]

    @contextmanager
    def timing(self, stage: str) -> Iterator[None]:
        """Adds the seconds within to those of a stage, even if it is interrupted."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - begun
            self._save()

    def _save(self) -> None:
        write_json(self._path, {"decided": self._decided, "seconds": self.seconds})


def publish(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the rest of the experiment and gives all figures."""
    make_folder(options.out)
    done = options.out / "published.json"
    if done.is_file():
        return dict(json.loads(done.read_text()))
    plan = Plan(options.out / "plan.json")
    asked = {name: str(value) for name, value in vars(options).items() if name != "out"}
    if plan.decide("asked", lambda: asked) != asked:
        raise SystemExit(
            f"{options.out} was begun with other options: repeat them, or take another"
        )
    with plan.timing("data"):
        data = smash.load_data(options.data, data_dir=options.data_dir)
    with plan.timing("training"):
        run = trained(data, options)
    with plan.timing("search"):
        study, counts = searched(run, plan, options)
    with plan.timing("retraining"):
        chosen = choose(study.ranked())
        epochs = plan.decide("epochs", lambda: fitting_epochs(run, chosen, plan, options))
        networks = [
            {"network": name, **retrained(run, study, candidate, epochs, options)}
            for name, candidate in chosen.items()
        ]
    training = run.settings.training
    figures = {
        "asked": asked,
        "environment": environment(),
        "device": run.settings.device,
        "minutes": {stage: round(seconds / 60, 2) for stage, seconds in plan.seconds.items()},
        "training": {
            "batch_size": training.batch_size,
            "steps": training.length.total,
            "epochs": round(training.length.total * training.batch_size / len(data.train), 2),
        },
        "search": counts,
        "networks": [*networks, *PAPER],
    }
    write_atomically(options.out / "published.md", table(figures).encode())
    write_json(done, figures)  # last, because it marks the experiment as finished
    return figures


def trained(data: smash.Data, options: argparse.Namespace) -> Run:
    """Trains the SMASH network for its share of the minutes."""
    return smash.train(
        data,
        options.out / "run",
        minutes=SHARES["training"] * options.minutes,
        space="memory-bank",
        preset=options.preset,
        batch_size=options.batch_size,
        validate_every=0,
        device=options.device,
        resume=(options.out / "run" / CONFIG).is_file(),
        progress=on_terminal,
    )


def searched(run: Run, plan: Plan, options: argparse.Namespace) -> tuple[Study, dict[str, int]]:
    """Searches with as many candidates as fit: the published numbers, or a share of each."""

    def search(counts: dict[str, Any]) -> Study:
        return smash.search(
            run,
            **counts,
            precision="auto",
            batch_size=options.scored_at_once,
            device=options.device,
            progress=on_terminal,
        )

    def fitting() -> dict[str, int]:
        begun = time.monotonic()
        search({"random": _TIMED, "perturb": 0, "markov": 0})
        each = (time.monotonic() - begun) / _TIMED
        left = 60 * SHARES["search"] * options.minutes - _TIMED * each
        share = min(1.0, left / each / sum(PUBLISHED.values()))
        counts = {name: max(1, int(share * count)) for name, count in PUBLISHED.items()}
        return counts | {"random": max(_TIMED, counts["random"])}

    counts = plan.decide("candidates", fitting)
    return search(counts), counts


def choose(ranked: Sequence[Candidate]) -> dict[str, Candidate]:
    """Chooses the networks to train."""
    return {
        "best score": ranked[0],
        "drawn at random": next(
            candidate
            for candidate in ranked
            if (candidate.strategy, candidate.index) == ("random", 0)
        ),
        "most parameters": max(ranked, key=lambda candidate: candidate.params),
    }


def fitting_epochs(
    run: Run, chosen: dict[str, Candidate], plan: Plan, options: argparse.Namespace
) -> int:
    """Computes the epochs that fit, from one timed epoch of each network."""
    begun = time.monotonic()
    study = Study(run.study_path)
    each = 0.0
    for candidate in chosen.values():
        child = _child(run, study, candidate, 1, options, name=f"timed-{candidate.id}", test=False)
        each += MetricsLog(child.path / "metrics.jsonl").rows()[-1]["seconds"]
    spent = sum(plan.seconds.values()) + time.monotonic() - begun
    return max(1, int(_MARGIN * (60 * options.minutes - spent) / each))


def retrained(
    run: Run, study: Study, candidate: Candidate, epochs: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Trains a candidate from scratch and gives its errors."""
    child = _child(run, study, candidate, epochs, options, name=f"{candidate.id}-alike")
    return {
        "id": candidate.id,
        "params": candidate.params,
        "macs": candidate.macs,
        "score": candidate.value,
        "epochs": epochs,
        "val_error": child.result["val"].error,
        "test_error": child.result["test"].error,
    }


def _child(
    run: Run,
    study: Study,
    candidate: Candidate,
    epochs: int,
    options: argparse.Namespace,
    *,
    name: str,
    test: bool = True,
) -> smash.Child:
    path = run.child_path(name)
    if (path / "result.json").is_file():  # two roles may have the same candidate
        return smash.Child.open(path)
    return smash.retrain(
        run,
        rank=[other.id for other in study.ranked()].index(candidate.id),
        name=name,
        test=test,
        epochs=epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        validate_every=0,
        device=options.device,
        progress=on_terminal,
    )


def table(figures: dict[str, Any]) -> str:
    """Formats the figures as Markdown."""
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
    """Parses the command line."""
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
    """Runs the experiment and prints the table."""
    options = parse()
    publish(options)
    print((options.out / "published.md").read_text())


if __name__ == "__main__":
    main()
