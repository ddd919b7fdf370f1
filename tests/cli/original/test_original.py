"""The original's commands: each flag parses, and does what it says."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100, STL10

import smash
from smash.cli.original.flags import DATASETS, evaluate_parser, read, train_parser
from smash.cli.original.translate import data_options, name_of, search_settings
from smash.data import Augmentation, load_data
from smash.evaluation import evaluate
from smash.io.tensors import load_tensors
from smash.profiling.cost import survey
from smash.run.run import Run
from smash.runtime.signals import Interruption
from smash.spaces.memory_bank.network import MemoryBankNetwork
from smash.study.study import Study
from tests.answers import Answer
from tests.data.sources.test_torchvision import CIFAR_CLASSES, STL_CLASSES, signed, write_pickle

ROOT = Path(__file__).parents[3]
TINY = ("-D", "1", "-k", "1", "-N-max", "16", "--device", "cpu", "--epochs", "1")
FEW = ("--num-random", "3", "--num-perturb", "2", "--num-markov", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Data sets in their published layouts: CIFAR has 60 training images, so an epoch is a step."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    fine = [f"class {number}" for number in range(100)]
    for name, n in (("train", 60), ("test", 30)):
        data = rng.integers(0, 256, (n, 3072), dtype=np.uint8)
        labels = rng.permutation(n).tolist()
        content = {"data": data, "fine_labels": labels, "coarse_labels": [0] * n}
        write_pickle(folder / CIFAR100.base_folder / name, content)
    meta = {"fine_label_names": fine, "coarse_label_names": ["all"]}
    write_pickle(folder / CIFAR100.base_folder / "meta", meta)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        data = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
        labels = rng.integers(0, 10, 20).tolist()
        write_pickle(folder / CIFAR10.base_folder / name, {"data": data, "labels": labels})
    write_pickle(folder / CIFAR10.base_folder / "batches.meta", {"label_names": [*CIFAR_CLASSES]})
    stl = folder / STL10.base_folder
    stl.mkdir()
    for name, n in (("train", 100), ("test", 20)):
        rng.integers(0, 256, (n, 3, 96, 96), dtype=np.uint8).tofile(stl / f"{name}_X.bin")
        (rng.permutation(n) % 10 + 1).astype(np.uint8).tofile(stl / f"{name}_y.bin")
    (stl / "class_names.txt").write_text("\n".join(STL_CLASSES) + "\n")
    folds = np.arange(100).reshape(10, 10)
    (stl / "fold_indices.txt").write_text("\n".join(" ".join(map(str, f)) for f in folds) + "\n")
    for classes in (10, 40):
        for name, objects in (("train", 3), ("test", 1)):
            labels = np.repeat(np.arange(classes), objects)
            voxels = rng.integers(0, 2, (len(labels) * 24, 1, 4, 4, 4), dtype=np.uint8)
            path = folder / f"modelnet{classes}_rot24_{name}.npz"
            np.savez(path, features=voxels, targets=labels)
    for name, n in (("train", 2000), ("val", 1000)):
        data = rng.integers(0, 256, (n, 3072), dtype=np.uint8)
        labels = rng.permutation(n) % 1000 + 1
        np.savez(folder / f"imagenet32x32_{name}.npz", data=data, labels=labels)
    readers = {reader.__name__: signed(reader, folder) for reader in (CIFAR10, CIFAR100, STL10)}
    return folder, readers


@contextmanager
def at_work(place: Path, files: tuple[Path, dict[str, Any]]) -> Iterator[None]:
    """In a folder, where the data sets are found."""
    folder, readers = files
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("SMASH_DATA", str(folder))
        for name, reader in readers.items():
            patch.setattr(f"torchvision.datasets.{name}", reader)
        # What is told before training takes longer than the training here.
        patch.setattr("smash.cli.describe.survey", partial(survey, samples=3))
        yield


def start(program: str, *argv: str) -> int:
    """Runs ``train.py`` or ``evaluate.py`` in this process, and gives its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [program, *argv])
        try:
            runpy.run_path(str(ROOT / program), run_name="__main__")
        except SystemExit as left:
            assert isinstance(left.code, int)
            return left.code
    return 0


@pytest.fixture
def call(tmp_path, files, capsys):
    def run(program: str, *argv: str) -> Answer:
        capsys.readouterr()
        code = start(program, *argv)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err, program)

    with at_work(tmp_path, files):
        yield run


@pytest.fixture(scope="module")
def finished(tmp_path_factory, files):
    """A folder with a trained and ranked network, ``weights/net``; never altered, only copied."""
    folder = tmp_path_factory.mktemp("finished")
    with at_work(folder, files):
        assert start("train.py", *TINY, "--save-weights", "net") == 0
        assert start("train.py", "--SMASH=net", *FEW) == 0
    return folder


