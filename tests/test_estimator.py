from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import (
    check_classifiers_classes,
    check_classifiers_train,
    estimator_checks_generator,
)

import smash
from smash.errors import AlreadyExistsError, InvalidValueError
from smash.estimator import SmashClassifier
from smash.run.layout import FINALS
from smash.training.finals import Finals

QUICK: dict[str, Any] = {
    "epochs": 1,
    "candidates": 1,
    "preset": "tiny",
    "device": "cpu",
    "random_state": 0,
}


EXPECTED_FAILURES = {
    "check_methods_subset_invariance": "it demands 1e-7 of float32 sums, whose order depends on "
    "the batch size"
}


def scikit_learn_checks():
    """Lists scikit-learn's checks of an estimator.

    Of the three long forms of `check_classifiers_train` only the strictest is listed, with
    read-only float32. The check of array API inputs needs SciPy to be started in another mode.
    """
    estimator = SmashClassifier(**QUICK, retrain_epochs=1)
    checks = []
    for _, check in estimator_checks_generator(estimator):
        function = check.func if isinstance(check, partial) else check
        is_repetition = function is check_classifiers_train and "X_dtype" not in check.keywords
        if not is_repetition and "array_api" not in function.__name__:
            reason = EXPECTED_FAILURES.get(function.__name__)
            marks = [pytest.mark.xfail(reason=reason)] if reason else []
            checks.append(pytest.param(check, marks=marks, id=_name_check(check)))
    return checks


def _name_check(check):
    if not isinstance(check, partial):
        return check.__name__
    return " ".join([check.func.__name__, *(f"{k}={v}" for k, v in check.keywords.items())])


@pytest.mark.parametrize("check", scikit_learn_checks())
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_estimator_passes_the_checks_of_scikit_learn(check):
    estimator = SmashClassifier(**QUICK, retrain_epochs=1)
    function = check.func if isinstance(check, partial) else check
    if function in (check_classifiers_train, check_classifiers_classes):  # these need accuracy
        estimator.set_params(retrain_epochs=6)
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    """All digits as N×8×8, in an order that mixes the writers, as names."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    names = np.array([f"digit {label}" for label in labels])
    return images[order].reshape(-1, 8, 8), names[order]


def test_digits_are_told_apart_within_the_limit(digits, tmp_path):
    images, names = digits
    found = SmashClassifier(
        max_params=60_000,
        epochs=1,
        preset="tiny",
        candidates=3,
        retrain_epochs=8,
        finalists=2,
        run_dir=tmp_path / "kept",
        device="cpu",
        random_state=1,
    ).fit(images[:1300], names[:1300])
    assert found.score(images[1300:], names[1300:]) > 0.9
    assert found.n_params_ == sum(p.numel() for p in found.model_.parameters()) <= 60_000
    assert list(found.classes_) == sorted(set(names))
    kept = smash.Run.open(tmp_path / "kept")
    assert kept.trained
    winner = Finals.read(kept.path / FINALS).winner
    assert winner in {
        child.record.id
        for child in smash.Child.of_run(kept)
        if child.record.params == found.n_params_
    }


def test_channels_may_stand_last(digits):
    images, names = digits
    coloured = np.stack([images, 16 - images], axis=1)[:200]
    first = SmashClassifier(**QUICK, retrain_epochs=1).fit(coloured, names[:200])
    last = SmashClassifier(**QUICK, retrain_epochs=1, channels="last")
    last.fit(np.moveaxis(coloured, 1, -1), names[:200])
    assert np.array_equal(
        first.predict_proba(coloured), last.predict_proba(np.moveaxis(coloured, 1, -1))
    )


def test_whole_numbers_and_floats_are_one(digits):
    images, names = digits
    found = SmashClassifier(**QUICK, retrain_epochs=1).fit(images[:200].astype(int), names[:200])
    for other in (images[:2, :, :4], images[:2, ..., None], np.zeros((2, 8, 20))):
        with pytest.raises(ValueError, match=r"of the shape|features"):
            found.predict(other)
    as_floats = found.predict_proba(images[200:300] + 0.25)  # not rounded to bytes
    assert np.abs(as_floats - found.predict_proba(images[200:300])).max() > 1e-6


@pytest.mark.parametrize(
    ("settings", "labels", "error", "match"),
    [
        ({"candidates": 0}, [0, 1] * 10, InvalidValueError, "candidates must .* at least 1, got 0"),
        ({"candidates": "9"}, [0, 1] * 10, InvalidValueError, "candidates must be a whole number"),
        ({"channels": "middle"}, [0, 1] * 10, InvalidValueError, "channels .* got 'middle'"),
        ({"val_fraction": 2}, [0, 1] * 10, InvalidValueError, "val_fraction must be a share"),
        ({"val_fraction": 0.8}, [0, 1] * 10, InvalidValueError, "between 0 and 0.75, got 0.8"),
        ({"candidates": True}, [0, 1] * 10, InvalidValueError, "candidates must .* got True"),
        ({"retrain_epochs": 0}, [0, 1] * 10, InvalidValueError, "retrain_epochs must .* got 0"),
        ({"finalists": -3}, [0, 1] * 10, InvalidValueError, "finalists must .* got -3"),
        ({"max_params": 3}, [0, 1] * 10, InvalidValueError, "max_params 3 cannot be met"),
        ({}, [0] * 19 + [1], InvalidValueError, "at least 2 examples, got 1 of class 1"),
        ({}, [7] * 20, InvalidValueError, "got one class, 7"),
    ],
)
def test_what_cannot_be_is_a_value_error_of_one_line(settings, labels, error, match):
    images = np.random.default_rng(0).normal(size=(20, 8, 8))
    with pytest.raises(error, match=match) as caught:
        SmashClassifier(**{**QUICK, **settings}).fit(images, labels)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value).splitlines()) == 1


def test_a_run_folder_is_never_overwritten(tmp_path):
    (tmp_path / "file").touch()
    images = np.random.default_rng(0).normal(size=(20, 8, 8))
    with pytest.raises(AlreadyExistsError, match="name another for each fit, or leave it None"):
        SmashClassifier(**QUICK, run_dir=tmp_path).fit(images, [0, 1] * 10)


def test_small_images_are_refused():
    with pytest.raises(InvalidValueError, match=r"X must have at least 4 values .* got \(3, 3\)"):
        SmashClassifier(**QUICK).fit(np.zeros((20, 3, 3)), [0, 1] * 10)
