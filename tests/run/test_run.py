from __future__ import annotations

import numpy as np
import pytest

import smash
from smash.errors import AlreadyExistsError, InvalidValueError, NotFoundError, RunStateError
from smash.io.tensors import load_tensors
from smash.run.layout import STUDY, check_free
from smash.run.run import Run
from tests.conftest import TINY


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
        space="memory-bank",
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


def test_a_run_whose_data_is_gone_says_where_it_was(tmp_path, few_digits):
    np.savez(
        tmp_path / "data.npz",
        data=few_digits.train.stored.numpy(),
        labels=few_digits.train.labels.numpy(),
    )
    data = smash.load_data(tmp_path / "data.npz")
    run = smash.train(data, tmp_path / "run", epochs=1, **TINY)
    (tmp_path / "data.npz").unlink()
    with pytest.raises(
        NotFoundError, match=r"data '.*data\.npz' of run .* does not exist: restore"
    ):
        _ = Run.open(run.path).data


def test_verbs_take_the_folder_of_a_run_and_refuse_what_is_none(finished):
    assert (
        Run.of(str(finished)).settings == Run.of(finished).settings == Run.open(finished).settings
    )
    opened = Run.open(finished)
    assert Run.of(opened) is opened
    for verb in (smash.search, smash.retrain, smash.compare, smash.correlate):
        with pytest.raises(InvalidValueError, match="run must be a Run or its folder, got 5"):
            verb(5)
        with pytest.raises(NotFoundError, match="nowhere"):
            verb("nowhere")
    assert smash.Study(str(finished / STUDY)).ranked()
