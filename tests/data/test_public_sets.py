"""Public sets as they come out of their archives, and tables as spreadsheets and other programs write them."""

import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from brainmri.data import provenance
from brainmri.data.dataset import open_prepared
from brainmri.data.layouts import detect_layout, read_layout, unwrapped
from brainmri.data.masks import polygon_mask, read_polygons
from brainmri.data.prepare import prepare
from brainmri.data.tables import add_groups

from ..scripts import run_here
from .sources import class_folders, noise, save


def mat(file: Path, seed: int, label: int, patient: str, image: np.ndarray | None = None) -> Path:
    """A slice as figshare 1512427 has it: MATLAB v7.3, matrices stored column by column."""
    file.parent.mkdir(parents=True, exist_ok=True)
    values = image if image is not None else np.kron(noise(seed, (8, 8)), np.ones((4, 4))).astype(np.int16) * 8
    mask = np.zeros(values.shape, np.uint8)
    mask[4:14, 6:20] = 1
    with h5py.File(file, "w", userblock_size=512) as opened:
        data = opened.create_group("cjdata")
        data["image"], data["tumorMask"] = values.T, mask.T
        data["label"], data["PID"] = np.array([[float(label)]]), np.array([[ord(c)] for c in patient], np.uint16)
        data["tumorBorder"] = np.array([[6.0, 4.0, 20.0, 14.0]])
    with file.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64".ljust(116) + bytes(8) + b"\0\2IM")
    return file


@pytest.fixture
def figshare(tmp_path: Path) -> Path:
    """18 patients of three classes, two slices each."""
    for number in range(36):
        mat(
            tmp_path / "figshare" / "brainTumorDataPublic_1-36" / f"{number + 1}.mat",
            number,
            number % 3 + 1,
            f"MR-{number % 18:04d}X",
        )
    return tmp_path / "figshare"


def test_the_original_files_of_figshare_become_a_data_set(figshare, tmp_path, capsys):
    assert detect_layout(figshare) == "figshare-mat"
    data = open_prepared(prepare(figshare, tmp_path / "out", name="figshare"))
    assert data.classes == ["glioma", "meningioma", "pituitary"]
    assert (len(data.index), data.info.layout, data.info.settings.images_with_given_group) == (36, "figshare-mat", 36)
    numbers = data.index["source"].str.extract(r"(\d+)\.mat", expand=False).astype(int) - 1
    assert [["meningioma", "glioma", "pituitary"][number % 3] for number in numbers] == data.index["label"].tolist()
    for _, slices in data.index.groupby(numbers % 18):
        assert slices["group_id"].nunique() == slices["split"].nunique() == 1
    polygons = read_polygons(data.root / "outlines.csv")
    assert data.info.outlined == len(polygons) == 36
    covered = polygon_mask(polygons[data.index["source"].iloc[0]], 32)
    expected = np.zeros((32, 32), bool)
    expected[4:14, 6:20] = True
    assert (covered != expected).sum() <= 8  # the mask is not turned over
    everything = b"".join(file.read_bytes() for file in data.root.rglob("*") if file.is_file())
    assert b"MR-00" not in everything + capsys.readouterr().out.encode()


def test_a_slice_of_figshare_is_drawn_upright_in_its_robust_range(figshare, tmp_path):
    values = np.tile(np.arange(32, dtype=np.int16) * 100, (32, 1))
    values[:16] //= 4
    mat(figshare / "brainTumorDataPublic_1-36" / "1.mat", 0, 1, "MR-0000X", values)
    data = open_prepared(prepare(figshare, tmp_path / "out"))
    row = data.index[data.index["source"].str.endswith("/1.mat")].iloc[0]
    from PIL import Image

    drawn = np.asarray(Image.open(data.root / row["file_name"]))
    assert drawn[20, 31] == 255
    assert np.corrcoef(drawn.ravel(), values.ravel())[0, 1] > 0.99


def test_folds_of_figshare_are_its_split_and_said(figshare, tmp_path, capsys):
    with h5py.File(figshare / "cvind.mat", "w") as opened:
        opened["cvind"] = np.array([[number % 18 % 5 + 1.0 for number in range(36)]])
    table = read_layout(figshare, "figshare-mat")
    numbers = table["path"].str.extract(r"/(\d+)\.mat", expand=False).astype(int) - 1
    assert ((table["source_split"] == "test") == (numbers % 18 % 5 == 4)).all()
    prepare(figshare, tmp_path / "out")
    assert "the source's own split (30 train, 6 test) is not used: --split source" in capsys.readouterr().out


def test_files_of_figshare_that_cannot_be_read_are_listed_with_the_reason(figshare, tmp_path):
    folder = figshare / "brainTumorDataPublic_1-36"
    whole = (folder / "1.mat").read_bytes()
    (folder / "1.mat").write_bytes(whole[:700])
    mat(folder / "2.mat", 50, 9, "MR-0001X")
    mat(folder / "3.mat", 50, 1, "MR-0002X", np.full((32, 32), 7, np.int16))
    rejected = pd.read_csv(prepare(figshare, tmp_path / "out") / "rejected.csv")
    reasons = dict(zip(rejected["path"].str.rpartition("/")[2], rejected["reason"], strict=True))
    assert "broken MATLAB file" in reasons["1.mat"]
    assert "the label 9 is none of 1, 2, 3" in reasons["2.mat"]
    assert "blank" in reasons["3.mat"]


