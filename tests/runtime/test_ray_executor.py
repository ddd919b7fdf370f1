"""A cluster of several machines, each a raylet of this one; some are killed in the middle."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch

import smash
from smash.correlation.correlate import correlate
from smash.errors import DivergedError, InvalidValueError, LostProcessError
from smash.io.tensors import load_tensors
from smash.runtime import ray_executor
from smash.runtime.ray_executor import DEVICE, open_executor
from smash.spaces import SPACES
from smash.spaces.user_code import load_space
from smash.training.children import retrain_several
from tests.answers import content
from tests.conftest import TINY
from tests.runtime.executors import check_executor

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'smash-nas[ray]'")


MACHINE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


@pytest.fixture(scope="module")
def cluster():
    """Two machines of one CPU each; the first holds what is shared."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={**MACHINE, "include_dashboard": False})
    made.add_node(**MACHINE)
    ray.init(made.address, log_to_driver=False, logging_level="ERROR")
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A run whose cohorts were raced here; never altered, only copied."""
    path = tmp_path_factory.mktemp("far")
    data = smash.load_data("digits", val_fraction=0.4)  # enough of them to race
    run = smash.train(data, path / "trained", epochs=1, **TINY)
    shutil.copytree(run.path, path / "here")
    smash.search(smash.Run.open(path / "here"), **SEARCH)
    return path


SEARCH = {"random": 12, "perturb": 2, "markov": 1, "device": "cpu"}
TRAIN = {"epochs": 1, "device": "cpu", "augment": False}


def equal(one, other):
    """Whether two files hold the same tensors, bit by bit; what is said of them has no order."""
    tensors, others = load_tensors(one)[0], load_tensors(other)[0]
    return tensors.keys() == others.keys() and all(
        torch.equal(value, others[name]) for name, value in tensors.items()
    )


def killing(cluster, after):
    """Progress that kills a machine once so many are done."""

    @contextmanager
    def shown(label, total):
        def advance(done, words):
            if done == after and cluster.worker_nodes:
                victim = next(iter(cluster.worker_nodes))
                cluster.remove_node(victim, allow_graceful=False)

        yield advance

    return shown


def test_search_that_loses_a_machine_ends_in_the_same_study(cluster, searched):
    shutil.copytree(searched / "trained", searched / "far")
    run = smash.Run.open(searched / "far")
    study = smash.search(run, **SEARCH, ray="auto", progress=killing(cluster, after=5))
    assert not cluster.worker_nodes  # it was killed
    here = smash.Study(searched / "here" / "study.journal", run.space).candidates()
    assert study.candidates() == here
    assert len({(one.strategy, one.index) for one in here}) == len(here) == 15
    assert any(one.partial for one in here)  # there was a race
    assert content(run.path)["study.journal"].count(b'"op_code":4') == 15  # trials created


def test_children_trained_on_a_cluster_are_those_trained_here(cluster, searched):
    for name in ("one", "several"):
        shutil.copytree(searched / "here", searched / name)
    here = retrain_several(smash.Run.open(searched / "one"), [0, 1], **TRAIN)
    run = smash.Run.open(searched / "several")
    there = retrain_several(run, [0, 1], **TRAIN, ray="auto")
    for one, other in zip(here, there, strict=True):
        assert content(one.path).keys() == content(other.path).keys()
        assert (one.record, one.result) == (other.record, other.result)
        for name in ("model.safetensors", "state.safetensors"):
            assert equal(one.path / name, other.path / name), name
    # What is there is kept: nothing is trained, so the machines are not needed.
    again = retrain_several(run, [1, 0], **TRAIN)
    assert [child.record.id for child in again] == [there[1].record.id, there[0].record.id]


def test_finals_on_a_cluster_choose_the_winner_that_is_chosen_here(cluster, searched):
    winners = []
    for name, address in (("finals-here", None), ("finals-there", "auto")):
        run = smash.Run.open(shutil.copytree(searched / "here", searched / name))
        winners.append(smash.retrain(run, finalists=3, ray=address, **TRAIN))
    one, other = winners
    assert (one.record, one.result) == (other.record, other.result)


SPACE = """
from torch import nn


def network(choose, task):
    width = choose("width", (4, 6, 8, 10))
    return nn.Sequential(
        nn.Conv2d(task.channels, width, choose("kernel", (1, 3)), padding="same"),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, task.classes),
    )
