"""Folders of DICOM series and NIfTI volumes, prepared: which slices, labels, patients and sites come out."""

import hashlib
import hmac
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brainmri import prepare
from brainmri.data.dataset import PreparedData, open_prepared
from brainmri.data.masks import polygon_mask
from brainmri.data.source import prepared_data
from brainmri.io.inputs import found_inputs

from ..scripts import run_here
from .scans import dicom_source, head, lesion, nifti_source, write_series, write_volume
from .sources import contents

pytestmark = pytest.mark.integration  # dozens of preparations; one of each layout is in test_scan_tables.py
KEY = b"correct horse battery staple"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_bytes(KEY + b"\n")
    return file


@pytest.fixture
def dicom(tmp_path: Path) -> Path:
    return dicom_source(tmp_path / "dicom")


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    return nifti_source(tmp_path / "nifti")


def hashed(patient: str) -> str:
    return hmac.new(KEY, patient.encode(), hashlib.sha256).hexdigest()[:16]


def slices_by_scan(data: PreparedData) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for source in sorted(data.index["source"]):
        scan, _, place = source.partition("#axial-")
        found.setdefault(scan, []).append(int(place))
    return found


def pixels(data: PreparedData, rows: pd.DataFrame) -> list[np.ndarray]:
    return [np.asarray(Image.open(data.root / name)) for name in rows.sort_values("source")["file_name"]]


# ---------------------------------------------------------------------- DICOM
def test_series_become_slices_of_patients_and_sites(dicom: Path, key: Path, tmp_path: Path) -> None:
    before = contents(dicom)
    data = prepare(dicom, tmp_path / "out", id_key=key)  # the layout is found out
    assert data.info.layout == "dicom"
    assert data.classes == ["glioma", "notumor"]
    assert len(data.index) == 8 * 3
    assert set(data.index["group_id"]) == {hashed(f"MRN-{number}") for number in range(8)}
    assert (data.index.groupby("group_id")["split"].nunique() == 1).all()
    assert set(data.index["site"]) == {"site-1", "site-2"}
    assert data.index.groupby("site")["group_id"].nunique().to_dict() == {"site-1": 5, "site-2": 3}  # the larger first
    assert all(places == [0, 1, 2] for places in slices_by_scan(data).values())
    assert contents(dicom) == before


def test_a_series_is_sorted_by_position_and_drawn_as_scans_are(tmp_path: Path, dicom: Path) -> None:
    from brainmri import read_scan

    data = prepare(dicom, tmp_path / "out")
    first = data.index[data.index["source"].str.startswith("00001-")]
    scan = read_scan(dicom / "glioma" / "person0" / "t1")
    assert len(first) == len(scan)
    for index, image in enumerate(pixels(data, first)):
        assert np.array_equal(image, scan.slice("axial", index))
    brightness = [image.astype(bool).mean() for image in pixels(data, first)]
    assert brightness[0] != brightness[-1]  # else the order would not show


def test_the_files_of_a_series_may_lie_in_several_folders(dicom: Path, tmp_path: Path) -> None:
    folder = dicom / "glioma" / "person0" / "t1"
    for number, file in enumerate(sorted(folder.iterdir())):
        other = folder.parent / f"part{number % 2}"
        other.mkdir(exist_ok=True)
        file.rename(other / file.name)
    folder.rmdir()
    twice = dicom / "glioma" / "person0" / "part0" / "IM000"
    shutil.copy(twice, twice.with_name("copy"))
    data = prepare(dicom, tmp_path / "out")
    assert sorted(map(len, slices_by_scan(data).values())) == [3] * 8
    rejected = pd.read_csv(tmp_path / "out" / "rejected.csv")
    assert rejected["reason"].str.contains("same slice already").tolist() == [True]


def test_several_series_of_a_patient_are_one_group(dicom: Path, tmp_path: Path) -> None:
    write_series(dicom / "glioma" / "other folder", head(50), patient="MRN-0 ", SeriesDescription="T2 axial")
    data = prepare(dicom, tmp_path / "out")
    assert data.index["group_id"].nunique() == 8
    assert data.index.groupby("group_id").size().max() == 6


def test_series_are_chosen_by_their_description(dicom: Path, tmp_path: Path) -> None:
    for number in range(8):
        label = ("glioma", "notumor")[number % 2]
        for weighting in ("T1 post", "T2"):
            folder = dicom / label / f"person{number}" / weighting
            write_series(folder, head(60 + number), patient=f"MRN-{number}", SeriesDescription=f"ax {weighting}")
    done = run_here("prepare_data.py", dicom, tmp_path / "out", "--series", "*t1*")
    assert done.returncode == 0, done.stderr
    assert "16 scans are left out by --series" in done.stdout
    assert open_prepared(tmp_path / "out").info.settings.scans.scans == 8


