"""The original's commands: what each flag becomes, and a few runs from end to end."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import smash
from smash.cli.original.flags import DATASETS, FLAGS, flags_of, read
from smash.cli.original.translate import (
    check_unchanged,
    data_settings,
    retrain_settings,
    run_path,
    search_settings,
    space_options,
    train_settings,
)
from smash.io.tensors import load_tensors
from smash.run.run import Run
from smash.runtime.signals import Interruption
from smash.spaces import MemoryBankSpace
from smash.spaces.memory_bank.options import MemoryBankOptions
from smash.study.study import Study
from tests.answers import Answer, content
from tests.processes import in_two, join_two

ROOT = Path(__file__).parents[3]

SPACE = {
    "depth": 12,
    "width": 4,
    "bank_width": 8,
    "max_width": 64,
    "bottleneck": 4,
    "max_bottleneck": 2,
    "depth_compression": 2,
    "max_dilation": 3,
    "max_kernel": 7,
    "max_groups": 8,
    "grid": "single",
    "gates": False,
    "op_norm": False,
    "preactivation": True,
    "variable_nonlinearity": False,
    "variable_kernel": True,
    "variable_groups": True,
}
DATA = {"source": "cifar100", "val_order": "last", "augment": None, "fold": None, "data_dir": None}
TRAIN = {
    "seed": 0,
    "epochs": 100,
    "batch_size": 50,
    "precision": "fp32",
    "keep_every": None,
    "validate_every": 1,
    "validate_on": "val",
}
RETRAIN = {**TRAIN, "init": "scratch", "augment": True}
SEARCH = {
    "random": 500,
    "perturb": 100,
    "markov": 100,
    "rate": 0.05,
    "strategy": "perturbation",
    "rank_by": "error",
    "split": "val",
    "seed": 0,
    "precision": "fp32",
    "batch_size": 50,
}
PUBLISHED = {"space": SPACE, "data": DATA, "train": TRAIN, "retrain": RETRAIN, "search": SEARCH}

# Flags, and the settings that they change, by group.
BECOMES: dict[str, dict[str, dict[str, Any]]] = {
    "": {},
    "-D 3": {"space": {"depth": 3}},
    "--depth 3": {"space": {"depth": 3}},
    "-k 2": {"space": {"width": 2}},
    "--width 2": {"space": {"width": 2}},
    "-N 4": {"space": {"bank_width": 4, "max_groups": 4}},
    "-N-max 32": {"space": {"max_width": 32}},
    "--bottleneck 1": {"space": {"bottleneck": 1}},
    "--max-bottleneck 1": {"space": {"max_bottleneck": 1}},
    "--depth-compression 1": {"space": {"depth_compression": 1}},
    "--max-dilate 2": {"space": {"max_dilation": 2}},
    "--max-kernel 5": {"space": {"max_kernel": 5}},
    "--max-groups 5": {"space": {"max_groups": 4}},  # the largest divisor of N up to it
    "--var-op": {"space": {"grid": "var"}},
    "--big-op": {"space": {"grid": "big"}},
    "--long-op": {"space": {"grid": "long"}},
    "--gates": {},  # each op has one path
    "--gates --long-op": {"space": {"grid": "long"}},
    "--gates --big-op": {"space": {"grid": "big", "gates": True}},
    "--op-bn": {"space": {"op_norm": True}},
    "--postac": {"space": {"preactivation": False}},
    "--var-nl": {"space": {"variable_nonlinearity": True}},
    "--static-ks": {"space": {"variable_kernel": False}},
    "--static-group": {"space": {"variable_groups": False}},
    **{f"--which-dataset {short}": {"data": {"source": name}} for short, name in DATASETS.items()},
    "--fold 3": {"data": {"fold": 3}},
    "--fold 10": {},
    "--data-dir x": {"data": {"data_dir": "x"}},
    "--augment": {},
    "--no-augment": {"data": {"augment": False}, "retrain": {"augment": False}},
    "--seed 3": {group: {"seed": 3} for group in ("train", "retrain", "search")},
    "--epochs 3": {group: {"epochs": 3} for group in ("train", "retrain")},
    "--batch-size 20": {group: {"batch_size": 20} for group in ("train", "retrain", "search")},
    "--fp16": {group: {"precision": "fp16"} for group in ("train", "retrain", "search")},
    "--duplicate-at-checkpoints": {group: {"keep_every": 5} for group in ("train", "retrain")},
    "--validate": {},
    "--no-validate": {group: {"validate_every": 0} for group in ("train", "retrain")},
    "--no-validate --validate-test": {
        "train": {"validate_on": "test"},
        "retrain": {"validate_on": "test"},
        "search": {"split": "test"},
    },
    "--validate-every 2": {group: {"validate_every": 2} for group in ("train", "retrain")},
    "--top5": {"search": {"rank_by": "top5_error"}},
    "--init-from-SMASH": {"retrain": {"init": "generated"}},
    "--num-random 3": {"search": {"random": 3}},
    "--num-perturb 3": {"search": {"perturb": 3}},
    "--num-markov 3": {"search": {"markov": 3}},
    "--perturb-prob 0.9": {"search": {"rate": 0.9}},
    "--arch-SGD": {"search": {"strategy": "gradient"}},
}
# Flags of the program itself, which the runs below are about.
PROGRAM = {"--resume", "--model", "--save-weights", "--SMASH", "--rank", "--parallel", "--device"}


@pytest.mark.parametrize("line", BECOMES)
def test_flags_of_train_become_settings(line):
    flags, _ = read("train.py", line.split())
    found = {
        "space": space_options(flags)[0],
        "data": data_settings(flags),
        "train": train_settings(flags, 1),
        "retrain": retrain_settings(flags),
        "search": search_settings(flags),
    }
    assert found == {
        group: {**settings, **BECOMES[line].get(group, {})} for group, settings in PUBLISHED.items()
    }


@pytest.mark.parametrize("line", [line for line, becomes in BECOMES.items() if "search" in becomes])
def test_flags_of_evaluate_become_settings(line):
    line = line.removeprefix("--no-validate ")
    settings = search_settings(read("evaluate.py", ["--SMASH=net", *line.split()])[0])
    expected = next(becomes for flags, becomes in BECOMES.items() if flags.endswith(line))["search"]
    assert settings == {**SEARCH, "batch_size": 100, **expected}


def test_every_flag_is_tested():
    tested = {word for line in BECOMES for word in line.split() if word.startswith("-")}
    assert {name for flag in FLAGS for name in flag.names.split()} == tested | PROGRAM


def test_defaults_are_those_of_the_published_space():
    published = MemoryBankOptions().model_dump()
    assert {name: published[name] for name in SPACE} == SPACE


def test_train_settings_share_a_batch_between_processes():
    flags, _ = read("train.py", [])
    assert train_settings(flags, 4)["batch_size"] == 12


def kernels(space: MemoryBankSpace) -> set[Any]:
    return {extent for op in ops(space) for conv in op.grid if conv for extent in conv.kernel}


def grids(space: MemoryBankSpace) -> set[Any]:
    return {"".join("10"[conv is None] for conv in op.grid) for op in ops(space)}


def junctions(space: MemoryBankSpace) -> set[Any]:
    return {op.gate and (op.gate.junction, op.gate.style) for op in ops(space)}


def dilations(space: MemoryBankSpace) -> set[Any]:
    return {number for op in ops(space) for conv in op.grid if conv for number in conv.dilation}


def groups(space: MemoryBankSpace) -> set[Any]:
    return {conv.groups for op in ops(space) for conv in op.grid if conv}


def nonlinearities(space: MemoryBankSpace) -> set[Any]:
    return {conv.nonlinearity for op in ops(space) for conv in op.grid if conv}


def ops(space: MemoryBankSpace) -> list[Any]:
    rng = np.random.default_rng(0)
    samples = [space.sample(rng) for _ in range(30)]
    return [op for architecture in samples for block in architecture.blocks for op in block.ops]


@pytest.mark.parametrize(
    ("line", "fact", "found"),
    [
        ("", kernels, {3, 5, 7}),
        ("--max-kernel 5", kernels, {3, 5}),
        ("--static-ks", kernels, {3}),
        ("", dilations, {1, 2, 3}),
        ("--max-dilate 2", dilations, {1, 2}),
        ("", groups, {1, 2, 4, 8}),
        ("--max-groups 5", groups, {1, 2, 4}),
        ("--static-group", groups, {1}),
        ("", nonlinearities, {"relu"}),
        ("--var-nl", nonlinearities, {"relu", "tanh", "sigmoid"}),
        ("", grids, {"1000"}),
        ("--var-op", grids, {"1000", "1010", "1100", "1110", "1111"}),
        ("--big-op", grids, {"1111"}),
        ("--long-op", grids, {"1100"}),
        ("--gates --long-op", junctions, {None}),
        (
            "--gates --big-op",
            junctions,
            {None, *((j, s) for j in ("first", "second") for s in ("multiply", "split"))},
        ),
    ],
)
def test_flags_of_the_space_decide_what_is_drawn(line, fact, found):
    flags, _ = read("train.py", ["-D", "2", *line.split()])
    assert fact(MemoryBankSpace(MemoryBankOptions(**space_options(flags)[0]))) == found


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("--no-augment --seed 3 --big-op --fp16", "SMASH_C100_D12_k4_N8_Nmax64_e100_b50_s3_big-op"
         "_no-augment_fp16"),
        ("-D 1 --postac --fold 3", "SMASH_C100_D1_k4_N8_Nmax64_e100_b50_s0_postac_fold3"),
        ("--model WRN-10-1 -D 1", "WRN-10-1_C100_e100_b50_s0"),
        ("--save-weights mine.pth", "mine"),
    ],
)  # fmt: skip
def test_weights_are_named_after_what_was_trained(line, name):
    flags, _ = read("train.py", line.split())
    assert run_path(flags) == Path("weights", name)


# Runs. An epoch of ModelNet10 is a step here: 27 objects of 4³ voxels, 24 views each.

TINY = ["-D", "1", "-k", "1", "-N-max", "16", "--device", "cpu", "--which-dataset", "MN10"]
CHILD = ["--device", "cpu", "--epochs", "1"]
FEW = ["--num-random", "3", "--num-perturb", "2", "--num-markov", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, objects in (("train", 3), ("test", 1)):
        labels = np.repeat(np.arange(10), objects)
        voxels = rng.integers(0, 2, (len(labels) * 24, 1, 4, 4, 4), dtype=np.uint8)
        np.savez(folder / f"modelnet10_rot24_{split}.npz", features=voxels, targets=labels)
    return folder


def start(program: str, *argv: str) -> int:
    """Runs ``train.py`` or ``evaluate.py`` in this process, and gives its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [program, *argv])
        try:
            runpy.run_path(str(ROOT / program), run_name="__main__")
        except SystemExit as end:
            assert isinstance(end.code, int)
            return end.code
    return 0


