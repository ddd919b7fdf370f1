"""A study: all candidates of a run with their scores, committed the moment they exist.

It lies in an Optuna storage, which `optuna-dashboard` opens as it is: a journal file in the run
folder, which one search extends at a time, or a server, where several do at once. On a server two
searches may commit the same architecture in the same instant, and one may repeat a commit that was
never answered: all readers count the first.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from smash.errors import RunStateError
from smash.io.files import named_errors
from smash.io.records import faults_in
from smash.run.layout import check_searched
from smash.scoring.priors import smooths
from smash.spaces.task import MOST_READABLE
from smash.study.candidate import (
    Candidate,
    Outline,
    Unread,
    architecture_from,
    from_attributes,
    to_attributes,
)
from smash.study.journal import open_journal
from smash.study.postgres import ATTRIBUTES, BRIEF, ID, OUTLINE, PARAMS, TRACE, Server
from smash.study.ranking import Ranked, rank
from smash.study.settings import StudySettings, Timetable

if TYPE_CHECKING:
    from smash.spaces.base import SearchSpace

_NAME = "smash"
_SETTINGS = "settings"
_TIMETABLE = "timetable"
_READABLE = FloatDistribution(0, float(MOST_READABLE))
_COST = FloatDistribution(1, 2.0**50, log=True)
_SIZES = ("params", "macs")
_DAMAGES = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)
"""Errors that values of another kind lead Optuna, pydantic or a search space to."""


class Study:
    """The candidates of a run.

    Args:
        path: The journal in the run folder; the folder may name a server in its place.
        space: The search space, to read and write architectures with; without it they stay plain
            JSON, as reports need them.
        create: Whether to write to it, and to create it if it does not exist.
        server: The server that holds it; by default the one that the run folder names, if any.
        brief: Whether candidates on a server come without traces and architectures, which are half
            of their memory; `read_architectures` reads those that are used. Has no effect where
            effects smooth the scores, which need all.

    Raises:
        NotFoundError: It does not exist.
        RunStateError: It is damaged.
        ServerError: The server cannot be reached.

    Example:
        >>> from smash import Candidate, Study
        >>> from smash.scoring.score import Score
        >>> study = Study(Path("study.journal"), create=True)
        >>> score = Score(
        ...     error=0.1, top5_error=0.0, loss=0.4, rank_by="loss", split="val", examples=250
        ... )
        >>> for number, params in enumerate((20, 10)):
        ...     study.add(
        ...         Candidate(
        ...             id=f"c{number}", architecture={"layers": number + 1}, strategy="random",
        ...             index=number, params=params, macs=100, memory=64, flash=params,
        ...             score=score,
        ...         )
        ...     )
        >>> [candidate.id for candidate in study.ranked()]
        ['c0', 'c1']
    """

    def __init__(
        self,
        path: str | Path,
        space: SearchSpace[Any] | None = None,
        *,
        create: bool = False,
        server: Server | None = None,
        brief: bool = False,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        path = Path(path)
        self._path, self._space, self._create = path, space, create
        self._server = server or Server.of(path.parent)
        self.where = path if self._server is None else self._server
        self._candidates: dict[str, Candidate] = {}  # by id, in the order of their commits
        self._places = array("q")  # of their trials on a server, in the same order
        self._read = 0  # place of the last trial that was read: its number from 1, or its id
        if self._server is None and not create:
            check_searched(path)
        # It holds no connection, for candidates outlive their study.
        self._read_architecture = partial(_read_architecture, space, self.where)
        self._study = self._open()
        self._brief = brief and self.shared and not smooths(self.prior)

    def _open(self) -> optuna.Study:
        if self._server is not None:
            return self._server.open(self._path.parent, create=self._create)
        try:
            return open_journal(self._path, _NAME, create=self._create)
        except OSError:
            raise
        except Exception as error:  # Optuna raises whatever a damaged line leads it to
            raise self._damaged(error) from None

    def _reaching(self) -> AbstractContextManager[None]:
        """Lets errors name the journal or the server."""
        return self._server.reaching() if self._server else named_errors(self._path)

    def _damaged(self, error: Exception) -> RunStateError:
        return _damaged(self.where, error)

    @property
    def shared(self) -> bool:
        """Whether several searches may extend it at once."""
        return self._server is not None

    def claim(self, work: str, *, wait: bool = False) -> AbstractContextManager[bool]:
        """Claims a piece of work; gives whether no other search has it. See `Server.claim`."""
        return self._server.claim(work, wait=wait) if self._server else nullcontext(True)

    @property
    def settings(self) -> dict[str, Any] | None:
        """The settings of the search, as plain JSON; None before the first search.

        Raises:
            RunStateError: They are damaged.
        """
        with self._reaching():
            settings = self._study.user_attrs.get(_SETTINGS)
        if settings is None:
            return None
        try:
            return StudySettings.model_validate(settings).model_dump(mode="json")
        except ValidationError as error:
            reason = "; ".join(faults_in(error, StudySettings))
            raise self._damaged(ValueError(f"settings: {reason}")) from None

    @settings.setter
    def settings(self, value: Mapping[str, Any]) -> None:
        with self._reaching():
            self._study.set_user_attr(_SETTINGS, dict(value))

    @property
    def timetable(self) -> Timetable:
        """The cohorts of a search that ended after some minutes; empty without one.

        Raises:
            RunStateError: It is damaged.
        """
        with self._reaching():
            timetable = self._study.user_attrs.get(_TIMETABLE, {})
        try:
            return Timetable.model_validate(timetable)
        except ValidationError as error:
            reason = "; ".join(faults_in(error, Timetable))
            raise self._damaged(ValueError(f"timetable: {reason}")) from None

    @timetable.setter
    def timetable(self, value: Timetable) -> None:
        with self._reaching():
            self._study.set_user_attr(_TIMETABLE, value.model_dump())

    @property
    def prior(self) -> str | None:
        """The proxy that joins the score in the ranking; None without one."""
        return (self.settings or {}).get("prior")

    def add(self, candidate: Candidate, readable: Mapping[str, float] | None = None) -> None:
        """Commits a settled candidate.

        Args:
            candidate: The candidate.
            readable: A few features of its architecture by name, for reports and dashboards; by
                default those that the space gives.
        """
        if not self.shared:
            self.candidates(after=len(self._candidates))  # reads what was committed before
        architecture = candidate.architecture
        document = architecture if self._space is None else self._space.to_json(architecture)
        if readable is None:
            readable = {} if self._space is None else self._space.readable(architecture)
        # The distribution is logarithmic, and a child without weights or products costs 0.
        costs = {name: max(1.0, float(getattr(candidate, name))) for name in _SIZES}
        trial = optuna.trial.create_trial(
            state=TrialState.PRUNED if candidate.partial else TrialState.COMPLETE,
            value=candidate.value,
            intermediate_values=dict(candidate.trace),
            params={**readable, **costs},
            distributions={**dict.fromkeys(readable, _READABLE), **dict.fromkeys(costs, _COST)},
            user_attrs=to_attributes(candidate, document),
        )
        if self._server is not None:
            self._server.add(trial)
            return
        with self._reaching():
            self._study.add_trial(trial)
        # No other search commits, so there is nothing to read back.
        self._candidates.setdefault(candidate.id, candidate)
        self._read += 1

    def _trials(self) -> Sequence[FrozenTrial]:
        try:
            with self._reaching():
                return self._study.get_trials(deepcopy=False)
        except (*_DAMAGES, RecursionError) as error:
            raise self._damaged(error) from None

    def _new_trials(self) -> Iterator[tuple[int, Mapping[str, Any], Mapping[int, float]]]:
        """Reads the trials after the last one: the place of each, its attributes and its trace."""
        if self._server is not None and self._brief:
            for place, attributes in self._server.read(BRIEF, after=self._read):
                yield place, {**attributes, "architecture": ""}, {}
            return
        if self._server is not None:
            yield from self._server.read(ATTRIBUTES, TRACE, after=self._read)
            return
        for place, trial in enumerate(self._trials()[self._read :], self._read + 1):
            yield place, trial.user_attrs, trial.intermediate_values

    def candidates(self, after: int = 0) -> list[Candidate]:
        """Returns the candidates in the order of their commits, each architecture once.

        Those on a server read their architectures when they are used, for there may be a million.

        Args:
            after: Number of candidates to leave out, the first.

        Raises:
            RunStateError: A candidate is damaged.
        """
        read = _not_read if self._brief else self._read_architecture
        try:
            for place, attributes, trace in self._new_trials():
                candidate = from_attributes(attributes, trace, read)
                if not self.shared:
                    _ = candidate.architecture  # a damaged one is refused at once
                elif candidate.id not in self._candidates:
                    self._places.append(place)
                self._candidates.setdefault(candidate.id, candidate)
                self._read = place
        except _DAMAGES as error:
            raise self._damaged(error) from None
        new = islice(reversed(self._candidates.values()), len(self._candidates) - after)
        return list(new)[::-1]

    def read_architectures(self, candidates: Iterable[Candidate]) -> None:
        """Reads the architectures of candidates where the study is brief; else they have them.

        Raises:
            RunStateError: A candidate is damaged.
        """
        if self._server is None or not self._brief:
            return
        by_id = {each.id: each for each in candidates}
        try:
            for _, attributes in self._server.read(ATTRIBUTES, only=self._places_of(by_id)):
                text = attributes["architecture"]
                by_id[attributes["id"]].architecture = Unread(text, self._read_architecture)
        except _DAMAGES as error:
            raise self._damaged(error) from None

    def readable(
        self, candidates: Iterable[Candidate] | None = None
    ) -> dict[str, dict[str, float]]:
        """Returns the readable features of candidates, of all by default, by their ids."""
        ids = None if candidates is None else {each.id for each in candidates}
        params: Iterable[tuple[str, Mapping[str, float]]]
        if self._server is not None:
            only = None if ids is None else self._places_of(ids)
            rows = self._server.read(ID, PARAMS, only=only)
            params = ((identity, each) for _, identity, each in rows)
        else:
            params = ((trial.user_attrs["id"], trial.params) for trial in self._trials())
        return {
            identity: {sys.intern(name): each[name] for name in each if name not in _SIZES}
            for identity, each in params
            if ids is None or identity in ids
        }

    def _places_of(self, ids: Container[str]) -> list[int]:
        """Gives the ids of trials on a server by those of their candidates."""
        pairs = zip(self._candidates, self._places, strict=True)
        return [place for identity, place in pairs if identity in ids]

    def ranked(self) -> list[Candidate]:
        """Returns all candidates, best first: by the score, or with a prior by both together."""
        return [each.candidate for each in self.ranking()]

    def ranking(self) -> list[Ranked[Candidate]]:
        """Returns all candidates in the order of `ranked`, with their ranks.

        Raises:
            RunStateError: A candidate is damaged.
        """
        try:
            return rank(self.candidates(), self.prior)
        except (LookupError, ValueError) as error:  # the proxy's values do not suit the prior
            raise self._damaged(error) from None

    def best(self, count: int) -> tuple[list[Ranked[Candidate]], int]:
        """Returns the first of the ranking, and how many candidates there are.

        Of the others on a server, only what ranks them is read, unless effects smooth it.

        Raises:
            RunStateError: A candidate is damaged.
        """
        if self._server is None or smooths(self.prior):
            ranking = self.ranking()
            return ranking[:count], len(ranking)
        try:
            outlines: dict[str, Outline] = {}
            for number, attributes in self._server.read(OUTLINE):
                outline = Outline.read(number, attributes)
                outlines.setdefault(outline.id, outline)
            ranked = rank(list(outlines.values()), self.prior)[:count]
            numbers = [each.candidate.number for each in ranked]
            candidates = {
                number: from_attributes(attributes, trace, self._read_architecture)
                for number, attributes, trace in self._server.read(ATTRIBUTES, TRACE, only=numbers)
            }
        except _DAMAGES as error:
            raise self._damaged(error) from None
        best = [
            Ranked(
                candidate=candidates[each.candidate.number],
                score_rank=each.score_rank,
                proxy_rank=each.proxy_rank,
            )
            for each in ranked
        ]
        return best, len(outlines)


def _read_architecture(space: SearchSpace[Any] | None, where: Path | Server, text: str) -> Any:
    try:
        return architecture_from(text, dict if space is None else space.from_json)
    except _DAMAGES as error:
        raise _damaged(where, error) from None


def _not_read(text: str) -> NoReturn:
    raise RuntimeError("the study is brief: read the architecture by its `read_architectures`")


def _damaged(where: Path | Server, error: Exception) -> RunStateError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return RunStateError(f"{where} is damaged ({reason}): restore it, or search anew without it")