def test_localizers_reports_and_broken_files_are_listed_with_reasons(dicom: Path, tmp_path: Path) -> None:
    write_series(dicom / "glioma" / "plan", head(9, 3), patient="MRN-0", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    broken = dicom / "glioma" / "person0" / "t1" / "broken.dcm"
    broken.write_bytes((dicom / "glioma" / "person0" / "t1" / "IM000").read_bytes()[:400])
    (dicom / "notes.txt").write_text("written by hand")
    (dicom / "notumor" / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    done = run_here("prepare_data.py", dicom, tmp_path / "out", "--layout", "dicom")
    assert done.returncode == 0, done.stderr
    reasons = pd.read_csv(tmp_path / "out" / "rejected.csv")["reason"].tolist()
    assert sum("localizer" in reason for reason in reasons) == 3
    assert sum("This DICOM file" in reason for reason in reasons) == 1
    assert sum("PNG" in reason for reason in reasons) >= 1
    assert len(reasons) == 6
    assert "6 files and slices rejected" in done.stdout


def test_a_multi_frame_file_gives_the_slices_of_its_series(tmp_path: Path, dicom: Path) -> None:
    for number in (0, 1):

        def all_frames(dataset, k, number=number):
            values = head(70 + number)
            dataset.NumberOfFrames, dataset.PixelData = len(values), values.tobytes()

        write_series(dicom / "glioma" / f"multi{number}", head(70)[:1], patient=f"M-{number}", change=all_frames)
    data = prepare(dicom, tmp_path / "out")
    assert len(data.index) == 8 * 3 + 2 * 3
    assert data.index["group_id"].nunique() == 10


def test_patients_without_an_id_are_told_by_study_folder_or_table(dicom: Path, key: Path, tmp_path: Path) -> None:
    study = "1.2.3.4"
    write_series(dicom / "glioma" / "anon" / "a", head(80), patient="", StudyInstanceUID=study)
    write_series(dicom / "glioma" / "anon" / "b", head(81), patient="", StudyInstanceUID=study)
    done = run_here("prepare_data.py", dicom, tmp_path / "out")
    assert "2 scans have no PatientID" in done.stdout, done.stderr
    assert open_prepared(tmp_path / "out").info.groups == 9
    by_folder = prepare(dicom, tmp_path / "folder", patient_level=2, id_key=key)
    assert set(by_folder.index["group_id"]) == {hashed(name) for name in ["anon", *(f"person{k}" for k in range(8))]}
    table = tmp_path / "groups.csv"
    table.write_text("file_name,group_id\nglioma/anon,MRN-0\n")
    assert hashed("MRN-0") in set(prepare(dicom, tmp_path / "table", groups=table, id_key=key).index["group_id"])
    assert open_prepared(tmp_path / "table").info.groups == 8


def test_one_patient_id_for_all_is_refused(tmp_path: Path) -> None:
    for number in range(6):
        write_series(tmp_path / "in" / "ab"[number % 2] / str(number), head(number), patient="HEAD-1")
    with pytest.raises(ValueError, match=r"6 scans have one and the same patient id.*--patient_level"):
        prepare(tmp_path / "in", tmp_path / "out", layout="dicom")


def test_ids_that_name_nobody_are_no_patient_and_each_study_is_one_as_in_predict(tmp_path: Path) -> None:
    for number, patient in enumerate(["ANON", "Anonymous", "anonymized", "ANON", "MRN-1", "MRN-2"]):
        write_series(tmp_path / "in" / "ab"[number % 2] / str(number), head(number), patient=patient)
    done = run_here("prepare_data.py", tmp_path / "in", tmp_path / "out")
    assert "4 scans have no PatientID, or one like ANON" in done.stdout, done.stderr
    assert open_prepared(tmp_path / "out").info.groups == 6


@pytest.mark.parametrize("folders", [("Healthy", "Tumor"), ("Training/glioma", "Testing/notumor")])
def test_folders_called_like_those_of_a_public_set_hold_series_all_the_same(tmp_path: Path, folders) -> None:
    for number in range(6):
        folder = tmp_path / "in" / folders[number % 2] / f"Jane Roe {number}"
        write_series(folder, head(number), patient=f"MRN-{number}")
    for name in ("Training/notumor", "Testing/glioma") if "/" in folders[0] else ():
        write_series(tmp_path / "in" / name / "x", head(len(name)), patient=f"MRN-{name}")
    done = run_here("prepare_data.py", tmp_path / "in", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    data = open_prepared(tmp_path / "out")
    assert data.info.groups == (8 if "/" in folders[0] else 6)
    assert "Jane" not in (tmp_path / "out" / "index.csv").read_text(encoding="utf-8")
    (tmp_path / "in" / "labels.csv").write_text("file_name,label\nHealthy/a.dcm,healthy\n")
    with pytest.raises(ValueError, match=r"labels\.csv, a table of labels, beside scans: .*--layout dicom"):
        prepare(tmp_path / "in", tmp_path / "other")


def test_the_site_is_the_institution_the_scanner_or_nothing(tmp_path: Path) -> None:
    dicom = dicom_source(tmp_path / "dicom", patients=7, slices=3)
    write_series(dicom / "glioma" / "new", head(90), patient="MRN-0", Manufacturer="ACME", DeviceSerialNumber="77")
    assert set(prepare(dicom, tmp_path / "a").index["site"]) == {"", "site-1", "site-2"}
    assert set(prepare(dicom, tmp_path / "b", site="scanner").index["site"]) == {"", "site-1"}
    assert set(prepare(dicom, tmp_path / "c", site="none").index["site"]) == {""}
    held = prepare(dicom, tmp_path / "d", holdout="site=site-2").index
    assert set(held.loc[held["site"] == "site-2", "split"]) == {"test"}


def test_a_plane_that_was_not_acquired_is_no_slice_of_a_series(dicom: Path, tmp_path: Path) -> None:
    write_series(
        dicom / "glioma" / "sag",
        head(91),
        patient="MRN-0",
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
        ImagePositionPatient=[0, 0, 0],
    )
    data = prepare(dicom, tmp_path / "out", plane="axial")
    assert len(data.index) == 24
    reasons = pd.read_csv(tmp_path / "out" / "rejected.csv")["reason"]
    assert len(reasons) == 1 and "--plane axial" in reasons[0]


def test_missing_slices_are_said(dicom: Path, tmp_path: Path) -> None:
    for number in range(2):
        files = write_series(dicom / "glioma" / f"gaps{number}", head(90 + number, 8), patient=f"MRN-{2 * number}")
        for file in files[2:5]:
            file.unlink()
    done = run_here("prepare_data.py", dicom, tmp_path / "out")
    assert "Note: 2 of 10 scans: Slices are missing (6 of 16): gaps between the positions" in done.stdout, done.stderr


def test_texts_in_the_pixels_are_warned_of(dicom: Path, tmp_path: Path) -> None:
    write_series(dicom / "glioma" / "yes", head(92), patient="MRN-0", BurnedInAnnotation="YES")
    write_series(dicom / "glioma" / "no", head(93), patient="MRN-0", BurnedInAnnotation="NO")
    write_series(dicom / "glioma" / "shot", head(94), patient="MRN-2", SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    done = run_here("prepare_data.py", dicom, tmp_path / "out")
    assert "Note: 2 of 11 scans may show texts in their pixels" in done.stdout, done.stderr
    assert "2 of 11 scans may show texts" in (tmp_path / "out" / "README.md").read_text()
    data = open_prepared(tmp_path / "out")
    assert data.info.settings.scans.burnt_in_scans == 2
    names = data.info.settings.scans.burnt_in
    assert f"By the column source of index.csv they are {names[0]}, {names[1]}\n" in done.stdout
    assert [(data.index["source"].str.partition("#")[0] == name).sum() for name in names] == [3, 3]


def test_too_few_patients_are_told_with_what_was_rejected(tmp_path: Path) -> None:
    source = dicom_source(tmp_path / "in", patients=3, slices=2)
    for file in (source / "glioma" / "person0" / "t1").iterdir():
        file.write_bytes(file.read_bytes()[:-900])
    (source / "glioma" / "notes.txt").write_text("no scan")
    words = r"class glioma has 2, .* leave the class out\. 3 files and slices rejected: "
    with pytest.raises(ValueError, match=words) as told:
        prepare(source, tmp_path / "out")
    assert "(2)" in str(told.value) and "This is no kind of file that is known here" in str(told.value)


def test_pairs_of_files_are_told(tmp_path: Path) -> None:
    source = nifti_source(tmp_path / "in", patients=3)
    for number, kind in enumerate((nibabel.AnalyzeImage, nibabel.Nifti1Pair)):
        nibabel.save(kind(head(number, 8).T.copy(), np.diag([4, 4, 16, 1])), source / "healthy" / f"v{number}.hdr")
    prepare(source, tmp_path / "out")
    reasons = pd.read_csv(tmp_path / "out" / "rejected.csv")["reason"]
    told = [reason for reason in reasons if "Convert both to a single .nii.gz file" in reason]
    assert sorted(reason.split()[2] + " " + reason.split()[3] for reason in told) == [
        *("one half", "the header", "the image", "the image")
    ]
    with found_inputs([source / "healthy"]) as inputs:
        found = [one.open() for one in inputs if Path(one.path).name.startswith("v")]
    assert sorted(one.reason for one in found) == sorted(told)
    for file in source.rglob("*.nii.gz"):
        file.unlink()
    with pytest.raises(ValueError, match=r"holds volumes as pairs of files"):
        prepare(source, tmp_path / "other")


# ---------------------------------------------------------------------- NIfTI
def test_masks_label_slices_and_become_outlines(nifti: Path, tmp_path: Path) -> None:
    done = run_here("prepare_data.py", nifti, tmp_path / "out", "--masks", "{stem}_Mask.nii.gz", "--slices", "mask")
    assert done.returncode == 0, done.stderr
    data = open_prepared(tmp_path / "out")
    assert data.info.layout == "nifti"
    glioma = data.index[data.index["label"] == "glioma"]
    assert glioma["source"].str[-4:].value_counts().to_dict() == {"0003": 4, "0004": 4}  # 5 has 16 mm² only
    assert data.info.outlined == 8
    outlines = data.outlines()
    for source in glioma["source"]:
        side = 4 if source.endswith("3") else 6
        drawn = polygon_mask(outlines[source], 40)
        wanted = lesion(1, {0: side})[0].astype(bool)
        assert (drawn != wanted).sum() <= 4  # the corners
    assert data.info.settings.scans.left_out_slices == 4 * 6
    assert "24 slices of scans with a mask are left out" in done.stdout
    assert set(data.index.loc[data.index["label"] == "healthy", "source"].str[-4:]) <= {f"000{k}" for k in range(8)}


def test_one_slice_of_each_scan(nifti: Path, tmp_path: Path) -> None:
    data = prepare(nifti, tmp_path / "out", masks="*Mask*", slices="largest-lesion")
    assert len(data.index) == 8
    glioma = data.index[data.index["label"] == "glioma"]
    assert set(glioma["source"].str[-4:]) == {"0004"}


def test_labels_by_the_mask_alone(nifti: Path, tmp_path: Path) -> None:
    shutil.rmtree(nifti / "healthy")
    data = prepare(
        nifti / "glioma",
        tmp_path / "out",
        masks="*mask*",
        lesion_label="tumor",
        no_lesion_label="notumor",
        lesion_area=100,
        val=0.25,
        test=0.25,
    )
    assert data.info.counts["train"].keys() == {"notumor", "tumor"}
    kinds = data.index.groupby(data.index["source"].str[-4:])["label"].agg(set)
    assert kinds.to_dict() == {
        "0003": {"tumor"},
        "0004": {"tumor"},
        **{f"000{k}": {"notumor"} for k in (0, 1, 2, 6, 7)},
    }
    assert data.index["group_id"].nunique() == 4


def test_an_empty_mask_and_one_of_another_grid(nifti: Path, tmp_path: Path) -> None:
    extra = nifti / "glioma" / "extra"
    write_volume(extra / "T1.nii.gz", head(40, 8), (4, 4, 16))
    write_volume(extra / "T1_Mask.nii.gz", lesion(8, {}), (4, 4, 16))
    moved = nifti / "glioma" / "moved"
    write_volume(moved / "T1.nii.gz", head(41, 8), (4, 4, 16))
    write_volume(moved / "T1_Mask.nii.gz", lesion(8, {3: 5}), (4, 4, 12))
    write_volume(nifti / "glioma" / "bare" / "T1.nii.gz", head(42, 8), (4, 4, 16))
    prepare(nifti, tmp_path / "out", masks="*Mask*", slices="mask")
    reasons = sorted(pd.read_csv(tmp_path / "out" / "rejected.csv")["reason"])
    assert [words for words in reasons if "shows no lesion" in words]
    assert [words for words in reasons if "other voxels" in words]
    assert [words for words in reasons if "No lesion mask lies beside it" in words]
    assert len(reasons) == 3


def test_masks_are_told_by_the_likest_name(tmp_path: Path) -> None:
    root = nifti_source(tmp_path / "in")
    for folder in (root / "glioma").iterdir():
        (folder / "T1.nii.gz").rename(folder / "Pre_T1.nii.gz")
        (folder / "T1_Mask.nii.gz").rename(folder / "Pre_Mask.nii.gz")
        write_volume(folder / "Post_T1.nii.gz", head(200 + int(folder.name[1]), 8), (4, 4, 16))
        write_volume(folder / "Post_Mask.nii.gz", lesion(8, {2: 6}), (4, 4, 16))
    data = prepare(root, tmp_path / "out", masks="*Mask*", slices="largest-lesion")
    places = data.index.loc[data.index["label"] == "glioma", "source"].str[-4:]
    assert sorted(places) == ["0002"] * 4 + ["0004"] * 4


@pytest.mark.parametrize(("slices", "places"), [("all", 8), ("every:3", 3), ("every:100", 1)])
def test_every_so_many_th_slice(slices: str, places: int, nifti: Path, tmp_path: Path) -> None:
    data = prepare(nifti, tmp_path / "out", slices=slices, series="T1.nii.gz")
    assert {len(found) for found in slices_by_scan(data).values()} == {places}
    assert data.info.settings.scans.slices == slices


def test_another_plane_of_a_volume(nifti: Path, tmp_path: Path) -> None:
    data = prepare(nifti, tmp_path / "out", plane="coronal", slices="every:10", series="T1.nii.gz")
    assert data.index["source"].str.contains("#coronal-").all()


def test_labels_and_sites_of_a_table(nifti: Path, tmp_path: Path, key: Path) -> None:
    for folder in sorted(nifti.glob("*/*")):
        folder.rename(nifti / folder.name)
    table = tmp_path / "labels.csv"
    rows = [f"g{k},glioma" for k in range(4)] + [f"h{k},notumor" for k in range(4)] + ["g9,glioma"]
    table.write_text("patient,label\n" + "\n".join(rows) + "\n")
    sites = tmp_path / "sites.csv"
    sites.write_text("file_name,site\ng0,oslo\nh0/T1.nii.gz,bergen\n")
    done = run_here(
        "prepare_data.py",
        nifti,
        tmp_path / "out",
        "--labels",
        table,
        "--sites",
        sites,
        "--id_key",
        key,
        "--series",
        "T1.nii.gz",
    )
    assert done.returncode == 0, done.stderr
    assert "labels.csv: row 10 names no scan that was found" in done.stdout
    data = open_prepared(tmp_path / "out")
    assert data.index.loc[data.index["group_id"] == hashed("h2"), "label"].unique().tolist() == ["notumor"]
    assert set(data.index["site"]) == {"", "oslo", "bergen"}


def test_patients_of_a_pattern_in_the_names(tmp_path: Path, key: Path) -> None:
    for number in range(8):
        name = f"sub-{number // 2:02d}_ses-{number % 2}_T1w.nii.gz"
        write_volume(tmp_path / "in" / ("glioma", "notumor")[number % 4 // 2] / name, head(number))
        write_volume(
            tmp_path / "in" / ("glioma", "notumor")[number % 4 // 2] / f"sub-1{number}_T1w.nii", head(60 + number)
        )
    data = prepare(tmp_path / "in", tmp_path / "out", patient_pattern=r"(sub-\d+)", id_key=key)
    assert data.index["group_id"].nunique() == 4 + 8
    assert hashed("sub-01") in set(data.index["group_id"])
    assert prepare(tmp_path / "in", tmp_path / "each").index["group_id"].nunique() == 16  # each file a patient


def test_headers_that_cannot_be_true_are_counted(tmp_path: Path) -> None:
    for number in range(8):
        spacing = (4, 4, 4) if number < 3 else (4, 4, 16)
        write_volume(tmp_path / "in" / "ab"[number % 2] / str(number) / "T1.nii.gz", head(number, 10), spacing)
    done = run_here("prepare_data.py", tmp_path / "in", tmp_path / "out")
    assert "Note: 3 of 8 scans: The distance between slices that the file states cannot be true" in done.stdout
    assert done.stdout.count("cannot be true") == 1
    (note,) = open_prepared(tmp_path / "out").info.settings.scans.notes.items()
    assert note[1] == 3
    assert note[0] in (tmp_path / "out" / "README.md").read_text()


# ---------------------------------------------------------------------- both
def test_one_key_gives_one_result_and_no_key_other_names(dicom: Path, key: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        prepare(dicom, tmp_path / name, name="x", id_key=key)
    prepare(dicom, tmp_path / "c", name="x")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    keyed, other = (open_prepared(tmp_path / name).index for name in ("a", "c"))
    assert not set(keyed["group_id"]) & set(other["group_id"])
    for column in ("file_name", "split", "label", "site"):  # but the same images in the same splits
        assert keyed[column].tolist() == other[column].tolist()


def test_the_linkage_table_tells_who_is_who(dicom: Path, tmp_path: Path) -> None:
    (dicom / "notes.txt").write_text("x")
    link = tmp_path / "linkage.csv"
    data = prepare(dicom, tmp_path / "out", linkage=link)
    table = pd.read_csv(link, dtype=str, keep_default_na=False)
    assert set(table["path"]) == {str(file.relative_to(dicom)) for file in dicom.rglob("*") if file.is_file()}
    who = dict(zip(table["source"], table["patient"], strict=True))
    groups = {who[source.partition("#")[0]]: group for source, group in data.index[["source", "group_id"]].to_numpy()}
    assert len(set(groups.values())) == len(groups) == 8
    for file in (tmp_path / "out2" / "x.csv", dicom / "x.csv", link):
        with pytest.raises(ValueError, match="--linkage"):
            prepare(dicom, tmp_path / "out2", linkage=file)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"slices": "every:0"}, "every:N"),
        ({"slices": "mask"}, "--masks"),
        ({"plane": "oblique"}, "acquired, sagittal"),
        ({"masks": "*nothing*"}, "not one volume of the source is a mask"),
        ({"patient_pattern": "("}, "no regular expression"),
        ({"label_level": 2}, "most hold fewer than 3 patients"),
        ({"series": "*CT*"}, "left out by --series"),
        ({"outlines": "x.csv"}, "--masks"),
        ({"lesion_label": "tumor"}, "--masks"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, object], words: str, nifti: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=words.replace("*", ".")) as refused:
        prepare(nifti, tmp_path / "out", **settings)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_scan_settings_are_for_scans_and_scans_for_prepare(tmp_path: Path, nifti: Path, source: Path) -> None:
    with pytest.raises(ValueError, match="only dicom and nifti take the settings of scans"):
        prepare(source, tmp_path / "out", slices="all")
    done = run_here("audit.py", nifti, "--out", tmp_path / "audit")
    assert done.returncode == 2
    assert "take slices of them first" in done.stderr
    short = tmp_path / "short"
    short.write_bytes(b"abc\n")
    with pytest.raises(ValueError, match="3 bytes, and at least 16"):
        prepare(nifti, tmp_path / "out", id_key=short)


def test_a_raw_folder_of_scans_is_prepared_once_for_a_training(
    nifti: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAINMRI_CACHE", str(tmp_path / "cache"))
    for mask in nifti.rglob("*Mask*"):
        mask.unlink()
    first, second = (prepared_data(str(nifti), "grouped", insist=False) for _ in range(2))
    assert first.root == second.root
    assert (first.info.layout, first.info.groups, len(first.index)) == ("nifti", 8, 8 * 8)


def test_a_source_with_splits_keeps_them(tmp_path: Path) -> None:
    for number in range(16):
        part, label = ("train", "test")[number // 8], ("glioma", "notumor")[number % 2]
        write_volume(tmp_path / "in" / part / label / f"p{number}" / "T1.nii", head(number))
    data = prepare(tmp_path / "in", tmp_path / "out", layout="nifti", split="source", val=0.3, slices="every:2")
    assert data.classes == ["glioma", "notumor"]
    assert data.index.groupby("group_id")["split"].nunique().max() == 1
    assert data.index.loc[data.index["split"] == "test", "group_id"].nunique() == 8


def test_dataset_json_says_how_it_was_made(nifti: Path, tmp_path: Path) -> None:
    prepare(nifti, tmp_path / "out", masks="*Mask*", slices="mask", lesion_area=30)
    record = json.loads((tmp_path / "out" / "dataset.json").read_text())["settings"]["scans"]
    assert record["plane"] == "acquired"
    assert record["slices"] == "mask"
    assert (record["masks"], record["lesion_area_mm2"], record["keyed"]) == (True, 30, False)