"""


def test_a_space_in_a_file_of_this_machine_is_searched_and_trained_on_a_cluster(
    cluster, few_digits, tmp_path, monkeypatch
):
    monkeypatch.setattr("smash.spaces.SPACES", dict(SPACES))
    file = tmp_path / "mine.py"
    file.write_text(SPACE)
    space = load_space(f"{file}:network")
    here = smash.train(few_digits, tmp_path / "here", space=space, epochs=1, device="cpu")
    there = smash.Run.open(shutil.copytree(here.path, tmp_path / "there"))
    there.data = here.data
    few = {"random": 3, "perturb": 0, "markov": 0, "device": "cpu"}
    found = smash.search(here, **few).candidates()
    assert smash.search(there, **few, ray="auto").candidates() == found
    (one,), (other,) = (
        retrain_several(run, [0], **TRAIN, ray=ray_address)
        for run, ray_address in ((here, None), (there, "auto"))
    )
    assert other.result == one.result


def test_correlate_that_loses_a_machine_finds_the_same(cluster, searched):
    if not cluster.worker_nodes:  # another test has killed it
        cluster.add_node(**MACHINE)
    runs = [
        Path(shutil.copytree(searched / "here", searched / name))
        for name in ("checked", "checked far")
    ]
    here = correlate(smash.Run.open(runs[0]), train=3, **TRAIN)
    lost = killing(cluster, after=1)
    there = correlate(smash.Run.open(runs[1]), train=3, **TRAIN, ray="auto", progress=lost)
    assert not cluster.worker_nodes  # it was killed
    assert there.points == here.points
    one, other = map(content, runs)
    assert one.keys() == other.keys()
    for name in one:
        if name.endswith(("trust.json", "trust.jsonl", "trust.svg", "result.json")):
            assert one[name] == other[name], name
    models = [name for name in one if name.endswith("model.safetensors")]
    assert len(models) == 3
    assert all(equal(runs[0] / name, runs[1] / name) for name in models)


@pytest.fixture(scope="module")
def devices(cluster):
    """A machine with room for many commands and two devices."""
    cluster.add_node(**MACHINE | {"num_cpus": 4}, resources={DEVICE: 2})


def occupy(folder):
    """Uses one of two devices; it must be free, and both must be used at once."""
    for sign in (folder / "first", folder / "second"):
        with suppress(FileExistsError):
            sign.touch(exist_ok=False)
            break
    else:
        raise RuntimeError("no device is free")
    (folder / f"began-{time.time_ns()}").touch()
    patience = time.monotonic() + 100
    while len([*folder.glob("began-*")]) < 2:
        assert time.monotonic() < patience
        time.sleep(0.01)
    time.sleep(0.2)
    sign.unlink()


def test_submit_to_device_uses_each_device_for_one_piece_of_work_at_a_time(devices, tmp_path):
    with open_executor("auto", "cpu") as executor:
        assert executor.has_devices
        for future in [executor.submit_to_device(occupy, tmp_path) for _ in range(5)]:
            future.result()


TIMED = """import os, sys, time
def runs():
    with open({log!r}) as log:
        return log.readlines()
with open({log!r}, "a") as log:
    print(os.getppid() == {pid}, sys.argv[1], file=log)
while {together} and len(runs()) == 2:  # the candidates are timed together
    time.sleep(0.01)
print(os.path.getsize(sys.argv[1].replace(".py", ".safetensors")) / 1e6)
"""


def test_search_times_its_candidates_on_all_devices_as_it_would_here(devices, searched, tmp_path):
    few = {"random": 2, "perturb": 0, "markov": 0, "device": "cpu", "latency_format": "py"}
    studies, logs = [], []
    for ray_address in ("auto", None):
        folder = tmp_path / str(ray_address)
        run = smash.Run.open(shutil.copytree(searched / "trained", folder / "run"))
        script, log = folder / "time.py", folder / "log"
        together = ray_address is not None
        script.write_text(TIMED.format(log=str(log), pid=os.getpid(), together=together))
        timed = shlex.join([sys.executable, str(script), "{model}"])
        limits = {"latency_command": timed, "max_latency": "1s"}
        studies.append(smash.search(run, **few, **limits, ray=ray_address).candidates())
        logs.append([line.split()[0] for line in log.read_text().splitlines()])
    assert studies[0] == studies[1]
    assert logs == [3 * ["False"], 3 * ["True"]]


@pytest.fixture(scope="module")
def executor(cluster):
    """An executor on the cluster that repeats no work: each repetition costs a new process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_executor, "_RETRIES", 0)
        with open_executor("auto", "cpu") as executor:
            yield executor


def test_ray_executor_keeps_the_contract_of_executors(executor):
    check_executor(executor)


def test_future_of_failed_work_raises_its_error(executor):
    def diverge():
        raise DivergedError("the loss is nan: lower --learning-rate")

    with pytest.raises(DivergedError, match="lower --learning-rate"):
        executor.submit(diverge).result()
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result()
    with pytest.raises(LostProcessError, match="was lost on 1 machines or processes"):
        executor.submit(os._exit, 1).result()


def test_open_executor_with_more_threads_than_cpus_is_refused(cluster):
    torch.set_num_threads(5)
    try:
        with pytest.raises(InvalidValueError, match=r"5 threads, .* at most [14] CPUs"):
            open_executor("auto", "cpu").__enter__()
    finally:
        torch.set_num_threads(1)
    with pytest.raises(InvalidValueError, match="has the device 'cuda'"):
        open_executor("auto", "cuda").__enter__()
