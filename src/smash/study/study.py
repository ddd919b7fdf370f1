"""Candidates and their scores, in an Optuna storage: committed the moment they exist.

The journal is written by one search at a time, which mends it when it opens it; readers pass over a
last line that is not written to its end, and wait for nobody. Or the study is on a server, where
several searches extend it at once; see `smash.study.postgres`. There two may commit one
architecture in
the same instant, or one may repeat what was answered by silence: the first counts, for all readers.
"""

from __future__ import annotations

import gc
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState

from smash.errors import RunStateError
from smash.io.files import named_errors, parse_json
from smash.run.layout import check_searched
from smash.scoring.priors import joint_score, proxy_score
from smash.scoring.rank_aggregation import Floats
from smash.spaces.base import MOST_READABLE
from smash.study.journal import Entry, Journal
from smash.study.postgres import Server

_NAME = "smash"
_SETTINGS = "settings"
_READABLE = FloatDistribution(0, float(MOST_READABLE))
_COST = FloatDistribution(1, 2.0**50, log=True)
_COSTS = ("params", "macs")
_PATIENCE = 3  # seconds until a lock is one that a killed process left: a line takes milliseconds


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An architecture and its score.

    Attributes:
        id: Short name of the architecture.
        architecture: The architecture as JSON.
        strategy: Which strategy proposed it.
        index: Which proposal of that strategy it was.
        value: What ranks; lower is better.
        error: Share of examples classified wrongly, 0…1.
        top5_error: Share whose class is not among the five most likely, 0…1.
        ensemble_error: Share that all candidates up to this one classify wrongly together; on a
            server, all that were scored in the same process.
        loss: Mean cross-entropy, in nats.
        split: Which examples these are of.
        examples: How many.
        params: Parameters of the child.
        macs: Multiply-accumulates of the child for one input.
        partial: Whether it was dropped before all examples were seen.
        trace: What ranks, by how many examples had been seen, where it was in a race.
        proxy: What the search's prior says of it; empty without one.
        latency: Seconds of the child for one input on the machine of the search, where that was an
            objective.
    """

    id: str
    architecture: Mapping[str, Any]
    strategy: str
    index: int
    value: float
    error: float
    top5_error: float
    ensemble_error: float
    loss: float
    split: str
    examples: int
    params: int
    macs: int
    partial: bool = False
    trace: Mapping[int, float] = field(default_factory=dict)
    proxy: tuple[float, ...] = ()
    latency: float | None = None


_NUMBER = (int, float)
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("value", "error", "top5_error", "ensemble_error", "loss"), _NUMBER),
    **dict.fromkeys(("index", "examples", "params", "macs"), int),
    **dict.fromkeys(("id", "strategy", "split"), str),
    "architecture": dict,
    "partial": bool,
}


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A candidate and its ranks, each from 0, the best, among all candidates.

    Attributes:
        candidate: The candidate.
        score_rank: By the score alone.
        proxy_rank: By the prior alone; None without one.
    """

    candidate: Candidate
    score_rank: int
    proxy_rank: int | None


_APART = ("trace", "proxy", "latency")
_ATTRIBUTES = [name for name in Candidate.__dataclass_fields__ if name not in _APART]


