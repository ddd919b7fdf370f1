"""A candidate: an architecture on its way through a search."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, TypeAdapter

from smash.io.files import parse_json
from smash.io.records import Amount, Share
from smash.scoring.score import Score

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any  # pydantic would need torch, and readers of a study do not

State = Literal["proposed", "running", "settled"]

_Finite = Annotated[
    float,
    BeforeValidator(lambda value: -math.inf if value is None else value),
    PlainSerializer(lambda value: value if math.isfinite(value) else None),
]
"""A proxy's value; JSON has no infinity, so −∞ is stored as null."""


@dataclass(frozen=True, slots=True)
class Unread:
    """An architecture as its JSON text, a tenth of the memory; it is read when it is first used."""

    text: str
    read: Callable[[str], Any]


class _ReadOnUse:
    """A field whose value may be `Unread`; it is required, since the class itself has none."""

    def __get__(self, candidate: Candidate | None, owner: type[Candidate]) -> Any:
        if candidate is None:
            raise AttributeError("architecture")
        value = vars(candidate)["architecture"]
        if isinstance(value, Unread):
            value = vars(candidate)["architecture"] = value.read(value.text)
        return value

    def __set__(self, candidate: Candidate, value: Any) -> None:
        vars(candidate)["architecture"] = value


@dataclass(kw_only=True)
class Candidate:
    """An architecture on its way through a search: proposed, running, then settled.

    A strategy *proposes* it. It is *running* while a race shows it one part of the validation
    examples after another. It has *settled* once it has a score: on all examples, or on those that
    it saw before the race dropped it.

    Attributes:
        id: Short name of the architecture.
        architecture: The architecture; plain JSON if the study was opened without its space.
        strategy: Name of the strategy that proposed it.
        index: Number of the proposal among those of the strategy.
        params: Parameters of the child.
        macs: Multiply-accumulates of the child for one input.
        memory: Bytes of RAM for the activations of one input in int8.
        flash: Bytes of the weights and the graph in int8.
        latency: Seconds of the child for one input, if the search limits or minimises it.
        proxy: Values of the search's prior, higher is better; empty without a prior.
        trace: Mean of the ranking quantity by the number of examples seen.
        score: The score; None until it has settled.
        ensemble_error: Share of examples, 0…1, that all candidates up to this one misclassify
            together; in a shared study, all that the same process scored.
        partial: Whether the race dropped it before it had seen all examples.
        predicted: Log-probabilities for the examples seen, (examples, classes); only while running.
        values: The ranking quantity of each example seen, (examples,); only while running, and for
            the leaders of a race.
        key: Joint score, lower is better, among the candidates of earlier cohorts; only during a
            search with a prior.

    Example:
        >>> candidate = Candidate(
        ...     id="a", architecture={}, strategy="random", index=0, params=10, macs=100, memory=64,
        ...     flash=10,
        ... )
        >>> candidate.state
        'proposed'
    """

    id: str
    architecture: Any = _ReadOnUse()
    strategy: str
    index: Amount
    params: Amount
    macs: Amount
    memory: Amount
    flash: Amount
    latency: float | None = None
    proxy: tuple[_Finite, ...] = ()
    trace: dict[int, float] = field(default_factory=dict)
    score: Score | None = None
    ensemble_error: Share = 1.0
    partial: bool = False
    predicted: Tensor | None = field(default=None, compare=False, repr=False)
    values: Tensor | None = field(default=None, compare=False, repr=False)
    key: float | None = field(default=None, compare=False, repr=False)

    @property
    def state(self) -> State:
        """Whether it is proposed, running or settled."""
        if self.score is not None:
            return "settled"
        return "running" if self.trace else "proposed"

    @property
    def settled(self) -> Score:
        """The score of a settled candidate.

        Raises:
            ValueError: It has not settled.
        """
        if self.score is None:
            raise ValueError(f"candidate {self.id} has no score yet: it is {self.state}")
        return self.score

    @property
    def value(self) -> float:
        """The score that ranks; lower is better."""
        return self.settled.value

    @property
    def comparable_value(self) -> float:
        """The score that ranks, or with a prior the joint one; lower is better.

        It is ∞ if the race dropped the candidate: a partial score is no estimate.
        """
        if self.partial:
            return math.inf
        return self.value if self.key is None else self.key

    @property
    def error(self) -> float:
        """Share of examples classified wrongly, 0…1."""
        return self.settled.error

    @property
    def top5_error(self) -> float:
        """Share of examples whose class is not among the five most likely, 0…1."""
        return self.settled.top5_error

    @property
    def loss(self) -> float:
        """Mean cross-entropy, in nats."""
        return self.settled.loss

    @property
    def split(self) -> str:
        """The split that it was scored on."""
        return self.settled.split

    @property
    def examples(self) -> int:
        """The number of examples that it was scored on."""
        return self.settled.examples


