"""Atomic file IO: writes that survive errors, and readers that refuse what is no such file."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from smash.errors import RunStateError
from smash.io.files import (
    append,
    check_entries,
    make_folder,
    parse_json,
    read_json,
    read_lines,
    read_text,
    remove_abandoned,
    replacing,
    write_atomically,
    write_json,
)
from smash.io.tensors import load_tensors
from tests.processes import in_process, without_rights


@pytest.fixture
def calls(monkeypatch):
    """Records calls to `fsync` and `replace`, in order."""
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


def test_write_atomically_syncs_the_file_and_then_its_folder(tmp_path, calls):
    path = tmp_path / "file"
    write_atomically(path, b"new")
    (sync, temporary), (rename, _), last = calls
    assert (sync, rename, last) == ("fsync", "replace", ("fsync", tmp_path.name))
    assert temporary.startswith(".file.")
    assert temporary.endswith(".tmp")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_make_folder_syncs_the_parents_of_new_folders(tmp_path, calls):
    make_folder(tmp_path / "a" / "b")
    assert {name for _, name in calls} == {tmp_path.name, "a"}
    make_folder(tmp_path / "a" / "b")
    assert len(calls) == 2


def test_write_atomically_after_an_error_leaves_the_old_file(tmp_path, monkeypatch):
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
    """Writes more than the limit of 1000 bytes a file, which acts like a full disk."""
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


def test_writes_beyond_the_file_size_limit_leave_the_old_file(tmp_path):
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


def test_writes_to_a_read_only_folder_leave_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old\n")
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    assert in_process(_write_without_rights, path) == 0
    tmp_path.chmod(0o755)
    assert path.read_bytes() == b"old\n"


def test_append_removes_an_unfinished_last_line(tmp_path):
    path = tmp_path / "lines"
    append(path, '{"a": 1}\n')
    with path.open("a") as file:
        file.write('{"a": 2, "cut')
    assert list(read_lines(path, "mend it")) == [{"a": 1}]
    append(path, '{"a": 3}\n{"a": 4}\n')
    assert path.read_text() == '{"a": 1}\n{"a": 3}\n{"a": 4}\n'


@pytest.mark.parametrize("length", [1, 4095, 4096, 4097, 9000])
def test_append_finds_the_last_whole_line_across_blocks(tmp_path, length):
    path = tmp_path / "lines"
    path.write_bytes(b'{"a": 1}\n' + b"x" * length)
    append(path, '{"a": 2}\n')
    assert path.read_text() == '{"a": 1}\n{"a": 2}\n'
    path.write_bytes(b"x" * length)
    append(path, '{"a": 2}\n')
    assert path.read_text() == '{"a": 2}\n'


@pytest.mark.parametrize("line", ["{", "[1]", "1", "", "\0", '{"a": NaN', "[" * 100_000])
def test_read_lines_names_a_damaged_line(tmp_path, line):
    path = tmp_path / "lines"
    path.write_text('{"a": 1}\n' + line + "\n")
    with pytest.raises(RunStateError, match="lines is damaged in line 2: mend it"):
        list(read_lines(path, "mend it"))


def test_read_lines_bounds_a_line_and_not_their_number(tmp_path, monkeypatch):
    monkeypatch.setattr("smash.io.files._MAX_BYTES", 30)
    path = tmp_path / "lines"
    path.write_text('{"a": 1}\n' * 20)
    assert list(read_lines(path, "mend it")) == [{"a": 1}] * 20
    for end in ("", "\n"):
        path.write_text('{"a": 1}\n' + '{"a": "' + "x" * 30 + '"}' + end)
        with pytest.raises(RunStateError, match="line 2 must be at most 30 bytes: mend it"):
            list(read_lines(path, "mend it"))


def test_read_json_refuses_all_but_an_object(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, {"a": [1, "é"]})
    assert read_json(path) == {"a": [1, "é"]}
    for content in (b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"):
        path.write_bytes(content)
        with pytest.raises(RunStateError, match=r"file\.json is damaged"):
            read_json(path)


def test_readers_refuse_a_file_that_is_too_large(tmp_path):
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: it takes no room
    for read in (read_json, read_text):
        with pytest.raises(RunStateError, match="must be at most"):
            read(path)
    with pytest.raises(RunStateError, match="must be at most"):
        list(read_lines(path, "mend it"))


@pytest.fixture(params=["pipe", "folder", "device"])
def irregular(request, tmp_path):
    """A path that is no regular file."""
    path = tmp_path / "file"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    return path


def test_readers_refuse_what_is_no_regular_file(irregular):
    for read in (read_json, read_text, load_tensors):
        with pytest.raises(RunStateError, match="file must be a regular file"):
            read(irregular)
    with pytest.raises(RunStateError, match="file must be a regular file"):
        list(read_lines(irregular, "mend it"))


def test_append_refuses_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunStateError, match="pipe must be a regular file"):
        append(tmp_path / "pipe", "line\n")


def test_append_refuses_a_link(tmp_path):
    decoy = tmp_path / "decoy"
    decoy.write_text("kept\nunfinished")
    for name, target in (("link", decoy), ("dangling", tmp_path / "new")):
        (tmp_path / name).symlink_to(target)
        with pytest.raises(RunStateError, match=f"{name} is a link and is not written to"):
            append(tmp_path / name, "line\n")
    assert decoy.read_text() == "kept\nunfinished"
    assert not (tmp_path / "new").exists()


def test_write_atomically_replaces_a_link_and_not_its_target(tmp_path):
    decoy = tmp_path / "decoy"
    decoy.write_text("kept")
    (tmp_path / "file").symlink_to(decoy)
    write_atomically(tmp_path / "file", b"new")
    assert decoy.read_text() == "kept"
    assert (tmp_path / "file").read_bytes() == b"new"


def test_write_atomically_with_a_predicted_name_refuses_the_link_there(tmp_path, monkeypatch):
    decoy = tmp_path / "decoy"
    decoy.write_text("kept")
    monkeypatch.setattr("secrets.token_hex", lambda size: "ab")
    (tmp_path / ".file.ab.tmp").symlink_to(decoy)
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "file", b"new")
    assert decoy.read_text() == "kept"


def test_check_entries_names_links_and_pipes(tmp_path):
    run = tmp_path / "run"
    (run / "children" / "a").mkdir(parents=True)
    (run / "config.toml").touch()
    (run / "study.journal.lock").symlink_to("study.journal")  # as Optuna makes it
    (tmp_path / "link").symlink_to(run)
    check_entries(run, depth=3)
    check_entries(tmp_path / "link", depth=3)  # the folder itself may be a link
    (run / "children" / "b").symlink_to(tmp_path)
    os.mkfifo(run / "children" / "a" / "result.json")
    (run / "network.safetensors").symlink_to("nowhere")
    rule = "which a run folder may not hold: remove it"
    faults = [
        f"{run}/children/a/result.json is no regular file, {rule}",
        f"{run}/children/b is a link, {rule}",
        f"{run}/network.safetensors is a link, {rule}",
    ]
    for depth in (1, 2, 3):
        with pytest.raises(RunStateError) as caught:
            check_entries(run, depth)
        assert list(caught.value.faults) == faults[-depth:]


def test_parse_json_nested_too_deeply_raises_value_error():
    with pytest.raises(ValueError, match="nested"):
        parse_json("[" * 100_000)


def test_remove_abandoned_keeps_new_and_other_files(tmp_path):
    old, new, other = (tmp_path / name for name in (".a.1.tmp", ".b.2.tmp", ".train.lock"))
    for path in (old, new, other):
        path.touch()
    for path in (old, other):
        os.utime(path, (0, time.time() - 4000))
    remove_abandoned(tmp_path)
    assert not old.exists()
    assert new.exists()
    assert other.exists()


def test_replacing_keeps_the_previous_file_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "table.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), replacing(path) as file:
        file.write(b"half")
        raise KeyError
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == b"old"
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == b"new"


def test_replacing_in_a_folder_that_is_missing_names_the_file(tmp_path):
    path = tmp_path / "none" / "table.bin"
    with pytest.raises(OSError, match="table") as caught, replacing(path):
        pass
    assert caught.value.filename == str(path)
