"""The figures of a report: for each what it shows, gathered from the run, and the picture of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from smash.evaluation import SPLITS
from smash.reporting import formatting
from smash.reporting.charts import (
    Bar,
    Estimate,
    Group,
    Line,
    Point,
    Scale,
    bar_list,
    histograms,
    in_two_sizes,
    intervals,
    key,
    line_chart,
    point_chart,
)
from smash.reporting.contents import Contents, TrainedChild
from smash.reporting.selection import MOST_POINTS, cost_of, costs, front, improvements, spread
from smash.study.study import Candidate

_MOST_CURVES = 6  # children whose curves have colours of their own
_MOST_CLASSES = 20  # whose recall is shown

_COST_SCALES: Mapping[str, Scale] = {
    "params": Scale(name="parameters", words=formatting.short_count, log=True),
    "macs": Scale(name="MACs for one input", words=formatting.short_count, log=True),
    "latency": Scale(name="latency of the child", words=formatting.seconds, log=True),
}
_MEASURES: Mapping[str, Scale] = {
    "loss": Scale(name="loss, nats"),
    "error": Scale(name="error", words=formatting.short_percent),
    "top5_error": Scale(name="top-5 error", words=formatting.short_percent),
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture and what is said under it.

    Attributes:
        title: What it shows.
        picture: The picture.
        note: How to read it.
        key: What the shapes mean.
        name: A word for it, where several figures of one kind are chosen from.
    """

    title: str
    picture: Markup
    note: str = ""
    key: Markup | None = None
    name: str = ""


def phases(candidates: Sequence[Candidate]) -> dict[str, int]:
    """The strategies in the order in which they began, each with its shape."""
    return {name: n for n, name in enumerate(dict.fromkeys(one.strategy for one in candidates))}


def measure(contents: Contents) -> Scale:
    """What ranks, as an axis."""
    found = _MEASURES[contents.rank_by]
    return Scale(name=f"{split_in_words(contents)} {found.name}", words=found.words)


def split_in_words(contents: Contents) -> str:
    """What candidates were scored on; whoever looked at the test split is told so."""
    split = contents.candidates[0].split if contents.candidates else "val"
    return SPLITS.get(split, split)


def measure_in_words(contents: Contents) -> str:
    """What ranks: ``validation loss``."""
    return measure(contents).name.removesuffix(", nats")


def value_in_words(contents: Contents, candidate: Candidate) -> str:
    """What a candidate is ranked by: ``validation loss 0.118``."""
    number = formatting.decimal if contents.rank_by == "loss" else formatting.percent
    return f"{measure_in_words(contents)} {number(candidate.value)}"


def training(contents: Contents) -> list[Figure]:
    """Training curves of the SMASH network: loss and error."""
    curves = contents.curves
    if not curves:
        return []
    steps = Scale(name="training steps", words=formatting.short_count)
    where = "TEST" if any(row.get("split") == "test" for row in curves) else "validation"
    kinds = (
        ("Loss", Scale(name="loss, nats"), {"train_loss": "training", "val_loss": where}),
        ("Error", _MEASURES["error"], {"val_error": where, "val_top5_error": f"{where}, top 5"}),
    )
    figures = []
    for title, scale, columns in kinds:
        lines = [
            Line(name=name, points=_column(curves, "step", column), shape=shape)
            for shape, (column, name) in enumerate(columns.items())
            if any(column in row for row in curves)
        ]
        if lines:
            label = (
                f"{title} of the SMASH network over {formatting.count(curves[-1]['step'])} steps."
            )
            figures.append(
                Figure(
                    title=title,
                    picture=line_chart(lines, steps, scale, label),
                    note="Each batch has a random architecture: an average over architectures.",
                    key=key({shape: line.name for shape, line in enumerate(lines)}),
                )
            )
    return figures


def _column(rows: Sequence[Mapping[str, float]], x: str, y: str) -> list[tuple[float, float]]:
    return [(row[x], row[y]) for row in rows if row.get(y) is not None]


def course(contents: Contents, shown: Sequence[Candidate]) -> Figure:
    """All scores in the order in which they were found, and the best so far."""
    shapes, places = phases(contents.candidates), _places(contents)
    points = [
        Point(
            x=places[one.id],
            y=one.value,
            number=index,
            shape=shapes[one.strategy],
            partial=one.partial,
        )
        for index, one in enumerate(shown)
    ]
    scale = measure(contents)
    best = [
        (number, contents.candidates[number].value) for number in improvements(contents.candidates)
    ]
    picture = in_two_sizes(
        partial(
            point_chart,
            points,
            Scale(name="candidates scored", words=formatting.short_count),
            scale,
            f"{scale.name} of each candidate in the order of scoring.",
            stairs=best,
            cursor=True,
        ),
        height=300,
    )
    some_partial = any(one.partial for one in shown)
    names = {shape: name for name, shape in shapes.items()}
    return Figure(
        title="The course of the search",
        picture=picture,
        note="The line is the best so far.",
        key=key(names, partial=some_partial),
    )


def _places(contents: Contents) -> dict[str, int]:
    return {one.id: number for number, one in enumerate(contents.candidates)}