@pytest.fixture
def call(tmp_path, files, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMASH_DATA", str(files))

    def run(program: str, *argv: str) -> Answer:
        capsys.readouterr()
        code = start(program, *argv)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err, program)

    return run


@pytest.fixture(scope="module")
def ranked(tmp_path_factory, files):
    """A trained and ranked network; never altered, only copied."""
    folder = tmp_path_factory.mktemp("ranked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SMASH_DATA", str(files))
        assert start("train.py", *TINY, "--epochs", "1", "--save-weights", "net.pth") == 0
        assert start("train.py", "--SMASH=net", *FEW) == 0
    return folder / "weights" / "net"


@pytest.fixture
def net(call, ranked):
    """A copy of the ranked network, where the programs look for it."""
    return Path(shutil.copytree(ranked, "weights/net"))


def candidates_of(path: Path) -> list[Any]:
    return Study(path / "study.journal").candidates()


def test_train_and_evaluate_from_network_to_child(call):
    answer = call("train.py", *TINY, "--epochs", "1", "--batch-size", "9")
    assert answer.code == 0, answer.err
    assert re.match(r"val: error \d", answer.out)
    (path,) = Path("weights").iterdir()
    assert path.name == "SMASH_MN10_D1_k1_N8_Nmax16_e1_b9_s0"
    assert f"Next: python train.py --SMASH={path.name}" in answer.err
    run = Run.open(path)
    assert (run.settings.space.preset, run.settings.hypernet) == ("original", "convolutional")
    assert run.settings.space.options == {"depth": 1, "width": 1, "max_width": 16}
    training = run.settings.training
    assert (training.optimizer, training.learning_rate) == ("adam", 1e-3)
    assert (training.schedule, training.weight_decay) == ("cosine", 1e-4)

    answer = call("train.py", f"--SMASH={path.name}.pth", *FEW)
    assert (answer.code, "5 best of 6 candidates" in answer.out) == (0, True)
    candidates = candidates_of(path)
    assert [each.strategy for each in candidates] == ["random"] * 3 + ["perturb"] * 2 + ["markov"]
    assert {(each.split, each.examples) for each in candidates} == {("val", 3)}
    assert f"ensemble of all candidates {candidates[-1].ensemble_error:.2%}" in answer.out

    flags = ("--which-dataset", "MN10", "--batch-size", "9", *CHILD)
    answer = call("train.py", f"--SMASH={path}", "--rank", "1", *flags)
    assert answer.code == 0, answer.err
    (child,) = (path / "children").iterdir()
    assert child.name.startswith(Study(path / "study.journal").ranked()[1].id)
    result = json.loads((child / "result.json").read_text())
    assert f"test: error {result['test']['error']:.2%}" in answer.out
    assert result["test"]["examples"] == 10  # objects, over whose 24 rotations it averages

    answer = call("evaluate.py", f"--SMASH={path.name}", *FEW, "--num-perturb", "3", "--parallel")
    assert "5 best of 7 candidates" in answer.out
    assert candidates_of(path)[:6] == candidates
    assert answer.err.count("--parallel has no effect: only the training") == 1


