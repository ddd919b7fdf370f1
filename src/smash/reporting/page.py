"""The report: one HTML page that needs nothing else, put together from a run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from smash import __version__
from smash.errors import InvalidValueError
from smash.io.files import write_atomically
from smash.reporting import figures, formatting
from smash.reporting.contents import Contents, TrainedChild, read_contents
from smash.reporting.draw_cell import CellDrawer
from smash.reporting.draw_memory_bank import BankDrawer
from smash.reporting.drawing import LARGEST, Draw, Drawing, draw_plainly, pack_drawings
from smash.reporting.selection import (
    cost_of,
    costs,
    improvements,
    in_order_of_interest,
    on_the_page,
)
from smash.run.run import Run
from smash.spaces import make_space
from smash.spaces.memory_bank import MemoryBankSpace
from smash.spaces.nas_bench_201 import NasBench201Space
from smash.study.study import Candidate

REPORT = "report.html"
_LISTED = 12  # candidates in the table
_MOST_FRAMES = 80  # of the film


def report(run: Run | str | Path) -> Path:
    """Writes ``report.html`` into a run folder, from what is in that folder alone.

    Args:
        run: The run, or its folder. What is not there yet, such as a search, is left out.

    Returns:
        Where the page is.

    Raises:
        NotFoundError: There is no run at this path.
        RunStateError: A file of it is damaged.
    """
    folder = run.path if isinstance(run, Run) else Path(run)
    path = folder / REPORT
    write_atomically(path, page(read_contents(folder)).encode())
    return path


def page(contents: Contents, largest: int = LARGEST) -> str:
    """The page as text.

    Args:
        contents: The run.
        largest: How many bytes it may have; what does not fit is drawings.
    """
    shown = on_the_page(contents)
    artist = Artist(contents)
    trained = [child for child in contents.kept if child.result]
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "percent": formatting.percent,
        "decimal": formatting.decimal,
        "count": formatting.count,
        "short_count": formatting.short_count,
        "plain": formatting.plain,
    }
    best = contents.complete[0] if contents.complete else None
    winner = _headline(best, trained)
    render = partial(
        environment.from_string(_asset("page.html.j2")).render,
        contents=contents,
        best=best,
        drawing=best and artist(best).html,
        listed=contents.complete[:_LISTED],
        ranks=contents.ranks,
        trained=trained,
        winner=winner,
        unfinished=[child for child in contents.kept if not child.result],
        recipe=_recipe,
        style=Markup(_asset("page.css")),  # noqa: S704 # our own files
        script=Markup(_asset("page.js")),  # noqa: S704
        numbers={one.id: number for number, one in enumerate(shown)},
        course=figures.course(contents, shown) if best else None,
        costs=figures.error_against_cost(contents, shown) if best else [],
        distribution=figures.distribution(contents) if best else None,
        training=figures.training(contents),
        agreement=figures.agreement(contents, shown),
        retraining=figures.retraining(contents),
        recall=figures.recall(winner) if winner else None,
        won=best and figures.value_in_words(contents, best),
        measure=figures.measure_in_words(contents),
        split=figures.split_in_words(contents),
        version=__version__,
    )
    data = _data(contents, shown, artist)
    free = largest - len(render(data=data).encode())
    return render(data={**data, "drawings": _drawings(contents, shown, artist, free)})


def _headline(best: Candidate | None, trained: Sequence[TrainedChild]) -> TrainedChild | None:
    """The child to speak of first: the winner's if it was trained, else the best by validation."""
    own = [child for child in trained if best and child.what == best.id]
    return next(iter([*own, *trained]), None)


class Artist:
    """Draws candidates of a run, whatever its space.

    A space that this program does not know, or an architecture that does not fit it, is shown by
    its readable features and its JSON.
    """

    def __init__(self, contents: Contents) -> None:
        self._readable = contents.readable
        self._draw = _drawer(contents)
        self._drawn: dict[str, Drawing] = {}

    def __call__(self, candidate: Candidate) -> Drawing:
        """Draws a candidate, once."""
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


def _drawer(contents: Contents) -> Draw | None:
    if not contents.candidates:
        return None
    settings = contents.settings.space
    dims = _dims(contents.candidates[0].architecture)
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
    """Spatial axes of an architecture of memory banks; 2 where it does not say."""
    try:
        return len(architecture["blocks"][0]["ops"][0]["grid"][0]["kernel"])
    except (KeyError, IndexError, TypeError):
        return 2


def _drawings(
    contents: Contents, shown: Sequence[Candidate], artist: Artist, free: int
) -> dict[str, str]:
    """Drawings of candidates by their number, as many as fit into so many bytes."""
    numbers = {one.id: str(number) for number, one in enumerate(shown)}
    wanted = (one for one in in_order_of_interest(contents) if one.id in numbers)
    return {numbers[name]: one for name, one in pack_drawings(wanted, artist, free).items()}


def _data(contents: Contents, shown: Sequence[Candidate], artist: Artist) -> dict[str, Any]:
    """What the page's program knows: a few words of each candidate, and the film; no drawings."""
    numbers = {one.id: number for number, one in enumerate(shown)}
    ranks = contents.ranks
    describe = partial(_described, contents, ranks, costs(contents.candidates), artist)
    places = {one.id: number for number, one in enumerate(contents.candidates)}
    return {
        "candidates": [describe(one) for one in shown],
        "drawings": {},
        "frames": [
            {
                "i": numbers[one.id],
                "words": f"After {formatting.several(places[one.id] + 1, 'candidate')}: "
                f"{figures.value_in_words(contents, one)}, by {one.strategy}.",
            }
            for one in _film(contents)
        ],
        "order": [numbers[one.id] for one in sorted(shown, key=lambda one: ranks[one.id])],
    }


def _film(contents: Contents) -> list[Candidate]:
    """The best so far at each time that it changed, and the winner."""
    frames = [contents.candidates[number] for number in improvements(contents.candidates)]
    winner = contents.complete[:1]
    if frames[-1:] != winner:
        frames += winner  # where not the score alone ranks
    if len(frames) <= _MOST_FRAMES:
        return frames
    last = len(frames) - 1
    return [frames[last * index // (_MOST_FRAMES - 1)] for index in range(_MOST_FRAMES)]


def _described(
    contents: Contents,
    ranks: Mapping[str, int],
    known: Sequence[str],
    artist: Artist,
    one: Candidate,
) -> dict[str, Any]:
    partial_score = f" (partial: {one.examples:,} examples)" if one.partial else ""
    lines = [
        f"error {formatting.percent(one.error)}, loss {formatting.decimal(one.loss)}"
        f"{partial_score}",
        f"{one.params:,} parameters, {one.macs:,} MACs",
        f"{one.strategy} {one.index}",
    ]
    if "latency" in known:
        lines[1] += f", {formatting.seconds(cost_of(one, 'latency'))}"
    return {"title": f"Rank {ranks[one.id]} · {one.id}", "lines": lines, "words": artist(one).words}


def _recipe(child: TrainedChild) -> str:
    """How a child was trained, in a few words."""
    settings = child.record.settings
    return f"{formatting.several(settings.epochs, 'epoch')}, {settings.recipe}, {settings.init}"


def _asset(name: str) -> str:
    return resources.files("smash.reporting").joinpath(name).read_text(encoding="utf-8")
