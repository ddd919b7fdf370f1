"""Search spaces in files and modules of the user, which run only where the user names them.

A run folder stores the name of such a space and a digest of its source. It may come from somebody
else, so the name alone never runs anything: each command that needs the space is told to by
``smash --space FILE.py:FUNCTION …``, and compares the digest.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from cloudpickle import register_pickle_by_value

from smash.errors import InvalidValueError, NotFoundError, RunStateError
from smash.spaces.base import SearchSpace
from smash.spaces.choices import FunctionSpace

SPACE_VARIABLE = "SMASH_SPACE"
"""Environment variable with the space whose code may run, as ``FILE.py:FUNCTION``."""


def short_name(name: str) -> str:
    """Gives the name as a run folder stores it: without the directories of this machine."""
    place, _, function = name.rpartition(":")
    return f"{Path(place).name}:{function}"


def load_space(name: str) -> SearchSpace[Any]:
    """Imports a function, or a space, from a file or a module that the user named.

    Args:
        name: ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION``.

    Raises:
        NotFoundError: The file, the module or the function does not exist.
        InvalidValueError: Importing it fails, or it is no network function.
    """
    place, _, function = name.rpartition(":")
    module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    found: Any = module
    for part in function.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise NotFoundError(f"space {name!r}: {place!r} has no {function!r}: check the name")
    if isinstance(found, FunctionSpace):
        found = found.function
    if isinstance(found, SearchSpace):
        return found
    return FunctionSpace(found, short_name(name))


def find_user_space(name: str) -> SearchSpace[Any]:
    """Finds the space of a run, if the user has said that its code may run.

    Args:
        name: The name that the run stores.

    Raises:
        InvalidValueError: The user has not said so, or has named another one.
    """
    allowed = os.environ.get(SPACE_VARIABLE, "")
    if short_name(allowed) != name:
        raise InvalidValueError(
            f"space {name!r} is code of your own, which runs only where you name it: "
            f"smash --space PATH/{name} … (or {SPACE_VARIABLE}; from Python, import the module)"
        )
    return load_space(allowed)


def source_digest(space: SearchSpace[Any]) -> str:
    """Computes twelve digits that identify the source file of a space's function."""
    function = space.function if isinstance(space, FunctionSpace) else type(space)
    try:
        file = inspect.getsourcefile(function if inspect.isfunction(function) else type(function))
        source = Path(file or "").read_bytes()
    except (OSError, TypeError):
        return ""
    return hashlib.sha256(source).hexdigest()[:12]


def check_source(name: str, space: SearchSpace[Any], digest: str) -> None:
    """Makes sure that the function of a space is the one that a run was made with.

    Raises:
        RunStateError: It has changed.
    """
    if digest and source_digest(space) != digest:
        raise RunStateError(
            f"space {name!r} has changed since the run was made: restore its source (digest "
            f"{digest}), or train anew"
        )


def _import_file(path: Path) -> ModuleType:
    """Runs a file, unless it was run before and has not changed."""
    if not path.is_file():
        raise NotFoundError(f"space file {str(path)!r} does not exist: check the path")
    version = path.stat()
    module = _run_file(path.absolute(), version.st_mtime_ns, version.st_size)
    sys.modules[module.__name__] = module  # another file may have taken the name since
    return module


@lru_cache(maxsize=16)
def _run_file(path: Path, mtime_ns: int, size: int) -> ModuleType:
    name = f"smash_space_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidValueError(f"space file {str(path)!r} must be a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickled functions look it up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InvalidValueError(
            f"space file {str(path)!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    register_pickle_by_value(module)  # a worker process cannot import it
    return module


def _import_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise NotFoundError(
            f"space module {name!r} does not exist: {error}; install it, or name a file"
        ) from None
    except Exception as error:
        raise InvalidValueError(
            f"space module {name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
