"""What the readers of scans are made of: tables, patterns, masks, pseudonyms, groups; and one run of each layout."""

import gzip
import hashlib
import hmac
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
from PIL import Image

from brainmri import prepare, read_scan
from brainmri.data.duplicates.patients import group_patients
from brainmri.data.pseudonyms import pseudonym, read_key
from brainmri.data.scan_files import AGAIN, find_nifti
from brainmri.data.scan_options import ScanOptions, spread
from brainmri.data.scan_sources import SourceFile, local_file
from brainmri.data.scan_tables import ByScan, Namer
from brainmri.io.limits import Limits, UploadError
from brainmri.io.mask import read_grid, read_mask

from .scans import dicom_source, head, lesion, nifti_source, write_series, write_volume


def test_a_dicom_folder_is_prepared(tmp_path: Path) -> None:
    data = prepare(dicom_source(tmp_path / "in", patients=3, slices=2), tmp_path / "out")
    assert (len(data.index), data.info.groups, data.info.layout) == (12, 6, "dicom")


def test_a_nifti_folder_is_prepared(tmp_path: Path) -> None:
    source = nifti_source(tmp_path / "in", patients=3)
    data = prepare(source, tmp_path / "out", masks="*_Mask*", slices="largest-lesion")
    assert (len(data.index), data.info.groups, data.info.layout, data.info.outlined) == (6, 6, "nifti", 3)


