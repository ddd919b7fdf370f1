"""The settings of `smash.compare`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field

from smash.config import MOST, Count, Option
from smash.errors import faults_of, unknown
from smash.io.units import Seconds
from smash.profiling.command import split_command
from smash.training.settings import FinalsSettings, parse_ranks


class CompareSettings(FinalsSettings):
    """The settings of `smash.compare`.

    Example:
        >>> CompareSettings(ranks="0-1", seeds=2).rank_numbers
        (0, 1)
    """

    ranks: Annotated[str | None, Option(default="the winner of the finals")] = None
    """Ranks of the candidates to train, such as 0-2; the first counts as the winner."""

    median: bool = True
    """Train the candidate in the middle of the ranking too."""

    random: Annotated[int, Field(ge=0, le=MOST)] = 2
    """Number of randomly drawn candidates to train too."""

    families: Annotated[tuple[str, ...], Option(default="all that suit the data")] = ()
    """Families of plain networks: mlperf-resnet, mobilenet, ds-cnn, cnn or inception."""

    baselines: Annotated[tuple[str, ...], Option(flags=("--with",), metavar="NAME")] = ()
    """Further plain networks by name, such as wrn-16-2, resnet18 or timm:mobilenetv3_small_050;
    resnet and wrn are of about the winner's size."""

    seeds: Count = 3
    """Trainings of each network, with successive seeds."""

    latency_command: Annotated[str | None, Option(metavar="'COMMAND {model}'")] = None
    """The command that the search timed candidates by, to time plain networks by it too."""

    latency_timeout: Annotated[Seconds, Option(metavar="TIME")] = 60
    """Time after which the command is stopped. It is tried twice."""

    @property
    def rank_numbers(self) -> tuple[int, ...]:
        """The ranks as numbers; none where the finals choose the winner."""
        return () if self.ranks is None else tuple(parse_ranks(self.ranks))

    def rules(self) -> list[str]:
        """Requires ranks that can be read, and known families."""
        faults = super().rules() + faults_of(lambda: self.rank_numbers)
        if self.ranks is not None:
            faults += self._faults_of_finals(f"with ranks {self.ranks!r}")
        if self.families:
            from smash.spaces.baseline_names import PLAIN_NAMES

            faults += [
                unknown("family", family, PLAIN_NAMES)
                for family in self.families
                if family not in PLAIN_NAMES
            ]
        if self.baselines:
            from smash.spaces.baseline_names import FITTED, full_name

            for name in self.baselines:
                if name.lower() not in FITTED:  # the size of which follows from the winner's
                    faults += faults_of(partial(full_name, name))
        if self.latency_command is not None:
            faults += faults_of(lambda: split_command(str(self.latency_command)))
        elif "latency_timeout" in self.model_fields_set:
            faults.append(
                "latency_timeout is for a latency_command, got none: add it, or leave "
                "latency_timeout out"
            )
        if self.init != "scratch":
            faults.append(
                f"init must be 'scratch' to compare, got {self.init!r}: plain networks have no "
                "generated weights to begin from"
            )
        return faults