def distribution(contents: Contents) -> Figure:
    """How scores are distributed in each phase of the search."""
    groups, dropped = [], sum(one.partial for one in contents.candidates)
    scale = measure(contents)
    for name, shape in phases(contents.candidates).items():
        own = [one for one in contents.candidates if one.strategy == name]
        values = [one.value for one in own if not one.partial]
        note = formatting.several(len(own), "candidate")
        if values:
            note += f", best {scale.words(min(values))}"
        groups.append(Group(name=name, values=values, shape=shape, note=note))
    left_out = (
        f" {formatting.several(dropped, 'candidate')} dropped early, with partial scores, left out."
        if dropped
        else ""
    )
    return Figure(
        title="Scores by phase of the search",
        picture=histograms(groups, scale, f"Distribution of {scale.name} in each phase."),
        note=f"Full line: the best of a phase; dashed: its median.{left_out}",
    )


def error_against_cost(contents: Contents, shown: Sequence[Candidate]) -> list[Figure]:
    """Error against each cost that is known, with the Pareto front."""
    shapes = phases(contents.candidates)
    names = {shape: name for name, shape in shapes.items()}
    figures = []
    for cost in costs(contents.candidates):
        best = front(contents.candidates, cost)
        points = [
            Point(
                x=cost_of(one, cost),
                y=one.error,
                number=index,
                shape=shapes[one.strategy],
                partial=one.partial,
            )
            for index, one in enumerate(shown)
        ]
        scale, where = _COST_SCALES[cost], split_in_words(contents)
        draw = partial(
            point_chart,
            points,
            scale,
            Scale(name=f"{where} error, generated weights", words=formatting.short_percent),
            f"{where} error against {scale.name}.",
            stairs=[(cost_of(one, cost), one.error) for one in best],
        )
        figures.append(
            Figure(
                title=f"Error against {scale.name}",
                picture=in_two_sizes(draw, height=420),
                note="The line is the Pareto front: "
                f"{formatting.several(len(best), 'candidate')} that no other beats in both.",
                key=key(names, partial=any(one.partial for one in shown)),
                name=scale.name,
            )
        )
    return figures


def agreement(contents: Contents, shown: Sequence[Candidate]) -> list[Figure]:
    """How far the ranking agrees with real accuracies, beside baselines, and the points."""
    trust = contents.trust
    if trust is None:
        return []
    found = {"SMASH score": trust} | trust["baselines"]
    found |= {f"score with {name}": each for name, each in trust.get("together", {}).items()}
    estimates = [
        Estimate(name=name, main=name == "SMASH score", **_numbers(each["kendall_tau"]))
        for name, each in found.items()
        if each["kendall_tau"]["value"] is not None
    ]
    tau = Scale(name="Kendall τ with real accuracies", words=lambda value: f"{value:.2f}")
    figures = [
        Figure(
            title="Agreement of rankings",
            picture=intervals(
                estimates, tau, f"Kendall τ of {formatting.several(len(found), 'ranking')}."
            ),
            note=f"{formatting.several(trust['n'], 'architecture')}; bars are 95% intervals "
            "(bootstrap). 1 is the same order, 0 none in common.",
        )
    ]
    numbers = {one.id: number for number, one in enumerate(shown)}
    points = [
        Point(x=score, y=truth, number=numbers.get(identity), title=identity)
        for identity, score, truth in trust.get("points", [])
        if score is not None and truth is not None
    ]
    if points:
        shown_points = spread(points, MOST_POINTS)
        few = f" {len(shown_points):,} of {len(points):,}." if len(points) > MOST_POINTS else ""
        figures.append(
            Figure(
                title="Score against the truth",
                picture=point_chart(
                    shown_points,
                    Scale(name="SMASH score"),
                    Scale(name="real accuracy"),
                    "Real accuracy against SMASH score.",
                ),
                note=f"Across: {trust['score']}. Up: {trust['truth']}.{few}",
            )
        )
    return figures


def _numbers(found: Mapping[str, float | None]) -> dict[str, float]:
    return {
        name: float("nan") if found[name] is None else float(found[name] or 0)
        for name in ("value", "low", "high")
    }


def retraining(contents: Contents) -> Figure | None:
    """Validation error of children as they are trained."""
    kept = [child for child in contents.kept if child.epochs]
    colours = {child.name: shape for shape, child in enumerate(kept[:_MOST_CURVES])}
    lines = [
        Line(
            name=child.name,
            points=_column(child.epochs, "epoch", "val_error"),
            shape=colours.get(child.name),
        )
        for child in contents.children
        if child.epochs
    ]
    if not lines:
        return None
    audited = sum(child.audited for child in contents.children)
    note = (
        f"Grey: {formatting.several(audited, 'child', 'children')} of the trust check."
        if audited
        else ""
    )
    return Figure(
        title="Training of children",
        picture=line_chart(
            lines,
            Scale(name="epochs", words=formatting.short_count),
            Scale(name="validation error", words=formatting.short_percent),
            "Validation error of "
            f"{formatting.several(len(lines), 'child', 'children')} over epochs.",
        ),
        note=note,
        key=key({shape: name for name, shape in colours.items()}),
    )


def recall(child: TrainedChild) -> Figure | None:
    """Which classes a child recognises least often."""
    split = "test" if "test" in child.result else "val"
    classes = child.record.classes
    shares = child.result[split].recall if split in child.result else []
    if len(shares) != len(classes):
        return None
    worst = sorted(zip(shares, classes, strict=True), key=lambda pair: pair[0])[:_MOST_CLASSES]
    bars = [Bar(name=str(name), value=share) for share, name in worst]
    which = "all classes" if len(bars) == len(classes) else f"the {len(bars)} hardest classes"
    return Figure(
        title="Recall by class",
        picture=bar_list(bars, formatting.percent),
        note=f"Share of each class that {child.name} recognises, {which}, on the {split} split.",
    )
