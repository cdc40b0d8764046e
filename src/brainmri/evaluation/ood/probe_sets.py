"""Images that a classifier of brain MRI slices should refuse, or may: real ones that installed packages ship.

Which sets choose and which only test is fixed here, package by package, so that no image is in both:

- **development** (`DEVELOPMENT`): scikit-learn's and scikit-image's images, and changed validation images of the
  run's own data. The kind of rule was chosen by them (`benchmarks.ood_candidates`).
- **held back** (`HELD_BACK`): those of gradio, matplotlib, pydicom, nilearn and nibabel, scikit-image's faces, and
  changed test images. Nothing was chosen by them.

The threshold of a run comes from its validation images alone. Noise is not among these: it would be no test.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from brainmri.io.decode import upright_8_bit
from brainmri.io.intensity import grey
from brainmri.io.read import prepared_image

if TYPE_CHECKING:
    from brainmri.data.dataset import PreparedData

DEVELOPMENT, HELD_BACK = "development", "held back"
REFUSE, QUESTION = "should be refused", "a question"
# Of one kind: its share is known to 7 points where all are refused, and to 15 elsewhere. With more, these images would
# take longer than those of the run. Of the run's own, which make six sets, one of each group.
MOST_IMAGES = 50
TEMPLATE_STEP_MM = 8  # between slices of the template
SCIKIT_IMAGE = {
    "colour": ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg"),
    "grey": ("camera.png", "coins.png", "moon.png"),
    "other": (
        *("page.png", "text.png", "logo.png", "horse.png", "color.png", "chessboard_GRAY.png", "clock_motion.png"),
        *("brick.png", "grass.png", "gravel.png", "hubble_deep_field.jpg"),
    ),
    "microscope and eye": ("retina.jpg", "microaneurysms.png", "ihc.png", "cell.png"),
}
GRADIO = {
    "photographs": (
        *("media_assets/images/cheetah.jpg", "media_assets/images/cheetah1.jpg", "test_data/cheetah2.jpg"),
        *("media_assets/images/groot.jpeg", "media_assets/images/lion.jpg", "media_assets/images/tower.jpg"),
    ),
    "drawings": (
        *("media_assets/images/bus.png", "media_assets/images/hf-logo_transpng.png", "media_assets/images/logo.png"),
        "media_assets/images/screenshot.gif",
    ),
}
# One file of each patient; pydicom ships some, the package pydicom-data the others.
OTHER_BODY_PARTS = (
    *("MR2_UNCR.dcm", "examples_overlay.dcm"),  # MRI: shoulder, liver
    *("CT_small.dcm", "explicit_VR-UN.dcm"),  # CT: spine, abdomen
    *("RG1_UNCR.dcm", "RG3_UNCR.dcm"),  # X-ray: chest, leg
    *("examples_rgb_color.dcm", "examples_ybr_color.dcm", "gdcm-US-ALOKA-16.dcm", "color-pl.dcm", "OBXXXX1A.dcm"),  # US
    "JPEG2000.dcm",  # scintigraphy of the whole body
)
HEAD_CT = ("693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "eCT_Supplemental.dcm")
TURNED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "turned by 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "upside down": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "inverted": ImageOps.invert,
}


class AbsentPackage(Exception):  # noqa: N818 - the name says what is the matter
    """The package that ships the images, or one of its files, is not here; the message says which."""


@dataclass(frozen=True)
class ProbeSet:
    """Images of one kind.

    name: what they show. source: the packages they come from, or "own images". use: `DEVELOPMENT` or `HELD_BACK`.
    meaning: `REFUSE`, or `QUESTION` where either answer can be right. images: reads them, 8-bit; raises
    `AbsentPackage`.
    """

    name: str
    source: str
    use: str
    meaning: str
    images: Callable[[], list[Image.Image]]


def probe_sets(data: PreparedData) -> list[ProbeSet]:
    """All sets, those of development first. data: the run's own data, whose images are turned and inverted."""
    scikits, gradio = "scikit-learn, scikit-image", "gradio, matplotlib"
    return [
        ProbeSet("photographs", scikits, DEVELOPMENT, REFUSE, _scikit_photographs),
        ProbeSet("photographs, grey", scikits, DEVELOPMENT, REFUSE, _scikit_grey),
        ProbeSet(
            "cut-outs of photographs, grey",
            "scikit-image",
            DEVELOPMENT,
            REFUSE,
            partial(_lfw, slice(100, 100 + MOST_IMAGES)),
        ),
        ProbeSet(
            "documents, drawings, textures, stars", "scikit-image", DEVELOPMENT, REFUSE, partial(_scikit_image, "other")
        ),
        ProbeSet(
            "microscope and eye",
            "scikit-image",
            DEVELOPMENT,
            REFUSE,
            partial(_scikit_image, "microscope and eye"),
        ),
        ProbeSet("handwritten digits", "scikit-learn", DEVELOPMENT, REFUSE, _digits),
        *_own_images(data, "validation", DEVELOPMENT),
        ProbeSet("photographs", gradio, HELD_BACK, REFUSE, _gradio_photographs),
        ProbeSet("photographs, grey", gradio, HELD_BACK, REFUSE, _gradio_grey),
        ProbeSet("faces, grey", "scikit-image", HELD_BACK, REFUSE, partial(_lfw, slice(0, MOST_IMAGES))),
        ProbeSet("drawings and screenshots", gradio, HELD_BACK, REFUSE, _drawings),
        ProbeSet("elevation maps, grey", "matplotlib", HELD_BACK, REFUSE, _elevations),
        ProbeSet(
            "other body parts (MRI, CT, X-ray, ultrasound)",
            "pydicom, pydicom-data",
            HELD_BACK,
            REFUSE,
            partial(_dicom, OTHER_BODY_PARTS),
        ),
        ProbeSet("head CT", "pydicom, pydicom-data", HELD_BACK, REFUSE, partial(_dicom, HEAD_CT)),
        ProbeSet("brain MRI: one head", "matplotlib", HELD_BACK, QUESTION, _matplotlib_head),
        ProbeSet("brain MRI: echo-planar, slices of one head", "nibabel", HELD_BACK, QUESTION, _echo_planar),
        *(
            ProbeSet(
                f"brain MRI: averaged, without skull, {plane}", "nilearn", HELD_BACK, QUESTION, partial(_template, axis)
            )
            for axis, plane in enumerate(("sagittal", "coronal", "axial"))
        ),
        *_own_images(data, "test", HELD_BACK),
    ]


