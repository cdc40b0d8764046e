import numpy as np
import pytest
from PIL import Image

from brainmri.data.dataset import open_prepared
from brainmri.data.phantom.generate import make_phantom
from brainmri.data.prepare import prepare
from brainmri.evaluation.ood import probe_sets as probe_sets_module
from brainmri.evaluation.ood.fit import probe_records
from brainmri.evaluation.ood.probe_sets import AbsentPackage, ProbeSet, probe_sets

SHIPPED = ("scikit-learn", "gradio, matplotlib", "matplotlib", "nibabel", "nilearn", "own images")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    raw = make_phantom(folder / "raw", subjects=16, size=32, slices_per_subject=4, progress=False)
    return open_prepared(prepare(raw, folder / "ready", layout="imagefolder", groups=raw / "groups.csv", name="p"))


def test_the_images_of_required_packages_are_there_and_are_images(data):
    seen = 0
    for probe in probe_sets(data):
        if probe.source not in SHIPPED:
            continue
        for image in probe.images():
            assert image.mode in ("L", "RGB")
            assert np.asarray(image).std() > 1  # none is blank
            seen += 1
    assert seen > 150


def test_no_image_both_chooses_and_tests(data):
    files = {"development": set(), "held back": set()}
    for probe in probe_sets(data):
        try:
            files[probe.use] |= {image.tobytes() for image in probe.images()}
        except AbsentPackage:
            assert probe.source not in SHIPPED
    assert len(files["development"]) > 30
    assert len(files["held back"]) > 50
    assert not files["development"] & files["held back"]


def test_own_images_are_turned_and_come_from_one_split_and_one_of_each_group(data):
    sets = {probe.name: probe for probe in probe_sets(data)}
    groups = data.index.iloc[data.rows("test")]["group_id"].nunique()
    turned = sets["test images, turned by 90 degrees"].images()
    assert len(turned) == groups
    originals = {np.asarray(Image.open(data.root / name)).tobytes() for name in data.index["file_name"]}
    test = data.index.iloc[data.rows("test")]["file_name"]
    own = {np.asarray(Image.open(data.root / name)).tobytes() for name in test}
    back = [np.rot90(np.asarray(image), -1).tobytes() for image in turned]
    assert set(back) <= own
    assert not {image.tobytes() for image in turned} & originals
    inverted = sets["test images, inverted"].images()
    assert {(255 - np.asarray(image)).tobytes() for image in inverted} <= own


def test_an_absent_package_is_listed_with_its_reason(monkeypatch):
    monkeypatch.setattr(probe_sets_module, "find_spec", lambda name: None)
    missing = [
        ProbeSet(
            "faces, grey", "scikit-image", "held back", "should be refused", lambda: probe_sets_module._lfw(slice(0, 9))
        ),
        ProbeSet(
            "head CT", "pydicom", "held back", "should be refused", lambda: probe_sets_module._dicom(("CT_small.dcm",))
        ),
    ]
    records = probe_records(missing, lambda images: pytest.fail("there is nothing to answer"))
    assert [record.absent for record in records] == ["skimage is not installed", "pydicom is not installed"]
    assert [(record.n, record.rejected, record.ci95) for record in records] == [(0, None, None)] * 2


def test_a_scan_is_shown_in_its_window_with_bones_bright():
    """A radiograph stored with white as the lowest value (MONOCHROME1) is shown the right way round."""
    from pydicom.data import get_testdata_file

    spine = np.asarray(probe_sets_module._dicom_image(get_testdata_file("CT_small.dcm", download=False)))
    assert spine.dtype == np.uint8
    assert (spine.min(), spine.max()) == (0, 255)
