"""A study on a PostgreSQL server: many searches at once, on as many machines.

The run folder keeps where its study is, in storage.json, and never a password. Searches share the
work by claims, which are advisory locks: the server lets go of one when its connection ends,
however that is, so a claim outlives nobody. Claims only spare work. That none is counted twice
rests on the study, of which readers take each architecture once; see `smash.study.study`.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna

from smash.errors import (
    InvalidValueError,
    MissingExtraError,
    NotFoundError,
    RunStateError,
    ServerError,
)
from smash.io.files import read_json, require, write_json
from smash.run.layout import STORAGE, STUDY, network_digest

if TYPE_CHECKING:
    from sqlalchemy import URL

_FORM = "postgresql://USER@HOST/DATABASE"
_OPTIONS = ("host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey")
"""Of a connection, in the URL; all others, and passwords, belong to the user's environment."""

_CONNECTION = {
    "client_encoding": "utf8",
    # Seconds, until a server that says nothing is taken for gone.
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
_KEEPALIVES = (
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
)
"""So that the server notices as soon when the machine of a worker has lost its power."""


class Server:
    """The server that keeps a study.

    Args:
        url: Where it is.
        name: Name of the study there.
        known: Whether the study has been reached before: then what fails is the server.
    """

    def __init__(self, url: URL, name: str, *, known: bool) -> None:
        self._url, self._name, self._known = url, name, known

    def __str__(self) -> str:
        """Where it is, as it is given and kept."""
        return self._url.set(drivername="postgresql").render_as_string()

    @classmethod
    def choose(cls, run: Path, given: str | None) -> Server | None:
        """The server for a search of a run; None where the study is kept in the run folder.

        Args:
            run: The run folder.
            given: The URL as the user gave it, if any.

        Raises:
            InvalidValueError: The URL is wrong.
            RunStateError: The run has a study elsewhere.
        """
        kept = cls.of(run)
        if given is None:
            return kept
        url = parse_url(given)
        # Copies of a run on several machines share a study, and copies of another name do not.
        name = "".join(sign for sign in run.resolve().name if sign.isprintable())
        asked = cls(url, f"{name}-{network_digest(run)}", known=False)
        if kept is not None and str(kept) != str(asked):
            raise RunStateError(
                f"the study of run {str(run)!r} is in {kept}, got {asked}: leave out --storage, "
                f"or search in a copy of the run without its {STORAGE}"
            )
        journal = run / STUDY
        if kept is None and journal.is_file() and journal.stat().st_size:
            raise RunStateError(
                f"the study of run {str(run)!r} is in its {STUDY}, got {asked}: leave out "
                f"--storage, or search in a copy of the run without its {STUDY}"
            )
        return kept or asked

    @classmethod
    def of(cls, run: Path) -> Server | None:
        """The server that a run folder names; None where it names none.

        Raises:
            RunStateError: What it names is damaged.
        """
        path = run / STORAGE
        if not path.is_file():
            return None
        kept = read_json(path)
        require(kept, path, url=str, name=str)
        if not kept["name"].isprintable():
            raise RunStateError(f"{path} is damaged: 'name' is {kept['name']!r:.60}")
        try:
            return cls(parse_url(kept["url"]), kept["name"], known=True)
        except InvalidValueError as error:
            raise RunStateError(f"{path} is damaged: {error}") from None

    def open(self, run: Path, *, create: bool) -> optuna.Study:
        """Opens the study; where it is made, the run folder keeps where it is.

        Raises:
            InvalidValueError: A server that was never reached cannot be.
            NotFoundError: The study is not there.
            RunStateError: The server's tables are those of another Optuna.
            ServerError: The server cannot be reached.
        """
        from sqlalchemy import create_engine

        # Optuna makes its tables where they are not there, which two must not do at once.
        with self.reaching(), self._lock("tables", wait=True):
            engine = create_engine(self._url, pool_pre_ping=True, connect_args=_CONNECTION)
            try:
                storage = optuna.storages.RDBStorage(
                    self._url.render_as_string(), {"pool": engine.pool}
                )
            except RuntimeError as error:
                reason = " ".join(str(error).split())
                raise RunStateError(f"{self} is of another Optuna: {reason}") from None
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
        weakref.finalize(study, engine.dispose)  # closes the connections: Optuna has no word for it
        if not self._known:
            write_json(run / STORAGE, {"url": str(self), "name": self._name})
            self._known = True
        return study

    def claim(self, work: str, *, wait: bool = False) -> AbstractContextManager[bool]:
        """Claims a piece of work on the study, and gives whether nobody else has it.

        Args:
            work: Its name.
            wait: Whether to wait for another who has it.
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
            with engine.connect() as connection:  # whose end lets go
                connection.execute(text(_KEEPALIVES))
                got = connection.scalar(text(f"SELECT {function}(:key)"), {"key": key})
                yield wait or bool(got)

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Puts what goes wrong between here and the server into words."""
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


def parse_url(given: str) -> URL:
    """Reads a URL, and never repeats what may be a password.

    Raises:
        InvalidValueError: It is none of a PostgreSQL server, or holds a password.
        MissingExtraError: What speaks to the server is not installed.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        url = None
    parts = (given, url.username or "", url.database or "") if url else ()
    drivers = ("postgresql", "postgres", "postgresql+psycopg")
    if not url or url.drivername not in drivers or not "".join(parts).isprintable():
        scheme, mark, _ = given.partition("://")
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
    elif set("{}") & set(given):  # which Optuna would fill in
        faults.append("storage must not hold braces: give a database of another name")
    if faults:
        raise InvalidValueError(*faults)
    try:
        import psycopg  # noqa: F401 # which SQLAlchemy loads by name
    except ImportError:
        raise MissingExtraError(
            "psycopg is not installed: pip install 'smash-nas[postgres]', or leave out --storage"
        ) from None
    return url.set(drivername="postgresql+psycopg")


def _reason(error: BaseException) -> str:
    """What the server or the driver said, without the statement that SQLAlchemy adds."""
    cause: Any = error.__cause__ if not hasattr(error, "orig") and error.__cause__ else error
    return " ".join(str(getattr(cause, "orig", None) or cause).split())[:300]
