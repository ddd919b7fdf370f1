"""The settings of `smash.correlate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from smash.config import MOST, ChildSettings, Count, Epochs, Minutes, Option
from smash.errors import faults_of, unknown
from smash.training.settings import ChildrenSettings

Half = Literal["first", "second"]

FEWEST = 3
"""The fewest architectures that are ranked."""


class CorrelateSettings(ChildrenSettings):
    """The settings of `smash.correlate`.

    Example:
        >>> CorrelateSettings(train=30, epochs=10).child.epochs
        10
    """

    table: Annotated[Path | None, Option(metavar="FILE")] = None
    """CSV file of real accuracies, with a column 'architecture' in the space's text form."""

    column: str | None = None
    """The column of the table's accuracies."""

    lower_is_better: bool = False
    """The column holds errors or losses."""

    half: Half | None = None
    """A fixed half of the table: first or second."""

    limit: Annotated[int | None, Field(ge=FEWEST, le=MOST), Option(default="the whole table")] = (
        None
    )
    """Architectures of the table to compare."""

    train: Annotated[int | None, Field(ge=FEWEST, le=MOST)] = None
    """Instead of a table, train this many candidates from all over the ranking, and judge them on
    examples that are cut from the training split."""

    minutes: Minutes | None = None
    """Train candidates briefly and alike until the ranking agrees with them beyond chance, for so
    long at most, and as many as train says. An interrupted check has that time anew."""

    epochs: Annotated[Epochs, Option(default="30, or as minutes allow")] = 30
    """Epochs of each training."""

    proxies: Annotated[tuple[str, ...], Option(flags=("--proxy",))] = ()
    """Compare with naswot, swap, synflow, generated-synflow or az-nas; repeatable, or with
    commas."""

    prior: Annotated[
        str | None, Option(default="that of the search; of a table, that of the space")
    ] = None
    """Join the score with params, macs, naswot, swap, synflow, generated-synflow or az-nas, or
    several joined by +, or none; with main-effects in front the score is drawn half way to the sum
    of what each choice does, with paths to that of what the paths of a cell hold."""

    rank_by: Annotated[
        Literal["loss", "error", "top5_error"] | None, Option(default="loss, or as the search")
    ] = None
    """Score to rank by, on validation examples."""

    examples: Annotated[Count | None, Option(default="2000")] = None
    """Validation examples to score a table's architectures on."""

    init: Literal["scratch"] = "scratch"
    """Initial weights; real accuracies need freshly drawn ones."""

    def rules(self) -> list[str]:
        """Requires one source of real accuracies, settings that belong to it, and known names."""
        faults = super().rules()
        given = self.given().keys()
        trained = self.train is not None or self.minutes is not None
        if (self.table is None) != trained:
            count = "both" if trained else "neither"
            faults.append(
                "give either a table of real accuracies, or a number or minutes to train: got "
                f"{count}"
            )
        elif self.table is not None:
            if self.column is None:
                faults.append(f"column is missing: name the column of accuracies in {self.table}")
            faults += [
                f"{name} is for trained candidates, not for a table: leave it out"
                for name in sorted(given & {*ChildSettings.model_fields, "ray", "workers"})
            ]
        else:
            of_tables = {"column", "lower_is_better", "half", "limit", "examples"}
            faults += [
                f"{name} is for a table: leave it out, or name a table"
                for name in sorted(given & of_tables)
            ]
        if given & {"proxies", "prior"}:
            faults += self._proxy_faults()
        return faults

    def _proxy_faults(self) -> list[str]:
        from smash.scoring.priors import NO_PRIOR, check_proxy
        from smash.scoring.proxy_names import COMPUTED_PROXIES

        faults = [
            unknown("proxy", each, COMPUTED_PROXIES)
            for each in self.proxies
            if each not in COMPUTED_PROXIES
        ]
        prior = None if self.prior == NO_PRIOR else self.prior
        return faults + faults_of(lambda: check_proxy("prior", prior))
