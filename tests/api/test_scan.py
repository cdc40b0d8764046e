"""`brainmri.read_scan`: an image, a volume, or the files of a series."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

import brainmri

from .series import volume, write_series


@pytest.mark.parametrize("where", [True, False])
def test_a_series_is_one_scan_in_the_order_of_its_slices(tmp_path: Path, where: bool) -> None:
    values = volume()
    write_series(tmp_path, values, where=where)
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    scan = brainmri.read_scan(tmp_path)
    assert (scan.planes, len(scan)) == ((("sagittal",) if where else ("slice",)), len(values))
    assert scan.spacing == (1.0, 1.0, 4.0 if where else None)
    means = [scan.slice(index=k).mean() for k in range(len(scan))]
    assert means[0] == 0  # blank, as the ends of a series are
    assert means == sorted(means)
    assert scan.slice(index=3).dtype == np.uint8


def test_pixels_are_square_and_nothing_of_the_patient_is_kept(tmp_path: Path) -> None:
    (file, *_) = write_series(tmp_path, volume(), spacing=(2.0, 1.0))  # rows are 2 mm apart, columns 1 mm
    for scan in (brainmri.read_scan(file), brainmri.read_scan(tmp_path)):
        assert scan.slice(index=0).shape == (80, 40)
        assert scan.spacing is not None
        assert scan.spacing[:2] == (1.0, 2.0)
        assert "Doe" not in repr(vars(scan)) + repr(scan)


def test_the_acquired_plane_of_a_volume_comes_first(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(100, 20, (12, 40, 50))
    for sizes, first in (((5.0, 1.0, 1.0), "sagittal"), ((1.0, 1.0, 1.0), "sagittal"), ((1.0, 3.0, 1.0), "coronal")):
        nibabel.save(nibabel.Nifti1Image(values, np.diag([*sizes, 1.0])), tmp_path / "head.nii")
        scan = brainmri.read_scan(tmp_path / "head.nii")
        assert scan.planes[0] == first
        assert set(scan.planes) == {"axial", "coronal", "sagittal"}
        assert scan.count("axial") == 50
    cube = np.random.default_rng(0).normal(100, 20, (40, 40, 50))
    nibabel.save(nibabel.Nifti1Image(cube, np.eye(4)), tmp_path / "head.nii")
    assert brainmri.read_scan(tmp_path / "head.nii").planes[0] == "axial"


def test_images_of_a_folder_are_slices_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        Image.fromarray(volume()[2].astype(np.uint8) // 255 * number + np.eye(40, dtype=np.uint8)).save(
            tmp_path / f"slice{number}.png"
        )
    scan = brainmri.read_scan(tmp_path)
    assert (scan.kind, len(scan)) == ("images", 3)
    means = [scan.slice(index=k).mean() for k in range(3)]
    assert means == sorted(means)


def test_images_of_16_bits_in_one_folder_have_one_range(tmp_path: Path) -> None:
    values = np.linspace(0, 4000, 40 * 40).reshape(40, 40)
    for number, share in enumerate((1.0, 0.25)):
        Image.fromarray((values * share).astype(np.uint16)).save(tmp_path / f"{number}.png")
    scan = brainmri.read_scan(tmp_path)
    bright, dark = (scan.slice(index=k).max() for k in range(2))
    assert bright == 255
    assert 55 < dark < 75


def test_what_cannot_be_one_scan_is_told(tmp_path: Path) -> None:
    for label in ("glioma", "healthy"):
        (tmp_path / "set" / label).mkdir(parents=True)
        Image.fromarray(np.eye(40, dtype=np.uint8) * 255).save(tmp_path / "set" / label / "a.png")
    with pytest.raises(ValueError, match="set: it holds images in 2 folders; give the folder of one scan"):
        brainmri.read_scan(tmp_path / "set")
    write_series(tmp_path / "two", volume())
    write_series(tmp_path / "two" / "more", volume())
    with pytest.raises(ValueError, match=r"two: it holds 2 series or volumes; give the file or folder of one scan"):
        brainmri.read_scan(tmp_path / "two")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match=r"text: it holds no slice that can be read \(.*notes.txt: "):
        brainmri.read_scan(tmp_path / "text")
    with pytest.raises(ValueError, match=r"notes.txt: This is no kind of file"):
        brainmri.read_scan(tmp_path / "text" / "notes.txt")
    with pytest.raises(FileNotFoundError, match=r"twoo: no such file or folder: did you mean .*two"):
        brainmri.read_scan(tmp_path / "twoo")
    scan = brainmri.read_scan(write_series(tmp_path / "one", volume())[0])
    with pytest.raises(ValueError, match="no slice 1 in the plane sagittal: it has 1"):
        scan.slice("sagittal", 1)
    with pytest.raises(ValueError, match="no plane axial: this scan has sagittal"):
        scan.slice("axial")
