from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from smash.errors import NotFoundError
from smash.study import journal
from smash.study.study import Study
from tests.answers import content
from tests.processes import in_process
from tests.study.candidates import make_candidate


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A study of two candidates at the relative path ``run/study.journal``."""
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    study = Study(Path("run/study.journal"), create=True)
    for name in ("a", "b"):
        study.add(make_candidate(name))
    return tmp_path


def _add(folder: Path) -> None:
    os.chdir(folder)
    Study(Path("run/study.journal"), create=True).add(make_candidate("c"))


@pytest.mark.parametrize("target", ["run/study.journal", "gone/study.journal"])
def test_dangling_lock_of_a_killed_process_is_removed(folder, target):
    """A target relative to the working directory dangles: it is looked up in the link's folder."""
    Path("run/study.journal.lock").symlink_to(target)
    assert not Path("run/study.journal.lock").exists()
    assert in_process(_add, folder) == 0
    assert len(Study(Path("run/study.journal")).candidates()) == 3
    assert not os.path.lexists("run/study.journal.lock")


def test_old_lock_of_a_killed_process_is_removed(folder, monkeypatch):
    monkeypatch.setattr(journal, "_PATIENCE", 300)  # seconds, the age of the lock is decades
    link = Path("run/study.journal.lock")
    link.symlink_to(folder / "run/study.journal")
    os.utime(link, (0, 0), follow_symlinks=False)
    began = time.monotonic()
    _add(folder)
    assert time.monotonic() - began < 300


def test_lock_links_to_the_absolute_path(folder, monkeypatch):
    targets = []
    symlink = os.symlink

    def recording(target, link, **options):
        targets.append(target)
        symlink(target, link, **options)

    monkeypatch.setattr(os, "symlink", recording)
    _add(folder)
    assert targets
    assert set(targets) == {str(folder / "run/study.journal")}


def test_reader_passes_over_an_unfinished_line_and_a_writer_cuts_it_off(folder):
    path = Path("run/study.journal")
    path.write_bytes(path.read_bytes()[:-20])
    reader, before = Study(path), content(folder)
    assert [each.id for each in reader.candidates()] == ["a"]
    assert content(folder) == before
    _add(folder)
    assert [each.id for each in reader.candidates()] == ["a", "c"]
    assert [each.id for each in Study(path).candidates()] == ["a", "c"]


def test_journal_whose_first_line_was_cut_off_is_no_study(folder):
    path = Path("run/study.journal")
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(NotFoundError, match="has no candidates"):
        Study(path)
    _add(folder)
    assert [each.id for each in Study(path).candidates()] == ["c"]