def test_train_with_a_network_passes_its_flags_to_the_child(call, net):
    flags = "--rank 0 --device cpu --epochs 6 --no-validate --duplicate-at-checkpoints --fp16"
    answer = call("train.py", "--SMASH=net", *flags.split(), "--save-weights", "mine.pth", "--top5")
    assert answer.code == 0, answer.err
    path = net / "children" / "mine"
    assert [copy.name for copy in (path / "copies").iterdir()] == ["epoch-5.safetensors"]
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert ["val_error" in row for row in rows] == [False] * 5 + [True]
    result = smash.Child.open(path).result["test"]
    assert f"test: top-5 error {result.top5_error:.2%} on 10 examples" in answer.out


def test_init_from_smash_begins_with_generated_weights(call, net):
    assert call("train.py", "--SMASH=net", "--init-from-SMASH", *CHILD).code == 0
    (path,) = (net / "children").iterdir()
    best = Study(net / "study.journal").ranked()[0]
    assert path.name == f"{best.id}-generated-e1-augmented-fp32"


def test_validate_test_is_labelled_in_training_and_ranking(call, net):
    name = ("--save-weights", "looked", "--epochs", "1", "--validate-test", "--top5")
    answer = call("train.py", *TINY, *name)
    assert {row["split"] for row in Run.open("weights/looked").metrics.rows()} == {"test"}
    assert answer.out.startswith("test: top-5 error ")
    answer = call("evaluate.py", "--SMASH=looked", *FEW, "--validate-test", "--top5", "--arch-SGD")
    candidates = candidates_of(Path("weights/looked"))
    assert {(each.split, each.examples) for each in candidates} == {("test", 10)}
    assert [each.value for each in candidates] == [each.top5_error for each in candidates]
    strategies = [each.strategy for each in candidates]
    assert strategies == ["random"] * 3 + ["gradient"] * 2 + ["markov"]
    assert "ranking by the TEST split" in answer.err
    assert "test: error of the ensemble" in answer.out
    assert "test: top-5 error of the best" in answer.out