@pytest.fixture
def net(finished, call, tmp_path):
    """The ranked network, in this test's folder."""
    shutil.copytree(finished / "weights", tmp_path / "weights")
    return tmp_path / "weights" / "net"


@pytest.fixture
def trained(net):
    """The trained network, before anything was ranked."""
    (net / "study.journal").unlink()
    (net / "ensemble.safetensors").unlink()
    return net


def trained_by(call: Callable[..., Answer], *flags: str, name: str = "net") -> Run:
    """Trains a tiny network with further flags."""
    answer = call("train.py", *TINY, *flags, "--save-weights", name)
    assert answer.code == 0, answer.err
    return Run.open(Path("weights") / name)


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return load_tensors(run.path / "network.safetensors")[0]


def same(first: Run, second: Run) -> bool:
    others = weights_of(second)
    return all(torch.equal(value, others[name]) for name, value in weights_of(first).items())


def sampled(run: Run) -> list[Any]:
    rng = np.random.default_rng(0)
    return [run.space.sample(rng) for _ in range(60)]


def ops_of(run: Run) -> list[Any]:
    return [op for one in sampled(run) for block in one.blocks for op in block.ops]


def convolutions_of(run: Run) -> list[Any]:
    return [conv for op in ops_of(run) for conv in op.grid if conv is not None]


def child_of(run: Run) -> Any:
    """A child with the weights that the trained network gives."""
    architecture = run.space.sample(np.random.default_rng(1))
    child = run.space.build(architecture, run.data.task, "cpu")
    images = run.data.normalise(run.data.train.images[:8])
    child.load_state_dict(run.network(torch.device("cpu")).state(architecture, images))
    return child.eval()


# What a flag does to the networks of the space: a few facts, of a run.


def most_ops(run: Run) -> Any:
    return len(run.space.largest().blocks[2].ops)


def stem_width(run: Run) -> Any:
    return int(child_of(run).stem.weight.shape[0])


def most_outputs(run: Run) -> Any:
    return max(op.a1.conv.weight.shape[0] for op in children_ops(run))


def widest_project(run: Run) -> Any:
    return max(op.project.weight.shape[0] for op in children_ops(run))


def most_times_wider(run: Run) -> Any:
    return max(op.project.weight.shape[0] / op.a1.conv.weight.shape[0] for op in children_ops(run))


def children_ops(run: Run) -> list[Any]:
    task = run.data.task
    children: list[Any] = [run.space.build(one, task) for one in sampled(run)]
    return [op for child in children for block in child.blocks for op in block.ops]


def fewest_reads_of_single_banks(run: Run) -> int:
    blocks = (block for one in sampled(run) for block in one.blocks if block.bank_size == 1)
    return min(len(op.reads) for block in blocks for op in block.ops)


def extents(run: Run) -> set[int]:
    return {extent for conv in convolutions_of(run) for extent in conv.kernel}


def dilations(run: Run) -> set[int]:
    return {dilation for conv in convolutions_of(run) for dilation in conv.dilation}


def groups(run: Run) -> set[int]:
    return {conv.groups for conv in convolutions_of(run)}


def nonlinearities(run: Run) -> set[str]:
    return {conv.nonlinearity for conv in convolutions_of(run)}


def grids(run: Run) -> set[str]:
    return {"".join("10"[conv is None] for conv in op.grid) for op in ops_of(run)}


def norms_in_grids(run: Run) -> bool:
    (first, *_), *_ = (block.ops for block in child_of(run).blocks)
    return isinstance(first.a1.norm, torch.nn.BatchNorm2d)


def ends_with_relu(run: Run) -> bool:
    (first, *_), *_ = (block.ops for block in child_of(run).blocks)
    inputs = first.a1.conv.weight.shape[1] * first.a1.conv.groups
    images = torch.randn(2, inputs, 8, 8, generator=torch.Generator().manual_seed(0))
    return bool((first.a1(images) >= 0).all())


