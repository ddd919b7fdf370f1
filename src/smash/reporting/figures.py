"""The figures of a report: one function gathers the numbers of each, another draws it."""

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
    count_table,
    histograms,
    in_two_sizes,
    intervals,
    legend,
    line_chart,
    point_chart,
)
from smash.reporting.contents import Contents, TrainedChild
from smash.reporting.selection import (
    MOST_POINTS,
    cost_of,
    improvements,
    places_of,
    spread,
)
from smash.run.trust import Trust
from smash.study.candidate import Candidate

_MOST_CURVES = 6  # children whose curves have colours of their own
_MOST_CLASSES = 20  # classes whose recall is shown

_COST_SCALES: Mapping[str, Scale] = {
    "params": Scale(name="parameters", format=formatting.short_count, log=True),
    "macs": Scale(name="MACs for one input", format=formatting.short_count, log=True),
    "memory": Scale(name="RAM of activations in int8", format=formatting.size, log=True),
    "flash": Scale(name="flash in int8", format=formatting.size, log=True),
    "latency": Scale(name="latency of the child", format=formatting.seconds, log=True),
}
_SCORE_SCALES: Mapping[str, Scale] = {
    "loss": Scale(name="loss, nats"),
    "error": Scale(name="error", format=formatting.short_percent),
    "top5_error": Scale(name="top-5 error", format=formatting.short_percent),
}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture with its title and caption.

    Attributes:
        title: Title of the figure.
        picture: The picture.
        note: Explains how to read the picture.
        legend: Explains its markers and colours.
        name: Label of the button that selects it, among figures of one kind.
    """

    title: str
    picture: Markup
    note: str = ""
    legend: Markup | None = None
    name: str = ""


def phases(candidates: Sequence[Candidate]) -> dict[str, int]:
    """Numbers the strategies in the order in which they began; the number is their shape."""
    strategies = dict.fromkeys(candidate.strategy for candidate in candidates)
    return {name: shape for shape, name in enumerate(strategies)}


def score_scale(contents: Contents) -> Scale:
    """Gives the axis of the score that ranks."""
    scale = _SCORE_SCALES[contents.rank_by]
    return Scale(name=f"{split_name(contents)} {scale.name}", format=scale.format)


def split_name(contents: Contents) -> str:
    """Names the split that candidates were scored on; the test split in capitals, as a warning."""
    split = contents.candidates[0].split if contents.candidates else "val"
    return SPLITS.get(split, split)


def score_name(contents: Contents) -> str:
    """Names the score that ranks: ``validation loss``."""
    return score_scale(contents).name.removesuffix(", nats")


def score_text(contents: Contents, candidate: Candidate) -> str:
    """Formats the score of a candidate: ``validation loss 0.118``."""
    number = formatting.decimal if contents.rank_by == "loss" else formatting.percent
    return f"{score_name(contents)} {number(candidate.value)}"


def training_curves(contents: Contents) -> dict[str, list[Line]]:
    """Gathers the curves of loss and error of the SMASH network; those without any are left out."""
    rows = contents.curves
    split = SPLITS["test" if any(row.get("split") == "test" for row in rows) else "val"]
    columns = {
        "loss": {"train_loss": "training", "val_loss": split},
        "error": {"val_error": split, "val_top5_error": f"{split}, top 5"},
    }
    curves = {
        score: [
            Line(name=name, points=_column(rows, "step", column), shape=shape)
            for shape, (column, name) in enumerate(names.items())
            if any(column in row for row in rows)
        ]
        for score, names in columns.items()
    }
    return {score: lines for score, lines in curves.items() if lines}


def training(contents: Contents) -> list[Figure]:
    """Shows loss and error of the SMASH network over its training."""
    steps = Scale(name="training steps", format=formatting.short_count)
    figures = []
    for score, lines in training_curves(contents).items():
        title, length = score.capitalize(), formatting.count(contents.curves[-1]["step"])
        label = f"{title} of the SMASH network over {length} steps."
        figures.append(
            Figure(
                title=title,
                picture=line_chart(lines, steps, _SCORE_SCALES[score], label),
                note="Each batch has a random architecture: an average over architectures.",
                legend=legend({shape: line.name for shape, line in enumerate(lines)}),
            )
        )
    return figures


def _column(rows: Sequence[Mapping[str, float]], x: str, y: str) -> list[tuple[float, float]]:
    return [(row[x], row[y]) for row in rows if row.get(y) is not None]


def _points(
    contents: Contents, shown: Sequence[Candidate], x: Mapping[str, float], y: Mapping[str, float]
) -> list[Point]:
    """Makes the points of candidates, from values on both axes by the candidate's id."""
    shapes = phases(contents.candidates)
    return [
        Point(
            x=x[candidate.id],
            y=y[candidate.id],
            number=number,
            shape=shapes[candidate.strategy],
            partial=candidate.partial,
        )
        for number, candidate in enumerate(shown)
    ]


