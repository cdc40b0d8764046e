import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from brainmri.data.constants import LAYOUTS
from brainmri.data.layouts import detect_layout, left_out, npz_images, read_layout
from brainmri.data.tables import add_groups, add_sites

from .sources import class_folders, noise, save

KAGGLE = {f"{part}/{name}": 2 for part in ("Training", "Testing") for name in ("glioma", "notumor")}


def read(source: Path, expected_layout: str) -> pd.DataFrame:
    assert detect_layout(source) == expected_layout
    table = read_layout(source, expected_layout)
    assert list(table.columns) == ["path", "label", "source_split", "group", "site"]
    assert list(table["path"]) == sorted(table["path"])
    return table


def as_dict(table: pd.DataFrame, column: str) -> dict[str, str]:
    return dict(zip(table["path"], table[column], strict=True))


def write_csv(file: Path, *lines: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_kaggle_4class(tmp_path):
    table = read(class_folders(tmp_path, KAGGLE), "kaggle-4class")
    assert table.groupby(["source_split", "label"]).size().to_dict() == {
        ("test", "glioma"): 2,
        ("test", "notumor"): 2,
        ("train", "glioma"): 2,
        ("train", "notumor"): 2,
    }
    assert table["path"][0] == "Testing/glioma/glioma_00.png"


def test_every_file_counts_but_system_files(tmp_path):
    class_folders(tmp_path, KAGGLE)
    folder = tmp_path / "Training" / "glioma"
    for name in (
        "Thumbs.db",
        ".DS_Store",
        "desktop.ini",
        "._a.jpg",
        "notes.txt",
        "scan.dcm",
        "UPPER.JPG",
        "with space ü.png",
    ):
        (folder / name).write_text("x")
    (tmp_path / "Training" / ".hidden").mkdir()
    save(noise(1), tmp_path / "Training" / ".hidden" / "a.png")
    save(noise(1), tmp_path / "Training" / "outside.png")
    save(noise(1), tmp_path / "preview.jpg")
    (tmp_path / "README.txt").write_text("x")
    table = read(tmp_path, "kaggle-4class")
    labels = as_dict(table, "label")
    assert len(table) == 8 + 6
    for name in ("notes.txt", "scan.dcm", "UPPER.JPG", "with space ü.png"):
        assert labels[f"Training/glioma/{name}"] == "glioma"
    assert labels["Training/outside.png"] == labels["preview.jpg"] == ""


def test_links_are_followed_without_end(tmp_path):
    real = class_folders(tmp_path / "real", KAGGLE)
    source = tmp_path / "source"
    (source / "Training").mkdir(parents=True)
    (source / "Testing").symlink_to(real / "Testing")
    (source / "Training" / "glioma").symlink_to(real / "Training" / "glioma")
    (source / "Training" / "notumor").mkdir()
    (source / "Training" / "notumor" / "link.png").symlink_to(real / "Training" / "notumor" / "notumor_00.png")
    (source / "Training" / "notumor" / "broken.png").symlink_to(real / "absent.png")
    (source / "Training" / "notumor" / "loop").symlink_to(source)
    table = read(source, "kaggle-4class")
    assert len(table) == 4 + 2 + 2
    assert "Training/notumor/broken.png" in set(table["path"])


@pytest.mark.parametrize("above", ["", "Brain Tumor MRI images", "Dataset/Brain Tumor MRI images"])
def test_kaggle_multimodal(tmp_path, above):
    folder = tmp_path / above
    names = {
        "Healthy/mri_healthy (1).jpg": "healthy",
        "Healthy/glioma free.jpg": "healthy",
        "Tumor/glioma (1).JPG": "glioma",
        "Tumor/Meningioma (2).tif": "meningioma",
        "Tumor/my_PITUITARY.png": "pituitary",
        "Tumor/tumor (7).jpeg": "tumor",
        "Tumor/glioma or meningioma.jpg": "tumor",
        "loose.png": "",
    }
    for name in names:
        save(noise(1), folder / name)
    prefix = f"{above}/" if above else ""
    assert as_dict(read(tmp_path, "kaggle-multimodal"), "label") == {
        prefix + name: label for name, label in names.items()
    }


def test_a_third_class_or_a_table_of_labels_is_no_kaggle_set(tmp_path):
    class_folders(tmp_path, {"Healthy": 2, "Tumor": 2, "Metastasis": 2})
    assert detect_layout(tmp_path) == "imagefolder"
    class_folders(tmp_path / "b", {"Healthy": 2, "Tumor": 2})
    assert detect_layout(tmp_path / "b") == "kaggle-multimodal"
    (tmp_path / "b" / "metadata.csv").write_text("image,class\n0.png,mine\n")  # tells no labels
    assert detect_layout(tmp_path / "b") == "kaggle-multimodal"
    (tmp_path / "b" / "metadata.csv").unlink()
    (tmp_path / "b" / "labels.csv").write_text("file_name,label\nHealthy/0.png,mine\n")
    assert detect_layout(tmp_path / "b") == "csv"


def test_ct_half_is_left_out_and_said_so(tmp_path):
    counts = {
        f"Brain Tumor {half}/{part}": 2 for half in ("MRI images", "CT scan Images") for part in ("Healthy", "Tumor")
    }
    class_folders(tmp_path, counts)
    table = read(tmp_path, "kaggle-multimodal")
    assert len(table) == 4
    assert not table["path"].str.contains("CT").any()
    assert ["CT" in sentence for sentence in left_out(tmp_path, "kaggle-multimodal")] == [True]
    assert ["CT" in sentence for sentence in left_out(tmp_path / "Brain Tumor MRI images", "kaggle-multimodal")] == [
        True
    ]
    assert left_out(tmp_path, "imagefolder") == []


def test_imagefolder(tmp_path):
    class_folders(tmp_path, {"a": 2, "b": 1, "b/patient 1/deep": 2})
    (tmp_path / "groups.csv").write_text("file_name,group_id\na/a_00.png,p1\n")
    table = read(tmp_path, "imagefolder")
    assert table["label"].value_counts().to_dict() == {"a": 2, "b": 3}
    assert set(table["source_split"]) == {""}


def test_imagefolder_with_splits(tmp_path):
    class_folders(tmp_path, {"train/a": 2, "train/b": 2, "val/a": 1, "Test/b": 1, "extra/a": 1})
    table = read(tmp_path, "imagefolder")
    splits = as_dict(table, "source_split")
    assert splits["val/a/a_00.png"] == "validation"
    assert splits["Test/b/b_00.png"] == "test"
    assert (table["source_split"] == "train").sum() == 4
    assert as_dict(table, "label")["extra/a/a_00.png"] == ""


def test_csv_with_all_columns(tmp_path):
    file = write_csv(
        tmp_path / "metadata.csv",
        "file_name,label,split,group_id,site,other",
        "b/1.png, glioma ,VAL,p1,Basel,x",
        "a\\2.png,notumor,,,,",
        "./a/3.png,,Training,p1,,",
    )
    table = read(tmp_path, "csv")
    assert table.to_dict("records") == read_layout(file, "csv").to_dict("records")
    assert detect_layout(file) == "csv"
    assert table.to_dict("records") == [
        {"path": "a/2.png", "label": "notumor", "source_split": "", "group": "", "site": ""},
        {"path": "a/3.png", "label": "", "source_split": "train", "group": "p1", "site": ""},
        {"path": "b/1.png", "label": "glioma", "source_split": "validation", "group": "p1", "site": "Basel"},
    ]


def test_single_csv_beside_image_folders_and_bom(tmp_path):
    class_folders(tmp_path, {"images": 2})
    (tmp_path / "labels.csv").write_text("file_name,label\nimages/images_00.png,ü\n", encoding="utf-8-sig")
    assert list(read(tmp_path, "csv")["label"]) == ["ü"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["file,label", "a.png,x"], "no column file_name; its columns are: file, label"),
        (["file_name,label", "a.png,x", "b.png,x,y"], "1 rows that do not have 2 columns: row 3"),
        (["file_name,label", "a.png"], "row 2"),
        (["file_name,label", "a.png,x", "a.png,y"], "more than once: a.png"),
        (["file_name,label", "../a.png,x"], "not relative.*: ../a.png"),
        (["file_name,label", "/data/a.png,x"], "not relative"),
        (["file_name,label", "C:\\a.png,x"], "not relative"),
        (["file_name,label,split", "a.png,x,holdout"], "unknown splits .*: holdout"),
        ([""], "no column file_name and no column label"),
    ],
)
def test_bad_csv(tmp_path, lines, words):
    with pytest.raises(ValueError, match=words):
        read_layout(write_csv(tmp_path / "labels.csv", *lines), "csv")


