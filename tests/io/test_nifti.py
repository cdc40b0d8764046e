"""NIfTI: where left, front and top are drawn, in which proportions and how bright."""

import gzip

import nibabel
import numpy as np
import pytest

from brainmri.io.limits import Limits, UploadError
from brainmri.io.open import open_bytes
from brainmri.io.scan import open_file

from .good import volume

SHAPE = (20, 24, 16)  # to the right, front and top


def with_spot(right: float, front: float, top: float, codes: str = "RAS") -> bytes:
    """A head with one bright voxel, at these fractions of the way to its right, front and top, stored along `codes`."""
    values = np.zeros(SHAPE, np.float32)
    place = tuple(int(share * (side - 1)) for share, side in zip((right, front, top), SHAPE, strict=True))
    values[place] = 1
    return stored(nibabel.Nifti1Image(values, np.eye(4)), codes)


def stored(image: nibabel.Nifti1Image, codes: str) -> bytes:
    """An image whose axes run to the right, front and top, as a file whose axes run along `codes`."""
    wanted = nibabel.orientations.axcodes2ornt(codes)
    turn = nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), wanted)
    data: bytes = image.as_reoriented(turn).to_bytes()
    return gzip.compress(data, mtime=0)


def spot(data: bytes, plane: str, share: float) -> tuple[float, float]:
    """Where the bright voxel is drawn in a slice: fractions of the way to the right and down."""
    upload = open_bytes(data)
    image = np.asarray(upload.image(plane, int(share * (upload.slices(plane) - 1))))
    (row,), (column,) = np.nonzero(image > 128)
    return round(column / (image.shape[1] - 1), 1), round(row / (image.shape[0] - 1), 1)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "PSR", "ASL", "SRA"])
def test_radiological_display(codes):
    left, front, top = with_spot(0, 1, 1, codes), with_spot(0.5, 1, 0, codes), with_spot(0.5, 0.5, 1, codes)
    assert spot(left, "axial", 1) == (1.0, 0.0)  # the patient's left is drawn on the right, the front on top
    assert spot(left, "coronal", 1) == (1.0, 0.0)  # the top on top
    assert spot(left, "sagittal", 0) == (0.0, 0.0)  # the front on the left
    assert spot(front, "axial", 0) == (0.5, 0.0)
    assert spot(front, "sagittal", 0.5) == (0.0, 1.0)
    assert spot(top, "coronal", 0.5) == (0.5, 0.0)
    assert spot(top, "sagittal", 0.5) == (0.5, 0.0)


def test_planes_and_slices():
    upload = open_bytes(volume())
    assert (upload.kind, upload.planes) == ("NIfTI", ("axial", "coronal", "sagittal"))
    assert [upload.slices(plane) for plane in upload.planes] == [16, 24, 20]
    assert upload.middle("axial") == 8
    assert [upload.image(plane, 3).size for plane in upload.planes] == [(20, 24), (20, 16), (24, 16)]
    with pytest.raises(UploadError, match="no such slice"):
        upload.image("axial", 16)


