"""`prepare` of ZIP files: of scans, which are read where they are, and of images."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brainmri import prepare
from brainmri.data.layouts import detect_layout
from brainmri.data.scan_sources import SourceFiles
from brainmri.io.archive import KEPT_OPEN

from .scans import dicom_source, head, nifti_source


def packed(folder: Path, file: Path) -> Path:
    """The folder as a ZIP file, which takes its place."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in sorted(folder.rglob("*")):
            archive.write(one, one.relative_to(folder).as_posix())
    shutil.rmtree(folder)
    return file


def test_a_zip_file_of_series_gives_what_its_folder_gives(tmp_path: Path) -> None:
    source = dicom_source(tmp_path / "scans", patients=3, slices=2)
    (key := tmp_path / "key").write_text("0123456789abcdef")
    plain = prepare(source, tmp_path / "plain", id_key=key)
    archive = packed(source, tmp_path / "scans.zip")
    found = prepare(archive, tmp_path / "zipped", id_key=key)
    assert (found.info.layout, found.info.name, found.info.rejected) == ("dicom", "scans", 0)
    assert found.index.equals(plain.index)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["key", "plain", "scans.zip", "zipped"]


def test_each_patient_may_be_a_zip_file(tmp_path: Path) -> None:
    source = dicom_source(tmp_path / "in", patients=3, slices=2)
    for folder in sorted(source.glob("*/*")):
        packed(folder, folder.with_suffix(".zip"))
    (source / "glioma" / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    data = prepare(source, tmp_path / "out", linkage=tmp_path / "link.csv")
    assert (data.info.layout, data.info.groups, len(data.index)) == ("dicom", 6, 12)
    (reason,) = pd.read_csv(tmp_path / "out" / "rejected.csv")["reason"]
    assert reason == "The ZIP file is broken. Pack it again."
    assert "glioma/person0.zip/t1/IM000" in set(pd.read_csv(tmp_path / "link.csv")["path"])


def test_masks_in_a_zip_file_are_found_beside_their_volumes(tmp_path: Path) -> None:
    archive = packed(nifti_source(tmp_path / "volumes", patients=3), tmp_path / "volumes.zip")
    data = prepare(archive, tmp_path / "out", masks="*_Mask*", slices="largest-lesion")
    assert (data.info.layout, len(data.index), data.info.outlined) == ("nifti", 6, 3)


def test_a_zip_file_of_images_is_unpacked_for_as_long_as_it_takes(tmp_path: Path) -> None:
    for number in range(12):
        file = tmp_path / "slices" / ("glioma", "notumor")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((head(number, 1)[0] // 4).astype(np.uint8)).save(file)
    archive = packed(tmp_path / "slices", tmp_path / "slices.zip")
    with zipfile.ZipFile(archive, "a") as more:
        more.writestr("glioma/broken.png", b"")
    data = prepare(archive, tmp_path / "out")
    assert (data.info.layout, data.info.name, len(data.index), data.info.rejected) == ("imagefolder", "slices", 12, 1)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out", "slices.zip"]
    archive.write_bytes(archive.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"slices\.zip: The ZIP file is broken"):
        prepare(archive, tmp_path / "other")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out", "slices.zip"]


def test_few_zip_files_are_open_at_a_time(tmp_path: Path) -> None:
    for number in range(KEPT_OPEN + 3):
        (tmp_path / "in" / str(number)).mkdir(parents=True)
        (tmp_path / "in" / str(number) / "a.txt").write_text(str(number))
        packed(tmp_path / "in" / str(number), tmp_path / "in" / f"{number}.zip")
    with SourceFiles(tmp_path / "in") as below:
        assert len(below._archives._open) == KEPT_OPEN
        assert [file.read() for file in below.files] == [str(number).encode() for number in range(KEPT_OPEN + 3)]
        assert len(below._archives._open) == KEPT_OPEN
    assert not below._archives._open


def test_a_zip_file_of_both_kinds_asks_which(tmp_path: Path) -> None:
    dicom_source(tmp_path / "in", patients=1, slices=1)
    nifti_source(tmp_path / "in", patients=1)
    archive = packed(tmp_path / "in", tmp_path / "in.zip")
    with pytest.raises(ValueError, match="holds both DICOM and NIfTI files"):
        detect_layout(archive)