def test_csv_that_is_no_text(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"file_name,label\n\xff\xfe,x\n")
    with pytest.raises(ValueError, match="not a CSV table in UTF-8"):
        read_layout(tmp_path / "labels.csv", "csv")


def test_two_csv_files_with_labels(tmp_path):
    for name in ("a.csv", "b.csv"):
        write_csv(tmp_path / name, "file_name,label", "x.png,y")
    with pytest.raises(ValueError, match=r"several CSV files.*a\.csv, b\.csv"):
        detect_layout(tmp_path)
    write_csv(tmp_path / "metadata.csv", "file_name,label", "z.png,y")
    assert list(read(tmp_path, "csv")["path"]) == ["z.png"]


def save_npz(folder: Path, labels=(0, 1, 1), **changes) -> Path:
    folder.mkdir(exist_ok=True)
    arrays = {"X": noise(1, (3, 12, 10, 3)) / 255, "Y": np.array(labels)} | changes
    np.savez(folder / "train_data.npz", **arrays)
    np.savez(folder / "test_data.npz", X=noise(2, (1, 12, 10, 3)), Y=np.array(labels)[:1])
    return folder


def test_npz_images_that_are_too_long_are_refused_before_they_are_unpacked(tmp_path):
    folder = save_npz(tmp_path, X=np.zeros((3, 8, 9000), np.uint8))
    with pytest.raises(ValueError, match="9000x8 pixels, which is too large"):
        read(folder, "npz")


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, 1],
        [[0], [1], [1]],
        [0.0, 1.0, 1.0],
        [False, True, True],
        [[1, 0], [0, 1], [0, 1]],
        [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]],
        ["notumor", "tumor", "tumor"],
        [b"notumor", b"tumor", b"tumor"],
    ],
)
def test_npz_labels(tmp_path, labels):
    table = read(save_npz(tmp_path, labels), "npz")
    assert as_dict(table, "label") == {
        "test_data.npz#0": "notumor",
        "train_data.npz#0": "notumor",
        "train_data.npz#1": "tumor",
        "train_data.npz#2": "tumor",
    }
    assert as_dict(table, "source_split")["test_data.npz#0"] == "test"


