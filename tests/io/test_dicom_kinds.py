"""Kinds of DICOM files: what says how to draw them, and what is no image at all."""

import struct

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless

from brainmri.io import dicom_pixels
from brainmri.io.limits import UploadError
from brainmri.io.open import open_bytes
from brainmri.io.scan import open_file

from .good import NOISE, RAMP, dataset, dicom, image, written

EVEN = np.linspace(0, 255, RAMP.size).reshape(RAMP.shape)


def drawn(data: bytes, index: int = 0) -> np.ndarray:
    scan = open_file(lambda: data)
    return np.asarray(scan.image(scan.planes[0], index)).astype(int)


def sequence(**values: object) -> Sequence:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return Sequence([item])


def table(entries: np.ndarray, bits: int, first: int = 0) -> Sequence:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.add_new("LUTData", "OW", entries.tobytes() + b"\0" * (entries.nbytes % 2))
    return Sequence([item])


# ------------------------------------------------------------------ windows, tables, padding


def test_one_bright_pixel_does_not_darken_the_slice():
    values = RAMP // 20
    bright = values.copy()
    bright[3, 4] = 60_000
    assert np.abs(np.delete(drawn(dicom(bright)) - drawn(dicom(values)), 3, 0)).max() <= 1


def test_window_functions():
    values = np.linspace(0, 1000, 1280).reshape(32, 40).round().astype(np.uint16)
    window = {"WindowCenter": 400, "WindowWidth": 200}
    linear, exact, sigmoid = (
        drawn(dicom(values, VOILUTFunction=function, **window)) for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID")
    )
    values = values.astype(float)
    assert np.abs(linear - np.clip((values - 399.5) / 199 + 0.5, 0, 1) * 255).max() <= 0.51
    assert np.abs(exact - np.clip((values - 400) / 200 + 0.5, 0, 1) * 255).max() <= 0.51
    assert np.abs(sigmoid - 255 / (1 + np.exp(-4 * (values - 400) / 200))).max() <= 0.51


@pytest.mark.parametrize("packed", [True, False])
def test_tables_of_8_bits(packed):
    values = np.resize(np.arange(4096), (64, 64)).astype(np.uint16)
    entries = np.linspace(0, 255, 4096).round().astype(np.uint8 if packed else np.uint16)
    found = drawn(dicom(values, BitsStored=12, HighBit=11, VOILUTSequence=table(entries, 8)))
    assert np.abs(found - entries.astype(int)[values]).max() == 0


@pytest.mark.parametrize(
    "wrong", [table(np.arange(10, dtype=np.uint8), 8) and sequence(LUTExplanation="x"), table(np.zeros(99, "u2"), 16)]
)
def test_the_window_in_the_place_of_a_wrong_table(wrong):
    window = {"WindowCenter": 20_000, "WindowWidth": 10_000}
    assert np.array_equal(drawn(dicom(VOILUTSequence=wrong, **window)), drawn(dicom(**window)))


