"""What is written is there whole or not at all; what is read is bounded and refused in words."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from smash.errors import RunStateError
from smash.io.files import (
    append,
    make_folder,
    parse_json,
    read_json,
    read_lines,
    read_text,
    remove_abandoned,
    write_atomically,
    write_json,
)
from tests.processes import in_process, without_rights


@pytest.fixture
def calls(monkeypatch):
    """What is asked of the system about files, in order; it is done all the same."""
    made = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)

        def recorded(*arguments, name=name, real=real):
            target = arguments[0]
            path = Path(f"/proc/self/fd/{target}").readlink() if isinstance(target, int) else target
            made.append((name, Path(path).name))
            return real(*arguments)

        monkeypatch.setattr(os, name, recorded)
    return made


def test_a_file_is_synced_renamed_and_its_folder_synced(tmp_path, calls):
    path = tmp_path / "file"
    write_atomically(path, b"new")
    (sync, temporary), (rename, _), last = calls
    assert (sync, rename, last) == ("fsync", "replace", ("fsync", tmp_path.name))
    assert temporary.startswith(".file.")
    assert temporary.endswith(".tmp")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_new_folders_are_synced_where_their_names_are(tmp_path, calls):
    make_folder(tmp_path / "a" / "b")
    assert {name for _, name in calls} == {tmp_path.name, "a"}
    make_folder(tmp_path / "a" / "b")
    assert len(calls) == 2  # nothing was made


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(path, b"new")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def _write_much(path):
    """With at most 1000 bytes a file, as on a disk that is full."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    for write in (write_atomically, append):
        content = b"x" * 2000 if write is write_atomically else "y" * 2000 + "\n"
        try:
            write(path, content)
        except OSError as error:
            assert error.errno == errno.EFBIG
            assert error.filename == str(path)
        else:
            raise AssertionError("it was written")


def test_where_the_system_takes_no_more_bytes_the_old_file_is_left(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old\n")
    assert in_process(_write_much, path) == 0
    assert path.read_bytes() == b"old\n"
    assert list(tmp_path.iterdir()) == [path]


def _write_without_rights(path):
    without_rights()
    for write, content in ((write_atomically, b"new"), (append, "new\n")):
        try:
            write(path, content)
        except PermissionError as error:
            assert error.filename == str(path)
        else:
            raise AssertionError("it was written")


def test_a_folder_that_cannot_be_written_to_is_left_as_it_is(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old\n")
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    assert in_process(_write_without_rights, path) == 0
    tmp_path.chmod(0o755)
    assert path.read_bytes() == b"old\n"


def test_lines_are_added_after_the_last_whole_one(tmp_path):
    path = tmp_path / "lines"
    append(path, '{"a": 1}\n')
    with path.open("a") as file:
        file.write('{"a": 2, "cut')
    assert read_lines(path, "mend it") == [{"a": 1}]
    append(path, '{"a": 3}\n{"a": 4}\n')
    assert path.read_text() == '{"a": 1}\n{"a": 3}\n{"a": 4}\n'


@pytest.mark.parametrize("length", [1, 4095, 4096, 4097, 9000])
def test_the_last_whole_line_is_found_however_long_what_follows_is(tmp_path, length):
    path = tmp_path / "lines"
    path.write_bytes(b'{"a": 1}\n' + b"x" * length)
    append(path, '{"a": 2}\n')
    assert path.read_text() == '{"a": 1}\n{"a": 2}\n'
    path.write_bytes(b"x" * length)
    append(path, '{"a": 2}\n')
    assert path.read_text() == '{"a": 2}\n'


@pytest.mark.parametrize("line", ["{", "[1]", "1", "", "\0", '{"a": NaN', "[" * 100_000])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "lines"
    path.write_text('{"a": 1}\n' + line + "\n")
    with pytest.raises(RunStateError, match="lines is damaged in line 2: mend it"):
        read_lines(path, "mend it")


def test_json_comes_back_and_all_else_is_refused(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, {"a": [1, "é"]})
    assert read_json(path) == {"a": [1, "é"]}
    for content in (b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"):
        path.write_bytes(content)
        with pytest.raises(RunStateError, match=r"file\.json is damaged"):
            read_json(path)


def test_a_file_that_is_far_too_large_is_not_read(tmp_path):
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(2**40)  # a sparse one takes no room
    for read in (read_json, read_text):
        with pytest.raises(RunStateError, match="must be at most"):
            read(path)
    with pytest.raises(RunStateError, match="must be at most"):
        read_lines(path, "mend it")


def test_nesting_without_end_is_a_value_error():
    with pytest.raises(ValueError, match="nested"):
        parse_json("[" * 100_000)


def test_only_old_temporary_files_are_removed(tmp_path):
    old, new, other = (tmp_path / name for name in (".a.1.tmp", ".b.2.tmp", ".train.lock"))
    for path in (old, new, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (0, time.time() - 4000))
    remove_abandoned(tmp_path)
    assert not old.exists()
    assert new.exists()
    assert other.exists()
