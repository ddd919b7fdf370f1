"""Prediction of the classes of files: images, recordings, or arrays of volumes and signals.

``.onnx`` and ``.safetensors`` are data and cannot run code; an ``.onnx`` runs in a process of its
own with a time limit. A ``.py`` is code, and predicting with it runs it; torch may
unpickle parts of a ``.pt2``, and ExecuTorch trusts a ``.pte``, so both can run code as well.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smash.data.log_mel import sound_inputs
from smash.data.sources.files import read_array
from smash.data.sources.images import IMAGE_EXTENSIONS, read_image
from smash.data.sources.npz import member_names
from smash.data.sources.sound import SOUND_EXTENSIONS, read_waveform
from smash.errors import DataError, InvalidValueError, listed, reason_of, shortened
from smash.exporting.executorch import read_executorch
from smash.exporting.export import signature_of
from smash.exporting.formats import check_model, missing_files
from smash.exporting.onnx import OnnxNetwork
from smash.exporting.program import read_program
from smash.exporting.safetensors import read_safetensors
from smash.exporting.signature import ShippedNetwork, Signature
from smash.io.text import as_size
from smash.run.child import Child

_BATCH = 64
_ARRAYS = (".npy", ".npz")
_READABLE = {*IMAGE_EXTENSIONS, *SOUND_EXTENSIONS, *_ARRAYS}
_EXAMPLES = ("test_data", "data")  # names of the array of examples in an .npz


@dataclass(frozen=True)
class Model:
    """A network that is ready to predict.

    Attributes:
        signature: Its input and its classes.
        run: Maps inputs as the signature says to logits, N×classes.

    Example:
        >>> signature = Signature(
        ...     classes=("dark", "light"), channels=1, size=(2,), scaled=True, mean=(0,), std=(1,)
        ... )
        >>> model = Model(signature, lambda images: torch.cat([1 - images[:, 0], images[:, 0]], 1))
        >>> model.signature.classes[1]
        'light'
    """

    signature: Signature
    run: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Prediction:
    """The prediction for one example.

    Attributes:
        file: The file; where it holds several examples, followed by the number in brackets.
        likely: The most likely classes and their probabilities, 0…1, in descending order.

    Example:
        >>> prediction = Prediction("a.png", (("cat", 0.9), ("dog", 0.1)))
        >>> prediction.likely[0]
        ('cat', 0.9)
    """

    file: str
    likely: tuple[tuple[str, float], ...]


def load_model(path: str | Path) -> Model:
    """Loads a file that `smash export` wrote, or the folder of a trained child.

    A ``.py`` is run, and a ``.pt2`` or ``.pte`` may run code while it is loaded.

    Raises:
        NotFoundError: The path does not exist.
        InvalidValueError: The suffix is no format.
        DataError: The file was not written by `smash export`, or is damaged.
    """
    path = Path(path)
    check_model(path)
    if path.is_dir():
        child = Child.open(path)
        signature = signature_of(child)
        network = ShippedNetwork(child.model(torch.device("cpu")), signature)
        return Model(signature, torch.no_grad()(network))
    if path.suffix == ".onnx":
        loaded = OnnxNetwork(path, isolated=True)
        return Model(loaded.signature, loaded)
    if path.suffix == ".safetensors":
        network, signature = read_safetensors(path)
        return Model(signature, torch.no_grad()(network))
    if path.suffix in (".pt2", ".pte"):
        read = read_program if path.suffix == ".pt2" else read_executorch
        program, signature = read(path)
        return Model(signature, program)
    return _run_module(path)


def predict(
    model: Model | str | Path, files: Sequence[str | Path], top: int = 1
) -> list[Prediction]:
    """Predicts the most likely classes of each file.

    Args:
        model: The model or its path; see `load_model`.
        files: Images, which are resized as in training: the shorter side to fit, then cropped at
            the centre. Recordings, which become what the network was trained on. Or ``.npy`` arrays
            of one example, channels×spatial, or of several, N×channels×spatial; an axis of one
            channel may be omitted; an ``.npz`` with such an array alone, or under ``test_data`` or
            ``data``. Pickled objects are refused. Or folders, of which all such files are taken.
        top: Number of classes to report.

    Raises:
        DataError: Files that cannot be used, each named.
        InvalidValueError: `top` is less than 1, or `files` is empty.

    Example:
        >>> from smash import retrain
        >>> np.save("digit.npy", np.zeros((8, 8), np.float32))
        >>> (prediction,) = predict(retrain("runs/digits", rank=0, epochs=1).path, ["digit.npy"])
        >>> prediction.file
        'digit.npy'
    """
    if top < 1:
        raise InvalidValueError(f"top must be at least 1, got {top}")
    if not files:
        raise InvalidValueError("files must name at least one file, got none")
    if not isinstance(model, Model):
        model = load_model(model)
    found: list[Prediction] = []
    faults = missing_files(files)
    for names, images in _batches(_within(files, faults), model.signature, faults):
        probabilities = model.run(images).softmax(1)
        # Stable, so that of equal ones the first is predicted, as `evaluate` counts it.
        values, indices = (
            each[:, :top] for each in probabilities.sort(dim=1, descending=True, stable=True)
        )
        classes = model.signature.classes
        found += [
            Prediction(name, tuple((classes[i], p) for i, p in zip(best, shares, strict=True)))
            for name, best, shares in zip(names, indices.tolist(), values.tolist(), strict=True)
        ]
    if faults:
        raise DataError(*shortened(faults))
    return found


def _run_module(path: Path) -> Model:
    """Runs a stand-alone Python file, and loads its network."""
    module = ModuleType(f"_model_{path.stem}")
    module.__file__ = str(path.absolute())
    sys.modules[module.__name__] = module  # Its dataclasses look it up there.
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), vars(module))  # noqa: S102
        values = {"classes": module.CLASSES, **module.INPUT}
        network = module.load()
    except Exception as error:  # The code may raise anything.
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise DataError(
            f"{path} cannot be run as a model ({reason}): export it again, and keep its weights "
            "beside it"
        ) from None
    finally:
        del sys.modules[module.__name__]
    try:
        signature = Signature.from_values(values)
    except DataError as error:
        raise DataError(*(f"{path}: {fault}" for fault in error.faults)) from None
    return Model(signature, torch.no_grad()(network))


def _within(files: Sequence[str | Path], faults: list[str]) -> list[Path]:
    """Replaces folders by the readable files below them, sorted; adds empty ones to `faults`."""
    found: list[Path] = []
    for path in map(Path, files):
        if path.is_file():
            found.append(path)
        if not path.is_dir():
            continue
        inside = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in _READABLE]
        inside = [file for file in inside if file.is_file() and not file.name.startswith(".")]
        found += inside
        if not inside:
            faults.append(f"folder {path} has no images, arrays or recordings: name another")
    return found


def _batches(
    files: Sequence[Path], signature: Signature, faults: list[str]
) -> Iterator[tuple[list[str], Tensor]]:
    """Reads examples in batches of names and inputs, N×channels×spatial; adds to `faults`."""
    names: list[str] = []
    images: list[Tensor] = []
    for path in files:
        try:
            for name, image in _examples(path, signature):
                names.append(name)
                images.append(image)
                if len(images) == _BATCH:
                    yield names, torch.stack(images)
                    names, images = [], []
        except DataError as error:
            faults += error.faults
    if images:
        yield names, torch.stack(images)


def _examples(path: Path, signature: Signature) -> Iterator[tuple[str, Tensor]]:
    """Reads the examples of a file, channels×spatial each."""
    if path.suffix.lower() in IMAGE_EXTENSIONS:
        yield str(path), _image(path, signature)
    elif path.suffix.lower() in SOUND_EXTENSIONS:
        yield str(path), _recording(path, signature)
    elif path.suffix.lower() in _ARRAYS:
        examples = _array(path, signature)
        for number in range(len(examples)):
            name = f"{path}[{number}]" if len(examples) > 1 else str(path)
            yield name, _as_input(path, examples[number], signature)
    else:
        raise DataError(
            f"{path} must be an image ({' '.join(sorted(IMAGE_EXTENSIONS))}), a recording "
            f"({' '.join(sorted(SOUND_EXTENSIONS))}) or an array (.npy, .npz): convert it"
        )


def _image(path: Path, signature: Signature) -> Tensor:
    size = signature.size
    if len(size) != 2 or signature.channels not in (1, 3) or not signature.scaled:
        raise DataError(
            f"{path} is an image, and the model takes {_form(signature)}: save examples as .npy"
        )
    pixels = read_image(path, signature.channels, (size[0], size[1]), signature.white)
    return pixels.float() / 255


def _recording(path: Path, signature: Signature) -> Tensor:
    if signature.sound is None:
        raise DataError(
            f"{path} is a recording, and the model takes {_form(signature)}: save examples as .npy"
        )
    return sound_inputs(read_waveform(path, signature.sound)[None], signature.sound)[0]


def _array(path: Path, signature: Signature) -> NDArray[Any]:
    """Opens an array of examples, N×channels×spatial, without reading it into memory."""
    try:
        # Memory-mapped: the file must be as large as its header says, and cannot be a pickle.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns of headers that are old or damaged.
            if path.suffix.lower() == ".npz":
                array = _member(path)
            else:
                array = np.load(path, mmap_mode="r", allow_pickle=False)
    except DataError:
        raise
    except Exception as error:  # A damaged header can raise anything.
        raise DataError(
            f"{path} cannot be read as a plain array ({reason_of(error)}): write it with "
            "numpy.save, without objects"
        ) from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
        raise DataError(f"{path} must be one array of numbers: write it with numpy.save")
    example = (signature.channels, *signature.size)
    if array.shape == example:
        return array[None]
    if signature.channels == 1 and array.shape == signature.size:
        return array[None, None]
    if array.shape[1:] == example and len(array):
        return array
    if signature.channels == 1 and array.shape[1:] == signature.size and len(array):
        return array[:, None]
    raise DataError(
        f"{path} must hold {_form(signature)}, got shape {as_size(array.shape)}: resize its "
        "examples, with the channels first"
    )


def _member(path: Path) -> NDArray[Any]:
    """Reads the array of examples of an ``.npz``."""
    names = member_names(path)
    keys = [key for key in (*_EXAMPLES, *names[: len(names) == 1]) if key in names]
    if not keys:
        raise DataError(
            f"{path} must have one array, or {' or '.join(_EXAMPLES)}, found "
            f"{listed(names)}: save the examples under one of these"
        )
    return read_array(path, keys[0])


def _as_input(path: Path, example: NDArray[Any], signature: Signature) -> Tensor:
    """Converts an example to float32, in the units that the network takes."""
    with np.errstate(over="ignore"):  # Values that overflow become infinite and are refused.
        values = torch.from_numpy(np.array(example, dtype=np.float32, order="C"))
    if not values.isfinite().all():
        raise DataError(
            f"{path} must be finite as float32, and has values that are not: replace them, or omit "
            "the example"
        )
    if not signature.scaled:
        return values
    highest = 255 if example.dtype.kind in "iu" else 1
    if values.min() < 0 or values.max() > highest:
        raise DataError(
            f"{path} must have values in 0…{highest}, got {values.min():g}…{values.max():g}: save "
            "8-bit values as integers, or values in 0…1 as floats"
        )
    return values / highest


def _form(signature: Signature) -> str:
    plural = "s" * (signature.channels > 1)
    return f"{signature.channels} channel{plural} of size {as_size(signature.size)}"
