"""Runs to report on, with made-up scores: nothing is trained."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from smash.config import DataSettings, Length, RunSettings, SpaceSettings, TrainingPlan
from smash.io.records import Interval
from smash.reporting.contents import Contents
from smash.run.layout import (
    ARCHITECTURE,
    CHILDREN,
    CONFIG,
    ENVIRONMENT,
    FOUND,
    METRICS,
    RESULT,
    STUDY,
)
from smash.run.trust import RankCorrelation, ScoredAccuracy, Trust
from smash.scoring.score import Score
from smash.spaces import make_space
from smash.study.candidate import Candidate
from smash.study.study import Study

HOSTILE = "</script><script>window.boom = 1</script><img src=x onerror='window.boom = 2'>&\"'"
TINY = SpaceSettings(preset="tiny", options={"depth": 2, "max_width": 16})


def candidates(
    count: int, space: SpaceSettings = TINY, dims: int = 2, seed: int = 0
) -> tuple[list[Candidate], dict[str, dict[str, float]]]:
    """Different architectures with random scores, in three phases; and their readable features.

    One in seven of the random ones was dropped early.
    """
    made, rng = make_space(space, dims), np.random.default_rng(seed)
    found: dict[str, Candidate] = {}
    readable = {}
    while len(found) < count:
        architecture = made.sample(rng)
        index = len(found)
        phase = ("random", "perturb", "markov")[min(2, 3 * index // count)]
        loss = float(rng.uniform(0.5, 2.0)) - 0.4 * (phase == "markov")
        name = made.identify(architecture)
        if name in found:
            continue
        readable[name] = dict(made.readable(architecture))
        found[name] = Candidate(
            id=name,
            architecture=made.to_json(architecture),
            strategy=phase,
            index=index,
            score=Score(
                error=round(loss / 4, 2),
                top5_error=loss / 20,
                loss=loss,
                rank_by="loss",
                split="val",
                examples=100 if index % 7 == 3 else 1000,
            ),
            ensemble_error=0.2,
            params=int(1000 * rng.integers(5, 50)),
            macs=int(10_000 * rng.integers(5, 50)),
            memory=int(1024 * rng.integers(2, 50)),
            flash=int(1000 * rng.integers(5, 50)),
            partial=index % 7 == 3,
        )
    return list(found.values()), readable


def settings(space: SpaceSettings = TINY, source: str = "digits") -> RunSettings:
    return RunSettings(
        data=DataSettings(source=source),
        space=space,
        training=TrainingPlan(length=Length(steps=100)),
    )


def contents_of(found: list[Candidate]) -> Contents:
    """A run that holds nothing but candidates."""
    return Contents(
        name="made",
        settings=settings(),
        environment={},
        curves=[],
        search={},
        candidates=found,
        ranked=sorted(found, key=lambda one: (one.partial, one.value)),
        readable=lambda _: {},
        children=[],
        trust=None,
        times=[],
    )


def begin(folder: Path, space: SpaceSettings = TINY, source: str = "digits") -> Path:
    """A run as it is before anything was trained."""
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(settings(space, source).to_toml())
    (folder / ENVIRONMENT).write_text(json.dumps({"python": "3.11", "gpu": source}))
    return folder


def write(
    folder: Path, count: int = 21, space: SpaceSettings = TINY, source: str = "digits"
) -> list[Candidate]:
    """A whole run: curves, a search, children and a check of the ranking."""
    begin(folder, space, source)
    rows = [
        {"step": 50 * n, "epoch": n, "train_loss": 2 / n, "val_loss": 2.1 / n, "val_error": 0.5 / n}
        for n in (1, 2, 3)
    ]
    lines(folder / METRICS, rows)
    found, readable = candidates(count, space)
    study = Study(folder / STUDY, create=True)
    study.settings = {"rank_by": "loss", "seed": 0, "strategy": "perturbation"}
    for one in found:
        study.add(one, readable[one.id])
    best, *others = sorted((one for one in found if not one.partial), key=lambda one: one.value)
    child(folder, best, "-e3", 0.10, {"test": 0.12}, source)
    child(folder, others[0], "-e3", 0.08, {"test": 0.09}, source)
    child(folder, others[1], "-e3-audit", 0.2, {"audit": 0.21}, source)
    child(folder, others[2], "-e9", None, {}, source)
    spread = Interval(value=0.5, low=0.2, high=0.7)
    undefined = Interval(value=math.nan, low=math.nan, high=math.nan)
    points = [(best.id, best.value, 0.9), (others[0].id, math.nan, 0.8), ("gone", 1.0, 0.7)]
    trust(spread, params=spread, macs=undefined, points=points).write(folder / FOUND)
    return found


def trust(
    tau: Interval, *, points: Iterable[tuple[str, float, float]] = (), **baselines: Interval
) -> Trust:
    """A check of the ranking, with its Kendall τ and those of baselines."""
    kept = [ScoredAccuracy(id=name, score=score, accuracy=real) for name, score, real in points]
    return Trust(
        rank_by="loss",
        **_correlation(tau),
        n=4,
        truth="accuracy on the audit split after 3 epochs",
        score="loss on 1,000 val examples",
        baselines={name: RankCorrelation(**_correlation(own)) for name, own in baselines.items()},
        together={},
        prior=None,
        points=kept,
    )


def _correlation(tau: Interval) -> dict[str, Any]:
    taus = {"kendall_tau": tau, "spearman": tau, "top_tenth_tau": tau}
    return {**taus, "equal_size_tau": tau.value, "ndcg": 1.0, "top_precision": 1.0, "regret": {}}


def child(
    folder: Path,
    one: Candidate,
    suffix: str,
    val_error: float | None,
    judged: dict[str, float],
    name: str,
) -> None:
    """A trained child; one whose training has not finished, without an error."""
    path = folder / CHILDREN / f"{one.id}{suffix}"
    path.mkdir(parents=True)
    about: dict[str, Any] = {
        "id": one.id,
        "architecture": one.architecture,
        "params": one.params,
        "macs": one.macs,
        "memory": one.memory,
        "flash": one.flash,
        "settings": {"epochs": 3, "init": "scratch"},
        "channels": 1,
        "size": [8, 8],
        "scaled": True,
        "classes": ["cat", name],
        "mean": [0.5],
        "std": [0.25],
    }
    (path / ARCHITECTURE).write_text(json.dumps(about))
    rows = [{"step": n, "epoch": n, "train_loss": 1 / n, "val_error": 0.4 / n} for n in (1, 2)]
    lines(path / METRICS, rows)
    if val_error is not None:
        every = {"val": val_error, **judged}
        result = {
            split: {
                "split": split,
                "examples": 100,
                "error": error,
                "top5_error": 0.0,
                "expected_error": error,
                "macro_f1": 1 - error,
                "loss": 1.0,
                "recall": [0.75, 0.5],
            }
            for split, error in every.items()
        }
        (path / RESULT).write_text(json.dumps(result))


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
