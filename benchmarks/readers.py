"""All readers of foreign files, with good files for each, which `benchmarks.fuzzing` alters."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn

import smash
from benchmarks.altering import (
    alter_csv,
    alter_json,
    alter_lines,
    alter_npz,
    alter_safetensors,
    alter_toml,
)
from smash.config import LoadSettings
from smash.correlation.correlate import correlate
from smash.correlation.ground_truth import read_table
from smash.data.sources.arrays import read_archive
from smash.data.sources.imagenet32 import class_names
from smash.data.sources.images import examine, picture_file
from smash.data.sources.modelnet import MODELNET10, file_name, read_modelnet10
from smash.data.sources.parquet import read_table as read_images
from smash.data.sources.voxelize import voxelise
from smash.errors import DataError
from smash.exporting.onnx import OnnxNetwork, write_onnx
from smash.exporting.predict import Model, predict
from smash.exporting.safetensors import read_safetensors, write_safetensors
from smash.exporting.signature import Signature
from smash.io.files import read_text
from smash.io.measurements import MeasurementLog
from smash.profiling.latency import ChildTimer, Stopwatch
from smash.reporting.contents import read_contents
from smash.run.checkpoint import Checkpoint
from smash.run.child import Child, build
from smash.run.layout import (
    ARCHITECTURE,
    ENVIRONMENT,
    FOUND,
    MEASUREMENTS,
    RESULT,
    STORAGE,
    find_run,
)
from smash.run.metrics_log import MetricsLog
from smash.scoring.proxy_values import measure_proxy
from smash.searching.ensemble import Ensemble
from smash.spaces import NasBench201Space, make_space
from smash.study.postgres import Server, parse_url
from smash.study.study import Study

_CELLS = NasBench201Space()
_CPU = torch.device("cpu")

Alteration = Callable[[bytes, random.Random], bytes]


@dataclass
class Reader:
    """A reader under test.

    Attributes:
        read: Reads a file.
        good: Contents that it must be able to read.
        shape: Alters a value rather than bytes; None if the format has no values.
        forgiving: Whether it refuses little, because damage is reported or repaired.
    """

    read: Callable[[Path], object]
    good: list[bytes]
    shape: Alteration | None = None
    forgiving: bool = False


def make_run(path: Path) -> None:
    """Makes a run with a study and a child."""
    torch.set_num_threads(1)
    data = smash.load_data("digits")
    tiny: dict[str, Any] = {
        "space": "memory-bank",
        "preset": "tiny",
        "options": {"depth": 1, "max_width": 16},
        "device": "cpu",
    }
    run = smash.train(data, path, epochs=1, **tiny)
    smash.search(run, random=3, perturb=1, markov=1, device="cpu")
    smash.retrain(run, rank=0, epochs=1, device="cpu")


def readers(folder: Path) -> dict[str, Reader]:
    """Makes all readers.

    Args:
        folder: Has a run of digits, ``run``, with a study and one child; gets more files.
    """
    os.environ["SMASH_CACHE"] = str(folder / "cache")
    os.environ["HF_HUB_OFFLINE"] = "1"
    datasets.disable_progress_bars()
    return {**_of_runs(folder), **_of_data(folder), **_of_shipped(folder)}


def _into(place: Path, read: Callable[[], object]) -> Callable[[Path], object]:
    """Reads a file after copying it to a place of its own."""

    def read_there(path: Path) -> object:
        place.unlink(missing_ok=True)  # a reader before may have mapped what is there
        shutil.copyfile(path, place)
        return read()

    return read_there


def _of_runs(folder: Path) -> dict[str, Reader]:
    """What is in a run folder."""
    proxies = ("naswot",)
    correlate(smash.Run.open(folder / "run"), train=3, epochs=1, proxies=proxies, device="cpu")
    other = folder / "other"
    other.mkdir()
    run = smash.Run.open(folder / "run")
    child = next(path for path in (run.path / "children").iterdir() if "audit" not in path.name)
    candidates = Study(run.study_path, run.space).candidates()
    architectures = [(one.id, one.architecture) for one in candidates]
    stopwatch = MeasurementLog(folder / "measurements.jsonl")
    Stopwatch(run.space, ChildTimer(run.space, run.data.task, _CPU), stopwatch)(architectures[0][1])

    def settings() -> None:
        make_space(find_run(other).space, 2)

    def described(path: Path) -> None:
        found = Child.open(path)
        build(found.run, found.record, torch.device("meta"))

    def journal(path: Path) -> object:
        study = Study(path)
        return study.settings, study.ranked()

    def tensors(path: Path) -> object:
        module = nn.Linear(3, 2)
        optimizer = torch.optim.Adam(module.parameters())
        return Checkpoint(path).load(module, optimizer)

    def measurements(path: Path) -> None:
        shutil.copyfile(path, folder / "known.jsonl")  # what is not known is added
        known = MeasurementLog(folder / "known.jsonl")
        measure_proxy(run, "naswot", architectures[:2], known, _CPU)
        known.get("latency", architectures[0][0])

    def ensemble(path: Path) -> None:
        Ensemble(path, torch.zeros(153, dtype=torch.int64), [one.id for one in candidates])

    def of(name: str) -> list[bytes]:
        return [(run.path / name).read_bytes()]

    def in_a_run(name: str, read: Callable[[Path], object], **how: bool) -> Reader:
        """A reader of a file of a run, which has a run of its own."""
        copied = Path(shutil.copytree(run.path, folder / f"copy-{len(list(folder.iterdir()))}"))
        return Reader(_into(copied / name, lambda: read(copied)), of(name), alter_json, **how)

    about, result = (str(child.relative_to(run.path) / name) for name in (ARCHITECTURE, RESULT))

    server = {"url": "postgresql://user@host:5432/studies?sslmode=require", "name": "run-0123"}
    return {
        "json": in_a_run(about, lambda run: described((run / about).parent)),
        "result": in_a_run(result, lambda run: Child.open((run / result).parent).result),
        "toml": Reader(_into(other / "config.toml", settings), of("config.toml"), alter_toml),
        "journal": Reader(journal, of(run.study_path.name), alter_lines),
        "safetensors": Reader(tensors, [_checkpoint(folder / "state")], alter_safetensors),
        "metrics": Reader(lambda path: MetricsLog(path).rows(), of("metrics.jsonl"), alter_lines),
        "measurements": Reader(measurements, of(MEASUREMENTS), alter_lines),
        "ensemble": Reader(ensemble, of("ensemble.safetensors"), alter_safetensors, forgiving=True),
        "storage": Reader(
            _into(other / STORAGE, lambda: Server.of(other)),
            [json.dumps(server).encode()],
            alter_json,
        ),
        "storage URL": Reader(
            lambda path: parse_url(os.fsdecode(path.read_bytes())), [server["url"].encode()]
        ),
        "trust": in_a_run(FOUND, read_contents),
        "environment": in_a_run(ENVIRONMENT, read_contents, forgiving=True),
        "child of a report": in_a_run(about, read_contents),
    }


def _of_data(folder: Path) -> dict[str, Reader]:
    """Readers of data and of tables of accuracies."""
    models = folder / "models"
    models.mkdir()
    (models / file_name(MODELNET10, "test")).write_bytes(_voxels())
    train = models / file_name(MODELNET10, "train")
    rng = np.random.default_rng(0)
    cells = [_CELLS.sample(rng) for _ in range(8)]
    rows = [f"{_CELLS.to_json(cell)['cell']},{number}.5" for number, cell in enumerate(cells)]
    names = [f"n{number:08} {number} word_{number}" for number in range(1, 1001)]

    def images(path: Path) -> None:
        list(examine([picture_file(path)]))

    def cell(path: Path) -> None:
        _CELLS.parse(read_text(path))

    def mesh(path: Path) -> None:
        try:
            voxelise(path)
        except Exception as error:  # as `prepare_modelnet` does, which names all such files
            raise DataError(str(error)) from None

    return {
        "csv": Reader(
            lambda path: read_table(path, "accuracy", _CELLS),
            ["\n".join(["architecture,accuracy", *rows, ""]).encode()],
            alter_csv,
        ),
        "cell": Reader(cell, [row.split(",")[0].encode() for row in rows]),
        "npz": Reader(lambda path: read_archive(path, LoadSettings()), _archives(), alter_npz),
        "ModelNet": Reader(_into(train, lambda: read_modelnet10(models)), [_voxels()], alter_npz),
        "class names": Reader(class_names, ["\n".join(names).encode()]),
        "mesh": Reader(_into(folder / "mesh.off", lambda: mesh(folder / "mesh.off")), [_MESH]),
        "images": Reader(images, _images(), forgiving=True),
        **_of_tables(folder),
    }


def _of_tables(folder: Path) -> dict[str, Reader]:
    """Readers of tables of images."""
    saved, parquet = folder / "saved", folder / "train.parquet"
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])}
    columns = {"image": [{"bytes": png} for png in _images()[:1] * 8], "label": [0, 1] * 4}
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))
    table.save_to_disk(saved)
    pq.write_table(pa.table({**columns, "label": ["a", "b"] * 4}), parquet)

    def in_a_table(file: str, shape: Alteration | None = None) -> Reader:
        """A reader of a file of a saved table, which has a table of its own."""
        copied = Path(shutil.copytree(saved, folder / f"copy-{len(list(folder.iterdir()))}"))
        good = [(saved / file).read_bytes()]
        return Reader(
            _into(copied / file, lambda: read_images(copied, LoadSettings())), good, shape
        )

    (arrow,) = saved.glob("*.arrow")
    good = [parquet.read_bytes()]
    return {
        "parquet": Reader(_into(parquet, lambda: read_images(parquet, LoadSettings())), good),
        "arrow": in_a_table(arrow.name),
        "state of a table": in_a_table("state.json", alter_json),
        "features of a table": in_a_table("dataset_info.json", alter_json),
    }


def _of_shipped(folder: Path) -> dict[str, Reader]:
    """Readers of exported networks and of their inputs."""
    shipped = folder / "shipped"
    shipped.mkdir()
    signature = Signature(
        classes=("a", "b"), channels=1, size=(4,), scaled=True, mean=(0.5,), std=(1.0,)
    )
    run = smash.Run.open(folder / "run")
    child = Child.open(next((folder / "run" / "children").iterdir()))
    task = run.data.task
    own = Signature(
        classes=run.data.classes,
        channels=task.channels,
        size=task.size,
        scaled=True,
        mean=(0.5,) * task.channels,
        std=(1.0,) * task.channels,
    )
    about = {**child.record.model_dump(exclude_none=True), "space": run.settings.space.model_dump()}
    write_safetensors(child.model(_CPU), own, about, shipped / "m.safetensors")
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    write_onnx(network, signature, {}, shipped / "m.onnx")
    model = Model(signature, torch.no_grad()(network))

    def weights() -> object:
        return read_safetensors(shipped / "m.safetensors")

    def arrays() -> object:
        return predict(model, [shipped / "x.npy"])

    def graph(path: Path) -> object:
        loaded = OnnxNetwork(path)
        return predict(Model(loaded.signature, loaded), [shipped / "one.npy"])

    np.save(shipped / "one.npy", np.ones((1, 4), np.float32))

    return {
        "shipped": Reader(
            _into(shipped / "m.safetensors", weights),
            [(shipped / "m.safetensors").read_bytes()],
            alter_safetensors,
        ),
        "onnx": Reader(graph, [(shipped / "m.onnx").read_bytes()]),
        "npy": Reader(_into(shipped / "x.npy", arrays), _arrays()),
    }


_MESH = b"""OFF
4 4 0
0.13 0.2 -0.31
1.21 0.43 0.02
0.31 0.87 0.17
0.5 0.3 1
3 0 1 2
3 0 1 3
3 1 2 3
3 0 2 3
"""


def _checkpoint(path: Path) -> bytes:
    module = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    Checkpoint(path).save(module, optimizer, {"step": 1, "scaler": {}, "best": [1, {"a": None}]})
    return path.read_bytes()


def _archives() -> list[bytes]:
    data = np.arange(10 * 16, dtype=np.uint8).reshape(10, 4, 4)
    found = []
    for save in (np.savez, np.savez_compressed):
        out = io.BytesIO()
        save(out, data=data, labels=np.arange(10) % 2, classes=np.array(["a", "b"]))
        found.append(out.getvalue())
    return found


def _voxels() -> bytes:
    out = io.BytesIO()
    classes = len(MODELNET10)
    features = np.zeros((3 * classes * 24, 1, 4, 4, 4), bool)
    np.savez_compressed(out, features=features, targets=np.arange(3 * classes) % classes)
    return out.getvalue()


def _arrays() -> list[bytes]:
    found = []
    for array in (np.zeros((3, 1, 4), np.uint8), np.ones((1, 4), np.float32), np.zeros((2, 4))):
        out = io.BytesIO()
        np.save(out, array)
        found.append(out.getvalue())
    return found


def _images() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    found = []
    for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"):
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, kind)
        found.append(out.getvalue())
    return found
