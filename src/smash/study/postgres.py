"""A study on a PostgreSQL server, for many searches at once on as many machines.

The run folder names the server in storage.json, and never holds a password. Searches share the work
by claims, which are advisory locks: the server releases them when the connection ends, even on
SIGKILL. Claims only save work. That no architecture counts twice is guaranteed by the study, whose
readers take each architecture once; see `smash.study.study`.
"""

from __future__ import annotations

import hashlib
import json
import math
import weakref
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import distribution_to_json

from smash.errors import (
    InvalidValueError,
    MissingExtraError,
    NotFoundError,
    RunStateError,
    ServerError,
    reason_of,
)
from smash.io.files import parse_json
from smash.io.records import Record
from smash.run.layout import STORAGE, STUDY, network_digest

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from sqlalchemy import URL, Engine

_FORM = "postgresql://USER@HOST/DATABASE"
_OPTIONS = ("host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey")
"""Options that a URL may set; all others, and passwords, belong to the user's environment."""

_CONNECTION = {
    "client_encoding": "utf8",
    # Seconds until a silent server counts as gone.
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
_KEEPALIVES = (
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
)
"""Lets the server notice as soon that a worker's machine has lost power."""

ATTRIBUTES = """
(SELECT '{' || string_agg(to_json(key)::text || ':' || value_json, ',') || '}'
 FROM trial_user_attributes WHERE trial_id = trials.trial_id)
"""
BRIEF = """
(SELECT '{' || string_agg(to_json(key)::text || ':' || value_json, ',') || '}'
 FROM trial_user_attributes WHERE trial_id = trials.trial_id AND key <> 'architecture')
"""
OUTLINE = """
(SELECT '{' || string_agg(to_json(key)::text || ':' || value_json, ',') || '}'
 FROM trial_user_attributes WHERE trial_id = trials.trial_id AND key IN
 ('id', 'partial', 'examples', 'proxy', 'rank_by', 'loss', 'error', 'top5_error'))
"""
TRACE = """
(SELECT '{' || string_agg('"' || step || '":' || CASE intermediate_value_type::text
    WHEN 'INF_POS' THEN 'Infinity' WHEN 'INF_NEG' THEN '-Infinity' WHEN 'NAN' THEN 'NaN'
    ELSE intermediate_value::text END, ',') || '}'
 FROM trial_intermediate_values WHERE trial_id = trials.trial_id)
"""
PARAMS = """
(SELECT '{' || string_agg(to_json(param_name)::text || ':' || param_value, ',') || '}'
 FROM trial_params WHERE trial_id = trials.trial_id)
"""
ID = """
(SELECT value_json FROM trial_user_attributes WHERE trial_id = trials.trial_id AND key = 'id')
"""
_TRIALS = """
SELECT trial_id, {columns} FROM trials JOIN studies USING (study_id)
WHERE study_name = :name AND trial_id > :after {only} ORDER BY trial_id
"""
_ONLY = "AND trial_id = ANY(CAST(:only AS integer[]))"
_LOCKED = "SELECT study_id FROM studies WHERE study_name = :name FOR UPDATE"
_ADDED = """
INSERT INTO trials (study_id, number, state, datetime_start, datetime_complete)
VALUES (:study, coalesce((
    SELECT number + 1 FROM trials WHERE study_id = :study ORDER BY trial_id DESC LIMIT 1
), 0), :state, :time, :time) RETURNING trial_id
"""
_BUFFERED = 1000  # rows of a server's answer that are held at once


class StorageRecord(Record):
    """The content of storage.json."""

    url: str
    """URL of the server, without a password."""

    name: str
    """Name of the study on the server."""


class Server:
    """A server that holds a study.

    Args:
        url: URL of the server.
        name: Name of the study on the server.
        known: Whether the study was reached before. Then a failure is one of the server, and not a
            wrong URL.
    """

    def __init__(self, url: URL, name: str, *, known: bool) -> None:
        self._url, self._name, self._known = url, name, known
        self._engine: Engine

    def __str__(self) -> str:
        """Formats the URL as the user gives it."""
        return self._url.set(drivername="postgresql").render_as_string()

    @classmethod
    def choose(cls, run: Path, url: str | None) -> Server | None:
        """Chooses the server for a search of a run; None keeps the study in the run folder.

        Args:
            run: The run folder.
            url: The URL as the user gave it, if any.

        Raises:
            InvalidValueError: The URL is wrong.
            RunStateError: The run has a study elsewhere.
        """
        stored = cls.of(run)
        if url is None:
            return stored
        # Copies of a run on several machines share a study; copies under another name do not.
        name = "".join(letter for letter in run.resolve().name if letter.isprintable())
        server = cls(parse_url(url), f"{name}-{network_digest(run)}", known=False)
        if stored is not None and str(stored) != str(server):
            raise RunStateError(
                f"the study of run {str(run)!r} is in {stored}, got {server}: leave out --storage, "
                f"or search in a copy of the run without its {STORAGE}"
            )
        journal = run / STUDY
        if stored is None and journal.is_file() and journal.stat().st_size:
            raise RunStateError(
                f"the study of run {str(run)!r} is in its {STUDY}, got {server}: leave out "
                f"--storage, or search in a copy of the run without its {STUDY}"
            )
        return stored or server

    @classmethod
    def of(cls, run: Path) -> Server | None:
        """Returns the server that a run folder names; None if it names none.

        Raises:
            RunStateError: storage.json is damaged.
        """
        path = run / STORAGE
        if not path.is_file():
            return None
        stored = StorageRecord.read(path)
        if not stored.name.isprintable():
            raise RunStateError(f"{path} is damaged: name is {stored.name!r:.60}")
        try:
            return cls(parse_url(stored.url), stored.name, known=True)
        except InvalidValueError as error:
            raise RunStateError(f"{path} is damaged: {error}") from None

    def open(self, run: Path, *, create: bool) -> optuna.Study:
        """Opens the study; the run folder then names the server.

        Raises:
            InvalidValueError: A server that was never reached cannot be reached.
            NotFoundError: The study does not exist.
            RunStateError: The tables on the server are those of another version of Optuna.
            ServerError: The server cannot be reached.
        """
        from sqlalchemy import create_engine

        # Optuna creates its tables if they do not exist, which two must not do at once.
        with self.reaching(), self._lock("tables", wait=True):
            engine = create_engine(self._url, pool_pre_ping=True, connect_args=_CONNECTION)
            try:
                storage = optuna.storages.RDBStorage(
                    self._url.render_as_string(), {"pool": engine.pool}
                )
            except RuntimeError as error:
                raise RunStateError(
                    f"{self} belongs to another version of Optuna: {reason_of(error)}"
                ) from None
            if self._name in optuna.get_all_study_names(storage):
                study = optuna.load_study(storage=storage, study_name=self._name)
            elif create:
                study = optuna.create_study(storage=storage, study_name=self._name)
            else:
                engine.dispose()
                raise NotFoundError(
                    f"study {self._name!r} is not in {self}: restore it, or remove {STORAGE} from "
                    "the run and search anew"
                )
        self._engine = engine
        weakref.finalize(study, engine.dispose)  # Optuna offers no way to close connections
        if not self._known:
            StorageRecord(url=str(self), name=self._name).write(run / STORAGE)
            self._known = True
        return study

    def add(self, trial: FrozenTrial) -> None:
        """Adds a trial as `optuna.Study.add_trial` does, in a few statements.

        Optuna asks the server for each attribute, and counts all trials to number the new one,
        while all other searches wait.

        Raises:
            ServerError: The server cannot be reached.
        """
        from sqlalchemy import text

        with self.reaching(), self._engine.begin() as connection:
            # The lock lets numbers and ids grow in the order of commits.
            study = connection.scalar(text(_LOCKED), {"name": self._name})
            time = datetime.now(UTC).replace(tzinfo=None)
            head = {"study": study, "state": trial.state.name, "time": time}
            added = connection.scalar(text(_ADDED), head)
            for table, columns, rows in _rows(trial):
                names = ("trial_id", *columns)
                values = ", ".join(f":{name}" for name in names)
                # The names are our own.
                statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({values})"  # noqa: S608
                if rows:
                    records = [dict(zip(names, (added, *row), strict=True)) for row in rows]
                    connection.execute(text(statement), records)

    def read(
        self, *columns: str, after: int = 0, only: Sequence[int] | None = None
    ) -> Iterator[tuple[Any, ...]]:
        """Reads trials as they arrive: their ids and columns, decoded from JSON.

        Optuna's own reader holds an object for each attribute of all trials at once.

        Args:
            *columns: Any of `ATTRIBUTES`, `BRIEF`, `OUTLINE`, `TRACE`, `PARAMS` and `ID`.
            after: Id of a trial. Trials are added under a lock, so none appears below it later.
            only: Ids of the trials to read; all by default.

        Raises:
            ServerError: The server cannot be reached.
            ValueError: A column is no JSON.
        """
        from sqlalchemy import text

        chosen = "" if only is None else _ONLY
        query = text(_TRIALS.format(columns=", ".join(columns), only=chosen))
        with self.reaching(), self._engine.connect() as connection:
            streaming = connection.execution_options(stream_results=True, max_row_buffer=_BUFFERED)
            values: dict[str, Any] = {"name": self._name, "after": after}
            if only is not None:
                values["only"] = list(only)
            for number, *documents in streaming.execute(query, values):
                yield number, *(parse_json(document or "{}") for document in documents)

    def claim(self, work: str, *, wait: bool = False) -> AbstractContextManager[bool]:
        """Claims a piece of work on the study; gives whether no other search has it.

        Args:
            work: Name of the work.
            wait: Whether to wait for another search that has it.
        """
        return self._lock(f"{self._name} {work}", wait=wait)

    @contextmanager
    def _lock(self, name: str, *, wait: bool) -> Iterator[bool]:
        from sqlalchemy import NullPool, create_engine, text

        digest = hashlib.sha256(f"smash {name}".encode()).digest()
        key = int.from_bytes(digest[:8], signed=True)
        function = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
        options = {"poolclass": NullPool, "isolation_level": "AUTOCOMMIT"}
        with self.reaching():
            engine = create_engine(self._url, connect_args=_CONNECTION, **options)
            with engine.connect() as connection:  # closing it releases the lock
                connection.execute(text(_KEEPALIVES))
                locked = connection.scalar(text(f"SELECT {function}(:key)"), {"key": key})
                yield wait or bool(locked)

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Turns errors of the server and its driver into `ServerError` or `InvalidValueError`."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError, UnicodeError) as error:
            reason = _reason(error)
        else:
            return
        if self._known:
            raise ServerError(
                f"storage {self} failed ({reason}): what was committed is kept; repeat the command "
                "when the server answers"
            )
        raise InvalidValueError(f"storage {self} cannot be used ({reason}): give {_FORM}")


def parse_url(text: str) -> URL:
    """Parses the URL of a PostgreSQL server; messages never repeat what may be a password.

    Raises:
        InvalidValueError: It is no such URL, or holds a password.
        MissingExtraError: The driver is not installed.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    parts = (text, url.username or "", url.database or "") if url else ()
    drivers = ("postgresql", "postgres", "postgresql+psycopg")
    if not url or url.drivername not in drivers or not "".join(parts).isprintable():
        scheme, mark, _ = text.partition("://")
        raise InvalidValueError(f"storage must be {_FORM}, got {scheme[:20] + mark + '…'!r}")
    faults = [
        f"storage may set {', '.join(_OPTIONS)}, got {name!r}: set others by the PG* variables"
        for name in url.query
        if name not in (*_OPTIONS, "password")
    ]
    if url.password is not None or "password" in url.query:
        faults = [
            "storage must not hold a password, got 'postgresql://…': put it into ~/.pgpass or "
            f"PGPASSWORD, and give {_FORM}"
        ]
    elif set("{}") & set(text):  # Optuna would substitute them
        faults.append("storage must not hold braces: use a database with another name")
    if faults:
        raise InvalidValueError(*faults)
    try:
        import psycopg  # noqa: F401 # SQLAlchemy loads it by name
    except ImportError:
        raise MissingExtraError(
            "psycopg is not installed: pip install 'smash-nas[postgres]', or leave out --storage"
        ) from None
    return url.set(drivername="postgresql+psycopg")


def _reason(error: BaseException) -> str:
    """Extracts the message of the server or driver, without the SQL that SQLAlchemy adds."""
    from sqlalchemy.exc import DBAPIError

    # Optuna wraps the errors of SQLAlchemy, and SQLAlchemy those of the driver.
    cause: Any = error if isinstance(error, DBAPIError) else error.__cause__ or error
    reason = cause.orig if isinstance(cause, DBAPIError) else None
    return " ".join(str(reason or cause).split())[:300]


def _rows(trial: FrozenTrial) -> Iterator[tuple[str, Sequence[str], list[tuple[Any, ...]]]]:
    """Gives the tables that hold parts of a trial, with their columns and the trial's rows."""
    yield "trial_values", ("objective", "value", "value_type"), [(0, *_stored(trial.values[0]))]
    params = [
        (name, each.to_internal_repr(trial.params[name]), distribution_to_json(each))
        for name, each in trial.distributions.items()
    ]
    yield "trial_params", ("param_name", "param_value", "distribution_json"), params
    attributes = [(name, json.dumps(value)) for name, value in trial.user_attrs.items()]
    yield "trial_user_attributes", ("key", "value_json"), attributes
    trace = [(step, *_stored(value)) for step, value in trial.intermediate_values.items()]
    kinds = ("step", "intermediate_value", "intermediate_value_type")
    yield "trial_intermediate_values", kinds, trace


def _stored(value: float) -> tuple[float | None, str]:
    """Splits a number as Optuna stores it: one that is not finite is told by its kind alone."""
    if math.isfinite(value):
        return value, "FINITE"
    return None, "NAN" if math.isnan(value) else "INF_POS" if value > 0 else "INF_NEG"
