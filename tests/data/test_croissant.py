"""`croissant.json` is valid Croissant 1.1, by MLCommons' own library, and reads the very images and rows."""

import json
import logging
import shutil
from pathlib import Path

import mlcroissant
import numpy as np
import pytest
from PIL import Image

from brainmri.data.croissant import responsible_ai, write_published_croissant
from brainmri.data.dataset import open_prepared
from brainmri.data.phantom.generate import make_phantom
from brainmri.data.prepare import prepare
from brainmri.hub.dataset_repository import dataset_repository

from ..conftest import dataset_info

# Without a publisher no licence and no date are known, and the same data shall give the same bytes.
UNKNOWN = {"citeAs", "datePublished", "license"}
# What the specification of the RAI fields asks of every data set at the least.
ASKED = {"dataCollection", "dataBiases", "dataLimitations", "personalSensitiveInformation", "dataUseCases"}


def opened(folder: Path, allowed: set[str]) -> mlcroissant.Dataset:
    """The data set, if it is valid but for recommended properties that are `allowed` to be absent."""
    data = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    issues = data.metadata.ctx.issues
    assert not issues.errors
    absent = {warning for warning in issues.warnings if not any(name in str(warning) for name in allowed)}
    assert not absent
    return data


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("croissant")
    raw = make_phantom(folder / "raw", subjects=12, size=32, slices_per_subject=4, progress=False)
    return prepare(raw, folder / "ready", groups=raw / "groups.csv", name="tiny: [1] #x")


def test_a_prepared_folder_describes_its_table_and_images(prepared: Path) -> None:
    data = opened(prepared, UNKNOWN)
    assert data.metadata.conforms_to is not None and data.metadata.ctx.is_v1_1()
    index = open_prepared(prepared).index
    rows = [
        {
            name.removeprefix("slices/"): value.decode() if isinstance(value, bytes) else value
            for name, value in row.items()
        }
        for row in data.records("slices")
    ]
    assert [row["file_name"] for row in rows] == index["file_name"].tolist()
    assert [row["group_id"] for row in rows] == index["group_id"].tolist()
    text = (prepared / "croissant.json").read_text()
    assert "source" not in {name for row in rows for name in row}  # it names the user's files
    content = json.loads(text)
    patterns = [one["includes"] for one in content["distribution"] if one["@type"] == "cr:FileSet"]
    assert sum(len(list(prepared.glob(pattern))) for pattern in patterns) == len(index)


def test_the_fields_on_responsible_ai_say_what_the_record_says(prepared: Path) -> None:
    content = json.loads((prepared / "croissant.json").read_text())
    assert {f"rai:{name}" for name in ASKED} <= content.keys()
    assert content["rai:personalSensitiveInformation"].startswith("None")  # a phantom
    metadata = opened(prepared, UNKNOWN).metadata
    assert metadata.data_collection == content["rai:dataCollection"]
    assert metadata.data_biases == content["rai:dataBiases"]

    real = responsible_ai(
        dataset_info(rejected=17, contradictory_images=[["a", "b"]], leaky=True, groups_across_splits=3)
    )
    assert "17 files" in real["rai:dataCollectionMissingData"]
    assert real["rai:dataLimitations"][0].startswith("Leaky: 3 of 1 groups")
    assert real["rai:dataLimitations"][1].startswith("1 images occur under more than one label")
    assert "health" in real["rai:personalSensitiveInformation"]
    assert "does not say how the images were collected" in real["rai:dataCollection"]
    known = responsible_ai(dataset_info(origin="figshare-cheng"))
    assert "Cheng J" in known["rai:dataCollection"]


def test_the_same_data_give_the_same_bytes(prepared: Path, tmp_path: Path) -> None:
    raw = prepared.parent / "raw"
    again = prepare(raw, tmp_path / "again", groups=raw / "groups.csv", name="tiny: [1] #x")
    assert (again / "croissant.json").read_bytes() == (prepared / "croissant.json").read_bytes()


@pytest.mark.integration
def test_a_published_set_reads_the_images_from_its_shards(prepared: Path, tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.CRITICAL):
        tree = dataset_repository(prepared, "anna/tiny", tmp_path / "tree", {}, shard_bytes=20_000).folder
        data = opened(tree, {"datePublished"})
        rows = list(data.records("slices"))
    index = open_prepared(prepared).index.set_index("file_name")
    assert sorted(row["slices/file_name"].decode() for row in rows) == sorted(index.index)
    names = {row["labels/number"]: row["labels/name"] for row in data.records("labels")}
    for row in rows:
        file = row["slices/file_name"].decode()
        assert names[row["slices/label"]] == index.loc[file, "label"]
        assert row["slices/split"].decode() == index.loc[file, "split"]
        with Image.open(prepared / file) as ours:
            assert np.array_equal(np.asarray(ours), np.asarray(row["slices/image"]))
    content = json.loads((tree / "croissant.json").read_text())
    assert content["url"] == "https://huggingface.co/datasets/anna/tiny"
    assert content["license"].startswith("https://nist.mni.mcgill.ca/")


def test_another_licence_and_citation_are_those_of_whoever_publishes(prepared: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "data").mkdir(parents=True)
    shutil.copy(next(prepared.glob("test/*/*.png")), tree / "data" / "test-00000-of-00001.parquet")
    info = open_prepared(prepared).info
    write_published_croissant(tree, info, "lab/set", "cc-by-4.0", ("Somebody (2020)",), {"image": "x", "label": "y"})
    metadata = opened(tree, {"datePublished"}).metadata
    assert metadata.license == ["cc-by-4.0"]
    assert metadata.cite_as == "Somebody (2020)"
