from __future__ import annotations

import importlib.util
import shutil
import socket
import sys

import pytest

import smash
from smash.runtime.executor import SerialExecutor
from tests.answers import content
from tests.processes import in_process
from tests.runtime.executors import check_executor

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed: pip install 'smash-nas[ray]'",
)


@pytest.fixture(scope="module")
def copied(finished, tmp_path_factory):
    path = tmp_path_factory.mktemp("executor") / "run"
    shutil.copytree(finished, path)
    return path


def test_serial_executor_keeps_the_contract_of_executors():
    check_executor(SerialExecutor())


def test_serial_executor_does_work_once_and_when_its_result_is_asked_for():
    done = []

    def work(value):
        done.append(value)
        return -value

    executor = SerialExecutor()
    futures = [executor.submit(work, value) for value in (1, 2, 3)]
    assert done == []
    assert futures[1].result() == futures[1].result() == -2
    assert done == [2]
    assert [future.result() for future in executor.as_completed(futures)] == [-1, -2, -3]
    assert done == [2, 1, 3]


def _search_without_ray(path):
    smash.search(smash.Run.open(path), random=4, perturb=1, markov=1, device="cpu")
    assert "ray" not in sys.modules


def test_search_in_this_process_does_not_import_ray(copied):
    assert in_process(_search_without_ray, copied) == 0


def _free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@needs_ray
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("here", "ray must be auto, local or HOST:PORT of a Ray cluster, got 'here'"),
        ("127.0.0.1:seven", "ray must be auto, local or HOST:PORT"),
        (
            "ray://127.0.0.1:99999",
            "ray 'ray://127.0.0.1:99999' is not a Ray cluster that can be joined",
        ),
        (f"127.0.0.1:{_free_port()}", "is not a Ray cluster that can be joined: start one with"),
    ],
    ids=["word", "port", "scheme", "nobody there"],  # the same in each process: the port is not
)
def test_command_with_a_wrong_ray_address_fails_in_one_line(command, copied, address, words):
    before = content(copied)
    for line in (
        f"search {copied} --random 9 --perturb 1 --markov 1 --ray {address}",
        f"retrain {copied} --ranks 0-1 --epochs 1 --seed 5 --ray {address}",
        f"correlate {copied} --train 3 --epochs 1 --ray {address}",
    ):
        answer = command(*line.split(), "--device", "cpu")
        assert (answer.code, len(answer.faults)) == (2, 1), answer.err
        assert words in answer.faults[0]
    assert content(copied) == before


def test_command_without_ray_names_the_extra(command, copied, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    answer = command("search", str(copied), "--random", "9", "--ray", "auto", "--device", "cpu")
    assert answer.code == 2
    assert answer.faults == [
        "smash: ray 'auto' needs Ray, which is not installed: pip install 'smash-nas[ray]'"
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--ray auto --rank 1", "ray is for several children at once, got 'auto' with rank 1"),
        ("--ranks 3-1", "ranks must be numbers and ranges such as 0-4 or 0,2,5, got '3-1'"),
        ("--ranks=-1", "ranks must be numbers and ranges"),
        ("--ranks 0-9", "does not exist: ranks go from 0, the best, to"),
        ("--ranks 0 --rank 1", "rank is for one child, got 1 with ranks '0'"),
        ("--ranks 0 --finalists 2", "finalists is for one child, got 2 with ranks '0'"),
        ("--ranks 0 --finals-share 2", "finals_share is for one child, got 2.0 with ranks '0'"),
    ],
)
def test_retrain_with_wrong_ranks_fails_in_one_line(command, copied, options, words):
    answer = command("retrain", str(copied), *options.split(), "--device", "cpu")
    assert (answer.code, len(answer.faults)) == (2, 1), answer.err
    assert words in answer.faults[0]


def test_correlate_of_a_table_refuses_ray(command, copied):
    line = f"correlate {copied} --table t.csv --column accuracy --ray auto"
    answer = command(*line.split())
    assert answer.code == 2
    assert "ray is for trained candidates, not for a table: leave it out" in answer.faults[0]


def test_retrain_of_several_ranks_trains_each_once(command, copied):
    line = f"retrain {copied} --ranks 1,0-1 --epochs 1 --seed 3 --device cpu"
    first = command(*line.split())
    assert first.code == 0
    children = sorted(path.name for path in (copied / "children").glob("*-s3"))
    assert len(children) == 2
    before = content(copied / "children")
    assert command(*line.split()).out == first.out  # what is there is kept
    assert content(copied / "children") == before
