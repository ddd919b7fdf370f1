"""The whole loop as a scikit-learn classifier: train, search, retrain, predict."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from smash.data import load_data, normalise
from smash.data.dataset import MIN_SIDE
from smash.errors import InvalidValueError
from smash.runtime.device import choose_device
from smash.searching.search import search
from smash.training.retrain import retrain
from smash.training.train import train

_BATCH_SIZE = 250
_AXES = range(2, 6)


class SmashClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Finds a network for the examples it is given, and trains it.

    `X` is examples×features (a signal of one channel each), N×H×W (grey images), or with channels
    N×C×H×W or N×C×D×H×W. Features fewer than 4 are padded with zeros.

    Args:
        max_params: Most parameters of the network; None for no limit.
        max_macs: Most multiply-accumulates for one example; None for no limit.
        minutes: Time to train the SMASH network for; the search and the retraining come on top.
        epochs: Passes over the examples instead, where the result must be repeatable.
        preset: Options of the search space by name; by default what suits the examples.
        candidates: Architectures to rank: five in seven at random, the others changes of the best.
        retrain_epochs: Passes over the examples to train the winner for.
        val_fraction: Share of the examples that ranks architectures; the network is not trained
            on them.
        channels: Where `X` has the axis of channels, ``first`` or ``last``, if it has one.
        augment: Whether examples are shifted and mirrored in training.
        run_dir: Folder to keep the run in; by default it is thrown away.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        random_state: Seed of everything that is drawn, or a generator to draw one from.

    Attributes:
        classes_: Labels, in the order of `predict_proba`'s columns.
        model_: The network; it takes normalised examples.
        n_params_: How many parameters it has.
        val_error_: Its error on the validation examples, 0…1.
    """

    def __init__(
        self,
        *,
        max_params: int | None = None,
        max_macs: int | None = None,
        minutes: float | None = 5.0,
        epochs: int | None = None,
        preset: str | None = None,
        candidates: int = 140,
        retrain_epochs: int = 30,
        val_fraction: float = 0.1,
        channels: Literal["first", "last"] = "first",
        augment: bool = False,
        run_dir: str | Path | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.max_params = max_params
        self.max_macs = max_macs
        self.minutes = minutes
        self.epochs = epochs
        self.preset = preset
        self.candidates = candidates
        self.retrain_epochs = retrain_epochs
        self.val_fraction = val_fraction
        self.channels = channels
        self.augment = augment
        self.run_dir = run_dir
        self.device = device
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """Searches and trains.

        Args:
            X: Examples, as the class says.
            y: Their labels, of any kind that can be sorted.

        Raises:
            ValueError: The examples cannot be learned from, or a setting is wrong.
        """
        if self.candidates < 1:
            raise InvalidValueError(f"candidates must be at least 1, got {self.candidates}")
        X, y = validate_data(self, X, y, allow_nd=True, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, labels, counts = np.unique(y, return_inverse=True, return_counts=True)
        if len(self.classes_) < 2:
            raise InvalidValueError(
                f"y must have at least 2 classes, got one class, {self.classes_[0]!r}"
            )
        if counts.min() < 2:
            raise InvalidValueError(
                f"each class must have at least 2 examples, got {counts.min()} of class "
                f"{self.classes_[counts.argmin()]!r}"
            )
        images = self._images(X)
        if self.run_dir is not None:
            self._fit(images, labels, Path(self.run_dir))
            return self
        with tempfile.TemporaryDirectory() as folder:
            self._fit(images, labels, Path(folder) / "run")
        return self

    def _fit(self, images: NDArray[Any], labels: NDArray[Any], out: Path) -> None:
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        # Nothing is tested here, so no examples are set apart for it: one of each class stands in.
        _, shown = np.unique(labels, return_index=True)
        data = load_data(
            {
                "data": images,
                "labels": labels,
                "test_data": images[shown],
                "test_labels": labels[shown],
            },
            val_fraction=self.val_fraction,
            augment=self.augment,
            dims=images.ndim - 2,
            channels="first",
        )
        run = train(
            data,
            out,
            epochs=self.epochs,
            minutes=None if self.epochs else self.minutes,
            preset=self.preset,
            seed=seed,
            device=self.device,
            batch_size=min(50, len(data.train)),
        )
        changes = self.candidates // 7
        search(
            run,
            random=self.candidates - 2 * changes,
            perturb=changes,
            markov=changes,
            seed=seed,
            max_params=self.max_params,
            max_macs=self.max_macs,
            device=self.device,
        )
        child = retrain(run, epochs=self.retrain_epochs, seed=seed, device=self.device, test=False)
        self._mean, self._std = data.mean, data.std
        self.model_ = child.model(torch.device("cpu"))
        self.n_params_ = child.record.params
        self.val_error_ = child.result["val"].error

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Gives the probability of each class, examples×classes."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, allow_nd=True, dtype=np.float32)
        images = torch.from_numpy(self._images(X))
        device = choose_device(self.device)
        model = self.model_.to(device)
        with torch.no_grad():
            parts = [
                model(normalise(part.to(device), self._mean, self._std)).double().softmax(1).cpu()
                for part in images.split(_BATCH_SIZE)
            ]
        probabilities: NDArray[np.float64] = torch.cat(parts).numpy()
        return probabilities

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """Gives the most likely label of each example."""
        check_is_fitted(self)
        labels: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(1)]
        return labels

    def _images(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """The examples as N×C×spatial."""
        if X.ndim not in _AXES:
            raise InvalidValueError(f"X must have 2 to 5 axes, got {X.ndim}")
        if self.channels not in ("first", "last"):
            raise InvalidValueError(f"channels must be 'first' or 'last', got {self.channels!r}")
        if X.ndim <= 3:
            X = X[:, None]
        elif self.channels == "last":
            X = np.moveaxis(X, -1, 1)
        if X.ndim == 3 and (missing := MIN_SIDE - X.shape[2]) > 0:
            X = np.pad(X, ((0, 0), (0, 0), (0, missing)))
        return np.ascontiguousarray(X)
