import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import FileMetaDataset

from brainmri.io import read
from brainmri.io.decode import RejectedImage
from brainmri.io.open import is_archive, open_upload
from brainmri.io.read import check_array, read_image

from .sources import noise, save

GREY = noise(1, (24, 20))
COLOUR = noise(2, (24, 20, 3))


def pixels(checked) -> np.ndarray:
    return np.asarray(checked.image)


def decoded(checked) -> Image.Image:
    return Image.open(io.BytesIO(checked.encoded))


@pytest.mark.parametrize("values", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp", ".webp"])
def test_plain_images_keep_their_pixels(tmp_path, values, suffix):
    file = save(values, tmp_path / f"a{suffix}")
    checked = read_image(file)
    assert checked.suffix == (".jpg" if suffix == ".jpg" else ".png")
    expected = "RGB" if values.ndim == 3 or suffix == ".webp" else "L"  # WebP has no grey mode
    assert checked.image.mode == decoded(checked).mode == expected
    assert np.array_equal(pixels(checked), np.asarray(decoded(checked)))
    with Image.open(file) as original:
        assert np.array_equal(pixels(checked), np.asarray(original))
    assert checked.size == file.stat().st_size


def jpeg(values, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("options", [{}, {"quality": 95, "subsampling": 0}, {"optimize": True}, {"quality": 30}])
@pytest.mark.parametrize("values", [GREY, COLOUR, GREY // 200 * 255, np.pad(COLOUR, ((0, 40), (0, 40), (0, 0)))])
def test_the_coded_pixels_of_a_jpeg_are_kept_as_they_are(tmp_path, values, options):
    (tmp_path / "a.jpg").write_bytes(data := jpeg(values, **options))
    checked = read_image(tmp_path / "a.jpg")
    assert checked.suffix == ".jpg"
    assert checked.encoded[-100:] == data[-100:]
    (tmp_path / "b.jpg").write_bytes(checked.encoded)
    assert read_image(tmp_path / "b.jpg").encoded == checked.encoded


@pytest.mark.parametrize("behind", [b"A", b"ANNA", b"ANNA^PATIENT of the ward"])
@pytest.mark.parametrize("values", [GREY, COLOUR, np.pad(COLOUR, ((0, 40), (0, 40), (0, 0)))])
def test_bytes_behind_the_last_coded_pixel_are_not_kept(tmp_path, values, behind):
    """Between it and the end of the file, where every decoder passes over them."""
    data = jpeg(values)
    (tmp_path / "a.jpg").write_bytes(data[:-2] + behind + data[-2:])
    checked = read_image(tmp_path / "a.jpg")
    assert checked.suffix == ".png"
    assert np.array_equal(pixels(checked), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("options", [{"progressive": True}, {"restart_marker_blocks": 1}])
def test_jpeg_files_of_other_kinds_become_png(tmp_path, options):
    (tmp_path / "a.jpg").write_bytes(data := jpeg(COLOUR, **options))
    checked = read_image(tmp_path / "a.jpg")
    assert checked.suffix == ".png"
    assert np.array_equal(pixels(checked), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("name", ["photo.jpg", "PHOTO.JPG", "photo", "a b ü.jpeg"])
def test_suffix_is_told_by_content(tmp_path, name):
    save(GREY, tmp_path / name, format="PNG")
    assert read_image(tmp_path / name).suffix == ".png"


@pytest.mark.parametrize("suffix", [".gif", ".pgm", ".jp2"])
def test_other_formats_become_png(tmp_path, suffix):
    options = {"irreversible": False} if suffix == ".jp2" else {}
    checked = read_image(save(GREY, tmp_path / f"a{suffix}", **options))
    assert checked.suffix == ".png"
    assert decoded(checked).format == "PNG"
    assert np.array_equal(np.asarray(decoded(checked).convert("L")), GREY)


def test_cmyk_becomes_rgb(tmp_path):
    file = tmp_path / "a.jpg"
    Image.fromarray(COLOUR).resize((64, 64)).convert("CMYK").save(file, quality=100)
    checked = read_image(file)
    assert (checked.image.mode, checked.suffix) == ("RGB", ".png")
    expected = np.asarray(Image.fromarray(COLOUR).resize((64, 64))).astype(int)
    assert np.abs(pixels(checked) - expected).mean() < 8


def test_transparent_parts_are_black(tmp_path):
    alpha = np.full((24, 20, 1), 255, np.uint8)
    alpha[:5] = 0
    checked = read_image(save(np.concatenate([COLOUR, alpha], 2), tmp_path / "rgba.png"))
    assert checked.image.mode == decoded(checked).mode == "RGB"
    assert not pixels(checked)[:5].any()
    assert np.array_equal(pixels(checked)[5:], COLOUR[5:])


def test_grey_with_alpha_stays_grey(tmp_path):
    alpha = np.full((24, 20), 255, np.uint8)
    alpha[:5] = 0
    checked = read_image(save(np.stack([GREY, alpha], 2), tmp_path / "la.png"))
    assert checked.image.mode == decoded(checked).mode == "L"
    assert not pixels(checked)[:5].any()
    assert np.array_equal(pixels(checked)[5:], GREY[5:])


def test_transparent_colour_of_a_grey_png_is_black(tmp_path):
    values = GREY.copy()
    values[values == 200] = 0
    values[3, 4] = 200
    checked = read_image(save(values, tmp_path / "a.png", transparency=200))
    values[3, 4] = 0
    assert np.array_equal(pixels(checked), values)
    assert "transparency" not in decoded(checked).info


def test_palette_becomes_rgb(tmp_path):
    image = Image.fromarray(COLOUR).quantize(16)
    image.save(tmp_path / "a.png")
    checked = read_image(tmp_path / "a.png")
    assert checked.image.mode == decoded(checked).mode == "RGB"
    assert np.array_equal(pixels(checked), np.asarray(image.convert("RGB")))


def test_one_bit_becomes_black_and_white(tmp_path):
    checked = read_image(save(GREY > 127, tmp_path / "a.png"))
    assert checked.image.mode == "L"
    assert np.array_equal(pixels(checked), np.where(GREY > 127, 255, 0))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("a.png", GREY.astype(np.uint16) * 16),  # 12-bit values in 16 bits
        ("a.tif", GREY.astype(np.uint16) + 30_000),
        ("a.tif", GREY.astype(np.int32) * 1000 - 70_000),
        ("a.tif", GREY.astype(np.float32) / 1000 - 0.1),
    ],
    ids=["16-bit PNG", "16-bit TIFF", "32-bit TIFF", "float TIFF"],
)
def test_more_than_8_bits_are_scaled_by_their_robust_range(tmp_path, name, values):
    checked = read_image(save(values, tmp_path / name))
    low, high = int(GREY.min()), int(GREY.max())
    expected = np.round((GREY.astype(float) - low) * 255 / (high - low))
    assert (checked.image.mode, checked.suffix) == ("L", ".png")
    assert np.abs(pixels(checked) - expected).max() <= 3
    assert (pixels(checked).min(), pixels(checked).max()) == (0, 255)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_turn_is_applied_and_removed(tmp_path, suffix):
    image = Image.new("RGB", (32, 16))
    image.paste((255, 255, 255), (0, 0, 8, 16))  # the left quarter is white
    exif = Image.Exif()
    exif[read.ORIENTATION] = 6  # to be turned by 90 degrees clockwise
    image.save(tmp_path / f"a{suffix}", exif=exif)
    checked = read_image(tmp_path / f"a{suffix}")
    assert checked.image.size == decoded(checked).size == (16, 32)
    assert pixels(checked)[:6].mean() > 240
    assert pixels(checked)[10:].mean() < 15
    assert checked.suffix == ".png"
    assert read.ORIENTATION not in decoded(checked).getexif()


def test_exif_that_says_upright_goes_without_a_change_of_the_pixels(tmp_path):
    exif = Image.Exif()
    exif[read.ORIENTATION] = 1
    checked = read_image(save(GREY, tmp_path / "a.jpg", exif=exif))
    assert checked.encoded == read_image(save(GREY, tmp_path / "b.jpg")).encoded
    assert b"Exif" not in checked.encoded


def test_profile_of_the_old_mode_is_not_carried_over(tmp_path):
    file = tmp_path / "a.jpg"
    Image.fromarray(COLOUR).convert("CMYK").save(file, icc_profile=b"profile for CMYK")
    assert "icc_profile" not in decoded(read_image(file)).info


def reason(file) -> str:
    with pytest.raises(RejectedImage) as caught:
        read_image(file)
    return str(caught.value)


def test_files_that_are_no_images(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not an image\n")
    (tmp_path / "page.ps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n")
    assert "empty" in reason(tmp_path / "empty.jpg")
    assert "not an image" in reason(tmp_path / "text.jpg")
    assert "not an image" in reason(tmp_path / "page.ps")  # Pillow would start Ghostscript
    assert "no such file" in reason(tmp_path / "absent.jpg")
    assert "not a regular file" in reason(tmp_path)


def test_reason_does_not_change_between_runs(tmp_path):
    (tmp_path / "text.jpg").write_text("not an image\n")
    assert reason(tmp_path / "text.jpg") == reason(tmp_path / "text.jpg")
    assert "0x" not in reason(tmp_path / "text.jpg")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp", ".webp", ".gif"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_truncated_files(tmp_path, suffix, kept):
    file = save(noise(3, (64, 64, 3)), tmp_path / f"a{suffix}")
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * kept)])
    assert reason(file)


def test_truncated_file_says_so(tmp_path):
    file = save(noise(3, (64, 64)), tmp_path / "a.jpg")
    file.write_bytes(file.read_bytes()[:-500])
    assert "broken" in reason(file)
    assert "truncated" in reason(file)


def test_damaged_png(tmp_path):
    file = save(GREY, tmp_path / "a.png")
    data = bytearray(file.read_bytes())
    data[60] ^= 0xFF
    file.write_bytes(data)
    assert "broken" in reason(file)


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".webp", ".png"])
def test_several_frames(tmp_path, suffix):
    frames = [Image.fromarray(noise(seed, (16, 16, 3))) for seed in range(3)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    assert "3 frames or pages" in reason(tmp_path / f"a{suffix}")


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.mark.parametrize("side", [6_400, 10_000, 12_000, 20_000])  # below, above Pillow's warning, above its error
def test_huge_images_are_rejected_by_their_header(tmp_path, side, monkeypatch):
    (tmp_path / "a.png").write_bytes(png_header(side, side))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("was decoded"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "too large" in reason(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000"])
def test_long_images_of_few_pixels_are_rejected_by_their_header(tmp_path, kind, monkeypatch):
    # resizing 8 x 2,097,152 pixels took 1.2 GB; the weights of a resampling grow with a side, not with the area
    long = np.resize(noise(1, (9_000, 8)), (9_000, 8))
    for name, values in (("tall", long), ("wide", long.T), ("large", np.resize(long, (200, 8_193)))):
        Image.fromarray(np.ascontiguousarray(values)).save(tmp_path / name, format=kind)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("was decoded"))
    for name, size in (("tall", "8x9000"), ("wide", "9000x8"), ("large", "8193x200")):
        assert ("too long: at most" if kind == "TIFF" else f"too long: {size} pixels") in reason(tmp_path / name)


def test_long_images_that_are_read(tmp_path):
    assert read_image(save(noise(1, (8, 512)), tmp_path / "strip.png")).image.size == (512, 8)
    assert "too long: 513x8" in reason(save(noise(1, (8, 513)), tmp_path / "longer.png"))
    assert read_image(save(np.resize(GREY, (128, 8192)), tmp_path / "wide.png")).image.size == (8192, 128)


def test_size_limits(tmp_path, monkeypatch):
    assert "too small: 7x30" in reason(save(noise(1, (30, 7)), tmp_path / "small.png"))
    assert read_image(save(noise(1, (8, 8)), tmp_path / "ok.png")).image.size == (8, 8)
    monkeypatch.setattr(read, "MAX_PIXELS", 24 * 20)
    assert read_image(save(GREY, tmp_path / "just.png")).image.size == (20, 24)
    assert "too large: 20x25" in reason(save(noise(1, (25, 20)), tmp_path / "over.png"))
    monkeypatch.setattr(read, "MAX_BYTES", 50)
    assert "bytes" in reason(tmp_path / "just.png")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers(tmp_path, bad):
    values = GREY.astype(np.float32)
    values[2, 3] = bad
    assert "NaN" in reason(save(values, tmp_path / "a.tif"))


@pytest.mark.parametrize(
    "values", [np.full((9, 9), 3.5, np.float32), np.full((9, 9), 7, np.uint8), np.full((9, 9, 3), 7, np.uint8)]
)
def test_blank_images(tmp_path, values):
    assert "blank" in reason(save(values, tmp_path / "a.tif"))


def test_image_of_one_colour_that_is_not_blank(tmp_path):
    values = np.zeros((9, 9, 3), np.uint8)
    values[:, :, 1] = noise(1, (9, 9))
    assert np.array_equal(pixels(read_image(save(values, tmp_path / "a.png"))), values)


@pytest.mark.parametrize("shape", [(24, 20), (24, 20, 1), (24, 20, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.float16, np.float32, np.float64])
def test_arrays(shape, kind):
    values = noise(5, shape)
    checked = check_array(values if kind == np.uint8 else (values / 255).astype(kind))
    found = np.asarray(decoded(checked)).reshape(shape).astype(int)
    assert np.abs(found - values).max() <= (1 if kind == np.float16 else 0)
    assert np.array_equal(pixels(checked).reshape(shape), found)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (GREY.astype(np.float32), "expected 0..1"),
        (GREY.astype(np.float32) / 255 - 0.5, "expected 0..1"),
        (np.full((9, 9), np.nan), "NaN"),
        (GREY.astype(np.int64), "int64"),
        (np.zeros((9, 9), np.uint8), "blank"),
        (noise(1, (5, 9)), "too small: 9x5"),
        (noise(1, (8, 600)), "too long: 600x8"),
    ],
)
def test_unusable_arrays(values, words):
    with pytest.raises(RejectedImage, match=words):
        check_array(values)


def test_photograph_with_previews_is_read(tmp_path):
    frames = [Image.fromarray(noise(seed, (16, 16, 3))) for seed in range(2)]
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "first.jpg")
    checked = read_image(tmp_path / "a.jpg")
    assert checked.suffix == ".jpg"
    assert checked.encoded == read_image(tmp_path / "first.jpg").encoded
    assert np.array_equal(pixels(checked), np.asarray(Image.open(tmp_path / "first.jpg")))


