"""The demo that runs in the browser: the answers of `brainmri predict`, the pixels of `brainmri.io`, and no request.

The answers and pixels are computed by Node from the very file that the page's worker runs; one test does the same in
Chromium. Real slices, cases and volumes are compared too where the folder `shared` (or BRAINMRI_SHARED) is there.
"""

import base64
import csv
import functools
import http.server
import io
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.pixels import compress
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

import brainmri
from brainmri.data.dataset import open_prepared
from brainmri.data.phantom.generate import draw_slices, draw_subject, make_phantom
from brainmri.data.prepare import prepare
from brainmri.demo.response_text import sentence
from brainmri.evaluation.browser import MODEL, NETWORK, write_browser_model
from brainmri.evaluation.browser_int8 import INT8
from brainmri.evaluation.kinds import doubt_sentence, look_sentence
from brainmri.evaluation.run_warnings import NO_RECORD, SIMULATED
from brainmri.evaluation.sequence import Look
from brainmri.files import sha256
from brainmri.hub.checks import PublishError, check
from brainmri.hub.static_demo import (
    NOT_PLAIN,
    SINGLE,
    built_page,
    page_digests,
    static_space,
    write_static_demo,
)
from brainmri.io.sequence import FLAIR, OTHER, T1, T1_CONTRAST, T1_PLAIN, T2, UNKNOWN
from brainmri.schemas import BrowserModel, KindCount, TrainingKinds, TypeEvidence, Uncertainty, read, write

from ..scripts import run_here
from .test_browser import PHONE, browser  # noqa: F401 - a fixture

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("BRAINMRI_SHARED", ROOT.parent / "shared"))
SOURCES = ROOT / "browser"
NODE = shutil.which("node")
CLOSE = 1e-3
LOOK = ("sequence", "plane", "sequenceFrom", "planeFrom")
needs_node = pytest.mark.skipif(NODE is None, reason="Node is not installed")


TYPES = TypeEvidence(sites=["b"], n=80, groups=40, right=0.625, right_ci95=[0.5, 0.74], needed=0.8, proven=False)


def kinds_of(classes: list[str], types: TypeEvidence | None) -> TrainingKinds:
    """What training images were: many of some kinds, few of others."""
    tumours = {(T1_CONTRAST, "axial"): 900, (T1, "coronal"): 700, (T2, "axial"): 12, (UNKNOWN, "sagittal"): 20}
    counted = [
        KindCount(sequence=sequence, plane=plane, counts=dict.fromkeys(classes, 40) | {classes[0]: count})
        for (sequence, plane), count in tumours.items()
    ]
    return TrainingKinds(images=1000, of=9000, kinds=counted, sites=["a"], types=types)


def with_kinds(run: Path, folder: Path, types: TypeEvidence | None) -> Path:
    """The run, with a record of what its training images were."""
    shutil.copytree(run, folder)
    record = read(folder / "uncertainty.json", Uncertainty)
    classes = brainmri.load_model(run).classes
    write(record.model_copy(update={"kinds": kinds_of(classes, types)}), folder / "uncertainty.json")
    return folder


