"""`brainmri.read_scan`: an image, a volume, or the files of a series."""

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

import brainmri
from brainmri import read_scan
from brainmri.io.inputs import scan_and_files
from brainmri.io.notes import Notes, missing_notes
from brainmri.io.read import read_image

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


def test_missing_slices_and_copies_are_said_with_their_numbers(tmp_path: Path) -> None:
    files = write_series(tmp_path / "whole", volume(10))
    assert read_scan(tmp_path / "whole").notes == ()
    by_place = sorted(files, key=lambda file: dcmread(file).ImagePositionPatient[0])
    for file in by_place[2:6]:
        file.unlink()
    (note,) = read_scan(tmp_path / "whole").notes
    assert note.startswith("Slices are missing (4 of 10): gaps between the positions of the others show it.")
    for number, file in enumerate(files := write_series(tmp_path / "twice", volume(4), InstanceNumber=3)):
        shutil.copy(file, file.with_name(f"copy {number}"))
    (note,) = read_scan(tmp_path / "twice").notes
    assert note.startswith("Slices are there twice (4 of 8), as copies of a file in the same series are")
    for number, file in enumerate(files):
        other = dcmread(file)
        other.InstanceNumber = 10 + number
        other.save_as(file.with_name(f"copy {number}"))
    (note,) = read_scan(tmp_path / "twice").notes
    assert note.startswith("The series holds several images of a slice")


def test_notes_of_many_scans_are_counted_and_their_figures_summed() -> None:
    notes = Notes()
    for along in ([0, 5, 10, 30, 35, 40], [0, 5, 15, 20, 25], [0, 5, 10]):
        notes.add(missing_notes(along))
    assert [(sentence[:34], scans) for sentence, scans in notes.counted().items()] == [
        ("Slices are missing (4 of 15): gaps", 2)
    ]
    assert missing_notes([0, 0.05, 5, 5.05, 10, 10.05]) == ()  # two time points of a table that moved
    assert missing_notes([0, 0, 0]) == missing_notes([]) == ()


CAPTURE_CLASS = "1.2.840.10008.5.1.4.1.1.7"


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"Modality": "CT"}, "It is a CT image"),
        ({"Modality": "PT"}, "It is a PET image"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "It is an overview image"),
        ({"ImageType": ["DERIVED", "SECONDARY", "OTHER", "SCREEN SAVE"]}, "It is a screen capture"),
        ({"SOPClassUID": CAPTURE_CLASS, "Modality": "OT"}, "It is a screen capture"),
        ({"SOPClassUID": f"{CAPTURE_CLASS}.2", "Modality": "OT"}, "It is a screen capture"),
        ({"SOPClassUID": CAPTURE_CLASS, "Modality": "MR", "ConversionType": "WSD"}, "It is a screen capture"),
        ({"SOPClassUID": CAPTURE_CLASS, "Modality": "MR", "ConversionType": "SI"}, "It is a screen capture"),
        ({"SOPClassUID": CAPTURE_CLASS, "Modality": "MR", "ConversionType": "SYN"}, ""),
        ({"SOPClassUID": CAPTURE_CLASS, "Modality": "MR"}, ""),
        ({"Modality": "OT"}, ""),
        ({"Modality": "MR", "ImageType": ["DERIVED", "SECONDARY", "MPR"]}, ""),
    ],
)
def test_one_rule_tells_what_is_no_mri(tags: dict[str, object], words: str, tmp_path: Path) -> None:
    """Of a folder and of an image of a data set alike; `read_scan` draws any file."""
    (file,) = write_series(tmp_path / "in", volume(2)[1:], **tags)
    ways = {
        "file": lambda: scan_and_files(file),
        "folder": lambda: read_scan(file.parent),
        "data set": lambda: read_image(file),
    }
    for way in ways.values():
        if not words:
            way()
            continue
        with pytest.raises(ValueError, match=words):
            way()


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


def test_an_empty_folder_and_a_zip_file_are_told_as_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: it holds no slice that can be read$"):
        read_scan(tmp_path / "empty")
    write_series(tmp_path / "series", volume(), where=True)
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "series")
    assert np.array_equal(read_scan(packed).slice(index=1), read_scan(tmp_path / "series").slice(index=1))