def test_resume_ends_with_the_same_weights(call):
    argv = ("train.py", *TINY, "--batch-size", "9", "--epochs", "1")
    assert call(*argv, "--save-weights", "whole").code == 0
    argv = (*argv, "--save-weights", "cut")
    steps = iter(range(100))
    with pytest.MonkeyPatch.context() as patch:
        second = property(lambda self: next(steps) == 1, lambda self, _: None)
        patch.setattr(Interruption, "requested", second, raising=False)
        assert call(*argv).code == 130
    answer = call(*argv)
    assert answer.code == 2
    assert "already exists and is kept: add --resume" in answer.faults[0]
    assert call(*argv, "--resume").code == 0
    whole, cut = (
        load_tensors(Path("weights", name, "network.safetensors"))[0] for name in ("whole", "cut")
    )
    assert all(torch.equal(value, cut[name]) for name, value in whole.items())


def test_model_trains_a_reference_network_once(call):
    argv = ("train.py", *TINY, "--epochs", "1", "--model", "WRN-10-1", "--save-weights", "wide")
    answer = call(*argv)
    assert answer.code == 0, answer.err
    run = Run.open("weights/wide")
    assert not run.trained
    (path,) = (run.path / "children").iterdir()
    assert path.name == "wrn-10-1-e1-augmented-fp32"
    again = call(*argv, "--resume")
    assert (again.code, again.out) == (0, answer.out)


def test_train_with_flags_without_effect_tells_of_each_once(call):
    flags = ("--epochs", "1", "--parallel", "--gates", "--save-weights", "net")
    answer = call("train.py", *TINY, *flags)
    assert answer.code == 0
    line = "--parallel has no effect: it needs several GPUs, and this machine has 0"
    assert line in answer.err.splitlines()
    assert answer.err.count("--gates has no effect, because it joins two paths") == 1
    assert Run.open("weights/net").trained


RELAUNCHED = """
import os, pathlib, sys
names = ("RANK", "WORLD_SIZE", "MASTER_PORT")
told = [*(os.environ[name] for name in names), *sys.argv[1:]]
pathlib.Path("process-" + told[0]).write_text(" ".join(told))
"""