@pytest.fixture(scope="module")
def run_folder(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network calls every slice by its last class, which is a tumour here. Its images are simulated."""
    folder = with_kinds(run_folder, tmp_path_factory.mktemp("static_runs") / "tiny", TYPES)
    for file in folder.glob("*.json"):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("glioma", "?").replace("notumor", "glioma").replace("?", "notumor"), "utf-8")
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    result["data"]["simulated"] = True
    (folder / "result.json").write_text(json.dumps(result), "utf-8")
    return folder


@pytest.fixture(scope="module")
def site(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes of a run of a tiny network with an OOD detector."""
    out = tmp_path_factory.mktemp("static") / "site"
    done = run_here("demo.py", "--static", out, "--model", run_folder)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """210 slices of simulated heads, of several sizes and kinds of file, grey and in colours."""
    folder = tmp_path_factory.mktemp("slices")
    files = []
    for subject in range(35):
        rng = np.random.default_rng([7, subject])
        for number, (_, _, image, _) in enumerate(draw_slices(rng, draw_subject(rng, subject), 6, 128)):
            drawn = Image.fromarray(image).resize([(128, 128), (96, 150), (300, 300), (64, 64), (211, 90)][number % 5])
            if subject % 5 == 1:
                drawn = Image.merge("RGB", [drawn, drawn.point(lambda value: value // 2), drawn])
            file = folder / f"{subject:02d}-{number}.{['png', 'jpg', 'tif'][subject % 3]}"
            drawn.save(file)
            files.append(file)
    return files


def said(site: Path, files: list[Path], *flags: str) -> list[dict[str, Any]]:
    """What the page's worker says of files, one dictionary each."""
    assert NODE
    command = [NODE, str(Path(__file__).parent / "browser" / "answers.mjs"), str(site), "--list", *flags]
    done = subprocess.run(command, input="\n".join(map(str, files)), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_same_answers(
    found: list[dict[str, Any]], expected: list[brainmri.Prediction], model: brainmri.LoadedModel
) -> None:
    assert len(found) == len(expected) > 0
    kinds = model.uncertainty.kinds if model.uncertainty else None
    for one, prediction in zip(found, expected, strict=True):
        (answer,) = one["slices"]
        assert answer["probabilities"] == pytest.approx(list(prediction.probabilities.values()), abs=CLOSE)
        assert answer["score"] == pytest.approx(prediction.ood_score, abs=CLOSE)
        assert answer["label"] == prediction.label
        assert tuple(answer["predictionSet"]) == prediction.prediction_set
        assert answer["outOfDistribution"] == prediction.out_of_distribution
        assert answer["typeDoubtful"] == prediction.type_doubtful
        assert answer["fewSeen"] == prediction.few_seen
        assert prediction.look
        assert Look(*(answer["look"][key] for key in LOOK)) == prediction.look
        doubt = [doubt_sentence(prediction.out_of_distribution, kinds)] * bool(prediction.type_doubtful)
        assert answer["words"] == [sentence(prediction), *doubt, look_sentence(prediction.look, kinds)]


def assert_same_pixels(site: Path, files: list[Path]) -> None:
    for file, one in zip(files, said(site, files, "--pixels", "--bytes"), strict=True):
        scan = brainmri.read_scan(file)
        assert [(plane["name"], plane["count"]) for plane in one["planes"]] == [(p, scan.count(p)) for p in scan.planes]
        for drawn in one["slices"]:
            expected = np.asarray(scan.image(drawn["plane"], drawn["index"]).convert("RGB"))
            pixels = np.frombuffer(base64.b64decode(drawn["bytes"]), np.uint8)
            assert (drawn["height"], drawn["width"]) == expected.shape[:2], file.name
            np.testing.assert_array_equal(pixels.reshape(expected.shape), expected, err_msg=file.name)


# ---------------------------------------------------------------------- the same answers
@needs_node
def test_answers_are_those_of_python(site: Path, run_folder: Path, slices: list[Path]) -> None:
    model = brainmri.load_model(run_folder)
    expected = list(model.predict_many(slices))
    assert np.ptp([one.ood_score for one in expected]) > 10 * CLOSE  # else their order would not matter
    assert len({one.look for one in expected}) > 2
    assert {one.few_seen for one in expected} >= {True, False}
    assert_same_answers(said(site, slices), expected, model)


@needs_node
@pytest.mark.parametrize("proven", [None, True])
def test_doubts_are_those_of_python(
    site: Path, run_folder: Path, slices: list[Path], tmp_path: Path, proven: bool | None
) -> None:
    types = TYPES.model_copy(update={"proven": True}) if proven else None
    model = brainmri.load_model(with_kinds(run_folder, tmp_path / "run", types))
    shutil.copytree(site, tmp_path / "site")
    assert model.uncertainty
    record = read(site / MODEL, BrowserModel).model_copy(update={"kinds": model.uncertainty.kinds})
    write(record, tmp_path / "site" / MODEL)
    expected = list(model.predict_many(slices[:60]))
    assert any(one.type_doubtful for one in expected) or proven
    assert_same_answers(said(tmp_path / "site", slices[:60]), expected, model)


@needs_node
def test_what_files_say_of_their_sequence_is_believed(site: Path, run_folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    head = (np.hypot(*np.mgrid[-1:1:48j, -1:1:40j]) < 0.8) * 900 + rng.integers(0, 90, (48, 40))
    headers: list[dict[str, Any]] = [
        {"SeriesDescription": "ax T1 +C"},
        {"SeriesDescription": "T1_pre", "ProtocolName": "head"},
        {"ProtocolName": "t1 mprage", "ContrastBolusAgent": "Gadovist"},
        {"SeriesDescription": "ep2d_diff T2"},
        {"SeriesDescription": "post op FLAIR"},
        {"ScanningSequence": "SE", "RepetitionTime": "4000", "EchoTime": "95"},
        {"ScanningSequence": ["GR", "IR"], "RepetitionTime": "2300", "EchoTime": "2.98", "InversionTime": "900"},
        {"ScanningSequence": ["SE", "IR"], "RepetitionTime": "9000", "EchoTime": "125", "InversionTime": "2500"},
        {"ScanningSequence": "EP"},
        {"AcquisitionContrast": "PROTON_DENSITY"},
        {"SequenceName": "*fl3d1_t1"},
        {"SeriesDescription": "nothing known"},
    ]
    axial = [1, 0, 0, 0, 1, 0]
    files = [
        dicom(tmp_path / f"{number}.dcm", head.astype(np.uint16), ImageOrientationPatient=axial, **header)
        for number, header in enumerate(headers)
    ]
    for name, description in {
        "sub-01_FLAIR.nii.gz": "",
        "sub-01_T1w.nii": "T2 weighted",
        "times.nii": "TE=90;TR=5000",
        "plain.nii.gz": "made by hand",
    }.items():
        image = nibabel.Nifti1Image(np.stack([head] * 12, -1).astype(np.int16), np.diag([4.0, 4, 12, 1]))
        image.header["descrip"] = description
        nibabel.save(image, tmp_path / name)
        files.append(tmp_path / name)
    model = brainmri.load_model(run_folder)
    expected = [one for file in files for one in model.predict_many([file])]
    assert {one.look.sequence for one in expected if one.look and one.look.sequence_from == "file"} == {
        *(T1_CONTRAST, T1_PLAIN, T1, T2, FLAIR, OTHER),
    }
    found = [{"slices": [one]} for answer in said(site, files) for one in answer["slices"]]
    assert_same_answers(found, expected, model)


@needs_node
def test_a_patients_answer_is_that_of_python(site: Path, run_folder: Path, volume_nii: Path) -> None:
    expected = brainmri.load_model(run_folder).predict_scan(volume_nii)
    (found,) = said(site, [volume_nii])
    assert found["patient"]["label"] == expected.label
    assert found["patient"]["probabilities"] == pytest.approx(list(expected.probabilities.values()), abs=CLOSE)
    assert found["patient"]["interval"] == pytest.approx(expected.interval, abs=CLOSE)
    assert [found["slices"][k]["score"] for k in found["patient"]["order"]] == pytest.approx(
        expected.slices["ood_score"].tolist(), abs=CLOSE
    )
    assert found["patient"]["typeDoubtful"] == expected.type_doubtful
    assert found["patient"]["fewSeen"] == expected.few_seen


@needs_node
def test_a_map_is_grad_cam(tmp_path: Path, slices: list[Path]) -> None:
    """Of a network whose features are means of maps, the page needs no gradient."""
    import torch

    from brainmri.demo.model import DemoModel
    from brainmri.models.build import build_model
    from brainmri.models.introspect import resolve
    from brainmri.models.load import save_model
    from brainmri.models.preprocessing import image_processor

    torch.manual_seed(0)
    model, _ = build_model(resolve("resnet_small", overrides=["input.size=64"]), ["glioma", "notumor"], "random")
    save_model(model.eval(), image_processor(64, "half"), tmp_path / "saved")
    (tmp_path / "site").mkdir()
    record = write_browser_model(brainmri.load_model(tmp_path / "saved"), tmp_path / "site")
    assert record.maps
    assert record.cautions[0].startswith("This model comes without a record")
    for file in built_page().iterdir():
        (tmp_path / "site" / file.name).write_bytes(file.read_bytes())
    chosen = slices[:4]
    demo = DemoModel(str(tmp_path / "saved"))
    for file, one in zip(chosen, said(tmp_path / "site", chosen), strict=True):
        (answer,) = one["slices"]
        with Image.open(file) as image:
            expected = demo.map(image)
        found = np.array(answer["map"]["values"]).reshape(answer["map"]["height"], answer["map"]["width"])
        height, width = expected.shape
        rows = ((np.arange(found.shape[0]) + 0.5) / found.shape[0] * height).astype(int)
        columns = ((np.arange(found.shape[1]) + 0.5) / found.shape[1] * width).astype(int)
        assert np.corrcoef(expected[np.ix_(rows, columns)].ravel(), found.ravel())[0, 1] > 0.98


# ---------------------------------------------------------------------- the same pixels
def dicom(path: Path, values: np.ndarray, **tags: Any) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", generate_uid()
    syntax = meta.TransferSyntaxUID
    encoding = {"is_implicit_VR": syntax.is_implicit_VR, "is_little_endian": syntax.is_little_endian}
    file = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128), **encoding)
    file.SOPClassUID, file.SOPInstanceUID, file.Modality = meta.MediaStorageSOPClassUID, generate_uid(), "MR"
    file.Rows, file.Columns = values.shape[-3 if values.shape[-1] == 3 else -2 :][:2]
    file.SamplesPerPixel, file.PhotometricInterpretation = (3, "RGB") if values.shape[-1] == 3 else (1, "MONOCHROME2")
    if values.shape[-1] == 3:
        file.PlanarConfiguration = 0
    file.BitsAllocated = file.BitsStored = 8 * values.dtype.itemsize
    file.HighBit, file.PixelRepresentation = file.BitsStored - 1, int(values.dtype.kind == "i")
    for name, value in tags.items():
        setattr(file, name, value)
    if meta.TransferSyntaxUID == RLELossless:
        compress(file, RLELossless, values)
    else:
        big = meta.TransferSyntaxUID == ExplicitVRBigEndian
        file.PixelData = values.astype(values.dtype.newbyteorder(">" if big else "<")).tobytes()
        file["PixelData"].VR = "OB" if values.dtype.itemsize == 1 else "OW"
    file.save_as(path, enforce_file_format=True)
    return path


# What CharLS makes, without loss, of `head_of_20_by_24`, and of an eighth of it in 8 bits.
JPEG_LS = {
    np.uint16: (
        "/9j/9wALEAAYABQBAREA//gADQH//wASAEMBFABA/9oACAEBAAAAAP9/8xXOGML4tiuUyeSyMAEUqmRhlDKGEXRZKpRJoYnNQcpR"
        "NfDCSSKgnpyamJaUheu1AhSac2LpKSkJChOnTpkyZFrDUClJJ64smSpUqVKkSJEiRIkRWy1FFFFCRIjRo00000000000phYUUJpJ"
        "JJJJJJJJJJJJJPCspQkkkkkiiiiilKUpSWFRShKUpSlKUpSlKUpHFKKhKUpSlKUIQhCEJDFCKhERERERERERPxOioRERERERERET"
        "sTIqERJJJJJJJuJU1CSSSSSSQAAAABhQAqoSSVVUAAO9AG6hVVVAP6gDWhVVQBC0A/9g/9k="
    ),
    np.uint8: (
        "/9j/9wALCAAYABQBAREA/9oACAEBAAAAAP9/8wAAHPX21+AAADNVExmTaKUAAAGZAM0ZCVWfkgBebGT+fXYSyYUP8/WQzRr/P7CS"
        "r/f8BKv9/wCVf7/gQq/3/BCr/f8CFX+/4IVf7/glT/fjlK/v9tX7+0r7Fv98/9k="
    ),
}


def head_of_20_by_24() -> np.ndarray:
    y, x = np.mgrid[:24, :20]
    return ((np.hypot(y - 12, x - 10) < 9) * (900 + 40 * y + 25 * x)).astype(np.uint16)


def packed_dicom(path: Path, packed: bytes, syntax: UID, values: np.ndarray, **tags: Any) -> Path:
    """The DICOM file of these values, whose pixels are packed already."""
    file = pydicom.dcmread(dicom(path, values, **tags))
    file.file_meta.TransferSyntaxUID = syntax
    file.PixelData, file["PixelData"].is_undefined_length = pydicom.encaps.encapsulate([packed]), True
    file["PixelData"].VR = "OB"
    file.save_as(path)
    return path


def jpeg_2000(values: np.ndarray, **how: Any) -> bytes:
    """A codestream, without loss unless `how` says otherwise."""
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "JPEG2000", no_jp2=True, **how)
    return stream.getvalue()


@needs_node
def test_pixels_of_jpeg_2000_and_jpeg_ls_are_those_of_io(site: Path, tmp_path: Path) -> None:
    deep = head_of_20_by_24()
    small = (deep // 8).astype(np.uint8)
    pairs = [("ls", JPEGLSLossless, base64.b64decode(JPEG_LS[values.dtype.type]), values) for values in (deep, small)]
    pairs += [("2000", JPEG2000Lossless, jpeg_2000(values), values) for values in (deep, small)]
    how = [
        {},
        {"WindowCenter": 1200, "WindowWidth": 900, "RescaleSlope": 2},
        {"BitsStored": 12, "HighBit": 11, "PhotometricInterpretation": "MONOCHROME1"},
    ]
    for number, (name, syntax, packed, values) in enumerate(pairs):
        for place, tags in enumerate(how if values.itemsize > 1 else how[:2]):
            plain = dicom(tmp_path / f"plain_{number}_{place}.dcm", values, **tags)
            file = packed_dicom(tmp_path / f"{name}_{number}_{place}.dcm", packed, syntax, values, **tags)
            expected = np.asarray(brainmri.read_scan(plain).image())
            (one,) = said(site, [file], "--pixels", "--bytes")
            pixels = np.frombuffer(base64.b64decode(one["slices"][0]["bytes"]), np.uint8).reshape(24, 20, 3)
            np.testing.assert_array_equal(pixels, np.stack([expected] * 3, -1), err_msg=file.name)
    lossy = jpeg_2000(small, irreversible=True, quality_mode="rates", quality_layers=[4])
    assert_same_pixels(site, [packed_dicom(tmp_path / "lossy.dcm", lossy, JPEG2000, small)])
    cut = packed_dicom(tmp_path / "cut.dcm", jpeg_2000(deep)[:60], JPEG2000Lossless, deep)
    other = packed_dicom(tmp_path / "other.dcm", jpeg_2000(deep), JPEG2000Lossless, deep[:-4])
    for one in said(site, [cut, other], "--pixels"):
        assert one["refused"] == "broken"


@needs_node
def test_pixels_of_images_are_those_of_io(site: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.hypot(*np.mgrid[-1:1:90j, -1:1:70j]) < 0.8, 0)
    grey = (smooth * 120 + rng.integers(0, 80, smooth.shape)).astype(np.uint8)
    colours = np.stack([grey, 255 - grey, np.roll(grey, 5, 1)], -1)
    deep = (grey.astype(np.uint16) * 17 + rng.integers(0, 17, grey.shape)).astype(np.uint16)
    alpha = Image.fromarray(rng.integers(0, 256, grey.shape, dtype=np.uint8))
    palette = Image.fromarray(colours).quantize(37)
    turned = Image.Exif()
    turned[274] = 6
    images = {
        "grey.png": (Image.fromarray(grey), {}),
        "colours.png": (Image.fromarray(colours), {"exif": turned}),
        "alpha.png": (Image.merge("RGBA", [*Image.fromarray(colours).split(), alpha]), {}),
        "grey_alpha.png": (Image.merge("LA", [Image.fromarray(grey), alpha]), {}),
        "palette.png": (palette, {}),
        "palette_key.png": (palette, {"transparency": 3}),
        "grey_key.png": (Image.fromarray(grey), {"transparency": int(grey[0, 0])}),
        "bits.png": (Image.fromarray(grey > 100), {}),
        "deep.png": (Image.fromarray(deep), {}),
        "grey.jpg": (Image.fromarray(grey), {"quality": 90}),
        "colours.jpg": (Image.fromarray(colours), {"quality": 85, "exif": turned}),
        "progressive.jpg": (Image.fromarray(colours), {"progressive": True, "subsampling": 0}),
        "plain.tif": (Image.fromarray(grey), {}),
        "lzw.tif": (Image.fromarray(colours), {"compression": "tiff_lzw"}),
        "deflate.tif": (Image.fromarray(deep), {"compression": "tiff_adobe_deflate"}),
        "packbits.tif": (Image.fromarray(grey), {"compression": "packbits"}),
        "float.tif": (Image.fromarray(deep.astype(np.float32) / 7 - 40), {}),
        "lzw_deep.tif": (Image.fromarray(deep), {"compression": "tiff_lzw", "tiffinfo": {317: 2}}),
        "palette.tif": (palette, {}),
    }
    for name, (image, how) in images.items():
        image.save(tmp_path / name, **how)
    pages = [Image.fromarray(deep), Image.fromarray(np.roll(deep, 9, 0) // 2)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    assert_same_pixels(site, [*(tmp_path / name for name in images), tmp_path / "pages.tif"])


@needs_node
def test_pixels_of_scans_are_those_of_io(site: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    head = np.hypot(*np.mgrid[-1:1:40j, -1:1:56j]) < 0.8
    values = (head * 900 + rng.integers(0, 120, head.shape)).astype(np.uint16)
    oblique = [0.96, 0.28, 0, 0, 0, -1]
    files = [
        dicom(tmp_path / "plain.dcm", values),
        dicom(tmp_path / "window.dcm", values, WindowCenter=500, WindowWidth=700, RescaleSlope=2, RescaleIntercept=-50),
        dicom(tmp_path / "inverted.dcm", values, PhotometricInterpretation="MONOCHROME1"),
        dicom(tmp_path / "signed.dcm", values.astype(np.int16) - 300, PixelPaddingValue=-300),
        dicom(tmp_path / "stored12.dcm", values | 0xF000, BitsStored=12, HighBit=11),
        dicom(tmp_path / "oblique.dcm", values, ImageOrientationPatient=oblique, ImagePositionPatient=[1, 2, 3]),
        dicom(tmp_path / "stretched.dcm", values, PixelSpacing=[2, 1]),
        dicom(tmp_path / "implicit.dcm", values, syntax=ImplicitVRLittleEndian),
        dicom(tmp_path / "big.dcm", values, syntax=ExplicitVRBigEndian),
        dicom(tmp_path / "runs.dcm", values, syntax=RLELossless),
        dicom(tmp_path / "colours.dcm", np.stack([values // 8] * 2 + [values // 16], -1).astype(np.uint8)),
        dicom(tmp_path / "frames.dcm", np.stack([values, values // 2, values[::-1]]), NumberOfFrames=3),
    ]
    with_more = tmp_path / "more.dcm"
    with_more.write_bytes(files[0].read_bytes() + b"II*\0 what follows the pixels")
    volume = rng.normal(100, 9, (24, 30, 18)) + np.linspace(0, 200, 24)[:, None, None] + np.linspace(0, 90, 18)
    turn = np.array([[0, -2.0, 0.3, 5], [0.2, 0.1, 5, -9], [1.5, 0, 0, 3], [0, 0, 0, 1]])
    volumes: dict[str, Any] = {
        "float.nii.gz": nibabel.Nifti1Image(volume.astype(np.float32), np.diag([2, 2, 3, 1.0])),
        "turned.nii": nibabel.Nifti1Image(volume.astype(np.int16), turn),
        "two.nii.gz": nibabel.Nifti2Image(volume.astype(np.uint8), turn),
        "four.nii.gz": nibabel.Nifti1Image(np.stack([volume * 0, volume], -1).astype(np.float32), np.eye(4)),
        "nowhere.nii": nibabel.Nifti1Image(volume.astype(np.float64), None),
        "scaled.nii": nibabel.Nifti1Image(volume, np.diag([-1, 1, 1, 1])),
    }
    volumes["scaled.nii"].set_data_dtype(np.int16)
    for name, image in volumes.items():
        nibabel.save(image, tmp_path / name)
    quaternion = nibabel.Nifti1Image(volume.astype(np.int16), np.eye(4))
    quaternion.header.set_sform(None, 0)
    quaternion.header.set_qform(np.diag([-2, 2, 2.5, 1.0]) @ np.eye(4), 1)
    quaternion.header["sform_code"] = 0
    quaternion.to_filename(tmp_path / "quaternion.nii")
    assert_same_pixels(site, [*files, with_more, *(tmp_path / name for name in volumes), tmp_path / "quaternion.nii"])


@needs_node
def test_the_files_of_a_series_are_one_scan_as_in_python(site: Path, tmp_path: Path) -> None:
    """By position, not by name; drawn in one range; another series beside it stays its own."""
    rng = np.random.default_rng(3)
    head = np.hypot(*np.mgrid[-1:1:40j, -1:1:56j]) < 0.8
    for series, folder in (("1.2.3", "one"), ("1.2.4", "two")):
        (tmp_path / folder).mkdir()
        for number, place in enumerate([5, 2, 9, 0, 7]):
            values = (head * (200 + 90 * place) + rng.integers(0, 50, head.shape)).astype(np.uint16)
            where = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, 3 * place]}
            file = tmp_path / folder / f"{number}.dcm"
            dicom(file, values, SeriesInstanceUID=series, InstanceNumber=number, PixelSpacing=[1, 1], **where)
    files = sorted(tmp_path.rglob("*.dcm"))
    scans = said(site, files, "--together")
    assert [len(scan["files"]) for scan in scans] == [5, 5]
    for scan, folder in zip(scans, ("one", "two"), strict=True):
        assert [Path(file).name for file in scan["files"]] == ["3.dcm", "1.dcm", "0.dcm", "4.dcm", "2.dcm"]
        expected = brainmri.read_scan(tmp_path / folder)
        assert scan["planes"] == [{"name": expected.planes[0], "count": len(expected)}]
        for index, drawn in enumerate(scan["drawn"]):
            pixels = np.frombuffer(base64.b64decode(drawn["bytes"]), np.uint8)
            np.testing.assert_array_equal(pixels.reshape(drawn["height"], drawn["width"]), expected.slice(index=index))


@needs_node
def test_what_cannot_be_used_is_refused_in_words(site: Path, tmp_path: Path) -> None:
    values = np.arange(400, dtype=np.uint16).reshape(20, 20)
    contents = {
        "empty.png": b"",
        "words.txt": b"what a head looks like",
        "cut.png": b"",
        "paper.pdf": b"%PDF-1.7",
        "big.tif": b"II\x2b\0" + bytes(20),
        "cut.nii.gz": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    Image.fromarray(np.arange(3000, dtype=np.uint8).reshape(50, 60)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    nibabel.save(nibabel.Nifti1Image(np.arange(8000.0).reshape(20, 20, 20), np.eye(4)), tmp_path / "whole.nii.gz")
    (tmp_path / "cut.nii.gz").write_bytes((tmp_path / "whole.nii.gz").read_bytes()[:900])
    Image.new("L", (30, 30), 7).save(tmp_path / "blank.png")
    dicom(tmp_path / "ct.dcm", values, Modality="CT")
    dicom(tmp_path / "localizer.dcm", values, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    packed_dicom(tmp_path / "packed.dcm", b"\xff\x4f\xff\x51", HTJ2K, values)
    whole = dicom(tmp_path / "whole.dcm", values).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-40])
    names = [*contents, "cut.dcm", "blank.png", "ct.dcm", "localizer.dcm", "packed.dcm"]
    found = {Path(one["file"]).name: one for one in said(site, [tmp_path / name for name in names])}
    assert {name: one.get("refused") for name, one in found.items()} == {
        "empty.png": "empty", "words.txt": "unknownKind", "cut.png": "broken", "paper.pdf": "refusedDocument",
        "cut.dcm": "broken",
        "big.tif": "refusedBigTiff", "cut.nii.gz": "broken", "blank.png": "blank", "ct.dcm": "deviceCT",
        "localizer.dcm": "localizer", "packed.dcm": "dicomPacked",
    }  # fmt: skip
    assert all(one["words"].endswith((".", ")")) for one in found.values())


# ---------------------------------------------------------------------- real data, where it is
@needs_node
@pytest.mark.skipif(not (SHARED / "data/brain-tumor-mri-224").is_dir(), reason="the real slices are not here")
def test_answers_on_real_slices_are_those_of_python(site: Path, run_folder: Path) -> None:
    files = sorted(SHARED.joinpath("data/brain-tumor-mri-224").rglob("*.jpg"))
    chosen = [files[k] for k in np.random.default_rng(0).choice(len(files), 250, replace=False)]
    model = brainmri.load_model(run_folder)
    assert_same_answers(said(site, chosen), list(model.predict_many(chosen)), model)


@needs_node
@pytest.mark.skipif(not (SHARED / "cases").is_dir(), reason="the cases are not here")
def test_pixels_of_the_cases_are_those_of_io(site: Path) -> None:
    files = [
        file for file in SHARED.joinpath("cases").rglob("*") if file.name.endswith((".dcm", ".png", ".tif", ".gz"))
    ]
    assert_same_pixels(site, files)


@needs_node
@pytest.mark.skipif(not (SHARED / "data/volumes").is_dir(), reason="the real volumes are not here")
def test_pixels_of_real_volumes_are_those_of_io(site: Path) -> None:
    assert_same_pixels(site, sorted(SHARED.joinpath("data/volumes").rglob("*.nii.gz"))[::23])


# ---------------------------------------------------------------------- the page
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    Handler.extensions_map[".mjs"] = "text/javascript"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def opened(browser: Browser, address: str, **how: Any) -> tuple[Page, list[str], list[str]]:  # noqa: F811
    """The page once its model is there, the addresses of its requests, and what went wrong."""
    context = browser.new_context(**how)
    page = context.new_page()
    requests: list[str] = []
    faults: list[str] = []
    context.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(address)
    page.wait_for_selector("body[data-ready]", timeout=30_000)
    return page, requests, faults


def test_a_whole_visit_asks_nobody_and_needs_no_network(
    browser: Browser,  # noqa: F811
    address: str,
    site: Path,
    run_folder: Path,
    slices: list[Path],
    volume_nii: Path,
    tmp_path: Path,
) -> None:
    page, requests, faults = opened(browser, address)
    assert page.evaluate("crossOriginIsolated")
    page.context.set_offline(True)
    before = len(requests)
    packed = tmp_path / "a_packed.dcm"  # the first, so that the others must not wait for it in vain
    packed_dicom(packed, b"\xff\x4f\xff\x51", HTJ2K, np.arange(400, dtype=np.uint16).reshape(20, 20))
    page.set_input_files("#files", [packed, *slices[:40], volume_nii, site / "style.css"])
    page.wait_for_selector("body[data-finished='1']", timeout=60_000)
    with page.expect_download() as download:
        page.click("#csv")
    download.value.save_as(tmp_path / "predictions.csv")
    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = list(brainmri.load_model(run_folder).predict_many([*slices[:40], volume_nii]))
    by_slice = {(Path(one.path or "").name, one.slice): one for one in expected}
    assert len(rows) == len(expected)
    for row in rows:
        one = by_slice[row["path"], int(row["slice"])]
        assert (row["predicted"], row["plane"]) == (one.label, one.plane)
        assert row["prediction_set"] == ";".join(one.prediction_set or ())
        assert row["out_of_distribution"] == str(one.out_of_distribution).lower()
        assert one.look
        assert Look(*(row[key] for key in ("sequence", "view", "sequence_from", "view_from"))) == one.look
        assert [row["type_doubtful"], row["few_seen"]] == [
            "" if value is None else str(value).lower() for value in (one.type_doubtful, one.few_seen)
        ]
        assert float(row["ood_score"]) == pytest.approx(one.ood_score, abs=CLOSE)
        assert [float(row[f"p_{name}"]) for name in one.probabilities] == pytest.approx(
            list(one.probabilities.values()), abs=CLOSE
        )
    refused = page.locator("#refused .warning").all_inner_texts()
    assert [text.partition(" ")[0] for text in refused] == ["a_packed.dcm", "style.css"]
    assert "such as HTJ2K" in refused[0]
    assert "This is no kind of file that is known here" in refused[1]
    page.get_by_role("button", name="head.nii.gz").click()
    assert "The patient’s answer, from " in page.inner_text("#patient")
    page.reload()  # without a network, from the cache of the program
    page.wait_for_selector("body[data-ready]", timeout=30_000)
    page.set_input_files("#files", [slices[1]])
    page.wait_for_selector("#said .sentence")
    assert {url.split("/")[2] for url in requests if not url.startswith(("blob:", "data:"))} == {address.split("/")[2]}
    assert all(url.startswith((address, "blob:")) for url in requests[before:])
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie.length]") == [0, 0, 0]
    assert faults == []


def test_the_policy_forbids_requests_to_others(browser: Browser, address: str, tmp_path: Path) -> None:  # noqa: F811
    asked: list[str] = []

    class Other(Handler):
        def send_head(self) -> None:  # type: ignore[override]
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    other = f"http://127.0.0.1:{server.server_port}"
    page, _, _ = opened(browser, address)
    for script in (
        "(url) => fetch(url + '/fetch', {mode: 'no-cors'}).then(() => 'sent', () => 'refused')",
        "(url) => new Promise((done) => { const image = new Image(); image.onload = () => done('sent');"
        " image.onerror = () => done('refused'); image.src = url + '/image'; })",
        # In the page's thread and in a worker's, which the service worker gives the policy.
        "(url) => new Promise((done) => { const worker = new Worker('worker.js', {type: 'module'});"
        " setTimeout(() => done('refused'), 1500); worker.postMessage({do: 'start', glue: url + '/script', threads: 1,"
        " files: null}); })",
    ):
        assert page.evaluate(script, other) == "refused"
    server.shutdown()
    server.server_close()
    assert asked == []


def test_a_double_click_opens_the_page_that_is_one_file(browser: Browser, site: Path, slices: list[Path]) -> None:  # noqa: F811
    page, requests, faults = opened(browser, (site / SINGLE).as_uri(), offline=True, locale="de-DE")
    page.set_input_files("#files", [slices[1]])
    page.wait_for_selector("#said .sentence")
    assert "Nirgendwohin" in page.inner_text("#where")
    assert page.inner_text("#said .sentence").startswith(("Am ehesten", "Das gleicht nicht"))
    assert all(url.startswith(("file:", "blob:")) for url in requests)
    assert faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_for_everybody(browser: Browser, address: str, slices: list[Path], scheme: Any) -> None:  # noqa: F811
    page, _, _ = opened(browser, address, viewport=PHONE, color_scheme=scheme)
    page.set_input_files("#files", slices[:3])
    page.wait_for_selector("body[data-finished='1']")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.select_option("#language", "de")
    assert page.get_attribute("html", "lang") == "de"
    assert page.inner_text("#choose") == "Dateien wählen"
    assert page.inner_text("#cautions p[lang=de]").startswith("Dieses Modell hat nur simulierte Schichten gesehen")
    assert re.search(r"\d,\d\u00a0%", page.inner_text("#trust"))
    assert page.evaluate("document.querySelector('.said').getBoundingClientRect().top") < page.evaluate(
        "document.querySelector('figure').getBoundingClientRect().top"
    )  # on a phone the answer comes first
    page.focus("#clear")
    page.keyboard.press("Enter")
    assert not page.is_visible("#results")
    assert page.evaluate("document.activeElement.id") == "undo"
    page.keyboard.press("Enter")
    assert page.locator("tbody tr").count() == 3
    page.emulate_media(media="print")
    assert page.is_visible("#answer")
    assert not page.is_visible("#input")


# ---------------------------------------------------------------------- weights of 8 bits
@needs_node
def test_weights_of_8_bits_are_used_where_the_test_split_is_answered_as_well(
    run_folder: Path, slices: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = make_phantom(tmp_path / "raw", subjects=16, size=32, slices_per_subject=4, progress=False)
    data = prepare(raw, tmp_path / "data", layout="imagefolder", groups=raw / "groups.csv", name="phantom tiny")
    command = ["demo.py", "--static", tmp_path / "site", "--model", tmp_path / "run", "--overwrite", "--data"]
    shutil.copytree(run_folder, tmp_path / "run")
    done = run_here(*command, data)
    assert done.returncode == 2
    assert "is not the data that" in done.stderr
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    result["data"] |= {"fingerprint": open_prepared(data).info.fingerprint}
    (tmp_path / "run" / "result.json").write_text(json.dumps(result))
    model = brainmri.load_model(tmp_path / "run")
    for limit in ("MOST_LOST", "MOST_ECE"):
        monkeypatch.setattr(f"brainmri.evaluation.browser_int8.{limit}", 2)
    monkeypatch.setattr("brainmri.evaluation.browser_int8.LEAST_SAME", 0)
    space = ["space", "--static", "--models", tmp_path / "run", "--dry-run", tmp_path / "space", "--repo", "me/demo"]
    done = run_here("publish.py", *space, "--data", data)  # whatever is lost
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr("brainmri.evaluation.browser_int8.MOST_BYTES", 10)
    done = run_here(*command, data)
    assert done.returncode == 0, done.stderr
    assert "Not used, since the file is larger than 1e-05 MB: the page runs float32." in done.stdout
    assert "The page runs them." in (tmp_path / "space" / "README.md").read_text()
    expected = list(model.predict_many(slices[:20]))
    for folder, network in ((tmp_path / "space", INT8), (tmp_path / "site", NETWORK)):
        record = read(folder / MODEL, BrowserModel)
        assert record.int8
        assert (record.network, record.int8.used) == (network, network == INT8)
        assert (folder / INT8).exists() == record.int8.used
        assert sha256(folder / network) == record.sha256
        for one, prediction in zip(said(folder, slices[:20]), expected, strict=True):
            close = 0.05 if record.int8.used else CLOSE
            probabilities = list(prediction.probabilities.values())
            assert one["slices"][0]["probabilities"] == pytest.approx(probabilities, abs=close)
    done = run_here("publish.py", "space", "--models", "me/one", "--dry-run", tmp_path / "none", "--data", data)
    assert done.returncode == 2
    assert "--data is for --static" in done.stderr


# ---------------------------------------------------------------------- the files
def test_the_files_are_small_and_the_record_whole(site: Path, run_folder: Path) -> None:
    packed = sum(file.stat().st_size for file in site.iterdir() if file.suffix in {".html", ".js", ".css", ".mjs"})
    assert packed - (site / SINGLE).stat().st_size < 700_000
    record, model = read(site / MODEL, BrowserModel), brainmri.load_model(run_folder)
    assert record.classes == model.classes
    assert record.temperature == model.temperature
    assert record.detector and model.ood_detector
    means = np.frombuffer(base64.urlsafe_b64decode(record.detector.means.base64), "<f4")
    np.testing.assert_array_equal(means.reshape(record.detector.means.shape), model.ood_detector.means)
    assert '"VERSION"' not in (site / "sw.js").read_text()
    assert record.cautions == [SIMULATED]
    assert all(caution in (site / "main.js").read_text() for caution in (SIMULATED, NO_RECORD))  # with a translation


def test_a_space_passes_the_checks(run_folder: Path, tmp_path: Path) -> None:
    done = run_here(
        "publish.py", "space", "--static", "--models", run_folder, "--dry-run", tmp_path / "space", "--repo", "me/demo"
    )
    assert done.returncode == 0, done.stderr
    assert "sdk: static" in (tmp_path / "space" / "README.md").read_text()
    assert not (tmp_path / "space" / SINGLE).exists()
    # What is left unlooked at is what would be refused, and nothing else.
    space = static_space(brainmri.load_model(run_folder), "me/demo", str(run_folder), tmp_path / "again")
    check(space)
    with pytest.raises(PublishError) as error:
        check(replace(space, program={}))
    assert {problem.strip().split(":")[0] for problem in str(error.value).partition(": ")[2].split(";")} == set(
        NOT_PLAIN
    )
    done = run_here("publish.py", "space", "--static", "--dry-run", tmp_path / "none", "--repo", "me/demo")
    assert done.returncode == 2
    assert "of one model: name it with --models" in done.stderr


@pytest.mark.skipif(not (SOURCES / "node_modules").is_dir(), reason="`npm ci` was not run in browser")
def test_the_built_page_is_what_the_sources_build(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    assert npm
    environment = os.environ | {"BRAINMRI_BROWSER_OUT": str(tmp_path / "built")}
    done = subprocess.run([npm, "run", "build"], cwd=SOURCES, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with resources.as_file(built_page()) as page:
        kept = {file.name: file.read_bytes() for file in page.iterdir()}
    assert {file.name: file.read_bytes() for file in (tmp_path / "built").iterdir()} == kept
    assert (tmp_path / "built.sha256").read_text() == built_page().parent.joinpath("browser.sha256").read_text()  # type: ignore[attr-defined]


def test_the_built_page_is_the_one_that_was_recorded() -> None:
    with resources.as_file(built_page()) as page:
        assert {file.name: sha256(file) for file in page.iterdir()} == page_digests()


def test_only_the_page_is_written_and_only_as_it_was_built(
    site: Path, tmp_path: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with resources.as_file(built_page()) as page:
        shutil.copytree(page, tmp_path / "page")
    (tmp_path / "page" / "scan.dcm").write_bytes(b"somebody's")
    monkeypatch.setattr("brainmri.hub.static_demo.built_page", lambda: tmp_path / "page")
    (tmp_path / "site").mkdir()
    write_static_demo(brainmri.load_model(run_folder), tmp_path / "site")
    assert {file.name for file in (tmp_path / "site").iterdir()} == {file.name for file in site.iterdir()} - {
        "made.json"
    }
    with (tmp_path / "page" / "style.css").open("a") as style:
        style.write("p {}")
    (tmp_path / "changed").mkdir()
    with pytest.raises(ValueError, match=r"style.css is not as it was built: install brainmri again"):
        write_static_demo(brainmri.load_model(run_folder), tmp_path / "changed")


def test_a_model_that_the_page_cannot_run_is_refused(tmp_path: Path, network: Path) -> None:
    shutil.copytree(network, tmp_path / "saved")
    settings = json.loads((tmp_path / "saved" / "preprocessor_config.json").read_text())
    settings |= {"do_center_crop": True, "crop_size": {"height": 32, "width": 32}, "resample": 0}
    (tmp_path / "saved" / "preprocessor_config.json").write_text(json.dumps(settings))
    done = run_here("demo.py", "--static", tmp_path / "site", "--model", tmp_path / "saved")
    assert done.returncode == 2
    assert "which the demo in the browser does not" in done.stderr
    assert not (tmp_path / "site" / "index.html").exists()