# ---------------------------------------------------------------------- the run's own images
def _own_images(data: PreparedData, split: str, use: str) -> Iterator[ProbeSet]:
    for name, turn in TURNED.items():
        meaning = QUESTION if name == "upside down" else REFUSE
        yield ProbeSet(f"{split} images, {name}", "own images", use, meaning, partial(_own, data, split, turn))


def _own(data: PreparedData, split: str, turn: Callable[[Image.Image], Image.Image]) -> list[Image.Image]:
    rows = data.index.iloc[data.rows(split)]
    chosen = rows.sample(frac=1, random_state=0).drop_duplicates("group_id").head(MOST_IMAGES)
    return [turn(prepared_image(data.root / name)) for name in chosen["file_name"]]


# ---------------------------------------------------------------------- images of packages
def _scikit_photographs() -> list[Image.Image]:
    from sklearn.datasets import load_sample_images

    return [Image.fromarray(image) for image in load_sample_images().images] + _scikit_image("colour")


def _scikit_grey() -> list[Image.Image]:
    return _grey(_scikit_photographs()) + _scikit_image("grey")


def _scikit_image(kind: str) -> list[Image.Image]:
    return _files("skimage", [f"data/{name}" for name in SCIKIT_IMAGE[kind]])


def _lfw(part: slice) -> list[Image.Image]:
    """Of 200 cut-outs, 25x25 pixels, the first 100 show faces and the others do not."""
    faces = np.load(_file("skimage", "data/lfw_subset.npy"))  # 0..1
    return [Image.fromarray(np.round(255 * image).astype(np.uint8)) for image in faces[part]]


def _digits() -> list[Image.Image]:
    from sklearn.datasets import load_digits

    return [_stretched(image) for image in load_digits().images[:MOST_IMAGES]]


def _gradio_photographs() -> list[Image.Image]:
    return _files("gradio", GRADIO["photographs"]) + _files("matplotlib", ["mpl-data/sample_data/grace_hopper.jpg"])


