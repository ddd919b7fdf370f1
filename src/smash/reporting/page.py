"""The report of a run: one HTML page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from shlex import quote
from typing import Any

import jinja2
from markupsafe import Markup

from smash import __version__
from smash.config import SpaceSettings
from smash.errors import InvalidValueError
from smash.io.files import write_atomically
from smash.reporting import figures, formatting
from smash.reporting.contents import Contents, TrainedChild, read_contents
from smash.reporting.draw_cell import CellDrawer
from smash.reporting.draw_memory_bank import BankDrawer
from smash.reporting.drawing import LARGEST, Draw, Drawing, draw_plainly, pack_drawings
from smash.reporting.selection import (
    LISTED,
    cost_of,
    improvements,
    in_order_of_interest,
    on_the_page,
    places_of,
)
from smash.run.layout import REPORT
from smash.run.run import Run
from smash.spaces import make_space
from smash.spaces.memory_bank import MemoryBankSpace
from smash.spaces.nas_bench_201 import NasBench201Space
from smash.study.candidate import Candidate

_MOST_FRAMES = 80  # of the animation

_FILTERS = (
    formatting.coefficient,
    formatting.count,
    formatting.decimal,
    formatting.interval,
    formatting.percent,
    formatting.plain,
    formatting.short_count,
    formatting.size,
    quote,
)


def report(run: Run | str | Path) -> Path:
    """Writes ``report.html`` into a run folder, from the content of that folder alone.

    Args:
        run: The run, or its folder; it may be unfinished.

    Returns:
        Path of the page.

    Raises:
        NotFoundError: There is no run at this path.
        RunStateError: A file of the run is damaged.

    Example:
        >>> report("runs/digits").name
        'report.html'
    """
    folder = run.path if isinstance(run, Run) else Path(run)
    path = folder / REPORT
    write_atomically(path, formatting.encoded(page(read_contents(folder))))
    return path


def page(contents: Contents, largest: int = LARGEST) -> str:
    """Renders the page.

    Args:
        contents: The run.
        largest: The most bytes of the page; drawings that do not fit are left out.
    """
    shown = on_the_page(contents)
    artist = Artist(contents, shown)
    trained = [child for child in contents.kept if child.result]
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {each.__name__: each for each in _FILTERS}
    best = contents.winner
    winner = _headline(best, trained)
    render = partial(
        environment.from_string(_asset("page.html.j2")).render,
        contents=contents,
        best=best,
        drawing=best and artist(best).html,
        listed=contents.complete[:LISTED],
        ranks=contents.ranks,
        trained=trained,
        winner=winner,
        unfinished=[child for child in contents.kept if not child.result],
        training_words=_training_words,
        style=Markup(_asset("page.css")),  # noqa: S704 # our own files
        script=Markup(_asset("page.js")),  # noqa: S704
        numbers={candidate.id: number for number, candidate in enumerate(shown)},
        progress=figures.progress(contents, shown) if best else None,
        costs=figures.error_against_cost(contents, shown) if best else [],
        distribution=figures.distribution(contents) if best else None,
        training=figures.training(contents),
        correlation=figures.rank_correlation(contents, shown),
        retraining=figures.retraining(contents),
        recall=figures.recall(winner) if winner else None,
        confusion=figures.confusion(winner) if winner else None,
        best_score=best and figures.score_text(contents, best),
        score_name=figures.score_name(contents),
        split=figures.split_name(contents),
        version=__version__,
    )
    data = _data(contents, shown, artist)
    free = largest - len(formatting.encoded(render(data=data)))
    return render(data={**data, "drawings": _drawings(contents, shown, artist, free)})


def _headline(best: Candidate | None, trained: Sequence[TrainedChild]) -> TrainedChild | None:
    """Selects the child of the headline: the winner's if it was trained, else the best one."""
    of_best = [child for child in trained if best and child.origin == best.id]
    return next(iter([*of_best, *trained]), None)