def _share_of_points(contents: Contents, shown: Sequence[Candidate]) -> str:
    """Says which candidates are drawn, where they are not all."""
    every = len(contents.candidates)
    if len(shown) == every:
        return ""
    return (
        f" The points are {len(shown):,} of the {every:,} candidates: the best by score and by "
        "cost, and an even share of the others."
    )


def _phase_legend(contents: Contents, shown: Sequence[Candidate]) -> Markup:
    names = {shape: name for name, shape in phases(contents.candidates).items()}
    return legend(names, partial=any(candidate.partial for candidate in shown))


def progress(contents: Contents, shown: Sequence[Candidate]) -> Figure:
    """Shows all scores in the order in which they were found, and the best so far."""
    candidates, scale = contents.candidates, score_scale(contents)
    places = places_of(shown, candidates)
    values = {candidate.id: candidate.value for candidate in shown}
    draw = partial(
        point_chart,
        _points(contents, shown, places, values),
        Scale(name="candidates scored", format=formatting.short_count),
        scale,
        f"{scale.name} of each candidate in the order of scoring.",
        stairs=[(place, candidates[place].value) for place in improvements(candidates)],
        cursor=True,
    )
    return Figure(
        title="The course of the search",
        picture=in_two_sizes(draw, height=300),
        note="The line is the best so far." + _share_of_points(contents, shown),
        legend=_phase_legend(contents, shown),
    )


def score_groups(contents: Contents) -> list[Group]:
    """Gathers the full scores of each phase of the search."""
    groups, scale = [], score_scale(contents)
    for name, shape in phases(contents.candidates).items():
        phase = [candidate for candidate in contents.candidates if candidate.strategy == name]
        values = [candidate.value for candidate in phase if not candidate.partial]
        note = formatting.several(len(phase), "candidate")
        if values:
            note += f", best {scale.format(min(values))}"
        groups.append(Group(name=name, values=values, shape=shape, note=note))
    return groups


def distribution(contents: Contents) -> Figure:
    """Shows the distribution of scores in each phase of the search."""
    scale = score_scale(contents)
    label = f"Distribution of {scale.name} in each phase."
    note = "Full line: the best of a phase; dashed: its median."
    if dropped := sum(candidate.partial for candidate in contents.candidates):
        note += f" {formatting.several(dropped, 'candidate')} dropped early, with partial scores, "
        note += "left out."
    return Figure(
        title="Scores by phase of the search",
        picture=histograms(score_groups(contents), scale, label),
        note=note,
    )


def error_against_cost(contents: Contents, shown: Sequence[Candidate]) -> list[Figure]:
    """Shows error against each cost that all candidates have, with the Pareto front."""
    split, figures = split_name(contents), []
    errors = {candidate.id: candidate.error for candidate in shown}
    for cost, front in contents.fronts.items():
        scale = _COST_SCALES[cost]
        corners = dict.fromkeys((cost_of(each, cost), each.error) for each in front)
        draw = partial(
            point_chart,
            _points(contents, shown, {each.id: cost_of(each, cost) for each in shown}, errors),
            scale,
            Scale(name=f"{split} error, generated weights", format=formatting.short_percent),
            f"{split} error against {scale.name}.",
            stairs=list(corners),
        )
        figures.append(
            Figure(
                title=f"Error against {scale.name}",
                picture=in_two_sizes(draw, height=420),
                note="The line is the Pareto front: "
                f"{formatting.several(len(front), 'candidate')} that no other beats in both."
                + _share_of_points(contents, shown),
                legend=_phase_legend(contents, shown),
                name=scale.name,
            )
        )
    return figures


def rank_correlation(contents: Contents, shown: Sequence[Candidate]) -> list[Figure]:
    """Shows how well rankings agree with real accuracies, and score against accuracy."""
    if contents.trust is None:
        return []
    scatter = _score_against_truth(contents.trust, shown)
    return [_correlations(contents.trust), *([scatter] if scatter else [])]


def correlation_estimates(trust: Trust) -> list[Estimate]:
    """Gathers Kendall's τ of each ranking, the score first; undefined ones are left out."""
    rankings = {"SMASH score": trust, **trust.baselines}
    rankings |= {f"score with {name}": each for name, each in trust.together.items()}
    return [
        Estimate(name=name, main=each is trust, **dict(each.kendall_tau))
        for name, each in rankings.items()
        if each.kendall_tau.is_defined
    ]