def _gradio_grey() -> list[Image.Image]:
    return _grey(_gradio_photographs())


def _drawings() -> list[Image.Image]:
    own = [f"mpl-data/sample_data/{name}" for name in ("Minduka_Present_Blue_Pack.png", "logo2.png")]
    return _files("gradio", GRADIO["drawings"]) + _files("matplotlib", own)


def _elevations() -> list[Image.Image]:
    places = (("topobathy.npz", "topo"), ("jacksboro_fault_dem.npz", "elevation"))
    folder = "mpl-data/sample_data"
    return [_stretched(np.load(_file("matplotlib", f"{folder}/{name}"))[key]) for name, key in places]


def _dicom(names: tuple[str, ...]) -> list[Image.Image]:
    if find_spec("pydicom") is None:
        raise AbsentPackage("pydicom is not installed")
    from pydicom.data import get_testdata_file

    paths = {name: get_testdata_file(name, download=False) for name in names}
    if absent := [name for name, path in paths.items() if path is None]:
        raise AbsentPackage(f"pydicom-data is not installed ({absent[0]} is not here)")
    return [_dicom_image(str(path)) for path in paths.values()]


def _dicom_image(path: str) -> Image.Image:
    """The (first) frame in the window that its file names, as a viewer shows it."""
    from pydicom import dcmread
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

    scan = dcmread(path)
    frames = scan.pixel_array
    frame = frames[0] if int(scan.get("NumberOfFrames") or 1) > 1 else frames
    if scan.PhotometricInterpretation == "PALETTE COLOR":
        frame = apply_color_lut(frame, scan)
    if frame.ndim == 3:
        return Image.fromarray((frame / (256 if frame.dtype == np.uint16 else 1)).astype(np.uint8))
    image = _stretched(apply_voi_lut(apply_modality_lut(frame, scan), scan))
    return ImageOps.invert(image) if scan.PhotometricInterpretation == "MONOCHROME1" else image


def _matplotlib_head() -> list[Image.Image]:
    with gzip.open(_file("matplotlib", "mpl-data/sample_data/s1045.ima.gz")) as file:
        return [_stretched(np.frombuffer(file.read(), np.uint16).reshape(256, 256))]


def _echo_planar() -> list[Image.Image]:
    volume = _volume(_file("nibabel", "tests/data/example4d.nii.gz"))
    return [_slice(volume, 2, position) for position in range(2, volume.shape[2] - 2)]


def _template(axis: int) -> list[Image.Image]:
    volume = _volume(_file("nilearn", "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"))
    middle = volume.shape[axis] // 2
    reach = int(0.3 * volume.shape[axis])  # outside it the brain is small
    return [_slice(volume, axis, place) for place in range(middle - reach, middle + reach, TEMPLATE_STEP_MM)]


@cache
def _volume(path: Path) -> np.ndarray:
    """The first volume of a scan (X, Y, Z), to the right, front and top of the head."""
    import nibabel

    scan: Any = nibabel.as_closest_canonical(nibabel.load(path))
    values = np.asarray(scan.dataobj)
    return values[..., 0] if values.ndim == 4 else values


def _slice(volume: np.ndarray, axis: int, position: int) -> Image.Image:
    """A slice with the front, or the top, of the head upwards, on a black square."""
    image = _stretched(np.rot90(np.moveaxis(volume, axis, 0)[position]))  # `take` would copy the volume
    side = max(image.size)
    return ImageOps.pad(image, (side, side), color=0)


def _stretched(values: np.ndarray) -> Image.Image:
    """Values (H, W) as a grey image, from their own minimum..maximum."""
    return grey(values, float(values.min()), float(values.max()))


def _grey(images: list[Image.Image]) -> list[Image.Image]:
    return [image.convert("L") for image in images]


def _files(package: str, names: tuple[str, ...] | list[str]) -> list[Image.Image]:
    return [_read(_file(package, name)) for name in names]


def _file(package: str, name: str) -> Path:
    """A file of an installed package, which is not imported for it (gradio would take seconds)."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise AbsentPackage(f"{package} is not installed")
    path = Path(found.submodule_search_locations[0]) / name
    if not path.is_file():
        raise AbsentPackage(f"this version of {package} does not ship {Path(name).name}")
    return path


def _read(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return upright_8_bit(image)
