"""DICOM: windows, inversions, colours, frames, and no word about the patient."""

import io
import logging
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from brainmri.io.limits import Limits, UploadError
from brainmri.io.open import open_bytes, open_upload

from .good import NOISE, PATIENT, RAMP, dataset, dicom, written

EVEN = np.linspace(0, 255, RAMP.size)


def pixels(data: bytes, index: int = 0) -> np.ndarray:
    upload = open_bytes(data)
    return np.asarray(upload.image(upload.planes[0], index)).astype(int)


def shipped(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(str(path))


def test_without_a_window_from_dark_to_bright():
    upload = open_bytes(dicom())
    assert (upload.kind, upload.planes, upload.slices("slice")) == ("DICOM", ("slice",), 1)
    assert upload.image("slice", 0).mode == "L"
    assert np.abs(pixels(dicom()).ravel() - EVEN).max() <= 2  # the darkest and brightest half percent are cut off


def test_monochrome1_is_inverted():
    inverted = pixels(dicom(PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(inverted, np.flip(pixels(dicom())).reshape(inverted.shape))  # of a ramp
    window = {"WindowCenter": 20_000, "WindowWidth": 10_000}
    found = pixels(dicom(PhotometricInterpretation="MONOCHROME1", **window))
    assert np.array_equal(found, 255 - pixels(dicom(**window)))


@pytest.mark.parametrize("low", [0, 1000])
def test_a_head_stored_with_white_as_the_lowest_value_is_drawn_as_the_same_head(low):
    rng = np.random.default_rng(0)
    head = (np.hypot(*np.mgrid[-1:1:64j, -1:1:64j]) < 0.7) * rng.integers(300, 900, (64, 64))
    head[20:22, 20:22] = 3000  # far brighter than the rest
    values = head.astype(np.uint16)
    one = dicom(values, BitsStored=12, HighBit=11)
    other = dicom(4095 - low + 0 * values - values, BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(pixels(one), pixels(other))


def test_window():
    found = pixels(dicom(WindowCenter=20_000, WindowWidth=10_000))
    expected = np.clip((RAMP - 19_999.5) / 9_999 + 0.5, 0, 1) * 255  # DICOM PS3.3 C.11.2.1.2.1
    assert np.abs(found - expected).max() <= 1
    several = dicom(WindowCenter=[20_000, 1], WindowWidth=[10_000, 1])
    assert np.array_equal(pixels(several), found)


def test_window_applies_to_rescaled_values():
    plain = pixels(dicom(WindowCenter=20_000, WindowWidth=10_000))
    scaled = dicom(WindowCenter=39_000, WindowWidth=20_000, RescaleSlope=2, RescaleIntercept=-1000)
    assert np.abs(pixels(scaled) - plain).max() <= 1
    falling = pixels(dicom(RescaleSlope=-1, RescaleIntercept=0))
    assert np.abs(falling - (255 - pixels(dicom()))).max() <= 1


@pytest.mark.parametrize("window", [(np.inf, 1), (20_000, 0), (20_000, -5), (-9e9, 10)])
def test_a_useless_window_is_not_used(window):
    center, width = (f"{value:.6g}" for value in window)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = dicom(WindowCenter=center, WindowWidth=width)
    assert np.array_equal(pixels(data), pixels(dicom()))


def test_signed_values():
    assert np.abs(pixels(dicom((RAMP.astype(int) - 30_000).astype(np.int16))).ravel() - EVEN).max() <= 2


def test_colours():
    values = np.random.default_rng(5).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    assert open_bytes(dicom(values)).image("slice", 0).mode == "RGB"
    assert np.array_equal(pixels(dicom(values)), values)
    deep = dicom(values.astype(np.uint16) * 256 + 7)
    assert np.array_equal(pixels(deep), values)


def test_frames_are_slices():
    frames = np.stack([np.roll(RAMP, number) for number in range(5)])
    upload = open_bytes(dicom(frames, frames=5))
    assert (upload.slices("slice"), upload.middle("slice")) == (5, 2)
    for number in range(5):
        alone = pixels(dicom(frames[number]))  # in a range of its own
        assert np.abs(np.asarray(upload.image("slice", number)).astype(int) - alone).max() <= 2


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_ways_of_storing(syntax):
    scan = dataset()
    if syntax == RLELossless:
        scan.compress(RLELossless)
    elif syntax == ExplicitVRBigEndian:
        scan.PixelData = RAMP.astype(">u2").tobytes()
    scan.file_meta.TransferSyntaxUID = syntax
    assert np.array_equal(pixels(written(scan)), pixels(dicom()))


@pytest.mark.parametrize("implicit", [True, False])
def test_without_preamble_and_meta(implicit):
    scan, file = dataset(), io.BytesIO()
    del scan.file_meta
    scan.save_as(file, implicit_vr=implicit, little_endian=True)
    assert np.array_equal(pixels(file.getvalue()), pixels(dicom()))


@pytest.mark.parametrize(
    "name", ["693_J2KI.dcm", "JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm", "MR_small_RLE.dcm", "examples_ybr_color.dcm"]
)
def test_compressed_files_that_pydicom_ships(name):
    upload = open_upload(shipped(name))
    (plane,) = upload.planes
    values = pixel_array(shipped(name), index=upload.middle(plane))
    found = np.asarray(upload.image(plane, upload.middle(plane)))
    assert found.shape == values.shape
    assert np.corrcoef(found.ravel(), values.ravel())[0, 1] > 0.6  # a window clips


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("image_dfl.dcm", "deflated.*Export it uncompressed"),
        ("rtplan.dcm", "radiotherapy plan or its record, no image"),
        ("test-SR.dcm", "a report .structured text, no image."),
        ("MR_truncated.dcm", "broken or cut off"),
    ],
)
def test_files_that_cannot_be_drawn(name, words):
    with pytest.raises(UploadError, match=words):
        open_upload(shipped(name))


def test_limits():
    frames = np.stack([RAMP] * 4)
    with pytest.raises(UploadError, match="more than 3 frames"):
        open_bytes(dicom(frames, frames=4), Limits(slices=3))
    with pytest.raises(UploadError, match="more than 1,000 pixels"):
        open_bytes(dicom(), Limits(pixels=1000))


def odd_files() -> dict[str, bytes]:
    """Each holds the patient's data, and values that make pydicom complain and quote them."""
    good = dicom()
    return {
        "good": good,
        "alphabet": dicom(SpecificCharacterSet="ISO_IR 6").replace(b"ISO_IR 6", b"SECRETXX"),
        "number": dicom(WindowCenter="12345.5", WindowWidth=2).replace(b"12345.5", b"Secret!"),
        "frames": dicom(np.stack([RAMP] * 3), frames=3).replace(b"IS\x02\x003 ", b"IS\x02\x00Se"),
        "interpretation": good.replace(b"MONOCHROME2 ", b"SECRET^JANE "),
        "syntax": good.replace(b"1.2.840.10008.1.2.1\0", b"SECRET_SYNTAX______\0", 1),
        "identifier": good.replace(b"1.2.840.10008.5.1.4.1.1.4\0", b"Secret^Jane not an UID   \0"),
        "cut": good[:-100],
        "no pixels": good[: good.index(b"\xe0\x7f\x10\0OW")],
        "name for rows": good.replace(b"\x28\0\x10\0US\x02\0\x20\0", b"\x28\0\x10\0LO\x06\0Secret"),
    }


@pytest.mark.parametrize("kind", odd_files())
def test_nothing_about_the_patient_is_shown_logged_or_kept(kind, capfd, caplog):
    caplog.set_level(logging.NOTSET)
    data = odd_files()[kind]
    assert PATIENT.encode() in data
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            upload = open_bytes(data)
            said = repr(upload) + repr(upload.image("slice", 0).info)
        except UploadError:
            said = traceback.format_exc()
    out, err = capfd.readouterr()
    for text in (said, out, err, caplog.text, *(str(one.message) for one in caught)):
        assert not any(word in text.lower() for word in ("doe", "jane", "secret", "4711", "19700101"))
    assert caught == []
    assert caplog.records == []


def test_the_patients_data_are_not_in_memory():
    import pickle

    assert b"Secret" not in pickle.dumps(open_bytes(dicom()))


def test_images_of_8_bits_are_stretched_too():
    assert pixels(dicom(NOISE // 2 + 20)).max() == 255
