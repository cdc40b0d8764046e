"""Good files of every kind, small, made in memory."""

import gzip
import io
import struct
import zipfile
import zlib

import nibabel
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

NOISE = np.random.default_rng(1).integers(0, 256, (32, 40), dtype=np.uint8)
RAMP = np.linspace(1000, 40000, 40 * 32).reshape(32, 40).astype(np.uint16)
# Of the seven passes of an interlaced PNG: first row and column, and the steps.
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
PATIENT = "Doe^Jane^Secret"


def image(form: str, values: np.ndarray = NOISE, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, form, **options)
    return file.getvalue()


def pages(count: int, **options) -> bytes:
    images = [Image.fromarray(np.roll(NOISE, number, 1)) for number in range(count)]
    file = io.BytesIO()
    images[0].save(file, "TIFF", save_all=True, append_images=images[1:], **options)
    return file.getvalue()


def dataset(values: np.ndarray = RAMP, frames: int | None = None, **changes) -> Dataset:
    """A DICOM data set with a patient's data in it. values: (H, W), (N, H, W) or (H, W, 3)."""
    scan = Dataset()
    scan.file_meta = FileMetaDataset()
    scan.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    scan.file_meta.MediaStorageSOPClassUID = scan.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    scan.file_meta.MediaStorageSOPInstanceUID = scan.SOPInstanceUID = generate_uid(entropy_srcs=["brainmri"])
    scan.PatientName, scan.PatientID, scan.PatientBirthDate = PATIENT, "Secret-4711", "19700101"
    scan.StudyDescription = "Secret study"
    colour = values.ndim == 3 and frames is None
    scan.Rows, scan.Columns = values.shape[:2] if colour else values.shape[-2:]
    scan.SamplesPerPixel = 3 if colour else 1
    scan.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        scan.PlanarConfiguration = 0
    scan.BitsAllocated = scan.BitsStored = values.dtype.itemsize * 8
    scan.HighBit = scan.BitsStored - 1
    scan.PixelRepresentation = int(values.dtype.kind == "i")
    if frames is not None:
        scan.NumberOfFrames = frames
    scan.PixelData = values.tobytes()
    scan["PixelData"].VR = "OW" if values.dtype.itemsize > 1 else "OB"
    for name, value in changes.items():
        setattr(scan, name, value)
    return scan


def dicom(values: np.ndarray = RAMP, frames: int | None = None, **changes) -> bytes:
    return written(dataset(values, frames, **changes))


def written(scan: Dataset) -> bytes:
    file = io.BytesIO()
    scan.save_as(file, enforce_file_format=True)
    return file.getvalue()


def volume(values: np.ndarray | None = None, affine: np.ndarray | None = None, packed: bool = True) -> bytes:
    """A NIfTI file."""
    if values is None:
        values = np.random.default_rng(2).integers(0, 1000, (20, 24, 16), dtype=np.int16)
    data: bytes = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine).to_bytes()
    return gzip.compress(data, mtime=0) if packed else data


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        for name, data in members.items():
            opened.writestr(zipfile.ZipInfo(name), data, method)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """Of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def deep_png(samples: np.ndarray, filters: tuple[int, ...] = (0,), interlaced: bool = False, key: bytes = b"") -> bytes:
    """A PNG file of 16 bits. samples: (H, W, S), S from 1 to 4. filters: of the rows, in turn. key: of a tRNS chunk."""
    height, width, count = samples.shape
    rows = b""
    for y, x, down, across in ADAM7 if interlaced else ((0, 0, 1, 1),):
        part = samples[y::down, x::across]
        raw = np.frombuffer(part.astype(">u2").tobytes(), np.uint8).reshape(len(part), -1).astype(np.int16)
        left = np.pad(raw, ((0, 0), (2 * count, 0)))[:, : raw.shape[1]]
        up = np.pad(raw, ((1, 0), (0, 0)))[:-1]
        corner = np.pad(left, ((1, 0), (0, 0)))[:-1]
        first = left + up - corner
        off = np.abs(first - left), np.abs(first - up), np.abs(first - corner)
        paeth = np.where((off[0] <= off[1]) & (off[0] <= off[2]), left, np.where(off[1] <= off[2], up, corner))
        guesses = (np.zeros_like(raw), left, up, (left + up) // 2, paeth)
        for number in range(len(part)):
            used = filters[number % len(filters)]
            rows += bytes([used]) + (raw[number] - guesses[used][number]).astype(np.uint8).tobytes()
    header = struct.pack(">2L5B", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[count], 0, 0, interlaced)
    keyed = chunk(b"tRNS", key) if key else b""
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + keyed + pixels + chunk(b"IEND", b"")


def with_chunk(name: bytes, data: bytes, times: int = 1) -> bytes:
    """A good PNG file with more chunks behind its header."""
    good = image("PNG")
    return good[:33] + chunk(name, data) * times + good[33:]


def good_files() -> dict[str, bytes]:
    """Name of a kind -> bytes of a file."""
    return {
        "PNG": image("PNG"),
        "PNG of 16 bits": image("PNG", RAMP),
        "PNG of 16 bits, colours": deep_png(np.stack([RAMP] * 3, 2)),
        "PNG of 16 bits, transparent": deep_png(np.stack([RAMP, RAMP], 2)),
        "JPEG": image("JPEG"),
        "progressive JPEG": image("JPEG", progressive=True),
        "TIFF": image("TIFF"),
        "TIFF with LZW": image("TIFF", compression="tiff_lzw"),
        "TIFF of three pages": pages(3),
        "TIFF of floats": image("TIFF", RAMP.astype(np.float32)),
        "TIFF of 16 bits with LZW": image("TIFF", RAMP, compression="tiff_lzw"),
        "BMP": image("BMP"),
        "WebP": image("WEBP"),
        "GIF": image("GIF"),
        "DICOM": dicom(),
        "DICOM of three frames": dicom(np.stack([RAMP] * 3), frames=3),
        "NIfTI": volume(packed=False),
        "NIfTI, packed": volume(),
    }