def test_modality_table():
    entries = np.linspace(4000, 0, 65536).round().astype(np.uint16)
    found = drawn(dicom(ModalityLUTSequence=table(entries, 16)))
    assert np.abs(found - (255 - drawn(dicom()))).max() <= 1


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_left_out_of_the_range(interpretation):
    values = (RAMP // 40).astype(np.int16)
    padded = values.copy()
    padded[:8, :20] = -2000
    padded[:8, 20:] = -1990
    plain = drawn(dicom(values[8:].copy(), PhotometricInterpretation=interpretation))
    file = dataset(padded, PhotometricInterpretation=interpretation)
    file.add_new("PixelPaddingValue", "SS", -2000)
    file.add_new("PixelPaddingRangeLimit", "SS", -1990)
    found = drawn(written(file))
    assert found[:8].max() == 0
    assert np.array_equal(found[8:], plain)


@pytest.mark.parametrize("shift", [0, 4])
def test_bits_that_are_not_of_the_pixels_are_dropped(shift):
    values = (RAMP // 16 << shift).astype(np.uint16)
    overlay = np.zeros_like(values)
    overlay[:, ::2] = 0xF000 if shift == 0 else 0x000F
    stated = {"BitsStored": 12, "HighBit": 11 + shift}
    expected = drawn(dicom(RAMP // 16, BitsStored=12, HighBit=11))
    assert np.array_equal(drawn(dicom(values | overlay, **stated)), expected)
    file = dataset(values | overlay, **stated)
    file.file_meta.TransferSyntaxUID = JPEG2000Lossless
    frame = image("JPEG2000", values | overlay, irreversible=False)
    file.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    assert np.array_equal(drawn(written(file)), expected)


def test_signed_values_of_12_bits():
    values = (RAMP // 16 - 1200).astype(np.int16)
    kept = (values & 0x0FFF).astype(np.int16)  # the sign stands in bit 11
    assert np.array_equal(drawn(dicom(kept, BitsStored=12, HighBit=11)), drawn(dicom(values)))


@pytest.mark.parametrize("big", [True, False])
def test_palettes(big):
    colours = np.random.default_rng(0).integers(0, 256, (256, 3)).astype(np.uint16) * 257
    file = dataset(NOISE, PhotometricInterpretation="PALETTE COLOR")
    for name, values in zip(("Red", "Green", "Blue"), colours.T, strict=True):
        file.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [256, 0, 16])
        file.add_new(f"{name}PaletteColorLookupTableData", "OW", values.astype(">u2" if big else "<u2").tobytes())
    if big:
        file.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    assert np.array_equal(drawn(written(file)), (colours >> 8)[NOISE])
    file.SegmentedRedPaletteColorLookupTableData = b"\0\0"
    with pytest.raises(UploadError, match="colours in a segmented palette"):
        open_bytes(written(file))


# ------------------------------------------------------------------ shapes and places


@pytest.mark.parametrize(
    "stated",
    [
        {"PixelSpacing": [2, 1]},
        {"PixelAspectRatio": [2, 1]},
        {"ImagerPixelSpacing": [0.4, 0.2]},
        {"NominalScannedPixelSpacing": [1, 0.5]},
        {"PixelSpacing": [2, 1], "PixelAspectRatio": [1, 1]},
    ],
)
def test_pixels_are_square(stated):
    upload = open_bytes(dicom(**stated))
    assert upload.image("slice", 0).size == (40, 64)


@pytest.mark.parametrize(
    "stated", [{"PixelSpacing": [0, 0]}, {"PixelSpacing": [1000, 1]}, {"PixelAspectRatio": [1, 0]}]
)
def test_a_shape_that_makes_no_sense_is_passed_over(stated):
    assert open_bytes(dicom(**stated)).image("slice", 0).size == (40, 32)


def enhanced(frames: list[dict[str, object]], shared: dict[str, Sequence] | None = None, **changes: object) -> bytes:
    """frames: value of each pixel's multiple, and groups, for each."""
    stack = np.stack([RAMP // 40 * int(one.pop("times", 1)) for one in frames])
    file = dataset(stack, frames=len(frames), **changes)
    items = []
    for groups in frames:
        item = Dataset()
        for name, value in groups.items():
            setattr(item, name, value)
        items.append(item)
    file.PerFrameFunctionalGroupsSequence = Sequence(items)
    if shared:
        file.SharedFunctionalGroupsSequence = sequence(**shared)
    return written(file)


@pytest.mark.parametrize("own", [True, False])
def test_windows_and_slopes_of_functional_groups(own):
    groups = {
        "FrameVOILUTSequence": sequence(WindowCenter=1000, WindowWidth=500),
        "PixelValueTransformationSequence": sequence(RescaleSlope=2, RescaleIntercept=10),
        "PixelMeasuresSequence": sequence(PixelSpacing=[2, 1]),
    }
    data = enhanced([dict(groups), dict(groups)]) if own else enhanced([{}, {}], groups)
    window = {"WindowCenter": 1000, "WindowWidth": 500, "RescaleSlope": 2, "RescaleIntercept": 10}
    assert np.array_equal(drawn(data, 1), drawn(dicom(RAMP // 40, PixelSpacing=[2, 1], **window)))


def test_a_slope_for_each_frame_and_one_range_for_all():
    slopes = [1.0, 2.0, 0.5]
    data = enhanced(
        [{"PixelValueTransformationSequence": sequence(RescaleSlope=one, RescaleIntercept=0)} for one in slopes]
    )
    means = [drawn(data, k).mean() for k in range(3)]
    assert means[1] == pytest.approx(2 * means[0], rel=0.1) and means[2] == pytest.approx(means[0] / 2, rel=0.1)


def at(
    top: float, row: tuple[float, ...] = (1, 0, 0), down: tuple[float, ...] = (0, 1, 0), **more: object
) -> dict[str, object]:
    groups: dict[str, object] = {"PlaneOrientationSequence": sequence(ImageOrientationPatient=[*row, *down])}
    step = np.cross(row, down) * top
    groups["PlanePositionSequence"] = sequence(ImagePositionPatient=[float(one) for one in step])
    return groups | more


def test_frames_are_sorted_by_position():
    data = enhanced([at(3, times=4), at(1, times=2), at(2, times=3), at(0)])
    scan = open_file(lambda: data)
    assert (scan.planes, len(scan), scan.notes) == (("axial",), 4, ())
    means = [scan.slice(index=k).mean() for k in range(4)]
    assert means == sorted(means)


def test_time_points_the_first_that_shows_something():
    frames = [
        at(k, FrameContentSequence=sequence(TemporalPositionIndex=t), times=t - 1) for t in (1, 2, 3) for k in (1, 0)
    ]
    scan = open_file(lambda: enhanced(frames))
    assert len(scan) == 2
    assert np.array_equal(scan.slice(index=0), drawn(dicom(RAMP // 40)))
    assert any("time points, echoes" in note for note in scan.notes)


def test_stacks_in_several_planes():
    frames = [at(0), at(1), at(0, (0, 1, 0), (0, 0, -1)), at(1, (0, 1, 0), (0, 0, -1)), at(2, (0, 1, 0), (0, 0, -1))]
    scan = open_file(lambda: enhanced(frames))
    assert (scan.planes, scan.count("axial"), scan.count("sagittal")) == (("sagittal", "axial"), 2, 3)
    assert any("several planes" in note for note in scan.notes)


def test_a_slice_is_turned_to_the_display_convention():
    stated = {"ImageOrientationPatient": [0, -1, 0, -1, 0, 0], "ImagePositionPatient": [0, 0, 0]}
    assert np.array_equal(drawn(dicom(**stated)), drawn(dicom())[::-1, ::-1].T)


# ------------------------------------------------------------------ mosaics


def csa(count: int) -> bytes:
    """A Siemens header that names nothing but the number of slices."""
    value = str(count).encode() + b"\0"
    tag = struct.pack("<64si4s3i", b"NumberOfImagesInMosaic", 1, b"US\0\0", 0, 1, 77)
    value = value.ljust((len(value) + 3) // 4 * 4, b"\0")
    return b"SV10\4\3\2\1" + struct.pack("<2I", 1, 77) + tag + struct.pack("<4i", len(value), len(value), 77, 0) + value


@pytest.mark.parametrize("stated", ["csa", "element", ""])
def test_a_mosaic_is_taken_apart(stated):
    tile = np.zeros((32, 32), np.uint16)
    tile[6:26, 8:24] = 100
    tiles = [tile * (k + 3) if k < 7 else tile * 0 for k in range(9)]
    mosaic = np.block([tiles[:3], tiles[3:6], tiles[6:]])
    file = dataset(mosaic, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    file.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    if stated == "csa":
        file.add_new(0x00290010, "LO", "SIEMENS CSA HEADER")
        file.add_new(0x00291010, "OB", csa(7))
    elif stated:
        file.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
        file.add_new(0x0019100A, "US", 7)
    scan = open_file(lambda: written(file))
    assert (scan.planes, len(scan), scan.slice().shape) == (("axial",), 7, (32, 32))
    means = [scan.slice(index=k).mean() for k in range(7)]
    assert means == sorted(means) and means[0] > 0
    assert bool(scan.notes) == (not stated)


def test_a_mosaic_that_cannot_be_taken_apart_is_said():
    file = dataset(np.tile(RAMP, (2, 2)), ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    with pytest.raises(UploadError, match=r"Siemens mosaic .* does not say how many slices"):
        open_bytes(written(file))


# ------------------------------------------------------------------ what is no image, and what needs more packages


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("66.4", "a segmentation"),
        ("66.7", "a segmentation"),
        ("481.2", "dose distribution"),
        ("481.3", "structure set"),
        ("481.5", "radiotherapy plan"),
        ("11.1", "presentation state"),
        ("88.33", "a report"),
        ("88.59", "a report"),
        ("104.1", "a document"),
        ("9.1.1", "waveform"),
        ("4.2", "spectroscopy"),
        ("66", "raw data"),
    ],
)
def test_what_is_no_image_is_named(kind, words):
    with pytest.raises(UploadError, match=f"This DICOM file is .*{words}.*Use the images"):
        open_bytes(dicom(SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{kind}"))


def packed(syntax: str, frame: bytes, values: np.ndarray = NOISE) -> bytes:
    file = dataset(values)
    file.file_meta.TransferSyntaxUID = syntax
    file.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    return written(file)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEGLosslessSV1])
def test_a_missing_decoder_is_said(syntax, monkeypatch):
    class Without:
        is_available = False

    monkeypatch.setattr(dicom_pixels, "get_decoder", lambda _: Without)
    with pytest.raises(UploadError, match=r'needs pylibjpeg. Install it \(pip install "brainmri\[medical\]"\)'):
        open_bytes(packed(syntax, b"\xff\xd8"))


def test_jpeg_ls_opens_with_the_extra():
    libjpeg = pytest.importorskip("pylibjpeg", reason='needs pip install "brainmri[medical]"')
    assert libjpeg
    from pydicom.data import get_testdata_file
    from pydicom.pixels import pixel_array

    for name in ("MR_small_jpeg_ls_lossless.dcm", "SC_rgb_jpeg_gdcm.dcm"):
        path = get_testdata_file(name, download=False)
        with open(str(path), "rb") as file:  # noqa: PTH123 - a name that pydicom gave
            found = drawn(file.read())
        values = pixel_array(str(path))
        assert found.shape == values.shape and np.corrcoef(found.ravel(), values.ravel())[0, 1] > 0.9


def frame_header(kind: int, rows: int, columns: int, channels: int = 1) -> bytes:
    head = struct.pack(">BHHB", 8, rows, columns, channels) + b"\1\x11\0" * channels
    return bytes((0xFF, kind)) + struct.pack(">H", len(head) + 2) + head


SCAN = b"\xff\xda\0\x08\1\1\0\0\0\0"


@pytest.mark.parametrize("kind", [0xC0, 0xC3, 0xF7])
def test_the_size_of_a_compressed_frame_is_read(kind):
    good = b"\xff\xd8" + frame_header(kind, 32, 40) + SCAN + b"\1\2\xff\0\3\xff\xd9"
    assert dicom_pixels.jpeg_header(good) == (40, 32, 1, 8, kind)


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff\xd8\xff\xd9",
        frame_header(0xC3, 32, 40) + SCAN + frame_header(0xC3, 60_000, 60_000) + SCAN,
        frame_header(0xF7, 32, 40) + b"\xff\xf8\0\x09\4\4\0\0\xea\x60" + SCAN,
        frame_header(0xC3, 0, 40) + SCAN + b"\xff\xdc\0\4\xea\x60",
        frame_header(0xC3, 32, 40) + SCAN * 1000,
    ],
)
def test_a_frame_of_another_size_than_it_states_is_refused(frame):
    with pytest.raises(UploadError, match="broken or cut off"):
        dicom_pixels.jpeg_header(b"\xff\xd8" + frame)


def test_a_frame_larger_than_its_file_says_is_refused():
    frame = image("JPEG", np.zeros((400, 400), np.uint8))
    with pytest.raises(UploadError, match="broken or cut off"):
        open_bytes(packed(JPEGBaseline8Bit, frame))