def dicom(path, photometric="MONOCHROME2", preamble=bytes(128), frames=1, **tags):
    """An 8-bit DICOM file of GREY, of a patient whose name stands in it."""
    from pydicom import Dataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = MRImageStorage
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    file.PatientName, file.PhotometricInterpretation, file.SamplesPerPixel = "ANNA^PATIENT", photometric, 1
    file.Rows, file.Columns = GREY.shape
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation, file.NumberOfFrames = 7, 0, frames
    file.PixelData = GREY.tobytes() * frames
    for name, value in tags.items():
        setattr(file, name, value)
    file.preamble = preamble
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path


def tiff_preamble(path) -> bytes:
    """The header of a TIFF file whose directory, appended by `with_directory`, points at the pixels of a DICOM file."""
    return struct.pack("<2sHL", b"II", 42, path.stat().st_size if path.exists() else 8).ljust(128, b"\0")


def dual(path, **options):
    """A file that is DICOM and, by its preamble and a directory at its end, TIFF too."""
    dicom(path, **options)
    data = path.read_bytes()
    place = data.index(GREY.tobytes())
    height, width = GREY.shape
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: place, 277: 1, 278: height, 279: GREY.size}
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags.items())
    end = len(data) + len(data) % 2
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    path.write_bytes(tiff_preamble(path)[:4] + struct.pack("<L", end) + data[8:].ljust(end - 8, b"\0") + directory)
    with Image.open(path) as file:
        assert file.format == "TIFF"
    return path


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_dicom_files_with_a_tiff_header_in_their_preamble_are_dicom(tmp_path, photometric):
    file = dual(tmp_path / "a.tif", photometric=photometric)
    checked = read_image(file)
    low, high = int(GREY.min()), int(GREY.max())
    drawn = np.round((GREY.astype(float) - low) * 255 / (high - low))
    expected = 255 - drawn if photometric == "MONOCHROME1" else drawn
    assert np.abs(pixels(checked) - expected).max() <= 3
    assert (checked.format, checked.suffix) == ("DICOM", ".png")
    assert b"ANNA" not in checked.encoded
    upload = open_upload(file)
    assert upload.kind == "DICOM"
    assert np.array_equal(np.asarray(upload.image("slice", 0)), pixels(checked))


@pytest.mark.parametrize(
    "beginning", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"PK\x03\x04", b"II*\0"]
)
def test_the_preamble_of_a_dicom_file_never_tells_what_it_is(tmp_path, beginning):
    file = dicom(tmp_path / "a.png", preamble=beginning.ljust(128, b"\0"))
    assert np.array_equal(pixels(read_image(file)), pixels(read_image(dicom(tmp_path / "b.dcm"))))
    assert open_upload(file).kind == "DICOM"
    assert not is_archive(file)


def test_dicom_files_that_are_no_one_image_say_what_they_are(tmp_path):
    assert "3 frames in a DICOM file" in reason(dicom(tmp_path / "a.dcm", frames=3))
    whole = dicom(tmp_path / "b.dcm").read_bytes()
    (tmp_path / "b.dcm").write_bytes(whole[:-100])
    assert "DICOM file is broken" in reason(tmp_path / "b.dcm")
    file = tmp_path / "c.dcm"
    file.write_bytes(whole[132:])  # without its preamble
    assert read_image(file).format == "DICOM"
