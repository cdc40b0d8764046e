"""`brainmri.load_model` and what it gives: predictions as the run's own, for whatever it is asked about."""

import math
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom import dcmread

import brainmri
from brainmri.metrics.probabilities import apply_temperature

from .conftest import Trained
from .series import volume, write_series


@pytest.fixture(scope="module")
def model(trained: Trained) -> brainmri.LoadedModel:
    return brainmri.load_model(trained.run)


def test_a_run_is_loaded_with_all_that_its_training_left(model: brainmri.LoadedModel) -> None:
    assert model.classes == ["glioma", "meningioma", "notumor", "pituitary"]
    assert model.temperature and model.conformal_thresholds
    assert model.ood_detector is not None
    assert model.processor.size == {"height": 32, "width": 32}


def test_a_site_that_training_lacked_is_told(trained: Trained, caplog: pytest.LogCaptureFixture) -> None:
    loaded = brainmri.load_model(trained.run, site="hospital B")
    assert loaded.site == "hospital B"
    assert "was not trained on the site hospital B (" in caplog.text
    caplog.clear()
    assert loaded.uncertainty and loaded.uncertainty.kinds
    for known in ["", *loaded.uncertainty.kinds.sites]:
        brainmri.load_model(trained.run, site=known)
    assert not caplog.text


def test_predictions_are_those_of_the_run_calibrated(model: brainmri.LoadedModel, trained: Trained) -> None:
    table = pd.read_csv(trained.run / "predictions.csv")
    table = table[table["split"] == "test"]
    files = [trained.data / name for name in table["file_name"]]
    found = list(model.predict_many(files, batch_size=7))
    assert [one.path for one in found] == [str(file) for file in files]
    assert [one.label for one in found] == table["predicted"].tolist()
    own = table[[f"p_{name}" for name in model.classes]].to_numpy()
    calibrated = np.array([list(one.probabilities.values()) for one in found])
    assert model.temperature is not None
    assert calibrated == pytest.approx(apply_temperature(own, model.temperature), abs=1e-6)
    assert all(one.calibrated and one.ood_score is not None and one.out_of_distribution is not None for one in found)