class Study:
    """All candidates of a run.

    Args:
        path: The journal, in the run folder, which may name a server in its place.
        create: Whether to make it where it is not there.
        server: The server that keeps it; the one that the run folder names, if any.

    Raises:
        NotFoundError: It is not there.
        RunStateError: It is damaged.
        ServerError: The server cannot be reached.
    """

    def __init__(self, path: Path, *, create: bool = False, server: Server | None = None) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._path, self._create = path, create
        self._server = server or Server.of(path.parent)
        self.where = path if self._server is None else self._server
        self._found: dict[str, Candidate] = {}  # by id, of the first trials
        self._read = 0  # how many those are
        self._journal: Journal | None = None
        if self._server is None and not create:
            check_searched(path)
            self._journal = Journal(path, _NAME)
        self._current()

    @cached_property
    def _study(self) -> optuna.Study:
        if self._server is not None:
            return self._server.open(self._path.parent, create=self._create)
        return self._open(self._path, self._create)

    def _current(self) -> Journal | optuna.Study:
        """What reads the study: the journal's lines, or Optuna where these do not suffice."""
        if self._journal is not None:
            with named_errors(self._path):
                if self._journal.read_on():
                    return self._journal
            self._journal = None
        return self._study

    def _open(self, path: Path, create: bool) -> optuna.Study:
        lock = JournalFileSymlinkLock(str(path), grace_period=_PATIENCE)
        if create and path.exists():
            _mend(path, lock)
        made = path.exists() and path.stat().st_size > 0
        try:
            storage = optuna.storages.JournalStorage(JournalFileBackend(str(path), lock))
            # Not load_if_exists, which adds a line to the journal each time.
            if made:
                return optuna.load_study(storage=storage, study_name=_NAME)
            return optuna.create_study(storage=storage, study_name=_NAME, direction="minimize")
        except OSError:
            raise
        except Exception as error:  # Optuna raises whatever a damaged line leads it to
            raise _damaged(path, error) from None

    @property
    def shared(self) -> bool:
        """Whether several searches may extend it at once."""
        return self._server is not None

    def claim(self, work: str, *, wait: bool = False) -> AbstractContextManager[bool]:
        """Claims a piece of work, and gives whether no other search has it; see `Server.claim`."""
        return self._server.claim(work, wait=wait) if self._server else nullcontext(True)

    def _reaching(self) -> AbstractContextManager[None]:
        """Lets an error name the journal or the server."""
        return self._server.reaching() if self._server else named_errors(self._path)

    def _trials(self) -> Sequence[FrozenTrial | Entry]:
        current = self._current()
        if isinstance(current, Journal):
            return current.entries
        with self._reaching():
            return current.get_trials(deepcopy=False)

    @property
    def settings(self) -> dict[str, Any] | None:
        """What the search was asked for; None before the first.

        Raises:
            RunStateError: They are damaged.
        """
        current = self._current()
        if isinstance(current, Journal):
            value = current.attributes.get(_SETTINGS)
        else:
            with self._reaching():
                value = current.user_attrs.get(_SETTINGS)
        try:
            return None if value is None else dict(parse_json(value))
        except (ValueError, TypeError) as error:
            raise _damaged(self.where, error) from None

    @settings.setter
    def settings(self, value: Mapping[str, Any]) -> None:
        with self._reaching():
            self._study.set_user_attr(_SETTINGS, json.dumps(value))

    @property
    def prior(self) -> str | None:
        """The croxy that joins the score in the ranking, where the search had one."""
        return (self.settings or {}).get("prior")

    def add(self, candidate: Candidate, readable: Mapping[str, float]) -> None:
        """Commits a candidate.

        Args:
            candidate: The candidate.
            readable: A few features of its architecture by name, for dashboards.
        """
        # An architecture without a weight or a product costs nothing, which has no logarithm.
        costs = {name: max(1.0, float(getattr(candidate, name))) for name in _COSTS}
        attributes = {name: getattr(candidate, name) for name in _ATTRIBUTES} | {
            "architecture": json.dumps(candidate.architecture, separators=(",", ":"))
        }
        if candidate.proxy:  # JSON has no infinity
            attributes["proxy"] = [one if math.isfinite(one) else None for one in candidate.proxy]
        if candidate.latency is not None:
            attributes["latency"] = candidate.latency
        trial = optuna.trial.create_trial(
            state=TrialState.PRUNED if candidate.partial else TrialState.COMPLETE,
            value=candidate.value,
            intermediate_values=dict(candidate.trace),
            params={**readable, **costs},
            distributions={
                **dict.fromkeys(readable, _READABLE),
                **dict.fromkeys(costs, _COST),
            },
            user_attrs=attributes,
        )
        with self._reaching():
            self._study.add_trial(trial)

    def candidates(self) -> list[Candidate]:
        """All candidates, in the order in which they were committed; each architecture once.

        Raises:
            RunStateError: A candidate lacks what this program writes.
        """
        trials = self._trials()
        try:
            with _uncollected():
                for trial in trials[self._read :]:
                    self._found.setdefault(trial.user_attrs["id"], _candidate(trial))
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise _damaged(self.where, error) from None
        self._read = len(trials)
        return list(self._found.values())

    def readable(self) -> dict[str, dict[str, float]]:
        """What `add` was given as readable features, by the candidate's id."""
        return {
            trial.user_attrs["id"]: {
                name: value for name, value in trial.params.items() if name not in _COSTS
            }
            for trial in self._trials()
        }

    def ranked(self) -> list[Candidate]:
        """All candidates, best first: by the score, or where there is a prior by both together.

        Those with partial scores are last, of them those first that were dropped last.
        """
        return [one.candidate for one in self.ranking()]

    def ranking(self) -> list[Ranked]:
        """All candidates in the order of `ranked`, with their ranks."""
        try:
            return rank(self.candidates(), self.prior)
        except (KeyError, ValueError) as error:
            raise _damaged(self.where, error) from None


