"""Images of more than 8 bits: the same picture however they are stored, for prepare, predict and the demo."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brainmri import read_scan
from brainmri.io.decode import RejectedImage, upright_8_bit
from brainmri.io.limits import UploadError
from brainmri.io.open import open_bytes, open_upload
from brainmri.io.read import read_image

from .good import deep_png, image

tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")

ROWS, COLUMNS = np.mgrid[-1:1:60j, -1:1:76j]
HEAD = ROWS**2 + COLUMNS**2 / 0.7 < 0.8
SLICE = (HEAD * (600 + 300 * COLUMNS + 900 * ROWS**2)).astype(np.uint16)  # 12 bits
SLICE[20:28, 30:40] = 4095
FLOAT = (SLICE / 4095).astype(np.float32)
TYPES = ["u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


def tiff(values: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, metadata=None, **{"photometric": "minisblack", **options})
    return file.getvalue()


def drawn(data: bytes, folder: Path) -> np.ndarray:
    """The picture, which is the same in prepare and audit, in predict, and in the demo."""
    file = folder / "file"
    file.write_bytes(data)
    found = read_image(file).image
    for other in (read_scan(file).image(), open_upload(file).image("slice", 0)):
        assert other.mode == found.mode
        assert np.array_equal(other, found)
    return np.asarray(found)


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    found = np.asarray(open_bytes(image("PNG", SLICE)).image("slice", 0))
    assert (found[0, 0], found[24, 35]) == (0, 255)
    assert 20 < found[30, 20] < 120
    return found


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("meaning", ["minisblack", "miniswhite"])
def test_tiff_of_every_type_and_byte_order(tmp_path, expected, order, kind, meaning):
    values = (FLOAT if kind == "f2" else SLICE).astype(kind)
    if meaning == "miniswhite":
        values = values.max() - values
    found = drawn(tiff(values, byteorder=order, photometric=meaning), tmp_path)
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("tile", [None, (32, 16)], ids=["strips", "tiles"])
@pytest.mark.parametrize(("compression", "predictor"), [(None, None), ("zlib", None), ("zlib", 2)])
@pytest.mark.parametrize("layout", ["grey", "contig", "separate"])
def test_tiff_of_strips_tiles_planes_and_predictors(tmp_path, expected, tile, compression, predictor, layout):
    options = {"tile": tile, "compression": compression, "predictor": predictor}
    values = 4095 - SLICE
    if layout == "grey":
        options |= {"photometric": "miniswhite"}
    else:
        values = np.stack([SLICE] * 3, 0 if layout == "separate" else 2)
        options |= {"photometric": "rgb", "planarconfig": layout}
    options |= {} if tile else {"rowsperstrip": 7}
    found = drawn(tiff(values, **options), tmp_path)
    assert np.array_equal(found, expected if layout == "grey" else np.stack([expected] * 3, 2))


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize("values", [SLICE, SLICE.astype(np.float32)], ids=["16 bits", "float"])
def test_tiff_as_libtiff_compresses_it(tmp_path, expected, compression, values):
    assert np.array_equal(drawn(image("TIFF", values, compression=compression), tmp_path), expected)


def test_tiff_of_12_bits_without_gaps(tmp_path, expected):
    bits = np.unpackbits(SLICE.astype(">u2").view(np.uint8).reshape(*SLICE.shape, 2), axis=2)[:, :, 4:]
    packed = np.packbits(bits.reshape(len(SLICE), -1), axis=1)
    data = tiff(packed)
    order = "<" if data.startswith(b"II") else ">"
    for tag, value in ((256, SLICE.shape[1]), (258, 12)):
        place = next(at for at in range(8, len(data)) if data[at : at + 2] == struct.pack(f"{order}H", tag))
        (kind,) = struct.unpack_from(f"{order}H", data, place + 2)
        data = data[: place + 8] + struct.pack(f"{order}{'H2x' if kind == 3 else 'L'}", value) + data[place + 12 :]
    assert np.array_equal(drawn(data, tmp_path), expected)


@pytest.mark.parametrize(
    ("kind", "tile"),
    [(np.bool_, None), (np.uint8, None), (np.uint8, (16, 16)), (np.int8, None), (np.int8, (16, 16))],
    ids=["1 bit", "8 bits", "8 bits, tiles", "8 bits with sign", "8 bits with sign, tiles"],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_shallow_tiff_in_which_0_is_white(tmp_path, kind, tile, compression):
    values = (FLOAT > 0.1) if kind == np.bool_ else (FLOAT * 100).round().astype(kind)
    stored = ~values if kind == np.bool_ else (255 if kind == np.uint8 else 100) - values
    found = drawn(tiff(stored, photometric="miniswhite", tile=tile, compression=compression), tmp_path)
    if kind == np.int8:  # in its own range
        assert np.corrcoef(found.ravel(), values.ravel())[0, 1] > 0.99
    else:
        assert np.array_equal(found, values * 255 if kind == np.bool_ else values)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_12_bit_values(tmp_path, expected, channels, interlaced):
    opaque = np.full_like(SLICE, 65535)
    samples = {1: [SLICE], 2: [SLICE, opaque], 3: [SLICE] * 3, 4: [SLICE] * 3 + [opaque]}[channels]
    found = drawn(deep_png(np.stack(samples, 2), (0, 1, 2, 3, 4), interlaced), tmp_path)
    assert np.array_equal(found, expected if channels < 3 else np.stack([expected] * 3, 2))


def test_what_is_transparent_is_black_and_counts_for_nothing(tmp_path, expected):
    bright = np.where(HEAD, SLICE, 60000).astype(np.uint16)
    alpha = np.where(HEAD, 65535, 0).astype(np.uint16)
    inside = drawn(deep_png(np.stack([bright, alpha], 2)), tmp_path)
    assert not inside[~HEAD].any()
    assert inside[24, 35] == 255
    assert np.array_equal(drawn(deep_png(bright[:, :, None], key=struct.pack(">H", 60000)), tmp_path), inside)
    stored = tiff(np.stack([bright, alpha], 2), extrasamples=["unassalpha"], planarconfig="contig")
    assert np.array_equal(drawn(stored, tmp_path), inside)
    half = drawn(deep_png(np.stack([SLICE, np.full_like(SLICE, 32768)], 2)), tmp_path)
    assert np.abs(half - expected / 2).max() <= 1


@pytest.mark.parametrize("turn", range(1, 9))
def test_deep_images_are_turned_upright(tmp_path, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    shallow = drawn(image("PNG", (FLOAT * 255).astype(np.uint8), exif=exif), tmp_path)
    for form in ("PNG", "TIFF"):
        found = drawn(image(form, SLICE, exif=exif), tmp_path)
        assert found.shape == shallow.shape
        assert np.corrcoef(found.ravel(), shallow.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("kind", ["u2", "f2", "f4", "f8"])
def test_pages_are_drawn_in_one_range(tmp_path, kind):
    pages = np.stack([FLOAT, FLOAT / 4, FLOAT * 0]) * (4095 if kind == "u2" else 1)
    file = tmp_path / "pages.tif"
    file.write_bytes(tiff(pages.astype(kind)))
    scan = read_scan(file)
    first, second, third = (scan.slice("slice", page).astype(int) for page in range(3))
    assert first[24, 35] == 255
    assert np.abs(second - first / 4).max() <= 2
    assert not third.any()
    with pytest.raises(RejectedImage, match="3 frames or pages"):
        read_image(file)


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        (FLOAT.astype(np.complex64), {}, "numbers of another kind of 64 bits"),
        (np.stack([SLICE] * 3), {"planarconfig": "separate"}, "3 channels that are neither grey nor red"),
        (np.stack([SLICE] * 2, 2), {"planarconfig": "contig", "extrasamples": [0]}, "2 channels"),
        (np.where(HEAD, FLOAT, np.nan), {}, "no numbers"),
    ],
    ids=["complex", "channels", "more samples", "NaN"],
)
def test_what_is_not_drawn_is_never_called_broken(tmp_path, values, options, words):
    file = tmp_path / "a.tif"
    file.write_bytes(tiff(values, **options))
    with pytest.raises(RejectedImage, match=words) as rejected:
        read_image(file)
    with pytest.raises(UploadError, match=words):
        open_upload(file)
    assert "broken" not in str(rejected.value)


@pytest.mark.parametrize("values", [SLICE, SLICE.astype(np.float32)], ids=["16 bits", "float"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_deep_files_that_are_cut_off_are(tmp_path, values, compression):
    for data in (tiff(values, compression=compression, rowsperstrip=7), deep_png(np.stack([SLICE] * 2, 2))):
        file = tmp_path / "cut"
        file.write_bytes(data[: len(data) * 3 // 4])
        with pytest.raises(RejectedImage, match="broken"):
            read_image(file)


def test_open_tiff_files_in_which_0_is_white(expected):
    with Image.open(io.BytesIO(tiff(4095 - SLICE, photometric="miniswhite"))) as file:
        assert np.array_equal(upright_8_bit(file), expected)