STRUCTURE = {
    "-D": ("-D 3", {"depth": 3}, most_ops, 13, 5),
    "--depth": ("--depth 3", {"depth": 3}, most_ops, 13, 5),
    "-k": ("-k 2", {"width": 2}, stem_width, 32, 16),
    "--width": ("--width 2", {"width": 2}, stem_width, 32, 16),
    "-N": ("-N 4", {"bank_width": 4}, stem_width, 8, 16),
    "-N-max": ("-N-max 32", {"max_width": 32}, most_outputs, 32, 16),
    "--bottleneck": ("--bottleneck 1", {"bottleneck": 1}, most_times_wider, 1, 2),
    "--max-bottleneck": ("--max-bottleneck 1", {"max_bottleneck": 1}, widest_project, 16, 32),
    "--depth-compression": (
        "--depth-compression 1",
        {"depth_compression": 1},
        fewest_reads_of_single_banks,
        1,
        2,
    ),
    "--max-dilate": ("--max-dilate 2", {"max_dilation": 2}, dilations, {1, 2}, {1, 2, 3}),
    "--max-kernel": ("--max-kernel 5", {"max_kernel": 5}, extents, {3, 5}, {3, 5, 7}),
    "--max-groups": ("--max-groups 5", {"max_groups": 4}, groups, {1, 2, 4}, {1, 2, 4, 8}),
    "--var-op": (
        "--var-op",
        {"grid": "var"},
        grids,
        {"1000", "1010", "1100", "1110", "1111"},
        {"1000"},
    ),
    "--big-op": ("--big-op", {"grid": "big"}, grids, {"1111"}, {"1000"}),
    "--long-op": ("--long-op", {"grid": "long"}, grids, {"1100"}, {"1000"}),
    "--op-bn": ("--op-bn", {"op_norm": True}, norms_in_grids, True, False),
    "--postac": ("--postac", {"preactivation": False}, ends_with_relu, True, False),
    "--var-nl": (
        "--var-nl",
        {"variable_nonlinearity": True},
        nonlinearities,
        {"relu", "tanh", "sigmoid"},
        {"relu"},
    ),
    "--static-ks": ("--static-ks", {"variable_kernel": False}, extents, {3}, {3, 5, 7}),
    "--static-group": ("--static-group", {"variable_groups": False}, groups, {1}, {1, 2, 4, 8}),
}


@pytest.mark.parametrize(
    ("flag", "options", "fact", "found", "without"), STRUCTURE.values(), ids=STRUCTURE
)
def test_structure(call, net, flag, options, fact, found, without):
    run = trained_by(call, *flag.split(), name="flagged")
    assert run.settings.space.preset == "original"
    usual = {"depth": 1, "width": 1, "max_width": 16}
    expected = {**usual, **options}
    if flag == "-N 4":
        expected["max_groups"] = 4  # the largest divisor of N up to 8
    assert run.settings.space.options == expected
    assert fact(run) == found
    assert fact(Run.open(net)) == without


def test_gates_join_the_paths_of_large_ops(call):
    run = trained_by(call, "--gates", "--big-op")
    gates = {op.gate for op in ops_of(run)}
    assert {(gate.junction, gate.style) for gate in gates - {None}} == {
        (junction, style) for junction in ("first", "second") for style in ("multiply", "split")
    }
    assert {op.gate is None for op in children_ops(run)} == {True, False}


@pytest.mark.parametrize("grid", [[], ["--long-op"]])
def test_gates_are_left_out_where_ops_have_one_path(call, grid):
    answer = call("train.py", *TINY, "--gates", *grid, "--save-weights", "net")
    assert answer.code == 0
    assert answer.err.count("--gates join two paths, and each op has one: going on without") == 1
    run = Run.open("weights/net")
    assert "gates" not in run.settings.space.options
    assert {op.gate for op in ops_of(run)} == {None}


def test_structure_defaults_are_the_published_ones():
    flags, given = read(train_parser(), [])
    assert not given
    published = smash.MemoryBankSpace().options
    from smash.cli.original.translate import space_options

    options, notes = space_options(flags)
    assert not notes
    assert {name: getattr(published, name) for name in options} == options
    assert len(options) == 17


# The data.

DATA = {
    "C10": ("cifar10", 10, (3, 32, 32), 100),
    "C100": ("cifar100", 100, (3, 32, 32), 60),
    "STL10": ("stl10", 10, (3, 96, 96), 100),
    "MN10": ("modelnet10", 10, (1, 4, 4, 4), 30),
    "MN40": ("modelnet40", 40, (1, 4, 4, 4), 120),
    "I1000": ("imagenet32", 1000, (3, 32, 32), 2000),
}


@pytest.mark.parametrize("name", DATASETS)
def test_which_dataset(call, name):
    flags, _ = read(train_parser(), ["--which-dataset", name])
    data = load_data(**data_options(flags))
    source, classes, shape, examples = DATA[name]
    assert (data.name, len(data.classes)) == (source, classes)
    assert tuple(data.train.images.shape[1:]) == shape
    assert len(data.val) == examples // 10
    assert len(data.train) == examples - examples // 10


def test_which_dataset_is_cifar100_and_its_last_tenth_validates(call, files, tmp_path):
    run = trained_by(call)
    assert run.settings.data.source == "cifar100"
    images = [image for image, _ in files[1]["CIFAR100"](files[0], train=True)]
    expected = torch.stack([torch.from_numpy(np.array(image)) for image in images])
    expected = expected.permute(0, 3, 1, 2)
    assert torch.equal(run.data.val.images, expected[54:])
    assert torch.equal(run.data.train.images, expected[:54])


