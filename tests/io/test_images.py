"""Good images: the right pixels, told by content."""

import io

import numpy as np
import pytest
from PIL import Image

from brainmri.io.decode import upright_8_bit
from brainmri.io.limits import Limits, UploadError
from brainmri.io.open import open_bytes, open_upload
from brainmri.io.read import read_image
from brainmri.io.sanitize import clean

from .good import NOISE, RAMP, chunk, image, pages

COLOUR = np.random.default_rng(4).integers(0, 256, (32, 40, 3), dtype=np.uint8)


def pixels(data: bytes, index: int = 0) -> np.ndarray:
    return np.asarray(open_bytes(data).image("slice", index))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"])
@pytest.mark.parametrize("values", [NOISE, COLOUR], ids=["grey", "colour"])
def test_images_are_read_as_everywhere_in_the_package(form, values, put):
    path = put(image(form, values), "named.wrongly")
    upload = open_upload(path)
    assert (upload.kind.upper(), upload.planes) == (form, ("slice",))
    assert (upload.slices("slice"), upload.middle("slice")) == (1, 0)
    expected = read_image(path).image
    assert upload.image("slice", 0).mode == expected.mode
    assert np.array_equal(upload.image("slice", 0), expected)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bits_are_scaled_and_not_saturated(form):
    found = pixels(image(form, RAMP)).ravel().astype(int)
    assert (found[0], found[-1]) == (0, 255)
    assert np.abs(found - np.linspace(0, 255, found.size)).max() <= 3


@pytest.mark.parametrize("order", ["<u2", ">u2", "<i4", "<f4"])
def test_deep_tiff_of_any_order(order):
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    file = io.BytesIO()
    tifffile.imwrite(file, RAMP.astype(order), byteorder=order[0])
    found = pixels(file.getvalue()).ravel().astype(int)
    assert np.abs(found - np.linspace(0, 255, found.size)).max() <= 3


def test_palette_and_transparency():
    palette = Image.fromarray(COLOUR).quantize(16)
    file = io.BytesIO()
    palette.save(file, "PNG")
    assert np.array_equal(pixels(file.getvalue()), np.asarray(palette.convert("RGB")))
    alpha = np.full((32, 40, 1), 255, np.uint8)
    alpha[:5] = 0
    found = pixels(image("PNG", np.concatenate([COLOUR, alpha], 2)))
    assert not found[:5].any()
    assert np.array_equal(found[5:], COLOUR[5:])
    values = NOISE.copy()
    values[values == 200] = 199
    values[3, 4] = 200
    assert pixels(image("PNG", values, transparency=200))[3, 4] == 0


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_photographs_are_turned_upright(form, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    exif[0x010E] = "a description"
    data = image(form, COLOUR, exif=exif)
    with Image.open(io.BytesIO(data)) as file:
        file.load()
        assert np.array_equal(pixels(data), np.asarray(upright_8_bit(file)))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_cleaned_files_keep_the_image_and_nothing_else(form):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "secret place"
    options = {"quality": 90} if form != "PNG" else {}
    data = image(form, COLOUR, exif=exif, **options) + b"secret end"
    cleaned = clean({"WEBP": "WebP"}.get(form, form), data)
    assert b"secret" not in cleaned
    with Image.open(io.BytesIO(data)) as before, Image.open(io.BytesIO(cleaned)) as after:
        assert after.getexif() == {0x0112: 6}
        assert np.array_equal(np.asarray(before), np.asarray(after))


def test_progressive_and_restarting_jpeg():
    large = np.tile(COLOUR, (4, 4, 1))
    for options in ({"progressive": True}, {"restart_marker_blocks": 1}, {"subsampling": 0, "optimize": True}):
        data = image("JPEG", large, **options)
        with Image.open(io.BytesIO(data)) as file:
            assert np.array_equal(pixels(data), np.asarray(file))


def test_pages_of_a_tiff_are_slices():
    upload = open_bytes(pages(5))
    assert (upload.slices("slice"), upload.middle("slice")) == (5, 2)
    for page in range(5):
        assert np.array_equal(upload.image("slice", page), np.roll(NOISE, page, 1))
    for plane, index in (("slice", 5), ("slice", -1), ("axial", 0)):
        with pytest.raises(UploadError, match="no such slice"):
            upload.image(plane, index)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_a_moving_image_the_first_frame(form):
    frames = [Image.fromarray(np.roll(COLOUR, 5 * number, 1)).convert("RGB") for number in range(3)]
    file = io.BytesIO()
    frames[0].save(file, form, save_all=True, append_images=frames[1:], lossless=True)
    with Image.open(io.BytesIO(file.getvalue())) as opened:
        first = np.asarray(opened.convert("RGB"))
    assert open_bytes(file.getvalue()).slices("slice") == 1
    assert np.array_equal(pixels(file.getvalue()), first)


def test_pixels_are_counted_before_they_are_decoded(monkeypatch):
    few = Limits(pixels=32 * 40)
    assert open_bytes(image("PNG"), few).image("slice", 0).size == (40, 32)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("was decoded"))
    larger = np.tile(NOISE, (2, 1))
    for form in ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"):
        with pytest.raises(UploadError, match="more than 1,280 pixels"):
            open_bytes(image(form, larger), few)


def test_other_limits(put):
    with pytest.raises(UploadError, match="more than 3 pages"):
        open_bytes(pages(4), Limits(slices=3))
    data = image("PNG")
    assert open_upload(put(data), Limits(file_bytes=len(data))).kind == "PNG"
    with pytest.raises(UploadError, match="larger than 1 MB"):
        open_upload(put(data), Limits(file_bytes=len(data) - 1))


def test_a_blank_page_among_others_is_drawn():
    images = [Image.fromarray(NOISE), Image.new("L", (40, 32), 9), Image.fromarray(np.zeros((32, 40), np.uint16))]
    file = io.BytesIO()
    images[0].save(file, "TIFF", save_all=True, append_images=images[1:])
    upload = open_bytes(file.getvalue())
    assert [np.asarray(upload.image("slice", page)).max() for page in (1, 2)] == [9, 0]


def test_more_memory_than_there_is_is_said_plainly(monkeypatch):
    def fail(self):
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(UploadError, match="more memory than there is"):
        open_bytes(image("PNG"))


def test_a_image_carries_no_notes():
    data = image("PNG")
    data = data[:33] + chunk(b"tEXt", b"Author\0somebody") + data[33:]
    assert open_bytes(data).image("slice", 0).info == {}