@pytest.mark.parametrize("compressed", [False, True])
def test_npz_images_come_one_by_one(tmp_path, compressed):
    values = noise(1, (5, 12, 10, 3)).astype(np.float32)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "train_data.npz", X=values, Y=np.zeros(5))
    images = npz_images(tmp_path / "train_data.npz")
    assert np.array_equal(next(images), values[0])
    assert np.array_equal(np.stack(list(images)), values[1:])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"X": noise(1, (3, 12))}, r"X has the shape \(3, 12\)"),
        ({"X": noise(1, (3, 12, 10, 4))}, r"X has the shape \(3, 12, 10, 4\)"),
        ({"X": noise(1, (2, 12, 10))}, "2 images but Y has 3 labels"),
        ({"X": np.zeros((3, 12, 10), np.int64)}, "X holds int64"),
        ({"X": np.asfortranarray(noise(1, (3, 12, 10)))}, "ascontiguousarray"),
        ({"Y": np.array([0, 1, 2])}, "numbers 0, 1, 2"),
        ({"Y": np.array([0.5, 1, 0])}, "0.5"),
        ({"Y": np.array([[1, 1], [0, 1], [1, 0]])}, "not one-hot"),
        ({"Y": np.eye(3)}, "one-hot over 3 classes.*--class_names"),
        ({"Y": np.zeros((3, 1, 1))}, "expected N numbers"),
        ({"Y": np.array(["a", 1, None], dtype=object)}, "never unpickled"),
    ],
)
def test_bad_npz(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        read_layout(save_npz(tmp_path, **changes), "npz")


def test_npz_files_that_are_missing_or_damaged(tmp_path):
    save_npz(tmp_path)
    whole = (tmp_path / "train_data.npz").read_bytes()
    (tmp_path / "train_data.npz").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"not a whole \.npz"):
        read_layout(tmp_path, "npz")
    np.savez(tmp_path / "train_data.npz", images=np.zeros(3))
    with pytest.raises(ValueError, match="no array X in it; it holds images"):
        read_layout(tmp_path, "npz")
    (tmp_path / "train_data.npz").unlink()
    assert detect_layout(tmp_path) == "npz"
    with pytest.raises(ValueError, match=r"there is no train_data\.npz"):
        read_layout(tmp_path, "npz")


