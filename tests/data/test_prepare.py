import json
import os
import runpy
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from brainmri.data.dataset import open_prepared
from brainmri.data.folder import name_files
from brainmri.data.prepare import prepare

from .sources import REPOSITORY, class_folders, command_line, contents, names, noise, save, workshop_of

REAL_DATA = Path(os.environ.get("BRAINMRI_REAL_DATA", REPOSITORY.parent / "shared/data/brain-tumor-mri-224"))
KAGGLE = {
    f"{part}/{name}": count for part, count in (("Training", 16), ("Testing", 6)) for name in ("glioma", "notumor")
}


@pytest.fixture
def script(monkeypatch, capsys):
    """script(*arguments) -> (exit code, stdout, stderr): the script in this process, to save the time of imports."""

    def call(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", command_line(*arguments)[1:])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(sys.argv[0], run_name="__main__")
        return end.value.code, *capsys.readouterr()

    return call


@pytest.mark.integration
def test_command_line(tmp_path, out):
    source = class_folders(tmp_path / "My slices", KAGGLE)
    save(noise(500).astype(np.uint16), source / "Training/glioma/deep.png")
    (source / "Training/glioma/empty.jpg").touch()
    (source / "Testing/notumor/text.jpg").write_text("not an image")
    (source / "Training/.DS_Store").touch()
    before = contents(source)
    done = subprocess.run(command_line(source, out), capture_output=True, text=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    assert contents(source) == before

    data = open_prepared(out)
    index = data.index
    assert list(index.columns) == ["file_name", "label", "split", "group_id", "duplicate_id", "site", "source"]
    assert list(index["file_name"]) == sorted(index["file_name"])
    assert sorted(index["source"]) == sorted(
        set(before) - {"Training/glioma/empty.jpg", "Testing/notumor/text.jpg", "Training/.DS_Store"}
    )
    places = sorted(index["source"])
    for row in index.itertuples():
        assert row.file_name == f"{row.split}/{row.label}/{places.index(row.source) + 1:05d}.png"
        if row.source != "Training/glioma/deep.png":
            assert same_pixels(out / row.file_name, source / row.source)
        assert row.group_id[0] == "g" and len(row.group_id) == 6
        assert row.duplicate_id[0] == "p" and len(row.duplicate_id) == 6
    rejected = pd.read_csv(out / "rejected.csv")
    assert list(rejected["path"]) == ["Testing/notumor/text.jpg", "Training/glioma/empty.jpg"]
    assert ["not an image" in rejected["reason"][0], "empty" in rejected["reason"][1]] == [True, True]

    info = data.info.as_json()
    assert set(info) == {
        *("schema_version", "name", "fingerprint", "layout", "simulated", "origin", "classes", "split", "split_seed"),
        *("test_fold", "holdout", "val", "test", "counts"),
        *("groups", "largest_group", "distinct_images", "contradictory_images", "groups_across_splits", "leaky"),
        *("rejected", "outlined", "known_as", "settings"),
    }
    assert next(iter(info)) == "schema_version"
    assert (info["schema_version"], info["name"], info["layout"]) == (2, "My slices", "kaggle-4class")
    assert (info["classes"], info["split"], info["split_seed"]) == (["glioma", "notumor"], "grouped", 42)
    assert (info["val"], info["test"], info["rejected"], info["leaky"]) == (0.1, 0.2, 2, False)
    assert len(info["fingerprint"]) == 16
    for split, row in info["counts"].items():
        found = Counter(index.loc[index["split"] == split, "label"])
        assert row == {label: found[label] for label in info["classes"]}
    for words in (
        "kaggle-4class, 47 files",
        "No group stands in more than one split",
        "2 files rejected",
        "empty.jpg",
        " s.",
    ):
        assert words in done.stdout
    assert names(out) == [
        "README.md",
        "croissant.json",
        "dataset.json",
        "index.csv",
        "rejected.csv",
        "test",
        "train",
        "validation",
    ]
    assert names(tmp_path) == ["My slices", "out"]


def test_data_card(tmp_path, source, out):
    (source / "glioma" / "bad.png").write_text("x")
    card = (prepare(source, out, name="Slices: a 'set'") / "README.md").read_text(encoding="utf-8")
    _, front, body = card.split("---\n", 2)
    front = yaml.safe_load(front)
    assert (front["license"], front["pretty_name"]) == ("unknown", "Slices: a 'set'")
    assert [part["split"] for part in front["configs"][0]["data_files"]] == ["train", "validation", "test"]
    counts = json.loads((out / "dataset.json").read_text())["counts"]
    numbers = [counts[split]["glioma"] for split in ("train", "validation", "test")]
    assert "| glioma | " + " | ".join(map(str, [*numbers, 20])) + " |" in body
    assert "| all | " in body
    assert "No group stands in more than one split" in body
    assert "1 files of the source were rejected" in body
    for file in ("README.md", "dataset.json", "index.csv", "rejected.csv"):
        assert str(tmp_path) not in (out / file).read_text(encoding="utf-8")


def test_plain_load_dataset(source, out, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_UPDATE_DOWNLOAD_COUNTS", False)  # no call to the Hub
    for number, name in enumerate(("test_1", "val-2", "a [1]", "Te-test_3", "50 %#é")):
        save(noise(900 + number), source / "glioma" / f"{name}.png")
    data = open_prepared(prepare(source, out))
    for read in (("imagefolder", {"data_dir": str(out)}), (str(out), {})):
        loaded = datasets.load_dataset(read[0], cache_dir=str(tmp_path / "cache"), **read[1])
        assert set(loaded) == {"train", "validation", "test"}
        for split, part in loaded.items():
            assert set(part.features) == {"image", "label"}
            assert part.features["label"].names == data.classes
            labels = [part.features["label"].names[number] for number in part["label"]]
            assert Counter(labels) == {key: value for key, value in data.info.counts[split].items() if value}
            assert part[0]["image"].size == (16, 16)


def test_twice_gives_the_same_bytes(source, tmp_path):
    save(noise(500).astype(np.uint16), source / "glioma/deep.png")
    (source / "glioma" / "bad.png").write_text("x")
    first = contents(prepare(source, tmp_path / "first"))
    # the same files, made in another order elsewhere
    copy = tmp_path / "elsewhere" / "source"
    for file in sorted(source.rglob("*.png"), reverse=True):
        target = copy / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    assert contents(prepare(copy, tmp_path / "second")) == first
    assert len(first) == 36 + 5


def test_fingerprint_tells_sets_apart(source, tmp_path):
    def fingerprint(folder, **options):
        return json.loads((prepare(source, tmp_path / folder, **options) / "dataset.json").read_text())["fingerprint"]

    first = fingerprint("a")
    assert fingerprint("b", name="another name") == first
    assert fingerprint("c", split_seed=7) != first
    save(noise(777), source / "glioma/glioma_00.png")
    assert fingerprint("d") != first


def test_copies_share_a_group_and_contradictions_are_reported(source, out, capsys):
    image = noise(300, (64, 64))
    save(image, source / "glioma/same.png")
    save(image[:, ::-1], source / "glioma/mirrored.png")
    save(image, source / "notumor/same.png")
    data = open_prepared(prepare(source, out))
    rows = data.index[data.index["source"].str.contains("same|mirrored")]
    assert rows["duplicate_id"].nunique() == rows["group_id"].nunique() == rows["split"].nunique() == 1
    assert data.info.contradictory_images == [["glioma/mirrored.png", "glioma/same.png", "notumor/same.png"]]
    assert (data.info.largest_group, data.info.groups, data.info.distinct_images) == (3, 36, 36)
    assert "1 images occur under more than one label" in capsys.readouterr().out


def test_given_groups(source, out, tmp_path):
    lines = ["file_name,group_id"]
    for label, count in (("glioma", 20), ("notumor", 15)):
        lines += [f"{label}/{label}_{number:02d}.png,{label}{number // 2}" for number in range(count)]
    (tmp_path / "groups.csv").write_text("\n".join(lines))
    data = open_prepared(prepare(source, out, groups=tmp_path / "groups.csv"))
    assert data.info.groups == 10 + 8
    assert data.info.settings.images_with_given_group == 35
    numbers = data.index["source"].str.extract(r"(\w+)_(\d+)\.png$")
    pairs = numbers[0] + (numbers[1].astype(int) // 2).astype(str)
    assert (data.index.groupby(pairs)["split"].nunique() == 1).all()


def test_source_split_that_leaks_says_so(tmp_path, out, capsys):
    source = class_folders(tmp_path / "source", KAGGLE)
    shutil.copyfile(source / "Training/glioma/glioma_00.png", source / "Testing/glioma/copy.png")
    data = open_prepared(prepare(source, out, split="source"))
    assert (data.info.leaky, data.info.groups_across_splits) == (True, 1)
    assert (data.info.val, data.info.test) == (0.1, None)
    assert set(data.index["source"][data.index["split"] == "test"].str.split("/").str[0]) == {"Testing"}
    assert "LEAKY: 1 of 44 groups" in capsys.readouterr().out
    assert "LEAKY" in (out / "README.md").read_text(encoding="utf-8")


def test_oversampling_repeats_files(tmp_path, out, script):
    source = tmp_path / "Dataset"
    folder = source / "Brain Tumor MRI images"
    class_folders(folder, {"Healthy": 40, "Tumor": 9})
    for number in range(12):
        save(noise(700 + number), folder / "Tumor" / f"glioma ({number}).PNG")
    save(noise(800), source / "Brain Tumor CT scan Images" / "Healthy" / "ct.png")
    options = ("--split", "oversample_then_split", "--layout=kaggle-multimodal", "--split-seed", "1")
    code, printed, errors = script(source, out, *options)
    assert (code, errors) == (0, "")
    assert "CT scan Images" in printed
    assert "LEAKY" in printed
    data = open_prepared(out)
    assert data.index["label"].value_counts().to_dict() == {"healthy": 40, "glioma": 40, "tumor": 40}
    assert data.index["split"].value_counts().to_dict() == {"train": 84, "test": 24, "validation": 12}
    assert data.index["file_name"].is_unique
    for row in data.index.itertuples():
        assert same_pixels(out / row.file_name, source / row.source)
    repeated = data.index[data.index["source"].duplicated(keep=False)]
    assert repeated["file_name"].str.contains(r"-2\.png$").any()


def test_npz(tmp_path, out):
    source = tmp_path / "arrays"
    source.mkdir()
    train, test = noise(1, (40, 16, 16, 3)), noise(2, (8, 16, 16, 3))
    labels = np.arange(40) % 2
    np.savez_compressed(source / "train_data.npz", X=train / 255, Y=labels)
    np.savez_compressed(source / "test_data.npz", X=test, Y=labels[:8])
    data = open_prepared(prepare(source, out, split="npz", val=0.2))
    assert data.classes == ["notumor", "tumor"]
    assert data.index["split"].value_counts().to_dict() == {"train": 32, "validation": 8, "test": 8}
    for row in data.index.itertuples():
        name, number = row.source.split("#")
        values = (train if name == "train_data.npz" else test)[int(number)]
        assert np.array_equal(np.asarray(Image.open(out / row.file_name)), values)
        assert row.label == data.classes[int(number) % 2]


def test_csv_with_sites_and_groups(source, tmp_path):
    rows = [
        f"source/{file.parent.name}/{file.name},{file.parent.name},p{number},Basel"
        for number, file in enumerate(sorted(source.rglob("*.png")))
    ]
    (tmp_path / "labels.csv").write_text(
        "\n".join(["file_name,label,group_id,site", *rows, "source/absent.png,glioma,,"])
    )
    data = open_prepared(prepare(tmp_path / "labels.csv", tmp_path / "out"))
    assert set(data.index["site"]) == {"Basel"}
    assert data.info.name == "labels"
    assert pd.read_csv(data.root / "rejected.csv").to_numpy().tolist() == [["source/absent.png", "no such file"]]


def named(*rows: tuple[str, str, str, str]) -> list[str]:
    return name_files(pd.DataFrame(rows, columns=["split", "label", "path", "suffix"]))


def test_names_are_numbers_in_the_order_of_the_source():
    assert named(
        ("train", "a", "x/scan of Anna.png", ".png"),
        ("test", "a", "x/SCAN.png", ".jpg"),
        ("train", "b", "z/scan10.png", ".png"),
        ("train", "b", "z/scan9.png", ".png"),
        ("train", "a", "x/scan of Anna.png", ".png"),
        ("train", "a", "x/scan of Anna.png", ".png"),
        ("test", "a", "x/scan of Anna.png", ".png"),
    ) == [
        "train/a/00002.png",
        "test/a/00001.jpg",
        "train/b/00004.png",
        "train/b/00003.png",
        "train/a/00002-2.png",
        "train/a/00002-3.png",
        "test/a/00002.png",
    ]


def same_pixels(first: Path, second: Path) -> bool:
    with Image.open(first) as one, Image.open(second) as other:
        return one.mode == other.mode and one.tobytes() == other.tobytes()


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("a", "A"), "differ in case only"),
        (("a", "b:c"), "cannot be a folder name"),
        (("a", "CON"), "cannot be a folder name"),
        (("a", "b."), "cannot be a folder name"),
        (("a", "x/y"), "cannot be a folder name"),
        (("a", ".b"), "begins with"),
        (("a", "no-test"), "name of a split"),
    ],
)
def test_labels_that_cannot_be_folders(source, tmp_path, out, labels, words):
    files = sorted(source.rglob("*.png"))
    rows = [f"source/{file.parent.name}/{file.name},{labels[number % 2]}" for number, file in enumerate(files)]
    (tmp_path / "labels.csv").write_text("\n".join(["file_name,label", *rows]))
    with pytest.raises(ValueError, match=words):
        prepare(tmp_path / "labels.csv", out)
    assert not out.exists()


def test_errors_are_one_line(tmp_path, source, out, script):
    assert script(tmp_path / "absent", out) == (2, "", f"error: {tmp_path / 'absent'} does not exist\n")
    code, _, errors = script(source, out, "--split", "source")
    assert code == 2
    assert errors.startswith("error: the split source needs")
    assert errors.count("\n") == 1
    assert not out.exists() and not workshop_of(out).exists()
    code, _, errors = script(source, out, "--spl", "source")
    assert code == 2
    assert errors.startswith("error: unknown flag --spl: did you mean --split?")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("file_name,label\nglioma_0{}.png,a\n", r"; 5 of them lie in .*images: give that with --image_root"),
        ("file_name,label\nimages/glioma_0{},a\n", r"write images/glioma_00\.png in the place of images/glioma_00"),
        ("file_name,label\nx{}.png,a\n", r"the first: x0\.png\. It holds 6 other files, the first: images/glioma_00"),
        ("image,diagnosis\n{},a\n", r"only one class, images .* \(rename image to file_name and diagnosis to label"),
    ],
)
def test_a_table_that_fits_no_image(tmp_path, out, rows, words):
    source = class_folders(tmp_path / "source", {"images": 5})
    for file in (source / "images").iterdir():
        file.rename(file.with_name(file.name.replace("images", "glioma")))
    header, _, row = rows.partition("\n")
    (source / "labels.csv").write_text(f"{header}\n" + "".join(row.format(number) for number in range(5)))
    with pytest.raises(ValueError, match=words):
        prepare(source, out)
    assert names(tmp_path) == ["source"]