def _correlations(trust: Trust) -> Figure:
    tau = Scale(name="Kendall τ with real accuracies", format=formatting.coefficient)
    rankings = formatting.several(1 + len(trust.baselines) + len(trust.together), "ranking")
    return Figure(
        title="Agreement of rankings",
        picture=intervals(correlation_estimates(trust), tau, f"Kendall τ of {rankings}."),
        note=f"{formatting.several(trust.n, 'architecture')}; bars are 95% intervals "
        "(bootstrap). 1 is the same order, 0 none in common.",
    )


def accuracy_points(trust: Trust, shown: Sequence[Candidate]) -> list[Point]:
    """Gathers the score and the real accuracy of each architecture with a finite score."""
    numbers = {candidate.id: number for number, candidate in enumerate(shown)}
    return [
        Point(x=each.score, y=each.accuracy, number=numbers.get(each.id), title=each.id)
        for each in trust.points
        if each.has_score
    ]


def _score_against_truth(trust: Trust, shown: Sequence[Candidate]) -> Figure | None:
    points = accuracy_points(trust, shown)
    if not points:
        return None
    drawn = spread(points, MOST_POINTS)
    few = f" {len(drawn):,} of {len(points):,}." if len(points) > len(drawn) else ""
    return Figure(
        title="Score against the truth",
        picture=point_chart(
            drawn,
            Scale(name="SMASH score"),
            Scale(name="real accuracy"),
            "Real accuracy against SMASH score.",
        ),
        note=f"Across: {trust.score}. Up: {trust.truth}.{few}",
    )


def child_curves(contents: Contents) -> list[Line]:
    """Gathers the validation error of each child by epoch; children of the trust check are grey."""
    kept = [child.name for child in contents.kept if child.epochs][:_MOST_CURVES]
    shapes = {name: shape for shape, name in enumerate(kept)}
    return [
        Line(
            name=child.name,
            points=_column(child.epochs, "epoch", "val_error"),
            shape=shapes.get(child.name),
        )
        for child in contents.children
        if child.epochs
    ]


def retraining(contents: Contents) -> Figure | None:
    """Shows the validation error of children over their training."""
    lines = child_curves(contents)
    if not lines:
        return None
    audited = sum(child.audited for child in contents.children)
    of_trust = f"Grey: {formatting.several(audited, 'child', 'children')} of the trust check."
    children = formatting.several(len(lines), "child", "children")
    shown = {line.shape: line.name for line in lines if line.shape is not None}
    return Figure(
        title="Training of children",
        picture=line_chart(
            lines,
            Scale(name="epochs", format=formatting.short_count),
            Scale(name="validation error", format=formatting.short_percent),
            f"Validation error of {children} over epochs.",
        ),
        note=of_trust if audited else "",
        legend=legend(dict(sorted(shown.items()))),
    )


def hardest_classes(child: TrainedChild, split: str) -> list[Bar]:
    """Gathers the recall of the classes that a child recognises least often, the lowest first."""
    classes = child.record.classes
    shares = child.result[split].recall if split in child.result else []
    if len(shares) != len(classes):
        return []
    worst = sorted(zip(shares, classes, strict=True), key=lambda pair: pair[0])[:_MOST_CLASSES]
    return [Bar(name=str(name), value=share) for share, name in worst]


def confusion(child: TrainedChild) -> Figure | None:
    """Shows which classes a child takes for which, where they are few."""
    split = "test" if "test" in child.result else "val"
    counts = child.result[split].confusion if split in child.result else []
    classes = child.record.classes
    if not 0 < len(counts) == len(classes) <= _MOST_CLASSES:
        return None
    return Figure(
        title="Confusion matrix",
        picture=count_table(counts, classes),
        note=f"A row for each class, a column for each prediction of {child.name}, on the {split} "
        "split.",
    )


def recall(child: TrainedChild) -> Figure | None:
    """Shows the classes that a child recognises least often."""
    split = "test" if "test" in child.result else "val"
    bars = hardest_classes(child, split)
    if not bars:
        return None
    is_all = len(bars) == len(child.record.classes)
    which = "all classes" if is_all else f"the {len(bars)} hardest classes"
    return Figure(
        title="Recall by class",
        picture=bar_list(bars, formatting.percent),
        note=f"Share of each class that {child.name} recognises, {which}, on the {split} split.",
    )