@pytest.mark.parametrize("codes", ["RAS", "PSR"])
def test_pixels_are_square(codes):
    values = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    upload = open_bytes(stored(nibabel.Nifti1Image(values, np.diag((1, 2, 3.5, 1))), codes))
    found = [upload.image(plane, 0).size for plane in ("axial", "coronal", "sagittal")]
    assert found == [(20, 48), (20, 56), (24, 28)]  # 20, 48 and 56 mm, in pixels of 1, 1 and 2 mm


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64, ">i2", ">f4"])
@pytest.mark.parametrize("version", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_types_and_versions(kind, version):
    values = (np.arange(np.prod(SHAPE)) % 251).reshape(SHAPE, order="F")  # the dark and bright half percent are cut off
    data = version(values.astype(kind), np.eye(4)).to_bytes()
    for packed in (data, gzip.compress(data, mtime=0)):
        found = np.asarray(open_bytes(packed).image("axial", 5)).astype(int)
        expected = np.clip(values[::-1, ::-1, 5].T * 255 / 250, 0, 255)
        assert np.abs(found - expected).max() <= 2


def test_scaling_by_slope():
    values = np.random.default_rng(0).integers(0, 250, SHAPE).astype(np.int16)
    data = bytearray(volume(values, packed=False))
    plain = np.asarray(open_bytes(bytes(data)).image("axial", 5)).astype(int)
    data[112:120] = np.array([-2.5, 100], "<f4").tobytes()  # the header's slope and intercept
    assert np.abs(np.asarray(open_bytes(bytes(data)).image("axial", 5)).astype(int) - (255 - plain)).max() <= 1


def test_outliers_and_missing_values_do_not_darken_the_head():
    values = np.random.default_rng(0).random((40, 40, 40)).astype(np.float32)
    clean = np.asarray(open_bytes(volume(values)).image("axial", 5)).astype(int)
    values[0, 0, 0], values[1, 1, 1] = 1e6, -1e6
    values[2:4, 2:4, 2], values[5, 5, 6], values[5, 5, 7] = np.nan, np.inf, -np.inf
    dirty = open_bytes(volume(values))
    assert np.abs(np.asarray(dirty.image("axial", 5)).astype(int) - clean).max() <= 2
    assert np.asarray(dirty.image("axial", 2))[36:38, 36:38].max() == 0  # NaN is black
    assert np.asarray(dirty.image("axial", 6))[34, 34] == 255


def test_of_several_volumes_the_first():
    values = np.random.default_rng(0).integers(0, 1000, (*SHAPE, 3)).astype(np.int16)
    many, first = open_bytes(volume(values)), open_bytes(volume(values[..., 0].copy()))
    assert np.array_equal(many.image("axial", 5), first.image("axial", 5))


def test_a_single_slice_has_one_plane():
    values = np.random.default_rng(0).integers(0, 1000, (20, 24)).astype(np.int16)
    for shape in ((20, 24), (20, 24, 1)):
        upload = open_bytes(volume(values.reshape(shape)))
        assert (upload.planes, upload.slices("axial")) == (("axial",), 1)
    assert open_bytes(volume(values.reshape(20, 1, 24))).planes == ("coronal",)


def test_no_more_is_unpacked_than_the_limit_allows():
    data = volume()
    size = int(np.prod(SHAPE)) * 2
    assert open_bytes(data, Limits(volume_bytes=size)).kind == "NIfTI"
    with pytest.raises(UploadError, match="too large"):
        open_bytes(data, Limits(volume_bytes=size - 1))
    with pytest.raises(UploadError, match="more than 23 slices"):
        open_bytes(data, Limits(slices=23))
    with pytest.raises(UploadError, match="more than 479 pixels"):
        open_bytes(data, Limits(pixels=20 * 24 - 1))


def test_a_real_head():
    from importlib.resources import as_file, files

    name = "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    with as_file(files("nilearn") / name) as path:
        upload = open_bytes(path.read_bytes())
    axial = np.asarray(upload.image("axial", upload.middle("axial"))).astype(float)
    assert axial.shape == (233, 197)
    assert np.corrcoef(axial.ravel(), axial[:, ::-1].ravel())[0, 1] > 0.95  # left and right are alike,
    assert np.corrcoef(axial.ravel(), axial[::-1].ravel())[0, 1] < 0.95  # front and back are not
    sagittal = np.asarray(upload.image("sagittal", upload.middle("sagittal")))
    below = sagittal[150:] > 60
    assert below[:, 117:].sum() > 5 * below[:, :117].sum()  # cerebellum and brain stem: at the back, so on the right


def header_changed(data: bytes, **changes: object) -> bytes:
    header = nibabel.Nifti1Header(data[:348], check=False)
    for name, value in changes.items():
        header[name] = value
    return bytes(header.binaryblock) + data[348:]


def test_the_acquired_plane_comes_first():
    values = np.random.default_rng(0).integers(0, 1000, (20, 128, 128)).astype(np.int16)
    upload = open_bytes(volume(values, np.diag((7, 1, 1, 1))))
    assert upload.planes == ("sagittal", "axial", "coronal")
    assert (upload.slices("sagittal"), upload.image("sagittal", 3).size) == (20, (128, 128))


def test_thick_slices_of_small_pixels():
    values = np.random.default_rng(0).integers(0, 1000, (64, 60, 12)).astype(np.int16)
    upload = open_bytes(volume(values, np.diag((0.2, 0.2, 6.8, 1))))
    assert (upload.planes[0], upload.image("axial", 3).size) == ("axial", (64, 60))
    assert upload.image("coronal", 3).size == (64, 408)


def test_blank_first_volumes_are_passed_over():
    values = np.random.default_rng(0).integers(0, 1000, (*SHAPE, 4)).astype(np.int16)
    values[..., :2] = 0
    shown = np.asarray(open_bytes(volume(values[..., 2].copy())).image("axial", 5))
    for packed in (True, False):
        scan = open_file(lambda packed=packed: volume(values, packed=packed))
        assert np.array_equal(scan.slice("axial", 5), shown)
        assert "of which the first are blank" in " ".join(scan.notes)
    scan = open_file(lambda: volume(values[..., 2:].copy()))
    assert np.array_equal(scan.slice("axial", 5), shown) and "the first of them is used" in " ".join(scan.notes)
    with pytest.raises(UploadError, match="Every voxel of this volume is the same"):
        open_bytes(volume(np.zeros((*SHAPE, 3), np.int16)))


@pytest.mark.parametrize("missing", [(0, 0, 0), (1, 2, 0), (1, 2, np.nan)])
def test_sizes_that_are_missing(missing):
    """By the affine if there is one; else square pixels, and it is said."""
    good = volume(affine=np.diag((1, 2, 5, 1)), packed=False)
    pixdim = np.array([1, *missing, 1, 0, 0, 0], "<f4")
    kept = open_file(lambda: header_changed(good, pixdim=pixdim))
    assert (kept.spacing, kept.notes) == ((1, 2, 5), ())
    lost = open_file(lambda: header_changed(good, pixdim=pixdim, sform_code=0, qform_code=0))
    assert any("does not say how large its voxels are" in note for note in lost.notes)
    assert lost.spacing == ((1, 2, None) if missing[0] else None)
    assert lost.slice("axial").shape == ((48, 20) if missing[0] else (24, 20))
    nowhere = open_file(lambda: header_changed(good, sform_code=2, srow_x=(0,) * 4, srow_y=(0,) * 4, srow_z=(0,) * 4))
    assert nowhere.spacing == (1, 2, 5)  # by the qform


def ellipsoid(shape: tuple[int, ...], ends: float) -> np.ndarray:
    """A head whose slices taper along the last axis, to nothing at `ends` 1, hardly at all near 0."""
    right, front, top = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j, -ends : ends : shape[2] * 1j]
    head = right**2 + (front * 0.9) ** 2 + top**2 < 0.95
    return (head * 600 + np.random.default_rng(0).integers(0, 30, shape)).astype(np.int16)


@pytest.mark.integration
def test_a_distance_between_slices_that_cannot_be_true():
    false = open_file(lambda: volume(ellipsoid((180, 190, 24), 1.0), np.eye(4)))
    assert any("cannot be true" in note for note in false.notes)
    assert (false.planes[0], false.spacing) == ("axial", (1.0, 1.0, None))
    assert false.slice("axial").shape == (190, 180)
    rows, columns = false.slice("coronal").shape
    assert columns == 180 and 140 < rows < 230
    for values, sizes in (
        (ellipsoid((180, 190, 24), 0.1), (1, 1, 1)),  # a slab
        (ellipsoid((180, 190, 24), 1.0), (1, 1, 6.5)),  # true
        (ellipsoid((60, 63, 24), 1.0), (1, 1, 1)),  # a small thing
    ):
        scan = open_file(lambda values=values, sizes=sizes: volume(values, np.diag((*sizes, 1))))
        assert scan.notes == () and scan.spacing == pytest.approx(sizes)
