import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from smash.data.sources.modelnet import MODELNET10, read_modelnet10
from smash.data.sources.voxelize import prepare_modelnet, voxelise
from smash.errors import AlreadyExistsError, DataError, MissingExtraError, NotFoundError
from smash.runtime.progress import Advance, Progress
from tests.processes import preload

pytest.importorskip("trimesh")

Mesh = tuple[np.ndarray, Sequence[tuple[int, ...]]]


def box(*sides: float) -> Mesh:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * sides
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return corners, faces


def tetrahedron() -> Mesh:
    """No two of its sides are alike, and none lies along an axis."""
    corners = np.array([[0.13, 0.2, -0.31], [1.21, 0.43, 0.02], [0.31, 0.87, 0.17], [0.5, 0.3, 1]])
    return corners, [(0, 1, 2), (0, 1, 3), (1, 2, 3), (0, 2, 3)]


def write(path: Path, mesh: Mesh, header: str = "OFF\n") -> Path:
    corners, faces = mesh
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{header}{len(corners)} {len(faces)} 0"]
    lines += [" ".join(map(str, corner)) for corner in corners.tolist()]
    lines += [f"{len(face)} {' '.join(map(str, face))}" for face in faces]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("header", ["OFF\n", "OFF"])  # some published files lack the line break
def test_voxelize_of_a_box_gives_its_shell(tmp_path, header):
    found = voxelise(write(tmp_path / "box.off", box(2, 1.27, 0.9), header))[0]
    # 32 voxels along the first side; along the others from 16 − half a side to 16 + half a side.
    low, high = np.array([0, 5, 8]), np.array([31, 26, 23])
    assert np.array_equal(np.floor(16 - np.array([16, 10.16, 7.2])), low)
    places = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), axis=-1)
    inside = ((places >= low) & (places <= high)).all(-1)
    deep = ((places > low) & (places < high)).all(-1)
    assert np.array_equal(found, inside & ~deep)


@pytest.mark.parametrize("number", [0, 1, 5, 17])
def test_voxelize_equals_random_points_of_the_turned_surface(tmp_path, number):
    corners, faces = tetrahedron()
    found = voxelise(write(tmp_path / "mesh.off", (corners, faces)))[number]
    angle = np.radians(15 * number)
    x, y, z = corners.T
    turned = np.stack(
        [x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle), z], axis=1
    )
    low, high = turned.min(0), turned.max(0)
    turned = 16 + 32 * (turned - (low + high) / 2) / (high - low).max()
    weights = np.random.default_rng(0).dirichlet(np.ones(3), (len(faces), 200_000))
    points = np.concatenate(
        [w @ turned[list(face)] for w, face in zip(weights, faces, strict=True)]
    )
    counts, _ = np.histogramdd(points, bins=32, range=[(0, 32)] * 3)
    assert (found & (counts == 0)).sum() <= len(corners)  # voxels that a corner just reaches into
    assert found[counts >= 0.2 * counts.max()].all()
    assert found[counts > 0].mean() > 0.9


def test_voxelize_of_a_quarter_turn_turns_the_voxels(tmp_path):
    voxels = voxelise(write(tmp_path / "mesh.off", tetrahedron()))
    assert voxels.shape == (24, 32, 32, 32)
    # x' = −y and y' = x: voxel (31 − y, x) of the turned one is voxel (x, y) of the first.
    for quarter in range(4):
        expected = voxels[0]
        for _ in range(quarter):
            expected = expected.transpose(1, 0, 2)[::-1]
        assert np.array_equal(voxels[6 * quarter], expected)
    assert len({turned.tobytes() for turned in voxels}) == 24


def test_voxelize_of_a_long_thin_face_covers_it(tmp_path):
    corners = np.array([[0, 0, 0], [1, 0.999, 0.998], [1, 1, 1]])
    found = voxelise(write(tmp_path / "sliver.off", (corners, [(0, 1, 2)])))[0]
    assert found[np.arange(32), np.arange(32), np.arange(32)].all()