def test_fold(call):
    whole, _ = read(train_parser(), ["--which-dataset", "STL10"])
    one, _ = read(train_parser(), ["--which-dataset", "STL10", "--fold", "3"])
    every, found = load_data(**data_options(whole)), load_data(**data_options(one))
    images = torch.cat([every.train.images, every.val.images])
    assert torch.equal(torch.cat([found.train.images, found.val.images]), images[30:40])
    answer = call("train.py", *TINY, "--fold", "3")
    assert answer.code == 2
    assert answer.faults == ["train.py: fold is for 'stl10': leave it out for 'cifar100', got 3"]
    assert not Path("weights").exists()


def test_augment(call):
    assert trained_by(call).data.augmentation == Augmentation(padding=4, flip=True)
    again = trained_by(call, "--augment", name="again")
    assert again.data.augmentation == Augmentation(padding=4, flip=True)


def test_no_augment(call, net):
    run = trained_by(call, "--no-augment", name="plain")
    assert run.data.augmentation == Augmentation()
    assert not same(run, Run.open(net))


def test_no_augment_of_a_resulting_network(call, net):
    assert call("train.py", *TINY[6:], "--SMASH=net", "--rank", "0", "--no-augment").code == 0
    (child,) = (net / "children").iterdir()
    assert child.name.endswith("-e1-unaugmented-fp32")


# Training.


def test_seed(call, net):
    zero, again = Run.open(net), trained_by(call, "--seed", "0", name="again")
    one = trained_by(call, "--seed", "1", name="one")
    assert (zero.settings.seed, one.settings.seed) == (0, 1)
    assert same(zero, again)
    assert not same(zero, one)


def test_epochs(call):
    run = trained_by(call, "--epochs", "3")
    assert [row["epoch"] for row in run.metrics.rows()] == [1, 2, 3]
    assert read(train_parser(), [])[0].epochs == 100


def test_batch_size(call):
    run = trained_by(call, "--batch-size", "20")
    assert run.settings.training.batch_size == 20
    assert run.settings.training.steps == 54 // 20
    assert read(train_parser(), [])[0].batch_size == 50


def test_the_recipe_is_the_published_one(call, net):
    training = Run.open(net).settings.training
    assert training.model_dump(exclude={"steps"}) == {
        "minutes": None,
        "batch_size": 50,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "weight_decay": 1e-4,
        "fixed_norms": False,
        "snapshots": 1,
        "proxy_size": None,
        "proxy_space": False,
        "growing": True,
        "augment": True,
        "precision": "fp32",
        "class_weights": False,
        "validate_every": 1,
        "validate_on": "val",
        "keep_every": None,
        "processes": 1,
        "same_architecture": False,
    }
    assert Run.open(net).settings.hypernet == "convolutional"


def test_fp16(call, net):
    run = trained_by(call, "--fp16", name="half")
    assert run.settings.training.precision == "fp16"
    assert not same(run, Run.open(net))
    losses = [one.metrics.rows()[0]["train_loss"] for one in (run, Run.open(net))]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_parallel_says_why_not_on_one_device(call):
    answer = call("train.py", *TINY, "--parallel", "--save-weights", "net")
    assert answer.code == 0
    (line,) = [line for line in answer.err.splitlines() if "--parallel" in line]
    assert (
        line == "--parallel needs several GPUs, and there are 0 to use: going on with one process"
    )
    assert Run.open("weights/net").trained