def test_columns_are_known_whatever_their_case(tmp_path, out):
    source = class_folders(tmp_path / "source", {"images": 10})
    rows = [f"images/images_0{number};{'ab'[number % 2]}\n" for number in range(10)]
    (source / "labels.csv").write_text("File Name;Label\n" + "".join(row.replace(";", ".png;") for row in rows))
    assert prepare(source, out, val=0.3, test=0.3)
    assert set(pd.read_csv(out / "index.csv")["label"]) == {"a", "b"}


def test_one_class_or_no_image(tmp_path, out):
    source = class_folders(tmp_path / "source", {"glioma": 5})
    with pytest.raises(ValueError, match="only one class, glioma: at least two"):
        prepare(source, out)
    (source / "notumor").mkdir()
    (source / "notumor" / "a.png").write_text("x")
    with pytest.raises(ValueError, match=r"only one class, glioma \(no usable image of notumor\)"):
        prepare(source, out)
    for file in source.rglob("glioma_*"):
        file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"not one usable image among 6 files: glioma/glioma_00\.png: empty"):
        prepare(source, out)
    assert names(tmp_path) == ["source"]


@pytest.mark.slow
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the 7,023 real images are not here (set BRAINMRI_REAL_DATA)")
def test_real_set(out):
    data = open_prepared(prepare(REAL_DATA, out))
    assert data.info.layout == "kaggle-4class"
    assert (len(data.index), data.info.rejected, data.info.leaky) == (7023, 0, False)
    for split, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        for label, count in data.index["label"].value_counts().items():
            assert data.info.counts[split][label] == pytest.approx(share * count, rel=0.02)


