"""Whether images are simulated, and where they come from, is told by a record: no name and no layout says so."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brainmri.data.dataset import as_binary, open_prepared
from brainmri.data.phantom.generate import make_phantom
from brainmri.data.prepare import prepare

from ..scripts import run_here

REAL = ("glioma", "notumor")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantom(
        tmp_path_factory.mktemp("made") / "raw", subjects=12, size=32, slices_per_subject=4, progress=False
    )


def patients(folder: Path, parts: tuple[str, ...] = ("",)) -> Path:
    """A folder of images that no generator of ours made."""
    rng = np.random.default_rng(len(folder.name))
    for part in parts:
        for label in REAL:
            (folder / part / label).mkdir(parents=True)
            for number in range(6):
                pixels = rng.integers(0, 256, (40, 40), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / label / f"{number}.png")
    return folder


def said(source: Path, out: Path, **how) -> tuple[bool, str | None]:
    prepare(source, out, **how)
    info = json.loads((out / "dataset.json").read_text())
    return info["simulated"], info["origin"]


def test_a_renamed_phantom_keeps_its_mark(phantom: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(phantom, tmp_path / "hospital")
    assert said(moved, tmp_path / "one", name="oslo", groups=moved / "groups.csv") == (True, None)
    shutil.rmtree(moved / "pituitary")  # what is left of it is simulated too
    assert said(moved, tmp_path / "two") == (True, None)
    assert "simulated (phantom set)" in (tmp_path / "two" / "README.md").read_text()


def test_a_real_folder_has_no_mark_by_its_name_a_copied_record_or_a_mix(phantom: Path, tmp_path: Path) -> None:
    real = patients(tmp_path / "phantom-hospital")
    assert said(real, tmp_path / "one", name="phantom") == (False, None)
    shutil.copy(phantom / "simulated.json", real)
    assert said(real, tmp_path / "two") == (False, None)
    mixed = shutil.copytree(phantom, tmp_path / "phantom")
    shutil.copy(real / "glioma" / "0.png", mixed / "glioma" / "s000_axial_00.png")  # in place of a simulated one
    assert said(mixed, tmp_path / "three") == (False, None)


@pytest.mark.integration
def test_what_is_prepared_again_keeps_what_was_recorded_unless_it_was_changed(phantom: Path, tmp_path: Path) -> None:
    prepare(phantom, tmp_path / "one", standardize=["levels"])
    assert said(tmp_path / "one", tmp_path / "two") == (True, None)
    image = next((tmp_path / "one" / "train").rglob("*.png"))
    shutil.copy(patients(tmp_path / "real") / "glioma" / "0.png", image)
    assert said(tmp_path / "one", tmp_path / "three") == (False, None)
    assert said(tmp_path / "real", tmp_path / "four", origin="figshare-cheng") == (False, "figshare-cheng")
    assert said(tmp_path / "four", tmp_path / "five") == (False, "figshare-cheng")


def test_images_that_were_swapped_later_are_not_simulated(
    phantom: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = prepare(phantom, tmp_path / "out", groups=phantom / "groups.csv")
    data = open_prepared(out)
    assert data.info.simulated is True
    assert as_binary(data, None).info.simulated is True
    shutil.copy(patients(tmp_path / "real") / "glioma" / "0.png", next((out / "train").rglob("*.png")))
    assert open_prepared(out).info.simulated is False
    assert "not those that were simulated" in caplog.text


def test_a_folder_that_was_prepared_without_these_keys_claims_nothing(phantom: Path, tmp_path: Path) -> None:
    out = prepare(phantom, tmp_path / "out")
    info = json.loads((out / "dataset.json").read_text())
    del info["simulated"], info["origin"]
    (out / "dataset.json").write_text(json.dumps(info))
    found = open_prepared(out).info
    assert (found.simulated, found.origin) == (False, None)


def test_a_broken_record_is_told(tmp_path: Path) -> None:
    real = patients(tmp_path / "real")
    for text in ("{", "[]", '{"images": 3}'):
        (real / "simulated.json").write_text(text)
        with pytest.raises(ValueError, match="is no record of simulated images"):
            prepare(real, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_origin_is_what_was_said_and_never_the_layout(phantom: Path, tmp_path: Path) -> None:
    real = patients(tmp_path / "brain-tumor-mri-dataset", parts=("Training", "Testing"))
    assert said(real, tmp_path / "one", split="source") == (False, None)
    card = (tmp_path / "one" / "README.md").read_text()
    assert "origin was not recorded (`prepare_data.py --origin NAME` does)" in card
    done = run_here("prepare_data.py", real, tmp_path / "two", "--origin", "figshare-cheng")
    assert done.returncode == 0, done.stderr
    assert open_prepared(tmp_path / "two").info.origin == "figshare-cheng"
    assert "stated as cc-by-4.0" in (tmp_path / "two" / "README.md").read_text()
    with pytest.raises(ValueError, match="unknown origin 'kagle': expected one of figshare-cheng, kaggle-nickparvar"):
        prepare(real, tmp_path / "three", origin="kagle")
    with pytest.raises(ValueError, match="--origin kaggle-nickparvar: these images are simulated, by the record in"):
        prepare(phantom, tmp_path / "three", origin="kaggle-nickparvar")
    assert not (tmp_path / "three").exists()
