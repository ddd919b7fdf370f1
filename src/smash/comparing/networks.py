"""The networks of a comparison: the winner, other candidates, and plain networks of equal cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from smash.comparing.comparison import OVER, PLAIN, RANDOM
from smash.comparing.settings import CompareSettings
from smash.errors import InvalidValueError
from smash.profiling.budget import Budget
from smash.profiling.cost import Cost, cost_of
from smash.profiling.latency import NetworkStopwatch
from smash.run.child_folder import ChildNetwork
from smash.spaces.base import SearchSpace
from smash.spaces.baseline_names import FITTED, full_name
from smash.spaces.baselines import fit_baseline, fit_plain_network, make_baseline
from smash.spaces.plain import plain_families
from smash.spaces.task import Task
from smash.study.candidate import Candidate
from smash.training.child import network_of


@dataclass(frozen=True)
class Entrant:
    """A network that is to be compared.

    Attributes:
        role: Its role, as in `Contestant`.
        network: The network.
        latency: Seconds for one input; None where they are not known, or it does not run.
    """

    role: str
    network: ChildNetwork
    latency: float | None


class Selection:
    """Selects the networks of a comparison.

    Args:
        space: The search space.
        task: The task.
        limits: The limits of the search.
        stopwatch: Times candidates and plain networks as the search timed candidates; None where
            that cannot be repeated.
    """

    def __init__(
        self,
        space: SearchSpace[Any],
        task: Task,
        limits: Budget,
        stopwatch: NetworkStopwatch | None,
    ) -> None:
        self._space, self._task, self._limits = space, task, limits
        self._stopwatch = stopwatch

    def candidates(
        self, ranked: Sequence[Candidate], first: Sequence[Candidate], settings: CompareSettings
    ) -> Iterable[Entrant]:
        """Selects the winner, other ranks, the middle of the ranking, and random candidates.

        Args:
            ranked: All candidates, the best first.
            first: The candidates that were asked for, the winner first.
            settings: The settings of the comparison.
        """
        chosen: dict[str, Entrant] = {}

        def choose(role: str, candidate: Candidate) -> None:
            if candidate.id not in chosen:
                latency = self._latency_of(candidate)
                chosen[candidate.id] = Entrant(role, network_of(candidate), latency)

        for candidate in first:
            choose("winner" if not chosen else f"rank {ranked.index(candidate)}", candidate)
        if settings.median:
            choose("median-ranked", ranked[len(ranked) // 2])
        # Candidates drawn at random are within the limits of the search, whatever their score.
        drawn = [one for one in ranked if one.strategy == "random" and one.id not in chosen]
        rng = np.random.default_rng(settings.seed)
        for index in rng.permutation(len(drawn))[: settings.random]:
            choose(RANDOM, drawn[index])
        return chosen.values()

    def plain(self, winner: Candidate, families: Sequence[str]) -> Iterable[Entrant]:
        """Yields the widest member of each family that is within the limits and costs no more.

        Args:
            winner: The winner. No member has more parameters, operations or latency, as far as
                these were limited; if none was, no member has more parameters.
            families: Families of plain networks; all that suit the data if empty.
        """
        most = self._most(winner)
        seconds = most.pop("latency", math.inf)

        def fits(name: str) -> bool:
            cost = self._cost(name)
            if any(getattr(cost, each) > most[each] for each in most):
                return False
            # Timed last: that takes far longer.
            return self._limits.allows(cost) and not self._takes_longer(name, seconds)

        for family in families or plain_families(self._task.dims):
            name = fit_plain_network(family, fits)
            if name is not None:
                yield self._entrant(name, PLAIN, self._cost(name))

    def named(self, name: str, winner: Candidate) -> Entrant:
        """Returns a plain network by name, whether or not it is within the limits.

        Args:
            name: Name of a network, or of a family, whose member of about the winner's size it is.
            winner: The winner.
        """
        if name.lower() in FITTED:
            name = fit_baseline(name.lower(), winner.params, self._task)
        name = full_name(name)
        cost, seconds = self._cost(name), self._seconds_allowed(winner)
        within = self._limits.allows(cost) and not self._takes_longer(name, seconds)
        return self._entrant(name, PLAIN if within else OVER, cost)

    def _most(self, winner: Candidate) -> dict[str, float]:
        """Returns the costs of the winner that no plain network may exceed."""
        most: dict[str, float] = {
            name: getattr(winner, name)
            for name in ("params", "macs")
            if name in self._limits.counted
        }
        if self._limits.max_latency is not None and self._stopwatch:
            most["latency"] = self._time(winner, self._stopwatch)
        return most or {"params": winner.params}

    def _seconds_allowed(self, winner: Candidate) -> float:
        """Returns the limit on latency, or the winner's latency where load raises it above."""
        if self._limits.max_latency is None or self._stopwatch is None:
            return math.inf
        return max(self._limits.max_latency, self._time(winner, self._stopwatch))

    def _takes_longer(self, name: str, seconds: float) -> bool:
        if self._stopwatch is None or seconds == math.inf:
            return False
        return self._stopwatch.time_baseline(name, seconds) > seconds

    def _latency_of(self, candidate: Candidate) -> float | None:
        return self._time(candidate, self._stopwatch) if self._stopwatch else candidate.latency

    def _time(self, candidate: Candidate, stopwatch: NetworkStopwatch) -> float:
        return stopwatch(self._space.from_json(candidate.architecture))

    def _cost(self, name: str) -> Cost:
        return cost_of(make_baseline(name, self._task), self._task)

    def _entrant(self, name: str, role: str, cost: Cost) -> Entrant:
        seconds = self._stopwatch.time_baseline(name) if self._stopwatch else math.inf
        network = ChildNetwork(id=name.replace(":", "-"), baseline=name, **asdict(cost))
        return Entrant(role, network, seconds if seconds < math.inf else None)


def distinct(*entrants: Entrant) -> list[Entrant]:
    """Drops repeated networks, which would count as further ones in the spread over seeds."""
    first: dict[str, Entrant] = {}
    for each in entrants:
        first.setdefault(each.network.id, each)
    return list(first.values())


def check_families(families: Sequence[str], dims: int) -> None:
    """Checks that plain networks take data with so many spatial axes.

    Raises:
        InvalidValueError: Some do not.
    """
    known = plain_families(dims)
    if others := [family for family in families if family not in known]:
        raise InvalidValueError(
            f"families must be of {', '.join(known)} for data with {dims} spatial "
            f"ax{'i' if dims == 1 else 'e'}s, got {', '.join(others)}: leave that out"
        )


def check_baselines(names: Sequence[str], task: Task) -> None:
    """Checks that plain networks exist and take the data.

    Raises:
        InvalidValueError: One does not.
        MissingExtraError: timm is needed and not installed.
    """
    for name in names:
        if name.lower() not in FITTED:  # the size of which follows from the winner's
            make_baseline(name, task)
