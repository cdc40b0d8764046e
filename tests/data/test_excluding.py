"""`--exclude`: images that are left out by hand, the known list among them."""

import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import brainmri
from brainmri.data import patient_folds, reviewed_labels
from brainmri.data.dataset import open_prepared
from brainmri.data.patient_folds import known_folds
from brainmri.data.prepare import prepare

from ..scripts import run_here
from .sources import contents, save
from .test_prepare import REAL_DATA

COLUMNS = ["label", "split", "group_id", "duplicate_id", "source"]


def rows(data) -> pd.DataFrame:
    return data.index[COLUMNS].sort_values("source", ignore_index=True)


def listed(file: Path, *lines: str) -> Path:
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture
def copies(source) -> Path:
    """The source with a mirrored copy of one image under its own label, and another under the other label."""
    image = np.asarray(Image.open(source / "notumor" / "notumor_03.png"))
    save(image[:, ::-1], source / "notumor" / "copy.png")
    save(image[::-1], source / "glioma" / "other.png")
    return source


def test_an_image_goes_with_its_copies_and_the_others_stay_where_they_are(copies, out, tmp_path):
    table = listed(tmp_path / "wrong.csv", "file_name,reason", "notumor/notumor_03.png,a mass", "glioma/glioma_00.png,")
    before = contents(copies)
    plain = rows(open_prepared(prepare(copies, tmp_path / "plain")))
    printed = run_here("prepare_data.py", copies, out, "--exclude", table).stdout
    data = open_prepared(out)
    gone = ["glioma/glioma_00.png", "notumor/copy.png", "notumor/notumor_03.png"]
    assert rows(data).equals(plain[~plain["source"].isin(gone)].reset_index(drop=True))
    reasons = dict(pd.read_csv(out / "rejected.csv").values)
    assert reasons == {
        "glioma/glioma_00.png": "left out",
        "notumor/copy.png": "left out (a mass, the same image as notumor/notumor_03.png)",
        "notumor/notumor_03.png": "left out (a mass)",
    }
    assert data.info.settings.excluded_images == 3 and data.info.rejected == 0
    assert data.info.name == "source, 3 images left out"
    assert "0 files rejected, 3 images left out (rejected.csv):" in printed
    assert "and 3 images left out, listed" in (out / "README.md").read_text()
    assert "3 images left out by hand." in (out / "croissant.json").read_text()
    assert contents(copies) == before


def test_outlines_of_what_is_left_out_go_with_it(source, out, tmp_path):
    outlines = listed(
        tmp_path / "o.csv",
        "path,polygon",
        *(f'glioma/glioma_0{k}.png,"[[0.1,0.1],[0.5,0.1],[0.5,0.5]]"' for k in (0, 1)),
    )
    prepare(source, out, outlines=outlines, exclude=listed(tmp_path / "w.csv", "file_name", "glioma/glioma_00.png"))
    assert pd.read_csv(out / "outlines.csv")["path"].tolist() == ["glioma/glioma_01.png"]


def test_the_list_of_an_audit_is_taken_as_it_is(copies, tmp_path):
    table = listed(tmp_path / "labels.csv", "file_name,label,suggested", "glioma/glioma_07.png,glioma,notumor")
    data = brainmri.prepare(copies, tmp_path / "out", exclude=table)
    assert "glioma/glioma_07.png" not in set(data.index["source"]) and len(data.index) == 36


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_accent_may_be_a_letter_of_its_own_in_the_list_or_in_the_source(source, tmp_path, forms):
    """As a Mac writes file names, and a spreadsheet does not, or the other way round."""
    listed_as, stored_as = (unicodedata.normalize(form, "glioma/tête.png") for form in forms)
    (source / "glioma" / "glioma_07.png").rename(source / stored_as)
    data = brainmri.prepare(
        source, tmp_path / "out", exclude=listed(tmp_path / "list.csv", "file_name", listed_as, "glioma/glioma_03.png")
    )
    assert len(data.index) == 33 and not any("te" in name.split("/")[1][:2] for name in data.index["source"])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file_name", "notumor/notumor_3.png"], "1 file names that are not in the source: notumor/notumor_3.png"),
        (["file_name", *["glioma/glioma_00.png"] * 2], "1 file names that stand there more than once"),
        (["image", "glioma/glioma_00.png"], "no column file_name; its columns are: image"),
        (["file_name", *[f"notumor/notumor_{n:02d}.png" for n in range(15)]], "--exclude leaves no image of notumor"),
    ],
)
def test_a_list_that_cannot_be_meant_stops_the_command(source, out, tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        prepare(source, out, exclude=listed(tmp_path / "wrong.csv", *lines))
    assert not out.exists()


def test_scans_are_not_left_out_by_a_list(tmp_path, out):
    (tmp_path / "scans").mkdir()
    with pytest.raises(ValueError, match="--exclude: the layout nifti takes whole scans"):
        prepare(tmp_path / "scans", out, layout="nifti", exclude=listed(tmp_path / "wrong.csv", "file_name"))


def test_the_known_list_is_of_the_known_set():
    table = reviewed_labels.reviewed_labels()
    assert table.index.is_unique and set(table.index) <= set(known_folds().index)
    assert set(table["seen"]) == {reviewed_labels.MASS, reviewed_labels.CT}
    assert all("/notumor/" in path for path in table.index[table["seen"] == reviewed_labels.MASS])
    assert "Testing/notumor/Te-no_0350.jpg" in table.index and table["reason"].str.len().min() > 5


def test_the_known_list_is_for_its_set_alone(source, out, monkeypatch, tmp_path, capsys):
    with pytest.raises(ValueError, match="--exclude reviewed: 35 of 35 files are none of Kaggle"):
        prepare(source, out, exclude="reviewed")
    known = source.rename(tmp_path / "known")
    paths = sorted(file.relative_to(known).as_posix() for file in known.rglob("*.png"))
    folds = pd.DataFrame({"fold": 1, "authors_fold": 0}, index=paths)
    monkeypatch.setattr(patient_folds, "known_folds", lambda: folds)
    wrong = pd.DataFrame({"seen": "mass", "reason": "a mass"}, index=[paths[-1], "notumor/absent.png"])
    for module in ("prepare", "exclusions"):
        monkeypatch.setattr(f"brainmri.data.{module}.reviewed_labels", lambda: wrong)
    monkeypatch.setattr("brainmri.data.prepare.known_revision", lambda _: ("kaggle-nickparvar", "the set of 35 files"))
    prepare(known, tmp_path / "plain")
    assert (
        "1 of these files have a wrong label or are no MRI by two readers: --exclude reviewed leaves"
        in capsys.readouterr().out
    )
    data = open_prepared(prepare(known, out, exclude="reviewed"))
    assert data.info.settings.excluded_images == 1 and paths[-1] not in set(data.index["source"])
    assert "two readers" not in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not REAL_DATA.is_dir(), reason="the 7,023 real images are not here (set BRAINMRI_REAL_DATA)")
def test_the_known_list_names_every_copy(out):
    data = open_prepared(prepare(REAL_DATA, out, exclude="reviewed"))
    assert data.info.settings.excluded_images == len(reviewed_labels.reviewed_labels())
