"""Words planted in every text, name, identifier and date of scans, and in their files' names, are looked for everywhere
that a preparation, a training set or a fault writes."""

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian

from brainmri import prepare, read_scan
from brainmri.data.scan_options import ScanOptions
from brainmri.data.scan_sources import SourceFiles
from brainmri.data.scans import find_scans

from ..markers import files_below, marker, search
from ..scripts import run_here
from .scans import affine, head, lesion, write_series, write_volume

pytestmark = pytest.mark.integration
TEXTS = {"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "CS"}
DATE, TIME = "19570923", "042719.123457"  # in every element of a date or a time
WIDE = "Jürgen Ünlü"  # a name that no ASCII search finds
KEPT = {
    "VOILUTFunction",
    "SpecificCharacterSet",
    "BurnedInAnnotation",
    "Modality",
    "PhotometricInterpretation",
    "SeriesDescription",
}
OWN = {"patient folder", "file name", "patient id", "institution", "station", "private"}


def keywords() -> list[str]:
    """All elements whose values are texts, dates or times, beside those by which an image is drawn."""
    found = []
    for tag, (vr, _, _, _retired, keyword) in DicomDictionary.items():
        vrs = set(re.split(r" or ", vr))
        fitting = vrs & (TEXTS | {"DA", "TM", "DT"})
        if keyword and fitting and keyword not in KEPT and Tag(tag).group > 2:
            found.append(keyword)
    return sorted(found)


KEYWORDS = keywords()
NAMES = [*KEYWORDS, *sorted(OWN)]
MARKERS = {name: marker(number) for number, name in enumerate(NAMES)}


def fill(dataset: Dataset, depth: int = 1) -> None:
    """Plant a marker, a date or a time in every text element, in private ones and inside sequences."""
    for keyword in KEYWORDS:
        vr = pydicom.datadict.dictionary_VR(keyword).split(" or ")[0]
        value = {"DA": DATE, "TM": TIME, "DT": DATE + TIME}.get(vr, MARKERS[keyword])
        setattr(dataset, keyword, value)
    block = dataset.private_block(0x0009, MARKERS["private"], create=True)
    block.add_new(1, "LO", MARKERS["private"])
    block.add_new(2, "UN", MARKERS["private"].encode())
    block.add_new(3, "SQ", Sequence([inner()]))
    if depth:
        for keyword in ("OtherPatientIDsSequence", "RequestAttributesSequence", "ReferencedStudySequence"):
            within = Dataset()
            fill(within, depth - 1)
            setattr(dataset, keyword, Sequence([within]))


def inner() -> Dataset:
    dataset = Dataset()
    dataset.PatientName, dataset.PatientComments = MARKERS["PatientName"], MARKERS["PatientComments"]
    return dataset


def planted_file(number: int) -> Callable[[Dataset, int], None]:
    def change(dataset: Dataset, k: int) -> None:
        fill(dataset)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.PatientName = f"{MARKERS['PatientName']}^{WIDE}"
        dataset.PatientID = f"{MARKERS['patient id']}{number}"
        dataset.InstitutionName, dataset.StationName = f"{MARKERS['institution']} {number % 2}", MARKERS["station"]
        dataset.BurnedInAnnotation = "YES" if number == 0 else "NO"
        dataset.SeriesDescription = f"T1 {MARKERS['private']}"
        dataset.preamble = MARKERS["private"].encode().ljust(128, b"\0")
        dataset.file_meta.SourceApplicationEntityTitle = MARKERS["private"]
        if number == 1:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian

    return change


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """DICOM series of six patients, full of words, with broken files among them."""
    source = tmp_path_factory.mktemp("scans") / "hospital"
    with pydicom.config.disable_value_validation():
        for number in range(6):
            folder = source / ("glioma", "notumor")[number % 2] / f"{MARKERS['patient folder']}{number}"
            name = f"{MARKERS['file name']}-{DATE}-{{:03d}}.dcm"
            files = write_series(folder, head(number, 3), patient="x", name=name, change=planted_file(number))
            dataset = pydicom.dcmread(files[0])
            dataset.PixelData = dataset.PixelData[:100]
            dataset.SOPInstanceUID += ".7"
            dataset.save_as(folder / f"{MARKERS['file name']} broken.dcm")
            (folder / f"{MARKERS['file name']}.txt").write_text(MARKERS["PatientName"])
    return SimpleNamespace(source=source, work=tmp_path_factory.mktemp("work"), cache=tmp_path_factory.mktemp("cache"))


def traces(places: dict[str, bytes]) -> dict[str, set[str]]:
    """Markers, dates, times and names in some places."""
    found = search(places, MARKERS)
    for name, content in places.items():
        for word in (DATE, TIME, WIDE, WIDE.split()[0]):
            for form in (word.encode(), word.encode("utf-16-le"), word.encode("latin-1"), ascii(word)[1:-1].encode()):
                if form in content or form in name.encode():
                    found.setdefault(word, set()).add(name)
    return found


def test_the_search_finds_every_word_in_the_source(planted: SimpleNamespace) -> None:
    found = traces(files_below(planted.source))
    texts = {
        name for name in NAMES if name in OWN or pydicom.datadict.dictionary_VR(name)[:2] not in ("DA", "TM", "DT")
    }
    assert texts - found.keys() <= {"InstitutionName", "PatientID", "StationName"}  # which hold words of their own
    assert {DATE, TIME, WIDE} <= found.keys()
    assert len(texts) > 700


def test_nothing_of_a_dicom_header_is_written_or_printed(planted: SimpleNamespace, caplog, recwarn) -> None:
    caplog.set_level(logging.DEBUG)
    out, link = planted.work / "ready", planted.work.parent / "linkage.csv"
    link.unlink(missing_ok=True)
    commands = [
        ("prepare_data.py", planted.source, out, "--linkage", link, "--name", "x"),
        (
            "publish.py",
            "dataset",
            out,
            "--repo",
            "anna/x",
            "--license",
            "cc-by-4.0",
            "--dry-run",
            planted.work / "tree",
        ),
        ("audit.py", out, "--out", planted.work / "audit"),
    ]
    printed = {}
    for command in commands:
        done = run_here(*command, environment={"BRAINMRI_CACHE": str(planted.cache)})
        assert done.returncode == 0, done.stderr
        printed[f"printed by {command[0]}"] = (done.stdout + done.stderr).encode()
    places = files_below(planted.work, planted.cache) | printed
    places["log"] = caplog.text.encode()
    places["warnings"] = " ".join(str(one.message) for one in recwarn).encode()
    assert len([name for name in places if name.endswith(".png") and "ready" in name]) == 18
    assert "12 files and slices rejected" in printed["printed by prepare_data.py"].decode()
    assert traces(places) == {}
    assert traces({"linkage": link.read_bytes()}).keys() >= {"patient folder", "file name", "patient id"}
    print(f"{len(MARKERS)} words x {len(places)} places")


def failures(planted: SimpleNamespace, folder: Path) -> Iterator[tuple[str, dict[str, object]]]:
    ids = folder / "labels.csv"
    ids.write_text(f"patient,label\n{MARKERS['patient id']}99,glioma\n")
    twice = folder / "twice.csv"
    twice.write_text(f"file_name,label\nglioma/{MARKERS['patient folder']}0,a\nglioma/{MARKERS['patient folder']}0,b\n")
    yield "no row fits", {"labels": ids}
    yield "two labels", {"labels": twice}
    yield "patients as classes", {"label_level": 2}
    yield "no series", {"series": "nothing"}
    yield "no plane", {"plane": "coronal"}
    yield "no patient", {"patient_pattern": "nothing(x)"}
    yield "no level", {"patient_level": 9}


def test_no_fault_quotes_a_scan(planted: SimpleNamespace, tmp_path: Path) -> None:
    for what, settings in failures(planted, tmp_path):
        with pytest.raises(ValueError, match=r"\w") as refused:
            prepare(planted.source, tmp_path / "out", **settings)
        chain, error = [], refused.value
        while error is not None:
            chain.append(repr(error))
            error = error.__cause__ or error.__context__
        assert traces({what: " ".join(chain).encode()}) == {}


def test_no_object_shows_what_it_holds(planted: SimpleNamespace) -> None:
    found = find_scans(planted.source, SourceFiles(planted.source), "dicom", ScanOptions())
    shown = [repr(found), *map(repr, found.scans), repr(read_scan(next(planted.source.glob("*/*0"))))]
    assert traces({"repr": " ".join(shown).encode()}) == {}


def test_nothing_of_a_nifti_header_or_name_is_written(tmp_path: Path) -> None:
    word = MARKERS["private"]
    source = tmp_path / "volumes"
    for number in range(6):
        folder = source / ("glioma", "notumor")[number % 2] / f"{MARKERS['patient folder']}{number}"
        folder.mkdir(parents=True)
        image = nibabel.Nifti1Image(head(number, 4)[:, ::-1, ::-1].T.copy(), affine())
        image.header["descrip"], image.header["aux_file"] = word, word
        image.header["intent_name"], image.header["db_name"] = word, word[:10]
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", (word * 3).encode()))
        nibabel.save(image, folder / f"{MARKERS['file name']} {DATE} T1.nii.gz")
        if number % 2 == 0:
            write_volume(folder / f"{MARKERS['file name']} {DATE} Mask.nii.gz", lesion(4, {1: 6}))
        (folder / f"{MARKERS['file name']}.nii").write_bytes(bytes(10))
    done = run_here("prepare_data.py", source, tmp_path / "work" / "out", "--masks", "*mask*", "--slices", "mask")
    assert done.returncode == 0, done.stderr
    places = files_below(tmp_path / "work") | {"printed": (done.stdout + done.stderr).encode()}
    assert "6 files and slices rejected" in done.stdout
    assert traces(places) == {}
    assert np.count_nonzero([name.endswith(".png") for name in places]) > 6