def test_one_person_under_two_ids_is_one_group(tmp_path: Path) -> None:
    heads = [np.asarray([layer // 4 for layer in head(number, 8)], np.uint8) for number in range(3)]
    wide = [np.stack([layer.repeat(2, 0).repeat(2, 1)[:64, :64] for layer in one]) for one in heads]
    again = (wide[0][:5] * 0.8).astype(np.uint8)
    thumbnails = np.concatenate([*wide, again])
    scans = [name for name in "abc" for _ in range(8)] + ["d"] * 5
    groups = group_patients(thumbnails, [f"patient {name}" for name in scans], scans)
    assert groups[:8] == groups[24:] == ["patient a"] * 5 + ["patient a"] * 3 or groups[0] == groups[-1]
    assert len(set(groups)) == 3
    one = np.zeros((3, 64, 64), np.uint8)
    one[:, 30:34, 30:34] = 200  # the top of a head looks alike in all patients
    crowded = np.concatenate([*(np.concatenate([values, one]) for values in wide)])
    scans = [name for name in "abc" for _ in range(11)]
    assert len(set(group_patients(crowded, scans, scans))) == 3


def test_pseudonyms_are_keyed_hashes(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"0123456789abcdef\r\n")
    key = read_key(file)
    assert pseudonym(key, "MRN 17") == hmac.new(b"0123456789abcdef", b"MRN 17", hashlib.sha256).hexdigest()[:16]
    assert read_key(None) != read_key(None)


@pytest.mark.parametrize(("count", "step", "places"), [(7, 3, [0, 3, 6]), (8, 3, [0, 3, 6]), (9, 3, [1, 4, 7])])
def test_slices_are_spread_over_the_volume(count: int, step: int, places: list[int]) -> None:
    assert list(spread(count, step)) == places


def test_a_table_names_files_folders_and_patients(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(f"file_name,patient,label\na/b,,x\na\\b\\1.nii,,y\n{tmp_path}/c,,z\n,P7,w\n,P8,w\n")
    found = ByScan(table, "label", tmp_path)
    assert found.find("a/b/1.nii", "") == "y"
    assert found.find("a/b/2.nii", "P7") == "x"
    assert found.find("c/d/2.nii", "") == "z"
    assert found.find("d/2.nii", "P7") == "w"
    assert found.find("d/2.nii", "P9") is None
    assert found.note() == "labels.csv: row 6 names no scan that was found"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("patient,label\nZebra,a\nZebra,b\n", "row 3 names another label than a row before"),
        ("name,label\nZebra,a\n", "no column file_name, path or patient"),
        ("patient,class\nZebra,a\n", "no column label"),
        ("patient,class\nZebra,a\n", r"rename class to label"),
        ("subject,label\nZebra,a\n", r"rename subject to patient"),
        ("Zebra,a\nZebra 2,a\n", r"first row must hold the names of the columns \(label among them\)"),
        ("1234567,label\nZebra,a\n", r"first row must hold the names of the columns \(patient, file_name among them\)"),
        ("patient,label\n", "no row below its header"),
        ("", "no column label; its columns are: none"),
        ("patient,label\nZebra,a\n", "not one of its rows names a scan of the source. Compared were 1 patients in it"),
        ("patient,label\n17,a\n", r"Compared .* with the 2 of the source .*\. 1 would fit but for zeros at the front"),
        ("PatientID,Label\nmrn zebra,a\n", "1 would fit but for upper and lower case"),
        ("patient,label\nglioma/p1,a\n", "1 would fit as paths: call their column file_name"),
        ("file_name,label\nMRN Zebra,a\n", "1 would fit as patients: call their column patient"),
        ("file_name,label\nscans/glioma/p1,a\n", "1 would fit without folders at their front"),
        ("file_name,label\np1/1.dcm,a\np1,b\n", "2 would fit with more folders at their front"),
        ("path,label\nglioma/p1/1,a\n", "1 would fit with the ending of the file's name"),
    ],
)
def test_faults_of_a_table_are_told_without_a_word_of_it(text: str, words: str, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(text)
    with pytest.raises(ValueError, match=words) as refused:
        found = ByScan(table, "label", tmp_path)
        found.find("glioma/p1/1.dcm", "MRN Zebra")
        found.find("glioma/p2/1.dcm", "0017")
        found.note()
    told = str(refused.value).casefold()
    assert not any(word in told for word in ("zebra", "1234567", "p1", "glioma"))


@pytest.mark.parametrize(
    ("name", "data"), [("labels.xlsx", b"PK\x03\x04rest"), ("labels.csv", "patient,label\nZebra,a\n".encode("utf-16"))]
)
def test_what_spreadsheets_write_is_told(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=r"save (it|the sheet) as CSV \(UTF-8\)"):
        ByScan(tmp_path / name, "label", tmp_path)


def test_a_table_that_fits_no_scan_is_the_fault_that_is_told(tmp_path: Path) -> None:
    """Not that no scan has a label, which would send its user to look at the scans."""
    source = tmp_path / "in"
    for number in range(6):
        write_series(source / f"person{number}", head(number, 2), patient=f"00{number}")
    rows = [f"{number},{'glioma' if number % 2 else 'notumor'}\n" for number in range(6)]
    table = source / "labels.csv"
    table.write_text("patient,label\n" + "".join(rows))
    with pytest.raises(ValueError, match=r"A table lies there; its columns are: patient, label"):
        prepare(source, tmp_path / "out")
    with pytest.raises(ValueError, match=r"not one of its rows names a scan .* 6 would fit but for zeros at the front"):
        prepare(source, tmp_path / "out", labels=table)
    table.write_text("file_name,label\n" + "".join(f"person{row}" for row in rows))
    with pytest.raises(
        ValueError, match=r"a table of labels, beside scans: prepare_data --layout dicom, with --labels"
    ):
        prepare(source, tmp_path / "out")
    with pytest.raises(ValueError, match=r"but folders are called so: where they hold DICOM series .* --labels"):
        prepare(source, tmp_path / "out", layout="csv")
    assert prepare(source, tmp_path / "out", labels=table).info.layout == "dicom"


def test_folders_name_classes_and_patients(tmp_path: Path) -> None:
    path = "Training/glioma/p1/t1.nii"
    namer = Namer(tmp_path, [path], ScanOptions(), None, None)
    assert (namer.label([path], ""), namer.patient([path]), namer.split(path)) == ("glioma", ("p1", True), "train")
    deep = Namer(tmp_path, [], ScanOptions(label_level=2, patient_pattern=r"p\d"), None, None)
    assert (deep.label(["north/glioma/p1.nii"], ""), deep.patient(["north/glioma/p1.nii"])) == ("glioma", ("p1", True))
    with pytest.raises(UploadError, match="--patient_pattern"):
        deep.patient(["north/glioma/x.nii"])
    with pytest.raises(UploadError, match="several labels"):
        namer.label(["glioma/p1/a", "notumor/p1/b"], "")


def volumes(root: Path, *names: str) -> list[SourceFile]:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"\x1f\x8b")
    return [local_file(root, name) for name in names]


@pytest.mark.parametrize(
    ("masks", "names", "paired"),
    [
        ("{stem}_Mask.nii.gz", ["a/T1.nii.gz", "a/T1_Mask.nii.gz", "a/T2.nii.gz"], {"a/T1.nii.gz"}),
        ("../m/{stem}.nii", ["a/T1.nii.gz", "m/T1.nii", "a/T2.nii.gz"], {"a/T1.nii.gz"}),
        ("*SEG*", ["a/x_flair.nii", "a/x_t1.nii", "a/x_seg.nii", "b/y_t1.nii"], {"a/x_flair.nii", "a/x_t1.nii"}),
    ],
)
def test_masks_are_found_beside_their_scans(masks: str, names: list[str], paired: set[str], tmp_path: Path) -> None:
    found = find_nifti(volumes(tmp_path, *names), None, masks)
    assert {one.paths[0] for one in found.scans if one.mask} == paired
    assert len(found.scans) == len(names) - 1
    assert not found.rejected


def test_a_mask_that_could_be_of_several_or_none_is_told(tmp_path: Path) -> None:
    names = volumes(tmp_path, "a/T1.nii", "a/Pre_Mask.nii", "a/Post_Mask.nii", "b/Mask.nii")
    found = find_nifti(names, None, "*Mask*")
    assert found.scans == []
    assert sorted(path for path, reason in found.rejected if "use {stem}" in reason) == ["a/T1.nii"]
    assert sorted(path for path, reason in found.rejected if "no scan lies beside it" in reason) == ["b/Mask.nii"]


def test_masks_are_turned_as_scans_are_and_measured(tmp_path: Path) -> None:
    file = write_volume(tmp_path / "m.nii.gz", lesion(5, {2: 6}), (2, 3, 5))
    mask = read_mask(file.read_bytes())
    assert mask.areas("axial").tolist() == [0, 0, 36 * 6, 0, 0]
    assert np.array_equal(mask.slice("axial", 2), lesion(1, {0: 6})[0].astype(bool))
    scaled = nibabel.Nifti1Image(np.full((8, 8, 8), 1.0, np.float32), np.eye(4))
    scaled.set_data_dtype(np.uint8)
    nibabel.save(scaled, tmp_path / "scaled.nii")
    assert read_mask((tmp_path / "scaled.nii").read_bytes()).voxels.all()
    empty = write_volume(tmp_path / "e.nii", lesion(5, {}))
    assert not read_mask(empty.read_bytes()).voxels.any()


def test_a_mask_is_read_within_limits(tmp_path: Path) -> None:
    data = write_volume(tmp_path / "m.nii.gz", lesion(5, {2: 6})).read_bytes()
    with pytest.raises(UploadError, match="larger than"):
        read_mask(data, Limits(volume_bytes=5 * 40 * 40 - 1))
    for broken in (data[:60], gzip.compress(gzip.decompress(data)[:5000]), b"\x1f\x8b" + bytes(50)):
        with pytest.raises(UploadError):
            read_mask(broken)


def test_grids_are_compared_by_half_a_voxel(tmp_path: Path) -> None:
    one = read_grid(write_volume(tmp_path / "a.nii", head(0), (4, 4, 5)).read_bytes())
    near = read_grid(write_volume(tmp_path / "b.nii.gz", head(0), (4.01, 4, 5)).read_bytes())
    far = read_grid(write_volume(tmp_path / "c.nii", head(0), (4.2, 4, 5)).read_bytes())
    other = read_grid(write_volume(tmp_path / "d.nii", head(0, 7), (4, 4, 5)).read_bytes())
    assert one.fits(near)
    assert not one.fits(far)
    assert not one.fits(other)


def test_one_broken_file_of_a_series_costs_its_own_slice_only(tmp_path: Path) -> None:
    files = write_series(tmp_path / "series", head(0, 4), patient="x")
    dataset = pydicom.dcmread(files[1])
    dataset.PixelData = dataset.PixelData[:100]
    dataset.save_as(files[1])
    scan = read_scan(tmp_path / "series")
    assert len(scan) == 4
    drawn = []
    for index in range(4):
        with suppress(UploadError):
            drawn.append(scan.slice("axial", index))
    assert len(drawn) == 3


@pytest.mark.parametrize("place", ["glioma/overview.png", "notumor/overview.png"])
def test_an_image_beside_series_does_not_make_slices_of_their_own_of_them(place: str, tmp_path: Path) -> None:
    """Their names would stand in tables, and patients on both sides of a split."""
    source = dicom_source(tmp_path / "in", patients=3, slices=2)
    Image.fromarray(head(0, 1)[0].astype(np.uint8)).save(source / place)
    with pytest.raises(
        ValueError, match=r"holds images beside scans: prepare_data --layout dicom reads the DICOM or NIfTI files"
    ):
        prepare(source, tmp_path / "out")
    data = prepare(source, tmp_path / "out", layout="dicom")
    assert (data.info.groups, data.info.rejected) == (6, 1)
    assert not (data.index["source"].str.contains("person") | data.index["source"].str.contains("overview")).any()


def test_masks_are_no_scans(tmp_path: Path) -> None:
    source = nifti_source(tmp_path / "in", patients=3)
    data = prepare(source, tmp_path / "out")
    assert data.info.groups == 6
    rejected = pd.read_csv(tmp_path / "out" / "rejected.csv")
    assert rejected["reason"].str.startswith("The volume holds a few whole numbers only, as a mask").sum() == 3
    assert "as a mask" in read_scan(source / "glioma" / "g0" / "T1_Mask.nii.gz").notes[-1]
    assert not any("as a mask" in note for note in read_scan(source / "glioma" / "g0" / "T1.nii.gz").notes)


def test_the_whole_one_of_two_copies_of_a_slice_is_taken(tmp_path: Path) -> None:
    source = dicom_source(tmp_path / "in", patients=3, slices=3)
    whole = source / "glioma" / "person0" / "t1" / "IM001"
    (whole.parent / "A_BROKEN").write_bytes(whole.read_bytes()[:-800])
    data = prepare(source, tmp_path / "out", id_key=None)
    assert len(data.index) == 18
    (reason,) = pd.read_csv(tmp_path / "out" / "rejected.csv")["reason"]
    assert reason == AGAIN


def test_the_linkage_is_for_its_owner_alone(tmp_path: Path) -> None:
    source = dicom_source(tmp_path / "in", patients=3, slices=2)
    prepare(source, tmp_path / "out", linkage=tmp_path / "link.csv")
    assert (tmp_path / "link.csv").stat().st_mode & 0o077 == 0