def rank(candidates: Sequence[Candidate], prior: str | None = None) -> list[Ranked]:
    """Ranks candidates, best first.

    With a prior, those with a score on all examples are ranked by
    `smash.scoring.priors.joint_score`, in which they are compared with all candidates.

    Args:
        candidates: The candidates.
        prior: Name of the croxy that gave their `proxy`; None for the score alone.
    """
    keys = [(one.partial, -one.examples, one.value) for one in candidates]
    place = {key: number for number, key in enumerate(sorted(set(keys)))}
    scores = np.array([place[key] for key in keys], dtype=np.float64)
    joint, by_proxy = scores, None
    if prior is not None and len(candidates):
        numbers = [one.proxy for one in candidates]
        joint = joint_score(scores, numbers)
        by_proxy = _ranks(-proxy_score(prior, numbers))
    by_score = _ranks(scores)
    order = sorted(
        range(len(candidates)), key=lambda one: (candidates[one].partial, joint[one], scores[one])
    )
    return [
        Ranked(
            candidate=candidates[one],
            score_rank=by_score[one],
            proxy_rank=None if by_proxy is None else by_proxy[one],
        )
        for one in order
    ]


def _ranks(values: Floats) -> list[int]:
    """The rank of each value, 0 for the lowest; of equals the first is lower."""
    ranks: list[int] = np.argsort(np.argsort(values, kind="stable"), kind="stable").tolist()
    return ranks


@contextmanager
def _uncollected() -> Iterator[None]:
    """Halts the garbage collector, which goes over all that stays, again and again.

    Of 20,000 candidates that took a third of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _candidate(trial: FrozenTrial | Entry) -> Candidate:
    values = {name: trial.user_attrs[name] for name in _ATTRIBUTES}
    values["architecture"] = parse_json(values["architecture"])
    for name, kind in _KINDS.items():
        if not isinstance(values[name], kind) or (
            isinstance(values[name], bool) and kind is not bool
        ):
            raise TypeError(f"{name} of a candidate is {values[name]!r:.60}")
    proxy = (-math.inf if one is None else float(one) for one in trial.user_attrs.get("proxy", ()))
    latency = trial.user_attrs.get("latency")
    return Candidate(
        **values,
        trace=trial.intermediate_values,
        proxy=tuple(proxy),
        latency=None if latency is None else float(latency),
    )


def _damaged(where: Path | Server, error: Exception) -> RunStateError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return RunStateError(f"{where} is damaged ({reason}): restore it, or search anew without it")


def _mend(path: Path, lock: JournalFileSymlinkLock) -> None:
    """Cuts off a last line that was not written to its end; the next would be lost with it."""
    lock.acquire()
    try:
        with path.open("r+b") as file:
            content = file.read()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                file.truncate(whole)
                os.fsync(file.fileno())
    finally:
        lock.release()