def test_parallel_starts_a_process_for_each_device(files, tmp_path):
    argv = [*TINY, "--which-dataset", "MN10", "--batch-size", "10", "--save-weights", "net"]
    code = (
        "from smash.cli.original.commands import relaunch\n"
        f"relaunch(2, {str(ROOT / 'train.py')!r}, {[*argv, '--parallel']!r})"
    )
    environment = {**os.environ, "SMASH_DATA": str(files[0]), "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("the mean over random architectures") == 1  # one process speaks
    training = Run.open(tmp_path / "weights" / "net").settings.training
    assert (training.processes, training.batch_size) == (2, 5)  # they share a batch
    assert training.steps == 27 // 10


def test_duplicate_at_checkpoints(call):
    run = trained_by(call, "--epochs", "11", "--duplicate-at-checkpoints")
    copies = sorted(path.name for path in (run.path / "copies").iterdir())
    assert copies == ["epoch-10.safetensors", "epoch-5.safetensors"]
    kept, _ = load_tensors(run.path / "copies" / "epoch-10.safetensors")
    final = weights_of(run)
    assert kept.keys() == final.keys()
    assert not all(torch.equal(kept[name], value) for name, value in final.items())


def test_save_weights(call):
    assert call("train.py", *TINY, "--save-weights", "mine.pth").code == 0
    assert [path.name for path in Path("weights").iterdir()] == ["mine"]


def test_weights_are_saved_under_a_name_made_from_the_settings(call):
    assert call("train.py", *TINY, "--postac").code == 0
    (path,) = Path("weights").iterdir()
    assert path.name == "SMASH_C100_D1_k1_N8_Nmax16_e1_b50_s0_postac"
    flags, _ = read(train_parser(), ["--no-augment", "--seed", "3", "--big-op", "--fp16"])
    named = name_of(flags)
    assert named == "SMASH_C100_D12_k4_N8_Nmax64_e100_b50_s3_big-op_no-augment_fp16"


def test_resume(call, monkeypatch):
    whole = trained_by(call, "--epochs", "3", name="whole")
    steps = iter(range(100))
    monkeypatch.setattr(
        Interruption,
        "requested",
        property(lambda self: next(steps) == 1, lambda self, _: None),
        raising=False,
    )
    argv = ("train.py", *TINY, "--epochs", "3", "--save-weights", "cut")
    assert call(*argv).code == 130
    monkeypatch.undo()
    assert not Run.open("weights/cut").trained
    answer = call(*argv)
    assert answer.code == 2
    (fault,) = answer.faults
    assert "already exists and is kept: add --resume" in fault
    assert call(*argv, "--resume").code == 0
    assert same(whole, Run.open("weights/cut"))
    answer = call("train.py", *TINY, "--save-weights", "nowhere", "--resume")
    assert answer.code == 2
    assert "there is no run 'weights/nowhere' to resume" in answer.faults[0]


def test_model(call):
    answer = call("train.py", *TINY, "--model", "WRN-10-1", "--save-weights", "wide")
    assert answer.code == 0, answer.err
    run = Run.open("weights/wide")
    assert not run.trained
    (path,) = (run.path / "children").iterdir()
    assert path.name == "wrn-10-1-e1-fp32"
    child = smash.Child.open(path)
    assert child.about["baseline"] == "wrn-10-1"
    again = evaluate(child.model(torch.device("cpu")), run.data.test, run.data, "test")
    assert again.error == child.result["test"]["error"]
    again = call("train.py", *TINY, "--model", "WRN-10-1", "--save-weights", "wide", "--resume")
    assert again.code == 0
    assert again.out == answer.out  # a finished one stays as it is


def test_model_that_is_named_after_smash(call):
    assert call("train.py", *TINY, "--model", "SMASHv9").code == 0
    (path,) = Path("weights").iterdir()
    assert path.name.startswith("SMASHv9_C100_D1")
    assert Run.open(path).trained


def test_model_that_is_not_known_leaves_nothing(call):
    answer = call("train.py", *TINY, "--model", "ResNet19")
    assert answer.code == 2
    (fault,) = answer.faults
    assert "baseline 'ResNet19' is not known" in fault
    assert not Path("weights").exists()


def test_model_beside_a_smash_network_is_trained_in_its_run(call, net):
    assert call("train.py", *TINY[6:], "--SMASH=net", "--model", "wrn-10-1").code == 0
    assert [path.name for path in (net / "children").iterdir()] == ["wrn-10-1-e1-fp32"]


# Validation.


def validated(run: Run) -> list[bool]:
    return ["val_error" in row for row in run.metrics.rows()]


def test_validate(call):
    for number, flags in enumerate(((), ("--validate",))):
        run = trained_by(call, "--epochs", "3", *flags, name=str(number))
        assert validated(run) == [True] * 3
        assert {row["split"] for row in run.metrics.rows()} == {"val"}


def test_no_validate(call):
    run = trained_by(call, "--epochs", "3", "--no-validate")
    assert validated(run) == [False, False, True]


def test_validate_test(call):
    answer = call("train.py", *TINY, "--validate-test", "--save-weights", "net")
    run = Run.open("weights/net")
    assert {row["split"] for row in run.metrics.rows()} == {"test"}
    assert answer.out.startswith("test: error ")
    assert "TEST error" in answer.err


def test_validate_every(call):
    run = trained_by(call, "--epochs", "5", "--validate-every", "2")
    assert validated(run) == [False, True, False, True, True]


def test_validation_of_a_resulting_network(call, net):
    argv = ("train.py", "--device", "cpu", "--SMASH=net", "--rank", "0", "--epochs", "5")
    assert call(*argv, "--validate-every", "2", "--validate-test").code == 0
    (child,) = (net / "children").iterdir()
    rows = [json.loads(line) for line in (child / "metrics.jsonl").read_text().splitlines()]
    assert ["val_error" in row for row in rows] == [False, True, False, True, True]
    assert rows[-1]["split"] == "test"


def test_top5(call):
    answer = call("train.py", *TINY, "--top5", "--save-weights", "net")
    last = Run.open("weights/net").metrics.rows()[-1]
    assert answer.out.startswith(f"val: top-5 error {last['val_top5_error']:.2%}")
    answer = call("train.py", "--SMASH=net", "--top5", *FEW)
    assert answer.code == 0
    candidates = Study(Path("weights/net/study.journal")).candidates()
    assert [one.value for one in candidates] == [one.top5_error for one in candidates]
    assert f"val: top-5 error of the best {min(one.value for one in candidates):.2%}" in answer.out
    answer = call("train.py", "--SMASH=net", "--top5", "--rank", "0", *TINY[6:])
    result = smash.Child.open(next(Path("weights/net/children").iterdir())).result["test"]
    assert f"test: top-5 error {result['top5_error']:.2%}" in answer.out


# With a trained SMASH network.


def test_smash_ranks_500_random_100_changed_and_100_of_a_chain():
    for parser in (train_parser(), evaluate_parser()):
        settings = search_settings(read(parser, ["--SMASH", "net"])[0])
        assert [settings[name] for name in ("random", "perturb", "markov")] == [500, 100, 100]
        assert (settings["rate"], settings["rank_by"], settings["split"]) == (0.05, "error", "val")
        assert settings["strategy"] == "perturbation"


@pytest.mark.parametrize("name", ["net", "net.pth", "weights/net"])
def test_smash(call, trained, name):
    answer = call("train.py", f"--SMASH={name}", *FEW)
    assert answer.code == 0, answer.err
    candidates = Study(trained / "study.journal").candidates()
    assert [one.strategy for one in candidates] == ["random"] * 3 + ["perturb"] * 2 + ["markov"]
    assert {(one.split, one.examples) for one in candidates} == {("val", 6)}
    assert [one.value for one in candidates] == [one.error for one in candidates]
    assert f"ensemble of all candidates {candidates[-1].ensemble_error:.2%}" in answer.out


def test_smash_that_is_not_there(call):
    answer = call("train.py", "--SMASH=nothing.pth")
    assert answer.code == 2
    (fault,) = answer.faults
    assert "SMASH network 'nothing.pth' is not there" in fault


def test_rank(call, net):
    answer = call("train.py", "--SMASH=net", "--rank", "1", *TINY[6:])
    assert answer.code == 0
    (path,) = (net / "children").iterdir()
    child = smash.Child.open(path)
    ranked = Study(net / "study.journal").ranked()
    assert child.about["id"] == ranked[1].id
    assert child.about["recipe"] == {
        "init": "scratch",
        "recipe": "published",
        "epochs": 1,
        "patience": None,
        "batch_size": 50,
        "learning_rate": 0.1,
        "weight_decay": 1e-4,
        "seed": 0,
        "augment": True,
        "precision": "fp32",
        "class_weights": False,
        "validate_every": 1,
        "validate_on": "val",
        "keep_every": None,
    }
    assert f"test: error {child.result['test']['error']:.2%}" in answer.out
    answer = call("train.py", "--SMASH=net", "--rank", "9", *TINY[6:])
    assert (answer.code, len(answer.faults)) == (2, 1)


def test_flags_of_training_are_those_of_the_resulting_network_too(call, net):
    flags = "--epochs 6 --batch-size 20 --seed 4 --fp16 --duplicate-at-checkpoints --no-validate"
    argv = ("train.py", "--SMASH=net", "--rank", "0", "--device", "cpu", *flags.split())
    assert call(*argv, "--save-weights", "mine.pth").code == 0
    path = net / "children" / "mine"
    recipe = json.loads((path / "architecture.json").read_text())["recipe"]
    names = ("epochs", "batch_size", "seed", "precision", "keep_every", "validate_every")
    assert [recipe[name] for name in names] == [6, 20, 4, "fp16", 5, 0]
    assert [copy.name for copy in (path / "copies").iterdir()] == ["epoch-5.safetensors"]
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert ["val_error" in row for row in rows] == [False] * 5 + [True]


def test_init_from_smash(call, net):
    assert call("train.py", "--SMASH=net", "--init-from-SMASH", *TINY[6:]).code == 0
    (path,) = (net / "children").iterdir()
    best = Study(net / "study.journal").ranked()[0]
    assert path.name == f"{best.id}-generated-e1-fp32"
    scratch = call("train.py", "--SMASH=net", "--rank", "0", *TINY[6:])
    assert scratch.code == 0
    begun = [
        json.loads((net / "children" / name / "metrics.jsonl").read_text().splitlines()[0])
        for name in (path.name, f"{best.id}-e1-fp32")
    ]
    assert begun[0]["train_loss"] != begun[1]["train_loss"]


@pytest.mark.parametrize("flag", [["--rank", "1"], ["--init-from-SMASH"]])
def test_a_resulting_network_needs_a_smash_network(call, flag):
    answer = call("train.py", *flag)
    assert (answer.code, len(answer.faults)) == (2, 1)
    assert "add --SMASH=NAME" in answer.faults[0]


def test_flags_that_ask_for_another_network_are_refused(call, net):
    assert call("train.py", "--SMASH=net", *FEW, "-D", "1", "--which-dataset", "C100").code == 0
    answer = call("train.py", "--SMASH=net", *FEW, "-D", "12", "--which-dataset", "C10", "--postac")
    assert answer.code == 2
    assert len(answer.faults) == 3
    assert any("depth was 1" in fault and "got 12" in fault for fault in answer.faults)
    assert any("which_dataset was C100" in fault for fault in answer.faults)


def test_flags_that_are_not_known_are_refused(call):
    for argv in (["--dept", "3"], ["--epochs", "many"], ["--which-dataset", "C11"]):
        answer = call("train.py", *argv)
        assert (answer.code, len(answer.faults)) == (2, 1), answer.err
        assert argv[-1] in answer.faults[0] or argv[0] in answer.faults[0]
    answer = call("train.py", "--big-op", "--var-op")
    assert "--var-op: not allowed with argument --big-op" in answer.faults[0]
    answer = call("train.py", *TINY, "--max-kernel", "4")
    assert (answer.code, len(answer.faults)) == (2, 1)


def test_usage_errors_need_no_torch(tmp_path):
    code = (
        "import runpy, sys; sys.argv = ['train.py', '--epochs', 'many']\n"
        f"try: runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')\n"
        "except SystemExit as left: assert left.code == 2, left.code\n"
        "assert 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert len(found.stderr.splitlines()) == 1


# evaluate.py


def settings_of(path: Path) -> dict[str, Any]:
    settings = Study(path / "study.journal").settings
    assert settings is not None
    return settings


def test_evaluate_smash(call, trained):
    assert call("evaluate.py").code == 2
    answer = call("evaluate.py", "--SMASH=net.pth", *FEW)
    assert answer.code == 0, answer.err
    assert len(Study(trained / "study.journal").candidates()) == 6


def test_evaluate_goes_on_with_what_train_ranked(call, net):
    before = Study(net / "study.journal").candidates()
    more = ("--num-random", "5", *FEW[2:])
    assert call("evaluate.py", "--SMASH=net", *more).code == 0
    after = Study(net / "study.journal").candidates()
    assert after[:6] == before
    assert [one.strategy for one in after[6:]] == ["random"] * 2


def batch_sizes_of(work: Callable[[], Answer]) -> set[int]:
    """The batch sizes at which children predict without gradients."""
    sizes = set()

    def see(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, MemoryBankNetwork) and not module.training:
            sizes.add(len(inputs[0]))

    hook = torch.nn.modules.module.register_module_forward_pre_hook(see)
    try:
        assert work().code == 0
    finally:
        hook.remove()
    return sizes - {1}  # costs are counted on one image


def test_evaluate_batch_size(call, trained):
    sizes = batch_sizes_of(lambda: call("evaluate.py", "--SMASH=net", *FEW, "--batch-size", "4"))
    assert sizes & {4, 6} == {4}
    assert 2 in sizes  # what is left of 6
    assert read(evaluate_parser(), ["--SMASH=net"])[0].batch_size == 100


def test_evaluate_which_dataset(call, trained):
    assert call("evaluate.py", "--SMASH=net", *FEW, "--which-dataset", "C100").code == 0
    answer = call("evaluate.py", "--SMASH=net", *FEW, "--which-dataset", "C10")
    assert (answer.code, len(answer.faults)) == (2, 1)
    assert "which_dataset was C100" in answer.faults[0]


def test_evaluate_seed(call, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "weights" / "other")
    assert call("evaluate.py", "--SMASH=net", *FEW).code == 0
    assert call("evaluate.py", "--SMASH=other", *FEW, "--seed", "1").code == 0
    found = [
        {one.id for one in Study(tmp_path / "weights" / name / "study.journal").candidates()}
        for name in ("net", "other")
    ]
    assert found[0] != found[1]
    assert settings_of(trained)["seed"] == 0


def test_evaluate_validate(call, trained):
    assert call("evaluate.py", "--SMASH=net", *FEW, "--validate").code == 0
    candidates = Study(trained / "study.journal").candidates()
    assert {(one.split, one.examples) for one in candidates} == {("val", 6)}


def test_evaluate_validate_test(call, trained):
    answer = call("evaluate.py", "--SMASH=net", *FEW, "--validate-test")
    candidates = Study(trained / "study.journal").candidates()
    assert {(one.split, one.examples) for one in candidates} == {("test", 30)}
    assert "ranking by the TEST split" in answer.err
    assert "test: error of the ensemble" in answer.out


@pytest.mark.parametrize(
    ("flag", "strategy"),
    [("--num-random", "random"), ("--num-perturb", "perturb"), ("--num-markov", "markov")],
)
def test_evaluate_numbers(call, trained, flag, strategy):
    assert call("evaluate.py", "--SMASH=net", *FEW, flag, "4").code == 0
    candidates = Study(trained / "study.journal").candidates()
    assert sum(one.strategy == strategy for one in candidates) == 4


def test_evaluate_perturb_prob(call, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "weights" / "other")
    assert call("evaluate.py", "--SMASH=net", *FEW).code == 0
    assert call("evaluate.py", "--SMASH=other", *FEW, "--perturb-prob", "0.9").code == 0
    found = [
        Study(tmp_path / "weights" / name / "study.journal").candidates()
        for name in ("net", "other")
    ]
    assert found[0][:3] == found[1][:3]  # the random ones
    assert found[0][3].id != found[1][3].id
    assert settings_of(tmp_path / "weights" / "other")["rate"] == 0.9


def test_evaluate_arch_sgd(call, trained):
    assert call("evaluate.py", "--SMASH=net", *FEW, "--arch-SGD").code == 0
    candidates = Study(trained / "study.journal").candidates()
    assert [one.strategy for one in candidates] == ["random"] * 3 + ["gradient"] * 2 + ["markov"]


def test_evaluate_fp16(call, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "weights" / "other")
    assert call("evaluate.py", "--SMASH=net", *FEW).code == 0
    assert call("evaluate.py", "--SMASH=other", *FEW, "--fp16").code == 0
    whole, half = (
        Study(tmp_path / "weights" / name / "study.journal").candidates()[0]
        for name in ("net", "other")
    )
    assert half.id == whole.id
    assert half.loss != whole.loss
    assert half.loss == pytest.approx(whole.loss, rel=0.02)


def test_evaluate_parallel(call, trained):
    answer = call("evaluate.py", "--SMASH=net", *FEW, "--parallel")
    assert answer.code == 0
    assert answer.err.count("--parallel is for training a SMASH network: going on with one") == 1


def test_all_of_it_one_after_the_other(call, tmp_path):
    tiny = ("--which-dataset", "MN10", "--batch-size", "9")
    answer = call("train.py", *TINY, *tiny)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("val: error ")
    (path,) = (tmp_path / "weights").iterdir()
    assert path.name == "SMASH_MN10_D1_k1_N8_Nmax16_e1_b9_s0"
    assert f"Next: python train.py --SMASH={path.name}" in answer.err
    answer = call("train.py", f"--SMASH={path.name}.pth", *FEW)
    assert (answer.code, "5 best of 6 candidates" in answer.out) == (0, True)
    answer = call("train.py", f"--SMASH={path.name}", "--rank", "1", *tiny, *TINY[6:])
    assert answer.code == 0, answer.err
    (child,) = (path / "children").iterdir()
    result = json.loads((child / "result.json").read_text())
    assert f"test: error {result['test']['error']:.2%}" in answer.out
    assert result["test"]["examples"] == 10  # objects, over whose 24 rotations it averages
    answer = call("evaluate.py", f"--SMASH={path.name}", *FEW, "--num-perturb", "3")
    assert "5 best of 7 candidates" in answer.out


def test_the_tests_that_the_docs_name_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", (ROOT / "docs/original.md").read_text())
    assert len(named) > 50
    missing = [
        f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text()
    ]
    assert not missing


def test_the_docs_name_every_flag():
    text = (ROOT / "docs/original.md").read_text()
    rows = {
        program: set(re.findall(r"`(-[\w-]+)`", " ".join(re.findall(r"(?m)^\| `-.*", part))))
        for program, part in zip(("train", "evaluate"), text.split("| flag of `")[1:], strict=True)
    }
    for program, parser in (("train", train_parser()), ("evaluate", evaluate_parser())):
        flags = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", parser.format_usage()))
        ours = {"-h", "--device", "--data-dir"}
        if program == "train":
            ours |= {"--num-random", "--num-perturb", "--num-markov", "--perturb-prob"}
            ours |= {"--arch-SGD"}
        else:
            ours |= {"--top5"}
        assert flags - ours <= rows[program] | {"--depth", "--width"}, flags - rows[program]
