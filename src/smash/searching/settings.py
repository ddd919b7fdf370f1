"""The settings of `smash.search`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from smash.config import Count, Device, Minutes, Option, RayAddress, Seed, Settings
from smash.errors import faults_of
from smash.io.units import Bytes, Seconds
from smash.profiling.command import command_name, split_command
from smash.runtime.names import Precision
from smash.scoring.score import SCORED_EXAMPLES, RankBy

if TYPE_CHECKING:
    from smash.profiling.budget import Budget

LatencyFormat = Literal["onnx", "pte", "pt2", "py"]
StrategyName = Literal["perturbation", "gradient", "evolution", "nsga2"]

_MOST = 10**7  # proposals of a strategy: ten times as many candidates as a study can hold
_Proposals = Annotated[int, Field(ge=0, le=_MOST)]
_EVOLVING = ("evolution", "nsga2")
_PERTURBING = {"random": 500, "perturb": 100, "markov": 100, "evolve": 0}
_EVOLUTION = {"random": 100, "perturb": 0, "markov": 0, "evolve": 600}
_FREE = {
    *_PERTURBING,
    "minutes",
    "batch_size",
    "latency_timeout",
    "device",
    "storage",
    "ray",
}  # may change when it is resumed


class SearchSettings(Settings):
    """The settings of `smash.search`.

    Example:
        >>> settings = SearchSettings(random=200, max_params=30_000)
        >>> settings.given()
        {'random': 200, 'max_params': 30000}
        >>> settings.resolved("memory-bank").perturb
        100
    """

    random: Annotated[
        int | None, Field(ge=1, le=_MOST), Option(default="500, or 100 with evolution")
    ] = None
    """Architectures to sample at random."""

    perturb: Annotated[_Proposals | None, Option(default="100, or 0 with evolution")] = None
    """Mutations of the best random architecture."""

    markov: Annotated[_Proposals | None, Option(default="100, or 0 with evolution")] = None
    """Steps of a Markov chain from the best architecture."""

    evolve: Annotated[_Proposals | None, Option(default="600 with evolution, else 0")] = None
    """Candidates of evolution."""

    minutes: Minutes | None = None
    """Time to search for. The numbers of architectures then say how it is shared among strategies.
    With storage, only this search ends with it."""

    strategy: StrategyName = "perturbation"
    """How mutations are proposed: at random, by the gradient of the loss with respect to the
    encoding, by regularised evolution, or by NSGA-II for several objectives."""

    objectives: Annotated[tuple[str, ...], Option(metavar="NAME,NAME,...")] = ()
    """Minimise several objectives by NSGA-II: error, loss or top5_error, and params, macs, memory,
    flash or latency."""

    max_params: Count | None = None
    """Most parameters of a child."""

    max_macs: Count | None = None
    """Most multiply-accumulates of a child for one input."""

    max_memory: Annotated[Bytes | None, Option(metavar="SIZE")] = None
    """Most RAM for the activations of one input in int8, such as 64KiB."""

    max_flash: Annotated[Bytes | None, Option(metavar="SIZE")] = None
    """Most flash for the weights and the graph of a child in int8, such as 100KB."""

    max_latency: Annotated[Seconds | None, Option(metavar="TIME")] = None
    """Most time of a child for one input, such as 5ms."""

    latency_command: Annotated[str | None, Option(metavar="'COMMAND {model}'")] = None
    """Time each candidate by a command, which prints seconds, or JSON with seconds and, if known,
    memory_bytes and flash_bytes."""

    latency_format: LatencyFormat = "onnx"
    """Format of the file that replaces {model}."""

    latency_timeout: Annotated[Seconds, Option(metavar="TIME")] = 60
    """Time after which the command is stopped. It is tried twice."""

    latency_table: Annotated[str | None, Option(metavar="CSV")] = None
    """Add up the seconds of a candidate's operators from a table, which smash show --operators
    lists."""

    rank_by: RankBy = "loss"
    """The part of the score that ranks."""

    examples: Count = SCORED_EXAMPLES
    """Validation examples to score on; a fixed sample if there are more."""

    full: bool = False
    """Score all candidates on all examples, without a race."""

    keep: Count = 10
    """Number of best candidates that a race tells apart."""

    prior: Annotated[
        str | None,
        Option(
            default="none for memory banks, paths+generated-synflow+az-nas for nas-bench-201, "
            "else macs"
        ),
    ] = None
    """Rank by score and this proxy together: params, macs, naswot, swap, synflow, az-nas or
    generated-synflow, or several joined by +; none ranks by the score alone. With main-effects in
    front, as in main-effects+macs, the score is drawn half way to the sum of what each choice
    does; with paths, for cells, of what their paths hold."""

    prefilter: Annotated[str | None, Option(metavar="PROXY[:SHARE]")] = None
    """Score only the best quarter, or another share, of the random architectures by a proxy."""

    rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Probability that a mutation redraws a setting of an architecture."""

    seed: Seed = 0
    """Seed of the proposals."""

    split: Literal["val", "test"] = "val"
    """Split to score on. Ranking by test spoils the test; only the original did."""

    precision: Precision = "fp32"
    """Numeric precision of predictions; auto is bf16 on a GPU and fp32 elsewhere."""

    batch_size: Annotated[Count | None, Option(default="100 on a CPU, 250 elsewhere")] = None
    """Examples that are predicted at once."""

    device: Device = "auto"
    """Device to compute on: cpu, cuda, mps or auto."""

    storage: Annotated[str | None, Option(metavar="URL")] = None
    """Keep the study on a PostgreSQL server, postgresql://USER@HOST/DATABASE."""

    ray: RayAddress = None
    """Ray cluster to score on."""

    @property
    def budget(self) -> Budget:
        """The limits on what a child may cost."""
        from smash.profiling.budget import Budget

        return Budget(**{name: getattr(self, name) for name in Budget.model_fields})

    @property
    def times_children(self) -> bool:
        """Whether the latency of each candidate is measured."""
        return self.max_latency is not None or "latency" in self.objectives

    def resolved(self, space: str) -> SearchSettings:
        """Fills in the defaults that depend on other settings.

        Args:
            space: Name of the search space.
        """
        from smash.scoring.priors import NO_PRIOR, choose_prior
        from smash.searching.objectives import quality_of

        changes: dict[str, Any] = {}
        if self.objectives:
            changes = {"strategy": "nsga2", "rank_by": quality_of(self.objectives), "full": True}
        defaults = _EVOLUTION if self._evolves else _PERTURBING
        changes |= {name: n for name, n in defaults.items() if getattr(self, name) is None}
        # Candidates that are best by several objectives are not ranked by one.
        prior = None if self.objectives and self.prior is None else choose_prior(self.prior, space)
        return self.replaced(**changes, prior=prior or NO_PRIOR)

    def identity(self) -> dict[str, Any]:
        """Returns what must not change between searches of one study, as plain JSON.

        The settings must be resolved.
        """
        from smash.scoring.priors import NO_PRIOR, Prefilter

        table = self.latency_table
        return self.model_dump(mode="json", exclude=_FREE) | {
            # A study may leave this machine.
            "latency_command": self.latency_command and command_name(self.latency_command),
            "latency_table": table and Path(table).name,
            "prior": None if self.prior == NO_PRIOR else self.prior,
            "prefilter": self.prefilter and str(Prefilter.parse(self.prefilter)),
        }

    @property
    def _evolves(self) -> bool:
        return bool(self.objectives) or self.strategy in _EVOLVING

    def rules(self) -> list[str]:
        """Requires settings that fit together, and names that exist."""
        faults = []
        if self.objectives:
            from smash.searching.objectives import objective_faults

            faults = objective_faults(self.objectives)
        faults += self._strategy_faults()
        faults += self._latency_faults()
        if "keep" in self.model_fields_set and self.full:
            faults.append(f"keep is for a race, got {self.keep} and no race: leave it out")
        if self.prior is not None:
            from smash.scoring.priors import NO_PRIOR, check_proxy

            if self.prior != NO_PRIOR:
                faults += faults_of(lambda: check_proxy("prior", self.prior))
        if self.prefilter is not None:
            from smash.scoring.priors import Prefilter

            faults += faults_of(lambda: Prefilter.parse(str(self.prefilter)))
        if self.storage is not None:
            from smash.study.postgres import parse_url

            faults += faults_of(lambda: parse_url(str(self.storage)))
        return faults

    def _latency_faults(self) -> list[str]:
        faults = []
        if self.latency_command is not None:
            faults += faults_of(lambda: split_command(str(self.latency_command)))
        sources = [
            name for name in ("latency_command", "latency_table") if getattr(self, name) is not None
        ]
        if len(sources) > 1:
            faults.append(f"{' and '.join(sources)} exclude each other, got both: leave one out")
        if self.latency_command is None:
            faults += [
                f"{name} is for a latency_command, got none: add it, or leave {name} out"
                for name in ("latency_format", "latency_timeout")
                if name in self.model_fields_set
            ]
        if sources and not self.times_children:
            faults.append(
                f"{sources[0]} needs max_latency or the objective latency, got neither: add one"
            )
        return faults

    def _strategy_faults(self) -> list[str]:
        remedy = "use evolve" if self._evolves else "use strategy evolution, or objectives"
        faults = [
            f"{name} must be 0 with strategy {self.strategy!r}, got {getattr(self, name)}: {remedy}"
            for name, default in (_EVOLUTION if self._evolves else _PERTURBING).items()
            if not default and getattr(self, name)
        ]
        if self.objectives and self.strategy not in ("perturbation", "nsga2"):
            faults.append(
                f"strategy must be 'nsga2' for several objectives, got {self.strategy!r}: leave it "
                "out"
            )
        if self.strategy == "nsga2" and not self.objectives:
            faults.append("strategy 'nsga2' needs objectives, got none: add, say, error,params")
        if self.strategy == "gradient" and self.perturb == 0:
            faults.append("strategy 'gradient' is for perturb, got 0: add perturb")
        given = "rank_by" in self.model_fields_set  # else it follows from them
        if self.objectives and given and self.rank_by not in self.objectives:
            faults.append(
                f"rank_by must be among the objectives, got {self.rank_by!r}: leave it out"
            )
        return faults
