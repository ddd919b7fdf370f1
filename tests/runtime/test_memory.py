from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from smash.runtime import memory
from smash.runtime.memory import _container_limits, main_memory, release_memory
from tests.processes import in_process


def _print_limited_memory(out):
    resource.setrlimit(resource.RLIMIT_DATA, (2**33, 2**33))
    out.write_text(str(main_memory()))


def test_main_memory_under_a_process_limit_is_that_limit(tmp_path):
    assert in_process(_print_limited_memory, tmp_path / "out") == 0
    assert int((tmp_path / "out").read_text()) == min(main_memory(), 2**33)


@pytest.mark.parametrize(
    ("groups", "files", "limits"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "500"}, [500]),
        ("0::/a/b\n", {"a/b/memory.max": "300", "a/memory.max": "500"}, [300, 500]),
        ("0::/\n", {"memory.max": "700"}, [700]),
        (
            "5:devices:/\n4:cpu,memory:/a\n0::/\n",
            {"memory/a/memory.limit_in_bytes": "400", "memory/memory.limit_in_bytes": "900"},
            [400, 900],
        ),
        ("0::/gone\n", {}, []),
        (None, {}, []),
    ],
)
def test_container_limits_are_those_of_all_groups_above(tmp_path, groups, files, limits):
    if groups is not None:
        (tmp_path / "groups").write_text(groups)
    for name, content in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    assert list(_container_limits(tmp_path / "groups", tmp_path / "root")) == limits


def _free_fragments():
    """Allocates 300 MB below the size that glibc maps, and frees all but every sixteenth piece.

    The pieces that stay keep glibc from returning the freed ones by itself, wherever they lie.
    """
    torch.set_num_threads(1)
    pieces = [torch.ones(2**14) for _ in range(4800)]
    return pieces[::16]


def _release(memory_size, out):
    memory.main_memory = lambda: memory_size
    pinned = _free_fragments()
    resident = [_resident()]
    released = release_memory()
    resident.append(_resident())
    out.write_text(f"{released} {resident[0] - resident[1]} {len(pinned)}")


def _resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize(("size", "is_released"), [(2**30, True), (2**40, False)])
def test_release_memory_returns_what_exceeds_an_eighth_of_the_memory(tmp_path, size, is_released):
    if memory._glibc() is None:
        assert not release_memory()
        return
    assert in_process(_release, size, tmp_path / "out") == 0
    released, returned, _ = (tmp_path / "out").read_text().split()
    assert released == str(is_released)
    assert (int(returned) > 100 * 2**20) == is_released