def test_npz_array_that_is_shorter_than_its_header(tmp_path):
    data = io.BytesIO()
    np.save(data, noise(1, (3, 12, 10)))
    with zipfile.ZipFile(tmp_path / "train_data.npz", "w") as archive:
        archive.writestr("X.npy", data.getvalue()[:-50])
    with pytest.raises(ValueError, match="cut off at image 2 of 3"):
        list(npz_images(tmp_path / "train_data.npz"))


def test_nothing_fits(tmp_path):
    (tmp_path / "stuff").mkdir()
    (tmp_path / "stuff" / "deeper").mkdir()
    (tmp_path / "paper.pdf").touch()
    with pytest.raises(ValueError, match="no layout fits") as caught:
        detect_layout(tmp_path)
    message = str(caught.value)
    assert all(layout in message for layout in LAYOUTS)
    assert "Found: 1 folders and 1 files: stuff/, paper.pdf" in message
    assert "\n" not in message


def test_sources_that_are_no_folders(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        detect_layout(tmp_path / "absent")
    (tmp_path / "a.npz").touch()
    with pytest.raises(ValueError, match="is a file: expected a folder"):
        detect_layout(tmp_path / "a.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="an empty folder"):
        detect_layout(tmp_path / "empty")


@pytest.mark.parametrize("layout", ["kaggle-4class", "kaggle-multimodal", "imagefolder"])
def test_layout_that_was_asked_for_but_does_not_fit(tmp_path, layout):
    save(noise(1), tmp_path / "a.png")
    with pytest.raises(ValueError, match=f"does not have the layout {layout}"):
        read_layout(tmp_path, layout)
    with pytest.raises(ValueError, match="unknown layout"):
        read_layout(tmp_path, "dicomdir")


@pytest.fixture
def table(tmp_path):
    return read_layout(class_folders(tmp_path / "source", {"a": 3, "b": 3}), "imagefolder")


def test_given_groups(tmp_path, table):
    file = write_csv(tmp_path / "groups.csv", "file_name,group_id,age", "a/a_01.png, p1 ,50", "b/b_02.png,p1,50")
    groups = as_dict(add_groups(table, file), "group")
    assert {path for path, group in groups.items() if group == "p1"} == {"a/a_01.png", "b/b_02.png"}
    assert list(groups.values()).count("") == 4


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["a_01.png,p1"], r"not in the source: a_01.png \(did you mean a/a_01.png\?\)"),
        (["a\\a_01.png,p1"], r"did you mean a/a_01.png"),
        (["a/a_1.png,p1"], "did you mean a/a_"),
        (["zzz,p1"], "not in the source: zzz$"),
        (["a/a_01.png,p1", "a/a_01.png,p1"], "more than once: a/a_01.png"),
        (["a/a_01.png,"], "without a group_id"),
        ([f"x{number}.png,p1" for number in range(9)], "9 file names .*, \\.\\.\\.$"),
    ],
)
def test_bad_groups(tmp_path, table, rows, words):
    with pytest.raises(ValueError, match=words):
        add_groups(table, write_csv(tmp_path / "groups.csv", "file_name,group_id", *rows))


def test_groups_given_twice(tmp_path, table):
    file = write_csv(tmp_path / "groups.csv", "file_name,group_id", "a/a_01.png,p1")
    with pytest.raises(ValueError, match="gives group ids itself"):
        add_groups(table.assign(group="p7"), file)


def test_given_sites(tmp_path, table):
    file = write_csv(tmp_path / "sites.csv", "file_name,site", "a/a_01.png,Oslo", "b/b_02.png,Lima")
    sites = as_dict(add_sites(table, file), "site")
    assert (sites["a/a_01.png"], sites["b/b_02.png"], sites["a/a_02.png"]) == ("Oslo", "Lima", "")
    with pytest.raises(ValueError, match="gives sites itself"):
        add_sites(add_sites(table, file), file)
    with pytest.raises(ValueError, match="without a site"):
        add_sites(table, write_csv(tmp_path / "empty.csv", "file_name,site", "a/a_01.png, "))
