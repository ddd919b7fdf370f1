from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import smash
from smash.errors import AlreadyExistsError, NotFoundError, RunStateError
from smash.io.tensors import load_tensors, save_tensors
from smash.run.checkpoint import Checkpoint
from smash.run.layout import check_free
from smash.run.metrics_log import MetricsLog
from smash.run.run import Run


def test_load_tensors_returns_tensors_and_their_metadata(tmp_path):
    tensors = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(7)}
    save_tensors(tmp_path / "t.safetensors", tensors, {"epoch": 3, "name": "é"})
    found, about = load_tensors(tmp_path / "t.safetensors")
    assert about == {"epoch": 3, "name": "é"}
    assert all(torch.equal(found[name], value) for name, value in tensors.items())


@pytest.mark.parametrize("cut", [0, 1, 7, 40, -1])
def test_load_tensors_of_a_cut_file_is_refused(tmp_path, cut):
    path = tmp_path / "t.safetensors"
    save_tensors(path, {"a": torch.ones(8)}, {})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(RunStateError, match="is damaged"):
        load_tensors(path)


@pytest.mark.parametrize("make", [torch.optim.Adam, torch.optim.SGD])
def test_checkpoint_loaded_continues_exactly(tmp_path, make):
    def begin():
        module = nn.Linear(3, 2)
        options = {} if make is torch.optim.Adam else {"momentum": 0.9}
        return module, make(module.parameters(), lr=0.1, **options)

    def step(module, optimizer, number):
        optimizer.zero_grad()
        (module(torch.full((1, 3), float(number))) ** 2).sum().backward()
        optimizer.step()

    torch.manual_seed(0)
    module, optimizer = begin()
    checkpoint = Checkpoint(tmp_path / "state.safetensors")
    for number in range(3):
        step(module, optimizer, number)
    checkpoint.save(module, optimizer, {"step": 3})
    other, its_optimizer = begin()
    assert checkpoint.load(other, its_optimizer) == {"step": 3}
    for number in range(3, 6):
        step(module, optimizer, number)
        step(other, its_optimizer, number)
    assert torch.equal(module.weight, other.weight)


def test_checkpoint_of_another_module_is_refused(tmp_path):
    checkpoint = Checkpoint(tmp_path / "state.safetensors")
    module = nn.Linear(3, 2)
    checkpoint.save(module, torch.optim.SGD(module.parameters()), {})
    other = nn.Linear(4, 2)
    with pytest.raises(RunStateError, match="does not fit this run"):
        checkpoint.load(other, torch.optim.SGD(other.parameters()))


def test_metrics_log_ignores_a_truncated_line_and_drops_later_steps(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert log.rows() == []
    rows = [{"step": step, "epoch": step // 10, "train_loss": 1.5} for step in (10, 20, 30)]
    for row in rows:
        log.append(row)
    with log.path.open("a") as file:
        file.write('{"step": 4')
    assert log.rows() == rows
    log.truncate(20)
    assert [json.loads(line) for line in log.path.read_text().splitlines()] == rows[:2]


@pytest.mark.parametrize(
    "altered",
    [{"step": 10**400}, {"epoch": "1"}, {"train_loss": None}, {"val_error": [0.5]}, {"split": 3}],
)
def test_metrics_log_with_an_altered_value_names_its_field(tmp_path, altered):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append({"step": 10, "epoch": 1, "train_loss": 1.5, **altered})
    (field,) = altered
    with pytest.raises(RunStateError, match=rf"metrics.jsonl is damaged in line 1 \({field}\)"):
        log.rows()


def test_open_a_wrong_folder_says_what_is_wrong(run, tmp_path):
    with pytest.raises(NotFoundError, match="does not exist"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(NotFoundError, match="is not a run"):
        Run.open(tmp_path)
    with pytest.raises(AlreadyExistsError):
        check_free(run.path)
    config = run.path / "config.toml"
    config.write_text(config.read_text().replace("seed = 0", 'seed = "zero"'))
    with pytest.raises(RunStateError, match="seed must be a whole number, got 'zero'"):
        Run.open(run.path)


def test_open_returns_the_settings_of_the_run(run):
    assert Run.open(run.path).settings == run.settings


def test_train_with_keep_every_keeps_copies(few_digits, tmp_path):
    run = smash.train(
        few_digits,
        tmp_path / "run",
        epochs=3,
        preset="tiny",
        options={"depth": 1, "max_width": 16},
        device="cpu",
        keep_every=2,
        validate_every=2,
    )
    copies = sorted(path.name for path in (run.path / "copies").iterdir())
    assert copies == ["epoch-2.safetensors"]
    tensors, about = load_tensors(run.path / "copies" / copies[0])
    assert about == {"epoch": 2}
    assert tensors.keys() == run.new_network().state_dict().keys()
    # Validated after the second epoch and at the end, not after the first.
    assert ["val_error" in row for row in run.metrics.rows()] == [False, True, True]
