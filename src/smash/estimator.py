"""A scikit-learn classifier that trains a SMASH network, searches, retrains and predicts."""

from __future__ import annotations

import tempfile
from numbers import Real
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
from smash.errors import AlreadyExistsError, InvalidValueError
from smash.runtime.device import choose_device
from smash.searching.search import search
from smash.training.retrain import retrain
from smash.training.train import train

_BATCH_SIZE = 250
_AXES = range(2, 6)
_MOST_VALIDATED = 0.75


class SmashClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Searches for a network that suits the training examples, and trains it.

    `X` has the shape (n, features), for signals of one channel; (n, H, W), for grey images; or,
    with channels, (n, C, H, W) or (n, C, D, H, W). Signals of fewer than 4 features are padded with
    zeros.

    Args:
        max_params: Limit on the parameters of the network; None for no limit.
        max_macs: Limit on the multiply-accumulates for one example; None for no limit. The SMASH
            network learns and ranks within the limits.
        minutes: Time to train the SMASH network; search and retraining take extra time.
        epochs: Length of that training in epochs instead, so that the result is repeatable.
        preset: Name of a preset of the search space; by default one that suits the examples.
        candidates: Number of architectures to rank: five in seven are random, the others
            mutations of the best.
        retrain_epochs: Length of the training of the winner, in epochs.
        finalists: Number of the best-ranked of which brief trainings choose the winner; with 1 it
            is the best-ranked.
        val_fraction: Share of the examples that rank architectures and are not trained on.
        channels: Position of the axis of channels in `X`, ``first`` or ``last``, if it has one.
        augment: Whether training examples are shifted and flipped.
        run_dir: Folder to keep the run in; by default the run is deleted.
        device: ``cpu``, ``cuda``, ``mps`` or ``auto``.
        random_state: Seed of all randomness, or a generator to draw the seed from.

    Attributes:
        classes_: Labels, in the order of `predict_proba`'s columns.
        model_: The trained network; it takes normalised examples.
        n_params_: Number of its parameters.
        val_error_: Its error on the validation examples, 0…1.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> digits = load_digits()
        >>> images, labels = digits.images[:300], digits.target[:300]
        >>> classifier = SmashClassifier(epochs=1, candidates=5, retrain_epochs=1, preset="tiny")
        >>> classifier.fit(images, labels).predict(images[:2]).shape
        (2,)
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
        finalists: int = 8,
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
        self.finalists = finalists
        self.val_fraction = val_fraction
        self.channels = channels
        self.augment = augment
        self.run_dir = run_dir
        self.device = device
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803
        """Searches for a network and trains it.

        Args:
            X: Examples, in a shape that the class describes.
            y: Their labels, of any type that can be sorted.

        Raises:
            ValueError: The examples or a setting are unusable.
        """
        self._check_settings()
        if self.run_dir is not None and Path(self.run_dir).exists():
            raise AlreadyExistsError(
                f"run_dir {str(self.run_dir)!r} already exists and is kept: name another for each "
                "fit, or leave it None"
            )
        X, y = validate_data(self, X, y, allow_nd=True, dtype=np.float32)
        check_classification_targets(y)
        self.classes_, labels, counts = np.unique(y, return_inverse=True, return_counts=True)
        if len(self.classes_) < 2:
            raise InvalidValueError(
                f"y must have at least 2 classes, got one class, {self.classes_.tolist()[0]!r}"
            )
        if counts.min() < 2:
            raise InvalidValueError(
                f"each class must have at least 2 examples, got {counts.min()} of class "
                f"{self.classes_.tolist()[counts.argmin()]!r}"
            )
        images = self._images(X)
        if min(images.shape[2:]) < MIN_SIDE:
            raise InvalidValueError(
                f"X must have at least {MIN_SIDE} values along each axis of an example, got "
                f"{images.shape[2:]}"
            )
        self._shape = images.shape[1:]
        if self.run_dir is not None:
            self._fit(images, labels, Path(self.run_dir))
            return self
        with tempfile.TemporaryDirectory() as folder:
            self._fit(images, labels, Path(folder) / "run")
        return self

    def _check_settings(self) -> None:
        """Checks, before the training, what would only be checked after it, or by another name.

        Raises:
            InvalidValueError: A setting is wrong.
        """
        counts = ("candidates", "retrain_epochs", "finalists")
        faults = [
            f"{name} must be a whole number of at least 1, got {count!r}"
            for name, count in ((name, getattr(self, name)) for name in counts)
            if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1
        ]
        if not isinstance(self.val_fraction, Real) or not 0 < self.val_fraction < _MOST_VALIDATED:
            faults.append(
                f"val_fraction must be a share between 0 and {_MOST_VALIDATED}, got "
                f"{self.val_fraction!r}"
            )
        if faults:
            raise InvalidValueError(*faults)

    def _fit(self, images: NDArray[Any], labels: NDArray[Any], out: Path) -> None:
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        # A run needs a test split, but nothing is tested here: one example of each class stands in.
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
            batch_size=min(64, len(data.train)),
            max_params=self.max_params,
            max_macs=self.max_macs,
        )
        changes = self.candidates // 7
        search(
            run,
            random=self.candidates - 2 * changes,
            perturb=changes,
            markov=changes,
            seed=seed,
            device=self.device,
        )
        child = retrain(
            run,
            finalists=min(self.finalists, self.candidates),
            epochs=self.retrain_epochs,
            seed=seed,
            device=self.device,
        )
        self._mean, self._std = data.mean, data.std
        self.model_ = child.model(torch.device("cpu"))
        self.n_params_ = child.record.params
        self.val_error_ = child.result["val"].error

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """Predicts the probability of each class, shape (n, classes)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, allow_nd=True, dtype=np.float32)
        found = self._images(X)
        if found.shape[1:] != self._shape:
            raise InvalidValueError(
                f"X must have examples of the shape {self._shape} of those it was fitted to, "
                f"channels first, got {found.shape[1:]}"
            )
        images = torch.from_numpy(found)
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
        """Predicts the most likely label of each example, shape (n,)."""
        check_is_fitted(self)
        labels: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(1)]
        return labels

    def _images(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Converts examples to the shape (n, C, spatial)."""
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
