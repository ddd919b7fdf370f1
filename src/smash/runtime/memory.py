"""Main memory: how much this process may use, and what the C library keeps of it."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

_MOST_KEPT = 1 / 8  # of the memory, that the C library may keep after it was freed


@cache
def main_memory() -> int | None:
    """Measures the memory that this process may use, in bytes; None if the system does not tell.

    It is the machine's memory, or less if the process or its container has a limit.
    """
    limits = list(_container_limits())
    with suppress(AttributeError, ValueError, OSError):  # not on every system
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(ImportError):  # not on Windows
        import resource

        soft = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
        limits += [limit for limit in soft if limit != resource.RLIM_INFINITY]
    return min(limits, default=None)


def _container_limits(
    groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> Iterator[int]:
    """Reads the memory limits of this process's control groups, in bytes.

    Args:
        groups: The groups of the process, one a line: ``NUMBER:CONTROLLERS:PATH``.
        root: The folder of the control groups.
    """
    try:
        lines = groups.read_text().splitlines()
    except OSError:  # not on Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "memory" if controllers else root  # version 1 or 2
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            with suppress(OSError, ValueError):  # it does not exist, or is "max"
                yield int((folder / name).read_text())
            if folder == top:
                break


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def release_memory(*, whatever: bool = False) -> bool:
    """Returns freed memory to the system if the C library keeps too much of it.

    glibc keeps freed activations in fragments: 915 MB after 30 candidates at 32×32, and more with
    each new shape. To return them after each candidate takes 30% more time, and to allocate them by
    mmap twice the time; to return them when 256 MB are kept, as on a machine with 2 GiB, takes 18%.
    A search therefore returns them every hundred candidates, which takes no time that can be
    measured, and before that only where they would fill the memory.

    Args:
        whatever: Whether to return it however little it is.

    Returns:
        Whether memory was returned; never on systems without glibc.
    """
    library, memory = _glibc(), main_memory()
    if library is None or memory is None:
        return False
    if not whatever and library.mallinfo2().fordblks <= _MOST_KEPT * memory:
        return False
    library.malloc_trim(0)
    return True


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libc.so.6")
        library.mallinfo2.restype = _Mallinfo2
        library.malloc_trim.argtypes = [ctypes.c_size_t]
    except (OSError, AttributeError):  # another system, or glibc before 2.33
        return None
    return library