def test_relaunch_runs_the_script_in_several_processes(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(RELAUNCHED)
    code = (
        "from smash.cli.original.commands import relaunch\n"
        f"relaunch(2, {str(script)!r}, ['--epochs', '1', '--parallel'])"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=environment)
    told = [(tmp_path / f"process-{rank}").read_text().split() for rank in range(2)]
    assert [words[:2] for words in told] == [["0", "2"], ["1", "2"]]
    assert told[0][2:] == told[1][2:]
    assert told[0][3:] == ["--epochs", "1", "--parallel"]


def _train_in_two(rank, port, folder, data, argv):
    os.chdir(folder)
    os.environ["SMASH_DATA"] = str(data)
    join_two(rank, port)
    for number, name in ((1, f"out-{rank}"), (2, f"err-{rank}")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = ["train.py", *argv]
    runpy.run_path(str(ROOT / "train.py"), run_name="__main__")


def test_train_in_two_processes_shares_the_batch(files, tmp_path):
    argv = [*TINY, "--epochs", "1", "--batch-size", "10", "--save-weights", "net", "--parallel"]
    assert in_two(_train_in_two, tmp_path, files, argv) == [0, 0], content(tmp_path)
    out = "".join((tmp_path / f"out-{rank}").read_text() for rank in range(2))
    assert out.count("the mean over random architectures") == 1
    training = Run.open(tmp_path / "weights" / "net").settings.training
    assert (training.processes, training.batch_size) == (2, 5)


REFUSED = {
    "train.py --dept 3": "--dept",
    "train.py --epochs many": "many",
    "train.py --which-dataset C11": "C11",
    "train.py --big-op --var-op": "--var-op: not allowed with argument --big-op",
    "train.py --which-dataset MN10 --max-kernel 4": "max_kernel",
    "train.py --which-dataset MN10 --fold 3": "fold is for 'stl10'",
    "train.py --rank 1": "add --SMASH=NAME",
    "train.py --init-from-SMASH": "add --SMASH=NAME",
    "train.py --SMASH=nothing.pth": "SMASH network 'nothing.pth' does not exist",
    "train.py --model ResNet19": "baseline 'ResNet19' is not known",
    "train.py --save-weights nowhere --resume": "run 'weights/nowhere' does not exist",
    "evaluate.py": "--SMASH is missing",
    "evaluate.py --SMASH=nothing": "SMASH network 'nothing' does not exist",
}


@pytest.mark.parametrize("line", REFUSED)
def test_wrong_use_is_refused_in_a_line_and_leaves_nothing(call, line):
    answer = call(*line.split())
    assert (answer.code, len(answer.faults)) == (2, 1), answer.err
    assert REFUSED[line] in answer.faults[0]
    assert not Path("weights").exists()


def test_flags_that_contradict_the_network_are_refused(call, net):
    for program in ("train.py", "evaluate.py"):
        assert call(program, "--SMASH=net", *FEW, "--which-dataset", "MN10").code == 0
        answer = call(program, "--SMASH=net", *FEW, "--which-dataset", "C10")
        assert (answer.code, len(answer.faults)) == (2, 1)
        assert "which_dataset was MN10" in answer.faults[0]
    answer = call("train.py", "--SMASH=net", *FEW, "-D", "12", "--postac", "-k", "1")
    assert (answer.code, len(answer.faults)) == (2, 2)
    assert "depth was 1" in answer.faults[0]


def test_a_run_of_another_space_contradicts_no_flag_that_was_not_given():
    about = SimpleNamespace(
        space=SimpleNamespace(name="mobile"), data=SimpleNamespace(source="digits")
    )
    check_unchanged(SimpleNamespace(space=object(), settings=about, path=Path("net")), {}, ())


def test_a_start_that_was_killed_may_be_repeated(call):
    Path("weights/net").mkdir(parents=True)
    for name in (".train.lock", "environment.json"):
        Path("weights/net", name).touch()
    answer = call("train.py", *TINY, "--epochs", "1", "--save-weights", "net.pth")
    assert answer.code == 0, answer.err


def test_usage_errors_need_no_torch():
    code = (
        "import runpy, sys; sys.argv = ['train.py', '--epochs', 'many']\n"
        f"try: runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 2, end.code\n"
        "assert 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_docs_name_every_flag():
    rows = re.findall(r"(?m)^\| (`-[^|]*) \|", (ROOT / "docs/original.md").read_text())
    named = set(re.findall(r"`(-[\w-]+)`", " ".join(rows)))
    programs = ("train.py", "evaluate.py")
    flags = {name for each in programs for flag in flags_of(each) for name in flag.names.split()}
    assert flags <= named