@pytest.mark.slow
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the 7,023 real images are not here (set BRAINMRI_REAL_DATA)")
@pytest.mark.parametrize("split", ["patients", "grouped", "source"])
def test_the_tables_stand_on_the_split_that_is_made_today(out, split):
    table = pd.read_csv(REPOSITORY / "results/seeds.csv")
    stored = table.loc[(table["data"] == "brain-tumor-mri-224") & (table["split"] == split), "fingerprint"]
    assert set(stored) == {open_prepared(prepare(REAL_DATA, out, split=split)).info.fingerprint}


TRIANGLE = '"[[0.2,0.2],[0.6,0.2],[0.4,0.6]]"'


def test_outlines_beside_the_source_or_given_come_with_the_data(source, out, capsys):
    first, second, *_ = sorted(path.relative_to(source).as_posix() for path in source.rglob("glioma_*.png"))
    beside = source.with_name(source.name + ".outlines.csv")
    beside.write_text(f"path,x0,polygon\n{first},0.2,{TRIANGLE}\n{second},0.2,{TRIANGLE}\ngone.png,0.2,{TRIANGLE}\n")
    data = open_prepared(prepare(source, out))
    assert "2 images have outlines of their tumours." in capsys.readouterr().out
    assert data.info.outlined == 2
    assert set(data.outlines()) == {first, second} < set(data.index["source"])
    given = out.with_name("given.csv")
    given.write_text(f"path,polygon\n{second},{TRIANGLE}\n")
    assert set(open_prepared(prepare(source, out, outlines=given, overwrite=True)).outlines()) == {second}
    beside.unlink()
    assert open_prepared(prepare(source, out, overwrite=True)).outlines() == {}


def test_outlines_of_other_images_are_refused(source, out):
    given = out.with_name("given.csv")
    given.write_text(f"path,polygon\nelsewhere/a.png,{TRIANGLE}\n")
    with pytest.raises(ValueError, match=r"none of its 1 images \('elsewhere/a.png', ...\) is in the source"):
        prepare(source, out, outlines=given)
    assert not out.exists()
