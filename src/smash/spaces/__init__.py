"""Search spaces: architectures, and the child networks that they describe."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smash._lazy import importer
from smash.config import SpaceSettings
from smash.errors import InvalidValueError, unknown
from smash.spaces.memory_bank.options import PRESETS
from smash.spaces.mobile.presets import choose_options
from smash.spaces.nas_bench_201.options import NasBench201Options
from smash.spaces.task import Task

if TYPE_CHECKING:
    from smash.spaces.base import SearchSpace
    from smash.spaces.memory_bank import MemoryBankSpace
    from smash.spaces.mobile import MobileSpace
    from smash.spaces.nas_bench_201 import NasBench201Space

__all__ = [
    "PRESETS",
    "SPACES",
    "MemoryBankSpace",
    "MobileSpace",
    "NasBench201Space",
    "SearchSpace",
    "Task",
    "make_space",
    "register_space",
]


def _memory_banks(settings: SpaceSettings, dims: int) -> MemoryBankSpace:
    preset = settings.preset or "small"
    if preset not in PRESETS:
        raise InvalidValueError(unknown("preset", preset, PRESETS))
    if "dims" in settings.options:
        raise InvalidValueError("the option 'dims' follows from the data: leave it out")
    options = PRESETS[preset].replaced(**settings.options, dims=dims)
    from smash.spaces.memory_bank.space import MemoryBankSpace

    return MemoryBankSpace(options)


def _cells(settings: SpaceSettings, dims: int) -> NasBench201Space:
    if settings.preset is not None:
        raise InvalidValueError(
            f"the space {settings.name!r} has no presets, got preset {settings.preset!r}: "
            "leave it out"
        )
    options = NasBench201Options(**settings.options)
    from smash.spaces.nas_bench_201.space import NasBench201Space

    return NasBench201Space(options)


def _mobile(settings: SpaceSettings, dims: int) -> MobileSpace:
    options = choose_options(settings.preset or "small", settings.options)
    from smash.spaces.mobile.space import MobileSpace

    return MobileSpace(options)


Maker = Callable[[SpaceSettings, int], "SearchSpace[Any]"]
"""Makes a space from its settings and the number of spatial axes of the inputs."""

SPACES: dict[str, Maker] = {
    "memory-bank": _memory_banks,
    "nas-bench-201": _cells,
    "mobile": _mobile,
}
"""Search spaces by name; a program that opens runs of its own space adds it here.

Commands also find spaces that installed packages declare as entry points of `GROUP`.
"""

_BUILT_IN = frozenset(SPACES)

GROUP = "smash.spaces"
"""Group of entry points; each is a `Maker` under the name of its space."""


__getattr__ = importer(
    __name__,
    {
        "smash.spaces.base": ("SearchSpace",),
        "smash.spaces.memory_bank": ("MemoryBankSpace",),
        "smash.spaces.mobile": ("MobileSpace",),
        "smash.spaces.nas_bench_201": ("NasBench201Space",),
    },
)


def is_user_code(name: str) -> bool:
    """Tells whether a name is one of a function: ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION``."""
    return ":" in name


def make_space(settings: SpaceSettings, dims: int) -> SearchSpace[Any]:
    """Makes the space that settings name.

    Args:
        settings: Name, preset and options of the space.
        dims: Spatial axes of the inputs.

    Raises:
        InvalidValueError: A name is unknown, or an option is wrong.
    """
    maker = SPACES.get(settings.name)
    if maker is None and is_user_code(settings.name):
        from smash.spaces.user_code import check_source, find_user_space

        space = find_user_space(settings.name)
        check_source(settings.name, space, settings.source)
        return maker_of(space)(settings, dims)
    maker = maker or _installed(settings.name)
    if maker is None:
        raise InvalidValueError(
            f"{unknown('space', settings.name, SPACES)} (add your own to smash.SPACES, or as an "
            f"entry point {GROUP!r} of an installed package)"
        )
    made = maker(settings, dims)
    if settings.source:
        from smash.spaces.user_code import check_source

        check_source(settings.name, made, settings.source)
    return made


def maker_of(space: SearchSpace[Any]) -> Maker:
    """Returns a maker that gives an existing space, which has neither options nor presets."""

    def make(settings: SpaceSettings, dims: int) -> SearchSpace[Any]:
        faults = [
            f"space {space.name!r} has no options, got {name}: leave it out"
            for name in settings.options
        ]
        if settings.preset is not None:
            faults.append(
                f"space {space.name!r} has no presets, got {settings.preset!r}: leave it out"
            )
        if faults:
            raise InvalidValueError(*faults)
        return space

    return make


def register_space(space: SearchSpace[Any] | str) -> str:
    """Registers a space for runs of this program, and gives its name.

    Args:
        space: The space, or ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION``, whose code is executed.

    Raises:
        InvalidValueError: It is no space, or has the name of a built-in one.
    """
    if isinstance(space, str):
        place = space.rpartition(":")[0]
        if not is_user_code(space) or (space in SPACES and not Path(place).is_file()):
            return space
        from smash.spaces.user_code import load_space, short_name

        name, made = short_name(space), load_space(space)
    else:
        from smash.spaces.base import SearchSpace

        if not isinstance(space, SearchSpace):
            remedy = "make one of it by smash.space(function)" if callable(space) else "name one"
            raise InvalidValueError(
                f"space must be a SearchSpace or FILE.py:FUNCTION, got {space!r:.100}: {remedy}"
            )
        name, made = space.name, space
        if name in _BUILT_IN:
            raise InvalidValueError(
                f"space {name!r} is built in, and a run of another one could not be opened again: "
                "give yours another name; options of a built-in one are settings"
            )
    SPACES[name] = maker_of(made)
    return name


def _installed(name: str) -> Maker | None:
    """Loads the maker of a space that an installed package declares."""
    for point in entry_points(group=GROUP, name=name):
        try:
            maker: Maker = point.load()
        except (ImportError, AttributeError) as error:
            raise InvalidValueError(
                f"space {name!r} cannot be loaded from {point.value!r}: {error}; fix the package "
                "that declares it"
            ) from None
        return maker
    return None