def test_a_file_an_image_and_an_array_are_one(model: brainmri.LoadedModel, trained: Trained) -> None:
    file = sorted((trained.data / "test").rglob("*.png"))[0]
    image = Image.open(file)
    by_file = model.predict(file)
    assert (by_file.path, by_file.plane, by_file.slice) == (str(file), "slice", 0)
    for other in (image, image.convert("RGB"), np.asarray(image), np.asarray(image.convert("RGB"))):
        found = model.predict(other)
        assert found.probabilities == pytest.approx(by_file.probabilities, abs=1e-6)
        assert found.ood_score == pytest.approx(by_file.ood_score, abs=1e-6)
        assert found.path is None
    assert model.predict(np.tile(np.arange(0, 250, 5, dtype=np.uint8), (40, 1))).out_of_distribution


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((8, 8)), "every value of the array is the same"),
        (np.zeros((8, 8, 3)), r"an array float64 of shape \(8, 8, 3\): one slice of numbers \(H, W\), or uint8"),
        (np.zeros((3, 8, 8), np.uint8), r"of shape \(3, 8, 8\)"),
        (np.zeros((0, 8), np.uint8), "holds no pixels"),
    ],
)
def test_other_arrays_are_refused(model: brainmri.LoadedModel, array: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        model.predict(array)


def test_an_array_of_more_than_8_bits_is_seen_as_its_file_would_be(model: brainmri.LoadedModel, tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 4000, (40, 40)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    expected = model.predict(tmp_path / "deep.png").probabilities
    for values in (deep, deep[:, :, None], deep.astype(np.float32) * 7):
        assert model.predict(values).probabilities == pytest.approx(expected, abs=1e-6)


def test_many_images_are_for_predict_many(model: brainmri.LoadedModel, trained: Trained) -> None:
    file = str(sorted((trained.data / "test").rglob("*.png"))[0])
    assert [one.path for one in model.predict_many(file)] == [file]
    with pytest.raises(TypeError, match="not list; predict_many takes many"):
        model.predict([file])  # type: ignore[arg-type]


def test_a_folder_of_runs_names_them(trained: Trained) -> None:
    with pytest.raises(ValueError, match=r"no config.json, .*; did you mean .*run\?"):
        brainmri.load_model(trained.run.parent)


def test_folders_and_zip_files_are_gone_through(model: brainmri.LoadedModel, trained: Trained, tmp_path: Path) -> None:
    files = sorted((trained.data / "test" / "glioma").glob("*.png"))[:3]
    for file in files:
        shutil.copy(file, tmp_path / file.name)
    write_series(tmp_path / "series", volume())
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(files[0], "inner/a.png")
        for file in sorted((tmp_path / "series").iterdir()):
            archive.write(file, f"dicom/{file.name}")
    found = list(model.predict_many([tmp_path / "more.zip", tmp_path / "series", files[2]], batch_size=4))
    assert len(found) == 1 + 6 + 6 + 1
    assert {one.scan for one in found} == {"", f"{tmp_path / 'more.zip'}/dicom", str(tmp_path / "series")}
    in_zip, in_folder = (
        [one.probabilities for one in found if one.scan == name]
        for name in (f"{tmp_path / 'more.zip'}/dicom", str(tmp_path / "series"))
    )
    assert in_zip == in_folder
    assert sorted(map(len, {one.patient for one in found})) == [0, 16]  # of both copies, a hash of their PatientID
    assert [one.slice for one in found if one.scan == str(tmp_path / "series")] == list(range(6))
    assert {one.plane for one in found} == {"slice", "sagittal"}
    assert found[-1].path == str(files[2])


def test_a_file_that_is_no_mri_is_refused_by_itself_too(model: brainmri.LoadedModel, tmp_path: Path) -> None:
    (file,) = write_series(tmp_path / "in", volume(2)[1:], Modality="CT")
    for ask in (model.predict, model.predict_scan, lambda one: list(model.predict_many(one))):
        with pytest.raises(ValueError, match=r"IM0: It is a CT image, not an MRI, by what the file says of itself"):
            ask(file)


def test_gaps_in_a_series_are_said_with_its_answer(
    model: brainmri.LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for file in write_series(tmp_path / "in", volume(8)):
        if -16 <= dcmread(file).ImagePositionPatient[0] <= -8:
            file.unlink()
        elif dcmread(file).ImagePositionPatient[0] == -20:
            file.write_bytes(file.read_bytes()[:-900])
    study = model.predict_scan(tmp_path / "in")
    assert study.notes[0].startswith("Slices are missing (3 of 8)")
    assert "the answer is that of 4 slices; 1 other cannot be used, the first" in caplog.text
    assert "Slices are missing (3 of 8)" in caplog.text


def test_a_bad_file_is_named_where_it_stands(model: brainmri.LoadedModel, trained: Trained, tmp_path: Path) -> None:
    good = sorted((trained.data / "test").rglob("*.png"))[:2]
    bad = tmp_path / "bad.png"
    bad.write_bytes(good[0].read_bytes()[:60])
    seen = []
    with pytest.raises(ValueError, match=r"bad.png: This PNG file is broken"):
        for one in model.predict_many([good[0], bad, good[1]]):
            seen.append(one.path)
    assert seen == [str(good[0])]
    assert [one.path for one in model.predict_many([good[0], bad, good[1]], errors="skip")] == list(map(str, good))
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        list(model.predict_many([good[0], tmp_path / "absent.png"]))
    with pytest.raises(ValueError, match="batch_size 0"):
        model.predict_many(good, batch_size=0)
    with pytest.raises(ValueError, match=r"bad.png: This PNG file is broken"):
        model.predict(bad)


def test_a_scan_is_pooled(model: brainmri.LoadedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_series(tmp_path / "series", volume())
    with pytest.raises(ValueError, match=r"series holds 6 slices: predict_scan classifies all of them"):
        model.predict(tmp_path / "series")
    found = model.predict_scan(tmp_path / "series")
    assert found.tumour_probability == pytest.approx(1 - found.probabilities["notumor"])
    assert found.label == max(found.probabilities, key=lambda name: found.probabilities[name])
    table = found.slices
    assert len(table) == 6
    assert sorted(table["slice"]) == list(range(6))
    counted = table[~table["out_of_distribution"]] if not found.out_of_distribution else table
    assert counted["tumour_probability"].is_monotonic_decreasing
    # Too few patients of the tiny set have several slices and no tumour, so that the default pools: the first half.
    assert found.pooling == model.pooling.rule.name == "top_50_percent"
    first = counted.head(math.ceil(len(counted) / 2))
    assert found.tumour_probability == pytest.approx(first["tumour_probability"].mean())
    assert table["share"].sum() == pytest.approx(1)
    assert first["share"].tolist() == pytest.approx([1 / len(first)] * len(first))
    assert found.tumour == (found.tumour_probability > found.threshold)
    assert found.threshold == model.pooling.threshold
    assert found.interval is not None
    assert counted["tumour_probability"].min() <= found.interval[0] <= found.interval[1]
    assert set(table["path"]) == {str(file) for file in (tmp_path / "series").iterdir()}
    again = model.predict_scan(brainmri.read_scan(tmp_path / "series"))
    assert again.probabilities == found.probabilities
    file = sorted((tmp_path / "series").iterdir())[2]
    file.write_bytes(file.read_bytes()[:-100])
    rest = model.predict_scan(tmp_path / "series")
    assert len(rest.slices) == 5
    (broken,) = rest.rejected
    assert broken.startswith(f"{file}: This DICOM file is broken")
    assert f"the answer is that of 5 slices; 1 other cannot be used, the first: {file}" in caplog.text
    for one in (tmp_path / "series").iterdir():
        one.write_bytes(one.read_bytes()[:-100])
    with pytest.raises(ValueError, match="This DICOM file is broken"):
        model.predict_scan(tmp_path / "series")


def test_slices_out_of_distribution_do_not_count(model: brainmri.LoadedModel, trained: Trained, tmp_path: Path) -> None:
    inside = [
        file
        for file, one in (
            (file, model.predict(file)) for file in sorted((trained.data / "train" / "glioma").glob("*.png"))[:6]
        )
        if not one.out_of_distribution
    ]
    for file in inside:
        shutil.copy(file, tmp_path)
    alone = model.predict_scan(tmp_path)
    ramp = Image.fromarray(np.tile(np.arange(0, 250, 5, dtype=np.uint8), (40, 1)))
    ramp.save(tmp_path / "z.png")
    found = model.predict_scan(tmp_path)
    assert found.probabilities == alone.probabilities
    assert found.slices["out_of_distribution"].tolist() == [False] * len(inside) + [True]
    assert found.out_of_distribution is False
    only = model.predict_scan(tmp_path / "z.png")
    assert only.out_of_distribution is True