class Artist:
    """Draws the candidates of a run, of any space.

    Where the space has no drawing of its own, or the architecture does not fit it, the drawing is a
    table of readable features and the JSON.

    Args:
        contents: The run.
        shown: Candidates that may be drawn.
    """

    def __init__(self, contents: Contents, shown: Sequence[Candidate]) -> None:
        self._readable = contents.readable(shown)
        self._draw = _drawer(contents.settings.space, shown)
        self._drawn: dict[str, Drawing] = {}

    def __call__(self, candidate: Candidate) -> Drawing:
        """Draws a candidate; the drawing is kept."""
        if candidate.id not in self._drawn:
            self._drawn[candidate.id] = self._drawing(candidate)
        return self._drawn[candidate.id]

    def _drawing(self, candidate: Candidate) -> Drawing:
        if self._draw is not None:
            try:
                return self._draw(candidate.architecture)
            except InvalidValueError:
                pass
        return draw_plainly(candidate.architecture, self._readable.get(candidate.id, {}))


def _drawer(settings: SpaceSettings, shown: Sequence[Candidate]) -> Draw | None:
    if not shown:
        return None
    dims = _dims(shown[0].architecture)
    try:
        space = make_space(settings, dims)
    except InvalidValueError:
        return None
    if isinstance(space, MemoryBankSpace):
        return BankDrawer(space.options)
    if isinstance(space, NasBench201Space):
        return CellDrawer(space.options)
    return None


def _dims(architecture: Mapping[str, Any]) -> int:
    """Gives the number of spatial axes of a memory-bank architecture; 2 if it does not tell."""
    try:
        return len(architecture["blocks"][0]["ops"][0]["grid"][0]["kernel"])
    except (KeyError, IndexError, TypeError):
        return 2


def _drawings(
    contents: Contents, shown: Sequence[Candidate], artist: Artist, free: int
) -> dict[str, str]:
    """Packs drawings by the candidate's number, as many as fit into so many bytes."""
    numbers = {candidate.id: str(number) for number, candidate in enumerate(shown)}
    wanted = (each for each in in_order_of_interest(contents) if each.id in numbers)
    packed = pack_drawings(wanted, artist, free)
    return {numbers[name]: drawing for name, drawing in packed.items()}


def _data(contents: Contents, shown: Sequence[Candidate], artist: Artist) -> dict[str, Any]:
    """Gathers the data of the page's script: tooltips of candidates and the animation."""
    numbers = {candidate.id: number for number, candidate in enumerate(shown)}
    ranks, places = contents.ranks, places_of(shown, contents.candidates)
    return {
        "candidates": [
            {
                "title": f"Rank {ranks[candidate.id]} · {candidate.id}",
                "lines": _tooltip(candidate, contents.fronts),
                "words": artist(candidate).words,
            }
            for candidate in shown
        ],
        "drawings": {},
        "frames": [
            {
                "i": numbers[candidate.id],
                "words": f"After {formatting.several(places[candidate.id] + 1, 'candidate')}: "
                f"{figures.score_text(contents, candidate)}, by {candidate.strategy}.",
            }
            for candidate in _frames(contents)
        ],
        "order": sorted(range(len(shown)), key=lambda number: ranks[shown[number].id]),
    }


def _frames(contents: Contents) -> list[Candidate]:
    """Selects the frames of the animation: each best so far, and the winner."""
    frames = [contents.candidates[number] for number in improvements(contents.candidates)]
    if contents.winner and frames[-1:] != [contents.winner]:
        frames.append(contents.winner)  # the best score alone does not win
    if len(frames) <= _MOST_FRAMES:
        return frames
    last = len(frames) - 1
    return [frames[last * index // (_MOST_FRAMES - 1)] for index in range(_MOST_FRAMES)]


def _tooltip(candidate: Candidate, known: Container[str]) -> list[str]:
    partial_score = f" (partial: {candidate.examples:,} examples)" if candidate.partial else ""
    costs = {
        "memory": lambda bytes_: f"{formatting.size(bytes_)} of RAM",
        "flash": lambda bytes_: f"{formatting.size(bytes_)} of flash",
        "latency": formatting.seconds,
    }
    others = [form(cost_of(candidate, name)) for name, form in costs.items() if name in known]
    return [
        f"error {formatting.percent(candidate.error)}, loss {formatting.decimal(candidate.loss)}"
        f"{partial_score}",
        ", ".join([f"{candidate.params:,} parameters", f"{candidate.macs:,} MACs", *others]),
        f"{candidate.strategy} {candidate.index}",
    ]


def _training_words(child: TrainedChild) -> str:
    """Describes how a child was trained."""
    settings = child.record.settings
    return f"{settings.length_in_words}, {settings.recipe}, {settings.init}"


def _asset(name: str) -> str:
    return resources.files("smash.reporting").joinpath(name).read_text(encoding="utf-8")