@pytest.mark.integration
@pytest.mark.parametrize("above", ["archive", "archive/inner"])
def test_a_set_is_found_below_folders_that_hold_nothing_else(tmp_path, above, capsys):
    parts = {f"{part}/{label}": 12 for part in ("Training", "Testing") for label in ("glioma", "notumor")}
    class_folders(tmp_path / "download" / above, parts)
    assert unwrapped(tmp_path / "download") == tmp_path / "download" / above
    data = open_prepared(prepare(tmp_path / "download", tmp_path / "out"))
    assert (data.info.layout, data.info.name) == ("kaggle-4class", "download")
    assert set(data.index["source"].str.split("/").str[0]) == {"Training", "Testing"}
    assert "(24 train, 24 test) is not used: --split source keeps its test part" in capsys.readouterr().out.replace(
        "24 test, 24 train", "24 train, 24 test"
    )
    assert run_here("audit.py", tmp_path / "download", "--out", tmp_path / "report").returncode == 0
    assert (tmp_path / "report" / "audit.json").is_file()


def test_a_folder_that_has_a_layout_is_not_looked_into(tmp_path):
    class_folders(tmp_path, {"glioma": 3})
    assert unwrapped(tmp_path) == tmp_path


@pytest.mark.parametrize("sign", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "BOM"])
def test_tables_of_any_usual_separator(tmp_path, sign, mark):
    class_folders(tmp_path, {"images": 4})
    rows = [["file_name", "label"], *([f"images/images_{n:02d}.png", "ab"[n % 2]] for n in range(4))]
    (tmp_path / "labels.csv").write_text(mark + "\n".join(map(sign.join, rows)) + "\n", encoding="utf-8")
    assert detect_layout(tmp_path) == "csv"
    table = read_layout(tmp_path, "csv")
    assert table["label"].tolist() == ["a", "b", "a", "b"]
    groups = tmp_path / "groups.txt"
    groups.write_text(f"{mark}file_name{sign}group_id\nimages/images_01.png{sign}anna, the second\n", encoding="utf-8")
    if sign != ",":
        assert add_groups(table, groups)["group"].tolist() == ["", "anna, the second", "", ""]
    outlines = tmp_path / "outlines.csv"
    quoted = '"[[0.1,0.1],[0.5,0.1],[0.5,0.5]]"'
    outlines.write_text(f"{mark}path{sign}polygon\na.png{sign}{quoted}\n", encoding="utf-8")
    assert list(read_polygons(outlines)) == ["a.png"]


def test_absolute_paths_with_the_folder_that_they_lie_in(tmp_path):
    images = class_folders(tmp_path / "elsewhere", {"images": 40})
    names = [f"images/images_{number:02d}.png" for number in range(40)]
    lines = [f"{images / name if number % 2 else name};{'ab'[number % 4 // 2]}" for number, name in enumerate(names)]
    labels = tmp_path / "tables" / "labels.csv"
    labels.parent.mkdir()
    labels.write_text("\n".join(["file_name;label", *lines]) + "\n", encoding="utf-8")
    assert run_here("prepare_data.py", labels, tmp_path / "out", "--image_root", images).returncode == 0
    assert sorted(open_prepared(tmp_path / "out").index["source"]) == names
    with pytest.raises(
        ValueError, match=r"20 file names that are not relative to the folder of the CSV .*--image_root"
    ):
        prepare(labels, tmp_path / "other")
    with pytest.raises(ValueError, match="do not lie in"):
        prepare(labels, tmp_path / "other", image_root=labels.parent)
    with pytest.raises(ValueError, match="--image_root is for the layout csv"):
        prepare(tmp_path / "elsewhere", tmp_path / "other", layout="imagefolder", image_root=images)


@pytest.mark.integration
@pytest.mark.parametrize("stored", ["numbers", "column", "one-hot"])
def test_npz_of_any_number_of_classes(tmp_path, stored):
    source = tmp_path / "arrays"
    source.mkdir()
    for name, count in (("train_data", 60), ("test_data", 15)):
        numbers = np.arange(count) % 3
        labels = {"numbers": numbers, "column": numbers[:, None], "one-hot": np.eye(3)[numbers]}[stored]
        np.savez(source / f"{name}.npz", X=noise(count, (count, 12, 12)), Y=labels)
    classes = ["glioma", "meningioma", "notumor"]
    assert run_here("prepare_data.py", source, tmp_path / "out", "--class_names", *classes).returncode == 0
    data = open_prepared(tmp_path / "out")
    assert data.classes == classes
    numbers = data.index["source"].str.partition("#")[2].astype(int)
    assert [classes[number % 3] for number in numbers] == data.index["label"].tolist()
    with pytest.raises(ValueError, match="--class_names"):
        prepare(source, tmp_path / "other")
    with pytest.raises(ValueError, match="--class_names is for the layout npz"):
        prepare(class_folders(tmp_path / "images", {"a": 3, "b": 3}), tmp_path / "other", class_names=["a", "b"])


def test_a_known_revision_is_recognised_by_the_names_of_all_its_files(tmp_path, monkeypatch, capsys):
    source = class_folders(tmp_path / "source", {"glioma": 12, "notumor": 12})
    paths = read_layout(source, "imagefolder")["path"]
    assert provenance.known_revision(paths) is None
    digest = provenance.hashlib.sha256("\n".join(sorted(paths)).encode()).hexdigest()
    monkeypatch.setitem(provenance.REVISIONS, digest, ("kaggle-nickparvar", "the set of 24 files"))
    info = json.loads((prepare(source, tmp_path / "out") / "dataset.json").read_text())
    assert (info["known_as"], info["origin"]) == ("the set of 24 files", None)
    assert "called as those of the set of 24 files. If they are: --origin kaggle-nickparvar" in capsys.readouterr().out
    save(noise(99), source / "glioma" / "more.png")
    info = json.loads((prepare(source, tmp_path / "more") / "dataset.json").read_text())
    assert info["known_as"] is None