@pytest.mark.parametrize(
    "mesh",
    [
        (np.zeros((3, 3)), [(0, 1, 2)]),
        (np.array([[0, 0, 0], [1, 0, 0], [0, np.nan, 0]]), [(0, 1, 2)]),
    ],
)
def test_voxelize_of_a_degenerate_mesh_is_refused(tmp_path, mesh):
    with pytest.raises(DataError, match="finite corners and an extent, has 1 faces"):
        voxelise(write(tmp_path / "mesh.off", mesh))


@pytest.fixture
def meshes(tmp_path):
    """A folder laid out as published, with boxes of other sides in each class."""
    folder = tmp_path / "ModelNet10"
    for number, name in enumerate(MODELNET10):
        for split, n in (("train", 2), ("test", 1)):
            for i in range(n):
                path = folder / name / split / f"{name}_{i:04}.off"
                write(path, box(1, 0.3 + 0.05 * number, 0.2 + 0.1 * i))
    (folder / "README.txt").write_text("as published")
    (folder / "chair" / ".DS_Store").write_text("as published")
    return folder


def noting(seen: list[tuple[int, int]]) -> Progress:
    """Progress that notes what is done of what total."""

    @contextmanager
    def noted(label: str, total: int) -> Iterator[Advance]:
        yield lambda done, words: seen.append((done, total))

    return noted


def test_prepare_writes_files_that_modelnet_reads(meshes, tmp_path):
    preload()
    seen: list[tuple[int, int]] = []
    paths = prepare_modelnet(meshes, tmp_path / "out", processes=2, progress=noting(seen))
    assert [path.name for path in paths] == [
        "modelnet10_rot24_train.npz",
        "modelnet10_rot24_test.npz",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        path.name for path in paths
    )
    assert seen == [(done, 30) for done in range(1, 31)]
    with np.load(paths[0], allow_pickle=False) as archive:
        assert archive["features"].shape == (20 * 24, 1, 32, 32, 32)
        assert archive["targets"].tolist() == [label for label in range(10) for _ in range(48)]
    found = read_modelnet10(tmp_path / "out")
    assert (len(found.splits["train"]), found.splits["train"].views) == (20, 24)
    mesh = meshes / MODELNET10[7] / "train" / f"{MODELNET10[7]}_0001.off"
    chosen = found.splits["train"].subset(torch.tensor([7 * 2 + 1]))
    assert np.array_equal(chosen.images[:, 0].numpy(), 255 * voxelise(mesh).astype(np.uint8))
    assert chosen.labels.tolist() == [7]


def test_train_into_an_existing_run_refuses(meshes, tmp_path):
    present = tmp_path / "modelnet10_rot24_test.npz"
    present.write_text("mine")
    with pytest.raises(AlreadyExistsError, match=r"rot24_test\.npz already exists"):
        prepare_modelnet(meshes, tmp_path, processes=1)
    assert present.read_text() == "mine"


def test_prepare_of_unusable_meshes_names_all_and_leaves_no_file(meshes, tmp_path):
    (meshes / "desk" / "train" / "desk_0001.off").write_text("OFF\n3 1 0\n0 0 0\n")
    (meshes / "sofa" / "test" / "sofa_0000.off").write_text("nothing")
    with pytest.raises(DataError) as caught:
        prepare_modelnet(meshes, tmp_path / "out", processes=1)
    assert [fault.split(" ")[0][-13:] for fault in caught.value.faults] == [
        "desk_0001.off",
        "sofa_0000.off",
    ]
    assert list((tmp_path / "out").iterdir()) == []


def test_prepare_of_another_folder_is_refused(meshes, tmp_path):
    with pytest.raises(NotFoundError, match="must be the folder of ModelNet10 or ModelNet40"):
        prepare_modelnet(tmp_path / "none", tmp_path)
    for path in (meshes / "bed" / "test").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"bed/test must have \.off files, has none"):
        prepare_modelnet(meshes, tmp_path)
    (meshes / "sofa").rename(meshes / "settee")
    with pytest.raises(DataError, match="10 classes of ModelNet10, lacks sofa"):
        prepare_modelnet(meshes, tmp_path)


def test_prepare_without_trimesh_names_the_extra(meshes, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trimesh", None)  # Python's own way to say: not there
    with pytest.raises(MissingExtraError, match=r"pip install 'smash-nas\[mesh\]'"):
        prepare_modelnet(meshes, tmp_path)