@dataclass(frozen=True, slots=True)
class Outline:
    """The part of a candidate that ranks it; nothing else is read of one that is not shown.

    Attributes:
        number: Number of its trial.
        id: Short name of the architecture.
        partial: Whether the race dropped it.
        examples: The number of examples that it was scored on.
        value: The score that ranks.
        proxy: Values of the search's prior.
    """

    number: int
    id: str
    partial: bool
    examples: int
    value: float
    proxy: tuple[float, ...]

    @classmethod
    def read(cls, number: int, attributes: Mapping[str, Any]) -> Outline:
        """Reads it from attributes that `to_attributes` wrote.

        Raises:
            KeyError: An attribute is missing.
            ValueError: An attribute has another type.
        """
        proxy = attributes.get("proxy", ())
        return cls(
            number=number,
            id=attributes["id"],
            partial=bool(attributes["partial"]),
            examples=int(attributes["examples"]),
            value=float(attributes[attributes["rank_by"]]),
            proxy=tuple(-math.inf if value is None else float(value) for value in proxy),
        )


_RECORD = TypeAdapter(Candidate)
_SCORE = tuple(field.name for field in fields(Score))
_NOT_ATTRIBUTES = {"architecture", "trace", "predicted", "values", "key"}


def to_attributes(candidate: Candidate, document: Mapping[str, Any]) -> dict[str, Any]:
    """Writes a settled candidate as attributes of an Optuna trial, all but its trace.

    They are flat, and the architecture is text: dashboards cut longer values off.

    Args:
        candidate: The candidate.
        document: Its architecture as JSON.
    """
    record = _RECORD.dump_python(candidate, mode="json", exclude=_NOT_ATTRIBUTES, exclude_none=True)
    text = json.dumps(document, separators=(",", ":"))
    score = record.pop("score")
    return {**record, **score, "architecture": text}


def from_attributes(
    attributes: Mapping[str, Any],
    trace: Mapping[int, float],
    read: Callable[[str], Any],
) -> Candidate:
    """Reads what `to_attributes` wrote; the architecture only when it is used.

    Args:
        attributes: Attributes of the trial.
        trace: Intermediate values of the trial.
        read: Reads an architecture from its text, such as `architecture_from`.

    Raises:
        KeyError: An attribute is missing.
        ValueError: An attribute has another type.
    """
    record = {name: value for name, value in attributes.items() if name not in _SCORE}
    score = {name: attributes[name] for name in _SCORE}
    candidate = _RECORD.validate_python(
        {**record, "architecture": None, "trace": dict(trace), "score": score}
    )
    candidate.architecture = Unread(attributes["architecture"], read)
    return candidate


def architecture_from(text: str, decode: Callable[[Mapping[str, Any]], Any]) -> Any:
    """Reads an architecture as `to_attributes` wrote it.

    Args:
        text: The text.
        decode: Reads an architecture from JSON.

    Raises:
        ValueError: It is no JSON object, or `decode` raised.
    """
    document = parse_json(text)
    if not isinstance(document, dict):
        raise ValueError(f"architecture of a candidate is {document!r:.60}")
    return decode(document)
